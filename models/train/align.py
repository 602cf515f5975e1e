"""Faces found and aligned: `python align.py PHOTOS CROPS --detector YUNET.onnx` makes the crops that encoder.py trains on.

PHOTOS is a folder of pictures, nested as you like (a folder a person, say); CROPS gets the same folders, and a crop its file's
whole name: 1.jpg.png. A picture's largest face near its middle is taken. A video counts as a folder of its frames, two a second.
"""

import argparse
import math
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data import CROP, PICTURES, called_a_picture, decoded
from nets import FACE

VIDEOS = {".avi", ".mkv", ".mov", ".mp4"}

# Where ArcFace (Deng et al. 2019) and its kin put eyes, nose and corners of the mouth in 112x112 pixels.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)


class Detector:
    """YuNet (Wu, Peng & Yu 2023), run by OpenCV; the network is a file of one's own."""

    def __init__(self, path: Path, threshold: float = 0.6):
        self.yunet = cv2.FaceDetectorYN.create(str(path), "", (320, 320), threshold)

    def landmarks(self, picture: np.ndarray) -> np.ndarray | None:
        """Five points of the face that a BGR picture is of, the person's right eye first, which is at the left.

        That's the largest, less twice the squared distance from the middle, as insightface's scripts have it.
        """
        self.yunet.setInputSize((picture.shape[1], picture.shape[0]))
        _, faces = self.yunet.detect(picture)
        if faces is None:
            return None
        middle = np.array(picture.shape[1::-1]) / 2

        def prominence(face):
            x, y, width, height = face[:4]
            return width * height - 2 * ((np.array([x + width / 2, y + height / 2]) - middle) ** 2).sum()

        return max(faces, key=prominence)[4:14].reshape(5, 2)

    def consensus(self, picture: np.ndarray, longer_sides=(400, 500, 640, 800)) -> np.ndarray | None:
        """The median over several sizes and their mirror images: slower, and a third nearer to a better detector's."""
        found = []
        for side in longer_sides:
            scale = side / max(picture.shape[:2])
            resized = cv2.resize(picture, None, fx=scale, fy=scale)
            plain, mirrored = self.landmarks(resized), self.landmarks(np.ascontiguousarray(resized[:, ::-1]))
            if plain is not None:
                found.append(plain / scale)
            if mirrored is not None:
                mirrored[:, 0] = resized.shape[1] - 1 - mirrored[:, 0]
                found.append(mirrored[[1, 0, 2, 4, 3]] / scale)
        return np.median(found, axis=0) if found else None


def similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The 2x3 matrix of rotation, scale and shift that brings `points` nearest to `targets`, by least squares.

    In complex numbers a similarity is z → a·z + b, so this is a line fitted (Umeyama 1991 has the general case).
    """
    z, w = (p[:, 0] + 1j * p[:, 1] for p in (points.astype(float), targets.astype(float)))
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred)
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def shrunk(picture: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture and the 2x3 matrix from it to a view that shows it much smaller, both as cv2.warpAffine wants them: averaged first, as
    a camera does. (warpAffine samples points; INTER_AREA is INTER_LINEAR to it.) What is hardly shrunk stays as it is."""
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale >= 0.6:
        return picture, matrix
    smaller = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    ratio = np.array(picture.shape[1::-1]) / smaller.shape[1::-1]
    # Pixel centres: 0 of the smaller picture lies in the middle of the pixels that it averages.
    return smaller, np.column_stack([matrix[:, :2] * ratio, matrix[:, 2] + matrix[:, :2] @ ((ratio - 1) / 2)])


def align(picture: np.ndarray, points: np.ndarray, side: int = FACE) -> np.ndarray:
    """The face upright in `side` pixels, the middle 112 of which are ArcFace's."""
    matrix = similarity(points, TEMPLATE + (side - FACE) / 2)
    return cv2.warpAffine(*shrunk(picture, matrix), (side, side), borderMode=cv2.BORDER_REFLECT_101)


def frames(path: Path):
    """A picture's one, or a video's two a second, with the name that each one's crop gets."""
    if path.suffix.lower() in PICTURES:
        yield f"{path.name}.png", decoded(path)
        return
    video = cv2.VideoCapture(str(path))
    every = max(1, round((video.get(cv2.CAP_PROP_FPS) or 30) / 2))
    index = 0
    while video.grab():
        if index % every == 0:
            yield f"{path.name}-{index:06}.png", video.retrieve()[1]
        index += 1


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("crops", type=Path)
    parser.add_argument("--detector", type=Path, required=True, help="YuNet's ONNX file")
    args = parser.parse_args(given)
    detector, without = Detector(args.detector), 0
    paths = sorted(p for p in args.photos.rglob("*") if called_a_picture(p, PICTURES | VIDEOS))
    for path in tqdm(paths, unit="file", disable=None):
        folder = args.crops / path.parent.relative_to(args.photos)
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in frames(path):
            points = None if picture is None else detector.consensus(picture)
            if points is None:
                without += 1
            else:
                cv2.imwrite(str(folder / name), align(picture, points, CROP))
    print(f"{without} pictures without a face")


if __name__ == "__main__":
    main()
