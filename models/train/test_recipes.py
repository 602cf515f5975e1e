"""Smoke tests of the recipes on pictures and a teacher made here: `python -m unittest test_recipes` (under a minute)."""

import contextlib
import io
import shutil
import sys
import tempfile
import threading
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

import align
import checkpoints
import encoder as recipe
import evaluate
from data import CROP, Batches, LessonBatches, load_crops, share, split
from export import to_onnx
from nets import Conv, Encoder, EncoderConfig
from teacher import OnnxTeacher

COUNT, BATCH = 12, 2
SHAPES = {"Conv", "Relu", "PRelu", "Add", "Gemm", "Flatten"}


def random_encoder(width: float) -> Encoder:
    """Random weights under BatchNorm statistics of random pictures, so that a signal gets through to the end."""
    torch.manual_seed(0)
    made = Encoder(EncoderConfig(width=width))
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        made(torch.rand(4, 3, 112, 112) * 255)
    return made.eval()


class Recipes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(2)
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        random = np.random.default_rng(0)
        for index in range(COUNT):
            coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
            path = cls.root / "faces" / f"person{index % 3}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), cv2.resize(coarse, (CROP, CROP), interpolation=cv2.INTER_CUBIC))
        cls.teacher = cls.root / "teacher.onnx"
        onnx.save(to_onnx(random_encoder(0.6)), cls.teacher)  # wide enough for its trunk to be told from its blocks

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def args(self, name: str, *more) -> list[str]:
        """Every stage, forced, released and alone, within six steps."""
        where = ["--faces", self.root / "faces", "--teacher", self.teacher, "--work", self.root / name]
        where += ["--checkpoints", self.root / name / "small", "--normalise", "raw", "--threads", "2"]
        sizes = ["--width", "0.1", "--batch", BATCH, "--forced", 2 * BATCH, "--release", 2 * BATCH, "--warm-up", "2"]
        return [str(a) for a in (*where, *sizes, "--log-steps", "1", "--precision", "float", *more)]

    def train(self, name: str, *more) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            recipe.main(self.args(name, *more))
        return said.getvalue()

    def test_a_run_that_was_stopped_and_resumed_equals_an_undisturbed_one(self):
        self.train("whole", "--pictures", 6 * BATCH)
        self.train("parts", "--pictures", 3 * BATCH)
        # What a kill in the middle of a save leaves behind is in nobody's way.
        (self.root / "parts" / ".encoder.state.pt.1").write_bytes(b"half a file")
        self.train("parts", "--pictures", 6 * BATCH)
        whole, parts = (checkpoints.load(self.root / name / "encoder.state.pt") for name in ("whole", "parts"))
        self.assertEqual(whole["step"], 6)
        for part in ("student", "average"):
            for name, value in whole[part].items():
                self.assertTrue(torch.equal(value, parts[part][name]), f"{part} {name}")

    def test_a_fresh_machine_goes_on_from_the_small_checkpoint(self):
        self.train("first", "--pictures", 2 * BATCH)
        small = self.root / "first" / "small" / "encoder.pt"
        self.assertLess(small.stat().st_size, checkpoints.SMALL_LIMIT)
        average = checkpoints.load(self.root / "first" / "encoder.state.pt")["average"]
        (self.root / "first" / "encoder.state.pt").unlink()
        resumed = recipe.Recipe(recipe.arguments(self.args("first")))
        self.assertEqual((resumed.pictures, resumed.step), (2 * BATCH, 2))
        self.assertAlmostEqual(resumed.rate(), resumed.args.forced_rate / 2, msg="the warm-up starts again")
        for name, value in resumed.student.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(value, average[name], rtol=1e-3, atol=1e-4)

    def test_a_kill_after_the_small_checkpoint_was_written_loses_no_state(self):
        self.train("published", "--pictures", BATCH)
        killed = recipe.Recipe(recipe.arguments(self.args("published")))
        killed.train_step(killed.batches(1).make(1))
        killed.publish()
        resumed = recipe.Recipe(recipe.arguments(self.args("published")))
        self.assertEqual((resumed.pictures, resumed.step, resumed.warm_from), (2 * BATCH, 2, 0))
        self.assertTrue(resumed.optimiser.state_dict()["state"], "what Adam remembers")

    def test_what_begins_anew_knows_nothing_of_the_shipped_checkpoint_leaves_it_alone_and_goes_on_from_its_own_state(self):
        self.train("shipping", "--pictures", 4 * BATCH)
        shipped = self.root / "shipping" / "small" / "encoder.pt"
        before, work = shipped.read_bytes(), self.root / "anew"
        args = self.args("anew", "--pictures", 2 * BATCH)
        where = args.index("--checkpoints")
        args = args[:where] + args[where + 2 :]

        def run(*more) -> str:
            with mock.patch.object(checkpoints, "SHIPPED", shipped.parent), contextlib.redirect_stdout(io.StringIO()) as said:
                recipe.main([*args, *map(str, more)])
            return said.getvalue()

        self.assertIn("beginning with random weights\n", run("--anew"))
        self.assertEqual(checkpoints.load_small(work / "encoder.pt")[1], 2 * BATCH)
        state = work / "encoder.state.pt"
        self.assertIn(f"going on from {state}, {2 * BATCH} pictures\n", run("--anew", "--pictures", 3 * BATCH))
        with self.assertRaisesRegex(SystemExit, "begun with --anew"):
            run()
        with self.assertRaisesRegex(SystemExit, "write over it: name another --name or --work"):
            state.unlink()
            run("--anew")
        self.assertEqual(shipped.read_bytes(), before)
        said = run("--pictures", 5 * BATCH)
        self.assertIn(f"going on from {shipped}, {4 * BATCH} pictures\n", said)
        with self.assertRaisesRegex(SystemExit, "begun without --anew"):
            run("--anew")

    def test_a_checkpoint_of_another_width_is_refused(self):
        self.train("narrow", "--pictures", BATCH)
        with self.assertRaisesRegex(SystemExit, "another width"):
            self.train("narrow", "--width", "0.2")

    def test_cooling_down_ends_a_training(self):
        said = self.train("cooled", "--cool-down", 3 * BATCH)
        self.assertIn(f"pictures {3 * BATCH} validation_cosine", said)

    def test_a_training_that_was_cooled_down_or_was_about_to_be_goes_on_without(self):
        for name, more in (("ended", []), ("stopped", ["--pictures", BATCH])):
            self.train(name, "--cool-down", 2 * BATCH, *more)
            said = self.train(name, "--pictures", 4 * BATCH)
            self.assertIn(f"pictures {4 * BATCH} validation_cosine", said)
            resumed = recipe.Recipe(recipe.arguments(self.args(name)))
            self.assertEqual(resumed.rate(), resumed.args.rate, "as high as ever")
            again = recipe.Recipe(recipe.arguments(self.args(name, "--cool-down", 2 * BATCH)))
            self.assertEqual(again.cooling_from, 4 * BATCH, "another one begins where it is")

    def test_the_full_size_checkpoint_fits_the_repository(self):
        checkpoints.save_small(Encoder(), 0, self.root / "full.pt")  # it refuses to be larger than the limit
        loaded, pictures = checkpoints.load_small(self.root / "full.pt")
        self.assertEqual((loaded.config, pictures), (EncoderConfig(), 0))

    def test_students_learn(self):
        """On a batch that it sees again and again, teacher-fed, the hints' error falls."""
        trained = recipe.Recipe(recipe.arguments(self.args("learns", "--forced", 10**6, "--forced-rate", "0.01")))
        lessons = trained.batches(0).make(0)
        errors = [trained.train_step(lessons)["errors"].mean().item() for _ in range(8)]
        self.assertLess(errors[-1], 0.8 * errors[0])

    def test_the_exported_network_is_plain_and_equals_the_trained_one(self):
        made = random_encoder(0.25)
        exported = to_onnx(made)
        self.assertLessEqual({node.op_type for node in exported.graph.node}, SHAPES)
        pixels = torch.rand(1, 3, 112, 112) * 255
        session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
        (encoding,) = session.run(None, {"pixels": pixels.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(encoding), made(pixels), rtol=1e-3, atol=1e-3)

    def test_the_teacher_is_what_its_file_says(self):
        trunk, encodings = OnnxTeacher(self.teacher, "raw")(torch.rand(2, 3, 112, 112) * 255)
        expected = [64] * 6 + [128] * 10
        self.assertEqual([tensor.shape[1] for tensor in trunk], expected)
        self.assertEqual(encodings.shape, (2, 128))

    def test_the_faster_gradient_of_halving_convolutions_is_the_gradient(self):
        conv, x = Conv(4, 4, 3, 2, 1, groups=4, bias=False), torch.randn(2, 4, 8, 8, requires_grad=True)
        gradients = []
        for forward in (conv, lambda x: torch.nn.functional.conv2d(x, conv.weight, None, 2, 1, 1, 4)):
            gradients.append(torch.autograd.grad(forward(x).square().sum(), (x, conv.weight)))
        for ours, theirs in zip(*gradients):
            torch.testing.assert_close(ours, theirs)

    def test_batches_follow_from_seed_and_step_alone(self):
        crops, training = load_crops(self.root / "faces"), np.arange(3, COUNT)
        first, second = (Batches(crops, training, 4, seed=1, start=start) for start in (0, 5))
        first.make(3)
        self.assertTrue(torch.equal(first.make(7), second.make(7)))
        self.assertEqual(first.make(7).shape, (4, 3, 112, 112))

    def test_pictures_that_are_added_leave_the_others_on_their_side(self):
        def sides(of: str) -> tuple[set, set]:
            args = self.args(of, "--validation", 0.4)
            args[args.index("--faces") + 1] = str(self.root / of)
            made = recipe.Recipe(recipe.arguments(args))
            return tuple({crop.tobytes() for crop in made.crops[some]} for some in (made.training, made.validation))

        shutil.copytree(self.root / "faces", self.root / "fewer")
        for path in sorted((self.root / "fewer").rglob("*.png"))[::3]:
            path.unlink()
        fewer, more = sides("fewer"), sides("faces")
        self.assertEqual([len(some) + len(others) for some, others in (fewer, more)], [COUNT * 2 // 3, COUNT])
        for before, after in zip(fewer, more):
            self.assertTrue(before and before < after)

    def test_no_thread_is_left_by_a_training_that_was_not_begun_or_failed(self):
        before = threading.enumerate()
        recipe.Recipe(recipe.arguments(self.args("not-begun")))
        self.assertEqual(threading.enumerate(), before)
        with mock.patch.object(recipe.Recipe, "train_step", side_effect=ZeroDivisionError):
            try:
                self.train("failed")
            except ZeroDivisionError:  # while the failure and all that it holds on to are there, as until a process ends
                self.assertEqual(threading.enumerate(), before)
            else:
                self.fail("the step was to fail")

    def test_lessons_in_another_light_follow_from_seed_and_step_alone(self):
        crops = load_crops(self.root / "faces")
        first, second = (LessonBatches(0.5, crops, np.arange(len(crops)), 4, seed=1, start=start) for start in (0, 5))
        first.make(3)
        ours, theirs = first.make(7), second.make(7)
        for name in ("shown", "told"):
            self.assertEqual(getattr(ours, name).shape, (4, 3, 112, 112))
            self.assertTrue(torch.equal(getattr(ours, name), getattr(theirs, name)), name)
        self.assertEqual(ours.same, 2)
        self.assertTrue(torch.equal(ours.shown[:2], ours.told[:2]), "the teacher sees what the student sees")
        seen = [not torch.equal(ours.shown[i], ours.told[i]) for ours in map(first.make, range(8)) for i in (2, 3)]
        self.assertGreater(sum(seen), 8, "most others are seen in another light")


class Sides(unittest.TestCase):
    def test_a_names_side_follows_from_itself_and_the_seed(self):
        names = [f"{index}.png" for index in range(5000)]
        training, kept = split(names, 0.1, seed=1)
        self.assertEqual(sorted([*training, *kept]), list(range(5000)))
        self.assertAlmostEqual(len(kept) / 5000, 0.1, delta=0.02)
        again = split(names[::-2], 0.1, seed=1)[1]
        self.assertEqual({names[::-2][index] for index in again}, {names[index] for index in kept} & set(names[::-2]))
        self.assertNotEqual(kept.tolist(), split(names, 0.1, seed=2)[1].tolist())
        self.assertEqual(len(split(names, 0, seed=1)[1]), 0)

    def test_a_number_is_no_share(self):
        self.assertEqual(share("0.25"), 0.25)
        for given in ("256", "1", "-0.1", "nan"):
            with self.assertRaises(ValueError):
                share(given)


class Measuring(unittest.TestCase):
    def test_alignment_undoes_a_similarity(self):
        turn = np.array([[0.8, -0.6], [0.6, 0.8]]) * 2.5
        points = align.TEMPLATE @ turn.T + (30, -12)
        matrix = align.similarity(points, align.TEMPLATE)
        np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], align.TEMPLATE, atol=1e-3)

    def test_accuracy_takes_each_folds_threshold_from_the_others(self):
        same = np.tile([True, True, False, False], 2)
        scores = np.array([0.9, 0.8, 0.3, 0.2, 0.9, 0.4, 0.3, 0.2])
        # From the first fold .55, which wrongly refuses .4 in the second; from the second .35, right for the first.
        mean, deviation = evaluate.accuracy(scores, same, folds=2)
        self.assertEqual(mean, (1 + 0.75) / 2)
        self.assertAlmostEqual(deviation, 0.125 * 2**0.5, msg="of two folds, each .125 from the mean")

    def test_rates_are_told_only_where_the_impostors_suffice(self):
        scores, same = np.linspace(0, 1, 400), np.arange(400) >= 100
        self.assertIsNone(evaluate.true_accepts(scores, same, 0.01))
        self.assertEqual(evaluate.true_accepts(scores, same, 0.03), 1.0)


if __name__ == "__main__":
    unittest.main()
