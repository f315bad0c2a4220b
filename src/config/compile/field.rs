//! Fields of an object that passed its schema: what is not there, or not of the type, is `None`.

use serde_json::Value;

use crate::config::resource::id_text;
use crate::config::snapshot::Timeouts;

pub fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

pub fn flag(value: &Value, name: &str) -> Option<bool> {
    value.get(name)?.as_bool()
}

/// An integer, `1.0` included, within the type's bounds.
pub fn integer<T: TryFrom<i64>>(value: &Value, name: &str) -> Option<T> {
    let number = value.get(name)?;
    T::try_from(number.as_i64().or_else(|| number.as_f64().and_then(whole))?).ok()
}

/// A reference to another object.
pub fn id(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(id_text)
}

/// The text at `one`, or the texts at `many`.
pub fn texts(value: &Value, one: &str, many: &str) -> Vec<String> {
    match text(value, one) {
        Some(text) => vec![text.to_owned()],
        None => value
            .get(many)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(Into::into)
            .collect(),
    }
}

/// Seconds, with a fraction, as milliseconds.
pub fn seconds_as_ms(value: &Value, name: &str) -> Option<u64> {
    value.get(name)?.as_f64().map(to_ms)
}

/// `timeout`, each at least a millisecond.
pub fn timeouts(value: &Value) -> Option<Timeouts> {
    let timeout = value.get("timeout")?;
    let ms = |name, default: u64| seconds_as_ms(timeout, name).unwrap_or(default).max(1);
    let default = Timeouts::default();
    Some(Timeouts {
        connect_ms: ms("connect", default.connect_ms),
        send_ms: ms("send", default.send_ms),
        read_ms: ms("read", default.read_ms),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "a float becomes the nearest number that the type holds")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0).then_some(number as i64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest number that the type holds"
)]
fn to_ms(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}
