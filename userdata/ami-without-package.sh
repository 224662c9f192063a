#!/bin/sh
# User data for an AMI without the package: fetches it, verifies it, installs it, and claims.
#
# Fill in the three values below. It needs curl, or for s3:// the AWS CLI.
# A launch template takes it as base64:
#   jq --arg data "$(base64 -w0 ami-without-package.sh)" '.UserData = $data' ami-without-package.launch-template.json
# It runs once, late in the first boot; from then on the unit claims early in every boot.
# Nothing is installed unless the checksum is right, and running it again changes nothing.
set -eu

# A .deb or an .rpm, from where the instance can read it before it has its address: https://… (a presigned URL
# of S3 as well, but that expires), or s3://bucket/key, which the instance's own role must allow to read.
URL=https://example.com/eip-claim_0.1.0-1_amd64.deb
# Of `sha256sum`, noted where the package was built: whoever can replace the file cannot replace this.
SHA256=0000000000000000000000000000000000000000000000000000000000000000
# Lines of /etc/eip-claim.env; may be empty where instance and address carry the same tag `eip-claim`.
OPTIONS='EIP_CLAIM_TAG=eip-claim=web'

fail() {
    echo "eip-claim is not installed: $1" >&2
    exit 1
}

# Eight attempts, with pauses of 1, 2, 4 and so on to 64 seconds: the network or the role may not be there yet,
# and the updates of a first boot may hold the lock of the package manager for a minute or two.
retry() {
    pause=1
    until "$@"; do
        [ "$pause" -le 64 ] || return 1
        echo "trying again in $pause s: $1" >&2
        sleep "$pause"
        pause=$((pause * 2))
    done
}

fetch() {
    case $URL in
    s3://*) aws s3 cp --only-show-errors "$URL" "$file" ;;
    *) curl --fail --silent --show-error --location --connect-timeout 5 --max-time 60 --output "$file" "$URL" ;;
    esac
}

# A configuration that is there already is kept, and nobody is asked.
install_deb() { dpkg --force-confold --install "$file" </dev/null; }
install_rpm() { rpm --upgrade --replacepkgs "$file"; }

name=${URL%%\?*} # without the signature of a presigned URL, which is a secret
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
file=$directory/${name##*/}

retry fetch || fail "cannot fetch $name"
sum=$(sha256sum "$file" | cut -d ' ' -f 1)
[ "$sum" = "$SHA256" ] || fail "the SHA-256 of $name is $sum, and should be $SHA256"
case $name in
*.deb) retry install_deb || fail "dpkg refuses $name" ;;
*.rpm) retry install_rpm || fail "rpm refuses $name" ;;
*) fail "neither a .deb nor an .rpm: $name" ;;
esac

# Written beside the file and renamed, so that whoever reads it meanwhile gets the whole of it.
if [ -n "$OPTIONS" ]; then
    umask 022
    printf '# Set by user data; eip-claim(1) explains the options.\n%s\n' "$OPTIONS" >/etc/eip-claim.env.new
    mv /etc/eip-claim.env.new /etc/eip-claim.env
fi

# Not waited for: the rest of the boot has no reason to. `systemctl status eip-claim` tells how it ends.
systemctl restart --no-block eip-claim.service
