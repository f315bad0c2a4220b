//! Routes, services, global rules and plugin configs (APISIX-COMPAT §6.1).

use serde_json::{Value, json};

use super::{parts, upstream::upstream};

/// `routes`
pub fn route() -> Value {
    let uri = json!({"type": "string", "minLength": 1, "maxLength": 4096});
    let methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PURGE"];
    let script = json!({"type": "string", "minLength": 10, "maxLength": 102_400});
    json!({
        "type": "object",
        "properties": {
            "id": parts::id(),
            "name": parts::name(),
            "desc": parts::desc(),
            "labels": parts::labels(),
            "create_time": parts::unix_seconds(),
            "update_time": parts::unix_seconds(),
            "uri": uri,
            "uris": {"type": "array", "items": uri, "minItems": 1, "uniqueItems": true},
            "priority": {"type": "integer", "default": 0},
            "methods": {"type": "array", "items": {"type": "string", "enum": methods}, "uniqueItems": true},
            "host": parts::host(),
            "hosts": parts::hosts(),
            "remote_addr": parts::address(),
            "remote_addrs": {"type": "array", "items": parts::address(), "minItems": 1, "uniqueItems": true},
            "timeout": parts::timeout(),
            "vars": {"type": "array"},
            "filter_func": {"type": "string", "minLength": 10, "pattern": "^function"},
            "script": script,
            "script_id": parts::id(),
            "plugins": parts::plugins(),
            "plugin_config_id": parts::id(),
            "upstream": upstream(),
            "service_id": parts::id(),
            "upstream_id": parts::id(),
            "enable_websocket": {"type": "boolean"},
            "status": {"type": "integer", "enum": [1, 0], "default": 1},
        },
        "additionalProperties": false,
        "allOf": [one_of("uri", "uris"), at_most_one_of("host", "hosts"), at_most_one_of("remote_addr", "remote_addrs")],
        "anyOf": targets(),
        "not": {"anyOf": [{"required": ["script", "plugins"]}, {"required": ["script", "plugin_config_id"]}]},
    })
}

fn one_of(one: &str, many: &str) -> Value {
    json!({"oneOf": [{"required": [one]}, {"required": [many]}]})
}

fn at_most_one_of(one: &str, many: &str) -> Value {
    json!({"oneOf": [
        {"not": {"anyOf": [{"required": [one]}, {"required": [many]}]}}, {"required": [one]}, {"required": [many]},
    ]})
}

/// A route must lead somewhere.
fn targets() -> Value {
    let pairs = ["uri", "uris"].into_iter().flat_map(|uri| {
        ["plugins", "upstream", "upstream_id", "service_id", "script"].map(|target| json!({"required": [target, uri]}))
    });
    pairs.collect()
}

/// `services`
pub fn service() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": parts::id(),
            "name": parts::name(),
            "desc": parts::desc(),
            "labels": parts::labels(),
            "create_time": parts::unix_seconds(),
            "update_time": parts::unix_seconds(),
            "plugins": parts::plugins(),
            "upstream": upstream(),
            "upstream_id": parts::id(),
            "script": {"type": "string", "minLength": 10, "maxLength": 102_400},
            "enable_websocket": {"type": "boolean"},
            "hosts": parts::hosts(),
        },
        "additionalProperties": false,
    })
}

/// `global_rules`
pub fn global_rule() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": parts::id(),
            "plugins": parts::plugins(),
            "create_time": parts::unix_seconds(),
            "update_time": parts::unix_seconds(),
        },
        "required": ["id", "plugins"],
        "additionalProperties": false,
    })
}

/// `plugin_configs`
pub fn plugin_config() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": parts::id(),
            "name": parts::name(),
            "desc": parts::desc(),
            "labels": parts::labels(),
            "plugins": parts::plugins(),
            "create_time": parts::unix_seconds(),
            "update_time": parts::unix_seconds(),
        },
        "required": ["id", "plugins"],
        "additionalProperties": false,
    })
}
