"""Portraits of people whom a face model made up: the face from the model, the rest drawn.

A portrait is what a door's camera would see: head and shoulders, the face in the upper middle. Hair, ears, neck, clothes
and background are drawn in plain shapes and softened; only where the mesh lies does the model say what a pixel is.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from data import CROP
from facemodel import SIDE, FaceModel, extended, rasterise

WIDTH, HEIGHT = 240, 320  # pixels of a portrait
ZOOM = 1.6  # pixels of a portrait to one of a crop: eyes 56 pixels apart
CENTRE = (WIDTH / 2, 158.0)  # where the middle of the mesh comes to lie
# Rings of the mesh: the outline of the face, clockwise from the top of the forehead, in MediaPipe's numbering.
OUTLINE = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
OUTLINE += (152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)


@dataclass
class Look:
    """What of a person the model doesn't say; it stays from picture to picture."""

    hair: tuple[int, int, int]  # RGB
    length: float  # of the hair: 0 is shaved, 1 reaches the shoulders
    parting: float  # -1 to 1: from which side the fringe falls
    cloth: tuple[int, int, int]


@dataclass
class Pose:
    """How a person stands and is lit in one picture: angles in degrees, light as a ratio."""

    yaw: float = 0.0  # to the right of the picture
    pitch: float = 0.0  # down
    roll: float = 0.0  # clockwise
    gain: float = 1.0  # of the light as a whole
    side: float = 0.0  # by how much, in e-foldings a face's width, the light falls off to the right
    shift: tuple[float, float] = (0.0, 0.0)  # pixels
    zoom: float = 1.0
    wall: tuple[int, int, int] = field(default=(150, 152, 150))

    @staticmethod
    def draw(random: np.random.Generator, most: float) -> "Pose":
        """`most`: the largest turn, in degrees."""
        yaw, pitch, roll = random.uniform(-1, 1, 3) * (most, most / 2, most / 3)
        walls = ((150, 152, 150), (120, 130, 140), (168, 158, 140), (96, 104, 100))
        shift = tuple(float(x) for x in random.uniform(-6, 6, 2))
        light = float(random.uniform(0.85, 1.1)), float(random.uniform(-0.35, 0.35))
        turns, zoom = (float(yaw), float(pitch), float(roll)), float(random.uniform(0.95, 1.05))
        return Pose(*turns, *light, shift, zoom, walls[random.integers(4)])


def projected(shape: np.ndarray, pose: Pose) -> np.ndarray:
    """V x 3: the vertices turned, in pixels of the portrait."""
    yaw, pitch, roll = np.radians([pose.yaw, pose.pitch, pose.roll])
    about_y = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    centred = shape - (shape.max(0) + shape.min(0)) / 2
    turned = centred @ (about_z @ about_x @ about_y).T * ZOOM * pose.zoom
    return turned + (CENTRE[0] + pose.shift[0], CENTRE[1] + pose.shift[1], 0)


def portrait(model: FaceModel, coefficients: np.ndarray, look: Look, pose: Pose, random: np.random.Generator) -> np.ndarray:
    """HEIGHT x WIDTH x 3 bytes, RGB."""
    points = projected(model.shape(coefficients), pose)
    face, mask = _face(model, coefficients, points)
    scene = _background(pose.wall, random)
    skin = extended(face, mask)
    outline = points[list(OUTLINE), :2]
    scene = _body(scene, skin, outline, look, random)
    # The mesh ends at the hairline and before the ears; what lies around it goes on from it and fades.
    soft = cv2.GaussianBlur(cv2.erode(mask, np.ones((5, 5))), (0, 0), 3)[..., None]
    scene = scene * (1 - soft) + face * soft
    scene = _fringe(scene, outline, look, random)
    return _camera(scene, pose, random)


def _face(model: FaceModel, coefficients: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    texture = model.texture(coefficients)
    texture = texture + 0.6 * (texture - cv2.GaussianBlur(texture, (0, 0), 1.5))  # means are soft
    rows, columns, owner, weights = rasterise(points[:, :2], model.triangles, points[:, 2], (HEIGHT, WIDTH))
    corners = model.mean_shape[model.triangles[owner], :2] * SIDE / CROP
    at = (corners * weights[..., None]).sum(1).astype(np.float32)
    maps = np.full((HEIGHT, WIDTH, 2), -1, np.float32)
    maps[rows, columns] = at
    face = cv2.remap(texture, maps[..., 0], maps[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[rows, columns] = 1
    return face.clip(0, 255), mask


def _background(wall, random: np.random.Generator) -> np.ndarray:
    coarse = random.normal(0, 7, (4, 3, 1)).astype(np.float32)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)[..., None] + np.array(wall, np.float32)


def _paint(scene: np.ndarray, colour: np.ndarray, polygon: np.ndarray, soft: float) -> np.ndarray:
    """The scene with a polygon of a colour, or of another picture's pixels, on it."""
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    mask = cv2.GaussianBlur(mask, (0, 0), soft)[..., None]
    return scene * (1 - mask) + np.asarray(colour, np.float32) * mask


def _smooth(polygon: np.ndarray) -> np.ndarray:
    """Chaikin's corner cutting, three times."""
    for _ in range(3):
        after = np.roll(polygon, -1, 0)
        polygon = np.stack([0.75 * polygon + 0.25 * after, 0.25 * polygon + 0.75 * after], 1).reshape(-1, 2)
    return polygon


def _ellipse(centre, half, start=0.0, end=360.0) -> np.ndarray:
    angles = np.radians(np.linspace(start, end, 48))
    return np.stack([centre[0] + half[0] * np.cos(angles), centre[1] + half[1] * np.sin(angles)], 1)


def _hair(look: Look, random: np.random.Generator) -> np.ndarray:
    """Strands: noise drawn out along the fall of the hair."""
    noise = random.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    strands = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.8, sigmaY=9)
    return np.array(look.hair, np.float32) * (1 + 1.1 * strands[..., None])


def _measures(outline: np.ndarray) -> tuple[float, float, float, float]:
    """The middle of the face from left to right, its top, width and height."""
    (left, top), (right, chin) = outline.min(0), outline.max(0)
    return (left + right) / 2, top, right - left, chin - top


def _body(scene, skin, outline, look: Look, random) -> np.ndarray:
    """Hair behind the head, shoulders, neck, ears and the head itself."""
    middle, top, width, height = _measures(outline)
    chin, hair = top + height, _hair(look, random)
    if look.length > 0.1:
        crown = _ellipse((middle, top + 0.30 * height), (0.60 * width, 0.58 * height), 180, 360)
        reach = top + height * (0.45 + 0.95 * max(0, look.length - 0.3))
        fall = np.array([[0.62, 0], [0.35, 8], [-0.35, 8], [-0.62, 0]]) * (width, 1) + (middle, reach)
        scene = _paint(scene, hair, np.concatenate([crown, fall]), 2.0)
    cloth = np.array(look.cloth, np.float32) * (1 + 0.1 * np.linspace(1, -1, HEIGHT, dtype=np.float32)[:, None, None])
    base = chin + 0.16 * height
    shoulders = [[middle - 0.28 * width, base], [middle - 0.75 * width, base + 14], [middle - 1.0 * width, HEIGHT + 8]]
    shoulders = np.array([*shoulders, *[[2 * middle - x, y] for x, y in reversed(shoulders)]])
    shade = skin * 0.72
    neck = [[middle - 0.30 * width, chin - 0.25 * height], [middle - 0.29 * width, base + 6], [middle, base + 22]]
    neck = np.array([*neck, *[[2 * middle - x, y] for x, y in reversed(neck)]])
    scene = _paint(scene, cloth, shoulders, 2.0)
    scene = _paint(scene, shade, _smooth(neck), 2.0)
    if look.length < 0.6:
        for side in (-1, 1):
            ear = _ellipse((middle + side * 0.51 * width, top + 0.50 * height), (0.055 * width, 0.13 * height))
            scene = _paint(scene, skin * 0.85, ear, 1.2)
    crown_of_skin = _ellipse((middle, top + 0.42 * height), (0.515 * width, 0.56 * height), 180, 360)
    jaw = outline[outline[:, 1] > top + 0.45 * height]
    jaw = jaw[np.argsort(-jaw[:, 0])]  # from the right, where the crown's arc ends
    return _paint(scene, skin, np.concatenate([crown_of_skin, jaw]), 2.0)


def _fringe(scene, outline, look: Look, random) -> np.ndarray:
    """The hair over the forehead, and its sides."""
    if look.length <= 0.1:
        return scene
    middle, top, width, height = _measures(outline)
    hair = _hair(look, random)
    outer = _ellipse((middle, top + 0.30 * height), (0.58 * width, 0.56 * height), 180, 360)
    side = 0.42 if look.length < 0.6 else 0.75
    lean = look.parting * 0.12 * width
    inner = [[0.53, side], [0.46, 0.26], [0.26, 0.05], [0, -0.01], [-0.26, 0.05], [-0.46, 0.26], [-0.53, side]]
    inner = np.array(inner) * (width, height) + (middle, top)
    inner[2:5, 0] += lean
    return _paint(scene, hair, _smooth(np.concatenate([outer, inner])), 1.6)


def _camera(scene, pose: Pose, random: np.random.Generator) -> np.ndarray:
    across = (np.arange(WIDTH, dtype=np.float32) - WIDTH / 2) / (0.5 * WIDTH)
    light = pose.gain * np.exp(-pose.side * across)
    grain = random.normal(0, 2.0, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return (scene * light[None, :, None] + grain).clip(0, 255).astype(np.uint8)
