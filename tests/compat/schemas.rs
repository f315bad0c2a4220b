//! §5.8 and §5.10: plugins, schemas, checks without a write, and what is readable without a key.

use serde_json::json;

use super::gateway::{Gateway, started};
use super::table::{Expected::*, row, run};

#[test]
fn plugins_and_schemas() {
    let (gateway, _dir) = started();
    run(
        &gateway,
        &[
            row("names", ("GET", "/plugins/list", ""), 200, Json(r#"["kafka-logger"]"#)),
            row("names", ("GET", "/plugins/list?subsystem=http", ""), 200, Json(r#"["kafka-logger"]"#)),
            row("streams", ("GET", "/plugins/list?subsystem=stream", ""), 200, Json("[]")),
            row(
                "bad",
                ("GET", "/plugins/list?subsystem=x", ""),
                400,
                Json(r#"{"error_msg":"invalid subsystem passed"}"#),
            ),
            row("one", ("GET", "/plugins/kafka-logger", ""), 200, Holds("\"kafka_topic\"")),
            row(
                "unknown",
                ("GET", "/plugins/x", ""),
                404,
                Json(r#"{"error_msg":"plugin not found in subsystem http"}"#),
            ),
            row("all", ("GET", "/plugins?all=true", ""), 200, Holds("\"priority\":403")),
            row("reload", ("PUT", "/plugins/reload", ""), 200, Bytes("done")),
            row(
                "reload by GET",
                ("GET", "/plugins/reload", ""),
                405,
                Json(r#"{"error_msg":"please use PUT method to reload the plugins, GET method is not allowed."}"#),
            ),
            row("a kind", ("GET", "/schema/route", ""), 200, Holds("\"uri\"")),
            row("a kind", ("GET", "/schema/global_rule", ""), 200, Holds("\"plugins\"")),
            row("unknown", ("GET", "/schema/x", ""), 400, Json(r#"{"error_msg":"not found schema: x"}"#)),
            row("a plugin", ("GET", "/schema/plugins/kafka-logger", ""), 200, Holds("\"kafka_topic\"")),
            row(
                "its metadata",
                ("GET", "/schema/plugins/kafka-logger?schema_type=metadata", ""),
                200,
                Holds("\"max_pending_entries\""),
            ),
        ],
    );
}

#[test]
fn checks_without_a_write() {
    let (gateway, _dir) = started();
    let broken_plugin = r#"{"uri":"/a","upstream":{"type":"roundrobin","nodes":{"127.0.0.1:1":1}},"plugins":{"kafka-logger":{"kafka_topic":1}}}"#;
    let both = r#"{"routes":[{"id":"1","uri":"/a","upstream_id":"u"}],"upstreams":[{"id":"u","type":"roundrobin","nodes":{"127.0.0.1:1":1}}]}"#;
    run(
        &gateway,
        &[
            row("a broken plugin passes", ("POST", "/schema/validate/routes", broken_plugin), 200, Bytes("")),
            row(
                "no prefix",
                ("POST", "/schema/validate/routes", r#"{"uri":1}"#),
                400,
                Holds(r#"{"error_msg":"property \"uri\" validation failed"#),
            ),
            row(
                "unknown",
                ("POST", "/schema/validate/routs", "{}"),
                404,
                Json(r#"{"error_msg":"Unsupported resource type: routs"}"#),
            ),
            row("malformed", ("POST", "/schema/validate/routes", "{"), 400, Holds("invalid request body: ")),
            row("a whole configuration", ("POST", "/configs/validate", both), 200, Bytes("")),
            row(
                "a dangling id",
                ("POST", "/configs/validate", r#"{"routes":[{"uri":"/a","upstream_id":"u"}]}"#),
                400,
                Holds("upstream id [u]"),
            ),
        ],
    );
    assert_eq!(gateway.ask("GET", "/routes", None).json()["total"], json!(0));
}

#[test]
fn metrics_status_and_the_control_api_need_no_key() {
    let (gateway, _dir) = started();
    let route = r#"{"uri":"/a","upstream":{"type":"roundrobin","nodes":{"127.0.0.1:1":1}}}"#;
    assert_eq!(gateway.ask("PUT", "/routes/1", Some(route)).status, 201);
    let metrics = Gateway::look(gateway.metrics, "/apisix/prometheus/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.contains("\ntollgate_build_info{version=\""), "{}", metrics.body);
    assert_eq!(Gateway::look(gateway.metrics, "/").status, 404);
    for path in ["/status", "/status/ready"] {
        let reply = Gateway::look(gateway.status, path);
        assert_eq!((reply.status, reply.body.as_str()), (200, "{\"status\":\"ok\"}\n"), "{path}");
    }
    let one = Gateway::look(gateway.control, "/v1/route/1").json();
    assert_eq!((&one["key"], &one["value"]["uri"]), (&json!("/apisix/routes/1"), &json!("/a")));
    assert_eq!(Gateway::look(gateway.control, "/v1/routes").json(), json!([one]));
    assert_eq!(Gateway::look(gateway.control, "/v1/services").json(), json!([]));
    assert!(Gateway::look(gateway.control, "/v1/schema").json()["main"]["route"].is_object());
    for (path, text) in [
        ("/v1/route/2", "route[2] not found"),
        ("/v1/upstream/1", "upstream[1] not found"),
        ("/v1/plugin_metadata/x", "plugin metadata[x] not found"),
    ] {
        let reply = Gateway::look(gateway.control, path);
        assert_eq!((reply.status, reply.json()), (404, json!({ "error_msg": text })), "{path}");
    }
    assert_eq!(Gateway::look(gateway.control, "/v1/nothing").status, 404);
}
