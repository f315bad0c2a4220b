//! The configuration changes while requests are served: none fails, none is recorded by half a configuration, no PUT takes long,
//! and what was answered is there after a crash.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::{entries, new_topic};
use crate::support::{Client, Gateway, Kafka, Setup, Upstream};

/// A PUT is answered when every core has taken the change: 200 ms at most. A busy machine gets more.
const PUT_MOST: Duration = Duration::from_secs(1);
/// Changes of the flip test, and the time between two.
const FLIPS: u32 = 150;
const FLIP_EVERY: Duration = Duration::from_millis(20);
/// Routes that are there beside the one that changes.
const ROUTES: usize = 1_000;

/// The middle and the longest of some times, said and checked.
fn check_times(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: {} PUTs, median {median:?}, longest {most:?}", times.len());
    assert!(most <= PUT_MOST, "{what}: a PUT took {most:?}");
}

fn put_timed(logged: &Logged, path: &str, object: &Value) -> Duration {
    let begin = Instant::now();
    logged.put(path, object);
    begin.elapsed()
}

/// Sends requests until told to stop; counts the answers by body. Every one must be a 200.
fn load(gateway: std::net::SocketAddr, stop: &AtomicBool, answers: &Mutex<BTreeMap<String, usize>>) {
    let (mut client, mut own) = (Client::connect(gateway), BTreeMap::<String, usize>::new());
    while !stop.load(Ordering::Relaxed) {
        let response = client.exchange(get("/"));
        assert_eq!(response.status, 200, "{}", response.text());
        *own.entry(response.text()).or_default() += 1;
    }
    let mut all = answers.lock().expect("no panic while it is held");
    own.into_iter().for_each(|(body, count)| *all.entry(body).or_default() += count);
}

#[test]
fn flipping_the_plugin_at_50_hz_under_load_fails_no_request_and_loses_no_record() {
    // Which upstream answered tells which configuration the request was served from.
    let logged = Logged::without_route(&Setup { workers: 2, ..Setup::default() }, Upstream::saying("first"));
    let (silent, second) = (Upstream::saying("silent"), Upstream::saying("second"));
    let other = new_topic();
    let to = |upstream: &Upstream| json!({"type": "roundrobin", "nodes": {upstream.node(): 1}});
    let plugin = json!({"log_format": {"to": "$upstream_addr"}});
    let mut on_other = plugin.clone();
    on_other["kafka_topic"] = json!(other);
    on_other["batch_max_size"] = json!(5);
    on_other["inactive_timeout"] = json!(1);
    let variants = [
        logged.route(&json!({"plugins": logged.plugins(&plugin)})),
        logged.route(&json!({"upstream": to(&silent)})),
        logged.route(&json!({"upstream": to(&second), "plugins": logged.plugins(&on_other)})),
    ];
    logged.put("routes/r1", &variants[0]);
    let (stop, answers, gateway) = (AtomicBool::new(false), Mutex::default(), logged.gateway.address());
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| load(gateway, &stop, &answers));
        }
        let begin = Instant::now();
        for flip in 1..=FLIPS {
            times.push(put_timed(&logged, "routes/r1", &variants[flip as usize % variants.len()]));
            std::thread::sleep((begin + FLIP_EVERY * flip).saturating_duration_since(Instant::now()));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let answers = answers.into_inner().expect("no panic while it was held");
    println!("answers: {answers:?}");
    let nodes = [logged.upstream.node(), second.node()];
    let (kafka, topic) = logged.finish_at();
    let flat = |value: Value| value.as_array().cloned().unwrap_or(vec![value]);
    for ((topic, node), body) in [topic, other].iter().zip(nodes).zip(["first", "second"]) {
        let found: Vec<Value> = entries(&kafka.records(topic)).into_iter().flat_map(flat).collect();
        assert_eq!(found.len(), answers[body], "records of what {body} answered");
        assert!(found.iter().all(|entry| entry["to"] == node), "each by the configuration that served it");
    }
    assert!(answers["silent"] > 0, "the plugin was away, too");
    check_times("one route under load", times);
}

#[test]
fn a_put_beside_a_thousand_routes_is_answered_soon() {
    let (upstream, kafka, topic) = (Upstream::saying("hello"), Kafka::start(), new_topic());
    let plugin = json!({"brokers": kafka.brokers(), "kafka_topic": topic, "batch_max_size": 1});
    let object = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}});
    let route = |number: usize| json!({"uri": format!("/r{number}/*"), "upstream": object, "plugins": {"kafka-logger": plugin}});
    let routes = (0..ROUTES).map(|number| (format!("many{number}"), route(number))).collect();
    let gateway = Gateway::start_with(&Setup { workers: 2, routes, ..Setup::default() });
    let logged = Logged { gateway, kafka, topic, upstream };
    let mut times = Vec::new();
    for number in 0..10 {
        let plugins = logged.plugins(&json!({"log_format": {"number": number}}));
        times.push(put_timed(&logged, "routes/many7", &logged.route(&json!({"uri": "/r7/*", "plugins": plugins}))));
        assert_eq!(logged.gateway.get("/r7/x").status, 200);
    }
    check_times("beside 1,000 routes", times);
    assert_eq!(logged.gateway.get("/r999/x").status, 200);
    logged.gateway.admin().delete("routes/many999");
    assert_eq!(logged.gateway.get("/r999/x").status, 404);
    assert_eq!(logged.finish().len(), 11);
}

#[test]
fn after_a_crash_the_configuration_is_there_and_requests_are_recorded() {
    let mut logged = Logged::with(&json!({"key": "k"}));
    logged.put("plugin_metadata/kafka-logger", &json!({"log_format": {"uri": "$uri"}}));
    let upstreams = logged.route(&json!({}))["upstream"].clone();
    logged.put("upstreams/u1", &upstreams);
    logged.put("services/s1", &json!({"upstream_id": "u1", "plugins": logged.plugins(&json!({"key": "k"}))}));
    logged.put("routes/r2", &json!({"uri": "/service", "service_id": "s1"}));
    let all = |logged: &Logged| {
        ["routes", "services", "upstreams", "plugin_metadata"]
            .map(|kind| logged.gateway.admin().call("GET", kind, None))
    };
    let before = all(&logged);
    assert_eq!(before[0].1["total"], 2, "{}", before[0].1);
    assert_eq!(logged.gateway.get("/before").status, 200);
    logged.kafka.wait_records(&logged.topic, 1);
    logged.gateway.crash_and_restart();
    assert_eq!(all(&logged), before);
    assert_eq!((logged.gateway.get("/after").status, logged.gateway.get("/service").status), (200, 200));
    assert_eq!(
        logged.finish_entries(),
        [
            json!({"uri": "/before", "route_id": "r1"}),
            json!({"uri": "/after", "route_id": "r1"}),
            json!({"uri": "/service", "route_id": "r2", "service_id": "s1"}),
        ]
    );
}
