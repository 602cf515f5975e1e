#!/usr/bin/env bash
# Every test, compiled for 64-bit ARM as the binary for the boards is, by qemu on models of a Raspberry Pi 4's and a Pi 5's cores.
#
#     cross/suite.sh [CPU…]                       cortex-a72 cortex-a76, or others that `qemu-aarch64-static -cpu help` lists
#     FACELATCH_CASES=1 cross/suite.sh            all the random cases, in the place of a tenth
#     FACELATCH_TESTS=gate cross/suite.sh         the tests with that in their names
#
# Emulation is 10 times slower than the machine, and the networks up to 300 times, so random tests try a share of their usual cases
# (src/testing.rs). None is left out, and one that can show only a part says SKIPPED. One thread, since tests with deadlines share the
# core. Needs what cross/build.sh needs, and Debian's qemu-user-static; says SKIPPED without that.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v qemu-aarch64-static >/dev/null || {
    echo "SKIPPED: qemu-user-static is missing, so no test ran on ARM" >&2
    exit 0
}
# shellcheck source=cross/environment.sh
source cross/environment.sh arm64
[ $# -gt 0 ] || set -- cortex-a72 cortex-a76
export FACELATCH_CASES=${FACELATCH_CASES:-0.1}

suite() { cargo-zigbuild test --locked --profile board --target "$target.$glibc" "$@"; }
suite --no-run
for cpu; do
    echo "$cpu, $FACELATCH_CASES of the random cases"
    export FACELATCH_RUNNER="qemu-aarch64-static -cpu $cpu -L /usr/aarch64-linux-gnu"
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$FACELATCH_RUNNER
    time suite --no-fail-fast -- --test-threads=1 --show-output ${FACELATCH_TESTS:+"$FACELATCH_TESTS"}
done
