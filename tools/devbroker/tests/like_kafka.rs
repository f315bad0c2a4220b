//! What this broker remembers of producers is what Kafka remembers: the same batches to both, the same answers. Needs a real one, which
//! `DEVBROKER_LIKE_KAFKA=HOST:PORT` names; without it the tests look at this broker only. `DEVBROKER_LIKE_KAFKA_RESTARTED=1` says that
//! the real one was stopped cleanly and started again since the last run.

mod client;

use client::{Client, name};
use devbroker::batch::make::{From, batch};
use devbroker::{Broker, Options, ProducerState};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::{CreateTopicsRequest, DescribeProducersRequest, MetadataRequest};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Producer, epoch, first sequence, records.
type Step = (i64, i16, i32, usize);

const TOPIC: &str = "t";

/// Every rule once, in an order that leads to each.
const STEPS: [Step; 41] = [
    (1, 0, 0, 1),
    (1, 0, 1, 2),
    (1, 0, 3, 1),
    (1, 0, 4, 1),
    (1, 0, 5, 1),
    (1, 0, 6, 1),
    // The five remembered, and the one before them.
    (1, 0, 6, 1),
    (1, 0, 5, 1),
    (1, 0, 1, 2),
    (1, 0, 0, 1),
    // The right beginning with the wrong end, a gap, the past.
    (1, 0, 1, 1),
    (1, 0, 5, 2),
    (1, 0, 6, 2),
    (1, 0, 9, 1),
    (1, 0, 2, 1),
    (1, 0, 7, 3),
    // A new epoch.
    (1, 2, 1, 1),
    (1, 2, 10, 1),
    (1, 2, 0, 1),
    (1, 2, 0, 1),
    (1, 1, 1, 1),
    (1, 0, 10, 1),
    (1, 0, 7, 3),
    (1, 2, 1, 1),
    (1, 2, 3, 1),
    (1, 3, 0, 4),
    (1, 2, 2, 1),
    (1, 3, 4, 1),
    (1, 3, 0, 4),
    // Nobody knows this one.
    (2, 4, 7, 2),
    (2, 4, 7, 2),
    (2, 4, 9, 1),
    (2, 4, 8, 1),
    (2, 5, 10, 1),
    (2, 3, 0, 1),
    // Round the end.
    (3, 0, i32::MAX - 1, 2),
    (3, 0, i32::MAX, 1),
    (3, 0, 0, 1),
    (3, 0, 1, 1),
    (3, 0, i32::MAX - 1, 2),
    (4, 0, i32::MAX, 2),
];

fn kafka() -> Option<SocketAddr> {
    let named = std::env::var("DEVBROKER_LIKE_KAFKA").ok()?;
    Some(named.to_socket_addrs().expect("HOST:PORT").next().expect("an address"))
}

fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis() as i64)
}

/// Makes the topic anew, and waits until it is led.
fn fresh(client: &mut Client) {
    let topic = CreatableTopic::default().with_name(name(TOPIC)).with_num_partitions(1).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let made = client.ask(4, &request).expect("an answer").topics[0].error_code;
    assert_eq!(made, 0, "the topic {TOPIC} must not be there yet");
    let until = Instant::now() + Duration::from_secs(10);
    while client.ask(9, &MetadataRequest::default().with_topics(None)).is_none_or(|known| {
        let led = |topic: &kafka_protocol::messages::metadata_response::MetadataResponseTopic| {
            topic.name.as_ref() == Some(&name(TOPIC)) && topic.partitions.iter().all(|p| p.leader_id.0 >= 0)
        };
        !known.topics.iter().any(led)
    }) {
        assert!(Instant::now() < until, "a leader in ten seconds");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn answers(client: &mut Client, steps: &[Step], now_ms: i64) -> Vec<(Step, i16, i64)> {
    let mut found = Vec::new();
    for step in steps {
        let (producer_id, epoch, sequence, records) = *step;
        let values = vec![&b"x"[..]; records];
        let bytes = batch(From { producer_id, epoch, sequence }, now_ms, &values);
        let (code, offset) = client.produce(9, -1, bytes).expect("an answer");
        found.push((*step, code, offset));
    }
    found
}

/// Id, epoch, last sequence.
fn producers(client: &mut Client) -> Vec<(i64, i32, i32)> {
    let topic = TopicRequest::default().with_name(name(TOPIC)).with_partition_indexes(vec![0]);
    let response = client.ask(0, &DescribeProducersRequest::default().with_topics(vec![topic])).expect("an answer");
    let active = &response.topics[0].partitions[0].active_producers;
    let mut found: Vec<_> = active.iter().map(|p| (p.producer_id.0, p.producer_epoch, p.last_sequence)).collect();
    found.sort_unstable();
    found
}

/// Behind a clean restart: the last batch of each is known, those before are not.
const AFTER_RESTART: [Step; 7] =
    [(1, 3, 0, 4), (1, 3, 4, 1), (2, 4, 7, 2), (2, 4, 9, 1), (3, 0, 1, 1), (3, 0, 0, 1), (1, 3, 5, 1)];

#[test]
fn producers_are_remembered_as_kafka_remembers_them() {
    let now_ms = wall_ms();
    let broker = Broker::start(Options::default()).unwrap();
    let mut ours = Client::new(&broker);
    fresh(&mut ours);
    let restarted = std::env::var_os("DEVBROKER_LIKE_KAFKA_RESTARTED").is_some();
    let first = answers(&mut ours, &STEPS, now_ms);
    let known = producers(&mut ours);
    assert_eq!(known, [(1, 3, 4), (2, 4, 9), (3, 0, 1), (4, 0, 0)]);
    broker.restart(ProducerState::LastBatch).unwrap();
    let mut ours = Client::new(&broker);
    assert_eq!(producers(&mut ours), known);
    let second = answers(&mut ours, &AFTER_RESTART, now_ms);
    assert_eq!(second.iter().map(|(_, code, _)| *code).collect::<Vec<_>>(), [45, 0, 45, 0, 0, 45, 0]);
    let Some(addr) = kafka() else { return };
    let mut theirs = Client::to(addr);
    if restarted {
        assert_eq!(producers(&mut theirs), known);
        assert_eq!(answers(&mut theirs, &AFTER_RESTART, now_ms), second);
    } else {
        fresh(&mut theirs);
        assert_eq!(answers(&mut theirs, &STEPS, now_ms), first);
        assert_eq!(producers(&mut theirs), known);
    }
}
