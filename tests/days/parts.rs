//! The house's devices as the daemon's threads would serve them, each with a clock of its own, because a thread that
//! waits holds nobody else up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use facelatch::daemon::interpreter::Effects;
use facelatch::daemon::{BACKLOG, MAX_SILENCE};
use facelatch::frame::{Frame, Geometry, PixelFormat};
use facelatch::gate::{Alarm, Event, Fault, Record, Ticket};
use facelatch::person::PersonId;
use facelatch::ports::{
    Camera, CameraError, Clock, DeviceError, Input, Inputs, Ledger, Reading, Sensor, SensorKind, Value,
};
use facelatch::sim::clock::SimClock;
use facelatch::sim::fault::{CameraFault, FaultInjector, InputsFault, LedgerFault, SensorFault};
use facelatch::sim::inputs::{Hand, ScriptedInputs};
use facelatch::sim::ledger::MemoryLedger;
use facelatch::sim::rng::Rng;
use facelatch::time::{Duration, Instant};

use super::town::SECOND;

const NOBODY: usize = usize::MAX;
const SIDE: usize = 8;
const CAMERA_TIMEOUT: Duration = Duration::from_millis(250);
/// So many readings in a row that are none make a sensor one that does not work.
const MAX_FAILURES: u32 = 3;

/// Which visit stands before the door.
#[derive(Debug, Clone, Default)]
pub struct Scene(Arc<AtomicUsize>);

impl Scene {
    pub fn empty() -> Self {
        Self(Arc::new(AtomicUsize::new(NOBODY)))
    }

    pub fn set(&self, visit: Option<usize>) {
        self.0.store(visit.unwrap_or(NOBODY), Ordering::Relaxed);
    }

    pub fn get(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|visit| *visit != NOBODY)
    }
}

/// A camera whose pictures carry the number of the visit, a check sum and noise: what a frozen or spoilt picture shows
/// is what was true when it was taken.
pub struct SceneCamera {
    scene: Scene,
    clock: SimClock,
    rng: Rng,
    sequence: u32,
    picture: [u8; SIDE * SIDE],
}

impl Camera for SceneCamera {
    fn next_frame(&mut self, _timeout: Duration) -> Result<Frame<'_>, CameraError> {
        self.sequence = self.sequence.wrapping_add(1);
        for chunk in self.picture.chunks_mut(8) {
            chunk.copy_from_slice(&self.rng.next_u64().to_le_bytes());
        }
        let visit = self.scene.get().map_or(u64::MAX, |visit| visit as u64);
        self.picture[..8].copy_from_slice(&visit.to_le_bytes());
        self.picture[8..16].copy_from_slice(&check(visit).to_le_bytes());
        let geometry = Geometry::packed(PixelFormat::Grey, SIDE as u32, SIDE as u32);
        Frame::new(geometry, self.sequence, self.clock.now().mono, &self.picture)
            .map_err(|error| CameraError::BadFrame(error.to_string()))
    }

    fn describe(&self) -> String {
        "a scene".to_owned()
    }
}

/// What a look through the camera brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glimpse {
    Nothing,
    /// The picture is spoilt.
    Unclear,
    Nobody,
    Visit(usize),
}

/// Capture, and the part of vision that looks after the camera.
pub struct Eye {
    camera: FaultInjector<SceneCamera, CameraFault>,
    clock: SimClock,
    last_good: Instant,
    is_lost: bool,
    last_picture: Option<(Vec<u8>, Instant)>,
    is_frozen: bool,
}

/// A frame as vision takes it.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// When the wait for it ended.
    pub at: Instant,
    pub captured_at: Instant,
    pub sequence: u32,
    pub glimpse: Glimpse,
}

impl Eye {
    pub fn new(scene: Scene, schedule: facelatch::sim::fault::Schedule<CameraFault>, seed: u64) -> Self {
        let clock = SimClock::default();
        let (rng, picture) = (Rng::new(seed), [0; SIDE * SIDE]);
        let camera = SceneCamera { scene, clock: clock.clone(), rng, sequence: 0, picture };
        let camera = FaultInjector::new(camera, Arc::new(clock.clone()), schedule, seed);
        let (last_good, is_lost, last_picture, is_frozen) = (Instant::BOOT, false, None, false);
        Self { camera, clock, last_good, is_lost, last_picture, is_frozen }
    }

    /// One frame, and what the gate is to hear of the camera's health.
    pub fn capture(&mut self, now: Instant) -> (Taken, Vec<Event>) {
        self.clock.advance_to(now);
        let mut events = Vec::new();
        let mut taken = Taken { at: now, captured_at: now, sequence: 0, glimpse: Glimpse::Nothing };
        let lost = match self.camera.next_frame(CAMERA_TIMEOUT) {
            Ok(frame) => {
                let at = self.clock.now().mono;
                (taken.captured_at, taken.sequence) = (frame.captured_at(), frame.sequence());
                taken.glimpse = decode(frame.data());
                self.last_good = at;
                if std::mem::take(&mut self.is_lost) {
                    events.push(Event::Cleared(Fault::CameraLost));
                }
                let since =
                    self.last_picture.as_ref().filter(|(picture, _)| picture == frame.data()).map(|(_, at)| *at);
                let frozen = since.is_some_and(|since| at.since(since) >= MAX_SILENCE);
                if since.is_none() {
                    self.last_picture = Some((frame.data().to_vec(), at));
                }
                if frozen != self.is_frozen {
                    let news = if frozen { Event::Fault } else { Event::Cleared };
                    events.push(news(Fault::CameraFrozen));
                }
                self.is_frozen = frozen;
                false
            }
            Err(CameraError::Timeout(_) | CameraError::BadFrame(_)) => {
                self.clock.now().mono.since(self.last_good) >= MAX_SILENCE
            }
            Err(CameraError::Lost { .. } | CameraError::Ended) => true,
        };
        if lost && !std::mem::replace(&mut self.is_lost, true) {
            events.push(Event::Fault(Fault::CameraLost));
        }
        taken.at = self.clock.now().mono;
        (taken, events)
    }
}

/// Any changed byte of a number changes many of its check sum.
fn check(visit: u64) -> u64 {
    visit.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5555_5555_5555_5555
}

fn decode(picture: &[u8]) -> Glimpse {
    let word = |at: usize| picture.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    match (word(0), word(8)) {
        (Some(visit), Some(sum)) if sum == check(visit) => {
            if visit == u64::MAX {
                Glimpse::Nobody
            } else {
                Glimpse::Visit(visit as usize)
            }
        }
        _ => Glimpse::Unclear,
    }
}

/// A distance sensor beside the camera.
struct Distance {
    scene: Scene,
}

impl Sensor for Distance {
    fn kind(&self) -> SensorKind {
        SensorKind::Distance
    }

    fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        let near = self.scene.get().is_some();
        Ok(Some(Reading { at: now, value: Value::Distance(if near { 700.0 } else { 4000.0 }) }))
    }

    fn describe(&self) -> String {
        "a distance sensor beside the camera".to_owned()
    }
}

/// NaN where it is no distance.
fn millimetres(value: Value<'_>) -> f32 {
    if let Value::Distance(mm) = value { mm } else { f32::NAN }
}

/// The liveness thread: whether somebody has been near for a window without a gap.
pub struct Touch {
    sensor: FaultInjector<Distance, SensorFault>,
    failures: u32,
    near_since: Option<Instant>,
}

impl Touch {
    pub fn new(scene: Scene, schedule: facelatch::sim::fault::Schedule<SensorFault>, seed: u64) -> Self {
        // The injector asks its schedule by the time that `poll` is given.
        let clock = Arc::new(SimClock::default());
        let sensor = FaultInjector::new(Distance { scene }, clock, schedule, seed);
        Self { sensor, failures: 0, near_since: None }
    }

    pub fn leave(&mut self) {
        self.near_since = None;
    }

    /// The time since when somebody has been near, by readings of the present.
    pub fn feel(&mut self, now: Instant) -> (Option<Instant>, Option<Event>) {
        let reading =
            self.sensor.poll(now).map(|reading| reading.map(|Reading { at, value }| (at, millimetres(value))));
        let is_failure = !matches!(&reading, Ok(value) if value.is_none_or(|(_, mm)| mm.is_finite()));
        let near = reading
            .ok()
            .flatten()
            .filter(|(at, mm)| *mm < 1500.0 && now.checked_since(*at).is_some_and(|age| age <= SECOND / 2));
        self.near_since = near.map(|(at, _)| self.near_since.unwrap_or(at));
        let before = self.failures;
        self.failures = if is_failure { before + 1 } else { 0 };
        let event = match (before, self.failures) {
            (_, MAX_FAILURES) => Some(Event::Fault(Fault::Sensor)),
            (MAX_FAILURES.., 0) => Some(Event::Cleared(Fault::Sensor)),
            _ => None,
        };
        (self.near_since, event)
    }
}

/// The inputs' thread.
pub struct Wires {
    inputs: FaultInjector<ScriptedInputs, InputsFault>,
    clock: SimClock,
    hand: Hand,
    is_broken: bool,
}

impl Wires {
    pub fn new(schedule: facelatch::sim::fault::Schedule<InputsFault>, seed: u64) -> Self {
        let clock = SimClock::default();
        let inputs = ScriptedInputs::at_rest(Arc::new(clock.clone()));
        let hand = inputs.hand();
        let inputs = FaultInjector::new(inputs, Arc::new(clock.clone()), schedule, seed);
        Self { inputs, clock, hand, is_broken: false }
    }

    /// Somebody moves a wire at a time to come.
    pub fn move_at(&self, at: Instant, input: Input) {
        self.hand.set_at(at, input);
    }

    /// What the wires say by `now`, each with its time; and whether they have to be asked again soon.
    pub fn listen(&mut self, now: Instant) -> (Vec<(Instant, Event)>, bool) {
        self.clock.advance_to(now);
        let mut heard = Vec::new();
        loop {
            match self.inputs.wait(Duration::from_millis(5)) {
                Ok(input) => {
                    let at = self.clock.now().mono;
                    if std::mem::take(&mut self.is_broken) {
                        heard.push((at, Event::Cleared(Fault::Inputs)));
                    }
                    match input {
                        Some(Input::ExitButton(pressed)) => heard.push((at, Event::ExitButton { pressed })),
                        Some(Input::DoorContact(open)) => heard.push((at, Event::DoorContact { open })),
                        None => return (heard, false),
                    }
                }
                Err(_) => {
                    if !std::mem::replace(&mut self.is_broken, true) {
                        heard.push((self.clock.now().mono, Event::Fault(Fault::Inputs)));
                    }
                    return (heard, true);
                }
            }
        }
    }
}

/// The keeper's thread: one write after the other, and a failure is a fault until what waited is written.
pub struct Keeper {
    ledger: FaultInjector<MemoryLedger, LedgerFault>,
    written: MemoryLedger,
    clock: SimClock,
    backlog: VecDeque<Record>,
    is_failing: bool,
}

impl Keeper {
    pub fn new(schedule: facelatch::sim::fault::Schedule<LedgerFault>, seed: u64) -> Self {
        let (clock, written) = (SimClock::default(), MemoryLedger::default());
        let ledger = FaultInjector::new(written.clone(), Arc::new(clock.clone()), schedule, seed);
        Self { ledger, written, clock, backlog: VecDeque::new(), is_failing: false }
    }

    pub fn records(&self) -> Vec<Record> {
        self.written.records()
    }

    pub fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Writes a record that was handed over at `now`; when that is done, and what the gate is to hear then.
    pub fn write(&mut self, now: Instant, record: &Record, ticket: Option<Ticket>) -> (Instant, Vec<Event>) {
        self.clock.advance_to(now);
        // A disk takes some time always.
        self.clock.advance(Duration::from_millis(15));
        let mut events = Vec::new();
        let written = self.catch_up() && self.ledger.append(record).is_ok();
        if !written && ticket.is_none() && self.backlog.len() < BACKLOG {
            self.backlog.push_back(record.clone());
        }
        events.extend(ticket.map(|ticket| Event::Recorded { ticket, written }));
        events.extend(self.report(written));
        (self.clock.now().mono, events)
    }

    /// Tries again what could not be written.
    pub fn retry(&mut self, now: Instant) -> (Instant, Vec<Event>) {
        self.clock.advance_to(now);
        let written = self.catch_up();
        let events = self.report(written).into_iter().collect();
        (self.clock.now().mono, events)
    }

    fn catch_up(&mut self) -> bool {
        while let Some(record) = self.backlog.front() {
            if self.ledger.append(record).is_err() {
                return false;
            }
            self.backlog.pop_front();
        }
        true
    }

    fn report(&mut self, written: bool) -> Option<Event> {
        match (std::mem::replace(&mut self.is_failing, !written), written) {
            (false, false) => Some(Event::Fault(Fault::Store)),
            (true, true) => Some(Event::Cleared(Fault::Store)),
            _ => None,
        }
    }
}

/// What the interpreter's effects leave for the house to do.
#[derive(Debug, Default)]
pub struct HouseEffects {
    pub records: VecDeque<(Record, Option<Ticket>)>,
    pub expected: Option<PersonId>,
    pub alarms: VecDeque<Alarm>,
}

impl Effects for HouseEffects {
    fn record(&mut self, record: Record, ticket: Option<Ticket>) -> bool {
        self.records.push_back((record, ticket));
        true
    }

    fn expect(&mut self, person: Option<PersonId>) {
        self.expected = person;
    }

    fn alarm(&mut self, alarm: Alarm) {
        self.alarms.push_back(alarm);
    }
}
