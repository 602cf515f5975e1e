//! The feeds of the bounded tests, for the targets of `cargo fuzz`.

#[path = "../../tests/fuzz/feeds.rs"]
pub mod feeds;
