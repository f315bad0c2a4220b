//! The default entry, field by field (APISIX-COMPAT §2.5), with the sizes that were on the wire.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::entries;
use crate::support::upstream::{Refusing, raw};
use crate::support::{Setup, Upstream};

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn ten_requests_are_ten_records_of_one_object_each_with_every_field() {
    let mut logged = Logged::with(&json!({}));
    let port = logged.gateway.address().port();
    let mut wire = Vec::new();
    for number in 0..10 {
        let request = format!(
            "POST /a%20b/../get?n={number}&flag&empty=&two=1&two=2&q=a%2Bb+c HTTP/1.1\r\nHost: Shop.Example:1234\r\n\
             X-Twice: one\r\nx-twice: two\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        );
        let answer = logged.gateway.connect().send(&request).rest();
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        wire.push((request.len(), answer.len()));
    }
    let records = logged.kafka.wait_records(&logged.topic, 10);
    assert!(records.iter().all(|record| record.timestamp_ms > 1_600_000_000_000));
    assert!(records.iter().all(|record| matches!(&record.headers[..], [(name, _)] if name == "tollgate")));
    let mut found = entries(&records);
    found.sort_by_key(|entry| entry["request"]["querystring"]["n"].to_string());
    for ((number, entry), (request_size, response_size)) in found.iter().enumerate().zip(wire) {
        let uri = format!("/get?n={number}&flag&empty=&two=1&two=2&q=a%2Bb+c");
        assert_eq!(
            keys(entry),
            BTreeSet::from([
                "request",
                "response",
                "server",
                "upstream",
                "service_id",
                "route_id",
                "client_ip",
                "start_time",
                "latency",
                "upstream_latency",
                "apisix_latency"
            ])
        );
        let request = &entry["request"];
        assert_eq!(keys(request), BTreeSet::from(["url", "uri", "method", "headers", "querystring", "size"]));
        assert_eq!(request["url"], format!("http://shop.example:{port}{uri}"));
        assert_eq!(request["uri"], uri);
        assert_eq!(request["method"], "POST");
        assert_eq!(request["size"], request_size);
        assert_eq!(
            request["querystring"],
            json!({"n": number.to_string(), "flag": true, "empty": "", "two": ["1", "2"], "q": "a+b c"})
        );
        let headers = &request["headers"];
        assert_eq!(headers["x-twice"], json!(["one", "two"]));
        assert_eq!(headers["host"], "Shop.Example:1234");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "Shop.Example:1234");
        assert_eq!(headers["x-forwarded-port"], "1234");
        assert!(headers.get("x-real-ip").is_none() && headers.get("x-forwarded-for").is_none(), "{headers}");
        let response = &entry["response"];
        assert_eq!(keys(response), BTreeSet::from(["status", "headers", "size"]));
        assert_eq!(response["status"], 200);
        assert_eq!(response["size"], response_size);
        assert_eq!(response["headers"]["content-length"], "5");
        assert_eq!(response["headers"]["connection"], "close");
        assert_eq!(response["headers"]["server"], format!("tollgate/{}", env!("CARGO_PKG_VERSION")));
        assert!(keys(&entry["response"]["headers"]).iter().all(|name| *name == name.to_lowercase()));
        assert_eq!(keys(&entry["server"]), BTreeSet::from(["hostname", "version"]));
        assert_eq!(entry["server"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(entry["upstream"], logged.upstream.node());
        assert_eq!((&entry["service_id"], &entry["route_id"]), (&json!(""), &json!("r1")));
        assert_eq!(entry["client_ip"], "127.0.0.1");
        assert!(entry["start_time"].is_u64());
        let ms = |key: &str| entry[key].as_f64().unwrap_or_else(|| panic!("{key}: {}", entry[key]));
        assert!(ms("latency") >= ms("upstream_latency") && ms("upstream_latency") > 0.0, "{entry}");
        assert!((ms("apisix_latency") - (ms("latency") - ms("upstream_latency"))).abs() < 0.002, "{entry}");
    }
    logged.stop();
    assert_eq!(logged.kafka.records(&logged.topic).len(), 10, "nothing came twice");
}

/// What a core remembers of heads must not be seen: neither by the upstream, nor by the client, nor in the records.
#[test]
fn what_is_said_again_and_again_is_passed_on_and_recorded_each_time_as_the_first_time() {
    let upstream = Upstream::start(|_| {
        raw(
            "HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nX-A: \"1\"\r\nx-a: 2\r\nContent-Length: 2\r\n\r\nok",
        )
    });
    let logged = Logged::on(&Setup::default(), upstream, &json!({}));
    let lines =
        "Host: Shop.Example:1234\r\nX-Quoted: \"\\\"\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: x-mine\r\nX-Mine: 1";
    let mut client = logged.gateway.connect();
    let answers: Vec<_> = (0..12)
        .map(|number| {
            // With another request line each time, and every third time from a client of HTTP/1.0, which wants its connection closed.
            let version = if number % 3 == 2 { "1.0" } else { "1.1" };
            let request = format!("GET /{} HTTP/{version}\r\n{lines}\r\n\r\n", "x".repeat(number));
            if version == "1.0" { logged.gateway.connect().exchange(request) } else { client.exchange(request) }
        })
        .collect();
    let seen = logged.upstream.seen();
    let entries = logged.finish_entries();
    assert_eq!((answers.len(), seen.len(), entries.len()), (12, 12, 12));
    let url = |entry: &Value| entry["request"]["uri"].as_str().map_or(0, str::len) - 1;
    for entry in entries.iter().filter(|entry| url(entry) % 3 != 2) {
        let first = entries.iter().find(|entry| url(entry) == 0).expect("the first");
        assert_eq!(entry["request"]["headers"], first["request"]["headers"]);
        assert_eq!(entry["response"]["headers"], first["response"]["headers"]);
        assert_eq!(entry["request"]["headers"]["x-quoted"], "\"\\\"");
        assert_eq!(entry["response"]["headers"]["x-a"], json!(["\"1\"", "2"]));
        assert_eq!(entry["response"]["headers"]["connection"], "keep-alive");
    }
    let closing = entries.iter().filter(|entry| entry["response"]["headers"]["connection"] == "close");
    assert_eq!(closing.count(), 4);
    for (number, (answer, request)) in answers.iter().zip(&seen).enumerate() {
        assert_eq!((answer.status, answer.headers.all("x-a")), (200, vec!["\"1\"", "2"]));
        assert_eq!(answer.headers.one("connection"), Some(if number % 3 == 2 { "close" } else { "keep-alive" }));
        assert_eq!(request.headers.one("x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
        assert_eq!((request.headers.one("x-mine"), request.headers.one("host")), (None, Some("Shop.Example:1234")));
        assert_eq!(request.headers.one("x-quoted"), Some("\"\\\""));
    }
}

#[test]
fn a_routes_service_is_named() {
    let logged = Logged::with(&json!({}));
    let service = logged.route(&json!({"plugins": logged.plugins(&json!({}))}));
    logged.put("services/s1", &json!({"upstream": service["upstream"], "plugins": service["plugins"]}));
    logged.put("routes/r1", &json!({"uri": "/*", "service_id": "s1"}));
    assert_eq!(logged.gateway.get("/").status, 200);
    let entry = logged.only_entry();
    assert_eq!((&entry["service_id"], &entry["route_id"]), (&json!("s1"), &json!("r1")));
}

#[test]
fn the_client_behind_a_trusted_proxy_is_the_client() {
    let logged = Logged::with(&json!({}));
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 192.0.2.7\r\n\r\n";
    assert_eq!(logged.gateway.connect().exchange(request).status, 200);
    assert_eq!(logged.only_entry()["client_ip"], "192.0.2.7");
}

#[test]
fn every_node_that_was_tried_is_named_in_order() {
    let (dead, logged) = (Refusing::new(), Logged::with(&json!({})));
    let nodes = json!({"type": "roundrobin", "nodes": {dead.node(): 1, logged.upstream.node(): 1}});
    logged.put("routes/r1", &logged.route(&json!({"upstream": nodes, "plugins": logged.plugins(&json!({}))})));
    let mut client = logged.gateway.connect();
    for _ in 0..4 {
        assert_eq!(client.exchange(get("/")).status, 200);
    }
    let good = logged.upstream.node();
    let both = format!("{}, {good}", dead.node());
    let found: Vec<String> =
        logged.finish_entries().iter().map(|entry| entry["upstream"].as_str().expect("text").to_owned()).collect();
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|tried| *tried == good || *tried == both), "{found:?}");
    assert!(found.contains(&both), "{found:?}");
}

#[test]
fn a_request_that_was_never_proxied_names_no_upstream() {
    let logged = Logged::with(&json!({}));
    let nowhere = json!({"type": "roundrobin", "nodes": {}});
    logged.put("routes/r1", &logged.route(&json!({"upstream": nowhere, "plugins": logged.plugins(&json!({}))})));
    assert_eq!(logged.gateway.get("/").status, 503);
    let entry = logged.only_entry();
    assert_eq!(entry["response"]["status"], 503);
    assert!(entry.get("upstream").is_none() && entry.get("upstream_latency").is_none(), "{entry}");
    assert_eq!(entry["apisix_latency"], entry["latency"]);
}

#[test]
fn repeated_response_headers_become_an_array_and_a_chunked_response_says_so() {
    let upstream = Upstream::start(|_| {
        raw(
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
    });
    let logged = Logged::on(&Setup::default(), upstream, &json!({}));
    let answer = logged.gateway.connect().send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").rest();
    let entry = logged.only_entry();
    assert_eq!(entry["response"]["headers"]["set-cookie"], json!(["a=1", "b=2"]));
    assert_eq!(entry["response"]["headers"]["transfer-encoding"], "chunked");
    assert_eq!(entry["response"]["size"], answer.len());
}
