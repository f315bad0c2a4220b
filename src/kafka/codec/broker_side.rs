//! The other end of the wire, for tests: reads what we ask with `kafka_protocol`, encodes what a broker answers, decodes batches.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use kafka_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use kafka_protocol::messages::sasl_authenticate_response::SaslAuthenticateResponse;
use kafka_protocol::messages::sasl_handshake_response::SaslHandshakeResponse;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, BrokerId, DescribeProducersRequest, FetchRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, ProduceRequest, ProducerId, RequestHeader, ResponseHeader,
    SaslAuthenticateRequest, SaslHandshakeRequest, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
pub use kafka_protocol::records::Record;
use kafka_protocol::records::{Compression, RecordBatchDecoder};

use super::answers::{ApiRange, Metadata, Produced};
use super::broker_log::{self, About};
use crate::kafka::compress::tests::expanded;

/// A request, as a broker sees it.
#[derive(Debug)]
pub struct Asked {
    pub version: i16,
    pub correlation: i32,
    pub client_id: String,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    ApiVersions,
    Metadata { topics: Vec<String> },
    InitProducerId,
    Produce(Produce),
    SaslHandshake { mechanism: String },
    SaslAuthenticate { token: Vec<u8> },
    DescribeProducers(About),
    ListOffsets(About),
    Fetch(About),
}

#[derive(Debug)]
pub struct Produce {
    pub acks: i16,
    pub timeout_ms: i32,
    pub topic: String,
    pub topic_id: [u8; 16],
    pub partition: i32,
    pub records: Bytes,
}

/// Reads one request, without its size.
pub fn read(frame: &[u8]) -> Asked {
    let key = i16::from_be_bytes([frame[0], frame[1]]);
    let version = i16::from_be_bytes([frame[2], frame[3]]);
    let api = ApiKey::try_from(key).expect("a known API");
    let mut bytes = Bytes::copy_from_slice(frame);
    let header = RequestHeader::decode(&mut bytes, api.request_header_version(version)).expect("header");
    let body = match api {
        ApiKey::ApiVersions => {
            ApiVersionsRequest::decode(&mut bytes, version).expect("ApiVersions");
            Body::ApiVersions
        }
        ApiKey::Metadata => {
            let request = MetadataRequest::decode(&mut bytes, version).expect("Metadata");
            assert!(request.allow_auto_topic_creation);
            let topics = request.topics.expect("never all topics");
            Body::Metadata {
                topics: topics.into_iter().map(|topic| topic.name.expect("by name").0.to_string()).collect(),
            }
        }
        ApiKey::InitProducerId => {
            let request = InitProducerIdRequest::decode(&mut bytes, version).expect("InitProducerId");
            assert_eq!(request.transactional_id, None);
            Body::InitProducerId
        }
        ApiKey::Produce => Body::Produce(produce(ProduceRequest::decode(&mut bytes, version).expect("Produce"))),
        ApiKey::SaslHandshake => {
            let request = SaslHandshakeRequest::decode(&mut bytes, version).expect("SaslHandshake");
            Body::SaslHandshake { mechanism: request.mechanism.to_string() }
        }
        ApiKey::SaslAuthenticate => {
            let request = SaslAuthenticateRequest::decode(&mut bytes, version).expect("SaslAuthenticate");
            Body::SaslAuthenticate { token: request.auth_bytes.to_vec() }
        }
        ApiKey::DescribeProducers => {
            let request = DescribeProducersRequest::decode(&mut bytes, version).expect("DescribeProducers");
            Body::DescribeProducers(broker_log::describe_producers(&request))
        }
        ApiKey::ListOffsets => {
            let request = ListOffsetsRequest::decode(&mut bytes, version).expect("ListOffsets");
            Body::ListOffsets(broker_log::list_offsets(&request))
        }
        ApiKey::Fetch => Body::Fetch(broker_log::fetch(&FetchRequest::decode(&mut bytes, version).expect("Fetch"))),
        other => panic!("asked for {other:?}"),
    };
    assert!(bytes.is_empty(), "{} bytes behind the request", bytes.len());
    let client_id = header.client_id.expect("client id").to_string();
    Asked { version, correlation: header.correlation_id, client_id, body }
}

fn produce(request: ProduceRequest) -> Produce {
    assert_eq!(request.transactional_id, None);
    let [topic] = &request.topic_data[..] else { panic!("one topic") };
    let [partition] = &topic.partition_data[..] else { panic!("one partition") };
    Produce {
        acks: request.acks,
        timeout_ms: request.timeout_ms,
        topic: topic.name.0.to_string(),
        topic_id: topic.topic_id.into_bytes(),
        partition: partition.index,
        records: partition.records.clone().expect("records"),
    }
}

pub(super) fn frame<R: Encodable + HeaderVersion>(correlation: i32, version: i16, response: &R) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut bytes, R::header_version(version)).expect("header");
    response.encode(&mut bytes, version).expect("response");
    let size = bytes.len() as u32 - 4;
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes.into()
}

fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn api_versions(correlation: i32, version: i16, error: i16, ranges: &[ApiRange]) -> Vec<u8> {
    let key = |range: &ApiRange| {
        ApiVersion::default().with_api_key(range.key).with_min_version(range.min).with_max_version(range.max)
    };
    let response =
        ApiVersionsResponse::default().with_error_code(error).with_api_keys(ranges.iter().map(key).collect());
    frame(correlation, version, &response)
}

pub fn metadata(correlation: i32, version: i16, answer: &Metadata) -> Vec<u8> {
    let broker = |node: &super::answers::Node| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node.id))
            .with_host(string(&node.host))
            .with_port(i32::from(node.port))
    };
    let partition = |one: &super::answers::PartitionMetadata| {
        MetadataResponsePartition::default()
            .with_error_code(one.error)
            .with_partition_index(one.index)
            .with_leader_id(BrokerId(one.leader))
            .with_leader_epoch(if version >= 7 { one.leader_epoch } else { -1 })
            .with_replica_nodes(vec![BrokerId(1), BrokerId(2)])
            .with_isr_nodes(vec![BrokerId(1)])
    };
    let topic = |one: &super::answers::TopicMetadata| {
        let id = if version >= 10 { one.id } else { [0; 16] };
        MetadataResponseTopic::default()
            .with_error_code(one.error)
            .with_name(Some(TopicName(string(&one.name))))
            .with_topic_id(id.to_vec().try_into().expect("16 bytes"))
            .with_partitions(one.partitions.iter().map(partition).collect())
    };
    let mut response = MetadataResponse::default()
        .with_brokers(answer.nodes.iter().map(broker).collect())
        .with_topics(answer.topics.iter().map(topic).collect());
    if version >= 2 {
        response = response.with_cluster_id(answer.cluster_id.as_deref().map(string));
    }
    if version >= 3 {
        response = response.with_throttle_time_ms(answer.throttle_ms);
    }
    frame(correlation, version, &response)
}

pub fn producer_id(correlation: i32, version: i16, answer: &super::answers::ProducerId) -> Vec<u8> {
    let response = InitProducerIdResponse::default()
        .with_error_code(answer.error)
        .with_producer_id(ProducerId(answer.id))
        .with_producer_epoch(answer.epoch)
        .with_throttle_time_ms(answer.throttle_ms);
    frame(correlation, version, &response)
}

pub fn sasl_handshake(correlation: i32, version: i16, answer: &super::answers::SaslHandshake) -> Vec<u8> {
    let mechanisms = answer.mechanisms.iter().map(|name| string(name)).collect();
    let response = SaslHandshakeResponse::default().with_error_code(answer.error).with_mechanisms(mechanisms);
    frame(correlation, version, &response)
}

pub fn sasl_authenticated(correlation: i32, version: i16, answer: &super::answers::SaslAuthenticated) -> Vec<u8> {
    let mut response = SaslAuthenticateResponse::default()
        .with_error_code(answer.error)
        .with_error_message(answer.message.as_deref().map(string))
        .with_auth_bytes(answer.token.clone().into());
    if version >= 1 {
        response = response.with_session_lifetime_ms(answer.session_lifetime_ms);
    }
    frame(correlation, version, &response)
}

pub fn produced(correlation: i32, version: i16, topic: (&str, [u8; 16]), answer: &Produced) -> Vec<u8> {
    let mut partition = PartitionProduceResponse::default()
        .with_index(answer.partition)
        .with_error_code(answer.error)
        .with_base_offset(answer.base_offset);
    if version >= 8 {
        partition = partition.with_error_message(answer.message.as_deref().map(string));
        if answer.message.is_some() {
            let record = BatchIndexAndErrorMessage::default()
                .with_batch_index(3)
                .with_batch_index_error_message(Some(string("of the record")));
            partition = partition.with_record_errors(vec![record]);
        }
    }
    if let (Some((id, epoch)), true) = (answer.leader, version >= 10) {
        partition = partition
            .with_current_leader(LeaderIdAndEpoch::default().with_leader_id(BrokerId(id)).with_leader_epoch(epoch));
    }
    let mut of_topic = TopicProduceResponse::default().with_partition_responses(vec![partition]);
    if version >= 13 {
        of_topic = of_topic.with_topic_id(topic.1.to_vec().try_into().expect("16 bytes"));
    } else {
        of_topic = of_topic.with_name(TopicName(string(topic.0)));
    }
    let mut response =
        ProduceResponse::default().with_responses(vec![of_topic]).with_throttle_time_ms(answer.throttle_ms);
    if version >= 10 {
        let node = |node: &super::answers::Node| {
            NodeEndpoint::default()
                .with_node_id(BrokerId(node.id))
                .with_host(string(&node.host))
                .with_port(i32::from(node.port))
        };
        response = response.with_node_endpoints(answer.nodes.iter().map(node).collect());
    }
    frame(correlation, version, &response)
}

/// The records of exactly one batch, CRC checked by the crate.
pub fn records(batch: &[u8]) -> Vec<Record> {
    let mut bytes = Bytes::copy_from_slice(batch);
    let expand = |bytes: &mut Bytes, codec: Compression| {
        let attributes = match codec {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        };
        let out = Bytes::from(expanded(attributes, bytes));
        bytes.clear();
        Ok(out)
    };
    let set = RecordBatchDecoder::decode_with_custom_compression(&mut bytes, Some(expand)).expect("a batch");
    assert!(bytes.is_empty(), "one batch and nothing behind it");
    set.records
}
