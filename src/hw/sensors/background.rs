//! A sensor in a thread of its own. What it measures waits in a queue of fixed length for whoever polls.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::SensorConfig;
use super::failure;
use super::iio::period;
use crate::backoff::Backoff;
use crate::ports::{Clock, DeviceError, Reading, Sensor, SensorKind, Value};
use crate::time::{Duration, Instant};

/// Measurements that wait at most; the oldest goes for a new one.
const MAX_WAITING: usize = 32;
/// Measurements that are taken from a device before the thread sleeps again.
const MAX_AT_ONCE: usize = 64;
/// A device that has failed so often in a row is closed and opened anew.
const FAILURES_TO_REOPEN: u32 = 5;
/// A sensor that says nothing is opened anew after as long as such a one may be silent, then after twice as long, and
/// so on up to 2 to the power of this: a microcontroller that starts anew when its port is opened must have the time
/// to.
const MAX_PATIENCE: u32 = 4;
/// The longest sleep between two polls, so that what comes by itself is fetched soon.
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// The end at which readings come out.
pub struct Background {
    kind: SensorKind,
    shared: Arc<Shared>,
    current: Owned,
}

struct Shared {
    state: Mutex<State>,
    is_over: AtomicBool,
}

struct State {
    waiting: VecDeque<Owned>,
    /// Those that were taken, for their memory.
    free: Vec<Owned>,
    /// Since the last reading.
    error: Option<DeviceError>,
    describe: String,
}

/// A reading that borrows nothing.
#[derive(Debug, Clone)]
struct Owned {
    at: Instant,
    /// Of a grid without its cells, which are below.
    value: Value<'static>,
    cells: Vec<f32>,
}

impl Owned {
    fn empty() -> Self {
        Self { at: Instant::BOOT, value: Value::Light(0.0), cells: Vec::new() }
    }

    fn take(&mut self, reading: &Reading<'_>) {
        self.at = reading.at;
        self.value = reading.value.detach(&mut self.cells);
    }

    fn reading(&self) -> Reading<'_> {
        Reading { at: self.at, value: self.value.with_cells(&self.cells) }
    }
}

impl Background {
    /// `open` is called in the thread, and again, with pauses that grow, after the device has failed.
    pub fn start(
        config: &SensorConfig,
        clock: Arc<dyn Clock>,
        open: impl FnMut() -> Result<Box<dyn Sensor>, DeviceError> + Send + 'static,
    ) -> Self {
        let describe = format!("{} by {} ({})", config.kind.as_str(), config.driver.as_str(), config.device.display());
        let state = State { waiting: VecDeque::new(), free: Vec::new(), error: None, describe };
        let shared = Arc::new(Shared { state: Mutex::new(state), is_over: AtomicBool::new(false) });
        let mut worker =
            Worker { shared: shared.clone(), clock, open, config: config.clone(), backoff: Backoff::default() };
        let name = format!("sensor-{}", config.kind.as_str());
        // Nobody joins it: a driver that hangs would hold up the daemon's end.
        let started = std::thread::Builder::new().name(name).spawn(move || worker.run());
        if let Err(error) = started {
            shared.lock().error = Some(failure(&config.device, format!("no thread for it: {error}")));
        }
        Self { kind: config.kind, shared, current: Owned::empty() }
    }
}

impl Sensor for Background {
    fn kind(&self) -> SensorKind {
        self.kind
    }

    /// In the order of time, one a call.
    fn poll(&mut self, _now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        let mut state = self.shared.lock();
        match state.waiting.pop_front() {
            Some(next) => {
                let used = std::mem::replace(&mut self.current, next);
                state.free.push(used);
            }
            None => return state.error.take().map_or(Ok(None), Err),
        }
        drop(state);
        Ok(Some(self.current.reading()))
    }

    fn describe(&self) -> String {
        self.shared.lock().describe.clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, reading: &Reading<'_>) {
        let mut state = self.lock();
        if state.waiting.len() == MAX_WAITING {
            let oldest = state.waiting.pop_front();
            state.free.extend(oldest);
        }
        let mut owned = state.free.pop().unwrap_or_else(Owned::empty);
        owned.take(reading);
        state.waiting.push_back(owned);
        state.error = None;
    }
}

struct Worker<F> {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    open: F,
    config: SensorConfig,
    backoff: Backoff,
}

impl<F: FnMut() -> Result<Box<dyn Sensor>, DeviceError>> Worker<F> {
    fn run(&mut self) {
        while !self.is_over() {
            match self.shielded(|worker| (worker.open)()) {
                Ok(mut sensor) => {
                    self.shared.lock().describe = sensor.describe();
                    self.serve(&mut *sensor);
                }
                Err(error) => self.shared.lock().error = Some(error),
            }
            let pause = self.backoff.failed();
            self.sleep(pause);
        }
    }

    /// Until the sensor has failed several times in a row, or has been silent for too long: a chip that lost its
    /// firmware when the power sagged, or a stream that stalled, says nothing of it. That it is silent is for others to
    /// tell.
    fn serve(&mut self, sensor: &mut dyn Sensor) {
        let period = period(&self.config).min(MAX_PAUSE);
        let (mut failures, mut heard) = (0, self.clock.now().mono);
        // The patience ends with the first reading: one that needed long to begin is missed as soon as any other.
        while failures < FAILURES_TO_REOPEN && self.clock.now().mono.since(heard) <= self.patience() && !self.is_over()
        {
            match self.shielded(|worker| worker.fetch(sensor)) {
                Ok(0) => {}
                Ok(_) => {
                    (failures, heard) = (0, self.clock.now().mono);
                    self.backoff.succeeded();
                }
                Err(error) => {
                    failures += 1;
                    self.shared.lock().error = Some(error);
                }
            }
            self.clock.pause(period);
        }
    }

    /// How long it may be silent before it is opened anew. A socket has nobody behind it that could have lost
    /// something, and whoever sends to it would find it gone.
    fn patience(&self) -> Duration {
        let usual = self.config.kind.silent_after() * (1 << self.backoff.failures().min(MAX_PATIENCE));
        if self.config.socket().is_some() { Duration::MAX } else { usual }
    }

    /// How many measurements have come. A read that fails after others takes none of them back; one that goes on
    /// failing does so next time with none before it. A driver that takes longer than its period always has another, so
    /// that this is seconds.
    fn fetch(&mut self, sensor: &mut dyn Sensor) -> Result<usize, DeviceError> {
        for taken in 0..MAX_AT_ONCE {
            match sensor.poll(self.clock.now().mono) {
                Ok(Some(reading)) => self.shared.put(&reading),
                Ok(None) => return Ok(taken),
                Err(error) if taken > 0 => {
                    self.shared.lock().error = Some(error);
                    return Ok(taken);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(MAX_AT_ONCE)
    }

    /// A driver's crate that panics on what a device says must not take the door down.
    fn shielded<T>(&mut self, call: impl FnOnce(&mut Self) -> Result<T, DeviceError>) -> Result<T, DeviceError> {
        catch_unwind(AssertUnwindSafe(|| call(self)))
            .unwrap_or_else(|_panic| Err(failure(&self.config.device, "its driver can't read what it says".to_owned())))
    }

    fn sleep(&self, time: Duration) {
        let end = self.clock.now().mono + time;
        while !self.is_over() && self.clock.now().mono < end {
            self.clock.pause(MAX_PAUSE.min(end.since(self.clock.now().mono)));
        }
    }

    fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::hw::sensors::config::Driver;
    use crate::ports::Grid;
    use crate::sim::clock::SimClock;

    /// What it does next is what it is told next.
    enum Next {
        Gives(f32),
        Fails,
        Panics,
    }

    struct Puppet(mpsc::Receiver<Next>);

    impl Sensor for Puppet {
        fn kind(&self) -> SensorKind {
            SensorKind::Thermal
        }
        fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
            static CELLS: [f32; 2] = [20.0, 30.0];
            match self.0.recv() {
                Ok(Next::Gives(x)) => {
                    let grid = Grid { columns: 2, rows: 1, cells: &CELLS, view: [x, x] };
                    Ok(Some(Reading { at: now, value: Value::Thermal(grid) }))
                }
                Ok(Next::Fails) => Err(failure(Path::new("puppet"), "no answer".to_owned())),
                Ok(Next::Panics) => panic!("the driver's crate doesn't like this"),
                Err(_) => Ok(None),
            }
        }
        fn describe(&self) -> String {
            "a puppet".to_owned()
        }
    }

    use std::path::Path;

    fn wait_for<T>(mut got: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(got) = got() {
                return got;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn readings_come_out_in_order_and_a_failing_device_is_opened_again() {
        let config = SensorConfig::new(SensorKind::Thermal, Driver::Mlx90640, "puppet");
        let (tell, told) = mpsc::channel::<mpsc::Receiver<Next>>();
        let open = move || {
            let next = told.recv().map_err(|_| failure(Path::new("puppet"), "not there".to_owned()))?;
            Ok(Box::new(Puppet(next)) as Box<dyn Sensor>)
        };
        let mut sensor = Background::start(&config, Arc::new(SimClock::default()), open);
        let (say, hear) = mpsc::channel();
        // The first failure comes with readings before it, and five in a row follow.
        let fails = std::iter::repeat_with(|| Next::Fails).take(4);
        let gives = [Next::Gives(1.0), Next::Gives(2.0), Next::Fails, Next::Panics];
        for next in gives.into_iter().chain(fails) {
            say.send(next).unwrap();
        }
        tell.send(hear).unwrap();
        for x in [1.0, 2.0] {
            let grid = wait_for(|| match sensor.poll(Instant::BOOT).unwrap()?.value {
                Value::Thermal(grid) => Some((grid.cells.to_vec(), grid.view)),
                other => panic!("{other:?}"),
            });
            assert_eq!(grid, (vec![20.0, 30.0], [x, x]));
        }
        let error = wait_for(|| sensor.poll(Instant::BOOT).err());
        assert_eq!(error.device, "puppet");
        let (say, hear) = mpsc::channel();
        say.send(Next::Gives(3.0)).unwrap();
        tell.send(hear).unwrap();
        wait_for(|| matches!(sensor.poll(Instant::BOOT), Ok(Some(_))).then_some(()));
        assert_eq!(sensor.describe(), "a puppet");
        drop((say, tell));
    }

    /// Says nothing but in these milliseconds.
    struct Mute(std::ops::Range<u64>);

    impl Sensor for Mute {
        fn kind(&self) -> SensorKind {
            SensorKind::Depth
        }
        fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
            let grid = Grid { columns: 2, rows: 1, cells: &[612.0, 615.0], view: [45.0, 45.0] };
            let says = self.0.contains(&now.as_millis());
            Ok(says.then_some(Reading { at: now, value: Value::Depth(grid) }))
        }
        fn describe(&self) -> String {
            "mute".to_owned()
        }
    }

    /// The milliseconds at which a sensor that is mute but in some is opened in the first two minutes.
    fn opened(driver: Driver, device: &str, speaks: std::ops::Range<u64>) -> Vec<u64> {
        let (clock, (tell, told)) = (SimClock::default(), mpsc::channel());
        let now = clock.clone();
        let open = move || {
            let _the_test_may_be_over = tell.send(now.now().mono.as_millis());
            Ok(Box::new(Mute(speaks.clone())) as Box<dyn Sensor>)
        };
        let config = SensorConfig::new(SensorKind::Depth, driver, device);
        let mut sensor = Background::start(&config, Arc::new(clock.clone()), open);
        let two_minutes = Instant::from_millis(120_000);
        wait_for(|| (clock.now().mono > two_minutes).then_some(()));
        assert!(sensor.poll(two_minutes).is_ok(), "silence is no error");
        told.try_iter().take_while(|ms| *ms <= 120_000).collect()
    }

    #[test]
    fn a_silent_device_is_opened_again_ever_more_patiently_and_a_socket_is_not() {
        let at = opened(Driver::Vl53l5cx, "/dev/i2c-1", 0..0);
        let pauses: Vec<_> = at.windows(2).map(|two| (two[1] - two[0]).div_euclid(500)).collect();
        assert_eq!(pauses, [5, 11, 22, 44, 88], "{at:?}: 2.5 s and 0.25 s, 5 s and 0.5 s, and so on");
        assert_eq!(opened(Driver::Grid, "/dev/ttyACM0", 0..0).len(), at.len());
        assert_eq!(opened(Driver::Grid, "unix:/run/depth.sock", 0..0), [0]);
    }

    #[test]
    fn a_device_that_needed_several_tries_is_opened_again_as_soon_as_any_other_once_it_falls_silent() {
        // Opened at 0, 2.75 and 8.25 s; the third time it speaks.
        let at = opened(Driver::Vl53l5cx, "/dev/i2c-1", 10_000..20_000);
        assert!((8000..9000).contains(&at[2]) && (22_500..23_500).contains(&at[3]), "{at:?}");
    }

    /// Takes longer to read than its period is, as a BH1750 does, and fails once.
    struct Slow {
        clock: SimClock,
        polls: u32,
    }

    impl Sensor for Slow {
        fn kind(&self) -> SensorKind {
            SensorKind::Light
        }
        fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
            self.clock.pause(Duration::from_millis(160));
            self.polls += 1;
            match self.polls {
                30 => Err(failure(Path::new("bus"), "no answer".to_owned())),
                _ => Ok(Some(Reading { at: now, value: Value::Light(120.0) })),
            }
        }
        fn describe(&self) -> String {
            "slow".to_owned()
        }
    }

    #[test]
    fn a_slow_device_that_fails_once_is_not_opened_again() {
        let (clock, opened) = (SimClock::default(), Arc::new(AtomicBool::new(false)));
        let again = Arc::new(AtomicBool::new(false));
        let (now, before, twice) = (clock.clone(), opened.clone(), again.clone());
        let open = move || {
            twice.fetch_or(before.swap(true, Ordering::Relaxed), Ordering::Relaxed);
            Ok(Box::new(Slow { clock: now.clone(), polls: 0 }) as Box<dyn Sensor>)
        };
        let config = SensorConfig::new(SensorKind::Light, Driver::Iio, "bh1750");
        let _sensor = Background::start(&config, Arc::new(clock.clone()), open);
        wait_for(|| (clock.now().mono > Instant::from_millis(60_000)).then_some(()));
        assert!(opened.load(Ordering::Relaxed) && !again.load(Ordering::Relaxed));
    }

    #[test]
    fn what_nobody_takes_is_bounded_and_the_newest_stays() {
        let state = State { waiting: VecDeque::new(), free: Vec::new(), error: None, describe: String::new() };
        let shared = Shared { state: Mutex::new(state), is_over: AtomicBool::new(false) };
        for ms in 0..100 {
            shared.put(&Reading { at: Instant::from_millis(ms), value: Value::Touch(0.5) });
        }
        let state = shared.lock();
        assert_eq!((state.waiting.len(), state.free.len()), (MAX_WAITING, 0));
        assert_eq!(state.waiting.back().map(|last| last.at), Some(Instant::from_millis(99)));
    }
}
