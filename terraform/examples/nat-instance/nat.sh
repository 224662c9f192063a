#!/bin/sh
# User data of a NAT instance, for Debian with eip-claim, nftables, curl and the AWS CLI in the AMI.
# It runs once, in the first boot: an instance left behind that reboots does not take the routes back.
set -eu

# Every 5 s for 5 minutes: the role has its permissions at about the time of the first boot.
retry() {
    left=60
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 5
    done
}

metadata() {
    curl --fail --silent --show-error --header "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/meta-data/$1"
}

echo 'net.ipv4.ip_forward = 1' >/etc/sysctl.d/90-nat.conf
sysctl --load=/etc/sysctl.d/90-nat.conf
cat >/etc/nftables.conf <<'RULES'
flush ruleset
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        masquerade
    }
}
RULES
systemctl enable nftables.service
systemctl restart nftables.service

token=$(curl --fail --silent --show-error --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 600' http://169.254.169.254/latest/api/token)
instance=$(metadata instance-id)
AWS_DEFAULT_REGION=$(metadata placement/region)
export AWS_DEFAULT_REGION

retry aws ec2 modify-instance-attribute --instance-id "$instance" --no-source-dest-check

# It waits for the claim, and ends here if this instance is not to have the address.
systemctl start eip-claim.service
route() { aws ec2 "$1" --route-table-id "$2" --destination-cidr-block 0.0.0.0/0 --instance-id "$instance"; }
lead_here() { route replace-route "$1" || route create-route "$1"; }
for table in ${route_tables}; do
    retry lead_here "$table"
done
