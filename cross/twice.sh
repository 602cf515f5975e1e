#!/usr/bin/env bash
# Builds the last commit here and in a fresh clone elsewhere: binary, package and bill of materials must be equal to the byte.
#
#     cross/twice.sh [arm64|amd64] [LIBRARY]
#
# The second build is a full one. Needs what cross/build.sh and cross/packaging/deb.sh need, and 3 GB below TMPDIR. To compare
# with packages that somebody else published: `facelatch release make ../again`, and then ../again/SHA256SUMS with theirs.
set -euo pipefail
cd "$(dirname "$0")/.."
arch=${1:-arm64}
[ -z "$(git status --porcelain)" ] || { echo "twice.sh: commit first; a clone has nothing else" >&2; exit 2; }

build() {
    cross/build.sh "$arch" "${1:-}"
    cross/packaging/deb.sh "$arch"
}
build "${2:-}"
elsewhere=$(mktemp -d)/of/another/depth
trap 'rm -rf "${elsewhere%/of/another/depth}"' EXIT
git clone -q . "$elsewhere"
# A tool, and none that the binary depends on.
install -D -t "$elsewhere/target/cargo-deb/bin" target/cargo-deb/bin/cargo-deb
(cd "$elsewhere" && build "${2:-}")

version=$(sed -n '1s/.*(\(.*\)).*/\1/p' cross/packaging/debian/changelog)
for file in "$arch/facelatch" "facelatch_${version}_$arch.deb" "facelatch_${version}_$arch.cdx.json"; do
    cmp "target/board/$file" "$elsewhere/target/board/$file"
    sha256sum "target/board/$file"
done
echo "twice the same"
