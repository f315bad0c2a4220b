//! Produce, InitProducerId and DescribeProducers.

use super::{Context, Request, Work, code_of, place};
use crate::batch;
use crate::code;
use crate::journal::SentBatch;
use crate::state::{Log, State};
use bytes::Bytes;
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::produce_request::TopicProduceData;
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    BrokerId, DescribeProducersRequest, DescribeProducersResponse, InitProducerIdRequest, InitProducerIdResponse,
    ProduceRequest, ProduceResponse, ProducerId,
};

/// First version that names topics by their ids alone (KIP-516).
const TOPIC_IDS: i16 = 13;
/// First version with leader hints (KIP-951).
const LEADER_HINTS: i16 = 10;

/// The batches of a Produce request, for the journal.
pub fn batches(request: &Request, state: &State) -> Vec<SentBatch> {
    let Ok(asked) = request.decode::<ProduceRequest>() else { return Vec::new() };
    let mut found = Vec::new();
    for topic in &asked.topic_data {
        let name = name_of(request, topic, state).unwrap_or_default();
        for part in &topic.partition_data {
            let bytes = part.records.clone().unwrap_or_default();
            let head = batch::check(&bytes).ok();
            found.push(SentBatch { topic: name.clone(), partition: part.index, head, bytes });
        }
    }
    found
}

fn name_of(request: &Request, topic: &TopicProduceData, state: &State) -> Result<String, i16> {
    if request.version < TOPIC_IDS {
        return Ok(topic.name.0.to_string());
    }
    state.name_of(topic.topic_id.as_u128()).map(str::to_owned).ok_or(code::UNKNOWN_TOPIC_ID)
}

pub fn produce(request: &Request, context: &mut Context<'_>) -> Result<Option<Bytes>, ()> {
    let asked: ProduceRequest = request.decode()?;
    let mut response = ProduceResponse::default().with_throttle_time_ms(context.throttle_ms);
    let mut failed = false;
    for topic in &asked.topic_data {
        let mut answered = TopicProduceResponse::default().with_name(topic.name.clone()).with_topic_id(topic.topic_id);
        for part in &topic.partition_data {
            let name = name_of(request, topic, context.state);
            let records = part.records.as_deref().unwrap_or_default();
            let (offset, code) = match &name {
                Ok(name) => one(context, asked.acks, name, part.index, records),
                Err(code) => (-1, context.code(*code)),
            };
            failed |= code != code::NONE;
            let mut answer = PartitionProduceResponse::default()
                .with_index(part.index)
                .with_base_offset(offset)
                .with_error_code(code);
            if request.version >= LEADER_HINTS && is_about_leader(code) && context.state.leader_hints {
                let state = &*context.state;
                let log = name.ok().and_then(|name| state.log(&name, part.index));
                let is_up = |log: &&Log| state.node(log.leader).is_some_and(|node| node.up);
                let known = log.filter(is_up).map(|log| (log.leader, log.leader_epoch));
                let told = if let Some((_, Work::Hinted(leader, epoch))) = context.error {
                    Some((leader, epoch))
                } else {
                    known
                };
                hint(state, told, &mut answer, &mut response);
            }
            answered.partition_responses.push(answer);
        }
        response.responses.push(answered);
    }
    match asked.acks {
        0 if failed => Err(()),
        0 => Ok(None),
        _ => request.encode(&response).map(Some),
    }
}

const fn is_about_leader(code: i16) -> bool {
    matches!(code, code::NOT_LEADER_OR_FOLLOWER | code::FENCED_LEADER_EPOCH)
}

/// Says who leads, in which epoch, and where that node is.
fn hint(
    state: &State,
    told: Option<(i32, i32)>,
    answer: &mut PartitionProduceResponse,
    response: &mut ProduceResponse,
) {
    let Some((leader, epoch)) = told else { return };
    let Some(node) = state.node(leader) else { return };
    answer.current_leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(node.id)).with_leader_epoch(epoch);
    let (id, host, port) = place(node);
    if !response.node_endpoints.iter().any(|known| known.node_id == id) {
        let rack = None;
        let endpoint = NodeEndpoint::default().with_node_id(id).with_host(host).with_port(port).with_rack(rack);
        response.node_endpoints.push(endpoint);
    }
}

/// Base offset and code. An error scripted for after the work keeps the offset, as Kafka's REQUEST_TIMED_OUT does.
fn one(context: &mut Context<'_>, acks: i16, topic: &str, partition: i32, records: &[u8]) -> (i64, i16) {
    if let Some(code) = context.refusal() {
        return (-1, code);
    }
    if !(-1..=1).contains(&acks) {
        return (-1, code::INVALID_REQUIRED_ACKS);
    }
    let log = context.state.log(topic, partition).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION);
    let appended = log
        .and_then(|log| context.led_here(log))
        .and_then(|()| context.state.append(topic, partition, records, context.wall_ms));
    match appended {
        Ok(offset) => (offset, context.code(code::NONE)),
        Err(code) => (-1, code),
    }
}

pub fn init_producer_id(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: InitProducerIdRequest = request.decode()?;
    let given = context.run(|c| match asked.transactional_id {
        None => Ok(c.state.new_producer_id()),
        Some(_) => Err(code::INVALID_REQUEST),
    });
    let response = match given {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Err(code) => InitProducerIdResponse::default()
            .with_error_code(code)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    };
    request.encode(&response.with_throttle_time_ms(context.throttle_ms))
}

pub fn describe_producers(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: DescribeProducersRequest = request.decode()?;
    let mut response = DescribeProducersResponse::default().with_throttle_time_ms(context.throttle_ms);
    for topic in &asked.topics {
        let mut answered = TopicResponse::default().with_name(topic.name.clone());
        for index in &topic.partition_indexes {
            let found = context.run(|c| {
                let log = c.state.log(&topic.name.0, *index).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
                c.led_here(log).map(|()| active(log))
            });
            let answer = PartitionResponse::default()
                .with_partition_index(*index)
                .with_error_code(code_of(&found))
                .with_error_message(None);
            answered.partitions.push(answer.with_active_producers(found.unwrap_or_default()));
        }
        response.topics.push(answered);
    }
    request.encode(&response)
}

fn active(log: &Log) -> Vec<ProducerState> {
    let shown = log.producers.active().map(|one| {
        ProducerState::default()
            .with_producer_id(ProducerId(one.producer_id))
            .with_producer_epoch(i32::from(one.epoch))
            .with_last_sequence(one.last_sequence)
            .with_last_timestamp(one.last_timestamp_ms)
            .with_coordinator_epoch(-1)
            .with_current_txn_start_offset(-1)
    });
    shown.collect()
}
