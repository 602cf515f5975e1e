//! The manifest: which networks are known by the SHA-256 of their files, and what each expects and gives.
//!
//! What runs is what was checked: a [`ModelFile`] holds the very bytes whose digest matched.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::builtin;
use super::spec::SideSpec;
pub use super::spec::{ChannelOrder, Decode, InputSpec, Kind, ModelSpec};
pub use crate::digest::Digest;
use crate::draft::Draft;

/// The largest file that is taken for a network.
pub const MAX_MODEL_BYTES: u64 = 64 << 20;
/// The largest description beside a network.
const MAX_SPEC_BYTES: u64 = 64 << 10;
/// The most networks that [`Manifest::installed`] lists.
pub const MAX_LISTED: usize = 64;

const BUILTIN: &str = include_str!("../../models/manifest.toml");

/// A network's bytes, and what they are.
#[derive(Debug, Clone)]
pub struct ModelFile {
    pub spec: ModelSpec,
    /// Where it lies; of one that is built in, the name of the file that it was built from.
    pub path: PathBuf,
    pub bytes: Cow<'static, [u8]>,
}

/// Why there is no such network.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {bytes} bytes are more than a network may have ({MAX_MODEL_BYTES})", path = path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{path} is not a file; name one network, such as {path}/NAME.onnx", path = path.display())]
    NotAFile { path: PathBuf },
    #[error(
        "{path} (SHA-256 {digest}) is not a known network; describe it in {beside}, as models/manifest.toml does for the known ones",
        path = path.display(), beside = beside.display()
    )]
    Unknown { path: PathBuf, digest: Digest, beside: PathBuf },
    #[error(
        "{path} is damaged or another version: its SHA-256 is {got}, and {}'s is {}; get it again from {}, or give \
         one of your own another file name",
        expected.name, expected.sha256, expected.source, path = path.display()
    )]
    WrongDigest { path: PathBuf, expected: Box<ModelSpec>, got: Digest },
    #[error("{path}: {reason}", path = path.display())]
    Spec { path: PathBuf, reason: String },
    #[error(
        "there is no network {name:?} in {dir}; get its file and run `facelatch models add FILE`; known are {known}",
        dir = dir.display()
    )]
    NoSuch { name: String, dir: PathBuf, known: String },
    #[error(
        "two networks are called {name:?}: {first} and {second}; choose one by the path of its file, or call it otherwise in its .toml",
        first = paths[0].display(), second = paths[1].display()
    )]
    Namesakes { name: String, paths: [PathBuf; 2] },
    #[error(
        "{path} is called {name:?}, as a known network is, and would never be found by that name; call it otherwise in its .toml",
        path = path.display()
    )]
    KnownName { name: String, path: PathBuf },
    #[error("{path} doesn't end in .onnx, as networks that are looked for do; rename it", path = path.display())]
    Ending { path: PathBuf },
    #[error("another network lies in {path} already; give this one another file name, or remove that one", path = path.display())]
    Taken { path: PathBuf },
    #[error("{path} is a network for {got}, and a {wanted} is needed", path = path.display())]
    Kind { path: PathBuf, wanted: Kind, got: Kind },
    #[error("{path}: {source}; is the state directory writable?", path = path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl ModelFile {
    /// # Errors
    /// It is of another kind, which the error names.
    pub fn expect(self, wanted: Kind) -> Result<Self, ManifestError> {
        let got = self.spec.kind();
        if got == wanted { Ok(self) } else { Err(ManifestError::Kind { path: self.path, wanted, got }) }
    }
}

/// What [`Manifest::add`] did.
#[derive(Debug)]
pub struct Added {
    pub spec: ModelSpec,
    pub path: PathBuf,
    /// It was there already, byte for byte.
    pub already: bool,
}

/// The networks that are known.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    #[serde(rename = "model")]
    models: Vec<ModelSpec>,
}

impl Manifest {
    /// The manifest that comes with this program.
    pub fn builtin() -> Self {
        Self::parse(BUILTIN).expect("a test parses the built-in manifest")
    }

    fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        match manifest.models.iter().find_map(|m| Some((m, m.fault()?))) {
            Some((model, fault)) => Err(format!("{}: {fault}", model.name)),
            None => Ok(manifest),
        }
    }

    pub fn models(&self) -> &[ModelSpec] {
        &self.models
    }

    pub fn find_by_sha256(&self, digest: &Digest) -> Option<&ModelSpec> {
        self.models.iter().find(|m| m.sha256 == *digest)
    }

    pub fn find_by_name(&self, name: &str) -> Option<&ModelSpec> {
        self.models.iter().find(|m| m.name == name)
    }

    /// A network that is part of this program, by its name.
    pub fn built_in(&self, name: &str) -> Option<ModelFile> {
        let spec = self.find_by_name(name)?;
        let bytes = builtin::network(&spec.file)?;
        Some(ModelFile { spec: spec.clone(), path: PathBuf::from(&spec.file), bytes: Cow::Borrowed(bytes) })
    }

    /// Finds a network by the name that the manifest or its own description gives it, or by the path of its file.
    ///
    /// A name that is not built in is looked for in `dir` (the state directory's models), among the files first and
    /// then among what their descriptions call them. Anything with a slash or ending in `.onnx` is a path. A name of
    /// the manifest is the network of its digest, whatever lies there.
    ///
    /// # Errors
    /// No such file or name, a name that two have, and everything of [`Manifest::open`].
    pub fn resolve(&self, dir: &Path, name_or_file: &str) -> Result<ModelFile, ManifestError> {
        if name_or_file.contains('/') || name_or_file.ends_with(".onnx") {
            return self.open(Path::new(name_or_file));
        }
        if let Some(model) = self.built_in(name_or_file) {
            return Ok(model);
        }
        let known = self.find_by_name(name_or_file);
        let path = dir.join(known.map_or(format!("{name_or_file}.onnx"), |m| m.file.clone()));
        if path.try_exists().or_else(|error| unless_missing(&path, error).map(|()| false))? {
            let model = self.open(&path)?;
            // Another known network's bytes may lie under this one's name.
            return match known.filter(|known| known.sha256 != model.spec.sha256) {
                Some(known) => Err(wrong_digest(known, &path, model.spec.sha256)),
                None => self.unless_another_is_called_so(dir, name_or_file, model),
            };
        }
        match known {
            Some(_) => Err(self.no_such(dir, name_or_file)),
            None => self.described_as(dir, name_or_file),
        }
    }

    /// A network by the name of its file, if no description gives that name to another.
    fn unless_another_is_called_so(&self, dir: &Path, name: &str, file: ModelFile) -> Result<ModelFile, ManifestError> {
        match self.named(dir, name)?.find(|other| other.spec.sha256 != file.spec.sha256) {
            Some(other) => Err(ManifestError::Namesakes { name: name.into(), paths: [file.path, other.path] }),
            None => Ok(file),
        }
    }

    /// The one network in `dir` whose own description calls it so, in however many files it lies.
    fn described_as(&self, dir: &Path, name: &str) -> Result<ModelFile, ManifestError> {
        let mut named = self.named(dir, name)?;
        let first = named.next().ok_or_else(|| self.no_such(dir, name))?;
        match named.find(|other| other.spec.sha256 != first.spec.sha256) {
            Some(second) => Err(ManifestError::Namesakes { name: name.into(), paths: [first.path, second.path] }),
            None => Ok(first),
        }
    }

    /// The networks in `dir` that are called so.
    fn named<'a>(
        &'a self,
        dir: &Path,
        name: &'a str,
    ) -> Result<impl Iterator<Item = ModelFile> + use<'a>, ManifestError> {
        let opened = networks_in(dir)?.into_iter().filter_map(|path| self.open(&path).ok());
        Ok(opened.filter(move |model| model.spec.name == name))
    }

    fn no_such(&self, dir: &Path, name: &str) -> ManifestError {
        let known = self.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", ");
        ManifestError::NoSuch { name: name.into(), dir: dir.into(), known }
    }

    /// Reads a network and says what it is: known by its digest, or described by a `.toml` of the same name beside it.
    /// A description makes no known network of other bytes: its file name is taken.
    ///
    /// # Errors
    /// It can't be read, is too large, is unknown, or bears a known network's file name with other bytes.
    pub fn open(&self, path: &Path) -> Result<ModelFile, ManifestError> {
        let bytes = Cow::Owned(read_bounded(path, MAX_MODEL_BYTES)?);
        let digest = Digest::of(&bytes);
        if let Some(spec) = self.find_by_sha256(&digest) {
            return Ok(ModelFile { spec: spec.clone(), path: path.into(), bytes });
        }
        let file = path.file_name().unwrap_or_default();
        if let Some(known) = self.models.iter().find(|m| *m.file == *file) {
            return Err(wrong_digest(known, path, digest));
        }
        let beside = path.with_extension("toml");
        if !beside.is_file() {
            return Err(ManifestError::Unknown { path: path.into(), digest, beside });
        }
        let spec = read_side_spec(&beside, path, digest)?;
        Ok(ModelFile { spec, path: path.into(), bytes })
    }

    /// Copies a network into `dir`, with its description where it isn't a known one; under its final name it is either
    /// whole or absent. Of a known network it replaces what lies there, which its digest tells from it; one of
    /// somebody's own takes no other's place, and no other's name: a configuration with that name would choose neither.
    ///
    /// # Errors
    /// Everything of [`Manifest::open`]; another network lies there or has its name; one of somebody's own has another
    /// ending, so that its description may be another network's; the directory can't be written.
    pub fn add(&self, file: &Path, dir: &Path) -> Result<Added, ManifestError> {
        let model = self.open(file)?;
        fs::create_dir_all(dir).map_err(|source| ManifestError::Write { path: dir.into(), source })?;
        let path = dir.join(&model.spec.file);
        let already = read_bounded(&path, MAX_MODEL_BYTES).is_ok_and(|there| *there == *model.bytes);
        if self.find_by_sha256(&model.spec.sha256).is_none() {
            if !is_network(&path) {
                return Err(ManifestError::Ending { path: file.into() });
            }
            if !already && fs::symlink_metadata(&path).is_ok() {
                return Err(ManifestError::Taken { path });
            }
            self.admit_name(&model, dir)?;
            let description = read_bounded(&file.with_extension("toml"), MAX_SPEC_BYTES)?;
            write_whole(&path.with_extension("toml"), &description)?;
        }
        if !already {
            write_whole(&path, &model.bytes)?;
        }
        Ok(Added { spec: model.spec, path, already })
    }

    /// Refuses a network of one's own whose name is another's.
    fn admit_name(&self, model: &ModelFile, dir: &Path) -> Result<(), ManifestError> {
        let (name, path) = (&model.spec.name, &model.path);
        if self.find_by_name(name).is_some() {
            return Err(ManifestError::KnownName { name: name.clone(), path: path.clone() });
        }
        // Under its own file name lie the same bytes or none: a description of them may be replaced.
        let is_other = |there: &ModelFile| there.spec.file != model.spec.file && there.spec.sha256 != model.spec.sha256;
        match self.named(dir, name)?.find(is_other) {
            Some(there) => Err(ManifestError::Namesakes { name: name.clone(), paths: [there.path, path.clone()] }),
            None => Ok(()),
        }
    }

    /// The networks that lie in `dir`, at most [`MAX_LISTED`], in the order of their names; what is unknown or
    /// unreadable is listed with its error.
    pub fn installed(&self, dir: &Path) -> Vec<Result<ModelFile, ManifestError>> {
        match networks_in(dir) {
            Ok(paths) => paths.iter().map(|path| self.open(path)).collect(),
            Err(error) => vec![Err(error)],
        }
    }
}

/// Files of networks in the order of their names; none where there is no such folder.
fn networks_in(dir: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => return unless_missing(dir, error).map(|()| Vec::new()),
    };
    let mut paths: Vec<_> =
        entries.flatten().map(|e| e.path()).filter(|path| is_network(path)).take(MAX_LISTED).collect();
    paths.sort();
    Ok(paths)
}

/// What this user may not look at may be there, and isn't told as absent.
fn unless_missing(path: &Path, error: io::Error) -> Result<(), ManifestError> {
    let source = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Ok(()),
        kind @ io::ErrorKind::PermissionDenied => {
            io::Error::new(kind, "networks may lie there, and not for this user; run as root (sudo)")
        }
        _ => error,
    };
    Err(ManifestError::Read { path: path.into(), source })
}

fn is_network(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "onnx")
}

fn wrong_digest(known: &ModelSpec, path: &Path, got: Digest) -> ManifestError {
    ManifestError::WrongDigest { path: path.into(), expected: Box::new(known.clone()), got }
}

fn read_side_spec(beside: &Path, model: &Path, digest: Digest) -> Result<ModelSpec, ManifestError> {
    let wrong = |reason: String| ManifestError::Spec { path: beside.into(), reason };
    let text = String::from_utf8(read_bounded(beside, MAX_SPEC_BYTES)?).map_err(|e| wrong(e.to_string()))?;
    let SideSpec { name, licence, source, notes, decode, input } =
        toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let file = model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sha256 = digest.described(&decode, &input);
    let spec = ModelSpec { name, file, sha256, licence, source, notes, decode, input };
    match spec.fault() {
        Some(fault) => Err(wrong(fault.into())),
        None => Ok(spec),
    }
}

fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, ManifestError> {
    let wrong = |source| ManifestError::Read { path: path.into(), source };
    let file = File::open(path).map_err(wrong)?;
    let meta = file.metadata().map_err(wrong)?;
    if !meta.is_file() {
        return Err(ManifestError::NotAFile { path: path.into() });
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > max {
        return Err(ManifestError::TooLarge { path: path.into(), bytes: meta.len() });
    }
    Ok(bytes)
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ManifestError> {
    let written = Draft::new(path, bytes).and_then(Draft::place);
    written.map_err(|source| ManifestError::Write { path: path.into(), source })
}

#[cfg(test)]
mod tests;
