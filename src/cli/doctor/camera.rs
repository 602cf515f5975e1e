//! Whether the camera gives pictures, or what the daemon that has it says of it.

use super::{Checked, Context};
use crate::cli::context::no_picture;
use crate::control::StatusLine;
use crate::daemon::MAX_FIRST_FRAME;
use crate::face::MjpegDecoder;
use crate::face::convert::to_rgb;
use crate::frame::RgbImage;
use crate::hw::clock::BootClock;
use crate::ports::{Camera, CameraError, Clock};

pub(super) fn check(ctx: &Context, daemon: Option<&StatusLine>) -> Checked {
    if let Some(status) = daemon {
        return of_daemon(status);
    }
    let mut camera = ctx.open_camera().map_err(|failure| failure.to_string())?;
    picture(camera.as_mut(), &BootClock)
}

fn of_daemon(status: &StatusLine) -> Checked {
    let says = format!("the daemon has it: {}, {} frames", status.camera, status.frames_seen);
    match (&status.camera_lost, &*status.camera) {
        (Some(why), _) => Err(format!("{says}: {why}")),
        (None, "lost") => Err(says),
        _ => Ok(says),
    }
}

/// The first frame that can be made a picture of, as the door wants it: one that is broken says nothing of the next.
fn picture(camera: &mut dyn Camera, clock: &dyn Clock) -> Checked {
    let name = camera.describe();
    let (mut image, mut decoder) = (RgbImage::default(), MjpegDecoder::default());
    let begun = clock.now().mono;
    let mut trouble = None;
    while let Some(left) = MAX_FIRST_FRAME.checked_sub(clock.now().mono.since(begun)).filter(|left| !left.is_zero()) {
        match camera.next_frame(left) {
            Ok(frame) => match to_rgb(&frame, &mut image, &mut decoder) {
                Ok(()) => {
                    return Ok(format!("{name}, gives {}x{} {:?}", frame.width(), frame.height(), frame.format()));
                }
                Err(error) => trouble = Some(error.to_string()),
            },
            Err(CameraError::BadFrame(why)) => trouble = Some(why),
            Err(CameraError::Timeout(_)) => {}
            Err(CameraError::Ended) => break,
            Err(error) => {
                trouble = Some(error.to_string());
                break;
            }
        }
    }
    let why = trouble.unwrap_or_else(|| CameraError::Timeout(MAX_FIRST_FRAME).to_string());
    Err(no_picture(&name, &why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Geometry, PixelFormat};
    use crate::sim::clock::SimClock;
    use crate::time::Duration;

    /// Gives so many broken frames, ten a second, and then frames that hold this.
    struct Tenth {
        clock: SimClock,
        broken: u32,
        geometry: Geometry,
        data: Vec<u8>,
    }

    impl Camera for Tenth {
        fn next_frame(&mut self, _timeout: Duration) -> Result<Frame<'_>, CameraError> {
            self.clock.advance(Duration::from_millis(100));
            if let Some(left) = self.broken.checked_sub(1) {
                self.broken = left;
                return Err(CameraError::BadFrame("a JPEG of 9 bytes that breaks off".into()));
            }
            let frame = Frame::new(self.geometry, 1, self.clock.now().mono, &self.data);
            frame.map_err(|error| CameraError::BadFrame(error.to_string()))
        }

        fn describe(&self) -> String {
            "a camera".to_owned()
        }
    }

    fn said(broken: u32, format: PixelFormat, data: &[u8]) -> Checked {
        let clock = SimClock::default();
        let geometry = Geometry::packed(format, 2, 2);
        picture(&mut Tenth { clock: clock.clone(), broken, geometry, data: data.to_vec() }, &clock)
    }

    #[test]
    fn a_camera_is_well_once_a_frame_becomes_a_picture_and_has_as_long_for_it_as_at_the_door() {
        for broken in [0, 1, 49] {
            assert_eq!(said(broken, PixelFormat::Grey, &[7; 4]).unwrap(), "a camera, gives 2x2 Grey", "{broken}");
        }
        assert!(said(50, PixelFormat::Grey, &[7; 4]).unwrap_err().contains("no picture (a JPEG of 9 bytes"));
        let undecodable = said(0, PixelFormat::Mjpeg, &[0xFF, 0xD8, 0xFF, 0xD9]).unwrap_err();
        assert!(undecodable.starts_with("a camera: opens and gives no picture ("), "{undecodable}");
    }

    #[test]
    fn a_camera_that_the_daemon_has_lost_is_told_with_the_reason() {
        let status = |camera: &str, camera_lost: Option<&str>| StatusLine {
            state: "faulted".into(),
            since_s: 1.0,
            since: String::new(),
            camera: camera.into(),
            camera_lost: camera_lost.map(Into::into),
            sensors: vec![],
            door: "unknown".into(),
            alarm: "silent".into(),
            faults: vec![],
            people: 1,
            identify: None,
            verify: None,
            frames_seen: 7,
            version: "0".into(),
        };
        assert_eq!(of_daemon(&status("ok", None)).unwrap(), "the daemon has it: ok, 7 frames");
        let lost = of_daemon(&status("lost", Some("/dev/video0: in use by another program"))).unwrap_err();
        assert_eq!(lost, "the daemon has it: lost, 7 frames: /dev/video0: in use by another program");
    }
}
