"""Smoke tests of pair_head.py on numbers and pictures made here: `python -m unittest test_pair_head` (seconds)."""

import contextlib
import hashlib
import io
import sys
import tempfile
import tomllib
import types
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
from skipping import skipped

try:
    import cv2
    import numpy as np
    import onnx
    import torch
except ModuleNotFoundError as missing:
    raise skipped(missing) from None

import pair_head
from data import CROP
from export import to_onnx
from nets import Encoder, EncoderConfig


class PairHead(unittest.TestCase):
    def test_the_fit_finds_the_weights_that_made_the_answers(self):
        random = np.random.default_rng(0)
        apart = np.abs(random.normal(size=(40_000, 6))).astype(np.float32)
        true = np.array([-2.0, -1.5, -1.0, -0.5, 0.0, 0.5])
        bias = -(apart @ true).mean()  # as many of the same as of different
        same = random.random(len(apart)) < 1 / (1 + np.exp(-(apart @ true + bias)))
        found = pair_head.fit(apart, same, ridge=0.0)
        np.testing.assert_allclose(found[:-1], true, atol=0.08)
        self.assertAlmostEqual(found[-1], bias, delta=0.15)
        held = pair_head.fit(apart, same, ridge=1.0)[:-1]
        self.assertLess(held.std(), 0.2 * true.std(), "a ridge holds the weights together")
        self.assertLess(held.mean(), -0.4, "and not at 0")
        self.assertLess(pair_head.loss(found, apart, same), pair_head.loss(np.r_[held, bias], apart, same))

    def test_pairs_are_of_one_person_or_of_two_near_ones(self):
        random = np.random.default_rng(1)
        person = np.repeat(np.arange(12), 3)
        encodings = random.normal(size=(1, 36, 8)).astype(np.float32)
        encodings /= np.linalg.norm(encodings, axis=2, keepdims=True)
        args = types.SimpleNamespace(seed=1, most=10_000, strangers=2)
        apart, same = pair_head.training_pairs(encodings, person, args)
        self.assertEqual(same.sum(), 12 * 3)
        every = {tuple(np.abs(a - b).round(5)): p == q for a, p in zip(encodings[0], person) for b, q in zip(encodings[0], person)}
        for row, is_same in zip(apart, same):
            self.assertEqual(every[tuple(row.round(5))], is_same)
        self.assertLess((apart[~same][:72] ** 2).sum(1).mean(), (apart[~same][72:] ** 2).sum(1).mean(), "the first are near")

    def test_pairs_of_very_many_pictures_are_drawn_and_not_listed(self):
        person = np.repeat(np.arange(3), 1200)
        encodings = np.random.default_rng(1).normal(size=(1, len(person), 2)).astype(np.float32)
        args = types.SimpleNamespace(seed=1, most=500, strangers=1)
        with mock.patch.object(np, "triu_indices", side_effect=MemoryError):
            apart, same = pair_head.training_pairs(encodings, person, args)
        self.assertEqual(same.sum(), 500)

    def test_a_comparison_without_its_pictures_is_refused_before_anything_is_fitted(self):
        for given in ([], ["--images", "LFW"], ["--images", "LFW", "--detector", "yunet.onnx"]):
            with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as said:
                pair_head.main(["none.onnx", "head.toml", "--people", "none", "--pairs", "pairs.txt", *given])
            self.assertIn("--pairs needs --images, --detector and --work", said.getvalue())

    def test_true_accepts_are_those_above_the_impostors_share(self):
        # Ten people of two pictures; the second person's two are apart like strangers.
        encodings = np.repeat(np.eye(10, dtype=np.float32), 2, axis=0)
        encodings[3] = encodings[0]
        person = np.repeat(np.arange(10), 2)
        (told,) = pair_head.true_accepts(lambda a, b: a @ b.T, encodings, person, seed=1, shares=[0.02])
        self.assertIn("TAR at FMR 0.02 0.9000", told)

    def made(self, root: Path, people: int) -> list:
        """The arguments for an encoder and four pictures each of so many people, which lie in `root` then."""
        torch.manual_seed(0)
        random = np.random.default_rng(0)
        for person in range(people):
            face = random.integers(0, 200, (6, 6, 3))
            for index in range(4):
                picture = np.clip(face + random.integers(0, 56, face.shape), 0, 255).astype(np.uint8)
                path = root / "people" / f"p{person}" / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), cv2.resize(picture, (CROP, CROP), interpolation=cv2.INTER_CUBIC))
        onnx.save(to_onnx(Encoder(EncoderConfig(width=0.1)).eval()), root / "encoder.onnx")
        return [root / "encoder.onnx", root / "head.toml", "--people", root / "people", "--variants", 2]

    def test_too_few_people_are_refused_before_they_are_encoded(self):
        for people, held_out in ((9, 0), (3, 0.5), (9, 0.99)):
            with tempfile.TemporaryDirectory() as folder, mock.patch.object(pair_head, "encode_people", side_effect=AssertionError):
                args = [*self.made(Path(folder), people), "--held-out", held_out]
                with self.assertRaisesRegex(SystemExit, "too few people: two to learn from and two kept back"):
                    pair_head.main([str(a) for a in args])

    def test_an_encoder_of_ones_own_is_named_as_one_says(self):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "head.toml"
            args = pair_head.arguments(["mine.onnx", str(out), "--people", folder, "--digest", "ab" * 32])
            pair_head.write(np.array([-1.0, 0.5]), args)
            self.assertEqual(tomllib.loads(out.read_text())["model"], "ab" * 32)

    def test_a_head_is_fitted_and_names_the_encoder(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            args = [*self.made(root, people=20), "--held-out", 0.2]
            with contextlib.redirect_stdout(io.StringIO()) as said:
                pair_head.main([str(a) for a in args])
            written = tomllib.loads((root / "head.toml").read_text())
            digest = hashlib.sha256((root / "encoder.onnx").read_bytes()).hexdigest()
        self.assertEqual(written["model"], digest)
        self.assertEqual(len(written["weights"]), 128)
        self.assertTrue(np.isfinite([*written["weights"], written["bias"]]).all())
        self.assertIn("of people kept back", said.getvalue())


if __name__ == "__main__":
    unittest.main()
