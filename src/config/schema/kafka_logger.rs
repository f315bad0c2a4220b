//! kafka-logger's attributes and metadata (APISIX-COMPAT §1.1, §2.1). Ours beside APISIX's: `compression`, `partitioner`, `overflow`, `tls.ca`,
//! `tls.client_cert`, `tls.client_key`, `ack_before_response` with what belongs to it, and `required_acks` without a default: unset means all replicas.

use serde_json::{Map, Value, json};

use super::parts;

/// The most that `hold_bytes` may say: so much memory a waiting response may take.
const HOLD_BYTES_MAX: usize = 1024 * 1024;

/// The attributes of an instance.
pub fn attributes() -> Value {
    let mut properties = Map::new();
    properties.insert("_meta".into(), parts::plugin_meta());
    for part in [connection(), entry(), producer(), hold(), batching()] {
        if let Value::Object(part) = part {
            properties.extend(part);
        }
    }
    json!({
        "type": "object",
        "properties": properties,
        "oneOf": [{"required": ["broker_list", "kafka_topic"]}, {"required": ["brokers", "kafka_topic"]}],
    })
}

/// The metadata, which holds for every instance.
pub fn metadata() -> Value {
    json!({
        "type": "object",
        "properties": {
            "log_format": {"type": "object"},
            "log_format_extra": {"type": "object"},
            "max_pending_entries": {"type": "integer", "minimum": 1, "description": "maximum number of pending entries"},
        },
    })
}

fn connection() -> Value {
    let port = json!({"type": "integer", "minimum": 1, "maximum": 65535, "description": "the port of kafka broker"});
    let sasl = json!({
        "type": "object",
        "description": "sasl config",
        "properties": {
            "mechanism": {"type": "string", "default": "PLAIN", "enum": ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]},
            "user": {"type": "string", "description": "user"},
            "password": {"type": "string", "description": "password"},
        },
        "required": ["user", "password"],
    });
    json!({
        "broker_list": {"type": "object", "minProperties": 1, "patternProperties": {".*": port}},
        "brokers": {
            "type": "array", "minItems": 1, "uniqueItems": true,
            "items": {
                "type": "object",
                "properties": {
                    "host": {"type": "string", "description": "the host of kafka broker"},
                    "port": port,
                    "sasl_config": sasl,
                },
                "required": ["host", "port"],
            },
        },
        "tls": {
            "type": "object",
            "properties": {
                "verify": {"type": "boolean", "default": false},
                "ca": {"type": "string", "description": "PEM: the authorities to trust; turns verify on unless it is written"},
                "client_cert": {"type": "string", "description": "PEM: our own certificate"},
                "client_key": {"type": "string", "description": "PEM: its key"},
            },
        },
        "kafka_topic": {"type": "string"},
        "key": {"type": "string"},
        "cluster_name": {"type": "integer", "minimum": 1, "default": 1},
    })
}

fn entry() -> Value {
    let expr = json!({"type": "array", "minItems": 1, "items": {"type": "array"}});
    let body_bytes = json!({"type": "integer", "minimum": 1, "default": 524_288});
    json!({
        "meta_format": {"type": "string", "default": "default", "enum": ["default", "origin"]},
        "log_format": {"type": "object"},
        "log_format_extra": {"type": "object"},
        "include_req_body": {"type": "boolean", "default": false},
        "include_req_body_expr": expr,
        "include_resp_body": {"type": "boolean", "default": false},
        "include_resp_body_expr": expr,
        "max_req_body_bytes": body_bytes,
        "max_resp_body_bytes": body_bytes,
    })
}

fn producer() -> Value {
    json!({
        "producer_type": {"type": "string", "default": "async", "enum": ["async", "sync"]},
        "required_acks": {"type": "integer", "enum": [1, -1], "description": "unset: all replicas, idempotent"},
        "timeout": {"type": "integer", "minimum": 1, "default": 3},
        "producer_batch_num": {"type": "integer", "minimum": 1, "default": 200},
        "producer_batch_size": {"type": "integer", "minimum": 0, "default": 1_048_576},
        "producer_max_buffering": {"type": "integer", "minimum": 1, "default": 50_000},
        "producer_time_linger": {"type": "integer", "minimum": 1, "default": 1},
        "meta_refresh_interval": {"type": "integer", "minimum": 1, "default": 30},
        "api_version": {"type": "integer", "default": 1, "enum": [0, 1, 2]},
        "compression": {"type": "string", "default": "none", "enum": ["none", "lz4", "zstd", "gzip", "snappy"]},
        "overflow": {
            "type": "string", "default": "spool", "enum": ["spool", "drop_newest", "backpressure"],
            "description": "what is done when the ring is full",
        },
        "partitioner": {"type": "string", "enum": ["murmur2", "crc32"], "description": "which partition a key means"},
    })
}

/// Ours: responses that wait for their record.
fn hold() -> Value {
    json!({
        "ack_before_response": {"type": "boolean", "default": false, "description": "release responses once Kafka has them"},
        "hold_bytes": {"type": "integer", "minimum": 1, "maximum": HOLD_BYTES_MAX, "default": 65_536},
        "ack_timeout": {"type": "number", "exclusiveMinimum": 0, "maximum": 3_600, "default": 10},
        "on_log_failure": {"type": "string", "default": "pass", "enum": ["pass", "reject"]},
    })
}

fn batching() -> Value {
    json!({
        "name": {"type": "string", "default": "kafka logger"},
        "max_retry_count": {"type": "integer", "minimum": 0, "default": 0},
        "retry_delay": {"type": "integer", "minimum": 0, "default": 1},
        "buffer_duration": {"type": "integer", "minimum": 1, "default": 60},
        "inactive_timeout": {"type": "integer", "minimum": 1, "default": 5},
        "batch_max_size": {"type": "integer", "minimum": 1, "default": 1000},
    })
}
