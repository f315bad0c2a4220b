//! A JSON-schema validator that says APISIX's sentences (APISIX-COMPAT §1.2). Our own, because no library speaks these texts.
//! Knows the keywords that our schemas use; `tests` in [`super`] fails on a schema with another one.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;
use serde_json::{Map, Value};

/// Every keyword that [`check`] acts upon. `default`, `description` and `title` are for readers.
pub const KEYWORDS: [&str; 26] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "minProperties",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "enum",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "dependencies",
    "default",
    "description",
    "title",
];

/// Checks a value.
///
/// # Errors
/// The first thing that is wrong, properties in the schema's order: `property "broker_list" validation failed: …`.
pub fn check(schema: &Value, value: &Value) -> Result<(), String> {
    let Value::Object(schema) = schema else { return Ok(()) };
    check_type(schema, value)?;
    match value {
        Value::Object(fields) => check_object(schema, fields)?,
        Value::Array(items) => {
            // To Lua an empty array is an empty object too.
            if items.is_empty() {
                check_object(schema, &Map::new())?;
            }
            check_array(schema, items)?;
        }
        Value::String(text) => check_string(schema, text)?,
        Value::Number(number) => check_number(schema, number.as_f64().unwrap_or(f64::NAN))?,
        Value::Null | Value::Bool(_) => {}
    }
    if let Some(Value::Array(choices)) = schema.get("enum")
        && !choices.iter().any(|choice| same(choice, value))
    {
        return Err("matches none of the enum values".into());
    }
    check_combined(schema, value)
}

/// What Lua calls the type.
fn lua_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "userdata",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) | Value::Object(_) => "table",
    }
}

fn is_type(name: &str, value: &Value) -> bool {
    match (name, value) {
        ("object", Value::Object(_)) | ("array", Value::Array(_)) | ("table", Value::Object(_) | Value::Array(_)) => {
            true
        }
        ("object", Value::Array(items)) => items.is_empty(),
        ("array", Value::Object(fields)) => fields.is_empty(),
        ("integer", Value::Number(number)) => number.as_f64().is_some_and(|number| number.fract() == 0.0),
        ("number", Value::Number(_)) => true,
        (name, value) => name == lua_type(value) && matches!(name, "string" | "boolean"),
    }
}

fn check_type(schema: &Map<String, Value>, value: &Value) -> Result<(), String> {
    match schema.get("type") {
        Some(Value::String(name)) if !is_type(name, value) => {
            Err(format!("wrong type: expected {name}, got {}", lua_type(value)))
        }
        Some(Value::Array(names)) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            if names.iter().any(|name| is_type(name, value)) {
                return Ok(());
            }
            Err(format!("wrong type: expected one of {}, got {}", names.join(", "), lua_type(value)))
        }
        _ => Ok(()),
    }
}

fn check_object(schema: &Map<String, Value>, fields: &Map<String, Value>) -> Result<(), String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, rule) in properties.into_iter().flatten() {
        if let Some(value) = fields.get(name) {
            check(rule, value).map_err(|text| format!("property \"{name}\" validation failed: {text}"))?;
        }
    }
    for name in texts(schema.get("required")) {
        if !fields.contains_key(name) {
            return Err(format!("property \"{name}\" is required"));
        }
    }
    if let Some(Value::Object(dependencies)) = schema.get("dependencies") {
        for (name, needed) in dependencies.iter().filter(|(name, _)| fields.contains_key(*name)) {
            if let Some(missing) = texts(Some(needed)).find(|needed| !fields.contains_key(*needed)) {
                return Err(format!("property \"{missing}\" is required when \"{name}\" is set"));
            }
        }
    }
    check_rest(schema, properties, fields)?;
    if let Some(least) = schema.get("minProperties").and_then(Value::as_u64)
        && (fields.len() as u64) < least
    {
        return Err(format!("expect object to have at least {least} properties"));
    }
    Ok(())
}

fn check_rest(
    schema: &Map<String, Value>,
    properties: Option<&Map<String, Value>>,
    fields: &Map<String, Value>,
) -> Result<(), String> {
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties");
    if patterns.is_none() && additional.is_none() {
        return Ok(());
    }
    for (name, value) in fields {
        let mut known = properties.is_some_and(|properties| properties.contains_key(name));
        for (pattern, rule) in patterns.into_iter().flatten().filter(|(pattern, _)| matches(pattern, name)) {
            check(rule, value).map_err(|text| format!("failed to validate {name} (matching \"{pattern}\"): {text}"))?;
            known = true;
        }
        match additional {
            Some(Value::Bool(false)) if !known => return Err(format!("additional properties forbidden, found {name}")),
            Some(rule @ Value::Object(_)) if !known => {
                check(rule, value).map_err(|text| format!("failed to validate additional property {name}: {text}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_array(schema: &Map<String, Value>, items: &[Value]) -> Result<(), String> {
    let bound = |keyword| schema.get(keyword).and_then(Value::as_u64);
    if let Some(rule) = schema.get("items") {
        for (at, item) in items.iter().enumerate() {
            check(rule, item).map_err(|text| format!("failed to validate item {}: {text}", at + 1))?;
        }
    }
    let count = items.len() as u64;
    if let Some(least) = bound("minItems").filter(|least| count < *least) {
        return Err(format!("expect array to have at least {least} items"));
    }
    if let Some(most) = bound("maxItems").filter(|most| count > *most) {
        return Err(format!("expect array to have at most {most} items"));
    }
    if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
        for (second, item) in items.iter().enumerate() {
            if let Some(first) = items[..second].iter().position(|other| same(other, item)) {
                return Err(format!("expected unique items but items {} and {} are equal", first + 1, second + 1));
            }
        }
    }
    Ok(())
}

fn check_string(schema: &Map<String, Value>, text: &str) -> Result<(), String> {
    let bound = |keyword| schema.get(keyword).and_then(Value::as_u64);
    let length = text.chars().count() as u64;
    if let Some(least) = bound("minLength").filter(|least| length < *least) {
        return Err(format!("string too short, expected at least {least}, got {length}"));
    }
    if let Some(most) = bound("maxLength").filter(|most| length > *most) {
        return Err(format!("string too long, expected at most {most}, got {length}"));
    }
    if let Some(Value::String(pattern)) = schema.get("pattern")
        && !matches(pattern, text)
    {
        return Err(format!("failed to match pattern \"{pattern}\" with \"{text}\""));
    }
    if let Some(Value::String(format)) = schema.get("format") {
        let good = match format.as_str() {
            "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
            "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
            _ => true,
        };
        if !good {
            return Err(format!("expected {text} to match format {format}"));
        }
    }
    Ok(())
}

fn check_number(schema: &Map<String, Value>, number: f64) -> Result<(), String> {
    let bound = |keyword| schema.get(keyword).and_then(Value::as_f64);
    if let Some(least) = bound("minimum").filter(|least| number < *least) {
        return Err(format!("expected {number} to be at least {least}"));
    }
    if let Some(least) = bound("exclusiveMinimum").filter(|least| number <= *least) {
        return Err(format!("expected {number} to be greater than {least}"));
    }
    if let Some(most) = bound("maximum").filter(|most| number > *most) {
        return Err(format!("expected {number} to be at most {most}"));
    }
    Ok(())
}

fn check_combined(schema: &Map<String, Value>, value: &Value) -> Result<(), String> {
    let branches = |keyword| schema.get(keyword).and_then(Value::as_array);
    for (at, branch) in branches("allOf").into_iter().flatten().enumerate() {
        check(branch, value).map_err(|text| format!("allOf {} failed: {text}", at + 1))?;
    }
    if let Some(any) = branches("anyOf")
        && !any.iter().any(|branch| check(branch, value).is_ok())
    {
        return Err(format!("object matches none of the required{}", required_lists(any)));
    }
    if let Some(one) = branches("oneOf") {
        let mut fitting = (1..).zip(one).filter(|(_, branch)| check(branch, value).is_ok()).map(|(at, _)| at);
        match (fitting.next(), fitting.next()) {
            (None, _) => return Err("value should match only one schema, but matches none".into()),
            (Some(first), Some(second)) => {
                return Err(format!(
                    "value should match only one schema, but matches both schemas {first} and {second}"
                ));
            }
            (Some(_), None) => {}
        }
    }
    if let Some(not) = schema.get("not")
        && check(not, value).is_ok()
    {
        return Err("value wasn't supposed to match schema".into());
    }
    Ok(())
}

/// `: ["a"] or ["b"]` where every branch asks for nothing but properties.
fn required_lists(branches: &[Value]) -> String {
    let lists: Option<Vec<String>> = branches.iter().map(|branch| Some(branch.get("required")?.to_string())).collect();
    lists.map_or(String::new(), |lists| format!(": {}", lists.join(" or ")))
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Equal as Lua sees it: `1` and `1.0` are the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// Patterns come from our schemas only, so there are few: each is compiled once for the life of the process.
fn matches(pattern: &str, text: &str) -> bool {
    static COMPILED: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);
    if pattern == ".*" {
        return true;
    }
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = compiled.get(pattern) {
        return regex.is_match(text);
    }
    let Ok(regex) = Regex::new(pattern) else { return false };
    let fits = regex.is_match(text);
    compiled.insert(pattern.to_owned(), regex);
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn says(schema: Value, value: Value) -> String {
        check(&schema, &value).expect_err("must fail")
    }

    #[test]
    fn types_are_named_as_lua_names_them() {
        assert_eq!(says(json!({"type": "integer"}), json!("1")), "wrong type: expected integer, got string");
        assert_eq!(says(json!({"type": "integer"}), json!(1.5)), "wrong type: expected integer, got number");
        assert_eq!(says(json!({"type": "string"}), json!({"a": 1})), "wrong type: expected string, got table");
        assert_eq!(says(json!({"type": "boolean"}), json!(null)), "wrong type: expected boolean, got userdata");
        assert_eq!(
            says(json!({"type": ["string", "integer"]}), json!(true)),
            "wrong type: expected one of string, integer, got boolean"
        );
        assert_eq!(check(&json!({"type": "integer"}), &json!(1.0)), Ok(()));
        assert_eq!(check(&json!({"type": "object"}), &json!([])), Ok(()));
        assert!(check(&json!({"type": "object"}), &json!([1])).is_err());
    }

    #[test]
    fn bounds_say_what_was_found_and_what_is_expected() {
        assert_eq!(says(json!({"minimum": 1}), json!(0)), "expected 0 to be at least 1");
        assert_eq!(says(json!({"maximum": 65535}), json!(65536)), "expected 65536 to be at most 65535");
        assert_eq!(says(json!({"exclusiveMinimum": 0}), json!(0)), "expected 0 to be greater than 0");
        assert_eq!(says(json!({"minItems": 1}), json!([])), "expect array to have at least 1 items");
        assert_eq!(says(json!({"maxItems": 1}), json!([1, 2])), "expect array to have at most 1 items");
        assert_eq!(says(json!({"minProperties": 1}), json!({})), "expect object to have at least 1 properties");
        assert_eq!(says(json!({"minLength": 1}), json!("")), "string too short, expected at least 1, got 0");
        assert_eq!(says(json!({"maxLength": 2}), json!("abc")), "string too long, expected at most 2, got 3");
        assert_eq!(says(json!({"pattern": "^a$"}), json!("b")), "failed to match pattern \"^a$\" with \"b\"");
        assert_eq!(says(json!({"enum": [1, -1]}), json!(0)), "matches none of the enum values");
    }

    #[test]
    fn nested_failures_name_their_way() {
        let schema = json!({"properties": {"brokers": {"type": "array", "items": {"required": ["port"]}}}});
        assert_eq!(
            says(schema, json!({"brokers": [{"port": 1}, {}]})),
            "property \"brokers\" validation failed: failed to validate item 2: property \"port\" is required"
        );
        let schema = json!({"patternProperties": {".*": {"type": "integer"}}});
        assert_eq!(
            says(schema, json!({"127.0.0.1": "x"})),
            "failed to validate 127.0.0.1 (matching \".*\"): wrong type: expected integer, got string"
        );
        let schema = json!({"properties": {"a": {}}, "additionalProperties": false});
        assert_eq!(says(schema, json!({"a": 1, "b": 2})), "additional properties forbidden, found b");
    }

    #[test]
    fn unique_items_are_compared_deeply() {
        assert_eq!(
            says(json!({"uniqueItems": true}), json!([{"a": 1, "b": 2}, {"b": 2, "a": 1.0}])),
            "expected unique items but items 1 and 2 are equal"
        );
        assert_eq!(check(&json!({"uniqueItems": true}), &json!([1, 2])), Ok(()));
    }

    #[test]
    fn combined_schemas_say_which_ones_fit() {
        let one = json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        assert_eq!(says(one.clone(), json!({})), "value should match only one schema, but matches none");
        assert_eq!(
            says(one.clone(), json!({"a": 1, "b": 1})),
            "value should match only one schema, but matches both schemas 1 and 2"
        );
        assert_eq!(
            says(json!({"allOf": [one]}), json!({})),
            "allOf 1 failed: value should match only one schema, but matches none"
        );
        let any = json!({"anyOf": [{"required": ["active"]}, {"required": ["active", "passive"]}]});
        assert_eq!(
            says(any, json!({})),
            "object matches none of the required: [\"active\"] or [\"active\",\"passive\"]"
        );
        let any = json!({"anyOf": [{"type": "string"}, {"type": "integer"}]});
        assert_eq!(says(any, json!(true)), "object matches none of the required");
    }
}
