//! The JSON schemas that APISIX publishes under `/schema/…`, its names verbatim, and ours beside them; each built once.

use std::sync::LazyLock;

use serde_json::Value;

use super::resource::Kind;

pub mod check;
mod kafka_logger;
mod parts;
mod resources;
mod upstream;

/// Plugins that this gateway runs, priority descending (`GET /plugins/list`).
pub const PLUGINS: [&str; 1] = [KAFKA_LOGGER];

/// The one plugin.
pub const KAFKA_LOGGER: &str = "kafka-logger";

/// True if this gateway runs a plugin of this name.
pub fn is_plugin(name: &str) -> bool {
    PLUGINS.contains(&name)
}

/// The schema of a kind of object. Plugin metadata has one for each plugin ([`metadata`]): here it is kafka-logger's.
pub fn resource(kind: Kind) -> &'static Value {
    static SCHEMAS: LazyLock<[Value; Kind::ALL.len()]> = LazyLock::new(|| {
        [
            resources::route(),
            resources::service(),
            upstream::upstream(),
            resources::global_rule(),
            resources::plugin_config(),
            kafka_logger::metadata(),
        ]
    });
    &SCHEMAS[kind as usize]
}

/// The schema of a plugin's attributes, `_meta` included.
pub fn plugin(name: &str) -> Option<&'static Value> {
    static ATTRIBUTES: LazyLock<Value> = LazyLock::new(kafka_logger::attributes);
    (name == KAFKA_LOGGER).then(|| &*ATTRIBUTES)
}

/// The schema of a plugin's metadata.
pub fn metadata(plugin: &str) -> Option<&'static Value> {
    (plugin == KAFKA_LOGGER).then(|| resource(Kind::PluginMetadata))
}

#[cfg(test)]
mod tests {
    use super::check::{KEYWORDS, check};
    use super::*;
    use serde_json::json;

    /// Walks every schema in a schema.
    fn unknown_keywords(schema: &Value, found: &mut Vec<String>) {
        let Value::Object(fields) = schema else { return };
        for (keyword, value) in fields {
            if !KEYWORDS.contains(&keyword.as_str()) {
                found.push(keyword.clone());
            }
            match (keyword.as_str(), value) {
                ("properties" | "patternProperties", Value::Object(rules)) => {
                    rules.values().for_each(|rule| unknown_keywords(rule, found));
                }
                ("allOf" | "anyOf" | "oneOf", Value::Array(rules)) => {
                    rules.iter().for_each(|rule| unknown_keywords(rule, found));
                }
                ("items" | "not" | "additionalProperties", rule) => unknown_keywords(rule, found),
                ("pattern", Value::String(pattern)) => {
                    assert!(regex::Regex::new(pattern).is_ok(), "{pattern} does not compile");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn no_schema_uses_a_keyword_that_the_validator_does_not_know() {
        let mut found = Vec::new();
        Kind::ALL.into_iter().for_each(|kind| unknown_keywords(resource(kind), &mut found));
        unknown_keywords(plugin(KAFKA_LOGGER).unwrap(), &mut found);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn every_default_passes_its_own_schema() {
        fn walk(schema: &Value) {
            if let (Some(default), true) = (schema.get("default"), schema.is_object()) {
                assert_eq!(check(schema, default), Ok(()), "{schema}");
            }
            for rule in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                walk(rule.1);
            }
        }
        Kind::ALL.into_iter().for_each(|kind| walk(resource(kind)));
        walk(plugin(KAFKA_LOGGER).unwrap());
    }

    #[test]
    fn the_tutorials_plugin_passes() {
        let written = json!({"batch_max_size": 1, "broker_list": {"127.0.0.1": 9092}, "disable": false,
            "kafka_topic": "test", "producer_type": "sync"});
        assert_eq!(check(plugin(KAFKA_LOGGER).unwrap(), &written), Ok(()));
    }
}
