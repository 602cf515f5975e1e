"""Distil a face encoder from a teacher: `python encoder.py --faces CROPS --teacher TEACHER.onnx --work DIR`.

It needs no labels. The student imitates the teacher on the same augmented picture, in two ways at once:

- *hints* (Romero et al. 2015, "FitNets"): each block's output against the teacher's there, as a share of the teacher's
  variance. At first every block is fed the teacher's tensor, so that sixteen small, easy problems are learnt side by
  side (Li et al. 2020, "Blockwisely supervised neural architecture search"). Then, picture by picture and block by
  block, the student's own tensor takes its place ever more often (Bengio et al. 2015, "Scheduled sampling"), until the
  student stands alone;
- the *encoding*: one minus the cosine between student's and teacher's.

A share of the pictures the student sees in another light than its teacher (exposure.py): dusk, a lamp from one side,
infrared's grey. Of those it imitates the encoding alone, as the teacher's tensors are those of another picture.

The learning rate warms up and then stays, while an average of the weights is what's kept, so that training has no end
that must be known beforehand: each hour adds to the last. `--cool-down` ends it: the rate falls to nothing (Hägele et al.
2024, "Scaling laws and compute-optimal training beyond fixed training durations"). Stop it whenever you like, with a
signal or the plug; the same command goes on where it was. Where the work folder holds nothing, it goes on from the checkpoint that
travels with the repository, unless `--anew` says not to.
"""

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import checkpoints
from data import LessonBatches, Lessons, middle, pictures_under, read_crops, share, split
from nets import ConvBn, Encoder, EncoderConfig
from running import Run, asked_to_stop, keep_memory, processes
from teacher import OnnxTeacher


def arguments(given=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--faces", type=Path, required=True, help="folder of aligned 128x128 crops, nested as you like")
    add("--teacher", type=Path, required=True, help="ONNX of the teacher")
    add("--normalise", choices=["imagenet", "raw"], default="imagenet", help="what the teacher's input is")
    add("--work", type=Path, required=True, help="folder outside the repository for the full state and the log")
    add("--name", default="encoder", help="of the network: encoder, encoder-small")
    add("--width", type=float, default=EncoderConfig.width, help="1.0 is full, 0.5 is small")
    add("--batch", type=int, default=32, help="pictures a step and process")
    add("--rate", type=float, default=3e-3, help="learning rate once the student stands alone")
    add("--forced-rate", type=float, default=1e-2, help="and while every block is fed the teacher's tensor")
    add("--warm-up", type=int, default=200, help="steps, at every start without an optimiser's state")
    add("--memory", type=int, default=2000, help="steps that the average of weights reaches back")
    add("--forced", type=int, default=40_000, help="pictures during which blocks are fed the teacher's tensors")
    add("--release", type=int, default=60_000, help="pictures over which that falls to none")
    add("--hint-half-life", type=int, default=400_000, help="pictures, from then on, that halve the hints' weight")
    add("--cool-down", type=int, default=0, help="pictures over which the rate falls to 0 and training ends; 0: go on for ever")
    add("--pictures", type=int, default=0, help="stop after so many in all; 0: never")
    add("--validation", type=share, default=0.01, help="share of the crops that is kept back to measure on")
    add("--exposed", type=float, default=0.4, help="share of pictures that the student sees in another light")
    add("--seed", type=int, default=1)
    add("--precision", choices=["auto", "bf16", "float"], default="auto")
    add("--threads", type=int, default=0, help="CPU threads; 0: as many as there are cores")
    add("--save-minutes", type=float, default=5)
    add("--publish-minutes", type=float, default=10, help="between writings of the small checkpoint")
    add("--log-steps", type=int, default=100)
    return checkpoints.parsed(parser, given)


class Distiller(nn.Module):
    """The student and its two losses; a module, so that DistributedDataParallel can wrap it."""

    def __init__(self, student: Encoder, variances: list[torch.Tensor]):
        super().__init__()
        self.student = student
        for index, variance in enumerate(variances):
            self.register_buffer(f"gain{index}", variance.rsqrt().view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels, trunk, target, forced, hinted: int):
        """Mean error of the hints as a share of the teacher's variance, over the first `hinted` pictures, and mean cosine
        of the encodings.

        `forced[part, picture]` says where the next part is fed the teacher's tensor; True: everywhere, None: nowhere.
        """
        x, errors = pixels / 255, []
        for index, (part, wanted) in enumerate(zip(self.student.parts, trunk)):
            x = part(x)
            wanted = wanted.to(x.dtype)
            off = (x[:hinted] - wanted[:hinted]) * getattr(self, f"gain{index}").to(x.dtype)
            # The mean of squares, at a quarter of the time that .square().mean() takes.
            errors.append(torch.linalg.vector_norm(off, dtype=torch.float32) ** 2 / max(1, off.numel()))
            if forced is True:
                x = wanted  # and no gradient crosses from block to block, which saves time
            elif forced is not None:
                x = torch.where(forced[index].view(-1, 1, 1, 1), wanted, x)
        encoding = self.student.parts[-1](x).float()
        return torch.stack(errors), F.cosine_similarity(encoding, target.float()).mean()


class Recipe(Run):
    """One training: what it holds, and what a step, a save and a resume are."""

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        self.teacher = OnnxTeacher(args.teacher, args.normalise).to(self.device)
        paths = pictures_under(args.faces)
        self.crops, kept = read_crops(paths)
        self.training, self.validation = split([paths[index].relative_to(args.faces) for index in kept], args.validation, args.seed)
        student = Encoder(replace(EncoderConfig(), width=args.width))
        self._start(student)

    def _start(self, student: Encoder) -> None:
        """From the full state where there is one, else from the small checkpoint, else from nothing."""
        self.step = self.warm_from = self.pictures = 0
        self.cooling_from = None
        state, small = checkpoints.earlier(self.args, self.state_path, self.small_path)
        if state and small and small["pictures"] > state["pictures"]:
            state = None  # somebody else's training went further
        for found in filter(None, (state, small)):
            if EncoderConfig.from_dict(found["config"]) != student.config:
                raise SystemExit(f"the checkpoint of {self.args.name!r} has another width or layout: give --name another")
        if small and not state:
            loaded, self.pictures = checkpoints.load_small(self.small_path)
            student.load_state_dict(loaded.state_dict())
            self.step = self.warm_from = self.pictures // (self.args.batch * self.world)
        student.to(self.device, memory_format=torch.channels_last)
        self.average = checkpoints.Average(student, self.args.memory)
        self.optimiser = _optimiser(student, self.args.rate)
        if state:
            student.load_state_dict(state["student"])
            self.average.network.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.pictures = state["step"], state["pictures"]
            self.warm_from = state["warm_from"]
            if self.args.cool_down:  # without, a training that was cooled down, or was about to be, goes on
                self.cooling_from = state["cooling_from"]
        checkpoints.tell_beginning(self.state_path if state else self.small_path if small else None, self.pictures)
        if self.args.cool_down and self.cooling_from is None:
            self.cooling_from = self.pictures
        self.student = student
        self.module = Distiller(student, self._variances()).to(self.device)
        self.wrapped = nn.parallel.DistributedDataParallel(self.module) if self.world > 1 else self.module

    @property
    def small_path(self) -> Path:
        return self.args.checkpoints / f"{self.args.name}.pt"

    def batches(self, start: int) -> LessonBatches:
        args, where = self.args, (self.rank, self.world, self.device)
        return LessonBatches(args.exposed, self.crops, self.training, args.batch, args.seed, start, *where)

    @torch.no_grad()
    def _variances(self) -> list[torch.Tensor]:
        """Of each channel of the teacher's trunk, over the first batch; of nearly constant ones not less than a
        hundredth of the tensor's, so that no noise is magnified."""
        trunk, _ = self.teacher(self.batches(0).make(0).told)
        widths = [self.student.config.stem] + [s.trunk for s in self.student.config.stages for _ in range(s.blocks)]
        if [t.shape[1] for t in trunk] != widths:
            raise SystemExit(f"the teacher's trunk is {[t.shape[1] for t in trunk]} channels wide, the student's {widths}")
        variances = [tensor.float().var((0, 2, 3)) for tensor in trunk]
        return [torch.maximum(variance, variance.mean() / 100) for variance in variances]

    def forced_share(self) -> float:
        left = 1 - (self.pictures - self.args.forced) / max(1, self.args.release)
        return min(1.0, max(0.0, left))

    def hint_weight(self) -> float:
        alone = max(0, self.pictures - self.args.forced - self.args.release)
        return 0.5 ** (alone / self.args.hint_half_life)

    def rate(self) -> float:
        """Blocks that are taught one by one bear a higher rate than the student as a whole."""
        args = self.args
        rate = args.rate * (args.forced_rate / args.rate) ** self.forced_share()
        rate *= min(1.0, (self.step - self.warm_from + 1) / max(1, args.warm_up))
        if self.cooling_from is not None:
            rate *= max(0.0, 1 - (self.pictures - self.cooling_from) / max(1, args.cool_down))
        return rate

    def train_step(self, lessons: Lessons) -> dict:
        forced = self._forced(len(lessons.shown))
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate() * group["share"]
        with self.autocast():
            with torch.no_grad():
                trunk, target = self.teacher(lessons.told)
            errors, cosine = self.wrapped(lessons.shown, trunk, target, forced, lessons.same)
        loss = (1 - cosine) + self.hint_weight() * errors.mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.average.update(self.student, self.step)
        self.step += 1
        self.pictures += len(lessons.shown) * self.world
        return {"errors": errors.detach(), "cosine": cosine.detach()}

    def _forced(self, batch: int):
        share = self.forced_share()
        if share in (0, 1):
            return True if share else None
        generator = torch.Generator().manual_seed(self.args.seed * 7_919 + self.step)
        return (torch.rand(len(self.student.parts) - 1, batch, generator=generator) < share).to(self.device)

    @torch.no_grad()
    def validate(self) -> float:
        """Mean cosine between the averaged student's encodings and the teacher's, on plain crops kept back."""
        cosines = []
        for chosen in torch.from_numpy(self.validation).split(32):
            pixels = middle(torch.from_numpy(self.crops[chosen.numpy()]).to(self.device))
            with self.autocast():
                cosines.append(F.cosine_similarity(self.average.network(pixels).float(), self.teacher(pixels)[1].float()))
        return torch.cat(cosines).mean().item() if cosines else float("nan")

    def save(self) -> None:
        if self.rank == 0:
            state = {"config": asdict(self.student.config), "step": self.step, "pictures": self.pictures, "anew": self.args.anew}
            state |= {"warm_from": self.warm_from, "cooling_from": self.cooling_from}
            state |= {"student": self.student.state_dict(), "average": self.average.network.state_dict()}
            checkpoints.save_atomically(state | {"optimiser": self.optimiser.state_dict()}, self.state_path)

    def publish(self) -> None:
        """The small checkpoint, and before it the state: one that a kill had left behind it would be taken for the past of another
        training that went further, and be dropped with its optimiser's memory."""
        self.save()
        if self.rank == 0:
            checkpoints.save_small(self.average.network, self.pictures, self.small_path)

    def finished(self) -> bool:
        cooled = self.cooling_from is not None and self.pictures - self.cooling_from >= self.args.cool_down
        return cooled or bool(self.args.pictures and self.pictures >= self.args.pictures)


def _optimiser(student: Encoder, rate: float) -> torch.optim.Optimizer:
    """AdamW; biases and BatchNorm's gains aren't decayed.

    A convolution before a BatchNorm is indifferent to its weights' scale and bears a high rate; one without isn't and
    gets a tenth.
    """
    bare = {id(layer[0].weight) for layer in student.modules() if isinstance(layer, ConvBn) and not layer.norm}
    matrices = [p for p in student.parameters() if p.dim() > 1]
    groups = [
        {"params": [p for p in matrices if id(p) not in bare], "weight_decay": 1e-2, "share": 1.0},
        {"params": [p for p in matrices if id(p) in bare], "weight_decay": 1e-2, "share": 0.1},
        {"params": [p for p in student.parameters() if p.dim() == 1], "weight_decay": 0.0, "share": 1.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=True)


class Log:
    """A line on the terminal and one of JSON in the work folder, every so many steps."""

    def __init__(self, recipe: Recipe):
        self.recipe, self.seen, self.begun, self.sums = recipe, 0, time.monotonic(), None

    def add(self, measured: dict) -> None:
        row = torch.cat([measured["cosine"].view(1), measured["errors"]])
        self.sums = row if self.sums is None else self.sums + row
        self.seen += 1
        if self.seen == self.recipe.args.log_steps:
            self.write()

    def write(self) -> None:
        recipe, seconds = self.recipe, time.monotonic() - self.begun
        cosine, *errors = (self.sums / self.seen).tolist()
        a_second = self.seen * recipe.args.batch * recipe.world / seconds
        line = {"pictures": recipe.pictures, "a_second": round(a_second, 1), "rate": recipe.rate()}
        line |= {"forced": round(recipe.forced_share(), 3), "hint_weight": round(recipe.hint_weight(), 3)}
        line |= {"cosine": round(cosine, 4), "hint_errors": [round(e, 4) for e in errors]}
        self.seen, self.begun, self.sums = 0, time.monotonic(), None
        recipe.record(line)


def train(recipe: Recipe) -> None:
    """Until it's finished, or a polite signal asks to stop; an impolite one loses the minutes since the last save."""
    args, stop = recipe.args, asked_to_stop()
    args.work.mkdir(parents=True, exist_ok=True)
    log, saved, published = Log(recipe), time.monotonic(), time.monotonic()
    for lessons in recipe.batches(recipe.step):
        if recipe.stopped(stop) or recipe.finished():
            break
        log.add(recipe.train_step(lessons))
        if time.monotonic() - saved > args.save_minutes * 60:
            recipe.save()
            saved = time.monotonic()
        if time.monotonic() - published > args.publish_minutes * 60:
            recipe.publish()
            recipe.record({"pictures": recipe.pictures, "validation_cosine": round(recipe.validate(), 4)})
            saved = published = time.monotonic()
    recipe.publish()
    recipe.record({"pictures": recipe.pictures, "validation_cosine": round(recipe.validate(), 4)})


def main(given=None) -> None:
    with processes():
        keep_memory()
        train(Recipe(arguments(given)))


if __name__ == "__main__":
    main()
