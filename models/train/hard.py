"""Where a detector sees faces and there are none: `python hard.py DETECTOR.onnx PHOTOS LABELS.npz HARD`.

Backgrounds are composed of the photos that detector.py trains on, as it does, and lit. Those in which the detector sees a face
are written to HARD (Sung & Poggio 1998, "Example-based learning for view-based human face detection": bootstrapping), and
detector.py shows them again and again.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

import scenes
from detector_evaluate import Network
from exposure import expose
from label import Labels
from relight import library

SIDES = (160, 224, 320)  # pixels of a background


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("detector", type=Path, help="an ONNX file that detector_export.py made")
    add("photos", type=Path, help="folder of photos")
    add("labels", type=Path, help="what label.py made of them")
    add("hard", type=Path, help="folder for the backgrounds")
    add("--count", type=int, default=20_000, help="backgrounds that are composed")
    add("--score", type=float, default=0.3, help="the least that counts as a face")
    add("--seed", type=int, default=1, help="that detector.py has: it says which photos are kept back")
    args = parser.parse_args(given)
    cv2.setNumThreads(1)
    stock, network = scenes.Stock(args.photos, Labels.load(args.labels), args.seed), Network(args.detector, args.score)
    lamps, kept = library(256), 0
    args.hard.mkdir(parents=True, exist_ok=True)
    for index in tqdm(range(args.count), unit="background", disable=None):
        random = np.random.default_rng((args.seed, index))
        plain = scenes.empty(stock, stock.training, random, SIDES[index % len(SIDES)])
        # Not the shadows of a face: shown so often, they taught a detector that a face beside a lamp is none (Yale B: 72 % found
        # in the place of 92 %).
        lit = expose(plain, [], random, lamps, shadows=False)
        if len(network.raw(np.ascontiguousarray(lit[..., ::-1]))[2]):
            cv2.imwrite(str(args.hard / f"{index:06}.png"), lit[..., ::-1])
            kept += 1
    print(f"{kept} of {args.count} backgrounds with false faces")


if __name__ == "__main__":
    main()
