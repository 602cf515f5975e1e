//! `setup`: from a board on which nothing is configured to a door that `doctor` finds well.
//!
//! Three steps that know nothing of each other: what the board has (`found`), what somebody answers (`question` is the
//! dialogue, `ask` the terminal, `answers` the file), and the file that comes of it (`write`). Nothing is written
//! before everything is answered, so breaking off leaves all as it was.

mod answers;
mod ask;
mod found;
mod last;
mod leftover;
mod plan;
mod question;
mod write;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::ask::{Answers, Terminal};
use self::found::{Before, Found};
use self::plan::{Newcomer, Plan};
use super::context::{Context, SERVICE_STATE, read_text};
use super::exit::{Code, Failure, Verdict};
use super::{Globals, Output, doctor, enroll, note};
use crate::config::{Config, DEFAULT_PATH, MAX_CONFIG_BYTES};
use crate::control::{Request, client};
use crate::gallery::KeyPlaces;

/// The key's name, beside the configuration unless somebody says otherwise.
const KEY_FILE: &str = "facelatch.key";

/// Said before the configuration is shown.
const NOT_TAKEN_OVER: &str = "Not taken over from the configuration that is there, since setup doesn't ask for it; copy what you want from the \
                              copy that is kept beside the new one";

/// Finds cameras, GPIO lines and sensors, asks what it must, writes the configuration, makes the key, enrols the first
/// person, and ends with `doctor`. Exits with 1 where that finds something wrong
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Take the answers from a file and ask nothing
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Show the configuration that would be written, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print a file of answers to be filled in, with what was found on this board
    #[arg(long, conflicts_with_all = ["answers", "dry_run"])]
    questions: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(serialize_with = "crate::eval::spelt")]
    configuration: &'a Path,
    /// What it says, where nothing was written.
    text: Option<&'a str>,
    /// Where the one before it was put.
    #[serde(serialize_with = "crate::eval::spelt")]
    copy: Option<&'a Path>,
    #[serde(serialize_with = "crate::eval::spelt")]
    key: Option<&'a Path>,
}

pub fn run(args: &Args, globals: Globals) -> Result<Verdict, Failure> {
    let out = Output { json: globals.json };
    let path = absolute(globals.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH)))?;
    let found = probe(&path, &globals)?;
    if args.questions {
        let text = answers::template(&found);
        out.line(text.trim_end())?;
        out.json(&serde_json::json!({ "answers": text }))?;
        return Ok(Verdict::Yes);
    }
    if !args.dry_run {
        can_be_set_up(&path, &found)?;
    }
    let mut answers = answering(args)?;
    found.remarks.iter().for_each(|remark| note(format_args!("  {remark}")));
    let plan = ask::hold(&found, &mut *answers)?;
    let text = (!plan.keeps).then(|| write::checked(&plan.config, &path)).transpose()?;
    if !plan.keeps && !found.leftover.is_empty() {
        note(format_args!("\n{NOT_TAKEN_OVER}: {}", found.leftover.join(", ")));
    }
    if !answers.agree(text.as_deref().filter(|_| !args.dry_run))? {
        return Err(Failure::said(Code::No, "nothing was written"));
    }
    if args.dry_run {
        out.line(text.as_deref().unwrap_or("The configuration stays as it is.").trim_end())?;
        out.json(&Answer { configuration: &path, text: text.as_deref(), copy: None, key: None })?;
        return Ok(Verdict::Yes);
    }
    let globals = match plan.keeps {
        true => Globals { config: Some(path), ..globals },
        // The state directory is now the configuration's.
        false => Globals { config: Some(path), state: None, ..globals },
    };
    carry_out(&plan, text.as_deref(), globals)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(Failure::io(path))
}

/// What the board has, and what is there of an earlier setup.
fn probe(path: &Path, globals: &Globals) -> Result<Found, Failure> {
    let mut found = Found::probe(Path::new("/"));
    found.before = before(path);
    found.leftover = leftover::keys(&read_text(path, MAX_CONFIG_BYTES as usize).unwrap_or_default());
    found.state_dir = absolute(globals.state.as_deref().unwrap_or(Path::new(SERVICE_STATE)))?;
    found.key_file = path.with_file_name(KEY_FILE);
    Ok(found)
}

fn before(path: &Path) -> Before {
    if std::fs::symlink_metadata(path).is_err() {
        return Before::Nothing;
    }
    match Config::load(path) {
        Ok(config) if config == Config::default() => Before::Sample,
        Ok(config) => Before::Configured(Box::new(config)),
        Err(error) => Before::Wrong(error.to_string()),
    }
}

/// What would end badly after twenty questions is told before the first.
fn can_be_set_up(path: &Path, found: &Found) -> Result<(), Failure> {
    let dir = path.ancestors().skip(1).find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    if let Err(error) = rustix::fs::access(dir, rustix::fs::Access::WRITE_OK) {
        let why = format!("{}: not to be written by this user ({error}): sudo facelatch setup", dir.display());
        return Err(Failure::said(Code::NoPermission, why));
    }
    let usual = Config::default();
    let config = if let Before::Configured(config) = &found.before { config } else { &usual };
    if client::request(&config.control.socket, &Request::Status {}).is_ok() {
        let why = "the daemon is running and has camera and lines: systemctl stop facelatch, then again";
        return Err(Failure::said(Code::Unavailable, why));
    }
    let key = KeyPlaces::from_env(config.store.key_file.as_ref().unwrap_or(&found.key_file));
    if key.sealed().is_some() {
        // Makes none beside a sealed one.
        key.find(&found.state_dir)?;
    }
    Ok(())
}

fn answering(args: &Args) -> Result<Box<dyn Answers>, Failure> {
    if let Some(file) = &args.answers {
        return Ok(Box::new(answers::File::load(file)?));
    }
    if !std::io::stdin().is_terminal() {
        let why = "there is no terminal to ask at: answer by a file, --answers FILE; --questions prints one to fill in";
        return Err(Failure::Usage(why.into()));
    }
    note("Enter takes what stands in brackets. Nothing is written before the end; Ctrl-C breaks off.");
    // Standard output is for what comes of it.
    Ok(Box::new(Terminal { input: std::io::stdin().lock(), out: std::io::stderr() }))
}

fn carry_out(plan: &Plan, text: Option<&str>, globals: Globals) -> Result<Verdict, Failure> {
    let path = globals.config.clone().unwrap_or_else(|| DEFAULT_PATH.into());
    let out = Output { json: globals.json };
    let ctx = Context { globals: globals.clone(), config: plan.config.clone(), config_path: Some(path.clone()), out };
    let (copy, key) = undisturbed(|| {
        write::made_directory(&path)?;
        ctx.made_state_dir()?;
        // Before the configuration: what can't have its key is left as it is.
        let key = ctx.found_key()?;
        Ok((text.map(|text| write::put(&path, text)).transpose()?.flatten(), key))
    })?;
    out.json(&Answer { configuration: &path, text: None, copy: copy.as_deref(), key: Some(&key.from) })?;
    if text.is_some() {
        out.line(format_args!("Wrote {}.", path.display()))?;
    }
    if let Some(copy) = &copy {
        out.line(format_args!("What was there before is {}.", copy.display()))?;
    }
    match &key.notice {
        Some(notice) => note(format_args!("facelatch: {notice}")),
        None => out.line(format_args!("The key is {}, as before.", key.from.display()))?,
    }
    let enrolled = plan.person.as_ref().is_none_or(|person| enrol(person, &ctx));
    out.line("")?;
    let well = doctor::run(&doctor::Args { layers: false }, globals)? == Verdict::Yes;
    for line in last::words(&ctx, well, enrolled, last::is_narrowed()) {
        out.line(line)?;
    }
    Ok((well && enrolled).into())
}

/// Whether the first person is enrolled. What went wrong is told, and is no reason not to look at the rest.
fn enrol(person: &Newcomer, ctx: &Context) -> bool {
    let by_camera = person.photos.is_empty();
    if by_camera {
        note(format_args!("{}: stand before the camera, alone, at arm's length, and look at it.", person.name));
    }
    let args = enroll::Args {
        name: person.name.to_string(),
        photos: person.photos.clone(),
        camera: by_camera,
        shots: enroll::DEFAULT_SHOTS,
        expires: None,
        schedule: None,
        consent: Some(person.consent.clone()),
    };
    match enroll::run(&args, ctx) {
        Ok(verdict) => verdict == Verdict::Yes,
        Err(failure) => {
            note(format_args!("facelatch: {failure}"));
            false
        }
    }
}

/// Does it to its end, though somebody presses Ctrl-C meanwhile; that takes effect afterwards.
fn undisturbed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let (idle, came) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let registered = signal_hook::flag::register_conditional_default(signal, Arc::clone(&idle))
            .and_then(|_| signal_hook::flag::register_usize(signal, Arc::clone(&came), signal as usize));
        registered.map_err(|error| Failure::said(Code::Os, format!("signals can't be held up: {error}")))?;
    }
    let done = work();
    idle.store(true, Ordering::SeqCst);
    match came.load(Ordering::SeqCst) {
        0 => done,
        signal => {
            let _ends_here = signal_hook::low_level::emulate_default_handler(signal as i32);
            Err(Failure::said(Code::Os, "broken off"))
        }
    }
}
