"""Smoke tests of the demo people's recipe on a made-up mesh and crops: `python -m unittest test_people` (seconds)."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from skipping import skipped

try:
    import cv2
    import numpy as np
    __import__("scipy")
except ModuleNotFoundError as missing:
    raise skipped(missing) from None

import facemodel
import outline
import people
import portrait
from data import CROP

VERTICES, PEOPLE, EACH = 468, 6, 4


def made_up_model() -> facemodel.FaceModel:
    """An oval mesh whose width and colour differ from person to person, and a little from picture to picture."""
    random = np.random.default_rng(0)
    angles, radii = random.uniform(0, 2 * np.pi, VERTICES), np.sqrt(random.uniform(0, 0.9, VERTICES))
    ring = list(portrait.OUTLINE)
    angles[ring], radii[ring] = np.linspace(-np.pi / 2, 1.5 * np.pi, len(ring), endpoint=False), 1
    flat = np.stack([np.cos(angles) * radii, np.sin(angles) * radii], 1)
    crops, shapes, paths = [], [], []
    for person in range(PEOPLE):
        width, colour = random.uniform(30, 40), random.uniform(90, 200, 3)
        for picture in range(EACH):
            depth = 25 * (flat**2).sum(1, keepdims=True)
            shape = np.concatenate([flat * (width + random.normal(0, 0.3), 50) + (64, 70), depth], 1)
            crop = np.full((CROP, CROP, 3), colour + random.normal(0, 3, 3)) + random.normal(0, 2, (CROP, CROP, 1))
            crops.append(crop.clip(0, 255).astype(np.uint8))
            shapes.append(shape)
            paths.append(Path(f"person{person}") / f"{picture}.png")
    return facemodel.build(crops, np.array(shapes), paths, components=6)


class Model(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = made_up_model()

    def test_one_persons_pictures_differ_less_than_people_do(self):
        self.assertLess(np.trace(self.model.within), 0.3 * (self.model.deviations**2).sum())

    def test_what_is_saved_is_what_is_loaded(self):
        with tempfile.TemporaryDirectory() as folder:
            self.model.save(Path(folder) / "model.npz")
            loaded = facemodel.FaceModel.load(Path(folder) / "model.npz")
        coefficients = self.model.person(np.random.default_rng(1), 1.0)
        np.testing.assert_allclose(loaded.texture(coefficients), self.model.texture(coefficients), atol=1e-3)
        np.testing.assert_allclose(loaded.shape(coefficients), self.model.shape(coefficients), atol=1e-6)

    def test_no_folder_of_one_person_is_an_error_that_says_so(self):
        with self.assertRaisesRegex(SystemExit, "one person"):
            facemodel._within(np.zeros((3, 2)), [Path("a/1"), Path("b/1"), Path("c/1")])

    def test_a_rigid_motion_is_undone(self):
        random = np.random.default_rng(2)
        target, (turn, _) = random.normal(0, 30, (50, 3)), np.linalg.qr(random.normal(0, 1, (3, 3)))
        turn *= np.linalg.det(turn)  # a rotation, no reflection
        found, _ = facemodel.rigid(1.7 * target @ turn + (5, -3, 2), target)
        np.testing.assert_allclose(found, target, atol=1e-6)

    def test_each_pixel_is_its_triangles_corners_weighted(self):
        points = np.array([[2.0, 3.0], [30.0, 5.0], [12.0, 28.0]])
        rows, columns, owner, weights = facemodel.rasterise(points, np.array([[0, 1, 2]]), np.zeros(3), (32, 32))
        self.assertGreater(len(rows), 200)
        self.assertEqual(set(owner), {0})
        np.testing.assert_allclose(weights @ points, np.stack([columns, rows], 1), atol=1e-9)

    def test_outside_of_a_mask_a_picture_goes_on_as_at_its_border(self):
        image, mask = np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.float32)
        mask[20:40, 20:40], image[20:40, 20:40] = 1, (10, 120, 200)
        filled = facemodel.extended(image, mask)
        np.testing.assert_allclose(filled[[22, 30, 30], [22, 10, 50]], [(10, 120, 200)] * 3, rtol=1e-3)


class Cast(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        made_up_model().save(cls.root / "model.npz")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_portraits_follow_from_the_model_and_the_seeds_alone(self):
        people.main(["draw", str(self.root / "model.npz"), str(self.root / "out")])
        drawn = {path.name: path.read_bytes() for path in (self.root / "out").iterdir()}
        expected = {f"{name}-{n}.jpg" for name, person in people.CAST.items() for n in range(1, person.pictures + 1)}
        self.assertEqual(set(drawn), expected)
        self.assertEqual(len(set(drawn.values())), len(drawn), "no two are the same")
        again = people.pictures_of(facemodel.FaceModel.load(self.root / "model.npz"), "bela")
        for number, picture in enumerate(again, 1):
            self.assertEqual(picture.shape, (portrait.HEIGHT, portrait.WIDTH, 3))
            encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, people.JPEG_QUALITY])[1]
            self.assertEqual(encoded.tobytes(), drawn[f"bela-{number}.jpg"])

    def test_the_look_alike_stands_between_two_of_the_cast(self):
        model = facemodel.FaceModel.load(self.root / "model.npz")
        emil, emma = (people.coefficients(model, name) for name in ("emil", "emma"))
        for between, expected in ((0.0, emil), (1.0, emma)):
            np.testing.assert_allclose(people.coefficients(model, "look-alike", between=between), expected)

    def test_a_visit_that_tells_another_story_is_a_complaint(self):
        def holds(stem, *scores):
            with contextlib.redirect_stdout(io.StringIO()):
                return not people._visit(stem, np.array([scores, scores]), ["ada", "emil", "emma"], 0.45, 0.05)

        self.assertTrue(holds("ada-2", 0.8, 0.2, 0.1))
        self.assertFalse(holds("ada-2", 0.2, 0.8, 0.1), "somebody else is recognised")
        self.assertFalse(holds("ada-2", 0.5, 0.2, 0.1), "barely above the threshold")
        self.assertFalse(holds("ada-2", 0.8, 0.73, 0.1), "hardly ahead of the runner-up")
        self.assertTrue(holds("stranger-1", 0.2, 0.3, 0.1))
        self.assertFalse(holds("stranger-1", 0.2, 0.4, 0.1), "the stranger is nearly known")
        self.assertTrue(holds("look-alike-1", 0.2, 0.7, 0.68))
        self.assertFalse(holds("look-alike-1", 0.2, 0.7, 0.6), "the look-alike is told apart")
        self.assertFalse(holds("look-alike-1", 0.7, 0.69, 0.3), "of others than the story says")


class Crops(unittest.TestCase):
    """Folders of crops in which one file is no picture."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root, random = Path(folder.name), np.random.default_rng(0)
        for number in range(8):
            path = self.root / "crops" / f"{number // 4}" / f"{number % 4}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), random.integers(0, 256, (CROP, CROP, 3), np.uint8))
        (self.root / "crops" / "0" / "3.png").write_bytes(b"half a pict")
        self.paths = sorted((self.root / "crops").rglob("*.png"))

    def test_a_face_model_is_made_of_the_others(self):
        class Mesh:
            def vertices(self, crop):
                return np.column_stack([np.arange(VERTICES), np.zeros(VERTICES), np.zeros(VERTICES)])

        with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()):
            crops, shapes, kept = facemodel.collect(self.paths, Mesh(), 0.0)
        self.assertIn("1 of 8 files are no pictures", said.getvalue())
        self.assertEqual((len(crops), len(shapes), kept), (7, 7, [path for path in self.paths if path.parts[-2:] != ("0", "3.png")]))

    def test_the_cast_is_compared_with_the_others(self):
        class Daemon:
            def face(self, picture):
                return picture

            def encode(self, face):
                found = face[:8, :8, 0].ravel() - 127.5
                return found / np.linalg.norm(found)

        for number, name in enumerate(people.CAST):
            cv2.imwrite(str(self.root / f"{name}-1.jpg"), np.full((16, 16, 3), 20 * number, np.uint8))
        with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()):
            people.nearest(Daemon(), self.root, [self.root / "crops"], 0)
        self.assertIn("1 of 8 files are no pictures", said.getvalue())
        self.assertIn("nearest of 7 crops to each of 1 strangers", said.getvalue())


class Outline(unittest.TestCase):
    def test_an_outline_of_a_face_that_looks_to_a_side_is_even_once_its_mirror_image_is_added(self):
        around = 2 * np.pi * np.arange(len(portrait.OUTLINE)) / len(portrait.OUTLINE)
        leaning = np.stack([58 + 40 * np.sin(around), 68 - 46 * np.cos(around)], 1)
        made, middle = outline.even(leaning), outline.TEMPLATE[:2, 0].mean()
        np.testing.assert_allclose(made[1:18, 0] - middle, middle - made[:18:-1, 0], atol=1e-3)
        np.testing.assert_allclose(made[1:18, 1], made[:18:-1, 1], atol=1e-3)
        self.assertAlmostEqual(float(np.ptp(made[:, 0])), 80, places=3)


if __name__ == "__main__":
    unittest.main()
