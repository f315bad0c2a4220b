//! The few statistics that a table of three to fifty rounds bears.

use std::fmt;

/// Resamplings of a bootstrap.
const RESAMPLINGS: usize = 4000;
/// Rounds from which on a bound means something.
const ROUNDS_FOR_A_BOUND: usize = 5;

/// The middle value; the mean of the two middle ones for an even count. 0 for none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (count, middle) if count % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The smallest and the largest value.
pub fn range(values: &[f64]) -> (f64, f64) {
    (values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

/// How many times as much, taken within each round: what disturbs a round disturbs both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median of the rounds' ratios.
    pub median: f64,
    /// Between these the median lies with a probability of 95 %, by the bootstrap; nothing for fewer than five rounds.
    pub bound: Option<(f64, f64)>,
}

impl fmt::Display for Ratio {
    /// With the digits that are asked for, two unless said: `0.94 [0.79–1.06]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$}", self.median)?;
        match self.bound {
            Some((low, high)) => write!(f, " [{low:.digits$}–{high:.digits$}]"),
            None => Ok(()),
        }
    }
}

/// The text of a ratio with so many digits; a dash for none.
pub fn text(ratio: Option<&Ratio>, digits: usize) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.digits$}"))
}

/// `ours` beside `theirs`, round by round. Nothing if there is no round that has both.
pub fn paired(ours: &[f64], theirs: &[f64]) -> Option<Ratio> {
    let pairs = ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0);
    let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
    if ratios.is_empty() {
        return None;
    }
    let bound = (ratios.len() >= ROUNDS_FOR_A_BOUND).then(|| bootstrap(&ratios));
    Some(Ratio { median: median(&ratios), bound })
}

/// The 2.5th and 97.5th percentile of the medians of what is drawn from `values` with replacement. Always draws the same.
fn bootstrap(values: &[f64]) -> (f64, f64) {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = || {
        // xorshift64 (Marsaglia 2003).
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        values[(seed % values.len() as u64) as usize]
    };
    let resampled = |_| median(&(0..values.len()).map(|_| draw()).collect::<Vec<_>>());
    let mut medians: Vec<f64> = (0..RESAMPLINGS).map(resampled).collect();
    medians.sort_by(f64::total_cmp);
    (medians[RESAMPLINGS / 40], medians[RESAMPLINGS - 1 - RESAMPLINGS / 40])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_ones() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert_eq!(range(&[2.0, 1.0, 3.0]), (1.0, 3.0));
    }

    #[test]
    fn a_ratio_is_taken_within_the_rounds() {
        // Both twice as dear in the second round: the ratio does not move.
        let ratio = paired(&[8.0, 16.0, 8.0], &[10.0, 20.0, 10.0]).expect("three rounds");
        assert_eq!((ratio.median, ratio.bound), (0.8, None));
        assert_eq!(paired(&[], &[]), None);
        assert_eq!(paired(&[1.0], &[0.0]), None);
    }

    #[test]
    fn a_ratio_is_said_with_its_bound_if_it_has_one() {
        let ratio = |bound| Ratio { median: 0.9432, bound };
        assert_eq!(text(Some(&ratio(None)), 3), "0.943");
        assert_eq!(text(Some(&ratio(Some((0.79, 1.06)))), 2), "0.94 [0.79–1.06]");
        assert_eq!((ratio(None).to_string(), text(None, 2)), ("0.94".to_owned(), "–".to_owned()));
    }

    #[test]
    fn five_rounds_have_a_bound_that_holds_the_median_and_grows_with_the_noise() {
        let theirs = [10.0; 6];
        let quiet = paired(&[8.9, 9.0, 9.1, 9.0, 9.0, 9.0], &theirs).expect("rounds").bound.expect("a bound");
        let noisy = paired(&[6.0, 9.0, 12.0, 7.0, 11.0, 9.0], &theirs).expect("rounds").bound.expect("a bound");
        assert!(quiet.0 <= 0.9 && 0.9 <= quiet.1, "{quiet:?}");
        assert!(noisy.1 - noisy.0 > 3.0 * (quiet.1 - quiet.0), "{noisy:?} {quiet:?}");
        assert_eq!(paired(&[9.0; 4], &theirs[..4]).expect("rounds").bound, None);
    }
}
