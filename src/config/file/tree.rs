//! Walking a parsed file: every key that is asked for is typed and bounded, every key that nobody asked for is warned about, and
//! everything that is wrong is collected with its path.

use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::config::Problem;
use crate::route::Cidr;

/// What was found on the way.
#[derive(Default)]
pub struct Findings {
    pub problems: RefCell<Vec<Problem>>,
    pub warnings: RefCell<Vec<String>>,
}

/// One mapping of the file. When it is dropped, keys that nobody asked for become warnings.
pub struct Section<'a> {
    findings: &'a Findings,
    path: String,
    fields: Option<&'a Map<String, Value>>,
    asked: RefCell<Vec<String>>,
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let asked = self.asked.borrow();
        for key in self.fields.into_iter().flat_map(|fields| fields.keys()) {
            if !asked.contains(key) {
                self.warn(key, "not known to this version of Tollgate, ignored");
            }
        }
    }
}

impl<'a> Section<'a> {
    /// A mapping; anything else but nothing is a problem.
    pub fn new(findings: &'a Findings, path: &str, value: Option<&'a Value>) -> Self {
        let fields = match value {
            Some(Value::Object(fields)) => Some(fields),
            None | Some(Value::Null) => None,
            Some(other) => {
                let text = format!("expected a mapping, found {}", shown(other));
                findings.problems.borrow_mut().push(Problem::new(if path.is_empty() { "." } else { path }, text));
                None
            }
        };
        Self { findings, path: path.to_owned(), fields, asked: RefCell::default() }
    }

    /// The mapping below a key; an empty one if it is not there.
    pub fn section(&self, key: &str) -> Section<'a> {
        Section::new(self.findings, &self.at(key), self.value(key))
    }

    /// What stands at a key; `null` is nothing.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.asked.borrow_mut().push(key.to_owned());
        self.fields?.get(key).filter(|value| !value.is_null())
    }

    /// True if the key is written, be it with nothing behind it.
    pub fn is_written(&self, key: &str) -> bool {
        self.fields.is_some_and(|fields| fields.contains_key(key))
    }

    /// Every key with its value.
    pub fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.fields.into_iter().flatten()
    }

    /// The items of a list, each with its path; nothing if the key is not there.
    pub fn list(&self, key: &str) -> Option<Vec<(String, &'a Value)>> {
        match self.value(key)? {
            Value::Array(items) => Some(
                items.iter().enumerate().map(|(at, item)| (format!("{}[{}]", self.at(key), at + 1), item)).collect(),
            ),
            other => {
                self.wrong(key, format!("expected a list, found {}", shown(other)));
                None
            }
        }
    }

    /// The path of a key.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where this section reports to.
    pub fn findings(&self) -> &'a Findings {
        self.findings
    }

    /// Reports a wrong value at a path of its own.
    pub fn wrong_at(&self, path: &str, text: String) {
        self.findings.problems.borrow_mut().push(Problem::new(path, text));
    }

    /// Reports a wrong value.
    pub fn wrong(&self, key: &str, text: impl Into<String>) {
        self.findings.problems.borrow_mut().push(Problem::new(self.at(key), text));
    }

    /// Reports something that is odd and not wrong.
    pub fn warn(&self, key: &str, text: &str) {
        self.findings.warnings.borrow_mut().push(format!("{}: {text}", self.at(key)));
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        match self.value(key) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.wrong(key, format!("expected true or false, found {}", shown(other)));
                default
            }
        }
    }

    /// A text; a number written without quotes is taken as text.
    pub fn text(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            other => {
                self.wrong(key, format!("expected text, found {}", shown(other)));
                None
            }
        }
    }

    /// One of a few words.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)], default: T) -> T {
        let Some(value) = self.value(key) else { return default };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| value.as_str() == Some(word)) {
            return *meaning;
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.wrong(key, format!("expected one of {}, found {}", known.join(", "), shown(value)));
        default
    }

    /// A whole number within bounds.
    pub fn number<T: TryFrom<u64>>(&self, key: &str, bounds: RangeInclusive<u64>, default: T) -> T {
        let Some(value) = self.value(key) else { return default };
        let number = value.as_u64().filter(|number| bounds.contains(number));
        if let Some(number) = number.and_then(|number| T::try_from(number).ok()) {
            return number;
        }
        let text = format!("expected a number from {} to {}, found {}", bounds.start(), bounds.end(), shown(value));
        self.wrong(key, text);
        default
    }

    /// A duration as nginx writes it: a number of seconds, or `60s`, `500ms`, `1m30s`. In milliseconds.
    pub fn duration_ms(&self, key: &str, default_ms: u64) -> u64 {
        let Some(value) = self.value(key) else { return default_ms };
        let ms = match value {
            Value::Number(seconds) => seconds.as_f64().filter(|seconds| (0.0..1e9).contains(seconds)).map(to_ms),
            Value::String(text) => nginx_duration_ms(text),
            _ => None,
        };
        ms.unwrap_or_else(|| {
            self.wrong(key, format!("expected a duration such as 60s, 500ms or 10 (seconds), found {}", shown(value)));
            default_ms
        })
    }

    /// A size in bytes: a number, or `64k`, `1m`, `1g`.
    pub fn bytes(&self, key: &str, bounds: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.value(key) else { return default };
        let bytes = match value {
            Value::Number(bytes) => bytes.as_u64(),
            Value::String(text) => size_bytes(text),
            _ => None,
        };
        bytes.filter(|bytes| bounds.contains(bytes)).unwrap_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            self.wrong(
                key,
                format!("expected a size such as 65536, 64k or 1m, {least} to {most} bytes, found {}", shown(value)),
            );
            default
        })
    }

    /// An IP address in digits.
    pub fn address(&self, key: &str, default: IpAddr) -> IpAddr {
        let Some(value) = self.value(key) else { return default };
        let address = value.as_str().and_then(|text| text.trim_matches(['[', ']']).parse().ok());
        address.unwrap_or_else(|| {
            self.wrong(key, format!("expected an IP address, found {}", shown(value)));
            default
        })
    }

    /// Addresses and CIDR ranges; `unix:` is passed over. `None`: not written.
    pub fn ranges(&self, key: &str) -> Option<Vec<Cidr>> {
        if self.is_written(key) && self.value(key).is_none() {
            return Some(Vec::new());
        }
        let mut ranges = Vec::new();
        for (path, item) in self.list(key)? {
            if item.as_str() == Some("unix:") {
                continue;
            }
            match item.as_str().and_then(|text| Cidr::parse(text).ok()) {
                Some(range) => ranges.push(range),
                None => {
                    let text = format!("expected an IP address or a range such as 10.0.0.0/8, found {}", shown(item));
                    self.wrong_at(&path, text);
                }
            }
        }
        Some(ranges)
    }
}

/// A value in a message.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "a mapping".into(),
        Value::Array(_) => "a list".into(),
        Value::Null => "nothing".into(),
        scalar => scalar.to_string(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the caller bounds the seconds")]
fn to_ms(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

fn nginx_duration_ms(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<u64>() {
        return seconds.checked_mul(1000);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| !c.is_ascii_lowercase()).map_or(rest.len(), |end| digits + end);
        let factor = match &rest[digits..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = rest[unit..].trim_start();
    }
    Some(total)
}

fn size_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (digits, factor) = match text.strip_suffix(['k', 'm', 'g']) {
        Some(digits) => (
            digits,
            match text.as_bytes().last()? {
                b'k' => 1024,
                b'm' => 1024 * 1024,
                _ => 1024 * 1024 * 1024,
            },
        ),
        None => (text.as_str(), 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_read_as_nginx_reads_them() {
        for (text, ms) in [("60s", 60_000), ("500ms", 500), ("1m30s", 90_000), ("1m 30s", 90_000), ("10", 10_000)] {
            assert_eq!(nginx_duration_ms(text), Some(ms), "{text}");
        }
        for text in ["", "s", "1x", "-1s", "99999999999999999999s"] {
            assert_eq!(nginx_duration_ms(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_take_units() {
        assert_eq!(size_bytes("64k"), Some(65_536));
        assert_eq!(size_bytes("1M"), Some(1_048_576));
        assert_eq!(size_bytes("12"), Some(12));
        assert_eq!(size_bytes("k"), None);
    }

    #[test]
    fn unasked_keys_become_warnings_with_their_path() {
        let findings = Findings::default();
        let file = json!({"a": {"b": 1, "c": 2}, "d": 3});
        let root = Section::new(&findings, "", Some(&file));
        assert_eq!(root.section("a").number("b", 0..=9, 5), 1);
        drop(root);
        let warnings = findings.warnings.take();
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].starts_with("a.c: ") && warnings[1].starts_with("d: "), "{warnings:?}");
        assert_eq!(findings.problems.take(), []);
    }

    #[test]
    fn wrong_values_are_all_reported_and_defaults_stand_in() {
        let findings = Findings::default();
        let file = json!({"n": -1, "t": "soon", "w": "kqueue", "f": "yes", "r": ["x"], "s": 7});
        let root = Section::new(&findings, "", Some(&file));
        assert_eq!(root.number("n", 1..=9, 5_u64), 5);
        assert_eq!(root.duration_ms("t", 10), 10);
        assert_eq!(root.word("w", &[("auto", 1)], 1), 1);
        assert!(!root.flag("f", false));
        assert_eq!(root.ranges("r"), Some(vec![]));
        drop(root.section("s"));
        drop(root);
        let paths: Vec<String> = findings.problems.take().into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["n", "t", "w", "f", "r[1]", "s"]);
    }
}
