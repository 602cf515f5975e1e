//! What the core's ports are on a real board: V4L2, GPIO, SQLite, the journal, systemd.
//!
//! Each part has its configuration beside it, opens with an error that says what to do, and leaves the door locked when
//! it is dropped.

pub mod alloc;
pub mod camera;
pub mod clock;
mod denied;
pub mod gpio;
pub mod inputs;
pub mod journal;
pub mod memory;
pub mod notify;
pub mod owner;
pub mod sensors;
pub mod socket;
pub mod store;
pub mod strike;
