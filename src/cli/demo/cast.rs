//! Who plays in the demo: people that facelatch brings along, or those of the user's photographs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::exit::{Code, Failure};
use crate::face::photo;
use crate::frame::RgbImage;
use crate::gate::Outcome;
use crate::liveness::Session;
use crate::person::Name;
use crate::sim::visitors::Visit;

/// Folders of people that are looked through at most for the photographs.
const MAX_PEOPLE: usize = 10_000;
/// In bad light a camera sees so much of what it saw.
const DIM: f32 = 0.14;

/// Pictures of nobody: a morphable model drew them (models/cards/demo-people.md).
macro_rules! picture {
    ($file:literal) => {
        include_bytes!(concat!("../../../models/demo/", $file)) as &[u8]
    };
}

/// By what they are enrolled, all of them.
const ENROLLED: [(&str, &[u8]); 6] = [
    ("Ada", picture!("ada-1.jpg")),
    ("Bela", picture!("bela-1.jpg")),
    ("Chidi", picture!("chidi-1.jpg")),
    ("Dora", picture!("dora-1.jpg")),
    ("Emil", picture!("emil-1.jpg")),
    ("Emma", picture!("emma-1.jpg")),
];
/// What Ada looks like today.
const TODAY: &[u8] = picture!("ada-2.jpg");
const STRANGER: &[u8] = picture!("stranger-1.jpg");
/// Somebody who looks like two who are enrolled.
const LOOK_ALIKE: &[u8] = picture!("look-alike-1.jpg");

/// What a camera, a depth and a thermal sensor would say of a person who stands there, and of a print that is held up:
/// the recipes' simulator wrote them (models/train, `liveness_sim.py ../demo --standing 7`), as no photograph has a
/// pulse, relief or warmth.
const PERSON: &str = include_str!("../../../models/demo/live.csv");
const PRINT: &str = include_str!("../../../models/demo/print_flat.csv");

/// What stands there.
#[derive(Clone)]
struct Sensed {
    person: Arc<Session>,
    print: Arc<Session>,
}

impl Sensed {
    fn load() -> Result<Self, Failure> {
        let parsed = |text: &str| {
            Session::parse(text.as_bytes())
                .map(Arc::new)
                .map_err(|error| Failure::said(Code::Software, format!("a session of the demo: {error}")))
        };
        Ok(Self { person: parsed(PERSON)?, print: parsed(PRINT)? })
    }
}

/// One scene: what is told when it begins, what stands at the door, and how it must end.
pub struct Scene {
    pub told: String,
    pub visit: Visit,
    /// The outcome that the scene is there to show; `None` where nothing may happen.
    pub ends: Option<Outcome>,
}

/// Who is enrolled by which picture, and what happens.
pub struct Cast {
    pub enrolled: Vec<(Name, RgbImage)>,
    pub scenes: Vec<Scene>,
}

impl Cast {
    /// The people that facelatch brings along.
    ///
    /// # Errors
    /// A picture of them can't be decoded.
    pub fn own() -> Result<Self, Failure> {
        let picture = |bytes: &[u8]| photo::decode(bytes).map_err(|e| Failure::said(Code::Software, e.to_string()));
        let mut enrolled = Vec::new();
        for (name, bytes) in ENROLLED {
            enrolled.push((name_of(name)?, picture(bytes)?));
        }
        let today = picture(TODAY)?;
        let sensed = Sensed::load()?;
        let mut scenes = story(&name_of(ENROLLED[0].0)?, &today, &picture(STRANGER)?, &sensed);
        let told = "somebody steps up who looks like two of the people enrolled".to_owned();
        let look_alike = scene(told, &picture(LOOK_ALIKE)?, 6, &sensed.person, Outcome::Ambiguous);
        let told = format!("{} steps up in bad light", ENROLLED[0].0);
        let dim = scene(told, &dimmed(&today), 6, &sensed.person, Outcome::PoorQuality);
        let held_up = scenes.len() - 2;
        scenes.splice(held_up..held_up, [look_alike, nobody(3), dim, nobody(3)]);
        Ok(Self { enrolled, scenes })
    }

    /// The first person with two photographs, and the first other one, in the order of the names of their folders.
    ///
    /// # Errors
    /// The folder can't be read, has too few people or photographs, or one of these is no picture.
    pub fn from_photos(dir: &Path) -> Result<Self, Failure> {
        let mut known = None;
        let mut stranger = None;
        for folder in sorted(dir)?.into_iter().filter(|path| path.is_dir()).take(MAX_PEOPLE) {
            let photos = sorted(&folder)?;
            let label = folder.file_name().unwrap_or_default().to_string_lossy().replace('_', " ");
            match (photos.as_slice(), Name::new(&label)) {
                ([passport, today, ..], Ok(name)) if known.is_none() => {
                    known = Some((name, passport.clone(), today.clone()));
                }
                ([first, ..], _) if stranger.is_none() => stranger = Some(first.clone()),
                _ => {}
            }
            if let (Some((name, passport, today)), Some(stranger)) = (&known, &stranger) {
                let scenes = story(name, &photo::load(today)?, &photo::load(stranger)?, &Sensed::load()?);
                return Ok(Self { enrolled: vec![(name.clone(), photo::load(passport)?)], scenes });
            }
        }
        let sentence = format!(
            "{}: the demo needs two folders of people here, one of them with two photographs or more",
            dir.display()
        );
        Err(Failure::said(Code::Data, sentence))
    }
}

fn name_of(name: &str) -> Result<Name, Failure> {
    Name::new(name).map_err(|error| Failure::said(Code::Software, error.to_string()))
}

/// What can be shown with two people: one who is known, and a stranger.
fn story(name: &Name, today: &RgbImage, stranger: &RgbImage, sensed: &Sensed) -> Vec<Scene> {
    let mut exit = nobody(3);
    exit.told.push_str("; somebody inside presses the exit button");
    let held_up = format!("a photograph of {name} is held up");
    vec![
        nobody(2),
        scene(format!("{name} steps up, alive"), today, 4, &sensed.person, Outcome::Granted),
        nobody(3),
        scene("a stranger steps up, alive".into(), stranger, 6, &sensed.person, Outcome::NotRecognised),
        nobody(3),
        scene(held_up, today, 5, &sensed.print, Outcome::Spoof),
        exit,
    ]
}

fn nobody(seconds: u64) -> Scene {
    let visit = Visit { picture: None, lasts: Duration::from_secs(seconds), sensed: None };
    Scene { told: "nobody is at the door".into(), visit, ends: None }
}

fn scene(told: String, picture: &RgbImage, seconds: u64, sensed: &Arc<Session>, ends: Outcome) -> Scene {
    let (picture, sensed) = (Some(picture.clone()), Some(Arc::clone(sensed)));
    Scene { told, visit: Visit { picture, lasts: Duration::from_secs(seconds), sensed }, ends: Some(ends) }
}

/// The same in bad light.
fn dimmed(picture: &RgbImage) -> RgbImage {
    let mut dim = picture.clone();
    dim.data_mut().iter_mut().for_each(|x| *x = (f32::from(*x) * DIM) as u8);
    dim
}

fn sorted(dir: &Path) -> Result<Vec<std::path::PathBuf>, Failure> {
    let entries = std::fs::read_dir(dir).map_err(Failure::io(dir))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    Ok(paths)
}
