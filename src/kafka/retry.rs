//! What an error code of Kafka's means for a batch, and how long to wait before trying again.

use super::options::ShipperOptions;
use crate::base::Mono;

/// `-1`: the broker does not say.
pub const UNKNOWN_SERVER_ERROR: i16 = -1;
/// The partition, or the topic, is not known (yet).
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// An election is going on.
pub const LEADER_NOT_AVAILABLE: i16 = 5;
/// Asked the wrong broker.
pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
/// Larger than `max.message.bytes`.
pub const MESSAGE_TOO_LARGE: i16 = 10;
/// A name Kafka does not take.
pub const INVALID_TOPIC: i16 = 17;
/// The user may not write to, or see, the topic.
pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
/// The user may not use an idempotent producer.
pub const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
/// The listener does not take this SASL mechanism.
pub const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
/// SASL where there is none, or out of turn.
pub const ILLEGAL_SASL_STATE: i16 = 34;
/// The version is not known.
pub const UNSUPPORTED_VERSION: i16 = 35;
/// The sequence does not follow the last one.
pub const OUT_OF_ORDER_SEQUENCE: i16 = 45;
/// The sequence was seen before.
pub const DUPLICATE_SEQUENCE: i16 = 46;
/// The leader's epoch moved on.
pub const FENCED_LEADER_EPOCH: i16 = 74;

/// What follows from one partition's error code in a Produce answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in Kafka.
    Delivered,
    /// Try again.
    Retry {
        /// Whether this attempt can have been appended.
        appended: Appended,
        /// Whether the leader must be looked up.
        metadata: Metadata,
    },
    /// Too large: cut it; never appended.
    TooLarge,
    /// The sequence is not the one the broker expects (45), or the broker knows nothing of this producer (59).
    Sequence,
    /// The producer's epoch is stale (47): a new producer id is needed; never appended.
    Epoch,
    /// Refused for good; never appended.
    Refused,
}

/// Whether an attempt that failed can have been appended all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It was not.
    Never,
    /// It may have been.
    Perhaps,
}

/// Whether metadata must be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// What is known still holds.
    Holds,
    /// It is stale.
    Stale,
}

/// The protocol's table, for Produce (KAFKA.md §2). A code that is not known is taken as "perhaps appended, try again": nothing is
/// lost by it.
pub const fn verdict(error: i16) -> Verdict {
    use {Appended::*, Metadata::*};
    match error {
        0 | DUPLICATE_SEQUENCE => Verdict::Delivered,
        MESSAGE_TOO_LARGE | 18 => Verdict::TooLarge, // 18 RECORD_LIST_TOO_LARGE
        // CORRUPT_MESSAGE, NOT_ENOUGH_REPLICAS, THROTTLING_QUOTA_EXCEEDED
        2 | 19 | 89 => Verdict::Retry { appended: Never, metadata: Holds },
        // unknown topic or partition, no leader, not leader, replica not available, fenced and unknown leader epochs, unknown and
        // inconsistent topic ids; authorization may be granted while the batch waits
        3 | 5 | 6 | 9 | 74 | 75 | 100 | 103 | TOPIC_AUTHORIZATION_FAILED | CLUSTER_AUTHORIZATION_FAILED => {
            Verdict::Retry { appended: Never, metadata: Stale }
        }
        // LISTENER_NOT_FOUND, KAFKA_STORAGE_ERROR, NETWORK_EXCEPTION
        13 | 56 | 72 => Verdict::Retry { appended: Perhaps, metadata: Stale },
        // REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND, UNKNOWN_SERVER_ERROR
        UNKNOWN_SERVER_ERROR | 7 | 20 => Verdict::Retry { appended: Perhaps, metadata: Holds },
        OUT_OF_ORDER_SEQUENCE | 59 => Verdict::Sequence,
        47 | 90 => Verdict::Epoch, // INVALID_PRODUCER_EPOCH, PRODUCER_FENCED
        // INVALID_TOPIC_EXCEPTION, INVALID_REQUIRED_ACKS, INVALID_TIMESTAMP, UNSUPPORTED_VERSION, INVALID_REQUEST,
        // UNSUPPORTED_FOR_MESSAGE_FORMAT, POLICY_VIOLATION, transactional ones, UNSUPPORTED_COMPRESSION_TYPE, INVALID_RECORD
        17 | 21 | 32 | 35 | 42 | 43 | 44 | 48 | 49 | 53 | 55 | 76 | 87 => Verdict::Refused,
        _ => Verdict::Retry { appended: Perhaps, metadata: Stale },
    }
}

/// Kafka's name of an error code; for codes without an entry, a word that says so.
pub const fn error_name(error: i16) -> &'static str {
    match error {
        -1 => "UNKNOWN_SERVER_ERROR",
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        9 => "REPLICA_NOT_AVAILABLE",
        10 => "MESSAGE_TOO_LARGE",
        13 => "NETWORK_EXCEPTION",
        14 => "COORDINATOR_LOAD_IN_PROGRESS",
        15 => "COORDINATOR_NOT_AVAILABLE",
        17 => "INVALID_TOPIC_EXCEPTION",
        18 => "RECORD_LIST_TOO_LARGE",
        19 => "NOT_ENOUGH_REPLICAS",
        20 => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        21 => "INVALID_REQUIRED_ACKS",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        31 => "CLUSTER_AUTHORIZATION_FAILED",
        32 => "INVALID_TIMESTAMP",
        33 => "UNSUPPORTED_SASL_MECHANISM",
        34 => "ILLEGAL_SASL_STATE",
        35 => "UNSUPPORTED_VERSION",
        42 => "INVALID_REQUEST",
        43 => "UNSUPPORTED_FOR_MESSAGE_FORMAT",
        44 => "POLICY_VIOLATION",
        45 => "OUT_OF_ORDER_SEQUENCE_NUMBER",
        46 => "DUPLICATE_SEQUENCE_NUMBER",
        47 => "INVALID_PRODUCER_EPOCH",
        56 => "KAFKA_STORAGE_ERROR",
        58 => "SASL_AUTHENTICATION_FAILED",
        59 => "UNKNOWN_PRODUCER_ID",
        74 => "FENCED_LEADER_EPOCH",
        75 => "UNKNOWN_LEADER_EPOCH",
        76 => "UNSUPPORTED_COMPRESSION_TYPE",
        87 => "INVALID_RECORD",
        89 => "THROTTLING_QUOTA_EXCEEDED",
        90 => "PRODUCER_FENCED",
        100 => "UNKNOWN_TOPIC_ID",
        103 => "INCONSISTENT_TOPIC_ID",
        _ => "an error that this version does not know",
    }
}

/// Pseudo-random numbers from a seed (SplitMix64): jitter and partitions, nothing secret.
#[derive(Clone, Copy, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }
}

/// First and longest pause, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first_ms: u64,
    /// After many.
    pub max_ms: u64,
}

impl Backoff {
    /// Between two tries of a request.
    pub const fn of_requests(options: &ShipperOptions) -> Self {
        Self { first_ms: options.retry_backoff_ms, max_ms: options.retry_backoff_max_ms }
    }

    /// Between two connections to a broker.
    pub const fn of_connections(options: &ShipperOptions) -> Self {
        Self { first_ms: options.reconnect_backoff_ms, max_ms: options.reconnect_backoff_max_ms }
    }

    /// When to try again after the `failures`th failure in a row: the pause doubles each time and is taken times 0.8 to 1.2
    /// (KIP-580).
    pub fn until(self, now: Mono, failures: u32, rng: &mut Rng) -> Mono {
        let doubled = self.first_ms.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.max_ms);
        now.plus_ms(doubled * (800 + rng.below(401)) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_jittered_by_a_fifth() {
        let backoff = Backoff { first_ms: 100, max_ms: 1_000 };
        let mut rng = Rng::new(7);
        for (failures, about) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (60, 1_000)] {
            for _ in 0..50 {
                let pause = backoff.until(Mono::from_ms(0), failures, &mut rng).ms();
                assert!((about * 8 / 10..=about * 12 / 10).contains(&pause), "{failures}: {pause}");
            }
        }
    }

    #[test]
    fn an_attempt_that_may_have_been_appended_is_never_called_refused() {
        for error in [-1, 7, 20, 56, 72, 1234] {
            assert!(matches!(verdict(error), Verdict::Retry { appended: Appended::Perhaps, .. }), "{error}");
        }
        assert_eq!(verdict(DUPLICATE_SEQUENCE), Verdict::Delivered);
    }
}
