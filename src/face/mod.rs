//! Pixels in, encodings out: photo or frame → [`detect`] → [`landmarks`] → [`align`] → [`quality`] → [`encode`].
//!
//! [`Faces`] is the whole chain.

#![forbid(unsafe_code)]

pub mod align;
pub mod convert;
mod decode;
pub mod detect;
pub mod encode;
pub mod encoding;
pub mod geometry;
pub mod jpeg;
pub mod landmarks;
pub mod occlusion;
pub mod photo;
pub mod pipeline;
pub mod quality;

pub use align::AlignedFace;
pub use detect::{Canvas, Detection, Detections, Detector};
pub use encode::Encoder;
pub use encoding::Encoding;
pub use geometry::{Landmarks, Rect};
pub use jpeg::MjpegDecoder;
pub use pipeline::{Faces, ModelChoice, Portrait, Role};
pub use quality::{Limits, Quality};
