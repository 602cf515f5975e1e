//! Devices that misbehave on a schedule: what a door must survive, to be tried without waiting for it.

mod camera;
mod others;
mod schedule;

use std::sync::Arc;

use super::rng::Rng;
use crate::ports::Clock;

pub use camera::CameraFault;
pub use others::{InputsFault, LedgerFault, SensorFault, StrikeFault};
pub use schedule::{Episode, Schedule};

/// A kind of trouble, and what a device in such trouble has to remember.
pub trait Trouble: Copy {
    type Memory: Default + Send;
}

/// A device `D` that works until its schedule says otherwise. It is a camera, a ledger, a strike, a sensor or inputs,
/// as `D` and the kind of trouble `F` are.
pub struct FaultInjector<D, F: Trouble> {
    device: D,
    clock: Arc<dyn Clock>,
    schedule: Schedule<F>,
    rng: Rng,
    memory: F::Memory,
}

impl<D, F: Trouble> FaultInjector<D, F> {
    /// `seed` decides how each fault looks; the schedule, when it comes.
    pub fn new(device: D, clock: Arc<dyn Clock>, schedule: Schedule<F>, seed: u64) -> Self {
        Self { device, clock, schedule, rng: Rng::new(seed), memory: F::Memory::default() }
    }

    /// The device itself.
    pub fn device(&self) -> &D {
        &self.device
    }

    fn present_fault(&mut self) -> Option<F> {
        self.schedule.at(self.clock.now().mono)
    }
}
