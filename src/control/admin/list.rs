//! Lists: filters and pages (APISIX-COMPAT §5.7; v3 only). Pure.

use axum::http::StatusCode;
use regex::Regex;
use serde_json::Value;

use super::answer::{self, Answer};
use super::query::Query;
use crate::config::documents::{Document, Documents};
use crate::config::file::ApiVersion;
use crate::config::resource::Kind;

/// Objects on one page: at least and at most (400).
const PAGE_SIZES: std::ops::RangeInclusive<f64> = 10.0..=500.0;

/// The list of a kind as the query asks for it.
pub fn list(version: ApiVersion, documents: &Documents, kind: Kind, query: &Query) -> Answer {
    let mut found: Vec<(&str, &Document)> = documents.all(kind).collect();
    if version == ApiVersion::V3 {
        let filters = Filters::new(kind, query);
        found.retain(|(_, document)| filters.keep(&document.value));
    }
    let total = found.len();
    if version == ApiVersion::V3
        && let (Some(page), Some(size)) = (query.number("page"), query.number("page_size"))
    {
        if !PAGE_SIZES.contains(&size) {
            return Answer::text(StatusCode::BAD_REQUEST, "page_size must be between 10 and 500");
        }
        found.sort_by_key(|(_, document)| document.created_index);
        found = page_of(found, page, size);
    }
    let nodes = found.into_iter().map(|(id, document)| answer::node(kind, id, document)).collect();
    Answer::json(StatusCode::OK, answer::list(version, kind, nodes, total))
}

/// Pages count from 1; a page before the first is the first, one behind the last is empty.
fn page_of<T>(all: Vec<T>, page: f64, size: f64) -> Vec<T> {
    // Saturating casts: both are finite, and `size` is in PAGE_SIZES.
    let (page, size) = (page.max(1.0) as usize, size as usize);
    all.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect()
}

/// What an object must satisfy, all of it.
struct Filters<'q> {
    name: Option<Pattern>,
    uri: Option<Pattern>,
    label: Option<&'q str>,
    fields: Vec<(String, String)>,
}

/// `None` is an expression that does not compile: it matches nothing.
struct Pattern(Option<Regex>);

impl Pattern {
    fn new(expression: &str) -> Self {
        Self(Regex::new(expression).ok())
    }

    fn matches(&self, value: Option<&Value>) -> bool {
        let text = value.and_then(Value::as_str);
        self.0.as_ref().zip(text).is_some_and(|(regex, text)| regex.is_match(text))
    }
}

impl<'q> Filters<'q> {
    fn new(kind: Kind, query: &'q Query) -> Self {
        // APISIX 3.13+ knows `filter` for routes only; other fields in it are ignored.
        let fields = match query.first("filter") {
            Some(filter) if kind == Kind::Route => Query::parse(filter)
                .pairs()
                .filter(|(name, _)| matches!(*name, "service_id" | "upstream_id"))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            _ => Vec::new(),
        };
        Self {
            name: query.first("name").map(Pattern::new),
            uri: query.first("uri").map(Pattern::new),
            label: query.first("label"),
            fields,
        }
    }

    fn keep(&self, value: &Value) -> bool {
        let uris = || value["uris"].as_array().into_iter().flatten().chain(value.get("uri"));
        self.name.as_ref().is_none_or(|pattern| pattern.matches(value.get("name")))
            && self.uri.as_ref().is_none_or(|pattern| uris().any(|uri| pattern.matches(Some(uri))))
            && self.label.is_none_or(|label| value["labels"].get(label).is_some())
            && self.fields.iter().all(|(name, wanted)| value.get(name).and_then(Value::as_str) == Some(wanted))
    }
}
