#!/usr/bin/env bash
# The kernels' tests for 64-bit ARM, by qemu on models of Cortex-A53, A72 and A76 and of a core with all extensions.
#
#     cross/emulate.sh [FILTER]
#
# The kernels are compiled as a crate of their own, as the whole program takes minutes. Needs Debian's gcc-aarch64-linux-gnu,
# libc6-dev-arm64-cross and qemu-user-static, and the Rust target aarch64-unknown-linux-gnu; says SKIPPED where one is missing.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
target=aarch64-unknown-linux-gnu

skip() {
    echo "SKIPPED: $1 is missing, so the ARM kernels were not tested" >&2
    exit 0
}
command -v aarch64-linux-gnu-gcc >/dev/null || skip gcc-aarch64-linux-gnu
command -v qemu-aarch64-static >/dev/null || skip qemu-user-static
[ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || skip "the Rust target $target"

crate=$root/target/emulate
mkdir -p "$crate/src"
version() { sed -n "s/^$1 = //p" "$root/Cargo.toml"; }
cat >"$crate/Cargo.toml" <<END
[package]
name = "kernels"
version = "0.0.0"
edition = "2024"

[lib]
doctest = false

[dependencies]
thiserror = $(version thiserror)

[dev-dependencies]
libc = $(version libc)
proptest = $(version proptest)

[profile.release]
opt-level = 3
overflow-checks = true

[workspace]
END
cp "$root/Cargo.lock" "$crate/Cargo.lock"
{
    echo '#![allow(dead_code)]'
    # Its macro first, for those behind it.
    printf '#[macro_use]\n'
    for module in named:named.rs frame:frame.rs kernels:kernels/mod.rs testing:testing.rs time:time.rs; do
        printf '#[path = "%s/src/%s"]\npub mod %s;\n' "$root" "${module#*:}" "${module%%:*}"
    done
    printf 'pub mod sim {\n    #[path = "%s/src/sim/rng.rs"]\n    pub mod rng;\n}\n' "$root"
} >"$crate/src/lib.rs"

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
for cpu in cortex-a53 cortex-a72 cortex-a76 max; do
    echo "$cpu"
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu $cpu -L /usr/aarch64-linux-gnu"
    (cd "$crate" && cargo test --release --quiet --target "$target" -- "$@")
done
