//! ST's VL53L5CX: pages of registers, a firmware that must have come whole before anything else works, the firmware's
//! memory behind a mailbox, and frames of distances.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use embedded_hal::i2c::{ErrorType, I2c, Operation};

use super::NoAnswer;
use crate::sim::lock;

const ZONES: usize = 64;
/// Bytes of ST's firmware, in three pages.
const FIRMWARE_BYTES: usize = 0x15000;
/// The register that selects a page, on every page.
const PAGE: u16 = 0x7FFF;
/// The firmware's mailbox on page 2: what it says, and where what is written ends.
const ANSWER_STATUS: u16 = 0x2C00;
const ANSWER: u16 = 0x2C04;
const MAILBOX_END: u16 = 0x2FFF;
/// The longest message that the bus takes, as a Tegra's before the 194 (max_write_len in i2c-tegra.c).
const MAX_MESSAGE_BYTES: usize = 4084;
/// In the firmware's memory: the size of a frame as the host wants it, and as the firmware makes it.
const WANTED_SIZE: u16 = 0xD968;
const MADE_SIZE: u16 = 0x5440;

/// A VL53L5CX with a scene of 64 distances before it.
#[derive(Debug, Clone)]
pub struct FakeVl53l5cx(Arc<Mutex<Chip>>);

#[derive(Debug)]
struct Chip {
    page: u8,
    pointer: u16,
    firmware_bytes: usize,
    longest_write: usize,
    memory: BTreeMap<u16, Vec<u8>>,
    answer: Vec<u8>,
    is_ranging: bool,
    count: u8,
    has_news: bool,
    frame: Vec<u8>,
    is_plugged: bool,
}

impl Default for FakeVl53l5cx {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Chip {
            page: 0,
            pointer: 0,
            firmware_bytes: 0,
            longest_write: 0,
            memory: BTreeMap::new(),
            answer: Vec::new(),
            is_ranging: false,
            count: 0,
            has_news: false,
            frame: Vec::new(),
            is_plugged: true,
        })))
    }
}

impl FakeVl53l5cx {
    /// Measures; `None` where a zone sees nothing. Nothing happens before it was told to range.
    pub fn measure(&self, millimetres: impl Fn(usize) -> Option<i16>) {
        let mut chip = lock(&self.0);
        let size = chip.frame_bytes();
        if !chip.is_ranging || size < 32 {
            return;
        }
        // It skips 255, which says that there is nothing.
        chip.count = if chip.count == 254 { 0 } else { chip.count + 1 };
        let mut frame = vec![0; 16];
        frame[8..10].copy_from_slice(&[0x12, chip.count]);
        let mut block = |index: u32, kind: u32, bytes: &[u8]| {
            frame.extend((index << 16 | (ZONES as u32) << 4 | kind).to_le_bytes());
            frame.extend_from_slice(bytes);
        };
        let seen: Vec<_> = (0..ZONES).map(millimetres).collect();
        block(0xDB84, 1, &seen.iter().map(|mm| u8::from(mm.is_some())).collect::<Vec<_>>());
        let quarters = seen.iter().flat_map(|mm| (mm.unwrap_or(0).saturating_mul(4)).to_le_bytes());
        block(0xDF44, 2, &quarters.collect::<Vec<_>>());
        block(0xE084, 1, &seen.iter().map(|mm| if mm.is_some() { 5 } else { 0 }).collect::<Vec<_>>());
        // The rest of the frame is one block that nobody asks for, and a footer with the frame's number.
        let rest = size.saturating_sub(frame.len() + 8);
        frame.extend(((rest as u32 & 0xFFF) << 4 | 0x0000_0001).to_le_bytes());
        frame.resize(size - 4, 0);
        frame.extend([0x12, chip.count, 0, 0]);
        swap_words(&mut frame);
        frame[..4].copy_from_slice(&[chip.count, 0x05, 0x05, 0x10]);
        (chip.frame, chip.has_news) = (frame, true);
    }

    /// The next frame consists of this byte.
    pub fn fill(&self, byte: u8) {
        let mut chip = lock(&self.0);
        let size = chip.frame_bytes();
        chip.frame = vec![byte; size];
        chip.count = chip.count.wrapping_add(1) % 255;
        let count = chip.count;
        chip.frame[..4].copy_from_slice(&[count, 0x05, 0x05, 0x10]);
        chip.has_news = true;
    }

    /// Bytes of the longest single message that it was sent, with the register's number.
    pub fn longest_write(&self) -> usize {
        lock(&self.0).longest_write
    }

    pub fn unplug(&self) {
        lock(&self.0).is_plugged = false;
    }
}

/// Words of four bytes go over the bus the other way round.
fn swap_words(bytes: &mut [u8]) {
    bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
}

impl Chip {
    fn has_firmware(&self) -> bool {
        self.firmware_bytes == FIRMWARE_BYTES
    }

    /// As the host has asked for it, bytes in the order of the bus.
    fn frame_bytes(&self) -> usize {
        self.memory.get(&WANTED_SIZE).map_or(0, |wire| usize::from(u16::from_be_bytes([wire[2], wire[3]])))
    }

    fn write(&mut self, register: u16, bytes: &[u8]) {
        match (self.page, register) {
            (_, PAGE) => self.page = bytes.first().copied().unwrap_or(0),
            (0x09..=0x0B, _) => self.firmware_bytes += bytes.len(),
            (2, _) if self.has_firmware() && usize::from(register) + bytes.len() == usize::from(MAILBOX_END) + 1 => {
                self.command(bytes);
            }
            _ => {}
        }
    }

    /// What stands in the mailbox: read memory, write memory, or begin to range.
    fn command(&mut self, bytes: &[u8]) {
        match bytes {
            [0x00, 0x03, 0x00, 0x00] => self.is_ranging = true,
            [high, low, size, size_low, 0, 0, 0, 0x0F, 0, 0x02, 0, 0x08] => {
                let (index, size) =
                    (u16::from_be_bytes([*high, *low]), usize::from(*size) << 4 | usize::from(*size_low) >> 4);
                let mut held = self.memory.get(&index).cloned().unwrap_or_default();
                held.resize(size, 0);
                if index == MADE_SIZE {
                    let made = self.frame_bytes() as u16;
                    held[8..12].copy_from_slice(&u32::from(made).to_be_bytes());
                }
                self.answer = [vec![0; 4], held, vec![0; 8]].concat();
            }
            [high, low, _, _, data @ ..] if data.len() >= 8 => {
                self.memory.insert(u16::from_be_bytes([*high, *low]), data[..data.len() - 8].to_vec());
            }
            _ => {}
        }
    }

    fn read(&mut self, register: u16, into: &mut [u8]) {
        let copy = |from: &[u8], into: &mut [u8]| {
            into.iter_mut().zip(from.iter().chain(std::iter::repeat(&0))).for_each(|(to, byte)| *to = *byte);
        };
        match (self.page, register) {
            // Device and revision, and that it has booted.
            (0, 0) => copy(&[0xF0, 0x02], into),
            (0, 1) => copy(&[0x02], into),
            (_, 0x06) => copy(&[0x01], into),
            (1, 0x21) => copy(&[0x10], into),
            // Ready; 2 for its factory calibration, which is asked for before the firmware has memory.
            (2, ANSWER_STATUS) => copy(&[0x02, 0x03, 0, 0], into),
            (2, ANSWER) => copy(&self.answer, into),
            (2, 0) if into.len() == 4 => match self.has_news {
                true => copy(&self.frame[..4], into),
                false => copy(&[0xFF, 0, 0, 0], into),
            },
            (2, 0) => {
                self.has_news = false;
                copy(&self.frame, into);
            }
            _ => into.fill(0),
        }
    }
}

impl ErrorType for FakeVl53l5cx {
    type Error = NoAnswer;
}

impl I2c for FakeVl53l5cx {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), NoAnswer> {
        let mut chip = lock(&self.0);
        if !chip.is_plugged || address != 0x29 {
            return Err(NoAnswer);
        }
        // Writes that follow each other are one.
        let mut written = Vec::new();
        for operation in operations {
            match operation {
                Operation::Write(bytes) => written.extend_from_slice(bytes),
                Operation::Read(into) => {
                    if let [high, low] = written[..] {
                        chip.pointer = u16::from_be_bytes([high, low]);
                    }
                    written.clear();
                    let register = chip.pointer;
                    chip.read(register, into);
                }
            }
        }
        if written.len() > MAX_MESSAGE_BYTES {
            return Err(NoAnswer);
        }
        chip.longest_write = chip.longest_write.max(written.len());
        if let [high, low, bytes @ ..] = &written[..] {
            chip.write(u16::from_be_bytes([*high, *low]), bytes);
        }
        Ok(())
    }
}
