"""A morphable model of faces, and people whom it makes up: `python facemodel.py CROPS MODEL.npz --mesh MESH.onnx`.

Each crop's 468 mesh vertices are brought to one pose, and its pixels to the mean shape, so that a pixel is the same spot
of skin in everybody (Cootes, Edwards & Taylor 2001, "Active appearance models"; Blanz & Vetter 1999). Shape and texture
together vary along principal components, each of which is a mean over all crops, so a random point in their space is a
face that nobody has. How pictures of one person differ is measured in the same space, from folders that hold a person
each.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial import Delaunay
from tqdm import tqdm

from consensus import MESH_SIDE, _session, warp, window
from data import CROP, called_a_picture, opened

SIDE = 160  # pixels of the texture, which shows a crop: 1.25 times finer than it
MAX_TURN = 20.0  # degrees: of faces that are turned further, the mesh sees too little
SHAPE_WEIGHT = 40.0  # brings a pixel's displacement and a colour's difference to one scale, so that both are heard


@dataclass
class FaceModel:
    """K components over V vertices and a texture of SIDE x SIDE pixels, of which those in the mesh count."""

    mean_shape: np.ndarray  # V x 3, in pixels of a crop, the third away from the camera
    mean_texture: np.ndarray  # P x 3, RGB
    inside: np.ndarray  # SIDE x SIDE: which pixels the texture's P are
    triangles: np.ndarray  # T x 3 vertices
    shapes: np.ndarray  # K x V x 3
    textures: np.ndarray  # K x P x 3
    deviations: np.ndarray  # K
    within: np.ndarray  # K x K: covariance of one person's pictures
    crops: int  # that the components are of

    def save(self, path: Path) -> None:
        np.savez(path, **vars(self))

    @staticmethod
    def load(path: Path) -> "FaceModel":
        with np.load(path) as found:
            return FaceModel(**{name: found[name] for name in found.files})

    def shape(self, coefficients: np.ndarray) -> np.ndarray:
        return self.mean_shape + np.tensordot(coefficients, self.shapes, 1)

    def texture(self, coefficients: np.ndarray) -> np.ndarray:
        """SIDE x SIDE x 3; outside of the mesh it goes on as at its border."""
        image = np.zeros((SIDE, SIDE, 3), np.float32)
        image[self.inside] = (self.mean_texture + np.tensordot(coefficients, self.textures, 1)).clip(0, 255)
        return extended(image, self.inside.astype(np.float32))

    def person(self, random: np.random.Generator, spread: float) -> np.ndarray:
        """Coefficients of somebody new, `spread` times as far from the mean as people are; none beyond 2.5 deviations."""
        return random.standard_normal(len(self.deviations)).clip(-2.5, 2.5) * self.deviations * spread

    def mood(self, random: np.random.Generator, share: float) -> np.ndarray:
        """What is added to a person's coefficients on another day."""
        return random.multivariate_normal(np.zeros(len(self.within)), self.within, method="eigh") * share


def extended(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fills what lies outside of a mask with means of what lies inside nearby, first the nearest (normalised convolution,
    Knutsson & Westin 1993)."""
    filled, known = image * mask[..., None], mask.copy()
    for sigma in (2, 4, 8, 16, 32, 64):
        weight = cv2.GaussianBlur(mask, (0, 0), sigma)
        mean = cv2.GaussianBlur(image * mask[..., None], (0, 0), sigma) / np.maximum(weight, 1e-6)[..., None]
        new = (weight > 0.02) * (1 - known)
        filled += mean * new[..., None]
        known += new
    return filled


def rasterise(points: np.ndarray, triangles: np.ndarray, depth: np.ndarray, shape: tuple[int, int]):
    """For each pixel the triangle that shows there, -1 for none, and its weights of that triangle's corners."""
    owner = np.full(shape, -1, np.int32)
    for index in np.argsort(-depth[triangles].mean(1)):
        cv2.fillConvexPoly(owner, np.round(points[triangles[index]] * 16).astype(np.int32), int(index), shift=4)
    rows, columns = np.nonzero(owner >= 0)
    a, b, c = points[triangles[owner[rows, columns]]].transpose(1, 0, 2)
    area = _cross(b - a, c - a)
    area = np.where(abs(area) < 1e-6, 1e-6, area)
    at = np.stack([columns, rows], 1)
    second, third = _cross(at - a, c - a) / area, _cross(b - a, at - a) / area
    return rows, columns, owner[rows, columns], np.stack([1 - second - third, second, third], 1)


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def rigid(points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`points` (V x 3) turned, scaled and shifted onto `target`, and the rotation (Umeyama 1991)."""
    p, t = points - points.mean(0), target - target.mean(0)
    u, sizes, v = np.linalg.svd(p.T @ t)
    signs = np.array([1, 1, np.sign(np.linalg.det(u @ v))])
    rotation = (u * signs) @ v
    return p @ rotation * ((sizes * signs).sum() / (p * p).sum()) + target.mean(0), rotation


class Mesh:
    """MediaPipe's face mesh, all of it."""

    def __init__(self, path: Path):
        self.session = _session(path)

    def vertices(self, crop: np.ndarray) -> np.ndarray:
        """V x 3 in pixels of a 128x128 BGR crop; the third lies behind the picture."""
        matrix = window(((CROP - 1) / 2, 70), 144, MESH_SIDE)
        view = warp(crop, matrix, MESH_SIDE)[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
        mesh = self.session.run(None, {"image": view})[1].reshape(-1, 3) * MESH_SIDE
        return np.concatenate([mesh[:, :2] - matrix[:, 2], mesh[:, 2:]], 1) / matrix[0, 0]


def sharpness(crop: np.ndarray) -> float:
    """Of the face: the Laplacian's deviation over that of the grey levels."""
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)[40:112, 32:96].astype(np.float32)
    return float(cv2.Laplacian(grey, cv2.CV_32F).std() / max(grey.std(), 1))


def turned(shape: np.ndarray) -> float:
    """Degrees by which a face of V x 3 vertices is turned to a side: one that looks ahead is as deep on its right as on its left; a
    tilted one is no matter."""
    right, left = shape[[33, 61, 127]].mean(0), shape[[263, 291, 356]].mean(0)
    return float(np.degrees(np.arctan2(left[2] - right[2], left[0] - right[0])))


def collect(paths: list[Path], mesh: Mesh, least_sharp: float):
    """Crops that are sharp, coloured and not turned far, their vertices, and their paths."""
    crops, shapes, kept, reference = [], [], [], None
    for path, crop in opened(tqdm(paths, unit="crop", disable=None), len(paths)):
        if sharpness(crop) < least_sharp or crop.std(2).mean() < 4:
            continue
        shape = mesh.vertices(crop)
        reference = shape if reference is None else reference
        if abs(turned(shape)) > MAX_TURN:
            continue
        crops.append(crop[..., ::-1])
        shapes.append(shape)
        kept.append(path)
    return crops, np.array(shapes), kept


def textures(crops, shapes: np.ndarray, mean: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """N x P x 3: each crop's pixels where the mean shape has them; and which pixels these are."""
    scale = SIDE / CROP
    rows, columns, owner, weights = rasterise(mean[:, :2] * scale, triangles, mean[:, 2], (SIDE, SIDE))
    inside = np.zeros((SIDE, SIDE), bool)
    inside[rows, columns] = True
    found = np.empty((len(crops), len(rows), 3), np.float32)
    for index, (crop, shape) in enumerate(zip(crops, shapes)):
        at = (shape[triangles[owner], :2] * weights[..., None]).sum(1).astype(np.float32)
        # OpenCV's maps are pictures of less than 32768 pixels on a side.
        show = lambda part: cv2.remap(crop, part[None], None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)[0]  # noqa: E731
        found[index] = np.concatenate([show(part) for part in np.array_split(at, 4)])
    return found, inside


def build(crops, shapes: np.ndarray, paths: list[Path], components: int) -> FaceModel:
    mean = shapes.mean(0)
    for _ in range(3):
        posed = np.stack([rigid(shape, mean)[0] for shape in shapes])
        mean = posed.mean(0)
    mean = (mean + mirrored(mean)) / 2
    triangles = Delaunay(mean[:, :2]).simplices.astype(np.int32)
    pixels, inside = textures(crops, shapes, mean, triangles)
    # Half of how bright a picture is counts as light, the other half as skin.
    level = pixels.mean((1, 2), keepdims=True)
    pixels += 0.5 * (level.mean() - level)
    mean_texture = pixels.mean(0)
    data = np.empty((len(crops), mean_texture.size + mean.size), np.float32)
    data[:, : mean_texture.size] = (pixels - mean_texture).reshape(len(crops), -1)
    data[:, mean_texture.size :] = (posed - mean).reshape(len(crops), -1) * SHAPE_WEIGHT
    values, vectors = np.linalg.eigh(data @ data.T)
    chosen = np.argsort(-values)[:components]
    basis = (data.T @ vectors[:, chosen] / np.sqrt(values[chosen])).T  # K x (P·3 + V·3), orthonormal
    coefficients = data @ basis.T
    cut = mean_texture.size
    return FaceModel(
        mean_shape=mean,
        mean_texture=mean_texture,
        inside=inside,
        triangles=triangles,
        shapes=basis[:, cut:].reshape(components, -1, 3) / SHAPE_WEIGHT,
        textures=basis[:, :cut].reshape(components, -1, 3).astype(np.float32),
        deviations=coefficients.std(0),
        within=_within(coefficients, paths),
        crops=len(crops),
    )


def mirrored(shape: np.ndarray) -> np.ndarray:
    """The mirror image, each vertex taking the place of the one nearest to it."""
    other = shape * (-1, 1, 1) + (2 * shape[:, 0].mean(), 0, 0)
    nearest = np.linalg.norm(shape[:, None] - other[None], axis=2).argmin(1)
    return other[nearest]


def _within(coefficients: np.ndarray, paths: list[Path]) -> np.ndarray:
    """Covariance of what is left when each person's mean is taken off, over folders of 4 to 50 crops."""
    folders = {}
    for index, path in enumerate(paths):
        folders.setdefault(path.parent, []).append(index)
    left, freedom = [], 0
    for indices in folders.values():
        if 4 <= len(indices) <= 50:
            left.append(coefficients[indices] - coefficients[indices].mean(0))
            freedom += len(indices) - 1
    if not left:
        raise SystemExit("no folder holds 4 to 50 usable crops of one person: how one person's pictures differ is not known")
    left = np.concatenate(left)
    return left.T @ left / freedom


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("model", type=Path)
    add("crops", type=Path, nargs="+", help="folders of aligned 128x128 crops; a folder of 4 to 50 in them is a person")
    add("--mesh", type=Path, required=True, help="the face mesh's ONNX file, 192x192")
    add("--count", type=int, default=1300, help="crops of each folder that are looked at, drawn at random")
    add("--components", type=int, default=150)
    add("--sharp", type=float, default=0.45, help="the least sharpness of a crop")
    add("--seed", type=int, default=1)
    args = parser.parse_args(given)
    cv2.setNumThreads(1)
    paths = []
    for folder in args.crops:
        found = sorted(path for path in folder.rglob("*") if called_a_picture(path))
        paths += [found[index] for index in np.random.default_rng(args.seed).permutation(len(found))[: args.count]]
    crops, shapes, kept = collect(paths, Mesh(args.mesh), args.sharp)
    model = build(crops, shapes, kept, min(args.components, len(kept) - 1))
    model.save(args.model)
    share = np.trace(model.within) / (model.deviations**2).sum()
    print(f"{len(kept)} of {len(paths)} crops, {len(model.deviations)} components; {share:.2f} of the variance within a person")


if __name__ == "__main__":
    main()
