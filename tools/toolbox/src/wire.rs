//! The little of Kafka's protocol that the tools need: who is in the cluster, make a topic, how many records there are.
//! Blocking, one question per connection, always with a deadline.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse,
    RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use crate::Outcome;

/// The newest versions that Kafka 2.8, 3.9 and 4.1 all answer and that need no flexible header.
const METADATA_VERSION: i16 = 8;
const CREATE_TOPICS_VERSION: i16 = 4;
const DELETE_TOPICS_VERSION: i16 = 3;
const LIST_OFFSETS_VERSION: i16 = 5;
/// `NOT_LEADER_OR_FOLLOWER`.
const NOT_LEADER: i16 = 6;
/// Between two questions to a broker that does not lead yet.
const AGAIN: Duration = Duration::from_millis(50);
/// Deadline of one connect, write or read.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of the largest answer taken.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Kafka's error code for a topic that is already there.
const TOPIC_EXISTS: i16 = 36;
/// Kafka's error code of a broker that is not the controller (any longer).
const NOT_CONTROLLER: i16 = 41;

/// One partition, as a broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 0.
    pub index: i32,
    /// The leader's node id; -1 if there is none.
    pub leader: i32,
    /// Node ids of the replicas in sync.
    pub in_sync: Vec<i32>,
    /// Node ids of all replicas.
    pub replicas: Vec<i32>,
}

/// A cluster, as one broker sees it.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Node id and address of every broker.
    pub brokers: Vec<(i32, String)>,
    /// The controller's node id, -1 if none is known.
    pub controller: i32,
    /// Partitions of the topic that was asked for; empty if it does not exist.
    pub partitions: Vec<Partition>,
}

/// Sends one request on a connection of its own and gives the answer.
pub fn ask<R: Request>(address: &str, request: &R, version: i16, deadline: Duration) -> Outcome<R::Response> {
    exchange(address, &frame(request, version)?, deadline)
        .and_then(|mut answer| {
            let header = <R::Response as HeaderVersion>::header_version(version);
            ResponseHeader::decode(&mut answer, header).map_err(|error| error.to_string())?;
            R::Response::decode(&mut answer, version).map_err(|error| error.to_string())
        })
        .map_err(|error| format!("Kafka at {address}: {error}"))
}

fn frame<R: Request>(request: &R, version: i16) -> Outcome<Bytes> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(1)
        .with_client_id(Some(StrBytes::from_static_str("tollgate-tools")));
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    header
        .encode(&mut bytes, R::header_version(version))
        .and_then(|()| request.encode(&mut bytes, version))
        .map_err(|error| error.to_string())?;
    let length = (bytes.len() - 4) as i32;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes.freeze())
}

fn exchange(address: &str, request: &[u8], deadline: Duration) -> Outcome<Bytes> {
    let text = |error: std::io::Error| error.to_string();
    let socket: SocketAddr = address.parse().map_err(|_| "not an IP:PORT address".to_owned())?;
    let mut stream = TcpStream::connect_timeout(&socket, deadline).map_err(text)?;
    stream.set_read_timeout(Some(deadline)).map_err(text)?;
    stream.set_write_timeout(Some(deadline)).map_err(text)?;
    stream.write_all(request).map_err(text)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).map_err(text)?;
    let length = usize::try_from(i32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > ANSWER_BYTES {
        return Err(format!("an answer of {length} bytes: this is not Kafka"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).map_err(text)?;
    let mut answer = Bytes::from(answer);
    // The correlation id is the response header's; one connection asks one question, so it needs no check.
    if answer.remaining() < 4 {
        answer.clear();
        return Err("an answer without a header: this is not Kafka".to_owned());
    }
    Ok(answer)
}

pub fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Asks one broker who is in the cluster, and about one topic if it is named. Creates nothing.
pub fn view(address: &str, topic: Option<&str>, deadline: Duration) -> Outcome<View> {
    let topics = topic.iter().map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic)))).collect();
    let request = MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false);
    Ok(view_of(&ask(address, &request, METADATA_VERSION, deadline)?))
}

fn view_of(answer: &MetadataResponse) -> View {
    let brokers = answer.brokers.iter().map(|broker| (broker.node_id.0, format!("{}:{}", broker.host, broker.port)));
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|found| Partition {
        index: found.partition_index,
        leader: found.leader_id.0,
        in_sync: ids(&found.isr_nodes),
        replicas: ids(&found.replica_nodes),
    });
    let mut view =
        View { brokers: brokers.collect(), controller: answer.controller_id.0, partitions: partitions.collect() };
    view.brokers.sort();
    view.partitions.sort_by_key(|partition| partition.index);
    view
}

/// Makes a topic. False if it was already there. Kafka 2.8 takes it at the controller only, which may just be dead:
/// the named controller and `address` are asked in turn until one of them does it.
pub fn create_topic(address: &str, topic: &str, partitions: i32, replication: i16) -> Outcome<bool> {
    let end = Instant::now() + DEADLINE * 3;
    loop {
        let seen = view(address, Some(topic), DEADLINE)?;
        if !seen.partitions.is_empty() {
            return Ok(false);
        }
        let controller = seen.brokers.iter().find(|(id, _)| *id == seen.controller).map(|(_, at)| at.as_str());
        for broker in controller.into_iter().chain([address]) {
            // A broker that cannot be reached is like one that is not the controller: somebody else will be, soon.
            match create_at(broker, topic, partitions, replication) {
                Ok(Creation::Made) => return Ok(true),
                Ok(Creation::There) => return Ok(false),
                Ok(Creation::Refused(text)) => return Err(text),
                Ok(Creation::NotHere) | Err(_) => {}
            }
        }
        if Instant::now() > end {
            return Err(format!("topic {topic}: the cluster at {address} has no controller"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What one broker says when it is asked for a topic.
enum Creation {
    Made,
    There,
    NotHere,
    Refused(String),
}

fn create_at(broker: &str, topic: &str, partitions: i32, replication: i16) -> Outcome<Creation> {
    let wanted = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(replication);
    let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(10_000);
    let answer = ask(broker, &request, CREATE_TOPICS_VERSION, DEADLINE)?;
    let result = answer.topics.first().ok_or_else(|| format!("Kafka at {broker} answered nothing about {topic}"))?;
    Ok(match result.error_code {
        0 => Creation::Made,
        TOPIC_EXISTS => Creation::There,
        NOT_CONTROLLER => Creation::NotHere,
        code => {
            let text = result.error_message.as_ref().map_or("refused", |text| text.as_str());
            Creation::Refused(format!("topic {topic}: {text} (error {code})"))
        }
    })
}

/// Removes a topic, at the controller. That it is not there is no error.
pub fn delete_topic(address: &str, topic: &str) -> Outcome {
    /// Kafka's error code for a topic that is not there.
    const UNKNOWN_TOPIC: i16 = 3;
    let seen = view(address, None, DEADLINE)?;
    let controller = seen.brokers.iter().find(|(id, _)| *id == seen.controller).map_or(address, |(_, at)| at.as_str());
    let request = DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]).with_timeout_ms(10_000);
    let answer = ask(controller, &request, DELETE_TOPICS_VERSION, DEADLINE * 3)?;
    match answer.responses.first().map(|response| response.error_code) {
        Some(0 | UNKNOWN_TOPIC) => Ok(()),
        code => Err(format!("topic {topic} is not removed: error {code:?}")),
    }
}

/// How many records a topic holds, by its offsets. 0 for a topic that does not exist.
pub fn record_count(address: &str, topic: &str) -> Outcome<u64> {
    let seen = view(address, Some(topic), DEADLINE)?;
    let mut count = 0;
    for partition in &seen.partitions {
        let leader = seen.brokers.iter().find(|(id, _)| *id == partition.leader);
        let (_, leader) = leader.ok_or_else(|| format!("{topic}-{} has no leader", partition.index))?;
        let end = offset(leader, topic, partition.index, -1)?;
        let start = offset(leader, topic, partition.index, -2)?;
        count += u64::try_from(end - start).unwrap_or(0);
    }
    Ok(count)
}

/// The offset at a timestamp; -1 asks for the end, -2 for the start.
pub fn offset(leader: &str, topic: &str, partition: i32, timestamp: i64) -> Outcome<i64> {
    let wanted = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let topics = vec![ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![wanted])];
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics);
    let begin = Instant::now();
    loop {
        let answer = ask(leader, &request, LIST_OFFSETS_VERSION, DEADLINE)?;
        let found = answer.topics.first().and_then(|topic| topic.partitions.first());
        match found {
            Some(found) if found.error_code == 0 => return Ok(found.offset),
            // Of a topic that is new, the metadata may say a moment too early who leads.
            Some(found) if found.error_code == NOT_LEADER && begin.elapsed() < DEADLINE => std::thread::sleep(AGAIN),
            Some(found) => return Err(format!("{topic}-{partition}: error {}", found.error_code)),
            None => return Err(format!("{topic}-{partition}: no answer")),
        }
    }
}
