//! `log_format`, `log_format_extra` and `meta_format` on the route and in the metadata (APISIX-COMPAT §2.1 to §2.4, §2.6).

use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::entries;
use crate::support::upstream::raw;
use crate::support::{Setup, Upstream};

const METADATA: &str = "plugin_metadata/kafka-logger";

/// The keys of an object, sorted.
fn keys(entry: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = entry.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn variables_give_what_the_exchange_was() {
    let upstream =
        Upstream::start(|_| raw("HTTP/1.1 201 Created\r\nX-Answer: up\r\nContent-Length: 2\r\nDate: now\r\n\r\nok"));
    let logged = Logged::on(&Setup::default(), upstream, &json!({}));
    let gateway = logged.gateway.address();
    let names = [
        ("request_uri", json!("/a b?x=1&flag")),
        ("real_request_uri", json!("/a%20b?x=1&flag")),
        ("uri", json!("/a b")),
        ("args", json!("x=1&flag")),
        ("is_args", json!("?")),
        ("arg_x", json!("1")),
        ("arg_flag", json!(true)),
        ("request_method", json!("PUT")),
        ("request_line", json!("PUT /a%20b?x=1&flag HTTP/1.1")),
        ("server_protocol", json!("HTTP/1.1")),
        ("scheme", json!("http")),
        ("host", json!("shop.example")),
        ("http_host", json!("Shop.example:99")),
        ("http_x_mine", json!("yes")),
        ("HTTP_X_MINE", json!("yes")),
        ("cookie_Session", json!("s1")),
        ("content_type", json!("text/plain")),
        ("content_length", json!("4")),
        ("request_body", json!("body")),
        ("remote_addr", json!("127.0.0.1")),
        ("server_port", json!(gateway.port().to_string())),
        ("server_addr", json!("127.0.0.1")),
        ("status", json!(201)),
        ("body_bytes_sent", json!("2")),
        ("sent_http_x_answer", json!("up")),
        ("upstream_http_x_answer", json!("up")),
        ("upstream_addr", json!(logged.upstream.node())),
        ("upstream_status", json!("201")),
        ("balancer_ip", json!("127.0.0.1")),
        ("balancer_port", json!(logged.upstream.address().port())),
        ("connection_requests", json!("1")),
        ("request_completion", json!("OK")),
        ("route_name", json!("everything")),
    ];
    let format: serde_json::Map<String, Value> =
        names.iter().map(|(name, _)| (format!("v_{name}"), json!(format!("${name}")))).collect();
    let plugins = logged.plugins(&json!({"log_format": format}));
    logged.put("routes/r1", &logged.route(&json!({"name": "everything", "plugins": plugins})));
    let request = "PUT /a%20b?x=1&flag HTTP/1.1\r\nHost: Shop.example:99\r\nX-Mine: yes\r\nCookie: a=b; Session=s1\r\n\
                   Content-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(logged.gateway.connect().exchange(request).status, 201);
    let entry = logged.only_entry();
    for (name, expected) in &names {
        assert_eq!(entry[format!("v_{name}")], *expected, "${name}");
    }
    assert_eq!(keys(&entry).len(), names.len() + 1, "route_id is added, nothing else: {entry}");
}

#[test]
fn literals_stay_nothing_is_interpolated_and_what_has_no_value_is_absent() {
    let format = json!({
        "text": "plain", "number": 1.5, "yes": true, "none": null,
        "two": "$host:$server_port", "braces": "${host}", "later": "a $host", "unknown": "$no_such", "no_arg": "$arg_no",
        "not_asked": "$resp_body",
        "nested": {"a": {"status": "$status", "gone": "$no_such"}, "list": ["$host", 2, {"uri": "$uri"}]},
        "deep": {"b": {"c": {"d": {"e": {"f": "$host"}, "host": "$host"}}}},
    });
    let logged = Logged::with(&json!({"log_format": format}));
    assert_eq!(logged.gateway.get("/x").status, 200);
    assert_eq!(
        logged.only_entry(),
        json!({
            "text": "plain", "number": 1.5, "yes": true, "none": null,
            "later": "a $host", "not_asked": "",
            "nested": {"a": {"status": 200}, "list": ["test", 2, {"uri": "/x"}]},
            "deep": {"b": {"c": {"d": {"e": {}, "host": "test"}}}},
            "route_id": "r1",
        })
    );
}

#[test]
fn the_routes_ids_replace_keys_of_the_same_name() {
    let format = json!({"route_id": "mine", "service_id": "mine", "x": 1});
    let logged = Logged::with(&json!({"log_format": format}));
    assert_eq!(logged.gateway.get("/").status, 200);
    let plain = logged.route(&json!({}));
    logged.put("services/s1", &json!({"upstream": plain["upstream"]}));
    let plugins = logged.plugins(&json!({"log_format": format}));
    logged.put("routes/r2", &json!({"uri": "/service", "service_id": "s1", "plugins": plugins}));
    assert_eq!(logged.gateway.get("/service").status, 200);
    let mut found = logged.finish_entries();
    found.sort_by_key(|entry| entry["route_id"].to_string());
    assert_eq!(found, [json!({"x": 1, "route_id": "r1"}), json!({"x": 1, "route_id": "r2", "service_id": "s1"})]);
}

#[test]
fn metadata_changes_hold_for_every_route_at_once() {
    // One key, so one partition: the records come in the order of the requests.
    let logged = Logged::with(&json!({"key": "k"}));
    let admin = logged.gateway.admin();
    let mut client = logged.gateway.connect();
    let mut request = |path: &str| assert_eq!(client.exchange(get(path)).status, 200);
    request("/default");
    admin.put(METADATA, &json!({"log_format": {"one": "$uri"}}));
    request("/one");
    admin.put(METADATA, &json!({"log_format": {"two": "$uri"}}));
    request("/two");
    admin.put(METADATA, &json!({"log_format": {}}));
    request("/empty");
    admin.put(METADATA, &json!({"log_format": {"three": "$uri"}}));
    admin.delete(METADATA);
    request("/deleted");
    let entries = logged.finish_entries();
    assert_eq!(entries.len(), 5);
    for (place, path) in [(0, "/default"), (3, "/empty"), (4, "/deleted")] {
        assert_eq!(entries[place]["request"]["uri"], path, "the default entry: {}", entries[place]);
    }
    assert_eq!(entries[1], json!({"one": "/one", "route_id": "r1"}));
    assert_eq!(entries[2], json!({"two": "/two", "route_id": "r1"}));
}

#[test]
fn an_empty_format_on_the_route_is_a_format() {
    let logged = Logged::with(&json!({"log_format": {}}));
    logged.put(METADATA, &json!({"log_format": {"theirs": "$uri"}, "log_format_extra": {"more": 1}}));
    assert_eq!(logged.gateway.get("/").status, 200);
    assert_eq!(logged.only_entry(), json!({"route_id": "r1"}));
}

#[test]
fn extra_keys_are_added_to_the_default_entry_and_replace_none() {
    let extra = json!({"mine": "$arg_x", "client_ip": "forged", "gone": "$no_such", "in": {"host": "$host"}});
    let logged = Logged::with(&json!({"log_format_extra": extra, "key": "k"}));
    logged.put(METADATA, &json!({"log_format_extra": {"theirs": "$uri"}}));
    assert_eq!(logged.gateway.get("/?x=1").status, 200);
    logged.put_route(&json!({"key": "k"}));
    assert_eq!(logged.gateway.get("/2").status, 200);
    logged.put_route(&json!({"key": "k", "log_format_extra": {}}));
    assert_eq!(logged.gateway.get("/3").status, 200);
    logged.put_route(&json!({"key": "k", "log_format_extra": {"mine": 1}, "log_format": {"all": "$uri"}}));
    assert_eq!(logged.gateway.get("/4").status, 200);
    let entries = logged.finish_entries();
    assert_eq!(entries.len(), 4);
    assert_eq!((&entries[0]["mine"], &entries[0]["in"]), (&json!("1"), &json!({"host": "test"})));
    assert_eq!((&entries[0]["client_ip"], &entries[0]["request"]["uri"]), (&json!("127.0.0.1"), &json!("/?x=1")));
    assert!(entries[0].get("theirs").is_none() && entries[0].get("gone").is_none(), "{}", entries[0]);
    assert_eq!(entries[1]["theirs"], "/2", "without its own the metadata's counts");
    assert!(entries[2].get("theirs").is_none(), "an empty one of its own counts: {}", entries[2]);
    assert_eq!(entries[3], json!({"all": "/4", "route_id": "r1"}), "a format leaves no room for extra keys");
}

/// The text's lines; the header lines, whose order is free, sorted.
fn origin_lines(text: &str) -> (String, Vec<String>, String) {
    let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
    let mut lines = head.split("\r\n").map(str::to_owned);
    let first = lines.next().expect("a request line");
    let mut headers: Vec<String> = lines.collect();
    headers.sort();
    (first, headers, body.to_owned())
}

#[test]
fn origin_is_the_requests_text() {
    let plugin = json!({"meta_format": "origin", "include_req_body": true, "max_req_body_bytes": 4,
                        "log_format": {"ignored": 1}, "include_resp_body": true});
    let logged = Logged::with(&plugin);
    logged.put(METADATA, &json!({"log_format": {"ignored": 2}}));
    let request =
        "POST /hello?ab=cd HTTP/1.1\r\nHost: shop:99\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 6\r\n\r\nabcdef";
    assert_eq!(logged.gateway.connect().exchange(request).status, 200);
    let records = logged.finish();
    assert_eq!(records.len(), 1);
    let text = String::from_utf8(records[0].value.clone().expect("a value")).expect("text");
    let (first, headers, body) = origin_lines(&text);
    assert_eq!((first.as_str(), body.as_str()), ("POST /hello?ab=cd HTTP/1.1", "abcd"));
    assert_eq!(
        headers,
        [
            "content-length: 6",
            "host: shop:99",
            "x-forwarded-host: shop:99",
            "x-forwarded-port: 99",
            "x-forwarded-proto: http",
            "x-two: 1",
            "x-two: 2",
        ]
    );
}

#[test]
fn origin_in_a_batch_is_an_array_of_texts() {
    let logged = Logged::with(&json!({"meta_format": "origin", "batch_max_size": 2, "inactive_timeout": 60}));
    let mut client = logged.gateway.connect();
    for path in ["/\"1\"", "/2"] {
        assert_eq!(client.exchange(get(path)).status, 200);
    }
    let records = logged.kafka.wait_records(&logged.topic, 1);
    let array = entries(&records).remove(0);
    let firsts: Vec<String> =
        array.as_array().expect("an array").iter().map(|text| origin_lines(text.as_str().expect("a text")).0).collect();
    assert_eq!(firsts, ["GET /\"1\" HTTP/1.1", "GET /2 HTTP/1.1"]);
}
