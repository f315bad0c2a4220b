//! `--where request.uri~^/get`: a path into an entry, a comparison, a value. Pure.

use regex::Regex;
use serde_json::Value;
use std::cmp::Ordering;

/// Bytes of a compiled pattern.
const PATTERN_BYTES: usize = 1024 * 1024;

#[derive(Clone, Debug)]
enum Test {
    Equal,
    Unequal,
    More,
    MoreOrEqual,
    Less,
    LessOrEqual,
    Matches(Regex),
}

/// One condition on an entry.
#[derive(Clone, Debug)]
pub struct Filter {
    path: String,
    test: Test,
    value: String,
}

/// Operators as written; the longer before those they begin with.
const OPERATORS: [(&str, Test); 7] = [
    ("!=", Test::Unequal),
    (">=", Test::MoreOrEqual),
    ("<=", Test::LessOrEqual),
    ("==", Test::Equal),
    ("=", Test::Equal),
    (">", Test::More),
    ("<", Test::Less),
];

impl Filter {
    /// Reads `path=value`, `!=`, `>`, `>=`, `<`, `<=` (numbers as numbers, else as text), or `path~pattern` (a regular expression).
    ///
    /// # Errors
    /// What is missing, with an example.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!("filter '{text}': {what}; it is written like response.status=502, request.uri~^/get or latency>100")
        };
        let at = text.find(['=', '!', '<', '>', '~']).ok_or_else(|| wrong("it has no comparison"))?;
        let (path, rest) = text.split_at(at);
        let path = path.trim();
        if path.is_empty() {
            return Err(wrong("it names no field"));
        }
        let (test, value) = if let Some(pattern) = rest.strip_prefix('~') {
            let compiled = regex::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
            (Test::Matches(compiled.map_err(|error| wrong(&format!("the pattern is wrong ({error})")))?), "")
        } else {
            let found = OPERATORS.iter().find_map(|(sign, test)| Some((test.clone(), rest.strip_prefix(sign)?)));
            found.ok_or_else(|| wrong("'!' alone compares nothing, '!=' does"))?
        };
        Ok(Self { path: path.to_owned(), test, value: value.to_owned() })
    }

    /// True if `entry` meets the condition. A field that is not there only meets `!=`.
    pub fn holds(&self, entry: &Value) -> bool {
        let Some(found) = at_path(entry, &self.path) else { return matches!(self.test, Test::Unequal) };
        match &self.test {
            Test::Equal => self.equal(found),
            Test::Unequal => !self.equal(found),
            Test::Matches(pattern) => pattern.is_match(&plain(found)),
            Test::More => self.order(found) == Ordering::Greater,
            Test::Less => self.order(found) == Ordering::Less,
            Test::MoreOrEqual => self.order(found) != Ordering::Less,
            Test::LessOrEqual => self.order(found) != Ordering::Greater,
        }
    }

    fn equal(&self, found: &Value) -> bool {
        match (found, self.value.parse::<f64>()) {
            (Value::Number(number), Ok(value)) => number.as_f64() == Some(value),
            _ => plain(found) == self.value,
        }
    }

    /// As numbers if both are (nginx's variables are numbers in strings), else as text.
    fn order(&self, found: &Value) -> Ordering {
        let found = plain(found);
        let numbers = found.parse::<f64>().ok().zip(self.value.parse::<f64>().ok());
        numbers.and_then(|(a, b)| a.partial_cmp(&b)).unwrap_or_else(|| found.as_str().cmp(&self.value))
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The value at a dotted path; numbers index arrays. A key may hold dots itself: the whole rest is tried first.
pub fn at_path<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let within = |key: &str| match value {
        Value::Object(map) => map.get(key),
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    };
    within(path).or_else(|| path.match_indices('.').find_map(|(at, _)| at_path(within(&path[..at])?, &path[at + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(filter: &str, entry: &Value) -> bool {
        Filter::parse(filter).unwrap().holds(entry)
    }

    #[test]
    fn paths_reach_into_objects_arrays_and_keys_with_dots() {
        let entry = json!({"request": {"headers": {"x.y": "1"}, "list": [{"a": 2}]}, "a.b": {"c": 3}});
        assert_eq!(at_path(&entry, "request.headers.x.y"), Some(&json!("1")));
        assert_eq!(at_path(&entry, "request.list.0.a"), Some(&json!(2)));
        assert_eq!(at_path(&entry, "a.b.c"), Some(&json!(3)));
        assert_eq!(at_path(&entry, "request.list.1.a"), None);
        assert_eq!(at_path(&entry, "request..x"), None);
    }

    #[test]
    fn comparisons_take_numbers_as_numbers_and_text_as_text() {
        let entry = json!({"response": {"status": 502}, "latency": 9.5, "upstream_latency": "80", "route_id": "r1", "up": null});
        for filter in [
            "response.status=502",
            "response.status==502.0",
            "response.status>=500",
            "response.status!=200",
            "latency<10",
            "latency<=9.5",
            "upstream_latency>9",
            "route_id=r1",
            "route_id!=r2",
            "route_id~^r[0-9]$",
            "up=null",
            "gone!=1",
            "route_id>r0",
        ] {
            assert!(holds(filter, &entry), "{filter}");
        }
        for filter in ["response.status=5020", "latency>10", "route_id=r", "route_id~^$", "gone=1", "gone<1", "gone~.*"]
        {
            assert!(!holds(filter, &entry), "{filter}");
        }
    }

    #[test]
    fn values_may_hold_signs_and_be_empty() {
        let entry = json!({"uri": "/a?b=c&d>e", "empty": ""});
        assert!(holds("uri=/a?b=c&d>e", &entry));
        assert!(holds("uri~b=c", &entry));
        assert!(holds("empty=", &entry));
    }

    #[test]
    fn what_cannot_be_read_says_what_is_missing() {
        for (text, expected) in
            [("status", "no comparison"), ("=5", "names no field"), ("a!5", "'!='"), ("a~(", "pattern")]
        {
            let error = Filter::parse(text).unwrap_err();
            assert!(error.contains(expected) && error.contains("response.status=502"), "{error}");
        }
    }
}
