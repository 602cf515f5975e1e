//! `liveness eval`: error rates over recorded or simulated sessions.

use std::path::PathBuf;

use super::Judges;
use crate::cli::context::Context;
use crate::cli::exit::{Code, Failure, Verdict};
use crate::cli::{counted, note};
use crate::eval::det::{self, Axes, Curve};
use crate::eval::liveness::{Report, Tally, hear, list, sources};
use crate::liveness::{Session, Source, SourceSet};

/// Each session is judged as a door with its sensors would, at the configured target_bpcer.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder with sessions, files that end in .csv
    dir: PathBuf,
    /// Judge by these sensors alone, such as camera,depth,thermal [default: those that each session has]
    #[arg(long, value_name = "SENSORS", value_delimiter = ',', value_parser = parse_source)]
    sensors: Option<Vec<Source>>,
    /// Draw the DET curves into this file
    #[arg(long, value_name = "FILE.svg")]
    det: Option<PathBuf>,
}

fn parse_source(name: &str) -> Result<Source, String> {
    let known = || Source::ALL.map(Source::name).join(", ");
    Source::parse(name).ok_or_else(|| format!("there is no such sensor; known are {}", known()))
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let judges = Judges::new(ctx)?;
    let files = list(&args.dir).map_err(Failure::io(&args.dir))?;
    if files.is_empty() {
        let why = format!("{}: no sessions are here (files that end in .csv)", args.dir.display());
        return Err(Failure::said(Code::NoInput, why));
    }
    let bar = ctx.out.progress(files.len(), "judging");
    let mut tally = Tally::default();
    for path in &files {
        let session = Session::read(path)?;
        let has: SourceSet = sources(&session).collect();
        let by = args.sensors.as_ref().map_or(has, |wanted| wanted.iter().copied().collect()).with(Source::Camera);
        tally.add(session.label, session.source, &hear(&session, &mut judges.of(by)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let report = tally.report();
    if let Some(path) = &args.det {
        let scores: Vec<_> = tally.attacks().map(|kind| (kind.name(), tally.trade_off(kind))).collect();
        let curves: Vec<_> = scores.iter().map(|(name, scores)| Curve { name, scores }).collect();
        let title = if report.simulated > 0 { "Liveness, simulated sessions" } else { "Liveness" };
        std::fs::write(path, det::svg(title, Axes::LIVENESS, &curves)).map_err(Failure::io(path))?;
    }
    if report.simulated > 0 {
        note(format_args!("facelatch: {} of {} sessions are simulated", report.simulated, report.recordings));
    }
    ctx.out.json(&report)?;
    ctx.out.line(summary(&report))?;
    Ok(Verdict::Yes)
}

fn summary(report: &Report) -> String {
    let mut lines = vec![format!(
        "{}, {:.2} % of which could not be judged",
        counted(report.recordings, "session", "sessions"),
        100.0 * report.non_response
    )];
    for (label, rate) in &report.rates {
        let verdicts = report.verdicts.get(label).copied().unwrap_or_default();
        let what = if *label == "live" || *label == "unknown" { "turned away" } else { "passed" };
        lines.push(format!(
            "{label:<18} {:6.2} % {what} ({:.2} to {:.2} %), {} windows of {}; at a door: {} alive, {} attack, {} neither",
            100.0 * rate.share,
            100.0 * rate.low,
            100.0 * rate.high,
            rate.windows,
            counted(rate.sessions, "session", "sessions"),
            verdicts.live,
            verdicts.spoof,
            verdicts.inconclusive
        ));
    }
    lines.join("\n")
}
