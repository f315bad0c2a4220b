//! Reads records back from any Kafka: finds leaders, follows them when they move, reads from an offset on. For `tail`, `topics` and `demo`;
//! the data path has its own producer and never comes here.

use std::ops::ControlFlow;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The oldest record kept, in each partition.
    Beginning,
    /// Only what comes from now on.
    End,
    /// This offset in each partition; moved into the range that is there.
    Offset(i64),
    /// This many records before the end, in each partition.
    Last(i64),
    /// The first record at or after this time, milliseconds since 1970.
    Time(i64),
}

/// One record, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Partition it was read from.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; -1 if there is none.
    pub timestamp_ms: i64,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// Node that leads it; none while it has no leader.
    pub leader: Option<i32>,
    /// Nodes that hold it.
    pub replicas: usize,
    /// Nodes that hold it and keep up.
    pub in_sync: usize,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Kafka's own (`__consumer_offsets` …).
    pub internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<Partition>,
}

/// What one Fetch brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Where to read on.
    pub next_offset: i64,
    /// One past the last record that consumers may see.
    pub high_watermark: i64,
    /// What was passed over (old formats, unreadable batches), in words; empty as a rule.
    pub notes: Vec<String>,
}

/// A reader of one Kafka cluster. Lives on a tokio runtime; all waiting is bounded.
#[derive(Debug)]
pub struct KafkaReader {}

impl KafkaReader {
    /// Connects to the first of `bootstrap` (host, port) that answers as a Kafka.
    ///
    /// # Errors
    /// One text for the operator: what was tried, what each address said, what to do.
    pub async fn connect(bootstrap: &[(&str, u16)]) -> Result<Self, String> {
        let _ = bootstrap;
        todo!()
    }

    /// All topics with their partitions, by name. Creates nothing.
    ///
    /// # Errors
    /// No broker of the cluster answers.
    pub async fn topics(&mut self) -> Result<Vec<Topic>, String> {
        todo!()
    }

    /// The partitions of `topic`, by number. Creates nothing.
    ///
    /// # Errors
    /// No such topic, not allowed to see it, or no broker answers.
    pub async fn partitions(&mut self, topic: &str) -> Result<Vec<Partition>, String> {
        let _ = topic;
        todo!()
    }

    /// Records of one partition from `offset` on; waits up to `max_wait_ms` for the first one.
    ///
    /// # Errors
    /// The partition cannot be read, after its leader was looked up again once.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_wait_ms: i32,
    ) -> Result<Fetched, String> {
        let _ = (topic, partition, offset, max_wait_ms);
        todo!()
    }

    /// Hands the records of all partitions of `topic` to `each`, in order within a partition, until `each` breaks. Without `follow` it ends
    /// at the ends that the partitions had when it began; with it, it goes on, over leader changes and lost connections.
    ///
    /// # Errors
    /// The topic is not there, may not be read, or no broker has answered for [`SILENCE_MS`].
    pub async fn tail(
        &mut self,
        topic: &str,
        from: From,
        follow: bool,
        each: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let _ = (topic, from, follow, each);
        todo!()
    }
}

/// Milliseconds without one answer from any broker after which following gives up.
pub const SILENCE_MS: u64 = 60_000;
