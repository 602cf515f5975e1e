"""Faces in photos, by the consensus of one detector's views: `python label.py PHOTOS LABELS.npz --detector YUNET.onnx`.

Each photo is looked at in several sizes and mirrored. A face's box and points are the median of the views that see it:
the points are a third nearer to a better detector's than those of one view are. How many views agree, and how surely, is
its certainty: the recipe teaches what most views see and leaves alone what only some do. What is labelled is saved every so
often, and the same command goes on with the photos that are left.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data import digest, opened, pictures_under

SIDES = (320, 448, 640)  # longer side of a view, in pixels
SAME = 0.45  # intersection over union of two views of one face
SEEN = 0.3  # the least score of a view that counts
MIRRORED = [1, 0, 2, 4, 3]  # right eye, left eye, nose, right and left corner of the mouth change places


@dataclass
class Labels:
    """For N photos: the faces of photo i are rows `first[i]` to `first[i + 1]`."""

    names: list[str]  # paths below the photos' folder
    first: np.ndarray  # N + 1
    boxes: np.ndarray  # faces x 4: left, top, right, bottom, in pixels of the photo
    points: np.ndarray  # faces x 5 x 2
    certainty: np.ndarray  # faces, 0 to 1: the mean score over all views
    made_by: str = ""  # the digest of the detector and of the views' sizes

    def save(self, path: Path) -> None:
        """Atomically: a kill leaves the labels of before or these."""
        partial = path.with_name(f".{path.name}.{os.getpid()}.npz")
        try:
            np.savez(partial, **{**vars(self), "names": np.array(self.names, str)})
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    @staticmethod
    def of(names: list[str], faces: list[tuple], made_by: str = "") -> "Labels":
        """From each photo's boxes, points and certainties."""
        none = np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0)
        first = np.cumsum([0, *(len(certainty) for _, _, certainty in faces)])
        return Labels(names, first, *(np.concatenate(part).astype(np.float32) for part in zip(none, *faces)), made_by)

    def __add__(self, other: "Labels") -> "Labels":
        first = np.concatenate([self.first, self.first[-1] + other.first[1:]])
        rows = [np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("boxes", "points", "certainty")]
        return Labels(self.names + other.names, first, *rows, self.made_by)

    @staticmethod
    def load(path: Path) -> "Labels":
        with np.load(path) as found:
            fields = {name: found[name] for name in found.files}
        return Labels(**{**fields, "names": fields["names"].tolist(), "made_by": str(fields.get("made_by", ""))})


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (4) with N (N x 4)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = sides.clip(0).prod(1)
    return shared / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - shared)


class Views:
    """YuNet (Wu, Peng & Yu 2023) on several sizes and mirror images of a photo."""

    def __init__(self, path: Path, sides=SIDES):
        self.sides = sides
        self.yunet = cv2.FaceDetectorYN.create(str(path), "", (320, 320), SEEN)

    def one(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (n x 4, corners), points (n x 5 x 2) and scores (n) in one BGR picture."""
        self.yunet.setInputSize((picture.shape[1], picture.shape[0]))
        _, found = self.yunet.detect(picture)
        found = np.zeros((0, 15), np.float32) if found is None else found
        boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], 1)
        return boxes, found[:, 4:14].reshape(-1, 5, 2), found[:, 14]

    def all(self, picture: np.ndarray) -> tuple[np.ndarray, ...]:
        """Every view's boxes, points, scores and the number of the view, in pixels of the picture."""
        found = []
        for side in self.sides:
            scale = side / max(picture.shape[:2])
            view = cv2.resize(picture, None, fx=scale, fy=scale)
            for mirrored in (False, True):
                boxes, points, scores = self.one(np.ascontiguousarray(view[:, ::-1]) if mirrored else view)
                if mirrored:
                    boxes[:, [0, 2]] = view.shape[1] - boxes[:, [2, 0]]
                    points = points[:, MIRRORED]
                    points[..., 0] = view.shape[1] - 1 - points[..., 0]
                found.append((boxes / scale, points / scale, scores, np.full(len(scores), len(found))))
        return tuple(np.concatenate(part) for part in zip(*found))

    def consensus(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes, points and certainties of the faces, the surest first."""
        boxes, points, scores, views = self.all(picture)
        left, faces = np.argsort(-scores), []
        while len(left):
            same = left[overlap(boxes[left[0]], boxes[left]) >= SAME]
            same = same if len(same) else left[:1]
            left = np.setdiff1d(left, same, assume_unique=True)
            left = left[np.argsort(-scores[left])]
            _, firsts = np.unique(views[same], return_index=True)  # the surest of each view
            same = same[np.sort(firsts)]
            certainty = scores[same].sum() / (2 * len(self.sides))
            faces.append((np.median(boxes[same], 0), np.median(points[same], 0), certainty))
        if not faces:
            return np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0)
        return tuple(np.stack(part) for part in zip(*sorted(faces, key=lambda face: -face[2])))


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("photos", type=Path, help="folder of photos, nested as you like")
    parser.add_argument("labels", type=Path, help="the same command goes on with what is in it; photos that have changed need a new file")
    parser.add_argument("--detector", type=Path, required=True, help="YuNet's ONNX file, of any input size")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="longer sides of the views, in pixels")
    parser.add_argument("--save-every", type=int, default=500, help="photos")
    args = parser.parse_args(given)
    views, made_by = Views(args.detector, args.sides), digest(args.detector.read_bytes(), *args.sides)
    labels = Labels.load(args.labels) if args.labels.exists() else Labels.of([], [], made_by)
    if labels.made_by not in ("", made_by):  # "": a file from before this was written
        raise SystemExit(f"{args.labels} was made by another detector or with other --sides: name another file")
    done, names, faces = set(labels.names), [], []
    todo = [path for path in pictures_under(args.photos) if str(path.relative_to(args.photos)) not in done]
    for path, picture in opened(tqdm(todo, unit="photo", disable=None), len(todo)):
        names.append(str(path.relative_to(args.photos)))
        faces.append(views.consensus(picture))
        if len(names) == args.save_every:
            labels = labels + Labels.of(names, faces)
            labels.save(args.labels)
            names, faces = [], []
    labels = labels + Labels.of(names, faces)
    if not labels.names:
        raise SystemExit(f"nothing under {args.photos} is a picture")
    labels.save(args.labels)
    sure = int((labels.certainty >= 0.5).sum())
    print(f"{len(labels.names)} photos, {sure} faces that most views see, {len(labels.certainty) - sure} doubtful ones")


if __name__ == "__main__":
    main()
