//! The shipped encoders look at faces: what a patch over the picture takes from the similarity, it takes over the face.
//! And to the template it's the same face in a mirror.
//!
//! The face is the outline of `occlusion::FACE`, half of all places; that is what an encoder that looks anywhere would
//! score.

use std::path::Path;
use std::sync::{Arc, Mutex};

use facelatch::daemon::Recogniser;
use facelatch::digest::Digest;
use facelatch::face::occlusion::{self, Part};
use facelatch::face::pipeline::{Faces, ModelChoice, Placing, Role};
use facelatch::face::{Canvas, Encoding, Limits, photo};
use facelatch::frame::{Frame, Geometry, PixelFormat};
use facelatch::gallery::{Index, Template, TemplateId};
use facelatch::gate::Face;
use facelatch::infer::Manifest;
use facelatch::liveness::camera::{CameraTap, TrackUpdate};
use facelatch::person::PersonId;
use facelatch::ports::Perception as _;
use facelatch::time::{Instant, Wall};

use crate::testing::cases;

const PEOPLE: [&str; 8] = ["ada", "bela", "chidi", "dora", "emil", "emma", "look-alike", "stranger"];
/// Of all pairs' mean.
const MEAN_AT_LEAST: f32 = 0.9;
/// Of each pair.
const EACH_AT_LEAST: f32 = 0.85;

fn faces(encoder: &str) -> Faces {
    let manifest = Manifest::builtin();
    let file = |name: &str| manifest.built_in(name).unwrap();
    let landmarks = Placing::Network(Box::new(file("facelatch-landmarks")));
    let (detector, encoder) = (file("facelatch-detector"), file(encoder));
    Faces::load(&ModelChoice { detector, landmarks, encoder, canvas: Canvas::PHOTO }).unwrap()
}

#[test]
fn a_template_is_that_of_the_mirror_image_too_and_near_to_each() {
    let mut faces = faces("facelatch-encoder");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let picture = photo::load(&demo.join("ada-1.jpg")).unwrap();
    let probe = faces.portray_principal(&picture, Role::Probe).unwrap().unwrap().encoding;
    let template = faces.encode_as(Role::Template).unwrap();
    let mirrored = faces.aligned().mirrored();
    let other_probe = faces.encoder.encode(&mirrored).unwrap();
    assert_ne!(probe, other_probe, "the encoder sees a difference, else there would be nothing to average");
    let by_hand = Encoding::mean(&[other_probe.clone(), probe.clone()]).unwrap();
    assert!(template.similarity(&by_hand).unwrap().get() > 0.999_999);
    let apart = probe.similarity(&other_probe).unwrap().get();
    for one in [probe, other_probe] {
        assert!(template.similarity(&one).unwrap().get() > apart);
    }
}

#[test]
fn the_door_scores_a_claim_by_itself_beside_the_search_and_liveness_is_told_whose_face_each_frame_shows() {
    const MODEL: Digest = Digest([7; 32]);
    let mut faces = faces("facelatch-encoder");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let picture = |name: &str| photo::load(&demo.join(name)).unwrap();
    let (ada, bela) = (PersonId::new(1), PersonId::new(2));
    let templates = [(ada, "ada-1.jpg"), (bela, "bela-1.jpg")].map(|(person, name)| {
        let encoding = faces.portray_principal(&picture(name), Role::Template).unwrap().unwrap().encoding;
        let (id, created) = (TemplateId::new(person.get()), Wall::default());
        Template { id, person, encoding, model_sha256: MODEL, quality: 1.0, created }
    });
    let gallery = Index::of_people(&MODEL, templates[0].encoding.dims(), &templates).unwrap();
    let forgets = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&forgets);
    let tap = CameraTap::new(None, Box::new(move |update: &TrackUpdate| told.lock().unwrap().push(update.forgets())));
    let mut recogniser = Recogniser::new(faces, Limits::default()).tapped_by(tap);
    let mut sees = |sequence: u32, name: &str, claimed| {
        let image = picture(name);
        let geometry = Geometry::packed(PixelFormat::Rgb8, image.width() as u32, image.height() as u32);
        let at = Instant::from_millis(1000 + 40 * u64::from(sequence));
        let frame = Frame::new(geometry, sequence, at, image.data()).unwrap();
        match recogniser.perceive(&frame, &gallery, claimed).unwrap() {
            Face::Seen(seen) => seen,
            other => panic!("{name}: {other:?}"),
        }
    };
    let unclaimed = sees(1, "ada-2.jpg", None);
    let [best, runner_up] = [unclaimed.best, unclaimed.runner_up].map(Option::unwrap);
    assert_eq!((best.person, runner_up.person, unclaimed.claimed), (ada, bela, None));
    assert_eq!(sees(2, "ada-2.jpg", Some(ada)).claimed, Some(best));
    assert_eq!(sees(3, "ada-2.jpg", Some(bela)).claimed, Some(runner_up), "a name makes nobody more alike");
    assert!(runner_up.similarity.get() < 0.4 && best.similarity.get() > 0.8, "{best:?}, {runner_up:?}");
    // In the same place and of the same size: what tells them apart is the encoding.
    assert_eq!(sees(4, "bela-2.jpg", None).best.unwrap().person, bela);
    assert_eq!(*forgets.lock().unwrap(), [true, false, false, true]);
}

#[test]
fn the_shipped_encoders_look_at_the_face_and_not_around_it() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    for encoder in ["facelatch-encoder", "facelatch-encoder-small"] {
        let mut faces = faces(encoder);
        let mut all = Vec::new();
        let people = PEOPLE.len().min(cases(PEOPLE.len() as u64) as usize);
        for person in &PEOPLE[..people] {
            let [a, b] = [1, 2].map(|n| photo::load(&demo.join(format!("{person}-{n}.jpg"))).unwrap());
            for (covered, other) in [(&a, &b), (&b, &a)] {
                let other = faces.portray_principal(other, Role::Probe).unwrap().unwrap().encoding;
                let own = faces.portray_principal(covered, Role::Probe).unwrap().unwrap().encoding;
                let (face, whole) = (faces.aligned().clone(), own.similarity(&other).unwrap().get());
                let score = |encoding: &_| other.similarity(encoding).unwrap().get();
                let map = occlusion::of_encoding(&mut faces, &face, whole, score, || ()).unwrap();
                let inside = 1.0 - map.shares(Part::at).unwrap()[Part::Outside as usize];
                assert!(inside >= EACH_AT_LEAST, "{encoder} {person}: {inside}");
                all.push(inside);
            }
        }
        let mean = all.iter().sum::<f32>() / all.len() as f32;
        let [least, most] = [f32::min, f32::max].map(|of| all.iter().copied().reduce(of).unwrap());
        println!("{encoder}: {mean:.3} of the similarity inside the face, {least:.3} to {most:.3}");
        assert!(people < PEOPLE.len() || mean >= MEAN_AT_LEAST, "{encoder}: {mean}");
    }
}
