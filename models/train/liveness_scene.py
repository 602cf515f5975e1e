"""What stands before the door, as sensors and camera see it: surfaces in space, and the face that the picture shows.

Millimetres, x to the right, y down, z away from the camera, which is the origin. Surfaces are thin enough for weak perspective:
a ray meets a surface at the surface's own distance, and its relief is added there. Everything is N sessions at once.
"""

from dataclasses import dataclass, field

import numpy as np

from liveness_signals import at

EYES = 63.0  # mm between the eyes of an adult (Dodgson 2004: mean 63, deviation 3.7)
KELVIN = 273.15
# Five points of a face in mm about the middle of the eyes; z towards the camera is negative. In the plane they are ArcFace's
# template for eyes of 63 mm; a nose stands out 26 mm before the eyes, a mouth 6 mm.
POINTS = np.array([[-31.5, 0, 0], [31.5, 0, 0], [0, 36, -26], [-26, 72, -6], [26, 72, -6]], np.float32)


@dataclass
class Surface:
    """`x`, `y`, `z`: N x F, of its middle, where it is nearest. Other fields are N, and 0 unless given."""

    form: str  # "ellipsoid", "sheet" or "wall"
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    across: np.ndarray  # half axes
    down: np.ndarray
    temperature: np.ndarray  # degrees Celsius
    rho: np.ndarray  # share of near infrared (940 nm) that comes back
    emissivity: np.ndarray
    bulge: np.ndarray = 0.0  # ellipsoid: half axis in depth; sheet: how far its left and right edges bend back
    nose: np.ndarray = 0.0  # mm that a nose stands out
    slope: tuple = (0.0, 0.0)  # of a tilted sheet, mm a mm across and down
    fall: np.ndarray = 0.0  # kelvins colder at the edge than in the middle
    tip: np.ndarray = 0.0  # kelvins that the tip of the nose is colder
    glasses: np.ndarray = 0.0  # kelvins that the band of the eyes is colder
    beard: np.ndarray = 0.0  # kelvins that the lower third is colder
    hair: np.ndarray = 0.0  # kelvins that what is above the forehead is colder
    spots: np.ndarray = 0.0  # kelvins of uneven heating
    spot_phase: np.ndarray = 0.0
    eye_holes: np.ndarray = 0.0  # radius in mm; what is behind shows
    is_there: np.ndarray = 1.0


@dataclass
class Scene:
    surfaces: list
    surroundings: np.ndarray  # N, degrees Celsius: what surfaces mirror

    def cast(self, times, u, v, origin, want=("z", "t", "rho")) -> dict[str, np.ndarray]:
        """What rays meet first: N x K x R of distance along z (mm), radiance (kelvin^4, mirrored part in it), and reflectance.

        `u`, `v`: x/z and y/z of N x R rays; `origin`: two N, where the sensor sits beside the camera. NaN where nothing is.
        """
        shape = (len(times), times.shape[1], u.shape[1])
        nearest = np.full(shape, np.inf, np.float32)
        found = {name: np.full(shape, np.nan, np.float32) for name in want if name != "z"}
        u, v = u[:, None, :].astype(np.float32), v[:, None, :].astype(np.float32)
        ox, oy = (np.asarray(o, np.float32).reshape(-1, 1, 1) for o in origin)
        sky = _fourth(_of(self.surroundings, shape[0]) + KELVIN)
        for one in self.surfaces:
            if one.form == "wall":
                # It is behind everything, so that it comes first and hides nothing.
                nearest[:] = one.z[:, :1, None]
                eps = _of(one.emissivity, shape[0])
                flat = {
                    "t": eps * _fourth(_of(one.temperature, shape[0]) + KELVIN) + (1 - eps) * sky,
                    "rho": _of(one.rho, shape[0]),
                }
                for name in found:
                    found[name][:] = flat[name][:, None, None]
                continue
            x, y, z = (at(p, times)[:, :, None] for p in (one.x, one.y, one.z))
            a, b = _of(one.across, shape[0])[:, None, None], _of(one.down, shape[0])[:, None, None]
            sx, sy = u * (z / a) + (ox - x) / a, v * (z / b) + (oy - y) / b
            q = sx * sx + sy * sy if one.form == "ellipsoid" else np.maximum(sx * sx, sy * sy)
            inside = (q < 1) & (_of(one.is_there, shape[0])[:, None, None] > 0)
            # From here on only rays that meet it: most don't.
            where = np.flatnonzero(inside)
            session, moment = where // (shape[1] * shape[2]), where // shape[2]
            hit = Hit(one, session, moment, sx.ravel()[where], sy.ravel()[where], q.ravel()[where], times)
            depth = z.ravel()[moment] + hit.relief()
            closer = (depth < nearest.ravel()[where]) & hit.is_solid()
            where, hit = where[closer], hit.only(closer)
            nearest.ravel()[where] = depth[closer]
            if "t" in want:
                eps = _of(one.emissivity, shape[0])[hit.session]
                found["t"].ravel()[where] = eps * _fourth(hit.temperature() + KELVIN) + (1 - eps) * sky[hit.session]
            if "rho" in want:
                found["rho"].ravel()[where] = _of(one.rho, shape[0])[hit.session]
        return found | {"z": np.where(np.isfinite(nearest), nearest, np.nan)}


def _of(x, n: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(x, np.float32), (n,))


def _fourth(x: np.ndarray) -> np.ndarray:
    return np.square(np.square(x))


class Hit:
    """Rays within a surface's outline, in a row: which session and moment each is of, and where it meets it."""

    def __init__(self, one: Surface, session, moment, sx, sy, q, times):
        self.one, self.session, self.moment, self.times = one, session, moment, times
        self.sx, self.sy, self.q = sx, sy, q
        self.px, self.py = sx * self.each(one.across), sy * self.each(one.down)

    def each(self, x) -> np.ndarray:
        """N, one number, or N x F as a number for each ray."""
        if np.ndim(x) == 2:
            return at(x, self.times).ravel()[self.moment]
        return _of(x, len(self.times))[self.session]

    def only(self, chosen: np.ndarray) -> "Hit":
        parts = (part[chosen] for part in (self.session, self.moment, self.sx, self.sy, self.q))
        return Hit(self.one, *parts, self.times)

    def relief(self) -> np.ndarray:
        """Millimetres behind the surface's nearest point."""
        one, px, py = self.one, self.px, self.py
        if one.form == "ellipsoid":
            relief = self.each(one.bulge) * (1 - np.sqrt(np.maximum(1 - self.q, 0)))
        else:
            relief = self.each(one.bulge) * self.sx**2 + self.each(one.slope[0]) * px + self.each(one.slope[1]) * py
        if np.any(one.nose):
            # A nose is some 30 mm wide and 45 long, its tip 14 mm below the ellipse's middle.
            relief = relief - self.each(one.nose) * np.exp(-((px / 14) ** 2) - ((py - 8) / 24) ** 2)
        return relief

    def is_solid(self) -> np.ndarray:
        if not np.any(self.one.eye_holes):
            return np.ones(len(self.px), bool)
        # Eyes lie 22 mm above the middle of a face, 31.5 to each side.
        return (np.abs(self.px) - 31.5) ** 2 + (self.py + 22) ** 2 > self.each(self.one.eye_holes) ** 2

    def temperature(self) -> np.ndarray:
        """Degrees Celsius."""
        one, px, py = self.one, self.px, self.py
        t = self.each(one.temperature) - self.each(one.fall) * self.q
        if np.any(one.tip):
            t = t - self.each(one.tip) * np.exp(-((px / 16) ** 2) - ((py - 12) / 16) ** 2)
        if np.any(one.glasses):
            t = t - self.each(one.glasses) * ((np.abs(py + 22) < 20) & (np.abs(px) < 65))
        if np.any(one.beard):
            t = t - self.each(one.beard) * (py > 30)
        if np.any(one.hair):
            t = t - self.each(one.hair) * (py < -65)
        if np.any(one.spots):
            phase = self.each(one.spot_phase)
            t = t + self.each(one.spots) * np.sin(px / 28 + phase) * np.cos(py / 35 + 2.3 * phase)
        return t


@dataclass
class Shown:
    """The face in the picture. Paths are N x F, others N."""

    x: np.ndarray  # of the middle of the eyes
    y: np.ndarray
    z: np.ndarray
    eyes: np.ndarray  # mm between the eyes, on the paper or screen if it's shown on one
    head: tuple  # yaw, pitch, roll in radians: of the head, or of the head in the picture
    held: tuple  # the same of what is held
    depth: np.ndarray  # 1: a head; 0: flat
    bend: np.ndarray  # mm that a sheet bends back at the eyes
    closed: np.ndarray  # lids, 0 to 1
    openness: np.ndarray  # of open eyes
    pulse: np.ndarray  # relative change of green
    gain: np.ndarray  # relative change of all colours
    albedo: np.ndarray  # N x 3
    lit: np.ndarray  # share of the door's light that falls on the face
    own_light: np.ndarray  # brightness of a screen, as a share of a well exposed face; 0: it only reflects
    sharpness: np.ndarray
    moire: np.ndarray  # decibels
    antispoof: np.ndarray  # logit
    stir: np.ndarray  # grey levels of change in the face beside noise and movement
    behind: np.ndarray  # grey levels of change around the face beside noise
    mouth: np.ndarray  # N x F, mm that the corners of the mouth have moved down: talk, smiles
    seen: np.ndarray = field(default=None)  # N x F: whether there is a face in the picture at all
