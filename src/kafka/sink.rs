//! A sink's state: its brokers, its topics, when it asks for metadata, what it said last.

use super::metadata::{Brokers, Schedule, Topic};
use super::options::{Acks, SinkSpec};

/// One way into a cluster.
#[derive(Debug)]
pub struct Sink {
    /// What it was made of.
    pub spec: SinkSpec,
    /// Whom it knows.
    pub brokers: Brokers,
    /// What its lanes write to. Never shrinks: lanes hold positions.
    pub topics: Vec<Topic>,
    /// When metadata is asked for.
    pub schedule: Schedule,
    /// Slots that its lanes hold.
    pub slots: usize,
    /// Lanes that were ever made.
    pub lanes: usize,
    /// Something bad was said and not yet taken back.
    pub is_bad: bool,
    /// The brokers refuse to give producer ids; said once.
    pub is_plain: bool,
}

impl Sink {
    /// A sink that has not talked to anybody yet.
    pub fn new(spec: SinkSpec, brokers: Brokers) -> Self {
        let schedule = Schedule::default();
        Self { spec, brokers, topics: Vec::new(), schedule, slots: 0, lanes: 0, is_bad: false, is_plain: false }
    }

    /// The position of a topic, made if need be.
    pub fn topic(&mut self, name: &str) -> usize {
        self.lanes += 1;
        if let Some(at) = self.topics.iter().position(|topic| topic.name == name) {
            return at;
        }
        self.topics.push(Topic::new(name));
        self.schedule.wanted = true;
        self.topics.len() - 1
    }

    /// True if batches carry producer id and sequence, so that a batch sent twice is stored once (KIP-98).
    pub fn is_idempotent(&self) -> bool {
        self.spec.acks == Acks::All && !self.is_plain
    }

    /// Its brokers, for people.
    pub fn name(&self) -> String {
        let names: Vec<String> = self.spec.bootstrap.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        names.join(", ")
    }
}
