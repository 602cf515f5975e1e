"""The table of liveness' channels, its sensors and kinds of attack, and session files: what every other part agrees on.

The table itself is models/liveness-channels.toml. A session is a dict from a channel's name to (times, values): seconds, and
the table's units; NaN is no sample. In a *batch* the same arrays have a row for each session.
"""

import csv
import tomllib
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

TABLE = Path(__file__).resolve().parent.parent / "liveness-channels.toml"
SENSORS = ("camera", "antispoof", "distance", "depth", "thermometer", "thermal", "proximity", "light", "touch")
LIVE = "live"
KINDS = (
    *("print_flat", "print_curved", "print_cut_eyes", "phone", "tablet", "screen_video"),
    *("mask_paper", "mask_latex", "mask_heated", "mannequin", "photo_warm_person", "sensor_replay"),
)
CLASSES = ("live", "print", "screen", "mask", "mannequin", "composite", "replay")
CLASS_OF = {
    **{LIVE: "live", "phone": "screen", "tablet": "screen", "screen_video": "screen"},
    **{kind: kind.split("_")[0] for kind in KINDS if kind.startswith(("print", "mask", "mannequin"))},
    **{"photo_warm_person": "composite", "sensor_replay": "replay"},
}
HEADER = "# facelatch liveness session 1"
MOST_ROWS = 1_000_000  # of a session file: 25 samples a second for half a day


@dataclass(frozen=True)
class Channel:
    """`inputs`: (kind, offset, scale) for each row that the head is shown."""

    name: str
    sensor: str
    low: float
    high: float
    hold: float  # seconds
    inputs: tuple


def _inputs(given: dict) -> tuple:
    offset_scale = {"absolute": lambda v: (float(v[0]), float(v[1]))}
    of = lambda kind: offset_scale.get(kind, lambda v: (0.0, float(v)))(given[kind])  # noqa: E731
    return tuple((kind, *of(kind)) for kind in ("absolute", "centred", "relative") if kind in given)


def channels(path: Path = TABLE) -> tuple[Channel, ...]:
    rows = tomllib.loads(Path(path).read_text())["channel"]
    made = [Channel(r["name"], r["sensor"], *map(float, r["limits"]), r["hold_ms"] / 1000, _inputs(r["inputs"])) for r in rows]
    return tuple(made)


CHANNELS = channels()
NAMES = tuple(channel.name for channel in CHANNELS)


def subsets() -> list[tuple[str, ...]]:
    """All 256 sets of sensors with the camera, poorest first, in the table's order."""
    rest = SENSORS[1:]
    return [("camera", *some) for count in range(len(rest) + 1) for some in combinations(rest, count)]


def of_sensors(sensors) -> np.ndarray:
    """47 booleans: the channels that these sensors give."""
    return np.array([channel.sensor in sensors for channel in CHANNELS])


def write_session(path: Path, session: dict, label: str, source: str, note: str = "") -> None:
    """One row for each time at which a channel has a sample; numbers keep the six digits that a float has."""
    names = [name for name in NAMES if name in session]
    cells = {}
    for column, name in enumerate(names):
        for time, value in zip(*session[name]):
            if np.isfinite(time) and np.isfinite(value):
                cells.setdefault(round(float(time), 4), {})[column] = f"{value:.6g}"
    lines = [HEADER, f'# label = "{label}"', f'# source = "{source}"']
    lines += [f'# note = "{note}"'] if note else []
    lines.append(",".join(["t_s", *names]))
    lines += [",".join([f"{time:.4f}", *(cells[time].get(c, "") for c in range(len(names)))]) for time in sorted(cells)]
    Path(path).write_text("\n".join(lines) + "\n")


def read_session(path: Path) -> tuple[dict, dict]:
    """The session and its head: label, source and perhaps note.

    Exits with the file's name and line where it isn't one: another first line, an unknown column, a time that falls or is
    before 0, or a cell that isn't a number.
    """
    with open(path, newline="") as file:
        if file.readline().strip() != HEADER:
            raise SystemExit(f"{path}: its first line isn't {HEADER!r}")
        head, line = {}, file.readline()
        while line.startswith("#"):
            name, _, value = line[1:].partition("=")
            head[name.strip()] = value.strip().strip('"')
            line = file.readline()
        names = line.strip().split(",")
        unknown = set(names[1:]) - set(NAMES)
        if names[0] != "t_s" or unknown or head.get("label") not in (LIVE, *KINDS, "unknown"):
            raise SystemExit(
                f"{path}: label {head.get('label')!r}, first column {names[0]!r}, unknown columns {sorted(unknown)}"
            )
        session, before = {name: ([], []) for name in names[1:]}, 0.0
        for number, row in enumerate(csv.reader(file)):
            try:
                time = float(row[0])
                if number >= MOST_ROWS or not time >= before or len(row) > len(names):
                    raise ValueError(f"time {time} after {before}, {len(row)} cells")
                for name, cell in zip(names[1:], row[1:]):
                    if cell:
                        session[name][0].append(time)
                        session[name][1].append(float(cell))
            except (ValueError, IndexError) as error:
                raise SystemExit(f"{path}: row {number + 1}: {error}") from error
            before = time
    return {name: (np.array(t), np.array(v)) for name, (t, v) in session.items()}, head
