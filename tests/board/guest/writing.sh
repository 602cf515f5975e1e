# Writes events as fast as it can, and tells the host what was acknowledged, until the host cuts the power. Sourced by stage.sh.
# shellcheck shell=bash
# shellcheck source=tests/board/guest/lib.sh
source /mnt/host/guest/lib.sh
(while true; do facelatch people expire Ada "20$((RANDOM % 60 + 30))-01-01"; done) >/dev/null 2>&1 &
while true; do
    facelatch unlock --json >"$host/asked" 2>&1 && cat "$host/asked" >"$host/acknowledged.new" && mv "$host/acknowledged.new" "$host/acknowledged"
done
