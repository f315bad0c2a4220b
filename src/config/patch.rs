//! PATCH as values: merge into an object, or replace one path in it (APISIX-COMPAT §5.6).

use serde_json::{Map, Value};

/// Merges `change` into `target`: objects merge key by key, `null` removes the key, everything else replaces. An array is
/// replaced whole, whichever side it is on.
pub fn merge(target: &mut Value, change: Value) {
    let (Value::Object(fields), Value::Object(changes)) = (&mut *target, &change) else {
        *target = change;
        return;
    };
    if changes.is_empty() {
        return;
    }
    let Value::Object(changes) = change else { return };
    for (key, value) in changes {
        if value.is_null() {
            fields.shift_remove(&key);
        } else if let Some(old) = fields.get_mut(&key) {
            merge(old, value);
        } else {
            fields.insert(key, without_nulls(value));
        }
    }
}

/// What a merge leaves of a value that had no counterpart: its nulls remove nothing and are not stored either.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        other => other,
    }
}

/// Replaces what stands at `path` (`plugins/kafka-logger/timeout`, without a leading slash) by `value`, verbatim. Objects that
/// are missing on the way are made; a number steps into an array (1-based, as in APISIX's Lua).
///
/// # Errors
/// `invalid sub-path: /…` if something on the way is neither an object nor an array that has the item.
pub fn replace_at(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let wrong = || format!("invalid sub-path: /{path}");
    let mut place = target;
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_none() {
        return Err(wrong());
    }
    for part in parts {
        place = match place {
            Value::Object(fields) => fields.entry(part).or_insert(Value::Null),
            Value::Array(items) => {
                let index: usize = part.parse().map_err(|_| wrong())?;
                index.checked_sub(1).and_then(|index| items.get_mut(index)).ok_or_else(wrong)?
            }
            nothing @ Value::Null => {
                *nothing = Value::Object(Map::new());
                let Value::Object(fields) = nothing else { return Err(wrong()) };
                fields.entry(part).or_insert(Value::Null)
            }
            _ => return Err(wrong()),
        };
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(mut target: Value, change: Value) -> Value {
        merge(&mut target, change);
        target
    }

    #[test]
    fn node_maps_accumulate_and_null_removes_one() {
        let old = json!({"nodes": {"a:80": 1, "b:80": 1}, "type": "roundrobin"});
        assert_eq!(
            merged(old, json!({"nodes": {"b:80": null, "c:80": 2}})),
            json!({"nodes": {"a:80": 1, "c:80": 2}, "type": "roundrobin"})
        );
    }

    #[test]
    fn arrays_and_scalars_replace() {
        assert_eq!(
            merged(json!({"methods": ["GET", "PUT"]}), json!({"methods": ["POST"]})),
            json!({"methods": ["POST"]})
        );
        assert_eq!(
            merged(json!({"nodes": [{"host": "a"}]}), json!({"nodes": {"a:1": 1}})),
            json!({"nodes": {"a:1": 1}})
        );
        assert_eq!(merged(json!({"a": {"b": 1}}), json!({"a": 2})), json!({"a": 2}));
    }

    #[test]
    fn nulls_in_new_objects_are_not_stored() {
        assert_eq!(merged(json!({}), json!({"a": {"b": null, "c": 1}})), json!({"a": {"c": 1}}));
    }

    #[test]
    fn a_sub_path_is_replaced_verbatim_and_made_where_missing() {
        let mut route = json!({"uri": "/a", "upstream": {"nodes": {"a:1": 1}}});
        replace_at(&mut route, "upstream/nodes", json!({"b:1": 1})).unwrap();
        replace_at(&mut route, "plugins/kafka-logger/timeout", json!(5)).unwrap();
        assert_eq!(
            route,
            json!({"uri": "/a", "upstream": {"nodes": {"b:1": 1}}, "plugins": {"kafka-logger": {"timeout": 5}}})
        );
    }

    #[test]
    fn a_sub_path_through_a_scalar_is_refused() {
        let mut route = json!({"uri": "/a", "methods": ["GET"]});
        assert_eq!(replace_at(&mut route, "uri/x", json!(1)), Err("invalid sub-path: /uri/x".into()));
        assert_eq!(replace_at(&mut route, "methods/2", json!("PUT")), Err("invalid sub-path: /methods/2".into()));
        assert_eq!(replace_at(&mut route, "methods/1", json!("PUT")), Ok(()));
        assert_eq!(route["methods"], json!(["PUT"]));
    }
}
