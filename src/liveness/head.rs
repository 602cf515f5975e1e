//! The head: a network of one-dimensional convolutions over a window, and what its score is worth on a door's sensors.

use std::fmt;

use serde::Deserialize;

use super::channels::Channel;
use super::series::{ROWS, SKIN, TICKS, Window};
use super::{Source, SourceSet};
use crate::infer::network::{Layer, OutputSpec};
use crate::infer::{InferError, Kind, ModelFile, Network};

named! {
    /// What the head tells apart, in the order of its output.
    Class {
        Live = "live",
        Print = "print",
        Screen = "screen",
        Mask = "mask",
        Mannequin = "mannequin",
        /// A picture before a living person.
        Composite = "composite",
        /// Sensors that play a recording.
        Replay = "replay",
    }
}

/// What the head makes of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Log odds of life against every attack together, in nats; finite.
    pub log_odds: f32,
    /// The attack that it looks like most.
    pub attack: Class,
}

/// A network ready to judge windows. A clone shares the weights.
#[derive(Clone)]
pub struct Head {
    network: Network,
}

impl Head {
    /// # Errors
    /// The file is no such network, or can't run.
    pub fn load(file: &ModelFile) -> Result<Self, InferError> {
        let wanted = OutputSpec { name: "", len: Class::ALL.len(), each: 1 };
        if file.spec.kind() != Kind::Liveness {
            let reason = format!("it is a network for {}, not for liveness", file.spec.kind());
            return Err(InferError::Malformed { model: file.spec.name.clone(), reason });
        }
        Ok(Self { network: Network::load(file, [1, ROWS, 1, TICKS], &[wanted])? })
    }

    /// Its layers in the order in which they run.
    pub fn layers(&self) -> Vec<Layer> {
        self.network.layers()
    }

    /// # Errors
    /// The network failed, or gave what is no number.
    pub fn score(&mut self, window: &Window) -> Result<Score, InferError> {
        let output = self.network.run(|input| input.copy_from_slice(window.rows()))?;
        Ok(decide(output.get(0)))
    }

    /// What the score falls by without each channel that is there (occlusion; Zeiler and Fergus 2014, doi
    /// 10.1007/978-3-319-10590-1_53): how much of it is that channel's, in nats, the weightiest first. The colours of
    /// the skin are taken away together, since they are one pulse, which goes with any of them; what they carry bears
    /// the name of the one that weighs most by itself.
    ///
    /// # Errors
    /// As [`Head::score`].
    pub fn weights(&mut self, window: &Window) -> Result<Vec<(Channel, f32)>, InferError> {
        let whole = self.score(window)?.log_odds;
        let is_there = |channel: &Channel| window.ticks(*channel) > 0;
        let mut of_skin = Vec::new();
        for channel in SKIN.into_iter().filter(is_there) {
            of_skin.push((channel, whole - self.score_without(window, &[channel])?));
        }
        let mut weights = Vec::new();
        if let Some((most, _)) = of_skin.into_iter().max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs())) {
            weights.push((most, whole - self.score_without(window, &SKIN)?));
        }
        for channel in Channel::all().filter(|channel| is_there(channel) && !SKIN.contains(channel)) {
            weights.push((channel, whole - self.score_without(window, &[channel])?));
        }
        weights.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
        Ok(weights)
    }

    fn score_without(&mut self, window: &Window, channels: &[Channel]) -> Result<f32, InferError> {
        let mut without = window.clone();
        channels.iter().for_each(|channel| without.mask(*channel));
        Ok(self.score(&without)?.log_odds)
    }
}

fn decide(logits: &[f32]) -> Score {
    let (live, attacks) = (logits[0], &logits[1..]);
    let (most, attack) = attacks
        .iter()
        .zip(&Class::ALL[1..])
        .fold((f32::NEG_INFINITY, Class::Print), |best, (&x, &class)| if x > best.0 { (x, class) } else { best });
    let together = most + attacks.iter().map(|x| (x - most).exp()).sum::<f32>().ln();
    Score { log_odds: live - together, attack }
}

/// From a door's sensors to the score that a living person reaches but for a share of windows, as a named evaluation
/// measured it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// What was measured, and that it was simulated if it was.
    pub evaluation: String,
    /// Windows behind each point, of living people and of attacks together.
    pub windows: u64,
    subset: Vec<Subset>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subset {
    sensors: Vec<String>,
    points: Vec<Point>,
}

/// One score and what it lets through.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Bona fide presentation classification error rate (ISO/IEC 30107-3): the share of windows of living people below
    /// the score.
    pub bpcer: f64,
    /// Log odds, nats.
    pub score: f32,
    /// Attack presentation classification error rate (ISO/IEC 30107-3) of the kind of attack that gets through most.
    pub apcer_worst: f64,
    pub worst: String,
    /// The same for kinds that the network had never seen, each left out of a training in turn; absent where it was not
    /// measured.
    pub apcer_worst_held_out: Option<f64>,
    pub worst_held_out: Option<String>,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of living people's windows are turned away, ", percent(self.bpcer))?;
        write!(f, "{} of the worst attack's pass ({})", percent(self.apcer_worst), self.worst)?;
        if let (Some(share), Some(kind)) = (self.apcer_worst_held_out, &self.worst_held_out) {
            write!(f, ", {} of one never seen in training ({kind})", percent(share))?;
        }
        Ok(())
    }
}

/// Some hundreds of windows tell no more digits.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// Why a table is none.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ThresholdsError {
    #[error("not a table of liveness thresholds: {0}")]
    Malformed(String),
    #[error("it names a sensor {0:?}, which there is none of")]
    UnknownSensor(String),
    #[error("a number of {0} is out of its range")]
    OutOfRange(SourceSet),
    #[error("{0} is there twice")]
    Twice(SourceSet),
}

/// The table of the network that is part of this program.
const BUILTIN: &str = include_str!("../../models/calibration/liveness.toml");

/// Most bytes of a table.
pub const MAX_TABLE_BYTES: usize = 1 << 20;

impl Thresholds {
    /// The table that comes with this program, of the network that does.
    pub fn builtin() -> Self {
        Self::parse(BUILTIN).expect("a test parses the built-in table")
    }

    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ThresholdsError> {
        let table: Self = toml::from_str(text).map_err(|error| ThresholdsError::Malformed(error.to_string()))?;
        let mut seen = Vec::new();
        for subset in &table.subset {
            let sources = subset.sources()?;
            if seen.contains(&sources) {
                return Err(ThresholdsError::Twice(sources));
            }
            let is_rate = |rate: f64| (0.0..=1.0).contains(&rate);
            let is_sound = |point: &Point| {
                is_rate(point.bpcer)
                    && point.score.is_finite()
                    && is_rate(point.apcer_worst)
                    && point.apcer_worst_held_out.is_none_or(is_rate)
            };
            if !subset.points.iter().all(is_sound) {
                return Err(ThresholdsError::OutOfRange(sources));
            }
            seen.push(sources);
        }
        Ok(table)
    }

    /// The point for a door with exactly these sensors: the strictest that sends away no more than `target_bpcer` of
    /// the living; `None` where the table has none.
    pub fn point(&self, sources: SourceSet, target_bpcer: f64) -> Option<&Point> {
        let subset = self.subset.iter().find(|subset| subset.sources() == Ok(sources))?;
        let allowed = subset.points.iter().filter(|point| point.bpcer <= target_bpcer);
        allowed.max_by(|a, b| a.score.total_cmp(&b.score))
    }
}

impl Subset {
    fn sources(&self) -> Result<SourceSet, ThresholdsError> {
        let parse = |name: &String| Source::parse(name).ok_or_else(|| ThresholdsError::UnknownSensor(name.clone()));
        self.sensors.iter().map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::Manifest;
    use crate::infer::builtin::LIVENESS;
    use crate::liveness::Sample;
    use crate::liveness::series::Series;
    use crate::time::Instant;

    const TABLE: &str = r#"
        evaluation = "made up"
        windows = 100
        [[subset]]
        sensors = ["camera", "thermal"]
        points = [
            { bpcer = 0.01, score = 1.5, apcer_worst = 0.02, worst = "mask_heated" },
            { bpcer = 0.05, score = 3.0, apcer_worst = 0.001, worst = "phone", apcer_worst_held_out = 0.01, worst_held_out = "tablet" },
        ]
    "#;

    #[test]
    fn the_pulse_is_one_reason_and_weighs_what_all_colours_of_the_skin_carry() {
        let file = Manifest::builtin().built_in(LIVENESS).unwrap();
        let mut head = Head::load(&file).unwrap();
        let mut series = Series::default();
        for i in 0..TICKS as u64 {
            let at = Instant::from_millis(10_000 + 40 * i);
            let beat = (i as f32 * 0.3).sin();
            for (channel, mean, share) in
                [(Channel::SkinR, 150.0, 0.3), (Channel::SkinG, 120.0, 0.8), (Channel::SkinB, 100.0, 0.5)]
            {
                series.push(Sample { at, channel, value: mean + share * beat });
            }
            series.push(Sample { at, channel: Channel::ObjectC, value: 33.0 });
        }
        let (mut window, mut without) = (Window::default(), Window::default());
        series.draw(Instant::from_millis(10_000 + 40 * (TICKS as u64 - 1)), &mut window);
        let whole = head.score(&window).unwrap().log_odds;
        let weights = head.weights(&window).unwrap();
        series.forget(Source::Camera);
        series.draw(Instant::from_millis(10_000 + 40 * (TICKS as u64 - 1)), &mut without);
        let left = head.score(&without).unwrap().log_odds;
        let of_skin: Vec<_> = weights.iter().filter(|(channel, _)| SKIN.contains(channel)).collect();
        assert!(matches!(of_skin[..], [(_, weight)] if *weight == whole - left), "{weights:?}, not {}", whole - left);
        assert_eq!(weights.len(), 2, "{weights:?}");
    }

    fn sources(of: &[Source]) -> SourceSet {
        of.iter().copied().collect()
    }

    #[test]
    fn the_score_is_the_log_odds_of_life_against_all_attacks_together() {
        let score = decide(&[2.0, 0.0, 0.0, 1.0, -3.0, -3.0, -3.0]);
        let attacks: f32 = [0.0f32, 0.0, 1.0, -3.0, -3.0, -3.0].iter().map(|x| x.exp()).sum();
        assert!((score.log_odds - (2.0 - attacks.ln())).abs() < 1e-5);
        assert_eq!(score.attack, Class::Mask);
    }

    #[test]
    fn a_door_gets_the_strictest_point_that_its_target_allows_and_none_of_other_sensors() {
        let table = Thresholds::parse(TABLE).unwrap();
        let both = sources(&[Source::Thermal, Source::Camera]);
        let score = |target| table.point(both, target).map(|point| point.score);
        assert_eq!((score(0.009), score(0.01), score(0.5)), (None, Some(1.5), Some(3.0)));
        assert_eq!(score(f64::NAN), None);
        assert_eq!(table.point(sources(&[Source::Camera]), 0.05), None);
    }

    #[test]
    fn what_a_score_lets_through_is_told_in_as_many_digits_as_windows_tell() {
        let table = Thresholds::parse(&TABLE.replace("0.02", "0.8767")).unwrap();
        let said = |target| table.point(sources(&[Source::Camera, Source::Thermal]), target).unwrap().to_string();
        let away = "of living people's windows are turned away";
        assert_eq!(said(0.01), format!("1.0 % {away}, 88 % of the worst attack's pass (mask_heated)"));
        let few = "0.1 % of the worst attack's pass (phone), 1.0 % of one never seen in training (tablet)";
        assert_eq!(said(0.05), format!("5.0 % {away}, {few}"));
    }

    #[test]
    fn a_damaged_table_is_refused_by_what_is_wrong_with_it() {
        let wrong = |from: &str, to: &str| Thresholds::parse(&TABLE.replace(from, to)).unwrap_err();
        assert!(matches!(wrong("windows", "panes"), ThresholdsError::Malformed(_)));
        assert_eq!(wrong("\"thermal\"", "\"nose\""), ThresholdsError::UnknownSensor("nose".into()));
        assert!(matches!(wrong("score = 3.0", "score = nan"), ThresholdsError::OutOfRange(_)));
        assert!(matches!(wrong("bpcer = 0.05", "bpcer = 1.5"), ThresholdsError::OutOfRange(_)));
        let twice = format!("{TABLE}\n[[subset]]\nsensors = [\"thermal\", \"camera\"]\npoints = []");
        assert!(matches!(Thresholds::parse(&twice), Err(ThresholdsError::Twice(_))));
    }
}
