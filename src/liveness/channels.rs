//! The channels that liveness judges by: what they are called, which sensor they need, what counts as a measurement,
//! and how the head is shown them.
//!
//! The table is that of models/liveness-channels.toml, which the recipes read; a test compares both.

mod table;

use table::SPECS;

use super::Source;
use crate::time::Duration;

/// A channel; [`Channel::spec`] has its unit and range. The order is the head's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Channel {
    FaceSize,
    FaceX,
    FaceY,
    Yaw,
    Pitch,
    RollDeg,
    ParallaxX,
    ParallaxY,
    EyeOpenness,
    SkinR,
    SkinG,
    SkinB,
    FaceMotion,
    BackgroundMotion,
    Sharpness,
    MoireDb,
    Luminance,
    Antispoof,
    DistanceMm,
    EyeGapMm,
    DepthFaceMm,
    ReliefMm,
    PlanarityMm,
    StepMm,
    DepthEyeGapMm,
    ChestMm,
    ObjectC,
    AmbientC,
    ObjectOverAmbientC,
    WarmFaceC,
    WarmContrastC,
    WarmSpreadC,
    WarmFill,
    WarmBeside,
    WarmPeakC,
    WarmEyesC,
    WarmNoseC,
    WarmBrowC,
    WarmChinC,
    WarmRimC,
    WarmX,
    WarmY,
    NirReflected,
    NirAmbient,
    AmbientLogLux,
    LuminanceOverLight,
    Touch,
}

/// How many there are.
pub const CHANNELS: usize = 47;
/// Rows that show the head values, in the order of the channels: [`Spec::inputs`] of each.
pub const VALUE_ROWS: usize = 66;

/// How a channel's values are shown to the head, each clamped to ±4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input {
    /// (x − offset) / scale.
    Absolute { offset: f32, scale: f32 },
    /// (x − mean of the window) / scale.
    Centred { scale: f32 },
    /// (x / mean of the window − 1) / scale.
    Relative { scale: f32 },
}

/// What is fixed about a channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spec {
    pub channel: Channel,
    /// Column in a session file, and the name in reasons.
    pub name: &'static str,
    /// The sensor that it needs; what is made of the picture and another sensor's reading needs that sensor.
    pub source: Source,
    pub unit: &'static str,
    /// Least and greatest value that is a measurement; NaN is none.
    pub limits: [f32; 2],
    pub inputs: &'static [Input],
}

impl Channel {
    /// Every channel, in the head's order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + Clone {
        SPECS.iter().map(|spec| spec.channel)
    }

    pub fn spec(self) -> &'static Spec {
        &SPECS[self.index()]
    }

    /// Its place in the table, below [`CHANNELS`].
    pub const fn index(self) -> usize {
        self as usize
    }

    pub fn name(self) -> &'static str {
        self.spec().name
    }

    pub fn source(self) -> Source {
        self.spec().source
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|channel| channel.name() == name)
    }
}

impl Source {
    /// Between samples of its channels that are further apart there is nothing to interpolate.
    pub const fn hold(self) -> Duration {
        Duration::from_millis(match self {
            Self::Camera | Self::Distance | Self::Depth | Self::Proximity => 250,
            Self::Touch => 120,
            Self::Antispoof | Self::Thermometer | Self::Thermal | Self::Light => 500,
        })
    }
}
