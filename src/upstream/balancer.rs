//! One face for every way to pick a node (APISIX-COMPAT §7.2).

use super::ewma::Ewma;
use super::least::LeastConnections;
use super::node::NodeSet;
use super::ring::Ring;
use super::roundrobin::RoundRobin;
use crate::base::Mono;

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
    /// Now (`ewma`).
    pub now: Mono,
}

/// Picks nodes; one per upstream and core. Follows the node set it is given: a changed one resets its state.
#[derive(Debug)]
pub struct Balancer {
    balancing: Balancing,
    seed: u64,
    content: Option<u64>,
    groups: Vec<Group>,
}

/// The nodes of one priority.
#[derive(Debug)]
struct Group {
    start: usize,
    weights: Vec<u32>,
    turn: Turn,
}

/// Whose turn it is within a group.
#[derive(Debug)]
enum Turn {
    RoundRobin(RoundRobin),
    Ring(Ring),
    Least(LeastConnections),
    Ewma(Ewma),
}

impl Balancer {
    /// A balancer; `seed` moves its start, so that cores do not all begin with the same node. 0 begins with the first.
    pub fn new(balancing: Balancing, seed: u64) -> Self {
        Self { balancing, seed, content: None, groups: Vec::new() }
    }

    /// The position of the node to try; `None`: none is left (502). A single node is taken whatever its weight and health, also
    /// again. Nodes that are not up (health checks) are passed over, unless none is.
    pub fn pick(&mut self, nodes: &NodeSet, pick: &Pick<'_>, is_up: &dyn Fn(usize) -> bool) -> Option<usize> {
        if self.content != Some(nodes.content()) {
            self.follow(nodes);
        }
        let count = nodes.nodes().len();
        if count == 1 {
            return Some(0);
        }
        let untried = |index: usize| !pick.tried.contains(&index);
        self.first(pick, &|index| untried(index) && is_up(index)).or_else(|| {
            let any_is_up = (0..count).any(|index| is_up(index) && self.serves(&nodes.nodes()[index]));
            if any_is_up { None } else { self.first(pick, &untried) }
        })
    }

    /// A request to the node at `index` begins; [`Balancer::ended`] follows.
    pub fn began(&mut self, index: usize) {
        if let Some((Turn::Least(turn), place)) = self.turn(index) {
            turn.begin(place);
        }
    }

    /// A request to the node at `index` has ended; `rtt_ns` if an answer came.
    pub fn ended(&mut self, index: usize, rtt_ns: Option<u64>, now: Mono) {
        match (self.turn(index), rtt_ns) {
            (Some((Turn::Least(turn), place)), _) => turn.end(place),
            (Some((Turn::Ewma(turn), place)), Some(rtt_ns)) => turn.answered(place, rtt_ns, now),
            _ => {}
        }
    }

    /// The first priority that has one.
    fn first(&mut self, pick: &Pick<'_>, allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
        self.groups.iter_mut().find_map(|group| {
            let start = group.start;
            let allowed = |index: usize| allowed(start + index);
            let index = match &mut group.turn {
                Turn::RoundRobin(turn) => turn.pick(&group.weights, &allowed),
                Turn::Ring(ring) => ring.pick(pick.key, &allowed),
                Turn::Least(turn) => turn.pick(&group.weights, &allowed),
                Turn::Ewma(turn) => turn.pick(pick.seed, pick.now, &allowed),
            };
            index.map(|index| start + index)
        })
    }

    /// True if the node may be picked among several.
    fn serves(&self, node: &super::Node) -> bool {
        node.weight > 0 || self.balancing == Balancing::Ewma
    }

    fn turn(&mut self, index: usize) -> Option<(&mut Turn, usize)> {
        let group = self.groups.iter_mut().rfind(|group| group.start <= index)?;
        Some((&mut group.turn, index - group.start))
    }

    fn follow(&mut self, nodes: &NodeSet) {
        self.content = Some(nodes.content());
        let mut start = 0;
        self.groups.clear();
        for same in nodes.nodes().chunk_by(|one, other| one.priority == other.priority) {
            let weights: Vec<u32> = same.iter().map(|node| node.weight).collect();
            let turn = match self.balancing {
                Balancing::RoundRobin => Turn::RoundRobin(RoundRobin::new(&weights, self.seed)),
                Balancing::ConsistentHash => {
                    Turn::Ring(Ring::new(same.iter().map(|node| (&node.address, node.weight))))
                }
                Balancing::LeastConnections => Turn::Least(LeastConnections::new(same.len(), self.seed)),
                Balancing::Ewma => Turn::Ewma(Ewma::new(same.len())),
            };
            self.groups.push(Group { start, weights, turn });
            start += same.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::Node;
    use super::*;

    const ALL: [Balancing; 4] =
        [Balancing::RoundRobin, Balancing::ConsistentHash, Balancing::LeastConnections, Balancing::Ewma];
    const UP: &dyn Fn(usize) -> bool = &|_| true;

    fn set(weights: &[(u32, i32)]) -> NodeSet {
        let node = |(index, (weight, priority)): (usize, &(u32, i32))| Node {
            host: "a".into(),
            port: 80,
            address: super::super::node::Address::Tcp(([10, 0, 0, index as u8], 80).into()),
            weight: *weight,
            priority: *priority,
        };
        NodeSet::new(weights.iter().enumerate().map(node).collect())
    }

    fn tried(tried: &[usize]) -> Pick<'_> {
        Pick { tried, key: b"x", ..Pick::default() }
    }

    /// Where so many requests go, one after the other, each with a key of its own.
    fn counts(balancing: Balancing, nodes: &NodeSet, picks: u64, is_up: &dyn Fn(usize) -> bool) -> Vec<usize> {
        let mut balancer = Balancer::new(balancing, 0);
        let mut counts = vec![0; nodes.nodes().len()];
        for seed in 0..picks {
            let key = seed.to_be_bytes();
            let node = balancer.pick(nodes, &Pick { key: &key, seed, ..Pick::default() }, is_up).unwrap();
            balancer.began(node);
            balancer.ended(node, Some(1_000), Mono::default());
            counts[node] += 1;
        }
        counts
    }

    #[test]
    fn requests_are_shared_by_weight_to_the_request() {
        let nodes = set(&[(1, 0), (2, 0), (7, 0)]);
        assert_eq!(counts(Balancing::RoundRobin, &nodes, 10_000, UP), [1_000, 2_000, 7_000]);
    }

    #[test]
    fn every_way_but_the_hash_is_fair_to_one_percent_of_ten_thousand() {
        let nodes = set(&[(1, 0), (1, 0), (1, 0), (1, 0), (1, 0)]);
        for balancing in [Balancing::RoundRobin, Balancing::LeastConnections, Balancing::Ewma] {
            let counts = counts(balancing, &nodes, 10_000, UP);
            assert!(counts.iter().all(|count| count.abs_diff(2_000) <= 100), "{balancing:?}: {counts:?}");
        }
    }

    #[test]
    fn one_node_is_taken_even_with_weight_zero_and_after_it_failed_and_while_it_is_down() {
        for balancing in ALL {
            let mut balancer = Balancer::new(balancing, 0);
            assert_eq!(balancer.pick(&set(&[(0, 0)]), &tried(&[0]), &|_| false), Some(0), "{balancing:?}");
            balancer.began(0);
            balancer.ended(0, None, Mono::default());
        }
    }

    #[test]
    fn among_several_weight_zero_is_for_ewma_alone() {
        for balancing in ALL {
            let picked = Balancer::new(balancing, 0).pick(&set(&[(0, 0), (0, 0)]), &tried(&[]), UP);
            assert_eq!(picked.is_some(), balancing == Balancing::Ewma, "{balancing:?}");
        }
    }

    #[test]
    fn the_next_priority_comes_when_the_first_is_exhausted() {
        let nodes = set(&[(1, 0), (1, 5), (1, 5)]);
        assert_eq!(counts(Balancing::RoundRobin, &nodes, 10, UP), [5, 5, 0]);
        for balancing in ALL {
            let mut balancer = Balancer::new(balancing, 0);
            assert!(balancer.pick(&nodes, &tried(&[]), UP).unwrap() < 2, "{balancing:?}");
            assert_eq!(balancer.pick(&nodes, &tried(&[0, 1]), UP), Some(2), "{balancing:?}");
            assert_eq!(balancer.pick(&nodes, &tried(&[0, 1, 2]), UP), None, "{balancing:?}");
        }
    }

    #[test]
    fn nodes_that_are_down_are_passed_over_and_the_next_priority_steps_in() {
        let nodes = set(&[(1, 0), (1, 5), (1, 5)]);
        for balancing in ALL {
            assert_eq!(counts(balancing, &nodes, 10, &|index| index != 0), [0, 10, 0], "{balancing:?}");
            assert_eq!(counts(balancing, &nodes, 10, &|index| index == 2), [0, 0, 10], "{balancing:?}");
        }
    }

    #[test]
    fn all_down_is_as_if_all_were_up_but_one_that_is_down_is_no_retry() {
        let nodes = set(&[(1, 0), (1, 0)]);
        for balancing in ALL {
            let counts = counts(balancing, &nodes, 100, &|_| false);
            assert!(counts.iter().all(|count| *count > 10), "{balancing:?}: {counts:?}");
            let mut balancer = Balancer::new(balancing, 0);
            assert_eq!(balancer.pick(&nodes, &tried(&[0]), &|_| false), Some(1), "{balancing:?}");
            assert_eq!(balancer.pick(&nodes, &tried(&[0]), &|index| index == 0), None, "{balancing:?}");
        }
    }

    #[test]
    fn a_node_of_weight_zero_that_is_up_does_not_stand_for_those_that_serve() {
        let nodes = set(&[(1, 0), (0, 0)]);
        assert_eq!(counts(Balancing::RoundRobin, &nodes, 10, &|index| index == 1), [10, 0]);
    }
}
