//! The V4L2 camera: opens a device, agrees with it on a format, and gives frames that are whole, in time order and
//! stamped on the clock that everything here counts in.
//!
//! The device is asked through crate `v4l`; the buffers are streamed by [`stream`], for reasons it gives.

#![deny(unsafe_code)]

mod check;
mod device;
mod negotiate;
mod stamp;
mod stream;
mod y16;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::frame::{Frame, FrameError, Geometry, PixelFormat};
use crate::hw::clock::monotonic_and_boottime;
use crate::ports::{Camera, CameraError};
use crate::time::{Duration, Instant};

pub use negotiate::{Choice, Offer, Offers, Rates, Sizes, choose, nearest};
use stream::{Buffer, Stream, Take};
pub use y16::{Y16Camera, Y16Frame};

/// `[camera]` of the configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CameraConfig {
    /// The device. A path below /dev/v4l/by-id stays the same whatever else is plugged in.
    pub device: PathBuf,
    /// Pixels a row, one of the sizes that the device offers.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second, one of the rates that the device offers at that size.
    pub fps: f32,
    /// `yuyv`, `mjpeg`, `nv12` or `grey`; left out, the first of these that the device offers at that size and rate.
    pub format: Option<WantedFormat>,
}

impl CameraConfig {
    /// The most frames a second that may be asked for; none gives more.
    pub const MAX_FPS: f32 = 1000.0;
    /// It must be more than this: a camera that gives nothing for two seconds is taken for lost.
    pub const MIN_FPS: f32 = 0.5;
}

impl Default for CameraConfig {
    fn default() -> Self {
        Self { device: PathBuf::from("/dev/video0"), width: 640, height: 480, fps: 30.0, format: None }
    }
}

named! {
    /// The formats that a camera may be asked for, in the order of preference: whole colour without artefacts, the same
    /// at half the chroma, what must be decoded first, and no colour at all.
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    WantedFormat {
        Yuyv = "yuyv",
        Nv12 = "nv12",
        Mjpeg = "mjpeg",
        Grey = "grey",
    }
}

impl WantedFormat {
    /// V4L2's four characters for it (videodev2.h).
    pub const fn fourcc(self) -> [u8; 4] {
        match self {
            Self::Yuyv => *b"YUYV",
            Self::Nv12 => *b"NV12",
            Self::Mjpeg => *b"MJPG",
            Self::Grey => *b"GREY",
        }
    }

    pub fn from_fourcc(fourcc: [u8; 4]) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.fourcc() == fourcc)
    }

    pub const fn pixel_format(self) -> PixelFormat {
        match self {
            Self::Yuyv => PixelFormat::Yuyv,
            Self::Nv12 => PixelFormat::Nv12,
            Self::Mjpeg => PixelFormat::Mjpeg,
            Self::Grey => PixelFormat::Grey,
        }
    }
}

/// A camera that can't be opened, and why.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {refusal}", device.display())]
pub struct OpenError {
    pub device: PathBuf,
    pub refusal: Refusal,
}

/// Why a camera can't be opened.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("no such device: plug the camera in; `v4l2-ctl --list-devices` (Debian package v4l-utils) lists them")]
    Missing,
    #[error("no permission: {advice}")]
    NoPermission { advice: String },
    #[error("in use by another program: `fuser -v` on it (Debian package psmisc) tells which")]
    Busy,
    #[error("{0}")]
    NotACamera(&'static str),
    #[error("{card} captures in several planes (MPLANE), which facelatch can't read")]
    Planes { card: String },
    #[error("it can't give {wanted}; write into [camera] what it offers: {offers}")]
    NoMatch { wanted: String, offers: String },
    #[error("{what}: {reason}")]
    Failed { what: &'static str, reason: String },
    #[error("its frames make no sense: {0}")]
    Geometry(#[from] FrameError),
}

impl From<OpenError> for CameraError {
    fn from(error: OpenError) -> Self {
        Self::Lost { device: error.device.display().to_string(), reason: error.refusal.to_string() }
    }
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Sight {
    /// Its name.
    pub card: String,
    pub offers: Offers,
}

/// Asks a device what it is and offers, without starting it.
///
/// # Errors
/// [`Refusal`]: it is no camera, or can't be asked.
pub fn probe(path: &Path) -> Result<Sight, Refusal> {
    let device = device::Device::open(path)?;
    Ok(Sight { offers: device.offers(&CameraConfig::default())?, card: device.card().to_owned() })
}

/// A streaming camera.
pub struct V4lCamera {
    name: String,
    card: String,
    format: WantedFormat,
    geometry: Geometry,
    fps: Option<f32>,
    stream: Stream,
}

impl V4lCamera {
    /// Opens the device, agrees on format, size and rate, and starts the stream.
    ///
    /// # Errors
    /// [`OpenError`], which lists what the device offers where that isn't what was asked for.
    pub fn open(config: &CameraConfig) -> Result<Self, OpenError> {
        Self::start(config).map_err(|refusal| OpenError { device: config.device.clone(), refusal })
    }

    fn start(config: &CameraConfig) -> Result<Self, Refusal> {
        let device = device::Device::open(&config.device)?;
        let agreed = device.agree(config)?;
        agreed.geometry.required_bytes()?;
        Ok(Self {
            name: config.device.display().to_string(),
            card: device.card().to_owned(),
            format: agreed.format,
            geometry: agreed.geometry,
            fps: agreed.fps,
            stream: device.stream()?,
        })
    }
}

impl Camera for V4lCamera {
    fn next_frame(&mut self, timeout: Duration) -> Result<Frame<'_>, CameraError> {
        let Self { stream, geometry, name, .. } = self;
        let buffer = match stream.take(timeout) {
            Ok(Take::Buffer(buffer)) => buffer,
            Ok(Take::Nothing) => return Err(CameraError::Timeout(timeout)),
            Err(error) => return Err(CameraError::Lost { device: name.clone(), reason: lost(&error) }),
        };
        frame(*geometry, buffer, monotonic_and_boottime()).map_err(CameraError::BadFrame)
    }

    fn describe(&self) -> String {
        let Geometry { width, height, .. } = self.geometry;
        let rate = self.fps.map_or_else(|| "a rate of its own".to_owned(), |fps| format!("{fps:.4} a second"));
        format!("{} ({}), {width}x{height} {} at {rate}", self.name, self.card, self.format.as_str())
    }
}

/// A frame out of a buffer that the driver has filled, or what is wrong with it. `clocks` is
/// [`monotonic_and_boottime`] at the time of taking.
fn frame(geometry: Geometry, buffer: Buffer<'_>, clocks: (u64, u64)) -> Result<Frame<'_>, String> {
    let data = check::whole(geometry.format, &buffer)?;
    let captured_at = Instant::from_nanos(stamp::to_boottime(buffer.stamp, clocks.0, clocks.1));
    Frame::new(geometry, buffer.sequence, captured_at, data).map_err(|e| e.to_string())
}

/// A sentence for the error that ended a stream.
fn lost(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENODEV) => "the camera was unplugged".to_owned(),
        Some(libc::EIO) => format!("the camera failed ({error}); a loose or overlong USB cable does this"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_missing_or_no_camera_is_a_sentence() {
        let open = |path: &str| {
            let config = CameraConfig { device: path.into(), ..CameraConfig::default() };
            V4lCamera::open(&config).err().unwrap().to_string()
        };
        assert!(open("/dev/video987").starts_with("/dev/video987: no such device: plug the camera in"));
        if crate::testing::is_emulated() {
            crate::testing::skipped("an emulator knows no ioctl of V4L2's, so no device was asked what it is");
        } else {
            assert!(open("/dev/null").contains("is no video device"), "{}", open("/dev/null"));
        }
        assert!(open("/dev/vi\0deo").contains("zero byte"), "{}", open("/dev/vi\0deo"));
        assert!(open("/").contains("/: opening it: "), "{}", open("/"));
    }

    #[test]
    fn a_good_buffer_is_a_frame_on_our_clock() {
        let geometry = Geometry::packed(PixelFormat::Grey, 4, 2);
        let data = [7; 10];
        let buffer = Buffer { data: &data, flagged: false, stamp: Some(1_000), sequence: 42 };
        let frame = frame(geometry, buffer, (1_500, 9_500)).unwrap();
        assert_eq!((frame.sequence(), frame.captured_at().as_nanos(), frame.data().len()), (42, 9_000, 8));
    }

    #[test]
    fn a_short_buffer_says_how_short() {
        let buffer = Buffer { data: &[0; 7], flagged: false, stamp: None, sequence: 0 };
        let error = frame(Geometry::packed(PixelFormat::Grey, 4, 2), buffer, (0, 0)).unwrap_err();
        assert_eq!(error, "the buffer holds 7 bytes and the frame needs 8");
    }

    #[test]
    fn the_configuration_has_defaults_and_refuses_unknown_keys() {
        assert_eq!(toml::from_str::<CameraConfig>(""), Ok(CameraConfig::default()));
        let config: CameraConfig = toml::from_str("format = \"mjpeg\"\nfps = 15").unwrap();
        assert_eq!((config.format, config.fps), (Some(WantedFormat::Mjpeg), 15.0));
        assert!(toml::from_str::<CameraConfig>("widht = 640").is_err());
        assert!(toml::from_str::<CameraConfig>("format = \"h264\"").is_err());
    }

    #[test]
    fn unplugging_is_told_from_failing() {
        let say = |raw| lost(&std::io::Error::from_raw_os_error(raw));
        assert_eq!(say(libc::ENODEV), "the camera was unplugged");
        assert!(say(libc::EIO).contains("cable"));
    }
}
