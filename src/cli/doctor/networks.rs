//! Whether the networks run, and soon enough.

use super::super::context::Context;
use super::super::exit::Failure;
use super::{Level, short};
use crate::frame::RgbImage;
use crate::gate::Policy;
use crate::hw::clock::BootClock;
use crate::liveness::judge::CAMERA_FRAMES;
use crate::liveness::series::SPAN;
use crate::ports::Clock;
use crate::time::Duration;

/// Finds a face's encoding in a black picture, which is nobody's, so that both networks have run; the second time by
/// the clock, as the first warms up.
pub fn check(ctx: &Context) -> Result<(Level, String), String> {
    let run = || -> Result<(Level, String), Failure> {
        let camera = &ctx.config.camera;
        let mut faces = ctx.faces_for(camera.width, camera.height)?;
        let picture = RgbImage::new(320, 240);
        let mut took = Duration::ZERO;
        for _ in 0..2 {
            let began = BootClock.now().mono;
            faces.detector.detect(&picture)?;
            faces.encode()?;
            took = BootClock.now().mono.since(began);
        }
        let (detector, encoder) = (faces.detector.spec(), faces.encoder.spec());
        let says = format!(
            "{} ({}), {} ({}) run",
            detector.name,
            short(&detector.sha256),
            encoder.name,
            short(&encoder.sha256)
        );
        let seldom = || seldom(took).filter(|_| ctx.config.liveness_required());
        Ok(match slowness(took, &ctx.config.gate).or_else(seldom) {
            Some(slowness) => (Level::Complaint, format!("{says}; {slowness}")),
            None => (Level::Ok, says),
        })
    };
    run().map_err(|failure| failure.to_string())
}

/// What to do where the first of the frames that must agree is stale by the time that the last of them is judged.
fn slowness(took: Duration, gate: &Policy) -> Option<String> {
    (took * u32::from(gate.agree) > gate.stale_after).then(|| {
        format!(
            "a face takes {} ms, so {} frames (gate.agree) are never fresh together (gate.stale_after_ms = {}) and nobody is admitted \
             by face: faces.threads = 2, a smaller faces.detect_px, a larger gate.stale_after_ms, or another network (docs/upkeep.md)",
            took.as_millis(),
            gate.agree,
            gate.stale_after.as_millis()
        )
    })
}

/// What to do where fewer frames than liveness asks for are judged in the time of a window.
fn seldom(took: Duration) -> Option<String> {
    (took * (CAMERA_FRAMES as u32 - 1) > SPAN).then(|| {
        format!(
            "a face takes {} ms, and liveness calls nobody alive by fewer than {CAMERA_FRAMES} frames in two seconds: faces.threads = 2, \
             a smaller faces.detect_px, or another network (docs/upkeep.md)",
            took.as_millis()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_that_are_too_slow_for_enough_fresh_frames_are_told_with_what_to_do() {
        let gate = Policy { agree: 3, stale_after: Duration::from_millis(1500), ..Policy::default() };
        let says = |ms| slowness(Duration::from_millis(ms), &gate);
        assert_eq!(says(500), None);
        let slow = says(600).unwrap();
        assert!(slow.contains("600 ms") && slow.contains("gate.stale_after_ms = 1500"), "{slow}");
    }

    #[test]
    fn networks_that_are_too_slow_for_liveness_are_told_with_what_to_do() {
        assert_eq!(seldom(Duration::from_millis(93)), None);
        let slow = seldom(Duration::from_millis(94)).unwrap();
        assert!(slow.contains("94 ms") && slow.contains("fewer than 22 frames"), "{slow}");
    }
}
