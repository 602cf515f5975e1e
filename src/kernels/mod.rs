//! The inner loops: colour conversion, warp, scaling, tensors, dot products, and the layers of eight-bit networks.
//!
//! Each kernel is written at least three times. Its scalar form, beside the public function, is the definition; AVX2
//! and NEON equal it bit for bit, so a door decides the same on every board and a test on a workstation speaks for them
//! all. That is possible because pixels are fixed point throughout, and sums of `f32` name the order in which they are
//! added.
//!
//! `unsafe` lives in this module and its children and, where it can't be avoided, in `hw`: here in loads and stores, of
//! which each helper states its bounds by type, and in `dispatch!`, which calls code for an instruction set right after
//! having seen that the CPU has it.

/// Calls `kernel::function(arguments)` of the instruction set, or the caller's own `scalar::function` where it isn't
/// there.
macro_rules! dispatch {
    ($isa:expr, $kernel:ident::$function:ident($($argument:expr),* $(,)?)) => {
        match $isa.base() {
            #[cfg(target_arch = "x86_64")]
            $crate::kernels::Isa::Avx2 if std::arch::is_x86_feature_detected!("avx2") => {
                // SAFETY: the kernel is unsafe to call for nothing but needing AVX2, which the guard has seen.
                unsafe { $crate::kernels::avx2::$kernel::$function($($argument),*) }
            }
            #[cfg(target_arch = "aarch64")]
            $crate::kernels::Isa::Neon if std::arch::is_aarch64_feature_detected!("neon") => {
                // SAFETY: the kernel is unsafe to call for nothing but needing NEON, which the guard has seen.
                unsafe { $crate::kernels::neon::$kernel::$function($($argument),*) }
            }
            _ => scalar::$function($($argument),*),
        }
    };
}

pub mod colour;
pub mod dot;
mod isa;
pub mod panels;
pub mod q8;
pub mod scale;
pub mod tensor;
pub mod warp;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(test)]
mod suite;

pub use isa::{Isa, OVERRIDE, active, note};
