//! What a record says, seen in Kafka: the default entry, formats on the route and in the metadata, bodies (APISIX-COMPAT §2).

use serde_json::json;

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::entries;
use crate::support::upstream::{in_chunks, ok};
use crate::support::{Setup, Step, Upstream};

#[test]
fn the_default_entry_tells_request_response_and_times() {
    let logged = Logged::with(&json!({}));
    let port = logged.gateway.address().port();
    let request =
        format!("GET /get?a=1&b=two HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: test/1\r\nX-Mine: yes\r\n\r\n");
    assert_eq!(logged.gateway.connect().exchange(request).status, 200);
    let node = logged.upstream.node();
    let entry = logged.only_entry();
    assert_eq!(entry["request"]["method"], "GET");
    assert_eq!(entry["request"]["uri"], "/get?a=1&b=two");
    assert_eq!(entry["request"]["url"], format!("http://127.0.0.1:{port}/get?a=1&b=two"));
    assert_eq!(entry["request"]["querystring"], json!({"a": "1", "b": "two"}));
    assert_eq!(entry["request"]["headers"]["x-mine"], "yes");
    assert_eq!(entry["response"]["status"], 200);
    assert_eq!(entry["route_id"], "r1");
    assert_eq!(entry["client_ip"], "127.0.0.1");
    assert_eq!(entry["upstream"], node);
    assert!(entry["start_time"].as_u64().is_some_and(|time| time > 1_600_000_000_000), "{}", entry["start_time"]);
    for key in ["latency", "upstream_latency", "apisix_latency"] {
        assert!(entry[key].as_f64().is_some_and(|ms| (0.0..60_000.0).contains(&ms)), "{key}: {}", entry[key]);
    }
    assert!(entry["server"]["hostname"].is_string() && entry["server"]["version"].is_string());
}

#[test]
fn a_format_in_the_metadata_holds_for_routes_that_have_none() {
    let format =
        json!({"host": "$host", "@timestamp": "$time_iso8601", "client_ip": "$remote_addr", "route_id": "$route_id"});
    let logged = Logged::with(&json!({}));
    logged.gateway.admin().put("plugin_metadata/kafka-logger", &json!({"log_format": format}));
    assert_eq!(logged.gateway.get("/get").status, 200);
    let entry = logged.only_entry();
    let keys: Vec<&str> = entry.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert_eq!(
        (&entry["host"], &entry["client_ip"], &entry["route_id"]),
        (&json!("test"), &json!("127.0.0.1"), &json!("r1"))
    );
}

#[test]
fn a_format_on_the_route_comes_before_the_metadata() {
    let logged = Logged::with(&json!({"log_format": {"mine": "$status"}}));
    logged.gateway.admin().put("plugin_metadata/kafka-logger", &json!({"log_format": {"theirs": "$status"}}));
    assert_eq!(logged.gateway.get("/get").status, 200);
    let entry = logged.only_entry();
    assert!(entry.get("theirs").is_none(), "{entry}");
    assert_eq!(entry["mine"].to_string().trim_matches('"'), "200");
}

#[test]
fn bodies_are_recorded_when_asked_for_and_cut_where_asked() {
    let upstream = Upstream::start(|_| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        vec![Step::Send(head), Step::Send(in_chunks(b"a response in chunks", 3))]
    });
    let plugin = json!({"include_req_body": true, "include_resp_body": true, "max_resp_body_bytes": 10});
    let logged = Logged::on(&Setup::default(), upstream, &plugin);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\nhello, \"quotes\"";
    assert_eq!(logged.gateway.connect().exchange(post).status, 200);
    let entry = logged.only_entry();
    assert_eq!(entry["request"]["body"], "hello, \"quotes\"");
    assert!(entry["response"]["body"].as_str().is_some_and(|body| body.starts_with("a response")), "{entry}");
    assert!(!entry["response"]["body"].to_string().contains("chunks"), "{entry}");
}

#[test]
fn bytes_that_are_no_text_still_make_json() {
    let logged = Logged::with(&json!({}));
    let request = b"GET /\xff?a=%ff HTTP/1.1\r\nHost: a\r\nX-A: \xe9t\xe9 \"q\" \\ \x7f\r\n\r\n";
    let status = logged.gateway.connect().send(request).response().status;
    let count = entries(&logged.finish()).len();
    // Refusing such a request is as good as recording it; a record that is no JSON is not.
    assert!(matches!((status, count), (200, 1) | (400, 0 | 1)), "{status}, {count} records");
}

#[test]
fn the_gateways_own_answers_are_recorded_too() {
    let logged = Logged::on(&Setup::default(), Upstream::start(|_| vec![Step::Close]), &json!({}));
    assert_eq!(logged.gateway.get("/").status, 502);
    let entry = logged.only_entry();
    assert_eq!(entry["response"]["status"], 502);
}

#[test]
fn a_client_that_leaves_is_recorded_as_499() {
    let logged = Logged::on(&Setup::default(), Upstream::start(|_| vec![Step::Hang]), &json!({}));
    let mut client = logged.gateway.connect();
    client.send(get("/"));
    crate::support::wait_for("the request is upstream", || (logged.upstream.open() == 1).then_some(()));
    drop(client);
    let records = logged.kafka.wait_records(&logged.topic, 1);
    assert_eq!(entries(&records)[0]["response"]["status"], 499);
}

#[test]
fn a_large_entry_arrives_whole() {
    let upstream = Upstream::start(|request| ok(&request.body));
    let plugin = json!({"include_req_body": true, "max_req_body_bytes": 600_000});
    let logged = Logged::on(&Setup::default(), upstream, &plugin);
    let body = "x".repeat(500_000);
    let post = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(logged.gateway.connect().exchange(post).status, 200);
    assert_eq!(logged.only_entry()["request"]["body"].as_str().map(str::len), Some(500_000));
}

#[test]
fn a_filter_is_asked_before_the_upstream_is() {
    let logged = Logged::with(&json!({"_meta": {"filter": [["arg_log", "==", "yes"]]}}));
    let mut client = logged.gateway.connect();
    for path in ["/a?log=no", "/b?log=yes", "/c"] {
        assert_eq!(client.exchange(get(path)).status, 200);
    }
    // There is no status yet when the request comes in, so this holds for none (APISIX-COMPAT §1.3).
    logged.put_route(&json!({"_meta": {"filter": [["status", "==", 200]]}}));
    assert_eq!(client.exchange(get("/d")).status, 200);
    assert_eq!(logged.only_entry()["request"]["uri"], "/b?log=yes");
}

#[test]
fn a_parameter_of_the_path_is_a_variable() {
    let config = json!({"apisix": {"router": {"http": "radixtree_uri_with_parameter"}}});
    let logged = Logged::on(&Setup::with(config), Upstream::saying("hello"), &json!({}));
    let upstream = json!({"type": "roundrobin", "nodes": {logged.upstream.node(): 1}});
    let format = json!({"user": "$uri_param_user", "rest": "$uri_param_order", "none": "$uri_param_none"});
    let plugin = json!({
        "brokers": logged.kafka.brokers(), "kafka_topic": logged.topic, "batch_max_size": 1, "log_format": format,
    });
    let route = json!({"uri": "/user/:user/order/:order", "upstream": upstream, "plugins": {"kafka-logger": plugin}});
    logged.gateway.admin().put("routes/r1", &route);
    let mut client = logged.gateway.connect();
    for path in ["/user/ann/order/7", "/user/b%20o/order/12"] {
        assert_eq!(client.exchange(get(path)).status, 200);
    }
    let found = entries(&logged.finish());
    let pairs: Vec<_> = found.iter().map(|entry| (entry["user"].as_str(), entry["rest"].as_str())).collect();
    assert_eq!(pairs, [(Some("ann"), Some("7")), (Some("b o"), Some("12"))]);
    assert!(found.iter().all(|entry| entry.get("none").is_none()), "{found:?}");
}

#[test]
fn a_websocket_is_recorded_once_when_it_ends_with_what_went_through_it() {
    const SWITCHING: &str = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    for held in [false, true] {
        let upstream = Upstream::start(|_| vec![Step::Send(SWITCHING.into()), Step::Echo]);
        let logged = Logged::without_route(&Setup::default(), upstream);
        let format = json!({"status": "$status", "body": "$body_bytes_sent"});
        let plugins = logged.plugins(&json!({"log_format": format, "ack_before_response": held}));
        logged.put("routes/r1", &logged.route(&json!({"plugins": plugins, "enable_websocket": true})));
        let mut client = logged.gateway.connect();
        let handshake = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(client.send(handshake).response_head().status, 101, "at once, also where responses are held");
        client.send("0123456789").finish();
        assert_eq!(client.rest(), b"0123456789");
        let entry = logged.only_entry();
        let text = |key: &str| entry[key].to_string().trim_matches('"').to_owned();
        assert_eq!((text("status"), text("body")), ("101".to_owned(), "10".to_owned()));
    }
}
