//! The docs name every metric and no other: `docs/metrics.md` by its tables, `docs/alerts.md` by its rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::render;
use crate::config::publish::{Bell, Board};

/// Name and type of every metric that the endpoint has.
fn registry() -> BTreeMap<String, String> {
    let bells: Vec<Bell> = vec![Box::new(|| {})];
    let (board, _asked, _put_down) = Board::new(Arc::default(), bells, 1);
    let text = render(&board, "host", "apisix_", &[]);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[test]
fn the_docs_tables_are_what_the_endpoint_has() {
    let docs = include_str!("../../../docs/metrics.md");
    let rows = docs.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(|cell| cell.trim().trim_matches('`'));
        let (name, kind) = (cells.next()?, cells.next()?);
        let is_metric = name.starts_with("tollgate_") || name.starts_with("apisix_");
        is_metric.then(|| (name.to_owned(), kind.to_owned()))
    });
    let rows: Vec<_> = rows.collect();
    let documented: BTreeMap<_, _> = rows.iter().cloned().collect();
    assert_eq!(documented.len(), rows.len(), "no metric stands there twice");
    assert_eq!(documented, registry());
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

/// Prometheus' alerting rule, as far as we use it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(default, rename = "for")]
    lasts: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// Words of an expression that are metrics.
fn metrics(expr: &str) -> impl Iterator<Item = &str> {
    let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("tollgate_") || word.starts_with("apisix_"))
}

#[test]
fn the_alert_rules_are_rules_and_name_metrics_that_exist() {
    let docs = include_str!("../../../docs/alerts.md");
    let (_, block) = docs.split_once("```yaml\n").expect("a block of rules");
    let (yaml, _) = block.split_once("\n```").expect("its end");
    let rules: Rules = serde_saphyr::from_str(yaml).expect("rules");
    let (registry, mut names) = (registry(), BTreeSet::new());
    for rule in rules.groups.iter().flat_map(|group| &group.rules) {
        let name = &rule.alert;
        assert!(names.insert(name), "{name} stands there once");
        assert!(metrics(&rule.expr).count() > 0, "{name} names a metric");
        for metric in metrics(&rule.expr) {
            let suffixes = ["_bucket", "_sum", "_count"];
            let family = suffixes.iter().find_map(|suffix| metric.strip_suffix(suffix));
            let is_histogram = family.and_then(|family| registry.get(family)).is_some_and(|kind| kind == "histogram");
            assert!(registry.contains_key(metric) || is_histogram, "{name}: {metric} does not exist");
        }
        let balanced = |open, close| rule.expr.matches(open).count() == rule.expr.matches(close).count();
        assert!(balanced('(', ')') && balanced('{', '}') && balanced('[', ']'), "{name}: {}", rule.expr);
        let is_time = |time: &String| time.ends_with(['s', 'm', 'h']) && time[..time.len() - 1].parse::<u32>().is_ok();
        assert!(rule.lasts.iter().all(is_time), "{name}");
        assert!(["page", "ticket"].contains(&rule.labels["severity"].as_str()), "{name}");
        assert!(!rule.annotations["summary"].is_empty() && !rule.annotations["action"].is_empty(), "{name}");
        let row = format!("| `{name}` |");
        assert!(docs.contains(&row), "{name} is explained in the table");
    }
    assert!(rules.groups.iter().all(|group| group.name.starts_with("tollgate")) && names.len() >= 8);
}
