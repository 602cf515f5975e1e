//! Liveness at a running door: frames and sensors in, reports to the gate out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heapless::Deque;

use super::camera::Look;
use super::health::{Health, Invalid};
use super::judge::Judge;
use super::tamper::Tamper;
use super::{Source, SourceSet};
use crate::gate::Event;
use crate::ports::{Liveness, Sensor, SensorKind};
use crate::time::{Duration, Instant};

/// Frames that wait at most until the sensors' thread takes them: half a second at 30 a second.
const MAX_LOOKS: usize = 16;
/// Readings that are taken from one sensor at a time.
const MAX_READINGS: usize = 64;
/// A required sensor that has been of no use for so long is a fault of the door, and not of whoever stands there.
const SICK_AFTER: Duration = Duration::from_secs(5);

/// Hands what frames show from the thread that looks at pictures to the one that judges.
#[derive(Debug, Clone, Default)]
pub struct Looks(Arc<Mutex<Deque<Look, MAX_LOOKS>>>);

impl Looks {
    /// Puts one there. Where nobody takes them, all that wait are forgotten, and with them whoever was seen: a face whose
    /// end was missed must not be continued.
    pub fn put(&self, look: &Look) {
        let mut waiting = self.lock();
        if waiting.is_full() {
            waiting.clear();
            let _there_is_room = waiting.push_back(Look::Gone);
        }
        let _there_is_room = waiting.push_back(look.clone());
    }

    fn take(&self) -> Option<Look> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, Deque<Look, MAX_LOOKS>> {
        // Whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub struct Watch {
    judge: Judge,
    looks: Looks,
    sensors: Vec<Watched>,
}

struct Watched {
    sensor: Box<dyn Sensor>,
    kind: SensorKind,
    /// `None` until time is told for the first time.
    health: Option<Health>,
    tamper: Option<Tamper>,
    /// Why its last word could not be taken, and since when.
    invalid: Option<(Invalid, Instant)>,
}

impl Watch {
    /// A judge with the frames that `looks` brings and the sensors that it is to listen to.
    pub fn new(judge: Judge, looks: Looks, sensors: Vec<Box<dyn Sensor>>) -> Self {
        let watched = |sensor: Box<dyn Sensor>| {
            let kind = sensor.kind();
            let tamper = (kind == SensorKind::Acceleration).then(Tamper::default);
            Watched { sensor, kind, health: None, tamper, invalid: None }
        };
        Self { judge, looks, sensors: sensors.into_iter().map(watched).collect() }
    }

    /// The first required sensor that has been of no use for long.
    fn sick(&self, now: Instant) -> Option<String> {
        let required: SourceSet = self.judge.demands().required;
        let sick = |watched: &&Watched| {
            let is_required = Source::of(watched.kind).is_some_and(|source| required.contains(source));
            let since = watched.invalid.map(|(_, since)| now.since(since));
            is_required && since.is_some_and(|time| time >= SICK_AFTER)
        };
        let watched = self.sensors.iter().find(sick)?;
        let (why, _) = watched.invalid?;
        Some(format!("{}: {}", watched.sensor.describe(), why.as_str()))
    }
}

impl Watched {
    /// Takes what the sensor has measured, and hands on what of it counts.
    fn listen(&mut self, now: Instant, judge: &mut Judge, tell: &mut dyn FnMut(Event)) {
        let health = self.health.get_or_insert_with(|| Health::new(self.kind, now));
        let mut invalid = None;
        for _ in 0..MAX_READINGS {
            match self.sensor.poll(now) {
                Ok(None) => break,
                Ok(Some(reading)) => match health.take(reading, now) {
                    Ok(reading) => {
                        invalid = None;
                        judge.reading(&reading);
                        if let Some(event) = self.tamper.as_mut().and_then(|tamper| tamper.look(&reading)) {
                            tell(event);
                        }
                    }
                    Err(why) => invalid = Some(why),
                },
                Err(error) => {
                    invalid = Some(health.fail(&error));
                    break;
                }
            }
        }
        let invalid = invalid.or_else(|| health.at(now));
        if let (Some(why), Some(source)) = (invalid, Source::of(self.kind)) {
            judge.distrust(source, why.as_str());
        }
        self.remember(invalid, now);
    }

    fn remember(&mut self, invalid: Option<Invalid>, now: Instant) {
        match (self.invalid, invalid) {
            (None, Some(why)) => log::warn!("liveness: {}: {}", self.sensor.describe(), why.as_str()),
            (Some(_), None) => log::info!("liveness: {} is well again", self.sensor.describe()),
            _ => {}
        }
        self.invalid = invalid.map(|why| (why, self.invalid.map_or(now, |(_, since)| since)));
    }
}

impl Liveness for Watch {
    fn channels(&self) -> Vec<String> {
        self.judge.demands().sources.iter().map(|source| source.name().to_owned()).collect()
    }

    fn judge(&mut self, now: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), String> {
        // No more than there were: a thread that puts faster than this takes can't hold it here.
        for _ in 0..MAX_LOOKS {
            let Some(look) = self.looks.take() else { break };
            self.judge.look(&look);
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
