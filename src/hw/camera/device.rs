//! Asking a device what it is and what it offers, and agreeing with it.

#![forbid(unsafe_code)]

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use v4l::capability::Flags;
use v4l::format::{Colorspace, FieldOrder, Quantization};
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Format, FourCC, Fraction};

use super::negotiate::instead;
use super::stream::Stream;
use super::{CameraConfig, Choice, Offer, Offers, Rates, Refusal, Sizes, WantedFormat, choose};
use crate::frame::Geometry;
use crate::hw::denied;
use crate::hw::journal::one_line;

/// Most sizes of one format that are looked at.
const MAX_SIZES: usize = 64;

/// An open video device.
pub(super) struct Device {
    device: v4l::Device,
    card: String,
}

/// What device and configuration have in common.
pub(super) struct Agreed {
    pub format: WantedFormat,
    pub geometry: Geometry,
    /// Frames a second, where the driver says.
    pub fps: Option<f32>,
}

impl Device {
    pub(super) fn open(path: &Path) -> Result<Self, Refusal> {
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(Refusal::NotACamera("a path can't contain a zero byte"));
        }
        let device = v4l::Device::with_path(path).map_err(|e| explain("opening it", &e))?;
        let caps = match shielded(|| device.query_caps()) {
            Ok(caps) => caps,
            Err(Failure::System(e)) if matches!(e.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)) => {
                return Err(Refusal::NotACamera("it is no video device"));
            }
            Err(Failure::System(e)) => return Err(explain("asking what it is", &e)),
            // A name that the kernel has cut within a character: the camera may be fine, and it is asked for all else.
            Err(Failure::Panic) => return Ok(Self { device, card: "unnamed".to_owned() }),
        };
        // On USB it is the camera's own, of whatever characters.
        let card = one_line(&caps.card);
        if !caps.capabilities.contains(Flags::VIDEO_CAPTURE) {
            if caps.capabilities.contains(Flags::VIDEO_CAPTURE_MPLANE) {
                return Err(Refusal::Planes { card });
            }
            let why = "it captures no pictures; cameras have several nodes: try the one before it, such as /dev/video0";
            return Err(Refusal::NotACamera(why));
        }
        if !caps.capabilities.contains(Flags::STREAMING) {
            return Err(Refusal::NotACamera("its driver can't stream, which facelatch needs"));
        }
        Ok(Self { device, card })
    }

    pub(super) fn card(&self) -> &str {
        &self.card
    }

    /// Sets format, size and rate to what is wanted, if the device offers it.
    pub(super) fn agree(&self, wanted: &CameraConfig) -> Result<Agreed, Refusal> {
        let offers = self.offers(wanted)?;
        let choice = choose(&offers, wanted).ok_or_else(|| no_match(wanted, instead(&offers, wanted)))?;
        let fourcc = FourCC::new(&choice.format.fourcc());
        let mut format = Format::new(choice.width, choice.height, fourcc);
        format.field_order = FieldOrder::Progressive;
        let got = self.call("setting its format", || self.device.set_format(&format))?;
        if (got.width, got.height, got.fourcc) != (choice.width, choice.height, fourcc) {
            let instead = format!("{}x{} {} when asked", got.width, got.height, got.fourcc);
            return Err(no_match(wanted, instead));
        }
        if !matches!(got.field_order, FieldOrder::Progressive | FieldOrder::Any) {
            return Err(no_match(wanted, format!("interlaced fields ({}) only", got.field_order)));
        }
        let mut geometry = Geometry::packed(choice.format.pixel_format(), got.width, got.height);
        if got.stride > 0 && choice.format != WantedFormat::Mjpeg {
            geometry.stride = got.stride;
        }
        if is_stretched(&got) {
            log::warn!(
                "camera: its frames have the full range and are read as limited: contrasts are a sixth too strong"
            );
        }
        Ok(Agreed { format: choice.format, geometry, fps: self.set_rate(&choice) })
    }

    /// Sets the format to 16 bits of grey in the size that the device has: columns, rows, and bytes from row to row.
    pub(super) fn agree_on_y16(&self) -> Result<(u32, u32, u32), Refusal> {
        let fourcc = FourCC::new(b"Y16 ");
        let mut format = self.call("asking for its format", || self.device.format())?;
        format.fourcc = fourcc;
        format.stride = 0;
        let got = self.call("setting its format", || self.device.set_format(&format))?;
        let sides = 1..=crate::frame::MAX_SIDE;
        if got.fourcc != fourcc || !(sides.contains(&got.width) && sides.contains(&got.height)) {
            let offers = format!("{}x{} {} when asked", got.width, got.height, readable(got.fourcc));
            return Err(Refusal::NoMatch { wanted: "temperatures of 16 bits (Y16)".to_owned(), offers });
        }
        Ok((got.width, got.height, got.stride))
    }

    /// Starts the stream; the device lives on in it.
    pub(super) fn stream(self) -> Result<Stream, Refusal> {
        Stream::start(self.device.handle()).map_err(|e| explain("starting the stream", &e))
    }

    pub(super) fn offers(&self, wanted: &CameraConfig) -> Result<Offers, Refusal> {
        let mut offers = Offers::default();
        for description in self.call("asking for its formats", || self.device.enum_formats())? {
            let fourcc = description.fourcc;
            match WantedFormat::from_fourcc(fourcc.repr) {
                None => offers.unknown.push(readable(fourcc)),
                Some(format) => {
                    for sizes in self.sizes(fourcc) {
                        let rates = self.rates(fourcc, sizes, wanted);
                        offers.known.push(Offer { format, sizes, rates });
                    }
                }
            }
        }
        Ok(offers)
    }

    fn sizes(&self, fourcc: FourCC) -> Vec<Sizes> {
        let listed = shielded(|| self.device.enum_framesizes(fourcc)).unwrap_or_default();
        let mut sizes: Vec<_> = listed
            .into_iter()
            .take(MAX_SIZES)
            .map(|listed| match listed.size {
                FrameSizeEnum::Discrete(size) => Sizes::Exactly(size.width, size.height),
                FrameSizeEnum::Stepwise(s) => Sizes::Steps {
                    min: (s.min_width, s.min_height),
                    max: (s.max_width, s.max_height),
                    step: (s.step_width, s.step_height),
                },
            })
            .collect();
        if sizes.is_empty() {
            sizes.push(Sizes::Unknown);
        }
        sizes
    }

    /// The rates at a size; of a range of sizes, at the wanted one.
    fn rates(&self, fourcc: FourCC, sizes: Sizes, wanted: &CameraConfig) -> Rates {
        let (width, height) = match sizes {
            Sizes::Exactly(width, height) => (width, height),
            _ if sizes.has(wanted.width, wanted.height) => (wanted.width, wanted.height),
            _ => return Rates::Unknown,
        };
        let listed = shielded(|| self.device.enum_frameintervals(fourcc, width, height)).unwrap_or_default();
        let mut rates = Vec::new();
        for interval in listed {
            match interval.interval {
                FrameIntervalEnum::Discrete(fraction) => rates.extend(rate(fraction)),
                FrameIntervalEnum::Stepwise(range) => {
                    // The longest interval is the lowest rate.
                    if let (Some(least), Some(most)) = (rate(range.max), rate(range.min)) {
                        return Rates::Between(least, most);
                    }
                }
            }
        }
        if rates.is_empty() { Rates::Unknown } else { Rates::These(rates) }
    }

    /// Asks for the rate and tells the one that the driver sets; `None` where it has no say in it.
    fn set_rate(&self, choice: &Choice) -> Option<f32> {
        // Thousandths keep 29.97; the driver takes the nearest interval it has.
        let per_1000_s = (choice.fps * 1000.0).round() as u32;
        let parameters = Parameters::new(Fraction::new(1000, per_1000_s));
        let set = shielded(|| self.device.set_params(&parameters)).ok()?;
        rate(set.interval)
    }

    fn call<T>(&self, what: &'static str, ask: impl FnOnce() -> io::Result<T>) -> Result<T, Refusal> {
        shielded(ask).map_err(|failure| match failure {
            Failure::System(e) => explain(what, &e),
            Failure::Panic => {
                Refusal::Failed { what, reason: "its driver answers with a value that V4L2 does not define".to_owned() }
            }
        })
    }
}

enum Failure {
    System(io::Error),
    Panic,
}

/// Crate v4l expects every name to be UTF-8 and every enumerated value to be one it knows, and panics where a driver
/// disagrees. A strange camera must not take the door down.
fn shielded<T>(ask: impl FnOnce() -> io::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(answer) => answer.map_err(Failure::System),
        Err(_panic) => Err(Failure::Panic),
    }
}

/// Whether colours come in the full range, 0 to 255, of a format that is read as 16 to 235.
fn is_stretched(got: &Format) -> bool {
    let is_read_as_limited = [WantedFormat::Yuyv, WantedFormat::Nv12].iter().any(|f| f.fourcc() == got.fourcc.repr);
    let is_full = match got.quantization {
        Quantization::FullRange => true,
        Quantization::Default => matches!(got.colorspace, Colorspace::JPEG),
        Quantization::LimitedRange => false,
    };
    is_read_as_limited && is_full
}

/// The four characters, of which the last may carry a flag in its top bit (v4l2_fourcc_be).
fn readable(fourcc: FourCC) -> String {
    fourcc.repr.map(|byte| char::from(byte & 0x7F)).iter().collect::<String>().trim().to_owned()
}

/// Frames a second of an interval in seconds.
fn rate(interval: Fraction) -> Option<f32> {
    (interval.numerator > 0 && interval.denominator > 0)
        .then(|| (f64::from(interval.denominator) / f64::from(interval.numerator)) as f32)
}

fn no_match(wanted: &CameraConfig, offers: String) -> Refusal {
    let format = wanted.format.map_or("any format of ours", WantedFormat::as_str);
    let wanted = format!("{}x{} at {} in {format}", wanted.width, wanted.height, wanted.fps);
    Refusal::NoMatch { wanted, offers }
}

fn explain(what: &'static str, error: &io::Error) -> Refusal {
    if let Some(advice) = denied::in_group(error.raw_os_error(), "video") {
        return Refusal::NoPermission { advice };
    }
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Refusal::Missing,
        Some(libc::EBUSY) => Refusal::Busy,
        // No disk has anything to do with it, though the code says so.
        Some(libc::ENOSPC) => Refusal::Failed {
            what,
            reason: "the USB bus has no room for its stream: another port or hub, MJPEG, or a smaller size".to_owned(),
        },
        _ => Refusal::Failed { what, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_kernel_becomes_a_sentence_that_says_what_to_do() {
        let say = |raw| explain("opening it", &io::Error::from_raw_os_error(raw)).to_string();
        assert!(say(libc::ENOENT).contains("plug the camera in"));
        assert!(say(libc::EACCES).contains("group video"));
        assert!(say(libc::EPERM).contains("facelatch devices"));
        assert!(say(libc::EBUSY).contains("`fuser -v`"));
        assert!(say(libc::ENOSPC).starts_with("opening it: the USB bus has no room for its stream: another port"));
        assert!(say(libc::EIO).starts_with("opening it: Input/output error"));
    }

    #[test]
    fn colours_of_the_full_range_are_known_by_what_the_driver_says_or_by_jpegs_colour_space() {
        let is = |fourcc, colorspace, quantization| {
            is_stretched(&Format { colorspace, quantization, ..Format::new(640, 480, FourCC::new(fourcc)) })
        };
        assert!(is(b"YUYV", Colorspace::SRGB, Quantization::FullRange));
        assert!(is(b"NV12", Colorspace::JPEG, Quantization::Default));
        assert!(!is(b"NV12", Colorspace::JPEG, Quantization::LimitedRange));
        assert!(!is(b"YUYV", Colorspace::SRGB, Quantization::Default));
        assert!(
            !is(b"MJPG", Colorspace::JPEG, Quantization::FullRange)
                && !is(b"GREY", Colorspace::SRGB, Quantization::FullRange)
        );
    }

    #[test]
    fn a_panic_in_the_crate_is_an_error_here() {
        assert!(matches!(shielded(|| -> io::Result<()> { panic!("Invalid colorspace") }), Err(Failure::Panic)));
    }

    #[test]
    fn an_interval_of_zero_is_no_rate() {
        assert_eq!(rate(Fraction::new(1001, 30_000)), Some(29.97003));
        assert_eq!(rate(Fraction::new(0, 30)), None);
        assert_eq!(rate(Fraction::new(1, 0)), None);
    }
}
