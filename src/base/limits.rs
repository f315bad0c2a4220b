//! Every bound of the data path: name, unit, default, and what happens when it is full. `docs/limits.md` lists them for users.

/// Bytes of one request or response head, first line and all header lines, unless the configuration says otherwise (431; a response over it
/// is a 502): `tollgate.request_head_bytes`, `tollgate.response_head_bytes`.
pub const HEAD_BYTES: usize = 32 * 1024;
/// The least and the most that these keys may say: a browser's head with a cookie fits the least.
pub const HEAD_BYTES_BOUNDS: (usize, usize) = (1024, 1024 * 1024);
/// Header lines in one head, likewise (431; 502): `tollgate.request_header_count`, `tollgate.response_header_count`. Lines of a trailer
/// section always.
pub const HEADER_COUNT: usize = 100;
/// The least and the most that these keys may say.
pub const HEADER_COUNT_BOUNDS: (usize, usize) = (8, 10_000);
/// Bytes of the request target, likewise (414): `tollgate.request_target_bytes`.
pub const TARGET_BYTES: usize = 16 * 1024;
/// The least that it may say; the most is what leaves room for the rest of the head ([`TARGET_ROOM_BYTES`]).
pub const TARGET_BYTES_LEAST: usize = 64;
/// Bytes of a head that its target must leave to the rest.
pub const TARGET_ROOM_BYTES: usize = 256;
/// Bytes of one chunk-size line with its extensions (400; 502).
pub const CHUNK_LINE_BYTES: usize = 4 * 1024;
/// Bytes of a trailer section (431; 502).
pub const TRAILER_BYTES: usize = 8 * 1024;
/// Bytes of one relay buffer: the most of a body that one direction of one exchange keeps in memory.
pub const RELAY_BYTES: usize = 64 * 1024;
/// Bytes of a request body, behind what came along with its head, that are kept for another try.
pub const REPLAY_BYTES: usize = RELAY_BYTES;
/// Bytes of an Admin API body: APISIX's 1.5 MiB (400).
pub const ADMIN_BODY_BYTES: usize = 1_572_864;
/// Accepts outstanding per listener and core (PERFORMANCE §2.7).
pub const ACCEPTS_PER_LISTENER: usize = 8;
/// Accepted sockets that may wait for the core that they were handed to; more stay where they were accepted.
pub const HANDED_WAITING: usize = 256;
/// Connections that wait in the kernel before accept (`listen(2)`).
pub const LISTEN_BACKLOG: i32 = 4096;
/// Bytes of bodies held for logging, per core; over it a body is cut and counted.
pub const BODY_CAPTURE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of one ring slot's records: one batch, at most. Kafka's default `max.message.bytes` is 1,048,588.
pub const SLOT_BYTES: usize = 1024 * 1024;
/// Bytes of all ring slots, per core (`tollgate.ring.bytes`).
pub const RING_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of all batches on disk, of all cores (`tollgate.spool.bytes`); over it the newest entries are dropped and counted.
pub const SPOOL_BYTES: u64 = 1024 * 1024 * 1024;
/// Milliseconds between two fsyncs of the spool (`tollgate.spool.fsync_interval_ms`).
pub const FSYNC_INTERVAL_MS: u64 = 1_000;
/// Bytes of one Kafka message, until the broker's own limit is known (ARCHITECTURE §4.4).
pub const MESSAGE_BYTES: usize = 1_000_000;
/// Batches in flight per partition: Kafka keeps five per producer for duplicate detection (KIP-98).
pub const IN_FLIGHT_BATCHES: usize = 5;
/// Bytes of one answer from a broker; a larger one closes the connection.
pub const BROKER_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// Milliseconds that a shutdown may take, behind its timeout, to write to the spool what Kafka did not take.
pub const STOW_MS: u64 = 5_000;
/// Points on the ring of an upstream with `type: chash`, per core; weights that want more share this many.
pub const CHASH_POINTS: usize = 64 * 1024;
/// Outcomes of requests that wait for the control thread, per upstream with passive health checks; more are lost and counted.
pub const HEALTH_REPORTS_WAITING: usize = 1_024;
/// Milliseconds between two looks of the control thread at what cores report, and at upstreams that had their first request.
pub const HEALTH_POLL_MS: u64 = 100;
/// Bytes of the first line that a health check reads of an answer; without an end by then it is no HTTP.
pub const PROBE_LINE_BYTES: usize = 4 * 1024;
/// Levels of a nested `log_format`; deeper objects become `{}` (APISIX-COMPAT §2.3).
pub const FORMAT_DEPTH: usize = 5;
/// Entries of the `headers` and `querystring` objects of the default entry.
pub const ENTRY_FIELDS: usize = 100;

const _: () = assert!(MESSAGE_BYTES <= SLOT_BYTES, "a message must fit a slot");
const _: () = assert!(RING_BYTES / SLOT_BYTES >= 2, "one slot fills while one is in flight");
const _: () = assert!(TARGET_BYTES + TARGET_ROOM_BYTES <= HEAD_BYTES);
const _: () = assert!(TARGET_BYTES_LEAST + TARGET_ROOM_BYTES <= HEAD_BYTES_BOUNDS.0);
