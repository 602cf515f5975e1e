"""Smoke tests of the liveness simulator, its golden numbers and the head's recipe: `python -m unittest test_liveness` (seconds)."""

import contextlib
import io
import json
import sys
import tempfile
import unittest
from argparse import Namespace
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
from skipping import skipped

try:
    import numpy as np
    import onnx
    import onnxruntime
    import torch
except ModuleNotFoundError as missing:
    raise skipped(missing) from None

import checkpoints
import liveness as recipe
import liveness_attacks
import liveness_camera
import liveness_evaluate as evaluate
import liveness_fusion as fusion
import liveness_golden as golden
import liveness_nets as nets
import liveness_pulse
import liveness_rule
import liveness_sensors
import liveness_sim as sim
import liveness_table as table
import liveness_windows as windows
import quantise
from anew import leaves_the_shipped_one_alone
from liveness_signals import Recordings

LIVE, EACH, BATCH = 40, 8, 24


class Table(unittest.TestCase):
    def test_it_has_the_rows_that_the_head_is_made_for(self):
        self.assertEqual((len(table.CHANNELS), windows.VALUE_ROWS, windows.ROWS), (47, 66, 116))
        self.assertEqual({channel.sensor for channel in table.CHANNELS}, set(table.SENSORS))
        self.assertEqual(len(set(table.subsets())), 256)
        self.assertEqual([table.CLASS_OF[kind] in table.CLASSES[1:] for kind in table.KINDS], [True] * 12)

    def test_a_session_that_was_written_is_read_again(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "live.csv"
            session = next(sim.visits("live", 1, 3, 1.0, Recordings()))
            table.write_session(path, session, "live", "simulated", "a test")
            found, head = table.read_session(path)
            self.assertEqual(head, {"label": "live", "source": "simulated", "note": "a test"})
            for name, (times, values) in session.items():
                good = np.isfinite(times) & np.isfinite(values)
                order = np.argsort(times[good], kind="stable")
                np.testing.assert_allclose(found[name][0], times[good][order], atol=6e-5)
                np.testing.assert_allclose(found[name][1], values[good][order], rtol=1e-5, atol=1e-9)

    def test_what_is_no_session_is_refused_with_the_files_name(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.csv"
            head = f'{table.HEADER}\n# label = "live"\n'
            rows = ("t_s,nose\n", "t_s,yaw\n1,0\n0.5,0\n", "t_s,yaw\n-0.01,0\n", "t_s,yaw\n1,zero\n")
            for text in ("t_s\n", *(head + some for some in rows)):
                path.write_text(text)
                with self.assertRaisesRegex(SystemExit, "x.csv"):
                    table.read_session(path)


class Windows(unittest.TestCase):
    def one(self, times, values, name="yaw", end=2.0):
        return windows.of_session({name: (np.array(times, float), np.array(values, float))}, end)[0]

    def test_values_lie_on_the_line_between_samples_and_are_held_half_as_long_as_a_gap_may_be(self):
        times = np.arange(0, 1.85, 0.1) + 0.013
        rows = self.one(times, 0.1 * times)
        mask = rows[windows.MASK_ROW + table.NAMES.index("yaw")]
        ticks = windows.ticks_until([2.0])[0]
        valid = (ticks >= times[0]) & (ticks <= times[-1] + 0.125)
        np.testing.assert_array_equal(mask, valid)
        row = [i for i in range(windows.VALUE_ROWS) if windows.ROW_CHANNEL[i] == table.NAMES.index("yaw")][0]
        expected = 0.1 * np.minimum(ticks, times[-1]) / 0.4
        np.testing.assert_allclose(rows[row][valid], expected[valid], atol=1e-6)
        self.assertFalse(rows[row][~valid].any())

    def test_a_long_gap_few_ticks_and_values_out_of_limits_are_invalid(self):
        mask = windows.MASK_ROW + table.NAMES.index("yaw")
        gap = self.one([*np.arange(0.0, 0.5, 0.1), *np.arange(0.9, 2, 0.1)], np.zeros(16))[mask]
        ticks = windows.ticks_until([2.0])[0]
        self.assertFalse(gap[(ticks > 0.41) & (ticks < 0.89)].any())
        self.assertFalse(self.one([1.9, 1.95], [0, 0])[mask].any())
        self.assertFalse(self.one(np.arange(0, 2, 0.1), np.full(20, 2.5)).any())

    def test_a_sample_at_a_tick_is_its_value_whatever_gap_follows(self):
        ticks = windows.ticks_until([2.0])[0]
        mask = self.one([*ticks[:10], *ticks[30:]], np.zeros(30))[windows.MASK_ROW + table.NAMES.index("yaw")]
        np.testing.assert_array_equal(mask, [1] * 10 + [0] * 20 + [1] * 20)

    def test_a_pulse_is_seen_through_light_that_changes_all_colours_alike(self):
        random, ticks = np.random.default_rng(0), np.arange(50) * windows.TICK
        wave = np.sin(2 * np.pi * 1.5 * ticks)
        light = 1 + 0.05 * random.standard_normal(50).cumsum() / 7
        values, valid = np.zeros((1, 47, 50)), np.zeros((1, 47, 50), bool)
        for channel, level, share in zip(windows.COLOURS, (120, 90, 80), (0.33, 0.77, 0.53)):
            values[0, channel], valid[0, channel] = level * light * (1 + 0.004 * share * wave), True
        found = windows.pulse(values, valid)[0]
        self.assertGreater(abs(np.corrcoef(found, wave)[0, 1]), 0.95)
        valid[0, windows.COLOURS[0], :26] = False
        self.assertFalse(windows.pulse(values, valid).any())


class Fusion(unittest.TestCase):
    def test_a_plane_has_no_relief_however_it_is_tilted_and_a_face_size_at_a_distance_is_a_gap_in_mm(self):
        x, y = fusion.centres(fusion.DEPTH_GRID, fusion.DEPTH_FOV, 70.0)
        face = np.array([[0.12, 0.01, -0.02]])
        found = fusion.depth((600 + 300 * x - 150 * y)[None], face, 70.0)
        self.assertLess(found["relief_mm"][0], 1e-6)
        self.assertLess(found["planarity_mm"][0], 1e-6)
        expected = 0.12 * 2 * np.tan(np.radians(35)) * found["depth_face_mm"][0]
        self.assertAlmostEqual(found["depth_eye_gap_mm"][0], expected)

    def test_a_face_has_a_distance_where_half_of_the_zones_under_it_saw_something(self):
        face = np.array([[0.12, 0.0, 0.0]])
        under, _, _ = fusion.places(fusion.DEPTH_GRID, fusion.DEPTH_FOV, 70.0, face, fusion.FEWEST_ZONES)
        zones = np.flatnonzero(under[0])
        for seen in range(len(zones) + 1):
            ranges = np.where(under, np.nan, 1500.0)
            ranges[0, zones[:seen]] = 500.0
            found = fusion.depth(ranges, face, 70.0)
            for name in ("depth_face_mm", "relief_mm", "step_mm"):
                wanted = 2 * seen >= len(zones)
                self.assertEqual(np.isfinite(found[name][0]), wanted, f"{name}: {seen} of {len(zones)}")

    def test_a_warm_ellipse_before_a_cold_wall_fills_the_face_and_nothing_beside_it(self):
        face = np.array([[0.1, 0.05, 0.0]])
        under, _, _ = fusion.places(fusion.THERMAL_GRID, fusion.THERMAL_FOV, 70.0, face, fusion.FEWEST_PIXELS)
        found = fusion.thermal(np.where(under, 33.0, 20.0), face, 70.0)
        told = [found[name][0] for name in ("warm_face_c", "warm_contrast_c", "warm_spread_c", "warm_fill", "warm_beside")]
        np.testing.assert_allclose(told, [33, 13, 0, 1, 0], atol=1e-9)

    def test_the_golden_file_is_what_the_code_gives(self):
        told = json.loads(golden.OUT.read_text())
        self.assertEqual(told["channels"], list(table.NAMES))
        for case in told["fusion"]:
            grid = np.array([np.nan if x is None else x for x in case["grid"]])
            found = getattr(fusion, case["sensor"])(grid[None], np.array(case["face"])[None], case["hfov_deg"])
            for name, value in case["values"].items():
                wanted = np.nan if value is None else value
                np.testing.assert_allclose(found[name][0], wanted, rtol=1e-5, atol=1e-6, err_msg=name)
        for session in told["sessions"]:
            channels = {name: (np.array(c["t"]), np.array(c["v"])) for name, c in session["channels"].items()}
            rows = windows.of_session(channels, session["end_s"])[0]
            np.testing.assert_allclose(rows.ravel(), session["rows"], atol=1e-4)


class Camera(unittest.TestCase):
    def test_five_points_have_the_parallax_that_the_daemon_gives_them(self):
        # src/liveness/camera/shape.rs has the same points and numbers.
        points = [[131.0, 92.5], [178.25, 101.75], [160.5, 131.25], [124.75, 158.0], [158.5, 160.25]]
        found = liveness_camera.measured(np.array(points)[None, None])
        self.assertAlmostEqual(found["parallax_x"].item(), 0.264899, 6)
        self.assertAlmostEqual(found["parallax_y"].item(), 0.510882, 6)


class Simulator(unittest.TestCase):
    def test_people_are_as_far_apart_as_eyes_are_and_photos_are_flat(self):
        """Means over sessions: what physics says, whatever the noise."""
        values = {}
        for kind in ("live", "print_flat"):
            batch = sim.batch_of(
                np.random.default_rng(1), kind, 64, sim.LENGTH, 1.0, Recordings(), ("camera", "depth", "thermal")
            )
            values[kind] = {name: np.nanmedian(v[np.isfinite(t)]) for name, (t, v) in batch.items()}
        self.assertAlmostEqual(values["live"]["depth_eye_gap_mm"], 63, delta=4)
        self.assertGreater(values["live"]["relief_mm"], 1.5 * values["print_flat"]["relief_mm"])
        self.assertGreater(values["live"]["warm_contrast_c"], values["print_flat"]["warm_contrast_c"] + 3)

    def test_what_real_clips_showed_is_nothing_rare_among_the_simulators_people(self):
        """Medians of a man's clip and of one of his replay (docs/liveness-channels.md), and the deviation from sample to sample. What no
        simulated person shows would be proof to the head, and of nothing."""
        shown = {
            "eye_openness": (0.562, 0.0080, 0.640, 0.0116),
            "sharpness": (0.425, 0.0113, 0.215, 0.0067),
            "face_motion": (0.83, 0.134, 1.41, 0.286),
            "background_motion": (1.25, 0.107, 0.94, 0.174),
            "moire_db": (13.3, 1.64, 13.9, 1.58),
            "luminance": (41.6, 0.110, 120.1, 0.195),
            "face_size": (0.143, 0.0004, 0.090, 0.0003),
            "yaw": (0.040, 0.0061, -0.042, 0.0063),
        }
        batch = sim.batch_of(np.random.default_rng(2), "live", 1024, sim.LENGTH, 1.0, Recordings(), ("camera",))
        for name, clips in shown.items():
            times, values = batch[name]
            values = np.where(np.isfinite(times), values, np.nan)
            values = values[np.isfinite(values).sum(axis=1) > 2]
            people = np.nanmedian(values, axis=1), np.nanstd(np.diff(values, axis=1), axis=1)
            for of, value in zip((*people, *people), clips):
                self.assertTrue(0.002 < np.nanmean(of < value) < 0.998, f"{name} {value}")

    def test_no_pattern_is_found_on_faces_that_the_daemon_looks_for_none_on(self):
        batch = sim.batch_of(np.random.default_rng(3), "screen_video", 256, sim.LENGTH, 1.0, Recordings(), ("camera",))
        (times, pixels), (_, found) = batch["face_size"], batch["moire_db"]
        is_found, pixels = np.isfinite(found)[np.isfinite(times)], liveness_camera.PIXELS * pixels[np.isfinite(times)]
        # The size is measured with noise, and half of the cameras have twice as many pixels.
        clear = 1.2 * liveness_camera.MOIRE_EYES
        self.assertTrue(is_found[pixels > clear].all())
        self.assertFalse(is_found[2 * 1.2 * pixels < liveness_camera.MOIRE_EYES].any())
        either = is_found[(pixels * 1.2 < liveness_camera.MOIRE_EYES) & (2 * pixels > clear)]
        self.assertTrue(0.3 < either.mean() < 0.7, either.mean())

    def test_every_kind_gives_every_channel_within_its_limits_and_the_same_again_for_the_same_seed(self):
        for kind in (table.LIVE, *table.KINDS):
            first, again = (sim.windows_of(kind, 24, 5) for _ in range(2))
            self.assertEqual(first.shape, (24, windows.ROWS, windows.TICKS))
            np.testing.assert_array_equal(first, again)
            self.assertTrue(np.isfinite(first).all())
            masks = first[:, windows.MASK_ROW :].any((0, 2))
            self.assertTrue(masks.all(), f"{kind}: {np.array(table.NAMES)[~masks]}")

    def test_a_visit_begins_and_ends_with_nobody(self):
        session = next(sim.visits("live", 1, 2, 1.0, Recordings()))
        times = session["face_size"][0]
        self.assertGreater(np.nanmin(times), 0.5)
        self.assertLess(np.nanmax(times), 10.95)

    def test_no_sensor_speaks_before_a_session_begins(self):
        for visit in sim.visits("live", 64, 3, 1.0, Recordings()):
            self.assertEqual({table.CHANNELS[table.NAMES.index(name)].sensor for name in visit}, set(table.SENSORS))
            for name, (times, _) in visit.items():
                self.assertGreaterEqual(np.nanmin(times), 0, name)

    def test_the_networks_for_single_frames_look_as_often_as_the_daemons(self):
        asked = "live", 16, 6.0, 1.0, Recordings(), ("camera", "antispoof")
        times, values = sim.batch_of(np.random.default_rng(4), *asked, arrive=np.zeros(16))["antispoof"]
        looks = [times[i][np.isfinite(times[i]) & np.isfinite(values[i])] for i in range(16)]
        gaps = np.concatenate([np.diff(one) for one in looks])
        self.assertGreater(len(gaps), 100)
        self.assertGreaterEqual(gaps.min(), 0.2)
        self.assertLess(np.median(gaps), 0.3)

    def test_a_dolls_rim_is_no_colder_than_the_air(self):
        for seed in range(4):
            place, scene, _, _ = liveness_attacks.mannequin(np.random.default_rng(seed), 64, 100, Recordings())
            figure = scene.surfaces[-1]
            # Four deviations of what it is off by.
            self.assertTrue((figure.temperature - figure.fall > place.air - 4).all())

    def test_infrared_in_the_sun_is_given_as_the_daemon_takes_it(self):
        batch = sim.batch_of(np.random.default_rng(5), "live", 256, sim.LENGTH, 1.0, Recordings(), ("camera", "proximity"))
        (times, lit), (_, dark) = batch["nir_reflected"], batch["nir_ambient"]
        there = np.isfinite(times) & (lit + dark > 1)
        self.assertTrue(there.any())

    def test_the_faces_last_place_serves_as_long_as_the_daemons(self):
        found = liveness_sensors.last_known(np.array([[1.0]]), np.array([[0.1]]), np.array([[0.9, 1.0, 1.39, 1.41]]))
        np.testing.assert_array_equal(found, [[np.nan, 0.1, 0.1, np.nan]])

    def test_the_files_that_it_writes_are_sessions(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            sim.main([folder, "--sessions", "1", "--kinds", "live", "phone", "--sensors", "camera", "depth"])
            heads = [table.read_session(path) for path in sorted(Path(folder).glob("*.csv"))]
            self.assertEqual([head["label"] for _, head in heads], ["live", "phone"])
            self.assertEqual({table.CHANNELS[table.NAMES.index(n)].sensor for n in heads[0][0]}, {"camera", "depth"})


class Pulse(unittest.TestCase):
    def test_the_rate_of_a_wave_with_a_second_hump_is_that_of_its_beats(self):
        time = np.arange(0, 12, liveness_pulse.STEP)
        for beats in (52, 75, 120):
            phase = 2 * np.pi * beats / 60 * time
            wave = np.cos(phase) + 0.5 * np.cos(2 * phase - 1) + 0.3 * time
            self.assertAlmostEqual(liveness_pulse.rate(wave), beats, delta=1)
        self.assertTrue(np.isnan(liveness_pulse.rate(np.zeros(600))))


class Rule(unittest.TestCase):
    def test_it_turns_away_what_lies_beyond_and_no_more_people_than_it_may(self):
        random = np.random.default_rng(0)
        people, attacks = random.normal(0, 1, (2000, 3)), random.normal(0, 1, (500, 3))
        attacks[:, 1] += 6
        people[0, 1] = np.nan
        interval = liveness_rule.tune(people, attacks, 0.01)
        self.assertGreater(liveness_rule.passes(people, interval).mean(), 0.985)
        self.assertLess(liveness_rule.passes(attacks, interval).mean(), 0.05)


class Rates(unittest.TestCase):
    def test_rates_that_were_kept_are_of_the_same_networks_and_windows_or_measured_anew(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for kind in table.KINDS:
                (root / f"without-{kind}.onnx").write_text(kind)
            held, asked = mock.Mock(), []
            held.rows = lambda kind, most: np.full((most, 2), held.seed)
            held.seed = 1

            def network(path):
                asked.append(path.read_text())
                return lambda rows, kept: rows[:, 0]

            def measured(live=3, each=2) -> tuple[dict, int]:
                asked.clear()
                with mock.patch.object(evaluate, "Int8", network):
                    rates = evaluate.held_out_rates(Namespace(held_out=root, held_live=live, held_each=each), held)
                return rates, len(asked)

            first, all_kinds = measured()
            self.assertEqual((len(first), all_kinds), (256, 12))
            again, none = measured()
            self.assertEqual((list(again), none), (list(first), 0))
            self.assertEqual([measured(live=4)[1], measured(each=3)[1]], [12, 12])
            measured()
            held.seed = 2
            self.assertEqual(measured()[1], 12, "other windows")
            (root / "without-phone.onnx").write_text("trained anew")
            self.assertEqual(measured()[1], 12, "another network")
            (root / "without-phone.onnx").unlink()
            self.assertEqual(measured(), ({}, 0), "no network to compare with")


class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def args(self, name: str, steps: int, *more) -> list[str]:
        where = ["--work", self.root, "--name", name, "--checkpoints", self.root / f"small-{name}", "--steps", steps]
        return [
            str(a) for a in (*where, "--live", LIVE, "--each", EACH, "--batch", BATCH, "--threads", 1, "--warm-up", 2, *more)
        ]

    def train(self, name: str, steps: int, *more) -> recipe.Recipe:
        with contextlib.redirect_stdout(io.StringIO()):
            recipe.main(self.args(name, steps, "--out", self.root / f"{name}.onnx", *more))
            return recipe.Recipe(recipe.arguments(self.args(name, steps + 1, *more)))

    def test_a_run_that_was_stopped_and_resumed_equals_an_undisturbed_one(self):
        self.train("whole", 6)
        with contextlib.redirect_stdout(io.StringIO()):
            stopped = recipe.Recipe(recipe.arguments(self.args("parts", 6)))
        for _ in range(3):
            stopped.train_step()
        stopped.save()
        stopped.train_step()  # lost
        self.train("parts", 6)
        whole, parts = (checkpoints.load(self.root / f"{name}.state.pt") for name in ("whole", "parts"))
        self.assertEqual((whole["step"], parts["step"]), (6, 6))
        for part in ("network", "average"):
            for name, value in whole[part].items():
                self.assertTrue(torch.equal(value, parts[part][name]), f"{part} {name}")

    def test_it_learns(self):
        """On a batch that it sees again and again, the loss falls."""
        with contextlib.redirect_stdout(io.StringIO()):
            trained, losses = recipe.Recipe(recipe.arguments(self.args("learns", 10**6))), []
        for _ in range(40):
            trained.step = 5
            losses.append(trained.train_step().item())
        self.assertLess(losses[-1], 0.6 * losses[0])

    def test_the_int8_file_is_plain_small_and_says_what_the_network_says(self):
        trained = self.train("exported", 4)
        rows = trained.training.rows[::4].astype(np.float32)[:, :, None]
        np.save(self.root / "rows.npy", rows)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            made = [self.root / "exported.onnx", self.root / "int8.onnx", "--arrays", self.root / "rows.npy", "--measure", 8]
            quantise.main(list(map(str, made)))
        kinds = {node.op_type for node in onnx.load(made[1]).graph.node}
        self.assertLessEqual(kinds, {"Conv", "Relu", "Add", "Flatten", "QuantizeLinear", "DequantizeLinear"})
        network, count = recipe.load_small(trained.small_path)
        self.assertEqual(count, 4 * BATCH)
        self.assertLessEqual(nets.parameters(network), nets.MOST_PARAMETERS)
        self.assertLessEqual(nets.parameters(nets.Recurrent()), nets.MOST_PARAMETERS)
        with torch.no_grad():
            wanted = network(torch.from_numpy(rows[:1])).numpy()
        for path, within in ((made[0], 1e-3), (made[1], 0.15)):
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            (logits,) = session.run(None, {"channels": rows[:1]})
            np.testing.assert_allclose(logits, wanted, atol=within)

    def test_it_learns_from_an_installers_own_sessions_and_without_a_kind(self):
        own = self.root / "own"
        with contextlib.redirect_stdout(io.StringIO()):
            sim.main([str(own), "--sessions", "1", "--kinds", "live", "tablet", "mannequin"])
        trained = self.train("own", 1, "--sessions", own, "--without", "mannequin")
        kinds = set(trained.training.kinds)
        self.assertNotIn(1 + table.KINDS.index("mannequin"), kinds)
        simulated = LIVE + 11 * EACH
        self.assertGreater(len(trained.training.kinds), simulated)
        self.assertTrue({0, 1 + table.KINDS.index("tablet")} <= set(trained.training.kinds[simulated:]))


    def test_where_nothing_is_left_to_train_nothing_is_written_but_the_file_that_is_asked_for(self):
        done = self.train("done", 3)
        before = done.small_path.read_bytes()
        none, again = self.root / "none.onnx", self.root / "again.onnx"
        for there in (True, False):
            if not there:
                done.state_path.unlink()
            windows = mock.patch.object(recipe.liveness_data, "simulated", side_effect=AssertionError("windows were waited for"))
            for more in ([], ["--sessions", self.root / "own"]):
                with windows, self.assertRaisesRegex(SystemExit, f"nothing to train: .* has seen {3 * BATCH} windows already"):
                    recipe.main(self.args("done", 2, "--out", none, *more))
        self.assertFalse(none.exists())
        recipe.main(self.args("done", 0, "--out", again))
        self.assertEqual(again.read_bytes(), (self.root / "done.onnx").read_bytes())
        self.assertEqual(done.small_path.read_bytes(), before)

    def test_what_begins_anew_leaves_the_shipped_checkpoint_alone(self):
        shipped = self.train("liveness", 1).small_path
        args = self.args("liveness", 1, "--anew", "--work", self.root / "anew")
        leaves_the_shipped_one_alone(self, recipe, shipped, args, BATCH)


class Masks(unittest.TestCase):
    def test_a_window_without_a_sensor_is_as_if_the_sensor_were_not_there(self):
        batch = sim.batch_of(np.random.default_rng(2), "live", 8, sim.LENGTH, 1.0, Recordings())
        ends = np.full(8, sim.LENGTH - 0.02)
        kept = table.of_sensors(("camera", "depth"))
        fewer = {name: pair for name, pair in batch.items() if kept[table.NAMES.index(name)]}
        whole = windows.without(windows.windows(batch, ends), kept)
        np.testing.assert_array_equal(windows.windows(fewer, ends), whole)

    def test_a_shortened_window_is_nearly_one_of_a_session_that_began_later(self):
        batch = sim.batch_of(np.random.default_rng(3), "live", 8, sim.LENGTH, 1.0, Recordings(), arrive=np.full(8, -3.0))
        ends = np.full(8, sim.LENGTH - 0.02)
        begin = windows.ticks_until(ends)[0, 25] - 0.001
        late = {name: (np.where(t < begin - 0.12, np.nan, t), v) for name, (t, v) in batch.items()}
        whole, later = (torch.from_numpy(windows.windows(b, ends)) for b in (batch, late))
        short, later = recipe.shortened(whole, torch.full((8,), 25)), recipe.shortened(later, torch.full((8,), 25))
        centred = torch.from_numpy(recipe.IS_CENTRED)
        centred[windows.PULSE_ROW] = False
        both = (short != 0) & (later != 0) & centred[None, :, None] & (whole.abs() < 3.9)
        self.assertGreater(int(both.sum()), 1000)
        self.assertLess(float((short - later)[both].abs().median()), 0.02)


if __name__ == "__main__":
    unittest.main()
