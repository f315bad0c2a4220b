//! Plugins of one object (APISIX-COMPAT §1.2).

use serde_json::{Map, Value};

use super::{check_expr, security};
use crate::config::schema;

/// Checks every plugin of an object.
///
/// # Errors
/// The 400's `error_msg`.
pub fn check_all(plugins: &Map<String, Value>) -> Result<(), String> {
    for (name, attributes) in plugins {
        let schema = schema::plugin(name).ok_or_else(|| format!("unknown plugin [{name}]"))?;
        let Value::Object(_) = attributes else {
            return Err(format!("invalid plugin conf {attributes} for plugin [{name}]"));
        };
        if let Err(text) = check_one(schema, attributes) {
            // What is switched off may be wrong (3.18).
            if attributes.pointer("/_meta/disable") == Some(&Value::Bool(true)) {
                continue;
            }
            return Err(format!("failed to check the configuration of plugin {name} err: {text}"));
        }
    }
    Ok(())
}

fn check_one(schema: &Value, attributes: &Value) -> Result<(), String> {
    references_to_secrets(attributes, "")?;
    schema::check::check(schema, attributes)?;
    for key in ["include_req_body_expr", "include_resp_body_expr"] {
        if let Some(expr) = attributes.get(key) {
            check_expr(expr).map_err(|text| format!("failed to validate the '{key}' expression: {text}"))?;
        }
    }
    if let Some(filter) = attributes.pointer("/_meta/filter") {
        check_expr(filter).map_err(|text| format!("failed to validate the 'vars' expression: {text}"))?;
    }
    security::check(attributes)?;
    not_yet(attributes)
}

/// APISIX resolves such strings when a request comes; taking them for literals would send records to a topic of that name.
fn references_to_secrets(value: &Value, path: &str) -> Result<(), String> {
    match value {
        Value::String(text) => {
            let is_env = text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("$env://"));
            if text.starts_with("$secret://") || is_env {
                return Err(format!(
                    "property \"{path}\" refers to {text}: this version of Tollgate does not resolve $secret:// and $env:// yet"
                ));
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| references_to_secrets(item, path)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            references_to_secrets(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") })
        }),
        _ => Ok(()),
    }
}

/// What the schema knows and this version does not do: said, never ignored.
fn not_yet(attributes: &Value) -> Result<(), String> {
    match attributes.pointer("/_meta/pre_function") {
        None => Ok(()),
        Some(_) => Err("property \"_meta.pre_function\" is not supported by this version of Tollgate yet".to_owned()),
    }
}
