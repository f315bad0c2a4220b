//! A client that speaks what the kafka-protocol crate encodes.
#![allow(dead_code, reason = "each test binary uses its own part")]

use bytes::{BufMut, Bytes, BytesMut};
use devbroker::Broker;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub struct Client(pub TcpStream);

pub fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.to_owned()))
}

pub fn frame<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(5)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    header.encode(&mut bytes, R::header_version(version)).unwrap();
    request.encode(&mut bytes, version).unwrap();
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes.to_vec()
}

impl Client {
    pub fn new(broker: &Broker) -> Self {
        Self::to(broker.addr())
    }

    pub fn to(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self(stream)
    }

    pub fn receive(&mut self) -> Option<Bytes> {
        let mut head = [0; 4];
        self.0.read_exact(&mut head).ok()?;
        let mut body = vec![0; u32::from_be_bytes(head) as usize];
        self.0.read_exact(&mut body).ok()?;
        Some(body.into())
    }

    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        self.0.write_all(&frame(version, request)).unwrap();
        let mut answer = self.receive()?;
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, 5);
        let response = R::Response::decode(&mut answer, version).unwrap();
        assert!(answer.is_empty(), "bytes behind the answer");
        Some(response)
    }

    pub fn produce(&mut self, version: i16, acks: i16, records: Vec<u8>) -> Option<(i16, i64)> {
        let response: ProduceResponse = self.ask(version, &produce(acks, records))?;
        let part = &response.responses[0].partition_responses[0];
        Some((part.error_code, part.base_offset))
    }

    pub fn closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0)) || self.0.peer_addr().is_err()
    }
}

pub fn produce(acks: i16, records: Vec<u8>) -> ProduceRequest {
    let part = PartitionProduceData::default().with_index(0).with_records(Some(records.into()));
    let topic = TopicProduceData::default().with_name(name("t")).with_partition_data(vec![part]);
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(acks)
        .with_timeout_ms(1_000)
        .with_topic_data(vec![topic])
}
