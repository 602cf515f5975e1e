"""Clips of living faces, of photographs and of screens, made from photographs: `python clip_sim.py --photos PHOTOS … OUT.npz`.

A photograph becomes a living face by warping: the head turns (a height map of faces says how far each pixel goes), sways, blinks and
speaks before a background that stays. The attacks are photographed again: a *print* is one photograph, degraded as paper and ink do,
that is held and moved as a plane; a *replay* is a living face as a first camera saw it, shown by a screen with its raster, its
refresh and a reflection, and held as a plane. All three pass the same second camera: exposure, blur, noise, JPEG.

`OUT.npz` is what clip.py trains on: 16 frames of 32 x 32 aligned pixels at 30 Hz. One alignment serves a clip, that of its middle frame,
so that what moves in it is the face and not the points it is aligned by. `--videos DIR` writes longer ones instead, 640 x 480,
for `facelatch liveness record`, with the same clips beside them.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

import relight
from align import TEMPLATE, similarity
from clip import FRAMES, SIDE
from consensus import YuNet
from data import opened, pictures_under
from evaluate_landmarks import Refiner, prominent
from nets import FACE

KINDS = ("live", "print", "replay")
HERTZ = 30
WINDOW = 128  # pixels of what a training clip is drawn in; the face's eyes are 30 to 44 apart there
VIDEO = (640, 480)
SECONDS = 2.6  # of a video: a window of the liveness head, and a moment
POINTS_OFF = 0.015  # deviation of a point, in distances between the eyes
CLIPS_A_VIDEO = 4
RECORDINGS = 10  # that training clips are parted into, by their photographs
MOST_GAIN = 4.0  # of a camera in the dark


@dataclass
class Photo:
    """A BGR picture with a face and its five points."""

    pixels: np.ndarray
    points: np.ndarray


def read_photos(paths: list[Path], detector: Path, landmarks: Path) -> list[Photo]:
    """Those in which a face is found that stands free on all sides and is large enough to be moved."""
    network, refiner, found = YuNet(detector), Refiner(landmarks), []
    for _, picture in opened(tqdm(paths, desc="photos", disable=None), len(paths)):
        coarse = prominent(network, picture, 320)
        if coarse is None:
            continue
        points = refiner.points(picture, coarse)
        eyes, (height, width) = np.linalg.norm(points[1] - points[0]), picture.shape[:2]
        x, y = points.mean(0)
        if eyes >= 22 and 1.5 * eyes < x < width - 1.5 * eyes and 1.6 * eyes < y < height - 1.6 * eyes:
            found.append(Photo(picture, points))
    return found


def path(random, size: float, low: float = 0.15, high: float = 1.6):
    """A smooth movement about 0: seconds → a number of deviation `size`."""
    hertz, phase = np.exp(random.uniform(np.log(low), np.log(high), 4)), random.uniform(0, 2 * math.pi, 4)
    part = random.normal(0, 1, 4) / hertz**0.7
    part *= size / math.sqrt((part**2).sum() / 2)
    return lambda t: float((part * np.sin(2 * math.pi * hertz * t + phase)).sum())


class Living:
    """A photograph that moves, seen in a canvas. Lengths of movements are pixels of the template."""

    def __init__(self, photo: Photo, framing: np.ndarray, canvas: tuple[int, int], random):
        """`framing`: 2 x 3, from the photograph to the canvas of width and height."""
        self.photo, self.framing = photo, framing
        width, height = canvas
        back = cv2.invertAffineTransform(framing)
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        self.x, self.y = (back[i, 0] * x + back[i, 1] * y + back[i, 2] for i in (0, 1))
        to_template = similarity(photo.points, TEMPLATE)
        self.from_template = cv2.invertAffineTransform(to_template)[:, :2]
        self.u, self.v = (to_template[i, 0] * self.x + to_template[i, 1] * self.y + to_template[i, 2] for i in (0, 1))
        heights = cv2.GaussianBlur(np.nan_to_num(relight.heights()).astype(np.float32), (0, 0), 2)
        at = [(grid + relight.MARGIN).astype(np.float32) for grid in (self.u, self.v)]
        self.z = cv2.remap(heights, *at, cv2.INTER_LINEAR) - 30  # the neck's axis lies behind
        self.head = _soft(((self.u - 56) / 66) ** 2 + ((self.v - 52) / 88) ** 2)
        self.eyes = sum(_soft(((self.u - e[0]) / 14) ** 2 + ((self.v - e[1]) / 8) ** 2, 0.35) for e in TEMPLATE[:2])
        self.mouth = _soft(((self.u - 56) / 24) ** 2 + ((self.v - 94) / 16) ** 2)
        self.yaw, self.pitch = path(random, math.radians(random.uniform(0.5, 4))), path(random, math.radians(random.uniform(0.4, 3)))
        self.roll = path(random, math.radians(random.uniform(0.2, 2)))
        self.right, self.down = path(random, random.uniform(0.3, 3)), path(random, random.uniform(0.2, 2))
        self.nearer = path(random, random.uniform(0.002, 0.015))
        speaks = random.random() < 0.4
        self.opens = path(random, random.uniform(0.04, 0.16) if speaks else 0.01, 1.5, 5)
        self.blinks = np.cumsum(random.exponential(3.0, 8)) - random.uniform(0, 3)

    def _flow(self, t, u, v, z, head):
        """By how much what lies at (u, v) of the template has moved at t."""
        roll, nearer = self.roll(t), self.nearer(t)
        du = z * math.sin(self.yaw(t)) + self.right(t) - roll * (v - 110) + nearer * (u - 56)
        dv = -z * math.sin(self.pitch(t)) + self.down(t) + roll * (u - 56) + nearer * (v - 60)
        return du * head, dv * head

    def closed(self, t: float) -> float:
        """How far the lids are closed, 0 to 1: 0.25 s a blink."""
        return float(np.clip(1.6 - np.abs(t - self.blinks).min() / 0.08, 0, 1))

    def frame(self, t: float) -> np.ndarray:
        du, dv = self._flow(t, self.u, self.v, self.z, self.head)
        eye = TEMPLATE[0, 1]
        lid = eye + 11 + (self.v - eye) * 0.25  # the skin below an eye is nearer to a lid's than the brow above it
        dv = dv + self.closed(t) * self.eyes * (self.v - lid) + self.opens(t) * self.mouth * (self.v - 94)
        m = self.from_template
        x, y = self.x - (m[0, 0] * du + m[0, 1] * dv), self.y - (m[1, 0] * du + m[1, 1] * dv)
        return cv2.remap(self.photo.pixels, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def points(self, t: float) -> np.ndarray:
        """Where the five points are in the canvas."""
        u, v = TEMPLATE.T
        z = np.array([-5.0, -5.0, 45.0, 5.0, 5.0])
        flow = np.stack(self._flow(t, u, v, z, np.ones(5)), 1) @ self.from_template.T
        return _moved(self.framing, self.photo.points + flow)


def _soft(r2: np.ndarray, edge: float = 0.5) -> np.ndarray:
    """1 within an ellipse, falling to 0 beyond its edge."""
    return (1 / (1 + np.exp(((np.sqrt(r2) - 1) / (edge / 4)).clip(-30, 30)))).astype(np.float32)


def _moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


class Held:
    """A plane in somebody's hands, or one that stands: a homography of the canvas to itself for each moment."""

    def __init__(self, canvas, random, still: bool):
        self.middle, unit = np.array(canvas) / 2, canvas[0] / 128 * (0.15 if still else 1)
        self.shift = [path(random, random.uniform(0.2, 2.0) * unit) for _ in range(2)]
        self.angles = [path(random, math.radians(random.uniform(0.3, 4.0)) * (0.05 if still else 1)) for _ in range(3)]
        self.leans = random.normal(0, math.radians(6), 2)  # it never faces the camera exactly
        self.focal = 2.5 * canvas[0]

    def at(self, t: float) -> np.ndarray:
        yaw, pitch, roll = (angle(t) for angle in self.angles)
        yaw, pitch = yaw + self.leans[0], pitch + self.leans[1]
        turn = cv2.Rodrigues(np.array([pitch, yaw, 0.0]))[0] @ cv2.Rodrigues(np.array([0.0, 0.0, roll]))[0]
        plane = np.column_stack([turn[:, 0], turn[:, 1], [self.shift[0](t), self.shift[1](t), self.focal]])
        to_middle = np.array([[1, 0, -self.middle[0]], [0, 1, -self.middle[1]], [0, 0, 1.0]])
        camera = np.array([[self.focal, 0, self.middle[0]], [0, self.focal, self.middle[1]], [0, 0, 1]])
        return camera @ plane @ to_middle


class Print:
    """A photograph on paper: what ink and paper do to it is done once, and then it moves as a plane."""

    def __init__(self, photo, behind, framing, canvas, random):
        still = Living(photo, framing, canvas, random)
        moment = random.uniform(0, 3)
        ink = still.frame(moment).astype(np.float32)
        self.where = still.points(moment)
        ink = cv2.GaussianBlur(ink, (0, 0), random.uniform(0.3, 1.1))
        contrast, floor = random.uniform(0.6, 0.95), random.uniform(5, 45)
        ink = ink * contrast + floor + random.normal(0, 6, 3)
        if random.random() < 0.5:  # a raster of dots, seen as grain
            ink += random.uniform(1, 6) * cv2.resize(random.standard_normal((ink.shape[0] // 2, ink.shape[1] // 2, 1)).astype(np.float32), canvas)[..., None]
        self.ink, self.behind = ink.clip(0, 255).astype(np.uint8), behind
        self.held = Held(canvas, random, still=random.random() < 0.25)
        self.paper = _edges(canvas, random)

    def frame(self, t):
        return _in_front(self.ink, self.behind, self.held.at(t), self.paper)

    def points(self, t):
        return cv2.perspectiveTransform(self.where[None], self.held.at(t))[0]


class Replay:
    """A living face that a camera has filmed, on a screen before the door's camera."""

    def __init__(self, photo, behind, framing, canvas, random):
        self.film, self.behind, self.canvas = Living(photo, framing, canvas, random), behind, canvas
        self.first = Camera(random)
        self.held = Held(canvas, random, still=random.random() < 0.5)
        self.screen = _edges(canvas, random)
        self.rate = random.choice([24, 25, 30, 30, 60])
        self.tint = random.uniform(0.85, 1.1, 3).astype(np.float32) * random.uniform(0.8, 1.2)
        self.gamma, self.black = random.uniform(0.8, 1.25), random.uniform(0, 22)
        x, y = np.meshgrid(np.arange(canvas[0], dtype=np.float32), np.arange(canvas[1], dtype=np.float32))
        angle, period = random.uniform(0, math.pi), random.uniform(2.1, 9)
        raster = np.sin(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / period)
        self.raster = 1 + random.uniform(0, 0.05) * (random.random() < 0.7) * raster[..., None]
        self.rows, self.roll, self.band = y / canvas[1], random.uniform(-12, 12), random.uniform(0, 0.06) * (random.random() < 0.6)
        at, wide = random.uniform(0, 1, 2) * canvas, random.uniform(0.1, 0.5) * canvas[0]
        self.glare = random.uniform(0, 60) * (random.random() < 0.5) * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / wide**2)[..., None]

    def frame(self, t):
        shown = self.first.take(self.film.frame(math.floor(t * self.rate) / self.rate)).astype(np.float32)
        shown = 255 * (shown / 255) ** self.gamma * self.tint + self.black
        shown = shown * self.raster * (1 + self.band * np.sin(2 * math.pi * (self.rows + self.roll * t)))[..., None] + self.glare
        return _in_front(shown.clip(0, 255).astype(np.uint8), self.behind, self.held.at(t), self.screen)

    def points(self, t):
        return cv2.perspectiveTransform(self.film.points(t)[None], self.held.at(t))[0]


def _edges(canvas, random) -> np.ndarray:
    """Where paper or screen is, 0 or 1: of three in five all that is seen, else a rectangle about the face."""
    width, height = canvas
    made = np.zeros((height, width), np.uint8)
    if random.random() < 0.6:
        made[:] = 1
        return made
    left, right = (int(random.uniform(0.24, 0.45) * width) for _ in range(2))
    up, below = (int(random.uniform(0.32, 0.5) * height) for _ in range(2))
    made[max(0, height // 2 - up) : height // 2 + below, max(0, width // 2 - left) : width // 2 + right] = 1
    return made


def _in_front(shown, behind, homography, there) -> np.ndarray:
    size = shown.shape[1::-1]
    front = cv2.warpPerspective(shown, homography, size, borderMode=cv2.BORDER_REPLICATE)
    if there.all():
        return front
    inside = cv2.warpPerspective(there.astype(np.float32), homography, size)[..., None]
    return (front * inside + behind * (1 - inside)).astype(np.uint8)


class Camera:
    """What a cheap camera does to what is before it, the same throughout a clip."""

    def __init__(self, random):
        self.random = np.random.default_rng(random.integers(2**32))
        self.level, self.gain = random.uniform(55, 150), None  # it exposes for a mean level, once
        self.colour = random.uniform(0.9, 1.1, 3).astype(np.float32)
        self.blur, self.noise = random.uniform(0.2, 1.1), random.uniform(0.5, 5)
        self.quality = int(random.integers(60, 96))

    def take(self, scene: np.ndarray) -> np.ndarray:
        if self.gain is None:
            self.gain = min(MOST_GAIN, self.level / max(1.0, float(scene.mean())))
        made = cv2.GaussianBlur(scene, (0, 0), self.blur).astype(np.float32) * (self.gain * self.colour)
        made += self.random.standard_normal(made.shape, np.float32) * self.noise
        coded = cv2.imencode(".jpg", made.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
        return cv2.imdecode(coded, cv2.IMREAD_COLOR)


def scene(kind: str, photo: Photo, other: Photo, canvas: tuple[int, int], random):
    """What stands before the camera. The face's middle is at the canvas' and it is as large as its width asks for."""
    eyes = canvas[0] * random.uniform(0.09, 0.15) if canvas == VIDEO else random.uniform(30, 44)
    to = (TEMPLATE - TEMPLATE.mean(0)) * eyes / 35.24 + np.array(canvas) / 2
    framing = similarity(photo.points, to)
    if kind == "live":
        return Living(photo, framing, canvas, random)
    # Colours of another place, and nobody in them.
    behind = cv2.GaussianBlur(cv2.resize(other.pixels, canvas), (0, 0), 0.06 * canvas[0])
    return (Print if kind == "print" else Replay)(photo, behind, framing, canvas, random)


def aligned(frames: list[np.ndarray], points: np.ndarray) -> np.ndarray:
    """16 x 32 x 32 x 3 RGB bytes: all frames as one set of points aligns them."""
    scale = SIDE / FACE
    matrix = similarity(points, (TEMPLATE + 0.5) * scale - 0.5)
    # Four times as fine and then means of 4 x 4: a warp to few pixels alone would skip most of those it has.
    fine = np.vstack([matrix, [0, 0, 1]])
    fine = (np.diag([4, 4, 1]) @ fine + [[0, 0, 1.5], [0, 0, 1.5], [0, 0, 0]])[:2]
    made = [cv2.warpAffine(frame, fine, (4 * SIDE, 4 * SIDE), borderMode=cv2.BORDER_REPLICATE) for frame in frames]
    return np.stack([cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[..., ::-1] for one in made])


def clip(kind: str, photo: Photo, other: Photo, random) -> np.ndarray:
    there, camera = scene(kind, photo, other, (WINDOW, WINDOW), random), Camera(random)
    begin = random.uniform(0, 3)
    times = begin + np.arange(FRAMES) / HERTZ
    points = there.points(float(times[FRAMES // 2]))
    points = points + random.normal(0, POINTS_OFF * np.linalg.norm(points[1] - points[0]), points.shape)
    return aligned([camera.take(there.frame(float(t))) for t in times], points)


def write_y4m(path: Path, frames: list[np.ndarray]) -> None:
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420jpeg\n" % (*VIDEO, HERTZ))
        for frame in frames:
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())


def clips_of(frames: list[np.ndarray], detector: YuNet, refiner: Refiner, most: int) -> np.ndarray:
    """Up to `most` clips of a video, evenly over it, aligned by the points that the networks see in each one's middle frame."""
    starts = np.unique(np.linspace(0, len(frames) - FRAMES, most).astype(int)) if len(frames) >= FRAMES else []
    found = []
    for start in starts:
        middle = frames[start + FRAMES // 2]
        coarse = prominent(detector, middle, 320)
        if coarse is not None:
            found.append(aligned(frames[start : start + FRAMES], refiner.points(middle, coarse)))
    return np.stack(found) if found else np.zeros((0, FRAMES, SIDE, SIDE, 3), np.uint8)


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("out", type=Path, help="the clips")
    add("--photos", type=Path, help="folder of photos of people, with what is around them")
    add("--films", type=Path, nargs="*", default=[], metavar="KIND=FILE", help="cut recordings into clips instead")
    add("--part", choices=["train", "test"], default="train", help="nobody's photo is in both")
    add("--detector", type=Path, required=True, help="YuNet's ONNX file")
    add("--landmarks", type=Path, default=Path(__file__).parents[1] / "landmarks.onnx")
    add("--count", type=int, default=1600, help="clips, half of them of living faces; with --videos, videos of each kind")
    add("--most-photos", type=int, default=700)
    add("--videos", type=Path, help="write videos there, KIND-NUMBER.y4m, 33 MB each")
    add("--first", type=int, default=0, help="with --videos: the number of the first")
    add("--seed", type=int, default=1)
    args = parser.parse_args(given)
    cv2.setNumThreads(1)
    clips, live, recording, kinds = [], [], [], []

    def keep(made, kind, number):
        clips.extend(made)
        live.extend([int(kind == "live")] * len(made))
        recording.extend([number] * len(made))
        kinds.extend([kind] * len(made))

    if args.films:
        network, refiner = YuNet(args.detector), Refiner(args.landmarks)
        for number, named in enumerate(args.films):
            kind, _, file = str(named).partition("=")
            video, frames = cv2.VideoCapture(file), []
            while (read := video.read())[0]:
                frames.append(read[1])
            made = clips_of(frames, network, refiner, len(frames) // 4)
            if not len(made):
                print(f"{file}: no clip in its {len(frames)} frames; {FRAMES} with a face are needed", flush=True)
            keep(made, kind, number)
    else:
        every = np.random.default_rng(args.seed).permutation(np.array(pictures_under(args.photos)))
        tenth = len(every) // 10
        chosen = every[:tenth] if args.part == "test" else every[tenth : tenth + args.most_photos]
        photos = read_photos(list(chosen), args.detector, args.landmarks)
        print(f"{len(photos)} of {len(chosen)} photos will do", flush=True)
        if not photos:
            raise SystemExit(f"{args.photos}: more photos are needed, of faces that stand free and are 22 pixels between the eyes")
        if args.videos:
            args.videos.mkdir(parents=True, exist_ok=True)
            network, refiner = YuNet(args.detector), Refiner(args.landmarks)
            for number in tqdm(range(args.first, args.first + args.count), desc="videos", disable=None):
                for index, kind in enumerate(KINDS):
                    random = np.random.default_rng((args.seed, 2, number, index))
                    there, camera = scene(kind, photos[number % len(photos)], photos[(number + 7) % len(photos)], VIDEO, random), Camera(random)
                    frames = [camera.take(there.frame(i / HERTZ)) for i in range(round(SECONDS * HERTZ))]
                    write_y4m(args.videos / f"{kind}-{number:03}.y4m", frames)
                    keep(clips_of(frames, network, refiner, CLIPS_A_VIDEO), kind, number * len(KINDS) + index)
        else:
            for number in tqdm(range(args.count), desc="clips", disable=None):
                random = np.random.default_rng((args.seed, 1, number))
                kind = KINDS[0] if number % 2 == 0 else KINDS[1 + number // 2 % 2]
                a = int(random.integers(len(photos)))
                # Recordings share no photograph, not as what is behind an attack either: one that is left out is new in all it shows.
                tenth = photos[a % RECORDINGS :: RECORDINGS]
                keep([clip(kind, photos[a], tenth[random.integers(len(tenth))], random)], kind, a % RECORDINGS)
    if not clips:
        raise SystemExit("no clip at all: in none of the videos is a face seen for long enough")
    np.savez_compressed(args.out, clips=np.stack(clips), live=np.array(live), recording=np.array(recording), kinds=np.array(kinds))
    print(f"{args.out}: {len(clips)} clips, {sum(live)} of living faces")


if __name__ == "__main__":
    main()
