# Somebody comes to the door: nobody, a stranger, Ada; the daemon is killed while the door is open; the exit button. Sourced by
# stage.sh after install.sh.
# shellcheck shell=bash
# shellcheck source=tests/board/guest/lib.sh
source /mnt/host/guest/lib.sh

# The strike is released for gate.pulse_ms. The daemon must let go in time even here; what stands above it is what an instrument
# that is itself emulated adds.
pulse_ms=4000
pulse_fits() {
    echo "the line was active for $((pulse_cs / 100)).$((pulse_cs % 100)) s of $pulse_ms ms"
    [ $((pulse_cs * 10)) -ge $((pulse_ms - 1500)) ] && [ $((pulse_cs * 10)) -le $((pulse_ms + 3000)) ]
}

nobody_there() {
    show nobody
    rests_for 5
}

stranger() {
    local before
    before=$(events not_recognised)
    show stranger
    within 180 more_events not_recognised "$before"
    rests_for 5
    show nobody
    [ "$(events granted)" = 0 ]
}

face() {
    local before begun
    before=$(events granted)
    begun=$(uptime_cs)
    show ada
    see_pulse 180
    echo "from the picture to the line: $((($(uptime_cs) - begun - pulse_cs) / 100)) s"
    show nobody
    pulse_fits
    more_events granted "$before"
}

# The one who opens is killed at that moment: the kernel lets go of the line, and what hangs on it rests.
killed() {
    local main
    main=$(systemctl show --property MainPID --value facelatch.service)
    facelatch unlock &
    within 60 strike_is 1
    kill -KILL "$main"
    within 5 strike_is 0
    wait || true
    within 120 restarted "$main"
    strike_is 0
    ledger_is_whole
}
restarted() {
    local main
    main=$(systemctl show --property MainPID --value facelatch.service)
    ready && [ "$main" != 0 ] && [ "$main" != "$1" ] && status_has '"camera":"ok"'
}

exit_button() {
    local before
    before=$(events exit)
    pull button pull-down
    see_pulse 30
    pull button pull-up
    pulse_fits
    within 30 more_events exit "$before"
}

# The key is away: nobody is known, people get out, and the key is taken again with the next start.
key_gone() {
    local key=/etc/facelatch/facelatch.key
    # shellcheck disable=SC2064
    trap "if [ -e $key.away ]; then mv $key.away $key; fi" EXIT
    mv $key $key.away
    systemctl restart facelatch.service
    within 120 status_has '"faults":\["store'
    journal_says 'systemctl restart facelatch'
    pull button pull-down
    see_pulse 30
    pull button pull-up
    mv $key.away $key
    systemctl restart facelatch.service
    within 120 status_has '"faults":\[\]'
    face
}

run_visits() {
    run_case "nobody stands there, and the line rests" nobody_there
    run_case "a stranger comes, and the line rests" stranger
    run_case "Ada comes, the line goes active, and falls again in time" face
    run_case "killed while the door is open: the line falls, the ledger is whole, the service is back" killed
    run_case "the exit button releases" exit_button
    run_case "without its key it starts and lets people out, and with it knows them again" key_gone
}
