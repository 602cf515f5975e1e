//! A directory for a command's own store, which goes when the command does, also where a signal ends it: there may be
//! names in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit::{Code, Failure};

pub struct Scratch(PathBuf);

/// What a signal takes away with the process.
static MADE: Mutex<Made> = Mutex::new(Made { dirs: Vec::new(), count: 0, is_watched: false });

struct Made {
    dirs: Vec<PathBuf>,
    /// How many there ever were: each has a name of its own.
    count: u32,
    is_watched: bool,
}

impl Scratch {
    /// # Errors
    /// It can't be made.
    pub fn new() -> Result<Self, Failure> {
        Self::within(&std::env::temp_dir())
    }

    /// On the disk of this directory.
    ///
    /// # Errors
    /// It can't be made.
    pub fn within(dir: &Path) -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut made = made();
        if !made.is_watched {
            let unwatched = |error| Failure::said(Code::Os, format!("signals can't be looked for: {error}"));
            watch().map_err(unwatched)?;
            made.is_watched = true;
        }
        made.count += 1;
        let dir = dir.join(format!("facelatch-{}-{}", std::process::id(), made.count));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(Failure::io(&dir))?;
        made.dirs.push(dir.clone());
        Ok(Self(dir))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut made = made();
        let _left_to_the_system = std::fs::remove_dir_all(&self.0);
        made.dirs.retain(|dir| *dir != self.0);
    }
}

fn made() -> MutexGuard<'static, Made> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For as long as the process lives: a signal that was asked for once has no effect of its own any more.
fn watch() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let clear = move || {
        for signal in signals.forever() {
            // Held to the end, so that none is made any more.
            let made = made();
            for dir in &made.dirs {
                // Whoever works in it may put a file there meanwhile.
                let _left_to_the_system = std::fs::remove_dir_all(dir).or_else(|_| std::fs::remove_dir_all(dir));
            }
            let _ends_here = signal_hook::low_level::emulate_default_handler(signal);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(clear).map(drop)
}
