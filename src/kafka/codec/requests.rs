//! What a producer asks, apart from Produce. Each function returns one whole request, its size in front.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::api_versions_request::ApiVersionsRequest;
use kafka_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::sasl_authenticate_request::SaslAuthenticateRequest;
use kafka_protocol::messages::sasl_handshake_request::SaslHandshakeRequest;
use kafka_protocol::messages::{ProducerId, RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer};

/// API key of Produce.
pub const PRODUCE: i16 = 0;
/// API key of Metadata.
pub const METADATA: i16 = 3;
/// API key of SaslHandshake.
pub const SASL_HANDSHAKE: i16 = 17;
/// API key of ApiVersions.
pub const API_VERSIONS: i16 = 18;
/// API key of InitProducerId.
pub const INIT_PRODUCER_ID: i16 = 22;
/// API key of SaslAuthenticate.
pub const SASL_AUTHENTICATE: i16 = 36;

/// The newest ApiVersions that is asked first.
pub const API_VERSIONS_MAX: i16 = 4;
/// Metadata versions that `answers` reads.
pub const METADATA_RANGE: (i16, i16) = (1, 13);
/// InitProducerId versions that `answers` reads.
pub const INIT_PRODUCER_ID_RANGE: (i16, i16) = (0, 5);
/// SaslHandshake: with version 0 tokens would follow without Kafka's frames, brokers before 1.0.
pub const SASL_HANDSHAKE_RANGE: (i16, i16) = (1, 1);
/// SaslAuthenticate versions that `answers` reads.
pub const SASL_AUTHENTICATE_RANGE: (i16, i16) = (0, 2);

/// What stands in front of every request.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// `client.id`.
    pub client_id: &'a str,
    /// Comes back in the answer.
    pub correlation: i32,
}

/// ApiVersions (KIP-511 names the client from version 3 on).
pub fn api_versions(caller: Caller<'_>, version: i16) -> Vec<u8> {
    let mut request = ApiVersionsRequest::default();
    if version >= 3 {
        request = request
            .with_client_software_name(StrBytes::from_static_str("tollgate"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    }
    frame(caller, version, &request)
}

/// Metadata for these topics, which may be created by being asked for; without topics, for the brokers alone.
pub fn metadata(caller: Caller<'_>, version: i16, topics: &[&str]) -> Vec<u8> {
    let topics = topics
        .iter()
        .map(|name| {
            let name = TopicName(StrBytes::from_string((*name).to_owned()));
            MetadataRequestTopic::default().with_name(Some(name))
        })
        .collect();
    frame(caller, version, &MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(true))
}

/// InitProducerId for a producer without transactions.
pub fn init_producer_id(caller: Caller<'_>, version: i16) -> Vec<u8> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    frame(caller, version, &request)
}

/// SaslHandshake: the mechanism that is about to be used.
pub fn sasl_handshake(caller: Caller<'_>, version: i16, mechanism: &'static str) -> Vec<u8> {
    frame(caller, version, &SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism)))
}

/// SaslAuthenticate: one message of the mechanism's.
pub fn sasl_authenticate(caller: Caller<'_>, version: i16, message: Vec<u8>) -> Vec<u8> {
    frame(caller, version, &SaslAuthenticateRequest::default().with_auth_bytes(message.into()))
}

/// One whole request.
pub(super) fn frame<R: Request + Encodable + HeaderVersion>(caller: Caller<'_>, version: i16, request: &R) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(caller.correlation)
        .with_client_id(Some(StrBytes::from_string(caller.client_id.to_owned())));
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    // Encoding into memory fails only on a field that the version does not have; the tests go through every version.
    let encoded =
        encode_request_header_into_buffer(&mut bytes, &header).and_then(|()| request.encode(&mut bytes, version));
    debug_assert!(encoded.is_ok(), "{encoded:?}");
    let size = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes.into()
}
