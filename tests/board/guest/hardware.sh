#!/usr/bin/env bash
# The board's hardware, at every boot before the daemon: a GPIO chip whose levels can be seen and set from outside, and a
# camera that shows what it is given.
set -euo pipefail
mkdir -p /run/board
mkfifo /run/board/never
# shellcheck source=tests/board/guest/lib.sh
source /mnt/host/guest/lib.sh

modprobe gpio-sim
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
chip=/sys/kernel/config/gpio-sim/door
mkdir -p "$chip/wires"
echo "${#wire_names[@]}" >"$chip/wires/num_lines"
for at in "${!wire_names[@]}"; do
    mkdir "$chip/wires/line$at"
    echo "${wire_names[$at]}" >"$chip/wires/line$at/name"
done
echo 1 >"$chip/live"
echo "/sys/devices/platform/$(<"$chip/dev_name")/$(<"$chip/wires/chip_name")" >"$hardware/gpio"
echo "/dev/$(<"$chip/wires/chip_name")" >"$hardware/chip"
wire strike >"$hardware/strike"
# The button and the contact hang between their line and ground; one is open, the other closed.
pull button pull-up
pull contact pull-down

cp /mnt/host/frames/*.yuyv "$hardware/"
camera_driver
