//! What the threads share: the queue to the gate, the mailbox, the gallery in force, and signs of life.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::keeper::{Demand, Gallery};
use super::mailbox::Mailbox;
use super::queue::Queue;
use super::watchers::Watchers;
use crate::gate::{Event, Policy, Record, Status, Ticket};
use crate::person::PersonId;
use crate::ports::Clock;
use crate::time::{Duration, Instant, Now};

/// How long one wait for a frame or an edge lasts, and so how soon a stop is noticed.
pub(super) const WAIT: Duration = Duration::from_millis(250);

/// What the gate's thread waits for.
#[derive(Debug)]
pub enum Message {
    Event(Event),
    /// Somebody asks for something, and waits for what comes of it.
    Ask {
        event: Event,
        heard: HeardAtStep,
    },
    /// The ledger's answer to a record with a ticket.
    LedgerAnswer(LedgerAnswer),
    /// Lock and end.
    Stop,
    /// The configuration was read again.
    Reload(Reloaded),
}

/// The number of the gate's step that hears what somebody asks for; [`u64::MAX`] until it does. What came of an earlier
/// step is no answer to it.
pub type HeardAtStep = Arc<AtomicU64>;

/// What the keeper says of a record with a ticket.
#[derive(Debug)]
pub struct LedgerAnswer {
    pub ticket: Ticket,
    /// Its number; `None` where it isn't written, and never will be.
    pub seq: Option<u64>,
    pub record: Box<Record>,
}

/// What another configuration changes of a running door.
pub struct Reloaded {
    pub policy: Policy,
    pub demand: Demand,
}

impl std::fmt::Debug for Reloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloaded").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Message {
    /// The next one of its kind makes this one obsolete.
    fn is_droppable(&self) -> bool {
        matches!(self, Self::Event(Event::Sighting(_) | Event::Liveness(_) | Event::Tick))
    }
}

/// Threads that give signs of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchedThread {
    Capture,
    Vision,
    Keeper,
}

/// One for each [`WatchedThread`].
#[derive(Debug)]
struct Beats([AtomicU64; 3]);

/// Counters that `status` shows; all since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames that went through detection (and encoding, where there was a face).
    pub frames_seen: AtomicU64,
    /// Messages that a full queue gave back.
    pub messages_lost: AtomicU64,
}

/// What capture and vision know of the camera.
#[derive(Debug, Default)]
struct CameraState {
    /// How often it was opened.
    opening: u32,
    /// Why it is lost, where it is.
    lost: Option<String>,
    /// The last opening that ended in a loss.
    lost_since: u32,
    is_useless: bool,
}

/// See the module.
pub struct Shared {
    clock: Arc<dyn Clock>,
    pub queue: Queue<Message>,
    pub mailbox: Mailbox,
    pub watchers: Watchers,
    pub counters: Counters,
    gallery: Mutex<Arc<Gallery>>,
    status: Mutex<Option<Status>>,
    expected: Mutex<Option<PersonId>>,
    beats: Beats,
    camera: Mutex<CameraState>,
    is_store_failing: AtomicBool,
    has_recording_ended: AtomicBool,
    is_closing: AtomicBool,
    is_stopping: AtomicBool,
    sleepers: (Mutex<()>, Condvar),
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is replaced whole, or by steps that don't panic, so that nothing is ever left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(clock: Arc<dyn Clock>, gallery: Gallery) -> Self {
        // The start counts as a sign of life.
        let began = clock.now().mono.as_nanos();
        let beats = Beats([began; 3].map(AtomicU64::new));
        Self {
            clock,
            queue: Queue::new(Message::is_droppable),
            mailbox: Mailbox::default(),
            watchers: Watchers::default(),
            counters: Counters::default(),
            gallery: Mutex::new(Arc::new(gallery)),
            status: Mutex::default(),
            expected: Mutex::default(),
            beats,
            camera: Mutex::default(),
            is_store_failing: AtomicBool::new(false),
            has_recording_ended: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            sleepers: (Mutex::new(()), Condvar::new()),
        }
    }

    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Tells the gate; what a full queue gives back is counted and said, because it should never happen.
    pub fn tell(&self, event: Event) {
        self.send(Message::Event(event));
    }

    /// Asks the gate for something.
    pub fn ask(&self, event: Event) -> HeardAtStep {
        let heard = Arc::new(AtomicU64::new(u64::MAX));
        self.send(Message::Ask { event, heard: Arc::clone(&heard) });
        heard
    }

    pub fn send(&self, message: Message) {
        if let Err(lost) = self.queue.put(message) {
            self.counters.messages_lost.fetch_add(1, Ordering::Relaxed);
            log::error!("the gate does not answer; lost: {lost:?}");
        }
    }

    pub fn gallery(&self) -> Arc<Gallery> {
        Arc::clone(&lock(&self.gallery))
    }

    pub fn set_gallery(&self, gallery: Arc<Gallery>) {
        // What it replaces may be large, and is dropped while nobody waits for the lock.
        let _before = std::mem::replace(&mut *lock(&self.gallery), gallery);
    }

    pub fn status(&self) -> Option<Status> {
        lock(&self.status).clone()
    }

    pub fn set_status(&self, status: Status) {
        *lock(&self.status) = Some(status);
    }

    /// The person whom somebody claims to be.
    pub fn expected(&self) -> Option<PersonId> {
        *lock(&self.expected)
    }

    pub fn expect(&self, person: Option<PersonId>) {
        *lock(&self.expected) = person;
    }

    /// A sign of life.
    pub fn beat(&self, of: WatchedThread) {
        self.beats.0[of as usize].store(self.now().mono.as_nanos(), Ordering::Relaxed);
    }

    /// When the last sign of life was.
    pub fn last_beat(&self, of: WatchedThread) -> Instant {
        Instant::from_nanos(self.beats.0[of as usize].load(Ordering::Relaxed))
    }

    /// The camera was opened; its frames bear this number.
    pub fn camera_opened(&self) -> u32 {
        let mut camera = lock(&self.camera);
        // A camera opened four times a second comes to the end of these in thirty years.
        camera.opening = camera.opening.saturating_add(1);
        camera.is_useless = false;
        camera.opening
    }

    /// There is no camera, or none that gives frames, for this reason. Whether that, or the reason, is news.
    pub fn camera_lost(&self, why: &str) -> bool {
        let mut camera = lock(&self.camera);
        camera.lost_since = camera.opening;
        camera.lost.replace(why.to_owned()).is_none_or(|before| before != why)
    }

    /// A frame of this opening was judged. Whether it ends a loss: a last frame from before doesn't.
    pub fn camera_judged(&self, opening: u32) -> bool {
        let mut camera = lock(&self.camera);
        let ends_it = camera.lost.is_some() && opening > camera.lost_since;
        if ends_it {
            camera.lost = None;
        }
        ends_it
    }

    pub fn is_camera_lost(&self) -> bool {
        lock(&self.camera).lost.is_some()
    }

    /// Why it is lost, where it is: a sentence.
    pub fn why_camera_lost(&self) -> Option<String> {
        lock(&self.camera).lost.clone()
    }

    /// Its frames can't be made sense of: it had better be opened again.
    pub fn camera_is_useless(&self, opening: u32) {
        let mut camera = lock(&self.camera);
        camera.is_useless |= opening == camera.opening;
    }

    /// Whether the camera that is open now was called useless.
    pub fn is_camera_useless(&self) -> bool {
        lock(&self.camera).is_useless
    }

    /// Whether the store fails, as the keeper knows it.
    pub fn set_store_failing(&self, is_failing: bool) {
        self.is_store_failing.store(is_failing, Ordering::Relaxed);
    }

    pub fn is_store_failing(&self) -> bool {
        self.is_store_failing.load(Ordering::Relaxed)
    }

    /// A replay has come to its end: no frame will follow.
    pub fn recording_ended(&self) {
        self.has_recording_ended.store(true, Ordering::Relaxed);
    }

    pub fn has_recording_ended(&self) -> bool {
        self.has_recording_ended.load(Ordering::Relaxed)
    }

    /// The gate is about to be told to stop: from now on nothing that it waits for comes to pass.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
    }

    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Ends every thread's loop and wakes who sleeps.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let _guard = lock(&self.sleepers.0);
        self.sleepers.1.notify_all();
    }

    /// Sleeps, but not beyond a stop.
    pub fn sleep(&self, pause: Duration) {
        let guard = lock(&self.sleepers.0);
        let _woken = self.sleepers.1.wait_timeout_while(guard, pause, |()| !self.is_stopping());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::inbox::tests::{TODAY, exit, ticket};
    use crate::daemon::keeper::{MatchThresholds, nobody};
    use crate::gate::{Face, Fault, LivenessReport, MAX_EVIDENCE, Roster, Sighting, Verdict};
    use crate::sim::clock::SimClock;

    #[test]
    fn a_full_queue_may_drop_what_the_next_frame_window_or_deadline_replaces_and_nothing_else() {
        let (at, person) = (Instant::BOOT, PersonId::new(1));
        let sighting = Sighting { captured_at: at, sequence: 1, face: Face::Absent };
        let report = LivenessReport { from: at, until: at, verdict: Verdict::Live, evidence: [None; MAX_EVIDENCE] };
        let replaced = [Event::Sighting(sighting), Event::Liveness(report), Event::Tick];
        let kept = [
            Event::Fault(Fault::Store),
            Event::Cleared(Fault::Store),
            Event::Claim(person),
            Event::ExitButton { pressed: true },
            Event::DoorContact { open: true },
            Event::ManualRelease { uid: 0 },
            Event::Roster(Arc::new(Roster::default())),
            Event::Recorded { ticket: ticket(), written: true },
        ];
        assert!(replaced.iter().all(|event| Message::Event(event.clone()).is_droppable()));
        for event in kept {
            assert!(!Message::Event(event.clone()).is_droppable(), "{event:?}");
        }
        let demand = Box::new(|_| MatchThresholds { identify: None, verify: None, searches: true });
        let others = [
            // Whatever somebody waits for the answer to.
            Message::Ask { event: Event::Tick, heard: HeardAtStep::default() },
            Message::LedgerAnswer(LedgerAnswer { ticket: ticket(), seq: None, record: Box::new(exit(TODAY)) }),
            Message::Stop,
            Message::Reload(Reloaded { policy: Policy::default(), demand }),
        ];
        for message in others {
            assert!(!message.is_droppable(), "{message:?}");
        }
    }

    #[test]
    fn a_frame_of_an_opening_before_the_last_loss_ends_none() {
        let shared = Shared::new(Arc::new(SimClock::default()), nobody());
        let first = shared.camera_opened();
        assert!(shared.camera_lost("unplugged"));
        let second = shared.camera_opened();
        assert!(!shared.camera_lost("unplugged"), "no news");
        assert!(shared.camera_lost("in use by another program"));
        assert_eq!(shared.why_camera_lost().as_deref(), Some("in use by another program"));
        for before in [first, second] {
            assert!(!shared.camera_judged(before));
        }
        let third = shared.camera_opened();
        assert!(!shared.camera_judged(first), "that is open again changes nothing of it");
        assert!(shared.camera_judged(third));
        assert!(!shared.is_camera_lost());
    }
}
