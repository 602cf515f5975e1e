//! Each sensor of the configuration with one reading, or what is wrong with it, and whether they come often enough. Of
//! a grid the picture as well, to see how it is mounted.

use super::{Finding, Level, Visit};
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::control::StatusLine;
use crate::gate::Fault;
use crate::hw::clock::BootClock;
use crate::hw::sensors::{self, SensorConfig};
use crate::liveness::Source;
use crate::liveness::health::{Health, Invalid};
use crate::liveness::watch::may_see_nothing;
use crate::ports::{Clock, DeviceError, Grid, Sensor, SensorKind, Value};
use crate::time::{Duration, Instant};

/// The slowest gives a reading each two seconds, and the first of some comes late.
const FIRST_READING: Duration = Duration::from_secs(6);
/// One that has measured is watched for as long as liveness looks.
const WATCHED: Duration = Duration::from_secs(2);
/// Between two looks: the longest that a sensor's thread in the daemon sleeps.
const PAUSE: Duration = Duration::from_millis(20);
/// Characters that a picture has at most, across and down.
const PICTURE: (usize, usize) = (32, 12);
/// From the furthest or coldest to the nearest or warmest.
const SHADES: &[u8] = b".:-=+*#%@";
/// What sees nothing.
const BLIND: char = ' ';

impl Visit<'_> {
    pub(super) fn sensors(&mut self, daemon: Option<&StatusLine>) -> Result<(), Failure> {
        let configs = &self.ctx.config.sensors;
        for config in configs {
            let kind = config.kind.as_str();
            if let Some(status) = daemon {
                let (level, says) = at_the_daemon(config, self.ctx, status);
                self.show(Finding { check: kind, level, says })?;
                continue;
            }
            let mut picture = Vec::new();
            match check(config, &mut picture) {
                Ok((level, says)) => self.show(Finding { check: kind, level, says })?,
                Err(error) => self.tell(kind, Err(error.to_string()))?,
            }
            for line in &picture {
                self.ctx.out.line(format_args!("      |{line}|"))?;
            }
        }
        Ok(())
    }
}

/// Of a sensor that a daemon may hold open, by what that one says it listens to: it may have started with another
/// configuration.
fn at_the_daemon(config: &SensorConfig, ctx: &Context, status: &StatusLine) -> (Level, String) {
    let device = config.device.display();
    let is_heard = |source: Source| status.sensors.iter().any(|name| name == source.as_str());
    let liveness = &ctx.config.liveness;
    let should_be = |source| liveness.is_required() && liveness.sources(ctx.config.sources()).contains(source);
    match Source::of(config.kind) {
        Some(source) if is_heard(source) && status.has(Fault::Sensor) => {
            let why = "journalctl -u facelatch says which, and why";
            (Level::Complaint, format!("the daemon has it ({device}), and a sensor is of no use to it: {why}"))
        }
        Some(source) if is_heard(source) => {
            (Level::Ok, format!("the daemon has it ({device}); stop it to have it looked at here"))
        }
        Some(source) if should_be(source) => {
            (Level::Complaint, format!("{device} is not the running daemon's: systemctl restart facelatch"))
        }
        _ => (Level::Ok, format!("{device}; stop the daemon to have it looked at here")),
    }
}

fn check(config: &SensorConfig, picture: &mut Vec<String>) -> Result<(Level, String), DeviceError> {
    watch(&mut *sensors::open_one(config)?, config, &BootClock, picture)
}

fn watch(
    sensor: &mut dyn Sensor,
    config: &SensorConfig,
    clock: &dyn Clock,
    picture: &mut Vec<String>,
) -> Result<(Level, String), DeviceError> {
    let start = clock.now().mono;
    let mut health = Health::new(config.kind, start);
    let mut doubt = None;
    while clock.now().mono.since(start) < FIRST_READING {
        match one(sensor, &mut health, clock, picture)? {
            Some((at, Ok(says))) => {
                let gap = longest_gap(sensor, at, clock)?;
                return Ok(paced(config.kind, format!("{}: {says}", sensor.describe()), gap));
            }
            Some((_, Err(why))) => doubt = Some(why),
            None => {}
        }
        clock.pause(PAUSE);
    }
    unmeasured(config, &sensor.describe(), doubt).map(|says| (Level::Ok, says))
}

/// The longest time between two readings, the first of which was taken at `last`, or since one has come. What they say
/// doesn't matter: one may have nothing before it.
fn longest_gap(sensor: &mut dyn Sensor, mut last: Instant, clock: &dyn Clock) -> Result<Duration, DeviceError> {
    let mut came = clock.now().mono;
    let (end, mut gap) = (came + WATCHED, Duration::ZERO);
    while clock.now().mono < end {
        match sensor.poll(clock.now().mono)? {
            Some(reading) => {
                gap = gap.max(reading.at.since(last));
                (last, came) = (reading.at, clock.now().mono);
            }
            None => clock.pause(PAUSE),
        }
    }
    Ok(gap.max(clock.now().mono.since(came)))
}

/// What a sensor says, and whether liveness bridges the gaps in between.
fn paced(kind: SensorKind, says: String, gap: Duration) -> (Level, String) {
    match Source::of(kind).map(Source::hold).filter(|hold| gap > *hold) {
        Some(hold) => {
            let (gap, hold) = (gap.as_millis(), hold.as_millis());
            let why = "a slow driver or bus, or too low a rate";
            let says =
                format!("{says}; {gap} ms without a reading, and liveness bridges no more than {hold} ms: {why}");
            (Level::Complaint, says)
        }
        None => (Level::Ok, says),
    }
}

/// What is told of a sensor that has measured nothing, with the last that it said and why that is no measurement.
fn unmeasured(config: &SensorConfig, describe: &str, doubt: Option<Doubt>) -> Result<String, DeviceError> {
    let within = FIRST_READING.as_secs();
    let reason = match doubt {
        Some((says, why)) if may_see_nothing(config.kind, why) => {
            return Ok(format!(
                "{describe}: answers and meets nothing ({says}); stand before it to see that it measures"
            ));
        }
        Some((says, why)) => format!("{says}, which is no measurement ({})", why.as_str()),
        None => format!("gives nothing within {within} s; wiring, power, its address"),
    };
    Err(DeviceError { device: config.device.display().to_string(), reason })
}

/// What a reading says, and why it is no measurement.
type Doubt = (String, Invalid);
type Judged = Result<String, Doubt>;

/// When the next reading was taken and what it says, or what is wrong with it; `None` where none has come.
fn one(
    sensor: &mut dyn Sensor,
    health: &mut Health,
    clock: &dyn Clock,
    picture: &mut Vec<String>,
) -> Result<Option<(Instant, Judged)>, DeviceError> {
    let Some(reading) = sensor.poll(clock.now().mono)? else { return Ok(None) };
    let (at, says) = (reading.at, said(reading.value));
    // It arrives now: asking for it may have taken longer than a reading may be old.
    let judged = match health.take(reading, clock.now().mono) {
        Ok(reading) => {
            *picture = drawn(reading.value);
            Ok(says)
        }
        Err(invalid) => Err((says, invalid)),
    };
    Ok(Some((at, judged)))
}

fn said(value: Value<'_>) -> String {
    match value {
        Value::Distance(mm) => format!("{mm:.0} mm"),
        Value::Thermometer { object, ambient } => format!("{object:.1} °C in front, {ambient:.1} °C itself"),
        Value::Proximity { lit, dark } => format!("{lit:.3} lit, {dark:.3} dark, of full scale"),
        Value::Light(lux) => format!("{lux:.1} lx"),
        Value::Touch(share) => format!("{share:.3} of full scale"),
        Value::Acceleration([x, y, z]) => format!("{x:.2}, {y:.2}, {z:.2} m/s²"),
        Value::Depth(grid) => span(&grid, 0, "mm"),
        Value::Thermal(grid) => span(&grid, 1, "°C"),
    }
}

/// `8x8, 3 cells see nothing, 412 to 980 mm`
fn span(grid: &Grid<'_>, digits: usize, unit: &str) -> String {
    let blind = grid.cells.iter().filter(|cell| !cell.is_finite()).count();
    let size = format!("{}x{}", grid.columns, grid.rows);
    if blind == grid.cells.len() {
        return format!("{size}, no cell sees anything");
    }
    let blind = if blind > 0 { format!(", {blind} cells see nothing") } else { String::new() };
    let (least, most) = ends(grid.cells);
    format!("{size}{blind}, {least:.digits$} to {most:.digits$} {unit}")
}

fn ends(cells: &[f32]) -> (f32, f32) {
    let finite = || cells.iter().copied().filter(|cell| cell.is_finite());
    (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max))
}

/// The picture of a grid in characters, as the door sees it: a hand is dense in either kind, being near and warm.
fn drawn(value: Value<'_>) -> Vec<String> {
    let (grid, is_near_dense) = match value {
        Value::Depth(grid) => (grid, true),
        Value::Thermal(grid) => (grid, false),
        _ => return Vec::new(),
    };
    let (least, most) = ends(grid.cells);
    let (thin, dense) = if is_near_dense { (most, least) } else { (least, most) };
    let (width, height) = (grid.columns.min(PICTURE.0), grid.rows.min(PICTURE.1));
    let shade = |cell: f32| {
        if !cell.is_finite() {
            return BLIND;
        }
        let share = (cell - thin) / (dense - thin);
        // NaN, of an even picture, becomes 0.
        char::from(SHADES[((share * SHADES.len() as f32) as usize).min(SHADES.len() - 1)])
    };
    let row = |y: usize| {
        let cells = (0..width).map(|x| {
            let at = y * grid.rows / height * grid.columns + x * grid.columns / width;
            grid.cells.get(at).copied().unwrap_or(f32::NAN)
        });
        cells.map(shade).collect()
    };
    (0..height).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::sensors::Driver;
    use crate::ports::Reading;
    use crate::sim::clock::SimClock;

    #[test]
    fn a_picture_shows_where_it_is_warm_and_survives_an_even_one() {
        let mut cells = [20.0; 16];
        cells[5] = 34.0;
        cells[6] = f32::NAN;
        let warm = Value::Thermal(Grid { columns: 4, rows: 4, cells: &cells, view: [60.0, 60.0] });
        assert_eq!(drawn(warm), ["....", ".@ .", "....", "...."]);
        assert_eq!(said(warm), "4x4, 1 cells see nothing, 20.0 to 34.0 °C");
        let even = [20.0; 32 * 24];
        let even = drawn(Value::Thermal(Grid { columns: 32, rows: 24, cells: &even, view: [55.0, 35.0] }));
        assert!(even.len() == 12 && even.iter().all(|row| *row == ".".repeat(32)), "{even:?}");
        assert!(drawn(Value::Light(300.0)).is_empty());
    }

    #[test]
    fn a_picture_of_depth_shows_a_hand_that_is_near_and_what_sees_nothing_as_blank() {
        let drawn = |cells: &[f32]| drawn(Value::Depth(Grid { columns: 8, rows: 8, cells, view: [45.0, 45.0] }));
        let mut cells = [f32::NAN; 64];
        cells[0] = 500.0;
        let alone = drawn(&cells);
        assert_eq!((&*alone[0], alone[1..].concat()), (".       ", " ".repeat(56)), "all that is there is not blank");
        cells[1..8].fill(2000.0);
        assert_eq!(drawn(&cells)[0], "@.......");
    }

    #[test]
    fn a_sensor_that_answers_and_has_nothing_in_front_is_well_where_it_may_see_nothing() {
        let cells = [f32::NAN; 64];
        let nothing = said(Value::Depth(Grid { columns: 8, rows: 8, cells: &cells, view: [45.0, 45.0] }));
        assert_eq!(nothing, "8x8, no cell sees anything");
        let told = |kind, doubt| {
            let config = SensorConfig::new(kind, Driver::Iio, "here");
            unmeasured(&config, "a sensor", doubt).map_err(|error| error.to_string())
        };
        let said = told(SensorKind::Depth, Some((nothing.clone(), Invalid::NotFinite))).unwrap();
        assert!(said.starts_with("a sensor: answers and meets nothing (8x8, no cell sees anything)"), "{said}");
        assert!(told(SensorKind::Distance, Some(("8190 mm".into(), Invalid::OutOfRange))).is_ok());
        let said = told(SensorKind::Thermal, Some((nothing.clone(), Invalid::NotFinite))).unwrap_err();
        assert_eq!(said, "here: 8x8, no cell sees anything, which is no measurement (not_finite)");
        assert!(told(SensorKind::Depth, Some((nothing, Invalid::Late))).is_err());
        assert!(told(SensorKind::Depth, None).unwrap_err().contains("gives nothing within 6 s"));
    }

    /// A light sensor whose driver takes so long to read it, with stamps from the middle of that.
    struct Slow {
        clock: SimClock,
        takes: Duration,
        /// It says nothing any more.
        until: Instant,
    }

    impl Sensor for Slow {
        fn kind(&self) -> SensorKind {
            SensorKind::Light
        }
        fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
            self.clock.pause(self.takes);
            Ok((now < self.until).then_some(Reading { at: now + self.takes / 2, value: Value::Light(120.0) }))
        }
        fn describe(&self) -> String {
            "slow".to_owned()
        }
    }

    #[test]
    fn a_sensor_whose_readings_are_late_or_lie_too_far_apart_is_told() {
        let watched = |takes, until| {
            let clock = SimClock::default();
            let (takes, until) = (Duration::from_millis(takes), Instant::from_millis(until));
            let config = SensorConfig::new(SensorKind::Light, Driver::Iio, "slow");
            let mut sensor = Slow { clock: clock.clone(), takes, until };
            watch(&mut sensor, &config, &clock, &mut Vec::new()).map_err(|error| error.to_string())
        };
        let (level, says) = watched(180, 60_000).unwrap();
        assert_eq!((level, &*says), (Level::Ok, "slow: 120.0 lx"), "as a BH1750 is");
        let (level, says) = watched(600, 60_000).unwrap();
        assert!(level == Level::Complaint && says.contains("120.0 lx; 600 ms without a reading"), "{says}");
        let (level, says) = watched(180, 1_000).unwrap();
        assert!(level == Level::Complaint && says.contains("no more than 500 ms"), "{says}");
        assert!(watched(1200, 60_000).unwrap_err().contains("which is no measurement (late)"));
    }

    #[test]
    fn a_sensor_that_can_not_be_opened_says_what_to_do() {
        let config = SensorConfig::new(SensorKind::Thermal, Driver::Mlx90640, "/dev/i2c-987");
        let error = check(&config, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("switch I2C on"), "{error}");
    }
}
