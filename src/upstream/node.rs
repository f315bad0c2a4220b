//! The nodes of an upstream, resolved.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// On the network.
    Tcp(SocketAddr),
    /// On this machine: the path of a Unix socket.
    Unix(Arc<Path>),
}

impl Address {
    /// On the network: where.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

/// As `$upstream_addr` has it: `10.0.0.1:80`, `[::1]:80`, `unix:/run/app.sock`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// As configured, without port and brackets: what `pass_host: node` and `$upstream_unresolved_host` say.
    pub host: Arc<str>,
    /// As configured, or the scheme's.
    pub port: u16,
    /// Where to connect.
    pub address: Address,
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
