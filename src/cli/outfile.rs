//! Files that commands write where they are told to, in place of whatever is there, but never of what they read.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access};

use super::exit::Failure;
use crate::draft::{Draft, parent};

/// Refuses a file to write that is one of those to be read, by whichever name or link, or that can't be written. A
/// command asks before it works, since it may work for hours.
///
/// # Errors
/// It is one of them, and the sentence names both; it can't be made, or not written.
pub fn spares(out: &Path, inputs: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<(), Failure> {
    can_be_written(out).map_err(Failure::io(out))?;
    // What isn't there yet is no input.
    let Some(place) = place(out) else { return Ok(()) };
    match inputs.into_iter().find(|input| self::place(input.as_ref()) == Some(place)) {
        None => Ok(()),
        Some(input) => Err(Failure::Usage(format!(
            "{} would be written over {}, which is read: name another file",
            out.display(),
            input.as_ref().display()
        ))),
    }
}

/// Writes what the daemon may be reading from there: whole or not at all, and with its owner and mode. What is no file,
/// such as /dev/null, is written to, and so is a file in a directory where no other can be made.
///
/// # Errors
/// It can't be written; what was there is there still, but for the last case.
pub fn put(out: &Path, text: &str) -> io::Result<()> {
    let meta = match std::fs::metadata(out) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Draft::new(out, text.as_bytes())?.place(),
        meta => meta?,
    };
    match meta.is_file().then(|| put_in_place_of(out, &meta, text)) {
        Some(Err(error)) if error.kind() == ErrorKind::PermissionDenied => std::fs::write(out, text),
        Some(done) => done,
        None => std::fs::write(out, text),
    }
}

fn put_in_place_of(file: &Path, meta: &Metadata, text: &str) -> io::Result<()> {
    // A link stays, and leads to the new one.
    let draft = Draft::in_place_of(&std::fs::canonicalize(file)?, text.as_bytes())?;
    std::os::unix::fs::fchown(draft.file(), Some(meta.uid()), Some(meta.gid()))?;
    draft.place()
}

/// As far as it can be known without writing: the file that is there, or the directory that it would be made in.
fn can_be_written(out: &Path) -> io::Result<()> {
    match std::fs::metadata(out) {
        Ok(meta) if meta.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(access(out, Access::WRITE_OK)?),
        // With the slash a file in the directory's place is none.
        Err(_) => Ok(access(parent(out).join(""), Access::WRITE_OK | Access::EXEC_OK)?),
    }
}

/// Device and inode: which file it is, whatever it is called.
fn place(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_input_is_spared_by_every_name_and_an_output_of_before_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let [input, before, new] = ["in.jpg", "out.png", "new.png"].map(|name| dir.path().join(name));
        fs::write(&input, "a face").unwrap();
        fs::write(&before, "a drawing").unwrap();
        let [hard, soft] = ["hard.png", "soft.png"].map(|name| dir.path().join(name));
        fs::hard_link(&input, &hard).unwrap();
        std::os::unix::fs::symlink(&input, &soft).unwrap();
        for out in [&input, &hard, &soft, &dir.path().join("./in.jpg")] {
            let refused = spares(out, [&before, &input]).unwrap_err().to_string();
            assert!(refused.contains(&input.display().to_string()), "{refused}");
        }
        for out in [&before, &new] {
            spares(out, [&input]).unwrap();
        }
    }

    #[test]
    fn what_is_put_in_a_files_place_leaves_its_other_names_alone_and_what_is_no_file_is_written_to() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let [head, other, link, new] = ["head", "other", "link", "new"].map(|name| dir.path().join(name));
        fs::write(&head, "old").unwrap();
        fs::set_permissions(&head, fs::Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(&head, &other).unwrap();
        std::os::unix::fs::symlink(&head, &link).unwrap();
        put(&link, "newer").unwrap();
        put(&new, "new").unwrap();
        put(Path::new("/dev/null"), "nothing").unwrap();
        let texts = [&head, &other, &new].map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(texts, ["newer", "old", "new"]);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "it leads to the new one");
        assert_eq!(fs::metadata(&head).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "no draft stays behind");
    }

    #[test]
    fn what_can_not_be_written_is_refused_before_the_work() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for out in [dir.path(), &file.join("x.svg"), &dir.path().join("none/x.svg")] {
            let refused = spares(out, std::iter::empty::<&Path>()).unwrap_err();
            assert!(refused.to_string().contains(&out.display().to_string()), "{refused}");
        }
        for out in [Path::new("/dev/null"), &dir.path().join("new.svg")] {
            spares(out, std::iter::empty::<&Path>()).unwrap();
        }
    }
}
