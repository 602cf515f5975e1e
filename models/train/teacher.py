"""A teacher read from an ONNX file, run by PyTorch.

Runtimes made for inference give the outputs only. To teach block by block we want the tensors between blocks as well,
on whatever device and in whatever precision the student trains; this interpreter of the dozen operators that face
encoders are made of does that.
"""

from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class OnnxTeacher(nn.Module):
    """`forward` returns the trunk tensors, first to last, and the encodings of a batch of 0 to 255 RGB pixels.

    `normalise` says what the network's own input is: "imagenet" (mean and standard deviation of ImageNet's channels)
    or "raw" (0 to 255).
    """

    def __init__(self, path: Path | str, normalise: str = "imagenet"):
        super().__init__()
        if normalise not in ("imagenet", "raw"):
            raise ValueError(f"normalise is 'imagenet' or 'raw', not {normalise!r}")
        self.normalise = normalise
        graph = onnx.load(str(path)).graph
        self.source, self.result = graph.input[0].name, graph.output[0].name
        self.nodes, self.constants = [], {}
        for tensor in graph.initializer:
            self._keep(tensor.name, tensor)
        for node in graph.node:
            if node.op_type == "Constant":
                self._keep(node.output[0], node.attribute[0].t)
            else:
                self.nodes.append((node.op_type, list(node.input), node.output[0], _attributes(node)))
        self.trunk = self._trunk()
        self.done_with = self._done_with()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255)
        self.requires_grad_(False).eval()

    def _keep(self, name, tensor):
        """Buffers, so that `.to(device)` moves them; their names can't hold ONNX's dots and slashes."""
        self.constants[name] = f"constant{len(self.constants)}"
        self.register_buffer(self.constants[name], torch.from_numpy(numpy_helper.to_array(tensor).copy()))

    def _trunk(self) -> list[str]:
        """The tensors between blocks: what the widening 1x1 convolutions read."""
        names = []
        for kind, inputs, _, attributes in self.nodes:
            if kind == "Conv" and attributes["group"] == 1:
                outputs, channels, *kernel = getattr(self, self.constants[inputs[1]]).shape
                if kernel == [1, 1] and outputs > channels and inputs[0] not in names:
                    names.append(inputs[0])
        return names

    def _done_with(self) -> list[list[str]]:
        """For each node the tensors that nobody reads after it: freed at once, their memory stays in the cache."""
        kept, later, done = {*self.trunk, self.result, *self.constants, ""}, set(), []
        for _, inputs, _, _ in reversed(self.nodes):
            done.append([name for name in inputs if name not in kept | later])
            later.update(inputs)
        return done[::-1]

    def forward(self, pixels):
        x = (pixels - self.mean) / self.std if self.normalise == "imagenet" else pixels
        values = {"": None, self.source: x}
        values.update((name, getattr(self, buffer)) for name, buffer in self.constants.items())
        for (kind, inputs, output, attributes), done in zip(self.nodes, self.done_with):
            values[output] = _OPERATORS[kind](attributes, *(values[name] for name in inputs))
            for name in done:
                del values[name]
        return [values[name] for name in self.trunk], values[self.result]


def _attributes(node) -> dict:
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Conv":
        pads = found.get("pads", [0, 0, 0, 0])
        if pads[:2] != pads[2:] or set(found.get("dilations", [1])) != {1}:
            raise ValueError(f"{node.name}: only symmetric padding and no dilation")
        found = {"group": found.get("group", 1), "padding": pads[:2], "stride": found.get("strides", [1, 1])}
    return found


def _conv(a, x, weight, bias=None):
    return F.conv2d(x, weight, bias, stride=a["stride"], padding=a["padding"], groups=a["group"])


def _gemm(a, x, weight, bias=None):
    if a.get("transA", 0) or a.get("alpha", 1.0) != 1 or a.get("beta", 1.0) != 1:
        raise ValueError("only x·W + b and x·Wᵀ + b")
    return F.linear(x, weight if a.get("transB", 0) else weight.T, bias)


def _batch_norm(a, x, scale, shift, mean, variance):
    return F.batch_norm(x, mean, variance, scale, shift, eps=a.get("epsilon", 1e-5))


_OPERATORS = {
    "Conv": _conv,
    "Gemm": _gemm,
    "BatchNormalization": _batch_norm,
    "Relu": lambda a, x: F.relu(x),
    "PRelu": lambda a, x, slope: F.prelu(x, slope.flatten()),
    "Clip": lambda a, x, low, high: torch.clamp(x, float(low), float(high)),
    "Add": lambda a, x, y: x + y,
    "Mul": lambda a, x, y: x * y,
    "Reshape": lambda a, x, shape: x.reshape(x.shape[0], *shape.tolist()[1:]),
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
}
