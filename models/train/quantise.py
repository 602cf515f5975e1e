"""Int8 networks: `python quantise.py checkpoints/encoder.pt encoder.onnx --faces CROPS`, or a float ONNX file as source.

Made are QDQ files: each tensor that a convolution or an addition reads goes through QuantizeLinear and DequantizeLinear,
weights lie as int8 with a scale for each output channel, biases as int32 in steps of input scale times weight scale.
That's what engines fuse into integer convolutions, and any other computes the same with floats.

Four steps, each of which can be left out to see what it's worth:

- *equalising* (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction"; with the
  exponent of Xiao et al. 2023, "SmoothQuant"): channels of one tensor share a scale, so those that are weak are
  strengthened, and the convolution that reads them undoes it;
- *clipping*: a range that gives up a few large values where that lowers the mean squared error of all;
- *bias correction* (Nagel et al. 2019): rounding shifts a convolution's mean; the bias takes it back;
- *fine-tuning* (`--fine-tune PICTURES`): the integers themselves learn to give what the float network gives, with
  straight-through gradients (Jacob et al. 2018, "Quantization and training of neural networks for efficient
  integer-arithmetic-only inference"). It needs no labels and no teacher.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper
from tqdm import tqdm

from checkpoints import load_small
from data import augment, middle, pictures_under, read_crops
from export import to_onnx
from onnx_graph import Graph, Measured, Runner, conv_attributes, is_depthwise

# These only choose among the numbers that they read: what goes in and what comes out share a scale, and so they run on bytes.
CHOOSING = {"MaxPool", "Resize"}
# Through these a channel stays itself, so that equalising may cross them.
PASSING = {"Relu", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"}

# Beyond so many steps facelatch takes no bias: with the sums of products it must stay within 32 bits.
MAX_BIAS = 2**30


def arguments(given=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("source", type=Path, help="an encoder's checkpoint (.pt), or a float ONNX file of convolutions with ReLU")
    add("out", type=Path)
    pictures = parser.add_mutually_exclusive_group(required=True)
    pictures.add_argument("--faces", type=Path, help="folder of aligned 128x128 crops to calibrate an encoder with")
    pictures.add_argument("--arrays", type=Path, help="for any other network: .npy of N x 3 x H x W, as it reads them")
    add("--pictures", type=int, default=384, help="to calibrate with")
    add("--measure", type=int, default=256, help="other pictures, on which the result is compared with the float network")
    add("--equalise", type=float, default=0.5, help="exponent: 0 leaves it out, 1 looks at tensors only and not at weights")
    add("--no-clip", action="store_true", help="keep the whole range of every tensor and weight")
    add("--no-bias-correction", action="store_true")
    add("--fine-tune", type=int, default=0, metavar="PICTURES", help="let the integers learn for so many pictures")
    add("--rate", type=float, default=0.02, help="of fine-tuning, in quantisation steps")
    add("--uint8", action="store_true", help="activations as uint8, which onnxruntime prefers on x86; int8 otherwise")
    add("--threads", type=int, default=1)
    add("--seed", type=int, default=1)
    return parser.parse_args(given)


@dataclass
class Activation:
    """real = (stored - zero) * scale, with `stored` from -128 to 127."""

    scale: float
    zero: int

    def fake(self, x: np.ndarray) -> np.ndarray:
        return (np.clip(np.round(x / self.scale) + self.zero, -128, 127) - self.zero) * self.scale


@dataclass
class Layer:
    """A convolution: real weight = weight * scale of its output channel; the bias is real."""

    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray

    def real(self) -> np.ndarray:
        return self.weight * self.scale.reshape(-1, 1, 1, 1)


def quantised_tensors(graph: Graph) -> list[str]:
    """What convolutions, additions and choosing layers read, and what additions give."""
    names = []
    for node in graph.nodes:
        if node.op_type in ("Conv", "Add") or node.op_type in CHOOSING:
            names += graph.activations(node)
        if node.op_type == "Add" and node.output[0] not in graph.results:
            names += node.output
    return list(dict.fromkeys(names))


def equalise(graph: Graph, measured: Measured, exponent: float) -> None:
    """Divides channels of tensors by a factor each, in the weights that make them, and multiplies in those that read."""
    readers = graph.readers()
    for group in channel_groups(graph):
        quantised = [name for name in group if name in measured.samples]
        if not quantised:
            continue
        reach = np.max([np.maximum(measured.highest[n], -measured.lowest[n]) for n in quantised], axis=0)
        reading = [node for name in group for node in readers[name] if node.op_type == "Conv"]
        dense = [n for n in reading if not is_depthwise(n, graph.constants[n.input[1]])]
        factor = (reach / reach.max()).clip(1 / 64) ** (exponent if dense else 1.0)
        if dense:
            # How large a channel's weights are beside the largest weight of each row, which sets that row's scale.
            weights = [np.abs(graph.constants[n.input[1]]).max((2, 3)) for n in dense]
            share = np.max([(w / w.max(1, keepdims=True).clip(1e-12)).max(0) for w in weights], axis=0)
            factor = factor / (share / share.max()).clip(1 / 64) ** (1 - exponent)
        for node in graph.convs():
            weight, bias = (graph.constants[name] for name in node.input[1:3])
            if node.output[0] in group:
                weight /= factor.reshape(-1, 1, 1, 1)
                bias /= factor
        for node in reading:
            weight = graph.constants[node.input[1]]
            weight *= factor.reshape(1, -1, 1, 1) if node in dense else factor.reshape(-1, 1, 1, 1)
        for name in quantised:
            measured.divide(name, factor)


def channel_groups(graph: Graph) -> list[set[str]]:
    """Tensors whose channels must be scaled alike, without those that something else than convolutions reads or makes."""
    root = {}

    def find(name):
        while root.setdefault(name, name) != name:
            name = root[name]
        return name

    fixed = {*graph.sources, *graph.results}
    for node in graph.nodes:
        tensors = [*graph.activations(node), *node.output]
        if node.op_type == "Conv":
            if conv_attributes(node)["group"] > 1 and not is_depthwise(node, graph.constants[node.input[1]]):
                fixed.update(tensors)
        elif node.op_type in PASSING and not (node.op_type == "Add" and len(tensors) < 3):
            for name in tensors[1:]:
                root[find(name)] = find(tensors[0])
        else:
            fixed.update(tensors)
    groups = {}
    for name in {name for node in graph.nodes for name in (*graph.activations(node), *node.output)}:
        groups.setdefault(find(name), set()).add(name)
    return [group for group in groups.values() if not group & fixed]


def activation(name: str, graph: Graph, measured: Measured, clip: bool) -> Activation:
    """The whole of 256 steps where nothing is negative, 255 about zero otherwise; a picture's bytes are themselves."""
    low, high = measured.lowest[name].min(), measured.highest[name].max()
    if name in graph.sources and low >= 0 and 127 < high <= 255:
        return Activation(1.0, -128)
    made = (lambda reach: Activation(reach / 255, -128)) if low >= 0 else (lambda reach: Activation(reach / 127, 0))
    reach, values = max(high, -low, 1e-6), measured.samples[name]
    shares = np.linspace(0.3, 1, 36) if clip else [1.0]
    return made(reach * min(shares, key=lambda share: np.square(made(reach * share).fake(values) - values).mean()))


def layer(weight: np.ndarray, bias: np.ndarray, clip: bool) -> Layer:
    """Each output channel's scale is the one, of a few, with the least squared error."""
    reach = np.abs(weight).max((1, 2, 3)).clip(1e-12)
    best, error = reach / 127, np.full(len(weight), np.inf)
    for share in np.linspace(0.6, 1, 21) if clip else [1.0]:
        scale = (reach * share / 127).reshape(-1, 1, 1, 1)
        off = np.square(np.clip(np.round(weight / scale), -127, 127) * scale - weight).sum((1, 2, 3))
        best, error = np.where(off < error, scale.ravel(), best), np.minimum(off, error)
    best = best.astype(np.float32)
    return Layer(np.clip(np.round(weight / best.reshape(-1, 1, 1, 1)), -127, 127), best, bias.copy())


def with_bias_in_reach(made: Layer, source_scale: float) -> Layer:
    """Coarser steps for output channels so nearly dead that their bias would leave 32 bits; the others stay as they are."""
    least = np.abs(made.bias) / (float(source_scale) * MAX_BIAS / 2)
    if not (made.scale < least).any():
        return made
    scale = np.maximum(made.scale, least).astype(np.float32)
    shape = (-1, 1, 1, 1)
    return Layer(np.where((made.scale < least).reshape(shape), np.round(made.real() / scale.reshape(shape)), made.weight), scale, made.bias)


def correct_bias(node, made: Layer, weight: np.ndarray, source: Activation, samples: np.ndarray) -> None:
    """Takes back the mean error of the rounded weights and of the rounded, clipped input, padding not considered."""
    exact, rounded = samples.mean(0), source.fake(samples).mean(0)
    if is_depthwise(node, weight):
        made.bias -= made.real().sum((1, 2, 3)) * rounded - weight.sum((1, 2, 3)) * exact
    elif conv_attributes(node)["group"] == 1:
        made.bias -= made.real().sum((2, 3)) @ rounded - weight.sum((2, 3)) @ exact


def quantise(graph: Graph, pictures, args) -> tuple[dict[str, Activation], dict[str, Layer]]:
    """Scales of tensors by name, and convolutions by the name of their output. The graph's weights are equalised."""
    names, clip = quantised_tensors(graph), not args.no_clip
    for node in graph.convs():
        if len(node.input) < 3:
            node.input.append(f"{node.output[0]}.bias")
            graph.constants[node.input[2]] = np.zeros(len(graph.constants[node.input[1]]), np.float32)
    measured = Measured(graph, names, tqdm(pictures, "calibrating", unit="picture", disable=None), args.seed)
    if args.equalise:
        equalise(graph, measured, args.equalise)
    activations = {name: activation(name, graph, measured, clip) for name in names}
    for node in graph.nodes:
        if node.op_type in CHOOSING and node.output[0] in activations:
            activations[node.output[0]] = activations[node.input[0]]
    layers = {}
    for node in graph.convs():
        weight, bias = (graph.constants[name] for name in node.input[1:3])
        made = layer(weight, bias, clip)
        if not args.no_bias_correction:
            correct_bias(node, made, weight, activations[node.input[0]], measured.samples[node.input[0]])
        layers[node.output[0]] = made
    return activations, layers


def write(graph: Graph, activations: dict[str, Activation], layers: dict[str, Layer], uint8: bool) -> onnx.ModelProto:
    """The QDQ graph. Short names: they'd be a tenth of a small file."""
    kind, shift = (np.uint8, 128) if uint8 else (np.int8, 0)
    constants, nodes, ready, convs = {}, [], {}, 0

    def constant(name, value):
        constants.setdefault(name, value)
        return name

    def dequantised(name):
        """`name` rounded, made where it's first needed."""
        if name in ready or name not in activations:
            return ready.get(name, name)
        found, short = activations[name], f"t{len(ready)}"
        zero = constant(f"z{found.zero}", kind(found.zero + shift))
        inputs = [constant(f"{short}s", np.float32(found.scale)), zero]
        nodes.append(helper.make_node("QuantizeLinear", [name, *inputs], [f"{short}q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{short}q", *inputs], [short]))
        ready[name] = short
        return short

    rounding = {"Conv", "Add"} | CHOOSING
    for node in graph.nodes:
        made = onnx.NodeProto()
        made.CopyFrom(node)
        made.ClearField("name")
        inputs = [dequantised(name) if node.op_type in rounding else ready.get(name, name) for name in node.input]
        if node.op_type == "Conv":
            found, short = with_bias_in_reach(layers[node.output[0]], activations[node.input[0]].scale), f"c{convs}"
            convs += 1
            scales = {"w": found.scale, "b": (found.scale * np.float32(activations[node.input[0]].scale)).astype(np.float32)}
            bias = np.round(found.bias / scales["b"].astype(float))
            assert (np.abs(bias) < MAX_BIAS).all(), f"the bias of {node.output[0]} leaves 32 bits"
            stored = {"w": found.weight.astype(np.int8), "b": bias.astype(np.int32)}
            for role in "wb":
                read = [constant(f"{short}{role}q", stored[role]), constant(f"{short}{role}s", scales[role])]
                nodes.append(helper.make_node("DequantizeLinear", read, [short + role], axis=0))
            inputs = [inputs[0], f"{short}w", f"{short}b"]
        for name in inputs:
            if name in graph.constants:
                constant(name, graph.constants[name])
        del made.input[:]
        made.input.extend(inputs)
        nodes.append(made)
    model = graph.to_model(nodes, constants)
    onnx.checker.check_model(model, full_check=True)
    return model


def face_pictures(paths: list[Path], seed: int, augmented: bool) -> tuple[np.ndarray, np.ndarray]:
    """N x 3 x 112 x 112 floats from 0 to 255, every second one dimmed, blurred and so on where `augmented`; and their places in
    `paths`."""
    crops, decoded = read_crops(paths)
    crops = torch.from_numpy(crops)
    plain = middle(crops)
    if augmented:
        generator = torch.Generator().manual_seed(seed)
        plain[1::2] = augment(crops[1::2], generator, mix=False)
    return plain.round().numpy(), decoded


def pictures(args) -> tuple[np.ndarray, np.ndarray, list[Path] | np.ndarray]:
    """To calibrate with, to measure on, and to fine-tune with: paths of crops, or rows of the array. Nothing is measured on what
    it has learnt from."""
    every = pictures_under(args.faces) if args.faces else np.load(args.arrays, mmap_mode="r")
    order = np.random.default_rng(args.seed).permutation(len(every))
    kept = min(args.measure, len(every) // 2)
    measured, others = order[:kept], order[kept:]
    if not args.faces:
        calibrated_on, measured_on = (every[some].astype(np.float32) for some in (others[: args.pictures], measured))
        return calibrated_on, measured_on, others
    measured, others = ([every[index] for index in some] for some in (measured, others))
    made, decoded = face_pictures([*measured, *others[: args.pictures]], args.seed, augmented=True)
    return made[decoded >= kept], made[decoded < kept], others


def compare(exact: onnx.ModelProto, rounded: onnx.ModelProto, measured_on: np.ndarray) -> dict[str, np.ndarray]:
    """For each output the cosine between float and int8, picture by picture."""
    runners, cosines = (Runner(exact), Runner(rounded)), {}
    for pixels in measured_on:
        first, second = (runner(pixels) for runner in runners)
        for name, a in first.items():
            a, b = a.ravel().astype(float), second[name].ravel().astype(float)
            cosines.setdefault(name, []).append(a @ b / max(1e-12, np.linalg.norm(a) * np.linalg.norm(b)))
    return {name: np.array(values) for name, values in cosines.items()}


def main(given=None) -> None:
    args = arguments(given)
    torch.set_num_threads(args.threads)
    exact = to_onnx(load_small(args.source)[0]) if args.source.suffix == ".pt" else onnx.load(str(args.source))
    graph = Graph(exact)
    if args.fine_tune:
        from fake_quant import fine_tune, refuse_unknown

        refuse_unknown(graph)
    calibrated_on, measured_on, others = pictures(args)
    activations, layers = quantise(graph, calibrated_on, args)
    made = write(graph, activations, layers, args.uint8)
    if args.fine_tune:
        fine_tune(graph, activations, layers, others, args)
        made = write(graph, activations, layers, args.uint8)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(made, args.out)
    print(f"{args.out}: {args.out.stat().st_size} bytes, {len(layers)} convolutions")
    for name, cosines in compare(exact, made, measured_on).items():
        print(f"{name}: cosine to float on {len(cosines)} other pictures: mean {cosines.mean():.5f}, lowest {cosines.min():.5f}")


if __name__ == "__main__":
    main()
