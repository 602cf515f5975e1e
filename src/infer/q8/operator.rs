//! The operator that tract runs.

use std::sync::Arc;

use tract_core::{op_as_typed_op, op_out_of_plan};
use tract_onnx::pb::ModelProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::expandable::{Expansion, expand};

use super::compile::{Sides, compile, sides};
use super::program::{Given, Program};
use super::recipe::{OPERATOR, Output, Recipe, WHICH};
use crate::infer::cores::{self, MAX_CORES};
use crate::kernels;

/// Puts the recipes in the place of the nodes that [`super::rewrite`] left for them.
///
/// # Errors
/// If the graph has other such nodes.
pub(crate) fn place(model: &mut InferenceModel, proto: &ModelProto, recipes: Vec<Recipe>) -> TractResult<()> {
    let recipes: Vec<_> = recipes.into_iter().map(Arc::new).collect();
    let nodes = proto.graph.iter().flat_map(|graph| &graph.node).filter(|node| node.op_type == OPERATOR);
    for node in nodes {
        let which = node.attribute.iter().find(|a| a.name == WHICH).and_then(|a| usize::try_from(a.i).ok());
        let recipe = which.and_then(|which| recipes.get(which)).context("a part without its recipe")?;
        let id = model.node_id_by_name(&node.name)?;
        model.node_mut(id).op = expand(Part(Arc::clone(recipe)));
    }
    Ok(())
}

/// A recipe before sizes are known.
#[derive(Clone)]
struct Part(Arc<Recipe>);

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{OPERATOR} of {} layers", self.0.layers.len())
    }
}

/// Rows, columns and channels of a batch of one picture, series or vector, plane by plane.
fn planes(shape: &[usize]) -> Option<Sides> {
    match *shape {
        [1, channels, rows, columns] => Some([rows, columns, channels]),
        [1, channels, columns] => Some([1, columns, channels]),
        [1, channels] => Some([1, 1, channels]),
        _ => None,
    }
}

/// The shape of such a result, with as many sides as the part's inputs have.
fn shape(sides: Sides, rank: usize) -> TVec<usize> {
    let [rows, columns, channels] = sides;
    match rank {
        4 => tvec![1, channels, rows, columns],
        3 => tvec![1, channels, columns],
        _ => tvec![1, channels],
    }
}

/// The same of a batch of one picture whose pixels have their three bytes side by side.
fn pixels(shape: &[usize]) -> Option<Sides> {
    match *shape {
        [1, rows, columns, 3] => Some([rows, columns, 3]),
        _ => None,
    }
}

impl Part {
    fn inputs(&self, shapes: &[TVec<usize>]) -> TractResult<(Vec<Sides>, usize)> {
        let rank = shapes.first().map_or(0, |shape| shape.len());
        ensure!(shapes.iter().all(|shape| shape.len() == rank), "inputs of different ranks");
        let of = |(input, shape): (usize, &TVec<usize>)| match self.0.pixels {
            Some(which) if which == input => pixels(shape),
            _ => planes(shape),
        };
        let sides = shapes.iter().enumerate().map(of).collect::<Option<_>>();
        Ok((sides.context("an input that is no batch of one picture")?, rank))
    }

    fn datum_type(&self, input: usize) -> DatumType {
        if self.0.pixels == Some(input) { u8::datum_type() } else { f32::datum_type() }
    }

    fn outputs(&self, shapes: &[TVec<usize>]) -> TractResult<Vec<TVec<usize>>> {
        let (inputs, rank) = self.inputs(shapes)?;
        let (values, results) = sides(&self.0, &inputs)?;
        let of = |output: &Output| match output {
            Output::Of(value) => shape(values[*value], rank),
            Output::From(layer) => shape(results[*layer], rank),
        };
        Ok(self.0.outputs.iter().map(|(_, output)| of(output)).collect())
    }
}

fn concrete(shape: &[TDim]) -> TractResult<TVec<usize>> {
    shape.iter().map(|side| Ok(side.to_usize()?)).collect()
}

impl Expansion for Part {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.outputs.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.0.inputs.len())?;
        check_output_arity(outputs, self.0.outputs.len())?;
        for (index, input) in inputs.iter().enumerate() {
            solver.equals(&input.datum_type, self.datum_type(index))?;
        }
        for output in outputs {
            solver.equals(&output.datum_type, f32::datum_type())?;
        }
        let shapes = inputs.iter().map(|input| (&input.shape).bex());
        solver.given_all(shapes, move |solver, shapes: Vec<TVec<TDim>>| {
            let shapes: Vec<_> = shapes.iter().map(|shape| concrete(shape)).collect::<TractResult<_>>()?;
            for (output, shape) in outputs.iter().zip(self.outputs(&shapes)?) {
                let sides: TVec<TDim> = shape.iter().map(|side| side.to_dim()).collect();
                solver.equals(&output.shape, sides)?;
            }
            Ok(())
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shapes: Vec<_> =
            inputs.iter().map(|input| concrete(&model.outlet_fact(*input)?.shape)).collect::<TractResult<_>>()?;
        let outputs = self.outputs(&shapes)?;
        let cores = if cores::pool().is_some() { MAX_CORES } else { 1 };
        let program = compile(&self.0, &self.inputs(&shapes)?.0, kernels::active(), cores)?;
        let layers = self.0.describe(&sides(&self.0, &self.inputs(&shapes)?.0)?.1);
        let operator = Operator { program: Arc::new(program), outputs: outputs.into(), layers: layers.into() };
        model.wire_node(prefix, operator, inputs)
    }
}

/// A program as tract's operator.
#[derive(Clone)]
pub(crate) struct Operator {
    program: Arc<Program>,
    outputs: Arc<[TVec<usize>]>,
    layers: Arc<[String]>,
}

impl Operator {
    /// Kind, size and name of each layer.
    pub(crate) fn layers(&self) -> &[String] {
        &self.layers
    }
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{OPERATOR} of {} steps", self.program.steps.len())
    }
}

impl PartialEq for Operator {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.program, &other.program)
    }
}

impl Eq for Operator {}

impl Op for Operator {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Operator {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut views: TVec<Given<'_>> = tvec![];
        for input in &inputs {
            let view = input.try_as_plain_ram()?;
            views.push(match input.datum_type() == u8::datum_type() {
                true => Given::Pixels(view.as_slice::<u8>()?),
                false => Given::Reals(view.as_slice::<f32>()?),
            });
        }
        let mut outputs: TVec<Tensor> = tvec![];
        for shape in self.outputs.iter() {
            outputs.push(Tensor::zero::<f32>(shape)?);
        }
        {
            let views_of = outputs.iter_mut().map(|tensor| tensor.try_as_plain_ram_mut());
            let mut plain: TVec<_> = views_of.collect::<TractResult<_>>()?;
            let slices = plain.iter_mut().map(|tensor| tensor.as_slice_mut::<f32>());
            let mut room: TVec<&mut [f32]> = slices.collect::<TractResult<_>>()?;
            let not_finite = |input| format_err!("input {input} of {OPERATOR} holds what isn't a finite number");
            self.program.run(&views, &mut room).map_err(not_finite)?;
        }
        Ok(outputs.into_iter().map(IntoTValue::into_tvalue).collect())
    }
}

impl TypedOp for Operator {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.outputs.iter().map(f32::fact).collect())
    }

    as_op!();
}
