//! What a core serves from: one compiled, immutable picture of the whole configuration.
//!
//! Indexes in it point into its own lists. State that outlives a snapshot (pools, balancers, sinks, sequences) is keyed by `content`,
//! a hash of what was configured, never by revision or index (ARCHITECTURE §2).

use std::sync::Arc;

use super::lane_registry::StoredLane;
use crate::kafka::{Batching, LaneSpec, Partitioner, Security, SinkId, SinkSpec, Tls};
use crate::log::{Plan, RouteNames, Variable};
use crate::route::{Expr, RouteIndex, RouteTable};
use crate::upstream::health::Rules;
use crate::upstream::{Balancing, NodeSet, Watch};

/// The compiled configuration.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts up with every change; for people and metrics.
    pub revision: u64,
    /// Request → [`RouteIndex`].
    pub routes: RouteTable<Variable>,
    /// What each route does, by [`RouteIndex`].
    pub route_specs: Vec<RouteSpec>,
    /// By [`UpstreamIndex`]. Upstreams with the same content are one.
    pub upstreams: Vec<Arc<UpstreamSpec>>,
    /// By [`UpstreamIndex`]: addresses of the nodes, resolved. Empty: no nodes, or nothing resolved yet (503).
    pub node_sets: Vec<Arc<NodeSet>>,
    /// By [`UpstreamIndex`]: who is up, for upstreams with `checks`. Put in by the health checks before it is published.
    pub watches: Vec<Option<Arc<Watch>>>,
    /// By [`LoggerIndex`]. Instances with the same content are one.
    pub loggers: Vec<Arc<LoggerSpec>>,
    /// Loggers of global rules: they run for every request, also without a route (404), before the route's.
    pub global_loggers: Vec<LoggerIndex>,
    /// What must be captured for `global_loggers` alone (requests without a route).
    pub global_captures: Captures,
    /// True if some logger makes requests wait while the ring is full.
    pub holds_back: bool,
    /// How responses are held for `global_loggers` alone (requests without a route).
    pub global_hold: Option<Hold>,
}

impl Snapshot {
    /// The route at an index that [`RouteTable::find`] of this snapshot gave.
    pub fn route(&self, index: RouteIndex) -> &RouteSpec {
        &self.route_specs[index.0 as usize]
    }

    /// The upstream at an index of this snapshot.
    pub fn upstream(&self, index: UpstreamIndex) -> &Arc<UpstreamSpec> {
        &self.upstreams[index.0 as usize]
    }

    /// The resolved nodes of an upstream of this snapshot.
    pub fn nodes(&self, index: UpstreamIndex) -> &Arc<NodeSet> {
        &self.node_sets[index.0 as usize]
    }

    /// The logger at an index of this snapshot.
    pub fn logger(&self, index: LoggerIndex) -> &Arc<LoggerSpec> {
        &self.loggers[index.0 as usize]
    }
}

/// Index into [`Snapshot::upstreams`] and [`Snapshot::node_sets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamIndex(pub u32);

/// Index into [`Snapshot::loggers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoggerIndex(pub u32);

/// One route, service and plugin config merged in (APISIX-COMPAT §6.6). Each lies in a cache line of its own: of 100,000 routes, each
/// request meets one that is in no cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct RouteSpec {
    /// `route_id`, `service_id` … for log entries.
    pub names: RouteNames,
    /// What it does. Routes that do the same share it: of 100,000 that do, it stays in the cache.
    pub rule: Arc<RouteRule>,
}

/// What a route does with its requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteRule {
    /// Where requests go.
    pub upstream: RouteUpstream,
    /// The route's own loggers; [`Snapshot::global_loggers`] run in addition.
    pub loggers: Vec<LoggerIndex>,
    /// The route's `timeout`, else its upstream's, else 60 s each.
    pub timeouts: Timeouts,
    /// `enable_websocket`: pass `Upgrade` on.
    pub enable_websocket: bool,
    /// What must be captured: the most that any of its loggers and the global ones ask for.
    pub captures: Captures,
    /// How responses are held: the most that any of its loggers and the global ones ask for.
    pub hold: Option<Hold>,
}

/// Where a route's requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteUpstream {
    /// To this upstream.
    Index(UpstreamIndex),
    /// Nowhere: answer with this status. 503 no upstream or no such plugin config, 404 no such service, 502 no such upstream.
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

impl Default for Timeouts {
    /// nginx's 60 s (APISIX-COMPAT §6.7).
    fn default() -> Self {
        Self { connect_ms: 60_000, send_ms: 60_000, read_ms: 60_000 }
    }
}

/// What of the bodies must be kept for the log, in bytes; `None` is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Captures {
    /// The most of a request body that a logger may ask for.
    pub request_bytes: Option<usize>,
    /// The most of a response body that a logger may ask for.
    pub response_bytes: Option<usize>,
}

impl Captures {
    /// The more of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            request_bytes: self.request_bytes.max(other.request_bytes),
            response_bytes: self.response_bytes.max(other.response_bytes),
        }
    }
}

/// `ack_before_response`: the last part of the response is released only once Kafka has acknowledged the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// `hold_bytes`: so many bytes of the response, head included, wait at most. At least 1.
    pub part_bytes: usize,
    /// `ack_timeout`: after this long the failure policy holds. At least 1.
    pub timeout_ms: u64,
    /// `on_log_failure`. Each logger's own counts, see [`LoggerSpec::hold`]; of several this is the stricter one.
    pub on_failure: OnLogFailure,
}

/// What becomes of a held response whose record Kafka did not acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnLogFailure {
    /// It is released all the same.
    Pass,
    /// 503 if nothing was sent yet, otherwise the connection is cut.
    Reject,
}

impl Hold {
    /// The more of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            part_bytes: self.part_bytes.max(other.part_bytes),
            timeout_ms: self.timeout_ms.max(other.timeout_ms),
            on_failure: self.on_failure.max(other.on_failure),
        }
    }
}

/// An upstream as configured, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSpec {
    /// Hash of everything below: pools and balancers are keyed by it.
    pub content: u64,
    /// `type`.
    pub balancing: Balancing,
    /// `hash_on` with `key`: what `chash` hashes.
    pub hash_key: HashKey,
    /// `scheme`.
    pub scheme: Scheme,
    /// With `scheme: https`: how connections are secured, `tls`.
    pub tls: Option<Tls>,
    /// `pass_host` with `upstream_host`.
    pub pass_host: PassHost,
    /// Further tries after the first; nodes − 1 unless written.
    pub retries: u32,
    /// No new try after this long; 0 is no bound.
    pub retry_timeout_ms: u64,
    /// Its own `timeout`, or the defaults. A route's own goes before: see [`RouteSpec::timeouts`].
    pub timeouts: Timeouts,
    /// `keepalive_pool`, or the file's defaults.
    pub keepalive: Keepalive,
    /// In the order written.
    pub nodes: Vec<NodeSpec>,
    /// `checks`.
    pub checks: Option<Checks>,
    /// With `checks`: the object that configures it, `/apisix/routes/1`, the first of several; not in `content`.
    pub name: String,
}

/// `upstream.checks`: how it is found out which nodes are up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Hash of what is below and of what else a probe says.
    pub content: u64,
    /// `active`: nodes are asked.
    pub active: ActiveCheck,
    /// `passive`: requests are looked at.
    pub passive: Option<Rules>,
}

/// `checks.active`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveCheck {
    /// `type`.
    pub kind: CheckKind,
    /// For one probe, from the connect to the status line.
    pub timeout_ms: u64,
    /// Probes under way at once.
    pub concurrency: u32,
    /// The Host header, and the name that a certificate must have.
    pub host: HostOf,
    /// To be asked instead of the node's own.
    pub port: Option<u16>,
    /// `http_method`.
    pub method: String,
    /// `http_path`.
    pub path: String,
    /// `http_req_body`.
    pub body: String,
    /// `req_headers`, whole lines.
    pub headers: Vec<String>,
    /// From one probe of a node that is up to the next.
    pub healthy_interval_ms: u64,
    /// From one probe of a node that is down to the next.
    pub unhealthy_interval_ms: u64,
    /// What counts.
    pub rules: Rules,
}

/// `checks.active.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// A connection is enough.
    Tcp,
    /// A request.
    Http,
    /// A request inside TLS.
    Https {
        /// `https_verify_certificate`.
        verify: bool,
    },
}

/// Which Host a probe names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostOf {
    /// The node's, without port.
    Node,
    /// As `pass_host: node` says it.
    NodeWithPort,
    /// This one.
    Fixed(String),
}

/// What of a request `chash` hashes. A request that has it not is hashed by `$remote_addr`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashKey {
    /// Nothing that a request has: another `type`, or `hash_on: consumer` without consumers.
    #[default]
    None,
    /// `hash_on: vars`, `header`, `cookie`.
    Variable(Variable),
    /// `hash_on: vars_combinations`.
    Combination(Vec<KeyPart>),
}

/// A part of `$host-$uri`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// As written.
    Text(Vec<u8>),
    /// `$name` or `${name}`; one without a value is empty.
    Variable(Variable),
}

/// `upstream.scheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP/1.1.
    Http,
    /// HTTP/1.1 inside TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of a node that names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The Host header that the upstream sees (APISIX-COMPAT §7.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PassHost {
    /// The client's, as it is.
    Pass,
    /// The picked node's: [`authority`] of its host and port.
    Node,
    /// These bytes.
    Rewrite(Vec<u8>),
}

impl PassHost {
    /// The Host that goes to a node: `asked` is the client's, empty if a 1.0 client sent none, and `own` the node's.
    pub fn sent<'a>(&'a self, asked: &'a [u8], own: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Pass if !asked.is_empty() => asked,
            Self::Pass | Self::Node => own,
            Self::Rewrite(host) => host,
        }
    }
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

/// One node as configured. What it resolves to stands in the upstream's [`NodeSet`].
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
    /// Where to connect: the host without brackets and the port, after `tollgate.hosts`.
    pub target: (String, u16),
}

/// What `pass_host: node` sends: the host, in brackets if it is an IPv6 address, with `:port` unless that is the scheme's own.
/// `localhost` for a Unix socket, as nginx says it.
pub fn authority(host: &str, port: u16, scheme: Scheme) -> String {
    if super::address::unix_path(host).is_some() {
        return "localhost".to_owned();
    }
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    if port == scheme.default_port() { format!("{open}{host}{close}") } else { format!("{open}{host}{close}:{port}") }
}

/// One kafka-logger instance, defaults and metadata filled in.
#[derive(Debug)]
pub struct LoggerSpec {
    /// Hash of everything below.
    pub content: u64,
    /// Cluster, acks, mode, codec: what one producer serves.
    pub sink: SinkSpec,
    /// `kafka_topic`.
    pub topic: String,
    /// `key`.
    pub key: Option<Vec<u8>>,
    /// One message per entry, or arrays (APISIX-COMPAT §3.2).
    pub batching: Batching,
    /// Which partition a key means.
    pub partitioner: Partitioner,
    /// Content key of its lane, the same in every build, for batches that outlive the process.
    pub stored_as: u64,
    /// Metadata's `max_pending_entries`, only if written.
    pub max_pending_entries: Option<u64>,
    /// The log format, compiled; loggers with the same format share it.
    pub plan: Arc<Plan>,
    /// `_meta.filter`: log only if true; evaluated before the request is proxied.
    pub filter: Option<Expr<Variable>>,
    /// Whether and how much of the request's body is logged.
    pub request_body: Option<BodyRule>,
    /// Whether and how much of the response's body is logged.
    pub response_body: Option<BodyRule>,
    /// What must be captured for this logger.
    pub captures: Captures,
    /// How responses wait for its record; `None`: they do not.
    pub hold: Option<Hold>,
    /// `name`: the label in log lines and metrics.
    pub name: String,
}

impl LoggerSpec {
    /// Its lane on a core where its sink is `sink`.
    pub fn lane(&self, sink: SinkId) -> LaneSpec {
        self.stored_lane().lane(sink, self.stored_as)
    }

    /// What of its lane is stored.
    pub fn stored_lane(&self) -> StoredLane {
        StoredLane {
            topic: self.topic.clone(),
            key: self.key.clone(),
            partitioner: self.partitioner,
            batching: self.batching,
            max_pending_entries: self.max_pending_entries,
            is_secured: self.sink.security != Security::default(),
        }
    }
}

/// When and how much of a body a logger takes.
#[derive(Clone, Debug)]
pub struct BodyRule {
    /// At most this many bytes.
    pub limit_bytes: usize,
    /// `include_*_body_expr`: only if true.
    pub expr: Option<Expr<Variable>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_port_is_not_said() {
        assert_eq!(authority("httpbin.org", 80, Scheme::Http), "httpbin.org");
        assert_eq!(authority("httpbin.org", 443, Scheme::Http), "httpbin.org:443");
        assert_eq!(authority("::1", 8080, Scheme::Http), "[::1]:8080");
        assert_eq!(authority("::1", 443, Scheme::Https), "[::1]");
    }

    #[test]
    fn of_two_holds_the_longer_and_stricter_counts() {
        let a = Hold { part_bytes: 5, timeout_ms: 7, on_failure: OnLogFailure::Reject };
        let b = Hold { part_bytes: 6, timeout_ms: 3, on_failure: OnLogFailure::Pass };
        assert_eq!(a.max(b), Hold { part_bytes: 6, timeout_ms: 7, on_failure: OnLogFailure::Reject });
        assert_eq!(a.max(b), b.max(a));
    }

    #[test]
    fn the_larger_capture_wins_and_something_beats_nothing() {
        let a = Captures { request_bytes: Some(5), response_bytes: None };
        let b = Captures { request_bytes: Some(3), response_bytes: Some(0) };
        assert_eq!(a.max(b), Captures { request_bytes: Some(5), response_bytes: Some(0) });
    }
}
