//! The ring: who holds which slot, what lies in it, and which slots stand still because a write of them is under way.
//!
//! ```text
//! free → open → queued ⇄ in flight → acknowledged → free        (last used, first taken: resident memory stays small)
//! ```

use super::batch::{HEADROOM_BYTES, Identity, Sealed};
use super::compress::Compressor;
use super::cut::{self, Part, Whole};
use super::event::SlotId;
use super::options::Compression;
use super::slot;
use super::stats::LostReason;
use super::stored::FrameRef;
use crate::base::Mono;

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
    /// A sealed batch is being written to the spool.
    Spilling,
    /// A batch is being read from the spool.
    Loading,
    /// Resolved, but a write of it, or of its frame's mark, is still under way.
    Resolved,
    /// It stays as it is, for the next process to find.
    Left,
}

/// A part of a batch that was cut, in memory of its own, laid out as a slot is. Rare, so that it may allocate.
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

/// A sealed batch's way into Kafka. Its slot's memory stays as it was sealed (but for the header, which carries the identity): what
/// is sent of a batch that was cut is built in [`Wire`].
#[derive(Debug, Default)]
pub struct Batch {
    /// Hand-over order within its lane.
    pub number: u64,
    /// Its frame in the spool, if it was read from there.
    pub frame: Option<FrameRef>,
    /// What lies in the slot.
    pub whole: Sealed,
    /// Entries at its front that are resolved, once it was cut.
    pub skip_entries: u64,
    /// Records of what was sent last, or goes next.
    pub part_records: u32,
    /// Entries of what was sent last, or goes next: with `skip_entries` they say what was sent, to the byte (`cut::shape`).
    pub part_entries: u64,
    /// Entries that a part may have, once it was cut: nothing of its lane's partition is sent beside it then.
    pub cut: Option<u64>,
    /// How it is compressed on its way to Kafka. What lies in the slot is not: a process may be killed at any time, and must not leave
    /// records that are half overwritten.
    pub codec: Compression,
    /// What is sent instead of the slot's memory. None though it was cut, or is to be compressed: it is built before the next attempt.
    pub wire: Option<Wire>,
    /// Frozen once it was sent, until its refusal is definite.
    pub identity: Option<Identity>,
    /// Records that the identity's number and those behind it are for.
    pub covered: u32,
    /// True if an attempt's outcome could not be learnt.
    pub doubt: bool,
    /// True if it was in doubt and the leader did not have it: it goes again under its numbers, but an earlier attempt may still come,
    /// over a connection that is gone.
    pub late: bool,
    /// True if an earlier process sent it without an identity, so that nobody can be asked, or if nobody would say: it is sent
    /// again, and counts as in doubt once it is acknowledged (it is there at least once).
    pub resent_blind: bool,
    /// True if an earlier process sent it and the broker was not asked about it yet: nothing is sent before.
    pub unasked: bool,
    /// True if the leader has it, and the acknowledgement of a batch behind it will tell that the replicas have it too.
    pub passed: bool,
    /// Refused for good, though an earlier attempt may be there.
    pub refused: Option<LostReason>,
    /// The last attempt; None: there was none.
    pub attempt: Option<Attempt>,
    /// Attempts that failed.
    pub failures: u32,
    /// True if it was ever sent.
    pub sent: bool,
    /// When this process sent it, or its part at hand, for the first time.
    pub first_sent: Option<Mono>,
    /// Arrays only: entries of each record.
    pub record_entries: Vec<u32>,
    /// True once the header in memory is the one to be sent.
    pub headed: bool,
}

/// What is known of a batch from before a restart, beside its bytes and the entries of each record.
#[derive(Clone, Copy, Debug)]
pub struct Recovered {
    /// What lies in the slot.
    pub sealed: Sealed,
    /// Entries at its front that are resolved.
    pub skip_entries: u64,
    /// Entries of what was sent last; 0: all that are left.
    pub part_entries: u64,
    /// What it was sent with.
    pub identity: Option<Identity>,
    /// Where it was sent to. None: never sent, so that it cannot be there.
    pub attempt: Option<Attempt>,
}

impl Batch {
    /// Begins anew with these records. The entries of each record stay.
    pub fn seal(&mut self, sealed: Sealed) {
        let record_entries = std::mem::take(&mut self.record_entries);
        *self = Self {
            whole: sealed,
            part_records: sealed.records,
            part_entries: sealed.entries,
            record_entries,
            ..Self::default()
        };
    }

    /// Takes over a batch from before a restart; the entries of each record are in place. What was sent is in doubt, and the
    /// broker is asked about it (`Queue::resume`); without an identity it is sent again and counted.
    pub fn recover(&mut self, recovered: &Recovered) {
        self.seal(recovered.sealed);
        self.sent = recovered.attempt.is_some();
        self.attempt = recovered.attempt;
        self.identity = recovered.identity.filter(|_| self.sent);
        self.doubt = self.sent;
        self.resent_blind = self.sent && self.identity.is_none();
        self.unasked = self.identity.is_some();
        self.skip_entries = recovered.skip_entries;
        let left = self.entries_left();
        let most = if recovered.part_entries == 0 { left } else { recovered.part_entries };
        if recovered.skip_entries > 0 || most < left {
            self.cut = Some(most);
            if let Some(part) = self.next_part() {
                (self.part_records, self.part_entries) = (part.records, part.entries);
            }
        }
        self.covered = self.part_records;
    }

    /// Entries of everything that is not resolved.
    pub const fn entries_left(&self) -> u64 {
        self.whole.entries.saturating_sub(self.skip_entries)
    }

    /// True if nothing is left once the part at hand is resolved.
    pub const fn is_last_part(&self) -> bool {
        self.part_entries >= self.entries_left()
    }

    /// True if its outcome cannot be said to be a loss.
    pub const fn may_be_there(&self) -> bool {
        self.doubt || self.resent_blind
    }

    /// True if an earlier attempt under its numbers may be there, or come.
    pub const fn may_have_come(&self) -> bool {
        self.doubt || self.late
    }

    /// True if the next attempt is not the last one's bytes.
    pub const fn is_to_be_cut(&self) -> bool {
        self.cut.is_some() && self.wire.is_none()
    }

    /// Bytes of what is sent next, header included.
    pub fn part_bytes(&self) -> usize {
        self.wire.as_ref().map_or(self.whole.end, |wire| wire.sealed.end) - HEADROOM_BYTES
    }

    /// Which records go next.
    fn next_part(&self) -> Option<Part> {
        cut::shape(&self.record_entries, self.whole.records, self.skip_entries, self.cut.unwrap_or(u64::MAX))
    }

    /// The part at hand was too large: half of it goes next. True if that cuts a record, so that there will be more of them.
    pub fn cut_in_half(&mut self) -> bool {
        let inside = self.part_records == 1;
        let half = match self.next_part() {
            Some(part) if !inside => {
                let entries = |record| self.record_entries.get(record as usize).copied().unwrap_or(1);
                (part.first..part.first + self.part_records / 2).map(|record| u64::from(entries(record))).sum()
            }
            _ => self.part_entries / 2,
        };
        (self.cut, self.wire) = (Some(half.max(1)), None);
        inside
    }

    /// The part at hand is resolved: the rest goes next, in parts of the same size. `anew`: of whatever size is taken.
    pub fn go_on(&mut self, anew: bool) {
        self.skip_entries += self.part_entries;
        self.covered = self.covered.saturating_sub(self.part_records);
        self.identity = match self.identity {
            Some(identity) if self.covered > 0 => {
                Some(Identity { sequence: sequence_after(identity.sequence, self.part_records), ..identity })
            }
            _ => None,
        };
        if anew {
            self.cut = Some(u64::MAX);
        }
        (self.doubt, self.unasked, self.passed, self.refused, self.sent) = (false, false, false, None, false);
        (self.failures, self.wire, self.attempt, self.first_sent, self.late) = (0, None, None, None, false);
    }

    /// Of the part at hand only the first `records` are resolved next. False if it is not known how many entries that are.
    pub fn narrow(&mut self, records: u32) -> bool {
        let Some(part) = self.next_part().filter(|part| part.records > records && part.before == 0) else {
            return false;
        };
        let entries = |record| self.record_entries.get(record as usize).copied().unwrap_or(1);
        self.part_entries = (part.first..part.first + records).map(|record| u64::from(entries(record))).sum();
        self.part_records = records;
        self.cut = self.cut.or(Some(u64::MAX));
        true
    }

    /// Builds the part that goes next, if it is not at hand. None if the batch's bytes are not what they should be.
    pub fn reshape(&mut self, memory: &[u8], compressor: &mut Compressor) -> Option<()> {
        if !self.is_to_be_cut() {
            if self.wire.is_none() && self.codec != Compression::None {
                self.wire = cut::pack(memory, &self.whole, self.codec, compressor);
                self.headed = false;
            }
            return Some(());
        }
        let part = self.next_part()?;
        let whole = Whole { memory, sealed: &self.whole, record_entries: &self.record_entries };
        let mut wire = cut::build(whole, part, compressor)?;
        compressor.compress_batch(self.codec, &mut wire.memory, &mut wire.sealed);
        self.wire = Some(wire);
        (self.part_records, self.part_entries, self.headed) = (part.records, part.entries, false);
        Some(())
    }

    /// Its numbers are of no use any more: it was never appended under them, or they are not this cluster's.
    pub fn forget_identity(&mut self) {
        (self.identity, self.covered, self.doubt, self.unasked, self.passed) = (None, 0, false, false, false);
        self.late = false;
        // What an attempt without a number may have done stays.
        if !self.resent_blind {
            (self.sent, self.attempt) = (false, None);
        }
    }
}

/// The sequence behind `records` records that begin at `sequence`; after `i32::MAX` comes 0 (KIP-98).
pub fn sequence_after(sequence: i32, records: u32) -> i32 {
    ((i64::from(sequence) + i64::from(records)) % (i64::from(i32::MAX) + 1)) as i32
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
    /// Slots that are there: those whose memory cannot be had are not.
    usable: usize,
}

impl<M: SlotMemory> Ring<M> {
    /// A ring of free slots.
    pub fn new(memory: Vec<M>) -> Self {
        let (free, usable) = ((0..memory.len() as u32).rev().map(SlotId).collect(), memory.len());
        let slot = |memory| Slot { memory, state: State::Free, batch: Batch::default(), pins: 0, lane: 0 };
        Self { slots: memory.into_iter().map(slot).collect(), free, committed: 0, usable }
    }

    /// Slots in all.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Slots that can be used; fewer than [`Ring::len`] once there was no memory for one.
    pub fn usable(&self) -> usize {
        self.usable
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
                self.usable = id.0 as usize;
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
        slot.batch.wire = None;
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
        self.slot_mut(id).state = State::Left;
    }

    /// The batch in a slot is resolved, but the slot goes on saying so until its frame does.
    pub fn keep_until_marked(&mut self, id: SlotId) {
        let slot = self.slot_mut(id);
        slot.pins += 1;
        slot.state = State::Resolved;
        slot.batch.wire = None;
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
