//! DescribeProducers (API key 61, version 0, brokers from 2.8 on): what a partition's leader knows of the producers that write to it.

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::{DescribeProducersRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::requests::{Caller, frame};
use super::wire::Reader;

/// API key.
pub const DESCRIBE_PRODUCERS: i16 = 61;
/// Versions that are written and read here.
pub const DESCRIBE_PRODUCERS_RANGE: (i16, i16) = (0, 0);

/// What a leader knows of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Who.
    pub producer_id: i64,
    /// Its newest epoch.
    pub epoch: i16,
    /// Sequence of the last record that it appended in that epoch; -1: none.
    pub last_sequence: i32,
}

/// The answer for one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    /// How long to be silent (KIP-219).
    pub throttle_ms: i32,
    /// 0; 6 not the leader; 29 not allowed; …
    pub error: i16,
    /// Those of them that were asked about.
    pub states: Vec<ProducerState>,
}

/// Asks for the producers of one partition.
pub fn describe_producers(caller: Caller<'_>, version: i16, topic: &str, partition: i32) -> Vec<u8> {
    let topic = TopicRequest::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_indexes(vec![partition]);
    frame(caller, version, &DescribeProducersRequest::default().with_topics(vec![topic]))
}

/// Reads the answer from behind the correlation id; keeps those with one of `ids`. None: not that message, or not about exactly
/// `partition`.
pub fn producers(body: &[u8], partition: i32, ids: &[i64]) -> Option<Producers> {
    let mut reader = Reader::new(body, true);
    reader.skip_tags()?; // response header
    let mut answer = Producers { throttle_ms: reader.int32()?, ..Producers::default() };
    if reader.count()? != 1 {
        return None;
    }
    reader.string()?; // topic
    if reader.count()? != 1 || reader.int32()? != partition {
        return None;
    }
    answer.error = reader.int16()?;
    reader.nullable_string()?; // the error in words
    for _ in 0..reader.count()? {
        let (producer_id, epoch, last_sequence) = (reader.int64()?, reader.int32()?, reader.int32()?);
        reader.int64()?; // last timestamp
        reader.int32()?; // coordinator epoch
        reader.int64()?; // start of a transaction
        reader.skip_tags()?;
        if ids.contains(&producer_id) {
            answer.states.push(ProducerState { producer_id, epoch: i16::try_from(epoch).ok()?, last_sequence });
        }
    }
    reader.skip_tags()?; // partition
    reader.skip_tags()?; // topic
    reader.skip_tags()?;
    Some(answer)
}
