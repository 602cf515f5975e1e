//! `liveness`: sessions recorded at the door, judged, and drawn.

mod door;
mod eval;
mod plot;
mod record;
mod sensor_tap;

use super::context::Context;
use super::exit::{Failure, Verdict};
use crate::liveness::judge::{Demands, Judge};
use crate::liveness::{Head, SourceSet, Thresholds};

/// Sessions hold what liveness is judged by, and no pixels.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Record a session from the camera, or from a video
    Record(record::Args),
    /// How well the living and attacks are told apart in the sessions of a folder (ISO/IEC 30107-3)
    Eval(eval::Args),
    /// Draw a session: its channels, the windows' scores, and what each channel carries of them
    Plot(plot::Args),
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    match &args.command {
        Command::Record(args) => record::run(args, ctx),
        Command::Eval(args) => eval::run(args, ctx),
        Command::Plot(args) => plot::run(args, ctx),
    }
}

/// Makes judges that have heard nothing yet, for sessions with some sensors.
pub(super) struct Judges {
    head: Head,
    thresholds: Thresholds,
    target_bpcer: f64,
    camera_view_deg: f32,
}

impl Judges {
    pub(super) fn new(ctx: &Context) -> Result<Self, Failure> {
        let config = &ctx.config.liveness;
        let (target_bpcer, camera_view_deg) = (config.target_bpcer, config.camera_view_deg);
        Ok(Self { head: ctx.liveness_head()?, thresholds: ctx.liveness_table()?, target_bpcer, camera_view_deg })
    }

    /// Every sensor is required, so that a window is judged with all of them or not at all.
    pub(super) fn of(&self, sources: SourceSet) -> Judge {
        let demands = Demands {
            sources,
            required: sources,
            target_bpcer: self.target_bpcer,
            thresholds: self.thresholds.clone(),
        };
        Judge::new(demands, Box::new(self.head.clone()), self.camera_view_deg)
    }
}
