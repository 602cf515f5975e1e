//! The last seconds of every channel, and the window of them that the head is shown.
//!
//! Resampling is by time: what a tick shows depends on the samples around it and on nothing else, so that a late frame
//! or a slow sensor moves nothing.

use heapless::Deque;

use super::channels::{CHANNELS, Channel, Input, VALUE_ROWS};
use super::{Sample, Source, pos};
use crate::time::{Duration, Instant};

/// Points of a window.
pub const TICKS: usize = 50;
/// 25 Hz.
pub const TICK: Duration = Duration::from_millis(40);
/// From the first tick to the last.
pub const SPAN: Duration = Duration::from_millis(40 * (TICKS as u64 - 1));
/// Rows that the head is shown: values, the pulse's, and a mask for each channel.
pub const ROWS: usize = MASK_ROW + CHANNELS;
/// The first row of the pulse, which is made of the three skin channels: itself, how far it stands out of the noise,
/// and the noise.
pub(super) const PULSE_ROW: usize = VALUE_ROWS;
/// What the pulse is made of.
pub(super) const SKIN: [Channel; 3] = [Channel::SkinR, Channel::SkinG, Channel::SkinB];
const PULSE_ROWS: usize = 3;
/// The mask of the first channel.
const MASK_ROW: usize = PULSE_ROW + PULSE_ROWS;
/// A channel with fewer valid ticks has no mean worth the name, and is not shown.
const MIN_TICKS: usize = 5;
/// Shown values are within ± this: what is further out says no more.
const CLAMP: f32 = 4.0;
/// A relative value needs a mean that is not about zero.
const MIN_MEAN: f32 = 1e-3;
/// Most samples of one channel that are kept: a window and its neighbours at 100 Hz, the fastest sensor.
const MAX_SAMPLES: usize = 256;

type Course = Deque<(Instant, f32), MAX_SAMPLES>;

/// The recent samples of every channel. A new one is empty.
#[derive(Debug, Clone)]
pub struct Series {
    courses: Vec<Course>,
}

impl Default for Series {
    fn default() -> Self {
        Self { courses: vec![Deque::new(); CHANNELS] }
    }
}

impl Series {
    /// Takes a measurement. What is outside its channel's limits (NaN is), or not newer than the last, is none.
    pub fn push(&mut self, sample: Sample) {
        let [low, high] = sample.channel.spec().limits;
        let course = &mut self.courses[sample.channel.index()];
        let is_newer = course.back().is_none_or(|(last, _)| sample.at > *last);
        if low <= sample.value && sample.value <= high && is_newer {
            if course.is_full() {
                let _oldest = course.pop_front();
            }
            let _there_is_room = course.push_back((sample.at, sample.value));
        }
    }

    /// Forgets what one sensor, or the camera, has said: it was of somebody else, or can't be trusted.
    pub fn forget(&mut self, source: Source) {
        for channel in Channel::all().filter(|channel| channel.source() == source) {
            self.courses[channel.index()].clear();
        }
    }

    /// When the newest sample of a source was taken.
    pub fn newest(&self, source: Source) -> Option<Instant> {
        let of_it = Channel::all().filter(|channel| channel.source() == source);
        of_it.filter_map(|channel| self.courses[channel.index()].back()).map(|(at, _)| *at).max()
    }

    /// How many samples of a channel lie in the window that ends at `until`.
    pub fn samples(&self, channel: Channel, until: Instant) -> usize {
        let span = until.before(SPAN)..=until;
        self.courses[channel.index()].iter().filter(|(at, _)| span.contains(at)).count()
    }

    /// Draws the window that ends at `until`.
    pub fn draw(&self, until: Instant, window: &mut Window) {
        window.rows.fill(0.0);
        window.ticks.iter_mut().for_each(|valid| *valid = 0);
        let mut skin = [[None; TICKS]; 3];
        for channel in Channel::all() {
            let ticks = resample(&self.courses[channel.index()], until, channel.source().hold());
            window.show(channel, &ticks);
            match channel {
                Channel::SkinR => skin[0] = ticks,
                Channel::SkinG => skin[1] = ticks,
                Channel::SkinB => skin[2] = ticks,
                _ => {}
            }
        }
        let pulse = pos::window(&skin).map(|value| value.map_or(0.0, |value| value.clamp(-CLAMP, CLAMP)));
        window.row_mut(PULSE_ROW).copy_from_slice(&pulse);
        for (row, value) in (PULSE_ROW + 1..MASK_ROW).zip(pos::spectrum(&pulse)) {
            window.row_mut(row).fill(value.clamp(-CLAMP, CLAMP));
        }
    }
}

/// A course at each tick of the window that ends at `until`: between two samples no further apart than `hold` in a
/// straight line, for half of `hold` after the newest, and nothing elsewhere.
fn resample(course: &Course, until: Instant, hold: Duration) -> [Option<f32>; TICKS] {
    // What came later is not known yet at the window's end: a window drawn again is the same.
    let mut samples = course.iter().copied().take_while(|(at, _)| *at <= until).peekable();
    let mut before: Option<(Instant, f32)> = None;
    std::array::from_fn(|i| {
        let back = TICK * (TICKS - 1 - i) as u32;
        let tick = Instant::from_nanos(until.as_nanos().checked_sub(back.as_nanos() as u64)?);
        while let Some(sample) = samples.next_if(|(at, _)| *at <= tick) {
            before = Some(sample);
        }
        let (from, a) = before?;
        match samples.peek() {
            _ if from == tick => Some(a),
            Some(&(to, b)) => {
                let gap = to.since(from);
                let along = tick.since(from).as_secs_f32() / gap.as_secs_f32();
                (gap <= hold).then_some(a + (b - a) * along)
            }
            None => (tick.since(from) <= hold / 2).then_some(a),
        }
    })
}

/// What the head is shown: [`ROWS`] rows of [`TICKS`], and how much of it is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    rows: Vec<f32>,
    ticks: [u8; CHANNELS],
}

impl Default for Window {
    /// One in which nothing is valid.
    fn default() -> Self {
        Self { rows: vec![0.0; ROWS * TICKS], ticks: [0; CHANNELS] }
    }
}

impl Window {
    /// All of it, row by row.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// At how many of the [`TICKS`] a channel is there.
    pub fn ticks(&self, channel: Channel) -> usize {
        self.ticks[channel.index()].into()
    }

    /// At how many of the [`TICKS`] a source is there, by the channel that it gives most often: relief wants a near
    /// face and moiré a large one, and a sensor works without.
    pub fn coverage(&self, source: Source) -> usize {
        let of_it = Channel::all().filter(|channel| channel.source() == source);
        of_it.map(|channel| self.ticks(channel)).max().unwrap_or(0)
    }

    /// Takes a channel away, as if it had never been.
    pub fn mask(&mut self, channel: Channel) {
        let first = first_row(channel);
        for row in first..first + channel.spec().inputs.len() {
            self.row_mut(row).fill(0.0);
        }
        self.row_mut(mask_row(channel)).fill(0.0);
        if SKIN.contains(&channel) {
            (PULSE_ROW..MASK_ROW).for_each(|row| self.row_mut(row).fill(0.0));
        }
        self.ticks[channel.index()] = 0;
    }

    /// Takes everything away that a source gives.
    pub fn mask_source(&mut self, source: Source) {
        Channel::all().filter(|channel| channel.source() == source).for_each(|channel| self.mask(channel));
    }

    fn show(&mut self, channel: Channel, ticks: &[Option<f32>; TICKS]) {
        let valid = ticks.iter().flatten().count();
        if valid < MIN_TICKS {
            return;
        }
        let mean = ticks.iter().flatten().sum::<f32>() / valid as f32;
        let first = first_row(channel);
        for (i, input) in channel.spec().inputs.iter().enumerate() {
            let shown = |x: f32| match *input {
                Input::Absolute { offset, scale } => (x - offset) / scale,
                Input::Centred { scale } => (x - mean) / scale,
                Input::Relative { scale } if mean.abs() >= MIN_MEAN => (x / mean - 1.0) / scale,
                Input::Relative { .. } => 0.0,
            };
            for (to, from) in self.row_mut(first + i).iter_mut().zip(ticks) {
                *to = from.map_or(0.0, |x| shown(x).clamp(-CLAMP, CLAMP));
            }
        }
        for (to, from) in self.row_mut(mask_row(channel)).iter_mut().zip(ticks) {
            *to = if from.is_some() { 1.0 } else { 0.0 };
        }
        self.ticks[channel.index()] = valid as u8;
    }

    fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.rows[row * TICKS..(row + 1) * TICKS]
    }
}

/// The first of a channel's value rows.
fn first_row(channel: Channel) -> usize {
    Channel::all().take(channel.index()).map(|before| before.spec().inputs.len()).sum()
}

/// The row of a channel's mask.
fn mask_row(channel: Channel) -> usize {
    MASK_ROW + channel.index()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 100_000;

    fn ms(at: u64) -> Instant {
        Instant::from_millis(START + at)
    }

    fn drawn(channel: Channel, samples: &[(u64, f32)], until: u64) -> Window {
        let mut series = Series::default();
        for &(at, value) in samples {
            series.push(Sample { at: ms(at), channel, value });
        }
        let mut window = Window::default();
        series.draw(ms(until), &mut window);
        window
    }

    fn row(window: &Window, row: usize) -> &[f32] {
        &window.rows()[row * TICKS..(row + 1) * TICKS]
    }

    #[test]
    fn between_samples_a_tick_lies_on_the_line_and_after_the_newest_it_is_held_for_half_as_long() {
        let samples: Vec<_> = (0..20).map(|i| (i * 100, 500.0 + i as f32 * 10.0)).collect();
        let window = drawn(Channel::DistanceMm, &samples, 2100);
        let first = first_row(Channel::DistanceMm);
        // Ticks at 2100 - 40 k; the newest sample is of 1900, and may be held until 2025.
        let values = row(&window, first);
        let mask = row(&window, mask_row(Channel::DistanceMm));
        for (i, (value, valid)) in values.iter().zip(mask).enumerate() {
            let at = 2100 - 40 * (TICKS - 1 - i) as i64;
            let wanted = match at {
                0..=1900 => Some(500.0 + at as f32 / 10.0),
                1901..=2025 => Some(690.0),
                _ => None,
            };
            let shown = wanted.map_or(0.0, |mm| (mm - 600.0) / 250.0);
            assert!((value - shown).abs() < 1e-4, "{at} ms: {value}, not {shown}");
            assert_eq!(*valid == 1.0, wanted.is_some(), "{at} ms");
        }
    }

    #[test]
    fn a_gap_longer_than_the_hold_is_nothing_and_not_a_line() {
        let samples: Vec<_> = (0..10).map(|i| (i * 40, 600.0)).chain((0..10).map(|i| (1600 + i * 40, 700.0))).collect();
        let window = drawn(Channel::DistanceMm, &samples, 1960);
        let mask = row(&window, mask_row(Channel::DistanceMm));
        let valid: Vec<bool> = mask.iter().map(|x| *x == 1.0).collect();
        assert_eq!(window.ticks(Channel::DistanceMm), 20);
        assert!(valid[..10].iter().chain(&valid[40..]).all(|v| *v) && !valid[10..40].iter().any(|v| *v));
    }

    #[test]
    fn what_is_no_measurement_never_reaches_a_window() {
        let wrong = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 29.0, 4001.0];
        let samples: Vec<_> = (0..50).map(|i| (i * 40, wrong[i as usize % wrong.len()])).collect();
        assert_eq!(drawn(Channel::DistanceMm, &samples, 1960), Window::default());
        let too_few: Vec<_> = (0..4).map(|i| (1800 + i * 40, 500.0)).collect();
        assert_eq!(drawn(Channel::DistanceMm, &too_few, 1920), Window::default());
    }

    #[test]
    fn samples_that_are_not_newer_are_left_out() {
        let going: Vec<_> = (0..50).map(|i| (i * 40, 500.0)).collect();
        let mut back = going.clone();
        back.extend((0..50).map(|i| (i * 40, 900.0)));
        assert_eq!(drawn(Channel::DistanceMm, &back, 1960), drawn(Channel::DistanceMm, &going, 1960));
    }

    #[test]
    fn a_masked_channel_is_as_if_it_had_never_been() {
        let mut series = Series::default();
        for i in 0..50 {
            for (channel, value) in [(Channel::SkinR, 150.0), (Channel::SkinG, 120.0), (Channel::SkinB, 100.0)] {
                let value = value + (i as f32 * 0.5).sin();
                series.push(Sample { at: ms(i * 40), channel, value });
            }
            series.push(Sample { at: ms(i * 40), channel: Channel::ObjectC, value: 33.0 });
        }
        let (mut whole, mut without) = (Window::default(), Window::default());
        series.draw(ms(1960), &mut whole);
        assert!(row(&whole, PULSE_ROW).iter().any(|x| *x != 0.0));
        series.forget(Source::Camera);
        series.draw(ms(1960), &mut without);
        whole.mask_source(Source::Camera);
        assert_eq!(whole, without);
        assert_eq!((whole.coverage(Source::Camera), whole.ticks(Channel::ObjectC)), (0, 50));
    }

    #[test]
    fn every_row_is_somebodys() {
        let last = Channel::all().last().unwrap();
        assert_eq!(first_row(last) + last.spec().inputs.len(), VALUE_ROWS);
        assert_eq!(mask_row(last) + 1, ROWS);
    }
}
