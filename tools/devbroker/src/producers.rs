//! What a partition's leader remembers of idempotent producers, by the rules of Kafka's ProducerStateManager for producers without
//! transactions: who sent what last, whether a batch is a repeat, whether it follows. Pure.

use crate::batch::Head;
use crate::code;
use std::collections::{BTreeMap, VecDeque};

/// Batches remembered per producer for duplicate detection, as in Kafka (KIP-98).
const REMEMBERED_BATCHES: usize = 5;
/// Producers remembered; the one quiet for longest is forgotten first.
const REMEMBERED_PRODUCERS: usize = 10_000;

/// What is left of a partition's producers after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerState {
    /// Everything: only the connections broke.
    All,
    /// The last batch of each: a restart, where Kafka's snapshot holds no more. Seen with Kafka 4.1 after SIGTERM and after kill -9.
    LastBatch,
    /// Nothing: expired (`producer.id.expiration.ms`), or the snapshot and the log it covers were lost.
    Nothing,
}

/// One producer, as DescribeProducers shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Active {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Largest timestamp of its last batch.
    pub last_timestamp_ms: i64,
}

#[derive(Clone, Copy, Debug)]
struct Appended {
    base_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    max_timestamp_ms: i64,
}

#[derive(Debug, Default)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Appended>,
    last_append: u64,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub struct Producers {
    known: BTreeMap<i64, Producer>,
    appends: u64,
}

impl Producers {
    /// Where a batch that was appended before lies; none if it is new and in order. A producer that is not known may start anywhere, a
    /// new epoch must start at 0, otherwise the next sequence is the only good one.
    ///
    /// # Errors
    /// 47 for an older epoch, 45 for a sequence that neither follows nor repeats one of the last five batches.
    pub fn check(&self, head: &Head) -> Result<Option<i64>, i16> {
        let Some(producer) = self.known.get(&head.producer_id).filter(|_| head.producer_id >= 0) else {
            return Ok(None);
        };
        if head.producer_epoch < producer.epoch {
            return Err(code::INVALID_PRODUCER_EPOCH);
        }
        if head.producer_epoch > producer.epoch {
            return if head.base_sequence == 0 { Ok(None) } else { Err(code::OUT_OF_ORDER_SEQUENCE) };
        }
        let same = |b: &&Appended| b.base_sequence == head.base_sequence && b.last_sequence == head.last_sequence();
        if let Some(before) = producer.batches.iter().find(same) {
            return Ok(Some(before.base_offset));
        }
        let last = producer.batches.back().map_or(-1, |b| b.last_sequence);
        let next = if last == i32::MAX { 0 } else { last + 1 };
        if head.base_sequence == next { Ok(None) } else { Err(code::OUT_OF_ORDER_SEQUENCE) }
    }

    /// Notes a batch that was appended.
    pub fn remember(&mut self, head: &Head, base_offset: i64) {
        if head.producer_id < 0 {
            return;
        }
        self.appends += 1;
        if !self.known.contains_key(&head.producer_id) && self.known.len() >= REMEMBERED_PRODUCERS {
            let quiet = self.known.iter().min_by_key(|(_, p)| p.last_append).map(|(id, _)| *id);
            quiet.map(|id| self.known.remove(&id));
        }
        let producer = self.known.entry(head.producer_id).or_default();
        if producer.epoch != head.producer_epoch {
            *producer = Producer { epoch: head.producer_epoch, ..Producer::default() };
        }
        producer.last_append = self.appends;
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Appended {
            base_sequence: head.base_sequence,
            last_sequence: head.last_sequence(),
            base_offset,
            max_timestamp_ms: head.max_timestamp_ms,
        });
    }

    /// Forgets what a restart forgets.
    pub fn keep(&mut self, keep: ProducerState) {
        match keep {
            ProducerState::All => {}
            ProducerState::LastBatch => {
                for producer in self.known.values_mut() {
                    producer.batches.drain(..producer.batches.len().saturating_sub(1));
                }
            }
            ProducerState::Nothing => self.known.clear(),
        }
    }

    /// Those that are known now.
    pub fn active(&self) -> impl Iterator<Item = Active> + '_ {
        self.known.iter().map(|(id, producer)| {
            let last = producer.batches.back();
            Active {
                producer_id: *id,
                epoch: producer.epoch,
                last_sequence: last.map_or(-1, |b| b.last_sequence),
                last_timestamp_ms: last.map_or(-1, |b| b.max_timestamp_ms),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{check, make};

    fn head(epoch: i16, sequence: i32) -> Head {
        check(&make::batch(make::From { producer_id: 9, epoch, sequence }, 70, &[b"x"])).unwrap()
    }

    fn with_batches(count: i32) -> Producers {
        let mut producers = Producers::default();
        for sequence in 0..count {
            assert_eq!(producers.check(&head(0, sequence)), Ok(None));
            producers.remember(&head(0, sequence), i64::from(sequence) + 100);
        }
        producers
    }

    #[test]
    fn five_batches_are_known_again_and_older_ones_are_out_of_order() {
        let producers = with_batches(7);
        for sequence in 0..7 {
            let expected = if sequence < 2 { Err(45) } else { Ok(Some(i64::from(sequence) + 100)) };
            assert_eq!(producers.check(&head(0, sequence)), expected, "{sequence}");
        }
        assert_eq!(producers.check(&head(0, 8)), Err(45));
    }

    #[test]
    fn clean_restart_keeps_the_last_batch_and_expiry_keeps_nothing() {
        let mut producers = with_batches(7);
        producers.keep(ProducerState::All);
        assert_eq!(producers.check(&head(0, 2)), Ok(Some(102)));
        producers.keep(ProducerState::LastBatch);
        assert_eq!((producers.check(&head(0, 5)), producers.check(&head(0, 6))), (Err(45), Ok(Some(106))));
        assert_eq!(producers.check(&head(0, 7)), Ok(None));
        let last = Active { producer_id: 9, epoch: 0, last_sequence: 6, last_timestamp_ms: 70 };
        assert_eq!(producers.active().collect::<Vec<_>>(), [last]);
        producers.keep(ProducerState::Nothing);
        assert_eq!((producers.check(&head(0, 33)), producers.active().count()), (Ok(None), 0));
    }

    #[test]
    fn new_epoch_starts_at_zero_and_forgets_the_old_ones_batches() {
        let mut producers = with_batches(3);
        assert_eq!((producers.check(&head(1, 3)), producers.check(&head(1, 0))), (Err(45), Ok(None)));
        producers.remember(&head(1, 0), 200);
        assert_eq!((producers.check(&head(0, 3)), producers.check(&head(1, 1))), (Err(47), Ok(None)));
        assert_eq!(producers.check(&head(1, 2)), Err(45));
    }
}
