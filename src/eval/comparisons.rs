//! Every comparison of a calibration: counted by score, and again by whose it is, which says how far they are from
//! independent.
//!
//! # What the bounds make of it
//! Somebody who looks like many people makes many false matches at once. So their number varies more than a Poisson
//! count does. With x the share of their comparisons by which two people match, p its mean over all pairs of people, R
//! the sum of x over the n pairs that a person is in, the variance of the sum of x over all N pairs is
//!
//! > V = Σ (R − n·p)² over all people − Σ (x − p)² over all pairs
//!
//! since two pairs that share anybody share one person, but a pair shares two with itself (Fafchamps and Gubert 2007;
//! Aronow, Samii and Assenova 2015). V / N·p(1 − p) is the design effect (Kish 1965): so many pairs tell as much as one
//! that is independent. A picture of a stranger counts as a person of its own, unless it shares a folder with others:
//! nobody has said whose they are, and they may be one person's.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::encode::MAX_WORKERS;
use crate::face::Encoding;
use crate::gallery::Decider;
use crate::gallery::calibrate::{Calibration, Row};
use crate::gallery::counts::{Counts, STEPS, step};
use crate::units::Similarity;

/// Of the comparisons of different people, so many of the most alike are named: among them are mislabelled pictures,
/// and strangers who are none.
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

impl<'a> Faces<'a> {
    /// Makes every comparison once.
    pub fn count(&self, decider: &Decider, workers: usize) -> Counted {
        let units = self.units();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut counted = Counted::default();
            // People are handed out one by one, since later ones have fewer to be compared with.
            while let Some((i, a)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, units.people.get(i)?)))
            {
                let own = a.len() * (a.len() - 1) / 2;
                for (x, y) in a.iter().enumerate().flat_map(|(at, x)| a[at + 1..].iter().map(move |y| (x, y))) {
                    if let Some(similarity) = decider.similarity(&x.encoding, &y.encoding) {
                        counted.people.genuine(similarity, own);
                    }
                }
                let mut impostors = |into: &mut Counts, b: &[Face]| {
                    for (similarity, x, y) in comparisons(decider, a, b) {
                        into.impostor(similarity, a.len() * b.len());
                        keep_most_alike(&mut counted.alike, (similarity, x.picture, y.picture));
                    }
                };
                units.people[i + 1..].iter().for_each(|b| impostors(&mut counted.people, b));
                units.strangers.iter().for_each(|b| impostors(&mut counted.strangers, b));
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

    /// The design effect of each row of their table: see the module. Every comparison of different people is
    /// made twice, once from each side, so that nothing has to be kept of anybody.
    pub fn design_effects(&self, table: &Calibration, decider: &Decider, workers: usize) -> Vec<f64> {
        let (rows, units) = (table.rows(), self.units());
        let row_of = rows_of_steps(rows);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut squares = vec![Squares::default(); rows.len()];
            while let Some((unit, others)) = units.with_all_others(next.fetch_add(1, Ordering::Relaxed)) {
                let (n, shares) = shares(unit, others, decider, &row_of, rows.len());
                for ((row, shares), squares) in rows.iter().zip(shares).zip(&mut squares) {
                    squares.of_people += (shares.sum - n * row.fmr).powi(2);
                    squares.of_pairs += shares.squares - 2.0 * row.fmr * shares.sum + n * row.fmr * row.fmr;
                }
            }
            squares
        };
        let mut squares = vec![Squares::default(); rows.len()];
        for part in on_threads(workers, &work) {
            for (total, part) in squares.iter_mut().zip(part) {
                total.of_people += part.of_people;
                total.of_pairs += part.of_pairs;
            }
        }
        let effect = |(row, squares): (&Row, Squares)| {
            let alone = table.origin().pairs as f64 * row.fmr * (1.0 - row.fmr);
            // From either side every pair was seen twice.
            if alone > 0.0 { (squares.of_people - squares.of_pairs / 2.0) / alone } else { 1.0 }
        };
        rows.iter().zip(squares).map(effect).collect()
    }

    /// So many pairs can be made that nobody is in two of.
    pub fn independent(&self) -> f64 {
        let Units { people, strangers } = self.units();
        let (people, strangers) = (people.len() as f64, strangers.len() as f64);
        people.min((people + strangers) / 2.0).floor()
    }

    fn units(&self) -> Units<'a> {
        let of = |faces: &'a [Face]| faces.chunk_by(|a, b| a.person == b.person).collect();
        Units { people: of(self.people), strangers: of(self.strangers) }
    }
}

/// The two sums of the module's variance: of (R − n·p)², and of (x − p)².
#[derive(Debug, Clone, Copy, Default)]
struct Squares {
    of_people: f64,
    of_pairs: f64,
}

/// Of somebody's pairs: the sum of the shares of their comparisons that match, and of the shares' squares.
#[derive(Debug, Clone, Copy, Default)]
struct Shares {
    sum: f64,
    squares: f64,
}

/// How many pairs somebody is in, and their shares for each of so many rows.
fn shares<'a>(
    unit: &[Face],
    others: impl Iterator<Item = &'a [Face]>,
    decider: &Decider,
    row_of: &[usize],
    rows: usize,
) -> (f64, Vec<Shares>) {
    // First by the number of rows that a score reaches.
    let mut by_rows = vec![Shares::default(); rows + 1];
    let (mut n, mut reached) = (0.0, Vec::new());
    for other in others {
        reached.clear();
        reached.extend(comparisons(decider, unit, other).map(|(score, ..)| row_of[step(score)]));
        reached.sort_unstable_by(|a, b| b.cmp(a));
        let all = (unit.len() * other.len()) as f64;
        for (before, &rows) in reached.iter().enumerate() {
            // With this one so many reach these rows: their share rises by a part, and its square.
            by_rows[rows].sum += 1.0 / all;
            by_rows[rows].squares += (2 * before + 1) as f64 / (all * all);
        }
        n += 1.0;
    }
    for at in (0..rows).rev() {
        by_rows[at].sum += by_rows[at + 1].sum;
        by_rows[at].squares += by_rows[at + 1].squares;
    }
    // Whoever reaches one row and no more reaches the first.
    by_rows.remove(0);
    (n, by_rows)
}

/// The faces of each person, and of each stranger.
struct Units<'a> {
    people: Vec<&'a [Face]>,
    strangers: Vec<&'a [Face]>,
}

impl<'a> Units<'a> {
    /// Somebody, and everybody who is compared with them.
    fn with_all_others(&self, at: usize) -> Option<(&'a [Face], impl Iterator<Item = &'a [Face]>)> {
        let unit = *self.people.iter().chain(&self.strangers).nth(at)?;
        let strangers = if at < self.people.len() { &self.strangers[..] } else { &[] };
        let people = self.people.iter().enumerate().filter(move |(other, _)| *other != at).map(|(_, faces)| *faces);
        Some((unit, people.chain(strangers.iter().copied())))
    }
}

/// Each face of the one with each of the other.
fn comparisons<'a>(
    decider: &'a Decider,
    a: &'a [Face],
    b: &'a [Face],
) -> impl Iterator<Item = (Similarity, &'a Face, &'a Face)> {
    let pairs = a.iter().flat_map(move |x| b.iter().map(move |y| (x, y)));
    pairs.filter_map(move |(x, y)| Some((decider.similarity(&x.encoding, &y.encoding)?, x, y)))
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
    use crate::sim::rng::Rng;

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
        let bound_of_a_match = |persons: [usize; 2]| {
            let alike = persons.into_iter().enumerate().map(|(i, person)| face(20 + i, person, &between));
            let strangers: Vec<_> = alike.chain((22..60).map(|i| face(i, i, &axis(i)))).collect();
            let faces = Faces { people: &people, strangers: &strangers };
            let table = table(&faces.count(&Decider::Threshold, 1));
            let effects = faces.design_effects(&table, &Decider::Threshold, 1);
            let row = table.widened(&effects, faces.independent()).unwrap().rows()[0];
            row.upper / row.fmr
        };
        let (of_two, of_one) = (bound_of_a_match([20, 21]), bound_of_a_match([20, 20]));
        assert!(of_one > 1.3 * of_two, "{of_one} {of_two}");
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

    /// Of people drawn at random, some of whom look like everybody, so many pictures each.
    fn drawn(rng: &mut Rng, people: usize, pictures: usize) -> Vec<Face> {
        let mut normal = || ((0..12).map(|_| rng.unit()).sum::<f64>() - 6.0) as f32;
        let mut faces = Vec::new();
        for person in 0..people {
            let like_all = 0.8 * normal().abs();
            let centre: [f32; 24] = std::array::from_fn(|k| normal() + if k == 0 { like_all } else { 0.0 });
            for _ in 0..pictures {
                let raw = centre.map(|x| x + 0.5 * normal());
                faces.push(face(faces.len(), person, &raw));
            }
        }
        faces
    }

    #[test]
    fn bounds_hold_in_nineteen_towns_of_twenty_whether_of_few_people_with_many_pictures_or_of_many_with_few() {
        let table_of = |people: &[Face]| {
            let faces = Faces { people, strangers: &[] };
            let counted = faces.count(&Decider::Threshold, 1).people;
            let table = counted.tabulate(Origin::default()).unwrap();
            let effects = faces.design_effects(&table, &Decider::Threshold, 1);
            (counted, table.widened(&effects, faces.independent()).unwrap())
        };
        let mut rng = Rng::new(1);
        let (all, _) = table_of(&drawn(&mut rng, 2000, 1));
        for (people, pictures) in [(30, 12), (150, 2), (150, 1)] {
            // Of the rows at about a rate of each, and of the last.
            let mut held = [0; 4];
            const TOWNS: usize = 100;
            for _ in 0..TOWNS {
                let (_, table) = table_of(&drawn(&mut rng, people, pictures));
                let holds = |row: &Row| all.fmr_from(row.similarity).unwrap() <= row.upper;
                for (at, rate) in [0.1, 0.01, 0.003].into_iter().enumerate() {
                    let row = table.rows().iter().find(|row| row.fmr <= rate).unwrap();
                    held[at] += usize::from(holds(row));
                }
                held[3] += usize::from(holds(table.rows().last().unwrap()));
            }
            eprintln!("{people} people with {pictures} pictures: {held:?} of {TOWNS}");
            assert!(held.iter().all(|&held| held >= 90), "{people} people with {pictures} pictures: {held:?}");
        }
    }
}
