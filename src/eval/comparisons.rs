//! Every comparison of a calibration: counted by score, and again by whose it is, which says how far they are from
//! independent.
//!
//! # What the bounds make of it
//! A face takes part in thousands of comparisons, and one that looks like many people makes many false matches. So the
//! count of false matches c varies more than a Poisson count does. With R the false matches that a person takes part in,
//! n the person's comparisons and p the rate, the variance of c is, each comparison sharing both of its people with others,
//!
//! > V = Σ (R − n·p)² over all people − c·(1 − p)
//!
//! (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015). The last term takes a comparison's own variance out, which
//! the sum holds twice; where two people have several pictures each it takes out too little, so V is rather too large.
//! V / c(1 − p) is the design effect (Kish 1965): so many comparisons tell as much as one that is independent. A picture
//! of a stranger counts as a person of its own, unless it shares a folder with others: nobody has said whose they are, and they may
//! be one person's.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::encode::MAX_WORKERS;
use crate::face::Encoding;
use crate::gallery::Decider;
use crate::gallery::calibrate::{Calibration, Counts, Row, STEPS, step};
use crate::units::Similarity;

/// Of the comparisons of different people, so many of the most alike are named: among them are mislabelled pictures, and
/// strangers who are none.
pub const SUSPECTS: usize = 100;

/// A face to compare.
pub struct Face {
    /// Which picture it is on.
    pub picture: usize,
    /// Faces of one person have one number and follow each other; of strangers, those that may be one person's.
    pub person: usize,
    pub encoding: Encoding,
}

/// How alike, and the two pictures.
pub type Alike = (Similarity, usize, usize);

/// All faces: those of people, and those of strangers to them, who are never compared with each other.
#[derive(Clone, Copy)]
pub struct Faces<'a> {
    pub people: &'a [Face],
    pub strangers: &'a [Face],
}

/// What one walk through all comparisons counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counted {
    /// Of people with themselves and each other.
    pub people: Counts,
    /// Of people with strangers.
    pub strangers: Counts,
    /// Of different people, the most alike first, at most [`SUSPECTS`].
    pub alike: Vec<Alike>,
}

impl Faces<'_> {
    /// Makes every comparison once.
    pub fn count(&self, decider: &Decider, workers: usize) -> Counted {
        let mut of_person = vec![0usize; self.people.last().map_or(0, |f| f.person + 1)];
        self.people.iter().for_each(|f| of_person[f.person] += 1);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut counted = Counted::default();
            // Rows are handed out one by one, since later ones are shorter.
            while let Some((i, a)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, self.people.get(i)?)))
            {
                for b in &self.people[i + 1..] {
                    let Some(similarity) = decider.similarity(&a.encoding, &b.encoding) else { continue };
                    if a.person == b.person {
                        let n = of_person[a.person];
                        counted.people.genuine(similarity, n * (n - 1) / 2);
                    } else {
                        counted.people.impostor(similarity);
                        keep_most_alike(&mut counted.alike, (similarity, a.picture, b.picture));
                    }
                }
                for b in self.strangers {
                    let Some(similarity) = decider.similarity(&a.encoding, &b.encoding) else { continue };
                    counted.strangers.impostor(similarity);
                    keep_most_alike(&mut counted.alike, (similarity, a.picture, b.picture));
                }
            }
            counted
        };
        let mut total = Counted::default();
        for counted in on_threads(workers, &work) {
            total.people.add(&counted.people);
            total.strangers.add(&counted.strangers);
            counted.alike.into_iter().for_each(|pair| keep_most_alike(&mut total.alike, pair));
        }
        total
    }

    /// The design effect of each row of their table, at least 1: see the module. Every comparison of different people is
    /// made twice, once from each side, so that nothing has to be kept of anybody.
    pub fn design_effects(&self, table: &Calibration, decider: &Decider, workers: usize) -> Vec<f64> {
        let (rows, units) = (table.rows(), self.units());
        let row_of = rows_of_steps(rows);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut squares = vec![0.0; rows.len()];
            // By the number of rows that a score reaches.
            let mut scores = vec![0u64; rows.len() + 1];
            while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                scores.fill(0);
                let n = self.each_score_of(unit, decider, |score| scores[row_of[step(score)]] += 1);
                let mut matches = 0;
                for (at, row) in rows.iter().enumerate().rev() {
                    matches += scores[at + 1];
                    squares[at] += (matches as f64 - n as f64 * row.fmr).powi(2);
                }
            }
            squares
        };
        let mut squares = vec![0.0; rows.len()];
        for part in on_threads(workers, &work) {
            squares.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        let effect = |(row, squares): (&Row, f64)| {
            let alone = table.origin().impostors as f64 * row.fmr * (1.0 - row.fmr);
            if alone > 0.0 { ((squares - alone) / alone).max(1.0) } else { 1.0 }
        };
        rows.iter().zip(squares).map(effect).collect()
    }

    /// Everybody: the faces of a person, or of a stranger.
    fn units(&self) -> Vec<(Kind, &[Face])> {
        let people = self.people.chunk_by(|a, b| a.person == b.person).map(|faces| (Kind::Person, faces));
        let strangers = self.strangers.chunk_by(|a, b| a.person == b.person).map(|faces| (Kind::Stranger, faces));
        people.chain(strangers).collect()
    }

    /// Compares somebody with everybody else, and returns the number of comparisons.
    fn each_score_of(&self, unit: &(Kind, &[Face]), decider: &Decider, mut score: impl FnMut(Similarity)) -> u64 {
        let (kind, faces) = unit;
        let strangers = if *kind == Kind::Person { self.strangers } else { &[] };
        let mut n = 0;
        for a in *faces {
            let others = self.people.iter().filter(|b| b.person != a.person).chain(strangers);
            for similarity in others.filter_map(|b| decider.similarity(&a.encoding, &b.encoding)) {
                score(similarity);
                n += 1;
            }
        }
        n
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Person,
    Stranger,
}

/// For each step of a score, how many rows begin at it or below.
fn rows_of_steps(rows: &[Row]) -> Vec<usize> {
    let starts: Vec<_> = rows.iter().map(|row| step(row.similarity)).collect();
    (0..=STEPS).map(|step| starts.partition_point(|&start| start <= step)).collect()
}

fn on_threads<T: Send>(workers: usize, work: &(impl Fn() -> T + Sync)) -> Vec<T> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers.clamp(1, MAX_WORKERS)).map(|_| scope.spawn(work)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, T>| worker.join();
        workers.into_iter().map(|w| join(w).unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// Keeps the [`SUSPECTS`] most alike, sorted.
fn keep_most_alike(alike: &mut Vec<Alike>, pair: Alike) {
    if alike.len() == SUSPECTS && alike.last().is_some_and(|last| last.0 >= pair.0) {
        return;
    }
    let at = alike.partition_point(|kept| kept.0 >= pair.0);
    alike.insert(at, pair);
    alike.truncate(SUSPECTS);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery::calibrate::Origin;

    fn face(picture: usize, person: usize, raw: &[f32]) -> Face {
        Face { picture, person, encoding: Encoding::from_raw(raw).unwrap() }
    }

    /// Twenty people with two pictures each, and thirty strangers, all on a circle.
    fn town() -> (Vec<Face>, Vec<Face>) {
        let at = |picture: usize, person: usize| {
            let (sin, cos) = (picture as f32 * 1.7).sin_cos();
            face(picture, person, &[sin, cos])
        };
        ((0..40).map(|i| at(i, i / 2)).collect(), (40..70).map(|i| at(i, i - 20)).collect())
    }

    fn table(counted: &Counted) -> Calibration {
        let mut all = counted.people.clone();
        all.add(&counted.strangers);
        all.tabulate(Origin::default()).unwrap()
    }

    #[test]
    fn every_pair_counts_once_whatever_the_number_of_threads() {
        let (people, strangers) = town();
        let faces = Faces { people: &people, strangers: &strangers };
        let (one, many) = (faces.count(&Decider::Threshold, 1), faces.count(&Decider::Threshold, 4));
        assert_eq!((&one.people, &one.strangers), (&many.people, &many.strangers));
        assert_eq!((one.people.impostors(), one.strangers.impostors()), (40 * 39 / 2 - 20, 40 * 30));
        let scores = |of: &Counted| of.alike.iter().map(|a| a.0.get()).collect::<Vec<_>>();
        assert_eq!(scores(&one), scores(&many));
        assert_eq!(one.alike.len(), SUSPECTS);
        let table = table(&one);
        let effects = |workers| faces.design_effects(&table, &Decider::Threshold, workers);
        // Sums of several threads differ in their last digits.
        assert!(effects(1).iter().zip(effects(4)).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn strangers_are_compared_with_people_and_never_with_each_other() {
        let people = [face(0, 0, &[1.0, 0.0, 0.0]), face(1, 1, &[0.0, 1.0, 0.0])];
        let strangers = [face(2, 2, &[0.0, 0.0, 1.0]), face(3, 3, &[0.0, 0.0, 1.0])];
        let counted = Faces { people: &people, strangers: &strangers }.count(&Decider::Threshold, 1);
        assert_eq!((counted.people.impostors(), counted.strangers.impostors()), (1, 4));
        assert_eq!(counted.alike[0].0.get(), 0.0, "the strangers are alike, and that counts nowhere");
    }

    #[test]
    fn a_stranger_who_looks_like_many_people_makes_one_finding_of_many_matches() {
        // Everybody is alone in a direction of their own, but the first stranger is near all people.
        let people: Vec<_> =
            (0..20).map(|i| face(i, i, &std::array::from_fn::<_, 64, _>(|k| f32::from(k == i)))).collect();
        let between: [f32; 64] = std::array::from_fn(|k| f32::from(k < 20));
        let mut strangers = vec![face(20, 20, &between)];
        strangers.extend((21..60).map(|i| face(i, i, &std::array::from_fn::<_, 64, _>(|k| f32::from(k == i)))));
        let faces = Faces { people: &people, strangers: &strangers };
        let table = table(&faces.count(&Decider::Threshold, 1));
        let (n, p) = (table.origin().impostors as f64, table.rows()[0].fmr);
        assert_eq!((n, (n * p).round()), (190.0 + 800.0, 20.0));
        let of = |matches: f64, n: f64| (matches - n * p).powi(2);
        let squares = of(20.0, 20.0) + 39.0 * of(0.0, 20.0) + 20.0 * of(1.0, 59.0);
        let alone = n * p * (1.0 - p);
        let effect = faces.design_effects(&table, &Decider::Threshold, 1)[0];
        assert!((effect - (squares - alone) / alone).abs() < 1e-6 && effect > 15.0, "{effect}");
    }

    #[test]
    fn two_pictures_of_one_stranger_tell_less_than_those_of_two() {
        let axis = |i: usize| -> [f32; 64] { std::array::from_fn(|k| f32::from(k == i)) };
        let between: [f32; 64] = std::array::from_fn(|k| f32::from(k < 20));
        let people: Vec<_> = (0..20).map(|i| face(i, i, &axis(i))).collect();
        let effect = |persons: [usize; 2]| {
            let alike = persons.into_iter().enumerate().map(|(i, person)| face(20 + i, person, &between));
            let strangers: Vec<_> = alike.chain((22..60).map(|i| face(i, i, &axis(i)))).collect();
            let faces = Faces { people: &people, strangers: &strangers };
            let table = table(&faces.count(&Decider::Threshold, 1));
            faces.design_effects(&table, &Decider::Threshold, 1)[0]
        };
        let (of_two, of_one) = (effect([20, 21]), effect([20, 20]));
        assert!(of_one > 1.5 * of_two, "{of_one} {of_two}");
    }

    #[test]
    fn comparisons_of_which_none_is_like_another_stay_independent() {
        // Directions from a fixed sequence, in so many dimensions that one comparison says nothing of the next.
        let mut state = 1u64;
        let mut number = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let mut random = |i| face(i, i, &std::array::from_fn::<_, 128, _>(|_| number()));
        let (people, strangers): (Vec<_>, Vec<_>) =
            ((0..60).map(&mut random).collect(), (60..200).map(&mut random).collect());
        let faces = Faces { people: &people, strangers: &strangers };
        let table = table(&faces.count(&Decider::Threshold, 1));
        let effects = faces.design_effects(&table, &Decider::Threshold, 1);
        let often: Vec<_> =
            table.rows().iter().zip(effects).filter(|(row, _)| row.fmr > 1e-2).map(|(_, e)| e).collect();
        let mean = often.iter().sum::<f64>() / often.len() as f64;
        assert!(often.len() > 10 && mean < 1.3, "{mean}: {often:?}");
    }
}
