//! Smooth weighted round robin, nginx's: over any stretch each node comes up as often as its weight says, evenly spread.

/// One group of nodes, by their weights.
#[derive(Debug, Default)]
pub struct RoundRobin {
    current: Vec<i64>,
}

impl RoundRobin {
    /// A group of `count` nodes, moved on by `seed` picks' worth so that cores do not all begin with the same one.
    pub fn new(weights: &[u32], seed: u64) -> Self {
        let mut group = Self { current: vec![0; weights.len()] };
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        for _ in 0..seed.checked_rem(total.min(weights.len() as u64)).unwrap_or(0) {
            group.pick(weights, &|_| true);
        }
        group
    }

    /// The next node that `allowed` lets through; weight 0 is never picked.
    pub fn pick(&mut self, weights: &[u32], allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for (index, weight) in weights.iter().enumerate().filter(|(index, weight)| **weight > 0 && allowed(*index)) {
            let weight = i64::from(*weight);
            total += weight;
            self.current[index] += weight;
            if best.is_none_or(|best| self.current[index] > self.current[best]) {
                best = Some(index);
            }
        }
        let best = best?;
        self.current[best] -= total;
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_spread_as_smoothly_as_the_weights_allow() {
        let weights = [5, 1, 1];
        let mut group = RoundRobin::new(&weights, 0);
        let picks: Vec<_> = (0..7).filter_map(|_| group.pick(&weights, &|_| true)).collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn weight_zero_is_never_picked_and_all_zero_is_nobody() {
        let mut group = RoundRobin::new(&[0, 3], 0);
        assert!((0..9).all(|_| group.pick(&[0, 3], &|_| true) == Some(1)));
        assert_eq!(RoundRobin::new(&[0, 0], 5).pick(&[0, 0], &|_| true), None);
    }

    #[test]
    fn another_seed_starts_elsewhere() {
        let weights = [1, 1, 1];
        let first = |seed| RoundRobin::new(&weights, seed).pick(&weights, &|_| true);
        assert_eq!((first(0), first(1), first(2), first(3)), (Some(0), Some(1), Some(2), Some(0)));
    }
}
