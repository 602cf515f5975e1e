//! What a grid and the place of a face say of a head, of a picture, of a hand beside them.

use super::cells::CENTRE;
use super::*;
use crate::liveness::health::Health;

const AT: Instant = Instant::from_millis(5000);

/// A face in the middle of a camera that sees 60 degrees, at so many millimetres.
fn watching(mm: f32) -> Fusion {
    let mut fusion = Fusion::new(60.0);
    let eye_gap = 63.0 / (mm * fusion.width_at_1);
    fusion.face(Place { at: AT, x: 0.0, y: -CENTRE * eye_gap, eye_gap }, 100.0);
    fusion
}

fn value(samples: &Samples, channel: Channel) -> Option<f32> {
    samples.iter().find(|sample| sample.channel == channel).map(|sample| sample.value)
}

/// 8 x 8 zones over 45 degrees, each as `mm` says of its axis' tangents.
fn depth(mm: impl Fn(f32, f32) -> f32) -> [f32; 64] {
    std::array::from_fn(|i| {
        let tangent = |i: usize| (((i as f32 + 0.5) / 8.0 - 0.5) * 45.0f32).to_radians().tan();
        mm(tangent(i % 8), tangent(i / 8))
    })
}

fn measure(fusion: &Fusion, cells: &[f32]) -> Samples {
    let grid = Grid { columns: 8, rows: 8, cells, view: [45.0, 45.0] };
    fusion.samples(&Reading { at: AT, value: Value::Depth(grid) })
}

#[test]
fn a_tilted_picture_is_flat_and_a_head_is_not() {
    let (fusion, head) = (watching(400.0), |x: f32, y: f32| (x / 0.2).hypot(y / 0.27));
    let behind = |x: f32, y: f32, near: f32| if head(x, y) <= 1.0 { near } else { 1500.0 };
    let picture = measure(&fusion, &depth(|x, y| behind(x, y, 400.0 + 150.0 * x - 60.0 * y)));
    let face = measure(&fusion, &depth(|x, y| behind(x, y, 400.0 + 60.0 * head(x, y).powi(2))));
    for (samples, flat) in [(&picture, true), (&face, false)] {
        let (relief, planarity) =
            (value(samples, Channel::ReliefMm).unwrap(), value(samples, Channel::PlanarityMm).unwrap());
        assert_eq!((relief < 1.0, planarity < 0.5), (flat, flat), "{relief} {planarity}");
        assert!((value(samples, Channel::StepMm).unwrap() - 1090.0).abs() < 30.0, "{samples:?}");
    }
    assert!((value(&picture, Channel::DepthEyeGapMm).unwrap() - 63.0).abs() < 1.0);
}

#[test]
fn a_chest_shows_whether_somebody_stands_behind_what_is_seen() {
    let fusion = watching(700.0);
    let below = |behind: f32| measure(&fusion, &depth(move |_, y| if y > 0.21 { 700.0 + behind } else { 700.0 }));
    for behind in [60.0, 400.0] {
        assert_eq!(value(&below(behind), Channel::ChestMm), Some(behind));
    }
}

#[test]
fn zones_that_saw_nothing_are_left_out_and_too_few_say_nothing_of_relief() {
    let fusion = watching(1000.0);
    let mut cells = [f32::NAN; 64];
    assert!(measure(&fusion, &cells).is_empty());
    [27, 28, 35].into_iter().for_each(|i| cells[i] = 410.0);
    let samples = measure(&fusion, &cells);
    assert_eq!(value(&samples, Channel::DepthFaceMm), Some(410.0));
    assert_eq!(samples.len(), 2, "neither plane nor surroundings: {samples:?}");
}

#[test]
fn a_face_has_a_distance_where_half_of_the_zones_under_it_saw_something_however_little_is_around_it() {
    let fusion = watching(400.0);
    let all = about(
        &Grid { columns: 8, rows: 8, cells: &[0.0; 64], view: [45.0; 2] },
        fusion.face.unwrap().0,
        fusion.width_at_1,
    );
    let under: Vec<usize, 64> = (0..64).filter(|i| all[*i].radius() <= 1.0).collect();
    for seen in 0..=under.len() {
        let mut cells = [f32::NAN; 64];
        under[..seen].iter().for_each(|i| cells[*i] = 400.0);
        let said = value(&measure(&fusion, &cells), Channel::DepthFaceMm);
        assert_eq!(said, (2 * seen >= under.len()).then_some(400.0), "{seen} of {} zones", under.len());
    }
}

#[test]
fn a_zone_out_of_its_range_is_one_that_saw_nothing() {
    let fusion = watching(400.0);
    let relief = |wrong: f32| {
        let mut cells: [f32; 64] = std::array::from_fn(|i| 400.0 + (i % 3) as f32);
        [27, 28, 35].into_iter().for_each(|i| cells[i] = wrong);
        let value = Value::Depth(Grid { columns: 8, rows: 8, cells: &cells, view: [45.0, 45.0] });
        let mut health = Health::new(value.kind(), AT);
        self::value(&fusion.samples(&health.take(Reading { at: AT, value }, AT).unwrap()), Channel::ReliefMm).unwrap()
    };
    for beyond in [8191.0, -1.0] {
        assert_eq!(relief(beyond), relief(f32::NAN), "{beyond}");
    }
}

/// 32 x 24 pixels of a thermal array, each as `celsius` says of where it looks: from the middle of the eyes of a face
/// as in [`watching`], in distances between the eyes.
fn warmth(fusion: &Fusion, celsius: impl Fn(f32, f32) -> f32) -> Samples {
    let (place, _) = fusion.face.unwrap();
    let tangent = |i: usize, n: f32, view: f32| (((i as f32 + 0.5) / n - 0.5) * view).to_radians().tan();
    let cells: [f32; 768] = std::array::from_fn(|i| {
        let at = |tangent: f32, middle: f32| (tangent / fusion.width_at_1 - middle) / place.eye_gap;
        celsius(at(tangent(i % 32, 32.0, 55.0), place.x), at(tangent(i / 32, 24.0, 35.0), place.y))
    });
    let grid = Grid { columns: 32, rows: 24, cells: &cells, view: [55.0, 35.0] };
    fusion.samples(&Reading { at: AT, value: Value::Thermal(grid) })
}

/// An ellipse as a face's, so many times as large.
fn is_head(x: f32, y: f32, times: f32) -> bool {
    (x / 1.05).hypot((y - CENTRE) / 1.45) <= times
}

#[test]
fn a_warm_face_stands_out_and_a_warm_hand_beside_it_shows() {
    let fusion = watching(500.0);
    let alone = warmth(&fusion, |x, y| if is_head(x, y, 1.0) { 34.0 } else { 21.0 });
    let hand = |x: f32, y: f32| (1.7..2.9).contains(&x) && (-0.3..1.0).contains(&y);
    let held = warmth(&fusion, |x, y| if is_head(x, y, 1.0) || hand(x, y) { 34.0 } else { 21.0 });
    assert_eq!(value(&alone, Channel::WarmFaceC), Some(34.0));
    assert_eq!(value(&alone, Channel::WarmContrastC), Some(13.0));
    assert!(value(&alone, Channel::WarmFill).unwrap() > 0.8, "{alone:?}");
    let beside = |samples| value(samples, Channel::WarmBeside).unwrap();
    assert!(beside(&alone) < 0.1 && beside(&held) > 0.2, "{} {}", beside(&alone), beside(&held));
}

#[test]
fn an_array_that_looks_beside_the_camera_finds_the_face_and_says_where_it_is() {
    let fusion = watching(500.0);
    for (aside, down) in [(0.0, 0.0), (0.9, 0.0), (-0.6, 0.7)] {
        let skin = |y: f32| if y < -0.3 { 32.0 } else { 34.0 };
        let seen = warmth(&fusion, |x, y| if is_head(x - aside, y - down, 1.0) { skin(y - down) } else { 21.0 });
        let told = |channel| value(&seen, channel).unwrap();
        assert!((told(Channel::WarmX) - aside).abs() < 0.1, "{} for {aside}", told(Channel::WarmX));
        assert!((told(Channel::WarmY) - CENTRE - down).abs() < 0.15, "{} for {down}", told(Channel::WarmY));
        assert_eq!((told(Channel::WarmFaceC), told(Channel::WarmPeakC)), (34.0, 34.0));
        assert!(told(Channel::WarmBrowC) < -1.0 && told(Channel::WarmNoseC) == 0.0, "{seen:?}");
    }
}

#[test]
fn a_head_behind_a_colder_mask_shows_at_its_rim() {
    let fusion = watching(500.0);
    let worn = |mask: f32| {
        move |x: f32, y: f32| {
            if is_head(x, y, 0.95) {
                mask
            } else if is_head(x, y, 1.2) {
                34.0
            } else {
                21.0
            }
        }
    };
    let rim = |mask| value(&warmth(&fusion, worn(mask)), Channel::WarmRimC).unwrap();
    assert!(rim(28.0) > 4.0 && rim(34.0).abs() < 0.1, "{} {}", rim(28.0), rim(34.0));
}

#[test]
fn the_largest_grid_is_taken_in_to_its_last_cell() {
    let fusion = watching(500.0);
    let cells: [f32; MAX_CELLS] = std::array::from_fn(|i| i as f32);
    let grid = Grid { columns: 64, rows: MAX_CELLS / 64, cells: &cells, view: [57.0, 44.0] };
    let all = about(&grid, fusion.face.unwrap().0, fusion.width_at_1);
    assert_eq!((all.len(), all.last().unwrap().value), (MAX_CELLS, (MAX_CELLS - 1) as f32));
}

#[test]
fn where_nothing_is_warmer_than_the_wall_no_warmth_has_a_place() {
    let samples = warmth(&watching(500.0), |x, y| if is_head(x, y, 1.0) { 21.5 } else { 21.0 });
    assert_eq!((value(&samples, Channel::WarmX), value(&samples, Channel::WarmY)), (None, None));
    assert!(value(&samples, Channel::WarmFaceC).is_some());
}

#[test]
fn without_a_face_in_sight_only_what_needs_no_place_is_said() {
    let mut fusion = watching(600.0);
    let distance = Reading { at: AT, value: Value::Distance(600.0) };
    assert!((value(&fusion.samples(&distance), Channel::EyeGapMm).unwrap() - 63.0).abs() < 0.1);
    let later = Reading { at: AT + PLACE_FOR * 2, ..distance };
    assert_eq!(fusion.samples(&later).len(), 1);
    fusion.nobody();
    assert_eq!(fusion.samples(&distance).len(), 1);
    assert!(measure(&fusion, &[500.0; 64]).is_empty());
}

#[test]
fn a_night_without_light_is_as_dark_as_can_be_told_and_no_number_is_nothing_that_a_series_takes() {
    let fusion = watching(600.0);
    for (lux, is_taken) in [(0.0, true), (0.005, true), (f32::NAN, false), (-1.0, false)] {
        let samples = fusion.samples(&Reading { at: AT, value: Value::Light(lux) });
        let within = |sample: &Sample| {
            let [low, high] = sample.channel.spec().limits;
            low <= sample.value && sample.value <= high
        };
        assert_eq!(samples.iter().filter(|sample| within(sample)).count(), if is_taken { 2 } else { 0 }, "{samples:?}");
        assert!(!is_taken || value(&samples, Channel::AmbientLogLux) == Some(-2.0), "{samples:?}");
    }
}
