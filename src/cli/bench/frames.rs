//! What the benchmark looks at: a recording's first frames, kept in memory, or one that is made up.

use std::path::Path;
use std::sync::Arc;

use crate::cli::context::Context;
use crate::cli::exit::{Code, Failure};
use crate::frame::{Frame, FrameError, Geometry, PixelFormat};
use crate::hw::clock::BootClock;
use crate::ports::{Camera as _, CameraError};
use crate::sim::replay::{Pace, ReplayCamera};
use crate::sim::rng::Rng;
use crate::time::{Duration, Instant};

/// Frames kept at most; the benchmark goes round and round.
const MAX_KEPT: usize = 32;
/// ffmpeg may take a while to start.
const TIMEOUT: Duration = Duration::from_secs(30);

/// At least one frame, all of the first one's size.
pub struct Frames {
    kept: Vec<(Geometry, Vec<u8>)>,
    describe: String,
}

impl Frames {
    /// # Errors
    /// The recording can't be played, or is empty.
    pub fn load(path: Option<&Path>, ctx: &Context) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::made_up(ctx)) };
        let mut camera = ReplayCamera::open(path, Pace::AsTaken, false, Arc::new(BootClock))?;
        let mut kept: Vec<(Geometry, Vec<u8>)> = Vec::new();
        while kept.len() < MAX_KEPT {
            match camera.next_frame(TIMEOUT) {
                Ok(frame) => kept.push((frame.geometry(), frame.data().to_vec())),
                Err(CameraError::BadFrame(_)) => {}
                Err(CameraError::Ended) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if kept.is_empty() {
            return Err(Failure::said(Code::Data, format!("{}: there are no frames in it", path.display())));
        }
        Ok(Self { kept, describe: path.display().to_string() })
    }

    /// Noise on grey, as the configured camera would give it in YUYV.
    fn made_up(ctx: &Context) -> Self {
        let camera = &ctx.config.camera;
        // YUYV shares chroma between two pixels.
        let geometry = Geometry::packed(PixelFormat::Yuyv, camera.width.next_multiple_of(2), camera.height);
        let bytes = geometry.stride as usize * geometry.height as usize;
        let mut rng = Rng::new(1);
        let data = (0..bytes).map(|_| 96 + (rng.next_u64() % 64) as u8).collect();
        let describe = format!("noise, {}x{} YUYV", geometry.width, geometry.height);
        Self { kept: vec![(geometry, data)], describe }
    }

    pub fn describe(&self) -> &str {
        &self.describe
    }

    /// Width and height of the first.
    pub fn size(&self) -> (u32, u32) {
        self.kept.first().map_or((0, 0), |(geometry, _)| (geometry.width, geometry.height))
    }

    /// # Errors
    /// None for what a camera gave; sizes that a configuration made up may be no frame's.
    pub fn get(&self, round: usize) -> Result<Frame<'_>, FrameError> {
        let (geometry, data) = &self.kept[round % self.kept.len()];
        Frame::new(*geometry, round as u32, Instant::BOOT, data)
    }
}
