//! Pure: batches kept on disk. How they lie in files, what a file that is found holds, and which files a core has; asks for file
//! actions and performs none. Who spools what and when is `kafka`'s, doing it is `worker`'s.
//!
//! ```text
//! <spool>/lanes/<lane>.json                            what the lane is, so that it can be delivered without any configuration
//! <spool>/<lane>/<origin start>-<core>/<number>.seg    header block │ frame │ frame │ …       numbers in hexadecimal, but the last two
//! ```
//! A frame is a [`crate::kafka::stored::Stored`] and the record batch behind it, and begins at a multiple of
//! [`segment::ALIGN_BYTES`]. It is written once; later only the byte that says "done" changes, and, at a start, what is known of
//! its identity.

pub mod segment;
#[cfg(test)]
mod segment_tests;
pub mod store;
#[cfg(test)]
mod store_tests;

pub use segment::{Damage, Frame, Scan, SegmentId, Why, scan};
pub use store::{FileAction, Full, Placed, Store};

/// When what was written is made to survive a loss of power. What the process leaves when it is killed needs none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Never: the system writes in its own time, mostly within half a minute.
    Never,
    /// All that was written since, every so often.
    Interval,
    /// Each batch, before it counts as spooled.
    Batch,
}
