"""The pair head: `python pair_head.py encoder.onnx pair-head.toml --people FOLDER`, a folder with a folder a person.

For unit-length encodings a and b it says how likely they are one person's: ŷ = σ(Σ w_k·|a_k - b_k| + b), with σ the
logistic function. That's a logistic regression on what the last layer of Taigman et al. 2014, "DeepFace", weighs. It
is fitted by Newton's method to pairs of the same person, to random pairs of two people, and to each picture's nearest
strangers: these are what a threshold gets wrong. Encodings come from the very file that is deployed, int8 and all, and
the head names that file by its SHA-256, or by `--digest`.

How strongly the weights are held together is chosen on people who are kept back. With `--pairs` it is compared with the
plain threshold on LFW. All of it takes minutes; nothing is saved between.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import onnx
import torch
from tqdm import tqdm

from data import augment, middle, share
from evaluate import accuracy, aligned, landmarker, read_pairs
from onnx_graph import Runner
from triplets import People, drawn_pairs

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)  # weights of |w - mean(w)|² beside the mean loss of a pair
TOO_FEW = "too few people: two to learn from and two kept back are the least; more with several pictures each, or a larger --held-out"
HEADER = """\
# The pair head: how likely two encodings a and b, each of unit length, are one person's:
# 1 / (1 + exp(-(sum of weights[k] * |a[k] - b[k]| + bias))). Fitted by models/train/pair_head.py.
"""


def arguments(given=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("encoder", type=Path, help="ONNX file that is deployed")
    add("out", type=Path)
    add("--people", type=Path, nargs="+", required=True, help="folders of aligned 128x128 crops, in each a folder a person")
    add("--identities", type=Path, help="lines `picture person`, for pictures in no person's folder, but in one of --people itself; "
        "1.jpg.png is 1.jpg or 1")  # fmt: skip
    add("--variants", type=int, default=1, help="encodings of each picture: the first plain, others augmented")
    add("--strangers", type=int, default=8, help="nearest other people's pictures, for each picture, to learn from")
    add("--most", type=int, default=60_000, help="pairs of each kind")
    add("--held-out", type=share, default=0.1, help="share of the people who are kept back to choose the ridge on")
    add("--seed", type=int, default=1)
    add("--digest", help="what `facelatch models list --json` says of an encoder of your own, whose .toml counts, too")
    add("--pairs", type=Path, help="LFW's pairs.txt, to compare with the threshold on")
    add("--images", type=Path)
    add("--detector", type=Path, help="YuNet's ONNX file")
    add("--landmarks", type=Path, help="landmarks.onnx, from the detector's points at 320 pixels: as the daemon does it")
    add("--consensus", action="store_true", help="landmarks by the median over sizes and mirror images: slow, better")
    add("--work", type=Path, help="folder for LFW's crops")
    args = parser.parse_args(given)
    if args.pairs and not (args.images and args.detector and args.work):  # before minutes of encoding and fitting
        parser.error("--pairs needs --images, --detector and --work")
    return args


def encode(runner: Runner, pixels: np.ndarray) -> np.ndarray:
    """N x 3 x 112 x 112 → N x 128 of unit length."""
    raw = np.stack([next(iter(runner(picture).values()))[0] for picture in pixels])
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def encode_people(runner: Runner, people: People, variants: int, seed: int) -> np.ndarray:
    """variants x pictures x 128."""
    made = np.empty((variants, len(people.crops), 128), np.float32)
    for start in tqdm(range(0, len(people.crops), 64), "encoding", unit="64 pictures", disable=None):
        crops = torch.from_numpy(people.crops[start : start + 64])
        for variant in range(variants):
            generator = torch.Generator().manual_seed((seed * 1009 + variant) * 1_000_003 + start)
            pixels = augment(crops, generator, mix=False) if variant else middle(crops)
            made[variant, start : start + len(crops)] = encode(runner, pixels.round().numpy())
    return made


def training_pairs(encodings: np.ndarray, person: np.ndarray, args) -> tuple[np.ndarray, np.ndarray]:
    """|a - b| of pairs, one a row, and whether each is of the same person. A pair's two variants are drawn at random."""
    random, count = np.random.default_rng(args.seed), len(person)
    ours = drawn_pairs(person, True, args.most, random)
    hard, strangers = [], min(args.strangers, count - 1)
    for start in range(0, count, 1000):
        near = encodings[0, start : start + 1000] @ encodings[0].T
        near[person[start : start + 1000, None] == person[None]] = -2
        places = np.argpartition(-near, strangers, axis=1)[:, :strangers]
        hard.append(np.stack([np.repeat(np.arange(start, start + len(near)), strangers), places.ravel()]))
    hard = np.concatenate(hard, axis=1)
    hard = hard[:, random.permutation(hard.shape[1])[: args.most]]
    easy = random.integers(0, count, (2, hard.shape[1]))
    theirs = np.concatenate([hard, easy], axis=1)
    theirs = theirs[:, person[theirs[0]] != person[theirs[1]]]
    pairs = np.concatenate([ours, theirs], axis=1)
    variants = random.integers(0, len(encodings), pairs.shape)
    apart = np.abs(encodings[variants[0], pairs[0]] - encodings[variants[1], pairs[1]])
    return apart, np.arange(pairs.shape[1]) < ours.shape[1]


def fit(apart: np.ndarray, same: np.ndarray, ridge: float, rounds: int = 25) -> np.ndarray:
    """The weights and, last, the bias. Same and different count alike, however many there are of each."""
    dimensions = apart.shape[1]
    share = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    together = np.eye(dimensions + 1) * ridge  # of |w - mean(w)|²: what all weights have in common is free
    together[:-1, :-1] -= ridge / dimensions
    together[-1, -1] = 1e-9
    rows = np.concatenate([apart, np.ones((len(apart), 1), np.float32)], axis=1).astype(np.float32)
    found = np.zeros(dimensions + 1)
    for _ in range(rounds):
        likely = _sigmoid(rows @ found)
        slope = rows.T @ (share * (likely - same)).astype(np.float32) + together @ found
        curve = (rows * (share * likely * (1 - likely))[:, None].astype(np.float32)).T @ rows + together
        step = np.linalg.solve(curve + 1e-9 * np.eye(len(curve)), slope)
        found -= step * min(1.0, 10 / np.abs(step).max())  # far from the end Newton's steps overshoot
        if np.abs(step).max() < 1e-4:
            break
    return found


def _sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


def loss(found: np.ndarray, apart: np.ndarray, same: np.ndarray) -> float:
    """Mean of the two kinds' mean negative log likelihoods, in nats."""
    likely = _sigmoid(apart @ found[:-1] + found[-1]).clip(1e-12, 1 - 1e-12)
    return float(-(np.log(likely[same]).mean() + np.log(1 - likely[~same]).mean()) / 2)


def write(found: np.ndarray, args) -> None:
    digest = args.digest or hashlib.sha256(args.encoder.read_bytes()).hexdigest()
    rows = [", ".join(f"{w:.5f}" for w in found[start : min(start + 8, len(found) - 1)]) for start in range(0, len(found) - 1, 8)]
    weights = "".join(f"  {row},\n" for row in rows)
    text = f'{HEADER}model = "{digest}" # the encoder\'s SHA-256\nbias = {found[-1]:.5f}\nweights = [\n{weights}]\n'
    args.out.write_text(text)


def compare(found: np.ndarray, runner: Runner, args) -> None:
    """The head and the threshold on LFW: accuracy on the pairs, and true accepts over all pairs of those pictures."""
    pairs, folds = read_pairs(args.pairs)
    names = sorted({name for first, second, _ in pairs for name in (first, second)})
    crops = aligned(names, args.images, args.work, *landmarker(args))
    encodings = encode(runner, crops.transpose(0, 3, 1, 2))
    place = {name: index for index, name in enumerate(names)}
    first, second = (np.array([place[pair[side]] for pair in pairs]) for side in (0, 1))
    same = np.array([pair[2] for pair in pairs])
    _, person = np.unique([name.split("/")[0] for name in names], return_inverse=True)
    scores = {
        "threshold": lambda a, b: a @ b.T,
        "pair head": lambda a, b: np.stack([np.abs(row - b) @ found[:-1] for row in a]) + found[-1],
    }
    for name, score in scores.items():
        matched = np.array([score(encodings[i : i + 1], encodings[j : j + 1])[0, 0] for i, j in zip(first, second)])
        mean, deviation = accuracy(matched, same, folds)
        rates = ", ".join(true_accepts(score, encodings, person, args.seed))
        print(f"{name}: accuracy {mean:.4f} ± {deviation:.4f}, {rates}")


def true_accepts(score, encodings: np.ndarray, person: np.ndarray, seed: int, shares=(1e-3, 1e-4)) -> list[str]:
    """Over all pairs of pictures, with the 95 % interval of drawing the people anew (200 times)."""
    genuine, owners, impostors = [], [], []
    for start in range(0, len(person), 200):
        some = slice(start, min(start + 200, len(person)))
        scores = score(encodings[some], encodings)
        later = np.arange(len(person))[None] > np.arange(some.start, some.stop)[:, None]
        same = person[some, None] == person[None]
        genuine.append(scores[same & later])
        owners.append(np.broadcast_to(person[some, None], scores.shape)[same & later])
        impostors.append(scores[~same & later].astype(np.float32))
    genuine, owners = np.concatenate(genuine), np.concatenate(owners)
    impostors = np.sort(np.concatenate(impostors))[::-1]
    random, told = np.random.default_rng(seed), []
    for share in shares:
        accepted = (genuine > impostors[int(share * len(impostors))]).astype(float)
        right, total = (np.bincount(owners, weights, len(person)) for weights in (accepted, np.ones(len(accepted))))
        drawn = random.integers(0, person.max() + 1, (200, person.max() + 1))
        low, high = np.percentile(right[drawn].sum(1) / total[drawn].sum(1), (2.5, 97.5))
        told.append(f"TAR at FMR {share:g} {accepted.mean():.4f} ({low:.4f} to {high:.4f})")
    return told


def main(given=None) -> None:
    args = arguments(given)
    torch.set_num_threads(1)
    runner, people = Runner(onnx.load(str(args.encoder))), People(args)
    sides = (people.training, people.held)
    if any(len(np.unique(people.person[chosen])) < 2 for chosen in sides):  # before the encoding, which takes minutes
        raise SystemExit(TOO_FEW)
    encodings = encode_people(runner, people, args.variants, args.seed)
    train, held = (training_pairs(encodings[:, chosen], people.person[chosen], args) for chosen in sides)
    if not all(pairs[1].any() and (~pairs[1]).any() for pairs in (train, held)):
        raise SystemExit(TOO_FEW)
    print(f"{train[1].sum()} pairs of one person, {(~train[1]).sum()} of two; kept back {held[1].sum()} and {(~held[1]).sum()}")
    fits = {ridge: fit(*train, ridge) for ridge in RIDGES}
    losses = {ridge: loss(found, *held) for ridge, found in fits.items()}
    for ridge, value in losses.items():
        print(f"ridge {ridge:g}: loss {loss(fits[ridge], *train):.4f}, of people kept back {value:.4f}")
    best = min(losses, key=losses.get)
    found = fits[best]
    write(found, args)
    weights = found[:-1]
    print(f"{args.out}: ridge {best:g}, weights {weights.min():.2f} to {weights.max():.2f}, bias {found[-1]:.2f}")
    if args.pairs:
        compare(found, runner, args)


if __name__ == "__main__":
    main()
