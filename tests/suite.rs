//! Every test that looks at facelatch from outside, in one binary: each one links tract, which takes longer than running.

mod crash;
mod daemon;
mod gate;
mod tidy;
