//! A thermal camera on V4L2 that gives temperatures: 16 bits a pixel, hundredths of a kelvin, as a FLIR Lepton does
//! with TLinear switched on (Lepton engineering datasheet, "TLinear"), on a PureThermal board by USB Video Class.

use super::config::SensorConfig;
use super::failure;
use super::mounting::Mounting;
use crate::hw::camera::Y16Camera;
use crate::ports::{DeviceError, Reading, Sensor, SensorKind, Value};
use crate::time::{Duration, Instant};

/// Across and down, degrees, of a Lepton 2.5, which has 80 pixels in a row (FLIR 500-0659-00-09: 50 across).
const VIEW_OF_80: [f32; 2] = [50.0, 38.0];
/// And of a 3.5, which has 160 (its datasheet: 57 across).
const VIEW_OF_160: [f32; 2] = [57.0, 44.0];
/// Pixels are put together until at most so many stand in a row: the size of what liveness was trained with, and an
/// average of 16 is quieter.
const MAX_COLUMNS: usize = 40;
/// What half of the raw values must be for the picture to be one of temperatures: −40 °C and more. Counts without
/// TLinear have 14 bits, which would be −109 °C at most.
const SENSIBLE: std::ops::RangeInclusive<u16> = 23_315..=u16::MAX;

/// Degrees Celsius of a raw pixel of TLinear at its resolution of 0.01 K.
pub fn celsius_of_centikelvin(raw: u16) -> f32 {
    f32::from(raw) * 0.01 - 273.15
}

pub(super) struct V4lThermal {
    camera: Y16Camera,
    config: SensorConfig,
    mounting: Mounting,
    cells: Vec<f32>,
    upright: Vec<f32>,
}

impl V4lThermal {
    pub(super) fn open(config: &SensorConfig) -> Result<Self, DeviceError> {
        let camera = Y16Camera::open(&config.device).map_err(|refusal| failure(&config.device, refusal.to_string()))?;
        let mounting = Mounting::new(config, view(camera.width()));
        Ok(Self { camera, config: config.clone(), mounting, cells: Vec::new(), upright: Vec::new() })
    }
}

impl Sensor for V4lThermal {
    fn kind(&self) -> SensorKind {
        SensorKind::Thermal
    }

    fn poll(&mut self, _now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        let device = &self.config.device;
        let Some(frame) = self.camera.take(Duration::ZERO).map_err(|reason| failure(device, reason))? else {
            return Ok(None);
        };
        let at = frame.at;
        let (columns, rows) = shrink(frame.width, frame.height, frame.stride, frame.bytes, &mut self.cells)
            .map_err(|reason| failure(device, reason.to_owned()))?;
        let grid = self.mounting.apply(columns, rows, &self.cells, &mut self.upright);
        Ok(grid.map(|grid| Reading { at, value: Value::Thermal(grid) }))
    }

    fn describe(&self) -> String {
        format!("thermal by V4L2: {}", self.camera.describe())
    }
}

/// What a Lepton sees whose picture is so wide.
fn view(width: usize) -> [f32; 2] {
    if width <= 80 { VIEW_OF_80 } else { VIEW_OF_160 }
}

/// Averages blocks of pixels into `cells`. What a Lepton adds below its picture as telemetry is left out: rows beyond
/// three quarters of the width.
fn shrink(
    width: usize,
    height: usize,
    stride: usize,
    bytes: &[u8],
    cells: &mut Vec<f32>,
) -> Result<(usize, usize), &'static str> {
    let height = height.min(width * 3 / 4);
    let side = width.div_ceil(MAX_COLUMNS).max(1);
    let (columns, rows) = (width / side, height / side);
    if columns == 0 || rows == 0 || stride < 2 * width || bytes.len() < stride * (height - 1) + 2 * width {
        return Err("a picture that is too small");
    }
    cells.clear();
    let mut sensible = 0;
    for row in 0..rows {
        for column in 0..columns {
            let mut sum = 0u32;
            for y in row * side..(row + 1) * side {
                let start = y * stride + 2 * column * side;
                let pixels =
                    bytes[start..start + 2 * side].as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
                for raw in pixels {
                    sensible += usize::from(SENSIBLE.contains(&raw));
                    sum += u32::from(raw);
                }
            }
            let mean = sum as f32 / (side * side) as f32;
            cells.push(mean * 0.01 - 273.15);
        }
    }
    // A clear sky may be colder than any of them.
    if 2 * sensible < columns * rows * side * side {
        return Err(
            "its pixels are no temperatures: switch radiometry and TLinear on (0.01 K), or it is another camera",
        );
    }
    Ok((columns, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, celsius: impl Fn(usize, usize) -> f32) -> Vec<u8> {
        let raw = |i: usize| ((celsius(i % width, i / width) + 273.15) * 100.0).round() as u16;
        (0..width * height).flat_map(|i| raw(i).to_le_bytes()).collect()
    }

    #[test]
    fn a_leptons_picture_is_averaged_to_forty_by_thirty() {
        let mut cells = Vec::new();
        let bytes = picture(160, 122, |x, y| {
            if y >= 120 {
                400.0
            } else if x < 80 {
                20.0
            } else {
                33.0
            }
        });
        assert_eq!(shrink(160, 122, 320, &bytes, &mut cells), Ok((40, 30)));
        assert_eq!(cells.len(), 1200);
        assert!((cells[0] - 20.0).abs() < 0.01 && (cells[1199] - 33.0).abs() < 0.01);
        let bytes = picture(80, 60, |_, _| -5.0);
        assert_eq!(shrink(80, 60, 160, &bytes, &mut cells), Ok((40, 30)));
        assert!((cells[600] + 5.0).abs() < 0.01);
    }

    #[test]
    fn a_small_leptons_view_is_narrower_and_one_that_is_written_down_counts() {
        use crate::hw::sensors::config::Driver;
        let config = SensorConfig::new(SensorKind::Thermal, Driver::V4l2Thermal, "/dev/video0");
        let seen = |config: &SensorConfig, width| {
            let mut upright = Vec::new();
            Mounting::new(config, view(width)).apply(1, 1, &[20.0], &mut upright).unwrap().view
        };
        assert_eq!([80, 160].map(|width| seen(&config, width)), [[50.0, 38.0], [57.0, 44.0]]);
        let written = SensorConfig { view_deg: Some([95.0, 71.0]), ..config };
        assert_eq!(seen(&written, 80), [95.0, 71.0]);
    }

    #[test]
    fn counts_that_are_no_temperatures_and_pictures_cut_short_are_refused() {
        let mut cells = Vec::new();
        let counts: Vec<u8> = (0..80 * 60).flat_map(|_| 8192u16.to_le_bytes()).collect();
        assert!(shrink(80, 60, 160, &counts, &mut cells).unwrap_err().contains("TLinear"));
        for (width, height, stride, length) in [(80, 60, 160, 9599), (80, 60, 100, 9600), (0, 0, 0, 0), (1, 1, 2, 2)] {
            assert!(shrink(width, height, stride, &vec![0; length], &mut cells).is_err());
        }
        assert_eq!(celsius_of_centikelvin(30_615), 33.0);
    }

    #[test]
    fn a_device_that_is_missing_or_no_camera_is_a_sentence() {
        use crate::hw::sensors::config::Driver;
        let open = |path: &str| {
            let config = SensorConfig::new(SensorKind::Thermal, Driver::V4l2Thermal, path);
            V4lThermal::open(&config).err().unwrap().to_string()
        };
        assert!(open("/dev/video987").starts_with("/dev/video987: no such device: plug the camera in"));
        if crate::testing::is_emulated() {
            crate::testing::skipped("an emulator knows no ioctl of V4L2's, so no device was asked what it is");
        } else {
            assert!(open("/dev/null").contains("is no video device"), "{}", open("/dev/null"));
        }
    }
}
