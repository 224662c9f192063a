#!/usr/bin/env bash
# Installs the tools that are named and missing, and what opens a network namespace, on Debian or Ubuntu.
set -euo pipefail

# A tool, and the package that has it.
declare -A package=([valgrind]=valgrind [curl]=curl [ip]=iproute2 [unshare]=util-linux)
missing=()
for tool in ip unshare "$@"; do
    command -v "$tool" >/dev/null || missing+=("${package[$tool]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q --yes --no-install-recommends "${missing[@]}"
