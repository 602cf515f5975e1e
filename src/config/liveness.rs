//! `[liveness]`: which sensors judge whether somebody is alive, and how strictly.

use std::path::PathBuf;

use serde::Deserialize;

use super::error::Nonsense;
use crate::liveness::antispoof::MAX_NETWORKS as MAX_ANTISPOOF;
use crate::liveness::{Source, SourceSet};

/// The key that lets a photograph open the door.
pub const ACCEPT_KEY: &str = "liveness.i_accept_that_a_photograph_opens_this_door";
/// The key that lets a real strike move on what the camera alone says.
pub const CAMERA_ONLY_KEY: &str = "liveness.camera_only_opens_the_door";

/// Whether a live person must stand there, and who says so.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Liveness {
    /// The sensors that take part, the camera always among them. Unless stated: all that the door has.
    pub sensors: Option<Vec<Source>>,
    /// Those without which nobody is called alive. Unless stated: all that take part.
    pub required: Option<Vec<Source>>,
    /// The share of living people's windows that may be turned away.
    pub target_bpcer: f64,
    /// Networks that judge single frames, by names of the manifest or files; their mean is a channel.
    pub antispoof: Vec<String>,
    /// The network: a name or a file. Unless stated: the one that is built in.
    pub head: Option<String>,
    /// What its scores are worth. Unless stated: the table that is built in, of the network that is built in.
    pub table: Option<PathBuf>,
    /// The camera's horizontal field of view in degrees.
    pub camera_view_deg: f32,
    pub camera_only_opens_the_door: bool,
    pub i_accept_that_a_photograph_opens_this_door: bool,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            sensors: None,
            required: None,
            target_bpcer: 0.01,
            antispoof: Vec::new(),
            head: None,
            table: None,
            camera_view_deg: 60.0,
            camera_only_opens_the_door: false,
            i_accept_that_a_photograph_opens_this_door: false,
        }
    }
}

impl Liveness {
    /// Whether a live verdict is demanded.
    pub fn is_required(&self) -> bool {
        !self.i_accept_that_a_photograph_opens_this_door
    }

    /// The sensors that take part, of those that the door has.
    pub fn sources(&self, door: SourceSet) -> SourceSet {
        let said = self.sensors.as_ref().map(|sensors| sensors.iter().copied().collect());
        said.unwrap_or(door).with(Source::Camera)
    }

    /// Those without which nobody is called alive.
    pub fn required(&self, door: SourceSet) -> SourceSet {
        let said = self.required.as_ref().map(|sensors| sensors.iter().copied().collect());
        said.unwrap_or_else(|| self.sources(door)).with(Source::Camera)
    }

    /// Whether nothing but pictures is required to call somebody alive.
    pub fn is_camera_only(&self, door: SourceSet) -> bool {
        self.required(door).without(Source::Camera).without(Source::Antispoof) == SourceSet::default()
    }

    /// `door` is the sensors that the rest of the configuration names.
    pub(super) fn check(&self, door: SourceSet, strike_moves: bool) -> Result<(), Nonsense> {
        let nonsense = |key: &str, why: String| Err(Nonsense::new(&format!("liveness.{key}"), why));
        let sources = self.sources(door);
        if let Some(absent) = sources.without(Source::Camera).iter().find(|source| !door.contains(*source)) {
            let why = format!("the door has no {0}: describe it in [[sensor]], or take {0} out", absent.as_str());
            return nonsense("sensors", why);
        }
        if let Some(absent) = self.required(door).iter().find(|source| !sources.contains(*source)) {
            return nonsense(
                "required",
                format!("{} takes no part: it is not among liveness.sensors", absent.as_str()),
            );
        }
        if self.antispoof.len() > MAX_ANTISPOOF {
            return nonsense("antispoof", format!("more than {MAX_ANTISPOOF} networks"));
        }
        // Written positively: NaN is in no range.
        if !(0.0..=0.5).contains(&self.target_bpcer) {
            return nonsense("target_bpcer", format!("{} is out of range, 0 to 0.5", self.target_bpcer));
        }
        if !(20.0..=170.0).contains(&self.camera_view_deg) {
            return nonsense("camera_view_deg", format!("{} is out of range, 20 to 170", self.camera_view_deg));
        }
        if self.i_accept_that_a_photograph_opens_this_door && self.required.is_some() {
            return nonsense("required", format!("{ACCEPT_KEY} says the opposite; remove one of the two"));
        }
        if strike_moves && self.is_required() && self.is_camera_only(door) && !self.camera_only_opens_the_door {
            let why = "a strike that moves, and no sensor but the camera to tell a person from a picture; describe one in \
                       [[sensor]], or, if this door may open to whatever deceives the camera, add \
                       camera_only_opens_the_door = true to [liveness] (models/cards/liveness.md says what that lets through)";
            return Err(Nonsense::new("strike.kind", why));
        }
        Ok(())
    }
}
