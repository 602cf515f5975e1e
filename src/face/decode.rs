//! From a detector's maps to faces: YuNet's and SCRFD's decoding, and merging what overlaps.

use super::detect::{Detection, Detections};
use super::geometry::{Landmarks, Rect};
use crate::infer::Outputs;
use crate::infer::network::OutputSpec;

/// Cells of the three maps, in pixels.
const STRIDES: [usize; 3] = [8, 16, 32];
/// SCRFD has two anchors in each cell.
const SCRFD_ANCHORS: usize = 2;
/// Of all candidates, so many of the best are merged.
const MAX_CANDIDATES: usize = 512;
/// Candidates that overlap more than this show the same face from one cell further, and refine it.
const MIN_MERGE_IOU: f32 = 0.6;
/// What overlaps a better face more than this is not a face of its own (OpenCV's and InsightFace's default).
const SUPPRESS: f32 = 0.3;

const fn cells(width: usize, height: usize, stride: usize) -> usize {
    (width / stride) * (height / stride)
}

/// The outputs that YuNet has for an input of this size (Wu et al. 2023; the names are OpenCV Zoo's).
pub fn yunet_outputs(width: usize, height: usize) -> [OutputSpec; 12] {
    const NAMES: [&str; 12] = [
        "cls_8", "cls_16", "cls_32", "obj_8", "obj_16", "obj_32", "bbox_8", "bbox_16", "bbox_32", "kps_8", "kps_16",
        "kps_32",
    ];
    const NUMBERS: [usize; 4] = [1, 1, 4, 10];
    std::array::from_fn(|i| OutputSpec {
        name: NAMES[i],
        len: cells(width, height, STRIDES[i % 3]) * NUMBERS[i / 3],
        each: NUMBERS[i / 3],
    })
}

/// The outputs that SCRFD with points has for an input of this size (Guo et al. 2021), by position.
pub fn scrfd_outputs(width: usize, height: usize) -> [OutputSpec; 9] {
    const NUMBERS: [usize; 3] = [1, 4, 10];
    std::array::from_fn(|i| OutputSpec {
        name: "",
        len: cells(width, height, STRIDES[i % 3]) * SCRFD_ANCHORS * NUMBERS[i / 3],
        each: NUMBERS[i / 3],
    })
}

/// Adds each cell of YuNet whose score reaches `min_score`.
///
/// Score is √(class · objectness); the box has its centre at (cell + offset) · stride and sides exp(size) · stride.
pub fn yunet(maps: &Outputs, width: usize, min_score: f32, into: &mut Vec<Detection>) {
    for (level, stride) in STRIDES.into_iter().enumerate() {
        let [cls, obj, boxes, points] = [0, 3, 6, 9].map(|map| maps.get(map + level));
        let size = stride as f32;
        for (cell, (cls, obj)) in cls.iter().zip(obj).enumerate() {
            let score = (cls.clamp(0.0, 1.0) * obj.clamp(0.0, 1.0)).sqrt();
            if score >= min_score {
                let corner = [(cell % (width / stride)) as f32, (cell / (width / stride)) as f32];
                let b = &boxes[cell * 4..][..4];
                let (w, h) = (b[2].exp() * size, b[3].exp() * size);
                let centre = [(corner[0] + b[0]) * size, (corner[1] + b[1]) * size];
                let bbox = Rect { left: centre[0] - w / 2.0, top: centre[1] - h / 2.0, width: w, height: h };
                let at = |p: usize, axis: usize| (points[cell * 10 + p * 2 + axis] + corner[axis]) * size;
                push(into, bbox, at, score);
            }
        }
    }
}

/// Adds each anchor of SCRFD whose score reaches `min_score`.
///
/// The box gives its four distances from the anchor at cell · stride, the points theirs, all in strides.
pub fn scrfd(maps: &Outputs, width: usize, min_score: f32, into: &mut Vec<Detection>) {
    for (level, stride) in STRIDES.into_iter().enumerate() {
        let [scores, boxes, points] = [0, 3, 6].map(|map| maps.get(map + level));
        let size = stride as f32;
        for (anchor, &score) in scores.iter().enumerate() {
            if score >= min_score {
                let cell = anchor / SCRFD_ANCHORS;
                let corner = [(cell % (width / stride)) as f32, (cell / (width / stride)) as f32];
                let b = &boxes[anchor * 4..][..4];
                let bbox = Rect {
                    left: (corner[0] - b[0]) * size,
                    top: (corner[1] - b[1]) * size,
                    width: (b[0] + b[2]) * size,
                    height: (b[1] + b[3]) * size,
                };
                let at = |p: usize, axis: usize| (points[anchor * 10 + p * 2 + axis] + corner[axis]) * size;
                push(into, bbox, at, score);
            }
        }
    }
}

fn push(into: &mut Vec<Detection>, bbox: Rect, at: impl Fn(usize, usize) -> f32, score: f32) {
    let landmarks = Landmarks(std::array::from_fn(|p| [at(p, 0), at(p, 1)]));
    // exp() of a wild size is infinite, and a box of negative sides is none.
    if landmarks.is_finite() && bbox.area().is_finite() && bbox.width > 0.0 && bbox.height > 0.0 {
        into.push(Detection { bbox, landmarks, score });
    }
}

/// Merges candidates into faces, the best first, and empties them.
///
/// The classical suppression keeps the best cell's box and points. Here every cell that sees the same face has a say,
/// weighing score⁴: cells err independently, and their mean is a tenth nearer to the truth (docs/measurements.md).
pub fn merge(candidates: &mut Vec<Detection>) -> Detections {
    candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
    let mut faces = Detections::new();
    while let (Some(&best), false) = (candidates.first(), faces.is_full()) {
        let mut face = best;
        let mut total = weight(&best);
        for other in candidates.iter().skip(1).filter(|c| c.bbox.iou(&best.bbox) >= MIN_MERGE_IOU) {
            total += weight(other);
            face = blend(&face, other, weight(other) / total);
        }
        // The loop ends when the faces are full, so there is room.
        let _ = faces.push(face);
        candidates.retain(|c| c.bbox.iou(&best.bbox) < SUPPRESS);
        // Whatever its area rounds to, the best one is done.
        if candidates.first() == Some(&best) {
            candidates.remove(0);
        }
    }
    candidates.clear();
    faces
}

fn weight(of: &Detection) -> f32 {
    of.score.powi(4)
}

fn blend(face: &Detection, other: &Detection, share: f32) -> Detection {
    let mix = |a: f32, b: f32| a + (b - a) * share;
    let (a, b) = (&face.bbox, &other.bbox);
    Detection {
        bbox: Rect {
            left: mix(a.left, b.left),
            top: mix(a.top, b.top),
            width: mix(a.width, b.width),
            height: mix(a.height, b.height),
        },
        landmarks: face.landmarks.blend(&other.landmarks, share),
        score: face.score,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(left: f32, score: f32) -> Detection {
        let bbox = Rect { left, top: 0.0, width: 10.0, height: 10.0 };
        Detection { bbox, landmarks: Landmarks([[left, left]; 5]), score }
    }

    #[test]
    fn cells_that_see_one_face_agree_on_one_and_others_stay_apart() {
        let mut candidates = vec![face(1.0, 0.5), face(0.0, 1.0), face(40.0, 0.8), face(4.0, 0.6)];
        let faces = merge(&mut candidates);
        assert_eq!(faces.len(), 2);
        let share = 0.5f32.powi(4) / (1.0 + 0.5f32.powi(4));
        assert!((faces[0].landmarks.0[0][0] - share).abs() < 1e-6);
        assert_eq!((faces[0].score, faces[1].score), (1.0, 0.8));
        assert!(candidates.is_empty());
    }

    #[test]
    fn more_faces_than_fit_leaves_out_the_least_certain() {
        let mut candidates: Vec<_> = (0..100).map(|i| face(i as f32 * 20.0, 0.5 + i as f32 / 1000.0)).collect();
        let faces = merge(&mut candidates);
        assert!(faces.is_full());
        assert!((faces[0].score - 0.599).abs() < 1e-6);
    }

    #[test]
    fn a_box_without_area_or_end_is_no_face() {
        let mut into = Vec::new();
        let at = |_: usize, _: usize| 0.0;
        push(&mut into, Rect { width: f32::INFINITY, height: 1.0, ..Rect::default() }, at, 1.0);
        push(&mut into, Rect { width: -1.0, height: -1.0, ..Rect::default() }, at, 1.0);
        push(&mut into, Rect { width: 1.0, height: 1.0, ..Rect::default() }, |_, _| f32::NAN, 1.0);
        assert!(into.is_empty());
    }

    /// Maps for 64 x 32 pixels: all zero but for one cell of the level with stride 16, numbered row by row.
    fn one_cell(kinds: &[usize], anchors: usize, cell: usize, numbers: &[&[f32]]) -> Vec<Vec<f32>> {
        let mut maps = Vec::new();
        for (numbers, kind) in numbers.iter().zip(kinds) {
            for stride in STRIDES {
                let mut map = vec![0.0; cells(64, 32, stride) * anchors * kind];
                if stride == 16 {
                    map[cell * kind..][..*kind].copy_from_slice(numbers);
                }
                maps.push(map);
            }
        }
        maps
    }

    #[test]
    fn a_cell_of_yunet_becomes_the_face_that_its_paper_says() {
        let points = [-0.5, 0.25, 0.5, 0.25, 0.0, 0.5, -0.25, 1.0, 0.25, 1.0];
        // Cell 6 of four a row: column 2, row 1.
        let maps = one_cell(&[1, 1, 4, 10], 1, 6, &[&[0.81], &[1.5], &[0.5, 0.25, 0.0, 2.0f32.ln()], &points]);
        let maps: Vec<_> = maps.iter().map(Vec::as_slice).collect();
        let promised: Vec<_> = yunet_outputs(64, 32).iter().map(|o| o.len).collect();
        assert_eq!(promised, maps.iter().map(|m| m.len()).collect::<Vec<_>>());
        let mut found = Vec::new();
        yunet(&Outputs::of(&maps), 64, 0.5, &mut found);
        assert_eq!(found.len(), 1);
        // The objectness above 1 counts as 1.
        assert!((found[0].score - 0.9).abs() < 1e-6);
        let bbox = found[0].bbox;
        assert_eq!((bbox.left, bbox.width), (32.0, 16.0));
        assert!((bbox.top - 4.0).abs() < 1e-4 && (bbox.height - 32.0).abs() < 1e-4);
        assert_eq!(found[0].landmarks.0, [[24.0, 20.0], [40.0, 20.0], [32.0, 24.0], [28.0, 32.0], [36.0, 32.0]]);
    }

    #[test]
    fn an_anchor_of_scrfd_becomes_the_face_that_its_paper_says() {
        let points = [-0.5, 0.25, 0.5, 0.25, 0.0, 0.5, -0.25, 1.0, 0.25, 1.0];
        // The second anchor of cell 6.
        let maps = one_cell(&[1, 4, 10], 2, 13, &[&[0.75], &[1.0, 0.5, 0.25, 1.5], &points]);
        let maps: Vec<_> = maps.iter().map(Vec::as_slice).collect();
        let promised: Vec<_> = scrfd_outputs(64, 32).iter().map(|o| o.len).collect();
        assert_eq!(promised, maps.iter().map(|m| m.len()).collect::<Vec<_>>());
        let mut found = Vec::new();
        scrfd(&Outputs::of(&maps), 64, 0.5, &mut found);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bbox, Rect { left: 16.0, top: 8.0, width: 20.0, height: 32.0 });
        assert_eq!(found[0].landmarks.0[0], [24.0, 20.0]);
    }

    #[test]
    fn candidates_whose_area_rounds_to_nothing_still_end() {
        let tiny = Rect { width: 1e-30, height: 1e-30, ..Rect::default() };
        let mut candidates = vec![Detection { bbox: tiny, landmarks: Landmarks::default(), score: 0.9 }; 40];
        assert!(!merge(&mut candidates).is_empty());
    }
}
