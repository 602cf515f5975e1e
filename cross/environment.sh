# What builds for a board with, for whoever sources this in the repository's root: so that the binary and its tests are compiled
# alike, and the networks' runtime once for both.
#
#     source cross/environment.sh arm64|amd64 [LIBRARY]
#
# Sets $target, $glibc and $tools, the prefix of the target's binutils, and exports what cargo-zigbuild, bindgen and rustc read.
# The linker is zig's, from PyPI, in an environment of its own; LIBRARY is for cross/std.sh where rustup can't download.
# shellcheck shell=bash disable=SC2034
glibc=2.31
case $1 in
    arm64) target=aarch64-unknown-linux-gnu tools=aarch64-linux-gnu- ;;
    amd64) target=x86_64-unknown-linux-gnu tools= ;;
    *) echo "$0: arm64 or amd64, not $1" >&2; exit 2 ;;
esac
command -v "${tools}objcopy" >/dev/null || { echo "$0: ${tools}objcopy is missing" >&2; exit 1; }

zig=$PWD/target/zig
if ! cmp -s cross/requirements.txt "$zig/requirements.txt"; then
    python3 -m venv "$zig"
    "$zig/bin/pip" install -q -r cross/requirements.txt
    cp cross/requirements.txt "$zig/requirements.txt"
fi
export PATH=$zig/bin:$PATH
if [ "$1" = arm64 ]; then
    cross/std.sh ${2:+"$2"}
    # Where bindgen finds V4L2's header: of the target, and not where it would look on this machine. Without the target's name,
    # since cargo-zigbuild sets the variable that has it.
    export BINDGEN_EXTRA_CLANG_ARGS="--sysroot=/usr/aarch64-linux-gnu -I/usr/aarch64-linux-gnu/include"
fi

# No SOURCE_DATE_EPOCH: no time gets into the binary, and with one that changes, every C part and so tract is built again.
unset SOURCE_DATE_EPOCH
export RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$PWD=/facelatch"
