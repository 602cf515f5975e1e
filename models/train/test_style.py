"""Tests of style.py and looks.py on networks and pictures made here: `python -m unittest test_style` (seconds)."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from skipping import skipped

try:
    import cv2
    import numpy as np
    import torch
    from torch import nn
except ModuleNotFoundError as missing:
    raise skipped(missing) from None

import checkpoints
import looks
import looks_evaluate
import style
from nets import Encoder, EncoderConfig


class TwoFilters(nn.Module):
    """What a user names as test_style:TwoFilters; one filter sees horizontal edges, one vertical ones."""

    def __init__(self):
        super().__init__()
        self.edges = nn.Conv2d(3, 2, 3, padding=1, bias=False)
        self.after = nn.ReLU(inplace=True)
        weight = torch.zeros(2, 3, 3, 3)
        weight[0, :, 0], weight[0, :, 2] = 1, -1
        weight[1] = weight[0].transpose(1, 2)
        self.edges.weight.data = weight

    def forward(self, x):
        return self.after(self.edges(x))


def stripes(across: bool, side: int = 32) -> torch.Tensor:
    """1 x 3 x side x side, lines of 4 pixels."""
    line = (torch.arange(side) // 4 % 2 * 255).float()
    return (line.view(1, 1, -1, 1) if across else line.view(1, 1, 1, -1)).expand(1, 3, side, side).contiguous()


def random_encoder(width: float = 0.1) -> Encoder:
    """Random weights under BatchNorm statistics of random pictures, so that a signal gets through to the end."""
    torch.manual_seed(0)
    made = Encoder(EncoderConfig(width=width))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        made(torch.rand(4, 3, 112, 112) * 255)
    return made.eval()


class Gatys(unittest.TestCase):
    def setUp(self):
        torch.set_num_threads(1)
        self.looking = style.load("test_style:TwoFilters")

    def test_a_style_matrix_is_the_sum_of_products_over_all_places(self):
        a = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
        self.assertEqual(style.gram(a).tolist(), [[[5.0, 11.0], [11.0, 25.0]]])

    def test_where_a_pattern_lies_is_no_part_of_its_style(self):
        """Rolled by a whole period the style is the same and the content is not; turned, the style is another."""
        plain, rolled = stripes(True), stripes(True).roll(4, 2)
        seen = [self.looking(picture, {"edges"})["edges"][..., 4:-4, 4:-4] for picture in (plain, rolled, stripes(False))]
        asked = style.gram(seen[0]) / (24 * 24)
        self.assertAlmostEqual(float(style.style_cost(asked, seen[1])), 0, places=5)
        self.assertGreater(float(style.style_cost(asked, seen[2])), 1)
        self.assertGreater(float(style.content_cost(seen[0], seen[1])), 0.1)

    def test_both_optimisers_descend_to_the_style_from_noise_and_keep_pixels_in_range(self):
        noise = torch.rand((1, 32, 32, 3), generator=torch.Generator().manual_seed(1)).permute(0, 3, 1, 2) * 255
        weights = style.Weights(content=0, style=1, variation=0)
        transfer = style.Transfer(self.looking, noise, stripes(True), "edges", {"edges": 1.0}, weights)
        for optimiser in ("adam", "lbfgs"):
            costs = []
            made = transfer.run(noise, 30, optimiser, lambda step, cost, picture: costs.append(cost))
            self.assertLess(float(transfer.total(made)), 0.2 * costs[0], optimiser)
            self.assertTrue(float(made.min()) >= 0 and float(made.max()) <= 255)

    def test_without_a_style_the_content_stays(self):
        weights = style.Weights(content=1, style=0, variation=0)
        transfer = style.Transfer(self.looking, stripes(False), stripes(True), "edges", {"edges": 1.0}, weights)
        start = stripes(False).clamp(5, 250)
        made = transfer.run(start, 5, "adam")
        self.assertLess(float((made - start).abs().mean()), 5)

    def test_a_cost_that_is_no_number_ends_the_run_with_what_to_do(self):
        broken = style.load("test_style:TwoFilters")
        weights = style.Weights(style=float("nan"))
        transfer = style.Transfer(broken, stripes(True), stripes(False), "edges", {"edges": 1.0}, weights)
        with self.assertRaisesRegex(SystemExit, "step 1: the cost is nan"):
            transfer.run(stripes(True), 2, "adam")

    def test_networks_come_by_name_by_checkpoint_and_by_torchscript(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            checkpoints.save_small(Encoder(EncoderConfig(width=0.1)), 0, root / "own.pt")
            scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)))
            scripted.save(str(root / "theirs.pt"))
            (root / "nothing.pt").write_bytes(b"no network")
            picture = stripes(True)
            own, theirs = style.load(str(root / "own.pt")), style.load(str(root / "theirs.pt"))
            self.assertEqual((own.kind, theirs.kind), ("encoder", "other"))
            self.assertEqual(own(picture, {"stem", "block02"})["block02"].shape, (1, 64, 8, 8))
            shapes = {name: tuple(a.shape) for name, a in theirs(picture, {"0", "2"}).items()}
            self.assertEqual(shapes, {"0": (1, 4, 30, 30), "2": (1, 5, 28, 28)})
            for wrong, said in (("nothing.pt", "neither a checkpoint"), ("missing.pt", "isn't there")):
                with self.assertRaisesRegex(SystemExit, said):
                    style.load(str(root / wrong))
            with self.assertRaisesRegex(SystemExit, "no layer nose"):
                own.check({"nose"})

    def test_intermediate_pictures_are_written_beside_the_last(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
            root = Path(folder)
            for name, across in (("content", True), ("style", False)):
                style.write(root / f"{name}.png", stripes(across, 64))
            where = [root / "content.png", root / "style.png", root / "out.png", "--network", "test_style:TwoFilters"]
            what = ["--content-layer", "edges", "--style-layers", "edges=1", "--side", 64, "--steps", 4, "--every", 2]
            style.main([str(a) for a in (*where, *what)])
            found = sorted(path.name for path in root.glob("out*.png"))
        self.assertEqual(found, ["out-00002.png", "out-00004.png", "out.png"])
        self.assertIn("out.png: content ", said.getvalue())


class Looks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(1)
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        random = np.random.default_rng(0)
        for index in range(8):
            path = cls.root / "faces" / f"{index}.png"
            path.parent.mkdir(exist_ok=True)
            coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
            cv2.imwrite(str(path), cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC))
        checkpoints.save_small(random_encoder(), 0, cls.root / "encoder.pt")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def go(self, what: str, work: str, *more) -> str:
        where = [what, "--faces", self.root / "faces", "--work", self.root / work, "--encoder", self.root / "encoder.pt"]
        small = ["--student", self.root / "encoder.pt", "--batch", 2, "--log-steps", 1]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            looks.main([str(a) for a in (*where, *small, *more)])
        return said.getvalue()

    def test_the_content_gets_the_styles_means_and_deviations(self):
        content, other = torch.randn(2, 4, 6, 6) * 3 + 1, torch.randn(2, 4, 5, 5) * 0.5 - 2
        for ours, theirs in zip(looks.moments(looks.adain(content, other)), looks.moments(other)):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
        flat = looks.adain(torch.ones(1, 1, 3, 3), other[:1, :1])
        self.assertTrue(bool(flat.isfinite().all()), "a channel that is the same everywhere has no deviation")

    def test_a_share_of_nothing_asks_for_the_plain_face(self):
        seen, painter = looks.Seen(random_encoder()), looks.Painter()
        content, other = torch.rand(1, 3, 112, 112) * 255, torch.rand(1, 3, 112, 112) * 255
        painted, asked = looks.paint(seen, painter, content, other, share=0.0)
        torch.testing.assert_close(asked, seen(content, looks.MIXED)[1])
        self.assertEqual(painted.shape, content.shape)
        each = looks.costs(seen, painted + 1000, asked, content, other)
        self.assertGreater(float(each["beyond"]), looks.costs(seen, painted, asked, content, other)["beyond"])

    def test_a_painter_learns_and_one_that_was_stopped_and_resumed_equals_an_undisturbed_one(self):
        self.go("train", "whole", "--steps", 4, "--save-steps", 4)
        self.go("train", "parts", "--steps", 4, "--save-steps", 2)
        state = checkpoints.load(self.root / "parts" / "looks.state.pt")
        self.assertEqual(state["step"], 4)
        # As if it had been killed after two of its four steps.
        self.go("train", "killed", "--steps", 4, "--save-steps", 2, "--stop-after", 2)
        self.assertEqual(checkpoints.load(self.root / "killed" / "looks.state.pt")["step"], 2)
        self.go("train", "killed", "--steps", 4)
        whole, killed = (checkpoints.load(self.root / name / "looks.state.pt")["painter"] for name in ("whole", "killed"))
        for name, value in whole.items():
            self.assertTrue(torch.equal(value, killed[name]), name)

    def test_every_arm_is_tuned_from_the_same_start_on_the_same_crops_and_a_painter_is_asked_for_where_it_is_needed(self):
        said = self.go("tune", "ordinary", "--steps", 2, "--arms", "none", "ordinary")
        self.assertEqual(said.count("cosine to the teacher"), 2)
        self.assertIn("cosine to the teacher 1.000 at first", said, "student and teacher are one, and see the same")
        tuned = [checkpoints.load_small(self.root / "ordinary" / f"encoder-{arm}.pt")[1] for arm in ("none", "ordinary")]
        self.assertEqual(tuned, [4, 4])
        with self.assertRaisesRegex(SystemExit, "looks.py train"):
            self.go("tune", "ordinary", "--steps", 1, "--arms", "styled")

    def test_an_arm_that_was_stopped_and_resumed_equals_an_undisturbed_one(self):
        arm = ("--arms", "exposed", "--precision", "float")
        self.go("tune", "undisturbed", "--steps", 3, *arm)
        self.go("tune", "stopped", "--steps", 3, "--stop-after", 2, *arm)
        self.assertEqual(checkpoints.load_small(self.root / "stopped" / "encoder-exposed.pt")[1], 4)
        self.go("tune", "stopped", "--steps", 3, *arm)
        one, other = (checkpoints.load(self.root / name / "encoder-exposed.pt") for name in ("undisturbed", "stopped"))
        self.assertEqual(one["pictures"], other["pictures"])
        for name, value in one["weights"].items():
            self.assertTrue(torch.equal(value, other["weights"][name]), name)

    def test_painted_faces_are_drawn_and_styled_ones_are_learnt_from(self):
        self.go("train", "painted", "--steps", 1)
        self.assertIn("similarity of a painted face", self.go("paint", "painted"))
        self.assertTrue((self.root / "painted" / "looks.jpg").exists())
        self.go("tune", "painted", "--steps", 1, "--arms", "styled", "both")
        self.assertTrue((self.root / "painted" / "encoder-both.pt").exists())


class Compared(unittest.TestCase):
    """Three people, two pictures each; what is enrolled comes, too."""

    def setUp(self):
        random = np.random.default_rng(4)
        self.person = np.repeat([0, 1, 2], 2)
        vectors = random.normal(0, 1, (6, 8)) + 1.5 * random.normal(0, 1, (3, 8))[self.person]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.scores = vectors @ vectors.T

    def comparisons(self, chosen, rate: float):
        same_picture = chosen[:, None] == chosen[None]
        person, scores = self.person[chosen], self.scores[np.ix_(chosen, chosen)]
        return looks_evaluate.Comparisons(scores, person, person, rate, same_picture)

    def test_a_rate_is_at_the_score_that_lets_in_so_many_strangers(self):
        made = self.comparisons(np.arange(6), 0.25)
        self.assertEqual(made.strangers, 24)
        strangers = np.sort(self.scores[self.person[:, None] != self.person])[::-1]
        genuine = self.scores[(self.person[:, None] == self.person) & ~np.eye(6, dtype=bool)]
        self.assertAlmostEqual(made.rate_of_accepts(np.ones(3)), float((genuine > strangers[6]).mean()))

    def test_somebody_who_is_drawn_twice_counts_as_two_people_who_are_never_strangers_to_each_other(self):
        drawn, without = np.array([2, 1, 0]), np.arange(4)
        made = self.comparisons(np.arange(6), 0.5)
        strangers = np.sort(np.repeat(self.scores[:2, 2:4].ravel(), 4))[::-1]  # both ways, and each twice
        genuine = self.scores[[0, 1, 0, 1, 2, 3], [1, 0, 1, 0, 3, 2]]
        self.assertAlmostEqual(made.rate_of_accepts(drawn), float((genuine > strangers[8]).mean()))
        self.assertEqual(self.comparisons(without, 0.5).strangers, 8)

    def test_the_doors_threshold_is_the_tables_first_that_is_strict_enough(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.toml"
            path.write_text("rows = [\n  [0.3, 1e-2, 1.5e-2, 0.1, 0.2],\n  [0.4, 1e-3, 2.0e-3, 0.1, 0.2],\n]\n")
            self.assertEqual([looks_evaluate.threshold_of(path, rate) for rate in (1.5e-2, 1e-2)], [0.3, 0.4])
            self.assertTrue(np.isnan(looks_evaluate.threshold_of(path, 1e-3)), "nothing is extrapolated")

    def test_a_lamps_angle_is_that_of_its_azimuth_and_elevation(self):
        lamps = [looks_evaluate.lamp_of(f"yaleB05_P00A{of}.jpg") for of in ("+000E+00", "-110E+00", "+035E-20", "_Ambient")]
        np.testing.assert_allclose(lamps[:3], [0, 110, 39.67], atol=0.01)
        self.assertTrue(np.isnan(lamps[3]))

    def test_each_picture_of_a_person_has_noise_of_its_own_in_the_dark_and_the_same_again(self):
        names = ["Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/Ann_Lee_0002.jpg", "Anna_Low/Anna_Low_0001.jpg"]
        faces = looks_evaluate.Faces(np.full((3, 112, 112, 3), 160, np.uint8), np.array([0, 0, 1]), names)
        first, again = (looks_evaluate.in_light(faces, "dark") for _ in range(2))
        np.testing.assert_array_equal(first, again)
        noise = (first - 20.0).reshape(3, -1)
        self.assertLess(np.abs(np.corrcoef(noise)[np.triu_indices(3, 1)]).max(), 0.03)

    def test_looks_of_a_photograph_are_what_they_are_called(self):
        made = looks_evaluate.looks_of(np.full((112, 112, 3), (200, 100, 50), np.uint8))
        self.assertTrue((made["grey"] == 124).all() and (made["dark"][0, 0] == (25, 13, 6)).all())
        for left, right in (("left", "right"), ("lamp-left", "lamp-right")):
            halves = [made[name][56, :56].mean() / made[name][56, 56:].mean() for name in (left, right)]
            self.assertTrue(halves[0] > 1.5 and halves[1] < 1 / 1.5, f"{left} {halves}")


if __name__ == "__main__":
    unittest.main()
