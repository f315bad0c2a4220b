//! What a shipper, a sink and a lane are told: values only, every limit named with its default. Which of APISIX's keys sets
//! which field is `config`'s business.

use super::security::{NonceKey, Security};
use super::stored::Origin;
use super::trace::Stream;

/// Milliseconds that a batch waits for more entries while its pipe is free.
pub const LINGER_MS: u64 = 5;
/// Bytes at which a batch is sealed while its pipe is free.
pub const BATCH_BYTES: usize = 256 * 1024;
/// Bytes that a lane without a key sends to one partition before it turns to another (KIP-794).
pub const STICKY_BYTES: u64 = 1024 * 1024;
/// Milliseconds until an unanswered request closes its connection. A Produce request gets at least its own timeout and
/// [`PRODUCE_GRACE_MS`].
pub const REQUEST_TIMEOUT_MS: u64 = 10_000;
/// Milliseconds that a Produce request may take beyond the timeout it tells the broker.
pub const PRODUCE_GRACE_MS: u64 = 2_000;
/// Milliseconds until a connection that is still being made is given up: name, TCP, TLS and SASL (KIP-601).
pub const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// Milliseconds between two looks at the cluster's metadata when nothing is wrong.
pub const METADATA_MAX_AGE_MS: u64 = 300_000;
/// First pause before a request is tried again, in milliseconds (KIP-580).
pub const RETRY_BACKOFF_MS: u64 = 100;
/// Longest pause before a request is tried again, in milliseconds.
pub const RETRY_BACKOFF_MAX_MS: u64 = 1_000;
/// First pause before a broker is connected to again, in milliseconds.
pub const RECONNECT_BACKOFF_MS: u64 = 50;
/// Longest pause before a broker is connected to again, in milliseconds.
pub const RECONNECT_BACKOFF_MAX_MS: u64 = 1_000;
/// Milliseconds for which a batch may be refused, retriably, before that is said aloud.
pub const STALLED_REPORT_MS: u64 = 5_000;
/// Milliseconds between two lines about dropped entries, per lane (APISIX-COMPAT §3.3: at most one a second).
pub const DROP_REPORT_MS: u64 = 1_000;
/// Bytes of the client id; a longer one is cut.
pub const CLIENT_ID_BYTES: usize = 128;

/// What is done with an entry when the ring has no room for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// Batches go to the spool before that; when that is full too, the newest entry is dropped.
    #[default]
    Spool,
    /// The newest entry is dropped (APISIX's way).
    DropNewest,
    /// The entry waits for room, and so does its client's next request.
    Backpressure,
}

/// One core's shipper.
#[derive(Clone, Debug)]
pub struct ShipperOptions {
    /// Who numbers batches: this start of this core.
    pub origin: Origin,
    /// True if there is a spool.
    pub spool: bool,
    /// True if the ring's memory outlives the process.
    pub ring_stays: bool,
    /// Sent with every request; cut at [`CLIENT_ID_BYTES`].
    pub client_id: String,
    /// Where jitter and the choice of partitions start. Different per core and start.
    pub seed: u64,
    /// Random bytes for SCRAM's nonces.
    pub nonce_key: NonceKey,
    /// See [`LINGER_MS`]. Sync and held sinks do not linger.
    pub linger_ms: u64,
    /// See [`BATCH_BYTES`].
    pub batch_bytes: usize,
    /// See [`STICKY_BYTES`].
    pub sticky_bytes: u64,
    /// See [`REQUEST_TIMEOUT_MS`].
    pub request_timeout_ms: u64,
    /// See [`CONNECT_TIMEOUT_MS`].
    pub connect_timeout_ms: u64,
    /// See [`METADATA_MAX_AGE_MS`].
    pub metadata_max_age_ms: u64,
    /// See [`RETRY_BACKOFF_MS`].
    pub retry_backoff_ms: u64,
    /// See [`RETRY_BACKOFF_MAX_MS`].
    pub retry_backoff_max_ms: u64,
    /// See [`RECONNECT_BACKOFF_MS`].
    pub reconnect_backoff_ms: u64,
    /// See [`RECONNECT_BACKOFF_MAX_MS`].
    pub reconnect_backoff_max_ms: u64,
    /// See [`STALLED_REPORT_MS`].
    pub stalled_report_ms: u64,
    /// Gateway, start and core as each message's header names them (`trace`); the lane is the shipper's to fill in. None: no headers.
    pub trace: Option<Stream>,
}

impl Default for ShipperOptions {
    fn default() -> Self {
        Self {
            origin: Origin::default(),
            spool: false,
            ring_stays: false,
            client_id: "tollgate".to_owned(),
            seed: 0,
            nonce_key: NonceKey::default(),
            linger_ms: LINGER_MS,
            batch_bytes: BATCH_BYTES,
            sticky_bytes: STICKY_BYTES,
            request_timeout_ms: REQUEST_TIMEOUT_MS,
            connect_timeout_ms: CONNECT_TIMEOUT_MS,
            metadata_max_age_ms: METADATA_MAX_AGE_MS,
            retry_backoff_ms: RETRY_BACKOFF_MS,
            retry_backoff_max_ms: RETRY_BACKOFF_MAX_MS,
            reconnect_backoff_ms: RECONNECT_BACKOFF_MS,
            reconnect_backoff_max_ms: RECONNECT_BACKOFF_MAX_MS,
            stalled_report_ms: STALLED_REPORT_MS,
            trace: None,
        }
    }
}

/// Who must have a batch before Kafka acknowledges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acks {
    /// The partition's leader alone (`required_acks: 1`).
    Leader,
    /// All replicas in sync (`required_acks: -1`), with an idempotent producer.
    All,
}

/// How many batches of a partition may be unresolved at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Up to `limits::IN_FLIGHT_BATCHES`, after a short linger.
    Async,
    /// One, its outcome known before the next; no linger.
    Sync,
    /// As `Sync`, for entries that somebody waits for: arrays are closed, too, as soon as their batch can be sent, so that everybody
    /// who waits meanwhile shares the next one (group commit), and a slot of the ring is kept for them.
    Held,
}

/// The codec of a batch's records; the number in the batch's attributes (KIP-98, KIP-110).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// As they are.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy blocks in xerial's stream framing.
    Snappy = 2,
    /// LZ4 frame, independent blocks.
    Lz4 = 3,
    /// Zstandard (RFC 8878); brokers from 2.1 on.
    Zstd = 4,
}

/// A way into a Kafka cluster. Two routes that agree on all of it share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SinkSpec {
    /// Brokers to ask first, host and port, in order.
    pub bootstrap: Vec<(String, u16)>,
    /// Who we are there, and TLS.
    pub security: Security,
    /// Who must have a batch.
    pub acks: Acks,
    /// How many batches may be unresolved.
    pub mode: Mode,
    /// How records are compressed.
    pub compression: Compression,
    /// What a Produce request tells the broker to wait for its replicas, in milliseconds (APISIX's `timeout` × 1000).
    pub timeout_ms: u32,
    /// How often a batch that was sent and failed is tried again before it is given up; None: as long as there is a place to hold
    /// it. Only set where the operator wrote `max_retry_count`.
    pub max_retry: Option<u32>,
    /// Pause before such a retry, in milliseconds; None: backoff with jitter.
    pub retry_delay_ms: Option<u32>,
    /// What is done when the ring has no room.
    pub overflow: Overflow,
}

impl SinkSpec {
    /// A sink with our defaults: all replicas, async, uncompressed, 3 s, retried for ever.
    pub fn new(bootstrap: Vec<(String, u16)>) -> Self {
        Self {
            bootstrap,
            security: Security::default(),
            acks: Acks::All,
            mode: Mode::Async,
            compression: Compression::None,
            timeout_ms: 3_000,
            max_retry: None,
            retry_delay_ms: None,
            overflow: Overflow::default(),
        }
    }

    /// Its bootstrap brokers as people write them: `host:port,host:port`.
    pub fn broker_list(&self) -> String {
        let list: Vec<String> = self.bootstrap.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        list.join(",")
    }

    /// The same without credentials and TLS: what may be written down, and by which records find their way again after a password
    /// was changed.
    #[must_use]
    pub fn without_security(&self) -> Self {
        Self { security: Security::default(), ..self.clone() }
    }
}

/// How a key becomes a partition. Without a key a lane sticks to one partition at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Partitioner {
    /// Java's: `(murmur2(key) & 0x7fffffff) % partitions`.
    #[default]
    Murmur2,
    /// lua-resty-kafka's: `crc32(key) % partitions` (APISIX-COMPAT §3.5).
    Crc32,
}

/// How entries become messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Batching {
    /// Each entry is a message (`batch_max_size: 1`).
    Each,
    /// A message is a JSON array of entries (APISIX-COMPAT §3.2).
    Array {
        /// Entries at which the array is closed (`batch_max_size`).
        max_entries: u32,
        /// Closed once its newest entry is this old (`inactive_timeout`).
        inactive_ms: u64,
        /// Closed once its oldest entry is this old (`buffer_duration`).
        duration_ms: u64,
    },
}

/// A stream of entries that keeps its order: a sink, a topic and a key. Two routes that agree on all of it share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LaneSpec {
    /// Where to.
    pub sink: SinkId,
    /// Kafka's topic name.
    pub topic: String,
    /// Every message's key; None is Kafka's null.
    pub key: Option<Vec<u8>>,
    /// How the key becomes a partition.
    pub partitioner: Partitioner,
    /// How entries become messages.
    pub batching: Batching,
    /// Entries of this lane that may be held; over it new ones are refused. Only set where the operator wrote
    /// `max_pending_entries` (APISIX-COMPAT §3.3).
    pub max_pending_entries: Option<u64>,
    /// Content key under which the lane registry knows it, for batches that outlive the process; 0: none does.
    pub stored_as: u64,
}

impl LaneSpec {
    /// Each entry a message without a key, no bound of its own, in no registry.
    pub fn new(sink: SinkId, topic: &str) -> Self {
        Self {
            sink,
            topic: topic.to_owned(),
            key: None,
            partitioner: Partitioner::Murmur2,
            batching: Batching::Each,
            max_pending_entries: None,
            stored_as: 0,
        }
    }
}

/// A sink of one shipper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub(super) u32);

/// A lane of one shipper. A lane that was forgotten is never taken for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaneId {
    pub(super) index: u32,
    pub(super) generation: u32,
}
