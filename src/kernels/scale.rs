//! Pictures made smaller.

use super::{Isa, active};
use crate::frame::RgbImage;

/// Half the size: each pixel is the rounded mean of two by two. `dst` takes its size; an odd last row or column is
/// dropped, so that a side of one pixel leaves an empty picture.
pub fn halve(src: &RgbImage, dst: &mut RgbImage) {
    halve_on(active(), src, dst);
}

pub(super) fn halve_on(isa: Isa, src: &RgbImage, dst: &mut RgbImage) {
    let (width, height) = (src.width() / 2, src.height() / 2);
    dst.resize(width, height);
    if width == 0 {
        return;
    }
    let rows = src.data().chunks_exact(2 * 3 * src.width());
    for (rows, out) in rows.zip(dst.data_mut().chunks_exact_mut(3 * width)) {
        let (above, below) = rows.split_at(3 * src.width());
        dispatch!(isa, scale::halve_row(&above[..6 * width], &below[..6 * width], out));
    }
}

/// The definition.
pub(super) mod scalar {
    /// Two rows of twice the pixels of `out`.
    pub fn halve_row(above: &[u8], below: &[u8], out: &mut [u8]) {
        let pairs = above.as_chunks::<6>().0.iter().zip(below.as_chunks::<6>().0);
        for ((above, below), out) in pairs.zip(out.as_chunks_mut::<3>().0) {
            for (c, out) in out.iter_mut().enumerate() {
                let [a, b, c, d] = [above[c], above[c + 3], below[c], below[c + 3]].map(u16::from);
                *out = ((a + b + c + d + 2) >> 2) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_pixels_become_their_rounded_mean_and_an_odd_edge_is_dropped() {
        let src = RgbImage::from_rgb8(3, 2, vec![0, 255, 1, 0, 255, 1, 9, 9, 9, 1, 255, 0, 1, 255, 0, 9, 9, 9]);
        let mut dst = RgbImage::default();
        halve(&src.expect("six pixels"), &mut dst);
        assert_eq!((dst.width(), dst.height(), dst.data()), (1, 1, &[1, 255, 1][..]));
    }
}
