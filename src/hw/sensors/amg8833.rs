//! Panasonic's Grid-EYE AMG8833: 8x8 temperatures over I2C, ten times a second (its data sheet, "Register map").

use embedded_hal::i2c::I2c;

use super::config::SensorConfig;
use super::failure;
use super::iio::period;
use super::mounting::Mounting;
use crate::ports::{DeviceError, Reading, Sensor, SensorKind, Value};
use crate::time::Instant;

/// With the AD_SELECT pin at VDD, as most boards have it; 0x68 with it at ground.
pub(super) const ADDRESS: u8 = 0x69;
/// Across and down, degrees.
const VIEW: [f32; 2] = [60.0, 60.0];
const SIDE: usize = 8;
/// Power control: 0 is normal operation.
const POWER: u8 = 0x00;
/// Reset: 0x3F clears everything.
const RESET: u8 = 0x01;
/// Frame rate: 0 is 10 Hz.
const RATE: u8 = 0x02;
/// Status: bit 2 says that a temperature went beyond what can be shown, and goes on saying so until it is cleared.
const STATUS: u8 = 0x04;
const OVERFLOW: u8 = 0x04;
/// Status clear: the bits of the status that are written here are 0 again.
const STATUS_CLEAR: u8 = 0x05;
/// Pictures after a reset that are none: the registers are nought until the chip has measured, 0 °C in every pixel, and
/// what it measures first has not settled (50 ms until it talks and two frames until its output is stable, its data
/// sheet says).
const UNSETTLED_PICTURES: u32 = 3;
/// The first of 64 temperatures, two bytes each, the lower first.
const PIXELS: u8 = 0x80;
/// Kelvins of the lowest of the 12 bits.
const STEP: f32 = 0.25;

/// A Grid-EYE on any bus.
pub struct Amg8833<B> {
    bus: B,
    config: SensorConfig,
    mounting: Mounting,
    address: u8,
    next: Instant,
    /// So many pictures more are thrown away.
    unsettled: u32,
    cells: Vec<f32>,
    upright: Vec<f32>,
}

impl<B: I2c> Amg8833<B>
where
    B::Error: std::fmt::Display,
{
    /// Wakes and resets it.
    ///
    /// # Errors
    /// It does not answer.
    pub fn open(config: &SensorConfig, bus: B) -> Result<Self, DeviceError> {
        let mut sensor = Self {
            bus,
            config: config.clone(),
            mounting: Mounting::new(config, VIEW),
            address: config.address.unwrap_or(ADDRESS),
            next: Instant::BOOT,
            unsettled: UNSETTLED_PICTURES,
            cells: Vec::with_capacity(SIDE * SIDE),
            upright: Vec::with_capacity(SIDE * SIDE),
        };
        for (register, value) in [(POWER, 0x00), (RESET, 0x3F), (RATE, 0x00)] {
            let written = sensor.bus.write(sensor.address, &[register, value]);
            written.map_err(|error| sensor.failed(&error))?;
        }
        Ok(sensor)
    }

    fn failed(&self, error: &B::Error) -> DeviceError {
        failure(&self.config.device, format!("AMG8833 at {:#04x}: {error}", self.address))
    }
}

impl<B: I2c + Send> Sensor for Amg8833<B>
where
    B::Error: std::fmt::Display,
{
    fn kind(&self) -> SensorKind {
        SensorKind::Thermal
    }

    fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        if now < self.next {
            return Ok(None);
        }
        self.next = now + period(&self.config);
        let (mut status, mut bytes) = ([0], [0; 2 * SIDE * SIDE]);
        let read = self.bus.write_read(self.address, &[STATUS], &mut status);
        let read = read.and_then(|()| self.bus.write_read(self.address, &[PIXELS], &mut bytes));
        let is_beyond = status[0] & OVERFLOW != 0;
        // This picture is given up; the next is judged by itself.
        let cleared = read.and_then(|()| match is_beyond {
            true => self.bus.write(self.address, &[STATUS_CLEAR, OVERFLOW]),
            false => Ok(()),
        });
        cleared.map_err(|error| self.failed(&error))?;
        if let Some(left) = self.unsettled.checked_sub(1) {
            self.unsettled = left;
            return Ok(None);
        }
        self.cells.clear();
        self.cells.extend(bytes.as_chunks::<2>().0.iter().map(|pair| {
            // Two's complement of 12 bits.
            let raw = i16::from_le_bytes(*pair) << 4 >> 4;
            if is_beyond { f32::INFINITY } else { f32::from(raw) * STEP }
        }));
        let grid = self.mounting.apply(SIDE, SIDE, &self.cells, &mut self.upright);
        Ok(grid.map(|grid| Reading { at: now, value: Value::Thermal(grid) }))
    }

    fn describe(&self) -> String {
        format!("thermal 8x8 by AMG8833 at {:#04x} on {}", self.address, self.config.device.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::sensors::config::Driver;
    use crate::sim::i2c::FakeAmg8833;

    fn config() -> SensorConfig {
        SensorConfig::new(SensorKind::Thermal, Driver::Amg8833, "/dev/i2c-1")
    }

    /// One whose first pictures were taken, before time 0.
    fn settled(chip: &FakeAmg8833) -> Amg8833<FakeAmg8833> {
        let mut sensor = Amg8833::open(&config(), chip.clone()).unwrap();
        for _ in 0..UNSETTLED_PICTURES {
            assert_eq!(sensor.poll(sensor.next), Ok(None));
        }
        sensor.next = Instant::BOOT;
        sensor
    }

    fn cells(sensor: &mut Amg8833<FakeAmg8833>, ms: u64) -> Vec<f32> {
        match sensor.poll(Instant::from_millis(ms)).unwrap().unwrap().value {
            Value::Thermal(grid) => {
                assert_eq!((grid.columns, grid.rows, grid.view), (8, 8, VIEW));
                grid.cells.to_vec()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_picture_is_read_in_quarters_of_a_degree_below_zero_too() {
        let chip = FakeAmg8833::default();
        let mut sensor = settled(&chip);
        chip.set_celsius(|i| i as f32 * 0.5 - 4.25);
        let got = cells(&mut sensor, 0);
        assert_eq!((got[0], got[1], got[63]), (-4.25, -3.75, 27.25));
        assert_eq!(sensor.poll(Instant::from_millis(50)), Ok(None), "not faster than the chip");
        chip.set_celsius(|_| 21.0);
        assert_eq!(cells(&mut sensor, 100), [21.0; 64]);
    }

    #[test]
    fn what_its_registers_hold_after_a_reset_is_no_picture() {
        let chip = FakeAmg8833::default();
        let mut sensor = Amg8833::open(&config(), chip.clone()).unwrap();
        assert_eq!(sensor.poll(Instant::from_millis(0)), Ok(None), "nought in every register");
        chip.set_celsius(|_| 21.0);
        let first = (0..100).map(|i| 10 * i).find(|ms| sensor.poll(Instant::from_millis(*ms)).unwrap().is_some());
        assert_eq!(first, Some(300));
    }

    #[test]
    fn an_overflow_costs_one_picture() {
        let chip = FakeAmg8833::default();
        let mut sensor = settled(&chip);
        chip.set_celsius(|_| 21.0);
        chip.overflow();
        assert!(cells(&mut sensor, 0).iter().all(|cell| cell.is_infinite()));
        assert_eq!(cells(&mut sensor, 100), [21.0; 64]);
        chip.overflow();
        assert!(cells(&mut sensor, 200).iter().all(|cell| cell.is_infinite()));
    }

    #[test]
    fn a_chip_that_is_gone_is_an_error() {
        let chip = FakeAmg8833::default();
        let mut sensor = settled(&chip);
        chip.unplug();
        let error = sensor.poll(Instant::from_millis(100)).unwrap_err();
        assert!(error.to_string().starts_with("/dev/i2c-1: AMG8833 at 0x69: "), "{error}");
        assert!(Amg8833::open(&config(), chip).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic_or_give_a_number_outside_of_twelve_bits() {
        let chip = FakeAmg8833::default();
        let mut sensor = settled(&chip);
        for byte in 0..=255 {
            chip.fill(byte);
            let got = cells(&mut sensor, 100 * u64::from(byte));
            assert!(got.iter().all(|cell| !cell.is_finite() || (-512.0..=511.75).contains(cell)));
        }
    }
}
