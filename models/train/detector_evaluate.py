"""How well detectors find faces: `python detector_evaluate.py DETECTOR.onnx … --lfw LFW --yaleb YALEB --film FILM …`.

Every detector given (ours and others laid out like YuNet; with --reference one like SCRFD, to compare with) sees what the
daemon would show it: the picture fitted into a canvas of 320 pixels, its shape kept, enlarged twice at most; cells that
agree are merged as the daemon does. A face counts from the score on that the daemon asks for (--score).
"""

import argparse
import re
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from data import called_a_picture, decoded, opened
from label import overlap

LONGER, ENLARGED = 320, 2.0  # the daemon's canvas, and its most enlargement


class Network:
    """A detector of any size of input, YuNet's layout or SCRFD's by its outputs' names."""

    grey, light = False, 1.0  # what it's shown: colour or not, and how much of the light

    def __init__(self, path: Path, least: float, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        source = self.session.get_inputs()[0]
        self.source, self.least, self.name = source.name, least, path.stem
        self.names = [output.name for output in self.session.get_outputs()]
        self.like_yunet = "cls_8" in self.names
        self.bgr = self.like_yunet and source.name == "input"  # YuNet's own file; ours calls it "pixels"

    def _seen(self, picture: np.ndarray) -> np.ndarray:
        if self.grey:
            picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        # In bytes, as a camera gives them: what was dark has few steps.
        return picture if self.light == 1 else (np.sqrt(self.light) * picture).astype(np.uint8)

    def faces(self, picture: np.ndarray, longer: int = LONGER) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (n x 4, corners), points (n x 5 x 2) and scores of a BGR picture, the surest first."""
        picture = self._seen(picture)
        height, width = picture.shape[:2]
        scale = min(longer / max(height, width), ENLARGED)
        view = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        canvas = np.zeros((-(-view.shape[0] // 32) * 32, -(-view.shape[1] // 32) * 32, 3), np.uint8)
        canvas[: view.shape[0], : view.shape[1]] = view
        boxes, points, scores = self.raw(canvas)
        boxes, points, scores = merge(boxes, points, scores)
        # Pixel centres: (x + 0.5) / scale - 0.5.
        back = lambda p: (p + 0.5) / scale - 0.5  # noqa: E731
        return back(boxes), back(points), scores

    def raw(self, canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pixels = canvas if self.bgr else canvas[..., ::-1]
        pixels = pixels.astype(np.float32) if self.like_yunet else (pixels.astype(np.float32) - 127.5) / 128
        maps = self.session.run(None, {self.source: np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])})
        found = self._yunet(dict(zip(self.names, maps)), canvas.shape) if self.like_yunet else self._scrfd(maps, canvas.shape)
        boxes, points, scores = (np.concatenate(part) for part in zip(*found))
        sure = scores >= self.least
        return boxes[sure], points[sure], scores[sure]

    @staticmethod
    def _yunet(maps, shape):
        for stride in (8, 16, 32):
            corner = _corners(shape, stride, 1)
            cls, obj, box, points = (maps[f"{kind}_{stride}"].reshape(len(corner), -1) for kind in ("cls", "obj", "bbox", "kps"))
            centre, half = (corner + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride / 2
            points = (points.reshape(-1, 5, 2) + corner[:, None]) * stride
            score = np.sqrt(cls[:, 0].clip(0, 1) * obj[:, 0].clip(0, 1))
            yield np.concatenate([centre - half, centre + half], 1), points, score

    @staticmethod
    def _scrfd(maps, shape):
        for level, stride in enumerate((8, 16, 32)):
            corner = _corners(shape, stride, 2)
            score, box, points = (maps[level + kind].reshape(len(corner), -1) for kind in (0, 3, 6))
            boxes = np.concatenate([corner - box[:, :2], corner + box[:, 2:]], 1) * stride
            yield boxes, (points.reshape(-1, 5, 2) + corner[:, None]) * stride, score[:, 0]


def _corners(shape, stride, anchors) -> np.ndarray:
    y, x = np.mgrid[: shape[0] // stride, : shape[1] // stride]
    return np.repeat(np.stack([x, y], -1).reshape(-1, 2), anchors, 0)


def merge(boxes, points, scores, same=0.6, suppress=0.3):
    """As src/face/decode.rs does: candidates that show one face are averaged by score⁴."""
    order = np.argsort(-scores)
    boxes, points, scores = boxes[order], points[order], scores[order]
    faces, left = [], np.arange(len(scores))
    while len(left):
        shared = overlap(boxes[left[0]], boxes[left])
        alike = left[shared >= same]
        weight = scores[alike] ** 4 / (scores[alike] ** 4).sum()
        faces.append((weight @ boxes[alike], np.tensordot(weight, points[alike], 1), scores[left[0]]))
        left = left[1:][shared[1:] < suppress]
    if not faces:
        return np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0)
    return tuple(np.stack(part) for part in zip(*faces))


def of_the_middle(faces, picture) -> int | None:
    """The index of the face that holds the picture's middle, which is what LFW's and Yale B's pictures show."""
    middle = np.array(picture.shape[1::-1]) / 2
    holds = ((faces[0][:, :2] < middle) & (middle < faces[0][:, 2:])).all(1)
    return int(np.flatnonzero(holds)[0]) if holds.any() else None


def lfw(networks, reference, folder: Path, every: int) -> None:
    """Faces found, and the points' distance from the reference's as a share of that between the eyes."""
    paths = sorted(path for path in folder.rglob("*") if called_a_picture(path))[::every]
    found, errors, seen = dict.fromkeys(networks, 0), {network: [] for network in networks}, 0
    for _, picture in opened(paths, len(paths)):
        seen += 1
        theirs = reference.faces(picture) if reference else None
        best = of_the_middle(theirs, picture) if reference else None
        for network in networks:
            faces = network.faces(picture)
            mine = of_the_middle(faces, picture)
            found[network] += mine is not None
            if mine is not None and best is not None:
                eyes = np.linalg.norm(theirs[1][best, 0] - theirs[1][best, 1])
                errors[network].append(np.linalg.norm(faces[1][mine] - theirs[1][best], axis=1).mean() / eyes)
    for network in networks:
        told = f", points off by {np.mean(errors[network]):.1%} of the distance between the eyes" if errors[network] else ""
        print(f"LFW, {network.name}: {found[network]} of {seen} found ({found[network] / max(1, seen):.2%}){told}", flush=True)


def yale_b(networks, folder: Path) -> None:
    """Faces found by the lamp's angle to the camera; `yaleB05_P00A+035E-20.jpg` tells it in its name."""
    rings = [(0, 30), (30, 60), (60, 90), (90, 181)]
    seen = {network: np.zeros((len(rings), 2), int) for network in networks}
    lamps = {path: lamp for path in sorted(folder.rglob("*.jpg")) if (lamp := re.search(r"A([+-]\d+)E([+-]\d+)", path.name))}
    for path, picture in opened(lamps, len(lamps)):  # not the picture without a lamp
        azimuth, elevation = (np.radians(float(angle)) for angle in lamps[path].groups())
        angle = np.degrees(np.arccos(np.clip(np.cos(azimuth) * np.cos(elevation), -1, 1)))
        ring = next(index for index, (low, high) in enumerate(rings) if low <= angle < high)
        for network in networks:
            seen[network][ring] += of_the_middle(network.faces(picture), picture) is not None, 1
    for network in networks:
        hits, total = seen[network].sum(0)
        parts = ", ".join(f"{a}-{b - b % 2}°: {h / max(1, n):.1%}" for (a, b), (h, n) in zip(rings, seen[network]))
        print(f"Yale B, {network.name}: {hits} of {total} found ({hits / total:.1%}); {parts}", flush=True)


def film(networks, reference, path: Path, every: int) -> None:
    """Of the reference's faces in a film, how many are found, by their height in the canvas; and what nobody else sees."""
    video, index = cv2.VideoCapture(str(path)), 0
    sizes = [(0, 24), (24, 48), (48, 1000)]
    seen = {network: np.zeros((len(sizes), 2), int) for network in networks}
    alone, looked = dict.fromkeys(networks, 0), 0
    while video.grab():
        if index % every == 0:
            frame = video.retrieve()[1]
            theirs, scale, looked = reference.faces(frame, 640), LONGER / max(frame.shape[:2]), looked + 1
            for network in networks:
                boxes = network.faces(frame)[0]
                for box in theirs[0]:
                    size = next(i for i, (_, high) in enumerate(sizes) if (box[3] - box[1]) * scale < high)
                    seen[network][size] += len(boxes) > 0 and overlap(box, boxes).max() > 0.4, 1
                alone[network] += sum(not len(theirs[0]) or overlap(box, theirs[0]).max() < 0.2 for box in boxes)
        index += 1
    for network in networks:
        hits, total = seen[network].sum(0)
        parts = ", ".join(f"{a}-{b} px: {h} of {n}" for (a, b), (h, n) in zip(sizes, seen[network]))
        share = f"{hits} of {total} of {reference.name}'s faces found ({hits / max(1, total):.1%}; {parts})"
        print(f"{path.name}, {network.name}: {share}; {alone[network]} others in {looked} frames", flush=True)


def faceless(networks, folder: Path, frames: int) -> None:
    """False faces in a walk over pictures without people: a window that moves, zooms and turns, in changing light."""
    every = sorted(path for path in folder.rglob("*") if called_a_picture(path))
    paths = [path for path, _ in opened(every, len(every))]
    if not paths:
        raise SystemExit(f"no pictures under {folder}")
    false, frames_with = dict.fromkeys(networks, 0), dict.fromkeys(networks, 0)
    scenes_with, random = {network: set() for network in networks}, np.random.default_rng(0)
    for index in range(frames):
        scene, moment = divmod(index, 25)
        if moment == 0:
            picture = decoded(paths[scene % len(paths)])
            height, width = picture.shape[:2]
            place, speed = random.uniform(0.2, 0.8, 2) * (width, height), random.normal(0, 0.006, 2) * (width, height)
            zoom, turn = random.uniform(0.5, 1.1) * min(width, height) / 240, random.uniform(-0.3, 0.3)
            light, dark, grey = random.uniform(0.1, 1.2), random.uniform(0, 8), random.random() < 0.4
        zoom, turn, place = zoom * 0.995, turn + random.normal(0, 0.01), place + speed
        cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
        matrix = np.array([[cos, -sin, 0], [sin, cos, 0]])
        matrix[:, 2] = place - matrix[:, :2] @ (160, 120)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        frame = cv2.warpAffine(picture, matrix, (320, 240), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        frame = (frame * light + random.normal(0, 1, frame.shape) * dark).clip(0, 255).astype(np.uint8)
        if grey:
            frame = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        for network in networks:
            found = len(network.faces(frame)[2])
            false[network] += found
            frames_with[network] += found > 0
            if found:
                scenes_with[network].add(paths[scene % len(paths)].name)
    for network in networks:
        where = f"{frames_with[network]} of {frames} frames and {len(scenes_with[network])} of {len(paths)} scenes"
        print(f"no people, {network.name}: {false[network]} false faces, in {where}: {sorted(scenes_with[network])}", flush=True)


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("detectors", type=Path, nargs="+", help="ONNX files laid out as YuNet is")
    add("--reference", type=Path, help="SCRFD's ONNX file, whose faces and points are taken for the truth; never to teach with")
    add("--score", type=float, default=0.7, help="the least that counts as a face; the daemon's default")
    add("--lfw", type=Path, help="folder of LFW's pictures")
    add("--yaleb", type=Path, help="folder of the Yale B pictures")
    add("--film", type=Path, help="a film with people, needs --reference")
    add("--faceless", type=Path, help="folder of pictures without people")
    add("--frames", type=int, default=3000, help="of the walk over those")
    add("--grey", action="store_true", help="show the detectors, not the reference, grey pictures")
    add("--light", type=float, default=1.0, help="and pictures with so much of their light, from 0 to 1")
    add("--every", type=int, default=1, help="only every so manieth picture of LFW and frame of the film")
    args = parser.parse_args(given)
    if args.film and not args.reference:  # before minutes of the others
        parser.error("--film needs --reference")
    networks = [Network(path, args.score) for path in args.detectors]
    for network in networks:
        network.grey, network.light = args.grey, args.light
    reference = Network(args.reference, 0.5) if args.reference else None
    if args.yaleb:
        yale_b(networks, args.yaleb)
    if args.faceless:
        faceless(networks, args.faceless, args.frames)
    if args.lfw:
        lfw(networks, reference, args.lfw, args.every)
    if args.film:
        film(networks, reference, args.film, args.every)


if __name__ == "__main__":
    main()
