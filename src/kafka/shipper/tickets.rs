//! Entries that somebody waits for: which of them lie in which slot, and who is told what became of them. Also what is different
//! for lanes of [`Mode::Held`], whose entries these are.
//!
//! A ticket stays with its slot: it is settled when its entry's batch, or the part of it with the entry, is resolved. A batch that
//! is moved elsewhere leaves its tickets behind unsettled; its slot forgets them when it is taken again.

use super::Shipper;
use crate::base::Mono;
use crate::kafka::event::{Action, SlotId, Ticket};
use crate::kafka::options::Mode;
use crate::kafka::producer::Resolved;
use crate::kafka::ring::SlotMemory;

/// The tickets of one slot.
#[derive(Debug, Default)]
struct InSlot {
    /// The entry's place in the batch, counted from 1, and its ticket; in order.
    tickets: Vec<(u64, Ticket)>,
    /// Entries of the batch that are resolved.
    resolved: u64,
}

/// All tickets of a shipper.
#[derive(Debug, Default)]
pub struct Tickets {
    /// Of the entry that is being appended.
    pub next: Option<Ticket>,
    /// By slot, as far as they were needed.
    slots: Vec<InSlot>,
}

impl Tickets {
    /// The entry at hand became the batch's `entry`th.
    #[inline]
    pub fn note(&mut self, slot: SlotId, entry: u64) {
        if let Some(ticket) = self.next.take() {
            self.put(slot, entry, ticket);
        }
    }

    pub(super) fn put(&mut self, slot: SlotId, entry: u64, ticket: Ticket) {
        let place = slot.0 as usize;
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, InSlot::default);
        }
        self.slots[place].tickets.push((entry, ticket));
    }

    /// A slot is taken for a new batch.
    pub fn begin(&mut self, slot: SlotId) {
        if let Some(in_slot) = self.slots.get_mut(slot.0 as usize) {
            in_slot.tickets.clear();
            in_slot.resolved = 0;
        }
    }

    /// Takes out those whose entries are resolved by this.
    pub(super) fn resolve(&mut self, one: &Resolved, mut tell: impl FnMut(Ticket)) {
        let Some(in_slot) = self.slots.get_mut(one.slot.0 as usize) else { return };
        in_slot.resolved += one.entries;
        let upto = if one.whole { u64::MAX } else { in_slot.resolved };
        let count = in_slot.tickets.partition_point(|(entry, _)| *entry <= upto);
        in_slot.tickets.drain(..count).for_each(|(_, ticket)| tell(ticket));
    }
}

impl<M: SlotMemory> Shipper<M> {
    /// Tells those who wait for these entries.
    pub(super) fn settle_tickets(&mut self, one: &Resolved) {
        let (actions, outcome) = (&mut self.actions, one.outcome);
        self.tickets.resolve(one, |ticket| actions.push_back(Action::Settled { ticket, outcome }));
    }

    pub(super) fn is_held(&self, index: usize) -> bool {
        self.sinks[self.lanes[index].sink].spec.mode == Mode::Held
    }

    /// Nobody waits for an array to fill: it is closed once its batch can be sent, or can grow no more.
    pub(super) fn close_held_array(&mut self, index: usize, now: Mono) {
        let lane = &self.lanes[index];
        let Some(open) = lane.open.filter(|open| open.batch.array_entries() > 0) else { return };
        if self.is_held(index) && (open.batch.bytes() >= lane.batch_bytes || self.pipe_is_free(index)) {
            self.close_array(index, now);
        }
    }

    /// Slots that this lane must leave: one for those that are waited for, while they have none.
    pub(super) fn kept_for_held(&self, index: usize) -> usize {
        let is_held = |sink: &&crate::kafka::sink::Sink| sink.lanes > 0 && sink.spec.mode == Mode::Held;
        if self.is_held(index) {
            return 0;
        }
        let mut held = self.sinks.iter().filter(is_held).peekable();
        usize::from(held.peek().is_some() && held.all(|sink| sink.slots == 0))
    }
}
