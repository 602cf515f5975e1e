//! facelatch: a door that knows its people.
//!
//! > a frame → the face in it → aligned → encoded → matched → the gate weighs it with liveness → the ledger records →
//! > the strike releases
//!
//! # The parts, in that order
//!
//! * [`frame`]: borrowed pixels with the time they were taken; [`kernels`] turn them into others, fast.
//! * [`face`]: finds, aligns, judges and encodes a face, with networks that [`infer`] loads by their digest.
//! * [`gallery`]: the people, their sealed templates, the search among them, and what a score is worth.
//! * [`liveness`]: whether a living person stands there, from time series of camera and sensors.
//! * [`gate`]: the one place that decides. It knows names and scores, never pixels, and is told the time.
//! * [`ports`]: the traits that the core owns; [`hw`] implements them on a board, [`sim`] without one.
//! * [`daemon`]: the threads, and the one interpreter of the gate's actions; [`control`]: the socket into it.
//! * [`eval`]: how well it recognises, measured; [`config`] and [`cli`]: the outside.
//!
//! # What always holds
//!
//! * A condition to admit is written positively, so NaN, absence and error deny.
//! * An [`Encoding`](face::encoding::Encoding) is finite and of unit length, a [`Similarity`](units::Similarity) lies
//!   in [-1, 1]: by type.
//! * The outcome is in the ledger before the strike moves; the exit button waits for nothing.
//! * Every queue, loop, file and retry has a named maximum.
//! * `unsafe` lives in [`kernels`] and, where it can't be avoided, in [`hw`]; every other module forbids it.

#[macro_use]
mod named;

mod backoff;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod digest;
mod draft;
pub mod eval;
pub mod face;
pub mod frame;
pub mod gallery;
pub mod gate;
pub mod hw;
pub mod infer;
pub mod kernels;
pub mod liveness;
pub mod person;
pub mod ports;
pub mod sim;
mod testing;
pub mod time;
pub mod units;
