//! Whether an object may be stored, in APISIX's words (APISIX-COMPAT §1.2, §5.4, §5.5, §6.1, §7.1). Every `Err` is the `error_msg`
//! of a 400.

use serde_json::{Map, Value};

use super::resource::{Kind, id_text};
use super::schema;
use crate::route::Expr;

mod plugins;
mod references;
mod security;
mod unsupported;
mod upstream;

pub use references::{check_delete, check_references};

/// Refuses what only the server may set in a PUT or POST: `the property is forbidden:  create_time`. Not for PATCH.
///
/// # Errors
/// The 400's `error_msg`.
pub fn forbid_times(value: &Value) -> Result<(), String> {
    let mut found = String::new();
    for name in ["create_time", "update_time"] {
        for (prefix, holder) in
            [("", Some(value)), ("upstream.", value.get("upstream")), ("plugins.", value.get("plugins"))]
        {
            if holder.and_then(|holder| holder.get(name)).is_some() {
                found.push_str(&format!(" {prefix}{name}"));
            }
        }
    }
    if found.is_empty() { Ok(()) } else { Err(format!("the property is forbidden: {found}")) }
}

/// Checks an object as it is to be stored, on its own: schema, upstream, plugins, expressions, and what this version does not do
/// yet. `value.id` may be missing (then `id` is checked in its place) and times may be there. References are
/// [`check_references`]'s.
///
/// # Errors
/// The 400's `error_msg`.
pub fn check(kind: Kind, id: &str, value: &Value) -> Result<(), String> {
    if kind == Kind::Route {
        for (one, many) in [("host", "hosts"), ("remote_addr", "remote_addrs")] {
            if value.get(one).is_some() && value.get(many).is_some() {
                return Err(format!("only one of {one} or {many} is allowed"));
            }
        }
    }
    let fields = with_id(kind, id, value)?;
    check_schema_only(kind, &fields).map_err(|text| format!("invalid configuration: {text}"))?;
    if kind == Kind::Upstream {
        upstream::check(value)?;
    } else if let Some(upstream) = value.get("upstream") {
        upstream::check(upstream)?;
    }
    if kind == Kind::PluginMetadata {
        return Ok(());
    }
    if let Some(Value::Object(plugins)) = value.get("plugins") {
        plugins::check_all(plugins)?;
    }
    if let Some(vars) = value.get("vars") {
        check_expr(vars).map_err(|text| format!("failed to validate the 'vars' expression: {text}"))?;
    }
    unsupported::check(kind, value)
}

/// `POST /schema/validate/{kind}`: the resource's JSON schema alone, without a prefix; a broken plugin passes.
///
/// # Errors
/// The 400's `error_msg`.
pub fn check_schema_only(kind: Kind, value: &Value) -> Result<(), String> {
    schema::check::check(schema::resource(kind), value)
}

/// The object as it will be stored: an object, with its id.
fn with_id(kind: Kind, id: &str, value: &Value) -> Result<Value, String> {
    let Value::Object(fields) = value else {
        let text = schema::check::check(&serde_json::json!({"type": "object"}), value).err().unwrap_or_default();
        return Err(format!("invalid configuration: {text}"));
    };
    let mut fields: Map<String, Value> = fields.clone();
    if fields.get("id").and_then(id_text).is_none() && kind != Kind::PluginMetadata {
        fields.insert("id".into(), Value::from(id));
    }
    Ok(Value::Object(fields))
}

/// An expression as the routes will use it (APISIX-COMPAT §6.5).
fn check_expr(expr: &Value) -> Result<(), String> {
    Expr::compile(expr, &mut |_| ()).map(|_| ())
}

#[cfg(test)]
mod tests;
