//! Who is it: the nearest template and the nearest of anybody else, exactly, fast enough for a door of 100 000.
//!
//! Every template is kept twice: as it is, and rounded to 8 bits a number. A search scores the rounded ones, a quarter
//! of the memory, and rescores in full only those that can still be first or second. What comes out is what rescoring
//! everything would give, to the bit, because the rounding error has a proven bound:
//!
//! with q = q̂ + e and t = t̂ + f, where q̂ and t̂ are the rounded vectors,
//!
//! > q·t − q̂·t̂ = q̂·f + e·t, so |q·t − q̂·t̂| ≤ ‖q̂‖‖f‖ + ‖e‖‖t‖ (Cauchy–Schwarz)
//!
//! and ‖f‖ is measured for each template when it is added, ‖e‖ for each query. q̂·t̂ is exact in integers.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::template::{ModelSha256, Template, TemplateId};
use crate::face::encoding::{Encoding, MAX_DIMS};
use crate::kernels::dot::{self, Panels};
use crate::person::PersonId;
use crate::units::Similarity;

/// The most templates in one index: 256 Ki, 160 MiB at 128 numbers each.
pub const MAX_TEMPLATES: usize = 1 << 18;

/// The largest rounded number; −128 stays unused so that the range is symmetric.
const ROUNDED_MAX: f32 = 127.0;
/// An encoding is of unit length to within 1e-5; what is measured in double precision and kept in single is off by less.
const LENGTH_MAX: f32 = 1.0 + 2e-5;
/// Half a unit in the last place of a single-precision number near 1.
const HALF_ULP: f32 = 1.0 / (1 << 24) as f32;

/// A template that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub person: PersonId,
    pub template: TemplateId,
    pub similarity: Similarity,
}

/// The nearest person, and the nearest of all others.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ranked {
    /// `None` in an empty index.
    pub best: Option<Hit>,
    /// Always somebody else than `best`; `None` where there is nobody else.
    pub runner_up: Option<Hit>,
}

/// Templates that another model made. They take no part in a search.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{templates} templates of {} people were made by another model and can't be compared with this one's: enrol \
         these people again, or go back to the model they were enrolled with", people.len())]
pub struct OtherModel {
    pub templates: usize,
    /// Whose they are, in rising order.
    pub people: Vec<PersonId>,
}

/// Why there is no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    #[error("{0} templates are more than the {MAX_TEMPLATES} that one door searches: keep fewer a person")]
    TooMany(usize),
    #[error("{template} has {got} numbers and its model makes {expected}: erase and enrol {person} again")]
    Dims { template: TemplateId, person: PersonId, expected: usize, got: usize },
    #[error("a model of {0} numbers: between 1 and {MAX_DIMS} are possible")]
    NoDims(usize),
}

/// Everything that can be found, of one model. It does not change: build another when the store has changed.
pub struct Index {
    dims: usize,
    other_model: Option<OtherModel>,
    /// Rising.
    people: Vec<PersonId>,
    /// People's rows are neighbours: person `i` has the rows from `first_row[i]` up to `first_row[i + 1]`.
    first_row: Vec<u32>,
    /// A row's place in `people`.
    owner: Vec<u32>,
    ids: Vec<TemplateId>,
    /// Row after row, `dims` numbers each.
    exact: Vec<f32>,
    rounded: Panels,
    /// What one step of a row's rounded numbers is worth.
    step: Vec<f32>,
    /// No less than the length of what rounding took from a row.
    error: Vec<f32>,
}

/// What a search works in, so that it allocates nothing. From [`Index::scratch`].
#[derive(Debug, Default)]
pub struct Scratch {
    query: Vec<i8>,
    scores: Vec<i32>,
}

/// A query, rounded, with its share of the bound.
struct Query<'a> {
    exact: &'a [f32],
    step: f32,
    /// ‖q̂‖ at most.
    length: f32,
    /// What the bound holds whatever the row: ‖e‖‖t‖ and the rounding of the sums themselves.
    margin: f32,
}

impl Index {
    /// The templates of `model`, whose encodings have `dims` numbers; those of other models are set apart, see
    /// [`Index::other_model`].
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn build(model: &ModelSha256, dims: usize, templates: &[Template]) -> Result<Self, IndexError> {
        if dims == 0 || dims > MAX_DIMS {
            return Err(IndexError::NoDims(dims));
        }
        let (mut ours, others): (Vec<_>, Vec<_>) = templates.iter().partition(|t| t.model_sha256 == *model);
        if ours.len() > MAX_TEMPLATES {
            return Err(IndexError::TooMany(ours.len()));
        }
        ours.sort_unstable_by_key(|t| (t.person, t.id));
        let mut index = Self::empty(dims, ours.len(), OtherModel::of(&others));
        let mut rounded = vec![0; dims];
        for template in ours {
            index.push(template, &mut rounded)?;
        }
        index.first_row.push(index.owner.len() as u32);
        Ok(index)
    }

    fn empty(dims: usize, capacity: usize, other_model: Option<OtherModel>) -> Self {
        Self {
            dims,
            other_model,
            people: Vec::new(),
            first_row: Vec::new(),
            owner: Vec::with_capacity(capacity),
            ids: Vec::with_capacity(capacity),
            exact: Vec::with_capacity(capacity * dims),
            rounded: Panels::new(dims),
            step: Vec::with_capacity(capacity),
            error: Vec::with_capacity(capacity),
        }
    }

    fn push(&mut self, template: &Template, rounded: &mut [i8]) -> Result<(), IndexError> {
        let numbers = template.encoding.as_slice();
        if numbers.len() != self.dims {
            let (template, person) = (template.id, template.person);
            return Err(IndexError::Dims { template, person, expected: self.dims, got: numbers.len() });
        }
        if self.people.last() != Some(&template.person) {
            self.people.push(template.person);
            self.first_row.push(self.owner.len() as u32);
        }
        let (step, error) = round(numbers, rounded);
        self.rounded.push(rounded);
        self.step.push(step);
        self.error.push(error);
        self.exact.extend_from_slice(numbers);
        self.owner.push(self.people.len() as u32 - 1);
        self.ids.push(template.id);
        Ok(())
    }

    /// How many numbers an encoding has here.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// How many templates can be found.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Who can be found, in rising order. Their number is the N of FPIR = 1 − (1 − FMR)ᴺ.
    pub fn people(&self) -> &[PersonId] {
        &self.people
    }

    /// The templates that were refused because another model made them. Whoever builds an index tells its user.
    pub fn other_model(&self) -> Option<&OtherModel> {
        self.other_model.as_ref()
    }

    /// Room for searching this index without allocating.
    pub fn scratch(&self) -> Scratch {
        Scratch { query: vec![0; self.dims], scores: vec![0; self.len()] }
    }

    /// Recognition, 1:N. Of equally near templates the one of the lower person, then of the lower number, counts.
    ///
    /// Nobody is found by an encoding of another size than the index's. A scratch of another index is resized.
    pub fn search(&self, encoding: &Encoding, scratch: &mut Scratch) -> Ranked {
        let Some(query) = self.score(encoding.as_slice(), scratch) else { return Ranked::default() };
        let cut = self.cut(&query, &scratch.scores);
        let mut top = Top::default();
        for (row, &score) in scratch.scores.iter().enumerate() {
            if self.bounds(&query, row, score).end >= cut {
                top.offer(row, self.owner[row], dot::dot_f32(query.exact, self.exact(row)));
            }
        }
        // A cosine beyond rounding would be a broken invariant: then nobody is recognised.
        let hit = |found: Option<Found>| match found {
            None => Some(None),
            Some(found) => Similarity::new(found.cosine).map(|similarity| Some(self.hit(found.row, similarity))),
        };
        match (hit(top.best), hit(top.runner_up)) {
            (Some(best), Some(runner_up)) => Ranked { best, runner_up },
            _ => Ranked::default(),
        }
    }

    /// Verification, 1:1: the similarity to the nearest of this person's templates.
    ///
    /// `None` where they have none of this model, and for an encoding of another size.
    pub fn verify(&self, person: PersonId, encoding: &Encoding) -> Option<Similarity> {
        if encoding.dims() != self.dims {
            return None;
        }
        let rows = self.rows_of(person)?;
        let cosines = rows.map(|row| dot::dot_f32(encoding.as_slice(), self.exact(row)));
        cosines.max_by(f32::total_cmp).and_then(Similarity::new)
    }

    /// The rows of this person, none empty.
    pub(super) fn rows_of(&self, person: PersonId) -> Option<Range<usize>> {
        let at = self.people.binary_search(&person).ok()?;
        Some(self.first_row[at] as usize..self.first_row[at + 1] as usize)
    }

    /// The numbers of a row.
    pub(super) fn exact(&self, row: usize) -> &[f32] {
        &self.exact[row * self.dims..(row + 1) * self.dims]
    }

    pub(super) fn hit(&self, row: usize, similarity: Similarity) -> Hit {
        Hit { person: self.people[self.owner[row] as usize], template: self.ids[row], similarity }
    }

    /// Calls `visit` with every row after the last of `row`'s own person that is at least as similar to it as
    /// `threshold`, and the cosine.
    pub(super) fn alike_after(
        &self,
        row: usize,
        threshold: Similarity,
        scratch: &mut Scratch,
        mut visit: impl FnMut(usize, f32),
    ) {
        let Some(query) = self.score(self.exact(row), scratch) else { return };
        let next_person = self.first_row[self.owner[row] as usize + 1] as usize;
        for (row, &score) in scratch.scores.iter().enumerate().skip(next_person) {
            if self.bounds(&query, row, score).end >= threshold.get() {
                let cosine = dot::dot_f32(query.exact, self.exact(row));
                if cosine >= threshold.get() {
                    visit(row, cosine);
                }
            }
        }
    }

    /// Fills `scratch.scores`. `None` for a query of another size.
    fn score<'a>(&self, exact: &'a [f32], scratch: &mut Scratch) -> Option<Query<'a>> {
        if exact.len() != self.dims {
            return None;
        }
        scratch.query.resize(self.dims, 0);
        scratch.scores.resize(self.len(), 0);
        let (step, error) = round(exact, &mut scratch.query);
        self.rounded.scores(&scratch.query, &mut scratch.scores);
        // A sum of n products of unit vectors is off by at most n + 1 half units in the last place (Higham, Accuracy and
        // Stability of Numerical Algorithms, 3.1), scaling a score and adding the bound to it by a few more.
        let summing = (self.dims + 16) as f32 * HALF_ULP;
        Some(Query { exact, step, length: LENGTH_MAX + error, margin: error * LENGTH_MAX + summing })
    }

    /// What a row's cosine, as `dot_f32` computes it, lies between.
    #[inline]
    fn bounds(&self, query: &Query<'_>, row: usize, score: i32) -> Range<f32> {
        // Exact in f32: a score is at most 512 · 127², which is less than 2²⁴.
        let middle = score as f32 * (self.step[row] * query.step);
        let reach = query.length * self.error[row] + query.margin;
        middle - reach..middle + reach
    }

    /// What the second-nearest person reaches for certain; whatever can't reach it is neither first nor second. With
    /// one person alone, what the nearest template reaches.
    fn cut(&self, query: &Query<'_>, scores: &[i32]) -> f32 {
        let (mut first, mut first_owner, mut second) = (f32::NEG_INFINITY, u32::MAX, f32::NEG_INFINITY);
        for (row, &score) in scores.iter().enumerate() {
            let certain = self.bounds(query, row, score).start;
            if certain <= second {
                continue;
            }
            let owner = self.owner[row];
            if owner == first_owner {
                first = first.max(certain);
            } else if certain > first {
                (second, first, first_owner) = (first, certain, owner);
            } else {
                second = certain;
            }
        }
        if self.people.len() > 1 { second } else { first }
    }
}

impl OtherModel {
    fn of(others: &[&Template]) -> Option<Self> {
        let mut people: Vec<_> = others.iter().map(|t| t.person).collect();
        people.sort_unstable();
        people.dedup();
        (!others.is_empty()).then_some(Self { templates: others.len(), people })
    }
}

/// A row and its cosine.
#[derive(Clone, Copy)]
struct Found {
    row: usize,
    owner: u32,
    cosine: f32,
}

/// The best and the best of anybody else among rows offered in rising order.
#[derive(Default)]
struct Top {
    best: Option<Found>,
    runner_up: Option<Found>,
}

impl Top {
    fn offer(&mut self, row: usize, owner: u32, cosine: f32) {
        let new = Some(Found { row, owner, cosine });
        let beats = |found: Option<Found>| found.is_none_or(|found| cosine > found.cosine);
        let of_best = self.best.is_some_and(|best| best.owner == owner);
        if beats(self.best) {
            self.runner_up = if of_best { self.runner_up } else { self.best };
            self.best = new;
        } else if !of_best && beats(self.runner_up) {
            self.runner_up = new;
        }
    }
}

/// Rounds to 8 bits. Returns what a step is worth, and no less than the length of the difference.
fn round(exact: &[f32], rounded: &mut [i8]) -> (f32, f32) {
    let largest = exact.iter().fold(0f32, |max, x| max.max(x.abs()));
    // An encoding has a number other than zero, its length being 1.
    let step = largest / ROUNDED_MAX;
    let mut squares = 0f64;
    for (&x, r) in exact.iter().zip(rounded) {
        // Saturates at ±127: x / step rounds to no more.
        let steps = (x / step).round();
        *r = steps as i8;
        let lost = f64::from(x) - f64::from(step) * f64::from(steps);
        squares += lost * lost;
    }
    // Rounded to single precision and then up.
    (step, squares.sqrt() as f32 * (1.0 + 4.0 * HALF_ULP))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Wall;

    const MODEL: ModelSha256 = [1; 32];

    fn template(id: u32, person: u32, raw: &[f32]) -> Template {
        Template {
            id: TemplateId::new(id),
            person: PersonId::new(person),
            encoding: Encoding::from_raw(raw).unwrap(),
            model_sha256: MODEL,
            quality: 1.0,
            created: Wall::from_unix_millis(0),
        }
    }

    /// The definition: every template in full, the nearest, then the nearest of anybody else.
    fn reference(templates: &[Template], query: &Encoding) -> Ranked {
        let mut order: Vec<_> = templates.iter().collect();
        order.sort_by_key(|t| (t.person, t.id));
        let hits = order.iter().map(|t| {
            let cosine = dot::dot_f32(query.as_slice(), t.encoding.as_slice());
            (cosine, Hit { person: t.person, template: t.id, similarity: Similarity::new(cosine).unwrap() })
        });
        let first = |hits: Vec<(f32, Hit)>| {
            let max = hits.iter().map(|h| h.0).max_by(f32::total_cmp)?;
            hits.iter().find(|h| h.0 == max).map(|h| h.1)
        };
        let hits: Vec<_> = hits.collect();
        let best = first(hits.clone());
        let others = hits.into_iter().filter(|(_, hit)| best.is_some_and(|best| best.person != hit.person)).collect();
        Ranked { best, runner_up: first(others) }
    }

    #[test]
    fn an_empty_index_finds_nobody() {
        let index = Index::build(&MODEL, 2, &[]).unwrap();
        let query = Encoding::from_raw(&[1.0, 0.0]).unwrap();
        assert_eq!(index.search(&query, &mut index.scratch()), Ranked::default());
        assert_eq!(index.verify(PersonId::new(1), &query), None);
        assert!(index.is_empty() && index.people().is_empty());
    }

    #[test]
    fn the_runner_up_is_somebody_else_however_near_the_best_persons_other_templates_are() {
        let templates = [
            template(1, 1, &[1.0, 0.0]),
            template(2, 2, &[0.0, 1.0]),
            template(3, 1, &[1.0, 0.01]),
            template(4, 1, &[1.0, -0.01]),
        ];
        let index = Index::build(&MODEL, 2, &templates).unwrap();
        let ranked = index.search(&Encoding::from_raw(&[1.0, 0.02]).unwrap(), &mut index.scratch());
        assert_eq!(ranked.best.unwrap().template, TemplateId::new(3));
        assert_eq!(ranked.runner_up.unwrap().person, PersonId::new(2));
        assert_eq!((index.len(), index.people()), (4, &[PersonId::new(1), PersonId::new(2)][..]));
    }

    #[test]
    fn one_person_alone_has_no_runner_up() {
        let templates = [template(1, 1, &[1.0, 0.0]), template(2, 1, &[0.0, 1.0])];
        let index = Index::build(&MODEL, 2, &templates).unwrap();
        let ranked = index.search(&Encoding::from_raw(&[0.6, 0.8]).unwrap(), &mut index.scratch());
        assert_eq!(ranked.best.unwrap().template, TemplateId::new(2));
        assert_eq!(ranked.runner_up, None);
    }

    #[test]
    fn a_claim_is_judged_by_the_claimed_persons_nearest_template_alone() {
        let templates = [template(1, 1, &[1.0, 0.0]), template(2, 2, &[0.6, 0.8]), template(3, 2, &[0.0, 1.0])];
        let index = Index::build(&MODEL, 2, &templates).unwrap();
        let query = Encoding::from_raw(&[1.0, 0.0]).unwrap();
        assert_eq!(index.verify(PersonId::new(2), &query).map(Similarity::get), Some(0.6));
        assert_eq!(index.verify(PersonId::new(3), &query), None);
    }

    #[test]
    fn templates_of_another_model_are_counted_and_never_found() {
        let mut templates = [template(1, 1, &[1.0, 0.0]), template(2, 2, &[0.0, 1.0]), template(3, 2, &[0.0, 1.0])];
        templates[1].model_sha256 = [2; 32];
        templates[2].model_sha256 = [3; 32];
        let index = Index::build(&MODEL, 2, &templates).unwrap();
        let other = index.other_model().unwrap();
        assert_eq!((other.templates, &other.people[..]), (2, &[PersonId::new(2)][..]));
        assert!(other.to_string().contains("2 templates of 1 people") && other.to_string().contains("enrol"));
        assert_eq!(index.verify(PersonId::new(2), &templates[1].encoding), None);
        assert_eq!(index.search(&templates[1].encoding, &mut index.scratch()).runner_up, None);
    }

    #[test]
    fn encodings_of_another_size_are_refused_and_find_nobody() {
        let templates = [template(1, 1, &[1.0, 0.0, 0.0])];
        assert!(matches!(Index::build(&MODEL, 2, &templates), Err(IndexError::Dims { expected: 2, got: 3, .. })));
        assert!(matches!(Index::build(&MODEL, 0, &[]), Err(IndexError::NoDims(0))));
        let index = Index::build(&MODEL, 3, &templates).unwrap();
        let query = Encoding::from_raw(&[1.0, 0.0]).unwrap();
        assert_eq!(index.search(&query, &mut index.scratch()), Ranked::default());
        assert_eq!(index.verify(PersonId::new(1), &query), None);
    }

    /// Rows that make it hard: few distinct directions, tiny differences, ties, single large numbers.
    fn rows(dims: usize) -> impl Strategy<Value = Vec<(u32, Vec<f32>)>> {
        let wild = prop::collection::vec(-1f32..1.0, dims);
        let near = prop::collection::vec(-1e-3f32..1e-3, dims).prop_map(|mut row| {
            row[0] += 1.0;
            row
        });
        let few = prop::collection::vec(prop_oneof![Just(0f32), Just(0.5), Just(-0.5), Just(1e-4)], dims);
        prop::collection::vec((0u32..6, prop_oneof![wild, near, few]), 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_search_finds_what_comparing_everything_in_full_finds(
            (rows, query) in (1usize..40).prop_flat_map(|dims| (rows(dims), prop::collection::vec(-1f32..1.0, dims))),
            by_row in any::<Option<prop::sample::Index>>(),
        ) {
            let templates: Vec<_> = rows
                .iter()
                .zip(1..)
                .filter(|((_, row), _)| Encoding::from_raw(row).is_some())
                .map(|((person, row), id)| template(id, *person, row))
                .collect();
            let query = match by_row {
                Some(at) if !templates.is_empty() => Some(at.get(&templates).encoding.clone()),
                _ => Encoding::from_raw(&query),
            };
            prop_assume!(query.is_some());
            let query = query.unwrap();
            let index = Index::build(&MODEL, query.dims(), &templates).unwrap();
            prop_assert_eq!(index.search(&query, &mut Scratch::default()), reference(&templates, &query));
        }

        #[test]
        fn every_cosine_lies_within_its_bounds(
            (a, b) in (1usize..=MAX_DIMS).prop_flat_map(|n| {
                (prop::collection::vec(-1f32..1.0, n), prop::collection::vec(-1f32..1.0, n))
            }),
        ) {
            prop_assume!(Encoding::from_raw(&a).is_some());
            let Some(query) = Encoding::from_raw(&b) else { return Ok(()) };
            let index = Index::build(&MODEL, a.len(), &[template(1, 1, &a)]).unwrap();
            let mut scratch = index.scratch();
            let rounded = index.score(query.as_slice(), &mut scratch).unwrap();
            let bounds = index.bounds(&rounded, 0, scratch.scores[0]);
            prop_assert!((bounds.start..=bounds.end).contains(&dot::dot_f32(query.as_slice(), index.exact(0))));
        }
    }
}
