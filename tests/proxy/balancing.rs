//! Which node gets a request: weights, and the next node when one cannot be reached.

use serde_json::json;

use crate::support::client::get;
use crate::support::upstream::{Refusing, ok};
use crate::support::{Gateway, Step, Upstream};

#[test]
fn weights_are_kept_exactly() {
    let (heavy, light, none) = (Upstream::saying("heavy"), Upstream::saying("light"), Upstream::saying("none"));
    let gateway = Gateway::start();
    gateway.admin().route("all", "/*", &[(&heavy.node(), 3), (&light.node(), 1), (&none.node(), 0)]);
    let mut client = gateway.connect();
    for _ in 0..40 {
        assert_eq!(client.exchange(get("/")).status, 200);
    }
    assert_eq!((heavy.seen().len(), light.seen().len(), none.seen().len()), (30, 10, 0));
}

#[test]
fn a_heavy_node_does_not_get_its_share_in_one_go() {
    let (heavy, light) = (Upstream::saying("h"), Upstream::saying("l"));
    let gateway = Gateway::start();
    gateway.admin().route("all", "/*", &[(&heavy.node(), 2), (&light.node(), 1)]);
    let mut client = gateway.connect();
    let order: String = (0..9).map(|_| client.exchange(get("/")).text()).collect();
    assert!(!order.contains("hhh"), "smooth weighted round robin: {order}");
}

#[test]
fn a_node_that_refuses_is_passed_over() {
    let upstream = Upstream::saying("hello");
    let refusing = Refusing::new();
    let gateway = Gateway::start();
    gateway.admin().route("all", "/*", &[(&refusing.node(), 1), (&upstream.node(), 1)]);
    let mut client = gateway.connect();
    for _ in 0..10 {
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(client.exchange(post).status, 200, "nothing was sent yet, so another node may be tried");
    }
    assert!(upstream.seen().iter().all(|request| request.body == b"hello"));
}

#[test]
fn a_node_that_closes_without_an_answer_is_passed_over_for_requests_that_may_be_repeated() {
    let closing = Upstream::start(|_| vec![Step::Close]);
    let upstream = Upstream::start(|_| ok("hello"));
    let gateway = Gateway::start();
    gateway.admin().route("all", "/*", &[(&closing.node(), 1), (&upstream.node(), 1)]);
    let mut client = gateway.connect();
    for _ in 0..6 {
        assert_eq!(client.exchange(get("/")).status, 200);
    }
}

#[test]
fn all_nodes_tried_is_502_with_every_status() {
    let (first, second) = (Refusing::new(), Refusing::new());
    let gateway = Gateway::start();
    gateway.admin().route("all", "/*", &[(&first.node(), 1), (&second.node(), 1)]);
    let response = gateway.get("/");
    assert_eq!(response.status, 502);
    assert_eq!(response.headers.one("x-apisix-upstream-status"), Some("502, 502"));
}

#[test]
fn no_retries_means_one_try() {
    let (refusing, upstream) = (Refusing::new(), Upstream::saying("hello"));
    let gateway = Gateway::start();
    let nodes = json!({refusing.node(): 1, upstream.node(): 1});
    let object = json!({"type": "roundrobin", "nodes": nodes, "retries": 0});
    gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": object}));
    let mut client = gateway.connect();
    let statuses: Vec<u16> = (0..4).map(|_| client.exchange(get("/")).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 2, "{statuses:?}");
}
