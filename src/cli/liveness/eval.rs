//! `liveness eval`: error rates over recorded or simulated sessions.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::Judges;
use super::door::{Door, Visit};
use crate::cli::context::Context;
use crate::cli::exit::{Code, Failure, Verdict};
use crate::cli::{counted, note, outfile};
use crate::eval::det::{self, Axes, Curve};
use crate::eval::liveness::{Report, Tally, hear, list, sources};
use crate::eval::run::nearest_rank;
use crate::liveness::{Label, Session, Source, SourceSet};

/// Each session is judged as a door with its sensors would, at the configured target_bpcer.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder with sessions, files that end in .csv
    dir: PathBuf,
    /// Judge by these sensors alone, such as camera,depth,thermal [default: those that each session has]
    #[arg(long, value_name = "SENSORS", value_delimiter = ',', value_parser = parse_source)]
    sensors: Option<Vec<Source>>,
    /// Let each session happen at a simulated door as well, with the configured gate, a ledger and a strike, where
    /// whoever comes looks like somebody enrolled: how often it opens, and how fast
    #[arg(long)]
    door: bool,
    /// Draw the DET curves into this file
    #[arg(long, value_name = "FILE.svg")]
    det: Option<PathBuf>,
}

fn parse_source(name: &str) -> Result<Source, String> {
    let known = || Source::ALL.map(Source::as_str).join(", ");
    Source::parse(name).ok_or_else(|| format!("there is no such sensor; known are {}", known()))
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let judges = Judges::new(ctx)?;
    let files = list(&args.dir).map_err(Failure::io(&args.dir))?;
    if files.is_empty() {
        let why = format!("{}: no sessions are here (files that end in .csv)", args.dir.display());
        return Err(Failure::said(Code::NoInput, why));
    }
    if let Some(out) = &args.det {
        outfile::spares(out, &files)?;
    }
    let bar = ctx.out.progress(files.len(), "judging");
    let mut tally = Tally::default();
    let mut door = args.door.then(|| Door::new(ctx.config.policy())).transpose()?;
    let mut visits = Visits::default();
    for path in &files {
        let session = Session::read(path)?;
        let has: SourceSet = sources(&session).collect();
        let by = args.sensors.as_ref().map_or(has, |wanted| wanted.iter().copied().collect()).with(Source::Camera);
        tally.add(session.label, session.origin, &hear(&session, &mut judges.of(by)));
        if let Some(door) = &mut door {
            visits.add(session.label, &door.visit(&session, &mut judges.of(by)));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let report = tally.report();
    if report.simulated > 0 {
        note(format_args!("facelatch: {} of {} sessions are simulated", report.simulated, report.recordings));
    }
    let door = door.is_some().then(|| visits.report());
    // First of all: it took long, and the disk may have filled up meanwhile.
    ctx.out.json(&Answer { report: &report, door: door.as_ref() })?;
    ctx.out.line(summary(&report))?;
    if let Some(door) = &door {
        ctx.out.line(door)?;
    }
    if let Some(path) = &args.det {
        let scores: Vec<_> = tally.attacks().map(|kind| (kind.as_str(), tally.trade_off(kind))).collect();
        let of = |name| report.rates.get(name).map_or(0, |rate| rate.sessions);
        let curve = |(name, scores)| Curve { name, scores, independent: [of(name), of(Label::Live.as_str())] };
        let curves: Vec<_> = scores.iter().map(|(name, scores)| curve((*name, scores.as_slice()))).collect();
        let title = if report.simulated > 0 { "Liveness, simulated sessions" } else { "Liveness" };
        std::fs::write(path, det::svg(title, Axes::LIVENESS, &curves)).map_err(Failure::io(path))?;
    }
    Ok(Verdict::Yes)
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    door: Option<&'a DoorReport>,
}

/// Visits to the simulated door, added up.
#[derive(Default)]
struct Visits {
    by_label: BTreeMap<&'static str, Opened>,
    /// From the first frame with the face of somebody living to the release.
    seconds: Vec<f64>,
}

/// How often the door opened.
#[derive(Debug, Clone, Default, Serialize)]
struct Opened {
    visits: usize,
    opened: usize,
    /// What the ledger has of those that it stayed shut for: the first outcome of each.
    otherwise: BTreeMap<&'static str, usize>,
}

#[derive(Debug, Serialize)]
struct DoorReport {
    visits: BTreeMap<&'static str, Opened>,
    /// Of people who were let in.
    seconds_p50: Option<f64>,
    seconds_p95: Option<f64>,
}

impl Visits {
    fn add(&mut self, label: Label, visit: &Visit) {
        let count = self.by_label.entry(label.as_str()).or_default();
        count.visits += 1;
        match visit.opened_after {
            Some(after) => {
                count.opened += 1;
                if label == Label::Live {
                    self.seconds.push(after.as_secs_f64());
                }
            }
            None => {
                let first = visit.outcomes.first().map_or("nothing", |outcome| outcome.as_str());
                *count.otherwise.entry(first).or_default() += 1;
            }
        }
    }

    fn report(mut self) -> DoorReport {
        self.seconds.sort_by(f64::total_cmp);
        let at = |percent| nearest_rank(&self.seconds, percent);
        DoorReport { seconds_p50: at(50), seconds_p95: at(95), visits: self.by_label }
    }
}

impl fmt::Display for DoorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, Opened { visits, opened, otherwise }) in &self.visits {
            write!(f, "the door opened {opened} of {visits} times to {label}")?;
            for (outcome, n) in otherwise {
                write!(f, ", {n} times {outcome}")?;
            }
            writeln!(f)?;
        }
        let seconds = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.2} s"));
        let (p50, p95) = (seconds(self.seconds_p50), seconds(self.seconds_p95));
        write!(f, "from a living person's first frame to the release: {p50} (p50), {p95} (p95)")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_those_let_in_waited_no_longer_than_the_median() {
        let seconds = [4.0, 1.0, 3.0, 2.0].to_vec();
        let report = Visits { seconds, ..Visits::default() }.report();
        assert_eq!((report.seconds_p50, report.seconds_p95), (Some(2.0), Some(4.0)));
        assert_eq!(Visits::default().report().seconds_p50, None);
    }
}
