"""The detector: any picture whose sides are multiples of 32 in, faces on maps of cells of 8, 16 and 32 pixels out.

The layout is YuNet's (Wu, Peng & Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector"): units of a 1x1 convolution
and a depthwise 3x3 one, three levels, features of the coarser levels added to the finer ones, and one unit a level for
all that is said of a cell. What differs:

- the second pooling comes before the unit that doubles the channels and not after it, which saves a seventh of all
  multiplications;
- that buys residual units at the two coarse levels, where near faces are found: they see further, which is what a face
  that is half in the shadow needs;
- pixels are 0 to 255 and only divided by 255, which folds into the first convolution (as in nets.py).

What a cell says is YuNet's too: `cls` (is it in a face?) and `obj` (how well does its box fit?) before their sigmoids, the
box's centre as an offset from the cell's corner and the logarithms of its sides, and five points as offsets; all in cells.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nets import ConvBn
from teacher import _OPERATORS, OnnxTeacher

STRIDES = (8, 16, 32)  # pixels a cell
KINDS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}  # numbers a cell, in the order of the head's channels


@dataclass(frozen=True)
class DetectorConfig:
    stem: int = 16
    early: int = 32  # channels at a quarter of the resolution
    trunk: int = 64  # channels of the three levels
    deeper: tuple[int, int] = (1, 2)  # residual units at cells of 16 and of 32 pixels

    @staticmethod
    def from_dict(fields: dict) -> "DetectorConfig":
        return DetectorConfig(**{**fields, "deeper": tuple(fields["deeper"])})


class Layer(ConvBn):
    """A convolution whose BatchNorm, once it is steady, is folded into it in training too.

    Its statistics then stay as they are and its gain and shift go on learning. Steady layers, on a CPU, take two thirds of
    the time; and without a batch's own statistics a picture's answer no longer hangs on its neighbours' light.
    """

    steady = False

    def forward(self, x):
        if not (self.steady and self.norm):
            return super().forward(x)
        conv, (weight, bias) = self[0], self.folded()
        x = F.conv2d(x, weight, bias, conv.stride, conv.padding, 1, conv.groups)
        return F.relu_(x) if self.relu else x


class Unit(nn.Sequential):
    """1x1, then depthwise 3x3, each with its BatchNorm; a ReLU at the end unless it is linear."""

    def __init__(self, inputs: int, outputs: int, relu: bool = True, norm: bool = True):
        filtering = Layer(outputs, outputs, kernel=3, groups=outputs, relu=relu, norm=norm)
        super().__init__(Layer(inputs, outputs, relu=False, norm=norm), filtering)


class Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.unit = Unit(channels, channels)

    def forward(self, x):
        return x + self.unit(x)


class Detector(nn.Module):
    """`parts` follow one another; `neck` and `heads` go from the coarsest level to the finest."""

    def __init__(self, config: DetectorConfig = DetectorConfig()):
        super().__init__()
        self.config = config
        stem, early, trunk = config.stem, config.early, config.trunk
        pool = lambda: nn.MaxPool2d(2)  # noqa: E731
        more = [[Residual(trunk) for _ in range(count)] for count in config.deeper]
        self.parts = nn.ModuleList(
            [
                nn.Sequential(Layer(3, stem, kernel=3, stride=2), Unit(stem, stem), pool()),
                nn.Sequential(Unit(stem, stem), Unit(stem, early)),
                nn.Sequential(Unit(early, early), pool(), Unit(early, trunk)),
                nn.Sequential(Unit(trunk, trunk), Unit(trunk, trunk)),
                nn.Sequential(pool(), Unit(trunk, trunk), Unit(trunk, trunk), *more[0]),
                nn.Sequential(pool(), Unit(trunk, trunk), Unit(trunk, trunk), *more[1]),
            ]
        )
        self.neck = nn.ModuleList([Unit(trunk, trunk) for _ in STRIDES])
        self.heads = nn.ModuleList([Unit(trunk, sum(KINDS.values()), relu=False, norm=False) for _ in STRIDES])
        for head in self.heads:  # a cell begins by saying that there's no face (Lin et al. 2017, "Focal loss")
            nn.init.constant_(head[1][0].bias[:2], -3.0)

    def settle(self) -> None:
        """From now on BatchNorms are steady, and the first part, whose edges and blobs nobody needs to improve, is done."""
        for layer in self.modules():
            if isinstance(layer, Layer):
                layer.steady = True
        self.parts[0].requires_grad_(False)

    def forward(self, pixels, fed: list[torch.Tensor] | None = None):
        """`pixels`: N x 3 x H x W, RGB, 0 to 255. Returns the features that `Teacher` returns too, and N x cells x 16.

        With `fed`, the teacher's features, each part, each unit of the neck and each head reads those and not what our
        own parts before it made: no gradient crosses from one to another.
        """
        x, features = pixels / 255, []
        for index, part in enumerate(self.parts):
            features.append(part(x))
            x = features[-1] if fed is None else fed[index]
        levels = (features if fed is None else fed)[3:6]
        said = [None] * 3
        for index in (2, 1, 0):
            x = levels[index] if index == 2 else levels[index] + F.interpolate(x, scale_factor=2.0, mode="nearest")
            features.append(self.neck[index](x))
            x = features[-1] if fed is None else fed[len(features) - 1]
            said[index] = self.heads[index](x)
        return features, cells(said)


def cells(maps: list[torch.Tensor]) -> torch.Tensor:
    """Three maps N x 16 x h x w as N x cells x 16, row by row, the finest level first."""
    return torch.cat([m.flatten(2) for m in maps], 2).transpose(1, 2)


def grid(height: int, width: int, device="cpu") -> torch.Tensor:
    """Column, row and stride of every cell, cells x 3, in the order of `cells`."""
    rows = []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        rows.append(torch.stack([x, y, torch.full_like(x, stride)], -1).view(-1, 3))
    return torch.cat(rows).float().to(device)


def decode(said: torch.Tensor, where: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes (… x 4, corners) and points (… x 10) in pixels, from cells as the network says them."""
    corner, stride = where[:, :2], where[:, 2:]
    centre = (said[..., 2:4] + corner) * stride
    half = said[..., 4:6].clamp(max=8).exp() * stride / 2
    points = (said[..., 6:16] + corner.repeat(1, 5)) * stride
    return torch.cat([centre - half, centre + half], -1), points


class Teacher(OnnxTeacher):
    """YuNet's ONNX file: the features that the student imitates, and what it says of each cell (logits)."""

    def __init__(self, path):
        super().__init__(path, "raw")
        # What follows the heads' convolutions only puts the numbers in order; `cells` does that here.
        last = max(i for i, (kind, *_) in enumerate(self.nodes) if kind == "Conv")
        self.nodes, self.done_with = self.nodes[: last + 1], self.done_with[: last + 1]

    def _trunk(self) -> list[str]:
        readers = {}
        for node in self.nodes:
            for name in node[1]:
                readers.setdefault(name, []).append(node)
        made = {node[2]: node for node in self.nodes}
        pools = [node for node in self.nodes if node[0] == "MaxPool"]
        firsts = [node for node in self.nodes if node[0] == "Conv" and self._filters(node) == 1 and node[3]["padding"] == [0, 0]]
        necks = list(dict.fromkeys(node[1][0] for node in firsts))  # what the maps of `cls` are made of, finest first
        if len(pools) != 4 or len(necks) != 3:
            raise SystemExit("the teacher isn't laid out as YuNet is")
        self.heads = [[self._pair(node, readers) for node in readers[name] if self._is_head(node)] for name in necks]
        third, fourth = pools[2][1][0], pools[3][1][0]  # the finest levels are what the last two poolings read
        fifth = self._before(made, necks[2])
        quarter = self._before(made, self._before(made, pools[1][1][0]))
        return [pools[0][2], quarter, pools[1][2], third, fourth, fifth, *necks[::-1]]

    def _filters(self, node) -> int:
        return getattr(self, self.constants[node[1][1]]).shape[0]

    def _is_head(self, node) -> bool:
        return node[0] == "Conv" and self._filters(node) in KINDS.values()

    @staticmethod
    def _pair(node, readers):
        return readers[node[2]][0][2]

    @staticmethod
    def _before(made, name: str) -> str:
        """The tensor that a unit reads: behind its ReLU, its depthwise and its 1x1 convolution."""
        while made[name][0] in ("Relu", "Conv") and made[name][3].get("padding") != [0, 0]:
            name = made[name][1][0]
        return made[name][1][0]

    def forward(self, pixels):
        """`pixels`: N x 3 x H x W, RGB, 0 to 255; YuNet itself takes BGR."""
        values = {"": None, self.source: pixels.flip(1)}
        values.update((name, getattr(self, buffer)) for name, buffer in self.constants.items())
        for kind, inputs, output, attributes in self.nodes:
            values[output] = OPERATORS[kind](attributes, *(values[name] for name in inputs))
        maps = []
        for level in self.heads:
            by_size = [values[name] for name in level]
            maps.append(torch.cat([*_ordered(by_size)], 1))
        return [values[name] for name in self.trunk], cells(maps)


def _ordered(maps: list[torch.Tensor]) -> list[torch.Tensor]:
    """YuNet's file has cls, bbox, obj and kps of a level in this order."""
    cls, bbox, obj, kps = maps
    return [cls, obj, bbox, kps]


OPERATORS = _OPERATORS | {
    "MaxPool": lambda a, x: F.max_pool2d(x, a["kernel_shape"], a["strides"]),
    "Resize": lambda a, x, *_: F.interpolate(x, scale_factor=2.0, mode="nearest"),
}
