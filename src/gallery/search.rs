//! Who is it: the nearest template and the nearest of anybody else, exactly, fast enough for a door of 100 000. A door
//! searches one template a person, see [`super::prototype`]; an audit all that are kept.
//!
//! Every template is kept twice: as it is, and rounded to 8 bits a number. A search scores the rounded ones, a quarter
//! of the memory, and rescores in full only those that can still be first or second. What comes out is what rescoring
//! everything would give, to the bit, because the rounding error has a proven bound. The query is rounded to 7 bits,
//! which every CPU multiplies fast and which costs a few rescorings.
//!
//! with q = q̂ + e and t = t̂ + f, where q̂ and t̂ are the rounded vectors,
//!
//! > q·t − q̂·t̂ = q̂·f + e·t, so |q·t − q̂·t̂| ≤ ‖q̂‖‖f‖ + ‖e‖‖t‖ (Cauchy–Schwarz)
//!
//! and ‖f‖ is measured for each template when it is added, ‖e‖ for each query. q̂·t̂ is exact in integers.
//!
//! A pair head has no such bound to spare and no need of one: it scores every template in full, four times the bytes.

mod rounded;

use std::ops::Range;

use rounded::{Alike, MAX_ROUNDED, Near, Query, Rounding, Sieve};

use super::decider::{Decider, OtherEncoder};
use super::prototype::{Comparisons, prototypes};
use super::template::{Template, TemplateId};
use crate::digest::Digest;
use crate::face::encoding::{Encoding, MAX_DIMS};
use crate::gate::{Candidate, Seen};
use crate::kernels::dot;
use crate::kernels::panels::{Panels, ROWS};
use crate::person::PersonId;
use crate::units::Similarity;

/// The most templates in one index: 256 Ki, 160 MiB at 128 numbers each.
pub const MAX_TEMPLATES: usize = 1 << 18;

/// A template that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub person: PersonId,
    pub template: TemplateId,
    pub similarity: Similarity,
}

impl From<Hit> for Candidate {
    fn from(hit: Hit) -> Self {
        Self { person: hit.person, similarity: hit.similarity }
    }
}

/// The nearest person, and the nearest of all others.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ranked {
    /// `None` in an empty index.
    pub best: Option<Hit>,
    /// Always somebody else than `best`; `None` where there is nobody else.
    pub runner_up: Option<Hit>,
}

impl Ranked {
    /// As the gate hears it, and how alike the face is to whoever is claimed.
    pub fn seen(self, claimed: Option<Candidate>) -> Seen {
        Seen { best: self.best.map(Candidate::from), runner_up: self.runner_up.map(Candidate::from), claimed }
    }
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
    #[error(transparent)]
    OtherEncoder(#[from] OtherEncoder),
}

/// Everything that can be found, of one model. It does not change: build another when the store has changed.
pub struct Index {
    model: Digest,
    dims: usize,
    decider: Decider,
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
    /// Of each panel of rows.
    rounding: Vec<Rounding>,
    /// Templates that the rows were made of, and what searching them counts as.
    templates: usize,
    comparisons: Comparisons,
}

/// What a search works in, so that it allocates nothing. From [`Index::scratch`].
#[derive(Debug, Default)]
pub struct Scratch {
    query: Vec<i8>,
    near: Vec<Near>,
}

impl Index {
    /// What a door searches: the prototype of each person, made of the templates of `model`. Else as [`Index::build`].
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn of_people(model: &Digest, dims: usize, templates: &[Template]) -> Result<Self, IndexError> {
        let (one_each, comparisons) = prototypes(model, templates);
        let of_model = templates.iter().filter(|t| t.model_sha256 == *model).count();
        Ok(Self { templates: of_model, comparisons, ..Self::of_rows(model, dims, one_each.iter().map(|t| &**t))? })
    }

    /// The templates of `model`, whose encodings have `dims` numbers; those of other models are set apart, see
    /// [`Index::other_model`]. The plain decider compares them, unless [`Index::decided_by`] names another.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn build(model: &Digest, dims: usize, templates: &[Template]) -> Result<Self, IndexError> {
        Self::of_rows(model, dims, templates.iter())
    }

    fn of_rows<'a>(
        model: &Digest,
        dims: usize,
        templates: impl Iterator<Item = &'a Template>,
    ) -> Result<Self, IndexError> {
        if dims == 0 || dims > MAX_DIMS {
            return Err(IndexError::NoDims(dims));
        }
        let (mut ours, others): (Vec<_>, Vec<_>) = templates.partition(|t| t.model_sha256 == *model);
        if ours.len() > MAX_TEMPLATES {
            return Err(IndexError::TooMany(ours.len()));
        }
        ours.sort_unstable_by_key(|t| (t.person, t.id));
        let mut index = Self::empty(*model, dims, ours.len(), OtherModel::of(&others));
        for template in ours {
            index.push(template)?;
        }
        for rows in index.exact.chunks(ROWS * dims) {
            index.rounding.push(Rounding::of(rows, dims, MAX_ROUNDED, |row| index.rounded.push(row)));
        }
        index.first_row.push(index.owner.len() as u32);
        Ok(index)
    }

    /// The same templates, compared by this decider.
    ///
    /// # Errors
    /// It is a pair head of another model.
    pub fn decided_by(self, decider: Decider) -> Result<Self, IndexError> {
        decider.judges(&self.model, self.dims)?;
        Ok(Self { decider, ..self })
    }

    fn empty(model: Digest, dims: usize, capacity: usize, other_model: Option<OtherModel>) -> Self {
        Self {
            model,
            dims,
            decider: Decider::Threshold,
            other_model,
            people: Vec::new(),
            first_row: Vec::new(),
            owner: Vec::with_capacity(capacity),
            ids: Vec::with_capacity(capacity),
            exact: Vec::with_capacity(capacity * dims),
            rounded: Panels::new(dims),
            rounding: Vec::with_capacity(capacity.div_ceil(ROWS)),
            templates: capacity,
            comparisons: Comparisons { search: capacity, claim: capacity },
        }
    }

    fn push(&mut self, template: &Template) -> Result<(), IndexError> {
        let numbers = template.encoding.as_slice();
        if numbers.len() != self.dims {
            let (template, person) = (template.id, template.person);
            return Err(IndexError::Dims { template, person, expected: self.dims, got: numbers.len() });
        }
        if self.people.last() != Some(&template.person) {
            self.people.push(template.person);
            self.first_row.push(self.owner.len() as u32);
        }
        self.exact.extend_from_slice(numbers);
        self.owner.push(self.people.len() as u32 - 1);
        self.ids.push(template.id);
        Ok(())
    }

    /// How many numbers an encoding has here.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// What says here how alike two encodings are.
    pub fn decider(&self) -> &Decider {
        &self.decider
    }

    /// How many templates it was made of.
    pub fn templates(&self) -> usize {
        self.templates
    }

    /// What a search and a claim count as. Of [`Index::build`] every template is a comparison.
    pub fn comparisons(&self) -> Comparisons {
        self.comparisons
    }

    /// How many templates can be found.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Who can be found, in rising order.
    pub fn people(&self) -> &[PersonId] {
        &self.people
    }

    /// The templates that were refused because another model made them. Whoever builds an index tells its user.
    pub fn other_model(&self) -> Option<&OtherModel> {
        self.other_model.as_ref()
    }

    /// Room for searching this index without allocating.
    pub fn scratch(&self) -> Scratch {
        Scratch { query: vec![0; self.dims], near: Vec::with_capacity(self.len()) }
    }

    /// Recognition, 1:N. Of equally near templates the one of the lower person, then of the lower number, counts.
    ///
    /// Nobody is found by an encoding of another size than the index's. A scratch of another index is resized.
    pub fn search(&self, encoding: &Encoding, scratch: &mut Scratch) -> Ranked {
        if encoding.dims() != self.dims {
            return Ranked::default();
        }
        let top = match self.decider {
            Decider::Threshold => self.nearest(encoding.as_slice(), scratch),
            Decider::PairHead(_) => self.scan(encoding.as_slice()),
        };
        // A score beyond rounding would be a broken invariant: then nobody is recognised.
        let hit = |found: Option<Found>| match found {
            None => Some(None),
            Some(found) => Similarity::new(found.score).map(|similarity| Some(self.hit(found.row, similarity))),
        };
        match (hit(top.best), hit(top.runner_up)) {
            (Some(best), Some(runner_up)) => Ranked { best, runner_up },
            _ => Ranked::default(),
        }
    }

    /// What the gate hears of a face: a search, and a verification of the person who is expected.
    pub fn seen(&self, encoding: &Encoding, expected: Option<PersonId>, scratch: &mut Scratch) -> Seen {
        let claimed = expected
            .and_then(|person| self.verify(person, encoding).map(|similarity| Candidate { person, similarity }));
        self.search(encoding, scratch).seen(claimed)
    }

    /// By the cosine: the rounded numbers first, then in full what can still be first or second.
    fn nearest(&self, exact: &[f32], scratch: &mut Scratch) -> Top {
        let Scratch { query: rounded, near } = scratch;
        let query = Query::new(exact, rounded);
        near.clear();
        let mut sieve = Sieve::new(self, query, near);
        self.rounded.search(rounded, 0, &mut sieve);
        let cut = sieve.cut();
        let mut top = Top::default();
        for near in near.iter().filter(|near| near.most >= cut) {
            let row = near.row as usize;
            top.offer(row, self.owner[row], dot::dot_f32(exact, self.exact(row)));
        }
        top
    }

    /// By the decider, every row in full.
    fn scan(&self, exact: &[f32]) -> Top {
        let mut top = Top::default();
        for (row, &owner) in self.owner.iter().enumerate() {
            top.offer(row, owner, self.decider.score(exact, self.exact(row)));
        }
        top
    }

    /// Verification, 1:1: the similarity to the nearest of this person's templates.
    ///
    /// `None` where they have none of this model, and for an encoding of another size.
    pub fn verify(&self, person: PersonId, encoding: &Encoding) -> Option<Similarity> {
        if encoding.dims() != self.dims {
            return None;
        }
        let rows = self.rows_of(person)?;
        let scores = rows.map(|row| self.decider.score(encoding.as_slice(), self.exact(row)));
        scores.max_by(f32::total_cmp).and_then(Similarity::new)
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

    /// How alike two rows are, as the decider has it.
    pub(super) fn between(&self, row: usize, other: usize) -> Option<Similarity> {
        Similarity::new(self.decider.score(self.exact(row), self.exact(other)))
    }

    /// Calls `visit` with every row after the last of `row`'s own person that is at least as similar to it as
    /// `threshold`, and the similarity.
    pub(super) fn alike_after(
        &self,
        row: usize,
        threshold: Similarity,
        scratch: &mut Scratch,
        mut visit: impl FnMut(usize, Similarity),
    ) {
        let next_person = self.first_row[self.owner[row] as usize + 1] as usize;
        let visit = |other| {
            if let Some(similarity) = self.between(row, other).filter(|similarity| *similarity >= threshold) {
                visit(other, similarity);
            }
        };
        match self.decider {
            Decider::Threshold => {
                let query = Query::new(self.exact(row), &mut scratch.query);
                let mut alike = Alike { index: self, query, first: next_person, threshold: threshold.get(), visit };
                self.rounded.search(&scratch.query, next_person / ROWS, &mut alike);
            }
            Decider::PairHead(_) => (next_person..self.len()).for_each(visit),
        }
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

/// A row and its score.
#[derive(Clone, Copy)]
struct Found {
    row: usize,
    owner: u32,
    score: f32,
}

/// The best and the best of anybody else among rows offered in rising order.
#[derive(Default)]
struct Top {
    best: Option<Found>,
    runner_up: Option<Found>,
}

impl Top {
    fn offer(&mut self, row: usize, owner: u32, score: f32) {
        let new = Some(Found { row, owner, score });
        let beats = |found: Option<Found>| found.is_none_or(|found| score > found.score);
        let of_best = self.best.is_some_and(|best| best.owner == owner);
        if beats(self.best) {
            self.runner_up = if of_best { self.runner_up } else { self.best };
            self.best = new;
        } else if !of_best && beats(self.runner_up) {
            self.runner_up = new;
        }
    }
}

#[cfg(test)]
mod tests;
