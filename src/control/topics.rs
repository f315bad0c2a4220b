//! `tollgate topics` and `tollgate tail`: what a topic holds, in a terminal. Conditions are `filter`'s, looks are `show`'s (both pure);
//! reading is `control::records`'.

mod filter;
mod show;

pub use filter::Filter;
pub use show::{Row, entries, table, utc};

use super::records::{Access, EARLIEST, From, KafkaReader, LATEST, Offsets, Topic, Wanted};
use std::io::{self, Write};
use std::ops::ControlFlow;

/// Kafka's port, where none is named.
const DEFAULT_PORT: u16 = 9092;
/// Milliseconds that the table waits for a partition without a leader.
const TABLE_WAIT_MS: u64 = 2_000;

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One headline per entry, JSON indented. Control characters are shown, not sent to the terminal.
    Pretty,
    /// The value as it is, one entry per line: for pipes.
    Raw,
}

/// What `tollgate tail` was asked for.
#[derive(Clone, Debug)]
pub struct TailArgs {
    /// Bootstrap brokers, `host:port` each; a missing port is 9092.
    pub brokers: Vec<String>,
    /// What they ask for besides.
    pub access: Access,
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
    /// What they ask for besides.
    pub access: Access,
    /// Only these, with a line per partition; empty is all.
    pub topics: Vec<String>,
    /// Show Kafka's own topics too.
    pub internal: bool,
}

/// Reads `host`, `host:port`, `[v6]:port` and lists of them with commas.
///
/// # Errors
/// The part that is none of these.
pub fn bootstrap(brokers: &[String]) -> Result<Vec<(String, u16)>, String> {
    let parts = brokers.iter().flat_map(|b| b.split(',')).map(str::trim).filter(|b| !b.is_empty());
    let found: Vec<(String, u16)> = parts.map(address).collect::<Result<_, _>>()?;
    if found.is_empty() { Err("no broker was named: give host:port".to_owned()) } else { Ok(found) }
}

fn address(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("broker '{text}' is not host:port");
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
        (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
    } else if text.matches(':').count() > 1 {
        (text, None)
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    let port = port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| wrong()))?;
    if host.is_empty() || host.contains(['/', ' ']) || port == 0 { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

/// A reader of the cluster that one of `brokers` belongs to.
pub(super) async fn connect(brokers: &[String], access: &Access) -> Result<KafkaReader, String> {
    let brokers = bootstrap(brokers)?;
    let borrowed: Vec<(&str, u16)> = brokers.iter().map(|(host, port)| (host.as_str(), *port)).collect();
    KafkaReader::connect_as(&borrowed, access.clone()).await
}

/// Prints a topic's records to `out`; ends at the topic's end, after `count`, or never (`follow`).
///
/// # Errors
/// One text for the operator: a filter that cannot be read, a Kafka that cannot, an `out` that fails (a closed pipe is not an error).
pub async fn tail(args: TailArgs, out: &mut dyn Write) -> Result<(), String> {
    let filters: Vec<Filter> = args.filters.iter().map(|text| Filter::parse(text)).collect::<Result<_, _>>()?;
    let mut left = args.count.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(());
    }
    let mut reader = connect(&args.brokers, &args.access).await?;
    let mut failed = None;
    let each = &mut |record| {
        for text in entries(&args.topic, &record, &filters, args.style) {
            if let Err(error) = out.write_all(&text) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            left -= 1;
            if left == 0 {
                return ControlFlow::Break(());
            }
        }
        // Who follows waits for the line, not for a full buffer.
        match if args.follow { out.flush() } else { Ok(()) } {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    reader.tail(&args.topic, args.from, args.follow, each).await?;
    written(failed.map_or_else(|| out.flush(), Err))
}

/// What became of printing; a closed pipe is not an error.
pub(super) fn written(result: io::Result<()>) -> Result<(), String> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| format!("cannot write: {error}")),
    }
}

/// Prints the table of topics to `out`.
///
/// # Errors
/// One text for the operator: no Kafka, a topic that is not there, an `out` that fails.
pub async fn topics(args: TopicsArgs, out: &mut dyn Write) -> Result<(), String> {
    let mut reader = connect(&args.brokers, &args.access).await?;
    for topic in &args.topics {
        reader.partitions(topic).await?;
    }
    let all = reader.topics().await?;
    let named = |t: &Topic| args.topics.contains(&t.name);
    let chosen = |t: &Topic| if args.topics.is_empty() { args.internal || !t.internal } else { named(t) };
    let chosen: Vec<Topic> = all.into_iter().filter(chosen).collect();
    if chosen.is_empty() {
        return written(writeln!(out, "no topics yet: Kafka makes one when its first record comes"));
    }
    let (text, notes) = describe(&mut reader, &chosen, !args.topics.is_empty()).await;
    let notes: String = notes.iter().map(|note| format!("{note}\n")).collect();
    written(out.write_all((text + &notes).as_bytes()).and_then(|()| out.flush()))
}

async fn describe(reader: &mut KafkaReader, topics: &[Topic], each_partition: bool) -> (String, Vec<String>) {
    let wanted = |at: i64| {
        let of = |t: &Topic| t.partitions.iter().map(|p| (t.name.clone(), p.partition, at)).collect::<Vec<Wanted>>();
        topics.iter().flat_map(of).collect::<Vec<Wanted>>()
    };
    let first = reader.offsets(&wanted(EARLIEST), TABLE_WAIT_MS).await;
    let last = reader.offsets(&wanted(LATEST), TABLE_WAIT_MS).await;
    let (sizes, no_sizes) = reader.sizes().await;
    let mut rows = Vec::new();
    for topic in topics {
        let mut parts = Vec::new();
        for partition in &topic.partitions {
            let key = (topic.name.clone(), partition.partition);
            let mut row = partition_row(&key, &first, &last);
            row.partitions = partition.leader.map_or_else(|| "no leader".to_owned(), |node| format!("on {node}"));
            row.bytes = sizes.get(&key).copied();
            if let (Some(end), Some(1..)) = (row.last, row.records) {
                row.newest_ms = reader.newest_ms(&topic.name, partition.partition, end).await;
            }
            parts.push(row);
        }
        rows.push(topic_row(&topic.name, &parts));
        if each_partition {
            rows.extend(parts);
        }
    }
    let mut notes = Vec::new();
    if let Some(why) = last.missing.or(first.missing) {
        notes.push(format!("not all offsets are known: {why}"));
    }
    if let Some(why) = no_sizes {
        notes.push(format!("not all sizes are known: {why}"));
    }
    (table(&rows), notes)
}

fn partition_row(key: &(String, i32), first: &Offsets, last: &Offsets) -> Row {
    let (first, last) = (first.found.get(key).copied(), last.found.get(key).copied());
    let records = first.zip(last).map(|(first, last)| last - first);
    Row { name: format!("  {}", key.1), first, last, records, ..Row::default() }
}

/// A topic's line: the lowest first and highest last offset, sums, and the newest time. A sum of which a part is not known is not known.
fn topic_row(name: &str, parts: &[Row]) -> Row {
    let sum = |of: fn(&Row) -> Option<i64>| parts.iter().map(of).sum::<Option<i64>>();
    let all = parts.iter().all(|row| row.first.is_some() && row.last.is_some());
    Row {
        name: name.to_owned(),
        partitions: parts.len().to_string(),
        first: parts.iter().filter_map(|row| row.first).min().filter(|_| all),
        last: parts.iter().filter_map(|row| row.last).max().filter(|_| all),
        records: sum(|row| row.records),
        bytes: sum(|row| row.bytes),
        newest_ms: parts.iter().filter_map(|row| row.newest_ms).max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, u16)>, String> {
        bootstrap(&[text.to_owned()])
    }

    #[test]
    fn brokers_are_read_with_and_without_port_and_in_lists() {
        let pair = |host: &str, port| (host.to_owned(), port);
        assert_eq!(read("127.0.0.1"), Ok(vec![pair("127.0.0.1", 9092)]));
        assert_eq!(read("a:1, b"), Ok(vec![pair("a", 1), pair("b", 9092)]));
        assert_eq!(read("[::1]:9094"), Ok(vec![pair("::1", 9094)]));
        assert_eq!(read("[::1]"), Ok(vec![pair("::1", 9092)]));
        assert_eq!(read("::1"), Ok(vec![pair("::1", 9092)]));
        for bad in ["", ",", "a:", "a:0", "a:99999", ":1", "[::1", "[::1]9", "http://a:1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sum_with_an_unknown_part_is_unknown() {
        let known = Row {
            first: Some(2),
            last: Some(5),
            records: Some(3),
            bytes: Some(9),
            newest_ms: Some(1),
            ..Row::default()
        };
        let more = Row { first: Some(0), last: Some(9), records: Some(9), newest_ms: Some(7), ..Row::default() };
        let row = topic_row("t", &[known, more]);
        assert_eq!((row.first, row.last, row.records), (Some(0), Some(9), Some(12)));
        assert_eq!((row.bytes, row.newest_ms, row.partitions.as_str()), (None, Some(7), "2"));
    }
}
