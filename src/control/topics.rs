//! `tollgate topics` and `tollgate tail`: what a topic holds, in a terminal. The pure parts (filters, rendering, the table) stand beside the
//! two commands; reading is `control::records`'.

use super::records::From;
use std::io::Write;

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One headline per entry, JSON indented.
    Pretty,
    /// The value as it is, one message per line: for pipes.
    Raw,
}

/// What `tollgate tail` was asked for.
#[derive(Clone, Debug)]
pub struct TailArgs {
    /// Bootstrap brokers, `host:port` each; a missing port is 9092.
    pub brokers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// Where to begin.
    pub from: From,
    /// Stay and show what comes.
    pub follow: bool,
    /// Stop after this many entries shown.
    pub count: Option<u64>,
    /// `--where` and `--field` texts, all of which must hold: `path=value`, `!=`, `>`, `>=`, `<`, `<=`, `~` (regex).
    pub filters: Vec<String>,
    /// How to show them.
    pub style: Style,
}

/// What `tollgate topics` was asked for.
#[derive(Clone, Debug)]
pub struct TopicsArgs {
    /// Bootstrap brokers, `host:port` each; a missing port is 9092.
    pub brokers: Vec<String>,
    /// Only these; empty is all.
    pub topics: Vec<String>,
    /// Show Kafka's own topics too.
    pub internal: bool,
}

/// Prints a topic's records to `out`; ends at the topic's end, after `count`, or never (`follow`).
///
/// # Errors
/// One text for the operator: a filter that cannot be read, a Kafka that cannot, an `out` that fails (a closed pipe is not an error).
pub async fn tail(args: TailArgs, out: &mut dyn Write) -> Result<(), String> {
    let _ = (args, out);
    todo!()
}

/// Prints the table of topics to `out`.
///
/// # Errors
/// One text for the operator.
pub async fn topics(args: TopicsArgs, out: &mut dyn Write) -> Result<(), String> {
    let _ = (args, out);
    todo!()
}
