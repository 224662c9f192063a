#!/usr/bin/env bash
# Installs what the tests of the packages compare with, on Debian or Ubuntu.
set -euo pipefail

# A tool, and the package that has it.
declare -A package=(
    [lintian]=lintian [rpmlint]=rpmlint [rpm]=rpm [man]=man-db [zsh]=zsh [fish]=fish
    [shellcheck]=shellcheck [cloud-init]=cloud-init [curl]=curl
)
missing=()
for tool in "${!package[@]}"; do
    command -v "$tool" >/dev/null || missing+=("${package[$tool]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

# Only its validator is wanted: it shall not set up this machine at its next boot.
mkdir -p /etc/cloud
touch /etc/cloud/cloud-init.disabled
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q --yes --no-install-recommends "${missing[@]}"
