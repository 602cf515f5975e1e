//! Networks: which ones are known and what they expect ([`manifest`]), and how they run ([`network`]).
//!
//! Nothing here knows what a face is. A network that is malformed, of the wrong shape or full of NaN is an error that
//! names the model and the tensor, never a panic and never a number.

#![forbid(unsafe_code)]

mod admit;
pub mod builtin;
mod cores;
pub mod manifest;
pub mod network;
mod parts;
pub mod picture;
mod q8;
mod spec;
#[cfg(test)]
pub(crate) mod tiny;
mod unround;

pub use cores::{MAX_CORES, use_cores};
pub use manifest::{Decode, Kind, Manifest, ManifestError, ModelFile, ModelSpec};
pub use network::{InferError, Network, Outputs};
pub use picture::PictureNetwork;
