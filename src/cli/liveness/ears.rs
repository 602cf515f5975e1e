//! The door's sensors while a session is recorded: heard and brought together with the picture as the daemon does it.

use crate::liveness::camera::Look;
use crate::liveness::fusion::Fusion;
use crate::liveness::listen::Listened;
use crate::liveness::{Channel, Sample, Source};
use crate::ports::{Reading, Sensor};
use crate::time::{Duration, Instant};

/// A session's rows are held back for a second; what is older by the time that it is heard has no place any more.
const OLDEST: Duration = Duration::from_millis(900);

pub struct Ears {
    sensors: Vec<Listened>,
    fusion: Fusion,
}

impl Ears {
    /// `camera_view_deg` is the camera's horizontal field of view in degrees.
    pub fn new(sensors: Vec<Box<dyn Sensor>>, camera_view_deg: f32) -> Self {
        Self { sensors: sensors.into_iter().map(Listened::new).collect(), fusion: Fusion::new(camera_view_deg) }
    }

    /// Whether one of them measures this channel.
    pub fn measure(&self, channel: Channel) -> bool {
        self.sensors.iter().any(|sensor| Source::of(sensor.kind()) == Some(channel.source()))
    }

    /// What a frame showed.
    pub fn look(&mut self, look: &Look) {
        self.fusion.look(look);
    }

    /// What was measured since last time and after `start`. What is no measurement is left out.
    pub fn hear(&mut self, start: Instant, now: Instant) -> Vec<Sample> {
        let mut heard = Vec::new();
        let is_in_time = |reading: &Reading<'_>| reading.at >= start && now.since(reading.at) <= OLDEST;
        for sensor in &mut self.sensors {
            let _its_place_stays_empty = sensor.listen(now, &mut |reading| {
                if is_in_time(&reading) {
                    heard.extend(self.fusion.samples(&reading));
                }
            });
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::Place;
    use crate::liveness::camera::FaceSample;
    use crate::ports::Value;
    use crate::sim::sensors::{Head, Scene, SceneSensor, ScriptedSensor};

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn sensors_are_heard_with_the_face_that_the_picture_shows_and_not_from_before_the_start() {
        let period = Duration::from_millis(100);
        let alive = Scene { head: Some(Head::alive(600.0)), ..Scene::default() };
        let depth = SceneSensor::depth(period, vec![(Instant::BOOT, alive)], 3);
        let light = ScriptedSensor::constant(Value::Light, period, 120.0);
        let mut ears = Ears::new(vec![Box::new(depth), Box::new(light)], 60.0);
        assert!(
            ears.measure(Channel::ReliefMm) && ears.measure(Channel::AmbientLogLux) && !ears.measure(Channel::Touch)
        );
        let channels = |heard: &[Sample]| heard.iter().map(|sample| sample.channel).collect::<Vec<_>>();
        assert_eq!(ears.hear(ms(2000), ms(1000)), [], "the session has not begun");
        assert_eq!(channels(&ears.hear(ms(1000), ms(1200))), [Channel::AmbientLogLux], "nobody is in the picture");
        let place = Place { at: ms(1400), x: 0.0, y: -0.05, eye_gap: 0.09 };
        ears.look(&Look::Same(FaceSample { place, samples: heapless::Vec::new() }));
        let heard = channels(&ears.hear(ms(1000), ms(1400)));
        assert!(heard.contains(&Channel::DepthFaceMm) && heard.contains(&Channel::DepthEyeGapMm), "{heard:?}");
        ears.look(&Look::Gone);
        assert_eq!(channels(&ears.hear(ms(1000), ms(1600))), [Channel::AmbientLogLux]);
    }
}
