//! Every test that looks at facelatch from outside, in one binary: each one links tract, which takes longer than running.

#[path = "../src/cases.rs"]
#[allow(dead_code, reason = "properties are tested beside the code")]
mod cases;
mod cli;
mod clip;
mod crash;
mod daemon;
mod days;
mod fuzz;
mod gate;
mod golden;
mod looks;
mod program;
mod service;
mod tidy;
