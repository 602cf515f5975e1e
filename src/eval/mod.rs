//! Measuring: LFW's protocol ([`pairs`], [`protocol`]), its curve ([`det`]), and the table from score to false match
//! rate.
//!
//! [`run::evaluate`] is `facelatch eval`, [`gallery::evaluate`] the same with `--gallery`, and [`calibrate::measure`]
//! is `facelatch calibrate`. [`liveness`] and [`plot`] are `facelatch liveness eval` and `plot`.

#![forbid(unsafe_code)]

pub mod calibrate;
pub mod comparisons;
pub mod det;
pub mod dump;
pub mod encode;
pub mod gallery;
pub mod liveness;
pub mod pairs;
pub mod plot;
pub mod protocol;
pub mod run;
mod spelt;

pub use encode::EvalError;
pub use pairs::{Pair, Pairs, PairsError};
pub use spelt::{Spelt, spelt};
