//! The facade: one shipper per core. Entries go in at [`Shipper::append`]; the shell carries out [`Action`]s, tells [`Event`]s
//! and the time, and sleeps until [`Shipper::next_wake`]. No socket, file, clock or randomness in here.
//!
//! `append` fills slots and seals them, `deliver` sends batches and takes their answers, `network` keeps connections and metadata,
//! `login` says on a connection who we are, `spill` what goes to disk and comes back, `report` what an operator must know, `sums` adds up what a sink did, `tickets` tells
//! those who wait for an entry what became of it.

mod append;
#[cfg(test)]
mod asking_tests;
#[cfg(test)]
mod campaign_tests;
mod deliver;
mod inquire;
mod login;
#[cfg(test)]
mod login_tests;
mod network;
mod report;
#[cfg(test)]
mod report_tests;
mod spill;
#[cfg(test)]
mod spool_tests;
mod sums;
#[cfg(test)]
mod tests;
mod tickets;
#[cfg(test)]
mod tickets_tests;

use std::collections::{HashMap, VecDeque};

use self::tickets::Tickets;
use super::batch::{Out, SLOT_BYTES_MIN};
use super::compress::Compressor;
use super::connection::Connection;
use super::event::{Action, Appended, Event, SlotId, Ticket};
use super::figures;
use super::lane::Lane;
use super::options::{CLIENT_ID_BYTES, LaneId, LaneSpec, ShipperOptions, SinkId, SinkSpec};
use super::producer::Resolved;
use super::retry::Rng;
use super::ring::{Ring, SLOTS_MIN, SlotMemory, State};
use super::sink::Sink;
use super::stats::{LostReason, Stats};
use super::stored::{FrameRef, LANE_NUMBER_BITS, Origin, Stored};
use super::trace::Stream;
use crate::base::Mono;
use crate::base::time::Now;

/// Everything between a rendered entry and Kafka's acknowledgement, for one core.
#[derive(Debug)]
pub struct Shipper<M> {
    options: ShipperOptions,
    ring: Ring<M>,
    sinks: Vec<Sink>,
    sinks_by_content: HashMap<SinkSpec, u32>,
    lanes: Vec<Lane>,
    lanes_by_content: HashMap<LaneSpec, u32>,
    /// Lanes made so far, forgotten ones included.
    lanes_made: u32,
    /// Indexes of lanes that were forgotten.
    vacant: Vec<u32>,
    /// Indexes of lanes that hold slots.
    busy: Vec<u32>,
    connections: Vec<Connection>,
    next_conn: u64,
    actions: VecDeque<Action>,
    stats: Stats,
    held: u64,
    rng: Rng,
    compressor: Compressor,
    tickets: Tickets,
    /// Scratch: what the queue at work has resolved.
    resolved: Vec<Resolved>,
    wake: Option<Mono>,
    /// How far the end is.
    ending: Ending,
    /// Milliseconds since 1970 at the last event.
    wall_ms: i64,
}

/// How far a shipper's end is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    /// It is not near.
    #[default]
    No,
    /// Nothing is read from the spool any more.
    Draining,
    /// Nothing is sent any more: everything goes to the spool.
    Stowing,
}

impl Ending {
    const fn max_of(self, other: Self) -> Self {
        if matches!(self, Self::Stowing) { self } else { other }
    }
}

impl<M: SlotMemory> Shipper<M> {
    /// A shipper over these slots: at least `ring::SLOTS_MIN`, each at least `batch::SLOT_BYTES_MIN` bytes (`limits::SLOT_BYTES`
    /// is meant). With fewer, or smaller ones, every entry is refused.
    pub fn new(slots: Vec<M>, mut options: ShipperOptions) -> Self {
        let fit = slots.len() >= SLOTS_MIN && slots.iter().all(|slot| slot.bytes().len() >= SLOT_BYTES_MIN);
        debug_assert!(fit, "too few slots, or too small ones");
        let mut end = options.client_id.len().min(CLIENT_ID_BYTES);
        while !options.client_id.is_char_boundary(end) {
            end -= 1;
        }
        options.client_id.truncate(end);
        let ring = Ring::new(if fit { slots } else { Vec::new() });
        let stats = Stats { slots: ring.len() as u64, ..Stats::default() };
        let rng = Rng::new(options.seed);
        Self {
            options,
            ring,
            sinks: Vec::new(),
            sinks_by_content: HashMap::new(),
            lanes: Vec::new(),
            lanes_by_content: HashMap::new(),
            lanes_made: 0,
            vacant: Vec::new(),
            busy: Vec::new(),
            connections: Vec::new(),
            next_conn: 0,
            actions: VecDeque::new(),
            stats,
            held: 0,
            rng,
            compressor: Compressor::default(),
            tickets: Tickets::default(),
            resolved: Vec::new(),
            wake: None,
            ending: Ending::No,
            wall_ms: 0,
        }
    }

    /// Finds or makes the sink with this content.
    pub fn sink(&mut self, spec: &SinkSpec) -> SinkId {
        if let Some(index) = self.sinks_by_content.get(spec) {
            return SinkId(*index);
        }
        let index = self.sinks.len() as u32;
        let taken: Vec<&str> = self.sinks.iter().map(|sink| &*sink.label).collect();
        let label = figures::label(spec, &taken).into();
        self.sinks.push(Sink { label, ..Sink::new(spec.clone()) });
        self.sinks_by_content.insert(spec.clone(), index);
        SinkId(index)
    }

    /// Finds or makes the lane with this content; a retired one is taken back. Its sink connects at the next call of `on_time`,
    /// which is wanted at once. Panics if `spec.sink` is another shipper's.
    pub fn lane(&mut self, spec: &LaneSpec) -> LaneId {
        if let Some(index) = self.lanes_by_content.get(spec).copied() {
            let lane = &mut self.lanes[index as usize];
            lane.retired = false;
            return LaneId { index, generation: lane.generation };
        }
        let id = self.new_lane(spec, self.options.origin);
        self.lanes_by_content.insert(spec.clone(), id.index);
        id
    }

    /// Takes over what an earlier run left of a lane: its frames, oldest first. They are delivered before anything new of a lane
    /// with the same content, and before what is adopted later. Panics if `spec.sink` is another shipper's.
    pub fn adopt(&mut self, spec: &LaneSpec, origin: Origin, frames: Vec<(FrameRef, Stored)>) -> LaneId {
        let id = self.new_lane(spec, origin);
        self.adopt_frames(id.index as usize, frames);
        id
    }

    fn new_lane(&mut self, spec: &LaneSpec, origin: Origin) -> LaneId {
        let sink_index = spec.sink.0 as usize;
        let after = self.earlier_lanes(spec);
        let sink = &mut self.sinks[sink_index];
        let topic_index = sink.topic(&spec.topic);
        let topic = &mut sink.topics[topic_index];
        topic.lanes += 1;
        sink.lanes += 1;
        sink.metadata.wanted |= topic.leaders.is_empty();
        let index = self.vacant.pop().unwrap_or(self.lanes.len() as u32);
        let generation = self.lanes.get(index as usize).map_or(0, |lane| lane.generation + 1);
        let mut lane = Lane::new(spec.clone(), sink_index, topic_index, generation, origin);
        (lane.batch_bytes, lane.incarnation, lane.after) = (topic.batch_bytes, topic.incarnation, after);
        // Two lanes can be stored under one content key: one that is made anew while the other drains, one with another password.
        // Their numbers never meet.
        lane.next_number = u64::from(self.lanes_made) << LANE_NUMBER_BITS;
        let number = self.lanes_made;
        self.lanes_made += 1;
        lane.trace = self.options.trace.map(|core| Stream { lane: number, ..core }.prefix()).unwrap_or_default();
        if (index as usize) < self.lanes.len() {
            self.lanes[index as usize] = lane;
        } else {
            self.lanes.push(lane);
        }
        self.wake = Some(Mono::default());
        LaneId { index, generation }
    }

    /// No configuration names this lane any more: its open batch is closed, it drains, and is then forgotten.
    pub fn retire(&mut self, lane: LaneId) {
        if let Some(index) = self.index_of(lane) {
            self.lanes[index].retired = true;
            self.list(index);
            self.wake = Some(Mono::default());
        }
    }

    /// Takes one entry, which `render` writes. `render` may be called twice: once for a batch or an array that turns out to be
    /// full, once for the next. If it panics, the entry was never there.
    #[inline]
    pub fn append(&mut self, lane: LaneId, now: Now, render: &mut dyn FnMut(&mut Out<'_>)) -> Appended {
        // What a panic in `append_with` may have left.
        self.tickets.next = None;
        self.append_entry(lane, now, render)
    }

    /// As [`Shipper::append`], for an entry that somebody waits for: if it is accepted, one [`Action::Settled`] says later what
    /// became of it. For lanes of [`Mode::Held`](super::options::Mode::Held) only: others carry open arrays from slot to slot.
    pub fn append_with(
        &mut self,
        ticket: Ticket,
        lane: LaneId,
        now: Now,
        render: &mut dyn FnMut(&mut Out<'_>),
    ) -> Appended {
        debug_assert!(
            self.index_of(lane).is_none_or(|index| self.is_held(index)),
            "a ticket for a lane that is not held"
        );
        self.tickets.next = Some(ticket);
        let appended = self.append_entry(lane, now, render);
        self.tickets.next = None;
        appended
    }

    /// Tells what the shell saw.
    pub fn on_event(&mut self, event: Event<'_>, now: Now) {
        self.wall_ms = now.wall.unix_ms() as i64;
        match event {
            Event::Connected { conn } => self.on_connected(conn, now.mono),
            Event::ConnectFailed { conn, reason } => self.on_connect_failed(conn, reason, now.mono),
            Event::TlsFailed { conn, reason } => self.on_tls_failed(conn, reason, now.mono),
            Event::Received { conn, bytes } => self.on_received(conn, bytes, now.mono),
            Event::Sent { slot: Some(slot), .. } => self.on_sent(slot),
            Event::Sent { slot: None, .. } => return,
            Event::Spilled { slot, frame } => self.on_spilled(slot, frame, now.mono),
            Event::Loaded { slot, read } => self.on_loaded(slot, read, now.mono),
            Event::FrameDone { slot } => self.on_sent(slot),
            Event::Closed { conn, reason } => self.on_closed(conn, reason, now.mono),
        }
        self.pump(now.mono);
    }

    /// Tells that [`Shipper::next_wake`] has come. Harmless at any other time.
    pub fn on_time(&mut self, now: Now) {
        if self.wake.is_some_and(|wake| wake <= now.mono) {
            self.wall_ms = now.wall.unix_ms() as i64;
            self.check_deadlines(now.mono);
            self.pump(now.mono);
        }
    }

    /// The next thing to do, until None.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Shipper::on_time`] wants to be called; None: not before the next event or append. May be early, never late.
    pub fn next_wake(&self) -> Option<Mono> {
        self.wake
    }

    /// Seals everything that is open now (shutdown).
    pub fn flush(&mut self, now: Now) {
        for at in 0..self.busy.len() {
            self.seal(self.busy[at] as usize, now.mono);
        }
        self.pump(now.mono);
    }

    /// No entries come any more: seals everything that is open, and leaves in the spool what is there.
    pub fn drain(&mut self, now: Now) {
        self.ending = self.ending.max_of(Ending::Draining);
        self.flush(now);
    }

    /// The time to deliver is over: every connection is closed, and everything that is not resolved goes to the spool, with its
    /// identity. Go on with events until [`Shipper::is_stowing`] is false, then [`Shipper::give_up`].
    pub fn stow(&mut self, now: Now) {
        self.ending = Ending::Stowing;
        for sink in 0..self.sinks.len() {
            self.close_all(sink, now.mono);
        }
        for at in 0..self.busy.len() {
            self.stow_lane(self.busy[at] as usize, now.mono);
        }
        self.pump(now.mono);
    }

    /// True while something is still on its way to the spool.
    pub fn is_stowing(&self) -> bool {
        self.options.spool && self.lanes.iter().any(|lane| lane.tail.spilling.is_some() || !lane.tail.queue.is_empty())
    }

    /// Entries that the next run will find: in the spool, or in a ring that stays.
    pub fn kept_entries(&self) -> u64 {
        if self.options.ring_stays { self.held } else { self.stats.spooled }
    }

    /// Entries accepted, not resolved and not in the spool.
    pub fn held_in_ring(&self) -> u64 {
        self.held - self.stats.spooled
    }

    /// The shutdown's deadline: what was never sent, or was refused, becomes lost; what was sent and not answered, in doubt. Every
    /// connection is closed. Slots come back with the last `Sent`.
    pub fn give_up(&mut self, now: Now) {
        for sink in 0..self.sinks.len() {
            self.close_all(sink, now.mono);
        }
        for index in std::mem::take(&mut self.busy) {
            // What the next run finds in the ring is not lost.
            if !self.options.ring_stays || self.lanes[index as usize].spec.stored_as == 0 {
                self.abandon_lane(index as usize, LostReason::Shutdown, now.mono);
            }
        }
        self.wake = None;
    }

    /// Entries accepted and not yet resolved.
    pub fn held_entries(&self) -> u64 {
        self.held
    }

    /// The numbers.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// A slot's memory, for [`Action::SendBatch`]. Panics on a slot that is not this shipper's.
    pub fn slot_bytes(&self, slot: SlotId) -> &M {
        &self.ring.slot(slot).memory
    }

    /// A slot's memory, for [`Action::Load`]. Panics on a slot that is not this shipper's.
    pub fn slot_memory_mut(&mut self, slot: SlotId) -> &mut M {
        &mut self.ring.slot_mut(slot).memory
    }

    /// The slots as a process that is killed now leaves them.
    #[cfg(test)]
    pub fn take_memories(&mut self) -> Vec<M>
    where
        M: Default,
    {
        (0..self.ring.len() as u32).map(|id| std::mem::take(&mut self.ring.slot_mut(SlotId(id)).memory)).collect()
    }

    /// Connections are numbered from here on.
    #[cfg(test)]
    pub fn number_connections_from(&mut self, next: u64) {
        self.next_conn = next;
    }

    /// Counts what lies in the slots and compares: `accepted = delivered + held + in doubt + lost`. For tests; walks every slot.
    pub fn check_accounting(&self) -> Result<(), String> {
        let in_slot = |slot: &super::ring::Slot<M>| match slot.state {
            State::Free | State::Resolved | State::Left | State::Loading => 0,
            State::Open => self.lanes[slot.lane as usize].open.map_or(0, |open| open.batch.entries()),
            State::Queued | State::InFlight | State::Spilling => slot.batch.entries_left(),
        };
        let in_slots: u64 = self.ring.used().map(|(_, slot)| in_slot(slot)).sum();
        let in_spool: u64 = self.lanes.iter().map(|lane| lane.tail.entries()).sum();
        let in_lanes: u64 = self.lanes.iter().map(|lane| lane.held).sum();
        let stats = &self.stats;
        let resolved = stats.delivered + stats.in_doubt + stats.lost.total();
        let slots_held: u64 = self.lanes.iter().map(|lane| u64::from(lane.slots)).sum();
        let used = (self.ring.len() - self.ring.free()) as u64;
        if in_slots + in_spool == self.held
            && in_spool == stats.spooled
            && in_lanes == self.held
            && stats.accepted == resolved + self.held
            && slots_held == used
            && stats.slots_used == used
        {
            return self.check_sinks();
        }
        Err(format!(
            "{in_slots} in slots, {in_spool} in the spool, {in_lanes} in lanes, {} held, {slots_held} of {used} slots: {stats:?}",
            self.held
        ))
    }

    fn index_of(&self, lane: LaneId) -> Option<usize> {
        let index = lane.index as usize;
        self.lanes.get(index).filter(|it| it.live && it.generation == lane.generation).map(|_| index)
    }

    /// Puts a lane on the list of those with something to do.
    fn list(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        if !std::mem::replace(&mut lane.listed, true) {
            self.busy.push(index as u32);
        }
    }

    fn note_wake(&mut self, at: Mono) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Does everything that can be done now, and finds out when there is more.
    fn pump(&mut self, now: Mono) {
        self.wake = None;
        self.hash_logins(now);
        self.renew_logins(now);
        for at in 0..self.busy.len() {
            let index = self.busy[at] as usize;
            if self.lanes[index].retired {
                self.seal(index, now);
            }
            self.drive_lane(index, now);
            self.release_empty(index, now);
        }
        for sink in 0..self.sinks.len() {
            self.drive_sink(sink, now);
        }
        self.note_deadlines();
        self.forget_idle_lanes();
    }

    fn forget_idle_lanes(&mut self) {
        let mut busy = std::mem::take(&mut self.busy);
        busy.retain(|index| {
            let lane = &mut self.lanes[*index as usize];
            lane.listed = !lane.is_idle();
            if lane.is_idle() && lane.retired && lane.live {
                self.forget(*index);
            }
            self.lanes[*index as usize].listed
        });
        self.busy = busy;
    }

    fn forget(&mut self, index: u32) {
        let lane = &mut self.lanes[index as usize];
        lane.live = false;
        if self.lanes_by_content.get(&lane.spec) == Some(&index) {
            self.lanes_by_content.remove(&lane.spec);
        }
        self.vacant.push(index);
        let sink = &mut self.sinks[lane.sink];
        sink.lanes -= 1;
        sink.stats.accepted_before += lane.pushed;
        sink.topics[lane.topic].lanes -= 1;
        // Looked at once: by `drive_sink`, which closes what nobody needs, and by lanes that went behind this one.
        self.wake = Some(Mono::default());
    }
}
