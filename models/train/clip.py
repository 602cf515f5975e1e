"""A network over a face in time: 16 x 32 x 32 aligned pixels in, one number out, how sure it is of a living face.

Convolutions over time, height and width at once (Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks",
2015): 4 layers of 3x3x3, 0.18 million parameters, 23 million products. In every dimension a side of n becomes
(n + 2p − f) / s + 1, rounded down.

    train CLIPS.npz OUT.pt     on `clips` (N x 16 x 32 x 32 x 3 bytes), `live` (N, 0 or 1) and `recording` (N whole numbers); says
                               first how well it does on recordings that were left out, one after another
    export OUT.pt FILE.onnx    --form conv3d (default) or frames
    tiny                       writes tests/data/clip-*.onnx and what they answer to `pattern`, for tests/clip.rs

The two forms give the same numbers, and the door's runtime runs both (tests/clip.rs). It takes pictures, so the file's input is a
picture: 1 x 3 x 512 x 32, the 16 frames one below the other, RGB, 0 to 255. `conv3d` has Conv nodes of three dimensions. `frames`, for
what knows only those of two, has each frame as a picture of a batch, and a layer sees the three frames that its filters reach,
their channels one behind the other.
"""

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from tqdm import tqdm

import checkpoints
from export import IR_VERSION, OPSET
from running import keep_memory
from see import HERE

FRAMES, SIDE = 16, 32  # of a clip: half a second at 30 Hz; pixels
KERNEL, PAD = 3, 1  # in every dimension
LAYERS = ((3, 16, (1, 2, 2)), (16, 32, (2, 2, 2)), (32, 64, (2, 2, 2)), (64, 64, (1, 1, 1)))  # channels in, out, stride
MOST_PARAMETERS = 200_000
FORMS = ("conv3d", "frames")
TINY = ((3, 2, (1, 2, 2)), (2, 3, (2, 2, 2)))  # layers of the network that the door's runtime is tested with


def length(n: int, f: int, s: int = 1, p: int = 0) -> int:
    """What a side of `n` becomes under a filter of `f` with stride `s` and `p` of padding on each side, in any dimension.

    Raises ValueError where the filter does not fit."""
    if n + 2 * p < f:
        raise ValueError(f"a filter of {f} doesn't fit into {n} and twice {p}")
    return (n + 2 * p - f) // s + 1


def sizes(layers=LAYERS) -> list[tuple[int, int, int]]:
    """Frames, rows and columns before the first layer and after each."""
    found = [(FRAMES, SIDE, SIDE)]
    for _, _, strides in layers:
        found.append(tuple(length(n, KERNEL, s, PAD) for n, s in zip(found[-1], strides)))
    return found


class ClipNet(nn.Module):
    def __init__(self, layers=LAYERS):
        super().__init__()
        self.sizes, made = sizes(layers), []
        for inputs, outputs, stride in layers:
            made += [nn.Conv3d(inputs, outputs, KERNEL, stride, PAD, bias=False), nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)]
        self.layers, self.last = nn.Sequential(*made), nn.Linear(layers[-1][1], 1)

    def forward(self, clips):
        """`clips`: N x 3 x 16 x 32 x 32, RGB, 0 to 255. N logits; NaN in, NaN out."""
        return self.last(self.layers(clips / 255).mean((2, 3, 4))).flatten()

    def folded(self) -> list[tuple[torch.Tensor, torch.Tensor, tuple[int, int, int]]]:
        """Weight, bias and stride of each layer, its BatchNorm and the division by 255 in them."""
        found = []
        for conv, norm in zip(self.layers[::3], self.layers[1::3]):
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            scale = gain / 255 if not found else gain
            found.append((conv.weight * scale.view(-1, 1, 1, 1, 1), norm.bias - norm.running_mean * gain, conv.stride))
        return found


class _Graph:
    """Nodes and constants so far; each method adds to them and returns the name of its result."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def node(self, kind: str, inputs: list[str], name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value, name: str) -> str:
        kind = np.float32 if isinstance(value, torch.Tensor) else np.int64
        value = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, kind), name))
        return name

    def volume(self, x: str, weight, bias, stride, name: str) -> str:
        """A layer as one Conv of three dimensions."""
        inputs = [x, self.constant(weight, f"{name}.weight"), self.constant(bias, f"{name}.bias")]
        return self.node("Conv", inputs, f"{name}.conv", kernel_shape=[KERNEL] * 3, pads=[PAD] * 6, strides=list(stride))

    def frames(self, x: str, weight, bias, stride, frames: int, name: str) -> str:
        """The same for frames as a batch, `frames` x c x h x w: what each place in time sees becomes its channels."""
        pads = self.constant([PAD, 0, 0, 0, PAD, 0, 0, 0], f"{name}.pads")
        padded, after = self.node("Pad", [x, pads], f"{name}.pad"), length(frames, KERNEL, stride[0], PAD)
        seen = []
        for k in range(KERNEL):
            bounds = {"from": k, "to": k + stride[0] * (after - 1) + 1, "axis": 0, "step": stride[0]}
            bounds = [self.constant([value], f"{name}.{what}{k}") for what, value in bounds.items()]
            seen.append(self.node("Slice", [padded, *bounds], f"{name}.slice{k}"))
        side_by_side = self.node("Concat", seen, f"{name}.concat", axis=1)
        flat = weight.transpose(1, 2).reshape(weight.shape[0], -1, KERNEL, KERNEL)
        inputs = [side_by_side, self.constant(flat, f"{name}.weight"), self.constant(bias, f"{name}.bias")]
        return self.node("Conv", inputs, f"{name}.conv", kernel_shape=[KERNEL] * 2, pads=[PAD] * 4, strides=list(stride[1:]))


def to_onnx(network: ClipNet, form: str) -> onnx.ModelProto:
    """The file of either form: "clip", 1 x 3 x 512 x 32, to "live", one logit."""
    graph, size = _Graph(), network.sizes
    volume = form == "conv3d"
    sides = [1, 3, FRAMES, SIDE, SIDE] if volume else [3, FRAMES, SIDE, SIDE]
    x = graph.node("Reshape", ["clip", graph.constant(sides, "sides")], "cut")
    x = x if volume else graph.node("Transpose", [x], "frames", perm=[1, 0, 2, 3])
    for index, (weight, bias, stride) in enumerate(network.folded()):
        name = f"layer{index}"
        layer = x, weight, bias, stride
        x = graph.volume(*layer, name) if volume else graph.frames(*layer, size[index][0], name)
        x = graph.node("Relu", [x], f"{name}.relu")
    x = graph.node("ReduceMean", [x], "mean", axes=[2, 3, 4] if volume else [0, 2, 3], keepdims=1)
    x = graph.node("Flatten", [x], "flat", axis=1)
    last = [graph.constant(network.last.weight, "last.weight"), graph.constant(network.last.bias, "last.bias")]
    graph.node("Gemm", [x, *last], "live", transB=1)
    source = helper.make_tensor_value_info("clip", TensorProto.FLOAT, [1, 3, FRAMES * SIDE, SIDE])
    result = helper.make_tensor_value_info("live", TensorProto.FLOAT, [1, 1])
    made = helper.make_graph(graph.nodes, "facelatch-clip", [source], [result], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="facelatch")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def pattern() -> torch.Tensor:
    """A clip as the files take it, 1 x 3 x 512 x 32: number i is (31 · i² + 7 · i) mod 251. tests/clip.rs makes the same."""
    i = torch.arange(3 * FRAMES * SIDE * SIDE)
    return ((31 * i * i + 7 * i) % 251).float().view(1, 3, FRAMES * SIDE, SIDE)


@torch.no_grad()
def tiny(folder: Path) -> float:
    """Writes both forms of a network of two small layers, and returns what it says of `pattern`."""
    torch.manual_seed(1)
    network = ClipNet(TINY).eval()
    for form in FORMS:
        onnx.save(to_onnx(network, form), folder / f"clip-{form}.onnx")
    said = float(network(pattern().view(1, 3, FRAMES, SIDE, SIDE)))
    (folder / "clip.json").write_text(json.dumps({"live": said}) + "\n")
    return said


def fit(clips, live, epochs: int, seed: int, rate: float = 2e-3, batch: int = 16, start: ClipNet | None = None) -> ClipNet:
    """`clips`: N x 3 x 16 x 32 x 32 bytes; `live`: N, 0 or 1. Mirrored and relit at random, both classes equally heavy. `start` is
    learnt on from, and left as it is."""
    torch.manual_seed(seed)
    network, generator = ClipNet() if start is None else copy.deepcopy(start).train(), torch.Generator().manual_seed(seed)
    adam = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-2)
    heavier = (len(live) - live.sum()) / live.sum().clamp(min=1)
    for _ in tqdm(range(epochs), unit="epoch", disable=None):
        for chosen in torch.randperm(len(clips), generator=generator).split(batch):
            if len(chosen) < 2:  # one clip alone has no statistics
                continue
            shown = clips[chosen].float() / 255
            shown = shown.flip(4) if torch.rand((), generator=generator) < 0.5 else shown
            shown = shown ** torch.exp(0.6 * torch.rand((len(chosen), 1, 1, 1, 1), generator=generator) - 0.3)
            said = network(shown * 255)
            loss = F.binary_cross_entropy_with_logits(said, live[chosen].float(), pos_weight=heavier)
            adam.zero_grad()
            loss.backward()
            adam.step()
    return network.eval()


@torch.no_grad()
def say(network: ClipNet, clips: torch.Tensor) -> torch.Tensor:
    return torch.cat([network(some.float()) for some in clips.split(16)])


def left_out(clips, live, recording, epochs: int, seed: int) -> torch.Tensor:
    """Each clip's logit by a network that saw nothing of its recording; N."""
    said = torch.full((len(clips),), float("nan"))
    for one in recording.unique():
        here = recording == one
        if len(live[~here].unique()) < 2:
            raise SystemExit(f"without recording {int(one)} all clips are of one kind; more recordings are needed")
        said[here] = say(fit(clips[~here], live[~here], epochs, seed), clips[here])
    return said


def read(path: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    with np.load(path) as file:
        if missing := {"clips", "live", "recording"} - set(file.files):
            raise SystemExit(f"{path} has no {', '.join(sorted(missing))}")
        clips, live, recording = (torch.from_numpy(file[name]) for name in ("clips", "live", "recording"))
    if clips.shape[1:] != (FRAMES, SIDE, SIDE, 3) or clips.dtype != torch.uint8:
        needed = f"N x {FRAMES} x {SIDE} x {SIDE} x 3 bytes are needed"
        raise SystemExit(f"{path}: clips are {tuple(clips.shape)} {clips.dtype}; {needed}")
    if not len(clips) == len(live) == len(recording):
        raise SystemExit(f"{path}: {len(clips)} clips, {len(live)} of live, {len(recording)} of recording")
    return clips.permute(0, 4, 1, 2, 3).contiguous(), live, recording


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("what", choices=["train", "export", "tiny"])
    add("source", type=Path, nargs="?")
    add("out", type=Path, nargs="?")
    add("--form", choices=FORMS, default=FORMS[0])
    add("--epochs", type=int, default=20)
    add("--seed", type=int, default=1)
    add("--threads", type=int, default=1)
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    keep_memory()
    if args.what == "tiny":
        return print(tiny(HERE.parents[1] / "tests/data"))
    if args.source is None or args.out is None:
        parser.error("name a source and what to write")
    if args.what == "export":
        network = checkpoints.fill(ClipNet(), checkpoints.load(args.source), args.source)
        onnx.save(to_onnx(network, args.form), args.out)
        return print(f"{args.out}: {args.out.stat().st_size} bytes")
    clips, live, recording = read(args.source)
    said = left_out(clips, live, recording, args.epochs, args.seed)
    right = ((said > 0) == (live > 0)).float()
    share = " ".join(f"{int(one)}: {float(right[recording == one].mean()):.3f}" for one in recording.unique())
    print(f"right about recordings that were left out: {float(right.mean()):.3f} of {len(clips)} clips ({share})")
    checkpoints.save_small(fit(clips, live, args.epochs, args.seed), len(clips), args.out)


if __name__ == "__main__":
    main()
