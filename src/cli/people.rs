//! `people`: who is enrolled, and changing it.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::context::Context;
use super::counted;
use super::exit::{Code, Failure, Verdict};
use super::when::parse_expiry;
use crate::control::rfc3339;
use crate::draft::parent;
use crate::gallery::Person;
use crate::gate::Schedule;
use crate::hw::journal::one_line;
use crate::hw::store::{Store, StoreError, Trouble};
use crate::person::{Name, PersonId};
use crate::time::Wall;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Everybody
    List,
    /// What is kept about one person
    Show { name: String },
    /// Give somebody another name
    Rename { name: String, to: String },
    /// Until when somebody is admitted: a last day (whole, local time), an instant, or `never`
    Expire { name: String, when: String },
    /// When somebody may come in: "always", or for example "Mon-Fri 07:00-19:00; Sat 08:00-12:00 Europe/Madrid"
    Schedule { name: String, schedule: String },
    /// How and when somebody agreed to be recognised, in place of the note that is kept
    Consent { name: String, note: String },
    /// What is kept about one person, encodings too, as JSON; their events:
    /// `facelatch events --person NAME --limit 1000000`
    Export {
        name: String,
        /// A file in place of standard output, readable by its owner alone
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Forget somebody: their templates and the key that opens any copy of them
    Erase {
        name: String,
        /// Don't ask; without a terminal to ask at nobody is erased unless this is said
        #[arg(long)]
        yes: bool,
    },
}

/// One person, as `--json` prints them.
#[derive(Debug, Serialize)]
struct Row<'a> {
    person: &'a str,
    id: u32,
    templates: u32,
    expires: Option<String>,
    schedule: &'a str,
    consent: &'a str,
    created: String,
}

impl<'a> Row<'a> {
    fn new(person: &'a Person) -> Self {
        Self {
            person: person.name.as_str(),
            id: person.id.get(),
            templates: person.templates,
            expires: person.expires.map(rfc3339),
            schedule: &person.schedule,
            consent: &person.consent,
            created: rfc3339(person.created),
        }
    }
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    match &args.command {
        Command::List => list(ctx)?,
        Command::Show { name } => show(&find(&ctx.store_for_reading()?, name)?, ctx)?,
        Command::Rename { name, to } => {
            let to = Name::new(to).map_err(|error| Failure::Usage(error.to_string()))?;
            change(ctx, name, |store, person| Ok(store.rename(person.id, &to, ctx.act())?))?;
        }
        Command::Expire { name, when } => {
            let expires = parse_expiry(when)?;
            change(ctx, name, |store, person| Ok(store.set_expiry(person.id, expires, ctx.act())?))?;
        }
        Command::Schedule { name, schedule } => {
            let schedule = Schedule::parse(schedule).map_err(|error| Failure::Usage(error.to_string()))?.to_string();
            change(ctx, name, |store, person| Ok(store.set_schedule(person.id, &schedule, ctx.act())?))?;
        }
        Command::Consent { name, note } => {
            change(ctx, name, |store, person| Ok(store.set_consent(person.id, note, ctx.act())?))?;
        }
        Command::Export { name, out } => export(ctx, name, out.as_deref())?,
        Command::Erase { name, yes } => return erase(ctx, name, *yes),
    }
    Ok(Verdict::Yes)
}

/// The person of this name, or of this number written `#3`.
pub fn find(store: &Store, name: &str) -> Result<Person, Failure> {
    let nobody = || {
        Failure::said(Code::NoInput, format!("nobody here is called '{name}'; `facelatch people list` names everybody"))
    };
    let found = match PersonId::parse(name) {
        Some(id) => store.person(id)?,
        None => store.person_named(&Name::new(name).map_err(|error| Failure::Usage(error.to_string()))?)?,
    };
    found.ok_or_else(nobody)
}

fn list(ctx: &Context) -> Result<(), Failure> {
    let people = ctx.store_for_reading()?.people()?;
    for person in &people {
        ctx.out.json(&Row::new(person))?;
        ctx.out.line(line(person))?;
    }
    if people.is_empty() {
        ctx.out.line("Nobody is enrolled.")?;
    }
    Ok(())
}

fn line(person: &Person) -> String {
    let expires = person.expires.map_or_else(|| "never expires".into(), |at| format!("until {} UTC", day(at)));
    let templates = counted(person.templates as usize, "template", "templates");
    format!(
        "{:>5}  {:<24} {templates:<13} {expires:<26} {}",
        person.id.to_string(),
        person.name.as_str(),
        one_line(&person.schedule)
    )
}

fn day(at: Wall) -> String {
    rfc3339(at).chars().take("2026-12-31T18:00".len()).collect::<String>().replace('T', " ")
}

fn show(person: &Person, ctx: &Context) -> Result<(), Failure> {
    ctx.out.json(&Row::new(person))?;
    ctx.out.line(line(person))?;
    ctx.out.line(format_args!("       enrolled {}", day(person.created)))?;
    if !person.consent.is_empty() {
        ctx.out.line(format_args!("       consent: {}", one_line(&person.consent)))?;
    }
    Ok(())
}

/// Changes one person and shows what they are then.
fn change(
    ctx: &Context,
    name: &str,
    change: impl FnOnce(&mut Store, &Person) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut store = ctx.store()?;
    let person = find(&store, name)?;
    change(&mut store, &person)?;
    show(&find(&store, &format!("#{}", person.id.get()))?, ctx)
}

fn export(ctx: &Context, name: &str, out: Option<&Path>) -> Result<(), Failure> {
    let store = ctx.store_for_reading_templates()?;
    let export = store.export(find(&store, name)?.id)?;
    if out.is_none() && ctx.out.json {
        return ctx.out.json(&export);
    }
    let mut text = serde_json::to_string_pretty(&export).map_err(|error| Failure::Output(error.into()))?;
    text.push('\n');
    let Some(path) = out else { return io::stdout().write_all(text.as_bytes()).map_err(Failure::output) };
    make(path, |file| file.write_all(text.as_bytes())).map_err(Failure::io(path))?;
    ctx.out.json(&Exported { file: path })
}

#[derive(Serialize)]
struct Exported<'a> {
    #[serde(serialize_with = "crate::eval::spelt")]
    file: &'a Path,
}

/// A new file for its owner alone, whole and on the disk or not there at all: whoever exports somebody may erase them
/// next.
fn make(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    let made = write(&mut file)
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(parent(path)))
        .and_then(|dir| dir.sync_all());
    if made.is_err() {
        let _as_it_was_before = std::fs::remove_file(path);
    }
    made
}

#[derive(Serialize)]
struct ErasedRow<'a> {
    person: &'a str,
    id: u32,
    templates: usize,
    scrubbed: bool,
}

fn erase(ctx: &Context, name: &str, yes: bool) -> Result<Verdict, Failure> {
    // What comes through a pipe may be meant for something else; nothing brings back who was erased.
    if !yes && !std::io::stdin().is_terminal() {
        let sentence = format!("no terminal to ask at whether {name} is to be erased for good: say so with --yes");
        return Err(Failure::Usage(sentence));
    }
    let mut store = ctx.store()?;
    let person = find(&store, name)?;
    if !yes && !confirmed(&person) {
        ctx.out.json(&serde_json::json!({ "person": person.name.as_str(), "erased": false }))?;
        ctx.out.line("Nobody was erased.")?;
        return Ok(Verdict::No);
    }
    let erased = store.erase(person.id, ctx.act())?;
    let what = format!("{} and {}", person.name, counted(erased.templates, "template", "templates"));
    ctx.out.json(&ErasedRow {
        person: person.name.as_str(),
        id: person.id.get(),
        templates: erased.templates,
        scrubbed: erased.remains.is_none(),
    })?;
    if let Some(error) = erased.remains {
        return Err(still_there(&what, error));
    }
    ctx.out.line(format_args!("{what} are erased, and the key that opened them is destroyed."))?;
    Ok(Verdict::Yes)
}

/// They are out of the gallery, and the promise that nothing of them is left isn't kept yet.
fn still_there(what: &str, error: StoreError) -> Failure {
    let why = match &error.what {
        Trouble::Full => "no space is left for it: free some".to_owned(),
        Trouble::Busy => "another process was reading it".to_owned(),
        other => other.to_string(),
    };
    let sentence = format!(
        "{what} are erased, but bytes of them may still be on the disk until {} is rewritten ({why}). The daemon tries again \
         every ten minutes and when it starts; `facelatch doctor` complains until they are gone",
        error.path.display()
    );
    Failure::said(Failure::Store(error).code(), sentence)
}

fn confirmed(person: &Person) -> bool {
    let _unread = write!(std::io::stderr(), "Erase {} for good? [y/N] ", person.name);
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_export_on_a_full_disk_is_removed_and_a_file_that_was_there_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ana.json");
        let fills_the_disk = |file: &mut File| -> io::Result<()> {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        assert_eq!(make(&path, fills_the_disk).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(!path.exists());
        make(&path, |file| file.write_all(b"all of it")).unwrap();
        assert_eq!(make(&path, fills_the_disk).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"all of it");
    }
}
