//! The pulse in the colour of skin: the plane orthogonal to the skin tone.
//!
//! W. Wang, A. C. den Brinker, S. Stuijk, G. de Haan: Algorithmic Principles of Remote PPG, IEEE Transactions on
//! Biomedical Engineering 64(7), 2017, doi 10.1109/TBME.2016.2609282: light reflected by skin is divided by its mean,
//! and projected so that what brightens all colours alike (movement, lamps) falls out.

use super::series::TICKS;

/// Ticks that must have all three colours: a second, so that one heartbeat of a calm heart is among them.
const MIN_TICKS: usize = 25;
/// A pulse is about a hundredth of the skin's mean or less.
const SCALE: f32 = 0.01;
/// A second projection with less deviation than this is nothing to tune by.
const MIN_DEVIATION: f32 = 1e-9;
/// Frequencies of a window, half a hertz each: where hearts beat, with a harmonic (0.5 to 3.5 Hz), and where only noise
/// is (4.5 to 7 Hz). Lines between the frames of a slow camera take noise away: one of 12 a second, the slowest that
/// was trained and measured, sees it up to 6 Hz, and windows of fewer frames than 11 a second are not judged.
const BEATS: std::ops::Range<usize> = 1..8;
const NOISE: std::ops::Range<usize> = 9..15;
/// Less is no noise of a camera's, but none: rounding.
const MIN_POWER: f32 = 1e-12;

/// The pulse at each tick in hundredths of the skin's mean, without its trend over the window; `None` where a colour is
/// missing, and everywhere where too much is. `skin` is red, green and blue.
pub(super) fn window(skin: &[[Option<f32>; TICKS]; 3]) -> [Option<f32>; TICKS] {
    let all: [Option<[f32; 3]>; TICKS] = std::array::from_fn(|i| Some([skin[0][i]?, skin[1][i]?, skin[2][i]?]));
    let n = all.iter().flatten().count();
    if n < MIN_TICKS {
        return [None; TICKS];
    }
    let mean = [0, 1, 2].map(|c| all.iter().flatten().map(|colour| colour[c]).sum::<f32>() / n as f32);
    if !mean.iter().all(|mean| *mean > 0.0) {
        return [None; TICKS];
    }
    let projected = all.map(|colour| {
        let [r, g, b] = std::array::from_fn(|c| colour.map(|colour| colour[c] / mean[c]));
        let (r, g, b) = (r?, g?, b?);
        Some([g - b, g + b - 2.0 * r])
    });
    let [first, second] = [0, 1].map(|s| deviation(projected.iter().flatten().map(|p| p[s]), n));
    let tuning = if second >= MIN_DEVIATION { first / second } else { 0.0 };
    let pulse = projected.map(|p| p.map(|[first, second]| first + tuning * second));
    let [level, slope] = trend(&pulse);
    std::array::from_fn(|i| pulse[i].map(|p| (p - level - slope * i as f32) / SCALE))
}

/// How a pulse stands out of the noise: decimal logarithms, of its power where hearts beat over that where only noise
/// is, each the mean of its frequencies, and of the noise. 0 where there is no noise, which is to say no pulse.
pub(super) fn spectrum(pulse: &[f32; TICKS]) -> [f32; 2] {
    let [beats, noise] = [BEATS, NOISE].map(|bins| {
        let n = bins.len() as f32;
        bins.map(|bin| power(pulse, bin)).sum::<f32>() / n
    });
    if noise <= MIN_POWER || beats <= MIN_POWER {
        return [0.0; 2];
    }
    [(beats / noise).log10(), noise.log10() / 2.0 + 1.0]
}

/// |Σ x exp(−2πi · bin · tick / TICKS)|² / TICKS.
fn power(x: &[f32; TICKS], bin: usize) -> f32 {
    let (sine, cosine) = (std::f32::consts::TAU * bin as f32 / TICKS as f32).sin_cos();
    // The angle is turned on instead of being looked up: 50 turns cost single precision no more than the fifth digit.
    let turned = x.iter().fold(([0.0; 2], [1.0, 0.0]), |([re, im], [c, s]), &x| {
        ([re + x * c, im - x * s], [c * cosine - s * sine, s * cosine + c * sine])
    });
    let [re, im] = turned.0;
    (re * re + im * im) / TICKS as f32
}

fn deviation(values: impl Iterator<Item = f32> + Clone, n: usize) -> f32 {
    let mean = values.clone().sum::<f32>() / n as f32;
    (values.map(|x| (x - mean) * (x - mean)).sum::<f32>() / n as f32).sqrt()
}

/// Level and slope a tick of the least-squares line.
fn trend(values: &[Option<f32>]) -> [f32; 2] {
    let points = || values.iter().enumerate().filter_map(|(i, y)| Some((i as f32, (*y)?)));
    let n = points().count() as f32;
    let (x, y) = points().fold((0.0, 0.0), |(x, y), (i, v)| (x + i / n, y + v / n));
    let (xx, xy) = points().fold((0.0, 0.0), |(xx, xy), (i, v)| (xx + (i - x) * (i - x), xy + (i - x) * (v - y)));
    let slope = if xx > 0.0 { xy / xx } else { 0.0 };
    [y - slope * x, slope]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skin(light: impl Fn(f32) -> f32, pulse: impl Fn(f32) -> f32) -> [[Option<f32>; TICKS]; 3] {
        // How much of the blood's change each colour shows (de Haan & van Leest 2014, doi 10.1088/0967-3334/35/9/1913).
        let colours = [(150.0, 0.33), (110.0, 0.77), (90.0, 0.53)];
        colours.map(|(mean, blood)| {
            std::array::from_fn(|i| {
                let t = i as f32 * 0.04;
                Some(mean * light(t) * (1.0 + 0.01 * blood * pulse(t)))
            })
        })
    }

    fn beat(t: f32) -> f32 {
        (std::f32::consts::TAU * 1.2 * t).sin()
    }

    fn correlation(a: &[Option<f32>], b: impl Fn(f32) -> f32) -> f32 {
        let pairs: Vec<_> = a.iter().enumerate().map(|(i, a)| (a.unwrap(), b(i as f32 * 0.04))).collect();
        let (ab, aa, bb) =
            pairs.iter().fold((0.0, 0.0, 0.0), |(ab, aa, bb), (a, b)| (ab + a * b, aa + a * a, bb + b * b));
        ab / (aa * bb).sqrt()
    }

    #[test]
    fn a_pulse_shows_through_light_that_flickers_ten_times_as_strongly() {
        let flicker = |t: f32| 1.0 + 0.1 * (std::f32::consts::TAU * 0.9 * t).sin();
        assert!(correlation(&window(&skin(flicker, beat)), beat).abs() > 0.9);
        let still = window(&skin(flicker, |_| 0.0));
        assert!(still.iter().all(|p| p.unwrap().abs() < 0.02), "{still:?}");
    }

    #[test]
    fn a_beat_stands_out_of_noise_by_its_power_and_nothing_stands_out_of_nothing() {
        // Noise without a preferred frequency: a linear congruential generator's upper bits.
        let mut state = 1u32;
        let noise = std::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            0.2 * ((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
        });
        // Three beats in the window, so that none of them leaks beside its frequency.
        let with_beat = std::array::from_fn(|i| noise[i] + (std::f32::consts::TAU * 1.5 * i as f32 * 0.04).sin());
        let [[alone, floor], [beats, same]] = [noise, with_beat].map(|x| spectrum(&x));
        assert!(alone.abs() < 0.5 && beats > 2.0, "{alone} {beats}");
        // 0.4 / √12 wide: a power of 0.0133, half of whose logarithm is −0.94.
        assert!((floor - 0.06).abs() < 0.25 && (floor - same).abs() < 0.1, "{floor} {same}");
        assert_eq!(spectrum(&[0.0; TICKS]), [0.0; 2]);
    }

    #[test]
    fn too_few_colours_are_no_pulse_and_missing_ticks_stay_missing() {
        let mut some = skin(|_| 1.0, beat);
        some[1][7] = None;
        let pulse = window(&some);
        assert!(pulse[7].is_none() && pulse.iter().flatten().count() == TICKS - 1);
        some[2][..30].fill(None);
        assert_eq!(window(&some), [None; TICKS]);
    }
}
