//! What several schemas share: ids, labels, times, timeouts, hosts, `_meta`.

use serde_json::{Value, json};

/// An id (APISIX-COMPAT §5.4).
pub fn id() -> Value {
    json!({"anyOf": [
        {"type": "string", "minLength": 1, "maxLength": crate::config::resource::ID_BYTES, "pattern": "^[a-zA-Z0-9-_.]+$"},
        {"type": "integer", "minimum": 1},
    ]})
}

/// A name for people.
pub fn name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 256})
}

/// A description.
pub fn desc() -> Value {
    json!({"type": "string", "maxLength": 256})
}

/// `labels`.
pub fn labels() -> Value {
    json!({"type": "object", "patternProperties": {
        ".*": {"type": "string", "pattern": r"^\S+$", "minLength": 1, "maxLength": 256},
    }})
}

/// `create_time`, `update_time`: seconds since 1970.
pub fn unix_seconds() -> Value {
    json!({"type": "integer"})
}

/// `timeout`, all three in seconds.
pub fn timeout() -> Value {
    let seconds = json!({"type": "number", "exclusiveMinimum": 0, "default": 60, "description": "seconds"});
    json!({"type": "object", "properties": {"connect": seconds, "send": seconds, "read": seconds},
        "required": ["connect", "send", "read"]})
}

/// A host, or `*`, or `*` and the end of one.
pub fn host() -> Value {
    json!({"type": "string", "pattern": r"^\*$|^\*?[0-9a-zA-Z-._\[\]:]+$"})
}

/// A node's: also a Unix socket, which is ours.
pub fn node_host() -> Value {
    json!({"type": "string", "pattern": r"^\*$|^\*?[0-9a-zA-Z-._\[\]:]+$|^unix:/.+$"})
}

/// `hosts`.
pub fn hosts() -> Value {
    json!({"type": "array", "items": host(), "minItems": 1, "uniqueItems": true})
}

/// An address or a CIDR range.
pub fn address() -> Value {
    json!({"type": "string", "anyOf": [
        {"title": "IPv4", "format": "ipv4"},
        {"title": "IPv4/CIDR", "pattern": r"^([0-9]{1,3}\.){3}[0-9]{1,3}/([12]?[0-9]|3[0-2])$"},
        {"title": "IPv6", "format": "ipv6"},
        {"title": "IPv6/CIDR", "pattern": r"^([a-fA-F0-9]{0,4}:){1,8}(:[a-fA-F0-9]{0,4}){0,8}([a-fA-F0-9]{0,4})?/[0-9]{1,3}$"},
    ]})
}

/// `plugins`: each is checked by its own schema.
pub fn plugins() -> Value {
    json!({"type": "object"})
}

/// What every plugin takes (APISIX-COMPAT §1.3).
pub fn plugin_meta() -> Value {
    json!({
        "type": "object",
        "properties": {
            "disable": {"type": "boolean"},
            "error_response": {"oneOf": [{"type": "string"}, {"type": "object"}]},
            "priority": {"type": "integer", "description": "priority of plugins by customized order"},
            "filter": {"type": "array", "description": "filter determines whether the plugin needs to be executed at runtime"},
            "pre_function": {"type": "string"},
        },
        "additionalProperties": false,
    })
}
