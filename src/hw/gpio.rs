//! What strike and inputs share: naming a line of a GPIO chip, and sentences for what can be wrong with it.

#![forbid(unsafe_code)]

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::Deserialize;

use crate::hw::denied;

/// The name under which the kernel lists our lines (`gpioinfo` shows it).
pub const CONSUMER: &str = "facelatch";

/// What is on the wire: ground or supply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Low,
    High,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::High => "high",
        })
    }
}

/// A line of a chip: `17` (its offset) or `"GPIO17"` (the name that the board's device tree gives it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineId {
    Offset(u32),
    Name(String),
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(n) => write!(f, "{n}"),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for LineId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = LineId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a line's offset such as 17 or its name such as \"GPIO17\"")
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<LineId, E> {
                u32::try_from(n)
                    .map(LineId::Offset)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(n), &self))
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<LineId, E> {
                u32::try_from(n)
                    .map(LineId::Offset)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(n), &self))
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<LineId, E> {
                if name.is_empty() {
                    return Err(E::invalid_value(serde::de::Unexpected::Str(name), &self));
                }
                Ok(LineId::Name(name.to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What a configuration calls the chip of the board's header. Not by a number: a Raspberry Pi 5's has been gpiochip4,
/// gpiochip0 and gpiochip11, as its kernel had it.
pub const HEADER: &str = "header";
/// What begins the label of a Raspberry Pi's header, of each model.
const HEADER_LABEL: &str = "pinctrl-";

/// The chip that lines are on where the configuration names none.
pub fn default_chip() -> PathBuf {
    PathBuf::from(HEADER)
}

/// Where the chip is now that a configuration names: of [`HEADER`] the one with a header's label, else
/// /dev/gpiochip0.
pub fn place(chip: &Path) -> PathBuf {
    if chip != Path::new(HEADER) {
        return chip.to_owned();
    }
    let label =
        |path: &PathBuf| gpiocdev::Chip::from_path(path).and_then(|chip| chip.info()).ok().map(|info| info.label);
    let nodes = nodes(Path::new("/dev"));
    header(nodes.iter().filter_map(|path| Some((path, label(path)?))))
        .map_or_else(|| "/dev/gpiochip0".into(), PathBuf::clone)
}

/// The one chip whose label is a header's, where there is one.
pub fn header<T>(chips: impl IntoIterator<Item = (T, impl AsRef<str>)>) -> Option<T> {
    let mut found = chips.into_iter().filter(|(_, label)| label.as_ref().starts_with(HEADER_LABEL));
    found.next().filter(|_| found.next().is_none()).map(|(chip, _)| chip)
}

/// Why a line can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpioError {
    #[error("there is no {}: `gpiodetect` (Debian package gpiod) lists the chips of this board", chip.display())]
    NoChip { chip: PathBuf },
    #[error("{} is no GPIO chip: `gpiodetect` (Debian package gpiod) lists the chips of this board", chip.display())]
    NotAChip { chip: PathBuf },
    #[error("no permission on {}: {advice}", chip.display())]
    NoPermission { chip: PathBuf, advice: String },
    #[error("{} has no line {line}: `gpioinfo` (Debian package gpiod) lists them", chip.display())]
    NoLine { chip: PathBuf, line: LineId },
    #[error("line {line} of {} is in use by {by}: stop that, or wire another line", chip.display())]
    Busy { chip: PathBuf, line: LineId, by: String },
    #[error("line {line} of {} can't tell when its level changes: its chip has no interrupt for it", chip.display())]
    NoEdges { chip: PathBuf, line: LineId },
    #[error("line {line} of {}: {reason}", chip.display())]
    Other { chip: PathBuf, line: LineId, reason: String },
}

impl GpioError {
    /// Which kind of trouble it is, as the system's calls have it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoChip { .. } | Self::NotAChip { .. } | Self::NoLine { .. } => ErrorKind::NotFound,
            Self::NoPermission { .. } => ErrorKind::PermissionDenied,
            Self::Busy { .. } => ErrorKind::ResourceBusy,
            Self::NoEdges { .. } => ErrorKind::Unsupported,
            Self::Other { .. } => ErrorKind::Other,
        }
    }
}

/// What a chip's mode wants.
const BY_MODE: &str = "the kernel gives it to root alone; install the udev rule that gives it to group gpio and add the user to that \
                       group (a service: SupplementaryGroups=gpio)";

/// Most chips of a board that are looked at, and most lines of one.
const MAX_CHIPS: usize = 64;
const MAX_LINES: u32 = 1024;

/// A chip and its lines, in the order of their offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChipLines {
    pub chip: PathBuf,
    /// What the kernel's driver calls it.
    pub label: String,
    pub lines: Vec<LineState>,
}

/// One line as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineState {
    /// The board's name for it; empty where it has none.
    pub name: String,
    /// Who has it, where somebody has; empty where the kernel knows no name.
    pub held_by: Option<String>,
}

/// Every GPIO chip below `dev`, or why it can't be looked at. Takes no line and changes none.
pub fn chips(dev: &Path) -> Vec<Result<ChipLines, GpioError>> {
    nodes(dev).iter().map(|path| lines_of(path)).collect()
}

/// The chips' devices below `dev`. Each once: a Raspberry Pi's gpiochip4 may be a link to gpiochip0.
fn nodes(dev: &Path) -> Vec<PathBuf> {
    let is_chip = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.strip_prefix("gpiochip").is_some_and(|n| n.parse::<u32>().is_ok()))
    };
    let listed = std::fs::read_dir(dev).into_iter().flatten().flatten();
    let own = listed.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
    let mut paths: Vec<_> = own.map(|entry| entry.path()).filter(is_chip).collect();
    // gpiochip10 comes after gpiochip9.
    paths.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    paths.truncate(MAX_CHIPS);
    paths
}

/// The chip that a name leads to; the name itself where there is none.
pub fn real(chip: &Path) -> PathBuf {
    let chip = place(chip);
    chip.canonicalize().unwrap_or(chip)
}

/// Whether that is a number of the kernel's, or a Raspberry Pi's second one of its header, and no name that a rule gave
/// a chip.
pub fn is_numbered(chip: &Path) -> bool {
    chip.file_name().is_some_and(|name| name.to_string_lossy().starts_with("gpiochip"))
}

/// The module that drives a Raspberry Pi's header, by what begins the chip's label.
const PI_DRIVERS: [(&str, &str); 2] = [("pinctrl-rp1", "pinctrl_rp1"), ("pinctrl-bcm", "pinctrl_bcm2835")];

/// Whether the kernel says that the chip's outputs keep their level once no program holds them, and not where a driver
/// that could say so says nothing. `None` of any other chip: that is up to its driver. `modules` is /sys/module.
pub fn keeps_outputs(chip: &Path, modules: &Path) -> Option<bool> {
    let info = gpiocdev::Chip::from_path(place(chip)).and_then(|chip| chip.info()).ok()?;
    is_kept(&info.label, modules)
}

fn is_kept(label: &str, modules: &Path) -> Option<bool> {
    let (_, module) = PI_DRIVERS.iter().find(|(begins, _)| label.starts_with(begins))?;
    let says = std::fs::read_to_string(modules.join(module).join("parameters/persist_gpio_outputs"));
    Some(says.is_ok_and(|says| says.trim() == "Y"))
}

/// The offset of a line that is there and that nobody but facelatch holds. Takes nothing.
///
/// # Errors
/// [`GpioError`]: no such chip or line, no permission, in use and by whom.
pub fn probe(chip: &Path, line: &LineId) -> Result<u32, GpioError> {
    let chip = &place(chip);
    let (open, offset) = find(chip, line)?;
    let info = open.line_info(offset).map_err(|e| explain(chip, line, &e, None))?;
    match held_by_another(info.used, &info.consumer) {
        true => Err(busy(chip, line, Some(&info.consumer))),
        false => Ok(offset),
    }
}

fn held_by_another(is_used: bool, consumer: &str) -> bool {
    is_used && consumer != CONSUMER
}

fn lines_of(chip: &Path) -> Result<ChipLines, GpioError> {
    let wrong = |e: gpiocdev::Error| explain(chip, &LineId::Offset(0), &e, None);
    let open = gpiocdev::Chip::from_path(chip).map_err(wrong)?;
    let info = open.info().map_err(wrong)?;
    let state = |offset| {
        // A line that can't be asked about is nobody's to use.
        open.line_info(offset).map_or(LineState { name: String::new(), held_by: Some(String::new()) }, |info| {
            LineState { held_by: info.used.then_some(info.consumer), name: info.name }
        })
    };
    let lines = (0..info.num_lines.min(MAX_LINES)).map(state).collect();
    Ok(ChipLines { chip: chip.to_owned(), label: info.label, lines })
}

/// The offset of a line and an open chip to ask about it.
pub(crate) fn find(chip: &Path, line: &LineId) -> Result<(gpiocdev::Chip, u32), GpioError> {
    let chip = &place(chip);
    let open = gpiocdev::Chip::from_path(chip).map_err(|e| explain(chip, line, &e, None))?;
    let count = open.info().map_err(|e| explain(chip, line, &e, None))?.num_lines;
    let offset = match line {
        LineId::Offset(n) => (*n < count).then_some(*n),
        LineId::Name(name) => open.find_line_info(name).map(|info| info.offset),
    };
    match offset {
        Some(offset) => Ok((open, offset)),
        None => Err(GpioError::NoLine { chip: chip.to_owned(), line: line.clone() }),
    }
}

/// Asks the kernel for a line; `shape` says what it shall be. The error names who has it where it is taken.
pub(crate) fn request(
    chip: &Path,
    line: &LineId,
    shape: impl Fn(&mut gpiocdev::request::Builder),
) -> Result<(gpiocdev::Request, u32), GpioError> {
    let chip = &place(chip);
    let (open, offset) = find(chip, line)?;
    let mut builder = gpiocdev::Request::builder();
    builder.on_chip(chip).with_consumer(CONSUMER).with_line(offset);
    shape(&mut builder);
    match builder.request() {
        Ok(request) => Ok((request, offset)),
        Err(e) => {
            let holder = open.line_info(offset).ok().filter(|info| info.used).map(|info| info.consumer);
            Err(refused(chip, line, &e, holder.as_deref(), open.info().is_ok()))
        }
    }
}

/// A sentence for a line that was asked for. Of one without an interrupt, as on many chips behind I2C and in some banks
/// of others, the kernel says what it says of a chip that has gone: no such device (edge_detector_setup in
/// gpiolib-cdev.c).
fn refused(
    chip: &Path,
    line: &LineId,
    error: &gpiocdev::Error,
    holder: Option<&str>,
    is_chip_there: bool,
) -> GpioError {
    match explain(chip, line, error, holder) {
        GpioError::NoChip { chip } if is_chip_there => GpioError::NoEdges { chip, line: line.clone() },
        other => other,
    }
}

/// A sentence for what gpiocdev says; `holder` is the line's consumer where the kernel names one.
fn explain(chip: &Path, line: &LineId, error: &gpiocdev::Error, holder: Option<&str>) -> GpioError {
    let (chip, line) = (chip.to_owned(), line.clone());
    if matches!(error, gpiocdev::Error::GpioChip(..)) {
        return GpioError::NotAChip { chip };
    }
    let errno = errno(error);
    if let Some(advice) = denied::advice(errno.map(Errno::raw_os_error), BY_MODE) {
        return GpioError::NoPermission { chip, advice };
    }
    match errno {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => GpioError::NoChip { chip },
        Some(Errno::BUSY) => busy(&chip, &line, holder),
        _ => GpioError::Other { chip, line, reason: error.to_string() },
    }
}

fn busy(chip: &Path, line: &LineId, holder: Option<&str>) -> GpioError {
    let by = match holder {
        Some(name) if !name.is_empty() => format!("{name:?}"),
        _ => "another program or driver".to_owned(),
    };
    GpioError::Busy { chip: chip.to_owned(), line: line.clone(), by }
}

/// The system's error number behind a gpiocdev error, of a file or of an ioctl.
fn errno(error: &gpiocdev::Error) -> Option<Errno> {
    use gpiocdev_uapi::Error::Os;
    match error {
        gpiocdev::Error::Os(errno) | gpiocdev::Error::Uapi(_, Os(errno)) => Some(Errno::from_raw_os_error(errno.0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(raw: i32) -> gpiocdev::Error {
        std::io::Error::from_raw_os_error(raw).into()
    }

    #[test]
    fn each_refusal_of_the_kernel_becomes_a_sentence_that_says_what_to_do() {
        let (chip, line) = (Path::new("/dev/gpiochip0"), LineId::Offset(17));
        let say = |raw, holder| explain(chip, &line, &os(raw), holder).to_string();
        assert!(say(libc::EACCES, None).contains("group gpio"));
        assert!(say(libc::EPERM, None).contains("facelatch devices"));
        assert!(say(libc::ENOENT, None).contains("gpiodetect"));
        assert!(say(libc::EBUSY, Some("spi0 CS1")).contains("in use by \"spi0 CS1\""));
        assert!(say(libc::EBUSY, None).contains("another program or driver"));
        assert!(say(libc::EIO, None).starts_with("line 17 of /dev/gpiochip0: "));
        let kind = |raw| explain(chip, &line, &os(raw), None).kind();
        assert_eq!(
            [libc::EACCES, libc::ENOENT, libc::EBUSY, libc::EIO].map(kind),
            [ErrorKind::PermissionDenied, ErrorKind::NotFound, ErrorKind::ResourceBusy, ErrorKind::Other]
        );
    }

    #[test]
    fn a_line_without_an_interrupt_is_no_chip_that_is_missing() {
        let (chip, line) = (PathBuf::from("/dev/gpiochip2"), LineId::Offset(3));
        for raw in [libc::ENXIO, libc::ENODEV] {
            let said = |is_chip_there| refused(&chip, &line, &os(raw), None, is_chip_there);
            assert_eq!(said(true), GpioError::NoEdges { chip: chip.clone(), line: line.clone() });
            assert_eq!(said(false), GpioError::NoChip { chip: chip.clone() });
        }
        assert!(matches!(refused(&chip, &line, &os(libc::EBUSY), None, true), GpioError::Busy { .. }));
    }

    #[test]
    fn an_ioctl_is_refused_with_the_systems_number_as_a_file_is() {
        let busy = gpiocdev_uapi::Error::Os(gpiocdev_uapi::Errno(libc::EBUSY));
        assert_eq!(errno(&gpiocdev::Error::Uapi(gpiocdev::UapiCall::GetLine, busy)), Some(Errno::BUSY));
        assert_eq!(errno(&os(libc::EBUSY)), Some(Errno::BUSY));
        assert_eq!(errno(&gpiocdev::Error::NoAbiSupport()), None);
    }

    #[test]
    fn a_chip_that_is_missing_or_none_is_named() {
        let missing = find(Path::new("/dev/gpiochip987"), &LineId::Offset(0)).err().unwrap();
        assert_eq!(missing, GpioError::NoChip { chip: "/dev/gpiochip987".into() });
        let file = tempfile::NamedTempFile::new().unwrap();
        let no_chip = find(file.path(), &LineId::Offset(0)).err().unwrap();
        assert!(no_chip.to_string().contains("is no GPIO chip"), "{no_chip}");
    }

    #[test]
    fn chips_are_found_by_their_names_and_one_that_is_none_says_so() {
        let dev = tempfile::tempdir().unwrap();
        for name in ["gpiochip10", "gpiochip2", "gpiochip", "gpiochips", "video0"] {
            std::fs::write(dev.path().join(name), "").unwrap();
        }
        let found: Vec<_> = chips(dev.path()).into_iter().map(Result::unwrap_err).collect();
        let none = |name| GpioError::NotAChip { chip: dev.path().join(name) };
        assert_eq!(found, [none("gpiochip2"), none("gpiochip10")]);
        let (link, chip) = (dev.path().join("gpiochip4"), dev.path().join("gpiochip2"));
        std::os::unix::fs::symlink("gpiochip2", &link).unwrap();
        assert_eq!(chips(dev.path()).len(), 2, "a link is no chip more");
        assert_eq!(real(&link), chip.canonicalize().unwrap());
        assert_eq!(real(Path::new("/nowhere/gpiochip4")), Path::new("/nowhere/gpiochip4"));
        assert!(chips(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn the_header_is_the_one_chip_that_is_labelled_so_whatever_its_number() {
        let of = |labels: &[&'static str]| header(labels.iter().enumerate());
        assert_eq!(of(&["gpio-brcmstb@107d508500", "raspberrypi-exp-gpio", "pinctrl-rp1"]), Some(2));
        assert_eq!(of(&["pinctrl-bcm2711", "raspberrypi-exp-gpio"]), Some(0));
        assert_eq!(of(&["tegra234-gpio"]), None);
        assert_eq!(of(&["pinctrl-bcm2711", "pinctrl-rp1"]), None, "nobody knows which");
        assert_eq!(place(Path::new("/dev/gpiochip4")), Path::new("/dev/gpiochip4"));
        assert!(place(&default_chip()).starts_with("/dev"));
    }

    #[test]
    fn a_line_is_anothers_unless_it_is_free_or_facelatchs() {
        assert!(held_by_another(true, "spi0 CS1") && held_by_another(true, ""));
        assert!(!held_by_another(true, CONSUMER) && !held_by_another(false, ""));
        let none = probe(Path::new("/dev/gpiochip987"), &LineId::Offset(0)).unwrap_err();
        assert_eq!(none, GpioError::NoChip { chip: "/dev/gpiochip987".into() });
    }

    #[test]
    fn outputs_are_kept_where_the_driver_of_that_very_chip_says_so() {
        let modules = tempfile::tempdir().unwrap();
        let says = |module: &str, text: &str| {
            let parameters = modules.path().join(module).join("parameters");
            std::fs::create_dir_all(&parameters).unwrap();
            std::fs::write(parameters.join("persist_gpio_outputs"), text).unwrap();
        };
        let kept = |label| is_kept(label, modules.path());
        assert_eq!(["pinctrl-rp1", "pinctrl-bcm2711"].map(kept), [Some(false); 2], "it says nothing");
        says("pinctrl_bcm2835", "Y\n");
        says("pinctrl_rp1", "N\n");
        assert_eq!(["pinctrl-bcm2711", "pinctrl-bcm2835"].map(kept), [Some(true); 2]);
        assert_eq!(kept("pinctrl-rp1"), Some(false));
        says("pinctrl_rp1", "Y\n");
        assert_eq!(kept("pinctrl-rp1"), Some(true));
        assert_eq!(["tegra234-gpio", "gpio-brcmstb@107d508500"].map(kept), [None; 2], "nobody knows of another");
        assert_eq!(keeps_outputs(Path::new("/dev/gpiochip987"), modules.path()), None);
    }

    #[test]
    fn a_line_is_an_offset_or_a_name_and_nothing_else() {
        #[derive(Deserialize)]
        struct Wrap {
            line: LineId,
        }
        let read = |text: &str| toml::from_str::<Wrap>(text).map(|w| w.line);
        assert_eq!(read("line = 17"), Ok(LineId::Offset(17)));
        assert_eq!(read("line = \"GPIO17\""), Ok(LineId::Name("GPIO17".into())));
        for bad in ["line = -1", "line = \"\"", "line = true", "line = 5000000000"] {
            assert!(read(bad).unwrap_err().to_string().contains("such as \"GPIO17\""), "{bad}");
        }
    }
}
