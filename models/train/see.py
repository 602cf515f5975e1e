"""What the layers of a network have learnt: `python see.py encoder OUT` (or `detector`) draws a sheet for each layer.

A line of a sheet is one unit, a channel of that layer. On its left is the picture that excites the unit most of all, found by
climbing its gradient; then come the nine patches of a data set that do, one a picture, the strongest first. A patch is what
the unit can see, its receptive field; grey is what would lie beyond the picture.

The nine patches: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014). Climbing: Erhan et al.,
"Visualizing Higher-Layer Features of a Deep Network" (2009), with the regularisers that keep it from noise: jitter and total
variation (Olah, Mordvintsev and Schubert, "Feature Visualization", 2017), a blur now and then and a pull towards grey
(Yosinski et al., "Understanding Neural Networks Through Deep Visualization", 2015).
"""

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

import checkpoints
from align import align
from data import CROP, opened, pictures_under
from detector_nets import Detector, DetectorConfig, decode, grid
from nets import FACE
from running import keep_memory

HERE = Path(__file__).parent
DEMO = HERE.parent / "demo"
PATCHES = 9  # a unit
TILE, GAP = 56, 3  # pixels of the sheet
PAPER, BEYOND, GREY = 250, 128, 127.5  # grey levels: of the sheet, outside of a picture, where climbing starts
SIDE = {"encoder": FACE, "detector": 256}  # pixels of what a network is shown
MOST_PICTURES = 20_000  # of a data set, which would take an hour; the first of them are taken
BATCH = 16  # pictures at a time


def load_detector(path: Path) -> Detector:
    """The detector of a checkpoint, ready for inference."""
    state = checkpoints.load(path)
    return checkpoints.fill(Detector(DetectorConfig.from_dict(state["config"])), state, path)


def layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers that are worth a look, in the order in which they run; of a network that isn't ours every convolution."""
    if isinstance(network, Detector):
        levels = {f"neck{8 << i}": unit for i, unit in enumerate(network.neck)}
        return {f"part{i}": part for i, part in enumerate(network.parts)} | levels
    parts = getattr(network, "parts", None)
    if isinstance(parts, nn.ModuleList):
        *trunk, head = parts
        blocks = {f"block{i:02}": part for i, part in enumerate(trunk[1:])}
        return {"stem": trunk[0]} | blocks | {"wide": head[0], "encoding": head[2]}
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}


class _Enough(Exception):
    """The layer that is watched has answered; what follows it need not."""


class Watch:
    """A network up to one of its layers, while the `with` lasts."""

    def __init__(self, network: nn.Module, layer: nn.Module):
        self.network, self.layer = network, layer

    def __enter__(self):
        self.hook = self.layer.register_forward_hook(self._answered)
        return self

    def __exit__(self, *_):
        self.hook.remove()

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """What the layer gives of N x 3 x h x w, 0 to 255: N x units x rows x columns."""
        self.seen = None
        try:
            self.network(pictures)
        except _Enough:
            pass
        return self.seen

    def _answered(self, _, __, given):
        self.seen = given
        raise _Enough


@dataclass
class Peaks:
    """Where each unit of a layer is excited most in each picture."""

    value: torch.Tensor  # pictures x units
    row: torch.Tensor  # of the layer's map, as `column`
    column: torch.Tensor
    size: tuple[int, int]  # rows and columns of the map


@torch.no_grad()
def peaks(network: nn.Module, layer: nn.Module, pictures: torch.Tensor) -> Peaks:
    """`pictures`: N x 3 x h x w, 0 to 255."""
    values, places = [], []
    with Watch(network, layer) as watch:
        for some in pictures.split(BATCH):
            seen = watch(some.float())
            value, place = seen.flatten(2).max(2)
            values.append(value)
            places.append(place)
    size, place = tuple(seen.shape[2:]), torch.cat(places)
    return Peaks(torch.cat(values), place // size[1], place % size[1], size)


def most_telling(found: Peaks, count: int) -> list[int]:
    """The units whose peaks differ most from picture to picture, as a share of what they reach; all of them for 0.

    Peaks that are the same for everybody are an edge that is in every picture; a unit that never answers tells nothing.
    """
    reach = found.value.abs().amax(0).clamp(min=1e-6)
    spread = found.value.std(0, unbiased=False) / reach
    spread[found.value.amax(0) <= 0] = -1
    order = spread.argsort(descending=True, stable=True).tolist()
    return order[: count or None]


def all_open(network: nn.Module) -> nn.Module:
    """A copy through which everything flows that can: weights positive, no norm, the mean where the largest was taken."""
    opened = copy.deepcopy(network).double().eval()
    for name, module in list(opened.named_modules()):
        if isinstance(module, nn.Conv2d):
            module.weight.data.fill_(1 / module.weight[0].numel())
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.MaxPool2d):
            parent = opened.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], nn.AvgPool2d(module.kernel_size, module.stride, module.padding))
    return opened


def receptive_field(network: nn.Module, name: str, side: int) -> tuple[int, int, float]:
    """What a layer's unit sees: columns before and after where it lies, and pixels from one unit to the next.

    Found by following the gradient back through `all_open`, so it holds for sums and branches too. The unit at column c
    lies at pixel c · step. A field that is larger than the picture of `side` pixels ends with it.
    """
    opened = all_open(network)
    picture = torch.full((1, 3, side, side), 1.0, dtype=torch.double, requires_grad=True)
    with Watch(opened, layers(opened)[name]) as watch:
        seen = watch(picture)
        rows, columns = seen.shape[2:]
        seen[0, :, rows // 2, columns // 2].sum().backward()
    reached = picture.grad[0].abs().sum((0, 1)).nonzero().flatten()
    step = side / columns
    at = (columns // 2) * step
    return int(at - reached[0]), int(reached[-1] + 1 - at), step


def patch(picture: np.ndarray, row: int, column: int, field: tuple[int, int, float]) -> np.ndarray:
    """What a unit at `row` and `column` sees of a picture, h x w x 3 bytes, as a square of the sheet."""
    before, after, step = field
    side = before + after
    out = np.full((side, side, 3), BEYOND, np.uint8)
    top, left = round(row * step) - before, round(column * step) - before
    ys, xs = (slice(max(0, at), min(size, at + side)) for at, size in ((top, picture.shape[0]), (left, picture.shape[1])))
    out[ys.start - top : ys.stop - top, xs.start - left : xs.stop - left] = picture[ys, xs]
    return tile(out)


def tile(picture: np.ndarray) -> np.ndarray:
    shrinks = picture.shape[0] > TILE
    return cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)


@dataclass(frozen=True)
class Climb:
    """How a picture is found that excites a unit; each number was looked at on the encoder, and none is delicate."""

    steps: int = 64
    rate: float = 6.0  # grey levels a step, of Adam
    jitter: int = 4  # pixels to each side
    variation: float = 0.005  # weight of the mean difference between neighbours, in grey levels
    pull: float = 2e-5  # weight of the mean square distance from grey
    blur_every: int = 8  # steps
    blur: float = 0.6  # pixels, the Gaussian's deviation


def climb(network, layer, units: list[int], reach: torch.Tensor, side: int, how: Climb, seed: int) -> np.ndarray:
    """For each unit a picture that excites it, units x side x side x 3 bytes.

    What is climbed is the unit's mean over its map as a share of `reach`, its highest peak in the data set, so that one set
    of weights suits layers of any scale.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((len(units), 3, side, side), generator=generator)
    # Loud enough that a unit behind a ReLU answers at some place; from grey, one that is shut would stay so.
    picture = (GREY + 48 * noise).clamp(0, 255).requires_grad_(True)
    adam = torch.optim.Adam([picture], how.rate, betas=(0.9, 0.9))
    chosen, scale = torch.tensor(units), reach[units].clamp(min=1e-6)
    with Watch(network, layer) as watch:
        for step in range(how.steps):
            across, down = torch.randint(-how.jitter, how.jitter + 1, (2,), generator=generator).tolist()
            seen = watch(picture.roll((down, across), (2, 3)))
            excited = seen[torch.arange(len(units)), chosen].mean((1, 2))
            rough = (picture.diff(dim=2).abs().mean() + picture.diff(dim=3).abs().mean()) * len(units)
            far = (picture - GREY).square().mean() * len(units)
            loss = -(excited / scale).sum() + how.variation * rough + how.pull * far
            (picture.grad,) = torch.autograd.grad(loss, [picture])
            adam.step()
            with torch.no_grad():
                if step % how.blur_every == how.blur_every - 1:
                    picture.copy_(blurred(picture, how.blur))
                picture.clamp_(0, 255)
    return picture.detach().round().byte().permute(0, 2, 3, 1).numpy()


def blurred(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """N x 3 x h x w under a Gaussian of 7 pixels, borders stretched."""
    kernel = torch.exp(-0.5 * (torch.arange(-3, 4) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, 7)
    x = F.conv2d(F.pad(x, (3, 3, 0, 0), mode="replicate"), kernel, groups=3)
    return F.conv2d(F.pad(x, (0, 0, 3, 3), mode="replicate"), kernel.transpose(2, 3), groups=3)


def fitted(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture in a square, its shape kept, at the top left, as the daemon shows it to the detector; black beyond."""
    scale = side / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    out = np.zeros((side, side, 3), np.uint8)
    small = small[:side, :side]
    out[: small.shape[0], : small.shape[1]] = small
    return out


@torch.no_grad()
def aligned(picture: np.ndarray, detector: Detector) -> np.ndarray | None:
    """The surest face of an RGB picture as 112 x 112 bytes, by the detector's points; `None` where it is not sure of any."""
    side = 320
    shown = torch.from_numpy(fitted(picture, side)).permute(2, 0, 1)[None].float()
    said = detector(shown)[1][0]
    score = said[:, :2].sigmoid().prod(1).sqrt()
    best = int(score.argmax())
    if not score[best] >= 0.5:
        return None
    points = decode(said, grid(side, side))[1][best].view(5, 2).numpy()
    return align(picture, points * (max(picture.shape[:2]) / side))


def read(folder: Path, what: str, detector: Path) -> np.ndarray:
    """The pictures under a folder as the network takes them, N x side x side x 3 RGB bytes. For the encoder, crops of
    align.py are used as they are and in other pictures the surest face is aligned; those without one are left out."""
    finder, found = load_detector(detector) if what == "encoder" else None, []
    paths = pictures_under(folder)[:MOST_PICTURES]
    for _, picture in opened(tqdm(paths, unit="picture", disable=None), len(paths)):
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        margin = (CROP - FACE) // 2
        if what == "detector":
            found.append(fitted(picture, SIDE[what]))
        elif picture.shape[:2] == (CROP, CROP):
            found.append(picture[margin:-margin, margin:-margin])
        elif picture.shape[:2] == (FACE, FACE):
            found.append(picture)
        elif (face := aligned(picture, finder)) is not None:
            found.append(face)
    if len(found) < PATCHES:
        raise SystemExit(f"{folder} has {len(found)} pictures with a face; {PATCHES} are needed")
    return np.stack(found)


def sheet(climbed: np.ndarray, lines: list[list[np.ndarray]]) -> np.ndarray:
    """A line a unit: what it climbs to, a wider gap, its patches. h x w x 3 bytes."""
    step = TILE + GAP
    out = np.full((GAP + len(lines) * step, 4 * GAP + (1 + PATCHES) * step, 3), PAPER, np.uint8)
    for index, (top, patches) in enumerate(zip(climbed, lines)):
        y = GAP + index * step
        out[y : y + TILE, GAP : GAP + TILE] = tile(top)
        for place, picture in enumerate(patches):
            x = 4 * GAP + (1 + place) * step
            out[y : y + TILE, x : x + TILE] = picture
    return out


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("network", choices=["encoder", "detector"])
    add("out", type=Path, help="a folder, made where it is not there")
    add("--checkpoint", type=Path, help="[default: the network's own in checkpoints/]")
    add("--detector", type=Path, default=HERE / "checkpoints/detector.pt", help="finds the faces that the encoder is shown")
    add("--pictures", type=Path, default=DEMO, help="photos or align.py's crops, in folders as you like")
    add("--layers", nargs="+", help="[default: all]")
    add("--units", type=int, default=4, help="a layer: those that tell pictures apart most; 0: all")
    add("--steps", type=int, default=Climb.steps, help="of climbing")
    add("--seed", type=int, default=1)
    add("--threads", type=int, default=1, help="threads that wait for each other on a busy machine are slower than one")
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    checkpoint = args.checkpoint or HERE / "checkpoints" / f"{args.network}.pt"
    network = load_detector(checkpoint) if args.network == "detector" else checkpoints.load_small(checkpoint)[0]
    network.requires_grad_(False).to(memory_format=torch.channels_last)
    keep_memory()
    side, known = SIDE[args.network], layers(network)
    if unknown := set(args.layers or []) - set(known):
        raise SystemExit(f"no layer {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    pictures = read(args.pictures, args.network, args.detector)
    shown = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in tqdm(args.layers or known, unit="layer", disable=None):
        found, field = peaks(network, known[name], shown), receptive_field(network, name, side)
        units = most_telling(found, args.units)
        best = found.value.argsort(dim=0, descending=True, stable=True)[:PATCHES]

        def seen(picture, unit):
            return patch(pictures[picture], int(found.row[picture, unit]), int(found.column[picture, unit]), field)

        lines = [[seen(picture, unit) for picture in best[:, unit].tolist()] for unit in units]
        climbed = climb(network, known[name], units, found.value.amax(0), side, Climb(steps=args.steps), args.seed)
        path = args.out / f"{args.network}-{name}.jpg"
        drawn = cv2.cvtColor(sheet(climbed, lines), cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(path), drawn, [cv2.IMWRITE_JPEG_QUALITY, 88]):
            raise SystemExit(f"{path} can't be written")
        print(f"{path}: units {', '.join(map(str, units))}; each sees {sum(field[:2])} pixels", flush=True)


if __name__ == "__main__":
    main()
