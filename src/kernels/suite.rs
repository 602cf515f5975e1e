//! The property that every kernel has: what an instruction set computes is, bit for bit, what the scalar form does.
//!
//! Shapes, strides, contents and alignment are random; buffers end where the data does, and what lies beyond an output
//! is seen to be untouched.

use proptest::prelude::*;

use super::panels::tests::Above;
use super::warp::{Affine, warp_on};
use super::{Isa, colour, dot, panels, scale, tensor, warp};
use crate::frame::{Frame, Geometry, PixelFormat, RgbImage};
use crate::sim::rng::SplitMix64;
use crate::time::Instant;

/// Wide enough for two blocks of the widest kernel and a rest.
const WIDEST: usize = 72;
/// Panels of rows, the last of which may be filled in part.
const PANELS: usize = 4;
/// What surrounds an output.
const CANARY: usize = 64;

/// What this machine can compare with the reference.
pub(super) fn simd() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|&isa| isa != Isa::Scalar && isa.is_available())
}

/// Bytes that depend on the seed alone, every other seed's from the extremes.
pub(super) fn bytes(seed: u64, n: usize) -> Vec<u8> {
    const EXTREMES: [u8; 8] = [0, 1, 16, 127, 128, 235, 240, 255];
    let mut mix = SplitMix64::new(seed);
    let mut next = || mix.next_u64() as usize;
    (0..n).map(|_| if seed.is_multiple_of(2) { next() as u8 } else { EXTREMES[next() % 8] }).collect()
}

fn image(seed: u64, width: usize, height: usize) -> RgbImage {
    let mut image = RgbImage::new(width, height);
    let n = image.data().len();
    image.data_mut().copy_from_slice(&bytes(seed, n));
    image
}

/// Numbers that sum to something, or break what is careless: subnormal, huge, infinite, NaN, negative zero.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -1.0f32..1.0,
        1 => any::<f32>(),
        1 => prop::sample::select(vec![0.0, -0.0, f32::MIN_POSITIVE / 4.0, f32::MAX, f32::INFINITY, f32::NAN]),
    ]
}

/// Equal in every bit, save which of the NaNs it is: IEEE 754 leaves open which operand's payload survives.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

/// Runs `kernel` on an output of `n` elements, misaligned by `shift` elements, and sees that it writes nothing else.
fn fenced<T: Copy + PartialEq + std::fmt::Debug>(
    n: usize,
    shift: usize,
    fill: T,
    kernel: impl FnOnce(&mut [T]),
) -> Vec<T> {
    let mut buffer = vec![fill; shift + n + CANARY];
    kernel(&mut buffer[shift..shift + n]);
    assert!(buffer[..shift].iter().chain(&buffer[shift + n..]).all(|x| *x == fill), "written beyond {n} elements");
    buffer[shift..shift + n].to_vec()
}

/// A frame whose bytes begin `shift` bytes into an allocation and end with it.
fn with_frame(geometry: Geometry, seed: u64, shift: usize, run: impl FnOnce(&Frame<'_>)) {
    let needed = geometry.required_bytes().expect("a size that fits");
    let buffer = bytes(seed, shift + needed);
    run(&Frame::new(geometry, 0, Instant::BOOT, &buffer[shift..]).expect("enough bytes"));
}

proptest! {
    #![proptest_config(crate::testing::properties(256))]

    #[test]
    fn colour_is_the_same_on_every_instruction_set(
        pairs in 1..=WIDEST / 2, half_height in 1u32..=3, padding in 0u32..40, seed: u64, shift in 0usize..32,
    ) {
        type Convert = fn(Isa, &Frame<'_>, &mut RgbImage);
        let formats: [(PixelFormat, Convert); 3] = [
            (PixelFormat::Yuyv, colour::yuyv_on),
            (PixelFormat::Nv12, colour::nv12_on),
            (PixelFormat::Grey, colour::grey_on),
        ];
        for (format, convert) in formats {
            let odd = u32::from(format == PixelFormat::Grey);
            let mut geometry = Geometry::packed(format, 2 * pairs as u32 - odd, 2 * half_height - odd);
            geometry.stride += padding;
            with_frame(geometry, seed, shift, |frame| {
                let (mut expected, mut got) = (RgbImage::default(), RgbImage::default());
                convert(Isa::Scalar, frame, &mut expected);
                for isa in simd() {
                    convert(isa, frame, &mut got);
                    assert_eq!(got, expected, "{format:?} by {isa:?}");
                }
            });
        }
    }

    #[test]
    fn rows_are_written_to_their_end_and_not_beyond(pairs in 0..=WIDEST / 2, seed: u64, shift in 0usize..32) {
        let source = bytes(seed, shift + 4 * pairs);
        let source = &source[shift..];
        for isa in simd() {
            let both = |kernel: fn(Isa, &[u8], &mut [u8]), n: usize| {
                assert_eq!(
                    fenced(n, shift, 0xa5, |out| kernel(isa, source, out)),
                    fenced(n, shift, 0xa5, |out| kernel(Isa::Scalar, source, out))
                );
            };
            both(|isa, source, out| { use colour::scalar; dispatch!(isa, colour::yuyv_row(source, out)); }, 6 * pairs);
            both(|isa, source, out| { use colour::scalar; dispatch!(isa, colour::grey_row(source, out)); }, 12 * pairs);
            both(|isa, source, out| {
                use colour::scalar;
                let (luma, chroma) = source.split_at(source.len() / 2);
                dispatch!(isa, colour::nv12_row(luma, chroma, out));
            }, 6 * pairs);
        }
    }

    #[test]
    fn halves_are_the_same_on_every_instruction_set(
        width in 1..=WIDEST, height in 1usize..=5, seed: u64,
    ) {
        let src = image(seed, width, height);
        let (mut expected, mut got) = (RgbImage::default(), RgbImage::default());
        scale::halve_on(Isa::Scalar, &src, &mut expected);
        prop_assert_eq!([expected.width(), expected.height()], [width / 2, height / 2]);
        for isa in simd() {
            scale::halve_on(isa, &src, &mut got);
            prop_assert_eq!(&got, &expected);
        }
    }

    #[test]
    fn warps_are_the_same_on_every_instruction_set(
        from in (0..=40usize, 0..=40usize), to in (0..=WIDEST, 0..=12usize), seed: u64,
        turn in prop_oneof![prop::array::uniform4(-2.0f32..2.0), prop::array::uniform4(-1e-3f32..1e-3),
            prop::array::uniform4(-1e7f32..1e7)],
        shift in prop_oneof![prop::array::uniform2(-10.0f32..50.0), prop::array::uniform2(-1e7f32..1e7)],
    ) {
        let src = image(seed, from.0, from.1);
        let affine = Affine::new([turn[0], turn[1], shift[0], turn[2], turn[3], shift[1]]).expect("finite");
        let [mut expected, mut got] = [0, 1].map(|k| image(k, to.0, to.1));
        warp_on(Isa::Scalar, &src, &affine, &mut expected);
        for isa in simd() {
            warp_on(isa, &src, &affine, &mut got);
            prop_assert_eq!(&got, &expected);
        }
        for (y, row) in expected.data().chunks_exact((3 * to.0).max(1)).enumerate() {
            for (x, pixel) in row.as_chunks::<3>().0.iter().enumerate() {
                prop_assert_eq!(*pixel, warp::tests::by_definition(&src, &affine, x, y), "pixel {} {}", x, y);
            }
        }
    }

    #[test]
    fn tensors_are_the_same_on_every_instruction_set(
        width in 0..=WIDEST, height in 0usize..=3, seed: u64, swap: bool, shift in 0usize..8,
        mean in prop::array::uniform3(number()), scale in prop::array::uniform3(number()),
    ) {
        let img = image(seed, width, height);
        let planar = |isa| fenced(3 * width * height, shift, -7.0f32, |out| {
            tensor::planar_on(isa, &img, mean, scale, swap, out);
        });
        let expected = planar(Isa::Scalar);
        for isa in simd() {
            prop_assert!(same(&planar(isa), &expected));
        }
        for (at, pixel) in img.data().as_chunks::<3>().0.iter().enumerate() {
            for plane in 0..3 {
                let sample = f32::from(pixel[if swap { 2 - plane } else { plane }]);
                let at = plane * width * height + at;
                prop_assert!(same(&[expected[at]], &[(sample - mean[plane]) * scale[plane]]));
            }
        }
    }

    #[test]
    fn sums_are_the_same_on_every_instruction_set(
        terms in prop::collection::vec((number(), number(), number()), 0..=150), shift in 0usize..8,
    ) {
        let column = |pick: fn(&(f32, f32, f32)) -> f32| -> Vec<f32> {
            std::iter::repeat_n(0.0, shift).chain(terms.iter().map(pick)).collect()
        };
        let (a, b, w) = (column(|t| t.0), column(|t| t.1), column(|t| t.2));
        let (a, b, w) = (&a[shift..], &b[shift..], &w[shift..]);
        for isa in simd() {
            prop_assert!(same(&[dot::dot_on(isa, a, b)], &[dot::dot_on(Isa::Scalar, a, b)]));
            prop_assert!(same(&[dot::weighted_l1_on(isa, a, b, w)], &[dot::weighted_l1_on(Isa::Scalar, a, b, w)]));
        }
    }

    #[test]
    fn scores_above_the_floor_are_the_exact_dot_products(
        dims in prop_oneof![1..=40usize, 500..=panels::MAX_DIMS], rows in 0..=PANELS * panels::ROWS, seed: u64,
        narrow: bool, floors: [prop::sample::Index; PANELS], first in 0..=PANELS + 1,
    ) {
        let mut numbers: Vec<i8> = bytes(seed, (rows + 1) * dims).into_iter().map(|byte| byte as i8).collect();
        let (query, stored) = numbers.split_at_mut(dims);
        if narrow {
            query.iter_mut().for_each(|x| *x = (*x).clamp(-panels::NARROW, panels::NARROW));
        }
        let mut panels = panels::Panels::new(dims);
        stored.chunks_exact(dims).for_each(|row| panels.push(row));
        let exact: Vec<i32> = stored
            .chunks_exact(dims)
            .map(|row| row.iter().zip(&*query).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum())
            .collect();
        // A score that is there, now and then nothing and everything.
        let floors = floors.map(|at| match at.index(rows + 2) {
            0 => i32::MIN,
            1 => i32::MAX,
            at => exact[at - 2],
        });
        for floors in [[i32::MIN; PANELS], floors] {
            let of = |panel: usize| floors[panel];
            let expected: Vec<_> = exact
                .iter()
                .copied()
                .enumerate()
                .filter(|&(row, score)| row / panels::ROWS >= first && score > of(row / panels::ROWS))
                .collect();
            for isa in simd().chain([Isa::Scalar]) {
                let mut above = Above(of, Vec::new());
                panels.search_on(isa, query, first, &mut above);
                prop_assert_eq!(&above.1, &expected, "{:?}", isa);
            }
        }
    }
}

#[test]
fn the_largest_sums_fit() {
    let numbers = [i8::MIN, -panels::NARROW, panels::NARROW, i8::MAX];
    for (a, b) in numbers.into_iter().flat_map(|a| numbers.map(|b| (a, b))) {
        let mut panels = panels::Panels::new(panels::MAX_DIMS);
        panels.push(&[a; panels::MAX_DIMS]);
        for isa in simd().chain([Isa::Scalar]) {
            let mut above = Above(|_| i32::MIN, Vec::new());
            panels.search_on(isa, &[b; panels::MAX_DIMS], 0, &mut above);
            assert_eq!(above.1, [(0, i32::from(a) * i32::from(b) * panels::MAX_DIMS as i32)], "{isa:?}");
        }
    }
}
