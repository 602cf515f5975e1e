"""Smoke tests of the landmark recipe on crops and labels made here: `python -m unittest test_landmarks` (seconds)."""

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
    import cv2
    import numpy as np
    import onnx
    import onnxruntime
    import torch
except ModuleNotFoundError as missing:
    raise skipped(missing) from None

import checkpoints
import consensus
import landmarks as recipe
from anew import leaves_the_shipped_one_alone
from align import TEMPLATE, similarity
from data import CROP
from evaluate_landmarks import Refiner

COUNT, BATCH = 24, 8


def doll(points: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A crop with five dots, which a network can find."""
    crop = np.full((CROP, CROP, 3), random.integers(120, 200, 3), np.uint8)
    for (x, y), colour in zip(points + consensus.MARGIN, ((0, 0, 0), (0, 0, 0), (40, 40, 200), (20, 160, 20), (20, 160, 20))):
        cv2.circle(crop, (round(x * 16), round(y * 16)), 4 * 16, colour, -1, cv2.LINE_AA, 4)
    return crop


class Recipe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        random, labels = np.random.default_rng(0), {}
        for index in range(COUNT):
            points = TEMPLATE + random.normal(0, 1.5, (5, 2)).astype(np.float32)
            path = cls.root / "faces" / f"person{index % 3}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), doll(points, random))
            # The mesh means other points, and by the same offsets everywhere.
            across = points[1] - points[0]
            down = np.array([-across[1], across[0]])
            labels[f"person{index % 3}/{index}.png"] = points, points - 0.05 * down
        labels["no face"] = None
        consensus.save(cls.root / "labels.npz", labels)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def args(self, name: str, pictures: int, *more) -> list[str]:
        where = ["--faces", self.root / "faces", "--labels", self.root / "labels.npz", "--work", self.root / name]
        where += ["--checkpoints", self.root / name / "small", "--batch", BATCH, "--threads", 1, "--log-steps", 2]
        return [str(a) for a in (*where, "--warm-up", 2, "--pictures", pictures, *more)]

    def train(self, name: str, pictures: int) -> recipe.Recipe:
        with contextlib.redirect_stdout(io.StringIO()):
            recipe.main(self.args(name, pictures, "--out", self.root / name / "landmarks.onnx"))
            return recipe.Recipe(recipe.arguments(self.args(name, pictures + BATCH)))

    def test_a_run_that_was_stopped_and_resumed_equals_an_undisturbed_one(self):
        self.train("whole", 6 * BATCH)
        stopped = recipe.Recipe(recipe.arguments(self.args("parts", 6 * BATCH)))
        for _ in range(3):
            stopped.train_step()
        stopped.args.work.mkdir()
        stopped.save()
        stopped.train_step()  # lost
        # What a kill in the middle of a save leaves behind is in nobody's way.
        (self.root / "parts" / ".landmarks.state.pt.1").write_bytes(b"half a file")
        self.train("parts", 6 * BATCH)
        whole, parts = (checkpoints.load(self.root / name / "landmarks.state.pt") for name in ("whole", "parts"))
        self.assertEqual((whole["step"], parts["step"]), (6, 6))
        for part in ("network", "average"):
            for name, value in whole[part].items():
                self.assertTrue(torch.equal(value, parts[part][name]), f"{part} {name}")

    def test_it_learns(self):
        """On a batch that it sees again and again, the loss falls."""
        trained, losses = recipe.Recipe(recipe.arguments(self.args("learns", 10**6))), []
        for _ in range(40):
            trained.step = 5
            losses.append(trained.train_step().item())
        self.assertLess(losses[-1], 0.5 * losses[0])

    def test_a_fresh_machine_goes_on_from_the_small_checkpoint(self):
        trained = self.train("fresh", 2 * BATCH)
        trained.state_path.unlink()
        resumed = recipe.Recipe(trained.args)
        self.assertEqual(resumed.step, 2)
        for name, value in resumed.network.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(value, trained.average.state_dict()[name], rtol=1e-3, atol=1e-4)

    def test_where_nothing_is_left_to_train_nothing_is_written_but_the_file_that_is_asked_for(self):
        done = self.train("done", 2 * BATCH)
        for there in (done.state_path, None):
            if there is None:
                done.state_path.unlink()
            before = done.small_path.read_bytes()
            for fewer in (1, 2):
                with self.assertRaisesRegex(SystemExit, "nothing to train: .* has seen 16 pictures already"):
                    recipe.main(self.args("done", fewer * BATCH, "--out", self.root / "none.onnx"))
            self.assertFalse((self.root / "none.onnx").exists())
            self.assertEqual(done.small_path.read_bytes(), before)
        recipe.main(self.args("done", 0, "--out", self.root / "done.onnx"))
        self.assertEqual((self.root / "done.onnx").read_bytes(), (self.root / "done" / "landmarks.onnx").read_bytes())
        # Asked to stop before its first step.
        with mock.patch.object(recipe, "asked_to_stop", lambda: [True]), contextlib.redirect_stdout(io.StringIO()):
            recipe.main(self.args("done", 8 * BATCH, "--batch", 7))
        self.assertEqual(done.small_path.read_bytes(), before)

    def test_what_begins_anew_leaves_the_shipped_checkpoint_alone(self):
        shipped = self.train("shipping", 2 * BATCH).small_path
        args = self.args("anew", BATCH, "--anew")
        leaves_the_shipped_one_alone(self, recipe, shipped, args, BATCH)

    def test_crops_that_are_added_leave_the_others_on_their_side(self):
        labels = consensus.load(self.root / "labels.npz")
        fewer = self.root / "fewer.npz"
        consensus.save(fewer, {name: tuple(pair) for name, pair in list(labels.items())[: COUNT // 2]})
        sides = []
        for where in (fewer, self.root / "labels.npz"):
            args = self.args("sides", BATCH, "--validation", 0.4, "--labels", where)
            with contextlib.redirect_stdout(io.StringIO()):
                made = recipe.Recipe(recipe.arguments(args))
            sides.append([{crop.tobytes() for crop in made.crops[some]} for some in (made.training, made.validation)])
        for before, after in zip(*sides):
            self.assertTrue(before and before < after)

    def test_the_exported_network_is_plain_small_and_equals_the_trained_one(self):
        trained = self.train("exported", 2 * BATCH)
        exported = onnx.load(trained.args.work / "landmarks.onnx")
        self.assertLessEqual({node.op_type for node in exported.graph.node}, {"Conv", "Relu", "Add", "Flatten"})
        self.assertLess(recipe.products(recipe.Landmarks()), 8e6)
        pixels = torch.rand(1, 3, recipe.SIDE, recipe.SIDE) * 255
        session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
        (points,) = session.run(None, {"pixels": pixels.numpy()})
        network, pictures = recipe.load_small(trained.small_path)
        self.assertEqual(pictures, 2 * BATCH)
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(points), network(pixels), rtol=1e-3, atol=1e-2)


class Geometry(unittest.TestCase):
    def test_a_view_shows_the_points_where_the_label_says(self):
        """Dots drawn at known points are found again, by their colour, where views() says they are."""
        random = np.random.default_rng(1)
        points = (TEMPLATE + random.normal(0, 2, (8, 5, 2))).astype(np.float32)
        crops = np.stack([doll(some, random) for some in points])
        shown, wanted = recipe.views(crops, points, recipe.coarse(points, random), None)
        for view, (_, _, nose, _, _) in zip(shown, wanted):
            redness = (view[..., 2].astype(float) - view[..., 1] - 60).clip(0)
            rows, columns = np.mgrid[: recipe.SIDE, : recipe.SIDE]
            seen = np.array([(columns * redness).sum(), (rows * redness).sum()]) / redness.sum()
            np.testing.assert_allclose((seen + 0.5) * recipe.STEP - recipe.MARGIN - 0.5, nose, atol=0.5)

    def test_similarities_of_many_are_those_of_each(self):
        points = recipe.coarse(np.repeat(TEMPLATE[None], 6, 0), np.random.default_rng(2))
        for one, a, b in zip(points, *recipe.similarities(points)):
            expected = similarity(one, TEMPLATE)
            np.testing.assert_allclose([a.real, a.imag, b.real, b.imag], expected[[0, 1, 0, 1], [0, 0, 2, 2]], atol=1e-4)

    def test_the_daemons_passes_find_dots_that_the_detector_missed_by_a_few_pixels(self):
        """With a network that is told where the dots are, the way there and back loses nothing."""
        random = np.random.default_rng(3)
        turned = TEMPLATE @ (np.array([[0.9, -0.3], [0.3, 0.9]]) * 1.4).T + (60, 20)
        picture = np.zeros((240, 260, 3), np.uint8)
        refiner = Refiner.__new__(Refiner)
        refiner.side, refiner.margin, views = recipe.SIDE, recipe.MARGIN, []
        refiner._look = lambda view: (views.append(view), TEMPLATE.astype(float))[1]
        coarse = turned + random.normal(0, 3, (5, 2))
        found = refiner.points(picture, coarse, passes=1, mirror=True)
        self.assertEqual([view.shape for view in views], [(recipe.SIDE, recipe.SIDE, 3)] * 2)
        aligning = similarity(coarse, TEMPLATE)
        mirrored = TEMPLATE[consensus.MIRRORED] * (-1, 1) + (111, 0)
        np.testing.assert_allclose(consensus.through(aligning, found), (TEMPLATE + mirrored) / 2, atol=1e-3)


class Labels(unittest.TestCase):
    def test_the_meshs_offsets_are_found_and_removed(self):
        random = np.random.default_rng(4)
        yunet = TEMPLATE + random.normal(0, 1, (200, 5, 2))
        offset = np.array([[0.01, 0.02], [-0.01, 0.02], [0, 0.1], [0.03, 0], [-0.03, 0]])
        mesh = yunet - offset @ consensus.axes(yunet)
        np.testing.assert_allclose(consensus.offsets(yunet, mesh), offset, atol=0.005)
        names, points, _ = consensus.merged({str(i): np.stack(pair) for i, pair in enumerate(zip(yunet, mesh))})
        np.testing.assert_allclose(points, yunet[[int(name) for name in names]], atol=0.4)

    def test_doubtful_labels_are_left_out_and_counted(self):
        good = {str(i): np.stack([TEMPLATE, TEMPLATE]) for i in range(5)}
        bad = {"shifted": np.stack([TEMPLATE + 6, TEMPLATE + 6]), "apart": np.stack([TEMPLATE, TEMPLATE + (0, 9)])}
        bad["none"] = np.full((2, 5, 2), np.nan)
        names, _, doubts = consensus.merged(good | bad)
        self.assertEqual(names, list(good))
        expected = {"without a face": 1, "the crop was aligned otherwise": 1, "the teachers disagree": 1}
        self.assertEqual(doubts, expected)

    def test_what_is_shrunk_is_averaged_and_stays_where_it_was(self):
        stripes = np.tile(np.uint8([0, 255]), (256, 128))
        grey = consensus.warp(stripes, consensus.window((127.5, 127.5), 256, 64), 64)
        self.assertLess(abs(grey.astype(float) - 127.5).max(), 1)
        square = np.zeros((256, 256), np.uint8)
        square[64:128, 160:192] = 255
        small = consensus.warp(square, consensus.window((127.5, 127.5), 256, 64), 64)
        self.assertTrue(((small > 127) == (square[::4, ::4] > 127)).all())

    def test_a_window_shows_its_square_and_back_undoes_it(self):
        corners = np.array([[10.0, 20.0], [40.0, 50.0]])
        for mirror in (False, True):
            matrix = consensus.window((25, 35), 30, 60, mirror)
            shown = consensus.through(matrix, corners)
            np.testing.assert_allclose(shown, [[59.5, -0.5], [-0.5, 59.5]] if mirror else [[-0.5, -0.5], [59.5, 59.5]])
            np.testing.assert_allclose(consensus.back(matrix, shown), corners)


if __name__ == "__main__":
    unittest.main()
