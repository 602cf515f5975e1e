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
const MIN_PX: f32 = 18.0;

fn ms(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn demands(source: Source) -> Demands {
    let sources = SourceSet::default().with(Source::Camera).with(source);
    let table = format!(
        "evaluation = \"made up\"\nwindows = 1\n[[subset]]\nsensors = [\"camera\", \"{}\"]\n\
         points = [{{ bpcer = 0.01, score = 0.0, apcer_worst = 0.0, worst = \"phone\" }}]\n",
        source.as_str()
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

    fn poll(&mut self, now: Instant) -> Result<Option<crate::ports::Reading<'_>>, crate::ports::DeviceError> {
        self.0.poll(now)
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

struct Door {
    watch: Watch,
    updates: TrackQueue,
    now: Instant,
    /// Of the face that stands there.
    size_px: f32,
    reports: Vec<LivenessReport>,
    faults: Vec<(Instant, String)>,
}

impl Door {
    fn new(source: Source, sensor: Box<dyn Sensor>) -> Self {
        let updates = TrackQueue::default();
        let judge = Judge::new(demands(source), Box::new(Credulous), 60.0);
        let watch = Watch::new(judge, updates.clone(), vec![sensor], MIN_PX);
        Self { watch, updates, now: ms(1000), size_px: 60.0, reports: Vec::new(), faults: Vec::new() }
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
            let update = TrackUpdate::Same(FaceSample { place, size_px: self.size_px, samples: samples.collect() });
            self.updates.put(if somebody { &update } else { &TrackUpdate::Gone });
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
                matches!(told, Some(Reason::SensorMissing { sensor, .. }) if sensor == source.as_str()),
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
fn a_window_that_nobody_has_a_finger_on_is_no_finger_and_no_fault_of_the_door() {
    // What a MAX30102 gives of the infrared that its cover throws back: two thousand counts, and their noise.
    let restless = |i: u64| 0.0076 + 4e-5 * ((i as f64 * 0.618_033_988_75).fract() as f32 - 0.5);
    let course = (0..2000).map(|i| (ms(i * 10), restless(i))).collect();
    let uncovered = ScriptedSensor::new(Value::Touch, Duration::from_millis(10), course);
    // One read fails after that long a wait.
    let schedule = Schedule::listed([Episode { from: ms(12_000), until: ms(12_080), fault: SensorFault::Broken }]);
    let injector = FaultInjector::new(uncovered, Arc::new(SimClock::default()), schedule, 1);
    let mut door = Door::new(Source::Touch, Box::new(injector));
    door.until(15_000, true);
    assert_eq!(door.lives(0, 15_001), 0);
    assert!(door.faults.is_empty(), "{:?}", door.faults.first());
    let told = door.reports.last().unwrap().evidence[0];
    assert_eq!(told, Some(Reason::SensorMissing { sensor: "touch", why: "saturated" }));
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

/// At one moment it gives a reading of long ago before the one that is due.
struct HeldUp {
    sensor: Box<dyn Sensor>,
    at: Instant,
    is_over: bool,
}

impl Sensor for HeldUp {
    fn kind(&self) -> SensorKind {
        self.sensor.kind()
    }

    fn poll(&mut self, now: Instant) -> Result<Option<crate::ports::Reading<'_>>, crate::ports::DeviceError> {
        if now >= self.at && !self.is_over {
            self.is_over = true;
            let at = now.before(Duration::from_millis(600));
            return Ok(Some(crate::ports::Reading { at, value: Value::Distance(600.5) }));
        }
        self.sensor.poll(now)
    }

    fn describe(&self) -> String {
        self.sensor.describe()
    }
}

#[test]
fn a_late_reading_takes_what_was_said_before_with_it_although_a_good_one_follows_at_once() {
    for (at, lives) in [(60_000, true), (4000, false)] {
        let held_up = HeldUp { sensor: sensor(Source::Distance), at: ms(at), is_over: false };
        let mut door = Door::new(Source::Distance, Box::new(held_up));
        door.until(5000, true);
        assert!(door.lives(3200, 4000) > 0, "{:?}", door.reports);
        assert_eq!(door.lives(4000, 5000) > 0, lives, "late at {at}");
        door.until(9000, true);
        assert!(door.lives(7000, 9000) > 0, "late at {at}");
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
    door.until(36_000, true);
    assert!(door.faults[0].0 > ms(34_900), "{:?}", door.faults[0]);
    let broken = |_| Value::Thermometer { object: f32::NAN, ambient: 20.0 };
    let mut door = Door::new(Source::Thermometer, Box::new(ScriptedSensor::constant(broken, FRAME, 0.0)));
    door.until(20_000, false);
    assert!(door.faults[0].0 < ms(7000) && door.faults[0].1.contains("not_finite"), "{:?}", door.faults[0]);
}

#[test]
fn a_face_too_small_for_the_gate_is_no_reason_why_a_distance_sensor_should_see_something() {
    let far = |_| Value::Distance(f32::NAN);
    let mut door = Door::new(Source::Distance, Box::new(ScriptedSensor::constant(far, FRAME, 0.0)));
    door.size_px = MIN_PX - 0.1;
    door.until(60_000, true);
    door.size_px = f32::NAN;
    door.until(90_000, true);
    assert!(door.faults.is_empty(), "{:?}", door.faults.first());
    door.size_px = MIN_PX;
    door.until(110_000, true);
    assert!(door.faults[0].0 > ms(104_900), "{:?}", door.faults[0]);
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
    for (fault, why) in [(SensorFault::Broken, "failing: no answer on the bus"), (SensorFault::Silent, "silent")] {
        let mut door = troubled(Source::Depth, [(0, 60_000)], fault);
        door.until(40_000, false);
        assert!(door.faults[0].1.contains(why), "{fault:?}: {:?}", door.faults.first());
    }
}

#[test]
fn what_measures_warmth_and_hangs_is_a_fault_of_an_empty_doorstep_too_and_all_else_may_stand_still_there() {
    for source in SENSORS {
        let mut door = troubled(source, [(5000, 95_000)], SensorFault::Stuck);
        door.until(60_000, false);
        let is_fault = matches!(source, Source::Thermometer | Source::Thermal);
        assert_eq!(!door.faults.is_empty(), is_fault, "{source:?}: {:?}", door.faults.first());
        assert!(door.faults.iter().all(|(_, why)| why.contains("stuck")), "{source:?}: {:?}", door.faults.first());
    }
}

#[test]
fn frames_that_nobody_takes_are_forgotten_with_whoever_they_showed() {
    let updates = TrackQueue::default();
    (0..MAX_UPDATES).for_each(|_| updates.put(&TrackUpdate::Missing));
    updates.put(&TrackUpdate::Missing);
    assert_eq!(updates.take(), Some(TrackUpdate::Gone));
    assert_eq!((updates.take(), updates.take()), (Some(TrackUpdate::Missing), None));
}

/// What an accelerometer at rest tells that has this trouble from 5 s on for so long, until 10 s, and when.
fn told_of_an_accelerometer(fault: SensorFault, for_ms: u64) -> Vec<(u64, Event)> {
    let at_rest = |x| Value::Acceleration([0.0, x, 9.8]);
    let noise = (0..250).map(|i| (ms(i * 40), 0.01 * (i % 7) as f32));
    let sensor = ScriptedSensor::new(at_rest, FRAME, noise.collect());
    let episode = Episode { from: ms(5000), until: ms(5000 + for_ms), fault };
    let injector = FaultInjector::new(sensor, Arc::new(SimClock::default()), Schedule::listed([episode]), 1);
    let judge = Judge::new(demands(Source::Light), Box::new(Credulous), 60.0);
    let mut watch = Watch::new(judge, TrackQueue::default(), vec![Box::new(injector)], MIN_PX);
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
    for (fault, after) in [(SensorFault::Broken, 1000), (SensorFault::NotANumber, 1000), (SensorFault::Silent, 2480)] {
        let told = told_of_an_accelerometer(fault, 60_000);
        let [(at, Event::Fault(Fault::Tamper))] = told[..] else { panic!("{fault:?}: {told:?}") };
        assert!((5000 + after..5080 + after).contains(&at), "{fault:?} at {at}");
    }
}

#[test]
fn an_accelerometer_that_never_answered_is_a_fault_of_the_door_until_it_does() {
    let at_rest = |x| Value::Acceleration([0.0, x, 9.8]);
    let noise = (0..1000).map(|i| (ms(i * 40), 0.01 * (i % 7) as f32));
    for (fault, known) in [(SensorFault::Broken, 0), (SensorFault::Silent, 2500)] {
        let sensor = ScriptedSensor::new(at_rest, FRAME, noise.clone().collect());
        let schedule = Schedule::listed([Episode { from: ms(0), until: ms(20_000), fault }]);
        let injector = FaultInjector::new(sensor, Arc::new(SimClock::default()), schedule, 1);
        let demands = Demands { required: SourceSet::default(), ..demands(Source::Light) };
        let judge = Judge::new(demands, Box::new(Credulous), 60.0);
        let mut watch = Watch::new(judge, TrackQueue::default(), vec![Box::new(injector)], MIN_PX);
        let mut told = Vec::new();
        for at in (0..30_000).step_by(40) {
            let judged = watch.judge(ms(at), &mut |event| panic!("{fault:?}: {event:?}"));
            told.extend(judged.err().map(|why| (at, why)));
        }
        let ((first, why), (last, _)) = (told.first().unwrap(), told.last().unwrap());
        assert!((known + 5000..known + 5120).contains(first), "{fault:?} at {first}: {why}");
        assert!((19_900..20_040).contains(last), "{fault:?} until {last}");
    }
}

#[test]
fn a_housing_that_is_turned_is_a_fault() {
    let turned = |x| Value::Acceleration([0.0, x, 9.0]);
    let course = (0..400).map(|i| (ms(i * 40), if i < 200 { 0.01 * (i % 7) as f32 } else { 6.0 }));
    let shaken = ScriptedSensor::new(turned, FRAME, course.collect());
    let judge = Judge::new(demands(Source::Light), Box::new(Credulous), 60.0);
    let mut watch = Watch::new(judge, TrackQueue::default(), vec![Box::new(shaken)], MIN_PX);
    let mut told = Vec::new();
    for i in 0..400 {
        let at = ms(i * 40);
        let _required_light_is_missing = watch.judge(at, &mut |event| told.push((at, event)));
    }
    let [(at, Event::Fault(Fault::Tamper))] = told[..] else { panic!("{told:?}") };
    assert!((8000..9000).contains(&at.as_millis()), "{at:?}");
}
