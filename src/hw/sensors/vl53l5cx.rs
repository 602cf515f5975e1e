//! ST's VL53L5CX, VL53L7CX and VL53L8CX: 8x8 distances over I2C.
//!
//! The chip has no program of its own: 84 KiB of ST's firmware are sent to it at each start. Crate vl53-8x8 carries
//! them and ST's protocol in Rust, both under the BSD licence under which ST publishes its driver (STSW-IMG023,
//! STSW-IMG040).

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{ErrorType, I2c, Operation};
use vl53_8x8::{BlockingI2c, Resolution, ResultsData, Variant};

use super::config::SensorConfig;
use super::failure;
use super::mounting::Mounting;
use crate::ports::{DeviceError, Reading, Sensor, SensorKind, Value};
use crate::time::Instant;

/// As it is sold.
pub(super) const ADDRESS: u8 = vl53_8x8::DEFAULT_ADDRESS;
const SIDE: usize = 8;
/// Across and down, degrees; a VL53L7CX sees 60 (their data sheets).
const VIEW: [f32; 2] = [45.0, 45.0];
const WIDE_VIEW: [f32; 2] = [60.0, 60.0];
/// In one message, besides the register's number; the firmware is sent in banks of 32 KiB. A Tegra before the 194 takes
/// 4084 bytes (max_write_len in i2c-tegra.c).
const MAX_WRITE_BYTES: usize = 2048;
/// Most steps of a call that waits for nothing: one, unless the crate changes.
const MAX_STEPS: usize = 8;
/// A target's states that ST calls valid: 5, and 9 with a large pulse (UM2884, "target status").
const VALID: [u8; 2] = [5, 9];

type Driver<B, D> = vl53_8x8::Sensor<BlockingI2c<Split<B>>, Delay<D>>;

/// One of the three on any bus.
pub struct Vl53l5cx<B, D> {
    driver: Box<Driver<B, D>>,
    config: SensorConfig,
    mounting: Mounting,
    cells: Vec<f32>,
    upright: Vec<f32>,
}

impl<B: I2c, D: DelayNs> Vl53l5cx<B, D> {
    /// Sends the firmware, which takes three seconds at 400 kHz, and starts measuring.
    ///
    /// # Errors
    /// It does not answer, or not as ST's chips do.
    pub fn open(config: &SensorConfig, bus: B, delay: D) -> Result<Self, DeviceError>
    where
        B::Error: std::fmt::Display,
    {
        let driver = vl53_8x8::Sensor::new(BlockingI2c(Split(bus)), Delay(delay));
        let mut driver = Box::new(driver.with_address(config.address.unwrap_or(ADDRESS)));
        // UM2884: 8x8 zones give 1 to 15 measurements a second.
        let rate = config.rate().clamp(1.0, 15.0) as u8;
        let started = (|| {
            now(driver.init())?;
            now(driver.set_resolution(Resolution::Res8x8))?;
            now(driver.set_ranging_frequency_hz(rate))?;
            now(driver.start_ranging())
        })();
        started.map_err(|error| failed(config, error))?;
        let view = if driver.variant() == Variant::L7 { WIDE_VIEW } else { VIEW };
        let mounting = Mounting::new(config, view);
        Ok(Self { driver, config: config.clone(), mounting, cells: Vec::new(), upright: Vec::new() })
    }
}

impl<B: I2c + Send, D: DelayNs + Send> Sensor for Vl53l5cx<B, D>
where
    B::Error: std::fmt::Display,
{
    fn kind(&self) -> SensorKind {
        SensorKind::Depth
    }

    fn poll(&mut self, at: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        let is_ready = now(self.driver.check_data_ready()).map_err(|error| failed(&self.config, error))?;
        if !is_ready {
            return Ok(None);
        }
        let results = now(self.driver.get_ranging_data()).map_err(|error| failed(&self.config, error))?;
        self.cells.clear();
        self.cells.extend((0..SIDE * SIDE).map(|zone| millimetres(&results, zone)));
        let grid = self.mounting.apply(SIDE, SIDE, &self.cells, &mut self.upright);
        Ok(grid.map(|grid| Reading { at, value: Value::Depth(grid) }))
    }

    fn describe(&self) -> String {
        format!("depth 8x8 by {:?} of ST's VL53 family on {}", self.driver.variant(), self.config.device.display())
    }
}

/// NaN where a zone saw nothing that it is sure of.
fn millimetres(results: &ResultsData, zone: usize) -> f32 {
    let is_valid = results.nb_target_detected[zone] > 0 && VALID.contains(&results.target_status[zone]);
    if is_valid { f32::from(results.distance_mm[zone]) } else { f32::NAN }
}

fn failed<E: std::fmt::Display>(config: &SensorConfig, error: vl53_8x8::Error<E>) -> DeviceError {
    let reason = match error {
        vl53_8x8::Error::Bus(error) => error.to_string(),
        vl53_8x8::Error::NotAlive => "no VL53L5CX, VL53L7CX or VL53L8CX answers".to_owned(),
        vl53_8x8::Error::UnknownRevision(revision) => {
            format!("a chip of ST's of an unknown revision ({revision:#04x})")
        }
        vl53_8x8::Error::Firmware(error) => format!("its firmware fails ({error:?}); switch its power off and on"),
        vl53_8x8::Error::Pin => "a pin can't be driven".to_owned(),
    };
    failure(&config.device, reason)
}

/// The result of a call that is asynchronous in form alone: its bus and its delay block.
fn now<T, E>(call: impl Future<Output = Result<T, vl53_8x8::Error<E>>>) -> Result<T, vl53_8x8::Error<E>> {
    let mut call = pin!(call);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..MAX_STEPS {
        if let Poll::Ready(result) = call.as_mut().poll(&mut context) {
            return result;
        }
    }
    Err(vl53_8x8::Error::NotAlive)
}

/// A bus that cuts long writes to registers up, which the chip takes from any address on.
struct Split<B>(B);

impl<B: ErrorType> ErrorType for Split<B> {
    type Error = B::Error;
}

impl<B: I2c> I2c for Split<B> {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), B::Error> {
        let [Operation::Write([high, low]), Operation::Write(bytes)] = operations else {
            return self.0.transaction(address, operations);
        };
        let mut register = u16::from_be_bytes([*high, *low]);
        for part in bytes.chunks(MAX_WRITE_BYTES) {
            let head = register.to_be_bytes();
            self.0.transaction(address, &mut [Operation::Write(&head), Operation::Write(part)])?;
            register = register.wrapping_add(part.len() as u16);
        }
        Ok(())
    }
}

/// A delay that blocks behind the asynchronous trait.
struct Delay<D>(D);

impl<D: DelayNs> embedded_hal_async::delay::DelayNs for Delay<D> {
    async fn delay_ns(&mut self, ns: u32) {
        self.0.delay_ns(ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::sensors::config::Driver;
    use crate::sim::i2c::{FakeVl53l5cx, NoDelay};

    fn open(chip: &FakeVl53l5cx) -> Result<Vl53l5cx<FakeVl53l5cx, NoDelay>, DeviceError> {
        Vl53l5cx::open(&SensorConfig::new(SensorKind::Depth, Driver::Vl53l5cx, "/dev/i2c-1"), chip.clone(), NoDelay)
    }

    fn cells(sensor: &mut impl Sensor) -> Option<Vec<f32>> {
        match sensor.poll(Instant::BOOT).unwrap()?.value {
            Value::Depth(grid) => {
                assert_eq!((grid.columns, grid.rows, grid.view), (8, 8, VIEW));
                Some(grid.cells.to_vec())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_chip_gets_its_firmware_in_pieces_and_gives_distances() {
        let chip = FakeVl53l5cx::default();
        let mut sensor = open(&chip).unwrap();
        assert_eq!(chip.longest_write(), MAX_WRITE_BYTES + 2, "with the register's number");
        assert_eq!(cells(&mut sensor), None, "nothing was measured yet");
        for round in 0..600 {
            chip.measure(|zone| (zone != 9).then_some(500 + zone as i16 + round));
            let got = cells(&mut sensor).unwrap();
            assert!(got[9].is_nan(), "round {round}");
            assert_eq!((got[0], got[63]), (500.0 + f32::from(round), 563.0 + f32::from(round)));
            assert_eq!(cells(&mut sensor), None, "the same frame is no news");
        }
    }

    #[test]
    fn a_chip_that_is_missing_or_goes_is_an_error() {
        let chip = FakeVl53l5cx::default();
        let mut sensor = open(&chip).unwrap();
        chip.unplug();
        assert!(sensor.poll(Instant::BOOT).unwrap_err().reason.contains("nobody answers"));
        assert!(open(&chip).err().unwrap().to_string().starts_with("/dev/i2c-1: nobody answers"));
    }

    #[test]
    fn frames_of_any_byte_are_errors_or_grids() {
        let chip = FakeVl53l5cx::default();
        let mut sensor = open(&chip).unwrap();
        for byte in 0..=255 {
            chip.fill(byte);
            if let Ok(Some(reading)) = sensor.poll(Instant::BOOT) {
                assert!(matches!(reading.value, Value::Depth(grid) if grid.cells.len() == 64));
            }
        }
    }
}
