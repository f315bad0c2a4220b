//! From an entry to a sealed batch: which slot it goes into, when a batch takes no more, and who gets a slot when they are few.

use super::Shipper;
use crate::base::Mono;
use crate::base::time::Now;
use crate::kafka::batch::Out;
use crate::kafka::event::{Appended, SlotId};
use crate::kafka::lane::{Open, Pushed};
use crate::kafka::options::{LaneId, Mode};
use crate::kafka::partition;
use crate::kafka::ring::{SLOTS_PER_SINK, SlotMemory, State};
use crate::kafka::slot;
use crate::kafka::stored::Stored;

/// The part of the ring (one in so many slots) that only lanes with fewer than [`LANE_SLOTS`] may take from.
const LANE_RESERVE: usize = 4;
/// See [`LANE_RESERVE`]: one fills while one is in flight.
const LANE_SLOTS: u32 = 2;
/// See [`Shipper::has_room`]: one in so many slots is kept for exchanges that had begun.
const ROOM_SHARE: usize = 4;
/// Below this share of free slots (one in so many) open batches are sealed early.
const NEED_SHARE: usize = 8;

impl<M: SlotMemory> Shipper<M> {
    pub(super) fn append_entry(&mut self, id: LaneId, now: Now, render: &mut dyn FnMut(&mut Out<'_>)) -> Appended {
        let index = id.index as usize;
        let Some(lane) = self.lanes.get_mut(index).filter(|lane| lane.live && lane.generation == id.generation) else {
            self.stats.dropped += 1;
            return Appended::Full;
        };
        if lane.spec.max_pending_entries.is_some_and(|most| lane.held >= most) {
            return self.refuse(index, now.mono);
        }
        if let Some(open) = &mut lane.open {
            let slot = self.ring.slot_mut(open.slot);
            let to = (&lane.key[..], lane.spec.batching, lane.batch_bytes);
            let memory = slot.memory.bytes_mut();
            if let Ok(pushed) = open.push(memory, to, now, &mut slot.batch.record_entries, render) {
                self.tickets.note(open.slot, open.batch.entries());
                let target = self.options.batch_bytes.min(lane.batch_bytes);
                let over = open.batch.bytes() >= target && (!open.over || open.batch.bytes() >= lane.batch_bytes);
                open.over |= over;
                lane.held += 1;
                lane.pushed += 1;
                self.held += 1;
                self.stats.accepted += 1;
                if over || pushed == Pushed::Ready {
                    self.advance(index, now.mono);
                }
                return Appended::Accepted;
            }
        }
        self.append_to_next(index, now, render)
    }

    /// False while a lane whose overflow is `Backpressure` should get no new requests: the ring is nearly full. What is on its way
    /// then still fits.
    pub fn has_room(&self, lane: LaneId) -> bool {
        let Some(index) = self.index_of(lane) else { return true };
        let lane = &self.lanes[index];
        let reserved = self.owed(lane.sink) + self.load_reserve() + self.kept_for_held(index);
        let is_full = lane.spec.max_pending_entries.is_some_and(|most| lane.held >= most);
        self.ring.free() > reserved.max(self.ring.usable() / ROOM_SHARE) && !is_full
    }

    /// The open batch is full, or there is none: seals it and begins the next with this entry.
    fn append_to_next(&mut self, index: usize, now: Now, render: &mut dyn FnMut(&mut Out<'_>)) -> Appended {
        self.seal(index, now.mono);
        if self.ring.free() <= self.ring.usable() / NEED_SHARE || !self.may_take(index) {
            self.seal_for_need(index, now.mono);
        }
        let Some(id) = self.take_slot(index) else {
            self.advance(index, now.mono);
            return self.refuse(index, now.mono);
        };
        let lane = &mut self.lanes[index];
        let slot = self.ring.slot_mut(id);
        let memory = slot.memory.bytes_mut();
        let opened = lane.open_in(id, memory);
        // Before the entry is rendered: should that panic, the slot is this lane's empty batch and not nobody's.
        let open = lane.open.insert(opened);
        let to = (&lane.key[..], lane.spec.batching, lane.batch_bytes);
        if let Err(overflow) = open.push(memory, to, now, &mut slot.batch.record_entries, render) {
            lane.open = None;
            self.give_back(id);
            self.advance(index, now.mono);
            return self.refuse_too_large(index, overflow.entry_bytes, now.mono);
        }
        self.tickets.note(id, open.batch.entries());
        lane.held += 1;
        lane.pushed += 1;
        self.held += 1;
        self.stats.accepted += 1;
        self.advance(index, now.mono);
        Appended::Accepted
    }

    /// Looks after one lane between two pumps.
    fn advance(&mut self, index: usize, now: Mono) {
        self.drive_lane(index, now);
        self.drive_sink(self.lanes[index].sink, now);
        self.note_deadlines();
    }

    /// Seals what is due if it could be sent, and closes an array whose time has come.
    pub(super) fn seal_if_due(&mut self, index: usize, now: Mono) {
        if let Some(due) = self.lanes[index].array_due() {
            if due <= now {
                self.close_array(index, now);
            } else {
                self.note_wake(due);
            }
        }
        self.close_held_array(index, now);
        let lane = &self.lanes[index];
        let Some(open) = &lane.open else { return };
        let Some(since) = open.since else { return };
        if open.batch.bytes() >= lane.batch_bytes {
            return self.seal_ready(index, now);
        }
        if !self.pipe_is_free(index) {
            return;
        }
        let linger_ms = match self.sinks[lane.sink].spec.mode {
            Mode::Sync | Mode::Held => 0,
            Mode::Async => self.options.linger_ms,
        };
        let due = since.plus_ms(linger_ms);
        if due <= now || open.batch.bytes() >= self.options.batch_bytes {
            self.seal_ready(index, now);
        } else {
            self.note_wake(due);
        }
    }

    /// True if a batch that is sealed now can be sent at once, as far as this lane can tell.
    pub(super) fn pipe_is_free(&self, index: usize) -> bool {
        let lane = &self.lanes[index];
        let topic = &self.sinks[lane.sink].topics[lane.topic];
        if !lane.waiting.is_empty() || topic.leaders.is_empty() || !lane.tail.is_empty() || self.is_behind(index) {
            return false;
        }
        let partition = match (&lane.spec.key, lane.sticky) {
            (Some(key), _) => partition::of_key(lane.spec.partitioner, key, topic.leaders.len() as u32),
            (None, Some((partition, _))) => partition as u32,
            (None, None) => return true,
        };
        let window = self.sinks[lane.sink].window() as usize;
        lane.queues
            .get(partition as usize)
            .is_none_or(|queue| queue.batches.len() < window && queue.batches.len() == queue.in_flight as usize)
    }

    pub(super) fn close_array(&mut self, index: usize, now: Mono) {
        if let Some(open) = &mut self.lanes[index].open {
            let slot = self.ring.slot_mut(open.slot);
            open.close_array(slot.memory.bytes_mut(), &mut slot.batch.record_entries, now);
        }
    }

    /// Seals the messages that are complete. An array that is still open goes on in another slot, or is closed if there is none.
    ///
    /// The next slot is taken first: a lane that seals and then finds none would refuse entries though it holds little. Without
    /// one, and with batches on their way, nothing is sealed: the batch grows until a slot comes back.
    fn seal_ready(&mut self, index: usize, now: Mono) {
        let Some(open) = self.lanes[index].open else { return };
        let alone = self.lanes[index].slots == 1;
        let next = if open.batch.array_entries() > 0 {
            self.carry_array(index)
        } else if !alone || self.ring.free() > self.ring.len() / LANE_RESERVE {
            self.empty_batch(index)
        } else {
            None
        };
        if next.is_none() && !alone && open.batch.bytes() < self.lanes[index].batch_bytes {
            return;
        }
        self.seal(index, now);
        self.lanes[index].open = next;
    }

    fn empty_batch(&mut self, index: usize) -> Option<Open> {
        let id = self.take_slot(index)?;
        Some(self.lanes[index].open_in(id, self.ring.slot_mut(id).memory.bytes_mut()))
    }

    /// An empty batch that a lane holds though nothing else of it is left goes back to the others.
    pub(super) fn release_empty(&mut self, index: usize, now: Mono) {
        let lane = &self.lanes[index];
        if lane.slots == 1 && lane.open.is_some_and(|open| open.batch.entries() == 0) {
            self.seal(index, now);
        }
    }

    fn carry_array(&mut self, index: usize) -> Option<Open> {
        let open = self.lanes[index].open.filter(|open| open.batch.array_entries() > 0)?;
        let id = self.take_slot(index)?;
        let lane = &mut self.lanes[index];
        let (from, to) = self.ring.two(open.slot, id)?;
        let mut next = lane.open_in(id, to.memory.bytes_mut());
        (next.array_first, next.array_last) = (open.array_first, open.array_last);
        let mut left = open.batch;
        if !left.carry_array(from.memory.bytes(), &mut next.batch, to.memory.bytes_mut(), &lane.key) {
            self.give_back(id);
            return None;
        }
        // It counts in the new slot first: between the two it stands twice, which `slot::drop_carried` sees, and never nowhere.
        slot::progress(to.memory.bytes_mut(), &next.batch);
        slot::progress(from.memory.bytes_mut(), &left);
        lane.open = Some(Open { batch: left, ..open });
        Some(next)
    }

    /// Seals the open batch, an open array included. Harmless without one.
    pub(super) fn seal(&mut self, index: usize, now: Mono) {
        self.close_array(index, now);
        let lane = &mut self.lanes[index];
        let Some(open) = lane.open.take() else { return };
        let sealed = open.batch.sealed();
        if sealed.records == 0 {
            return self.give_back(open.slot);
        }
        let slot = self.ring.slot_mut(open.slot);
        slot.batch.seal(sealed);
        slot.batch.codec = self.sinks[lane.sink].spec.compression;
        slot.batch.number = open.number;
        slot.state = State::Queued;
        slot::seal(slot.memory.bytes_mut(), &Stored { sealed, ..lane.account(open.number) });
        self.enqueue(index, open.slot);
    }

    /// A slot for this lane, if its share allows one.
    fn take_slot(&mut self, index: usize) -> Option<SlotId> {
        if !self.may_take(index) {
            return None;
        }
        self.take_free_slot(index)
    }

    pub(super) fn take_free_slot(&mut self, index: usize) -> Option<SlotId> {
        let id = self.ring.take(index as u32)?;
        let lane = &mut self.lanes[index];
        lane.slots += 1;
        self.sinks[lane.sink].slots += 1;
        self.stats.slots_used += 1;
        self.tickets.begin(id);
        self.list(index);
        Some(id)
    }

    /// Slots that every sink can always get.
    pub(super) fn share(&self) -> usize {
        let all = self.ring.usable();
        let sinks = self.sinks.iter().filter(|sink| sink.lanes > 0).count();
        let least = if all >= 3 * sinks { 2 } else { 1 };
        (all / (2 * sinks.max(1))).clamp(least, SLOTS_PER_SINK)
    }

    /// Slots that the other sinks can still get for sure.
    pub(super) fn owed(&self, but: usize) -> usize {
        let share = self.share();
        let others = self.sinks.iter().enumerate().filter(|(other, sink)| *other != but && sink.lanes > 0);
        others.map(|(_, sink)| share.saturating_sub(sink.slots as usize)).sum()
    }

    /// Every sink can always get a few slots, and every lane two, however full the others' queues are.
    fn may_take(&self, index: usize) -> bool {
        let (free, all) = (self.ring.free(), self.ring.usable());
        if free <= self.load_reserve() + self.kept_for_held(index) {
            return false;
        }
        let lane = &self.lanes[index];
        let own = self.sinks[lane.sink].slots as usize;
        if free <= self.owed(lane.sink) && own >= self.share() {
            return false;
        }
        let lanes = self.lanes.len() - self.vacant.len();
        lane.slots < LANE_SLOTS || free > (all / LANE_RESERVE).min(lanes - 1)
    }

    /// Slots are few: an empty one that another lane holds comes back, or another lane's batch that waits only for time goes now; if
    /// Kafka takes none, the largest of those that may goes to the spool.
    fn seal_for_need(&mut self, but: usize, now: Mono) {
        let empty = |index: &u32| {
            let open = self.lanes[*index as usize].open;
            *index as usize != but && open.is_some_and(|open| open.batch.entries() == 0)
        };
        if let Some(index) = self.busy.iter().copied().find(empty) {
            return self.seal(index as usize, now);
        }
        let waits = |index: &usize| {
            let lane = &self.lanes[*index];
            *index != but && lane.open.is_some_and(|open| open.batch.entries() > 0) && self.pipe_is_free(*index)
        };
        let spills = |index: &usize| {
            let open = self.lanes[*index].open;
            *index != but && open.is_some_and(|open| open.batch.entries() > 0) && self.should_spill(*index)
        };
        let bytes = |index: &usize| self.lanes[*index].open.map_or(0, |open| open.batch.bytes());
        let busy = || self.busy.iter().map(|index| *index as usize);
        let largest = busy().filter(waits).max_by_key(bytes);
        if let Some(index) = largest.or_else(|| busy().filter(spills).max_by_key(bytes)) {
            self.seal(index, now);
            self.drive_lane(index, now);
        }
    }

    /// Gives a slot back, now or when its last write has ended.
    pub(super) fn give_back(&mut self, id: SlotId) {
        if self.ring.give_back(id) {
            self.slot_is_free(id);
        }
    }

    /// A write of a slot's memory has ended.
    pub(super) fn on_sent(&mut self, id: SlotId) {
        if id.0 as usize >= self.ring.len() {
            return;
        }
        self.unpin(id);
        let slot = self.ring.slot(id);
        // While something else is under way the slot still says what became of its batch.
        if slot.pins == 0 && slot.state == State::Resolved && self.ring.give_back(id) {
            self.slot_is_free(id);
        }
    }

    pub(super) fn unpin(&mut self, id: SlotId) {
        let slot = self.ring.slot_mut(id);
        slot.pins = slot.pins.saturating_sub(1);
    }

    fn slot_is_free(&mut self, id: SlotId) {
        let lane = &mut self.lanes[self.ring.slot(id).lane as usize];
        lane.slots -= 1;
        self.sinks[lane.sink].slots -= 1;
        self.stats.slots_used -= 1;
    }

    /// What lies in the slot is sealed: on to its partition, or behind what is in the spool.
    fn enqueue(&mut self, index: usize, id: SlotId) {
        let spills = self.should_spill(index);
        let lane = &mut self.lanes[index];
        if lane.tail.is_empty() && !spills {
            lane.waiting.push_back(id);
        } else {
            lane.tail.queue.push_back(id);
        }
    }

    fn refuse(&mut self, index: usize, now: Mono) -> Appended {
        self.stats.dropped += 1;
        self.sink_stats(index).dropped += 1;
        self.report_refused(index, now);
        Appended::Full
    }

    fn refuse_too_large(&mut self, index: usize, bytes: usize, now: Mono) -> Appended {
        self.stats.too_large += 1;
        self.sink_stats(index).too_large += 1;
        self.report_too_large(index, bytes, now);
        Appended::TooLarge { bytes }
    }
}
