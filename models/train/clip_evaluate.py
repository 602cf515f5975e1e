"""Whether a network over clips is of use beside what liveness has: `python clip_evaluate.py --train … --test … --sessions … --work …`.

On the same simulated videos (clip_sim.py --videos), a score a video by each of

    3-D            clip.py's network, the mean of its clips' logits
    3-D, a still   the same network, trained and asked with each clip's middle frame sixteen times: what is left without time
    MiniFASNet     the two networks over single frames, as the session's channel `antispoof` has them
    1-D            liveness.onnx by the camera's channels alone; and with `antispoof`
    together       1-D with antispoof and the 3-D network: both scores, each over its deviation, added

and how well it tells the living from prints and from replays: the area under the curve (.5 is chance) with a 95 % interval by the
bootstrap over videos. With `--real` and `--real-sessions` also what becomes of real recordings: by a network that saw none,
and by one that learnt on with all of them but one.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import checkpoints
from clip import FRAMES, ClipNet, fit, read, say
from data import digest
from liveness_evaluate import Int8, rows_kept
from liveness_table import read_session
from liveness_windows import TICK, TICKS, has_face, has_frames, of_session
from running import keep_memory

HERE = Path(__file__).parent
EVERY = 0.2  # seconds from one window of the head to the next, as the daemon has it
DRAWS = 2000
LEARN_ON = 2  # epochs with real recordings among the simulated
REAL_WEIGHT = 4  # times that each real clip is shown in an epoch


def stills(clips: torch.Tensor) -> torch.Tensor:
    """Each clip's middle frame, as often as a clip has frames."""
    return clips[:, :, FRAMES // 2 : FRAMES // 2 + 1].expand_as(clips).contiguous()


def area(living: np.ndarray, attacks: np.ndarray) -> float:
    """The share of pairs in which the living scores higher; equal ones count half."""
    above = living[:, None] - attacks[None]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def told(living: np.ndarray, attacks: np.ndarray, seed: int = 1) -> str:
    random = np.random.default_rng(seed)
    again = [area(random.choice(living, len(living)), random.choice(attacks, len(attacks))) for _ in range(DRAWS)]
    low, high = np.percentile(again, [2.5, 97.5])
    return f"{area(living, attacks):.3f} ({low:.3f} to {high:.3f})"


def trained(args: argparse.Namespace, name: str, clips, live) -> ClipNet:
    """From WORK where it is, by what it was made of, else made and put there."""
    path = args.work / f"{name}-{digest(clips.numpy().tobytes(), live.numpy().tobytes(), args.epochs, args.seed)}.pt"
    if not path.exists():
        checkpoints.save_small(fit(clips, live, args.epochs, args.seed), len(clips), path)
    return checkpoints.fill(ClipNet(), checkpoints.load(path), path)


def windows_of(path: Path) -> np.ndarray:
    """N x 116 x 50, one each fifth of a second from the first full window on in which a face was seen as the daemon asks for;
    none of a session that is too short."""
    session = read_session(path)[0]
    if "face_size" not in session or not len(session["face_size"][0]):
        return np.zeros((0, 116, 50), np.float32)
    first, last = session["face_size"][0][[0, -1]]
    ends = np.arange(first + TICKS * TICK, last + 1e-6, EVERY)
    rows = of_session(session, ends)
    return rows[has_face(rows) & has_frames(session, ends)]


def of_sessions(paths: list[Path], head: Int8) -> dict[str, list]:
    """Each session's scores: NaN where there are none."""
    found = {"MiniFASNet": [], "1-D": [], "1-D with antispoof": []}
    for path in paths:
        rows, looks = windows_of(path), read_session(path)[0].get("antispoof", ([], []))[1]
        found["MiniFASNet"].append(looks)
        for name, sensors in (("1-D", ("camera",)), ("1-D with antispoof", ("camera", "antispoof"))):
            found[name].append(head(rows, rows_kept(sensors)) if len(rows) else np.zeros(0))
    return found


def means(scores: list) -> np.ndarray:
    return np.array([np.mean(one) if len(one) else np.nan for one in scores])


def simulated(args: argparse.Namespace, networks: dict[str, ClipNet], head: Int8) -> None:
    clips, _, recording = read(args.test)
    kinds = np.load(args.test)["kinds"]
    numbers = np.unique(recording.numpy())
    kind_of = np.array([kinds[recording.numpy() == number][0] for number in numbers])
    scores = {}
    for name, network in networks.items():
        said = say(network, stills(clips) if name.endswith("still") else clips).numpy()
        scores[name] = np.array([said[recording.numpy() == number].mean() for number in numbers])
    names = [f"{kind}-{number // 3:03}.csv" for kind, number in zip(kind_of, numbers)]
    scores |= {name: means(of) for name, of in of_sessions([args.sessions / name for name in names], head).items()}
    parts = [scores["1-D with antispoof"], scores["3-D"]]
    scores["1-D with antispoof, 3-D"] = sum(part / np.nanstd(part) for part in parts)
    for name, of in scores.items():
        known = np.isfinite(of)
        living = of[known & (kind_of == "live")]
        line = [f"{kind} {told(living, of[known & (kind_of == kind)])}" for kind in ("print", "replay")]
        print(f"{name:<24} {', '.join(line)}; {int(known.sum())} of {len(of)} videos", flush=True)


def real(args: argparse.Namespace, network: ClipNet, head: Int8, train) -> None:
    clips, live, recording = read(args.real)
    of_test, live_test, _ = read(args.test)
    for one in recording.unique():
        here = recording == one
        others = [(part.repeat(REAL_WEIGHT, *[1] * (part.ndim - 1))) for part in (clips[~here], live[~here])]
        both = torch.cat([train[0], others[0]]), torch.cat([train[1], others[1]])
        learnt_on = fit(*both, LEARN_ON, args.seed, rate=args.learn_on_rate, start=network)
        for name, by in (("none of them", network), ("all but it", learnt_on)):
            at = float(say(by, of_test)[live_test > 0].quantile(0.05))
            said = say(by, clips[here])
            taken = int((said >= at).sum())
            kind = "live" if live[here][0] else "replay"
            print(f"recording {int(one)}, {kind}, by a network that saw {name}: {taken} of {len(said)} clips taken for living, median "
                  f"{float(said.median()):.2f}, at {at:.2f}, which 1 in 20 simulated living clips falls short of", flush=True)  # fmt: skip
    for path in sorted(args.real_sessions.glob("*.csv")) if args.real_sessions else []:
        line = [f"{name} {np.median(of[0]):.2f}" for name, of in of_sessions([path], head).items() if len(of[0])]
        print(f"{path.stem}: medians {', '.join(line)}", flush=True)


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--train", type=Path, required=True, help="clip_sim.py's clips")
    add("--test", type=Path, required=True, help="and those of its videos")
    add("--sessions", type=Path, required=True, help="`facelatch liveness record` of each video, KIND-NUMBER.csv")
    add("--real", type=Path, help="clip_sim.py --films")
    add("--real-sessions", type=Path)
    add("--head", type=Path, default=HERE.parent / "liveness.onnx")
    add("--work", type=Path, required=True, help="folder for the networks")
    add("--epochs", type=int, default=10)
    add("--learn-on-rate", type=float, default=5e-4)
    add("--seed", type=int, default=1)
    add("--threads", type=int, default=1)
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    keep_memory()
    clips, live, _ = read(args.train)
    networks = {"3-D": trained(args, "clip", clips, live), "3-D, a still": trained(args, "clip-still", stills(clips), live)}
    head = Int8(args.head)
    simulated(args, networks, head)
    if args.real:
        real(args, networks["3-D"], head, (clips, live))


if __name__ == "__main__":
    main()
