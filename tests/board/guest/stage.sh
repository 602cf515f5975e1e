#!/usr/bin/env bash
# One boot's work: the stage that the host names, then the machine is switched off. The host looks for the last line, since
# QEMU's exit status says nothing of the guest.
set -euo pipefail
# shellcheck source=tests/board/guest/lib.sh
source /mnt/host/guest/lib.sh
within 120 systemctl is-active --quiet board-hardware.service
stage=$(<"$host/stage")
# Also where a stage breaks off.
trap 'sync; systemctl poweroff --force' EXIT
# shellcheck source=/dev/null
source "$host/guest/$stage.sh"
echo "# end of $stage" >>"$results"
