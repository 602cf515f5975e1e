//! Liveness at a running door: frames and sensors in, reports to the gate out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heapless::Deque;

use super::Source;
use super::camera::TrackUpdate;
use super::health::Invalid;
use super::judge::Judge;
use super::listen::Listened;
use super::tamper::{Alarm, CUT_AFTER, Tamper};
use crate::gate::{Event, Fault};
use crate::ports::{Liveness, Sensor, SensorKind};
use crate::time::{Duration, Instant};

/// Frames that wait at most until the liveness thread takes them: half a second at 30 a second.
const MAX_UPDATES: usize = 16;
/// A required sensor that has been of no use for so long is a fault of the door, and not of whoever stands there.
const SICK_AFTER: Duration = Duration::from_secs(5);
/// The same of one that may see nothing in an empty room, while somebody stands there: three times an attempt by
/// default, so that whoever is out of its reach is told so by the end of theirs, and shuts the door to nobody else.
const BLIND_AFTER: Duration = Duration::from_secs(15);

/// Hands what frames show from the thread that looks at pictures to the one that judges.
#[derive(Debug, Clone, Default)]
pub struct TrackQueue(Arc<Mutex<Deque<TrackUpdate, MAX_UPDATES>>>);

impl TrackQueue {
    /// Puts one there. Where nobody takes them, all that wait are forgotten, and with them whoever was seen: a face
    /// whose end was missed must not be continued.
    pub fn put(&self, update: &TrackUpdate) {
        let mut waiting = self.lock();
        if waiting.is_full() {
            waiting.clear();
            let _there_is_room = waiting.push_back(TrackUpdate::Gone);
        }
        let _there_is_room = waiting.push_back(update.clone());
    }

    fn take(&self) -> Option<TrackUpdate> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, Deque<TrackUpdate, MAX_UPDATES>> {
        // Whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub struct Watch {
    judge: Judge,
    updates: TrackQueue,
    sensors: Vec<Watched>,
    /// A smaller face is too far away for the gate, and may be for a sensor: the eyes' distance in pixels.
    min_size_px: f32,
    /// Since when a face that is large enough has been seen.
    near: Option<Instant>,
}

struct Watched {
    sensor: Listened,
    /// Listens to an accelerometer alone.
    tamper: Tamper,
    /// Why its last word could not be taken, and since when.
    invalid: Option<(Invalid, Instant)>,
    /// Since when all that was wrong with it is none of an empty doorstep's doing.
    unable: Option<Instant>,
}

impl Watch {
    /// A judge with the frames that `updates` brings and the sensors that it is to listen to, at a door whose gate
    /// passes over faces whose eyes are fewer pixels apart than `min_size_px`.
    pub fn new(judge: Judge, updates: TrackQueue, sensors: Vec<Box<dyn Sensor>>, min_size_px: f32) -> Self {
        let watched =
            |sensor| Watched { sensor: Listened::new(sensor), tamper: Tamper::default(), invalid: None, unable: None };
        Self { judge, updates, sensors: sensors.into_iter().map(watched).collect(), min_size_px, near: None }
    }

    fn update(&mut self, update: &TrackUpdate) {
        let near = update.face().filter(|face| face.size_px >= self.min_size_px);
        if update.forgets() || (near.is_none() && update.face().is_some()) {
            self.near = None;
        }
        if let Some(face) = near {
            self.near.get_or_insert(face.place.at);
        }
        self.judge.update(update);
    }

    /// The first required sensor that has been of no use for long, or accelerometer: no verdict needs that, and whoever
    /// configures one relies on being told of a housing that is moved. Before rest has been learned only this tells.
    fn sick(&self, now: Instant) -> Option<String> {
        let required = self.judge.demands().required;
        self.sensors.iter().find_map(|watched| {
            let is_required = Source::of(watched.sensor.kind()).is_none_or(|source| required.contains(source));
            let (why, since) = watched.invalid.filter(|(why, _)| is_required && !waits(watched.sensor.kind(), *why))?;
            let is_unable = watched.unable.is_some_and(|since| now.since(since) >= SICK_AFTER);
            // Before a face there is something to see, and nothing excuses it for long.
            let is_sick = is_unable || self.near.is_some_and(|face| now.since(face.max(since)) >= BLIND_AFTER);
            is_sick.then(|| watched.sensor.trouble(why))
        })
    }
}

/// Whether a sensor in order may be so while nobody stands there: what measures distance meets nothing, what wants a
/// finger has none, and an empty room stands still, bit for bit where few counts are all that there is of it. What
/// measures warmth or acceleration has noise in any room; what does not answer, or gives no true time, is out of order
/// whoever stands there.
pub const fn may_see_nothing(kind: SensorKind, why: Invalid) -> bool {
    match why {
        Invalid::Stuck => matches!(
            kind,
            SensorKind::Distance | SensorKind::Depth | SensorKind::Proximity | SensorKind::Light | SensorKind::Touch
        ),
        Invalid::NotFinite | Invalid::OutOfRange | Invalid::Saturated => {
            matches!(kind, SensorKind::Distance | SensorKind::Depth | SensorKind::Touch)
        }
        _ => false,
    }
}

/// Whether nothing at all is the matter: what wants a finger waits for one, before a face too. That none came is what
/// the attempt ends with.
const fn waits(kind: SensorKind, why: Invalid) -> bool {
    matches!((kind, why), (SensorKind::Touch, Invalid::Saturated))
}

impl Watched {
    /// Takes what the sensor has measured, and hands on what of it counts.
    fn listen(&mut self, now: Instant, judge: &mut Judge, tell: &mut dyn FnMut(Event)) {
        let Self { sensor, tamper, .. } = self;
        let source = Source::of(sensor.kind());
        let invalid = sensor.listen(now, &mut |said| match (said, source) {
            (Ok(reading), _) => {
                judge.reading(&reading);
                tell_of(tamper.update(reading), tell);
            }
            // Also where a good one comes after it at once: what came before is in doubt all the same.
            (Err(why), Some(source)) if why.is_of_the_past() => judge.distrust(source, why.as_str()),
            (Err(_), _) => {}
        });
        self.remember(invalid, now);
        let Some((why, since)) = self.invalid else { return };
        match source {
            // What is of no use for longer than a gap may be is no sample lost: something is the matter with the
            // sensor.
            Some(source) if why.is_of_the_past() || now.since(since) > source.hold() => {
                judge.distrust(source, why.as_str());
            }
            Some(source) => judge.leave_out(source, why.as_str()),
            // Whoever cuts the accelerometer's wire means the housing. Silence is told after longer than that.
            None if why == Invalid::Silent || now.since(since) >= CUT_AFTER => tell_of(self.tamper.missing(), tell),
            None => {}
        }
    }

    fn remember(&mut self, invalid: Option<Invalid>, now: Instant) {
        match (self.invalid, invalid) {
            (None, Some(why)) => log::warn!("liveness: {}", self.sensor.trouble(why)),
            (Some(_), None) => log::info!("liveness: {} is well again", self.sensor.describe()),
            _ => {}
        }
        let before = self.invalid.filter(|(why, _)| !waits(self.sensor.kind(), *why));
        self.invalid = invalid.map(|why| (why, before.map_or(now, |(_, since)| since)));
        let is_unable = invalid.is_some_and(|why| !may_see_nothing(self.sensor.kind(), why));
        self.unable = is_unable.then(|| self.unable.unwrap_or(now));
    }
}

fn tell_of(alarm: Option<Alarm>, tell: &mut dyn FnMut(Event)) {
    match alarm {
        Some(Alarm::Raised) => tell(Event::Fault(Fault::Tamper)),
        Some(Alarm::Cleared) => tell(Event::Cleared(Fault::Tamper)),
        None => {}
    }
}

impl Liveness for Watch {
    fn sources(&self) -> Vec<String> {
        self.judge.demands().sources.iter().map(|source| source.as_str().to_owned()).collect()
    }

    fn judge(&mut self, now: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), String> {
        // No more than there were: a thread that puts faster than this takes can't hold it here.
        for _ in 0..MAX_UPDATES {
            let Some(update) = self.updates.take() else { break };
            self.update(&update);
        }
        for watched in &mut self.sensors {
            watched.listen(now, &mut self.judge, tell);
        }
        if let Some(report) = self.judge.judge(now) {
            tell(Event::Liveness(report));
        }
        self.sick(now).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
