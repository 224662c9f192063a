#!/usr/bin/env bash
# Builds what the boot test boots, below the directory that is its argument, and says why if it cannot.
#
#   base/   Debian bookworm, minimal, with systemd, networkd, resolved and cloud-init; kept until this file changes
#   bare/   upon that, the test's own certification authority in the trust store
#   layer/  upon that, the package, installed as shipped
#
# EIP_CLAIM_DEB names the package. Whatever tools are missing on this machine are installed.
set -euo pipefail

directory=${1:?usage: tree.sh DIRECTORY}
here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "the boot test cannot run: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "it boots machines and makes network namespaces: run it as root"
[ -f "${EIP_CLAIM_DEB:-}" ] || fail "EIP_CLAIM_DEB names no package: '${EIP_CLAIM_DEB:-}' (make deb builds it)"

missing=()
for pair in debootstrap:debootstrap systemd-nspawn:systemd-container dnsmasq:dnsmasq-base openssl:openssl ip:iproute2; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "there is no apt-get to install ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update && apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" >/dev/null ||
        fail "cannot install ${missing[*]}"
fi

mkdir -p "$directory"
exec 9>"$directory/lock"
flock 9
cd "$directory"

# In a tree that is not booted, so that no service is started.
inside() {
    systemd-nspawn --quiet --register=no --keep-unit --pipe --resolv-conf=off "$@"
}

recipe=$(sha256sum "$here/tree.sh" | cut -d ' ' -f 1)
if [ "$(cat base.recipe 2>/dev/null)" != "$recipe" ]; then
    rm -rf base base.recipe layer layer.recipe
    debootstrap --variant=minbase --include=systemd,systemd-sysv,systemd-resolved,dbus,ca-certificates,curl,iproute2 \
        bookworm base >base.log 2>&1 || fail "debootstrap, see $directory/base.log"
    cp --remove-destination /etc/resolv.conf base/etc/resolv.conf
    # debootstrap itself does not resolve the virtual packages that cloud-init depends on.
    inside --directory=base env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends cloud-init \
        >>base.log 2>&1 || fail "cloud-init into the tree, see $directory/base.log"
    # Not every boot is about user data: the tests that are take this away.
    touch base/etc/cloud/cloud-init.disabled
    rm -rf base/var/cache/apt/archives/*.deb base/var/lib/apt/lists/*
    # As in an image: a machine that starts has an identity of its own, and what is enabled stays as it is.
    : >base/etc/machine-id
    mkdir -p base/var/log/journal
    echo machine >base/etc/hostname
    systemctl --quiet --root=base enable systemd-networkd systemd-resolved
    # As EC2's images have it: an address by DHCP, names by the resolver that DHCP tells.
    printf '[Match]\nName=eth*\n\n[Network]\nDHCP=ipv4\n' >base/etc/systemd/network/10-ec2.network
    ln -sfn ../run/systemd/resolve/stub-resolv.conf base/etc/resolv.conf
    echo "$recipe" >base.recipe
fi

# Runs a command inside of a layer upon others.
change() {
    local layer=$1 lower=$2
    shift 2
    mkdir -p work merged
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$layer,workdir=work" merged
    trap 'umount merged' EXIT
    "$@" || return 1
    : >merged/etc/machine-id
    umount merged
    trap - EXIT
}

trust() {
    cp tls/ca.pem merged/usr/local/share/ca-certificates/boot-test.crt
    inside --directory=merged update-ca-certificates >bare.log 2>&1 || fail "trusting the authority, see $directory/bare.log"
}

install_package() {
    cp "$EIP_CLAIM_DEB" merged/root/eip-claim.deb
    inside --directory=merged dpkg --install /root/eip-claim.deb >layer.log 2>&1 ||
        fail "installing the package, see $directory/layer.log"
    rm merged/root/eip-claim.deb
}

if [ "$(cat bare.recipe 2>/dev/null)" != "$recipe" ]; then
    rm -rf bare bare.recipe layer layer.recipe work merged tls
    mkdir -p bare tls
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=boot test' \
        -keyout tls/ca.key -out tls/ca.pem 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=amazonaws.com' \
        -keyout tls/server.key -out tls/server.csr 2>/dev/null
    openssl x509 -req -in tls/server.csr -CA tls/ca.pem -CAkey tls/ca.key -days 3650 -out tls/server.pem \
        -extfile <(echo 'subjectAltName=DNS:*.ap-northeast-2.amazonaws.com') 2>/dev/null
    change bare base trust
    echo "$recipe" >bare.recipe
fi

package=$(sha256sum <"$EIP_CLAIM_DEB" | cut -d ' ' -f 1)
if [ "$(cat layer.recipe 2>/dev/null)" != "$package" ]; then
    rm -rf layer layer.recipe work merged
    mkdir -p layer
    change layer bare:base install_package
    cp "$EIP_CLAIM_DEB" package.deb
    echo "$package" >layer.recipe
fi
