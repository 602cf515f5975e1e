//! Every test that looks at facelatch from outside, in one binary: each one links tract, which takes longer than
//! running.

mod cli;
mod clip;
mod crash;
mod daemon;
mod days;
mod figures;
mod fuzz;
mod gate;
mod golden;
mod looks;
mod service;
#[path = "../src/testing.rs"]
mod testing;
mod tidy;
