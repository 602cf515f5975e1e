//! Builds a release: what cross/ makes for each architecture, in one directory, with the list that is signed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::list::{LIST, List, digest_of};
use super::{Context, Failure, Verdict, complete};
use crate::cli::exit::Code;
use crate::draft::parent;

/// Who wants to see whether a release comes of its sources builds it again, and compares SHA256SUMS.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A directory that isn't there yet, outside the checkout
    dir: PathBuf,
    /// A checkout of facelatch's sources, without changes that aren't committed
    #[arg(long, value_name = "DIR", default_value = ".")]
    source: PathBuf,
    /// For which machines
    #[arg(long, value_enum, default_values = ["arm64", "amd64"])]
    arch: Vec<Arch>,
}

/// By these a hook's environment names the repository that is being committed to, and git heeds them more than a
/// directory.
const OF_A_HOOK: [&str; 3] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Arch {
    Arm64,
    Amd64,
}

impl Arch {
    const fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Amd64 => "amd64",
        }
    }
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let source = &args.source;
    let version = version(source)?;
    must_lie_outside(&args.dir, source)?;
    let commit = commit(source)?;
    std::fs::create_dir(&args.dir).map_err(Failure::io(&args.dir))?;
    let mut list = List { about: format!("facelatch {version}, commit {commit}"), files: Default::default() };
    for arch in args.arch.iter().map(|arch| arch.name()) {
        for script in ["cross/build.sh", "cross/packaging/deb.sh"] {
            let mut command = at_source(source.join(script));
            command.arg(arch).stdin(Stdio::null());
            complete(command, script, "name a checkout of facelatch with --source")?;
        }
        let built = source.join("target/board");
        let name = format!("facelatch_{version}_{arch}");
        let parts = [
            (built.join(arch).join("facelatch"), name.clone()),
            (built.join(format!("{name}.deb")), format!("{name}.deb")),
            (built.join(format!("{name}.cdx.json")), format!("{name}.cdx.json")),
        ];
        for (from, name) in parts {
            let to = args.dir.join(&name);
            std::fs::copy(&from, &to).map_err(Failure::io(&from))?;
            list.files.insert(name, digest_of(&to).map_err(Failure::io(&to))?);
        }
    }
    let path = args.dir.join(LIST);
    std::fs::write(&path, list.to_string()).map_err(Failure::io(&path))?;
    ctx.out.line(list.to_string().trim_end())?;
    ctx.out
        .line(format_args!("Next: facelatch release sign {} --secret-key FILE --public-key KEY", args.dir.display()))?;
    ctx.out.json(&serde_json::json!({ "release": list.about, "files": list.files.keys().collect::<Vec<_>>() }))?;
    Ok(Verdict::Yes)
}

/// The package's, as its changelog's first line has it.
fn version(source: &Path) -> Result<String, Failure> {
    let path = source.join("cross/packaging/debian/changelog");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let sentence = format!("{}: {error}; name a checkout of facelatch with --source", path.display());
        Failure::said(Code::NoInput, sentence)
    })?;
    let version = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(version, _)| version);
    let is_plain = |version: &&str| version.chars().all(|c| c.is_ascii_alphanumeric() || ".+-~".contains(c));
    let none = || Failure::said(Code::Data, format!("{}: its first line has no version", path.display()));
    version.filter(is_plain).map(str::to_owned).ok_or_else(none)
}

/// Of a release in its own checkout git says that it has changed, and the next one is refused.
fn must_lie_outside(dir: &Path, source: &Path) -> Result<(), Failure> {
    let real = |path: &Path| path.canonicalize().map_err(Failure::io(path));
    if real(parent(dir))?.starts_with(real(source)?) {
        let sentence = format!("{} lies in the checkout: name a directory outside, such as ../out", dir.display());
        return Err(Failure::Usage(sentence));
    }
    Ok(())
}

/// What is built, so that anybody can build it again.
fn commit(source: &Path) -> Result<String, Failure> {
    let status = git(source, &["status", "--porcelain"])?;
    // Of files that git doesn't know one may be the secret key, which is not to be committed.
    let (unknown, changed): (Vec<_>, Vec<_>) = status.lines().partition(|line| line.starts_with("?? "));
    for (what, files) in [("move these away", unknown), ("commit or undo these", changed)] {
        if !files.is_empty() {
            let sentence = format!("{what}, else nobody can build the release again:\n{}", files.join("\n"));
            return Err(Failure::said(Code::Data, sentence));
        }
    }
    git(source, &["rev-parse", "HEAD"])
}

fn at_source(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in OF_A_HOOK {
        command.env_remove(name);
    }
    command
}

fn git(source: &Path, args: &[&str]) -> Result<String, Failure> {
    let said = at_source("git").arg("-C").arg(source).args(args).stderr(Stdio::inherit()).output();
    let said = said.map_err(|error| Failure::said(Code::NoInput, format!("git: {error}; apt-get install git")))?;
    if !said.status.success() {
        return Err(Failure::said(Code::NoInput, format!("{} is no checkout of git's", source.display())));
    }
    Ok(String::from_utf8_lossy(&said.stdout).trim_end().to_owned())
}
