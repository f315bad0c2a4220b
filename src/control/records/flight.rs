//! One Fetch to one leader, as owned values: it may run on a task of its own while other leaders are asked.

use super::link::Link;
use super::{Fetched, Record};
use crate::kafka::codec::read::{self, FETCH_KIND, FetchBounds, describe};
use crate::kafka::records;

/// One partition's share of an answer.
#[derive(Debug)]
pub struct Part {
    pub partition: i32,
    /// Kafka's code for this partition.
    pub error: i16,
    /// What was read; an error if reading cannot go on behind it.
    pub fetched: Result<Fetched, String>,
    /// Newest timestamp of the batches, also of those that could not be unpacked.
    pub newest_ms: Option<i64>,
}

/// Asks once.
///
/// # Errors
/// The connection is of no use any more.
pub async fn fetch(
    link: &mut Link,
    topic: &str,
    wanted: &[(i32, i64)],
    bounds: FetchBounds,
) -> Result<Vec<Part>, String> {
    let wait_ms = u64::try_from(bounds.max_wait_ms).unwrap_or(0);
    let request = |caller: crate::kafka::codec::requests::Caller<'_>, version| {
        read::fetch_request(caller, version, topic, wanted, bounds)
    };
    let answer = link.ask(FETCH_KIND, wait_ms, request).await?;
    let (error, parts) = read::fetch(&answer.body, answer.version).ok_or_else(|| link.nonsense(FETCH_KIND))?;
    if error != 0 {
        return Err(describe(error));
    }
    let offset_of = |partition| wanted.iter().find(|(p, _)| *p == partition).map(|(_, offset)| *offset);
    Ok(parts.iter().filter_map(|part| Some(owned(part, offset_of(part.partition)?))).collect())
}

fn owned(part: &read::FetchedPart<'_>, offset: i64) -> Part {
    let newest_ms = records::newest_timestamp_ms(part.records);
    let fetched = unpack(part, offset);
    Part { partition: part.partition, error: part.error, fetched, newest_ms }
}

fn unpack(part: &read::FetchedPart<'_>, offset: i64) -> Result<Fetched, String> {
    let mut fetched = Fetched { next_offset: offset, high_watermark: part.high_watermark, ..Fetched::default() };
    let mut keep = |record: records::Record<'_>| fetched.records.push(own(part.partition, &record));
    match records::read(part.records, offset, &mut keep) {
        Ok(seen) => {
            fetched.next_offset = seen.next_offset;
            if seen.old_sets > 0 {
                let count = seen.old_sets;
                fetched.notes.push(format!("{count} message(s) in a format older than Kafka 0.11 were passed over"));
            }
            if seen.next_offset == offset && seen.partial_bytes > 0 {
                return Err(format!("the batch at offset {offset} is larger than what can be fetched"));
            }
        }
        Err(bad) => {
            let what = format!("the batch at offset {} cannot be read: {}", bad.base_offset, bad.reason);
            // What lay before it was handed out; go on behind it, or there if its own end cannot be trusted.
            let before = fetched.records.last().map_or(offset, |r| r.offset + 1);
            match bad.skip_to {
                Some(next) => fetched.next_offset = next.max(before),
                None if before > offset => fetched.next_offset = before,
                None => return Err(what),
            }
            fetched.notes.push(what);
        }
    }
    Ok(fetched)
}

fn own(partition: i32, record: &records::Record<'_>) -> Record {
    let headers = record.headers.iter();
    Record {
        partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: headers
            .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.map(<[u8]>::to_vec)))
            .collect(),
    }
}
