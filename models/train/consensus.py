"""Labels for landmarks.py: `python consensus.py CROPS LABELS.npz --detector YUNET.onnx --mesh MESH.onnx`.

The five points in aligned crops, by the consensus of two teachers. Both are permissively licensed, and neither is good
enough alone. YuNet's points scatter, so it looks at several sizes of a crop and their mirror images, and the median is
kept. The face mesh's are steady, but mean something else by "eye" and "nose": constant offsets, which are estimated over
all crops, make up for that. A label is a weighted mean of both.

Crops are those of align.py, 128x128: a crop's pixel (x, y) lies at (x - 8, y - 8) of ArcFace's template. As the crops
are aligned already, a label that would align one anew much differently is doubtful and is left out.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from tqdm import tqdm

from align import TEMPLATE, shrunk, similarity
from data import CROP, called_a_picture, decoded, digest, tell_left_out
from nets import FACE

MARGIN = (CROP - FACE) // 2
MIRRORED = [1, 0, 2, 4, 3]  # right eye, left eye, nose, right and left corner of the mouth change places
SHOWN = 144  # pixels of a crop and its surroundings that YuNet is shown: a face that touches the border is found worse
SIDES = (256, 384)  # what they are enlarged to
SURE = 0.3  # the least score of a cell of YuNet that has a say
SAME = 0.6  # cells whose boxes overlap so much see the same face

VERTICES = ((33, 133), (362, 263), (1,), (61,), (291,))  # of the mesh, MediaPipe's numbering: their means are the points
MESH_SIDE = 192  # of the mesh's input, in pixels
MESH_VIEWS = (((63.5, 63.5), 128), ((63.5, 70.0), 144))  # centres and sides of the squares of a crop that it is shown
MESH_SHARE = 2 / 3  # of a label: its two views and YuNet's median count alike

# What a label may be off: the teachers from each other, in distances between the eyes, and the similarity that aligns
# the label from the identity, in pixels, as a ratio and in radians.
APART, SHIFT, SCALE, TURN = 0.15, 4.0, 0.08, 0.08


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def warp(picture: np.ndarray, matrix: np.ndarray, side: int, border=cv2.BORDER_REPLICATE) -> np.ndarray:
    """`side` x `side` pixels of a picture through a 2x3 matrix from picture to view; shrinking averages."""
    return cv2.warpAffine(*shrunk(picture, matrix), (side, side), borderMode=border)


def window(centre, shown: float, side: int, mirror: bool = False) -> np.ndarray:
    """The 2x3 matrix that shows `shown` pixels around `centre`, pixels' centres being whole, in `side` pixels."""
    scale = side / shown
    middle, sign = (side - 1) / 2, -1 if mirror else 1
    return np.array([[sign * scale, 0, middle - sign * scale * centre[0]], [0, scale, middle - scale * centre[1]]])


def through(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def back(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """From a view to the picture that `matrix` has shown in it."""
    return (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


@dataclass
class Face:
    box: np.ndarray  # left, top, right, bottom, in pixels
    points: np.ndarray  # 5 x 2
    score: float


class YuNet:
    """YuNet (Wu, Peng & Yu 2023). All cells that see a face have a say in where its points are, weighing score⁴."""

    def __init__(self, path: Path):
        self.session = _session(path)
        self.source = self.session.get_inputs()[0].name
        self.rgb = self.source == "pixels"  # a detector of detector.py, which is laid out like YuNet but for this

    def faces(self, view: np.ndarray) -> list[Face]:
        """In a BGR picture whose sides are multiples of 32, the surest first."""
        height, width = view.shape[:2]
        pixels = (view[..., ::-1] if self.rgb else view).transpose(2, 0, 1)[None].astype(np.float32)
        maps = self.session.run(None, {self.source: pixels})
        maps, found = [part[0] for part in maps], []
        for level, stride in enumerate((8, 16, 32)):
            cls, obj, box, points = maps[level::3]
            rows, columns = np.divmod(np.arange(len(cls)), width // stride)
            corner = np.stack([columns, rows], 1).astype(np.float32)
            score = np.sqrt(cls.clip(0, 1) * obj.clip(0, 1))
            centre, half = (corner + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride / 2
            points = (points.reshape(-1, 5, 2) + corner[:, None]) * stride
            found.append(np.concatenate([score, centre - half, centre + half, points.reshape(-1, 10)], 1))
        found = np.concatenate(found)
        return self._merge(found[found[:, 0] >= SURE])

    @staticmethod
    def _merge(cells: np.ndarray) -> list[Face]:
        faces = []
        while len(cells):
            best = cells[cells[:, 0].argmax()]
            sides = np.minimum(cells[:, 3:5], best[3:5]) - np.maximum(cells[:, 1:3], best[1:3])
            shared, areas = sides.clip(0).prod(1), (cells[:, 3:5] - cells[:, 1:3]).prod(1)
            overlap = shared / (areas + (best[3:5] - best[1:3]).prod() - shared)
            same = cells[overlap >= SAME]
            mean = (same * same[:, :1] ** 4).sum(0) / (same[:, 0] ** 4).sum()
            faces.append(Face(mean[1:5], mean[5:].reshape(5, 2), float(best[0])))
            cells = cells[overlap < SAME / 2]
        return faces


class Mesh:
    """MediaPipe's face mesh (Kartynnik et al. 2019), reduced to five points."""

    def __init__(self, path: Path):
        self.session = _session(path)

    def points(self, picture: np.ndarray, centre, shown: float) -> np.ndarray:
        """In a BGR picture, of an upright face in the square of `shown` pixels around `centre`: mean with its mirror image."""
        both = []
        for mirror in (False, True):
            matrix = window(centre, shown, MESH_SIDE, mirror)
            view = warp(picture, matrix, MESH_SIDE)[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
            mesh = self.session.run(None, {"image": view})[1].reshape(-1, 3)[:, :2] * MESH_SIDE
            points = back(matrix, np.stack([mesh[list(vertices)].mean(0) for vertices in VERTICES]))
            both.append(points[MIRRORED] if mirror else points)
        return np.mean(both, 0)


class Consensus:
    def __init__(self, detector: Path, mesh: Path):
        self.yunet, self.mesh = YuNet(detector), Mesh(mesh)

    def votes(self, picture: np.ndarray, centre, shown: float, sides=SIDES) -> list[np.ndarray]:
        """YuNet's points of the face nearest the middle of the square of `shown` pixels, from each view that has one."""
        votes = []
        for side in sides:
            for mirror in (False, True):
                matrix = window(centre, shown, side, mirror)
                faces = self.yunet.faces(warp(picture, matrix, side))
                if faces:
                    middle = np.full(2, (side - 1) / 2)
                    nearest = min(faces, key=lambda face: np.linalg.norm(face.points.mean(0) - middle))
                    points = back(matrix, nearest.points)
                    votes.append(points[MIRRORED] if mirror else points)
        return votes

    def label(self, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """YuNet's and the mesh's points in a 128x128 BGR crop, in pixels of the template."""
        middle = np.full(2, (CROP - 1) / 2)
        votes = self.votes(crop, middle, SHOWN)
        if len(votes) < len(SIDES):  # fewer than half of the views
            return None
        yunet = np.median(votes, 0)
        mesh = np.mean([self.mesh.points(crop, *view) for view in MESH_VIEWS], 0)
        return yunet - MARGIN, mesh - MARGIN


def axes(points: np.ndarray) -> np.ndarray:
    """N x 2 x 2: right and down in each face (N x 5 x 2), one eye distance long."""
    across = points[:, 1] - points[:, 0]
    return np.stack([across, np.stack([-across[:, 1], across[:, 0]], 1)], 1)


def offsets(yunet: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """5 x 2: how far YuNet's points lie from the mesh's along a face's own axes, in eye distances: the median over N faces,
    and alike on both sides of a face, as neither teacher should tell left from right."""
    off = np.median((yunet - mesh) @ np.linalg.inv(axes(mesh)), 0)
    return (off + off[MIRRORED] * (-1, 1)) / 2


def merged(labels: dict[str, np.ndarray]) -> tuple[list[str], np.ndarray, dict[str, int]]:
    """Names and labels (N x 5 x 2, pixels of the template) of the crops that aren't doubtful, and why how many are."""
    names = [name for name, points in labels.items() if not np.isnan(points).any()]
    if not names:
        raise SystemExit(f"none of the {len(labels)} crops has a face that both teachers see")
    yunet, mesh = np.stack([labels[name] for name in names]).swapaxes(0, 1)
    mesh = mesh + offsets(yunet, mesh) @ axes(mesh)
    points = (1 - MESH_SHARE) * yunet + MESH_SHARE * mesh
    reasons = [doubtful(*some) for some in zip(points, yunet, mesh)]
    good = [index for index, reason in enumerate(reasons) if reason is None]
    counts = {"without a face": len(labels) - len(names)} | {reason: reasons.count(reason) for reason in set(reasons) - {None}}
    return [names[index] for index in good], points[good].astype(np.float32), counts


def doubtful(points: np.ndarray, yunet: np.ndarray, mesh: np.ndarray) -> str | None:
    """Why a label isn't to be trusted."""
    eyes = max(np.linalg.norm(points[1] - points[0]), FACE / 8)  # of a face in profile they coincide
    if np.linalg.norm(yunet - mesh, axis=1).mean() > APART * eyes:
        return "the teachers disagree"
    matrix = similarity(points, TEMPLATE)
    moved = through(matrix, TEMPLATE.mean(0)) - TEMPLATE.mean(0)
    a = complex(matrix[0, 0], matrix[1, 0])
    if np.linalg.norm(moved) > SHIFT or abs(abs(a) - 1) > SCALE or abs(np.angle(a)) > TURN:
        return "the crop was aligned otherwise"
    return None


def save(path: Path, labels: dict[str, tuple], teachers: str = "") -> None:
    """Atomically; a crop without a label has NaN, so that it isn't looked at again. `teachers`: their digest."""
    none = np.full((2, 5, 2), np.nan, np.float32)
    pairs = [none if found is None else np.array(found, np.float32) for found in labels.values()]
    partial = path.with_name(f".{path.name}.{os.getpid()}.npz")
    try:
        np.savez(partial, names=np.array(list(labels)), points=np.stack(pairs), made_by=teachers)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> dict[str, np.ndarray]:
    """From a crop's path below its folder to 2 x 5 x 2: YuNet's and the mesh's points in pixels of the template, or NaN."""
    with np.load(path) as found:
        return dict(zip(found["names"].tolist(), found["points"]))


def made_by(path: Path) -> str:
    """The digest of the teachers whose labels are in a file; empty where it's from before that was written."""
    with np.load(path) as found:
        return str(found["made_by"]) if "made_by" in found.files else ""


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("crops", type=Path, help="folder of aligned 128x128 crops, nested as you like")
    add("labels", type=Path, help="the same command goes on with what is in it")
    add("--detector", type=Path, required=True, help="YuNet's ONNX file, of any input size")
    add("--mesh", type=Path, required=True, help="the face mesh's ONNX file, 192x192")
    add("--count", type=int, default=0, help="label so many crops, drawn at random; 0: all")
    add("--seed", type=int, default=1)
    add("--save-every", type=int, default=500, help="crops")
    args = parser.parse_args(given)
    cv2.setNumThreads(1)
    names = sorted(str(p.relative_to(args.crops)) for p in args.crops.rglob("*") if called_a_picture(p))
    if not names:
        raise SystemExit(f"no pictures under {args.crops}")
    chosen = np.random.default_rng(args.seed).permutation(len(names))[: args.count or None]
    teachers = digest(args.detector.read_bytes(), args.mesh.read_bytes())
    labels, known = (load(args.labels), made_by(args.labels)) if args.labels.exists() else ({}, teachers)
    if known not in ("", teachers):
        raise SystemExit(f"{args.labels} was made by another detector or mesh: name another file")
    todo = [names[index] for index in chosen if names[index] not in labels]
    consensus, bad = Consensus(args.detector, args.mesh), []
    for done, name in enumerate(tqdm(todo, unit="crop", disable=None), 1):
        crop = decoded(args.crops / name)
        if crop is None:
            bad.append(args.crops / name)
        elif crop.shape[:2] != (CROP, CROP):
            raise SystemExit(f"{args.crops / name} is no {CROP}x{CROP} crop; align.py makes them from photos")
        labels[name] = None if crop is None else consensus.label(crop)
        if done % args.save_every == 0 or done == len(todo):
            save(args.labels, labels, known)
    tell_left_out(bad, len(todo))
    names, _, doubts = merged(load(args.labels))
    print(f"{len(names)} good labels; left out: " + ", ".join(f"{count} {reason}" for reason, count in sorted(doubts.items())))


if __name__ == "__main__":
    main()
