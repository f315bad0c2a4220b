//! One face for every way to pick a node (APISIX-COMPAT §7.2).

use super::node::NodeSet;
use super::roundrobin::RoundRobin;

/// `upstream.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balancing {
    /// Smooth weighted round robin.
    #[default]
    RoundRobin,
    /// `chash`.
    ConsistentHash,
    /// `least_conn`.
    LeastConnections,
    /// `ewma`.
    Ewma,
}

/// What a pick may depend on beside the nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pick<'a> {
    /// Positions of the nodes that failed for this request.
    pub tried: &'a [usize],
    /// The value that `chash` hashes.
    pub key: &'a [u8],
    /// Any number, different for each pick (`ewma`).
    pub seed: u64,
}

/// Picks nodes; one per upstream and core. Follows the node set it is given: a changed one resets its state.
#[derive(Debug)]
pub struct Balancer {
    seed: u64,
    content: Option<u64>,
    groups: Vec<Group>,
}

/// The nodes of one priority.
#[derive(Debug)]
struct Group {
    start: usize,
    weights: Vec<u32>,
    turn: RoundRobin,
}

impl Balancer {
    /// A balancer; `seed` moves its start, so that cores do not all begin with the same node. 0 begins with the first.
    pub fn new(balancing: Balancing, seed: u64) -> Self {
        // Every other way to balance is issue C's; the configuration says so when it is asked for one.
        let _ = balancing;
        Self { seed, content: None, groups: Vec::new() }
    }

    /// The position of the node to try; `None`: none is left (502). A single node is taken whatever its weight, also again.
    pub fn pick(&mut self, nodes: &NodeSet, pick: &Pick<'_>) -> Option<usize> {
        if nodes.nodes().len() == 1 {
            return Some(0);
        }
        if self.content != Some(nodes.content()) {
            self.follow(nodes);
        }
        self.groups.iter_mut().find_map(|group| {
            let start = group.start;
            let allowed = |index: usize| !pick.tried.contains(&(start + index));
            group.turn.pick(&group.weights, &allowed).map(|index| start + index)
        })
    }

    fn follow(&mut self, nodes: &NodeSet) {
        self.content = Some(nodes.content());
        let mut start = 0;
        self.groups.clear();
        for same in nodes.nodes().chunk_by(|one, other| one.priority == other.priority) {
            let weights: Vec<u32> = same.iter().map(|node| node.weight).collect();
            let turn = RoundRobin::new(&weights, self.seed);
            self.groups.push(Group { start, weights, turn });
            start += same.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::Node;
    use super::*;

    fn set(weights: &[(u32, i32)]) -> NodeSet {
        let node = |(index, (weight, priority)): (usize, &(u32, i32))| Node {
            host: "a".into(),
            port: 80,
            address: ([10, 0, 0, index as u8], 80).into(),
            weight: *weight,
            priority: *priority,
        };
        NodeSet::new(weights.iter().enumerate().map(node).collect())
    }

    fn counts(nodes: &NodeSet, picks: usize) -> Vec<usize> {
        let mut balancer = Balancer::new(Balancing::RoundRobin, 0);
        let mut counts = vec![0; nodes.nodes().len()];
        for _ in 0..picks {
            counts[balancer.pick(nodes, &Pick::default()).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn requests_are_shared_by_weight_to_the_request() {
        assert_eq!(counts(&set(&[(1, 0), (2, 0), (7, 0)]), 10_000), [1_000, 2_000, 7_000]);
    }

    #[test]
    fn one_node_is_taken_even_with_weight_zero_and_after_it_failed() {
        let mut balancer = Balancer::new(Balancing::RoundRobin, 0);
        assert_eq!(balancer.pick(&set(&[(0, 0)]), &Pick { tried: &[0], ..Pick::default() }), Some(0));
    }

    #[test]
    fn the_next_priority_comes_when_the_first_is_exhausted() {
        let nodes = set(&[(1, 0), (1, 5), (1, 5)]);
        assert_eq!(counts(&nodes, 10), [5, 5, 0]);
        let mut balancer = Balancer::new(Balancing::RoundRobin, 0);
        assert_eq!(balancer.pick(&nodes, &Pick { tried: &[0, 1], ..Pick::default() }), Some(2));
        assert_eq!(balancer.pick(&nodes, &Pick { tried: &[0, 1, 2], ..Pick::default() }), None);
    }
}
