//! Whether the nose stands out of the plane of eyes and mouth.

use crate::face::Landmarks;

/// Where eyes and mouth of a face that looks ahead are, from their common middle, in distances between the eyes: the
/// template of alignment made symmetric. What is measured in it is constant for a plane whatever the four points really are.
const HALF_EYES: f32 = 0.5;
const HALF_MOUTH: f32 = 0.414;
const HALF_HEIGHT: f32 = 0.5775;
/// Σx² and Σy² over the four points; Σxy is 0.
const SUM_XX: f32 = 2.0 * (HALF_EYES * HALF_EYES + HALF_MOUTH * HALF_MOUTH);
const SUM_YY: f32 = 4.0 * HALF_HEIGHT * HALF_HEIGHT;
/// A face squeezed to less than this share of its square area is seen from the edge.
const MIN_AREA: f32 = 0.05;

/// The tip of the nose in the affine frame of eyes and mouth, to the right and downwards in distances between the eyes of a
/// face that looks ahead. `None` where the four points lie nearly on a line, or are not finite.
///
/// The affine map that brings the template's four points nearest to the picture's, by least squares, is q ≈ m + x·a + y·b with m
/// their mean, a = Σx·q / Σx², b = Σy·q / Σy²; the nose's coordinates in it solve nose − m = x·a + y·b. An affine change of
/// the picture (weak perspective of anything flat: Koenderink and van Doorn 1991, doi 10.1364/JOSAA.8.000377) changes a, b, m and
/// the nose alike, and so not x and y. A nose that stands out by d eye distances adds about d·tan(turn).
pub(super) fn parallax(landmarks: &Landmarks) -> Option<[f32; 2]> {
    let Landmarks([left, right, nose, mouth_left, mouth_right]) = *landmarks;
    let axis = |i: usize| {
        let mean = (left[i] + right[i] + mouth_left[i] + mouth_right[i]) / 4.0;
        let a = (HALF_EYES * (right[i] - left[i]) + HALF_MOUTH * (mouth_right[i] - mouth_left[i])) / SUM_XX;
        let b = HALF_HEIGHT * (mouth_left[i] + mouth_right[i] - left[i] - right[i]) / SUM_YY;
        [a, b, nose[i] - mean]
    };
    let ([ax, bx, nx], [ay, by, ny]) = (axis(0), axis(1));
    let area = ax * by - ay * bx;
    let longer = (ax * ax + ay * ay).max(bx * bx + by * by);
    let is_a_face = area.is_finite() && area > MIN_AREA * longer;
    is_a_face.then(|| [(nx * by - ny * bx) / area, (ax * ny - ay * nx) / area])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::align::TEMPLATE_112;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(crate::testing::properties(256))]

        #[test]
        fn a_flat_face_has_no_parallax_however_it_is_turned(
            turn in -1.0..1.0_f32, nod in -1.0..1.0_f32, roll in -0.7..0.7_f32, scale in 0.3..5.0_f32,
        ) {
            // A plane that is turned, nodded and rolled, seen from far away.
            let (sin, cos) = roll.sin_cos();
            let seen = TEMPLATE_112.map(|[x, y]| {
                let [u, v] = [x * turn.cos() + y * turn.sin() * nod.sin(), y * nod.cos()];
                [scale * (u * cos - v * sin) + 100.0, scale * (u * sin + v * cos) - 20.0]
            });
            let ([x, y], [u, v]) = (parallax(&seen).unwrap(), parallax(&TEMPLATE_112).unwrap());
            prop_assert!((x - u).abs() < 2e-3 && (y - v).abs() < 2e-3, "{} {} instead of {} {}", x, y, u, v);
        }
    }

    #[test]
    fn a_nose_that_stands_out_moves_by_the_tangent_of_the_turn() {
        let [x, y] = parallax(&TEMPLATE_112).unwrap();
        assert!(x.abs() < 0.02 && y.abs() < 0.02, "{x} {y}");
        let (eyes, out, turn) = (TEMPLATE_112.eye_distance(), 0.4, 0.2_f32);
        let mut turned = TEMPLATE_112.map(|[x, y]| [x * turn.cos(), y]);
        turned.0[2][0] += out * eyes * turn.sin();
        let [moved, _] = parallax(&turned).unwrap();
        assert!((moved - x - out * turn.tan()).abs() < 1e-3, "{moved}");
    }

    #[test]
    fn points_on_a_line_mirrored_or_not_finite_have_none() {
        assert_eq!(parallax(&Landmarks([[3.0; 2]; 5])), None);
        assert_eq!(parallax(&TEMPLATE_112.map(|[x, _]| [x, x])), None);
        assert_eq!(parallax(&TEMPLATE_112.map(|[x, y]| [-x, y])), None);
        assert_eq!(parallax(&TEMPLATE_112.map(|[x, _]| [x, f32::NAN])), None);
    }
}
