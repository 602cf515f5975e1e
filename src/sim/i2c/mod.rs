//! I2C devices without hardware: registers that answer as those of the chips do.

mod amg8833;
mod mlx90640;
mod vl53l5cx;

use std::fmt;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{Error, ErrorKind, NoAcknowledgeSource};

pub use amg8833::FakeAmg8833;
pub use mlx90640::FakeMlx90640;
pub use vl53l5cx::FakeVl53l5cx;

/// Nobody answers at that address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody answers at that address (simulated)")
    }
}

impl Error for NoAnswer {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address)
    }
}

/// A delay that takes no time.
#[derive(Debug, Clone, Copy)]
pub struct NoDelay;

impl DelayNs for NoDelay {
    fn delay_ns(&mut self, _ns: u32) {}
}
