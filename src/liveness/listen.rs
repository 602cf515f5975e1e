//! Listening to one sensor: what it has measured since last time, as far as it is a measurement.

use super::health::{Health, Invalid};
use crate::ports::{Reading, Sensor, SensorKind};
use crate::time::Instant;

/// Readings that are taken from one sensor at a time.
const MAX_READINGS: usize = 64;

/// A sensor and what is known of its health.
pub struct Listened {
    sensor: Box<dyn Sensor>,
    kind: SensorKind,
    /// `None` until time is told for the first time.
    health: Option<Health>,
    /// Why its last word could not be taken.
    invalid: Option<Invalid>,
    /// What it said itself, where it failed.
    reason: Option<String>,
}

impl Listened {
    pub fn new(sensor: Box<dyn Sensor>) -> Self {
        let kind = sensor.kind();
        Self { sensor, kind, health: None, invalid: None, reason: None }
    }

    pub fn kind(&self) -> SensorKind {
        self.kind
    }

    /// One line for the journal.
    pub fn describe(&self) -> String {
        self.sensor.describe()
    }

    /// For the journal, what is wrong with it: of one that fails with what the kernel or the chip says, and what to do
    /// about that.
    pub fn trouble(&self, why: Invalid) -> String {
        let said = self.reason.as_deref().filter(|_| why == Invalid::Failing).map(|reason| format!(": {reason}"));
        format!("{}: {}{}", self.describe(), why.as_str(), said.unwrap_or_default())
    }

    /// Hands on what the sensor has measured, in order, or why a reading is none, and tells why its word can't be taken
    /// now, if it can't. What was said last holds until something else is said: a sensor is asked more often than it
    /// measures.
    pub fn listen(&mut self, now: Instant, hear: &mut dyn FnMut(Result<Reading<'_>, Invalid>)) -> Option<Invalid> {
        let health = self.health.get_or_insert_with(|| Health::new(self.kind, now));
        for _ in 0..MAX_READINGS {
            let (judged, is_over) = match self.sensor.poll(now) {
                Ok(None) => break,
                Ok(Some(reading)) => (health.take(reading, now), false),
                Err(error) => {
                    self.reason = Some(error.reason);
                    (Err(health.fail()), true)
                }
            };
            self.invalid = judged.err();
            hear(judged);
            if is_over {
                break;
            }
        }
        self.invalid = health.at(now).or(self.invalid);
        self.invalid
    }
}
