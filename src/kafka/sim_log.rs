//! The simulated brokers' logs: what a partition holds, Kafka's duplicate detection, and what is answered to those who produce and
//! to those who ask what is there.

use std::collections::{HashMap, VecDeque};

use super::codec::answers::{Node, Produced};
use super::codec::broker_log::{self, About};
use super::codec::broker_side::{self, Asked, Body};
use super::codec::producers::ProducerState;
use super::ring::sequence_after;
use super::sim::Sim;

/// What a broker remembers of a producer in a partition.
#[derive(Debug, Default)]
pub struct Remembered {
    pub(super) epoch: i16,
    /// First sequence, last sequence, offset of the first.
    pub(super) last: VecDeque<(i32, i32, i64)>,
}

#[derive(Debug, Default)]
pub struct Partition {
    pub leader: i32,
    pub epoch: i32,
    /// Values in order.
    pub log: Vec<Vec<u8>>,
    /// Keys in order.
    pub keys: Vec<Option<Vec<u8>>>,
    pub producers: HashMap<i64, Remembered>,
    pub batches: u64,
    /// Batches as they lie in the log, with the offset behind each.
    pub(super) stored: Vec<(i64, Vec<u8>)>,
    /// The oldest offset that is still there.
    pub log_start: i64,
    /// A broker before 2.5: of a producer that it does not know it takes sequence 0 only.
    pub strict: bool,
}

impl Sim {
    pub(super) fn produce(&mut self, broker: i32, asked: &Asked) -> Vec<u8> {
        let Body::Produce(request) = &asked.body else { panic!("Produce") };
        self.produce_versions.push(asked.version);
        let mut answer = Produced { partition: request.partition, base_offset: -1, ..Produced::default() };
        let (error, append_anyway) = self.some_error();
        if self.chance(self.weather.throttle) {
            answer.throttle_ms = 100;
        }
        let hints = self.rng.below(2) == 0;
        let names_duplicates = self.chance(self.strange.named_duplicate);
        let by_id = asked.version >= 13;
        let topic = self
            .topics
            .iter_mut()
            .find(|(name, topic)| if by_id { topic.id == request.topic_id } else { **name == request.topic });
        let reply = |answer: &Produced| {
            broker_side::produced(asked.correlation, asked.version, (&request.topic, request.topic_id), answer)
        };
        let Some((name, topic)) = topic else {
            answer.error = if by_id { 100 } else { 3 };
            return reply(&answer);
        };
        let batch_bytes_max = topic.batch_bytes_max;
        let Some(partition) = topic.partitions.get_mut(request.partition as usize) else {
            answer.error = 3;
            return reply(&answer);
        };
        answer.error = if partition.leader != broker {
            if hints && asked.version >= 10 {
                let id = partition.leader;
                answer.leader = Some((id, partition.epoch));
                answer.nodes = vec![Node { id, host: format!("broker-{id}"), port: 9092 }];
            }
            6
        } else if request.records.len() > batch_bytes_max {
            10
        } else if error != 0 && !append_anyway {
            error
        } else {
            let before = partition.batches;
            match partition.append(&request.records) {
                Ok(_) if partition.batches == before && names_duplicates => 46,
                Ok(offset) => {
                    answer.base_offset = offset;
                    if partition.batches > before && self.strange.ordered {
                        let name = name.clone();
                        self.watch(&name, request.partition, offset);
                    }
                    error
                }
                Err(refused) => refused,
            }
        };
        reply(&answer)
    }

    /// DescribeProducers, ListOffsets, Fetch.
    pub(super) fn tell_of_log(&mut self, broker: i32, asked: &Asked, about: &About) -> Vec<u8> {
        let weather = self.some_error().0;
        let deny_read = self.deny_read && !matches!(asked.body, Body::ListOffsets(_));
        let topic = self.topics.get(&about.topic);
        let partition = topic.and_then(|topic| topic.partitions.get(about.partition as usize));
        let nothing = Partition::default();
        let (error, partition) = match partition {
            _ if deny_read => (29, &nothing),
            _ if self.leaderless_for_fetch && matches!(asked.body, Body::Fetch(_)) => (6, &nothing),
            Some(partition) if partition.leader != broker => (6, &nothing),
            Some(partition) => (weather, partition),
            None => (3, &nothing),
        };
        let (end, throttle_ms) = (partition.log.len() as i64, self.throttle_inquiries_ms);
        match asked.body {
            Body::DescribeProducers(_) => {
                let state = |(id, it): (&i64, &Remembered)| ProducerState {
                    producer_id: *id,
                    epoch: it.epoch,
                    last_sequence: it.last.back().map_or(-1, |(_, last, _)| *last),
                };
                let states: Vec<_> = partition.producers.iter().map(state).collect();
                broker_log::producers(
                    (asked.correlation, throttle_ms),
                    about,
                    error,
                    if error == 0 { &states } else { &[] },
                )
            }
            Body::ListOffsets(_) => {
                let offset = match about.at {
                    -1 => end,
                    -2 => partition.log_start,
                    time => partition.offset_at(time),
                };
                broker_log::offset((asked.correlation, throttle_ms), asked.version, about, error, offset)
            }
            _ => {
                let range = partition.log_start..=end;
                let error = if error == 0 && !range.contains(&about.at) { 1 } else { error };
                let mut records = Vec::new();
                for (_, batch) in partition.stored.iter().filter(|(behind, _)| error == 0 && *behind > about.at) {
                    records.extend(batch);
                    if records.len() > 6_000 {
                        // As brokers do: the last one is cut off, unless it is the first.
                        let cut = if records.len() == batch.len() { 0 } else { 40 };
                        records.truncate(records.len() - cut);
                        break;
                    }
                }
                let marks = (end, partition.log_start);
                broker_log::fetched((asked.correlation, throttle_ms), asked.version, about, error, marks, records)
            }
        }
    }
}

impl Partition {
    /// Appends a batch as Kafka does; returns the offset of its first record.
    fn append(&mut self, batch: &[u8]) -> Result<i64, i16> {
        let records = broker_side::records(batch);
        let first = records.first().expect("never empty");
        let offset = self.log.len() as i64;
        if first.producer_id >= 0 {
            let (epoch, first_sequence) = (first.producer_epoch, first.sequence);
            let last_sequence = sequence_after(first_sequence, records.len() as u32 - 1);
            let known = self.producers.contains_key(&first.producer_id);
            if !known && self.strict && first_sequence != 0 {
                return Err(59);
            }
            let state = self.producers.entry(first.producer_id).or_default();
            let same = |(first, last, _): &&(i32, i32, i64)| (*first, *last) == (first_sequence, last_sequence);
            if !known {
                // Kafka 4.1 takes any sequence of a producer that it does not know.
                state.epoch = epoch;
            } else if epoch < state.epoch {
                return Err(47);
            } else if epoch > state.epoch {
                if first_sequence != 0 {
                    return Err(45);
                }
                (state.epoch, state.last) = (epoch, VecDeque::new());
            } else if let Some((.., offset)) = state.last.iter().find(same) {
                return Ok(*offset);
            } else if state.last.back().map_or(0, |(_, last, _)| sequence_after(*last, 1)) != first_sequence {
                return Err(45);
            }
            state.last.push_back((first_sequence, last_sequence, offset));
            if state.last.len() > 5 {
                state.last.pop_front();
            }
        }
        let mut stored = batch.to_vec();
        stored[..8].copy_from_slice(&offset.to_be_bytes());
        self.stored.push((offset + records.len() as i64, stored));
        for record in records {
            super::trace_tests::assert_numbered(&record);
            self.log.push(record.value.expect("a value").to_vec());
            self.keys.push(record.key.map(|key| key.to_vec()));
        }
        self.batches += 1;
        Ok(offset)
    }

    /// The first offset of a batch with a record at this time or later; -1: none. Bytes 35 to 43 are the batch's newest time.
    fn offset_at(&self, time: i64) -> i64 {
        let newest = |batch: &[u8]| batch[35..].first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        let first = |batch: &[u8]| batch.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        let there = |(behind, batch): &&(i64, Vec<u8>)| *behind > self.log_start && newest(batch) >= time;
        self.stored.iter().find(there).map_or(-1, |(_, batch)| first(batch))
    }
}
