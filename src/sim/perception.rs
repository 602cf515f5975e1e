//! Perception without networks: whoever is put before the door is seen there, and searched for as always.

use std::sync::{Arc, Mutex};

use super::lock;
use crate::face::encoding::Encoding;
use crate::frame::Frame;
use crate::gallery::{Index, Scratch};
use crate::gate::{Face, PoorMeasure};
use crate::person::PersonId;
use crate::ports::{Perception, PerceptionError};
use crate::time::Duration;

/// What stands before the door.
#[derive(Debug, Clone, Default)]
pub enum Doorstep {
    #[default]
    Nobody,
    Somebody(Box<Encoding>),
    Poor(PoorMeasure),
    /// The network fails on every frame.
    Broken,
    /// No frame can be decoded.
    Torn,
    /// The network takes this long for a frame in which nobody is.
    Slow(Duration),
}

/// Puts something before the door; all clones share one doorstep.
#[derive(Debug, Clone, Default)]
pub struct DoorstepHandle(Arc<Mutex<Doorstep>>);

impl DoorstepHandle {
    pub fn put(&self, what: Doorstep) {
        *lock(&self.0) = what;
    }
}

/// Sees what is on the doorstep, in every frame.
#[derive(Debug, Default)]
pub struct ScriptedPerception {
    doorstep: DoorstepHandle,
    scratch: Scratch,
}

impl ScriptedPerception {
    pub fn handle(&self) -> DoorstepHandle {
        self.doorstep.clone()
    }
}

impl Perception for ScriptedPerception {
    fn perceive(
        &mut self,
        _frame: &Frame<'_>,
        gallery: &Index,
        expected: Option<PersonId>,
    ) -> Result<Face, PerceptionError> {
        let doorstep = lock(&self.doorstep.0).clone();
        let encoding = match doorstep {
            Doorstep::Nobody => return Ok(Face::Absent),
            Doorstep::Poor(measure) => return Ok(Face::Poor(measure)),
            Doorstep::Broken => return Err(PerceptionError::Network("a NaN where numbers were".into())),
            Doorstep::Torn => return Err(PerceptionError::Frame("its end is missing".into())),
            Doorstep::Slow(time) => {
                std::thread::sleep(time);
                return Ok(Face::Absent);
            }
            Doorstep::Somebody(encoding) => encoding,
        };
        Ok(Face::Seen(gallery.seen(&encoding, expected, &mut self.scratch)))
    }
}
