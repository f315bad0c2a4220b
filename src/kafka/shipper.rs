//! The facade: one shipper per core. Entries go in at [`Shipper::append`]; the shell carries out [`Action`]s, tells [`Event`]s
//! and the time, and sleeps until [`Shipper::next_wake`]. No socket, file, clock or randomness in here.

use super::batch::Out;
use super::event::{Action, Appended, Event, SlotId};
use super::options::{LaneId, LaneSpec, ShipperOptions, SinkId, SinkSpec};
use super::ring::SlotMemory;
use super::stats::Stats;
use crate::base::Mono;
use crate::base::time::Now;

/// Everything between a rendered entry and Kafka's acknowledgement, for one core.
pub struct Shipper<M> {
    slots: Vec<M>,
}

impl<M: SlotMemory> Shipper<M> {
    /// A shipper over these slots, at least `ring::SLOTS_MIN`; each at least `batch::SLOT_BYTES_MIN` bytes
    /// (`limits::SLOT_BYTES` is meant).
    pub fn new(slots: Vec<M>, options: ShipperOptions) -> Self {
        let _ = options;
        Self { slots }
    }

    /// Finds or makes the sink with this content.
    pub fn sink(&mut self, spec: &SinkSpec) -> SinkId {
        let _ = spec;
        todo!()
    }

    /// Finds or makes the lane with this content; a retired one is taken back.
    pub fn lane(&mut self, spec: &LaneSpec) -> LaneId {
        let _ = spec;
        todo!()
    }

    /// No configuration names this lane any more: its open batch is closed, it drains, and is then forgotten.
    pub fn retire(&mut self, lane: LaneId) {
        let _ = lane;
        todo!()
    }

    /// Takes one entry, which `render` writes. `render` may be called twice: once for a batch that turns out to be full, once for
    /// the next.
    pub fn append(&mut self, lane: LaneId, now: Now, render: &mut dyn FnMut(&mut Out<'_>)) -> Appended {
        let _ = (lane, now, render);
        todo!()
    }

    /// Tells what the shell saw.
    pub fn on_event(&mut self, event: Event<'_>, now: Now) {
        let _ = (event, now);
        todo!()
    }

    /// Tells that [`Shipper::next_wake`] has come. Harmless at any other time.
    pub fn on_time(&mut self, now: Now) {
        let _ = now;
        todo!()
    }

    /// The next thing to do, until None.
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }

    /// When [`Shipper::on_time`] wants to be called; None: not before the next event or append. May be early, never late.
    pub fn next_wake(&self) -> Option<Mono> {
        todo!()
    }

    /// Seals everything that is open now (shutdown).
    pub fn flush(&mut self, now: Now) {
        let _ = now;
        todo!()
    }

    /// The shutdown's deadline: what was never sent, or was refused, becomes lost; what was sent and not answered, in doubt.
    pub fn give_up(&mut self, now: Now) {
        let _ = now;
        todo!()
    }

    /// Entries accepted and not yet resolved.
    pub fn held_entries(&self) -> u64 {
        todo!()
    }

    /// The numbers.
    pub fn stats(&self) -> &Stats {
        todo!()
    }

    /// A slot's memory, for [`Action::SendBatch`].
    pub fn slot_bytes(&self, slot: SlotId) -> &M {
        &self.slots[slot.0 as usize]
    }
}
