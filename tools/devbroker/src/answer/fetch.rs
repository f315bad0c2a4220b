//! Fetch and ListOffsets. A Fetch that finds too little is asked again by `serve` when something was appended.

use super::{Context, Request, code_of};
use crate::code;
use crate::state::{Log, State};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};

/// Bytes of one Fetch answer at most, whatever the client allows (`fetch.max.bytes` of the broker); one batch may pass it.
const FETCH_BYTES: usize = 55 * 1024 * 1024;

/// A Fetch, read.
pub struct Wanted {
    asked: FetchRequest,
    /// Milliseconds it may wait.
    pub max_wait_ms: u64,
    min_bytes: usize,
}

/// What a Fetch finds at this moment.
pub struct Found {
    response: FetchResponse,
    /// Enough to answer at once.
    pub enough: bool,
}

impl Found {
    /// The answer's frame.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn encode(&self, request: &Request) -> Result<Bytes, ()> {
        request.encode(&self.response)
    }
}

/// Reads a Fetch request.
///
/// # Errors
/// The connection is to be closed.
pub fn wanted(request: &Request) -> Result<Wanted, ()> {
    let asked: FetchRequest = request.decode()?;
    let max_wait_ms = u64::try_from(asked.max_wait_ms).unwrap_or(0);
    let min_bytes = usize::try_from(asked.min_bytes).unwrap_or(0);
    Ok(Wanted { asked, max_wait_ms, min_bytes })
}

/// Looks once, at what `node` leads. `error` goes into every partition.
pub fn find(wanted: &Wanted, state: &State, node: i32, error: Option<i16>) -> Found {
    let mut response = FetchResponse::default();
    let mut room = usize::try_from(wanted.asked.max_bytes).unwrap_or(0).min(FETCH_BYTES);
    let (mut bytes, mut failed) = (0, error.is_some());
    for topic in &wanted.asked.topics {
        let mut answered = FetchableTopicResponse::default().with_topic(topic.topic.clone());
        for part in &topic.partitions {
            let log = state.log(&topic.topic.0, part.partition);
            let elsewhere = log.filter(|log| log.leader != node).map(|_| code::NOT_LEADER_OR_FOLLOWER);
            let data = partition(part, log, error.or(elsewhere), room, bytes == 0);
            let size = data.records.as_ref().map_or(0, Bytes::len);
            failed |= data.error_code != code::NONE;
            bytes += size;
            room = room.saturating_sub(size);
            answered.partitions.push(data);
        }
        response.responses.push(answered);
    }
    let nothing_asked = wanted.asked.topics.iter().all(|t| t.partitions.is_empty());
    Found { response, enough: failed || nothing_asked || bytes >= wanted.min_bytes }
}

fn partition(asked: &FetchPartition, log: Option<&Log>, error: Option<i16>, room: usize, first: bool) -> PartitionData {
    let mut data = PartitionData::default()
        .with_partition_index(asked.partition)
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_aborted_transactions(None)
        .with_records(Some(Bytes::new()));
    let read = match (error, log) {
        (Some(code), _) => Err(code),
        (None, None) => Err(code::UNKNOWN_TOPIC_OR_PARTITION),
        (None, Some(log)) => {
            data.high_watermark = log.end();
            data.last_stable_offset = log.end();
            data.log_start_offset = log.start();
            let most = usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(room);
            // Only the first partition with data may pass the client's limit (KIP-74).
            log.read(asked.fetch_offset, most).map(|found| match found.as_slice() {
                [one] if one.len() > most && !first => Bytes::new(),
                [one] => one.clone(),
                many => many
                    .iter()
                    .fold(BytesMut::new(), |mut all, b| {
                        all.extend_from_slice(b);
                        all
                    })
                    .freeze(),
            })
        }
    };
    data.error_code = code_of(&read);
    data.records = Some(read.unwrap_or_default());
    data
}

pub fn list_offsets(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: ListOffsetsRequest = request.decode()?;
    let mut response = ListOffsetsResponse::default();
    for topic in &asked.topics {
        let mut answered = ListOffsetsTopicResponse::default().with_name(topic.name.clone());
        for part in &topic.partitions {
            let found = context.run(|c| {
                let log = c.state.log(&topic.name.0, part.partition_index).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
                c.led_here(log).map(|()| at(log, part))
            });
            let (timestamp, offset) = found.unwrap_or((-1, -1));
            answered.partitions.push(
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(part.partition_index)
                    .with_error_code(code_of(&found))
                    .with_timestamp(timestamp)
                    .with_offset(offset),
            );
        }
        response.topics.push(answered);
    }
    request.encode(&response)
}

fn at(log: &Log, asked: &ListOffsetsPartition) -> (i64, i64) {
    match asked.timestamp {
        -1 => (-1, log.end()),
        -2 => (-1, log.start()),
        -3 => log.newest().unwrap_or((-1, -1)),
        time => log.at_time(time).unwrap_or((-1, -1)),
    }
}
