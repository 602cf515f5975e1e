//! How many parts a network's file has, counted before it is decoded: two bytes of it are an attribute of a layer, and
//! that takes a kilobyte and more of memory. Numbers are no parts; they take at most sixteen times their bytes.

use tract_onnx::prelude::TractResult;

use super::admit::ensure;

/// The most parts of a file. Of the networks that facelatch knows none was seen with more than 3,300.
const MAX_PARTS: usize = 1 << 17;

/// The messages of ONNX (`onnx.proto`) that have parts of their own, any number of them.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    Value,
    Type,
    TensorType,
    Shape,
    Annotation,
    Training,
    Function,
}

impl Message {
    /// Which of them a field is, if it is one.
    fn within(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) | (Self::Training, 1 | 2) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::Value,
            (Self::Graph, 14) => Self::Annotation,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Node, 5) => Self::Attribute,
            (Self::Value, 2) | (Self::Attribute, 15) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            _ => return None,
        })
    }
}

/// Refuses a file of more parts than any network for a door has.
pub(super) fn admit_parts(file: &[u8]) -> TractResult<()> {
    let mut left = vec![(Message::Model, file)];
    let mut parts = 0;
    while let Some((message, mut rest)) = left.pop() {
        // What is no message ends here; decoding says what is wrong with it, and goes no further either.
        while let Some((field, payload)) = next(&mut rest) {
            let Some(payload) = payload else { continue };
            parts += 1;
            ensure(parts <= MAX_PARTS, || format!("more than {MAX_PARTS} parts are no network for a door"))?;
            left.extend(message.within(field).map(|inner| (inner, payload)));
        }
    }
    Ok(())
}

/// Takes a field off a message: its number, and its bytes where it is no number but text, raw bytes or a message.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let key = varint(rest)?;
    let len = match key & 7 {
        0 => varint(rest).map(|_| 0)?,
        1 => 8,
        2 => usize::try_from(varint(rest)?).ok()?,
        5 => 4,
        _ => 0,
    };
    let (payload, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some((key >> 3, (key & 7 == 2).then_some(payload)))
}

/// A number in seven bits of each byte, the lowest first.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::Manifest;
    use super::super::tiny::{bytes, onnx, text, varint};
    use super::*;

    fn is_admitted(file: &[u8]) -> bool {
        admit_parts(file).is_ok()
    }

    #[test]
    fn networks_are_admitted_and_what_is_none_is_left_to_whoever_decodes_it() {
        for model in Manifest::builtin().models() {
            let built_in = Manifest::builtin().built_in(&model.name);
            assert!(built_in.is_none_or(|file| is_admitted(&file.bytes)), "{}", model.name);
        }
        let whole = onnx(&[1.0; 6]);
        assert!((0..whole.len()).all(|cut| is_admitted(&whole[..cut])));
        for broken in [&[0xff; 64][..], &[0x3a, 0x7f, 1], &[0x39, 1], &[0x3b, 0x3c, 0x0f]] {
            assert!(is_admitted(broken), "{broken:?}");
        }
    }

    #[test]
    fn parts_without_number_are_refused_wherever_they_lie() {
        let in_graph = |graph: &[u8]| bytes(7, graph);
        let in_node = |node: &[u8]| in_graph(&bytes(1, node));
        let in_shape = |shape: &[u8]| in_graph(&bytes(13, &bytes(2, &bytes(1, &bytes(2, shape)))));
        let many = |field: u64, count: usize| bytes(field, &[]).repeat(count);
        for (told, file) in [
            ("layers", in_graph(&many(1, MAX_PARTS))),
            ("numbers", in_graph(&many(5, MAX_PARTS))),
            ("names", in_node(&many(1, MAX_PARTS))),
            ("attributes", in_node(&many(5, MAX_PARTS))),
            ("tensors of an attribute", in_node(&bytes(5, &many(10, MAX_PARTS)))),
            ("layers of a layer", in_node(&bytes(5, &bytes(6, &many(1, MAX_PARTS))))),
            ("layers of a function", bytes(25, &many(7, MAX_PARTS))),
            ("sides", in_shape(&many(1, MAX_PARTS))),
            ("properties", many(14, MAX_PARTS + 1)),
        ] {
            assert!(!is_admitted(&file), "{told}");
        }
        assert!(is_admitted(&in_graph(&many(1, MAX_PARTS - 1))));
    }

    #[test]
    fn raw_numbers_are_no_parts() {
        let tensor =
            [text(8, "w"), bytes(9, &bytes(1, &[]).repeat(MAX_PARTS)), varint(1, 3).repeat(MAX_PARTS)].concat();
        assert!(is_admitted(&bytes(7, &bytes(5, &tensor))));
    }
}
