"""Accuracy on LFW's pairs: `python evaluate.py --pairs pairs.txt --images LFW --detector YUNET.onnx --work DIR`.

The protocol is LFW's (Huang et al. 2007): the threshold for each fold is the one that does best on the others. The
encoders, our own and teachers, see the same crops, which are made once and kept in the work folder.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from align import Detector, align
from checkpoints import keep, load_small
from consensus import YuNet
from data import digest
from evaluate_landmarks import Refiner, prominent
from teacher import OnnxTeacher

HERE = Path(__file__).parent


def read_pairs(path: Path) -> tuple[list[tuple[str, str, bool]], int]:
    """Pairs (picture, picture, same person) in the order of their folds, and the number of folds."""
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    folds, half = (int(field) for field in (lines[0] if len(lines[0]) == 2 else ["10", lines[0][0]]))
    pairs = []
    for fields in lines[1:]:
        if len(fields) == 3:
            pairs.append((_picture(fields[0], fields[1]), _picture(fields[0], fields[2]), True))
        else:
            pairs.append((_picture(fields[0], fields[1]), _picture(fields[2], fields[3]), False))
    if len(pairs) != folds * half * 2:
        raise SystemExit(f"{path} announces {folds} folds of {half} + {half} pairs and has {len(pairs)}")
    return pairs, folds


def _picture(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04}.jpg"


def aligned(names: list[str], images: Path, work: Path, kind: str, landmarks) -> np.ndarray:
    """N x 112 x 112 x 3 RGB bytes, kept in `work` by their `kind`, folder and names; `landmarks` gives a BGR picture's points. A
    picture in which no face is found gives its middle, as LFW's are centred."""
    cache = work / f"lfw-{len(names)}-{kind}-{digest(images.resolve(), *names)}.npy"
    if cache.exists():
        return np.load(cache)
    crops = []
    for name in tqdm(names, unit="picture", disable=None):
        picture = cv2.imread(str(images / name))
        points = landmarks(picture)
        if points is None:
            print(f"no face found in {name}")
        crops.append(picture[69:181, 69:181] if points is None else align(picture, points))
    crops = np.stack(crops)[..., ::-1].copy()
    keep(cache, crops)
    return crops


def landmarker(args: argparse.Namespace) -> tuple[str, object]:
    """What crops are called that are aligned so, and what finds a picture's points."""
    kind = digest(*(path.read_bytes() for path in (args.detector, args.landmarks) if path))
    if not args.landmarks:
        detector = Detector(args.detector)
        return (f"consensus-{kind}", detector.consensus) if args.consensus else (f"single-{kind}", detector.landmarks)
    detector, refiner = YuNet(args.detector), Refiner(args.landmarks)

    def points(picture):
        coarse = prominent(detector, picture, 320)
        return None if coarse is None else refiner.points(picture, coarse)

    return f"landmarks-{kind}", points


@torch.no_grad()
def encode(network, crops: np.ndarray, batch: int = 64) -> np.ndarray:
    """Unit-length encodings: one of each crop as it is, with no mirror image added, since that is what the daemon does."""
    encodings = []
    for some in torch.from_numpy(crops).split(batch):
        pixels = some.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
        found = network(pixels)
        encodings.append((found[1] if isinstance(found, tuple) else found).float())
    encodings = torch.cat(encodings)
    return torch.nn.functional.normalize(encodings).numpy()


def accuracy(scores: np.ndarray, same: np.ndarray, folds: int) -> tuple[float, float]:
    """Mean over folds and its standard deviation between folds, over their number less one, as `facelatch eval` has it."""
    fold = np.repeat(np.arange(folds), len(scores) // folds)
    results = []
    for held in range(folds):
        threshold = best_threshold(scores[fold != held], same[fold != held])
        results.append(((scores >= threshold) == same)[fold == held].mean())
    return float(np.mean(results)), float(np.std(results, ddof=1))


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The middle between the two neighbouring scores that part same from different with the fewest errors."""
    order = np.argsort(scores)
    scores, same = scores[order], same[order]
    errors = np.cumsum(same) + (~same).sum() - np.cumsum(~same)  # accepting what lies above each score
    best = int(np.argmin(errors[:-1]))
    return (scores[best] + scores[best + 1]) / 2


def true_accepts(scores: np.ndarray, same: np.ndarray, share: float) -> float | None:
    """Share of the same accepted where `share` of the different are; none where those are too few to tell (rule of 3)."""
    different = np.sort(scores[~same])[::-1]
    allowed = int(share * len(different))
    return float((scores[same] > different[allowed]).mean()) if share * len(different) >= 3 else None


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--pairs", type=Path, required=True)
    add("--images", type=Path, required=True)
    add("--detector", type=Path, required=True, help="YuNet's ONNX file")
    add("--work", type=Path, required=True, help="folder for the crops")
    add("--checkpoint", type=Path, default=HERE / "checkpoints" / "encoder.pt")
    add("--teacher", type=Path, help="ONNX of a teacher to compare with")
    add("--normalise", choices=["imagenet", "raw"], default="imagenet")
    add("--consensus", action="store_true", help="landmarks by the median over sizes and mirror images: slow, better")
    add("--landmarks", type=Path, help="landmarks.onnx, from the detector's points at 320 pixels: as the daemon does it")
    add("--threads", type=int, default=1)
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    pairs, folds = read_pairs(args.pairs)
    names = sorted({name for first, second, _ in pairs for name in (first, second)})
    crops = aligned(names, args.images, args.work, *landmarker(args))
    place = {name: index for index, name in enumerate(names)}
    first, second = (np.array([place[pair[side]] for pair in pairs]) for side in (0, 1))
    same = np.array([pair[2] for pair in pairs])
    student, pictures = load_small(args.checkpoint)
    networks = {f"{args.checkpoint.name} after {pictures} pictures": student}
    if args.teacher:
        networks[args.teacher.name] = OnnxTeacher(args.teacher, args.normalise)
    encodings = {}
    for name, network in networks.items():
        encodings[name] = encode(network.to(memory_format=torch.channels_last), crops)
        scores = (encodings[name][first] * encodings[name][second]).sum(1)
        mean, deviation = accuracy(scores, same, folds)
        tar = true_accepts(scores, same, 1e-2)
        print(f"{name}: accuracy {mean:.4f} ± {deviation:.4f}, TAR at FMR 1e-2 {'-' if tar is None else f'{tar:.4f}'}")
    if args.teacher:
        student, teacher = encodings.values()
        print(f"mean cosine of the two: {(student * teacher).sum(1).mean():.4f}")


if __name__ == "__main__":
    main()
