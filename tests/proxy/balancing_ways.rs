//! The ways to choose a node beside round robin: `chash` with all its keys, `least_conn`, `ewma`; priorities with each of them.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::upstream::ok;
use crate::support::{Client, Gateway, Setup, Step, Upstream, wait_for};

/// Requests of which round robin and `least_conn` must be fair to 1 %.
const MANY: usize = 10_000;

/// A gateway with one route for everything; `upstream` without nodes.
fn gateway(upstream: &Value, nodes: &[(&Upstream, u32)]) -> Gateway {
    let gateway = Gateway::start_with(&Setup { metrics: true, ..Setup::default() });
    put(&gateway, upstream, nodes);
    gateway
}

fn put(gateway: &Gateway, upstream: &Value, nodes: &[(&Upstream, u32)]) {
    let mut upstream = upstream.clone();
    let weights = nodes.iter().map(|(node, weight)| (node.node(), Value::from(*weight)));
    upstream["nodes"] = Value::Object(weights.collect());
    gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": upstream}));
}

fn three() -> [Upstream; 3] {
    [Upstream::saying("a"), Upstream::saying("b"), Upstream::saying("c")]
}

fn evenly(upstreams: &[Upstream; 3]) -> [(&Upstream, u32); 3] {
    [0, 1, 2].map(|index| (&upstreams[index], 1))
}

/// Which node answers each request.
fn owners(client: &mut Client, requests: impl Iterator<Item = String>) -> Vec<String> {
    requests.map(|request| client.exchange(request).text()).collect()
}

#[test]
fn chash_sends_a_key_to_one_node_whatever_it_is_taken_from() {
    let upstreams = three();
    let gateway = gateway(&json!({"type": "chash", "key": "uri"}), &evenly(&upstreams));
    let mut client = gateway.connect();
    type Ask = fn(usize) -> String;
    let ways: [(Value, Ask); 5] = [
        (json!({"key": "uri"}), |n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (json!({"key": "arg_device"}), |n| format!("GET /?device={n} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (json!({"hash_on": "header", "key": "X-User"}), |n| {
            format!("GET / HTTP/1.1\r\nHost: a\r\nx-user: {n}\r\n\r\n")
        }),
        (json!({"hash_on": "cookie", "key": "sid"}), |n| {
            format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=1; sid={n}\r\n\r\n")
        }),
        (json!({"hash_on": "vars_combinations", "key": "$request_method-${arg_n}"}), |n| {
            format!("GET /?n={n} HTTP/1.1\r\nHost: a\r\n\r\n")
        }),
    ];
    for (way, ask) in ways {
        let mut upstream = json!({"type": "chash"});
        way.as_object().expect("an object").iter().for_each(|(name, value)| upstream[name] = value.clone());
        put(&gateway, &upstream, &evenly(&upstreams));
        let first = owners(&mut client, (0..60).map(ask));
        assert_eq!(first, owners(&mut client, (0..60).map(ask)), "{way}");
        let mut counts: HashMap<&str, usize> = HashMap::new();
        first.iter().for_each(|owner| *counts.entry(owner.as_str()).or_default() += 1);
        assert_eq!(counts.len(), 3, "{way}: the keys go to all nodes: {counts:?}");
    }
    assert_eq!(gateway.metric("tollgate_upstream_hash_keys_missing_total"), 0);
}

#[test]
fn chash_without_its_key_takes_the_clients_address_counts_it_and_says_it_once() {
    let upstreams = three();
    let gateway = gateway(&json!({"type": "chash", "hash_on": "header", "key": "X-User"}), &evenly(&upstreams));
    let mut client = gateway.connect();
    let owners = owners(&mut client, (0..30).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")));
    assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
    put(&gateway, &json!({"type": "chash", "hash_on": "consumer"}), &evenly(&upstreams));
    assert_eq!(client.exchange(get("/")).text(), owners[0], "no consumer either, and the ring is the same");
    wait_for("the count", || (gateway.metric("tollgate_upstream_hash_keys_missing_total") == 31).then_some(()));
    assert_eq!(gateway.log().matches("nothing of chash's key").count(), 2, "one line for each: {}", gateway.log());
}

#[test]
fn chash_shares_ten_thousand_keys_by_weight_as_far_as_160_points_can() {
    let upstreams = three();
    let weights = [1, 2, 1];
    let nodes = [0, 1, 2].map(|index| (&upstreams[index], weights[index]));
    let gateway = gateway(&json!({"type": "chash", "key": "uri"}), &nodes);
    let mut client = gateway.connect();
    let owners = owners(&mut client, (0..MANY).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")));
    for (name, weight) in ["a", "b", "c"].iter().zip(weights) {
        let (count, fair) = (owners.iter().filter(|owner| owner == name).count(), MANY * weight as usize / 4);
        assert!(count.abs_diff(fair) < fair / 4, "{name}: {count} of {fair}");
    }
}

#[test]
fn round_robin_and_least_conn_are_fair_to_one_percent_of_ten_thousand() {
    let upstreams = three();
    let gateway = gateway(&json!({"type": "roundrobin"}), &evenly(&upstreams));
    let mut client = gateway.connect();
    let mut before = [0; 3];
    for way in ["roundrobin", "least_conn"] {
        put(&gateway, &json!({"type": way}), &evenly(&upstreams));
        (0..MANY).for_each(|_| assert_eq!(client.exchange(get("/")).status, 200));
        let now = [0, 1, 2].map(|index: usize| upstreams[index].seen().len());
        let counts = [0, 1, 2].map(|index: usize| now[index] - before[index]);
        assert!(counts.iter().all(|count| count.abs_diff(MANY / 3) <= MANY / 100), "{way}: {counts:?}");
        before = now;
    }
}

#[test]
fn least_conn_gives_less_to_a_node_that_keeps_its_requests() {
    let (held, quick) = (Upstream::start(|_| vec![Step::Hang]), Upstream::saying("quick"));
    let gateway = gateway(&json!({"type": "least_conn"}), &[(&held, 1), (&quick, 1)]);
    let mut client = gateway.connect();
    client.send(get("/"));
    // Which of the two comes first is the core's choice: one more makes sure that the slow one has its request.
    let mut other = gateway.connect();
    other.send(get("/"));
    wait_for("one hangs", || (held.seen().len() == 1 && quick.seen().len() == 1).then_some(()));
    let mut third = gateway.connect();
    let answers = (0..20).map(|_| third.exchange(get("/")).text()).collect::<Vec<_>>();
    assert_eq!(held.seen().len(), 1, "{answers:?}");
}

#[test]
fn least_conn_forgets_requests_whose_clients_went_away() {
    let both = |name: &'static str| {
        Upstream::start(move |request| if request.target == "/hang" { vec![Step::Hang] } else { ok(name) })
    };
    let (a, b) = (both("a"), both("b"));
    let gateway = gateway(&json!({"type": "least_conn"}), &[(&a, 1), (&b, 1)]);
    let hanging: Vec<Client> = (0..3).map(|_| gateway.connect()).collect();
    let hanging = hanging.into_iter().map(|mut client| {
        client.send(get("/hang"));
        client
    });
    let hanging: Vec<Client> = hanging.collect();
    wait_for("three hang", || (a.seen().len() + b.seen().len() == 3).then_some(()));
    let mut client = gateway.connect();
    let lighter = client.exchange(get("/")).text();
    let answers: Vec<String> = (0..6).map(|_| client.exchange(get("/")).text()).collect();
    assert!(answers.iter().all(|answer| *answer == lighter), "two hang with one and one with the other: {answers:?}");
    drop(hanging);
    wait_for("they are given up", || {
        let answers: Vec<String> = (0..6).map(|_| client.exchange(get("/")).text()).collect();
        (answers.iter().filter(|answer| **answer == lighter).count() == 3).then_some(())
    });
}

#[test]
fn ewma_prefers_the_node_that_answers_faster() {
    let slow = Upstream::start(|_| [vec![Step::Pause(Duration::from_millis(40))], ok("slow")].concat());
    let quick = Upstream::saying("quick");
    let gateway = gateway(&json!({"type": "ewma"}), &[(&slow, 1), (&quick, 0)]);
    let mut client = gateway.connect();
    let answers: Vec<String> = (0..100).map(|_| client.exchange(get("/")).text()).collect();
    let quick = answers.iter().filter(|text| *text == "quick").count();
    assert!(quick >= 90, "weights have no meaning, time has: {quick} of 100");
}

#[test]
fn every_way_goes_to_the_next_priority_only_when_the_first_is_exhausted() {
    let (first, second) = (Upstream::start(|_| vec![Step::Close]), Upstream::saying("second"));
    let gateway = Gateway::start();
    for way in ["roundrobin", "chash", "least_conn", "ewma"] {
        let node = |upstream: &Upstream, priority: i32| json!({"host": "127.0.0.1", "port": upstream.address().port(), "weight": 1, "priority": priority});
        let nodes = [node(&second, -1), node(&first, 0)];
        let upstream = json!({"type": way, "key": "uri", "nodes": nodes});
        gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": upstream}));
        let mut client = gateway.connect();
        for _ in 0..4 {
            assert_eq!(client.exchange(get("/")).text(), "second", "{way}");
        }
    }
    assert_eq!((first.seen().len(), second.seen().len()), (16, 16), "the first is always asked first");
}

#[test]
fn a_type_that_nobody_knows_is_refused_by_name() {
    let gateway = Gateway::start();
    let upstream = json!({"type": "fastest", "nodes": {"127.0.0.1:1": 1}});
    let (status, answer) = gateway.admin().call("PUT", "upstreams/1", Some(&upstream));
    let text = answer["error_msg"].as_str().unwrap_or_default().to_owned();
    assert!(status == 400 && text.contains("`fastest`") && text.contains("least_conn"), "{status} {text}");
}
