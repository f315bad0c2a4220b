use super::answers::{
    self, ApiRange, Metadata, Node, PartitionMetadata, Produced, ProducerId, SaslAuthenticated, SaslHandshake,
    TopicMetadata,
};
use super::broker_log::{self, About};
use super::broker_side::{self, Body};
use super::producers::{self, ProducerState};
use super::requests::{self, Caller};

const CALLER: Caller<'static> = Caller { client_id: "core-1", correlation: 77 };

fn asked(request: &[u8]) -> broker_side::Asked {
    assert_eq!(u32::from_be_bytes(request[..4].try_into().expect("size")) as usize, request.len() - 4);
    let asked = broker_side::read(&request[4..]);
    assert_eq!((asked.correlation, asked.client_id.as_str()), (77, "core-1"));
    asked
}

fn body(answer: &[u8]) -> &[u8] {
    assert_eq!(answer[4..8], 77i32.to_be_bytes());
    &answer[8..]
}

#[test]
fn a_broker_reads_every_version_of_every_request() {
    for version in 0..=requests::API_VERSIONS_MAX {
        assert!(matches!(asked(&requests::api_versions(CALLER, version)).body, Body::ApiVersions));
    }
    for version in requests::METADATA_RANGE.0..=requests::METADATA_RANGE.1 {
        let asked = asked(&requests::metadata(CALLER, version, &["a", "b"]));
        let Body::Metadata { topics } = asked.body else { panic!("{asked:?}") };
        assert_eq!((topics, asked.version), (vec!["a".to_owned(), "b".to_owned()], version));
    }
    for version in requests::INIT_PRODUCER_ID_RANGE.0..=requests::INIT_PRODUCER_ID_RANGE.1 {
        assert!(matches!(asked(&requests::init_producer_id(CALLER, version)).body, Body::InitProducerId));
    }
}

#[test]
fn every_version_of_every_answer_is_read() {
    let ranges = [ApiRange { key: 0, min: 3, max: 13 }, ApiRange { key: 18, min: 0, max: 4 }];
    for version in 0..=4 {
        let answer = broker_side::api_versions(77, version, 0, &ranges);
        assert_eq!(answers::api_versions(body(&answer), version).expect("read").ranges, ranges, "{version}");
    }
    for version in 0..=5 {
        let expected = ProducerId { throttle_ms: 5, error: 0, id: 1 << 40, epoch: 3 };
        let answer = broker_side::producer_id(77, version, &expected);
        assert_eq!(answers::producer_id(body(&answer), version), Some(expected), "{version}");
    }
    for version in 1..=13 {
        let mut expected = some_metadata();
        let answer = broker_side::metadata(77, version, &expected);
        expected.throttle_ms = if version >= 3 { 9 } else { 0 };
        if version < 2 {
            expected.cluster_id = None;
        }
        if version < 10 {
            expected.topics[0].id = [0; 16];
        }
        if version < 7 {
            expected.topics[0].partitions.iter_mut().for_each(|partition| partition.leader_epoch = -1);
        }
        assert_eq!(answers::metadata(body(&answer), version), Some(expected), "{version}");
    }
}

#[test]
fn every_version_of_a_produce_answer_is_read_with_leader_hints_from_10_on() {
    for version in 3..=13 {
        for message in [None, Some("why".to_owned())] {
            let mut expected = Produced {
                throttle_ms: 100,
                partition: 7,
                error: 6,
                base_offset: 99,
                message,
                leader: Some((2, 5)),
                nodes: vec![Node { id: 2, host: "b2".to_owned(), port: 9092 }],
            };
            let answer = broker_side::produced(77, version, ("topic", [9; 16]), &expected);
            if version < 8 {
                expected.message = None;
            }
            if version < 10 {
                (expected.leader, expected.nodes) = (None, Vec::new());
            }
            assert_eq!(answers::produced(body(&answer), version), Some(expected), "{version}");
        }
    }
}

#[test]
fn every_version_of_the_sasl_messages_is_written_and_read() {
    for version in 0..=1 {
        let asked = asked(&requests::sasl_handshake(CALLER, version, "PLAIN"));
        assert!(matches!(asked.body, Body::SaslHandshake { mechanism } if mechanism == "PLAIN"));
        let expected = SaslHandshake { error: 33, mechanisms: vec!["PLAIN".to_owned(), "SCRAM-SHA-256".to_owned()] };
        let answer = broker_side::sasl_handshake(77, version, &expected);
        assert_eq!(answers::sasl_handshake(body(&answer)), Some(expected));
    }
    for version in requests::SASL_AUTHENTICATE_RANGE.0..=requests::SASL_AUTHENTICATE_RANGE.1 {
        let asked = asked(&requests::sasl_authenticate(CALLER, version, b"\0a\0b".to_vec()));
        assert!(matches!(asked.body, Body::SaslAuthenticate { token } if token == b"\0a\0b"));
        for message in [None, Some("no".to_owned())] {
            let session_lifetime_ms = if version >= 1 { 1 << 33 } else { 0 };
            let expected = SaslAuthenticated { error: 58, message, token: b"t".to_vec(), session_lifetime_ms };
            let answer = broker_side::sasl_authenticated(77, version, &expected);
            assert_eq!(answers::sasl_authenticated(body(&answer), version), Some(expected), "{version}");
            for at in 0..body(&answer).len() {
                answers::sasl_authenticated(&body(&answer)[..at], version);
            }
        }
    }
}

#[test]
fn unsupported_version_is_read_in_version_0_whatever_was_asked() {
    let ranges = [ApiRange { key: 18, min: 0, max: 3 }];
    let answer = broker_side::api_versions(77, 0, 35, &ranges);
    let read = answers::api_versions(body(&answer), 4).expect("read");
    assert_eq!((read.error, read.ranges), (35, ranges.to_vec()));
}

#[test]
fn answers_cut_anywhere_or_with_any_byte_changed_do_not_panic() {
    let produced = Produced { message: Some("m".to_owned()), leader: Some((1, 1)), ..Produced::default() };
    for version in [1, 9, 13] {
        let metadata = broker_side::metadata(77, version, &some_metadata());
        let produce = broker_side::produced(77, version.max(3), ("t", [1; 16]), &produced);
        for (answer, is_metadata) in [(&metadata, true), (&produce, false)] {
            let read = |bytes: &[u8]| {
                if is_metadata {
                    answers::metadata(bytes, version).is_some()
                } else {
                    answers::produced(bytes, version.max(3)).is_some()
                }
            };
            let whole = body(answer);
            assert!(read(whole));
            for at in 0..whole.len() {
                read(&whole[..at]);
                for value in [0, 0x7f, 0x80, 0xff] {
                    let mut bytes = whole.to_vec();
                    bytes[at] = value;
                    read(&bytes);
                }
            }
        }
    }
}

fn some_metadata() -> Metadata {
    let partition = |index, leader| PartitionMetadata { error: 0, index, leader, leader_epoch: 4 };
    Metadata {
        throttle_ms: 9,
        cluster_id: Some("MkU3OEVBNTcwNTJENDM2Qg".to_owned()),
        nodes: vec![
            Node { id: 1, host: "broker-1".to_owned(), port: 9092 },
            Node { id: 2, host: "::1".to_owned(), port: 65535 },
        ],
        topics: vec![TopicMetadata {
            error: 0,
            name: "topic".to_owned(),
            id: *b"0123456789abcdef",
            partitions: vec![partition(0, 1), partition(1, -1)],
        }],
    }
}

#[test]
fn describe_producers_is_asked_and_read_and_a_cut_or_wild_answer_is_none() {
    let about = About { topic: "t".to_owned(), partition: 3, at: 0 };
    let question = asked(&producers::describe_producers(CALLER, 0, "t", 3));
    assert!(matches!(question.body, Body::DescribeProducers(it) if it == about));
    let states = [(5, 0, 9), (6, 2, -1), (7, 1, i32::MAX)];
    let states = states.map(|(producer_id, epoch, last_sequence)| ProducerState { producer_id, epoch, last_sequence });
    let answer = broker_log::producers((77, 5), &about, 0, &states);
    let read = producers::producers(body(&answer), 3, &[7, 5, 99]).expect("read");
    assert_eq!((read.throttle_ms, read.error, read.states), (5, 0, vec![states[0], states[2]]));
    assert_eq!(producers::producers(body(&answer), 2, &[7]), None, "another partition");
    let whole = body(&answer);
    for at in 0..whole.len() {
        assert_eq!(producers::producers(&whole[..at], 3, &[7]), None, "cut at {at}");
        let mut wild = whole.to_vec();
        wild[at] = 0xff;
        let _ = producers::producers(&wild, 3, &[7]);
    }
    let denied = producers::producers(body(&broker_log::producers((77, 5), &about, 29, &[])), 3, &[7]);
    assert_eq!(denied.map(|it| (it.error, it.states)), Some((29, Vec::new())));
}
