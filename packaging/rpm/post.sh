# The user of the units; systemd would create it at the next boot, but user data may not wait for that.
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers eip-claim.conf >/dev/null || :
fi
# Enables the unit at the first installation if the presets say so; starts nothing: it claims at boot,
# and who bakes an image must not claim an address by it.
if [ "$1" -eq 1 ] && command -v systemctl >/dev/null; then
    systemctl --no-reload preset eip-claim.service eip-claim.timer >/dev/null || :
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload >/dev/null || :
fi
