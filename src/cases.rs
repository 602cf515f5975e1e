//! How much the random tests try. One place, for a machine that is a hundred times slower, and for a night that is long.

#![cfg(test)]
#![forbid(unsafe_code)]

use proptest::test_runner::Config;

/// The share of the usual cases, `0.01` or `20`; without it, all of them once.
const SHARE: &str = "FACELATCH_CASES";

/// So many of the usual `full` cases as this run tries: one at least.
///
/// # Panics
/// `FACELATCH_CASES` is no positive number.
pub fn cases(full: u64) -> u64 {
    let Ok(text) = std::env::var(SHARE) else { return full };
    let share = text.parse().ok().filter(|share: &f64| *share > 0.0 && share.is_finite());
    let share = share.unwrap_or_else(|| panic!("{SHARE}={text} is no positive number"));
    (full as f64 * share).ceil().max(1.0) as u64
}

/// The same for properties.
pub fn properties(full: u32) -> Config {
    Config::with_cases(u32::try_from(cases(full.into())).unwrap_or(u32::MAX))
}
