"""What is made of a grid of distances or temperatures and the place of the face in the picture.

All angles and shares are the configuration's: what is really mounted may differ, and that is the simulator's business. Rust
computes the same (src/liveness), and models/golden/liveness-fusion.json holds cases for both. Every function takes M frames at
once; a zone without a measurement is NaN, and so is a result that can't be had.
"""

import numpy as np

DEPTH_GRID, DEPTH_FOV = (8, 8), (45.0, 45.0)  # columns and rows, degrees across and down: VL53L5CX
THERMAL_GRID, THERMAL_FOV = (32, 24), (55.0, 35.0)  # MLX90640
# Of the distance between the eyes: from the eyes to the ellipse's centre, and its half axes.
CENTRE, ACROSS, DOWN = 0.35, 1.05, 1.45
AROUND = 1.5  # the ellipse outside of which the surroundings begin
BESIDE = (3.0, 0.8)  # how far the places left and right of the face reach, across and down
FEWEST_ZONES, FEWEST_PIXELS = 4, 6  # under the face; the nearest make them up
FEWEST_AROUND = 3
FEWEST_FOR_PLANE = 6
# Parts of a face and what is below it, in distances between the eyes about their middle: left and right, from and to downwards.
EYES, NOSE, BROW, CHIN = (0.85, -0.3, 0.3), (0.35, 0.3, 0.9), (0.6, -0.95, -0.35), (0.6, 0.95, 1.6)
CHEST = (1.6, 2.3, 4.2)
RIM = 1.35  # the ellipse within which, outside of the face's own, a wearer shows around a mask
HALO = (2.2, -1.9, 1.9)  # in which warmth is weighed to find where the warm thing is
PEAK = 0.9  # of the pixels under a face: skin that neither hair nor glasses nor a beard covers
FURTHEST = 1.2  # distances between the eyes by which the warmth may lie beside the face in the picture and be taken for it
LEAST_CONTRAST = 1.0  # kelvins, without which nothing warm has a place


def width_at_1(hfov_deg) -> np.ndarray:
    """The width of the frame at a distance of 1: what normalised coordinates are shares of."""
    return 2 * np.tan(np.radians(hfov_deg) / 2)


def eye_gap(face_size, distance_mm, hfov_deg) -> np.ndarray:
    return face_size * width_at_1(hfov_deg) * distance_mm


def centres(grid: tuple, fov: tuple, hfov_deg) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the zones' centres, row by row, in shares of the frame's width from its middle: (M x) zones."""
    angle = lambda count, degrees: np.tan(np.radians(((np.arange(count) + 0.5) / count - 0.5) * degrees))  # noqa: E731
    x, y = np.meshgrid(angle(grid[0], fov[0]), angle(grid[1], fov[1]))
    width = np.asarray(width_at_1(hfov_deg))[..., None]
    return x.ravel() / width, y.ravel() / width


def places(grid: tuple, fov: tuple, hfov_deg, face: np.ndarray, fewest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which zones lie under, around, and left or right of each face: three M x zones of booleans.

    `face`: M x 3 of face_size, face_x, face_y; `hfov_deg`: one number or M.
    """
    x, y = centres(grid, fov, np.broadcast_to(hfov_deg, len(face)))
    size = face[:, :1]
    across, down = x - face[:, 1:2], y - (face[:, 2:3] + CENTRE * size)
    q = (across / (ACROSS * size)) ** 2 + (down / (DOWN * size)) ** 2
    under = q <= 1
    nearest = np.argpartition(across**2 + down**2, fewest - 1, axis=1)[:, :fewest]
    few = under.sum(1) < fewest
    made_up = np.zeros_like(under)
    np.put_along_axis(made_up, nearest, True, 1)
    under = np.where(few[:, None], made_up, under)
    around = q > AROUND**2
    beside = around & (np.abs(down) <= BESIDE[1] * size) & (np.abs(across) <= BESIDE[0] * size)
    return under, around, beside


def about(grid: tuple, fov: tuple, hfov_deg, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where zones look, from the middle of the eyes, in distances between the eyes: two M x zones."""
    x, y = centres(grid, fov, np.broadcast_to(hfov_deg, len(face)))
    return (x - face[:, 1:2]) / face[:, :1], (y - face[:, 2:3]) / face[:, :1]


def within(x: np.ndarray, y: np.ndarray, part: tuple) -> np.ndarray:
    return (np.abs(x) <= part[0]) & (y >= part[1]) & (y <= part[2])


def mean_of(values: np.ndarray, x: np.ndarray, y: np.ndarray, part: tuple) -> np.ndarray:
    """M: the mean of the finite values that look at a part of the face; where none does the one that looks nearest to its
    middle; NaN if that saw nothing."""
    inside = within(x, y, part)
    nearest = np.argmin(x**2 + (y - (part[1] + part[2]) / 2) ** 2, axis=1)
    inside[np.arange(len(x)), nearest] |= ~inside.any(1)
    good = inside & np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(good.any(1), np.where(good, values, 0.0).sum(1) / np.maximum(good.sum(1), 1), np.nan)


def middle_of_warmth(pixels, x, y, warm, cold) -> tuple[np.ndarray, np.ndarray]:
    """The middle of what is as warm as the face, from the middle of the eyes, in distances between the eyes: two M. A pixel
    weighs as it lies between the temperatures half way from the surroundings to the face (0) and the face (1). NaN where
    face and surroundings differ by less than LEAST_CONTRAST."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (pixels - cold[:, None]) / (warm - cold)[:, None]
        tells = np.abs(warm - cold) >= LEAST_CONTRAST
        weight = np.where(within(x, y, HALO) & np.isfinite(share), (2 * share - 1).clip(0, 1), 0.0)
    total = weight.sum(1)
    tells &= total > 0
    of = lambda v: np.where(tells, (weight * v).sum(1) / np.where(total > 0, total, 1.0), np.nan)  # noqa: E731
    return of(x), of(y)


def quantile(values: np.ndarray, where: np.ndarray, share: float) -> np.ndarray:
    """Of the finite `values` where `where`, row by row, between order statistics at (n - 1) share; NaN if there is none."""
    good = where & np.isfinite(values)
    ordered = np.sort(np.where(good, values, np.inf), axis=1)
    return _quantile_of(ordered, good.sum(1), share)


def _quantile_of(ordered: np.ndarray, count: np.ndarray, share: float) -> np.ndarray:
    at = np.maximum(count - 1, 0) * share
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    a, b = (np.take_along_axis(ordered, i[:, None], 1)[:, 0] for i in (low, high))
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, a + (b - a) * (at - low), np.nan)


def depth(ranges: np.ndarray, face: np.ndarray, hfov_deg) -> dict[str, np.ndarray]:
    """M x 64 millimetres, row by row → depth_face_mm, relief_mm, planarity_mm, step_mm, depth_eye_gap_mm, chest_mm."""
    under, around, _ = places(DEPTH_GRID, DEPTH_FOV, hfov_deg, face, FEWEST_ZONES)
    ranges = np.asarray(ranges, np.float64)
    good = under & np.isfinite(ranges)
    # Of a zone or two that met something, nobody knows whether it was the face.
    seen = 2 * good.sum(1) >= under.sum(1)
    middle = np.where(seen, quantile(ranges, under, 0.5), np.nan)
    x, y = centres(DEPTH_GRID, DEPTH_FOV, np.broadcast_to(hfov_deg, len(face)))
    z, count = np.where(good, ranges, 0.0), good.sum(1)
    centred = lambda v: np.where(good, v - np.where(good, v, 0).sum(1, keepdims=True) / np.maximum(count, 1)[:, None], 0.0)  # noqa: E731
    # Least squares of z on x and y about their means: two unknowns, so Cramer's rule.
    x, y, z = centred(x), centred(y), centred(z)
    xx, yy, xy = (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)
    xz, yz, det = (x * z).sum(1), (y * z).sum(1), xx * yy - xy * xy
    enough = seen & (count >= FEWEST_FOR_PLANE) & (det > 1e-12 * xx * yy)
    det = np.where(enough, det, 1.0)
    left = z - x * ((xz * yy - yz * xy) / det)[:, None] - y * ((yz * xx - xz * xy) / det)[:, None]
    planarity = np.sqrt(np.where(good, left**2, 0).sum(1) / np.maximum(count, 1))
    relief = quantile(left, good, 0.9) - quantile(left, good, 0.1)
    beyond = around & np.isfinite(ranges)
    step = np.where(beyond.sum(1) >= FEWEST_AROUND, quantile(ranges, around, 0.5) - middle, np.nan)
    chest = within(*about(DEPTH_GRID, DEPTH_FOV, hfov_deg, face), CHEST)
    return {
        "depth_face_mm": middle,
        "relief_mm": np.where(enough, relief, np.nan),
        "planarity_mm": np.where(enough, planarity, np.nan),
        "step_mm": step,
        "depth_eye_gap_mm": eye_gap(face[:, 0], middle, hfov_deg),
        "chest_mm": quantile(ranges, chest, 0.5) - middle,
    }


def thermal(pixels: np.ndarray, face: np.ndarray, hfov_deg) -> dict[str, np.ndarray]:
    """M x 768 degrees, row by row → warm_x, warm_y: where the warmth is; and from there, as no sensor is mounted quite as the
    camera looks: warm_face_c, warm_contrast_c, warm_spread_c, warm_fill, warm_beside, warm_peak_c, and by parts of the face
    warm_eyes_c, warm_nose_c, warm_brow_c, warm_chin_c, warm_rim_c."""
    pixels = np.asarray(pixels, np.float64)
    finite = np.isfinite(pixels)
    under, around, _ = places(THERMAL_GRID, THERMAL_FOV, hfov_deg, face, FEWEST_PIXELS)
    x, y = about(THERMAL_GRID, THERMAL_FOV, hfov_deg, face)
    right, down = middle_of_warmth(pixels, x, y, quantile(pixels, under, PEAK), quantile(pixels, around, 0.5))
    size, there = face[:, 0], face.copy()
    there[:, 1] += np.nan_to_num(right).clip(-FURTHEST, FURTHEST) * size
    there[:, 2] += np.nan_to_num(down - CENTRE).clip(-FURTHEST, FURTHEST) * size
    under, around, beside = places(THERMAL_GRID, THERMAL_FOV, hfov_deg, there, FEWEST_PIXELS)
    under, around, beside = under & finite, around & finite, beside & finite
    warm, cold = quantile(pixels, under, 0.5), quantile(pixels, around, 0.5)
    cold = np.where(around.sum(1) >= FEWEST_AROUND, cold, np.nan)
    t = np.where(finite, pixels, 0.0)
    share = lambda where, count: where.sum(1) / np.maximum(count, 1)  # noqa: E731
    count = under.sum(1)
    mean = np.where(under, t, 0).sum(1) / np.maximum(count, 1)
    spread = np.sqrt(np.where(under, (t - mean[:, None]) ** 2, 0).sum(1) / np.maximum(count, 1))
    with np.errstate(invalid="ignore"):
        nearer = np.abs(t - warm[:, None]) <= np.abs(t - cold[:, None])
    fill = np.where(np.isfinite(cold) & (count > 0), share(under & nearer, count), np.nan)
    sides = beside.sum(1)
    near = np.where(np.isfinite(cold) & (sides >= FEWEST_AROUND), share(beside & nearer, sides), np.nan)
    x, y = about(THERMAL_GRID, THERMAL_FOV, hfov_deg, there)
    radius = np.hypot(x / ACROSS, (y - CENTRE) / DOWN)
    parts = {"eyes": EYES, "nose": NOSE, "brow": BROW, "chin": CHIN}
    return {
        "warm_face_c": warm,
        "warm_contrast_c": warm - cold,
        "warm_spread_c": np.where(count > 0, spread, np.nan),
        "warm_fill": fill,
        "warm_beside": near,
        "warm_peak_c": quantile(pixels, under, PEAK),
        **{f"warm_{name}_c": mean_of(pixels, x, y, part) - warm for name, part in parts.items()},
        "warm_rim_c": quantile(pixels, (radius > 1) & (radius <= RIM), PEAK) - warm,
        "warm_x": right,
        "warm_y": down,
    }
