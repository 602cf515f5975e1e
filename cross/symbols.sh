#!/usr/bin/env bash
# Whether a binary runs with a C library of a given version: no symbol that it asks glibc for is newer, and it asks for no
# libraries besides glibc's and libgcc_s.
#
#     cross/symbols.sh BINARY VERSION
#
# Prints the newest version it needs. Exit status 1: it needs a newer one, or another library.
set -euo pipefail
binary=$1 most=$2

versions=$(readelf --wide --version-info "$binary" | grep -o 'Name: GLIBC_[0-9.]*' | sed 's/.*_//' | sort -Vu)
libraries=$(readelf --wide --dynamic "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[ -n "$versions" ] || { echo "symbols.sh: $binary names no version of glibc" >&2; exit 1; }
newest=$(tail -n 1 <<<"$versions")
foreign=$(grep -vE '^(lib(c|m|dl|rt|pthread|util)\.so\.[0-9]+|libgcc_s\.so\.1|ld-linux-.*\.so\.[0-9]+)$' <<<"$libraries" || true)
echo "$binary: glibc $newest of at most $most; $(paste -sd ' ' <<<"$libraries")"
[ -z "$foreign" ] || { echo "symbols.sh: needs $(paste -sd ' ' <<<"$foreign")" >&2; exit 1; }
[ "$(printf '%s\n' "$newest" "$most" | sort -V | tail -n 1)" = "$most" ] || {
    echo "symbols.sh: needs glibc $newest, newer than $most" >&2
    exit 1
}
