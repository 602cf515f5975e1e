//! Which parts of a face a score hangs on: a patch slides over the picture, and where it lies, the score falls.
//!
//! Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014), section 4.2: cover a square with a
//! neutral colour, ask the network again, and note how much of the score is gone. It needs no gradient, so it asks the
//! network that runs at the door, eight-bit kernels and all.
//!
//! A map has [`GRID`] x [`GRID`] places and a patch is two places wide. A box of width w passes no detail finer than
//! its first zero at 1/w cycles a pixel, which is what a step of w/2 samples at least: a finer step would cost four
//! times the runs and show little more. 14 places make the patch of an aligned face 16 pixels wide: an eye (18 pixels),
//! and not an eye with the nose.

use super::align::{AlignedFace, SIDE, TEMPLATE_112, to_source};
use super::encoding::Encoding;
use super::geometry::{Landmarks, Rect};
use super::pipeline::Faces;
use crate::frame::RgbImage;
use crate::infer::InferError;

/// Places a side; a map takes `GRID * GRID` runs of the network, 196.
pub const GRID: usize = 14;
/// From one place to the next in an aligned face, in pixels; a patch is twice as wide.
pub const STEP: f32 = (SIDE / GRID) as f32;
/// How much of a picture a detector's map shows: so many times the longer side of the face's box.
pub const DETECTOR_ZOOM: f32 = 2.0;

/// The face in an aligned picture: the mean outline of 633 aligned faces and its mirror image, from the top of the
/// forehead over temples and jaw to the chin (`models/train/outline.py`; the outlines of single collections are 82 to
/// 87 pixels wide). Hair, ears, neck and background are outside; the crop itself cuts the last pixels of the chin off.
///
/// It ends where the ears begin. The width between the cheekbones, which tables of measurements have (132 mm, 71
/// pixels), cuts off what of the cheeks is seen beside them.
pub const FACE: Outline = Outline {
    middle: 55.9,
    edge: [
        [0.0, 22.2],
        [11.7, 22.5],
        [21.6, 24.1],
        [30.6, 27.4],
        [36.3, 32.4],
        [39.7, 38.7],
        [41.4, 45.5],
        [41.8, 53.9],
        [41.1, 61.8],
        [40.5, 70.0],
        [39.1, 78.7],
        [36.4, 87.8],
        [32.6, 95.3],
        [28.2, 100.9],
        [22.6, 105.8],
        [18.0, 109.3],
        [13.0, 112.4],
        [7.3, 114.6],
        [0.0, 115.4],
    ],
};

/// An upright outline that is the same on its left and on its right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outline {
    /// The line that it is mirrored about.
    pub middle: f32,
    /// From the top down: how far from the middle the edge is, and at what height.
    pub edge: [[f32; 2]; 19],
}

impl Outline {
    /// Whether a point lies in it or on its edge; NaN lies nowhere.
    pub fn holds(&self, [x, y]: [f32; 2]) -> bool {
        self.edge.windows(2).any(|part| {
            let ([above, top], [below, bottom]) = (part[0], part[1]);
            let half = above + (below - above) * (y - top) / (bottom - top);
            (top..=bottom).contains(&y) && (x - self.middle).abs() <= half
        })
    }
}

named! {
    /// A part of a picture with a face.
    Part {
        /// With the brows.
        Eyes = "eyes",
        /// From the bridge to the upper lip.
        Nose = "nose",
        Mouth = "mouth",
        Forehead = "forehead",
        /// With jaw and chin: whatever of the face is none of the others.
        Cheeks = "cheeks",
        /// Hair, ears, neck, a hat, the background.
        Outside = "outside",
    }
}

impl Part {
    /// The part at a point of the aligned face, in its pixels. Sizes are means of men's and women's faces in a table of
    /// measurements (doi 10.1186/s40902-019-0191-7, table 9), at .54 pixels a millimetre: an eye 34 mm wide (18 pixels,
    /// the brow 3 beyond each end and up to 13 above), a nose 42, a mouth 54.
    pub fn at([x, y]: [f32; 2]) -> Self {
        let [left, right, nose, left_mouth, right_mouth] = TEMPLATE_112.0;
        let near = |x: f32, of: f32, within: f32| (x - of).abs() <= within;
        let eyes = f32::midpoint(left[1], right[1]);
        let mouth = f32::midpoint(left_mouth[1], right_mouth[1]);
        let beside_the_nose = [left, right].iter().any(|eye| near(x, eye[0], 12.5));
        if !FACE.holds([x, y]) {
            Self::Outside
        } else if y < eyes - 13.0 {
            Self::Forehead
        } else if y <= eyes + 8.0 && beside_the_nose {
            Self::Eyes
        } else if y <= nose[1] + 8.0 && near(x, nose[0], 11.5) {
            Self::Nose
        } else if near(y, mouth, 10.0) && (left_mouth[0] - 4.0..=right_mouth[0] + 4.0).contains(&x) {
            Self::Mouth
        } else {
            Self::Cheeks
        }
    }
}

/// Where the places of a map lie in the picture that is covered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Places {
    left: f32,
    top: f32,
    step: f32,
}

impl Places {
    /// All over an aligned face.
    pub const ALIGNED: Self = Self { left: -0.5, top: -0.5, step: STEP };

    /// The square around a face's box that shows [`DETECTOR_ZOOM`] times its longer side.
    pub fn around(face: &Rect) -> Self {
        let side = DETECTOR_ZOOM * face.width.max(face.height);
        let [x, y] = face.centre();
        Self { left: x - side / 2.0, top: y - side / 2.0, step: side / GRID as f32 }
    }

    /// The middle of a place, and of the patch that lies there.
    pub fn centre(&self, row: usize, column: usize) -> [f32; 2] {
        let along = |from: f32, n: usize| from + (n as f32 + 0.5) * self.step;
        [along(self.left, column), along(self.top, row)]
    }

    /// What the map shows, as a square: its middle and its side.
    pub fn square(&self) -> ([f32; 2], f32) {
        let side = self.step * GRID as f32;
        ([self.left + side / 2.0, self.top + side / 2.0], side)
    }
}

/// How much of a score is gone with each place covered: positive where the place carried it, negative where it spoke
/// against it.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    pub places: Places,
    pub drops: [[f32; GRID]; GRID],
}

/// The place that carried most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    pub at: [f32; 2],
    pub drop: f32,
}

impl Map {
    /// Covers place after place of `picture` with `colour` and asks for the score each time; `picture` is whole again
    /// at the end. `whole` is the score of the picture uncovered. A patch is cut where the picture ends.
    ///
    /// # Errors
    /// Those of `score`; `picture` is then left covered.
    pub fn slide<E>(
        picture: &mut RgbImage,
        places: Places,
        colour: [u8; 3],
        whole: f32,
        mut score: impl FnMut(&RgbImage) -> Result<f32, E>,
    ) -> Result<Self, E> {
        let mut drops = [[0.0; GRID]; GRID];
        let original = picture.clone();
        for (row, line) in drops.iter_mut().enumerate() {
            for (column, drop) in line.iter_mut().enumerate() {
                let patch = Patch::new(places.centre(row, column), places.step, picture);
                patch.fill(picture, |_| colour);
                *drop = whole - score(picture)?;
                patch.fill(picture, |at| [0, 1, 2].map(|channel| original.data()[at + channel]));
            }
        }
        Ok(Self { places, drops })
    }

    /// Each place's middle and drop, row by row.
    pub fn iter(&self) -> impl Iterator<Item = ([f32; 2], f32)> + '_ {
        let places = self.drops.iter().enumerate().flat_map(|(r, row)| (0..row.len()).map(move |c| (r, c)));
        places.map(|(row, column)| (self.places.centre(row, column), self.drops[row][column]))
    }

    /// What each part's share of all positive drops is, in the order of [`Part::ALL`]; `part` names the part at a
    /// place. `None` where nothing carried the score.
    pub fn shares(&self, part: impl Fn([f32; 2]) -> Part) -> Option<[f32; Part::ALL.len()]> {
        let mut shares = [0.0; Part::ALL.len()];
        for (at, drop) in self.iter().filter(|(_, drop)| *drop > 0.0) {
            shares[part(at) as usize] += drop;
        }
        let total: f32 = shares.iter().sum();
        (total.is_finite() && total > 0.0).then(|| shares.map(|share| share / total))
    }

    /// The place whose cover takes most of the score.
    pub fn peak(&self) -> Peak {
        let peaks = self.iter().map(|(at, drop)| Peak { at, drop });
        peaks.fold(
            Peak { at: [0.0; 2], drop: f32::NEG_INFINITY },
            |best, it| if it.drop > best.drop { it } else { best },
        )
    }

    /// The largest drop or gain, which a scale of colours ends at.
    pub fn extent(&self) -> f32 {
        self.drops.iter().flatten().fold(0.0, |most, drop| drop.abs().max(most))
    }
}

/// Which parts of an aligned face a score of its encoding hangs on. `whole` is the score of the face uncovered; `each`
/// is told after every place.
///
/// # Errors
/// The encoder failed.
pub fn of_encoding(
    faces: &mut Faces,
    face: &AlignedFace,
    whole: f32,
    score: impl Fn(&Encoding) -> f32,
    each: impl Fn(),
) -> Result<Map, InferError> {
    let colour = mean_colour(face.image(), |at| FACE.holds(at));
    Map::slide(&mut face.image().clone(), Places::ALIGNED, colour, whole, |picture| {
        each();
        let covered = AlignedFace::from_aligned(picture.clone()).expect("covering changes no size");
        faces.encoder.encode(&covered).map(|encoding| score(&encoding))
    })
}

/// Which parts of a picture the detector's score of one face hangs on.
///
/// The picture is `shown`, what the detector is shown of a photo, and so are the coordinates of `face` and of the map.
/// The score is the highest of all cells that see this face, 0 to 1, whether it would be told of or not.
///
/// # Errors
/// The detector failed.
pub fn of_detection(faces: &mut Faces, shown: &RgbImage, face: &Rect, each: impl Fn()) -> Result<Map, InferError> {
    let (mut picture, whole) = (shown.clone(), faces.detector.score_near(shown, face)?);
    let [right, bottom] = [face.left + face.width, face.top + face.height];
    let colour = mean_colour(shown, |[x, y]| (face.left..right).contains(&x) && (face.top..bottom).contains(&y));
    Map::slide(&mut picture, Places::around(face), colour, whole, |picture| {
        each();
        faces.detector.score_near(picture, face)
    })
}

/// The pixels that a patch covers.
struct Patch {
    columns: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
}

impl Patch {
    /// The square that reaches `half` to each side of `centre`, as far as the picture goes.
    fn new(centre: [f32; 2], half: f32, picture: &RgbImage) -> Self {
        // Pixel i covers i − ½ to i + ½; casting saturates, so what lies to the left of the picture is 0.
        let range = |at: f32, len: usize| {
            let [from, to] = [at - half, at + half].map(|edge| (edge + 0.5).round() as usize);
            from.min(len)..to.min(len)
        };
        Self { columns: range(centre[0], picture.width()), rows: range(centre[1], picture.height()) }
    }

    fn fill(&self, picture: &mut RgbImage, colour: impl Fn(usize) -> [u8; 3]) {
        let width = picture.width();
        for y in self.rows.clone() {
            for x in self.columns.clone() {
                let at = (y * width + x) * 3;
                picture.data_mut()[at..at + 3].copy_from_slice(&colour(at));
            }
        }
    }
}

/// The mean colour of the pixels for which `is_face` holds; black where it holds for none.
pub fn mean_colour(picture: &RgbImage, is_face: impl Fn([f32; 2]) -> bool) -> [u8; 3] {
    let (mut sum, mut count) = ([0u64; 3], 0);
    for (i, pixel) in picture.data().chunks_exact(3).enumerate() {
        if is_face([(i % picture.width()) as f32, (i / picture.width()) as f32]) {
            sum.iter_mut().zip(pixel).for_each(|(sum, level)| *sum += u64::from(*level));
            count += 1;
        }
    }
    sum.map(|sum| u8::try_from(sum.checked_div(count).unwrap_or(0)).unwrap_or(u8::MAX))
}

/// From the picture in which a face has these points to the aligned face; `None` where they are those of no face.
pub fn to_aligned(landmarks: &Landmarks) -> Option<impl Fn([f32; 2]) -> [f32; 2] + use<>> {
    let [a, b, c, _, _, f] = to_source(landmarks)?.coefficients();
    // The inverse of a similarity: x' − c = a·x + b·y, y' − f = −b·x + a·y.
    let norm = a * a + b * b;
    (norm > 0.0).then_some(move |[x, y]: [f32; 2]| {
        let (x, y) = (x - c, y - f);
        [(a * x - b * y) / norm, (b * x + a * y) / norm]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of one grey level but for a white square of 4 pixels.
    fn spotted(x: usize, y: usize) -> RgbImage {
        let mut picture = RgbImage::new(SIDE, SIDE);
        picture.data_mut().fill(100);
        Patch { columns: x..x + 4, rows: y..y + 4 }.fill(&mut picture, |_| [255; 3]);
        picture
    }

    fn white(picture: &RgbImage) -> Result<f32, ()> {
        Ok(picture.data().iter().filter(|level| **level == 255).count() as f32 / 48.0)
    }

    #[test]
    fn a_score_that_hangs_on_one_spot_falls_under_the_four_patches_that_cover_it_and_the_picture_is_whole_again() {
        let (picture, mut covered) = (spotted(44, 52), spotted(44, 52));
        let map = Map::slide(&mut covered, Places::ALIGNED, [100; 3], 1.0, white).unwrap();
        assert_eq!(covered, picture);
        let gone: Vec<_> = map.iter().filter(|(_, drop)| *drop > 0.0).collect();
        let four = [[43.5, 51.5], [51.5, 51.5], [43.5, 59.5], [51.5, 59.5]];
        assert_eq!(gone, four.map(|at| (at, 1.0)));
    }

    #[test]
    fn what_speaks_against_a_score_is_negative_and_no_part_of_the_shares() {
        let against = |picture: &RgbImage| white(picture).map(|score| -score);
        let map = Map::slide(&mut spotted(44, 52), Places::ALIGNED, [100; 3], -1.0, against).unwrap();
        assert!(map.extent() == 1.0 && map.peak().drop == 0.0);
        assert_eq!(map.shares(Part::at), None);
    }

    #[test]
    fn each_point_of_the_template_lies_in_its_own_part() {
        let parts = TEMPLATE_112.0.map(Part::at);
        assert_eq!(parts, [Part::Eyes, Part::Eyes, Part::Nose, Part::Mouth, Part::Mouth]);
        assert_eq!(
            [[56.0, 28.0], [30.0, 80.0], [3.0, 50.0], [f32::NAN, 5.0]].map(Part::at),
            [Part::Forehead, Part::Cheeks, Part::Outside, Part::Outside]
        );
        assert!(Part::ALL.into_iter().enumerate().all(|(i, part)| part as usize == i));
    }

    #[test]
    fn half_of_the_places_are_in_the_face_so_that_a_flat_map_is_told_from_one_that_looks_at_it() {
        let flat = Map { places: Places::ALIGNED, drops: [[0.5; GRID]; GRID] };
        let outside = flat.shares(Part::at).unwrap()[Part::Outside as usize];
        assert!((0.45..0.55).contains(&outside), "{outside}");
    }

    #[test]
    fn a_patch_beyond_the_edge_is_cut_and_one_far_away_covers_nothing() {
        let picture = RgbImage::new(20, 10);
        let corner = Patch::new([-0.5, -0.5], 8.0, &picture);
        assert_eq!((corner.columns, corner.rows), (0..8, 0..8));
        let away = Patch::new([400.0, -90.0], 8.0, &picture);
        assert!(away.columns.is_empty() && away.rows.is_empty());
    }

    #[test]
    fn a_turned_face_s_points_come_back_to_the_template() {
        let (sin, cos) = 0.3f32.sin_cos();
        let turned = TEMPLATE_112.map(|[x, y]| [1.5 * (x * cos - y * sin) + 110.0, 1.5 * (x * sin + y * cos) + 80.0]);
        let back = to_aligned(&turned).unwrap();
        for (point, template) in turned.0.into_iter().zip(TEMPLATE_112.0) {
            let [x, y] = back(point);
            assert!((x - template[0]).abs() < 1e-3 && (y - template[1]).abs() < 1e-3, "{x} {y}");
        }
    }

    #[test]
    fn the_neutral_colour_is_the_faces_own_and_that_of_nothing_is_black() {
        let picture = spotted(44, 52);
        assert_eq!(mean_colour(&picture, |[x, _]| x < 40.0), [100; 3]);
        assert_eq!(mean_colour(&picture, |_| false), [0; 3]);
    }
}
