//! From a similarity to a false match rate: a table that a named evaluation measured, with what it can't know.
//!
//! Rates are told as their upper bound. A door that asks for a rate gets the lowest measured similarity whose bound meets
//! it, and nothing is extrapolated beyond the strictest row.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::template::hex;
use crate::units::{Fmr, Similarity};

/// The most rows of a table.
pub const MAX_ROWS: usize = 256;
/// The longest file of a table, in bytes.
pub const MAX_TABLE_BYTES: usize = 64 << 10;
/// Rows that a table is thinned to: so many for each tenfold drop of the rate.
const ROWS_PER_DECADE: f64 = 10.0;
/// Similarities are counted in steps of 1/2048.
const STEPS: usize = 2 * 2048;
/// The weakest rate worth a row.
const WEAKEST: f64 = 0.5;

const BUILTIN: [&str; 5] = [
    include_str!("../../models/calibration/encoder-small.toml"),
    include_str!("../../models/calibration/encoder.toml"),
    include_str!("../../models/calibration/foamliu.toml"),
    include_str!("../../models/calibration/mobileface-v2.toml"),
    include_str!("../../models/calibration/w600k-mbf.toml"),
];

/// One row: what happens when everything from this similarity on is accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    pub similarity: Similarity,
    /// The share of impostors that were accepted; 0 where none was.
    pub fmr: f64,
    /// Its one-sided 95 % upper confidence bound, comparisons taken as independent. They share people, so it is somewhat
    /// too good.
    pub upper: f64,
    /// The share of genuine comparisons that were refused, each person weighing the same.
    pub fnmr: f64,
}

/// Where a table comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The embedder, and the SHA-256 of its file in hexadecimal.
    pub model: String,
    pub sha256: String,
    pub detector: String,
    /// What was measured on what.
    pub evaluation: String,
    /// The day, as YYYY-MM-DD.
    pub date: String,
    pub people: u64,
    pub images: u64,
    pub lost: u64,
    pub impostors: u64,
    pub genuine: u64,
}

/// A table, its similarities rising and its rates falling.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Table")]
pub struct Calibration {
    origin: Origin,
    rows: Vec<Row>,
}

/// A similarity to accept from, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    pub similarity: Similarity,
    /// The upper bound of the false match rate there.
    pub bound: Fmr,
    /// Whether that meets the rate that was asked for. Where not, no similarity is known to, and this is the strictest
    /// that was measured: the caller says so.
    pub met: bool,
}

/// Why a text is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    #[error("not a calibration: {0}")]
    Syntax(String),
    #[error("a calibration needs 1 to {MAX_ROWS} rows, and this one has {0}")]
    Rows(usize),
    #[error(
        "row {0} of the calibration: similarities must rise, rates fall, and all lie in their range; measure it again with `facelatch calibrate`"
    )]
    Row(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(flatten)]
    origin: Origin,
    /// Similarity, rate, upper bound, and share of refused genuine comparisons.
    rows: Vec<[f64; 4]>,
}

impl TryFrom<Table> for Calibration {
    type Error = CalibrationError;

    fn try_from(Table { origin, rows }: Table) -> Result<Self, CalibrationError> {
        if !(1..=MAX_ROWS).contains(&rows.len()) {
            return Err(CalibrationError::Rows(rows.len()));
        }
        let row = |(i, row): (usize, &[f64; 4])| {
            let [similarity, fmr, upper, fnmr] = *row;
            // In single precision, as they are compared with.
            let rises = i == 0 || (similarity as f32 > rows[i - 1][0] as f32 && upper <= rows[i - 1][2]);
            let in_range = (0.0..1.0).contains(&fmr) && (0.0..=1.0).contains(&fnmr);
            let bounds = upper >= fmr && Fmr::new(upper).is_some();
            let similarity = Similarity::new(similarity as f32).filter(|_| rises && in_range && bounds);
            similarity.map(|similarity| Row { similarity, fmr, upper, fnmr }).ok_or(CalibrationError::Row(i + 1))
        };
        let rows = rows.iter().enumerate().map(row).collect::<Result<_, _>>()?;
        Ok(Self { origin, rows })
    }
}

impl Calibration {
    /// # Errors
    /// No TOML of a table, or rows that contradict each other.
    pub fn parse(text: &str) -> Result<Self, CalibrationError> {
        if text.len() > MAX_TABLE_BYTES {
            return Err(CalibrationError::Syntax(format!("more than {MAX_TABLE_BYTES} bytes")));
        }
        toml::from_str::<Table>(text).map_err(|e| CalibrationError::Syntax(e.to_string()))?.try_into()
    }

    /// As [`Calibration::parse`] reads it, one row a line.
    pub fn to_toml(&self) -> String {
        let head = toml::to_string(&self.origin).expect("a table of plain texts and numbers has a TOML form");
        let row =
            |r: &Row| format!("    [{:.4}, {:.3e}, {:.3e}, {:.4}],\n", r.similarity.get(), r.fmr, r.upper, r.fnmr);
        let rows: String = self.rows.iter().map(row).collect();
        format!("{head}# similarity, false match rate, its 95 % upper bound, false non-match rate\nrows = [\n{rows}]\n")
    }

    /// The table that comes with this program for an embedder, by the SHA-256 of its file.
    pub fn builtin(sha256: &[u8; 32]) -> Option<Self> {
        let hex = hex(sha256);
        BUILTIN.iter().filter_map(|text| Self::parse(text).ok()).find(|c| c.origin.sha256 == hex)
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// At least one, similarities rising.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The false match rate of accepting from `similarity` on, as the upper bound of the nearest row at or below it.
    /// `None` below the weakest row: there no rate is known but that it is high.
    pub fn fmr_at(&self, similarity: Similarity) -> Option<Fmr> {
        let below = self.rows.iter().rev().find(|row| row.similarity <= similarity)?;
        Fmr::new(below.upper)
    }

    /// The similarity to demand for `target`. `None` where no row meets it: then nobody is to be admitted.
    pub fn similarity_for(&self, target: Fmr) -> Option<Similarity> {
        let threshold = self.threshold_for(target);
        threshold.met.then_some(threshold.similarity)
    }

    /// The lowest measured similarity whose bound meets `target`; the strictest measured one where none does.
    pub fn threshold_for(&self, target: Fmr) -> Threshold {
        let met = self.rows.iter().find(|row| row.upper <= target.get());
        let row = met.unwrap_or_else(|| self.strictest());
        // parse() and tabulate() admit no other bound.
        let bound = Fmr::new(row.upper).expect("every row's bound is a rate");
        Threshold { similarity: row.similarity, bound, met: met.is_some() }
    }

    fn strictest(&self) -> &Row {
        self.rows.last().expect("a table has at least one row")
    }
}

/// Counts of scores, from which a table is made; those of several threads add up.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    impostors: Vec<u64>,
    genuine: Vec<f64>,
    compared: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self { impostors: vec![0; STEPS + 1], genuine: vec![0.0; STEPS + 1], compared: 0 }
    }
}

/// The step that a similarity falls into: it is at or above the step's lower edge.
fn step(of: Similarity) -> usize {
    ((of.get() + 1.0) * (STEPS / 2) as f32) as usize
}

fn edge(step: usize) -> Similarity {
    Similarity::new(step as f32 / (STEPS / 2) as f32 - 1.0).expect("steps lie between -1 and 1")
}

impl Counts {
    /// Two pictures of different people.
    pub fn impostor(&mut self, similarity: Similarity) {
        self.impostors[step(similarity)] += 1;
    }

    /// Two pictures of one person, who has `of` such pairs in all.
    pub fn genuine(&mut self, similarity: Similarity, of: usize) {
        self.genuine[step(similarity)] += 1.0 / of.max(1) as f64;
        self.compared += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.impostors.iter_mut().zip(&other.impostors).for_each(|(a, b)| *a += b);
        self.genuine.iter_mut().zip(&other.genuine).for_each(|(a, b)| *a += b);
        self.compared += other.compared;
    }

    /// The table, its strictest row the first that no impostor reached. `None` without any impostor, or where one
    /// reached a similarity of 1.
    ///
    /// Fills in the counts of `origin`.
    pub fn tabulate(&self, mut origin: Origin) -> Option<Calibration> {
        let impostors: u64 = self.impostors.iter().sum();
        let people: f64 = self.genuine.iter().sum();
        (origin.impostors, origin.genuine) = (impostors, self.compared);
        let (mut accepted, mut refused) = (impostors, 0.0);
        let mut rows: Vec<Row> = Vec::new();
        for step in 0..=STEPS {
            let (fmr, fnmr) = (accepted as f64 / impostors as f64, refused / people.max(f64::MIN_POSITIVE));
            let upper = upper_bound(accepted) / impostors as f64;
            let row = Row { similarity: edge(step), fmr, upper, fnmr: fnmr.min(1.0) };
            let due = rows.last().is_none_or(|last| upper <= last.upper * 10f64.powf(-1.0 / ROWS_PER_DECADE));
            if upper <= WEAKEST && (due || accepted == 0) {
                rows.push(row);
            }
            if accepted == 0 {
                break;
            }
            accepted -= self.impostors[step];
            refused += self.genuine[step];
        }
        (accepted == 0 && (1..=MAX_ROWS).contains(&rows.len())).then_some(Calibration { origin, rows })
    }
}

/// The one-sided 95 % upper bound of the mean of a Poisson count (Garwood 1936), which for rare events is Clopper and
/// Pearson's bound of n times the rate, and never below it; for 0 it is the rule of three.
pub fn upper_bound(count: u64) -> f64 {
    const EXACT: u64 = 200;
    if count > EXACT {
        // Wilson and Hilferty (1931) for the χ² quantile: off by less than 1e-5 of itself here.
        let freedom = 2.0 * (count + 1) as f64;
        let spread = 2.0 / (9.0 * freedom);
        return freedom * (1.0 - spread + 1.644_853_627 * spread.sqrt()).powi(3) / 2.0;
    }
    // The mean at which so few events have a chance of 5 %, by bisection.
    let (mut low, mut high) = (count as f64, 3.0 * count as f64 + 10.0);
    for _ in 0..60 {
        let mean = f64::midpoint(low, high);
        let (mut term, mut chance) = ((-mean).exp(), 0.0);
        for k in 0..=count {
            chance += term;
            term *= mean / (k + 1) as f64;
        }
        if chance > 0.05 { low = mean } else { high = mean }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(x: f32) -> Similarity {
        Similarity::new(x).unwrap()
    }

    fn origin() -> Origin {
        let none = String::new;
        Origin {
            model: none(),
            sha256: none(),
            detector: none(),
            evaluation: none(),
            date: none(),
            people: 0,
            images: 0,
            lost: 0,
            impostors: 0,
            genuine: 0,
        }
    }

    fn measured() -> Calibration {
        let mut counts = Counts::default();
        for i in 0..10_000 {
            counts.impostor(similarity(-0.3 + 0.6 * i as f32 / 10_000.0));
        }
        counts.genuine(similarity(0.25), 2);
        counts.genuine(similarity(0.8), 2);
        counts.tabulate(origin()).unwrap()
    }

    #[test]
    fn the_bound_of_nothing_seen_is_the_rule_of_three() {
        assert!((upper_bound(0) - 2.9957).abs() < 1e-3);
        assert!((upper_bound(1) - 4.7439).abs() < 1e-3);
        assert!((upper_bound(10) - 16.962).abs() < 1e-3);
        let (exact, approximate) = (upper_bound(200), upper_bound(201));
        assert!((approximate - exact - 1.05).abs() < 0.02, "{exact} {approximate}");
    }

    #[test]
    fn a_table_falls_to_what_no_impostor_reached_and_its_bound_is_not_zero() {
        let table = measured();
        let last = table.strictest();
        assert_eq!(last.fmr, 0.0);
        assert!((last.upper - 2.9957e-4).abs() < 1e-6);
        assert!(last.similarity > similarity(0.299) && last.similarity < similarity(0.302));
        assert!(table.rows().windows(2).all(|w| w[0].similarity < w[1].similarity && w[0].upper > w[1].upper));
        assert_eq!(last.fnmr, 0.5);
        assert_eq!((table.origin().impostors, table.origin().genuine), (10_000, 2));
    }

    #[test]
    fn a_rate_that_was_measured_is_met_and_a_stricter_one_is_clamped_and_says_so() {
        let table = measured();
        let met = table.threshold_for(Fmr::new(1e-2).unwrap());
        assert!(met.met && met.bound.get() <= 1e-2 && met.similarity < similarity(0.3));
        let clamped = table.threshold_for(Fmr::new(1e-6).unwrap());
        assert!(!clamped.met);
        assert_eq!(clamped.similarity, table.strictest().similarity);
    }

    #[test]
    fn a_similarity_has_the_bound_of_the_row_below_it() {
        let table = measured();
        assert_eq!(table.fmr_at(similarity(-0.9)), None);
        assert_eq!(table.fmr_at(Similarity::MAX), Fmr::new(table.strictest().upper));
        let row = table.rows()[3];
        assert_eq!(table.fmr_at(row.similarity), Fmr::new(row.upper));
    }

    #[test]
    fn a_table_reads_back_from_its_text_and_contradictions_are_refused() {
        let text = measured().to_toml();
        let table = Calibration::parse(&text).unwrap();
        assert_eq!(table.to_toml(), text);
        let lines: Vec<_> = text.lines().collect();
        let rows = lines.iter().position(|line| line.starts_with("rows")).unwrap() + 1;
        let mut swapped = lines.clone();
        swapped.swap(rows, rows + 1);
        assert_eq!(Calibration::parse(&swapped.join("\n")), Err(CalibrationError::Row(2)));
        assert_eq!(
            Calibration::parse(&lines[..rows].join("\n").replace("rows = [", "rows = []")),
            Err(CalibrationError::Rows(0))
        );
        assert!(matches!(Calibration::parse("rows"), Err(CalibrationError::Syntax(_))));
        assert!(Calibration::parse(&text.replacen("[0", "[nan, 0", 1)).is_err());
    }

    #[test]
    fn the_tables_that_come_with_the_program_are_sound() {
        for text in BUILTIN {
            let table = Calibration::parse(text).unwrap();
            assert!(table.origin().impostors > 1_000_000, "{}", table.origin().model);
            assert_eq!(table.origin().sha256.len(), 64);
        }
    }

    #[test]
    fn an_impostor_with_a_similarity_of_one_leaves_no_strict_row() {
        let mut counts = Counts::default();
        counts.impostor(Similarity::MAX);
        assert_eq!(counts.tabulate(origin()), None);
        assert_eq!(Counts::default().tabulate(origin()), None);
    }
}
