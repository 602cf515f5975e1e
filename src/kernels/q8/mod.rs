//! Layers of eight-bit networks: bytes times bytes, summed exactly, and made bytes again.
//!
//! Activations are unsigned bytes, pixel by pixel with the channels side by side (NHWC), and stand for (byte − zero) ·
//! scale with a scale and a zero of each tensor. Weights are signed bytes, symmetric, with a scale of each output
//! channel (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
//! Inference"). A layer's sum is exact in 32 bits; [`Requantise`] turns it into the next byte in the same step, so that
//! no sum is ever written to memory.
//!
//! The signed activations of a file become these by adding 128 to both byte and zero, and what the zero adds to a sum
//! depends on weights alone: it is part of the bias. [`scalar`] is the definition that every instruction set equals bit
//! for bit; its choice of rounding (`f32`, ties to even, nothing fused) is what all of them do in one instruction.

#[cfg(test)]
mod guard;
mod pack;
mod requantise;
pub mod scalar;
#[cfg(test)]
mod suite;
mod sum;
#[cfg(any(target_arch = "aarch64", test))]
mod tiles;
mod walk;
#[cfg(target_arch = "x86_64")]
mod ymm;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod neon;

use pack::Packed;
pub use requantise::{OutputRange, Requantise, Residual};
pub use sum::{ROUNDS, Sum};

use super::Isa;

/// Calls a layer's kernel; what follows the semicolon is for AVX2 alone.
macro_rules! by_isa {
    ($layer:expr, $kernel:ident($($argument:expr),*); $($room:expr)?) => {
        match $layer.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if $layer.isa.is_available() => {
                // SAFETY: the CPU has the instructions, and the caller has checked what the kernel asks for.
                unsafe { avx2::$kernel($layer, $($argument,)* $($room)?) }
            }
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni if $layer.isa.is_available() => {
                // SAFETY: as above.
                unsafe { avxvnni::$kernel($layer, $($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni if $layer.isa.is_available() => {
                // SAFETY: as above.
                unsafe { avx512::$kernel($layer, $($argument),*) }
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDotprod | Isa::NeonI8mm if $layer.isa.is_available() => {
                // SAFETY: as above.
                unsafe { neon::$kernel($layer, $($argument),*) }
            }
            _ => scalar::$kernel($layer, $($argument),*),
        }
    };
}

/// So many bytes may be read beyond the last row or pixel that a layer is given. They meet weights of zero.
pub const SLACK: usize = 64;
/// The deepest sum: 3 x 3 x 1024 channels, or a fully connected layer of 96 x 96.
pub const MAX_DEPTH: usize = 9216;

/// Equally long rows of bytes, `stride` apart.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub bytes: &'a [u8],
    pub stride: usize,
    pub count: usize,
}

/// Where rows or pixels lie in a buffer: the first byte of each. The greatest place is known, so that no run has to
/// look for it.
#[derive(Debug, Clone)]
pub struct Places {
    at: Vec<u32>,
    greatest: u32,
}

impl From<Vec<u32>> for Places {
    fn from(at: Vec<u32>) -> Self {
        let greatest = at.iter().max().copied().unwrap_or(0);
        Self { at, greatest }
    }
}

impl std::ops::Deref for Places {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.at
    }
}

impl Places {
    pub fn all(&self) -> Placed<'_> {
        Placed { at: &self.at, greatest: self.greatest }
    }

    /// Some that follow one another, in the part of the buffer that begins at `start`.
    ///
    /// # Panics
    /// If there are not so many, or one lies before `start`.
    pub fn rebased(&self, range: std::ops::Range<usize>, start: usize) -> Self {
        let at = self.at[range].iter().map(|&place| (place as usize - start) as u32);
        at.collect::<Vec<_>>().into()
    }

    /// Some that follow one another.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn some(&self, range: std::ops::Range<usize>) -> Placed<'_> {
        Placed { at: &self.at[range], ..self.all() }
    }
}

/// [`Places`], or some of them.
#[derive(Clone, Copy)]
pub struct Placed<'a> {
    at: &'a [u32],
    greatest: u32,
}

/// Where a layer writes.
pub struct Target<'a> {
    pub bytes: &'a mut [u8],
    pub places: Placed<'a>,
}

/// What a layer adds before it rounds, with places of its own.
#[derive(Clone, Copy)]
pub struct Addend<'a> {
    pub bytes: &'a [u8],
    pub places: Placed<'a>,
}

/// Room that a layer needs while it runs, made once for the largest.
#[derive(Debug, Default)]
pub struct Scratch {
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "read by kernels of x86 alone"))]
    pub(super) wide: Vec<i16>,
}

impl Scratch {
    /// Makes room for a layer, so that running it allocates nothing.
    pub fn reserve_for(&mut self, layer: &Dense) {
        match layer.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => self.wide.resize(self.wide.len().max(avx2::room(layer.depth)), 0),
            _ => {}
        }
    }
}

/// A matrix of weights, packed for one instruction set: pointwise convolutions, unrolled ones, fully connected layers.
pub struct Dense {
    isa: Isa,
    outputs: usize,
    depth: usize,
    packed: Packed,
    requantise: Requantise,
}

impl Dense {
    /// `weights`: `requantise.channels()` rows of `depth` numbers each.
    ///
    /// # Panics
    /// If the sizes don't agree, or a sum could leave 32 bits: ask [`Requantise::new`] first.
    pub fn new(isa: Isa, weights: &[i8], depth: usize, requantise: Requantise) -> Self {
        let outputs = requantise.channels();
        assert!(depth > 0 && depth <= MAX_DEPTH && weights.len() == outputs * depth, "{outputs} x {depth} weights");
        Self { isa, outputs, depth, packed: Packed::dense(isa, weights, depth, &requantise.bias), requantise }
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn depth(&self) -> usize {
        self.depth
    }

    /// One byte of each output channel for each row.
    ///
    /// # Panics
    /// If `rows` lacks its [`SLACK`], or a place lies outside of its buffer, or an addend is there and none is expected
    /// or the other way round, or `scratch` has no room for this layer ([`Scratch::reserve_for`]).
    pub fn run(&self, rows: Rows<'_>, addend: Option<Addend<'_>>, target: Target<'_>, scratch: &mut Scratch) {
        self.check(rows);
        check_places(target.bytes.len(), target.places, rows.count, self.outputs);
        assert_eq!(addend.is_some(), self.requantise.residual.is_some(), "an addend");
        if let Some(addend) = addend {
            check_places(addend.bytes.len(), addend.places, rows.count, self.outputs);
        }
        let _ = &scratch;
        by_isa!(self, dense(rows, addend, target); &mut scratch.wide);
    }

    /// The sums themselves, bias included: `rows.count` x `outputs` of them.
    ///
    /// # Panics
    /// If `rows` lacks its [`SLACK`], or `out` has another size, or `scratch` has no room for this layer.
    pub fn sums(&self, rows: Rows<'_>, out: &mut [i32], scratch: &mut Scratch) {
        self.check(rows);
        assert_eq!(out.len(), rows.count * self.outputs, "sums");
        let _ = &scratch;
        by_isa!(self, sums(rows, out); &mut scratch.wide);
    }

    /// The number that a sum of this channel stands for: times `positive`, or `negative` below zero.
    pub fn real(&self, channel: usize, sum: i32) -> f32 {
        self.requantise.real(channel, sum)
    }

    fn check(&self, rows: Rows<'_>) {
        let end = rows.count.checked_sub(1).map_or(0, |last| last * rows.stride + self.depth + SLACK);
        assert!(rows.bytes.len() >= end, "{} bytes, and {end} are needed", rows.bytes.len());
    }
}

/// The size of a depthwise layer's window and of the picture that it moves over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns.
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Between taps; 1 where they lie side by side.
    pub dilation: [usize; 2],
    /// Columns of the input with its border.
    pub width: usize,
    /// Rows and columns of the output.
    pub out: [usize; 2],
}

impl Window {
    /// Rows and columns of the input that are read.
    pub fn reach(&self) -> [usize; 2] {
        [0, 1].map(|k| (self.out[k] - 1) * self.stride[k] + (self.kernel[k] - 1) * self.dilation[k] + 1)
    }

    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

/// One filter for each channel.
pub struct Depthwise {
    isa: Isa,
    channels: usize,
    window: Window,
    packed: Packed,
    requantise: Requantise,
    /// In the order in which the kernel has its channels, if that is another.
    interleaved: Option<Requantise>,
}

impl Depthwise {
    /// `weights`: for each channel the taps of its window, row by row.
    ///
    /// # Panics
    /// If the sizes don't agree, or the input's width is less than what the window reaches.
    pub fn new(isa: Isa, weights: &[i8], window: Window, requantise: Requantise) -> Self {
        let channels = requantise.channels();
        assert!(window.out.iter().chain(&window.kernel).chain(&window.stride).all(|&n| n > 0), "{window:?}");
        assert!(window.taps() <= MAX_DEPTH && weights.len() == channels * window.taps(), "{window:?}");
        assert!(window.reach()[1] <= window.width, "{window:?}");
        let packed = Packed::depthwise(isa, weights, window, &requantise.bias);
        let pixels = |lanes: usize| walk::Walk::new(window, channels, 16 * lanes).pixels;
        let interleaved = pack::lanes(isa).map(|lanes| requantise.interleaved(lanes, pixels(lanes)));
        Self { isa, channels, window, packed, requantise, interleaved }
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// How many pixels come out.
    pub fn outputs(&self) -> usize {
        self.window.out.iter().product()
    }

    /// `image`: `width` pixels a row of `channels` bytes each, border included.
    ///
    /// # Panics
    /// If `image` lacks its [`SLACK`], or a place lies outside of its buffer, or an addend is there and none is
    /// expected or the other way round.
    pub fn run(&self, image: &[u8], addend: Option<Addend<'_>>, target: Target<'_>) {
        self.check(image);
        check_places(target.bytes.len(), target.places, self.outputs(), self.channels);
        assert_eq!(addend.is_some(), self.requantise.residual.is_some(), "an addend");
        if let Some(addend) = addend {
            check_places(addend.bytes.len(), addend.places, self.outputs(), self.channels);
        }
        by_isa!(self, depthwise(image, addend, target););
    }

    /// The sums themselves, bias included: pixel by pixel, `channels` of each.
    ///
    /// # Panics
    /// If `image` lacks its [`SLACK`], or `out` has another size.
    pub fn sums(&self, image: &[u8], out: &mut [i32]) {
        self.check(image);
        assert_eq!(out.len(), self.outputs() * self.channels, "sums");
        by_isa!(self, depthwise_sums(image, out););
    }

    /// The number that a sum of this channel stands for: times `positive`, or `negative` below zero.
    pub fn real(&self, channel: usize, sum: i32) -> f32 {
        self.requantise.real(channel, sum)
    }

    /// With its channels in the kernel's order.
    fn ordered(&self) -> &Requantise {
        self.interleaved.as_ref().unwrap_or(&self.requantise)
    }

    fn check(&self, image: &[u8]) {
        let [rows, columns] = self.window.reach();
        let end = ((rows - 1) * self.window.width + columns) * self.channels + SLACK;
        assert!(image.len() >= end, "{} bytes, and {end} are needed", image.len());
    }
}

/// Kernels write `channels` bytes at each place.
fn check_places(bytes: usize, places: Placed<'_>, count: usize, channels: usize) {
    assert_eq!(places.at.len(), count, "places");
    let end = if count == 0 { 0 } else { places.greatest as usize + channels };
    assert!(end <= bytes, "{bytes} bytes, and {end} are needed");
}
