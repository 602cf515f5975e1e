//! Whether the nose stands out of the plane of eyes and mouth.

use crate::face::Landmarks;

/// A face squeezed to less than this share of its square area is seen from the edge.
const MIN_AREA: f32 = 0.05;

/// The tip of the nose in the affine frame of eyes and mouth: from the eyes' middle to the right in distances between
/// the eyes, and downwards in distances from there to the mouth's middle. `None` where the points lie nearly on a line,
/// or are not finite.
///
/// With p from eye to eye and q from the eyes' middle to the mouth's, both as they are in the picture, x and y solve
/// nose − eyes' middle = x·p + y·q. An affine change of the picture (weak perspective of anything flat: Koenderink and
/// van Doorn 1991, doi 10.1364/JOSAA.8.000377) changes all three alike, and so not x and y. A nose that stands out by d
/// distances between the eyes adds about d·tan(turn) to x. The head was trained on `measured` of
/// models/train/liveness_camera.py, which is the same.
pub(super) fn parallax(landmarks: &Landmarks) -> Option<[f32; 2]> {
    let Landmarks([left, right, nose, mouth_left, mouth_right]) = *landmarks;
    let axis = |i: usize| {
        let (eyes, mouth) = ((left[i] + right[i]) / 2.0, (mouth_left[i] + mouth_right[i]) / 2.0);
        [right[i] - left[i], mouth - eyes, nose[i] - eyes]
    };
    let ([px, qx, nx], [py, qy, ny]) = (axis(0), axis(1));
    let area = px * qy - py * qx;
    let longer = (px * px + py * py).max(qx * qx + qy * qy);
    let is_a_face = area.is_finite() && area > MIN_AREA * longer;
    is_a_face.then(|| [(nx * qy - ny * qx) / area, (px * ny - py * nx) / area])
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
            let frame = TEMPLATE_112.map(|[x, y]| {
                let [u, v] = [x * turn.cos() + y * turn.sin() * nod.sin(), y * nod.cos()];
                [scale * (u * cos - v * sin) + 100.0, scale * (u * sin + v * cos) - 20.0]
            });
            let ([x, y], [u, v]) = (parallax(&frame).unwrap(), parallax(&TEMPLATE_112).unwrap());
            prop_assert!((x - u).abs() < 2e-3 && (y - v).abs() < 2e-3, "{} {} instead of {} {}", x, y, u, v);
        }
    }

    #[test]
    fn a_nose_that_stands_out_moves_by_the_tangent_of_the_turn() {
        let [x, y] = parallax(&TEMPLATE_112).unwrap();
        assert!(x.abs() < 0.02 && (y - 0.495).abs() < 0.005, "{x} {y}");
        let (eyes, out, turn) = (TEMPLATE_112.eye_distance(), 0.4, 0.2_f32);
        let mut turned = TEMPLATE_112.map(|[x, y]| [x * turn.cos(), y]);
        turned.0[2][0] += out * eyes * turn.sin();
        let [moved, _] = parallax(&turned).unwrap();
        assert!((moved - x - out * turn.tan()).abs() < 1e-3, "{moved}");
    }

    #[test]
    fn five_points_have_the_parallax_that_the_recipes_give_them() {
        // A face that is turned, with a mouth askew; models/train/test_liveness.py has the same points and numbers.
        let points = [[131.0, 92.5], [178.25, 101.75], [160.5, 131.25], [124.75, 158.0], [158.5, 160.25]];
        let [x, y] = parallax(&Landmarks(points)).unwrap();
        assert!((x - 0.264_899).abs() < 1e-5 && (y - 0.510_882).abs() < 1e-5, "{x} {y}");
    }

    #[test]
    fn points_on_a_line_mirrored_or_not_finite_have_none() {
        assert_eq!(parallax(&Landmarks([[3.0; 2]; 5])), None);
        assert_eq!(parallax(&TEMPLATE_112.map(|[x, _]| [x, x])), None);
        assert_eq!(parallax(&TEMPLATE_112.map(|[x, y]| [-x, y])), None);
        assert_eq!(parallax(&TEMPLATE_112.map(|[x, _]| [x, f32::NAN])), None);
    }
}
