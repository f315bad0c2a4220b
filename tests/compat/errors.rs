//! §5.5: each error's status and text. The running configuration stays whatever is sent.

use serde_json::json;

use super::client::send;
use super::gateway::{ADMIN_KEY, started};
use super::table::{Expected::*, row, run};

const ROUTE: &str = r#"{"uri":"/a","upstream":{"type":"roundrobin","nodes":{"127.0.0.1:1980":1}}}"#;
const KAFKA: &str = r#"{"plugins":{"kafka-logger":{"broker_list":{"127.0.0.1":9092},"kafka_topic":"test"}}}"#;

/// The route with one more member.
fn with(member: &str) -> &'static str {
    ROUTE.replacen('{', &format!("{{{member},"), 1).leak()
}

#[test]
fn paths_and_bodies_that_are_wrong() {
    let (gateway, _dir) = started();
    run(
        &gateway,
        &[
            row(
                "no such kind",
                ("GET", "/routs", ""),
                404,
                Json(r#"{"error_msg":"Unsupported resource type: routs"}"#),
            ),
            row("no such method", ("PUT", "/schema/route", "{}"), 404, Json(r#"{"error_msg":"not found"}"#)),
            row(
                "streams",
                ("PUT", "/stream_routes/1", "{}"),
                400,
                Json(r#"{"error_msg":"stream mode is disabled, can not add stream routes"}"#),
            ),
            row("malformed", ("PUT", "/routes/1", "{\"uri\":"), 400, Holds(r#"{"error_msg":"invalid request body: "#)),
            row("malformed", ("PUT", "/routes/1", "{\"uri\":"), 400, Holds(r#","req_body":"{\"uri\":"}"#)),
            row("no body", ("PUT", "/routes/1", ""), 400, Json(r#"{"error_msg":"missing configurations"}"#)),
            row("no body", ("POST", "/routes", ""), 400, Json(r#"{"error_msg":"missing configurations"}"#)),
            row(
                "no object",
                ("PUT", "/routes/1", "\"a\""),
                400,
                Json(r#"{"error_msg":"invalid configuration: wrong type: expected object, got string"}"#),
            ),
            row("nothing was stored", ("GET", "/routes", ""), 200, Bytes("{\"list\":[],\"total\":0}\n")),
        ],
    );
}

#[test]
fn a_body_over_the_limit_is_read_and_refused() {
    let (gateway, _dir) = started();
    let text = |size: usize| json!({ "error_msg": format!("invalid request body: request size {size} is greater than the maximum size 1572864 allowed") });
    for size in [1_572_865, 8_000_000] {
        let reply = gateway.ask("PUT", "/routes/1", Some(&"a".repeat(size)));
        assert_eq!((reply.status, reply.json()), (400, text(size)));
    }
    let desc = "a".repeat(1_572_864 - ROUTE.len() - 10);
    let at_the_limit = ROUTE.replacen('{', &format!(r#"{{"name":"{desc}","#), 1);
    assert!(at_the_limit.len() <= 1_572_864);
    let reply = gateway.ask("PUT", "/routes/1", Some(&at_the_limit));
    assert!(
        reply.body.contains("string too long"),
        "read whole, then checked: {}",
        &reply.body[..200.min(reply.body.len())]
    );
}

#[test]
fn plugins_that_are_wrong() {
    let (gateway, _dir) = started();
    run(
        &gateway,
        &[
            row(
                "unknown plugin",
                ("PUT", "/routes/1", with(r#""plugins":{"kafka-loger":{}}"#)),
                400,
                Json(r#"{"error_msg":"unknown plugin [kafka-loger]"}"#),
            ),
            row(
                "plugin's schema",
                (
                    "PUT",
                    "/routes/1",
                    with(r#""plugins":{"kafka-logger":{"kafka_topic":"t","broker_list":{"127.0.0.1":0}}}"#),
                ),
                400,
                Holds("failed to check the configuration of plugin kafka-logger err: "),
            ),
            row(
                "both broker forms",
                (
                    "PUT",
                    "/routes/1",
                    with(
                        r#""plugins":{"kafka-logger":{"kafka_topic":"t","broker_list":{"a":1},"brokers":[{"host":"a","port":1}]}}"#,
                    ),
                ),
                400,
                Json(
                    r#"{"error_msg":"failed to check the configuration of plugin kafka-logger err: value should match only one schema, but matches both schemas 1 and 2"}"#,
                ),
            ),
        ],
    );
    assert_eq!(gateway.ask("GET", "/routes", None).json()["total"], json!(0));
}

#[test]
fn fields_and_references_that_are_wrong() {
    let (gateway, _dir) = started();
    run(
        &gateway,
        &[
            row(
                "unknown field",
                ("PUT", "/routes/1", with(r#""service_protocol":"http""#)),
                400,
                Json(
                    r#"{"error_msg":"invalid configuration: additional properties forbidden, found service_protocol"}"#,
                ),
            ),
            row(
                "wrong type",
                ("PUT", "/routes/1", with(r#""priority":"x""#)),
                400,
                Json(
                    r#"{"error_msg":"invalid configuration: property \"priority\" validation failed: wrong type: expected integer, got string"}"#,
                ),
            ),
            row(
                "no such upstream",
                ("PUT", "/routes/1", r#"{"uri":"/a","upstream_id":"9"}"#),
                400,
                Json(r#"{"error_msg":"failed to fetch upstream info by upstream id [9], response code: 404"}"#),
            ),
            row(
                "no such service",
                ("PUT", "/routes/1", r#"{"uri":"/a","service_id":"9"}"#),
                400,
                Json(r#"{"error_msg":"failed to fetch service info by service id [9], response code: 404"}"#),
            ),
            row(
                "host and hosts",
                ("PUT", "/routes/1", with(r#""host":"a.com","hosts":["b.com"]"#)),
                400,
                Json(r#"{"error_msg":"only one of host or hosts is allowed"}"#),
            ),
            row(
                "vars",
                ("PUT", "/routes/1", with(r#""vars":[["http_a","=","b"]]"#)),
                400,
                Json(r#"{"error_msg":"failed to validate the 'vars' expression: invalid operator '='"}"#),
            ),
        ],
    );
    assert_eq!(gateway.ask("GET", "/routes", None).json()["total"], json!(0));
}

#[test]
fn a_plugin_stands_in_one_global_rule_and_metadata_is_checked() {
    let (gateway, _dir) = started();
    run(
        &gateway,
        &[
            row("a global rule", ("PUT", "/global_rules/1", KAFKA), 201, Holds("kafka-logger")),
            row("the same again", ("PUT", "/global_rules/1", KAFKA), 200, Holds("kafka-logger")),
            row(
                "the plugin in another",
                ("PUT", "/global_rules/2", KAFKA),
                400,
                Json(r#"{"error_msg":"plugin 'kafka-logger' already exists in global rule with id '1'"}"#),
            ),
            row(
                "metadata",
                ("PUT", "/plugin_metadata/kafka-logger", r#"{"log_format":1}"#),
                400,
                Holds(r#"{"error_msg":"invalid configuration: "#),
            ),
        ],
    );
}

#[test]
fn what_is_still_used_is_not_deleted_unless_forced() {
    let (gateway, _dir) = started();
    let upstream = r#"{"type":"roundrobin","nodes":{"127.0.0.1:1980":1}}"#;
    run(
        &gateway,
        &[
            row("an upstream", ("PUT", "/upstreams/u", upstream), 201, Holds("u")),
            row("a service", ("PUT", "/services/s", r#"{"upstream_id":"u"}"#), 201, Holds("s")),
            row("its route", ("PUT", "/routes/1", r#"{"uri":"/a","service_id":"s"}"#), 201, Holds("1")),
            row("another", ("PUT", "/routes/2", r#"{"uri":"/b","upstream_id":"u"}"#), 201, Holds("2")),
            row(
                "used by a route",
                ("DELETE", "/upstreams/u", ""),
                400,
                Json(r#"{"error_msg":"can not delete this upstream, route [2] is still using it now"}"#),
            ),
            row(
                "used",
                ("DELETE", "/services/s", ""),
                400,
                Json(r#"{"error_msg":"can not delete this service directly, route [1] is still using it now"}"#),
            ),
            row(
                "not quite true",
                ("DELETE", "/services/s?force=1", ""),
                400,
                Holds("can not delete this service directly"),
            ),
            row("forced", ("DELETE", "/services/s?force=true", ""), 200, Holds("deleted")),
        ],
    );
}

#[test]
fn deep_and_broken_bodies_never_end_the_gateway() {
    let (gateway, _dir) = started();
    for body in ["[".repeat(1_000_000), "{\"a\":".repeat(200_000), "\"\u{0}\"".into(), "[1e999]".into(), "-".into()] {
        assert_eq!(gateway.ask("PUT", "/routes/1", Some(&body)).status, 400);
    }
    for target in
        ["/apisix/admin/routes/%ff%", "/apisix/admin/routes/..%2f..", "/apisix/admin//routes//1", "/apisix/admin/%00"]
    {
        let reply = send(gateway.admin, "GET", target, &[("X-API-KEY", ADMIN_KEY)], None);
        assert_eq!(reply.status, 404, "{target}");
    }
    assert_eq!(gateway.ask("PUT", "/routes/1", Some(ROUTE)).status, 201);
}
