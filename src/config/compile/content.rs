//! Content as a number: what has the same content shares pools, balancers and producers.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

/// Hashes what is handed in, the same way in every run of one build.
pub fn hash_of(parts: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// A JSON value, hashed in the order written: that order is the order of a log entry's keys.
pub struct Json<'a>(pub Option<&'a Value>);

impl Hash for Json<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            None => 0_u8.hash(state),
            Some(Value::Null) => 1_u8.hash(state),
            Some(Value::Bool(flag)) => (2_u8, flag).hash(state),
            Some(Value::Number(number)) => (3_u8, number).hash(state),
            Some(Value::String(text)) => (4_u8, text).hash(state),
            Some(Value::Array(items)) => {
                (5_u8, items.len()).hash(state);
                items.iter().for_each(|item| Self(Some(item)).hash(state));
            }
            Some(Value::Object(fields)) => {
                (6_u8, fields.len()).hash(state);
                fields.iter().for_each(|(name, value)| (name, Self(Some(value))).hash(state));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn different_values_have_different_hashes() {
        let values = [
            json!(null),
            json!(1),
            json!("1"),
            json!([1]),
            json!({"a": 1}),
            json!({"a": [1]}),
            json!({"a": 1, "b": 2}),
            json!({"b": 2, "a": 1}),
            json!([]),
            json!({}),
            json!([[], 1]),
            json!([[1]]),
            json!(true),
        ];
        let hashes: std::collections::HashSet<u64> = values.iter().map(|value| hash_of(&Json(Some(value)))).collect();
        assert_eq!(hashes.len(), values.len());
        assert_eq!(hash_of(&Json(Some(&json!({"a": [1]})))), hash_of(&Json(Some(&json!({"a": [1]})))));
    }
}
