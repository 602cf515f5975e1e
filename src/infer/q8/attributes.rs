//! How layers say what their windows are.

use tract_onnx::pb::NodeProto;

use super::graph::{Graph, attribute_or, float_or, sides, text};

type Windows = ([usize; 2], [usize; 2], [usize; 2], [usize; 4], usize);

/// Kernel, stride, dilation, pads and groups of a `Conv`, or of the `Gemm` that is one of a single pixel.
pub(super) fn window(node: &NodeProto, dims: &[usize]) -> Option<Windows> {
    if node.op_type == "Gemm" {
        let plain = |name, value: f32| float_or(node, name, 1.0) == value;
        let is_plain = plain("alpha", 1.0) && plain("beta", 1.0) && attribute_or(node, "transA", 0) == 0;
        let is_matrix = dims.len() == 2 && attribute_or(node, "transB", 0) == 1;
        return (is_plain && is_matrix).then_some(([1, 1], [1, 1], [1, 1], [0; 4], 1));
    }
    let kernel = two(dims.get(2..)?.to_vec(), 1)?;
    let (stride, dilation, pads) = strides(node)?;
    let groups = usize::try_from(attribute_or(node, "group", 1)).ok().filter(|groups| *groups > 0)?;
    dims[0].is_multiple_of(groups).then_some((kernel, stride, dilation, pads, groups))
}

/// Stride, dilation and pads, of which a network of one dimension has half.
pub(super) fn strides(node: &NodeProto) -> Option<([usize; 2], [usize; 2], [usize; 4])> {
    if !["", "NOTSET"].contains(&text(node, "auto_pad")) {
        return None;
    }
    let pads = match sides(node, "pads")?[..] {
        [] => [0; 4],
        [before, after] => [0, before, 0, after],
        [top, left, bottom, right] => [top, left, bottom, right],
        _ => return None,
    };
    let or_ones = |name| two(sides(node, name)?, 1);
    let (stride, dilation) = (or_ones("strides")?, or_ones("dilations")?);
    stride.iter().chain(&dilation).all(|&n| n > 0).then_some((stride, dilation, pads))
}

/// Of rows and columns: one number is that of the columns.
pub(super) fn two(sides: Vec<usize>, otherwise: usize) -> Option<[usize; 2]> {
    match sides[..] {
        [] => Some([otherwise; 2]),
        [columns] => Some([otherwise, columns]),
        [rows, columns] => Some([rows, columns]),
        _ => None,
    }
}

/// How often a `Resize` repeats each pixel, if that is all it does.
pub(super) fn factors(graph: &Graph<'_>, node: &NodeProto) -> Option<[usize; 2]> {
    let is_nearest = text(node, "mode") == "nearest" || text(node, "mode").is_empty();
    let transform = text(node, "coordinate_transformation_mode");
    let floors = transform == "asymmetric" && text(node, "nearest_mode") == "floor";
    let halves =
        ["", "half_pixel"].contains(&transform) && ["", "round_prefer_floor"].contains(&text(node, "nearest_mode"));
    let scales = graph.floats(node.input.get(2)?)?;
    let [1.0, 1.0, rows, columns] = scales[..] else { return None };
    let whole = |scale: f32| (scale.fract() == 0.0 && (1.0..=8.0).contains(&scale)).then_some(scale as usize);
    (is_nearest && (floors || halves)).then_some([whole(rows)?, whole(columns)?])
}
