#!/usr/bin/env bash
# The package on a whole emulated machine: Debian's kernel and systemd under QEMU, a V4L2 camera that shows real frames, GPIO lines
# whose levels are seen from outside the daemon, and facelatch installed by apt.
#
#     tests/board/run.sh [short|long] [PACKAGE.deb]
#
# PACKAGE decides the machine, arm64 or amd64; without one it is the newest for arm64 in target/board. `short` is what fits
# into CI: installing, a face, a stranger, a killed daemon, the exit button. `long` is everything that guest/ has, and on arm64 the
# Raspberry Pi's own registers (pi.sh). One line a case as it ends, `ok NAME (SECONDS)`, a failed one with what it saw and the journal.
#
# Nothing is faster than a hundredth of a board, as QEMU translates every instruction; figures of time mean shares, not
# seconds. What is downloaded and made stays in target/board/machine for the next run. Needs root and Debian's qemu-system-arm or
# qemu-system-x86, ffmpeg, and what machine.sh says; without them it says SKIPPED and exits with 0.
# Exit status 1: a case failed, or a machine didn't come to its end.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/board

skip() {
    echo "SKIPPED: $1, so the package was not tried on an emulated machine" >&2
    exit 0
}
die() {
    echo "run.sh: $1" >&2
    exit 1
}

form=${1:-short}
case $form in short | long) ;; *) die "short or long, not $form" ;; esac
deb=${2:-$(find target/board -maxdepth 1 -name '*_arm64.deb' -printf '%T@ %p\n' 2>/dev/null | sort -n | sed -n '$s/[^ ]* //p')}
[ -n "$deb" ] || skip "there is no package; cross/build.sh and cross/packaging/deb.sh make one"
[ -f "$deb" ] || die "$deb is missing"
arch=$(dpkg-deb --field "$deb" Architecture)
case $arch in
    arm64) qemu=(qemu-system-aarch64 -machine virt -cpu "${BOARD_CPU:-cortex-a76}") console=ttyAMA0 needs=qemu-system-arm ;;
    amd64) qemu=(qemu-system-x86_64 -machine q35 -cpu "${BOARD_CPU:-max}") console=ttyS0 needs=qemu-system-x86 ;;
    *) die "no machine for $arch" ;;
esac
[ "$(id -u)" = 0 ] || skip "this isn't root"
command -v "${qemu[0]}" >/dev/null || skip "$needs is missing"
for tool in mmdebstrap modprobe cpio xz mke2fs ffmpeg; do command -v $tool >/dev/null || skip "$tool is missing"; done

machine=target/board/machine/$arch
begun=$(date +%s)
"$here/machine.sh" "$arch" "$machine" || skip "the machine could not be made (see above)"
echo "# $deb on Debian's kernel $(<"$machine/kernel"); the machine was ready after $(($(date +%s) - begun)) s"

# What the host shares with the guest, and the disk of this run.
run=$machine/run
rm -rf "$run"
mkdir -p "$run/share/"{frames,people}
share=$run/share disk=$run/disk.img
cp --sparse=always --reflink=auto "$machine/disk.img" "$disk"
cp -r "$here/guest" "$share/guest"
cp "$deb" "$share/facelatch.deb"
cp models/demo/*.jpg "$share/people/"
: >"$share/results"

# Seven frames of whoever stands there, each with its own noise, as a camera's are: equal frames are a frozen camera.
frames() {
    ffmpeg -v error "${@:2}" -vf "$filter" -frames:v 7 -pix_fmt yuyv422 -f rawvideo "$share/frames/$1.yuyv"
}
filter="scale=-2:400,pad=640:480:(ow-iw)/2:(oh-ih)/2:gray,noise=alls=6:allf=t"
frames ada -loop 1 -i models/demo/ada-2.jpg
frames stranger -loop 1 -i models/demo/stranger-1.jpg
frames bela -loop 1 -i models/demo/bela-2.jpg
filter="noise=alls=6:allf=t"
frames nobody -f lavfi -i color=gray:640x480

pid=
trap 'if [ -n "$pid" ]; then kill -9 "$pid" 2>/dev/null || true; fi' EXIT

# Results of the guest that haven't been shown yet.
shown=0
show() {
    local lines
    lines=$(wc -l <"$share/results")
    if [ "$lines" -gt "$shown" ]; then
        sed -n "$((shown + 1)),${lines}p" "$share/results"
        shown=$lines
    fi
}

# Starts the machine for a stage.
power_on() {
    local stage=$1
    shift
    echo "$stage" >"$share/stage"
    echo "# boot: $stage" >>"$share/results"
    "${qemu[@]}" -accel tcg,thread=multi -smp 2 -m 1024 -nic none -no-reboot -display none -monitor none \
        -serial "file:$run/console-$stage" -device virtio-rng-pci -drive "file=$disk,if=virtio,format=raw" \
        -virtfs "local,path=$share,mount_tag=host,security_model=none" -kernel "$machine/vmlinuz" -initrd "$machine/initrd" \
        -append "console=$console quiet panic=-1 systemd.show_status=0 net.ifnames=0" "$@" </dev/null 2>"$run/qemu-$stage" &
    pid=$!
}

# Waits until the machine is off, and demands that it came to the end of its stage.
power_off() {
    local stage=$1 seconds=$2 until
    until=$(($(date +%s) + seconds))
    while kill -0 "$pid" 2>/dev/null && [ "$(date +%s)" -lt "$until" ]; do
        sleep 1
        show
    done
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pid=
    show
    if ! grep -q "^# end of $stage$" "$share/results"; then
        echo "not ok the machine comes to the end of $stage"
        tail -n 40 "$run/console-$stage" "$run/qemu-$stage"
        failed=$((failed + 1))
    fi
}
stage() {
    power_on "$@"
    power_off "$1" 1800
}

failed=0
stage short

failed=$((failed + $(grep -c '^not ok ' "$share/results" || true)))
passed=$(grep -c '^ok ' "$share/results" || true)
times > "$run/times"
echo "# $(($(date +%s) - begun)) s, of which the machines computed $(sed -n '2s/ .*//p' "$run/times")"
echo "board: $passed passed, $failed failed"
[ "$failed" = 0 ]
