#!/usr/bin/env bash
# The binary for 64-bit ARM, as it goes into the package, by qemu on models of Cortex-A53 (Zero 2 W), A72 (Pi 4) and A76 (Pi 5).
#
#     cross/smoke.sh [BINARY] [NATIVE]
#
# It starts, compares two photographs of one person and of two, and says the same as the NATIVE binary: the networks' integers
# are exact on every CPU, and only the floats before and after them may differ in a last digit. Needs what cross/build.sh
# needs and qemu-user-static; says SKIPPED where something is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:-target/board/arm64/facelatch} native=${2:-target/release/facelatch}
# A similarity, -1 to 1, may differ by so much.
most=0.002

skip() {
    echo "SKIPPED: $1 is missing, so the ARM binary was not run" >&2
    exit 0
}
[ -x "$binary" ] || skip "$binary"
[ -x "$native" ] || skip "$native"
command -v qemu-aarch64-static >/dev/null || skip qemu-user-static
[ -e /usr/aarch64-linux-gnu/lib/libc.so.6 ] || skip libc6-arm64-cross

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
pictures=models/demo
similarity() { "$@" | sed -n 's/.*"similarity": *\(-\{0,1\}[0-9.]*\).*/\1/p'; }
# `compare` says with its exit status whether it is one person.
compare() { similarity "${@:1:$#-2}" compare --json --state "$home" "$pictures/${*: -2:1}" "$pictures/${*: -1}" || true; }

for cpu in cortex-a53 cortex-a72 cortex-a76; do
    arm="qemu-aarch64-static -cpu $cpu -L /usr/aarch64-linux-gnu $binary"
    echo "$cpu: $($arm --version)"
    for pair in "ada-1.jpg ada-2.jpg" "ada-1.jpg bela-1.jpg"; do
        # Two words each, on purpose.
        # shellcheck disable=SC2086
        there=$(compare $arm $pair) here=$(compare "$native" $pair)
        echo "  $pair: $there, native $here"
        awk -v a="$there" -v b="$here" -v most=$most 'BEGIN { exit !(a != "" && b != "" && a - b <= most && b - a <= most) }' || {
            echo "smoke.sh: $cpu and the native binary don't agree" >&2
            exit 1
        }
    done
done
