#!/usr/bin/env bash
# Builds facelatch for a board: one binary, linked against glibc 2.31, so that it runs on Ubuntu 20.04 (Jetson), Debian 11,
# Raspberry Pi OS 11 and whatever came later.
#
#     cross/build.sh [arm64|amd64] [LIBRARY]
#
# Writes target/board/ARCHITECTURE/facelatch, stripped, and beside it facelatch.debug with what `gdb -s` and `addr2line -e` want, and
# facelatch.commit, which says of which commit it is.
# LIBRARY is for cross/std.sh where rustup can't download.
# Needs Debian's python3-venv, libclang-dev and, for arm64, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross.
# Equal sources give equal binaries, wherever they lie: paths and times are left out.
set -euo pipefail
cd "$(dirname "$0")/.."
arch=${1:-arm64}
# shellcheck source=cross/environment.sh
source cross/environment.sh "$arch" "${2:-}"
# Of what is compiled now; a package may be made of it later.
commit=$(git describe --always --abbrev=40 --dirty --exclude="*") || commit=unknown
cargo zigbuild --locked --profile board --bin facelatch --target "$target.$glibc"

out=target/board/$arch
built=target/$target/board/facelatch
mkdir -p "$out"
"${tools}objcopy" --only-keep-debug "$built" "$out/facelatch.debug"
chmod -x "$out/facelatch.debug"
# Without a debug link: its checksum is of facelatch.debug, which knows where the C parts were compiled.
"${tools}objcopy" --strip-all "$built" "$out/facelatch"
echo "$commit" >"$out/facelatch.commit"
cross/symbols.sh "$out/facelatch" "$glibc"
ls -l "$out"
sha256sum "$out/facelatch"
