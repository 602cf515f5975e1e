"""Simulated visits: `python liveness_sim.py DIR --sessions 100` writes them as session files, for `facelatch liveness eval` and
for trying out; liveness.py trains on windows of such.

A session is a person or an attack before a door (liveness_people.py, liveness_attacks.py), seen by a camera and sensors
(liveness_camera.py, liveness_sensors.py). A visit has a stretch of nobody, then somebody who comes, stands for 4 to 6 s, and goes.
Everything follows from the seed. What is simulated says so: `source = "simulated"`.
"""

import argparse
from pathlib import Path

import numpy as np

from liveness_attacks import MAKERS
from liveness_sensors import sense
from liveness_signals import STEP, Recordings
from liveness_table import KINDS, LIVE, SENSORS, write_session
from liveness_windows import has_face, rows, series

LENGTH = 2.6  # seconds of a session from which one window is taken
TOGETHER = 32  # sessions that are computed at once: their rays fit a second cache


def batch_of(
    random, kind: str, n: int, length: float, severity: float, recordings: Recordings, sensors=SENSORS, **when
) -> dict:
    """`n` sessions of one kind. `when`: arrive and leave, N seconds each."""
    frames = int(length / STEP) + 2
    place, scene, shown, heart = MAKERS[kind](random, n, frames, recordings, **when)
    return sense(random, place, scene, shown, heart, length, severity, sensors)


def windows_of(kind: str, count: int, seed: int, severity: float = 1.0, recordings: Recordings | None = None, sensors=SENSORS):
    """`count` windows, each of a session of its own, float16 N x 116 x 50, of those that the daemon would judge."""
    recordings, made, have = recordings or Recordings(), [], 0
    random = np.random.default_rng((seed, (LIVE, *KINDS).index(kind)))
    while have < count:
        batch = batch_of(random, kind, TOGETHER, LENGTH, severity, recordings, sensors)
        values, valid = series(batch, np.full(TOGETHER, LENGTH - 0.02))
        windows = rows(values, valid)
        judged = has_face(windows) & valid[:, 0, -3:].any(1)
        made.append(windows[judged].astype(np.float16))
        have += int(judged.sum())
    return np.concatenate(made)[:count]


def visits(kind: str, count: int, seed: int, severity: float, recordings: Recordings, sensors=SENSORS):
    """Sessions of `kind`, one by one: nobody, an approach, 4 to 6 s of standing, leaving."""
    random = np.random.default_rng((seed, (LIVE, *KINDS).index(kind), 1))
    for start in range(0, count, TOGETHER):
        n = min(TOGETHER, count - start)
        arrive = random.uniform(2.5, 4.0, n)
        leave = arrive + random.uniform(4.0, 6.0, n)
        batch = batch_of(random, kind, n, 11.0, severity, recordings, sensors, arrive=arrive, leave=leave)
        for index in range(n):
            yield {name: (times[index], values[index]) for name, (times, values) in batch.items()}


def standing(kind: str, seed: int, seconds: float, sensors) -> dict:
    """One session for the demo: from a moment before a face is seen on, for so long; nobody leaves."""
    random, forever = np.random.default_rng(seed), np.full(1, 1e3)
    batch = batch_of(random, kind, 1, seconds + 2, 1.0, Recordings(), sensors, arrive=np.full(1, 0.8), leave=forever)
    begin = np.nanmin(batch["face_size"][0]) - 0.15
    session = {}
    for name, (times, values) in batch.items():
        inside = (times[0] >= begin) & (times[0] < begin + seconds)
        session[name] = times[0][inside] - begin, values[0][inside]
    return session


def main(given=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("out", type=Path, help="folder for the files, KIND-0001.csv and so on")
    add("--sessions", type=int, default=10, help="of each kind")
    add("--kinds", nargs="+", choices=(LIVE, *KINDS), default=(LIVE, *KINDS), metavar="KIND")
    add("--sensors", nargs="+", choices=SENSORS, default=SENSORS, metavar="SENSOR")
    add("--severity", type=float, default=1.0, help="of noise, drift, drop-outs and mounting; 1 is as trained")
    add("--seed", type=int, default=1)
    add("--ppg", type=Path, help="folder of Welltory's PPG recordings; without it pulses are analytic")
    add("--motion", type=Path, help="folder of face tracks (t_s, x, y, w, h); without it all sway is drawn")
    add("--standing", type=float, metavar="SECONDS", help="one session a kind, KIND.csv, of somebody who stays: the demo's")
    args = parser.parse_args(given)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.standing:
        for kind in args.kinds:
            session = standing(kind, args.seed, args.standing, args.sensors)
            write_session(args.out / f"{kind}.csv", session, kind, "simulated", f"liveness_sim.py --standing, seed {args.seed}")
        return
    recordings = Recordings.load(args.ppg, args.motion)
    for kind in args.kinds:
        for index, visit in enumerate(visits(kind, args.sessions, args.seed, args.severity, recordings, args.sensors)):
            path = args.out / f"{kind}-{index + 1:04}.csv"
            write_session(path, visit, kind, "simulated", f"liveness_sim.py, seed {args.seed}, severity {args.severity:g}")
    print(f"{args.out}: {args.sessions} simulated sessions of each of {len(args.kinds)} kinds")


if __name__ == "__main__":
    main()
