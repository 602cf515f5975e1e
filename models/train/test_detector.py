"""Smoke tests of the detector's recipe, on pictures and a teacher that they make themselves: `python -m unittest test_detector`."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

try:
    import cv2
    import numpy as np
    import onnx
    import onnxruntime
    import torch
except ImportError as error:
    reason = f"{error}: `pip install -r models/train/requirements.txt` lets these tests run"
    print(reason, file=sys.stderr, flush=True)
    raise unittest.SkipTest(reason) from None

sys.path.insert(0, str(Path(__file__).parent))
import checkpoints
import consensus
import detector as recipe
import detector_evaluate as evaluate
import exposure
import hard
import relight
import scenes
import turned
from anew import leaves_the_shipped_one_alone
from align import TEMPLATE, similarity
from data import CROP
from detector_export import multiplications, to_onnx
from detector_loss import BACKGROUND, alone_loss, targets
from detector_nets import Detector, cells, decode, grid
from label import MIRRORED, Labels, Views

BATCH = 2


def random_detector() -> Detector:
    """Random weights under BatchNorm statistics of random pictures, so that a signal gets through to the end."""
    torch.manual_seed(0)
    made = Detector()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        made(torch.rand(4, 3, 64, 64) * 255)
    return made.eval()


def toy_yunet(path: Path) -> None:
    """A network laid out as YuNet's file is, with random weights: what the recipe asks of a teacher's layout, and no more."""
    random = np.random.default_rng(0)
    nodes, weights = [], []

    def conv(source, inputs, outputs, kernel=1, stride=1, groups=1, relu=False, name=""):
        name = name or f"t{len(nodes)}"
        weight = random.normal(0, (2 / (inputs // groups * kernel**2)) ** 0.5, (outputs, inputs // groups, kernel, kernel))
        for value, role in ((weight, "weight"), (np.zeros(outputs), "bias")):
            weights.append(onnx.numpy_helper.from_array(value.astype(np.float32), f"{name}.{role}"))
        pads = [kernel // 2] * 4
        shape = {"kernel_shape": [kernel] * 2, "pads": pads, "strides": [stride] * 2, "group": groups}
        nodes.append(onnx.helper.make_node("Conv", [source, f"{name}.weight", f"{name}.bias"], [name], **shape))
        return node("Relu", [name]) if relu else name

    def node(kind, inputs, **attributes):
        name = f"t{len(nodes)}"
        nodes.append(onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def unit(source, inputs, outputs, relu=True):
        return conv(conv(source, inputs, outputs), outputs, outputs, 3, 1, outputs, relu)

    def pool(source):
        return node("MaxPool", [source], kernel_shape=[2, 2], strides=[2, 2])

    x = pool(unit(conv("input", 3, 16, 3, 2, relu=True), 16, 16))
    x = unit(unit(x, 16, 16), 16, 32)
    third = unit(unit(pool(unit(unit(x, 32, 32), 32, 64)), 64, 64), 64, 64)
    fourth = unit(unit(pool(third), 64, 64), 64, 64)
    fifth = unit(unit(pool(fourth), 64, 64), 64, 64)
    weights.append(onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"))
    x, necks = None, []
    for level in (fifth, fourth, third):
        if x:
            x = node("Resize", [x, "", "twice"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        x = unit(node("Add", [level, x]) if x else level, 64, 64)
        necks.append(x)
    outputs = []
    for numbers in (1, 4, 1, 10):
        outputs += [unit(neck, 64, numbers, relu=False) for neck in necks[::-1]]
    source = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, "h", "w"])
    results = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    graph = onnx.helper.make_graph(nodes, "toy", [source], results, weights)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)]), path)


class Recipe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(2)
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        random = np.random.default_rng(0)
        boxes, names = [], [f"{index}.png" for index in range(6)]
        for folder, name, size in [("photos", n, 150) for n in names] + [("crops", n, CROP) for n in names[:3]]:
            coarse = random.integers(0, 256, (12, 12, 3), np.uint8)
            (cls.root / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(cls.root / folder / name), cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))
        boxes = np.tile(np.array([[40, 30, 100, 110]], np.float32), (6, 1))
        points = (TEMPLATE * 0.6 + (38, 35)).astype(np.float32)
        cls.labels = Labels(names, np.arange(7), boxes, np.tile(points, (6, 1, 1)), np.full(6, 0.9, np.float32))
        cls.labels.save(cls.root / "labels.npz")
        toy_yunet(cls.root / "teacher.onnx")
        five = TEMPLATE + random.normal(0, 1, (3, 1, 5, 2))
        consensus.save(cls.root / "crops.npz", {name: (*some, *some) for name, some in zip(names, five)})
        cls.lamps = relight.library(6)
        cls.stock = cls.new_stock()
        cls.stock.add_crops(cls.root / "crops", cls.root / "crops.npz", 3, 1)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def new_stock(cls) -> scenes.Stock:
        return scenes.Stock(cls.root / "photos", Labels.load(cls.root / "labels.npz"), 1, kept_back=0.34)

    def args(self, name: str, *more) -> list[str]:
        where = ["--photos", self.root / "photos", "--labels", self.root / "labels.npz", "--faces", self.root / "crops"]
        where += ["--face-labels", self.root / "crops.npz"]
        where += ["--teacher", self.root / "teacher.onnx", "--work", self.root / name, "--checkpoints", self.root / name / "small"]
        sizes = ["--sides", "64", "96", "--batch", BATCH, "--forced", 2 * BATCH, "--warm-up", "2", "--cool-down", "2", "--log-steps", "1"]
        return [str(a) for a in (*where, *sizes, "--threads", "2", "--precision", "float", *more)]

    def train(self, name: str, *more) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            recipe.main(self.args(name, *more))
        return said.getvalue()

    def test_a_run_that_was_stopped_and_resumed_equals_an_undisturbed_one(self):
        never = ("--cool-down", "1")
        self.train("whole", "--pictures", 4 * BATCH, *never)
        self.train("parts", "--pictures", 3 * BATCH, *never)
        (self.root / "parts" / ".detector.state.pt.1").write_bytes(b"half a file")  # as a kill leaves it behind
        self.train("parts", "--pictures", 4 * BATCH, *never)
        whole, parts = (checkpoints.load(self.root / name / "detector.state.pt") for name in ("whole", "parts"))
        self.assertEqual(whole["step"], 4)
        for part in ("student", "average"):
            for name, value in whole[part].items():
                self.assertTrue(torch.equal(value, parts[part][name]), f"{part} {name}")

    def test_a_fresh_machine_goes_on_from_the_small_checkpoint(self):
        self.train("first", "--pictures", 2 * BATCH)
        (self.root / "first" / "detector.state.pt").unlink()
        resumed = recipe.Recipe(recipe.arguments(self.args("first")))
        self.assertEqual((resumed.pictures, resumed.step), (2 * BATCH, 2))
        loaded, _ = recipe.load_small(resumed.small_path)
        for name, value in resumed.student.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(value, loaded.state_dict()[name])

    def test_what_begins_anew_leaves_the_shipped_checkpoint_alone(self):
        self.train("shipping", "--pictures", 2 * BATCH)
        shipped = self.root / "shipping" / "small" / "detector.pt"
        args = self.args("anew", "--anew", "--pictures", BATCH)
        leaves_the_shipped_one_alone(self, recipe, shipped, args, BATCH)

    def test_crops_without_labels_are_refused_before_anything_is_read(self):
        args = self.args("unlabelled")
        del args[args.index("--face-labels") : args.index("--face-labels") + 2]
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as said:
            recipe.main(args)
        self.assertIn("--faces needs --face-labels", said.getvalue())

    def test_photos_that_are_added_leave_the_others_on_their_side(self):
        fewer = Labels.of(self.labels.names[1::2], [(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0))] * 3)
        trained = [
            {labels.names[index] for index in scenes.Stock(self.root / "photos", labels, 1, kept_back=0.34).training}
            for labels in (fewer, self.labels)
        ]
        self.assertEqual(trained[0], trained[1] & set(fewer.names))
        self.assertTrue(trained[0] < set(fewer.names) and trained[1] < set(self.labels.names), "some are kept back")

    def test_the_student_learns_both_fed_and_alone(self):
        """On one batch that it sees again and again, what each stage teaches is learnt."""
        trained = recipe.Recipe(recipe.arguments(self.args("learns", "--forced", 12 * BATCH, "--rate", "0.02", "--warm-up", "1")))
        batch = trained.batches.make(0)
        fed = [trained.train_step(batch) for _ in range(12)]
        alone = [sum(trained.train_step(batch).values()).item() for _ in range(20)]
        self.assertLess(fed[-1]["cells"], 0.5 * fed[0]["cells"])
        self.assertLess(fed[-1]["hints"], fed[0]["hints"])
        self.assertLess(alone[-1], 0.8 * alone[0])

    def test_a_composed_picture_has_its_labels_where_its_faces_are(self):
        """Photos that are black but for a white face: the mean of the white pixels is the middle of the label's box."""
        stock = self.new_stock()
        box = self.labels.boxes[0].astype(int)
        for photo in stock.photos:
            photo[:] = 0
            photo[box[1] : box[3], box[0] : box[2]] = 255
        for seed in range(12):
            canvas = scenes._Canvas(np.zeros((160, 160, 3), np.uint8))
            canvas.photo(stock, np.arange(6), np.random.default_rng(seed), (0, 0, 160), (40, 70))
            if canvas.boxes and 0 < canvas.boxes[0].min() and canvas.boxes[0].max() < 160:
                y, x = np.nonzero(canvas.picture[..., 0] > 128)
                left, top, right, bottom = canvas.boxes[0]
                self.assertLess(abs(x.mean() - (left + right) / 2) + abs(y.mean() - (top + bottom) / 2), 1.5)
                right_eye, left_eye = canvas.points[0][:2]
                self.assertLess(right_eye[0], left_eye[0], "a mirrored face keeps its right eye at the left")

    def test_a_pasted_crop_has_its_own_points_and_a_box_like_the_photos(self):
        box = self.stock.crop_boxes[0]
        frame = similarity(self.labels.points[0], TEMPLATE + (CROP - 112) / 2)
        np.testing.assert_allclose(box, scenes.move_boxes(self.labels.boxes[:1], frame)[0], atol=1)
        for seed in range(6):
            canvas = scenes._Canvas(np.zeros((160, 160, 3), np.uint8))
            canvas.crop(self.stock, np.random.default_rng(seed))
            for five in canvas.points:
                known = [*self.stock.crop_points, *((k * (-1, 1))[MIRRORED] for k in self.stock.crop_points)]
                # Some are narrowed: what brings one to the other is an affine map and not always a similarity.
                left = [np.linalg.lstsq(np.column_stack([k, np.ones(5)]), five, rcond=None)[1].sum() for k in known]
                self.assertLess(min(left), 1e-3)

    def test_turned_pictures_count_as_half_the_photos_and_are_never_kept_back(self):
        stock = self.new_stock()
        photos = stock.training
        stock.add_turned(self.root / "photos", self.labels)
        self.assertEqual(len(stock.photos), 12)
        self.assertEqual(sorted(stock.training), sorted([*photos, *range(6, 12)]))
        self.assertAlmostEqual(stock.share[6:].sum(), scenes.TURNED * stock.share[photos].sum())
        np.testing.assert_array_equal(stock.faces(9)[0], stock.faces(3)[0])

    def test_backgrounds_that_looked_like_faces_come_again(self):
        stock = self.new_stock()
        (self.root / "network.onnx").write_bytes(to_onnx(random_detector()).SerializeToString())
        where = [str(self.root / name) for name in ("network.onnx", "photos", "labels.npz", "hard")]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            hard.main([*where, "--count", "3", "--score", "0"])
        self.assertEqual(said.getvalue(), "3 of 3 backgrounds with false faces\n")
        stock.add_hard(self.root / "hard")
        stock.hard = [np.full((96, 96, 3), 77, np.uint8)]
        shown = [(scenes.empty(stock, stock.training, np.random.default_rng(seed), 64) == 77).all() for seed in range(100)]
        self.assertLess(abs(np.mean(shown) - scenes.HARD), 0.12)

    def test_samples_follow_from_their_seed_alone(self):
        first, second = (scenes.compose(self.stock, self.stock.training, np.random.default_rng(5), 128, self.lamps) for _ in "12")
        self.assertTrue(np.array_equal(first.lit, second.lit))
        self.assertEqual((first.lit.shape, first.boxes.shape, first.points.shape), ((128, 128, 3), (8, 4), (8, 10)))

    def test_views_agree_on_one_face(self):
        views = Views.__new__(Views)
        views.sides, face = (64, 128), np.array([10.0, 12, 30, 40])
        points = np.tile(face[:2] + 5, (5, 1))

        def all_views(_):
            boxes = np.stack([face, face + 1, face - 1, face, face + 100])
            return boxes, np.stack([points + i for i in range(5)]), np.array([0.9, 0.8, 0.8, 0.9, 0.4]), np.array([0, 1, 2, 3, 0])

        views.all = all_views
        boxes, _, certainty = views.consensus(None)
        np.testing.assert_allclose(boxes[0], face)
        np.testing.assert_allclose(certainty, [0.85, 0.1])


class Turned(unittest.TestCase):
    @staticmethod
    def mesh() -> np.ndarray:
        """MediaPipe's outline and the vertices that tell a face's turn where a face has them; the others on a ball."""
        random, middle, radius = np.random.default_rng(0), np.array([112.0, 112.0]), 50
        angles, away = random.uniform(0, 2 * np.pi, 468), radius * np.sqrt(random.uniform(0, 0.9, 468))
        angles[list(turned.OUTLINE)] = np.linspace(0, 2 * np.pi, len(turned.OUTLINE), endpoint=False) - np.pi / 2
        away[list(turned.OUTLINE)] = radius
        flat = np.stack([np.cos(angles), np.sin(angles)], 1) * away[:, None]
        for right, left, at in ((33, 263, (-20, -15)), (61, 291, (-15, 20)), (1, 1, (0, 0))):
            flat[right], flat[left] = at, (-at[0], at[1])
        return np.column_stack([flat + middle, -np.sqrt(radius**2 + 1 - (flat**2).sum(1))])

    def test_a_mesh_tells_by_how_much_it_is_turned(self):
        shape = self.mesh()
        for degrees in (-40, 0, 25):
            self.assertAlmostEqual(turned.yaw(turned.about_y(shape, degrees, shape.mean(0))), degrees, delta=1)

    def test_a_head_that_is_not_turned_leaves_the_picture_as_it_is(self):
        head = turned.Head(self.mesh())
        picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (14, 14, 3), np.uint8), (turned.SIDE, turned.SIDE))
        same = turned.turn(picture, head, head.yaw, 0.0, None)
        self.assertLess(np.abs(same[40:184, 40:184].astype(int) - picture[40:184, 40:184]).mean(), 1)

    def test_a_turned_nose_comes_to_lie_at_the_side_before_another_background(self):
        head = turned.Head(self.mesh())
        picture = np.zeros((turned.SIDE, turned.SIDE, 3), np.uint8)
        cv2.circle(picture, (112, 112), 8, (255, 255, 255), -1)
        behind = np.full_like(picture, 60)
        for degrees in (-60, 60):
            made = turned.turn(picture, head, degrees, 0.0, behind)
            _, x = np.nonzero(made[..., 0] > 200)
            self.assertGreater((112 - x.mean()) * np.sign(degrees), 25)
            self.assertEqual(made[5, 5].tolist(), [60, 60, 60])

    def test_pictures_of_photos_that_are_called_alike_lie_beside_each_other(self):
        names = ["a/1.jpg", "a/1.png", "b/1.jpg"]
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(turned, "Mesh") as mesh:
            mesh.return_value.vertices.return_value = (self.mesh() - (40, 40, 0)) / turned.ZOOM
            root = Path(folder)
            for name in names:
                (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / "photos" / name), np.full((160, 160, 3), 99, np.uint8))
            face = np.array([[20, 20, 130, 130]]), TEMPLATE[None] + 24, np.full(1, 0.9)
            Labels.of(names, [face] * 3).save(root / "labels.npz")
            with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()):
                turned.main([str(a) for a in (root / "photos", root / "labels.npz", root / "turned", "--mesh", "mesh.onnx")])
            made = sorted(str(path.relative_to(root / "turned")) for path in (root / "turned").rglob("*.jpg"))
        self.assertEqual(made, [f"{name}-0-0.jpg" for name in names])
        self.assertIn("3 pictures", said.getvalue())


class Cells(unittest.TestCase):
    def test_what_is_wanted_of_a_cell_decodes_to_the_label(self):
        where = grid(64, 96)
        box, points = torch.tensor([[[30.0, 10, 70, 60]]]), torch.arange(10.0).view(1, 1, 10) * 5
        none = torch.zeros(1, 1, 4)
        taught = torch.full((1, len(where), 16), -9.0)
        cell = 12 * 8 + 6 * 0 + 2 * 6 + 3  # column 3, row 2 of the cells of 16
        taught[0, cell] = _exactly(box[0, 0], points[0, 0], where[cell])
        wanted = targets(taught, (box, points, none), where)
        self.assertEqual(torch.nonzero(wanted["weight"][0]).flatten().tolist(), [cell])
        torch.testing.assert_close(wanted["boxes"][0, cell], box[0, 0])
        self.assertGreater(wanted["cls"][0, cell].item(), 0.9)
        decoded = decode(taught[0, cell], where[cell][None])
        torch.testing.assert_close(decoded[0][0], box[0, 0])
        torch.testing.assert_close(decoded[1][0], points[0, 0])

    def test_a_face_that_the_teacher_misses_is_given_to_cells_at_its_middle(self):
        where = grid(64, 96)
        box, points = torch.tensor([[[30.0, 10, 70, 60]]]), torch.zeros(1, 1, 10)
        taught = torch.full((1, len(where), 16), -9.0)
        wanted = targets(taught, (box, points, torch.zeros(1, 1, 4)), where)
        given = where[wanted["weight"][0] > 0]
        self.assertEqual((len(given), given[:, 2].unique().tolist()), (9, [8.0]))

    def test_what_only_the_teacher_sees_is_no_face_and_doubt_counts_for_nothing(self):
        where = grid(64, 128)
        taught = torch.zeros(1, len(where), 16)
        taught[..., :2] = 5
        doubtful = torch.tensor([[[0.0, 0, 64, 64]]])
        wanted = targets(taught, (torch.zeros(1, 1, 4), torch.zeros(1, 1, 10), doubtful), where)
        self.assertEqual(wanted["cls"].sum().item(), 0)
        self.assertEqual(wanted["counts"].sum().item(), BACKGROUND * len(where) / 2)

    def test_the_loss_of_saying_exactly_what_is_wanted_is_nearly_nothing(self):
        where = grid(64, 64)
        box, points = torch.tensor([[[10.0, 10, 50, 50]]]), torch.full((1, 1, 10), 30.0)
        taught = torch.full((1, len(where), 16), -9.0)
        taught[0, 69] = _exactly(box[0, 0], points[0, 0], where[69])
        losses = alone_loss(taught.clone(), taught, (box, points, torch.zeros(1, 1, 4)), (64, 64))
        self.assertLess(sum(losses.values()).item(), 0.02)
        worse = taught.clone()
        worse[0, 69, 2:] += 0.3
        self.assertGreater(sum(alone_loss(worse, taught, (box, points, torch.zeros(1, 1, 4)), (64, 64)).values()).item(), 0.3)


def _exactly(box, points, where):
    corner, stride = where[:2], where[2]
    centre, sides = (box[:2] + box[2:]) / 2 / stride - corner, ((box[2:] - box[:2]) / stride).log()
    return torch.cat([torch.full((2,), 6.0), centre, sides, points / stride - corner.repeat(5)])


class Exporting(unittest.TestCase):
    def test_the_exported_network_equals_the_trained_one_at_any_size(self):
        made = random_detector()
        session = onnxruntime.InferenceSession(to_onnx(made).SerializeToString(), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        for height, width in ((64, 96), (128, 32)):
            pixels = torch.rand(1, 3, height, width) * 255
            maps = dict(zip(names, session.run(None, {"pixels": pixels.numpy()})))
            with torch.no_grad():
                _, said = made(pixels)
            said[..., :2] = said[..., :2].sigmoid()
            kinds = [np.concatenate([maps[f"{kind}_{s}"] for s in (8, 16, 32)], 1) for kind in ("cls", "obj", "bbox", "kps")]
            np.testing.assert_allclose(np.concatenate(kinds, 2), said.numpy(), rtol=1e-3, atol=1e-3)

    def test_it_is_small_enough_for_a_door(self):
        self.assertLess(multiplications(Detector(), 256, 320) * 240 / 256, 60e6)
        self.assertEqual(cells([torch.zeros(1, 16, 4, 4), torch.zeros(1, 16, 2, 2), torch.zeros(1, 16, 1, 1)]).shape, (1, 21, 16))


class Light(unittest.TestCase):
    def test_light_from_the_front_changes_nothing_and_from_aside_leaves_the_other_half_dark(self):
        z = relight.heights()
        inner = slice(relight.MARGIN + 20, -relight.MARGIN - 20)
        self.assertAlmostEqual(relight.shading(z, 0, 0)[inner, inner].mean(), 1.0, delta=0.02)
        aside = relight.shading(z, 80, 0)[inner, inner]
        half = aside.shape[1] // 2
        self.assertGreater(aside[:, half:].mean(), 4 * aside[:, :half].mean())

    def test_a_lamp_shades_the_face_where_it_is(self):
        picture = np.full((160, 160, 3), 200, np.uint8)
        shade = relight.shading(relight.heights(), 85, 0)
        frame = similarity(TEMPLATE, TEMPLATE + (24, 20))
        field = exposure._lamp(picture.shape, [frame], np.random.default_rng(1), shade[None])
        eyes = field[72, [62, 98], 0]  # the template's eyes, moved: the lamp is at the right
        self.assertGreater(eyes[1], 2 * eyes[0])

    def test_a_background_shows_the_shadows_of_a_face_only_where_that_is_wanted(self):
        plain, lamps = np.full((64, 64, 3), 200, np.uint8), relight.shading(relight.heights(), 85, 0)[None]
        with mock.patch.object(exposure, "_anywhere", wraps=exposure._anywhere) as placed:
            for seed in range(100):
                exposure.expose(plain, [], np.random.default_rng(seed), lamps, shadows=False)
            placed.assert_not_called()
            for seed in range(100):
                exposure.expose(plain, [], np.random.default_rng(seed), lamps)
            placed.assert_called()


class Seer:
    """Instead of a detector: one face in the middle of any picture that isn't black."""

    name = "seer"

    def faces(self, picture):
        high, wide = picture.shape[:2]
        count = int(picture.any())
        boxes = np.array([[wide * 0.3, high * 0.3, wide * 0.7, high * 0.7]])[:count]
        return boxes, np.tile([[10.0, 10], [20, 10], [15, 15], [11, 20], [19, 20]], (count, 1, 1)), np.ones(count)


class Measuring(unittest.TestCase):
    def test_files_that_are_no_pictures_are_left_out_of_every_measurement(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
            root, seer = Path(folder), Seer()
            for name in ("yaleB05_P00A+000E+00.jpg", "yaleB05_P00A+035E-20.jpg", "yaleB05_P00A+120E+00.jpg", "yaleB05_Ambient.jpg"):
                cv2.imwrite(str(root / name), np.full((40, 40, 3), 200, np.uint8))
            (root / "yaleB05_P00A+035E-20.jpg").write_bytes(b"half a pict")
            evaluate.yale_b([seer], root)
            evaluate.lfw([seer], None, root, 1)
            evaluate.faceless([seer], root, 60)
        told = said.getvalue().splitlines()
        self.assertEqual(told[1], "Yale B, seer: 2 of 2 found (100.0%); 0-30°: 100.0%, 30-60°: 0.0%, 60-90°: 0.0%, 90-180°: 100.0%")
        self.assertEqual(told[3], "LFW, seer: 3 of 3 found (100.00%)")
        self.assertIn("in 60 of 60 frames and 3 of 3 scenes", told[5])
        for line, of in zip(told[::2], (3, 4, 4)):
            self.assertRegex(line, f"1 of {of} files are no pictures and are left out, .*035E-20.jpg")

    def test_a_film_without_a_reference_is_refused_before_anything_is_measured(self):
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as said:
            evaluate.main(["none.onnx", "--film", "film.mp4", "--lfw", "none"])
        self.assertIn("--film needs --reference", said.getvalue())

    def test_cells_of_one_face_are_averaged_and_others_stay(self):
        boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [40, 0, 50, 10], [4, 0, 14, 10]])
        merged, _, scores = evaluate.merge(boxes, np.zeros((4, 5, 2)), np.array([1.0, 0.5, 0.8, 0.6]))
        self.assertEqual(scores.tolist(), [1.0, 0.8])
        self.assertAlmostEqual(merged[0][0], 0.5**4 / (1 + 0.5**4))

    def test_the_face_in_the_middle_is_the_one_that_counts(self):
        faces = np.array([[0.0, 0, 20, 20], [40, 40, 70, 70]]), None, None
        self.assertEqual(evaluate.of_the_middle(faces, np.zeros((100, 100, 3))), 1)
        self.assertIsNone(evaluate.of_the_middle(faces, np.zeros((60, 60, 3))))


if __name__ == "__main__":
    unittest.main()
