#!/usr/bin/env bash
# Makes what a release consists of, for every target that can be compiled for here (`make dist` calls it):
#
#     packaging/dist.sh RELEASE BUILD TOOLS
#
# RELEASE is the folder that it makes anew, BUILD the one to compile in, TOOLS that of the packagers.
# The same commit and the same compilers make the same bytes, wherever the folders are and whoever calls it.
set -euo pipefail
cd "$(dirname "$0")/.."
release=$1 build=$2 tools=$3

# The program names the commit that it is built from.
changes=$(git status --porcelain --untracked-files=normal)
if [ -n "$changes" ]; then
    printf 'a release is made of a commit, and these files are not as HEAD has them:\n%s\n' "$changes" >&2
    exit 1
fi

# What would go into the bytes: how files are made and sorted, and who has set what for other builds.
umask 022
unset MAKEFLAGS MFLAGS SOURCE_COMMIT RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CFLAGS CC TARGET_CFLAGS TARGET_CC
unset CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS "${!CARGO_PROFILE_@}" "${!CARGO_TARGET_@}"
# A file that is older than its commit keeps its time in an .rpm; in a clone none is.
source=$build/source
rm -rf "$source"
git clone --quiet . "$source"
cd "$source"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH
# One way for all, since the bytes depend on it: the faster one (CONTRIBUTING.md).
export RUSTC_BOOTSTRAP=1

# The name by which cargo's environment has a setting of a target.
setting() {
    echo "CARGO_TARGET_$(tr a-z- A-Z_ <<<"$1")_$2"
}

# A panic names its source file, wherever that is. Of the prefixes that fit, the last one counts.
cargo fetch --quiet --locked
flags="--remap-path-prefix=$build=/target --remap-path-prefix=$(pwd -P)=/eip-claim"
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    flags+=" --remap-path-prefix=$crates=/crates"
done
# Cargo joins these with the flags of .cargo/config.toml; RUSTFLAGS would replace them.
targets=({x86_64,aarch64}-unknown-linux-{gnu,musl})
for target in "${targets[@]}"; do
    export "$(setting "$target" RUSTFLAGS)=$flags"
done

# The C compiler for a target, which links as well; on Debian they have these names.
compiler() {
    if [ "$1" = "$native" ]; then echo cc; else echo "${1/unknown-/}-gcc"; fi
}

# Why a target is left out; nothing if it is not.
lacking() {
    compgen -G "$(rustc --print target-libdir --target "$1")/libstd-*.rlib" >/dev/null || echo "Rust's standard library"
    command -v "$(compiler "$1")" >/dev/null || compiler "$1"
}

# Compiles for a target and installs into a folder, by the rules of the Makefile.
install_into() {
    local folder=$1 target=$2
    local goals=(install) settings=(CARGO_BUILD_TARGET="$target")
    if [ "$target" = "$native" ]; then
        goals+=(deb rpm)
    else
        settings+=("$(setting "$target" LINKER)=$(compiler "$target")" TARGET_CC="$(compiler "$target")")
    fi
    env "${settings[@]}" make --no-print-directory "${goals[@]}" \
        DESTDIR="$folder" PREFIX=/usr TARGET_DIR="$build" TOOLS="$tools" PACKAGES="$release"
}

native=$(rustc -vV | sed -n 's/^host: //p')
version=$(sed -n '0,/^version = /s/^version = "\(.*\)"/\1/p' Cargo.toml)
stage=$build/stage
rm -rf "$release" "$stage"
mkdir -p "$release" "$stage"
for target in "${targets[@]}"; do
    missing=$(lacking "$target")
    if [ -n "$missing" ]; then
        echo "left out: $target, which lacks here: ${missing//$'\n'/ and }"
        continue
    fi
    name=eip-claim-$version-$target
    install_into "$stage/$name" "$target"
    tar --create --directory="$stage" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --format=gnu \
        --owner=0 --group=0 --numeric-owner "$name" | gzip --best --no-name >"$release/$name.tar.gz"
    manual=$build/$target/release/manual
    install -m 644 "$manual/eip-claim.cdx.json" "$release/$name.cdx.json"
    install -m 644 "$manual/third-party-licences.txt.gz" "$release/$name.third-party-licences.txt.gz"
done
[ -n "$(ls "$release")" ] || { echo "no release can be made on $native" >&2; exit 1; }
install -m 644 LICENSE-APACHE LICENSE-MIT "$release"
(cd "$release" && sha256sum -- * >"$stage/SHA256SUMS" && mv "$stage/SHA256SUMS" .)
ls -l "$release"
