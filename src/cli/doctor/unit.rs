//! What systemd runs the service by, where there are two units or a drop-in that was left over; and whether its journal
//! is kept.

use std::path::{Path, PathBuf};

use super::{Finding, Level, Visit};
use crate::cli::exit::Failure;
use crate::gallery::SERVICE_KEY;

const DROP_INS: &str = "etc/systemd/system/facelatch.service.d";
/// Of an installation by hand, and systemd's choice before any other.
pub(super) const BY_HAND: &str = "etc/systemd/system/facelatch.service";
/// The package's.
pub(super) const PACKAGED: &str = "usr/lib/systemd/system/facelatch.service";

impl Visit<'_> {
    /// Told where there is something to tell. `root` is `/`, or a stand-in for it.
    pub(super) fn unit(&mut self, root: &Path) -> Result<(), Failure> {
        for says in shadowed(root).into_iter().chain(keyless(root)) {
            self.show(Finding { check: "unit", level: Level::Complaint, says })?;
        }
        Ok(())
    }

    /// The same for the journal.
    pub(super) fn journal(&mut self, root: &Path) -> Result<(), Failure> {
        if !forgets(root) {
            return Ok(());
        }
        let says = "kept in memory alone: the reasons are gone at the next power cut (docs/install.md)".to_owned();
        self.show(Finding { check: "journal", level: Level::Complaint, says })
    }
}

/// Whether systemd's journal lies in the memory: it has a directory on the disk, and one in that, only where it is
/// kept.
fn forgets(root: &Path) -> bool {
    let mut kept = std::fs::read_dir(root.join("var/log/journal")).into_iter().flatten().flatten();
    root.join("run/systemd/system").is_dir() && !kept.any(|entry| entry.path().is_dir())
}

/// Drop-ins that take the key away from the service and give it no sealed one (systemd/facelatch-sealed-key.conf): the
/// key was made anew since, and the door would never know anybody.
fn keyless(root: &Path) -> Option<String> {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    if !below(SERVICE_KEY).exists() {
        return None;
    }
    let drop_ins = std::fs::read_dir(root.join(DROP_INS)).ok()?.flatten().map(|entry| entry.path());
    let mut confs: Vec<_> = drop_ins.filter(|path| path.extension().is_some_and(|ending| ending == "conf")).collect();
    confs.sort();
    let takes_it = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines =
            || text.lines().filter_map(|line| line.split_once('=').map(|(key, value)| (key.trim(), value.trim())));
        let sealed = |(key, value): (&str, &str)| {
            let place = value.split_once(':').filter(|_| key == "LoadCredentialEncrypted");
            place.is_some_and(|(_, place)| below(place).exists())
        };
        lines().any(|line| line == ("LoadCredential", "")) && !lines().any(sealed)
    };
    let conf = confs.into_iter().find(takes_it)?;
    let conf = conf.strip_prefix(root).unwrap_or(&conf).display();
    Some(format!(
        "/{conf} takes {SERVICE_KEY} from the service: remove it, sudo systemctl daemon-reload, then restart the daemon"
    ))
}

fn shadowed(root: &Path) -> Option<String> {
    [BY_HAND, PACKAGED].iter().all(|unit| root.join(unit).exists()).then(|| {
        format!(
            "/{BY_HAND} is in force, and not the package's /{PACKAGED}: if it is of an installation by hand, remove it (docs/upkeep.md)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_drop_in_that_takes_the_key_for_a_sealed_one_that_is_gone_is_told() {
        let root = tempfile::tempdir().unwrap();
        let sealed_key = include_str!("../../../systemd/facelatch-sealed-key.conf");
        put(root.path(), "etc/systemd/system/facelatch.service.d/sealed-key.conf", sealed_key);
        put(root.path(), "etc/systemd/system/facelatch.service.d/devices.conf", "[Service]\nDevicePolicy=closed\n");
        assert_eq!(keyless(root.path()), None, "there is no key yet to take");
        put(root.path(), "etc/facelatch/facelatch.key", "");
        let told = keyless(root.path()).unwrap();
        assert!(told.starts_with("/etc/systemd/system/facelatch.service.d/sealed-key.conf takes"), "{told}");
        put(root.path(), "etc/facelatch/facelatch.key.cred", "");
        assert_eq!(keyless(root.path()), None, "the service has the sealed one");
    }

    #[test]
    fn a_journal_in_memory_is_told_where_systemd_runs() {
        let root = tempfile::tempdir().unwrap();
        assert!(!forgets(root.path()), "no systemd");
        std::fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        assert!(forgets(root.path()));
        std::fs::create_dir_all(root.path().join("var/log/journal")).unwrap();
        assert!(forgets(root.path()), "an empty directory may be of another machine's image");
        std::fs::create_dir(root.path().join("var/log/journal/0123")).unwrap();
        assert!(!forgets(root.path()));
    }

    #[test]
    fn a_unit_of_an_installation_by_hand_is_told_where_it_hides_the_packages() {
        for (by_hand, packaged) in [(false, false), (true, false), (false, true), (true, true)] {
            let root = tempfile::tempdir().unwrap();
            for unit in
                [(BY_HAND, by_hand), (PACKAGED, packaged)].into_iter().filter_map(|(unit, is)| is.then_some(unit))
            {
                let unit = root.path().join(unit);
                std::fs::create_dir_all(unit.parent().unwrap()).unwrap();
                std::fs::write(unit, "").unwrap();
            }
            let told = shadowed(root.path());
            assert_eq!(told.is_some(), by_hand && packaged, "{told:?}");
        }
    }
}
