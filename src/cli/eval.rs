//! `eval`: accuracy by LFW's protocol.

use std::path::PathBuf;

use super::context::Context;
use super::exit::{Failure, Verdict};
use super::note;
use crate::eval::run::{Evaluation, Report, default_images, evaluate, read_pairs};
use crate::eval::{det, dump, encode};

/// The threshold is chosen on the other folds; TAR is quoted only at rates that the impostors are enough for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A list in the format of LFW's pairs.txt
    pairs: PathBuf,
    /// The folder with a folder for each person [default: images, beside the list]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Draw the DET curve into this file
    #[arg(long, value_name = "FILE.svg")]
    det: Option<PathBuf>,
    /// Write the aligned faces and their encodings into this directory, for comparison with other programs
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
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
    let pairs = read_pairs(&args.pairs)?;
    let images = args.images.clone().unwrap_or_else(|| default_images(&args.pairs));
    let choice = ctx.model_choice()?;
    let bar = ctx.out.progress(pairs.images.len(), "encoding");
    let evaluation = evaluate(&pairs, &images, &choice, workers(args.workers), &|done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    for path in &evaluation.lost {
        note(format_args!("facelatch: {}: no face was found", path.display()));
    }
    if let Some(path) = &args.det {
        draw(&evaluation, path)?;
    }
    if let Some(dir) = &args.dump {
        let pictures: Vec<_> = pairs.images.iter().map(|name| name.path(&images)).collect();
        dump::write(dir, &pictures, &choice)?;
    }
    ctx.out.json(&evaluation.report)?;
    ctx.out.line(summary(&evaluation.report))?;
    Ok(Verdict::Yes)
}

fn draw(evaluation: &Evaluation, path: &std::path::Path) -> Result<(), Failure> {
    let report = &evaluation.report;
    let title = format!("{}, faces found by {}", report.model.name, report.detector.name);
    let curve = det::Curve { name: &report.model.name, scores: &evaluation.scores };
    std::fs::write(path, det::svg(&title, &[curve])).map_err(Failure::io(path))
}

fn summary(report: &Report) -> String {
    let share = |share: Option<f64>| share.map_or_else(|| "too few pairs".into(), |share| format!("{share:.4}"));
    let ms = &report.ms;
    format!(
        "{} pairs in {} folds: accuracy {} ± {}, at similarity {}\n\
         true matches accepted at false match rate 1e-2: {}, 1e-3: {}, 1e-4: {}; equal error rate {}\n\
         faces not found: {}\n\
         ms (median): find {:.1}, landmarks {:.1}, align {:.1}, encode {:.1}\n\
         {} {}, {} {}",
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
        ms.embed.p50,
        report.model.name,
        report.model.sha256.get(..8).unwrap_or_default(),
        report.detector.name,
        report.detector.sha256.get(..8).unwrap_or_default(),
    )
}
