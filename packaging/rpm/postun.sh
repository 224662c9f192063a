# systemd forgets the units, or reads the new ones.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload >/dev/null || :
fi
