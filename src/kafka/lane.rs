//! A lane: one stream of entries that keeps its order. Its open batch, its queue of sealed ones, and when to seal.

use std::collections::{HashMap, VecDeque};

use super::batch::OpenBatch;
use super::connection::Versions;
use super::event::{ConnId, SlotId};
use super::options::{Batching, LaneSpec, Mode, ShipperOptions};
use super::ring::{SlotMemory, State};
use super::shipper::{Shipper, key_of};
use crate::base::{Mono, limits};

/// The batch being filled.
#[derive(Debug)]
pub struct Open {
    /// Where it lies.
    pub slot: SlotId,
    /// What is in it.
    pub batch: OpenBatch,
    /// When its first whole message was there; it lingers from then on.
    pub ready_since: Option<Mono>,
    /// When the open array got its first entry, and its newest.
    pub array: Option<(Mono, Mono)>,
}

impl Open {
    /// An empty one.
    pub const fn new(slot: SlotId, batch: OpenBatch, _now: Mono) -> Self {
        Self { slot, batch, ready_since: None, array: None }
    }

    /// An entry was added.
    pub fn note(&mut self, now: Mono, in_array: bool) {
        if in_array {
            self.array = Some((self.array.map_or(now, |(first, _)| first), now));
        } else {
            self.ready_since.get_or_insert(now);
        }
    }
}

/// The lane's identity towards Kafka (KIP-98). One of its own, so that a new one is nobody else's trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerId {
    /// The sink is not idempotent.
    Unneeded,
    /// To be asked for, not before this.
    Wanted(Mono),
    /// Asked for on this connection.
    Asked(ConnId),
    /// Given: id and epoch.
    Has(i64, i16),
}

/// One stream of entries.
#[derive(Debug)]
pub struct Lane {
    /// What it was made of.
    pub spec: LaneSpec,
    /// Position of its sink.
    pub sink: usize,
    /// Position of its topic in the sink.
    pub topic: usize,
    /// Counts how often the place was used.
    pub generation: u32,
    /// The key as every record carries it.
    pub key: Vec<u8>,
    /// No configuration names it.
    pub retired: bool,
    /// The place is free.
    pub forgotten: bool,
    /// The batch being filled.
    pub open: Option<Open>,
    /// Sealed batches that are not resolved, in order.
    pub queue: VecDeque<SlotId>,
    /// Where it writes to now.
    pub partition: Option<i32>,
    /// Bytes written there since it turned to it.
    pub partition_bytes: u64,
    /// Who it is to Kafka.
    pub producer: ProducerId,
    /// Producer ids asked for in a row without getting one.
    pub producer_failures: u32,
    /// The identity is spoilt: a new one once nothing is in flight.
    pub renew: bool,
    /// Next sequence by partition.
    pub sequences: HashMap<i32, i32>,
    /// Nothing is sent before this.
    pub retry_at: Mono,
    /// Failures in a row.
    pub failures: u32,
    /// Entries accepted and not resolved.
    pub held: u64,
    /// Entries refused since that was last said.
    pub discarded: u64,
    /// When something about refusals was last said.
    pub said_at: Option<Mono>,
}

impl Lane {
    /// An empty lane.
    pub fn new(spec: LaneSpec, sink: usize, topic: usize, generation: u32, idempotent: bool) -> Self {
        Self {
            key: key_of(&spec),
            spec,
            sink,
            topic,
            generation,
            retired: false,
            forgotten: false,
            open: None,
            queue: VecDeque::new(),
            partition: None,
            partition_bytes: 0,
            producer: if idempotent { ProducerId::Wanted(Mono::default()) } else { ProducerId::Unneeded },
            producer_failures: 0,
            renew: false,
            sequences: HashMap::new(),
            retry_at: Mono::default(),
            failures: 0,
            held: 0,
            discarded: 0,
            said_at: None,
        }
    }

    /// True if it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.open.is_none() && self.queue.is_empty()
    }

    /// True if the operator's `max_pending_entries` is reached.
    pub fn is_over_pending(&self) -> bool {
        self.spec.max_pending_entries.is_some_and(|most| self.held >= most)
    }

    /// Batches that may be in flight at once.
    pub const fn window(mode: Mode) -> usize {
        match mode {
            Mode::Async => limits::IN_FLIGHT_BATCHES,
            Mode::Sync => 1,
        }
    }

    /// When the open batch wants to be looked at, as far as time alone decides.
    pub fn due(&self, options: &ShipperOptions, mode: Mode) -> Option<Mono> {
        let open = self.open.as_ref()?;
        let linger_ms = if mode == Mode::Sync { 0 } else { options.linger_ms };
        let full = open.batch.bytes() >= options.batch_bytes;
        let ready = open.ready_since.map(|since| if full { since } else { since.plus_ms(linger_ms) });
        [ready, self.array_due()].into_iter().flatten().min()
    }

    /// When the open array is closed by time (APISIX-COMPAT §3.2).
    pub fn array_due(&self) -> Option<Mono> {
        let (first, last) = self.open.as_ref()?.array?;
        let Batching::Array { inactive_ms, duration_ms, .. } = self.spec.batching else { return None };
        Some(last.plus_ms(inactive_ms).min(first.plus_ms(duration_ms)))
    }
}

impl<M: SlotMemory> Shipper<M> {
    /// Closes the open array of a lane: it is a message now.
    pub(super) fn close_array(&mut self, index: usize, now: Mono) {
        let lane = &mut self.lanes[index];
        let Some(open) = &mut lane.open else { return };
        let slot = self.ring.slot_mut(open.slot);
        if let Some(entries) = open.batch.close_array(slot.memory.bytes_mut()) {
            slot.batch.record_entries.push(entries);
            open.ready_since.get_or_insert(now);
        }
        open.array = None;
    }

    /// Seals what is due in a lane and sends what may be sent.
    pub(super) fn pump(&mut self, index: usize, now: Mono) {
        let closing = self.flushing || self.lanes[index].retired;
        if closing || self.lanes[index].array_due().is_some_and(|due| due <= now) {
            self.close_array(index, now);
        }
        if self.is_due(index, now, closing) {
            self.seal(index);
        }
        self.send(index, now);
        // A pipe that is free again may take what was filled meanwhile.
        if self.is_due(index, now, closing) {
            self.seal(index);
            self.send(index, now);
        }
    }

    /// True if the open batch holds whole messages, has waited long enough, and the pipe would take it.
    fn is_due(&self, index: usize, now: Mono, closing: bool) -> bool {
        let lane = &self.lanes[index];
        let sink = &self.sinks[lane.sink];
        let Some(open) = &lane.open else { return false };
        if open.batch.records() == 0 {
            return false;
        }
        let linger_ms = if closing || sink.spec.mode == Mode::Sync { 0 } else { self.options.linger_ms };
        let waited = open.ready_since.is_some_and(|since| since.plus_ms(linger_ms) <= now);
        let in_flight = self.in_flight(index);
        let pipe_is_free = in_flight == lane.queue.len() && in_flight < Lane::window(sink.spec.mode);
        pipe_is_free && (waited || open.batch.bytes() >= self.options.batch_bytes)
    }

    /// Batches of a lane that were sent and are not answered.
    pub(super) fn in_flight(&self, index: usize) -> usize {
        let queue = &self.lanes[index].queue;
        queue.iter().filter(|slot| self.ring.slot(**slot).state == State::InFlight).count()
    }

    /// Takes the open batch, whose messages are whole, into the queue. An array that is still open moves to a slot of its own;
    /// if there is none, it is closed.
    pub(super) fn seal(&mut self, index: usize) {
        if !self.carry_array(index) {
            let now = self.lanes[index].open.as_ref().and_then(|open| open.ready_since).unwrap_or_default();
            self.close_array(index, now);
        }
        let lane = &mut self.lanes[index];
        let carried = lane.open.as_mut().and_then(|open| open.array.take()).is_some();
        debug_assert!(!carried, "an array that stayed was closed");
        let Some(open) = lane.open.take() else { return };
        let codec = self.sinks[lane.sink].spec.compression;
        let slot = self.ring.slot_mut(open.slot);
        let mut sealed = open.batch.sealed();
        self.compressor.compress_batch(codec, slot.memory.bytes_mut(), &mut sealed);
        slot.batch.seal(sealed);
        slot.state = State::Queued;
        lane.queue.push_back(open.slot);
        lane.open = self.carried.take();
    }

    /// Moves the open array, if there is one, into a fresh slot. True if none is left behind.
    fn carry_array(&mut self, index: usize) -> bool {
        let Some((first, last)) = self.lanes[index].open.as_ref().and_then(|open| open.array) else { return true };
        let Some(old) = self.lanes[index].open.take() else { return true };
        if !self.open(index, first) {
            self.lanes[index].open = Some(old);
            return false;
        }
        let lane = &mut self.lanes[index];
        let (mut old, Some(mut fresh)) = (old, lane.open.take()) else { return false };
        let moved = self.ring.two(old.slot, fresh.slot).is_some_and(|(from, to)| {
            old.batch.carry_array(from.memory.bytes(), &mut fresh.batch, to.memory.bytes_mut(), &lane.key)
        });
        if moved {
            fresh.array = Some((first, last));
            old.array = None;
            self.carried = Some(fresh);
        } else {
            self.give_back(fresh.slot);
        }
        self.lanes[index].open = Some(old);
        moved
    }
}

/// True if a broker with these versions can give producer ids.
pub const fn gives_producer_ids(versions: &Versions) -> bool {
    versions.init_producer_id.is_some()
}
