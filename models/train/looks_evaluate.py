"""What a training is worth in another light: `python looks_evaluate.py arms CHECKPOINT … --lfw LFW --pairs pairs.txt --yaleb YALEB …`.

Each encoder is shown the same aligned faces: LFW's pictures of the pairs as they are, grey, and with an eighth of the light (as
tests/variants.py has them), and Yale B's under lamps from far aside. What is enrolled is always plain: LFW's other picture, Yale B's
with the lamp at the camera. A rate of true accepts is at the threshold that lets in so many strangers *in that light*, so that an
encoder which merely says less of everybody gains nothing.

Intervals are of 95 %, by the bootstrap over people (2.5th and 97.5th percentile of 1,000 draws), and so are those of differences: all
encoders are drawn with the same people. Comparisons that share a person are not independent, which pairs would take them for.

`enrol` asks something else of one encoder, ours or any ONNX file: whether somebody of whom there is one photograph is better
recognised with copies of it in other looks beside it.
"""

import argparse
import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch
from tqdm import tqdm

from align import align
from checkpoints import keep, load_small
from consensus import YuNet
from data import digest
from evaluate import accuracy, encode, read_pairs
from evaluate_landmarks import Refiner, prominent
from nets import FACE
from relight import MARGIN, heights, shading
from running import autocast

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from variants import changed, seed_of  # noqa: E402

HERE = Path(__file__).parent
# As docs/measurements.md has it: pictures of LFW that are filed under a wrong name.
WRONG = """Andrew_Caldecott_0001 Anja_Paerson_0001 Bart_Hendricks_0001 Bison_Dele_0001 Carlos_Beltran_0001 Carlos_Ruckauf_0001
Chyung_Dai-chul_0001 Claire_Hentzen_0001 Claire_Hentzen_0002 Cristina_Kirchner_0001 Emmy_Rossum_0001 Flor_Montulo_0001
Flor_Montulo_0002 Gabrielle_Rose_0001 Glenn_Rivers_0001 Hasan_Wirayuda_0001 Noer_Moeis_0001 Ray_Young_0001
Shinya_Taniguchi_0001 Talisa_Bratt_0001 Wang_Yingfan_0001 Wang_Yingfan_0002 Wang_Yingfan_0003 William_Pryor_Jr_0001""".split()
FAR_ASIDE = 50  # degrees between lamp and camera from which on Yale B's subsets 4 and 5 begin (Georghiades et al. 2001)
KEPT = 20  # times as many impostors as the rate lets in are kept, the highest, for the bootstrap's thresholds
DRAWS = 1000


@dataclass
class Faces:
    """Aligned faces, n x 112 x 112 x 3 RGB bytes, whose they are, and what they are called."""

    crops: np.ndarray
    person: np.ndarray
    names: list[str]


def lfw_names(args: argparse.Namespace) -> list[str]:
    """The pictures of the pairs; without pairs all there are. None of those with a wrong label."""
    if args.pairs:
        names = {name for first, second, _ in read_pairs(args.pairs)[0] for name in (first, second)}
    else:
        names = {f"{path.parent.name}/{path.name}" for path in args.lfw.glob("*/*.jpg")}
    return sorted(name for name in names if Path(name).stem not in WRONG)


def faces_of(names: list[str], root: Path, args: argparse.Namespace, kind: str, plain_of=lambda name: name) -> Faces:
    """Aligned by the points of the landmark network, made once. `plain_of` names the picture whose points a picture is aligned by:
    what is measured is the encoder, and not who finds a face in the dark."""
    made_by = digest(args.landmarks.read_bytes(), args.detector.read_bytes(), root.resolve(), *names)
    cache = args.work / f"{kind}-{made_by}.npy"
    if not cache.exists():
        detector, refiner, points, crops = YuNet(args.detector), Refiner(args.landmarks), {}, []
        for name in tqdm(names, desc=kind, unit="picture", disable=None):
            plain = plain_of(name)
            if plain not in points:
                picture = cv2.imread(str(root / plain))
                coarse = prominent(detector, picture, 320)
                points[plain] = None if coarse is None else refiner.points(picture, coarse)
            found = points[plain]
            crops.append(np.zeros((FACE, FACE, 3), np.uint8) if found is None else align(cv2.imread(str(root / name)), found))
        keep(cache, np.stack(crops)[..., ::-1])
    crops = np.load(cache)
    seen = crops.reshape(len(crops), -1).any(1)
    if not seen.all():
        print(f"no face found in {', '.join(name for name, there in zip(names, seen) if not there)}")
    names = [name for name, there in zip(names, seen) if there]
    _, person = np.unique([name.split("/")[0] for name in names], return_inverse=True)
    return Faces(crops[seen], person, names)


def in_light(faces: Faces, kind: str) -> np.ndarray:
    return np.stack([changed(crop, kind, seed_of(name)) for crop, name in zip(faces.crops, faces.names)])


def lamp_of(name: str) -> float:
    """Degrees between Yale B's lamp and the camera, which a picture's name tells; NaN for the picture without a lamp."""
    lamp = re.search(r"A([+-]\d+)E([+-]\d+)", name)
    if not lamp:
        return float("nan")
    azimuth, elevation = (np.radians(float(angle)) for angle in lamp.groups())
    return float(np.degrees(np.arccos(np.clip(np.cos(azimuth) * np.cos(elevation), -1, 1))))


def yale_b(args: argparse.Namespace) -> Faces:
    """Everybody's picture with the lamp at the camera, and those with lamps from far aside."""
    found = sorted(f"{path.parent.name}/{path.name}" for path in args.yaleb.glob("*/*.jpg"))
    plain = {name.split("/")[0]: name for name in found if "A+000E+00" in name}
    names = [name for name in found if name.split("/")[0] in plain and (lamp_of(name) >= FAR_ASIDE or name in plain.values())]
    return faces_of(names, args.yaleb, args, "yaleb", lambda name: plain[name.split("/")[0]])


class Comparisons:
    """Every enrolled face against every other that comes, as rates need it; all but the highest impostors forgotten."""

    def __init__(self, scores: np.ndarray, enrolled: np.ndarray, coming: np.ndarray, rate: float, same_picture=None):
        """`scores`: enrolled x coming; `enrolled` and `coming` say whose faces those are; `same_picture` is what not to count."""
        same = enrolled[:, None] == coming[None]
        counts = np.ones_like(same) if same_picture is None else ~same_picture
        self.rate, self.people = rate, 1 + max(enrolled.max(), coming.max())
        of_same = np.nonzero(same & counts)
        self.genuine, self.whose = scores[of_same], enrolled[of_same[0]]
        self.strangers = int((~same).sum())
        self.enrolled, self.coming = (np.bincount(of, minlength=self.people) for of in (enrolled, coming))
        impostors = np.where(same, -np.inf, scores).ravel()
        kept = min(len(impostors) - int(same.sum()), int(KEPT * rate * len(impostors)) + 1)
        top = np.argpartition(impostors, len(impostors) - kept)[-kept:]
        top = top[np.argsort(-impostors[top], kind="stable")]
        self.impostors, (a, b) = impostors[top], np.unravel_index(top, scores.shape)
        self.a, self.b = enrolled[a], coming[b]

    def rate_of_accepts(self, drawn: np.ndarray) -> float:
        """With person p counted `drawn[p]` times."""
        d = drawn.astype(float)
        total = (d @ self.enrolled) * (d @ self.coming) - (d * d) @ (self.enrolled * self.coming)
        let_in = np.cumsum(d[self.a] * d[self.b]) > self.rate * total
        if not let_in[-1]:
            raise SystemExit("too few impostors were kept")
        threshold = self.impostors[np.argmax(let_in)]
        weight = d[self.whose]
        return float(weight @ (self.genuine > threshold) / weight.sum())


def draws(people: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([np.bincount(random.integers(people, size=people), minlength=people) for _ in range(DRAWS)])


def interval(of: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(of, [2.5, 97.5])
    return float(low), float(high)


def of_people(values: np.ndarray, whose: np.ndarray) -> np.ndarray:
    """The mean of `values`, again and again with other people drawn."""
    people = whose.max() + 1
    drawn = draws(people).astype(float)
    return drawn @ np.bincount(whose, values, people) / (drawn @ np.bincount(whose, minlength=people))


def table(found: dict[str, dict[str, Comparisons]]) -> None:
    """`found`: light → name of an encoder → its comparisons; the first is what others are compared with."""
    for light, of in found.items():
        people = next(iter(of.values())).people
        every, drawn = np.ones(people), draws(people)
        rates = {name: c.rate_of_accepts(every) for name, c in of.items()}
        again = {name: np.array([c.rate_of_accepts(d) for d in drawn]) for name, c in of.items()}
        first = next(iter(of))
        for name, rate in rates.items():
            low, high = interval(again[name])
            line = f"{light:>6} {name:<28} {rate:.4f} ({low:.4f} to {high:.4f})"
            if name != first:
                low, high = interval(again[name] - again[first])
                line += f"   {rate - rates[first]:+.4f} ({low:+.4f} to {high:+.4f})"
            print(line, flush=True)


def encodings(name: Path, crops: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """Of a checkpoint or an ONNX file that takes RGB from 0 to 255; made once for these crops."""
    key = hashlib.sha256(name.read_bytes() + crops.tobytes()).hexdigest()[:16]
    cache = args.work / f"encodings-{key}.npy"
    if not cache.exists():
        if name.suffix == ".onnx":
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = args.threads
            session = onnxruntime.InferenceSession(str(name), options, providers=["CPUExecutionProvider"])
            pixels = crops.transpose(0, 3, 1, 2).astype(np.float32)
            made = np.concatenate([session.run(None, {session.get_inputs()[0].name: one[None]})[0] for one in tqdm(pixels, disable=None)])
            made /= np.linalg.norm(made, axis=1, keepdims=True)
        else:
            with autocast(args.precision, torch.device("cpu"))():
                made = encode(load_small(name)[0].to(memory_format=torch.channels_last), crops)
        keep(cache, made)
    return np.load(cache)


def lights_of(lfw: Faces, yale: Faces | None, args: argparse.Namespace) -> dict[str, Faces]:
    """What comes to the door. LFW's seed of noise is a picture's name, so every encoder sees the same noise."""
    found = {"plain": lfw} | {kind: Faces(in_light(lfw, kind), lfw.person, lfw.names) for kind in ("grey", "dark")}
    return found | ({"yale-b": yale} if yale else {})


def arms(args: argparse.Namespace) -> None:
    """The encoders beside each other; differences are to the first."""
    lfw = faces_of(lfw_names(args), args.lfw, args, "lfw")
    yale = yale_b(args)
    same_picture = np.eye(len(lfw.names), dtype=bool)
    far = np.array([lamp_of(name) >= FAR_ASIDE for name in yale.names])
    pairs, folds = read_pairs(args.pairs)
    place = {name: index for index, name in enumerate(lfw.names)}
    # A pair with a wrong label counts as told rightly, by every encoder alike: folds stay as long as they are.
    told = [(place[a], place[b], same) if a in place and b in place else None for a, b, same in pairs]
    found: dict[str, dict[str, Comparisons]] = {}
    for checkpoint in args.checkpoints:
        plain = encodings(checkpoint, lfw.crops, args)
        for light, faces in lights_of(lfw, yale, args).items():
            coming = encodings(checkpoint, faces.crops, args)
            if light == "yale-b":
                made = Comparisons(coming[~far] @ coming[far].T, faces.person[~far], faces.person[far], args.yaleb_rate)
            else:
                scores = plain @ coming.T
                made = Comparisons(scores, lfw.person, lfw.person, args.rate, same_picture)
                alike = np.array([[scores[pair[0], pair[1]], pair[2]] if pair else [0, False] for pair in told])
                mean, deviation = accuracy(alike[:, 0], alike[:, 1].astype(bool), folds)
                print(f"{light:>6} {checkpoint.stem:<28} accuracy on the pairs {mean:.4f} ± {deviation:.4f}", flush=True)
            found.setdefault(light, {})[checkpoint.stem] = made
    print(f"true accepts at a false match rate of {args.rate:g}, Yale B's of {args.yaleb_rate:g}; difference to {args.checkpoints[0].stem}")
    table(found)


def looks_of(crop: np.ndarray) -> dict[str, np.ndarray]:
    """What may be enrolled beside a photograph: simple enough to be made on a board. 112 x 112 x 3 bytes each."""
    x = crop.astype(np.float32)
    across = np.linspace(1, 0.1, FACE, dtype=np.float32)[None, :, None]
    grey = np.repeat((x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, 2)
    found = {"plain": x, "grey": grey, "dark": x / 8, "left": x * across, "right": x * across[:, ::-1]}
    # Light on a face rather than on a picture: a height map, Lambert's law and cast shadows (relight.py).
    for name, azimuth in (("lamp-left", -70), ("lamp-right", 70)):
        shade = LAMPS_ASIDE.setdefault(azimuth, shading(heights(), azimuth, 10)[MARGIN:-MARGIN, MARGIN:-MARGIN, None])
        found[name] = np.sqrt((x / 255) ** 2 * (shade + 0.02)) * 255
    return {name: np.clip(of + 0.5, 0, 255).astype(np.uint8) for name, of in found.items()}


LAMPS_ASIDE: dict[int, np.ndarray] = {}
SETS = {
    "the photograph alone": ("plain",),
    "and grey": ("plain", "grey"),
    "and dark": ("plain", "dark"),
    "and lit from both sides": ("plain", "left", "right"),
    "and a lamp from both sides": ("plain", "lamp-left", "lamp-right"),
    "and grey, dark, both sides": ("plain", "grey", "dark", "left", "right"),
    "and grey, dark, both lamps": ("plain", "grey", "dark", "lamp-left", "lamp-right"),
}


def threshold_of(path: Path, rate: float) -> float:
    """The similarity that a table of models/calibration asks for a rate: the first whose upper bound is not above it."""
    rows = re.findall(r"^\s*\[([-\d.e, ]+)\]", path.read_text(), re.M)
    for row in rows:
        similarity, _, bound, *_ = (float(field) for field in row.split(","))
        if bound <= rate:
            return similarity
    return float("nan")


def enrol(args: argparse.Namespace) -> None:
    """One photograph a person, with its looks or without; a person's score is the highest of the templates', as in the gallery."""
    (encoder,) = args.checkpoints
    lfw, yale = faces_of(lfw_names(args), args.lfw, args, "lfw"), yale_b(args)
    for light, faces in lights_of(lfw, yale, args).items():
        if light == "yale-b":
            first = np.array([lamp_of(name) < FAR_ASIDE for name in faces.names])
            coming, rate, shown = ~first, args.yaleb_rate, faces
        else:
            counts = np.bincount(lfw.person)
            first = np.zeros(len(lfw.person), bool)
            first[np.unique(lfw.person, return_index=True)[1]] = True
            several = counts[lfw.person] > 1
            first, coming, rate, shown = first & several, ~first & several, args.rate, lfw
        # People without a second picture are nobody's: numbers of those that remain.
        _, person = np.unique(faces.person[first | coming], return_inverse=True)
        whose = np.zeros(len(faces.person), int)
        whose[first | coming] = person
        looks = [looks_of(crop) for crop in shown.crops[first]]
        templates = {name: encodings(encoder, np.stack([of[name] for of in looks]), args) for name in looks[0]}
        seen = encodings(encoder, faces.crops[coming], args)
        found, at_the_door = {}, {}
        print(f"{light}: similarity that the door asks for, recognised, difference, strangers taken for one of {args.gallery} people")
        for name, kinds in SETS.items():
            scores = np.stack([templates[kind] @ seen.T for kind in kinds]).max(0)
            found[name] = Comparisons(scores, whose[first], whose[coming], rate)
            wanted = threshold_of(args.table, args.target / (args.gallery * len(kinds)))
            at_the_door[name] = found[name].genuine >= wanted
            false = (np.where(whose[first][:, None] == whose[coming][None], -1, scores) >= wanted).sum() / found[name].strangers
            line = f"{light:>6} {name:<28} {wanted:.4f} {at_the_door[name].mean():.4f}"
            if name != "the photograph alone":
                gained = at_the_door[name].astype(float) - at_the_door["the photograph alone"]
                low, high = interval(of_people(gained, found[name].whose))
                line += f" {gained.mean():+.4f} ({low:+.4f} to {high:+.4f})"
            print(f"{line}; {false * args.gallery:.1e}", flush=True)
        mean = sum(templates[kind] for kind in SETS["and grey, dark, both lamps"])
        mean = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        found["the mean of all of them"] = Comparisons(mean @ seen.T, whose[first], whose[coming], rate)
        table({light: found})


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("what", choices=["arms", "enrol"])
    add("checkpoints", type=Path, nargs="+", help="of encoders; for enrol one, or an ONNX file")
    add("--lfw", type=Path, required=True)
    add("--pairs", type=Path, required=True, help="LFW's pairs.txt: whose pictures are used")
    add("--yaleb", type=Path, required=True)
    add("--detector", type=Path, required=True, help="YuNet's ONNX file")
    add("--landmarks", type=Path, default=HERE.parent / "landmarks.onnx")
    add("--work", type=Path, required=True, help="folder for the crops and the encodings")
    add("--rate", type=float, default=1e-3, help="false match rate on LFW")
    add("--yaleb-rate", type=float, default=1e-2, help="and on Yale B, which has 19 people")
    add("--table", type=Path, default=HERE.parent / "calibration/encoder.toml", help="enrol: similarity to false match rate")
    add("--target", type=float, default=1e-4, help="enrol: gate.target_fmr")
    add("--gallery", type=int, default=20, help="enrol: people enrolled at the door")
    add("--precision", choices=["auto", "bf16", "float"], default="auto", help="of checkpoints")
    add("--threads", type=int, default=1)
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    {"arms": arms, "enrol": enrol}[args.what](args)


if __name__ == "__main__":
    main()
