//! `config.yaml`: APISIX's names (APISIX-COMPAT §8.3, old positions of §5.9) and ours under `tollgate:`, read into typed values
//! with units in their names. Every wrong value is reported at once, with its path; a key that means nothing to us is a warning.
//! Reads no file: the text and the environment are handed in.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;

use log::LevelFilter;

use super::Problem;
use crate::http::limits::HeadLimits;
use crate::kafka::ShipperOptions;
use crate::route::{Cidr, RouterMode};

mod http;
mod keep;
mod read;
pub mod substitute;
mod tollgate;
mod tree;

pub use http::KEEPALIVE;
pub use keep::{KeepConfig, RingPlace};

/// The whole file, defaults filled in.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// `apisix.node_listen`: where requests are taken. Default 0.0.0.0:9080, and [::]:9080 with `enable_ipv6`.
    pub listen: Vec<SocketAddr>,
    /// `nginx_config.worker_processes`: cores to serve from.
    pub workers: Workers,
    /// `apisix.router.http`.
    pub router: RouterMode,
    /// `deployment.role_*.config_provider`.
    pub provider: Provider,
    /// `deployment.admin.*`.
    pub admin: AdminConfig,
    /// `apisix.enable_control`, `apisix.control.{ip,port}`: default 127.0.0.1:9090; `None` if disabled.
    pub control: Option<SocketAddr>,
    /// `apisix.status.{ip,port}`: only if written.
    pub status: Option<SocketAddr>,
    /// `plugin_attr.prometheus`: `None` if `enable_export_server` is false.
    pub prometheus: Option<PrometheusConfig>,
    /// `nginx_config.http.*` and what else shapes an exchange.
    pub http: HttpConfig,
    /// `nginx_config.error_log_level`, `notice` as info and what is worse than `error` as error; `None`: not written.
    pub log_level: Option<LevelFilter>,
    /// `apisix.ssl.ssl_trusted_certificate`: whose certificates brokers may have; default `system`.
    pub trusted: Vec<TrustSource>,
    /// `tollgate.*`.
    pub tollgate: TollgateConfig,
}

/// A part of `apisix.ssl.ssl_trusted_certificate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustSource {
    /// What the system trusts.
    System,
    /// A PEM file.
    File(String),
}

/// `tollgate.kafka.tls_client_cert_file` and `tls_client_key_file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Path of a PEM file.
    pub certificate: String,
    /// Path of a PEM file.
    pub key: String,
}

/// How many cores serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One for each core that the process may run on.
    Auto,
    /// This many.
    Count(NonZeroUsize),
}

/// Where the configuration of routes comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The Admin API, kept in the embedded store under `tollgate.data_dir`.
    Embedded,
    /// `apisix.yaml` beside the configuration file, reloaded when it changes (APISIX-COMPAT §8.1).
    Yaml,
    /// `apisix.json` beside the configuration file.
    Json,
}

/// `deployment.admin`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminConfig {
    /// `apisix.enable_admin`, default true.
    pub enabled: bool,
    /// `admin_listen.{ip,port}`, default 127.0.0.1:9180.
    pub listen: SocketAddr,
    /// `allow_admin`: who may ask; empty is everybody. Default 127.0.0.0/24 and ::1.
    pub allow: Vec<Cidr>,
    /// `admin_key`. Empty with `key_required`: a key is made at random and kept in the data directory.
    pub keys: Vec<AdminKey>,
    /// `admin_key_required`, default true.
    pub key_required: bool,
    /// `admin_api_version`, default v3.
    pub api_version: ApiVersion,
    /// `enable_admin_cors`, default true.
    pub cors: bool,
}

/// The shape of the Admin API's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    /// `{"key", "value"}` (APISIX-COMPAT §5.3).
    V3,
    /// `{"action", "node"}` (APISIX-COMPAT §5.9).
    V2,
}

/// Who may call the Admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminKey {
    /// For people.
    pub name: String,
    /// What `X-API-KEY` must hold.
    pub key: String,
    /// What the holder may do.
    pub role: Role,
}

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// GET only.
    Viewer,
}

/// `plugin_attr.prometheus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusConfig {
    /// `export_addr.{ip,port}`, default 127.0.0.1:9091.
    pub listen: SocketAddr,
    /// `export_uri`, default `/apisix/prometheus/metrics`.
    pub uri: String,
    /// `metric_prefix`, default `apisix_`: of the metrics that APISIX has too.
    pub prefix: String,
}

/// What shapes an exchange on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConfig {
    /// `client_header_timeout`: a request head must be there after this long. Default 60,000.
    pub client_header_timeout_ms: u64,
    /// `client_body_timeout`: between two reads of a request body. Default 60,000.
    pub client_body_timeout_ms: u64,
    /// `send_timeout`: between two writes to the client. Default 10,000.
    pub send_timeout_ms: u64,
    /// `keepalive_timeout`: an idle client connection is closed after this long; 0 is no keep-alive. Default 60,000.
    pub keepalive_timeout_ms: u64,
    /// `client_max_body_size`; `None` (0 in the file, the default) is unlimited.
    pub client_max_body_bytes: Option<u64>,
    /// `upstream.{keepalive,keepalive_requests,keepalive_timeout}`: what an upstream without `keepalive_pool` gets.
    pub upstream_keepalive: super::snapshot::Keepalive,
    /// `real_ip_header`, lower case; default `x-real-ip`. `None` if the file says an empty string.
    pub real_ip_header: Option<String>,
    /// `real_ip_from`: whose header is believed. Default 127.0.0.1 (APISIX's `unix:` is accepted and means nothing here).
    pub real_ip_from: Vec<Cidr>,
    /// `apisix.trusted_addresses`; `None`: not written, nobody's X-Forwarded-* is kept (APISIX-COMPAT §9.1).
    pub trusted: Option<Vec<Cidr>>,
    /// `apisix.enable_server_tokens`, default true: the version stands in `Server`.
    pub server_tokens: bool,
    /// `apisix.show_upstream_status_in_response_header`, default false.
    pub show_upstream_status: bool,
    /// `apisix.delete_uri_tail_slash`, default false.
    pub delete_uri_tail_slash: bool,
    /// `apisix.resolver_timeout`, default 5,000.
    pub resolver_timeout_ms: u64,
    /// `apisix.dns_resolver`; empty: those of the system.
    pub dns_servers: Vec<SocketAddr>,
    /// `apisix.dns_resolver_valid`, in seconds; `None`: as long as each answer says.
    pub dns_valid_s: Option<u64>,
}

/// `tollgate:`, what APISIX has no name for.
#[derive(Clone, Debug)]
pub struct TollgateConfig {
    /// `data_dir`: the store, the generated admin key. Default `./tollgate-data`, from the working directory.
    pub data_dir: String,
    /// `admin_on_proxy_port`: the Admin API also under `/apisix/admin` on the proxy's port. Default false.
    pub admin_on_proxy_port: bool,
    /// `hosts`: `name` or `name:port` → `host:port`, before any resolver is asked.
    pub hosts: BTreeMap<String, String>,
    /// `ring.bytes`: all slots of one core. Default [`crate::base::limits::RING_BYTES`].
    pub ring_bytes: usize,
    /// `ring.slot_bytes`: one batch. Default [`crate::base::limits::SLOT_BYTES`].
    pub slot_bytes: usize,
    /// `ring.path`, `spool.*`: where records are kept that Kafka cannot take now, or that a killed process leaves.
    pub keep: KeepConfig,
    /// `driver`.
    pub driver: Driver,
    /// `shutdown_timeout_ms`: exchanges are finished and records flushed for this long. Default 30,000.
    pub shutdown_timeout_ms: u64,
    /// `body_capture_bytes`: bodies held for logging, per core. Default [`crate::base::limits::BODY_CAPTURE_BYTES`].
    pub body_capture_bytes: usize,
    /// `via`: our name in the Via field of requests and responses; `None` (`none` in the file): no Via from us. Default `tollgate`.
    pub via: Option<String>,
    /// `request_head_bytes`, `request_header_count`, `request_target_bytes`: how large a request's head may be. Defaults of
    /// [`HeadLimits::default`].
    pub request_limits: HeadLimits,
    /// `response_head_bytes`, `response_header_count`: the same of an upstream's. Its `target_bytes` means nothing.
    pub response_limits: HeadLimits,
    /// `max_connections`: client connections per core; 0 is no limit of our own. Default 0.
    pub max_connections: usize,
    /// `max_connections_per_address`: client connections of one IPv4 address or IPv6 /64, on all cores together; 0 is no limit. Default 0.
    pub max_connections_per_address: u32,
    /// `kafka.*`, keys as the fields are called. `seed` and `nonce_key` stay 0: the shell sets them. `record_headers` (default true) becomes
    /// `trace`: that it is there is all that is known here.
    pub kafka: ShipperOptions,
    /// `kafka.tls_client_cert_file` and `kafka.tls_client_key_file`: our certificate where an instance names none.
    pub client_certificate: Option<CertificateFiles>,
}

/// `tollgate.driver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where the kernel allows it, else epoll.
    Auto,
    /// io_uring or no start.
    IoUring,
    /// epoll.
    Epoll,
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl FileConfig {
    /// Reads the text of a `config.yaml`. `env` answers `${{VAR}}` and `${{VAR:=default}}`. Gives the values and the warnings,
    /// each of which names its key.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<(Self, Vec<String>), Vec<Problem>> {
        read::read(text, env)
    }
}

#[cfg(test)]
mod tests;
