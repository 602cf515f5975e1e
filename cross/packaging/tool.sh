#!/usr/bin/env bash
# Installs one of cargo's tools below target/, in a fixed version, unless it is there already, and prints where it is.
#
#     cross/packaging/tool.sh NAME VERSION
#
# Not optimised, unless CARGO_PROFILE_RELEASE_OPT_LEVEL says so: such a tool runs for a second, and optimising it takes minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=$1 version=$2 root=$PWD/target/$1

# `3.8.0` says one, `cargo-deny 0.20.2` another.
there=$("$root/bin/$name" --version 2>/dev/null || true)
if [ "${there##* }" != "$version" ]; then
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=${CARGO_PROFILE_RELEASE_OPT_LEVEL:-0} CARGO_PROFILE_RELEASE_LTO=off
    cargo install --quiet --locked --root "$root" --target-dir "$root/target" --force "$name@$version" >&2
fi
printf '%s\n' "$root/bin/$name"
