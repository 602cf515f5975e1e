//! Damages bytes the way accidents and attackers do, the same way for the same random numbers.

use facelatch::sim::rng::Rng;

/// No input grows beyond this.
const MAX_BYTES: usize = 256 << 10;
/// Changes in one go, at most.
const MAX_CHANGES: usize = 4;
/// The longest piece that is moved about or repeated.
const MAX_PIECE: usize = 64;
/// How often a piece is repeated at most.
const MAX_REPEATS: usize = 300;

/// Where code that counts goes wrong: the ends of each width, and of a frame's sides.
const INTERESTING: [u64; 18] = [
    0,
    1,
    7,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x1fff,
    0x2000,
    0x2001,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];
/// The same for numbers in texts.
const INTERESTING_TEXTS: [&str; 14] = [
    "0",
    "-0",
    "-1",
    "1",
    "255",
    "256",
    "8192",
    "65536",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
    "1e999",
    "nan",
    "-inf",
];

/// One of `seeds`, changed a few times; empty where there are none.
pub fn mutate(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds.get(rng.below(seeds.len())).cloned().unwrap_or_default();
    for _ in 0..=rng.below(MAX_CHANGES) {
        change(rng, seeds, &mut bytes);
        bytes.truncate(MAX_BYTES);
    }
    bytes
}

fn change(rng: &mut Rng, seeds: &[Vec<u8>], bytes: &mut Vec<u8>) {
    let at = rng.below(bytes.len());
    match rng.below(10) {
        0 | 1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << rng.below(8)),
        2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.below(256) as u8),
        3 => write_number(rng, bytes, at),
        4 => write_number_as_text(rng, bytes, at),
        5 => bytes.truncate(at),
        6 => drop(bytes.drain(piece(rng, bytes.len()))),
        7 => {
            let other = seeds.get(rng.below(seeds.len())).map_or(&[][..], Vec::as_slice);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[rng.below(other.len() + 1)..]);
        }
        8 => {
            let copied = bytes[piece(rng, bytes.len())].to_vec();
            bytes.splice(at..at, copied);
        }
        _ => {
            let piece = piece(rng, bytes.len());
            let repeated = bytes[piece.clone()].repeat(rng.below(MAX_REPEATS));
            bytes.splice(piece.end..piece.end, repeated);
        }
    }
}

fn piece(rng: &mut Rng, of: usize) -> std::ops::Range<usize> {
    let from = rng.below(of + 1);
    from..from + rng.below((of - from).min(MAX_PIECE) + 1)
}

/// A number of 1, 2, 4 or 8 bytes over what is there, either end first.
fn write_number(rng: &mut Rng, bytes: &mut [u8], at: usize) {
    let number = INTERESTING[rng.below(INTERESTING.len())].to_le_bytes();
    let mut number = number[..1 << rng.below(4)].to_vec();
    if rng.chance(0.5) {
        number.reverse();
    }
    bytes.iter_mut().skip(at).zip(number).for_each(|(byte, new)| *byte = new);
}

/// Another number in the place of the next one in a text.
fn write_number_as_text(rng: &mut Rng, bytes: &mut Vec<u8>, at: usize) {
    let Some(from) = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|skip| at + skip) else { return };
    let digits = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.splice(from..from + digits, INTERESTING_TEXTS[rng.below(INTERESTING_TEXTS.len())].bytes());
}
