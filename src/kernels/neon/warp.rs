//! Four pixels at a time, each fetched by two loads of eight bytes: two pixels and a bit above, and the same below.

use std::arch::aarch64::*;

use super::{load_u8, store_u8};
use crate::frame::RgbImage;
use crate::kernels::warp::{Line, ONE, SUM_SHIFT, WEIGHT_SHIFT, scalar};

#[target_feature(enable = "neon")]
pub fn inner(src: &RgbImage, line: Line, out: &mut [u8]) {
    let pixels = out.len() / 3;
    line.assert_inner(src, pixels);
    let stride = 3 * src.width() as i32;
    let (blocks, rest) = out.as_chunks_mut::<12>();
    let without_fourth = load_u8(&[0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 255, 255, 255, 255]);
    // Inside of the source coordinates fit an i32, and so do steps, of which the progression makes three or more; only
    // what follows the last pixel may wrap.
    let mut place = [line.x as i32, line.y as i32];
    for block in blocks {
        let blended = [(); 4].map(|()| {
            // SAFETY: `assert_inner` has seen all pixels of the line, and this is one of them.
            let pixel = unsafe { blend(src.data(), stride, place) };
            place = [place[0].wrapping_add(line.dx as i32), place[1].wrapping_add(line.dy as i32)];
            pixel
        });
        let [low, high] = [0, 2].map(|k| vmovn_u16(vcombine_u16(blended[k], blended[k + 1])));
        let mut bytes = [0; 16];
        store_u8(&mut bytes, vqtbl1q_u8(vcombine_u8(low, high), without_fourth));
        block.copy_from_slice(&bytes[..12]);
    }
    scalar::inner(src, line.skip(pixels - rest.len() / 3), rest);
}

/// Red, green, blue and something.
///
/// # Safety
/// `Line::assert_inner` lets the place pass, in a picture with these bytes and this many a row.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn blend(src: &[u8], stride: i32, [x, y]: [i32; 2]) -> uint16x4_t {
    // Below 2²⁸, so it doesn't wrap; a check would cost as much as the rest.
    let at = (y >> 16).wrapping_mul(stride).wrapping_add((x >> 16).wrapping_mul(3)) as usize;
    debug_assert!(at + stride as usize + 8 <= src.len());
    // SAFETY: there is a pixel below, one to the right, and one after that; the loads need no alignment.
    let (above, below) = unsafe {
        let above = src.as_ptr().add(at);
        (vld1_u8(above), vld1_u8(above.add(stride as usize)))
    };
    let weight = |at: i32| at >> WEIGHT_SHIFT & (ONE - 1);
    let (wx, wy) = (weight(x), weight(y));
    let columns = vmull_u8(above, vdup_n_u8((ONE - wy) as u8));
    let columns = vmlal_u8(columns, below, vdup_n_u8(wy as u8));
    let (left, right) = (vget_low_u16(columns), vget_low_u16(vextq_u16::<3>(columns, columns)));
    let sums = vmlal_n_u16(vmull_n_u16(left, (ONE - wx) as u16), right, wx as u16);
    vrshrn_n_u32::<{ SUM_SHIFT as i32 }>(sums)
}
