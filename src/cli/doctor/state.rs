//! The state directory: whether it is there, has space, outlives a power cut, and whether the service may write it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::unit::{BY_HAND, PACKAGED};
use super::{Checked, Finding, Level, Visit};
use crate::cli::context::{Context, SERVICE_STATE};
use crate::cli::exit::Failure;

/// Less than this is no space: what is written goes into a log beside the database first.
const MIN_BYTES: u64 = 1 << 20;
/// Kinds of file systems, by statfs(2).
const OVERLAY: u32 = 0x794C_7630;
const TMPFS: u32 = 0x0102_1994;
const RAMFS: u32 = 0x8584_58F6;
/// There where systemd runs the board.
const SYSTEMD: &str = "run/systemd/system";
/// What is said of the unit beside it.
const DROP_INS: &str = "etc/systemd/system/facelatch.service.d";

impl Visit<'_> {
    /// `root` is `/`, or a stand-in for it where systemd is looked for.
    pub(super) fn state(&mut self, root: &Path) -> Result<(), Failure> {
        let (level, says) = match check(self.ctx) {
            Err(says) => (Level::Wrong, says),
            Ok(says) => {
                let kind = self.ctx.state_dir().ok().and_then(|dir| rustix::fs::statfs(dir).ok());
                let doubts = [
                    kind.and_then(|kind| fleeting(kind.f_type as u32)).map(str::to_owned),
                    self.ctx.config.store.state_dir.as_ref().and_then(|dir| beyond_the_service(root, dir)),
                    linked(root),
                ];
                let doubts: Vec<_> = doubts.into_iter().flatten().collect();
                match doubts.is_empty() {
                    true => (Level::Ok, says),
                    false => (Level::Complaint, format!("{says}: {}", doubts.join("; "))),
                }
            }
        };
        self.show(Finding { check: "state", level, says })
    }
}

fn check(ctx: &Context) -> Checked {
    let dir = ctx.state_dir().map_err(|failure| failure.to_string())?;
    let shown = dir.display();
    let meta = match std::fs::metadata(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(format!("{shown}: not there yet, made at first use"));
        }
        Err(error) => return Err(format!("{shown}: {error}; run as root (sudo), or as the user that owns it")),
        Ok(meta) => meta,
    };
    if !meta.is_dir() {
        return Err(format!("{shown} is no directory; move it away, or name another with --state or store.state_dir"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(format!("{shown} can be written by others (mode {:04o}): chmod 700 {shown}", meta.mode() & 0o7777));
    }
    if let Err(error) = rustix::fs::access(&dir, rustix::fs::Access::WRITE_OK) {
        return Err(format!(
            "{shown} can't be written ({error}): run as root (sudo) or as the user that owns it, or remount it"
        ));
    }
    let space = rustix::fs::statvfs(&dir).map_err(|error| format!("{shown}: {error}"))?;
    match is_full(space.f_bavail.saturating_mul(space.f_frsize), space.f_files, space.f_favail) {
        true => Err(format!("no space is left in {shown}: nothing can be recorded, so nobody is admitted; free some")),
        false => Ok(shown.to_string()),
    }
}

/// Of what others than root may use: bytes, and inodes, which some file systems don't count and say that they have none
/// of.
fn is_full(bytes: u64, inodes: u64, free_inodes: u64) -> bool {
    bytes < MIN_BYTES || (inodes > 0 && free_inodes == 0)
}

fn fleeting(kind: u32) -> Option<&'static str> {
    match kind {
        OVERLAY => Some("on an overlay: if its upper layer is memory, what is enrolled is gone after a power cut"),
        TMPFS | RAMFS => Some("in memory: what is enrolled is gone after a power cut; put it on a disk"),
        _ => None,
    }
}

/// Why the service can't write a directory that the configuration names; `None` where it may, and where there is no
/// service.
fn beyond_the_service(root: &Path, dir: &Path) -> Option<String> {
    if dir.starts_with(SERVICE_STATE) || !root.join(SYSTEMD).exists() {
        return None;
    }
    let unit = [BY_HAND, PACKAGED].iter().find_map(|unit| std::fs::read_to_string(root.join(unit)).ok())?;
    let mut drop_ins: Vec<PathBuf> =
        std::fs::read_dir(root.join(DROP_INS)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    drop_ins.sort();
    let said = drop_ins.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let unit: String = [unit].into_iter().chain(said).flat_map(|text| [text, "\n".to_owned()]).collect();
    is_shut(&unit, dir).then(|| {
        format!(
            "the service may not write there (ProtectSystem=strict): let it by a drop-in, /{DROP_INS}/state.conf, of two lines, \
             [Service] and ReadWritePaths={}, then sudo systemctl daemon-reload",
            dir.display()
        )
    })
}

/// By a unit and what its drop-ins say after it.
fn is_shut(unit: &str, dir: &Path) -> bool {
    let said =
        |key: &'static str| unit.lines().filter_map(move |line| line.trim().strip_prefix(key)?.strip_prefix('='));
    let may_write = |path: &str| dir.starts_with(path.trim_start_matches(['-', '+']));
    said("ProtectSystem").next_back().is_some_and(|value| value.trim() == "strict")
        && !said("ReadWritePaths").flat_map(str::split_whitespace).any(may_write)
}

fn linked(root: &Path) -> Option<String> {
    let at = root.join(SERVICE_STATE.trim_start_matches('/'));
    let is_link = std::fs::symlink_metadata(at).is_ok_and(|meta| meta.is_symlink());
    (is_link && root.join(SYSTEMD).exists())
        .then(|| format!("{SERVICE_STATE} is a link, which systemd doesn't follow: mount the disk there instead"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_without_bytes_or_without_inodes_where_they_are_counted() {
        assert!(is_full(MIN_BYTES - 1, 100, 50) && is_full(0, 0, 0) && is_full(1 << 30, 100, 0));
        assert!(!is_full(MIN_BYTES, 100, 1) && !is_full(1 << 30, 0, 0), "btrfs counts no inodes");
    }

    #[test]
    fn what_a_power_cut_empties_is_told_from_a_disk() {
        assert!([TMPFS, RAMFS, OVERLAY].into_iter().all(|kind| fleeting(kind).unwrap().contains("after a power cut")));
        // ext4, btrfs, f2fs.
        assert!([0xEF53, 0x9123_683E, 0xF2F5_2010].into_iter().all(|kind| fleeting(kind).is_none()));
    }

    #[test]
    fn a_directory_that_the_unit_shuts_is_told_with_what_opens_it() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let dir = Path::new("/mnt/disk/door");
        put(PACKAGED, include_str!("../../../systemd/facelatch.service"));
        assert_eq!(beyond_the_service(root.path(), dir), None, "systemd doesn't run this");
        std::fs::create_dir_all(root.path().join(SYSTEMD)).unwrap();
        let says = beyond_the_service(root.path(), dir).unwrap();
        assert!(says.contains("state.conf") && says.contains("ReadWritePaths=/mnt/disk/door,"), "{says}");
        assert_eq!(beyond_the_service(root.path(), Path::new("/var/lib/facelatch/a")), None);
        put(&format!("{DROP_INS}/state.conf"), "[Service]\nReadWritePaths=-/srv /mnt/disk\n");
        assert_eq!(beyond_the_service(root.path(), dir), None);
        assert!(beyond_the_service(root.path(), Path::new("/mnt/disks")).is_some());
        put(&format!("{DROP_INS}/system.conf"), "[Service]\nProtectSystem=full\n");
        assert_eq!(beyond_the_service(root.path(), Path::new("/mnt/disks")), None);
    }

    #[test]
    fn a_link_in_the_services_place_is_told_where_systemd_is() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/lib")).unwrap();
        std::os::unix::fs::symlink("/mnt/disk", root.path().join("var/lib/facelatch")).unwrap();
        assert_eq!(linked(root.path()), None);
        std::fs::create_dir_all(root.path().join(SYSTEMD)).unwrap();
        assert!(linked(root.path()).unwrap().contains("mount the disk there"));
    }
}
