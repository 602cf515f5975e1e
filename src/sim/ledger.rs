//! A ledger in memory: no chain and no disk, but a mind of its own when it is told to fail.

#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex};

use super::lock;
use crate::gate::Record;
use crate::ports::Ledger;

/// Most records that fit; then it is full, as a disk would be.
pub const MAX_RECORDS: usize = 1_000_000;

/// All clones are the same ledger, so one can be kept to read what another was given.
#[derive(Debug, Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    records: Vec<Record>,
    failure: Option<String>,
}

impl MemoryLedger {
    /// From now on every append fails with this sentence; `None` heals it.
    pub fn fail(&self, reason: Option<&str>) {
        lock(&self.0).failure = reason.map(str::to_owned);
    }

    /// Everything that was written, oldest first.
    pub fn records(&self) -> Vec<Record> {
        lock(&self.0).records.clone()
    }

    pub fn len(&self) -> usize {
        lock(&self.0).records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Ledger for MemoryLedger {
    fn append(&mut self, record: &Record) -> Result<u64, String> {
        let mut state = lock(&self.0);
        if let Some(reason) = &state.failure {
            return Err(reason.clone());
        }
        if state.records.len() >= MAX_RECORDS {
            return Err(format!("the ledger is full: it holds {MAX_RECORDS} records"));
        }
        state.records.push(record.clone());
        Ok(state.records.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Outcome;
    use crate::time::Wall;

    #[test]
    fn numbers_go_on_after_a_failure_and_nothing_is_written_by_one() {
        let ledger = MemoryLedger::default();
        let mut writer = ledger.clone();
        let record = Record::new(Wall::default(), Outcome::Exit);
        assert_eq!(writer.append(&record), Ok(1));
        ledger.fail(Some("no space left on device"));
        assert_eq!(writer.append(&record), Err("no space left on device".to_owned()));
        ledger.fail(None);
        assert_eq!(writer.append(&record), Ok(2));
        assert_eq!((ledger.len(), ledger.records()[1].outcome), (2, Outcome::Exit));
    }
}
