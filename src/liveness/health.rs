//! Whether a sensor's reading is a measurement. What is not one never becomes a number of liveness: its place in the
//! window stays empty, and the reason is told.
//!
//! Pure: it is told the time. One [`Health`] watches one sensor, and sees each reading and each failure in turn.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;

use crate::ports::{MAX_CELLS, Reading, SensorKind, Value};
use crate::time::{Duration, Instant};

/// Readings at an end of the range in a row until it is called saturated: the first may be a hand that touched it.
const SATURATED_READINGS: u32 = 5;
/// How far a stamp may lie in the future: two readings of the clock by driver and thread, at a coarse tick of 10 ms.
const FUTURE: Duration = Duration::from_millis(20);
/// Digests that are kept to find a repetition by.
const DIGESTS: usize = 256;
/// So many readings in a row, each the same as one a fixed number of readings before it, are a recording.
const REPEATED_READINGS: usize = 16;
/// So many of them must differ from each other.
const DIFFERENT_READINGS: usize = 8;

named! {
    /// Why a reading is no measurement, or why there is none, as journal, `doctor` and session files name it.
    Invalid {
        /// NaN or infinity. Of a depth grid, no zone that saw anything.
        NotFinite = "not_finite",
        /// Beyond what such a sensor can measure, or what can be at a door.
        OutOfRange = "out_of_range",
        /// At an end of its range, for several readings.
        Saturated = "saturated",
        /// Bit for bit the same for longer than its noise allows.
        Stuck = "stuck",
        /// The same sequence again and again, as a recording gives it.
        Repeating = "repeating",
        /// Measured too long ago.
        Late = "late",
        /// Measured in the future.
        FromTheFuture = "from_the_future",
        /// Measured before the reading that came before it.
        OutOfOrder = "out_of_order",
        /// Faster than what it measures can change.
        Jump = "jump",
        /// Nothing has come for too long.
        Silent = "silent",
        /// It does not answer.
        Failing = "failing",
    }
}

impl Invalid {
    /// Whether what the sensor said before is in doubt, too. It takes several readings of a value, a sequence or an end
    /// of the range to tell, and those before the last were passed; of a late one's way nobody knows how long the ones
    /// before it were underway, and as long as it was nothing came; and of a silent one there is nothing new. All else
    /// is of one reading.
    pub const fn is_of_the_past(self) -> bool {
        matches!(self, Self::Saturated | Self::Stuck | Self::Repeating | Self::Late | Self::Silent)
    }
}

/// What a kind of sensor can do.
#[derive(Debug, Clone, Copy)]
struct Nature {
    /// What it measures at most, in the unit of [`Value`].
    range: [f32; 2],
    /// At or beyond these it is saturated.
    ends: [f32; 2],
    /// The longest that it gives bit-identical values while it works.
    same_for: Duration,
    /// How old a reading may be when it arrives.
    max_age: Duration,
}

const NONE: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// Each number's source stands beside it. `range` lies within the range of the kind's channels: a value that passed
/// here but fell outside there would leave a gap in the window while the sensor passes for well. `same_for` is long
/// enough for noise of the data sheet's size to show. Where an empty room may stand still it may be a little short
/// (`watch::may_see_nothing`): "stuck" then costs nothing, and ends with the first person.
const fn nature(kind: SensorKind) -> Nature {
    let ms = Duration::from_millis;
    // Half a second is a quarter of liveness' window.
    let usual = Nature { range: NONE, ends: NONE, same_for: ms(5000), max_age: ms(500) };
    match kind {
        // VL53L1X: 4 m at most; 5 mm deviation in the dark, whole millimetres: 5 s are 125 draws. Nothing at a door
        // moves faster than 10 m/s, but a hand that comes between is a step, so a jump is no fault. Nearer than 30 mm
        // is what covers it.
        SensorKind::Distance => Nature { range: [30.0, 4000.0], ..usual },
        // VL53L5CX: the same, 64 times over. One zone that changes is change enough, so even a second is long; an empty
        // room where no zone sees anything is the same for ever and is told as not finite before.
        SensorKind::Depth => Nature { range: [30.0, 4000.0], same_for: ms(2000), ..usual },
        // MLX90614: −70 to 380 °C object, −40 to 125 °C itself, steps of 0.02 K (its data sheet). Two numbers that stay
        // within a step for 150 readings are none. Above 125 °C or below −40 °C nobody is at a door.
        SensorKind::Thermometer => Nature { range: [-40.0, 125.0], same_for: ms(15_000), max_age: ms(1000), ..usual },
        // MLX90640: 0.1 K of noise at 1 Hz in steps far below that. AMG8833: steps of 0.25 K and less noise, but 64 of
        // them for 50 readings: some lie at the edge of a step. The MLX90640 measures from −40 °C on.
        SensorKind::Thermal => Nature { range: [-40.0, 125.0], same_for: ms(5000), max_age: ms(1000), ..usual },
        // Shares of full scale. Counts are few in an empty, dark room: a proximity of 0 counts is honest there, so only
        // a value that isn't 0 gets stuck. Counting light has noise of the root of its counts.
        SensorKind::Proximity => {
            Nature { range: [-0.1, 2.0], ends: [f32::NEG_INFINITY, 0.98], same_for: ms(10_000), ..usual }
        }
        // The sun gives 120 000 lux. BH1750: a lamp of 300 lux is 360 counts that stand still for long: 30 s.
        SensorKind::Light => {
            Nature { range: [0.0, 199_000.0], ends: [f32::NEG_INFINITY, 199_000.0], same_for: ms(30_000), ..usual }
        }
        // MAX30102: 18 bits, a few counts of noise: a second is 100 readings. A finger pressed on or lifted is a step.
        // Without one the window itself reflects some hundredths, with noise; SparkFun's example takes less than 0.19
        // for no finger.
        SensorKind::Touch => Nature { range: [-0.01, 1.01], ends: [0.1, 0.999], same_for: ms(1000), ..usual },
        // ±16 g and more; noise of a few steps at 25 Hz (ADXL345: one step deviation): 10 s.
        SensorKind::Acceleration => Nature { range: [-400.0, 400.0], same_for: ms(10_000), ..usual },
    }
}

/// A thermometer's own temperature, degrees Celsius: what the chips that measure it work in.
const OWN: [f32; 2] = [-40.0, 85.0];
/// How fast a thermometer's own temperature can change, K/s, and what noise may add.
const SELF_HEATING: [f32; 2] = [5.0, 2.0];

/// What is known of one sensor.
#[derive(Debug, Clone)]
pub struct Health {
    nature: Nature,
    kind: SensorKind,
    /// Since when readings are expected.
    since: Instant,
    /// When the last reading came.
    last_seen: Option<Instant>,
    last_at: Option<Instant>,
    same: Same,
    saturated: u32,
    ring: Ring,
    /// Of a thermometer itself, and when.
    ambient: Option<(Instant, f32)>,
    is_failing: bool,
    /// The last grid's, as they were passed on; at most [`MAX_CELLS`].
    cells: Vec<f32>,
}

/// How long a value has been the same, by the times of its readings.
#[derive(Debug, Clone, Default)]
struct Same {
    digest: u64,
    since: Option<Instant>,
}

impl Health {
    /// A sensor that has just been opened.
    pub fn new(kind: SensorKind, now: Instant) -> Self {
        Self {
            nature: nature(kind),
            kind,
            since: now,
            last_seen: None,
            last_at: None,
            same: Same::default(),
            saturated: 0,
            ring: Ring::default(),
            ambient: None,
            is_failing: false,
            cells: Vec::new(),
        }
    }

    /// Takes a reading that arrived at `now`. A reading with the stamp of the one before it is that one again, as a
    /// sensor gives it that is polled more often than it measures: it is judged as before and counts for nothing. Of a
    /// grid that passes, what a cell can't have measured is NaN, as if it had seen nothing.
    ///
    /// # Errors
    /// [`Invalid`]: it is no measurement.
    pub fn take<'a>(&'a mut self, reading: Reading<'a>, now: Instant) -> Result<Reading<'a>, Invalid> {
        (self.is_failing, self.last_seen) = (false, Some(now));
        if reading.value.kind() != self.kind {
            return Err(Invalid::OutOfRange);
        }
        // Before anything is remembered of it: what comes next would be out of order until time has caught up with it.
        if reading.at > now + FUTURE {
            return Err(Invalid::FromTheFuture);
        }
        let digest = digest(reading.value);
        let is_new = self.last_at != Some(reading.at);
        let is_backwards = self.last_at.is_some_and(|last| reading.at < last);
        if is_new && !is_backwards {
            self.last_at = Some(reading.at);
            self.same.take(digest, reading.at);
            self.ring.take(digest);
        }
        self.check_times(reading.at, is_backwards, now)?;
        self.check_numbers(reading.value, is_new)?;
        if self.same.for_how_long(reading.at) > self.nature.same_for && !is_empty(reading.value) {
            return Err(Invalid::Stuck);
        }
        if self.ring.is_repeating() {
            return Err(Invalid::Repeating);
        }
        self.check_jump(&reading)?;
        Ok(Reading { value: self.within(reading.value), ..reading })
    }

    fn within<'a>(&'a mut self, value: Value<'a>) -> Value<'a> {
        let (Value::Depth(grid) | Value::Thermal(grid)) = value else { return value };
        let [low, high] = self.nature.range;
        self.cells.clear();
        self.cells.extend(grid.cells.iter().map(|cell| if (low..=high).contains(cell) { *cell } else { f32::NAN }));
        value.with_cells(&self.cells)
    }

    /// The sensor did not answer.
    pub fn fail(&mut self) -> Invalid {
        self.is_failing = true;
        Invalid::Failing
    }

    /// What is wrong although nothing has come, if anything is.
    pub fn at(&self, now: Instant) -> Option<Invalid> {
        if self.is_failing {
            return Some(Invalid::Failing);
        }
        let last = self.last_seen.unwrap_or(self.since);
        (now.since(last) > self.kind.silent_after()).then_some(Invalid::Silent)
    }

    fn check_times(&self, at: Instant, is_backwards: bool, now: Instant) -> Result<(), Invalid> {
        if now.since(at) > self.nature.max_age {
            return Err(Invalid::Late);
        }
        if is_backwards { Err(Invalid::OutOfOrder) } else { Ok(()) }
    }

    /// Conditions are positive: NaN is in no range.
    fn check_numbers(&mut self, value: Value<'_>, is_new: bool) -> Result<(), Invalid> {
        let Nature { range, ends, .. } = self.nature;
        let (finite, within, saturated) = match value {
            Value::Depth(grid) | Value::Thermal(grid) => {
                let all = grid.cells.len();
                let is_whole = grid.columns.checked_mul(grid.rows) == Some(all) && (1..=MAX_CELLS).contains(&all);
                let finite = grid.cells.iter().filter(|cell| cell.is_finite()).count();
                let within = grid.cells.iter().filter(|cell| (range[0]..=range[1]).contains(*cell)).count();
                // A zone of depth may see nothing; of a thermal array one pixel in eight may be dead, or see what
                // can't be.
                match self.kind {
                    SensorKind::Depth => (is_whole && finite > 0, 2 * within >= finite, false),
                    _ => (is_whole && 8 * finite >= 7 * all, 8 * within >= 7 * all, false),
                }
            }
            Value::Thermometer { object, ambient } => {
                let finite = object.is_finite() && ambient.is_finite();
                (finite, (range[0]..=range[1]).contains(&object) && (OWN[0]..=OWN[1]).contains(&ambient), false)
            }
            Value::Proximity { lit, dark } => {
                let is_in = |x: f32| (range[0]..=range[1]).contains(&x);
                // Their sum is beyond full scale in the sun; each by itself must not be. Noise makes less than nought
                // of what comes back, and nothing makes it of the dark.
                let is_at_end = dark >= ends[1] || lit - dark >= ends[1];
                (lit.is_finite() && dark.is_finite(), is_in(lit - dark) && is_in(dark) && dark >= 0.0, is_at_end)
            }
            Value::Acceleration(axes) => {
                let finite = axes.iter().all(|axis| axis.is_finite());
                (finite, axes.iter().all(|axis| (range[0]..=range[1]).contains(axis)), false)
            }
            Value::Distance(x) | Value::Light(x) | Value::Touch(x) => {
                (x.is_finite(), (range[0]..=range[1]).contains(&x), x <= ends[0] || x >= ends[1])
            }
        };
        if !finite {
            return Err(Invalid::NotFinite);
        }
        if !within {
            return Err(Invalid::OutOfRange);
        }
        if is_new {
            self.saturated = if saturated { self.saturated.saturating_add(1) } else { 0 };
        }
        if self.saturated >= SATURATED_READINGS { Err(Invalid::Saturated) } else { Ok(()) }
    }

    /// A thermometer's own temperature has the inertia of its can. All else may change from one reading to the next
    /// when somebody steps up.
    fn check_jump(&mut self, reading: &Reading<'_>) -> Result<(), Invalid> {
        let Value::Thermometer { ambient, .. } = reading.value else { return Ok(()) };
        if let Some((at, was)) = self.ambient {
            let allowed = SELF_HEATING[0] * reading.at.since(at).as_secs_f32() + SELF_HEATING[1];
            let is_slow = (ambient - was).abs() <= allowed;
            if !is_slow {
                return Err(Invalid::Jump);
            }
        }
        self.ambient = Some((reading.at, ambient));
        Ok(())
    }
}

impl Same {
    fn take(&mut self, digest: u64, at: Instant) {
        if self.since.is_none() || self.digest != digest {
            *self = Self { digest, since: Some(at) };
        }
    }

    fn for_how_long(&self, at: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| at.since(since))
    }
}

/// The digests of the last readings, and for each distance between two of them how many in a row were the same.
///
/// Finds a recording of up to [`DIGESTS`] readings that is played again and again: 10 s of a sensor at 25 Hz. A longer
/// one is not noticed by this.
#[derive(Debug, Clone)]
struct Ring {
    digests: [u64; DIGESTS],
    runs: [u32; DIGESTS],
    count: usize,
}

impl Default for Ring {
    fn default() -> Self {
        Self { digests: [0; DIGESTS], runs: [0; DIGESTS], count: 0 }
    }
}

impl Ring {
    /// The digest of the reading so many before the last that was taken.
    fn before(&self, distance: usize) -> Option<u64> {
        (distance < self.count.min(DIGESTS)).then(|| self.digests[(self.count - 1 - distance) % DIGESTS])
    }

    fn take(&mut self, digest: u64) {
        self.digests[self.count % DIGESTS] = digest;
        self.count += 1;
        for distance in 1..DIGESTS {
            let is_same = self.before(distance) == Some(digest);
            self.runs[distance] = if is_same { self.runs[distance].saturating_add(1) } else { 0 };
        }
    }

    /// A still room repeats values, too, but few of them: in a recording as many differ as in what was recorded.
    fn is_repeating(&self) -> bool {
        let is_long = |run: &u32| *run as usize >= REPEATED_READINGS;
        if !self.runs.iter().any(is_long) {
            return false;
        }
        let last: [Option<u64>; REPEATED_READINGS] = std::array::from_fn(|distance| self.before(distance));
        let is_first = |(i, digest): &(usize, &Option<u64>)| !last[..*i].contains(digest);
        last.iter().enumerate().filter(is_first).count() >= DIFFERENT_READINGS
    }
}

/// Nothing to measure in the dark: counts of nought for hours are honest.
fn is_empty(value: Value<'_>) -> bool {
    match value {
        Value::Proximity { lit, dark } => lit == 0.0 && dark == 0.0,
        Value::Light(lux) => lux == 0.0,
        _ => false,
    }
}

/// All bits of a value's numbers.
fn digest(value: Value<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut take = |x: f32| hasher.write_u32(x.to_bits());
    match value {
        Value::Depth(grid) | Value::Thermal(grid) => grid.cells.iter().copied().for_each(take),
        Value::Thermometer { object: a, ambient: b } | Value::Proximity { lit: a, dark: b } => {
            take(a);
            take(b);
        }
        Value::Acceleration(axes) => axes.into_iter().for_each(take),
        Value::Distance(x) | Value::Light(x) | Value::Touch(x) => take(x),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
