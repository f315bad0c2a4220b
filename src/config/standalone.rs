//! `apisix.yaml` and `apisix.json`: the whole configuration as one file (APISIX-COMPAT §8.1). Reads no file: the text is handed in.

use serde_json::{Map, Value};

use super::Problem;
use super::documents::{Document, Documents};
use super::file::substitute::substitute;
use super::resource::{Kind, id_text};
use super::validate;

/// Bytes at the file's end among which the end flag must be, as in APISIX.
const END_FLAG_WITHIN_BYTES: usize = 10;
const END_FLAG: &str = "#END";

/// Reads the text of an `apisix.yaml`, which must end with a `#END` line. Gives the documents and what was skipped and why, with
/// APISIX's texts. Every object's indexes and the revision are `revision` (APISIX takes the file's modification time).
///
/// # Errors
/// Why the whole file is refused, so that the configuration before it stays: no end flag, no YAML, not a mapping, a variable that is
/// not there.
pub fn parse_yaml(
    file_name: &str,
    text: &str,
    revision: u64,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Documents, Vec<Problem>), String> {
    if !has_end_flag(text) {
        return Err(format!("missing valid end flag in file {file_name}"));
    }
    let tree: Value = serde_saphyr::from_str(text).map_err(|error| format!("failed to parse {file_name}: {error}"))?;
    documents(tree, revision, env).map_err(|text| format!("failed to parse {file_name}: {text}"))
}

/// Reads the text of an `apisix.json`: the same without an end flag.
///
/// # Errors
/// As [`parse_yaml`].
pub fn parse_json(
    text: &str,
    revision: u64,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Documents, Vec<Problem>), String> {
    documents(serde_json::from_str(text).map_err(|error| error.to_string())?, revision, env)
}

fn has_end_flag(text: &str) -> bool {
    let from = text.len().saturating_sub(END_FLAG_WITHIN_BYTES);
    text.as_bytes()[from..].windows(END_FLAG.len()).any(|bytes| bytes == END_FLAG.as_bytes())
}

fn documents(
    tree: Value,
    revision: u64,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Documents, Vec<Problem>), String> {
    let mut problems = Vec::new();
    let tree = substitute(tree, env, &mut problems);
    if let Some(problem) = problems.first() {
        return Err(problem.to_string());
    }
    let tree = match tree {
        Value::Object(tree) => tree,
        Value::Null => Map::new(),
        _ => return Err("expected a mapping".into()),
    };
    let mut documents = Documents::default();
    documents.revision = revision;
    for (segment, items) in tree {
        let Some(kind) = Kind::from_segment(&segment) else {
            // The list of plugins is no list of objects.
            if segment != "plugins" {
                let text = "this version of Tollgate does not have such objects, ignored";
                problems.push(Problem::new(segment, text));
            }
            continue;
        };
        match items {
            Value::Array(items) => add_all(kind, items, &mut documents, &mut problems),
            Value::Null => {}
            _ => problems.push(Problem::new(segment, "expected a list, ignored")),
        }
    }
    Ok((documents, problems))
}

fn add_all(kind: Kind, items: Vec<Value>, documents: &mut Documents, problems: &mut Vec<Problem>) {
    let segment = kind.segment();
    for (at, mut value) in items.into_iter().enumerate() {
        let id = value.get("id").and_then(id_text).unwrap_or_else(|| format!("arr_{}", at + 1));
        let path = format!("{segment}/{id}");
        // References may lead anywhere: the compiler answers for them, as APISIX does at run time.
        let checked = match kind {
            Kind::PluginMetadata if !super::schema::is_plugin(&id) => Err("invalid plugin name".into()),
            _ => validate::check(kind, &id, &value),
        };
        if let Err(text) = checked {
            problems.push(Problem::new(path, format!("failed to check item data of [{segment}] err:{text}")));
            continue;
        }
        if let Value::Object(fields) = &mut value {
            fields.entry("id").or_insert_with(|| Value::from(id.as_str()));
        }
        let document = Document { value, created_index: documents.revision, modified_index: documents.revision };
        documents.restore(kind, &id, document);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(text: &str) -> Result<(Documents, Vec<Problem>), String> {
        parse_yaml("conf/apisix.yaml", text, 77, &|name| (name == "NODE").then(|| "127.0.0.1:1980".to_owned()))
    }

    #[test]
    fn objects_are_found_by_their_id_or_their_place() {
        let (documents, problems) = parse(
            "routes:\n  - uri: /hello\n    upstream_id: 1\n  - id: r2\n    uri: /x\n    plugins: {}\n\
             upstreams:\n  - id: 1\n    nodes: {\"${{NODE}}\": 1}\n\
             plugin_metadata:\n  - id: kafka-logger\n    log_format: {host: $host}\n#END\n",
        )
        .unwrap();
        assert_eq!(problems, []);
        let ids: Vec<&str> = documents.all(Kind::Route).map(|(id, _)| id).collect();
        assert_eq!(ids, ["arr_1", "r2"]);
        let upstream = documents.find(Kind::Upstream, "1").unwrap();
        assert_eq!(upstream.value, json!({"id": 1, "nodes": {"127.0.0.1:1980": 1}}));
        assert_eq!((documents.revision, upstream.modified_index), (77, 77));
        assert_eq!(documents.find(Kind::Route, "arr_1").unwrap().value["id"], "arr_1");
        assert_eq!(documents.count(Kind::PluginMetadata), 1);
    }

    #[test]
    fn a_file_without_its_end_is_refused() {
        for text in ["routes: []\n", "#END\nroutes: []\n", ""] {
            assert_eq!(parse(text).unwrap_err(), "missing valid end flag in file conf/apisix.yaml", "{text}");
        }
        for text in ["#END", "routes:\n#END\n\n", "routes: []\n  #END  \n"] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn wrong_items_are_skipped_with_the_reason_and_the_others_stay() {
        let (documents, problems) = parse(
            "routes:\n  - {id: a, uri: /a, plugins: {kafka-loger: {}}}\n  - {id: b, uri: /b, plugins: {}}\n  - 7\n#END\n",
        )
        .unwrap();
        assert_eq!(documents.count(Kind::Route), 1);
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "routes/a: failed to check item data of [routes] err:unknown plugin [kafka-loger]",
                "routes/arr_3: failed to check item data of [routes] err:\
                 invalid configuration: wrong type: expected object, got number",
            ]
        );
    }

    #[test]
    fn what_this_version_does_not_have_is_said() {
        let (_, problems) = parse("plugins: []\nssls: [{id: 1}]\nconsumers: []\n#END\n").unwrap();
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["ssls", "consumers"]);
    }

    #[test]
    fn no_yaml_no_mapping_or_a_missing_variable_refuses_the_whole_file() {
        assert!(parse("routes: [\n#END\n").unwrap_err().starts_with("failed to parse conf/apisix.yaml: "));
        assert!(parse("- 1\n#END\n").unwrap_err().ends_with("expected a mapping"));
        assert!(
            parse("routes: [{id: \"${{NONE}}\"}]\n#END\n")
                .unwrap_err()
                .contains("can't find environment variable NONE")
        );
    }

    #[test]
    fn json_needs_no_end_flag() {
        let text = r#"{"routes": [{"id": "r", "uri": "/", "plugins": {}}]}"#;
        let (documents, problems) = parse_json(text, 1, &|_| None).unwrap();
        assert_eq!((documents.count(Kind::Route), problems), (1, vec![]));
    }
}
