//! Whose files are: what root makes in a directory of the daemon's user is that user's, or the daemon could never open
//! it.

#![forbid(unsafe_code)]

use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat};

use crate::draft::parent;

const ROOT: u32 = 0;
/// systemd's for the state directory, too.
const DIRECTORY_MODE: u32 = 0o700;

/// Gives an open file that was made just now in `dir` to the owner of `dir`, where root made it.
///
/// # Errors
/// The directory can't be looked at, or its file system gives nothing away.
pub fn hand_over(made: &File, dir: &Path) -> io::Result<()> {
    hand_over_as(made, &std::fs::metadata(dir)?)
}

fn hand_over_as(made: &File, owner: &Metadata) -> io::Result<()> {
    let meta = made.metadata()?;
    // A file with a second name may be one of root's own, which the directory's owner has put there to be given it.
    let is_roots_alone = meta.uid() == ROOT && (meta.is_dir() || meta.nlink() == 1);
    if !rustix::process::geteuid().is_root() || !is_roots_alone || owner.uid() == ROOT {
        return Ok(());
    }
    std::os::unix::fs::fchown(made, Some(owner.uid()), Some(owner.gid()))
}

/// The same by its path, for what is closed already. A link is not followed; the directory may be behind one, as a
/// state directory on another disk is.
///
/// # Errors
/// As [`hand_over`], or it can't be opened.
pub fn hand_over_at(path: &Path) -> io::Result<()> {
    // Opened once: what is given away lies in the very directory whose owner gets it, whatever takes its place
    // meanwhile.
    let dir = File::from(open(parent(path), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let made = File::from(openat(&dir, name, flags, Mode::empty())?);
    hand_over_as(&made, &dir.metadata()?)
}

/// A directory of its parent's owner, if there is none yet. A link in its place, which the parent's owner may have put
/// there, is none.
///
/// # Errors
/// It can't be made or given away, or something else is there.
pub fn made_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => hand_over_at(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match std::fs::symlink_metadata(path)?.is_dir() {
            true => Ok(()),
            false => {
                Err(io::Error::new(io::ErrorKind::NotADirectory, "a link or a file is in its place: move it away"))
            }
        },
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user who exists nowhere.
    const SOMEBODY: u32 = 54_321;

    fn owner(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().uid()
    }

    /// A directory of somebody else's; `None`, said aloud, where this may not give it away.
    fn somebodys_dir() -> Option<tempfile::TempDir> {
        let dir = tempfile::tempdir().unwrap();
        crate::testing::give_away(dir.path(), SOMEBODY).then_some(dir)
    }

    #[test]
    fn what_root_makes_in_somebodys_directory_is_theirs_and_what_lay_there_stays_whose_it_was() {
        let Some(dir) = somebodys_dir() else { return };
        let [models, file, old] = ["models", "models/a.onnx", "old"].map(|name| dir.path().join(name));
        made_dir(&models).unwrap();
        std::fs::write(&file, "a network").unwrap();
        hand_over_at(&file).unwrap();
        assert_eq!([&models, &file].map(|path| owner(path)), [SOMEBODY; 2]);
        std::fs::create_dir(&old).unwrap();
        made_dir(&old).unwrap();
        assert_eq!(owner(&old), ROOT);
    }

    #[test]
    fn a_file_of_roots_under_a_second_name_or_behind_a_link_is_not_given_away() {
        let Some(dir) = somebodys_dir() else { return };
        let roots = dir.path().join("roots");
        std::fs::write(&roots, "root's own").unwrap();
        let [hard, soft] = ["hard", "soft"].map(|name| dir.path().join(name));
        std::fs::hard_link(&roots, &hard).unwrap();
        std::os::unix::fs::symlink(&roots, &soft).unwrap();
        hand_over_at(&hard).unwrap();
        assert!(hand_over_at(&soft).is_err());
        assert_eq!(owner(&roots), ROOT);
    }

    #[test]
    fn a_link_in_the_place_of_a_directory_is_refused_and_a_state_directory_behind_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let [state, elsewhere] = ["state", "elsewhere"].map(|name| dir.path().join(name));
        std::fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &state).unwrap();
        let [models, planted] = ["models", "planted"].map(|name| state.join(name));
        made_dir(&models).unwrap();
        made_dir(&models).unwrap();
        std::fs::write(models.join("a.onnx"), "a network").unwrap();
        hand_over_at(&models.join("a.onnx")).unwrap();
        std::os::unix::fs::symlink(dir.path(), &planted).unwrap();
        let file = state.join("file");
        std::fs::write(&file, "").unwrap();
        for taken in [&planted, &file] {
            assert_eq!(made_dir(taken).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        }
    }

    #[test]
    fn what_root_makes_for_itself_stays_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let before = owner(dir.path());
        made_dir(&dir.path().join("models")).unwrap();
        assert_eq!(owner(&dir.path().join("models")), before);
    }
}
