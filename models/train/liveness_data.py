"""Windows to train and measure with, made once and kept: `python liveness_data.py WORK` (minutes), or when a recipe first needs
them. Parts never share a session: each has a seed of its own. Files are called by seed, recordings and simulator, too: others'
windows are others."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data import digest
from liveness_sim import windows_of
from liveness_signals import Recordings
from liveness_table import CLASS_OF, CLASSES, KINDS, LIVE, SENSORS, TABLE, of_sensors, read_session
from liveness_windows import ROW_CHANNEL, TICK, TICKS, has_face, has_frames, of_session

PARTS = {"train": 1, "validate": 2, "measure": 3, "hard": 4}  # "hard" is measured with, too: noise and mounting twice as bad
ARRAYS = 2048  # windows to calibrate int8 with and to measure it on
EVERY = 0.5  # seconds between the windows that are taken from a recorded session
# What windows are made by: liveness_sim.py, and all that it imports.
MODULES = ("attacks", "camera", "fusion", "people", "scene", "sensors", "signals", "sim", "table", "windows")
SIMULATOR = (TABLE, *(Path(__file__).with_name(f"liveness_{name}.py") for name in MODULES))


@dataclass
class Windows:
    """`rows`: N x 116 x 50, float16; `kinds`: N indices of (LIVE, *KINDS)."""

    rows: np.ndarray
    kinds: np.ndarray

    @property
    def classes(self) -> np.ndarray:
        of = np.array([CLASSES.index(CLASS_OF[kind]) for kind in (LIVE, *KINDS)])
        return of[self.kinds]

    def only(self, chosen) -> "Windows":
        return Windows(self.rows[chosen], self.kinds[chosen])

    @staticmethod
    def together(parts: list["Windows"]) -> "Windows":
        return Windows(np.concatenate([p.rows for p in parts]), np.concatenate([p.kinds for p in parts]))


def simulated(
    work: Path, part: str, live: int, each: int, recordings: Recordings, seed: int = 1, kinds=(LIVE, *KINDS)
) -> Windows:
    """`live` windows of people and `each` of every kind of attack; from WORK where an earlier call of the same seed, the same
    recordings and the same simulator has left them. What is trained on and what is measured with share no recording where there are enough."""
    work.mkdir(parents=True, exist_ok=True)
    recordings, made = recordings.part(measured=part != "train"), []
    by = digest(*(path.read_bytes() for path in SIMULATOR))
    for kind in kinds:
        count = live if kind == LIVE else each
        path = work / f"liveness-{part}-{kind}-{seed}-{recordings.name()}-{by}.npy"
        rows = np.load(path) if path.exists() else np.empty((0, 0, 0), np.float16)
        if len(rows) < count:
            severity = 2.0 if part == "hard" else 1.0
            rows = windows_of(kind, count, 1000 * seed + PARTS[part], severity, recordings)
            partial = path.with_suffix(".part.npy")
            np.save(partial, rows)
            partial.replace(path)
            print(f"{path}: {len(rows)} simulated windows", flush=True)
        made.append(Windows(rows[:count], np.full(count, (LIVE, *KINDS).index(kind))))
    return Windows.together(made)


def recorded(folder: Path, kinds=(LIVE, *KINDS)) -> Windows:
    """Windows of an installer's own session files, one each half second in which a face was seen as the daemon asks for. Those of
    other kinds are left out, as are "unknown" ones."""
    made = []
    for path in sorted(Path(folder).rglob("*.csv")):
        session, head = read_session(path)
        if head["label"] not in kinds or "face_size" not in session or not len(session["face_size"][0]):
            continue
        first, last = session["face_size"][0][[0, -1]]
        ends = np.arange(first + TICKS * TICK, max(last, first + TICKS * TICK) + 1e-6, EVERY)
        rows = of_session(session, ends)
        rows = rows[has_face(rows) & has_frames(session, ends)]
        made.append(Windows(rows.astype(np.float16), np.full(len(rows), (LIVE, *KINDS).index(head["label"]))))
    if not sum(len(some.kinds) for some in made):
        raise SystemExit(f"{folder}: no session file with a label that is learnt and a face in a window of it")
    return Windows.together(made)


def with_own(simulated: Windows, own: Windows, weight: int) -> Windows:
    """And an installer's own windows. One is worth many simulated ones, `weight` at most, but all are not more than half of what is
    learnt from. They are as large a share of the people's windows as of the attacks': were it larger in one, a head that knows
    this door's camera would know who lives."""
    live, attacks = ([np.flatnonzero((some.kinds == 0) == people) for some in (own, simulated)] for people in (True, False))
    for (mine, _), what in ((live, "of people"), (attacks, "of attacks")):
        if not len(mine):
            raise SystemExit(f"no window of the own sessions is {what}: of the others alone a head would learn to know this door's camera")
    times = min(1.0, *(weight * len(mine) / len(theirs) for mine, theirs in (live, attacks)))
    counts = [max(1, round(times * len(theirs))) for _, theirs in (live, attacks)]
    (people, _), (others, _) = live, attacks
    print(f"own windows: {len(people)} of people count as {counts[0]}, {len(others)} of attacks as {counts[1]}", flush=True)
    chosen = [mine[np.arange(count) * len(mine) // count] for (mine, _), count in zip((live, attacks), counts)]
    return Windows.together([simulated, own.only(np.concatenate(chosen))])


def representative(windows: Windows, count: int, seed: int) -> np.ndarray:
    """`count` x 116 x 1 x 50 to calibrate int8 with: people and attacks, half of them with every sensor and half with some."""
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(windows.kinds))[:count]
    rows = windows.rows[chosen].astype(np.float32)
    for index in range(0, len(rows), 2):
        kept = random.random(len(SENSORS)) < random.random()
        rows[index] *= of_sensors([s for s, keep in zip(SENSORS, kept) if keep or s == "camera"])[ROW_CHANNEL][:, None]
    return rows[:, :, None]


def main(given=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("work", type=Path)
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--live", type=int, default=20000, help="windows of people in each part")
    add("--each", type=int, default=3000, help="windows of each kind of attack in each part")
    add("--seed", type=int, default=1)
    add("--ppg", type=Path)
    add("--motion", type=Path)
    add("--arrays", type=Path, help=f"write {ARRAYS} of the last part's windows there")
    args = parser.parse_args(given)
    recordings = Recordings.load(args.ppg, args.motion)
    for part in args.parts:
        made = simulated(args.work, part, args.live, args.each, recordings, args.seed)
        if args.arrays:
            np.save(args.arrays, representative(made, ARRAYS, args.seed))


if __name__ == "__main__":
    main()
