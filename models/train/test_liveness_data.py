"""Tests of what liveness windows are made of and kept as: `python -m unittest test_liveness_data` (seconds)."""

import contextlib
import io
import re
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
from skipping import skipped

try:
    import cv2  # noqa: F401
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

    def test_windows_of_another_simulator_or_table_are_made_anew(self):
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / name for name in ("liveness_sim.py", "liveness-channels.toml")]
            for path in files:
                path.write_text("first")
            with mock.patch.object(data, "SIMULATOR", files):
                self.assertEqual([self.made(Path(folder), Recordings())[0] for _ in range(2)], [2, 0])
                for path in files:
                    path.write_text("second")
                    self.assertEqual([self.made(Path(folder), Recordings())[0] for _ in range(2)], [2, 0], path.name)

    def test_the_simulator_is_all_that_it_imports(self):
        wanted, found = {"sim"}, set()
        while wanted:
            found.add(name := wanted.pop())
            text = Path(data.__file__).with_name(f"liveness_{name}.py").read_text()
            wanted |= set(re.findall(r"^(?:from|import) liveness_(\w+)", text, re.M)) - found
        self.assertEqual(sorted(found), sorted(data.MODULES))
        self.assertIn(table.TABLE, data.SIMULATOR)

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
            rare = np.arange(0, 11, 0.1)
            table.write_session(Path(folder) / "c.csv", {"face_size": (rare, np.full(len(rare), 0.1))}, "phone", "recorded")
            found = data.recorded(Path(folder))
            self.assertEqual(set(found.kinds), {0}, "ten frames a second are too few")
            faces = found.rows[:, windows.MASK_ROW + table.NAMES.index("face_size")].sum(1)
            self.assertGreater(len(faces), 3)
            self.assertGreaterEqual(faces.min(), windows.CAMERA_TICKS)
            (Path(folder) / "a.csv").unlink()
            with self.assertRaisesRegex(SystemExit, "a face in a window of it"):
                data.recorded(Path(folder))


class Own(unittest.TestCase):
    PHONE = 1 + table.KINDS.index("phone")

    def windows(self, live: int, attacks: int) -> data.Windows:
        """Each with a number of its own."""
        return data.Windows(np.arange(live + attacks), np.repeat([0, self.PHONE], [live, attacks]))

    def mixed(self, live: int, attacks: int, weight: int) -> tuple[np.ndarray, np.ndarray]:
        """How often each of the own windows of people, and of attacks, is among 100 simulated of people and 300 of attacks."""
        with contextlib.redirect_stdout(io.StringIO()):
            made = data.with_own(self.windows(100, 300), self.windows(live, attacks), weight)
        own, kinds = made.rows[400:], made.kinds[400:]
        np.testing.assert_array_equal(made.rows[:400], np.arange(400))
        np.testing.assert_array_equal(kinds == 0, own < live)
        return np.split(np.bincount(own, minlength=live + attacks), [live])

    def test_the_doors_own_windows_are_as_large_a_share_of_the_people_as_of_the_attacks(self):
        for live, attacks, weight in ((10, 6, 20), (10, 90, 20), (200, 3, 20), (5, 30, 2), (1000, 1000, 20)):
            people, others = self.mixed(live, attacks, weight)
            counts = people.sum(), others.sum()
            self.assertAlmostEqual(counts[0] / 100, counts[1] / 300, delta=0.01)
            self.assertLessEqual(counts[0], 100, "at most half is the installer's own")
            self.assertLessEqual(max(people.max(), others.max()), weight)
            for times in (people, others):
                self.assertLessEqual(times.max() - times.min(), 1, "no recording has a larger say than another")
        self.assertEqual([times.sum() for times in self.mixed(10, 6, 20)], [40, 120], "6 windows, 20 times each")

    def test_recordings_of_people_alone_or_of_attacks_alone_are_refused(self):
        for own, missing in ((self.windows(5, 0), "of attacks"), (self.windows(0, 5), "of people")):
            with self.assertRaisesRegex(SystemExit, missing):
                data.with_own(self.windows(10, 10), own, 20)


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
