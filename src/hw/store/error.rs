//! What can go wrong with the store, each in a sentence that says what to do.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::BUSY_SECONDS;
use crate::gallery::seal::SealError;
use crate::gallery::template::TemplateId;
use crate::person::{Name, PersonId};

/// A failure of the store, with the database's path.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct StoreError {
    pub path: PathBuf,
    pub what: Trouble,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("there is no gallery yet: enrol somebody, or start the daemon, to make one")]
    Missing,
    #[error("is a link to {}, where nothing is: mount its file system, or remove the link", .0.display())]
    Dangling(PathBuf),
    /// As told to a daemon that had it open.
    #[error("is not there any more: mount its file system, or put the file back")]
    Gone,
    #[error("its directory does not exist: create it, or name another in the configuration")]
    NoDirectory,
    #[error("is no file: name the database itself")]
    NotAFile,
    #[error(
        "can't be written: make its directory and file system writable for this user (`ls -ld`, `mount`), or run as \
             the user that owns it"
    )]
    ReadOnly,
    #[error(
        "this user may not open it: run as root (sudo), or as a user who may read and write it and its directory (`ls -ld`)"
    )]
    NoAccess,
    #[error("no space is left on its file system: free some and try again; nothing was changed")]
    Full,
    #[error(
        "is damaged ({0}): stop the daemon (`systemctl stop facelatch`), and restore it from a copy, or move it away and enrol \
             anew; it was left as it is"
    )]
    Damaged(String),
    #[error("is another program's database: name facelatch's own")]
    Foreign,
    #[error(
        "was written by a newer facelatch (schema {found}, and this one knows {known}): install that one; it was \
             left as it is"
    )]
    Newer { found: i64, known: i64 },
    #[error(
        "was written by an older facelatch (schema {found}): start the daemon, or any command that writes, to bring it \
             up to date"
    )]
    Older { found: i64 },
    #[error("was made with another master key: give the key file that it was made with; it was left as it is")]
    WrongKey,
    #[error("templates can't be read without the master key: open it with the key")]
    NoKey,
    #[error("another process has kept it locked for {BUSY_SECONDS} seconds: find it with `fuser`, and try again")]
    Busy,
    #[error("the device gives read or write errors ({0}): check it with `dmesg`, and replace a failing card")]
    Device(String),
    #[error("somebody was enrolled or changed meanwhile, and nothing was written: enrol again")]
    ChangedMeanwhile,
    #[error("'{name}' is enrolled already, as {id}: choose another name, or add photos to that person")]
    NameTaken { name: Name, id: PersonId },
    #[error("nobody here has the number {0}: `facelatch people list` names everybody")]
    NoPerson(PersonId),
    #[error("{what} of {bytes} bytes is longer than {max}: shorten it")]
    Long { what: &'static str, bytes: usize, max: usize },
    #[error("no template is left to keep: give at least one photo")]
    NoTemplate,
    #[error("the new templates come from several models: encode all photos with one")]
    SeveralModels,
    #[error("{got} templates at once are more than {max}: enrol fewer photos at a time")]
    ManyTemplates { got: usize, max: usize },
    #[error("it holds {0} templates and no more fit: keep fewer a person, or erase somebody")]
    GalleryFull(usize),
    #[error("{person}'s {template} can't be opened ({source}): erase and enrol {person} again")]
    Template { person: PersonId, template: TemplateId, source: SealError },
    #[error("the key of {person}'s templates can't be opened ({source}): erase and enrol {person} again")]
    DataKey { person: PersonId, source: SealError },
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(
        "event {0} can't be read: it was changed from outside; `facelatch events --verify` tells where the chain breaks"
    )]
    Event(i64),
    #[error(
        "the chain of events breaks at event {0}, so none was removed: stop the daemon (`systemctl stop facelatch`), keep a copy of \
             the database as evidence of what was changed, then start a new one"
    )]
    BrokenChain(u64),
    #[error("the clock was never set, so the age of events is unknown: set it, and try again")]
    ClockNotSet,
    #[error("{0}")]
    Io(io::Error),
    #[error("{0}")]
    Sqlite(rusqlite::Error),
}

impl Trouble {
    /// What keeps a file from being seen that is to be read.
    pub(super) fn unseen(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::NoAccess,
            _ => Self::Io(error),
        }
    }

    pub(super) fn at(self, path: &Path) -> StoreError {
        StoreError { path: path.to_owned(), what: self }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::NoAccess,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::SystemIoFailure) => Self::Device(error.to_string()),
            _ => match error {
                // A column of another type than the schema says.
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..)
                | rusqlite::Error::QueryReturnedNoRows => Self::Damaged(error.to_string()),
                error => Self::Sqlite(error),
            },
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoDirectory,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}
