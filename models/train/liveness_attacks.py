"""The twelve kinds of attack, each as varied as an attacker can make it: what is shown, what is warm, what stands where.

Each function gives what `liveness_people.live` gives. An attacker is a warm body too: they stand behind, beside or below what they
hold, and where a finger is asked for they give their own.
"""

import numpy as np

from liveness_people import NIR_TONES, SKIN_EMISSIVITY, Body, door, head_surface, live, skin_colour
from liveness_people import OPENNESS, expression, skin_temperature, stand, torso_surface, uneven_light, wall_surface
from liveness_scene import EYES, Scene, Shown, Surface
from liveness_signals import blinks, pulses, smooth

KINDS_OF_PRINTS = ("print_flat", "print_curved", "print_cut_eyes")
PAPER_EMISSIVITY, GLASS_EMISSIVITY, PLASTIC_EMISSIVITY = 0.93, 0.90, 0.93


def _held(random, body: Body, eyes: np.ndarray, still: np.ndarray) -> Body:
    """A picture whose eyes are `eyes` mm apart, brought so near that the face looks as large as a person's; `still`: N, on a
    stand and not in a hand."""
    n, frames = body.x.shape
    uniform = lambda low, high: random.uniform(low, high, (n, 1)).astype(np.float32)  # noqa: E731
    scale = (eyes / EYES)[:, None] * uniform(0.75, 1.3)
    shakes = np.where(still[:, None], 0.05, 1) * uniform(0.3, 1.6)
    hand = [smooth(random, n, frames, 0.8) * uniform(2, 9) + smooth(random, n, frames, 6) * uniform(0.1, 0.6) for _ in range(3)]
    z0 = body.z.min(1, keepdims=True)
    # On a stand nobody walks up; in a hand the picture comes as its holder does.
    coming = (body.z - z0) * np.where(still[:, None], 0.0, 0.6)
    z = np.maximum(z0 * scale, 80) + coming + hand[2] * shakes
    x = body.x.mean(1, keepdims=True) * scale + hand[0] * shakes
    y = body.y.mean(1, keepdims=True) * scale + hand[1] * shakes
    tilt = [uniform(-0.25, 0.25) + smooth(random, n, frames, 0.7) * shakes * uniform(0.005, 0.06) for _ in range(2)]
    roll = uniform(-0.06, 0.06) + smooth(random, n, frames, 0.7) * shakes * uniform(0.003, 0.03)
    return Body(x, y, z, (tilt[0], tilt[1], roll), body.seen)


def _still_head(random, n: int, frames: int) -> tuple:
    """Pose of the head in a photo."""
    path = lambda spread: np.broadcast_to(random.normal(0, spread, (n, 1)), (n, frames)).astype(np.float32)  # noqa: E731
    return path(0.12), path(0.1), path(0.04)


def _picture(random, held: Body, eyes, place, medium: str, head=None, closed=None, pulse=None, depth=0.0, bend=0.0) -> Shown:
    """What the camera sees of a picture of a face on `medium`: paper, screen, or an object's own skin, which has the form of a
    head and turns about a neck as one."""
    n, frames = held.x.shape
    uniform = lambda low, high: random.uniform(low, high, n).astype(np.float32)  # noqa: E731
    flat, is_screen = np.zeros((n, frames), np.float32), medium == "screen"
    turned = held.head
    if medium == "skin":
        head, turned = held.head, (flat,) * 3
    tone = random.integers(0, 6, n)
    albedo = skin_colour(random, tone) * np.exp(random.normal(0, 0.12, (n, 3))).astype(np.float32)
    gain = uneven_light(random, held.x, held.head, uniform(0.2, 1.6))
    if is_screen:
        # Rows and columns of a screen beat with the camera's only where it resolves them; its light beats with the shutter.
        moire = random.normal(12.5, 1.8, n) + np.where(random.random(n) < 0.6, uniform(1, 14), 0)
        gain = 0.3 * gain + smooth(random, n, frames, 8) * uniform(0.0003, 0.006)[:, None]
    else:
        moire = random.normal(12.5, 1.9, n) + np.where(random.random(n) < 0.3, uniform(0.5, 7), 0)
    known = {"paper": (-1.8, 1.9), "screen": (-1.5, 2.0), "skin": (0.6, 2.2)}[medium]
    return Shown(
        *(held.x, held.y, held.z),
        eyes=eyes,
        head=_still_head(random, n, frames) if head is None else head,
        held=turned,
        depth=np.broadcast_to(depth, (n,)).astype(np.float32),
        bend=np.broadcast_to(bend, (n,)).astype(np.float32),
        closed=flat if closed is None else closed,
        openness=uniform(*OPENNESS),
        pulse=flat if pulse is None else pulse,
        gain=gain,
        albedo=albedo,
        lit=place.backlit * uniform(0.8, 1.2),
        own_light=uniform(0.5, 1.9) if is_screen else np.zeros(n, np.float32),
        sharpness=uniform(0.07, 0.45),
        moire=moire,
        antispoof=random.normal(*known, n),
        stir=flat,
        behind=place.busy + uniform(0, 1.2),
        mouth=flat,
        seen=held.seen,
    )


def _sheet(random, held: Body, eyes, temperature, emissivity: float, rho, medium_mm, bulge=0.0, **more) -> Surface:
    """A sheet about the face in it. `medium_mm`: half width and half height, N each."""
    slope = (np.tan(held.head[0]), np.tan(held.head[1]))
    full = np.full(len(eyes), emissivity, np.float32)
    y = held.y + (0.35 * eyes)[:, None]
    return Surface("sheet", held.x, y, held.z, *medium_mm, temperature, rho, full, bulge=bulge, slope=slope, **more)


def _holder(random, held: Body, place, sheet_down, is_there, behind=(90, 520), aside=(0, 380)) -> list[Surface]:
    """Torso, head and a hand of who holds something: beside it, above it or hidden behind it."""
    n = len(place.air)
    uniform = lambda low, high: random.uniform(low, high, (n, 1)).astype(np.float32)  # noqa: E731
    side = np.where(random.random((n, 1)) < 0.5, -1, 1) * uniform(*aside)
    z = held.z + uniform(*behind)
    y = held.y + np.where(uniform(0, 1) < 0.3, uniform(-330, -120), uniform(-60, 60))
    flat = np.zeros_like(held.x)
    body = Body(held.x + side, y, z, (flat,) * 3, held.seen)
    skin = skin_temperature(random, place)
    nir = NIR_TONES[random.integers(0, 6, n)]
    head = head_surface(random, body, skin, place.air, nir)
    head.is_there = is_there
    hand_side = np.where(random.random((n, 1)) < 0.5, -0.7, 0.7) * uniform(0, 1) * 80
    hand = Surface(
        *("ellipsoid", held.x + hand_side, held.y + (sheet_down + 25)[:, None], held.z - 8),
        across=np.full(n, 42, np.float32),
        down=np.full(n, 50, np.float32),
        bulge=np.full(n, 25, np.float32),
        temperature=place.air + random.uniform(0.3, 0.8, n).astype(np.float32) * (34 - place.air),
        rho=nir,
        emissivity=np.full(n, SKIN_EMISSIVITY, np.float32),
        is_there=is_there,
    )
    return [torso_surface(random, body, place.air, is_there), head, hand]


def _finger(random, n, frames, recordings):
    return pulses(random, n, frames, recordings)


def _paper_rho(random, n):
    """Inks of dyes let near infrared through to white paper; toner and pigment black swallow it."""
    return random.uniform(0.35, 0.9, n).astype(np.float32)


def prints(kind: str):
    def made(random, n, frames, recordings, arrive=None, leave=None):
        place = door(random, n)
        body = stand(random, n, frames, place, recordings, arrive, leave)
        uniform = lambda low, high: random.uniform(low, high, n).astype(np.float32)  # noqa: E731
        curved, cut = kind == "print_curved", kind == "print_cut_eyes"
        eyes = uniform(58, 70) if cut else uniform(34, 92)
        still = (random.random(n) < 0.15) & (not cut)
        held, scale = _held(random, body, eyes, still), eyes / EYES
        whole = random.random(n) < 0.65
        across = scale * np.where(whole, uniform(85, 190), uniform(72, 85))
        down = scale * np.where(whole, uniform(110, 240), uniform(105, 120))
        # A bent sheet's edges lie as far back as a head's do: radius 70 to 250 mm.
        bulge = across**2 / (2 * uniform(70, 250)) if curved else across**2 / (2 * uniform(600, 9000))
        bulge = bulge.clip(0, 110)
        # A sheet takes the air's temperature within a minute; from a coat, before a breathing mouth, or in the sun it is warmer.
        warmer = np.where(random.random(n) < 0.35, uniform(0.5, 7), 0) + np.where(cut, uniform(0, 3.5), 0)
        temperature = place.air + random.normal(0, 0.5, n) + warmer
        holes = uniform(8, 16) if cut else 0.0
        sheet = _sheet(
            random, held, eyes, temperature, PAPER_EMISSIVITY, _paper_rho(random, n), (across, down), bulge, eye_holes=holes
        )
        there = ~still * 1.0
        near = {"behind": (15, 60), "aside": (0, 12)} if cut else {}
        holder = _holder(random, held, place, down, there, **near)
        if cut:
            holder[1].y = held.y + 22
        bend = bulge * (EYES / 2 * scale / across) ** 2
        lids = blinks(random, n, frames, uniform(0.1, 0.6)) * uniform(0.4, 1)[:, None] if cut else None
        shown = _picture(random, held, eyes, place, "paper", closed=lids, bend=bend)
        surfaces = [wall_surface(place, frames), *holder, sheet]
        return place, Scene(surfaces, place.air), shown, _finger(random, n, frames, recordings)

    return made


def screens(kind: str):
    def made(random, n, frames, recordings, arrive=None, leave=None):
        place = door(random, n)
        body = stand(random, n, frames, place, recordings, arrive, leave)
        uniform = lambda low, high: random.uniform(low, high, n).astype(np.float32)  # noqa: E731
        low, high, half_wide, half_high = {
            "phone": (14, 34, (33, 40), (68, 84)),
            "tablet": (30, 70, (75, 110), (100, 150)),
            "screen_video": (35, 95, (140, 190), (90, 180)),
        }[kind]
        eyes = uniform(low, high)
        still = random.random(n) < {"phone": 0.1, "tablet": 0.2, "screen_video": 0.6}[kind]
        held = _held(random, body, eyes, still)
        plays = (random.random(n) < 0.75) | (kind == "screen_video")
        # Back light, processor and battery: 2 to 14 K above the air, more after an hour of video or in the sun.
        temperature = place.air + uniform(1.5, 12) + np.where(random.random(n) < 0.12, uniform(2, 12), 0)
        rho = uniform(0.03, 0.25)
        spots = uniform(0.2, 2.5)
        down = uniform(*half_high)
        size = (uniform(*half_wide), down)
        sheet = _sheet(random, held, eyes, temperature, GLASS_EMISSIVITY, rho, size, spots=spots, spot_phase=uniform(0, 6))
        person = stand(random, n, frames, place, recordings, arrive=np.full(n, -9))
        head = tuple(
            np.where(plays[:, None], moving, still_one)
            for moving, still_one in zip(person.head, _still_head(random, n, frames))
        )
        lids = blinks(random, n, frames, uniform(0.1, 0.6)) * plays[:, None]
        # Compression keeps a part of the pulse's colour.
        heart = pulses(random, n, frames, recordings) * (plays * 0.0022 * uniform(0.05, 1.0))[:, None]
        shown = _picture(random, held, eyes, place, "screen", head=head, closed=lids, pulse=heart.astype(np.float32))
        # The head in a video moves within it.
        moves = (eyes / EYES * plays)[:, None]
        shown.x = shown.x + (person.x - person.x.mean(1, keepdims=True)) * moves
        shown.y = shown.y + (person.y - person.y.mean(1, keepdims=True)) * moves
        talks = plays * uniform(0, 1.5)
        shown.stir = talks[:, None] * np.abs(smooth(random, n, frames, 2.5))
        shown.mouth = (expression(random, n, frames) * (0.4 * plays + talks)[:, None]).astype(np.float32)
        holder = _holder(random, held, place, down, ~still * 1.0)
        return (
            place,
            Scene([wall_surface(place, frames), *holder, sheet], place.air),
            shown,
            _finger(random, n, frames, recordings),
        )

    return made


def masks(kind: str):
    """Worn before a face: the wearer's neck, ears and hair stay warm, their eyes blink."""

    def made(random, n, frames, recordings, arrive=None, leave=None):
        place = door(random, n)
        body = stand(random, n, frames, place, recordings, arrive, leave)
        uniform = lambda low, high: random.uniform(low, high, n).astype(np.float32)  # noqa: E731
        skin = skin_temperature(random, place)
        if kind == "mask_paper":
            # Air lies between: the paper stays nearer to the air than to the skin.
            temperature, spots, share = place.air + uniform(0.1, 0.6) * (skin - place.air), uniform(0.2, 1.5), PAPER_EMISSIVITY
        elif kind == "mask_latex":
            # It touches the skin in places and warms within minutes; what breath and gaps leave are patches.
            temperature, spots, share = skin - uniform(0.08, 0.55) * np.maximum(skin - place.air, 4), uniform(0.3, 2), 0.95
        else:
            # An attacker who knows of the sensor heats it, and may meet a face's temperature; pads and lamps heat unevenly.
            temperature, spots, share = uniform(27, 39), uniform(0.3, 3.5), 0.94
        nose_free = kind == "mask_paper" and random.random() < 0.5
        mask = Surface(
            *("ellipsoid", body.x, body.y + 22, body.z - 22),
            across=uniform(66, 88),
            down=uniform(96, 125),
            bulge=uniform(45, 100) if kind == "mask_paper" else uniform(75, 108),
            nose=uniform(2, 14) if nose_free else uniform(8, 20),
            temperature=temperature.astype(np.float32),
            rho=_paper_rho(random, n) if kind == "mask_paper" else uniform(0.35, 0.8),
            emissivity=np.full(n, share, np.float32),
            fall=uniform(-0.5, 1.5),
            tip=uniform(0, 1.2),
            spots=spots,
            spot_phase=uniform(0, 6),
            eye_holes=np.where(random.random(n) < 0.7, uniform(6, 15), 0),
            hair=np.where(random.random(n) < 0.4, uniform(0.1, 0.6) * np.abs(temperature - place.air), 0),
        )
        wearer = head_surface(random, body, skin, place.air, NIR_TONES[random.integers(0, 6, n)])
        wearer.across, wearer.down = wearer.across + uniform(-4, 8), wearer.down + uniform(-5, 12)
        torso = torso_surface(random, body, place.air)
        lids = blinks(random, n, frames, uniform(0.1, 0.6)) * uniform(0.3, 1)[:, None]
        eyes = uniform(54, 72)
        worn = Body(body.x, body.y, body.z, body.head, body.seen)
        depth = uniform(0.4, 1.1) if kind == "mask_paper" else uniform(0.75, 1.2)
        shown = _picture(random, worn, eyes, place, "skin", closed=lids, depth=depth)
        # Skin below latex moves it; paper stays stiff, and so do most masks that are heated.
        loose = {"mask_paper": 0.1, "mask_latex": 0.7, "mask_heated": 0.5}[kind] * uniform(0, 1)
        shown.stir = loose[:, None] * np.abs(smooth(random, n, frames, 2.5))
        shown.mouth = (expression(random, n, frames) * (0.8 * loose)[:, None]).astype(np.float32)
        return (
            place,
            Scene([wall_surface(place, frames), torso, wearer, mask], place.air),
            shown,
            _finger(random, n, frames, recordings),
        )

    return made


def mannequin(random, n, frames, recordings, arrive=None, leave=None):
    """A doll's or a shop's head, carried or on a stand, out of a car or the sun, some with a moved neck."""
    place = door(random, n)
    body = stand(random, n, frames, place, recordings, arrive, leave)
    uniform = lambda low, high: random.uniform(low, high, n).astype(np.float32)  # noqa: E731
    eyes, still = uniform(50, 72), random.random(n) < 0.35
    held = _held(random, body, eyes, still)
    nods = (~still * uniform(0, 1.5))[:, None]
    held.head = tuple(h * nods for h in held.head)
    temperature = place.air + random.normal(0, 1, n) + np.where(random.random(n) < 0.25, uniform(1, 15), 0)
    figure = head_surface(random, held, temperature.astype(np.float32), temperature - 0.5, uniform(0.3, 0.85))
    figure.emissivity = np.full(n, PLASTIC_EMISSIVITY, np.float32)
    # Frost cools a face's nose and cheeks below its brow, and nothing below the air.
    figure.tip, figure.fall = 0.0, 0.0
    figure.spots, figure.spot_phase = uniform(0, 0.8), uniform(0, 6)
    holder = _holder(random, held, place, np.full(n, 120, np.float32), ~still * 1.0, behind=(150, 550), aside=(60, 420))
    stump = torso_surface(random, held, temperature.astype(np.float32), (random.random(n) < 0.5) * 1.0)
    shown = _picture(random, held, eyes, place, "skin", depth=uniform(0.7, 1.25))
    return (
        place,
        Scene([wall_surface(place, frames), stump, *holder, figure], place.air),
        shown,
        _finger(random, n, frames, recordings),
    )


def photo_warm_person(random, n, frames, recordings, arrive=None, leave=None):
    """A photo before a warm person, so that sensors see partly or wholly the person: a cut-out at their face, or a small one
    close to the camera that sensors beside it look past."""
    place, scene, person, heart = live(random, n, frames, recordings, arrive, leave)
    uniform = lambda low, high: random.uniform(low, high, n).astype(np.float32)  # noqa: E731
    close = random.random(n) < 0.3
    eyes = np.where(close, uniform(8, 22), uniform(45, 75)).astype(np.float32)
    # The photo covers the face on the line from the camera; a close one is as large as the attacker judges the face to look.
    share = np.where(close, eyes / EYES * uniform(0.8, 1.25), uniform(0.75, 0.99))[:, None].astype(np.float32)
    hand = [smooth(random, n, frames, 0.8) * random.uniform(1, 6, (n, 1)) for _ in range(3)]
    steady = np.where(close, 0.25, 1)[:, None]
    x, y, z = (p * share + h * steady for p, h in zip((person.x, person.y, person.z), hand))
    aside = (uniform(-30, 30) * ~close)[:, None]
    held = Body(x + aside, y, np.maximum(z, 60).astype(np.float32), tuple(0.5 * h for h in person.head), person.seen)
    scale = eyes / EYES
    across, down = scale * uniform(55, 110), scale * uniform(75, 140)
    temperature = place.air + np.where(close, uniform(0, 4), uniform(0, 0.5) * np.maximum(20 - place.air, 6))
    sheet = _sheet(
        random, held, eyes, temperature, PAPER_EMISSIVITY, _paper_rho(random, n), (across, down), across**2 / uniform(200, 9000)
    )
    screen = random.random() < 0.25
    shown = _picture(random, held, eyes, place, "screen" if screen else "paper")
    return place, Scene([*scene.surfaces, sheet], place.air), shown, heart


def sensor_replay(random, n, frames, recordings, arrive=None, leave=None):
    """Sensors' lines are fed with what was recorded when somebody alive stood there, while the camera is shown something
    else. The recording begins when the attacker starts it: it is out of step with the picture."""
    place, scene, person, heart = live(random, n, frames, recordings, leave=leave)
    makers = [*map(prints, KINDS_OF_PRINTS), screens("tablet"), screens("screen_video"), mannequin, masks("mask_latex")]
    _, _, shown, _ = makers[random.integers(len(makers))](random, n, frames, recordings, arrive, leave)
    # Two in three hold the picture where the recorded face was, as large as that, to some per cent.
    matched = random.random((n, 1)) < 0.67
    middle = lambda path: np.median(path, axis=1, keepdims=True)  # noqa: E731
    nearer = shown.eyes[:, None] / EYES * np.exp(random.normal(0, 0.08, (n, 1)))
    z = middle(person.z) * nearer
    for axis in ("x", "y"):
        wanted = middle(getattr(person, axis)) * nearer + random.normal(0, 12, (n, 1)) * nearer
        path = getattr(shown, axis)
        setattr(shown, axis, (path + np.where(matched, wanted - middle(path), 0)).astype(np.float32))
    shown.z = (shown.z + np.where(matched, z - middle(shown.z), 0)).clip(60).astype(np.float32)
    return place, scene, shown, heart


MAKERS = {
    "live": live,
    **{kind: prints(kind) for kind in KINDS_OF_PRINTS},
    **{kind: screens(kind) for kind in ("phone", "tablet", "screen_video")},
    **{kind: masks(kind) for kind in ("mask_paper", "mask_latex", "mask_heated")},
    **{"mannequin": mannequin, "photo_warm_person": photo_warm_person, "sensor_replay": sensor_replay},
}
