//! The shapes of the Admin API's answers, v3 and v2 (APISIX-COMPAT §5.3, §5.9), and how they get onto the wire.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::config::documents::Document;
use crate::config::file::ApiVersion;
use crate::config::resource::Kind;

/// An answer before it is bytes.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub payload: Payload,
}

/// A body.
#[derive(Debug)]
pub enum Payload {
    /// None, and no content type.
    Bare,
    /// None, under the JSON content type.
    Empty,
    /// One JSON value and a line feed.
    Json(Value),
    /// This text without a line feed, under the JSON content type (as APISIX does).
    Text(String),
    /// nginx's page for a refused address.
    Html(&'static str),
}

impl Answer {
    /// A JSON answer.
    pub fn json(status: StatusCode, value: Value) -> Self {
        Self { status, payload: Payload::Json(value) }
    }

    /// `{"error_msg": …}`.
    pub fn error(status: StatusCode, text: impl Into<String>) -> Self {
        Self::json(status, json!({ "error_msg": text.into() }))
    }

    /// A 400 with `{"error_msg": …}`.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::error(StatusCode::BAD_REQUEST, text)
    }

    /// The 404 for an object that is not there: `message`, not `error_msg`.
    pub fn no_such_key() -> Self {
        Self::json(StatusCode::NOT_FOUND, json!({ "message": "Key not found" }))
    }

    /// Plain text under the JSON content type.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, payload: Payload::Text(text.into()) }
    }

    /// No body under the JSON content type.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, payload: Payload::Empty }
    }

    /// A status and nothing else: a path or method that nobody serves.
    pub fn bare(status: StatusCode) -> Self {
        Self { status, payload: Payload::Bare }
    }

    /// The answer in HTTP.
    pub fn into_response(self) -> Response<Body> {
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        let (body, content_type) = match self.payload {
            Payload::Bare => (Body::empty(), None),
            Payload::Empty => (Body::empty(), Some(JSON)),
            Payload::Json(value) => (Body::from(format!("{value}\n")), Some(JSON)),
            Payload::Text(text) => (Body::from(text), Some(JSON)),
            Payload::Html(page) => (Body::from(page), Some(HeaderValue::from_static("text/html; charset=utf-8"))),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        if let Some(content_type) = content_type {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        response
    }
}

/// What a write did, for v2's `action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// PUT.
    Set,
    /// POST.
    Create,
    /// PATCH.
    CompareAndSwap,
}

/// The answer to PUT, POST and PATCH: key and stored value, without indexes.
pub fn written(version: ApiVersion, action: Action, kind: Kind, id: &str, value: &Value) -> Value {
    let node = json!({ "key": kind.key(id), "value": value });
    match version {
        ApiVersion::V3 => node,
        ApiVersion::V2 => {
            let action = match action {
                Action::Set => "set",
                Action::Create => "create",
                Action::CompareAndSwap => "compareAndSwap",
            };
            json!({ "action": action, "node": node })
        }
    }
}

/// One object as it stands in lists and in GET: key, value, both indexes.
pub fn node(kind: Kind, id: &str, document: &Document) -> Value {
    json!({
        "key": kind.key(id),
        "value": document.value,
        "createdIndex": document.created_index,
        "modifiedIndex": document.modified_index,
    })
}

/// The answer to GET of one object.
pub fn one(version: ApiVersion, kind: Kind, id: &str, document: &Document) -> Value {
    match version {
        ApiVersion::V3 => node(kind, id, document),
        ApiVersion::V2 => json!({ "action": "get", "count": 1, "node": node(kind, id, document) }),
    }
}

/// The answer to GET of a list: `total` counts what the filters left, before paging.
pub fn list(version: ApiVersion, kind: Kind, nodes: Vec<Value>, total: usize) -> Value {
    match version {
        ApiVersion::V3 => json!({ "list": nodes, "total": total }),
        ApiVersion::V2 => {
            let key = format!("/apisix/{}", kind.segment());
            json!({ "action": "get", "count": total, "node": { "dir": true, "key": key, "nodes": nodes } })
        }
    }
}

/// The answer to DELETE; `deleted` is a string.
pub fn deleted(version: ApiVersion, kind: Kind, id: &str) -> Value {
    match version {
        ApiVersion::V3 => json!({ "deleted": "1", "key": kind.key(id) }),
        ApiVersion::V2 => json!({ "action": "delete", "deleted": "1", "key": kind.key(id), "node": {} }),
    }
}
