//! A Kafka that is not there, or is none: requests do not notice, and what is lost is said.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::get;
use crate::support::kafka::new_topic;
use crate::support::upstream::Refusing;
use crate::support::{Gateway, Setup, Upstream};

/// A gateway that logs to `port`, where no Kafka is, and gives up a second after SIGTERM.
fn logging_to(port: u16, upstream: &Upstream, producer_type: &str, has_spool: bool) -> Gateway {
    let mut tollgate = json!({"shutdown_timeout_ms": 1000});
    if !has_spool {
        tollgate["spool"] = json!({"path": "none"});
    }
    let gateway = Gateway::start_with(&Setup::with(json!({ "tollgate": tollgate })));
    let plugin = json!({
        "brokers": [{"host": "127.0.0.1", "port": port}],
        "kafka_topic": new_topic(),
        "batch_max_size": 1,
        "producer_type": producer_type,
    });
    let object = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}});
    gateway.admin().put("routes/r1", &json!({"uri": "/*", "upstream": object, "plugins": {"kafka-logger": plugin}}));
    gateway
}

/// Requests are answered at once, and the end says how many records are kept for the next start; without a place for them, how many
/// are lost.
fn requests_do_not_wait(port: u16) {
    let upstream = Upstream::saying("hello");
    for producer_type in ["async", "sync"] {
        let is_kept = producer_type == "async";
        let mut gateway = logging_to(port, &upstream, producer_type, is_kept);
        let mut client = gateway.connect();
        let begin = Instant::now();
        for _ in 0..50 {
            assert_eq!(client.exchange(get("/")).status, 200);
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "{producer_type}: fifty requests took {:?}", begin.elapsed());
        gateway.terminate();
        let (code, said) =
            if is_kept { (0, "50 log entries are kept") } else { (1, "50 log entries did not reach Kafka") };
        assert_eq!(gateway.wait_end().code(), Some(code), "{producer_type}: losing records is no success");
        assert!(gateway.log().contains(said), "{producer_type}: the count is said:\n{}", gateway.log());
    }
}

#[test]
fn requests_do_not_wait_for_a_kafka_that_is_down() {
    let refusing = Refusing::new();
    let port = refusing.node().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    requests_do_not_wait(port);
}

#[test]
fn requests_do_not_wait_for_a_kafka_that_hangs() {
    // It takes connections and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    requests_do_not_wait(listener.local_addr().expect("bound").port());
}

#[test]
fn requests_do_not_wait_for_a_broker_that_is_no_kafka() {
    let upstream = Upstream::saying("this is HTTP");
    requests_do_not_wait(upstream.address().port());
}
