"""Train the head that tells people from pictures of them: `python liveness.py --work DIR [--ppg DIR] [--motion DIR]`.

It learns from simulated visits (liveness_sim.py), and with `--sessions DIR` also from an installer's own recordings: files that
`facelatch liveness record` wrote, with a label each. In training channels and whole sensors are taken away at random, and older
ticks, so that one head serves every set of sensors. As in the other recipes an average of the weights is what's kept, the same
command goes on where it was stopped, or from the checkpoint that travels with the repository, unless `--anew` or another `--name` says not
to, and one process, on a GPU where there is one, is enough.

`--without KIND` leaves a kind of attack out, to measure what the head makes of attacks that it never saw.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F

import liveness_data
from checkpoints import Average, earlier, fill, load, parsed, save_atomically, save_small, tell_beginning
from liveness_nets import MOST_PARAMETERS, HeadConfig, network, parameters, score, to_onnx
from liveness_signals import Recordings
from liveness_table import CHANNELS, KINDS, LIVE, SENSORS, of_sensors
from liveness_windows import FEWEST, MASK_ROW, PULSE_ROWS, ROW_CHANNEL, ROWS, TICKS
from running import Run, asked_to_stop, keep_memory

SMALL_LIMIT = 300_000  # bytes that the checkpoint in the repository may have
MAIN = ("camera", "depth", "thermal")  # the set that the bars are for, shown more often than others
LIES = ("camera frozen", "sensors frozen", "sensors of another visit", "sensors late by .5 to 1.5 s")
FAULTS = 0.06  # share of a batch's people whose sensors are made to lie
SENSOR_OF_ROW = np.array([SENSORS.index(CHANNELS[c].sensor) for c in ROW_CHANNEL])
# What can be told to lie by what else is seen: all of these see where somebody is, and how far.
TELLING = np.isin(SENSOR_OF_ROW, [SENSORS.index(name) for name in ("camera", "distance", "depth", "thermal")])
IS_CENTRED = np.array(
    [kind != "absolute" for channel in CHANNELS for kind, _, _ in channel.inputs]
    + [True] + [False] * (PULSE_ROWS - 1 + len(CHANNELS))
)
MASK_OF_ROW = MASK_ROW + ROW_CHANNEL  # the row that says where this one is valid


def kept_rows(random: np.random.Generator, count: int) -> np.ndarray:
    """Which rows a window keeps, count x 116: a quarter keeps every sensor, some only MAIN, others any set; of one in six
    single channels are gone, too."""
    share = random.random((count, 1))
    sensors = random.random((count, len(SENSORS))) < random.random((count, 1))
    draw = random.random(count)
    sensors[draw < 0.25] = True
    sensors[(draw >= 0.25) & (draw < 0.45)] = [sensor in MAIN for sensor in SENSORS]
    sensors[:, 0] |= True
    channels = np.ones((count, len(CHANNELS)), bool)
    gone = random.random((count, len(CHANNELS))) < 0.12
    channels[share[:, 0] < 0.16] = ~gone[share[:, 0] < 0.16]
    return sensors[:, SENSOR_OF_ROW] & channels[:, ROW_CHANNEL]


def shortened(rows: torch.Tensor, ticks: torch.Tensor) -> torch.Tensor:
    """The windows (N x 116 x 50) as if nothing were older than their newest `ticks` (N): rows about a mean get the mean of what
    is left. A pulse's line and what was clamped stay those of the whole window."""
    young = torch.arange(TICKS - 1, -1, -1, device=rows.device)[None] < ticks[:, None]
    made = rows * young[:, None]
    masks = made[:, MASK_OF_ROW]
    masks = masks * (masks.sum(2, keepdim=True) >= FEWEST)
    centred = torch.from_numpy(IS_CENTRED).to(rows.device)[None, :, None]
    means = (made * masks).sum(2, keepdim=True) / masks.sum(2, keepdim=True).clamp(min=1)
    return torch.where(centred, made - means, made) * masks


def faulty(rows: torch.Tensor, random: np.random.Generator, replays: bool, which: int | None = None):
    """People's windows as they are when something lies as one of LIES (drawn, unless `which` is given): all of the camera or all
    sensors frozen, or (`replays`) sensors that show another window of somebody, or their own of earlier. And of each window which
    rows lie, N x 116 booleans."""
    made, count, lying = rows.clone(), len(rows), np.zeros(rows.shape[:2], bool)
    camera = torch.from_numpy(np.isin(SENSOR_OF_ROW, [0, 1]))
    other = rows[torch.from_numpy(random.permutation(count))]
    for index in range(count):
        lie = random.integers(4 if replays else 2) if which is None else which
        chosen = camera if lie == 0 else ~camera
        lying[index] = chosen.numpy()
        part = made[index, chosen]
        if lie < 2:
            # A value that stands still is its own mean; what isn't about a mean stays what it was at one tick.
            values = part[:, random.integers(TICKS) :][:, :1].expand(-1, TICKS) * (part.any(1, keepdim=True))
            still = torch.from_numpy(IS_CENTRED)[chosen]
            made[index, chosen] = torch.where(still[:, None], 0.0, values)
        elif lie == 2:
            made[index, chosen] = other[index, chosen]
        else:
            made[index, chosen] = part.roll(int(random.integers(12, 38)), 1)
    return made, lying


def small_path(args: argparse.Namespace) -> Path:
    return args.checkpoints / f"{args.name}.pt"


class Recipe(Run):
    """One training: what it holds, and what a step, a save and a resume are."""

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        config = HeadConfig(args.kind)
        self.network, self.step = network(config).to(self.device), 0
        if parameters(self.network) > MOST_PARAMETERS:
            raise SystemExit(f"{parameters(self.network)} parameters are more than {MOST_PARAMETERS}")
        self.average = Average(self.network, args.memory)
        groups = [{"params": [p for p in self.network.parameters() if p.dim() > 1], "weight_decay": 2e-2}]
        groups.append({"params": [p for p in self.network.parameters() if p.dim() == 1], "weight_decay": 0.0})
        self.optimiser = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.99))
        self.resume()  # before the windows: where nothing is left to train, nobody waits for them
        self.kinds = [kind for kind in (LIVE, *KINDS) if kind != args.without]
        recordings = Recordings.load(args.ppg, args.motion)
        of = lambda part, live, each: liveness_data.simulated(args.work, part, live, each, recordings, args.seed, self.kinds)  # noqa: E731
        self.training = of("train", args.live, args.each)
        if args.sessions:
            own = liveness_data.recorded(args.sessions, self.kinds)
            self.training = liveness_data.with_own(self.training, own, args.own_weight)
        self.validation = of("validate", args.live // 8, args.each // 8)
        self.classes = torch.from_numpy(self.training.classes)

    @property
    def small_path(self) -> Path:
        return small_path(self.args)

    def resume(self) -> None:
        args, seen = self.args, 0
        state, small = earlier(args, self.state_path, self.small_path)
        if state:
            self.network.load_state_dict(state["network"])
            self.average.network.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]
            seen = self.step * args.batch
        elif small:
            # Weights without an optimiser's state: where the full state is on another machine.
            known, seen = load_small(self.small_path)
            self.network.load_state_dict(known.state_dict())
            self.average.network.load_state_dict(known.state_dict())
            self.step = seen // args.batch
        path = self.state_path if state else self.small_path if small else None
        if self.step >= args.steps:
            raise SystemExit(
                f"nothing to train: {path} has seen {seen} windows already, {self.step} steps of {args.batch}. --anew or another --name "
                "begins with random weights, more --steps go on from it, and --steps 0 with --out writes its ONNX file"
            )
        tell_beginning(path, seen, "windows")

    def rate(self) -> float:
        """Up over the warm-up, then down to nothing by half a cosine."""
        gone = min(1.0, self.step / self.args.steps)
        return self.args.rate * min(1.0, (self.step + 1) / self.args.warm_up) * (0.5 + 0.5 * math.cos(math.pi * gone))

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of this step; it follows from the seed and the step's number alone. A class of -1: not live, and of no kind."""
        args, random = self.args, np.random.default_rng((self.args.seed, self.step))
        live = np.flatnonzero(self.training.kinds == 0)
        attacks = np.flatnonzero(self.training.kinds != 0)
        chosen = np.concatenate([random.choice(live, args.batch // 3), random.choice(attacks, args.batch - args.batch // 3)])
        rows = torch.from_numpy(self.training.rows[chosen]).float()
        classes = self.classes[torch.from_numpy(chosen)].clone()
        liars, lying = np.flatnonzero((classes == 0).numpy() & (random.random(args.batch) < FAULTS)), np.zeros(rows.shape[:2], bool)
        if len(liars) > 1:
            rows[liars], lying[liars] = faulty(rows[liars], random, args.without != "sensor_replay")
        short = random.random(args.batch) < 0.3
        ticks = np.where(short, random.integers(12, TICKS + 1, args.batch), TICKS)
        rows = shortened(rows, torch.from_numpy(ticks))
        rows = rows * torch.from_numpy(kept_rows(random, args.batch)).float()[:, :, None]
        # Who isn't asked any more tells no lies, and by a lux meter alone nobody tells that it lies.
        classes[(rows.any(2) & torch.from_numpy(lying & TELLING)).any(1)] = -1
        return rows[:, :, None].to(self.device), classes.to(self.device)

    def train_step(self) -> torch.Tensor:
        rows, classes = self.batch()
        torch.manual_seed(self.args.seed * 1_000_003 + self.step)  # of dropout, so that a resumed run equals an undisturbed one
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        with self.autocast():
            logits = self.network.train()(rows)
        known = classes >= 0
        losses = F.cross_entropy(logits, classes.clamp(min=0), reduction="none", label_smoothing=0.01)
        # Of a liar only this is known: it isn't live.
        unknown = logits.logsumexp(1) - logits[:, 1:].logsumexp(1)
        loss = torch.where(known, losses, unknown).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.average.update(self.network, self.step)
        self.step += 1
        return loss.detach()

    def validate(self) -> dict[str, float]:
        """With all sensors and with MAIN: the worst kind's share that passes where one in a hundred people doesn't."""
        found = {}
        for name, sensors in (("all", SENSORS), ("main", MAIN)):
            kept = of_sensors(sensors)[ROW_CHANNEL]
            scores = scores_of(self.average.network, self.validation.rows, kept)
            live, kinds = scores[self.validation.kinds == 0], self.validation.kinds
            passed = [(scores[kinds == k] >= np.quantile(live, 0.01)).mean() for k in np.unique(kinds) if k]
            found |= {f"apcer_worst_{name}": float(max(passed)), f"apcer_mean_{name}": float(np.mean(passed))}
        return found

    def save(self) -> None:
        state = {"step": self.step, "anew": self.args.anew}
        state |= {"network": self.network.state_dict(), "average": self.average.network.state_dict()}
        save_atomically(state | {"optimiser": self.optimiser.state_dict()}, self.state_path)
        save_small(self.average.network, self.step * self.args.batch, self.small_path, SMALL_LIMIT)


@torch.no_grad()
def scores_of(net, rows: np.ndarray, kept=None, ticks: int = TICKS) -> np.ndarray:
    """Scores of N windows with the rows `kept` (116 booleans) and the newest `ticks`; on the network's own device."""
    device, made = next(net.parameters()).device, []
    keep = torch.ones(ROWS) if kept is None else torch.from_numpy(kept).float()
    for start in range(0, len(rows), 1024):
        some = torch.from_numpy(rows[start : start + 1024]).float()
        if ticks < TICKS:
            some = shortened(some, torch.full((len(some),), ticks))
        made.append(score(net.eval()((some * keep[:, None])[:, :, None].to(device))).cpu())
    return torch.cat(made).numpy()


def load_small(path: Path):
    """The network, ready for inference, and how many windows it has seen."""
    state = load(path)
    return fill(network(HeadConfig.from_dict(state["config"])), state, path), state["pictures"]


def train(recipe: Recipe) -> None:
    """Until the steps are done or a polite signal asks to stop; an impolite one loses what came since the last save."""
    args, stop, first = recipe.args, asked_to_stop(), recipe.step
    saved, losses, begun = time.monotonic(), [], time.monotonic()
    while not stop and recipe.step < args.steps:
        losses.append(recipe.train_step())
        if recipe.step % args.log_steps == 0:
            seconds, begun = time.monotonic() - begun, time.monotonic()
            log(recipe, loss=torch.stack(losses).mean().item(), a_second=len(losses) * args.batch / seconds)
            losses = []
        if time.monotonic() - saved > args.save_minutes * 60:
            recipe.save()
            saved = time.monotonic()
    if recipe.step > first:  # else it would be written over with a rounded count of windows
        recipe.save()
    log(recipe, **recipe.validate())


def log(recipe: Recipe, **measured) -> None:
    line = {"windows": recipe.step * recipe.args.batch, "rate": recipe.rate(), **measured}
    recipe.record({name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in line.items()})


def arguments(given=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--work", type=Path, required=True, help="folder outside the repository for windows, the full state and the log")
    add("--name", default="liveness", help="of the training's files")
    add("--out", type=Path, help="write the float ONNX file there at the end")
    add("--ppg", type=Path, help="folder of Welltory's PPG recordings; without it pulses are analytic")
    add("--motion", type=Path, help="folder of face tracks; without it all sway is drawn")
    add("--sessions", type=Path, help="folder of an installer's own session files, of people and of attacks")
    add("--own-weight", type=int, default=20, help="as how many simulated windows one of theirs counts at most")
    add("--live", type=int, default=20000, help="simulated windows of people")
    add("--each", type=int, default=3000, help="simulated windows of each kind of attack")
    add("--without", choices=KINDS, help="leave this kind out")
    add("--kind", choices=("conv", "gru"), default="conv")
    add("--steps", type=int, default=3000, help="0: only write --out")
    add("--batch", type=int, default=192)
    add("--rate", type=float, default=4e-3, help="learning rate")
    add("--warm-up", type=int, default=100, help="steps")
    add("--memory", type=int, default=300, help="steps that the average of weights reaches back")
    add("--seed", type=int, default=1)
    add("--precision", choices=("auto", "bf16", "float"), default="float")
    add("--threads", type=int, default=0, help="CPU threads; 0: PyTorch's choice")
    add("--save-minutes", type=float, default=3)
    add("--log-steps", type=int, default=100)
    return parsed(parser, given)


def main(given=None) -> None:
    args = arguments(given)
    keep_memory()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.steps:
        train(Recipe(args))
    if args.out:
        onnx.save(to_onnx(load_small(small_path(args))[0]), args.out)


if __name__ == "__main__":
    main()
