//! Pure: which node of an upstream gets a request: node sets, balancers, health, retry rules. No connection.

pub mod balancer;
mod ewma;
pub mod health;
mod least;
pub mod node;
pub mod retry;
mod ring;
mod roundrobin;
pub mod watch;

pub use balancer::{Balancer, Balancing, Pick};
pub use node::{Address, Node, NodeSet};
pub use retry::{Attempt, SentBody, Verdict, after_fault, may_be_followed, tries_allowed};
pub use watch::Watch;
