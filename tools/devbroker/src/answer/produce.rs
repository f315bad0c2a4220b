//! Produce and InitProducerId.

use super::{Context, Request};
use crate::code;
use bytes::Bytes;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse, ProducerId,
};

pub fn produce(request: &Request, context: &mut Context<'_>) -> Result<Option<Bytes>, ()> {
    let asked: ProduceRequest = request.decode()?;
    let mut response = ProduceResponse::default();
    let mut failed = false;
    for topic in &asked.topic_data {
        let mut answered = TopicProduceResponse::default().with_name(topic.name.clone());
        for part in &topic.partition_data {
            let records = part.records.as_deref().unwrap_or_default();
            let result = one(context, asked.acks, &topic.name.0, part.index, records);
            failed |= result.1 != code::NONE;
            answered.partition_responses.push(
                PartitionProduceResponse::default()
                    .with_index(part.index)
                    .with_base_offset(result.0)
                    .with_error_code(result.1),
            );
        }
        response.responses.push(answered);
    }
    match asked.acks {
        0 if failed => Err(()),
        0 => Ok(None),
        _ => request.encode(&response).map(Some),
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
    match context.state.append(topic, partition, records, context.wall_ms) {
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
    request.encode(&response)
}
