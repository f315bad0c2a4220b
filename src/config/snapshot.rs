//! What a core serves from: one compiled, immutable picture of the whole configuration.
//!
//! Indexes in it point into its own lists. State that outlives a snapshot (pools, balancers, sinks, sequences) is keyed by `content`,
//! a hash of what the user wrote, never by revision or index (ARCHITECTURE §2).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

// STAND-INS until the rooms route, log, kafka and upstream are merged; same names, their types then.
#[allow(missing_docs)]
mod stand_ins {
    #[derive(Debug, Default)]
    pub struct RouteTable<V>(pub std::marker::PhantomData<V>);
    #[derive(Debug, Default)]
    pub struct Variable;
    #[derive(Debug)]
    pub struct Expr<V>(pub std::marker::PhantomData<V>);
    #[derive(Debug, Default)]
    pub struct NodeSet;
    #[derive(Debug)]
    pub struct Plan;
    #[derive(Debug)]
    pub struct RouteNames;
    #[derive(Debug)]
    pub struct SinkSpec;
    #[derive(Debug)]
    pub struct Batching;
    #[derive(Debug)]
    pub struct Partitioner;
    #[derive(Debug)]
    pub struct Balancing;
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Cidr(std::net::IpAddr, u8);
    impl Cidr {
        pub fn parse(text: &str) -> Option<Self> {
            let (a, b) = text.split_once('/').unwrap_or((text, "128"));
            Some(Self(a.parse().ok()?, b.parse().ok()?))
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum RouterMode {
        HostUri,
        Uri,
        UriWithParameter,
    }
}
pub use stand_ins::*;

/// The compiled configuration.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts up with every change; for people and metrics.
    pub revision: u64,
    /// Request → index into `route_specs`.
    pub routes: RouteTable<Variable>,
    /// What each route does, by `RouteIndex`.
    pub route_specs: Vec<RouteSpec>,
    /// By `UpstreamIndex`. Upstreams with the same content are one.
    pub upstreams: Vec<Arc<UpstreamSpec>>,
    /// By `UpstreamIndex`: addresses of the nodes, resolved. Empty: nothing resolved yet, or no nodes (503).
    pub node_sets: Vec<Arc<NodeSet>>,
    /// By `LoggerIndex`. Instances with the same content are one.
    pub loggers: Vec<Arc<LoggerSpec>>,
    /// Loggers of global rules: they run for every request, also without a route (404), before the route's.
    pub global_loggers: Vec<LoggerIndex>,
    /// What must be captured for `global_loggers` alone (requests without a route).
    pub global_captures: Captures,
}

/// Index into [`Snapshot::upstreams`] and [`Snapshot::node_sets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamIndex(pub u32);

/// Index into [`Snapshot::loggers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoggerIndex(pub u32);

/// One route, service and plugin config merged in (APISIX-COMPAT §6.6).
#[derive(Debug)]
pub struct RouteSpec {
    /// `route_id`, `service_id` … for log entries.
    pub names: RouteNames,
    /// Where requests go.
    pub upstream: RouteUpstream,
    /// The route's own loggers; `Snapshot::global_loggers` run in addition.
    pub loggers: Vec<LoggerIndex>,
    /// The route's `timeout`, else its upstream's, else 60 s each.
    pub timeouts: Timeouts,
    /// `enable_websocket`: pass `Upgrade` on.
    pub enable_websocket: bool,
    /// What must be captured: the most that any of its loggers and the global ones ask for.
    pub captures: Captures,
}

/// Where a route's requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteUpstream {
    /// To this upstream.
    Index(UpstreamIndex),
    /// Nowhere: answer with this status. 503 no upstream or no plugin config, 404 no service, 502 no such upstream.
    Missing(u16),
}

/// Bounds of one exchange with an upstream. Each is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// To connect.
    pub connect_ms: u64,
    /// Between two writes.
    pub send_ms: u64,
    /// Between two reads.
    pub read_ms: u64,
}

/// What of the bodies must be kept for the log, in bytes; `None` is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    /// The most of a request body that a logger may ask for.
    pub request_bytes: Option<usize>,
    /// The most of a response body that a logger may ask for.
    pub response_bytes: Option<usize>,
}

/// An upstream as configured, defaults filled in.
#[derive(Debug)]
pub struct UpstreamSpec {
    /// Hash of everything below: pools and balancers are keyed by it.
    pub content: u64,
    /// `type`.
    pub balancing: Balancing,
    /// `scheme`.
    pub scheme: Scheme,
    /// `pass_host` with `upstream_host`.
    pub pass_host: PassHost,
    /// Further tries after the first; nodes − 1 unless written.
    pub retries: u32,
    /// No new try after this long; 0 is no bound.
    pub retry_timeout_ms: u64,
    /// Its own `timeout`, or the defaults.
    pub timeouts: Timeouts,
    /// `keepalive_pool`, or the file's defaults.
    pub keepalive: Keepalive,
    /// In the order written.
    pub nodes: Vec<NodeSpec>,
}

/// `upstream.scheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP/1.1.
    Http,
    /// HTTP/1.1 inside TLS.
    Https,
}

/// The Host header that the upstream sees (APISIX-COMPAT §7.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PassHost {
    /// The client's, as it is.
    Pass,
    /// The node's configured name: [`NodeSpec::authority`].
    Node,
    /// These bytes.
    Rewrite(Vec<u8>),
}

/// Idle connections to an upstream, per core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Keepalive {
    /// At most this many idle; 0 is no keep-alive.
    pub size: u32,
    /// An idle one is closed after this long; 0 is at once.
    pub idle_timeout_ms: u64,
    /// A connection is closed after this many requests.
    pub requests: u32,
}

/// One node as configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeSpec {
    /// Name or address, without brackets.
    pub host: String,
    /// With the scheme's default filled in.
    pub port: u16,
    /// Share of the requests within its priority.
    pub weight: u32,
    /// The highest first.
    pub priority: i32,
    /// What `pass_host: node` sends: `host`, with `:port` unless that is the scheme's own.
    pub authority: String,
    /// Where `tollgate.hosts` sends it; else itself. Names in here are resolved.
    pub target: (String, u16),
}

/// One kafka-logger instance, defaults and metadata filled in.
#[derive(Debug)]
pub struct LoggerSpec {
    /// Hash of everything below.
    pub content: u64,
    /// Cluster, acks, mode, codec: what one producer serves.
    pub sink: SinkSpec,
    /// `kafka_topic`.
    pub topic: Arc<str>,
    /// `key`.
    pub key: Option<Arc<[u8]>>,
    /// One message per entry, or arrays (APISIX-COMPAT §3.2).
    pub batching: Batching,
    /// Which partition a key means.
    pub partitioner: Partitioner,
    /// Metadata's `max_pending_entries`, only if written.
    pub max_pending_entries: Option<u64>,
    /// The log format, compiled.
    pub plan: Plan,
    /// `_meta.filter`: log only if true; evaluated before the request is proxied.
    pub filter: Option<Expr<Variable>>,
    /// Whether and how much of the request's body is logged.
    pub request_body: Option<BodyRule>,
    /// Whether and how much of the response's body is logged.
    pub response_body: Option<BodyRule>,
    /// `name`: the label in log lines and metrics.
    pub name: String,
}

/// When and how much of a body a logger takes.
#[derive(Debug)]
pub struct BodyRule {
    /// At most this many bytes.
    pub limit_bytes: usize,
    /// `include_*_body_expr`: only if true.
    pub expr: Option<Expr<Variable>>,
}

/// Where names lead: `host → addresses`; digits need no entry.
pub type Resolved = HashMap<String, Vec<IpAddr>>;

impl Snapshot {
    /// The same configuration with other addresses: cheap, everything but the changed node sets is shared.
    #[must_use]
    pub fn with_addresses(self: &Arc<Self>, _resolve: &dyn Fn(&str) -> Vec<IpAddr>) -> Arc<Self> {
        todo!()
    }
    /// A node set's addresses, for health checks and tests.
    pub fn addresses(&self, _upstream: UpstreamIndex) -> Vec<SocketAddr> {
        todo!()
    }
}
