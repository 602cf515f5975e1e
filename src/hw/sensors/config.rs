//! `[[sensor]]` of the configuration: one section a sensor.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::ports::SensorKind;

/// Most sensors that a door has.
pub const MAX_SENSORS: usize = 16;

/// What stands before a socket's path.
const SOCKET: &str = "unix:";

/// One sensor: what it measures, what drives it, where it is and how it is mounted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorConfig {
    #[serde(deserialize_with = "kind")]
    pub kind: SensorKind,
    pub driver: Driver,
    /// Of IIO the device's name, label, `iio:deviceN` or path in sysfs; else a path below /dev, or `unix:` and the path
    /// of a socket.
    pub device: PathBuf,
    /// On the I2C bus; left out, the one that the chip has as it is sold.
    pub address: Option<u8>,
    /// Measurements a second; left out, what suits the driver.
    pub rate_hz: Option<f32>,
    /// Of a grid, across and down in degrees, as it is mounted; left out, that of the chip.
    pub view_deg: Option<[f32; 2]>,
    /// Of a grid: how far its picture must be turned clockwise to stand upright, degrees.
    #[serde(default)]
    pub rotate: u16,
    /// Of a grid: whether left and right are exchanged. Done before turning.
    #[serde(default)]
    pub mirror: bool,
    /// Of proximity and touch: the raw value that counts as 1.
    pub full_scale: Option<f32>,
    /// Of proximity: the raw value of the channel without the illuminator that counts as 1.
    pub dark_full_scale: Option<f32>,
    /// Of the MLX90640: how much of its heat a surface radiates, 0 to 1; skin has 0.98.
    pub emissivity: Option<f32>,
    /// Of a grid on a serial port: bits a second.
    pub baud: Option<u32>,
}

named! {
    /// What speaks to the device.
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    Driver {
        /// The kernel's Industrial I/O.
        Iio = "iio",
        /// Melexis' 32x24 thermal array on I2C.
        Mlx90640 = "mlx90640",
        /// Panasonic's Grid-EYE, 8x8, on I2C.
        Amg8833 = "amg8833",
        /// ST's 8x8 time of flight on I2C, and its kin VL53L7CX and VL53L8CX.
        Vl53l5cx = "vl53l5cx",
        /// A video device that gives temperatures: a Lepton with TLinear on a PureThermal board.
        V4l2Thermal = "v4l2-thermal",
        /// Lines of numbers from a microcontroller or another program.
        Grid = "grid",
    }
}

impl Driver {
    /// What it can measure.
    pub const fn kinds(self) -> &'static [SensorKind] {
        use SensorKind::{Acceleration, Depth, Distance, Light, Proximity, Thermal, Thermometer, Touch};
        match self {
            Self::Iio => &[Distance, Thermometer, Proximity, Light, Touch, Acceleration],
            Self::Mlx90640 | Self::Amg8833 | Self::V4l2Thermal => &[Thermal],
            Self::Vl53l5cx => &[Depth],
            Self::Grid => &[Depth, Thermal],
        }
    }

    const fn is_on_i2c(self) -> bool {
        matches!(self, Self::Mlx90640 | Self::Amg8833 | Self::Vl53l5cx)
    }

    /// Measurements a second where the configuration doesn't say.
    const fn usual_rate(self, kind: SensorKind) -> f32 {
        match (self, kind) {
            // Half of the pixels each time. 0.28 K of noise, by 0.1 K at 1 Hz (its data sheet, NETD), about as much as
            // liveness was trained with; at 16 Hz it is 0.4 K.
            (Self::Mlx90640, _) => 8.0,
            // The chip's faster setting.
            (Self::Amg8833, _) => 10.0,
            // The most that 8x8 zones allow (UM2884).
            (Self::Vl53l5cx, _) => 15.0,
            // Export rules keep the Lepton below 9 Hz.
            (Self::V4l2Thermal, _) => 9.0,
            // Faster than its filter settles gains nothing (MLX90614 datasheet, table of settling times).
            (Self::Iio, SensorKind::Thermometer) => 10.0,
            // As fast as the MAX30102's driver measures. Where a buffer has no stamps, and its driver's rate isn't
            // known, by a lower rate readings would be told to be older than they are.
            (Self::Iio, SensorKind::Touch) => 100.0,
            _ => 25.0,
        }
    }

    /// Most measurements a second that it may be asked for, and why; `None` where the other side decides.
    const fn most(self) -> Option<(f32, &'static str)> {
        match self {
            Self::Iio => Some((100.0, "nothing here needs more")),
            // At 32 Hz the next half is there before one has been read, 36 ms at 400 kHz.
            Self::Mlx90640 => Some((16.0, "a bus of 400 kHz carries no more")),
            Self::Amg8833 => Some((10.0, "the chip gives no more")),
            Self::Vl53l5cx => Some((15.0, "the chip gives no more")),
            Self::V4l2Thermal | Self::Grid => None,
        }
    }
}

/// Least measurements a second of a kind. Liveness bridges gaps of 0.25 s, of what is slow to change 0.5 s, of touch
/// 0.12 s (`hold_ms` in models/liveness-channels.toml; a test compares them), and a reading may come a pause of its
/// thread later. Of an accelerometer it makes no channel.
pub const fn least_rate(kind: SensorKind) -> f32 {
    match kind {
        SensorKind::Distance | SensorKind::Depth | SensorKind::Proximity => 5.0,
        SensorKind::Thermometer | SensorKind::Thermal | SensorKind::Light => 2.5,
        SensorKind::Touch => 10.0,
        SensorKind::Acceleration => 0.5,
    }
}

fn kind<'de, D: Deserializer<'de>>(from: D) -> Result<SensorKind, D::Error> {
    let name = String::deserialize(from)?;
    SensorKind::parse(&name).ok_or_else(|| {
        let known: Vec<_> = SensorKind::ALL.into_iter().map(|kind| format!("`{}`", kind.as_str())).collect();
        serde::de::Error::custom(format!("a sensor's kind is one of {}", known.join(", ")))
    })
}

/// A key of a section, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub key: &'static str,
    pub why: String,
}

impl SensorConfig {
    /// A section with what it must have, all else left out.
    pub fn new(kind: SensorKind, driver: Driver, device: impl Into<PathBuf>) -> Self {
        Self {
            kind,
            driver,
            device: device.into(),
            address: None,
            rate_hz: None,
            view_deg: None,
            rotate: 0,
            mirror: false,
            full_scale: None,
            dark_full_scale: None,
            emissivity: None,
            baud: None,
        }
    }

    /// Measurements a second.
    pub fn rate(&self) -> f32 {
        self.rate_hz.unwrap_or(self.driver.usual_rate(self.kind))
    }

    /// The path of the socket from which it comes, if it does.
    pub fn socket(&self) -> Option<&Path> {
        let device = self.device.to_str().filter(|_| self.driver == Driver::Grid)?;
        device.strip_prefix(SOCKET).map(Path::new)
    }

    /// Whether every key makes sense for this kind and driver.
    ///
    /// # Errors
    /// The first key that doesn't.
    pub fn check(&self) -> Result<(), Wrong> {
        let wrong = |key, why: String| Err(Wrong { key, why });
        let kinds = self.driver.kinds();
        if !kinds.contains(&self.kind) {
            let known: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
            return wrong("driver", format!("{} measures {} only", self.driver.as_str(), known.join(", ")));
        }
        if self.device.as_os_str().is_empty() {
            return wrong("device", "names no device".to_owned());
        }
        let is_grid = matches!(self.kind, SensorKind::Depth | SensorKind::Thermal);
        let is_share = matches!(self.kind, SensorKind::Proximity | SensorKind::Touch);
        // Each key that only some sensors have: whether it stands there, whether it may.
        let keys = [
            ("address", self.address.is_some(), self.driver.is_on_i2c()),
            ("rate_hz", self.rate_hz.is_some(), self.driver.most().is_some()),
            ("view_deg", self.view_deg.is_some(), is_grid),
            ("rotate", self.rotate != 0, is_grid),
            ("mirror", self.mirror, is_grid),
            ("full_scale", self.full_scale.is_some(), is_share),
            ("dark_full_scale", self.dark_full_scale.is_some(), self.kind == SensorKind::Proximity),
            ("emissivity", self.emissivity.is_some(), self.driver == Driver::Mlx90640),
            ("baud", self.baud.is_some(), self.driver == Driver::Grid),
        ];
        if let Some((key, ..)) = keys.into_iter().find(|(_, is_there, may_be)| *is_there && !may_be) {
            let why = format!("means nothing for kind {} by driver {}", self.kind.as_str(), self.driver.as_str());
            return wrong(key, why);
        }
        if !matches!(self.rotate, 0 | 90 | 180 | 270) {
            return wrong("rotate", format!("{} is out of range: 0, 90, 180 or 270", self.rotate));
        }
        self.check_rate()?;
        self.check_ranges()
    }

    fn check_rate(&self) -> Result<(), Wrong> {
        let (Some(rate), Some((most, why_most))) = (self.rate_hz, self.driver.most()) else { return Ok(()) };
        let least = least_rate(self.kind);
        let why_least = match self.kind {
            SensorKind::Acceleration => "with fewer a second it is taken for silent",
            _ => "with fewer a second nobody is ever called alive",
        };
        if (least..=most).contains(&rate) {
            return Ok(());
        }
        let why = if rate > most { why_most } else { why_least };
        Err(Wrong { key: "rate_hz", why: format!("{rate} is out of range, {least} to {most}: {why}") })
    }

    fn check_ranges(&self) -> Result<(), Wrong> {
        let view = |i: usize| self.view_deg.map(|view| view[i]);
        // Written positively: NaN is in no range. The addresses are those that I2C leaves to devices.
        let ranges = [
            ("address", self.address.map(f32::from), 8.0..=119.0),
            ("view_deg", view(0), 1.0..=160.0),
            ("view_deg", view(1), 1.0..=160.0),
            ("full_scale", self.full_scale, 1.0..=1e9),
            ("dark_full_scale", self.dark_full_scale, 1.0..=1e9),
            ("emissivity", self.emissivity, 0.1..=1.0),
            ("baud", self.baud.map(|baud| baud as f32), 9600.0..=4_000_000.0),
        ];
        let out = ranges.into_iter().find_map(|(key, value, range)| {
            let value = value.filter(|value| !range.contains(value))?;
            let why = format!("{value} is out of range, {} to {}", range.start(), range.end());
            Some(Wrong { key, why })
        });
        out.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SensorConfig, String> {
        let config: SensorConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|wrong| format!("{}: {}", wrong.key, wrong.why)).map(|()| config)
    }

    #[test]
    fn a_section_needs_kind_driver_and_device_and_nothing_else() {
        let config = parse("kind = \"distance\"\ndriver = \"iio\"\ndevice = \"vl53l0x\"").unwrap();
        assert_eq!(config, SensorConfig::new(SensorKind::Distance, Driver::Iio, "vl53l0x"));
        assert_eq!(config.rate(), 25.0);
        assert!(parse("kind = \"distance\"\ndriver = \"iio\"").unwrap_err().contains("device"));
        let said = parse("kind = \"smell\"\ndriver = \"iio\"\ndevice = \"x\"").unwrap_err();
        assert!(said.contains("one of `distance`, `depth`"), "{said}");
    }

    #[test]
    fn drivers_and_kinds_are_known_by_what_they_are_called() {
        for driver in Driver::ALL {
            assert_eq!(Driver::parse(driver.as_str()), Some(driver));
            let text =
                format!("kind = \"{}\"\ndriver = {:?}\ndevice = \"x\"", driver.kinds()[0].as_str(), driver.as_str());
            assert_eq!(parse(&text).map(|config| config.driver), Ok(driver));
        }
        assert_eq!((Driver::parse("i2c"), SensorKind::parse("smell")), (None, None));
    }

    #[test]
    fn a_key_that_means_nothing_for_the_sensor_is_refused() {
        let iio = "driver = \"iio\"\ndevice = \"x\"\n";
        for key in
            ["address = 41", "view_deg = [45, 45]", "rotate = 90", "mirror = true", "emissivity = 0.9", "baud = 9600"]
        {
            let said = parse(&format!("kind = \"light\"\n{iio}{key}")).unwrap_err();
            assert!(said.contains("means nothing for kind light by driver iio"), "{said}");
        }
        let said = parse("kind = \"depth\"\ndriver = \"mlx90640\"\ndevice = \"/dev/i2c-1\"").unwrap_err();
        assert_eq!(said, "driver: mlx90640 measures thermal only");
        assert!(parse("kind = \"depth\"\ndriver = \"iio\"\ndevice = \"x\"\nrotat = 90").is_err());
    }

    #[test]
    fn a_number_out_of_its_range_is_refused() {
        let mlx = "kind = \"thermal\"\ndriver = \"mlx90640\"\ndevice = \"/dev/i2c-1\"\n";
        assert!(parse(mlx).is_ok());
        for key in [
            "address = 3",
            "address = 120",
            "rate_hz = 0",
            "rate_hz = nan",
            "view_deg = [55, 170]",
            "rotate = 45",
            "emissivity = 1.5",
        ] {
            let said = parse(&format!("{mlx}{key}")).unwrap_err();
            assert!(said.contains("is out of range"), "{said}");
        }
        let touch = "kind = \"touch\"\ndriver = \"iio\"\ndevice = \"max30102\"\nfull_scale = ";
        assert!(parse(&format!("{touch}262143")).is_ok() && parse(&format!("{touch}0")).is_err());
        assert!(parse(&format!("{touch}inf")).is_err());
        let depth = "kind = \"depth\"\ndriver = \"vl53l5cx\"\ndevice = \"/dev/i2c-1\"\nrate_hz = ";
        assert!(parse(&format!("{depth}15")).is_ok() && parse(&format!("{depth}16")).is_err());
        let said = parse(&format!("{depth}4")).unwrap_err();
        assert_eq!(said, "rate_hz: 4 is out of range, 5 to 15: with fewer a second nobody is ever called alive");
        let said = parse(&format!("{mlx}rate_hz = 32")).unwrap_err();
        assert_eq!(said, "rate_hz: 32 is out of range, 2.5 to 16: a bus of 400 kHz carries no more");
        let lines = "kind = \"depth\"\ndriver = \"grid\"\ndevice = \"/dev/ttyACM0\"\nrate_hz = 15";
        assert!(parse(lines).unwrap_err().contains("rate_hz: means nothing"));
    }
}
