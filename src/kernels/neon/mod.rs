//! The kernels in NEON. What doesn't fill a vector is left to the scalar form, on the rest of the same slices.
//!
//! Every function is safe but for needing NEON. Bytes move through the helpers below, whose bounds are the types of
//! their arguments.

use std::arch::aarch64::*;

pub(super) mod colour;
pub(super) mod dot;
pub(super) mod panels;
pub(super) mod scale;
pub(super) mod tensor;
pub(super) mod warp;

/// Functions that move the whole of an array to or from registers.
macro_rules! moves {
    (load $($name:ident: [$element:ty; $n:literal] -> $vector:ty = $intrinsic:ident;)*) => {$(
        #[inline]
        #[target_feature(enable = "neon")]
        fn $name(from: &[$element; $n]) -> $vector {
            // SAFETY: it reads as many elements as the array has, and needs no alignment.
            unsafe { $intrinsic(from.as_ptr()) }
        }
    )*};
    (store $($name:ident: [$element:ty; $n:literal] <- $vector:ty = $intrinsic:ident;)*) => {$(
        #[inline]
        #[target_feature(enable = "neon")]
        fn $name(to: &mut [$element; $n], vector: $vector) {
            // SAFETY: it writes as many elements as the array has, and needs no alignment.
            unsafe { $intrinsic(to.as_mut_ptr(), vector) }
        }
    )*};
}

moves! { load
    load_u8: [u8; 16] -> uint8x16_t = vld1q_u8;
    load_i8: [i8; 16] -> int8x16_t = vld1q_s8;
    load_f32: [f32; 4] -> float32x4_t = vld1q_f32;
    load_twos: [u8; 16] -> uint8x8x2_t = vld2_u8;
    load_threes: [u8; 24] -> uint8x8x3_t = vld3_u8;
    load_threes_q: [u8; 48] -> uint8x16x3_t = vld3q_u8;
    load_fours: [u8; 32] -> uint8x8x4_t = vld4_u8;
}

moves! { store
    store_u8: [u8; 16] <- uint8x16_t = vst1q_u8;
    store_f32: [f32; 4] <- float32x4_t = vst1q_f32;
    store_i32: [i32; 4] <- int32x4_t = vst1q_s32;
    store_threes: [u8; 24] <- uint8x8x3_t = vst3_u8;
    store_threes_q: [u8; 48] <- uint8x16x3_t = vst3q_u8;
}

/// The same four bytes, four times.
#[inline]
#[target_feature(enable = "neon")]
fn repeat4(bytes: [i8; 4]) -> int8x16_t {
    vreinterpretq_s8_s32(vdupq_n_s32(i32::from_ne_bytes(bytes.map(|byte| byte as u8))))
}
