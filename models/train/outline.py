"""Where the face lies in an aligned picture: `python outline.py CROPS … --mesh MESH.onnx`.

The mean outline of the mesh (MediaPipe's face oval, 36 vertices from the top of the forehead over temples and jaw to the chin) over
crops as align.py makes them, in pixels of the 112x112 template and with its mirror image averaged, as `occlusion::FACE` has it. Crops
of faces that are turned by more than 12 degrees are left out.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from align import TEMPLATE
from data import CROP, opened, pictures_under
from facemodel import Mesh, turned
from nets import FACE
from portrait import OUTLINE

MOST_TURNED = 12.0  # degrees
MARGIN = (CROP - FACE) // 2


def even(outline: np.ndarray) -> np.ndarray:
    """The mean of an outline, 36 x 2, and its mirror image about the line between the template's eyes."""
    middle = TEMPLATE[:2, 0].mean()
    mirrored = outline[-np.arange(len(outline))] * (-1, 1) + (2 * middle, 0)
    return (outline + mirrored) / 2


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("crops", type=Path, nargs="+", help="folders of align.py's crops")
    add("--mesh", type=Path, required=True)
    add("--most", type=int, default=200, help="crops of each folder, drawn at random")
    add("--seed", type=int, default=1)
    args = parser.parse_args(given)
    cv2.setNumThreads(1)
    mesh, every = Mesh(args.mesh), []
    for folder in args.crops:
        paths = pictures_under(folder)
        chosen = np.random.default_rng(args.seed).permutation(len(paths))[: args.most]
        crops = opened(tqdm([paths[i] for i in chosen], desc=folder.name, disable=None), len(chosen))
        seen = [mesh.vertices(crop) for _, crop in crops]
        ahead = np.array([one[list(OUTLINE), :2] - MARGIN for one in seen if abs(turned(one)) <= MOST_TURNED])
        every.append(ahead)
        wide, high = np.ptp(ahead.mean(0), axis=0)
        print(f"{folder.name}: {len(ahead)} faces, {wide:.1f} pixels wide and {high:.1f} high", flush=True)
    mean = even(np.concatenate(every).mean(0))
    print(f"all {sum(map(len, every))}:", ", ".join(f"[{x:.1f}, {y:.1f}]" for x, y in mean))


if __name__ == "__main__":
    main()
