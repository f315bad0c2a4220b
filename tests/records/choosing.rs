//! Which requests are recorded, and by whom (APISIX-COMPAT §1.3, §2.8, §6.6).

use std::time::Duration;

use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::{entries, new_topic};
use crate::support::upstream::Unreachable;
use crate::support::{Setup, Step, Upstream, wait_for};

/// `request.uri` of each entry, sorted.
fn uris(entries: &[Value]) -> Vec<String> {
    let mut uris: Vec<String> =
        entries.iter().map(|entry| entry["request"]["uri"].as_str().expect("text").to_owned()).collect();
    uris.sort();
    uris
}

#[test]
fn a_disabled_instance_records_nothing_until_it_is_enabled() {
    let logged = Logged::with(&json!({"_meta": {"disable": true}}));
    assert_eq!(logged.gateway.get("/disabled").status, 200);
    logged.put_route(&json!({"_meta": {"disable": false}}));
    assert_eq!(logged.gateway.get("/enabled").status, 200);
    assert_eq!(uris(&logged.finish_entries()), ["/enabled"]);
}

#[test]
fn a_filter_chooses_requests() {
    let filter = json!([["arg_log", "==", "yes"], ["request_method", "in", ["GET", "PUT"]]]);
    let logged = Logged::with(&json!({"_meta": {"filter": filter}}));
    for path in ["/1", "/2?log=yes", "/3?log=no", "/4?log=yes&x=1"] {
        assert_eq!(logged.gateway.get(path).status, 200);
    }
    let post = "POST /5?log=yes HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(logged.gateway.connect().exchange(post).status, 200);
    assert_eq!(uris(&logged.finish_entries()), ["/2?log=yes", "/4?log=yes&x=1"]);
}

#[test]
fn a_global_rule_records_what_no_route_takes() {
    let logged = Logged::without_route(&Setup::default(), Upstream::saying("hello"));
    logged.put("global_rules/1", &json!({"plugins": logged.plugins(&json!({}))}));
    let request = "GET /nowhere HTTP/1.1\r\nHost: Shop.example:8\r\n\r\n";
    assert_eq!(logged.gateway.connect().exchange(request).status, 404);
    let entry = logged.only_entry();
    assert_eq!((&entry["response"]["status"], &entry["service_id"]), (&json!(404), &json!("shop.example")));
    assert_eq!(entry["request"]["uri"], "/nowhere");
    for key in ["route_id", "upstream", "upstream_latency"] {
        assert!(entry.get(key).is_none(), "{key}: {entry}");
    }
}

#[test]
fn a_global_rule_and_the_route_make_a_record_each() {
    let logged = Logged::with(&json!({"log_format": {"by": "route", "uri": "$uri"}, "key": "k"}));
    let other = new_topic();
    let global = json!({"log_format": {"by": "rule", "uri": "$uri"}, "key": "k"});
    logged.put("global_rules/1", &json!({"plugins": logged.plugins(&global)}));
    assert_eq!(logged.gateway.get("/same").status, 200);
    let mut global = global;
    global["kafka_topic"] = json!(other);
    logged.put("global_rules/1", &json!({"plugins": logged.plugins(&global)}));
    assert_eq!(logged.gateway.get("/other").status, 200);
    let (kafka, topic) = logged.finish_at();
    let rule = |uri: &str| json!({"by": "rule", "uri": uri, "route_id": "r1"});
    let route = |uri: &str| json!({"by": "route", "uri": uri, "route_id": "r1"});
    assert_eq!(entries(&kafka.records(&topic)), [rule("/same"), route("/same"), route("/other")], "rules come first");
    assert_eq!(entries(&kafka.records(&other)), [rule("/other")]);
}

#[test]
fn a_routes_instance_takes_the_place_of_its_services() {
    let logged = Logged::without_route(&Setup::default(), Upstream::saying("hello"));
    let plain = logged.route(&json!({}));
    let by = |who: &str| logged.plugins(&json!({"log_format": {"by": who, "uri": "$uri"}, "key": "k"}));
    logged.put("services/s1", &json!({"upstream": plain["upstream"], "plugins": by("service")}));
    logged.put("routes/r1", &json!({"uri": "/a", "service_id": "s1"}));
    logged.put("routes/r2", &json!({"uri": "/b", "service_id": "s1", "plugins": by("route")}));
    assert_eq!((logged.gateway.get("/a").status, logged.gateway.get("/b").status), (200, 200));
    assert_eq!(
        logged.finish_entries(),
        [
            json!({"by": "service", "uri": "/a", "route_id": "r1", "service_id": "s1"}),
            json!({"by": "route", "uri": "/b", "route_id": "r2", "service_id": "s1"}),
        ]
    );
}

#[test]
fn answers_that_the_gateway_makes_are_recorded_with_their_status() {
    let unreachable = Unreachable::new();
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/closes" => vec![Step::Close],
        "/breaks" => vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n".to_vec())],
        _ => vec![Step::Pause(Duration::from_secs(2)), Step::Close],
    });
    let logged = Logged::on(&Setup::default(), upstream, &json!({"key": "k"}));
    let timeout = json!({"connect": 0.3, "send": 1, "read": 0.3});
    let plugins = logged.plugins(&json!({"key": "k"}));
    logged.put("routes/r1", &logged.route(&json!({"plugins": plugins, "timeout": timeout})));
    let nodes = json!({"type": "roundrobin", "nodes": {unreachable.node(): 1}});
    let far = json!({"uri": "/far", "plugins": plugins, "timeout": timeout, "upstream": nodes});
    logged.put("routes/r2", &logged.route(&far));
    let expected = [("/closes", 502), ("/breaks", 502), ("/hangs", 504), ("/far", 504)];
    for (path, status) in expected {
        assert_eq!(logged.gateway.get(path).status, status, "{path}");
    }
    let (node, far) = (logged.upstream.node(), unreachable.node());
    let entries = logged.finish_entries();
    assert_eq!(entries.len(), 4);
    for ((path, status), entry) in expected.into_iter().zip(&entries) {
        assert_eq!((&entry["request"]["uri"], &entry["response"]["status"]), (&json!(path), &json!(status)));
        assert_eq!(entry["upstream"], if path == "/far" { far.as_str() } else { node.as_str() });
    }
    assert!(entries[2]["latency"].as_f64().is_some_and(|ms| ms >= 300.0), "{}", entries[2]);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_response_is_recorded_once() {
    let upstream = Upstream::start(|_| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nbeginning".to_vec();
        let more = std::iter::repeat_n(Step::Send(vec![b'x'; 65_536]), 200);
        [Step::Send(head)].into_iter().chain(more).collect()
    });
    let logged = Logged::on(
        &Setup::default(),
        upstream,
        &json!({"log_format": {"status": "$status",
        "completion": "$request_completion", "sent": "$body_bytes_sent"}}),
    );
    let mut client = logged.gateway.connect();
    client.send(get("/"));
    assert_eq!(client.response_head().status, 200);
    drop(client);
    let entry = entries(&logged.kafka.wait_records(&logged.topic, 1)).remove(0);
    assert_eq!((&entry["status"], &entry["completion"]), (&json!(200), &json!("")), "{entry}");
    assert!(entry["sent"].as_str().and_then(|sent| sent.parse().ok()).is_some_and(|sent: u64| sent < 100_000_000));
    assert_eq!(logged.finish().len(), 1);
}

#[test]
fn a_client_that_leaves_before_it_is_answered_is_a_499() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let logged = Logged::on(&Setup::default(), upstream, &json!({}));
    let mut client = logged.gateway.connect();
    client.send("POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    wait_for("the request is upstream", || (!logged.upstream.seen().is_empty()).then_some(()));
    drop(client);
    let entry = entries(&logged.kafka.wait_records(&logged.topic, 1)).remove(0);
    assert_eq!((&entry["response"]["status"], &entry["request"]["uri"]), (&json!(499), &json!("/left")));
    assert_eq!(
        (&entry["response"]["size"], &entry["response"]["headers"]),
        (&json!(0), &json!({})),
        "nothing was sent"
    );
    assert_eq!(logged.finish().len(), 1);
}

#[test]
fn pipelined_requests_and_heads_are_recorded_one_by_one() {
    let logged = Logged::with(&json!({"key": "k"}));
    let mut client = logged.gateway.connect();
    client.send([get("/1"), "HEAD /2 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), get("/3")].concat());
    assert_eq!(client.response().status, 200);
    assert_eq!(client.response_to_head().status, 200);
    assert_eq!(client.response().status, 200);
    let entries = logged.finish_entries();
    let found: Vec<_> = entries.iter().map(|entry| (&entry["request"]["method"], &entry["request"]["uri"])).collect();
    let pair = |method: &str, uri: &str| (json!(method), json!(uri));
    let expected = [pair("GET", "/1"), pair("HEAD", "/2"), pair("GET", "/3")];
    assert_eq!(found, expected.iter().map(|(method, uri)| (method, uri)).collect::<Vec<_>>());
}
