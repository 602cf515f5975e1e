"""Faces in the look of a door's camera, in one pass: `python looks.py train --faces CROPS --work WORK`, then `paint` or `tune`.

Huang and Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization" (2017): a frozen encoder turns
content and style into tensors, the content's channels get the style's means and deviations, and a small decoder, which is all
that learns, turns that back into a picture. The encoder is the project's own. What is asked of the painted picture:

    content    its tensor is the one that was asked for
    style      its means and deviations, at several layers, are the style's
    identity   its encoding is the plain face's: 1 − cos. A face that is somebody else's is no use, however it looks

The style is a folder of the camera's own pictures, or without one what `exposure.py` makes of other faces: grey infrared, low
light, a lamp from the side, cheap optics. `tune` is for measuring whether it helps: an encoder learns, at equal budgets, to say of
styled, ordinarily augmented, exposed and plain faces what its teacher says of the plain; `looks_evaluate.py` compares them.
"""

import argparse
import hashlib
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

import checkpoints
from data import augment, load_crops, middle, pictures_under, read_crops
from exposure import Light
from nets import FACE, Encoder
from running import asked_to_stop, autocast, keep_memory, record
from see import HERE, layers
from teacher import OnnxTeacher

MIXED = "block01"  # where the style is put in: 28 x 28 places of 64 channels, of 19 pixels each
LAYERS = ("stem", "block01", "block05")  # whose means and deviations are the style
ARMS = ("none", "ordinary", "exposed", "styled", "both")  # what the student is shown, see `disguised`
GREY = 127.5
BEYOND = 10.0  # weight of pixels beyond 0 to 255
EPSILON = 1e-5  # added to variances, as instance normalisation has it


def moments(a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each channel's mean and deviation over its places, N x c x 1 x 1 each; the deviation is never 0."""
    variance, mean = torch.var_mean(a, (2, 3), keepdim=True, correction=0)
    return mean, (variance + EPSILON).sqrt()


def adain(content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """`content`, N x c x h x w, with the channel means and deviations of `style`, N x c x any x any."""
    (mean, deviation), (to_mean, to_deviation) = moments(content), moments(style)
    return (content - mean) / deviation * to_deviation + to_mean


class Seen:
    """The frozen encoder, part by part."""

    def __init__(self, encoder: Encoder):
        self.encoder = encoder.eval().requires_grad_(False)
        names = {module: name for name, module in layers(encoder).items()}
        self.parts = [(names.get(part), part) for part in encoder.parts]  # the head as a whole has no name

    def __call__(self, pixels: torch.Tensor, last: str | None = None) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The trunk's tensors by name and, unless it ends at the layer `last`, the encodings, of unit length."""
        x, seen = pixels / 255, {}
        for name, part in self.parts:
            x = part(x)
            if name is not None:
                seen[name] = x
                if name == last:
                    return seen, x
        return seen, F.normalize(x)


class Painter(nn.Module):
    """The decoder: 64 x 28 x 28 back to 3 x 112 x 112, about 0 to 255; what goes beyond is a cost. Nearest neighbours and 3x3
    filters make no checkerboards."""

    def __init__(self, channels: int = 64):
        super().__init__()

        def filtering(inputs, outputs):
            return [nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect"), nn.ReLU(inplace=True)]

        up = lambda: nn.Upsample(scale_factor=2, mode="nearest")  # noqa: E731
        self.layers = nn.Sequential(
            *filtering(channels, 64), *filtering(64, 64), up(), *filtering(64, 32), *filtering(32, 32), up(),
            *filtering(32, 16), nn.Conv2d(16, 3, 3, padding=1, padding_mode="reflect"),
        )  # fmt: skip

    def forward(self, tensor):
        # No sigmoid: one that saturates early has no gradient to come back by, and a colour is gone for good.
        return GREY + 255 * self.layers(tensor)


def paint(seen: Seen, painter: Painter, content: torch.Tensor, style: torch.Tensor, share: float = 1.0):
    """`content` in the look of `style`, each N x 3 x 112 x 112; of the tensor that was asked for the style has this share.

    Returns the pictures and that tensor.
    """
    plain = seen(content, MIXED)[1]
    asked = torch.lerp(plain, adain(plain, seen(style, MIXED)[1]), share)
    return painter(asked), asked


def costs(seen: Seen, painted, asked, content, style) -> dict[str, torch.Tensor]:
    """Content, style and identity, see the module, and how far pixels go beyond 0 to 255; each a mean."""
    with torch.no_grad():
        own, of_style = seen(content)[1], seen(style, LAYERS[-1])[0]
    tensors, encoding = seen(painted)
    scale = asked.square().mean()
    style_cost = 0
    for name in LAYERS:
        (mean, deviation), (to_mean, to_deviation) = moments(tensors[name]), moments(of_style[name])
        # Relative to how much the layer varies, so that no layer has the say by its scale alone.
        size = to_deviation.square().mean()
        style_cost = style_cost + (F.mse_loss(mean, to_mean) + F.mse_loss(deviation, to_deviation)) / size
    content_cost = F.mse_loss(tensors[MIXED], asked) / scale
    beyond = ((painted - painted.clamp(0, 255)) / 255).square().mean()
    identity = 1 - (own * encoding).sum(1).mean()
    return {"content": content_cost, "style": style_cost / len(LAYERS), "identity": identity, "beyond": beyond}


class Faces:
    """Crops in memory, and the looks that they are given. A step's pictures follow from the seed and the step alone."""

    def __init__(self, crops: np.ndarray, styles: np.ndarray | None, seed: int):
        self.crops, self.styles, self.seed = crops, styles, seed
        # What a door's camera makes of a crop in another light, 128 x 128 x 3 bytes.
        self.exposed = Light((crops.shape[1] - FACE) // 2, seed)

    def chosen(self, step: int, count: int) -> tuple[np.ndarray, np.random.Generator]:
        """The indices of `count` crops, and the step's generator."""
        random = np.random.default_rng((self.seed, step))
        return random.integers(len(self.crops), size=count), random

    def plain(self, step: int, count: int) -> tuple[torch.Tensor, np.random.Generator]:
        """`count` crops, N x 128 x 128 x 3 bytes, and the step's generator."""
        chosen, random = self.chosen(step, count)
        return torch.from_numpy(self.crops[chosen]), random

    def looks(self, random: np.random.Generator, count: int) -> torch.Tensor:
        """Pictures whose look is to be had, N x 3 x 112 x 112."""
        if self.styles is not None:
            return middle(torch.from_numpy(self.styles[random.integers(len(self.styles), size=count)]))
        chosen = self.crops[random.integers(len(self.crops), size=count)]
        return middle(torch.from_numpy(np.stack([self.exposed(crop, random) for crop in chosen])))


def load_faces(args: argparse.Namespace) -> Faces:
    paths = pictures_under(args.faces)
    if args.most and len(paths) > args.most:
        paths = [paths[i] for i in np.random.default_rng(args.seed).choice(len(paths), args.most, replace=False)]
    return Faces(read_crops(paths)[0], load_crops(args.styles) if args.styles else None, args.seed)


def train(args: argparse.Namespace) -> None:
    """Goes on where it was stopped. Writes `looks.state.pt` and, small, `looks.pt` into the work folder."""
    faces, seen = load_faces(args), Seen(checkpoints.load_small(args.encoder)[0])
    torch.manual_seed(args.seed)
    painter = Painter()
    adam = torch.optim.Adam(painter.parameters(), args.rate)
    state_path, step, stop = args.work / "looks.state.pt", 0, asked_to_stop()
    if state_path.exists():
        state = checkpoints.load(state_path)
        painter.load_state_dict(state["painter"])
        adam.load_state_dict(state["adam"])
        step = state["step"]
    args.work.mkdir(parents=True, exist_ok=True)
    for step in tqdm(range(step + 1, args.steps + 1), initial=step, total=args.steps, unit="step", disable=None):
        crops, random = faces.plain(step, args.batch)
        content, style = middle(crops), faces.looks(random, args.batch)
        for group in adam.param_groups:
            group["lr"] = args.rate * min(1, 2 * (1 - (step - 1) / args.steps))  # level, then falling to 0
        each = costs(seen, *paint(seen, painter, content, style), content, style)
        loss = each["content"] + args.style * each["style"] + args.identity * each["identity"] + BEYOND * each["beyond"]
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % args.log_steps == 0:
            measured = {name: round(float(cost.detach()), 4) for name, cost in each.items()}
            record(args.work / "looks.log.jsonl", {"step": step} | measured)
        if step == args.stop_after:
            stop.append(True)
        if stop or step % args.save_steps == 0 or step == args.steps:
            state = {"painter": painter.state_dict(), "adam": adam.state_dict(), "step": step}
            checkpoints.save_atomically(state, state_path)
            checkpoints.save_small(painter, step * args.batch, args.work / "looks.pt")
        if stop:
            return


def load_painter(path: Path) -> Painter:
    if not path.exists():
        raise SystemExit(f"{path} isn't there; `looks.py train` makes it")
    return checkpoints.fill(Painter(), checkpoints.load(path), path).requires_grad_(False)


@torch.no_grad()
def paint_all(args: argparse.Namespace) -> None:
    """A sheet: plain faces in the first column, each in the look of the pictures of the first line."""
    faces, seen = load_faces(args), Seen(checkpoints.load_small(args.encoder)[0])
    painter = load_painter(args.work / "looks.pt")
    crops, random = faces.plain(0, 6)
    content, style = middle(crops), faces.looks(random, 6)
    rows = [torch.cat([torch.full_like(content[:1], 250), style])]
    kept = []
    for face in content:
        painted = paint(seen, painter, face.expand_as(style), style)[0]
        kept.append((seen(face[None])[1] * seen(painted)[1]).sum(1))
        rows.append(torch.cat([face[None], painted]))
    sheet = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
    pixels = sheet.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    path = args.work / "looks.jpg"
    if not cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)):
        raise SystemExit(f"{path} can't be written")
    print(f"{path}: similarity of a painted face to its plain one {float(torch.cat(kept).mean()):.3f}")


def wanted_of(args: argparse.Namespace, faces: Faces) -> torch.Tensor:
    """What is to be said of each crop, whatever it is disguised as: the teacher's encoding of it, of unit length. Made once and kept."""
    source = (args.teacher or args.encoder).read_bytes() + args.normalise.encode() + faces.crops.tobytes()
    path = args.work / f"wanted-{hashlib.sha256(source).hexdigest()[:12]}.npy"
    if not path.exists():
        teacher = OnnxTeacher(args.teacher, args.normalise) if args.teacher else Seen(checkpoints.load_small(args.encoder)[0])
        made, precise = [], autocast(args.precision, torch.device("cpu"))
        with torch.no_grad(), precise():
            for some in tqdm(torch.from_numpy(faces.crops).split(32), desc="teacher", disable=None):
                made.append(F.normalize(teacher(middle(some))[1].float()))
        checkpoints.keep(path, torch.cat(made).numpy())
    return torch.from_numpy(np.load(path))


def tune(args: argparse.Namespace) -> None:
    """The student after the same number of pictures of each kind: `STUDENT-ARM.pt`, for export.py and looks_evaluate.py.

    Every arm has the same crops in the same order, and what it shall say of them is what the teacher says of them plain.
    BatchNorms keep their statistics, as small budgets would only blur them. Goes on where it was stopped.
    """
    faces, stop = load_faces(args), asked_to_stop()
    wanted = wanted_of(args, faces)
    seen = Seen(checkpoints.load_small(args.encoder)[0])
    painter = load_painter(args.work / "looks.pt") if {"styled", "both"} & set(args.arms) else None
    for arm in args.arms:
        tune_arm(args, arm, faces, wanted, seen, painter, stop)
        if stop:
            return


def tune_arm(args, arm: str, faces: Faces, wanted: torch.Tensor, seen: Seen, painter: Painter | None, stop: list) -> None:
    student, pictures = checkpoints.load_small(args.student)
    adam, done, lost = torch.optim.Adam(student.parameters(), args.tune_rate), 0, []
    path = args.work / f"{args.student.stem}-{arm}.pt"
    state_path, precise = path.with_suffix(".state.pt"), autocast(args.precision, torch.device("cpu"))
    if state_path.exists():
        state = checkpoints.load(state_path)
        student.load_state_dict(state["student"])
        adam.load_state_dict(state["adam"])
        done, lost = state["step"], state["lost"]
    last = min(args.steps, args.stop_after or args.steps)
    for step in tqdm(range(done + 1, last + 1), desc=arm, initial=done, total=last, unit="step", disable=None):
        chosen, random = faces.chosen(step, args.batch)
        crops = torch.from_numpy(faces.crops[chosen])
        with torch.no_grad():
            shown = disguised(arm, crops, seen, painter, faces, random, step)
        for group in adam.param_groups:
            group["lr"] = args.tune_rate * (1 - (step - 1) / args.steps)
        with precise():
            said = student(shown)
        loss = 1 - (wanted[chosen] * F.normalize(said.float())).sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        lost.append(float(loss.detach()))
        if stop or step % args.save_steps == 0 or step == last:
            state = {"student": student.state_dict(), "adam": adam.state_dict(), "step": step, "lost": lost}
            checkpoints.save_atomically(state, state_path)
        if stop and step < last:
            return
    checkpoints.save_small(student, pictures + last * args.batch, path)
    tenth = max(1, len(lost) // 10)
    first, last = 1 - np.mean(lost[:tenth]), 1 - np.mean(lost[-tenth:])
    print(f"{path}: cosine to the teacher {first:.3f} at first, {last:.3f} at last", flush=True)


def disguised(arm, crops, seen, painter, faces, random, step) -> torch.Tensor:
    """What the student is shown of these crops, N x 3 x 112 x 112; of "both", the first half ordinary and the second styled."""
    if arm == "none":
        return middle(crops)
    if arm == "ordinary":
        return augment(crops, torch.Generator().manual_seed(step), mix=False)
    if arm == "exposed":
        return middle(torch.from_numpy(np.stack([faces.exposed(crop, random) for crop in crops.numpy()])))
    if arm == "both":
        halves = zip(("ordinary", "styled"), crops.tensor_split(2))
        return torch.cat([disguised(kind, half, seen, painter, faces, random, step) for kind, half in halves])
    share = float(random.uniform(0.3, 1))
    return paint(seen, painter, middle(crops), faces.looks(random, len(crops)), share)[0].clamp(0, 255)


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("what", choices=["train", "paint", "tune"])
    add("--faces", type=Path, required=True, help="align.py's crops")
    add("--styles", type=Path, help="crops of the door's own camera [default: exposure.py's doing]")
    add("--work", type=Path, required=True)
    add("--encoder", type=Path, default=HERE / "checkpoints/encoder.pt")
    add("--student", type=Path, default=HERE / "checkpoints/encoder-small.pt", help="tune: where each arm begins")
    add("--teacher", type=Path, help="tune: ONNX of the teacher [default: --encoder]")
    add("--normalise", choices=["imagenet", "raw"], default="imagenet", help="what the teacher's input is")
    add("--precision", choices=["auto", "bf16", "float"], default="auto", help="tune: of student and teacher")
    add("--arms", nargs="+", choices=ARMS, default=ARMS)
    add("--most", type=int, default=20_000, help="crops that are kept in memory, 49 kB each; 0: all")
    add("--steps", type=int, default=4000)
    add("--batch", type=int, default=8)
    add("--rate", type=float, default=2e-3, help="train: of Adam, falling to 0 over the second half")
    add("--tune-rate", type=float, default=2e-4, help="tune: of Adam, falling to 0")
    add("--style", type=float, default=0.3, help="weight of the style")
    add("--identity", type=float, default=3.0, help="weight of the identity")
    add("--log-steps", type=int, default=25)
    add("--save-steps", type=int, default=200)
    add("--stop-after", type=int, help="this step; the same command goes on")
    add("--seed", type=int, default=1)
    add("--threads", type=int, default=1)
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    keep_memory()
    {"train": train, "paint": paint_all, "tune": tune}[args.what](args)


if __name__ == "__main__":
    main()
