//! Documents as people put them, and what the cores are given.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::*;
use crate::config::patch::merge;
use crate::config::resource::Kind;
use crate::config::snapshot::{
    Captures, Hold, LoggerIndex, LoggerSpec, OnLogFailure, PassHost, RouteSpec, RouteUpstream, Timeouts,
};
use crate::kafka::{Acks, Batching, Compression, Mode};
use crate::route::{Operand, RouteQuery};

const UPSTREAM: &str = r#"{"type": "roundrobin", "nodes": {"127.0.0.1:1980": 1}}"#;

fn documents(all: &[(Kind, &str, Value)]) -> Documents {
    let mut documents = Documents::default();
    for (kind, id, value) in all {
        assert_eq!(crate::config::validate::check(*kind, id, value), Ok(()), "{id}");
        documents.put(*kind, id, value.clone());
    }
    documents
}

fn known(name: &str) -> Vec<IpAddr> {
    match name {
        "one.test" => vec![Ipv4Addr::new(10, 0, 0, 1).into()],
        "two.test" => {
            vec!["fe80::1".parse().unwrap(), Ipv4Addr::new(10, 0, 0, 2).into(), Ipv4Addr::new(10, 0, 0, 3).into()]
        }
        _ => Vec::new(),
    }
}

fn compiled(all: &[(Kind, &str, Value)]) -> Compiled {
    compile(&documents(all), &CompileOptions::default(), &known)
}

fn snapshot(all: &[(Kind, &str, Value)]) -> Snapshot {
    let compiled = compiled(all);
    assert_eq!(compiled.problems, []);
    compiled.snapshot
}

fn logger(change: Value) -> Value {
    let mut logger = json!({"broker_list": {"127.0.0.1": 9092}, "kafka_topic": "test"});
    merge(&mut logger, change);
    logger
}

fn upstream() -> Value {
    serde_json::from_str(UPSTREAM).unwrap()
}

/// A route to 127.0.0.1:1980.
fn route(change: Value) -> Value {
    let mut route = json!({"uri": "/*", "upstream": upstream()});
    merge(&mut route, change);
    route
}

fn with_logger(change: Value) -> Value {
    route(json!({"plugins": {"kafka-logger": logger(change)}}))
}

/// The logger of the only route.
fn only_logger(change: Value) -> std::sync::Arc<LoggerSpec> {
    let snapshot = snapshot(&[(Kind::Route, "r1", with_logger(change))]);
    std::sync::Arc::clone(&snapshot.loggers[0])
}

fn found<'a>(snapshot: &'a Snapshot, host: &str, path: &str) -> Option<&'a RouteSpec> {
    let query = RouteQuery { host: host.as_bytes(), path: path.as_bytes(), method: b"GET", remote_addr: None };
    snapshot.routes.find(&query, &|_| Operand::Nil).map(|index| snapshot.route(index))
}

#[test]
fn the_tutorials_route_is_compiled() {
    let route = json!({"uri": "/*", "plugins": {"kafka-logger": {"batch_max_size": 1, "broker_list": {"127.0.0.1": 9092},
        "disable": false, "kafka_topic": "test", "producer_type": "sync"}},
        "upstream": {"nodes": {"httpbin.org:80": 1}, "type": "roundrobin"}});
    let hosts = BTreeMap::from([("httpbin.org:80".to_owned(), "127.0.0.1:8088".to_owned())]);
    let options = CompileOptions { hosts, ..CompileOptions::default() };
    let compiled = compile(&documents(&[(Kind::Route, "r1", route)]), &options, &known);
    assert!(compiled.problems.is_empty() && compiled.warnings.is_empty() && compiled.unresolved.is_empty());
    let snapshot = compiled.snapshot;
    let spec = found(&snapshot, "127.0.0.1", "/get").unwrap();
    assert_eq!((&*spec.names.id, spec.names.service_id()), ("r1", None));
    let RouteUpstream::Index(index) = spec.rule.upstream else { panic!("{:?}", spec.rule.upstream) };
    let node = &snapshot.nodes(index).nodes()[0];
    assert_eq!((&*node.host, node.port, &*node.address.to_string()), ("httpbin.org", 80, "127.0.0.1:8088"));
    assert_eq!(snapshot.upstream(index).pass_host, PassHost::Pass);
    let logger = snapshot.logger(spec.rule.loggers[0]);
    assert_eq!(logger.sink.bootstrap, [("127.0.0.1".to_owned(), 9092)]);
    assert_eq!((logger.sink.mode, logger.sink.acks, logger.batching), (Mode::Sync, Acks::All, Batching::Each));
    assert_eq!((logger.topic.as_str(), &logger.key, logger.name.as_str()), ("test", &None, "kafka logger"));
    assert_eq!(spec.rule.captures, Captures::default());
}

#[test]
fn unset_knobs_of_the_producer_leave_our_defaults() {
    let logger = only_logger(json!({}));
    assert_eq!(
        (logger.sink.acks, logger.sink.mode, logger.sink.compression),
        (Acks::All, Mode::Async, Compression::None)
    );
    assert_eq!((logger.sink.max_retry, logger.sink.retry_delay_ms, logger.sink.timeout_ms), (None, None, 3_000));
    assert_eq!(logger.max_pending_entries, None);
    assert_eq!(logger.batching, Batching::Array { max_entries: 1000, inactive_ms: 5_000, duration_ms: 60_000 });
}

#[test]
fn brokers_without_credentials_are_no_secured_lane() {
    let brokers = json!([{"host": "a", "port": 1}, {"host": "b", "port": 2}]);
    let spec = only_logger(json!({"broker_list": null, "brokers": brokers}));
    assert!(spec.sink.security.sasl.is_empty() && !spec.stored_lane().is_secured, "{:?}", spec.sink.security);
}

#[test]
fn a_held_logger_has_a_sink_of_its_own_and_its_bounds() {
    let defaults = Hold { part_bytes: 65_536, timeout_ms: 10_000, on_failure: OnLogFailure::Pass };
    let logger = only_logger(json!({"ack_before_response": true, "producer_type": "async"}));
    assert_eq!((logger.hold, logger.sink.mode), (Some(defaults), Mode::Held));
    let written =
        json!({"ack_before_response": true, "hold_bytes": 7, "ack_timeout": 0.25, "on_log_failure": "reject"});
    let strict = Hold { part_bytes: 7, timeout_ms: 250, on_failure: OnLogFailure::Reject };
    assert_eq!(only_logger(written).hold, Some(strict));
    let without = json!({"ack_before_response": false, "hold_bytes": 7});
    let Compiled { snapshot, warnings, .. } = compiled(&[(Kind::Route, "r1", with_logger(without))]);
    assert_eq!((snapshot.loggers[0].hold, snapshot.loggers[0].sink.mode), (None, Mode::Async));
    assert!(warnings[0].text.ends_with("no effect without ack_before_response: true: hold_bytes"), "{warnings:?}");
}

#[test]
fn a_route_holds_for_its_own_logger_and_for_the_global_one() {
    let global = json!({"plugins": {"kafka-logger": logger(json!({"ack_before_response": true, "hold_bytes": 9}))}});
    let own = with_logger(json!({"ack_before_response": true, "hold_bytes": 5, "on_log_failure": "reject"}));
    let snapshot = snapshot(&[(Kind::GlobalRule, "1", global), (Kind::Route, "r1", own)]);
    let of_global = Hold { part_bytes: 9, timeout_ms: 10_000, on_failure: OnLogFailure::Pass };
    assert_eq!(snapshot.global_hold, Some(of_global));
    assert_eq!(snapshot.route_specs[0].rule.hold, Some(Hold { on_failure: OnLogFailure::Reject, ..of_global }));
    assert_eq!(self::snapshot(&[(Kind::Route, "r1", with_logger(json!({})))]).route_specs[0].rule.hold, None);
}

#[test]
fn written_knobs_of_the_producer_bind() {
    let logger = only_logger(json!({
        "broker_list": null, "brokers": [{"host": "a", "port": 1}, {"host": "[::1]", "port": 2}],
        "required_acks": 1, "compression": "zstd", "timeout": 7, "max_retry_count": 0, "retry_delay": 2, "key": "k",
        "partitioner": "crc32", "batch_max_size": 3, "inactive_timeout": 1, "buffer_duration": 2, "name": "n",
    }));
    assert_eq!(logger.sink.bootstrap, [("a".to_owned(), 1), ("::1".to_owned(), 2)]);
    assert_eq!(
        (logger.sink.acks, logger.sink.compression, logger.sink.timeout_ms),
        (Acks::Leader, Compression::Zstd, 7_000)
    );
    assert_eq!((logger.sink.max_retry, logger.sink.retry_delay_ms), (Some(0), Some(2_000)));
    assert_eq!((logger.key.as_deref(), logger.partitioner), (Some(&b"k"[..]), crate::kafka::Partitioner::Crc32));
    assert_eq!(logger.batching, Batching::Array { max_entries: 3, inactive_ms: 1_000, duration_ms: 2_000 });
    assert_eq!(logger.name, "n");
}

#[test]
fn knobs_without_effect_are_said() {
    let compiled = compiled(&[(Kind::Route, "r1", with_logger(json!({"producer_time_linger": 2})))]);
    assert_eq!(compiled.problems, []);
    assert_eq!(compiled.warnings.len(), 1);
    assert_eq!(compiled.warnings[0].path, "routes/r1");
    assert!(compiled.warnings[0].text.contains("producer_time_linger"), "{:?}", compiled.warnings);
}

#[test]
fn bodies_are_captured_only_where_a_logger_wants_them() {
    let spec = |change: Value| snapshot(&[(Kind::Route, "r1", with_logger(change))]).route_specs[0].rule.captures;
    assert_eq!(spec(json!({})), Captures::default());
    let both = json!({"include_req_body": true, "max_req_body_bytes": 10, "include_resp_body": true});
    assert_eq!(spec(both), Captures { request_bytes: Some(10), response_bytes: Some(524_288) });
    let format = json!({"log_format": {"body": "$request_body"}, "max_req_body_bytes": 7});
    assert_eq!(spec(format), Captures { request_bytes: Some(7), response_bytes: None });
}

#[test]
fn a_body_rule_keeps_its_expression_and_its_limit() {
    let expr = json!([["request_method", "==", "POST"]]);
    let logger = only_logger(json!({"include_req_body": true, "include_req_body_expr": expr, "max_req_body_bytes": 9}));
    let rule = logger.request_body.as_ref().unwrap();
    assert!(rule.limit_bytes == 9 && rule.expr.is_some());
    assert!(logger.response_body.is_none() && logger.filter.is_none());
    assert!(only_logger(json!({"_meta": {"filter": [["arg_a", "==", "b"]]}})).filter.is_some());
}

#[test]
fn a_plugin_that_is_switched_off_hides_the_services_one() {
    let service = json!({"plugins": {"kafka-logger": logger(json!({}))}, "upstream": upstream()});
    let on = json!({"uri": "/on", "service_id": "s"});
    let off = json!({"uri": "/off", "service_id": "s", "plugins": {"kafka-logger": logger(json!({"_meta": {"disable": true}}))}});
    let all = [(Kind::Service, "s", service), (Kind::Route, "on", on), (Kind::Route, "off", off)];
    let snapshot = snapshot(&all);
    assert_eq!(found(&snapshot, "a", "/on").unwrap().rule.loggers, [LoggerIndex(0)]);
    assert_eq!(found(&snapshot, "a", "/off").unwrap().rule.loggers, []);
}

#[test]
fn route_goes_before_plugin_config_before_service() {
    let plugins = |topic: &str| json!({"kafka-logger": logger(json!({"kafka_topic": topic}))});
    let all = [
        (Kind::Service, "s", json!({"plugins": plugins("service"), "upstream": upstream()})),
        (Kind::PluginConfig, "p", json!({"plugins": plugins("config")})),
        (
            Kind::Route,
            "1",
            json!({"uri": "/1", "service_id": "s", "plugin_config_id": "p", "plugins": plugins("route")}),
        ),
        (Kind::Route, "2", json!({"uri": "/2", "service_id": "s", "plugin_config_id": "p"})),
        (Kind::Route, "3", json!({"uri": "/3", "service_id": "s", "plugins": {}})),
    ];
    let snapshot = snapshot(&all);
    let topic = |path: &str| snapshot.logger(found(&snapshot, "a", path).unwrap().rule.loggers[0]).topic.clone();
    assert_eq!([topic("/1"), topic("/2"), topic("/3")], ["route", "config", "service"]);
}

#[test]
fn a_service_gives_hosts_upstream_and_websocket_unless_the_route_has_its_own() {
    let service = json!({"name": "svc", "hosts": ["a.test"], "upstream": upstream(), "enable_websocket": true});
    let all = [
        (Kind::Service, "s", service),
        (Kind::Route, "1", json!({"name": "one", "uri": "/1", "service_id": "s"})),
        (
            Kind::Route,
            "2",
            json!({"uri": "/2", "service_id": "s", "host": "b.test", "enable_websocket": false,
            "upstream": {"nodes": {"127.0.0.1:9": 1}}}),
        ),
    ];
    let Compiled { snapshot, problems, warnings, .. } = compiled(&all);
    assert_eq!(problems, []);
    assert_eq!(warnings, []);
    let one = found(&snapshot, "a.test", "/1").unwrap();
    assert!(one.rule.enable_websocket);
    let names = (one.names.name.as_deref(), one.names.service_id(), one.names.service_name());
    assert_eq!(names, (Some("one"), Some("s"), Some("svc")));
    let two = found(&snapshot, "b.test", "/2").unwrap();
    assert!(!two.rule.enable_websocket && two.rule.upstream != one.rule.upstream);
    assert!(found(&snapshot, "b.test", "/1").is_none() && found(&snapshot, "a.test", "/2").is_none());
}

#[test]
fn names_that_lead_nowhere_answer_as_apisix_does_and_are_said() {
    let mut documents = Documents::default();
    let plugins = json!({"kafka-logger": logger(json!({}))});
    let mut put = |id: &str, value: Value| documents.put(Kind::Route, id, value);
    put("a", json!({"uri": "/a", "plugins": plugins, "service_id": "x"}));
    put("b", json!({"uri": "/b", "plugins": plugins, "upstream_id": "x"}));
    put("c", json!({"uri": "/c", "plugins": plugins, "plugin_config_id": "x", "upstream": upstream()}));
    put("d", json!({"uri": "/d", "plugins": plugins}));
    put("e", json!({"uri": "/e", "upstream": {"nodes": {}}}));
    let compiled = compile(&documents, &CompileOptions::default(), &known);
    assert_eq!(compiled.problems, []);
    let paths: Vec<&str> = compiled.warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(paths, ["routes/a", "routes/b", "routes/c"]);
    let snapshot = compiled.snapshot;
    let of =
        |path: &str| found(&snapshot, "h", path).map(|spec| (spec.rule.upstream, spec.rule.loggers.len())).unwrap();
    assert_eq!(of("/a"), (RouteUpstream::Missing(404), 0));
    assert_eq!(of("/b"), (RouteUpstream::Missing(502), 1));
    assert_eq!(of("/c"), (RouteUpstream::Missing(503), 0));
    assert_eq!(of("/d"), (RouteUpstream::Missing(503), 1));
    let RouteUpstream::Index(empty) = of("/e").0 else { panic!("an empty upstream is one") };
    assert!(snapshot.nodes(empty).nodes().is_empty());
}

#[test]
fn upstream_ids_go_before_upstreams() {
    let all = [
        (Kind::Upstream, "u", json!({"nodes": {"127.0.0.1:7": 1}, "timeout": {"connect": 0.5, "send": 2, "read": 3}})),
        (Kind::Route, "1", route(json!({"upstream_id": "u"}))),
        (
            Kind::Route,
            "2",
            route(json!({"uri": "/2", "upstream_id": "u", "timeout": {"connect": 1, "send": 1, "read": 1}})),
        ),
    ];
    let snapshot = snapshot(&all);
    assert_eq!(snapshot.upstreams.len(), 1);
    assert_eq!(snapshot.upstreams[0].nodes[0].port, 7);
    let timeouts = |connect_ms, send_ms, read_ms| Timeouts { connect_ms, send_ms, read_ms };
    assert_eq!(found(&snapshot, "h", "/1").unwrap().rule.timeouts, timeouts(500, 2_000, 3_000));
    assert_eq!(found(&snapshot, "h", "/2").unwrap().rule.timeouts, timeouts(1_000, 1_000, 1_000));
}

#[test]
fn equal_content_is_shared_and_changed_content_is_not() {
    let all = |port: u16| {
        let other =
            route(json!({"uri": "/2", "upstream": {"nodes": {"127.0.0.1:1980": null, format!("127.0.0.1:{port}"): 1}},
            "plugins": {"kafka-logger": logger(json!({"kafka_topic": format!("t{port}")}))}}));
        [(Kind::Route, "1", with_logger(json!({"kafka_topic": "t1980"}))), (Kind::Route, "2", other)]
    };
    let same = snapshot(&all(1980));
    assert_eq!((same.upstreams.len(), same.loggers.len(), same.node_sets.len()), (1, 1, 1));
    let changed = snapshot(&all(1981));
    assert_eq!((changed.upstreams.len(), changed.loggers.len()), (2, 2));
    assert_eq!(
        (same.upstreams[0].content, same.loggers[0].content),
        (changed.upstreams[0].content, changed.loggers[0].content)
    );
    assert_ne!(changed.loggers[0].content, changed.loggers[1].content);
}

#[test]
fn metadata_changes_every_loggers_content_and_limits_what_is_pending() {
    let metadata = |value: Value| (Kind::PluginMetadata, "kafka-logger", value);
    let route = (Kind::Route, "1", with_logger(json!({})));
    let without = snapshot(std::slice::from_ref(&route));
    let with = snapshot(&[route, metadata(json!({"log_format": {"host": "$host"}, "max_pending_entries": 5}))]);
    assert_ne!(without.loggers[0].content, with.loggers[0].content);
    assert_eq!((without.loggers[0].max_pending_entries, with.loggers[0].max_pending_entries), (None, Some(5)));
    assert_eq!(without.loggers[0].sink, with.loggers[0].sink);
}

#[test]
fn names_resolve_to_nodes_that_share_their_weight() {
    let nodes = json!({"one.test:81": 1, "TWO.test": 3, "[::1]:9": 0});
    let snapshot = snapshot(&[(Kind::Route, "1", json!({"uri": "/", "upstream": {"nodes": nodes}}))]);
    let nodes: Vec<_> = snapshot.node_sets[0]
        .nodes()
        .iter()
        .map(|node| (node.host.to_string(), node.address.to_string(), node.weight))
        .collect();
    let node = |host: &str, address: &str, weight| (host.to_owned(), address.to_owned(), weight);
    assert_eq!(
        nodes,
        [
            node("one.test", "10.0.0.1:81", 2),
            node("TWO.test", "10.0.0.2:80", 3),
            node("TWO.test", "10.0.0.3:80", 3),
            node("::1", "[::1]:9", 0),
        ]
    );
    assert_eq!(snapshot.upstreams[0].retries, 2);
}

#[test]
fn unknown_names_are_listed_once_and_leave_their_node_out() {
    let nodes = json!({"new.test:1": 1, "NEW.test:2": 1, "127.0.0.1:3": 1});
    let compiled = compiled(&[(Kind::Route, "1", json!({"uri": "/", "upstream": {"nodes": nodes}}))]);
    assert_eq!(compiled.unresolved, ["new.test"]);
    assert_eq!(compiled.snapshot.node_sets[0].nodes().len(), 1);
    assert_eq!(compiled.snapshot.upstreams[0].nodes.len(), 3);
}

#[test]
fn hosts_of_the_file_go_before_any_resolver() {
    let hosts = [("a.test:80", "127.0.0.1:1"), ("a.test", "127.0.0.1:2"), ("b.test", "one.test:3")];
    let hosts = hosts.into_iter().map(|(name, target)| (name.to_owned(), target.to_owned())).collect();
    let nodes = json!([{"host": "A.test", "port": 80, "weight": 1}, {"host": "a.test", "port": 81, "weight": 1},
        {"host": "b.test", "weight": 1}]);
    let all =
        [(Kind::Upstream, "u", json!({"nodes": nodes})), (Kind::Route, "1", json!({"uri": "/", "upstream_id": "u"}))];
    let compiled = compile(&documents(&all), &CompileOptions { hosts, ..CompileOptions::default() }, &known);
    let addresses: Vec<String> =
        compiled.snapshot.node_sets[0].nodes().iter().map(|node| node.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:1", "127.0.0.1:2", "10.0.0.1:3"]);
}

#[test]
fn a_single_node_counts_even_with_weight_0() {
    let all = [(Kind::Route, "1", json!({"uri": "/", "upstream": {"nodes": {"127.0.0.1:1": 0}}}))];
    assert_eq!(snapshot(&all).node_sets[0].nodes()[0].weight, 1);
}

#[test]
fn routes_that_are_switched_off_are_not_there() {
    let all =
        [(Kind::Route, "1", route(json!({"status": 0}))), (Kind::Route, "2", route(json!({"uri": "/2", "status": 1})))];
    let snapshot = snapshot(&all);
    assert_eq!(snapshot.route_specs.len(), 1);
    assert!(found(&snapshot, "h", "/x").is_none());
}

#[test]
fn a_global_rules_logger_runs_beside_the_routes() {
    let global = json!({"plugins": {"kafka-logger": logger(json!({"kafka_topic": "all", "include_req_body": true}))}});
    let snapshot = snapshot(&[(Kind::GlobalRule, "g", global), (Kind::Route, "1", with_logger(json!({})))]);
    assert_eq!(snapshot.global_loggers, [LoggerIndex(0)]);
    assert_eq!(snapshot.route_specs[0].rule.loggers, [LoggerIndex(1)]);
    assert_eq!(snapshot.global_captures.request_bytes, Some(524_288));
    assert_eq!(snapshot.route_specs[0].rule.captures, snapshot.global_captures);
}

#[test]
fn a_logger_in_two_global_rules_runs_for_none() {
    let rule = json!({"plugins": {"kafka-logger": logger(json!({}))}});
    let all = [(Kind::GlobalRule, "1", rule.clone()), (Kind::GlobalRule, "2", rule)];
    let compiled = compiled(&all);
    assert_eq!(compiled.snapshot.global_loggers, []);
    assert_eq!(compiled.problems.len(), 2);
    assert_eq!(compiled.problems[1].path, "global_rules/2");
}

#[test]
fn what_cannot_be_compiled_is_left_out_and_the_rest_stays() {
    let mut documents = documents(&[(Kind::Route, "good", route(json!({})))]);
    documents.put(Kind::Route, "bad", route(json!({"uri": "/bad", "vars": [["a", "??", 1]]})));
    let compiled = compile(&documents, &CompileOptions::default(), &known);
    assert_eq!(compiled.snapshot.route_specs.len(), 1);
    let texts: Vec<String> = compiled.problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["routes/bad: failed to validate the 'vars' expression: invalid operator '??'"]);
}

#[test]
fn a_thousand_routes_are_compiled_each_with_its_own_spec() {
    let mut documents = Documents::default();
    for at in 0..1000 {
        let change =
            json!({"uri": format!("/r{at}/*"), "plugins": {"kafka-logger": logger(json!({"batch_max_size": 1}))}});
        documents.put(Kind::Route, &format!("r{at}"), route(change));
    }
    let compiled = compile(&documents, &CompileOptions::default(), &known);
    assert_eq!((compiled.snapshot.route_specs.len(), compiled.snapshot.loggers.len()), (1000, 1));
    for at in [0, 7, 999] {
        let spec = found(&compiled.snapshot, "h", &format!("/r{at}/x")).unwrap();
        assert_eq!(&*spec.names.id, format!("r{at}").as_str());
    }
    assert_eq!(compiled.snapshot.revision, 1000);
}

fn secured(change: Value) -> (Kind, &'static str, Value) {
    let sasl = json!({"user": "bob", "password": "bob-secret"});
    let mut logger = json!({"kafka_topic": "test", "brokers": [{"host": "a", "port": 1}, {"host": "b", "port": 2, "sasl_config": sasl}]});
    merge(&mut logger, change);
    (Kind::Route, "1", route(json!({"plugins": {"kafka-logger": logger}})))
}

#[test]
fn credentials_stay_beside_their_broker_and_are_never_shown() {
    let compiled = compiled(&[secured(json!({}))]);
    let spec = &compiled.snapshot.loggers[0].sink;
    assert_eq!(spec.bootstrap, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    let [None, Some(bob)] = &spec.security.sasl[..] else { panic!("{:?}", spec.security) };
    assert_eq!((bob.mechanism.name(), bob.user.as_str(), bob.password.reveal()), ("PLAIN", "bob", "bob-secret"));
    let said: Vec<String> = compiled.warnings.iter().map(ToString::to_string).collect();
    assert!(said.len() == 1 && said[0].contains("PLAIN and without tls"), "{said:?}");
    let shown = format!("{:?} {said:?}", compiled.snapshot.loggers);
    assert!(!shown.contains("bob-secret"), "{shown}");
}

#[test]
fn another_password_or_another_tls_is_another_sink_and_the_same_is_not() {
    let sink = |change: Value| snapshot(&[secured(change)]).loggers[0].sink.clone();
    let plain = sink(json!({}));
    let bob = |password: &str| json!({"brokers": [{"host": "a", "port": 1}, {"host": "b", "port": 2, "sasl_config": {"user": "bob", "password": password}}]});
    assert_eq!(plain, sink(bob("bob-secret")));
    assert_ne!(plain, sink(bob("other")));
    let own = rcgen::generate_simple_self_signed(["kafka".to_owned()]).unwrap();
    let all = [
        plain,
        sink(json!({"tls": {}})),
        sink(json!({"tls": {"ca": own.cert.pem()}})),
        sink(json!({"tls": {"client_cert": own.cert.pem(), "client_key": own.signing_key.serialize_pem()}})),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
    }
    assert_eq!(all[1], sink(json!({"tls": {"verify": false}})));
}

#[test]
fn what_tls_does_not_protect_from_is_said() {
    let own = rcgen::generate_simple_self_signed(["kafka".to_owned()]).unwrap().cert.pem();
    let said = |tls: Value| {
        compiled(&[secured(json!({"tls": tls}))]).warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let cases = [
        (json!({}), vec!["tls.verify is false"]),
        (json!({"verify": false, "ca": own}), vec!["tls.verify is false", "tls.ca is without effect"]),
        (json!({"verify": true}), vec!["no trusted certificate is known"]),
        (json!({"verify": true, "ca": own}), vec![]),
        (json!({"ca": own}), vec![]),
    ];
    for (tls, expected) in cases {
        let said = said(tls.clone());
        assert_eq!(said.len(), expected.len(), "{tls}: {said:?}");
        assert!(said.iter().zip(expected).all(|(said, expected)| said.contains(expected)), "{said:?}");
    }
}

#[test]
fn upstreams_that_differ_in_their_checks_alone_are_two_and_each_is_named_after_its_object() {
    let with = |checks: Value| {
        let mut upstream = upstream();
        upstream["checks"] = checks;
        upstream
    };
    let (plain, deep) = (with(json!({"active": {}})), with(json!({"active": {"http_path": "/deep"}})));
    let all = [
        (Kind::Upstream, "u", plain.clone()),
        (Kind::Service, "s", json!({"id": "s", "upstream": deep})),
        (Kind::Route, "1", json!({"id": "1", "uri": "/1", "upstream_id": "u"})),
        (Kind::Route, "2", json!({"id": "2", "uri": "/2", "service_id": "s"})),
        (Kind::Route, "3", json!({"id": "3", "uri": "/3", "upstream": plain})),
        (Kind::Route, "4", json!({"id": "4", "uri": "/4", "upstream": upstream()})),
    ];
    let snapshot = snapshot(&all);
    let names: Vec<&str> = snapshot.upstreams.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["/apisix/upstreams/u", "/apisix/services/s", ""]);
    let checked = snapshot.upstreams.iter().filter_map(|spec| spec.checks.as_ref());
    assert_eq!(checked.map(|checks| checks.active.path.as_str()).collect::<Vec<_>>(), ["/", "/deep"]);
}
