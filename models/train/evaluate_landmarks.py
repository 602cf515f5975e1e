"""How far the landmark network's points are from another detector's, before and after each pass.

    python evaluate_landmarks.py --images LFW --detector YUNET.onnx --landmarks landmarks.onnx --reference SCRFD.onnx

The error is the mean distance of the five points, as a share of the distance between the reference's eyes. Nothing here
is trained on: a reference whose licence forbids teaching may still be compared with. Its points are found at 640 pixels,
those of the detector at `--side`, as the daemon's are. Pictures in which the two see different faces are left out.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from align import TEMPLATE, similarity
from consensus import MIRRORED, Face, YuNet, _session, back, warp, window
from data import opened, pictures_under
from nets import FACE

VARIANTS = {"one pass": (1, False), "one pass, mirrored too": (1, True), "two passes": (2, False)}
VARIANTS |= {"two passes, the second mirrored too": (2, True), "three passes": (3, False)}


class Refiner:
    """landmarks.onnx applied as the daemon does: the face is shown as the points so far align it, and then once more."""

    def __init__(self, path: Path, margin: int = 4):
        self.session = _session(path)
        self.side, self.margin = self.session.get_inputs()[0].shape[2], margin

    def points(self, picture: np.ndarray, coarse: np.ndarray, passes: int = 2, mirror: bool = False) -> np.ndarray:
        """Five points in a BGR picture from coarse ones; with `mirror`, the last pass is the mean with its mirror image."""
        points, step = coarse, (FACE + 2 * self.margin) / self.side
        for done in range(1, passes + 1):
            aligning = similarity(points, TEMPLATE)
            shown = np.vstack([aligning, [0, 0, 1]])
            shown = np.array([[1, 0, self.margin + 0.5 - step / 2], [0, 1, self.margin + 0.5 - step / 2]]) / step @ shown
            view = cv2.warpAffine(picture, shown, (self.side, self.side), flags=cv2.INTER_LINEAR)
            found = self._look(view)
            if mirror and done == passes:
                other = self._look(view[:, ::-1])[MIRRORED]
                found = (found + other * (-1, 1) + (FACE - 1, 0)) / 2
            points = back(aligning, found)
        return points

    def _look(self, view: np.ndarray) -> np.ndarray:
        pixels = view[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        return self.session.run(None, {self.session.get_inputs()[0].name: pixels})[0].reshape(5, 2)


class Scrfd:
    """SCRFD with points (Guo et al. 2021): two anchors a cell, distances in strides."""

    def __init__(self, path: Path):
        self.session = _session(path)

    def faces(self, view: np.ndarray) -> list[Face]:
        pixels = ((view[..., ::-1].astype(np.float32) - 127.5) / 128).transpose(2, 0, 1)[None]
        maps = self.session.run(None, {self.session.get_inputs()[0].name: np.ascontiguousarray(pixels)})
        maps, found = [part.reshape(-1, part.shape[-1]) for part in maps], []
        for level, stride in enumerate((8, 16, 32)):
            score, box, points = maps[level::3]
            rows, columns = np.divmod(np.repeat(np.arange(len(score) // 2), 2), view.shape[1] // stride)
            anchor = np.stack([columns, rows], 1) * stride
            for index in np.flatnonzero(score[:, 0] > 0.5):
                corners = np.concatenate([anchor[index] - box[index, :2] * stride, anchor[index] + box[index, 2:] * stride])
                found.append(Face(corners, anchor[index] + points[index].reshape(5, 2) * stride, float(score[index, 0])))
        return sorted(found, key=lambda face: -face.score)


def prominent(network, picture: np.ndarray, side: int) -> np.ndarray | None:
    """Points of the face that a picture is of, from its view of `side` pixels: the largest, less twice the squared
    distance from the middle (as insightface's scripts have it), and of what overlaps there the surest."""
    height, width = picture.shape[:2]
    matrix = window(((width - 1) / 2, (height - 1) / 2), max(height, width), side)
    faces = network.faces(warp(picture, matrix, side, cv2.BORDER_CONSTANT))
    if not faces:
        return None
    middle = lambda face: (face.box[:2] + face.box[2:]) / 2 - side / 2  # noqa: E731
    size = lambda face: face.box[2:] - face.box[:2]  # noqa: E731
    chosen = max(faces, key=lambda face: size(face).prod() - 2 * (middle(face) ** 2).sum())
    same = [face for face in faces if np.linalg.norm(middle(face) - middle(chosen)) < 0.3 * size(chosen)[0]]
    return back(matrix, max(same, key=lambda face: face.score).points)


def lit(picture: np.ndarray, light: str) -> np.ndarray:
    """The picture as it would be in another light: what the detector and the network see, while the reference sees it plain."""
    if light == "grey":
        return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if light == "dark":
        return (picture * 0.25).astype(np.uint8)
    if light == "side":  # falls off to a tenth from one side of the middle half, where the face is, to the other
        across = np.interp(np.arange(picture.shape[1]), [picture.shape[1] * 0.25, picture.shape[1] * 0.75], [1, 0.1])
        return (picture * across[None, :, None]).astype(np.uint8)
    if light == "blurred":
        return cv2.GaussianBlur(picture, (0, 0), 2.5)
    return picture


def errors(pictures, detector, refiner, reference, side: int, light: str = "plain") -> dict[str, np.ndarray]:
    """Variant → error of each picture in which the detector and the reference see the same face."""
    found = {"the detector's": []} | {name: [] for name in VARIANTS}
    for picture in pictures:
        true, picture = prominent(reference, picture, 640), lit(picture, light)
        coarse = prominent(detector, picture, side)
        if true is None or coarse is None:
            continue
        eyes = np.linalg.norm(true[1] - true[0])
        error = lambda points: np.linalg.norm(points - true, axis=1).mean() / eyes  # noqa: E731
        if error(coarse) > 0.5:
            continue
        found["the detector's"].append(error(coarse))
        for name, (passes, mirror) in VARIANTS.items():
            found[name].append(error(refiner.points(picture, coarse, passes, mirror)))
    return {name: np.array(of) for name, of in found.items()}


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="folder of pictures, nested as you like")
    add("--detector", type=Path, required=True, help="ONNX with YuNet's outputs, of any input size")
    add("--landmarks", type=Path, required=True)
    add("--reference", type=Path, required=True, help="SCRFD's ONNX file, with points")
    add("--side", type=int, default=320, help="pixels that the detector sees")
    add("--light", choices=["plain", "grey", "dark", "side", "blurred"], default="plain")
    add("--count", type=int, default=2000, help="pictures, drawn at random")
    args = parser.parse_args(given)
    cv2.setNumThreads(1)
    paths = pictures_under(args.images)
    paths = [paths[index] for index in np.random.default_rng(1).permutation(len(paths))[: args.count]]
    pictures = (picture for _, picture in opened(tqdm(paths, unit="picture", disable=None), len(paths)))
    found = errors(pictures, YuNet(args.detector), Refiner(args.landmarks), Scrfd(args.reference), args.side, args.light)
    print(f"{args.light}: {len(found['one pass'])} of {len(paths)} pictures; error in %: mean, median, 95th percentile")
    for name, of in found.items():
        print(f"{name}: {of.mean() * 100:.2f} {np.median(of) * 100:.2f} {np.quantile(of, 0.95) * 100:.2f}")


if __name__ == "__main__":
    main()
