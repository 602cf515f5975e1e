//! Melexis' MLX90640: 32x24 temperatures over I2C, by crate mlx9064x, which knows the chip's calibration.

use std::panic::{AssertUnwindSafe, catch_unwind};

use embedded_hal::i2c::I2c;
use mlx9064x::{FrameRate, LibraryError, Mlx90640Driver};

use super::config::SensorConfig;
use super::failure;
use super::i2c::Old;
use super::mounting::Mounting;
use crate::ports::{DeviceError, Reading, Sensor, SensorKind, Value};
use crate::time::{Duration, Instant};

/// As it is sold.
pub(super) const ADDRESS: u8 = 0x33;
const COLUMNS: usize = 32;
const ROWS: usize = 24;
/// Across and down, degrees, of the MLX90640BAB; the BAA sees 110 by 75, which view_deg must say.
const VIEW: [f32; 2] = [55.0, 35.0];
/// Human skin's (Jones, "A reappraisal of the use of infrared thermal image analysis in medicine", 1998).
const EMISSIVITY: f32 = 0.98;
/// Each half comes with every second measurement. A pixel older than this was passed over since: the chip's flag of
/// news is cleared after reading, which takes 36 ms at 400 kHz, and with it that of a half that came meanwhile.
const MAX_PERIODS: u32 = 2;
/// The word whose highest four bits are α of PTAT, in quarters above 8 (data sheet, "Restoring the Ta sensor
/// parameters"). The crate divides them as integers; of the data sheet's example a quarter is 3.7 K.
const ALPHA_PTAT: [u8; 2] = [0x24, 0x10];
/// Where the calibration of the pixels begins, a word each, the high byte first. A pixel that has failed has the word
/// 0, one out of calibration the lowest bit: at most four of a chip that Melexis ships (data sheet, table of the
/// EEPROM, notes 1 to 3).
const CALIBRATION: [u8; 2] = [0x24, 0x40];
/// Pixels of a picture that are no number where the other half doesn't come in time.
const BLIND: usize = COLUMNS * ROWS / 2;
/// The rates that the chip has, measurements of half of the pixels a second.
const RATES: [(f32, FrameRate); 7] = [
    (1.0, FrameRate::One),
    (2.0, FrameRate::Two),
    (4.0, FrameRate::Four),
    (8.0, FrameRate::Eight),
    (16.0, FrameRate::Sixteen),
    (32.0, FrameRate::ThirtyTwo),
    (64.0, FrameRate::SixtyFour),
];

/// An MLX90640 on any bus.
pub struct Mlx90640<B: I2c> {
    driver: Box<Mlx90640Driver<Old<B>>>,
    config: SensorConfig,
    mounting: Mounting,
    /// What it was told, and from one measurement to the next at that.
    rate: FrameRate,
    period: Duration,
    /// When the first measurement came.
    began: Option<Instant>,
    /// What the newest measurement has; NaN in the other half.
    half: Vec<f32>,
    /// When each pixel came last.
    came: Vec<Option<Instant>>,
    /// Pixels that the chip itself calls bad: they are no number for ever.
    is_bad: Vec<bool>,
    cells: Vec<f32>,
    upright: Vec<f32>,
}

impl<B: I2c> Mlx90640<B>
where
    B::Error: std::fmt::Display,
{
    /// Reads its calibration and sets its rate.
    ///
    /// # Errors
    /// It does not answer, or its calibration makes no sense, or none to the crate.
    pub fn open(config: &SensorConfig, mut bus: B) -> Result<Self, DeviceError> {
        let address = config.address.unwrap_or(ADDRESS);
        let mut read = |from: &[u8], into: &mut [u8]| {
            let read = bus.write_read(address, from, into);
            read.map_err(|error| failed::<B>(config, mlx9064x::Error::I2cWriteReadError(error)))
        };
        let mut alpha = [0u8; 2];
        read(&ALPHA_PTAT, &mut alpha)?;
        if !(alpha[0] >> 4).is_multiple_of(4) {
            let reason = "MLX90640: its calibration has a fraction that the driver drops (alpha of PTAT), by which all \
                          temperatures would be some kelvins off; take another chip";
            return Err(failure(&config.device, reason.to_owned()));
        }
        // The crate reads these words, too, and passes over what they say of the pixel.
        let mut words = [0u8; 2 * COLUMNS * ROWS];
        read(&CALIBRATION, &mut words)?;
        let is_bad = words.as_chunks::<2>().0.iter().map(|word| *word == [0, 0] || word[1] & 1 == 1).collect();
        let made = shielded(config, || Mlx90640Driver::new(Old(bus), address).map_err(|error| failed(config, error)))?;
        let mut driver = Box::new(made);
        let fastest = (64.0, FrameRate::SixtyFour);
        let (hertz, rate) = RATES.into_iter().find(|(hertz, _)| *hertz >= config.rate()).unwrap_or(fastest);
        driver.set_frame_rate(rate).map_err(|error| failed(config, error))?;
        driver.override_emissivity(config.emissivity.unwrap_or(EMISSIVITY));
        Ok(Self {
            driver,
            config: config.clone(),
            mounting: Mounting::new(config, VIEW),
            rate,
            period: Duration::from_micros((1e6 / hertz) as u64),
            began: None,
            half: vec![f32::NAN; COLUMNS * ROWS],
            came: vec![None; COLUMNS * ROWS],
            is_bad,
            cells: vec![f32::NAN; COLUMNS * ROWS],
            upright: Vec::with_capacity(COLUMNS * ROWS),
        })
    }

    /// Takes a measurement over; what has not come for too long is no number any more. Whether there is a picture:
    /// until the other half has had its time there is none.
    fn take(&mut self, now: Instant) -> bool {
        let longest = self.period * MAX_PERIODS;
        let pixels = self.cells.iter_mut().zip(&mut self.came).zip(&self.half).zip(&self.is_bad);
        for (((cell, came), new), is_bad) in pixels {
            if !new.is_nan() && !is_bad {
                (*cell, *came) = (*new, Some(now));
            } else if came.is_none_or(|came| now.since(came) > longest) {
                *cell = f32::NAN;
            }
        }
        let began = *self.began.get_or_insert(now);
        now.since(began) > longest || self.came.iter().zip(&self.is_bad).all(|(came, is_bad)| *is_bad || came.is_some())
    }
}

impl<B: I2c + Send> Sensor for Mlx90640<B>
where
    B::Error: std::fmt::Display,
{
    fn kind(&self) -> SensorKind {
        SensorKind::Thermal
    }

    /// A reading each time that half of the pixels are new; the others are those of the time before, or NaN where these
    /// didn't come. One that lost its power has gone back to its own rate, by which they never come in time: that it
    /// measures at another than it was told is an error, so that it is opened anew.
    fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        let Self { driver, config, half, .. } = self;
        // The crate leaves the half that isn't new as it is.
        half.fill(f32::NAN);
        let is_new = shielded(config, || driver.generate_image_if_ready(half).map_err(|error| failed(config, error)))?;
        if !is_new || !self.take(now) {
            return Ok(None);
        }
        if self.cells.iter().filter(|cell| cell.is_nan()).count() >= BLIND {
            let rate = self.driver.frame_rate().map_err(|error| failed(&self.config, error))?;
            if rate != self.rate {
                let reason = "MLX90640: it has started anew, as when its supply sags".to_owned();
                return Err(failure(&self.config.device, reason));
            }
        }
        let grid = self.mounting.apply(COLUMNS, ROWS, &self.cells, &mut self.upright);
        Ok(grid.map(|grid| Reading { at: now, value: Value::Thermal(grid) }))
    }

    fn describe(&self) -> String {
        format!("thermal 32x24 by MLX90640 on {}", self.config.device.display())
    }
}

/// The crate computes with the calibration as it comes, and may panic on one that makes no sense.
fn shielded<T>(config: &SensorConfig, call: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_panic| {
        Err(failure(&config.device, "MLX90640: its calibration makes no sense, as with a bad wire".to_owned()))
    })
}

fn failed<B: I2c>(config: &SensorConfig, error: mlx9064x::Error<Old<B>>) -> DeviceError
where
    B::Error: std::fmt::Display,
{
    let said = match error {
        mlx9064x::Error::I2cWriteReadError(error) | mlx9064x::Error::I2cWriteError(error) => error.to_string(),
        mlx9064x::Error::LibraryError(LibraryError::InvalidData(what) | LibraryError::Other(what)) => {
            format!("its calibration makes no sense ({what}): is it an MLX90640?")
        }
        mlx9064x::Error::LibraryError(error) => error.to_string(),
    };
    failure(&config.device, format!("MLX90640 at {:#04x}: {said}", config.address.unwrap_or(ADDRESS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::sensors::config::Driver;
    use crate::sim::i2c::FakeMlx90640;

    fn config() -> SensorConfig {
        SensorConfig::new(SensorKind::Thermal, Driver::Mlx90640, "/dev/i2c-1")
    }

    fn cells(sensor: &mut Mlx90640<FakeMlx90640>) -> Option<Vec<f32>> {
        match sensor.poll(Instant::BOOT).unwrap()?.value {
            Value::Thermal(grid) => {
                assert_eq!((grid.columns, grid.rows, grid.view), (32, 24, VIEW));
                Some(grid.cells.to_vec())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_picture_is_there_once_both_halves_are_and_has_the_temperatures() {
        let chip = FakeMlx90640::default();
        let mut sensor = Mlx90640::open(&config(), chip.clone()).unwrap();
        assert_eq!(chip.rate(), 4, "8 Hz");
        assert_eq!(cells(&mut sensor), None, "nothing was measured yet");
        let scene = |pixel: usize| if pixel % 32 < 16 { 21.0 } else { 34.0 };
        chip.measure(0, 0.98, scene);
        assert_eq!(cells(&mut sensor), None, "half a picture");
        chip.measure(1, 0.98, scene);
        let got = cells(&mut sensor).unwrap();
        for (pixel, cell) in got.iter().enumerate() {
            assert!((cell - scene(pixel)).abs() < 0.3, "pixel {pixel}: {cell}");
        }
        assert_eq!(cells(&mut sensor), None, "the same half is no news");
        chip.measure(0, 0.98, |_| 30.0);
        let got = cells(&mut sensor).unwrap();
        assert!((got[0] - 30.0).abs() < 0.3 && (got[1] - 21.0).abs() < 0.3, "{} {}", got[0], got[1]);
    }

    /// How many pixels are no number in each reading of the third second and the fourth, polled as the thread does it.
    fn blind(bus_hz: u64, rate_hz: f32) -> Vec<usize> {
        let chip = FakeMlx90640::default();
        let config = SensorConfig { rate_hz: Some(rate_hz), ..config() };
        let mut sensor = Mlx90640::open(&config, chip.clone()).unwrap();
        chip.run(bus_hz, 30.0);
        let mut blind = Vec::new();
        while chip.now() < Instant::from_millis(4000) {
            let now = chip.now();
            if let Some(Reading { value: Value::Thermal(grid), .. }) = sensor.poll(now).unwrap()
                && now > Instant::from_millis(2000)
            {
                blind.push(grid.cells.iter().filter(|cell| cell.is_nan()).count());
            }
            chip.pass(Duration::from_millis(20));
        }
        blind
    }

    #[test]
    fn a_bus_that_is_fast_enough_brings_both_halves_in_turn() {
        for rate in [4, 8, 16] {
            let blind = blind(400_000, rate as f32);
            let wanted = 2 * rate;
            assert!((wanted - 1..=wanted + 1).contains(&blind.len()), "{rate} Hz: {blind:?}");
            assert!(blind.iter().all(|pixels| *pixels == 0), "{rate} Hz: {blind:?}");
        }
    }

    #[test]
    fn the_half_that_a_slow_bus_passes_over_is_no_number() {
        for (bus_hz, rate_hz) in [(100_000, 8.0), (400_000, 32.0)] {
            let blind = blind(bus_hz, rate_hz);
            assert!(blind.len() > 5 && blind.iter().all(|pixels| *pixels >= 384), "{bus_hz} {rate_hz}: {blind:?}");
        }
    }

    #[test]
    fn a_chip_that_has_started_anew_is_an_error_until_it_is_opened_again() {
        let chip = FakeMlx90640::default();
        let mut sensor = Mlx90640::open(&config(), chip.clone()).unwrap();
        chip.run(400_000, 30.0);
        let polled = |until: u64, sensor: &mut Mlx90640<FakeMlx90640>| {
            let (mut pictures, mut errors) = (0, Vec::new());
            while chip.now() < Instant::from_millis(until) {
                match sensor.poll(chip.now()) {
                    Ok(reading) => pictures += usize::from(reading.is_some()),
                    Err(error) => errors.push(error.to_string()),
                }
                chip.pass(Duration::from_millis(20));
            }
            (pictures, errors)
        };
        let (pictures, errors) = polled(2000, &mut sensor);
        assert!(pictures > 10 && errors.is_empty(), "{pictures} {errors:?}");
        chip.restart();
        let (pictures, errors) = polled(6000, &mut sensor);
        assert!(pictures <= 2 && errors.len() > 5, "{pictures} {errors:?}");
        assert!(errors.iter().all(|error| error.contains("started anew")), "{errors:?}");
        let mut sensor = Mlx90640::open(&config(), chip.clone()).unwrap();
        let (pictures, errors) = polled(8000, &mut sensor);
        assert!(pictures > 10 && errors.is_empty(), "{pictures} {errors:?}");
    }

    #[test]
    fn a_half_that_stays_out_is_shown_for_two_periods_and_is_no_number_then() {
        let chip = FakeMlx90640::default();
        let mut sensor = Mlx90640::open(&config(), chip.clone()).unwrap();
        let mut at = |half, ms| {
            chip.measure(half, 0.98, |_| 30.0);
            let reading = sensor.poll(Instant::from_millis(ms)).unwrap()?;
            let Value::Thermal(grid) = reading.value else { panic!("{reading:?}") };
            Some(grid.cells.iter().filter(|cell| cell.is_nan()).count())
        };
        assert_eq!([at(0, 1000), at(1, 1125), at(0, 1250)], [None, Some(0), Some(0)]);
        assert_eq!([at(0, 1375), at(0, 1376)], [Some(0), Some(384)]);
        assert_eq!(at(1, 1500), Some(0));
    }

    #[test]
    fn a_pixel_that_the_chip_calls_failed_or_out_of_calibration_is_no_number_and_keeps_no_picture_back() {
        let chip = FakeMlx90640::default();
        chip.calibrate(40, 0x0000);
        chip.calibrate(767, 0x0401);
        let mut sensor = Mlx90640::open(&config(), chip.clone()).unwrap();
        chip.measure(0, 0.98, |_| 30.0);
        assert_eq!(cells(&mut sensor), None, "half a picture");
        chip.measure(1, 0.98, |_| 30.0);
        let got = cells(&mut sensor).unwrap();
        let (bad, good): (Vec<_>, Vec<_>) = got.iter().enumerate().partition(|(_, cell)| cell.is_nan());
        assert_eq!(bad.iter().map(|(pixel, _)| *pixel).collect::<Vec<_>>(), [40, 767]);
        assert!(good.iter().all(|(_, cell)| (**cell - 30.0).abs() < 0.3), "{good:?}");
    }

    #[test]
    fn a_chip_whose_alpha_of_ptat_is_no_whole_number_is_refused() {
        for quarters in 0..16 {
            let chip = FakeMlx90640::default();
            chip.alpha_ptat(quarters);
            match Mlx90640::open(&config(), chip) {
                Ok(_) => assert_eq!(quarters % 4, 0, "{quarters}"),
                Err(error) => assert!(quarters % 4 != 0 && error.reason.contains("kelvins off"), "{quarters}: {error}"),
            }
        }
    }

    #[test]
    fn a_chip_that_is_missing_or_goes_is_an_error() {
        let chip = FakeMlx90640::default();
        let mut sensor = Mlx90640::open(&config(), chip.clone()).unwrap();
        chip.unplug();
        let error = sensor.poll(Instant::BOOT).unwrap_err();
        assert!(error.to_string().starts_with("/dev/i2c-1: MLX90640 at 0x33: nobody answers"), "{error}");
        assert!(Mlx90640::open(&config(), chip).is_err());
    }

    #[test]
    fn calibrations_of_any_word_are_errors_or_grids() {
        for word in (0..=u16::MAX).step_by(0x0505) {
            let chip = FakeMlx90640::default();
            chip.fill(word);
            if let Ok(mut sensor) = Mlx90640::open(&config(), chip.clone()) {
                for half in 0..2 {
                    chip.measure(half, 1.0, |_| 30.0);
                    let _numbers_nothing_or_an_error = sensor.poll(Instant::BOOT).map(|reading| reading.is_some());
                }
            }
        }
    }
}
