//! `ewma`: of two nodes picked at random the one that answered faster of late. Weights have no meaning.

use crate::base::Mono;
use crate::base::hash::mix;

/// What was measured counts for 1/e after this long, in nanoseconds: APISIX's 10 s.
const DECAY_NS: f64 = 10e9;

/// A node's moving average.
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    rtt_ns: f64,
    at: Mono,
}

impl Average {
    /// The average at `now`, after an answer took `rtt_ns`; with 0 it has only grown old.
    fn with(self, rtt_ns: f64, now: Mono) -> f64 {
        let kept = (-(now.ns_since(self.at) as f64) / DECAY_NS).exp();
        self.rtt_ns * kept + rtt_ns * (1.0 - kept)
    }
}

/// One group of nodes.
#[derive(Debug)]
pub struct Ewma {
    averages: Vec<Average>,
}

impl Ewma {
    /// A group of `count` nodes of which nothing is known.
    pub fn new(count: usize) -> Self {
        Self { averages: vec![Average::default(); count] }
    }

    /// The faster of two of those that `allowed` lets through; `random` is any number, another one each time.
    pub fn pick(&self, random: u64, now: Mono, allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
        let candidates = || (0..self.averages.len()).filter(|index| allowed(*index));
        let count = candidates().count();
        if count < 2 {
            return candidates().next();
        }
        let bits = mix(random);
        let one = below(bits >> 32, count);
        // Any of the others.
        let other = (one + 1 + below(bits & u64::from(u32::MAX), count - 1)) % count;
        let (one, other) = (candidates().nth(one)?, candidates().nth(other)?);
        let score = |index: usize| self.averages[index].with(0.0, now);
        Some(if score(other) < score(one) { other } else { one })
    }

    /// A request to `index` was answered after `rtt_ns`.
    pub fn answered(&mut self, index: usize, rtt_ns: u64, now: Mono) {
        let average = &mut self.averages[index];
        *average = Average { rtt_ns: average.with(rtt_ns as f64, now), at: now };
    }
}

/// 32 random bits as a number below `bound`.
fn below(bits: u64, bound: usize) -> usize {
    usize::try_from((bits * bound as u64) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn counts(group: &Ewma, now: Mono, allowed: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut counts = vec![0; group.averages.len()];
        (0..10_000).for_each(|random| counts[group.pick(random, now, &allowed).unwrap()] += 1);
        counts
    }

    #[test]
    fn nodes_as_fast_as_each_other_share_evenly() {
        for count in [2, 3, 4] {
            let fair = 10_000 / count;
            let counts = counts(&Ewma::new(count), Mono::from_ms(5), |_| true);
            assert!(counts.iter().all(|one| one.abs_diff(fair) <= 100), "within 1 % of all: {counts:?}");
        }
    }

    #[test]
    fn the_faster_of_two_is_taken_and_the_slowest_never() {
        let mut group = Ewma::new(3);
        let mut now = Mono::from_ms(0);
        for step in 1..200 {
            now = Mono::from_ms(step * 100);
            for (node, rtt_ms) in [(0, 5), (1, 50), (2, 500)] {
                group.answered(node, rtt_ms * MS, now);
            }
        }
        assert_eq!(counts(&group, now, |_| true)[2], 0);
        assert_eq!(counts(&group, now, |node| node != 0), [0, 10_000, 0]);
    }

    #[test]
    fn what_was_slow_long_ago_is_forgotten() {
        let mut group = Ewma::new(2);
        group.answered(0, 900 * MS, Mono::from_ms(10_000));
        group.answered(1, 5 * MS, Mono::from_ms(10_000));
        assert_eq!(group.pick(1, Mono::from_ms(10_000), &|_| true), Some(1));
        let old = group.averages[0].with(0.0, Mono::from_ms(20_000));
        let young = group.averages[0].with(0.0, Mono::from_ms(10_000));
        assert!((old / young - (-1.0_f64).exp()).abs() < 1e-9, "1/e after 10 s: {old} of {young}");
    }

    #[test]
    fn one_that_is_left_is_taken_and_none_is_nobody() {
        assert_eq!(Ewma::new(3).pick(7, Mono::default(), &|index| index == 2), Some(2));
        assert_eq!(Ewma::new(3).pick(7, Mono::default(), &|_| false), None);
    }
}
