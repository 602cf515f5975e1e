//! `facelatch calibrate`: a folder with a folder for each person, and pictures of strangers to them, to the table from
//! score to false match rate.

use std::fs;
use std::path::{Path, PathBuf};

use super::comparisons::{Counted, Face, Faces};
use super::encode::{Encoded, EvalError, Lost, Unreadable, encode_all};
use crate::face::{Encoding, ModelChoice, Role, photo};
use crate::gallery::Decider;
use crate::gallery::calibrate::{Calibration, Origin, Row};
use crate::gallery::counts::{Counts, STEPS, step};
use crate::units::Similarity;

/// The most pictures of people, and the most of strangers: 5 · 10⁹ comparisons among the ones, 10¹⁰ with the others. Of
/// each picture its encoding is kept, 2 KiB; of a comparison nothing but its count.
pub const MAX_IMAGES: usize = 100_000;
/// The fewest people: six pairs of people of whom nobody is in two, the fewest that show a rate of a half (3/n).
pub const MIN_PEOPLE: usize = 12;

/// Two pictures of different people that look like one person, or of one person that is filed under two names.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    pub a: PathBuf,
    pub b: PathBuf,
    pub similarity: Similarity,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    pub calibration: Calibration,
    /// For each row of the table, in the same order.
    pub details: Vec<Detail>,
    /// The most alike first, at most [`super::comparisons::SUSPECTS`].
    pub suspects: Vec<Suspect>,
    pub lost: Vec<Lost>,
}

/// What is known of a row beyond what the table keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detail {
    /// The false match rate among the people alone.
    pub fmr_people: f64,
    /// The false match rate of people with strangers; `None` without strangers.
    pub fmr_strangers: Option<f64>,
}

/// The pictures of a calibration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pictures {
    /// Each with the number of whose it is; those of one person follow each other.
    people: Vec<(usize, PathBuf)>,
    /// Of people who are none of those, each with the number of the folder in a folder that it may share with others of
    /// the same person, or one of its own; those of one number follow each other.
    strangers: Vec<(usize, PathBuf)>,
}

impl Pictures {
    /// Lists those in the folders of `people`, a folder a person, and those in `strangers` and their folders, whoever
    /// they show. What lies in one folder of these may be of one person, and counts as that.
    ///
    /// # Errors
    /// A folder can't be read, there are fewer than [`MIN_PEOPLE`], a folder of strangers without a picture, or too
    /// many pictures.
    pub fn list(people: &Path, strangers: &[PathBuf]) -> Result<Self, EvalError> {
        let mut listed = Self { people: list_people(people)?, strangers: Vec::new() };
        let mut number = listed.people.last().map_or(0, |(last, _)| last + 1);
        if number < MIN_PEOPLE {
            let reason =
                format!("a table needs a folder for each of at least {MIN_PEOPLE} people, and these are {number}");
            return Err(EvalError::Folder { path: people.into(), reason });
        }
        let place = |folder: &Path| folder.canonicalize().ok();
        for root in strangers {
            if place(root).is_some_and(|of_strangers| place(people) == Some(of_strangers)) {
                let reason =
                    "the same folder was named as the people's and the strangers', and nobody is both".to_owned();
                return Err(EvalError::Folder { path: root.clone(), reason });
            }
            let before = listed.strangers.len();
            for picture in pictures_in(root)? {
                listed.strangers.push((number, picture));
                number += 1;
            }
            for folder in entries(root)?.iter().filter(|path| path.is_dir()) {
                listed.strangers.extend(pictures_in(folder)?.into_iter().map(|picture| (number, picture)));
                number += 1;
            }
            let wrong = |reason: String| Err(EvalError::Folder { path: root.clone(), reason });
            if listed.strangers.len() == before {
                return wrong("no picture of a stranger".into());
            }
            if listed.strangers.len() > MAX_IMAGES {
                return wrong(format!("more than {MAX_IMAGES} pictures of strangers"));
            }
        }
        Ok(listed)
    }

    /// How many there are to encode.
    pub fn len(&self) -> usize {
        self.people.len() + self.strangers.len()
    }

    /// False: there are two people at least.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of people, then of strangers.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.people.iter().chain(&self.strangers).map(|(_, path)| path.clone()).collect()
    }

    /// The faces that were found, of people and of strangers.
    fn faces(&self, encodings: Vec<Option<Encoding>>) -> (Vec<Face>, Vec<Face>) {
        let whose = self.people.iter().chain(&self.strangers).map(|(person, _)| *person);
        let faces = encodings.into_iter().zip(whose).enumerate();
        let found =
            faces.filter_map(|(picture, (encoding, person))| Some(Face { picture, person, encoding: encoding? }));
        found.partition(|face| face.picture < self.people.len())
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, EvalError> {
    let wrong = |source| EvalError::Read { path: folder.into(), source };
    let mut entries: Vec<_> = fs::read_dir(folder).map_err(wrong)?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    Ok(entries)
}

fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, EvalError> {
    Ok(entries(folder)?.into_iter().filter(|path| photo::is_named_as_one(path) && !path.is_dir()).collect())
}

/// The pictures in the folders of `root`, in the order of their names, each with the number of its folder.
///
/// # Errors
/// A folder can't be read, there are fewer than two people, or too many pictures.
pub fn list_people(root: &Path) -> Result<Vec<(usize, PathBuf)>, EvalError> {
    let mut pictures = Vec::new();
    let mut people = 0;
    for folder in entries(root)?.into_iter().filter(|p| p.is_dir()) {
        let before = pictures.len();
        pictures.extend(pictures_in(&folder)?.into_iter().map(|picture| (people, picture)));
        people += usize::from(pictures.len() > before);
        if pictures.len() > MAX_IMAGES {
            return Err(EvalError::Folder { path: root.into(), reason: format!("more than {MAX_IMAGES} pictures") });
        }
    }
    if people < 2 {
        let reason = "a folder for each of at least two people is needed".into();
        return Err(EvalError::Folder { path: root.into(), reason });
    }
    Ok(pictures)
}

/// Compares every picture of a person with every other and with every stranger's, by this decider. `evaluation` and
/// `date` go into the table as they are.
///
/// # Errors
/// Pictures can't be read, a network fails, too few faces were found, or one picture is filed under two people.
pub fn measure(
    pictures: &Pictures,
    choice: &ModelChoice,
    decider: &Decider,
    (evaluation, date): (String, String),
    workers: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Measured, EvalError> {
    let encoded = encode_all(&pictures.paths(), choice, Role::Probe, Unreadable::IsLost, workers, progress)?;
    let origin = Origin {
        model: choice.encoder.spec.name.clone(),
        sha256: choice.encoder.spec.sha256.to_string(),
        detector: choice.detector.spec.name.clone(),
        evaluation,
        date,
        ..Origin::default()
    };
    compare(pictures, encoded, decider, origin, workers)
}

/// Compares what became of the pictures, in the order of [`Pictures::paths`]; and fills in the counts of `origin`.
fn compare(
    pictures: &Pictures,
    encoded: Vec<Encoded>,
    decider: &Decider,
    mut origin: Origin,
    workers: usize,
) -> Result<Measured, EvalError> {
    let paths = pictures.paths();
    let lost = Lost::of(paths.iter().zip(&encoded));
    let (people, strangers) = pictures.faces(encoded.into_iter().map(|e| Some(e.face?.0)).collect());
    let faces = Faces { people: &people, strangers: &strangers };
    let Counted { people: among, strangers: with, alike } = faces.count(decider, workers);
    origin.people = pictures.people.last().map_or(0, |(last, _)| *last as u64 + 1);
    origin.images = pictures.people.len() as u64;
    origin.lost = (pictures.people.len() - people.len()) as u64;
    origin.strangers = pictures.strangers.len() as u64;
    origin.strangers_lost = (pictures.strangers.len() - strangers.len()) as u64;
    origin.stranger_impostors = with.impostors();
    let no_table = || match alike.first() {
        // A picture and itself, which rounding may leave a little below 1.
        Some(&(similarity, a, b)) if step(similarity) >= STEPS - 1 => {
            EvalError::Twice { a: paths[a].clone(), b: paths[b].clone() }
        }
        _ => EvalError::TooFew { found: people.len(), lost: lost.first().cloned() },
    };
    let widened = |counts: &Counts, faces: &Faces<'_>| {
        let table = counts.tabulate(origin.clone())?;
        let effects = faces.design_effects(&table, decider, workers);
        table.widened(&effects, faces.independent())
    };
    let mut calibration = widened(&among, &Faces { strangers: &[], ..faces }).ok_or_else(no_table)?;
    if !strangers.is_empty() {
        let mut all = among.clone();
        all.add(&with);
        calibration = calibration.lengthened(&widened(&all, &faces).ok_or_else(no_table)?, &with);
    }
    let detail = |row: &Row| Detail {
        fmr_people: among.fmr_from(row.similarity).unwrap_or(0.0),
        fmr_strangers: with.fmr_from(row.similarity),
    };
    let details = calibration.rows().iter().map(detail).collect();
    let suspect = |(similarity, a, b): (Similarity, usize, usize)| Suspect {
        a: paths[a].clone(),
        b: paths[b].clone(),
        similarity,
    };
    let suspects = alike.into_iter().map(suspect).collect();
    Ok(Measured { calibration, details, suspects, lost })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Quality;

    fn folders(of: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in of {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        root
    }

    #[test]
    fn people_are_folders_and_a_single_one_is_not_enough() {
        let root = folders(&["ana/1.JPG"]);
        assert!(matches!(list_people(root.path()), Err(EvalError::Folder { .. })));
        let root = folders(&["ana/1.JPG", "ana/._1.JPG", "ben/2.png", "ben/notes.txt"]);
        let people: Vec<_> = list_people(root.path()).unwrap().into_iter().map(|(person, _)| person).collect();
        assert_eq!(people, [0, 1]);
    }

    #[test]
    fn strangers_lie_in_their_folder_each_or_in_one_below_together_and_an_empty_one_is_refused() {
        let people: Vec<_> = (10..22).map(|i| format!("people/{i}/1.jpg")).collect();
        let people: Vec<_> = people.iter().map(String::as_str).collect();
        let strangers = ["x/1.webp", "x/2.png", "x/y/2.jpg", "x/y/4.jpg", "x/z/3.jpg", "none/a.txt"];
        let root = folders(&[&people[..], &strangers].concat());
        let at = |name: &str| root.path().join(name);
        let pictures = Pictures::list(&at("people"), &[at("x")]).unwrap();
        let strangers = [(12, "x/1.webp"), (13, "x/2.png"), (14, "x/y/2.jpg"), (14, "x/y/4.jpg"), (15, "x/z/3.jpg")];
        assert_eq!(pictures.strangers, strangers.map(|(number, name)| (number, at(name))));
        assert_eq!((pictures.len(), pictures.paths().len()), (17, 17));
        fs::remove_file(at("people/10/1.jpg")).unwrap();
        let few = Pictures::list(&at("people"), &[]).unwrap_err().to_string();
        assert!(few.contains("at least 12 people, and these are 11"), "{few}");
        fs::write(at("people/10/1.jpg"), b"").unwrap();
        let refused = Pictures::list(&at("people"), &[at("x"), at("none")]).unwrap_err();
        assert!(refused.to_string().ends_with("none: no picture of a stranger"), "{refused}");
        assert!(matches!(Pictures::list(&at("people"), &[at("nowhere")]), Err(EvalError::Read { .. })));
    }

    /// What becomes of pictures whose faces have these encodings, or are lost.
    fn encoded(found: Vec<Option<Encoding>>) -> Vec<Encoded> {
        let quality =
            Quality { size_px: 60.0, sharpness: 0.3, luminance: 128.0, yaw: 0.0, pitch: 0.0, roll: 0.0, detector: 0.9 };
        let face = |encoding: Option<Encoding>| encoding.map(|encoding| (encoding, quality));
        found.into_iter().map(|encoding| Encoded { face: face(encoding), ..Encoded::default() }).collect()
    }

    #[test]
    fn one_picture_under_two_names_is_told_though_rounding_leaves_its_similarity_below_one() {
        let at = |degrees: f32| {
            let (sin, cos) = degrees.to_radians().sin_cos();
            Encoding::from_raw(&[cos, sin])
        };
        let people = (0..24).map(|i| (i / 2, PathBuf::from(format!("p{i}")))).collect();
        let mut found: Vec<_> = (0..24u8).map(|i| at(f32::from(i) * 7.0)).collect();
        found[23] = at(0.3);
        let pictures = Pictures { people, strangers: Vec::new() };
        let twice = compare(&pictures, encoded(found), &Decider::Threshold, Origin::default(), 1).unwrap_err();
        assert!(matches!(&twice, EvalError::Twice { a, b } if a.ends_with("p0") && b.ends_with("p23")), "{twice}");
    }

    #[test]
    fn a_lost_face_is_counted_where_it_belongs_and_strangers_are_told_apart() {
        // Twelve people with two pictures each, all on half a circle, and three strangers on the other.
        let at = |degrees: f32| {
            let (sin, cos) = degrees.to_radians().sin_cos();
            Encoding::from_raw(&[cos, sin])
        };
        let people: Vec<_> = (0..24).map(|i| (i / 2, PathBuf::from(format!("p{i}")))).collect();
        let strangers: Vec<_> = (0..3).map(|i| (12 + i, PathBuf::from(format!("s{i}")))).collect();
        let mut found: Vec<_> = (0..24u8).map(|i| at(f32::from(i) * 7.0)).collect();
        found[2] = None;
        found.extend([at(162.0), None, at(300.0)]);
        let pictures = Pictures { people, strangers };
        let measured = compare(&pictures, encoded(found), &Decider::Threshold, Origin::default(), 1).unwrap();
        let origin = measured.calibration.origin();
        assert_eq!((origin.people, origin.images, origin.lost), (12, 24, 1));
        assert_eq!((origin.strangers, origin.strangers_lost, origin.stranger_impostors), (3, 1, 46));
        assert_eq!((origin.genuine, origin.impostors, origin.pairs), (11, 23 * 22 / 2 - 11, 66));
        assert_eq!(
            measured.lost.into_iter().map(|lost| lost.path).collect::<Vec<_>>(),
            ["p2", "s1"].map(PathBuf::from)
        );
        assert_eq!((&measured.suspects[0].a, &measured.suspects[0].b), (&"p23".into(), &"s0".into()));
        assert_eq!(measured.details.len(), measured.calibration.rows().len());
    }
}
