//! `facelatch eval --gallery`: a search among N people, as the door makes it, measured with people who are in it and
//! people who aren't (open-set identification, ISO/IEC 19795-1).
//!
//! The N people with the most pictures are enrolled with one each or several, as `enroll` does it; all other pictures,
//! theirs and everybody else's, are judged by the threshold and the margin that the door holds of one frame. The door
//! wants several frames to agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::calibrate::list_people;
use super::encode::{Encoded, EvalError, Unreadable, encode_all};
use super::run::{Model, Timing};
use crate::digest::Digest;
use crate::face::quality::{self, Limits};
use crate::face::{Encoding, ModelChoice, Role};
use crate::gallery::bounds::{TWO_SIDED_95, wilson_interval};
use crate::gallery::search::IndexError;
use crate::gallery::{Comparisons, Decider, DeciderKind, Index, Template, TemplateId};
use crate::gate::Finding;
use crate::person::PersonId;
use crate::time::Wall;
use crate::units::Similarity;

/// So many of the pictures in which somebody was taken for somebody else are named, the most alike first.
pub const MAX_MISTAKES: usize = 100;
/// Fewer pictures than this don't tell how much they depend on whose they are.
const FEW: f64 = 20.0;

/// How many are enrolled, and with how many pictures each; both 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub people: usize,
    pub photos: usize,
}

/// What the door holds of one frame.
pub struct Rule<'a> {
    pub decider: &'a Decider,
    /// The similarity to demand of so many comparisons; `None` where no table reaches the rate.
    pub threshold: &'a dyn Fn(Comparisons) -> Option<Similarity>,
    pub margin: f32,
    /// The poorest face that is judged.
    pub limits: &'a Limits,
}

/// How a picture ends at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Recognised,
    TakenForAnother,
    Ambiguous,
    NotRecognised,
    Poor,
    NoFace,
}

const ENDINGS: usize = Ending::NoFace as usize + 1;

/// A picture as it comes to the door: whose it is, and the encoding or why there is none to judge.
#[derive(Debug, Clone)]
struct Picture {
    person: u32,
    face: Result<Encoding, Ending>,
}

impl Picture {
    fn new(person: usize, encoded: &Encoded, limits: &Limits) -> Self {
        let face = match &encoded.face {
            Some((encoding, quality)) if quality::check(quality, limits).is_ok() => Ok(encoding.clone()),
            Some(_) => Err(Ending::Poor),
            None => Err(Ending::NoFace),
        };
        // Fewer than MAX_IMAGES people have a picture.
        Self { person: person as u32, face }
    }
}

/// Pictures of one kind of people, counted by whose they are and how they ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tally(BTreeMap<u32, [usize; ENDINGS]>);

impl Tally {
    fn count(&mut self, person: u32, ending: Ending) {
        self.0.entry(person).or_default()[ending as usize] += 1;
    }

    fn people(&self) -> usize {
        self.0.len()
    }

    fn pictures(&self) -> usize {
        self.0.values().flatten().sum()
    }

    fn endings(&self, ending: Ending) -> usize {
        self.0.values().map(|endings| endings[ending as usize]).sum()
    }

    fn share(&self, ending: Ending) -> Share {
        let (count, all) = (self.endings(ending) as f64, self.pictures() as f64);
        let share = count / all.max(1.0);
        let [low, high] = wilson_interval(share, all / self.design_effect(ending), TWO_SIDED_95);
        Share { count: self.endings(ending), share, low, high }
    }

    /// So many pictures tell as much as one that is independent of all others, since a person's end alike more often
    /// than not (Kish 1965): how much more the counts of people scatter about their share than those of as many
    /// strangers would. Where few end so, or few otherwise, that can't be told, and every person counts once.
    fn design_effect(&self, ending: Ending) -> f64 {
        let (count, all) = (self.endings(ending) as f64, self.pictures() as f64);
        if count.min(all - count) < FEW {
            return (all / self.people().max(1) as f64).max(1.0);
        }
        let share = count / all;
        let off =
            |of_one: &[usize; ENDINGS]| of_one[ending as usize] as f64 - of_one.iter().sum::<usize>() as f64 * share;
        let squares = self.0.values().map(|of_one| off(of_one).powi(2)).sum::<f64>();
        (squares / (all * share * (1.0 - share))).max(1.0)
    }
}

/// All pictures judged.
#[derive(Debug, Clone, Default, PartialEq)]
struct Rehearsal {
    threshold: Option<Similarity>,
    known: Tally,
    strangers: Tally,
    /// The picture, the picture of whoever it was taken for, and how alike they are; the most alike first.
    mistakes: Vec<(usize, usize, Similarity)>,
}

/// The pictures that the people with the most pictures are enrolled with, each with the first that are good enough; of
/// people with equally many pictures the first. Fewer where not so many people have so many good ones.
fn choose(pictures: &[Picture], size: Size) -> Vec<usize> {
    let mut people: Vec<(u32, usize, Vec<usize>)> = Vec::new();
    for (at, picture) in pictures.iter().enumerate() {
        if people.last().is_none_or(|last| last.0 != picture.person) {
            people.push((picture.person, 0, Vec::new()));
        }
        if let Some((_, count, good)) = people.last_mut() {
            *count += 1;
            if picture.face.is_ok() && good.len() < size.photos {
                good.push(at);
            }
        }
    }
    people.retain(|(.., good)| good.len() == size.photos);
    people.sort_by_key(|&(person, count, _)| (std::cmp::Reverse(count), person));
    people.into_iter().take(size.people).flat_map(|(.., good)| good).collect()
}

/// Enrols with the pictures whose places and encodings are `enrolled`, and judges all others. Pictures of one person
/// must follow each other.
fn rehearse(
    pictures: &[Picture],
    enrolled: &[(usize, Encoding)],
    model: &Digest,
    rule: &Rule<'_>,
) -> Result<Rehearsal, IndexError> {
    let template = |(at, encoding): &(usize, Encoding)| Template {
        id: TemplateId::new(*at as u32),
        person: PersonId::new(pictures[*at].person),
        encoding: encoding.clone(),
        model_sha256: *model,
        created: Wall::default(),
        quality: 1.0,
    };
    let templates: Vec<_> = enrolled.iter().map(template).collect();
    let dims = enrolled.first().map_or(0, |(_, encoding)| encoding.dims());
    let index = Index::of_people(model, dims, &templates)?.decided_by(rule.decider.clone())?;
    let mut rehearsal = Rehearsal { threshold: (rule.threshold)(index.comparisons()), ..Rehearsal::default() };
    let (enrolled, mut scratch) = (BTreeSet::from_iter(enrolled.iter().map(|(at, _)| *at)), index.scratch());
    for (at, Picture { person, face }) in pictures.iter().enumerate().filter(|(at, _)| !enrolled.contains(at)) {
        let ending = match face {
            Err(ending) => *ending,
            Ok(encoding) => {
                let ranked = index.search(encoding, &mut scratch);
                let finding = ranked.seen(None).recognised(rehearsal.threshold, rule.margin);
                if let (Finding::Match(found), Some(hit)) = (finding, ranked.best)
                    && found.person.get() != *person
                {
                    rehearsal.mistakes.push((at, hit.template.get() as usize, hit.similarity));
                }
                ending(finding, *person)
            }
        };
        let is_known = index.people().binary_search(&PersonId::new(*person)).is_ok();
        if is_known { &mut rehearsal.known } else { &mut rehearsal.strangers }.count(*person, ending);
    }
    rehearsal.mistakes.sort_by(|a, b| b.2.get().total_cmp(&a.2.get()));
    Ok(rehearsal)
}

fn ending(finding: Finding, person: u32) -> Ending {
    match finding {
        Finding::Match(found) if found.person.get() == person => Ending::Recognised,
        Finding::Match(_) => Ending::TakenForAnother,
        Finding::Ambiguous { .. } => Ending::Ambiguous,
        Finding::Below(_) => Ending::NotRecognised,
    }
}

/// So many of all pictures of one kind, and the 95 % interval of their share (Wilson 1927, with as many pictures as
/// would tell as much if they were independent).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    pub count: usize,
    /// 0 to 1; 0 where there is no picture.
    pub share: f64,
    pub low: f64,
    pub high: f64,
}

/// What became of the pictures of people who are enrolled. The shares add up to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Known {
    pub people: usize,
    pub pictures: usize,
    pub recognised: Share,
    /// For somebody else who is enrolled.
    pub taken_for_another: Share,
    pub ambiguous: Share,
    pub not_recognised: Share,
    pub poor_quality: Share,
    pub no_face: Share,
}

/// What became of the pictures of everybody else. The shares add up to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Strangers {
    pub people: usize,
    pub pictures: usize,
    /// Taken for somebody who is enrolled: the false positive identification rate.
    pub admitted: Share,
    pub ambiguous: Share,
    pub not_recognised: Share,
    pub poor_quality: Share,
    pub no_face: Share,
}

/// A picture that was taken for somebody else's, and the one that this person is enrolled with. Where people are filed
/// under two names, or pictures under the wrong one, this is where it shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mistake {
    #[serde(serialize_with = "super::spelt")]
    pub picture: PathBuf,
    #[serde(serialize_with = "super::spelt")]
    pub taken_for: PathBuf,
    pub similarity: f32,
}

/// What `--json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// People.
    pub enrolled: usize,
    /// Templates of each.
    pub photos: usize,
    pub decider: DeciderKind,
    /// `null` where no table reaches the rate: then nobody is recognised.
    pub threshold_similarity: Option<f32>,
    pub margin: f32,
    pub known: Known,
    pub strangers: Strangers,
    /// Pictures that were left out, a sentence each.
    pub unreadable: Vec<String>,
    /// At most [`MAX_MISTAKES`].
    pub mistakes: Vec<Mistake>,
    pub model: Model,
    pub detector: Model,
    pub ms: Timing,
}

/// Enrols the people with the most pictures in the folders of `root`, and shows all other pictures to the door.
///
/// # Errors
/// Pictures can't be read, a network fails, too few people have pictures good enough to enrol, or the decider is
/// another encoder's.
pub fn evaluate(
    root: &Path,
    choice: &ModelChoice,
    size: Size,
    rule: &Rule<'_>,
    workers: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Report, EvalError> {
    let wrong = |reason: String| EvalError::Folder { path: root.into(), reason };
    let (people, paths): (Vec<_>, Vec<_>) = list_people(root)?.into_iter().unzip();
    let encoded = encode_all(&paths, choice, Role::Probe, Unreadable::IsLost, workers, progress)?;
    let unreadable: Vec<_> = encoded.iter().filter_map(|e| e.unreadable.clone()).collect();
    let read = people.into_iter().zip(paths).zip(encoded).filter(|(_, e)| e.unreadable.is_none());
    let (listed, encoded): (Vec<_>, Vec<_>) = read.unzip();
    let (people, paths): (Vec<_>, Vec<_>) = listed.into_iter().unzip();
    let pictures: Vec<_> = people.iter().zip(&encoded).map(|(&p, e)| Picture::new(p, e, rule.limits)).collect();
    let chosen = choose(&pictures, size);
    let photos: Vec<_> = chosen.iter().map(|&at| paths[at].clone()).collect();
    let templates = encode_all(&photos, choice, Role::Template, Unreadable::Ends, workers, &|_| ())?;
    let enrolled: Vec<_> = chosen.into_iter().zip(templates).filter_map(|(at, e)| Some((at, e.face?.0))).collect();
    if enrolled.is_empty() || enrolled.len() < size.people * size.photos {
        let (Size { people, photos }, here) = (size, enrolled.len() / size.photos.max(1));
        let good = if photos == 1 { "a picture".into() } else { format!("{photos} pictures") };
        return Err(wrong(format!("{here} people have {good} good enough to enrol, and {people} are to be enrolled")));
    }
    let rehearsal = rehearse(&pictures, &enrolled, &choice.encoder.spec.sha256, rule);
    let rehearsal = rehearsal.map_err(|error| wrong(error.to_string()))?;
    let mistake = |&(at, other, similarity): &(usize, usize, Similarity)| Mistake {
        picture: paths[at].clone(),
        taken_for: paths[other].clone(),
        similarity: similarity.get(),
    };
    let stages: Vec<_> = encoded.iter().filter_map(|e| e.stages).collect();
    Ok(Report {
        unreadable,
        enrolled: size.people,
        photos: size.photos,
        decider: rule.decider.kind(),
        threshold_similarity: rehearsal.threshold.map(Similarity::get),
        margin: rule.margin,
        known: Known::of(&rehearsal.known),
        strangers: Strangers::of(&rehearsal.strangers),
        mistakes: rehearsal.mistakes.iter().take(MAX_MISTAKES).map(mistake).collect(),
        model: Model::from(&choice.encoder.spec),
        detector: Model::from(&choice.detector.spec),
        ms: Timing::of(&stages),
    })
}

impl Known {
    fn of(tally: &Tally) -> Self {
        Self {
            people: tally.people(),
            pictures: tally.pictures(),
            recognised: tally.share(Ending::Recognised),
            taken_for_another: tally.share(Ending::TakenForAnother),
            ambiguous: tally.share(Ending::Ambiguous),
            not_recognised: tally.share(Ending::NotRecognised),
            poor_quality: tally.share(Ending::Poor),
            no_face: tally.share(Ending::NoFace),
        }
    }
}

impl Strangers {
    fn of(tally: &Tally) -> Self {
        Self {
            people: tally.people(),
            pictures: tally.pictures(),
            admitted: tally.share(Ending::TakenForAnother),
            ambiguous: tally.share(Ending::Ambiguous),
            not_recognised: tally.share(Ending::NotRecognised),
            poor_quality: tally.share(Ending::Poor),
            no_face: tally.share(Ending::NoFace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: Digest = Digest([0; 32]);

    fn at(person: u32, degrees: f32) -> Picture {
        let radians = degrees.to_radians();
        Picture { person, face: Ok(Encoding::from_raw(&[radians.cos(), radians.sin()]).unwrap()) }
    }

    fn without(person: u32, ending: Ending) -> Picture {
        Picture { person, face: Err(ending) }
    }

    fn of(people: usize, photos: usize) -> Size {
        Size { people, photos }
    }

    fn try_with(pictures: &[Picture], n: usize, threshold: Option<f32>) -> Rehearsal {
        let threshold = threshold.map(|t| Similarity::new(t).unwrap());
        let (limits, decider) = (Limits::default(), Decider::Threshold);
        let rule = Rule { decider: &decider, threshold: &|_| threshold, margin: 0.05, limits: &limits };
        let enrolled = choose(pictures, of(n, 1)).into_iter().map(|at| (at, pictures[at].face.clone().unwrap()));
        rehearse(pictures, &enrolled.collect::<Vec<_>>(), &MODEL, &rule).unwrap()
    }

    /// 0 and 2 have the most pictures; 0's first is poor. 1 and 3 are strangers.
    fn town() -> [Picture; 10] {
        [
            without(0, Ending::Poor),
            at(0, 0.0),
            at(0, 5.0),
            at(0, 45.0),
            at(1, 87.0),
            at(2, 90.0),
            at(2, 2.0),
            at(2, 200.0),
            without(3, Ending::NoFace),
            at(3, 180.0),
        ]
    }

    #[test]
    fn the_people_with_the_most_pictures_are_enrolled_with_their_first_good_one() {
        assert_eq!(choose(&town(), of(1, 1)), [1]);
        assert_eq!(choose(&town(), of(2, 1)), [1, 5]);
        assert_eq!(choose(&town(), of(3, 1)), [1, 5, 9], "3 has two pictures and 1 has one");
        assert_eq!(choose(&town(), of(9, 1)).len(), 4);
        assert_eq!(choose(&town(), of(2, 2)), [1, 2, 5, 6]);
        assert_eq!(choose(&town(), of(9, 3)), [1, 2, 3, 5, 6, 7], "the others haven't so many");
        assert!(choose(&[without(0, Ending::Poor)], of(1, 1)).is_empty());
    }

    fn endings(tally: &Tally) -> [usize; ENDINGS] {
        tally.0.values().fold([0; ENDINGS], |sum, of_one| std::array::from_fn(|i| sum[i] + of_one[i]))
    }

    #[test]
    fn pictures_of_one_person_that_end_alike_tell_no_more_than_one_of_them() {
        let tally = |each: usize, recognised: &dyn Fn(u32, usize) -> bool| {
            let mut tally = Tally::default();
            for (person, picture) in (0..100).flat_map(|person| (0..each).map(move |picture| (person, picture))) {
                let ending = if recognised(person, picture) { Ending::Recognised } else { Ending::NotRecognised };
                tally.count(person, ending);
            }
            tally.share(Ending::Recognised)
        };
        let [low, high] = wilson_interval(0.8, 100.0, TWO_SIDED_95);
        let alike = tally(10, &|person, _| person % 5 > 0);
        assert_eq!((alike.count, alike.share), (800, 0.8));
        assert!((alike.low - low).abs() < 1e-9 && (alike.high - high).abs() < 1e-9, "{alike:?}");
        let apart = tally(10, &|_, picture| picture % 5 > 0);
        let [low, high] = wilson_interval(0.8, 1000.0, TWO_SIDED_95);
        assert!((apart.low - low).abs() < 1e-9 && (apart.high - high).abs() < 1e-9, "{apart:?}");
        let none = tally(10, &|_, _| false);
        assert!(
            (none.high - wilson_interval(0.0, 100.0, TWO_SIDED_95)[1]).abs() < 1e-9,
            "{none:?}: of a hundred people"
        );
    }

    #[test]
    fn every_picture_but_those_enrolled_ends_in_exactly_one_way() {
        let rehearsal = try_with(&town(), 2, Some(0.7));
        // 0's others: poor, right, between both. 2's: taken for 0, like nobody.
        assert_eq!(endings(&rehearsal.known), [1, 1, 1, 1, 1, 0]);
        // 1 is taken for 2; 3 has no face once, and is like nobody once.
        assert_eq!(endings(&rehearsal.strangers), [0, 1, 0, 1, 0, 1]);
        assert_eq!((rehearsal.known.people(), rehearsal.strangers.people()), (2, 2));
        let mistakes: Vec<_> = rehearsal.mistakes.iter().map(|m| (m.0, m.1)).collect();
        assert_eq!(mistakes, [(6, 1), (4, 5)], "the more alike first");
    }

    #[test]
    fn without_a_threshold_nobody_is_recognised_and_nobody_mistaken() {
        let rehearsal = try_with(&town(), 2, None);
        assert_eq!(endings(&rehearsal.known), [0, 0, 0, 4, 1, 0]);
        assert_eq!(endings(&rehearsal.strangers), [0, 0, 0, 2, 0, 1]);
        assert!(rehearsal.mistakes.is_empty());
    }

    #[test]
    fn shares_are_of_all_pictures_of_their_kind_and_add_up() {
        let known = Known::of(&try_with(&town(), 2, Some(0.7)).known);
        let Known { recognised, taken_for_another, ambiguous, not_recognised, poor_quality, no_face, .. } = known;
        let all = [recognised, taken_for_another, ambiguous, not_recognised, poor_quality, no_face];
        assert!((all.iter().map(|share| share.share).sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!((known.pictures, recognised.count, recognised.share), (5, 1, 0.2));
        assert!(recognised.low < 0.2 && recognised.high > 0.2);
    }
}
