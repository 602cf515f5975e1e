//! Which templates stay when a person has more than the cap.
//!
//! The least useful template is the one that tells least beyond the others: of the two that are most alike, the one of
//! lower quality, and at equal quality the older. Dropping it moves no face farther from its nearest template than the
//! distance of that pair. It is repeated until the cap holds, so what stays spreads over how the person can look. One
//! photograph twice is one: the second tells nothing, and would count as another comparison.

use crate::face::encoding::Encoding;
use crate::time::Wall;

/// Templates a person keeps unless the configuration says otherwise.
pub const DEFAULT_CAP: usize = 8;
/// The most that a configuration may ask for.
pub const MAX_CAP: usize = 64;
/// The most that one enrolment may bring; beyond, the similarity of all pairs takes too long.
pub const MAX_CANDIDATES: usize = 256;

/// From this cosine on two encodings are of one photograph, or of a copy of it.
const SAME_PHOTOGRAPH: f32 = 0.999;

/// One template as far as its usefulness goes.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub encoding: &'a Encoding,
    /// Larger is better; NaN counts as worst.
    pub quality: f32,
    pub created: Wall,
}

/// Indices of the candidates to drop so that at most `cap` stay and no photograph twice, least useful first. At least
/// one always stays.
///
/// Encodings of different sizes count as unlike.
pub fn dropped(candidates: &[Candidate<'_>], cap: usize) -> Vec<usize> {
    let n = candidates.len();
    let mut alike: Vec<f32> = vec![f32::NEG_INFINITY; n * n];
    for i in 0..n {
        for j in 0..i {
            let similarity = candidates[i].encoding.similarity(candidates[j].encoding);
            alike[i * n + j] = similarity.map_or(f32::NEG_INFINITY, |s| s.get());
        }
    }
    let mut staying: Vec<usize> = (0..n).collect();
    let mut dropped = Vec::new();
    while staying.len() > 1 {
        let pairs = staying.iter().enumerate().flat_map(|(k, &i)| staying[..k].iter().map(move |&j| (i, j)));
        let Some((i, j)) = pairs.max_by(|&(a, b), &(c, d)| alike[a * n + b].total_cmp(&alike[c * n + d])) else {
            break;
        };
        if staying.len() <= cap.max(1) && alike[i * n + j] < SAME_PHOTOGRAPH {
            break;
        }
        let victim = if usefulness(&candidates[i]) < usefulness(&candidates[j]) { i } else { j };
        staying.retain(|&k| k != victim);
        dropped.push(victim);
    }
    dropped
}

/// Quality first, then youth.
fn usefulness(candidate: &Candidate<'_>) -> (f32, Wall) {
    (if candidate.quality.is_nan() { f32::NEG_INFINITY } else { candidate.quality }, candidate.created)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encodings(angles: &[f32]) -> Vec<Encoding> {
        angles.iter().map(|a| Encoding::from_raw(&[a.cos(), a.sin()]).unwrap()).collect()
    }

    fn drop_of(angles: &[f32], qualities: &[f32], cap: usize) -> Vec<usize> {
        let encodings = encodings(angles);
        let candidates: Vec<_> = encodings
            .iter()
            .zip(qualities)
            .zip(0..)
            .map(|((encoding, &quality), age)| Candidate { encoding, quality, created: Wall::from_unix_millis(age) })
            .collect();
        dropped(&candidates, cap)
    }

    #[test]
    fn nobody_is_dropped_up_to_the_cap_and_one_always_stays() {
        assert!(drop_of(&[0.0, 0.1, 0.2], &[1.0; 3], 3).is_empty());
        assert_eq!(
            drop_of(&[0.0, 0.1, 0.2, 0.101, 0.2], &[1.0; 5], 8),
            [2, 1],
            "of a photograph and its copy the older goes"
        );
        assert!(drop_of(&[], &[], 0).is_empty());
        assert_eq!(drop_of(&[0.0, 1.0, 2.0], &[1.0; 3], 0).len(), 2);
    }

    #[test]
    fn of_the_two_most_alike_the_poorer_goes_and_then_the_older() {
        assert_eq!(drop_of(&[0.0, 1.0, 1.1], &[0.1, 0.5, 0.9], 2), [1]);
        assert_eq!(drop_of(&[0.0, 1.0, 1.1], &[0.1, 0.9, 0.5], 2), [2]);
        assert_eq!(drop_of(&[0.0, 1.0, 1.1], &[0.1, 0.5, 0.5], 2), [1], "1 is older than 2");
        assert_eq!(drop_of(&[0.0, 1.0, 1.1], &[0.1, 0.5, f32::NAN], 2), [2]);
    }

    #[test]
    fn what_stays_spreads_over_how_the_person_looks() {
        // Three near 0, three near 1, one at 2: one of each stays.
        let angles = [0.0, 0.01, 0.02, 1.0, 1.01, 1.02, 2.0];
        let dropped = drop_of(&angles, &[0.5; 7], 3);
        let staying: Vec<_> = (0..7).filter(|i| !dropped.contains(i)).map(|i| angles[i].round() as i32).collect();
        assert_eq!(staying, [0, 1, 2]);
    }
}
