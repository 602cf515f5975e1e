//! Which of the chips that facelatch speaks to by itself may hang on an I2C bus.
//!
//! Only their addresses are called, and nothing is said: a bare address with the write bit, or one byte read where a
//! chip or its bus knows no other way (what `i2cdetect` does, with `-r` on such a bus). Asking a chip for its identity
//! would have to write a register's number, and another chip at that address would take the number for a value. Left
//! alone are buses that no device tree describes, which on a PC lead to memory modules and graphics cards, those of
//! displays, and addresses that a driver of the kernel has.

use std::path::{Path, PathBuf};

use super::config::Driver;
use super::iio::read_text;

/// Most buses that are looked at.
const MAX_BUSES: usize = 32;
/// How buses of displays are called, by the kernel or in the device tree.
const DISPLAYS: [&str; 4] = ["hdmi", "ddc", "dpaux", "gmbus"];

/// How an address is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The address and the write bit, no byte after it; one byte read where the bus can't do so.
    Quick,
    /// One byte read. From 0x30 to 0x37 and 0x50 to 0x5f an old memory takes a bare write for a command.
    ReadByte,
}

/// Each chip where it may be.
const CHIPS: [(Driver, u8, Call); 4] = [
    (Driver::Vl53l5cx, 0x29, Call::Quick),
    (Driver::Mlx90640, 0x33, Call::ReadByte),
    (Driver::Amg8833, 0x69, Call::Quick),
    (Driver::Amg8833, 0x68, Call::Quick),
];

/// A chip that may be there: something answers at its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub driver: Driver,
    pub bus: PathBuf,
    pub address: u8,
}

/// Why a bus was left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftAlone {
    /// It may lead to memory modules or a graphics card.
    NoDeviceTree,
    Display,
    /// The module i2c-dev is not loaded.
    NoNode,
}

/// A bus, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bus {
    pub device: PathBuf,
    pub left_alone: Option<LeftAlone>,
    pub candidates: Vec<Candidate>,
}

/// Every bus of `sys` (/sys/bus/i2c/devices) whose node is in `dev`. `answers` calls an address; `false` where nobody
/// answers or it can't be called.
pub fn probe(sys: &Path, dev: &Path, mut answers: impl FnMut(&Path, u8, Call) -> bool) -> Vec<Bus> {
    let number = |name: String| name.strip_prefix("i2c-")?.parse::<u32>().ok();
    let listed = std::fs::read_dir(sys).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = listed.filter_map(|entry| number(entry.file_name().into_string().ok()?)).collect();
    numbers.sort_unstable();
    numbers.truncate(MAX_BUSES);
    let bus = |n: u32| {
        let device = dev.join(format!("i2c-{n}"));
        let left_alone = why_alone(&sys.join(format!("i2c-{n}")), &device);
        let free = |address: &u8| !sys.join(format!("{n}-{address:04x}")).exists();
        let chips = CHIPS.into_iter().filter(|(_, address, _)| left_alone.is_none() && free(address));
        let found = chips.filter(|(_, address, call)| answers(&device, *address, *call));
        let candidate = |(driver, address, _)| Candidate { driver, bus: device.clone(), address };
        let candidates = found.map(candidate).collect();
        Bus { device, left_alone, candidates }
    };
    numbers.into_iter().map(bus).collect()
}

fn why_alone(sys: &Path, device: &Path) -> Option<LeftAlone> {
    let compatible = std::fs::read(sys.join("of_node/compatible")).unwrap_or_default();
    let named = [read_text(&sys.join("name")).unwrap_or_default(), String::from_utf8_lossy(&compatible).into_owned()];
    let is_display = named.iter().any(|name| DISPLAYS.iter().any(|display| name.to_lowercase().contains(display)));
    if !sys.join("of_node").exists() {
        return Some(LeftAlone::NoDeviceTree);
    }
    if is_display {
        return Some(LeftAlone::Display);
    }
    (!device.exists()).then_some(LeftAlone::NoNode)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Board(tempfile::TempDir);

    impl Board {
        fn new() -> Self {
            let board = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir_all(board.at("dev")).unwrap();
            board
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn bus(&self, n: u32, name: &str, compatible: Option<&str>) {
            let sys = self.at(&format!("sys/i2c-{n}"));
            std::fs::create_dir_all(&sys).unwrap();
            std::fs::write(sys.join("name"), name).unwrap();
            std::fs::write(self.at(&format!("dev/i2c-{n}")), "").unwrap();
            if let Some(compatible) = compatible {
                std::fs::create_dir(sys.join("of_node")).unwrap();
                std::fs::write(sys.join("of_node/compatible"), compatible).unwrap();
            }
        }

        fn probe(&self, answers: impl FnMut(&Path, u8, Call) -> bool) -> Vec<Bus> {
            probe(&self.at("sys"), &self.at("dev"), answers)
        }
    }

    #[test]
    fn an_address_that_answers_is_a_candidate_and_one_that_a_driver_has_is_not_called() {
        let board = Board::new();
        board.bus(1, "bcm2835 (i2c@7e804000)", Some("brcm,bcm2711-i2c\0brcm,bcm2835-i2c\0"));
        std::fs::create_dir_all(board.at("sys/1-0029")).unwrap();
        let mut called = Vec::new();
        let buses = board.probe(|_, address, call| {
            called.push((address, call));
            address != 0x69
        });
        assert_eq!(called, [(0x33, Call::ReadByte), (0x69, Call::Quick), (0x68, Call::Quick)]);
        let found: Vec<_> = buses[0].candidates.iter().map(|c| (c.driver, c.address)).collect();
        assert_eq!(found, [(Driver::Mlx90640, 0x33), (Driver::Amg8833, 0x68)]);
        assert_eq!((buses[0].left_alone, &buses[0].candidates[0].bus), (None, &board.at("dev/i2c-1")));
    }

    #[test]
    fn buses_of_a_pc_and_of_displays_are_left_alone() {
        let board = Board::new();
        board.bus(0, "SMBus I801 adapter at efa0", None);
        board.bus(2, "i915 gmbus dpb", None);
        board.bus(20, "fef04500.i2c", Some("brcm,bcm2711-hdmi-i2c\0"));
        let buses = board.probe(|bus, address, _| panic!("{} {address:#x} was called", bus.display()));
        let why: Vec<_> = buses.iter().map(|bus| bus.left_alone).collect();
        let no_tree = Some(LeftAlone::NoDeviceTree);
        assert_eq!(why, [no_tree, no_tree, Some(LeftAlone::Display)]);
        assert!(probe(Path::new("/nowhere"), Path::new("/nowhere"), |_, _, _| true).is_empty());
    }

    #[test]
    fn a_bus_without_its_node_can_not_be_asked() {
        let board = Board::new();
        board.bus(1, "bcm2835", Some("brcm,bcm2835-i2c\0"));
        std::fs::remove_file(board.at("dev/i2c-1")).unwrap();
        let buses = board.probe(|_, _, _| panic!("there is nothing to call"));
        assert_eq!(buses[0].left_alone, Some(LeftAlone::NoNode));
    }
}
