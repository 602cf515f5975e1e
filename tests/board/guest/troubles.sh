# A second boot, and what goes wrong at doors: cameras, hangs, journals, clocks, disks; a kernel panic ends it. Sourced by stage.sh.
# shellcheck shell=bash
# shellcheck source=tests/board/guest/lib.sh
source /mnt/host/guest/lib.sh
# shellcheck source=tests/board/guest/visits.sh
source "$host/guest/visits.sh"

came_back() {
    within 180 status_has '"camera":"ok"'
    strike_is 0
    facelatch people list | grep Ada
    facelatch events --limit 3
    [ "$(events stopped)" -ge 1 ] || fail "the shutdown before is not in the ledger"
    ledger_is_whole
}

# Parts of the start, as shares: how long anything takes here means nothing.
phases() {
    local begun ready networks frame
    systemctl restart facelatch.service
    within 120 status_has '"frames_seen":[1-9]'
    frame=$(uptime_cs)0000
    begun=$(systemctl show --property ExecMainStartTimestampMonotonic --value facelatch.service)
    ready=$(systemctl show --property ActiveEnterTimestampMonotonic --value facelatch.service)
    networks=$(journalctl --unit facelatch.service --output short-monotonic --no-pager | awk '/encoder: / { gsub(/[\[\]]/, " "); at = $1 } END { printf "%d", at * 1000000 }')
    systemd-analyze time
    figure "$(awk -v a="$begun" -v b="$networks" -v c="$ready" -v d="$frame" 'BEGIN {
        whole = d - a
        printf "start: networks loaded %.0f %%, to READY=1 %.0f %%, to the first frame judged %.0f %%, of %.1f s emulated", \
            100 * (b - a) / whole, 100 * (c - b) / whole, 100 * (d - c) / whole, whole / 1000000 }')"
}

memory() {
    local main peak
    main=$(systemctl show --property MainPID --value facelatch.service)
    peak=$(systemctl show --property MemoryPeak --value facelatch.service)
    figure "memory at most: resident $(awk '/^VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$main/status") MiB, of the service with its caches $((peak / 1048576)) MiB"
}

camera_gone() {
    local device=/sys/bus/platform/drivers/vivid
    systemctl stop board-picture.service
    rm /dev/door-camera
    echo vivid.0 >"$device/unbind"
    within 60 status_has '"camera":"lost"'
    door_status
    rests_for 3
    # People get out all the same.
    exit_button
    echo vivid.0 >"$device/bind"
    camera_wire
    show nobody
    within 120 status_has '"faults":\[\]'
    face
}

# A daemon that hangs while the door is open. systemd waits for WatchdogSec=, and again as long as stopping may take.
hung() {
    local main begun
    main=$(systemctl show --property MainPID --value facelatch.service)
    facelatch unlock
    within 60 strike_is 1
    begun=$(uptime_cs)
    kill -STOP "$main"
    within 120 strike_is 0
    echo "the line fell $((($(uptime_cs) - begun) / 100)) s after the daemon had hung"
    within 180 restarted "$main"
    strike_is 0
    journal_says 'Watchdog timeout'
    ledger_is_whole
}

no_journal() {
    local units="systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket"
    # shellcheck disable=SC2086
    systemctl mask --runtime --now $units 2>&1
    [ "$(systemctl is-active systemd-journald.service)" != active ]
    face
    exit_button
    # And one that starts without it.
    systemctl restart facelatch.service
    within 180 status_has '"camera":"ok"'
    face
    # shellcheck disable=SC2086
    systemctl unmask --runtime $units
    systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service
    # Who started without a journal finds it with the next start; the ledger has all of it.
    systemctl restart facelatch.service
    within 180 status_has '"camera":"ok"'
}

clock_of_1970() {
    local was before
    was=$(date +%s)
    # Whatever comes of it, the next case has its own time again.
    # shellcheck disable=SC2064
    trap "date --set @$((was + 60)) >/dev/null" EXIT
    before=$(events expired)
    facelatch enroll Bela "$host/people/bela-1.jpg" --consent "a test" --expires 2090-01-01
    date --set 1970-01-02
    within 60 status_has '"people":2'
    show bela
    within 180 more_events expired "$before"
    facelatch events --limit 1 --outcome expired
    facelatch events --limit 1 --outcome expired | grep -q clock_not_set
    within 10 journal_says clock_not_set
    rests_for 3
    face
    ledger_is_whole
}

# What the file system still gives away, all of it.
fill() {
    fallocate -l "$(df --output=avail -B1 / | tail -n 1)" /filler 2>/dev/null || true
    cat /dev/zero >/filler.rest 2>/dev/null || true
    sync
    echo "left on the disk: $(df --output=avail / | tail -n 1)"
}

# The daemon is started where nothing can be written: the door stays shut for faces, people get out, and once there is room all
# of it works by itself.
full_disk() {
    local released=0
    trap 'rm -f /filler /filler.rest' EXIT
    fill
    show ada
    systemctl restart facelatch.service || true
    within 120 status_has '"faults":\["store'
    journal_says 'no space is left' || true
    rests_for 20
    show nobody
    pull button pull-down
    see_pulse 60 || released=$?
    pull button pull-up
    [ "$released" = 0 ] || fail "the exit button released nothing"
    rm -f /filler /filler.rest
    within 240 status_has '"faults":\[\]'
    face
    ledger_is_whole
}

run_case "after a restart of the machine the service is there by itself" came_back
run_case "the start, by its parts" phases
run_case "the camera is unplugged and comes back" camera_gone
run_case "a hung daemon is ended by the watchdog, and the line falls" hung
run_case "without a journal the door goes on" no_journal
run_case "in 1970 whoever has an expiry is denied, and nobody else" clock_of_1970
run_case "started on a full disk it opens for no face, lets people out, and recovers" full_disk
run_case "memory" memory

# An acknowledged event, and then the kernel is gone while the line is active.
facelatch unlock --json >"$host/acknowledged"
within 60 strike_is 1
echo "# the kernel panics with the line active" >>"$results"
sync -f "$host/acknowledged"
echo c >/proc/sysrq-trigger
sleep 600
