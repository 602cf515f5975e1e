# The boot after a kernel panic or a power cut: the line rests, what was acknowledged is there, the chain is whole. Sourced by
# stage.sh.
# shellcheck shell=bash
# shellcheck source=tests/board/guest/lib.sh
source /mnt/host/guest/lib.sh

safe_and_whole() {
    local seq
    strike_is 0
    within 240 status_has '"camera":"ok"'
    strike_is 0
    seq=$(sed -n '$s/.*"seq": *\([0-9]*\).*/\1/p' "$host/acknowledged")
    echo "acknowledged last: event $seq"
    facelatch events --json --limit 100000 | grep "\"seq\": *$seq," | grep manual_release
    ledger_is_whole
    facelatch events --json --limit 100000 | sed "1,/\"seq\": *$seq,/d" | grep -m 1 '"started"'
    facelatch doctor
}

# systemd never lets a clock begin before its own epoch, so 1970 is not what a daemon sees on a board without a battery.
figure "the clock at this boot: $(date --utc --iso-8601=minutes), the hardware's: $(cat /sys/class/rtc/rtc0/date 2>/dev/null || echo none)"
run_case "the line rests, and nothing is lost that was acknowledged" safe_and_whole
