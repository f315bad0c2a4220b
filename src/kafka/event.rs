//! What passes between the shipper and the shell that moves its bytes.
//!
//! The contract: every [`Action::SendBatch`] is answered by exactly one [`Event::Sent`], also when the connection died; only then
//! is the slot's memory touched again. [`Action::Connect`] is answered by [`Event::Connected`], [`Event::ConnectFailed`] or
//! [`Event::TlsFailed`]. After
//! [`Action::Close`] or [`Event::Closed`] nothing more is said about that connection, except `Sent` for what is still pending.
//! Actions for one connection are carried out in order.

use std::fmt;
use std::ops::Range;

use super::producer::Outcome;
use super::stored::FrameRef;
use super::tls::Tls;

/// A connection to a broker; numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A slot of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub u32);

/// What somebody who waits for an entry's outcome calls it. Whoever hands it in sees to it that none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// How loudly something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Entries are lost or may be; somebody must act.
    Error,
    /// Something is wrong and is being dealt with; entries are held.
    Warn,
    /// Something is well again.
    Info,
}

/// What the shell is asked to do.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    /// Resolve `host` (every time: addresses change), connect, set TCP_NODELAY; then TLS, if it is asked for.
    Connect {
        /// The new connection.
        conn: ConnId,
        /// A name or an address.
        host: String,
        /// TCP port.
        port: u16,
        /// How TLS is to be done; the broker's name in it is `host`.
        tls: Option<Tls>,
    },
    /// Write bytes.
    Send {
        /// To whom.
        conn: ConnId,
        /// One whole request.
        bytes: Vec<u8>,
    },
    /// Write a piece of a slot's memory: one whole Produce request. The memory stands still until `Sent`.
    SendBatch {
        /// To whom.
        conn: ConnId,
        /// Which slot.
        slot: SlotId,
        /// Which bytes of it.
        range: Range<usize>,
    },
    /// Write a frame to the spool's end: this range of a slot's memory. Answered by `Spilled`; the memory stands still until then.
    Spill {
        /// Content key of the lane.
        lane: u64,
        /// Which slot.
        slot: SlotId,
        /// Which bytes of it.
        range: Range<usize>,
    },
    /// Read a frame of the spool into a slot's memory, to `stored::STORED_AT`. Answered by `Loaded`; nobody looks at the memory
    /// until then.
    Load {
        /// Which frame.
        frame: FrameRef,
        /// Which slot.
        slot: SlotId,
    },
    /// Write these bytes over a frame's `Stored`. Not answered.
    Restate {
        /// Which frame.
        frame: FrameRef,
        /// `stored::STORED_BYTES` of them.
        bytes: Vec<u8>,
    },
    /// A frame's batch is resolved: it is never to be sent again. Answered by `FrameDone`; until then the slot says what became of
    /// the batch.
    FrameDone {
        /// Which frame.
        frame: FrameRef,
        /// Where its batch lay.
        slot: SlotId,
    },
    /// Shut the connection down and forget it.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Write a line to the log.
    Report {
        /// How loudly.
        level: Level,
        /// One line, without a newline; names the broker or topic and what to do.
        text: String,
    },
    /// Tell whoever waits for this entry what became of it. Once for each ticket that was accepted.
    Settled {
        /// Whose entry.
        ticket: Ticket,
        /// What became of it.
        outcome: Outcome,
    },
}

impl fmt::Debug for Action {
    /// Without the bytes of requests: a password may be among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { conn, host, port, tls } => {
                write!(f, "Connect({}, {host}:{port}, tls: {})", conn.0, tls.is_some())
            }
            Self::Send { conn, bytes } => write!(f, "Send({}, {} bytes)", conn.0, bytes.len()),
            Self::SendBatch { conn, slot, range } => write!(f, "SendBatch({}, slot {}, {range:?})", conn.0, slot.0),
            Self::Close { conn } => write!(f, "Close({})", conn.0),
            Self::Spill { lane, slot, range } => write!(f, "Spill({lane:x}, slot {}, {range:?})", slot.0),
            Self::Load { frame, slot } => write!(f, "Load({frame:?}, slot {})", slot.0),
            Self::Restate { frame, .. } => write!(f, "Restate({frame:?})"),
            Self::FrameDone { frame, slot } => write!(f, "FrameDone({frame:?}, slot {})", slot.0),
            Self::Report { level, text } => write!(f, "Report({level:?}, {text})"),
            Self::Settled { ticket, outcome } => write!(f, "Settled({ticket:?}, {outcome:?})"),
        }
    }
}

/// What the shell saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A connection stands.
    Connected {
        /// Which.
        conn: ConnId,
    },
    /// A connection could not be made.
    ConnectFailed {
        /// Which.
        conn: ConnId,
        /// The system's words.
        reason: &'a str,
    },
    /// A connection was made, and TLS on it was not.
    TlsFailed {
        /// Which.
        conn: ConnId,
        /// Why, and what to do (`tls::explain`).
        reason: &'a str,
    },
    /// Bytes arrived, in any pieces.
    Received {
        /// From whom.
        conn: ConnId,
        /// At least one.
        bytes: &'a [u8],
    },
    /// A write was handed to the kernel, or never will be.
    Sent {
        /// To whom.
        conn: ConnId,
        /// The slot of a `SendBatch`; None for a `Send` (which need not be answered).
        slot: Option<SlotId>,
    },
    /// A `Spill` has ended.
    Spilled {
        /// Which slot.
        slot: SlotId,
        /// Where its frame lies; None: it could not be written, or there is no room.
        frame: Option<FrameRef>,
    },
    /// A `Load` has ended.
    Loaded {
        /// Which slot.
        slot: SlotId,
        /// True if the whole frame was read.
        read: bool,
    },
    /// A `FrameDone` was carried out, or cannot be.
    FrameDone {
        /// Which slot.
        slot: SlotId,
    },
    /// The peer closed, or the connection broke.
    Closed {
        /// Which.
        conn: ConnId,
        /// The system's words.
        reason: &'a str,
    },
}

/// What became of an entry that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is held; its outcome will be counted.
    Accepted,
    /// Refused: no slot is free for it, or `max_pending_entries` is reached. Counted as dropped.
    Full,
    /// Refused: larger than a message may be. Counted as too large.
    TooLarge {
        /// The entry's size in bytes.
        bytes: usize,
    },
}
