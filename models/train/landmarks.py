"""Train the network that places a face's five points: `python landmarks.py --faces CROPS --labels LABELS.npz --work DIR`.

A detector's points are a few pixels off, and so is the face that they align. The network sees that face and says where
its points are. It learns this from labels that consensus.py makes: a random similarity and a random error of each point
play the detector, and what its points would have shown is what the network is shown.

The input is a square of 80 pixels that shows 4 pixels more on each side than an aligned face has, RGB, 0 to 255; the
output is x and y of the right eye (at the left), left eye, nose, right and left corner of the mouth, in pixels of
ArcFace's template. As in the encoder's recipe, an average of the weights is what's kept, and the same command goes on
where it was stopped, or from the checkpoint that travels with the repository, unless `--anew` says not to. It is small: one process, on
a GPU where there is one, is enough.
"""

import argparse
import math
import os
import time
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import nn

import consensus
from align import TEMPLATE
from checkpoints import earlier, fill, load, parsed, save_atomically, save_small, tell_beginning
from data import read_crops, share, split
from export import IR_VERSION, OPSET, _Graph
from nets import FACE, Block, ConvBn
from running import asked_to_stop, autocast, keep_memory, record

SIDE = 80  # of the input, in pixels
MARGIN = 4  # pixels of the template that it shows beyond an aligned face
STEP = (FACE + 2 * MARGIN) / SIDE  # pixels of the template to one of the input
SPREAD = 8.0  # pixels of the template that one unit of the last layer is worth
SMALL_LIMIT = 1_000_000  # bytes that the checkpoint in the repository may have
MIRRORED = consensus.MIRRORED
# (inner, outer) channels and stride of the inverted residual blocks after a stem of 16 channels: 7.75 million products.
STEM, BLOCKS, HEAD = 16, ((32, 24, 2), (64, 24, 1), (72, 40, 2), (112, 40, 1), (112, 40, 1), (112, 64, 2), (160, 64, 1)), 64


class Landmarks(nn.Module):
    """MobileNetV2's blocks (Sandler et al. 2018) down to 5x5, and one product of all that's left there: where a feature
    lies is what is asked for, so nothing is pooled."""

    def __init__(self):
        super().__init__()
        layers, channels, side = [ConvBn(3, STEM, kernel=3, stride=2)], STEM, SIDE // 2
        for inner, outer, stride in BLOCKS:
            layers.append(Block(channels, inner, outer, stride))
            channels, side = outer, side // stride
        layers.append(ConvBn(channels, HEAD))
        self.layers = nn.Sequential(*layers)
        self.points = nn.Conv2d(HEAD, 10, side)
        nn.init.normal_(self.points.weight, std=0.01)
        nn.init.zeros_(self.points.bias)
        self.register_buffer("template", torch.from_numpy(TEMPLATE).flatten(), persistent=False)

    def forward(self, pixels):
        """`pixels`: N x 3 x 80 x 80, RGB, 0 to 255 → N x 10, pixels of the template."""
        return self.template + SPREAD * self.points(self.layers(pixels / 255)).flatten(1).float()


def products(network: Landmarks) -> int:
    """Multiplications of one pass."""
    total, hooks = [], []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda m, _, out: total.append(out[0].numel() * m.weight[0].numel())))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, SIDE, SIDE))
    for hook in hooks:
        hook.remove()
    return sum(total)


def to_onnx(network: Landmarks) -> onnx.ModelProto:
    """Node by node, as export.py does it for the encoder: input "pixels", output "points" (1 x 10)."""
    graph, x = _Graph(), "pixels"
    stem, *blocks, head = network.layers
    x = graph.conv(stem, x, "stem", scale=1 / 255)
    for index, block in enumerate(blocks):
        x = graph.block(block, x, f"block{index:02}")
    x = graph.conv(head, x, "head")
    weight = graph.weight(network.points.weight * SPREAD, "points.weight")
    bias = graph.weight(network.points.bias * SPREAD + network.template, "points.bias")
    x = graph.node("Conv", [x, weight, bias], "points.conv", kernel_shape=list(network.points.kernel_size))
    graph.node("Flatten", [x], "points", axis=1)
    source = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    result = helper.make_tensor_value_info("points", TensorProto.FLOAT, [1, 10])
    made = helper.make_graph(graph.nodes, "facelatch-landmarks", [source], [result], graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="facelatch")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def load_small(path: Path) -> tuple[Landmarks, int]:
    """The network, ready for inference, and how many pictures it has seen."""
    state, network = load(path), Landmarks()
    try:
        return fill(network, state, path), state["pictures"]
    except RuntimeError as error:
        raise SystemExit(f"{path} has another layout: {error}") from error


# What a detector's points are off by, as YuNet's were on 200 photos at 320 pixels (standard deviation 1.2 pixels of the
# template for the shift, .033 for the scale, 3.5 degrees, one point 1.4 pixels; the largest 7.3, .10, 16 and 4.7), and
# a second pass's, which is the network's own error. Share of the pictures, then standard deviations in that order.
ERRORS = ((0.35, 0.4, 0.01, 0.7, 0.5), (0.45, 1.5, 0.04, 4.0, 1.5), (0.20, 4.0, 0.09, 9.0, 2.5))


def coarse(points: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """N x 5 x 2 → the same as a detector might have them."""
    spread = np.array(ERRORS)
    shift, scale, turn, single = spread[random.choice(len(ERRORS), len(points), p=spread[:, 0]), 1:].T
    z = points[..., 0] + 1j * points[..., 1]
    normal = random.standard_normal
    a = np.exp(normal(len(z)) * scale + 1j * np.radians(normal(len(z)) * turn))
    b = (normal(len(z)) + 1j * normal(len(z))) * shift
    middle = z.mean(1, keepdims=True)
    z = middle + (z - middle) * a[:, None] + b[:, None] + (normal(z.shape) + 1j * normal(z.shape)) * single[:, None]
    return np.stack([z.real, z.imag], -1)


def similarities(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """align.similarity of N x 5 x 2 to the template at once: complex a and b of z → a·z + b."""
    z, w = points[..., 0] + 1j * points[..., 1], TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
    centred = z - z.mean(1, keepdims=True)
    a = (centred.conj() * (w - w.mean())).sum(1) / (abs(centred) ** 2).sum(1)
    return a, w.mean() - a * z.mean(1)


def views(crops: np.ndarray, points: np.ndarray, seen: np.ndarray, random: np.random.Generator | None):
    """What the network is shown of each crop where a detector saw its points at `seen`, N x 80 x 80 x 3, and the true
    points there, N x 5 x 2 in pixels of the template. With random numbers, pictures are disturbed, some crops are of few
    pixels and some have a black border."""
    a, b = similarities(seen)
    shown = np.empty((len(crops), SIDE, SIDE, 3), np.uint8)
    for index, crop in enumerate(crops):
        # Crop → template is z - margin; then a·z + b; then the view's pixels, whose first centre lies half a step in.
        scale, shift = a[index] / STEP, b[index] - a[index] * (1 + 1j) * consensus.MARGIN
        shift = (shift + (MARGIN + 0.5) * (1 + 1j)) / STEP - (0.5 + 0.5j)
        border = cv2.BORDER_REPLICATE
        if random is not None:
            border = cv2.BORDER_CONSTANT if random.random() < 0.3 else border
            if random.random() < 0.15:
                side = int(crop.shape[0] / random.uniform(1.5, 4))
                coarser = crop.shape[0] / side
                crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
                shift, scale = shift + scale * (1 + 1j) * (coarser - 1) / 2, scale * coarser
        matrix = np.array([[scale.real, -scale.imag, shift.real], [scale.imag, scale.real, shift.imag]])
        view = cv2.warpAffine(crop, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=border)
        shown[index] = view if random is None else disturb(view, random)
    z = a[:, None] * (points[..., 0] + 1j * points[..., 1]) + b[:, None]
    return shown, np.stack([z.real, z.imag], -1)


GREY = np.array([[0.299, 0.587, 0.114]] * 3, np.float32)  # ITU-R BT.601
LINE = np.linspace(-1, 1, SIDE, dtype=np.float32)
NOISE = np.random.default_rng(0).standard_normal((4 * SIDE, 4 * SIDE, 3), np.float32)  # drawn once, shown in parts


def disturb(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """80 x 80 x 3 bytes: what a door's light and camera do to a picture, and hands, scarves and hair before a face."""
    chance, uniform = random.random, random.uniform
    levels = np.linspace(1e-3, 1, 256) ** np.exp(uniform(-0.8, 0.8) if chance() < 0.6 else 0)
    levels = levels[:, None] * uniform(0.85, 1.15, 3) * np.exp(uniform(-1.2, 0.3) if chance() < 0.5 else 0)
    x = cv2.LUT(x, (levels * 255).clip(0, 255).astype(np.uint8)[None])
    if chance() < 0.25:
        x = cv2.transform(x, GREY)
    if chance() < 0.4:
        side = np.exp(uniform(-1.8, 1.8) * LINE[None, :] + uniform(-0.9, 0.9) * LINE[:, None]).astype(np.float32)
        x = cv2.multiply(x, cv2.merge([side] * 3), dtype=cv2.CV_8U)
    if chance() < 0.2:
        # A patch of one colour over up to a quarter of the face (DeVries & Taylor 2017, "Cutout").
        left, top, width, height = (random.integers(0, SIDE, 4) * (1, 1, 0.5, 0.5)).astype(int) - (8, 8, -4, -4)
        x[max(0, top) : top + height, max(0, left) : left + width] = random.integers(0, 256, 3)
    if chance() < 0.35:
        x = cv2.GaussianBlur(x, (0, 0), uniform(0.3, 1.7))
    if chance() < 0.4:
        row, column = random.integers(0, 3 * SIDE, 2)
        x = cv2.scaleAdd(NOISE[row : row + SIDE, column : column + SIDE], uniform(0, 15), x.astype(np.float32)).clip(0, 255)
    return x


def pixels_of(shown: np.ndarray, device) -> torch.Tensor:
    return torch.from_numpy(shown).to(device).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)


def small_path(args: argparse.Namespace) -> Path:
    return args.checkpoints / "landmarks.pt"


class Recipe:
    """One training: what it holds, and what a step, a save and a resume are."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(args.seed)
        names, self.points, _ = consensus.merged(consensus.load(args.labels))
        self.crops, decoded = read_crops([args.faces / name for name in names])
        self.points = self.points[decoded]
        self.training, self.validation = split([names[index] for index in decoded], args.validation, args.seed)
        self.network, self.step = Landmarks().to(self.device, memory_format=torch.channels_last), 0
        self.average = Landmarks().to(self.device).eval().requires_grad_(False)
        matrices = [p for p in self.network.parameters() if p.dim() > 1]
        vectors = [p for p in self.network.parameters() if p.dim() == 1]
        groups = [{"params": matrices, "weight_decay": 1e-2}, {"params": vectors, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.99), fused=True)
        self._start()
        self.autocast = autocast("auto", self.device)

    def _start(self) -> None:
        """From the full state where there is one, else from the small checkpoint, else from nothing."""
        args, seen = self.args, 0
        state, small = earlier(args, self.state_path, self.small_path)
        if state:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]
            seen = self.step * args.batch
        elif small:
            # Weights without an optimiser's state: where the full state is on another machine.
            known, seen = load_small(self.small_path)
            self.network.load_state_dict(known.state_dict())
            self.step = seen // args.batch
            self.average.load_state_dict(self.network.state_dict())
        else:
            self.average.load_state_dict(self.network.state_dict())
        path = self.state_path if state else self.small_path if small else None
        if seen >= args.pictures:
            raise SystemExit(
                f"nothing to train: {path} has seen {seen} pictures already. More --pictures go on from it, --anew begins with random "
                "weights, and --pictures 0 with --out writes its ONNX file"
            )
        tell_beginning(path, seen)

    @property
    def state_path(self) -> Path:
        return self.args.work / "landmarks.state.pt"

    @property
    def small_path(self) -> Path:
        return small_path(self.args)

    def rate(self) -> float:
        """Up over the warm-up, level for half of the training, then down to nothing by half a cosine."""
        gone = self.step * self.args.batch / self.args.pictures
        falling = 0.5 + 0.5 * math.cos(math.pi * min(1.0, max(0.0, gone - 0.5) / 0.5))
        return self.args.rate * min(1.0, (self.step + 1) / self.args.warm_up) * falling

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of this step; it follows from the seed and the step's number alone."""
        args, random = self.args, np.random.default_rng((self.args.seed, self.step))
        chosen = random.choice(self.training, min(args.batch, len(self.training)), replace=False)
        crops, points = self.crops[chosen], self.points[chosen]
        mirror = random.random(len(chosen)) < 0.5
        crops[mirror] = crops[mirror][:, :, ::-1]
        points[mirror] = points[mirror][:, MIRRORED] * (-1, 1) + (FACE - 1, 0)
        shown, wanted = views(crops, points, coarse(points, random), random)
        return pixels_of(shown, self.device), torch.from_numpy(wanted.astype(np.float32)).flatten(1).to(self.device)

    def train_step(self) -> torch.Tensor:
        pixels, wanted = self.batch()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        with self.autocast():
            found = self.network.train()(pixels)
        # Beyond one pixel absolute, as in "wing" losses (Feng et al. 2018), so that a wrong label has one voice only.
        loss = F.smooth_l1_loss(found, wanted, beta=1.0)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        share = 1 / min(self.args.memory, 1 + self.step // 10)
        with torch.no_grad():
            for mine, theirs in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                mine.lerp_(theirs, share) if mine.is_floating_point() else mine.copy_(theirs)
        self.step += 1
        return loss.detach()

    @torch.no_grad()
    def validate(self) -> float:
        """Mean distance from the labels of crops kept back, as a share of the distance between the eyes, where a detector
        has been off as ERRORS say."""
        if not len(self.validation):
            return float("nan")
        points = self.points[self.validation]
        shown, wanted = views(self.crops[self.validation], points, coarse(points, np.random.default_rng(0)), None)
        pixels = pixels_of(shown, self.device)
        found = torch.cat([self.average(some).cpu() for some in pixels.split(64)]).view(-1, 5, 2).numpy()
        eyes = np.linalg.norm(wanted[:, 1] - wanted[:, 0], axis=1).clip(FACE / 8)
        return float((np.linalg.norm(found - wanted, axis=2).mean(1) / eyes).mean())

    def save(self) -> None:
        state = {"step": self.step, "anew": self.args.anew}
        state |= {"network": self.network.state_dict(), "average": self.average.state_dict()}
        save_atomically(state | {"optimiser": self.optimiser.state_dict()}, self.state_path)
        save_small(self.average, self.step * self.args.batch, self.small_path, SMALL_LIMIT)


def train(recipe: Recipe) -> None:
    """Until the pictures are seen or a polite signal asks to stop; an impolite one loses what came since the last save."""
    args, stop, first = recipe.args, asked_to_stop(), recipe.step
    saved, losses, begun = time.monotonic(), [], time.monotonic()
    while not stop and recipe.step * args.batch < args.pictures:
        losses.append(recipe.train_step())
        if recipe.step % args.log_steps == 0:
            seconds, begun = time.monotonic() - begun, time.monotonic()
            _log(recipe, loss=torch.stack(losses).mean().item(), a_second=len(losses) * args.batch / seconds)
            losses = []
        if time.monotonic() - saved > args.save_minutes * 60:
            recipe.save()
            _log(recipe, validation_error=recipe.validate())
            saved = time.monotonic()
    if recipe.step > first:  # else it would be written over with a rounded count of pictures
        recipe.save()
    _log(recipe, validation_error=recipe.validate())


def _log(recipe: Recipe, **measured) -> None:
    line = {"pictures": recipe.step * recipe.args.batch, "rate": recipe.rate(), **measured}
    line = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in line.items()}
    record(recipe.args.work / "landmarks.log.jsonl", line)


def arguments(given=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--faces", type=Path, required=True, help="folder of aligned 128x128 crops")
    add("--labels", type=Path, required=True, help="what consensus.py made of them")
    add("--work", type=Path, required=True, help="folder outside the repository for the full state and the log")
    add("--out", type=Path, help="write the ONNX file there at the end")
    add("--pictures", type=int, default=1_000_000, help="in all, a picture counting each time that it is shown; 0: only write --out")
    add("--batch", type=int, default=64)
    add("--rate", type=float, default=4e-3, help="learning rate")
    add("--warm-up", type=int, default=200, help="steps")
    add("--memory", type=int, default=1000, help="steps that the average of weights reaches back")
    add("--validation", type=share, default=0.04, help="share of the crops that is kept back to measure on")
    add("--seed", type=int, default=1)
    add("--threads", type=int, default=0, help="CPU threads; 0: as many as there are cores")
    add("--save-minutes", type=float, default=3)
    add("--log-steps", type=int, default=200)
    return parsed(parser, given)


def main(given=None) -> None:
    args = arguments(given)
    torch.set_num_threads(args.threads or os.cpu_count())
    cv2.setNumThreads(1)
    keep_memory()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.pictures:
        train(Recipe(args))
    if args.out:
        onnx.save(to_onnx(load_small(small_path(args))[0]), args.out)


if __name__ == "__main__":
    main()
