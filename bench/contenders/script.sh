#!/bin/bash
# What people paste into user data: the metadata by curl, the address by the AWS CLI.
set -euo pipefail

metadata=http://169.254.169.254/latest
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token")
get() { curl -sf -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/$1"; }
instance=$(get instance-id)
region=$(get placement/region)
value=$(get tags/instance/eip-claim)

allocation=$(aws ec2 describe-addresses --region "$region" --filters "Name=tag:eip-claim,Values=$value" \
    --query 'Addresses[0].AllocationId' --output text)
aws ec2 associate-address --region "$region" --instance-id "$instance" --allocation-id "$allocation" \
    --allow-reassociation
