//! `calibrate`: the table from score to false match rate, measured on people of one's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::context::{Context, dims};
use super::eval::workers;
use super::exit::{Code, Failure, Verdict};
use super::known::Scale;
use super::{counted, note, outfile};
use crate::draft::{Draft, parent};
use crate::eval::calibrate::{Detail, Measured, Pictures, measure};
use crate::gallery::calibrate::{Calibration, Origin};
use crate::gallery::{Decider, DeciderKind, Index, Template};
use crate::hw::owner;
use crate::infer::ModelSpec;
use crate::units::rounded_up;

/// A daemon reads tables once.
const TAKEN_AT_START: &str =
    "facelatch: kept; the running daemon takes it at its next start: sudo systemctl restart facelatch";

/// Prints the table as TOML, for a pair head the whole file that the table belongs into. Rates are upper bounds: few
/// people make a cautious table that reaches no small rates.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder with a folder of photographs for each person
    dir: PathBuf,
    /// A folder of photographs of people who are none of these, whoever they are; may be given several times
    #[arg(long, value_name = "DIR")]
    strangers: Vec<PathBuf>,
    /// Write it into this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Keep it for this network, in place of the one that comes with facelatch; a running daemon takes it at its next
    /// start. Refused where it doesn't reach the configured rates for whoever is enrolled
    #[arg(long, conflicts_with = "out")]
    keep: bool,
    /// Whose score it is measured for: threshold or pair-head [default: the configuration's, faces.decider]
    #[arg(long, value_name = "DECIDER")]
    decider: Option<DeciderKind>,
    /// How many pictures at a time [default: the number of processors, at most 8]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    origin: &'a Origin,
    decider: DeciderKind,
    rows: Vec<Row>,
    /// Where the table was written.
    #[serde(serialize_with = "crate::eval::spelt")]
    file: Option<PathBuf>,
    suspects: Vec<Suspect<'a>>,
}

#[derive(Serialize)]
struct Row {
    similarity: f32,
    fmr: f64,
    fmr_upper: f64,
    fnmr: f64,
    fnmr_upper: Option<f64>,
    /// Among the people alone, and of people with strangers.
    fmr_people: f64,
    fmr_strangers: Option<f64>,
}

/// Two pictures under two names that look like one person.
#[derive(Serialize)]
struct Suspect<'a> {
    #[serde(serialize_with = "crate::eval::spelt")]
    a: &'a Path,
    #[serde(serialize_with = "crate::eval::spelt")]
    b: &'a Path,
    similarity: f32,
}

impl Args {
    /// What is measured on what, by the names of the folders.
    fn evaluation(&self) -> String {
        let name = |dir: &PathBuf| dir.file_name().map(|name| name.to_string_lossy().into_owned());
        let people = name(&self.dir).unwrap_or_else(|| "photographs".into());
        let strangers: Vec<_> = self.strangers.iter().filter_map(name).collect();
        if strangers.is_empty() { people } else { format!("{people}; strangers: {}", strangers.join(", ")) }
    }
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let choice = ctx.model_choice()?;
    let decider = ctx.decider_of(args.decider.unwrap_or(ctx.config.faces.decider), &choice.encoder.spec)?;
    if args.keep && decider.kind() == DeciderKind::PairHead {
        let sentence =
            "a pair head has its table in its own file: write it with --out FILE, and name it as faces.pair_head";
        return Err(Failure::Usage(sentence.into()));
    }
    let pictures = Pictures::list(&args.dir, &args.strangers)?;
    if let Some(out) = &args.out {
        outfile::spares(out, pictures.paths())?;
    }
    let enrolled = if args.keep { before_keeping(ctx, &choice.encoder.spec)? } else { Vec::new() };
    let bar = ctx.out.progress(pictures.len(), "encoding");
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let progress = |done| bar.set_position(done as u64);
    let named = (args.evaluation(), date);
    let measured = measure(&pictures, &choice, &decider, named, workers(args.workers), &progress)?;
    bar.finish_and_clear();
    for lost in &measured.lost {
        note(format_args!("facelatch: {lost}"));
    }
    if args.keep {
        must_reach(&measured, ctx, &choice.encoder.spec, &decider, &enrolled)?;
    }
    let file = if args.keep { Some(ctx.kept_calibration(&choice.encoder.spec)?) } else { args.out.clone() };
    let text = match &decider {
        Decider::Threshold => measured.calibration.to_toml(),
        Decider::PairHead(head) => head.as_ref().clone().with_table(measured.calibration.clone()).to_toml(),
    };
    match &file {
        Some(path) if args.keep => {
            keep(path, &text).map_err(Failure::io(path))?;
            note(TAKEN_AT_START);
        }
        Some(path) => outfile::put(path, &text).map_err(Failure::io(path))?,
        None => ctx.out.line(text.trim_end())?,
    }
    tell(ctx, &measured, decider.kind(), file)
}

/// In the state directory, of which the daemon must be able to read it.
fn keep(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = parent(path);
    owner::made_dir(dir)?;
    let draft = Draft::new(path, text.as_bytes())?;
    owner::hand_over(draft.file(), dir)?;
    draft.place()
}

/// Whose templates the table must serve. Tells whatever would keep it from being kept, before hours of encoding and not
/// after.
fn before_keeping(ctx: &Context, model: &ModelSpec) -> Result<Vec<Template>, Failure> {
    let (state, table) = (ctx.made_state_dir()?, ctx.kept_calibration(model)?);
    let dir = Some(parent(&table)).filter(|dir| dir.exists()).unwrap_or(&state);
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).map_err(|errno| {
        let error = std::io::Error::from(errno);
        let sentence = format!("{error}; run as root (sudo), or as the user that owns it");
        Failure::io(dir)(std::io::Error::new(error.kind(), sentence))
    })?;
    ctx.templates()
}

/// A table that admits nobody must not take the place of one that works.
fn must_reach(
    measured: &Measured,
    ctx: &Context,
    model: &ModelSpec,
    decider: &Decider,
    enrolled: &[Template],
) -> Result<(), Failure> {
    // As it will be read: written, a bound is rounded up.
    let table = Calibration::parse(&measured.calibration.to_toml())
        .map_err(|error| Failure::said(Code::Data, format!("the table of these pictures can't be kept: {error}")))?;
    // Somebody may have been enrolled meanwhile.
    let now = ctx.templates().ok();
    let enrolled = now.as_deref().unwrap_or(enrolled);
    let index = Index::of_people(&model.sha256, dims(model)?, enrolled)?;
    // Whoever has another network's templates is to come by again, and counts then.
    let mut others = BTreeMap::<_, usize>::new();
    for template in enrolled.iter().filter(|template| template.model_sha256 != model.sha256) {
        *others.entry(template.person).or_default() += 1;
    }
    let comparisons = others.values().fold(index.comparisons(), |all, &photographs| all.grown(0, photographs));
    let scale = Scale::of(decider.clone(), Some(table.clone()), &ctx.config, comparisons);
    let unreached = scale.unreached();
    if unreached.is_empty() {
        return Ok(());
    }
    let sentence = format!(
        "the table of these pictures ends at a false match rate of {:.2e} and doesn't reach {} among {}: nobody would be admitted by \
         it, so the one in force stays; measure more people, or --strangers, or ask for a larger rate",
        rounded_up(table.least().get(), 3),
        unreached.join(" and "),
        counted(index.people().len() + others.len(), "person", "people"),
    );
    Err(Failure::said(Code::Data, sentence))
}

fn tell(ctx: &Context, measured: &Measured, decider: DeciderKind, file: Option<PathBuf>) -> Result<Verdict, Failure> {
    let table = &measured.calibration;
    let row = |(row, detail): (&crate::gallery::calibrate::Row, &Detail)| Row {
        similarity: row.similarity.get(),
        fmr: row.fmr,
        fmr_upper: row.upper,
        fnmr: row.fnmr,
        fnmr_upper: row.fnmr_upper,
        fmr_people: detail.fmr_people,
        fmr_strangers: detail.fmr_strangers,
    };
    let suspects = measured.suspects.iter();
    let suspects = suspects.map(|s| Suspect { a: &s.a, b: &s.b, similarity: s.similarity.get() }).collect();
    if let Some(path) = &file {
        ctx.out.line(format_args!(
            "{}: {} people, {} comparisons of strangers",
            path.display(),
            table.origin().people,
            table.origin().impostors
        ))?;
    }
    note(format_args!(
        "facelatch: the table reaches a false match rate of {}; smaller targets admit nobody",
        table.least()
    ));
    if let Some(most) = measured.suspects.first() {
        let (a, b) = (most.a.display(), most.b.display());
        note(format_args!(
            "facelatch: most alike under two names: {a} and {b} ({}); check that it isn't one person",
            most.similarity
        ));
    }
    let rows = table.rows().iter().zip(&measured.details).map(row).collect();
    ctx.out.json(&Answer { origin: table.origin(), decider, rows, file, suspects })?;
    Ok(Verdict::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_table_replaces_a_planted_link_and_leaves_the_file_behind_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let [victim, table] = ["victim", "calibration/a.toml"].map(|name| dir.path().join(name));
        std::fs::write(&victim, "precious").unwrap();
        std::fs::create_dir(parent(&table)).unwrap();
        std::os::unix::fs::symlink(&victim, &table).unwrap();
        keep(&table, "rows").unwrap();
        assert_eq!([&victim, &table].map(|path| std::fs::read_to_string(path).unwrap()), ["precious", "rows"]);
        assert_eq!(std::fs::read_dir(parent(&table)).unwrap().count(), 1);
    }
}
