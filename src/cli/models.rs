//! `models`: which networks there are, and adding one.

use std::path::PathBuf;

use serde::Serialize;

use super::context::Context;
use super::exit::{Failure, Verdict};
use crate::hw::journal::one_line;
use crate::hw::owner;
use crate::infer::manifest::{Manifest, ModelSpec};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The networks that are known, and which of them are here
    List,
    /// Copy a network into the state directory, after checking its digest
    Add {
        /// A network that the manifest knows, or any ONNX with a .toml of the same name beside it
        file: PathBuf,
    },
}

#[derive(Serialize)]
struct Row {
    name: String,
    kind: String,
    sha256: String,
    licence: String,
    source: String,
    file: String,
    /// It is part of this program.
    built_in: bool,
    /// Where it lies, if there is a file of it here.
    #[serde(serialize_with = "crate::eval::spelt")]
    path: Option<PathBuf>,
}

impl Row {
    fn new(spec: &ModelSpec, path: Option<PathBuf>) -> Self {
        Self {
            name: spec.name.clone(),
            kind: spec.kind().to_string(),
            sha256: spec.sha256.to_string(),
            licence: spec.licence.clone(),
            source: spec.source.clone(),
            file: spec.file.clone(),
            built_in: Manifest::builtin().built_in(&spec.name).is_some_and(|model| model.spec.sha256 == spec.sha256),
            path,
        }
    }
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    match &args.command {
        Command::List => list(ctx),
        Command::Add { file } => add(file, ctx),
    }
}

fn list(ctx: &Context) -> Result<Verdict, Failure> {
    let manifest = Manifest::builtin();
    let mut rows: Vec<Row> = manifest.models().iter().map(|spec| Row::new(spec, None)).collect();
    for dir in ctx.models_dirs() {
        for found in manifest.installed(&dir) {
            match found {
                Ok(model) => match rows.iter_mut().find(|row| row.sha256 == model.spec.sha256.to_string()) {
                    Some(row) => row.path = row.path.take().or(Some(model.path)),
                    None => rows.push(Row::new(&model.spec, Some(model.path))),
                },
                Err(error) => super::note(format_args!("facelatch: {error}")),
            }
        }
    }
    for row in &rows {
        ctx.out.json(row)?;
        let place = match &row.path {
            Some(path) => path.display().to_string(),
            None if row.built_in => "built in".into(),
            None => format!("not here, from {}", row.source),
        };
        ctx.out.line(one_line(&format!("{:<24} {:<10} {:<24} {place}", row.name, row.kind, row.licence)))?;
    }
    Ok(Verdict::Yes)
}

fn add(file: &std::path::Path, ctx: &Context) -> Result<Verdict, Failure> {
    let dir = ctx.made_state_dir()?.join("models");
    owner::made_dir(&dir).map_err(Failure::io(&dir))?;
    let added = Manifest::builtin().add(file, &dir)?;
    let description = added.path.with_extension("toml");
    for made in [Some(&added.path), Some(&description).filter(|path| path.exists())].into_iter().flatten() {
        owner::hand_over_at(made).map_err(Failure::io(made))?;
    }
    let spec = &added.spec;
    ctx.out.json(&Row::new(spec, Some(added.path.clone())))?;
    if let Some(text) = spec.licence_text() {
        ctx.out.line(text.trim_end())?;
        ctx.out.line("")?;
    }
    let licence = if spec.licence.is_empty() { "not stated" } else { &spec.licence };
    ctx.out.line(one_line(&format!("{}: a {}, SHA-256 {}", spec.name, spec.kind(), spec.sha256)))?;
    ctx.out.line(one_line(&format!("Licence: {licence} (above where it is known). From: {}", spec.source)))?;
    let done = if added.already { "was there already" } else { "is there now" };
    ctx.out.line(format_args!("{} {done}.", added.path.display()))?;
    Ok(Verdict::Yes)
}
