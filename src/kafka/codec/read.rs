//! The messages of a reader: Metadata, ListOffsets, Fetch, DescribeLogDirs (ApiVersions is shared with the producer). Versions end at
//! those that name topics (Fetch ≤ 12), and are negotiated per connection. Answers are decoded as in [`super::answers`], and for the same reason.

use super::answers::{ApiRange, Node};
use super::requests::{Caller, METADATA, frame};
use super::wire::Reader;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, DescribeLogDirsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

/// One request kind of a reader, with the versions that this file writes and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    key: i16,
    min: i16,
    max: i16,
    /// First version with compact lengths and tagged fields (KIP-482).
    flexible_from: i16,
    /// Its name, for messages.
    pub name: &'static str,
}

/// Metadata; 4 is the first that need not create what it names.
pub const METADATA_KIND: Kind = Kind { key: METADATA, min: 4, max: 12, flexible_from: 9, name: "Metadata" };
/// ListOffsets; 1 is the first with one offset per partition.
pub const LIST_OFFSETS_KIND: Kind = Kind { key: 2, min: 1, max: 7, flexible_from: 6, name: "ListOffsets" };
/// Fetch; 4 is the first with record batches v2, 12 the last that names topics.
pub const FETCH_KIND: Kind = Kind { key: 1, min: 4, max: 12, flexible_from: 12, name: "Fetch" };
/// DescribeLogDirs.
pub const LOG_DIRS_KIND: Kind = Kind { key: 35, min: 1, max: 4, flexible_from: 2, name: "DescribeLogDirs" };

impl Kind {
    /// The newest version that both sides know.
    pub fn negotiate(&self, broker: &[ApiRange]) -> Option<i16> {
        let theirs = broker.iter().find(|range| range.key == self.key)?;
        let version = self.max.min(theirs.max);
        (version >= self.min.max(theirs.min)).then_some(version)
    }

    /// True if the broker answers this at all, in whatever version.
    pub fn is_served(&self, broker: &[ApiRange]) -> bool {
        broker.iter().any(|range| range.key == self.key)
    }

    /// How long an answer asks to be silent (KIP-219), in milliseconds.
    pub fn throttle_ms(&self, version: i16, bytes: &[u8]) -> i32 {
        if *self == LIST_OFFSETS_KIND && version < 2 {
            return 0;
        }
        self.body(version, bytes).and_then(|mut reader| reader.int32()).unwrap_or(0)
    }

    /// A reader at the answer's body, the response header's tagged fields behind it.
    fn body<'a>(&self, version: i16, bytes: &'a [u8]) -> Option<Reader<'a>> {
        let mut reader = Reader::new(bytes, version >= self.flexible_from);
        reader.skip_tags()?;
        Some(reader)
    }
}

/// ListOffsets: one past the newest record.
pub const LATEST: i64 = -1;
/// ListOffsets: the oldest record.
pub const EARLIEST: i64 = -2;

/// A partition, as a reader needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionMeta {
    /// 0; 5 no leader now; …
    pub error: i16,
    /// Its number.
    pub partition: i32,
    /// Node id; -1: none.
    pub leader: i32,
    /// How many nodes hold it.
    pub replicas: usize,
    /// How many of them keep up.
    pub in_sync: usize,
}

/// A topic, as a reader needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicMeta {
    /// 0; 3 no such topic; 29 not allowed; …
    pub error: i16,
    /// Its name.
    pub name: String,
    /// Kafka's own.
    pub internal: bool,
    /// In no particular order.
    pub partitions: Vec<PartitionMeta>,
}

/// The answer to Metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterMeta {
    /// Every live broker.
    pub nodes: Vec<Node>,
    /// The topics asked for.
    pub topics: Vec<TopicMeta>,
}

/// One partition in the answer to ListOffsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// 0, or why not.
    pub error: i16,
    /// The offset; -1: no record is that new.
    pub offset: i64,
}

/// One partition in the answer to Fetch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchedPart<'a> {
    /// Its number.
    pub partition: i32,
    /// 0; 1 offset out of range; 6 not the leader; …
    pub error: i16,
    /// One past the last record that consumers may see.
    pub high_watermark: i64,
    /// The oldest offset that is still there; -1 before version 5.
    pub log_start: i64,
    /// Batches, for [`crate::kafka::records::read`].
    pub records: &'a [u8],
}

/// Bytes one partition takes on one broker's disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Bytes, of all segments.
    pub bytes: i64,
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// Metadata for these topics, or for all; creates none.
pub fn metadata_request(caller: Caller<'_>, version: i16, topics: Option<&[&str]>) -> Vec<u8> {
    let named = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let topics = topics.map(|names| names.iter().map(named).collect());
    frame(caller, version, &MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false))
}

/// Reads Metadata from behind the correlation id. None: not that message.
pub fn metadata(bytes: &[u8], version: i16) -> Option<ClusterMeta> {
    let mut reader = METADATA_KIND.body(version, bytes)?;
    let mut cluster = ClusterMeta::default();
    reader.int32()?; // throttle
    for _ in 0..reader.count()? {
        let (id, host, port) = (reader.int32()?, reader.string()?.to_owned(), reader.int32()?);
        reader.nullable_string()?; // rack
        reader.skip_tags()?;
        cluster.nodes.push(Node { id, host, port: u16::try_from(port).ok()? });
    }
    reader.nullable_string()?; // cluster id
    reader.int32()?; // controller
    for _ in 0..reader.count()? {
        cluster.topics.push(topic_meta(&mut reader, version)?);
    }
    if (8..=10).contains(&version) {
        reader.int32()?; // authorized operations
    }
    reader.skip_tags()?;
    Some(cluster)
}

fn topic_meta(reader: &mut Reader<'_>, version: i16) -> Option<TopicMeta> {
    let mut topic = TopicMeta { error: reader.int16()?, name: reader.string()?.to_owned(), ..TopicMeta::default() };
    if version >= 10 {
        reader.uuid()?;
    }
    topic.internal = reader.int8()? != 0;
    for _ in 0..reader.count()? {
        let (error, partition, leader) = (reader.int16()?, reader.int32()?, reader.int32()?);
        if version >= 7 {
            reader.int32()?; // leader epoch
        }
        let (replicas, in_sync) = (int32s(reader)?, int32s(reader)?);
        if version >= 5 {
            reader.skip_int32s()?; // offline replicas
        }
        reader.skip_tags()?;
        topic.partitions.push(PartitionMeta { error, partition, leader, replicas, in_sync });
    }
    if version >= 8 {
        reader.int32()?; // authorized operations
    }
    reader.skip_tags()?;
    Some(topic)
}

/// How many numbers an array holds; skips them.
fn int32s(reader: &mut Reader<'_>) -> Option<usize> {
    let count = reader.count()?;
    reader.take(count.checked_mul(4)?).map(|_| count)
}

/// ListOffsets for (topic, its partitions with [`EARLIEST`], [`LATEST`] or a time in milliseconds since 1970).
pub fn list_offsets_request(caller: Caller<'_>, version: i16, wanted: &[(&str, Vec<(i32, i64)>)]) -> Vec<u8> {
    let part = |(partition, at): &(i32, i64)| {
        ListOffsetsPartition::default().with_partition_index(*partition).with_timestamp(*at)
    };
    let topics = wanted.iter().map(|(name, parts)| {
        ListOffsetsTopic::default().with_name(topic_name(name)).with_partitions(parts.iter().map(part).collect())
    });
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics.collect());
    frame(caller, version, &request)
}

/// Reads ListOffsets from behind the correlation id. None: not that message.
pub fn list_offsets(bytes: &[u8], version: i16) -> Option<Vec<Offset>> {
    let mut reader = LIST_OFFSETS_KIND.body(version, bytes)?;
    if version >= 2 {
        reader.int32()?; // throttle
    }
    let mut found = Vec::new();
    for _ in 0..reader.count()? {
        let topic = reader.string()?;
        for _ in 0..reader.count()? {
            let (partition, error) = (reader.int32()?, reader.int16()?);
            reader.int64()?; // timestamp
            let offset = reader.int64()?;
            if version >= 4 {
                reader.int32()?; // leader epoch
            }
            reader.skip_tags()?;
            found.push(Offset { topic: topic.to_owned(), partition, error, offset });
        }
        reader.skip_tags()?;
    }
    reader.skip_tags()?;
    Some(found)
}

/// What a Fetch asks for, beside where.
#[derive(Clone, Copy, Debug)]
pub struct FetchBounds {
    /// Milliseconds the broker may wait for a first byte.
    pub max_wait_ms: i32,
    /// Bytes of the whole answer; the first batch comes whole even so.
    pub max_bytes: i32,
    /// Bytes per partition; likewise.
    pub partition_max_bytes: i32,
}

/// Fetch from one topic: partitions with the offset to begin at.
pub fn fetch_request(
    caller: Caller<'_>,
    version: i16,
    topic: &str,
    parts: &[(i32, i64)],
    bounds: FetchBounds,
) -> Vec<u8> {
    let part = |(partition, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(bounds.partition_max_bytes)
    };
    let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(parts.iter().map(part).collect());
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(bounds.max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(bounds.max_bytes)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    frame(caller, version, &request)
}

/// Reads Fetch from behind the correlation id: the error of the whole, and the partitions. None: not that message.
pub fn fetch(bytes: &[u8], version: i16) -> Option<(i16, Vec<FetchedPart<'_>>)> {
    let mut reader = FETCH_KIND.body(version, bytes)?;
    reader.int32()?; // throttle
    let error = if version >= 7 { reader.int16()? } else { 0 };
    reader.take(if version >= 7 { 4 } else { 0 })?; // session
    let mut found = Vec::new();
    for _ in 0..reader.count()? {
        reader.string()?;
        for _ in 0..reader.count()? {
            found.push(fetched_part(&mut reader, version)?);
        }
        reader.skip_tags()?;
    }
    reader.skip_tags()?;
    Some((error, found))
}

fn fetched_part<'a>(reader: &mut Reader<'a>, version: i16) -> Option<FetchedPart<'a>> {
    let (partition, error, high_watermark) = (reader.int32()?, reader.int16()?, reader.int64()?);
    reader.int64()?; // last stable offset
    let log_start = if version >= 5 { reader.int64()? } else { -1 };
    for _ in 0..reader.count()? {
        reader.take(16)?; // aborted transaction
        reader.skip_tags()?;
    }
    if version >= 11 {
        reader.int32()?; // preferred replica
    }
    let records = reader.blob()?;
    reader.skip_tags()?;
    Some(FetchedPart { partition, error, high_watermark, log_start, records })
}

/// DescribeLogDirs for everything the broker holds.
pub fn log_dirs_request(caller: Caller<'_>, version: i16) -> Vec<u8> {
    frame(caller, version, &DescribeLogDirsRequest::default().with_topics(None))
}

/// Reads DescribeLogDirs from behind the correlation id: the first error, and the sizes. Logs that are being moved in are left out.
/// None: not that message.
pub fn log_dirs(bytes: &[u8], version: i16) -> Option<(i16, Vec<LogSize>)> {
    let mut reader = LOG_DIRS_KIND.body(version, bytes)?;
    reader.int32()?; // throttle
    let mut error = if version >= 3 { reader.int16()? } else { 0 };
    let mut sizes = Vec::new();
    for _ in 0..reader.count()? {
        let of_dir = reader.int16()?;
        error = if error == 0 { of_dir } else { error };
        reader.string()?; // directory
        for _ in 0..reader.count()? {
            let topic = reader.string()?;
            for _ in 0..reader.count()? {
                let (partition, bytes) = (reader.int32()?, reader.int64()?);
                reader.int64()?; // lag
                let future = reader.int8()? != 0;
                reader.skip_tags()?;
                if !future {
                    sizes.push(LogSize { topic: topic.to_owned(), partition, bytes });
                }
            }
            reader.skip_tags()?;
        }
        if version >= 4 {
            reader.take(16)?; // total and usable bytes
        }
        reader.skip_tags()?;
    }
    reader.skip_tags()?;
    Some((error, sizes))
}

/// Kafka's error code in words, with what to do where there is something (Kafka protocol guide, "Error Codes").
pub fn describe(code: i16) -> String {
    let known = match code {
        1 => "the offset is not there any more, or not yet",
        3 => "no such topic or partition",
        5 => "the partition has no leader now: are all brokers up?",
        6 => "that broker does not lead the partition any more",
        7 => "the broker gave up waiting",
        9 => "the replica is not available",
        17 => "the topic's name is not a valid one",
        29 => "not allowed: this user may not read the topic (ACL Describe and Read)",
        31 => "not allowed: this needs an ACL for the cluster (Describe)",
        35 => "the broker does not know this version of the request",
        56 => "the broker's disk failed",
        74 | 75 => "leadership is moving",
        _ => "",
    };
    let name = kafka_protocol::ResponseError::try_from_code(code).map_or_else(String::new, |e| format!(" {e:?}"));
    if known.is_empty() { format!("Kafka's error {code}{name}") } else { format!("{known} (error {code}{name})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::describe_log_dirs_response::{
        DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
    };
    use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_protocol::messages::{
        DescribeLogDirsResponse, FetchResponse, ListOffsetsResponse, MetadataResponse, RequestHeader,
    };
    use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

    const CALLER: Caller<'static> = Caller { client_id: "test", correlation: 7 };

    fn answer<R: Encodable + HeaderVersion>(response: &R, version: i16) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        if R::header_version(version) == 1 {
            bytes.extend([0]);
        }
        response.encode(&mut bytes, version).unwrap();
        bytes.into()
    }

    /// The answer reads as `expected`, and every cut of it reads as nothing.
    fn reads<R, T>(kind: Kind, response: impl Fn(i16) -> R, read: impl Fn(&[u8], i16) -> Option<T>, expected: &T)
    where
        R: Encodable + HeaderVersion,
        T: PartialEq + std::fmt::Debug,
    {
        for version in kind.min..=kind.max {
            let bytes = answer(&response(version), version);
            assert_eq!(read(&bytes, version).as_ref(), Some(expected), "{} v{version}", kind.name);
            for at in 0..bytes.len() {
                assert_eq!(read(&bytes[..at], version), None, "{} v{version} cut at {at}", kind.name);
                let mut wild = bytes.clone();
                wild[at] = 0xff;
                let _ = read(&wild, version);
            }
        }
    }

    #[test]
    fn metadata_reads_in_every_version() {
        let broker = MetadataResponseBroker::default().with_node_id(BrokerId(2)).with_host("h".into()).with_port(9092);
        let part = MetadataResponsePartition::default()
            .with_partition_index(4)
            .with_leader_id(BrokerId(2))
            .with_replica_nodes(vec![BrokerId(2), BrokerId(3)])
            .with_isr_nodes(vec![BrokerId(2)]);
        let topic = MetadataResponseTopic::default().with_name(Some(topic_name("t"))).with_is_internal(true);
        let topic = topic.with_partitions(vec![part]);
        let response = MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic]);
        let part = PartitionMeta { error: 0, partition: 4, leader: 2, replicas: 2, in_sync: 1 };
        let topic = TopicMeta { error: 0, name: "t".into(), internal: true, partitions: vec![part] };
        let expected = ClusterMeta { nodes: vec![Node { id: 2, host: "h".into(), port: 9092 }], topics: vec![topic] };
        reads(METADATA_KIND, |_| response.clone(), metadata, &expected);
    }

    #[test]
    fn list_offsets_reads_in_every_version() {
        let part = ListOffsetsPartitionResponse::default().with_partition_index(1).with_error_code(6).with_offset(42);
        let topic = ListOffsetsTopicResponse::default().with_name(topic_name("t")).with_partitions(vec![part]);
        let response = ListOffsetsResponse::default().with_topics(vec![topic]);
        let expected = vec![Offset { topic: "t".into(), partition: 1, error: 6, offset: 42 }];
        reads(LIST_OFFSETS_KIND, |_| response.clone(), list_offsets, &expected);
    }

    #[test]
    fn fetch_reads_in_every_version() {
        let part = PartitionData::default()
            .with_partition_index(3)
            .with_error_code(1)
            .with_high_watermark(9)
            .with_log_start_offset(4)
            .with_aborted_transactions(Some(vec![AbortedTransaction::default()]))
            .with_records(Some(Bytes::from_static(b"batches")));
        let topic = FetchableTopicResponse::default().with_topic(topic_name("t")).with_partitions(vec![part]);
        let response = FetchResponse::default().with_responses(vec![topic]);
        for version in FETCH_KIND.min..=FETCH_KIND.max {
            let part =
                response.responses[0].partitions[0].clone().with_log_start_offset(if version >= 5 { 4 } else { -1 });
            let topic = response.responses[0].clone().with_partitions(vec![part]);
            let bytes = answer(&response.clone().with_responses(vec![topic]), version);
            let log_start = if version >= 5 { 4 } else { -1 };
            let part = FetchedPart { partition: 3, error: 1, high_watermark: 9, log_start, records: b"batches" };
            assert_eq!(fetch(&bytes, version), Some((0, vec![part])), "v{version}");
            for at in 0..bytes.len() {
                assert_eq!(fetch(&bytes[..at], version), None, "v{version} cut at {at}");
            }
        }
    }

    #[test]
    fn log_dirs_read_in_every_version() {
        let part = DescribeLogDirsPartition::default().with_partition_index(1).with_partition_size(77);
        let moving = part.clone().with_is_future_key(true);
        let topic = DescribeLogDirsTopic::default().with_name(topic_name("t")).with_partitions(vec![part, moving]);
        let dir = DescribeLogDirsResult::default().with_log_dir("/d".into()).with_topics(vec![topic]);
        let response = DescribeLogDirsResponse::default().with_results(vec![dir]);
        let expected = (0, vec![LogSize { topic: "t".into(), partition: 1, bytes: 77 }]);
        reads(LOG_DIRS_KIND, |_| response.clone(), log_dirs, &expected);
    }

    /// Takes the head off a request, as a broker does, and decodes the body.
    fn asked<R: Decodable + HeaderVersion>(bytes: Vec<u8>, version: i16) -> R {
        let mut bytes = Bytes::from(bytes).slice(4..);
        let header = RequestHeader::decode(&mut bytes, R::header_version(version)).unwrap();
        assert_eq!((header.request_api_version, header.correlation_id), (version, 7));
        R::decode(&mut bytes, version).unwrap()
    }

    #[test]
    fn requests_are_whole_in_every_version() {
        for version in METADATA_KIND.min..=METADATA_KIND.max {
            let one: MetadataRequest = asked(metadata_request(CALLER, version, Some(&["t"])), version);
            assert!(!one.allow_auto_topic_creation && one.topics.is_some_and(|t| t.len() == 1));
            let all: MetadataRequest = asked(metadata_request(CALLER, version, None), version);
            assert_eq!(all.topics, None);
        }
        for version in LIST_OFFSETS_KIND.min..=LIST_OFFSETS_KIND.max {
            let bytes = list_offsets_request(CALLER, version, &[("t", vec![(1, LATEST)])]);
            let request: ListOffsetsRequest = asked(bytes, version);
            assert_eq!(request.topics[0].partitions[0].timestamp, LATEST);
        }
        let bounds = FetchBounds { max_wait_ms: 5, max_bytes: 6, partition_max_bytes: 7 };
        for version in FETCH_KIND.min..=FETCH_KIND.max {
            let request: FetchRequest = asked(fetch_request(CALLER, version, "t", &[(1, 40)], bounds), version);
            let part = &request.topics[0].partitions[0];
            assert_eq!((part.fetch_offset, part.partition_max_bytes, request.max_wait_ms), (40, 7, 5));
        }
        for version in LOG_DIRS_KIND.min..=LOG_DIRS_KIND.max {
            assert_eq!(asked::<DescribeLogDirsRequest>(log_dirs_request(CALLER, version), version).topics, None);
        }
    }

    #[test]
    fn versions_are_the_newest_of_both_or_none() {
        let range = |min, max| [ApiRange { key: 1, min, max }];
        assert_eq!(FETCH_KIND.negotiate(&range(0, 11)), Some(11));
        assert_eq!(FETCH_KIND.negotiate(&range(4, 18)), Some(12));
        assert_eq!(FETCH_KIND.negotiate(&range(13, 18)), None);
        assert_eq!(FETCH_KIND.negotiate(&range(0, 3)), None);
        assert_eq!(FETCH_KIND.negotiate(&[]), None);
    }
}
