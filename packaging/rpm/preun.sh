# Stops what would run a program that is about to go. An upgrade stops nothing: what has claimed, has claimed.
if [ "$1" -eq 0 ] && command -v systemctl >/dev/null; then
    systemctl --no-reload disable eip-claim.timer eip-claim.service eip-claim@.service >/dev/null || :
    if [ -d /run/systemd/system ]; then
        systemctl stop eip-claim.timer eip-claim-again.service 'eip-claim@*.service' eip-claim.service >/dev/null || :
    fi
fi
