//! The nodes of an upstream, resolved.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// As configured, without port and brackets: what `pass_host: node` and `$upstream_unresolved_host` say.
    pub host: Arc<str>,
    /// As configured, or the scheme's.
    pub port: u16,
    /// Where to connect.
    pub address: SocketAddr,
    /// Share of the requests within its priority; 0 is never picked among several.
    pub weight: u32,
    /// The highest first.
    pub priority: i32,
}

/// The nodes of one upstream, the highest priority first, else in the order given.
#[derive(Clone, Debug, Default)]
pub struct NodeSet {
    nodes: Vec<Node>,
    content: u64,
}

impl NodeSet {
    /// A set of `nodes`; may be empty (503).
    pub fn new(mut nodes: Vec<Node>) -> Self {
        nodes.sort_by_key(|node| std::cmp::Reverse(node.priority));
        let mut hasher = DefaultHasher::new();
        nodes.hash(&mut hasher);
        Self { content: hasher.finish(), nodes }
    }

    /// The nodes; [`super::Balancer::pick`] gives positions in here.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A hash of the nodes: differs when they do.
    pub const fn content(&self) -> u64 {
        self.content
    }
}
