"""Train a face detector: `python detector.py --photos PHOTOS --labels LABELS.npz --teacher YUNET.onnx --work DIR`.

The labels are label.py's; nobody draws a box by hand. scenes.py composes the pictures, also of faces that turned.py has turned
aside, and of backgrounds that hard.py found hard. The student learns from its teacher in two stages:

1. *Fed* (`--forced` pictures): each part reads the teacher's features and imitates the teacher's next ones, on the same
   picture (Romero et al. 2015, "FitNets"; Li et al. 2020, "Blockwisely supervised neural architecture search"): a dozen
   small problems side by side. That is a quick start and no more.
2. *Alone*: the teacher looks at the plain picture, the student at the lit one. Which cells answer for a face, and how
   surely, is the teacher's word (Hinton et al. 2015, "Distilling the knowledge in a neural network", here for each cell);
   where a face lies and where its points are is that of the labels, which are better than the teacher's one look. A face
   of the labels that the teacher misses is given to the cells at its middle; what only the teacher sees isn't taught.

Stop it whenever you like, with a signal or the plug; the same command goes on where it was. `--pictures` is where it
ends, and over the last `--cool-down` of them the learning rate falls to nothing. Where the work folder holds nothing, it goes on
from the checkpoint that travels with the repository, unless `--anew` says not to.
"""

import argparse
import contextlib
import threading
import time
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue

import cv2
import numpy as np
import torch
from torch import nn

import checkpoints
import scenes
from detector_loss import alone_loss, fed_loss
from detector_nets import Detector, DetectorConfig, Teacher
from label import Labels
from relight import library
from running import Run, asked_to_stop, keep_memory, processes

SMALL_LIMIT = 1_000_000  # bytes of the checkpoint in the repository


def arguments(given=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--photos", type=Path, required=True, help="folder of photos")
    add("--labels", type=Path, required=True, help="what label.py made of them")
    add("--turned", type=Path, help="folder of turned.py's pictures; label.py's labels lie beside it, as TURNED.npz")
    add("--hard", type=Path, help="folder of backgrounds that hard.py found")
    add("--faces", type=Path, help="folder of aligned 128x128 crops (align.py), to paste into scenes")
    add("--face-labels", type=Path, help="what consensus.py made of them")
    add("--teacher", type=Path, required=True, help="YuNet's ONNX file, with any input size")
    add("--work", type=Path, required=True, help="folder outside the repository for the full state and the log")
    add("--name", default="detector")
    add("--most-crops", type=int, default=15_000, help="of the crops so many are held in memory")
    add("--batch", type=int, default=16, help="pictures a step and process")
    add("--sides", type=int, nargs="+", default=[160, 224, 320], help="pixels of the square pictures, in turn; multiples of 32")
    add("--rate", type=float, default=2e-3, help="learning rate once the student stands alone")
    add("--forced-rate", type=float, default=1e-2, help="and while its parts are fed")
    add("--warm-up", type=int, default=100, help="steps, at every start without an optimiser's state")
    add("--memory", type=int, default=1000, help="steps that the average of weights reaches back")
    add("--forced", type=int, default=16_000, help="pictures of the first stage")
    add("--pictures", type=int, default=400_000, help="of both stages")
    add("--cool-down", type=int, default=100_000, help="the last so many pictures")
    add("--seed", type=int, default=1)
    add("--precision", choices=["auto", "bf16", "float"], default="auto")
    add("--threads", type=int, default=0, help="CPU threads; 0: as many as there are cores")
    add("--loaders", type=int, default=1, help="threads that compose pictures")
    add("--save-minutes", type=float, default=3)
    add("--log-steps", type=int, default=50)
    args = checkpoints.parsed(parser, given)
    if args.faces and not args.face_labels:  # before minutes of reading photos
        parser.error("--faces needs --face-labels")
    return args


class Pictures:
    """Batches from step `start` on, composed ahead by threads; each follows from seed and step alone."""

    def __init__(self, stock, chosen, args, rank=0, world=1, ahead=3):
        self.stock, self.chosen, self.args, self.rank, self.world = stock, chosen, args, rank, world
        self.lamps, self.ahead = library(256), ahead

    def make(self, step: int) -> list[torch.Tensor]:
        """plain and lit (N x 3 x side x side, floats from 0 to 255), boxes, points and doubtful regions."""
        side = self.args.sides[step % len(self.args.sides)]
        samples = []
        for place in range(self.args.batch):
            random = np.random.default_rng((self.args.seed, step, self.rank, place))
            samples.append(scenes.compose(self.stock, self.chosen, random, side, self.lamps))
        batch = [np.stack([getattr(s, name) for s in samples]) for name in ("plain", "lit", "boxes", "points", "doubtful")]
        return [torch.from_numpy(part) for part in batch]

    def start(self, step: int):
        """The batches in order, for ever; the threads end with the iteration."""
        loaders, stop = max(1, self.args.loaders), threading.Event()
        queues = [Queue(self.ahead) for _ in range(loaders)]
        threads = []
        for index, queue in enumerate(queues):
            threads.append(threading.Thread(target=self._fill, args=(queue, step + index, loaders, stop), daemon=True))
            threads[-1].start()
        try:
            while True:
                for queue in queues:
                    made = queue.get()
                    if isinstance(made, BaseException):
                        raise made
                    yield made
        finally:
            stop.set()
            for thread, queue in zip(threads, queues):
                while thread.is_alive():
                    with contextlib.suppress(Empty):  # a full queue would keep its thread for ever
                        queue.get(timeout=0.05)

    def _fill(self, queue, step, loaders, stop):
        try:
            while not stop.is_set():
                queue.put(self.make(step))
                step += loaders
        except BaseException as error:  # the thread that trains must hear of it, whatever it is
            queue.put(error)


class Learner(nn.Module):
    """The student and its losses; a module, so that DistributedDataParallel can wrap it."""

    def __init__(self, student: Detector, variances: list[torch.Tensor]):
        super().__init__()
        self.student = student
        for index, variance in enumerate(variances):
            self.register_buffer(f"gain{index}", variance.rsqrt().view(1, -1, 1, 1), persistent=False)

    def forward(self, lit, features, taught, labels, fed: bool):
        """The losses by name. `features` and `taught`: the teacher's, of the lit picture when fed, else of the plain one."""
        if fed:
            ours, said = self.student(lit, features)
            gains = [getattr(self, f"gain{index}") for index in range(len(features))]
            return fed_loss(ours, features, gains, said.float(), taught.float(), lit.shape[2:])
        _, said = self.student(lit)
        return alone_loss(said.float(), taught.float(), labels, lit.shape[2:])


def load_small(path: Path) -> tuple[Detector, int]:
    """The detector, ready for inference, and the number of pictures it has seen."""
    state = checkpoints.load(path)
    return checkpoints.fill(Detector(DetectorConfig.from_dict(state["config"])), state, path), state["pictures"]


class Recipe(Run):
    """One training: what it holds, and what a step, a save and a resume are."""

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        self.teacher = Teacher(args.teacher).to(self.device)
        self.stock = scenes.Stock(args.photos, Labels.load(args.labels), args.seed)
        if args.turned:
            self.stock.add_turned(args.turned, Labels.load(args.turned.with_suffix(".npz")))
        if args.hard:
            self.stock.add_hard(args.hard)
        if args.faces:
            self.stock.add_crops(args.faces, args.face_labels, args.most_crops, args.seed)
        self.batches = Pictures(self.stock, self.stock.training, args, self.rank, self.world)
        self._start(Detector())

    def _start(self, student: Detector) -> None:
        """From the full state where there is one, else from the small checkpoint, else from nothing."""
        self.step = self.warm_from = self.pictures = 0
        state, small = checkpoints.earlier(self.args, self.state_path, self.small_path)
        if state and small and small["pictures"] > state["pictures"]:
            state = None  # somebody else's training went further
        for found in filter(None, (state, small)):
            if DetectorConfig.from_dict(found["config"]) != student.config:
                raise SystemExit(f"the checkpoint of {self.args.name!r} has another layout: give --name another")
        if small and not state:
            loaded, self.pictures = load_small(self.small_path)
            student.load_state_dict(loaded.state_dict())
            self.step = self.warm_from = self.pictures // (self.args.batch * self.world)
        student.to(self.device, memory_format=torch.channels_last).train()
        self.average = checkpoints.Average(student, self.args.memory)
        self.optimiser = _optimiser(student, self.args.rate)
        if state:
            student.load_state_dict(state["student"])
            self.average.network.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.pictures, self.warm_from = state["step"], state["pictures"], state["warm_from"]
        checkpoints.tell_beginning(self.state_path if state else self.small_path if small else None, self.pictures)
        self.student = student
        if self.pictures >= self.args.forced:
            student.settle()
        self.module = Learner(student, self._variances()).to(self.device)
        parallel = lambda m: nn.parallel.DistributedDataParallel(m, find_unused_parameters=True)  # noqa: E731
        self.wrapped = parallel(self.module) if self.world > 1 else self.module

    @property
    def small_path(self) -> Path:
        return self.args.checkpoints / f"{self.args.name}.pt"

    @torch.no_grad()
    def _variances(self) -> list[torch.Tensor]:
        """Of each channel of the teacher's features over one batch; of nearly constant ones a hundredth of the mean."""
        features, _ = self.teacher(self._pixels(self.batches.make(0)[1]))
        ours, _ = self.student.eval()(torch.zeros(1, 3, 64, 64, device=self.device))
        self.student.train()
        if [f.shape[1] for f in features] != [f.shape[1] for f in ours]:
            raise SystemExit("the teacher's features have other widths than the student's")
        return [torch.maximum(v, v.mean() / 100) for v in (f.float().var((0, 2, 3)) for f in features)]

    def _pixels(self, pictures: torch.Tensor) -> torch.Tensor:
        moved = pictures.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        return moved.contiguous(memory_format=torch.channels_last)

    def rate(self) -> float:
        args = self.args
        rate = args.forced_rate if self.pictures < args.forced else args.rate
        rate *= min(1.0, (self.step - self.warm_from + 1) / max(1, args.warm_up))
        return rate * min(1.0, (args.pictures - self.pictures) / max(1, args.cool_down))

    def train_step(self, batch: list[torch.Tensor]) -> dict:
        fed = self.pictures < self.args.forced
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate() * group["share"]
        plain, lit = (self._pixels(part) for part in batch[:2])
        labels = [part.to(self.device) for part in batch[2:]]
        with self.autocast():
            with torch.no_grad():
                features, taught = self.teacher(lit if fed else plain)
            losses = self.wrapped(lit, features, taught, labels, fed)
        self.optimiser.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 10.0)
        self.optimiser.step()
        self.average.update(self.student, self.step)
        self.step += 1
        self.pictures += len(lit) * self.world
        if fed and self.pictures >= self.args.forced:
            self.warm_from = self.step  # the next stage is another problem
            self.student.settle()
        return {name: loss.detach() for name, loss in losses.items()}

    def save(self) -> None:
        if self.rank == 0:
            state = {"config": asdict(self.student.config), "step": self.step, "pictures": self.pictures, "anew": self.args.anew}
            state |= {"warm_from": self.warm_from, "student": self.student.state_dict()}
            state |= {"average": self.average.network.state_dict(), "optimiser": self.optimiser.state_dict()}
            checkpoints.save_atomically(state, self.state_path)
            checkpoints.save_small(self.average.network, self.pictures, self.small_path, SMALL_LIMIT)


def _optimiser(student: Detector, rate: float) -> torch.optim.Optimizer:
    """AdamW; vectors aren't decayed, and the heads, which have no BatchNorm, get a third of the rate."""
    heads = {id(p) for p in student.heads.parameters()}
    matrices = [p for p in student.parameters() if p.dim() > 1]
    groups = [
        {"params": [p for p in matrices if id(p) not in heads], "weight_decay": 1e-2, "share": 1.0},
        {"params": [p for p in matrices if id(p) in heads], "weight_decay": 1e-2, "share": 0.3},
        {"params": [p for p in student.parameters() if p.dim() == 1], "weight_decay": 0.0, "share": 1.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=True)


def train(recipe: Recipe) -> None:
    """Until it's finished, or a polite signal asks to stop; an impolite one loses the minutes since the last save."""
    args, stop = recipe.args, asked_to_stop()
    args.work.mkdir(parents=True, exist_ok=True)
    sums, seen, begun, saved = {}, 0, time.monotonic(), time.monotonic()
    for batch in recipe.batches.start(recipe.step):
        if recipe.stopped(stop) or recipe.pictures >= args.pictures:
            break
        losses = recipe.train_step(batch)
        if losses.keys() != sums.keys():
            sums, seen, begun = dict.fromkeys(losses, 0.0), 0, time.monotonic()
        sums = {name: sums[name] + loss for name, loss in losses.items()}
        seen += 1
        if seen == args.log_steps:
            a_second = seen * args.batch * recipe.world / (time.monotonic() - begun)
            line = {"pictures": recipe.pictures, "a_second": round(a_second, 1), "rate": round(recipe.rate(), 6)}
            recipe.record(line | {name: round(float(total) / seen, 4) for name, total in sums.items()})
            sums, seen, begun = dict.fromkeys(losses, 0.0), 0, time.monotonic()
        if time.monotonic() - saved > args.save_minutes * 60:
            recipe.save()
            saved = time.monotonic()
    recipe.save()


def main(given=None) -> None:
    with processes():
        keep_memory()
        cv2.setNumThreads(1)  # pictures are small: OpenCV's threads would only wait for one another
        train(Recipe(arguments(given)))


if __name__ == "__main__":
    main()
