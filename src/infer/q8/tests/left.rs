//! What is left to tract, and no more than that.

use super::*;

/// What the first convolution's weights are, and the scales of them.
fn weights_of(net: &mut Net) -> [&mut TensorProto; 2] {
    let read =
        net.graph.node.iter().find(|node| node.attribute.iter().any(|a| a.name == "axis")).unwrap().input.clone();
    let mut of = net.graph.initializer.iter_mut().filter(|tensor| read.contains(&tensor.name));
    std::array::from_fn(|_| of.next().unwrap())
}

#[test]
fn a_layer_with_sides_that_are_none_is_left_to_tract() {
    let none = |name: &str, of: &[i64]| AttributeProto { ints: of.to_vec(), ..ints(name, &[]) };
    for (wrong, is_left) in [
        (none("pads", &[-1; 4]), true),
        (none("pads", &[]), true),
        (none("strides", &[2, -2]), true),
        (none("dilations", &[-1, 1]), true),
        (AttributeProto { s: vec![0xff], ..words("auto_pad", "") }, true),
        (none("strides", &[2, 2]), false),
    ] {
        let mut net = Net::new(15, true);
        let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
        let x = net.conv(&x, 8, &[3, 3], 1, vec![wrong.clone()]);
        let x = net.rounded(&x, 128);
        let mut proto = net.model(&[1, 3, 8, 8], &[&x.0]);
        assert_eq!(rewrite(&mut proto).is_empty(), is_left, "{wrong:?}");
    }
}

#[test]
fn unsigned_weights_are_taken_only_with_the_zero_that_makes_them_signed() {
    for (zeros, is_left) in [(None, true), (Some(vec![]), true), (Some(vec![0]), true), (Some(vec![0x80]), false)] {
        let mut net = Net::new(16, true);
        let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
        let x = net.conv(&x, 8, &[3, 3], 1, vec![]);
        net.graph
            .initializer
            .iter_mut()
            .filter(|tensor| tensor.dims.len() == 4)
            .for_each(|tensor| tensor.data_type = 2);
        let zero = zeros.clone().map(|zeros| net.constant(&[zeros.len()], 2, zeros));
        let weights = net.graph.node.iter_mut().find(|node| node.attribute.iter().any(|a| a.name == "axis"));
        weights.unwrap().input.extend(zero);
        let x = net.rounded(&x, 128);
        let mut proto = net.model(&[1, 3, 8, 8], &[&x.0]);
        assert_eq!(rewrite(&mut proto).is_empty(), is_left, "{zeros:?}");
    }
}

#[test]
fn scales_that_turn_the_sign_of_sums_are_left_to_tract() {
    for (sign, ours) in [(1.0, 1), (-1.0, 0)] {
        let mut net = Net::new(17, false);
        let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
        let x = net.conv(&x, 16, &[1, 1], 1, vec![]);
        let [_, scales] = weights_of(&mut net);
        let turned =
            scales.raw_data.as_chunks::<4>().0.iter().flat_map(|n| (sign * f32::from_le_bytes(*n)).to_le_bytes());
        scales.raw_data = turned.collect();
        let slopes = net.floats(&[1, 1, 1], &[0.1]);
        let x = net.simple("PRelu", &[&x, &(slopes, 0)], vec![]);
        let x = net.rounded_on(&x, 0.02, 128);
        assert_eq!(compare(net.model(&[1, 3, 9, 7], &[&x.0]), &[1, 3, 9, 7], (0.02, 1.0, 0.99)), ours, "{sign}");
    }
}

#[test]
fn weights_without_numbers_are_left_to_tract() {
    let mut net = Net::new(18, true);
    let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
    let x = net.conv(&x, 8, &[1, 1], 1, vec![]);
    let [weights, _] = weights_of(&mut net);
    (weights.dims[1], weights.raw_data) = (0, Vec::new());
    let x = net.rounded(&x, 128);
    assert!(rewrite(&mut net.model(&[1, 3, 8, 8], &[&x.0])).is_empty());
}

#[test]
fn a_layer_that_is_too_deep_is_left_to_tract_and_no_other_with_it() {
    // 33 x 33 x 9 products are more than the 9,216 of a sum, and 31 x 31 x 9 are not.
    for (side, ours) in [(31, 2), (33, 1)] {
        let mut net = Net::new(19, true);
        let x = net.rounded_on(&image(), 1.0 / 255.0, 0);
        let x = net.conv(&x, 9, &[1, 1], 1, vec![]);
        let x = net.rounded_on(&x, 0.02, 128);
        let x = net.conv(&x, 4, &[side, side], 1, vec![]);
        let net = net.model(&[1, 3, 34, 34], &[&x.0]);
        assert_eq!(rewrite(&mut net.clone())[0].layers.len(), ours, "{side}");
        assert_eq!(compare(net, &[1, 3, 34, 34], (0.02, 1.0, 0.0)), 1, "{side}");
    }
}

#[test]
fn a_graph_without_bytes_is_left_alone() {
    let mut net = Net::new(9, true);
    let x = net.conv(&image(), 4, &[3, 3], 1, vec![]);
    let mut proto = net.model(&[1, 3, 8, 8], &[&x.0]);
    let before = proto.clone();
    assert!(rewrite(&mut proto).is_empty());
    assert_eq!(proto, before);
}
