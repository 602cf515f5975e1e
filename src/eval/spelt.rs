//! Paths in JSON, which is UTF-8, as a path need not be: what isn't is replaced, as where a path is shown. An answer
//! that can't be given would come after hours of work.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Serialize as _, Serializer};

/// A path, or none.
pub trait Spelt {
    fn spelt(&self) -> Option<Cow<'_, str>>;
}

impl Spelt for PathBuf {
    fn spelt(&self) -> Option<Cow<'_, str>> {
        Some(self.to_string_lossy())
    }
}

impl Spelt for &Path {
    fn spelt(&self) -> Option<Cow<'_, str>> {
        Some(self.to_string_lossy())
    }
}

impl<P: Spelt> Spelt for Option<P> {
    fn spelt(&self) -> Option<Cow<'_, str>> {
        self.as_ref().and_then(P::spelt)
    }
}

/// For `serialize_with`.
///
/// # Errors
/// The serializer's.
pub fn spelt<S: Serializer>(path: &impl Spelt, serializer: S) -> Result<S::Ok, S::Error> {
    path.spelt().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[derive(serde::Serialize)]
    struct Answer<'a> {
        #[serde(serialize_with = "spelt")]
        file: PathBuf,
        #[serde(serialize_with = "spelt")]
        other: &'a Path,
        #[serde(serialize_with = "spelt")]
        copy: Option<&'a Path>,
        #[serde(serialize_with = "spelt")]
        key: Option<PathBuf>,
    }

    #[test]
    fn a_path_that_is_no_text_is_told_and_none_is_null() {
        let file = PathBuf::from(std::ffi::OsString::from_vec(b"/zo\xEB.jpg".to_vec()));
        let answer = Answer { file: file.clone(), other: &file, copy: Some(Path::new("/a")), key: None };
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(text, r#"{"file":"/zo�.jpg","other":"/zo�.jpg","copy":"/a","key":null}"#);
    }
}
