//! Ledger, strike, sensor and inputs in trouble.

use std::collections::VecDeque;

use super::{FaultInjector, Trouble};
use crate::gate::Record;
use crate::ports::{DeviceError, Input, Inputs, Ledger, Reading, Sensor, SensorKind, Strike, Value};
use crate::time::{Duration, Instant};

/// What can be wrong with a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerFault {
    /// The disk is full: nothing is written.
    Full,
    /// The disk hangs for some seconds, as a worn card does, and then writes.
    Hangs,
}

impl LedgerFault {
    pub const ALL: [Self; 2] = [Self::Full, Self::Hangs];
}

/// How long a hanging disk takes.
const HANG: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

impl Trouble for LedgerFault {
    type Memory = ();
}

impl<L: Ledger> Ledger for FaultInjector<L, LedgerFault> {
    fn append(&mut self, record: &Record) -> Result<u64, String> {
        match self.present_fault() {
            Some(LedgerFault::Full) => return Err("no space left on device (simulated)".to_owned()),
            Some(LedgerFault::Hangs) => self.clock.pause(self.rng.between(HANG.0, HANG.1)),
            None => {}
        }
        self.device.append(record)
    }
}

/// What can be wrong with a strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrikeFault {
    /// The line can't be driven; the door stays as it is.
    Stuck,
    /// Releasing fails and locking works.
    Locked,
}

impl StrikeFault {
    pub const ALL: [Self; 2] = [Self::Stuck, Self::Locked];
}

impl Trouble for StrikeFault {
    type Memory = ();
}

impl<S: Strike> FaultInjector<S, StrikeFault> {
    fn broken(&self) -> DeviceError {
        DeviceError { device: self.device.describe(), reason: "the line can't be driven (simulated)".to_owned() }
    }
}

impl<S: Strike> Strike for FaultInjector<S, StrikeFault> {
    fn release(&mut self) -> Result<(), DeviceError> {
        match self.present_fault() {
            Some(_) => Err(self.broken()),
            None => self.device.release(),
        }
    }

    fn secure(&mut self) -> Result<(), DeviceError> {
        match self.present_fault() {
            Some(StrikeFault::Stuck) => Err(self.broken()),
            _ => self.device.secure(),
        }
    }

    fn describe(&self) -> String {
        format!("{}, with faults", self.device.describe())
    }
}

/// What can be wrong with a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SensorFault {
    /// Not a number, which no sensor should give.
    NotANumber,
    /// The last value for ever, with new times.
    Stuck,
    /// The last values again and again, with new times: a recording.
    Replayed,
    /// What another kind of sensor says: plugs were swapped.
    Swapped,
    /// Values that were taken up to five seconds ago.
    Late,
    /// No values.
    Silent,
    /// The bus fails.
    Broken,
}

impl SensorFault {
    pub const ALL: [Self; 7] =
        [Self::NotANumber, Self::Stuck, Self::Replayed, Self::Swapped, Self::Late, Self::Silent, Self::Broken];
}

/// Most values of a recording.
const RECORDED: usize = 48;
/// How late a value can be.
const LATEST: Duration = Duration::from_secs(5);

impl Trouble for SensorFault {
    /// The last measurements before the trouble.
    type Memory = Measured;
}

/// Measurements that borrow nothing, their memory used again.
#[derive(Default)]
pub struct Measured {
    /// The newest last; of a grid without its cells, which stand beside it.
    recording: VecDeque<(Value<'static>, Vec<f32>)>,
    /// As many cells that are no number.
    nothing: Vec<f32>,
}

impl Measured {
    fn keep(&mut self, value: Value<'_>) {
        let oldest = if self.recording.len() < RECORDED { None } else { self.recording.pop_front() };
        let mut cells = oldest.map(|(_, cells)| cells).unwrap_or_default();
        self.recording.push_back((value.detach(&mut cells), cells));
    }

    fn newest(&self) -> Option<Value<'_>> {
        self.recording.back().map(|(value, cells)| value.with_cells(cells))
    }

    /// The oldest, which becomes the newest.
    fn again(&mut self) -> Option<Value<'_>> {
        self.recording.rotate_left(1.min(self.recording.len()));
        self.newest()
    }

    /// The same kind of value, no number of which is one.
    fn not_a_number<'a>(&'a mut self, value: Value<'a>) -> Value<'a> {
        let nan = f32::NAN;
        if let Value::Depth(grid) | Value::Thermal(grid) = value {
            self.nothing.clear();
            self.nothing.resize(grid.cells.len(), nan);
        }
        match value {
            Value::Depth(_) | Value::Thermal(_) => value.with_cells(&self.nothing),
            Value::Distance(_) => Value::Distance(nan),
            Value::Thermometer { .. } => Value::Thermometer { object: nan, ambient: nan },
            Value::Proximity { .. } => Value::Proximity { lit: nan, dark: nan },
            Value::Light(_) => Value::Light(nan),
            Value::Touch(_) => Value::Touch(nan),
            Value::Acceleration(_) => Value::Acceleration([nan; 3]),
        }
    }
}

impl<S: Sensor> Sensor for FaultInjector<S, SensorFault> {
    fn kind(&self) -> SensorKind {
        self.device.kind()
    }

    fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        let fault = self.schedule.at(now);
        if fault == Some(SensorFault::Broken) {
            let reason = "no answer on the bus (simulated)".to_owned();
            return Err(DeviceError { device: self.device.describe(), reason });
        }
        let Some(mut reading) = self.device.poll(now)? else { return Ok(None) };
        match fault {
            Some(SensorFault::Silent) => return Ok(None),
            Some(SensorFault::NotANumber) => reading.value = self.memory.not_a_number(reading.value),
            Some(SensorFault::Stuck) => reading.value = self.memory.newest().unwrap_or(reading.value),
            Some(SensorFault::Replayed) => reading.value = self.memory.again().unwrap_or(reading.value),
            Some(SensorFault::Swapped) => reading.value = of_another_kind(reading.value),
            Some(SensorFault::Late) => reading.at = reading.at.before(self.rng.between(Duration::ZERO, LATEST)),
            _ => self.memory.keep(reading.value),
        }
        Ok(Some(reading))
    }

    fn describe(&self) -> String {
        self.device.describe()
    }
}

/// What a working sensor of another kind would say.
fn of_another_kind(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Light(_) => Value::Distance(600.0),
        _ => Value::Light(300.0),
    }
}

/// What can be wrong with the door's wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputsFault {
    /// Each change comes several times, to and fro, before it stays.
    Bouncing,
    /// The lines can't be read.
    Broken,
}

impl InputsFault {
    pub const ALL: [Self; 2] = [Self::Bouncing, Self::Broken];
}

/// Most times that one change is taken back.
const MAX_BOUNCES: usize = 6;
/// The time from one bounce to the next.
const BOUNCE: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(4));

impl Trouble for InputsFault {
    /// Bounces to come.
    type Memory = VecDeque<Input>;
}

impl<I: Inputs> Inputs for FaultInjector<I, InputsFault> {
    fn wait(&mut self, timeout: Duration) -> Result<Option<Input>, String> {
        if let Some(input) = self.memory.pop_front() {
            self.clock.pause(self.rng.between(BOUNCE.0, BOUNCE.1).min(timeout));
            return Ok(Some(input));
        }
        let fault = self.present_fault();
        if fault == Some(InputsFault::Broken) {
            return Err("the lines can't be read (simulated)".to_owned());
        }
        let input = self.device.wait(timeout)?;
        if let (Some(input), Some(InputsFault::Bouncing)) = (input, fault) {
            let back = match input {
                Input::ExitButton(on) => Input::ExitButton(!on),
                Input::DoorContact(on) => Input::DoorContact(!on),
            };
            for _ in 0..self.rng.below(MAX_BOUNCES + 1) {
                self.memory.extend([back, input]);
            }
        }
        Ok(input)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gate::Outcome;
    use crate::ports::Clock;
    use crate::sim::clock::SimClock;
    use crate::sim::fault::{Episode, Schedule};
    use crate::sim::inputs::ScriptedInputs;
    use crate::sim::ledger::MemoryLedger;
    use crate::sim::sensors::{Scene, SceneSensor, ScriptedSensor};
    use crate::sim::strike::RecordingStrike;
    use crate::time::Wall;

    /// Trouble from the first second to the second.
    fn injector<D, F: Trouble>(fault: F, device: impl FnOnce(Arc<dyn Clock>) -> D) -> (SimClock, FaultInjector<D, F>) {
        let clock = SimClock::default();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let (from, until) = (Instant::from_millis(1000), Instant::from_millis(2000));
        let schedule = Schedule::listed([Episode { from, until, fault }]);
        (clock, FaultInjector::new(device(shared.clone()), shared, schedule, 3))
    }

    #[test]
    fn a_full_disk_writes_nothing_and_a_hanging_one_late() {
        let record = Record::new(Wall::default(), Outcome::Exit);
        let (clock, mut ledger) = injector(LedgerFault::Full, |_| MemoryLedger::default());
        assert_eq!(ledger.append(&record), Ok(1));
        clock.advance_to(Instant::from_millis(1000));
        assert!(ledger.append(&record).unwrap_err().contains("no space"));
        clock.advance_to(Instant::from_millis(2000));
        assert_eq!(ledger.append(&record), Ok(2));
        let (clock, mut ledger) = injector(LedgerFault::Hangs, |_| MemoryLedger::default());
        clock.advance_to(Instant::from_millis(1000));
        assert_eq!(ledger.append(&record), Ok(1));
        assert!(clock.now().mono >= Instant::from_millis(2000));
    }

    #[test]
    fn a_stuck_line_moves_in_neither_direction() {
        let (clock, mut strike) = injector(StrikeFault::Stuck, RecordingStrike::new);
        strike.release().unwrap();
        clock.advance_to(Instant::from_millis(1000));
        assert!(strike.secure().is_err() && strike.release().is_err());
        assert!(strike.device().log().is_released());
        clock.advance_to(Instant::from_millis(2000));
        strike.secure().unwrap();
        let (clock, mut strike) = injector(StrikeFault::Locked, RecordingStrike::new);
        clock.advance_to(Instant::from_millis(1000));
        assert!(strike.release().is_err() && strike.secure().is_ok());
    }

    #[test]
    fn a_sensor_in_trouble_gives_each_kind_of_wrong_value() {
        let course = vec![(Instant::BOOT, 0.0), (Instant::from_millis(4000), 4000.0)];
        let poll = |fault, at: u64| {
            let sensor = |_| ScriptedSensor::new(Value::Distance, Duration::ZERO, course.clone());
            let (_, mut sensor) = injector(fault, sensor);
            sensor.poll(Instant::from_millis(900)).unwrap();
            let polled = sensor.poll(Instant::from_millis(at));
            polled.map(|reading| {
                reading.map(|Reading { at, value }| match value {
                    Value::Distance(mm) => (at, mm),
                    other => panic!("{other:?}"),
                })
            })
        };
        let value = |fault, at| poll(fault, at).unwrap().unwrap().1;
        assert!(value(SensorFault::NotANumber, 1500).is_nan());
        assert_eq!(value(SensorFault::Stuck, 1500), 900.0);
        assert_eq!(value(SensorFault::Stuck, 2500), 2500.0, "it recovers");
        assert!(value(SensorFault::Replayed, 1500) < 1000.0, "from before the trouble");
        assert_eq!(poll(SensorFault::Silent, 1500), Ok(None));
        assert!(poll(SensorFault::Broken, 1500).is_err());
        assert!(poll(SensorFault::Late, 1500).unwrap().unwrap().0 < Instant::from_millis(1500));
    }

    #[test]
    fn a_grid_in_trouble_gives_no_numbers_or_its_last_ones() {
        let cells = |fault, at: u64| {
            let (_, mut sensor) =
                injector(fault, |_| SceneSensor::depth(Duration::ZERO, vec![(Instant::BOOT, Scene::default())], 5));
            let mut poll = |at| match sensor.poll(Instant::from_millis(at)).unwrap().unwrap().value {
                Value::Depth(grid) => grid.cells.to_vec(),
                other => panic!("{other:?}"),
            };
            (poll(900), poll(at))
        };
        assert!(cells(SensorFault::NotANumber, 1500).1.iter().all(|cell| cell.is_nan()));
        let (before, stuck) = cells(SensorFault::Stuck, 1500);
        assert_eq!(before, stuck);
        let (before, after) = cells(SensorFault::Stuck, 2500);
        assert_ne!(before, after, "it recovers");
    }

    #[test]
    fn a_bouncing_contact_ends_at_its_true_level() {
        let mut bounces = 0;
        for seed in 0..20 {
            let (clock, mut inputs) = injector(InputsFault::Bouncing, |clock| {
                ScriptedInputs::new(clock, [(Instant::from_millis(1500), Input::DoorContact(true))])
            });
            inputs.rng = crate::sim::rng::Rng::new(seed);
            let mut last = None;
            while clock.now().mono < Instant::from_millis(1900) {
                if let Some(input) = inputs.wait(Duration::from_millis(100)).unwrap() {
                    bounces += usize::from(last.is_some());
                    last = Some(input);
                }
            }
            assert_eq!(last, Some(Input::DoorContact(true)), "seed {seed}");
        }
        assert!(bounces > 20, "{bounces}");
    }

    #[test]
    fn lines_that_can_not_be_read_say_so_until_they_can() {
        let (clock, mut inputs) = injector(InputsFault::Broken, ScriptedInputs::at_rest);
        clock.advance_to(Instant::from_millis(1000));
        assert!(inputs.wait(Duration::ZERO).is_err());
        clock.advance_to(Instant::from_millis(2000));
        assert_eq!(inputs.wait(Duration::ZERO), Ok(Some(Input::ExitButton(false))));
    }
}
