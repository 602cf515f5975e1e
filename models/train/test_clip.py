"""Tests of clip.py on clips made here: `python -m unittest test_clip` (seconds)."""

import argparse
import contextlib
import io
import itertools
import json
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
    import onnxruntime
    import torch
    from torch import nn
except ModuleNotFoundError as missing:
    raise skipped(missing) from None

import clip
import clip_evaluate
import clip_sim
import liveness_table as table
import liveness_windows as windows


def clips(count: int, moving: bool, seed: int) -> np.ndarray:
    """Spots that go to the right by a pixel a frame, or stay; N x 16 x 32 x 32 x 3 bytes. No frame tells which."""
    random = np.random.default_rng(seed)
    made = np.zeros((count, clip.FRAMES, clip.SIDE, clip.SIDE, 3), np.uint8)
    for one in made:
        spots = (random.random((clip.SIDE, clip.SIDE, 1)) < 0.1) * random.integers(100, 255, 3)
        for t in range(clip.FRAMES):
            one[t] = np.roll(spots, t if moving else 0, 1)
    return made


def stirred() -> clip.ClipNet:
    """Random weights under statistics of random clips."""
    torch.manual_seed(3)
    network = clip.ClipNet()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.rand(4, 3, clip.FRAMES, clip.SIDE, clip.SIDE) * 255)
    return network.eval()


class Clips(unittest.TestCase):
    def setUp(self):
        torch.set_num_threads(1)

    def test_one_rule_gives_the_sizes_in_one_two_and_three_dimensions(self):
        kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        for n, f, s, p in itertools.product((5, 8, 9), (1, 2, 3, 5), (1, 2, 3), (0, 1, 2)):
            for dimensions, kind in enumerate(kinds, 1):
                given = kind(1, 1, f, s, p)(torch.zeros(1, 1, *[n] * dimensions))
                self.assertEqual(given.shape[2:], (clip.length(n, f, s, p),) * dimensions, f"{n} {f} {s} {p}")
        with self.assertRaisesRegex(ValueError, "a filter of 7 doesn't fit into 4 and twice 1"):
            clip.length(4, 7, 1, 1)

    def test_each_layer_has_the_size_of_the_rule_and_the_network_that_of_the_board(self):
        network, x = clip.ClipNet().eval(), torch.zeros(1, 3, clip.FRAMES, clip.SIDE, clip.SIDE)
        for conv, norm, size in zip(network.layers[::3], network.layers[1::3], clip.sizes()[1:]):
            x = norm(conv(x))
            self.assertEqual(x.shape[2:], size)
        self.assertLessEqual(sum(p.numel() for p in network.parameters()), clip.MOST_PARAMETERS)

    def test_both_forms_of_the_file_give_what_the_network_gives(self):
        network, shown = stirred(), torch.randint(0, 256, (1, 3, clip.FRAMES, clip.SIDE, clip.SIDE)).float()
        with torch.no_grad():
            wanted = float(network(shown))
        for form in clip.FORMS:
            made = clip.to_onnx(network, form).SerializeToString()
            session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
            (said,) = session.run(None, {"clip": shown.reshape(1, 3, -1, clip.SIDE).numpy()})
            self.assertAlmostEqual(float(said.item()), wanted, delta=1e-3 * max(1, abs(wanted)), msg=form)

    def test_the_doors_runtime_is_tested_with_files_of_the_present_export(self):
        kept = Path(__file__).parents[2] / "tests/data"
        with tempfile.TemporaryDirectory() as folder:
            said = clip.tiny(Path(folder))
            self.assertAlmostEqual(json.loads((kept / "clip.json").read_text())["live"], said, places=5)
            for form in clip.FORMS:
                name = f"clip-{form}.onnx"
                self.assertEqual((kept / name).read_bytes(), (Path(folder) / name).read_bytes(), "run clip.py tiny")

    def test_movement_is_learnt_and_measured_on_recordings_that_were_left_out(self):
        made = [clips(8, moving, seed) for seed in range(4) for moving in (True, False)]
        live, recording = np.tile(np.repeat([1, 0], 8), 4), np.repeat(range(4), 16)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
            root = Path(folder)
            np.savez(root / "clips.npz", clips=np.concatenate(made), live=live, recording=recording)
            clip.main([str(a) for a in ("train", root / "clips.npz", root / "clip.pt", "--epochs", 6)])
            clip.main([str(a) for a in ("export", root / "clip.pt", root / "clip.onnx")])
            np.savez(root / "one.npz", clips=clips(2, True, 0), live=np.ones(2, int), recording=np.arange(2))
            with self.assertRaisesRegex(SystemExit, "all clips are of one kind"):
                clip.main(["train", str(root / "one.npz"), str(root / "clip.pt")])
            np.savez(root / "short.npz", clips=clips(2, True, 0)[:, :8], live=np.ones(2, int), recording=np.arange(2))
            with self.assertRaisesRegex(SystemExit, "N x 16 x 32 x 32 x 3 bytes are needed"):
                clip.main(["train", str(root / "short.npz"), str(root / "clip.pt")])
        share = float(said.getvalue().split("left out: ")[1].split()[0])
        self.assertGreater(share, 0.9, said.getvalue())


class Simulated(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        coarse = np.random.default_rng(1).integers(0, 256, (12, 12, 3), np.uint8)
        pixels = cv2.resize(coarse, (300, 300), interpolation=cv2.INTER_CUBIC)
        cls.photo = clip_sim.Photo(pixels, (clip_sim.TEMPLATE * 1.2 + 80).astype(np.float64))

    def parallax(self, kind: str, seed: int) -> float:
        """How far the nose strays from its place in the affine frame of the other four, in distances between the eyes."""
        there = clip_sim.scene(kind, self.photo, self.photo, (128, 128), np.random.default_rng(seed))
        off = []
        for t in np.arange(0, 3, 0.1):
            eye, other, nose, left, right = there.points(float(t))
            frame = np.stack([other - eye, (left + right - eye - other) / 2], 1)
            off.append(np.linalg.solve(frame, nose - (eye + other) / 2))
        return float(np.std(off, 0).max())

    def test_a_living_faces_nose_has_parallax_and_that_of_a_plane_has_none(self):
        living, flat = ([self.parallax(kind, seed) for seed in range(4)] for kind in ("live", "print"))
        self.assertGreater(min(living), 3 * max(flat), f"{living} {flat}")

    def test_clips_of_every_kind_have_the_networks_size_and_follow_from_their_seed(self):
        for kind in clip_sim.KINDS:
            one, again, other = (clip_sim.clip(kind, self.photo, self.photo, np.random.default_rng(seed)) for seed in (1, 1, 2))
            self.assertEqual((one.shape, one.dtype), ((clip.FRAMES, clip.SIDE, clip.SIDE, 3), np.uint8))
            self.assertTrue((one == again).all() and (one != other).any(), kind)

    def test_recordings_share_no_photograph_before_or_behind(self):
        photos, shown = [clip_sim.Photo(np.full((4, 4, 3), number, np.uint8), self.photo.points) for number in range(25)], []

        def clip_of(kind, photo, other, random):
            shown.append({int(photo.pixels[0, 0, 0]), int(other.pixels[0, 0, 0])})
            return np.zeros((clip.FRAMES, clip.SIDE, clip.SIDE, 3), np.uint8)

        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            root = Path(folder)
            (root / "1.jpg").touch()
            with mock.patch.multiple(clip_sim, read_photos=lambda *_: photos, clip=clip_of):
                clip_sim.main([str(a) for a in (root / "clips.npz", "--photos", root, "--detector", "none.onnx", "--count", 300)])
            with np.load(root / "clips.npz") as found:
                recording, kinds = found["recording"], found["kinds"]
        of = {one: set().union(*(some for some, where in zip(shown, recording) if where == one)) for one in set(recording.tolist())}
        self.assertEqual(len(of), 10)
        self.assertEqual(sum(map(len, of.values())), 25, "each is in one")
        self.assertTrue(any(len(some) == 2 for some in shown), "what is behind is another's")
        for one in of:
            self.assertEqual(set(kinds[recording == one]), set(clip_sim.KINDS))

    def test_all_frames_of_a_clip_are_cut_by_one_set_of_points(self):
        frames = [self.photo.pixels, np.roll(self.photo.pixels, 12, 1)]
        plain, moved = clip_sim.aligned(frames, self.photo.points)
        scale = clip.SIDE / 112 / 1.2  # of a pixel of the photo
        shift = round(12 * scale)
        off = np.abs(plain[:, :-shift].astype(int) - moved[:, shift:]).mean()
        self.assertLess(off, 0.4 * np.abs(plain.astype(int) - moved).mean())

    def test_a_blink_closes_and_opens_again(self):
        living = clip_sim.Living(self.photo, np.eye(2, 3), (300, 300), np.random.default_rng(3))
        at = living.blinks[living.blinks > 0.3][0]
        self.assertEqual([living.closed(float(at + d)) for d in (-0.3, 0, 0.3)][1], 1.0)
        self.assertLess(living.closed(float(at - 0.14)), 0.01)


class Evaluated(unittest.TestCase):
    def test_networks_that_were_kept_are_of_the_same_clips_and_training_or_made_anew(self):
        made, shown, live = [], torch.zeros((2, 3, 1, 1, 1), dtype=torch.uint8), torch.tensor([0, 1])

        def fit(clips, live, epochs, seed):
            made.append((epochs, seed))
            return clip.ClipNet().eval()

        with tempfile.TemporaryDirectory() as folder, mock.patch.object(clip_evaluate, "fit", fit):
            of = (shown, live, 1, 1), (shown, live, 2, 1), (shown, live, 1, 2), (shown + 1, live, 1, 1), (shown, 1 - live, 1, 1)
            for clips, lives, epochs, seed in of:
                args = argparse.Namespace(work=Path(folder), epochs=epochs, seed=seed)
                before = len(made)
                for _ in range(2):
                    clip_evaluate.trained(args, "clip", clips, lives)
                self.assertEqual(len(made), before + 1, f"{epochs} {seed}")

    def test_the_area_is_the_share_of_pairs_in_which_the_living_score_higher(self):
        self.assertEqual(clip_evaluate.area(np.array([1.0, 3.0]), np.array([0.0, 1.0])), (2 + 1 + 0.5) / 4)

    def test_a_still_says_the_same_at_every_moment(self):
        shown = torch.arange(clip.FRAMES).view(1, 1, -1, 1, 1).expand(1, 3, -1, 2, 2)
        self.assertTrue((clip_evaluate.stills(shown) == clip.FRAMES // 2).all())

    def test_the_heads_windows_all_have_a_face_as_the_daemon_asks_for(self):
        with tempfile.TemporaryDirectory() as folder:
            path, seen = Path(folder) / "a.csv", np.concatenate([np.arange(0, 3, 0.04), np.arange(8, 11, 0.04)])
            table.write_session(path, {"face_size": (seen, np.full(len(seen), 0.1))}, "live", "recorded")
            rows = clip_evaluate.windows_of(path)
            self.assertGreater(len(rows), 8)
            self.assertTrue(windows.has_face(rows).all())


if __name__ == "__main__":
    unittest.main()
