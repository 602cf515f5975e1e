//! Whether what lies in a directory is a release, whole, and signed by whom the installer trusts.

use std::fmt;
use std::path::{Path, PathBuf};

use minisign_verify::{Error, PublicKey, Signature};
use serde::Serialize;

use super::list::{LIST, List, digest_of, read_text};
use super::{Context, Failure, SIGNATURE, Verdict};
use crate::cli::exit::Code;
use crate::digest::Digest;
use crate::hw::journal::one_line;

/// What `make`'s files are called by. The public key and a folder of whoever installs bear the program's name as well.
const OURS: &str = "facelatch_";
/// What whoever installs may take for a package of it, whatever else it is called.
const PACKAGE: &str = ".deb";
/// Files in a directory that are looked through for what the list doesn't name.
const MAX_ENTRIES: usize = 10_000;

/// Exits with 1 where something is not as it was signed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the packages lie with SHA256SUMS and SHA256SUMS.minisig; those for other machines may be missing
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Of whoever makes the packages, come to you by another way than they
    #[arg(long, value_name = "FILE|KEY")]
    public_key: String,
}

/// How a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    Same,
    Absent,
    Differs,
    /// It looks as if it belonged to the release, and the list doesn't name it.
    Unlisted,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Same => "is as it was signed",
            Self::Absent => "is not here",
            Self::Differs => "is not what was signed",
            Self::Unlisted => "is no part of the release",
        })
    }
}

#[derive(Serialize)]
struct File {
    name: String,
    is: Found,
}

#[derive(Serialize)]
struct Answer {
    release: String,
    /// minisign's trusted comment, with the time.
    signed: String,
    files: Vec<File>,
    /// Which of the files runs this command.
    running: Option<String>,
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    show(&args.dir, &super::public_key(&args.public_key)?, ctx)
}

/// Every file of the list, and every other that is called as a release's are, or is a package.
///
/// # Errors
/// The list names a file elsewhere; a file or the directory can't be read.
pub fn compare(dir: &Path, list: &List) -> Result<Vec<(String, Found)>, Failure> {
    let mut found = Vec::new();
    for (name, digest) in &list.files {
        if name.contains('/') {
            return Err(Failure::said(Code::Data, format!("{LIST} names a file elsewhere: {name}")));
        }
        let path = dir.join(name);
        let is = match digest_of(&path) {
            Ok(got) if got == *digest => Found::Same,
            Ok(_) => Found::Differs,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Found::Absent,
            Err(error) => return Err(Failure::io(&path)(error)),
        };
        found.push((name.clone(), is));
    }
    let entries = std::fs::read_dir(dir).map_err(Failure::io(dir))?;
    let names = entries.flatten().take(MAX_ENTRIES).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_called_so = |name: &str| name.starts_with(OURS) || name.to_ascii_lowercase().ends_with(PACKAGE);
    let foreign = names.filter(|name| is_called_so(name) && !list.files.contains_key(name));
    found.extend(foreign.map(|name| (name, Found::Unlisted)));
    Ok(found)
}

/// Checks and tells. Nothing is said of files whose list isn't signed by `key`.
///
/// # Errors
/// List or signature can't be read or are none.
pub fn show(dir: &Path, key: &PublicKey, ctx: &Context) -> Result<Verdict, Failure> {
    let (text, list) = List::read(&dir.join(LIST))?;
    let signature = read_signature(&dir.join(SIGNATURE))?;
    if let Err(error) = key.verify(text.as_bytes(), &signature, false) {
        let why = match error {
            Error::UnexpectedKeyId => "it was signed by another key",
            _ => "the signature doesn't fit",
        };
        ctx.out.json(&serde_json::json!({ "release": null, "why": why }))?;
        ctx.out.line(format_args!("NO  {LIST}: {why}. Install nothing of it, and ask whom you have it from."))?;
        return Ok(Verdict::No);
    }
    let files: Vec<_> = compare(dir, &list)?.into_iter().map(|(name, is)| File { name, is }).collect();
    ctx.out.line(format_args!("{}; {}", list.about, signature.trusted_comment()))?;
    for File { name, is } in &files {
        let sign = match is {
            Found::Same => "ok",
            Found::Absent => "--",
            Found::Differs | Found::Unlisted => "NO",
        };
        ctx.out.line(format_args!("{sign}  {} {is}", one_line(name)))?;
    }
    let has_any = files.iter().any(|file| file.is == Found::Same);
    let is_clean = files.iter().all(|file| matches!(file.is, Found::Same | Found::Absent));
    let running = running(&list);
    if let Some(name) = &running {
        ctx.out.line(format_args!("This command is run by {name}."))?;
    }
    let signed = signature.trusted_comment().to_owned();
    ctx.out.json(&Answer { release: list.about, signed, files, running })?;
    Ok((has_any && is_clean).into())
}

fn running(list: &List) -> Option<String> {
    let own: Digest = digest_of(Path::new("/proc/self/exe")).ok()?;
    list.files.iter().find(|(_, digest)| **digest == own).map(|(name, _)| name.clone())
}

fn read_signature(path: &Path) -> Result<Signature, Failure> {
    let text = read_text(path)?;
    let none = |_| Failure::said(Code::Data, format!("{}: no signature of minisign's", path.display()));
    Signature::decode(&text).map_err(none)
}
