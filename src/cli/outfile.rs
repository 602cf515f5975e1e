//! Files that commands write where they are told to, in place of whatever is there, but never of what they read.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::exit::Failure;

/// Refuses a file to write that is one of those to be read, by whichever name or link. A command asks before it works, since
/// it may work for hours.
///
/// # Errors
/// It is; the sentence names both.
pub fn spares(out: &Path, inputs: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<(), Failure> {
    // What isn't there yet is no input; what can't be looked at can't be written either, and writing says why.
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
}
