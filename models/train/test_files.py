"""What is kept is found again only for what it was made of, and one bad file among many ends no run: `python -m unittest test_files`."""

import argparse
import contextlib
import io
import struct
import sys
import tempfile
import unittest
import zlib
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
from skipping import skipped

try:
    import cv2
    import numpy as np
    import onnx  # noqa: F401
    import torch
except ModuleNotFoundError as missing:
    raise skipped(missing) from None

import align
import checkpoints
import clip_sim
import consensus
import data
import evaluate
import label
import looks
import looks_evaluate
import scenes
from align import TEMPLATE


def write(path: Path, level: int, side: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((side, side, 3), level, np.uint8))
    return path


def too_large(path: Path) -> Path:
    """A picture whose header says that it has 2,500 million pixels."""
    made = bytearray(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    made[16:24] = struct.pack(">II", 50_000, 50_000)
    made[29:33] = struct.pack(">I", zlib.crc32(made[12:29]))
    path.write_bytes(made)
    return path


def half_saved(where, *_, **__) -> None:
    """In the place of np.save, of a run that is killed meanwhile."""
    with open(where, "wb") if isinstance(where, Path) else contextlib.nullcontext(where) as file:
        file.write(b"half an arr")
    raise KeyboardInterrupt


class InFolders(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.said = io.StringIO()
        for stream in (contextlib.redirect_stdout(self.said), contextlib.redirect_stderr(io.StringIO())):
            stream.__enter__()
            self.addCleanup(stream.__exit__, None, None, None)


class Kept(InFolders):
    def setUp(self):
        super().setUp()
        for folder, level in (("a", 40), ("b", 200)):
            write(self.root / folder / "Ann" / "Ann_0001.png", level, 250)
        for name in ("one", "other"):
            (self.root / f"{name}.onnx").write_text(name)

    def test_crops_of_another_folder_are_made_anew(self):
        levels = [
            evaluate.aligned(["Ann/Ann_0001.png"], self.root / folder, self.root / "work", "single", lambda _: TEMPLATE + 60).mean()
            for folder in ("a", "b", "a")
        ]
        self.assertEqual(levels, [40, 200, 40])
        self.assertEqual(len(list((self.root / "work").iterdir())), 2)

    def test_crops_are_called_by_the_networks_that_found_their_faces(self):
        called = set()
        with mock.patch.multiple(evaluate, Detector=mock.Mock(), YuNet=mock.Mock(), Refiner=mock.Mock()):
            for detector in ("one", "other"):
                for landmarks in (None, "one", "other"):
                    landmarks = landmarks and self.root / f"{landmarks}.onnx"
                    for whole in (False, True):
                        args = argparse.Namespace(detector=self.root / f"{detector}.onnx", landmarks=landmarks, consensus=whole)
                        called.add(evaluate.landmarker(args)[0])
        self.assertEqual(len(called), 8, "four with landmarks, where the consensus is not asked for")

    def test_faces_in_another_light_are_those_of_their_folder_too(self):
        args = argparse.Namespace(detector=self.root / "one.onnx", landmarks=self.root / "other.onnx", work=self.root / "work")
        refiner = mock.Mock(return_value=mock.Mock(points=lambda *_: TEMPLATE + 60))
        with mock.patch.multiple(looks_evaluate, YuNet=mock.Mock(), Refiner=refiner, prominent=lambda *_: TEMPLATE):
            faces = [looks_evaluate.faces_of(["Ann/Ann_0001.png"], self.root / of, args, "lfw") for of in "aba"]
        self.assertEqual([one.crops.mean() for one in faces], [40, 200, 40])

    def test_an_array_that_was_being_kept_when_the_run_was_killed_is_made_anew(self):
        crops, encoder, work = np.zeros((2, 128, 128, 3), np.uint8), self.root / "one.onnx", self.root / "work"
        common = {"work": work, "precision": "float", "normalise": "raw", "teacher": None}
        args = argparse.Namespace(**common, detector=encoder, landmarks=encoder, encoder=encoder)
        checkpoint, face = self.root / "one.pt", ["Ann/Ann_0001.png"]
        checkpoint.write_bytes(b"weights")
        load = mock.patch.object(checkpoints, "load_small", return_value=(mock.Mock(), 0))
        said = mock.patch.multiple(looks, Seen=lambda _: lambda pixels: (None, torch.ones(len(pixels), 4)), Light=mock.Mock())
        encode = mock.patch.multiple(looks_evaluate, load_small=mock.MagicMock(), encode=lambda *_: np.ones((2, 4)))
        finds = mock.patch.multiple(looks_evaluate, YuNet=mock.Mock(), Refiner=mock.Mock(), prominent=lambda *_: None)
        runs = {
            "aligned": lambda: evaluate.aligned(face, self.root / "a", work, "single", lambda _: TEMPLATE + 60),
            "wanted": lambda: looks.wanted_of(args, looks.Faces(crops, None, 1)),
            "faces": lambda: looks_evaluate.faces_of(face, self.root / "a", args, "lfw"),
            "encodings": lambda: looks_evaluate.encodings(checkpoint, crops, args),
        }
        with load, said, encode, finds:
            work.mkdir()
            for name, run in runs.items():
                killed = mock.patch.multiple(np, save=half_saved, savez=half_saved)
                with self.subTest(name), killed, self.assertRaises(KeyboardInterrupt):
                    run()
                with self.subTest(name):
                    run()
                    self.assertEqual(len(list(work.iterdir())), 1, "nothing else is left")
                for path in work.iterdir():
                    path.unlink()


class BadFiles(InFolders):
    def test_what_is_no_picture_is_left_out_and_named_once(self):
        for index in range(4):
            write(self.root / f"{index}.png", 50 * index)
        (self.root / "._1.png").write_bytes(b"\0\5\26\7AppleDouble")
        paths = data.pictures_under(self.root)
        self.assertEqual([path.name for path in paths], ["0.png", "1.png", "2.png", "3.png"])
        (self.root / "1.png").write_bytes(b"half a pict")
        crops, kept = data.read_crops(paths)
        self.assertEqual(kept.tolist(), [0, 2, 3])
        self.assertEqual(crops.mean((1, 2, 3)).tolist(), [0, 100, 150])
        self.assertRegex(self.said.getvalue(), r"^1 of 4 files .*/1\.png\n$")
        for path in paths:
            path.write_bytes(b"")
        with self.assertRaisesRegex(SystemExit, "none of the 4 files"):
            data.read_crops(paths)

    def test_a_picture_that_is_too_large_or_a_line_is_none(self):
        good = write(self.root / "0.png", 50)
        too_large(self.root / "1.png")
        cv2.imwrite(str(self.root / "2.png"), np.full((1000, 1, 3), 50, np.uint8))
        paths = data.pictures_under(self.root)
        self.assertEqual([path for path, _ in data.opened(paths, 3)], [good])
        self.assertEqual(data.read_crops(paths)[1].tolist(), [0])
        self.assertEqual([next(align.frames(path))[1] is None for path in paths], [False, True, True])
        for path in paths[1:]:
            with self.assertRaisesRegex(SystemExit, f"{path.name} is no picture"):
                scenes.read(path)

    def test_labels_of_which_none_has_a_face_end_in_a_sentence(self):
        with self.assertRaisesRegex(SystemExit, "2 crops .* face"):
            consensus.merged({name: np.full((2, 5, 2), np.nan) for name in "ab"})

    def film(self, name: str, frames: int) -> str:
        made = cv2.VideoWriter(str(self.root / name), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 64))
        for index in range(frames):
            made.write(np.full((64, 64, 3), index, np.uint8))
        made.release()
        return str(self.root / name)

    def cut(self, *films: str) -> None:
        """As clip_sim.py does, with a detector that sees a face in frames brighter than 8."""
        see = lambda _, frame, side: TEMPLATE / 2 if frame.mean() > 8 else None  # noqa: E731
        refiner = mock.Mock(return_value=mock.Mock(points=lambda _, coarse: coarse))
        with mock.patch.multiple(clip_sim, YuNet=mock.Mock(), Refiner=refiner, prominent=see):
            clip_sim.main([str(self.root / "clips.npz"), "--detector", "none.onnx", "--films", *films])

    def test_a_film_without_a_face_costs_itself_and_not_the_others(self):
        good, dark, short = self.film("good.avi", 24), self.film("dark.avi", 16), self.film("short.avi", 5)
        self.cut(f"replay={dark}", f"live={good}", f"live={short}")
        for film in (dark, short):
            self.assertIn(f"{film}: no clip", self.said.getvalue())
        with np.load(self.root / "clips.npz") as found:
            self.assertEqual(set(found["recording"].tolist()), {1})
        with self.assertRaisesRegex(SystemExit, "no clip at all"):
            self.cut(f"replay={dark}", f"live={short}")


class Aligned(InFolders):
    def test_crops_of_files_that_are_called_alike_lie_beside_each_other(self):
        for name in ("1.jpg", "1.png", "b/1.jpg"):
            write(self.root / "photos" / name, 99)
        made = cv2.VideoWriter(str(self.root / "photos" / "1.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 64))
        made.write(np.full((64, 64, 3), 99, np.uint8))
        made.release()
        with mock.patch.object(align, "Detector") as detector:
            detector.return_value.consensus.return_value = TEMPLATE
            align.main([str(a) for a in (self.root / "photos", self.root / "crops", "--detector", "none.onnx")])
        crops = sorted(str(path.relative_to(self.root / "crops")) for path in data.pictures_under(self.root / "crops"))
        self.assertEqual(crops, ["1.avi-000000.png", "1.jpg.png", "1.png.png", "b/1.jpg.png"])


class Views:
    """Instead of YuNet's: as many faces as the picture's level says. It is stopped when it has seen so many photos."""

    most, seen = 100, 0

    def __init__(self, *_):
        pass

    def consensus(self, picture):
        if Views.seen == Views.most:
            raise KeyboardInterrupt
        Views.seen += 1
        count = int(picture[0, 0, 0])
        return np.full((count, 4), count), np.full((count, 5, 2), count), np.full(count, 0.9)


class Labelled(InFolders):
    def label(self, name: str, most: int = 100) -> int:
        """How many photos were looked at."""
        Views.most, Views.seen = most, 0
        where = [self.root / "photos", self.root / name, "--detector", self.root / "photos" / "detector.onnx"]
        with mock.patch.object(label, "Views", Views), contextlib.suppress(KeyboardInterrupt):
            label.main([str(a) for a in (*where, "--save-every", 2)])
        return Views.seen

    def test_labelling_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(self):
        for index, faces in enumerate((1, 0, 3, 2, 0, 1, 2)):
            write(self.root / "photos" / f"{index}.png", faces, 16)
        (self.root / "photos" / "detector.onnx").write_text("one")
        (self.root / "photos" / "5.png").write_bytes(b"half a pict")
        (self.root / "photos" / "._5.png").write_bytes(b"\0\5\26\7AppleDouble")
        self.assertEqual(self.label("whole.npz"), 6)
        self.assertEqual([self.label("parts.npz", most) for most in (3, 0, 100, 100)], [3, 0, 4, 0])
        whole, parts = (label.Labels.load(self.root / name) for name in ("whole.npz", "parts.npz"))
        self.assertEqual(whole.names, ["0.png", "1.png", "2.png", "3.png", "4.png", "6.png"])
        self.assertEqual(whole.first.tolist(), [0, 1, 1, 4, 6, 6, 8])
        self.assertEqual(whole.names, parts.names)
        for name in ("first", "boxes", "points", "certainty"):
            one, other = getattr(whole, name), getattr(parts, name)
            np.testing.assert_array_equal(one, other)
            self.assertEqual(one.dtype, other.dtype)
        self.assertEqual({path.name for path in self.root.iterdir()}, {"photos", "whole.npz", "parts.npz"})
        (self.root / "photos" / "detector.onnx").write_text("another")
        with self.assertRaisesRegex(SystemExit, "another detector"):
            self.label("whole.npz")

    def crops_labelled(self) -> str:
        said = io.StringIO()
        where = [self.root / name for name in ("crops", "labels.npz")]
        teachers = ["--detector", self.root / "detector.onnx", "--mesh", self.root / "mesh.onnx"]
        with mock.patch.object(consensus, "Consensus") as made, contextlib.redirect_stdout(said):
            made.return_value.label.return_value = (TEMPLATE, TEMPLATE)
            consensus.main([str(a) for a in (*where, *teachers)])
        return said.getvalue()

    def test_crops_labels_are_gone_on_with_by_the_same_teachers_alone(self):
        for name in ("detector", "mesh"):
            (self.root / f"{name}.onnx").write_text(name)
        write(self.root / "crops" / "0.png", 50)
        self.assertIn("1 good labels", self.crops_labelled())
        write(self.root / "crops" / "1.png", 50)
        too_large(self.root / "crops" / "2.png")
        said = self.crops_labelled()
        self.assertIn("1 of 2 files are no pictures", said)
        self.assertIn("2 good labels", said)
        for name in ("detector", "mesh"):
            (self.root / f"{name}.onnx").write_text("another")
            with self.assertRaisesRegex(SystemExit, "another detector or mesh"):
                self.crops_labelled()
            (self.root / f"{name}.onnx").write_text(name)
        with np.load(self.root / "labels.npz") as found:
            np.savez(self.root / "labels.npz", names=found["names"], points=found["points"])
        self.assertIn("2 good labels", self.crops_labelled(), "a file from before it was written who made it")


if __name__ == "__main__":
    unittest.main()
