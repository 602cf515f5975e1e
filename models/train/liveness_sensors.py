"""Sensors beside the camera: what they read of a scene, with noise, drift, drop-outs, and mounted not quite as the
configuration says.

`severity` is 1 as the head is trained; 2 doubles noise, drift, drop-outs and what is wrong with the mounting.
"""

from dataclasses import dataclass

import numpy as np

import liveness_fusion as fusion
from liveness_camera import camera, moments
from liveness_scene import KELVIN, Scene
from liveness_signals import at

PAIR = 600.0  # mm: two surfaces of one zone nearer together than this are one echo (VL53L5CX)
BLUR = (0.21, 0.58, 0.21)  # of a thermal pixel that neighbours share, across and down: a lens' point is wider than a pixel
FACE_HOLD = 0.4  # seconds for which the face's last place serves (src/liveness/fusion.rs)


@dataclass
class Mount:
    """One sensor's: where it sits beside the camera (mm), how it is turned (radians), and what it is off by."""

    origin: tuple
    turn: np.ndarray  # N x 3: right, down, about its axis
    strength: np.ndarray  # N: how noisy this one is beside the others of its kind

    @staticmethod
    def draw(random, n: int, severity: float) -> "Mount":
        origin = tuple(random.normal(0, 22 * severity, n).astype(np.float32) for _ in range(2))
        turn = random.normal(0, np.radians([1.7, 1.7, 2.5]) * severity, (n, 3)).astype(np.float32)
        return Mount(origin, turn, random.uniform(0.7, 1.4, n).astype(np.float32) * severity)

    def rays(self, angle_x, angle_y) -> tuple[np.ndarray, np.ndarray]:
        """R angles of the sensor's own → N x R of u and v."""
        c, s = np.cos(self.turn[:, 2:]), np.sin(self.turn[:, 2:])
        x, y = angle_x * c - angle_y * s + self.turn[:, :1], angle_y * c + angle_x * s + self.turn[:, 1:2]
        return np.tan(x), np.tan(y)


def _cone(across: int, degrees: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles of rays in a cone `degrees` wide and their weights, Gaussian: half of the axis' at .65 of the way to the rim."""
    line = (np.arange(across) + 0.5) / across * 2 - 1
    x, y = (g.ravel() for g in np.meshgrid(line, line))
    inside = x**2 + y**2 <= 1
    x, y = x[inside], y[inside]
    weight = np.exp(-np.log(2) * 4 * (x**2 + y**2) / 1.7)
    return np.radians(degrees / 2) * x, np.radians(degrees / 2) * y, (weight / weight.sum()).astype(np.float32)


def _echo(z, rho, weights=None, axis=-1) -> tuple[np.ndarray, np.ndarray]:
    """Several rays of one receiver → the distance that it gives and the strength of the echo.

    An echo's strength falls with the square of the distance. Surfaces within PAIR of the strongest melt into one,
    weighted by strength.
    """
    strength = np.where(np.isfinite(z), rho, 0) / np.square(np.maximum(np.nan_to_num(z, nan=1e6), 30) / 1000)
    strength = strength if weights is None else strength * weights
    best = np.take_along_axis(z, np.argmax(strength, axis, keepdims=True), axis)
    with np.errstate(invalid="ignore"):
        together = np.where(np.abs(z - best) < PAIR, strength, 0)
    total = together.sum(axis)
    return np.where(total > 0, (together * np.nan_to_num(z)).sum(axis) / np.maximum(total, 1e-9), np.nan), total


def _ranged(random, distance, strength, ambient, noise, offset, scale, severity) -> np.ndarray:
    """Noise, cover glass, and loss of weak echoes. A deviation of 3 mm near by and 1 % further off for a bright surface in the
    dark, more as the echo is weaker and the sun brighter (orders of VL53L5CX's and L1X's data sheets); glass pulls weak
    echoes towards itself."""
    weak = 1 / np.sqrt(np.maximum(strength, 1e-4))
    deviation = noise * np.sqrt(3.0**2 + (0.004 * distance * np.minimum(weak, 20)) ** 2) * (1 + 2.5 * ambient)
    drawn = distance * scale + offset + deviation * random.standard_normal(distance.shape, np.float32)
    drawn = drawn - 6 * severity * np.minimum(weak / 10, 2)
    lost = random.random(distance.shape) < (0.004 + 0.02 * np.minimum(weak, 20) * ambient) * severity
    return np.where(lost | (strength < 0.02) | (drawn > 4000) | (drawn < 20), np.nan, drawn)


def distance(random, scene: Scene, place, length, severity) -> tuple[np.ndarray, np.ndarray]:
    """VL53L0X or L1X: one zone of 15 to 27 degrees."""
    n = len(place.air)
    times, mount = moments(random, n, length, (10, 30), 0.003, severity), Mount.draw(random, n, severity)
    x, y, weights = _cone(5, 22.0)
    seen = scene.cast(np.nan_to_num(times), *mount.rays(x, y), mount.origin, ("z", "rho"))
    found, strength = _echo(seen["z"], seen["rho"], weights)
    offset, scale = random.normal(0, 10 * severity, (n, 1)), 1 + random.normal(0, 0.012 * severity, (n, 1))
    sun = place.sun_nir.clip(0, 2)[:, None]
    return times, _ranged(random, found, strength, sun, mount.strength[:, None], offset, scale, severity)


def depth(random, scene: Scene, place, length, severity) -> tuple[np.ndarray, np.ndarray]:
    """VL53L5CX: times (N x K) and ranges (N x K x 64). Each zone is four rays; each has an offset of its own."""
    n = len(place.air)
    times, mount = moments(random, n, length, (7, 15), 0.003, severity), Mount.draw(random, n, severity)
    line = np.radians(((np.arange(16) + 0.5) / 16 - 0.5) * 45)
    y, x = (g.ravel() for g in np.meshgrid(line, line, indexing="ij"))
    seen = scene.cast(np.nan_to_num(times), *mount.rays(x, y), mount.origin, ("z", "rho"))
    rows = lambda v: v.reshape(*times.shape, 8, 2, 8, 2).transpose(0, 1, 2, 4, 3, 5).reshape(*times.shape, 64, 4)  # noqa: E731
    found, strength = _echo(rows(seen["z"]), rows(seen["rho"]))
    strength = strength / 4
    offset = random.normal(0, 8 * severity, (n, 1, 1)) + random.normal(0, 3 * severity, (n, 1, 64))
    scale = 1 + random.normal(0, 0.012 * severity, (n, 1, 1))
    sun = place.sun_nir.clip(0, 2)[:, None, None]
    return times, _ranged(random, found, strength, sun, 1.3 * mount.strength[:, None, None], offset, scale, severity)


def thermal(random, scene: Scene, place, length, severity) -> tuple[np.ndarray, np.ndarray]:
    """MLX90640: times (N x K) and degrees (N x K x 768). Noise is 0.1 K at one hertz times the root of 6 Hz, in the middle of the rates,
    for every session, whatever its own rate; pixels differ by some tenths and the whole by half a degree or one; radiances mix in a
    pixel, not temperatures."""
    n = len(place.air)
    times, mount = moments(random, n, length, (3, 9), 0.004, severity), Mount.draw(random, n, severity)
    x = np.radians(((np.arange(32) + 0.5) / 32 - 0.5) * 55)
    y = np.radians(((np.arange(24) + 0.5) / 24 - 0.5) * 35)
    gy, gx = (g.ravel() for g in np.meshgrid(y, x, indexing="ij"))
    seen = scene.cast(np.nan_to_num(times), *mount.rays(gx, gy), mount.origin, ("t",))
    radiance = np.where(np.isfinite(seen["t"]), seen["t"], ((place.air + KELVIN) ** 4)[:, None, None]).reshape(
        *times.shape, 24, 32
    )
    for axis in (2, 3):
        edge = np.concatenate([np.take(radiance, [0], axis), radiance, np.take(radiance, [-1], axis)], axis)
        count = radiance.shape[axis]
        parts = (np.take(edge, np.arange(count) + shift, axis) for shift in range(3))
        radiance = sum(np.float32(share) * part for share, part in zip(BLUR, parts))
    degrees = told_degrees(random, radiance.reshape(*times.shape, 768), place, (n, 1, 1), 0.6 * severity)
    rate_noise = 0.1 * np.sqrt(6.0) * mount.strength[:, None, None]
    degrees = degrees + rate_noise * random.standard_normal(degrees.shape, np.float32)
    return times, degrees + random.normal(0, 0.25 * severity, (n, 1, 768)).astype(np.float32)


def told_degrees(random, radiance, place, shape, wrong_by) -> np.ndarray:
    """A thermometer takes emissivity for .95 to 1 and its own temperature for that of what is mirrored; and it is off."""
    told = random.uniform(0.95, 1.0, shape)
    own = place.air.reshape(shape) + random.uniform(0, 4, shape)
    solved = (radiance - (1 - told) * (own + KELVIN) ** 4) / told
    return np.sqrt(np.sqrt(np.maximum(solved, 1e8))) - KELVIN + random.normal(0, wrong_by, shape)


def thermometer(random, scene: Scene, place, length, severity) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MLX90614 with a field of view of 10 to 90 degrees: times, object, ambient. What else is in its view is in its reading."""
    n = len(place.air)
    times, mount = moments(random, n, length, (5, 15), 0.003, severity), Mount.draw(random, n, severity)
    x, y, weights = _cone(7, 1.0)
    degrees = random.choice([10.0, 35.0, 35.0, 90.0], (n, 1))
    seen = scene.cast(np.nan_to_num(times), *mount.rays(x * degrees, y * degrees), mount.origin, ("t",))
    air = ((place.air + KELVIN) ** 4)[:, None, None]
    radiance = (np.where(np.isfinite(seen["t"]), seen["t"], air) * weights).sum(-1)
    found = told_degrees(random, radiance, place, (n, 1), 0.5 * severity)
    own = place.air[:, None] + random.uniform(0, 4, (n, 1)) + random.normal(0, 0.5 * severity, (n, 1))
    noise = lambda spread: spread * severity * random.standard_normal(times.shape)  # noqa: E731
    return times, found + noise(0.12), own + noise(0.02)


def proximity(random, scene: Scene, place, length, severity) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Near infrared with the illuminator on less off, and off: shares of full scale. The echo falls with the distance squared."""
    n = len(place.air)
    times, mount = moments(random, n, length, (10, 30), 0.003, severity), Mount.draw(random, n, severity)
    x, y, weights = _cone(5, 40.0)
    seen = scene.cast(np.nan_to_num(times), *mount.rays(x, y), mount.origin, ("z", "rho"))
    _, strength = _echo(seen["z"], seen["rho"], weights)
    gain = np.exp(random.normal(np.log(0.15), 0.25 * severity, (n, 1)))
    off = (place.sun_nir[:, None] * (0.3 + 0.7 * place.backlit[:, None]) * random.uniform(0.4, 1, (n, 1))).clip(0, 1.2)
    noise = lambda spread: spread * mount.strength[:, None] * random.standard_normal(times.shape)  # noqa: E731
    glass = random.uniform(0, 0.02 * severity, (n, 1))
    return times, gain * strength + glass + noise(0.006 * (1 + off)), off + noise(0.004) + 0 * times


def light(random, place, length, severity) -> tuple[np.ndarray, np.ndarray]:
    n = len(place.air)
    times = moments(random, n, length, (4, 12), 0.003, severity)
    wrong = random.normal(0, 0.08 * severity, (n, 1))
    return times, place.log_lux[:, None] + wrong + 0.004 * severity * random.standard_normal(times.shape)


def touch(random, heart, seen, length, severity) -> tuple[np.ndarray, np.ndarray]:
    """A finger on a pulse sensor while somebody is seen, or none, which is less than its channel's least."""
    n = len(heart)
    times = moments(random, n, length, (25, 60), 0.001, severity)
    level, there = random.uniform(0.2, 0.8, (n, 1)), random.random((n, 1)) < 0.85
    wave = at(heart, np.nan_to_num(times)) * random.uniform(0.002, 0.015, (n, 1))
    presses = random.normal(0, 0.01 * severity, (n, 1)) * np.nan_to_num(times)
    noise = 0.0007 * severity * random.standard_normal(times.shape)
    there = there & (at(seen.astype(np.float32), np.nan_to_num(times)) > 0.5)
    return times, np.where(there, level * (1 + wave + presses) + noise, 0.0)


def last_known(times, values, wanted) -> np.ndarray:
    """N x K samples → N x J of the newest at or before `wanted`, NaN if older than FACE_HOLD or none."""
    order = np.argsort(np.where(np.isfinite(times), times, np.inf), axis=1, kind="stable")
    times, values = np.take_along_axis(times, order, 1), np.take_along_axis(values, order, 1)
    with np.errstate(invalid="ignore"):
        before = (times[:, None, :] <= wanted[:, :, None]).sum(2) - 1
    index = np.maximum(before, 0)
    with np.errstate(invalid="ignore"):
        fresh = (before >= 0) & (wanted - np.take_along_axis(times, index, 1) <= FACE_HOLD)
    return np.where(fresh, np.take_along_axis(values, index, 1), np.nan)


def sense(random, place, scene: Scene, shown, heart, length: float, severity: float, sensors) -> dict:
    """Every channel of `sensors`, as a batch of sessions."""
    n = len(place.air)
    told_hfov = (place.hfov * (1 + random.normal(0, 0.02 * severity, n)))[:, None]
    seen_at, looks = camera(random, shown, place, length, severity)
    batch = {name: (seen_at, values) for name, values in looks.items() if name != "antispoof" or "antispoof" in sensors}
    if "distance" in sensors:
        times, found = distance(random, scene, place, length, severity)
        size = last_known(seen_at, looks["face_size"], times)
        batch |= {"distance_mm": (times, found), "eye_gap_mm": (times, fusion.eye_gap(size, found, told_hfov))}
    for name, sensor, fuse in (("depth", depth, fusion.depth), ("thermal", thermal, fusion.thermal)):
        if name in sensors:
            times, grid = sensor(random, scene, place, length, severity)
            face = np.stack([last_known(seen_at, looks[c], times) for c in ("face_size", "face_x", "face_y")], -1)
            known = np.isfinite(face).all(-1) & np.isfinite(times)
            made = fuse(grid[known], face[known], np.broadcast_to(told_hfov, times.shape)[known])
            for channel, values in made.items():
                spread = np.full(times.shape, np.nan)
                spread[known] = values
                batch[channel] = (times, spread)
    if "thermometer" in sensors:
        times, found, own = thermometer(random, scene, place, length, severity)
        batch |= {"object_c": (times, found), "ambient_c": (times, own), "object_over_ambient_c": (times, found - own)}
    if "proximity" in sensors:
        times, found, off = proximity(random, scene, place, length, severity)
        batch |= {"nir_reflected": (times, found), "nir_ambient": (times, off)}
    if "light" in sensors:
        times, found = light(random, place, length, severity)
        face = last_known(seen_at, looks["luminance"], times)
        with np.errstate(invalid="ignore"):
            over = np.log10(face) - found
        batch |= {"ambient_log_lux": (times, found), "luminance_over_light": (times, over)}
    if "touch" in sensors:
        batch["touch"] = touch(random, heart, shown.seen, length, severity)
    return batch
