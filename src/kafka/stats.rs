//! What became of every entry, in numbers that only grow.

/// Why an accepted entry did not reach Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// Kafka refused its batch for good.
    Refused,
    /// Its message is larger than the topic takes.
    TooLarge,
    /// The retries that the operator allowed were used up, and every one was refused.
    Retries,
    /// The shutdown's deadline came first.
    Shutdown,
    /// Its frame in the spool cannot be read any more.
    Spool,
}

/// Entries lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// See [`LostReason::Refused`].
    pub refused: u64,
    /// See [`LostReason::TooLarge`].
    pub too_large: u64,
    /// See [`LostReason::Retries`].
    pub retries: u64,
    /// See [`LostReason::Shutdown`].
    pub shutdown: u64,
    /// See [`LostReason::Spool`].
    pub spool: u64,
}

impl Lost {
    /// Each reason as a metric's label names it, with its number.
    pub const fn by_reason(&self) -> [(&'static str, u64); 5] {
        [
            ("refused", self.refused),
            ("too_large", self.too_large),
            ("retries", self.retries),
            ("shutdown", self.shutdown),
            ("spool", self.spool),
        ]
    }

    /// All of them.
    pub const fn total(&self) -> u64 {
        self.refused + self.too_large + self.retries + self.shutdown + self.spool
    }

    /// Adds another's numbers to these.
    pub const fn merge(&mut self, other: &Self) {
        self.refused += other.refused;
        self.too_large += other.too_large;
        self.retries += other.retries;
        self.shutdown += other.shutdown;
        self.spool += other.spool;
    }

    /// Counts `entries` more.
    pub const fn add(&mut self, reason: LostReason, entries: u64) {
        match reason {
            LostReason::Refused => self.refused += entries,
            LostReason::TooLarge => self.too_large += entries,
            LostReason::Retries => self.retries += entries,
            LostReason::Shutdown => self.shutdown += entries,
            LostReason::Spool => self.spool += entries,
        }
    }
}

/// One shipper's numbers. Always: `accepted == delivered + held + in_doubt + lost.total()`, in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries taken into the ring, and those of earlier runs that were found.
    pub accepted: u64,
    /// Of these, entries of earlier runs.
    pub recovered: u64,
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
    /// Batches written to the spool.
    pub batches_spilled: u64,
    /// Batches read back from the spool.
    pub batches_loaded: u64,
    /// Batches sent, again or for the first time.
    pub batches_sent: u64,
    /// Batches sent again.
    pub batches_retried: u64,
    /// Bytes of batches that Kafka acknowledged.
    pub bytes_delivered: u64,
    /// Gauge: slots that hold something now.
    pub slots_used: u64,
    /// Slots in all.
    pub slots: u64,
    /// Gauge: connections to brokers that stand or are being made now.
    pub connections: u64,
}
