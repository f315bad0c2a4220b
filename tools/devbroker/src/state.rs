//! What the broker holds: topics, their logs, and who produced. Pure: bytes and time come in as values, nothing waits.

use crate::batch::{self, Head};
use crate::code;
use crate::groups::Groups;
use crate::nodes::Node;
use crate::producers::Producers;
use crate::versions::Versions;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Topics at most; a further one is refused with POLICY_VIOLATION.
pub const TOPICS: usize = 1_000;
/// Partitions of one topic at most.
pub const PARTITIONS_PER_TOPIC: i32 = 256;
/// Bytes of a topic's name at most, as in Kafka.
const NAME_BYTES: usize = 249;
/// Milliseconds that a record's timestamp may lie in the future (`message.timestamp.after.max.ms`).
const FUTURE_MS: i64 = 3_600_000;

/// The limits a state keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Partitions of a topic that says no number.
    pub partitions: i32,
    /// Bytes kept per partition.
    pub retention_bytes: usize,
    /// Bytes of one batch (`message.max.bytes`).
    pub batch_bytes: usize,
}

/// A batch in a log.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its head.
    pub head: Head,
    /// Its bytes, base offset and leader epoch filled in.
    pub bytes: Bytes,
    /// When it was appended.
    pub at: Instant,
}

/// One partition's log.
#[derive(Debug, Default)]
pub struct Log {
    batches: VecDeque<Stored>,
    bytes: usize,
    end: i64,
    /// Who writes to it.
    pub producers: Producers,
    /// The node that leads it; -1 while there is none.
    pub leader: i32,
    /// Grows with every election.
    pub leader_epoch: i32,
}

/// One topic.
#[derive(Debug)]
pub struct Topic {
    /// Its id: a number counted up, never used again.
    pub id: u128,
    /// Its partitions.
    pub logs: Vec<Log>,
}

/// The broker's whole state.
#[derive(Debug)]
pub struct State {
    /// The limits.
    pub limits: Limits,
    /// Topics by name.
    pub topics: BTreeMap<String, Topic>,
    /// Consumer groups.
    pub groups: Groups,
    /// The nodes, in the order of their numbers.
    pub nodes: Vec<Node>,
    /// The versions of requests that are advertised and answered.
    pub versions: Versions,
    /// NOT_LEADER_OR_FOLLOWER names the leader (KIP-951).
    pub leader_hints: bool,
    next_producer_id: i64,
    next_topic_id: u128,
}

impl State {
    /// An empty broker.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            topics: BTreeMap::new(),
            groups: Groups::default(),
            nodes: Vec::new(),
            versions: Versions::default(),
            leader_hints: true,
            next_producer_id: 1_000,
            // Version 4, variant 1, then counted: looks like Kafka's, and tests can tell them apart.
            next_topic_id: 0x0000_0000_0000_4000_8000_0000_0000_0001,
        }
    }

    /// Creates a topic; `partitions` of -1 takes the default.
    ///
    /// # Errors
    /// Kafka's code: 17 name, 36 there already, 37 number, 44 too many topics.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> Result<&Topic, i16> {
        if !good_name(name) {
            return Err(code::INVALID_TOPIC);
        }
        if self.topics.contains_key(name) {
            return Err(code::TOPIC_ALREADY_EXISTS);
        }
        let partitions = if partitions == -1 { self.limits.partitions } else { partitions };
        if !(1..=PARTITIONS_PER_TOPIC).contains(&partitions) {
            return Err(code::INVALID_PARTITIONS);
        }
        if self.topics.len() >= TOPICS {
            return Err(code::POLICY_VIOLATION);
        }
        let id = self.next_topic_id;
        self.next_topic_id += 1;
        let leader = |index: i32| 1 + index % (self.nodes.len() as i32).max(1);
        let logs = (0..partitions).map(|index| Log { leader: leader(index), ..Log::default() }).collect();
        Ok(self.topics.entry(name.to_owned()).or_insert(Topic { id, logs }))
    }

    /// The log of one partition.
    pub fn log(&self, topic: &str, partition: i32) -> Option<&Log> {
        self.topics.get(topic)?.logs.get(usize::try_from(partition).ok()?)
    }

    /// The log of one partition.
    pub fn log_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Log> {
        self.topics.get_mut(topic)?.logs.get_mut(usize::try_from(partition).ok()?)
    }

    /// Every log there is.
    pub fn logs_mut(&mut self) -> impl Iterator<Item = &mut Log> {
        self.topics.values_mut().flat_map(|topic| topic.logs.iter_mut())
    }

    /// A node by its number.
    pub fn node(&self, id: i32) -> Option<&Node> {
        self.nodes.get(usize::try_from(id.checked_sub(1)?).ok()?)
    }

    /// A node by its number.
    pub fn node_mut(&mut self, id: i32) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(id.checked_sub(1)?).ok()?)
    }

    /// The name of the topic with this id.
    pub fn name_of(&self, id: u128) -> Option<&str> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.as_str())
    }

    /// A producer id nobody has.
    pub fn new_producer_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id - 1
    }

    /// Appends one batch; the answer is the offset of its first record, or of the first time it came.
    ///
    /// # Errors
    /// Kafka's code, as a broker would answer.
    pub fn append(&mut self, topic: &str, partition: i32, bytes: &[u8], wall_ms: i64) -> Result<i64, i16> {
        let limits = self.limits;
        let log = self.log_mut(topic, partition).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let head = batch::check(bytes)?;
        if bytes.len() > limits.batch_bytes {
            return Err(code::MESSAGE_TOO_LARGE);
        }
        if head.max_timestamp_ms > wall_ms.saturating_add(FUTURE_MS) {
            return Err(code::INVALID_TIMESTAMP);
        }
        if let Some(base_offset) = log.producers.check(&head)? {
            return Ok(base_offset);
        }
        Ok(log.push(head, bytes, limits.retention_bytes))
    }
}

fn good_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES
        && name != "."
        && name != ".."
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

impl Log {
    /// Offset of the oldest record kept.
    pub fn start(&self) -> i64 {
        self.batches.front().map_or(self.end, |b| b.base_offset)
    }

    /// One past the newest record.
    pub const fn end(&self) -> i64 {
        self.end
    }

    /// Bytes kept.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The batches kept, oldest first.
    pub fn batches(&self) -> impl Iterator<Item = &Stored> {
        self.batches.iter()
    }

    /// Whole batches from the one that holds `offset` on, `max_bytes` of them but at least one; none at the end.
    ///
    /// # Errors
    /// OFFSET_OUT_OF_RANGE.
    pub fn read(&self, offset: i64, max_bytes: usize) -> Result<Vec<Bytes>, i16> {
        if offset < self.start() || offset > self.end {
            return Err(code::OFFSET_OUT_OF_RANGE);
        }
        let first = self.batches.partition_point(|b| b.last_offset < offset);
        let mut room = max_bytes;
        let mut found = Vec::new();
        for stored in self.batches.range(first..) {
            if !found.is_empty() && stored.bytes.len() > room {
                break;
            }
            room = room.saturating_sub(stored.bytes.len());
            found.push(stored.bytes.clone());
        }
        Ok(found)
    }

    /// The first record at or after `timestamp_ms`: its time and offset. In packed batches, the batch's first record.
    pub fn at_time(&self, timestamp_ms: i64) -> Option<(i64, i64)> {
        let stored = self.batches.iter().find(|b| b.head.max_timestamp_ms >= timestamp_ms)?;
        let times = batch::timestamps(&stored.bytes, &stored.head);
        let exact = times.and_then(|t| {
            let index = t.iter().position(|t| *t >= timestamp_ms)?;
            Some((t[index], stored.base_offset + index as i64))
        });
        Some(exact.unwrap_or((stored.head.max_timestamp_ms, stored.base_offset)))
    }

    /// The newest timestamp and the offset of its batch's last record.
    pub fn newest(&self) -> Option<(i64, i64)> {
        self.batches.iter().map(|b| (b.head.max_timestamp_ms, b.last_offset)).max_by_key(|(time, _)| *time)
    }

    fn push(&mut self, head: Head, bytes: &[u8], retention_bytes: usize) -> i64 {
        let base_offset = self.end;
        let last_offset = base_offset + i64::from(head.last_offset_delta);
        let mut own = bytes.to_vec();
        own[..8].copy_from_slice(&base_offset.to_be_bytes());
        own[12..16].copy_from_slice(&self.leader_epoch.to_be_bytes());
        self.bytes += own.len();
        self.end = last_offset + 1;
        self.batches.push_back(Stored { base_offset, last_offset, head, bytes: own.into(), at: Instant::now() });
        self.producers.remember(&head, base_offset);
        while self.bytes > retention_bytes && self.batches.len() > 1 {
            self.bytes -= self.batches.pop_front().map_or(0, |b| b.bytes.len());
        }
        base_offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::make::{From, NOBODY, batch};

    fn state() -> State {
        let mut state = State::new(Limits { partitions: 1, retention_bytes: 1 << 20, batch_bytes: 1 << 20 });
        state.create_topic("t", 1).unwrap();
        state
    }

    fn send(state: &mut State, epoch: i16, sequence: i32, values: &[&[u8]]) -> Result<i64, i16> {
        state.append("t", 0, &batch(From { producer_id: 9, epoch, sequence }, 0, values), 0)
    }

    #[test]
    fn offsets_count_records_and_are_written_into_the_batches() {
        let mut state = state();
        assert_eq!(state.append("t", 0, &batch(NOBODY, 0, &[b"a", b"b"]), 0), Ok(0));
        assert_eq!(state.append("t", 0, &batch(NOBODY, 0, &[b"c"]), 0), Ok(2));
        let log = state.log("t", 0).unwrap();
        let read = log.read(1, 1 << 20).unwrap();
        assert_eq!((read.len(), &read[1][..8], log.end()), (2, &2i64.to_be_bytes()[..], 3));
        assert_eq!(log.read(3, 9).unwrap().len(), 0);
        assert_eq!((log.read(4, 9), log.read(-1, 9)), (Err(1), Err(1)));
        assert_eq!(log.read(0, 0).unwrap().len(), 1, "at least one batch, or a small reader never moves");
    }

    #[test]
    fn repeated_batch_is_answered_with_its_first_offset_and_not_appended() {
        let mut state = state();
        for sequence in 0..6 {
            assert_eq!(send(&mut state, 0, sequence, &[b"x"]), Ok(i64::from(sequence)));
        }
        assert_eq!(send(&mut state, 0, 1, &[b"x"]), Ok(1));
        assert_eq!(send(&mut state, 0, 5, &[b"x"]), Ok(5));
        assert_eq!(send(&mut state, 0, 0, &[b"x"]), Err(45), "older than the five remembered");
        assert_eq!(state.log("t", 0).unwrap().end(), 6);
    }

    #[test]
    fn gaps_are_out_of_order_and_epochs_fence() {
        let mut state = state();
        assert_eq!(send(&mut state, 1, 7, &[b"x"]), Ok(0), "a producer not known may start anywhere");
        assert_eq!(send(&mut state, 1, 9, &[b"x"]), Err(45));
        assert_eq!(send(&mut state, 0, 8, &[b"x"]), Err(47));
        assert_eq!(send(&mut state, 2, 8, &[b"x"]), Err(45), "a new epoch starts at 0");
        assert_eq!(send(&mut state, 2, 0, &[b"x", b"y"]), Ok(1));
        assert_eq!(send(&mut state, 2, 2, &[b"z"]), Ok(3));
    }

    #[test]
    fn sequences_go_on_at_zero_behind_the_largest() {
        let mut state = state();
        assert_eq!(send(&mut state, 0, i32::MAX - 1, &[b"x", b"y"]), Ok(0));
        assert_eq!(send(&mut state, 0, 0, &[b"x"]), Ok(2));
    }

    #[test]
    fn oldest_batches_go_when_the_partition_is_full() {
        let mut state = state();
        state.limits.retention_bytes = 3 * batch(NOBODY, 0, &[b"0123456789"]).len();
        for _ in 0..10 {
            state.append("t", 0, &batch(NOBODY, 0, &[b"0123456789"]), 0).unwrap();
        }
        let log = state.log("t", 0).unwrap();
        assert_eq!((log.start(), log.end(), log.bytes()), (7, 10, state.limits.retention_bytes));
        assert_eq!(log.read(0, 1), Err(code::OFFSET_OUT_OF_RANGE));
    }

    #[test]
    fn bad_names_sizes_times_and_places_get_kafkas_codes() {
        let mut state = state();
        for name in ["", ".", "..", "a b", "ü", &"x".repeat(250)] {
            assert_eq!(state.create_topic(name, 1).err(), Some(17), "{name:?}");
        }
        assert_eq!(state.create_topic("t", 1).err(), Some(36));
        assert_eq!(state.create_topic("u", 0).err(), Some(37));
        assert_eq!(state.append("u", 0, &batch(NOBODY, 0, &[b"a"]), 0), Err(3));
        assert_eq!(state.append("t", 1, &batch(NOBODY, 0, &[b"a"]), 0), Err(3));
        assert_eq!(state.append("t", 0, &batch(NOBODY, 7_200_000, &[b"a"]), 0), Err(32));
        assert_eq!(state.append("t", 0, &batch(NOBODY, 0, &[&vec![0; 1 << 20]]), 0), Err(10));
    }

    #[test]
    fn time_finds_the_first_record_not_older() {
        let mut state = state();
        for time in [100, 200, 300] {
            state.append("t", 0, &batch(NOBODY, time, &[b"a", b"b"]), 0).unwrap();
        }
        let log = state.log("t", 0).unwrap();
        assert_eq!(log.at_time(150), Some((200, 2)));
        assert_eq!(log.at_time(301), None);
        assert_eq!(log.newest(), Some((300, 5)));
    }
}
