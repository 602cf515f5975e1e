//! What becomes of a sum.

#![forbid(unsafe_code)]

use super::MAX_DEPTH;

/// Vectors of [`Requantise`] are filled up with zeros to a multiple of this, so that kernels load whole registers.
pub(super) const LANES: usize = 64;
/// What a sum times its scale may come to at most: beyond it, conversion to an integer differs from CPU to CPU.
const MAX_REAL: f64 = (1 << 30) as f64;

/// The step between a sum and the next byte; lengths are those of the output channels.
///
/// y = sum · `positive`, or sum · `negative` where sum < 0; where there is an addend r, y within the residual's bounds,
/// plus (r − residual's zero) · residual's scale; the byte is y rounded to the nearest integer, ties to even, plus
/// `zero`, within `low` and `high`.
///
/// So a PReLU of slope a is `negative = a · positive`, a ReLU `negative = 0` or `low = zero`, a ReLU6 a `high`.
#[derive(Debug, Clone)]
pub struct Requantise {
    pub(super) bias: Vec<i32>,
    pub(super) positive: Vec<f32>,
    pub(super) negative: Vec<f32>,
    pub(super) range: OutputRange,
    pub(super) residual: Option<Residual>,
    /// Whether sums below zero have a scale of their own.
    pub(super) has_slope: bool,
    channels: usize,
}

/// The byte that stands for zero, and the least and greatest byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputRange {
    pub zero: u8,
    pub low: u8,
    pub high: u8,
}

impl OutputRange {
    /// Without a bound but a byte's own.
    pub const fn linear(zero: u8) -> Self {
        Self { zero, low: 0, high: u8::MAX }
    }
}

/// How a layer reads its addend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Residual {
    pub zero: u8,
    /// Of the addend's steps in the output's.
    pub scale: f32,
    /// Between which the layer's own part is kept, in the output's steps; zero lies between them.
    pub bounds: [f32; 2],
}

impl Requantise {
    /// For a layer with these `weights`, whose rows (one for each channel) have `depth` numbers. `bias` includes what
    /// the input's zero adds.
    ///
    /// `None` where a sum could leave 32 bits, a scale isn't finite, a result could be beyond 2³⁰, or an addend's
    /// bounds are none: such a layer can't be computed here.
    pub fn new(
        weights: &[i8],
        depth: usize,
        bias: Vec<i32>,
        [positive, negative]: [Vec<f32>; 2],
        range: OutputRange,
        residual: Option<Residual>,
    ) -> Option<Self> {
        let channels = bias.len();
        let fits = depth > 0 && depth <= MAX_DEPTH && channels > 0 && weights.len() == channels * depth;
        let has_bounds = residual.is_none_or(|Residual { bounds: [low, high], .. }| low <= 0.0 && high >= 0.0);
        if !(fits && has_bounds && positive.len() == channels && negative.len() == channels && range.low <= range.high)
        {
            return None;
        }
        let added = residual.map_or(0.0, |r| f64::from(r.scale.abs()) * 255.0);
        for (c, row) in weights.chunks_exact(depth).enumerate() {
            let reach: i64 = row.iter().map(|w| i64::from(w.unsigned_abs()) * 255).sum();
            let reach = reach + i64::from(bias[c]).abs();
            let scale = positive[c].abs().max(negative[c].abs());
            let is_finite = positive[c].is_finite() && negative[c].is_finite();
            let real = reach as f64 * f64::from(scale) + added;
            if !(reach <= i64::from(i32::MAX) && is_finite && real < MAX_REAL) {
                return None;
            }
        }
        let (mut bias, mut positive, mut negative) = (bias, positive, negative);
        let full = channels.next_multiple_of(LANES);
        bias.resize(full, 0);
        positive.resize(full, 0.0);
        negative.resize(full, 0.0);
        let has_slope = positive != negative;
        Some(Self { bias, positive, negative, range, residual, has_slope, channels })
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    pub(super) fn real(&self, channel: usize, sum: i32) -> f32 {
        sum as f32 * if sum < 0 { self.negative[channel] } else { self.positive[channel] }
    }

    /// The definition of the byte.
    pub(super) fn byte(&self, channel: usize, sum: i32, addend: Option<u8>) -> u8 {
        let mut real = self.real(channel, sum);
        if let (Some(residual), Some(addend)) = (self.residual, addend) {
            let [low, high] = residual.bounds;
            real = real.max(low).min(high) + (i32::from(addend) - i32::from(residual.zero)) as f32 * residual.scale;
        }
        let stepped = real.round_ties_even() as i32 + i32::from(self.range.zero);
        stepped.clamp(i32::from(self.range.low), i32::from(self.range.high)) as u8
    }

    /// The vectors with the channels of each four registers in the order in which interleaving their bytes, in `lanes`
    /// of 128 bits, leaves them: register j has in its lane l the channels 16·l + 4·j to 16·l + 4·j + 3. Channels that
    /// are fewer repeat, so that the registers hold `pixels` of them.
    pub(super) fn interleaved(&self, lanes: usize, pixels: usize) -> Self {
        fn order<T: Copy>(numbers: &[T], lanes: usize, channels: usize) -> Vec<T> {
            let sums = 4 * lanes;
            let at = |k: usize| (16 * (k % sums / 4) + 4 * (k / sums) + k % 4) % channels;
            numbers.chunks_exact(16 * lanes).flat_map(|block| (0..16 * lanes).map(move |k| block[at(k)])).collect()
        }
        let channels = 16 * lanes / pixels;
        let bias = order(&self.bias, lanes, channels);
        let [positive, negative] = [&self.positive, &self.negative].map(|scales| order(scales, lanes, channels));
        Self { bias, positive, negative, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

    fn requantise(scale: [f32; 2], range: OutputRange, residual: Option<Residual>) -> Option<Requantise> {
        Requantise::new(&[100], 1, vec![0], scale.map(|s| vec![s]), range, residual)
    }

    #[test]
    fn a_sum_is_scaled_by_its_sign_and_rounded_to_even() {
        let prelu = requantise([0.5, 0.25], OutputRange::linear(10), None).unwrap();
        let bytes = [-6, -2, 0, 1, 3, 5, 7].map(|sum| prelu.byte(0, sum, None));
        assert_eq!(bytes, [8, 10, 10, 10, 12, 12, 14]);
    }

    #[test]
    fn a_byte_stays_within_its_bounds() {
        let relu6 = requantise([1.0, 1.0], OutputRange { zero: 20, low: 20, high: 200 }, None).unwrap();
        assert_eq!([-1_000_000, -1, 1, 1_000_000].map(|sum| relu6.byte(0, sum, None)), [20, 20, 21, 200]);
    }

    #[test]
    fn an_addend_is_added_before_the_rounding() {
        let residual = Residual { zero: 128, scale: 0.25, bounds: UNBOUNDED };
        let added = requantise([0.5, 0.5], OutputRange::linear(0), Some(residual)).unwrap();
        assert_eq!(added.byte(0, 1, Some(130)), 1);
        assert_eq!(added.byte(0, 1, Some(129)), 1);
        assert_eq!(added.byte(0, 1, Some(128)), 0);
        assert_eq!(added.byte(0, 8, Some(0)), 0);
    }

    #[test]
    fn what_is_added_to_stays_within_its_bounds() {
        let residual = |bounds| Some(Residual { zero: 100, scale: 1.0, bounds });
        let added = requantise([1.0, 1.0], OutputRange::linear(50), residual([-20.0, 30.0])).unwrap();
        assert_eq!([-1_000, -20, 7, 30, 1_000].map(|sum| added.byte(0, sum, Some(110))), [40, 40, 67, 90, 90]);
        for none in [[1.0, 2.0], [-2.0, -1.0], [f32::NAN, 1.0], [0.0, f32::NAN]] {
            assert!(requantise([1.0, 1.0], OutputRange::linear(0), residual(none)).is_none(), "{none:?}");
        }
    }

    #[test]
    fn what_could_overflow_is_refused() {
        let linear = OutputRange::linear(0);
        assert!(requantise([1e6, 1.0], linear, None).is_none());
        assert!(requantise([f32::NAN, 1.0], linear, None).is_none());
        assert!(requantise([1.0, f32::INFINITY], linear, None).is_none());
        assert!(
            requantise([1.0, 1.0], linear, Some(Residual { zero: 0, scale: f32::NAN, bounds: UNBOUNDED })).is_none()
        );
        assert!(requantise([1.0, 1.0], OutputRange { zero: 0, low: 2, high: 1 }, None).is_none());
        let of = |bias| Requantise::new(&[127; 4], 4, vec![bias], [vec![0.1], vec![0.1]], linear, None);
        assert!(of(i32::MAX - 127 * 4 * 255).is_some());
        assert!(of(i32::MAX - 127 * 4 * 255 + 1).is_none());
        assert!(of(i32::MIN).is_none());
    }
}
