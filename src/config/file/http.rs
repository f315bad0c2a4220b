//! `nginx_config.http` and the keys of `apisix` that shape an exchange.

use std::net::{IpAddr, SocketAddr};

use super::HttpConfig;
use super::tree::{Section, shown};
use crate::config::snapshot::Keepalive;
use crate::route::Cidr;

/// APISIX's pool of idle upstream connections (APISIX-COMPAT §7.1).
pub const KEEPALIVE: Keepalive = Keepalive { size: 320, idle_timeout_ms: 60_000, requests: 1000 };

pub fn http(http: &Section<'_>, apisix: &Section<'_>) -> HttpConfig {
    let upstream = http.section("upstream");
    without_effect(http, apisix);
    HttpConfig {
        client_header_timeout_ms: http.duration_ms("client_header_timeout", 60_000),
        client_body_timeout_ms: http.duration_ms("client_body_timeout", 60_000),
        send_timeout_ms: http.duration_ms("send_timeout", 10_000),
        keepalive_timeout_ms: http.duration_ms("keepalive_timeout", 60_000),
        client_max_body_bytes: Some(http.bytes("client_max_body_size", 0..=u64::MAX, 0)).filter(|bytes| *bytes > 0),
        upstream_keepalive: Keepalive {
            size: upstream.number("keepalive", 0..=1_000_000, KEEPALIVE.size),
            idle_timeout_ms: upstream.duration_ms("keepalive_timeout", KEEPALIVE.idle_timeout_ms),
            requests: upstream.number("keepalive_requests", 1..=u64::from(u32::MAX), KEEPALIVE.requests),
        },
        real_ip_header: Some(http.text("real_ip_header").unwrap_or_else(|| "x-real-ip".into()).to_ascii_lowercase())
            .filter(|name| !name.is_empty()),
        real_ip_from: http.ranges("real_ip_from").unwrap_or_else(|| Cidr::parse("127.0.0.1").into_iter().collect()),
        trusted: apisix.ranges("trusted_addresses"),
        server_tokens: apisix.flag("enable_server_tokens", true),
        show_upstream_status: apisix.flag("show_upstream_status_in_response_header", false),
        delete_uri_tail_slash: apisix.flag("delete_uri_tail_slash", false),
        resolver_timeout_ms: apisix.duration_ms("resolver_timeout", 5_000),
        dns_servers: dns_servers(apisix),
        dns_valid_s: Some(apisix.number("dns_resolver_valid", 0..=86_400, 0_u64)).filter(|seconds| *seconds > 0),
    }
}

/// Addresses of DNS servers, on port 53 unless they say another.
fn dns_servers(apisix: &Section<'_>) -> Vec<SocketAddr> {
    let written = apisix.list("dns_resolver").unwrap_or_default();
    let servers = written.into_iter().filter_map(|(path, value)| {
        let server = value.as_str().and_then(dns_server);
        if server.is_none() {
            apisix.wrong_at(
                &path,
                format!("{} is no address of a DNS server: 192.0.2.1, or 192.0.2.1:5353", shown(value)),
            );
        }
        server
    });
    servers.collect()
}

/// A DNS server as the configuration writes it.
fn dns_server(text: &str) -> Option<SocketAddr> {
    let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53));
    text.parse().ok().or_else(bare)
}

/// Warns about what is taken when it is off and would be missed when it is on.
fn without_effect(http: &Section<'_>, apisix: &Section<'_>) {
    if on_or_off(http, "real_ip_recursive") {
        let text = "on has no effect in this version of Tollgate: the last address of the header is the client's, \
                    also if real_ip_from holds it";
        http.warn("real_ip_recursive", text);
    }
    if apisix.flag("match_uri_encoded_slash", false) {
        let text = "true has no effect in this version of Tollgate: %2F in a path is matched as /";
        apisix.warn("match_uri_encoded_slash", text);
    }
}

/// nginx's flag, which YAML may have read as one of its own.
fn on_or_off(http: &Section<'_>, key: &str) -> bool {
    match http.value(key).and_then(serde_json::Value::as_str) {
        Some("on") => true,
        Some("off") => false,
        _ => http.flag(key, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_with_or_without_a_port() {
        for (text, found) in [
            ("1.1.1.1", Some("1.1.1.1:53")),
            ("127.0.0.1:5353", Some("127.0.0.1:5353")),
            ("::1", Some("[::1]:53")),
            ("[::1]", Some("[::1]:53")),
            ("[::1]:5353", Some("[::1]:5353")),
            ("dns.example", None),
            ("", None),
        ] {
            assert_eq!(dns_server(text), found.map(|text| text.parse().expect("an address")), "{text}");
        }
    }
}
