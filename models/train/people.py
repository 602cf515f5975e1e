"""The demo's people, whom nobody is: `python people.py draw MODEL.npz OUT`, and `python people.py check OUT …`.

`draw` makes the portraits of CAST from a face model (facemodel.py); they follow from the model's file and the seeds
alone. `check` encodes them as the daemon does and says whether the demo's story holds: everybody is known again and told
from everybody else, the look-alike is as near to one as to the other of two who are enrolled, and bad light is noticed.
With the face model's crops it also says whether somebody in them looks like one of the cast. `search` tries seeds.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from align import align
from consensus import YuNet, _session
from data import CROP, called_a_picture, opened
from evaluate_landmarks import Refiner, prominent
from facemodel import FaceModel
from nets import FACE
from portrait import HEIGHT, WIDTH, Look, Pose, portrait

SPREAD = 0.9  # people differ by so many times the deviations of the model's
MOOD = 0.22  # of how one person's pictures differ on the web: at a door nobody poses
TURN = 11.0  # degrees that somebody turns their head by at most
JPEG_QUALITY = 88
DETECTOR_SIDE = 320
DIM = 0.14  # of the light is left in the demo's bad light
DARK = 30.0  # mean grey level of a face below which the daemon refuses it
CANVAS = (480, 640)  # the demo's camera, whose height a portrait fills


@dataclass(frozen=True)
class Person:
    seed: int
    pictures: int
    look: Look


def _look(hair: str, length: float, parting: float, cloth: tuple[int, int, int]) -> Look:
    hairs = {"black": (28, 22, 20), "brown": (70, 44, 28), "fair": (128, 98, 66), "grey": (110, 106, 104)}
    return Look(hairs[hair], length, parting, cloth)


CAST = {
    "ada": Person(59, 3, _look("brown", 0.9, 0.6, (52, 66, 92))),
    "bela": Person(12, 2, _look("grey", 0.2, -0.4, (96, 52, 48))),
    "chidi": Person(3, 2, _look("black", 0.15, 0.0, (200, 196, 186))),
    "dora": Person(8, 2, _look("fair", 1.0, -0.7, (70, 88, 66))),
    "emil": Person(46, 2, _look("brown", 0.35, 0.3, (60, 60, 64))),
    "emma": Person(41, 2, _look("brown", 0.85, 0.3, (150, 120, 80))),
    "stranger": Person(22, 2, _look("black", 0.3, -0.2, (80, 84, 90))),
    "look-alike": Person(60, 2, _look("brown", 0.5, 0.3, (100, 60, 60))),
}
# Emma takes so much after Emil, and the look-alike stands so far on the way from him to her.
KINSHIP, BETWEEN = 0.45, 0.525


def coefficients(model: FaceModel, name: str, cast=CAST, between: float = BETWEEN) -> np.ndarray:
    own = lambda name: model.person(np.random.default_rng(cast[name].seed), SPREAD)  # noqa: E731
    if name == "emma":
        return KINSHIP * own("emil") + np.sqrt(1 - KINSHIP**2) * own("emma")
    if name == "look-alike":
        return (1 - between) * coefficients(model, "emil", cast) + between * coefficients(model, "emma", cast)
    return own(name)


def pictures_of(model: FaceModel, name: str, cast=CAST, between: float = BETWEEN) -> list[np.ndarray]:
    """HEIGHT x WIDTH x 3 bytes, RGB: the first as for a passport, the others on other days."""
    who, person, made = coefficients(model, name, cast, between), cast[name], []
    for number in range(person.pictures):
        random = np.random.default_rng((person.seed, number))
        pose = Pose.draw(random, TURN) if number else Pose()
        today = who + model.mood(random, MOOD) * (number > 0)
        made.append(portrait(model, today, person.look, pose, random))
    return made


class Daemon:
    """What the daemon makes of a picture: detector, landmark network twice, encoder."""

    def __init__(self, detector: Path, landmarks: Path, encoder: Path, normalise: str):
        self.detector, self.refiner, self.encoder = YuNet(detector), Refiner(landmarks), _session(encoder)
        self.mean, self.scale = (0.0, 1.0)
        if normalise == "imagenet":
            self.mean = np.array([123.675, 116.28, 103.53], np.float32)
            self.scale = np.array([58.395, 57.12, 57.375], np.float32)

    def face(self, picture: np.ndarray) -> np.ndarray | None:
        """The aligned face, 112 x 112 x 3, of a BGR picture."""
        coarse = prominent(self.detector, picture, DETECTOR_SIDE)
        return None if coarse is None else align(picture, self.refiner.points(picture, coarse))

    def encode(self, face: np.ndarray) -> np.ndarray:
        pixels = ((face[..., ::-1].astype(np.float32) - self.mean) / self.scale).transpose(2, 0, 1)[None]
        found = self.encoder.run(None, {self.encoder.get_inputs()[0].name: np.ascontiguousarray(pixels, np.float32)})[0][0]
        return found / np.linalg.norm(found)

    def encodings(self, picture: np.ndarray) -> np.ndarray | None:
        """Of a portrait as the demo's camera films it, standing there and stepping up."""
        found = []
        for zoom, shift in ((1.0, (0, 0)), (1.0, (3, 1)), (0.9, (-3, 0))):
            scale = CANVAS[0] / picture.shape[0] * zoom
            x, y = CANVAS[1] / 2 - scale * WIDTH / 2 + shift[0], CANVAS[0] / 2 - scale * HEIGHT / 2 + shift[1]
            face = self.face(cv2.warpAffine(picture, np.array([[scale, 0, x], [0, scale, y]]), CANVAS[::-1]))
            if face is None:
                return None
            found.append(self.encode(face))
        return np.stack(found)


def check(daemon: Daemon, folder: Path, threshold: float, margin: float) -> list[str]:
    """What doesn't hold. Every picture but a person's first is a visit; the first is what they are enrolled by."""
    complaints, visits, enrolled = [], {}, {}
    for name in CAST:
        for path in sorted(folder.glob(f"{name}-*.jpg")):
            picture = cv2.imread(str(path))
            seen, face = daemon.encodings(picture), daemon.face(picture)
            dim = daemon.face((picture * DIM).astype(np.uint8))
            if seen is None or face is None:
                complaints.append(f"no face was found in {path.name}")
                continue
            if dim is None:
                complaints.append(f"no face was found in {path.name} in bad light")
            elif cv2.cvtColor(dim, cv2.COLOR_BGR2GRAY)[36:104, 24:88].mean() >= DARK - 3:
                complaints.append(f"{path.name} isn't dark in bad light")
            visits[path.stem] = seen
            if path.stem.endswith("-1") and name not in ("stranger", "look-alike"):
                enrolled[name] = daemon.encode(face)
    names = list(enrolled)
    gallery = np.stack([enrolled[name] for name in names])
    for stem, seen in visits.items():
        complaints += _visit(stem, seen @ gallery.T, names, threshold, margin)
    return complaints


def _visit(stem: str, scores: np.ndarray, names: list[str], threshold: float, margin: float) -> list[str]:
    """`scores`: frames x people."""
    name, order = stem.rsplit("-", 1)[0], np.argsort(-scores.mean(0))
    ranking = ", ".join(f"{names[index]} {scores[:, index].min():.3f} to {scores[:, index].max():.3f}" for index in order[:3])
    print(f"{stem}: {ranking}")
    best, second = order[:2]
    lead = scores[:, best] - scores[:, second]
    if name == "stranger":
        holds = scores.max() < threshold - 0.08
    elif name == "look-alike":
        near = scores[:, [best, second]]
        holds = {names[best], names[second]} == {"emil", "emma"} and near.min() > threshold + 0.05
        holds = holds and abs(lead).max() < margin * 0.8
    elif stem.endswith("-1"):
        holds = names[best] == name
    else:
        holds = names[best] == name and scores[:, best].min() > threshold + 0.08 and lead.min() > margin + 0.05
    return [] if holds else [f"{stem} isn't seen as the story has it: {ranking}"]


def nearest(daemon: Daemon, folder: Path, crops: list[Path], count: int) -> list[str]:
    """What speaks against nobody being in the portraits: the model's pixels are means over crops of people, and one of the
    cast may be as near to one of them as strangers are to each other, but no nearer.

    Strangers are people with a folder of 4 to 50 crops each, and everybody else.
    """
    paths = sorted(path for place in crops for path in place.rglob("*") if called_a_picture(path))
    paths = [paths[index] for index in np.random.default_rng(0).permutation(len(paths))[: count or None]]
    margin = (CROP - FACE) // 2
    shown = opened(tqdm(paths, unit="crop", disable=None), len(paths))
    paths, encodings = zip(*((path, daemon.encode(crop[margin:-margin, margin:-margin])) for path, crop in shown))
    encodings = np.stack(encodings)
    folders = np.array([str(path.parent) for path in paths])
    highest = lambda encoding, others: float((encodings[others] @ encoding).max())  # noqa: E731
    places, sizes = np.unique(folders, return_counts=True)
    strangers = []
    for place in places[(sizes >= 4) & (sizes <= 50)]:
        strangers.append(highest(encodings[folders == place][0], folders != place))
    if not strangers:
        raise SystemExit("no folder holds 4 to 50 crops of one person: how near strangers come is not known")
    limit, complaints = float(np.quantile(strangers, 0.99)), []
    median = np.median(strangers)
    print(f"nearest of {len(paths)} crops to each of {len(strangers)} strangers: median {median:.3f}, 99 in 100 below {limit:.3f}")
    for name in CAST:
        path = folder / f"{name}-1.jpg"
        found = highest(daemon.encode(daemon.face(cv2.imread(str(path)))), np.full(len(paths), True))
        print(f"to {name}: {found:.3f}")
        complaints += [f"{name} is too near to somebody in the crops: {found:.3f}"] if found > limit else []
    return complaints


def search(model: FaceModel, daemon: Daemon, seeds: range, threshold: float) -> None:
    """For each seed, how well its person's second picture is known, and how near those before it are."""
    found = {}
    for seed in seeds:
        cast = {"x": Person(seed, 2, CAST["emil"].look)}
        first, second = (daemon.encodings(picture[..., ::-1].copy()) for picture in pictures_of(model, "x", cast))
        if first is None or second is None:
            print(f"{seed}: no face found")
            continue
        same = float((second @ first[0]).min())
        others = {other: float(first[0] @ encoding) for other, encoding in found.items()}
        close = [f"{other} {score:.2f}" for other, score in others.items() if score > threshold - 0.15]
        highest = max(others.values(), default=0)
        print(f"{seed}: itself {same:.3f}, highest other {highest:.3f}; near: {', '.join(close) or 'none'}", flush=True)
        found[seed] = first[0]


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("what", choices=["draw", "check", "search"])
    parser.add_argument("places", type=Path, nargs="+", help="draw: MODEL.npz OUT; check: OUT [CROPS …]; search: MODEL.npz")
    add = parser.add_argument
    add("--detector", type=Path, help="ONNX with YuNet's outputs")
    add("--landmarks", type=Path)
    add("--encoder", type=Path)
    add("--normalise", choices=["imagenet", "raw"], default="raw", help="what the encoder's input is")
    add("--threshold", type=float, default=0.45, help="similarity that the daemon asks for")
    add("--margin", type=float, default=0.05, help="lead over the runner-up that the daemon asks for")
    add("--count", type=int, default=3000, help="check: crops that are compared with, drawn at random; 0: all")
    add("--seeds", type=int, default=60, help="search: how many")
    args = parser.parse_args(given)
    cv2.setNumThreads(1)
    if args.what == "draw":
        model, out = FaceModel.load(args.places[0]), args.places[1]
        out.mkdir(parents=True, exist_ok=True)
        for name in CAST:
            for number, picture in enumerate(pictures_of(model, name), 1):
                cv2.imwrite(str(out / f"{name}-{number}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return
    daemon = Daemon(args.detector, args.landmarks, args.encoder, args.normalise)
    if args.what == "search":
        return search(FaceModel.load(args.places[0]), daemon, range(args.seeds), args.threshold)
    complaints = check(daemon, args.places[0], args.threshold, args.margin)
    if len(args.places) > 1:
        complaints += nearest(daemon, args.places[0], args.places[1:], args.count)
    print("\n".join(complaints) or "the story holds")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
