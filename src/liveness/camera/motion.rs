//! Whether what is behind the face moves: it does behind a person who carries a picture's own background along.

use crate::face::Rect;
use crate::frame::RgbImage;
use crate::time::Duration;

/// Between frames further apart than this nothing is compared.
pub(super) const MAX_INTERVAL: Duration = Duration::from_millis(250);
/// The longer side of the small picture.
const MAX_CELLS: usize = 96;
/// The detector's box, enlarged so many times, hides face, hair and what the face uncovers as it moves.
const FACE_BOX: f32 = 1.4;
/// With fewer cells beside the face there is no background.
const MIN_CELLS: u32 = 200;

/// Luma of the middle of each cell of a grid over the frame, 2 x 2 pixels; of this frame and the one before.
pub(super) struct Motion {
    now: [u8; MAX_CELLS * MAX_CELLS],
    before: [u8; MAX_CELLS * MAX_CELLS],
    /// Sides of the frame that `now` is of.
    sides: Option<(usize, usize)>,
}

impl Default for Motion {
    fn default() -> Self {
        Self { now: [0; MAX_CELLS * MAX_CELLS], before: [0; MAX_CELLS * MAX_CELLS], sides: None }
    }
}

impl Motion {
    pub(super) fn forget(&mut self) {
        self.sides = None;
    }

    /// Takes a frame, and tells the mean absolute change of luma outside of the face from the frame before, grey
    /// levels. `None` without one of the same size before, or where the face fills the frame.
    pub(super) fn update(&mut self, image: &RgbImage, face: &Rect) -> Option<f32> {
        let sides = (image.width(), image.height());
        let had = self.sides.replace(sides) == Some(sides);
        std::mem::swap(&mut self.now, &mut self.before);
        let step = sides.0.max(sides.1).div_ceil(MAX_CELLS).max(2);
        let (columns, rows) = (sides.0 / step, sides.1 / step);
        let [x, y] = face.centre();
        let (half_width, half_height) = (face.width * FACE_BOX / 2.0, face.height * FACE_BOX / 2.0);
        let (mut change, mut count) = (0_u32, 0_u32);
        for row in 0..rows {
            let top = row * step + step / 2 - 1;
            let is_level = (top as f32 + 0.5 - y).abs() <= half_height;
            for column in 0..columns {
                let left = column * step + step / 2 - 1;
                let luma = luma_of_four(image, left, top);
                self.now[row * MAX_CELLS + column] = luma;
                // NaN, of a box that is none, hides nothing.
                if !(is_level && (left as f32 + 0.5 - x).abs() <= half_width) {
                    change += u32::from(luma.abs_diff(self.before[row * MAX_CELLS + column]));
                    count += 1;
                }
            }
        }
        (had && count >= MIN_CELLS).then(|| change as f32 / count as f32)
    }
}

/// BT.601 over 2 x 2 pixels.
fn luma_of_four(image: &RgbImage, left: usize, top: usize) -> u8 {
    let (data, stride) = (image.data(), image.width() * 3);
    let at = top * stride + left * 3;
    let (above, below) = (&data[at..at + 6], &data[at + stride..at + stride + 6]);
    let sum = |c: usize| [above[c], above[c + 3], below[c], below[c + 3]].map(u32::from).iter().sum::<u32>();
    ((77 * sum(0) + 150 * sum(1) + 29 * sum(2)) >> 10) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, pixel: impl Fn(usize, usize) -> u8) -> RgbImage {
        let pixels = (0..width * height).flat_map(|i| [pixel(i % width, i / width); 3]).collect();
        RgbImage::from_rgb8(width, height, pixels).unwrap()
    }

    const FACE: Rect = Rect { left: 60.0, top: 40.0, width: 40.0, height: 40.0 };

    #[test]
    fn the_change_is_that_outside_of_the_face_alone() {
        let inside = |x: usize, y: usize| (54..106).contains(&x) && (34..86).contains(&y);
        let first = picture(160, 120, |_, _| 100);
        let second = picture(160, 120, |x, y| if inside(x, y) { 250 } else { 107 });
        let mut motion = Motion::default();
        assert_eq!(motion.update(&first, &FACE), None);
        assert_eq!(motion.update(&first, &FACE), Some(0.0));
        assert_eq!(motion.update(&second, &FACE), Some(7.0));
    }

    #[test]
    fn after_a_pause_another_size_or_with_a_face_that_fills_the_frame_there_is_none() {
        let grey = picture(160, 120, |_, _| 100);
        let mut motion = Motion::default();
        let everything = Rect { left: -100.0, top: -100.0, width: 400.0, height: 400.0 };
        assert_eq!((motion.update(&grey, &FACE), motion.update(&grey, &everything)), (None, None));
        motion.forget();
        assert_eq!(motion.update(&grey, &FACE), None);
        assert_eq!(motion.update(&picture(120, 160, |_, _| 100), &FACE), None);
        for sides in [(1, 1), (3, 700), (2, 2), (8192, 1)] {
            let odd = picture(sides.0, sides.1, |_, _| 9);
            assert_eq!(motion.update(&odd, &FACE), None);
        }
    }
}
