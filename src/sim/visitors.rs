//! People who come to the door one after another, made of photographs: the demo's camera and its liveness.
//!
//! A visitor steps up, stands there with the small movements of somebody who stands, and leaves; between two visits the
//! scene is empty. Sensor noise makes every frame another, as on a real camera.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::metronome::Metronome;
use super::rng::Rng;
use crate::frame::{Frame, Geometry, PixelFormat, RgbImage};
use crate::gate::Event;
use crate::kernels::warp::{Affine, warp};
use crate::liveness::Session;
use crate::liveness::camera::TrackUpdate;
use crate::liveness::judge::Judge;
use crate::ports::{Camera, CameraError, Clock, Liveness};
use crate::time::{Duration, Instant};

const WIDTH: usize = 640;
const HEIGHT: usize = 480;
/// 10 frames a second: what a small board gives.
const FRAME_PERIOD: Duration = Duration::from_millis(100);
/// Stepping up and stepping back take so long each.
const APPROACH: Duration = Duration::from_millis(600);
/// A standing person sways about the pace of breathing, by so many pixels.
const SWAY_HZ: f32 = 0.3;
const SWAY_PX: f32 = 3.0;
/// Peak of the noise on each channel; a web camera indoors has a deviation of 1 to 3.
const NOISE_PEAK: u8 = 3;
/// Grey level of the empty scene.
const SCENE: u8 = 96;

/// One stretch of the script.
#[derive(Debug, Clone)]
pub struct Visit {
    /// What stands before the camera; `None`: nobody.
    pub picture: Option<RgbImage>,
    pub lasts: Duration,
    /// What camera and sensors say of it, from its beginning on; `None`: nothing.
    pub sensed: Option<Arc<Session>>,
}

/// The script with the time at which it began, shared by the camera and liveness.
#[derive(Debug)]
pub struct Stage {
    visits: Vec<Visit>,
    began: Instant,
    on_stage: AtomicUsize,
}

impl Stage {
    pub fn new(visits: Vec<Visit>, began: Instant) -> Arc<Self> {
        Arc::new(Self { visits, began, on_stage: AtomicUsize::new(usize::MAX) })
    }

    /// Which visit it is at `now`, and since when; `None` once all are over.
    pub fn at(&self, now: Instant) -> Option<(usize, &Visit, Instant)> {
        let mut since = self.began;
        for (i, visit) in self.visits.iter().enumerate() {
            let until = since + visit.lasts;
            if now < until {
                return Some((i, visit, since));
            }
            since = until;
        }
        None
    }

    /// The visit of the last frame taken, for whoever tells the story.
    pub fn on_stage(&self) -> Option<usize> {
        let i = self.on_stage.load(Ordering::Relaxed);
        (i < self.visits.len()).then_some(i)
    }
}

/// Films the stage.
pub struct VisitorCamera {
    stage: Arc<Stage>,
    beat: Metronome,
    canvas: RgbImage,
    rng: Rng,
    sequence: u32,
}

impl VisitorCamera {
    pub fn new(stage: Arc<Stage>, clock: Arc<dyn Clock>, seed: u64) -> Self {
        let beat = Metronome::new(clock, FRAME_PERIOD);
        Self { stage, beat, canvas: RgbImage::new(WIDTH, HEIGHT), rng: Rng::new(seed), sequence: 0 }
    }

    fn draw(&mut self, now: Instant) -> bool {
        let Some((i, visit, since)) = self.stage.at(now) else { return false };
        self.stage.on_stage.store(i, Ordering::Relaxed);
        match &visit.picture {
            Some(picture) => {
                let placed = place(picture, now.since(since), visit.lasts);
                warp(picture, &placed, &mut self.canvas);
            }
            None => self.canvas.data_mut().fill(SCENE),
        }
        add_noise(self.canvas.data_mut(), &mut self.rng);
        true
    }
}

impl Camera for VisitorCamera {
    fn next_frame(&mut self, timeout: Duration) -> Result<Frame<'_>, CameraError> {
        if !self.beat.wait(timeout) {
            return Err(CameraError::Timeout(timeout));
        }
        // A slow reader misses frames, as with a real camera.
        self.sequence += self.beat.missed();
        self.beat.beaten();
        let now = self.beat.now();
        if !self.draw(now) {
            return Err(CameraError::Ended);
        }
        self.sequence += 1;
        let geometry = Geometry::packed(PixelFormat::Rgb8, WIDTH as u32, HEIGHT as u32);
        Frame::new(geometry, self.sequence, now, self.canvas.data())
            .map_err(|error| CameraError::BadFrame(error.to_string()))
    }

    fn describe(&self) -> String {
        format!("photographs on a stage, {WIDTH}x{HEIGHT} RGB, 10 frames a second")
    }
}

/// From the canvas to the picture: filling the canvas' height when the person stands, smaller on the way.
fn place(picture: &RgbImage, age: Duration, lasts: Duration) -> Affine {
    let left = lasts.saturating_sub(age);
    let near = (age.min(left).as_secs_f32() / APPROACH.as_secs_f32()).min(1.0);
    let phase = age.as_secs_f32() * SWAY_HZ * std::f32::consts::TAU;
    let (sway_x, sway_y) = (SWAY_PX * phase.sin(), SWAY_PX * 0.4 * (2.0 * phase).sin());
    let (w, h) = (picture.width() as f32, picture.height() as f32);
    let fit = (HEIGHT as f32 / h).min(WIDTH as f32 / w);
    let per_pixel = 1.0 / (fit * (0.7 + 0.3 * near));
    let c = w / 2.0 - per_pixel * (WIDTH as f32 / 2.0 + sway_x);
    let f = h / 2.0 - per_pixel * (HEIGHT as f32 / 2.0 + sway_y);
    Affine::new([per_pixel, 0.0, c, 0.0, per_pixel, f]).expect("a picture's sides are 1 to MAX_SIDE")
}

/// Adds noise of a triangular distribution, eight bytes for each number drawn.
fn add_noise(pixels: &mut [u8], rng: &mut Rng) {
    for block in pixels.chunks_mut(8) {
        let (a, b) = (rng.next_u64().to_le_bytes(), rng.next_u64().to_le_bytes());
        for (pixel, (a, b)) in block.iter_mut().zip(a.into_iter().zip(b)) {
            let steps = NOISE_PEAK + 1;
            *pixel = pixel.saturating_add(a % steps).saturating_sub(b % steps);
        }
    }
}

/// What liveness makes of the visits: a judge is played what camera and sensors say of each, as sessions hold it.
pub struct PlayedLiveness {
    stage: Arc<Stage>,
    judge: Judge,
    /// The visit that is being played, and how many of its samples the judge has heard.
    visit: Option<usize>,
    heard: usize,
}

impl PlayedLiveness {
    pub fn new(stage: Arc<Stage>, judge: Judge) -> Self {
        Self { stage, judge, visit: None, heard: 0 }
    }
}

impl Liveness for PlayedLiveness {
    fn sources(&self) -> Vec<String> {
        vec!["played".into()]
    }

    fn judge(&mut self, now: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), String> {
        let Some((i, visit, since)) = self.stage.at(now) else { return Ok(()) };
        if self.visit != Some(i) {
            (self.visit, self.heard) = (Some(i), 0);
            self.judge.update(&TrackUpdate::Gone);
        }
        let samples = visit.sensed.as_ref().map_or(&[][..], |session| &session.samples[self.heard..]);
        for moment in samples.chunk_by(|a, b| a.at == b.at) {
            let at = since + moment[0].at.since(Instant::BOOT);
            if at > now {
                break;
            }
            self.judge.moment(at, moment);
            self.heard += moment.len();
        }
        if let Some(report) = self.judge.judge(now) {
            tell(Event::Liveness(report));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Verdict;
    use crate::liveness::judge::{Credulous, Demands};
    use crate::liveness::{Channel, Label, Origin, Sample, Source, SourceSet, Thresholds};
    use crate::sim::clock::SimClock;

    fn stage() -> Arc<Stage> {
        let visit = |picture, seconds, sensed| Visit { picture, lasts: Duration::from_secs(seconds), sensed };
        let nobody = visit(None, 1, None);
        let somebody = visit(Some(RgbImage::new(50, 80)), 3, Some(Arc::new(somebody())));
        Stage::new(vec![nobody, somebody], Instant::from_millis(500))
    }

    #[test]
    fn visits_follow_each_other_and_then_the_recording_ends() {
        let stage = stage();
        let index = |ms| stage.at(Instant::from_millis(ms)).map(|(i, ..)| i);
        assert_eq!(index(500), Some(0));
        assert_eq!(index(1499), Some(0));
        assert_eq!(index(1500), Some(1));
        assert_eq!(index(4500), None);
    }

    #[test]
    fn no_two_frames_are_the_same_and_an_ended_stage_says_so() {
        let clock = SimClock::default();
        clock.advance(Duration::from_millis(500));
        let clock = Arc::new(clock);
        let mut camera = VisitorCamera::new(stage(), clock.clone(), 1);
        let mut last = Vec::new();
        for _ in 0..40 {
            let frame = camera.next_frame(Duration::from_secs(1)).unwrap();
            assert_ne!(frame.data(), last);
            last = frame.data().to_vec();
            clock.advance(FRAME_PERIOD);
        }
        assert!(matches!(camera.next_frame(Duration::from_secs(1)), Err(CameraError::Ended)));
    }

    /// A face, 25 times a second for 2.4 seconds.
    fn somebody() -> Session {
        let samples =
            (1..=60).map(|i| Sample { at: Instant::from_millis(40 * i), channel: Channel::FaceSize, value: 0.1 });
        Session { label: Label::Live, origin: Origin::Simulated, note: String::new(), samples: samples.collect() }
    }

    #[test]
    fn what_is_sensed_of_a_visit_is_played_by_the_visits_own_time_and_forgotten_with_it() {
        let sources: SourceSet = [Source::Camera].into_iter().collect();
        let demands = Demands { sources, required: sources, target_bpcer: 0.01, thresholds: Thresholds::builtin() };
        let mut liveness = PlayedLiveness::new(stage(), Judge::new(demands, Box::new(Credulous), 60.0));
        let mut lives = Vec::new();
        for ms in (0..5000).step_by(40) {
            let tell = &mut |event| match event {
                Event::Liveness(report) if report.verdict == Verdict::Live => lives.push((ms, report.from)),
                Event::Liveness(_) => {}
                other => panic!("{other:?}"),
            };
            liveness.judge(Instant::from_millis(ms), tell).unwrap();
        }
        // The visit begins at 1.5 s and a window takes two; nothing is said any more once nothing is sensed.
        let (first, last) = (lives.first().unwrap(), lives.last().unwrap());
        assert!((3500..3900).contains(&first.0) && first.1 >= Instant::from_millis(1500), "{first:?}");
        assert!(last.0 < 4500, "{last:?}");
    }
}
