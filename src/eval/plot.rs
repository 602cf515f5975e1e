//! A session drawn: its windows' scores, what the channels carry of them, and the channels themselves, one below the
//! other on one axis of time.

use std::fmt::Write;

use super::det::escape;
use super::liveness::{Heard, WindowScore};
use crate::gate::Verdict;
use crate::liveness::pulse::Hearts;
use crate::liveness::{Channel, Session};
use crate::time::Instant;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 96.0;
const TOP: f64 = 64.0;
const SCORE_HEIGHT: f64 = 96.0;
const ROW_HEIGHT: f64 = 34.0;
const ROW_GAP: f64 = 8.0;
/// Log odds beyond are drawn at the edge, nats.
const SCORE_EDGE: f64 = 8.0;
/// A line is broken where samples are further apart, seconds.
const BREAK_S: f64 = 0.5;
/// Most points of one line: more than pixels shows no more.
const MAX_POINTS: usize = 2000;

/// What a plot shows besides the session.
pub struct Judged<'a> {
    pub heard: &'a Heard,
    /// The score that the door asks for, nats.
    pub needed: Option<f32>,
    /// What each channel carries of the score, mean over the windows, nats.
    pub weights: &'a [(Channel, f32)],
    /// For whoever looks at it; nothing was judged by these.
    pub hearts: Hearts,
}

/// Draws a session as SVG.
pub fn svg(title: &str, session: &Session, judged: &Judged) -> String {
    let channels = session.channels();
    let height = TOP + SCORE_HEIGHT + 40.0 + channels.len() as f64 * (ROW_HEIGHT + ROW_GAP) + 24.0;
    let end = session.samples.last().map_or(1.0, |sample| seconds(sample.at)).max(0.1);
    let x = |t: f64| LEFT + (WIDTH - LEFT - RIGHT) * (t / end).clamp(0.0, 1.0);
    let title = escape(title);
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"system-ui, sans-serif\" font-size=\"11\">\n\
         <title>{title}</title>\n\
         <style>.bg{{fill:#fff}}.ink{{fill:#222}}.dim{{fill:#667}}.grid{{stroke:#dde1e6}}.line{{fill:none;stroke:#2563eb;stroke-width:1.2}}\
         .live{{fill:#0f766e}}.not{{fill:#b91c1c}}.need{{stroke:#889;stroke-dasharray:4 3}}\
         @media (prefers-color-scheme:dark){{.bg{{fill:#16181c}}.ink{{fill:#e8e8ea}}.dim{{fill:#9aa}}.grid{{stroke:#2c3036}}}}</style>\n\
         <rect class=\"bg\" width=\"{WIDTH}\" height=\"{height:.0}\"/>\n\
         <text class=\"ink\" x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"600\">{title}</text>\n\
         <text class=\"dim\" x=\"16\" y=\"44\">{}</text>",
        escape(&summary(session, judged))
    );
    scores(&mut out, judged, &x);
    let axis = TOP + SCORE_HEIGHT + 14.0;
    for second in 0..=end.floor().min(600.0) as u32 {
        let at = x(second.into());
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{at:.1} {TOP:.0}V{:.0}\"/><text class=\"dim\" x=\"{at:.1}\" y=\"{axis:.0}\" text-anchor=\"middle\">{second} s</text>",
            height - 20.0
        );
    }
    for (i, channel) in channels.iter().enumerate() {
        let top = TOP + SCORE_HEIGHT + 40.0 + i as f64 * (ROW_HEIGHT + ROW_GAP);
        row(&mut out, session, *channel, top, judged, &x);
    }
    out.push_str("</svg>\n");
    out
}

/// Who it was, and how it ended.
fn summary(session: &Session, judged: &Judged) -> String {
    let ended = match judged.heard.verdict() {
        Some(Verdict::Live) => "judged alive",
        Some(Verdict::Spoof) => "judged an attack",
        _ => "no verdict",
    };
    let windows = judged.heard.windows.len();
    let live = judged.heard.windows.iter().filter(|window| window.is_live).count();
    let note = if session.note.is_empty() { String::new() } else { format!("; {}", session.note) };
    let rates = [("skin", judged.hearts.skin), ("finger", judged.hearts.finger)].map(|(place, beat)| match beat {
        Some(beat) => format!("{:.0} a minute in the {place}", beat.per_minute),
        None => format!("none found in the {place}"),
    });
    format!(
        "{} ({}): {ended}, {live} of {windows} windows alive; heart rate {} (not judged by){note}",
        session.label,
        session.origin.as_str(),
        rates.join(", ")
    )
}

/// The windows' log odds as points at their ends.
fn scores(out: &mut String, judged: &Judged, x: &dyn Fn(f64) -> f64) {
    let y = |nats: f64| TOP + SCORE_HEIGHT * (0.5 - nats.clamp(-SCORE_EDGE, SCORE_EDGE) / (2.0 * SCORE_EDGE));
    let (right, label) = (WIDTH - RIGHT, LEFT - 10.0);
    let _ = writeln!(
        out,
        "<path class=\"grid\" d=\"M{LEFT} {0:.1}H{right}\"/><text class=\"ink\" x=\"{label}\" y=\"{0:.1}\" text-anchor=\"end\">log odds of life</text>",
        y(0.0)
    );
    if let Some(needed) = judged.needed {
        let at = y(needed.into());
        let _ = writeln!(
            out,
            "<path class=\"need\" d=\"M{LEFT} {at:.1}H{right}\"/><text class=\"dim\" x=\"{:.0}\" y=\"{:.1}\">needed {needed:.2}</text>",
            right + 6.0,
            at + 4.0
        );
    }
    for WindowScore { until_s, log_odds, is_live } in &judged.heard.windows {
        let class = if *is_live { "live" } else { "not" };
        let _ = writeln!(
            out,
            "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{until_s:.1} s: {log_odds:.2}</title></circle>",
            x(*until_s),
            y((*log_odds).into())
        );
    }
}

/// One channel: its name, its range, its course, and what it carries of the score.
fn row(out: &mut String, session: &Session, channel: Channel, top: f64, judged: &Judged, x: &dyn Fn(f64) -> f64) {
    let points: Vec<(f64, f64)> = session
        .samples
        .iter()
        .filter(|sample| sample.channel == channel && sample.value.is_finite())
        .map(|sample| (seconds(sample.at), f64::from(sample.value)))
        .collect();
    let (low, high) = points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), (_, v)| (l.min(*v), h.max(*v)));
    let (middle, label, right) = (top + ROW_HEIGHT / 2.0 + 4.0, LEFT - 10.0, WIDTH - RIGHT + 6.0);
    let _ = write!(
        out,
        "<text class=\"ink\" x=\"{label}\" y=\"{middle:.1}\" text-anchor=\"end\">{}<title>{}</title></text>",
        channel.name(),
        escape(channel.spec().unit)
    );
    if let Some((_, weight)) = judged.weights.iter().find(|(of, _)| *of == channel) {
        let class = if *weight >= 0.0 { "live" } else { "not" };
        let _ = write!(out, "<text class=\"{class}\" x=\"{right}\" y=\"{middle:.1}\">{weight:+.2}</text>");
    }
    if points.is_empty() {
        return;
    }
    let span = (high - low).max(f64::EPSILON);
    let y = |value: f64| top + ROW_HEIGHT * (1.0 - (value - low) / span);
    let _ = write!(
        out,
        "<text class=\"dim\" x=\"{0:.0}\" y=\"{1:.1}\" font-size=\"9\">{high:.3}</text><text class=\"dim\" x=\"{0:.0}\" y=\"{2:.1}\" font-size=\"9\">{low:.3}</text>",
        LEFT + 2.0,
        top + 8.0,
        top + ROW_HEIGHT
    );
    let _ = write!(out, "<path class=\"line\" d=\"");
    let step = points.len().div_ceil(MAX_POINTS);
    let (mut last, mut is_broken) = (f64::NEG_INFINITY, true);
    for (i, (t, value)) in points.iter().enumerate() {
        // Between neighbours: of a long session the points that are drawn are further apart than that themselves.
        is_broken |= t - last > BREAK_S;
        last = *t;
        if i.is_multiple_of(step) {
            let command = if is_broken { 'M' } else { 'L' };
            let _ = write!(out, "{command}{:.1} {:.1}", x(*t), y(*value));
            is_broken = false;
        }
    }
    let _ = writeln!(out, "\"/>");
}

fn seconds(at: Instant) -> f64 {
    at.since(Instant::BOOT).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{LivenessReport, MAX_EVIDENCE};
    use crate::liveness::pulse::Beat;
    use crate::liveness::{Label, Origin, Sample};

    #[test]
    fn a_plot_names_what_it_shows_and_holds_no_nan() {
        let samples = (0..100).flat_map(|i| {
            let at = Instant::from_millis(i * 40);
            let gap = if i < 50 { 0.1 } else { f32::NAN };
            [(Channel::FaceSize, gap), (Channel::ObjectC, 33.0)].map(|(channel, value)| Sample { at, channel, value })
        });
        let note = "a <b> & c".to_owned();
        let session = Session { label: Label::Phone, origin: Origin::Recorded, note, samples: samples.collect() };
        let windows = vec![WindowScore { until_s: 2.2, log_odds: -99.0, is_live: false }];
        let at = Instant::from_millis(2200);
        let report = LivenessReport { from: at, until: at, verdict: Verdict::Spoof, evidence: [None; MAX_EVIDENCE] };
        let heard = Heard { windows, reports: vec![report] };
        let weights = [(Channel::ObjectC, -2.5)];
        let hearts = Hearts { skin: None, finger: Some(Beat { per_minute: 72.1, quality: 0.9 }) };
        let plot = svg("one", &session, &Judged { heard: &heard, needed: Some(1.5), weights: &weights, hearts });
        for wanted in [
            "phone (recorded): judged an attack, 0 of 1",
            "heart rate none found in the skin, 72 a minute in the finger (not judged by)",
            "a &lt;b&gt; &amp; c",
            "object_c",
            "-2.50",
            "needed 1.50",
        ] {
            assert!(plot.contains(wanted), "{wanted} in {plot}");
        }
        assert!(!plot.contains("NaN") && !plot.contains("inf"));
        assert_eq!(plot.matches("<circle").count(), 1);
    }

    /// The course of a channel that was seen at these milliseconds.
    fn course(at: impl Iterator<Item = u64>) -> String {
        let samples =
            at.map(|ms| Sample { at: Instant::from_millis(ms), channel: Channel::ObjectC, value: ms as f32 }).collect();
        let session = Session { label: Label::Live, origin: Origin::Recorded, note: String::new(), samples };
        let heard = Heard { windows: vec![], reports: vec![] };
        let plot = svg("", &session, &Judged { heard: &heard, needed: None, weights: &[], hearts: Hearts::default() });
        let (_, course) = plot.split_once("class=\"line\" d=\"").unwrap();
        course.split_once('"').unwrap().0.to_owned()
    }

    #[test]
    fn a_line_is_broken_where_samples_are_missing_and_not_because_the_session_is_long() {
        let long = course((0..30_000).map(|i| i * 40));
        assert_eq!((long.matches('M').count(), long.matches('L').count()), (1, 1999));
        let gap = course((0..30_000).map(|i| i * 40 + if i < 15_007 { 0 } else { 600 }));
        assert_eq!((gap.matches('M').count(), gap.matches('L').count()), (2, 1998));
    }

    #[test]
    fn an_empty_session_draws_an_empty_plot() {
        let session = Session { label: Label::Live, origin: Origin::Recorded, note: String::new(), samples: vec![] };
        let heard = Heard { windows: vec![], reports: vec![] };
        let plot =
            svg("nothing", &session, &Judged { heard: &heard, needed: None, weights: &[], hearts: Hearts::default() });
        assert!(plot.ends_with("</svg>\n") && !plot.contains("NaN"));
    }
}
