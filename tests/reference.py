#!/usr/bin/env python3
"""Compares networks as facelatch runs them with onnxruntime, on the same inputs.

    facelatch eval PAIRS --detector D --model M --dump DIR     for each pair of networks
    python3 tests/reference.py DIR...

Needs numpy and onnxruntime. For each dump: the cosine of every encoding with onnxruntime's on the same aligned face, and of
every map of the detector on the same picture. Each must be at least 0.9999, over at least --faces of them (200).
"""

import argparse
import hashlib
import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime

MANIFEST = Path(__file__).parent.parent / "models" / "manifest.toml"


def known_networks():
    models = tomllib.loads(MANIFEST.read_text())["model"]
    return {model["sha256"]: model for model in models}


def runner(network, known):
    """A function from packed RGB (H x W x 3 bytes) to the network's outputs, each flat."""
    content = Path(network["path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == network["sha256"], f"{network['path']} has changed since the dump"
    spec = known[network["sha256"]]["input"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Sizes that the exporter wrote into the graph hold only for its own input size.
    session = onnxruntime.InferenceSession(at_size(content, network), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(rgb):
        planes = rgb.astype(np.float32).transpose(2, 0, 1)
        if spec["order"] == "bgr":
            planes = planes[::-1]
        mean, scale = (np.array(spec[key], np.float32).reshape(3, 1, 1) for key in ("mean", "scale"))
        return [output.ravel() for output in session.run(None, {name: ((planes - mean) * scale)[None]})]

    return run


def at_size(content, network):
    """The network with its input declared at the size that it was run at."""
    import onnx

    model = onnx.load_from_string(content)
    sides = model.graph.input[0].type.tensor_type.shape.dim
    if [side.dim_value for side in sides[2:]] == [network["height"], network["width"]]:
        return content
    for side, value in zip(sides, (1, 3, network["height"], network["width"])):
        side.dim_value = value
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return model.SerializeToString()


# A map in which no cell sees a face holds scores of a few millionths, whose direction is rounding; a score counts from 0.5.
NOTHING_SEEN = 1e-3


def cosine(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    if max(lengths) < NOTHING_SEEN:
        return 1.0
    return float(a @ b / np.prod(lengths)) if min(lengths) > 0 else 0.0


def compare(folder, known):
    """(network's name, faces, worst cosine) of each network in a dump."""
    meta = json.loads((folder / "meta.json").read_text())
    faces = meta["faces"]
    for network, inputs, outputs in (
        (meta["detector"], "shown.rgb", "maps.f32"),
        (meta["embedder"], "crops.rgb", "encodings.f32"),
    ):
        run = runner(network, known)
        pictures = np.fromfile(folder / inputs, np.uint8).reshape(faces, network["height"], network["width"], 3)
        answers = np.fromfile(folder / outputs, "<f4").reshape(faces, -1)
        ends = np.cumsum(network["outputs"])[:-1]
        worst = 1.0
        for picture, answer in zip(pictures, answers):
            for ours, theirs in zip(np.split(answer, ends), run(picture), strict=True):
                worst = min(worst, cosine(ours, theirs))
        yield network["name"], faces, worst


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("dumps", nargs="+", type=Path)
    arguments.add_argument("--least", type=float, default=0.9999, help="the least cosine (default: %(default)s)")
    arguments.add_argument("--faces", type=int, default=200, help="the fewest faces (default: %(default)s)")
    arguments = arguments.parse_args()
    known = known_networks()
    failed = False
    for folder in arguments.dumps:
        for name, faces, worst in compare(folder, known):
            passed = worst >= arguments.least and faces >= arguments.faces
            failed |= not passed
            print(f"{'ok  ' if passed else 'FAIL'} {name:16} {faces} faces, worst cosine {worst:.7f}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
