//! Simulated days at a door: people come and go while cameras vanish, disks fill and clocks jump.
//!
//! `FACELATCH_SEED` chooses the days and `FACELATCH_DAYS` how many; both are printed, and a failure names its own seed.
//! The log of one day is kept in tests/data/day.snapshot; `FACELATCH_UPDATE=1` writes it anew.

mod house;
mod parts;
mod town;

use std::path::Path;

use crate::testing::{cases, number, seed};
use house::{House, Tally};

const DAYS: u64 = 100;
/// The day whose log is kept.
const KEPT: u64 = 20_260_921;
/// Lines of a difference that are shown.
const MAX_SHOWN: usize = 40;

/// Names the day that a panic came from.
struct Today(u64);

impl Drop for Today {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was the day of FACELATCH_SEED={} FACELATCH_DAYS=1", self.0);
        }
    }
}

fn live(seed: u64) -> House {
    let _today = Today(seed);
    let mut house = House::new(seed);
    house.live();
    house
}

#[test]
fn a_hundred_days_admit_whom_they_should_and_nobody_else() {
    let seed = seed();
    let days = number("FACELATCH_DAYS").unwrap_or_else(|| cases(DAYS));
    println!("FACELATCH_SEED={seed} FACELATCH_DAYS={days}");
    let mut total = Tally::default();
    for day in 0..days {
        total.add(&live(seed.wrapping_add(day)).tally);
    }
    println!("{total:?}");
    if days >= DAYS {
        let happened = [total.grants, total.exits, total.manual, total.denials, total.lockouts, total.faults];
        assert!(happened.iter().all(|n| *n as u64 > days / 4), "too little happened to prove anything: {total:?}");
        assert!(total.break_ins > 0 && total.held_open > 0 && total.welcome * 2 > total.grants, "{total:?}");
    }
}

#[test]
fn the_same_day_is_the_same_again() {
    assert_eq!(live(7).lines, live(7).lines);
}

#[test]
fn the_kept_day_is_as_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/day.snapshot");
    let lived = live(KEPT).lines.join("\n") + "\n";
    if std::env::var_os("FACELATCH_UPDATE").is_some() {
        std::fs::write(&path, &lived).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == lived,
        "the day has changed; if that is meant, FACELATCH_UPDATE=1 keeps the new one\n{}",
        difference(&kept, &lived)
    );
}

/// What is between the lines that both texts begin and end with: `-` as it was, `+` as it is.
fn difference(was: &str, is: &str) -> String {
    let (was, is): (Vec<_>, Vec<_>) = (was.lines().collect(), is.lines().collect());
    let same = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
    let begin = same(&mut was.iter().zip(&is));
    let end = same(&mut was[begin..].iter().rev().zip(is[begin..].iter().rev()));
    let part = |lines: &[&str], sign: &str| {
        let differing = lines[begin..lines.len() - end].iter().take(MAX_SHOWN);
        differing.map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    format!("from line {}:\n{}{}", begin + 1, part(&was, "-"), part(&is, "+"))
}
