//! §5.2–5.4, §5.6, §5.9: success shapes, ids, times, ttl, PATCH.

use std::time::{Duration, Instant};

use serde_json::json;
use tollgate::config::file::ApiVersion;

use super::gateway::{Dir, Gateway, config, started};
use super::table::{Expected::*, row, run, without_times};

const UP: &str = r#"{"type":"roundrobin","nodes":{"127.0.0.1:1980":1}}"#;
const ROUTE: &str = r#"{"uri":"/a","upstream":{"type":"roundrobin","nodes":{"127.0.0.1:1980":1}}}"#;

#[test]
fn success_shapes_of_version_3() {
    let (gateway, _dir) = started();
    let value = r#"{"uri":"/a","upstream":{"type":"roundrobin","nodes":{"127.0.0.1:1980":1}},"id":"r1"}"#;
    let written: &'static str = format!(r#"{{"key":"/apisix/routes/r1","value":{value}}}"#).leak();
    let one = |created, modified| {
        let text = format!(
            r#"{{"key":"/apisix/routes/r1","value":{value},"createdIndex":{created},"modifiedIndex":{modified}}}"#
        );
        &*text.leak()
    };
    let list: &'static str = format!(r#"{{"total":1,"list":[{}]}}"#, one(1, 2)).leak();
    run(
        &gateway,
        &[
            row("an empty list", ("GET", "/routes", ""), 200, Bytes("{\"list\":[],\"total\":0}\n")),
            row("PUT new", ("PUT", "/routes/r1", ROUTE), 201, Json(written)),
            row("GET one", ("GET", "/routes/r1", ""), 200, Json(one(1, 1))),
            row("PUT existing", ("PUT", "/routes/r1", ROUTE), 200, Json(written)),
            row("GET one", ("GET", "/routes/r1", ""), 200, Json(one(1, 2))),
            row("a list", ("GET", "/routes", ""), 200, Json(list)),
            row("a list with a slash", ("GET", "/routes/", ""), 200, Json(list)),
            row("DELETE", ("DELETE", "/routes/r1", ""), 200, Json(r#"{"deleted":"1","key":"/apisix/routes/r1"}"#)),
            row("GET gone", ("GET", "/routes/r1", ""), 404, Json(r#"{"message":"Key not found"}"#)),
            row("DELETE gone", ("DELETE", "/routes/r1", ""), 404, Json(r#"{"message":"Key not found"}"#)),
            row("PATCH gone", ("PATCH", "/routes/r1", "{}"), 404, Json(r#"{"message":"Key not found"}"#)),
        ],
    );
}

#[test]
fn every_kind_is_written_read_and_deleted() {
    let (gateway, _dir) = started();
    let kafka = r#"{"plugins":{"kafka-logger":{"broker_list":{"127.0.0.1":9092},"kafka_topic":"test"}}}"#;
    let service = r#"{"upstream":{"type":"roundrobin","nodes":{"127.0.0.1:1980":1}}}"#;
    for (segment, id, body) in [
        ("routes", "1", ROUTE),
        ("services", "1", service),
        ("upstreams", "1", UP),
        ("global_rules", "1", kafka),
        ("plugin_configs", "1", kafka),
        ("plugin_metadata", "kafka-logger", r#"{"log_format":{"host":"$host"}}"#),
    ] {
        let path = format!("/{segment}/{id}");
        let key = format!("/apisix/{segment}/{id}");
        let put = gateway.ask("PUT", &path, Some(body));
        assert_eq!((put.status, &put.json()["key"]), (201, &json!(key)), "{}", put.body);
        assert_eq!(put.json()["value"]["id"], json!(id), "{segment}");
        assert_eq!(put.json()["value"].get("create_time").is_some(), segment != "plugin_metadata", "{segment}");
        let got = gateway.ask("GET", &path, None).json();
        assert_eq!(got["value"], put.json()["value"], "{segment}");
        assert_eq!(gateway.ask("GET", &format!("/{segment}"), None).json()["list"][0], got, "{segment}");
        assert_eq!(gateway.ask("PUT", &path, Some(body)).status, 200, "{segment}");
        assert_eq!(gateway.ask("DELETE", &path, None).status, 200, "{segment}");
        assert_eq!(gateway.ask("GET", &path, None).status, 404, "{segment}");
    }
}

#[test]
fn post_makes_an_id_of_twenty_digits() {
    let (gateway, _dir) = started();
    for (segment, body) in [("routes", ROUTE), ("upstreams", UP), ("services", "{}")] {
        let reply = gateway.ask("POST", &format!("/{segment}"), Some(body));
        assert_eq!(reply.status, 201, "{}", reply.body);
        let id = reply.json()["value"]["id"].as_str().unwrap().to_owned();
        assert!(id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_digit()), "{id}");
        assert_eq!(reply.json()["key"], json!(format!("/apisix/{segment}/{id}")));
        assert_eq!(gateway.ask("GET", &format!("/{segment}/{id}"), None).status, 200);
    }
}

#[test]
fn methods_that_a_kind_has_not_are_405() {
    let (gateway, _dir) = started();
    for (method, segment, kind) in [
        ("POST", "global_rules", "global rule"),
        ("POST", "plugin_configs", "plugin config"),
        ("POST", "plugin_metadata", "plugin_metadata"),
        ("PATCH", "plugin_metadata/kafka-logger", "plugin_metadata"),
    ] {
        let reply = gateway.ask(method, &format!("/{segment}"), Some("{}"));
        assert_eq!(reply.status, 405, "{method} {segment}");
        assert_eq!(reply.body, format!("{{\"error_msg\":\"not supported `{method}` method for {kind}\"}}\n"));
    }
}

#[test]
fn ids_come_from_the_path_or_the_body() {
    let (gateway, _dir) = started();
    let with_id = |id: &str| -> &'static str { format!(r#"{{"id":{id},"uri":"/a","upstream":{UP}}}"#).leak() };
    let bad = r#"{"error_msg":"invalid configuration: property \"id\" validation failed: object matches none of the required"}"#;
    let long: &'static str = format!("/routes/{}", "a".repeat(65)).leak();
    let no_id = r#"{"error_msg":"missing route id"}"#;
    let wrong = r#"{"error_msg":"wrong route id"}"#;
    let no_need = r#"{"error_msg":"wrong route id, do not need it"}"#;
    run(
        &gateway,
        &[
            row("no id", ("PUT", "/routes", ROUTE), 400, Json(no_id)),
            row("other id", ("PUT", "/routes/1", with_id("\"2\"")), 400, Json(wrong)),
            row("the same as a number", ("PUT", "/routes/1", with_id("1")), 201, Holds(r#""id":"1""#)),
            row("only in the body", ("PUT", "/routes", with_id("7")), 201, Holds(r#""id":7"#)),
            row("found by its text", ("GET", "/routes/7", ""), 200, Holds(r#""key":"/apisix/routes/7""#)),
            row("POST with an id", ("POST", "/routes", with_id("\"x\"")), 400, Json(no_need)),
            row("POST with an id in the path", ("POST", "/routes/x", ROUTE), 400, Json(no_need)),
            row("bad letters", ("PUT", "/routes/a%20b", ROUTE), 400, Json(bad)),
            row("65 letters", ("PUT", long, ROUTE), 400, Json(bad)),
            row("zero", ("PUT", "/routes", with_id("0")), 400, Json(bad)),
            row("DELETE without", ("DELETE", "/routes", ""), 400, Json(no_id)),
            row("PATCH without", ("PATCH", "/routes", "{}"), 400, Json(no_id)),
            row(
                "metadata of no plugin",
                ("PUT", "/plugin_metadata/x", "{}"),
                400,
                Json(r#"{"error_msg":"invalid plugin name"}"#),
            ),
            row(
                "metadata without",
                ("PUT", "/plugin_metadata", "{}"),
                400,
                Json(r#"{"error_msg":"missing plugin name"}"#),
            ),
        ],
    );
}

#[test]
fn times_are_the_servers() {
    let (gateway, _dir) = started();
    let first = gateway.ask("PUT", "/routes/1", Some(ROUTE)).json()["value"].clone();
    let created = first["create_time"].as_u64().unwrap();
    assert_eq!(first["update_time"].as_u64(), Some(created));
    assert!(created > 1_700_000_000);
    std::thread::sleep(Duration::from_millis(1_100));
    let second = gateway.ask("PUT", "/routes/1", Some(ROUTE)).json()["value"].clone();
    assert_eq!(second["create_time"], first["create_time"], "kept");
    assert!(second["update_time"].as_u64().unwrap() > created, "refreshed");
    let sent = |field: &str| format!(r#"{{"uri":"/a",{field},"upstream":{UP}}}"#);
    for (body, names) in [
        (sent(r#""create_time":1"#), "create_time"),
        (sent(r#""update_time":1"#), "update_time"),
        (
            r#"{"uri":"/a","upstream":{"type":"roundrobin","nodes":{"a:1":1},"create_time":1}}"#.into(),
            "upstream.create_time",
        ),
    ] {
        let reply = gateway.ask("PUT", "/routes/2", Some(&body));
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json(), json!({ "error_msg": format!("the property is forbidden:  {names}") }));
    }
    let patched = gateway.ask("PATCH", "/routes/1", Some(r#"{"update_time":1705252779}"#));
    assert_eq!((patched.status, &patched.json()["value"]["update_time"]), (200, &json!(1_705_252_779)));
    let patched = gateway.ask("PATCH", "/routes/1", Some(r#"{"desc":"x"}"#)).json()["value"].clone();
    assert!(patched["update_time"].as_u64().unwrap() > created, "refreshed unless given");
    assert_eq!(patched["create_time"], first["create_time"]);
}

#[test]
fn an_object_with_a_ttl_goes_away() {
    let (gateway, _dir) = started();
    let not_a_number = json!({ "error_msg": "invalid argument ttl: should be a number" });
    assert_eq!(gateway.ask("PUT", "/routes/1?ttl=ten", Some(ROUTE)).json(), not_a_number);
    assert_eq!(gateway.ask("PUT", "/routes/1?ttl=1", Some(ROUTE)).status, 201);
    assert_eq!(gateway.ask("PUT", "/routes/2?ttl=1", Some(ROUTE)).status, 201);
    assert_eq!(gateway.ask("PUT", "/routes/2", Some(ROUTE)).status, 200, "a PUT without a ttl makes it stay");
    assert_eq!(gateway.ask("GET", "/routes/1", None).status, 200);
    let started = Instant::now();
    while gateway.ask("GET", "/routes/1", None).status == 200 {
        assert!(started.elapsed() < Duration::from_secs(5), "expired objects are removed");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(started.elapsed() > Duration::from_millis(500));
    assert_eq!(gateway.ask("GET", "/routes/2", None).status, 200);
}

#[test]
fn patch_merges_and_replaces() {
    let (gateway, _dir) = started();
    let id_of_7 = format!(r#"{{"id":7,"uri":"/a","upstream":{UP}}}"#);
    assert_eq!(gateway.ask("PUT", "/routes", Some(&id_of_7)).status, 201);
    let patched = |path: &str, body: &str| {
        let reply = gateway.ask("PATCH", path, Some(body));
        assert_eq!(reply.status, 200, "{path} {body}: {}", reply.body);
        without_times(reply.json()["value"].clone())
    };
    let nodes = r#"{"upstream":{"nodes":{"127.0.0.1:1981":1}},"methods":["GET","PUT"]}"#;
    assert_eq!(
        patched("/routes/7", nodes),
        json!({
            "id": "7", "uri": "/a", "methods": ["GET", "PUT"],
            "upstream": { "type": "roundrobin", "nodes": { "127.0.0.1:1980": 1, "127.0.0.1:1981": 1 } },
        }),
        "maps accumulate, and the id is the path's text now"
    );
    let value = patched("/routes/7", r#"{"methods":["POST"],"upstream":{"nodes":{"127.0.0.1:1980":null}}}"#);
    assert_eq!(value["methods"], json!(["POST"]));
    assert_eq!(value["upstream"]["nodes"], json!({ "127.0.0.1:1981": 1 }));
    assert_eq!(patched("/routes/7", r#"{"methods":null}"#).get("methods"), None);
    assert_eq!(patched("/routes/7/methods", r#"["GET"]"#)["methods"], json!(["GET"]));
    assert_eq!(patched("/routes/7/uri", r#""/b""#)["uri"], json!("/b"));
    let kafka = r#"{"broker_list":{"127.0.0.1":9092},"kafka_topic":"test"}"#;
    assert_eq!(
        patched("/routes/7/plugins/kafka-logger", kafka)["plugins"]["kafka-logger"]["kafka_topic"],
        json!("test")
    );
    assert_eq!(gateway.ask("GET", "/routes/7", None).json()["value"]["uri"], json!("/b"));
    run(
        &gateway,
        &[
            row("no body", ("PATCH", "/routes/7", ""), 400, Json(r#"{"error_msg":"missing new configuration"}"#)),
            row("a scalar", ("PATCH", "/routes/7", "1"), 400, Json(r#"{"error_msg":"invalid configuration"}"#)),
            row(
                "through a scalar",
                ("PATCH", "/routes/7/uri/x", "1"),
                400,
                Json(r#"{"error_msg":"invalid sub-path: /uri/x"}"#),
            ),
            row("checked again", ("PATCH", "/routes/7/uri", "1"), 400, Holds("invalid configuration: property")),
        ],
    );
    assert_eq!(
        gateway.ask("GET", "/routes/7", None).json()["value"]["uri"],
        json!("/b"),
        "a refused PATCH changes nothing"
    );
}

#[test]
fn shapes_of_version_2() {
    let dir = Dir::new();
    let mut config = config(dir.path());
    config.admin.api_version = ApiVersion::V2;
    let gateway = Gateway::start(config, &dir.path().join("config.yaml"));
    let put = gateway.ask("PUT", "/routes/1", Some(ROUTE)).json();
    assert_eq!((&put["action"], &put["node"]["key"]), (&json!("set"), &json!("/apisix/routes/1")));
    let list = gateway.ask("GET", "/routes?page=1&page_size=1", None).json();
    assert_eq!((&list["action"], &list["count"], &list["node"]["dir"]), (&json!("get"), &json!(1), &json!(true)));
    assert_eq!(
        (&list["node"]["key"], &list["node"]["nodes"][0]["modifiedIndex"]),
        (&json!("/apisix/routes"), &json!(1))
    );
    assert_eq!(gateway.ask("GET", "/routes/1", None).json()["node"]["value"]["id"], json!("1"));
    assert_eq!(gateway.ask("PATCH", "/routes/1", Some("{}")).json()["action"], json!("compareAndSwap"));
    assert_eq!(gateway.ask("POST", "/routes", Some(ROUTE)).json()["action"], json!("create"));
    let deleted = json!({ "action": "delete", "deleted": "1", "key": "/apisix/routes/1", "node": {} });
    assert_eq!(gateway.ask("DELETE", "/routes/1", None).json(), deleted);
    assert_eq!(gateway.ask("GET", "/routes/1", None).body, "{\"message\":\"Key not found\"}\n");
}
