"""What the camera makes of a face that is shown: its place and pose from five points, its colours, texture and movement.

No pixels: each channel follows from the scene by the formula that the daemon measures it with, and noise as large as a webcam's and
the landmark network's.
"""

import numpy as np

from liveness_people import Place
from liveness_scene import EYES, POINTS, Shown
from liveness_signals import STEP, at

LEVEL_NOSE = 0.495  # face::quality's: of the way from eyes to mouth, the template's nose has gone so much
PIXELS = 640  # of the frame's width, the daemon's where nothing is configured; half of the doors have twice as many
MOIRE_EYES = 32  # pixels between the eyes below which the daemon looks for no pattern
ANTISPOOF_EVERY = 0.2  # seconds from one look of the networks for single frames to the next (src/liveness/camera/tap.rs)


def moments(random, n: int, length: float, rate: tuple, jitter: float, severity: float) -> np.ndarray:
    """N x K seconds of a sensor's samples at rates drawn from `rate`; NaN where a sample is lost: single ones, a stretch in one
    session of twenty, or the sensor stuck or late from some moment on, which the daemon finds and counts as lost."""
    hertz = np.exp(random.uniform(*np.log(rate), (n, 1)))
    count = int(length * rate[1]) + 2
    times = (np.arange(count) + random.random((n, 1))) / hertz + random.normal(0, jitter, (n, count))
    # A session begins at 0, and jitter knows nothing of that.
    times[(times < 0) | (times > length)] = np.nan
    lost = random.random((n, count)) < random.choice([0.0, 0.01, 0.04], (n, 1)) * severity
    begin, gap = random.uniform(0, length, (n, 1)), random.uniform(0.15, 0.8, (n, 1)) * severity
    stuck = random.random((n, 1)) < 0.01 * severity
    with np.errstate(invalid="ignore"):
        lost |= (random.random((n, 1)) < 0.05 * severity) & (times > begin) & (times < begin + gap)
        lost |= stuck & (times > begin)
    return np.where(lost, np.nan, times)


def points_of(shown: Shown, times: np.ndarray) -> np.ndarray:
    """Five points in space, N x K x 5 x 3: turned as the head is, flattened if it's a picture, turned as that is held."""
    scale = (shown.eyes / EYES)[:, None, None, None]
    points = np.broadcast_to(POINTS * scale, (*times.shape, 5, 3)).astype(np.float32, copy=True)
    moved = at(shown.mouth, times)[..., None] * scale[..., 0]
    # Corners that go up go apart, too.
    points[..., 3:, 1] += moved
    points[..., 3:, 0] += 0.35 * moved * np.array([1, -1], np.float32)
    points = _turned(points, [at(path, times) for path in shown.head], pivot=90 * scale)
    depth = shown.depth[:, None, None]
    edge = (points[..., 0] / (EYES / 2 * scale[..., 0])) ** 2
    z = points[..., 2] * depth + shown.bend[:, None, None] * edge
    points = np.concatenate([points[..., :2], z[..., None]], -1)
    points = _turned(points, [at(path, times) for path in shown.held], pivot=0.0)
    middle = np.stack([at(path, times) for path in (shown.x, shown.y, shown.z)], -1)
    return points + middle[:, :, None]


def _turned(points, angles, pivot) -> np.ndarray:
    """About an axis `pivot` mm behind the face (a neck), by yaw, pitch and roll in radians."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2] - np.asarray(pivot)[..., 0] if np.ndim(pivot) else points[..., 2]
    yaw, pitch, roll = (angle[..., None] for angle in angles)
    x, z = x * np.cos(yaw) - z * np.sin(yaw), z * np.cos(yaw) + x * np.sin(yaw)
    y, z = y * np.cos(pitch) - z * np.sin(pitch), z * np.cos(pitch) + y * np.sin(pitch)
    x, y = x * np.cos(roll) - y * np.sin(roll), y * np.cos(roll) + x * np.sin(roll)
    # The axis stays, and the middle of the eyes swings about it: that comes on top of the body's path.
    z = z + (np.asarray(pivot)[..., 0] if np.ndim(pivot) else 0)
    return np.stack([x, y, z], -1)


def measured(points: np.ndarray) -> dict[str, np.ndarray]:
    """N x K x 5 x 2 in shares of the frame's width → face_size, face_x, face_y, yaw, pitch, roll_deg, parallax_x, parallax_y."""
    a, b, nose, c, d = (points[..., i, :] for i in range(5))
    across, eyes, mouth = b - a, (a + b) / 2, (c + d) / 2
    width = np.hypot(across[..., 0], across[..., 1])
    right = across / width[..., None]
    down = np.stack([-right[..., 1], right[..., 0]], -1)
    along = lambda v, axis: (v * axis).sum(-1)  # noqa: E731
    fallen = along(nose - eyes, down) / along(mouth - eyes, down)
    yaw = (along(nose - eyes, right) - along(mouth - eyes, right) * fallen) / (width / 2)
    # The nose as eyes' middle + p (right eye to left) + q (eyes' middle to mouth's): constant for a plane however it turns.
    p, q = across, mouth - eyes
    det = p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]
    n = nose - eyes
    return {
        "face_size": width,
        "face_x": eyes[..., 0],
        "face_y": eyes[..., 1],
        "yaw": yaw,
        "pitch": 2 * (fallen - LEVEL_NOSE),
        "roll_deg": np.degrees(np.arctan2(across[..., 1], across[..., 0])),
        "parallax_x": (n[..., 0] * q[..., 1] - n[..., 1] * q[..., 0]) / det,
        "parallax_y": (p[..., 0] * n[..., 1] - p[..., 1] * n[..., 0]) / det,
    }


def camera(random, shown: Shown, place: Place, length: float, severity: float) -> tuple[np.ndarray, dict]:
    """N x K times, NaN where there is no face or no frame, and the values of each channel of camera and antispoof."""
    n = len(shown.eyes)
    uniform = lambda low, high: random.uniform(low, high, (n, 1)).astype(np.float32)  # noqa: E731
    between = lambda low, high: np.exp(uniform(np.log(low), np.log(high)))  # noqa: E731
    times = moments(random, n, length, (12, 30), 0.002, severity)
    good = np.nan_to_num(times)
    frame = 2 * np.tan(np.radians(place.hfov) / 2)[:, None, None]
    space = points_of(shown, good)
    flat = space[..., :2] / np.maximum(space[..., 2:], 30) / frame[..., None]
    size = np.linalg.norm(flat[:, :, 1] - flat[:, :, 0], axis=-1)
    # Points are off by .04 to 2 % of the eyes' distance from frame to frame (.1 to .2 in two real clips, which were filmed well and
    # smoothed by their coder), and by a pixel's part.
    off = between(0.0004, 0.02) * severity * size + between(0.003, 0.3) / PIXELS
    wrong = random.normal(0, 0.02, (n, 1, 5, 2)) * size[..., None, None]
    found = measured(flat + wrong + random.standard_normal(flat.shape, np.float32) * off[..., None, None])
    near = np.abs(found["face_x"]) + 0.8 * size < 0.5
    near &= (np.abs(found["face_y"]) < 0.32) & (size > 0.028) & (size < 0.42)
    missed = random.random(times.shape) < uniform(0, 0.03) * severity
    there = near & ~missed & (at(shown.seen.astype(np.float32), good) > 0.5)
    luminance, noise = exposure(random, shown, place)
    found |= colours(random, shown, good, luminance, noise, severity)
    found |= looks(random, shown, place, good, size, noise, uniform, between)
    seen_at = np.where(there, times, np.nan)
    found["antispoof"] = np.where(apart(seen_at, ANTISPOOF_EVERY), found["antispoof"], np.nan)
    return seen_at, found


def apart(times: np.ndarray, by: float) -> np.ndarray:
    """Of N x K moments those that are taken by who takes one as soon as the last was `by` seconds ago."""
    taken, last = np.zeros(times.shape, bool), np.full(len(times), -np.inf)
    for index in range(times.shape[1]):
        taken[:, index] = times[:, index] - last >= by
        last = np.where(taken[:, index], times[:, index], last)
    return taken


def exposure(random, shown: Shown, place: Place) -> tuple[np.ndarray, np.ndarray]:
    """The face's luminance, N, and the noise of one pixel in grey levels. Exposure follows the whole frame, and ends at a gain."""
    n = len(shown.eyes)
    reflects = shown.albedo @ np.array([0.299, 0.587, 0.114], np.float32)
    darkest = 10 ** random.uniform(0.3, 1.5, n)  # lux below which the picture darkens
    lux = 10**place.log_lux
    bright = np.minimum(1, lux / darkest)
    reflected = 105 * (reflects / 0.3) ** 0.7 * shown.lit**0.7 * bright * np.exp(random.normal(0, 0.15, n))
    own = 105 * shown.own_light * np.minimum(3, darkest / lux + 0.7) ** 0.3
    luminance = np.where(shown.own_light > 0, own + 0.2 * reflected, reflected).clip(4, 245)
    # Grey levels that a pixel is off by: a web camera's 1 to 2.4 in good light, a third of that once a video coder has smoothed it.
    noise = np.exp(random.uniform(np.log(0.3), np.log(2.4), n)) * (1 + 3 * np.exp(-lux / (3 * darkest)))
    return luminance.astype(np.float32), noise.astype(np.float32)


def colours(random, shown, times, luminance, noise, severity) -> dict[str, np.ndarray]:
    """Mean colours: a pulse moves green most, then blue, then red (.33, .77, .53: de Haan & van Leest 2014, doi
    10.1088/0967-3334/35/9/1913), light moves all alike; what a mean over a few thousand pixels leaves of the noise, and steps of
    exposure."""
    n = len(luminance)
    pulse, gain = at(shown.pulse, times) / 0.77, at(shown.gain, times)
    steps = random.normal(0, 0.012, (n, 1)) * (times > random.uniform(-2, 6, (n, 1)))
    made, mixed = {}, shown.albedo / (shown.albedo @ np.array([0.299, 0.587, 0.114], np.float32))[:, None]
    slow = random.normal(0, 0.003, (n, 1)) * times / 2
    for index, (name, share) in enumerate(zip(("skin_r", "skin_g", "skin_b"), (0.33, 0.77, 0.53))):
        mean = (luminance * mixed[:, index]).clip(1, 252)[:, None]
        off = random.standard_normal(times.shape) * (noise[:, None] / 40 + 0.03) * severity
        made[name] = mean * (1 + share * pulse + gain + steps + slow * (index - 1)) + off
    made["luminance"] = luminance[:, None] * (1 + gain + steps) + random.standard_normal(times.shape) * (0.1 * noise[:, None])
    return made


def looks(random, shown, place, times, size, noise, uniform, between) -> dict[str, np.ndarray]:
    """Lids, movement against the frame before, texture, and what a network for single frames would say."""
    normal = lambda spread: random.standard_normal(times.shape, np.float32) * spread  # noqa: E731
    closed, stir = at(shown.closed, times), at(shown.stir, times)
    # Whatever turns, the head or what it is shown on, is aligned a little differently from frame to frame.
    speed = sum(np.abs(np.gradient(path, STEP, axis=1)) for path in (*shown.head, *shown.held))
    turns = at(speed.astype(np.float32), times)
    slides = at(np.hypot(np.gradient(shown.x, STEP, axis=1), np.gradient(shown.y, STEP, axis=1)).astype(np.float32), times)
    floor = noise[:, None] * 0.8 * uniform(0.8, 1.2)
    wide = PIXELS * np.where(uniform(0, 1) < 0.5, 1, 2)
    openness = shown.openness[:, None] * (1 - uniform(0.25, 0.6) * closed) * (1 + normal(between(0.004, 0.04)))
    blur = 1 / (1 + slides * size / 6)
    return {
        "eye_openness": openness,
        "face_motion": floor * (1 + uniform(0, 1.2))
        + between(0.2, 9) * turns
        + stir
        + 1.2 * closed * uniform(0.3, 1)
        + np.abs(normal(between(0.03, 0.2))),
        "background_motion": floor
        + shown.behind[:, None] * (1 + normal(0.3))
        + uniform(0, 0.02) * slides
        + np.abs(normal(between(0.03, 0.25))),
        "sharpness": shown.sharpness[:, None] * blur * (1 + normal(between(0.008, 0.05))),
        "moire_db": np.where(size * wide >= MOIRE_EYES, shown.moire[:, None] + normal(uniform(0.6, 1.4)), np.nan),
        "antispoof": 1 / (1 + np.exp(-(shown.antispoof[:, None] + normal(0.7)))),
    }
