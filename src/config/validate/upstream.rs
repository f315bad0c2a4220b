//! What an upstream's schema cannot say (APISIX-COMPAT §7.1).

use serde_json::Value;

use super::security;
use crate::config::{address, schema};

/// Bytes of a Unix socket's path: `sun_path` has 108 with its end (unix(7)).
const SOCKET_PATH_BYTES: usize = 107;

/// Checks an upstream that passed its schema.
///
/// # Errors
/// The 400's `error_msg`.
pub fn check(upstream: &Value) -> Result<(), String> {
    check_addresses(upstream.get("nodes"))?;
    check_sockets(upstream)?;
    let text = |name: &str| upstream.get(name).and_then(Value::as_str);
    if text("pass_host") == Some("rewrite") && text("upstream_host").is_none_or(str::is_empty) {
        return Err("`upstream_host` can't be empty when `pass_host` is `rewrite`".into());
    }
    if let Some(tls) = upstream.get("tls") {
        security::check_tls(tls)
            .map_err(|why| format!("invalid configuration: property \"tls\" validation failed: {why}"))?;
    }
    if text("type") != Some("chash") {
        return Ok(());
    }
    let hash_on = text("hash_on").unwrap_or("vars");
    let key = match text("key") {
        Some(key) => key,
        None if hash_on == "consumer" => return Ok(()),
        None => return Err("missing key".into()),
    };
    check_key(hash_on, key).map_err(|text| format!("invalid configuration: {text}"))
}

fn check_addresses(nodes: Option<&Value>) -> Result<(), String> {
    match nodes {
        Some(Value::Object(nodes)) => nodes.keys().try_for_each(|address| check_address(address)),
        Some(Value::Array(nodes)) => nodes.iter().filter_map(|node| node.get("host")?.as_str()).try_for_each(|host| {
            if address::unix_path(host).is_none() && host.contains(':') && !host.starts_with('[') {
                Err(unbracketed())
            } else {
                Ok(())
            }
        }),
        _ => Ok(()),
    }
}

/// Unix sockets among the nodes: paths that the kernel takes, and no health checks.
fn check_sockets(upstream: &Value) -> Result<(), String> {
    let nodes = upstream.get("nodes");
    let of_map = nodes.and_then(Value::as_object).into_iter().flat_map(|nodes| nodes.keys().map(String::as_str));
    let list = nodes.and_then(Value::as_array).into_iter().flatten();
    let of_list = list.filter_map(|node| node.get("host")?.as_str());
    for path in of_map.chain(of_list).filter_map(address::unix_path) {
        if path.len() > SOCKET_PATH_BYTES {
            return Err(format!(
                "invalid configuration: the path of a Unix socket has at most {SOCKET_PATH_BYTES} bytes: {path}"
            ));
        }
        if upstream.get("checks").is_some() {
            return Err(format!(
                "invalid configuration: checks of a Unix socket are not supported by this version of Tollgate yet: {path}"
            ));
        }
    }
    Ok(())
}

fn unbracketed() -> String {
    "invalid configuration: IPv6 address must be enclosed with '[' and ']'".into()
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn check_address(node: &str) -> Result<(), String> {
    if address::unix_path(node).is_some() {
        return Ok(());
    }
    let (host, port) = address::split(node);
    if host.contains(':') && !host.starts_with('[') {
        return Err(unbracketed());
    }
    match port.map(str::parse::<u64>) {
        Some(Ok(port)) if !(1..=65535).contains(&port) => Err(format!("invalid port {port}")),
        Some(Err(_)) => Err(format!("invalid configuration: invalid node address {node}")),
        _ => Ok(()),
    }
}

fn check_key(hash_on: &str, key: &str) -> Result<(), String> {
    let pattern = match hash_on {
        "vars" => {
            "^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)\
             |arg_[0-9a-zA-z_-]+)$"
        }
        "header" | "cookie" => "^[a-zA-Z0-9-_]+$",
        _ => return Ok(()),
    };
    schema::check::check(&serde_json::json!({"type": "string", "pattern": pattern}), &Value::from(key))
}
