//! The property that every instruction set's layers have: bit for bit what the scalar form computes, and no byte
//! elsewhere.

use proptest::prelude::*;

use super::guard::guarded;
use super::*;
use crate::kernels::suite::{bytes, simd};

/// What fills an output before a layer writes it.
const CANARY: u8 = 0xa5;

/// Weights from the seed, every other seed's from the extremes. Symmetric ones have no -128, which lets some kernels
/// add two products before they widen them, and yet a file may: one seed's in four do.
fn weights(seed: u64, n: usize) -> Vec<i8> {
    let least = if (seed / 2).is_multiple_of(4) { i8::MIN } else { -127 };
    let extremes = [-128, -127, 127, 0];
    let of = |byte: u8| if seed.is_multiple_of(2) { byte as i8 } else { extremes[usize::from(byte) % 4] };
    bytes(seed & !1, n).into_iter().map(|byte| of(byte).max(least)).collect()
}

fn requantise(seed: u64, weights: &[i8], depth: usize, has_addend: bool) -> Requantise {
    let channels = weights.len() / depth;
    let numbers = bytes(seed, 7 * channels);
    let number = |at: usize| f32::from(numbers[at]) / 255.0;
    // Sums are some 127 · 128 · √depth wide: scales that leave most results within a byte, and some not.
    let step = 255.0 / (16256.0 * (depth as f32).sqrt());
    let positive: Vec<_> = (0..channels).map(|c| step * (0.1 + 4.0 * number(c))).collect();
    let slope = |c: usize| [1.0, 0.0, number(channels + c) - 0.5][seed as usize % 3];
    let negative = (0..channels).map(|c| positive[c] * slope(c)).collect();
    let bias =
        (0..channels).map(|c| i32::from_le_bytes(std::array::from_fn(|k| numbers[(2 + k) * channels + c])) >> 12);
    let zero = bytes(seed ^ 1, 1)[0];
    let range = [
        OutputRange::linear(zero),
        OutputRange { zero, low: zero, high: 255 },
        OutputRange { zero, low: zero / 2, high: zero.max(200) },
    ];
    let bounds = [[f32::NEG_INFINITY, f32::INFINITY], [-40.0 * number(0), 60.0 * number(0)], [0.0, 90.0]];
    let bounds = bounds[seed as usize / 9 % 3];
    let residual = has_addend.then(|| Residual { zero: numbers[0], scale: 3.0 * number(channels), bounds });
    Requantise::new(weights, depth, bias.collect(), [positive, negative], range[seed as usize / 3 % 3], residual)
        .expect("sums and scales within their limits")
}

/// Places in a buffer that is `gap` bytes wider than needed at each, in no order that a kernel could rely on.
fn places(count: usize, channels: usize, gap: usize, seed: u64) -> (Places, usize) {
    let mut places: Vec<_> = (0..count).map(|k| (3 + k * (channels + gap)) as u32).collect();
    if seed.is_multiple_of(5) {
        places.reverse();
    }
    // The last of them ends with the buffer.
    (places.into(), 3 + (count * (channels + gap)).saturating_sub(gap))
}

proptest! {
    #![proptest_config(crate::testing::properties(300))]

    #[test]
    fn a_dense_layer_is_the_same_on_every_instruction_set(
        outputs in 1usize..150, depth in prop_oneof![9 => 1usize..140, 1 => 1000usize..2500], count in 0usize..20,
        more in 0usize..9, gap in 0usize..70, shift in 0usize..9, has_addend: bool, seed: u64,
    ) {
        let weights = weights(seed, outputs * depth);
        let requantise = requantise(seed, &weights, depth, has_addend);
        let stride = depth + more;
        // The last row ends with its slack and the page.
        let needed = count.checked_sub(1).map_or(0, |last| last * stride + depth + SLACK);
        let buffer = guarded(&bytes(seed ^ 2, shift + needed));
        let rows = Rows { bytes: &buffer[shift..], stride, count };
        let (places, size) = places(count, outputs, gap, seed);
        let addend = guarded(&bytes(seed ^ 3, size));
        let addend = has_addend.then_some(Addend { bytes: &addend, places: places.all() });
        let run = |isa| {
            let layer = Dense::new(isa, &weights, depth, requantise.clone());
            let (mut out, mut sums) = (guarded(&vec![CANARY; size]), vec![0; count * outputs]);
            let mut scratch = Scratch::default();
            scratch.reserve_for(&layer);
            layer.run(rows, addend, Target { bytes: &mut out, places: places.all() }, &mut scratch);
            layer.sums(rows, &mut sums, &mut scratch);
            (out.to_vec(), sums)
        };
        let expected = run(Isa::Scalar);
        for isa in simd() {
            let got = run(isa);
            prop_assert_eq!(&got.1, &expected.1, "sums by {:?}", isa);
            prop_assert_eq!(&got.0, &expected.0, "bytes by {:?}", isa);
        }
        #[cfg(target_arch = "x86_64")]
        if avxvnni::evex::is_available() {
            let layer = Dense::new(Isa::AvxVnni, &weights, depth, requantise.clone());
            let (mut out, mut sums) = (guarded(&vec![CANARY; size]), vec![0; count * outputs]);
            // SAFETY: the CPU has the instructions; rows, addend, places and sums are what the other kernels were
            // given.
            unsafe {
                avxvnni::evex::dense(&layer, rows, addend, Target { bytes: &mut out, places: places.all() });
                avxvnni::evex::sums(&layer, rows, &mut sums);
            }
            prop_assert_eq!((out.to_vec(), sums), expected, "256 bits of VNNI");
        }
    }

    #[test]
    fn a_depthwise_layer_is_the_same_on_every_instruction_set(
        // Most layers have windows of 3 x 3 and several blocks of channels, for which kernels have forms of their own.
        channels in prop_oneof![
            2 => 1usize..150, 2 => 17usize..81, 1 => prop::sample::select(vec![16usize, 32, 48, 64]),
        ],
        kernel in prop_oneof![
            2 => Just([3usize, 3]),
            3 => prop::sample::select(vec![[3usize, 3], [5, 5], [7, 7], [3, 1], [1, 3], [1, 9], [2, 4]]),
        ],
        out in [1usize..6, 1usize..8], stride in [1usize..3, 1usize..3], dilation in prop::sample::select(vec![[1, 1], [1, 1], [2, 3]]),
        more in 0usize..3, gap in 0usize..70, shift in 0usize..9, has_addend: bool, seed: u64,
    ) {
        let mut window = Window { kernel, stride, dilation, width: usize::MAX, out };
        let [rows, columns] = window.reach();
        window.width = columns + more;
        let weights = weights(seed, channels * window.taps());
        let requantise = requantise(seed, &weights, window.taps(), has_addend);
        let needed = ((rows - 1) * window.width + columns) * channels + SLACK;
        let image = guarded(&bytes(seed ^ 2, shift + needed));
        let image = &image[shift..];
        let (places, size) = places(out[0] * out[1], channels, gap, seed);
        let addend = guarded(&bytes(seed ^ 3, size));
        let addend = has_addend.then_some(Addend { bytes: &addend, places: places.all() });
        let run = |isa| {
            let layer = Depthwise::new(isa, &weights, window, requantise.clone());
            let (mut out, mut sums) = (guarded(&vec![CANARY; size]), vec![0; places.len() * channels]);
            layer.run(image, addend, Target { bytes: &mut out, places: places.all() });
            layer.sums(image, &mut sums);
            (out.to_vec(), sums)
        };
        let expected = run(Isa::Scalar);
        for isa in simd() {
            let got = run(isa);
            prop_assert_eq!(&got.1, &expected.1, "sums by {:?}", isa);
            prop_assert_eq!(&got.0, &expected.0, "bytes by {:?}", isa);
        }
        #[cfg(target_arch = "x86_64")]
        if avxvnni::evex::is_available() {
            let layer = Depthwise::new(Isa::AvxVnni, &weights, window, requantise.clone());
            let (mut out, mut sums) = (guarded(&vec![CANARY; size]), vec![0; places.len() * channels]);
            // SAFETY: the CPU has the instructions; image, addend, places and sums are what the other kernels were
            // given.
            unsafe {
                avxvnni::evex::depthwise(&layer, image, addend, Target { bytes: &mut out, places: places.all() });
                avxvnni::evex::depthwise_sums(&layer, image, &mut sums);
            }
            prop_assert_eq!((out.to_vec(), sums), expected, "256 bits of VNNI");
        }
    }
}

#[test]
fn a_sum_of_extremes_at_the_greatest_depth_is_exact() {
    let depth = MAX_DEPTH;
    for (weight, byte) in [(127, 255), (-127, 255), (-127, 0)] {
        let weights = vec![weight; depth];
        let requantise =
            Requantise::new(&weights, depth, vec![-7], [vec![1e-3], vec![1e-3]], OutputRange::linear(3), None).unwrap();
        let buffer = vec![byte; depth + SLACK];
        for isa in simd().chain([Isa::Scalar]) {
            let mut sums = [0];
            let layer = Dense::new(isa, &weights, depth, requantise.clone());
            let mut scratch = Scratch::default();
            scratch.reserve_for(&layer);
            layer.sums(Rows { bytes: &buffer, stride: 0, count: 1 }, &mut sums, &mut scratch);
            assert_eq!(sums, [-7 + i32::from(weight) * i32::from(byte) * depth as i32], "{isa:?}");
        }
    }
}
