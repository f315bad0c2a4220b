//! The ring: who holds which slot, what lies in it, and which slots stand still because a write of them is under way.
//!
//! ```text
//! free → open → queued ⇄ in flight → acknowledged → free        (last used, first taken: resident memory stays small)
//! ```

use super::batch::{HEADROOM_BYTES, Identity, Sealed, TAILROOM_BYTES};
use super::event::SlotId;
use super::slot;
use super::stored::FrameRef;

/// The fewest slots a ring may have: one fills while one is in flight.
pub const SLOTS_MIN: usize = 2;
/// Slots that each sink can always get, at most: `1 / (2 × sinks)` of the ring if that is less, but two where the ring has three
/// for each sink (one fills while one is in flight), and at least one.
pub const SLOTS_PER_SINK: usize = 8;

/// The memory of one slot. It does not move while the shipper lives.
pub trait SlotMemory {
    /// All of it.
    fn bytes(&self) -> &[u8];
    /// All of it, to write.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Makes sure that it can be written to; before its first use, and again before any other use is harmless. False: it cannot be
    /// had now (no room where the ring's file lies), and touching it would end the process.
    fn commit(&mut self) -> bool {
        true
    }
}

impl SlotMemory for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// What is being done with a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing lies in it.
    #[default]
    Free,
    /// A lane writes into it.
    Open,
    /// A sealed batch waits to be sent, for the first time or again.
    Queued,
    /// A sealed batch was sent and is not answered.
    InFlight,
    /// Its sequence was not the one expected (45) though an earlier attempt may have been appended: whether it was shows with the
    /// batches behind it.
    Held,
    /// A sealed batch is being written to the spool.
    Spilling,
    /// A batch is being read from the spool.
    Loading,
    /// Resolved, but a write of it is still under way.
    Resolved,
}

/// A compressed part of a batch that was cut, in memory of its own, laid out as a slot is. Rare, so that it may allocate.
#[derive(Debug)]
pub struct Wire {
    /// Headroom, header, records, tailroom.
    pub memory: Vec<u8>,
    /// What lies in it.
    pub sealed: Sealed,
}

/// What must be known of a batch's last attempt to find out, later and perhaps in another process, what became of it. Beside it
/// stand the batch's identity and `skip_entries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where it went.
    pub partition: i32,
    /// The topic's id; zero: not told.
    pub topic_id: [u8; 16],
    /// An offset of the partition before which it cannot lie; -1: not known.
    pub scan_from: i64,
    /// `sink::cluster_hash` of the cluster's id; 0: not told.
    pub cluster: u64,
}

/// A sealed batch's way into Kafka.
#[derive(Debug, Default)]
pub struct Batch {
    /// Hand-over order within its lane.
    pub number: u64,
    /// Its frame in the spool, if it was read from there.
    pub frame: Option<FrameRef>,
    /// All that is left of it.
    pub whole: Sealed,
    /// What is sent next: all of it, or its first records after a MESSAGE_TOO_LARGE.
    pub part: Sealed,
    /// Frozen once it was sent, until its refusal is definite.
    pub identity: Option<Identity>,
    /// True if an attempt's outcome could not be learnt.
    pub doubt: bool,
    /// True if an earlier process sent it without an identity, so that nobody can be asked: it is sent again, and counts as in
    /// doubt once it is acknowledged (it is there at least once).
    pub resent_blind: bool,
    /// The last attempt; None: there was none.
    pub attempt: Option<Attempt>,
    /// Attempts that failed.
    pub failures: u32,
    /// True if it was ever sent.
    pub sent: bool,
    /// Arrays only: entries of each record, from the first that is left on.
    pub record_entries: Vec<u32>,
    /// True once the header in memory is the one to be sent.
    pub headed: bool,
    /// True once it was cut: nothing of its lane's partition is sent beside it.
    pub in_parts: bool,
    /// To be cut to so many records before it is sent again.
    pub want_records: Option<u32>,
    /// What was sent is resolved; the rest is to be moved to the front before it is sent.
    pub want_rest: bool,
    /// The codec that it came with, once it was expanded to be cut.
    pub codec: u16,
    /// What is sent instead of the slot's memory.
    pub wire: Option<Wire>,
    /// What the tail of a part's request lies on.
    under_tail: Option<[u8; TAILROOM_BYTES]>,
}

impl Batch {
    /// Begins anew with these records. The entries of each record stay.
    pub fn seal(&mut self, sealed: Sealed) {
        self.frame = None;
        self.whole = sealed;
        self.part = sealed;
        self.identity = None;
        self.doubt = false;
        self.resent_blind = false;
        self.attempt = None;
        self.failures = 0;
        self.sent = false;
        self.headed = false;
        self.in_parts = false;
        self.want_records = None;
        self.want_rest = false;
        self.codec = 0;
        self.wire = None;
        self.under_tail = None;
    }

    /// True if it is sent in parts.
    pub const fn is_cut(&self) -> bool {
        self.part.records < self.whole.records
    }

    /// Bytes of what is sent next, header included.
    pub fn part_bytes(&self) -> usize {
        self.wire.as_ref().map_or(self.part.end, |wire| wire.sealed.end) - HEADROOM_BYTES
    }

    /// Keeps what the request's tail will be written over.
    pub fn keep_under_tail(&mut self, memory: &[u8]) {
        if self.is_cut() && self.wire.is_none() && self.under_tail.is_none() {
            let under = memory.get(self.part.end..).and_then(<[u8]>::first_chunk::<TAILROOM_BYTES>);
            self.under_tail = under.copied();
        }
    }

    /// Puts back what the tail was written over.
    pub fn put_back_tail(&mut self, memory: &mut [u8]) {
        if let Some(under) = self.under_tail.take()
            && let Some(room) = memory.get_mut(self.part.end..self.part.end + TAILROOM_BYTES)
        {
            room.copy_from_slice(&under);
        }
    }

    /// Entries of the first `records` records.
    pub fn entries_of(&self, records: u32) -> u64 {
        if self.record_entries.is_empty() {
            return u64::from(records);
        }
        self.record_entries.iter().take(records as usize).map(|entries| u64::from(*entries)).sum()
    }
}

/// One slot.
#[derive(Debug)]
pub struct Slot<M> {
    /// Its bytes.
    pub memory: M,
    /// What is being done with it.
    pub state: State,
    /// What lies in it, once sealed.
    pub batch: Batch,
    /// Writes under way.
    pub pins: u32,
    /// Index of the lane that holds it.
    pub lane: u32,
}

/// All slots of a core.
#[derive(Debug)]
pub struct Ring<M> {
    slots: Vec<Slot<M>>,
    free: Vec<SlotId>,
    /// Slots below this number were in use before.
    committed: u32,
}

impl<M: SlotMemory> Ring<M> {
    /// A ring of free slots.
    pub fn new(memory: Vec<M>) -> Self {
        let free = (0..memory.len() as u32).rev().map(SlotId).collect();
        let slot = |memory| Slot { memory, state: State::Free, batch: Batch::default(), pins: 0, lane: 0 };
        Self { slots: memory.into_iter().map(slot).collect(), free, committed: 0 }
    }

    /// Slots in all.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True without slots.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Slots that are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// The slot. Panics on a number that this ring did not give out.
    pub fn slot(&self, id: SlotId) -> &Slot<M> {
        &self.slots[id.0 as usize]
    }

    /// The slot, to change. Panics on a number that this ring did not give out.
    pub fn slot_mut(&mut self, id: SlotId) -> &mut Slot<M> {
        &mut self.slots[id.0 as usize]
    }

    /// Two slots at once; None if they are the same.
    pub fn two(&mut self, one: SlotId, other: SlotId) -> Option<(&mut Slot<M>, &mut Slot<M>)> {
        let [one, other] = self.slots.get_disjoint_mut([one.0 as usize, other.0 as usize]).ok()?;
        Some((one, other))
    }

    /// Takes the slot that was used last.
    pub fn take(&mut self, lane: u32) -> Option<SlotId> {
        let id = self.free.pop()?;
        if id.0 >= self.committed {
            // The stack gives new slots in their order.
            self.committed = id.0 + 1;
            if !self.slot_mut(id).memory.commit() {
                // Neither this one nor those that were never used: they are not there.
                self.free.retain(|other| other.0 < id.0);
                return self.take(lane);
            }
        }
        let slot = self.slot_mut(id);
        slot.state = State::Open;
        slot.lane = lane;
        slot.batch.record_entries.clear();
        Some(id)
    }

    /// Gives a slot back, now or when the writes of it that are under way have ended. True: now.
    pub fn give_back(&mut self, id: SlotId) -> bool {
        let slot = self.slot_mut(id);
        // The account is no part of what is being written out.
        slot::free(slot.memory.bytes_mut());
        if slot.pins > 0 {
            slot.state = State::Resolved;
            return false;
        }
        slot.state = State::Free;
        self.free.push(id);
        true
    }

    /// Leaves a slot as it is, for the next process to find; it is not used again.
    pub fn leave(&mut self, id: SlotId) {
        self.slot_mut(id).state = State::Resolved;
    }

    /// Every slot that holds something, with its number.
    pub fn used(&self) -> impl Iterator<Item = (SlotId, &Slot<M>)> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.state != State::Free)
            .map(|(id, slot)| (SlotId(id as u32), slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_used_last_is_taken_first() {
        let mut ring = Ring::new(vec![vec![0u8; 2_048]; 3]);
        let (first, second) = (ring.take(0), ring.take(0));
        assert_eq!((first, second), (Some(SlotId(0)), Some(SlotId(1))));
        assert!(ring.give_back(SlotId(0)));
        assert_eq!(ring.take(0), Some(SlotId(0)));
    }

    #[test]
    fn a_slot_that_is_being_written_out_is_not_free_before_the_write_ends() {
        let mut ring = Ring::new(vec![vec![0u8; 2_048]; 2]);
        let id = ring.take(0).expect("free");
        ring.slot_mut(id).pins = 1;
        assert!(!ring.give_back(id));
        assert_eq!((ring.free(), ring.slot(id).state), (1, State::Resolved));
        ring.slot_mut(id).pins = 0;
        assert!(ring.give_back(id));
        assert_eq!(ring.free(), 2);
    }
}
