"""Two processes that train together, one of which hears a signal, and precision: `python -m unittest test_running` (seconds)."""

import os
import socket
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
from skipping import skipped

try:
    import cv2  # noqa: F401
    import onnx  # noqa: F401
    import torch
except ModuleNotFoundError as missing:
    raise skipped(missing) from None

import running

HERE = Path(__file__).parent
HEARD = 3  # the step in which the second process is asked to stop
# Each recipe's own loop around steps that are nothing but what makes processes wait for one another.
TOGETHER = f"""
import argparse, itertools, os, signal, tempfile
from pathlib import Path
import torch
import torch.distributed as dist
import detector, encoder, triplets
from running import Run, processes

class Batches:
    def start(self, step):
        return itertools.count()
    __call__ = start

class Stub(Run):
    def __init__(self, loop, args):
        super().__init__(args)
        self.loop, self.step, self.pictures, self.batches = loop, 0, 0, Batches()
    def train_step(self, batch):
        dist.all_reduce(torch.zeros(1))
        self.step += 1
        if self.rank == 1 and self.step == {HEARD}:
            os.kill(os.getpid(), signal.SIGTERM)
        return dict(cosine=torch.zeros(1), errors=torch.zeros(1))
    def save(self):
        print("saved", self.loop, self.step, flush=True)
    def publish(self):
        print("published", self.loop, self.step, flush=True)
    def finished(self):
        return self.step == 50
    record = measure = lambda *_: None
    validate = lambda *_: 0.0

args = argparse.Namespace(threads=1, seed=1, precision="float", work=Path(tempfile.mkdtemp()), name="together", pictures=1)
vars(args).update(log_steps=10**6, measure_steps=10**6, save_minutes=10, publish_minutes=10, batch=1)
with processes():
    for module in (encoder, detector, triplets):
        module.train(Stub(module.__name__, args))
args.work.rmdir()
"""


class Together(unittest.TestCase):
    def test_all_processes_leave_after_the_same_step_when_one_is_asked_to_stop(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        started = []
        for rank in range(2):
            place = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "CUDA_VISIBLE_DEVICES": ""}
            started.append(
                subprocess.Popen(
                    [sys.executable, "-B", "-c", TOGETHER],
                    cwd=HERE,
                    env=os.environ | place | {"OMP_NUM_THREADS": "1"},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        try:
            for process in started:
                said, complaint = process.communicate(timeout=240)
                self.assertEqual(process.returncode, 0, complaint)
                ends = ("published encoder", "saved detector", "saved triplets", "published triplets")
                self.assertEqual(said.splitlines(), [f"{end} {HEARD}" for end in ends], complaint)
        finally:
            for process in started:
                process.kill()
                process.wait()
                process.stdout.close()
                process.stderr.close()


class Precision(unittest.TestCase):
    def test_a_gpu_that_only_emulates_bfloat16_computes_in_single_precision(self):
        for hardware in (False, True):
            supported = lambda including_emulation=True: hardware or including_emulation  # noqa: E731
            with mock.patch.object(torch.cuda, "is_bf16_supported", supported), mock.patch.object(running.torch, "autocast") as autocast:
                running.autocast("auto", torch.device("cuda"))()
            self.assertEqual(autocast.call_args.kwargs["enabled"], hardware)


if __name__ == "__main__":
    unittest.main()
