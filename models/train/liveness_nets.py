"""The head that judges a window, its ONNX file, and a recurrent network of equal size to compare it with."""

from dataclasses import dataclass

import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from export import IR_VERSION, OPSET, _Graph
from liveness_table import CLASSES
from liveness_windows import ROWS, TICKS

MOST_PARAMETERS = 60_000


@dataclass(frozen=True)
class HeadConfig:
    """(outputs, kernel, stride) of the convolutions; a layer that changes neither size nor channels is added to its input."""

    kind: str = "conv"
    layers: tuple = ((56, 1, 1), (48, 5, 2), (48, 5, 2), (56, 3, 2), (56, 3, 1))
    hidden: int = 92  # of the recurrent network

    @staticmethod
    def from_dict(fields: dict) -> "HeadConfig":
        return HeadConfig(**{**fields, "layers": tuple(map(tuple, fields["layers"]))})


class ConvBn(nn.Sequential):
    """A convolution along time (height 1), BatchNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int):
        conv = nn.Conv2d(inputs, outputs, (1, kernel), (1, stride), (0, kernel // 2), bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), nn.ReLU())
        self.relu = True  # for export.py

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        conv, norm = self[0], self[1]
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        return conv.weight * factor[:, None, None, None], norm.bias - norm.running_mean * factor


class Head(nn.Module):
    """N x 116 x 1 x 50 → N x 7 logits. The last layer sees every place that is left: when something happens may matter."""

    def __init__(self, config: HeadConfig = HeadConfig()):
        super().__init__()
        self.config, layers, channels, length = config, [], ROWS, TICKS
        for outputs, kernel, stride in config.layers:
            layers.append(ConvBn(channels, outputs, kernel, stride))
            channels, length = outputs, -(-length // stride)
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(0.1)
        self.classes = nn.Conv2d(channels, len(CLASSES), (1, length))
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.zeros_(self.classes.bias)

    def forward(self, x):
        for layer in self.layers:
            made = layer(x)
            x = made + x if made.shape == x.shape else made
        return self.classes(self.dropout(x)).flatten(1).float()


class Recurrent(nn.Module):
    """A GRU (Cho et al. 2014) over the same rows; the last state is read."""

    def __init__(self, config: HeadConfig = HeadConfig("gru")):
        super().__init__()
        self.config = config
        self.gru = nn.GRU(ROWS, config.hidden, batch_first=True)
        self.dropout = nn.Dropout(0.1)
        self.classes = nn.Linear(config.hidden, len(CLASSES))

    def forward(self, x):
        states, _ = self.gru(x.squeeze(2).transpose(1, 2))
        return self.classes(self.dropout(states[:, -1])).float()


def network(config: HeadConfig) -> nn.Module:
    return {"conv": Head, "gru": Recurrent}[config.kind](config)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def score(logits: torch.Tensor) -> torch.Tensor:
    """Live against all else, in nats."""
    return logits[:, 0] - logits[:, 1:].logsumexp(1)


def to_onnx(head: Head) -> onnx.ModelProto:
    """Node by node, as export.py does it for the encoder: input "channels" (1 x 116 x 1 x 50), output "logits" (1 x 7)."""
    graph, x, shape = _Graph(), "channels", (ROWS, TICKS)
    for index, layer in enumerate(head.layers):
        made, conv = graph.conv(layer, x, f"layer{index}"), layer[0]
        after = (conv.out_channels, -(-shape[1] // conv.stride[1]))
        x = graph.node("Add", [x, made], f"layer{index}.add") if after == shape else made
        shape = after
    weight, bias = graph.weight(head.classes.weight, "classes.weight"), graph.weight(head.classes.bias, "classes.bias")
    x = graph.node("Conv", [x, weight, bias], "classes.conv", kernel_shape=list(head.classes.kernel_size))
    graph.node("Flatten", [x], "logits", axis=1)
    source = helper.make_tensor_value_info("channels", TensorProto.FLOAT, [1, ROWS, 1, TICKS])
    result = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(CLASSES)])
    made = helper.make_graph(graph.nodes, "facelatch-liveness", [source], [result], graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="facelatch")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model
