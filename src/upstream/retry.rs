//! May a failed try be followed by another (APISIX-COMPAT §7.3)?

use crate::base::Fault;

/// What of the request's body has gone out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentBody {
    /// There is none, or nothing of it was sent yet, or all that was sent is still held.
    Replayable,
    /// Some of it was sent and is gone.
    Gone,
}

/// Where an exchange stands when a try fails.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The request's method.
    pub method: &'a [u8],
    /// The request's body.
    pub body: SentBody,
    /// True if bytes of a response already went to the client.
    pub response_started: bool,
    /// True if the connection came from the pool: the upstream may have closed it before our request.
    pub reused_connection: bool,
    /// Tries that count so far, the failed one included.
    pub tries: u32,
    /// Nodes in the set.
    pub nodes: usize,
    /// `retries`.
    pub retries: u32,
    /// Milliseconds since the first try.
    pub elapsed_ms: u64,
    /// `retry_timeout`; 0 is no bound.
    pub retry_timeout_ms: u64,
}

/// What to do after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer the client.
    GiveUp,
    /// Try the same node on a fresh connection; this try does not count.
    SameNode,
    /// Try another node (the same, if it is the only one).
    NextNode,
}

/// Tries in all: `retries` + 1, but not more than there are nodes, unless there is only one.
pub fn tries_allowed(_retries: u32, _nodes: usize) -> u32 {
    todo!()
}

/// What to do after `fault`.
pub fn after_fault(_fault: Fault, _attempt: &Attempt<'_>) -> Verdict {
    todo!()
}
