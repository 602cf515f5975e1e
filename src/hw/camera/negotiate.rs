//! Which of the formats that a device offers is taken.

#![forbid(unsafe_code)]

use std::fmt;

use super::{CameraConfig, WantedFormat};

/// How far a rate may be from the one that was asked for and still count as it: NTSC's 29.97 is 30.
const RATE_TOLERANCE: f32 = 0.01;

/// How many formats that we don't read are named.
const MAX_UNKNOWN: usize = 8;

/// Everything that a device offers in formats that we read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Offers {
    pub known: Vec<Offer>,
    /// The four characters of formats that we don't read, for the error.
    pub unknown: Vec<String>,
}

/// One format at one size or range of sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    pub format: WantedFormat,
    pub sizes: Sizes,
    pub rates: Rates,
}

/// Pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    Exactly(u32, u32),
    Steps {
        min: (u32, u32),
        max: (u32, u32),
        step: (u32, u32),
    },
    /// The driver doesn't say: it is asked and may answer with another.
    Unknown,
}

/// Frames a second.
#[derive(Debug, Clone, PartialEq)]
pub enum Rates {
    These(Vec<f32>),
    Between(f32, f32),
    /// The driver doesn't say.
    Unknown,
}

/// What is asked of the driver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    pub format: WantedFormat,
    pub width: u32,
    pub height: u32,
    /// Frames a second.
    pub fps: f32,
}

/// The best offer at the wanted size and rate, in the order of [`WantedFormat::ALL`] where no format is wanted; `None`
/// where there is none, or where the rate isn't a positive number.
pub fn choose(offers: &Offers, wanted: &CameraConfig) -> Option<Choice> {
    let fits = |offer: &&Offer| {
        wanted.format.is_none_or(|format| offer.format == format)
            && offer.sizes.has(wanted.width, wanted.height)
            && offer.rates.has(wanted.fps)
    };
    let rank = |offer: &&Offer| WantedFormat::ALL.iter().position(|f| *f == offer.format);
    let offer = offers.known.iter().filter(fits).min_by_key(rank)?;
    Some(Choice { format: offer.format, width: wanted.width, height: wanted.height, fps: wanted.fps })
}

/// A rate below this makes a door slow: three frames that agree take the longer.
const SLOW: f32 = 15.0;

/// What to ask a device for that doesn't offer the usual size and rate: the size nearest to it in pixels of those that
/// are quick enough, then the rate nearest to the usual. `None` where it offers nothing that can be read.
pub fn nearest(offers: &Offers) -> Option<Choice> {
    let usual = CameraConfig::default();
    if let Some(choice) = choose(offers, &usual) {
        return Some(choice);
    }
    let candidates = offers.known.iter().flat_map(|offer| {
        let (width, height) = offer.sizes.nearest(usual.width, usual.height);
        let rates = match &offer.rates {
            Rates::These(rates) => rates.clone(),
            Rates::Between(min, max) => vec![usual.fps.clamp(*min, max.max(*min))],
            Rates::Unknown => vec![usual.fps],
        };
        let choice = move |fps| Choice { format: offer.format, width, height, fps };
        rates.into_iter().filter(|fps| *fps > 0.0).map(choice)
    });
    let area = |c: &Choice| (f64::from(c.width) * f64::from(c.height)).ln();
    let off = |c: &Choice| (area(c) - f64::from(usual.width * usual.height).ln()).abs();
    let rank = |c: &Choice| WantedFormat::ALL.iter().position(|f| *f == c.format);
    candidates.min_by(|a, b| {
        let slow = |c: &Choice| c.fps < SLOW;
        let rate = |c: &Choice| (c.fps - usual.fps).abs();
        let by_size = slow(a).cmp(&slow(b)).then(off(a).total_cmp(&off(b)));
        by_size.then(rate(a).total_cmp(&rate(b))).then(rank(a).cmp(&rank(b)))
    })
}

impl Sizes {
    /// The size of these that is nearest to the wanted one.
    fn nearest(&self, width: u32, height: u32) -> (u32, u32) {
        let side = |v: u32, min: u32, max: u32, step: u32| {
            let v = v.clamp(min, max.max(min));
            v - (v - min) % step.max(1)
        };
        match *self {
            Self::Exactly(w, h) => (w, h),
            Self::Steps { min, max, step } => (side(width, min.0, max.0, step.0), side(height, min.1, max.1, step.1)),
            Self::Unknown => (width, height),
        }
    }

    pub(super) fn has(&self, width: u32, height: u32) -> bool {
        let side =
            |v: u32, min: u32, max: u32, step: u32| (min..=max).contains(&v) && (v - min).is_multiple_of(step.max(1));
        match *self {
            Self::Exactly(w, h) => (w, h) == (width, height),
            Self::Steps { min, max, step } => side(width, min.0, max.0, step.0) && side(height, min.1, max.1, step.1),
            Self::Unknown => true,
        }
    }
}

impl Rates {
    fn has(&self, fps: f32) -> bool {
        let slack = fps * RATE_TOLERANCE;
        fps > 0.0
            && match self {
                Self::These(rates) => rates.iter().any(|rate| (rate - fps).abs() <= slack),
                Self::Between(min, max) => (min - slack..=max + slack).contains(&fps),
                Self::Unknown => fps.is_finite(),
            }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(w, h) => write!(f, "{w}x{h}"),
            Self::Steps { min, max, .. } => write!(f, "{}x{} to {}x{}", min.0, min.1, max.0, max.1),
            Self::Unknown => f.write_str("unknown sizes"),
        }
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::These(rates) => {
                for (i, rate) in rates.iter().enumerate() {
                    let sep = if i == 0 { "" } else { "/" };
                    write!(f, "{sep}{}", tenths(*rate))?;
                }
                Ok(())
            }
            Self::Between(min, max) => write!(f, "{} to {}", tenths(*min), tenths(*max)),
            Self::Unknown => f.write_str("unknown rates"),
        }
    }
}

/// `30`, `29.97`, `7.5`.
fn tenths(rate: f32) -> f32 {
    (rate * 100.0).round() / 100.0
}

/// What a device offers in place of what was wanted, for the person who corrects the configuration: at the wanted size
/// everything, else the sizes.
pub(super) fn instead(offers: &Offers, wanted: &CameraConfig) -> String {
    let mut parts = Vec::new();
    for offer in offers.known.iter().filter(|offer| offer.sizes.has(wanted.width, wanted.height)) {
        parts.push(format!("{} {}x{} at {}", offer.format.as_str(), wanted.width, wanted.height, offer.rates));
    }
    if parts.is_empty() {
        for format in WantedFormat::ALL {
            let sizes: Vec<_> =
                offers.known.iter().filter(|o| o.format == format).map(|o| o.sizes.to_string()).collect();
            if !sizes.is_empty() {
                parts.push(format!("{} {}", format.as_str(), sizes.join("/")));
            }
        }
    }
    if parts.is_empty() {
        return match offers.unknown.get(..MAX_UNKNOWN).unwrap_or(&offers.unknown) {
            [] => "nothing".to_owned(),
            some => format!("only formats that facelatch can't read ({})", some.join(" ")),
        };
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use WantedFormat::{Grey, Mjpeg, Nv12, Yuyv};

    fn offer(format: WantedFormat, w: u32, h: u32, rates: &[f32]) -> Offer {
        Offer { format, sizes: Sizes::Exactly(w, h), rates: Rates::These(rates.to_vec()) }
    }

    /// A USB camera as they are: raw is slow at large sizes, MJPEG is not.
    fn webcam() -> Offers {
        let known = vec![
            offer(Mjpeg, 640, 480, &[30.0, 15.0]),
            offer(Mjpeg, 1280, 720, &[30.0]),
            offer(Yuyv, 640, 480, &[29.97, 15.0]),
            offer(Yuyv, 1280, 720, &[7.5]),
        ];
        Offers { known, unknown: vec!["H264".to_owned()] }
    }

    fn wanted(width: u32, height: u32, fps: f32, format: Option<WantedFormat>) -> CameraConfig {
        CameraConfig { width, height, fps, format, ..CameraConfig::default() }
    }

    #[test]
    fn raw_is_preferred_and_jpeg_taken_where_raw_is_too_slow() {
        let format = |w, h, fps| choose(&webcam(), &wanted(w, h, fps, None)).map(|c| c.format);
        assert_eq!(format(640, 480, 30.0), Some(Yuyv));
        assert_eq!(format(1280, 720, 30.0), Some(Mjpeg));
        assert_eq!(format(1280, 720, 7.5), Some(Yuyv));
    }

    #[test]
    fn a_format_that_is_asked_for_is_the_only_one() {
        assert_eq!(choose(&webcam(), &wanted(640, 480, 30.0, Some(Mjpeg))).map(|c| c.format), Some(Mjpeg));
        assert_eq!(choose(&webcam(), &wanted(640, 480, 30.0, Some(Grey))), None);
    }

    #[test]
    fn a_size_or_rate_that_is_not_offered_is_refused_and_the_offers_are_listed() {
        assert_eq!(choose(&webcam(), &wanted(800, 600, 30.0, None)), None);
        assert_eq!(choose(&webcam(), &wanted(640, 480, 60.0, None)), None);
        let sizes = instead(&webcam(), &wanted(800, 600, 30.0, None));
        assert_eq!(sizes, "yuyv 640x480/1280x720, mjpeg 640x480/1280x720");
        let rates = instead(&webcam(), &wanted(640, 480, 60.0, None));
        assert_eq!(rates, "mjpeg 640x480 at 30/15, yuyv 640x480 at 29.97/15");
    }

    #[test]
    fn a_device_without_a_format_of_ours_says_so() {
        let offers = Offers { known: vec![], unknown: vec!["BA81".to_owned()] };
        let config = CameraConfig::default();
        assert_eq!(instead(&offers, &config), "only formats that facelatch can't read (BA81)");
        assert_eq!(instead(&Offers::default(), &config), "nothing");
    }

    #[test]
    fn a_stepwise_size_must_lie_on_a_step() {
        let sizes = Sizes::Steps { min: (16, 16), max: (1920, 1080), step: (16, 8) };
        assert!(sizes.has(640, 480) && sizes.has(16, 16));
        assert!(!sizes.has(650, 480) && !sizes.has(640, 1088) && !sizes.has(0, 16));
        let no_step = Sizes::Steps { min: (2, 2), max: (64, 64), step: (0, 0) };
        assert!(no_step.has(33, 17));
    }

    #[test]
    fn a_device_without_the_usual_size_is_asked_for_the_nearest_that_is_quick() {
        let pick = |known: Vec<Offer>| {
            nearest(&Offers { known, unknown: vec![] }).map(|c| (c.format, c.width, c.height, c.fps))
        };
        assert_eq!(nearest(&webcam()).map(|c| (c.format, c.width, c.fps)), Some((Yuyv, 640, 30.0)));
        let wide = vec![
            offer(Mjpeg, 1920, 1080, &[30.0]),
            offer(Mjpeg, 800, 600, &[60.0, 25.0]),
            offer(Yuyv, 800, 600, &[10.0]),
            offer(Grey, 160, 120, &[30.0]),
        ];
        assert_eq!(pick(wide), Some((Mjpeg, 800, 600, 25.0)), "raw is too slow there");
        assert_eq!(pick(vec![offer(Grey, 320, 240, &[9.0])]), Some((Grey, 320, 240, 9.0)), "the only one");
        let steps = Sizes::Steps { min: (16, 16), max: (600, 400), step: (16, 16) };
        let steps = vec![Offer { format: Nv12, sizes: steps, rates: Rates::Between(5.0, 20.0) }];
        assert_eq!(pick(steps), Some((Nv12, 592, 400, 20.0)));
        assert_eq!(pick(vec![]), None);
    }

    #[test]
    fn a_rate_that_is_no_positive_number_is_never_offered() {
        let offers = Offers {
            known: vec![Offer { format: Nv12, sizes: Sizes::Unknown, rates: Rates::Unknown }],
            unknown: vec![],
        };
        assert!(choose(&offers, &wanted(640, 480, 30.0, None)).is_some());
        for fps in [0.0, -30.0, f32::NAN, f32::INFINITY] {
            assert_eq!(choose(&offers, &wanted(640, 480, fps, None)), None, "{fps}");
        }
    }
}
