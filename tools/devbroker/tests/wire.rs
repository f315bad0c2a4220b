//! The broker over its socket: bad bytes cost one connection and nothing else, faults come as scripted, Fetch waits.

mod client;

use client::{Client, frame, name, produce};
use devbroker::batch::make::{From, NOBODY, batch};
use devbroker::{Api, Broker, Fault, Options};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

fn fetch(offset: i64, max_wait_ms: i32) -> FetchRequest {
    let part = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name("t")).with_partitions(vec![part]);
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
}

fn broker() -> Broker {
    let broker = Broker::start(Options::default()).unwrap();
    broker.create_topic("t", 1).unwrap();
    broker
}

#[test]
fn produce_and_fetch_meet_in_every_version() {
    let broker = broker();
    let mut client = Client::new(&broker);
    for (index, version) in (3..=12).enumerate() {
        assert_eq!(client.produce(version, -1, batch(NOBODY, 0, &[b"x"])), Some((0, index as i64)), "v{version}");
    }
    for version in 4..=12 {
        let response: FetchResponse = client.ask(version, &fetch(9, 0)).unwrap();
        let part = &response.responses[0].partitions[0];
        assert_eq!((part.error_code, part.high_watermark), (0, 10), "v{version}");
        assert_eq!(part.records.as_deref(), broker.batches("t", 0).last().map(|b| &b[..]));
    }
}

#[test]
fn fetch_waits_for_a_record_and_no_longer_than_it_was_told() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let asked = Instant::now();
    let empty: FetchResponse = client.ask(12, &fetch(0, 100)).unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(90));
    assert_eq!(empty.responses[0].partitions[0].records.as_deref(), Some(&b""[..]));
    let asked = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            broker.append("t", 0, &batch(NOBODY, 0, &[b"x"]), 0).unwrap();
        });
        let found: FetchResponse = client.ask(12, &fetch(0, 4_000)).unwrap();
        assert!(found.responses[0].partitions[0].records.as_ref().is_some_and(|r| r.len() > 61));
    });
    assert!(asked.elapsed() < Duration::from_secs(3));
}

#[test]
fn bad_bytes_close_their_own_connection_only() {
    let broker = broker();
    let mut bystander = Client::new(&broker);
    let metadata = frame(9, &MetadataRequest::default().with_topics(None));
    let mut endless = frame(4, &MetadataRequest::default().with_topics(Some(vec![])));
    let count_at = endless.len() - 5;
    endless[count_at..count_at + 4].copy_from_slice(&i32::MAX.to_be_bytes());
    let with_version = |version: i16| {
        let mut bytes = metadata.clone();
        bytes[6..8].copy_from_slice(&version.to_be_bytes());
        bytes
    };
    let unknown_key = [&metadata[..4], &[0x7f, 0x7f], &metadata[6..]].concat();
    let bad: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 64],
        0i32.to_be_bytes().to_vec(),
        vec![0, 0, 0, 2, 0, 3],
        vec![0, 0, 0, 10, 0, 3, 0, 9, 0, 0, 0, 1, 0x7f, 0xff],
        endless,
        with_version(13),
        with_version(-1),
        unknown_key,
        frame(3, &produce(-1, batch(NOBODY, 0, &[b"x"])))
            .into_iter()
            .enumerate()
            .map(|(at, b)| if at == 7 { 2 } else { b })
            .collect(),
    ];
    for bytes in bad {
        let mut client = Client::new(&broker);
        client.0.write_all(&bytes).unwrap();
        assert!(client.closed(), "{bytes:?}");
    }
    let mut half = Client::new(&broker);
    half.0.write_all(&metadata[..9]).unwrap();
    half.0.shutdown(Shutdown::Write).unwrap();
    assert!(half.closed());
    assert!(bystander.ask::<MetadataRequest>(9, &MetadataRequest::default().with_topics(None)).is_some());
    assert_eq!(broker.offsets("t", 0), Some((0, 0)));
}

#[test]
fn every_flipped_byte_of_a_request_leaves_the_broker_standing() {
    let broker = broker();
    let good = frame(9, &produce(-1, batch(NOBODY, 0, &[b"x"])));
    for at in 4..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        let mut client = Client::new(&broker);
        client.0.write_all(&bad).unwrap();
        client.0.shutdown(Shutdown::Write).unwrap();
        let _ = client.0.read_to_end(&mut Vec::new());
    }
    assert_eq!(Client::new(&broker).produce(9, -1, batch(NOBODY, 0, &[b"x"])).map(|(code, _)| code), Some(0));
}

#[test]
fn newer_api_versions_is_answered_in_version_0_and_the_connection_lives() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let mut bytes = frame(3, &ApiVersionsRequest::default());
    bytes[7] = 9;
    client.0.write_all(&bytes).unwrap();
    let answer = client.receive().unwrap();
    assert_eq!(answer[..], [0, 0, 0, 5, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    for version in 0..=4 {
        let response = client.ask(version, &ApiVersionsRequest::default()).unwrap();
        assert!(response.api_keys.len() > 10, "v{version}");
    }
}

#[test]
fn scripted_errors_are_answered_before_or_after_the_work() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let send = |client: &mut Client, sequence| {
        client.produce(9, -1, batch(From { producer_id: 1, epoch: 0, sequence }, 0, &[b"x"]))
    };
    broker.script().push(Api::Produce, Fault::Error(6));
    broker.script().push(Api::Produce, Fault::ErrorAfter(7));
    assert_eq!(send(&mut client, 0), Some((6, -1)));
    assert_eq!(broker.offsets("t", 0), Some((0, 0)));
    assert_eq!(send(&mut client, 0), Some((7, 0)), "timed out, yet appended");
    assert_eq!(send(&mut client, 0), Some((0, 0)), "the repeat is known");
    assert_eq!(broker.offsets("t", 0), Some((0, 1)));
}

#[test]
fn scripted_cuts_close_before_or_within_the_answer() {
    let broker = broker();
    broker.script().push(Api::Produce, Fault::Cut);
    broker.script().push(Api::Produce, Fault::CutAnswer(6));
    let mut client = Client::new(&broker);
    assert_eq!(client.produce(9, -1, batch(NOBODY, 0, &[b"x"])), None);
    assert_eq!(broker.offsets("t", 0), Some((0, 0)));
    let mut client = Client::new(&broker);
    client.0.write_all(&frame(9, &produce(-1, batch(NOBODY, 0, &[b"x"])))).unwrap();
    let mut got = Vec::new();
    client.0.read_to_end(&mut got).unwrap();
    assert_eq!((got.len(), broker.offsets("t", 0)), (6, Some((0, 1))));
}

#[test]
fn unanswered_and_late_requests_keep_the_connection_and_its_order() {
    let broker = broker();
    broker.script().push(Api::Produce, Fault::NoAnswer);
    broker.script().push(Api::Metadata, Fault::Delay(Duration::from_millis(100)));
    let mut client = Client::new(&broker);
    client.0.write_all(&frame(9, &produce(-1, batch(NOBODY, 0, &[b"x"])))).unwrap();
    let asked = Instant::now();
    let response: MetadataResponse = client.ask(9, &MetadataRequest::default().with_topics(None)).unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(100) && response.topics.len() == 1);
    assert_eq!(broker.offsets("t", 0), Some((0, 1)));
}

#[test]
fn without_acks_there_is_no_answer_and_an_error_closes() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.0.write_all(&frame(9, &produce(0, batch(NOBODY, 0, &[b"x"])))).unwrap();
    assert!(client.ask::<MetadataRequest>(9, &MetadataRequest::default().with_topics(None)).is_some());
    assert_eq!(broker.offsets("t", 0), Some((0, 1)));
    client.0.write_all(&frame(9, &produce(0, vec![1, 2, 3]))).unwrap();
    assert!(client.closed());
}

#[test]
fn topics_come_into_being_only_where_both_sides_want_it() {
    let ask = |broker: &Broker, allow: bool| {
        let topic = MetadataRequestTopic::default().with_name(Some(name("new")));
        let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(allow);
        Client::new(broker).ask::<MetadataRequest>(12, &request).unwrap().topics[0].clone()
    };
    let broker = broker();
    assert_eq!(ask(&broker, false).error_code, 3);
    let made = ask(&broker, true);
    assert_eq!((made.error_code, made.partitions.len()), (0, 1));
    broker.delete_topic("new");
    assert_ne!(ask(&broker, true).topic_id, made.topic_id, "a topic made again has another id");
    let strict = Broker::start(Options { auto_create: false, ..Options::default() }).unwrap();
    assert_eq!(ask(&strict, true).error_code, 3);
}

#[test]
fn stopping_is_quick_with_a_fetch_under_way_and_frees_the_port() {
    let broker = broker();
    let addr = broker.addr();
    let mut client = Client::new(&broker);
    client.0.write_all(&frame(12, &fetch(0, 60_000))).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let asked = Instant::now();
    broker.stop();
    assert!(asked.elapsed() < Duration::from_secs(1));
    let again = Broker::start(Options { listen: addr, ..Options::default() }).unwrap();
    assert_eq!(again.addr(), addr);
}
