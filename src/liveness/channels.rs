//! The channels that liveness judges by: what they are called, which sensor they need, what counts as a measurement, and
//! how the head is shown them.
//!
//! The table is that of models/liveness-channels.toml, which the recipes read; a test compares both.

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
    ObjectC,
    AmbientC,
    ObjectOverAmbientC,
    WarmFaceC,
    WarmContrastC,
    WarmSpreadC,
    WarmFill,
    WarmBeside,
    NirReflected,
    NirAmbient,
    AmbientLogLux,
    LuminanceOverLight,
    Touch,
}

/// How many there are.
pub const CHANNELS: usize = 38;
/// Rows that show the head values, in the order of the channels: [`Spec::inputs`] of each.
pub const VALUE_ROWS: usize = 53;

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
    /// Between samples further apart there is nothing to interpolate.
    pub hold: Duration,
    pub inputs: &'static [Input],
}

const fn absolute(offset: f32, scale: f32) -> Input {
    Input::Absolute { offset, scale }
}
const fn centred(scale: f32) -> Input {
    Input::Centred { scale }
}
const fn relative(scale: f32) -> Input {
    Input::Relative { scale }
}

const SPECS: [Spec; CHANNELS] = [
    Spec {
        channel: Channel::FaceSize,
        name: "face_size",
        source: Source::Camera,
        unit: "distance between the eyes, share of the frame's width",
        limits: [0.005, 0.6],
        hold: Duration::from_millis(250),
        inputs: &[absolute(0.1, 0.06), centred(0.005)],
    },
    Spec {
        channel: Channel::FaceX,
        name: "face_x",
        source: Source::Camera,
        unit: "middle of the eyes, share of the frame's width from its middle, to the right",
        limits: [-0.7, 0.7],
        hold: Duration::from_millis(250),
        inputs: &[absolute(0.0, 0.25), centred(0.02)],
    },
    Spec {
        channel: Channel::FaceY,
        name: "face_y",
        source: Source::Camera,
        unit: "middle of the eyes, share of the frame's width from its middle, downwards",
        limits: [-0.7, 0.7],
        hold: Duration::from_millis(250),
        inputs: &[absolute(0.0, 0.25), centred(0.02)],
    },
    Spec {
        channel: Channel::Yaw,
        name: "yaw",
        source: Source::Camera,
        unit: "face::quality's: 0 looks ahead, 1 has the nose over an eye",
        limits: [-2.0, 2.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(0.0, 0.4), centred(0.08)],
    },
    Spec {
        channel: Channel::Pitch,
        name: "pitch",
        source: Source::Camera,
        unit: "face::quality's: 0 looks ahead, 1 has the nose at the mouth's height",
        limits: [-2.0, 2.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(0.0, 0.3), centred(0.08)],
    },
    Spec {
        channel: Channel::RollDeg,
        name: "roll_deg",
        source: Source::Camera,
        unit: "degrees of the line through the eyes",
        limits: [-90.0, 90.0],
        hold: Duration::from_millis(250),
        inputs: &[centred(2.0)],
    },
    Spec {
        channel: Channel::ParallaxX,
        name: "parallax_x",
        source: Source::Camera,
        unit: "the nose's first coordinate in the affine frame of eyes and mouth: constant for a plane however it turns",
        limits: [-3.0, 3.0],
        hold: Duration::from_millis(250),
        inputs: &[centred(0.03)],
    },
    Spec {
        channel: Channel::ParallaxY,
        name: "parallax_y",
        source: Source::Camera,
        unit: "the nose's second coordinate in the affine frame of eyes and mouth",
        limits: [-3.0, 3.0],
        hold: Duration::from_millis(250),
        inputs: &[centred(0.03)],
    },
    Spec {
        channel: Channel::EyeOpenness,
        name: "eye_openness",
        source: Source::Camera,
        unit: "deviation of the luma around the eyes, share of that of the whole face",
        limits: [0.0, 5.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(1.0, 0.5), centred(0.1)],
    },
    Spec {
        channel: Channel::SkinR,
        name: "skin_r",
        source: Source::Camera,
        unit: "mean red of forehead and cheeks, 0 to 255",
        limits: [2.0, 253.0],
        hold: Duration::from_millis(250),
        inputs: &[relative(0.01)],
    },
    Spec {
        channel: Channel::SkinG,
        name: "skin_g",
        source: Source::Camera,
        unit: "mean green of forehead and cheeks, 0 to 255",
        limits: [2.0, 253.0],
        hold: Duration::from_millis(250),
        inputs: &[relative(0.01)],
    },
    Spec {
        channel: Channel::SkinB,
        name: "skin_b",
        source: Source::Camera,
        unit: "mean blue of forehead and cheeks, 0 to 255",
        limits: [2.0, 253.0],
        hold: Duration::from_millis(250),
        inputs: &[relative(0.01)],
    },
    Spec {
        channel: Channel::FaceMotion,
        name: "face_motion",
        source: Source::Camera,
        unit: "mean change of the aligned face's luma from the frame before, grey levels",
        limits: [0.0, 255.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(3.0, 2.0)],
    },
    Spec {
        channel: Channel::BackgroundMotion,
        name: "background_motion",
        source: Source::Camera,
        unit: "mean change of the luma outside the face from the frame before, grey levels",
        limits: [0.0, 255.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(3.0, 2.0)],
    },
    Spec {
        channel: Channel::Sharpness,
        name: "sharpness",
        source: Source::Camera,
        unit: "face::quality's: 0 is flat, 0.2 is sharp",
        limits: [0.0, 5.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(0.2, 0.1)],
    },
    Spec {
        channel: Channel::MoireDb,
        name: "moire_db",
        source: Source::Camera,
        unit: "the strongest peak of the face's fine texture over that texture's median, decibels",
        limits: [0.0, 90.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(15.0, 6.0)],
    },
    Spec {
        channel: Channel::Luminance,
        name: "luminance",
        source: Source::Camera,
        unit: "mean luma of the face, 0 to 255",
        limits: [2.0, 253.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(110.0, 50.0), centred(3.0)],
    },
    Spec {
        channel: Channel::Antispoof,
        name: "antispoof",
        source: Source::Antispoof,
        unit: "what a network for single frames gives a live face, 0 to 1",
        limits: [0.0, 1.0],
        hold: Duration::from_millis(500),
        inputs: &[absolute(0.5, 0.25)],
    },
    Spec {
        channel: Channel::DistanceMm,
        name: "distance_mm",
        source: Source::Distance,
        unit: "millimetres to what stands before the door",
        limits: [30.0, 4000.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(600.0, 250.0), centred(15.0)],
    },
    Spec {
        channel: Channel::EyeGapMm,
        name: "eye_gap_mm",
        source: Source::Distance,
        unit: "distance between the eyes that face_size means at distance_mm, millimetres",
        limits: [1.0, 1000.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(63.0, 15.0)],
    },
    Spec {
        channel: Channel::DepthFaceMm,
        name: "depth_face_mm",
        source: Source::Depth,
        unit: "median of the zones under the face, millimetres",
        limits: [30.0, 4000.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(600.0, 250.0), centred(15.0)],
    },
    Spec {
        channel: Channel::ReliefMm,
        name: "relief_mm",
        source: Source::Depth,
        unit: "how far the zones under the face reach from its nearest tenth to its furthest, tilt taken out, millimetres",
        limits: [0.0, 1000.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(30.0, 20.0)],
    },
    Spec {
        channel: Channel::PlanarityMm,
        name: "planarity_mm",
        source: Source::Depth,
        unit: "root mean square of what the best plane through the zones under the face leaves, millimetres",
        limits: [0.0, 1000.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(10.0, 7.0), centred(3.0)],
    },
    Spec {
        channel: Channel::StepMm,
        name: "step_mm",
        source: Source::Depth,
        unit: "median of the zones beside the face less that of the face, millimetres",
        limits: [-4000.0, 4000.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(600.0, 500.0)],
    },
    Spec {
        channel: Channel::DepthEyeGapMm,
        name: "depth_eye_gap_mm",
        source: Source::Depth,
        unit: "distance between the eyes that face_size means at depth_face_mm, millimetres",
        limits: [1.0, 1000.0],
        hold: Duration::from_millis(250),
        inputs: &[absolute(63.0, 15.0)],
    },
    Spec {
        channel: Channel::ObjectC,
        name: "object_c",
        source: Source::Thermometer,
        unit: "degrees Celsius of what stands before the door",
        limits: [-40.0, 125.0],
        hold: Duration::from_millis(500),
        inputs: &[absolute(30.0, 6.0), centred(0.5)],
    },
    Spec {
        channel: Channel::AmbientC,
        name: "ambient_c",
        source: Source::Thermometer,
        unit: "degrees Celsius of the thermometer itself",
        limits: [-40.0, 85.0],
        hold: Duration::from_millis(500),
        inputs: &[absolute(20.0, 12.0)],
    },
    Spec {
        channel: Channel::ObjectOverAmbientC,
        name: "object_over_ambient_c",
        source: Source::Thermometer,
        unit: "object_c less ambient_c, kelvins",
        limits: [-125.0, 165.0],
        hold: Duration::from_millis(500),
        inputs: &[absolute(8.0, 6.0)],
    },
    Spec {
        channel: Channel::WarmFaceC,
        name: "warm_face_c",
        source: Source::Thermal,
        unit: "median temperature of the pixels under the face, degrees Celsius",
        limits: [-40.0, 125.0],
        hold: Duration::from_millis(500),
        inputs: &[absolute(32.0, 4.0), centred(0.4)],
    },
    Spec {
        channel: Channel::WarmContrastC,
        name: "warm_contrast_c",
        source: Source::Thermal,
        unit: "warm_face_c less the median of the pixels around the face, kelvins",
        limits: [-165.0, 165.0],
        hold: Duration::from_millis(500),
        inputs: &[absolute(10.0, 6.0)],
    },
    Spec {
        channel: Channel::WarmSpreadC,
        name: "warm_spread_c",
        source: Source::Thermal,
        unit: "deviation of the temperature under the face, kelvins",
        limits: [0.0, 60.0],
        hold: Duration::from_millis(500),
        inputs: &[absolute(1.5, 1.0)],
    },
    Spec {
        channel: Channel::WarmFill,
        name: "warm_fill",
        source: Source::Thermal,
        unit: "share of the pixels under the face that are nearer to its temperature than to the surroundings'",
        limits: [0.0, 1.0],
        hold: Duration::from_millis(500),
        inputs: &[absolute(0.8, 0.2)],
    },
    Spec {
        channel: Channel::WarmBeside,
        name: "warm_beside",
        source: Source::Thermal,
        unit: "the same share of the pixels left and right of the face",
        limits: [0.0, 1.0],
        hold: Duration::from_millis(500),
        inputs: &[absolute(0.2, 0.2)],
    },
    Spec {
        channel: Channel::NirReflected,
        name: "nir_reflected",
        source: Source::Proximity,
        unit: "near infrared with the illuminator on less that with it off, share of full scale",
        limits: [-0.1, 0.98],
        hold: Duration::from_millis(250),
        inputs: &[absolute(0.3, 0.2), centred(0.02)],
    },
    Spec {
        channel: Channel::NirAmbient,
        name: "nir_ambient",
        source: Source::Proximity,
        unit: "near infrared with the illuminator off, share of full scale",
        limits: [0.0, 0.98],
        hold: Duration::from_millis(250),
        inputs: &[absolute(0.2, 0.2)],
    },
    Spec {
        channel: Channel::AmbientLogLux,
        name: "ambient_log_lux",
        source: Source::Light,
        unit: "decimal logarithm of the illuminance at the door in lux",
        limits: [-2.0, 5.3],
        hold: Duration::from_millis(500),
        inputs: &[absolute(2.0, 1.0), centred(0.05)],
    },
    Spec {
        channel: Channel::LuminanceOverLight,
        name: "luminance_over_light",
        source: Source::Light,
        unit: "decimal logarithm of luminance less ambient_log_lux",
        limits: [-6.0, 6.0],
        hold: Duration::from_millis(500),
        inputs: &[absolute(0.0, 1.0), centred(0.05)],
    },
    Spec {
        channel: Channel::Touch,
        name: "touch",
        source: Source::Touch,
        unit: "light through a finger, share of full scale",
        limits: [0.001, 0.999],
        hold: Duration::from_millis(120),
        inputs: &[relative(0.01)],
    },
];

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
