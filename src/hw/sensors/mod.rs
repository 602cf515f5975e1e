//! The sensors at the door, each in a thread of its own: a driver that takes its time, or hangs, holds up nobody else.
//!
//! IIO where the kernel has a driver; I2C from here where it has none; V4L2 for thermal cameras; lines of numbers for
//! all that a microcontroller can measure. docs/sensors.md says which to buy and how to wire them.

#![forbid(unsafe_code)]

mod amg8833;
mod background;
pub mod buses;
pub mod config;
mod grid;
mod i2c;
pub mod iio;
mod mlx90640;
pub mod mounting;
mod thermal;
mod vl53l5cx;

use std::path::Path;
use std::sync::Arc;

use crate::hw::clock::BootClock;
use crate::ports::{DeviceError, Sensor};

pub use amg8833::Amg8833;
pub use background::Background;
pub use config::{Driver, MAX_SENSORS, SensorConfig, Wrong, least_rate};
pub use grid::{GridLine, LineError, MAX_LINE_BYTES, parse_line};
pub use i2c::answers;
pub use mlx90640::Mlx90640;
pub use mounting::Mounting;
pub use thermal::celsius_of_centikelvin;
pub use vl53l5cx::Vl53l5cx;

/// All sensors of the configuration. One that can't be opened is tried again, with pauses that grow to 10 s, for as
/// long as the door runs; until then its polls fail with what is wrong and what to do.
pub fn open(configs: &[SensorConfig]) -> Vec<Box<dyn Sensor>> {
    let open = |config: &SensorConfig| -> Box<dyn Sensor> {
        let wanted = config.clone();
        Box::new(Background::start(config, Arc::new(BootClock), move || open_one(&wanted)))
    };
    configs.iter().map(open).collect()
}

/// One sensor, opened now and polled by whoever calls: some take up to seconds to open, and most tens of milliseconds
/// to be read.
///
/// # Errors
/// The device, what is wrong with it, and what to do.
pub fn open_one(config: &SensorConfig) -> Result<Box<dyn Sensor>, DeviceError> {
    let bus = |usual: u8| i2c::LinuxBus::open(&config.device, config.address.unwrap_or(usual));
    match config.driver {
        Driver::Iio => iio::open(config, &iio::Places::default()),
        Driver::Mlx90640 => Ok(Box::new(Mlx90640::open(config, bus(mlx90640::ADDRESS)?)?)),
        Driver::Amg8833 => Ok(Box::new(Amg8833::open(config, bus(amg8833::ADDRESS)?)?)),
        Driver::Vl53l5cx => Ok(Box::new(Vl53l5cx::open(config, bus(vl53l5cx::ADDRESS)?, i2c::Sleep)?)),
        Driver::V4l2Thermal => Ok(Box::new(thermal::V4lThermal::open(config)?)),
        Driver::Grid => grid::open(config),
    }
}

fn failure(device: &Path, reason: String) -> DeviceError {
    DeviceError { device: device.display().to_string(), reason }
}
