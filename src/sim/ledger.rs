//! A ledger in memory: no chain and no disk.

use std::sync::{Arc, Mutex};

use super::lock;
use crate::gate::Record;
use crate::ports::Ledger;

/// All clones are the same ledger, so one can be kept to read what another was given.
#[derive(Debug, Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<Vec<Record>>>);

impl MemoryLedger {
    /// Everything that was written, oldest first.
    pub fn records(&self) -> Vec<Record> {
        lock(&self.0).clone()
    }
}

impl Ledger for MemoryLedger {
    fn append(&mut self, record: &Record) -> Result<u64, String> {
        let mut records = lock(&self.0);
        records.push(record.clone());
        Ok(records.len() as u64)
    }
}
