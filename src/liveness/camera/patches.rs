//! What the aligned face shows: its skin's colour, whether the eyes are open, how much it has changed.

use std::ops::Range;

use crate::face::align::{AlignedFace, SIDE, TEMPLATE_112};
use crate::face::quality::{INNER_COLUMNS, INNER_ROWS};
use crate::kernels::colour;

/// Columns and rows of an aligned face.
struct Area(Range<usize>, Range<usize>);

/// Above the brows and below hair; each cheek, beside nose and mouth.
const SKIN: [Area; 3] = [Area(42..70, 24..36), Area(30..44, 68..82), Area(68..82, 68..82)];
/// An eye with its lids, from the template's point to each side; brows and bags under the eyes are further away.
const EYE_HALF_WIDTH: usize = 9;
const EYE_HALF_HEIGHT: usize = 5;
/// A face of less contrast than this (standard deviation in grey levels) is flat, and nothing can be a share of it.
const MIN_CONTRAST: f32 = 2.0;

/// Mean red, green and blue of forehead and cheeks, 0 to 255. The mean over more than 700 pixels tells a hundredth of a
/// level. `None` where none of them has a colour: in a grey camera's picture three equal numbers would say that no
/// heart beats.
pub(super) fn skin(face: &AlignedFace) -> Option<[f32; 3]> {
    let (data, mut sums, mut count, mut has_colour) = (face.image().data(), [0_u32; 3], 0_u32, false);
    for Area(columns, rows) in &SKIN {
        for y in rows.clone() {
            let row = &data[(y * SIDE + columns.start) * 3..(y * SIDE + columns.end) * 3];
            for pixel in row.as_chunks::<3>().0 {
                sums.iter_mut().zip(pixel).for_each(|(sum, byte)| *sum += u32::from(*byte));
                has_colour |= *pixel != [pixel[0]; 3];
            }
        }
        count += (columns.len() * rows.len()) as u32;
    }
    has_colour.then(|| sums.map(|sum| sum as f32 / count as f32))
}

/// The aligned face's luma, and that of the frame before.
pub(super) struct Patches {
    luma: [u8; SIDE * SIDE],
    before: [u8; SIDE * SIDE],
    /// How many of the two are held.
    held: u8,
}

impl Default for Patches {
    fn default() -> Self {
        Self { luma: [0; SIDE * SIDE], before: [0; SIDE * SIDE], held: 0 }
    }
}

impl Patches {
    pub(super) fn forget(&mut self) {
        self.held = 0;
    }

    /// Takes the next face.
    pub(super) fn update(&mut self, face: &AlignedFace) {
        std::mem::swap(&mut self.luma, &mut self.before);
        for (luma, pixel) in self.luma.iter_mut().zip(face.image().data().as_chunks().0) {
            *luma = colour::luma(*pixel);
        }
        self.held = (self.held + 1).min(2);
    }

    /// Mean absolute change of the inner face's luma from the frame before, grey levels; `None` in the first.
    pub(super) fn motion(&self) -> Option<f32> {
        let change = |y: usize| {
            let row = y * SIDE + INNER_COLUMNS.start..y * SIDE + INNER_COLUMNS.end;
            let both = self.luma[row.clone()].iter().zip(&self.before[row]);
            both.map(|(now, then)| u32::from(now.abs_diff(*then))).sum::<u32>()
        };
        let area = (INNER_ROWS.len() * INNER_COLUMNS.len()) as f32;
        (self.held == 2).then(|| INNER_ROWS.map(change).sum::<u32>() as f32 / area)
    }

    /// The mean of the standard deviations of luma around both eyes, as a share of the inner face's: white, iris and
    /// pupil of an open eye differ more than a closed lid does. `None` of a face without contrast.
    pub(super) fn eye_openness(&self) -> Option<f32> {
        let [left, right] = [0, 1].map(|eye| {
            let [x, y] = TEMPLATE_112.0[eye].map(|at| at.round() as usize);
            self.deviation(&Area(
                x - EYE_HALF_WIDTH..x + EYE_HALF_WIDTH + 1,
                y - EYE_HALF_HEIGHT..y + EYE_HALF_HEIGHT + 1,
            ))
        });
        let face = self.deviation(&Area(INNER_COLUMNS, INNER_ROWS));
        (face >= MIN_CONTRAST).then(|| (left + right) / 2.0 / face)
    }

    fn deviation(&self, Area(columns, rows): &Area) -> f32 {
        let (mut sum, mut squares) = (0_u64, 0_u64);
        for y in rows.clone() {
            for luma in &self.luma[y * SIDE + columns.start..y * SIDE + columns.end] {
                let luma = u64::from(*luma);
                sum += luma;
                squares += luma * luma;
            }
        }
        let n = (columns.len() * rows.len()) as u64;
        // In whole numbers, so that equal pixels give 0.
        (((n * squares - sum * sum) as f64).sqrt() / n as f64) as f32
    }
}
