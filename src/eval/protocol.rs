//! From scores to figures: accuracy by folds, true accept rates, equal error rate (ISO/IEC 19795-1, LFW's protocol).

/// A comparison's score; a face that was lost scores −1, the least alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    pub score: f32,
    pub same: bool,
    pub fold: usize,
}

/// Accuracy by folds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// Mean over the folds of the share that is judged rightly.
    pub mean: f64,
    /// Standard deviation over the folds.
    pub sd: f64,
    /// The mean of the folds' thresholds.
    pub threshold: f64,
}

/// One point of the trade-off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operating {
    /// Accepted from here on.
    pub threshold: f32,
    /// The share of impostors that are accepted.
    pub fmr: f64,
    /// The share of genuine pairs that are refused.
    pub fnmr: f64,
}

/// The accuracy of each fold at the threshold that is best on the others. `None` with fewer than two folds.
pub fn accuracy(scores: &[Scored], folds: usize) -> Option<Accuracy> {
    if folds < 2 {
        return None;
    }
    let judged: Vec<(f64, f64)> = (0..folds)
        .map(|fold| {
            let threshold = best_threshold(scores.iter().filter(|s| s.fold != fold));
            let (right, all) = scores
                .iter()
                .filter(|s| s.fold == fold)
                .fold((0u32, 0u32), |(right, all), s| (right + u32::from((s.score >= threshold) == s.same), all + 1));
            (f64::from(right) / f64::from(all.max(1)), f64::from(threshold))
        })
        .collect();
    let n = folds as f64;
    let mean = judged.iter().map(|(a, _)| a).sum::<f64>() / n;
    let sd = (judged.iter().map(|(a, _)| (a - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    Some(Accuracy { mean, sd, threshold: judged.iter().map(|(_, t)| t).sum::<f64>() / n })
}

/// The threshold that judges most of these rightly; where several do, the middle one.
fn best_threshold<'a>(scores: impl Iterator<Item = &'a Scored>) -> f32 {
    let mut sorted: Vec<_> = scores.map(|s| (s.score, s.same)).collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // With everything accepted, the genuine are right; then the line moves up, one score at a time.
    let mut right = sorted.iter().filter(|(_, same)| *same).count();
    let (mut best, mut candidates) = (right, vec![-1.0]);
    for (i, (score, same)) in sorted.iter().enumerate() {
        right = if *same { right - 1 } else { right + 1 };
        let next = sorted.get(i + 1).map_or(1.0, |(next, _)| *next);
        if next == *score {
            continue;
        }
        if right > best {
            (best, candidates) = (right, Vec::new());
        }
        if right == best {
            candidates.push(f32::midpoint(*score, next));
        }
    }
    candidates[candidates.len() / 2]
}

/// Every point at which the trade-off changes, from accepting everything to accepting nothing.
pub fn trade_off(scores: &[Scored]) -> Vec<Operating> {
    let mut sorted: Vec<_> = scores.iter().map(|s| (s.score, s.same)).collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let genuine = sorted.iter().filter(|(_, same)| *same).count();
    let (all_genuine, all_impostors) = (genuine.max(1) as f64, (sorted.len() - genuine).max(1) as f64);
    let (mut refused, mut accepted) = (0, sorted.len() - genuine);
    let mut points = Vec::with_capacity(sorted.len() + 1);
    for (i, (score, same)) in sorted.iter().enumerate() {
        if i == 0 || sorted[i - 1].0 < *score {
            let (fmr, fnmr) = (accepted as f64 / all_impostors, f64::from(refused) / all_genuine);
            points.push(Operating { threshold: *score, fmr, fnmr });
        }
        if *same { refused += 1 } else { accepted -= 1 }
    }
    points.push(Operating { threshold: f32::INFINITY, fmr: 0.0, fnmr: f64::from(refused) / all_genuine });
    points
}

/// The share of genuine pairs that are accepted where at most `fmr` of the impostors are.
///
/// `None` where the impostors are too few to speak of such a rate: by the rule of three, none seen among n says with 95
/// % confidence that the rate is below 3 / n, so 3 / `fmr` of them are needed.
pub fn tar_at(scores: &[Scored], fmr: f64) -> Option<f64> {
    let impostors = scores.iter().filter(|s| !s.same).count();
    if impostors as f64 * fmr < 3.0 || impostors == scores.len() {
        return None;
    }
    trade_off(scores).iter().find(|p| p.fmr <= fmr).map(|p| 1.0 - p.fnmr)
}

/// The rate at which as many impostors are accepted as genuine pairs are refused, between the two nearest points.
/// `None` where one of the kinds is missing.
pub fn equal_error_rate(scores: &[Scored]) -> Option<f64> {
    let genuine = scores.iter().filter(|s| s.same).count();
    if genuine == 0 || genuine == scores.len() {
        return None;
    }
    let points = trade_off(scores);
    let after = points.iter().position(|p| p.fnmr >= p.fmr)?;
    let (a, b) = (points[after.saturating_sub(1)], points[after]);
    let (before, beyond) = (a.fmr - a.fnmr, b.fnmr - b.fmr);
    let share = if before + beyond > 0.0 { before / (before + beyond) } else { 0.0 };
    Some(a.fmr + (b.fmr - a.fmr) * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(of: &[(f32, bool)]) -> Vec<Scored> {
        of.iter().enumerate().map(|(i, &(score, same))| Scored { score, same, fold: i % 2 }).collect()
    }

    #[test]
    fn scores_that_separate_are_judged_without_error() {
        let scores = scored(&[(0.9, true), (0.8, true), (0.1, false), (0.2, false)]);
        let accuracy = accuracy(&scores, 2).unwrap();
        assert_eq!((accuracy.mean, accuracy.sd), (1.0, 0.0));
        assert!(accuracy.threshold > 0.2 && accuracy.threshold < 0.9);
        assert_eq!(equal_error_rate(&scores), Some(0.0));
    }

    #[test]
    fn a_threshold_is_never_chosen_on_the_fold_that_it_judges() {
        // Fold 0 alone would choose 0.5 and be perfect; fold 1 says 0.15, at which fold 0 has one false accept.
        let scores: Vec<_> = [(0.9, true, 0), (0.3, false, 0), (0.2, true, 1), (0.1, false, 1)]
            .map(|(score, same, fold)| Scored { score, same, fold })
            .into();
        assert_eq!(accuracy(&scores, 2).unwrap().mean, 0.5);
        assert_eq!(accuracy(&scores, 1), None);
    }

    #[test]
    fn a_rate_is_told_only_where_the_impostors_are_enough_for_it() {
        let mut scores: Vec<_> = (0..300).map(|i| (i as f32 / 1000.0, false)).collect();
        scores.extend([(0.2985, true), (0.5, true)]);
        let scores = scored(&scores);
        // Three of 300 are accepted from .297 on.
        assert_eq!(tar_at(&scores, 1e-2), Some(1.0));
        assert_eq!(tar_at(&scores, 1e-3), None);
        assert_eq!(tar_at(&scored(&[(0.1, false)]), 0.5), None);
    }

    #[test]
    fn equal_errors_meet_between_two_points() {
        let scores = scored(&[(0.4, false), (0.6, false), (0.5, true), (0.7, true)]);
        assert_eq!(equal_error_rate(&scores), Some(0.5));
        assert_eq!(equal_error_rate(&scored(&[(0.4, true)])), None);
    }

    #[test]
    fn equal_scores_move_together() {
        let points = trade_off(&scored(&[(0.5, false), (0.5, true), (0.5, false)]));
        assert_eq!(points.len(), 2);
        assert_eq!((points[0].fmr, points[0].fnmr), (1.0, 0.0));
        assert_eq!((points[1].fmr, points[1].fnmr), (0.0, 1.0));
    }
}
