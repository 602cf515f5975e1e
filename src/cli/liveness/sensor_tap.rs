//! The door's sensors while a session is recorded: heard and brought together with the picture as the daemon does it.

use crate::liveness::camera::TrackUpdate;
use crate::liveness::fusion::Fusion;
use crate::liveness::health::Invalid;
use crate::liveness::listen::Listened;
use crate::liveness::{Channel, Sample, Source};
use crate::ports::{Reading, Sensor, SensorKind};
use crate::time::{Duration, Instant};

/// A session's rows are held back for a second; what is older by the time that it is heard has no place any more.
const OLDEST: Duration = Duration::from_millis(900);

/// Whoever is asked less often than this may have grown old while it waited here, which says nothing of the sensor.
const PROMPT: Duration = Duration::from_millis(250);

pub struct SensorTap {
    sensors: Vec<TappedSensor>,
    fusion: Fusion,
    has_face: bool,
    asked: Option<Instant>,
}

/// A sensor and what became of its word.
struct TappedSensor {
    sensor: Listened,
    /// Since a face was seen it has given something that a window would take.
    counts: bool,
    /// One for each reason at most.
    troubles: Vec<Trouble>,
}

/// Why a sensor's word could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    pub kind: SensorKind,
    pub why: Invalid,
    /// For the first time.
    pub at: Instant,
    /// What was recorded of it before, of a face, is in doubt, too: the daemon would forget it.
    pub spoils: bool,
}

impl TappedSensor {
    fn remember(&mut self, why: Invalid, now: Instant, is_prompt: bool) {
        // What lies at an end of the range, as without a finger, is beyond its channel's limits: no window has it.
        let is_of_the_past = why.is_of_the_past() && why != Invalid::Saturated && (why != Invalid::Late || is_prompt);
        let spoils = is_of_the_past && self.counts;
        match self.troubles.iter_mut().find(|trouble| trouble.why == why) {
            Some(known) => known.spoils |= spoils,
            None => self.troubles.push(Trouble { kind: self.sensor.kind(), why, at: now, spoils }),
        }
    }
}

impl SensorTap {
    /// `camera_view_deg` is the camera's horizontal field of view in degrees.
    pub fn new(sensors: Vec<Box<dyn Sensor>>, camera_view_deg: f32) -> Self {
        let tapped = |sensor| TappedSensor { sensor: Listened::new(sensor), counts: false, troubles: Vec::new() };
        let sensors = sensors.into_iter().map(tapped).collect();
        Self { sensors, fusion: Fusion::new(camera_view_deg), has_face: false, asked: None }
    }

    /// Whether one of them measures this channel.
    pub fn measure(&self, channel: Channel) -> bool {
        self.sensors.iter().any(|tapped| Source::of(tapped.sensor.kind()) == Some(channel.source()))
    }

    /// What a frame showed.
    pub fn update(&mut self, update: &TrackUpdate) {
        self.has_face |= update.face().is_some();
        self.fusion.update(update);
    }

    /// What was measured since last time and after `start`. What is no measurement is left out, and remembered as a
    /// trouble.
    pub fn hear(&mut self, start: Instant, now: Instant) -> Vec<Sample> {
        let mut samples = Vec::new();
        let is_in_time = |reading: &Reading<'_>| reading.at >= start && now.since(reading.at) <= OLDEST;
        let is_prompt = self.asked.is_some_and(|asked| now.since(asked) <= PROMPT);
        self.asked = Some(now);
        for tapped in &mut self.sensors {
            // No more of them than readings that are taken at a time.
            let (mut whys, before) = (Vec::new(), samples.len());
            let last = tapped.sensor.listen(now, &mut |said| match said {
                Ok(reading) if is_in_time(&reading) => samples.extend(self.fusion.samples(&reading)),
                Ok(_) => {}
                Err(why) => whys.push(why),
            });
            tapped.counts |= self.has_face && samples[before..].iter().any(is_within);
            whys.into_iter().chain(last).for_each(|why| tapped.remember(why, now, is_prompt));
        }
        samples
    }

    /// What was the matter with the sensors, by sensor.
    pub fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        self.sensors.iter().flat_map(|tapped| &tapped.troubles)
    }
}

/// Whether a window takes it.
fn is_within(sample: &Sample) -> bool {
    let [low, high] = sample.channel.spec().limits;
    low <= sample.value && sample.value <= high
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::liveness::Place;
    use crate::liveness::camera::FaceSample;
    use crate::ports::Value;
    use crate::sim::clock::SimClock;
    use crate::sim::fault::{Episode, FaultInjector, Schedule, SensorFault};
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
        let mut tap = SensorTap::new(vec![Box::new(depth), Box::new(light)], 60.0);
        assert!(tap.measure(Channel::ReliefMm) && tap.measure(Channel::AmbientLogLux) && !tap.measure(Channel::Touch));
        let channels = |heard: &[Sample]| heard.iter().map(|sample| sample.channel).collect::<Vec<_>>();
        assert_eq!(tap.hear(ms(2000), ms(1000)), [], "the session has not begun");
        assert_eq!(channels(&tap.hear(ms(1000), ms(1200))), [Channel::AmbientLogLux], "nobody is in the picture");
        let place = Place { at: ms(1400), x: 0.0, y: -0.05, eye_gap: 0.09 };
        tap.update(&TrackUpdate::Same(FaceSample { place, size_px: 60.0, samples: heapless::Vec::new() }));
        let heard = channels(&tap.hear(ms(1000), ms(1400)));
        assert!(heard.contains(&Channel::DepthFaceMm) && heard.contains(&Channel::DepthEyeGapMm), "{heard:?}");
        tap.update(&TrackUpdate::Gone);
        assert_eq!(channels(&tap.hear(ms(1000), ms(1600))), [Channel::AmbientLogLux]);
        assert_eq!(tap.troubles().count(), 0);
    }

    /// What is the matter after ten seconds with a distance that has this trouble from 2 s on, asked so often.
    fn troubles(fault: SensorFault, face: bool, each: u64) -> Vec<Trouble> {
        let restless = |i: u64| 598.0 + 6.0 * (i as f64 * 0.618_033_988_75).fract() as f32;
        let course = (0..1000).map(|i| (ms(i * 50), restless(i))).collect();
        let sensor = ScriptedSensor::new(Value::Distance, Duration::from_millis(40), course);
        let schedule = Schedule::listed([Episode { from: ms(2000), until: ms(60_000), fault }]);
        let injector = FaultInjector::new(sensor, Arc::new(SimClock::default()), schedule, 1);
        let mut tap = SensorTap::new(vec![Box::new(injector)], 60.0);
        for at in (0..=10_000).step_by(each as usize).map(ms) {
            let place = Place { at, x: 0.0, y: -0.05, eye_gap: 0.09 };
            let seen = TrackUpdate::Same(FaceSample { place, size_px: 60.0, samples: heapless::Vec::new() });
            tap.update(if face { &seen } else { &TrackUpdate::Gone });
            tap.hear(ms(0), at);
        }
        tap.troubles().copied().collect()
    }

    #[test]
    fn a_sensor_in_trouble_is_told_with_its_reason_and_whether_what_it_said_of_a_face_is_in_doubt() {
        let kind = SensorKind::Distance;
        for (face, spoils) in [(true, true), (false, false)] {
            let told = troubles(SensorFault::Stuck, face, 40);
            assert!(matches!(told[..], [Trouble { why: Invalid::Stuck, .. }]), "{told:?}");
            assert_eq!((told[0].kind, told[0].spoils), (kind, spoils));
            assert!((ms(6900)..ms(7200)).contains(&told[0].at), "{told:?}");
        }
        for (fault, why) in [(SensorFault::Broken, Invalid::Failing), (SensorFault::NotANumber, Invalid::NotFinite)] {
            assert_eq!(troubles(fault, true, 40), [Trouble { kind, why, at: ms(2000), spoils: false }], "{fault:?}");
        }
    }

    #[test]
    fn a_reading_that_waited_until_it_was_heard_is_not_its_sensors_fault() {
        for (each, spoils) in [(40, true), (1000, false)] {
            let told = troubles(SensorFault::Late, true, each);
            let late = told.iter().find(|trouble| trouble.why == Invalid::Late).unwrap();
            assert_eq!(late.spoils, spoils, "asked each {each} ms: {told:?}");
        }
    }
}
