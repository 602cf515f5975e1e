"""How fast facelatch runs its networks, beside other runtimes: `python peers.py`, after `pip install -r requirements.txt`.

All run on one thread of the same machine, in turns of a few runs each, so that whatever else the machine does falls on all
of them alike; medians are compared. Each peer gets the network in the form that it runs best: onnxruntime with signed
and with unsigned activations and in floats, OpenCV and ncnn in floats (ncnn in its half-precision forms, too), tract as it is. The
networks are the project's own, and the same with a PReLU in the place of each ReLU (of any slope: only time is measured).

The instruction set is the best of the CPU; `FACELATCH_KERNELS` chooses another for facelatch, and for nobody else.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

HOME = Path(__file__).resolve().parent.parent
# Name, width, height, and whether it is measured with a PReLU for each ReLU, too.
NETWORKS = [("encoder", 112, 112, True), ("encoder-small", 112, 112, True), ("detector", 320, 256, False)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--turns", type=int, default=30, help="of every runtime")
    parser.add_argument("--runs", type=int, default=10, help="in a turn")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    return parser.parse_args()


def in_floats(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network without its rounding, with float weights."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    rounded = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    renamed, weights, nodes = {}, {}, []
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            continue
        if node.op_type == "DequantizeLinear":
            name, scale = node.input[0], constants[node.input[1]]
            if name in rounded:
                renamed[node.output[0]] = renamed.get(rounded[name], rounded[name])
            else:
                shape = [-1] + [1] * (constants[name].ndim - 1)
                weights[node.output[0]] = (constants[name] * scale.reshape(shape)).astype(np.float32)
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [renamed.get(name, name) for name in node.input]
        nodes.append(copy)
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    tensors += [tensor for tensor in model.graph.initializer if any(tensor.name in node.input for node in nodes)]
    graph = helper.make_graph(nodes, "floats", model.graph.input, model.graph.output, tensors)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def unsigned(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with activations as unsigned bytes, for which x86 has better instructions."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    zeros = {node.input[2] for node in copy.graph.node if node.op_type == "QuantizeLinear"}
    for tensor in copy.graph.initializer:
        if tensor.name in zeros:
            zero = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array((zero.astype(np.int16) + 128).astype(np.uint8), tensor.name))
    return copy


def with_prelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """A PReLU for each ReLU, and bytes on both sides of zero behind it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    channels = {node.output[0]: channels_of(copy, node) for node in copy.graph.node if node.op_type == "Conv"}
    behind = set()
    for node in copy.graph.node:
        if node.op_type == "Relu":
            slopes = np.full((channels[node.input[0]], 1, 1), 0.25, np.float32)
            copy.graph.initializer.append(numpy_helper.from_array(slopes, f"{node.name or node.output[0]}.slopes"))
            node.op_type = "PRelu"
            node.input.append(copy.graph.initializer[-1].name)
            behind.add(node.output[0])
    copy.graph.initializer.append(numpy_helper.from_array(np.int8(-64).reshape(1), "middle"))
    middles = {node.output[0] for node in copy.graph.node if node.op_type == "QuantizeLinear" and node.input[0] in behind}
    for node in copy.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and {node.input[0], node.output[0]} & middles:
            node.input[2] = "middle"
    return copy


def channels_of(model: onnx.ModelProto, convolution: onnx.NodeProto) -> int:
    weights = next((n.input[0] for n in model.graph.node if n.output[0] == convolution.input[1]), convolution.input[1])
    return next(tensor.dims[0] for tensor in model.graph.initializer if tensor.name == weights)


class Child:
    """A process that runs the network when told to."""

    def __init__(self, command: list[str]):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def times(self, runs: int) -> list[float]:
        self.process.stdin.write(f"{runs}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended")
        return [int(number) / 1e6 for number in line.split()]


class Call:
    """A function of this process that runs the network."""

    def __init__(self, call):
        self.call = call

    def times(self, runs: int) -> list[float]:
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self.call()
            times.append((time.perf_counter() - start) * 1e3)
        return times


def by_onnxruntime(path: Path, pixels: np.ndarray) -> Call:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return Call(lambda: session.run(None, {name: pixels}))


def by_opencv(path: Path, pixels: np.ndarray) -> Call | None:
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    network = cv2.dnn.readNetFromONNX(str(path))
    names = network.getUnconnectedOutLayersNames()

    def call():
        network.setInput(pixels)
        network.forward(names)

    return Call(call)


def by_ncnn(path: Path, pixels: np.ndarray, outputs: int) -> Call | None:
    """Converted by pnnx, its own converter, with half precision where the CPU has it."""
    converter = shutil.which("pnnx") or shutil.which("pnnx", path=str(Path(sys.executable).parent))
    try:
        import ncnn
    except ImportError:
        return None
    if converter is None:
        return None
    shape = ",".join(map(str, pixels.shape))
    told = subprocess.run([converter, path.name, f"inputshape=[{shape}]"], cwd=path.parent, capture_output=True, text=True)
    parameters = path.with_suffix(".ncnn.param")
    if not parameters.exists():
        print(f"ncnn is left out: pnnx says {told.stderr[-300:]}", file=sys.stderr)
        return None
    network = ncnn.Net()
    network.opt.num_threads = 1
    network.load_param(str(parameters))
    network.load_model(str(path.with_suffix(".ncnn.bin")))

    def call():
        with network.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(pixels[0]))
            for index in range(outputs):
                extractor.extract(f"out{index}")

    return Call(call)


def compare(path: Path, width: int, height: int, prelu: bool, program: Path, args) -> dict:
    original = onnx.load(path)
    original = with_prelu(original) if prelu else original
    pixels = np.random.default_rng(1).integers(0, 256, (1, 3, height, width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, model in (("signed", original), ("unsigned", unsigned(original)), ("floats", in_floats(original))):
            files[name] = Path(folder) / f"{name}.onnx"
            onnx.save(model, files[name])
        outputs = [str(output.size) for output in by_onnxruntime(files["signed"], pixels).call()]
        sizes = [str(width), str(height), ",".join(outputs)]
        ours = lambda file, runtime: Child([str(program), str(file), *sizes, runtime])  # noqa: E731
        runtimes = {
            "facelatch": ours(files["signed"], "facelatch"),
            "onnxruntime int8": by_onnxruntime(files["signed"], pixels),
            "onnxruntime uint8": by_onnxruntime(files["unsigned"], pixels),
            "onnxruntime float": by_onnxruntime(files["floats"], pixels),
            "opencv float": by_opencv(files["floats"], pixels),
            "ncnn": by_ncnn(files["floats"], pixels, len(outputs)),
            "tract float": ours(files["floats"], "tract"),
        }
        times = {name: [] for name, runtime in runtimes.items() if runtime}
        for turn in range(args.turns + 1):
            for name in times:
                told = runtimes[name].times(args.runs)
                times[name] += told if turn else []  # the first turn warms up
    return {name: statistics.median(told) for name, told in times.items()}


def main() -> None:
    args = arguments()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    build = ["cargo", "bench", "--profile", "release", "--bench", "networks", "--no-run", "--message-format", "json"]
    told = subprocess.run(build, cwd=HOME, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = [json.loads(line) for line in told.splitlines()]
    program = Path(next(f["executable"] for f in reversed(found) if f.get("target", {}).get("name") == "networks"))
    peaks = subprocess.run([program, "peak"], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    results = {"peak_products_per_ns": {name: float(peak) for name, peak in map(str.split, peaks)}, "ms": {}}
    for name, width, height, has_both in NETWORKS:
        for prelu in (False, True) if has_both else (False,):
            row = f"{name} with {'PReLU' if prelu else 'ReLU'}"
            results["ms"][row] = compare(HOME / "models" / f"{name}.onnx", width, height, prelu, program, args)
    if args.json:
        print(json.dumps(results))
        return
    print("peak, products of bytes a ns: " + ", ".join(peaks))
    for row, times in results["ms"].items():
        print(f"\n{row}\n{'':20} {'ms':>8} {'facelatch takes':>16}")
        for name, median in times.items():
            print(f"{name:20} {median:8.2f} {times['facelatch'] / median:16.2f}")


if __name__ == "__main__":
    main()
