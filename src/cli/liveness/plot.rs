//! `liveness plot`: one session as SVG.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Judges;
use crate::cli::context::Context;
use crate::cli::exit::{Failure, Verdict};
use crate::cli::outfile;
use crate::eval::liveness::{hear_with, sources};
use crate::eval::plot::{self, Judged};
use crate::liveness::pulse::Hearts;
use crate::liveness::{Channel, Session, SourceSet};

/// What stands beside a channel is what the score falls by without it, in nats, the mean over the windows.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session
    file: PathBuf,
    /// Where to draw it [default: beside the session, ending in .svg]
    #[arg(long, short, value_name = "FILE.svg")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let out = args.out.clone().unwrap_or_else(|| args.file.with_extension("svg"));
    outfile::spares(&out, [&args.file])?;
    let judges = Judges::new(ctx)?;
    let session = Session::read(&args.file)?;
    let has: SourceSet = sources(&session).collect();
    let mut judge = judges.of(has);
    let needed = judge.demands().point(judge.demands().sources).map(|point| point.score);
    let (mut sums, mut windows, mut failed) = (BTreeMap::<Channel, f32>::new(), 0, None);
    let heard = hear_with(&session, &mut judge, &mut |_, judge| match judge.weights() {
        Ok(weights) => {
            windows += 1;
            weights.into_iter().for_each(|(channel, weight)| *sums.entry(channel).or_default() += weight);
        }
        Err(error) => failed = Some(error),
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    let weights: Vec<_> = sums.into_iter().map(|(channel, sum)| (channel, sum / windows as f32)).collect();
    let name = args.file.file_stem().unwrap_or_default().to_string_lossy();
    let hearts = Hearts::of(&session);
    let drawn = plot::svg(&name, &session, &Judged { heard: &heard, needed, weights: &weights, hearts });
    std::fs::write(&out, drawn).map_err(Failure::io(&out))?;
    let [skin, finger] = [hearts.skin, hearts.finger].map(|beat| beat.map(|beat| beat.per_minute));
    let heart = serde_json::json!({ "skin": skin, "finger": finger });
    ctx.out.json(
        &serde_json::json!({ "drawn": out, "windows": heard.windows, "needed": needed, "heart_per_minute": heart }),
    )?;
    ctx.out.line(format_args!("{}", out.display()))?;
    Ok(Verdict::Yes)
}
