#!/usr/bin/env bash
# Puts Rust's standard library for 64-bit ARM where rustc looks for it, if it isn't there yet.
#
#     cross/std.sh [LIBRARY]
#
# `rustup target add` is asked first. Where it can't download, the library is compiled from its source, in about a minute:
# LIBRARY, else what `rustup component add rust-src` or Debian's package rust-src put in place. The source must be that of
# the installed rustc. Needs a C compiler for the target, as cross/build.sh does.
set -euo pipefail
target=aarch64-unknown-linux-gnu
sysroot=$(rustc --print sysroot)
libdir=$sysroot/lib/rustlib/$target/lib

has_core() { compgen -G "$libdir/libcore-*.rlib" >/dev/null; }
if has_core; then exit 0; fi
if [ $# -eq 0 ] && command -v rustup >/dev/null && rustup target add "$target" 2>/dev/null && has_core; then exit 0; fi

release=$(rustc -vV | sed -n 's/^release: //p')
commit=$(rustc -vV | sed -n 's/^commit-hash: //p')
library=
for place in "${1:-}" "$sysroot/lib/rustlib/src/rust/library" "/usr/src/rustc-$release/library"; do
    if [ -f "$place/std/Cargo.toml" ]; then library=$(realpath "$place"); break; fi
done
if [ -z "$library" ]; then
    echo "std.sh: rustup can't add $target, and the source of Rust $release's library is nowhere:" \
        "cross/std.sh LIBRARY" >&2
    exit 1
fi

echo "compiling the standard library for $target from $library"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n' >"$work/Cargo.toml"
touch "$work/src/lib.rs"
(
    cd "$work"
    # -Z is for nightly; the library itself is compiled as the releases of Rust do it, with their paths.
    export RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$library
    export RUSTFLAGS="-Cembed-bitcode=yes -Zforce-unstable-if-unmarked -Cforce-frame-pointers=non-leaf -Zunstable-options \
--remap-path-prefix=$library=/rustc/$commit/library --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    cargo build --release --target "$target" \
        -Zbuild-std=std,panic_abort,panic_unwind,proc_macro,test -Zbuild-std-features=backtrace,panic-unwind
)
mkdir -p "$libdir"
find "$work/target/$target/release/deps" \( -name '*.rlib' -o -name '*.so' \) ! -name 'libempty-*' -exec cp -t "$libdir" {} +
has_core
