"""Pictures to quantise the detector or the landmark network with: what their training shows them, as they read it.

    python representative.py landmarks PICTURES.npy --faces CROPS --labels LANDMARK_LABELS.npz
    python representative.py detector PICTURES.npy --photos PHOTOS --labels LABELS.npz --faces CROPS --face-labels FACES.npz
    python quantise.py landmarks-float.onnx ../landmarks.onnx --arrays PICTURES.npy

The labels are consensus.py's and label.py's, as for the training. Each picture follows from the seed and its number.
"""

import argparse
from pathlib import Path

import numpy as np

import consensus
import landmarks
import scenes
from data import read_crops
from label import Labels
from relight import library

SIDE = 320  # pixels of a scene: what the daemon fits frames into


def arguments(given=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("network", choices=["landmarks", "detector"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--faces", type=Path, required=True, help="folder of aligned 128x128 crops (align.py)")
    parser.add_argument("--labels", type=Path, required=True, help="what the training takes")
    parser.add_argument("--face-labels", type=Path, help="consensus.py's of the crops, for the detector")
    parser.add_argument("--photos", type=Path, help="folder of photos, for the detector")
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(given)


def of_landmarks(args) -> np.ndarray:
    """N x 3 x 80 x 80."""
    names, points, _ = consensus.merged(consensus.load(args.labels))
    random = np.random.default_rng(args.seed)
    chosen = random.choice(len(names), min(args.pictures, len(names)), replace=False)
    crops, decoded = read_crops([args.faces / names[index] for index in chosen])
    chosen = chosen[decoded]
    shown, _ = landmarks.views(crops, points[chosen], landmarks.coarse(points[chosen], random), random)
    return shown.transpose(0, 3, 1, 2)


def of_detector(args) -> np.ndarray:
    """N x 3 x 320 x 320."""
    if args.photos is None or args.face_labels is None:
        raise SystemExit("--photos and --face-labels are needed for the detector")
    stock = scenes.Stock(args.photos, Labels.load(args.labels), args.seed)
    stock.add_crops(args.faces, args.face_labels, 1000, args.seed)
    lamps, shown = library(256), []
    for number in range(args.pictures):
        sample = scenes.compose(stock, stock.training, np.random.default_rng((args.seed, number)), SIDE, lamps)
        shown.append(sample.lit.astype(np.uint8))
    return np.stack(shown).transpose(0, 3, 1, 2)


def main(given=None) -> None:
    args = arguments(given)
    pictures = of_landmarks(args) if args.network == "landmarks" else of_detector(args)
    np.save(args.out, pictures)
    print(f"{args.out}: {' x '.join(map(str, pictures.shape))}")


if __name__ == "__main__":
    main()
