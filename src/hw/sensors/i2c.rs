//! The I2C bus of Linux behind the traits that drivers' crates are written for.

use std::io;
use std::path::Path;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{self, I2c, NoAcknowledgeSource, Operation};
use i2cdev::core::{I2CDevice as _, I2CMessage as _, I2CTransfer as _};
use i2cdev::linux::{LinuxI2CBus, LinuxI2CDevice, LinuxI2CMessage};

use super::buses::Call;
use super::failure;
use crate::hw::denied;
use crate::ports::DeviceError;

/// The most that the kernel takes in one message (I2C_RDWR in drivers/i2c/i2c-dev.c).
const MAX_MESSAGE_BYTES: usize = 8192;
/// Messages in one transfer (I2C_RDWR_IOCTL_MAX_MSGS).
const MAX_MESSAGES: usize = 42;

/// /dev/i2c-N.
pub(super) struct LinuxBus(LinuxI2CBus);

impl LinuxBus {
    /// For the chip at an address.
    pub(super) fn open(path: &Path, address: u8) -> Result<Self, DeviceError> {
        let asked = LinuxI2CDevice::new(path, address.into()).map(|_device| ()).map_err(io::Error::from);
        let opened = unless_taken(asked).and_then(|()| LinuxI2CBus::new(path).map_err(io::Error::from));
        opened.map(Self).map_err(|error| failure(path, why_closed(&error)))
    }
}

/// Of what the kernel says to whoever asks for an address alone (I2C_SLAVE), the one thing that it says of no message:
/// a driver has the address, and messages would go between its own.
fn unless_taken(asked: io::Result<()>) -> io::Result<()> {
    asked.or_else(|error| if error.raw_os_error() == Some(libc::EBUSY) { Err(error) } else { Ok(()) })
}

fn why_closed(error: &io::Error) -> String {
    let raw = error.raw_os_error();
    if raw == Some(libc::ENOENT) {
        return "no such bus: switch I2C on (a Raspberry Pi: dtparam=i2c_arm=on) and load the module i2c-dev"
            .to_owned();
    }
    if raw == Some(libc::EBUSY) {
        return "a driver of the kernel has the chip's address: remove its overlay".to_owned();
    }
    denied::in_group(raw, "i2c").map_or_else(|| error.to_string(), |advice| format!("no permission: {advice}"))
}

/// Whether something answers when its address is called; `false` as well where the bus can't be opened or a driver of
/// the kernel has the address.
pub fn answers(bus: &Path, address: u8, call: Call) -> bool {
    let Ok(mut device) = LinuxI2CDevice::new(bus, address.into()) else { return false };
    is_answered(call, |call| {
        let called = match call {
            Call::Quick => device.smbus_write_quick(false),
            Call::ReadByte => device.smbus_read_byte().map(|_byte| ()),
        };
        called.map_err(io::Error::from)
    })
}

/// A bus that sends no bare address, as those of a Tegra and DesignWare's can't (I2C_AQ_NO_ZERO_LEN), reads a byte in
/// its place.
fn is_answered(call: Call, mut ask: impl FnMut(Call) -> io::Result<()>) -> bool {
    match ask(call) {
        Err(error) if call == Call::Quick && !is_nobody(&error) => ask(Call::ReadByte).is_ok(),
        called => called.is_ok(),
    }
}

/// Whether nobody acknowledged the address.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENXIO | libc::EREMOTEIO))
}

/// Why the bus did not do it: what the kernel says.
#[derive(Debug)]
pub(super) struct BusError(io::Error);

impl std::fmt::Display for BusError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if is_nobody(&self.0) {
            return write!(f, "nobody answers at that address ({}): wiring, power, `i2cdetect -y`", self.0);
        }
        match self.0.raw_os_error() {
            Some(libc::ETIMEDOUT) => write!(f, "the bus hangs ({}): a wire that is too long, or no pull-ups", self.0),
            _ => self.0.fmt(f),
        }
    }
}

impl i2c::Error for BusError {
    fn kind(&self) -> i2c::ErrorKind {
        match is_nobody(&self.0) {
            true => i2c::ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown),
            false => i2c::ErrorKind::Other,
        }
    }
}

impl i2c::ErrorType for LinuxBus {
    type Error = BusError;
}

impl I2c for LinuxBus {
    /// Writes that follow each other are one on the wire, which the kernel has no message for; they are joined here.
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), BusError> {
        let too_long = || BusError(io::Error::other("a message that is longer than the kernel takes"));
        let joined = joined_writes(operations);
        if joined.iter().any(|bytes| bytes.len() > MAX_MESSAGE_BYTES) || operations.len() > MAX_MESSAGES {
            return Err(too_long());
        }
        let mut messages = Vec::with_capacity(operations.len());
        let mut writes = joined.iter();
        let mut is_within_write = false;
        for operation in operations {
            match operation {
                Operation::Write(_) if is_within_write => {}
                Operation::Write(_) => {
                    let bytes = writes.next().ok_or_else(too_long)?;
                    messages.push(LinuxI2CMessage::write(bytes).with_address(address.into()));
                    is_within_write = true;
                }
                Operation::Read(into) => {
                    if into.len() > MAX_MESSAGE_BYTES {
                        return Err(too_long());
                    }
                    messages.push(LinuxI2CMessage::read(into).with_address(address.into()));
                    is_within_write = false;
                }
            }
        }
        self.0.transfer(&mut messages).map(|_| ()).map_err(|error| BusError(error.into()))
    }
}

/// Each run of writes as one.
fn joined_writes(operations: &[Operation<'_>]) -> Vec<Vec<u8>> {
    let mut joined: Vec<Vec<u8>> = Vec::new();
    let mut is_within = false;
    for operation in operations {
        match operation {
            Operation::Write(bytes) => match joined.last_mut().filter(|_| is_within) {
                Some(last) => last.extend_from_slice(bytes),
                None => joined.push(bytes.to_vec()),
            },
            Operation::Read(_) => {}
        }
        is_within = matches!(operation, Operation::Write(_));
    }
    joined
}

/// A bus behind the traits of embedded-hal 0.2, for which mlx9064x is written.
pub(super) struct Old<B>(pub B);

impl<B: I2c> embedded_hal_02::blocking::i2c::Write for Old<B> {
    type Error = B::Error;

    fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), B::Error> {
        self.0.write(address, bytes)
    }
}

impl<B: I2c> embedded_hal_02::blocking::i2c::WriteRead for Old<B> {
    type Error = B::Error;

    fn write_read(&mut self, address: u8, bytes: &[u8], into: &mut [u8]) -> Result<(), B::Error> {
        self.0.write_read(address, bytes, into)
    }
}

/// Lets time pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sleep;

impl DelayNs for Sleep {
    fn delay_ns(&mut self, ns: u32) {
        std::thread::sleep(std::time::Duration::from_nanos(ns.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_that_follow_each_other_are_one() {
        let (mut a, mut b) = ([0; 2], [0; 1]);
        let operations = [
            Operation::Write(&[1, 2]),
            Operation::Write(&[3]),
            Operation::Read(&mut a),
            Operation::Write(&[4]),
            Operation::Read(&mut b),
        ];
        assert_eq!(joined_writes(&operations), [vec![1, 2, 3], vec![4]]);
    }

    #[test]
    fn a_bus_that_is_missing_or_silent_says_what_to_do() {
        let error = LinuxBus::open(Path::new("/dev/i2c-987"), 0x33).err().unwrap();
        assert!(error.to_string().starts_with("/dev/i2c-987: no such bus"), "{error}");
        assert!(!answers(Path::new("/dev/i2c-987"), 0x33, Call::Quick));
        let closed = |raw| why_closed(&io::Error::from_raw_os_error(raw));
        assert!(closed(libc::EACCES).contains("group i2c") && closed(libc::EPERM).contains("facelatch devices"));
        let silent = BusError(io::Error::from_raw_os_error(libc::EREMOTEIO));
        assert!(silent.to_string().contains("i2cdetect"));
    }

    #[test]
    fn an_address_that_a_driver_has_is_refused_and_one_that_can_not_be_asked_for_is_not() {
        let asked = |raw| unless_taken(Err(io::Error::from_raw_os_error(raw)));
        let said = why_closed(&asked(libc::EBUSY).unwrap_err());
        assert!(said.starts_with("a driver of the kernel has the chip's address"), "{said}");
        assert!(asked(libc::ENOTTY).is_ok() && unless_taken(Ok(())).is_ok());
        let busy = BusError(io::Error::from_raw_os_error(libc::EBUSY));
        assert!(!busy.to_string().contains("driver"), "a message is told so of a bus that is busy: {busy}");
    }

    #[test]
    fn a_message_that_the_kernel_would_refuse_is_not_sent() {
        // It refuses every call of a bus's in words of its own.
        let mut bus = LinuxBus::open(Path::new("/dev/null"), 0x29).unwrap();
        let mut said = |bytes: usize| bus.write(0x29, &vec![0; bytes]).unwrap_err().to_string();
        assert!(said(MAX_MESSAGE_BYTES + 1).contains("longer than the kernel takes"));
        assert!(!said(MAX_MESSAGE_BYTES).contains("longer"));
    }

    /// Whether a chip is found, and how it was called, where its bus refuses some calls with these.
    fn called(call: Call, quick: Option<i32>, byte: Option<i32>) -> (bool, Vec<Call>) {
        let mut calls = Vec::new();
        let is_answered = is_answered(call, |call| {
            calls.push(call);
            let refuses = if call == Call::Quick { quick } else { byte };
            refuses.map_or(Ok(()), |raw| Err(io::Error::from_raw_os_error(raw)))
        });
        (is_answered, calls)
    }

    #[test]
    fn a_chip_on_a_bus_that_sends_no_bare_address_is_found_by_a_byte() {
        let (quick, byte) = (Call::Quick, Call::ReadByte);
        assert_eq!(called(quick, None, None), (true, vec![quick]));
        for unsupported in [libc::EOPNOTSUPP, libc::EINVAL] {
            assert_eq!(called(quick, Some(unsupported), None), (true, vec![quick, byte]));
            assert_eq!(called(quick, Some(unsupported), Some(libc::EREMOTEIO)), (false, vec![quick, byte]));
        }
        for nobody in [libc::ENXIO, libc::EREMOTEIO] {
            assert_eq!(called(quick, Some(nobody), None), (false, vec![quick]));
        }
        assert_eq!(called(byte, None, Some(libc::ENXIO)), (false, vec![byte]));
    }
}
