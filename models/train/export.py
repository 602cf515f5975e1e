"""The ONNX file of an encoder: `python export.py CHECKPOINT OUT.onnx`.

The graph is written node by node, not traced: Conv, Relu, Add and Flatten with names that say where each lies, BatchNorm
folded into the convolutions and the division by 255 into the first. So the file depends on no exporter's taste, and a
quantiser or a small runtime finds nothing odd in it. Input "pixels": 1 x 3 x 112 x 112, RGB, 0 to 255. Output "encoding":
1 x 128, not normalised.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from checkpoints import load_small
from nets import FACE, Block, ConvBn, Encoder

OPSET = 17
IR_VERSION = 8  # the one that came with that opset; older runtimes refuse newer ones


class _Graph:
    """Nodes and weights so far; each method adds to them and returns the name of its result."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def node(self, kind: str, inputs: list[str], name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def weight(self, value: torch.Tensor, name: str) -> str:
        self.weights.append(numpy_helper.from_array(value.detach().float().numpy().astype(np.float32), name))
        return name

    def conv(self, layer: ConvBn, source: str, name: str, scale: float = 1.0) -> str:
        weight, bias = layer.folded()
        conv = layer[0]
        inputs = [source, self.weight(weight * scale, f"{name}.weight"), self.weight(bias, f"{name}.bias")]
        pads, strides = [*conv.padding, *conv.padding], list(conv.stride)
        shape = {"kernel_shape": list(conv.kernel_size), "pads": pads, "strides": strides, "group": conv.groups}
        result = self.node("Conv", inputs, f"{name}.conv", **shape)
        return self.node("Relu", [result], f"{name}.relu") if layer.relu else result

    def block(self, block: Block, source: str, name: str) -> str:
        x = source
        for layer, role in zip(block.layers, ("widen", "filter", "narrow")):
            x = self.conv(layer, x, f"{name}.{role}")
        return self.node("Add", [source, x], f"{name}.add") if block.residual else x


def to_onnx(encoder: Encoder) -> onnx.ModelProto:
    graph, x = _Graph(), "pixels"
    stem, *blocks, head = encoder.parts
    for index, layer in enumerate(stem):
        x = graph.conv(layer, x, f"stem{index}", scale=1.0 if index else 1 / 255)
    for index, block in enumerate(blocks):
        x = graph.block(block, x, f"block{index:02}")
    for index, layer in enumerate(head[:-1]):
        x = graph.conv(layer, x, f"head{index}")
    graph.node("Flatten", [x], "encoding", axis=1)
    source = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, FACE, FACE])
    result = helper.make_tensor_value_info("encoding", TensorProto.FLOAT, [1, encoder.config.dimensions])
    made = helper.make_graph(graph.nodes, "facelatch-encoder", [source], [result], graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="facelatch")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(given)
    encoder, pictures = load_small(args.checkpoint)
    onnx.save(to_onnx(encoder), args.out)
    print(f"{args.out}: {args.out.stat().st_size} bytes, after {pictures} pictures")


if __name__ == "__main__":
    main()
