//! The chain of the ledger: each event carries a hash over itself and the hash before it, so that a changed, removed
//! or inserted event shows.
//!
//! `hash = SHA-256(hash of the event before ‖ canonical bytes of this event)`. The first event stands on the
//! [`GENESIS`] anchor, or, once old events were removed, on the number and hash of the last one removed.
//!
//! The canonical bytes, which never change for an event once written (little endian):
//!
//! | bytes        | what                                                            |
//! |--------------|-----------------------------------------------------------------|
//! | 4            | `FLE1`                                                          |
//! | 8            | number, `u64`                                                   |
//! | 8            | time, `i64`, Unix milliseconds                                  |
//! | 1 + n        | outcome: length, UTF-8                                          |
//! | 1, then 4    | person: 0, or 1 and the id as `u32`                             |
//! | 1, then 4    | similarity: 0, or 1 and the bits of the `f32`                   |
//! | 1            | how many reasons                                                |
//! | each 2 + n   | a reason: length as `u16`, UTF-8                                |
//!
//! No name is among them: an event that outlives an erased person knows their number alone.
//!
//! What it proves: against a hash noted elsewhere earlier (`facelatch events` prints them), that nothing up to it was
//! changed since. What it doesn't: who can write to the whole file can also write a whole new chain.

use sha2::{Digest, Sha256};

use crate::gate::record::Record;
use crate::person::PersonId;
use crate::time::Wall;

/// The hash of an event, or of an anchor.
pub type Hash = [u8; 32];

const TAG: &[u8; 4] = b"FLE1";

/// What an event stands on: the number and hash of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub seq: u64,
    pub hash: Hash,
}

/// What the very first event stands on.
pub const GENESIS: Link = Link { seq: 0, hash: [0; 32] };

/// What is hashed of one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub seq: u64,
    pub at: Wall,
    /// As `gate::record::Outcome` names it.
    pub outcome: String,
    pub person: Option<PersonId>,
    /// The cosine as it was measured, bit for bit, but for the sign of a zero.
    pub similarity: Option<f32>,
    /// Each as `gate::record::Reason` shows it.
    pub reasons: Vec<String>,
}

impl Entry {
    /// The entry that follows `before`.
    pub fn after(before: Link, record: &Record) -> Self {
        Self {
            seq: before.seq + 1,
            at: record.at,
            outcome: record.outcome.as_str().to_owned(),
            person: record.person,
            // Adding zero makes the negative one positive: a database keeps no sign of it.
            similarity: record.similarity.map(|s| s.get() + 0.0),
            reasons: record.reasons.iter().map(ToString::to_string).collect(),
        }
    }

    /// This entry's hash where it follows `before`; `None` where it does not, or is longer than the layout can say.
    pub fn link(&self, before: Link) -> Option<Link> {
        if before.seq.checked_add(1) != Some(self.seq) {
            return None;
        }
        let mut hasher = Sha256::new();
        hasher.update(before.hash);
        hasher.update(self.canonical()?);
        Some(Link { seq: self.seq, hash: hasher.finalize().into() })
    }

    fn canonical(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(TAG);
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&self.at.unix_millis().to_le_bytes());
        bytes.push(u8::try_from(self.outcome.len()).ok()?);
        bytes.extend_from_slice(self.outcome.as_bytes());
        bytes.push(self.person.is_some().into());
        bytes.extend(self.person.iter().flat_map(|person| person.get().to_le_bytes()));
        bytes.push(self.similarity.is_some().into());
        bytes.extend(self.similarity.iter().flat_map(|cosine| cosine.to_le_bytes()));
        bytes.push(u8::try_from(self.reasons.len()).ok()?);
        for reason in &self.reasons {
            bytes.extend_from_slice(&u16::try_from(reason.len()).ok()?.to_le_bytes());
            bytes.extend_from_slice(reason.as_bytes());
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gate::record::{Outcome, PoorMeasure, Reason};
    use crate::units::Similarity;

    fn entry() -> Entry {
        let record = Record::new(Wall::from_unix_millis(1_790_000_000_000), Outcome::PoorQuality)
            .person(PersonId::new(3))
            .similarity(Similarity::new(0.5))
            .because(Reason::Poor(PoorMeasure::TooDark))
            .because(Reason::ByUid(1000));
        Entry::after(GENESIS, &record)
    }

    #[test]
    fn the_canonical_bytes_are_those_of_the_first_release() {
        let expected =
            b"FLE1\x01\0\0\0\0\0\0\0\x00\x6c\x50\xc4\xa0\x01\0\0\x0cpoor_quality\x01\x03\0\0\0\x01\0\0\0\x3f\
            \x02\x08\0too_dark\x0b\0by_uid 1000";
        assert_eq!(entry().canonical().unwrap(), expected);
    }

    #[test]
    fn an_event_out_of_its_place_has_no_link() {
        assert!(entry().link(GENESIS).is_some());
        assert!(entry().link(Link { seq: 1, ..GENESIS }).is_none());
        assert!(entry().link(Link { seq: u64::MAX, ..GENESIS }).is_none());
    }

    #[test]
    fn a_change_of_any_field_or_of_the_hash_before_changes_the_hash() {
        let hash = entry().link(GENESIS).unwrap().hash;
        let changes: [fn(&mut Entry); 7] = [
            |e| e.at = Wall::from_unix_millis(e.at.unix_millis() + 1),
            |e| e.outcome = "granted".into(),
            |e| e.person = None,
            |e| e.person = Some(PersonId::new(4)),
            |e| e.similarity = Some(0.500_000_06),
            |e| e.reasons.truncate(1),
            |e| e.reasons = vec!["too_dark\u{b}".into(), "by_uid 1000".into()],
        ];
        for change in changes {
            let mut entry = entry();
            change(&mut entry);
            assert_ne!(entry.link(GENESIS).unwrap().hash, hash, "{entry:?}");
        }
        assert_ne!(entry().link(Link { seq: 0, hash: [1; 32] }).unwrap().hash, hash);
    }

    fn entries() -> impl Strategy<Value = Entry> {
        let person = prop::option::of(any::<u32>().prop_map(PersonId::new));
        (any::<i64>(), "[a-z]{0,3}", person, prop::option::of(-1f32..1.0), prop::collection::vec("[a-z ]{0,3}", 0..3))
            .prop_map(|(at, outcome, person, similarity, reasons)| Entry {
                seq: 1,
                at: Wall::from_unix_millis(at),
                outcome,
                person,
                similarity,
                reasons,
            })
    }

    proptest! {
        #![proptest_config(crate::testing::properties(256))]

        #[test]
        fn two_entries_have_the_same_bytes_only_if_they_are_the_same(a in entries(), b in entries()) {
            prop_assert_eq!(a.canonical() == b.canonical(), a == b);
        }
    }
}
