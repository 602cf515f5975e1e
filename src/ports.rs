//! The traits that the core owns and hardware conforms to.
//!
//! `hw` implements them on devices, `sim` with behaviour and without hardware; the core never knows which.

#![forbid(unsafe_code)]

use crate::frame::Frame;
use crate::gallery::Index;
use crate::gate::{Face, LivenessReport, Record};
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

    /// Frames that were dropped because they were short, corrupt or flagged by the driver, since opening.
    fn dropped(&self) -> u64;

    /// One line for the journal and `status`: device, format, size, rate.
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
    /// The names of the channels it listens to.
    fn channels(&self) -> Vec<String>;
    /// A judgement of the evidence up to `now`; `None` where there is nothing new to say.
    ///
    /// # Errors
    /// A channel that it requires does not answer, in a sentence.
    fn judge(&mut self, now: Instant) -> Result<Option<LivenessReport>, String>;
}

/// A value that a sensor gave, in the unit of its channel, with the time it was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    pub at: Instant,
    /// SI or the unit that the channel's name states; finite.
    pub value: f32,
}

/// One channel of one sensor.
pub trait Sensor: Send {
    /// The channel's name, such as `distance_mm`.
    fn channel(&self) -> &str;
    /// A value, `None` where there is no new one.
    ///
    /// # Errors
    /// What is wrong with the sensor, in a sentence.
    fn poll(&mut self, now: Instant) -> Result<Option<Reading>, String>;
}

/// What releases the door. Its implementation drives the line to the safe (locked) level when it is dropped.
pub trait Strike: Send {
    /// The door can be opened from now on.
    ///
    /// # Errors
    /// The line could not be driven.
    fn release(&mut self) -> Result<(), StrikeError>;
    /// The door is locked from now on. Calling it again is harmless.
    ///
    /// # Errors
    /// The line could not be driven.
    fn secure(&mut self) -> Result<(), StrikeError>;
    /// One line for the journal and `doctor`.
    fn describe(&self) -> String;
}

impl<S: Strike + ?Sized> Strike for Box<S> {
    fn release(&mut self) -> Result<(), StrikeError> {
        (**self).release()
    }
    fn secure(&mut self) -> Result<(), StrikeError> {
        (**self).secure()
    }
    fn describe(&self) -> String {
        (**self).describe()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{line}: {reason}")]
pub struct StrikeError {
    pub line: String,
    pub reason: String,
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
