//! Which unit systemd runs the service by, where there are two.

use std::path::Path;

use super::{Finding, Level, Visit};
use crate::cli::exit::Failure;

/// Of an installation by hand, and systemd's choice before any other.
pub(super) const BY_HAND: &str = "etc/systemd/system/facelatch.service";
/// The package's.
pub(super) const PACKAGED: &str = "usr/lib/systemd/system/facelatch.service";

impl Visit<'_> {
    /// Told where there is something to tell. `root` is `/`, or a stand-in for it.
    pub(super) fn unit(&mut self, root: &Path) -> Result<(), Failure> {
        let Some(says) = shadowed(root) else { return Ok(()) };
        self.show(Finding { check: "unit", level: Level::Complaint, says })
    }
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
