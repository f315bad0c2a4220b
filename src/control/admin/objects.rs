//! GET, PUT, POST, PATCH and DELETE of the configured objects (APISIX-COMPAT §5.3–5.6).

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::{self, Action, Answer};
use super::query::Query;
use super::{Admin, list};
use crate::config::resource::{self, Kind, Method};
use crate::config::{patch, validate};
use crate::control::publish::{Publisher, Refused};
use crate::control::store::unix_ms;

/// The longest `ttl` in seconds (some 30 years); a longer one is cut to it.
const TTL_S: f64 = 1e9;

/// One request for an object or a list.
#[derive(Debug)]
pub struct Call {
    /// Of which kind.
    pub kind: Kind,
    /// What is asked.
    pub method: Method,
    /// The id in the path.
    pub id: Option<String>,
    /// What follows the id, without a leading slash; may be empty.
    pub sub_path: String,
    /// The body, if there is one.
    pub body: Option<Value>,
    /// The arguments.
    pub query: Query,
}

/// Does what is asked and gives the answer.
pub async fn answer(admin: &Admin, call: Call) -> Answer {
    let ttl_ms = match ttl_ms(&call.query) {
        Ok(ttl_ms) => ttl_ms,
        Err(refused) => return refused,
    };
    if !call.kind.allows(call.method) {
        return Answer::error(StatusCode::METHOD_NOT_ALLOWED, call.kind.not_supported(call.method));
    }
    if call.method == Method::Get {
        return get(admin, &call);
    }
    let mut publisher = admin.publisher.lock().await;
    if let Some(file) = publisher.read_only() {
        let text = format!("the configuration is read from {file}: change it there");
        return Answer::error(StatusCode::METHOD_NOT_ALLOWED, text);
    }
    let expires = ttl_ms.map(|ttl_ms| unix_ms().saturating_add(ttl_ms));
    let writer = Writer { admin, publisher: &mut publisher, expires };
    let done = match call.method {
        Method::Put => writer.put(call).await,
        Method::Post => writer.post(call).await,
        Method::Patch => writer.patch(call).await,
        Method::Delete | Method::Get => writer.delete(&call).await,
    };
    done.unwrap_or_else(|refused| refused)
}

fn ttl_ms(query: &Query) -> Result<Option<u64>, Answer> {
    match (query.first("ttl"), query.number("ttl")) {
        (None, _) => Ok(None),
        (Some(_), Some(seconds)) if seconds > 0.0 => Ok(Some((seconds.min(TTL_S) * 1_000.0) as u64)),
        (Some(_), _) => Err(Answer::invalid("invalid argument ttl: should be a number")),
    }
}

fn get(admin: &Admin, call: &Call) -> Answer {
    let documents = admin.view.documents();
    let Some(id) = &call.id else { return list::list(admin.version, &documents, call.kind, &call.query) };
    match documents.find(call.kind, id) {
        Some(document) => Answer::json(StatusCode::OK, answer::one(admin.version, call.kind, id, document)),
        None => Answer::no_such_key(),
    }
}

struct Writer<'a> {
    admin: &'a Admin,
    publisher: &'a mut Publisher,
    expires: Option<u64>,
}

impl Writer<'_> {
    async fn put(self, call: Call) -> Result<Answer, Answer> {
        let mut value = new_object(call.body)?;
        let id = resource::check_id(call.kind, call.method, call.id.as_deref(), Some(&value));
        let id = id.map_err(Answer::invalid)?.unwrap_or_default();
        if call.id.is_some() || call.kind == Kind::PluginMetadata {
            value["id"] = json!(id);
        }
        validate::forbid_times(&value).map_err(Answer::invalid)?;
        let status = match self.publisher.documents().find(call.kind, &id) {
            Some(old) => {
                stamp(call.kind, &mut value, old.value.get("create_time").cloned());
                StatusCode::OK
            }
            None => {
                stamp(call.kind, &mut value, None);
                StatusCode::CREATED
            }
        };
        self.write(status, Action::Set, call.kind, &id, value).await
    }

    async fn post(self, call: Call) -> Result<Answer, Answer> {
        let mut value = new_object(call.body)?;
        let id = resource::check_id(call.kind, call.method, call.id.as_deref(), Some(&value));
        id.map_err(Answer::invalid)?;
        validate::forbid_times(&value).map_err(Answer::invalid)?;
        let documents = self.publisher.documents();
        // As etcd's revision would be: the number of the change that makes the object. Somebody may have PUT that id before.
        let made = (documents.revision + 1..).map(|revision| format!("{revision:020}"));
        let mut free = made.skip_while(|id| documents.find(call.kind, id).is_some());
        let id = free.next().unwrap_or_default();
        value["id"] = json!(id);
        stamp(call.kind, &mut value, None);
        self.write(StatusCode::CREATED, Action::Create, call.kind, &id, value).await
    }

    async fn patch(self, call: Call) -> Result<Answer, Answer> {
        let kind = call.kind;
        let id = call.id.ok_or_else(|| missing_id(kind))?;
        let change = call.body.ok_or_else(|| Answer::invalid("missing new configuration"))?;
        if call.sub_path.is_empty() && !(change.is_object() || change.is_array()) {
            return Err(Answer::invalid("invalid configuration"));
        }
        let old = self.publisher.documents().find(kind, &id).ok_or_else(Answer::no_such_key)?;
        let mut value = old.value.clone();
        let mut update_time = None;
        if call.sub_path.is_empty() {
            update_time = change.get("update_time").filter(|time| !time.is_null()).cloned();
            patch::merge(&mut value, change);
        } else {
            patch::replace_at(&mut value, &call.sub_path, change).map_err(Answer::invalid)?;
        }
        if !value.is_object() {
            return Err(Answer::invalid("invalid configuration"));
        }
        value["id"] = json!(id);
        let create_time = value.get("create_time").or(old.value.get("create_time")).cloned();
        stamp(kind, &mut value, create_time);
        if let Some(update_time) = update_time {
            value["update_time"] = update_time;
        }
        self.write(StatusCode::OK, Action::CompareAndSwap, kind, &id, value).await
    }

    async fn delete(self, call: &Call) -> Result<Answer, Answer> {
        let id = call.id.as_deref().ok_or_else(|| missing_id(call.kind))?;
        if call.query.first("force") != Some("true") {
            validate::check_delete(self.publisher.documents(), call.kind, id).map_err(Answer::invalid)?;
        }
        match self.publisher.remove(call.kind, id).await {
            Ok(true) => Ok(Answer::json(StatusCode::OK, answer::deleted(self.admin.version, call.kind, id))),
            Ok(false) => Err(Answer::no_such_key()),
            Err(refused) => Err(not_made(refused)),
        }
    }

    /// The checks that every write ends with, and the write.
    async fn write(
        self,
        status: StatusCode,
        action: Action,
        kind: Kind,
        id: &str,
        value: Value,
    ) -> Result<Answer, Answer> {
        validate::check(kind, id, &value).map_err(Answer::invalid)?;
        validate::check_references(self.publisher.documents(), kind, id, &value).map_err(Answer::invalid)?;
        let body = answer::written(self.admin.version, action, kind, id, &value);
        self.publisher.put(kind, id, value, self.expires).await.map_err(not_made)?;
        Ok(Answer::json(status, body))
    }
}

/// The body of PUT and POST, which must be an object.
fn new_object(body: Option<Value>) -> Result<Value, Answer> {
    let wrong =
        |found: &str| Answer::invalid(format!("invalid configuration: wrong type: expected object, got {found}"));
    match body {
        None => Err(Answer::invalid("missing configurations")),
        Some(value @ Value::Object(_)) => Ok(value),
        // The type names of APISIX's Lua.
        Some(Value::Array(_)) => Err(wrong("table")),
        Some(Value::String(_)) => Err(wrong("string")),
        Some(Value::Number(_)) => Err(wrong("number")),
        Some(Value::Bool(_)) => Err(wrong("boolean")),
        Some(Value::Null) => Err(wrong("userdata")),
    }
}

/// Sets both times (unix seconds); a kind without times (plugin_metadata) is left alone.
fn stamp(kind: Kind, value: &mut Value, create_time: Option<Value>) {
    if kind != Kind::PluginMetadata {
        let now = unix_ms() / 1_000;
        value["create_time"] = create_time.unwrap_or_else(|| json!(now));
        value["update_time"] = json!(now);
    }
}

fn missing_id(kind: Kind) -> Answer {
    Answer::invalid(format!("missing {} id", kind.message_name()))
}

fn not_made(refused: Refused) -> Answer {
    match refused {
        Refused::Invalid(text) => Answer::invalid(text),
        Refused::Store(text) => Answer::error(StatusCode::SERVICE_UNAVAILABLE, text),
    }
}
