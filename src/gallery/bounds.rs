//! How large a rate may be that so few events were seen of: one-sided upper bounds at 95 %.

/// The normal distribution's 95 % quantile.
const Z: f64 = 1.644_853_627;
/// The normal distribution's 97.5 % quantile.
pub const TWO_SIDED_95: f64 = 1.959_963_985;

/// The one-sided 95 % upper bound of the mean of a Poisson count (Garwood 1936), which for rare events is Clopper and
/// Pearson's bound of n times the rate, and never below it; for 0 it is the rule of three. Counts that stand for fewer
/// independent ones need not be whole: between two whole ones the bound is on the line between theirs.
pub fn upper_bound(count: f64) -> f64 {
    const EXACT: f64 = 200.0;
    if count > EXACT {
        // Wilson and Hilferty (1931) for the χ² quantile: off by less than 1e-5 of itself here.
        let freedom = 2.0 * (count + 1.0);
        let spread = 2.0 / (9.0 * freedom);
        return freedom * (1.0 - spread + Z * spread.sqrt()).powi(3) / 2.0;
    }
    let (whole, part) = (count.floor(), count.fract());
    let bound = upper_bound_of_whole(whole as u64);
    if part > 0.0 { bound + part * (upper_bound_of_whole(whole as u64 + 1) - bound) } else { bound }
}

/// The mean at which so few events have a chance of 5 %, by bisection.
fn upper_bound_of_whole(count: u64) -> f64 {
    let (mut low, mut high) = (count as f64, 3.0 * count as f64 + 10.0);
    for _ in 0..60 {
        let mean = f64::midpoint(low, high);
        let (mut term, mut chance) = ((-mean).exp(), 0.0);
        for k in 0..=count {
            chance += term;
            term *= mean / (k + 1) as f64;
        }
        if chance > 0.05 { low = mean } else { high = mean }
    }
    high
}

/// The one-sided 95 % upper bound of a share among `n` (Wilson 1927); 1 where there are none.
pub fn wilson(share: f64, n: f64) -> f64 {
    let [_, high] = wilson_interval(share, n, Z);
    high.max(share)
}

/// The interval of a share among `n` (Wilson 1927), which holds its level for rare events too; `z` is the normal
/// distribution's quantile of that level. From 0 to 1 where there is nothing to go by.
pub fn wilson_interval(share: f64, n: f64, z: f64) -> [f64; 2] {
    if n <= 0.0 {
        return [0.0, 1.0];
    }
    let middle = share + z * z / (2.0 * n);
    let reach = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    [middle - reach, middle + reach].map(|end| (end / (1.0 + z * z / n)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_nothing_seen_is_the_rule_of_three() {
        assert!((upper_bound(0.0) - 2.9957).abs() < 1e-3);
        assert!((upper_bound(1.0) - 4.7439).abs() < 1e-3);
        assert!((upper_bound(10.0) - 16.962).abs() < 1e-3);
        assert!((upper_bound(0.5) - f64::midpoint(2.9957, 4.7439)).abs() < 1e-3);
        let (exact, approximate) = (upper_bound(200.0), upper_bound(201.0));
        assert!((approximate - exact - 1.05).abs() < 0.02, "{exact} {approximate}");
    }

    #[test]
    fn an_interval_holds_its_share_and_narrows_with_the_number() {
        let of = |count: f64, n: f64| wilson_interval(count / n, n, TWO_SIDED_95);
        // Worked examples: 0 of 10 reaches to 27.75 %, 1 of 10 lies between 1.79 % and 40.42 %.
        let [low, high] = of(0.0, 10.0);
        assert!(low == 0.0 && (high - 0.2775).abs() < 1e-4, "{high}");
        let [low, high] = of(1.0, 10.0);
        assert!((low - 0.0179).abs() < 1e-4 && (high - 0.4042).abs() < 1e-4, "{low} {high}");
        assert!((of(10.0, 10.0)[0] - 0.7225).abs() < 1e-4);
        let [low, high] = of(1000.0, 10_000.0);
        assert!(low < 0.1 && high > 0.1 && high - low < 0.012);
        assert_eq!(of(0.0, 0.0), [0.0, 1.0]);
    }

    #[test]
    fn the_bound_of_a_share_is_everything_where_there_is_nobody_and_nears_it_with_many() {
        assert_eq!(wilson(0.0, 0.0), 1.0);
        // 1 of 10: (0.1 + 0.1353 + 0.2065) / 1.2706.
        assert!((wilson(0.1, 10.0) - 0.3477).abs() < 1e-3, "{}", wilson(0.1, 10.0));
        let many = wilson(0.1, 1e6);
        assert!(many > 0.1 && many < 0.1006, "{many}");
    }
}
