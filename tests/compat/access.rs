//! §5.1: keys, roles, addresses, CORS, headers, and the relay from the proxy port.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tollgate::config::file::ApiVersion;

use super::client::{exchange, send};
use super::gateway::{ADMIN_KEY, Dir, Gateway, VIEWER_KEY, config, started};

const ROUTE: &str = r#"{"uri":"/a","upstream":{"type":"roundrobin","nodes":{"127.0.0.1:1980":1}}}"#;
const MISSING: &str = r#"{"error_msg":"failed to check token","description":"missing apikey"}"#;
const WRONG: &str = r#"{"error_msg":"failed to check token","description":"wrong apikey"}"#;
const VIEWER: &str = r#"{"error_msg":"failed to check token","description":"invalid method for role viewer"}"#;

/// Method, target, headers, status, body of a 401.
type KeyRow<'a> = (&'a str, String, &'a [(&'a str, &'a str)], u16, &'a str);

#[test]
fn the_key_is_looked_for_in_argument_then_header_then_cookie() {
    let (gateway, _dir) = started();
    let cookie = format!("a=b; x_api_key={ADMIN_KEY}");
    let routes = "/apisix/admin/routes";
    let with = |key: &str| format!("{routes}?api_key={key}");
    let rows: &[KeyRow<'_>] = &[
        ("GET", routes.into(), &[], 401, MISSING),
        ("GET", routes.into(), &[("X-API-KEY", "wrong")], 401, WRONG),
        ("GET", routes.into(), &[("x-api-key", ADMIN_KEY)], 200, ""),
        ("GET", with(ADMIN_KEY), &[("X-API-KEY", "wrong")], 200, ""),
        ("GET", with("wrong"), &[("X-API-KEY", ADMIN_KEY)], 401, WRONG),
        ("GET", with(""), &[], 401, WRONG),
        ("GET", routes.into(), &[("Cookie", &cookie)], 200, ""),
        ("GET", routes.into(), &[("X-API-KEY", "wrong"), ("Cookie", &cookie)], 401, WRONG),
        ("GET", routes.into(), &[("X-API-KEY", VIEWER_KEY)], 200, ""),
        ("PUT", format!("{routes}/1"), &[("X-API-KEY", VIEWER_KEY)], 401, VIEWER),
        ("DELETE", format!("{routes}/1"), &[("X-API-KEY", VIEWER_KEY)], 401, VIEWER),
        ("GET", "/apisix/admin/routs".into(), &[], 401, MISSING),
    ];
    for (method, target, headers, status, body) in rows {
        let reply = send(gateway.admin, method, target, headers, (*method == "PUT").then_some(ROUTE));
        assert_eq!(reply.status, *status, "{method} {target} {headers:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        if *status == 401 {
            assert_eq!(reply.json(), serde_json::from_str::<serde_json::Value>(body).unwrap(), "{method} {target}");
            assert!(reply.body.ends_with('\n'));
        }
    }
}

#[test]
fn without_a_key_in_the_file_one_is_made_and_only_its_place_is_told() {
    let dir = Dir::new();
    let mut config = config(dir.path());
    config.admin.keys.clear();
    let gateway = Gateway::start(config.clone(), &dir.path().join("config.yaml"));
    let key = std::fs::read_to_string(dir.path().join("data/admin.key")).unwrap();
    assert_eq!(gateway.key, key.trim());
    assert!(gateway.notes[0].contains("admin.key") && !gateway.notes[0].contains(key.trim()), "{:?}", gateway.notes);
    assert_eq!(gateway.ask("GET", "/routes", None).status, 200);
    assert_eq!(send(gateway.admin, "GET", "/apisix/admin/routes", &[("X-API-KEY", ADMIN_KEY)], None).status, 401);
    gateway.stop().unwrap();
    let again = Gateway::start(config, &dir.path().join("config.yaml"));
    assert_eq!(again.key, key.trim(), "the next start uses it again");
}

#[test]
fn keys_that_were_warned_about_when_the_file_was_read_are_not_warned_about_again() {
    let (gateway, _dir) = started();
    assert_eq!(gateway.warnings, Vec::<String>::new());
}

#[test]
fn without_a_required_key_everybody_may_change_everything() {
    let dir = Dir::new();
    let mut config = config(dir.path());
    config.admin.key_required = false;
    let open = Gateway::start(config, &dir.path().join("config.yaml"));
    assert_eq!(send(open.admin, "PUT", "/apisix/admin/routes/1", &[], Some(ROUTE)).status, 201);
}

#[test]
fn every_answer_carries_our_name_cors_and_the_api_version() {
    let (gateway, _dir) = started();
    for path in ["/routes", "/routes/none", "/schema/route", "/plugins/kafka-logger"] {
        let reply = gateway.ask("GET", path, None);
        assert!(reply.header("server").unwrap().starts_with("tollgate/"), "{path}");
        assert_eq!(reply.header("x-api-version"), Some("v3"), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"), "{path}");
        assert_eq!(reply.header("access-control-expose-headers"), Some("*"), "{path}");
        assert_eq!(reply.header("access-control-max-age"), Some("3600"), "{path}");
    }
    let preflight = send(gateway.admin, "OPTIONS", "/apisix/admin/routes/1", &[], None);
    assert_eq!((preflight.status, preflight.body.as_str()), (200, ""));
    let methods = preflight.header("access-control-allow-methods");
    assert_eq!(methods, Some("POST, GET, PUT, OPTIONS, DELETE, PATCH"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("*"));
}

#[test]
fn without_cors_there_are_no_such_headers_and_options_is_unknown() {
    let dir = Dir::new();
    let mut config = config(dir.path());
    config.admin.cors = false;
    config.admin.api_version = ApiVersion::V2;
    let gateway = Gateway::start(config, &dir.path().join("config.yaml"));
    let reply = gateway.ask("GET", "/routes", None);
    assert_eq!(reply.header("access-control-allow-origin"), None);
    assert_eq!(reply.header("x-api-version"), Some("v2"));
    assert_eq!(send(gateway.admin, "OPTIONS", "/apisix/admin/routes", &[], None).status, 404);
}

#[test]
fn head_needs_no_key_and_what_is_no_path_of_ours_is_a_bare_404() {
    let (gateway, _dir) = started();
    assert_eq!(send(gateway.admin, "HEAD", "/apisix/admin", &[], None).status, 200);
    for (method, target) in
        [("GET", "/"), ("GET", "/apisix/administrator"), ("GET", "/apisix/admin"), ("TRACE", "/apisix/admin/routes")]
    {
        let reply = send(gateway.admin, method, target, &[("X-API-KEY", ADMIN_KEY)], None);
        assert_eq!((reply.status, reply.body.as_str()), (404, ""), "{method} {target}");
        assert_eq!(reply.header("content-type"), None, "{method} {target}");
    }
}

#[test]
fn an_address_that_is_not_allowed_gets_nginx_html() {
    let dir = Dir::new();
    let mut config = config(dir.path());
    let text = "deployment: {admin: {allow_admin: [10.0.0.0/8]}}";
    let (other, _) = tollgate::config::file::FileConfig::parse(text, &|_| None).unwrap();
    config.admin.allow = other.admin.allow;
    let gateway = Gateway::start(config, &dir.path().join("config.yaml"));
    let reply = gateway.ask("GET", "/routes", None);
    assert_eq!(reply.status, 403);
    assert!(reply.body.starts_with("<html>\r\n<head><title>403 Forbidden</title></head>"), "{}", reply.body);
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
}

#[test]
fn a_relayed_request_is_judged_by_the_peer_that_the_worker_names() {
    let dir = Dir::new();
    let mut config = config(dir.path());
    config.tollgate.admin_on_proxy_port = true;
    let gateway = Gateway::start(config, &dir.path().join("config.yaml"));
    let socket = gateway.relay.clone().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(relayed(&socket, "PROXY TCP4 127.0.0.1 127.0.0.1 4711 9080\r\n"), Some(201));
    assert_eq!(relayed(&socket, "PROXY TCP4 192.0.2.7 127.0.0.1 4711 9080\r\n"), Some(403));
    assert_eq!(relayed(&socket, "PROXY UNKNOWN\r\n"), Some(403), "nobody is on no list");
    assert_eq!(relayed(&socket, ""), None, "a request without the line is refused");
}

#[test]
fn a_peer_that_the_worker_cannot_name_is_let_in_by_an_empty_list_only() {
    let dir = Dir::new();
    let mut config = config(dir.path());
    config.tollgate.admin_on_proxy_port = true;
    config.admin.allow = Vec::new();
    let gateway = Gateway::start(config, &dir.path().join("config.yaml"));
    assert_eq!(relayed(&gateway.relay.clone().unwrap(), "PROXY UNKNOWN\r\n"), Some(201));
}

/// The status of a change that comes over the relay socket behind `line`; nothing if the connection is closed.
fn relayed(socket: &Path, line: &str) -> Option<u16> {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let headers = [("X-API-KEY", ADMIN_KEY), ("X-Forwarded-For", "127.0.0.1")];
    exchange(stream, line, "PUT", "/apisix/admin/routes/1", &headers, Some(ROUTE)).map(|reply| reply.status)
}
