//! How well liveness tells the living from attacks, on recorded or simulated sessions: ISO/IEC 30107-3's rates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::protocol::Scored;
use crate::gallery::bounds::{TWO_SIDED_95, wilson_interval};
use crate::gate::{LivenessReport, Verdict};
use crate::liveness::judge::Judge;
use crate::liveness::{Channel, Label, Origin, Session, Source};
use crate::time::{Duration, Instant};

/// Most session files of a folder that are looked at.
pub const MAX_SESSIONS: usize = 200_000;

/// One window of a session.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WindowScore {
    /// Its end, seconds from the session's start.
    pub until_s: f64,
    pub log_odds: f32,
    pub is_live: bool,
}

/// What a session came to.
#[derive(Debug, Clone)]
pub struct Heard {
    pub windows: Vec<WindowScore>,
    pub reports: Vec<LivenessReport>,
}

impl Heard {
    /// The first verdict that ends an attempt at the door, if there is one.
    pub fn verdict(&self) -> Option<Verdict> {
        self.reports.iter().map(|report| report.verdict).find(|verdict| *verdict != Verdict::Inconclusive)
    }
}

/// Plays a session to a judge that has heard nothing yet, by the session's own time.
pub fn hear(session: &Session, judge: &mut Judge) -> Heard {
    hear_with(session, judge, &mut |_, _| {})
}

/// The same; `inspect` is shown the judge after each window that it scored.
pub fn hear_with(session: &Session, judge: &mut Judge, inspect: &mut dyn FnMut(f64, &mut Judge)) -> Heard {
    let mut heard = Heard { windows: Vec::new(), reports: Vec::new() };
    for samples in session.samples.chunk_by(|a, b| a.at == b.at) {
        let now = later(samples[0].at);
        judge.moment(now, samples);
        let Some(report) = judge.judge(now) else { continue };
        let until_s = report.until.since(later(Instant::BOOT)).as_secs_f64();
        if let Some((log_odds, is_live)) = judge.scored() {
            heard.windows.push(WindowScore { until_s, log_odds, is_live });
            inspect(until_s, judge);
        }
        heard.reports.push(report);
    }
    heard
}

/// Sessions begin at 0, and a window reaches back two seconds: time is told a minute later.
fn later(at: Instant) -> Instant {
    at + Duration::from_secs(60)
}

/// The channels' sources that a session has.
pub fn sources(session: &Session) -> impl Iterator<Item = Source> + use<> {
    let channels = session.channels();
    Source::ALL.into_iter().filter(move |source| channels.iter().any(|channel: &Channel| channel.source() == *source))
}

/// A share with its 95 % interval (Wilson). Windows of one session overlap and resemble each other, so that the
/// interval counts each session once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    pub share: f64,
    pub low: f64,
    pub high: f64,
    pub windows: usize,
    pub sessions: usize,
}

/// The answer of `liveness eval`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Share of windows of living people that are turned away; absent where nobody living was recorded.
    pub bpcer: Option<f64>,
    /// Share of windows of each kind of attack that pass.
    pub apcer: BTreeMap<&'static str, f64>,
    /// The greatest of them.
    pub apcer_worst: Option<f64>,
    /// Share of sessions of which no window could be judged.
    pub non_response: f64,
    pub recordings: usize,
    /// Of the recordings, how many are simulated.
    pub simulated: usize,
    /// The same with intervals, by label.
    pub rates: BTreeMap<&'static str, Rate>,
    /// By label: how the sessions end at a door.
    pub verdicts: BTreeMap<&'static str, Verdicts>,
}

/// How sessions end: by the first verdict of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    pub live: usize,
    pub spoof: usize,
    pub inconclusive: usize,
}

/// Adds sessions up.
#[derive(Debug, Default)]
pub struct Tally {
    by_label: BTreeMap<Label, Count>,
    simulated: usize,
    scores: Vec<(Label, f32)>,
}

#[derive(Debug, Default)]
struct Count {
    sessions: usize,
    silent: usize,
    windows: usize,
    live: usize,
    verdicts: Verdicts,
}

impl Tally {
    pub fn add(&mut self, label: Label, origin: Origin, heard: &Heard) {
        self.simulated += usize::from(origin == Origin::Simulated);
        let count = self.by_label.entry(label).or_default();
        count.sessions += 1;
        count.silent += usize::from(heard.windows.is_empty());
        count.windows += heard.windows.len();
        count.live += heard.windows.iter().filter(|window| window.is_live).count();
        match heard.verdict() {
            Some(Verdict::Live) => count.verdicts.live += 1,
            Some(Verdict::Spoof) => count.verdicts.spoof += 1,
            _ => count.verdicts.inconclusive += 1,
        }
        self.scores.extend(heard.windows.iter().map(|window| (label, window.log_odds)));
    }

    /// Scores of the living and of one kind of attack, for a DET curve: a false match is an attack that passes.
    pub fn trade_off(&self, attack: Label) -> Vec<Scored> {
        let of = |label: &Label| *label == Label::Live || *label == attack;
        let scores = self.scores.iter().filter(|(label, _)| of(label));
        scores.map(|(label, score)| Scored { score: *score, same: *label == Label::Live, fold: 0 }).collect()
    }

    /// The kinds of attack that were recorded.
    pub fn attacks(&self) -> impl Iterator<Item = Label> {
        self.by_label.keys().copied().filter(|label| label.is_attack())
    }

    pub fn report(&self) -> Report {
        let recordings = self.by_label.values().map(|count| count.sessions).sum();
        let silent: usize = self.by_label.values().map(|count| count.silent).sum();
        let rates: BTreeMap<_, _> =
            self.by_label.iter().filter_map(|(label, count)| Some((label.as_str(), count.rate(*label)?))).collect();
        let share = |name: &str| rates.get(name).map(|rate: &Rate| rate.share);
        let apcer: BTreeMap<_, _> =
            self.attacks().filter_map(|kind| Some((kind.as_str(), share(kind.as_str())?))).collect();
        Report {
            bpcer: share(Label::Live.as_str()),
            apcer_worst: apcer.values().copied().max_by(f64::total_cmp),
            apcer,
            non_response: silent as f64 / usize::max(recordings, 1) as f64,
            recordings,
            simulated: self.simulated,
            verdicts: self.by_label.iter().map(|(label, count)| (label.as_str(), count.verdicts)).collect(),
            rates,
        }
    }
}

impl Count {
    /// Of attacks the share of windows that pass, of everybody else the share that doesn't; `None` without a window.
    fn rate(&self, label: Label) -> Option<Rate> {
        let wrong = if label.is_attack() { self.live } else { self.windows - self.live };
        let share = (self.windows > 0).then(|| wrong as f64 / self.windows as f64)?;
        let sessions = self.sessions - self.silent;
        let [low, high] = wilson_interval(share, sessions as f64, TWO_SIDED_95);
        Some(Rate { share, low, high, windows: self.windows, sessions })
    }
}

/// The session files of a folder and the folders in it, in the order of their names. Links to folders aren't followed:
/// what lies behind one would be counted twice, or without end.
///
/// # Errors
/// The folder can't be read, with its path.
pub fn list(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut dirs, mut files) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|ending| ending == "csv") && files.len() < MAX_SESSIONS {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::MAX_EVIDENCE;

    fn heard(scores: &[f32], verdict: Verdict) -> Heard {
        let windows =
            scores.iter().map(|&log_odds| WindowScore { until_s: 2.0, log_odds, is_live: log_odds >= 0.0 }).collect();
        let at = Instant::BOOT;
        let told = |verdict| LivenessReport { from: at, until: at, verdict, evidence: [None; MAX_EVIDENCE] };
        Heard { windows, reports: vec![told(Verdict::Inconclusive), told(verdict)] }
    }

    #[test]
    fn rates_are_shares_of_windows_and_the_worst_attack_is_named() {
        let mut tally = Tally::default();
        tally.add(Label::Live, Origin::Recorded, &heard(&[1.0, 1.0, -1.0, 2.0], Verdict::Live));
        tally.add(Label::Phone, Origin::Simulated, &heard(&[-1.0, -2.0], Verdict::Spoof));
        tally.add(Label::MaskPaper, Origin::Simulated, &heard(&[1.0, -2.0], Verdict::Inconclusive));
        tally.add(Label::MaskPaper, Origin::Simulated, &heard(&[], Verdict::Inconclusive));
        let report = tally.report();
        assert_eq!(report.bpcer, Some(0.25));
        assert_eq!((report.apcer["phone"], report.apcer["mask_paper"], report.apcer_worst), (0.0, 0.5, Some(0.5)));
        assert_eq!((report.non_response, report.recordings, report.simulated), (0.25, 4, 3));
        assert_eq!(report.rates["mask_paper"].sessions, 1, "one could not be judged");
        assert_eq!(report.verdicts["phone"], Verdicts { spoof: 1, ..Verdicts::default() });
        let rate = report.rates["live"];
        assert!(rate.low < 0.05 && rate.high > 0.7, "one session says little: {rate:?}");
    }

    #[test]
    fn nothing_recorded_is_no_rate() {
        let report = Tally::default().report();
        assert_eq!((report.bpcer, report.apcer_worst, report.recordings), (None, None, 0));
        assert_eq!(report.non_response, 0.0);
    }

    #[test]
    fn folders_are_searched_for_sessions() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("b")).unwrap();
        for name in ["b/2.csv", "1.csv", "note.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("b/again")).unwrap();
        let found = list(dir.path()).unwrap();
        assert_eq!(found, [dir.path().join("1.csv"), dir.path().join("b/2.csv")]);
        assert!(list(&dir.path().join("none")).is_err());
    }
}
