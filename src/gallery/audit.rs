//! What endangers a gallery: people who look alike to the model, and templates that are nearer to somebody else than
//! to their own person.

use super::search::{Hit, Index};
use super::template::TemplateId;
use crate::face::encoding::Encoding;
use crate::person::PersonId;
use crate::units::Similarity;

/// The most pairs of people that a report names; the most alike stay.
pub const MAX_LOOK_ALIKES: usize = 1000;
/// While collecting, the list may grow to this before the least alike are cut off.
const COLLECTED: usize = 8 * MAX_LOOK_ALIKES;

/// Two people whom the model may take for each other, and the templates in which they are most alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LookAlikes {
    /// The lower number of the two.
    pub first: (PersonId, TemplateId),
    pub second: (PersonId, TemplateId),
    pub similarity: Similarity,
}

/// A template that is nearer to somebody else than to any other of its own person's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Harmful {
    pub person: PersonId,
    pub template: TemplateId,
    /// To the nearest other template of the same person.
    pub own: Similarity,
    /// The nearest template of anybody else.
    pub other: Hit,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Audit {
    pub people: usize,
    pub templates: usize,
    /// People with one template, in which nothing can be compared with their own.
    pub people_with_one_template: usize,
    /// Most alike first; at most [`MAX_LOOK_ALIKES`].
    pub look_alikes: Vec<LookAlikes>,
    /// Most harmful (other − own) first.
    pub harmful: Vec<Harmful>,
}

/// Compares everybody with everybody else. `look_alike_at` is the similarity from which two people are named;
/// `progress` hears how many templates are done.
///
/// Takes two searches a template: a second for 10 000 of them, minutes for 100 000.
pub fn audit(index: &Index, look_alike_at: Similarity, mut progress: impl FnMut(usize)) -> Audit {
    let mut scratch = index.scratch();
    let mut audit = Audit { people: index.people().len(), templates: index.len(), ..Audit::default() };
    for &person in index.people() {
        let Some(rows) = index.rows_of(person) else { continue };
        audit.people_with_one_template += usize::from(rows.len() == 1);
        for row in rows.clone() {
            index.alike_after(row, look_alike_at, &mut scratch, |other, similarity| {
                let place = |row| (index.hit(row, similarity).person, index.hit(row, similarity).template);
                audit.look_alikes.push(LookAlikes { first: place(row), second: place(other), similarity });
                if audit.look_alikes.len() >= COLLECTED {
                    rank(&mut audit.look_alikes);
                }
            });
            let own = rows.clone().filter(|&other| other != row);
            let own = own.filter_map(|other| index.between(row, other)).max_by(|a, b| a.get().total_cmp(&b.get()));
            let ranked = Encoding::from_unit(index.exact(row)).map(|encoding| index.search(&encoding, &mut scratch));
            let hits = ranked.map(|ranked| [ranked.best, ranked.runner_up]).into_iter().flatten().flatten();
            let other = hits.into_iter().find(|hit| hit.person != person);
            if let (Some(own), Some(other)) = (own, other)
                && other.similarity > own
            {
                audit.harmful.push(Harmful { person, template: index.hit(row, own).template, own, other });
            }
            progress(row + 1);
        }
    }
    rank(&mut audit.look_alikes);
    let harm = |h: &Harmful| h.other.similarity.get() - h.own.get();
    audit.harmful.sort_by(|a, b| harm(b).total_cmp(&harm(a)).then(a.template.cmp(&b.template)));
    audit
}

/// One entry a pair of people, its most alike; sorted by that; at most [`MAX_LOOK_ALIKES`].
fn rank(pairs: &mut Vec<LookAlikes>) {
    let people = |p: &LookAlikes| (p.first.0, p.second.0);
    let templates = |p: &LookAlikes| (p.first.1, p.second.1);
    let alike = |a: &LookAlikes, b: &LookAlikes| b.similarity.get().total_cmp(&a.similarity.get());
    pairs.sort_by(|a, b| people(a).cmp(&people(b)).then(alike(a, b)).then(templates(a).cmp(&templates(b))));
    pairs.dedup_by(|later, kept| people(later) == people(kept));
    pairs.sort_by(|a, b| alike(a, b).then(people(a).cmp(&people(b))));
    pairs.truncate(MAX_LOOK_ALIKES);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::gallery::template::tests::of_model;

    fn index(of: &[(u32, f32)]) -> Index {
        let template = |(&(person, degrees), id): (&(u32, f32), u32)| {
            of_model(Digest([0; 32]), id, person, &[degrees.to_radians().cos(), degrees.to_radians().sin()])
        };
        let templates: Vec<_> = of.iter().zip(1..).map(template).collect();
        Index::build(&Digest([0; 32]), 2, &templates).unwrap()
    }

    fn audit_at(index: &Index, threshold: f32) -> Audit {
        audit(index, Similarity::new(threshold).unwrap(), |_| {})
    }

    #[test]
    fn look_alikes_are_named_once_a_pair_most_alike_first() {
        // 1 and 2 are 20° apart at best, 2 and 3 10°, 1 and 3 30°; 4 is far from all.
        let index = index(&[(1, 0.0), (1, 10.0), (2, 30.0), (3, 40.0), (4, 180.0)]);
        let audit = audit_at(&index, 20f32.to_radians().cos() - 1e-6);
        let pairs: Vec<_> = audit.look_alikes.iter().map(|p| (p.first.0.get(), p.second.0.get())).collect();
        assert_eq!(pairs, [(2, 3), (1, 2)]);
        assert_eq!(audit.look_alikes[1].first.1, TemplateId::new(2), "the nearer of the two templates");
        assert_eq!((audit.people, audit.templates, audit.people_with_one_template), (4, 5, 3));
    }

    #[test]
    fn a_template_nearer_to_somebody_else_than_to_its_own_is_harmful() {
        let index = index(&[(1, 0.0), (1, 10.0), (1, 80.0), (2, 90.0), (2, 100.0)]);
        let audit = audit_at(&index, 1.0);
        assert!(audit.look_alikes.is_empty());
        // At 90°, 10° from 80° and 10° from 100°: rounding alone decides, so only the plain case is asked for.
        let harmful = &audit.harmful[0];
        assert_eq!((harmful.person.get(), harmful.template.get(), harmful.other.person.get()), (1, 3, 2));
        assert!(harmful.other.similarity > harmful.own);
    }

    #[test]
    fn an_empty_gallery_and_a_lonely_person_endanger_nobody() {
        assert_eq!(audit_at(&index(&[]), -1.0), Audit::default());
        let alone = audit_at(&index(&[(1, 0.0), (1, 90.0)]), -1.0);
        assert!(alone.look_alikes.is_empty() && alone.harmful.is_empty());
    }

    #[test]
    fn more_pairs_than_a_report_holds_keep_the_most_alike() {
        let people: Vec<_> = (0..150u32).map(|i| (i, i as f32)).collect();
        let audit = audit_at(&index(&people), -1.0);
        assert_eq!(audit.look_alikes.len(), MAX_LOOK_ALIKES);
        assert!(audit.look_alikes.is_sorted_by(|a, b| a.similarity >= b.similarity));
        // 149 pairs at 1°, 148 at 2° and so on: the thousand most alike reach to 7°.
        assert!(audit.look_alikes.last().unwrap().similarity.get() > 8f32.to_radians().cos());
    }
}
