"""What is kept is found again only for what it was made of: `python -m unittest test_files`."""

import argparse
import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

try:
    import cv2
    import numpy as np
    import onnx  # noqa: F401
    import torch  # noqa: F401
except ModuleNotFoundError as missing:
    reason = f"SKIPPED, NOT TESTED: the training recipes need {missing.name}; pip install -r models/train/requirements.txt"
    print(reason, file=sys.stderr, flush=True)
    raise unittest.SkipTest(reason) from None

sys.path.insert(0, str(Path(__file__).parent))
import evaluate
import looks_evaluate
from align import TEMPLATE


def write(path: Path, level: int, side: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((side, side, 3), level, np.uint8))
    return path


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


if __name__ == "__main__":
    unittest.main()
