"""What every training has: a place among its processes, a device, a log, and an ear for a polite request to stop."""

import argparse
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist


class Run:
    """One training's place: `rank` of `world` processes, the device, and how precisely it computes there."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.device = device()
        if args.threads:
            torch.set_num_threads(args.threads)
        torch.manual_seed(args.seed)
        self.autocast = autocast(args.precision, self.device)

    @property
    def state_path(self) -> Path:
        return self.args.work / f"{self.args.name}.state.pt"

    def stopped(self, stop: list) -> bool:
        """Whether any of the processes has been asked to stop: asked once a step, by all of them, they leave after the same one.

        A signal reaches each at another moment. Were each to heed its own, one would leave while another waits for its gradients,
        for ever, and the state of rank 0 would not be saved.
        """
        if self.world == 1:
            return bool(stop)
        asked = torch.tensor(float(bool(stop)), device=self.device)
        dist.all_reduce(asked, dist.ReduceOp.MAX)
        return bool(asked)

    def record(self, line: dict) -> None:
        if self.rank == 0:
            record(self.args.work / f"{self.args.name}.log.jsonl", line)


def device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cuda", torch.cuda.current_device())


def autocast(precision: str, device: torch.device):
    """bfloat16 where the hardware computes in it; it has single precision's range, so no loss scaling is needed."""
    if precision == "auto":
        cuda = device.type == "cuda"
        native = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else torch.cpu._is_avx512_bf16_supported()
        precision = "bf16" if native else "float"
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def keep_memory() -> None:
    """Have glibc keep freed memory for the next step. Giving it back and clearing it anew at each tensor took a third of
    a CPU's training time. The numbers are M_MMAP_MAX and M_TRIM_THRESHOLD of its malloc.h."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(-4, 0)
        mallopt(-1, 2**31 - 1)


def record(log: Path, line: dict) -> None:
    """A line for whoever watches, and one for plot.py."""
    print(time.strftime("%H:%M:%S"), " ".join(f"{name} {value}" for name, value in line.items()), flush=True)
    with open(log, "a") as file:
        file.write(json.dumps(line) + "\n")


def asked_to_stop() -> list:
    """No longer empty once a polite signal has come."""
    stop = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.append(True))
    return stop


@contextlib.contextmanager
def processes():
    """Joins the processes that torchrun started, if it did, and leaves them."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    yield
    if dist.is_initialized():
        dist.destroy_process_group()
