//! Two tensors added, each on a grid of its own.
//!
//! Plain loops, which the compiler makes vectors of; on x86 a second time for AVX2, as it may otherwise use SSE2 alone.

use super::{Addend, OutputRange, Target, check_places};
use crate::kernels::Isa;

/// Added to a number within 2²², this leaves its nearest integer, ties to even, in the low bits (IEEE 754). Written so,
/// the compiler makes vectors of it; rounding and conversion would be a call for each number.
pub const ROUNDS: f32 = 1.5 * (1 << 23) as f32;

/// y = (a − zero of a) · scale of a + (b − zero of b) · scale of b, scales in steps of the result, is rounded to the
/// nearest integer, ties to even, and moved by the result's zero, within its bounds.
#[derive(Debug, Clone)]
pub struct Sum {
    isa: Isa,
    channels: usize,
    zeros: [f32; 2],
    scales: [f32; 2],
    range: OutputRange,
}

impl Sum {
    /// The largest scale: with it a sum is still within what [`ROUNDS`] rounds.
    const MAX_SCALE: f32 = (1 << 12) as f32;

    /// `None` where a scale is beyond 2¹², or no number.
    pub fn new(isa: Isa, channels: usize, zeros: [u8; 2], scales: [f32; 2], range: OutputRange) -> Option<Self> {
        let is_sane = scales.iter().all(|scale| scale.abs() <= Self::MAX_SCALE) && range.low <= range.high;
        is_sane.then_some(Self { isa, channels, zeros: zeros.map(f32::from), scales, range })
    }

    /// # Panics
    /// If a place lies outside of its buffer, or the places are not equally many.
    pub fn run(&self, parts: [Addend<'_>; 2], target: Target<'_>) {
        let count = target.places.at.len();
        check_places(target.bytes.len(), target.places, count, self.channels);
        parts.iter().for_each(|part| check_places(part.bytes.len(), part.places, count, self.channels));
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vnni if Isa::Avx2.is_available() => {
                // SAFETY: the CPU has the instructions.
                unsafe { self.with_avx2(parts, target) }
            }
            _ => self.plain(parts, target),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn with_avx2(&self, parts: [Addend<'_>; 2], target: Target<'_>) {
        self.plain(parts, target);
    }

    #[inline(always)]
    fn plain(&self, [a, b]: [Addend<'_>; 2], target: Target<'_>) {
        let [low, high] = [self.range.low, self.range.high].map(|bound| f32::from(bound) - f32::from(self.range.zero));
        let pixel = |place: u32| place as usize..place as usize + self.channels;
        for ((&to, &from), &other) in target.places.at.iter().zip(a.places.at).zip(b.places.at) {
            let bytes = a.bytes[pixel(from)].iter().zip(&b.bytes[pixel(other)]);
            for (out, (&a, &b)) in target.bytes[pixel(to)].iter_mut().zip(bytes) {
                let a = (f32::from(a) - self.zeros[0]) * self.scales[0];
                let real = a + (f32::from(b) - self.zeros[1]) * self.scales[1];
                *out = (real.clamp(low, high) + ROUNDS).to_bits().wrapping_add(u32::from(self.range.zero)) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Places;
    use super::*;
    use crate::kernels::suite::{bytes, simd};

    proptest! {
        #[test]
        fn a_sum_is_its_definition_on_every_instruction_set(
            channels in 1usize..80, count in 0usize..9, gap in 0usize..9, zeros: [u8; 2], zero: u8,
            scales in [-3.0f32..3.0, 0.001f32..0.1], seed: u64,
        ) {
            let places = Places::from((0..count).map(|k| (k * (channels + gap)) as u32).collect::<Vec<_>>());
            let size = count * (channels + gap);
            let [a, b] = [bytes(seed, size), bytes(seed ^ 1, size)];
            let range = OutputRange { zero, low: zero / 2, high: zero.max(200) };
            let part = |bytes| Addend { bytes, places: places.all() };
            let mut expected = vec![7; size];
            for at in places.iter().flat_map(|&place| place as usize..place as usize + channels) {
                let [a, b] = [(a[at], 0), (b[at], 1)].map(|(byte, k)| (f32::from(byte) - f32::from(zeros[k])) * scales[k]);
                let stepped = (a + b).round_ties_even() as i32 + i32::from(zero);
                expected[at] = stepped.clamp(range.low.into(), range.high.into()) as u8;
            }
            for isa in simd().chain([Isa::Scalar]) {
                let mut out = vec![7; size];
                let sum = Sum::new(isa, channels, zeros, scales, range).expect("sane scales");
                sum.run([part(&a), part(&b)], Target { bytes: &mut out, places: places.all() });
                prop_assert_eq!(&out, &expected, "{:?}", isa);
            }
        }
    }

    #[test]
    fn a_grid_that_is_far_too_fine_is_refused() {
        let sum = |scale| Sum::new(Isa::Scalar, 1, [0; 2], [1.0, scale], OutputRange::linear(0));
        assert!(sum(4096.0).is_some() && sum(4097.0).is_none() && sum(f32::NAN).is_none());
    }
}
