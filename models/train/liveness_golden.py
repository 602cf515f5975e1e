"""models/golden/liveness-fusion.json: `python liveness_golden.py`. What Rust's fusion and windows are tested against.

`fusion`: grids and the place of a face, and what each channel then is; null is no measurement, and no value. `sessions`: samples of
each channel (t in seconds, v in the table's units), when the window ends, and its 116 rows of 50 ticks, one after the other,
to four decimals. No sample lies on a tick, so that nothing hangs on how times are rounded.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import liveness_fusion as fusion
from liveness_sim import batch_of
from liveness_signals import Recordings
from liveness_table import CHANNELS
from liveness_windows import of_session

OUT = Path(__file__).resolve().parent.parent / "golden" / "liveness-fusion.json"
LENGTH, END = 3.2, 3.13125


def digits(x, count: int) -> float | None:
    return float(f"{x:.{count}g}") if np.isfinite(x) else None


def grids(random) -> list[dict]:
    """Faces near and far, in the middle and at the border, and grids with few or no valid zones under or around them; every
    second has a head that lies beside where the picture has it, as sensors are mounted."""
    cases = []
    for sensor, zones, fuse, near in (("depth", 64, fusion.depth, 500.0), ("thermal", 768, fusion.thermal, 30.0)):
        shape, count = ((fusion.DEPTH_GRID, fusion.DEPTH_FOV), 18) if sensor == "depth" else ((fusion.THERMAL_GRID, fusion.THERMAL_FOV), 14)
        for index in range(count):
            hfov = [60.0, 75.5, 90.0][index % 3]
            face = np.array([[0.14, 0.07, 0.03][index % 3], random.uniform(-0.15, 0.15), random.uniform(-0.12, 0.12)])
            if index % 6 == 5:
                face[:2] = 0.012, 0.48  # small and at the border: the nearest zones are made up
            if index % 6 == 4:
                face[0] = 0.30  # so near that hardly anything lies around it
            noise = random.normal(0, 0.02 * near, zones)
            x, y = fusion.about(*shape, hfov, face[None])
            x, y = x[0] - random.uniform(-0.9, 0.9), y[0] - fusion.CENTRE - random.uniform(-0.9, 0.9)
            head = np.hypot(x / fusion.ACROSS, y / fusion.DOWN) < 1
            is_near = head if index % 2 else random.random(zones) < 0.4
            grid = np.where(is_near, near, near * (3.1 if sensor == "depth" else 0.6)) + noise
            lost = [0.0, 0.1, 0.55, 0.0, 0.1, 0.0][index % 6] if index % 7 != 6 else 0.97
            grid[random.random(zones) < lost] = np.nan
            face, grid = (
                np.array([digits(x, 6) for x in face]),
                np.array([digits(x, 5) if np.isfinite(x) else np.nan for x in grid]),
            )
            values = fuse(grid[None], face[None], hfov)
            told = [None if np.isnan(x) else float(x) for x in grid]
            case = {"sensor": sensor, "hfov_deg": hfov, "face": list(map(float, face)), "grid": told}
            cases.append(case | {"values": {name: digits(v[0], 7) for name, v in values.items()}})
    return cases


def sessions(seed: int) -> list[dict]:
    """Four simulated ones; the second has gaps and values out of their limits, the third no colours and few samples."""
    made = []
    for index, kind in enumerate(("live", "live", "print_flat", "photo_warm_person")):
        random = np.random.default_rng((seed, index))
        batch = batch_of(random, kind, 1, LENGTH, 1.0, Recordings(), arrive=np.full(1, 0.2))
        session = {}
        for name, (times, values) in batch.items():
            times, values = times[0], values[0]
            good = np.isfinite(times) & np.isfinite(values)
            times, values = np.round(times[good], 4), values[good]
            order = np.argsort(times, kind="stable")
            session[name] = times[order], np.array([digits(x, 6) for x in values[order]])
        if index == 1:
            for name, (times, values) in session.items():
                keep = (times < 1.5) | (times > 2.0)
                session[name] = times[keep], values[keep]
            session["relief_mm"][1][::5] = 5000.0
            session["yaw"][1][::4] = -3.0
        if index == 2:
            del session["skin_b"], session["touch"]
            session["luminance"] = tuple(x[-3:] for x in session["luminance"])
        rows = of_session(session, END)[0]
        told = {name: {"t": times.tolist(), "v": values.tolist()} for name, (times, values) in session.items()}
        flat = [float(f"{x:.4f}") + 0.0 for x in rows.ravel()]
        made.append({"kind": kind, "end_s": END, "channels": told, "rows": flat})
    return made


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(given)
    told = {
        "by": "models/train/liveness_golden.py, simulated",
        "channels": [channel.name for channel in CHANNELS],
        "fusion": grids(np.random.default_rng(args.seed)),
        "sessions": sessions(args.seed),
    }
    args.out.write_text(json.dumps(told, separators=(",", ":"), allow_nan=False) + "\n")
    print(f"{args.out}: {args.out.stat().st_size} bytes, {len(told['fusion'])} grids, {len(told['sessions'])} sessions")


if __name__ == "__main__":
    main()
