"""Aligned face crops in memory, and batches of them, augmented.

A step's batch follows from the seed and the step's number alone, so that a run that was killed and resumed sees the
pictures that an undisturbed one would have seen.
"""

import hashlib
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from exposure import Light
from nets import FACE

CROP = 128  # pixels on a side: the aligned 112 in the middle and a margin of 8 for jitter
MARGIN = (CROP - FACE) // 2
PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


def digest(*parts) -> str:
    """Eight letters, others for other parts: bytes, paths, text. What is kept is called by it, so that it's only found again for
    what it was made of."""
    made = hashlib.sha256()
    for part in parts:
        part = part if isinstance(part, bytes) else str(part).encode()
        made.update(len(part).to_bytes(8, "little") + part)
    return made.hexdigest()[:8]


def called_a_picture(path: Path, endings=PICTURES) -> bool:
    """By its name. What macOS leaves beside a file on others' disks (`._1.jpg`, AppleDouble) is none."""
    return path.suffix.lower() in endings and not path.name.startswith("._")


def pictures_under(folder: Path) -> list[Path]:
    """Every picture under `folder`, however nested, in the order of their paths."""
    paths = sorted(path for path in Path(folder).rglob("*") if called_a_picture(path))
    if not paths:
        raise SystemExit(f"no pictures under {folder}")
    return paths


def load_crops(folder: Path) -> np.ndarray:
    """Every picture under `folder` as N x 128 x 128 x 3 RGB bytes, in the order of their paths."""
    return read_crops(pictures_under(folder))[0]


def tell_left_out(bad: list[Path], count: int) -> None:
    """Once: how many of `count` files can't be decoded, and which is the first. One among thousands should end no run of hours."""
    if bad:
        print(f"{len(bad)} of {count} files are no pictures and are left out, the first is {bad[0]}", flush=True)


def decoded(path: Path) -> np.ndarray | None:
    """A picture as h x w x 3 BGR bytes; none where OpenCV can't or won't decode it, or where one side is more than a hundred times
    the other, of which a smaller view would have no pixels."""
    try:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # more pixels than it decodes, or a header that says so
        return None
    return None if picture is None or max(picture.shape[:2]) > 100 * min(picture.shape[:2]) else picture


def opened(paths, count: int):
    """Each of `count` paths and its BGR picture; what is none is left out and told at the end."""
    bad = []
    for path in paths:
        picture = decoded(path)
        if picture is None:
            bad.append(path)
        else:
            yield path, picture
    tell_left_out(bad, count)


def read_crops(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Aligned crops as N x 128 x 128 x 3 RGB bytes, and the N places in `paths` that they are from: what is no picture is left
    out and told."""
    crops, read_well = np.empty((len(paths), CROP, CROP, 3), np.uint8), np.zeros(len(paths), bool)

    def read(index):
        picture = decoded(paths[index])
        if picture is None:
            return
        if picture.shape[:2] != (CROP, CROP):
            raise SystemExit(f"{paths[index]} is no {CROP}x{CROP} crop; align.py makes them from photos")
        crops[index], read_well[index] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), True

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, range(len(paths))))
    kept = np.flatnonzero(read_well)
    if not len(kept):
        raise SystemExit(f"none of the {len(paths)} files is a picture; the first is {paths[0]}")
    tell_left_out([paths[index] for index in np.flatnonzero(~read_well)], len(paths))
    for place, index in enumerate(kept):
        crops[place] = crops[index]  # in place: they may fill half of the memory
    return crops[: len(kept)], kept


def share(given: str) -> float:
    """An argument's: from 0 to less than 1."""
    value = float(given)
    if not 0 <= value < 1:
        raise ValueError
    return value


def split(names, kept_back: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on and to measure with, of which there is about the share `kept_back`. A name's side follows from itself and
    the seed alone: whatever is added later, nothing that was trained on is measured with."""
    kept = np.array([int(digest(seed, name), 16) < kept_back * 2**32 for name in names], bool)
    return np.flatnonzero(~kept), np.flatnonzero(kept)


def middle(crops: torch.Tensor) -> torch.Tensor:
    """The aligned 112x112 of N x 128 x 128 x 3 bytes, as the encoder takes it."""
    return crops[:, MARGIN:-MARGIN, MARGIN:-MARGIN].permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)


class Batches:
    """Augmented batches from step `start` on, made by one thread ahead of their use, which runs from the first use to `close`."""

    def __init__(self, crops, indices, batch, seed, start=0, rank=0, world=1, device="cpu", ahead=4):
        self.crops, self.indices, self.batch, self.seed = crops, indices, batch, seed
        self.rank, self.world, self.device = rank, world, torch.device(device)
        self.queue = Queue(ahead)
        self.epoch, self.order = -1, None
        self.closed = False
        self.thread = threading.Thread(target=self._fill, args=(start,), daemon=True)

    def __iter__(self):
        self.thread.start()
        try:
            while True:
                made = self.queue.get()
                if isinstance(made, BaseException):
                    raise made
                yield made
        finally:
            self.close()

    def close(self) -> None:
        """Ends the thread: one that is still computing when the interpreter ends takes the process down with it."""
        self.closed = True
        while self.thread.is_alive():
            while not self.queue.empty():  # it may be waiting for a place
                self.queue.get()
            self.thread.join(0.1)

    def make(self, step: int):
        first = (step * self.world + self.rank) * self.batch
        chosen = np.array([self._index(place) for place in range(first, first + self.batch)])
        return self._disturbed(self.crops[chosen], (self.seed * 1_000_003 + step) * self.world + self.rank)

    def _disturbed(self, crops: np.ndarray, seed: int):
        generator = torch.Generator(self.device).manual_seed(seed)
        return augment(torch.from_numpy(crops).to(self.device), generator)

    def _index(self, place: int) -> int:
        epoch, place = divmod(place, len(self.indices))
        if epoch != self.epoch:
            self.epoch, self.order = epoch, self._shuffled(np.random.default_rng((self.seed, epoch)))
        return self.order[place]

    def _shuffled(self, random: np.random.Generator) -> np.ndarray:
        return random.permutation(self.indices)

    def _fill(self, step):
        torch.set_num_threads(1)  # of this thread; the training thread has the others
        try:
            while not self.closed:
                self.queue.put(self.make(step))
                step += 1
        except BaseException as error:  # the thread that trains must hear of it, whatever it is
            self.queue.put(error)


@dataclass(frozen=True)
class Lessons:
    """What the student is shown and what its teacher says its part on, N x 3 x 112 x 112 each, 0 to 255.

    The first `same` are the same pictures. Of the others the student sees another light than the teacher: nobody who was
    taught on photographs can say much about a face in the dark, but everybody can of the same face by day.
    """

    shown: torch.Tensor
    told: torch.Tensor
    same: int


class LessonBatches(Batches):
    """Batches of `Lessons`, a share of them in another light."""

    def __init__(self, share: float, *rest, **more):
        self.share = share
        self.light = None
        super().__init__(*rest, **more)

    def _disturbed(self, crops, seed):
        self.light = self.light or Light(MARGIN, self.seed)
        generator = torch.Generator(self.device).manual_seed(seed)
        same = len(crops) - round(self.share * len(crops))
        ordinary = augment(torch.from_numpy(crops[:same]).to(self.device), generator)
        if same == len(crops):
            return Lessons(ordinary, ordinary, same)
        random = np.random.default_rng(seed)
        lit = np.stack([self.light(crop, random) for crop in crops[same:]])
        both = torch.from_numpy(np.concatenate([crops[same:], lit], 3)).to(self.device).permute(0, 3, 1, 2).float()
        told, shown = _jitter(both, _Draw(len(both), both.device, generator)).split(3, 1)
        shown, told = torch.cat([ordinary, shown]), torch.cat([ordinary, told])
        return Lessons(*(pixels.contiguous(memory_format=torch.channels_last) for pixels in (shown, told)), same)


def augment(crops: torch.Tensor, generator: torch.Generator, mix: bool = True) -> torch.Tensor:
    """N x 128 x 128 x 3 bytes → N x 3 x 112 x 112 floats from 0 to 255, each picture disturbed in its own way.

    The strengths are those of a door: landmarks that are a few pixels off, side light, dusk, an infrared camera's grey,
    a lens out of focus, a sensor's noise. Unless `mix` is false, half of the batches are mixed two by two (Zhang et al.
    2018, "mixup"): their pictures lie between people, where a teacher still has an opinion (Beyer et al. 2022, "Knowledge
    distillation: A good teacher is patient and consistent").
    """
    draw = _Draw(len(crops), crops.device, generator)
    x = _jitter(crops.permute(0, 3, 1, 2).float() / 255, draw)
    x = _light(x, draw)
    grey = (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)  # ITU-R BT.601
    x = torch.where(draw.chance(0.15), grey, x)
    x = _blur(x, draw)
    x = x + draw.normal(x.shape) * draw.uniform(0, 0.04) * draw.chance(0.3)
    if draw.coin() and mix:
        x = torch.lerp(x, x.flip(0), draw.uniform(0, 1))
    return (x.clamp(0, 1) * 255).contiguous(memory_format=torch.channels_last)


class _Draw:
    """Random numbers, one a picture, shaped to multiply a batch."""

    def __init__(self, count, device, generator):
        self.count, self.device, self.generator = count, device, generator

    def uniform(self, low, high, channels=1):
        return torch.rand(self.count, channels, 1, 1, device=self.device, generator=self.generator) * (high - low) + low

    def chance(self, share):
        return self.uniform(0, 1) < share

    def coin(self):
        return bool(torch.rand(1, device=self.device, generator=self.generator) < 0.5)

    def normal(self, shape):
        return torch.randn(shape, device=self.device, generator=self.generator)


def _jitter(x, draw):
    """Shift by up to 4 pixels, turn by up to 6 degrees, scale by up to 7 %, mirror every second; cut the middle out."""
    angle, scale = (draw.uniform(-1, 1) * math.radians(6)).flatten(), draw.uniform(0.93, 1.07).flatten()
    mirror = 1 - 2 * draw.chance(0.5).float().flatten()
    across, down = ((draw.uniform(-1, 1) * 4 / (CROP / 2)).flatten() for _ in range(2))
    size = scale * FACE / CROP
    rows = [
        torch.stack([size * angle.cos() * mirror, -size * angle.sin(), across], 1),
        torch.stack([size * angle.sin() * mirror, size * angle.cos(), down], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [len(x), 3, FACE, FACE], align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _light(x, draw):
    """A colour cast, brightness from dusk to glare, and for every third picture light from one side."""
    x = x * draw.uniform(0.85, 1.15, channels=3)
    x = x.clamp(1e-3, 1) ** torch.exp(draw.uniform(-0.7, 0.7) * draw.chance(0.6))
    line = torch.linspace(-1, 1, FACE, device=x.device)
    slope = draw.uniform(-1.2, 1.2) * line.view(1, 1, 1, -1) + draw.uniform(-0.6, 0.6) * line.view(1, 1, -1, 1)
    return x * torch.exp(slope * draw.chance(0.33) - 0.2 * draw.chance(0.2))


def _blur(x, draw):
    """For three in ten, a Gaussian of up to 2.5 pixels: a lens out of focus, or a face of few pixels enlarged."""
    sigma = torch.where(draw.chance(0.3), draw.uniform(0.3, 2.5), torch.full_like(draw.uniform(0, 1), 0.05))
    offsets = torch.arange(-4, 5, device=x.device).float().view(1, 1, 1, 9)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum(-1, keepdim=True)).expand(-1, 3, -1, -1).reshape(-1, 1, 1, 9)
    flat = F.pad(x.reshape(1, -1, *x.shape[2:]), (4, 4, 4, 4), mode="replicate")
    flat = F.conv2d(flat, kernel, groups=kernel.shape[0])
    return F.conv2d(flat, kernel.transpose(2, 3), groups=kernel.shape[0]).reshape(x.shape)
