//! `release`: packages for others, so that whoever installs them knows from whom they are.
//!
//! `make` builds them from a checkout, `sign` signs the list of their digests, `check` is for the installer. The
//! signature is minisign's. Signing is left to the program of that name: the secret key and its password never enter
//! this process, and may lie on a machine of their own. Checking needs no secret and no program.

mod check;
mod list;
mod make;

use std::path::{Path, PathBuf};
use std::process::Command;

use minisign_verify::PublicKey;

use super::context::Context;
use super::exit::{Code, Failure, Verdict};

pub(super) use list::{List, digest_of};

/// What minisign makes of [`list::LIST`].
const SIGNATURE: &str = "SHA256SUMS.minisig";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, clap::Subcommand)]
enum Sub {
    /// Build binaries and packages from a checkout into a new directory, with a list of their digests
    Make(make::Args),
    /// Sign that list, with the program minisign
    Sign(SignArgs),
    /// Check packages before they are installed: from whom, and whole
    Check(check::Args),
}

#[derive(Debug, clap::Args)]
struct SignArgs {
    /// What `release make` made
    dir: PathBuf,
    /// Made by `minisign -G`
    #[arg(long, value_name = "FILE")]
    secret_key: PathBuf,
    /// The one that people have: what is signed is checked by it
    #[arg(long, value_name = "FILE|KEY")]
    public_key: String,
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    match &args.command {
        Sub::Make(args) => make::run(args, ctx),
        Sub::Sign(args) => sign(args, ctx),
        Sub::Check(args) => check::run(args, ctx),
    }
}

/// Signs nothing that isn't as its list says, and shows what came of it as whoever installs it will see it.
fn sign(args: &SignArgs, ctx: &Context) -> Result<Verdict, Failure> {
    let key = public_key(&args.public_key)?;
    let list = args.dir.join(list::LIST);
    let (_, content) = List::read(&list)?;
    if let Some((name, found)) =
        check::compare(&args.dir, &content)?.into_iter().find(|(_, found)| *found != check::Found::Same)
    {
        let sentence = format!("{name} {found}: make the release again; nothing was signed");
        return Err(Failure::said(Code::Data, sentence));
    }
    let mut minisign = Command::new("minisign");
    minisign.arg("-S").arg("-s").arg(&args.secret_key).arg("-m").arg(&list);
    complete(minisign, "minisign", "apt-get install minisign")?;
    check::show(&args.dir, &key, ctx)
}

/// The key itself, or a file that holds it.
fn public_key(said: &str) -> Result<PublicKey, Failure> {
    if let Ok(key) = PublicKey::from_base64(said) {
        return Ok(key);
    }
    let text = list::read_text(Path::new(said))?;
    let none = |_| Failure::said(Code::Data, format!("{said}: no public key of minisign's"));
    PublicKey::decode(&text).map_err(none)
}

/// Waits for a program that does it all by itself, and says what to do if it isn't here. Its standard output is not our
/// answer.
fn complete(mut command: Command, name: &str, remedy: &str) -> Result<(), Failure> {
    command.stdout(std::io::stderr());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::said(Code::Unavailable, format!("{name} failed ({status})"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::said(Code::NoInput, format!("{name} isn't here: {remedy}")))
        }
        Err(error) => Err(Failure::said(Code::Os, format!("{name}: {error}"))),
    }
}
