"""The encoder: a 112x112 RGB face in, 128 numbers out.

The layout is MobileFaceNet's (Chen et al. 2018, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face
Verification on Mobile Devices"): inverted residual blocks (Sandler et al. 2018, MobileNetV2) between thin "trunk"
tensors, then a global depthwise convolution in place of average pooling. What differs from the paper:

- ReLU, no PReLU or ReLU6: it costs nothing in int8, where it's the clamp at the zero point.
- Pixels come in as 0 to 255 and are only divided by 255. With no offset to subtract, the division folds into the
  first convolution, zero padding keeps its meaning, and an 8-bit camera pixel *is* the quantised input.
- `width` scales what lies inside blocks and leaves the trunk alone. So an encoder of any width can be compared with its
  teacher block by block, with no adaptor in between, and "small" and "full" are one recipe.

The 128 numbers aren't normalised here; whoever compares them divides by their length.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

FACE = 112  # pixels on a side; the ArcFace template is made for it
DIMENSIONS = 128  # of an encoding


@dataclass(frozen=True)
class Stage:
    """Blocks at one resolution; the first of them halves it."""

    trunk: int  # channels between blocks
    first: int  # channels inside the block that halves the resolution
    inner: int  # channels inside the blocks that follow
    blocks: int


@dataclass(frozen=True)
class EncoderConfig:
    width: float = 1.0
    stem: int = 64
    stages: tuple[Stage, ...] = (Stage(64, 128, 128, 5), Stage(128, 256, 256, 7), Stage(128, 512, 256, 3))
    head: int = 512
    dimensions: int = DIMENSIONS

    def scaled(self, channels: int) -> int:
        """`channels` at this width, a multiple of 8 so that SIMD lanes are full."""
        return max(8, int(channels * self.width / 8 + 0.5) * 8)

    @staticmethod
    def from_dict(fields: dict) -> "EncoderConfig":
        stages = tuple(Stage(**stage) for stage in fields["stages"])
        return EncoderConfig(**{**fields, "stages": stages})


class _Halving(torch.autograd.Function):
    """A depthwise 3x3 convolution of stride 2 whose gradient is computed as a convolution of stride 1.

    PyTorch 2.15 on a CPU takes 59 to 77 ms for that gradient in bfloat16 (batch 32; the forward pass takes 0.2 to 3 ms),
    which for three such layers was 40 % of a training step.
    """

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, None, 2, 1, 1, weight.shape[0])

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        channels = weight.shape[0]
        spread = torch.zeros_like(x)
        spread[:, :, ::2, ::2] = gradient
        to_x = F.conv2d(spread, weight.flip(2, 3), None, 1, 1, 1, channels)
        only_weight = [False, True, False]
        _, to_weight, _ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, [2, 2], [1, 1], [1, 1], False, [0, 0], channels, only_weight
        )
        return to_x, to_weight


class Conv(nn.Conv2d):
    def forward(self, x):
        halving_depthwise = self.stride == (2, 2) and self.groups == self.in_channels > 1
        if not (x.is_cpu and self.training and halving_depthwise):
            return super().forward(x)
        weight = self.weight.to(x.dtype)  # the layer before has cast x already where autocast is on
        return _Halving.apply(x, weight)


class ConvBn(nn.Sequential):
    """A convolution and its BatchNorm, or a bias where `norm` is false; and a ReLU unless it is linear."""

    def __init__(self, inputs, outputs, kernel=1, stride=1, groups=1, padding=None, relu=True, norm=True):
        padding = kernel // 2 if padding is None else padding
        layers = [Conv(inputs, outputs, kernel, stride, padding, groups=groups, bias=not norm)]
        layers += [nn.BatchNorm2d(outputs)] if norm else []
        layers += [nn.ReLU(inplace=True)] if relu else []
        super().__init__(*layers)
        self.norm, self.relu = norm, relu

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of the one convolution that equals this one and its BatchNorm in inference."""
        conv = self[0]
        if not self.norm:
            return conv.weight, conv.bias
        norm = self[1]
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return conv.weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain


class Block(nn.Module):
    """Widen, filter each channel by itself, narrow; and the input added back where its shape allows."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int):
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            ConvBn(inputs, inner),
            ConvBn(inner, inner, kernel=3, stride=stride, groups=inner),
            ConvBn(inner, outputs, relu=False),
        )

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


class Encoder(nn.Module):
    """`parts[0]` is the stem, then come the blocks, and the last part is the head: each reads a trunk tensor."""

    def __init__(self, config: EncoderConfig = EncoderConfig()):
        super().__init__()
        self.config = config
        stem, head = config.stem, config.scaled(config.head)
        parts = [nn.Sequential(ConvBn(3, stem, kernel=3, stride=2), ConvBn(stem, stem, kernel=3, groups=stem), ConvBn(stem, stem))]
        trunk = stem
        for stage in config.stages:
            for index in range(stage.blocks):
                inner = config.scaled(stage.inner if index else stage.first)
                parts.append(Block(trunk, inner, stage.trunk, stride=1 if index else 2))
                trunk = stage.trunk
        side = FACE >> (1 + len(config.stages))
        parts.append(
            nn.Sequential(
                ConvBn(trunk, head),
                # One value a picture and channel is left here: too few in a small batch for a BatchNorm.
                ConvBn(head, head, kernel=side, groups=head, padding=0, relu=False, norm=False),
                ConvBn(head, config.dimensions, relu=False, norm=False),
                nn.Flatten(),
            )
        )
        self.parts = nn.ModuleList(parts)

    def forward(self, pixels):
        """`pixels`: N x 3 x 112 x 112, RGB, 0 to 255."""
        x = pixels / 255
        for part in self.parts:
            x = part(x)
        return x
