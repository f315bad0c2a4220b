//! A panic while a connection is served: it ends that connection and takes nothing of the core along. The panics are planted; only a
//! debug build has a place for them (`worker::planted`).
#![cfg(debug_assertions)]

use serde_json::json;

use super::Logged;
use crate::support::client::get;
use crate::support::kafka::entries;
use crate::support::upstream::{ok, raw};
use crate::support::{Setup, Upstream, wait_for};

/// Bytes of bodies that the core may keep for logging: less than what the panics would take along.
const CAPTURE_BYTES: usize = 64 * 1024;
/// Bytes of one body.
const BODY_BYTES: usize = 8 * 1024;
/// Times that each panic happens.
const ROUNDS: usize = 20;

fn logged() -> Logged {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/in-response" => raw("HTTP/1.1 200 /panic-in-response\r\nContent-Length: 2\r\n\r\nok"),
        _ => ok("hello"),
    });
    let config = json!({"tollgate": {"body_capture_bytes": CAPTURE_BYTES, "ring": {"bytes": "4m"}}});
    let environment = vec![("TOLLGATE_TEST_PANICS", "1")];
    let setup = Setup { metrics: true, config, environment, ..Setup::default() };
    Logged::on(&setup, upstream, &json!({"include_req_body": true}))
}

fn post(path: &str) -> String {
    let body = "b".repeat(BODY_BYTES);
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {BODY_BYTES}\r\n\r\n{body}")
}

#[test]
fn a_panic_ends_its_connection_is_counted_and_said_and_the_core_and_its_records_go_on() {
    let logged = logged();
    let gateway = &logged.gateway;
    let mut bystander = gateway.connect();
    assert_eq!(bystander.exchange(get("/before")).status, 200);
    for round in 0..ROUNDS {
        for path in ["/panic-in-request", "/in-response", "/panic-in-record"] {
            let rest = gateway.connect().send(post(path)).rest();
            // A response whose upload ended late went out before the record was begun; the connection ends all the same.
            assert!(rest.is_empty() || path == "/panic-in-record", "{path}: {}", String::from_utf8_lossy(&rest));
            // Others of the core, whole bodies in their records.
            assert_eq!(bystander.exchange(post(&format!("/{round}{path}"))).status, 200);
        }
    }
    let panics = 3 * ROUNDS;
    let served = 1 + 3 * ROUNDS;
    assert_eq!(gateway.metric("tollgate_panics_total"), panics as u64);
    assert_eq!(gateway.log().matches("a panic while serving 127.0.0.1:").count(), panics);
    wait_for("every connection but one is closed", || (gateway.metric("tollgate_connections_open") == 1).then_some(()));
    wait_for("what was accepted is delivered", || {
        let of_log = ["accepted_total", "delivered_total", "held"].map(|name| format!("tollgate_log_entries_{name}"));
        let [accepted, delivered, held] = gateway.metrics(of_log.each_ref().map(String::as_str));
        (accepted == served as u64 && delivered == accepted && held == 0).then_some(())
    });
    // The lane may keep one empty batch; no slot of the four is gone.
    assert!(gateway.metric("tollgate_ring_slots_used") <= 1);
    assert_eq!(gateway.metric("tollgate_log_bodies_cut_total"), 0, "the budget for bodies is whole again");
    let (kafka, topic) = logged.finish_at();
    let entries = entries(&kafka.records(&topic));
    assert_eq!(entries.len(), served, "one for each request that was served, none for the others");
    let whole = |entry: &&serde_json::Value| entry["request"]["body"].as_str().is_some_and(|b| b.len() == BODY_BYTES);
    assert_eq!(entries.iter().filter(whole).count(), served - 1);
}

#[test]
fn without_the_environment_nothing_panics() {
    let logged = Logged::with(&json!({}));
    for path in ["/panic-in-request", "/panic-in-record"] {
        assert_eq!(logged.gateway.get(path).status, 200);
    }
}
