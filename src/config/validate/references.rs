//! What objects name by id (APISIX-COMPAT §5.5).

use serde_json::Value;

use crate::config::documents::{Document, Documents};
use crate::config::resource::{Kind, id_text};

/// Which field names which kind, and what APISIX calls it.
const REFERENCES: [(&str, Kind, &str); 3] = [
    ("upstream_id", Kind::Upstream, "upstream info by upstream id"),
    ("service_id", Kind::Service, "service info by service id"),
    ("plugin_config_id", Kind::PluginConfig, "plugin config info by plugin config id"),
];

/// Checks that what the object names by id is there, and that a global rule's plugins are in no other.
///
/// # Errors
/// The 400's `error_msg`.
pub fn check_references(documents: &Documents, kind: Kind, id: &str, value: &Value) -> Result<(), String> {
    match kind {
        Kind::Route | Kind::Service => {
            for (field, target, words) in REFERENCES {
                if let Some(named) = value.get(field).and_then(id_text)
                    && documents.find(target, &named).is_none()
                {
                    return Err(format!("failed to fetch {words} [{named}], response code: 404"));
                }
            }
            Ok(())
        }
        Kind::GlobalRule => check_global_plugins(documents, id, value),
        Kind::Upstream | Kind::PluginConfig | Kind::PluginMetadata => Ok(()),
    }
}

fn check_global_plugins(documents: &Documents, id: &str, value: &Value) -> Result<(), String> {
    let plugins = value.get("plugins").and_then(Value::as_object);
    for (other_id, other) in documents.all(Kind::GlobalRule).filter(|(other_id, _)| *other_id != id) {
        for name in plugins.into_iter().flat_map(|plugins| plugins.keys()) {
            if other.value.get("plugins").and_then(|plugins| plugins.get(name)).is_some() {
                return Err(format!("plugin '{name}' already exists in global rule with id '{other_id}'"));
            }
        }
    }
    Ok(())
}

/// Checks that nothing names the object any more; skipped for `?force=true`.
///
/// # Errors
/// The 400's `error_msg`: `can not delete this upstream, route [1] is still using it now`.
pub fn check_delete(documents: &Documents, kind: Kind, id: &str) -> Result<(), String> {
    let (field, users, what): (_, &[Kind], _) = match kind {
        Kind::Upstream => ("upstream_id", &[Kind::Route, Kind::Service], "upstream"),
        Kind::Service => ("service_id", &[Kind::Route], "service directly"),
        Kind::PluginConfig => ("plugin_config_id", &[Kind::Route], "plugin config"),
        Kind::Route | Kind::GlobalRule | Kind::PluginMetadata => return Ok(()),
    };
    let names_it = |document: &Document| document.value.get(field).and_then(id_text).as_deref() == Some(id);
    for user in users {
        if let Some((user_id, _)) = documents.all(*user).find(|(_, document)| names_it(document)) {
            return Err(format!(
                "can not delete this {what}, {} [{user_id}] is still using it now",
                user.message_name()
            ));
        }
    }
    Ok(())
}
