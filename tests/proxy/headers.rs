//! Which headers pass, which are added, which end at the gateway (APISIX-COMPAT §9), and clients of HTTP/1.0.

use serde_json::json;

use crate::support::client::get;
use crate::support::message::Framing;
use crate::support::upstream::{in_chunks, ok, raw};
use crate::support::{Gateway, Request, Setup, Step, Upstream};

/// What the upstream gets for this request.
fn seen(request: &str) -> (Gateway, Request) {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    assert_eq!(gateway.connect().exchange(request).status, 200);
    let request = upstream.seen().remove(0);
    (gateway, request)
}

#[test]
fn the_upstream_learns_who_asked_and_how() {
    let (gateway, request) = seen("GET /a?b=c HTTP/1.1\r\nHost: shop.example:8443\r\n\r\n");
    assert_eq!(
        (request.method.as_str(), request.target.as_str(), request.version.as_str()),
        ("GET", "/a?b=c", "HTTP/1.1")
    );
    let one = |name| request.headers.one(name);
    assert_eq!(one("host"), Some("shop.example:8443"));
    assert_eq!(one("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(one("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(one("x-forwarded-proto"), Some("http"));
    assert_eq!(one("x-forwarded-host"), Some("shop.example:8443"));
    assert_eq!(one("x-forwarded-port"), Some("8443"));
    drop(gateway);
}

#[test]
fn the_listeners_port_is_told_when_the_host_names_none() {
    let (gateway, request) = seen("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!(request.headers.one("x-forwarded-port"), Some(gateway.address().port().to_string().as_str()));
}

#[test]
fn a_chain_of_proxies_grows_and_a_claimed_scheme_is_overwritten() {
    let (_gateway, request) = seen(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4\r\n\r\n",
    );
    let one = |name| request.headers.one(name);
    assert_eq!(one("x-forwarded-for"), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!((one("x-forwarded-proto"), one("x-forwarded-host")), (Some("http"), Some("a")));
    assert_eq!(one("forwarded"), None);
}

#[test]
fn headers_of_one_connection_end_at_the_gateway() {
    let (_gateway, request) = seen(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine\r\nX-Mine: secret\r\nKeep-Alive: timeout=5\r\n\
         TE: trailers\r\nUpgrade: h2c\r\nProxy-Connection: keep-alive\r\nX-Yours: passes\r\nunder_score: passes\r\n\r\n",
    );
    for name in ["x-mine", "keep-alive", "te", "upgrade", "proxy-connection"] {
        assert_eq!(request.headers.all(name), [""; 0], "{name}");
    }
    assert_eq!(request.headers.one("x-yours"), Some("passes"));
    assert_eq!(request.headers.one("under_score"), Some("passes"));
}

#[test]
fn repeated_headers_stay_repeated_and_in_order() {
    let (_gateway, request) = seen("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 2\r\nX-A: 3\r\n\r\n");
    assert_eq!(request.headers.all("x-a"), ["1", "3"]);
}

#[test]
fn the_node_or_another_name_can_be_the_upstreams_host() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::start();
    for (pass, wanted) in [("node", upstream.node()), ("rewrite", "inner.example".to_owned())] {
        let mut object = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}, "pass_host": pass});
        if pass == "rewrite" {
            object["upstream_host"] = json!("inner.example");
        }
        gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": object}));
        assert_eq!(gateway.get("/").status, 200);
        assert_eq!(upstream.seen().last().expect("one").headers.one("host"), Some(wanted.as_str()));
    }
}

#[test]
fn a_name_in_tollgates_hosts_stands_for_another_address() {
    let upstream = Upstream::saying("hello");
    let gateway =
        Gateway::start_with(&Setup::with(json!({"tollgate": {"hosts": {"httpbin.org:80": upstream.node()}}})));
    gateway.admin().route("all", "/*", &[("httpbin.org:80", 1)]);
    assert_eq!(gateway.get("/get").text(), "hello");
}

#[test]
fn the_client_sees_the_gateway_as_the_server_and_the_upstreams_other_headers() {
    let upstream = Upstream::start(|_| {
        raw("HTTP/1.1 200 Fine\r\nServer: secret/1.0\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nSet-Cookie: a=1\r\n\
             Set-Cookie: b=2\r\nConnection: X-Inner\r\nX-Inner: secret\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok")
    });
    let gateway = Gateway::before(&upstream);
    let headers = gateway.get("/").headers;
    assert!(!headers.one("server").expect("ours").contains("secret"));
    assert_eq!(headers.one("date"), Some("Tue, 15 Nov 1994 08:12:31 GMT"));
    assert_eq!(headers.all("set-cookie"), ["a=1", "b=2"]);
    for name in ["x-inner", "keep-alive", "x-apisix-upstream-status"] {
        assert_eq!(headers.all(name), [""; 0], "{name}");
    }
}

#[test]
fn an_upstreams_5xx_is_passed_on_with_its_status_beside_it() {
    let upstream = Upstream::start(|_| raw("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"));
    let gateway = Gateway::before(&upstream);
    let response = gateway.get("/");
    assert_eq!((response.status, response.text().as_str()), (500, "oops"));
    assert_eq!(response.headers.one("x-apisix-upstream-status"), Some("500"));
}

#[test]
fn an_http_1_0_client_gets_no_chunks_and_is_closed() {
    let body = b"hello, old world".to_vec();
    let upstream = Upstream::start(move |request| {
        assert_eq!(request.version, "HTTP/1.1", "APISIX always speaks 1.1 to upstreams");
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        vec![Step::Send(head), Step::Send(in_chunks(&body, 5))]
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    let response = client.exchange("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((response.framing, response.text().as_str()), (Framing::Close, "hello, old world"));
    assert_eq!(response.headers.all("transfer-encoding"), [""; 0]);
}

#[test]
fn an_http_1_0_client_that_asks_for_keep_alive_is_kept() {
    let upstream = Upstream::start(|_| ok("hello"));
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for _ in 0..2 {
        let response = client.exchange("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!((response.framing, response.text().as_str()), (Framing::Length, "hello"));
        let kept = response.headers.one("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive"));
        assert!(kept, "an HTTP/1.0 client has to be told (RFC 9112 §C.2.2)");
    }
}

#[test]
fn a_target_in_absolute_form_names_the_host() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    let request = "GET http://right.example/a?b HTTP/1.1\r\nHost: wrong.example\r\n\r\n";
    assert_eq!(gateway.connect().exchange(request).status, 200);
    let seen = upstream.seen().remove(0);
    assert_eq!(seen.headers.one("host"), Some("right.example"), "RFC 9112 §3.2.2");
    assert_eq!(seen.target, "/a?b");
}

#[test]
fn a_client_on_ipv6_is_served_and_told_to_the_upstream() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::start_with(&Setup::on_ipv6());
    gateway.admin().route("all", "/*", &[(&upstream.node(), 1)]);
    assert_eq!(gateway.connect().exchange(get("/")).text(), "hello");
    assert_eq!(upstream.seen()[0].headers.one("x-real-ip"), Some("::1"));
}

#[test]
fn a_client_of_1_0_without_a_host_reaches_the_upstream_under_the_nodes() {
    let (_gateway, request) = seen("GET / HTTP/1.0\r\n\r\n");
    assert!(request.headers.one("host").is_some_and(|host| host.starts_with("127.0.0.1:")), "{:?}", request.headers);
    assert_eq!(request.headers.all("x-forwarded-host"), [""; 0]);
}

#[test]
fn a_body_of_no_bytes_is_told_apart_from_no_body() {
    let (_gateway, request) = seen("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(request.headers.one("content-length"), Some("0"));
    let (_gateway, request) = seen("POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(request.headers.one("content-length"), None);
}

#[test]
fn a_response_without_a_date_gets_ours() {
    let upstream = Upstream::start(|_| raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    let mut date = || client.exchange(get("/")).headers.one("date").expect("ours").to_owned();
    let first = date();
    assert!(first.len() == 29 && first.ends_with(" GMT"), "{first}");
    std::thread::sleep(std::time::Duration::from_millis(1_300));
    assert_ne!(date(), first, "the clock goes on");
}

#[test]
fn via_names_the_gateway_both_ways_another_name_can_be_chosen_and_none() {
    let upstream = Upstream::start(|_| raw("HTTP/1.1 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 2\r\n\r\nok"));
    for (config, name) in [
        (json!({}), Some("tollgate")),
        (json!({"tollgate": {"via": "edge-1"}}), Some("edge-1")),
        (json!({"tollgate": {"via": "none"}}), None),
    ] {
        let gateway = Gateway::start_with(&Setup::with(config));
        gateway.admin().route("all", "/*", &[(&upstream.node(), 1)]);
        let response = gateway.connect().exchange("GET / HTTP/1.0\r\nHost: a\r\nVia: 1.1 first\r\n\r\n");
        let seen = upstream.seen().pop().expect("one");
        let with = |before: &str, version: &str| {
            let ours = name.map(|name| format!("{version} {name}"));
            [before.to_owned()].into_iter().chain(ours).collect::<Vec<_>>()
        };
        assert_eq!(seen.headers.all("via"), with("1.1 first", "1.0"));
        assert_eq!(response.headers.all("via"), with("1.1 inner", "1.1"));
    }
}

#[test]
fn max_forwards_is_counted_down_and_at_zero_the_request_ends_here() {
    let upstream = Upstream::saying("there");
    let gateway = Gateway::before(&upstream);
    let ask = |method: &str, left: &str| {
        let request = format!("{method} /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: {left}\r\n\r\n");
        gateway.connect().exchange(request)
    };
    for (method, left, passed_on) in [
        ("OPTIONS", "7", "6"),
        ("TRACE", "1", "0"),
        ("OPTIONS", "99999999999999999999", "9223372036854775806"),
        ("GET", "0", "0"),
    ] {
        assert_eq!(ask(method, left).text(), "there", "{method} {left}");
        assert_eq!(upstream.seen().pop().expect("one").headers.all("max-forwards"), [passed_on], "{method} {left}");
    }
    let before = upstream.seen().len();
    let here = ask("OPTIONS", "0");
    assert_eq!((here.status, here.body.len(), here.headers.one("allow").is_some()), (200, 0, true));
    let trace = ask("TRACE", "0");
    assert_eq!((trace.status, trace.headers.one("allow").is_some()), (405, true));
    for broken in ["", "-1", "1, 2", "x", "1\r\nMax-Forwards: 1"] {
        assert_eq!(ask("OPTIONS", broken).status, 400, "{broken:?}");
    }
    assert_eq!(upstream.seen().len(), before, "nothing of these went on");
}
