#!/usr/bin/env bash
# Builds facelatch for a board: one binary, linked against glibc 2.31, so that it runs on Ubuntu 20.04 (Jetson), Debian 11,
# Raspberry Pi OS 11 and whatever came later.
#
#     cross/build.sh [arm64|amd64] [LIBRARY]
#
# Writes target/board/ARCHITECTURE/facelatch, stripped, and facelatch.debug beside it with what `gdb -s` and `addr2line -e` want. The
# linker is zig's, from PyPI, in an environment of its own; LIBRARY is for cross/std.sh where rustup can't download.
# Needs Debian's python3-venv, libclang-dev and, for arm64, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross.
# Equal sources give equal binaries, wherever they lie: paths and times are left out.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
glibc=2.31

arch=${1:-arm64}
case $arch in
    arm64) target=aarch64-unknown-linux-gnu tools=aarch64-linux-gnu- ;;
    amd64) target=x86_64-unknown-linux-gnu tools= ;;
    *) echo "build.sh: arm64 or amd64, not $arch" >&2; exit 2 ;;
esac
command -v "${tools}objcopy" >/dev/null || { echo "build.sh: ${tools}objcopy is missing" >&2; exit 1; }

zig=$root/target/zig
if ! cmp -s cross/requirements.txt "$zig/requirements.txt"; then
    python3 -m venv "$zig"
    "$zig/bin/pip" install -q -r cross/requirements.txt
    cp cross/requirements.txt "$zig/requirements.txt"
fi
export PATH=$zig/bin:$PATH
if [ "$arch" = arm64 ]; then
    cross/std.sh ${2:+"$2"}
    # Where bindgen finds V4L2's header: of the target, and not where it would look on this machine. Without the target's name,
    # since cargo-zigbuild sets the variable that has it.
    export BINDGEN_EXTRA_CLANG_ARGS="--sysroot=/usr/aarch64-linux-gnu -I/usr/aarch64-linux-gnu/include"
fi

# No SOURCE_DATE_EPOCH: no time gets into the binary, and with one that changes, every C part and so tract is built again.
unset SOURCE_DATE_EPOCH
export RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$root=/facelatch"
cargo zigbuild --locked --profile board --bin facelatch --target "$target.$glibc"

out=target/board/$arch
built=target/$target/board/facelatch
mkdir -p "$out"
"${tools}objcopy" --only-keep-debug "$built" "$out/facelatch.debug"
chmod -x "$out/facelatch.debug"
# Without a debug link: its checksum is of facelatch.debug, which knows where the C parts were compiled.
"${tools}objcopy" --strip-all "$built" "$out/facelatch"
cross/symbols.sh "$out/facelatch" "$glibc"
ls -l "$out"
sha256sum "$out/facelatch"
