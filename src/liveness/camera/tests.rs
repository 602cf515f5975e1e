use super::*;
use crate::face::Rect;
use crate::face::align::TEMPLATE_112;
use crate::sim::rng::Rng;
use proptest::prelude::*;

/// A face that looks ahead in a picture of noise, `scale` times the template's size, its template's corner at `corner`.
struct Scene {
    image: RgbImage,
    found: Detection,
    aligned: AlignedFace,
    quality: Quality,
}

fn scene(corner: [f32; 2], scale: f32, seed: u64) -> Scene {
    let mut rng = Rng::new(seed);
    let mut noise = |n: usize| (0..n).map(|_| 90 + (rng.next_u64() % 40) as u8).collect::<Vec<_>>();
    let image = RgbImage::from_rgb8(320, 240, noise(320 * 240 * 3)).unwrap();
    let aligned = AlignedFace::from_aligned(RgbImage::from_rgb8(112, 112, noise(112 * 112 * 3)).unwrap()).unwrap();
    let landmarks = TEMPLATE_112.map(|[x, y]| [corner[0] + x * scale, corner[1] + y * scale]);
    let bbox = Rect { left: corner[0], top: corner[1], width: 112.0 * scale, height: 112.0 * scale };
    let found = Detection { bbox, landmarks, score: 0.9 };
    let quality = Quality::measure(&found, &landmarks, &aligned);
    Scene { image, found, aligned, quality }
}

impl Scene {
    fn frame<'a>(&'a self, at_ms: u64, encoding: Option<&'a Encoding>) -> FaceFrame<'a> {
        let Self { image, found, aligned, quality } = self;
        let at = Instant::from_millis(at_ms);
        FaceFrame { at, image, found, landmarks: &found.landmarks, aligned, quality, encoding }
    }
}

fn value(update: &TrackUpdate, channel: Channel) -> Option<f32> {
    update.face()?.samples.iter().find(|sample| sample.channel == channel).map(|sample| sample.value)
}

#[test]
fn a_face_that_stays_gives_every_channel_of_the_camera_within_its_limits_from_the_second_frame_on() {
    let mut tracker = FaceTracker::default();
    let first = tracker.update(&scene([80.0, 50.0], 1.0, 1).frame(1000, None));
    assert!(matches!(first, TrackUpdate::Another(_)) && first.forgets());
    assert_eq!(value(&first, Channel::FaceMotion), None);
    let second = tracker.update(&scene([80.0, 50.0], 1.0, 2).frame(1040, None));
    let TrackUpdate::Same(face) = &second else { panic!("{second:?}") };
    let told: Vec<_> = face.samples.iter().map(|sample| sample.channel).collect();
    let wanted: Vec<_> = Channel::all().filter(|channel| channel.source() == crate::liveness::Source::Camera).collect();
    assert_eq!(told, wanted);
    for Sample { at, channel, value } in &face.samples {
        let [least, greatest] = channel.spec().limits;
        assert!((least..=greatest).contains(value), "{}: {value}", channel.name());
        assert_eq!(*at, Instant::from_millis(1040));
    }
    // The eyes' middle is at 135.9, 101.6 of 320 x 240.
    assert!((face.place.x - (135.91 - 159.5) / 320.0).abs() < 1e-3, "{}", face.place.x);
    assert!((face.place.y - (101.6 - 119.5) / 320.0).abs() < 1e-3, "{}", face.place.y);
    assert!((face.place.eye_gap - 35.24 / 320.0).abs() < 1e-3);
}

#[test]
fn a_face_without_any_colour_gives_all_but_the_skins() {
    let mut grey = scene([80.0, 50.0], 1.0, 1);
    let pixels = grey.aligned.image().data().as_chunks::<3>().0;
    let luma: Vec<u8> = pixels.iter().flat_map(|[r, ..]| [*r; 3]).collect();
    grey.aligned = AlignedFace::from_aligned(RgbImage::from_rgb8(112, 112, luma).unwrap()).unwrap();
    let update = FaceTracker::default().update(&grey.frame(1000, None));
    assert_eq!([Channel::SkinR, Channel::SkinG, Channel::SkinB].map(|skin| value(&update, skin)), [None; 3]);
    assert!(value(&update, Channel::EyeOpenness).is_some() && value(&update, Channel::Luminance).is_some());
}

#[test]
fn a_face_lost_for_a_moment_is_the_same_and_for_longer_another() {
    let mut tracker = FaceTracker::default();
    let there = scene([80.0, 50.0], 1.0, 1);
    assert_eq!(tracker.nobody(Instant::from_millis(900)), TrackUpdate::Gone);
    tracker.update(&there.frame(1000, None));
    assert_eq!(tracker.nobody(Instant::from_millis(1200)), TrackUpdate::Missing);
    let back = tracker.update(&there.frame(1400, None));
    assert!(matches!(back, TrackUpdate::Same(_)));
    assert_eq!(value(&back, Channel::FaceMotion), None, "the frame before had no face");
    assert_eq!(tracker.nobody(Instant::from_millis(1801)), TrackUpdate::Gone);
    assert!(matches!(tracker.update(&there.frame(1810, None)), TrackUpdate::Another(_)));
    assert!(matches!(tracker.update(&there.frame(2211, None)), TrackUpdate::Another(_)), "no frame for too long");
}

#[test]
fn a_face_that_jumps_swells_or_comes_from_the_past_is_another() {
    let moves = [
        ("still", [80.0, 50.0], 1.0, 1040, true),
        ("a step", [90.0, 50.0], 1.0, 1040, true),
        ("a jump", [120.0, 50.0], 1.0, 1040, false),
        ("the same way in longer time", [120.0, 50.0], 1.0, 1200, true),
        ("larger", [75.0, 45.0], 1.1, 1040, true),
        ("much larger", [66.0, 35.0], 1.4, 1040, false),
        ("from the past", [80.0, 50.0], 1.0, 960, false),
    ];
    for (what, corner, scale, at, is_same) in moves {
        let mut tracker = FaceTracker::default();
        tracker.update(&scene([80.0, 50.0], 1.0, 1).frame(1000, None));
        let update = tracker.update(&scene(corner, scale, 1).frame(at, None));
        assert_eq!(matches!(update, TrackUpdate::Same(_)), is_same, "{what}");
    }
}

#[test]
fn a_face_that_encodes_as_somebody_else_is_another_though_poor_frames_lie_between() {
    let [ada, ben] = [[1.0, 0.0], [0.1, 1.0]].map(|raw| Encoding::from_raw(&raw).unwrap());
    let there = scene([80.0, 50.0], 1.0, 1);
    let mut tracker = FaceTracker::default();
    tracker.update(&there.frame(1000, Some(&ada)));
    assert!(matches!(tracker.update(&there.frame(1040, Some(&ada))), TrackUpdate::Same(_)));
    assert!(matches!(tracker.update(&there.frame(1080, None)), TrackUpdate::Same(_)));
    assert!(matches!(tracker.update(&there.frame(1120, Some(&ben))), TrackUpdate::Another(_)));
    assert!(matches!(tracker.update(&there.frame(1160, Some(&ben))), TrackUpdate::Same(_)));
}

proptest! {
    #![proptest_config(crate::testing::properties(256))]

    #[test]
    fn points_of_any_kind_are_looked_at_without_a_panic(points in prop::array::uniform10(prop::num::f32::ANY)) {
        let mut strange = scene([80.0, 50.0], 1.0, 1);
        for (to, from) in strange.found.landmarks.0.iter_mut().flatten().zip(points) {
            *to = from;
        }
        strange.found.bbox.width = points[0];
        let mut tracker = FaceTracker::default();
        tracker.update(&strange.frame(1000, None));
        tracker.update(&strange.frame(1040, None));
        let ordinary = scene([80.0, 50.0], 1.0, 1);
        prop_assert!(tracker.update(&ordinary.frame(1080, None)).face().is_some());
    }
}
