//! `tollgate spool drain`: what a gateway left is delivered without starting it.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::{LateKafka, entries};
use crate::support::{Setup, Upstream, wait_for};

const COUNT: usize = 200;

/// A gateway that took requests while its Kafka could not be reached.
fn loaded(plugin: &Value) -> (Logged, LateKafka) {
    let setup = Setup {
        metrics: true,
        workers: 2,
        ..Setup::with(json!({"tollgate": {"shutdown_timeout_ms": 200, "ring": {"bytes": "1m", "slot_bytes": "64k"}}}))
    };
    let (logged, kafka) = (Logged::without_route(&setup, Upstream::saying("hello")), LateKafka::new());
    let mut more = json!({"brokers": kafka.brokers(), "log_format": {"n": "$arg_n"}});
    more.as_object_mut().expect("an object").extend(plugin.as_object().expect("attributes").clone());
    if let Some(sasl) = more.as_object_mut().and_then(|more| more.remove("sasl_config")) {
        more["brokers"][0]["sasl_config"] = sasl;
    }
    logged.put_route(&more);
    for number in 0..COUNT {
        assert_eq!(logged.gateway.connect().exchange(get(&format!("/?n={number}"))).status, 200);
    }
    let accepted = || logged.gateway.metric("tollgate_log_entries_accepted_total");
    wait_for("every entry is accepted", || (accepted() == COUNT as u64).then_some(()));
    (logged, kafka)
}

fn drain(logged: &Logged, timeout: u32) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["spool", "drain", "--timeout", &timeout.to_string(), "--config"]).arg(logged.gateway.config());
    let Output { status, stdout, stderr } =
        command.current_dir(logged.gateway.place()).output().expect("cargo built it");
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (status.code(), said)
}

fn assert_once(logged: &Logged) {
    let found = entries(&logged.kafka.wait_records(&logged.topic, COUNT));
    let distinct: BTreeSet<&str> = found.iter().filter_map(|entry| entry["n"].as_str()).collect();
    assert_eq!((found.len(), distinct.len()), (COUNT, COUNT));
}

#[test]
fn what_a_stopped_gateway_left_is_drained_once_kafka_is_there() {
    let (mut logged, kafka) = loaded(&json!({}));
    logged.stop();
    let (code, said) = drain(&logged, 1);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("{COUNT} entries are left: Kafka did not take them in time")), "{said}");
    kafka.open(&logged.kafka);
    let (code, said) = drain(&logged, 30);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the spool is empty") && !said.contains("listening"), "{said}");
    assert_once(&logged);
    let (code, said) = drain(&logged, 30);
    assert_eq!(code, Some(0), "nothing is left to do: {said}");
    assert_once(&logged);
}

#[test]
fn what_a_killed_gateway_left_in_its_ring_is_drained_too() {
    let (mut logged, kafka) = loaded(&json!({"batch_max_size": 1_000, "inactive_timeout": 60}));
    logged.gateway.crash();
    kafka.open(&logged.kafka);
    let (code, said) = drain(&logged, 30);
    assert_eq!(code, Some(0), "{said}");
    let arrays = entries(&logged.kafka.records(&logged.topic));
    let found: Vec<&Value> = arrays.iter().filter_map(Value::as_array).flatten().collect();
    let distinct: BTreeSet<&str> = found.iter().filter_map(|entry| entry["n"].as_str()).collect();
    assert_eq!((found.len(), distinct.len()), (COUNT, COUNT), "{said}");
    assert!(!logged.gateway.place().join("ring").exists(), "nothing is left");
}

#[test]
fn what_no_route_names_any_more_is_drained_as_it_was_configured() {
    let (mut logged, kafka) = loaded(&json!({"compression": "lz4"}));
    logged.gateway.admin().delete("routes/r1");
    logged.stop();
    kafka.open(&logged.kafka);
    let (code, said) = drain(&logged, 30);
    assert_eq!(code, Some(0), "{said}");
    assert_once(&logged);
}

#[test]
fn nothing_is_drained_beside_a_gateway_that_runs() {
    let (logged, _kafka) = loaded(&json!({}));
    let (code, said) = drain(&logged, 1);
    assert_eq!(code, Some(2), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("tollgate: ")).collect();
    assert!(matches!(lines[..], [line] if line.contains("another") && line.contains("data_dir")), "{said}");
}

#[test]
fn what_needs_credentials_that_nobody_has_is_left_and_said_so() {
    let sasl = json!({"mechanism": "PLAIN", "user": "u", "password": "p"});
    let (mut logged, _kafka) = loaded(&json!({"sasl_config": sasl}));
    logged.gateway.admin().delete("routes/r1");
    logged.stop();
    let (code, said) = drain(&logged, 1);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("{COUNT} entries are left: it needs credentials")), "{said}");
}

#[test]
fn without_a_spool_there_is_nothing_to_drain() {
    let logged = Logged::without_route(
        &Setup::with(json!({"tollgate": {"spool": {"path": "none"}}})),
        Upstream::saying("hello"),
    );
    let (code, said) = drain(&logged, 1);
    assert_eq!((code, said.contains("there is no spool")), (Some(2), true), "{said}");
}
