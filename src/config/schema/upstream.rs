//! Upstreams, on their own and inside routes and services (APISIX-COMPAT §7.1, §7.4).

use serde_json::{Value, json};

use super::parts;

/// `upstreams`
pub fn upstream() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": parts::id(),
            "name": parts::name(),
            "desc": parts::desc(),
            "labels": parts::labels(),
            "create_time": parts::unix_seconds(),
            "update_time": parts::unix_seconds(),
            "type": {"type": "string", "default": "roundrobin", "description": "algorithms of load balancing"},
            "nodes": nodes(),
            "retries": {"type": "integer", "minimum": 0},
            "retry_timeout": {"type": "number", "minimum": 0},
            "timeout": parts::timeout(),
            "keepalive_pool": keepalive_pool(),
            "scheme": {"enum": ["http", "https", "grpc", "grpcs", "tcp", "tls", "udp", "kafka"], "default": "http"},
            "pass_host": {"type": "string", "enum": ["pass", "node", "rewrite"], "default": "pass"},
            "upstream_host": parts::host(),
            "hash_on": {"type": "string", "default": "vars",
                "enum": ["vars", "header", "cookie", "consumer", "vars_combinations"]},
            "key": {"type": "string", "description": "the key of chash for dynamic load balancing"},
            "checks": checks(),
            "tls": tls(),
            "service_name": {"type": "string", "maxLength": 256, "minLength": 1},
            "discovery_type": {"type": "string"},
            "discovery_args": {"type": "object"},
        },
        "oneOf": [{"required": ["nodes"]}, {"required": ["service_name", "discovery_type"]}],
        "additionalProperties": false,
    })
}

fn nodes() -> Value {
    let weight = json!({"type": "integer", "minimum": 0, "description": "weight of node"});
    let node = json!({
        "type": "object",
        "properties": {
            "host": parts::node_host(),
            "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "weight": weight,
            "priority": {"type": "integer", "default": 0},
            "metadata": {"type": "object"},
        },
        "required": ["host", "weight"],
    });
    json!({"anyOf": [
        {"type": "object", "patternProperties": {".*": weight}},
        {"type": "array", "items": node},
    ]})
}

fn keepalive_pool() -> Value {
    json!({
        "type": "object",
        "properties": {
            "size": {"type": "integer", "default": 320, "minimum": 1},
            "idle_timeout": {"type": "number", "default": 60, "minimum": 0},
            "requests": {"type": "integer", "default": 1000, "minimum": 1},
        },
    })
}

fn tls() -> Value {
    json!({
        "type": "object",
        "properties": {
            "client_cert_id": parts::id(),
            "client_cert": {"type": "string", "minLength": 128, "maxLength": 65536},
            "client_key": {"type": "string", "minLength": 128, "maxLength": 65536},
            "verify": {"type": "boolean", "default": false},
        },
        "dependencies": {"client_cert": ["client_key"], "client_key": ["client_cert"]},
    })
}

fn count(least: u64, default: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": 254, "default": default})
}

fn statuses(default: &[u16]) -> Value {
    json!({"type": "array", "minItems": 1, "uniqueItems": true, "default": default,
        "items": {"type": "integer", "minimum": 200, "maximum": 599}})
}

fn checks() -> Value {
    json!({
        "type": "object",
        "properties": {"active": active(), "passive": passive()},
        "anyOf": [{"required": ["active"]}, {"required": ["active", "passive"]}],
        "additionalProperties": false,
    })
}

fn check_type() -> Value {
    json!({"type": "string", "enum": ["http", "https", "tcp"], "default": "http"})
}

fn active() -> Value {
    let interval = json!({"type": "integer", "minimum": 1, "default": 1});
    json!({
        "type": "object",
        "properties": {
            "type": check_type(),
            "timeout": {"type": "number", "default": 1},
            "concurrency": {"type": "integer", "default": 10},
            "host": parts::host(),
            "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "http_method": {"type": "string", "default": "GET"},
            "http_path": {"type": "string", "default": "/"},
            "http_req_body": {"type": "string", "default": ""},
            "https_verify_certificate": {"type": "boolean", "default": true},
            "req_headers": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "string"}},
            "healthy": {"type": "object", "properties": {
                "interval": interval,
                "http_statuses": statuses(&[200, 302]),
                "successes": count(1, 2),
            }},
            "unhealthy": {"type": "object", "properties": {
                "interval": interval,
                "http_statuses": statuses(&[429, 404, 500, 501, 502, 503, 504, 505]),
                "http_failures": count(1, 5),
                "tcp_failures": count(1, 2),
                "timeouts": count(1, 3),
            }},
        },
        "additionalProperties": false,
    })
}

fn passive() -> Value {
    let healthy: Vec<u16> = (200..=208).chain([226]).chain(300..=308).collect();
    json!({
        "type": "object",
        "properties": {
            "type": check_type(),
            "healthy": {"type": "object", "properties": {
                "http_statuses": statuses(&healthy),
                "successes": count(0, 5),
            }},
            "unhealthy": {"type": "object", "properties": {
                "http_statuses": statuses(&[429, 500, 503]),
                "tcp_failures": count(0, 2),
                "timeouts": count(0, 7),
                "http_failures": count(0, 5),
            }},
        },
        "additionalProperties": false,
    })
}
