//! How fast a heart beats, from the colour of a face or the light through a finger: for people who read a session, and
//! to tell how much of a pulse the channels carry. Nothing is judged by it: the head is shown the pulse itself, over
//! two seconds.

use super::Channel;
use super::camera::LOST_AFTER;
use super::pos;
use super::series::TICKS;
use super::session::{Session, seconds};
use crate::time::Instant;

/// A rate needs so many seconds at least; of a longer series the last [`MAX_SPAN_S`] count.
pub const MIN_SPAN_S: f64 = 8.0;
pub const MAX_SPAN_S: f64 = 20.0;
/// Between samples further apart than this the beat is unknown.
const MAX_GAP_S: f64 = 0.5;
/// Rates that hearts have, in hertz: 42 to 210 beats a minute.
pub const BAND_HZ: [f64; 2] = [0.7, 3.5];
const STEP_HZ: f64 = 0.01;
/// The tick that series are resampled to, that of the window.
const TICKS_A_SECOND: f64 = 25.0;
/// Slower changes than this are breath, light and movement: a running mean of so many ticks (1.5 s) is taken out.
const DRIFT_TICKS: usize = 37;
/// A movement is worth no more than so many standard deviations.
const MAX_DEVIATIONS: f64 = 3.0;
/// Power within so many hertz belongs to the beat; rates vary by breath.
const WIDTH_HZ: f64 = 0.15;
/// What has less of its power near one rate may be noise. Of noise alone in the skin's colours over 8 s, drawn 300
/// times, the 99th percentile has 0.56.
const CLEAR: f32 = 0.6;
/// A colour or signal that varies less than this is constant.
const MIN_DEVIATION: f64 = 1e-9;

/// A heart's rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beat {
    pub per_minute: f32,
    /// The share of the band's power that is near the rate and its double, 0 to 1; noise has a fifth to a half.
    pub quality: f32,
}

/// The rates that a session's longest stretches without a gap show, `None` where none stands out.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Hearts {
    /// In the colour of the face.
    pub skin: Option<Beat>,
    /// In the light through a finger.
    pub finger: Option<Beat>,
}

impl Hearts {
    pub fn of(session: &Session) -> Self {
        let finger: Vec<_> = longest(session, [Channel::Touch]).into_iter().map(|(t, [light])| (t, light)).collect();
        let skin = longest(session, [Channel::SkinR, Channel::SkinG, Channel::SkinB]);
        let is_clear = |beat: &Beat| beat.quality >= CLEAR;
        Self { skin: beat_of_skin(&skin).filter(is_clear), finger: beat(&finger).filter(is_clear) }
    }
}

/// The longest stretch of a session in which all of these channels were there without a gap after which it may be
/// somebody else, by the seconds since its start.
fn longest<const N: usize>(session: &Session, channels: [Channel; N]) -> Vec<(f64, [f32; N])> {
    let mut stretches: Vec<Vec<(f64, [f32; N])>> = Vec::new();
    for row in session.samples.chunk_by(|a, b| a.at == b.at) {
        let told = channels.map(|channel| row.iter().find(|sample| sample.channel == channel));
        if told.iter().any(Option::is_none) {
            continue;
        }
        let t = seconds(Instant::BOOT, row[0].at);
        let values = told.map(|sample| sample.map_or(f32::NAN, |sample| sample.value));
        match stretches.last_mut() {
            Some(stretch) if t - stretch[stretch.len() - 1].0 <= LOST_AFTER.as_secs_f64() => stretch.push((t, values)),
            _ => stretches.push(vec![(t, values)]),
        }
    }
    let length = |stretch: &[(f64, [f32; N])]| stretch[stretch.len() - 1].0 - stretch[0].0;
    stretches.into_iter().max_by(|a, b| length(a).total_cmp(&length(b))).unwrap_or_default()
}

/// The rate of a series of seconds and values, such as the touch channel. `None` where it is shorter than
/// [`MIN_SPAN_S`], has a gap, doesn't rise in time, isn't finite or is constant.
///
/// The strongest frequency of the band in a periodogram under a Hann window.
pub fn beat(series: &[(f64, f32)]) -> Option<Beat> {
    strongest(&resampled(series)?)
}

/// The rate from skin colours in red, green and blue, by the plane orthogonal to the skin tone. `None` as [`beat`].
pub fn beat_of_skin(series: &[(f64, [f32; 3])]) -> Option<Beat> {
    let channel = |c: usize| resampled(&series.iter().map(|(t, colour)| (*t, colour[c])).collect::<Vec<_>>());
    strongest(&projected(&[channel(0)?, channel(1)?, channel(2)?])?)
}

/// The series' last [`MAX_SPAN_S`] at every tick, between samples linearly.
fn resampled(series: &[(f64, f32)]) -> Option<Vec<f64>> {
    let (first, last) = (series.first()?.0, series.last()?.0);
    let begin = first.max(last - MAX_SPAN_S);
    let is_long = last - begin >= MIN_SPAN_S;
    let is_whole = series.windows(2).all(|pair| (0.0..=MAX_GAP_S).contains(&(pair[1].0 - pair[0].0)));
    if !(is_long && is_whole && series.iter().all(|(_, value)| value.is_finite())) {
        return None;
    }
    let ticks = ((last - begin) * TICKS_A_SECOND) as usize;
    let mut after = 1;
    let mut value = |tick: usize| {
        let t = begin + tick as f64 / TICKS_A_SECOND;
        while series[after].0 < t && after + 1 < series.len() {
            after += 1;
        }
        let ((t0, x0), (t1, x1)) = (series[after - 1], series[after]);
        let share = if t1 > t0 { ((t - t0) / (t1 - t0)).clamp(0.0, 1.0) } else { 1.0 };
        f64::from(x0) + share * f64::from(x1 - x0)
    };
    Some((0..ticks).map(&mut value).collect())
}

/// The pulse in windows as the head is shown it, added up; `None` where a colour's mean is not above 0.
fn projected(colours: &[Vec<f64>; 3]) -> Option<Vec<f64>> {
    let mut pulse = vec![0.0; colours[0].len()];
    for start in 0..=pulse.len().checked_sub(TICKS)? {
        let window = colours.each_ref().map(|colour| std::array::from_fn(|i| Some(colour[start + i] as f32)));
        for (sum, value) in pulse[start..].iter_mut().zip(pos::window(&window)) {
            *sum += f64::from(value?);
        }
    }
    Some(pulse)
}

fn deviation(of: &[f64]) -> f64 {
    let n = of.len() as f64;
    let mean = of.iter().sum::<f64>() / n;
    (of.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt()
}

fn strongest(series: &[f64]) -> Option<Beat> {
    let level = without_drift(series);
    let scale = deviation(&level);
    if scale <= MIN_DEVIATION || !scale.is_finite() {
        return None;
    }
    let n = level.len() as f64;
    let hann = |i: usize| 0.5 - 0.5 * ((i as f64 + 0.5) * std::f64::consts::TAU / n).cos();
    let shaped = level.iter().enumerate().map(|(i, x)| (x / scale).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS) * hann(i));
    let shaped: Vec<f64> = shaped.collect();
    let steps = ((BAND_HZ[1] - BAND_HZ[0]) / STEP_HZ).round() as usize;
    let powers: Vec<(f64, f64)> =
        (0..=steps).map(|i| BAND_HZ[0] + i as f64 * STEP_HZ).map(|hz| (hz, power(&shaped, hz))).collect();
    let (rate, _) = powers.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let total: f64 = powers.iter().map(|(_, power)| power).sum();
    let is_beat = |hz: f64| (hz - rate).abs() <= WIDTH_HZ || (hz - 2.0 * rate).abs() <= WIDTH_HZ;
    let beating: f64 = powers.iter().filter(|(hz, _)| is_beat(*hz)).map(|(_, power)| power).sum();
    Some(Beat { per_minute: (rate * 60.0) as f32, quality: (beating / total) as f32 })
}

/// Less the running mean, of what there is at the ends.
fn without_drift(series: &[f64]) -> Vec<f64> {
    let mean = |at: usize| {
        let around = &series[at.saturating_sub(DRIFT_TICKS / 2)..(at + DRIFT_TICKS / 2 + 1).min(series.len())];
        around.iter().sum::<f64>() / around.len() as f64
    };
    series.iter().enumerate().map(|(i, x)| x - mean(i)).collect()
}

fn power(series: &[f64], hz: f64) -> f64 {
    let turn = std::f64::consts::TAU * hz / TICKS_A_SECOND;
    let (re, im) = series.iter().enumerate().fold((0.0, 0.0), |(re, im), (i, x)| {
        let (sin, cos) = (turn * i as f64).sin_cos();
        (re + x * cos, im + x * sin)
    });
    re * re + im * im
}

#[cfg(test)]
mod tests;
