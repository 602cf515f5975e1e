"""An ONNX graph that can be edited and measured: what quantise.py works on."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

POSITIONS = 16  # of a feature map that are kept of each picture, to choose scales by


class Graph:
    """Nodes in their order, and constants as arrays by name."""

    def __init__(self, model: onnx.ModelProto):
        self.model = model
        self.nodes = []
        self.constants = {t.name: numpy_helper.to_array(t).copy() for t in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t).copy()
            else:
                self.nodes.append(node)
        self.sources = [i.name for i in model.graph.input if i.name not in self.constants]
        self.results = [o.name for o in model.graph.output]
        if len(self.sources) != 1:
            raise SystemExit(f"one input is expected, and there are {self.sources}")

    @staticmethod
    def load(path: Path) -> "Graph":
        return Graph(onnx.load(str(path)))

    def convs(self) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if node.op_type == "Conv"]

    def activations(self, node) -> list[str]:
        """The inputs of a node that aren't constants."""
        return [name for name in node.input if name and name not in self.constants]

    def readers(self) -> dict[str, list[onnx.NodeProto]]:
        found = defaultdict(list)
        for node in self.nodes:
            for name in self.activations(node):
                found[name].append(node)
        return found

    def to_model(self, nodes=None, constants=None, results=None) -> onnx.ModelProto:
        """A model with this one's input; `results` names further outputs, of whatever shape they have."""
        constants = self.constants if constants is None else constants
        weights = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
        old = self.model.graph
        outputs = list(old.output)
        for name in results or []:
            if name not in self.results:
                outputs.append(helper.make_value_info(name, helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)))
        inputs = [i for i in old.input if i.name in self.sources]
        graph = helper.make_graph(self.nodes if nodes is None else nodes, old.name, inputs, outputs, weights)
        made = helper.make_model(graph, opset_imports=self.model.opset_import, producer_name=self.model.producer_name)
        made.ir_version = self.model.ir_version
        return made


def conv_attributes(node: onnx.NodeProto) -> dict:
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {"group": found.get("group", 1), "pads": found.get("pads", [0] * 4), "strides": found.get("strides", [1, 1])}


def is_depthwise(node: onnx.NodeProto, weight: np.ndarray) -> bool:
    return conv_attributes(node)["group"] == weight.shape[0] and weight.shape[1] == 1


class Runner:
    """A model in onnxruntime, one picture at a time as the exporters write it."""

    def __init__(self, model: onnx.ModelProto, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self.source = self.session.get_inputs()[0].name
        self.names = [output.name for output in self.session.get_outputs()]

    def __call__(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """`pixels`: 3 x H x W floats from 0 to 255."""
        return dict(zip(self.names, self.session.run(None, {self.source: pixels[None].astype(np.float32)})))


class Measured:
    """Of each tensor: values at random places, as places x channels, and each channel's range."""

    def __init__(self, graph: Graph, names: list[str], pictures, seed: int):
        self.samples, self.lowest, self.highest = {}, {}, {}
        random = np.random.default_rng(seed)
        runner, kept = Runner(graph.to_model(results=names)), defaultdict(list)
        for pixels in pictures:
            found = runner(pixels) | {graph.sources[0]: pixels[None]}
            for name in names:
                self._add(name, found[name], kept, random)
        self.samples = {name: np.concatenate(rows) for name, rows in kept.items()}

    def _add(self, name, value, kept, random):
        flat = value.reshape(value.shape[1], -1)
        low, high = flat.min(1), flat.max(1)
        self.lowest[name] = np.minimum(self.lowest.get(name, low), low)
        self.highest[name] = np.maximum(self.highest.get(name, high), high)
        count = flat.shape[1]
        places = random.integers(0, count, POSITIONS) if count > POSITIONS else np.arange(count)
        kept[name].append(flat[:, places].T.astype(np.float32))

    def divide(self, name: str, by: np.ndarray) -> None:
        """As if each channel of the tensor had been divided."""
        for values in (self.samples, self.lowest, self.highest):
            values[name] = values[name] / by
