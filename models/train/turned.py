"""Faces turned further aside than in the photos they're of: `python turned.py PHOTOS LABELS.npz TURNED --mesh MESH.onnx`.

Photos show few faces in profile, and a detector that saw few finds few. So faces are turned in depth (after Zhu et al. 2016,
"Face alignment across large poses: a 3D solution"): MediaPipe's mesh says how deep the face is, rings around it stand for
hair and head, which go on backwards, and all of it is turned about the neck, further to the side where the face looks already, so
that little must show which the photo hides. What lies further out stays where it is, and the space between is stretched; in
every second picture something without faces is put there, out of another photo.

label.py says afterwards where TURNED's faces are, and nothing is taught of those that it isn't sure of. So a picture that no
longer looks like a face does no harm. Photos that detector.py keeps back are not used.
"""

import argparse
import math
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial import Delaunay
from tqdm import tqdm

import consensus
from align import TEMPLATE, similarity
from data import CROP
from facemodel import Mesh, rasterise
from label import Labels
from portrait import OUTLINE
from scenes import CERTAIN, Stock, background

SIDE = 224  # pixels of a picture
ZOOM = 1.1  # pixels of a picture to one of a crop: a face is some 115 pixels high
LEAST = 50  # pixels of a face's side in the photo: smaller ones have nothing to enlarge
# Around the outline of the mesh: how far from its middle, and how much further back, in breadths of the face.
RINGS = ((1.12, 0.1), (1.3, 0.4), (1.6, 0.55))
FAR = 10.0  # breadths of the face that what stays lies behind it
TURNS = (25.0, 95.0)  # degrees that faces are turned to, and
MOST = 75.0  # by how much at most
NOD = 12.0  # degrees up or down, standard deviation


def about_y(points: np.ndarray, degrees: float, centre: np.ndarray) -> np.ndarray:
    """N x 3, the third away from the camera, turned about an upright axis through `centre`."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y, z = (points - centre).T
    return np.stack([x * cos + z * sin, y, z * cos - x * sin], 1) + centre


def about_x(points: np.ndarray, degrees: float, centre: np.ndarray) -> np.ndarray:
    """The same about an axis from left to right."""
    return about_y(points[:, [1, 0, 2]], degrees, centre[[1, 0, 2]])[:, [1, 0, 2]]


def yaw(shape: np.ndarray) -> float:
    """Degrees by which a mesh is turned from the camera, to the left of the picture, as `about_y` turns."""
    right, left = shape[[33, 61, 127]].mean(0), shape[[263, 291, 356]].mean(0)
    return -math.degrees(math.atan2(left[2] - right[2], left[0] - right[0]))


class Head:
    """A face's mesh with rings around it, in a picture of SIDE x SIDE pixels; looking ahead, whatever the picture shows."""

    def __init__(self, shape: np.ndarray):
        outline = shape[list(OUTLINE)]
        self.yaw = yaw(shape)
        ears = shape[[127, 234, 356, 454]]
        self.centre = np.array([ears[:, 0].mean(), ears[:, 1].mean(), ears[:, 2].mean()])
        self.breadth = float(np.linalg.norm(shape[[127, 234]].mean(0) - shape[[356, 454]].mean(0)))
        ahead, outline = about_y(shape, -self.yaw, self.centre), about_y(outline, -self.yaw, self.centre)
        middle = outline[:, :2].mean(0)
        rings = []
        for away, back in RINGS:
            flat = middle + away * (outline[:, :2] - middle)
            rings.append(np.column_stack([flat, outline[:, 2] + back * self.breadth]))
        self.moving = np.concatenate([ahead, *rings])
        edge = np.linspace(-SIDE / 4, SIDE * 5 / 4, 9)
        frame = np.array([(x, y) for x in edge for y in edge if x in edge[[0, -1]] or y in edge[[0, -1]]])
        self.still = np.column_stack([frame, np.full(len(frame), self.centre[2] + FAR * self.breadth)])
        self.triangles = Delaunay(np.concatenate([self.moving, self.still])[:, :2]).simplices.astype(np.int32)

    def at(self, degrees: float, nod: float = 0.0) -> np.ndarray:
        """All vertices with the head turned to `degrees`, and then `nod` degrees up or down."""
        return np.concatenate([about_x(about_y(self.moving, degrees, self.centre), nod, self.centre), self.still])


def turn(picture: np.ndarray, head: Head, degrees: float, nod: float, behind: np.ndarray | None) -> np.ndarray:
    """The picture with the head turned to `degrees`, and another picture `behind` it."""
    before, after = head.at(head.yaw), head.at(degrees, nod)
    rows, columns, owner, weights = rasterise(after[:, :2], head.triangles, after[:, 2], picture.shape[:2])
    at = (before[head.triangles[owner], :2] * weights[..., None]).sum(1).astype(np.float32)
    maps = np.full((*picture.shape[:2], 2), -1, np.float32)
    maps[rows, columns] = at
    turned = cv2.remap(picture, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if behind is None:
        return turned
    mask = np.zeros(picture.shape[:2], np.float32)
    mask[rows, columns] = (head.triangles[owner] < len(head.moving)).all(1)
    mask = cv2.GaussianBlur(cv2.erode(mask, np.ones((5, 5))), (0, 0), 1.5)[..., None]
    return (behind + (turned - behind.astype(np.float32)) * mask).astype(np.uint8)


def upright(photo: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A face upright in the middle of SIDE x SIDE pixels, and the 128x128 crop of it, that the mesh is shown."""
    crop = similarity(points, TEMPLATE + (CROP - 112) / 2)
    wide = ZOOM * crop
    wide[:, 2] += (SIDE - ZOOM * CROP) / 2
    return consensus.warp(photo, wide, SIDE), consensus.warp(photo, crop, CROP)


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("photos", type=Path, help="folder of photos")
    add("labels", type=Path, help="what label.py made of them")
    add("turned", type=Path, help="folder for the pictures, which lie in it as the photos do in theirs")
    add("--mesh", type=Path, required=True, help="the face mesh's ONNX file, 192x192")
    add("--each", type=int, default=1, help="pictures of each face")
    add("--seed", type=int, default=1)
    args = parser.parse_args(given)
    cv2.setNumThreads(1)
    stock = Stock(args.photos, Labels.load(args.labels), args.seed)
    mesh, random, made = Mesh(args.mesh), np.random.default_rng(args.seed), 0
    margin = (SIDE - ZOOM * CROP) / 2
    for photo in tqdm(stock.training, unit="photo", disable=None):
        boxes, points, certainty = stock.faces(photo)
        sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
        for face in np.flatnonzero((certainty >= CERTAIN) & (sides >= LEAST)):
            view, crop = upright(stock.photos[photo], points[face])
            head = Head(mesh.vertices(crop[..., ::-1]) * ZOOM + (margin, margin, 0))
            side = np.sign(head.yaw) if abs(head.yaw) > 6 else random.choice([-1.0, 1.0])
            for number in range(args.each):
                degrees = side * min(max(random.uniform(*TURNS), abs(head.yaw)), abs(head.yaw) + MOST)
                behind = background(stock, stock.training, random, SIDE) if random.random() < 0.5 else None
                turned = turn(view, head, degrees, float(np.clip(random.normal(0, NOD), -30, 30)), behind)
                path = args.turned / f"{stock.labels.names[photo]}-{face}-{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), turned[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
                made += 1
    print(f"{made} pictures")


if __name__ == "__main__":
    main()
