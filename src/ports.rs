//! The traits that the core owns and hardware conforms to.
//!
//! `hw` implements them on devices, `sim` with behaviour and without hardware; the core never knows which.

#![forbid(unsafe_code)]

use crate::frame::Frame;
use crate::gallery::Index;
use crate::gate::{Event, Face, Record};
use crate::person::PersonId;
use crate::time::{Duration, Instant, Now};

/// Both clocks.
pub trait Clock: Send + Sync {
    fn now(&self) -> Now;

    /// Lets time pass: the calling thread sleeps. A simulated clock moves on at once instead.
    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Where frames come from.
pub trait Camera: Send {
    /// Waits at most `timeout` for the next frame. The frame borrows the camera's buffer until the next call.
    ///
    /// # Errors
    /// [`CameraError`]; after [`CameraError::Lost`] the camera must be opened anew.
    fn next_frame(&mut self, timeout: Duration) -> Result<Frame<'_>, CameraError>;

    /// One line for the journal and `doctor`: device, format, size, rate.
    fn describe(&self) -> String;
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// Nothing came in time; the next call may succeed.
    #[error("no frame within {0:?}")]
    Timeout(Duration),
    /// This frame is unusable, the next may be fine.
    #[error("a bad frame: {0}")]
    BadFrame(String),
    /// The device is gone or has failed.
    #[error("{device}: {reason}")]
    Lost { device: String, reason: String },
    /// A replay has come to its end.
    #[error("the recording has ended")]
    Ended,
}

/// What makes of pixels whom they show.
pub trait Perception: Send {
    /// The face in a frame and whom of the gallery it is like; `expected` is scored by itself where somebody claimed a
    /// name.
    ///
    /// # Errors
    /// [`PerceptionError`]: the frame could not be judged.
    fn perceive(
        &mut self,
        frame: &Frame<'_>,
        gallery: &Index,
        expected: Option<PersonId>,
    ) -> Result<Face, PerceptionError>;
}

/// Why a frame could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum PerceptionError {
    /// The camera's fault: bytes that don't decode.
    #[error("the frame doesn't decode: {0}")]
    Frame(String),
    /// A network's: NaN, a wrong shape.
    #[error("{0}")]
    Network(String),
}

/// What judges from time series whether somebody alive stands there.
pub trait Liveness: Send {
    /// What it listens to, for `status`.
    fn sources(&self) -> Vec<String>;
    /// Looks at what has come up to `now`, and tells the gate of it: a judgement where there is a new one, a housing
    /// that was moved.
    ///
    /// # Errors
    /// A sensor that it requires does not answer, in a sentence.
    fn judge(&mut self, now: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), String>;
}

named! {
    /// What a sensor measures, as the configuration names it.
    #[derive(PartialOrd, Ord)]
    SensorKind {
        Distance = "distance",
        Depth = "depth",
        Thermometer = "thermometer",
        Thermal = "thermal",
        Proximity = "proximity",
        Light = "light",
        Touch = "touch",
        Acceleration = "acceleration",
    }
}

impl SensorKind {
    /// The longest pause between two readings of one that works. The configuration allows an accelerometer that
    /// measures each 2 s; what measures heat takes its time, and a Lepton closes its shutter now and then.
    pub const fn silent_after(self) -> Duration {
        match self {
            Self::Thermometer | Self::Thermal => Duration::from_millis(3000),
            _ => Duration::from_millis(2500),
        }
    }
}

/// What a sensor measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// To the nearest thing in front, millimetres.
    Distance(f32),
    /// Millimetres along each zone's axis; NaN where a zone saw nothing.
    Depth(Grid<'a>),
    /// Of what stands in front, and of the thermometer itself, degrees Celsius.
    Thermometer { object: f32, ambient: f32 },
    /// Degrees Celsius.
    Thermal(Grid<'a>),
    /// Near infrared with the illuminator on and off, shares of full scale.
    Proximity { lit: f32, dark: f32 },
    /// Illuminance, lux.
    Light(f32),
    /// Light through a finger, share of full scale.
    Touch(f32),
    /// Along three axes, m/s².
    Acceleration([f32; 3]),
}

/// Most cells of a grid that is taken from anything: a Lepton's averaged to 40 x 30 has 1200.
pub const MAX_CELLS: usize = 2048;

/// Measurements over a field of view, row by row from the top left as seen from the door.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid<'a> {
    pub columns: usize,
    pub rows: usize,
    /// `columns` × `rows`.
    pub cells: &'a [f32],
    /// Across and down, degrees.
    pub view: [f32; 2],
}

impl<'a> Value<'a> {
    /// The same, borrowing nothing: a grid's cells go into `cells`, in the place of what was there.
    pub fn detach(self, cells: &mut Vec<f32>) -> Value<'static> {
        cells.clear();
        let mut bare = |grid: Grid<'_>| {
            cells.extend_from_slice(grid.cells);
            Grid { columns: grid.columns, rows: grid.rows, cells: &[], view: grid.view }
        };
        match self {
            Self::Distance(x) => Value::Distance(x),
            Self::Depth(grid) => Value::Depth(bare(grid)),
            Self::Thermometer { object, ambient } => Value::Thermometer { object, ambient },
            Self::Thermal(grid) => Value::Thermal(bare(grid)),
            Self::Proximity { lit, dark } => Value::Proximity { lit, dark },
            Self::Light(x) => Value::Light(x),
            Self::Touch(x) => Value::Touch(x),
            Self::Acceleration(axes) => Value::Acceleration(axes),
        }
    }

    /// The same; a grid with these cells.
    #[must_use]
    pub fn with_cells(self, cells: &'a [f32]) -> Self {
        match self {
            Self::Depth(grid) => Self::Depth(Grid { cells, ..grid }),
            Self::Thermal(grid) => Self::Thermal(Grid { cells, ..grid }),
            number => number,
        }
    }

    pub const fn kind(&self) -> SensorKind {
        match self {
            Self::Distance(_) => SensorKind::Distance,
            Self::Depth(_) => SensorKind::Depth,
            Self::Thermometer { .. } => SensorKind::Thermometer,
            Self::Thermal(_) => SensorKind::Thermal,
            Self::Proximity { .. } => SensorKind::Proximity,
            Self::Light(_) => SensorKind::Light,
            Self::Touch(_) => SensorKind::Touch,
            Self::Acceleration(_) => SensorKind::Acceleration,
        }
    }
}

/// A measurement with the time at which it was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading<'a> {
    pub at: Instant,
    pub value: Value<'a>,
}

/// A sensor at the door.
pub trait Sensor: Send {
    fn kind(&self) -> SensorKind;

    /// The newest measurement, `None` where there is no new one. It borrows the sensor's memory until the next call.
    ///
    /// # Errors
    /// [`DeviceError`]; the next call may succeed.
    fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError>;

    /// One line for the journal and `doctor`.
    fn describe(&self) -> String;
}

/// A sensor does not answer, or not sensibly; a strike's line could not be driven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{device}: {reason}")]
pub struct DeviceError {
    pub device: String,
    pub reason: String,
}

/// What releases the door. Its implementation drives the line to the safe (locked) level when it is dropped.
pub trait Strike: Send {
    /// The door can be opened from now on.
    ///
    /// # Errors
    /// The line could not be driven.
    fn release(&mut self) -> Result<(), DeviceError>;
    /// The door is locked from now on. Calling it again is harmless.
    ///
    /// # Errors
    /// The line could not be driven.
    fn secure(&mut self) -> Result<(), DeviceError>;
    /// One line for the journal and `doctor`.
    fn describe(&self) -> String;
}

impl<S: Strike + ?Sized> Strike for Box<S> {
    fn release(&mut self) -> Result<(), DeviceError> {
        (**self).release()
    }
    fn secure(&mut self) -> Result<(), DeviceError> {
        (**self).secure()
    }
    fn describe(&self) -> String {
        (**self).describe()
    }
}

/// What the door's own wires say. Levels, not edges: a lost edge can't leave a door thought open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Pressed (`true`) or let go.
    ExitButton(bool),
    /// Open (`true`) or closed.
    DoorContact(bool),
}

/// The exit button and the door contact.
pub trait Inputs: Send {
    /// Waits at most `timeout` for a change. Right after opening it tells the present levels, one a call.
    ///
    /// # Errors
    /// The lines can't be read, in a sentence.
    fn wait(&mut self, timeout: Duration) -> Result<Option<Input>, String>;
}

/// Where every outcome is written before the strike moves.
pub trait Ledger: Send {
    /// Appends a record durably (it survives a power cut once this returns) and tells its number.
    ///
    /// # Errors
    /// It could not be written, in a sentence; nothing was written then.
    fn append(&mut self, record: &Record) -> Result<u64, String>;
}
