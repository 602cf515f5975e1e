"""Golden outputs: `python golden.py`, after any of the built-in networks has changed.

Each network of models/ runs in onnxruntime on a small picture, which is kept beside its numbers in models/golden/: once as
it is, and once without the rounding between its layers, to see what that costs. A test compares
(tests/golden.rs says how closely, and why). The pictures are cut from one of the demo's people, who is nobody
(models/cards/demo-people.md).
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image

MODELS = Path(__file__).resolve().parent.parent

# Network, the side of its picture, the order of its channels, and the share of the demo's picture that it is shown.
GOLDEN = [
    ("detector", 96, "rgb", 1.0),
    ("landmarks", None, "rgb", 0.5),
    ("encoder", 112, "rgb", 0.45),
    ("encoder-small", 112, "rgb", 0.45),
]


def picture(source: Image.Image, share: float, side: int) -> Image.Image:
    """The middle of `source`, a square of `share` of its shorter side, as `side` x `side` pixels."""
    half = share * min(source.size) / 2
    x, y = source.width / 2, source.height / 2
    return source.resize((side, side), Image.Resampling.BOX, (x - half, y - half, x + half, y + half))


def planes(image: Image.Image, order: str) -> np.ndarray:
    """1 x 3 x H x W, 0 to 255."""
    pixels = np.asarray(image, np.float32)
    return np.ascontiguousarray((pixels if order == "rgb" else pixels[:, :, ::-1]).transpose(2, 0, 1)[None])


def unrounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same without each QuantizeLinear whose result a DequantizeLinear takes back; weights stay int8."""
    kept = onnx.ModelProto()
    kept.CopyFrom(model)
    rounded = {node.output[0]: node.input[0] for node in kept.graph.node if node.op_type == "QuantizeLinear"}
    passed = {
        node.output[0]: rounded[node.input[0]]
        for node in kept.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in rounded
    }
    nodes = [node for node in kept.graph.node if not {*passed, *rounded} & {*node.output}]
    for node in nodes:
        for index, name in enumerate(node.input):
            while name in passed:
                name = passed[name]
            node.input[index] = name
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.node[:]
    bare.graph.node.extend(nodes)
    return bare


def run(model: onnx.ModelProto, pixels: np.ndarray) -> list[dict]:
    """Name and numbers of each output; six digits of the seven that single precision has."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # or it tells of every scale that `unrounded` left without a use
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    results = session.run(names, {session.get_inputs()[0].name: pixels})
    return [{"name": n, "values": [float(f"{x:.6g}") for x in v.ravel()]} for n, v in zip(names, results)]


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--face", type=Path, default=MODELS / "demo" / "ada-1.jpg")
    parser.add_argument("--out", type=Path, default=MODELS / "golden")
    args = parser.parse_args(given)
    source = Image.open(args.face).convert("RGB")
    args.out.mkdir(exist_ok=True)
    for name, side, order, share in GOLDEN:
        file = MODELS / f"{name}.onnx"
        model = onnx.load(file)
        image = picture(source, share, side or model.graph.input[0].type.tensor_type.shape.dim[-1].dim_value)
        image.save(args.out / f"{name}.png", optimize=True)
        pixels = planes(image, order)
        told = {
            "network": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "by": f"onnxruntime {onnxruntime.__version__}",
            "unrounded": run(unrounded(model), pixels),
            "int8": run(model, pixels),
        }
        (args.out / f"{name}.json").write_text(json.dumps(told, separators=(",", ":")) + "\n")
        print(f"{name}: {sum(len(output['values']) for output in told['int8'])} numbers")


if __name__ == "__main__":
    main()
