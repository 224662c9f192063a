#!/bin/sh
# User data for an AMI that has the package: sets options of eip-claim, and claims by them.
#
# For a setup that needs no options, no user data is needed either: see tags-only.launch-template.json.
# This runs once, late in the first boot; the unit ran early in it, with what the AMI has.
# So options that must hold for the first claim already (`EIP_CLAIM_TAKEOVER=never`, say) belong into the AMI.
# A launch template takes it as base64:
#   jq --arg data "$(base64 -w0 ami-with-package.sh)" '.UserData = $data' ami-with-package.launch-template.json
set -eu

# Written beside the file and renamed, so that whoever reads it meanwhile gets the whole of it.
umask 022
cat >/etc/eip-claim.env.new <<'OPTIONS'
# Set by user data; eip-claim(1) explains the options.
EIP_CLAIM_TAG=eip-claim=web
OPTIONS
mv /etc/eip-claim.env.new /etc/eip-claim.env

# Not waited for: the rest of the boot has no reason to. `systemctl status eip-claim` tells how it ends.
systemctl restart --no-block eip-claim.service
