# The first boot. Sourced by stage.sh.
# shellcheck shell=bash
# shellcheck source=tests/board/guest/lib.sh
source /mnt/host/guest/lib.sh
# shellcheck source=tests/board/guest/install.sh
source "$host/guest/install.sh"
# shellcheck source=tests/board/guest/visits.sh
source "$host/guest/visits.sh"
run_install
run_visits
