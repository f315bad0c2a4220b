//! `tollgate:`, what APISIX has no name for.

use std::collections::BTreeMap;

use super::tree::{Section, shown};
use super::{CertificateFiles, Driver, TollgateConfig};
use crate::base::limits;
use crate::http::limits::HeadLimits;
use crate::http::syntax::is_token;
use crate::kafka::ShipperOptions;
use crate::kafka::trace::Stream;

/// Bytes that a ring may take per core.
const RING_BYTES_MOST: u64 = 1 << 40;
/// Bytes of the smallest slot: a default entry with its headers fits.
const SLOT_BYTES_LEAST: u64 = 64 * 1024;
/// Bytes of the largest slot.
const SLOT_BYTES_MOST: u64 = 64 * 1024 * 1024;
/// The most that a limit of connections may be.
const CONNECTIONS_MOST: u64 = 10_000_000;
/// Longest duration of a key in milliseconds: a day.
pub const MS_MOST: u64 = 86_400_000;

pub fn tollgate(tollgate: &Section<'_>, nginx: &Section<'_>) -> TollgateConfig {
    let ring = tollgate.section("ring");
    let slot_bytes = ring.bytes("slot_bytes", SLOT_BYTES_LEAST..=SLOT_BYTES_MOST, limits::SLOT_BYTES as u64);
    let ring_bytes = ring.bytes("bytes", 0..=RING_BYTES_MOST, limits::RING_BYTES as u64);
    if ring_bytes < 2 * slot_bytes {
        ring.wrong("bytes", format!("{ring_bytes} bytes hold fewer than two slots of {slot_bytes} bytes"));
    }
    let drivers = [("auto", Driver::Auto), ("io_uring", Driver::IoUring), ("epoll", Driver::Epoll)];
    let shutdown_ms = nginx.duration_ms("worker_shutdown_timeout", 30_000);
    let kafka_section = tollgate.section("kafka");
    let data_dir = tollgate.text("data_dir").unwrap_or_else(|| "./tollgate-data".into());
    TollgateConfig {
        keep: super::keep::keep(&ring, &tollgate.section("spool"), &data_dir),
        data_dir,
        admin_on_proxy_port: tollgate.flag("admin_on_proxy_port", false),
        hosts: hosts(&tollgate.section("hosts")),
        ring_bytes: usize::try_from(ring_bytes).unwrap_or(usize::MAX),
        slot_bytes: usize::try_from(slot_bytes).unwrap_or(usize::MAX),
        driver: tollgate.word("driver", &drivers, Driver::Auto),
        shutdown_timeout_ms: tollgate.number("shutdown_timeout_ms", 0..=MS_MOST, shutdown_ms),
        body_capture_bytes: tollgate
            .bytes("body_capture_bytes", 0..=RING_BYTES_MOST, limits::BODY_CAPTURE_BYTES as u64)
            .try_into()
            .unwrap_or(usize::MAX),
        via: via(tollgate),
        request_limits: request_limits(tollgate),
        response_limits: head_limits(tollgate, ["response_head_bytes", "response_header_count"]),
        max_connections: tollgate.number("max_connections", 0..=CONNECTIONS_MOST, 0),
        max_connections_per_address: tollgate.number("max_connections_per_address", 0..=CONNECTIONS_MOST, 0),
        kafka: kafka(&kafka_section, slot_bytes),
        client_certificate: client_certificate(&kafka_section),
    }
}

/// How large a head may be; `keys`: its bytes, its lines.
fn head_limits(tollgate: &Section<'_>, keys: [&str; 2]) -> HeadLimits {
    let ((least, most), (fewest, longest)) = (limits::HEAD_BYTES_BOUNDS, limits::HEADER_COUNT_BOUNDS);
    let head_bytes = tollgate.bytes(keys[0], least as u64..=most as u64, limits::HEAD_BYTES as u64);
    HeadLimits {
        head_bytes: usize::try_from(head_bytes).unwrap_or(limits::HEAD_BYTES),
        header_count: tollgate.number(keys[1], fewest as u64..=longest as u64, limits::HEADER_COUNT),
        ..HeadLimits::default()
    }
}

/// The same of a request. A smaller head makes a target that is not written smaller too.
fn request_limits(tollgate: &Section<'_>) -> HeadLimits {
    let head = head_limits(tollgate, ["request_head_bytes", "request_header_count"]);
    let (least, most) = (limits::TARGET_BYTES_LEAST, head.head_bytes - limits::TARGET_ROOM_BYTES);
    let key = "request_target_bytes";
    let target = tollgate.bytes(key, least as u64..=u64::MAX, limits::TARGET_BYTES.min(most) as u64);
    let target_bytes = usize::try_from(target).unwrap_or(usize::MAX);
    if target_bytes > most {
        let text = format!(
            "a target of {target_bytes} bytes does not fit a head of {} bytes (request_head_bytes): at most {most}",
            head.head_bytes
        );
        tollgate.wrong(key, text);
    }
    HeadLimits { target_bytes, ..head }
}

/// The name that stands for us in Via (RFC 9110 §7.6.3: a token).
fn via(tollgate: &Section<'_>) -> Option<String> {
    let name = tollgate.text("via").unwrap_or_else(|| "tollgate".into());
    if !is_token(name.as_bytes()) {
        let text = format!("expected a name of letters, digits and !#$%&'*+-.^_`|~, or none; found {name:?}");
        tollgate.wrong("via", text);
    }
    (name != super::keep::NONE).then_some(name)
}

fn hosts(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut hosts = BTreeMap::new();
    for (name, target) in section.entries() {
        section.value(name);
        match target.as_str().filter(|target| is_host_and_port(target)) {
            Some(target) => {
                hosts.insert(name.to_ascii_lowercase(), target.to_owned());
            }
            None => section.wrong(name, format!("expected host:port, found {}", shown(target))),
        }
    }
    hosts
}

fn is_host_and_port(target: &str) -> bool {
    let (host, port) = crate::config::address::split(target);
    !host.is_empty() && port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn client_certificate(kafka: &Section<'_>) -> Option<CertificateFiles> {
    let names = ["tls_client_cert_file", "tls_client_key_file"];
    match names.map(|name| kafka.text(name)) {
        [Some(certificate), Some(key)] => Some(CertificateFiles { certificate, key }),
        [None, None] => None,
        [certificate, _] => {
            let missing = if certificate.is_some() { names[1] } else { names[0] };
            kafka.wrong(missing, "a certificate and its key go together: this one is missing");
            None
        }
    }
}

fn kafka(kafka: &Section<'_>, slot_bytes: u64) -> ShipperOptions {
    let default = ShipperOptions::default();
    let ms = |key: &str, default: u64| kafka.number(key, 1..=MS_MOST, default);
    ShipperOptions {
        client_id: kafka.text("client_id").unwrap_or(default.client_id),
        origin: default.origin,
        spool: default.spool,
        ring_stays: default.ring_stays,
        seed: default.seed,
        nonce_key: default.nonce_key,
        linger_ms: kafka.number("linger_ms", 0..=60_000, default.linger_ms),
        batch_bytes: kafka
            .bytes("batch_bytes", 1024..=slot_bytes, (default.batch_bytes as u64).min(slot_bytes))
            .try_into()
            .unwrap_or(default.batch_bytes),
        sticky_bytes: kafka.bytes("sticky_bytes", 1..=RING_BYTES_MOST, default.sticky_bytes),
        request_timeout_ms: ms("request_timeout_ms", default.request_timeout_ms),
        connect_timeout_ms: ms("connect_timeout_ms", default.connect_timeout_ms),
        metadata_max_age_ms: ms("metadata_max_age_ms", default.metadata_max_age_ms),
        retry_backoff_ms: ms("retry_backoff_ms", default.retry_backoff_ms),
        retry_backoff_max_ms: ms("retry_backoff_max_ms", default.retry_backoff_max_ms),
        reconnect_backoff_ms: ms("reconnect_backoff_ms", default.reconnect_backoff_ms),
        reconnect_backoff_max_ms: ms("reconnect_backoff_max_ms", default.reconnect_backoff_max_ms),
        stalled_report_ms: ms("stalled_report_ms", default.stalled_report_ms),
        trace: kafka.flag("record_headers", true).then(Stream::default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_need_a_host_and_a_port() {
        for good in ["127.0.0.1:80", "echo:8080", "[::1]:80"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in ["127.0.0.1", "echo:", ":80", "echo:0", "echo:70000", "[::1]", "::1"] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }
}
