//! SIGTERM, with the load still coming: what a client got, Kafka has.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::get;
use crate::support::upstream::ok;
use crate::support::{Setup, Step, Upstream};

const CLIENTS: usize = 8;

/// Stops under load; every response that a client got whole must have its record, and no record may be there twice.
fn stop_under_load(plugin: &Value) {
    // Some exchanges are under way at any time.
    let upstream = Upstream::start(|_| [vec![Step::Pause(Duration::from_millis(3))], ok("hello")].concat());
    let mut logged = Logged::on(&Setup { workers: 2, ..Setup::default() }, upstream, plugin);
    let (gateway, answered) = (logged.gateway.address(), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let answered = &answered;
            scope.spawn(move || {
                let mut connection = crate::support::Client::connect(gateway);
                for number in 0_u64.. {
                    let name = format!("/{client}/{number}");
                    let response = connection.try_send(get(&name)).and_then(|()| connection.try_response());
                    let Ok(response) = response else { return };
                    assert_eq!(response.status, 200);
                    answered.lock().expect("no panic while it is held").insert(name);
                    if response.headers.one("connection") == Some("close") {
                        return;
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(700));
        logged.stop();
    });
    let answered = answered.into_inner().expect("no panic while it was held");
    let uri = |entry: &Value| entry["uri"].as_str().expect("text").to_owned();
    let records = crate::support::kafka::entries(&logged.kafka.records(&logged.topic));
    let entries: Vec<Value> =
        records.into_iter().flat_map(|value| value.as_array().cloned().unwrap_or(vec![value])).collect();
    let recorded: BTreeSet<String> = entries.iter().map(uri).collect();
    assert!(answered.len() > 20 * CLIENTS, "there was a load: {}", answered.len());
    assert_eq!(recorded.len(), entries.len(), "no record is there twice");
    let missing: Vec<&String> = answered.difference(&recorded).collect();
    assert!(
        missing.is_empty(),
        "{} of {} answered requests have no record: {missing:?}",
        missing.len(),
        answered.len()
    );
    assert!(recorded.len() <= answered.len() + CLIENTS, "at most the last request of each client was cut off");
}

#[test]
fn sigterm_under_load_loses_no_record() {
    stop_under_load(&json!({"log_format": {"uri": "$uri"}}));
}

#[test]
fn sigterm_under_load_loses_no_record_in_sync_mode() {
    stop_under_load(&json!({"log_format": {"uri": "$uri"}, "producer_type": "sync"}));
}

#[test]
fn sigterm_under_load_loses_no_record_of_open_arrays() {
    stop_under_load(&json!({"log_format": {"uri": "$uri"}, "batch_max_size": 1000, "inactive_timeout": 60}));
}

#[test]
fn an_exchange_that_never_ends_does_not_take_the_others_records_along() {
    let upstream = Upstream::start(|request| if request.target == "/hang" { vec![Step::Hang] } else { ok("hello") });
    let config = json!({"tollgate": {"shutdown_timeout_ms": 2_000}});
    let plugin =
        json!({"batch_max_size": 1_000, "inactive_timeout": 60, "log_format": {"uri": "$uri", "status": "$status"}});
    let mut logged = Logged::on(&Setup::with(config), upstream, &plugin);
    assert_eq!(logged.gateway.connect().exchange(get("/done")).status, 200);
    let mut stuck = logged.gateway.connect();
    stuck.send(get("/hang"));
    crate::support::wait_for("the request hangs", || (logged.upstream.seen().len() == 2).then_some(()));
    logged.stop();
    let records = crate::support::kafka::entries(&logged.kafka.records(&logged.topic));
    let entries: Vec<Value> = records.iter().filter_map(Value::as_array).flatten().cloned().collect();
    let uris: BTreeSet<&str> = entries.iter().filter_map(|entry| entry["uri"].as_str()).collect();
    assert_eq!(uris, BTreeSet::from(["/done", "/hang"]), "{entries:?}");
}
