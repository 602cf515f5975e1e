//! The service: what its unit promises, and as systemd sees it, no complaint and how exposed it is.
//!
//! The latter needs systemd-analyze (Debian's systemd), and says SKIPPED where it is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The most exposure that is accepted, in tenths of systemd's scale from 0 (safe) to 10.
const MOST_EXPOSED: u32 = 15;
/// What is allowed beside the unit, by a file of its own, and the systemd that it needs.
const DROP_INS: [(&str, u32); 2] = [("facelatch-sealed-key.conf", 250), ("facelatch-notify-reload.conf", 253)];
/// What docs/threat-model.md counts on, and what brings a door back: most of these alone change the exposure by less
/// than it may grow.
const PROMISES: [&str; 12] = [
    "PrivateNetwork=yes",
    "IPAddressDeny=any",
    "RestrictAddressFamilies=AF_UNIX",
    "LimitCORE=0",
    "MemorySwapMax=0",
    "UMask=0077",
    "StateDirectoryMode=0700",
    "DevicePolicy=closed",
    "ProtectSystem=strict",
    "WatchdogSec=30s",
    "Restart=on-failure",
    "RestartPreventExitStatus=2 78",
];

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

fn analyze(args: &[&str], dir: &Path) -> Option<Output> {
    let said = crate::testing::answer(Command::new("systemd-analyze").args(args).current_dir(dir));
    if said.is_none() {
        crate::testing::skipped("systemd-analyze is missing, so the service was not looked at");
    }
    said
}

/// The unit with a program that is there, as it is checked before anything is installed.
fn unit_in(dir: &Path) {
    let unit = std::fs::read_to_string(shipped("facelatch.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/facelatch run "), "the unit runs what the package installs");
    let unit = unit.replace("/usr/bin/facelatch ", "/bin/true ");
    std::fs::write(dir.join("facelatch.service"), unit).unwrap();
}

#[test]
fn the_unit_keeps_each_promise_and_takes_none_back() {
    let unit = std::fs::read_to_string(shipped("facelatch.service")).unwrap();
    for promise in PROMISES {
        let (key, _) = promise.split_once('=').unwrap();
        let said: Vec<_> = unit.lines().filter(|line| line.split('=').next() == Some(key)).collect();
        assert_eq!(said, [promise]);
    }
}

/// `verify` returns 0 for a key that it doesn't know, so its silence is what counts.
#[test]
fn systemd_has_no_complaint_about_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    unit_in(dir.path());
    let Some(said) = analyze(&["verify", "--man=no", "./facelatch.service"], dir.path()) else { return };
    let complaints = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && complaints.is_empty(), "{complaints}");
}

#[test]
fn a_misspelt_key_would_be_noticed() {
    let dir = tempfile::tempdir().unwrap();
    unit_in(dir.path());
    let path = dir.path().join("facelatch.service");
    let unit = std::fs::read_to_string(&path).unwrap().replace("NoNewPrivileges=", "NoNewPriviliges=");
    std::fs::write(&path, unit).unwrap();
    let Some(said) = analyze(&["verify", "--man=no", "./facelatch.service"], dir.path()) else { return };
    assert!(String::from_utf8_lossy(&said.stderr).contains("NoNewPriviliges"));
}

#[test]
fn systemd_has_no_complaint_about_the_drop_ins() {
    let Some(said) = analyze(&["--version"], Path::new("/")) else { return };
    let version = String::from_utf8_lossy(&said.stdout).split(' ').nth(1).map(str::to_owned);
    let version: u32 = version.and_then(|version| version.parse().ok()).expect("systemd 252 (252.38-1~deb12u1)");
    for (name, since) in DROP_INS {
        if version < since {
            crate::testing::skipped(format_args!("systemd {version} is older than {name}, which needs {since}"));
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        unit_in(dir.path());
        let beside = dir.path().join("facelatch.service.d");
        std::fs::create_dir(&beside).unwrap();
        std::fs::copy(shipped(name), beside.join(name)).unwrap();
        let Some(said) = analyze(&["verify", "--man=no", "./facelatch.service"], dir.path()) else { return };
        let complaints = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && complaints.is_empty(), "{name}: {complaints}");
    }
}

#[test]
fn the_service_is_hardly_exposed() {
    let threshold = format!("--threshold={MOST_EXPOSED}");
    let unit = shipped("facelatch.service");
    let args = ["security", "--offline=true", "--no-pager", &threshold, unit.to_str().unwrap()];
    let Some(said) = analyze(&args, Path::new("/")) else { return };
    let text = String::from_utf8_lossy(&said.stdout);
    let exposure = text.lines().find(|line| line.contains("Overall exposure")).unwrap_or_default();
    assert!(said.status.success() && !exposure.is_empty(), "{text}{}", String::from_utf8_lossy(&said.stderr));
}
