#!/usr/bin/env bash
# The Raspberry Pi's own registers: facelatch with `strike.kind = "raspberry-pi"` on QEMU's Raspberry Pi 3, under Debian's kernel, and
# the pin's level read from outside, in the model of the chip, through QEMU's monitor.
#
#     tests/board/pi.sh MACHINE PACKAGE_arm64.deb
#
# MACHINE is the folder that machine.sh made for arm64. There is no systemd and no camera here; a release by hand needs neither.
# The kernel gives no /dev/gpiomem, so that rppal maps /dev/mem, which needs root and iomem=relaxed.
# Prints a line a case as run.sh does. Exit status 1: one failed.
set -euo pipefail
machine=$(realpath "$1") deb=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

# Everything is in the initrd: busybox, the package's binary, the C library.
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,run,lib,etc}
tar -xf "$machine"/debian-*.tar -C "$root" ./usr/bin/busybox ./usr/lib/aarch64-linux-gnu/libc.so.6 \
    ./usr/lib/aarch64-linux-gnu/libm.so.6 ./usr/lib/aarch64-linux-gnu/libpthread.so.0 ./usr/lib/aarch64-linux-gnu/libdl.so.2 \
    ./usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1
cp "$root"/usr/lib/aarch64-linux-gnu/* "$root/lib/"
dpkg-deb --fsys-tarfile "$deb" | tar -xf - -C "$root" ./usr/bin/facelatch
install -m 755 "$here/guest/pi-init" "$root/init"
cp "$machine/bcm2835_wdt.ko" "$root/lib/"
cat >"$root/etc/door.toml" <<'END'
[strike]
kind = "raspberry-pi"
line = 17
[gate]
pulse_ms = 8000
ledger_timeout_ms = 10000
[store]
state_dir = "/run/state"
[control]
socket = "/run/control.sock"
[liveness]
i_accept_that_a_photograph_opens_this_door = true
END
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initrd"

begun=$(date +%s)
serial=$work/serial
coproc QEMU {
    exec qemu-system-aarch64 -machine raspi3b -accel tcg,thread=multi -kernel "$machine/vmlinuz" -dtb "$machine/pi3.dtb" \
        -initrd "$work/initrd" -append "console=ttyAMA0,115200 panic=1 iomem=relaxed quiet" -display none -monitor stdio \
        -serial "file:$serial" -serial null 2>"$work/qemu"
}
qemu=$QEMU_PID
# Under numbers of our own, as bash keeps a coprocess's from subshells.
exec 3<&"${QEMU[0]}" 4>&"${QEMU[1]}"
trap 'kill "$qemu" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT

# The level of BCM pin 17, 0 or 1: a bit of GPLEV0 (BCM2835 ARM Peripherals, 6.1).
level() {
    local line
    echo 'xp /1wx 0x3f200034' >&4
    while read -r -t 20 line <&3; do
        line=${line%$'\r'}
        case $line in 000000003f200034:*) echo $((${line##* } >> 17 & 1)); return ;; esac
    done
    return 1
}
is() { [ "$(level)" = "$1" ]; }
said() { grep -aq "^$1" "$serial" 2>/dev/null; }
within() {
    local until=$(($(date +%s) + $1))
    shift
    until "$@"; do
        if [ "$(date +%s)" -ge "$until" ] || ! kill -0 "$qemu" 2>/dev/null; then return 1; fi
        sleep 0.2
    done
}

failed=0
case_of() {
    local name=$1 at
    shift
    at=$(date +%s)
    if "$@"; then
        echo "ok $name ($(($(date +%s) - at)) s)"
    else
        echo "not ok $name ($(($(date +%s) - at)) s)"
        tail -n 30 "$serial" "$work/qemu" | sed 's/^/#   /'
        failed=$((failed + 1))
    fi
}
starts() { within 900 said '@started' && is 0; }
released() { within 300 is 1 && within 120 is 0 && within 60 said '@again'; }
panics() {
    local at
    within 300 is 1 && within 120 said '@panic' || return
    at=$(date +%s)
    within 120 is 0 && echo "# the pin stayed high for $(($(date +%s) - at)) s after the panic, until the restart"
}

case_of "Raspberry Pi: the daemon starts, and the pin is low" starts
case_of "Raspberry Pi: a release makes the pin high, and low again in time" released
case_of "Raspberry Pi: the kernel panics with the pin high, and it is low after the restart" panics
echo "# Raspberry Pi: $(($(date +%s) - begun)) s"
[ "$failed" = 0 ]
