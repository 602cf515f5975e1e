//! What this process takes of the board (proc(5)).

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;

use crate::time::Instant;

/// Longest file below /proc/self that is read; the real ones take a tenth of it.
const MAX_BYTES: u64 = 16 * 1024;
/// Clock ticks a second in /proc, whatever the kernel's own rate: USER_HZ, 100 on every architecture that we build for.
const USER_HZ: u64 = 100;

/// Bytes of memory in use (`VmRSS`) and the most that ever were (`VmHWM`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    pub now: u64,
    pub peak: u64,
}

/// The memory of this process that is in RAM; `None` where /proc is not mounted.
pub fn resident() -> Option<Resident> {
    parse_status(&read("/proc/self/status")?)
}

/// When this process was started, to a hundredth of a second; `None` where /proc is not mounted.
pub fn started() -> Option<Instant> {
    parse_stat(&read("/proc/self/stat")?)
}

fn read(path: &str) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

fn parse_status(text: &str) -> Option<Resident> {
    let kib = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Resident { now: kib("VmRSS:")?, peak: kib("VmHWM:")? })
}

/// Field 22 counts ticks since boot, time asleep included. The second field is the program's name in parentheses and
/// may hold anything, parentheses too, so fields are counted from the last one.
fn parse_stat(text: &str) -> Option<Instant> {
    let (_, fields) = text.rsplit_once(')')?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()?;
    ticks.checked_mul(1_000_000_000 / USER_HZ).map(Instant::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::clock::BootClock;
    use crate::ports::Clock;

    #[test]
    fn this_process_takes_memory_and_began_before_now() {
        let resident = resident().unwrap();
        assert!(resident.now > 100_000 && resident.now <= resident.peak);
        assert!(started().unwrap() < BootClock.now().mono);
    }

    #[test]
    fn a_program_with_a_spiteful_name_is_read_all_the_same() {
        let fields = "1 ".repeat(18);
        assert_eq!(parse_stat(&format!("7 (a) b) S {fields}250 9 9")), Some(Instant::from_millis(2500)));
        assert_eq!(parse_stat("7 (a S"), None);
        assert_eq!(parse_stat(&format!("7 (a) S {fields}{}", u64::MAX)), None);
    }

    #[test]
    fn memory_in_another_unit_is_not_guessed_at() {
        assert_eq!(parse_status("VmHWM:\t 20 kB\nVmRSS:\t 10 kB\n"), Some(Resident { now: 10_240, peak: 20_480 }));
        assert_eq!(parse_status("VmHWM:\t 20 MB\nVmRSS:\t 10 MB\n"), None);
    }
}
