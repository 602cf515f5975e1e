//! The ports without hardware: a door that lives in memory, for `demo`, for tests and for whoever tries a
//! configuration.
//!
//! Everything here behaves: a replayed camera has a rate, a recorded strike has a history, faults come and go on a
//! seeded schedule. Each part is given a [`Clock`](crate::ports::Clock) and passes time through it, so that with a
//! [`SimClock`](clock::SimClock) a day takes a second and is the same every time.

#![forbid(unsafe_code)]

pub mod clock;
pub mod fault;
pub mod i2c;
pub mod inputs;
pub mod ledger;
mod metronome;
pub mod perception;
pub mod replay;
pub mod rng;
pub mod sensors;
pub mod strike;
pub mod synthetic;
pub mod visitors;

/// What a lock guards here is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
