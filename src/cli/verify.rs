//! `verify`: is this the claimed person? (1:1)

use std::path::PathBuf;

use serde::Serialize;

use super::context::Context;
use super::exit::{Failure, Verdict};
use super::known::{Known, Scale};
use super::people;
use crate::face::pipeline::{Portrait, Role};
use crate::face::{photo, quality};
use crate::gallery::{DeciderKind, Person};
use crate::gate::Outcome;
use crate::units::Similarity;

/// Exits with 0 where it is and this person may come in now, with 1 where not.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name that is claimed, or #NUMBER
    name: String,
    photo: PathBuf,
}

#[derive(Serialize)]
struct Answer<'a> {
    outcome: &'static str,
    name: &'a str,
    same: bool,
    decider: DeciderKind,
    similarity: Option<f32>,
    distance: Option<f32>,
    fmr: Option<f64>,
    threshold_similarity: Option<f32>,
    /// What is wrong with the face where the outcome is `poor_quality`.
    poor: Option<&'static str>,
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let image = photo::load(&args.photo)?;
    let mut faces = ctx.faces()?;
    let known = Known::open(ctx, &faces)?;
    let person = people::find(&known.store, &args.name)?;
    let face = faces.portray_principal(&image, Role::Probe)?;
    let answer = judge(&known, &person, face.as_ref());
    ctx.out.json(&answer)?;
    ctx.out.line(sentence(&answer, &known.scale))?;
    Ok((answer.outcome == Outcome::Granted.as_str()).into())
}

fn judge<'a>(known: &Known, person: &'a Person, face: Option<&Portrait>) -> Answer<'a> {
    let similarity = face.and_then(|face| known.index.verify(person.id, &face.encoding));
    let same = similarity.zip(known.scale.verify).is_some_and(|(got, needed)| got >= needed);
    let poor = match face.map(|face| quality::check(&face.quality, &known.limits)) {
        None => Some("no_face"),
        Some(Err(poor)) => Some(poor.as_str()),
        Some(Ok(())) => None,
    };
    let outcome = match poor {
        Some(_) => Outcome::PoorQuality,
        None if same => known.admission(person.id),
        None => Outcome::NotRecognised,
    };
    Answer {
        outcome: outcome.as_str(),
        name: person.name.as_str(),
        same,
        decider: known.scale.decider.kind(),
        similarity: similarity.map(Similarity::get),
        distance: similarity.map(|s| s.distance()),
        fmr: similarity.and_then(|s| known.fmr(person.id, s)),
        threshold_similarity: known.scale.verify.map(Similarity::get),
        poor,
    }
}

fn sentence(answer: &Answer<'_>, scale: &Scale) -> String {
    let verdict = match (answer.poor, answer.same, answer.outcome == Outcome::Granted.as_str()) {
        (Some("no_face"), ..) => return "There is no face in this photograph.".into(),
        (Some(poor), ..) => format!("This face is too poor to judge ({poor})"),
        (None, true, true) => format!("This is {}", answer.name),
        (None, true, false) => format!("This is {}, but {}", answer.name, answer.outcome.replace('_', " ")),
        (None, false, _) if scale.verify.is_none() || answer.similarity.is_none() => {
            format!("Nothing says whether this is {}", answer.name)
        }
        (None, false, _) => format!("This is not {}", answer.name),
    };
    let measure = scale.decider.measure();
    match (answer.similarity, answer.threshold_similarity) {
        (Some(got), Some(needed)) => format!("{verdict}: {measure} {got:.3}, {needed:.3} needed."),
        (Some(got), None) => format!("{verdict}: {measure} {got:.3}, and {}.", scale.no_verify()),
        (None, _) => format!("{verdict}: no template of the present model to compare with."),
    }
}
