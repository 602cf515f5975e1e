//! Panasonic's Grid-EYE.

use std::sync::{Arc, Mutex};

use embedded_hal::i2c::{ErrorType, I2c, Operation};

use super::NoAnswer;
use crate::sim::lock;

/// An AMG8833: 64 temperatures that it measures whenever they are read.
#[derive(Debug, Clone, Default)]
pub struct FakeAmg8833(Arc<Mutex<Amg>>);

#[derive(Debug)]
struct Amg {
    registers: [u8; 256],
    pointer: u8,
    is_plugged: bool,
}

impl Default for Amg {
    fn default() -> Self {
        // Power control says sleep until it is told otherwise.
        let mut registers = [0; 256];
        registers[0] = 0x10;
        Self { registers, pointer: 0, is_plugged: true }
    }
}

impl FakeAmg8833 {
    /// The temperature of each of the 64 pixels, to a quarter of a degree.
    pub fn set_celsius(&self, of: impl Fn(usize) -> f32) {
        let mut amg = lock(&self.0);
        for (i, pair) in amg.registers[0x80..].as_chunks_mut::<2>().0.iter_mut().enumerate() {
            // Twelve bits of two's complement; the four above them are not used.
            *pair = (((of(i) * 4.0).round() as i16) & 0x0FFF).to_le_bytes();
        }
    }

    /// Every temperature register reads this byte.
    pub fn fill(&self, byte: u8) {
        lock(&self.0).registers[0x80..].fill(byte);
    }

    /// A temperature was beyond what the chip can show: it says so until that is cleared.
    pub fn overflow(&self) {
        lock(&self.0).registers[4] |= 0x04;
    }

    pub fn unplug(&self) {
        lock(&self.0).is_plugged = false;
    }
}

impl ErrorType for FakeAmg8833 {
    type Error = NoAnswer;
}

impl I2c for FakeAmg8833 {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), NoAnswer> {
        let mut amg = lock(&self.0);
        if !amg.is_plugged || address != 0x69 {
            return Err(NoAnswer);
        }
        for operation in operations {
            match operation {
                Operation::Write(bytes) => {
                    let Some((register, values)) = bytes.split_first() else { continue };
                    amg.pointer = *register;
                    for value in values {
                        let at = usize::from(amg.pointer);
                        match (at, value) {
                            // A reset clears the flags.
                            (1, 0x30 | 0x3F) => amg.registers[4] = 0,
                            // So does the register beside, those that are written.
                            (5, flags) => amg.registers[4] &= !flags,
                            // Temperatures can't be written.
                            (0x80.., _) => {}
                            _ => amg.registers[at] = *value,
                        }
                        amg.pointer = amg.pointer.wrapping_add(1);
                    }
                }
                Operation::Read(into) => {
                    let is_asleep = amg.registers[0] == 0x10;
                    for byte in into.iter_mut() {
                        *byte = if is_asleep { 0 } else { amg.registers[usize::from(amg.pointer)] };
                        amg.pointer = amg.pointer.wrapping_add(1);
                    }
                }
            }
        }
        Ok(())
    }
}
