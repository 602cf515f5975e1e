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
    """M x 64 millimetres, row by row → depth_face_mm, relief_mm, planarity_mm, step_mm, depth_eye_gap_mm."""
    under, around, _ = places(DEPTH_GRID, DEPTH_FOV, hfov_deg, face, FEWEST_ZONES)
    ranges = np.asarray(ranges, np.float64)
    middle = quantile(ranges, under, 0.5)
    x, y = centres(DEPTH_GRID, DEPTH_FOV, np.broadcast_to(hfov_deg, len(face)))
    good = under & np.isfinite(ranges)
    z, count = np.where(good, ranges, 0.0), good.sum(1)
    centred = lambda v: np.where(good, v - np.where(good, v, 0).sum(1, keepdims=True) / np.maximum(count, 1)[:, None], 0.0)  # noqa: E731
    # Least squares of z on x and y about their means: two unknowns, so Cramer's rule.
    x, y, z = centred(x), centred(y), centred(z)
    xx, yy, xy = (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)
    xz, yz, det = (x * z).sum(1), (y * z).sum(1), xx * yy - xy * xy
    enough = (count >= FEWEST_FOR_PLANE) & (det > 1e-12 * xx * yy)
    det = np.where(enough, det, 1.0)
    left = z - x * ((xz * yy - yz * xy) / det)[:, None] - y * ((yz * xx - xz * xy) / det)[:, None]
    planarity = np.sqrt(np.where(good, left**2, 0).sum(1) / np.maximum(count, 1))
    relief = quantile(left, good, 0.9) - quantile(left, good, 0.1)
    beyond = around & np.isfinite(ranges)
    step = np.where(beyond.sum(1) >= FEWEST_AROUND, quantile(ranges, around, 0.5) - middle, np.nan)
    return {
        "depth_face_mm": middle,
        "relief_mm": np.where(enough, relief, np.nan),
        "planarity_mm": np.where(enough, planarity, np.nan),
        "step_mm": step,
        "depth_eye_gap_mm": eye_gap(face[:, 0], middle, hfov_deg),
    }


def thermal(pixels: np.ndarray, face: np.ndarray, hfov_deg) -> dict[str, np.ndarray]:
    """M x 768 degrees, row by row → warm_face_c, warm_contrast_c, warm_spread_c, warm_fill, warm_beside."""
    under, around, beside = places(THERMAL_GRID, THERMAL_FOV, hfov_deg, face, FEWEST_PIXELS)
    pixels = np.asarray(pixels, np.float64)
    finite = np.isfinite(pixels)
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
    return {
        "warm_face_c": warm,
        "warm_contrast_c": warm - cold,
        "warm_spread_c": np.where(count > 0, spread, np.nan),
        "warm_fill": fill,
        "warm_beside": near,
    }
