//! Records outlive the process: what a gateway held that was killed or stopped while Kafka was away is delivered by the next one,
//! each once, whatever its number of cores.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::{LateKafka, entries};
use crate::support::{Gateway, Setup, Upstream, wait_for};

const ACCEPTED: &str = "tollgate_log_entries_accepted_total";
const DROPPED: &str = "tollgate_log_entries_dropped_total";
const SPOOLED: &str = "tollgate_spool_entries";

fn setup(workers: u32, tollgate: &Value) -> Setup {
    Setup { metrics: true, workers, ..Setup::with(json!({"tollgate": tollgate})) }
}

/// A gateway whose Kafka cannot be reached yet.
fn alone(setup: &Setup) -> (Logged, LateKafka) {
    let (logged, kafka) = (Logged::without_route(setup, Upstream::saying("hello")), LateKafka::new());
    logged.put_route(&json!({"brokers": kafka.brokers(), "log_format": {"n": "$arg_n", "pad": "$arg_pad"}}));
    (logged, kafka)
}

/// Sends requests over so many connections; returns how many of their entries were accepted.
fn send(gateway: &Gateway, count: u64, connections: usize, pad: usize) -> u64 {
    let before: u64 = gateway.metrics([ACCEPTED, DROPPED]).iter().sum();
    let (mut clients, pad): (Vec<_>, _) = ((0..connections).map(|_| gateway.connect()).collect(), "x".repeat(pad));
    for number in 0..count {
        let client = &mut clients[number as usize % connections];
        assert_eq!(client.exchange(get(&format!("/?n={number}&pad={pad}"))).status, 200);
    }
    let counted = || gateway.metrics([ACCEPTED, DROPPED]).iter().sum::<u64>() - before == count;
    wait_for("every entry is counted", || counted().then_some(()));
    gateway.metric(ACCEPTED)
}

/// Waits until the topic holds so many entries, and sees that none is there twice.
fn assert_once(logged: &Logged, count: u64) {
    let found = entries(&logged.kafka.wait_records(&logged.topic, count as usize));
    let distinct: BTreeSet<&str> = found.iter().filter_map(|entry| entry["n"].as_str()).collect();
    assert_eq!((found.len() as u64, distinct.len() as u64), (count, count), "{}", logged.gateway.log());
}

fn spool(gateway: &Gateway, word: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["spool", word, "--config"]).arg(gateway.config()).output().expect("cargo built it")
}

#[test]
fn what_a_killed_gateway_held_in_ring_and_spool_is_delivered_by_the_next_one() {
    let tollgate = json!({"ring": {"bytes": "1m", "slot_bytes": "64k"}});
    let (mut logged, kafka) = alone(&setup(2, &tollgate));
    let accepted = send(&logged.gateway, 4_000, 8, 1_000);
    assert!(accepted > 1_000, "{accepted}");
    wait_for("some of it is in the spool", || (logged.gateway.metric(SPOOLED) > 0).then_some(()));
    logged.gateway.crash();
    kafka.open(&logged.kafka);
    logged.gateway.restart_with(&setup(1, &tollgate));
    assert_once(&logged, accepted);
    wait_for("the spool is empty", || (logged.gateway.metric("tollgate_spool_bytes") == 0).then_some(()));
    // Killed again: nothing is left that could be delivered a second time.
    logged.gateway.crash_and_restart();
    logged.stop();
    assert_once(&logged, accepted);
}

#[test]
fn a_gateway_that_is_stopped_while_kafka_is_away_leaves_everything_in_the_spool() {
    let tollgate = json!({"shutdown_timeout_ms": 1_000});
    let (mut logged, kafka) = alone(&setup(2, &tollgate));
    let accepted = send(&logged.gateway, 300, 6, 10);
    assert_eq!(accepted, 300);
    logged.stop();
    assert!(!logged.gateway.place().join("ring").exists(), "nothing is left in the ring");
    let listed = String::from_utf8(spool(&logged.gateway, "ls").stdout).expect("text");
    assert!(listed.contains("with 300 entries wait") && listed.contains(&logged.topic), "{listed}");
    let verified = spool(&logged.gateway, "verify");
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    kafka.open(&logged.kafka);
    logged.gateway.restart_with(&setup(3, &tollgate));
    assert_once(&logged, accepted);
    logged.stop();
    assert_once(&logged, accepted);
}
