//! A sensor whose attributes are read at its rate. Many drivers measure while they are read, up to 100 ms long.

use std::io;
use std::path::Path;

use super::attribute::{Attribute, shared};
use super::{channels, is_counted, period, value};
use crate::hw::clock::BootClock;
use crate::hw::sensors::config::SensorConfig;
use crate::hw::sensors::failure;
use crate::ports::{Clock, DeviceError, Reading, Sensor, SensorKind};
use crate::time::Instant;

/// At most three channels make a value.
const MAX_CHANNELS: usize = 3;

pub(super) struct Polled {
    config: SensorConfig,
    name: String,
    channels: heapless::Vec<Channel, MAX_CHANNELS>,
    next: Instant,
    clock: Box<dyn Clock>,
}

/// One number of a value.
struct Channel {
    name: &'static str,
    attribute: Attribute,
    scale: f64,
    offset: f64,
}

impl Channel {
    /// `in_x_input` is in the ABI's unit already, `in_x_raw` is to be offset and scaled.
    /// `None` where the device has no such channel.
    fn open(dir: &Path, name: &'static str, is_counted: bool) -> io::Result<Option<Self>> {
        let with = |ending: &str| match Attribute::open(&dir.join(format!("{name}_{ending}"))) {
            Ok(attribute) => Ok(Some(attribute)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io::Error::new(error.kind(), format!("{name}_{ending}: {error}"))),
        };
        if !is_counted && let Some(attribute) = with("input")? {
            return Ok(Some(Self { name, attribute, scale: 1.0, offset: 0.0 }));
        }
        let Some(attribute) = with("raw")? else { return Ok(None) };
        if is_counted {
            return Ok(Some(Self { name, attribute, scale: 1.0, offset: 0.0 }));
        }
        let (scale, offset) = (shared(dir, name, "scale", 1.0)?, shared(dir, name, "offset", 0.0)?);
        Ok(Some(Self { name, attribute, scale, offset }))
    }
}

impl Polled {
    pub(super) fn open(config: &SensorConfig, dir: &Path) -> Result<Self, DeviceError> {
        let mut opened = heapless::Vec::new();
        for names in channels(config.kind) {
            let mut found = names.iter().map(|name| Channel::open(dir, name, is_counted(config.kind)));
            let found = found.find_map(Result::transpose).transpose();
            let Some(channel) = found.map_err(|error| failure(&config.device, error.to_string()))? else {
                let kind = config.kind.as_str();
                let reason =
                    format!("it has no {}_raw, which a sensor of kind {kind} needs ({})", names[0], dir.display());
                return Err(failure(&config.device, reason));
            };
            let _three_fit = opened.push(channel);
        }
        let name = super::read_text(&dir.join("name")).unwrap_or_else(|_| "unnamed".to_owned());
        Ok(Self { config: config.clone(), name, channels: opened, next: Instant::BOOT, clock: Box::new(BootClock) })
    }
}

impl Sensor for Polled {
    fn kind(&self) -> SensorKind {
        self.config.kind
    }

    /// Stamped with the middle of the time that reading it took: some drivers begin to measure then, others wait for a
    /// measurement that ends with it.
    fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        if now < self.next {
            return Ok(None);
        }
        self.next = now + period(&self.config);
        let began = self.clock.now().mono;
        let mut read = [0.0; MAX_CHANNELS];
        for (to, channel) in read.iter_mut().zip(&self.channels) {
            let number = channel.attribute.number();
            let number = number.map_err(|error| failure(&self.config.device, format!("{}: {error}", channel.name)))?;
            *to = (number + channel.offset) * channel.scale;
        }
        let took = self.clock.now().mono.since(began);
        Ok(Some(Reading { at: now + took / 2, value: value(&self.config, read, [None; 2]) }))
    }

    fn describe(&self) -> String {
        let names: Vec<_> = self.channels.iter().map(|channel| channel.name).collect();
        format!(
            "{} by IIO ({}), {} at {} Hz",
            self.config.kind.as_str(),
            self.name,
            names.join(", "),
            self.config.rate()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::sensors::config::Driver;
    use crate::ports::Value;
    use crate::sim::clock::SimClock;
    use crate::time::{Duration, Now};

    /// As beside a chip whose driver waits so long for a measurement: whoever looks again finds it later.
    struct Waits(SimClock, Duration);

    impl Clock for Waits {
        fn now(&self) -> Now {
            self.0.advance(self.1);
            self.0.now()
        }
    }

    #[test]
    fn a_reading_is_of_the_middle_of_the_time_that_its_driver_took() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("in_illuminance_input"), "120\n").unwrap();
        let config = SensorConfig::new(SensorKind::Light, Driver::Iio, "slow");
        let mut sensor = Polled::open(&config, dir.path()).unwrap();
        sensor.clock = Box::new(Waits(SimClock::default(), Duration::from_millis(600)));
        let reading = sensor.poll(Instant::from_millis(1000)).unwrap().unwrap();
        assert_eq!((reading.at, reading.value), (Instant::from_millis(1300), Value::Light(120.0)));
    }
}
