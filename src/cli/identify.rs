//! `identify`: who is it, or nobody that is known? (1:N)

use std::path::PathBuf;

use serde::Serialize;

use super::context::Context;
use super::exit::{Failure, Verdict};
use super::known::{Judgement, Known};
use crate::face::detect::Detection;
use crate::face::photo;
use crate::face::pipeline::Role;
use crate::gallery::DeciderKind;
use crate::gate::Outcome;
use crate::units::Similarity;

/// One object, or one line, for each face, and one where there is none; exits with 0 where anybody was recognised who
/// may come in now.
#[derive(Debug, clap::Args)]
pub struct Args {
    photo: PathBuf,
}

#[derive(Serialize)]
struct Answer {
    outcome: &'static str,
    name: Option<String>,
    decider: DeciderKind,
    similarity: Option<f32>,
    runner_up: Option<RunnerUp>,
    fmr: Option<f64>,
    threshold_similarity: Option<f32>,
    /// What is wrong with the face where the outcome is `poor_quality`.
    poor: Option<&'static str>,
    /// `null` where there is no face.
    face: Option<Place>,
}

#[derive(Serialize)]
struct RunnerUp {
    name: String,
    similarity: f32,
}

/// Where the face is, in pixels of the photograph.
#[derive(Serialize)]
struct Place {
    left: f32,
    top: f32,
    width: f32,
    height: f32,
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let image = photo::load(&args.photo)?;
    let mut faces = ctx.faces()?;
    let mut known = Known::open(ctx, &faces)?;
    let found = faces.detector.detect(&image)?;
    let (mut answers, mut is_anybody) = (0, false);
    for face in &found {
        let Some(portrait) = faces.portray(&image, face, Role::Probe)? else { continue };
        let judgement = known.identify(&portrait);
        answers += 1;
        is_anybody |= judgement.outcome == Outcome::Granted;
        let answer = answer(&known, &judgement, face);
        ctx.out.json(&answer)?;
        ctx.out.line(sentence(&answer, &known))?;
    }
    // What was found may have no points that a face could have.
    if answers == 0 {
        ctx.out.json(&no_face(&known))?;
        ctx.out.line("There is no face in this photograph.")?;
    }
    Ok(is_anybody.into())
}

fn answer(known: &Known, judgement: &Judgement, Detection { bbox, .. }: &Detection) -> Answer {
    let similarity = judgement.best.map(|hit| hit.similarity);
    Answer {
        outcome: judgement.outcome.as_str(),
        name: judgement.name.clone(),
        decider: known.scale.decider.kind(),
        similarity: similarity.map(|s| s.get()),
        runner_up: judgement
            .runner_up
            .map(|hit| RunnerUp { name: known.name(hit.person), similarity: hit.similarity.get() }),
        fmr: judgement.best.and_then(|hit| known.fmr(hit.person, hit.similarity)),
        threshold_similarity: known.scale.identify.map(Similarity::get),
        poor: judgement.poor.map(|poor| poor.as_str()),
        face: Some(Place { left: bbox.left, top: bbox.top, width: bbox.width, height: bbox.height }),
    }
}

fn no_face(known: &Known) -> Answer {
    Answer {
        outcome: Outcome::PoorQuality.as_str(),
        name: None,
        decider: known.scale.decider.kind(),
        similarity: None,
        runner_up: None,
        fmr: None,
        threshold_similarity: known.scale.identify.map(Similarity::get),
        poor: Some("no_face"),
        face: None,
    }
}

fn sentence(answer: &Answer, known: &Known) -> String {
    let place =
        answer.face.as_ref().map(|face| format!("face at {:.0},{:.0}", face.left, face.top)).unwrap_or_default();
    let (scale, measure) = (&known.scale, known.scale.decider.measure());
    let score = match (answer.similarity, answer.threshold_similarity) {
        (Some(best), Some(needed)) => format!("{measure} {best:.3}, {needed:.3} needed"),
        (Some(best), None) => format!("{measure} {best:.3}, and {}", scale.no_identify()),
        (None, _) if known.index.other_model().is_some() => "no template of the present model to compare with".into(),
        (None, _) => "nobody is enrolled".into(),
    };
    let granted = answer.outcome == Outcome::Granted.as_str();
    match (&answer.name, answer.poor) {
        (Some(name), _) if granted => format!("{name} ({place}): {score}"),
        (Some(name), _) => format!("{name}, {} ({place}): {score}", answer.outcome.replace('_', " ")),
        (None, Some(poor)) => format!("Too poor to judge, {poor} ({place})"),
        (None, None) if answer.outcome == Outcome::Ambiguous.as_str() => {
            let rival = answer.runner_up.as_ref().map(|r| format!("; {} at {:.3}", r.name, r.similarity));
            format!("Ambiguous ({place}): {score}{}", rival.unwrap_or_default())
        }
        (None, None) => format!("Not recognised ({place}): {score}"),
    }
}
