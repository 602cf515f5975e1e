//! Eight rows in a register, four bytes each.
//!
//! VNNI multiplies unsigned bytes by signed ones and sums four products (`vpdpbusd`). AVX2 does so in two steps, of
//! which the first sums two products in 16 bits (`vpmaddubsw`) and is exact for queries within [`NARROW`]. Both take
//! rows moved up by 128, and the sums begin with what that adds.
//!
//! For other queries AVX2 takes bytes as halves of 16-bit numbers, even dimensions below, odd ones above. A shift right
//! leaves the odd ones, a shift left 256 times the even ones, and both are exact operands of `vpmaddwd`. That takes no
//! byte across lanes, as widening would.
//!
//! [`NARROW`]: crate::kernels::panels::NARROW

use std::arch::x86_64::*;

use super::{load_i8, store_i32};
use crate::kernels::panels::{MAX_DIMS, Quad, ROWS, Search, Task};

/// Vectors that hold one quad of a panel, eight rows each.
const VECTORS: usize = ROWS / 8;

#[target_feature(enable = "avx2")]
pub fn search(task: Task<'_>, search: &mut impl Search) {
    if task.is_narrow() {
        narrow(task, search);
    } else {
        wide(task, search);
    }
}

/// A kernel of the name, for the features, of which the expression adds four products to each lane of a sum.
macro_rules! by_bytes {
    ($name:ident, $features:literal, |$sum:ident, $rows:ident, $query:ident| $add:expr) => {
        #[target_feature(enable = $features)]
        pub fn $name(task: Task<'_>, search: &mut impl Search) {
            let start = _mm256_set1_epi32(-128 * task.query.as_flattened().iter().map(|x| i32::from(*x)).sum::<i32>());
            task.each_panel(search, |panel, floor| {
                let mut sums = [start; VECTORS];
                for (quad, query) in panel.iter().zip(task.query) {
                    let $query = _mm256_set1_epi32(i32::from_ne_bytes(query.map(|x| x as u8)));
                    for (sum, rows) in sums.iter_mut().zip(quad.0.as_flattened().as_chunks().0) {
                        let ($sum, $rows) = (*sum, _mm256_xor_si256(load_i8(rows), _mm256_set1_epi8(-128)));
                        *sum = $add;
                    }
                }
                above(&sums, floor)
            });
        }
    };
}

by_bytes!(by_avx512_vnni, "avx2,avx512f,avx512vl,avx512vnni", |sum, rows, query| _mm256_dpbusd_epi32(sum, rows, query));
by_bytes!(by_avx_vnni, "avx2,avxvnni", |sum, rows, query| _mm256_dpbusd_avx_epi32(sum, rows, query));
by_bytes!(narrow, "avx2", |sum, rows, query| {
    _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(rows, query), _mm256_set1_epi16(1)))
});

#[target_feature(enable = "avx2")]
fn wide(task: Task<'_>, search: &mut impl Search) {
    // Two dimensions as vpmaddwd takes them.
    let pair = |low: i8, high: i8| i32::from(low) & 0xffff | i32::from(high) << 16;
    let [mut even, mut odd] = [[0; MAX_DIMS / 4]; 2];
    for (k, &[a, b, c, d]) in task.query.iter().enumerate() {
        (even[k], odd[k]) = (pair(a, c), pair(b, d));
    }
    let (even, odd) = (&even[..task.query.len()], &odd[..task.query.len()]);
    task.each_panel(search, |panel, floor| above(&wide_sums(panel, even, odd), floor));
}

#[inline]
#[target_feature(enable = "avx2")]
fn wide_sums(panel: &[Quad], even: &[i32], odd: &[i32]) -> [__m256i; VECTORS] {
    let mut even_sums = [_mm256_setzero_si256(); VECTORS];
    let mut odd_sums = even_sums;
    for ((quad, &even), &odd) in panel.iter().zip(even).zip(odd) {
        let (even, odd) = (_mm256_set1_epi32(even), _mm256_set1_epi32(odd));
        for (k, rows) in quad.0.as_flattened().as_chunks().0.iter().enumerate() {
            let rows = load_i8(rows);
            even_sums[k] = _mm256_add_epi32(even_sums[k], _mm256_madd_epi16(_mm256_slli_epi16(rows, 8), even));
            odd_sums[k] = _mm256_add_epi32(odd_sums[k], _mm256_madd_epi16(_mm256_srai_epi16(rows, 8), odd));
        }
    }
    std::array::from_fn(|k| _mm256_add_epi32(_mm256_srai_epi32(even_sums[k], 8), odd_sums[k]))
}

/// The sums, where one of them is above the floor.
#[inline]
#[target_feature(enable = "avx2")]
fn above(sums: &[__m256i; VECTORS], floor: i32) -> Option<[i32; ROWS]> {
    let floor = _mm256_set1_epi32(floor);
    let [a, b, c, d] = sums.map(|sums| _mm256_cmpgt_epi32(sums, floor));
    let any = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
    if _mm256_testz_si256(any, any) == 1 {
        return None;
    }
    let mut out = [0; ROWS];
    for (out, sums) in out.as_chunks_mut().0.iter_mut().zip(sums) {
        store_i32(out, *sums);
    }
    Some(out)
}
