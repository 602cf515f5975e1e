//! The vision thread: what the newest frame shows, told to the gate.

use std::sync::atomic::Ordering;

use super::shared::{Shared, WAIT, WatchedThread};
use crate::gate::{Event, Face, Fault, Sighting};
use crate::ports::{Perception, PerceptionError};
use crate::time::{Duration, Instant};

/// A camera that repeats one picture for this long is frozen: no sensor is free of noise for so many frames.
const FROZEN_AFTER: Duration = Duration::from_secs(2);
/// A network that has failed for so long, or was missing from the start, is tried again by starting the daemon anew:
/// the watchdog sees to it, or `run`. Not sooner, since the exit button is dead for that moment.
pub const NETWORK_GRACE: Duration = Duration::from_secs(600);
/// So many failures in a row make a fault; one may be a single broken frame.
const MAX_FAILURES: u32 = 3;
/// So many frames in a row that were stale once they were judged are told: a few may be a moment's load.
const MAX_STALE: u32 = 10;

/// Runs until the daemon stops.
pub fn run(shared: &Shared, perception: &mut dyn Perception) {
    let mut buffer = Vec::new();
    let mut freeze = Freeze::default();
    let mut failures = Failures::default();
    while !shared.is_stopping() {
        let Some((opening, frame)) = shared.mailbox.fetch(&mut buffer, WAIT) else { continue };
        if let Some(event) = freeze.compare(shared.now().mono, frame.data()) {
            shared.tell(event);
        }
        let gallery = shared.gallery();
        match perception.perceive(&frame, &gallery.index, shared.expected()) {
            Ok(face) => {
                if failures.forget() {
                    shared.tell(Event::Cleared(Fault::Network));
                }
                if shared.camera_judged(opening) {
                    log::info!("camera: frames again");
                    shared.tell(Event::Cleared(Fault::CameraLost));
                }
                let (captured_at, sequence) = (frame.captured_at(), frame.sequence());
                shared.tell(Event::Sighting(Sighting { captured_at, sequence, face }));
                shared.counters.frames_seen.fetch_add(1, Ordering::Relaxed);
                shared.beat(WatchedThread::Vision);
            }
            Err(error) => {
                if let Some(whose) = failures.count(&error) {
                    log::error!("frames can't be judged: {error}");
                    match whose {
                        Whose::Camera => shared.camera_is_useless(opening),
                        Whose::Network => shared.tell(Event::Fault(Fault::Network)),
                    }
                }
                if failures.is_within_grace(shared.now().mono) {
                    shared.beat(WatchedThread::Vision);
                }
            }
        }
    }
}

/// Whose failure it is that a frame can't be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Camera,
    Network,
}

/// Counts failures in a row, by whose they are.
#[derive(Debug, Default)]
struct Failures {
    frames: u32,
    network: u32,
    /// Since when a network's failures are a fault.
    fault_since: Option<Instant>,
}

impl Failures {
    /// One more; whose it is, where it is the one too many. A camera is told again and again, as it may have been
    /// opened anew.
    fn count(&mut self, error: &PerceptionError) -> Option<Whose> {
        match error {
            PerceptionError::Frame(_) => {
                self.frames = (self.frames + 1) % MAX_FAILURES;
                (self.frames == 0).then_some(Whose::Camera)
            }
            PerceptionError::Network(_) => {
                self.network = self.network.saturating_add(1);
                (self.network == MAX_FAILURES).then_some(Whose::Network)
            }
        }
    }

    /// Whether a network that fails shall not end the daemon yet. The fault stands and the door is locked; a start may
    /// mend it, but takes the exit button away, so that it is tried seldom.
    fn is_within_grace(&mut self, now: Instant) -> bool {
        let is_fault = self.network >= MAX_FAILURES;
        is_fault && now.since(*self.fault_since.get_or_insert(now)) < NETWORK_GRACE
    }

    /// A frame was judged: whether that ends a fault of the network.
    fn forget(&mut self) -> bool {
        std::mem::take(self).network >= MAX_FAILURES
    }
}

/// Notices a camera that gives the same picture again and again.
#[derive(Debug, Default)]
struct Freeze {
    last: Option<(u64, Instant)>,
    is_frozen: bool,
}

impl Freeze {
    /// Told when a picture arrived, not when it says that it was taken: a hung driver repeats its stamps too.
    fn compare(&mut self, arrived_at: Instant, data: &[u8]) -> Option<Event> {
        let digest = digest(data);
        match self.last {
            Some((last, since)) if last == digest => {
                let frozen = arrived_at.since(since) >= FROZEN_AFTER;
                let is_news = frozen && !self.is_frozen;
                self.is_frozen |= frozen;
                is_news.then_some(Event::Fault(Fault::CameraFrozen))
            }
            _ => {
                self.last = Some((digest, arrived_at));
                std::mem::take(&mut self.is_frozen).then_some(Event::Cleared(Fault::CameraFrozen))
            }
        }
    }
}

/// Notices frames that take so long to judge that the gate passes over each of them. On the gate's thread, which knows
/// when it is told and for how long a frame is fresh.
#[derive(Debug, Default)]
pub struct Slowness {
    /// How many in a row were stale.
    stale: u32,
}

impl Slowness {
    /// Whether this frame, told of now, is the one too many in a row.
    pub fn count(&mut self, now: Instant, sighting: &Sighting, stale_after: Duration) -> bool {
        let is_stale = now.since(sighting.captured_at) > stale_after;
        if is_stale {
            self.stale = self.stale.saturating_add(1);
        } else if sighting.face != Face::Absent {
            // A frame without a face is judged sooner, and says nothing about those with one.
            self.stale = 0;
        }
        is_stale && self.stale == MAX_STALE
    }
}

/// FNV-1a (Fowler, Noll, Vo) over 8-byte words instead of bytes: each step is invertible, so a change in
/// one word changes the result. Not against an adversary, who could feed noise as well.
fn digest(data: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let (words, rest) = data.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME);
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    hash
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::keeper::nobody;
    use crate::daemon::shared::Message;
    use crate::frame::{Frame, Geometry, PixelFormat};
    use crate::gallery::Index;
    use crate::gate::Face;
    use crate::person::PersonId;
    use crate::sim::clock::SimClock;

    /// Looks at each frame for half a second and judges it as a script says; then the next comes, or the daemon ends.
    struct Scripted<'a> {
        shared: &'a Shared,
        clock: &'a SimClock,
        /// What the frame is filled with, and how it is judged.
        script: Vec<(u8, Result<Face, PerceptionError>)>,
        /// When vision had given its last sign of life, as of each frame.
        beats: Vec<Instant>,
    }

    impl Scripted<'_> {
        fn shows(&self) {
            match self.script.first() {
                Some((level, _)) => {
                    let pixels = [*level; 4];
                    let geometry = Geometry::packed(PixelFormat::Grey, 2, 2);
                    self.shared.mailbox.put(1, &Frame::new(geometry, 0, self.shared.now().mono, &pixels).unwrap());
                }
                None => self.shared.stop(),
            }
        }
    }

    impl Perception for Scripted<'_> {
        fn perceive(
            &mut self,
            _frame: &Frame<'_>,
            _gallery: &Index,
            _expected: Option<PersonId>,
        ) -> Result<Face, PerceptionError> {
            self.beats.push(self.shared.last_beat(WatchedThread::Vision));
            self.clock.advance(Duration::from_millis(500));
            let (_, judged) = self.script.remove(0);
            self.shows();
            judged
        }
    }

    /// What vision told the gate, and its last sign of life as of each frame and after the last, in milliseconds.
    fn plays(script: Vec<(u8, Result<Face, PerceptionError>)>) -> (Vec<&'static str>, Vec<u64>) {
        let clock = SimClock::default();
        let shared = Shared::new(Arc::new(clock.clone()), nobody());
        let mut perception = Scripted { shared: &shared, clock: &clock, script, beats: Vec::new() };
        perception.shows();
        run(&shared, &mut perception);
        let told = std::iter::from_fn(|| shared.queue.take(Duration::ZERO)).map(|message| match message {
            Message::Event(Event::Sighting(_)) => "seen",
            Message::Event(Event::Fault(Fault::CameraFrozen)) => "frozen",
            Message::Event(Event::Cleared(Fault::CameraFrozen)) => "moves",
            Message::Event(Event::Fault(Fault::Network)) => "network",
            Message::Event(Event::Cleared(Fault::Network)) => "network works",
            other => panic!("{other:?}"),
        });
        let beats = perception.beats.iter().copied().chain([shared.last_beat(WatchedThread::Vision)]);
        (told.collect(), beats.map(|at| at.as_millis()).collect())
    }

    #[test]
    fn a_camera_that_repeats_one_picture_is_told_to_the_gate_and_so_is_its_end() {
        let picture = |level| (level, Ok(Face::Absent));
        let (told, _) = plays([7, 7, 7, 7, 7, 7, 8].map(picture).into());
        assert_eq!(told, ["seen", "seen", "seen", "seen", "frozen", "seen", "seen", "moves", "seen"]);
    }

    #[test]
    fn a_frame_that_was_judged_is_a_sign_of_life_and_so_is_one_that_was_not_under_a_networks_grace() {
        let nan = || Err(PerceptionError::Network("NaN".into()));
        let torn = || Err(PerceptionError::Frame("cut off".into()));
        let judged = [Ok(Face::Absent), torn(), nan(), nan(), nan(), Ok(Face::Absent)];
        let (told, beats) = plays((0..).zip(judged).collect());
        assert_eq!(told, ["seen", "network", "network works", "seen"]);
        assert_eq!(beats, [0, 500, 500, 500, 500, 2500, 3000]);
    }

    fn compare(freeze: &mut Freeze, at_ms: u64, pixels: [u8; 16]) -> Option<Event> {
        freeze.compare(Instant::from_millis(at_ms), &pixels)
    }

    #[test]
    fn the_same_picture_for_two_seconds_is_a_fault_and_the_first_other_one_clears_it() {
        let mut freeze = Freeze::default();
        for at in (0..2000).step_by(100) {
            assert!(compare(&mut freeze, at, [7; 16]).is_none(), "{at} ms");
        }
        assert!(matches!(compare(&mut freeze, 2000, [7; 16]), Some(Event::Fault(Fault::CameraFrozen))));
        assert!(compare(&mut freeze, 2100, [7; 16]).is_none());
        let mut other = [7; 16];
        other[15] ^= 1;
        assert!(matches!(compare(&mut freeze, 2200, other), Some(Event::Cleared(Fault::CameraFrozen))));
        assert!(compare(&mut freeze, 2300, [7; 16]).is_none());
    }

    #[test]
    fn failures_in_a_row_are_told_of_a_network_once_and_of_a_camera_as_often_as_it_is_opened_in_vain() {
        let mut failures = Failures::default();
        let broken = PerceptionError::Frame("cut off".into());
        let nan = PerceptionError::Network("NaN".into());
        assert_eq!([failures.count(&broken), failures.count(&nan), failures.count(&broken)], [None; 3]);
        assert_eq!(failures.count(&broken), Some(Whose::Camera));
        assert_eq!([&nan, &broken, &broken].map(|error| failures.count(error)), [None; 3]);
        assert_eq!([&nan, &broken].map(|error| failures.count(error)), [Some(Whose::Network), Some(Whose::Camera)]);
        assert_eq!(failures.count(&nan), None);
        assert_eq!([failures.forget(), failures.forget()], [true, false]);
    }

    #[test]
    fn a_network_that_fails_has_ten_minutes_of_grace_from_the_fault_on_and_a_camera_has_none() {
        let mut failures = Failures::default();
        let (broken, nan) = (PerceptionError::Frame("cut off".into()), PerceptionError::Network("NaN".into()));
        let mut fails = |error, at_ms| {
            failures.count(error);
            failures.is_within_grace(Instant::from_millis(at_ms))
        };
        assert_eq!([0, 1, 2, 3].map(|at| fails(&broken, at)), [false; 4]);
        assert_eq!([4, 5, 6, 600_005, 600_006].map(|at| fails(&nan, at)), [false, false, true, true, false]);
        assert!(failures.forget());
        let again = [0, 1, 2].map(|at| {
            failures.count(&nan);
            failures.is_within_grace(Instant::from_millis(700_000 + at))
        });
        assert_eq!(again, [false, false, true]);
    }

    #[test]
    fn frames_that_are_stale_once_they_are_judged_are_told_once_and_again_only_after_one_with_a_face_was_not() {
        use crate::gate::PoorMeasure;
        let (face, nobody) = (Face::Poor(PoorMeasure::Size), Face::Absent);
        let mut slowness = Slowness::default();
        let mut told = |face: Face, age_ms: u64| {
            let sighting = Sighting { captured_at: Instant::from_millis(60_000 - age_ms), sequence: 1, face };
            slowness.count(Instant::from_millis(60_000), &sighting, Duration::from_millis(1500))
        };
        assert_eq!((0..9).filter(|_| told(face, 1501)).count(), 0);
        assert!(!told(nobody, 100), "soon, as there was no face");
        assert!(told(face, 1501));
        assert_eq!((0..30).filter(|_| told(face, 1501)).count(), 0, "once");
        assert!(!told(face, 1500));
        assert_eq!((0..10).filter(|_| told(face, 1501)).count(), 1);
    }

    #[test]
    fn a_picture_that_changes_in_any_bit_is_another() {
        let base = [9_u8; 27];
        for bit in 0..27 * 8 {
            let mut changed = base;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(digest(&base), digest(&changed));
        }
    }
}
