"""Tests of see.py on networks made here: `python -m unittest test_see` (seconds)."""

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
import see
from detector_nets import Detector
from nets import Encoder, EncoderConfig


def bright_spots() -> nn.Module:
    """One unit that is the mean of 3x3 red pixels, and one that is always shut."""
    conv = nn.Conv2d(3, 2, 3, stride=2, padding=1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    conv.weight.data[0, 0] = 1 / 9
    conv.bias.data[1] = -1
    return nn.Sequential(conv, nn.ReLU()).eval()


class Seeing(unittest.TestCase):
    def setUp(self):
        torch.set_num_threads(1)

    def test_the_place_that_excites_a_unit_most_is_found_and_cut_out(self):
        network = bright_spots()
        pictures = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        pictures[1, 0, 20:23, 10:13] = 255  # around row 21, column 11
        found = see.peaks(network, network[1], pictures)
        self.assertEqual((found.size, found.value[:, 0].round().tolist()), ((16, 16), [0, 113]))  # 255 · 4/9
        row, column = int(found.row[1, 0]), int(found.column[1, 0])
        field = see.receptive_field(network, "0", 32)
        self.assertEqual(field, (1, 2, 2.0))  # 3 pixels, around every second one
        cut = see.patch(pictures[1].permute(1, 2, 0).numpy(), row, column, field)
        self.assertEqual(cut.shape, (see.TILE, see.TILE, 3))
        self.assertGreater(cut[..., 0].mean(), 90)
        beyond = see.patch(np.zeros((32, 32, 3), np.uint8), 0, 0, field)
        self.assertEqual((beyond[0, 0].tolist(), beyond[-1, -1].tolist()), ([see.BEYOND] * 3, [0] * 3))

    def test_a_unit_that_never_answers_is_shown_last(self):
        network = bright_spots()
        pictures = torch.randint(0, 255, (6, 3, 32, 32), dtype=torch.uint8)
        found = see.peaks(network, network[1], pictures)
        self.assertEqual(see.most_telling(found, 0), [0, 1])
        self.assertEqual(see.most_telling(found, 1), [0])

    def test_receptive_fields_are_those_of_the_arithmetic_sums_and_branches_included(self):
        # MobileFaceNet's first layers: r + (f − 1) · j at each, j doubling with each stride of 2.
        encoder, detector = Encoder(EncoderConfig(width=0.1)).eval(), Detector().eval()
        sizes = {name: sum(see.receptive_field(encoder, name, 112)[:2]) for name in ("stem", "block00", "block01")}
        self.assertEqual(sizes, {"stem": 3 + 2 * 2, "block00": 7 + 2 * 2, "block01": 11 + 2 * 4})
        # Half the picture's size a cell of 16 pixels or more, through a neck that adds what is coarser.
        narrow, wide = (sum(see.receptive_field(detector, name, 256)[:2]) for name in ("part3", "neck8"))
        self.assertLess(narrow, wide)

    def test_climbing_finds_what_a_unit_looks_for(self):
        network, reach = bright_spots(), torch.tensor([255.0, 1.0])
        made = see.climb(network, network[0], [0], reach, 16, see.Climb(steps=40), seed=1)
        self.assertEqual(made.shape, (1, 16, 16, 3))
        red, green = made[0, ..., 0].mean(), made[0, ..., 1].mean()
        self.assertGreater(red, green + 60)
        again = see.climb(network, network[0], [0], reach, 16, see.Climb(steps=40), seed=1)
        self.assertTrue((made == again).all(), "one seed, one picture")

    def test_sheets_are_drawn_of_both_networks(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
            root, random = Path(folder), np.random.default_rng(0)
            (root / "faces").mkdir()
            for index in range(see.PATCHES):
                cv2.imwrite(str(root / "faces" / f"{index}.png"), random.integers(0, 256, (128, 128, 3), np.uint8))
            checkpoints.save_small(Encoder(EncoderConfig(width=0.1)), 0, root / "encoder.pt")
            checkpoints.save_small(Detector(), 0, root / "detector.pt")
            for network, layer in (("encoder", "block00"), ("detector", "part0")):
                where = [network, root / "out", "--checkpoint", root / f"{network}.pt", "--detector", root / "detector.pt"]
                see.main([str(a) for a in (*where, "--pictures", root / "faces", "--layers", layer, "--units", 2, "--steps", 2)])
                drawn = cv2.imread(str(root / "out" / f"{network}-{layer}.jpg"))
                self.assertEqual(drawn.shape[0], see.GAP + 2 * (see.TILE + see.GAP))
            with self.assertRaisesRegex(SystemExit, "no layer nose; there are stem, block00"):
                see.main(["encoder", str(root / "out"), "--checkpoint", str(root / "encoder.pt"), "--layers", "nose"])
        self.assertIn("each sees 11 pixels", said.getvalue())


if __name__ == "__main__":
    unittest.main()
