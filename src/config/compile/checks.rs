//! `checks` of an upstream, defaults filled in (APISIX-COMPAT §7.4).

use serde_json::Value;

use super::content::{Json, hash_of};
use super::field;
use crate::config::snapshot::{ActiveCheck, CheckKind, Checks, HostOf, PassHost, Scheme, authority};
use crate::upstream::health::{Rules, Thresholds};

/// Defaults of the status lists and thresholds: healthy, unhealthy, successes, HTTP failures, TCP failures, timeouts.
type Defaults = (Vec<u16>, &'static [u16], [u8; 4]);

/// The checks of an upstream, if it has any.
///
/// # Errors
/// What cannot be sent to a node: text that would end a line of the request, or the path.
pub fn read(upstream: &Value, pass_host: &PassHost, scheme: Scheme) -> Result<Option<Checks>, String> {
    let Some(checks) = upstream.get("checks") else { return Ok(None) };
    let Some(active) = checks.get("active") else { return Ok(None) };
    let passive = checks.get("passive").map(|passive| {
        let healthy = (200..=208).chain([226]).chain(300..=308).collect();
        rules(passive, (healthy, &[429, 500, 503], [5, 5, 2, 7]))
    });
    let active = self::active(active, pass_host)?;
    // What a probe says depends on these as well.
    let content = hash_of(&(Json(Some(checks)), pass_host, scheme));
    Ok(Some(Checks { content, active, passive }))
}

fn active(active: &Value, pass_host: &PassHost) -> Result<ActiveCheck, String> {
    let text = |name: &str, default: &str| field::text(active, name).unwrap_or(default).to_owned();
    let interval_ms = |state: &str| {
        let seconds: Option<u64> = active.get(state).and_then(|state| field::integer(state, "interval"));
        seconds.unwrap_or(1).max(1).saturating_mul(1_000)
    };
    let (method, path) = (text("http_method", "GET"), text("http_path", "/"));
    let headers = active.get("req_headers").and_then(Value::as_array).into_iter().flatten();
    let headers: Vec<String> = headers.filter_map(Value::as_str).map(Into::into).collect();
    for (name, text, is_word) in [("http_method", &method, true), ("http_path", &path, true)]
        .into_iter()
        .chain(headers.iter().map(|line| ("req_headers", line, false)))
    {
        let is_broken = |byte: u8| byte.is_ascii_control() && byte != b'\t' || is_word && byte == b' ';
        if text.is_empty() || text.bytes().any(is_broken) || (!is_word && !text.contains(':')) {
            return Err(format!(
                "upstream.checks.active.{name}: \"{}\" cannot stand in a request",
                text.escape_debug()
            ));
        }
    }
    let (unhealthy, counts): (&[u16], _) = (&[429, 404, 500, 501, 502, 503, 504, 505], [2, 5, 2, 3]);
    let host = match pass_host {
        PassHost::Rewrite(host) => HostOf::Fixed(String::from_utf8_lossy(host).into_owned()),
        PassHost::Node => HostOf::NodeWithPort,
        PassHost::Pass => field::text(active, "host").map_or(HostOf::Node, |host| HostOf::Fixed(host.to_owned())),
    };
    Ok(ActiveCheck {
        kind: match field::text(active, "type") {
            Some("tcp") => CheckKind::Tcp,
            Some("https") => {
                CheckKind::Https { verify: field::flag(active, "https_verify_certificate").unwrap_or(true) }
            }
            _ => CheckKind::Http,
        },
        timeout_ms: field::seconds_as_ms(active, "timeout").unwrap_or(1_000).max(1),
        concurrency: field::integer::<u32>(active, "concurrency").unwrap_or(10).max(1),
        host,
        port: field::integer(active, "port"),
        method,
        path,
        body: text("http_req_body", ""),
        headers,
        healthy_interval_ms: interval_ms("healthy"),
        unhealthy_interval_ms: interval_ms("unhealthy"),
        rules: rules(active, (vec![200, 302], unhealthy, counts)),
    })
}

fn rules(check: &Value, (healthy_default, unhealthy_default, counts): Defaults) -> Rules {
    let (healthy, unhealthy) = (check.get("healthy"), check.get("unhealthy"));
    let count = |state: Option<&Value>, name: &str, default: u8| {
        state.and_then(|state| field::integer(state, name)).unwrap_or(default)
    };
    let statuses = |state: Option<&Value>| {
        let list = state?.get("http_statuses")?.as_array()?;
        Some(list.iter().filter_map(|status| u16::try_from(status.as_f64()? as i64).ok()).collect())
    };
    let [successes, http_failures, tcp_failures, timeouts] = counts;
    Rules {
        healthy_statuses: statuses(healthy).unwrap_or(healthy_default),
        unhealthy_statuses: statuses(unhealthy).unwrap_or_else(|| unhealthy_default.to_vec()),
        thresholds: Thresholds {
            successes: count(healthy, "successes", successes),
            http_failures: count(unhealthy, "http_failures", http_failures),
            tcp_failures: count(unhealthy, "tcp_failures", tcp_failures),
            timeouts: count(unhealthy, "timeouts", timeouts),
        },
    }
}

/// The Host of a probe to the node, and the name that its certificate must have.
impl HostOf {
    /// Of the node `host`:`port`.
    pub fn of(&self, host: &str, port: u16, scheme: Scheme) -> String {
        match self {
            Self::Fixed(host) => host.clone(),
            Self::NodeWithPort => authority(host, port, scheme),
            Self::Node if host.contains(':') => format!("[{host}]"),
            Self::Node => host.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checks(checks: Value) -> Checks {
        read(&json!({"checks": checks}), &PassHost::Pass, Scheme::Http).unwrap().unwrap()
    }

    #[test]
    fn what_is_left_out_has_apisix_defaults() {
        let checks = checks(json!({"active": {}, "passive": {}}));
        let active = &checks.active;
        assert_eq!((active.kind, active.timeout_ms, active.concurrency), (CheckKind::Http, 1_000, 10));
        assert_eq!((&*active.method, &*active.path, &*active.body, active.port), ("GET", "/", "", None));
        assert_eq!((active.healthy_interval_ms, active.unhealthy_interval_ms), (1_000, 1_000));
        assert_eq!(
            active.rules,
            Rules {
                healthy_statuses: vec![200, 302],
                unhealthy_statuses: vec![429, 404, 500, 501, 502, 503, 504, 505],
                thresholds: Thresholds { successes: 2, http_failures: 5, tcp_failures: 2, timeouts: 3 },
            }
        );
        let passive = checks.passive.unwrap();
        assert_eq!(passive.thresholds, Thresholds { successes: 5, http_failures: 5, tcp_failures: 2, timeouts: 7 });
        assert_eq!((passive.healthy_statuses.len(), passive.unhealthy_statuses), (19, vec![429, 500, 503]));
    }

    #[test]
    fn what_is_written_counts() {
        let checks = checks(json!({
            "active": {
                "type": "https", "timeout": 0.5, "concurrency": 3, "host": "probe.test", "port": 8443, "http_method": "POST",
                "http_path": "/live", "http_req_body": "ping", "https_verify_certificate": false, "req_headers": ["A: b"],
                "healthy": {"interval": 7, "http_statuses": [204], "successes": 1},
                "unhealthy": {"interval": 9, "http_statuses": [418], "http_failures": 1, "tcp_failures": 4, "timeouts": 6},
            },
            "passive": {"healthy": {"successes": 0}, "unhealthy": {"timeouts": 0}},
        }));
        let active = &checks.active;
        assert_eq!((active.kind, active.timeout_ms, active.concurrency), (CheckKind::Https { verify: false }, 500, 3));
        assert_eq!((&active.host, active.port), (&HostOf::Fixed("probe.test".into()), Some(8443)));
        assert_eq!((&*active.method, &*active.path, &*active.body), ("POST", "/live", "ping"));
        assert_eq!(
            (active.healthy_interval_ms, active.unhealthy_interval_ms, &*active.headers),
            (7_000, 9_000, &["A: b".to_owned()][..])
        );
        assert_eq!((&*active.rules.healthy_statuses, &*active.rules.unhealthy_statuses), (&[204][..], &[418][..]));
        assert_eq!(
            active.rules.thresholds,
            Thresholds { successes: 1, http_failures: 1, tcp_failures: 4, timeouts: 6 }
        );
        let passive = checks.passive.unwrap();
        assert_eq!(passive.thresholds, Thresholds { successes: 0, http_failures: 5, tcp_failures: 2, timeouts: 0 });
    }

    #[test]
    fn the_host_of_a_probe_follows_pass_host() {
        let host = |pass: PassHost, active: Value| {
            let checks = read(&json!({"checks": {"active": active}}), &pass, Scheme::Http).unwrap().unwrap();
            checks.active.host.of("node.test", 8080, Scheme::Http)
        };
        assert_eq!(host(PassHost::Pass, json!({})), "node.test");
        assert_eq!(host(PassHost::Pass, json!({"host": "probe.test"})), "probe.test");
        assert_eq!(host(PassHost::Node, json!({"host": "probe.test"})), "node.test:8080");
        assert_eq!(host(PassHost::Rewrite("other.test".into()), json!({})), "other.test");
    }

    #[test]
    fn what_would_break_the_request_is_refused_by_name() {
        for (name, value) in [
            ("http_path", json!("/a b")),
            ("http_path", json!("/\r\nX: y")),
            ("http_method", json!("")),
            ("req_headers", json!(["A: b\r\nHost: c"])),
            ("req_headers", json!(["no colon"])),
        ] {
            let upstream = json!({"checks": {"active": {name: value}}});
            let said = read(&upstream, &PassHost::Pass, Scheme::Http).unwrap_err();
            assert!(said.starts_with(&format!("upstream.checks.active.{name}: ")), "{said}");
        }
    }
}
