//! A directory for a command's own store, which goes when the command does.

use std::path::{Path, PathBuf};

use super::exit::Failure;

pub struct Scratch(PathBuf);

impl Scratch {
    /// # Errors
    /// It can't be made.
    pub fn new() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let dir = std::env::temp_dir().join(format!("facelatch-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(Failure::io(&dir))?;
        Ok(Self(dir))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _left_to_the_system = std::fs::remove_dir_all(&self.0);
    }
}
