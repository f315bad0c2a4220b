//! A sink: one way into one cluster, what is known of the cluster, and how it is doing.

use std::sync::Arc;

use super::figures::SinkStats;
use super::metadata::{Brokers, Schedule, Topic};
use super::options::{Acks, Mode, SinkSpec};
use super::sasl::Salted;
use super::security::Credentials;
use crate::base::Mono;
use crate::base::hash::fnv1a;
use crate::base::limits::IN_FLIGHT_BATCHES;

/// What is wrong with a sink, as far as it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No broker can be connected to.
    Unreachable,
    /// What answers is not a Kafka, or too old a one.
    NotKafka,
    /// Its TLS is none that we take, or that takes us.
    Tls,
    /// It does not take our credentials.
    Denied,
}

/// One sink.
#[derive(Debug)]
pub struct Sink {
    /// What it is.
    pub spec: SinkSpec,
    /// Lanes that use it.
    pub lanes: u32,
    /// Slots that these hold.
    pub slots: u32,
    /// Brokers and bootstrap addresses.
    pub brokers: Brokers,
    /// Topics of its lanes.
    pub topics: Vec<Topic>,
    /// [`cluster_hash`] of the cluster's id; 0: not told.
    pub cluster: u64,
    /// When Metadata is asked for.
    pub metadata: Schedule,
    /// True once the cluster refused to give producer ids.
    pub idempotence_denied: bool,
    /// Its name in metrics.
    pub label: Arc<str>,
    /// Its numbers.
    pub stats: SinkStats,
    /// What is wrong with it, until it is well again.
    pub trouble: Option<Trouble>,
    /// True once that was said.
    pub trouble_said: bool,
    /// No line about trouble before.
    pub say_trouble_from: Mono,
    /// Keys of nodes that do not take us while others do, as far as it was said.
    pub refused_by: Vec<u32>,
    /// What the broker that named the others was told; they are told the same.
    pub learnt_sasl: Option<Credentials>,
    /// Passwords that were salted for a connection before.
    pub salted: Vec<Salted>,
}

impl Sink {
    /// A sink that knows nothing yet.
    pub fn new(spec: SinkSpec) -> Self {
        let brokers = Brokers::new(&spec.bootstrap);
        Self {
            spec,
            lanes: 0,
            slots: 0,
            brokers,
            topics: Vec::new(),
            cluster: 0,
            metadata: Schedule::default(),
            idempotence_denied: false,
            label: Arc::default(),
            stats: SinkStats::default(),
            trouble: None,
            trouble_said: false,
            say_trouble_from: Mono::default(),
            refused_by: Vec::new(),
            learnt_sasl: None,
            salted: Vec::new(),
        }
    }

    /// Batches of one partition that may be in flight.
    pub const fn window(&self) -> u32 {
        match self.spec.mode {
            Mode::Async => IN_FLIGHT_BATCHES as u32,
            Mode::Sync | Mode::Held => 1,
        }
    }

    /// True if batches carry a producer's identity.
    pub fn is_idempotent(&self) -> bool {
        self.spec.acks == Acks::All && !self.idempotence_denied
    }

    /// The topic's index; a new one if it is not known.
    pub fn topic(&mut self, name: &str) -> usize {
        if let Some(index) = self.topics.iter().position(|topic| topic.name == name) {
            return index;
        }
        self.topics.push(Topic::new(name));
        self.topics.len() - 1
    }

    /// The bootstrap list, for a line of the log.
    pub fn name(&self) -> String {
        self.spec.broker_list()
    }
}

/// A cluster's id as a number that stays (FNV-1a, 64 bits, folded to 32): whether a batch
/// was sent to this cluster shows by it. Never 0.
pub fn cluster_hash(id: &str) -> u64 {
    let hash = fnv1a(id.as_bytes());
    (hash >> 32 ^ hash & 0xffff_ffff).max(1)
}

#[cfg(test)]
mod tests {
    use super::cluster_hash;

    #[test]
    fn the_hash_is_fnv_1a_so_that_it_stays_from_version_to_version() {
        assert_eq!(cluster_hash("a"), 0xaf63_dc4c ^ 0x8601_ec8c);
        assert_eq!(cluster_hash("foobar"), 0x8594_4171 ^ 0xf739_67e8);
    }
}
