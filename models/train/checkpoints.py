"""What a training keeps: its full state to go on with, and a small file that travels with the repository."""

import argparse
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nets import Encoder, EncoderConfig

SMALL_LIMIT = 4_000_000  # bytes that a checkpoint in the repository may have
SHIPPED = Path(__file__).parent / "checkpoints"


def parsed(parser: argparse.ArgumentParser, given=None) -> argparse.Namespace:
    """The arguments of a training, and where its small checkpoint lies: what begins anew never writes over one that travels with
    the repository."""
    folder = "folder of the small checkpoint [default: checkpoints/ beside the recipe; with --anew the work folder]"
    parser.add_argument("--checkpoints", type=Path, help=folder)
    anew = "begin with random weights, whatever has been trained before; with it, too, the same command goes on where it was stopped"
    parser.add_argument("--anew", action="store_true", help=anew)
    args = parser.parse_args(given)
    args.checkpoints = args.checkpoints or (args.work if args.anew else SHIPPED)
    return args


def earlier(args: argparse.Namespace, state_path: Path, small_path: Path) -> tuple[dict | None, dict | None]:
    """The full state and the small checkpoint of earlier runs, where there are any to go on from. A training that began anew goes on
    from its own state alone, and no other's state is taken for such a one's."""
    state, small = (load(path) if path.exists() else None for path in (state_path, small_path))
    other = "--name or --work" if "name" in args else "--work"
    if state and state.get("anew", False) != args.anew:
        begun = "without --anew: for a new training" if args.anew else "with --anew: say so again, or"
        raise SystemExit(f"{state_path} was begun {begun} name another {other}")
    if small and not state and args.anew:
        raise SystemExit(f"{small_path} is another training's, and --anew would write over it: name another {other}")
    return state, None if args.anew else small


def tell_beginning(path: Path | None, seen: int, of: str = "pictures") -> None:
    """Once, whatever processes there are: whose pictures a network has learnt from depends on what it goes on from."""
    if os.environ.get("RANK", "0") == "0":
        print(f"going on from {path}, {seen} {of}" if path else "beginning with random weights", flush=True)


def save_atomically(state: dict, path: Path) -> None:
    """A reader, or a next start after a kill at any moment, finds the old file or the new one, whole."""
    _write_atomically(lambda file: torch.save(state, file), path)


def keep(path: Path, array: np.ndarray) -> None:
    """As .npy, in the same way: half of an array would be found by every later run."""
    _write_atomically(lambda file: np.save(file, array), path)


def _write_atomically(write, path: Path) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=True)


def save_small(network: nn.Module, pictures: int, path: Path, limit: int = SMALL_LIMIT) -> None:
    """Half precision for convolutions; BatchNorm's vectors stay single, as small variances leave half's range.

    `limit`: the bytes that the file may have. A network with a `config` keeps it beside its weights.
    """
    weights = {}
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            weights[name] = value.half() if value.dim() > 1 else value.float()
    state = {"config": asdict(network.config)} if hasattr(network, "config") else {}
    save_atomically(state | {"pictures": pictures, "weights": weights}, path)
    size = Path(path).stat().st_size
    if size > limit:
        raise SystemExit(f"{path} has {size} bytes; a checkpoint in the repository may have {limit}")


def fill(network: nn.Module, state: dict, path: Path) -> nn.Module:
    """The network, ready for inference, with the weights that `save_small` wrote into `path`."""
    missing, unexpected = network.load_state_dict({k: v.float() for k, v in state["weights"].items()}, strict=False)
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise SystemExit(f"{path} doesn't fit the network: missing {missing}, unexpected {unexpected}")
    return network.eval()


def load_small(path: Path) -> tuple[Encoder, int]:
    """The encoder, ready for inference, and the number of pictures it has seen."""
    state = load(path)
    return fill(Encoder(EncoderConfig.from_dict(state["config"])), state, path), state["pictures"]


class Average:
    """An exponential moving average of a network made from its `config`, which stands in for the falling learning rate
    that a schedule without an end can't have (Polyak & Juditsky 1992; BatchNorm's running statistics are averaged alike).

    Its memory is a tenth of what has been seen, at most `memory` steps: early on, older weights only harm.
    """

    def __init__(self, network: nn.Module, memory: int):
        self.network, self.memory = type(network)(network.config).eval().requires_grad_(False), memory
        self.network.load_state_dict(network.state_dict())
        self.network.to(next(network.parameters()).device)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        share = 1 / min(self.memory, 1 + step // 10)
        pairs = [
            (mine, theirs)
            for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True)
            if mine.is_floating_point()
        ]
        torch._foreach_lerp_([mine for mine, _ in pairs], [theirs for _, theirs in pairs], share)
