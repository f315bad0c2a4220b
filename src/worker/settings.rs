//! What a core must know that does not change while the process runs, as plain values.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use crate::http::limits::HeadLimits;
use crate::io::driver::Driver;
use crate::kafka::ShipperOptions;
use crate::log::exchange::GatewayNames;
use crate::route::Cidr;

use super::spool::SpoolOptions;

/// Options of every core.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the runtime stands on.
    pub driver: Driver,
    /// The port of each listener, in their order: `$server_port`.
    pub listen_ports: Vec<u16>,
    /// A request head must be there this long after its first byte, or after the connection was made, in milliseconds.
    pub header_timeout_ms: u64,
    /// Between two reads of a request body, in milliseconds.
    pub body_timeout_ms: u64,
    /// Between two writes to a client, in milliseconds.
    pub send_timeout_ms: u64,
    /// A connection without a request is closed after this long, in milliseconds; 0 is no keep-alive.
    pub keepalive_timeout_ms: u64,
    /// How large a request's head may be (431, 414).
    pub request_limits: HeadLimits,
    /// How large an upstream's may be (502).
    pub response_limits: HeadLimits,
    /// The most bytes of a request body (413).
    pub body_bytes_max: Option<u64>,
    /// Client connections per core; more are closed at once.
    pub max_connections: usize,
    /// Client connections of one address, on all cores together; more are closed at once.
    pub max_connections_per_address: Option<NonZeroU32>,
    /// Exchanges are finished and records flushed for this long after SIGTERM, in milliseconds.
    pub shutdown_timeout_ms: u64,
    /// Bytes of bodies held for logging.
    pub body_capture_bytes: usize,
    /// Ring slots and the bytes of each.
    pub slot_count: usize,
    /// Bytes of one slot.
    pub slot_bytes: usize,
    /// Where each core makes its ring's file; `None`: the ring goes with the process.
    pub ring: Option<Arc<Path>>,
    /// Where batches go that Kafka cannot take now; `None`: nowhere.
    pub spool: Option<SpoolOptions>,
    /// For the producer.
    pub shipping: ShipperOptions,
    /// Where the control thread takes Admin requests that came in on the proxy's port; `None`: it does not.
    pub admin_socket: Option<Arc<Path>>,
    /// The value of `Server`.
    pub server: Arc<str>,
    /// Our name in Via; `None`: none from us.
    pub via: Option<Arc<str>>,
    /// Say the upstream's status in every proxied answer.
    pub show_upstream_status: bool,
    /// The header that a trusted proxy puts the client's address in, lower case.
    pub real_ip_header: Option<Arc<str>>,
    /// Who may set it.
    pub real_ip_from: Arc<[Cidr]>,
    /// Whose X-Forwarded-* are kept; `None`: not written.
    pub trusted: Option<Arc<[Cidr]>>,
    /// `/a/` is routed as `/a`.
    pub delete_uri_tail_slash: bool,
    /// Names that stand in records.
    pub gateway: Arc<GatewayNames>,
}
