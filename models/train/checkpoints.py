"""What a training keeps: its full state to go on with, and a small file that travels with the repository."""

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nets import Encoder, EncoderConfig

SMALL_LIMIT = 4_000_000  # bytes that a checkpoint in the repository may have


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
