//! Whether all of a JPEG's blocks are there (ITU-T T.81, annexes B and F). Decoders fill the rest of one that breaks
//! off with grey, also where an end was put behind what is left.

use std::ops::Range;

use super::STANDARD_TABLES;
use crate::frame::MAX_SIDE;

/// A frame has four components at most, and a table of each class for each.
const MAX: usize = 4;
/// The decoder takes no more scans, either.
const MAX_SCANS: usize = 100;

/// Whether the blocks end before the picture does. What is no JPEG with Huffman's codes is for the decoder to refuse.
/// Of a progressive one the scans are looked at that bring something new; those that refine it by a bit show hardly.
pub fn breaks_off(bytes: &[u8]) -> bool {
    Walk::default().walk(bytes).is_none()
}

#[derive(Debug, Default)]
struct Walk {
    /// By class and number.
    tables: [Option<Table>; 2 * MAX],
    frame: Frame,
    /// How many units lie between two restart markers; 0 is no restart.
    interval: usize,
    scans: usize,
}

#[derive(Debug, Default)]
struct Frame {
    is_progressive: bool,
    width: usize,
    height: usize,
    components: Vec<Component>,
}

#[derive(Debug)]
struct Component {
    id: u8,
    across: usize,
    down: usize,
    is_there: bool,
}

impl Walk {
    /// `None` where it breaks off.
    fn walk(mut self, bytes: &[u8]) -> Option<()> {
        for (table, counts, symbols) in STANDARD_TABLES {
            self.tables[place(table)?] = Some(Table::new(&counts, symbols));
        }
        let mut at = 2;
        loop {
            at += bytes.get(at..)?.windows(2).position(super::is_marker)?;
            let kind = bytes[at + 1];
            if kind == 0xD9 {
                return self.frame.components.iter().all(|component| component.is_there).then_some(());
            }
            let length = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?])).max(2);
            let segment = bytes.get(at + 4..at + 2 + length)?;
            at += 2 + length;
            match kind {
                0xC0..=0xC2 => match Frame::read(segment, kind == 0xC2) {
                    Some(frame) => self.frame = frame,
                    None => return Some(()),
                },
                0xC4 => self.learn(segment)?,
                // Without Huffman's codes, or without blocks.
                0xC3 | 0xC5..=0xCF => return Some(()),
                0xDA if self.scans == MAX_SCANS => return Some(()),
                0xDA => at = self.scan(segment, bytes, at)?,
                0xDD => self.interval = usize::from(u16::from_be_bytes([*segment.first()?, *segment.get(1)?])),
                _ => {}
            }
        }
    }

    fn learn(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&table, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let (symbols, rest) = rest.split_at_checked(counts.iter().map(|&count| usize::from(count)).sum())?;
            self.tables[place(table)?] = Some(Table::new(counts, symbols));
            segment = rest;
        }
        Some(())
    }

    /// Goes through the blocks of a scan, and says where it ends.
    fn scan(&mut self, header: &[u8], bytes: &[u8], at: usize) -> Option<usize> {
        self.scans += 1;
        let (&count, rest) = header.split_first()?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(count))?;
        let &[first, last, approximation, ..] = rest else { return None };
        let is_progressive = self.frame.is_progressive;
        if is_progressive && approximation >> 4 != 0 {
            return Some(at);
        }
        let band = if is_progressive { first..last.min(63) + 1 } else { 0..64 };
        let mut blocks = Vec::with_capacity(MAX);
        let is_alone = count == 1;
        let mut units = self.frame.units();
        for part in parts.chunks_exact(2) {
            let size = self.frame.size_in_blocks(part[0])?;
            let component = self.frame.components.iter_mut().find(|component| component.id == part[0])?;
            component.is_there |= band.start == 0;
            if is_alone {
                units = size;
            }
            let table = |table| self.tables[place(table)?].as_ref();
            let (dc, ac) = (table(part[1] >> 4), table(0x10 | part[1] & 0x0F));
            let of_it = if is_alone { 1 } else { component.across * component.down };
            blocks.extend(std::iter::repeat_n((dc, ac), of_it));
        }
        let mut bits = Bits { bytes, at, ahead: 0, left: 0, empty: 0 };
        for unit in 0..units {
            if self.interval != 0 && unit != 0 && unit % self.interval == 0 {
                bits.restart()?;
            }
            for &(dc, ac) in &blocks {
                bits.block(dc, ac, &band)?;
            }
        }
        Some(bits.at)
    }
}

/// Where a table is kept whose class and number are in the two halves of a byte.
fn place(table: u8) -> Option<usize> {
    let (class, number) = (usize::from(table >> 4), usize::from(table & 0x0F));
    (class < 2 && number < MAX).then_some(class * MAX + number)
}

impl Frame {
    /// `None` of what no decoder takes.
    fn read(segment: &[u8], is_progressive: bool) -> Option<Self> {
        let (&[_, high, low, wide, narrow, count], rest) = segment.split_first_chunk::<6>()?;
        let side = |high, low| usize::from(u16::from_be_bytes([high, low]));
        let component = |of_it: &[u8]| Component {
            id: of_it[0],
            across: usize::from(of_it[1] >> 4),
            down: usize::from(of_it[1] & 0x0F),
            is_there: false,
        };
        let components: Vec<_> = rest.chunks_exact(3).take(count.into()).map(component).collect();
        let is_one = components.iter().all(|one| (1..=MAX).contains(&one.across) && (1..=MAX).contains(&one.down));
        let (width, height) = (side(wide, narrow), side(high, low));
        let may_be = is_one && (1..=MAX).contains(&components.len()) && width.max(height) <= MAX_SIDE as usize;
        may_be.then_some(Self { is_progressive, width, height, components })
    }

    /// The most blocks of a component that a unit has across and down.
    fn unit(&self) -> (usize, usize) {
        let most = |of: fn(&Component) -> usize| self.components.iter().map(of).max().unwrap_or(1);
        (most(|component| component.across), most(|component| component.down))
    }

    /// How many units a scan of several components has.
    fn units(&self) -> usize {
        let (across, down) = self.unit();
        self.width.div_ceil(8 * across) * self.height.div_ceil(8 * down)
    }

    /// How many blocks a scan of this component alone has.
    fn size_in_blocks(&self, id: u8) -> Option<usize> {
        let (across, down) = self.unit();
        let one = self.components.iter().find(|component| component.id == id)?;
        let side = |pixels: usize, share: usize, whole: usize| (pixels * share).div_ceil(whole).div_ceil(8);
        Some(side(self.width, one.across, across) * side(self.height, one.down, down))
    }
}

/// Codes in the order of their lengths: one of `n + 1` bits is below `limits[n]`, seen as the first of 16.
#[derive(Debug)]
struct Table {
    limits: [u32; 16],
    /// From a code of each length to its symbol.
    offsets: [i32; 16],
    symbols: Vec<u8>,
}

impl Table {
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Self {
        let mut table = Self { limits: [0; 16], offsets: [0; 16], symbols: symbols.to_vec() };
        let (mut code, mut before) = (0_i32, 0);
        for (i, &count) in counts.iter().enumerate() {
            table.offsets[i] = before - code;
            (code, before) = (code + i32::from(count), before + i32::from(count));
            table.limits[i] = (code as u32) << (15 - i);
            code <<= 1;
        }
        table
    }
}

/// What lies between two markers, bit by bit.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The last `left` bits of it are next.
    ahead: u64,
    left: u32,
    /// How many blocks that follow have nothing of a progressive scan's band.
    empty: u32,
}

impl Bits<'_> {
    /// Goes over these coefficients of a block. `None` where the bits end before them.
    fn block(&mut self, dc: Option<&Table>, ac: Option<&Table>, band: &Range<u8>) -> Option<()> {
        if self.empty > 0 {
            self.empty -= 1;
            return Some(());
        }
        let mut coefficient = band.start;
        if coefficient == 0 {
            let size = self.symbol(dc?)?;
            self.skip(size.into())?;
            coefficient = 1;
        }
        while coefficient < band.end {
            let symbol = self.symbol(ac?)?;
            let (run, size) = (symbol >> 4, symbol & 0x0F);
            if size == 0 && run < 15 {
                // In a sequential scan the run is 0: the end of this block alone.
                self.empty = (1 << run) - 1 + self.take(run.into())?;
                break;
            }
            self.skip(size.into())?;
            coefficient += run + 1;
        }
        Some(())
    }

    /// Leaves what fills the last byte, and goes behind the marker.
    fn restart(&mut self) -> Option<()> {
        let is_one = |pair: &[u8]| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF);
        self.at += self.bytes[self.at..].windows(2).position(is_one)?;
        let is_restart = matches!(self.bytes[self.at + 1], 0xD0..=0xD7);
        (self.at, self.left, self.empty) = (self.at + 2, 0, 0);
        is_restart.then_some(())
    }

    fn symbol(&mut self, table: &Table) -> Option<u8> {
        while self.left <= 48 && self.take_byte() {}
        // Beyond the end there are zeros, which may be looked at and not taken.
        let next = if self.left < 16 { self.ahead << (16 - self.left) } else { self.ahead >> (self.left - 16) };
        let next = (next & 0xFFFF) as u32;
        let length = table.limits.iter().position(|&limit| next < limit)?;
        let symbol = (next >> (15 - length)) as i32 + table.offsets[length];
        self.skip(length as u32 + 1)?;
        table.symbols.get(usize::try_from(symbol).ok()?).copied()
    }

    fn take_byte(&mut self) -> bool {
        let (byte, taken) = match self.bytes.get(self.at..) {
            Some([0xFF, 0x00, ..]) => (0xFF, 2),
            Some([0xFF, ..] | []) | None => return false,
            Some([byte, ..]) => (*byte, 1),
        };
        (self.ahead, self.left, self.at) = (self.ahead << 8 | u64::from(byte), self.left + 8, self.at + taken);
        true
    }

    fn take(&mut self, bits: u32) -> Option<u32> {
        self.skip(bits)?;
        Some((self.ahead >> self.left) as u32 & ((1 << bits) - 1))
    }

    fn skip(&mut self, bits: u32) -> Option<()> {
        self.left = self.left.checked_sub(bits)?;
        Some(())
    }
}
