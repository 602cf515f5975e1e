"""Pictures for the detector, composed at the moment they're needed: faces in places, and the light that falls on them.

A sample is one geometry and two exposures. The *plain* picture is as the photographs were; the *lit* one is what a camera
at a door might make of it: a lamp at the side, dusk, an infrared camera's grey, blur, noise. The teacher looks at the
plain one and the student at the lit one, so the student can learn to see where its teacher is blind.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import exposure
import consensus
from align import TEMPLATE, shrunk, similarity
from data import CROP, called_a_picture, decoded, split
from label import MIRRORED, Labels, overlap

CERTAIN = 0.5  # of the views' mean score: these faces are taught; less certain ones are left alone
MOST = 8  # faces of a picture that are taught, and as many that are left alone
SMALLEST = 12  # pixels of a face's side that's still taught
TURNED = 0.5  # pictures of turned.py are taken half as often as photos
HARD = 0.2  # of the backgrounds, those that hard.py found


@dataclass
class Sample:
    plain: np.ndarray  # side x side x 3, RGB bytes
    lit: np.ndarray  # the same
    boxes: np.ndarray  # MOST x 4, corners in pixels; zeros where there are fewer
    points: np.ndarray  # MOST x 10
    doubtful: np.ndarray  # MOST x 4: regions that are neither face nor background


class Stock:
    """Photos with labels, and aligned crops with theirs, in memory."""

    def __init__(self, photos: Path, labels: Labels, seed: int, kept_back: float = 0.05):
        self.photos, self.labels = _read_all(Path(photos) / name for name in labels.names), labels
        self.training, _ = split(labels.names, kept_back, seed)
        self.real = len(self.photos)  # those after them are turned.py's
        self.share = self._shares()
        self.crops, self.crop_points, self.crop_boxes, self.crop_share, self.hard = [], None, None, None, []

    def add_turned(self, folder: Path, labels: Labels) -> None:
        """Pictures that turned.py made of `training`, behind the photos."""
        self.photos += _read_all(Path(folder) / name for name in labels.names)
        self.labels = self.labels + labels
        self.training = np.concatenate([self.training, np.arange(self.real, len(self.photos))])
        self.share = self._shares()
        photos, turned = self.training[self.training < self.real], self.training[self.training >= self.real]
        self.share[turned] *= TURNED * self.share[photos].sum() / self.share[turned].sum()

    def add_hard(self, folder: Path) -> None:
        """The backgrounds in which hard.py's detector saw faces."""
        self.hard = _read_all(sorted(path for path in Path(folder).iterdir() if called_a_picture(path)))

    def add_crops(self, folder: Path, labels: Path, most: int, seed: int) -> None:
        """Aligned crops and consensus.py's labels of them, of which the doubtful ones are left out."""
        names, points, _ = consensus.merged(consensus.load(labels))
        chosen = np.random.default_rng(seed).permutation(len(names))[:most]
        self.crops = _read_all(Path(folder) / names[index] for index in chosen)
        if any(crop.shape != (CROP, CROP, 3) for crop in self.crops):
            raise SystemExit(f"{folder} holds pictures that are no {CROP}x{CROP} crops; align.py makes them from photos")
        self.crop_points = points[chosen] + (CROP - 112) / 2
        self.crop_boxes, self.crop_share = self._boxes(self.crop_points), wanted_by_turn(self.crop_points)

    def _boxes(self, points: np.ndarray) -> np.ndarray:
        """The boxes that YuNet would draw around aligned faces with these points: in photos, a linear function of them."""
        sure = self.labels.certainty >= CERTAIN
        frames = [similarity(five, TEMPLATE + (CROP - 112) / 2) for five in self.labels.points[sure]]
        seen = [np.append(five @ m[:, :2].T + m[:, 2], 1) for five, m in zip(self.labels.points[sure], frames)]
        boxes = np.stack([move_boxes(box[None], m)[0] for box, m in zip(self.labels.boxes[sure], frames)])
        inside = (np.abs(boxes - np.median(boxes, 0)) < CROP / 5).all(1)
        map_, *_ = np.linalg.lstsq(np.stack(seen)[inside], boxes[inside], rcond=None)
        return np.column_stack([points.reshape(len(points), 10), np.ones(len(points))]) @ map_

    def _shares(self) -> np.ndarray:
        """How often each photo is taken: as its most turned face asks for."""
        sure, wanted = self.labels.certainty >= CERTAIN, wanted_by_turn(self.labels.points)
        return np.array([max([1.0, *wanted[a:b][sure[a:b]]]) for a, b in zip(self.labels.first, self.labels.first[1:])])

    def photo(self, chosen: np.ndarray, random: np.random.Generator) -> int:
        return chosen[_drawn(self.share[chosen], random)]

    def crop(self, random: np.random.Generator) -> int:
        return _drawn(self.crop_share, random)

    def faces(self, photo: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = slice(*self.labels.first[photo : photo + 2])
        return self.labels.boxes[rows], self.labels.points[rows], self.labels.certainty[rows]


def wanted_by_turn(points: np.ndarray) -> np.ndarray:
    """How often faces with these points (N x 5 x 2) are taken: turned aside, as few are, up to 25 times as often.

    A face's turn is how far its nose lies from the middle of its eyes, in distances between the eyes.
    """
    across = points[:, 1] - points[:, 0]
    off = ((points[:, 2] - points[:, :2].mean(1)) * across).sum(1)
    turn = np.abs(off) / np.maximum((across**2).sum(1), 1)
    return 1 + 24 * np.minimum(turn / 0.6, 1) ** 2


def _drawn(share: np.ndarray, random: np.random.Generator) -> int:
    """An index, drawn with odds as `share` says."""
    until = np.cumsum(share)
    return int(np.searchsorted(until, random.uniform(0, until[-1])))


def _read_all(paths) -> list[np.ndarray]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(read, paths))


def read(path: Path) -> np.ndarray:
    picture = decoded(path)
    if picture is None:
        raise SystemExit(f"{path} is no picture")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def compose(stock: Stock, chosen: np.ndarray, random: np.random.Generator, side: int, lamps: np.ndarray) -> Sample:
    """One sample of side x side pixels out of the photos `chosen`."""
    canvas = _Canvas(empty(stock, chosen, random, side))
    kind = random.choice(["photo", "near", "four", "crops", "empty"], p=[0.27, 0.18, 0.13, 0.24, 0.18])
    if kind == "four":
        half = side // 2
        for corner in ((0, 0), (half, 0), (0, half), (half, half)):
            canvas.photo(stock, chosen, random, (*corner, half), (16, half))
    elif kind == "photo":
        canvas.photo(stock, chosen, random, (0, 0, side), (20, 0.7 * side))
    elif kind == "near":
        canvas.photo(stock, chosen, random, (0, 0, side), (0.5 * side, 1.25 * side))
    elif kind == "crops" and stock.crops:
        for _ in range(random.integers(1, 4)):
            canvas.crop(stock, random)
    return canvas.sample(random, lamps)


class _Canvas:
    def __init__(self, background: np.ndarray):
        self.picture, self.side = background, len(background)
        self.boxes, self.points, self.doubtful = [], [], []

    def photo(self, stock, chosen, random, tile, sizes) -> None:
        """A photo into a square tile (left, top, side), so that one of its faces becomes as large as `sizes` say."""
        index = stock.photo(chosen, random)
        picture = stock.photos[index]
        boxes, points, certainty = stock.faces(index)
        sure = np.flatnonzero(certainty >= CERTAIN)
        if not len(sure):
            return
        box = boxes[sure[random.integers(len(sure))]]
        was = math.sqrt((box[2:] - box[:2]).prod())
        wanted = min(math.exp(random.uniform(*np.log(sizes))), 6 * was)
        left, top, side = tile
        to = np.array([left, top]) + side * (0.5 + random.uniform(-0.4, 0.4, 2) * max(0.15, 1 - wanted / side))
        matrix, mirror = _placed((box[:2] + box[2:]) / 2, to, wanted / was, random)
        view = self.picture[top : top + side, left : left + side]
        _warp_into(view, picture, _shifted(matrix, -left, -top))
        self._label(boxes, points, certainty, matrix, mirror, (left, top, left + side, top + side))

    def crop(self, stock, random) -> None:
        """An aligned crop with soft edges, anywhere that's free."""
        index = stock.crop(random)
        was, points = stock.crop_boxes[index], stock.crop_points[index]
        size = math.exp(random.uniform(math.log(20), math.log(0.6 * self.side)))
        to = random.uniform(0.15, 0.85, 2) * self.side
        matrix, mirror = _placed((was[:2] + was[2:]) / 2, to, size / math.sqrt((was[2:] - was[:2]).prod()), random)
        box = move_boxes(was[None], matrix)
        if any(overlap(box[0], other[None])[0] > 0 for other in (*self.boxes, *self.doubtful)):
            return
        mask = _MASKS[random.integers(len(_MASKS))]
        layer = np.dstack([stock.crops[index], mask])
        there = np.zeros((self.side, self.side, 4), np.uint8)
        _warp_into(there, layer, matrix)
        share = there[..., 3:].astype(np.float32) / 255
        self.picture[:] = (self.picture + (there[..., :3] - self.picture.astype(np.float32)) * share).astype(np.uint8)
        self._label(was[None], points[None], np.ones(1), matrix, mirror, (0, 0, self.side, self.side))

    def _label(self, boxes, points, certainty, matrix, mirror, window) -> None:
        window = np.array(window, float)
        points = points @ matrix[:, :2].T + matrix[:, 2]
        if mirror:
            points = points[:, MIRRORED]
        for box, five, sure in zip(move_boxes(boxes, matrix), points, certainty):
            seen = np.concatenate([np.maximum(box[:2], window[:2]), np.minimum(box[2:], window[2:])])
            if (seen[2:] <= seen[:2]).any():
                continue
            whole = (seen[2:] - seen[:2]).prod() / (box[2:] - box[:2]).prod()
            inside = ((five > window[:2]) & (five < window[2:])).all(1).sum()
            small = math.sqrt((box[2:] - box[:2]).prod()) < SMALLEST
            if sure >= CERTAIN and whole > 0.55 and inside >= 4 and not small:
                self.boxes.append(box)
                self.points.append(five)
            else:
                self.doubtful.append(seen)

    def sample(self, random, lamps) -> Sample:
        frames = [similarity(TEMPLATE, five) for five in self.points]
        lit = exposure.expose(self.picture, frames, random, lamps)
        boxes, points, doubtful = [], [], list(self.doubtful)
        for box, five in zip(self.boxes, self.points):
            left, top, right, bottom = box.clip(0, self.side).astype(int)
            region = lit[top:bottom:2, left:right:2, 1]
            # What light has left nothing of can't be asked for.
            visible = region.size and np.subtract(*np.percentile(region, [97, 20])) > 10
            if visible and len(boxes) < MOST:
                boxes.append(box)
                points.append(five.ravel())
            else:
                doubtful.append(box)
        return Sample(self.picture, lit, _rows(boxes, 4), _rows(points, 10), _rows(doubtful, 4))


def _rows(found, numbers) -> np.ndarray:
    rows = np.zeros((MOST, numbers), np.float32)
    for index, row in enumerate(found[:MOST]):
        rows[index] = row
    return rows


def _placed(centre, to, scale, random) -> tuple[np.ndarray, bool]:
    """2x3: `centre` to `to`, scaled, turned (mostly little, up to 30 degrees), every second time mirrored, and sometimes
    narrowed, as a face that looks aside is."""
    angle = math.radians(np.clip(random.normal(0, 11), -30, 30))
    mirror = random.random() < 0.5
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turn[:, 0] *= (-1 if mirror else 1) * (random.uniform(0.7, 1.1) if random.random() < 0.3 else 1)
    return np.column_stack([turn, to - turn @ centre]), mirror


def _shifted(matrix, x, y) -> np.ndarray:
    return matrix + np.array([[0, 0, x], [0, 0, y]])


def move_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The boxes of what a similarity makes of faces, taken for ellipses: a turned box's box would be too large."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    halves = np.sqrt(((boxes[:, 2:] - boxes[:, :2]) / 2) ** 2 @ (matrix[:, :2] ** 2).T)
    return np.concatenate([centres - halves, centres + halves], 1)


def _warp_into(view: np.ndarray, picture: np.ndarray, matrix: np.ndarray) -> None:
    """`picture` over what `view` shows."""
    picture, matrix = shrunk(picture, matrix)
    size = view.shape[1::-1]
    moved = cv2.warpAffine(picture, matrix, size, dst=view.copy(), borderMode=cv2.BORDER_TRANSPARENT)
    view[:] = moved


def _masks() -> list[np.ndarray]:
    """Soft outlines to paste a crop with: an oval, a square with round corners, and half-way between."""
    y, x = (np.mgrid[:CROP, :CROP] - (CROP - 1) / 2) / (CROP / 2)
    masks = []
    for power, soft in ((2, 0.25), (4, 0.12), (8, 0.06)):
        away = (np.abs(x / 0.98) ** power + np.abs(y / 0.98) ** power) ** (1 / power)
        masks.append(((1 - away) / soft).clip(0, 1))
    return [(mask * 255).astype(np.uint8) for mask in masks]


_MASKS = _masks()


def empty(stock: Stock, chosen: np.ndarray, random: np.random.Generator, side: int) -> np.ndarray:
    """side x side pixels without a face: parts of photos beside their faces, or textures, or next to nothing."""
    if stock.hard and random.random() < HARD:
        known = stock.hard[random.integers(len(stock.hard))]
        known = known[:, ::-1] if random.random() < 0.5 else known
        return cv2.resize(known, (side, side), interpolation=cv2.INTER_AREA if len(known) > side else cv2.INTER_LINEAR)
    kind = random.random()
    if kind < 0.12:
        return _texture(random, side)
    if kind < 0.2:
        return np.full((side, side, 3), random.integers(0, 256, 3), np.uint8)
    canvas = np.empty((side, side, 3), np.uint8)
    if kind < 0.3:
        canvas[:] = random.integers(0, 256, 3)
        return _things(canvas, random, random.integers(1, 15))
    step = side // random.choice([1, 2, 4], p=[0.6, 0.25, 0.15])
    for top in range(0, side, step):
        for left in range(0, side, step):
            space = canvas[top : top + step, left : left + step]
            space[:] = background(stock, chosen, random, step)[: space.shape[0], : space.shape[1]]
    if random.random() < 0.2:  # what is symmetric isn't a face yet
        at = random.integers(side // 3, side // 2 + 1)
        canvas[:, at : 2 * at] = canvas[:, :at][:, ::-1]
    return _things(canvas, random, random.integers(1, 5)) if random.random() < 0.3 else canvas


def _things(canvas, random, count) -> np.ndarray:
    """Discs, balls, rings, cups and wheels: what is round, or lit from a side, isn't a face yet."""
    side = len(canvas)
    for _ in range(count):
        middle = tuple(int(v) for v in random.integers(0, side, 2))
        long = math.exp(random.uniform(math.log(4), math.log(side / 3)))
        axes = (int(long), int(long * random.uniform(0.5, 1)))
        turn, colour = random.uniform(0, 180), [int(v) for v in random.integers(0, 256, 3)]
        kind = random.integers(4)
        if kind == 0:
            cv2.ellipse(canvas, middle, axes, turn, 0, 360, colour, int(random.integers(1, 2 + axes[1] // 3)), cv2.LINE_AA)
        elif kind == 1:
            box = cv2.boxPoints((middle, (2 * axes[0], 2 * axes[1]), turn)).astype(np.int32)
            cv2.fillPoly(canvas, [box], colour, cv2.LINE_AA)
        else:  # from one colour to another across it, as round things are lit
            other, away, angle = random.integers(0, 256, 3) - np.array(colour), random.uniform(0.2, 1), random.uniform(0, 6.3)
            dx, dy = away * math.cos(angle), away * math.sin(angle)
            for share in np.linspace(0, 1, 7):
                at = (int(middle[0] + share * dx * axes[1]), int(middle[1] + share * dy * axes[1]))
                sides = tuple(max(1, int(a * (1 - share * away))) for a in axes)
                cv2.ellipse(canvas, at, sides, turn, 0, 360, (colour + share * other).tolist(), -1, cv2.LINE_AA)
    return canvas


def background(stock: Stock, chosen: np.ndarray, random: np.random.Generator, side: int) -> np.ndarray:
    """A part of a photo beside its faces, as side x side pixels."""
    part = _faceless(stock, chosen, random)
    part = part[:, ::-1] if random.random() < 0.5 else part
    return cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)


def _faceless(stock, chosen, random) -> np.ndarray:
    """A part of a photo above, below or beside all its faces, even doubtful ones; texture after some vain tries."""
    chosen = chosen[: np.searchsorted(chosen, stock.real)]
    for _ in range(6):
        index = chosen[random.integers(len(chosen))]
        picture, boxes = stock.photos[index], stock.faces(index)[0]
        if not len(boxes):
            continue
        height, width = picture.shape[:2]
        grown = (boxes[:, 2:] - boxes[:, :2]) * 0.2
        left, top = (boxes[:, :2] - grown).min(0).clip(0).astype(int)
        right, bottom = (boxes[:, 2:] + grown).max(0).astype(int)
        parts = [(0, bottom, width, height), (0, 0, width, top), (0, 0, left, height), (right, 0, width, height)]
        parts = [p for p in parts if min(p[2] - p[0], p[3] - p[1]) >= 40]
        if parts:
            left, top, right, bottom = parts[random.integers(len(parts))]
            wide, high = random.integers(40, right - left + 1), random.integers(40, bottom - top + 1)
            wide, high = min(wide, 2 * high), min(high, 2 * wide)
            x, y = random.integers(left, right - wide + 1), random.integers(top, bottom - high + 1)
            return picture[y : y + high, x : x + wide]
    return _texture(random, 64)


def _texture(random, side) -> np.ndarray:
    """Coloured noise of several grains: blotches, stripes and dust."""
    picture = np.full((side, side, 3), 128, np.float32)
    for grain in (2, 5, 12, 40):
        shape = (max(2, side // grain // random.integers(1, 6)), max(2, side // grain // random.integers(1, 6)), 3)
        layer = random.normal(0, random.uniform(0, 40), shape).astype(np.float32)
        picture += cv2.resize(layer, (side, side), interpolation=cv2.INTER_LINEAR)
    return picture.clip(0, 255).astype(np.uint8)
