//! `keepalive_pool` of an upstream (APISIX-COMPAT §7.1): how many connections rest, for how long, and for how many requests each is good.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::upstream::ok;
use crate::support::{Gateway, Step, Upstream, wait_for};

fn with_pool(upstream: &Upstream, pool: &Value) -> Gateway {
    let gateway = Gateway::start();
    let upstream = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}, "keepalive_pool": pool});
    gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": upstream}));
    gateway
}

/// Answers after a while, so that exchanges overlap.
fn slow() -> Upstream {
    Upstream::start(|_| [vec![Step::Pause(Duration::from_millis(100))], ok("slow")].concat())
}

#[test]
fn a_connection_is_closed_after_as_many_requests_as_it_is_good_for() {
    let upstream = Upstream::saying("here");
    let gateway = with_pool(&upstream, &json!({"requests": 3}));
    let mut client = gateway.connect();
    for asked in 1..=7_usize {
        assert_eq!(client.exchange(get("/x")).status, 200);
        assert_eq!(upstream.connections(), asked.div_ceil(3), "after {asked} requests");
    }
}

#[test]
fn as_many_connections_rest_as_the_pool_has_places() {
    let upstream = slow();
    let gateway = with_pool(&upstream, &json!({"size": 2}));
    let mut clients: Vec<_> = (0..5).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send(get("/x"));
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(upstream.connections(), 5, "all were asked at once");
    wait_for("three of five are closed", || (upstream.open() == 2).then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(upstream.open(), 2, "two go on resting");
}

#[test]
fn a_connection_that_rested_too_long_is_closed_and_one_that_did_not_is_used() {
    let upstream = Upstream::saying("here");
    let gateway = with_pool(&upstream, &json!({"idle_timeout": 1}));
    let mut client = gateway.connect();
    assert_eq!(client.exchange(get("/x")).status, 200);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(client.exchange(get("/x")).status, 200);
    assert_eq!((upstream.connections(), upstream.open()), (1, 1));
    wait_for("its time is up", || (upstream.open() == 0).then_some(()));
    assert_eq!(client.exchange(get("/x")).status, 200);
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn without_a_time_to_rest_nothing_is_kept() {
    let upstream = Upstream::saying("here");
    let gateway = with_pool(&upstream, &json!({"idle_timeout": 0}));
    let mut client = gateway.connect();
    for asked in 1..=3 {
        assert_eq!(client.exchange(get("/x")).status, 200);
        assert_eq!(upstream.connections(), asked);
    }
}
