//! Faults of single requests and what the journal tells of them.

mod client;

use client::{Client, frame};
use devbroker::batch::make::{NOBODY, batch};
use devbroker::{Api, Broker, Fault, Options, Seen};
use kafka_protocol::messages::{ApiVersionsRequest, InitProducerIdRequest, MetadataRequest, ProduceResponse};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn broker() -> Broker {
    let broker = Broker::start(Options { journal: 100, ..Options::default() }).unwrap();
    broker.create_topic("t", 1).unwrap();
    broker
}

fn one() -> Vec<u8> {
    batch(NOBODY, 0, &[b"x"])
}

fn produces(broker: &Broker) -> Vec<Seen> {
    broker.requests().into_iter().filter(|seen| seen.api == Api::Produce).collect()
}

#[test]
fn trickled_answer_comes_whole_and_slowly() {
    let broker = broker();
    broker.script().push(Api::Produce, Fault::Trickle(8, Duration::from_millis(5)));
    let begin = Instant::now();
    assert_eq!(Client::new(&broker).produce(9, -1, one()), Some((0, 0)));
    assert!(begin.elapsed() >= Duration::from_millis(25));
}

#[test]
fn answers_come_twice_or_under_a_wrong_number() {
    let broker = broker();
    broker.script().push(Api::Produce, Fault::Twice);
    broker.script().push(Api::Produce, Fault::WrongCorrelation);
    let mut client = Client::new(&broker);
    client.0.write_all(&frame(9, &client::produce(-1, one()))).unwrap();
    let first = client.receive().unwrap();
    assert_eq!((client.receive().unwrap(), first[..4].to_vec()), (first.clone(), vec![0, 0, 0, 5]));
    client.0.write_all(&frame(9, &client::produce(-1, one()))).unwrap();
    let second = client.receive().unwrap();
    assert_eq!(second[..4], [0x55, 0x55, 0x55, 0x50]);
    assert_eq!(broker.offsets("t", 0), Some((0, 2)));
}

#[test]
fn request_is_cut_within_and_nothing_of_it_is_done() {
    let broker = broker();
    let bytes = frame(9, &client::produce(-1, one()));
    for cut in [0, 4, 6, 30, bytes.len() - 1, bytes.len() + 9] {
        broker.script().push(Api::Produce, Fault::CutRequest(cut));
        let mut client = Client::new(&broker);
        client.0.write_all(&bytes).unwrap();
        assert!(!matches!(client.0.read(&mut [0; 1]), Ok(1..)), "cut at {cut}");
    }
    assert_eq!((broker.offsets("t", 0), broker.script().seen(Api::Produce)), (Some((0, 0)), 6));
    assert_eq!(Client::new(&broker).produce(9, -1, one()), Some((0, 0)));
}

#[test]
fn hanging_connection_answers_nothing_any_more_and_ends_with_its_client() {
    let broker = broker();
    broker.script().push(Api::Produce, Fault::Hang);
    let mut client = Client::new(&broker);
    client.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    client.0.write_all(&frame(9, &client::produce(-1, one()))).unwrap();
    client.0.write_all(&frame(9, &MetadataRequest::default().with_topics(None))).unwrap();
    assert!(client.receive().is_none() && broker.offsets("t", 0) == Some((0, 0)));
    drop(client);
    let begin = Instant::now();
    broker.stop();
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[test]
fn throttle_is_told_in_the_answer_and_the_work_is_done() {
    let broker = broker();
    for api in [Api::Produce, Api::InitProducerId] {
        broker.script().push(api, Fault::Throttle(Duration::from_millis(700)));
    }
    let mut client = Client::new(&broker);
    let response: ProduceResponse = client.ask(9, &client::produce(-1, one())).unwrap();
    assert_eq!((response.throttle_time_ms, broker.offsets("t", 0)), (700, Some((0, 1))));
    let given = client.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).unwrap();
    assert_eq!((given.throttle_time_ms, given.error_code), (700, 0));
}

#[test]
fn journal_tells_what_came_when_and_what_lay_behind() {
    let broker = broker();
    broker.script().push(Api::Produce, Fault::Delay(Duration::from_millis(100)));
    let mut client = Client::new(&broker);
    let bytes =
        [frame(9, &client::produce(-1, one())), frame(9, &client::produce(-1, batch(NOBODY, 0, &[b"y", b"y", b"y"])))];
    client.0.write_all(&[bytes.concat(), bytes[0].clone()].concat()).unwrap();
    (0..3).for_each(|_| drop(client.receive().unwrap()));
    let seen = produces(&broker);
    assert_eq!(seen.iter().map(|s| s.behind).collect::<Vec<_>>(), [2, 1, 0]);
    assert!(seen[0].answered.unwrap() - seen[0].at >= Duration::from_millis(100));
    assert_eq!(seen[0].batches[0].bytes, seen[2].batches[0].bytes);
    let second = &seen[1].batches[0];
    assert_eq!((second.topic.as_str(), second.partition, second.head.map(|h| h.count)), ("t", 0, Some(3)));
}

#[test]
fn limits_and_versions_change_at_run_time() {
    let broker = broker();
    let mut client = Client::new(&broker);
    broker.set_batch_bytes(60);
    assert_eq!(client.produce(9, -1, one()), Some((10, -1)));
    broker.set_batch_bytes(1_000);
    assert_eq!(client.produce(9, -1, one()), Some((0, 0)));
    broker.cap_version(Api::Produce, 8);
    let listed = client.ask(3, &ApiVersionsRequest::default()).unwrap().api_keys;
    assert_eq!(listed.iter().find(|key| key.api_key == 0).map(|key| key.max_version), Some(8));
    assert_eq!(client.produce(8, -1, one()), Some((0, 1)));
    assert_eq!(client.produce(9, -1, one()), None);
    broker.cap_version(Api::ApiVersions, 2);
    let mut client = Client::new(&broker);
    client.0.write_all(&frame(4, &ApiVersionsRequest::default())).unwrap();
    assert_eq!(client.receive().unwrap()[..], [0, 0, 0, 5, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 2]);
    broker.script().push(Api::ApiVersions, Fault::Error(35));
    client.0.write_all(&frame(2, &ApiVersionsRequest::default())).unwrap();
    assert_eq!(client.receive().unwrap()[4..6], [0, 35], "in version 0");
}
