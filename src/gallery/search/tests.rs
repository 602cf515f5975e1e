//! A search against its definition.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::gallery::PairHead;
use crate::gallery::template::tests::of_model;
use crate::kernels::panels::Search;

const MODEL: Digest = Digest([1; 32]);

fn template(id: u32, person: u32, raw: &[f32]) -> Template {
    of_model(MODEL, id, person, raw)
}

/// The definition: every template in full, the nearest, then the nearest of anybody else.
fn reference(decider: &Decider, templates: &[Template], query: &Encoding) -> Ranked {
    let mut order: Vec<_> = templates.iter().collect();
    order.sort_by_key(|t| (t.person, t.id));
    let hits = order.iter().map(|t| {
        let score = decider.score(query.as_slice(), t.encoding.as_slice());
        (score, Hit { person: t.person, template: t.id, similarity: Similarity::new(score).unwrap() })
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
    templates[1].model_sha256 = Digest([2; 32]);
    templates[2].model_sha256 = Digest([3; 32]);
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

#[test]
fn a_pair_head_decides_who_is_nearest_and_only_for_its_own_encoder() {
    // By the cosine the query is nearer to 1, by weights that don't look at the second number to 2.
    let templates = [template(1, 1, &[1.0, 0.0, 0.2]), template(2, 2, &[0.8, 0.6, 0.0])];
    let query = Encoding::from_raw(&[0.8, 0.0, 0.0]).unwrap();
    let head = |model| Decider::PairHead(Arc::new(PairHead::new(model, 3.0, vec![0.0, 0.0, -5.0], None).unwrap()));
    let build = || Index::build(&MODEL, 3, &templates).unwrap();
    let nearest = |index: &Index| index.search(&query, &mut Scratch::default()).best.unwrap().person.get();
    let judged = build().decided_by(head(MODEL)).unwrap();
    assert_eq!((nearest(&build()), nearest(&judged)), (1, 2));
    assert_eq!(judged.verify(PersonId::new(2), &query), Some(Similarity::MAX));
    assert!(matches!(build().decided_by(head(Digest([2; 32]))), Err(IndexError::OtherEncoder(_))));
}

/// Rows that make it hard: few distinct directions, tiny differences, ties, single large numbers.
fn rows(dims: usize) -> impl Strategy<Value = Vec<(u32, Vec<f32>)>> {
    let wild = prop::collection::vec(-1f32..1.0, dims);
    let near = prop::collection::vec(-1e-3f32..1e-3, dims).prop_map(|mut row| {
        row[0] += 1.0;
        row
    });
    let few = prop::collection::vec(prop_oneof![Just(0f32), Just(0.5), Just(-0.5), Just(1e-4)], dims);
    prop::collection::vec((0u32..6, prop_oneof![wild, near, few]), 0..3 * ROWS)
}

proptest! {
    #![proptest_config(crate::testing::properties(2000))]

    #[test]
    fn a_search_finds_what_comparing_everything_in_full_finds(
        (rows, query) in (1usize..40).prop_flat_map(|dims| (rows(dims), prop::collection::vec(-1f32..1.0, dims))),
        by_row in any::<Option<prop::sample::Index>>(),
        weights in prop::collection::vec(-9f32..2.0, 40),
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
        let found = index.search(&query, &mut Scratch::default());
        prop_assert_eq!(found, reference(&Decider::Threshold, &templates, &query));
        let head = PairHead::new(MODEL, 1.0, weights[..query.dims()].to_vec(), None);
        let Ok(decider) = head.map(|head| Decider::PairHead(Arc::new(head))) else { return Ok(()) };
        let index = index.decided_by(decider.clone()).unwrap();
        let found = index.search(&query, &mut Scratch::default());
        prop_assert_eq!(found, reference(&decider, &templates, &query));
        if let Some(best) = found.best {
            prop_assert_eq!(index.verify(best.person, &query), Some(best.similarity), "1:1 and 1:N agree");
        }
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
        let (rounded, score) = scored(&index, query.as_slice());
        let bounds = rounded.bounds(index.rounding[0], score[0]);
        prop_assert!((bounds.start..=bounds.end).contains(&dot::dot_f32(query.as_slice(), index.exact(0))));
    }

    #[test]
    fn no_row_that_reaches_a_cut_scores_its_panels_floor_or_less(
        (rows, query) in (1usize..40).prop_flat_map(|dims| (rows(dims), prop::collection::vec(-1f32..1.0, dims))),
    ) {
        let templates: Vec<_> = rows
            .iter()
            .filter(|(_, row)| Encoding::from_raw(row).is_some())
            .zip(1..)
            .map(|((person, row), id)| template(id, *person, row))
            .collect();
        let Some(query) = Encoding::from_raw(&query) else { return Ok(()) };
        let index = Index::build(&MODEL, query.dims(), &templates).unwrap();
        let (rounded, scores) = scored(&index, query.as_slice());
        for (row, &score) in scores.iter().enumerate() {
            let cosine = dot::dot_f32(query.as_slice(), index.exact(row));
            prop_assert!(score > rounded.floor(index.rounding[row / ROWS], cosine));
        }
    }
}

/// A query, rounded, and the rounded score of every row.
fn scored(index: &Index, exact: &[f32]) -> (Query, Vec<i32>) {
    struct All(Vec<i32>);
    impl Search for All {
        fn floor(&self, _: usize) -> i32 {
            i32::MIN
        }

        fn found(&mut self, row: usize, score: i32) {
            assert_eq!(row, self.0.len());
            self.0.push(score);
        }
    }
    let (mut rounded, mut all) = (Vec::new(), All(Vec::new()));
    let query = Query::new(exact, &mut rounded);
    index.rounded.search(&rounded, 0, &mut all);
    (query, all.0)
}
