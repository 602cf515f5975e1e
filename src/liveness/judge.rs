//! From samples to a verdict: windows of a face that stayed, scored, and agreeing with each other.
//!
//! ```text
//! no face for a window yet                          nothing is said
//! a required sensor is not in the window            inconclusive, and which and why
//! the last two windows reach the door's score       live
//! the last five windows all stay below it           spoof
//! anything else                                     inconclusive: more may come
//! ```
//!
//! Pure: it is told samples and the time.

use heapless::Deque;

use super::camera::{FaceSample, LOST_AFTER, TrackUpdate};
use super::channels::Channel;
use super::fusion::Fusion;
use super::head::{Class, Head, Point, Score, Thresholds};
use super::series::{SPAN, Series, Window};
use super::{Sample, Source, SourceSet};
use crate::gate::{Evidence, LivenessReport, MAX_EVIDENCE, Reason, Verdict};
use crate::infer::InferError;
use crate::ports::Reading;
use crate::time::{Duration, Instant};

/// From the end of one window to that of the next.
pub const HOP: Duration = Duration::from_millis(200);
/// So many windows in a row are live before anybody is called so: one may be chance.
pub const AGREE_LIVE: usize = 2;
/// So many in a row are not before anybody is called an attack: a second, in which a person who was still walking
/// stands.
pub const AGREE_SPOOF: usize = 5;
/// A camera's last frame may be so old: a slow board takes a while to look at one.
const LATEST: Duration = Duration::from_millis(600);
/// Of a window's ticks the camera must give so many: nine tenths.
const CAMERA_TICKS: usize = 45;
/// Frames a second of the slowest camera that liveness was trained and measured with (models/train/liveness_camera.py).
pub const MIN_FPS: f32 = 12.0;
/// And so many frames with the face must lie in a window, eleven a second: what is drawn between fewer has no noise
/// that the pulse could be held against. Of the windows of a living person before a simulated camera of [`MIN_FPS`],
/// which loses frames, 5 % have fewer, and of one of 15 a second none.
pub const CAMERA_FRAMES: usize = 22;
/// And any other sensor so many: three fifths, as many as it was trained with at the least.
const SENSOR_TICKS: usize = 30;
/// A face that has been there for a window and this much longer, and still gives no window of frames, is too rarely
/// seen.
const PATIENCE: Duration = Duration::from_millis(500);

/// What gives windows a score: the head, or what stands in for it where none is at hand.
pub trait Scorer: Send {
    /// # Errors
    /// It could not be computed; nothing is live then.
    fn score(&mut self, window: &Window) -> Result<Score, InferError>;
    /// What each channel that is there carries of the score, in nats, the weightiest first.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    fn weights(&mut self, window: &Window) -> Result<Vec<(Channel, f32)>, InferError>;
}

impl Scorer for Head {
    fn score(&mut self, window: &Window) -> Result<Score, InferError> {
        Self::score(self, window)
    }

    fn weights(&mut self, window: &Window) -> Result<Vec<(Channel, f32)>, InferError> {
        Self::weights(self, window)
    }
}

/// What a door demands.
#[derive(Debug, Clone, PartialEq)]
pub struct Demands {
    /// The sensors that it has; the camera is always among them.
    pub sources: SourceSet,
    /// Those without which nobody is called alive.
    pub required: SourceSet,
    /// The share of living people's windows that may be turned away, 0 to 1.
    pub target_bpcer: f64,
    pub thresholds: Thresholds,
}

impl Demands {
    /// What is in force while the sensors of `present` answer; `None` where no table says what a score is worth there.
    pub fn point(&self, present: SourceSet) -> Option<&Point> {
        self.thresholds.point(present, self.target_bpcer)
    }
}

/// See the module.
pub struct Judge {
    demands: Demands,
    scorer: Box<dyn Scorer>,
    fusion: Fusion,
    series: Series,
    window: Window,
    recent: Deque<Judged, AGREE_SPOOF>,
    since: Option<Instant>,
    /// Where the window ended that was judged last: what has been seen once must not agree with itself.
    judged_until: Option<Instant>,
    scored: Option<(f32, bool)>,
    /// Why a sensor gives nothing, by source.
    silent: [Option<&'static str>; Source::ALL.len()],
}

/// One window that was scored.
#[derive(Debug, Clone, Copy)]
struct Judged {
    from: Instant,
    is_live: bool,
    /// The sensors that took part.
    by: SourceSet,
}

impl Judge {
    /// `camera_view_deg` is the camera's horizontal field of view in degrees.
    pub fn new(demands: Demands, scorer: Box<dyn Scorer>, camera_view_deg: f32) -> Self {
        Self {
            demands,
            scorer,
            fusion: Fusion::new(camera_view_deg),
            series: Series::default(),
            window: Window::default(),
            recent: Deque::new(),
            since: None,
            judged_until: None,
            scored: None,
            silent: [None; Source::ALL.len()],
        }
    }

    pub fn demands(&self) -> &Demands {
        &self.demands
    }

    /// Takes in what one frame showed.
    pub fn update(&mut self, update: &TrackUpdate) {
        if update.forgets() {
            self.start_anew();
        }
        self.fusion.update(update);
        if let Some(FaceSample { place, samples, .. }) = update.face() {
            self.since.get_or_insert(place.at);
            samples.iter().for_each(|sample| self.push(*sample));
        }
    }

    /// Takes in a measurement that [`super::health`] has passed.
    pub fn reading(&mut self, reading: &Reading<'_>) {
        if let Some(source) = Source::of(reading.value.kind()) {
            self.silent[source as usize] = None;
            self.fusion.samples(reading).into_iter().for_each(|sample| self.push(sample));
        }
    }

    /// Takes in what a session holds of one moment, whose samples are made already: as of `at`. A face that comes back
    /// after [`LOST_AFTER`] is another's, as it is where frames are followed.
    pub fn moment(&mut self, at: Instant, samples: &[Sample]) {
        if samples.iter().any(|sample| sample.channel.source() == Source::Camera) {
            if self.series.newest(Source::Camera).is_some_and(|was| at.since(was) > LOST_AFTER) {
                self.update(&TrackUpdate::Gone);
            }
            self.since.get_or_insert(at);
        }
        samples.iter().for_each(|sample| self.push(Sample { at, ..*sample }));
    }

    /// What a sensor says now can't be taken, for this reason; its place stays empty. What it said before stands.
    pub fn leave_out(&mut self, source: Source, why: &'static str) {
        self.silent[source as usize] = Some(why);
    }

    /// A sensor's word can't be taken, for this reason. What it said before counts for nothing either, nor does any
    /// window that it took part in.
    pub fn distrust(&mut self, source: Source, why: &'static str) {
        self.leave_out(source, why);
        self.series.forget(source);
        // Once: as long as it lasts, no further window has the sensor in it.
        if self.recent.iter().any(|judged| judged.by.contains(source)) {
            self.recent.clear();
        }
    }

    /// A new judgement, of a window that ends at least [`HOP`] later than the last; `None` while there is nothing to
    /// say.
    pub fn judge(&mut self, now: Instant) -> Option<LivenessReport> {
        self.scored = None;
        let until = self.series.newest(Source::Camera)?;
        let is_fresh = now.checked_since(until).is_some_and(|age| age <= LATEST);
        let is_new = self.judged_until.is_none_or(|judged| until.since(judged) >= HOP);
        let since = self.since.filter(|since| is_fresh && is_new && until.since(*since) >= SPAN)?;
        self.judged_until = Some(until);
        self.series.draw(until, &mut self.window);
        let from = until.before(SPAN);
        let unsure = |sensor, why| {
            let evidence = [Some(Reason::SensorMissing { sensor, why }), None, None, None];
            Some(LivenessReport { from, until, verdict: Verdict::Inconclusive, evidence })
        };
        if let Some((source, why)) = self.missing() {
            self.recent.clear();
            let is_worth_telling = source != Source::Camera || until.since(since) >= SPAN + PATIENCE;
            return if is_worth_telling { unsure(source.as_str(), why) } else { None };
        }
        let Some((score, needed)) = self.score() else {
            self.recent.clear();
            return unsure("head", "no score");
        };
        if self.recent.is_full() {
            let _oldest = self.recent.pop_front();
        }
        let is_live = score.log_odds >= needed;
        self.scored = Some((score.log_odds, is_live));
        let _there_is_room = self.recent.push_back(Judged { from, is_live, by: self.present() });
        let (verdict, began) = self.verdict();
        let evidence = self.evidence(&score, needed, verdict);
        Some(LivenessReport { from: began.unwrap_or(from), until, verdict, evidence })
    }

    /// Since when the face that stands there now has been seen.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// The newest window's log odds, and whether they reach the door's score, where the last judgement scored one.
    pub fn scored(&self) -> Option<(f32, bool)> {
        self.scored
    }

    /// What the channels of the newest window carry of its score, in nats, the weightiest first.
    ///
    /// # Errors
    /// As [`Scorer::weights`].
    pub fn weights(&mut self) -> Result<Vec<(Channel, f32)>, InferError> {
        self.scorer.weights(&self.window)
    }

    /// Forgets whoever stood there; the sensors look on.
    fn start_anew(&mut self) {
        self.series.forget(Source::Camera);
        self.series.forget(Source::Antispoof);
        self.recent.clear();
        self.judged_until = None;
        self.since = None;
    }

    fn push(&mut self, sample: Sample) {
        if self.demands.sources.contains(sample.channel.source()) {
            self.series.push(sample);
        }
    }

    /// The sensors whose channels are there in enough of the window.
    fn present(&self) -> SourceSet {
        let frames = self.judged_until.map_or(0, |until| self.series.samples(Channel::FaceSize, until));
        let enough = |source: &Source| match source {
            Source::Camera => self.window.coverage(*source) >= CAMERA_TICKS && frames >= CAMERA_FRAMES,
            _ => self.window.coverage(*source) >= SENSOR_TICKS,
        };
        self.demands.sources.iter().filter(enough).collect()
    }

    /// The first sensor that is required and not there, and why.
    fn missing(&self) -> Option<(Source, &'static str)> {
        let present = self.present();
        let camera = SourceSet::default().with(Source::Camera);
        let mut needed = camera.iter().chain(self.demands.required.iter());
        let source = needed.find(|source| !present.contains(*source))?;
        let little = if source == Source::Camera { "too few frames" } else { "too few measurements" };
        Some((source, self.silent[source as usize].unwrap_or(little)))
    }

    /// The window's score, and what a door with these sensors asks for.
    fn score(&mut self) -> Option<(Score, f32)> {
        let present = self.present();
        for source in Source::ALL.into_iter().filter(|source| !present.contains(*source)) {
            self.window.mask_source(source);
        }
        let needed = self.demands.point(present)?.score;
        match self.scorer.score(&self.window) {
            Ok(score) => Some((score, needed)),
            Err(error) => {
                log::error!("liveness: {error}");
                None
            }
        }
    }

    /// What the last windows together say, and where the evidence for it begins.
    fn verdict(&self) -> (Verdict, Option<Instant>) {
        let last = || self.recent.iter().rev();
        let in_a_row = |is_live: bool, n: usize| {
            let all = last().take_while(|judged| judged.is_live == is_live).count() >= n;
            all.then(|| last().take(n).map(|judged| judged.from).min())
        };
        if let Some(from) = in_a_row(true, AGREE_LIVE) {
            (Verdict::Live, from)
        } else if let Some(from) = in_a_row(false, AGREE_SPOOF) {
            (Verdict::Spoof, from)
        } else {
            (Verdict::Inconclusive, None)
        }
    }

    /// What the newest window looks like, and, of a verdict, which channels made it.
    fn evidence(&mut self, score: &Score, needed: f32, verdict: Verdict) -> Evidence {
        let what = if score.log_odds >= needed { Class::Live } else { score.attack };
        let mut evidence = [None; MAX_EVIDENCE];
        evidence[0] = Some(Reason::LooksLike { what: what.as_str(), score: score.log_odds, needed });
        if verdict != Verdict::Inconclusive
            && let Ok(weights) = self.scorer.weights(&self.window)
        {
            for (place, (channel, weight)) in evidence[1..].iter_mut().zip(weights) {
                *place = Some(Reason::Channel { name: channel.name(), weight });
            }
        }
        evidence
    }
}

/// Calls everything alive: whatever keeps somebody out where it judges is not the network's doing.
#[cfg(test)]
pub(crate) struct Credulous;

#[cfg(test)]
impl Scorer for Credulous {
    fn score(&mut self, _window: &Window) -> Result<Score, InferError> {
        Ok(Score { log_odds: 9.0, attack: super::head::Class::Print })
    }

    fn weights(&mut self, _window: &Window) -> Result<Vec<(Channel, f32)>, InferError> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests;
