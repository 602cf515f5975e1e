//! The detection error trade-off as SVG: false non-matches over false matches, both axes on the normal deviate scale,
//! on which normally distributed scores draw a straight line (Martin et al. 1997, ISO/IEC 19795-1).

use std::fmt::Write;

use super::protocol::{Scored, trade_off};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 560.0;
const MARGIN: [f64; 4] = [48.0, 24.0, 64.0, 76.0];
/// The axes' ends and marks.
const MARKS: [f64; 9] = [1e-4, 1e-3, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4];
/// Points closer than this, in pixels, draw as one.
const MIN_STEP: f64 = 0.5;

/// What the two rates are called.
#[derive(Debug, Clone, Copy)]
pub struct Axes {
    /// Of impostors or attacks that pass.
    pub across: &'static str,
    /// Of the right ones that don't.
    pub up: &'static str,
}

impl Axes {
    /// ISO/IEC 19795-1.
    pub const MATCH: Self = Self { across: "false match rate", up: "false non-match rate" };
    /// ISO/IEC 30107-3.
    pub const LIVENESS: Self = Self { across: "attacks that pass (APCER)", up: "living people turned away (BPCER)" };
}

/// A curve with its name.
pub struct Curve<'a> {
    pub name: &'a str,
    pub scores: &'a [Scored],
    /// How many of them are independent, of different ones and of the same: fewer than there are where they come in
    /// sessions.
    pub independent: [usize; 2],
}

impl<'a> Curve<'a> {
    /// Of scores each of which stands for itself.
    pub fn new(name: &'a str, scores: &'a [Scored]) -> Self {
        let same = scores.iter().filter(|scored| scored.same).count();
        Self { name, scores, independent: [scores.len() - same, same] }
    }
}

/// Draws curves on one plot. Rates that the comparisons are too few for (rule of three) are shaded.
pub fn svg(title: &str, axes: Axes, curves: &[Curve]) -> String {
    let mut out = String::new();
    let (title, height) = (escape(title), HEIGHT);
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <title>{title}</title>\n\
         <style>.bg{{fill:#fff}}.ink{{fill:#222}}.dim{{fill:#667}}.grid{{stroke:#dde1e6;stroke-width:1}}.frame{{fill:none;stroke:#889}}\
         .few{{fill:#889;opacity:.12}}.curve{{fill:none;stroke-width:2;stroke-linejoin:round}}.eer{{stroke:#bbc;stroke-dasharray:3 4}}\
         @media (prefers-color-scheme:dark){{.bg{{fill:#16181c}}.ink{{fill:#e8e8ea}}.dim{{fill:#9aa}}.grid{{stroke:#2c3036}}}}</style>\n\
         <rect class=\"bg\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"ink\" x=\"{:.0}\" y=\"28\" font-size=\"15\" font-weight=\"600\">{title}</text>",
        MARGIN[3]
    );
    draw_axes(&mut out, axes);
    shade_what_is_unknown(&mut out, curves);
    for (index, curve) in curves.iter().enumerate() {
        draw(&mut out, index, curve);
    }
    out.push_str("</svg>\n");
    out
}

fn draw_axes(out: &mut String, Axes { across, up }: Axes) {
    let (left, right) = (x(MARKS[0]), x(MARKS[8]));
    let (top, bottom) = (y(MARKS[8]), y(MARKS[0]));
    for mark in MARKS {
        let percent = format!("{}", (mark * 1e6).round() / 1e4);
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{:.1} {top:.1}V{bottom:.1}M{left:.1} {:.1}H{right:.1}\"/>\
             <text class=\"dim\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{percent}</text>\
             <text class=\"dim\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent}</text>",
            x(mark),
            y(mark),
            x(mark),
            bottom + 18.0,
            left - 8.0,
            y(mark) + 4.0
        );
    }
    let (middle, centre) = (f64::midpoint(left, right), f64::midpoint(top, bottom));
    let _ = writeln!(
        out,
        "<path class=\"eer\" d=\"M{left:.1} {bottom:.1}L{right:.1} {top:.1}\"/>\
         <rect class=\"frame\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n\
         <text class=\"ink\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{across}, %</text>\n\
         <text class=\"ink\" transform=\"translate(22 {centre:.1}) rotate(-90)\" text-anchor=\"middle\">{up}, %</text>",
        right - left,
        bottom - top,
        bottom + 42.0
    );
}

/// Below 3 / n, a rate is not known.
fn shade_what_is_unknown(out: &mut String, curves: &[Curve]) {
    let fewest = |same: usize| curves.iter().map(|curve| curve.independent[same]).min();
    let known = |same: usize| 3.0 / fewest(same).unwrap_or(0).max(1) as f64;
    let (left, right) = (x(MARKS[0]), x(MARKS[8]));
    let (top, bottom) = (y(MARKS[8]), y(MARKS[0]));
    let (until, from) = (x(known(0)), y(known(1)));
    let _ = writeln!(
        out,
        "<path class=\"few\" d=\"M{left:.1} {top:.1}H{until:.1}V{from:.1}H{right:.1}V{bottom:.1}H{left:.1}Z\">\
         <title>too few comparisons for these rates (rule of three)</title></path>"
    );
}

fn draw(out: &mut String, index: usize, curve: &Curve) {
    const COLOURS: [&str; 5] = ["#2563eb", "#d9480f", "#0f766e", "#9333ea", "#b91c1c"];
    // For more curves than there are colours that can be told apart.
    const DASHES: [&str; 3] = ["none", "7 3", "2 3"];
    let (colour, dash) = (COLOURS[index % COLOURS.len()], DASHES[index / COLOURS.len() % DASHES.len()]);
    let stroke = format!("stroke=\"{colour}\" stroke-dasharray=\"{dash}\"");
    let _ = write!(out, "<path class=\"curve\" {stroke} d=\"");
    let mut last: Option<[f64; 2]> = None;
    for point in trade_off(curve.scores) {
        let at = [x(point.fmr), y(point.fnmr)];
        match last {
            None => {
                let _ = write!(out, "M{:.1} {:.1}", at[0], at[1]);
            }
            // A staircase: between two thresholds nothing changes.
            Some(from) if (at[0] - from[0]).abs() + (at[1] - from[1]).abs() >= MIN_STEP => {
                let _ = write!(out, "H{:.1}V{:.1}", at[0], at[1]);
            }
            Some(_) => continue,
        }
        last = Some(at);
    }
    let row = MARGIN[0] + 22.0 + 18.0 * index as f64;
    let _ = writeln!(
        out,
        "\"/>\n<path {stroke} stroke-width=\"3\" d=\"M{:.0} {:.0}h18\"/><text class=\"ink\" x=\"{:.0}\" y=\"{row:.0}\" text-anchor=\"end\">{}</text>",
        WIDTH - MARGIN[1] - 30.0,
        row - 4.0,
        WIDTH - MARGIN[1] - 38.0,
        escape(curve.name)
    );
}

fn x(rate: f64) -> f64 {
    MARGIN[3] + (WIDTH - MARGIN[3] - MARGIN[1]) * along(rate)
}

fn y(rate: f64) -> f64 {
    HEIGHT - MARGIN[2] - (HEIGHT - MARGIN[0] - MARGIN[2]) * along(rate)
}

/// Where a rate lies between the ends of an axis, in [0, 1].
fn along(rate: f64) -> f64 {
    let (low, high) = (deviate(MARKS[0]), deviate(MARKS[8]));
    (deviate(rate.clamp(MARKS[0], MARKS[8])) - low) / (high - low)
}

/// The quantile of the standard normal distribution for 0 < p < 1 (Abramowitz and Stegun 26.2.23, off by 4.5e-4 at
/// most: a twentieth of a pixel here).
fn deviate(p: f64) -> f64 {
    let t = (-2.0 * p.min(1.0 - p).ln()).sqrt();
    let (above, below) =
        (2.515_517 + t * (0.802_853 + t * 0.010_328), 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    let tail = t - above / below;
    if p < 0.5 { -tail } else { tail }
}

/// Text as it may stand in SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_deviate_is_the_known_one() {
        for (p, z) in [(0.5, 0.0), (0.975, 1.96), (0.025, -1.96), (0.001, -3.0902), (0.84134, 1.0)] {
            assert!((deviate(p) - z).abs() < 1e-3, "{p}");
        }
    }

    #[test]
    fn a_plot_is_well_formed_and_names_what_it_shows() {
        let scores: Vec<_> = (0..4000)
            .map(|i| Scored {
                score: ((i * 7919) % 1000) as f32 / 1000.0 + 0.4 * (i % 2) as f32,
                same: i % 2 == 1,
                fold: 0,
            })
            .collect();
        let plot = svg("LFW <dev> & more", Axes::MATCH, &[Curve::new("foamliu", &scores)]);
        assert!(plot.starts_with("<svg") && plot.ends_with("</svg>\n"));
        assert!(plot.contains("LFW &lt;dev&gt; &amp; more") && plot.contains(">foamliu<"));
        assert!(!plot.contains("NaN") && !plot.contains("inf"));
        assert_eq!(
            plot.matches("<path").count(),
            plot.matches("/>").count() + plot.matches("</path>").count() - plot.matches("<rect").count()
        );
    }

    #[test]
    fn a_curve_of_each_attack_is_told_from_every_other_and_looks_in_the_legend_as_in_the_plot() {
        let scores = [true, false].map(|same| Scored { score: 0.5, same, fold: 0 });
        let curves: Vec<_> = (0..12).map(|_| Curve::new("one of them", &scores)).collect();
        let plot = svg("", Axes::LIVENESS, &curves);
        // Colour and dashes.
        let stroke =
            |line: &str| line.split_once("stroke=").map(|(_, rest)| rest.splitn(3, "\" ").take(2).collect::<String>());
        let strokes =
            |class: &str| plot.lines().filter(|l| l.starts_with(class)).filter_map(stroke).collect::<Vec<_>>();
        let (drawn, legend) = (strokes("<path class=\"curve\""), strokes("<path stroke"));
        assert_eq!((&drawn, drawn.len()), (&legend, 12));
        assert_eq!(drawn.iter().collect::<std::collections::BTreeSet<_>>().len(), 12, "{drawn:?}");
    }

    #[test]
    fn no_comparisons_draw_an_empty_plot() {
        let plot = svg("nothing", Axes::LIVENESS, &[Curve::new("none", &[])]);
        assert!(!plot.contains("NaN"));
    }

    #[test]
    fn windows_of_few_sessions_leave_more_of_the_plot_unknown() {
        let scores: Vec<_> =
            (0..4000).map(|i| Scored { score: (i % 100) as f32 / 100.0, same: i % 2 == 1, fold: 0 }).collect();
        let shade = |curve| {
            let plot = svg("", Axes::LIVENESS, &[curve]);
            plot.lines().find(|line| line.contains("class=\"few\"")).unwrap().to_owned()
        };
        let each = Curve::new("", &scores);
        let at = [0.0015, 0.03].map(|rate| format!("H{:.1}V{:.1}", x(rate), y(rate)));
        assert_eq!(each.independent, [2000, 2000]);
        assert!(shade(each).contains(&at[0]));
        assert!(shade(Curve { independent: [100, 100], ..Curve::new("", &scores) }).contains(&at[1]));
    }
}
