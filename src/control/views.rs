//! What may be read without a key, on loopback: metrics, liveness, and the Control API (APISIX-COMPAT §5.10, §10). Nothing here
//! changes anything.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::routing::get;
use serde_json::{Value, json};

use super::admin::SERVER;
use super::admin::answer::{self, Answer};
use super::admin::schemas;
use super::health::{Checkers, Standing};
use super::metrics;
use super::publish::View;
use crate::base::counters::Counter;
use crate::config::documents::Document;
use crate::config::publish::{Board, Stage};
use crate::config::resource::Kind;

/// What the views look at.
#[derive(Clone)]
pub struct Seen {
    /// The cores.
    pub board: Arc<Board>,
    /// The documents.
    pub view: View,
    /// This machine's name.
    pub hostname: Arc<str>,
    /// `plugin_attr.prometheus.metric_prefix`.
    pub metric_prefix: Arc<str>,
    /// Who is up.
    pub checkers: Checkers,
}

type Reply = Response<axum::body::Body>;

fn sent(answer: Answer) -> Reply {
    let mut response = answer.into_response();
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
    response
}

fn ok(value: Value) -> Reply {
    sent(Answer::json(StatusCode::OK, value))
}

/// Prometheus text at `uri`, nothing else.
pub fn metrics(seen: Seen, uri: &str) -> Router {
    let uri = if uri.starts_with('/') { uri.to_owned() } else { format!("/{uri}") };
    let render = async move |State(seen): State<Seen>, request: Request| {
        if request.uri().path() != uri {
            return unknown().await;
        }
        let text = metrics::render(&seen.board, &seen.hostname, &seen.metric_prefix, &seen.checkers.standings());
        let mut response = sent(Answer::text(StatusCode::OK, text));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
        response
    };
    Router::new().fallback(render).with_state(seen)
}

/// Why the gateway should get no requests now, if it should not.
fn unready(board: &Board) -> Option<String> {
    if board.stage() != Stage::Run {
        return Some("the gateway is stopping".to_owned());
    }
    if !board.taken_by_all(1) {
        return Some("not every worker has received configuration".to_owned());
    }
    let counters = |core: &usize| board.counters(*core);
    let core = (0..board.core_count()).find(|core| counters(core).value(Counter::SpoolFull) > 0)?;
    Some(if counters(&core).value(Counter::SpoolLimit) == 0 {
        "there is no spool: tollgate.spool.path cannot be used; the gateway's log says why".to_owned()
    } else {
        format!("the spool of core {core} takes nothing more: raise tollgate.spool.bytes or make room on its disk")
    })
}

/// `/status`: the process is there. `/status/ready`: every core serves a configuration, the process is not on its way out, and the
/// spool takes what Kafka does not.
pub fn status(seen: Seen) -> Router {
    let good = || ok(json!({ "status": "ok" }));
    let ready = async move |State(seen): State<Seen>| {
        let Some(error) = unready(&seen.board) else { return good() };
        sent(Answer::json(StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "error", "error": error })))
    };
    Router::new()
        .route("/status", get(async move || good()))
        .route("/status/ready", get(ready))
        .fallback(unknown)
        .with_state(seen)
}

/// The Control API: `/v1/schema`, `/v1/healthcheck` and the objects as they are configured.
pub fn control(seen: Seen) -> Router {
    Router::new()
        .route("/v1/schema", get(schema))
        .route("/v1/healthcheck", get(healthcheck))
        .route("/v1/healthcheck/{kinds}/{id}", get(healthcheck_of))
        .route("/v1/{kinds}", get(all))
        .route("/v1/{kind}/{id}", get(one))
        .fallback(unknown)
        .with_state(seen)
}

async fn unknown() -> Reply {
    sent(Answer::bare(StatusCode::NOT_FOUND))
}

async fn schema() -> Reply {
    let body = json!({ "main": schemas::all_resources(), "plugins": schemas::all_plugins(), "stream-plugins": {} });
    ok(body)
}

async fn healthcheck(State(seen): State<Seen>) -> Reply {
    ok(checked(&seen.checkers.standings()).collect())
}

async fn healthcheck_of(State(seen): State<Seen>, Path((kinds, id)): Path<(String, String)>) -> Reply {
    if !["routes", "services", "upstreams"].contains(&kinds.as_str()) {
        return sent(Answer::error(StatusCode::BAD_REQUEST, format!("invalid src type {kinds}")));
    }
    let name = format!("/apisix/{kinds}/{id}");
    let standings: Vec<Standing> = seen.checkers.standings().into_iter().filter(|node| node.name == name).collect();
    match checked(&standings).next() {
        Some(upstream) => ok(upstream),
        None => sent(Answer::error(StatusCode::NOT_FOUND, format!("{kinds}[{id}] has no health checks"))),
    }
}

/// Every checked upstream with its nodes, by APISIX's names.
fn checked(standings: &[Standing]) -> impl Iterator<Item = Value> {
    standings.chunk_by(|a, b| a.name == b.name).map(|nodes| {
        let shown = nodes.iter().map(|node| {
            let [success, http_failure, tcp_failure, timeout_failure] = node.counts;
            let status = match (node.is_up, success, node.counts[1..].iter().any(|count| *count > 0)) {
                (true, _, false) => "healthy",
                (true, _, true) => "mostly_healthy",
                (false, 0, _) => "unhealthy",
                (false, ..) => "mostly_unhealthy",
            };
            let counter = json!({
                "success": success, "http_failure": http_failure,
                "tcp_failure": tcp_failure, "timeout_failure": timeout_failure,
            });
            json!({ "hostname": node.host, "ip": node.ip, "port": node.port, "status": status, "counter": counter })
        });
        json!({ "name": nodes[0].name, "type": nodes[0].kind, "nodes": shown.collect::<Value>() })
    })
}

/// The Control API's names: plural, singular, the one in messages.
fn kind_of(plural: Option<&str>, singular: Option<&str>) -> Option<(Kind, &'static str)> {
    const NAMES: [(Kind, &str, &str, &str); 4] = [
        (Kind::Route, "routes", "route", "route"),
        (Kind::Service, "services", "service", "service"),
        (Kind::Upstream, "upstreams", "upstream", "upstream"),
        (Kind::PluginMetadata, "plugin_metadatas", "plugin_metadata", "plugin metadata"),
    ];
    let wanted = |(_, many, one, _): &&(Kind, &str, &str, &str)| plural == Some(many) || singular == Some(one);
    NAMES.iter().find(wanted).map(|(kind, _, _, text)| (*kind, *text))
}

fn shown(kind: Kind, id: &str, document: &Document) -> Value {
    // Metadata is shown as its value alone.
    if kind == Kind::PluginMetadata {
        return document.value.clone();
    }
    let mut node = answer::node(kind, id, document);
    node["orig_modifiedIndex"] = json!(document.modified_index);
    node
}

async fn all(State(seen): State<Seen>, Path(kinds): Path<String>) -> Reply {
    let Some((kind, _)) = kind_of(Some(&kinds), None) else { return unknown().await };
    let documents = seen.view.documents();
    ok(documents.all(kind).map(|(id, document)| shown(kind, id, document)).collect())
}

async fn one(State(seen): State<Seen>, Path((kind, id)): Path<(String, String)>) -> Reply {
    let Some((kind, name)) = kind_of(None, Some(&kind)) else { return unknown().await };
    match seen.view.documents().find(kind, &id) {
        Some(document) => ok(shown(kind, &id, document)),
        None => sent(Answer::error(StatusCode::NOT_FOUND, format!("{name}[{id}] not found"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checked_upstreams_are_shown_with_how_far_their_nodes_are_from_another_state() {
        let node = |name: &str, port: u16, is_up: bool, counts: [u8; 4]| Standing {
            name: name.into(),
            kind: "tcp",
            host: "a.test".into(),
            ip: "10.0.0.1".into(),
            port,
            is_up,
            counts,
        };
        let standings = [
            node("/apisix/routes/1", 1, true, [0, 0, 0, 0]),
            node("/apisix/routes/1", 2, true, [0, 0, 1, 0]),
            node("/apisix/upstreams/1", 3, false, [0, 0, 0, 0]),
            node("/apisix/upstreams/1", 4, false, [1, 0, 0, 0]),
        ];
        let shown: Vec<Value> = checked(&standings).collect();
        let statuses = |upstream: &Value| -> Vec<Value> {
            let nodes = upstream["nodes"].as_array().cloned().unwrap_or_default();
            nodes.into_iter().map(|node| node["status"].clone()).collect()
        };
        assert_eq!(shown.len(), 2);
        assert_eq!((&shown[0]["name"], &shown[0]["type"]), (&json!("/apisix/routes/1"), &json!("tcp")));
        assert_eq!(statuses(&shown[0]), ["healthy", "mostly_healthy"]);
        assert_eq!(statuses(&shown[1]), ["unhealthy", "mostly_unhealthy"]);
        assert_eq!(
            shown[0]["nodes"][1],
            json!({
                "hostname": "a.test", "ip": "10.0.0.1", "port": 2, "status": "mostly_healthy",
                "counter": {"success": 0, "http_failure": 0, "tcp_failure": 1, "timeout_failure": 0},
            })
        );
    }
}
