//! The store on a real file system.

mod files;
mod ledger;
mod people;

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::digest::Digest;
use crate::face::encoding::Encoding;
use crate::gallery::person::{Changes, NewPerson};
use crate::gallery::template::NewTemplate;
use crate::gate::record::{Outcome, PoorMeasure, Reason, Record};
use crate::person::{Name, PersonId};
use crate::ports::Ledger;
use crate::time::Wall;
use crate::units::Similarity;

const CAP: usize = 8;
const DAY: Duration = Duration::from_secs(86_400);

/// 2026-09-21.
const NOW: Wall = Wall::from_unix_millis(1_790_000_000_000);
const ACT: Act = Act { at: NOW, by_uid: Some(1000) };

struct Room {
    dir: TempDir,
    key: MasterKey,
}

impl Room {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), key: MasterKey::generate().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("gallery.db")
    }

    fn store(&self) -> Store {
        Store::open(&self.path(), &self.key).unwrap()
    }

    fn trouble(&self) -> Trouble {
        match Store::open(&self.path(), &self.key) {
            Ok(_) => panic!("it opened"),
            Err(error) => error.what,
        }
    }

    /// All bytes of the database and what lies beside it.
    fn bytes(&self) -> Vec<u8> {
        fs::read_dir(self.dir.path()).unwrap().flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn template(degrees: f32) -> NewTemplate {
    let encoding = Encoding::from_raw(&[degrees.to_radians().cos(), degrees.to_radians().sin()]).unwrap();
    NewTemplate { encoding, model_sha256: Digest([1; 32]), quality: 0.5, created: NOW }
}

fn enrol(store: &mut Store, who: &str, degrees: f32) -> PersonId {
    store.enrol(&NewPerson::new(name(who)), &[template(degrees)], CAP, ACT).unwrap().0
}

fn outcomes(store: &Store) -> Vec<String> {
    store.events(&EventQuery::default()).unwrap().into_iter().map(|event| event.outcome).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
