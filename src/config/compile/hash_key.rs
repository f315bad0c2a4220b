//! `hash_on` and `key` of an upstream with `type: chash` (APISIX-COMPAT §7.1).

use serde_json::Value;

use super::field;
use crate::config::snapshot::{HashKey, KeyPart};
use crate::log::Variable;

/// What the upstream hashes requests by.
pub fn read(upstream: &Value) -> HashKey {
    let key = field::text(upstream, "key").unwrap_or_default();
    let named = |prefix: &str| HashKey::Variable(Variable::compile(&format!("{prefix}{key}")));
    match field::text(upstream, "hash_on").unwrap_or("vars") {
        "vars" => named(""),
        "header" => named("http_"),
        "cookie" => named("cookie_"),
        "vars_combinations" => HashKey::Combination(parts(key)),
        // There are no consumers yet: no request has one.
        _ => HashKey::None,
    }
}

/// Text with `$name` and `${name}`; `\$` is no variable, and stays as it is.
fn parts(template: &str) -> Vec<KeyPart> {
    let (mut parts, mut text, mut rest) = (Vec::new(), String::new(), template);
    while let Some(at) = rest.find('$') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        text.push_str(before);
        match name(after).filter(|_| !text.ends_with('\\')) {
            Some((name, behind)) => {
                if !text.is_empty() {
                    parts.push(KeyPart::Text(std::mem::take(&mut text).into_bytes()));
                }
                parts.push(KeyPart::Variable(Variable::compile(name)));
                rest = behind;
            }
            None => {
                text.push('$');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(KeyPart::Text(text.into_bytes()));
    }
    parts
}

/// A variable's name behind its `$`, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let word = |text: &str| text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, behind) = match text.strip_prefix('{') {
        Some(inner) => {
            let (name, behind) = inner.split_at(word(inner));
            (name, behind.strip_prefix('}')?)
        }
        None => text.split_at(word(text)),
    };
    (!name.is_empty()).then_some((name, behind))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variable(name: &str) -> KeyPart {
        KeyPart::Variable(Variable::compile(name))
    }

    fn text(text: &str) -> KeyPart {
        KeyPart::Text(text.into())
    }

    #[test]
    fn each_hash_on_names_its_variable() {
        for (hash_on, key, variable) in
            [("vars", "arg_device", "arg_device"), ("header", "X-User", "http_x_user"), ("cookie", "sid", "cookie_sid")]
        {
            let read = read(&json!({"hash_on": hash_on, "key": key}));
            assert_eq!(read, HashKey::Variable(Variable::compile(variable)), "{hash_on}");
        }
        assert_eq!(read(&json!({"key": "uri"})), HashKey::Variable(Variable::compile("uri")), "vars is the default");
        assert_eq!(read(&json!({"hash_on": "consumer"})), HashKey::None);
    }

    #[test]
    fn a_combination_is_text_and_variables_in_either_form() {
        assert_eq!(parts("$host-${uri}x"), [variable("host"), text("-"), variable("uri"), text("x")]);
        assert_eq!(parts("$arg_a$arg_b"), [variable("arg_a"), variable("arg_b")]);
    }

    #[test]
    fn what_is_no_variable_stays_as_it_is() {
        for plain in ["", "a", "$", "a$-", "${", "${uri", r"\$host"] {
            let whole = if plain.is_empty() { vec![] } else { vec![text(plain)] };
            assert_eq!(parts(plain), whole, "{plain}");
        }
    }
}
