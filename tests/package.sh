#!/usr/bin/env bash
# A life of the package: installed, upgraded, removed and purged, by apt in a fresh Debian in a folder of its own.
#
#     tests/package.sh PACKAGE.deb [ROOT]
#
# ROOT: a Debian that has what the package depends on, to be copied, where making one takes too long.
# Needs root, Debian's mmdebstrap and lintian; says SKIPPED without them. A package of another architecture is looked at by lintian
# and unpacked, as its scripts can't run here. Exit status 1: something is not as it must be.
set -euo pipefail
deb=$(realpath "$1")

skip() {
    echo "SKIPPED: $1, so the package was not installed" >&2
    exit 0
}
fail() {
    echo "package.sh: $1" >&2
    exit 1
}
for tool in mmdebstrap lintian; do command -v "$tool" >/dev/null || skip "$tool is missing"; done

lintian --fail-on error --tag-display-limit 0 "$deb"

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
dpkg-deb --raw-extract "$deb" "$work/raw"
# A conffile that setup has written would hold up every upgrade that brings another sample.
! grep -qs facelatch.toml "$work/raw/DEBIAN/conffiles" || fail "the configuration is setup's and must be no conffile"
sh -n "$work/raw/DEBIAN/postinst"
sh -n "$work/raw/DEBIAN/postrm"
grep -q "^Files: crates/" "$work/raw/usr/share/doc/facelatch/copyright" || fail "the crates' copyright is missing"

[ "$(dpkg-deb --field "$deb" Architecture)" = "$(dpkg --print-architecture)" ] || skip "it is for another machine"
[ "$(id -u)" = 0 ] || skip "this isn't root"

# The same under a higher number, as an upgrade.
sed -i 's/^Version: .*/&+upgrade/' "$work/raw/DEBIAN/control"
dpkg-deb --root-owner-group -Znone --build "$work/raw" "$work/upgrade.deb" >/dev/null
rm -rf "$work/raw"

root=$work/root
# With what the package depends on, so that its own life needs no network.
if [ -n "${2:-}" ]; then
    cp -a "$2" "$root"
else
    suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    mmdebstrap --quiet --mode=root --variant=minbase --include=systemd,init-system-helpers,tzdata "$suite" "$root"
fi
cp "$deb" "$root/first.deb"
cp "$work/upgrade.deb" "$root/upgrade.deb"
in_root() { chroot "$root" env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
apt() { in_root apt-get install -y -qq --no-install-recommends "$@" >"$work/apt.log" 2>&1 || { cat "$work/apt.log"; fail "apt $*"; }; }

apt /first.deb
in_root facelatch --version
in_root id facelatch
[ "$(stat -c %a "$root/etc/facelatch")" = 755 ] || fail "/etc/facelatch has a wrong mode"
for file in usr/share/doc/facelatch/examples/facelatch.toml lib/systemd/system/facelatch.service usr/lib/sysusers.d/facelatch.conf usr/share/man/man1/facelatch-enroll.1.gz \
    usr/share/bash-completion/completions/facelatch usr/share/doc/facelatch/copyright usr/share/doc/facelatch/docs/install.md \
    usr/share/doc/facelatch/models/cards/encoder.md; do
    [ -s "$root/$file" ] || [ -s "$root/usr/$file" ] || fail "$file is missing"
done
in_root sha256sum --check --quiet /usr/share/facelatch/SHA256SUMS || fail "the program isn't what its package says"
[ ! -e "$root/etc/systemd/system/multi-user.target.wants/facelatch.service" ] || fail "the service is enabled, and nobody said so"

# Somebody lives here: a configuration, a key, a person, an event, all by the one command after the installation.
mkdir "$root/frames"
cp "$(dirname "$0")"/../models/demo/ada-*.jpg "$root/frames/"
printf 'camera.device = "/frames"\nperson.name = "Ada"\nperson.consent = "a test"\n' >"$root/answers.toml"
in_root facelatch setup --answers /answers.toml || fail "setup ends with something wrong"
[ "$(stat -c '%a %U' "$root/etc/facelatch/facelatch.key")" = "600 root" ] || fail "the key has a wrong mode or owner"
echo '# changed by hand' >>"$root/etc/facelatch/facelatch.toml"
door() { in_root facelatch "$@"; }
events=$(door events --json | wc -l)
[ "$events" -gt 0 ] || fail "the enrolment left no event"
is_as_it_was() {
    door people list | grep -q Ada || fail "$1 lost a person"
    [ "$(door events --json | wc -l)" = "$events" ] || fail "$1 lost an event"
    grep -q 'changed by hand' "$root/etc/facelatch/facelatch.toml" || fail "$1 overwrote the configuration"
}

apt /upgrade.deb
# dpkg fills this in, not the shell.
# shellcheck disable=SC2016
[ "$(in_root dpkg-query -W -f '${Version}' facelatch)" = "$(dpkg-deb --field "$deb" Version)+upgrade" ] || fail "no upgrade"
is_as_it_was "the upgrade"

in_root apt-get remove -y -qq facelatch >"$work/apt.log" 2>&1 || fail "remove: $(cat "$work/apt.log")"
[ ! -e "$root/usr/bin/facelatch" ] || fail "the binary outlived its package"
[ -s "$root/etc/facelatch/facelatch.key" ] || fail "remove took the key"
apt /first.deb
is_as_it_was "removing"

# On another disk now.
mv "$root/var/lib/facelatch" "$root/srv/door"
ln -s /srv/door "$root/var/lib/facelatch"
echo 'state_dir = "/srv/elsewhere"' >>"$root/etc/facelatch/facelatch.toml"
in_root apt-get purge -y -qq facelatch >"$work/apt.log" 2>&1 || fail "purge: $(cat "$work/apt.log")"
[ -z "$(ls -A "$root/srv/door")" ] || fail "purge left people and events on the other disk"
grep -q 'left, as it lies elsewhere: /srv/elsewhere' "$work/apt.log" || fail "purge doesn't say what it left"
left=$(find "$root/etc" "$root/var/lib" "$root/usr" "$root/lib/systemd" -name '*facelatch*' -not -path "$root/var/lib/dpkg/*" 2>/dev/null || true)
[ -z "$left" ] || fail "purge left: $left"
echo "installed, upgraded, removed, installed again and purged: $(basename "$deb")"
