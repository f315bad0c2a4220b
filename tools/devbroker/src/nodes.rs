//! The nodes of the cluster as the state knows them: where clients find each, and whether it is up. Their sockets are `serve`'s.

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number, from 1 on.
    pub id: i32,
    /// Host that clients are told.
    pub host: String,
    /// Port that clients are told.
    pub port: u16,
    /// False while it is down: nobody listens, and Metadata does not name it.
    pub up: bool,
    /// True while it stands still as a process that was stopped (SIGSTOP): connections are taken, nothing is answered.
    pub frozen: bool,
}
