"""Tests of what liveness windows are made of and kept as: `python -m unittest test_liveness_data` (seconds)."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
from skipping import skipped

try:
    import numpy as np
    import torch  # noqa: F401
except ModuleNotFoundError as missing:
    raise skipped(missing) from None

import liveness_data as data
import liveness_signals as signals
import liveness_table as table
import liveness_windows as windows
from liveness_signals import Recordings


def recordings(count: int, of: float = 0.0) -> Recordings:
    """Waves that nobody's heart makes: each stands at a number of its own, above 100."""
    return Recordings(waves=[np.full(5000, 100 + of + index, np.float32) for index in range(count)])


class Kept(unittest.TestCase):
    def made(self, work: Path, found: Recordings, seed: int = 1, part: str = "train") -> tuple[int, list[Recordings]]:
        """How many kinds' windows had to be simulated, and of which recordings."""
        given = []

        def simulate(kind, count, seed, severity, of):
            given.append(of)
            return np.zeros((count, 1, 1), np.float16)

        with mock.patch.object(data, "windows_of", simulate), contextlib.redirect_stdout(io.StringIO()):
            data.simulated(work, part, 2, 2, found, seed, ("live", "phone"))
        return len(given), given

    def test_windows_of_another_seed_or_of_other_recordings_are_made_anew_and_the_same_are_found_again(self):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            tracks = Recordings(tracks=[np.ones((3, 50), np.float32)])
            cases = [(Recordings(), 1), (Recordings(), 2), (recordings(3), 1), (recordings(3, 0.5), 1), (tracks, 1)]
            for wanted in (2, 0):
                for found, seed in cases:
                    self.assertEqual(self.made(work, found, seed)[0], wanted, f"{found.name()} {seed}")

    def test_no_recording_is_both_trained_on_and_measured_with_where_there_are_enough(self):
        for count, shared in ((3, True), (21, False)):
            with tempfile.TemporaryDirectory() as folder:
                used = {part: self.made(Path(folder), recordings(count), part=part)[1][0].waves for part in data.PARTS}
            levels = {part: {float(wave[0]) for wave in waves} for part, waves in used.items()}
            self.assertEqual(levels["train"] & levels["measure"], levels["train"] if shared else set())
            self.assertEqual(levels["train"] | levels["measure"], {100.0 + index for index in range(count)})
            self.assertEqual(levels["measure"], levels["hard"])


class Recorded(unittest.TestCase):
    def test_an_installers_windows_all_have_a_face_as_the_daemon_asks_for(self):
        with tempfile.TemporaryDirectory() as folder:
            seen = np.concatenate([np.arange(0, 3, 0.04), np.arange(8, 11, 0.04)])
            all_along = np.arange(0, 11, 0.1)
            whole = {"face_size": (seen, np.full(len(seen), 0.1)), "ambient_log_lux": (all_along, np.full(len(all_along), 2.0))}
            table.write_session(Path(folder) / "a.csv", whole, "live", "recorded")
            short = {name: (times[times < 1], values[times < 1]) for name, (times, values) in whole.items()}
            table.write_session(Path(folder) / "b.csv", short, "phone", "recorded")
            found = data.recorded(Path(folder))
            faces = found.rows[:, windows.MASK_ROW + table.NAMES.index("face_size")].sum(1)
            self.assertGreater(len(faces), 3)
            self.assertGreaterEqual(faces.min(), windows.CAMERA_TICKS)
            (Path(folder) / "a.csv").unlink()
            with self.assertRaisesRegex(SystemExit, "a face in a window of it"):
                data.recorded(Path(folder))


class Pulses(unittest.TestCase):
    def test_recorded_pulses_are_among_the_drawn_ones(self):
        made = signals.pulses(np.random.default_rng(1), 400, 100, recordings(4))
        recorded = (made > 50).all(1)
        self.assertAlmostEqual(recorded.mean(), signals.RECORDED, delta=0.1)
        self.assertLess(np.abs(made[~recorded]).max(), 10)
        self.assertEqual(len(np.unique(made[recorded].round())), 4, "every recording is used")

    def test_without_recordings_all_are_drawn(self):
        self.assertLess(np.abs(signals.pulses(np.random.default_rng(1), 40, 100, Recordings())).max(), 10)


if __name__ == "__main__":
    unittest.main()
