//! Each sensor of the configuration with one reading, or what is wrong with it. Of a grid the picture as well, to see how it
//! is mounted.

use super::{Checked, Finding, Level, Visit};
use crate::cli::exit::Failure;
use crate::control::StatusLine;
use crate::hw::clock::BootClock;
use crate::hw::sensors::{self, SensorConfig, kind_name};
use crate::liveness::health::Health;
use crate::ports::{Clock, Grid, Sensor, SensorError, Value};
use crate::time::{Duration, Instant};

/// The slowest gives a reading each two seconds, and the first of some comes late.
const FIRST_READING: Duration = Duration::from_secs(6);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// Characters that a picture has at most, across and down.
const PICTURE: (usize, usize) = (32, 12);
/// From the lowest to the highest.
const SHADES: &[u8] = b" .:-=+*#%@";

impl Visit<'_> {
    pub(super) fn sensors(&mut self, daemon: Option<&StatusLine>) -> Result<(), Failure> {
        let configs = &self.ctx.config.sensors;
        for config in configs {
            let kind = kind_name(config.kind);
            if daemon.is_some() {
                let says =
                    format!("the daemon has it ({}); stop it to have it looked at here", config.device.display());
                self.show(Finding { check: kind, level: Level::Ok, says })?;
                continue;
            }
            let mut picture = Vec::new();
            let found = look(config, &mut picture).map_err(|error| error.to_string());
            self.tell(kind, found)?;
            for line in &picture {
                self.ctx.out.line(format_args!("      |{line}|"))?;
            }
        }
        Ok(())
    }
}

fn look(config: &SensorConfig, picture: &mut Vec<String>) -> Result<String, SensorError> {
    let mut sensor = sensors::open_one(config)?;
    let start = BootClock.now().mono;
    let mut health = Health::new(config.kind, start);
    let mut doubt = None;
    while BootClock.now().mono.since(start) < FIRST_READING {
        match one(&mut *sensor, &mut health, picture)? {
            Some(Ok(says)) => return Ok(format!("{}: {says}", sensor.describe())),
            Some(Err(why)) => doubt = Some(why),
            None => {}
        }
        BootClock.pause(PAUSE);
    }
    let within = FIRST_READING.as_secs();
    let reason = doubt.unwrap_or_else(|| format!("gives nothing within {within} s; wiring, power, its address"));
    Err(SensorError { device: config.device.display().to_string(), reason })
}

/// What the next reading says, or why it is no measurement; `None` where none has come.
fn one(
    sensor: &mut dyn Sensor,
    health: &mut Health,
    picture: &mut Vec<String>,
) -> Result<Option<Checked>, SensorError> {
    let now: Instant = BootClock.now().mono;
    let Some(reading) = sensor.poll(now)? else { return Ok(None) };
    let says = said(reading.value);
    Ok(Some(match health.take(reading, now) {
        Ok(reading) => {
            if let Value::Depth(grid) | Value::Thermal(grid) = reading.value {
                *picture = drawn(&grid);
            }
            Ok(says)
        }
        Err(invalid) => Err(format!("{says}, which is no measurement ({})", invalid.as_str())),
    }))
}

fn said(value: Value<'_>) -> String {
    match value {
        Value::Distance(mm) => format!("{mm:.0} mm"),
        Value::Thermometer { object, ambient } => format!("{object:.1} °C in front, {ambient:.1} °C itself"),
        Value::Proximity { lit, dark } => format!("{lit:.3} lit, {dark:.3} dark, of full scale"),
        Value::Light(lux) => format!("{lux:.1} lx"),
        Value::Touch(share) => format!("{share:.3} of full scale"),
        Value::Acceleration([x, y, z]) => format!("{x:.2}, {y:.2}, {z:.2} m/s²"),
        Value::Depth(grid) => format!("{} mm", span(&grid, 0)),
        Value::Thermal(grid) => format!("{} °C", span(&grid, 1)),
    }
}

/// `8x8, 412 to 980, 3 cells see nothing,`
fn span(grid: &Grid<'_>, digits: usize) -> String {
    let blind = grid.cells.iter().filter(|cell| !cell.is_finite()).count();
    let blind = if blind > 0 { format!(", {blind} cells see nothing") } else { String::new() };
    let (least, most) = ends(grid.cells);
    format!("{}x{}{blind}, {least:.digits$} to {most:.digits$}", grid.columns, grid.rows)
}

fn ends(cells: &[f32]) -> (f32, f32) {
    let finite = || cells.iter().copied().filter(|cell| cell.is_finite());
    (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max))
}

/// A picture in characters, as the door sees it: the lowest number is blank, the highest dense.
fn drawn(grid: &Grid<'_>) -> Vec<String> {
    let (least, most) = ends(grid.cells);
    let (width, height) = (grid.columns.min(PICTURE.0), grid.rows.min(PICTURE.1));
    let shade = |cell: f32| {
        let share = (cell - least) / (most - least);
        // NaN, of a blind cell or an even picture, becomes 0.
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

    #[test]
    fn a_picture_shows_where_it_is_warm_and_survives_an_even_one() {
        let mut cells = [20.0; 16];
        cells[5] = 34.0;
        cells[6] = f32::NAN;
        let grid = Grid { columns: 4, rows: 4, cells: &cells, view: [60.0, 60.0] };
        assert_eq!(drawn(&grid), ["    ", " @  ", "    ", "    "]);
        assert_eq!(said(Value::Thermal(grid)), "4x4, 1 cells see nothing, 20.0 to 34.0 °C");
        let even = [20.0; 32 * 24];
        let grid = Grid { columns: 32, rows: 24, cells: &even, view: [55.0, 35.0] };
        assert_eq!(drawn(&grid).len(), 12);
    }

    #[test]
    fn a_sensor_that_can_not_be_opened_says_what_to_do() {
        use crate::hw::sensors::Driver;
        use crate::ports::SensorKind;
        let config = SensorConfig::new(SensorKind::Thermal, Driver::Mlx90640, "/dev/i2c-987");
        let error = look(&config, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("switch I2C on"), "{error}");
    }
}
