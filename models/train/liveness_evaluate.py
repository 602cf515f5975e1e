"""What the head lets through, on simulated windows that no training saw: `python liveness_evaluate.py --work DIR …`.

    calibrate   thresholds and error rates of all 256 sets of sensors into models/calibration/liveness.toml
    kinds       the tables of the card: each kind of attack, held out and not, beside a rule and a recurrent network;
                poorer sets of sensors; twice the noise; shorter windows

APCER is the share of an attack's windows that pass as live, BPCER the share of people's that don't (ISO/IEC 30107-3). A threshold is
the score that this share of the people's windows falls short of, and so has its BPCER on just these. Only the shipped head's in the
first table is chosen on half of them, and its BPCER measured on the other half. Every figure here is of a simulation.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

import liveness_rule
from liveness import LIES, faulty, load_small, scores_of, shortened
from liveness_data import PARTS, simulated
from liveness_signals import Recordings
from liveness_table import KINDS, LIVE, NAMES, SENSORS, of_sensors, subsets
from liveness_windows import MASK_ROW, ROW_CHANNEL, TICKS

MODELS = Path(__file__).resolve().parent.parent
MAIN = ("camera", "depth", "thermal")
BPCERS = (0.005, 0.01, 0.02, 0.05)
Z = 1.959964  # of a 95 % interval


def wilson(passed: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    share, square = passed / count, Z * Z / count
    middle, half = share + square / 2, Z * np.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


class Int8:
    """The shipped file in onnxruntime, many windows at once."""

    def __init__(self, path: Path):
        model = onnx.load(path)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "windows"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def __call__(self, rows: np.ndarray, kept=None, ticks: int = TICKS) -> np.ndarray:
        made, keep = [], None if kept is None else kept.astype(np.float32)[:, None]
        for start in range(0, len(rows), 512):
            some = rows[start : start + 512].astype(np.float32)
            if ticks < TICKS:
                some = shortened(torch.from_numpy(some), torch.full((len(some),), ticks)).numpy()
            some = some if keep is None else some * keep
            (logits,) = self.session.run(None, {"channels": some[:, :, None]})
            others = logits[:, 1:].max(1)
            made.append(logits[:, 0] - others - np.log(np.exp(logits[:, 1:] - others[:, None]).sum(1)))
        return np.concatenate(made)


def rows_kept(sensors) -> np.ndarray:
    return of_sensors(sensors)[ROW_CHANNEL]


def threshold(live: np.ndarray, bpcer: float) -> float:
    """The score that this share of people falls short of."""
    return float(np.quantile(live, bpcer))


def passed(scores: np.ndarray, at: float) -> tuple[int, int]:
    return int((scores >= at).sum()), len(scores)


class Held:
    """Networks that were trained without a kind, by kind, and windows to measure with."""

    def __init__(self, args):
        load = lambda pattern: {  # noqa: E731
            kind: load_small(path)[0] for kind in KINDS if (path := args.held_out / pattern.format(kind)).exists()
        }
        self.conv, self.gru = load("without-{}.pt"), load("gru-without-{}.pt")
        # The same two with all kinds, and as few steps as those have had: equals.
        paths = {"network": args.held_out / "all.pt", "GRU": args.held_out / "gru-all.pt"}
        self.equals = {name: load_small(path)[0] for name, path in paths.items() if path.exists()}
        recordings = Recordings.load(args.ppg, args.motion)
        self.of = lambda part, live, each: simulated(args.work, part, live, each, recordings, args.seed)
        most = (
            args.subset_live if args.what == "calibrate" else args.live,
            args.subset_each if args.what == "calibrate" else args.each,
        )
        self.windows = self.of("measure", *most)

    def rows(self, kind: str, most: int | None = None) -> np.ndarray:
        return self.windows.rows[self.windows.kinds == (LIVE, *KINDS).index(kind)][:most]


def held_out_rates(args, held: Held) -> dict:
    """Of each set of sensors ("camera,depth"), for each of BPCERS: the worst kind's APCER by a network that never saw it, and the
    kind. Kept beside the networks, as it takes longest, with a digest of what it is of: of other networks or other windows it is
    measured anew. {} where there are no networks, as int8 files like the shipped one."""
    kept_at, heads = args.held_out / "rates.json", {k: args.held_out / f"without-{k}.onnx" for k in KINDS}
    if not all(path.exists() for path in heads.values()):
        return {}
    rows = {LIVE: held.rows(LIVE, args.held_live), **{kind: held.rows(kind, args.held_each) for kind in KINDS}}
    of = digest_of(heads, rows)
    known = json.loads(kept_at.read_text()) if kept_at.exists() else {}
    if known.get("of") == of:
        return known["rates"]
    nets = {kind: Int8(path) for kind, path in heads.items()}
    live, made = rows[LIVE], {}
    for sensors in subsets():
        kept = rows_kept(sensors)
        found = {kind: (net(live, kept), net(rows[kind], kept)) for kind, net in nets.items()}
        rates = [{kind: float((s >= threshold(p, bpcer)).mean()) for kind, (p, s) in found.items()} for bpcer in BPCERS]
        made[",".join(sensors)] = [(max(r.values()), max(r, key=r.get)) for r in rates]
    kept_at.write_text(json.dumps({"of": of, "rates": made}))
    return made


def digest_of(files: dict[str, Path], rows: dict[str, np.ndarray]) -> str:
    """Of the files' bytes and the windows': whatever made others of them, count, seed, recordings or simulator, shows."""
    digest = hashlib.sha256(repr(BPCERS).encode())
    for name, path in files.items():
        digest.update(f"{name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    for name, some in rows.items():
        digest.update(f"{name} {some.shape} ".encode() + some.tobytes())
    return digest.hexdigest()


def calibrate(args, held: Held) -> None:
    """One [[subset]] each, with the shipped network's thresholds; held-out rates by networks of the same recipe."""
    head, unseen = Int8(args.head), held_out_rates(args, held)
    live, few = held.rows(LIVE, args.subset_live), {kind: held.rows(kind, args.subset_each) for kind in KINDS}
    told = f"{len(live)} windows of people and {args.subset_each} of each of {len(KINDS)} kinds of attack"
    lines = [
        "# Simulated figures: models/cards/liveness.md says of what. score: live is what reaches it, in nats.",
        f'evaluation = "simulated: liveness_evaluate.py, {told}; held out: {args.held_live} and {args.held_each}"',
        f"windows = {len(live) + sum(map(len, few.values()))}",
    ]
    for sensors in subsets():
        kept = rows_kept(sensors)
        scores = head(live, kept)
        attacks = {kind: head(rows, kept) for kind, rows in few.items()}
        names = ", ".join(f'"{sensor}"' for sensor in sensors)
        lines += ["", "[[subset]]", f"sensors = [{names}]", "points = ["]
        for index, bpcer in enumerate(BPCERS):
            at = threshold(scores, bpcer)
            apcer = {kind: (found >= at).mean() for kind, found in attacks.items()}
            worst = max(apcer, key=apcer.get)
            line = f'bpcer = {bpcer}, score = {at:.4f}, apcer_worst = {apcer[worst]:.4f}, worst = "{worst}"'
            if unseen:
                rate, kind = unseen[",".join(sensors)][index]
                line += f', apcer_worst_held_out = {rate:.4f}, worst_held_out = "{kind}"'
            lines.append(f"    {{ {line} }},")
        lines.append("]")
    args.out.write_text("\n".join(lines) + "\n")
    print(f"{args.out}: {len(subsets())} sets of sensors")


def share(found: np.ndarray, at: float) -> str:
    count, of = passed(found, at)
    low, high = wilson(count, of)
    return f"{100 * count / of:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def halves(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return scores[::2], scores[1::2]


def kinds(args, held: Held) -> None:
    head, kept, live = Int8(args.head), rows_kept(MAIN), held.rows(LIVE)
    ours, people = halves(head(live, kept))
    at = threshold(ours, 0.01)
    print(f"{', '.join(MAIN)}; {len(live)} windows of people, {args.each} a kind. BPCER {share(-people, -at + 1e-9)}")
    print("| kind | held out | GRU, held out | rule, held out | seen in training |\n|---|---|---|---|---|")
    train = held.of("train", args.train_live, args.train_each)
    seen, is_live = liveness_rule.features(train.rows, of_sensors(MAIN)), train.kinds == 0
    live_features = liveness_rule.features(live, of_sensors(MAIN))
    worst = {}
    for index, kind in enumerate(KINDS):
        rows, cells = held.rows(kind), []
        for name, nets in (("held out", held.conv), ("GRU", held.gru)):
            if kind not in nets:
                cells.append("")
                continue
            people_scores, found = scores_of(nets[kind], live, kept), scores_of(nets[kind], rows, kept)
            cells.append(share(found, threshold(people_scores, 0.01)))
            worst[name] = max(worst.get(name, (0,)), ((found >= threshold(people_scores, 0.01)).mean(), kind))
        interval = liveness_rule.tune(seen[is_live], seen[~is_live & (train.kinds != index + 1)], 0.01)
        passes = liveness_rule.passes(liveness_rule.features(rows, of_sensors(MAIN)), interval).astype(float)
        worst["rule"] = max(worst.get("rule", (0,)), (passes.mean(), kind))
        lost = 1 - liveness_rule.passes(live_features, interval).mean()
        cells.append(f"{share(passes, 0.5)} at BPCER {100 * lost:.2f} %")
        found = head(rows, kept)
        worst["seen"] = max(worst.get("seen", (0,)), ((found >= at).mean(), kind))
        print(f"| {kind} | {' | '.join(cells)} | {share(found, at)} |", flush=True)
    print("worst:", {name: f"{100 * rate:.2f} % {kind}" for name, (rate, kind) in worst.items()})
    equals(held, kept)
    poorer(args, held, head)
    shorter(held, head)
    harder(args, held, head)
    lies(held, head)
    nearer(held, head)


SETS = (
    *(("camera",), ("camera", "antispoof"), ("camera", "distance"), ("camera", "depth"), ("camera", "thermometer")),
    *(("camera", "thermal"), ("camera", "distance", "thermometer"), ("camera", "proximity", "light"), MAIN),
    *(("camera", "antispoof", "depth", "thermal"), SENSORS),
)


def rates(head, held: Held, sensors, most: int, ticks: int = TICKS) -> str:
    """Cells at BPCER 1 %: the worst kind and the mean of kinds, held out; then the same of the shipped head, which saw them all."""
    kept = rows_kept(sensors)
    at = threshold(head(held.rows(LIVE), kept, ticks), 0.01)
    apcer = {kind: (head(held.rows(kind, most), kept, ticks) >= at).mean() for kind in KINDS}
    worst = max(apcer, key=apcer.get)
    unseen = {}
    for kind, net in held.conv.items():
        people = threshold(scores_of(net, held.rows(LIVE, 4000), kept, ticks), 0.01)
        unseen[kind] = (scores_of(net, held.rows(kind, most), kept, ticks) >= people).mean()
    out = max(unseen, key=unseen.get) if unseen else None
    held_out = f"{100 * unseen[out]:.1f} % {out} | {100 * np.mean(list(unseen.values())):.1f} %" if out else " | "
    return f"{held_out} | {100 * apcer[worst]:.1f} % {worst} | {100 * np.mean(list(apcer.values())):.1f} %"


TITLES = "| worst held out | mean held out | worst seen | mean seen |\n|---|---|---|---|---|"


def equals(held: Held, kept: np.ndarray) -> None:
    print("\n| trained on all kinds, equally long | worst kind | mean of kinds |\n|---|---|---|")
    for name, net in held.equals.items():
        at = threshold(scores_of(net, held.rows(LIVE), kept), 0.01)
        apcer = {kind: (scores_of(net, held.rows(kind, 4000), kept) >= at).mean() for kind in KINDS}
        worst = max(apcer, key=apcer.get)
        print(f"| {name} | {100 * apcer[worst]:.1f} % {worst} | {100 * np.mean(list(apcer.values())):.1f} % |", flush=True)


def poorer(args, held: Held, head) -> None:
    print(f"\n| sensors {TITLES}")
    for sensors in SETS:
        print(f"| {', '.join(sensors) if sensors != SENSORS else 'all'} | {rates(head, held, sensors, args.few)} |", flush=True)


def shorter(held: Held, head) -> None:
    print(f"\n| seconds, {', '.join(MAIN)} {TITLES}")
    for ticks in (12, 25, 37, 50):
        print(f"| {ticks * 0.04:.2f} | {rates(head, held, MAIN, 2000, ticks)} |", flush=True)


def harder(args, held: Held, head) -> None:
    """At the thresholds of severity 1, as a door would have them."""
    print("\n| twice the noise, drift and misplacement | BPCER | worst seen | mean seen |\n|---|---|---|---|")
    hard = held.of("hard", args.hard_live, args.hard_each)
    for sensors in (("camera",), MAIN, SENSORS):
        kept = rows_kept(sensors)
        at = threshold(head(held.rows(LIVE), kept), 0.01)
        found = head(hard.rows, kept)
        apcer = {kind: (found[hard.kinds == index + 1] >= at).mean() for index, kind in enumerate(KINDS)}
        worst = max(apcer, key=apcer.get)
        lost = (found[hard.kinds == 0] < at).mean()
        mean = np.mean(list(apcer.values()))
        print(
            f"| {', '.join(sensors)} | {100 * lost:.2f} % | {100 * apcer[worst]:.2f} % {worst} | {100 * mean:.2f} % |",
            flush=True,
        )


def nearer(held: Held, head) -> None:
    """With MAIN, windows apart in which the face covers enough zones for a relief, and those in which it doesn't."""
    relief = MASK_ROW + NAMES.index("relief_mm")
    print(f"\n| {', '.join(MAIN)} | people | BPCER | {' | '.join(KINDS)} |\n|---|---|---|{'---|' * len(KINDS)}")
    kept = rows_kept(MAIN)
    at = threshold(head(held.rows(LIVE), kept), 0.01)
    for name, wanted in (("the face covers six zones", True), ("fewer", False)):
        found = {}
        for kind in (LIVE, *KINDS):
            rows = held.rows(kind)
            chosen = rows[rows[:, relief].any(1) == wanted]
            found[kind] = float((head(chosen, kept) >= at).mean()) if len(chosen) else float("nan"), len(chosen) / len(rows)
        cells = [f"{100 * found[kind][0]:.1f} %" for kind in KINDS]
        lost = 100 * (1 - found[LIVE][0])
        print(f"| {name} | {100 * found[LIVE][1]:.0f} % | {lost:.2f} % | {' | '.join(cells)} |", flush=True)


def lies(held: Held, head) -> None:
    """People's windows in which something lies (LIES of liveness.py), and how many of them still pass."""
    print(f"\n| what lies | {', '.join(MAIN)} | all |\n|---|---|---|")
    live, random = held.rows(LIVE, 4000), np.random.default_rng(0)
    at = {sensors: threshold(head(held.rows(LIVE), rows_kept(sensors)), 0.01) for sensors in (MAIN, SENSORS)}
    for which, name in enumerate(LIES):
        made = faulty(torch.from_numpy(live).float(), random, True, which)[0].numpy()
        cells = [share(head(made, rows_kept(sensors)), at[sensors]) for sensors in (MAIN, SENSORS)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main(given=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("what", choices=("calibrate", "kinds"))
    add("--work", type=Path, required=True, help=f"where windows of {', '.join(PARTS)} are kept, or made")
    add("--held-out", type=Path, required=True, help="folder of without-KIND.pt, gru-without-KIND.pt, all.pt and gru-all.pt")
    add("--head", type=Path, default=MODELS / "liveness.onnx")
    add("--out", type=Path, default=MODELS / "calibration" / "liveness.toml")
    add("--live", type=int, default=10000)
    add("--each", type=int, default=10000)
    add("--few", type=int, default=2000, help="windows a kind for the table of poorer sets")
    add("--subset-live", type=int, default=4000, help="windows of people for each of 256 thresholds")
    add("--subset-each", type=int, default=500)
    add("--held-live", type=int, default=1500, help="the same for networks that never saw a kind")
    add("--held-each", type=int, default=300)
    add("--hard-live", type=int, default=4000)
    add("--hard-each", type=int, default=1000)
    add("--train-live", type=int, default=20000)
    add("--train-each", type=int, default=3000)
    add("--seed", type=int, default=1)
    add("--ppg", type=Path)
    add("--motion", type=Path)
    args = parser.parse_args(given)
    torch.set_num_threads(1)
    {"calibrate": calibrate, "kinds": kinds}[args.what](args, Held(args))


if __name__ == "__main__":
    main()
