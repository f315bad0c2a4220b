//! Pure: which node of an upstream gets a request: node sets, balancers, retry rules. No connection.

pub mod balancer;
mod ewma;
mod least;
pub mod node;
pub mod retry;
mod ring;
mod roundrobin;

pub use balancer::{Balancer, Balancing, Pick};
pub use node::{Node, NodeSet};
pub use retry::{Attempt, SentBody, Verdict, after_fault, may_be_followed, tries_allowed};
