//! The spool as the queue's tail: which batches go to disk when the ring fills up, when they come back, what of an earlier run is
//! delivered first. Which files they lie in is `spool`'s business, who writes them the shell's.
//!
//! While anything of a lane is in the spool, whatever is sealed goes behind it. Frames come back one at a time, in order, into
//! slots of the ring, and keep their place on disk until they are resolved.

use super::{Ending, Shipper};
use crate::base::Mono;
use crate::kafka::connection::Phase;
use crate::kafka::event::{Action, SlotId};
use crate::kafka::lane::{Lane, Resume, Spooled};
use crate::kafka::options::{Batching, LaneId, LaneSpec, Overflow};
use crate::kafka::producer::Queue;
use crate::kafka::ring::{Attempt, Batch, Recovered, SlotMemory, State, sequence_after};
use crate::kafka::slot;
use crate::kafka::stats::LostReason;
use crate::kafka::stored::{FrameRef, STORED_AT, STORED_BYTES, Stored};
use crate::kafka::{batch, cut};

/// Batches go to the spool once fewer than one in so many slots is free,
const PRESSURE_SHARE: usize = 4;
/// or one in so many while Kafka takes nothing: what is written then leaves entries room for as long as that takes.
const STUCK_SHARE: usize = 2;
/// Slots that only frames coming back may take while the spool holds something, so that it can always be emptied.
pub(super) const LOAD_RESERVE: usize = 2;
/// Batches of a lane that are in the ring at most when a frame is read: enough to fill a partition's window.
const LOAD_AHEAD: usize = 8;
/// Milliseconds until the spool is tried again after it took nothing, or gave nothing.
const SPOOL_RETRY_MS: u64 = 500;
/// Reads of one frame that fail before its entries are given up.
const LOAD_TRIES: u32 = 5;

/// What must be known of a batch that has a partition: what of it is resolved is not sent again. `account` is how its account began.
pub(super) fn placed(account: Stored, batch: &Batch, partition: i32) -> Stored {
    Stored { sealed: batch.whole, partition: Some(partition), skip: batch.skip_entries, ..account }
}

/// What must be known of a batch that is about to be sent if this process ends then; `account` is how its account began.
pub(super) fn stored(account: Stored, batch: &Batch) -> Stored {
    let Some(attempt) = batch.attempt else { return account };
    Stored {
        part: batch.part_entries,
        identity: batch.identity,
        topic_id: attempt.topic_id,
        scan_from: attempt.scan_from,
        cluster: attempt.cluster,
        sent: true,
        ..placed(account, batch, attempt.partition)
    }
}

impl<M: SlotMemory> Shipper<M> {
    /// True if this lane's next batches belong on disk: the ring fills up, and this lane has its share of it.
    pub(super) fn should_spill(&self, index: usize) -> bool {
        let lane = &self.lanes[index];
        let sink = &self.sinks[lane.sink];
        let share = if self.is_stuck(index) { STUCK_SHARE } else { PRESSURE_SHARE };
        self.may_spill(index)
            && (self.ending == Ending::Stowing
                || self.ring.free() <= self.ring.usable() / share + self.load_reserve()
                    && sink.slots as usize >= self.share())
    }

    /// True if nothing shows that Kafka will soon take this lane's batches.
    fn is_stuck(&self, index: usize) -> bool {
        let lane = &self.lanes[index];
        let sink = &self.sinks[lane.sink];
        sink.trouble.is_some()
            || sink.topics[lane.topic].leaders.is_empty()
            || lane.queues.iter().any(|queue| queue.stalled_since.is_some())
    }

    fn may_spill(&self, index: usize) -> bool {
        let lane = &self.lanes[index];
        self.options.spool && lane.spec.stored_as != 0 && self.sinks[lane.sink].spec.overflow == Overflow::Spool
    }

    /// Writes what is to be written, reads what there is room for.
    pub(super) fn drive_tail(&mut self, index: usize, now: Mono) {
        if self.lanes[index].tail.is_empty() {
            return self.report_unspooled(index);
        }
        self.take_back(index);
        let tail = &self.lanes[index].tail;
        if now < tail.retry_at {
            let at = tail.retry_at;
            return self.note_wake(at);
        }
        if tail.spilling.is_none() && !tail.queue.is_empty() {
            self.spill_next(index);
        }
        self.load_next(index);
    }

    /// Batches that waited to be written need not be if nothing is in front of them and the ring has room again.
    fn take_back(&mut self, index: usize) {
        let keeps = self.should_spill(index);
        let lane = &mut self.lanes[index];
        let tail = &mut lane.tail;
        if !keeps && tail.frames.is_empty() && tail.spilling.is_none() && tail.loading.is_none() {
            lane.waiting.extend(tail.queue.drain(..));
        }
    }

    fn spill_next(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        // A write to a connection that is closed may still read it: its end comes as an event.
        let Some(id) = lane.tail.queue.front().copied().filter(|id| self.ring.slot(*id).pins == 0) else { return };
        lane.tail.queue.pop_front();
        lane.tail.spilling = Some(id);
        let slot = self.ring.slot_mut(id);
        let memory = slot.memory.bytes_mut();
        let stored = slot::account(memory)
            .unwrap_or_else(|| Stored { sealed: slot.batch.whole, ..lane.account(slot.batch.number) });
        batch::write_header(memory, &stored.sealed, stored.identity.unwrap_or(batch::Identity::NONE));
        slot.batch.headed = false;
        stored.write(&mut memory[STORED_AT..]);
        slot.state = State::Spilling;
        slot.pins += 1;
        let range = STORED_AT..stored.sealed.end;
        self.actions.push_back(Action::Spill { lane: stored.lane, slot: id, range });
    }

    pub(super) fn on_spilled(&mut self, id: SlotId, frame: Option<FrameRef>, now: Mono) {
        if id.0 as usize >= self.ring.len() {
            return;
        }
        self.unpin(id);
        let index = self.ring.slot(id).lane as usize;
        let lane = &mut self.lanes[index];
        if lane.tail.spilling != Some(id) {
            return;
        }
        lane.tail.spilling = None;
        let slot = self.ring.slot_mut(id);
        slot.state = State::Queued;
        match frame {
            Some(frame) => {
                let Ok(stored) = Stored::read(&slot.memory.bytes()[STORED_AT..]) else { return };
                // What was sent already is older than what lies there.
                let at = lane.tail.frames.partition_point(|other| other.stored.number < stored.number);
                lane.tail.frames.insert(at, Spooled { frame, stored });
                self.stats.batches_spilled += 1;
                self.spooled(index, Spooled { frame, stored });
                self.give_back(id);
                self.report_spooling(index, now);
            }
            None => {
                lane.tail.queue.push_front(id);
                lane.tail.retry_at = now.plus_ms(SPOOL_RETRY_MS);
                self.report_spool_full(index, now);
            }
        }
    }

    /// Reads the oldest frame if a partition can take it.
    fn load_next(&mut self, index: usize) {
        let lane = &self.lanes[index];
        let topic = &self.sinks[lane.sink].topics[lane.topic];
        let can_go = lane.tail.loading.is_none() && !lane.tail.frames.is_empty() && !topic.leaders.is_empty();
        // What failed before must be settled first: no frame takes a slot that it cannot leave.
        let stalled = self.is_stalled(index);
        let own = self.under_way(index);
        if !can_go || self.ending != Ending::No || self.is_behind(index) || own >= LOAD_AHEAD || stalled && own > 0 {
            return;
        }
        // A cluster that cannot be reached takes nothing: its frames are better where they are.
        if !self.has_connection(index) {
            return;
        }
        let Some(id) = self.take_slot_for_load(index) else { return };
        let Some(spooled) = self.lanes[index].tail.frames.pop_front() else { return };
        self.ring.slot_mut(id).state = State::Loading;
        self.ring.slot_mut(id).pins += 1;
        self.lanes[index].tail.loading = Some((id, spooled));
        self.actions.push_back(Action::Load { frame: spooled.frame, slot: id });
    }

    /// True if what is read for this lane cannot leave. Without a key one partition that takes it is enough.
    fn is_stalled(&self, index: usize) -> bool {
        let lane = &self.lanes[index];
        let stalled = lane.queues.iter().filter(|queue| queue.stalled_since.is_some()).count();
        match lane.spec.key {
            Some(_) => stalled > 0,
            None => stalled >= self.sinks[lane.sink].topics[lane.topic].leaders.len(),
        }
    }

    /// True if some broker of the lane's cluster answers.
    fn has_connection(&self, index: usize) -> bool {
        let sink = self.lanes[index].sink;
        self.connections.iter().any(|connection| connection.sink == sink && connection.phase == Phase::Ready)
    }

    pub(super) fn on_loaded(&mut self, id: SlotId, read: bool, now: Mono) {
        if id.0 as usize >= self.ring.len() {
            return;
        }
        self.unpin(id);
        let index = self.ring.slot(id).lane as usize;
        let Some((_, spooled)) = self.lanes[index].tail.loading.take_if(|(slot, _)| *slot == id) else { return };
        if self.ending == Ending::Stowing {
            // It is where it belongs already.
            self.lanes[index].tail.frames.push_front(spooled);
            return self.give_back(id);
        }
        let slot = self.ring.slot_mut(id);
        let memory = slot.memory.bytes_mut();
        let found = Stored::read(memory.get(STORED_AT..).unwrap_or_default());
        let whose = |stored: Stored| (stored.lane, stored.origin, stored.number);
        let same = |found: Stored| whose(found) == whose(spooled.stored);
        let sealed = spooled.stored.sealed;
        if read && found.is_ok_and(same) && batch::crc_is_right(memory, sealed.end) {
            self.lanes[index].tail.failures = 0;
            self.stats.batches_loaded += 1;
            self.unspooled(index, spooled);
            return self.take_in(index, id, spooled);
        }
        self.give_back(id);
        let tail = &mut self.lanes[index].tail;
        tail.failures += 1;
        tail.retry_at = now.plus_ms(SPOOL_RETRY_MS);
        if tail.failures < LOAD_TRIES {
            tail.frames.push_front(spooled);
            return;
        }
        tail.failures = 0;
        self.lose_frame(index, spooled);
    }

    /// A frame that was read is a batch of the ring again.
    fn take_in(&mut self, index: usize, id: SlotId, Spooled { frame, stored }: Spooled) {
        let lane = &mut self.lanes[index];
        let slot = self.ring.slot_mut(id);
        if let Batching::Array { .. } = lane.spec.batching {
            cut::record_entries(slot.memory.bytes(), &stored.sealed, &mut slot.batch.record_entries);
        }
        let cluster = self.sinks[lane.sink].cluster;
        // Another cluster cannot say what became of it.
        let may_ask = stored.cluster == 0 || cluster == 0 || stored.cluster == cluster;
        let Stored { topic_id, scan_from, .. } = stored;
        let attempt = |partition| Attempt { partition, topic_id, scan_from, cluster: stored.cluster };
        slot.batch.recover(&Recovered {
            sealed: stored.sealed,
            skip_entries: stored.skip,
            part_entries: stored.part,
            identity: stored.identity.filter(|_| may_ask),
            attempt: stored.partition.filter(|_| stored.sent).map(attempt),
        });
        slot.batch.number = stored.number;
        slot.batch.codec = self.sinks[lane.sink].spec.compression;
        slot.batch.frame = Some(frame);
        slot.state = State::Queued;
        slot::seal(slot.memory.bytes_mut(), &stored);
        let Some(partition) = stored.partition else {
            return lane.waiting.push_back(id);
        };
        let at = usize::try_from(partition).unwrap_or(0);
        while lane.queues.len() <= at {
            lane.queues.push(Queue::default());
        }
        if let Some(known) = lane.tail.resumes.iter().position(|resume| resume.partition == partition) {
            let Resume { producer, next_sequence, scan_from, .. } = lane.tail.resumes.swap_remove(known);
            // Another cluster never heard of that producer.
            if may_ask {
                lane.queues[at].resume(producer, next_sequence, scan_from);
            }
        }
        lane.queues[at].take_over(&self.ring, id);
    }

    /// A frame that cannot be read: its entries are lost, its file stays for whoever looks into it.
    fn lose_frame(&mut self, index: usize, spooled: Spooled) {
        let entries = spooled.stored.entries_left();
        self.unspooled(index, spooled);
        self.stats.lost.add(LostReason::Spool, entries);
        self.sink_stats(index).lost.add(LostReason::Spool, entries);
        self.lanes[index].held -= entries;
        self.held -= entries;
        self.report_frame_lost(index, entries);
    }

    /// A batch is resolved: its frame is of no use any more. True if it has one: its slot comes back once that says so too. (A process
    /// that is killed in between leaves the identity in the slot, and the next one asks.)
    pub(super) fn frame_done(&mut self, id: SlotId) -> bool {
        let Some(frame) = self.ring.slot_mut(id).batch.frame.take() else { return false };
        self.ring.keep_until_marked(id);
        self.actions.push_back(Action::FrameDone { frame, slot: id });
        true
    }

    /// Puts everything of a lane that is in the ring on its way to the spool; connections are closed already.
    pub(super) fn stow_lane(&mut self, index: usize, now: Mono) {
        self.seal(index, now);
        if !self.may_spill(index) {
            return;
        }
        let lane = &mut self.lanes[index];
        let mut older: Vec<SlotId> = lane.queues.iter_mut().flat_map(|queue| queue.batches.drain(..)).collect();
        older.extend(lane.waiting.drain(..));
        older.sort_by_key(|id| self.ring.slot(*id).batch.number);
        for id in older.into_iter().rev() {
            match self.ring.slot(id).batch.frame {
                Some(frame) => self.put_down(index, id, frame),
                None => self.lanes[index].tail.queue.push_front(id),
            }
        }
    }

    /// A batch that has a frame already: what was learnt since is written over the frame's front.
    fn put_down(&mut self, index: usize, id: SlotId, frame: FrameRef) {
        let Some(stored) = slot::account(self.ring.slot(id).memory.bytes()) else { return };
        let mut bytes = vec![0; STORED_BYTES];
        stored.write(&mut bytes);
        self.actions.push_back(Action::Restate { frame, bytes });
        self.lanes[index].tail.frames.push_front(Spooled { frame, stored });
        self.spooled(index, Spooled { frame, stored });
        // Should this process be killed before that is written, the next one finds it here.
        self.ring.leave(id);
    }

    /// Takes an earlier run's frames into a lane that was made for them.
    pub(super) fn adopt_frames(&mut self, index: usize, frames: Vec<(FrameRef, Stored)>) {
        let entries: u64 = frames.iter().map(|(_, stored)| stored.entries_left()).sum();
        self.held += entries;
        self.stats.accepted += entries;
        self.stats.recovered += entries;
        for (frame, stored) in &frames {
            self.spooled(index, Spooled { frame: *frame, stored: *stored });
        }
        let lane = &mut self.lanes[index];
        lane.retired = true;
        lane.held += entries;
        lane.pushed += entries;
        lane.next_number = frames.iter().map(|(_, stored)| stored.number + 1).max().unwrap_or(0);
        lane.tail.resumes = resumes(frames.iter().map(|(_, stored)| stored));
        lane.tail.frames = frames.into_iter().map(|(frame, stored)| Spooled { frame, stored }).collect();
        let id = LaneId { index: index as u32, generation: lane.generation };
        let (stored_as, own) = (lane.spec.stored_as, self.options.origin);
        for later in self.lanes.iter_mut().filter(|lane| lane.live && lane.origin == own) {
            if later.spec.stored_as == stored_as {
                later.after.push(id);
            }
        }
        self.list(index);
    }

    /// Live lanes of earlier runs with this content.
    pub(super) fn earlier_lanes(&self, spec: &LaneSpec) -> Vec<LaneId> {
        let own = self.options.origin;
        let earlier = |lane: &Lane| lane.live && lane.origin != own && lane.spec.stored_as == spec.stored_as;
        let id = |(index, lane): (usize, &Lane)| LaneId { index: index as u32, generation: lane.generation };
        self.lanes.iter().enumerate().filter(|(_, lane)| earlier(lane)).map(id).collect()
    }

    /// True if lanes of earlier runs go first.
    pub(super) fn is_behind(&self, index: usize) -> bool {
        self.lanes[index].after.iter().any(|id| self.index_of(*id).is_some())
    }

    /// A slot for a frame. The half that entries need is left to lanes that have nothing in the ring.
    fn take_slot_for_load(&mut self, index: usize) -> Option<SlotId> {
        let (free, sink) = (self.ring.free(), self.lanes[index].sink);
        if self.under_way(index) > 0 && free <= self.ring.usable() / 2 {
            return None;
        }
        // What others are owed goes to one lane of a sink at a time.
        let loads = |lane: &Lane| lane.sink == sink && lane.tail.loading.is_some();
        if free <= self.owed(sink) && self.lanes.iter().any(loads) {
            return None;
        }
        self.take_free_slot(index)
    }

    /// Slots of a lane that come free by being delivered. What waits behind the frames does not: a spool that is full takes none of it,
    /// and gets room only when frames are read.
    fn under_way(&self, index: usize) -> usize {
        let lane = &self.lanes[index];
        let behind = lane.tail.queue.len() + usize::from(lane.tail.spilling.is_some());
        (lane.slots as usize).saturating_sub(usize::from(lane.open.is_some()) + behind)
    }

    /// Slots that entries may not take now.
    pub(super) fn load_reserve(&self) -> usize {
        if self.stats.spooled == 0 { 0 } else { LOAD_RESERVE.min((self.ring.usable() / 4).max(1)) }
    }
}

/// The producers that frames were sent by, one a partition: that of the oldest frame, which is sent again first. A frame behind it
/// with another one was not sent again since that was given up: going on from its number would give others numbers that are its own.
///
/// None for a partition where a frame is, or has a rest, that needs numbers before a later one which has its own: with higher numbers
/// than that one's the broker would seem to have both. What is new gets another producer there.
fn resumes<'a>(frames: impl Iterator<Item = &'a Stored>) -> Vec<Resume> {
    let mut resumes: Vec<Resume> = Vec::new();
    let mut numberless: Vec<i32> = Vec::new();
    for stored in frames {
        let Some(partition) = stored.partition else { continue };
        let cut = stored.skip > 0 || stored.part > 0 && stored.part < stored.entries_left();
        if !stored.sent || cut {
            numberless.push(partition);
        }
        let Some(identity) = stored.identity.filter(|_| stored.sent) else { continue };
        let next_sequence = sequence_after(identity.sequence, stored.sealed.records);
        let producer = (identity.producer_id, identity.epoch);
        let resume = Resume { partition, producer, next_sequence, scan_from: stored.scan_from };
        match resumes.iter_mut().find(|known| known.partition == partition) {
            Some(known) if known.producer == producer => known.next_sequence = next_sequence,
            Some(_) => {}
            None => resumes.push(resume),
        }
    }
    resumes.retain(|resume| !numberless.contains(&resume.partition));
    resumes
}
