"""What a camera at a door makes of a scene: lamps, dusk, infrared's grey, lenses, noise. See scenes.py."""

import math

import cv2
import numpy as np

from relight import MARGIN, library

_LINEAR = ((np.arange(256) / 255) ** 2).astype(np.float32)  # a gamma of 2 is near sRGB's, and its inverse is a root


class Light:
    """Other light on aligned crops, whose face's place is known: the template lies `margin` pixels from the corner."""

    LAMPS = 64  # shadings that lamps are drawn from

    def __init__(self, margin: int, seed: int):
        self.lamps = library(self.LAMPS, seed)
        self.frame = np.array([[1.0, 0, margin], [0, 1.0, margin]])

    def __call__(self, crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The crop, RGB bytes, in a light that `random` draws; as large, and bytes again."""
        return expose(crop, [self.frame], random, self.lamps)


def expose(picture: np.ndarray, frames: list[np.ndarray], random: np.random.Generator, lamps: np.ndarray, shadows: bool = True) -> np.ndarray:
    """The picture (RGB bytes) under other light. `frames`: 2x3 from ArcFace's template to each face in it; `shadows`: whether
    a picture without any may show the shadows that a lamp makes of one."""
    if random.random() < 0.12:
        return picture
    side_lit = random.random() < 0.5
    light = cv2.LUT(picture, _LINEAR)
    if side_lit:
        light = light * _lamp(picture.shape, frames, random, lamps, shadows)
    light *= random.uniform(0.8, 1.2, 3).astype(np.float32)
    grey = random.random() < (0.5 if side_lit else 0.25)
    if grey:
        light = light @ random.dirichlet([2, 4, 1]).astype(np.float32)
    light = _blurred(light, random)
    light = _scaled(light, random, side_lit)
    if random.random() < 0.5:
        light = _noisy(light, random)
    made = np.sqrt(light.clip(0, 1)) * 255
    if random.random() < 0.3:  # contrast, as a camera's picture profile
        made = (made - 128) * random.uniform(0.6, 1.5) + 128 + random.uniform(-25, 25)
    made = made.clip(0, 255).astype(np.uint8)
    if random.random() < 0.3:
        made = _stretched(made, random)
    if random.random() < 0.12:
        coded = cv2.imencode(".jpg", made, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 90))])[1]
        made = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
    return cv2.merge([made] * 3) if made.ndim == 2 else made


def _lamp(shape, frames, random, lamps, shadows=True) -> np.ndarray:
    """The light that one lamp and its reflections bring to each pixel, H x W x 1."""
    height, width = shape[:2]
    shade = lamps[random.integers(len(lamps))]
    field = np.full((height, width), float(shade[0, 0]) * math.exp(random.uniform(-2.5, 0.5)), np.float32)
    if shadows and not frames and random.random() < 0.1:  # the shadows that a face casts don't make a face
        frames = [_anywhere(width, random) for _ in range(random.integers(1, 4))]
    elif not frames or random.random() < 0.2:  # a window, a door ajar: one side bright, another dark
        field *= _edge(height, width, random)
    for matrix in frames:
        to_shade = np.column_stack([matrix[:, :2], matrix[:, 2] - matrix[:, :2] @ [MARGIN, MARGIN]])
        field = cv2.warpAffine(shade, to_shade, (width, height), dst=field, borderMode=cv2.BORDER_TRANSPARENT)
    ambient = math.exp(random.uniform(math.log(0.003), math.log(0.3)))
    return (field + ambient)[..., None]


def _anywhere(side, random) -> np.ndarray:
    scale = math.exp(random.uniform(math.log(0.2), math.log(side / 140)))
    x, y = random.uniform(0, side, 2) - 56 * scale
    return np.array([[scale, 0, x], [0, scale, y]])


def _edge(height, width, random) -> np.ndarray:
    """From 0 to 1 across a line of any direction and softness."""
    angle = random.uniform(0, 2 * math.pi)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    along = (x - random.uniform(0, width)) * math.cos(angle) + (y - random.uniform(0, height)) * math.sin(angle)
    return 1 / (1 + np.exp((-along / (random.uniform(0.01, 0.4) * width)).clip(-30, 30)))


def _blurred(light, random) -> np.ndarray:
    kind = random.random()
    if kind < 0.2:
        return cv2.GaussianBlur(light, (0, 0), random.uniform(0.4, 2.2))
    if kind < 0.27:  # somebody walks by
        long, angle = random.integers(3, 12), random.uniform(0, math.pi)
        kernel = np.zeros((long, long), np.float32)
        middle, reach = (long - 1) / 2, np.linspace(-0.5, 0.5, 4 * long) * (long - 1)
        kernel[np.rint(middle + reach * math.sin(angle)).astype(int), np.rint(middle + reach * math.cos(angle)).astype(int)] = 1
        return cv2.filter2D(light, -1, kernel / kernel.sum())
    return light


def _scaled(light, random, side_lit) -> np.ndarray:
    """Exposure: a lamp from the side leaves it to chance, else it's mostly right and sometimes dusk or glare."""
    if side_lit:
        bright = np.percentile(light[::4, ::4], random.uniform(90, 99.5)) + 1e-4
        return light * (math.exp(random.uniform(math.log(0.05), math.log(1.6))) / bright)
    if random.random() < 0.4:
        return light * math.exp(random.uniform(-4, 0.9))
    return light


def _noisy(light, random) -> np.ndarray:
    """A sensor's: as large everywhere (reading) and growing with the root of the light (photons)."""
    shape = light.shape
    noise = random.standard_normal(shape, np.float32)
    if random.random() < 0.3:  # a camera's own denoising leaves blotches
        noise = cv2.GaussianBlur(noise, (0, 0), 0.8) * 2
    reading, photons = random.uniform(0, 0.004), random.uniform(0, 0.06)
    return light + noise * (reading + photons * np.sqrt(light.clip(0)))


def _stretched(made, random) -> np.ndarray:
    """Gain after the fact: steps in what was dark, white in what was light."""
    low, high = np.percentile(made[::4, ::4], [random.uniform(0, 5), random.uniform(90, 100)])
    gain = min(255 / max(8.0, high - low), random.uniform(1, 12))
    return ((made - low) * gain).clip(0, 255).astype(np.uint8)
