"""Smoke tests of quantise.py on networks and pictures made here: `python -m unittest test_quantise` (seconds)."""

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
    import onnx
    import torch
    from onnx import helper, numpy_helper
except ModuleNotFoundError as missing:
    raise skipped(missing) from None

import checkpoints
import fake_quant
import quantise
from data import CROP, pictures_under
from export import to_onnx
from nets import Encoder, EncoderConfig, Stage
from onnx_graph import Graph, Runner

COUNT = 24


def uneven_encoder() -> Encoder:
    """A few blocks; random weights, BatchNorm statistics of random pictures, and channels of different strength."""
    torch.manual_seed(0)
    few = (Stage(64, 128, 128, 2), Stage(128, 256, 256, 1), Stage(128, 512, 256, 1))
    made = Encoder(EncoderConfig(width=0.1, stages=few))
    norms = [module for module in made.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            norm.weight.copy_(torch.exp(0.3 * torch.randn(len(norm.weight))))
        made(torch.rand(8, 3, 112, 112) * 255)
    return made.eval()


def branching(side: int) -> onnx.ModelProto:
    """What detectors have: pooling, enlarging, concatenation, and outputs of several shapes."""
    random = np.random.default_rng(1)
    weights, nodes = [], []

    def conv(source, name, inputs, outputs, kernel, stride=1, relu=True):
        for role, shape in (("w", (outputs, inputs, kernel, kernel)), ("b", (outputs,))):
            value = random.normal(size=shape).astype(np.float32) * (1 / np.sqrt(inputs * kernel**2) if role == "w" else 0.1)
            weights.append(numpy_helper.from_array(value.astype(np.float32), name + role))
        shape = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4, "strides": [stride] * 2}
        nodes.append(helper.make_node("Conv", [source, name + "w", name + "b"], [f"{name}.conv"], **shape))
        if relu:
            nodes.append(helper.make_node("Relu", [f"{name}.conv"], [f"{name}.relu"]))
        return f"{name}.relu" if relu else f"{name}.conv"

    x = conv("pixels", "a", 3, 16, 3, stride=2)
    nodes.append(helper.make_node("MaxPool", [x], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]))
    y = conv("pooled", "d", 16, 16, 1)
    weights.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "enlarge"))
    nodes.append(helper.make_node("Resize", [y, "", "enlarge"], ["large"], mode="nearest"))
    nodes.append(helper.make_node("Add", [x, "large"], ["sum"]))
    z = conv("sum", "s", 16, 4, 3, relu=False)
    nodes.append(helper.make_node("Sigmoid", [z], ["score"]))
    box = conv("sum", "o", 16, 4, 1, relu=False)
    nodes.append(helper.make_node("Concat", [z, box], ["box"], axis=1))
    source = helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [1, 3, side, side])
    shapes = {"score": [1, 4, side // 2, side // 2], "box": [1, 8, side // 2, side // 2]}
    results = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    model = helper.make_model(helper.make_graph(nodes, "g", [source], results, weights), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


class Quantising(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        random = np.random.default_rng(0)
        (cls.root / "faces").mkdir()
        for index in range(COUNT):
            coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
            cv2.imwrite(str(cls.root / "faces" / f"{index}.png"), cv2.resize(coarse, (CROP, CROP), interpolation=cv2.INTER_CUBIC))
        cls.checkpoint = cls.root / "encoder.pt"
        checkpoints.save_small(uneven_encoder(), 1, cls.checkpoint)
        cls.exact = to_onnx(checkpoints.load_small(cls.checkpoint)[0])
        cls.pictures = quantise.face_pictures(pictures_under(cls.root / "faces"), seed=3, augmented=False)[0]

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def quantised(self, *more) -> onnx.ModelProto:
        out = self.root / "int8.onnx"
        args = [self.checkpoint, out, "--faces", self.root / "faces", "--pictures", 12, "--measure", 4, *more]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            quantise.main([str(a) for a in args])
        self.assertIn("cosine to float on 4 other pictures", said.getvalue())
        return onnx.load(out)

    def cosine(self, made: onnx.ModelProto) -> float:
        return quantise.compare(self.exact, made, self.pictures)["encoding"].mean()

    def test_each_step_brings_int8_nearer_to_float(self):
        bare = self.cosine(self.quantised("--equalise", "0", "--no-clip", "--no-bias-correction"))
        whole = self.cosine(self.quantised())
        self.assertGreater(whole, 0.98)
        self.assertLess(1 - whole, 0.7 * (1 - bare))

    def test_uint8_is_the_same_grid_as_int8(self):
        signed, unsigned = (Runner(self.quantised(*more)) for more in ([], ["--uint8"]))
        a, b = (runner(self.pictures[0])["encoding"].ravel() for runner in (signed, unsigned))
        self.assertGreater(a @ b / np.linalg.norm(a) / np.linalg.norm(b), 0.999)

    def test_equalising_changes_no_output_in_float(self):
        graph = Graph(self.exact)
        measured = quantise.Measured(graph, quantise.quantised_tensors(graph), self.pictures[:4], seed=1)
        before = {name: value.copy() for name, value in graph.constants.items()}
        quantise.equalise(graph, measured, 0.5)
        self.assertTrue(any(not np.allclose(before[name], value) for name, value in graph.constants.items()))
        exact, equalised = (Runner(model)(self.pictures[0])["encoding"] for model in (self.exact, graph.to_model()))
        np.testing.assert_allclose(equalised, exact, rtol=1e-3, atol=1e-3 * np.abs(exact).max())

    def test_fine_tuning_lowers_the_error(self):
        coarse = ["--equalise", "0", "--no-bias-correction"]
        before, after = (self.cosine(self.quantised(*coarse, *more)) for more in ([], ["--fine-tune", "640"]))
        self.assertLess(1 - after, 0.9 * (1 - before))

    def test_nothing_is_measured_on_what_it_was_calibrated_with_or_fine_tuned_by(self):
        np.save(self.root / "numbers.npy", np.tile(np.arange(40.0).reshape(-1, 1, 1, 1), (1, 3, 2, 2)))
        args = [self.checkpoint, self.root / "out.onnx", "--pictures", 12, "--measure", 6, "--fine-tune", 1000]
        of = quantise.arguments([str(a) for a in (*args, "--arrays", self.root / "numbers.npy")])
        calibrated_on, measured_on, rows = quantise.pictures(of)
        measured = set(measured_on[:, 0, 0, 0])
        self.assertEqual((len(calibrated_on), len(measured)), (12, 6))
        batches = fake_quant._batches(rows, of)
        learnt = {float(value) for _ in range(30) for value in next(batches)[:, 0, 0, 0]}
        self.assertEqual(learnt | measured, set(range(40)))
        self.assertFalse((learnt | set(calibrated_on[:, 0, 0, 0])) & measured)
        faces = quantise.arguments([str(a) for a in (*args, "--faces", self.root / "faces")])
        _, measured_on, paths = quantise.pictures(faces)
        plain = {path: picture for path, picture in zip(pictures_under(self.root / "faces"), self.pictures)}
        self.assertEqual((len(measured_on), len(paths)), (6, COUNT - 6))
        for picture in measured_on[::2]:  # those that aren't dimmed, blurred and so on
            (path,) = [path for path, one in plain.items() if (one == picture).all()]
            self.assertNotIn(path, paths)

    def test_every_convolution_reads_int8(self):
        made = self.quantised()
        by_output = {node.output[0]: node for node in made.graph.node}
        stored = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
        convs = [node for node in made.graph.node if node.op_type == "Conv"]
        self.assertEqual(len(convs), 3 + 4 * 3 + 3)
        for conv in convs:
            x, weight, bias = (by_output[name] for name in conv.input)
            self.assertEqual({x.op_type, weight.op_type, bias.op_type}, {"DequantizeLinear"})
            self.assertEqual(by_output[x.input[0]].op_type, "QuantizeLinear")
            self.assertEqual(stored[weight.input[0]].dtype, np.int8)
            self.assertEqual(stored[bias.input[0]].dtype, np.int32)
            step = stored[x.input[1]] * stored[weight.input[1]]
            np.testing.assert_allclose(stored[bias.input[1]], step, rtol=1e-6)
        first = by_output[by_output[convs[0].input[0]].input[0]]
        self.assertEqual((stored[first.input[1]], stored[first.input[2]]), (1.0, -128), "a picture's bytes are themselves")

    def test_a_network_with_branches_is_quantised_too(self):
        source, pictures, out = self.root / "branches.onnx", self.root / "pictures.npy", self.root / "branches8.onnx"
        onnx.save(branching(32), source)
        np.save(pictures, np.random.default_rng(2).integers(0, 256, (COUNT, 3, 32, 32)).astype(np.uint8))
        with contextlib.redirect_stdout(io.StringIO()):
            quantise.main([str(a) for a in (source, out, "--arrays", pictures, "--pictures", 16)])
        cosines = quantise.compare(onnx.load(source), onnx.load(out), np.load(pictures)[:4].astype(np.float32))
        self.assertEqual(set(cosines), {"score", "box"})
        for name, values in cosines.items():
            self.assertGreater(values.min(), 0.995, name)

    def test_fine_tuning_refuses_operators_that_it_does_not_know_before_the_calibration(self):
        onnx.save(branching(32), self.root / "branches.onnx")
        args = [self.root / "branches.onnx", self.root / "out.onnx", "--arrays", self.root / "none.npy", "--fine-tune", 64]
        with self.assertRaisesRegex(SystemExit, "doesn't know Concat, MaxPool, Resize, Sigmoid:"):
            quantise.main([str(a) for a in args])

    def test_the_bias_of_a_dead_channel_stays_itself(self):
        graph = Graph(branching(32))
        weight, bias = graph.constants["aw"].copy(), graph.constants["ab"].copy()
        weight[0], bias[0] = 0, -3
        graph.constants.update(aw=weight, ab=bias)
        activations = {name: quantise.Activation(0.02, 0) for name in quantise.quantised_tensors(graph)}
        layers = {
            node.output[0]: quantise.layer(graph.constants[node.input[1]], graph.constants[node.input[2]], clip=False)
            for node in graph.convs()
        }
        made = quantise.write(graph, activations, layers, uint8=False)
        by_output = {node.output[0]: node for node in made.graph.node}
        stored = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
        first = next(node for node in made.graph.node if node.op_type == "Conv")
        weights, read = (by_output[name] for name in first.input[1:])
        np.testing.assert_allclose(stored[read.input[0]] * stored[read.input[1]].astype(float), bias, atol=1e-4, rtol=1e-4)
        others = layers[first.output[0]]
        self.assertTrue((stored[weights.input[0]][1:] == others.weight[1:]).all() and (stored[weights.input[1]][1:] == others.scale[1:]).all())

    def test_the_small_encoder_fits_its_size(self):
        """0.6 MB, for a Pi Zero 2 W; the full one 1.5."""
        for width, most in ((0.5, 600_000), (1.0, 1_500_000)):
            graph = Graph(to_onnx(Encoder(EncoderConfig(width=width)).eval()))
            names = quantise.quantised_tensors(graph)
            activations = {name: quantise.Activation(1.0, 0) for name in names}
            layers = {
                node.output[0]: quantise.layer(graph.constants[node.input[1]], graph.constants[node.input[2]], clip=False)
                for node in graph.convs()
            }
            made = quantise.write(graph, activations, layers, uint8=False)
            self.assertLess(len(made.SerializeToString()), most)


if __name__ == "__main__":
    unittest.main()
