//! `liveness record`: a session of the channels of camera and sensors, measured as the daemon measures them. A video
//! has no sensors beside it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::sensor_tap::SensorTap;
use crate::cli::context::{Context, dims};
use crate::cli::exit::{Code, Failure, Verdict};
use crate::cli::{counted, note};
use crate::daemon::Recogniser;
use crate::draft::Draft;
use crate::eval::run::nearest_rank;
use crate::frame::Frame;
use crate::gallery::Index;
use crate::hw::clock::BootClock;
use crate::hw::sensors;
use crate::liveness::camera::{CameraTap, TrackUpdate};
use crate::liveness::session::{MAX_SECONDS, WriteError, Writer, seconds};
use crate::liveness::{Channel, Label, Origin, Sample, Session, Source};
use crate::ports::{Camera, CameraError, Clock as _, Perception as _, PerceptionError};
use crate::sim::replay::{Pace, ReplayCamera};
use crate::time::{Duration, Instant};

/// How long a camera is recorded unless stated.
const DEFAULT_SECONDS: f64 = 10.0;
/// ffmpeg may take a while to start, and a camera to wake.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What liveness judges over.
const WINDOW: Duration = Duration::from_secs(2);
/// Frames in a row that can't be judged before the recording is given up.
const MAX_BAD: u32 = 50;

/// One session is one person, or one attack: what is written of two is told as a warning.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; it must not exist yet
    out: PathBuf,
    /// Take the pictures from a folder, a .y4m or a video
    #[arg(long, value_name = "FILE", conflicts_with = "camera")]
    video: Option<PathBuf>,
    /// Take them from the configured camera, as without --video
    #[arg(long)]
    camera: bool,
    /// For how long [default: 10 for a camera, the whole of a video]
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Who or what stands there: live, unknown, or the kind of attack, such as print_flat
    #[arg(long, value_name = "KIND", default_value = "unknown", value_parser = label)]
    label: Label,
    /// What else should be known of it
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = fits)]
    note: String,
}

fn label(name: &str) -> Result<Label, String> {
    let known = || Label::ALL.map(Label::as_str).join(", ");
    Label::parse(name).ok_or_else(|| format!("known are {}", known()))
}

/// A note that a session can have.
fn fits(note: &str) -> Result<String, String> {
    let writer = Writer::new(std::io::sink(), Label::Unknown, Origin::Recorded, note, &[], Instant::BOOT);
    writer.map(|_| note.to_owned()).map_err(|error| error.to_string())
}

/// Whether a signal has come. The first ends a recording, the second the process.
fn signalled() -> Result<Arc<AtomicBool>, Failure> {
    let came = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&came))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&came)))
            .map_err(|error| Failure::said(Code::Os, format!("signals can't be looked for: {error}")))?;
    }
    Ok(came)
}

#[derive(Debug, Default, Serialize)]
struct Report {
    #[serde(serialize_with = "crate::eval::spelt")]
    file: PathBuf,
    label: &'static str,
    frames: u64,
    /// With a face whose channels were measured.
    seen: u64,
    /// How often a face began that continued none.
    faces: u64,
    samples: u64,
    seconds: f64,
    /// Why it ended although the pictures did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    full: Option<String>,
    /// What kept sensors from being heard.
    troubles: Vec<Told>,
    channels: Vec<Spread>,
    /// Where networks for single frames looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    antispoof: Option<Windows>,
}

/// The first time that a sensor's word could not be taken for a reason.
#[derive(Debug, PartialEq, Serialize)]
struct Told {
    sensor: &'static str,
    reason: &'static str,
    /// Seconds from the start.
    at_s: f64,
    /// What was recorded of it before is in doubt, too, and the session's label with it.
    spoils: bool,
}

/// How a channel was spread over the session: the values that 5, 50 and 95 in 100 samples don't exceed (nearest rank).
#[derive(Debug, PartialEq, Serialize)]
struct Spread {
    channel: &'static str,
    samples: usize,
    p5: f32,
    p50: f32,
    p95: f32,
}

/// Windows of [`WINDOW`] whose mean antispoof is above one half, one window beginning at each sample, of those that end
/// within the session.
#[derive(Debug, PartialEq, Serialize)]
struct Windows {
    live: usize,
    all: usize,
}

impl Spread {
    /// `None` without samples.
    fn of(session: &Session, channel: Channel) -> Option<Self> {
        let of_it = session.samples.iter().filter(|sample| sample.channel == channel);
        let mut values: Vec<f32> = of_it.map(|sample| sample.value).collect();
        values.sort_unstable_by(f32::total_cmp);
        let at = |percent| nearest_rank(&values, percent);
        Some(Self { channel: channel.name(), samples: values.len(), p5: at(5)?, p50: at(50)?, p95: at(95)? })
    }
}

impl Windows {
    /// `None` of a session without the channel.
    fn of(session: &Session) -> Option<Self> {
        let is_it = |sample: &&Sample| sample.channel == Channel::Antispoof;
        let samples: Vec<_> = session.samples.iter().filter(is_it).collect();
        let last = session.samples.last()?.at;
        let mut windows = Self { live: 0, all: 0 };
        for (i, first) in samples.iter().enumerate().take_while(|(_, first)| first.at + WINDOW <= last) {
            let within = samples[i..].iter().take_while(|sample| sample.at.since(first.at) < WINDOW);
            let (sum, count) = within.fold((0.0, 0.0), |(sum, count), sample| (sum + sample.value, count + 1.0));
            windows.all += 1;
            windows.live += usize::from(sum / count > 0.5);
        }
        (!samples.is_empty()).then_some(windows)
    }
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let limit = args.seconds.or_else(|| args.video.is_none().then_some(DEFAULT_SECONDS)).unwrap_or(MAX_SECONDS);
    if !(limit > 0.0 && limit <= MAX_SECONDS) {
        return Err(Failure::Usage(format!("--seconds {limit}: write more than 0 and at most {MAX_SECONDS}")));
    }
    let pictures = match &args.video {
        Some(path) => Pictures::Video(ReplayCamera::open(path, Pace::AsTaken, false, Arc::new(BootClock))?),
        None => Pictures::Camera(ctx.open_camera()?),
    };
    let came = signalled()?;
    let recorded = record(args, ctx, pictures, limit, &came);
    came.store(true, Ordering::SeqCst);
    let mut report = recorded?;
    let session = Session::read(&args.out).map_err(|error| Failure::said(Code::Data, error.to_string()))?;
    report.channels = Channel::all().filter_map(|channel| Spread::of(&session, channel)).collect();
    report.antispoof = Windows::of(&session);
    ctx.out.json(&report)?;
    ctx.out.line(summary(&report))?;
    Ok(Verdict::from(report.seen > 0))
}

/// Records for so many seconds, or until `is_over`. A camera or network that fails ends it, and what came until then is
/// in the file.
fn record(
    args: &Args,
    ctx: &Context,
    mut pictures: Pictures,
    limit: f64,
    is_over: &AtomicBool,
) -> Result<Report, Failure> {
    let mut recorder: Option<Recorder> = None;
    let mut bad = 0;
    let ended = loop {
        let frame = match pictures.next() {
            // The signal may have ended ffmpeg, too.
            _ if is_over.load(Ordering::SeqCst) => break Ok(()),
            Ok(frame) => frame,
            Err(CameraError::Ended) => break Ok(()),
            Err(CameraError::BadFrame(_)) if bad < MAX_BAD => {
                bad += 1;
                continue;
            }
            Err(error) => break Err(error.into()),
        };
        bad = 0;
        let recorder = match &mut recorder {
            Some(recorder) => recorder,
            none => none.insert(Recorder::new(args, ctx, &frame)?),
        };
        if frame.captured_at().since(recorder.start).as_secs_f64() > limit {
            break Ok(());
        }
        if let Err(error) = recorder.take(&frame) {
            break Err(error);
        }
        if recorder.report.full.is_some() {
            break Ok(());
        }
    };
    let finished = recorder.map(Recorder::finish);
    // What ended it is what is wrong; that the file can't be finished then mostly follows from it.
    ended?;
    finished.unwrap_or_else(|| Err(Failure::said(Code::Data, "there was no picture to record")))
}

fn summary(report: &Report) -> String {
    if let Some(full) = &report.full {
        note(format_args!(
            "facelatch: {full}: the recording ended there, and what was measured until then is in the file"
        ));
    }
    if report.faces > 1 {
        note(format_args!(
            "facelatch: the face changed or was lost {}; a session should be of one face throughout",
            counted(report.faces as usize - 1, "time", "times")
        ));
    }
    for (sensor, whys) in by_sensor(&report.troubles) {
        note(format_args!("facelatch: {sensor} was no measurement at times: {whys}"));
    }
    if report.troubles.iter().any(|told| told.spoils) {
        note(format_args!(
            "facelatch: what was recorded of such a sensor before is in doubt, too: the session's label is unknown"
        ));
    }
    let mut told = format!(
        "{}: {:.1} s, {} with a face, {}\n\n{:<18} {:>7} {:>10} {:>10} {:>10}",
        report.file.display(),
        report.seconds,
        counted(report.seen as usize, "frame", "frames"),
        counted(report.samples as usize, "sample", "samples"),
        "channel",
        "samples",
        "5 %",
        "median",
        "95 %",
    );
    for Spread { channel, samples, p5, p50, p95 } in &report.channels {
        told.push_str(&format!("\n{channel:<18} {samples:>7} {p5:>10.3} {p50:>10.3} {p95:>10.3}"));
    }
    if let Some(Windows { live, all }) = report.antispoof {
        told.push_str(&format!("\n\nantispoof says live in {live} of {all} windows of {WINDOW:?}"));
    }
    told
}

/// `stuck from 5.1 s on, late from 7.0 s on` of each sensor.
fn by_sensor(troubles: &[Told]) -> Vec<(&'static str, String)> {
    let of_one = |all: &[Told]| {
        let whys: Vec<_> = all.iter().map(|told| format!("{} from {:.1} s on", told.reason, told.at_s)).collect();
        (all[0].sensor, whys.join(", "))
    };
    troubles.chunk_by(|a, b| a.sensor == b.sensor).map(of_one).collect()
}

/// A camera whose frames have its own time, or a video whose frames have the recording's.
enum Pictures {
    Camera(Box<dyn Camera>),
    Video(ReplayCamera),
}

impl Pictures {
    fn next(&mut self) -> Result<Frame<'_>, CameraError> {
        match self {
            Self::Camera(camera) => camera.next_frame(TIMEOUT),
            Self::Video(video) => {
                let interval = video.interval();
                let frame = video.next_frame(TIMEOUT)?;
                let at = Instant::BOOT + interval * frame.sequence();
                Frame::new(frame.geometry(), frame.sequence(), at, frame.data())
                    .map_err(|error| CameraError::BadFrame(error.to_string()))
            }
        }
    }
}

/// The daemon's taps on camera and sensors, with nobody enrolled, and the file.
struct Recorder {
    start: Instant,
    recogniser: Recogniser,
    nobody: Index,
    told: Receiver<TrackUpdate>,
    sensor_tap: Option<SensorTap>,
    writer: Writer<BufWriter<File>>,
    report: Report,
}

impl Recorder {
    fn new(args: &Args, ctx: &Context, frame: &Frame<'_>) -> Result<Self, Failure> {
        let faces = ctx.faces_for(frame.width() as u32, frame.height() as u32)?;
        let model = faces.encoder.spec();
        let nobody = Index::build(&model.sha256, dims(model)?, &[])?;
        let antispoof = ctx.antispoof()?;
        let has_antispoof = antispoof.is_some();
        let live = args.video.is_none();
        let sensor_tap =
            live.then(|| SensorTap::new(sensors::open(&ctx.config.sensors), ctx.config.liveness.camera_view_deg));
        let is_measured = |channel: &Channel| match channel.source() {
            Source::Camera => true,
            Source::Antispoof => has_antispoof,
            _ => sensor_tap.as_ref().is_some_and(|sensor_tap| sensor_tap.measure(*channel)),
        };
        let channels: Vec<_> = Channel::all().filter(is_measured).collect();
        // A frame is looked at once, and what it tells is taken before the next.
        let (tell, told) = sync_channel(1);
        let tap = CameraTap::new(antispoof, Box::new(move |update| drop(tell.try_send(update.clone()))));
        let recogniser = Recogniser::new(faces, ctx.config.limits()).tapped_by(tap);
        let start = frame.captured_at();
        let file = BufWriter::new(File::create_new(&args.out).map_err(Failure::io(&args.out))?);
        let writer = Writer::new(file, args.label, Origin::Recorded, &args.note, &channels, start);
        let writer = writer.map_err(|error| {
            let _nothing_is_in_it = std::fs::remove_file(&args.out);
            not_written(&args.out, error)
        })?;
        let report = Report { file: args.out.clone(), label: args.label.as_str(), ..Report::default() };
        Ok(Self { start, recogniser, nobody, told, sensor_tap, writer, report })
    }

    fn take(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        let report = &mut self.report;
        report.frames += 1;
        report.seconds = frame.captured_at().since(self.start).as_secs_f64();
        match self.recogniser.perceive(frame, &self.nobody, None) {
            Ok(_) | Err(PerceptionError::Frame(_)) => {}
            Err(error @ PerceptionError::Network(_)) => return Err(Failure::said(Code::Software, error.to_string())),
        }
        for update in self.told.try_iter() {
            if let Some(sensor_tap) = &mut self.sensor_tap {
                sensor_tap.update(&update);
            }
            let Some(face) = update.face() else { continue };
            report.seen += 1;
            report.faces += u64::from(update.forgets());
            write(&mut self.writer, &face.samples, report)?;
        }
        if let Some(sensor_tap) = &mut self.sensor_tap {
            let heard = sensor_tap.hear(self.start, BootClock.now().mono);
            write(&mut self.writer, &heard, report)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Report, Failure> {
        let Self { writer, mut report, .. } = self;
        report.samples = writer.samples() as u64;
        writer.finish().map_err(|error| not_written(&report.file, error))?;
        let troubles = self.sensor_tap.iter().flat_map(SensorTap::troubles);
        let told = troubles.map(|trouble| Told {
            sensor: trouble.kind.as_str(),
            reason: trouble.why.as_str(),
            at_s: seconds(self.start, trouble.at),
            spoils: trouble.spoils,
        });
        report.troubles = told.collect();
        if report.troubles.iter().any(|told| told.spoils) {
            report.label = Label::Unknown.as_str();
            relabel(&report.file, Label::Unknown)?;
        }
        Ok(report)
    }
}

/// Gives a session another label, whole or not at all: a head that trains on it and an evaluation must not take it for
/// what it was said to be.
fn relabel(path: &Path, label: Label) -> Result<(), Failure> {
    let session = Session { label, ..Session::read(path)? };
    let mut text = Vec::new();
    session.write(&mut text).map_err(|error| not_written(path, error))?;
    Draft::in_place_of(path, &text).and_then(Draft::place).map_err(Failure::io(path))
}

/// Writes what there is room for; a session that is full is no failure, and ends there.
fn write(writer: &mut Writer<impl Write>, samples: &[Sample], report: &mut Report) -> Result<(), Failure> {
    match writer.write(samples) {
        Err(full @ WriteError::Full) => {
            report.full = Some(full.to_string());
            Ok(())
        }
        written => written.map_err(|error| not_written(&report.file, error)),
    }
}

fn not_written(path: &Path, error: WriteError) -> Failure {
    match error {
        WriteError::Io(source) => Failure::io(path)(source),
        error => Failure::said(Code::Data, format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests;
