"""People before a door: where they stand and how they move, how warm they are, what they wear, how their skin looks.

Sources of the figures are named where they stand. What is drawn is the width of what doors meet, not its likelihood: dark
skin, glasses, beards, wheelchairs and frost are as frequent as they need to be for the head to learn them.
"""

from dataclasses import dataclass

import numpy as np

from liveness_scene import EYES, Scene, Shown, Surface
from liveness_signals import STEP, Recordings, blinks, pulses, smooth, sway

CORE = 37.0  # degrees Celsius
SKIN_EMISSIVITY = 0.98  # Steketee 1973, 2 to 14 um, of any colour
CLOTH_EMISSIVITY = 0.93
# The skin's temperature lies between core and air as the resistances do: (37 - 33.5) / (37 - 22) indoors; wind has more.
SKIN_SHARE = (0.235, 0.03)
# Reflectance of Fitzpatrick's types I to VI at 620, 540, 460 nm and 940 nm, read off published skin spectra (melanin absorbs
# little at 940 nm, so that tones lie close together there).
TONES = np.array(
    [[0.62, 0.44, 0.34], [0.57, 0.38, 0.28], [0.50, 0.31, 0.22], [0.41, 0.24, 0.16], [0.30, 0.16, 0.10], [0.20, 0.10, 0.065]],
    np.float32,
)
# Of open eyes, as the channel has it. A level of texture tells cameras and light apart, and not the living from pictures of them: both
# are given the same, wide enough for two real clips (.52 to .66). Where people's range was narrower, the head took its edge for proof.
OPENNESS = (0.4, 1.5)
NIR_TONES = np.array([0.62, 0.60, 0.58, 0.56, 0.52, 0.47], np.float32)


@dataclass
class Place:
    """A door and its weather; all fields are N."""

    air: np.ndarray  # degrees Celsius at the door
    wall: np.ndarray  # degrees of what is behind
    wall_mm: np.ndarray
    wall_rho: np.ndarray
    log_lux: np.ndarray
    sun_nir: np.ndarray  # near infrared from the sun or lamps, share of full scale
    backlit: np.ndarray  # share of the door's light that reaches faces
    hfov: np.ndarray  # of the camera, degrees, as it really is
    busy: np.ndarray  # grey levels of change behind people


def door(random: np.random.Generator, n: int) -> Place:
    uniform = lambda low, high: random.uniform(low, high, n).astype(np.float32)  # noqa: E731
    outdoors = random.random(n) < 0.5
    air = np.where(outdoors, uniform(-15, 34), uniform(15, 28)).astype(np.float32)
    # A wall has the air's temperature, but the sun warms some, and a clear sky or a heater behind glass changes others.
    wall = air + random.normal(0, 1.2, n) + np.where(random.random(n) < 0.12, uniform(3, 18), 0)
    wall = wall - np.where(outdoors & (random.random(n) < 0.15), uniform(2, 10), 0)
    log_lux = np.where(outdoors, uniform(0.3, 4.8), uniform(1.0, 3.0))
    sun = np.where(outdoors, 10 ** (log_lux - 5), 10 ** (log_lux - 4.3)) * uniform(0.3, 1.5)
    backlit = np.where(random.random(n) < 0.15, uniform(0.08, 0.5), uniform(0.6, 1.1))
    busy = np.where(random.random(n) < 0.25, uniform(0.5, 6), uniform(0, 0.5))
    return Place(
        air, wall.astype(np.float32), uniform(1500, 6000), uniform(0.2, 0.8), log_lux, sun, backlit, uniform(55, 92), busy
    )


@dataclass
class Body:
    """How somebody stands: paths of the middle of the eyes, head's turns, and whether they are there."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    head: tuple
    seen: np.ndarray


def stand(random, n: int, frames: int, place: Place, recordings: Recordings, arrive=None, leave=None) -> Body:
    """`arrive`, `leave`: N, seconds at which they have come to stand and at which they go; drawn if not given."""
    uniform = lambda low, high: random.uniform(low, high, (n, 1)).astype(np.float32)  # noqa: E731
    time = np.arange(frames, dtype=np.float32)[None] * STEP
    arrive = uniform(-5, 0.9) if arrive is None else np.asarray(arrive, np.float32).reshape(-1, 1)
    z = uniform(260, 1050)
    # Somebody in a wheelchair or a child looks up from below.
    y = np.where(uniform(0, 1) < 0.12, uniform(100, 350), uniform(-120, 120)) * z / 900
    moving = sway(random, n, frames, recordings)
    lively = np.exp(random.normal(0, 0.5, (n, 1))).astype(np.float32)
    coming = np.logaddexp(0, 4 * (arrive - time)) / 4 * uniform(500, 1300)
    z = z + coming + moving[2] * lively * uniform(4, 16)
    x = uniform(-90, 90) + coming * uniform(-0.15, 0.15) + moving[0] * lively * uniform(4, 14)
    y = y + moving[1] * lively * uniform(2, 7)
    turning = np.where(uniform(0, 1) < 0.2, uniform(2, 4), 1)
    yaw = uniform(-0.22, 0.22) + smooth(random, n, frames, 0.6) * lively * turning * uniform(0.015, 0.07)
    pitch = uniform(-0.2, 0.2) + smooth(random, n, frames, 0.6) * lively * uniform(0.01, 0.05)
    roll = uniform(-0.08, 0.08) + smooth(random, n, frames, 0.5) * lively * uniform(0.006, 0.03)
    seen = (time > arrive - uniform(0.2, 0.8)) & (z < 2200)
    if leave is not None:
        leave = np.asarray(leave, np.float32).reshape(-1, 1)
        going = np.maximum(0, time - leave)
        z, x, seen = z + 900 * going, x + 500 * going, seen & (going < 0.3)
    return Body(x, y, z, (yaw, pitch, roll), seen)


def skin_temperature(random, place: Place) -> np.ndarray:
    """N degrees: in balance with the air at the door, or still with the frost that they come from, minutes ago."""
    n = len(place.air)
    from_frost = (random.random(n) < 0.15) & (place.air > 10)
    air = np.where(from_frost, random.uniform(-15, 12, n), place.air)
    share = random.normal(*SKIN_SHARE, n).clip(0.12, 0.36)
    recovered = np.where(from_frost, random.uniform(0.0, 0.8, n), 1.0)
    skin = CORE - share * (CORE - air)
    settled = CORE - share * (CORE - place.air)
    return (skin + (settled - skin) * np.where(from_frost, recovered, 0)).astype(np.float32)


def head_surface(random, body: Body, skin: np.ndarray, air: np.ndarray, nir: np.ndarray, covered=True) -> Surface:
    """A head about its eyes: an ellipsoid with a nose; glasses, beard, scarf, hat and hair as bands of other temperature."""
    n = len(skin)
    uniform = lambda low, high: random.uniform(low, high, n).astype(np.float32)  # noqa: E731
    wears = lambda share: random.random(n) < share  # noqa: E731
    colder = np.maximum(skin - air, 0.5)
    glasses = np.where(wears(0.3), uniform(0.3, 0.8) * colder, 0)
    beard = np.where(wears(0.25), uniform(0.1, 0.35) * colder, 0)
    # A scarf or a medical mask hides the mouth; it is warmer than air for the breath in it.
    beard = np.where(wears(0.1) & covered, uniform(0.4, 0.8) * colder, beard)
    hair = np.where(wears(0.85), uniform(0.25, 0.85) * colder, 0)
    return Surface(
        *("ellipsoid", body.x, body.y + 22, body.z - 18),
        across=uniform(68, 84),
        down=uniform(100, 125),
        bulge=uniform(80, 105),
        nose=uniform(10, 20),
        temperature=skin,
        rho=nir,
        emissivity=np.full(n, SKIN_EMISSIVITY, np.float32),
        # What sticks out cools most: cheeks and nose of cold faces are further below the forehead (as far as frostbite
        # begins there), and come back last.
        fall=uniform(0.2, 1.2) * (1 + colder / 15) + uniform(0.1, 0.5) * np.maximum(31 - skin, 0),
        tip=uniform(0.0, 0.28) * colder + uniform(0.2, 0.7) * np.maximum(31 - skin, 0),
        glasses=glasses,
        beard=beard,
        hair=hair,
    )


def torso_surface(random, body: Body, air: np.ndarray, is_there=1.0) -> Surface:
    n = len(air)
    uniform = lambda low, high: random.uniform(low, high, n).astype(np.float32)  # noqa: E731
    # Cloth lies between skin and air; a winter coat hardly leaves the air's temperature.
    cloth = air + uniform(0.05, 0.5) * np.maximum(33 - air, 1)
    return Surface(
        *("ellipsoid", body.x, body.y + 460, body.z + uniform(20, 110)[:, None]),
        across=uniform(190, 270),
        down=np.full(n, 320, np.float32),
        bulge=uniform(60, 140),
        temperature=cloth,
        rho=uniform(0.1, 0.8),
        emissivity=np.full(n, CLOTH_EMISSIVITY, np.float32),
        is_there=is_there,
    )


def wall_surface(place: Place, frames: int) -> Surface:
    n = len(place.air)
    zero, far = np.zeros((n, frames), np.float32), np.broadcast_to(place.wall_mm[:, None], (n, frames)).astype(np.float32)
    one = np.ones(n, np.float32)
    return Surface("wall", zero, zero, far, one, one, place.wall, place.wall_rho, 0.93 * one)


def shown_person(random, body: Body, place: Place, tone: np.ndarray, recordings: Recordings, heart=None) -> Shown:
    """What the camera sees of somebody alive."""
    n, frames = body.x.shape
    uniform = lambda low, high: random.uniform(low, high, n).astype(np.float32)  # noqa: E731
    heart = pulses(random, n, frames, recordings) if heart is None else heart
    # Green light on a face changes by .2 to 1 % from trough to peak with each beat (Verkruysse et al. 2008); melanin hides more
    # than half of it, and cold skin has little blood.
    strength = 0.0022 * np.exp(random.normal(0, 0.45, n)) * (1 - 0.11 * tone)
    strength = strength * np.where(place.air < 8, uniform(0.2, 0.9), 1)
    talks = np.where(random.random(n) < 0.25, uniform(0.5, 3), uniform(0, 0.6))
    return Shown(
        *(body.x, body.y, body.z),
        eyes=random.normal(EYES, 3.4, n).clip(52, 74).astype(np.float32),
        head=body.head,
        held=(np.zeros((n, frames), np.float32),) * 3,
        depth=uniform(0.8, 1.2),
        bend=np.zeros(n, np.float32),
        closed=blinks(random, n, frames, uniform(0.1, 0.6)),
        openness=uniform(*OPENNESS),
        pulse=(strength[:, None] * heart).astype(np.float32),
        gain=uneven_light(random, body.x, body.head, uniform(0.2, 1.2)),
        albedo=skin_colour(random, tone),
        lit=place.backlit,
        own_light=np.zeros(n, np.float32),
        sharpness=uniform(0.1, 0.5),
        moire=random.normal(12.5, 1.8, n),
        antispoof=random.normal(2.6, 1.5, n),
        stir=(talks[:, None] * np.abs(smooth(random, n, frames, 2.5))).astype(np.float32),
        behind=place.busy,
        mouth=(expression(random, n, frames) * (0.4 + talks)[:, None]).astype(np.float32),
        seen=body.seen,
    )


def expression(random, n: int, frames: int) -> np.ndarray:
    """N x F millimetres that a mouth's corners move: slowly as a face's mood does, faster with speech."""
    slow = smooth(random, n, frames, 0.4) * random.uniform(0.2, 1.2, (n, 1))
    return slow + smooth(random, n, frames, 3.0) * random.uniform(0.2, 0.8, (n, 1))


def skin_colour(random, tone: np.ndarray) -> np.ndarray:
    """N x 3 of tones 0 to 5, with what make-up, a tan and a warm lamp do."""
    base = TONES[tone] * np.exp(random.normal(0, 0.1, (len(tone), 1)))
    return (base * np.exp(random.normal(0, 0.08, (len(tone), 3)))).astype(np.float32)


def uneven_light(random, x: np.ndarray, turns: tuple, strength: np.ndarray) -> np.ndarray:
    """Light that isn't the same everywhere: a face that moves 100 mm or turns 0.2 rad is a tenth darker or brighter."""
    n, frames = x.shape
    along = random.normal(0, 1, (3, n, 1)).astype(np.float32)
    moved = along[0] * (x - x.mean(1, keepdims=True)) / 1000 + along[1] * turns[0] / 2 + along[2] * turns[1] / 2
    flicker = smooth(random, n, frames, 3.0) * random.uniform(0.0005, 0.004, (n, 1)).astype(np.float32)
    return (strength[:, None] * moved + flicker).astype(np.float32)


def live(
    random, n: int, frames: int, recordings: Recordings, arrive=None, leave=None
) -> tuple[Place, Scene, Shown, np.ndarray]:
    """The place, what sensors meet, what the camera sees, and the wave of the finger that touches."""
    place = door(random, n)
    body = stand(random, n, frames, place, recordings, arrive, leave)
    tone = random.integers(0, 6, n)
    skin = skin_temperature(random, place)
    heart = pulses(random, n, frames, recordings)
    nir = NIR_TONES[tone] * random.uniform(0.85, 1.15, n).astype(np.float32)
    surfaces = [wall_surface(place, frames), torso_surface(random, body, place.air)]
    surfaces.append(head_surface(random, body, skin, place.air, nir))
    return place, Scene(surfaces, place.air), shown_person(random, body, place, tone, recordings, heart), heart
