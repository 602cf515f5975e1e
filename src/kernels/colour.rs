//! YUYV, NV12 and grey frames to RGB.
//!
//! The matrix is that of Recommendation ITU-R BT.601-7 (2011), section 2.5, inverted for limited range: luma 16 to 235,
//! chroma 16 to 240 about 128. It is worked in 16-bit fixed point, so that x86's `pmulhrsw` and ARM's `sqrdmulh`, which
//! round alike, are exact forms of it: samples carry five fractional bits and coefficients fifteen. A channel is within
//! one level of the matrix worked in real numbers. Chroma is taken for both of the pixels that share it, as cameras and
//! V4L2 do, without interpolation.

use super::{Isa, active};
use crate::frame::{Frame, PixelFormat, RgbImage};

/// Fractional bits of the sums; with five, the largest of them (17 167) fits an `i16`.
pub(super) const FRACTION: i32 = 5;

/// What a coefficient exceeds a whole number by, times 2¹⁵.
pub(super) mod matrix {
    const KR: f64 = 0.299;
    const KB: f64 = 0.114;
    const KG: f64 = 1.0 - KR - KB;
    const LUMA: f64 = 255.0 / 219.0;
    const CHROMA: f64 = 255.0 / 224.0;

    const fn q15(x: f64) -> i16 {
        (x * 32768.0 + 0.5) as i16
    }

    /// All channels take 1 + this of the luma.
    pub const Y: i16 = q15(LUMA - 1.0);
    /// Red takes 1 + this of V.
    pub const RV: i16 = q15(2.0 * (1.0 - KR) * CHROMA - 1.0);
    /// Green loses this of U.
    pub const GU: i16 = q15(2.0 * (1.0 - KB) * KB / KG * CHROMA);
    /// Green loses this of V.
    pub const GV: i16 = q15(2.0 * (1.0 - KR) * KR / KG * CHROMA);
    /// Blue takes 2 + this of U.
    pub const BU: i16 = q15(2.0 * (1.0 - KB) * CHROMA - 2.0);
}

/// Luma of full range by BT.601, in 1/256.
#[inline]
pub fn luma(rgb: [u8; 3]) -> u8 {
    let [r, g, b] = rgb.map(u32::from);
    ((77 * r + 150 * g + 29 * b) >> 8) as u8
}

/// The same, not rounded.
#[inline]
pub fn exact_luma(rgb: [u8; 3]) -> f32 {
    let [r, g, b] = rgb.map(f32::from);
    0.299 * r + 0.587 * g + 0.114 * b
}

/// Converts a YUYV frame; `out` takes its size.
///
/// # Panics
/// If the frame is of another format.
pub fn yuyv_to_rgb(frame: &Frame<'_>, out: &mut RgbImage) {
    yuyv_on(active(), frame, out);
}

/// Converts an NV12 frame; `out` takes its size.
///
/// # Panics
/// If the frame is of another format.
pub fn nv12_to_rgb(frame: &Frame<'_>, out: &mut RgbImage) {
    nv12_on(active(), frame, out);
}

/// Copies the luminance (full range, 0 to 255) into all three channels; `out` takes the frame's size.
///
/// # Panics
/// If the frame is of another format.
pub fn grey_to_rgb(frame: &Frame<'_>, out: &mut RgbImage) {
    grey_on(active(), frame, out);
}

pub(super) fn yuyv_on(isa: Isa, frame: &Frame<'_>, out: &mut RgbImage) {
    each_row(frame, PixelFormat::Yuyv, out, |y, rgb| {
        let yuyv = &frame.data()[y * frame.stride()..][..2 * frame.width()];
        dispatch!(isa, colour::yuyv_row(yuyv, rgb));
    });
}

pub(super) fn nv12_on(isa: Isa, frame: &Frame<'_>, out: &mut RgbImage) {
    let row = |at: usize| &frame.data()[at * frame.stride()..][..frame.width()];
    each_row(frame, PixelFormat::Nv12, out, |y, rgb| {
        // The plane of chroma follows that of luma, a row of it for two of those.
        dispatch!(isa, colour::nv12_row(row(y), row(frame.height() + y / 2), rgb));
    });
}

pub(super) fn grey_on(isa: Isa, frame: &Frame<'_>, out: &mut RgbImage) {
    each_row(frame, PixelFormat::Grey, out, |y, rgb| {
        let grey = &frame.data()[y * frame.stride()..][..frame.width()];
        dispatch!(isa, colour::grey_row(grey, rgb));
    });
}

fn each_row(frame: &Frame<'_>, expected: PixelFormat, out: &mut RgbImage, mut convert: impl FnMut(usize, &mut [u8])) {
    assert_eq!(frame.format(), expected, "the caller chooses the conversion by the frame's format");
    out.resize(frame.width(), frame.height());
    for (y, rgb) in out.data_mut().chunks_exact_mut(3 * frame.width()).enumerate() {
        convert(y, rgb);
    }
}

/// The definition of each conversion, a row at a time: `rgb` holds three bytes a pixel, the sources what that takes.
pub(super) mod scalar {
    use super::{FRACTION, matrix};

    pub fn yuyv_row(yuyv: &[u8], rgb: &mut [u8]) {
        for (&[y0, u, y1, v], rgb) in yuyv.as_chunks().0.iter().zip(rgb.as_chunks_mut::<6>().0) {
            pair([y0, y1], [u, v], rgb);
        }
    }

    pub fn nv12_row(luma: &[u8], chroma: &[u8], rgb: &mut [u8]) {
        let pairs = luma.as_chunks().0.iter().zip(chroma.as_chunks().0);
        for ((&luma, &chroma), rgb) in pairs.zip(rgb.as_chunks_mut::<6>().0) {
            pair(luma, chroma, rgb);
        }
    }

    pub fn grey_row(grey: &[u8], rgb: &mut [u8]) {
        for (&luma, rgb) in grey.iter().zip(rgb.as_chunks_mut::<3>().0) {
            *rgb = [luma; 3];
        }
    }

    fn pair(luma: [u8; 2], [u, v]: [u8; 2], rgb: &mut [u8; 6]) {
        let (a, b) = (pixel(luma[0], u, v), pixel(luma[1], u, v));
        *rgb = [a[0], a[1], a[2], b[0], b[1], b[2]];
    }

    pub fn pixel(y: u8, u: u8, v: u8) -> [u8; 3] {
        let fixed = |sample: u8, zero: i32| (i32::from(sample) - zero) << FRACTION;
        let times = |x: i32, q15: i16| (x * i32::from(q15) + (1 << 14)) >> 15;
        let channel = |sum: i32| ((sum + (1 << (FRACTION - 1))) >> FRACTION).clamp(0, 255) as u8;

        let (y, u, v) = (fixed(y, 16), fixed(u, 128), fixed(v, 128));
        let y = y + times(y, matrix::Y);
        let red = y + v + times(v, matrix::RV);
        let green = y - times(u, matrix::GU) - times(v, matrix::GV);
        let blue = y + 2 * u + times(u, matrix::BU);
        [channel(red), channel(green), channel(blue)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_white_and_the_primaries_come_out_as_bt601_names_them() {
        for ([y, u, v], rgb) in [
            ([16, 128, 128], [0, 0, 0]),
            ([235, 128, 128], [255, 255, 255]),
            ([81, 90, 240], [254, 0, 0]),
            ([145, 54, 34], [0, 255, 1]),
            ([41, 240, 110], [0, 0, 255]),
        ] {
            assert_eq!(scalar::pixel(y, u, v), rgb, "YUV {y} {u} {v}");
        }
    }

    #[test]
    fn every_colour_is_within_one_level_of_the_real_matrix() {
        for at in (0u32..1 << 24).step_by(if cfg!(miri) { 1 << 16 | 1 } else { 7 }) {
            let [y, u, v, _] = at.to_le_bytes();
            let luma = 255.0 / 219.0 * (f64::from(y) - 16.0);
            let (u_, v_) = (255.0 / 224.0 * (f64::from(u) - 128.0), 255.0 / 224.0 * (f64::from(v) - 128.0));
            let real = [luma + 1.402 * v_, luma - 0.344_136_29 * u_ - 0.714_136_29 * v_, luma + 1.772 * u_];
            for (got, real) in scalar::pixel(y, u, v).into_iter().zip(real) {
                assert!((f64::from(got) - real.clamp(0.0, 255.0)).abs() < 0.6, "YUV {y} {u} {v}: {got} for {real}");
            }
        }
    }
}
