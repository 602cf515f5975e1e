//! A list of files and their SHA-256s, as `sha256sum` writes and checks it, with a first line that says of what.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::cli::context;
use crate::cli::exit::{Code, Failure};
use crate::digest::Digest;

/// The list's name beside the files.
pub const LIST: &str = "SHA256SUMS";
/// A release has a handful of files.
const MAX_FILES: usize = 64;
const MAX_TEXT_BYTES: usize = 64 * 1024;
/// The largest file that is looked at. A package has 10 MB, a binary 30.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// Read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// What files are, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// `facelatch 0.1.0-1, commit 0f3a…`
    pub about: String,
    pub files: BTreeMap<String, Digest>,
}

impl List {
    /// Reads what [`fmt::Display`] writes. Lines of comment after the first are left out.
    ///
    /// # Errors
    /// A sentence that names the line: no digest, a name twice, more than 64 files, or none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let about =
            text.lines().next().and_then(|line| line.strip_prefix("# ")).ok_or("line 1 doesn't say of what it is")?;
        let mut files = BTreeMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let wrong = |why: &str| format!("line {}: {why}", number + 1);
            let (digest, name) = line.split_once("  ").ok_or_else(|| wrong("no digest, two blanks and a name"))?;
            let digest = Digest::parse(digest).ok_or_else(|| wrong("a SHA-256 is 64 hexadecimal digits"))?;
            if name.is_empty() || files.insert(name.to_owned(), digest).is_some() {
                return Err(wrong("a name is missing, or there twice"));
            }
            if files.len() > MAX_FILES {
                return Err(wrong("more than 64 files"));
            }
        }
        if files.is_empty() { Err("it lists no file".into()) } else { Ok(Self { about: about.to_owned(), files }) }
    }

    /// The list's text, as it is signed, and what it says.
    ///
    /// # Errors
    /// It can't be read, or is none.
    pub fn read(path: &Path) -> Result<(String, Self), Failure> {
        let text = read_text(path)?;
        let refused = |why| Failure::said(Code::Data, format!("{}: no list of a release: {why}", path.display()));
        let list = Self::parse(&text).map_err(refused)?;
        Ok((text, list))
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}", self.about)?;
        self.files.iter().try_for_each(|(name, digest)| writeln!(f, "{digest}  {name}"))
    }
}

/// A list, a key or a signature: text, and not much.
///
/// # Errors
/// It can't be read, is no UTF-8, or has more than 64 KiB.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    let text = context::read_text(path, MAX_TEXT_BYTES).map_err(Failure::io(path))?;
    if text.len() > MAX_TEXT_BYTES {
        return Err(Failure::said(Code::Data, format!("{}: too long for what it should be", path.display())));
    }
    Ok(text)
}

/// The SHA-256 of a file of at most 256 MiB.
///
/// # Errors
/// It can't be read, or is larger.
pub fn digest_of(path: &Path) -> std::io::Result<Digest> {
    let mut file = File::open(path)?.take(MAX_FILE_BYTES + 1);
    let (mut sum, mut chunk, mut total) = (Sha256::new(), vec![0; CHUNK_BYTES], 0);
    loop {
        let n = file.read(&mut chunk)?;
        if n == 0 {
            return Ok(Digest(sum.finalize().into()));
        }
        total += n as u64;
        if total > MAX_FILE_BYTES {
            return Err(std::io::Error::other("larger than 256 MiB"));
        }
        sum.update(&chunk[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# facelatch 0.1.0-1, commit 0f3a
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty
ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  facelatch_0.1.0-1_arm64.deb
";

    #[test]
    fn a_list_reads_back_as_it_was_written() {
        let list = List::parse(TEXT).unwrap();
        assert_eq!((list.about.as_str(), list.files.len()), ("facelatch 0.1.0-1, commit 0f3a", 2));
        assert_eq!(list.files["empty"], Digest::of(b""));
        assert_eq!(list.to_string(), TEXT);
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_line() {
        let refused = |text: &str, why: &str| {
            let error = List::parse(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        refused("", "line 1");
        refused(&TEXT[2..], "line 1");
        refused("# nothing\n", "no file");
        refused(&TEXT.replace("  empty", " empty"), "line 2");
        refused(&TEXT.replace("e3b0", "e3bg"), "line 2");
        refused(&TEXT.replace("facelatch_0.1.0-1_arm64.deb", "empty"), "line 3");
        let digest = Digest::of(b"");
        let many: String = (0..=MAX_FILES).map(|i| format!("{digest}  {i}\n")).collect();
        refused(&format!("# many\n{many}"), "more than 64");
    }

    #[test]
    fn a_files_digest_is_that_of_its_bytes_however_many_reads_they_take() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes = vec![7; 2 * CHUNK_BYTES + 1];
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(digest_of(file.path()).unwrap(), Digest::of(&bytes));
        assert!(digest_of(Path::new("/nowhere")).is_err());
    }
}
