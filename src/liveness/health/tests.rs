use std::sync::Arc;

use super::*;
use crate::liveness::fusion::Fusion;
use crate::liveness::{Channel, Place, Sample};
use crate::ports::{DeviceError, Grid, Sensor};
use crate::sim::clock::SimClock;
use crate::sim::fault::{Episode, FaultInjector, Schedule, SensorFault};
use crate::sim::rng::Rng;

const MS: fn(u64) -> Instant = Instant::from_millis;

/// A sensor that works: a reading each 40 ms with noise.
fn noisy(kind: SensorKind, rng: &mut Rng) -> Value<'static> {
    let noise = (rng.unit() as f32 - 0.5) * 0.02;
    match kind {
        SensorKind::Distance => Value::Distance(600.0 + 200.0 * noise),
        SensorKind::Thermometer => Value::Thermometer { object: 31.0 + noise, ambient: 21.0 + noise },
        SensorKind::Proximity => Value::Proximity { lit: 0.4 + noise, dark: 0.1 + noise / 2.0 },
        SensorKind::Light => Value::Light(300.0 + noise),
        SensorKind::Touch => Value::Touch(0.5 + noise),
        SensorKind::Acceleration => Value::Acceleration([noise, noise, 9.81 + noise]),
        SensorKind::Depth | SensorKind::Thermal => panic!("a grid"),
    }
}

const NUMBERS: [SensorKind; 6] = [
    SensorKind::Distance,
    SensorKind::Thermometer,
    SensorKind::Proximity,
    SensorKind::Light,
    SensorKind::Touch,
    SensorKind::Acceleration,
];

fn feed(health: &mut Health, values: impl IntoIterator<Item = (u64, Value<'static>)>) -> Option<Invalid> {
    let mut last = None;
    for (ms, value) in values {
        last = health.take(Reading { at: MS(ms), value }, MS(ms)).err();
    }
    last
}

#[test]
fn a_sensor_that_works_is_believed_for_an_hour() {
    for kind in NUMBERS {
        let (mut health, mut rng) = (Health::new(kind, MS(0)), Rng::new(3));
        for i in 1..90_000 {
            let (at, value) = (MS(40 * i), noisy(kind, &mut rng));
            assert_eq!(health.take(Reading { at, value }, at), Ok(Reading { at, value }), "{kind:?} at {i}");
        }
    }
}

#[test]
fn what_is_no_number_or_beyond_the_range_is_told_as_such() {
    use Invalid::{NotFinite, OutOfRange};
    let inf = f32::INFINITY;
    for (value, reason) in [
        (Value::Distance(f32::NAN), NotFinite),
        (Value::Distance(8190.0), OutOfRange),
        (Value::Distance(-1.0), OutOfRange),
        (Value::Distance(29.0), OutOfRange),
        (Value::Thermometer { object: 30.0, ambient: f32::NAN }, NotFinite),
        (Value::Thermometer { object: 301.0, ambient: 20.0 }, OutOfRange),
        (Value::Thermometer { object: 30.0, ambient: 130.0 }, OutOfRange),
        (Value::Proximity { lit: inf, dark: 0.1 }, NotFinite),
        (Value::Proximity { lit: 5.0, dark: 0.1 }, OutOfRange),
        (Value::Proximity { lit: 0.1, dark: -0.1 }, OutOfRange),
        (Value::Light(-3.0), OutOfRange),
        (Value::Touch(1.5), OutOfRange),
        (Value::Acceleration([0.0, f32::NAN, 9.8]), NotFinite),
        (Value::Acceleration([0.0, 500.0, 9.8]), OutOfRange),
    ] {
        let mut health = Health::new(value.kind(), MS(0));
        assert_eq!(feed(&mut health, [(40, value)]), Some(reason), "{value:?}");
    }
    let mut health = Health::new(SensorKind::Light, MS(0));
    assert_eq!(feed(&mut health, [(40, Value::Distance(600.0))]), Some(OutOfRange), "another kind of value");
}

#[test]
fn an_end_of_the_range_counts_after_some_readings_in_a_row() {
    for [bad, good] in [
        [Value::Touch(1.0), Value::Touch(0.5)],
        [Value::Touch(0.0), Value::Touch(0.5)],
        [Value::Touch(0.0076), Value::Touch(0.5)],
        [Value::Proximity { lit: 1.2, dark: 0.99 }, Value::Proximity { lit: 0.5, dark: 0.2 }],
        [Value::Proximity { lit: 1.08, dark: 0.1 }, Value::Proximity { lit: 0.5, dark: 0.2 }],
    ] {
        let mut health = Health::new(bad.kind(), MS(0));
        assert_eq!(feed(&mut health, (1..5).map(|i| (40 * i, bad))), None);
        assert_eq!(feed(&mut health, [(200, bad)]), Some(Invalid::Saturated));
        assert_eq!(feed(&mut health, [(240, good)]), None);
        assert_eq!(feed(&mut health, [(280, bad)]), None, "it counts anew");
    }
}

#[test]
fn a_value_that_never_changes_is_stuck_after_its_time() {
    for (kind, limit) in NUMBERS.into_iter().zip([5000, 15_000, 10_000, 30_000, 1000, 10_000]) {
        let (mut health, mut rng) = (Health::new(kind, MS(0)), Rng::new(5));
        let value = noisy(kind, &mut rng);
        assert_eq!(feed(&mut health, (0..=limit / 40).map(|i| (40 * i, value))), None, "{kind:?}");
        assert_eq!(feed(&mut health, [(limit + 40, value)]), Some(Invalid::Stuck), "{kind:?}");
        assert_eq!(feed(&mut health, [(limit + 80, noisy(kind, &mut rng))]), None, "{kind:?} moves again");
    }
}

#[test]
fn a_sensor_that_is_slower_than_the_poll_is_not_stuck_and_nought_in_the_dark_is_honest() {
    let mut health = Health::new(SensorKind::Touch, MS(0));
    for i in 0..500 {
        // 2 Hz, polled at 25 Hz: the same reading thirteen times.
        let at = 500 * (i / 13);
        let reading = Reading { at: MS(at), value: Value::Touch(0.4 + at as f32 * 1e-6) };
        assert_eq!(health.take(reading, MS(at + 40 * (i % 13))), Ok(reading));
    }
    for dark in [Value::Light(0.0), Value::Proximity { lit: 0.0, dark: 0.0 }] {
        let mut health = Health::new(dark.kind(), MS(0));
        assert_eq!(feed(&mut health, (1..10_000).map(|i| (40 * i, dark))), None);
    }
}

#[test]
fn old_early_and_misordered_readings_are_told_apart() {
    let mut health = Health::new(SensorKind::Distance, MS(0));
    let mut take = |at, now, mm| health.take(Reading { at: MS(at), value: Value::Distance(mm) }, MS(now)).err();
    assert_eq!(take(1000, 1500, 600.0), None);
    assert_eq!(take(1040, 1541, 601.0), Some(Invalid::Late));
    assert_eq!(take(1020, 1510, 602.0), Some(Invalid::OutOfOrder));
    assert_eq!(take(1580, 1560, 603.0), None, "a tick of the clock");
    assert_eq!(take(3_600_000, 1600, 604.0), Some(Invalid::FromTheFuture));
    assert_eq!(take(1620, 1640, 605.0), None, "one wrong stamp makes the next ones no worse");
}

#[test]
fn silence_and_failure_are_told_without_a_reading() {
    let mut health = Health::new(SensorKind::Thermometer, MS(1000));
    assert_eq!((health.at(MS(4000)), health.at(MS(4001))), (None, Some(Invalid::Silent)));
    assert_eq!(health.fail(), Invalid::Failing);
    assert_eq!(health.at(MS(1100)), Some(Invalid::Failing));
    assert_eq!(feed(&mut health, [(5000, Value::Thermometer { object: 30.0, ambient: 20.0 })]), None);
    assert_eq!(health.at(MS(5001)), None);
}

#[test]
fn a_thermometers_own_temperature_does_not_jump() {
    let at = |object, ambient| Value::Thermometer { object, ambient };
    let mut health = Health::new(SensorKind::Thermometer, MS(0));
    assert_eq!(feed(&mut health, [(100, at(20.0, 20.0)), (200, at(34.0, 20.4))]), None, "somebody steps up");
    assert_eq!(feed(&mut health, [(300, at(34.0, 29.0))]), Some(Invalid::Jump));
    assert_eq!(feed(&mut health, [(400, at(34.1, 29.0))]), Some(Invalid::Jump), "and stays implausible");
    assert_eq!(feed(&mut health, [(500, at(34.0, 20.4))]), None);
}

#[test]
fn a_recording_that_is_played_again_and_again_is_noticed() {
    for length in [20, 100, 230] {
        let (mut health, mut rng) = (Health::new(SensorKind::Distance, MS(0)), Rng::new(9));
        let recorded: Vec<_> =
            (0..length).map(|_| Value::Distance((600.0 + 40.0 * rng.unit() as f32).round())).collect();
        let mut played = recorded.iter().cycle().enumerate().map(|(i, value)| (40 * (i as u64 + 1), *value));
        assert_eq!(feed(&mut health, played.by_ref().take(length)), None);
        assert_eq!(feed(&mut health, played.by_ref().take(length)), Some(Invalid::Repeating), "{length}");
    }
}

#[test]
fn a_still_room_in_coarse_steps_is_no_recording() {
    // A deviation of one step, as a distance of whole millimetres to a wall or a thermometer in 0.02 K has.
    let (mut health, mut rng) = (Health::new(SensorKind::Distance, MS(0)), Rng::new(11));
    for i in 1..200_000 {
        let steps: f64 = (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
        assert_eq!(feed(&mut health, [(40 * i, Value::Distance(600.0 + steps.round() as f32))]), None, "reading {i}");
    }
}

fn grid(cells: &[f32]) -> Grid<'_> {
    Grid { columns: cells.len() / 2, rows: 2, cells, view: [45.0, 45.0] }
}

#[test]
fn grids_are_judged_whole() {
    let judge = |value: Value<'_>| Health::new(value.kind(), MS(0)).take(Reading { at: MS(0), value }, MS(0)).err();
    let nan = f32::NAN;
    assert_eq!(judge(Value::Depth(grid(&[600.0, nan, nan, nan]))), None);
    assert_eq!(judge(Value::Depth(grid(&[nan; 4]))), Some(Invalid::NotFinite));
    assert_eq!(judge(Value::Depth(grid(&[600.0, 9000.0, 9000.0, nan]))), Some(Invalid::OutOfRange));
    assert_eq!(judge(Value::Depth(Grid { rows: 3, ..grid(&[600.0; 4]) })), Some(Invalid::NotFinite));
    let mut warm = [21.0; 16];
    warm[3..5].fill(f32::INFINITY);
    assert_eq!(judge(Value::Thermal(grid(&warm))), None, "two dead pixels of sixteen");
    warm[6] = nan;
    assert_eq!(judge(Value::Thermal(grid(&warm))), Some(Invalid::NotFinite));
    assert_eq!(judge(Value::Thermal(grid(&[500.0; 16]))), Some(Invalid::OutOfRange));
    let mut hot = [21.0; 16];
    hot[..2].fill(500.0);
    assert_eq!(judge(Value::Thermal(grid(&hot))), None, "two of sixteen that can't be");
    hot[2] = 500.0;
    assert_eq!(judge(Value::Thermal(grid(&hot))), Some(Invalid::OutOfRange));
    assert_eq!(judge(Value::Depth(grid(&vec![600.0; MAX_CELLS + 2]))), Some(Invalid::NotFinite));
    let (mut health, mut cells) = (Health::new(SensorKind::Depth, MS(0)), [600.0, nan, 640.0, 700.0]);
    let mut take =
        |ms, cells: &[f32]| health.take(Reading { at: MS(ms), value: Value::Depth(grid(cells)) }, MS(ms)).err();
    assert_eq!((0..51).find_map(|i| take(40 * i, &cells)), None);
    assert_eq!(take(2040, &cells), Some(Invalid::Stuck));
    cells[3] = 701.0;
    assert_eq!(take(2080, &cells), None, "one zone is change enough");
}

/// A sensor whose value differs each time.
struct Alive(SensorKind, Rng);

impl Sensor for Alive {
    fn kind(&self) -> SensorKind {
        self.0
    }
    fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        Ok(Some(Reading { at: now, value: noisy(self.0, &mut self.1) }))
    }
    fn describe(&self) -> String {
        "alive".to_owned()
    }
}

#[test]
fn each_simulated_fault_is_noticed_by_its_own_name_and_ends_with_the_fault() {
    for kind in NUMBERS {
        for fault in SensorFault::ALL {
            let clock = SimClock::default();
            let schedule = Schedule::listed([Episode { from: MS(1000), until: MS(80_000), fault }]);
            let mut sensor = FaultInjector::new(Alive(kind, Rng::new(1)), Arc::new(clock), schedule, 2);
            let mut health = Health::new(kind, MS(0));
            let mut told = std::collections::BTreeMap::new();
            for i in 0..2200 {
                let now = MS(40 * i);
                let judged = match sensor.poll(now) {
                    Ok(Some(reading)) => health.take(reading, now).err(),
                    Ok(None) => health.at(now),
                    Err(_) => Some(health.fail()),
                };
                assert!(judged.is_none() || (25..2010).contains(&i), "{kind:?} {fault:?} at {i}: {judged:?}");
                if let Some(invalid) = judged {
                    *told.entry(invalid.as_str()).or_insert(0) += 1;
                }
            }
            let expected = match fault {
                SensorFault::NotANumber => "not_finite",
                SensorFault::Stuck => "stuck",
                SensorFault::Replayed => "repeating",
                SensorFault::Swapped => "out_of_range",
                SensorFault::Late => "late",
                SensorFault::Silent => "silent",
                SensorFault::Broken => "failing",
            };
            assert!(told.get(expected).is_some_and(|times| *times > 100), "{kind:?} {fault:?}: {told:?}");
        }
    }
}

/// Readings at the ends of what a kind can measure, each number by itself, and of a grid in every cell.
fn at_ends<'a>(kind: SensorKind, cells: &'a [[f32; 64]; 2]) -> Vec<Value<'a>> {
    let [low, high] = nature(kind).range;
    let four = |of: fn(f32, f32) -> Value<'static>, b: [f32; 2]| {
        [low, high].into_iter().flat_map(move |a| b.map(|b| of(a, b))).collect()
    };
    let grid = |cells: &'a [f32; 64]| Grid { columns: 8, rows: 8, cells, view: [60.0, 60.0] };
    match kind {
        SensorKind::Distance => [low, high].map(Value::Distance).into(),
        SensorKind::Light => [low, high.next_down(), high].map(Value::Light).into(),
        SensorKind::Touch => {
            let [none, full] = nature(kind).ends;
            [low, none, none.next_up(), full.next_down(), full, high].map(Value::Touch).into()
        }
        SensorKind::Thermometer => four(|object, ambient| Value::Thermometer { object, ambient }, OWN),
        SensorKind::Proximity => four(|back, dark| Value::Proximity { lit: dark + back, dark }, [0.0, 0.979]),
        SensorKind::Depth => cells.each_ref().map(grid).map(Value::Depth).into(),
        SensorKind::Thermal => cells.each_ref().map(grid).map(Value::Thermal).into(),
        SensorKind::Acceleration => panic!("it has no channel"),
    }
}

#[test]
fn what_passes_takes_its_place_in_the_window() {
    let of_a_channel = NUMBERS.into_iter().filter(|kind| *kind != SensorKind::Acceleration);
    for kind in of_a_channel.chain([SensorKind::Depth, SensorKind::Thermal]) {
        let mut passed = 0;
        let cells = nature(kind).range.map(|end| [end; 64]);
        for value in at_ends(kind, &cells) {
            let (mut health, mut fusion) = (Health::new(kind, MS(0)), Fusion::new(60.0));
            fusion.face(Place { at: MS(200), x: 0.0, y: -0.05, eye_gap: 0.09 }, 100.0);
            // What is at an end of the range is told of several readings in a row.
            let told = (1..=SATURATED_READINGS).map(|i| MS(40 * u64::from(i))).fold(None, |_, at| {
                health.take(Reading { at, value }, at).ok().map(|reading| fusion.samples(&reading))
            });
            let Some(samples) = told else { continue };
            passed += 1;
            let always = |sample: &&Sample| match kind {
                SensorKind::Depth => sample.channel == Channel::DepthFaceMm,
                SensorKind::Thermal => sample.channel == Channel::WarmFaceC,
                _ => sample.channel != Channel::EyeGapMm,
            };
            let primary: Vec<_> = samples.iter().filter(always).collect();
            assert!(!primary.is_empty(), "{value:?}: {samples:?}");
            for sample in primary {
                let [low, high] = sample.channel.spec().limits;
                assert!((low..=high).contains(&sample.value), "{value:?}: {sample:?}");
            }
        }
        assert!(passed > 0, "{kind:?}");
    }
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let names: std::collections::HashSet<_> = Invalid::ALL.into_iter().map(Invalid::as_str).collect();
    assert_eq!(names.len(), Invalid::ALL.len());
}
