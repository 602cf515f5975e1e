//! Four pixels at a time, each fetched by two loads of eight bytes: two pixels and a bit above, and the same below.

use std::arch::aarch64::*;

use super::store_u8;
use crate::frame::RgbImage;
use crate::kernels::warp::{Line, ONE, SUM_SHIFT, WEIGHT_SHIFT, scalar};

#[target_feature(enable = "neon")]
pub fn inner(src: &RgbImage, line: Line, out: &mut [u8]) {
    let pixels = out.len() / 3;
    line.assert_inner(src, pixels);
    let (blocks, rest) = out.as_chunks_mut::<12>();
    let without_fourth = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 255, 255, 255, 255];
    let without_fourth = super::load_u8(&without_fourth);
    for (k, block) in blocks.iter_mut().enumerate() {
        // SAFETY: `assert_inner` has seen all pixels of the line, and these are among them.
        let blended = [0, 1, 2, 3].map(|pixel| unsafe { blend(src, line.at(4 * k + pixel)) });
        let [low, high] = [0, 2].map(|pixel| vmovn_u16(vcombine_u16(blended[pixel], blended[pixel + 1])));
        let mut bytes = [0; 16];
        store_u8(&mut bytes, vqtbl1q_u8(vcombine_u8(low, high), without_fourth));
        block.copy_from_slice(&bytes[..12]);
    }
    scalar::inner(src, line.skip(pixels - rest.len() / 3), rest);
}

/// Red, green, blue and something.
///
/// # Safety
/// The place is such that `Line::assert_inner` lets it pass.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn blend(src: &RgbImage, place: [i64; 2]) -> uint16x4_t {
    let [x, y] = place.map(|at| (at >> 16) as usize);
    let [wx, wy] = place.map(|at| (at >> WEIGHT_SHIFT) as i32 & (ONE - 1));
    let stride = 3 * src.width();
    let at = y * stride + 3 * x;
    debug_assert!(at + stride + 8 <= src.data().len());
    // SAFETY: there is a pixel below, one to the right, and one after that; the loads need no alignment.
    let (above, below) = unsafe {
        let at = src.data().as_ptr().add(at);
        (vld1_u8(at), vld1_u8(at.add(stride)))
    };
    let weight = |weight: i32| vdup_n_u8(weight as u8);
    let columns = vmlal_u8(vmull_u8(above, weight(ONE - wy)), below, weight(wy));
    let (left, right) = (vget_low_u16(columns), vget_low_u16(vextq_u16::<3>(columns, columns)));
    let sums = vmlal_n_u16(vmull_n_u16(left, (ONE - wx) as u16), right, wx as u16);
    vrshrn_n_u32::<{ SUM_SHIFT as i32 }>(sums)
}
