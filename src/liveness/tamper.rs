//! Whether somebody moves the housing: an accelerometer on it departs from the direction and size of gravity that it
//! had at rest.
//!
//! Pure: it is told the time by the readings. A door that slams shakes the wall for less than the time that counts
//! here; whoever unscrews the housing turns it for longer, and when it hangs in another position it never comes to rest
//! at all.

use crate::ports::{Reading, Value};
use crate::time::{Duration, Instant};

/// Rest is learned over this time after the start, anew each time that the daemon starts.
pub const LEARNING: Duration = Duration::from_secs(3);
/// Readings that rest needs at least.
pub const LEARNED_READINGS: u32 = 25;
/// m/s² from the mean beyond which a reading of the learning is no rest, and learning starts again: while the housing
/// is being mounted nothing is learned.
pub const RESTLESS: f32 = 0.8;
/// Departure from rest, as a vector, m/s²: a turn of 9°, since 2 g sin(4.5°) = 1.54. Noise of cheap accelerometers is
/// below 0.1, their drift from frost to heat below 0.8 (ADXL345: 0.8 mg/K on two axes, over 100 K).
pub const DEPARTURE: f32 = 1.5;
/// Readings in a row that depart before it is tampering: 0.4 s at 25 Hz. A slammed door rings at tens of hertz around
/// rest, so that of ten readings some lie near it.
pub const DEPARTED_READINGS: u32 = 10;
/// So long must the sensor give nothing that counts before its wire is called cut: a reading that fails on a bus that
/// others use, too, is none, and whoever wants to unscrew a housing needs longer.
pub const CUT_AFTER: Duration = Duration::from_secs(1);
/// So long must all readings be at rest again until it is over.
pub const QUIET: Duration = Duration::from_secs(60);

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// The housing is being moved, or is not where it was.
    Raised,
    /// It is as it was, and has been for [`QUIET`].
    Cleared,
}

/// What is known of the housing.
#[derive(Debug, Clone, Default)]
pub struct Tamper {
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Learning { since: Option<Instant>, sum: [f64; 3], count: u32 },
    Watching { rest: [f32; 3], departed: u32 },
    Raised { rest: [f32; 3], quiet_since: Option<Instant> },
}

impl Default for State {
    fn default() -> Self {
        Self::Learning { since: None, sum: [0.0; 3], count: 0 }
    }
}

impl Tamper {
    /// Takes a reading; of another kind than acceleration it says nothing. What is not a finite number departs from
    /// rest.
    pub fn update(&mut self, reading: Reading<'_>) -> Option<Alarm> {
        let Value::Acceleration(now) = reading.value else { return None };
        match &mut self.state {
            State::Learning { since, sum, count } => {
                let mean = sum.map(|axis| (axis / f64::from((*count).max(1))) as f32);
                // Written positively, as all here: NaN is no rest.
                let is_at_rest =
                    *count == 0 && now.iter().all(|axis| axis.is_finite()) || distance(now, mean) <= RESTLESS;
                if !is_at_rest {
                    self.state = State::default();
                    return None;
                }
                let since = *since.get_or_insert(reading.at);
                sum.iter_mut().zip(now).for_each(|(sum, axis)| *sum += f64::from(axis));
                *count += 1;
                if reading.at.since(since) >= LEARNING && *count >= LEARNED_READINGS {
                    let rest = sum.map(|axis| (axis / f64::from(*count)) as f32);
                    self.state = State::Watching { rest, departed: 0 };
                }
                None
            }
            State::Watching { rest, departed } => {
                *departed = if distance(now, *rest) <= DEPARTURE { 0 } else { *departed + 1 };
                if *departed < DEPARTED_READINGS {
                    return None;
                }
                self.state = State::Raised { rest: *rest, quiet_since: None };
                Some(Alarm::Raised)
            }
            State::Raised { rest, quiet_since } => {
                let is_at_rest = distance(now, *rest) <= DEPARTURE;
                if !is_at_rest {
                    *quiet_since = None;
                    return None;
                }
                if reading.at.since(*quiet_since.get_or_insert(reading.at)) < QUIET {
                    return None;
                }
                self.state = State::Watching { rest: *rest, departed: 0 };
                Some(Alarm::Cleared)
            }
        }
    }

    /// The sensor has given nothing that counts for [`CUT_AFTER`]: whoever cuts its wire gains nothing. Says nothing
    /// before rest has been learned: a housing that never was at rest has not been moved, and a sensor of no use is a
    /// fault by itself.
    pub fn missing(&mut self) -> Option<Alarm> {
        match &mut self.state {
            State::Learning { .. } => None,
            State::Watching { rest, .. } => {
                self.state = State::Raised { rest: *rest, quiet_since: None };
                Some(Alarm::Raised)
            }
            State::Raised { quiet_since, .. } => {
                *quiet_since = None;
                None
            }
        }
    }

    /// Gravity at rest, m/s², once it has been learned.
    pub fn rest(&self) -> Option<[f32; 3]> {
        match self.state {
            State::Learning { .. } => None,
            State::Watching { rest, .. } | State::Raised { rest, .. } => Some(rest),
        }
    }
}

fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::rng::Rng;

    struct Wall {
        tamper: Tamper,
        ms: u64,
        rng: Rng,
    }

    impl Wall {
        fn new() -> Self {
            Self { tamper: Tamper::default(), ms: 5_000, rng: Rng::new(4) }
        }

        fn rested() -> Self {
            let mut wall = Self::new();
            assert_eq!(wall.hold([0.0, 0.0, 9.81], 4_000), []);
            assert!(wall.tamper.rest().is_some());
            wall
        }

        /// 25 Hz with noise, for so long.
        fn hold(&mut self, at: [f32; 3], ms: u64) -> Vec<Alarm> {
            let mut alarms = Vec::new();
            for _ in 0..ms / 40 {
                self.ms += 40;
                let value = Value::Acceleration(at.map(|axis| axis + 0.1 * (self.rng.unit() as f32 - 0.5)));
                alarms.extend(self.tamper.update(Reading { at: Instant::from_millis(self.ms), value }));
            }
            alarms
        }
    }

    /// Gravity on a housing that is turned about an axis across.
    fn turned(degrees: f32) -> [f32; 3] {
        let (sin, cos) = degrees.to_radians().sin_cos();
        [9.81 * sin, 0.0, 9.81 * cos]
    }

    #[test]
    fn watching_a_housing_at_rest_says_nothing_for_a_day_of_drift() {
        let mut wall = Wall::rested();
        for step in 0..100 {
            assert_eq!(wall.hold([0.0, 0.008 * step as f32, 9.81], 10_000), []);
        }
    }

    #[test]
    fn watching_a_turn_is_told_once_and_cleared_a_minute_after_it_is_back() {
        let mut wall = Wall::rested();
        assert_eq!(wall.hold(turned(12.0), 360), [], "nine readings");
        assert_eq!(wall.hold(turned(12.0), 40), [Alarm::Raised]);
        assert_eq!(wall.hold(turned(90.0), 600_000), [], "as long as it hangs there");
        assert_eq!(wall.hold(turned(0.0), 59_000), []);
        assert_eq!(wall.hold(turned(20.0), 40), []);
        assert_eq!(wall.hold(turned(0.0), 60_000), [], "the minute began anew");
        assert_eq!(wall.hold(turned(0.0), 80), [Alarm::Cleared]);
        assert_eq!(wall.hold(turned(12.0), 400), [Alarm::Raised]);
    }

    #[test]
    fn watching_a_slammed_door_is_no_tampering() {
        let mut wall = Wall::rested();
        for i in 0..250 {
            // 23 Hz, dying away in half a second.
            let t = i as f32 * 0.04;
            let swing = 8.0 * (-t / 0.5).exp() * (t * 23.0 * std::f32::consts::TAU).sin();
            assert_eq!(wall.hold([swing, 0.0, 9.81], 40), []);
        }
    }

    #[test]
    fn learning_waits_until_the_housing_is_at_rest() {
        let mut wall = Wall::new();
        for i in 0..100 {
            wall.hold(turned(if i % 2 == 0 { 40.0 } else { -40.0 }), 200);
        }
        assert_eq!(wall.tamper.rest(), None);
        assert_eq!(wall.hold(turned(30.0), 4_000), []);
        let rest = wall.tamper.rest().unwrap();
        assert!(distance(rest, turned(30.0)) < 0.05, "{rest:?}");
    }

    #[test]
    fn watching_a_wire_that_is_cut_is_told_and_cleared_once_it_holds_again() {
        let mut wall = Wall::new();
        assert_eq!(wall.tamper.missing(), None, "there is no rest yet that it could have left");
        let mut wall = Wall::rested();
        assert_eq!([wall.tamper.missing(), wall.tamper.missing()], [Some(Alarm::Raised), None]);
        assert_eq!(wall.hold(turned(0.0), 60_000), []);
        assert_eq!(wall.hold(turned(0.0), 80), [Alarm::Cleared]);
    }

    #[test]
    fn what_is_no_number_departs_and_is_never_learned() {
        let nan = [f32::NAN, 0.0, 9.81];
        let mut wall = Wall::new();
        assert_eq!(wall.hold(nan, 10_000), []);
        assert_eq!(wall.tamper.rest(), None);
        let mut wall = Wall::rested();
        assert_eq!(wall.hold(nan, 400), [Alarm::Raised]);
        let other = Reading { at: Instant::BOOT, value: Value::Light(f32::NAN) };
        assert_eq!(wall.tamper.update(other), None);
    }
}
