//! The tract adapter: one network, compiled for one input size, run one input at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use super::admit::{admit, admit_sizes, admit_windows, are_numbers, ensure};
use super::manifest::ModelFile;
use super::parts::admit_parts;
use super::q8;
use super::unround::pass_over_rounding;

/// Why a network gave no numbers. Each names the network, and the tensor where there is one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InferError {
    #[error("{model}: not a network that can run here: {reason}")]
    Malformed { model: String, reason: String },
    #[error("{model}: {got} outputs, and {expected} are needed")]
    OutputCount { model: String, expected: usize, got: usize },
    #[error("{model}: its output {tensor} has the shape {got}, and {expected} numbers are needed")]
    Shape { model: String, tensor: String, expected: usize, got: String },
    #[error("{model}: its output {tensor} has the shape {got}, and its last side has to be {each}")]
    Apart { model: String, tensor: String, each: usize, got: String },
    #[error("{model}: its output {tensor} holds {value} at {index}")]
    NotFinite { model: String, tensor: String, index: usize, value: f32 },
    #[error("{model}: {reason}")]
    Failed { model: String, reason: String },
}

/// An output that is needed: by name, or by position where the name is empty; and how many numbers it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputSpec {
    pub name: &'static str,
    pub len: usize,
    /// Of a map of cells the numbers of each, which lie side by side; of a list, 1.
    pub each: usize,
}

/// A network ready to run. A clone shares the weights.
#[derive(Clone)]
pub struct Network {
    model: Arc<str>,
    plan: Arc<TypedRunnableModel>,
    input: Arc<Tensor>,
    outputs: Arc<[(String, usize)]>,
}

/// One layer and who computes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// At eight bits by the kernels of this program; in floats by tract otherwise.
    pub is_int8: bool,
    /// Its kind, size and name.
    pub what: String,
}

/// What one run gave: finite numbers, in the order of the [`OutputSpec`]s.
pub struct Outputs(TVec<TValue>);

impl Outputs {
    /// The numbers of one output.
    ///
    /// # Panics
    /// If there is no such output; how many there are was checked when the network was loaded.
    pub fn get(&self, index: usize) -> &[f32] {
        plain(&self.0[index]).expect("run() checked that every output is f32")
    }

    /// All outputs in their order.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.0.len()).map(|index| self.get(index))
    }
}

#[cfg(test)]
impl Outputs {
    /// As if a network had given them.
    pub(crate) fn of(outputs: &[&[f32]]) -> Self {
        Self(outputs.iter().map(|numbers| tensor1(numbers).into()).collect())
    }
}

fn plain(tensor: &Tensor) -> Option<&[f32]> {
    tensor.as_plain_ram()?.as_slice::<f32>().ok()
}

impl Network {
    /// Compiles a network for inputs of this shape: batch, channels, rows, columns.
    ///
    /// # Errors
    /// Anything that is wrong with its bytes, and outputs of other names or sizes than `outputs`.
    pub fn load(file: &ModelFile, input: [usize; 4], outputs: &[OutputSpec]) -> Result<Self, InferError> {
        Self::load_form(file, input, false, outputs)
    }

    /// With `may_take_pixels` its input is a picture's bytes where it can be: see [`Network::takes_pixels`].
    pub(super) fn load_form(
        file: &ModelFile,
        input: [usize; 4],
        may_take_pixels: bool,
        outputs: &[OutputSpec],
    ) -> Result<Self, InferError> {
        let model = file.spec.name.as_str();
        let malformed = |reason: String| InferError::Malformed { model: model.into(), reason };
        let compiled = guarded(|| compile(&file.bytes, input, may_take_pixels, outputs)).map_err(malformed)?;
        if compiled.outputs.len() != outputs.len() {
            let (expected, got) = (outputs.len(), compiled.outputs.len());
            return Err(InferError::OutputCount { model: model.into(), expected, got });
        }
        for (spec, (name, shape)) in outputs.iter().zip(&compiled.outputs) {
            if shape.iter().product::<usize>() != spec.len {
                let (expected, got) = (spec.len, format!("{shape:?}"));
                return Err(InferError::Shape { model: model.into(), tensor: name.clone(), expected, got });
            }
            // A list is the same in whatever shape.
            if spec.each > 1 && shape.last() != Some(&spec.each) {
                let (each, got) = (spec.each, format!("{shape:?}"));
                return Err(InferError::Apart { model: model.into(), tensor: name.clone(), each, got });
            }
        }
        let names = compiled.outputs.into_iter().zip(outputs).map(|((name, _), spec)| (name, spec.len)).collect();
        let input = compiled.input.zero().map_err(|e| malformed(chain(&e)))?;
        Ok(Self { model: model.into(), plan: compiled.plan, input: Arc::new(input), outputs: names })
    }

    /// Lets `fill` write the input, row by row and plane by plane, and runs on it.
    ///
    /// # Errors
    /// An output that isn't finite or of the promised size, with its name; whatever fails inside.
    pub fn run(&mut self, fill: impl FnOnce(&mut [f32])) -> Result<Outputs, InferError> {
        self.run_filled(fill)
    }

    /// Whether it was loaded to take a picture's bytes, rows of pixels of three, and no numbers in planes.
    pub(super) fn takes_pixels(&self) -> bool {
        self.input.datum_type() == u8::datum_type()
    }

    /// As [`Network::run`], with the numbers that its input has.
    pub(super) fn run_filled<T: Datum>(&mut self, fill: impl FnOnce(&mut [T])) -> Result<Outputs, InferError> {
        let failed = |reason| InferError::Failed { model: self.model.to_string(), reason };
        // Unshared unless a run failed half way; then this copies.
        let input = Arc::make_mut(&mut self.input);
        let mut view = input.try_as_plain_ram_mut().map_err(|e| failed(chain(&e)))?;
        fill(view.as_slice_mut().map_err(|e| failed(chain(&e)))?);

        let input: TVec<TValue> = tvec!(TValue::from_const(Arc::clone(&self.input)));
        // Each run has a state of its own, so that nothing of one that failed is left for the next.
        let outputs = guarded(|| self.plan.run(input)).map_err(failed)?;
        for (tensor, (name, len)) in outputs.iter().zip(self.outputs.iter()) {
            self.check(tensor, name, *len)?;
        }
        Ok(Outputs(outputs))
    }

    /// Its layers in the order in which they run.
    pub fn layers(&self) -> Vec<Layer> {
        let mut layers = Vec::new();
        for &id in self.plan.order_without_consts() {
            let node = self.plan.model().node(id);
            match node.op_as::<q8::Operator>() {
                Some(operator) => {
                    layers.extend(operator.layers().iter().map(|what| Layer { is_int8: true, what: what.clone() }));
                }
                None => {
                    let what = format!("{} {}", node.op.name(), node.name);
                    layers.push(Layer { is_int8: false, what });
                }
            }
        }
        layers
    }

    fn check(&self, tensor: &Tensor, name: &str, len: usize) -> Result<(), InferError> {
        let (model, name) = (self.model.to_string(), name.to_string());
        let Some(numbers) = plain(tensor).filter(|n| n.len() == len) else {
            let got = format!("{:?} of {:?}", tensor.shape(), tensor.datum_type());
            return Err(InferError::Shape { model, tensor: name, expected: len, got });
        };
        match numbers.iter().position(|x| !x.is_finite()) {
            Some(index) => Err(InferError::NotFinite { model, tensor: name, index, value: numbers[index] }),
            None => Ok(()),
        }
    }
}

/// What a network takes.
#[derive(Clone, Copy)]
enum Form {
    /// Numbers: batch, channels, rows, columns.
    Planes([usize; 4]),
    /// Bytes: rows and columns of pixels of three.
    Pixels([usize; 2]),
}

impl Form {
    fn zero(self) -> TractResult<Tensor> {
        match self {
            Self::Planes(sides) => Tensor::zero::<f32>(&sides),
            Self::Pixels([rows, columns]) => Tensor::zero::<u8>(&[1, rows, columns, 3]),
        }
    }

    fn fact(self) -> InferenceFact {
        match self {
            Self::Planes(sides) => f32::fact(sides).into(),
            Self::Pixels([rows, columns]) => u8::fact([1, rows, columns, 3]).into(),
        }
    }
}

struct Compiled {
    plan: Arc<TypedRunnableModel>,
    input: Form,
    /// Name and shape of each output.
    outputs: Vec<(String, Vec<usize>)>,
}

fn compile(bytes: &[u8], input: [usize; 4], may_take_pixels: bool, outputs: &[OutputSpec]) -> TractResult<Compiled> {
    admit_parts(bytes)?;
    let read = || tract_onnx::onnx().proto_model_for_read(&mut &*bytes);
    let mut proto = read()?;
    admit(&proto)?;
    let mut recipes = q8::rewrite(&mut proto);
    let is_rewritten = !recipes.is_empty();
    let form = match may_take_pixels && q8::take_pixels(&proto, &mut recipes) {
        true => Form::Pixels([input[2], input[3]]),
        false => Form::Planes(input),
    };
    pass_over_rounding(&mut proto);
    match build(&proto, recipes, form, outputs) {
        // A part that can't be computed at eight bits is computed as the file has it, by tract.
        Err(_) if is_rewritten => {
            let mut proto = read()?;
            pass_over_rounding(&mut proto);
            build(&proto, Vec::new(), Form::Planes(input), outputs)
        }
        built => built,
    }
}

fn build(proto: &ModelProto, recipes: Vec<q8::Recipe>, input: Form, outputs: &[OutputSpec]) -> TractResult<Compiled> {
    // Sizes that an exporter wrote between layers hold only for the input size of the export.
    let onnx = tract_onnx::onnx().with_ignore_value_info(true);
    let mut model = onnx.model_for_proto_model(proto)?;
    q8::place(&mut model, proto, recipes)?;
    let inputs = model.input_outlets()?.len();
    ensure(inputs == 1, || format!("{inputs} inputs instead of one"))?;
    if outputs.iter().all(|o| !o.name.is_empty()) {
        model.select_outputs_by_name(outputs.iter().map(|o| o.name))?;
    }
    let model = model.with_input_fact(0, input.fact())?.into_typed()?;
    admit_sizes(&model)?;
    admit_windows(&model)?;
    for node in model.nodes() {
        let mut constants = node.outputs.iter().filter_map(|output| plain(output.fact.konst.as_deref()?));
        ensure(constants.all(are_numbers), || format!("{} is a constant that holds NaN or infinity", node.name))?;
    }
    let model = model.into_optimized()?;
    // A layer may have become several, and what lies between these is larger: a picture with its border, say.
    admit_sizes(&model)?;
    let mut described = Vec::new();
    for (index, outlet) in model.output_outlets()?.iter().enumerate() {
        let fact = model.output_fact(index)?;
        let label = model.outlet_label(*outlet).unwrap_or(&model.node(outlet.node).name);
        ensure(fact.datum_type == f32::datum_type(), || format!("output {label} is {:?}", fact.datum_type))?;
        let shape = fact.shape.as_concrete().map(<[usize]>::to_vec);
        let Some(shape) = shape else { return Err(TractError::msg(format!("output {label} has no fixed shape"))) };
        described.push((label.to_string(), shape));
    }
    Ok(Compiled { plan: model.into_runnable()?, input, outputs: described })
}

/// An error with its causes on one line.
fn chain(error: &TractError) -> String {
    let mut line = format!("{error:#}").replace('\n', " ");
    line.truncate(line.floor_char_boundary(MAX_REASON));
    line
}

/// The longest reason, in bytes: tract prints whole graphs.
const MAX_REASON: usize = 400;

/// Calls into tract. It panics on some malformed networks (indices and sizes out of their bytes); that is an error of
/// the file, and the door must stay up. What a panic leaves behind is dropped here and never used again.
fn guarded<T>(call: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|e| chain(&e)),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(format!("the network library panicked: {}", &said[..said.floor_char_boundary(MAX_REASON)]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Manifest;
    use super::super::tiny::{bytes, model, of_layers, onnx, text, varint, with_op};
    use super::*;
    use crate::sim::rng::SplitMix64;

    const TWO: [OutputSpec; 1] = [OutputSpec { name: "", len: 2, each: 1 }];
    const WEIGHTS: [f32; 6] = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];

    fn load(bytes: Vec<u8>) -> Result<Network, InferError> {
        Network::load(&model(bytes, 2), [1, 3, 32, 32], &TWO)
    }

    #[test]
    fn a_network_gives_its_numbers_and_again_the_next_time() {
        let mut network = load(onnx(&WEIGHTS)).unwrap();
        for mean in [3.0, 5.0] {
            let outputs = network.run(|planes| planes.fill(mean)).unwrap();
            assert_eq!(outputs.get(0), [mean, mean]);
            assert_eq!(outputs.iter().count(), 1);
        }
    }

    #[test]
    fn a_nan_in_an_output_is_an_error_that_names_model_and_tensor() {
        let layers = [("MatMul", &["flat", "w"][..], "product"), ("Sqrt", &["product"], "embedding")];
        let mut network = load(of_layers(&layers, &[-1.0, 0.0, 0.0, 1.0, 0.0, 0.0], &[])).unwrap();
        let error = network.run(|planes| planes.fill(1.0)).map(|_| ()).unwrap_err();
        let told = "tiny: its output embedding holds NaN at 0";
        assert_eq!(error.to_string(), told);
        // And infinity out of the input alone.
        let mut network = load(onnx(&WEIGHTS)).unwrap();
        assert!(network.run(|planes| planes.fill(f32::INFINITY)).is_err());
        assert!(network.run(|planes| planes.fill(1.0)).is_ok());
    }

    #[test]
    fn a_weight_that_is_no_number_is_refused_at_load_and_a_bound_may_be_infinite() {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let told = load(onnx(&[wrong, 0.0, 0.0, 1.0, 0.0, 0.0])).map(|_| ()).unwrap_err().to_string();
            assert!(told.contains("a constant that holds NaN or infinity"), "{told}");
        }
        assert!(are_numbers(&[f32::NEG_INFINITY]) && are_numbers(&[0.0, f32::MAX]) && !are_numbers(&[f32::NAN]));
    }

    #[test]
    fn outputs_of_another_size_or_name_or_number_are_refused_at_load() {
        let file = model(onnx(&WEIGHTS), 2);
        let load = |outputs: &[OutputSpec]| Network::load(&file, [1, 3, 32, 32], outputs).map(|_| ()).unwrap_err();
        let shape = load(&[OutputSpec { name: "", len: 3, each: 1 }]);
        assert!(matches!(&shape, InferError::Shape { tensor, expected: 3, .. } if tensor == "embedding"), "{shape}");
        assert!(matches!(load(&[TWO[0]; 2]), InferError::OutputCount { expected: 2, got: 1, .. }));
        let named = load(&[OutputSpec { name: "cls_8", len: 2, each: 1 }]);
        assert!(matches!(&named, InferError::Malformed { reason, .. } if reason.contains("cls_8")), "{named}");
    }

    #[test]
    fn a_map_whose_cells_do_not_lie_side_by_side_is_refused_and_a_list_is_not() {
        let turned = [("MatMul", &["flat", "w"][..], "product"), ("Transpose", &["product"], "embedding")];
        let turned = model(of_layers(&turned, &WEIGHTS, &[]), 2);
        let load = |file: &ModelFile, each| {
            Network::load(file, [1, 3, 32, 32], &[OutputSpec { name: "", len: 2, each }]).map(|_| ())
        };
        assert_eq!(load(&model(onnx(&WEIGHTS), 2), 2), Ok(()));
        assert_eq!(load(&turned, 1), Ok(()));
        let told = load(&turned, 2).unwrap_err().to_string();
        assert!(told.ends_with("has the shape [2, 1], and its last side has to be 2"), "{told}");
    }

    #[test]
    fn what_could_run_forever_read_other_files_or_take_all_memory_is_refused() {
        let told = |bytes: Vec<u8>| load(bytes).map(|_| ()).unwrap_err().to_string();
        assert!(told(with_op("Loop", &WEIGHTS, &[])).contains("an operator that doesn't run here"));
        assert!(told(bytes(7, &bytes(1, &[]).repeat(1 << 20))).contains("parts are no network for a door"));
        let elsewhere = bytes(13, &[text(1, "location"), text(2, "/etc/hostname")].concat());
        assert!(told(with_op("MatMul", &WEIGHTS, &elsewhere)).contains("another file"));
        let huge = varint(1, 1 << 40);
        assert!(told(with_op("MatMul", &WEIGHTS, &huge)).contains("impossible sides"));
        assert!(told(Vec::new()).contains("no graph"));
    }

    /// The network with one more layer, whose result is an output, too.
    fn beside(op: &str, inputs: &[&str], attributes: [(&str, &[u64]); 2], tensor: &[u8]) -> Vec<u8> {
        let attribute = |(name, ints): (&str, &[u64])| {
            let ints: Vec<u8> = ints.iter().flat_map(|&n| varint(8, n)).collect();
            bytes(5, &[text(1, name), ints, varint(20, 7)].concat())
        };
        let node = inputs.iter().flat_map(|name| text(1, name)).chain(text(2, "more")).chain(text(4, op));
        let node: Vec<u8> = node.chain(attributes.into_iter().flat_map(attribute)).collect();
        let graph = [bytes(1, &node), bytes(5, tensor), bytes(12, &text(1, "more"))].concat();
        [onnx(&WEIGHTS), bytes(7, &graph)].concat()
    }

    #[test]
    fn windows_whose_lists_or_borders_could_take_all_memory_are_refused() {
        let told = |bytes: Vec<u8>| load(bytes).map(|_| ()).unwrap_err().to_string();
        let tensor =
            [[1, 3, 3, 3].map(|side| varint(1, side)).concat(), varint(2, 1), text(8, "k"), bytes(9, &[0; 108])];
        let tensor = tensor.concat();
        for op in ["MaxPool", "AveragePool"] {
            let pool = |kernel: u64, pad: u64| {
                beside(op, &["image"], [("kernel_shape", &[kernel; 2]), ("pads", &[pad; 4])], &tensor)
            };
            assert!(matches!(load(pool(5, 2)), Err(InferError::OutputCount { got: 2, .. })), "{op}");
            assert!(told(pool(1 << 20, 1 << 19)).contains("windows"), "{op}");
        }
        let conv =
            |reach: u64| beside("Conv", &["image", "k"], [("dilations", &[reach; 2]), ("pads", &[reach; 4])], &tensor);
        assert!(matches!(load(conv(1)), Err(InferError::OutputCount { got: 2, .. })));
        assert!(told(conv(1 << 20)).contains("would hold more than"));
    }

    #[test]
    fn layers_that_could_take_all_memory_together_are_refused() {
        // 16 million numbers each.
        let zeros = [[1, 3, 1, 1].map(|side| varint(1, side)).concat(), varint(2, 1), text(8, "k"), bytes(9, &[0; 12])];
        let wide = beside("Conv", &["image", "k"], [("pads", &[1984; 4]), ("strides", &[1; 2])], &zeros.concat());
        let name = |i| if i == 0 { "more".into() } else { format!("more{i}") };
        let behind = |layers: usize| {
            let layer = |i: usize| [text(1, &name(i)), text(2, &name(i + 1)), text(4, "Exp")].concat();
            let nodes: Vec<u8> = (0..layers).flat_map(|i| bytes(1, &layer(i))).collect();
            [wide.clone(), bytes(7, &[nodes, bytes(12, &text(1, &name(layers)))].concat())].concat()
        };
        let told = |layers| load(behind(layers)).map(|_| ()).unwrap_err();
        assert!(matches!(told(4), InferError::OutputCount { got: 3, .. }), "{}", told(4));
        assert!(told(17).to_string().contains("its layers would hold more than"), "{}", told(17));
    }

    #[test]
    fn a_tensor_whose_size_each_picture_chooses_is_refused() {
        let layers: [(&str, &[&str], &str); 5] = [
            ("MatMul", &["flat", "w"], "product"),
            ("NonZero", &["image"], "places"),
            ("CastLike", &["places", "flat"], "some"),
            ("ReduceMean", &["some"], "mean"),
            ("Add", &["product", "mean"], "embedding"),
        ];
        let told = load(of_layers(&layers, &WEIGHTS, &[])).map(|_| ()).unwrap_err().to_string();
        assert!(told.contains("places has no fixed shape"), "{told}");
        let layers = [("Size", &["image"][..], "size"), ("ConstantOfShape", &["size"], "embedding")];
        let told = load(of_layers(&layers, &WEIGHTS, &[])).map(|_| ()).unwrap_err().to_string();
        assert!(told.contains("could take all memory"), "{told}");
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_panic() {
        let whole = onnx(&WEIGHTS);
        for cut in 0..whole.len() {
            // Some cuts still make a network; what counts is that it loads or says why not.
            let _ = load(whole[..cut].to_vec());
        }
        let mut seed = 0x2545_F491_4F6C_DD1Du64;
        for _ in 0..2000 {
            let mut bytes = whole.clone();
            for _ in 0..1 + seed % 3 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let at = seed as usize % bytes.len();
                bytes[at] = (seed >> 32) as u8;
            }
            if let Ok(mut network) = load(bytes) {
                let _ = network.run(|planes| planes.fill(1.0));
            }
        }
    }

    #[test]
    fn a_damaged_int8_network_runs_or_is_an_error() {
        let mut file = Manifest::builtin().built_in("facelatch-encoder-small").unwrap();
        let whole = file.bytes.to_vec();
        let mut random = SplitMix64::new(1);
        for _ in 0..40 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                // The layers come first in the file, the weights after them.
                let at = random.next_u64() as usize % 20_000;
                bytes[at] = random.next_u64() as u8;
            }
            file.bytes = bytes.into();
            if let Ok(mut network) =
                Network::load(&file, [1, 3, 112, 112], &[OutputSpec { name: "", len: 128, each: 1 }])
            {
                let _ = network.run(|planes| planes.fill(1.0));
            }
        }
    }

    #[test]
    fn a_panic_inside_is_an_error_with_its_message() {
        let said = guarded(|| -> TractResult<()> { panic!("index 7 out of 3") }).unwrap_err();
        assert!(said.contains("index 7 out of 3"), "{said}");
    }
}
