//! A sensor whose driver fills a buffer, read from /dev/iio:deviceN without waiting.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, DynamicClockId, clock_gettime, clock_gettime_dynamic};

use super::attribute::{read_number, read_text, shared};
use super::scan::{Element, MAX_ELEMENTS, Scan};
use super::{Places, channels, is_counted, period, value};
use crate::hw::denied;
use crate::hw::sensors::config::SensorConfig;
use crate::hw::sensors::failure;
use crate::ports::{DeviceError, Reading, Sensor, SensorKind, Value};
use crate::time::{Duration, Instant};

/// Scans that the kernel is asked to keep, and that are read at once: 0.6 s at 100 Hz.
const SCANS: usize = 64;
/// Reads at most until what the kernel kept from before is gone: buffers are some dozens to thousands of scans long.
const MAX_STALE_READS: usize = 256;
/// The kernel's driver of these (max30102.c) lets the chip interrupt it once 31 of its queue's 32 places are taken, and
/// takes one sample then, the oldest: after that one have come the 30 that stay.
const HOLDING: [&str; 3] = ["max30101", "max30102", "max30105"];
const HELD: usize = 30;
/// From one of their samples to the next: that driver lets the chip measure 400 times a second and average four.
const HOLDING_PERIOD: Duration = Duration::from_millis(10);
/// Readings that wait for whoever polls; the oldest goes first.
const MAX_WAITING: usize = 64;

pub(super) struct Buffered {
    config: SensorConfig,
    name: String,
    /// Samples that stay in the chip when one comes out of it.
    held: usize,
    /// From one sample to the next, by which those without stamps are told.
    period: Duration,
    file: File,
    scan: Scan,
    /// Of the channels that make the value, in its order: scale, offset.
    scales: Vec<(f64, f64)>,
    full_scales: [Option<f64>; 2],
    /// The clock of the time stamps, where there are any; they are the scan's last element.
    stamps: Option<Clock>,
    bytes: Vec<u8>,
    waiting: VecDeque<(Instant, Value<'static>)>,
}

/// The clocks that IIO lets drivers stamp with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Boottime,
    Monotonic,
    MonotonicRaw,
    Realtime,
    Tai,
}

impl Clock {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "boottime" => Some(Self::Boottime),
            "monotonic" | "monotonic_coarse" => Some(Self::Monotonic),
            "monotonic_raw" => Some(Self::MonotonicRaw),
            "realtime" | "realtime_coarse" => Some(Self::Realtime),
            "tai" => Some(Self::Tai),
            _ => None,
        }
    }

    /// Nanoseconds.
    fn now(self) -> i128 {
        let time = match self {
            Self::Boottime => clock_gettime(ClockId::Boottime),
            Self::Monotonic => clock_gettime(ClockId::Monotonic),
            Self::MonotonicRaw => clock_gettime(ClockId::MonotonicRaw),
            Self::Realtime => clock_gettime(ClockId::Realtime),
            // It is older than any kernel that this runs on, so that nothing is fallen back on.
            Self::Tai => {
                clock_gettime_dynamic(DynamicClockId::Tai).unwrap_or_else(|_| clock_gettime(ClockId::Realtime))
            }
        };
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    }
}

/// When a sample was taken, of its stamp and that clock's present. One from the future can't be true; the time of
/// reading stands for it, which is the latest that it can have been.
fn taken_at(stamp: i128, clock_now: i128, now: Instant) -> Instant {
    let age = u64::try_from(clock_now - stamp).unwrap_or(0);
    now.before(Duration::from_nanos(age))
}

impl Buffered {
    pub(super) fn open(config: &SensorConfig, dir: &Path, places: &Places) -> Result<Self, DeviceError> {
        let device = &config.device;
        let wanted = wanted(config, dir)?;
        let is_running = matches!(read_text(&dir.join("buffer/enable")).as_deref(), Ok("1"));
        if !is_running {
            start(dir, &wanted).map_err(|error| {
                let reason = format!(
                    "its buffer can't be started ({error}); install systemd/61-facelatch-sensors.rules, which does it \
                     when the device appears, or run as root"
                );
                failure(device, reason)
            })?;
        }
        let elements = elements(dir);
        let place = |channel: &str| elements.iter().position(|(name, _)| name == channel);
        let mut order = Vec::new();
        for channel in &wanted {
            let Some(place) = place(channel) else {
                return Err(failure(
                    device,
                    format!("its buffer runs without {channel}: switch it on in the udev rule"),
                ));
            };
            order.push(place);
        }
        let stamps = place("in_timestamp").and_then(|place| {
            order.push(place);
            // The ABI's default where nothing is said. By a clock that isn't known no stamp says anything.
            let clock = read_text(&dir.join("current_timestamp_clock"));
            clock.map_or(Some(Clock::Realtime), |name| Clock::parse(&name))
        });
        // Those that aren't ours take their room all the same.
        order.extend((0..elements.len()).filter(|i| !order.contains(i)).collect::<Vec<_>>());
        let ordered: Vec<_> = order.iter().map(|i| elements[*i].1).collect();
        let scan = Scan::new(&ordered).ok_or_else(|| failure(device, "its buffer has no channels".to_owned()))?;
        let is_counted = is_counted(config.kind);
        let scales = wanted.iter().map(|name| match is_counted {
            true => Ok((1.0, 0.0)),
            false => Ok((shared(dir, name, "scale", 1.0)?, shared(dir, name, "offset", 0.0)?)),
        });
        let scales: io::Result<Vec<_>> = scales.collect();
        let full = |i: usize| ordered.get(i).filter(|_| i < wanted.len()).map(|(_, element)| element.full_scale());
        let name = read_text(&dir.join("name")).unwrap_or_else(|_| "unnamed".to_owned());
        let is_holding = HOLDING.contains(&name.as_str());
        let (held, period) = if is_holding { (HELD, HOLDING_PERIOD) } else { (0, period(config)) };
        let mut sensor = Self {
            config: config.clone(),
            name,
            held,
            period,
            file: open_node(dir, places).map_err(|(path, error)| failure(&path, why_not(&error)))?,
            bytes: vec![0; scan.size() * SCANS],
            scan,
            scales: scales.map_err(|error| failure(device, error.to_string()))?,
            full_scales: [full(0), full(1)],
            stamps,
            waiting: VecDeque::with_capacity(MAX_WAITING),
        };
        sensor.discard().map_err(|error| failure(device, why_not(&error)))?;
        Ok(sensor)
    }

    /// Throws away what the kernel has: a buffer that ran before it was opened, as the udev rules start it, was full
    /// long ago and has taken nothing since, and without stamps its scans can't be told from new ones.
    fn discard(&mut self) -> io::Result<()> {
        for _ in 0..MAX_STALE_READS {
            if self.fill()? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The bytes that have come into the buffer's beginning, 0 where there are none.
    fn fill(&mut self) -> io::Result<usize> {
        match self.file.read(&mut self.bytes) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            read => read,
        }
    }

    /// Takes over what the kernel has.
    fn read(&mut self, now: Instant) -> io::Result<()> {
        let length = self.fill()?;
        let scans = self.bytes[..length].chunks_exact(self.scan.size());
        if !scans.remainder().is_empty() {
            return Err(io::Error::other(format!("{length} bytes are no whole scans of {}", self.scan.size())));
        }
        let (count, clock_now) = (scans.len(), self.stamps.map(Clock::now));
        for (i, scan) in scans.enumerate() {
            let mut read = [0.0; 3];
            for (at, (to, (scale, offset))) in read.iter_mut().zip(&self.scales).enumerate() {
                *to = (self.scan.number(at, scan).unwrap_or(0) as f64 + offset) * scale;
            }
            let stamp = clock_now.and_then(|now| Some((self.scan.number(self.scales.len(), scan)?, now)));
            let at = match stamp {
                Some((stamp, clock_now)) => taken_at(stamp, clock_now, now),
                // Without stamps the last has come just now, and those before it at the sensor's rate.
                None => now.before(self.period * (self.held + count - 1 - i) as u32),
            };
            if self.waiting.len() == MAX_WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back((at, value(&self.config, read, self.full_scales)));
        }
        Ok(())
    }
}

impl Sensor for Buffered {
    fn kind(&self) -> SensorKind {
        self.config.kind
    }

    /// In the order of time, one a call.
    fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        if self.waiting.is_empty() {
            self.read(now).map_err(|error| failure(&self.config.device, why_not(&error)))?;
        }
        Ok(self.waiting.pop_front().map(|(at, value)| Reading { at, value }))
    }

    fn describe(&self) -> String {
        let stamped = if self.stamps.is_some() { "stamped" } else { "without time stamps" };
        format!("{} by IIO ({}), buffered, {stamped}", self.config.kind.as_str(), self.name)
    }
}

/// The names of the channels that make the value.
fn wanted(config: &SensorConfig, dir: &Path) -> Result<Vec<&'static str>, DeviceError> {
    let mut wanted = Vec::new();
    for names in channels(config.kind) {
        let there = names.iter().copied().find(|name| scan_file(dir, name, "type").is_some());
        let Some(name) = there else {
            let kind = config.kind.as_str();
            let reason = format!("its buffer has no {}, which a sensor of kind {kind} needs", names[0]);
            return Err(failure(&config.device, reason));
        };
        wanted.push(name);
    }
    Ok(wanted)
}

/// Since Linux 5.11 the channels are in buffer0, and in scan_elements as ever.
fn scan_file(dir: &Path, channel: &str, what: &str) -> Option<PathBuf> {
    let places = ["scan_elements", "buffer0"].map(|place| dir.join(place).join(format!("{channel}_{what}")));
    places.into_iter().find(|path| path.is_file())
}

/// The channels that are switched on, with their place and form.
fn elements(dir: &Path) -> Vec<(String, (u32, Element))> {
    let place = ["scan_elements", "buffer0"].map(|place| dir.join(place)).into_iter().find(|place| place.is_dir());
    let Some(place) = place else { return Vec::new() };
    let entries = std::fs::read_dir(&place).map(|entries| entries.flatten().take(4 * MAX_ELEMENTS).collect::<Vec<_>>());
    let mut elements = Vec::new();
    for entry in entries.unwrap_or_default() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some(channel) = file.strip_suffix("_en") else { continue };
        let attribute = |what: &str| place.join(format!("{channel}_{what}"));
        let is_on = read_number(&attribute("en")).is_ok_and(|on| on == 1.0);
        let index = read_number(&attribute("index")).ok().filter(|index| (0.0..1e6).contains(index));
        let element = read_text(&attribute("type")).ok().and_then(|text| Element::parse(&text));
        if let (true, Some(index), Some(element)) = (is_on, index, element) {
            elements.push((channel.to_owned(), (index as u32, element)));
        }
    }
    elements
}

/// Switches the wanted channels, the time stamp and the buffer on.
fn start(dir: &Path, wanted: &[&str]) -> io::Result<()> {
    // Kernels before 4.5 have no choice of clock, and some drivers no stamps.
    let _left_as_it_is = std::fs::write(dir.join("current_timestamp_clock"), "boottime");
    if let Some(stamp) = scan_file(dir, "in_timestamp", "en") {
        std::fs::write(stamp, "1")?;
    }
    for channel in wanted {
        let path =
            scan_file(dir, channel, "en").ok_or_else(|| io::Error::other(format!("{channel} can't be switched")))?;
        std::fs::write(path, "1")?;
    }
    std::fs::write(dir.join("buffer/length"), SCANS.to_string())?;
    std::fs::write(dir.join("buffer/enable"), "1")
}

/// The device's node has its directory's name.
fn open_node(dir: &Path, places: &Places) -> Result<File, (PathBuf, io::Error)> {
    let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let path = places.dev.join(real.file_name().unwrap_or_default());
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).map_err(|error| (path, error))
}

fn why_not(error: &io::Error) -> String {
    let by_mode = "systemd/61-facelatch-sensors.rules gives it to group facelatch";
    if let Some(advice) = denied::advice(error.raw_os_error(), by_mode) {
        return format!("no permission: {advice}");
    }
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            "in use by another program: `fuser -v` on it (Debian package psmisc) tells which".to_owned()
        }
        Some(libc::ENODEV) => "the sensor was removed".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_counts_by_its_age_and_one_from_the_future_not_at_all() {
        let now = Instant::from_millis(9_000);
        assert_eq!(taken_at(1_000_000_000, 1_500_000_000, now), Instant::from_millis(8_500));
        assert_eq!(taken_at(2_000_000_000, 1_500_000_000, now), now);
        assert_eq!(taken_at(i128::from(i64::MIN), 0, now), Instant::BOOT);
        assert_eq!(Clock::parse("lunar"), None);
    }
}
