//! `eval`: accuracy by LFW's protocol (1:1), or of a search among many people (1:N).

use std::path::{Path, PathBuf};

use super::context::Context;
use super::exit::{Code, Failure, Verdict};
use super::known::no_table;
use super::run::thresholds;
use super::{counted, note, outfile};
use crate::eval::calibrate::list_people;
use crate::eval::gallery::{self, Rule, Size};
use crate::eval::run::{Evaluation, Model, Report, default_images, evaluate, read_pairs};
use crate::eval::{det, dump, encode};
use crate::face::ModelChoice;
use crate::gallery::keep::MAX_CAP;
use crate::gallery::{Decider, DeciderKind};
use crate::units::Fmr;

/// The threshold is chosen on the other folds; TAR is quoted only at rates that the impostors are enough for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A list in the format of LFW's pairs.txt
    #[arg(required_unless_present = "gallery", conflicts_with = "gallery")]
    pairs: Option<PathBuf>,
    /// The folder with a folder for each person [default: images, beside the list]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Search among so many people instead (1:N): enrol those with the most pictures in --images, and show all
    /// other pictures to a door of this configuration
    #[arg(long, value_name = "PEOPLE", requires = "images", conflicts_with_all = ["det", "dump"], value_parser = clap::value_parser!(u32).range(1..))]
    gallery: Option<u32>,
    /// Enrol them with so many pictures each
    #[arg(long, value_name = "N", requires = "gallery", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_CAP as i64))]
    photos: u32,
    /// Draw the DET curve into this file
    #[arg(long, value_name = "FILE.svg")]
    det: Option<PathBuf>,
    /// Write the aligned faces and their encodings into this directory, for comparison with other programs
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// What judges: threshold or pair-head [default: the configuration's, faces.decider]
    #[arg(long, value_name = "DECIDER")]
    decider: Option<DeciderKind>,
    /// How many pictures at a time [default: the number of processors, at most 8]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

/// As many as there are processors, within what helps.
pub fn workers(asked: Option<usize>) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    asked.unwrap_or_else(processors).clamp(1, encode::MAX_WORKERS)
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let choice = ctx.model_choice()?;
    let decider = ctx.decider_of(args.decider.unwrap_or(ctx.config.faces.decider), &choice.encoder.spec)?;
    match (&args.pairs, &args.images, args.gallery) {
        (_, Some(images), Some(people)) => {
            let size = Size { people: people as usize, photos: args.photos as usize };
            search(args, ctx, &choice, &decider, (images, size))
        }
        (Some(pairs), images, None) => {
            let images = images.clone().unwrap_or_else(|| default_images(pairs));
            compare(args, ctx, &choice, &decider, (pairs, &images))
        }
        _ => Err(Failure::Usage("name a list of pairs, or --gallery with --images".into())),
    }
}

/// 1:1, by LFW's protocol.
fn compare(
    args: &Args,
    ctx: &Context,
    choice: &ModelChoice,
    decider: &Decider,
    (list, images): (&Path, &Path),
) -> Result<Verdict, Failure> {
    let pairs = read_pairs(list)?;
    let pictures: Vec<_> = pairs.images.iter().map(|name| name.path(images)).collect();
    if let Some(out) = &args.det {
        outfile::spares(out, pictures.iter().map(PathBuf::as_path).chain([list]))?;
    }
    if let Some(dir) = &args.dump {
        dump::prepare(dir)?;
    }
    let bar = ctx.out.progress(pairs.images.len(), "encoding");
    let progress = |done| bar.set_position(done as u64);
    let evaluation = evaluate(&pairs, images, choice, decider, workers(args.workers), &progress)?;
    bar.finish_and_clear();
    for lost in &evaluation.lost {
        note(format_args!("facelatch: {lost}"));
    }
    // First of all: it took hours, and the disk may have filled up meanwhile.
    ctx.out.json(&evaluation.report)?;
    ctx.out.line(summary(&evaluation.report, decider.measure()))?;
    if let Some(path) = &args.det {
        draw(&evaluation, path)?;
    }
    if let Some(dir) = &args.dump {
        dump::write(dir, &pictures, choice)?;
    }
    Ok(Verdict::Yes)
}

/// 1:N, by the rules of the configured door.
fn search(
    args: &Args,
    ctx: &Context,
    choice: &ModelChoice,
    decider: &Decider,
    (images, size): (&Path, Size),
) -> Result<Verdict, Failure> {
    let (model, limits) = (&choice.encoder.spec, ctx.config.limits());
    let table = ctx.table(model, decider)?.ok_or_else(|| Failure::said(Code::Data, no_table(&model.name, decider)))?;
    let demand = thresholds(Some(table), &ctx.config);
    let threshold = |comparisons| demand(comparisons).identify;
    let rule = Rule { decider, threshold: &threshold, margin: ctx.config.gate.margin, limits: &limits };
    let bar = ctx.out.progress(list_people(images)?.len(), "encoding");
    let progress = |done| bar.set_position(done as u64);
    let report = gallery::evaluate(images, choice, size, &rule, workers(args.workers), &progress)?;
    bar.finish_and_clear();
    let target = ctx.config.gate.target_fmr;
    if report.threshold_similarity.is_none() {
        note(format_args!(
            "facelatch: the score table doesn't reach gate.target_fmr = {target} among {}",
            counted(size.people, "person", "people")
        ));
    }
    for sentence in &report.unreadable {
        note(format_args!("facelatch: {sentence}"));
    }
    for gallery::Mistake { picture, taken_for, similarity } in &report.mistakes {
        let (picture, taken_for) = (picture.display(), taken_for.display());
        note(format_args!(
            "facelatch: {picture} was taken for {taken_for} ({similarity:.3}); check that it isn't one person"
        ));
    }
    ctx.out.json(&report)?;
    ctx.out.line(table_of(&report, decider.measure(), target))?;
    Ok(Verdict::Yes)
}

fn table_of(report: &gallery::Report, measure: &str, target: Fmr) -> String {
    let gallery::Report { enrolled, photos, margin, known, strangers, .. } = report;
    let needed = report.threshold_similarity.map_or_else(|| "out of reach".into(), |needed| format!("{needed:.3}"));
    let line = |what: &str, share: &gallery::Share| {
        let [percent, low, high] = [share.share, share.low, share.high].map(|share| 100.0 * share);
        format!("  {what:<26} {:>6}  {percent:>7.2} %   {low:.2} to {high:.2} %\n", share.count)
    };
    let heading = |who: &str, pictures: usize, people: usize| {
        format!("{who}: {} of {}\n", counted(pictures, "picture", "pictures"), counted(people, "person", "people"))
    };
    [
        format!(
            "{} enrolled with {} each. The {measure} needed for gate.target_fmr = {target} is {needed}, {margin} ahead of the \
             next person. Each picture is judged by itself; intervals are of 95 %.\n",
            counted(*enrolled, "person", "people"),
            counted(*photos, "picture", "pictures")
        ),
        heading("The enrolled", known.pictures, known.people),
        line("recognised", &known.recognised),
        line("taken for another", &known.taken_for_another),
        line("ambiguous", &known.ambiguous),
        line("not recognised", &known.not_recognised),
        line("poor quality", &known.poor_quality),
        line("no face", &known.no_face),
        heading("Strangers", strangers.pictures, strangers.people),
        line("admitted", &strangers.admitted),
        line("ambiguous", &strangers.ambiguous),
        line("not recognised", &strangers.not_recognised),
        line("poor quality", &strangers.poor_quality),
        line("no face", &strangers.no_face),
        networks(&report.model, &report.detector),
    ]
    .concat()
}

fn networks(model: &Model, detector: &Model) -> String {
    let short = |of: &Model| format!("{} {}", of.name, of.sha256.get(..8).unwrap_or_default());
    format!("{}, {}", short(model), short(detector))
}

fn draw(evaluation: &Evaluation, path: &std::path::Path) -> Result<(), Failure> {
    let report = &evaluation.report;
    let title = format!("{}, faces found by {}", report.model.name, report.detector.name);
    let curve = det::Curve::new(&report.model.name, &evaluation.scores);
    std::fs::write(path, det::svg(&title, det::Axes::MATCH, &[curve])).map_err(Failure::io(path))
}

fn summary(report: &Report, measure: &str) -> String {
    let share = |share: Option<f64>| share.map_or_else(|| "too few pairs".into(), |share| format!("{share:.4}"));
    let ms = &report.ms;
    format!(
        "{} pairs in {} folds: accuracy {} ± {}, at {measure} {}\n\
         true matches accepted at false match rate 1e-2: {}, 1e-3: {}, 1e-4: {}; equal error rate {}\n\
         faces not found: {}\n\
         ms (median): find {:.1}, landmarks {:.1}, align {:.1}, encode {:.1}\n\
         {}",
        report.pairs,
        report.folds,
        share(report.accuracy),
        share(report.accuracy_sd),
        share(report.threshold_similarity),
        share(report.tar.at_1e2),
        share(report.tar.at_1e3),
        share(report.tar.at_1e4),
        share(report.eer),
        report.failed_to_detect,
        ms.detect.p50,
        ms.landmarks.p50,
        ms.align.p50,
        ms.encode.p50,
        networks(&report.model, &report.detector),
    )
}
