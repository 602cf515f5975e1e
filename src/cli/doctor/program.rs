//! What is running: which program this is, whether it is what its package put there, and whether the daemon runs the
//! same.

use std::path::{Path, PathBuf};

use super::{Level, StatusLine};
use crate::cli::release::{List, digest_of};
use crate::digest::Digest;

/// Where a package puts its program, and in the next one's list by that name.
const PROGRAM: &str = "/usr/bin/facelatch";
/// What the package says of it, written by cross/packaging/deb.sh.
const PACKAGED: &str = "/usr/share/facelatch/SHA256SUMS";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A program that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    digest: Digest,
}

impl Program {
    /// That of a process, by its number or `self`. The file may have been replaced since it was started; this is what
    /// runs.
    fn of(process: &str) -> std::io::Result<Self> {
        let link = Path::new("/proc").join(process).join("exe");
        Ok(Self { path: std::fs::read_link(&link)?, digest: digest_of(&link)? })
    }
}

/// This one, and what its package says of it.
pub fn this() -> (Level, String) {
    let packaged = List::read(Path::new(PACKAGED)).ok().map(|(_, list)| list);
    match Program::of("self") {
        Ok(own) => against_package(&own, packaged.as_ref()),
        Err(error) => (Level::Complaint, format!("facelatch {VERSION}; it can't read itself: {error}")),
    }
}

fn against_package(Program { path, digest }: &Program, packaged: Option<&List>) -> (Level, String) {
    let kernels = crate::kernels::active().as_str();
    let own = format!("facelatch {VERSION} on {kernels}, {}, SHA-256 {digest}", path.display());
    let entry = packaged.and_then(|list| Some((list.about.as_str(), *list.files.get(PROGRAM)?)));
    match entry {
        None => (Level::Ok, format!("{own}; from no package")),
        Some((about, packaged)) if packaged == *digest => (Level::Ok, format!("{own}; as packaged: {about}")),
        Some((about, _)) if path == Path::new(PROGRAM) => {
            let remedy = "ask who changed it, and put it back: apt-get install --reinstall facelatch";
            (Level::Wrong, format!("{own}, is not what its package ({about}) put there: {remedy}"))
        }
        Some((about, _)) => (Level::Complaint, format!("{own}; another is installed as {PROGRAM} ({about})")),
    }
}

/// Whether the daemon runs what this is; its process's number is known where the kernel told it.
pub fn daemons(status: &StatusLine, process: Option<i32>) -> (Level, String) {
    let theirs = process.and_then(|process| Program::of(&process.to_string()).ok());
    let own = Program::of("self").ok();
    compare(status, own.as_ref(), theirs.as_ref())
}

fn compare(status: &StatusLine, own: Option<&Program>, theirs: Option<&Program>) -> (Level, String) {
    let remedy = "systemctl restart facelatch, if it should run this one";
    let (level, which) = match (own, theirs) {
        (Some(own), Some(theirs)) if own.digest == theirs.digest => (Level::Ok, "this very program".to_owned()),
        (_, Some(Program { path, digest })) => {
            (Level::Complaint, format!("another program, {}, SHA-256 {digest}: {remedy}", path.display()))
        }
        (_, None) if status.version == VERSION => {
            (Level::Ok, "and whether it is this very program is for root to see".to_owned())
        }
        (_, None) => (Level::Complaint, format!("and this is {VERSION}: {remedy}")),
    };
    let (state, version, faults) = (&status.state, &status.version, status.faults.join(", "));
    if faults.is_empty() {
        (level, format!("{state}, version {version}, {which}"))
    } else {
        (Level::Wrong, format!("{state}: {faults}; version {version}, {which}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &str, content: &[u8]) -> Program {
        Program { path: path.into(), digest: Digest::of(content) }
    }

    fn status(version: &str, faults: &[&str]) -> StatusLine {
        StatusLine {
            state: "idle".into(),
            since_s: 1.0,
            since: String::new(),
            camera: "ok".into(),
            camera_lost: None,
            sensors: vec![],
            door: "closed".into(),
            alarm: "silent".into(),
            faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
            people: 1,
            identify: None,
            verify: None,
            frames_seen: 1,
            version: version.into(),
        }
    }

    #[track_caller]
    fn says((level, says): &(Level, String), expected: Level, part: &str) {
        assert!(*level == expected && says.contains(part), "{level:?} {says}");
    }

    #[test]
    fn a_program_is_as_packaged_or_changed_or_another_or_from_no_package() {
        let digest = Digest::of(b"ours");
        let list = List::parse(&format!("# facelatch 0.1.0-1, commit 0f3a\n{digest}  {PROGRAM}\n")).unwrap();
        let of = |path: &str, content: &[u8]| against_package(&program(path, content), Some(&list));
        says(&of(PROGRAM, b"ours"), Level::Ok, "as packaged: facelatch 0.1.0-1, commit 0f3a");
        says(&of("/root/facelatch", b"ours"), Level::Ok, "as packaged");
        says(&of(PROGRAM, b"theirs"), Level::Wrong, "--reinstall");
        says(&of("/root/facelatch", b"theirs"), Level::Complaint, "another is installed as /usr/bin/facelatch");
        says(&against_package(&program(PROGRAM, b"ours"), None), Level::Ok, &format!("{digest}; from no package"));
    }

    #[test]
    fn a_daemon_runs_this_program_or_another_or_one_that_cannot_be_seen() {
        let own = program(PROGRAM, b"new");
        let of = |status: &StatusLine, theirs: Option<&Program>| compare(status, Some(&own), theirs);
        let well = status(VERSION, &[]);
        says(&of(&well, Some(&own)), Level::Ok, "this very program");
        let before = program("/usr/bin/facelatch (deleted)", b"old");
        says(&of(&well, Some(&before)), Level::Complaint, "(deleted), SHA-256");
        says(&of(&well, None), Level::Ok, "for root to see");
        says(&of(&status("0.0.1", &[]), None), Level::Complaint, "version 0.0.1, and this is");
        says(&of(&status(VERSION, &["camera_lost"]), Some(&own)), Level::Wrong, "idle: camera_lost; version");
    }

    #[test]
    fn what_runs_is_found_by_its_process() {
        let own = Program::of("self").unwrap();
        assert_eq!(own.path, std::env::current_exe().unwrap());
        assert!(Program::of("0").is_err());
    }
}
