"""A siamese network with triplet loss: `python triplets.py --people FOLDER --work DIR`, a folder with a folder a person.

The same network encodes anchor, positive and negative; mining.py says which triplets of a batch it learns from. What it
starts from is nothing, or with `--from` an encoder that encoder.py distilled; with `--teacher` it goes on imitating the
teacher's encodings beside the triplets, so that what few people teach doesn't undo what many have taught.

The share of active triplets is logged all along, and the accuracy on pairs of people who are kept back. The full state is saved
and resumed as encoder.py's is; the small checkpoint is written when training ends or is stopped, and is gone on from only where
`--from` names it.
"""

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import checkpoints
from data import Batches, augment, called_a_picture, middle, pictures_under, read_crops, share, split
from encoder import _optimiser
from evaluate import accuracy
from mining import KINDS, distances, mine, triplet_loss
from nets import Encoder, EncoderConfig
from running import Run, asked_to_stop, keep_memory, processes
from teacher import OnnxTeacher

HERE = Path(__file__).parent


def arguments(given=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--people", type=Path, nargs="+", required=True, help="folders of aligned 128x128 crops, in each a folder a person")
    add("--identities", type=Path, help="lines `picture person`, for pictures in no person's folder, but in one of --people itself; "
        "1.jpg.png is 1.jpg or 1")  # fmt: skip
    add("--work", type=Path, required=True, help="folder outside the repository for the full state and the log")
    add("--name", default="encoder-triplets", help="of the network")
    add("--checkpoints", type=Path, default=HERE / "checkpoints", help="folder of the small checkpoint")
    add("--from", type=Path, dest="start", help="small checkpoint to start from; --width is ignored then")
    add("--width", type=float, default=EncoderConfig.width, help="1.0 is full, 0.5 is small")
    add("--mining", choices=KINDS, default="semi-hard")
    add("--margin", type=float, default=0.2, help="α, in squared distances of unit-length encodings")
    add("--teacher", type=Path, help="ONNX of a teacher whose encodings are imitated as well")
    add("--normalise", choices=["imagenet", "raw"], default="imagenet", help="what the teacher's input is")
    add("--teacher-weight", type=float, default=1.0, help="of one minus the cosine to the teacher's encoding")
    add("--triplet-weight", type=float, default=1.0, help="of the triplet loss; 0 leaves the teacher alone")
    add("--batch", type=int, default=64, help="pictures a step and process")
    add("--each", type=int, default=4, help="pictures of a person in a batch, where there are as many")
    add("--rate", type=float, default=1e-3, help="learning rate; it falls to 0 over the last third")
    add("--warm-up", type=int, default=50, help="steps")
    add("--memory", type=int, default=500, help="steps that the average of weights reaches back")
    add("--pictures", type=int, default=200_000, help="to see in all")
    add("--held-out", type=share, default=0.1, help="share of the people who are kept back to measure on")
    add("--seed", type=int, default=1)
    add("--precision", choices=["auto", "bf16", "float"], default="auto")
    add("--threads", type=int, default=0, help="CPU threads; 0: as many as there are cores")
    add("--save-minutes", type=float, default=5)
    add("--log-steps", type=int, default=25)
    add("--measure-steps", type=int, default=100, help="between measurements of the accuracy")
    return parser.parse_args(given)


class People:
    """Crops, the number of each one's person, and who trains and who is measured on."""

    def __init__(self, args: argparse.Namespace):
        known = dict(line.split() for line in args.identities.read_text().splitlines() if line.strip()) if args.identities else {}
        paths, names, called = [], [], {}
        for folder in args.people:
            for path in pictures_under(folder):
                photo = Path(path.stem)  # align.py's crop of 1.jpg is 1.jpg.png, and the list may have either's name without its ending
                listed = known.get(photo.name) or (known.get(photo.stem) if called_a_picture(photo) else None)
                name = str(path.parent) if path.parent != folder else listed
                if name is not None:
                    paths.append(path)
                    names.append(name)
                    called[name] = path.parent.relative_to(folder) if path.parent != folder else name
        every, number, count = np.unique(names, return_inverse=True, return_counts=True)
        several = count[number] > 1  # of a person with a single picture there's no positive
        paths = [path for path, kept in zip(paths, several) if kept]
        if not paths:
            raise SystemExit("nobody has two pictures; put each person's in a folder")
        self.crops, kept = read_crops(paths)
        there, self.person = np.unique(number[several][kept], return_inverse=True)
        self.names = [str(called[every[index]]) for index in there]
        sides = split(self.names, args.held_out, args.seed)
        self.training, self.held = (np.flatnonzero(np.isin(self.person, people)) for people in sides)

    def pairs(self, seed: int, most: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of those kept back: first and second picture, as places in `held`, and whether they're one person's.

        Every pair of one person's pictures up to `most`, and as many of different people.
        """
        random, people = np.random.default_rng(seed), self.person[self.held]
        ours = drawn_pairs(people, True, most, random)
        theirs = drawn_pairs(people, False, ours.shape[1], random)
        chosen = np.stack([ours[:, : theirs.shape[1]], theirs], 2).reshape(2, -1)
        return *chosen, people[chosen[0]] == people[chosen[1]]


def drawn_pairs(person: np.ndarray, same: bool, most: int, random: np.random.Generator) -> np.ndarray:
    """2 x up to `most` places in `person`: pairs of one's pictures (`same`) or of two people's, in a random order, none twice, each as
    likely as any other. They are drawn by their number: a list of all pairs of 60,000 pictures would take 29 GB."""
    order = np.argsort(person, kind="stable")
    place = np.arange(len(order))
    end = np.searchsorted(person[order], person[order], side="right")  # of the first one's person
    begin, counts = (place + 1, end - place - 1) if same else (end, len(order) - end)
    until = np.cumsum(np.append(0, counts))
    chosen = random.choice(until[-1], min(most, until[-1]), replace=False)
    first = np.searchsorted(until[1:], chosen, side="right")
    return order[np.stack([first, begin[first] + chosen - until[first]])]


class PeopleBatches(Batches):
    """Batches of (pictures, their people): groups of up to `each` pictures of a person, in a random order."""

    def __init__(self, people: People, each: int, *rest):
        self.person, self.each = people.person, each
        super().__init__(people.crops, people.training, *rest)

    def _shuffled(self, random):
        order = random.permutation(self.indices)
        order = order[np.argsort(self.person[order], kind="stable")]
        person = self.person[order]
        starts = np.r_[0, np.flatnonzero(np.diff(person)) + 1]
        nth = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
        group = np.cumsum((nth % self.each == 0)) - 1
        return order[np.argsort(random.permutation(group.max() + 1)[group], kind="stable")]

    def make(self, step: int):
        first = (step * self.world + self.rank) * self.batch
        chosen = np.array([self._index(place) for place in range(first, first + self.batch)])
        generator = torch.Generator(self.device).manual_seed((self.seed * 1_000_003 + step) * self.world + self.rank)
        pixels = augment(torch.from_numpy(self.crops[chosen]).to(self.device), generator, mix=False)
        return pixels, torch.from_numpy(self.person[chosen]).to(self.device)


class Siamese(Run):
    """One training: what it holds, and what a step, a save and a resume are."""

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        self.teacher = OnnxTeacher(args.teacher, args.normalise).to(self.device) if args.teacher else None
        self.people = People(args)
        self.pairs = self.people.pairs(args.seed)
        self._start()

    def _start(self) -> None:
        args, self.step, self.pictures = self.args, 0, 0
        state = checkpoints.load(self.state_path) if self.state_path.exists() else None
        if state:
            student = Encoder(EncoderConfig.from_dict(state["config"]))
            student.load_state_dict(state["student"])
        elif args.start:
            student = checkpoints.load_small(args.start)[0].train()
        else:
            student = Encoder(replace(EncoderConfig(), width=args.width))
        self.student = student.to(self.device, memory_format=torch.channels_last)
        self.average = checkpoints.Average(self.student, args.memory)
        self.optimiser = _optimiser(self.student, args.rate)
        if state:
            self.average.network.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.pictures = state["step"], state["pictures"]
        self.wrapped = nn.parallel.DistributedDataParallel(self.student) if self.world > 1 else self.student

    def batches(self, start: int) -> PeopleBatches:
        args = self.args
        return PeopleBatches(self.people, args.each, args.batch, args.seed, start, self.rank, self.world, self.device)

    def rate(self) -> float:
        left = 1 - self.pictures / self.args.pictures
        return self.args.rate * min(1.0, (self.step + 1) / max(1, self.args.warm_up)) * min(1.0, 3 * max(0.0, left))

    def train_step(self, batch) -> dict:
        pixels, people = batch
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate() * group["share"]
        with self.autocast():
            raw = self.wrapped(pixels)
            with torch.no_grad():
                target = self.teacher(pixels)[1].float() if self.teacher else None
        encodings = F.normalize(raw.float())
        generator = torch.Generator(self.device).manual_seed(self.args.seed * 7_919 + self.step)
        apart = distances(encodings)
        triplets = mine(self.args.mining, apart, people, generator)
        loss, active = triplet_loss(apart, triplets, self.args.margin)
        measured = {"triplet_loss": loss.detach(), "active": active}
        loss = self.args.triplet_weight * loss
        if target is not None:
            cosine = (encodings * F.normalize(target)).sum(1).mean()
            loss = loss + self.args.teacher_weight * (1 - cosine)
            measured["cosine"] = cosine.detach()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.average.update(self.student, self.step)
        self.step += 1
        self.pictures += len(pixels) * self.world
        return measured

    @torch.no_grad()
    def measure(self) -> dict:
        """Accuracy of the averaged network on the pairs of people kept back, each tenth by the others' threshold."""
        first, second, same = self.pairs
        if len(same) < 20:
            return {"pictures": self.pictures, "pairs": len(same)}
        shown, place = np.unique([first, second], return_inverse=True)
        first, second = place.reshape(2, -1)
        encodings = []
        for chosen in torch.from_numpy(self.people.held[shown]).split(64):
            with self.autocast():
                raw = self.average.network(middle(torch.from_numpy(self.people.crops[chosen.numpy()]).to(self.device)))
            encodings.append(F.normalize(raw.float()))
        encodings = torch.cat(encodings).cpu().numpy()
        usable = len(same) // 20 * 20  # ten folds of as many pairs of one person as of two
        scores = (encodings[first] * encodings[second]).sum(1)[:usable]
        mean, deviation = accuracy(scores, same[:usable], folds=10)
        return {"pictures": self.pictures, "pairs": usable, "accuracy": round(mean, 4), "deviation": round(deviation, 4)}

    def save(self) -> None:
        if self.rank == 0:
            state = {"config": asdict(self.student.config), "step": self.step, "pictures": self.pictures}
            state |= {"student": self.student.state_dict(), "average": self.average.network.state_dict()}
            checkpoints.save_atomically(state | {"optimiser": self.optimiser.state_dict()}, self.state_path)

    def publish(self) -> None:
        if self.rank == 0:
            checkpoints.save_small(self.average.network, self.pictures, self.args.checkpoints / f"{self.args.name}.pt")


class Means:
    """Of what the steps since the last line measured."""

    def __init__(self):
        self.sums, self.count, self.begun = {}, 0, time.monotonic()

    def add(self, measured: dict) -> None:
        self.count += 1
        for name, value in measured.items():
            self.sums[name] = self.sums.get(name, 0) + value

    def line(self, siamese: Siamese) -> dict:
        pictures = self.count * siamese.args.batch * siamese.world
        line = {"pictures": siamese.pictures, "a_second": round(pictures / (time.monotonic() - self.begun), 1)}
        line |= {"rate": float(f"{siamese.rate():.3g}")} | {name: round(float(s / self.count), 4) for name, s in self.sums.items()}
        self.__init__()
        return line


def train(siamese: Siamese) -> None:
    """Until all pictures are seen, or a polite signal asks to stop; an impolite one loses the minutes since the last save."""
    args, stop = siamese.args, asked_to_stop()
    args.work.mkdir(parents=True, exist_ok=True)
    if siamese.step == 0:
        siamese.record(siamese.measure())
    means, saved = Means(), time.monotonic()
    for batch in siamese.batches(siamese.step):
        if siamese.stopped(stop) or siamese.pictures >= args.pictures:
            break
        means.add(siamese.train_step(batch))
        if siamese.step % args.log_steps == 0:
            siamese.record(means.line(siamese))
        if siamese.step % args.measure_steps == 0:
            siamese.record(siamese.measure())
        if time.monotonic() - saved > args.save_minutes * 60:
            siamese.save()
            saved = time.monotonic()
    siamese.save()
    siamese.publish()
    siamese.record(siamese.measure())


def main(given=None) -> None:
    with processes():
        keep_memory()
        train(Siamese(arguments(given)))


if __name__ == "__main__":
    main()
