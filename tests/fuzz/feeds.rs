//! Everything that facelatch reads from outside, each as a function of any bytes.
//!
//! A feed returns whether what it fed was taken. It must not panic, run on or take memory without bound; what is taken
//! must keep what its type promises, and what is refused be told in a sentence. The bounded tests and the targets of
//! `cargo fuzz` call the same feeds.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use facelatch::config::Config;
use facelatch::control::{self, Request, Response, client};
use facelatch::digest::Digest;
use facelatch::eval::Pairs;
use facelatch::face::align::{AlignedFace, TEMPLATE_112};
use facelatch::face::geometry::{Landmarks, Rect, Sampler};
use facelatch::face::landmarks::{LandmarkNetwork, Refiner};
use facelatch::face::{Canvas, Detection, Detector, Encoder, Encoding, Limits, MjpegDecoder, Quality};
use facelatch::face::{convert, photo, quality};
use facelatch::frame::{Frame, Geometry, MAX_SIDE, PixelFormat, RgbImage};
use facelatch::gallery::calibrate::Calibration;
use facelatch::gallery::seal::{DataKey, MasterKey};
use facelatch::gallery::{KeyPlaces, PairHead, Template, TemplateId};
use facelatch::gate::record::{Outcome, Record};
use facelatch::gate::schedule::{MAX_TEXT_BYTES, Schedule};
use facelatch::hw::sensors::iio::{Element, Scan};
use facelatch::hw::sensors::parse_line;
use facelatch::hw::store::{Act, EventQuery, MAX_EVENTS_A_QUERY, Store};
use facelatch::infer::{Kind, Manifest};
use facelatch::liveness::antispoof::Antispoof;
use facelatch::liveness::series::Window;
use facelatch::liveness::{Head, Session};
use facelatch::person::PersonId;
use facelatch::ports::{Camera, CameraError, MAX_CELLS};
use facelatch::sim::clock::SimClock;
use facelatch::sim::replay::{Pace, ReplayCamera};
use facelatch::time::{Instant, Wall};
use facelatch::units::{Fmr, Similarity};

/// The key of every database that is fed.
pub const KEY: [u8; 32] = [0x5a; 32];
pub const NOW: Wall = Wall::from_unix_millis(1_790_000_000_000);
pub const ACT: Act = Act { at: NOW, by_uid: None };
/// What the frames of [`jpeg`] are agreed to have.
pub const JPEG_SIDES: (u32, u32) = (48, 32);
/// Frames that are taken of one recording.
const MAX_FRAMES: usize = 8;

/// A folder in memory where there is one: what is fed is not meant to last.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder for what is fed")
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("the folder was made just now");
}

/// Splits off a part that says its length in front, in four bytes; all there is where that is less.
fn part(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return (bytes, &[]) };
    rest.split_at(rest.len().min(u32::from_le_bytes(*length) as usize))
}

/// What [`part`] takes apart.
pub fn join(parts: [&[u8]; 2]) -> Vec<u8> {
    let length = u32::try_from(parts[0].len()).expect("a seed is small");
    [&length.to_le_bytes(), parts[0], parts[1]].concat()
}

/// A sentence, and not a whole file of it.
fn is_told(error: &impl std::fmt::Display) {
    let told = error.to_string();
    assert!((3..100_000).contains(&told.len()), "told in {} bytes", told.len());
}

/// What was taken; what is refused is told.
fn taken<T>(read: Result<T, impl std::fmt::Display>) -> Option<T> {
    read.inspect_err(is_told).ok()
}

/// A camera's buffer: format, then width, height and stride in four bytes each, then the pixels.
pub fn frame(bytes: &[u8]) -> bool {
    const FORMATS: [PixelFormat; 5] =
        [PixelFormat::Rgb8, PixelFormat::Yuyv, PixelFormat::Nv12, PixelFormat::Grey, PixelFormat::Mjpeg];
    let Some((head, data)) = bytes.split_first_chunk::<13>() else { return false };
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let format = FORMATS[usize::from(head[0]) % FORMATS.len()];
    convert_to_rgb(Geometry { format, width: number(1), height: number(5), stride: number(9) }, data)
}

/// A frame of Motion JPEG.
pub fn jpeg(bytes: &[u8]) -> bool {
    convert_to_rgb(Geometry::packed(PixelFormat::Mjpeg, JPEG_SIDES.0, JPEG_SIDES.1), bytes)
}

fn convert_to_rgb(geometry: Geometry, data: &[u8]) -> bool {
    let Some(frame) = taken(Frame::new(geometry, 0, Instant::BOOT, data)) else { return false };
    let (mut picture, mut decoder) = (RgbImage::default(), MjpegDecoder::default());
    if taken(convert::to_rgb(&frame, &mut picture, &mut decoder)).is_none() {
        return false;
    }
    assert_eq!((picture.width(), picture.height()), (frame.width(), frame.height()));
    // A pixel that keeps its old value would show somebody who left.
    let mut again = picture.clone();
    again.data_mut().iter_mut().for_each(|byte| *byte = !*byte);
    convert::to_rgb(&frame, &mut again, &mut decoder).expect("it could be read before");
    assert!(again == picture, "a pixel was not written");
    true
}

/// A photo in any format.
pub fn photo(bytes: &[u8]) -> bool {
    let Some(picture) = taken(photo::decode(bytes)) else { return false };
    let sides = 1..=MAX_SIDE as usize;
    assert!(sides.contains(&picture.width()) && sides.contains(&picture.height()));
    true
}

/// A recording in Y4M, played in a loop.
pub fn y4m(bytes: &[u8]) -> bool {
    let dir = scratch();
    let path = dir.path().join("fed.y4m");
    write(&path, bytes);
    let Some(mut camera) = taken(ReplayCamera::open(&path, Pace::AsTaken, true, Arc::new(SimClock::default()))) else {
        return false;
    };
    for _ in 0..MAX_FRAMES {
        match camera.next_frame(Duration::from_millis(1)).map(|frame| frame.geometry().required_bytes()) {
            Ok(needed) => assert!(needed.is_ok()),
            Err(CameraError::Ended) => return false,
            Err(error) => is_told(&error),
        }
    }
    true
}

/// The configuration file.
pub fn config(bytes: &[u8]) -> bool {
    let parsed = Config::parse(&String::from_utf8_lossy(bytes), Path::new("facelatch.toml"))
        .inspect_err(|error| assert!(error.to_string().starts_with("facelatch.toml"), "{error}"));
    let Some(config) = taken(parsed) else { return false };
    config.policy().check().expect("a configuration that was taken is in its ranges");
    true
}

/// When a person may come in.
pub fn schedule(bytes: &[u8]) -> bool {
    let Some(schedule) = taken(Schedule::parse(&String::from_utf8_lossy(bytes))) else { return false };
    let shown = schedule.to_string();
    assert!(shown.len() <= MAX_TEXT_BYTES, "{} bytes are shown", shown.len());
    assert_eq!(Schedule::parse(&shown).as_ref(), Ok(&schedule), "{shown}");
    for at in [i64::MIN, -1, 0, NOW.unix_millis(), 4_102_444_800_000, i64::MAX] {
        let _either = schedule.admits(Wall::from_unix_millis(at));
    }
    true
}

/// What comes in at the control socket, and what comes back from something in the daemon's place.
pub fn control(bytes: &[u8]) -> bool {
    let asked = control::read_request(bytes).ok().and_then(Result::ok);
    if let Some(request) = &asked {
        let line = serde_json::to_vec(request).expect("a request is plain data");
        let again = control::read_request(&*line).expect("bytes can be read").expect("it could be read before");
        assert_eq!(again, *request);
    }
    let answers = [Request::Status {}, Request::Watch {}].map(|request| answer(bytes, &request));
    asked.is_some() || answers.contains(&true)
}

/// Asks what answers with `bytes`, whatever it is asked.
fn answer(bytes: &[u8], request: &Request) -> bool {
    let dir = scratch();
    let path = dir.path().join("control.sock");
    let listener = UnixListener::bind(&path).expect("the folder was made just now");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut asked = [0; 1024];
            // The client may have had enough before it took all of this.
            let _gone = stream.read(&mut asked).and_then(|_| stream.write_all(bytes));
        });
        let told = match request {
            Request::Watch {} => client::watch(&path, |_| true).map(|answer| answer.is_none()),
            _ => client::request(&path, request).map(|response| !matches!(response, Response::Refused { .. })),
        };
        told.inspect_err(is_told).unwrap_or(false)
    })
}

/// A network, with its description in front as [`join`] does it.
pub fn model(bytes: &[u8]) -> bool {
    let (description, network) = part(bytes);
    let dir = scratch();
    let path = dir.path().join("fed.onnx");
    write(&path, network);
    write(&path.with_extension("toml"), description);
    let Some(file) = taken(Manifest::builtin().open(&path)) else { return false };
    let picture = RgbImage::new(64, 48);
    let bbox = Rect { left: 8.0, top: 8.0, width: 32.0, height: 32.0 };
    let face = Detection { bbox, landmarks: TEMPLATE_112, score: 1.0 };
    let tried = match file.spec.kind() {
        Kind::Detector => {
            Detector::load(&file, Canvas::PHOTO).and_then(|mut detector| detector.detect(&picture)).map(|_| ())
        }
        Kind::Encoder => Encoder::load(&file)
            .and_then(|mut encoder| encoder.encode(&AlignedFace::default()))
            .map(|encoding| assert!(encoding.as_slice().iter().all(|number| number.is_finite()))),
        Kind::AntiSpoof => Antispoof::load(std::slice::from_ref(&file))
            .and_then(|networks| networks.map(|mut networks| networks.judge(&picture, &face)).transpose())
            .map(|_| ()),
        Kind::Landmarks => LandmarkNetwork::load(&file)
            .and_then(|network| Refiner::Network(network).refine(&picture, &face))
            .map(|points| assert!(points.is_none_or(|points| points.is_finite()))),
        Kind::Liveness => Head::load(&file).and_then(|mut head| head.score(&Window::default())).map(|_| ()),
    };
    tried.inspect_err(is_told).is_ok()
}

/// Five points that a network found, as ten numbers, on a picture: aligned and judged.
pub fn points(bytes: &[u8]) -> bool {
    let mut numbers = bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number));
    let mut landmarks = TEMPLATE_112;
    landmarks.0.iter_mut().flatten().zip(&mut numbers).for_each(|(to, number)| *to = number);
    let mut side = || numbers.next().unwrap_or(0.0);
    let bbox = Rect { left: side(), top: side(), width: side(), height: side() };
    let found = Detection { bbox, landmarks: Landmarks(landmarks.0), score: side() };
    let mut face = AlignedFace::default();
    let is_aligned = face.align(&RgbImage::new(64, 48), &landmarks, &mut Sampler::default());
    let measured = Quality::measure(&found, &landmarks, &face);
    assert!((0.0..=1.0).contains(&measured.score()));
    let passes = quality::check(&measured, &Limits::default()).is_ok();
    assert!(!passes || landmarks.is_finite());
    is_aligned
}

/// A database and its log, as [`join`] does it.
pub fn database(bytes: &[u8]) -> bool {
    let (main, log) = part(bytes);
    let dir = scratch();
    let path = dir.path().join("gallery.db");
    write(&path, main);
    if !log.is_empty() {
        write(&dir.path().join("gallery.db-wal"), log);
    }
    let key = MasterKey::from_bytes(KEY);
    let _looked = Store::open_read_only(&path, Some(&key)).map(|store| read_all(&store)).inspect_err(is_told);
    let Some(mut store) = taken(Store::open(&path, &key)) else { return false };
    read_all(&store);
    let appended = store.append_event(&Record::new(NOW, Outcome::Exit));
    let _appended = appended.inspect_err(is_told);
    let _erased = store.erase(PersonId::new(1), ACT).inspect_err(is_told);
    let _cut = store.retain_events(Duration::ZERO, NOW, None).inspect_err(is_told);
    true
}

fn read_all(store: &Store) {
    let _people = store.people().inspect_err(is_told);
    let _templates = store.templates().inspect_err(is_told);
    let events = store.events(&EventQuery::default()).inspect_err(is_told);
    let chain = store.verify_chain().inspect_err(is_told);
    if let Ok(chain) = chain
        && chain.broken.is_none()
        && chain.intact < MAX_EVENTS_A_QUERY as u64
    {
        assert_eq!(events.expect("a whole chain can be read").len() as u64, chain.intact);
    }
}

/// A template out of its seal.
pub fn template(bytes: &[u8]) -> bool {
    let Some(template) = taken(Template::from_bytes(TemplateId::new(1), PersonId::new(1), Digest([0; 32]), bytes))
    else {
        return false;
    };
    assert!(template.quality.is_finite());
    assert_eq!(template.to_bytes().as_slice(), bytes);
    true
}

/// A key, and the one template that it sealed.
static SEALED: LazyLock<(DataKey, Template, Vec<u8>)> = LazyLock::new(|| {
    let key = DataKey::generate().expect("the kernel gives random numbers");
    let encoding = Encoding::from_raw(&[0.1, 0.2, 0.3, 0.4]).expect("it has a direction");
    let (id, person) = (TemplateId::new(1), PersonId::new(1));
    let template = Template { id, person, encoding, model_sha256: Digest([7; 32]), quality: 0.5, created: NOW };
    let sealed = key.seal(&template).expect("the kernel gives random numbers");
    (key, template, sealed)
});

/// The bytes that [`sealed`] takes, and no others.
pub fn sealed_template() -> &'static [u8] {
    &SEALED.2
}

/// A sealed template, and the same as a wrapped key and a check value.
pub fn sealed(bytes: &[u8]) -> bool {
    let (key, template, whole) = &*SEALED;
    let opened = key.open(template.id, template.person, template.model_sha256, bytes);
    assert_eq!(opened.is_ok(), bytes == whole, "a seal holds on other bytes than it was put on");
    let master = MasterKey::from_bytes(KEY);
    assert!(DataKey::unwrap(&master, template.person, bytes).is_err() && !master.made(bytes));
    opened.inspect_err(is_told).is_ok_and(|opened| opened == *template)
}

/// The key file.
pub fn key_file(bytes: &[u8]) -> bool {
    let dir = scratch();
    let file = dir.path().join("facelatch.key");
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
    made.and_then(|mut file| file.write_all(bytes)).expect("the folder was made just now");
    let found = KeyPlaces { credentials: None, file }.find(&dir.path().join("gallery.db"));
    found.inspect_err(is_told).is_ok()
}

/// `pairs.txt`.
pub fn pairs(bytes: &[u8]) -> bool {
    let Some(pairs) = taken(Pairs::parse(&String::from_utf8_lossy(bytes))) else { return false };
    assert!(pairs.pairs.iter().all(|pair| {
        let is_there = |image: usize| image < pairs.images.len();
        is_there(pair.a) && is_there(pair.b) && pair.fold < pairs.folds
    }));
    for image in &pairs.images {
        let path = image.path(&PathBuf::from("lfw"));
        assert_eq!(path.components().count(), 3, "{} leads elsewhere", path.display());
    }
    true
}

/// A table from score to false match rate.
pub fn calibration(bytes: &[u8]) -> bool {
    let Some(table) = taken(Calibration::parse(&String::from_utf8_lossy(bytes))) else { return false };
    assert!(table.rows().windows(2).all(|w| w[0].similarity < w[1].similarity && w[0].upper >= w[1].upper));
    for rate in [1e-9, 1e-4, 0.5].into_iter().filter_map(Fmr::new) {
        let threshold = table.threshold_for(rate);
        assert!(!threshold.met || threshold.bound <= rate);
        assert_eq!(table.fmr_at(threshold.similarity), Some(threshold.bound));
    }
    let _any = [-1.0, 0.3, 1.0].map(|cosine| Similarity::new(cosine).and_then(|cosine| table.fmr_at(cosine)));
    true
}

/// A pair head with its table.
pub fn pair_head(bytes: &[u8]) -> bool {
    let Some(head) = taken(PairHead::parse(&String::from_utf8_lossy(bytes))) else { return false };
    let axis = |at: usize| (0..head.dims()).map(|i| f32::from(u8::from(i == at))).collect::<Vec<_>>();
    let (first, last) = (axis(0), axis(head.dims() - 1));
    assert_eq!(head.score(&first, &first), 1.0);
    assert!((-1.0..=1.0).contains(&head.score(&first, &last)) && head.log_odds(&first, &last).is_finite());
    // A table is rounded as it is written, and rows that are nearer to each other than that don't read back.
    if head.table().is_none() {
        assert_eq!(PairHead::parse(&head.to_toml()).as_ref(), Ok(&head));
    }
    true
}

/// A session of liveness' channels.
pub fn session(bytes: &[u8]) -> bool {
    let Some(session) = taken(Session::parse(bytes)) else { return false };
    assert!(session.samples.is_sorted_by_key(|sample| sample.at));
    assert!(session.samples.iter().all(|sample| sample.value.is_finite()));
    // Times are written to 0.1 ms, so it is the writing that has to read back.
    let mut written = Vec::new();
    if session.write(&mut written).is_ok() {
        let again = Session::parse(&*written).expect("what was written reads back");
        assert_eq!((again.label, again.origin, &again.note), (session.label, session.origin, &session.note));
    }
    true
}

/// A grid's line of text.
pub fn grid_line(bytes: &[u8]) -> bool {
    let mut cells = Vec::new();
    let Some(line) = taken(parse_line(bytes, &mut cells)) else { return false };
    assert_eq!(line.columns * line.rows, cells.len());
    assert!(cells.len() <= MAX_CELLS && cells.iter().all(|cell| !cell.is_infinite()));
    true
}

/// The forms of a buffer's channels, a line each, and what stands in it, as [`join`] does it.
pub fn scan(bytes: &[u8]) -> bool {
    let (forms, buffer) = part(bytes);
    let forms = String::from_utf8_lossy(forms);
    let elements: Option<Vec<_>> = (0..).zip(forms.lines()).map(|(i, form)| Some((i, Element::parse(form)?))).collect();
    let Some(scan) = elements.and_then(|elements| Scan::new(&elements)) else { return false };
    for one in buffer.chunks(scan.size()) {
        for (i, form) in forms.lines().enumerate() {
            let number = scan.number(i, one);
            let largest = Element::parse(form).expect("it could be read before").full_scale();
            assert!(number.is_none_or(|number| (number as f64).abs() <= largest + 1.0), "{form}");
            assert!(number.is_some() || one.len() < scan.size());
        }
    }
    true
}
