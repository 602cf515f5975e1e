"""The ONNX file of a detector: `python detector_export.py CHECKPOINT OUT.onnx`.

As in export.py the graph is written node by node, BatchNorm folded. Input "pixels": 1 x 3 x height x width, RGB, 0 to 255,
any multiples of 32. Outputs are YuNet's by name and meaning: for each kind and cell size a tensor 1 x cells x numbers, cls
and obj behind their sigmoids.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from detector import load_small
from detector_nets import KINDS, STRIDES, Detector, Residual, Unit
from export import IR_VERSION, OPSET, _Graph
from nets import ConvBn


class _Detector(_Graph):
    def unit(self, unit: Unit, source: str, name: str) -> str:
        return self.conv(unit[1], self.conv(unit[0], source, f"{name}.mix"), f"{name}.filter")

    def part(self, part: nn.Sequential, source: str, name: str, scale: float) -> str:
        x = source
        for index, layer in enumerate(part):
            place = f"{name}.{index}"
            if isinstance(layer, ConvBn):
                x = self.conv(layer, x, place, scale)
            elif isinstance(layer, Unit):
                x = self.unit(layer, x, place)
            elif isinstance(layer, Residual):
                x = self.node("Add", [x, self.unit(layer.unit, x, place)], f"{place}.add")
            else:
                x = self.node("MaxPool", [x], f"{place}.pool", kernel_shape=[2, 2], strides=[2, 2])
        return x

    def doubled(self, source: str, name: str) -> str:
        """Each pixel four times."""
        settings = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.node("Resize", [source, "", "twice"], f"{name}.doubled", **settings)

    def said(self, head: Unit, source: str, stride: int) -> None:
        x = self.unit(head, source, f"head{stride}")
        x = self.node("Transpose", [x], f"head{stride}.rows", perm=[0, 2, 3, 1])
        x = self.node("Reshape", [x, "cells"], f"head{stride}.cells")
        names = [f"{kind}_{stride}" for kind in KINDS]
        logits = [f"head{stride}.cls", f"head{stride}.obj", *names[2:]]
        self.nodes.append(helper.make_node("Split", [x, "kinds"], logits, name=f"head{stride}.split", axis=2))
        for logit, name in zip(logits[:2], names):
            self.node("Sigmoid", [logit], name)


def to_onnx(detector: Detector) -> onnx.ModelProto:
    graph, x, levels = _Detector(), "pixels", []
    constants = {"twice": np.array([1, 1, 2, 2], np.float32), "cells": np.array([1, -1, sum(KINDS.values())], np.int64)}
    constants["kinds"] = np.array(list(KINDS.values()), np.int64)
    graph.weights += [numpy_helper.from_array(value, name) for name, value in constants.items()]
    for index, part in enumerate(detector.parts):
        x = graph.part(part, x, f"part{index}", 1.0 if index else 1 / 255)
        levels.append(x)
    for index in (2, 1, 0):
        stride, level = STRIDES[index], levels[3 + index]
        source = level if index == 2 else graph.node("Add", [level, graph.doubled(x, f"neck{stride}")], f"neck{stride}.add")
        x = graph.unit(detector.neck[index], source, f"neck{stride}")
        graph.said(detector.heads[index], x, stride)
    source = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, "height", "width"])
    results = [
        helper.make_tensor_value_info(f"{kind}_{stride}", TensorProto.FLOAT, [1, f"cells_{stride}", numbers])
        for kind, numbers in KINDS.items()
        for stride in STRIDES
    ]
    made = helper.make_graph(graph.nodes, "facelatch-detector", [source], results, graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="facelatch")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def multiplications(detector: Detector, height: int, width: int) -> int:
    """Of the convolutions, for one picture."""
    counted, hooks = [], []
    for module in detector.modules():
        if isinstance(module, nn.Conv2d):
            count = lambda m, _, out: counted.append(out.numel() * m.weight[0].numel())  # noqa: E731
            hooks.append(module.register_forward_hook(count))
    with torch.no_grad():
        detector.eval()(torch.zeros(1, 3, height, width))
    for hook in hooks:
        hook.remove()
    return sum(counted)


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(given)
    detector, pictures = load_small(args.checkpoint)
    onnx.save(to_onnx(detector), args.out)
    # 320x240 itself is no multiple of 32: it is counted as the share of 320x256 that it is.
    millions = multiplications(detector, 256, 320) * 240 / 256 / 1e6
    size = args.out.stat().st_size
    print(f"{args.out}: {size} bytes, after {pictures} pictures, {millions:.1f} million multiplications at 320x240")


if __name__ == "__main__":
    main()
