//! The stages of a frame, each with its own clock, and the allocations of the whole.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use super::WARM_UP;
use super::frames::Frames;
use crate::cli::context::{Context, dims};
use crate::cli::exit::{Code, Failure};
use crate::cli::scratch;
use crate::eval::run::nearest_rank;
use crate::face::align::{SIDE, TEMPLATE_112};
use crate::face::pipeline::Placing;
use crate::face::{Canvas, Detection, Detector, Faces, MjpegDecoder, Rect, convert, detect, landmarks};
use crate::frame::RgbImage;
use crate::gallery::{Index, MasterKey, Scratch};
use crate::gate::{Outcome, Record};
use crate::hw::alloc::allocations_here;
use crate::hw::store::Store;
use crate::infer::network::OutputSpec;
use crate::infer::{ModelFile, PictureNetwork};
use crate::liveness::camera::{FaceFrame, FaceTracker};
use crate::liveness::series::{SPAN, Series, TICK, TICKS, Window};
use crate::liveness::{Channel, Sample};
use crate::ports::Ledger as _;

/// Events written to measure one.
const APPENDS: usize = 50;
/// Of pictures that stand for a camera's JPEG; webcams lie about there.
const JPEG_QUALITY: u8 = 85;
/// From one frame to the next, for what looks at changes.
const FRAME: Duration = Duration::from_millis(40);
/// A made-up face's side, as a share of the picture's height.
const FACE_SHARE: f32 = 0.4;

/// Median and 95th percentile (nearest rank).
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Time {
    pub p50_us: f64,
    pub p95_us: f64,
}

impl Time {
    /// 0 where nothing was measured.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent| nearest_rank(&times, percent).map_or(0.0, |time| time.as_nanos() as f64 / 1e3);
        Self { p50_us: at(50), p95_us: at(95) }
    }
}

/// What needs a network, in the order in which a frame passes it. `watch` is what liveness takes from the frame,
/// `search` is among those who are enrolled.
const STAGES: [&str; 7] = ["detect", "landmarks", "align", "quality", "embed", "watch", "search"];

/// By name, in the order in which a frame passes them; without a network [`STAGES`] are left out. `mjpeg` is in the
/// place of `convert` where the camera gives JPEG: the last picture, encoded here. `liveness` is a window of two
/// seconds drawn and scored, on the liveness thread and not for each frame.
pub type Times = Vec<(&'static str, Time)>;

/// As one object.
pub fn by_name<S: Serializer>(times: &[(&'static str, Time)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(times.iter().copied())
}

pub struct Measured {
    pub times: Times,
    pub allocations_per_frame: Option<f64>,
    pub faces: u32,
}

/// The networks with the gallery to search, and what their runtime allocates in a frame.
pub struct Chain {
    faces: Faces,
    index: Index,
    scratch: Scratch,
    tracker: FaceTracker,
    /// Frames of a benchmark have no time of their own.
    looked_at: crate::time::Instant,
    made_up: Detection,
    runtime_allocations: u64,
}

/// A list for each of [`STAGES`].
type Laps = [Vec<Duration>; STAGES.len()];

impl Chain {
    pub fn new(mut faces: Faces, ctx: &Context, width: u32, height: u32) -> Result<Self, Failure> {
        let model = faces.encoder.spec();
        let templates = ctx.templates()?;
        let index = Index::of_people(&model.sha256, dims(model)?, &templates)?.decided_by(ctx.decider(model)?)?;
        let runtime_allocations = runtime_allocations(&mut faces, ctx, width, height)?;
        let (made_up, scratch) = (in_the_middle(width as f32, height as f32), index.scratch());
        let (tracker, looked_at) = Default::default();
        Ok(Self { faces, index, scratch, tracker, looked_at, made_up, runtime_allocations })
    }

    /// Encoder and detector.
    pub fn names(&self) -> (String, String) {
        (self.faces.encoder.spec().name.clone(), self.faces.detector.spec().name.clone())
    }

    /// Whether there was a face.
    fn run(&mut self, image: &RgbImage, laps: &mut Laps) -> Result<bool, Failure> {
        let (mut begun, mut lists) = (Instant::now(), laps.iter_mut());
        let mut lap = || {
            let time = std::mem::replace(&mut begun, Instant::now()).elapsed();
            if let Some(list) = lists.next() {
                list.push(time);
            }
        };
        let found = self.faces.detector.detect(image)?;
        lap();
        let face = detect::principal(&found, image.width(), image.height());
        let (is_face, face) = (face.is_some(), face.unwrap_or(&self.made_up));
        let landmarks = self.faces.refine(image, face)?;
        lap();
        let _aligned = self.faces.align(image, &landmarks);
        lap();
        let quality = std::hint::black_box(self.faces.quality(face, &landmarks));
        lap();
        let encoding = self.faces.encode()?;
        lap();
        self.looked_at = self.looked_at + FRAME;
        std::hint::black_box(self.tracker.update(&FaceFrame {
            at: self.looked_at,
            image,
            found: face,
            landmarks: &landmarks,
            aligned: self.faces.aligned(),
            quality: &quality,
            encoding: Some(&encoding),
        }));
        lap();
        std::hint::black_box(self.index.search(&encoding, &mut self.scratch));
        lap();
        Ok(is_face)
    }
}

/// What one frame costs in the networks' runtime alone: one look, the closer looks, one encoding.
fn runtime_allocations(faces: &mut Faces, ctx: &Context, width: u32, height: u32) -> Result<u64, Failure> {
    let image = RgbImage::new(width as usize, height as usize);
    let mut count = allocations_of(|| Ok(faces.detector.maps(&image)?.1))?;
    let choice = ctx.model_choice()?;
    count += match &choice.landmarks {
        Placing::Detector => 0,
        Placing::SecondLook => {
            let mut detector = Detector::load(&choice.detector, Canvas::square(landmarks::SIDE))?;
            // A view and its mirror image.
            2 * allocations_of(|| Ok(detector.maps(&image)?.1))?
        }
        Placing::Network(file) => {
            let side = file.spec.input.width;
            let mut network =
                PictureNetwork::load(file, side, side, &[OutputSpec { name: "", len: landmarks::OUTPUTS, each: 1 }])?;
            let view = RgbImage::new(side, side);
            landmarks::PASSES as u64 * allocations_of(|| Ok(network.run(&view)?))?
        }
    };
    let mut encoder = bare_encoder(&choice.encoder)?;
    let face = RgbImage::new(SIDE, SIDE);
    Ok(count + allocations_of(|| Ok(encoder.run(&face)?))?)
}

fn bare_encoder(file: &ModelFile) -> Result<PictureNetwork, Failure> {
    Ok(PictureNetwork::load(file, SIDE, SIDE, &[OutputSpec { name: "", len: dims(&file.spec)?, each: 1 }])?)
}

/// Allocations of one run, once warm.
fn allocations_of<T>(mut run: impl FnMut() -> Result<T, Failure>) -> Result<u64, Failure> {
    for _ in 0..WARM_UP {
        drop(run()?);
    }
    let before = allocations_here();
    drop(run()?);
    Ok(allocations_here() - before)
}

/// A face that looks ahead from the middle of the picture, for frames that have none.
fn in_the_middle(width: f32, height: f32) -> Detection {
    let side = height * FACE_SHARE;
    let (left, top, scale) = ((width - side) / 2.0, (height - side) / 2.0, side / 112.0);
    let landmarks = TEMPLATE_112.map(|[x, y]| [left + x * scale, top + y * scale]);
    Detection { bbox: Rect { left, top, width: side, height: side }, landmarks, score: 1.0 }
}

/// Runs the frames through everything there is.
pub fn measure(
    mut chain: Option<Chain>,
    frames: &Frames,
    rounds: u32,
    ctx: &Context,
    progress: &dyn Fn(u64),
) -> Result<Measured, Failure> {
    let rounds = rounds as usize;
    let (mut image, mut decoder) = (RgbImage::default(), MjpegDecoder::default());
    let mut convert_times = Vec::with_capacity(rounds + WARM_UP);
    // Room for all of them, so that the clocks themselves allocate nothing.
    let mut laps: Laps = STAGES.map(|_| Vec::with_capacity(rounds + WARM_UP));
    let (mut faces, mut allocations) = (0, 0);
    for round in 0..rounds + WARM_UP {
        let frame = frames.get(round).map_err(|error| Failure::said(Code::Config, format!("[camera]: {error}")))?;
        let before = allocations_here();
        let begun = Instant::now();
        convert::to_rgb(&frame, &mut image, &mut decoder)
            .map_err(|error| Failure::said(Code::Data, format!("{}: {error}", frames.describe())))?;
        convert_times.push(begun.elapsed());
        let is_face = match &mut chain {
            Some(chain) => chain.run(&image, &mut laps)?,
            None => false,
        };
        if round >= WARM_UP {
            allocations += allocations_here() - before;
            faces += u32::from(is_face);
            progress((round - WARM_UP + 1) as u64);
        }
    }
    let warm = |times: Vec<Duration>| Time::of(times.into_iter().skip(WARM_UP).collect());
    let mut times = vec![("convert", warm(convert_times)), ("mjpeg", warm(decode(&image, rounds, &mut decoder)?))];
    if chain.is_some() {
        times.extend(STAGES.into_iter().zip(laps.map(warm)));
    }
    times.extend([("liveness", warm(judge(ctx, rounds)?)), ("append", append(ctx)?)]);
    let outside = |chain: &Chain| allocations as f64 / rounds as f64 - chain.runtime_allocations as f64;
    Ok(Measured { times, allocations_per_frame: chain.as_ref().map(outside), faces })
}

/// How long it takes to decode such a picture, warming up included. It has all its colour, half of which cameras leave
/// out: theirs takes less.
fn decode(image: &RgbImage, rounds: usize, decoder: &mut MjpegDecoder) -> Result<Vec<Duration>, Failure> {
    let (width, height) = (image.width(), image.height());
    let unfit = |error: String| Failure::said(Code::Data, format!("a picture of {width}x{height}: {error}"));
    let side = |side: usize| u32::try_from(side).map_err(|error| unfit(error.to_string()));
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
        .encode(image.data(), side(width)?, side(height)?, image::ExtendedColorType::Rgb8)
        .map_err(|error| unfit(error.to_string()))?;
    let mut out = RgbImage::default();
    let mut times = Vec::with_capacity(rounds + WARM_UP);
    for _ in 0..rounds + WARM_UP {
        let begun = Instant::now();
        decoder.decode(&bytes, width, height, &mut out).map_err(|error| unfit(error.to_string()))?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// How long one judgement of every channel there is takes, warming up included.
fn judge(ctx: &Context, rounds: usize) -> Result<Vec<Duration>, Failure> {
    let (mut head, mut series, mut window) = (ctx.liveness_head()?, Series::default(), Window::default());
    let start = crate::time::Instant::BOOT + SPAN;
    for at in (0..=TICKS as u32).map(|i| start + TICK * i) {
        for channel in Channel::all() {
            let [low, high] = channel.spec().limits;
            series.push(Sample { at, channel, value: low.midpoint(high) });
        }
    }
    let mut times = Vec::with_capacity(rounds + WARM_UP);
    for _ in 0..rounds + WARM_UP {
        let begun = Instant::now();
        series.draw(start + SPAN, &mut window);
        std::hint::black_box(head.score(&window)?);
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// A durable entry in a ledger of its own, on the disk that the real one is on.
fn append(ctx: &Context) -> Result<Time, Failure> {
    let dir = ctx.state_dir().ok().filter(|dir| dir.is_dir()).unwrap_or_else(std::env::temp_dir);
    let scratch = scratch::Scratch::within(&dir)?;
    let key = MasterKey::generate().map_err(|error| Failure::said(Code::Os, error.to_string()))?;
    let mut store = Store::open(&scratch.path().join("bench.db"), &key)?;
    let mut times = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        let record = Record::new(ctx.act().at, Outcome::NotRecognised);
        let begun = Instant::now();
        store.append(&record).map_err(|sentence| Failure::said(Code::Io, sentence))?;
        times.push(begun.elapsed());
    }
    Ok(Time::of(times))
}
