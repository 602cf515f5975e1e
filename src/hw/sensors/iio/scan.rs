//! How the numbers of one moment lie in a buffer of IIO (Documentation/iio/iio_devbuf.rst of the kernel).

/// Most channels of a scan.
pub const MAX_ELEMENTS: usize = 32;
/// Most bytes of one number.
const MAX_STORAGE_BYTES: u32 = 16;

/// How one number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    is_big_endian: bool,
    is_signed: bool,
    bits: u32,
    storage_bytes: usize,
    repeat: usize,
    shift: u32,
}

impl Element {
    /// From `[be|le]:[s|u]bits/storagebits[Xrepeat][>>shift]`; `None` where it is something else, or more than 64 bits.
    pub fn parse(text: &str) -> Option<Self> {
        let (endian, rest) = text.trim().split_once(':')?;
        let is_big_endian = match endian {
            "be" => true,
            "le" => false,
            _ => return None,
        };
        let (sign, rest) = rest.split_at_checked(1)?;
        let is_signed = match sign {
            "s" => true,
            "u" => false,
            _ => return None,
        };
        let (rest, shift) = rest.split_once(">>").unwrap_or((rest, "0"));
        let (rest, repeat) = rest.split_once('X').unwrap_or((rest, "1"));
        let (bits, storage) = rest.split_once('/')?;
        let (bits, storage, shift) = (bits.parse().ok()?, storage.parse::<u32>().ok()?, shift.parse().ok()?);
        let repeat: usize = repeat.parse().ok()?;
        let is_sound = (1..=64).contains(&bits)
            && storage.is_power_of_two()
            && (8..=8 * MAX_STORAGE_BYTES).contains(&storage)
            && shift < 64
            && bits + shift <= storage
            && (1..=16).contains(&repeat);
        let storage_bytes = (storage / 8) as usize;
        is_sound.then_some(Self { is_big_endian, is_signed, bits, storage_bytes, repeat, shift })
    }

    /// The largest number that it can store: 2ⁿ − 1 of n bits, without a sign.
    pub fn full_scale(&self) -> f64 {
        2f64.powi(self.bits as i32 - i32::from(self.is_signed)) - 1.0
    }

    fn size(&self) -> usize {
        self.storage_bytes * self.repeat
    }

    /// The first of its numbers; 0 where `bytes` are too few, which a [`Scan`] rules out.
    fn decode(&self, bytes: &[u8]) -> i128 {
        let bytes = bytes.get(..self.storage_bytes).unwrap_or_default();
        let digits = |word: u128, byte: &u8| word << 8 | u128::from(*byte);
        let word = match self.is_big_endian {
            true => bytes.iter().fold(0, digits),
            false => bytes.iter().rev().fold(0, digits),
        };
        let unused = 128 - self.bits;
        let word = (word >> self.shift) << unused;
        if self.is_signed { (word as i128) >> unused } else { (word >> unused) as i128 }
    }
}

/// Where each channel lies in a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Offset and form, in the order in which they were given.
    places: Vec<(usize, Element)>,
    size: usize,
}

impl Scan {
    /// `elements` with their index, in any order: they lie by index, each aligned to its own size, and the whole to the
    /// largest. `None` where there are none or too many.
    pub fn new(elements: &[(u32, Element)]) -> Option<Self> {
        if elements.is_empty() || elements.len() > MAX_ELEMENTS {
            return None;
        }
        let mut order: Vec<usize> = (0..elements.len()).collect();
        order.sort_by_key(|i| elements[*i].0);
        let mut places: Vec<_> = elements.iter().map(|(_, element)| (0, *element)).collect();
        let (mut end, mut largest) = (0usize, 1);
        for i in order {
            let size = elements[i].1.size();
            let start = end.next_multiple_of(size);
            places[i].0 = start;
            end = start + size;
            largest = largest.max(size);
        }
        Some(Self { places, size: end.next_multiple_of(largest) })
    }

    /// Bytes from one scan to the next.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The number of the `i`th element in one scan; `None` where there is no such element or the scan is cut off.
    pub fn number(&self, i: usize, scan: &[u8]) -> Option<i128> {
        let (offset, element) = self.places.get(i)?;
        scan.get(*offset..offset + element.size()).map(|bytes| element.decode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(text: &str) -> Element {
        Element::parse(text).unwrap()
    }

    #[test]
    fn the_forms_that_drivers_give_are_read_and_others_are_not() {
        let ppg = element("be:u18/32>>8");
        assert_eq!((ppg.bits, ppg.storage_bytes, ppg.shift, ppg.full_scale()), (18, 4, 8, 262_143.0));
        assert_eq!(element("le:s64/64").full_scale(), 9_223_372_036_854_775_807.0);
        assert_eq!(element("le:s16/16X4>>0\n").repeat, 4);
        for text in [
            "",
            "be",
            "be:",
            "xe:u8/8",
            "be:x8/8",
            "be:u0/8",
            "be:u65/64",
            "be:u8/0",
            "be:u12/16>>8",
            "be:u8/24",
            "le:u8/8X0",
            "be:u8/8>>99",
            "é:é",
        ] {
            assert_eq!(Element::parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_shifted_and_keep_their_sign() {
        assert_eq!(element("be:u18/32>>8").decode(&[0x02, 0x0f, 0xff, 0xaa]), 0x20fff);
        assert_eq!(element("le:s12/16>>4").decode(&[0xf0, 0xff]), -1);
        assert_eq!(element("le:u12/16>>4").decode(&[0xf0, 0xff]), 0xfff);
        assert_eq!(element("be:s16/16").decode(&[0x80, 0x00]), -32_768);
        assert_eq!(element("le:s64/64").decode(&i64::MIN.to_le_bytes()), i128::from(i64::MIN));
    }

    #[test]
    fn a_scan_is_laid_out_by_index_and_aligned() {
        let scan =
            Scan::new(&[(3, element("le:s64/64")), (0, element("le:s16/16")), (1, element("le:s16/16"))]).unwrap();
        assert_eq!(scan.size(), 16);
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&7i16.to_le_bytes());
        bytes[2..4].copy_from_slice(&(-8i16).to_le_bytes());
        bytes[8..].copy_from_slice(&99i64.to_le_bytes());
        assert_eq!([0, 1, 2].map(|i| scan.number(i, &bytes)), [Some(99), Some(7), Some(-8)]);
        assert_eq!((scan.number(0, &bytes[..15]), scan.number(3, &bytes)), (None, None));
        assert_eq!(Scan::new(&[]), None);
    }
}
