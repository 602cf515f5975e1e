//! Sensors behind the kernel's Industrial I/O: attributes in sysfs that are read at the sensor's rate, or a buffer that
//! the driver fills (Documentation/ABI/testing/sysfs-bus-iio of the kernel).
//!
//! A buffer is used where one is running already, as the udev rules set it up, or where the driver gives values no
//! other way, as that of the MAX30102. Under systemd sysfs can't be written, so there the rules must have done it.

mod attribute;
mod buffer;
mod polled;
mod scan;

use std::path::{Path, PathBuf};

use super::config::{Driver, SensorConfig};
use super::failure;
use crate::ports::{DeviceError, Sensor, SensorKind, Value};
use crate::time::Duration;
pub(super) use attribute::read_text;

pub use scan::{Element, Scan};

/// Most devices that are looked through.
const MAX_DEVICES: usize = 256;

/// Where the kernel shows its devices. Another place than the system's is for tests.
#[derive(Debug, Clone)]
pub struct Places {
    pub sys: PathBuf,
    pub dev: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { sys: "/sys/bus/iio/devices".into(), dev: "/dev".into() }
    }
}

/// Opens the device of a section.
///
/// # Errors
/// What is missing and what to do.
pub fn open(config: &SensorConfig, places: &Places) -> Result<Box<dyn Sensor>, DeviceError> {
    let dir = find(&config.device, places)?;
    let is_running = matches!(read_text(&dir.join("buffer/enable")).as_deref(), Ok("1"));
    match polled::Polled::open(config, &dir) {
        Ok(sensor) if !is_running => Ok(Box::new(sensor)),
        polled => match buffer::Buffered::open(config, &dir, places) {
            Ok(sensor) => Ok(Box::new(sensor)),
            // What the attributes lack is the better hint, where there is no buffer at all.
            Err(_) if !dir.join("buffer").is_dir() => Err(polled.err().unwrap_or_else(|| missing(config, places))),
            Err(error) => Err(error),
        },
    }
}

/// The directory of a device that is named by its path, `iio:deviceN`, name or label.
fn find(wanted: &Path, places: &Places) -> Result<PathBuf, DeviceError> {
    let device = wanted.display().to_string();
    let direct = if wanted.is_absolute() { wanted.to_owned() } else { places.sys.join(wanted) };
    if direct.join("name").is_file() || (wanted.is_absolute() && direct.is_dir()) {
        return Ok(direct);
    }
    let mut seen = Vec::new();
    for dir in dirs(places) {
        let named = ["name", "label"].map(|attribute| read_text(&dir.join(attribute)).unwrap_or_default());
        if named.contains(&device) {
            return Ok(dir);
        }
        seen.extend(named.into_iter().filter(|name| !name.is_empty()));
    }
    let there = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
    let reason = format!(
        "the kernel has no such IIO device, there are: {there}; is it wired, and does an overlay or driver name it? \
         docs/sensors.md has the lines"
    );
    Err(DeviceError { device, reason })
}

/// The directories of all devices, in the order of their names.
fn dirs(places: &Places) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(&places.sys).into_iter().flatten().flatten().take(MAX_DEVICES);
    let mut dirs: Vec<_> = listed.map(|entry| entry.path()).collect();
    dirs.sort();
    dirs
}

/// A device that the kernel has, and what it measures of what a door can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// How a section names it: the device's name, or `iio:deviceN` where it has none or shares it.
    pub device: String,
    pub kinds: Vec<SensorKind>,
}

/// All devices that measure something a door can use. Reads their names and no measurement.
pub fn list(places: &Places) -> Vec<Listed> {
    let dirs = dirs(places);
    let name = |dir: &Path| read_text(&dir.join("name")).ok().filter(|name| !name.is_empty());
    let names: Vec<_> = dirs.iter().map(|dir| name(dir)).collect();
    let listed = dirs.iter().zip(&names).filter_map(|(dir, name)| {
        let own = name.clone().filter(|_| names.iter().filter(|other| *other == name).count() == 1);
        let device = own.or_else(|| Some(dir.file_name()?.to_str()?.to_owned()))?;
        let kinds: Vec<_> =
            Driver::Iio.kinds().iter().copied().filter(|kind| channels(*kind).iter().all(|c| has(dir, c))).collect();
        (!kinds.is_empty()).then_some(Listed { device, kinds })
    });
    listed.collect()
}

/// Whether a device has a channel under any of its names, as an attribute or in its buffer.
fn has(dir: &Path, names: &[&str]) -> bool {
    let there = |file: String| dir.join(file).is_file();
    names.iter().any(|name| {
        there(format!("{name}_raw")) || there(format!("{name}_input")) || there(format!("scan_elements/{name}_en"))
    })
}

fn missing(config: &SensorConfig, places: &Places) -> DeviceError {
    let reason = format!("it gives nothing of kind {} below {}", config.kind.as_str(), places.sys.display());
    failure(&config.device, reason)
}

/// The channels that a kind of sensor is made of, each with the names that drivers give it, the preferred first.
const fn channels(kind: SensorKind) -> &'static [&'static [&'static str]] {
    match kind {
        SensorKind::Distance => &[&["in_distance", "in_distance0"]],
        SensorKind::Thermometer => &[&["in_temp_object", "in_temp_object0"], &["in_temp_ambient", "in_temp_ambient0"]],
        // The second is light on the same photodiode without the illuminator.
        SensorKind::Proximity => &[
            &["in_proximity", "in_proximity0"],
            &[
                "in_intensity_ir",
                "in_intensity1",
                "in_intensity0",
                "in_intensity_clear",
                "in_illuminance",
                "in_illuminance0",
            ],
        ],
        SensorKind::Light => &[&["in_illuminance", "in_illuminance0"]],
        // Infrared goes deeper into a finger than red.
        SensorKind::Touch => &[&["in_intensity_ir", "in_intensity_red", "in_intensity_green", "in_intensity"]],
        SensorKind::Acceleration => &[&["in_accel_x"], &["in_accel_y"], &["in_accel_z"]],
        SensorKind::Depth | SensorKind::Thermal => &[],
    }
}

/// Whether a kind's values are counts, shares of a full scale, rather than in the unit that the ABI gives them.
const fn is_counted(kind: SensorKind) -> bool {
    matches!(kind, SensorKind::Proximity | SensorKind::Touch)
}

/// The value that channels make, each in the ABI's unit: metres, thousandths of a degree Celsius, lux, m/s², counts.
///
/// A chip's proximity is what comes back with the light of the surroundings taken off, which VCNL4000 and its kin, the
/// LTR-501 and its, and the APDS-9960 all do by themselves. So with the illuminator on there is that and the dark.
fn value(config: &SensorConfig, read: [f64; 3], bits: [Option<f64>; 2]) -> Value<'static> {
    let [a, b, c] = read;
    let full = |written: Option<f32>, bits: Option<f64>| written.map(f64::from).or(bits).unwrap_or(DEFAULT_FULL_SCALE);
    match config.kind {
        SensorKind::Distance => Value::Distance((a * 1000.0) as f32),
        SensorKind::Thermometer => Value::Thermometer { object: (a / 1000.0) as f32, ambient: (b / 1000.0) as f32 },
        SensorKind::Proximity => {
            let dark = b / full(config.dark_full_scale, bits[1]);
            Value::Proximity { lit: (dark + a / full(config.full_scale, bits[0])) as f32, dark: dark as f32 }
        }
        SensorKind::Touch => Value::Touch((a / full(config.full_scale, bits[0])) as f32),
        SensorKind::Acceleration => Value::Acceleration([a as f32, b as f32, c as f32]),
        SensorKind::Light | SensorKind::Depth | SensorKind::Thermal => Value::Light(a as f32),
    }
}

/// Counts of 16 bits, where neither configuration nor driver says how many there are.
const DEFAULT_FULL_SCALE: f64 = 65_535.0;

/// The time between two readings at a rate, which a section's check has bounded.
pub(super) fn period(config: &SensorConfig) -> Duration {
    // Whole microseconds: 10 Hz are 100 ms, and not the nearest fraction above.
    Duration::from_micros((1e6 / f64::from(config.rate().max(0.1))).round() as u64)
}

#[cfg(test)]
mod tests;
