#!/usr/bin/env bash
# Makes a Debian package of a binary that is there already, and a bill of materials beside it.
#
#     cross/packaging/deb.sh [arm64|amd64] [BINARY]
#
# BINARY is what cross/build.sh made for that architecture, unless another is named. Writes target/board/*.deb and
# target/board/*.cdx.json. Equal binaries and commits give equal packages. Needs Debian's liblzma-dev, and qemu-user-static with
# libc6-arm64-cross where the binary is not for this machine: it writes its own man pages.
set -euo pipefail
cd "$(dirname "$0")/../.."

arch=${1:-arm64} binary=${2:-target/board/${1:-arm64}/facelatch}
case $arch in
    arm64) target=aarch64-unknown-linux-gnu emulator='qemu-aarch64-static -cpu cortex-a72 -L /usr/aarch64-linux-gnu' ;;
    amd64) target=x86_64-unknown-linux-gnu emulator= ;;
    *) echo "deb.sh: arm64 or amd64, not $arch" >&2; exit 2 ;;
esac
[ "$(uname -m)" = "${target%%-*}" ] && emulator=
[ -f "$binary" ] || { echo "deb.sh: $binary is missing; cross/build.sh $arch makes it" >&2; exit 1; }

cargo_deb=$(CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cross/packaging/tool.sh cargo-deb 3.8.0)

# What the package says of the C library must be true. GLIBC=2.36, say, is for trying a binary that wasn't made for boards.
cross/symbols.sh "$binary" "${GLIBC:-2.31}"

if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then SOURCE_DATE_EPOCH=$(git log -1 --format=%ct); fi
export SOURCE_DATE_EPOCH
stage=target/package
rm -rf "$stage"
mkdir -p "$stage/man" "$stage/doc" "$stage/examples"
install -m 755 "$binary" "$stage/facelatch"
$emulator "$stage/facelatch" man "$stage/man"
$emulator "$stage/facelatch" completions bash >"$stage/facelatch.bash"
$emulator "$stage/facelatch" completions zsh >"$stage/_facelatch"
$emulator "$stage/facelatch" completions fish >"$stage/facelatch.fish"
cross/packaging/components.py "$target" copyright >"$stage/copyright"
cross/packaging/components.py "$target" licences >"$stage/doc/licences.txt"
cross/packaging/components.py "$target" sbom >"$stage/doc/facelatch.cdx.json"
cross/packaging/pages.py "$stage/doc"
# By the name that Debian's policy has for it; pages link to the other.
gzip -9nc CHANGELOG.md >"$stage/doc/changelog.gz"
cp systemd/*.conf systemd/facelatch.toml "$stage/examples/"
# For `facelatch doctor`, and for `sha256sum -c`: which program this is, and of which sources, if cross/build.sh made it.
version=$(sed -n '1s/.*(\(.*\)).*/\1/p' cross/packaging/debian/changelog)
commit=unknown
if [ -f "$binary.commit" ]; then commit=$(cat "$binary.commit"); fi
printf '# facelatch %s, commit %s\n%s  /usr/bin/facelatch\n' "$version" "$commit" \
    "$(sha256sum "$stage/facelatch" | cut -d ' ' -f 1)" >"$stage/SHA256SUMS"
gzip -9n "$stage"/man/* "$stage/doc/licences.txt" "$stage/doc/facelatch.cdx.json"

mkdir -p target/board
deb=target/board/facelatch_${version}_$arch.deb
"$cargo_deb" --no-build --no-strip --quiet --target "$target" --deb-version "$version" --output "$deb"
zcat "$stage/doc/facelatch.cdx.json.gz" >"${deb%.deb}.cdx.json"
ls -l "$deb"
sha256sum "$deb" "${deb%.deb}.cdx.json"
