//! Liveness at a running door: frames and sensors in, reports to the gate out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heapless::Deque;

use super::Source;
use super::camera::Look;
use super::health::Invalid;
use super::judge::Judge;
use super::listen::Listened;
use super::tamper::{Alarm, CUT_AFTER, Tamper};
use crate::gate::{Event, Fault};
use crate::ports::{Liveness, Sensor, SensorKind};
use crate::time::{Duration, Instant};

/// Frames that wait at most until the sensors' thread takes them: half a second at 30 a second.
const MAX_LOOKS: usize = 16;
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
    sensor: Listened,
    /// Listens to an accelerometer alone.
    tamper: Tamper,
    /// Why its last word could not be taken, and since when.
    invalid: Option<(Invalid, Instant)>,
    /// Since when all that was wrong with it is none of an empty doorstep's doing.
    unable: Option<Instant>,
}

impl Watch {
    /// A judge with the frames that `looks` brings and the sensors that it is to listen to.
    pub fn new(judge: Judge, looks: Looks, sensors: Vec<Box<dyn Sensor>>) -> Self {
        let watched =
            |sensor| Watched { sensor: Listened::new(sensor), tamper: Tamper::default(), invalid: None, unable: None };
        Self { judge, looks, sensors: sensors.into_iter().map(watched).collect() }
    }

    /// The first required sensor that has been of no use for long.
    fn sick(&self, now: Instant) -> Option<String> {
        let required = self.judge.demands().required;
        self.sensors.iter().find_map(|watched| {
            let is_required = Source::of(watched.sensor.kind()).is_some_and(|source| required.contains(source));
            let (why, since) = watched.invalid.filter(|_| is_required)?;
            let is_long = |since: Instant| now.since(since) >= SICK_AFTER;
            // Before a face there is something to see, and nothing excuses it.
            let is_sick =
                watched.unable.is_some_and(is_long) || self.judge.since().is_some_and(|face| is_long(face.max(since)));
            is_sick.then(|| format!("{}: {}", watched.sensor.describe(), why.as_str()))
        })
    }
}

/// Whether a sensor in order may be so while nobody stands there: an empty room stands still, what measures distance meets
/// nothing, what wants a finger has none. What does not answer, or gives no true time, is out of order whoever stands there.
const fn may_see_nothing(kind: SensorKind, why: Invalid) -> bool {
    match why {
        Invalid::Stuck => true,
        Invalid::NotFinite | Invalid::OutOfRange | Invalid::Saturated => {
            matches!(kind, SensorKind::Distance | SensorKind::Depth | SensorKind::Touch)
        }
        _ => false,
    }
}

impl Watched {
    /// Takes what the sensor has measured, and hands on what of it counts.
    fn listen(&mut self, now: Instant, judge: &mut Judge, tell: &mut dyn FnMut(Event)) {
        let Self { sensor, tamper, .. } = self;
        let invalid = sensor.listen(now, &mut |reading| {
            judge.reading(&reading);
            tell_of(tamper.look(reading), tell);
        });
        self.remember(invalid, now);
        let Some((why, since)) = self.invalid else { return };
        match Source::of(self.sensor.kind()) {
            // What is of no use for longer than a gap may be is no sample lost: something is the matter with the sensor.
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
            (None, Some(why)) => log::warn!("liveness: {}: {}", self.sensor.describe(), why.as_str()),
            (Some(_), None) => log::info!("liveness: {} is well again", self.sensor.describe()),
            _ => {}
        }
        self.invalid = invalid.map(|why| (why, self.invalid.map_or(now, |(_, since)| since)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::gate::{LivenessReport, Reason, Verdict};
    use crate::liveness::camera::FaceSample;
    use crate::liveness::judge::{Credulous, Demands};
    use crate::liveness::{Channel, Place, Sample, SourceSet, Thresholds};
    use crate::ports::Value;
    use crate::sim::clock::SimClock;
    use crate::sim::fault::{Episode, FaultInjector, Schedule, SensorFault};
    use crate::sim::sensors::{Head, Scene, SceneSensor, ScriptedSensor};

    const FRAME: Duration = Duration::from_millis(40);

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn demands(source: Source) -> Demands {
        let sources = SourceSet::default().with(Source::Camera).with(source);
        let table = format!(
            "evaluation = \"made up\"\nwindows = 1\n[[subset]]\nsensors = [\"camera\", \"{}\"]\n\
             points = [{{ bpcer = 0.01, score = 0.0, apcer_worst = 0.0, worst = \"phone\" }}]\n",
            source.name()
        );
        Demands { sources, required: sources, target_bpcer: 0.01, thresholds: Thresholds::parse(&table).unwrap() }
    }

    /// A sensor of each kind as it is while somebody alive stands 60 cm away.
    fn sensor(source: Source) -> Box<dyn Sensor> {
        let period = Duration::from_millis(60);
        let scripted = |measures: fn(f32) -> Value<'static>, low: f32, high: f32| -> Box<dyn Sensor> {
            // Other numbers at each reading, and never the same sequence: multiples of the golden section, modulo 1.
            let restless = |i: u64| low + (high - low) * (i as f64 * 0.618_033_988_75).fract() as f32;
            let course = (0..2000).map(|i| (ms(i * 50), restless(i)));
            Box::new(ScriptedSensor::new(measures, period, course.collect()))
        };
        let alive = vec![(Instant::BOOT, Scene { head: Some(Head::alive(600.0)), ..Scene::default() })];
        match source {
            Source::Distance => scripted(Value::Distance, 598.0, 604.0),
            Source::Thermometer => scripted(|object| Value::Thermometer { object, ambient: 21.0 }, 33.5, 33.9),
            Source::Proximity => scripted(|lit| Value::Proximity { lit, dark: 0.1 }, 0.40, 0.43),
            Source::Light => scripted(Value::Light, 180.0, 190.0),
            Source::Touch => scripted(Value::Touch, 0.60, 0.62),
            Source::Depth => Box::new(SceneSensor::depth(period, alive, 7)),
            Source::Thermal => Box::new(SceneSensor::thermal(period, alive, 7)),
            Source::Camera | Source::Antispoof => unreachable!("no sensor"),
        }
    }

    /// A sensor as any other, for the injector.
    struct Boxed(Box<dyn Sensor>);

    impl Sensor for Boxed {
        fn kind(&self) -> SensorKind {
            self.0.kind()
        }

        fn poll(&mut self, now: Instant) -> Result<Option<crate::ports::Reading<'_>>, crate::ports::SensorError> {
            self.0.poll(now)
        }

        fn describe(&self) -> String {
            self.0.describe()
        }
    }

    struct Door {
        watch: Watch,
        looks: Looks,
        now: Instant,
        reports: Vec<LivenessReport>,
        faults: Vec<(Instant, String)>,
    }

    impl Door {
        fn new(source: Source, sensor: Box<dyn Sensor>) -> Self {
            let looks = Looks::default();
            let judge = Judge::new(demands(source), Box::new(Credulous), 60.0);
            let watch = Watch::new(judge, looks.clone(), vec![sensor]);
            Self { watch, looks, now: ms(1000), reports: Vec::new(), faults: Vec::new() }
        }

        fn until(&mut self, end: u64, somebody: bool) {
            while self.now < ms(end) {
                self.now = self.now + FRAME;
                let at = self.now;
                let of_camera = Channel::all().filter(|channel| channel.source() == Source::Camera);
                let samples = of_camera.map(|channel| {
                    let [low, high] = channel.spec().limits;
                    Sample { at, channel, value: low.midpoint(high) }
                });
                let place = Place { at, x: 0.0, y: -0.05, eye_gap: 0.09 };
                let look = Look::Same(FaceSample { place, samples: samples.collect() });
                self.looks.put(if somebody { &look } else { &Look::Gone });
                let judged = self.watch.judge(at, &mut |event| match event {
                    Event::Liveness(report) => self.reports.push(report),
                    other => panic!("{other:?}"),
                });
                if let Err(why) = judged {
                    self.faults.push((at, why));
                }
            }
        }

        fn lives(&self, from: u64, until: u64) -> usize {
            let within = |report: &&LivenessReport| ms(from) <= report.until && report.until < ms(until);
            self.reports.iter().filter(within).filter(|report| report.verdict == Verdict::Live).count()
        }
    }

    const SENSORS: [Source; 7] = [
        Source::Distance,
        Source::Depth,
        Source::Thermometer,
        Source::Thermal,
        Source::Proximity,
        Source::Light,
        Source::Touch,
    ];

    #[test]
    fn with_any_required_sensor_in_order_somebody_is_called_alive() {
        for source in SENSORS {
            let mut door = Door::new(source, sensor(source));
            door.until(5000, true);
            assert!(door.lives(0, 5000) > 5 && door.faults.is_empty(), "{source:?}: {:?}", door.reports.last());
        }
    }

    #[test]
    fn with_any_required_sensor_in_any_trouble_nobody_is_called_alive_and_the_door_says_so() {
        // A stuck one is noticed after the longest time that such a sensor may stand still.
        let (trouble, over) = (5000, 95_000);
        for source in SENSORS {
            for fault in SensorFault::ALL {
                if fault == SensorFault::Late {
                    continue; // Some values come in time; see below.
                }
                let schedule = Schedule::listed([Episode { from: ms(trouble), until: ms(over), fault }]);
                let injector = FaultInjector::new(Boxed(sensor(source)), Arc::new(SimClock::default()), schedule, 1);
                let mut door = Door::new(source, Box::new(injector));
                door.until(over, true);
                let notice = if fault == SensorFault::Stuck { 65_000 } else { 4000 };
                assert!(door.lives(0, trouble) > 0, "{source:?} {fault:?}: before");
                assert_eq!(door.lives(trouble + notice, over), 0, "{source:?} {fault:?}");
                assert!(
                    !door.faults.is_empty(),
                    "{source:?} {fault:?}: a required sensor is of no use, and nobody is told"
                );
                let told = door.reports.last().unwrap().evidence[0];
                assert!(
                    matches!(told, Some(Reason::SensorMissing { sensor, .. }) if sensor == source.name()),
                    "{told:?}"
                );
            }
        }
    }

    const AT_ONCE: [SensorFault; 3] = [SensorFault::NotANumber, SensorFault::Swapped, SensorFault::Broken];

    fn troubled(source: Source, episodes: impl IntoIterator<Item = (u64, u64)>, fault: SensorFault) -> Door {
        let episodes = episodes.into_iter().map(|(from, until)| Episode { from: ms(from), until: ms(until), fault });
        let schedule = Schedule::listed(episodes);
        let injector = FaultInjector::new(Boxed(sensor(source)), Arc::new(SimClock::default()), schedule, 1);
        Door::new(source, Box::new(injector))
    }

    #[test]
    fn one_reading_that_is_none_costs_its_place_and_not_what_was_said_before() {
        for source in SENSORS {
            for fault in AT_ONCE {
                let mut door = troubled(source, [(5000, 5080)], fault);
                door.until(8000, true);
                assert!(door.lives(5000, 6000) >= 4, "{source:?} {fault:?}");
                let after = door.reports.iter().filter(|report| report.until >= ms(4000)).count();
                assert_eq!(door.lives(4000, 8001), after, "{source:?} {fault:?}");
            }
        }
    }

    #[test]
    fn a_sensor_of_no_use_for_longer_than_a_gap_may_be_begins_anew() {
        for source in SENSORS {
            for fault in AT_ONCE {
                let long = 5000 + source.hold().as_millis() as u64 + 200;
                let mut door = troubled(source, [(5000, long)], fault);
                door.until(9000, true);
                assert_eq!(door.lives(long, long + 1000), 0, "{source:?} {fault:?}");
                assert!(door.lives(long + 1000, 9000) > 0, "{source:?} {fault:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(crate::testing::properties(48))]

        #[test]
        fn readings_that_are_none_call_nobody_alive_who_is_not_without_them(
            source in prop::sample::select(SENSORS.to_vec()),
            fault in prop::sample::select(vec![SensorFault::NotANumber, SensorFault::Swapped]),
            episodes in prop::collection::vec((0..8000u64, 1..700u64), 1..6),
        ) {
            let episodes = || episodes.iter().map(|(from, length)| (1000 + from, 1000 + from + length));
            let lives = |fault| {
                let mut door = troubled(source, episodes(), fault);
                door.until(10_000, true);
                let lives = door.reports.iter().filter(|report| report.verdict == Verdict::Live);
                lives.map(|report| report.until).collect::<Vec<_>>()
            };
            let without = lives(SensorFault::Silent);
            let at = lives(fault).into_iter().find(|at| !without.contains(at));
            prop_assert!(at.is_none(), "{:?}: live at {:?} with {:?}", source, at, fault);
        }
    }

    #[test]
    fn values_that_come_late_count_for_nothing_then() {
        for source in SENSORS {
            let schedule = Schedule::listed([Episode { from: ms(1000), until: ms(30_000), fault: SensorFault::Late }]);
            let injector = FaultInjector::new(Boxed(sensor(source)), Arc::new(SimClock::default()), schedule, 1);
            let mut door = Door::new(source, Box::new(injector));
            door.until(30_000, true);
            assert_eq!(door.lives(0, 30_000), 0, "{source:?}");
        }
    }

    #[test]
    fn an_empty_doorstep_is_no_fault_of_a_distance_sensor_and_one_of_a_thermometer() {
        let far = |_| Value::Distance(f32::NAN);
        let mut door = Door::new(Source::Distance, Box::new(ScriptedSensor::constant(far, FRAME, 0.0)));
        door.until(20_000, false);
        assert!(door.faults.is_empty());
        door.until(26_000, true);
        assert!(door.faults[0].0 > ms(24_900), "{:?}", door.faults[0]);
        let broken = |_| Value::Thermometer { object: f32::NAN, ambient: 20.0 };
        let mut door = Door::new(Source::Thermometer, Box::new(ScriptedSensor::constant(broken, FRAME, 0.0)));
        door.until(20_000, false);
        assert!(door.faults[0].0 < ms(7000) && door.faults[0].1.contains("not_finite"), "{:?}", door.faults[0]);
    }

    #[test]
    fn a_sensor_that_fails_is_a_fault_of_an_empty_doorstep_too_and_one_read_that_fails_is_none() {
        let distance = (Source::Distance, Value::Distance as fn(f32) -> Value<'static>, f32::NAN);
        for (source, value, nothing) in [distance, (Source::Touch, Value::Touch, 0.0)] {
            for (until, is_fault) in [(10_080, false), (20_000, true)] {
                let schedule =
                    Schedule::listed([Episode { from: ms(10_000), until: ms(until), fault: SensorFault::Broken }]);
                let sees_nothing = ScriptedSensor::constant(value, FRAME, nothing);
                let injector = FaultInjector::new(sees_nothing, Arc::new(SimClock::default()), schedule, 1);
                let mut door = Door::new(source, Box::new(injector));
                door.until(20_000, false);
                assert_eq!(!door.faults.is_empty(), is_fault, "{source:?} until {until}: {:?}", door.faults.first());
            }
        }
        for fault in [SensorFault::Broken, SensorFault::Silent] {
            let mut door = troubled(Source::Depth, [(0, 60_000)], fault);
            door.until(40_000, false);
            assert!(!door.faults.is_empty(), "{fault:?}");
        }
    }

    #[test]
    fn frames_that_nobody_takes_are_forgotten_with_whoever_they_showed() {
        let looks = Looks::default();
        (0..MAX_LOOKS).for_each(|_| looks.put(&Look::Missing));
        looks.put(&Look::Missing);
        assert_eq!(looks.take(), Some(Look::Gone));
        assert_eq!((looks.take(), looks.take()), (Some(Look::Missing), None));
    }

    /// What an accelerometer at rest tells that has this trouble from 5 s on for so long, until 10 s, and when.
    fn told_of_an_accelerometer(fault: SensorFault, for_ms: u64) -> Vec<(u64, Event)> {
        let at_rest = |x| Value::Acceleration([0.0, x, 9.8]);
        let noise = (0..250).map(|i| (ms(i * 40), 0.01 * (i % 7) as f32));
        let sensor = ScriptedSensor::new(at_rest, FRAME, noise.collect());
        let episode = Episode { from: ms(5000), until: ms(5000 + for_ms), fault };
        let injector = FaultInjector::new(sensor, Arc::new(SimClock::default()), Schedule::listed([episode]), 1);
        let judge = Judge::new(demands(Source::Light), Box::new(Credulous), 60.0);
        let mut watch = Watch::new(judge, Looks::default(), vec![Box::new(injector)]);
        let mut told = Vec::new();
        for at in (0..10_000).step_by(40) {
            let _required_light_is_missing = watch.judge(ms(at), &mut |event| told.push((at, event)));
        }
        told
    }

    #[test]
    fn an_accelerometer_that_fails_for_a_moment_is_no_tampering() {
        for fault in [SensorFault::Broken, SensorFault::NotANumber, SensorFault::Late, SensorFault::Swapped] {
            for for_ms in [40, 400, 900] {
                let told = told_of_an_accelerometer(fault, for_ms);
                assert!(told.is_empty(), "{fault:?} for {for_ms} ms: {told:?}");
            }
        }
    }

    #[test]
    fn an_accelerometer_whose_wire_is_cut_is_a_fault_after_a_second_or_once_it_is_called_silent() {
        for (fault, after) in
            [(SensorFault::Broken, 1000), (SensorFault::NotANumber, 1000), (SensorFault::Silent, 2480)]
        {
            let told = told_of_an_accelerometer(fault, 60_000);
            let [(at, Event::Fault(Fault::Tamper))] = told[..] else { panic!("{fault:?}: {told:?}") };
            assert!((5000 + after..5080 + after).contains(&at), "{fault:?} at {at}");
        }
    }

    #[test]
    fn a_housing_that_is_turned_is_a_fault() {
        let turned = |x| Value::Acceleration([0.0, x, 9.0]);
        let course = (0..400).map(|i| (ms(i * 40), if i < 200 { 0.01 * (i % 7) as f32 } else { 6.0 }));
        let shaken = ScriptedSensor::new(turned, FRAME, course.collect());
        let judge = Judge::new(demands(Source::Light), Box::new(Credulous), 60.0);
        let mut watch = Watch::new(judge, Looks::default(), vec![Box::new(shaken)]);
        let mut told = Vec::new();
        for i in 0..400 {
            let at = ms(i * 40);
            let _required_light_is_missing = watch.judge(at, &mut |event| told.push((at, event)));
        }
        let [(at, Event::Fault(Fault::Tamper))] = told[..] else { panic!("{told:?}") };
        assert!((8000..9000).contains(&(at.as_nanos() / 1_000_000)), "{at:?}");
    }
}
