//! The smallest networks that load, written byte by byte (ONNX is protobuf), so that tests need no file: the mean of
//! each channel times a matrix.

use std::path::PathBuf;

use super::manifest::{ChannelOrder, Decode, Digest, InputSpec, ModelFile, ModelSpec};

/// A network of 3 x H x W to `outputs` numbers. Row-major `weights` of 3 x outputs.
pub fn onnx(weights: &[f32]) -> Vec<u8> {
    with_op("MatMul", weights, &[])
}

/// The same with another last operator and more in the matrix's tensor.
pub fn with_op(op: &str, weights: &[f32], more_of_tensor: &[u8]) -> Vec<u8> {
    of_layers(&[(op, &["flat", "w"], "embedding")], weights, more_of_tensor)
}

/// The same with other layers after the means of the channels, `flat`: of such kinds, what each reads, and what it
/// makes.
pub fn of_layers(layers: &[(&str, &[&str], &str)], weights: &[f32], more_of_tensor: &[u8]) -> Vec<u8> {
    let outputs = weights.len() as u64 / 3;
    let raw: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    let float = varint(2, 1);
    let tensor = [varint(1, 3), varint(1, outputs), float.clone(), text(8, "w"), bytes(9, &raw), more_of_tensor.into()];
    let graph = [
        bytes(1, &node("GlobalAveragePool", &["image"], "pooled")),
        bytes(1, &node("Flatten", &["pooled"], "flat")),
        layers.iter().flat_map(|(op, inputs, output)| bytes(1, &node(op, inputs, output))).collect(),
        text(2, "tiny"),
        bytes(5, &tensor.concat()),
        bytes(11, &value("image", &[1, 3, 112, 112])),
        bytes(12, &value("embedding", &[1, outputs])),
    ];
    let opset = [text(1, ""), varint(2, 13)].concat();
    [varint(1, 8), bytes(7, &graph.concat()), bytes(8, &opset)].concat()
}

/// Such a network as a file that promises `dims` numbers.
pub fn model(bytes: Vec<u8>, dims: usize) -> ModelFile {
    let input = InputSpec {
        width: 112,
        height: 112,
        resizable: false,
        order: ChannelOrder::Rgb,
        mean: [0.0; 3],
        scale: [1.0; 3],
    };
    let spec = ModelSpec {
        name: "tiny".into(),
        file: "tiny.onnx".into(),
        sha256: Digest::of(&bytes),
        licence: String::new(),
        source: String::new(),
        notes: String::new(),
        decode: Decode::Embedding { dims },
        input,
    };
    ModelFile { spec, path: PathBuf::from("tiny.onnx"), bytes: bytes.into() }
}

/// A layer of a graph, which goes by the name of its output.
pub fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|name| text(1, name));
    inputs.chain(text(2, output)).chain(text(3, output)).chain(text(4, op)).collect()
}

/// What goes in or comes out, of floats.
pub fn value(name: &str, sides: &[u64]) -> Vec<u8> {
    let shape: Vec<u8> = sides.iter().flat_map(|&side| bytes(1, &varint(1, side))).collect();
    let tensor = [varint(1, 1), bytes(2, &shape)].concat();
    [text(1, name), bytes(2, &bytes(1, &tensor))].concat()
}

fn raw_varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// A number as the field of a message.
pub fn varint(field: u64, n: u64) -> Vec<u8> {
    [raw_varint(field << 3), raw_varint(n)].concat()
}

/// Bytes, or another message, as the field of a message.
pub fn bytes(field: u64, payload: &[u8]) -> Vec<u8> {
    [raw_varint(field << 3 | 2), raw_varint(payload.len() as u64), payload.to_vec()].concat()
}

/// Text as the field of a message.
pub fn text(field: u64, payload: &str) -> Vec<u8> {
    bytes(field, payload.as_bytes())
}
