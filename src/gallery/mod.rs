//! Who the door knows: people, their templates, and how a face is found among them.
//!
//! [`person`] and [`template`] say what is kept, [`seal`] and [`key`] how it is kept secret, [`enrol`] and [`keep`]
//! what gets in and what stays, [`decider`] and [`pair_head`] say how alike two encodings are, [`prototype`] makes one
//! of a person's several, [`search`] finds, [`calibrate`] turns a similarity into a false match rate as [`counts`] of
//! scores say, [`audit`] names what endangers the rest, and [`chain`] makes a change to the ledger show. Nothing here
//! touches the database: `hw::store` does.

#![forbid(unsafe_code)]

pub mod audit;
pub mod bounds;
pub mod calibrate;
pub mod chain;
pub mod counts;
pub mod decider;
pub mod enrol;
pub mod keep;
pub mod key;
pub mod pair_head;
pub mod person;
pub mod prototype;
pub mod seal;
pub mod search;
pub mod template;

pub use decider::{Decider, DeciderKind};
pub use key::{Found, KeyError, KeyPlaces, SERVICE_KEY};
pub use pair_head::PairHead;
pub use person::{Changes, NewPerson, Person};
pub use prototype::Comparisons;
pub use seal::MasterKey;
pub use search::{Hit, Index, Ranked, Scratch};
pub use template::{NewTemplate, Template, TemplateId};
