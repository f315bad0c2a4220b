//! What the gateway can do: plugins, schemas, and checks without a write (APISIX-COMPAT §5.8). Pure.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::query::Query;
use crate::config::documents::Documents;
use crate::config::resource::Kind;
use crate::config::{schema, validate};

/// kafka-logger's priority in APISIX (§1).
const KAFKA_LOGGER_PRIORITY: u32 = 403;

/// `GET /plugins/list`.
pub fn plugin_names(query: &Query) -> Answer {
    match query.first("subsystem") {
        None | Some("http") => Answer::json(StatusCode::OK, json!(schema::PLUGINS)),
        Some("stream") => Answer::json(StatusCode::OK, json!([])),
        Some(_) => Answer::invalid("invalid subsystem passed"),
    }
}

/// `GET /plugins/{name}` and `GET /plugins?all=true`.
pub fn plugin(name: Option<&str>, query: &Query) -> Answer {
    let subsystem = query.first("subsystem").unwrap_or("http");
    if !matches!(subsystem, "http" | "stream") {
        return Answer::invalid("invalid subsystem passed");
    }
    if query.first("all") == Some("true") {
        return Answer::json(StatusCode::OK, if subsystem == "http" { all_plugins() } else { json!({}) });
    }
    match name.filter(|_| subsystem == "http").and_then(schema::plugin) {
        Some(found) => Answer::json(StatusCode::OK, found.clone()),
        None => Answer::error(StatusCode::NOT_FOUND, format!("plugin not found in subsystem {subsystem}")),
    }
}

/// Every plugin with its schemas, by name.
pub fn all_plugins() -> Value {
    let entry = |name: &&str| {
        let about = json!({
            "version": 0.1,
            "priority": KAFKA_LOGGER_PRIORITY,
            "schema": schema::plugin(name),
            "metadata_schema": schema::metadata(name),
        });
        ((*name).to_owned(), about)
    };
    Value::Object(schema::PLUGINS.iter().map(entry).collect::<Map<_, _>>())
}

/// Every resource's schema, by name.
pub fn all_resources() -> Value {
    let entry = |kind: Kind| (kind.schema_name().to_owned(), schema::resource(kind).clone());
    Value::Object(Kind::ALL.into_iter().map(entry).collect::<Map<_, _>>())
}

/// `GET /schema/{singular}`.
pub fn resource(name: Option<&str>) -> Answer {
    match name.and_then(Kind::from_schema_name) {
        Some(kind) => Answer::json(StatusCode::OK, schema::resource(kind).clone()),
        None => no_schema(name),
    }
}

/// `GET /schema/plugins/{name}`; `?schema_type=metadata` asks for the metadata's.
pub fn plugin_schema(name: Option<&str>, query: &Query) -> Answer {
    let found = match query.first("schema_type") {
        Some("metadata") => name.and_then(schema::metadata),
        _ => name.and_then(schema::plugin),
    };
    found.map_or_else(|| no_schema(name), |found| Answer::json(StatusCode::OK, found.clone()))
}

fn no_schema(name: Option<&str>) -> Answer {
    Answer::invalid(format!("not found schema: {}", name.unwrap_or_default()))
}

/// `POST /schema/validate/{plural}`: the resource's schema alone.
pub fn validate_one(kind: Kind, body: Option<&Value>) -> Answer {
    match validate::check_schema_only(kind, body.unwrap_or(&Value::Null)) {
        Ok(()) => Answer::empty(StatusCode::OK),
        Err(text) => Answer::invalid(text),
    }
}

/// `POST /configs/validate`: a whole configuration, `{"routes": […], …}`, objects with their plugins and references; everything that
/// is wrong in one answer.
pub fn validate_all(body: Option<&Value>) -> Answer {
    let Some(body) = body.and_then(Value::as_object) else { return Answer::invalid("invalid configuration") };
    let mut documents = Documents::default();
    let mut objects = Vec::new();
    for (segment, items) in body {
        let Some(kind) = Kind::from_segment(segment) else { continue };
        for (index, item) in items.as_array().into_iter().flatten().enumerate() {
            let id = item.get("id").and_then(crate::config::resource::id_text);
            let id = id.unwrap_or_else(|| format!("arr_{}", index + 1));
            documents.put(kind, &id, item.clone());
            objects.push((kind, index, id, item));
        }
    }
    let mut errors = Vec::new();
    for (kind, index, id, item) in objects {
        let checked = validate::check(kind, &id, item);
        if let Err(error) = checked.and_then(|()| validate::check_references(&documents, kind, &id, item)) {
            errors.push(json!({ "resource_type": kind.segment(), "resource_id": id, "index": index, "error": error }));
        }
    }
    if errors.is_empty() {
        return Answer::empty(StatusCode::OK);
    }
    let body = json!({ "error_msg": "Configuration validation failed", "errors": errors });
    Answer::json(StatusCode::BAD_REQUEST, body)
}
