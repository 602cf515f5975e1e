//! `gallery audit`: who looks alike, and which templates hurt.

use serde::Serialize;

use super::context::Context;
use super::counted;
use super::exit::{Failure, Verdict};
use super::known::Known;
use crate::gallery::audit::{Harmful, LookAlikes, audit};
use crate::gallery::{DeciderKind, Index};
use crate::units::Similarity;

/// Where the table reaches no threshold, people at least this alike are named.
const ALIKE_WITHOUT_TABLE: f32 = 0.5;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Name the people whom the network may take for each other, and templates that are nearer to somebody else
    Audit {
        /// The similarity from which two people are named [default: the threshold of recognition, less the margin]
        #[arg(long, value_name = "SIMILARITY", allow_negative_numbers = true)]
        from: Option<f32>,
    },
}

#[derive(Serialize)]
struct Report {
    people: usize,
    templates: usize,
    decider: DeciderKind,
    people_with_one_template: usize,
    look_alikes: Vec<Pair>,
    harmful: Vec<Harm>,
}

#[derive(Serialize)]
struct Pair {
    first: String,
    second: String,
    similarity: f32,
    fmr: Option<f64>,
}

#[derive(Serialize)]
struct Harm {
    person: String,
    template: u32,
    own_similarity: f32,
    other: String,
    other_similarity: f32,
}

/// Exits with 1 where somebody looks alike or a template hurts.
pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let Command::Audit { from } = &args.command;
    let model = ctx.encoder()?.spec;
    let (known, templates) = Known::open_for(ctx, &model)?;
    // Template by template, where the door searches one of each person: a single one can be wrong.
    let every = Index::build(&model.sha256, known.index.dims(), &templates)?;
    let every = every.decided_by(known.scale.decider.clone())?;
    let asked = from.map(|from| {
        Similarity::new(from).ok_or_else(|| Failure::Usage(format!("--from {from}: a similarity is -1 to 1")))
    });
    let usual = || Similarity::new(known.scale.identify.map_or(ALIKE_WITHOUT_TABLE, |s| s.get() - known.margin));
    let from = asked.transpose()?.or_else(usual).unwrap_or(Similarity::MAX);
    let bar = ctx.out.progress(every.len(), "comparing");
    let found = audit(&every, from, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let report = Report {
        people: found.people,
        templates: found.templates,
        decider: known.scale.decider.kind(),
        people_with_one_template: found.people_with_one_template,
        look_alikes: found.look_alikes.iter().map(|pair| self::pair(&known, pair)).collect(),
        harmful: found.harmful.iter().map(|harm| self::harm(&known, harm)).collect(),
    };
    ctx.out.json(&report)?;
    show(&report, from, known.scale.decider.measure(), ctx)?;
    Ok((report.look_alikes.is_empty() && report.harmful.is_empty()).into())
}

fn pair(known: &Known, pair: &LookAlikes) -> Pair {
    Pair {
        first: known.name(pair.first.0),
        second: known.name(pair.second.0),
        similarity: pair.similarity.get(),
        fmr: known.scale.fmr(pair.similarity),
    }
}

fn harm(known: &Known, harm: &Harmful) -> Harm {
    Harm {
        person: known.name(harm.person),
        template: harm.template.get(),
        own_similarity: harm.own.get(),
        other: known.name(harm.other.person),
        other_similarity: harm.other.similarity.get(),
    }
}

fn show(report: &Report, from: Similarity, measure: &str, ctx: &Context) -> Result<(), Failure> {
    let out = ctx.out;
    let people = counted(report.people, "person", "people");
    out.line(format_args!("{people}, {}.", counted(report.templates, "template", "templates")))?;
    for Pair { first, second, similarity, .. } in &report.look_alikes {
        out.line(format_args!("{first} and {second} look alike: {measure} {similarity:.3}."))?;
    }
    for h in &report.harmful {
        out.line(format_args!(
            "Template {} of {} is nearer to {} ({:.3}) than to {}'s others ({:.3}): erase and enrol {} with better photographs.",
            h.template, h.person, h.other, h.other_similarity, h.person, h.own_similarity, h.person
        ))?;
    }
    if report.people_with_one_template > 0 {
        out.line(format_args!(
            "{} with one photograph alone: another makes them surer to be recognised.",
            counted(report.people_with_one_template, "person", "people")
        ))?;
    }
    if report.look_alikes.is_empty() && report.harmful.is_empty() {
        out.line(format_args!("Nobody looks like anybody else ({measure} {from} or more), and no template hurts."))?;
    }
    Ok(())
}
