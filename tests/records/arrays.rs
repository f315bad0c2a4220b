//! `batch_max_size` above one (APISIX-COMPAT §3.2): a message is an array, closed by count, by time or by size.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::entries;
use crate::support::upstream::ok;
use crate::support::{Setup, Upstream};

/// The `n` of every entry, array by array.
fn numbers(messages: &[Value]) -> Vec<Vec<u64>> {
    let number = |entry: &Value| entry["n"].as_str().and_then(|n| n.parse().ok()).expect("a number");
    let array = |message: &Value| message.as_array().expect("an array").iter().map(number).collect();
    messages.iter().map(array).collect()
}

/// A gateway that logs the argument `n`, in arrays as `more` says, all into one partition.
fn logged(more: &Value) -> Logged {
    let mut plugin = json!({"log_format": {"n": "$arg_n"}, "key": "k"});
    for (key, value) in more.as_object().expect("attributes") {
        plugin[key] = value.clone();
    }
    Logged::with(&plugin)
}

fn send(logged: &Logged, numbers: std::ops::Range<u64>) {
    let mut client = logged.gateway.connect();
    for number in numbers {
        assert_eq!(client.exchange(get(&format!("/?n={number}"))).status, 200);
    }
}

#[test]
fn an_array_is_closed_by_its_count_and_the_last_one_by_the_stop() {
    let logged = logged(&json!({"batch_max_size": 3, "inactive_timeout": 60}));
    send(&logged, 0..7);
    let records = logged.kafka.wait_records(&logged.topic, 2);
    assert_eq!(numbers(&entries(&records)), [[0, 1, 2], [3, 4, 5]], "while it runs");
    assert_eq!(numbers(&logged.finish_entries()), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
}

#[test]
fn without_a_size_messages_are_arrays_of_up_to_a_thousand() {
    let logged = logged(&json!({}));
    let mut attributes = logged.attributes(&json!({"log_format": {"n": "$arg_n"}, "key": "k"}));
    attributes.as_object_mut().expect("attributes").remove("batch_max_size");
    logged.put("routes/r1", &logged.route(&json!({"plugins": {"kafka-logger": attributes}})));
    send(&logged, 0..1_001);
    let arrays = numbers(&logged.finish_entries());
    assert_eq!(arrays.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1]);
    assert_eq!(arrays.concat(), (0..1_001).collect::<Vec<_>>());
}

#[test]
fn an_array_is_closed_when_nothing_came_for_a_while() {
    let logged = logged(&json!({"batch_max_size": 100, "inactive_timeout": 1, "buffer_duration": 60}));
    send(&logged, 0..2);
    let sent = Instant::now();
    let records = logged.kafka.wait_records(&logged.topic, 1);
    assert!(sent.elapsed() > Duration::from_millis(700), "it stayed open for its second: {:?}", sent.elapsed());
    assert_eq!(numbers(&entries(&records)), [[0, 1]]);
}

#[test]
fn an_array_is_closed_when_it_was_open_for_its_time_though_entries_keep_coming() {
    let logged = logged(&json!({"batch_max_size": 1000, "inactive_timeout": 60, "buffer_duration": 1}));
    let begin = Instant::now();
    let mut next = 0;
    while begin.elapsed() < Duration::from_millis(2_500) {
        send(&logged, next..next + 1);
        next += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let arrays = numbers(&entries(&logged.kafka.wait_records(&logged.topic, 1)));
    assert!((1..=3).contains(&arrays.len()), "a second each: {arrays:?}");
    assert!(arrays[0].len() > 2, "{arrays:?}");
    assert_eq!(numbers(&logged.finish_entries()).concat(), (0..next).collect::<Vec<_>>());
}

#[test]
fn an_array_is_closed_before_it_is_too_large_for_kafka() {
    let upstream = Upstream::start(|request| ok(&request.body[..1]));
    let plugin = json!({"batch_max_size": 100, "inactive_timeout": 60, "key": "k", "include_req_body": true,
                        "log_format": {"n": "$arg_n", "body": "$request_body"}});
    let logged = Logged::on(&Setup::default(), upstream, &plugin);
    let body = "x".repeat(300_000);
    let mut client = logged.gateway.connect();
    for number in 0..7 {
        let request = format!("POST /?n={number} HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n{body}");
        assert_eq!(client.exchange(request).status, 200);
    }
    let records = logged.finish();
    let sizes: Vec<usize> = records.iter().map(|record| record.value.as_ref().map_or(0, Vec::len)).collect();
    assert!(sizes.iter().all(|size| *size <= 1_000_000), "{sizes:?}");
    assert_eq!(numbers(&entries(&records)), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
}

#[test]
fn routes_that_agree_share_an_array() {
    let plugin = json!({"log_format": {"n": "$arg_n"}, "batch_max_size": 4, "inactive_timeout": 60});
    let logged = Logged::with(&plugin);
    let other = logged.route(&json!({"uri": "/other", "plugins": logged.plugins(&plugin)}));
    logged.put("routes/r2", &other);
    let mut client = logged.gateway.connect();
    for path in ["/?n=0", "/other?n=1", "/?n=2", "/other?n=3"] {
        assert_eq!(client.exchange(get(path)).status, 200);
    }
    let messages = entries(&logged.kafka.wait_records(&logged.topic, 1));
    let routes: Vec<&Value> =
        messages[0].as_array().expect("an array").iter().map(|entry| &entry["route_id"]).collect();
    assert_eq!(routes, ["r1", "r2", "r1", "r2"]);
}

#[test]
fn an_array_that_is_open_when_its_route_goes_is_not_lost() {
    let logged = logged(&json!({"batch_max_size": 100, "inactive_timeout": 60}));
    send(&logged, 0..5);
    logged.gateway.admin().delete("routes/r1");
    assert_eq!(logged.gateway.get("/").status, 404);
    let records = logged.kafka.wait_records(&logged.topic, 1);
    assert_eq!(numbers(&entries(&records)), [[0, 1, 2, 3, 4]], "no one has to wait for a minute");
    assert_eq!(logged.finish().len(), 1);
}
