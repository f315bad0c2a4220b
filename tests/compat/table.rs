//! Rows of requests and what must come back.

use serde_json::Value;

use super::gateway::Gateway;

/// One request and its answer. `body` empty: none.
pub struct Row {
    pub what: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub body: &'static str,
    pub status: u16,
    pub answer: Expected,
}

/// What the body must be.
pub enum Expected {
    /// This JSON and a line feed; times are not compared.
    Json(&'static str),
    /// These bytes.
    Bytes(&'static str),
    /// Text that it must contain.
    Holds(&'static str),
}

pub const fn row(
    what: &'static str,
    call: (&'static str, &'static str, &'static str),
    status: u16,
    answer: Expected,
) -> Row {
    Row { what, method: call.0, path: call.1, body: call.2, status, answer }
}

/// Asks row after row of one gateway.
pub fn run(gateway: &Gateway, rows: &[Row]) {
    for Row { what, method, path, body, status, answer } in rows {
        let reply = gateway.ask(method, path, (!body.is_empty()).then_some(body));
        let name = format!("{what}: {method} {path} {body}");
        assert_eq!(reply.status, *status, "{name}: {}", reply.body);
        match answer {
            Expected::Json(wanted) => {
                assert!(reply.body.ends_with('\n'), "{name}: a JSON body ends with a line feed");
                let wanted: Value = serde_json::from_str(wanted).expect(what);
                assert_eq!(without_times(reply.json()), wanted, "{name}");
                assert_eq!(reply.header("content-type"), Some("application/json"), "{name}");
            }
            Expected::Bytes(wanted) => assert_eq!(reply.body, *wanted, "{name}"),
            Expected::Holds(wanted) => assert!(reply.body.contains(wanted), "{name}: {}", reply.body),
        }
    }
}

/// The value without `create_time` and `update_time`, wherever they stand.
pub fn without_times(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| !matches!(name.as_str(), "create_time" | "update_time"));
            Value::Object(kept.map(|(name, value)| (name, without_times(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_times).collect()),
        other => other,
    }
}
