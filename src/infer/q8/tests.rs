//! What runs at eight bits gives what tract gives when it takes the same file literally, to a step of the last grid.
//!
//! A rounding that falls on the other side for want of the last bit of a float moves a later layer's result, too; so of
//! the results a few may differ by a step, and only where an addition goes on unrounded by more than one.

use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use tract_onnx::pb::{TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::*;

use super::compile::{compile, sides};
use super::program::Given;
use super::recipe::Output;
use super::{Operator, place, rewrite};
use crate::infer::Manifest;
use crate::sim::rng::SplitMix64 as Rng;

mod left;

/// A graph in the making, whose integers are random.
struct Net {
    graph: GraphProto,
    random: Rng,
    /// Whether activations are unsigned in the file.
    is_unsigned: bool,
}

/// A tensor by name, and its channels.
type Wire = (String, usize);

fn tensor(name: &str, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> TensorProto {
    let dims = dims.iter().map(|&side| side as i64).collect();
    TensorProto { name: name.into(), dims, data_type, raw_data, ..TensorProto::default() }
}

fn ints(name: &str, ints: &[usize]) -> AttributeProto {
    let ints = ints.iter().map(|&n| n as i64).collect();
    AttributeProto { name: name.into(), ints, r#type: 7, ..AttributeProto::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: 2, ..AttributeProto::default() }
}

fn words(name: &str, text: &str) -> AttributeProto {
    AttributeProto { name: name.into(), s: text.as_bytes().to_vec(), r#type: 3, ..AttributeProto::default() }
}

fn value(name: &str, sides: &[usize]) -> ValueInfoProto {
    let dim = |&side: &usize| {
        let value = Some(dimension::Value::DimValue(side as i64));
        Dimension { value, ..Dimension::default() }
    };
    let shape = Some(TensorShapeProto { dim: sides.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: 1, shape };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: name.into(), r#type, ..ValueInfoProto::default() }
}

impl Net {
    fn new(seed: u64, is_unsigned: bool) -> Self {
        Self { graph: GraphProto::default(), random: Rng::new(seed), is_unsigned }
    }

    fn below(&mut self, n: u64) -> usize {
        (self.random.next_u64() % n) as usize
    }

    fn unit(&mut self) -> f32 {
        self.below(1 << 20) as f32 / (1 << 20) as f32
    }

    fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let output = format!("{}{}", op.to_lowercase(), self.graph.node.len());
        self.graph.node.push(NodeProto {
            name: output.clone(),
            op_type: op.into(),
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: vec![output.clone()],
            attribute,
            ..NodeProto::default()
        });
        output
    }

    fn constant(&mut self, dims: &[usize], data_type: i32, raw: Vec<u8>) -> String {
        let name = format!("constant{}", self.graph.initializer.len());
        self.graph.initializer.push(tensor(&name, dims, data_type, raw));
        name
    }

    fn floats(&mut self, dims: &[usize], numbers: &[f32]) -> String {
        self.constant(dims, 1, numbers.iter().flat_map(|n| n.to_le_bytes()).collect())
    }

    /// Through bytes of such a scale, whose zero is `zero` of 255.
    fn rounded_on(&mut self, (name, channels): &Wire, scale: f32, zero: u8) -> Wire {
        let scale = self.floats(&[], &[scale]);
        let (kind, zero) = if self.is_unsigned { (2, zero) } else { (3, zero ^ 0x80) };
        let zero = self.constant(&[], kind, vec![zero]);
        let bytes = self.node("QuantizeLinear", &[name, &scale, &zero], vec![]);
        (self.node("DequantizeLinear", &[&bytes, &scale, &zero], vec![]), *channels)
    }

    fn rounded(&mut self, wire: &Wire, zero: u8) -> Wire {
        let scale = 0.01 + 0.03 * self.unit();
        self.rounded_on(wire, scale, zero)
    }

    /// A convolution of random weights, whose results are some units wide.
    fn conv(
        &mut self,
        (name, channels): &Wire,
        outputs: usize,
        kernel: &[usize],
        groups: usize,
        more: Vec<AttributeProto>,
    ) -> Wire {
        let dims: Vec<usize> = [outputs, channels / groups].iter().chain(kernel).copied().collect();
        let depth: usize = dims[1..].iter().product();
        let raw = (0..outputs * depth).map(|_| (self.below(255) as i32 - 127) as i8 as u8).collect();
        let bytes = self.constant(&dims, 3, raw);
        let scales: Vec<f32> = (0..outputs).map(|_| (0.5 + self.unit()) / 127.0 / (depth as f32).sqrt()).collect();
        let scales = self.floats(&[outputs], &scales);
        let weights = self.node("DequantizeLinear", &[&bytes, &scales], vec![int("axis", 0)]);
        let bias: Vec<f32> = (0..outputs).map(|_| self.unit() - 0.5).collect();
        let bias = self.floats(&[outputs], &bias);
        let attributes = more.into_iter().chain([ints("kernel_shape", kernel), int("group", groups as i64)]).collect();
        (self.node("Conv", &[name, &weights, &bias], attributes), outputs)
    }

    fn simple(&mut self, op: &str, inputs: &[&Wire], attributes: Vec<AttributeProto>) -> Wire {
        let names: Vec<&str> = inputs.iter().map(|(name, _)| name.as_str()).collect();
        (self.node(op, &names, attributes), inputs[0].1)
    }

    fn model(mut self, input: &[usize], outputs: &[&str]) -> ModelProto {
        self.graph.name = "net".into();
        self.graph.input = vec![value("image", input)];
        self.graph.output =
            outputs.iter().map(|name| ValueInfoProto { name: (*name).into(), ..ValueInfoProto::default() }).collect();
        let opset_import = vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }];
        ModelProto { ir_version: 8, graph: Some(self.graph), opset_import, ..ModelProto::default() }
    }
}

/// The outputs, and how many operators of ours and layers of tract's made them.
fn run(mut proto: ModelProto, input: &Tensor, is_rewritten: bool) -> (Vec<Tensor>, usize, usize) {
    let recipes = if is_rewritten { rewrite(&mut proto) } else { Vec::new() };
    let onnx = tract_onnx::onnx().with_ignore_value_info(true);
    let mut model = onnx.model_for_proto_model(&proto).unwrap();
    place(&mut model, &proto, recipes).unwrap();
    let model = model.with_input_fact(0, f32::fact(input.shape()).into()).unwrap();
    let model = model.into_optimized().unwrap();
    let ours = model.nodes().iter().filter(|node| node.op_as::<Operator>().is_some()).count();
    let others = model.nodes().iter().filter(|node| node.op_is::<tract_core::ops::cnn::Conv>()).count();
    let plan = model.into_runnable().unwrap();
    let outputs = plan.run(tvec!(input.clone().into())).unwrap();
    (outputs.into_iter().map(|value| value.into_tensor()).collect(), ours, others)
}

/// Compares both ways; `steps` is what a difference may come to, in steps of `scale`, and `same` the least share of
/// equals.
fn compare(net: ModelProto, input: &[usize], (scale, steps, same): (f32, f32, f64)) -> usize {
    let mut random = Rng::new(7);
    let pixels: Vec<f32> = (0..input.iter().product()).map(|_| (random.next_u64() % 256) as f32 / 255.0).collect();
    let image = Tensor::from_shape(input, &pixels).unwrap();
    let (expected, none, _) = run(net.clone(), &image, false);
    let (got, ours, _) = run(net, &image, true);
    assert_eq!(none, 0);
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(got.shape(), expected.shape());
        let numbers = |tensor: &Tensor| tensor.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec();
        let pairs: Vec<_> = numbers(got).into_iter().zip(numbers(expected)).collect();
        assert!(pairs.iter().any(|(a, _)| *a != pairs[0].0), "results that say nothing");
        let furthest = pairs.iter().map(|(a, b)| (a - b).abs() / scale).fold(0.0, f32::max);
        assert!(furthest <= steps + 1e-3, "{furthest} steps apart");
        let equal = pairs.iter().filter(|(a, b)| (a - b).abs() < 1e-3 * scale).count();
        assert!(equal as f64 >= same * pairs.len() as f64, "{equal} of {} are equal", pairs.len());
    }
    ours
}

fn image() -> Wire {
    ("image".into(), 3)
}

fn pads(n: usize) -> AttributeProto {
    ints("pads", &[n; 4])
}

#[test]
fn a_chain_of_convolutions_is_one_operator() {
    for (seed, is_unsigned) in [(1, true), (2, false)] {
        let mut net = Net::new(seed, is_unsigned);
        let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
        let x = net.conv(&x, 20, &[3, 3], 1, vec![pads(1), ints("strides", &[2, 2])]);
        let x = net.simple("Relu", &[&x], vec![]);
        let x = net.rounded(&x, 0);
        let x = net.conv(&x, 20, &[3, 3], 20, vec![pads(1)]);
        let slopes: Vec<f32> = (0..20).map(|_| net.unit()).collect();
        let slopes = net.floats(&[20, 1, 1], &slopes);
        let x = net.simple("PRelu", &[&x, &(slopes, 0)], vec![]);
        let x = net.rounded(&x, 100);
        let x = net.conv(&x, 33, &[1, 1], 1, vec![]);
        let x = net.rounded_on(&x, 0.02, 128);
        assert_eq!(compare(net.model(&[1, 3, 17, 22], &[&x.0]), &[1, 3, 17, 22], (0.02, 1.0, 0.99)), 1);
    }
}

#[test]
fn a_slope_that_is_no_number_is_taken_as_literally_as_one_that_is() {
    for slope in [0.1, f32::NAN, f32::INFINITY] {
        let mut net = Net::new(5, false);
        let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
        let x = net.conv(&x, 16, &[1, 1], 1, vec![]);
        let alpha = AttributeProto { name: "alpha".into(), f: slope, r#type: 1, ..AttributeProto::default() };
        let x = net.simple("LeakyRelu", &[&x], vec![alpha]);
        let x = net.rounded_on(&x, 0.02, 128);
        assert_eq!(compare(net.model(&[1, 3, 9, 7], &[&x.0]), &[1, 3, 9, 7], (0.02, 1.0, 0.99)), 1, "{slope}");
    }
}

#[test]
fn constants_that_a_file_lists_as_inputs_are_no_inputs() {
    let mut net = Net::new(20, false);
    let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
    let x = net.conv(&x, 8, &[3, 3], 1, vec![]);
    let x = net.rounded_on(&x, 0.02, 128);
    let mut net = net.model(&[1, 3, 8, 8], &[&x.0]);
    let graph = net.graph.as_mut().unwrap();
    let sides = |tensor: &TensorProto| tensor.dims.iter().map(|&side| side as usize).collect::<Vec<_>>();
    graph.input.extend(graph.initializer.iter().map(|tensor| value(&tensor.name, &sides(tensor))));
    assert_eq!(compare(net, &[1, 3, 8, 8], (0.02, 1.0, 0.99)), 1);
}

#[test]
fn bytes_that_are_rounded_anew_lie_between_two_operators() {
    let mut net = Net::new(21, true);
    let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
    let x = net.conv(&x, 8, &[3, 3], 1, vec![pads(1)]);
    let x = net.rounded_on(&x, 0.02, 128);
    let x = net.rounded_on(&x, 0.03, 120);
    let x = net.conv(&x, 8, &[1, 1], 1, vec![]);
    let x = net.rounded_on(&x, 0.02, 128);
    assert_eq!(compare(net.model(&[1, 3, 7, 7], &[&x.0]), &[1, 3, 7, 7], (0.02, 2.0, 0.9)), 2);
}

#[test]
fn a_residual_goes_into_the_convolution_before_it_and_floats_come_out_of_the_last() {
    let mut net = Net::new(3, false);
    let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
    let x = net.conv(&x, 24, &[1, 1], 1, vec![]);
    let trunk = net.rounded_on(&x, 0.02, 120);
    let x = net.conv(&trunk, 24, &[3, 3], 24, vec![pads(1)]);
    let x = net.simple("Relu", &[&x], vec![]);
    let x = net.rounded(&x, 0);
    let x = net.conv(&x, 24, &[1, 1], 1, vec![]);
    let x = net.rounded_on(&x, 0.02, 130);
    let x = net.simple("Add", &[&x, &trunk], vec![]);
    let x = net.rounded_on(&x, 0.03, 125);
    let x = net.conv(&x, 16, &[9, 9], 1, vec![]);
    let x = net.simple("Flatten", &[&x], vec![]);
    // The file rounds once more before the addition; half a step of it is a third of one here, in each of 1,944
    // products.
    let ours = compare(net.model(&[1, 3, 9, 9], &[&x.0]), &[1, 3, 9, 9], (0.03, 1.5, 0.0));
    assert_eq!(ours, 1);
}

#[test]
fn a_rounding_in_the_middle_saturates_though_nothing_is_rounded() {
    let bent = |net: &mut Net, x: &Wire, slopes: &[f32]| {
        let slopes = net.floats(&[slopes.len(), 1, 1], slopes);
        net.simple("PRelu", &[x, &(slopes, 0)], vec![])
    };
    let uneven: Vec<f32> = (0..16).map(|c| 0.2 + 0.04 * c as f32).collect();
    // Zeros that leave what is above, what lies between, and what is below.
    for (seed, zero) in [(12, 0), (13, 100), (14, 255)] {
        for after in ["an addition", "an activation", "both", "an activation of each channel"] {
            let mut net = Net::new(seed, seed % 2 == 0);
            let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
            let x = net.conv(&x, 16, &[1, 1], 1, vec![]);
            let trunk = net.rounded_on(&x, 0.02, 128);
            let x = net.conv(&trunk, 16, &[3, 3], 1, vec![pads(1)]);
            let x = net.rounded_on(&x, 0.001, zero);
            let x = match after {
                "an addition" => net.simple("Add", &[&x, &trunk], vec![]),
                "an activation" => bent(&mut net, &x, &[0.5]),
                "both" => {
                    let x = bent(&mut net, &x, &[0.5]);
                    net.simple("Add", &[&x, &trunk], vec![])
                }
                _ => bent(&mut net, &x, &uneven),
            };
            let last = net.rounded_on(&x, 0.02, 128);
            let net = net.model(&[1, 3, 9, 7], &[&last.0]);
            assert_eq!(compare(net, &[1, 3, 9, 7], (0.02, 2.0, 0.9)), 1, "{after} to {zero}");
        }
    }
}

#[test]
fn a_layer_may_add_what_it_reads_and_a_tensor_be_added_to_itself() {
    let mut net = Net::new(11, true);
    let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
    let x = net.conv(&x, 16, &[1, 1], 1, vec![]);
    let first = net.rounded_on(&x, 0.02, 128);
    let x = net.conv(&first, 16, &[1, 1], 1, vec![]);
    let x = net.simple("Add", &[&x, &first], vec![]);
    let second = net.rounded_on(&x, 0.03, 128);
    let x = net.conv(&second, 16, &[3, 3], 16, vec![pads(1)]);
    let x = net.simple("Add", &[&x, &second], vec![]);
    let third = net.rounded_on(&x, 0.04, 128);
    let x = net.simple("Add", &[&third, &third], vec![]);
    let last = net.rounded_on(&x, 0.08, 128);
    assert_eq!(compare(net.model(&[1, 3, 6, 5], &[&last.0]), &[1, 3, 6, 5], (0.08, 1.0, 0.99)), 1);
}

#[test]
fn pools_means_sums_repeats_and_concatenations_keep_to_bytes() {
    let mut net = Net::new(4, true);
    let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
    let x = net.conv(&x, 12, &[3, 3], 1, vec![pads(1)]);
    let fine = net.rounded_on(&x, 0.02, 128);
    let pool = |kernel: usize| vec![ints("kernel_shape", &[kernel; 2]), ints("strides", &[2, 2]), pads(kernel / 2 - 1)];
    let x = net.simple("MaxPool", &[&fine], pool(2));
    let small = net.rounded_on(&x, 0.02, 128);
    let scales = net.floats(&[4], &[1.0, 1.0, 2.0, 2.0]);
    let resize = vec![
        words("mode", "nearest"),
        words("coordinate_transformation_mode", "asymmetric"),
        words("nearest_mode", "floor"),
    ];
    let x = (net.node("Resize", &[&small.0, "", &scales], resize), 12);
    let large = net.rounded_on(&x, 0.02, 128);
    let x = net.simple("Add", &[&fine, &large], vec![]);
    let x = net.simple("Relu", &[&x], vec![]);
    let sum = net.rounded_on(&x, 0.02, 128);
    let x = (net.simple("Concat", &[&sum, &fine], vec![int("axis", 1)]).0, 24);
    let both = net.rounded_on(&x, 0.02, 128);
    let x = net.simple("GlobalAveragePool", &[&both], vec![]);
    let mean = net.rounded_on(&x, 0.005, 30);
    let ours = compare(net.model(&[1, 3, 12, 16], &[&both.0, &mean.0]), &[1, 3, 12, 16], (0.02, 1.0, 0.99));
    assert_eq!(ours, 1);
}

#[test]
fn groups_dilations_uneven_pads_and_a_clip_are_computed() {
    let mut net = Net::new(5, false);
    let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
    let x = net.conv(&x, 12, &[1, 1], 1, vec![]);
    let x = net.rounded(&x, 90);
    let x = net.conv(&x, 18, &[3, 2], 3, vec![ints("pads", &[1, 0, 2, 1]), ints("dilations", &[2, 1])]);
    let (low, high) = (net.floats(&[], &[0.0]), net.floats(&[], &[0.9]));
    let x = net.simple("Clip", &[&x, &(low, 0), &(high, 0)], vec![]);
    let x = net.rounded_on(&x, 0.01, 0);
    assert_eq!(compare(net.model(&[1, 3, 9, 11], &[&x.0]), &[1, 3, 9, 11], (0.01, 1.0, 0.99)), 1);
}

#[test]
fn what_is_not_for_bytes_stays_with_tract_and_parts_on_both_sides_of_it_exchange_floats() {
    let mut net = Net::new(6, true);
    let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
    let x = net.conv(&x, 8, &[3, 3], 1, vec![pads(1)]);
    let before = net.rounded_on(&x, 0.02, 128);
    let x = net.simple("Sigmoid", &[&before], vec![]);
    let x = net.rounded_on(&x, 1.0 / 255.0, 0);
    let x = net.conv(&x, 8, &[1, 1], 1, vec![]);
    let x = net.rounded_on(&x, 0.02, 128);
    let x = net.simple("Add", &[&x, &before], vec![]);
    let x = net.rounded_on(&x, 0.02, 128);
    let ours = compare(net.model(&[1, 3, 7, 7], &[&x.0, &before.0]), &[1, 3, 7, 7], (0.02, 1.0, 0.6));
    assert_eq!(ours, 2);
}

#[test]
fn a_series_is_convolved_as_one_row() {
    let mut net = Net::new(8, true);
    let x = net.rounded_on(&("image".into(), 5), 1.0 / 255.0, 0);
    let x = net.conv(&x, 16, &[5], 1, vec![ints("pads", &[2, 2])]);
    let x = net.simple("Relu", &[&x], vec![]);
    let x = net.rounded(&x, 0);
    let x = net.conv(&x, 16, &[3], 16, vec![ints("pads", &[1, 1]), ints("strides", &[2])]);
    let x = net.rounded_on(&x, 0.02, 128);
    assert_eq!(compare(net.model(&[1, 5, 50], &[&x.0]), &[1, 5, 50], (0.02, 1.0, 0.99)), 1);
}

#[test]
fn an_input_that_is_no_number_is_an_error() {
    let mut net = Net::new(10, true);
    let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
    let x = net.conv(&x, 4, &[1, 1], 1, vec![]);
    let x = net.rounded(&x, 128);
    let mut proto = net.model(&[1, 3, 4, 4], &[&x.0]);
    let recipes = rewrite(&mut proto);
    let mut model = tract_onnx::onnx().model_for_proto_model(&proto).unwrap();
    place(&mut model, &proto, recipes).unwrap();
    let plan = model.into_optimized().unwrap().into_runnable().unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut pixels = vec![0.5; 48];
        pixels[31] = bad;
        let image = Tensor::from_shape(&[1, 3, 4, 4], &pixels).unwrap();
        let error = plan.run(tvec!(image.into())).unwrap_err();
        assert!(format!("{error:#}").contains("finite"), "{error:#}");
    }
}

#[test]
fn two_cores_give_what_one_gives() {
    for (name, rows, columns) in [("detector", 256, 320), ("landmarks", 112, 112), ("encoder-small", 112, 112)] {
        let file = Manifest::builtin().built_in(&format!("facelatch-{name}")).unwrap();
        let mut proto = tract_onnx::onnx().proto_model_for_read(&mut &*file.bytes).unwrap();
        let recipes = rewrite(&mut proto);
        let [recipe] = recipes.as_slice() else { panic!("{name} has {} parts", recipes.len()) };
        let input = [rows, columns, 3];
        let (values, results) = sides(recipe, &[input]).unwrap();
        let of = |output: Output| match output {
            Output::Of(value) => values[value],
            Output::From(layer) => results[layer],
        };
        let mut random = Rng::new(rows as u64);
        let planes: Vec<f32> = (0..rows * columns * 3).map(|_| (random.next_u64() % 256) as f32).collect();
        let run = |cores| {
            let program = compile(recipe, &[input], crate::kernels::active(), cores).unwrap();
            let mut outputs: Vec<_> =
                recipe.outputs.iter().map(|(_, output)| vec![0.0; of(*output).iter().product()]).collect();
            let mut views: Vec<_> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            program.run(&[Given::Reals(&planes)], &mut views).unwrap();
            (program.is_shared, outputs)
        };
        let ((alone, of_one), (shared, of_two)) = (run(1), run(2));
        assert!(!alone && shared, "{name}");
        assert!(of_one == of_two, "{name}");
    }
}
