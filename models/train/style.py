"""Style transfer: `python style.py CONTENT STYLE OUT.png` paints one picture in the look of another.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (2016). A network that has learnt to see
says what a picture shows and how it looks: the tensor a of a layer is its content, and which channels answer together,
G_kk' = Σ_ij a_ijk · a_ijk', its style. The picture G is found by descending

    J(G) = α · J_content(C, G) + β · Σ_l λ_l · J_style(S, G; l)
    J_content = 1/2 · mean (a_C − a_G)²
    J_style   = 1 / (2 · h · w · c)² · Σ_kk' (G_S − G_G)²

from noise or from the content. `looks.py` does the same in one pass, for faces by the thousand.

The network is `encoder` or `detector` (the project's own), a checkpoint of theirs (.pt), a TorchScript file whose parts follow
one another (nn.Sequential), or package.module:Class for any network whose layers are nn.Module, torchvision's among them, with
its weights by `--weights`.
"""

import argparse
import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

import checkpoints
from nets import Encoder
from running import keep_memory
from see import HERE, layers, load_detector

# The project's encoder, by the papers' habit: content from the middle, style from shallow to deep.
CONTENT = {"encoder": "block06", "detector": "part3"}
STYLE = {"encoder": ("stem", "block01", "block06", "block10"), "detector": ("part0", "part1", "part2", "part3")}
MOST_SIDE = 1024  # pixels; a larger picture is shrunk: time and memory grow with its area
RATE = 0.08  # of Adam, in the logit of a pixel
WHITE = 255.0


@dataclass
class Looking:
    """A frozen network with names for its layers. `scale` is what its input's 255 is for it."""

    network: nn.Module
    named: dict[str, nn.Module]
    kind: str

    def __call__(self, pictures: torch.Tensor, names: set[str]) -> dict[str, torch.Tensor]:
        """The tensors of these layers, N x c x h x w, for N x 3 x H x W pictures of 0 to 255; no layer after the last runs."""
        if isinstance(self.network, torch.jit.ScriptModule):
            return self._one_after_another(pictures / WHITE, names)
        seen, hooks = {}, []

        def keep(name):
            def hook(_, __, given):
                # A ReLU in place would change it under our hands.
                seen[name] = given.clone()
                if len(seen) == len(names):
                    raise _Enough

            return hook

        try:
            hooks = [self.named[name].register_forward_hook(keep(name)) for name in names]
            self.network(pictures if self.kind != "other" else pictures / WHITE)
        except _Enough:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    def _one_after_another(self, x, names):
        seen = {}
        for name, part in self.named.items():
            x = part(x)
            if name in names:
                seen[name] = x
            if len(seen) == len(names):
                break
        return seen

    def check(self, names) -> None:
        """Ends with what there is where a name isn't that of a layer."""
        if unknown := set(names) - set(self.named):
            raise SystemExit(f"no layer {', '.join(sorted(unknown))}; there are {', '.join(self.named)}")


class _Enough(Exception):
    """All layers that were asked for have answered."""


def load(name: str, weights: Path | None = None) -> Looking:
    """See the module. Networks that aren't ours are shown pixels from 0 to 1."""
    if name in CONTENT:
        name = str(HERE / "checkpoints" / f"{name}.pt")
    if ":" in name and not Path(name).exists():
        module, _, what = name.partition(":")
        try:
            network = getattr(importlib.import_module(module), what)()
        except (ImportError, AttributeError) as error:
            raise SystemExit(f"{name}: {error}") from None
        if weights:
            network.load_state_dict(checkpoints.load(weights))
    else:
        network = _from_file(Path(name))
    kind = "encoder" if isinstance(network, Encoder) else "detector" if type(network).__name__ == "Detector" else "other"
    scripted = isinstance(network, torch.jit.ScriptModule)
    named = dict(network.named_children()) if scripted else layers(network)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return Looking(network.eval(), named, kind)


def _from_file(path: Path) -> nn.Module:
    if not path.exists():
        raise SystemExit(f"{path} isn't there; name encoder, detector, a file, or package.module:Class")
    try:
        state = checkpoints.load(path)
    except Exception:  # what weights_only refuses is a TorchScript file, or nothing of ours
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch 2.15 still reads TorchScript and advises against it
                return torch.jit.load(str(path), map_location="cpu")
        except RuntimeError:
            raise SystemExit(f"{path} is neither a checkpoint of these recipes nor a TorchScript file") from None
    fields = state.get("config", {})
    if "stages" in fields:
        return checkpoints.load_small(path)[0]
    if "early" in fields:
        return load_detector(path)
    raise SystemExit(f"{path} holds weights without a network; give package.module:Class and this file as --weights")


def gram(a: torch.Tensor) -> torch.Tensor:
    """The style matrices of N x c x h x w, N x c x c: G_kk' = Σ_ij a_ijk · a_ijk'. Not divided by anything."""
    flat = a.flatten(2)
    return flat @ flat.transpose(1, 2)


def content_cost(content: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    return 0.5 * (content - made).square().mean()


def style_cost(style: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """`style`: G_S, 1 x c x c, per place of its own layer; `made`: the layer's tensor, 1 x c x h x w.

    The two pictures may differ in size, so both matrices are means over places; for equal sizes this is the module's formula.
    """
    places, channels = made.shape[2] * made.shape[3], made.shape[1]
    return (style - gram(made) / places).square().sum() / (2 * channels) ** 2


@dataclass(frozen=True)
class Weights:
    """Of the costs. Costs are divided by what they are at the start of a run from noise, so 1 and 1 is a fair beginning."""

    content: float = 1.0  # α
    style: float = 1.0  # β
    variation: float = 0.02  # of the mean difference between neighbours, in grey levels: keeps noise out


class Transfer:
    """One run: what is descended, and how far it has come."""

    def __init__(self, looking: Looking, content, style, layer: str, style_layers: dict[str, float], weights: Weights):
        """`content`, `style`: 1 x 3 x h x w, 0 to 255. `style_layers`: each layer's λ."""
        looking.check({layer, *style_layers})
        self.looking, self.layer, self.style_layers, self.weights = looking, layer, style_layers, weights
        self.names = {layer, *style_layers}
        with torch.no_grad():
            self.content = looking(content, {layer})[layer]
            seen = looking(style, set(style_layers))
            self.grams = {name: gram(a) / (a.shape[2] * a.shape[3]) for name, a in seen.items()}
            noise = torch.full_like(content, WHITE / 2)
            self.whole = None
            self.whole = [cost.clamp(min=1e-6) for cost in self.costs(noise)[:2]]

    def costs(self, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """J_content, Σ λ · J_style and the variation, each before its weight."""
        seen = self.looking(picture, self.names)
        content = content_cost(self.content, seen[self.layer])
        style = sum(share * style_cost(self.grams[name], seen[name]) for name, share in self.style_layers.items())
        rough = picture.diff(dim=2).abs().mean() + picture.diff(dim=3).abs().mean()
        return content, torch.as_tensor(style), rough

    def total(self, picture: torch.Tensor) -> torch.Tensor:
        """J(G); infinite or NaN where the network is."""
        content, style, rough = self.costs(picture)
        w, (whole_content, whole_style) = self.weights, self.whole
        return w.content * content / whole_content + w.style * style / whole_style + w.variation * rough / WHITE

    def run(self, start: torch.Tensor, steps: int, optimiser: str, each=lambda step, cost, picture: None) -> torch.Tensor:
        """Descends from `start`, 1 x 3 x h x w; `each` is told after every step. A step of L-BFGS looks up to 5 times.

        What is descended is the logit of a pixel, so a pixel never leaves 0 to 255 and L-BFGS meets no wall.
        """
        # PyTorch's L-BFGS takes no other layout.
        hidden = torch.logit((start / WHITE).clamp(0.01, 0.99)).contiguous().requires_grad_(True)
        if optimiser == "adam":
            descent = torch.optim.Adam([hidden], RATE)
        else:
            descent = torch.optim.LBFGS([hidden], max_iter=4, max_eval=5, history_size=20, line_search_fn="strong_wolfe")

        def closure():
            descent.zero_grad()
            cost = self.total(hidden.sigmoid() * WHITE)
            cost.backward()
            return cost

        for step in range(1, steps + 1):
            cost = float(descent.step(closure).detach())
            if not np.isfinite(cost):
                raise SystemExit(f"step {step}: the cost is {cost}; a smaller --beta, or another network")
            each(step, cost, hidden.detach().sigmoid() * WHITE)
        return hidden.detach().sigmoid() * WHITE


def read(path: Path, side: int) -> torch.Tensor:
    """A picture as 1 x 3 x h x w, RGB, 0 to 255; its longer side is `side` pixels and each a multiple of 32, as networks ask."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"{path} is no picture")
    scale = side / max(picture.shape[:2])
    height, width = (max(32, round(length * scale / 32) * 32) for length in picture.shape[:2])
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return torch.from_numpy(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)[None].float()


def write(path: Path, picture: torch.Tensor) -> None:
    pixels = picture[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)):
        raise SystemExit(f"{path} can't be written")


def shares(given: list[str] | None, kind: str) -> dict[str, float]:
    """`LAYER` or `LAYER=λ` each; without a λ all are alike, and without any they are the network's own of STYLE."""
    named = [part.partition("=") for part in given or STYLE.get(kind, ())]
    if not named:
        raise SystemExit("name the layers of the style: --style-layers LAYER=WEIGHT …")
    try:
        return {name: float(share) if share else 1 / len(named) for name, _, share in named}
    except ValueError as error:
        raise SystemExit(f"--style-layers: {error}") from None


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("content", type=Path, help="what is shown")
    add("style", type=Path, help="how it shall look")
    add("out", type=Path, help="intermediate pictures are put beside it")
    add("--network", default="encoder", help="encoder, detector, a file, or package.module:Class")
    add("--weights", type=Path, help="a state_dict, for package.module:Class")
    add("--content-layer", help="[default: block06 of the encoder, part3 of the detector]")
    add("--style-layers", nargs="+", metavar="LAYER[=λ]")
    add("--alpha", type=float, default=Weights.content, help="weight of the content")
    add("--beta", type=float, default=Weights.style, help="weight of the style")
    add("--variation", type=float, default=Weights.variation)
    add("--from", dest="start", choices=["content", "noise"], default="content")
    add("--optimiser", choices=["adam", "lbfgs"], default="adam")
    add("--steps", type=int, default=200)
    add("--every", type=int, default=0, help="steps between intermediate pictures; 0: none")
    add("--side", type=int, default=224, help="the longer side, in pixels")
    add("--seed", type=int, default=1)
    add("--threads", type=int, default=1, help="threads that wait for each other on a busy machine are slower than one")
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    if not 32 <= args.side <= MOST_SIDE:
        raise SystemExit(f"--side is 32 to {MOST_SIDE} pixels")
    keep_memory()
    looking = load(args.network, args.weights)
    layer = args.content_layer or CONTENT.get(looking.kind)
    if layer is None:
        raise SystemExit(f"name --content-layer; there are {', '.join(looking.named)}")
    content, style = read(args.content, args.side), read(args.style, args.side)
    weights = Weights(args.alpha, args.beta, args.variation)
    transfer = Transfer(looking, content, style, layer, shares(args.style_layers, looking.kind), weights)
    noise = torch.rand(content.shape, generator=torch.Generator().manual_seed(args.seed)) * WHITE
    bar = tqdm(total=args.steps, unit="step", disable=None)

    def each(step, cost, picture):
        bar.update()
        bar.set_postfix(cost=f"{cost:.4f}")
        if args.every and step % args.every == 0:
            write(args.out.with_name(f"{args.out.stem}-{step:05}{args.out.suffix}"), picture)

    made = transfer.run(noise if args.start == "noise" else content, args.steps, args.optimiser, each)
    bar.close()
    write(args.out, made)
    with torch.no_grad():
        content_left, style_left, _ = (float(cost) for cost in transfer.costs(made))
    print(f"{args.out}: content {content_left:.5g}, style {style_left:.5g}")


if __name__ == "__main__":
    main()
