//! What the exit code says: one table, and one function from error to code.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::control::client::ClientError;
use crate::daemon::{DaemonError, KeeperError};
use crate::eval::EvalError;
use crate::face::photo::PhotoError;
use crate::gallery::KeyError;
use crate::gallery::search::IndexError;
use crate::hw::store::{StoreError, Trouble};
use crate::hw::strike::OpenError;
use crate::infer::{InferError, ManifestError};
use crate::liveness::session::SessionError;
use crate::ports::CameraError;
use crate::sim::replay::ReplayError;

/// How a command that worked has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Done, or yes.
    Yes,
    /// No: not this person, not recognised, not well. Nothing went wrong.
    No,
}

impl From<bool> for Verdict {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// The exit codes; from 65 on they are those of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    Yes = 0,
    No = 1,
    Usage = 2,
    Data = 65,
    NoInput = 66,
    Unavailable = 69,
    Software = 70,
    Os = 71,
    CantCreate = 73,
    Io = 74,
    NoPermission = 77,
    Config = 78,
}

impl Code {
    /// Every code with its meaning, as `--help` and the man page show it.
    pub const TABLE: [(Self, &str); 12] = [
        (Self::Yes, "yes, or done"),
        (Self::No, "no: not this person, not recognised, not well"),
        (Self::Usage, "the command line is wrong"),
        (Self::Data, "what was given can't be used: a photograph, a network, a list, an answer"),
        (Self::NoInput, "a file, a person, a network or the strike's line isn't there"),
        (Self::Unavailable, "the daemon, the camera, the strike's line or the store doesn't answer, or is busy"),
        (Self::Software, "a fault of facelatch itself, or a network that computes nonsense"),
        (Self::Os, "the system refuses something it should give"),
        (Self::CantCreate, "a file or directory can't be made or changed"),
        (Self::Io, "reading or writing failed"),
        (Self::NoPermission, "not allowed"),
        (Self::Config, "the configuration is wrong"),
    ];

    /// The table as text.
    pub fn help() -> String {
        let lines = Self::TABLE.iter().map(|(code, meaning)| format!("  {:>2}  {meaning}\n", *code as u8));
        format!("Exit codes:\n{}", lines.collect::<String>())
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command could not answer. Each message says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Model(#[from] ManifestError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Control(#[from] ClientError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Photo(#[from] PhotoError),
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("camera: {0}")]
    Camera(#[from] CameraError),
    #[error(transparent)]
    Strike(#[from] OpenError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// Whoever read standard output has gone; there is nobody to tell.
    #[error("standard output was closed")]
    ClosedPipe,
    #[error("standard output: {0}")]
    Output(std::io::Error),
    /// A sentence that stands for itself, with its code.
    #[error("{1}")]
    Said(Code, String),
}

impl Failure {
    pub fn said(code: Code, sentence: impl Into<String>) -> Self {
        Self::Said(code, sentence.into())
    }

    /// For `map_err` on what touches the file at `path`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }

    /// For what can go wrong with standard output.
    pub fn output(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Output(error),
        }
    }

    /// The one function from error to exit code.
    pub fn code(&self) -> Code {
        match self {
            Self::Usage(_) => Code::Usage,
            Self::Config(_) => Code::Config,
            Self::Io { source, .. } => of_io(source),
            Self::Model(error) => of_model(error),
            Self::Key(error) => of_key(error),
            Self::Control(error) => of_control(error),
            Self::Store(error) => of_store(&error.what),
            Self::Index(_) => Code::Data,
            Self::Photo(error) => of_photo(error),
            Self::Infer(error) => of_infer(error),
            Self::Eval(EvalError::Read { source, .. }) => of_io(source),
            Self::Eval(EvalError::Photo(error)) => of_photo(error),
            Self::Eval(EvalError::Infer(error)) => of_infer(error),
            Self::Eval(_) => Code::Data,
            Self::Session(SessionError::Read { source, .. }) => of_io(source),
            Self::Session(SessionError::Line { .. }) => Code::Data,
            Self::Replay(ReplayError::Unreadable { source, .. }) => of_io(source),
            Self::Replay(_) => Code::Data,
            Self::Camera(_) => Code::Unavailable,
            Self::Strike(error) if error.kind == ErrorKind::InvalidInput => Code::Config,
            Self::Strike(error) => of_io(&error.kind.into()),
            Self::Daemon(error) => of_daemon(error),
            Self::ClosedPipe | Self::Output(_) => Code::Io,
            Self::Said(code, _) => *code,
        }
    }
}

fn of_model(error: &ManifestError) -> Code {
    match error {
        ManifestError::Read { source, .. } | ManifestError::Write { source, .. } => of_io(source),
        ManifestError::NoSuch { .. } => Code::NoInput,
        ManifestError::Taken { .. } => Code::CantCreate,
        _ => Code::Data,
    }
}

fn of_key(error: &KeyError) -> Code {
    match error {
        KeyError::Missing { .. } | KeyError::Dangling { .. } | KeyError::NotHanded { .. } | KeyError::Sealed { .. } => {
            Code::NoInput
        }
        KeyError::Mode { .. } => Code::NoPermission,
        KeyError::Content { .. } | KeyError::NotAFile { .. } => Code::Data,
        KeyError::Read { source, .. } => of_io(source),
        KeyError::Make { .. } => Code::CantCreate,
        KeyError::Random(_) => Code::Os,
    }
}

fn of_control(error: &ClientError) -> Code {
    match error {
        ClientError::Denied { .. } => Code::NoPermission,
        ClientError::Connect { .. }
        | ClientError::Lost { .. }
        | ClientError::Silent { .. }
        | ClientError::Foreign { .. } => Code::Unavailable,
    }
}

fn of_store(trouble: &Trouble) -> Code {
    match trouble {
        Trouble::Missing | Trouble::Dangling(_) | Trouble::Gone | Trouble::NoPerson(_) => Code::NoInput,
        Trouble::NoDirectory | Trouble::NotAFile | Trouble::ReadOnly | Trouble::Full => Code::CantCreate,
        Trouble::NoAccess | Trouble::WrongKey | Trouble::NoKey => Code::NoPermission,
        Trouble::Busy | Trouble::ChangedMeanwhile => Code::Unavailable,
        Trouble::Device(_) => Code::Io,
        Trouble::Io(error) => of_io(error),
        Trouble::ClockNotSet | Trouble::Seal(_) => Code::Os,
        Trouble::Sqlite(_) => Code::Software,
        _ => Code::Data,
    }
}

fn of_photo(error: &PhotoError) -> Code {
    match error {
        PhotoError::Read { source, .. } => of_io(source),
        _ => Code::Data,
    }
}

/// A network that isn't what it should be is the fault of who gave it; one that computes nonsense is ours to look into.
fn of_infer(error: &InferError) -> Code {
    match error {
        InferError::Malformed { .. }
        | InferError::OutputCount { .. }
        | InferError::Shape { .. }
        | InferError::Apart { .. } => Code::Data,
        InferError::NotFinite { .. } | InferError::Failed { .. } => Code::Software,
    }
}

fn of_daemon(error: &DaemonError) -> Code {
    match error {
        DaemonError::Gallery(KeeperError::Store(error)) => of_store(&error.what),
        DaemonError::Gallery(KeeperError::Index(_)) => Code::Data,
        DaemonError::Spawn { .. } => Code::Os,
        DaemonError::Died(_) => Code::Software,
    }
}

fn of_io(error: &std::io::Error) -> Code {
    use ErrorKind as K;
    match error.kind() {
        K::NotFound | K::NotADirectory => Code::NoInput,
        K::PermissionDenied => Code::NoPermission,
        K::AlreadyExists | K::ReadOnlyFilesystem | K::StorageFull => Code::CantCreate,
        K::InvalidData | K::IsADirectory => Code::Data,
        K::ConnectionRefused | K::TimedOut | K::ResourceBusy => Code::Unavailable,
        _ => Code::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_code_once_and_in_order() {
        let codes: Vec<u8> = Code::TABLE.iter().map(|(code, _)| *code as u8).collect();
        assert!(codes.is_sorted_by(|a, b| a < b));
        assert!(!codes.contains(&64));
        assert!(Code::help().contains("  77  not allowed"));
    }

    #[test]
    fn the_page_on_exit_codes_has_the_same_table() {
        let page = include_str!("../../docs/control.md");
        let rows = page.lines().filter_map(|line| {
            let (code, meaning) = line.strip_prefix('|')?.strip_suffix('|')?.split_once('|')?;
            Some((code.trim().parse().ok()?, meaning.trim()))
        });
        let rows: Vec<(u8, &str)> = rows.collect();
        assert_eq!(rows, Code::TABLE.map(|(code, meaning)| (code as u8, meaning)));
    }
}
