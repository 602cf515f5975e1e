//! Scores counted, every two people alike, and the table that they make.
//!
//! The false match rate is that of two different people drawn at random and a picture drawn of each. Whoever has many
//! pictures isn't many people: the comparisons of two people share one vote, or the rate would be that of the two who
//! have the most pictures, and its bound would take them for that many findings.

use super::bounds::{upper_bound, wilson};
use super::calibrate::{Calibration, MAX_ROWS, Origin, Row, WEAKEST};
use crate::units::Similarity;

/// Rows that a table is thinned to: so many for each tenfold drop of the rate.
const ROWS_PER_DECADE: f64 = 10.0;
/// Similarities are counted in steps of 1e-4, so that a row's similarity is written in full.
pub const STEPS: usize = 20_000;

/// Counts of scores, from which a table is made; those of several threads add up.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// By step, in pairs of people.
    impostors: Vec<f64>,
    /// By step, in people.
    genuine: Vec<f64>,
    /// Comparisons.
    impostors_compared: u64,
    genuine_compared: u64,
}

impl Default for Counts {
    fn default() -> Self {
        let none = vec![0.0; STEPS + 1];
        Self { impostors: none.clone(), genuine: none, impostors_compared: 0, genuine_compared: 0 }
    }
}

/// The step that a similarity falls into, of [`STEPS`] and one for 1: the last whose edge it reaches.
pub fn step(of: Similarity) -> usize {
    let near = ((f64::from(of.get()) + 1.0) * (STEPS / 2) as f64) as usize;
    // An edge is the nearest number in single precision, on either side of the fraction that it is named by.
    match near {
        _ if near < STEPS && edge(near + 1) <= of => near + 1,
        _ if edge(near) > of => near - 1,
        _ => near,
    }
}

/// As it reads from its four decimals.
fn edge(step: usize) -> Similarity {
    let half = (STEPS / 2) as f64;
    Similarity::new(((step as f64 - half) / half) as f32).expect("steps lie between -1 and 1")
}

impl Counts {
    /// Two pictures of different people, who have `of` such comparisons with each other in all.
    pub fn impostor(&mut self, similarity: Similarity, of: usize) {
        self.impostors[step(similarity)] += 1.0 / of.max(1) as f64;
        self.impostors_compared += 1;
    }

    /// Two pictures of one person, who has `of` such pairs in all.
    pub fn genuine(&mut self, similarity: Similarity, of: usize) {
        self.genuine[step(similarity)] += 1.0 / of.max(1) as f64;
        self.genuine_compared += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.impostors.iter_mut().zip(&other.impostors).for_each(|(a, b)| *a += b);
        self.genuine.iter_mut().zip(&other.genuine).for_each(|(a, b)| *a += b);
        self.impostors_compared += other.impostors_compared;
        self.genuine_compared += other.genuine_compared;
    }

    /// How many comparisons of different people were counted.
    pub fn impostors(&self) -> u64 {
        self.impostors_compared
    }

    /// How many pairs of different people they are of.
    pub fn pairs(&self) -> f64 {
        self.impostors.iter().sum()
    }

    /// The share of those that reached this similarity; `None` without any.
    pub fn fmr_from(&self, similarity: Similarity) -> Option<f64> {
        let accepted: f64 = self.impostors[step(similarity)..].iter().sum();
        (self.impostors_compared > 0).then(|| accepted / self.pairs())
    }

    /// The table, its strictest row the first that no impostor reached. `None` without any impostor, or where one
    /// reached the last step before 1: that is a picture and itself, whose similarity rounding leaves on either side of
    /// 1, and a row at 1 would admit nobody.
    ///
    /// Fills in the counts of `origin`.
    pub fn tabulate(&self, mut origin: Origin) -> Option<Calibration> {
        let pairs = self.pairs();
        let people: f64 = self.genuine.iter().sum();
        (origin.impostors, origin.genuine) = (self.impostors_compared, self.genuine_compared);
        origin.pairs = pairs.round() as u64;
        // From the highest score down, so that nothing but nothing is left above it.
        let mut accepted = self.impostors.clone();
        (0..STEPS).rev().for_each(|step| accepted[step] += accepted[step + 1]);
        let mut refused = 0.0;
        let mut rows: Vec<Row> = Vec::new();
        for (step, &accepted) in accepted.iter().enumerate().take(STEPS) {
            let (fmr, fnmr) = ((accepted / pairs).min(1.0), refused / people.max(f64::MIN_POSITIVE));
            let (upper, fnmr) = (upper_bound(accepted) / pairs, fnmr.min(1.0));
            let row = Row { similarity: edge(step), fmr, upper, fnmr, fnmr_upper: Some(wilson(fnmr, people)) };
            let due = rows.last().is_none_or(|last| upper <= last.upper * 10f64.powf(-1.0 / ROWS_PER_DECADE));
            if upper <= WEAKEST && (due || accepted == 0.0) {
                rows.push(row);
            }
            if accepted == 0.0 {
                return (1..=MAX_ROWS).contains(&rows.len()).then(|| Calibration::of(origin, rows));
            }
            refused += self.genuine[step];
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(x: f32) -> Similarity {
        Similarity::new(x).unwrap()
    }

    #[test]
    fn a_score_falls_into_the_last_step_whose_edge_it_reaches_and_an_edge_is_what_its_four_decimals_say() {
        for at in 0..=STEPS {
            let this = edge(at);
            assert_eq!(format!("{:.4}", this.get()).parse::<f32>().unwrap(), this.get());
            assert_eq!(step(this), at);
            if at > 0 {
                assert_eq!(step(similarity(this.get().next_down())), at - 1);
            }
            if at < STEPS {
                assert_eq!(step(similarity(this.get().next_up())), at);
            }
        }
    }

    #[test]
    fn two_people_with_many_pictures_weigh_as_much_as_two_with_one_each() {
        let mut counts = Counts::default();
        (0..400).for_each(|_| counts.impostor(similarity(0.5), 400));
        (0..99).for_each(|_| counts.impostor(similarity(-0.5), 1));
        assert_eq!(counts.impostors(), 499);
        assert!((counts.pairs() - 100.0).abs() < 1e-9);
        assert!((counts.fmr_from(similarity(0.2)).unwrap() - 0.01).abs() < 1e-12);
        let table = counts.tabulate(Origin::default()).unwrap();
        assert_eq!(table.origin().pairs, 100);
        assert!((table.rows().last().unwrap().upper - 2.9957 / 100.0).abs() < 1e-5, "{table:?}");
    }

    #[test]
    fn an_impostor_with_a_similarity_of_one_or_just_less_leaves_no_strict_row() {
        let with = |highest: f32| {
            let mut counts = Counts::default();
            (0..99).for_each(|_| counts.impostor(similarity(0.1), 1));
            counts.impostor(similarity(highest), 1);
            counts.tabulate(Origin::default())
        };
        for one in [1.0, 1f32.next_down(), 0.9999] {
            assert_eq!(with(one), None, "{one}");
        }
        assert_eq!(with(0.9998).unwrap().rows().last().unwrap().similarity, edge(STEPS - 1));
        assert_eq!(Counts::default().tabulate(Origin::default()), None);
    }
}
