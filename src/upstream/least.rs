//! `least_conn`: the node with the fewest requests under way for its weight.

/// One group of nodes.
#[derive(Debug)]
pub struct LeastConnections {
    /// Requests under way, by node.
    active: Vec<u32>,
    /// Where the next look begins: of equals each has its turn.
    next: usize,
}

impl LeastConnections {
    /// A group of `count` nodes with nothing under way; the first look begins at `seed`.
    pub fn new(count: usize, seed: u64) -> Self {
        let next = usize::try_from(seed.checked_rem(count as u64).unwrap_or(0)).unwrap_or(0);
        Self { active: vec![0; count], next }
    }

    /// The node whose (requests under way + 1) / weight is the least; weight 0 is never picked.
    pub fn pick(&mut self, weights: &[u32], allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
        let load = |index: usize| u64::from(self.active[index]) + 1;
        let better =
            |one: usize, other: usize| load(one) * u64::from(weights[other]) < load(other) * u64::from(weights[one]);
        let count = weights.len();
        let places = (self.next..count).chain(0..self.next.min(count));
        let candidates = places.filter(|index| weights[*index] > 0 && allowed(*index));
        let best = candidates.reduce(|best, index| if better(index, best) { index } else { best })?;
        self.next = (best + 1) % count;
        Some(best)
    }

    /// A request to `index` begins.
    pub fn begin(&mut self, index: usize) {
        self.active[index] += 1;
    }

    /// A request to `index` has ended.
    pub fn end(&mut self, index: usize) {
        self.active[index] = self.active[index].saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_under_way_are_shared_by_weight() {
        let weights = [1, 2, 7, 0];
        let mut group = LeastConnections::new(4, 0);
        for _ in 0..10_000 {
            let node = group.pick(&weights, &|_| true).unwrap();
            group.begin(node);
        }
        assert_eq!(group.active, [1_000, 2_000, 7_000, 0]);
    }

    #[test]
    fn of_equals_each_has_its_turn() {
        let mut group = LeastConnections::new(3, 0);
        let picks: Vec<_> = (0..6).map(|_| group.pick(&[1, 1, 1], &|_| true).unwrap()).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
        assert_eq!(LeastConnections::new(3, 5).pick(&[1, 1, 1], &|_| true), Some(2));
    }

    #[test]
    fn a_node_that_is_slow_to_end_its_requests_gets_fewer() {
        let mut group = LeastConnections::new(2, 0);
        let mut counts = [0, 0];
        for _ in 0..100 {
            let node = group.pick(&[1, 1], &|_| true).unwrap();
            group.begin(node);
            counts[node] += 1;
            if node == 1 {
                group.end(node);
            }
        }
        assert_eq!(counts, [1, 99]);
    }

    #[test]
    fn weight_zero_and_who_is_not_allowed_are_passed_over() {
        let mut group = LeastConnections::new(3, 0);
        assert_eq!(group.pick(&[0, 1, 1], &|index| index != 1), Some(2));
        assert_eq!(group.pick(&[0, 0, 0], &|_| true), None);
    }
}
