//! The binary: arguments in, one call, a documented exit code out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Counts what is allocated, so that `bench` can show that a frame costs nothing.
#[global_allocator]
static ALLOCATOR: facelatch::hw::alloc::Counting = facelatch::hw::alloc::Counting;

fn main() -> ExitCode {
    facelatch::cli::run(std::env::args_os()).into()
}
