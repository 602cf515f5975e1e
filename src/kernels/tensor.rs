//! Pictures as the tensors that networks take.

use super::{Isa, active};
use crate::frame::RgbImage;

/// Three planes of `f32` (NCHW with N = 1, rows packed), R G B or, with `swap_rb`, B G R. Plane c is (sample −
/// `mean[c]`)·`scale[c]`, the difference rounded to `f32`, then the product. `mean` and `scale` are in the order of the
/// planes; NaN in them goes where it says.
///
/// # Panics
/// If `out` does not hold `3 * height * width` numbers.
pub fn rgb_to_planar_f32(img: &RgbImage, mean: [f32; 3], scale: [f32; 3], swap_rb: bool, out: &mut [f32]) {
    planar_on(active(), img, mean, scale, swap_rb, out);
}

pub(super) fn planar_on(
    isa: Isa,
    img: &RgbImage,
    mut mean: [f32; 3],
    mut scale: [f32; 3],
    swap_rb: bool,
    out: &mut [f32],
) {
    let pixels = img.width() * img.height();
    assert_eq!(out.len(), 3 * pixels, "a tensor for {}x{} pixels", img.width(), img.height());
    let (first, rest) = out.split_at_mut(pixels);
    let (second, third) = rest.split_at_mut(pixels);
    let mut planes = [first, second, third];
    if swap_rb {
        planes.reverse();
        mean.reverse();
        scale.reverse();
    }
    dispatch!(isa, tensor::planar(img.data(), mean, scale, planes));
}

/// The definition.
pub(super) mod scalar {
    /// `mean`, `scale` and planes of red, green and blue.
    pub fn planar(rgb: &[u8], mean: [f32; 3], scale: [f32; 3], planes: [&mut [f32]; 3]) {
        for (c, plane) in planes.into_iter().enumerate() {
            for (pixel, out) in rgb.as_chunks::<3>().0.iter().zip(plane) {
                *out = (f32::from(pixel[c]) - mean[c]) * scale[c];
            }
        }
    }
}
