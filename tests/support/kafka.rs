//! The Kafka of the log tests: the one that `TOLLGATE_TEST_KAFKA=HOST:PORT` names, so that the same tests run against real ones,
//! and otherwise a dev broker of their own.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use devbroker::{Broker, Options};
use serde_json::{Value, json};
use tollgate::control::records::{From, KafkaReader, Record};

use super::{PATIENCE, wait_until};

/// Names the broker to test against.
const ADDRESS: &str = "TOLLGATE_TEST_KAFKA";
/// How long records may take. A real Kafka makes a topic in seconds when the machine is busy.
const RECORDS_PATIENCE: Duration = Duration::from_secs(40);

static TOPICS: AtomicU32 = AtomicU32::new(0);

/// A Kafka.
pub struct Kafka {
    host: String,
    port: u16,
    _dev: Option<Broker>,
}

impl Kafka {
    /// The named one, or a dev broker.
    pub fn start() -> Self {
        match std::env::var(ADDRESS) {
            Ok(address) => {
                let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
                Self { host: host.to_owned(), port: port.parse().expect("HOST:PORT"), _dev: None }
            }
            Err(_) => {
                let broker = Broker::start(Options { partitions: 2, ..Options::default() }).expect("a free port");
                Self { host: broker.addr().ip().to_string(), port: broker.addr().port(), _dev: Some(broker) }
            }
        }
    }

    /// `brokers` of the plugin.
    pub fn brokers(&self) -> Value {
        json!([{"host": self.host, "port": self.port}])
    }

    /// `broker_list` of the plugin.
    pub fn broker_list(&self) -> Value {
        json!({self.host.clone(): self.port})
    }

    /// The records of a topic now; none if it does not exist.
    pub fn records(&self, topic: &str) -> Vec<Record> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let work = async {
            let mut found = Vec::new();
            let mut reader = KafkaReader::connect(&[(&self.host, self.port)]).await?;
            if !reader.topics().await?.iter().any(|known| known.name == topic) {
                return Ok(found);
            }
            let each = &mut |record| {
                found.push(record);
                ControlFlow::Continue(())
            };
            reader.tail(topic, From::Beginning, false, each).await?;
            Ok(found)
        };
        let bounded = async { tokio::time::timeout(PATIENCE, work).await };
        let outcome: Result<Vec<Record>, String> = runtime.block_on(bounded).expect("reading takes seconds at most");
        outcome.unwrap_or_else(|text| panic!("reading {topic} back: {text}"))
    }

    /// Waits until a topic holds at least `count` records.
    pub fn wait_records(&self, topic: &str, count: usize) -> Vec<Record> {
        let mut found = Vec::new();
        wait_until(RECORDS_PATIENCE, || {
            found = self.records(topic);
            (found.len() >= count).then_some(())
        });
        assert!(found.len() >= count, "{topic} holds {} records, not {count}", found.len());
        found
    }
}

/// A topic that does not exist anywhere yet.
pub fn new_topic() -> String {
    let number = TOPICS.fetch_add(1, Ordering::Relaxed);
    let now_ms = UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
    format!("test-{now_ms}-{}-{number}", std::process::id())
}

/// The records' values as JSON.
pub fn entries(records: &[Record]) -> Vec<Value> {
    let parse = |record: &Record| {
        let value = record.value.as_deref().expect("an entry has a value");
        serde_json::from_slice(value).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(value)))
    };
    records.iter().map(parse).collect()
}
