//! Every metric of the data path by name, and a core's cells for them: one writer each, read by the metrics endpoint.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $kind:ident $(, $label:literal)?;)+) => {
        /// One number per core.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[doc = $doc])+ $variant,)+ }

        /// Every counter: itself, its Prometheus name, its kind, its help line, and the label that tells it from others of that
        /// name, which stand beside it (empty: it is alone).
        pub const COUNTERS: &[(Counter, &str, CounterKind, &str, &str)] =
            &[$((Counter::$variant, $name, CounterKind::$kind, concat!($($doc),+), concat!($($label)?)),)+];
    };
}

/// Prometheus' metric type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

counters! {
    /// Connections accepted from clients.
    Accepted = "tollgate_connections_accepted_total", Counter;
    /// Of these, connections handed to a core that had fewer.
    HandedOver = "tollgate_connections_handed_over_total", Counter;
    /// Of the connections accepted, those closed at once because a limit was reached.
    RefusedCore = "tollgate_connections_refused_total", Counter, "reason=\"max_connections\"";
    /// Of the connections accepted, those closed at once because a limit was reached.
    RefusedAddress = "tollgate_connections_refused_total", Counter, "reason=\"max_connections_per_address\"";
    /// Accepts that failed, for want of descriptors or memory; each is tried again.
    AcceptFailures = "tollgate_accept_failures_total", Counter;
    /// Client connections open now.
    Open = "tollgate_connections_open", Gauge;
    /// Requests whose head was read.
    Requests = "tollgate_requests_total", Counter;
    /// Requests refused because their bytes break HTTP.
    BadRequests = "tollgate_bad_requests_total", Counter;
    /// Connections made to upstreams.
    UpstreamConnects = "tollgate_upstream_connects_total", Counter;
    /// Idle upstream connections kept for reuse now.
    UpstreamIdle = "tollgate_upstream_idle", Gauge;
    /// Requests that had nothing of the key that `chash` asks for; `$remote_addr` took its place.
    HashKeysMissing = "tollgate_upstream_hash_keys_missing_total", Counter;
    /// Exchanges answered with a 5xx made by the gateway.
    UpstreamFaults = "tollgate_upstream_faults_total", Counter;
    /// Panics caught at a connection's edge (there should be none).
    Panics = "tollgate_panics_total", Counter;
    /// Log entries accepted into the ring.
    EntriesAccepted = "tollgate_log_entries_accepted_total", Counter;
    /// Of the accepted log entries, those that earlier runs had left.
    EntriesRecovered = "tollgate_log_entries_recovered_total", Counter;
    /// Log entries that Kafka acknowledged.
    EntriesDelivered = "tollgate_log_entries_delivered_total", Counter;
    /// Log entries held now, in the ring or in the spool: open, sealed, in flight or on disk.
    EntriesHeld = "tollgate_log_entries_held", Gauge;
    /// Of the log entries held, those that lie in the spool and not in the ring.
    EntriesSpooled = "tollgate_log_entries_spooled", Gauge;
    /// Log entries that may or may not be in Kafka: their outcome could not be learnt.
    EntriesInDoubt = "tollgate_log_entries_in_doubt_total", Counter;
    /// Log entries lost after they were accepted.
    LostRefused = "tollgate_log_entries_lost_total", Counter, "reason=\"refused\"";
    /// Log entries lost after they were accepted.
    LostTooLarge = "tollgate_log_entries_lost_total", Counter, "reason=\"too_large\"";
    /// Log entries lost after they were accepted.
    LostRetries = "tollgate_log_entries_lost_total", Counter, "reason=\"retries\"";
    /// Log entries lost after they were accepted.
    LostShutdown = "tollgate_log_entries_lost_total", Counter, "reason=\"shutdown\"";
    /// Log entries lost after they were accepted.
    LostSpool = "tollgate_log_entries_lost_total", Counter, "reason=\"spool\"";
    /// Log entries refused because the ring was full or `max_pending_entries` was reached.
    EntriesDropped = "tollgate_log_entries_dropped_total", Counter;
    /// Log entries refused because they are larger than a Kafka message may be.
    EntriesTooLarge = "tollgate_log_entries_too_large_total", Counter;
    /// Requests that waited because the ring was full (`overflow: backpressure`).
    RequestsHeldBack = "tollgate_requests_held_back_total", Counter;
    /// Bodies cut at the per-core capture budget.
    BodiesCut = "tollgate_log_bodies_cut_total", Counter;
    /// Held responses (`ack_before_response`) that wait now.
    HeldResponses = "tollgate_held_responses", Gauge;
    /// Held responses released because Kafka had acknowledged their records.
    HeldAcknowledged = "tollgate_held_responses_acknowledged_total", Counter;
    /// Held responses released though Kafka had not acknowledged their records (`on_log_failure: pass`).
    HeldPassed = "tollgate_held_responses_passed_total", Counter;
    /// Held responses that became a 503 or a cut connection (`on_log_failure: reject`).
    HeldRejected = "tollgate_held_responses_rejected_total", Counter;
    /// Held responses whose client left before they were released.
    HeldAbandoned = "tollgate_held_responses_abandoned_total", Counter;
    /// Ring slots in use now.
    RingSlotsUsed = "tollgate_ring_slots_used", Gauge;
    /// Ring slots in all.
    RingSlots = "tollgate_ring_slots", Gauge;
    /// Bytes of the spool's files.
    SpoolBytes = "tollgate_spool_bytes", Gauge;
    /// Batches that wait in the spool.
    SpoolBatches = "tollgate_spool_batches", Gauge;
    /// Log entries in them. A batch that was read back for sending counts until it is resolved.
    SpoolEntries = "tollgate_spool_entries", Gauge;
    /// Age of the oldest of them in seconds; 0 if none waits.
    SpoolOldestSeconds = "tollgate_spool_oldest_seconds", Gauge;
    /// 1 while the spool takes nothing: its limit is reached, or the disk refuses.
    SpoolFull = "tollgate_spool_full", Gauge;
    /// Batches sent to Kafka, retries included.
    BatchesSent = "tollgate_kafka_batches_sent_total", Counter;
    /// Batches sent again.
    BatchesRetried = "tollgate_kafka_batches_retried_total", Counter;
    /// Batches sent to Kafka and not answered yet.
    BatchesInFlight = "tollgate_kafka_batches_in_flight", Gauge;
    /// Batches written to the spool.
    BatchesSpilled = "tollgate_spool_batches_written_total", Counter;
    /// Batches read back from the spool.
    BatchesLoaded = "tollgate_spool_batches_read_total", Counter;
    /// Bytes that this core's files in the spool may have; 0: there is no spool.
    SpoolLimit = "tollgate_spool_limit_bytes", Gauge;
    /// Bytes of batches that Kafka acknowledged.
    BytesDelivered = "tollgate_kafka_bytes_delivered_total", Counter;
    /// Connections to brokers open now.
    BrokerConnections = "tollgate_kafka_connections", Gauge;
    /// The configuration revision that this core serves.
    Revision = "tollgate_config_revision", Gauge;
}

/// Nanoseconds for which a poll may have its core to be counted in each class; one more class is above them. None should be above 500 µs.
pub const POLL_BOUNDS_NS: [u64; 9] =
    [50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 50_000_000];

/// How long tasks had their core at a time, in classes.
#[derive(Debug)]
pub struct PollTimes {
    counts: [AtomicU64; POLL_BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
}

impl PollTimes {
    /// Counts one, of `ns` nanoseconds. The core is the only writer.
    #[inline(always)]
    pub fn note(&self, ns: u64) {
        let class = if ns <= POLL_BOUNDS_NS[0] { 0 } else { class_of(ns) };
        for (cell, by) in [(&self.counts[class], 1), (&self.sum_ns, ns)] {
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
        }
    }

    /// How many there were in each class, and the nanoseconds of all together.
    pub fn read(&self) -> ([u64; POLL_BOUNDS_NS.len() + 1], u64) {
        (std::array::from_fn(|class| self.counts[class].load(Ordering::Relaxed)), self.sum_ns.load(Ordering::Relaxed))
    }
}

#[cold]
fn class_of(ns: u64) -> usize {
    POLL_BOUNDS_NS.partition_point(|bound| *bound < ns)
}

/// One core's cells. Only the core writes; anybody may read.
#[derive(Debug)]
pub struct CoreCounters {
    cells: [AtomicU64; COUNTERS.len()],
    /// How long tasks had the core at a time.
    pub polls: PollTimes,
}

impl Default for CoreCounters {
    fn default() -> Self {
        Self {
            cells: [const { AtomicU64::new(0) }; COUNTERS.len()],
            polls: PollTimes {
                counts: [const { AtomicU64::new(0) }; POLL_BOUNDS_NS.len() + 1],
                sum_ns: AtomicU64::new(0),
            },
        }
    }
}

impl CoreCounters {
    /// Adds `by`. A plain load and store: the core is the only writer.
    pub fn add(&self, counter: Counter, by: u64) {
        let cell = &self.cells[counter as usize];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    /// Takes `by` from a gauge.
    pub fn sub(&self, counter: Counter, by: u64) {
        self.add(counter, by.wrapping_neg());
    }

    /// Sets a gauge.
    pub fn set(&self, counter: Counter, to: u64) {
        self.cells[counter as usize].store(to, Ordering::Relaxed);
    }

    /// Reads one number.
    pub fn value(&self, counter: Counter) -> u64 {
        self.cells[counter as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_own_cell_and_name() {
        for (index, (counter, name, .., label)) in COUNTERS.iter().enumerate() {
            assert_eq!(*counter as usize, index);
            let same = COUNTERS.iter().filter(|(_, other, .., of_other)| (other, of_other) == (name, label));
            assert_eq!(same.count(), 1, "{name} {label}");
        }
    }

    #[test]
    fn a_poll_is_counted_in_the_first_class_that_it_fits() {
        let core = CoreCounters::default();
        let given = [0, 50_000, 50_001, 500_000, 500_001, 50_000_000, 50_000_001, u64::MAX >> 1];
        given.iter().for_each(|ns| core.polls.note(*ns));
        let (counts, sum_ns) = core.polls.read();
        assert_eq!(counts, [2, 1, 0, 1, 1, 0, 0, 0, 1, 2]);
        assert_eq!(sum_ns, given.iter().sum::<u64>());
    }

    #[test]
    fn a_gauge_comes_back_to_zero() {
        let core = CoreCounters::default();
        core.add(Counter::Open, 2);
        core.sub(Counter::Open, 2);
        assert_eq!(core.value(Counter::Open), 0);
    }
}
