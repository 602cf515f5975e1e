"""Light from any side on a face that was photographed under soft light.

A face has roughly the same shape in everybody, so one height map in the frame of ArcFace's template does: an ellipsoid
with a nose, brows, eye sockets, lips and a chin. Lambert's law and cast shadows (a ray marched over the heights) on that
map, divided by what light from the front gives, is a picture to multiply a photo's linear light with. It is coarse, and
it needn't be more: what's to be learnt is that a half or a rim of a face is a face.
"""

import math

import cv2
import numpy as np

FRAME = 176  # pixels of the shading's square: the template's 112 in the middle and 32 all round
MARGIN = (FRAME - 112) // 2


def heights() -> np.ndarray:
    """The face's height above its rim, in pixels of the template, FRAME x FRAME; not a number outside of it."""
    y, x = np.mgrid[:FRAME, :FRAME].astype(np.float32)
    x, y = x - 56 - MARGIN, y - 62 - MARGIN
    away = (x / 54) ** 2 + (y / 74) ** 2
    z = 62 * np.sqrt(np.clip(1 - away, 0, None))

    def bump(at_x, at_y, wide, high, by):
        return by * np.exp(-(((x - at_x) / wide) ** 2) - ((y - at_y) / high) ** 2)

    z += bump(0, 6, 8, 9, 13) + bump(0, -6, 5, 14, 7)  # tip and ridge of the nose
    z += bump(-17, -19, 14, 4, 2.5) + bump(17, -19, 14, 4, 2.5)  # brows
    z -= bump(-17.5, -10, 10, 6, 4) + bump(17.5, -10, 10, 6, 4)  # eye sockets
    z += bump(0, 26, 13, 4, 3) + bump(0, 34, 12, 3, 3) - bump(0, 41, 12, 3, 2) + bump(0, 52, 14, 8, 4)  # lips, chin
    z -= bump(-34, 16, 12, 16, 4) + bump(34, 16, 12, 16, 4)  # below the cheekbones
    z[away >= 1] = np.nan
    return z


def direction(azimuth: float, elevation: float) -> np.ndarray:
    """The unit vector towards a light, x to the picture's right, y down, z to the camera; degrees as in the names of the
    Yale B pictures (Georghiades et al. 2001), where 0, 0 is the camera's own place."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return np.array([math.sin(a) * math.cos(e), -math.sin(e), math.cos(a) * math.cos(e)])


def shading(z: np.ndarray, azimuth: float, elevation: float) -> np.ndarray:
    """The light that falls on each point from one lamp, as a share of what a lamp at the camera gives; 0 is shadow.

    Outside of the face stands the mean of the lit part: whatever is there, it is lit from the same side.
    """
    inside = np.isfinite(z)
    solid = np.where(inside, z, 0).astype(np.float32)
    down, right = np.gradient(cv2.GaussianBlur(solid, (0, 0), 1.0))
    normal = np.stack([-right, -down, np.ones_like(solid)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    lamp = direction(azimuth, elevation)
    lit = np.clip(normal @ lamp, 0, None) * _reached(solid, lamp)
    share = lit / np.clip(normal[..., 2], 0.35, None)
    share = np.where(inside, share, share[inside].mean())
    return cv2.GaussianBlur(share.astype(np.float32), (0, 0), 2.0).clip(0, 2)


def _reached(z: np.ndarray, lamp: np.ndarray) -> np.ndarray:
    """1 where nothing of the face stands between a point and the lamp, else 0."""
    sideways = math.hypot(lamp[0], lamp[1])
    reached = np.ones_like(z)
    if sideways < 1e-3:
        return reached
    step = 3.0  # pixels
    dx, dy, dz = lamp * step / sideways
    for index in range(1, 30):
        shift = np.float32([[1, 0, -dx * index], [0, 1, -dy * index]])
        there = cv2.warpAffine(z, shift, (FRAME, FRAME), borderValue=0)
        reached[there > z + dz * index + 0.5] = 0
    return reached


def library(count: int, seed: int = 0) -> np.ndarray:
    """`count` shadings from everywhere that Yale B's lamps are, count x FRAME x FRAME; every second is from far aside."""
    random = np.random.default_rng(seed)
    z, made = heights(), []
    for index in range(count):
        azimuth = random.uniform(45, 130) * random.choice([-1, 1]) if index % 2 else random.uniform(-60, 60)
        made.append(shading(z, azimuth, random.uniform(-40, 65)))
    return np.stack(made)
