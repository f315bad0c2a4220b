//! One small `Copy` error for layers 1–4: whose side, what kind, may it be tried again. The status is chosen in one place
//! (`http::reply`); operators' errors (configuration) are rich and live in `config`.

/// Which of the three sides a fault is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Downstream,
    /// The server behind us.
    Upstream,
    /// Kafka.
    Broker,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The peer's bytes break the protocol; nothing more can be read from it.
    Malformed,
    /// The peer closed or reset the connection.
    Closed,
    /// A connection could not be made.
    Connect,
    /// Nothing moved before the deadline.
    Timeout,
    /// A limit of ours was passed (`base::limits`).
    TooLarge,
    /// No node to send to.
    NoNode,
    /// The gateway is stopping.
    Stopping,
    /// A local resource is used up (descriptors, memory).
    Exhausted,
}

/// A fault on the data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose side.
    pub side: Side,
    /// What kind.
    pub kind: Kind,
    /// True if the peer cannot have acted on what we sent, so that another try is safe.
    pub unseen: bool,
}

impl Fault {
    /// A fault after which the peer may have acted.
    pub const fn new(side: Side, kind: Kind) -> Self {
        Self { side, kind, unseen: false }
    }

    /// The same, known not to have reached the peer.
    #[must_use]
    pub const fn unseen(self) -> Self {
        Self { unseen: true, ..self }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = match self.side {
            Side::Downstream => "client",
            Side::Upstream => "upstream",
            Side::Broker => "broker",
        };
        let kind = match self.kind {
            Kind::Malformed => "broke the protocol",
            Kind::Closed => "closed the connection",
            Kind::Connect => "could not be reached",
            Kind::Timeout => "did not answer in time",
            Kind::TooLarge => "sent more than the limit",
            Kind::NoNode => "has no node to send to",
            Kind::Stopping => "was cut off by the shutdown",
            Kind::Exhausted => "ran into a local limit",
        };
        write!(f, "{side} {kind}")
    }
}
