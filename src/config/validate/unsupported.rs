//! What APISIX takes and this version does not do. It is refused aloud: a setting that is accepted and ignored is worse than none.

use serde_json::Value;

use crate::config::resource::Kind;

/// Refuses what would have no effect.
///
/// # Errors
/// The 400's `error_msg`, which names the property.
pub fn check(kind: Kind, value: &Value) -> Result<(), String> {
    if let Some(name) = ["filter_func", "script", "script_id"].into_iter().find(|name| value.get(name).is_some()) {
        return Err(not_yet(name, "Lua is not"));
    }
    match (kind, value.get("upstream")) {
        (Kind::Upstream, _) => check_upstream(value, ""),
        (_, Some(upstream)) => check_upstream(upstream, "upstream."),
        _ => Ok(()),
    }
}

fn check_upstream(upstream: &Value, path: &str) -> Result<(), String> {
    if upstream.get("service_name").is_some() {
        return Err(not_yet(&format!("{path}service_name"), "it is not"));
    }
    if upstream.pointer("/tls/client_cert_id").is_some() {
        return Err(not_yet(
            &format!("{path}tls.client_cert_id"),
            "give client_cert and client_key: an ssl object is not",
        ));
    }
    let known: [(&str, &[&str]); 2] =
        [("type", &["roundrobin", "chash", "least_conn", "ewma"]), ("scheme", &["http", "https"])];
    for (name, known) in known {
        if let Some(text) = upstream.get(name).and_then(Value::as_str)
            && !known.contains(&text)
        {
            let list = known.join("`, `");
            return Err(not_yet(&format!("{path}{name}"), &format!("only `{list}` is, `{text}` is not")));
        }
    }
    Ok(())
}

fn not_yet(property: &str, what: &str) -> String {
    format!("invalid configuration: property \"{property}\": {what} supported by this version of Tollgate yet")
}
