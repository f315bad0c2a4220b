//! A lane: one stream of entries into a topic under one key. Its open batch, its sealed batches that have no partition yet, and a
//! queue per partition. What it does with them is `shipper`'s and `producer`'s.

use std::collections::VecDeque;

use super::batch::{OpenBatch, Out, Overflow, key_bytes};
use super::event::SlotId;
use super::options::{Batching, DROP_REPORT_MS, LaneId, LaneSpec};
use super::producer::Queue;
use super::slot;
use super::stored::{FrameRef, Origin, Stored};
use crate::base::Mono;
use crate::base::limits::MESSAGE_BYTES;
use crate::base::time::Now;

/// Bytes that a record's lengths are first taken to need: messages of 64 bytes to 8 KiB, and arrays up to 1 MiB.
const GUESS_EACH: usize = 2;
const GUESS_ARRAY: usize = 3;

/// The producer id that a lane's partitions begin with (one per core and lane, so that an epoch's bump stays local).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Producer {
    /// Not asked for, or to be asked for again at this time.
    Unknown {
        /// Not before.
        retry_at: Mono,
        /// Asked in vain, in a row.
        failures: u32,
    },
    /// Asked.
    Asked {
        /// Asked in vain before, in a row.
        failures: u32,
    },
    /// Known: id and epoch.
    Known(i64, i16),
}

/// Keeps what happens often from being said often.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet {
    not_before: Mono,
    unsaid: u64,
}

impl Quiet {
    /// Counts `entries`; Some(all that were not said yet) if it is time for a line.
    pub fn say(&mut self, now: Mono, entries: u64) -> Option<u64> {
        self.unsaid += entries;
        if now < self.not_before {
            return None;
        }
        self.not_before = now.plus_ms(DROP_REPORT_MS);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// A batch that takes entries.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Where its bytes are.
    pub slot: SlotId,
    /// Hand-over order within the lane.
    pub number: u64,
    /// What is in it.
    pub batch: OpenBatch,
    /// When its first message was complete: linger counts from here.
    pub since: Option<Mono>,
    /// When the open array's first entry came.
    pub array_first: Mono,
    /// When the open array's newest entry came.
    pub array_last: Mono,
    /// True once its size made it ready: that is looked at once.
    pub over: bool,
}

/// A batch that lies in the spool and not in the ring.
#[derive(Clone, Copy, Debug)]
pub struct Spooled {
    /// Where.
    pub frame: FrameRef,
    /// What.
    pub stored: Stored,
}

/// A partition whose last batches were sent by an earlier run: that producer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Partition number.
    pub partition: i32,
    /// Producer id and epoch.
    pub producer: (i64, i16),
    /// The sequence behind its last batch.
    pub next_sequence: i32,
    /// An offset before which none of its batches can lie; -1: not known.
    pub scan_from: i64,
}

/// A lane's part of the spool. In hand-over order: its partitions' queues, `Lane::waiting`, what is being loaded, `frames`,
/// `spilling`, `queue`, the open batch.
#[derive(Debug, Default)]
pub struct Tail {
    /// On disk, oldest first.
    pub frames: VecDeque<Spooled>,
    /// Sealed, to go to disk, oldest first.
    pub queue: VecDeque<SlotId>,
    /// Being written.
    pub spilling: Option<SlotId>,
    /// Being read.
    pub loading: Option<(SlotId, Spooled)>,
    /// Nothing is written or read before this, after a failure.
    pub retry_at: Mono,
    /// Reads that failed in a row.
    pub failures: u32,
    /// True once it was said that the spool takes nothing.
    pub reported: bool,
    /// No line about that before.
    pub report_from: Mono,
    /// True once it was said that batches go to the spool.
    pub announced: bool,
    /// No line about that before.
    pub announce_from: Mono,
    /// Producers of an earlier run, one a partition.
    pub resumes: Vec<Resume>,
}

impl Tail {
    /// True if nothing of the lane is in the spool or on its way there or back.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.queue.is_empty() && self.spilling.is_none() && self.loading.is_none()
    }

    /// Entries that lie in the spool and not in the ring, those that are being read included.
    pub fn entries(&self) -> u64 {
        self.frames
            .iter()
            .chain(self.loading.iter().map(|(_, spooled)| spooled))
            .map(|it| it.stored.entries_left())
            .sum()
    }
}

/// One lane.
#[derive(Debug)]
pub struct Lane {
    /// What it is.
    pub spec: LaneSpec,
    /// Index of its sink.
    pub sink: usize,
    /// Index of its topic in the sink.
    pub topic: usize,
    /// Tells it from earlier lanes at this index.
    pub generation: u32,
    /// False once it was forgotten.
    pub live: bool,
    /// True while no configuration names it.
    pub retired: bool,
    /// True while it is in the shipper's list of lanes with something to do.
    pub listed: bool,
    /// Who numbers, or numbered, its batches.
    pub origin: Origin,
    /// The next batch's number.
    pub next_number: u64,
    /// What of it is in the spool.
    pub tail: Tail,
    /// Lanes of earlier runs with the same content: nothing of this one is sent before they are done.
    pub after: Vec<LaneId>,
    /// The key as it stands in each record.
    pub key: Vec<u8>,
    /// What all its record headers begin with; empty: they are off.
    pub trace: Vec<u8>,
    /// The open batch.
    pub open: Option<Open>,
    /// Sealed batches without a partition, oldest first.
    pub waiting: VecDeque<SlotId>,
    /// Per partition number.
    pub queues: Vec<Queue>,
    /// The producer id for partitions that have none yet.
    pub producer: Producer,
    /// The partition that batches without a key go to now, and the bytes it got.
    pub sticky: Option<(i32, u64)>,
    /// Incarnation of the topic that the queues belong to.
    pub incarnation: u32,
    /// Entries accepted and not resolved.
    pub held: u64,
    /// Slots held.
    pub slots: u32,
    /// Entries accepted in all.
    pub pushed: u64,
    /// Lines about refused entries.
    pub refusals: Quiet,
    /// Lines about lost entries.
    pub losses: Quiet,
    /// Lines about entries in doubt.
    pub doubts: Quiet,
    /// Bytes that one batch may have, as far as it was learnt; header included.
    pub batch_bytes: usize,
}

impl Lane {
    /// An idle lane.
    pub fn new(spec: LaneSpec, sink: usize, topic: usize, generation: u32, origin: Origin) -> Self {
        let key = key_bytes(spec.key.as_deref());
        Self {
            spec,
            sink,
            topic,
            generation,
            live: true,
            retired: false,
            listed: false,
            origin,
            next_number: 0,
            tail: Tail::default(),
            after: Vec::new(),
            key,
            trace: Vec::new(),
            open: None,
            waiting: VecDeque::new(),
            queues: Vec::new(),
            producer: Producer::Unknown { retry_at: Mono::default(), failures: 0 },
            sticky: None,
            incarnation: 0,
            held: 0,
            slots: 0,
            pushed: 0,
            refusals: Quiet::default(),
            losses: Quiet::default(),
            doubts: Quiet::default(),
            batch_bytes: usize::MAX,
        }
    }

    /// True if nothing of it is left to deliver.
    pub fn is_idle(&self) -> bool {
        self.slots == 0 && self.tail.is_empty()
    }

    /// The beginning of a batch's account of itself.
    pub const fn account(&self, number: u64) -> Stored {
        Stored::begun(self.spec.stored_as, self.origin, number)
    }

    /// Begins a batch in an empty slot.
    pub fn open_in(&mut self, slot: SlotId, memory: &mut [u8]) -> Open {
        let number = self.next_number;
        self.next_number += 1;
        let mut open = Open::new(slot, number, memory.len(), self.guess());
        open.batch.trace(memory, &self.trace, self.pushed);
        slot::open(memory, &self.account(number), &open.batch);
        open
    }

    /// The queue of a partition.
    pub fn queue(&mut self, partition: i32) -> Option<&mut Queue> {
        self.queues.get_mut(usize::try_from(partition).ok()?)
    }

    /// The guess to begin a batch with.
    pub const fn guess(&self) -> usize {
        match self.spec.batching {
            Batching::Each => GUESS_EACH,
            Batching::Array { .. } => GUESS_ARRAY,
        }
    }

    /// When the open array must be closed (APISIX-COMPAT §3.2): its newest entry is `inactive_ms` old, or its oldest
    /// `duration_ms`. None if no array is open.
    pub fn array_due(&self) -> Option<Mono> {
        let open = self.open.as_ref().filter(|open| open.batch.array_entries() > 0)?;
        let Batching::Array { inactive_ms, duration_ms, .. } = self.spec.batching else { return None };
        Some(open.array_last.plus_ms(inactive_ms).min(open.array_first.plus_ms(duration_ms)))
    }
}

/// What an entry did to the open batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It lies in the batch, which can take more.
    Open,
    /// It lies in the batch and made it ready to be sent: the first message of the batch, or an array that reached its count.
    Ready,
}

impl Open {
    /// Begins a batch in an empty slot.
    pub fn new(slot: SlotId, number: u64, slot_bytes: usize, guess: usize) -> Self {
        let batch = OpenBatch::new(slot_bytes, guess);
        Self {
            slot,
            number,
            batch,
            since: None,
            array_first: Mono::default(),
            array_last: Mono::default(),
            over: false,
        }
    }

    /// Adds an entry. `record_entries` is the slot's. On overflow nothing changed, except that an array that became too long was
    /// closed and the entry was tried again in a new one.
    #[inline]
    pub fn push(
        &mut self,
        memory: &mut [u8],
        to: (&[u8], Batching, usize),
        now: Now,
        record_entries: &mut Vec<u32>,
        render: &mut dyn FnMut(&mut Out<'_>),
    ) -> Result<Pushed, Overflow> {
        let (key, batching, batch_bytes) = to;
        let timestamp_ms = now.wall.unix_ms() as i64;
        let Batching::Array { max_entries, .. } = batching else {
            self.batch.push_record(memory, key, timestamp_ms, render)?;
            slot::progress(memory, &self.batch);
            return Ok(self.ready(now.mono));
        };
        let array_bytes = batch_bytes.min(MESSAGE_BYTES);
        let mut pushed = Pushed::Open;
        if let Err(overflow) = self.batch.push_element(memory, key, timestamp_ms, array_bytes, render) {
            if self.close_array(memory, record_entries, now.mono).is_none() {
                return Err(overflow);
            }
            pushed = Pushed::Ready;
            self.batch.push_element(memory, key, timestamp_ms, array_bytes, render)?;
        }
        slot::progress(memory, &self.batch);
        if self.batch.array_entries() == 1 {
            self.array_first = now.mono;
        }
        self.array_last = now.mono;
        if self.batch.array_entries() >= max_entries {
            self.close_array(memory, record_entries, now.mono);
            pushed = Pushed::Ready;
        }
        // A first element needs its array's deadline looked after.
        Ok(if self.batch.array_entries() == 1 { Pushed::Ready } else { pushed })
    }

    fn ready(&mut self, now: Mono) -> Pushed {
        if self.since.is_some() {
            return Pushed::Open;
        }
        self.since = Some(now);
        Pushed::Ready
    }

    /// Closes the open array. None if none is open.
    pub fn close_array(&mut self, memory: &mut [u8], record_entries: &mut Vec<u32>, now: Mono) -> Option<()> {
        slot::guard(memory, &self.batch);
        record_entries.push(self.batch.close_array(memory)?);
        slot::progress(memory, &self.batch);
        slot::unguard(memory);
        self.since = self.since.or(Some(now));
        Some(())
    }
}
