//! The facade over ring, lanes and producer: everything between a rendered entry and Kafka's acknowledgement, for one core. The
//! shell drives it: [`Shipper::poll_action`] says what to do, [`Shipper::on_event`] hears what happened, time is a value.

use std::collections::{HashMap, VecDeque};

use super::batch::{self, OpenBatch, Out};
use super::compress::Compressor;
use super::connection::Connection;
use super::event::{Action, Appended, ConnId, Event, Level, SlotId};
use super::lane::{Lane, Open};
use super::metadata::Brokers;
use super::options::{Batching, LaneId, LaneSpec, ShipperOptions, SinkId, SinkSpec};
use super::retry::Rng;
use super::ring::{Ring, SlotMemory};
use super::sink::Sink;
use super::stats::{LostReason, Stats};
use crate::base::time::Now;
use crate::base::{Mono, limits};

/// Bytes of a varint length that is guessed before a record is rendered: 64 to 8,191 bytes take two.
const LENGTH_GUESS: usize = 2;
/// The same for an array of entries.
const ARRAY_LENGTH_GUESS: usize = 3;

/// Everything between a rendered entry and Kafka's acknowledgement, for one core.
pub struct Shipper<M> {
    pub(super) options: ShipperOptions,
    pub(super) ring: Ring<M>,
    pub(super) sinks: Vec<Sink>,
    pub(super) lanes: Vec<Lane>,
    pub(super) connections: HashMap<ConnId, Connection>,
    pub(super) actions: VecDeque<Action>,
    pub(super) compressor: Compressor,
    pub(super) rng: Rng,
    pub(super) stats: Stats,
    pub(super) held: u64,
    pub(super) next_conn: u64,
    pub(super) flushing: bool,
    /// A batch on its way from one open slot to the next.
    pub(super) carried: Option<Open>,
    wake: Option<Mono>,
}

impl<M: SlotMemory> Shipper<M> {
    /// A shipper over these slots, at least `ring::SLOTS_MIN`; each at least `batch::SLOT_BYTES_MIN` bytes
    /// (`limits::SLOT_BYTES` is meant).
    pub fn new(slots: Vec<M>, options: ShipperOptions) -> Self {
        let mut client_id = options.client_id.clone();
        let fits =
            (0..=super::options::CLIENT_ID_BYTES.min(client_id.len())).rev().find(|at| client_id.is_char_boundary(*at));
        client_id.truncate(fits.unwrap_or(0));
        let stats = Stats { slots: slots.len() as u64, ..Stats::default() };
        Self {
            rng: Rng::new(options.seed),
            options: ShipperOptions { client_id, ..options },
            ring: Ring::new(slots),
            sinks: Vec::new(),
            lanes: Vec::new(),
            connections: HashMap::new(),
            actions: VecDeque::new(),
            compressor: Compressor::default(),
            stats,
            held: 0,
            next_conn: 0,
            flushing: false,
            carried: None,
            wake: None,
        }
    }

    /// Finds or makes the sink with this content.
    pub fn sink(&mut self, spec: &SinkSpec) -> SinkId {
        let found = self.sinks.iter().position(|sink| sink.spec == *spec);
        let at = found.unwrap_or_else(|| {
            self.sinks.push(Sink::new(spec.clone(), Brokers::new(&spec.bootstrap)));
            self.sinks.len() - 1
        });
        SinkId(at as u32)
    }

    /// Finds or makes the lane with this content; a retired one is taken back.
    pub fn lane(&mut self, spec: &LaneSpec) -> LaneId {
        let same = |lane: &Lane| !lane.forgotten && lane.spec == *spec;
        if let Some(index) = self.lanes.iter().position(same) {
            self.lanes[index].retired = false;
            return self.lane_id(index);
        }
        let sink = spec.sink.0 as usize;
        let topic = self.sinks[sink].topic(&spec.topic);
        let idempotent = self.sinks[sink].is_idempotent();
        let free = self.lanes.iter().position(|lane| lane.forgotten);
        let index = free.unwrap_or(self.lanes.len());
        let generation = free.map_or(0, |index| self.lanes[index].generation.wrapping_add(1));
        let lane = Lane::new(spec.clone(), sink, topic, generation, idempotent);
        match free {
            Some(index) => self.lanes[index] = lane,
            None => self.lanes.push(lane),
        }
        self.lane_id(index)
    }

    fn lane_id(&self, index: usize) -> LaneId {
        LaneId { index: index as u32, generation: self.lanes[index].generation }
    }

    /// No configuration names this lane any more: its open batch is closed, it drains, and is then forgotten.
    pub fn retire(&mut self, lane: LaneId) {
        if let Some(lane) = self.lanes.get_mut(lane.index as usize).filter(|own| own.generation == lane.generation) {
            lane.retired = true;
            if lane.is_empty() {
                lane.forgotten = true;
            } else {
                self.wake_at(Mono::default());
            }
        }
    }

    /// Takes one entry, which `render` writes. `render` may be called twice: once for a batch that turns out to be full, once for
    /// the next.
    pub fn append(&mut self, lane: LaneId, now: Now, render: &mut dyn FnMut(&mut Out<'_>)) -> Appended {
        let index = lane.index as usize;
        let known = self.lanes.get(index).is_some_and(|own| own.generation == lane.generation && !own.forgotten);
        if !known || self.lanes[index].is_over_pending() {
            return self.refuse(index, now);
        }
        loop {
            if self.lanes[index].open.is_none() && !self.open(index, now.mono) {
                return self.refuse(index, now);
            }
            match self.push(index, now, render) {
                Ok(()) => break,
                Err(Some(bytes)) => {
                    self.stats.too_large += 1;
                    self.report_too_large(index, bytes, now.mono);
                    return Appended::TooLarge { bytes };
                }
                Err(None) => {}
            }
        }
        self.stats.accepted += 1;
        self.held += 1;
        let lane = &mut self.lanes[index];
        lane.held += 1;
        let wake = lane.due(&self.options, self.sinks[lane.sink].spec.mode).unwrap_or(now.mono);
        if wake <= now.mono {
            self.pump(index, now.mono);
        }
        self.wake_at(wake.max(now.mono));
        Appended::Accepted
    }

    /// Writes into the open batch. `Err(None)`: the batch was closed, try with another. `Err(Some(bytes))`: it fits nowhere.
    fn push(&mut self, index: usize, now: Now, render: &mut dyn FnMut(&mut Out<'_>)) -> Result<(), Option<usize>> {
        let timestamp_ms = i64::try_from(now.wall.unix_ms()).unwrap_or(i64::MAX);
        let lane = &mut self.lanes[index];
        let Some(open) = &mut lane.open else { return Err(None) };
        let slot = self.ring.slot_mut(open.slot);
        let memory = slot.memory.bytes_mut();
        let (pushed, is_array) = match lane.spec.batching {
            Batching::Each => (open.batch.push_record(memory, &lane.key, timestamp_ms, render), false),
            Batching::Array { .. } => {
                let most = limits::MESSAGE_BYTES.min(self.sinks[lane.sink].topics[lane.topic].batch_bytes);
                (open.batch.push_element(memory, &lane.key, timestamp_ms, most, render), true)
            }
        };
        match pushed {
            Ok(()) => {
                open.note(now.mono, is_array);
                let full = matches!(lane.spec.batching, Batching::Array { max_entries, .. }
                    if open.batch.array_entries() >= max_entries);
                if full {
                    self.close_array(index, now.mono);
                }
                Ok(())
            }
            Err(overflow) if open.batch.entries() == 0 => {
                let slot = open.slot;
                lane.open = None;
                self.give_back(slot);
                Err(Some(overflow.entry_bytes))
            }
            Err(_) if open.batch.array_entries() > 0 => {
                self.close_array(index, now.mono);
                Err(None)
            }
            Err(_) => {
                self.seal(index);
                self.pump(index, now.mono);
                Err(None)
            }
        }
    }

    /// Takes a slot for a lane, unless the others' shares would suffer: every sink can always get one.
    pub(super) fn open(&mut self, index: usize, now: Mono) -> bool {
        let own = self.lanes[index].sink;
        let waiting =
            self.sinks.iter().enumerate().filter(|(at, sink)| *at != own && sink.slots == 0 && sink.lanes > 0);
        let kept = if self.sinks[own].slots == 0 { 0 } else { waiting.count() };
        if self.ring.free() <= kept {
            return false;
        }
        let Some(slot) = self.ring.take(index as u32) else { return false };
        self.sinks[own].slots += 1;
        self.stats.slots_used += 1;
        let lane = &mut self.lanes[index];
        let guess = if lane.spec.batching == Batching::Each { LENGTH_GUESS } else { ARRAY_LENGTH_GUESS };
        let most = limits::MESSAGE_BYTES.min(self.sinks[own].topics[lane.topic].batch_bytes);
        let batch = OpenBatch::new(self.ring.slot(slot).memory.bytes().len(), most, guess);
        lane.open = Some(Open::new(slot, batch, now));
        true
    }

    /// Gives a slot back to the ring.
    pub(super) fn give_back(&mut self, slot: SlotId) {
        let lane = self.ring.slot(slot).lane as usize;
        let sink = self.lanes[lane].sink;
        self.sinks[sink].slots = self.sinks[sink].slots.saturating_sub(1);
        self.stats.slots_used = self.stats.slots_used.saturating_sub(1);
        self.ring.give_back(slot);
    }

    /// Hears what happened.
    pub fn on_event(&mut self, event: Event<'_>, now: Now) {
        let now = now.mono;
        match event {
            Event::Connected { conn } => self.connected(conn, now),
            Event::ConnectFailed { conn, reason } | Event::Closed { conn, reason } => {
                self.disconnected(conn, reason, now)
            }
            Event::Received { conn, bytes } => self.received(conn, bytes, now),
            Event::Sent { slot: Some(slot), .. } => self.sent(slot),
            Event::Sent { slot: None, .. } => {}
        }
        self.settle(now);
    }

    /// A write of a slot's memory has ended.
    fn sent(&mut self, id: SlotId) {
        let slot = self.ring.slot_mut(id);
        slot.pins = slot.pins.saturating_sub(1);
        if slot.pins == 0 && slot.state == super::ring::State::Resolved {
            self.ring.give_back(id);
        }
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Now) {
        self.overdue(now.mono);
        self.settle(now.mono);
    }

    /// Does everything that can be done now, then notes when there will be more to do.
    fn settle(&mut self, now: Mono) {
        for index in 0..self.lanes.len() {
            if !self.lanes[index].is_empty() {
                self.pump(index, now);
            } else if self.lanes[index].retired {
                self.lanes[index].forgotten = true;
            }
        }
        for sink in 0..self.sinks.len() {
            self.learn(sink, now);
        }
        self.stats.connections = self.connections.len() as u64;
        self.wake = self.next_due(now);
    }

    /// What to do next, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Shipper::on_time`] wants to be called; None: not before the next event or append. May be early, never late.
    pub fn next_wake(&self) -> Option<Mono> {
        self.wake
    }

    pub(super) fn wake_at(&mut self, at: Mono) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Seals everything that is open now, and from now on without lingering (shutdown).
    pub fn flush(&mut self, now: Now) {
        self.flushing = true;
        self.settle(now.mono);
    }

    /// The shutdown's deadline: everything that is still held is lost, or in doubt if it was sent.
    pub fn give_up(&mut self, _now: Now) {
        for index in 0..self.lanes.len() {
            if let Some(open) = self.lanes[index].open.take() {
                self.lose(index, open.batch.entries(), LostReason::Shutdown);
                self.give_back(open.slot);
            }
            while let Some(slot) = self.lanes[index].queue.pop_front() {
                let batch = &self.ring.slot(slot).batch;
                let (entries, doubt) = (batch.entries_of(batch.whole.records), batch.sent);
                if doubt {
                    self.doubt(index, entries);
                } else {
                    self.lose(index, entries, LostReason::Shutdown);
                }
                self.give_back(slot);
            }
        }
    }

    pub(super) fn lose(&mut self, lane: usize, entries: u64, reason: LostReason) {
        self.stats.lost.add(reason, entries);
        self.unhold(lane, entries);
    }

    pub(super) fn doubt(&mut self, lane: usize, entries: u64) {
        self.stats.in_doubt += entries;
        self.unhold(lane, entries);
    }

    pub(super) fn unhold(&mut self, lane: usize, entries: u64) {
        self.held = self.held.saturating_sub(entries);
        self.lanes[lane].held = self.lanes[lane].held.saturating_sub(entries);
    }

    /// Entries accepted and not resolved.
    pub fn held_entries(&self) -> u64 {
        self.held
    }

    /// The numbers.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// A slot's memory, for [`Action::SendBatch`].
    pub fn slot_bytes(&self, slot: SlotId) -> &M {
        &self.ring.slot(slot).memory
    }

    /// True if every accepted entry is accounted for: accepted = delivered + held + in doubt + lost.
    pub fn accounts_hold(&self) -> bool {
        let stats = &self.stats;
        let by_lane: u64 = self.lanes.iter().map(|lane| lane.held).sum();
        stats.accepted == stats.delivered + self.held + stats.in_doubt + stats.lost.total() && by_lane == self.held
    }

    pub(super) fn report(&mut self, level: Level, text: String) {
        self.actions.push_back(Action::Report { level, text });
    }

    fn refuse(&mut self, index: usize, now: Now) -> Appended {
        self.stats.dropped += 1;
        let Some(lane) = self.lanes.get_mut(index) else { return Appended::Full };
        lane.discarded += 1;
        if lane.said_at.is_none_or(|said| now.mono.ms_since(said) >= super::options::DROP_REPORT_MS) {
            lane.said_at = Some(now.mono);
            let discarded = std::mem::take(&mut lane.discarded);
            let topic = lane.spec.topic.clone();
            let text = match lane.spec.max_pending_entries {
                Some(most) if lane.is_over_pending() => format!(
                    "max pending entries limit exceeded. discarding entry. total_pushed_entries: {} \
                     total_processed_entries: {} max_pending_entries: {most} discarded_entries: {discarded} (topic {topic})",
                    self.stats.accepted,
                    self.stats.accepted - self.held
                ),
                _ => format!(
                    "the ring is full: {discarded} log entries for topic {topic} dropped, {} held; \
                     Kafka takes less than comes (tollgate.ring.bytes holds more)",
                    self.held
                ),
            };
            self.report(Level::Error, text);
        }
        Appended::Full
    }

    fn report_too_large(&mut self, index: usize, bytes: usize, now: Mono) {
        let lane = &mut self.lanes[index];
        if lane.said_at.is_none_or(|said| now.ms_since(said) >= super::options::DROP_REPORT_MS) {
            lane.said_at = Some(now);
            let topic = lane.spec.topic.clone();
            let most = limits::MESSAGE_BYTES;
            self.report(
                Level::Error,
                format!("a log entry of {bytes} bytes for topic {topic} was dropped: a message holds {most}"),
            );
        }
    }
}

/// The lane's key as every record carries it.
pub(super) fn key_of(spec: &LaneSpec) -> Vec<u8> {
    batch::key_bytes(spec.key.as_deref())
}
