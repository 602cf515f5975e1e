//! Sensors that follow a course: of one number, or of a scene that grids of depth and temperature look at.

mod scene;

use crate::ports::{DeviceError, Reading, Sensor, SensorKind, Value};
use crate::time::{Duration, Instant};
pub use scene::{Head, Scene, SceneSensor};

/// A sensor of one number, which goes in straight lines from one point of time to the next, sampled at a rate.
#[derive(Debug, Clone)]
pub struct ScriptedSensor {
    measures: fn(f32) -> Value<'static>,
    period: Duration,
    course: Vec<(Instant, f32)>,
    next: Instant,
}

impl ScriptedSensor {
    /// `course` may be in any order; before its first point and after its last the value stays. An empty course is a
    /// sensor that never answers.
    pub fn new(measures: fn(f32) -> Value<'static>, period: Duration, mut course: Vec<(Instant, f32)>) -> Self {
        course.sort_by_key(|(at, _)| *at);
        Self { measures, period, course, next: Instant::BOOT }
    }

    /// A value that never changes.
    pub fn constant(measures: fn(f32) -> Value<'static>, period: Duration, value: f32) -> Self {
        Self::new(measures, period, vec![(Instant::BOOT, value)])
    }

    fn value_at(&self, now: Instant) -> Option<f32> {
        let after = self.course.partition_point(|(at, _)| *at <= now);
        let (Some(&(from, a)), Some(&(to, b))) = (self.course.get(after.wrapping_sub(1)), self.course.get(after))
        else {
            return if after == 0 { self.course.first() } else { self.course.last() }.map(|(_, value)| *value);
        };
        let along = now.since(from).as_secs_f64() / to.since(from).as_secs_f64();
        Some((f64::from(a) + (f64::from(b) - f64::from(a)) * along) as f32)
    }
}

impl Sensor for ScriptedSensor {
    fn kind(&self) -> SensorKind {
        (self.measures)(0.0).kind()
    }

    fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        if now < self.next {
            return Ok(None);
        }
        self.next = now + self.period;
        Ok(self.value_at(now).map(|value| Reading { at: now, value: (self.measures)(value) }))
    }

    fn describe(&self) -> String {
        format!("a scripted {:?} sensor", self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_straight_between_its_points_and_stays_outside_them() {
        let ms = Instant::from_millis;
        let sensor = ScriptedSensor::new(Value::Distance, Duration::ZERO, vec![(ms(200), 400.0), (ms(100), 800.0)]);
        for (at, value) in [(0, 800.0), (100, 800.0), (150, 600.0), (175, 500.0), (200, 400.0), (999, 400.0)] {
            assert_eq!(sensor.value_at(ms(at)), Some(value), "at {at} ms");
        }
    }

    #[test]
    fn readings_come_at_the_rate_and_not_faster() {
        let mut sensor = ScriptedSensor::constant(Value::Light, Duration::from_millis(40), 120.0);
        let got = (0..1000).filter(|ms| sensor.poll(Instant::from_millis(*ms)).unwrap().is_some()).count();
        assert_eq!(got, 25);
    }

    #[test]
    fn a_sensor_without_a_course_never_answers() {
        let mut dead = ScriptedSensor::new(Value::Distance, Duration::ZERO, vec![]);
        assert_eq!(dead.poll(Instant::from_millis(5)), Ok(None));
    }
}
