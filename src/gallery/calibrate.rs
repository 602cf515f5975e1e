//! From a similarity to a false match rate: a table that a named evaluation measured, with what it can't know.
//!
//! Rates are told as their upper bound. A door that asks for a rate gets the lowest measured similarity whose bound
//! meets it, and nothing is extrapolated beyond the strictest row.

use serde::{Deserialize, Serialize};

use super::bounds::upper_bound;
use super::counts::Counts;
use crate::digest::Digest;
use crate::units::{Fmr, Similarity, rounded_up};

/// The most rows of a table.
pub const MAX_ROWS: usize = 256;
/// The longest file of a table, in bytes.
pub const MAX_TABLE_BYTES: usize = 64 << 10;
/// So many pairs of people that match tell how often strangers match in comparison.
const ENOUGH: f64 = 100.0;
/// So many pairs of people that match tell how they depend on each other.
const SEEN: f64 = 20.0;
/// The weakest rate worth a row.
pub(super) const WEAKEST: f64 = 0.5;

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
    /// The share of impostors that were accepted, every two people weighing the same; 0 where none was.
    pub fmr: f64,
    /// Its one-sided 95 % upper confidence bound: as if pairs of people were independent from [`Counts::tabulate`], and
    /// wider after [`Calibration::widened`].
    pub upper: f64,
    /// The share of genuine comparisons that were refused, each person weighing the same.
    pub fnmr: f64,
    /// Its one-sided 95 % upper confidence bound, as if each person's comparisons all ended alike, which no data
    /// exceed; `None` in tables that were measured without it.
    pub fnmr_upper: Option<f64>,
}

/// Where a table comes from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The encoder, and the SHA-256 of its file in hexadecimal.
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
    /// Pairs of different people that `impostors` are of, of which each weighs the same; 0 in tables that were measured
    /// before this was so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pairs: u64,
    /// Pictures of people who are none of these, each compared with all of theirs and none of its own kind.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub strangers: u64,
    /// Of those, the ones without a face.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub strangers_lost: u64,
    /// Comparisons with them, beside `impostors`, which are of these people alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stranger_impostors: u64,
    /// For how many comparisons of these people one with a stranger counts, where it counts: 0 to 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stranger_weight: f64,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
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
    #[error("the calibration was measured for another network ({0}): measure it again, or remove it")]
    Model(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(flatten)]
    origin: Origin,
    /// Similarity, rate, upper bound, share of refused genuine comparisons, and its upper bound where that was
    /// measured.
    rows: Vec<Vec<f64>>,
}

impl Row {
    fn read(numbers: &[f64]) -> Option<Self> {
        let (similarity, fmr, upper, fnmr, fnmr_upper) = match *numbers {
            [similarity, fmr, upper, fnmr] => (similarity, fmr, upper, fnmr, None),
            [similarity, fmr, upper, fnmr, bound] => (similarity, fmr, upper, fnmr, Some(bound)),
            _ => return None,
        };
        // In single precision, as they are compared with.
        let similarity = Similarity::new(similarity as f32)?;
        let in_range = (0.0..1.0).contains(&fmr) && (0.0..=1.0).contains(&fnmr);
        let bounds =
            upper >= fmr && Fmr::new(upper).is_some() && fnmr_upper.is_none_or(|bound| (fnmr..=1.0).contains(&bound));
        (in_range && bounds).then_some(Self { similarity, fmr, upper, fnmr, fnmr_upper })
    }

    fn is_followed_by(&self, next: &Self) -> bool {
        next.similarity > self.similarity && next.upper <= self.upper
    }

    fn to_line(self) -> String {
        let Self { similarity, fmr, upper, fnmr, fnmr_upper } = self;
        let more = fnmr_upper.map(|bound| format!(", {bound:.4}")).unwrap_or_default();
        let upper = rounded_up(upper, 4);
        format!("    [{:.4}, {fmr:.3e}, {upper:.3e}, {fnmr:.4}{more}],\n", similarity.get())
    }
}

impl TryFrom<Table> for Calibration {
    type Error = CalibrationError;

    fn try_from(Table { origin, rows }: Table) -> Result<Self, CalibrationError> {
        if !(1..=MAX_ROWS).contains(&rows.len()) {
            return Err(CalibrationError::Rows(rows.len()));
        }
        let mut last: Option<Row> = None;
        let row = |(i, numbers): (usize, &Vec<f64>)| {
            let row = Row::read(numbers).filter(|row| last.is_none_or(|last| last.is_followed_by(row)));
            last = row;
            row.ok_or(CalibrationError::Row(i + 1))
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
        let rows: String = self.rows.iter().copied().map(Row::to_line).collect();
        format!(
            "{head}# similarity, false match rate, its 95 % upper bound, false non-match rate, its 95 % upper bound\n\
             rows = [\n{rows}]\n"
        )
    }

    /// The table that comes with this program for an encoder, by the SHA-256 of its file.
    pub fn builtin(sha256: &Digest) -> Option<Self> {
        let hex = sha256.to_string();
        BUILTIN.iter().filter_map(|text| Self::parse(text).ok()).find(|c| c.origin.sha256 == hex)
    }

    /// The table of this encoder, by the SHA-256 of its file: another's similarities mean something else.
    ///
    /// # Errors
    /// [`CalibrationError::Model`].
    pub fn of_encoder(self, sha256: &Digest) -> Result<Self, CalibrationError> {
        match self.origin.sha256 == sha256.to_string() {
            true => Ok(self),
            false => Err(CalibrationError::Model(self.origin.model)),
        }
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

    /// A table of rows in their order, at least one.
    pub(super) fn of(origin: Origin, rows: Vec<Row>) -> Self {
        Self { origin, rows }
    }

    /// The same with the bounds that the design effects of its rows leave: so many pairs of people tell as much as one
    /// that is independent of all others. `independent` pairs are, whoever they look like. `None` where no row keeps a
    /// bound worth one.
    ///
    /// An effect is measured by what matches, so where little does the last one stays that was seen. It falls with the
    /// rate, since the fewer match the rarer two matches share a person: what stays is rather too large.
    pub fn widened(mut self, effects: &[f64], independent: f64) -> Option<Self> {
        let all = self.origin.pairs as f64;
        let mut seen = (all / independent).max(1.0);
        for (row, &effect) in self.rows.iter_mut().zip(effects) {
            seen = if row.fmr * all < SEEN { seen.max(effect) } else { effect.max(1.0) };
            row.upper = seen * upper_bound(row.fmr * all / seen) / all;
        }
        // An effect is itself an estimate, and bounds must fall all the same.
        let mut stricter = 0.0f64;
        for row in self.rows.iter_mut().rev() {
            stricter = row.upper.max(stricter);
            row.upper = stricter;
        }
        self.rows.retain(|row| row.upper <= WEAKEST);
        (!self.rows.is_empty()).then_some(self)
    }

    /// This table of people alone, and from where fewer than a hundred pairs of them match those rows of `all`, of the
    /// same people with each other and with strangers, that promise less at a similarity. As it is where it has no such
    /// row, or where strangers never match.
    ///
    /// Strangers are of all kinds, and people drawn at random from all kinds match less often than people who have much
    /// in common, as those of one town or one collection do. So a comparison with a stranger counts for less than one:
    /// for the strangers' rate by the upper bound of the people's, where both are known last.
    #[must_use]
    pub fn lengthened(mut self, all: &Self, strangers: &Counts) -> Self {
        let own = self.origin.pairs as f64;
        let known = self.rows.iter().rposition(|row| row.fmr * own >= ENOUGH);
        let Some(last) = known.map(|at| self.rows[at]) else { return self };
        let weight = (strangers.fmr_from(last.similarity).unwrap_or(0.0) / last.upper).min(1.0);
        // As it is written.
        self.origin.stranger_weight = (weight * 1e3).floor() / 1e3;
        let scale = all.origin.pairs as f64 / (own + self.origin.stranger_weight * strangers.pairs());
        let beyond = all.rows.iter().filter(|row| row.similarity > last.similarity);
        let scaled = beyond.map(|row| Row { fmr: row.fmr * scale, upper: row.upper * scale, ..*row });
        if self.origin.stranger_weight > 0.0 {
            self.rows.extend(scaled);
            self.rows
                .sort_by(|a, b| a.similarity.get().total_cmp(&b.similarity.get()).then(a.upper.total_cmp(&b.upper)));
            let mut least = f64::INFINITY;
            self.rows.retain(|row| {
                let before = least;
                least = before.min(row.upper);
                row.upper < before
            });
        }
        self
    }

    /// The smallest rate that the table is good for.
    pub fn least(&self) -> Fmr {
        Fmr::new(self.strictest().upper).expect("every row's bound is a rate")
    }

    fn strictest(&self) -> &Row {
        self.rows.last().expect("a table has at least one row")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(x: f32) -> Similarity {
        Similarity::new(x).unwrap()
    }

    fn measured() -> Calibration {
        let mut counts = Counts::default();
        for i in 0..10_000 {
            counts.impostor(similarity(-0.3 + 0.6 * i as f32 / 10_000.0), 1);
        }
        counts.genuine(similarity(0.25), 2);
        counts.genuine(similarity(0.8), 2);
        counts.tabulate(Origin::default()).unwrap()
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
    fn no_bound_is_written_smaller_than_it_is() {
        let table = measured();
        let read = Calibration::parse(&table.to_toml()).unwrap();
        assert!(read.rows().iter().zip(table.rows()).all(|(read, row)| read.upper >= row.upper * (1.0 - 1e-12)));
        assert!(read.least() >= table.least());
    }

    #[test]
    fn a_table_without_the_bound_of_its_false_non_matches_still_reads() {
        let text = measured().to_toml();
        let older: Vec<_> = text
            .lines()
            .map(|line| {
                if line.starts_with("    [") {
                    format!("{}],", line.rsplit_once(',').unwrap().0.rsplit_once(',').unwrap().0)
                } else {
                    line.into()
                }
            })
            .collect();
        let table = Calibration::parse(&older.join("\n")).unwrap();
        assert!(table.rows().iter().all(|row| row.fnmr_upper.is_none()));
        assert_eq!(Calibration::parse(&table.to_toml()).unwrap(), table);
        let wrong = text.replacen(", 1.0000],", ", 1.0000, 1.0],", 1).replacen("],", ", 0.5, 0.5],", 1);
        assert_eq!(Calibration::parse(&wrong), Err(CalibrationError::Row(1)));
    }

    #[test]
    fn few_people_bound_the_false_non_matches_from_above() {
        let table = measured();
        let row = table.strictest();
        // One of one person's two comparisons was refused; nothing less than everything can be excluded by one person.
        assert!(row.fnmr == 0.5 && row.fnmr_upper.is_some_and(|bound| bound > 0.85 && bound <= 1.0), "{row:?}");
    }

    #[test]
    fn people_who_depend_on_each_other_widen_the_bounds_and_let_them_fall_all_the_same() {
        let table = measured();
        let rows = table.rows().len();
        let same = table.clone().widened(&vec![1.0; rows], 10_000.0).unwrap();
        assert!(same.rows().iter().zip(table.rows()).all(|(a, b)| (a.upper / b.upper - 1.0).abs() < 1e-9));
        let mut effects = vec![4.0; rows];
        effects[1] = 1.0;
        let wide = table.clone().widened(&effects, 10_000.0).unwrap();
        assert!(wide.rows().windows(2).all(|w| w[0].upper >= w[1].upper));
        let strictest = wide.strictest().upper;
        assert!((strictest - 4.0 * 2.9957e-4).abs() < 1e-6, "none of as many pairs as a quarter: {strictest}");
        assert_eq!(table.widened(&[1e9; 99], 10_000.0), None);
    }

    #[test]
    fn where_few_match_the_last_effect_that_was_seen_stays_and_where_few_ever_do_only_strangers_to_all_others_count() {
        let table = measured();
        let effect = |row: &Row| if row.fmr * 1e4 < SEEN { 1.0 } else { 3.0 };
        let wide = table.clone().widened(&table.rows().iter().map(effect).collect::<Vec<_>>(), 10_000.0).unwrap();
        assert!((wide.strictest().upper - 3.0 * 2.9957e-4).abs() < 1e-6, "{:?}", wide.strictest());
        let mut counts = Counts::default();
        (0..15).for_each(|i| counts.impostor(similarity(i as f32 / 100.0), 1));
        let few = counts.tabulate(Origin::default()).unwrap();
        let ones = vec![1.0; few.rows().len()];
        assert_eq!(few.clone().widened(&ones, 3.0), None, "six people are three pairs");
        assert!((few.widened(&ones, 12.0).unwrap().strictest().upper - 2.9957 / 12.0).abs() < 1e-4);
    }

    #[test]
    fn strangers_lengthen_a_table_where_people_end_and_count_for_less_where_they_are_less_alike() {
        let (own, mut strangers) = (measured(), Counts::default());
        // Two thirds as often as the people among themselves, at any similarity that is high.
        (0..100_000).for_each(|i| strangers.impostor(similarity(-0.6 + 0.9 * i as f32 / 100_000.0), 1));
        let mut all = strangers.clone();
        (0..10_000).for_each(|i| all.impostor(similarity(-0.3 + 0.6 * i as f32 / 10_000.0), 1));
        let all = all.tabulate(Origin::default()).unwrap();
        let longer = own.clone().lengthened(&all, &strangers);
        let weight = longer.origin().stranger_weight;
        assert!(weight > 0.5 && weight < 2.0 / 3.0, "not more than their share for certain: {weight}");
        let known = own.rows().iter().filter(|row| row.fmr * 1e4 > 99.5).count();
        assert_eq!(longer.rows()[..known], own.rows()[..known]);
        let strictest = longer.strictest().upper;
        assert!((strictest - 2.9957 / (1e4 + weight * 1e5)).abs() < 1e-8, "{strictest}");
        assert_eq!(Calibration::parse(&longer.to_toml()).unwrap().to_toml(), longer.to_toml());
        let mut unlike = Counts::default();
        (0..1000).for_each(|_| unlike.impostor(similarity(-0.5), 1));
        assert_eq!(own.clone().lengthened(&all, &unlike), own, "who never matches proves nothing");
    }

    #[test]
    fn the_tables_that_come_with_the_program_are_sound() {
        for text in BUILTIN {
            let table = Calibration::parse(text).unwrap();
            assert!(table.origin().impostors > 1_000_000, "{}", table.origin().model);
            assert_eq!(table.origin().sha256.len(), 64);
            let rows: Vec<_> =
                table.to_toml().lines().filter(|line| line.starts_with("    [")).map(String::from).collect();
            assert!(rows.iter().all(|row| text.contains(row.as_str())), "written as it was read");
        }
    }
}
