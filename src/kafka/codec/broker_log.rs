//! The other end of the wire, for tests of readers and inquiries: DescribeProducers, ListOffsets and Fetch about one partition.

use bytes::Bytes;
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState as State, TopicResponse};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, FetchRequest, FetchResponse, ListOffsetsRequest,
    ListOffsetsResponse, ProducerId, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::broker_side::frame;
use super::producers::ProducerState;

/// What was asked about a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub topic: String,
    pub partition: i32,
    /// ListOffsets: a time; Fetch: an offset; else 0.
    pub at: i64,
}

pub fn describe_producers(request: &DescribeProducersRequest) -> About {
    let [topic] = &request.topics[..] else { panic!("one topic") };
    let [partition] = topic.partition_indexes[..] else { panic!("one partition") };
    About { topic: topic.name.0.to_string(), partition, at: 0 }
}

pub fn list_offsets(request: &ListOffsetsRequest) -> About {
    let [topic] = &request.topics[..] else { panic!("one topic") };
    let [partition] = &topic.partitions[..] else { panic!("one partition") };
    About { topic: topic.name.0.to_string(), partition: partition.partition_index, at: partition.timestamp }
}

pub fn fetch(request: &FetchRequest) -> About {
    let [topic] = &request.topics[..] else { panic!("one topic") };
    let [partition] = &topic.partitions[..] else { panic!("one partition") };
    About { topic: topic.topic.0.to_string(), partition: partition.partition, at: partition.fetch_offset }
}

fn name(about: &About) -> TopicName {
    TopicName(StrBytes::from_string(about.topic.clone()))
}

pub fn producers(
    (correlation, throttle_ms): (i32, i32),
    about: &About,
    error: i16,
    states: &[ProducerState],
) -> Vec<u8> {
    let state = |state: &ProducerState| {
        State::default()
            .with_producer_id(ProducerId(state.producer_id))
            .with_producer_epoch(i32::from(state.epoch))
            .with_last_sequence(state.last_sequence)
            .with_last_timestamp(77)
            .with_coordinator_epoch(-1)
            .with_current_txn_start_offset(-1)
    };
    let partition = PartitionResponse::default()
        .with_partition_index(about.partition)
        .with_error_code(error)
        .with_active_producers(states.iter().map(state).collect());
    let topic = TopicResponse::default().with_name(name(about)).with_partitions(vec![partition]);
    frame(
        correlation,
        0,
        &DescribeProducersResponse::default().with_throttle_time_ms(throttle_ms).with_topics(vec![topic]),
    )
}

pub fn offset((correlation, throttle_ms): (i32, i32), version: i16, about: &About, error: i16, offset: i64) -> Vec<u8> {
    let partition = ListOffsetsPartitionResponse::default()
        .with_partition_index(about.partition)
        .with_error_code(error)
        .with_offset(offset);
    let topic = ListOffsetsTopicResponse::default().with_name(name(about)).with_partitions(vec![partition]);
    frame(
        correlation,
        version,
        &ListOffsetsResponse::default().with_throttle_time_ms(throttle_ms).with_topics(vec![topic]),
    )
}

/// `marks`: high watermark and log start.
pub fn fetched(
    (correlation, throttle_ms): (i32, i32),
    version: i16,
    about: &About,
    error: i16,
    marks: (i64, i64),
    records: Vec<u8>,
) -> Vec<u8> {
    let mut partition = PartitionData::default()
        .with_partition_index(about.partition)
        .with_error_code(error)
        .with_high_watermark(marks.0)
        .with_records(Some(Bytes::from(records)));
    if version >= 5 {
        partition = partition.with_log_start_offset(marks.1);
    }
    let topic = FetchableTopicResponse::default().with_topic(name(about)).with_partitions(vec![partition]);
    frame(
        correlation,
        version,
        &FetchResponse::default().with_throttle_time_ms(throttle_ms).with_responses(vec![topic]),
    )
}
