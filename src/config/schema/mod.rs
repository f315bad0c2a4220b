//! The JSON schemas that APISIX publishes under `/schema/…`, its names verbatim, and ours beside them; each built once.

use serde_json::Value;

use super::resource::Kind;

pub mod check;

/// Plugins that this gateway runs, priority descending (`GET /plugins/list`).
pub const PLUGINS: [&str; 1] = ["kafka-logger"];

/// True if this gateway runs a plugin of this name.
pub fn is_plugin(name: &str) -> bool {
    PLUGINS.contains(&name)
}

/// The schema of a kind of object. Plugin metadata is checked by [`metadata`] instead: this is `{"type": "object"}` for it.
pub fn resource(_kind: Kind) -> &'static Value {
    todo!()
}

/// The schema of a plugin's attributes, `_meta` included.
pub fn plugin(_name: &str) -> Option<&'static Value> {
    todo!()
}

/// The schema of a plugin's metadata.
pub fn metadata(_plugin: &str) -> Option<&'static Value> {
    todo!()
}
