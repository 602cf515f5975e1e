//! Melexis' MLX90640, with a calibration whose corrections are all nought, so that its equations (data sheet, 11.2) can
//! be solved for the raw number that a temperature makes.

use std::sync::{Arc, Mutex};

use embedded_hal::i2c::{ErrorType, I2c, Operation};

use super::NoAnswer;
use crate::sim::lock;
use crate::time::{Duration, Instant};

const COLUMNS: usize = 32;
const PIXELS: usize = 768;
const RAM: u16 = 0x0400;
const RAM_WORDS: usize = 0x0340;
const EEPROM: u16 = 0x2400;
const EEPROM_WORDS: usize = 0x0340;
const STATUS: u16 = 0x8000;
const CONTROL: u16 = 0x800D;
/// Chess pattern, 18 bits, 2 Hz (data sheet, table of 0x800D).
const CONTROL_AT_START: u16 = 0x1901;
/// Sensitivity of every pixel: 12000 / 2³⁷.
const ALPHA_REFERENCE: u16 = 12_000;
const ALPHA: f64 = 12_000.0 / 137_438_953_472.0;
/// Of the chip itself, degrees Celsius, and what is reflected, 8 K less (data sheet, 11.2.2.9).
const CHIP_C: f64 = 25.0;
const REFLECTED_C: f64 = 17.0;
const KELVIN: f64 = 273.15;

/// Bits that a byte takes on the bus, with the one that acknowledges it.
const BITS_A_BYTE: u64 = 9;
const NANOS: u64 = 1_000_000_000;

/// An MLX90640 that measures one half of its pixels each time it is told to, or both in turn at its own rate.
#[derive(Debug, Clone)]
pub struct FakeMlx90640(Arc<Mutex<Chip>>);

#[derive(Debug)]
struct Chip {
    eeprom: [u16; EEPROM_WORDS],
    ram: [u16; RAM_WORDS],
    status: u16,
    control: u16,
    pointer: u16,
    is_plugged: bool,
    time: Instant,
    /// Where it measures by itself.
    runs: Option<Runs>,
}

/// What goes on while it measures by itself.
#[derive(Debug, Clone, Copy)]
struct Runs {
    bus_hz: u64,
    /// What every pixel sees.
    celsius: f32,
    next: Instant,
    half: u16,
}

impl Default for FakeMlx90640 {
    fn default() -> Self {
        let mut chip = Chip {
            eeprom: [0; EEPROM_WORDS],
            ram: [0; RAM_WORDS],
            status: 0,
            control: CONTROL_AT_START,
            pointer: 0,
            is_plugged: true,
            time: Instant::BOOT,
            runs: None,
        };
        let mut set = |address: u16, word: u16| chip.eeprom[usize::from(address - EEPROM)] = word;
        // Its address; α of PTAT 9; sensitivity and its scale of 2³⁷.
        set(0x240F, 0xBE33);
        set(0x2410, 0x4000);
        set(0x2420, 0x7000);
        set(0x2421, ALPHA_REFERENCE);
        // Gain, PTAT at 25 °C and its slopes (KvPTAT 0, KtPTAT 42), supply (Kvdd −3168, Vdd25 −13056: the data sheet's
        // example).
        set(0x2430, 6383);
        set(0x2431, 12_273);
        set(0x2432, 0x0150);
        set(0x2433, 0x9D68);
        // 18 bits.
        set(0x2438, 0x2363);
        // Sensitivity of the compensation pixels, which the gradient of nought makes nothing of; emissivity 1; ranges
        // of heat.
        set(0x2439, 0x0440);
        set(0x243F, 0x2889);
        // Nothing is left of a pixel's word: no offset, the sensitivity above, no slope. 0 would be a dead pixel.
        for pixel in 0..PIXELS as u16 {
            set(0x2440 + pixel, 0x0400);
        }
        let mut ram = |address: u16, word: i16| chip.ram[usize::from(address - RAM)] = word as u16;
        // VBE and PTAT so that 2¹⁸ PTAT / (9 PTAT + VBE) is PTAT25: the chip has 25 °C.
        ram(0x0700, 18_300);
        ram(0x0720, 1480);
        ram(0x070A, 6383);
        ram(0x072A, -13_056);
        Self(Arc::new(Mutex::new(chip)))
    }
}

impl FakeMlx90640 {
    /// Measures the pixels of one half (0 or 1, in the chess pattern), each of which sees this temperature with this
    /// emissivity.
    pub fn measure(&self, half: u16, emissivity: f64, celsius: impl Fn(usize) -> f32) {
        lock(&self.0).measure(half, emissivity, celsius);
    }

    /// From now on it measures by itself, each half in turn at the rate that it was told, and sees one temperature with
    /// skin's emissivity. Time goes on by what is said on a bus of so many hertz, and as it is passed.
    pub fn run(&self, bus_hz: u64, celsius: f32) {
        let mut chip = lock(&self.0);
        let next = chip.time + chip.period();
        chip.runs = Some(Runs { bus_hz, celsius, next, half: 0 });
    }

    pub fn pass(&self, time: Duration) {
        lock(&self.0).pass(time);
    }

    pub fn now(&self) -> Instant {
        lock(&self.0).time
    }

    /// Every word of calibration and measurement reads this, and a measurement is there.
    pub fn fill(&self, word: u16) {
        let mut chip = lock(&self.0);
        chip.eeprom.fill(word);
        chip.ram.fill(word);
        chip.status = 0x0008;
    }

    /// What is left of a pixel's calibration: 0 of one that has failed, the lowest bit of one out of calibration (data
    /// sheet, table of the EEPROM).
    pub fn calibrate(&self, pixel: u16, word: u16) {
        lock(&self.0).eeprom[usize::from(0x2440 + pixel - EEPROM)] = word;
    }

    /// α of PTAT, in quarters above 8.
    pub fn alpha_ptat(&self, quarters: u16) {
        lock(&self.0).eeprom[usize::from(0x2410 - EEPROM)] = quarters << 12;
    }

    /// The rate that it was told, as in its control register: 0 is 0.5 Hz, 7 is 64 Hz.
    pub fn rate(&self) -> u16 {
        lock(&self.0).rate()
    }

    /// Its supply was away for a moment: it measures on, as it does when it is switched on.
    pub fn restart(&self) {
        let mut chip = lock(&self.0);
        (chip.control, chip.status) = (CONTROL_AT_START, 0);
    }

    pub fn unplug(&self) {
        lock(&self.0).is_plugged = false;
    }
}

impl Chip {
    fn measure(&mut self, half: u16, emissivity: f64, celsius: impl Fn(usize) -> f32) {
        let fourth = |c: f64| (c + KELVIN).powi(4);
        let own = fourth(REFLECTED_C) - (fourth(REFLECTED_C) - fourth(CHIP_C)) / emissivity;
        for pixel in 0..PIXELS {
            if (pixel / COLUMNS + pixel % COLUMNS) % 2 == usize::from(half) {
                // One count a pixel's word of 0x0400 adds to the reference, which is 1 in 12000.
                let counts = ALPHA * (fourth(f64::from(celsius(pixel))) - own) * emissivity;
                self.ram[pixel] = (counts.round() as i16) as u16;
            }
        }
        self.status = 0x0008 | half;
    }

    /// From one half to the next: 2 s at the slowest of its rates, each of which is twice the one before.
    fn period(&self) -> Duration {
        Duration::from_secs(2) / (1 << self.rate())
    }

    fn rate(&self) -> u16 {
        self.control >> 7 & 0x7
    }

    fn pass(&mut self, time: Duration) {
        self.time = self.time + time;
        while let Some(runs) = self.runs.filter(|runs| runs.next <= self.time) {
            self.measure(runs.half, 0.98, |_| runs.celsius);
            self.runs = Some(Runs { next: runs.next + self.period(), half: 1 - runs.half, ..runs });
        }
    }

    /// So many bytes and the address before them have gone over the bus.
    fn transfer(&mut self, bytes: usize) {
        if let Some(Runs { bus_hz, .. }) = self.runs {
            self.pass(Duration::from_nanos((bytes as u64 + 1) * BITS_A_BYTE * NANOS / bus_hz));
        }
    }

    fn word(&self, address: u16) -> u16 {
        let within = |base: u16, words: &[u16]| words.get(usize::from(address.checked_sub(base)?)).copied();
        match address {
            STATUS => self.status,
            CONTROL => self.control,
            EEPROM.. => within(EEPROM, &self.eeprom).unwrap_or(0),
            _ => within(RAM, &self.ram).unwrap_or(0),
        }
    }
}

impl ErrorType for FakeMlx90640 {
    type Error = NoAnswer;
}

impl I2c for FakeMlx90640 {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), NoAnswer> {
        let mut chip = lock(&self.0);
        if !chip.is_plugged || address != 0x33 {
            return Err(NoAnswer);
        }
        for operation in operations {
            match operation {
                Operation::Write(bytes) => {
                    chip.transfer(bytes.len());
                    let words: Vec<_> = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
                    chip.pointer = words.first().copied().unwrap_or(0);
                    match (chip.pointer, words.get(1)) {
                        // The half can't be written; the flag of new data can be cleared and not set.
                        (STATUS, Some(word)) => chip.status &= word | 0x0007,
                        (CONTROL, Some(word)) => chip.control = *word,
                        _ => {}
                    }
                }
                Operation::Read(into) => {
                    chip.transfer(into.len());
                    for pair in into.chunks_mut(2) {
                        let word = chip.word(chip.pointer).to_be_bytes();
                        pair.copy_from_slice(&word[..pair.len()]);
                        chip.pointer = chip.pointer.wrapping_add(1);
                    }
                }
            }
        }
        Ok(())
    }
}
