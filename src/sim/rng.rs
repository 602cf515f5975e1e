//! Random numbers that are the same every time: xoshiro256** 1.0, seeded by SplitMix64, both as published by their
//! authors (Blackman and Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47(4), 2021;
//! Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). For simulation, never for
//! keys.

use crate::time::Duration;

/// SplitMix64: turns any seed, even a small one, into well mixed numbers.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next of its 2⁶⁴ numbers.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// xoshiro256**.
#[derive(Debug, Clone)]
pub struct Rng([u64; 4]);

impl Rng {
    pub fn new(seed: u64) -> Self {
        let mut mix = SplitMix64::new(seed);
        Self(std::array::from_fn(|_| mix.next_u64()))
    }

    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0..n; 0 where n is 0. The bias, n / 2⁶⁴, is beyond what any simulation notices.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// True with this probability; never where it is NaN.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of them, `None` where there are none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len())).copied()
    }

    /// Uniform between two times, the second excluded; the first where it isn't the earlier.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.unit())
    }

    /// Exponentially distributed about a mean, as the time between independent events is; at most 20 times the mean.
    pub fn around(&mut self, mean: Duration) -> Duration {
        mean.mul_f64((-(1.0 - self.unit()).ln()).min(20.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generators_give_the_published_numbers() {
        let mut mix = SplitMix64::new(1_234_567);
        let first: [u64; 3] = std::array::from_fn(|_| mix.next_u64());
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        let mut rng = Rng([1, 2, 3, 4]);
        let first: [u64; 4] = std::array::from_fn(|_| rng.next_u64());
        assert_eq!(first, [11_520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn every_draw_stays_in_its_range() {
        let mut rng = Rng::new(7);
        let (a, b) = (Duration::from_millis(5), Duration::from_millis(9));
        for _ in 0..10_000 {
            assert!((0.0..1.0).contains(&rng.unit()));
            assert!(rng.below(3) < 3);
            assert!((a..b).contains(&rng.between(a, b)));
            assert!(rng.around(a) <= a * 20);
        }
        assert_eq!((rng.below(0), rng.pick::<u8>(&[]), rng.between(b, a)), (0, None, b));
        assert!(!rng.chance(f64::NAN) && !rng.chance(0.0) && rng.chance(1.0));
    }

    #[test]
    fn times_around_a_mean_have_that_mean() {
        let mut rng = Rng::new(1);
        let sum: f64 = (0..20_000).map(|_| rng.around(Duration::from_secs(10)).as_secs_f64()).sum();
        assert!((sum / 20_000.0 - 10.0).abs() < 0.3);
    }
}
