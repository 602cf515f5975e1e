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
# qemu-system-x86, ffmpeg, and what machine.sh says, at first Debian's archive as well; without them it says SKIPPED and exits with 0.
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
    arm64) qemu=(qemu-system-aarch64 -machine virt -cpu "${BOARD_CPU:-cortex-a76}") console=ttyAMA0 needs=qemu-system-arm threads=multi ;;
    # One thread translates for both processors: with two, a kernel that patches itself may meet a breakpoint after it has taken
    # it away, and panics, as QEMU 7.2 let it once in some dozens of boots.
    amd64) qemu=(qemu-system-x86_64 -machine q35 -cpu "${BOARD_CPU:-max}") console=ttyS0 needs=qemu-system-x86 threads=single ;;
    *) die "no machine for $arch" ;;
esac
[ "$(id -u)" = 0 ] || skip "this isn't root"
command -v "${qemu[0]}" >/dev/null || skip "$needs is missing"
for tool in cpio ffmpeg; do command -v $tool >/dev/null || skip "$tool is missing"; done

machine=target/board/machine/$arch
begun=$(date +%s)
made=0
"$here/machine.sh" "$arch" "$machine" || made=$?
case $made in
    0) ;;
    69) skip "the machine could not be made without that" ;;
    *) die "the machine could not be made (see above)" ;;
esac
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

# Frames of whoever stands there, each with its own noise, as a camera's are: equal frames are a frozen camera. So many that a
# machine that takes seconds for a frame doesn't see the same one again.
frames() {
    ffmpeg -v error "${@:2}" -vf "$filter" -frames:v 23 -pix_fmt yuyv422 -f rawvideo "$share/frames/$1.yuyv"
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
    "${qemu[@]}" -accel tcg,thread=$threads -smp 2 -m 1024 -nic none -no-reboot -display none -monitor none \
        -serial "file:$run/console-$stage" -device virtio-rng-pci -drive "file=$disk,if=virtio,format=raw" \
        -virtfs "local,path=$share,mount_tag=host,security_model=none" -kernel "$machine/vmlinuz" -initrd "$machine/initrd" \
        -append "console=$console quiet panic=-1 systemd.show_status=0 net.ifnames=0" "$@" </dev/null 2>"$run/qemu-$stage" &
    pid=$!
}

# Shows results until the machine is off, so many seconds at most; `pid` is empty then.
wait_off() {
    local until
    until=$(($(date +%s) + $1))
    while [ "$(date +%s)" -lt "$until" ]; do
        sleep 1
        show
        if ! kill -0 "$pid" 2>/dev/null; then
            wait "$pid" || true
            pid=
            show
            return
        fi
    done
}
kill_machine() {
    if [ -n "$pid" ]; then
        kill -9 "$pid"
        wait "$pid" 2>/dev/null || true
        pid=
    fi
    show
}
# A machine that didn't come to its end.
lost() {
    echo "not ok the machine comes to the end of $1"
    tail -n 40 "$run/console-$1" "$run/qemu-$1" | sed 's/^/#   /'
    failed=$((failed + 1))
}

stage() {
    local ends
    ends=$(grep -c "^# end of $1$" "$share/results" || true)
    power_on "$@"
    wait_off 1800
    kill_machine
    if [ "$(grep -c "^# end of $1$" "$share/results")" -eq "$ends" ]; then lost "$1"; fi
}


# Until the kernel has panicked, which ends QEMU because of -no-reboot.
panicked() {
    power_on "$1"
    wait_off 3600
    if [ -n "$pid" ] || ! grep -q '^# the kernel panics' "$share/results"; then lost "$1"; fi
    kill_machine
}

# Takes the power away at some moment after a few acknowledged events.
power_cut() {
    local acknowledged until
    power_on writing
    until=$(($(date +%s) + 1800))
    acknowledged=$(<"$share/acknowledged")
    for _ in 1 2 3; do
        while [ "$(cat "$share/acknowledged" 2>/dev/null)" = "$acknowledged" ] && [ "$(date +%s)" -lt "$until" ]; do sleep 0.2; done
        acknowledged=$(cat "$share/acknowledged")
    done
    sleep "$((RANDOM % 4)).$((RANDOM % 10))"
    kill_machine
    if [ "$(date +%s)" -ge "$until" ]; then lost writing; fi
    echo "# power cut at some moment after $acknowledged" >>"$share/results"
}

# Its failed cases are counted with the others; what fails outside of a case is one more.
raspberry_pi() {
    if ! "$here/pi.sh" "$machine" "$deb" 2>&1 | tee -a "$share/results"; then
        if ! grep -q '^not ok Raspberry Pi' "$share/results"; then
            echo "not ok Raspberry Pi: all of its cases are tried" | tee -a "$share/results"
        fi
    fi
}

failed=0
stage short
if [ "$form" = long ]; then
    panicked troubles
    stage afterwards
    for _ in $(seq "${BOARD_POWER_CUTS:-2}"); do
        power_cut
        # A board without a battery for its clock.
        stage afterwards -rtc base=1970-01-02
    done
    if [ "$arch" = arm64 ]; then raspberry_pi; fi
fi

failed=$((failed + $(grep -c '^not ok ' "$share/results" || true)))
passed=$(grep -c '^ok ' "$share/results" || true)
# Of the machines alone, in seconds: the children that have ended.
times >"$run/times"
echo "# $(($(date +%s) - begun)) s; processes computed $(tail -n 1 "$run/times")"
echo "board: $passed passed, $failed failed"
[ "$failed" = 0 ]
