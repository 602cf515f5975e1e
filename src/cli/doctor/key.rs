//! The master key: whether it is there, and whether the service can have it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Checked, Finding, Level, Visit, is_its_directorys};
use crate::cli::context::{Context, SERVICE_STATE};
use crate::cli::exit::Failure;
use crate::draft::parent;
use crate::gallery::{KeyPlaces, SERVICE_KEY};

const ROOT: u32 = 0;

impl Visit<'_> {
    /// What [`check`] found, and whether the service can have that.
    pub(super) fn key(&mut self, found: Checked) -> Result<(), Failure> {
        let judged = found.and_then(|says| {
            Ok(match out_of_reach(self.ctx)? {
                Some(why) => (Level::Complaint, format!("{says}; {why}")),
                None => (Level::Ok, says),
            })
        });
        let (level, says) = judged.unwrap_or_else(|why| (Level::Wrong, why));
        self.show(Finding { check: "key", level, says })
    }
}

pub(super) fn check(ctx: &Context) -> Checked {
    let (places, store) = places(ctx)?;
    let has_key = !is_absent(&places.file) || places.credentials.is_some() || places.sealed().is_some();
    if is_absent(&store) && !has_key {
        return Ok(format!("{}: not there yet, made at first use", places.file.display()));
    }
    places.find(&store).map(|found| found.from.display().to_string()).map_err(|error| error.to_string())
}

/// What is worth a complaint: a key that is neither where systemd takes it from nor beside the gallery, and that the
/// service's user, whose the gallery's directory is, can't read.
///
/// # Errors
/// One beside the gallery is somebody else's.
fn out_of_reach(ctx: &Context) -> Result<Option<String>, String> {
    let (places, store) = places(ctx)?;
    let (key, dir) = (&places.file, parent(&store));
    if key == Path::new(SERVICE_KEY) || is_absent(key) {
        return Ok(None);
    }
    if parent(key) == dir {
        return is_its_directorys(key).map(|()| None);
    }
    let uid = |path: &Path| std::fs::metadata(path).map(|meta| meta.uid()).ok();
    // Until its first start the service's own directory may still be root's.
    let is_out_of_reach = uid(key)
        .zip(uid(dir))
        .is_some_and(|(own, directorys)| own != directorys || (own == ROOT && dir == Path::new(SERVICE_STATE)));
    Ok(is_out_of_reach.then(|| {
        format!("the service can't read it there: move it to {SERVICE_KEY}, root's with mode 0600, and say so in store.key_file")
    }))
}

pub(super) fn places(ctx: &Context) -> Result<(KeyPlaces, PathBuf), String> {
    let said = |failure: Failure| failure.to_string();
    Ok((ctx.key_places().map_err(said)?, ctx.store_path().map_err(said)?))
}

/// Certainly: what this user may not look at may be there, and what a link leads to, on a disk that isn't mounted.
pub(super) fn is_absent(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Globals;

    /// A user who exists nowhere.
    const SOMEBODY: u32 = 54_321;

    #[test]
    fn a_gallery_on_a_disk_that_is_not_mounted_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut ctx = Context::without_config(Globals::default());
        ctx.config.store.state_dir = Some(dir.path().to_owned());
        assert!(check(&ctx).unwrap().contains("made at first use"));
        std::os::unix::fs::symlink("/mnt/disk/facelatch.db", ctx.store_path().unwrap()).unwrap();
        let why = check(&ctx).unwrap_err();
        assert!(why.contains("is a link to /mnt/disk/facelatch.db"), "{why}");
        let failure = ctx.store().map(drop).unwrap_err();
        assert_eq!(failure.code(), crate::cli::exit::Code::NoInput, "{failure}");
        assert!(ctx.has_store().unwrap());
        assert!(!dir.path().join("facelatch.key").exists());
    }

    #[test]
    fn a_key_elsewhere_that_the_gallerys_owner_can_not_read_is_a_complaint_that_says_where_to() {
        let dir = tempfile::tempdir().unwrap();
        let (state, key) = (dir.path().join("state"), dir.path().join("door.key"));
        std::fs::create_dir(&state).unwrap();
        let mut ctx = Context::without_config(Globals::default());
        ctx.config.store.state_dir = Some(state.clone());
        ctx.config.store.key_file = Some(key.clone());
        assert_eq!(out_of_reach(&ctx), Ok(None), "made at first use");
        std::fs::write(&key, "").unwrap();
        assert_eq!(out_of_reach(&ctx), Ok(None), "the same user's");
        if !crate::testing::give_away(&state, SOMEBODY) {
            return;
        }
        let why = out_of_reach(&ctx).unwrap().unwrap();
        assert!(why.contains("can't read it there: move it to /etc/facelatch/facelatch.key"), "{why}");
        let beside = state.join("facelatch.key");
        std::fs::write(&beside, "").unwrap();
        ctx.config.store.key_file = Some(beside);
        assert!(
            out_of_reach(&ctx).unwrap_err().contains("chown --reference"),
            "beside the gallery it must be the daemon's"
        );
        ctx.config.store.key_file = Some(SERVICE_KEY.into());
        assert_eq!(out_of_reach(&ctx), Ok(None), "systemd reads that for the service");
    }
}
