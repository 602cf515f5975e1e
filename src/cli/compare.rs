//! `compare`: how alike are two faces?

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::context::Context;
use super::exit::{Code, Failure, Verdict};
use super::known::Scale;
use crate::face::encoding::Encoding;
use crate::face::photo;
use crate::face::pipeline::{Faces, Role};
use crate::gallery::{Comparisons, DeciderKind};
use crate::units::{Similarity, rounded_up};

/// The largest, most central face of each; exits with 0 where they are the same person's at gate.verify_target_fmr.
#[derive(Debug, clap::Args)]
pub struct Args {
    a: PathBuf,
    b: PathBuf,
}

#[derive(Serialize)]
struct Answer {
    distance: f32,
    similarity: f32,
    decider: DeciderKind,
    /// What a pair head makes of the two; `null` where the decider is another.
    probability: Option<f64>,
    /// `null` where the decider has no table.
    fmr: Option<f64>,
    same: bool,
    threshold_similarity: Option<f32>,
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let photos = [photo::load(&args.a)?, photo::load(&args.b)?];
    let mut faces = ctx.faces()?;
    let encode = |image, path: &Path, faces: &mut Faces| -> Result<Encoding, Failure> {
        let portrait = faces.portray_principal(image, Role::Probe)?;
        let none = || Failure::said(Code::Data, format!("{}: there is no face in this photograph", path.display()));
        portrait.map(|portrait| portrait.encoding).ok_or_else(none)
    };
    let (a, b) = (encode(&photos[0], &args.a, &mut faces)?, encode(&photos[1], &args.b, &mut faces)?);
    let scale = Scale::new(ctx, faces.encoder.spec(), Comparisons::ONE)?;
    let similarity = (scale.decider)
        .similarity(&a, &b)
        .ok_or_else(|| Failure::said(Code::Software, "one network made encodings that can't be compared"))?;
    let answer = Answer {
        distance: similarity.distance(),
        similarity: similarity.get(),
        decider: scale.decider.kind(),
        probability: scale.decider.probability(&a, &b),
        fmr: scale.fmr(similarity),
        same: scale.verify.is_some_and(|needed| similarity >= needed),
        threshold_similarity: scale.verify.map(Similarity::get),
    };
    ctx.out.json(&answer)?;
    ctx.out.line(sentence(&answer, &scale))?;
    Ok(answer.same.into())
}

fn sentence(answer: &Answer, scale: &Scale) -> String {
    let verdict = match (answer.same, answer.threshold_similarity) {
        (true, _) => "The same person",
        (false, Some(_)) => "Different people",
        (false, None) => "Nothing says whether these are one person",
    };
    let Answer { distance, similarity, .. } = answer;
    let measure = scale.decider.measure();
    let needed = match answer.threshold_similarity {
        Some(needed) => format!(", {needed:.3} needed"),
        None => format!(", and {}", scale.no_verify()),
    };
    let rate =
        answer.fmr.map(|fmr| format!("; at most {} of strangers come as near", at_most(fmr))).unwrap_or_default();
    format!("{verdict}: {measure} {similarity:.3}{needed}, distance {distance:.3}{rate}.")
}

fn at_most(rate: f64) -> String {
    format!("{:.1e}", rounded_up(rate, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_told_in_two_digits_and_never_smaller_than_it_is() {
        let told = [1.212e-4, 1.499e-3, 9.94e-5, 9.99e-5, 1e-4, 0.37, 1.665e-7].map(at_most);
        assert_eq!(told, ["1.3e-4", "1.5e-3", "1.0e-4", "1.0e-4", "1.0e-4", "3.7e-1", "1.7e-7"]);
    }
}
