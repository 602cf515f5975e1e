//! A person's prototype: what a face is compared with, however many photographs of them are kept.
//!
//! It is the mean of the person's encodings at unit length, as sets of pictures are pooled in IJB-A (Klare et al. 2015)
//! and classes in Snell et al. 2017, "Prototypical Networks". What the photographs have in common is the person; light,
//! pose and the network's own errors differ, and weigh less the more there are. A stranger has one chance at a person
//! and not one at every photograph, so that more photographs make a door surer instead of stricter.

use std::borrow::Cow;

use super::template::Template;
use crate::digest::Digest;
use crate::face::encoding::Encoding;

/// As how many comparisons a prototype of several encodings counts. It lies nearer to what all faces have in common
/// than a single encoding does, so that more strangers reach a score (docs/target-fmr.md, "Several photographs").
const WEIGHT_OF_SEVERAL: usize = 2;

/// How many comparisons with single encodings let as many strangers through, for FPIR = 1 − (1 − FMR)ᴺ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparisons {
    /// Of a search among everybody (1:N).
    pub search: usize,
    /// Of a claim to be one of them (1:1): that of the person to whom it's easiest.
    pub claim: usize,
}

impl Comparisons {
    /// Two encodings, and nothing else.
    pub const ONE: Self = Self { search: 1, claim: 1 };

    /// What these become once somebody who had `before` photographs has `after`, both of one network.
    #[must_use]
    pub fn grown(self, before: usize, after: usize) -> Self {
        let count = |photographs: usize| photographs.min(WEIGHT_OF_SEVERAL);
        Self { search: self.search.saturating_sub(count(before)) + count(after), claim: self.claim.max(count(after)) }
    }
}

/// One template a person, which has the number of the person's first, and what searching these counts as. Those of
/// another model than `model` stay as they are, and so do a person's that cancel each other out or differ in size.
pub fn prototypes<'a>(model: &Digest, templates: &'a [Template]) -> (Vec<Cow<'a, Template>>, Comparisons) {
    let (mut ours, others): (Vec<_>, Vec<_>) = templates.iter().partition(|t| t.model_sha256 == *model);
    let mut found: Vec<_> = others.into_iter().map(Cow::Borrowed).collect();
    ours.sort_unstable_by_key(|t| (t.person, t.id));
    let mut comparisons = Comparisons { search: 0, claim: 1 };
    for of_person in ours.chunk_by(|a, b| a.person == b.person) {
        let count = match prototype(of_person) {
            Some(prototype) => {
                found.push(Cow::Owned(prototype));
                WEIGHT_OF_SEVERAL
            }
            None => {
                found.extend(of_person.iter().copied().map(Cow::Borrowed));
                of_person.len()
            }
        };
        comparisons = Comparisons { search: comparisons.search + count, claim: comparisons.claim.max(count) };
    }
    (found, comparisons)
}

/// Of several templates; `None` of one alone, which needs none, and of those that have no mean.
fn prototype(of: &[&Template]) -> Option<Template> {
    let [first, _, ..] = of else { return None };
    let encoding = Encoding::mean(of.iter().map(|template| &template.encoding))?;
    Some(Template { encoding, ..(*first).clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery::template::{TemplateId, tests::of_model};
    use crate::person::PersonId;

    const MODEL: Digest = Digest([1; 32]);

    fn template(id: u32, person: u32, raw: &[f32]) -> Template {
        of_model(MODEL, id, person, raw)
    }

    #[test]
    fn several_photographs_become_the_direction_between_them_and_one_stays_what_it_is() {
        let templates = [template(4, 2, &[0.0, 1.0]), template(3, 1, &[0.6, 0.8]), template(2, 2, &[1.0, 0.0])];
        let (found, comparisons) = prototypes(&MODEL, &templates);
        assert_eq!(*found[0], templates[1]);
        assert_eq!((found[1].id, found[1].person), (TemplateId::new(2), PersonId::new(2)));
        assert_eq!(found[1].encoding, Encoding::from_raw(&[1.0, 1.0]).unwrap());
        assert_eq!((found.len(), comparisons), (2, Comparisons { search: 3, claim: 2 }));
    }

    #[test]
    fn any_number_of_photographs_counts_as_two() {
        let templates: Vec<_> = (1..=8).map(|id| template(id, 1, &[1.0, id as f32 / 10.0])).collect();
        assert_eq!(prototypes(&MODEL, &templates).1, Comparisons { search: 2, claim: 2 });
        assert_eq!(prototypes(&MODEL, &templates[..1]).1, Comparisons::ONE);
        assert_eq!(prototypes(&MODEL, &[]), (Vec::new(), Comparisons { search: 0, claim: 1 }));
    }

    #[test]
    fn what_a_gallery_will_count_as_is_known_before_it_grows() {
        let all: Vec<_> = (1..=5).map(|id| template(id, 1 + id / 4, &[1.0, id as f32 / 10.0])).collect();
        let count = |templates: &[Template]| prototypes(&MODEL, templates).1;
        for (now, (before, after), then) in
            [(0, (0, 1), 1), (1, (1, 3), 3), (3, (0, 1), 4), (3, (0, 2), 5), (4, (1, 2), 5)]
        {
            assert_eq!(count(&all[..now]).grown(before, after), count(&all[..then]), "{now} {before} {after}");
        }
    }

    #[test]
    fn what_has_no_mean_and_what_another_model_made_stays_and_is_counted_for_what_it_is() {
        let opposite = [template(1, 1, &[1.0, 0.0]), template(2, 1, &[-1.0, 0.0])];
        let (found, comparisons) = prototypes(&MODEL, &opposite);
        assert_eq!((found, comparisons.search), (opposite.iter().map(Cow::Borrowed).collect(), 2));
        let other = Template { model_sha256: Digest([2; 32]), ..template(3, 1, &[1.0, 0.0]) };
        let mixed = [other.clone(), template(4, 1, &[1.0, 0.0])];
        let (found, comparisons) = prototypes(&MODEL, &mixed);
        assert_eq!((found.len(), comparisons), (2, Comparisons::ONE));
        assert!(found.iter().any(|template| **template == other));
    }
}
