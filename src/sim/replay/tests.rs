//! Recordings of every kind, played.

use std::process::{Command, Stdio};

use super::*;
use crate::frame::PixelFormat;
use crate::sim::clock::SimClock;
use crate::time::Instant;

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(20);

fn open(path: &Path, pace: Pace, looped: bool) -> (SimClock, ReplayCamera) {
    let clock = SimClock::default();
    let camera = ReplayCamera::open(path, pace, looped, Arc::new(clock.clone())).unwrap();
    (clock, camera)
}

/// A Y4M of 2x2 grey frames at 25 a second, frame n filled with n.
fn y4m(dir: &Path, frames: u8) -> PathBuf {
    let path = dir.join("video.y4m");
    let mut bytes = b"YUV4MPEG2 W2 H2 F25:1 Cmono\n".to_vec();
    for n in 0..frames {
        bytes.extend_from_slice(b"FRAME\n");
        bytes.extend_from_slice(&[n; 4]);
    }
    std::fs::write(&path, bytes).unwrap();
    path
}

fn pictures(dir: &Path) {
    for (name, size, grey) in [("b.png", (4, 2), 2), ("a.png", (2, 3), 1), ("c.bmp", (2, 2), 3)] {
        image::GrayImage::from_pixel(size.0, size.1, image::Luma([grey])).save(dir.join(name)).unwrap();
    }
    std::fs::write(dir.join("notes.txt"), "no picture").unwrap();
    std::fs::create_dir(dir.join("folder.png")).unwrap();
}

#[test]
fn a_folder_is_played_in_the_order_of_names_with_each_picture_at_its_size() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path());
    let (_, mut camera) = open(dir.path(), Pace::AsTaken, false);
    assert!(camera.describe().contains("3 pictures"), "{}", camera.describe());
    for (n, size, grey) in [(0, (2, 3), 1), (1, (4, 2), 2), (2, (2, 2), 3)] {
        let frame = camera.next_frame(MS).unwrap();
        assert_eq!((frame.width(), frame.height(), frame.format()), (size.0, size.1, PixelFormat::Rgb8));
        assert_eq!((frame.sequence(), frame.data()[0]), (n, grey));
    }
    assert!(matches!(camera.next_frame(MS), Err(CameraError::Ended)));
    assert!(matches!(camera.next_frame(MS), Err(CameraError::Ended)), "and stays so");
}

#[test]
fn half_a_jpeg_is_no_picture() {
    let dir = tempfile::tempdir().unwrap();
    let whole = include_bytes!("../../../tests/data/jpeg/restarts.jpg");
    std::fs::write(dir.path().join("a.jpg"), &whole[..whole.len() / 2 + 200]).unwrap();
    std::fs::write(dir.path().join("b.jpg"), whole).unwrap();
    let (_, mut camera) = open(dir.path(), Pace::AsTaken, false);
    let error = camera.next_frame(MS).unwrap_err().to_string();
    assert!(error.contains("a.jpg") && error.contains("ends before its picture does"), "{error}");
    assert_eq!(camera.next_frame(MS).unwrap().width(), 61);
}

#[test]
fn a_spoilt_picture_is_named_and_passed() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path());
    std::fs::write(dir.path().join("a.png"), b"\x89PNG\r\n\x1a\nnot really").unwrap();
    let (_, mut camera) = open(dir.path(), Pace::AsTaken, false);
    let error = camera.next_frame(MS).unwrap_err();
    assert!(error.to_string().contains("a.png"), "{error}");
    assert_eq!(camera.next_frame(MS).unwrap().sequence(), 1);
}

#[test]
fn a_folder_of_nothing_but_spoilt_pictures_ends_even_in_a_loop() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.jpg"), b"no").unwrap();
    let (_, mut camera) = open(dir.path(), Pace::AsTaken, true);
    assert!(matches!(camera.next_frame(MS), Err(CameraError::BadFrame(_))));
    assert!(matches!(camera.next_frame(MS), Err(CameraError::Ended)));
}

#[test]
fn a_single_picture_is_a_recording_too() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path());
    let (_, mut camera) = open(&dir.path().join("b.png"), Pace::AsTaken, true);
    for n in 0..3 {
        assert_eq!(camera.next_frame(MS).unwrap().sequence(), n);
    }
}

#[test]
fn in_real_time_frames_come_at_their_rate_on_the_given_clock() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, mut camera) = open(&y4m(dir.path(), 5), Pace::RealTime, false);
    assert_eq!(camera.interval(), 40 * MS);
    for n in 0..3 {
        let frame = camera.next_frame(100 * MS).unwrap();
        assert_eq!((frame.sequence(), frame.captured_at()), (n, Instant::from_millis(u64::from(n) * 40)));
    }
    assert!(matches!(camera.next_frame(10 * MS), Err(CameraError::Timeout(_))));
    assert_eq!(clock.now().mono, Instant::from_millis(90));
}

#[test]
fn who_comes_late_misses_frames_and_their_numbers_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, mut camera) = open(&y4m(dir.path(), 10), Pace::RealTime, false);
    camera.next_frame(MS).unwrap();
    clock.advance(170 * MS);
    let frame = camera.next_frame(MS).unwrap();
    assert_eq!((frame.sequence(), frame.data()), (4, &[4; 4][..]));
    assert_eq!(frame.captured_at(), Instant::from_millis(170));
}

#[test]
fn a_loop_begins_anew_and_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut camera) = open(&y4m(dir.path(), 2), Pace::AsTaken, true);
    for n in 0..5u8 {
        let frame = camera.next_frame(MS).unwrap();
        assert_eq!((frame.sequence(), frame.data()[0]), (u32::from(n), n % 2));
    }
}

#[test]
fn a_truncated_file_is_a_bad_frame_and_then_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = y4m(dir.path(), 2);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let (_, mut camera) = open(&path, Pace::AsTaken, false);
    camera.next_frame(MS).unwrap();
    assert!(camera.next_frame(MS).unwrap_err().to_string().contains("breaks off"));
    assert!(matches!(camera.next_frame(MS), Err(CameraError::Ended)));
}

#[test]
fn what_is_missing_empty_or_something_else_is_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let say = |path: &Path| {
        let clock = Arc::new(SimClock::default());
        ReplayCamera::open(path, Pace::AsTaken, false, clock).err().unwrap().to_string()
    };
    assert!(say(Path::new("/nowhere/video.y4m")).contains("No such file"));
    assert!(say(dir.path()).contains("holds no pictures"));
    let other = dir.path().join("other.y4m");
    std::fs::write(&other, b"RIFF....AVI \n").unwrap();
    assert!(say(&other).contains("no YUV4MPEG2 header"), "{}", say(&other));
}

/// Makes a second of video at 20 frames a second with an odd width; `None`, loudly, where ffmpeg is missing.
fn video(dir: &Path) -> Option<PathBuf> {
    let path = dir.join("-video with spaces.mkv");
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=65x48:rate=20:duration=1"])
        .args(["-c:v", "mjpeg", "-pix_fmt", "yuvj444p", "-q:v", "2"])
        .arg(&path)
        .stdin(Stdio::null())
        .status();
    match made {
        Ok(status) => {
            assert!(status.success(), "ffmpeg made no test video");
            Some(path)
        }
        Err(error) => {
            crate::testing::skipped(format_args!("ffmpeg can't be started ({error}); apt install ffmpeg"));
            None
        }
    }
}

#[test]
fn a_video_is_played_through_ffmpeg_to_its_end_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = video(dir.path()) else { return };
    let (_, mut camera) = open(&path, Pace::AsTaken, false);
    assert_eq!(camera.interval(), 50 * MS);
    let mut frames = 0;
    let end = loop {
        match camera.next_frame(PATIENCE) {
            Ok(frame) => {
                assert_eq!((frame.width(), frame.height(), frame.format()), (64, 48, PixelFormat::Nv12));
                frames += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(end, CameraError::Ended), "{end}");
    assert_eq!(frames, 20);
    let (_, mut looped) = open(&path, Pace::AsTaken, true);
    for n in 0..25 {
        assert_eq!(looped.next_frame(PATIENCE).unwrap().sequence(), n);
    }
}

#[test]
fn what_ffmpeg_says_of_a_file_that_is_no_video_is_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    if video(dir.path()).is_none() {
        return;
    }
    let path = dir.path().join("notes.mp4");
    std::fs::write(&path, "no video at all").unwrap();
    let error = ReplayCamera::open(&path, Pace::AsTaken, false, Arc::new(SimClock::default())).err().unwrap();
    assert!(error.to_string().contains("ffmpeg says: "), "{error}");
}

#[test]
fn a_player_that_is_dropped_takes_its_child_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = video(dir.path()) else { return };
    let (_, mut camera) = open(&path, Pace::AsTaken, false);
    camera.next_frame(PATIENCE).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let ours = || {
        let me = std::process::id().to_string();
        std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1).map(str::to_owned));
            let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let here = dir.path().to_string_lossy().into_owned();
            parent.as_deref() == Some(&me) && line.contains(&here) && line.contains(&name)
        })
    };
    assert!(ours(), "it waits for the rest of the video to be read");
    drop(camera);
    assert!(!ours());
}
