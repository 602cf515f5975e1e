"""Fine-tuning of an int8 network: PyTorch computes with rounded weights and tensors, and the integers learn.

Rounding has no gradient; it's taken to be the identity within a tensor's range and nothing beyond (Bengio, Léonard &
Courville 2013, "Estimating or propagating gradients through stochastic neurons for conditional computation"). Weights are
learnt in units of their own steps, so that one learning rate fits all channels however BatchNorm has scaled them. Scales
stay as they were calibrated. The aim is the float network itself, at each addition and at the outputs.
"""

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from data import Batches, read_crops
from onnx_graph import Graph
from teacher import _OPERATORS, _attributes

BATCH = 32


def _straight_through(x: torch.Tensor) -> torch.Tensor:
    return x + (x.round() - x).detach()


class FakeQuantised(nn.Module):
    """The graph in float, or with what the int8 file will round."""

    def __init__(self, graph: Graph, activations: dict, layers: dict):
        super().__init__()
        self.nodes = [(node.op_type, list(node.input), node.output[0], _attributes(node)) for node in graph.nodes]
        self.source, self.activations = graph.sources[0], activations
        self.watched = [node.output[0] for node in graph.nodes if node.op_type == "Add"] + graph.results
        self.constants = {name: torch.from_numpy(value.copy()) for name, value in graph.constants.items()}
        self.scales, self.first_bias, self.steps, self.shifts = {}, {}, nn.ParameterDict(), nn.ParameterDict()
        for (_, inputs, output, _), key in self._convs():
            layer = layers[output]
            self.scales[key] = torch.from_numpy(layer.scale).view(-1, 1, 1, 1)
            self.first_bias[key] = torch.from_numpy(layer.bias.astype(np.float32))
            self.steps[key] = nn.Parameter(torch.from_numpy(layer.weight.astype(np.float32)))
            self.shifts[key] = nn.Parameter(torch.zeros(len(layer.bias)))

    def _convs(self):
        """With the key of each convolution's parameters, whose names can't hold ONNX's dots."""
        convs = [node for node in self.nodes if node[0] == "Conv"]
        return [(node, f"conv{index}") for index, node in enumerate(convs)]

    def _rounded(self, name, x):
        """Each channel's integer steps, kept within int8."""
        found = self.activations[name]
        steps = (x / found.scale).clamp(-128 - found.zero, 127 - found.zero)
        return _straight_through(steps) * found.scale

    def _layer(self, key, inputs):
        weight = _straight_through(self.steps[key].clamp(-127, 127)) * self.scales[key]
        # A shift of 1 moves the bias as far as one step of a weight does at a quarter of the input's range.
        unit = self.scales[key].flatten() * self.activations[inputs[0]].scale * 64
        return weight, self.first_bias[key] + self.shifts[key] * unit

    def forward(self, pixels, rounded: bool) -> dict[str, torch.Tensor]:
        """The tensors to compare, by name."""
        values = self.constants | {"": None, self.source: pixels}
        keys = {node[2]: key for node, key in self._convs()}
        for kind, inputs, output, attributes in self.nodes:
            given = [values[name] for name in inputs]
            if rounded and kind in ("Conv", "Add"):
                given = [self._rounded(n, x) if n in self.activations else x for n, x in zip(inputs, given)]
            if rounded and kind == "Conv":
                given[1:] = self._layer(keys[output], inputs)
            values[output] = _OPERATORS[kind](attributes, *given)
        return {name: values[name] for name in self.watched}

    @torch.no_grad()
    def store(self, layers: dict) -> None:
        """Writes what was learnt back into the layers."""
        for (_, inputs, output, _), key in self._convs():
            layers[output].weight = self.steps[key].clamp(-127, 127).round().numpy()
            layers[output].bias = self._layer(key, inputs)[1].numpy()


def refuse_unknown(graph: Graph) -> None:
    """To be asked before the calibration, which takes minutes."""
    unknown = sorted({node.op_type for node in graph.nodes} - _OPERATORS.keys())
    if unknown:
        raise SystemExit(f"fine-tuning doesn't know {', '.join(unknown)}: quantise this network without --fine-tune")


def fine_tune(graph: Graph, activations: dict, layers: dict, chosen, args) -> None:
    """`args.fine_tune` augmented pictures of the paths `chosen`, or of these rows of `args.arrays`; the rate falls to 0."""
    network = FakeQuantised(graph, activations, layers)
    optimiser = torch.optim.Adam(network.parameters(), lr=args.rate, betas=(0.9, 0.99))
    total = max(1, args.fine_tune // BATCH)
    batches = _batches(chosen, args)
    progress = tqdm(range(total), "fine-tuning", unit="step", disable=None)
    for step in progress:
        pixels = next(batches)
        with torch.no_grad():
            wanted = network(pixels, rounded=False)
        errors = [(x - wanted[name]).square().mean() / wanted[name].var() for name, x in network(pixels, rounded=True).items()]
        loss = torch.stack(errors).mean() + errors[-1]
        for group in optimiser.param_groups:
            group["lr"] = args.rate * (1 - step / total)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        progress.set_postfix(output_error=f"{errors[-1].item():.5f}")
    network.store(layers)


def _batches(chosen, args):
    if args.arrays:
        pictures, random = np.load(args.arrays, mmap_mode="r"), np.random.default_rng(args.seed)
        while True:
            rows = np.sort(random.choice(chosen, min(BATCH, len(chosen)), replace=False))
            yield torch.from_numpy(pictures[rows].astype(np.float32))
    crops, _ = read_crops(chosen[: args.fine_tune])
    for pixels in Batches(crops, np.arange(len(crops)), BATCH, args.seed):
        yield pixels.round()
