//! `bench`: how long each stage takes on this board, and what a frame costs.
//!
//! Stages that need a network are left out, and said to be, where there is none.

mod frames;
mod search;
mod stages;

use std::path::PathBuf;

use serde::Serialize;

use super::context::Context;
use super::exit::{Failure, Verdict};
use super::note;
use crate::hw::clock::BootClock;
use crate::hw::memory;
use crate::kernels;
use crate::ports::Clock as _;
use frames::Frames;
use stages::{Chain, Times};

/// Frames measured at most.
const MAX_ROUNDS: u32 = 10_000;
/// Rounds that warm caches and buffers up and aren't counted.
pub(super) const WARM_UP: usize = 5;
/// Sizes of the galleries that are searched.
const GALLERIES: [usize; 3] = [1_000, 10_000, 100_000];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder of pictures, a .y4m or a video to look at [default: a picture made up, with no face in it]
    #[arg(long, value_name = "PATH")]
    frames: Option<PathBuf>,
    /// How many frames are measured
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=MAX_ROUNDS as i64))]
    rounds: u32,
    /// Search no gallery larger than this
    #[arg(long, value_name = "N", default_value_t = GALLERIES[2])]
    largest_gallery: usize,
}

#[derive(Serialize)]
struct Answer {
    kernels: &'static str,
    #[serde(serialize_with = "stages::by_name")]
    stages: Times,
    rss_mib: Option<f64>,
    /// From the start of the process until the networks are ready, less what loading the frames took: a door loads
    /// none.
    start_ms: Option<f64>,
    /// Outside the networks' runtime, once warm; `null` without networks.
    allocations_per_frame: Option<f64>,
    search: Vec<search::Row>,
    frames: String,
    rounds: u32,
    /// Frames in which a face was found; in the others the later stages worked on a place in the middle.
    faces: u32,
    model: Option<String>,
    detector: Option<String>,
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let begun = BootClock.now().mono;
    let frames = Frames::load(args.frames.as_deref(), ctx)?;
    let loading = BootClock.now().mono.since(begun);
    let (width, height) = frames.size();
    let networks = ctx.faces_for(width, height);
    let start_ms =
        memory::started().map(|at| BootClock.now().mono.since(at).saturating_sub(loading).as_secs_f64() * 1e3);
    let chain = match networks {
        Ok(faces) => Some(Chain::new(faces, ctx, width, height)?),
        Err(failure) => {
            note(format_args!("facelatch: finding and encoding faces is left out: {failure}"));
            None
        }
    };
    let bar = ctx.out.progress(args.rounds as usize, "frames");
    let names = chain.as_ref().map(Chain::names);
    let measured = stages::measure(chain, &frames, args.rounds, ctx, &|done| bar.set_position(done))?;
    bar.finish_and_clear();
    let rss_mib = memory::resident().map(|resident| resident.now as f64 / (1 << 20) as f64);
    let sizes = GALLERIES.into_iter().filter(|size| *size <= args.largest_gallery);
    let (model, detector) = names.unzip();
    let answer = Answer {
        kernels: kernels::active().as_str(),
        stages: measured.times,
        rss_mib,
        start_ms,
        allocations_per_frame: measured.allocations_per_frame,
        search: sizes.map(search::measure).collect::<Result<_, _>>()?,
        frames: frames.describe().to_owned(),
        rounds: args.rounds,
        faces: measured.faces,
        model,
        detector,
    };
    ctx.out.json(&answer)?;
    show(&answer, ctx)?;
    Ok(Verdict::Yes)
}

fn show(answer: &Answer, ctx: &Context) -> Result<(), Failure> {
    let out = ctx.out;
    let networks = answer.detector.iter().chain(&answer.model).map(String::as_str).collect::<Vec<_>>().join(", ");
    let networks = if networks.is_empty() { "none".to_owned() } else { networks };
    out.line(format_args!(
        "kernels {}; networks {networks}; {} frames of {}",
        answer.kernels, answer.rounds, answer.frames
    ))?;
    out.line(format_args!("{:<14} {:>12} {:>12}", "stage", "p50 µs", "p95 µs"))?;
    for (name, time) in &answer.stages {
        out.line(format_args!("{name:<14} {:>12.1} {:>12.1}", time.p50_us, time.p95_us))?;
    }
    for row in &answer.search {
        let name = format!("1:{}", row.templates);
        let Some(ratio) = row.ratio else { continue };
        let head = row.pair_head_p50_us;
        out.line(format_args!(
            "{name:<14} {:>12.1} {:>12.1}  {ratio:.2} times a plain read; by a pair head {head:.1}",
            row.p50_us, row.p95_us
        ))?;
    }
    let number = |n: Option<f64>| n.map_or_else(|| "unknown".into(), |n| format!("{n:.1}"));
    out.line(format_args!("memory {} MiB, start {} ms", number(answer.rss_mib), number(answer.start_ms)))?;
    out.line(format_args!("allocations a frame outside the networks: {}", number(answer.allocations_per_frame)))
}
