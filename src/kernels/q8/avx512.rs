//! AVX-512 with VNNI: sixteen sums of four products in one instruction (`vpdpbusd`), which neither saturates nor rounds.
//!
//! A dense layer keeps a tile of rows x outputs in registers: six rows by four registers of sixteen outputs are 24 sums, four
//! weights and one activation, which leaves three of 32 registers free. Panels of weights are the outer loop, so that
//! they stay in the first cache while rows stream past.
//!
//! A depthwise layer interleaves the bytes of four taps, 64 channels at a time, to what `vpdpbusd` sums. Where the stride
//! is one, the four columns of a window's row serve two neighbouring outputs.

use std::arch::x86_64::*;

use super::finish::Finish;
use super::pack::{Block, Packed, WIDE};
use super::{Addend, Dense, Depthwise, Rows, Target};

type Quad = Block<i8, 64>;

/// Registers of a depthwise block: 64 channels.
const REGISTERS: usize = 4;

/// # Safety
/// The CPU has AVX-512 F, BW and VNNI; what [`Dense::run`] checks holds.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn dense(layer: &Dense, rows: Rows<'_>, addend: Option<Addend<'_>>, target: Target<'_>) {
    let (blocks, quads) = quads_of(&layer.packed);
    let out = Bytes { finish: &layer.finish, addend, target: target.bytes.as_mut_ptr(), places: target.places };
    // SAFETY: the caller's promise; every row has `quads` quads within its slack, every place room for the outputs.
    unsafe { panels(layer, rows, blocks, quads, &out) }
}

/// # Safety
/// As [`dense`], and `out` has room for all sums.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn sums(layer: &Dense, rows: Rows<'_>, out: &mut [i32]) {
    let (blocks, quads) = quads_of(&layer.packed);
    let out = Sums { target: out.as_mut_ptr(), outputs: layer.outputs };
    // SAFETY: as above; `out` was seen to have rows x outputs sums.
    unsafe { panels(layer, rows, blocks, quads, &out) }
}

fn quads_of(packed: &Packed) -> (&[Quad], usize) {
    let Packed::Quads { blocks, depth } = packed else { unreachable!("packed by the same instruction set") };
    (blocks, *depth)
}

/// Where a tile's sums go.
trait Sink {
    /// # Safety
    /// `row` and the `outputs` from `first` on are of the layer.
    unsafe fn put<const N: usize>(&self, row: usize, first: usize, outputs: usize, sums: [__m512i; N]);
}

/// # Safety
/// As [`dense`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn panels(layer: &Dense, rows: Rows<'_>, blocks: &[Quad], quads: usize, out: &impl Sink) {
    let panels = layer.outputs.div_ceil(WIDE);
    let mut panel = 0;
    while panel < panels {
        // SAFETY: the caller's promise; panels from `panel` on are there.
        unsafe {
            let tile = Tile { layer, rows, blocks: blocks.as_ptr().add(panel * quads), quads, first: panel * WIDE };
            panel += match panels - panel {
                1 => tile.run::<12, 1>(out),
                2 => tile.run::<12, 2>(out),
                3 => tile.run::<6, 3>(out),
                _ => tile.run::<6, 4>(out),
            };
        }
    }
}

/// N panels of weights and all rows.
struct Tile<'a> {
    layer: &'a Dense,
    rows: Rows<'a>,
    blocks: *const Quad,
    quads: usize,
    /// Output of the first panel.
    first: usize,
}

impl Tile<'_> {
    /// # Safety
    /// As [`dense`]; N panels are there.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<const M: usize, const N: usize>(&self, out: &impl Sink) -> usize {
        let mut row = 0;
        // SAFETY: the caller's promise; rows from `row` to `row` + M are there.
        unsafe {
            while row + M <= self.rows.count {
                self.rows::<M, N>(row, out);
                row += M;
            }
            if M > 6 && row + 6 <= self.rows.count {
                self.rows::<6, N>(row, out);
                row += 6;
            }
            match self.rows.count - row {
                0 => {}
                1 => self.rows::<1, N>(row, out),
                2 => self.rows::<2, N>(row, out),
                3 => self.rows::<3, N>(row, out),
                4 => self.rows::<4, N>(row, out),
                _ => self.rows::<5, N>(row, out),
            }
        }
        N
    }

    /// # Safety
    /// As [`dense`]; N panels are there, and M rows from `row` on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn rows<const M: usize, const N: usize>(&self, row: usize, out: &impl Sink) {
        // SAFETY: the caller's promise; biases are filled up to whole registers.
        unsafe {
            let bias = self.layer.finish.bias.as_ptr().add(self.first);
            let mut sums: [[__m512i; N]; M] =
                [std::array::from_fn(|n| _mm512_loadu_si512(bias.add(n * WIDE).cast())); M];
            let mut bytes = self.rows.bytes.as_ptr().add(row * self.rows.stride);
            let mut block = self.blocks;
            for _ in 0..self.quads {
                let weights: [__m512i; N] =
                    std::array::from_fn(|n| _mm512_load_si512(block.add(n * self.quads).cast()));
                for (m, sums) in sums.iter_mut().enumerate() {
                    let four = bytes.add(m * self.rows.stride).cast::<i32>().read_unaligned();
                    let four = _mm512_set1_epi32(four);
                    for n in 0..N {
                        sums[n] = _mm512_dpbusd_epi32(sums[n], four, weights[n]);
                    }
                }
                (bytes, block) = (bytes.add(4), block.add(1));
            }
            let outputs = (self.layer.outputs - self.first).min(N * WIDE);
            for (m, sums) in sums.into_iter().enumerate() {
                out.put(row + m, self.first, outputs, sums);
            }
        }
    }
}

struct Sums {
    target: *mut i32,
    outputs: usize,
}

impl Sink for Sums {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn put<const N: usize>(&self, row: usize, first: usize, outputs: usize, sums: [__m512i; N]) {
        for (n, sums) in sums.into_iter().enumerate() {
            let left = outputs.saturating_sub(n * WIDE).min(WIDE);
            // SAFETY: the mask keeps the store within the row's sums.
            unsafe {
                let to = self.target.add(row * self.outputs + first + n * WIDE);
                _mm512_mask_storeu_epi32(to, (1u32 << left).wrapping_sub(1) as u16, sums);
            }
        }
    }
}

struct Bytes<'a> {
    finish: &'a Finish,
    addend: Option<Addend<'a>>,
    target: *mut u8,
    places: &'a [u32],
}

impl Sink for Bytes<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn put<const N: usize>(&self, row: usize, first: usize, outputs: usize, sums: [__m512i; N]) {
        // SAFETY: scales are filled up to whole registers; row and outputs are there by the caller's promise, and masks
        // keep loads and stores within them.
        unsafe {
            let mask = mask64(outputs);
            let mut reals: [__m512; N] = std::array::from_fn(|n| real(self.finish, first + n * WIDE, sums[n]));
            if let (Some(addend), Some(residual)) = (self.addend, self.finish.residual) {
                let from = addend.bytes.as_ptr().add(*addend.places.get_unchecked(row) as usize + first);
                let (zero, scale) = (_mm512_set1_epi32(residual.zero.into()), _mm512_set1_ps(residual.scale));
                for (n, real) in reals.iter_mut().enumerate() {
                    let bytes = _mm_maskz_loadu_epi8((mask >> (n * WIDE)) as u16, from.add(n * WIDE).cast());
                    let steps = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_cvtepu8_epi32(bytes), zero));
                    *real = _mm512_add_ps(*real, _mm512_mul_ps(steps, scale));
                }
            }
            let to = self.target.add(*self.places.get_unchecked(row) as usize + first).cast::<i8>();
            let rounded: [__m512i; N] = std::array::from_fn(|n| _mm512_cvtps_epi32(reals[n]));
            if N == 4 {
                let packed = pack(self.finish, [rounded[0], rounded[1], rounded[2 % N], rounded[3 % N]]);
                // Packing works in lanes of 128 bits: each has four outputs of each register.
                let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
                _mm512_mask_storeu_epi8(to, mask, _mm512_permutexvar_epi32(order, packed));
            } else {
                let act = self.finish.act;
                let (low, high) = (_mm512_set1_epi32(act.low.into()), _mm512_set1_epi32(act.high.into()));
                for (n, rounded) in rounded.into_iter().enumerate() {
                    let stepped = _mm512_add_epi32(rounded, _mm512_set1_epi32(act.zero.into()));
                    let bytes = _mm512_cvtepi32_epi8(_mm512_min_epi32(_mm512_max_epi32(stepped, low), high));
                    _mm_mask_storeu_epi8(to.add(n * WIDE), (mask >> (n * WIDE)) as u16, bytes);
                }
            }
        }
    }
}

/// The first `outputs` bits.
#[inline]
fn mask64(outputs: usize) -> u64 {
    u64::MAX >> (64 - outputs.clamp(1, 64))
}

/// # Safety
/// The CPU has AVX-512 F; sixteen scales from `first` on are there.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn real(finish: &Finish, first: usize, sums: __m512i) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        let mut scale = _mm512_loadu_ps(finish.positive.as_ptr().add(first));
        if finish.bends {
            let below = _mm512_movepi32_mask(sums);
            scale = _mm512_mask_loadu_ps(scale, below, finish.negative.as_ptr().add(first));
        }
        _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale)
    }
}

/// Bytes of four registers, lane by lane. Saturating on the way changes nothing: zero is at most 255, and what is beyond 16
/// bits is beyond a byte after it was added, too.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pack(finish: &Finish, rounded: [__m512i; REGISTERS]) -> __m512i {
    let zero = _mm512_set1_epi16(finish.act.zero.into());
    let low = _mm512_adds_epi16(_mm512_packs_epi32(rounded[0], rounded[1]), zero);
    let high = _mm512_adds_epi16(_mm512_packs_epi32(rounded[2], rounded[3]), zero);
    let bytes = _mm512_packus_epi16(low, high);
    let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(finish.act.low as i8));
    _mm512_min_epu8(bytes, _mm512_set1_epi8(finish.act.high as i8))
}

/// # Safety
/// The CPU has AVX-512 F, BW and VNNI; what [`Depthwise::run`] checks holds.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn depthwise(layer: &Depthwise, image: &[u8], target: Target<'_>) {
    let (blocks, quads) = quads_of(&layer.packed);
    let out = target.bytes.as_mut_ptr();
    let window = layer.window;
    let is_paired = window.stride[1] == 1 && window.dilation[1] == 1 && window.kernel == [3, 3];
    for first in (0..layer.channels).step_by(64) {
        let filter = Filter {
            layer,
            blocks: &blocks[first / 64 * quads * REGISTERS..][..quads * REGISTERS],
            first,
            mask: mask64(layer.channels - first),
        };
        for row in 0..window.out[0] {
            let places = &target.places[row * window.out[1]..][..window.out[1]];
            let top = row * window.stride[0] * window.width;
            let mut column = 0;
            // SAFETY: the window at each output lies in the image, whose slack takes the fourth column of the last pair;
            // each place has room for the channels that the mask leaves.
            unsafe {
                if is_paired {
                    while column + 2 <= window.out[1] {
                        let pixel = image.as_ptr().add((top + column) * layer.channels + first);
                        let [left, right] = filter.pair(pixel);
                        filter.store(left, out.add(places[column] as usize + first));
                        filter.store(right, out.add(places[column + 1] as usize + first));
                        column += 2;
                    }
                }
                while column < window.out[1] {
                    let pixel = image.as_ptr().add((top + column * window.stride[1]) * layer.channels + first);
                    filter.store(filter.single(pixel), out.add(places[column] as usize + first));
                    column += 1;
                }
            }
        }
    }
}

/// The weights of 64 channels.
struct Filter<'a> {
    layer: &'a Depthwise,
    blocks: &'a [Quad],
    first: usize,
    mask: u64,
}

impl Filter<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn bias(&self) -> [__m512i; REGISTERS] {
        let bias = &self.layer.finish.bias[self.first..][..64];
        // SAFETY: sixteen numbers from each multiple of sixteen on are there.
        std::array::from_fn(|n| unsafe { _mm512_loadu_si512(bias.as_ptr().add(n * WIDE).cast()) })
    }

    /// The sums of one output.
    ///
    /// # Safety
    /// The CPU has the instructions; the window from `pixel` on lies in the image.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn single(&self, pixel: *const u8) -> [__m512i; REGISTERS] {
        let (window, channels) = (self.layer.window, self.layer.channels);
        let [high, wide] = window.kernel;
        let mut sums = self.bias();
        let mut blocks = self.blocks.as_chunks::<REGISTERS>().0.iter();
        for row in 0..high {
            for quad in (0..wide).step_by(4) {
                let Some(weights) = blocks.next() else { unreachable!("four blocks for four taps") };
                // SAFETY: the caller's promise; a tap beyond the window repeats its last one, on a weight of zero.
                let taps = std::array::from_fn(|k| unsafe {
                    let column = (quad + k).min(wide - 1) * window.dilation[1];
                    let at = (row * window.dilation[0] * window.width + column) * channels;
                    _mm512_maskz_loadu_epi8(self.mask, pixel.add(at).cast())
                });
                accumulate(&mut sums, interleave(taps), weights);
            }
        }
        sums
    }

    /// The sums of two neighbours: the first three of four columns, and the last three.
    ///
    /// # Safety
    /// As [`Filter::single`] for both; the layer is 3 x 3 of stride 1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn pair(&self, pixel: *const u8) -> [[__m512i; REGISTERS]; 2] {
        let (window, channels) = (self.layer.window, self.layer.channels);
        let mut sums = [self.bias(); 2];
        for (row, weights) in self.blocks.as_chunks::<REGISTERS>().0.iter().enumerate() {
            // SAFETY: the caller's promise.
            let taps = std::array::from_fn(|column| unsafe {
                let at = (row * window.dilation[0] * window.width + column) * channels;
                _mm512_maskz_loadu_epi8(self.mask, pixel.add(at).cast())
            });
            let taps = interleave(taps);
            for (n, taps) in taps.into_iter().enumerate() {
                let weights = load(&weights[n]);
                sums[0][n] = _mm512_dpbusd_epi32(sums[0][n], taps, weights);
                // The fourth weight is zero, and moves to the first place.
                sums[1][n] = _mm512_dpbusd_epi32(sums[1][n], taps, _mm512_slli_epi32(weights, 8));
            }
        }
        sums
    }

    /// # Safety
    /// The CPU has the instructions; `to` has room for the channels of the mask.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn store(&self, sums: [__m512i; REGISTERS], to: *mut u8) {
        let finish = &self.layer.finish;
        // SAFETY: scales are filled up to 64; the mask keeps the store within its room.
        unsafe {
            let rounded = std::array::from_fn(|n| _mm512_cvtps_epi32(real(finish, self.first + n * WIDE, sums[n])));
            _mm512_mask_storeu_epi8(to.cast(), self.mask, pack(finish, rounded));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(block: &Quad) -> __m512i {
    // SAFETY: 64 bytes, aligned by type.
    unsafe { _mm512_load_si512(block.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn accumulate(sums: &mut [__m512i; REGISTERS], taps: [__m512i; REGISTERS], weights: &[Quad; REGISTERS]) {
    for n in 0..REGISTERS {
        sums[n] = _mm512_dpbusd_epi32(sums[n], taps[n], load(&weights[n]));
    }
}

/// Four bytes for each channel, in the order of [`Finish::interleaved`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleave([a, b, c, d]: [__m512i; 4]) -> [__m512i; REGISTERS] {
    let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab_low, cd_low),
        _mm512_unpackhi_epi16(ab_low, cd_low),
        _mm512_unpacklo_epi16(ab_high, cd_high),
        _mm512_unpackhi_epi16(ab_high, cd_high),
    ]
}
