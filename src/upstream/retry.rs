//! May a failed try be followed by another (APISIX-COMPAT §7.3)?

use crate::base::Fault;
use crate::base::fault::{Kind, Side};

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
pub fn tries_allowed(retries: u32, nodes: usize) -> u32 {
    let tries = retries.saturating_add(1);
    if nodes > 1 { tries.min(u32::try_from(nodes).unwrap_or(u32::MAX)) } else { tries }
}

/// True if a try that fails may be followed by another, time and the other nodes permitting: it must be harmless to send the request
/// twice, and there must be a try left, or the connection's end at rest be no try.
pub fn may_be_followed(method: &[u8], reused_connection: bool, tries: u32, allowed: u32) -> bool {
    is_idempotent(method) && (reused_connection || tries < allowed)
}

/// What to do after `fault`.
pub fn after_fault(fault: Fault, attempt: &Attempt<'_>) -> Verdict {
    if attempt.response_started || fault.side != Side::Upstream || attempt.body == SentBody::Gone {
        return Verdict::GiveUp;
    }
    let harmless = fault.unseen || is_idempotent(attempt.method);
    if attempt.reused_connection && fault.kind == Kind::Closed && harmless {
        return Verdict::SameNode;
    }
    let in_time = attempt.retry_timeout_ms == 0 || attempt.elapsed_ms < attempt.retry_timeout_ms;
    if harmless && in_time && attempt.tries < tries_allowed(attempt.retries, attempt.nodes) {
        Verdict::NextNode
    } else {
        Verdict::GiveUp
    }
}

/// Twice is as good as once (RFC 9110 §9.2.2).
fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Attempt<'_> = Attempt {
        method: b"GET",
        body: SentBody::Replayable,
        response_started: false,
        reused_connection: false,
        tries: 1,
        nodes: 2,
        retries: 1,
        elapsed_ms: 0,
        retry_timeout_ms: 0,
    };
    const REFUSED: Fault = Fault::new(Side::Upstream, Kind::Connect).unseen();
    const CLOSED: Fault = Fault::new(Side::Upstream, Kind::Closed);

    #[test]
    fn what_the_upstream_cannot_have_seen_goes_to_another_node() {
        assert_eq!(after_fault(REFUSED, &Attempt { method: b"POST", ..FIRST }), Verdict::NextNode);
        assert_eq!(after_fault(CLOSED, &Attempt { method: b"POST", ..FIRST }), Verdict::GiveUp);
        assert_eq!(after_fault(CLOSED, &FIRST), Verdict::NextNode);
    }

    #[test]
    fn never_after_an_answer_began_or_a_body_is_gone() {
        assert_eq!(after_fault(CLOSED, &Attempt { response_started: true, ..FIRST }), Verdict::GiveUp);
        assert_eq!(after_fault(REFUSED, &Attempt { body: SentBody::Gone, ..FIRST }), Verdict::GiveUp);
    }

    #[test]
    fn a_connection_that_died_at_rest_is_no_try() {
        let reused = Attempt { reused_connection: true, retries: 0, nodes: 1, ..FIRST };
        assert_eq!(after_fault(CLOSED, &reused), Verdict::SameNode);
        assert_eq!(after_fault(CLOSED, &Attempt { method: b"POST", ..reused }), Verdict::GiveUp);
    }

    #[test]
    fn retries_nodes_and_time_bound_the_tries() {
        assert_eq!((tries_allowed(5, 2), tries_allowed(5, 1), tries_allowed(0, 3)), (2, 6, 1));
        assert_eq!(after_fault(REFUSED, &Attempt { tries: 2, ..FIRST }), Verdict::GiveUp);
        assert_eq!(after_fault(REFUSED, &Attempt { retries: 0, ..FIRST }), Verdict::GiveUp);
        let late = Attempt { elapsed_ms: 100, retry_timeout_ms: 100, ..FIRST };
        assert_eq!(after_fault(REFUSED, &late), Verdict::GiveUp);
    }
}
