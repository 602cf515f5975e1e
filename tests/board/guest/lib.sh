# What every stage in the emulated machine uses: cases with their times, waiting, the wires, the camera. Sourced by stage.sh.
# shellcheck shell=bash

host=/mnt/host
results=$host/results
hardware=/run/board

# ---- waiting

# Seconds since the machine was started, in hundredths; no test may set this clock.
uptime_cs() {
    local up _idle
    read -r up _idle </proc/uptime
    echo "${up/./}"
}

# Sleeps for a fraction of a second, by nothing that must be started: starting is slow here.
nap() { read -r -t "$1" <>"$hardware/never" || true; }

# Waits until a command succeeds; at most so many seconds of an emulated machine on a busy host.
within() {
    local seconds=$1 until
    shift
    until=$(($(uptime_cs) + seconds * 100))
    until "$@"; do
        [ "$(uptime_cs)" -lt "$until" ] || {
            echo "waited $seconds s in vain for: $*"
            return 1
        }
        nap 0.2
    done
}

# ---- cases

# Runs a function as a case, tells how it went and how long it took, and why where it failed.
run_case() {
    local name=$1 begun took status=0 log=$hardware/case.log
    shift
    begun=$(uptime_cs)
    set +e
    (
        set -euo pipefail
        "$@"
    ) >"$log" 2>&1
    status=$?
    took=$(($(uptime_cs) - begun))
    took="$((took / 100)).$((took % 100 / 10)) s"
    if [ "$status" = 0 ]; then
        echo "ok $name ($took)"
        sed 's/^/#   /' "$log"
    else
        echo "not ok $name ($took)"
        {
            cat "$log"
            echo "--- the service, and the journal's end:"
            systemctl status --no-pager --lines=0 facelatch.service
            journalctl --no-pager --lines=60 --output=short-monotonic
        } 2>&1 | sed 's/^/#   /'
    fi >>"$results"
    set -e
}

# A figure that was measured, for the host to collect.
figure() { echo "# figure: $*" >>"$results"; }

fail() {
    echo "$*"
    return 1
}

# ---- wires

wire_names=(strike button contact)
wire() {
    local at
    for at in "${!wire_names[@]}"; do
        if [ "${wire_names[$at]}" = "$1" ]; then echo "$(<"$hardware/gpio")/sim_gpio$at"; fi
    done
}

# The level on the strike's line, 0 or 1, as an instrument on the wire would see it.
strike_level() {
    local level
    read -r level <"$(<"$hardware/strike")/value"
    echo "$level"
}
strike_is() { [ "$(strike_level)" = "$1" ]; }

# What somebody outside puts on an input: pull-up or pull-down.
pull() { echo "$2" >"$(wire "$1")/pull"; }

# Whether the strike rests for so many seconds.
rests_for() {
    local until=$(($(uptime_cs) + $1 * 100))
    while [ "$(uptime_cs)" -lt "$until" ]; do
        strike_is 0 || fail "the strike's line went active" || return 1
        nap 0.1
    done
}

# Waits for the line to go active and to fall again; sets how long it was active, in hundredths of a second.
pulse_cs=0
see_pulse() {
    local rise
    within "$1" strike_is 1 || return
    rise=$(uptime_cs)
    within 60 strike_is 0 || return
    # shellcheck disable=SC2034
    pulse_cs=$(($(uptime_cs) - rise))
}

# ---- camera

node() {
    local name
    for name in /sys/class/video4linux/*/name; do
        if [ "$(<"$name")" = "vivid-000-vid-$1" ]; then
            name=${name%/name}
            echo "/dev/${name##*/}"
        fi
    done
}

# vivid's HDMI output wired to its HDMI input: 640x480, at the least rate that its pixel clock goes down to.
camera_wire() {
    local cap out
    local timing=cvt,width=640,height=480,fps=40
    within 60 test -n "$(node cap)"
    cap=$(node cap) out=$(node out)
    udevadm settle
    v4l2-ctl -d "$out" --set-output=1 --set-dv-bt-timings "$timing"
    v4l2-ctl -d "$cap" --set-input=3
    v4l2-ctl -d "$cap" -c hdmi_000_0_is_connected_to=2,osd_text_mode=2
    v4l2-ctl -d "$cap" --set-dv-bt-timings "$timing"
    v4l2-ctl -d "$out" --set-fmt-video-out=width=640,height=480,pixelformat=YUYV
    # Not by a rule of udev's: the daemon would open it half wired, and see vivid's own picture, which is always the same.
    ln -sfn "$cap" /dev/door-camera
}

# The driver of the camera is loaded, and nobody stands before it.
camera_driver() {
    modprobe vivid n_devs=1 node_types=0x101 no_error_inj=1
    camera_wire
    show nobody
}

# Who stands before the camera: ada, stranger or nobody.
show() {
    systemctl stop board-picture.service 2>/dev/null || true
    systemd-run --quiet --collect --unit=board-picture.service --property=StandardOutput=null --property=StandardError=null \
        v4l2-ctl -d "$(node out)" --stream-out-mmap --stream-loop "--stream-from=$hardware/$1.yuyv"
}

# ---- the door

# It exits with 1 while a fault stands, which is an answer as well.
door_status() { facelatch status --json || [ $? = 1 ]; }
# Whether the daemon's status has this text.
status_has() { door_status 2>/dev/null | grep -q -- "$1"; }
ready() { systemctl is-active --quiet facelatch.service; }

# How many events have this outcome.
events() { facelatch events --json --limit 100000 --outcome "$1" | wc -l; }
more_events() { [ "$(events "$1")" -gt "$2" ]; }
ledger_is_whole() { facelatch events --verify; }

# The last line of the daemon in the journal that says this.
journal_says() { journalctl --unit facelatch.service --no-pager --grep "$1" --output cat --lines 1; }
