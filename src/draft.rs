//! Files put in their place whole or not at all: written beside it, on the disk, and then renamed.
//!
//! A power cut leaves the old file or the new one. What lies there is replaced and never written through, so a link
//! that somebody else planted in a directory of theirs leads nowhere.

#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// For all to read: what is written so holds no secret, and the daemon's own user reads it.
const MODE: u32 = 0o644;

/// A file that is written and not in its place yet. One that never gets there is removed.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    target: PathBuf,
    file: File,
}

impl Draft {
    /// # Errors
    /// It can't be written beside `target`.
    pub fn new(target: &Path, bytes: &[u8]) -> io::Result<Self> {
        Self::of_mode(target, bytes, MODE)
    }

    /// For those to read who may read what lies there.
    ///
    /// # Errors
    /// There is nothing, or it can't be written beside `target`.
    pub fn in_place_of(target: &Path, bytes: &[u8]) -> io::Result<Self> {
        Self::of_mode(target, bytes, fs::metadata(target)?.permissions().mode() & 0o7777)
    }

    fn of_mode(target: &Path, bytes: &[u8], mode: u32) -> io::Result<Self> {
        let path = target.with_added_extension(format!("draft.{}", std::process::id()));
        // What a power cut left of a process that had our number.
        let _absent_as_a_rule = fs::remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        let mut draft = Self { path, target: target.to_owned(), file };
        // Whatever the umask is.
        draft.file.set_permissions(Permissions::from_mode(mode))?;
        draft.file.write_all(bytes)?;
        draft.file.sync_all()?;
        Ok(draft)
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// # Errors
    /// What was at the target is there still, unless the directory alone couldn't be brought to the disk.
    pub fn place(self) -> io::Result<()> {
        fs::rename(&self.path, &self.target)?;
        File::open(parent(&self.target))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _absent_once_it_is_in_place = fs::remove_file(&self.path);
    }
}

/// The directory that a file lies in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(target: &Path, bytes: &[u8]) -> io::Result<()> {
        Draft::new(target, bytes)?.place()
    }

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_takes_the_place_of_the_old_one_and_leaves_no_draft() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("table.toml");
        for text in ["one", "two"] {
            put(&target, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
        }
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(names(dir.path()), ["table.toml"]);
    }

    #[test]
    fn what_is_for_some_to_read_stays_so_in_the_place_of_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("session.csv");
        assert_eq!(Draft::in_place_of(&target, b"new").unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o600)).unwrap();
        Draft::in_place_of(&target, b"new").unwrap().place().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(names(dir.path()), ["session.csv"]);
    }

    #[test]
    fn a_draft_that_is_not_placed_leaves_the_old_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("table.toml");
        put(&target, b"old").unwrap();
        drop(Draft::new(&target, b"new").unwrap());
        assert_eq!((fs::read(&target).unwrap().as_slice(), names(dir.path()).len()), (&b"old"[..], 1));
    }

    #[test]
    fn a_link_at_the_target_or_at_the_drafts_name_is_replaced_and_neither_is_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let [victim, target] = ["victim", "table.toml"].map(|name| dir.path().join(name));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &target).unwrap();
        put(&target, b"new").unwrap();
        assert!(fs::symlink_metadata(&target).unwrap().is_file());
        symlink(&victim, dir.path().join(format!("table.toml.draft.{}", std::process::id()))).unwrap();
        put(&target, b"newer").unwrap();
        assert_eq!([&victim, &target].map(|path| fs::read_to_string(path).unwrap()), ["precious", "newer"]);
    }
}
