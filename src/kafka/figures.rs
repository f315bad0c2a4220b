//! One sink's numbers of one core, as values that may cross to another thread; its name for a metric's label; and a histogram with
//! fixed bounds. Who sums and publishes them is the shell's business.

use std::fmt::Write;
use std::sync::Arc;

use super::options::{Acks, Mode, SinkSpec};
use super::stats::Lost;

/// Upper bounds of an acknowledgement's latency, in milliseconds; behind the last one is infinity.
pub const LATENCY_BOUNDS_MS: [u64; 15] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];
/// Sinks that have figures of their own; those that come later share one.
pub const SINKS_SHOWN: usize = 64;
/// The label of those that share one.
pub const OTHER_SINKS: &str = "other";
/// Bytes of the broker list in a label; a longer one is cut.
const LABEL_LIST_BYTES: usize = 120;

/// How long something took, counted by fixed bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Per bound of [`LATENCY_BOUNDS_MS`], not cumulative; the last is what lies behind them.
    pub counts: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// Their sum.
    pub sum_ns: u64,
}

impl Latencies {
    /// Counts one. A latency of exactly a bound belongs to it.
    pub fn add(&mut self, ns: u64) {
        let at = LATENCY_BOUNDS_MS.partition_point(|bound| bound * 1_000_000 < ns);
        self.counts[at] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }
}

/// What a sink counts itself: what happens once per batch or seldom. Entries that are accepted are counted by its lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkStats {
    /// Entries that lanes accepted which are forgotten by now.
    pub accepted_before: u64,
    /// Entries that Kafka acknowledged.
    pub delivered: u64,
    /// Entries that may or may not be in Kafka.
    pub in_doubt: u64,
    /// Entries lost after they were accepted.
    pub lost: Lost,
    /// Entries refused because there was no room.
    pub dropped: u64,
    /// Entries refused because they are larger than a message may be.
    pub too_large: u64,
    /// Gauge: entries in the spool and not in the ring.
    pub spooled: u64,
    /// Gauge: bytes of these batches' frames.
    pub spooled_bytes: u64,
    /// From a batch's first send by this process to its acknowledgement.
    pub latencies: Latencies,
}

/// One sink on one core. Always: `accepted == delivered + held + in_doubt + lost`, in entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkFigures {
    /// See [`label`].
    pub label: Arc<str>,
    /// What it counts itself.
    pub stats: SinkStats,
    /// Entries taken in.
    pub accepted: u64,
    /// Gauge: entries accepted and not resolved, in the ring or in the spool.
    pub held: u64,
    /// Gauge: slots of the ring that its lanes hold.
    pub slots: u64,
    /// Gauge: batches sent and not answered.
    pub in_flight: u64,
    /// When the oldest entry in the spool was made, in milliseconds since 1970.
    pub spooled_since_ms: Option<i64>,
    /// True while no broker of it is of any use.
    pub in_trouble: bool,
}

impl SinkFigures {
    /// Adds another sink's numbers to these.
    pub fn merge(&mut self, other: &Self) {
        let (stats, more) = (&mut self.stats, &other.stats);
        stats.accepted_before += more.accepted_before;
        stats.delivered += more.delivered;
        stats.in_doubt += more.in_doubt;
        stats.lost.merge(&more.lost);
        stats.dropped += more.dropped;
        stats.too_large += more.too_large;
        stats.spooled += more.spooled;
        stats.spooled_bytes += more.spooled_bytes;
        stats.latencies.merge(&more.latencies);
        self.accepted += other.accepted;
        self.held += other.held;
        self.slots += other.slots;
        self.in_flight += other.in_flight;
        self.spooled_since_ms = self.spooled_since_ms.into_iter().chain(other.spooled_since_ms).min();
        self.in_trouble |= other.in_trouble;
    }
}

/// A sink's name for a metric's label: broker list, mode and acks, as in `127.0.0.1:9092;async;all`; with a hash of the rest, where
/// that is not the default. The same on every core and in every run; what is secret is not in it, not even hashed (a weak password
/// could be found from its hash). `taken` are the labels of sinks that this core has: two that differ in a password alone are
/// numbered.
pub fn label(spec: &SinkSpec, taken: &[&str]) -> String {
    let mut label = spec.broker_list();
    let is_cut = label.len() > LABEL_LIST_BYTES;
    let rest = rest(spec, &label);
    if is_cut {
        let end = (0..=LABEL_LIST_BYTES).rev().find(|end| label.is_char_boundary(*end)).unwrap_or_default();
        label.truncate(end);
        label.push_str("...");
    }
    let mode = match spec.mode {
        Mode::Async => "async",
        Mode::Sync => "sync",
        Mode::Held => "held",
    };
    let acks = if spec.acks == Acks::All { "all" } else { "1" };
    let _ = write!(label, ";{mode};{acks}");
    let is_open = spec.security.tls.is_none() && spec.security.sasl.iter().all(Option::is_none);
    let defaults = SinkSpec {
        acks: spec.acks,
        mode: spec.mode,
        security: spec.security.clone(),
        ..SinkSpec::new(spec.bootstrap.clone())
    };
    if is_cut || !is_open || *spec != defaults {
        let _ = write!(label, ";{:08x}", fnv1a(rest.as_bytes()));
    }
    let plain = label.clone();
    for number in 2.. {
        if !taken.contains(&label.as_str()) {
            break;
        }
        label = format!("{plain};{number}");
    }
    label
}

/// Everything that is not secret, as text that stays from version to version.
fn rest(spec: &SinkSpec, list: &str) -> String {
    let user =
        |credentials: &super::security::Credentials| format!("{}/{}", credentials.mechanism.name(), credentials.user);
    let users: Vec<String> = spec.security.sasl.iter().map(|one| one.as_ref().map(user).unwrap_or_default()).collect();
    let (codec, overflow) = (spec.compression as u8, spec.overflow as u8);
    let (timeout, retries, delay) = (spec.timeout_ms, spec.max_retry, spec.retry_delay_ms);
    let tls = spec.security.tls.is_some();
    format!("{list}|{users:?}|{tls}|{codec}|{timeout}|{retries:?}|{delay:?}|{overflow}")
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{Compression, Credentials, Mechanism, Secret, Security};

    fn spec(bootstrap: &[(&str, u16)]) -> SinkSpec {
        SinkSpec::new(bootstrap.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect())
    }

    fn secured(user: &str, password: &str) -> SinkSpec {
        let credentials =
            Credentials { mechanism: Mechanism::Plain, user: user.to_owned(), password: Secret::new(password) };
        SinkSpec { security: Security { sasl: vec![Some(credentials)], tls: None }, ..spec(&[("a", 1)]) }
    }

    #[test]
    fn a_latency_lies_in_the_bucket_whose_bound_it_does_not_exceed() {
        let mut latencies = Latencies::default();
        for (index, bound) in LATENCY_BOUNDS_MS.iter().enumerate() {
            latencies.add(bound * 1_000_000);
            assert_eq!(latencies.counts[index], 1, "{bound} ms is not above {bound} ms");
            latencies.add(bound * 1_000_000 + 1);
            assert_eq!(latencies.counts[index + 1], 1, "more than {bound} ms is");
            latencies = Latencies::default();
        }
        latencies.add(0);
        latencies.add(u64::MAX);
        assert_eq!((latencies.counts[0], latencies.counts[15], latencies.count()), (1, 1, 2));
        assert_eq!(latencies.sum_ns, u64::MAX, "the sum stays where it ends");
    }

    #[test]
    fn a_label_says_where_to_and_how_and_is_never_too_long() {
        let two = spec(&[("10.0.0.1", 9092), ("kafka-2", 9093)]);
        assert_eq!(label(&two, &[]), "10.0.0.1:9092,kafka-2:9093;async;all");
        let nobody = Security { sasl: vec![None, None], tls: None };
        assert_eq!(label(&SinkSpec { security: nobody, ..two.clone() }, &[]), label(&two, &[]));
        let sync = SinkSpec { mode: Mode::Sync, acks: Acks::Leader, ..two.clone() };
        assert_eq!(label(&sync, &[]), "10.0.0.1:9092,kafka-2:9093;sync;1");
        let packed = SinkSpec { compression: Compression::Lz4, ..two.clone() };
        assert_eq!(label(&packed, &[]).len(), label(&two, &[]).len() + 9, "eight digits tell them apart");
        let host = "\u{e9}".repeat(60);
        let long = |last| SinkSpec { mode: Mode::Held, ..spec(&[(&host, 9092), (&host, last)]) };
        let (first, second) = (label(&long(1), &[]), label(&long(2), &[]));
        assert_ne!(first, second, "what was cut off still tells them apart");
        assert!(first.len() < 160 && first.contains("...;held;all;"), "{first}");
    }

    #[test]
    fn users_tell_labels_apart_and_passwords_do_not_show_even_as_a_hash() {
        let (plain, ann, bob) = (spec(&[("a", 1)]), secured("ann", "one"), secured("bob", "one"));
        let labels = [label(&plain, &[]), label(&ann, &[]), label(&bob, &[])];
        assert!(labels[0] != labels[1] && labels[1] != labels[2], "{labels:?}");
        let other = secured("ann", "two");
        assert_eq!(label(&other, &[]), labels[1], "a password makes no difference");
        assert_eq!(
            label(&other, &[&labels[1]]),
            format!("{};2", labels[1]),
            "unless both are there: then it is the second"
        );
    }
}
