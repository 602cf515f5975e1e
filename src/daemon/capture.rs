//! The capture thread: the newest frame into the mailbox, and the gate told when there is none.
//!
//! A camera that is lost, or whose frames vision can't make sense of, is opened again after growing pauses for as long as the
//! daemon runs; the door stays locked until vision has judged a frame, because the gate holds the fault.

use super::shared::{Health, Shared};
use crate::gate::{Event, Fault};
use crate::hw::camera::Backoff;
use crate::ports::{Camera, CameraError};
use crate::time::Duration;

/// A camera that gives nothing for this long is lost: 15 frames at the slowest rate that recognition works with.
pub const SILENCE_MAX: Duration = Duration::from_secs(2);
/// How long one wait for a frame lasts, and so how soon a stop is noticed.
const WAIT: Duration = Duration::from_millis(250);
/// Opens the camera, as often as needed.
pub type OpenCamera = Box<dyn FnMut() -> Result<Box<dyn Camera>, CameraError> + Send>;

/// Runs until the daemon stops or the recording ends.
pub fn run(shared: &Shared, mut open: OpenCamera) {
    let mut backoff = Backoff::default();
    while !shared.is_stopping() {
        shared.beat(Health::Capture);
        let lost = match open() {
            Ok(mut camera) => {
                log::info!("camera: {}", camera.describe());
                let (end, gave_frames) = stream(shared, camera.as_mut());
                if gave_frames && !shared.is_camera_useless() {
                    backoff.succeeded();
                }
                end
            }
            Err(error) => error,
        };
        if let CameraError::Ended = lost {
            log::info!("camera: {lost}");
            shared.recording_ended();
            return;
        }
        if shared.is_stopping() {
            return;
        }
        if shared.camera_lost() {
            log::warn!("camera: {lost}");
        }
        shared.tell(Event::Fault(Fault::CameraLost));
        shared.sleep(backoff.failed());
    }
}

/// Hands frames over until the camera fails; whether it gave any.
fn stream(shared: &Shared, camera: &mut dyn Camera) -> (CameraError, bool) {
    let opening = shared.camera_opened();
    let mut last_frame_at = shared.now().mono;
    let mut gave_frames = false;
    loop {
        if shared.is_stopping() {
            return (CameraError::Timeout(WAIT), gave_frames);
        }
        if shared.is_camera_useless() {
            return (CameraError::BadFrame("none of its frames can be decoded".into()), gave_frames);
        }
        shared.beat(Health::Capture);
        match camera.next_frame(WAIT) {
            Ok(frame) => {
                shared.mailbox.put(opening, &frame);
                gave_frames = true;
                last_frame_at = shared.now().mono;
            }
            Err(error @ (CameraError::Timeout(_) | CameraError::BadFrame(_))) => {
                if shared.now().mono.since(last_frame_at) >= SILENCE_MAX {
                    return (error, gave_frames);
                }
            }
            Err(error) => return (error, gave_frames),
        }
    }
}
