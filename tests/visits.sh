#!/usr/bin/env bash
# Simulated visits through the whole door: `tests/visits.sh FACELATCH PYTHON [VISITS_OF_EACH_KIND] [SENSORS]`.
#
# The recipes' simulator writes sessions of people and of twelve kinds of attack; each is judged by the built-in head and happens at
# a door with the real gate, a ledger on disk and a strike (`facelatch liveness eval --door`). What a small run can tell with
# certainty is asserted; the figures of a large one are the card's.
set -euo pipefail
facelatch=$1
# As a whole path, and not past its links: that is how a virtual environment knows itself.
python=$(command -v "$2")
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
each=${3:-12}
sensors=${4:-camera depth thermal}

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck disable=SC2086  # several sensors
(cd "$root/models/train" && OMP_NUM_THREADS=1 "$python" -B liveness_sim.py "$work/visits" --sessions "$each" --seed 20 --sensors $sensors)
"$facelatch" --state "$work/state" --json liveness eval "$work/visits" --door >"$work/answer.json"
"$facelatch" --state "$work/state" liveness plot "$work/visits/live-0001.csv" --out "$work/live.svg" >/dev/null
grep -q '</svg>' "$work/live.svg"

"$python" - "$work/answer.json" "$each" <<'PYTHON'
import json, sys

answer, each = json.load(open(sys.argv[1])), int(sys.argv[2])
door, visits = answer["door"], answer["door"]["visits"]
assert answer["recordings"] == answer["simulated"] == 13 * each
for kind, count in sorted(visits.items()):
    print(f"{kind:<18} the door opened {count['opened']} of {count['visits']} times; otherwise {count['otherwise']}")
print(f"seconds from the first frame to the release: {door['seconds_p50']:.2f} (p50), {door['seconds_p95']:.2f} (p95)")
opened = lambda *kinds: sum(visits[kind]["opened"] for kind in kinds)
assert opened("live") >= 0.9 * each, "living people are sent away"
kept_out = ("print_flat", "print_curved", "print_cut_eyes", "phone", "tablet", "screen_video", "mannequin", "photo_warm_person")
assert opened(*kept_out) <= 0.02 * each * len(kept_out), "pictures and mannequins open the door"
PYTHON
