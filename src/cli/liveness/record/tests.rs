use super::*;
use crate::sim::clock::SimClock;

fn session(antispoof: impl Fn(u64) -> f32) -> Session {
    let sample =
        |i: u64| Sample { at: Instant::from_millis(i * 200), channel: Channel::Antispoof, value: antispoof(i) };
    let samples = (0..=20).map(sample).collect();
    Session { label: Label::Live, origin: Origin::Recorded, note: String::new(), samples }
}

#[test]
fn windows_are_live_where_their_mean_is_and_only_whole_ones_count() {
    // From 2 s on it is live: a window that begins at 1 s has five of either.
    let turning = session(|i| if i < 10 { 0.0 } else { 0.9 });
    assert_eq!(Windows::of(&turning), Some(Windows { live: 5, all: 11 }));
    assert_eq!(Windows::of(&Session { samples: Vec::new(), ..turning }), None);
}

#[test]
fn a_session_that_is_full_is_no_failure_and_is_told() {
    let mut writer =
        Writer::new(Vec::new(), Label::Live, Origin::Recorded, "", &[Channel::Antispoof], Instant::BOOT).unwrap();
    let mut report = Report::default();
    let mut say = |seconds, channel| {
        let at = Instant::BOOT + Duration::from_secs(seconds);
        write(&mut writer, &[Sample { at, channel, value: 0.5 }], &mut report).map(|()| report.full.is_some())
    };
    assert!(!say(1, Channel::Antispoof).unwrap());
    assert!(say(MAX_SECONDS as u64 + 1, Channel::Antispoof).unwrap());
    assert!(say(2, Channel::Touch).is_err(), "any other reason is one");
    assert_eq!(writer.samples(), 1);
}

#[test]
fn pictures_without_a_face_make_an_empty_session_and_a_file_that_exists_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png"] {
        image::GrayImage::from_pixel(64, 48, image::Luma([90])).save(dir.path().join(name)).unwrap();
    }
    let out = dir.path().join("session.csv");
    let record = || {
        let args = ["facelatch", "liveness", "record", "--label", "phone", "--note", "a \"wall\"", "--video"];
        let state = dir.path().join("state");
        let paths = [dir.path(), &out, Path::new("--state"), &state];
        crate::cli::run(args.into_iter().map(Into::into).chain(paths.map(Into::into)))
    };
    assert_eq!(record(), Code::No);
    let session = Session::read(&out).unwrap();
    assert_eq!((session.label, session.origin, &*session.note), (Label::Phone, Origin::Recorded, "a \"wall\""));
    assert_eq!(session.samples, []);
    assert_eq!(record(), Code::CantCreate);
    assert_eq!(Session::read(&out).unwrap(), session);
}

/// Gives so many frames and is unplugged then.
struct Unplugged {
    camera: ReplayCamera,
    clock: SimClock,
    left: u32,
}

impl Camera for Unplugged {
    fn next_frame(&mut self, timeout: Duration) -> Result<Frame<'_>, CameraError> {
        let Some(left) = self.left.checked_sub(1) else {
            let reason = "unplugged".to_owned();
            return Err(CameraError::Lost { device: self.describe(), reason });
        };
        self.left = left;
        self.clock.advance(Duration::from_millis(40));
        self.camera.next_frame(timeout)
    }

    fn describe(&self) -> String {
        "a camera".to_owned()
    }
}

#[test]
fn what_a_camera_gave_until_it_was_unplugged_is_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("session.csv");
    let args =
        Args { out: out.clone(), video: None, camera: true, seconds: None, label: Label::Live, note: String::new() };
    let ctx = Context::without_config(crate::cli::Globals::default());
    let portrait = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/ada-1.jpg");
    let clock = SimClock::default();
    let camera = ReplayCamera::open(&portrait, Pace::AsTaken, true, Arc::new(clock.clone())).unwrap();
    let camera = Unplugged { camera, clock, left: 20 };
    let ended = record(&args, &ctx, Pictures::Camera(Box::new(camera)), 10.0, &AtomicBool::new(false));
    assert!(matches!(ended, Err(Failure::Camera(CameraError::Lost { .. }))), "{ended:?}");
    let session = Session::read(&out).unwrap();
    assert_eq!(session.label, Label::Live);
    assert_eq!(session.samples.last().unwrap().at, Instant::from_millis(19 * 40));
}

/// The hand of whoever presses Ctrl-C as soon as so many frames were given.
struct BrokenOff {
    camera: Unplugged,
    is_over: Arc<AtomicBool>,
}

impl Camera for BrokenOff {
    fn next_frame(&mut self, timeout: Duration) -> Result<Frame<'_>, CameraError> {
        self.is_over.store(self.camera.left == 0, Ordering::SeqCst);
        self.camera.next_frame(timeout)
    }

    fn describe(&self) -> String {
        self.camera.describe()
    }
}

#[test]
fn a_recording_that_is_broken_off_ends_there_and_its_file_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("session.csv");
    let args =
        Args { out: out.clone(), video: None, camera: true, seconds: None, label: Label::Live, note: String::new() };
    let portrait = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/ada-1.jpg");
    let (clock, is_over) = (SimClock::default(), Arc::new(AtomicBool::new(false)));
    let camera = ReplayCamera::open(&portrait, Pace::AsTaken, true, Arc::new(clock.clone())).unwrap();
    let camera = BrokenOff { camera: Unplugged { camera, clock, left: 20 }, is_over: Arc::clone(&is_over) };
    let ctx = Context::without_config(crate::cli::Globals::default());
    let report = record(&args, &ctx, Pictures::Camera(Box::new(camera)), 10.0, &is_over).unwrap();
    assert_eq!(report.frames, 20);
    assert_eq!(Session::read(&out).unwrap().samples.last().unwrap().at, Instant::from_millis(19 * 40));
}

#[test]
fn a_note_that_no_session_can_have_is_refused_before_anything_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("session.csv");
    for note in ["two\nlines".to_owned(), "x".repeat(257)] {
        let args = ["facelatch", "liveness", "record", "--video", "/nowhere", "--note", &note];
        let paths = [out.as_path()];
        assert_eq!(crate::cli::run(args.into_iter().map(Into::into).chain(paths.map(Into::into))), Code::Usage);
    }
    assert!(!out.exists());
}

#[test]
fn a_session_that_is_relabelled_is_the_same_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("session.csv");
    let session = Session { note: "a \"wall\"".to_owned(), ..session(|i| i as f32 / 3.0) };
    session.write(File::create_new(&path).unwrap()).unwrap();
    relabel(&path, Label::Unknown).unwrap();
    assert_eq!(Session::read(&path).unwrap(), Session { label: Label::Unknown, ..session });
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn troubles_are_told_by_sensor() {
    let told = |sensor, reason, at_s| Told { sensor, reason, at_s, spoils: false };
    let all = [told("distance", "failing", 0.0), told("distance", "stuck", 5.08), told("touch", "saturated", 1.0)];
    let noted = by_sensor(&all);
    assert_eq!(noted[0], ("distance", "failing from 0.0 s on, stuck from 5.1 s on".to_owned()));
    assert_eq!(noted[1..], [("touch", "saturated from 1.0 s on".to_owned())]);
}

#[test]
fn a_spread_is_by_nearest_rank() {
    let rising = session(|i| i as f32);
    let spread = Spread::of(&rising, Channel::Antispoof).unwrap();
    assert_eq!((spread.samples, spread.p5, spread.p50, spread.p95), (21, 1.0, 10.0, 19.0));
    assert_eq!(Spread::of(&rising, Channel::Yaw), None);
}
