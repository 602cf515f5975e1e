//! Whether what is in the memory may be written to a disk: the master key and the templates are.

use std::path::Path;

use super::Level;

/// What swaps, and where the kernel lists what groups of processes can be held to.
const SWAPS: &str = "proc/swaps";
const CONTROLLERS: &str = "sys/fs/cgroup/cgroup.controllers";

/// Below `/`, or a stand-in for it.
pub fn check(root: &Path) -> (Level, String) {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let swaps = read(SWAPS);
    let devices: Vec<_> = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let on_disk: Vec<_> = devices.iter().copied().filter(|device| !is_in_memory(root, device)).collect();
    if on_disk.is_empty() {
        return (Level::Ok, if devices.is_empty() { "none" } else { "within the memory alone" }.into());
    }
    let on_disk = on_disk.join(", ");
    if read(CONTROLLERS).split_whitespace().any(|controller| controller == "memory") {
        return (Level::Ok, format!("{on_disk}; the service is kept out of it (MemorySwapMax=0)"));
    }
    let says = format!(
        "{on_disk}, and this kernel was booted without the memory controller, so that the unit's MemorySwapMax=0 does nothing: the key \
         and the templates may be written there. Take the swap away (sudo swapoff -a, and disable what sets it up), or have zram \
         alone, or add cgroup_enable=memory to /boot/firmware/cmdline.txt and reboot"
    );
    (Level::Complaint, says)
}

/// zram is compressed memory, unless it has a device that it writes back to.
fn is_in_memory(root: &Path, device: &str) -> bool {
    let Some(name) = device.strip_prefix("/dev/").filter(|name| name.starts_with("zram")) else { return false };
    let back = std::fs::read_to_string(root.join("sys/block").join(name).join("backing_dev"));
    back.map_or(true, |back| back.trim() == "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

    fn on(swaps: &[&str], controllers: Option<&str>, zram_writes_to: &str) -> (Level, String) {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let lines = swaps.iter().map(|swap| format!("{swap}\tpartition\t102396\t\t0\t\t-2\n"));
        put(SWAPS, &format!("{HEADER}{}", lines.collect::<String>()));
        controllers.into_iter().for_each(|controllers| put(CONTROLLERS, controllers));
        put("sys/block/zram0/backing_dev", zram_writes_to);
        check(root.path())
    }

    #[test]
    fn swap_on_a_disk_that_the_service_cannot_be_kept_out_of_is_worth_a_complaint() {
        for controllers in [None, Some("cpuset cpu io pids\n"), Some("cpu memory.high\n")] {
            let (level, says) = on(&["/var/swap"], controllers, "none\n");
            assert_eq!(level, Level::Complaint, "{says}");
            assert!(says.starts_with("/var/swap, and") && says.contains("swapoff"), "{says}");
            assert!(says.contains("cgroup_enable=memory"), "{says}");
        }
        let (level, says) = on(&["/dev/zram0"], None, "/dev/loop0\n");
        assert!(level == Level::Complaint && says.starts_with("/dev/zram0, and"), "{says}");
    }

    #[test]
    fn no_swap_or_one_in_memory_or_one_that_the_service_is_kept_out_of_is_well() {
        let well = [
            on(&[], None, "none\n"),
            on(&["/dev/zram0"], None, "none\n"),
            on(&["/var/swap", "/dev/zram0"], Some("cpuset cpu io memory pids\n"), "none\n"),
        ];
        assert_eq!(well.map(|(level, _)| level), [Level::Ok; 3]);
        assert_eq!(check(Path::new("/nowhere")).0, Level::Ok, "what the kernel doesn't list isn't there");
    }
}
