//! Several nodes over one state: leaders that move, nodes that go and come, producers that are forgotten, topics that are made again.

mod client;

use client::{Client, name};
use devbroker::batch::make::{From, batch};
use devbroker::{Active, Api, Broker, Fault, Options, ProducerState};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    DescribeProducersRequest, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn cluster(nodes: u16) -> Broker {
    let broker = Broker::start(Options { nodes, journal: 100, ..Options::default() }).unwrap();
    broker.create_topic("t", 3).unwrap();
    broker
}

fn numbered(sequence: i32) -> Vec<u8> {
    batch(From { producer_id: 7, epoch: 0, sequence }, 70, &[b"x"])
}

fn metadata(client: &mut Client) -> MetadataResponse {
    client.ask(12, &MetadataRequest::default().with_topics(None)).unwrap()
}

/// Leader and epoch per partition, by the node that is asked.
fn leaders(client: &mut Client) -> Vec<(i16, i32, i32)> {
    let found = metadata(client);
    found.topics[0].partitions.iter().map(|p| (p.error_code, p.leader_id.0, p.leader_epoch)).collect()
}

fn sent(client: &mut Client, version: i16, request: &ProduceRequest) -> (PartitionProduceResponse, ProduceResponse) {
    let response = client.ask(version, request).unwrap();
    (response.responses[0].partition_responses[0].clone(), response)
}

#[test]
fn every_node_names_all_and_each_answers_for_what_it_leads() {
    let broker = cluster(3);
    for (addr, node) in broker.addrs().iter().zip(1..) {
        let mut client = Client::to(*addr);
        let known = metadata(&mut client);
        let ports: Vec<_> = known.brokers.iter().map(|b| (b.node_id.0, b.port)).collect();
        let expected: Vec<_> = broker.addrs().iter().zip(1..).map(|(a, id)| (id, i32::from(a.port()))).collect();
        assert_eq!(ports, expected);
        assert_eq!(leaders(&mut client), [(0, 1, 0), (0, 2, 0), (0, 3, 0)]);
        let code = client.produce(9, -1, numbered(0)).map(|(code, _)| code);
        assert_eq!(code, Some(if node == 1 { 0 } else { 6 }), "partition 0 is led by node 1");
    }
}

#[test]
fn wrong_node_names_the_leader_from_version_10_on_unless_told_not_to() {
    let broker = cluster(2);
    let mut client = Client::new(&broker);
    assert!(broker.move_leader("t", 0, 2) && !broker.move_leader("t", 9, 2));
    let request = client::produce(-1, numbered(0));
    for version in [9, 10, 12] {
        let (part, response) = sent(&mut client, version, &request);
        let hint = (part.current_leader.leader_id.0, part.current_leader.leader_epoch);
        let nodes: Vec<_> = response.node_endpoints.iter().map(|n| (n.node_id.0, n.port)).collect();
        assert_eq!(part.error_code, 6);
        if version < 10 {
            assert_eq!((hint, nodes.len()), ((-1, -1), 0));
        } else {
            assert_eq!((hint, nodes), ((2, 1), vec![(2, i32::from(broker.addrs()[1].port()))]));
        }
    }
    broker.set_leader_hints(false);
    let (part, response) = sent(&mut client, 12, &request);
    assert_eq!((part.error_code, part.current_leader.leader_id.0, response.node_endpoints.len()), (6, -1, 0));
    assert_eq!(Client::to(broker.addrs()[1]).produce(12, -1, numbered(0)), Some((0, 0)));
}

#[test]
fn node_that_is_down_refuses_and_is_not_named_and_comes_back_with_its_log() {
    let broker = cluster(2);
    let mut on_two = Client::to(broker.addrs()[1]);
    assert_eq!(on_two.produce(9, -1, numbered(0)).map(|(code, _)| code), Some(6));
    broker.set_down(2);
    assert!(on_two.closed() && TcpStream::connect(broker.addrs()[1]).is_err());
    let mut on_one = Client::new(&broker);
    assert_eq!(metadata(&mut on_one).brokers.len(), 1);
    assert_eq!(leaders(&mut on_one), [(0, 1, 0), (5, -1, 0), (0, 1, 0)], "no leader without an endpoint");
    broker.set_up(2).unwrap();
    assert_eq!(leaders(&mut Client::to(broker.addrs()[1]))[1], (0, 2, 0));
    broker.move_leader("t", 1, -1);
    assert_eq!(leaders(&mut on_one)[1], (5, -1, 1));
}

#[test]
fn frozen_node_takes_requests_and_answers_them_when_it_goes_on() {
    let broker = cluster(1);
    let mut client = Client::new(&broker);
    assert!(!metadata(&mut client).topics.is_empty());
    broker.set_frozen(1, true);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| client.produce(9, -1, numbered(0)));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(broker.offsets("t", 0), Some((0, 0)));
        broker.set_frozen(1, false);
        assert_eq!(answer.join().unwrap(), Some((0, 0)));
    });
    assert!(begin.elapsed() >= Duration::from_millis(100));
}

#[test]
fn restarts_keep_the_log_and_what_they_are_told_of_producers() {
    let broker = cluster(2);
    let produce = |sequence| Client::new(&broker).produce(9, -1, numbered(sequence)).unwrap();
    for sequence in 0..3 {
        assert_eq!(produce(sequence), (0, i64::from(sequence)));
    }
    broker.restart(ProducerState::All).unwrap();
    assert_eq!(produce(1), (0, 1), "a repeat");
    broker.restart(ProducerState::LastBatch).unwrap();
    assert_eq!((produce(1), produce(2)), ((45, -1), (0, 2)));
    broker.expire_producers();
    assert_eq!(produce(1), (0, 3), "an unknown producer may start anywhere");
    let log: Vec<_> = broker.appended("t", 0).iter().map(|b| (b.base_offset, b.base_sequence)).collect();
    assert_eq!(log, [(0, 0), (1, 1), (2, 2), (3, 1)]);
}

#[test]
fn describe_producers_shows_the_state_and_may_be_refused_or_missing() {
    let broker = cluster(2);
    let mut client = Client::new(&broker);
    for sequence in 0..7 {
        client.produce(9, -1, numbered(sequence)).unwrap();
    }
    let topic = TopicRequest::default().with_name(name("t")).with_partition_indexes(vec![0, 1, 9]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let response = client.ask(0, &request).unwrap();
    let parts = &response.topics[0].partitions;
    assert_eq!(parts.iter().map(|p| p.error_code).collect::<Vec<_>>(), [0, 6, 3]);
    let one = &parts[0].active_producers[0];
    let told = (one.producer_id.0, one.producer_epoch, one.last_sequence, one.last_timestamp);
    assert_eq!((told, parts[0].active_producers.len()), ((7, 0, 6, 70), 1));
    let known = Active { producer_id: 7, epoch: 0, last_sequence: 6, last_timestamp_ms: 70 };
    assert_eq!(broker.producers("t", 0), [known]);
    broker.script().push(Api::DescribeProducers, Fault::Error(29));
    assert_eq!(client.ask(0, &request).unwrap().topics[0].partitions[0].error_code, 29);
    broker.cap_version(Api::DescribeProducers, -1);
    assert!(client.ask(0, &request).is_none(), "an unknown request closes the connection");
}

#[test]
fn topics_are_named_by_id_in_version_13_and_one_made_again_has_another() {
    let options = Options { topic_ids: true, ..Options::default() };
    let broker = Broker::start(options).unwrap();
    broker.create_topic("t", 1).unwrap();
    let mut client = Client::new(&broker);
    let by_id = |id| {
        let part = PartitionProduceData::default().with_records(Some(numbered(0).into()));
        let topic = TopicProduceData::default().with_topic_id(id).with_partition_data(vec![part]);
        client::produce(-1, Vec::new()).with_topic_data(vec![topic])
    };
    let first = metadata(&mut client).topics[0].topic_id;
    assert_eq!(sent(&mut client, 13, &by_id(first)).0.error_code, 0);
    assert_eq!(broker.offsets("t", 0), Some((0, 1)));
    assert!(broker.delete_topic("t"));
    broker.create_topic("t", 1).unwrap();
    assert_eq!(sent(&mut client, 13, &by_id(first)).0.error_code, 100);
    let second = metadata(&mut client).topics[0].topic_id;
    let (part, response) = sent(&mut client, 13, &by_id(second));
    assert_eq!((part.error_code, response.responses[0].topic_id), (0, second));
    assert_ne!(first, second);
}
