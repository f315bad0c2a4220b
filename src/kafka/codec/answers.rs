//! What brokers answer to a producer: ApiVersions 0–4, Metadata 1–13, InitProducerId 0–5, Produce 3–13, SaslHandshake 0–1,
//! SaslAuthenticate 0–2.
//!
//! Decoded by hand, not by `kafka_protocol`: its decoder reserves memory for as many elements as the peer's bytes claim before it
//! reads one, so that a wrong length ends the process. Here a length is checked against the bytes that are left. The tests encode
//! with the crate, in every version, and compare.

use super::wire::Reader;

/// First versions whose bodies are flexible (KIP-482).
const API_VERSIONS_FLEXIBLE: i16 = 3;
const METADATA_FLEXIBLE: i16 = 9;
const INIT_PRODUCER_ID_FLEXIBLE: i16 = 2;
const PRODUCE_FLEXIBLE: i16 = 9;
const SASL_AUTHENTICATE_FLEXIBLE: i16 = 2;

/// The versions of one API that a broker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiRange {
    /// API key.
    pub key: i16,
    /// Oldest.
    pub min: i16,
    /// Newest.
    pub max: i16,
}

/// ApiVersions (key 18).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiVersions {
    /// 0, or 35: the answer is in version 0 and lists what to use (KIP-511).
    pub error: i16,
    /// What the broker takes.
    pub ranges: Vec<ApiRange>,
    /// How long to be silent (KIP-219).
    pub throttle_ms: i32,
}

/// A broker, as Metadata and leader hints name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Node id.
    pub id: i32,
    /// Its advertised listener.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A partition in Metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// 0, or 5: no leader now, …
    pub error: i16,
    /// Its number.
    pub index: i32,
    /// Node id; -1: none.
    pub leader: i32,
    /// Grows with every election; -1 before version 7.
    pub leader_epoch: i32,
}

/// A topic in Metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicMetadata {
    /// 0, 3, 5, 17, 29, …
    pub error: i16,
    /// Its name.
    pub name: String,
    /// All zero before version 10.
    pub id: [u8; 16],
    /// In no particular order.
    pub partitions: Vec<PartitionMetadata>,
}

/// Metadata (key 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// How long to be silent (KIP-219).
    pub throttle_ms: i32,
    /// The cluster's id; None before version 2.
    pub cluster_id: Option<String>,
    /// Every live broker.
    pub nodes: Vec<Node>,
    /// The topics that were asked for.
    pub topics: Vec<TopicMetadata>,
}

/// InitProducerId (key 22).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerId {
    /// How long to be silent (KIP-219).
    pub throttle_ms: i32,
    /// 0, 14, 31, …
    pub error: i16,
    /// The id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

/// SaslHandshake (key 17).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaslHandshake {
    /// 0; 33: not this mechanism; 34: no SASL here.
    pub error: i16,
    /// What the broker takes.
    pub mechanisms: Vec<String>,
}

/// SaslAuthenticate (key 36).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaslAuthenticated {
    /// 0; 58: refused.
    pub error: i16,
    /// The broker's words, if it has any.
    pub message: Option<String>,
    /// The mechanism's message.
    pub token: Vec<u8>,
    /// Milliseconds after which the connection must be authenticated again (KIP-368); 0: never.
    pub session_lifetime_ms: i64,
}

/// Produce (key 0), for the one partition that a request of ours carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Produced {
    /// How long to be silent (KIP-219).
    pub throttle_ms: i32,
    /// Which partition.
    pub partition: i32,
    /// 0, or why not.
    pub error: i16,
    /// Offset of the first record; -1 if it is not known.
    pub base_offset: i64,
    /// The broker's words, if it has any.
    pub message: Option<String>,
    /// Who leads now (KIP-951): node id and epoch.
    pub leader: Option<(i32, i32)>,
    /// Where that one is.
    pub nodes: Vec<Node>,
}

/// Reads ApiVersions. Its response header is never flexible (KIP-511). None: not that message.
pub fn api_versions(body: &[u8], version: i16) -> Option<ApiVersions> {
    let error = Reader::new(body, false).int16()?;
    // 35 UNSUPPORTED_VERSION is always answered in version 0.
    let version = if error == 35 { 0 } else { version };
    let mut reader = Reader::new(body, version >= API_VERSIONS_FLEXIBLE);
    let mut answer = ApiVersions { error: reader.int16()?, ..ApiVersions::default() };
    for _ in 0..reader.count()? {
        answer.ranges.push(ApiRange { key: reader.int16()?, min: reader.int16()?, max: reader.int16()? });
        reader.skip_tags()?;
    }
    if version >= 1 {
        answer.throttle_ms = reader.int32()?;
    }
    Some(answer)
}

/// Reads Metadata from behind the correlation id. None: not that message.
pub fn metadata(body: &[u8], version: i16) -> Option<Metadata> {
    let mut reader = Reader::new(body, version >= METADATA_FLEXIBLE);
    reader.skip_tags()?; // response header
    let mut answer = Metadata::default();
    if version >= 3 {
        answer.throttle_ms = reader.int32()?;
    }
    for _ in 0..reader.count()? {
        answer.nodes.push(node(&mut reader)?);
    }
    if version >= 2 {
        answer.cluster_id = reader.nullable_string()?.map(str::to_owned);
    }
    reader.int32()?; // controller
    for _ in 0..reader.count()? {
        answer.topics.push(topic_metadata(&mut reader, version)?);
    }
    Some(answer)
}

fn node(reader: &mut Reader<'_>) -> Option<Node> {
    let (id, host) = (reader.int32()?, reader.string()?.to_owned());
    let port = u16::try_from(reader.int32()?).ok()?;
    reader.nullable_string()?; // rack
    reader.skip_tags()?;
    Some(Node { id, host, port })
}

fn topic_metadata(reader: &mut Reader<'_>, version: i16) -> Option<TopicMetadata> {
    let mut topic =
        TopicMetadata { error: reader.int16()?, name: reader.string()?.to_owned(), ..TopicMetadata::default() };
    if version >= 10 {
        topic.id = reader.uuid()?;
    }
    reader.int8()?; // is internal
    for _ in 0..reader.count()? {
        let mut partition = PartitionMetadata {
            error: reader.int16()?,
            index: reader.int32()?,
            leader: reader.int32()?,
            leader_epoch: -1,
        };
        if version >= 7 {
            partition.leader_epoch = reader.int32()?;
        }
        reader.skip_int32s()?; // replicas
        reader.skip_int32s()?; // in sync
        if version >= 5 {
            reader.skip_int32s()?; // offline
        }
        reader.skip_tags()?;
        topic.partitions.push(partition);
    }
    if version >= 8 {
        reader.int32()?; // authorized operations
    }
    reader.skip_tags()?;
    Some(topic)
}

/// Reads InitProducerId from behind the correlation id. None: not that message.
pub fn producer_id(body: &[u8], version: i16) -> Option<ProducerId> {
    let mut reader = Reader::new(body, version >= INIT_PRODUCER_ID_FLEXIBLE);
    reader.skip_tags()?; // response header
    Some(ProducerId {
        throttle_ms: reader.int32()?,
        error: reader.int16()?,
        id: reader.int64()?,
        epoch: reader.int16()?,
    })
}

/// Reads SaslHandshake from behind the correlation id. None: not that message.
pub fn sasl_handshake(body: &[u8]) -> Option<SaslHandshake> {
    let mut reader = Reader::new(body, false);
    let mut answer = SaslHandshake { error: reader.int16()?, ..SaslHandshake::default() };
    for _ in 0..reader.count()? {
        answer.mechanisms.push(reader.string()?.to_owned());
    }
    Some(answer)
}

/// Reads SaslAuthenticate from behind the correlation id. None: not that message.
pub fn sasl_authenticated(body: &[u8], version: i16) -> Option<SaslAuthenticated> {
    let mut reader = Reader::new(body, version >= SASL_AUTHENTICATE_FLEXIBLE);
    reader.skip_tags()?; // response header
    Some(SaslAuthenticated {
        error: reader.int16()?,
        message: reader.nullable_string()?.map(str::to_owned),
        token: reader.blob()?.to_vec(),
        session_lifetime_ms: if version >= 1 { reader.int64()? } else { 0 },
    })
}

/// Reads Produce from behind the correlation id. None: not that message, or not about exactly one partition.
pub fn produced(body: &[u8], version: i16) -> Option<Produced> {
    let mut reader = Reader::new(body, version >= PRODUCE_FLEXIBLE);
    reader.skip_tags()?; // response header
    if reader.count()? != 1 {
        return None;
    }
    if version >= 13 {
        reader.uuid()?;
    } else {
        reader.string()?;
    }
    if reader.count()? != 1 {
        return None;
    }
    let mut answer = partition_produced(&mut reader, version)?;
    reader.skip_tags()?; // topic
    answer.throttle_ms = reader.int32()?;
    reader.tags(|tag, mut field| {
        if tag == 0 {
            for _ in 0..field.count()? {
                answer.nodes.push(node(&mut field)?);
            }
        }
        Some(())
    })?;
    Some(answer)
}

fn partition_produced(reader: &mut Reader<'_>, version: i16) -> Option<Produced> {
    let mut answer = Produced {
        partition: reader.int32()?,
        error: reader.int16()?,
        base_offset: reader.int64()?,
        ..Produced::default()
    };
    reader.int64()?; // log append time
    if version >= 5 {
        reader.int64()?; // log start offset
    }
    if version >= 8 {
        for _ in 0..reader.count()? {
            reader.int32()?; // which record
            let text = reader.nullable_string()?;
            reader.skip_tags()?;
            answer.message = answer.message.or_else(|| text.map(str::to_owned));
        }
        let text = reader.nullable_string()?;
        answer.message = text.map(str::to_owned).or(answer.message);
    }
    reader.tags(|tag, mut field| {
        if tag == 0 {
            answer.leader = Some((field.int32()?, field.int32()?)).filter(|(id, epoch)| *id >= 0 && *epoch >= 0);
        }
        Some(())
    })?;
    Some(answer)
}
