//! What is known of one network: its digest, its input, what its outputs mean, its licence.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;

use crate::digest::Digest;
use crate::kernels::panels::MAX_DIMS;

/// The widest input of any network, in pixels.
const MAX_INPUT_SIDE: usize = 2048;
/// What a network's mean and scale lie between; beyond, a picture's bytes would be lost in single precision or overflow
/// it.
const MAX_MEAN: f32 = 1e4;
const SCALES: RangeInclusive<f32> = 1e-6..=1e4;
/// The widest margin around an aligned face, in its pixels: as much again as the face.
const MAX_MARGIN: usize = 112;

const LICENCES: [(&str, &str); 3] = [
    ("Apache-2.0", include_str!("../../models/licences/Apache-2.0.txt")),
    ("MIT", include_str!("../../models/licences/MIT.txt")),
    ("non-commercial-research", include_str!("../../models/licences/non-commercial-research.txt")),
];

impl Digest {
    /// A file's with what a description says of input and outputs. Templates and tables lie under it: a test keeps it.
    pub(super) fn described(self, decode: &Decode, input: &InputSpec) -> Self {
        let InputSpec { width, height, resizable, order, mean, scale } = input;
        let description = format!("{decode:?} {width} {height} {resizable} {order:?} {mean:?} {scale:?}");
        Self::of(&[&self.0[..], description.as_bytes()].concat())
    }
}

/// Which channel a network's first plane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    Rgb,
    Bgr,
}

/// How pixels become a network's input: planes of (x − mean) · scale, x from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    pub width: usize,
    pub height: usize,
    /// Runs at any size whose sides are multiples of 32.
    #[serde(default)]
    pub resizable: bool,
    pub order: ChannelOrder,
    /// In the network's own channel order.
    pub mean: [f32; 3],
    pub scale: [f32; 3],
}

/// What a network's outputs mean.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decode {
    /// cls, obj, bbox, kps at strides 8, 16, 32, found by name; see `face::detect`.
    Yunet,
    /// Scores, distances and points at strides 8, 16, 32, two anchors a cell, found by position; see `face::detect`.
    Scrfd,
    /// One vector, not yet of unit length.
    Embedding { dims: usize },
    /// Three classes of which the second is that of live faces, on a crop that is so many times the face's box; see
    /// `liveness::antispoof`.
    AntiSpoof {
        crop: f32,
        /// Whether the output isn't yet probabilities.
        #[serde(default)]
        logits: bool,
    },
    /// A flag and so many points (x, y, z).
    Mesh { points: usize },
    /// x and y of a face's five points in pixels of the aligned face, of which the input, a square, shows so many
    /// pixels more on every side; see `face::landmarks`.
    Points { margin: usize },
    /// Log odds of a living person and of each kind of attack; see `liveness::head`. The input is no picture: width and
    /// height are the ticks of a window and 1.
    Liveness,
}

/// What a network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Detector,
    Encoder,
    AntiSpoof,
    Landmarks,
    Liveness,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detector => "detector",
            Self::Encoder => "encoder",
            Self::AntiSpoof => "anti-spoof",
            Self::Landmarks => "landmarks",
            Self::Liveness => "liveness",
        })
    }
}

impl Decode {
    pub fn kind(self) -> Kind {
        match self {
            Self::Yunet | Self::Scrfd => Kind::Detector,
            Self::Embedding { .. } => Kind::Encoder,
            Self::AntiSpoof { .. } => Kind::AntiSpoof,
            Self::Mesh { .. } | Self::Points { .. } => Kind::Landmarks,
            Self::Liveness => Kind::Liveness,
        }
    }
}

/// One known network.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Short, as configuration names it.
    pub name: String,
    /// The name of its file.
    pub file: String,
    /// Of its file. Of one that somebody describes, of that and what the description says of input and outputs: with
    /// another scale or order of channels it gives other encodings, and templates and tables are no longer its own.
    pub sha256: Digest,
    /// The name of its licence; see [`ModelSpec::licence_text`].
    pub licence: String,
    /// Where it comes from.
    pub source: String,
    #[serde(default)]
    pub notes: String,
    pub decode: Decode,
    pub input: InputSpec,
}

/// What a user writes beside a network of their own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SideSpec {
    pub name: String,
    #[serde(default)]
    pub licence: String,
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub notes: String,
    pub decode: Decode,
    pub input: InputSpec,
}

impl ModelSpec {
    pub fn kind(&self) -> Kind {
        self.decode.kind()
    }

    /// The licence in full where it is one of those that come with the manifest.
    pub fn licence_text(&self) -> Option<&'static str> {
        LICENCES.iter().find(|(name, _)| *name == self.licence).map(|(_, text)| *text)
    }

    /// What is wrong with the numbers, in words.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let input = &self.input;
        let sides = 1..=MAX_INPUT_SIDE;
        if !(sides.contains(&input.width) && sides.contains(&input.height)) {
            return Some("the input's width and height must be 1 to 2048");
        }
        let means = input.mean.iter().all(|mean| mean.abs() <= MAX_MEAN);
        if !(means && input.scale.iter().all(|scale| SCALES.contains(&scale.abs()))) {
            return Some("mean must be at most 10,000, and scale 0.000001 to 10,000, both with either sign");
        }
        let on_grid = input.width.is_multiple_of(32) && input.height.is_multiple_of(32);
        match self.decode {
            Decode::Yunet | Decode::Scrfd if !on_grid => Some("a detector's sides must be multiples of 32"),
            Decode::Embedding { .. } if (input.width, input.height) != (112, 112) => {
                Some("an encoder's input must be 112x112")
            }
            Decode::Points { .. } if input.width != input.height => Some("a landmark network's input must be a square"),
            Decode::AntiSpoof { crop, .. } if !(1.0..=16.0).contains(&crop) => {
                Some("the crop must be 1 to 16 times the face")
            }
            Decode::Points { margin } if margin > MAX_MARGIN => Some("the margin must be 0 to 112"),
            Decode::Embedding { dims } if !(1..=MAX_DIMS).contains(&dims) => Some("an embedding has 1 to 512 dims"),
            _ => None,
        }
    }
}
