//! `${{VAR}}` and `${{VAR:=default}}` in keys and values (APISIX-COMPAT §8.1). The environment is handed in.

use serde_json::Value;

use crate::config::Problem;

/// Replaces every reference in keys and strings. A value that held one and then reads as a number or a boolean becomes one, as in
/// APISIX. Adds a problem for each variable that is not there and has no default.
pub fn substitute(value: Value, env: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<Problem>) -> Value {
    walk(value, "", env, problems)
}

fn walk(value: Value, path: &str, env: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<Problem>) -> Value {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut replaced = |text: &str, path: &str| match replace(text, env) {
        Ok(done) => done,
        Err(name) => {
            problems.push(Problem::new(path, format!("can't find environment variable {name}")));
            None
        }
    };
    match value {
        Value::String(text) => match replaced(&text, path) {
            Some(text) => scalar(text),
            None => Value::String(text),
        },
        Value::Array(items) => Value::Array(
            items
                .into_iter()
                .enumerate()
                .map(|(at, item)| walk(item, &below(&(at + 1).to_string()), env, problems))
                .collect(),
        ),
        Value::Object(fields) => {
            let mut out = serde_json::Map::with_capacity(fields.len());
            for (name, value) in fields {
                let path = below(&name);
                let name = match replace(&name, env) {
                    Ok(done) => done.unwrap_or(name),
                    Err(missing) => {
                        problems.push(Problem::new(&path, format!("can't find environment variable {missing}")));
                        name
                    }
                };
                out.insert(name, walk(value, &path, env, problems));
            }
            Value::Object(out)
        }
        other => other,
    }
}

/// A number only where writing it again gives the same text: `007` and `1e5` stay text, so that no password loses a digit.
fn scalar(text: String) -> Value {
    if let Ok(flag) = text.parse::<bool>() {
        return Value::Bool(flag);
    }
    if let Some(number) = text.parse::<i64>().ok().filter(|number| number.to_string() == text) {
        return Value::from(number);
    }
    match text.parse::<f64>().ok().filter(|number| number.is_finite() && number.to_string() == text) {
        Some(number) => Value::from(number),
        None => Value::String(text),
    }
}

/// `None`: there was nothing to replace.
///
/// # Errors
/// The name of a variable that is not there and has no default.
fn replace(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${{") {
        let Some((inside, after)) = behind.split_once("}}") else { break };
        let (name, default) = match inside.split_once(":=") {
            Some((name, default)) => (name.trim(), Some(default.trim().to_owned())),
            None => (inside.trim(), None),
        };
        let value = env(name).or(default).ok_or_else(|| name.to_owned())?;
        out.push_str(before);
        out.push_str(&value);
        rest = after;
    }
    if rest.len() == text.len() {
        return Ok(None);
    }
    out.push_str(rest);
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn done(value: Value) -> (Value, Vec<Problem>) {
        let env = |name: &str| match name {
            "HOST" => Some("kafka1".to_owned()),
            "PORT" => Some("9092".to_owned()),
            _ => None,
        };
        let mut problems = Vec::new();
        let value = substitute(value, &env, &mut problems);
        (value, problems)
    }

    #[test]
    fn keys_and_values_are_replaced_and_numbers_become_numbers() {
        let (value, problems) = done(json!({"${{HOST}}": "${{PORT}}", "a": ["x-${{ HOST }}:${{PORT}}-y", 1, true]}));
        assert_eq!(value, json!({"kafka1": 9092, "a": ["x-kafka1:9092-y", 1, true]}));
        assert_eq!(problems, []);
    }

    #[test]
    fn defaults_hold_where_the_variable_is_missing() {
        let (value, problems) =
            done(json!(["${{NONE:=7}}", "${{PORT:=7}}", "${{NONE:=true}}", "${{NONE:=a}}", "${{NONE:=}}"]));
        assert_eq!(value, json!([7, 9092, true, "a", ""]));
        assert_eq!(problems, []);
    }

    #[test]
    fn a_missing_variable_is_a_problem_with_its_path() {
        let (_, problems) = done(json!({"a": {"b": ["${{NONE}}"]}}));
        assert_eq!(problems, [Problem::new("a.b.1", "can't find environment variable NONE")]);
    }

    #[test]
    fn text_without_references_stays_as_it_is() {
        let text = json!(["007", "true", "${{open", "$host", "}}"]);
        assert_eq!(done(text.clone()).0, text);
    }
}
