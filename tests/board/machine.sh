#!/usr/bin/env bash
# Makes the machine that tests/board/run.sh boots: Debian's kernel, a Debian with systemd on an ext4 disk, and the few
# modules that find that disk.
#
#     tests/board/machine.sh arm64|amd64 FOLDER
#
# Leaves vmlinuz, initrd and disk.img in FOLDER (and with arm64 what pi.sh needs), and makes them again only where this file or what it
# puts on the disk has changed. The kernel comes from Debian's backports: it has both of the drivers that stand for hardware, vivid
# for the camera and gpio-sim for the wires, so that nothing has to be compiled. Nothing of facelatch is on the disk.
# Needs root, mmdebstrap, kmod, cpio, xz and mke2fs; for another architecture arch-test and qemu-user-static as well, whose handler of
# foreign programs is registered for as long as the disk is made, unless it is already.
# Exit status 69: one of these is missing, or Debian's archive doesn't answer, and nothing is wrong but that; 1: something failed.
set -euo pipefail
arch=$1 out=$(realpath -m "$2")
here=$(dirname "$(realpath "$0")")
suite=trixie size=1500M
# Besides systemd: v4l-utils plays pictures into the camera, busybox starts from the initrd.
packages=systemd-sysv,udev,dbus,kmod,procps,v4l-utils,init-system-helpers,tzdata,busybox-static
# In the initrd and on the disk, each with what it depends on.
modules_boot="virtio_pci virtio_mmio virtio_blk ext4 9p 9pnet_virtio"
modules_disk="autofs4 vivid gpio-sim virtio-rng softdog"

made_by=$(cat "$0" "$here"/guest/init "$here"/guest/*.service | sha256sum | cut -d' ' -f1)
[ "$(cat "$out/made-by" 2>/dev/null)" = "$made_by" ] && exit 0
absent() {
    echo "machine.sh: $1" >&2
    exit 69
}
for tool in mmdebstrap modprobe cpio xz mke2fs; do command -v $tool >/dev/null || absent "$tool is missing"; done

# Debian's part takes longest and changes least.
debian=$out/debian-$suite-$(echo "$packages" | sha256sum | cut -c1-8).tar

handler=
[ -f "$debian" ] || command -v arch-test >/dev/null || absent "arch-test is missing"
if [ ! -f "$debian" ] && ! arch-test -n "$arch" >/dev/null 2>&1; then
    # The file system that it is registered in is seen by this process and its children alone.
    [ -n "${BOARD_NAMESPACE:-}" ] || BOARD_NAMESPACE=1 exec unshare --mount "$0" "$@"
    [ "$arch" = arm64 ] && cpu=aarch64 || cpu=x86_64
    [ -f "/usr/lib/binfmt.d/qemu-$cpu.conf" ] || absent "qemu-user-static is missing"
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    handler=/proc/sys/fs/binfmt_misc/qemu-$cpu
    [ -e "$handler" ] || cat "/usr/lib/binfmt.d/qemu-$cpu.conf" >/proc/sys/fs/binfmt_misc/register
fi
work=$(mktemp -d)
cleanup() {
    if [ -n "$handler" ]; then echo -1 >"$handler"; fi
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
# By apt's own way, which may lead over a proxy.
/usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file "http://deb.debian.org/debian/dists/$suite/InRelease" "$work/answer" \
    >/dev/null 2>&1 || absent "Debian's archive doesn't answer"
mkdir -p "$out"
rm -f "$out/made-by"

root=$work/root
if [ ! -f "$debian" ]; then
    mmdebstrap --quiet --mode=root --variant=minbase --architectures="$arch" --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$work/debian.tar"
    mv "$work/debian.tar" "$debian"
fi
# Those of other packages: pi.sh takes the one that there is.
find "$out" -maxdepth 1 -name 'debian-*.tar' ! -path "$debian" -delete
mkdir "$root"
tar -xf "$debian" -C "$root"

# The kernel's packages, unpacked: installing them would make an initrd of another kind.
sed -n "s/ $suite / $suite-backports /p" "$root/etc/apt/sources.list" >"$work/backports.list"
apt_options=(-qq -o "Dir=$root" -o "Dir::State::status=$root/var/lib/dpkg/status" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::Etc::sourcelist=$work/backports.list" -o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o APT::Sandbox::User=root)
apt-get "${apt_options[@]}" update
kernel=$(apt-cache "${apt_options[@]}" show "linux-image-$arch" | sed -n 's/^Depends: .*linux-image-\([0-9][^ ]*\).*/\1/p' | head -1)
[ -n "$kernel" ] || { echo "machine.sh: $suite-backports has no kernel for $arch" >&2; exit 1; }
(cd "$work" && apt-get "${apt_options[@]}" download "linux-binary-$kernel" "linux-modules-$kernel" "linux-base-$kernel")
for deb in "$work"/linux-*.deb; do dpkg-deb --extract "$deb" "$work/kernel"; done
ln -s usr/lib "$work/kernel/lib"
depmod -b "$work/kernel" "$kernel"
cp "$work/kernel/usr/lib/modules/$kernel/vmlinuz" "$out/vmlinuz"
if [ "$arch" = arm64 ]; then
    cp "$work/kernel/usr/lib/modules/$kernel/dtb/broadcom/bcm2837-rpi-3-b.dtb" "$out/pi3.dtb"
    xz -dc "$work/kernel/usr/lib/modules/$kernel/kernel/drivers/watchdog/bcm2835_wdt.ko.xz" >"$out/bcm2835_wdt.ko"
fi

# Files of modules and of what they depend on, in the order of loading.
files_of() {
    local module
    for module in "$@"; do
        modprobe -d "$work/kernel" -S "$kernel" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
    done | awk '!seen[$0]++'
}

initrd=$work/initrd
mkdir -p "$initrd"/{bin,dev,proc,sys,root,modules}
cp "$root/usr/bin/busybox" "$initrd/bin/"
install -m 755 "$here/guest/init" "$initrd/init"
# shellcheck disable=SC2086
for file in $(files_of $modules_boot); do
    name=$(basename "$file" .xz)
    xz -dc "$file" >"$initrd/modules/$name"
    echo "$name" >>"$initrd/modules/order"
done
(cd "$initrd" && find . | cpio --quiet -o -H newc | gzip -1) >"$out/initrd"

modules=$root/usr/lib/modules/$kernel
mkdir -p "$modules"
# shellcheck disable=SC2086
for file in $(files_of $modules_boot $modules_disk); do
    install -D -m 644 "$file" "$modules/${file#*/modules/"$kernel"/}"
done
cp "$work/kernel/usr/lib/modules/$kernel"/modules.{builtin,builtin.modinfo,order} "$modules/"
depmod -b "$root" "$kernel"

# A system that waits for nobody and fetches nothing. What it does is in the folder that it shares with the host.
echo board >"$root/etc/hostname"
: >"$root/etc/machine-id"
: >"$root/etc/apt/sources.list"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
printf '/dev/vda / ext4 rw 0 1\nhost /mnt/host 9p trans=virtio,version=9p2000.L,msize=262144 0 0\n' >"$root/etc/fstab"
mkdir -p "$root/mnt/host" "$root/etc/systemd/system/multi-user.target.wants"
for unit in board-hardware board-test; do
    cp "$here/guest/$unit.service" "$root/etc/systemd/system/"
    ln -s "../$unit.service" "$root/etc/systemd/system/multi-user.target.wants/"
done
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-firstboot.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# At each reload systemd starts every generator, and starting is slow where it is emulated; these find nothing here.
mkdir -p "$root/etc/systemd/system-generators"
for generator in "$root"/usr/lib/systemd/system-generators/*; do
    case $generator in */systemd-fstab-generator | */systemd-sysv-generator) ;; *) ln -s /dev/null "$root/etc/systemd/system-generators/$(basename "$generator")" ;; esac
done

rm -f "$out/disk.img"
mke2fs -q -t ext4 -m 1 -d "$root" "$out/disk.img" "$size"
echo "$kernel" >"$out/kernel"
echo "$made_by" >"$out/made-by"
