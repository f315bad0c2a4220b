//! One face for every way to pick a node (APISIX-COMPAT §7.2).

use super::node::NodeSet;

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
pub struct Balancer(());

impl Balancer {
    /// A balancer; `seed` moves its start, so that cores do not all begin with the same node. 0 begins with the first.
    pub fn new(_balancing: Balancing, _seed: u64) -> Self {
        todo!()
    }

    /// The position of the node to try; `None`: none is left (502).
    pub fn pick(&mut self, _nodes: &NodeSet, _pick: &Pick<'_>) -> Option<usize> {
        todo!()
    }

    /// Says that an exchange with a picked node is over (`least_conn`, `ewma`): `None` if it failed before a response.
    pub fn finished(&mut self, _nodes: &NodeSet, _node: usize, _response_ns: Option<u64>, _now_ns: u64) {
        todo!()
    }
}
