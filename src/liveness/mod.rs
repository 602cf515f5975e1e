//! Is somebody alive there, or a picture of somebody? Time series of what camera and sensors see, judged by a network
//! of one-dimensional convolutions.
//!
//! ```text
//! frame ─▶ camera ─┐                      every 200 ms
//!                  ├─▶ samples ─▶ series ────window────▶ head ─▶ verdict, with its reasons
//! sensors ─▶ fusion┘
//! ```
//!
//! A sample that is no measurement (stuck, late, saturated, out of range, NaN) never becomes a number: its place in the
//! window is masked. A window that lacks what the door requires is inconclusive, and never called an attack.

#![forbid(unsafe_code)]

pub mod antispoof;
pub mod camera;
pub mod channels;
pub mod fusion;
pub mod head;
pub mod health;
pub mod judge;
pub mod listen;
mod pos;
pub mod pulse;
pub mod series;
pub mod session;
pub mod tamper;
pub mod watch;

pub use channels::Channel;
pub use head::{Head, Thresholds};
pub use session::{Label, Origin, Session};

use serde::Deserialize;

use crate::ports::SensorKind;
use crate::time::Instant;

named! {
    /// What a channel needs: the door's camera, a network for single frames, or a sensor; as configuration, session
    /// files and reasons name it, in the order of the table of error rates.
    #[derive(PartialOrd, Ord, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Source {
        Camera = "camera",
        Antispoof = "antispoof",
        Distance = "distance",
        Depth = "depth",
        Thermometer = "thermometer",
        Thermal = "thermal",
        Proximity = "proximity",
        Light = "light",
        Touch = "touch",
    }
}

impl Source {
    /// What a sensor of this kind gives liveness; `None` for the accelerometer, which only guards the housing.
    pub const fn of(kind: SensorKind) -> Option<Self> {
        match kind {
            SensorKind::Distance => Some(Self::Distance),
            SensorKind::Depth => Some(Self::Depth),
            SensorKind::Thermometer => Some(Self::Thermometer),
            SensorKind::Thermal => Some(Self::Thermal),
            SensorKind::Proximity => Some(Self::Proximity),
            SensorKind::Light => Some(Self::Light),
            SensorKind::Touch => Some(Self::Touch),
            SensorKind::Acceleration => None,
        }
    }
}

/// Several sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SourceSet(u16);

impl SourceSet {
    pub const fn with(self, source: Source) -> Self {
        Self(self.0 | 1 << source as u16)
    }

    pub const fn without(self, source: Source) -> Self {
        Self(self.0 & !(1 << source as u16))
    }

    pub const fn contains(self, source: Source) -> bool {
        self.0 & 1 << source as u16 != 0
    }

    /// In the order of [`Source::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Source> {
        Source::ALL.into_iter().filter(move |source| self.contains(*source))
    }
}

impl FromIterator<Source> for SourceSet {
    fn from_iter<I: IntoIterator<Item = Source>>(sources: I) -> Self {
        sources.into_iter().fold(Self::default(), Self::with)
    }
}

impl std::fmt::Display for SourceSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, source) in self.iter().enumerate() {
            let before = if i == 0 { "" } else { ", " };
            write!(f, "{before}{}", source.as_str())?;
        }
        Ok(())
    }
}

/// One value of one channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub at: Instant,
    pub channel: Channel,
    /// In the channel's unit; what lies outside its limits (NaN does) is dropped by the series.
    pub value: f32,
}

/// Where the face is, for sensors that look in the same direction as the camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    pub at: Instant,
    /// The middle of the eyes from the frame's middle, to the right and downwards, shares of the frame's width.
    pub x: f32,
    pub y: f32,
    /// Distance between the eyes, share of the frame's width.
    pub eye_gap: f32,
}

#[cfg(test)]
mod tests;
