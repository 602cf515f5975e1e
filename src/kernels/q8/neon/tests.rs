//! Weights of -128 throughout, on bytes of zero throughout, which stand for -128 as well: two such products don't fit
//! 16 bits. The suite of all instruction sets has random bytes, which hardly ever bring two of them together.

use crate::kernels::Isa;
use crate::kernels::q8::{Dense, Depthwise, OutputRange, Places, Requantise, Rows, SLACK, Scratch, Target, Window};
use crate::kernels::suite::{bytes, simd};

/// Some of them -128, and all of an even seed.
fn weights(seed: u64, n: usize) -> Vec<i8> {
    if seed.is_multiple_of(2) { vec![i8::MIN; n] } else { bytes(seed, n).into_iter().map(|byte| byte as i8).collect() }
}

fn requantise(weights: &[i8], depth: usize) -> Requantise {
    let channels = weights.len() / depth;
    let scales = [vec![1e-3; channels], vec![5e-4; channels]];
    Requantise::new(weights, depth, vec![-9; channels], scales, OutputRange::linear(100), None).expect("small sums")
}

#[test]
fn a_dense_layer_takes_the_least_weight() {
    for (seed, outputs, depth) in [(1, 19, 50), (2, 4, 32), (3, 1, 7), (4, 9, 16)] {
        let weights = weights(seed, outputs * depth);
        for fill in [0, 127, 255] {
            let image = vec![fill; 4 * depth + SLACK];
            let sums = |isa| {
                let mut sums = vec![0; 4 * outputs];
                let rows = Rows { bytes: &image, stride: depth, count: 4 };
                let layer = Dense::new(isa, &weights, depth, requantise(&weights, depth));
                layer.sums(rows, &mut sums, &mut Scratch::default());
                sums
            };
            for isa in simd() {
                assert_eq!(sums(isa), sums(Isa::Scalar), "{isa:?}, {outputs} x {depth}");
            }
        }
    }
}

#[test]
fn a_depthwise_layer_takes_the_least_weight() {
    for (seed, channels, kernel) in [(1, 19, [3, 3]), (2, 16, [3, 3]), (3, 5, [2, 2]), (4, 40, [1, 1])] {
        let window = Window { kernel, stride: [1, 1], dilation: [1, 1], width: 7, out: [2, 5] };
        let weights = weights(seed, channels * window.taps());
        for fill in [0, 127, 255] {
            let image = vec![fill; 4 * 7 * channels + SLACK];
            let places = Places::from((0..10).map(|at| (at * channels) as u32).collect::<Vec<_>>());
            let run = |isa| {
                let mut out = vec![0; 10 * channels];
                let layer = Depthwise::new(isa, &weights, window, requantise(&weights, window.taps()));
                layer.run(&image, None, Target { bytes: &mut out, places: places.all() });
                out
            };
            for isa in simd() {
                assert_eq!(run(isa), run(Isa::Scalar), "{isa:?}, {channels} channels of {kernel:?}");
            }
        }
    }
}
