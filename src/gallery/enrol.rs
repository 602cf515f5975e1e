//! The rules of enrolment: which photo may become a template of whom.
//!
//! One face, good enough to judge by, like the person's other templates, and like nobody else's. The rules are pure:
//! the caller found, measured and encoded the faces, and stores what passed.

use super::search::{Index, Scratch};
use crate::face::encoding::Encoding;
use crate::gate::record::PoorMeasure;
use crate::person::PersonId;
use crate::units::Similarity;

/// Why a photo enrols nobody.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("no face was found: take a photo of the face from the front, in even light")]
    NoFace,
    #[error("{0} faces were found: take a photo of one person alone")]
    SeveralFaces(usize),
    #[error("the face is {}: {}", .0.as_str(), advice(*.0))]
    Poor(PoorMeasure),
    #[error(
        "the face already belongs to {person} (similarity {similarity}, and {limit} counts as the same person): if \
             that is who it is, add the photo to them; else ask for another photo"
    )]
    BelongsToSomebodyElse { person: PersonId, similarity: Similarity, limit: Similarity },
    #[error(
        "the face is not like the other photos of this person (similarity {similarity} at best, {limit} needed): \
             check that it is the same person, in the same kind of light"
    )]
    NotTheSamePerson { similarity: Similarity, limit: Similarity },
    #[error("the encoding has {got} numbers and the gallery's have {expected}: both must come from one model")]
    Dims { expected: usize, got: usize },
}

impl Refusal {
    /// The same for somebody who stands before the camera and moves until it will do.
    pub fn guidance(&self) -> String {
        match self {
            Self::NoFace => "nobody is in sight: step before the camera and look at it".into(),
            Self::SeveralFaces(faces) => format!("{faces} faces are in sight: one person alone"),
            Self::Poor(PoorMeasure::Size) => "come closer".into(),
            Self::Poor(PoorMeasure::TooDark) => "more light: turn on a lamp in front of the face".into(),
            Self::Poor(PoorMeasure::TooBright) => "too much light: no sun on the face or into the lens".into(),
            Self::Poor(measure) => advice(*measure).into(),
            Self::NotTheSamePerson { .. } => {
                "this looks like somebody else than before: the same person, please".into()
            }
            Self::BelongsToSomebodyElse { .. } | Self::Dims { .. } => self.to_string(),
        }
    }
}

/// What counts as the same person at enrolment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// A face at least this similar to somebody else's template belongs to them. The recognition threshold.
    pub somebody_else: Similarity,
    /// A further photo of a person must be at least this similar to one of theirs. Below the threshold: a photo that
    /// differs is worth having, one of another person is not.
    pub same_person: Similarity,
}

/// A face less than this share of the largest one's height is in the background: a poster, a doll, a passer-by.
const BACKGROUND: f32 = 0.5;

/// The one face that a photo is of, each with its height in pixels, or 0 where it is too unclear to be sure that it is
/// one. Much smaller ones are in the background and don't count.
///
/// # Errors
/// [`Refusal::NoFace`] and [`Refusal::SeveralFaces`].
pub fn only_face<T>(faces: &[T], height: impl Fn(&T) -> f32) -> Result<&T, Refusal> {
    let largest = faces.iter().map(&height).fold(0.0, f32::max);
    let mut near = faces.iter().filter(|face| height(face) >= largest * BACKGROUND);
    match (near.next(), near.count()) {
        (None, _) => Err(Refusal::NoFace),
        (Some(face), 0) => Ok(face),
        (Some(_), others) => Err(Refusal::SeveralFaces(others + 1)),
    }
}

/// Whether a face of this quality and encoding may become a template of `person` (`None`: somebody new), who also has
/// the encodings `theirs`, stored or about to be.
///
/// # Errors
/// [`Refusal`], the first that applies.
pub fn admit(
    quality: Result<(), PoorMeasure>,
    encoding: &Encoding,
    person: Option<PersonId>,
    theirs: &[&Encoding],
    index: &Index,
    scratch: &mut Scratch,
    rules: &Rules,
) -> Result<(), Refusal> {
    quality.map_err(Refusal::Poor)?;
    let wrong_size = |got| Refusal::Dims { expected: index.dims(), got };
    if encoding.dims() != index.dims() {
        return Err(wrong_size(encoding.dims()));
    }
    let ranked = index.search(encoding, scratch);
    let of_somebody_else = [ranked.best, ranked.runner_up].into_iter().flatten().find(|hit| Some(hit.person) != person);
    if let Some(hit) = of_somebody_else.filter(|hit| hit.similarity >= rules.somebody_else) {
        let (person, similarity) = (hit.person, hit.similarity);
        return Err(Refusal::BelongsToSomebodyElse { person, similarity, limit: rules.somebody_else });
    }
    let mut nearest = None;
    for other in theirs {
        let similarity = index.decider().similarity(encoding, other).ok_or_else(|| wrong_size(other.dims()))?;
        nearest = Some(nearest.map_or(similarity, |best| if similarity > best { similarity } else { best }));
    }
    match nearest.filter(|similarity| *similarity < rules.same_person) {
        Some(similarity) => Err(Refusal::NotTheSamePerson { similarity, limit: rules.same_person }),
        None => Ok(()),
    }
}

/// What to do about a poor photo.
fn advice(measure: PoorMeasure) -> &'static str {
    match measure {
        PoorMeasure::Size => "come closer, or use a larger photo",
        PoorMeasure::Sharpness => "hold still, and clean the lens",
        PoorMeasure::TooDark => "turn on a light in front of the face",
        PoorMeasure::TooBright => "turn away from the light, or dim it",
        PoorMeasure::Pose => "look straight at the camera",
        PoorMeasure::DetectorScore => "uncover the face",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::gallery::template::tests::of_model;

    const ANA: PersonId = PersonId::new(1);
    const BEN: PersonId = PersonId::new(2);

    fn encoding(degrees: f32) -> Encoding {
        Encoding::from_raw(&[degrees.to_radians().cos(), degrees.to_radians().sin()]).unwrap()
    }

    /// Ana at 0°, Ben at 90°.
    fn index() -> Index {
        let template =
            |id, person: PersonId, degrees| of_model(Digest([0; 32]), id, person.get(), encoding(degrees).as_slice());
        Index::build(&Digest([0; 32]), 2, &[template(1, ANA, 0.0), template(2, BEN, 90.0)]).unwrap()
    }

    fn try_at(degrees: f32, person: Option<PersonId>, theirs: &[f32]) -> Result<(), Refusal> {
        let rules = Rules { somebody_else: Similarity::new(0.8).unwrap(), same_person: Similarity::new(0.5).unwrap() };
        let theirs: Vec<_> = theirs.iter().map(|&d| encoding(d)).collect();
        let theirs: Vec<_> = theirs.iter().collect();
        admit(Ok(()), &encoding(degrees), person, &theirs, &index(), &mut Scratch::default(), &rules)
    }

    #[test]
    fn a_photo_without_exactly_one_near_face_is_refused() {
        let only = |heights: &[f32]| only_face(heights, |height| *height).copied();
        assert_eq!(only(&[]), Err(Refusal::NoFace));
        assert_eq!(only(&[100.0]), Ok(100.0));
        assert_eq!(only(&[49.0, 100.0, 20.0]), Ok(100.0), "the others are in the background");
        assert_eq!(only(&[50.0, 100.0]), Err(Refusal::SeveralFaces(2)));
        assert_eq!(only(&[f32::NAN]), Err(Refusal::NoFace));
    }

    #[test]
    fn a_poor_face_is_refused_with_its_measure_and_what_helps() {
        let rules = Rules { somebody_else: Similarity::MAX, same_person: Similarity::MIN };
        let poor = Err(PoorMeasure::TooDark);
        let refusal = admit(poor, &encoding(0.0), None, &[], &index(), &mut Scratch::default(), &rules).unwrap_err();
        assert_eq!(refusal, Refusal::Poor(PoorMeasure::TooDark));
        assert_eq!(refusal.to_string(), "the face is too_dark: turn on a light in front of the face");
    }

    #[test]
    fn before_the_camera_each_refusal_is_a_word_of_what_to_do() {
        let said = |refusal: Refusal| refusal.guidance();
        assert_eq!(said(Refusal::Poor(PoorMeasure::Size)), "come closer");
        assert_eq!(said(Refusal::Poor(PoorMeasure::Pose)), "look straight at the camera");
        assert!(said(Refusal::Poor(PoorMeasure::TooDark)).starts_with("more light"));
        assert!(said(Refusal::NoFace).contains("step before the camera"));
        for measure in [PoorMeasure::Sharpness, PoorMeasure::TooBright, PoorMeasure::DetectorScore] {
            let said = said(Refusal::Poor(measure));
            assert!(!said.contains('_') && !said.contains("photo"), "{said}");
        }
    }

    #[test]
    fn a_face_that_somebody_else_has_is_refused_with_the_similarity() {
        let refusal = try_at(30.0, None, &[]).unwrap_err();
        assert!(matches!(refusal, Refusal::BelongsToSomebodyElse { person: ANA, .. }));
        assert!(refusal.to_string().contains("#1 (similarity 0.866"), "{refusal}");
        assert!(matches!(try_at(30.0, Some(BEN), &[90.0]), Err(Refusal::BelongsToSomebodyElse { person: ANA, .. })));
        // Ana may come nearer to herself than to Ben, and still be too near to Ben.
        assert!(matches!(try_at(60.0, Some(ANA), &[59.0]), Err(Refusal::BelongsToSomebodyElse { person: BEN, .. })));
    }

    #[test]
    fn a_new_face_and_another_photo_of_the_same_face_are_admitted() {
        assert_eq!(try_at(45.0, None, &[]), Ok(()));
        assert_eq!(try_at(10.0, Some(ANA), &[0.0]), Ok(()));
        assert_eq!(try_at(-45.0, Some(ANA), &[0.0, 200.0]), Ok(()), "like one of them is enough");
    }

    #[test]
    fn a_photo_of_another_person_among_ones_own_is_refused() {
        let refusal = try_at(-80.0, Some(ANA), &[0.0, 10.0]).unwrap_err();
        assert!(matches!(refusal, Refusal::NotTheSamePerson { .. }), "{refusal}");
        assert!(matches!(try_at(180.0, None, &[250.0, 270.0]), Err(Refusal::NotTheSamePerson { .. })));
    }

    #[test]
    fn an_encoding_of_another_model_is_refused() {
        let rules = Rules { somebody_else: Similarity::MAX, same_person: Similarity::MIN };
        let long = Encoding::from_raw(&[1.0; 3]).unwrap();
        let refused = admit(Ok(()), &long, None, &[], &index(), &mut Scratch::default(), &rules);
        assert_eq!(refused, Err(Refusal::Dims { expected: 2, got: 3 }));
        let refused = admit(Ok(()), &encoding(45.0), None, &[&long], &index(), &mut Scratch::default(), &rules);
        assert_eq!(refused, Err(Refusal::Dims { expected: 2, got: 3 }));
    }
}
