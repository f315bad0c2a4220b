//! The producer of one lane and partition: its queue of batches, their sequences, and what answers and lost connections do to
//! them. It sends nothing itself and counts nothing: `shipper` does both with what it says.
//!
//! What holds, with idempotence:
//! - Batches are sent in queue order, and none is sent behind one that waits. The first of an epoch goes alone, so that the
//!   broker knows this producer before it must tell a gap from a beginning.
//! - Identity (producer id, epoch, sequence) is frozen at the first attempt. It is given anew only after a definite refusal.
//! - A batch is *in doubt* once an attempt's outcome was not learnt. If it is then refused with 45, it is held, and those behind
//!   it that are in doubt too are asked for: the broker takes, or recognises, one of them only if all before it are there. If it
//!   recognises none, they are given up as in doubt. (Issue B asks the broker instead.) A batch that is acknowledged takes those
//!   before it out of doubt.
//!
//! Without idempotence (acks = 1, or denied) up to five batches are in flight all the same; after an error they are sent again in
//! order, so that records may be doubled, or stand in another order, around an error. That is what acks = 1 promises.

use std::collections::VecDeque;

use super::batch::{Identity, RECORDS_START, TAILROOM_BYTES, move_to_front, records_end, write_header};
use super::compress::Compressor;
use super::event::{ConnId, SlotId};
use super::retry::{self, Backoff, Rng, Verdict};
use super::ring::{Ring, SlotMemory, State, Wire};
use super::stats::LostReason;
use crate::base::Mono;

/// What became of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They are in Kafka.
    Delivered,
    /// They may or may not be in Kafka.
    InDoubt,
    /// They are not in Kafka.
    Lost(LostReason),
}

/// A batch, or a part of one, that is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Which.
    pub slot: SlotId,
    /// How many entries.
    pub entries: u64,
    /// How many bytes of batch.
    pub bytes: usize,
    /// How.
    pub outcome: Outcome,
    /// True if nothing of the batch is left: its slot can be given back.
    pub whole: bool,
}

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This batch.
    Send(SlotId),
    /// Nothing before this time.
    Wait(Mono),
    /// Nothing before an event.
    Nothing,
}

/// What must happen before identities are given anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reset {
    /// Nothing: they stay.
    #[default]
    No,
    /// The epoch is bumped.
    Epoch,
    /// A new producer id is taken.
    Producer,
}

/// When and how a queue tries again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Pauses.
    pub backoff: Backoff,
    /// Failures that a batch is forgiven; None: all.
    pub max_retry: Option<u32>,
}

/// One lane's batches for one partition, oldest first.
#[derive(Debug, Default)]
pub struct Queue {
    /// Every batch that is not resolved.
    pub batches: VecDeque<SlotId>,
    /// Of these, sent and not answered.
    pub in_flight: u32,
    /// Where those were sent.
    pub conn: Option<ConnId>,
    /// Nothing is sent until all in flight are answered.
    draining: bool,
    /// Nothing is sent before this.
    retry_at: Mono,
    /// Failures in a row.
    failures: u32,
    /// When the first of them was.
    pub stalled_since: Option<Mono>,
    /// True once the failures were said.
    pub reported: bool,
    /// Producer id and epoch.
    pub producer: Option<(i64, i16)>,
    /// A producer id that is of no use any more.
    pub spent: Option<i64>,
    /// What the broker answered last; None: nothing.
    pub last_error: Option<i16>,
    next_sequence: i32,
    /// True once the broker took a batch of this epoch.
    proven: bool,
    /// A batch was definitely refused: what is in flight behind it cannot be appended.
    gap: bool,
    reset: Reset,
    /// The offset behind the last batch that was acknowledged.
    known_end: Option<i64>,
    /// Nothing is sent before the broker was asked about the batches in doubt.
    must_ask: bool,
}

impl Queue {
    /// Takes batches from before a restart over: those that were sent then (`sent`, `doubt`, with their identity) are asked about
    /// before anything is sent. What is new goes on under `producer` from `next_sequence` on, if the broker still knows it.
    /// `scan_from`: an offset before which none of them can lie; -1: not known.
    pub fn resume(&mut self, producer: (i64, i16), next_sequence: i32, scan_from: i64) {
        self.producer = Some(producer);
        self.next_sequence = next_sequence;
        self.known_end = Some(scan_from).filter(|offset| *offset >= 0);
        self.must_ask = true;
    }

    /// An offset of the partition before which nothing that is unresolved can lie; -1: not known.
    pub fn scan_from(&self) -> i64 {
        self.known_end.unwrap_or(-1)
    }

    /// What may be sent now, with at most `window` in flight.
    pub fn next<M: SlotMemory>(&self, ring: &Ring<M>, window: u32, idempotent: bool, now: Mono) -> Next {
        let window = if idempotent && !self.proven { 1 } else { window };
        if self.batches.is_empty() || self.draining || self.in_flight >= window {
            return Next::Nothing;
        }
        let mut held = false;
        for id in &self.batches {
            let slot = ring.slot(*id);
            match slot.state {
                State::InFlight if slot.batch.in_parts => return Next::Nothing,
                State::InFlight => {}
                State::Held => held = true,
                _ if held && !slot.batch.doubt => return Next::Nothing,
                _ if slot.batch.in_parts && self.in_flight > 0 => return Next::Nothing,
                _ if slot.pins > 0 => return Next::Nothing,
                _ if now < self.retry_at => return Next::Wait(self.retry_at),
                _ => return Next::Send(*id),
            }
        }
        Next::Nothing
    }

    /// Makes a batch's bytes ready: cuts it if it was too large, gives it an identity, fills its header. None if it cannot be cut.
    pub fn prepare<M: SlotMemory>(
        &mut self,
        ring: &mut Ring<M>,
        id: SlotId,
        idempotent: bool,
        compressor: &mut Compressor,
    ) -> Option<()> {
        let slot = ring.slot_mut(id);
        let memory = slot.memory.bytes_mut();
        slot.batch.reshape(memory, compressor)?;
        if idempotent && slot.batch.identity.is_none() {
            let (producer_id, epoch) = self.producer?;
            slot.batch.identity = Some(Identity { producer_id, epoch, sequence: self.next_sequence });
            self.next_sequence = sequence_after(self.next_sequence, slot.batch.whole.records);
            slot.batch.headed = false;
        }
        let batch = &mut slot.batch;
        if !batch.headed {
            let identity = batch.identity.unwrap_or(Identity::NONE);
            match &mut batch.wire {
                Some(wire) => write_header(&mut wire.memory, &wire.sealed, identity),
                None => write_header(memory, &batch.part, identity),
            }
            batch.headed = true;
        }
        batch.keep_under_tail(memory);
        Some(())
    }

    /// Notes that a batch was sent; true if it was sent before.
    pub fn sent<M: SlotMemory>(&mut self, ring: &mut Ring<M>, id: SlotId, conn: ConnId) -> bool {
        let slot = ring.slot_mut(id);
        slot.state = State::InFlight;
        slot.pins += u32::from(slot.batch.wire.is_none());
        self.in_flight += 1;
        self.conn = Some(conn);
        std::mem::replace(&mut slot.batch.sent, true)
    }

    /// Takes the broker's answer for a batch in flight; says what is resolved by it. The verdict, for the caller's own use.
    pub fn answered<M: SlotMemory>(
        &mut self,
        ring: &mut Ring<M>,
        id: SlotId,
        (error, base_offset): (i16, i64),
        time: (Mono, Patience, &mut Rng),
        resolved: &mut Vec<Resolved>,
    ) -> Verdict {
        let (now, patience, rng) = time;
        let slot = ring.slot_mut(id);
        slot.state = State::Queued;
        self.in_flight -= 1;
        self.last_error = Some(error);
        let verdict = retry::verdict(error);
        match verdict {
            Verdict::Delivered => {
                if base_offset >= 0 {
                    let end = base_offset.saturating_add(i64::from(slot.batch.part.records));
                    self.known_end = self.known_end.max(Some(end));
                }
                self.delivered(ring, id, resolved);
            }
            Verdict::Retry { appended, .. } => {
                let batch = &mut slot.batch;
                batch.failures += 1;
                batch.doubt |= appended == retry::Appended::Perhaps;
                self.gap |= appended == retry::Appended::Never;
                self.fail(now, patience, rng);
            }
            Verdict::TooLarge if slot.batch.part.records > 1 => {
                slot.batch.cut_in_half();
                (self.gap, self.draining) = (true, true);
            }
            Verdict::TooLarge => self.refuse(ring, id, LostReason::TooLarge, resolved),
            Verdict::Refused => self.refuse(ring, id, LostReason::Refused, resolved),
            Verdict::Sequence => self.out_of_order(ring, id, now, patience, rng),
            Verdict::Epoch => {
                (self.gap, self.reset) = (true, Reset::Producer);
                self.fail(now, patience, rng);
            }
        }
        self.expire(ring, patience, resolved);
        self.settle(ring, resolved);
        verdict
    }

    /// The connection is gone: whatever was in flight may have been appended, unless a batch before it was refused.
    pub fn connection_lost<M: SlotMemory>(
        &mut self,
        ring: &mut Ring<M>,
        time: (Mono, Patience, &mut Rng),
        resolved: &mut Vec<Resolved>,
    ) {
        let (now, patience, rng) = time;
        if self.in_flight == 0 {
            return;
        }
        let idempotent = self.producer.is_some();
        for id in &self.batches {
            let slot = ring.slot_mut(*id);
            if slot.state == State::InFlight {
                slot.state = State::Queued;
                slot.batch.doubt |= !(idempotent && self.gap);
                slot.batch.failures += 1;
            }
        }
        self.in_flight = 0;
        self.last_error = None;
        self.fail(now, patience, rng);
        self.expire(ring, patience, resolved);
        self.settle(ring, resolved);
    }

    /// The topic was created again: nothing that the old one's leader knew holds. What is not in flight gets a new identity.
    pub fn topic_created_again(&mut self) {
        (self.reset, self.draining, self.known_end) = (Reset::Epoch, true, None);
    }

    /// Carries out what waited for the last answer. Harmless at any time.
    pub fn settle<M: SlotMemory>(&mut self, ring: &mut Ring<M>, resolved: &mut Vec<Resolved>) {
        if self.in_flight > 0 {
            return;
        }
        let is = |ring: &Ring<M>, id: &SlotId, state| ring.slot(*id).state == state;
        let held = self.batches.iter().any(|id| is(ring, id, State::Held));
        let asking = self.batches.iter().any(|id| is(ring, id, State::Queued) && ring.slot(*id).batch.doubt);
        if !self.draining && (!held || asking) {
            return;
        }
        (self.draining, self.gap) = (false, false);
        if held && !asking {
            self.resolve_where(ring, resolved, Outcome::InDoubt, |slot| slot.state == State::Held);
            self.reset = self.reset.max_of(Reset::Epoch);
        }
        for id in &self.batches {
            ring.slot_mut(*id).state = State::Queued;
        }
        self.renumber(ring, resolved);
    }

    /// Everything that is left is given up: in doubt if it was sent without an answer, lost if not.
    pub fn abandon<M: SlotMemory>(&mut self, ring: &mut Ring<M>, reason: LostReason, resolved: &mut Vec<Resolved>) {
        self.resolve_where(ring, resolved, Outcome::InDoubt, |slot| {
            slot.batch.doubt || matches!(slot.state, State::InFlight | State::Held)
        });
        self.resolve_where(ring, resolved, Outcome::Lost(reason), |_| true);
        self.in_flight = 0;
    }

    fn renumber<M: SlotMemory>(&mut self, ring: &mut Ring<M>, resolved: &mut Vec<Resolved>) {
        match std::mem::take(&mut self.reset) {
            Reset::No => return,
            Reset::Epoch => {
                // At the last epoch a new id is asked for.
                let bumped = self.producer.and_then(|(id, epoch)| Some((id, epoch.checked_add(1)?)));
                self.spent = self.producer.filter(|_| bumped.is_none()).map(|(id, _)| id).or(self.spent);
                self.producer = bumped;
            }
            Reset::Producer => self.spent = self.producer.take().map(|(id, _)| id).or(self.spent),
        }
        // Never a second number for what may be there under the first.
        self.resolve_where(ring, resolved, Outcome::InDoubt, |slot| slot.batch.doubt && slot.batch.identity.is_some());
        for id in &self.batches {
            ring.slot_mut(*id).batch.identity = None;
        }
        (self.next_sequence, self.proven) = (0, false);
    }

    fn delivered<M: SlotMemory>(&mut self, ring: &mut Ring<M>, id: SlotId, resolved: &mut Vec<Resolved>) {
        (self.failures, self.stalled_since, self.retry_at) = (0, None, Mono::default());
        let idempotent = ring.slot(id).batch.identity.is_some();
        self.proven |= idempotent;
        if idempotent && self.batches.front() != Some(&id) {
            // The broker took this one, so that it has all before it: what was in doubt there is not any more.
            let before = self.batches.iter().take_while(|other| **other != id);
            let there = before.copied().filter(|other| ring.slot(*other).batch.doubt);
            for other in there.collect::<Vec<_>>() {
                self.resolve_part(ring, other, Outcome::Delivered, resolved);
            }
        }
        self.resolve_part(ring, id, Outcome::Delivered, resolved);
    }

    fn out_of_order<M: SlotMemory>(
        &mut self,
        ring: &mut Ring<M>,
        id: SlotId,
        now: Mono,
        patience: Patience,
        rng: &mut Rng,
    ) {
        let before = self.batches.iter().take_while(|other| **other != id);
        let first = before.copied().all(|other| ring.slot(other).state == State::Held);
        let batch = &ring.slot(id).batch;
        if batch.identity.is_none() {
            self.fail(now, patience, rng);
        } else if !first {
            // One before it waits to be sent again; this one simply follows it.
            self.draining = true;
        } else if batch.doubt {
            ring.slot_mut(id).state = State::Held;
        } else {
            // Never appended, and the broker expects another number: begin a new epoch.
            self.reset = self.reset.max_of(Reset::Epoch);
            self.gap = true;
            self.fail(now, patience, rng);
        }
    }

    fn refuse<M: SlotMemory>(
        &mut self,
        ring: &mut Ring<M>,
        id: SlotId,
        reason: LostReason,
        resolved: &mut Vec<Resolved>,
    ) {
        let batch = &ring.slot(id).batch;
        let outcome = if batch.doubt { Outcome::InDoubt } else { Outcome::Lost(reason) };
        if batch.identity.is_some() && !batch.doubt {
            // Its numbers will never be used: those behind it need others.
            self.reset = self.reset.max_of(Reset::Epoch);
        }
        (self.gap, self.draining) = (true, true);
        self.resolve_part(ring, id, outcome, resolved);
    }

    /// A batch whose bytes cannot be brought into the shape that Kafka asked for.
    pub fn drop_unsendable<M: SlotMemory>(&mut self, ring: &mut Ring<M>, id: SlotId, resolved: &mut Vec<Resolved>) {
        let outcome = Outcome::Lost(LostReason::TooLarge);
        let entries = ring.slot(id).batch.entries_left();
        let bytes = ring.slot(id).batch.part_bytes();
        self.batches.retain(|other| *other != id);
        resolved.push(Resolved { slot: id, entries, bytes, outcome, whole: true });
        self.reset = self.reset.max_of(Reset::Epoch);
        self.draining = true;
        self.settle(ring, resolved);
    }

    /// Gives up what failed more often than the operator allowed.
    fn expire<M: SlotMemory>(&mut self, ring: &mut Ring<M>, patience: Patience, resolved: &mut Vec<Resolved>) {
        let Some(max_retry) = patience.max_retry else { return };
        let worn = |slot: &super::ring::Slot<M>| slot.state == State::Queued && slot.batch.failures > max_retry;
        let gap = self.batches.iter().any(|id| {
            let slot = ring.slot(*id);
            worn(slot) && !slot.batch.doubt && slot.batch.identity.is_some()
        });
        self.resolve_where(ring, resolved, Outcome::InDoubt, |slot| worn(slot) && slot.batch.doubt);
        self.resolve_where(ring, resolved, Outcome::Lost(LostReason::Retries), worn);
        if gap {
            self.reset = self.reset.max_of(Reset::Epoch);
            (self.gap, self.draining) = (true, true);
        }
    }

    fn fail(&mut self, now: Mono, patience: Patience, rng: &mut Rng) {
        // One pause for all that fail together.
        if !self.draining || self.failures == 0 {
            self.failures += 1;
            self.retry_at = patience.backoff.until(now, self.failures, rng);
            self.stalled_since = self.stalled_since.or(Some(now));
        }
        self.draining = true;
    }

    /// A leader hint was taken: no pause is needed before the new one is asked.
    pub fn follow_hint(&mut self) {
        self.retry_at = Mono::default();
    }

    /// Resolves what is sent next of a batch, and drops the batch from the queue if that was all.
    fn resolve_part<M: SlotMemory>(
        &mut self,
        ring: &mut Ring<M>,
        id: SlotId,
        outcome: Outcome,
        resolved: &mut Vec<Resolved>,
    ) {
        let batch = &mut ring.slot_mut(id).batch;
        let whole = batch.part.records >= batch.whole.records;
        let entries = batch.entries_of(batch.part.records);
        resolved.push(Resolved { slot: id, entries, bytes: batch.part_bytes(), outcome, whole });
        if whole {
            self.batches.retain(|other| *other != id);
        } else {
            batch.go_on();
        }
    }

    fn resolve_where<M: SlotMemory>(
        &mut self,
        ring: &Ring<M>,
        resolved: &mut Vec<Resolved>,
        outcome: Outcome,
        which: impl Fn(&super::ring::Slot<M>) -> bool,
    ) {
        self.batches.retain(|id| {
            let slot = ring.slot(*id);
            let gone = which(slot);
            if gone {
                let (entries, bytes) = (slot.batch.entries_left(), slot.batch.part_bytes());
                resolved.push(Resolved { slot: *id, entries, bytes, outcome, whole: true });
            }
            !gone
        });
    }
}

impl Reset {
    const fn max_of(self, other: Self) -> Self {
        if matches!(self, Self::Producer) { self } else { other }
    }
}

impl super::ring::Batch {
    /// The first half of its records goes next.
    fn cut_in_half(&mut self) {
        self.in_parts = true;
        self.want_records = Some((self.part.records / 2).max(1));
    }

    /// What was sent is resolved; the rest goes next, in parts of the same size.
    fn go_on(&mut self) {
        self.want_rest = true;
        self.doubt = false;
        self.failures = 0;
        self.sent = false;
    }

    /// Entries of everything that is not resolved.
    pub fn entries_left(&self) -> u64 {
        let all = self.entries_of(self.whole.records);
        if self.want_rest { all - self.entries_of(self.part.records) } else { all }
    }

    /// Brings its bytes into the shape that was asked for since it was last sent. None if they are not what they should be.
    fn reshape(&mut self, memory: &mut [u8], compressor: &mut Compressor) -> Option<()> {
        if self.want_records.is_none() && !self.want_rest {
            return Some(());
        }
        self.put_back_tail(memory);
        if self.whole.attributes != 0 {
            self.codec = self.whole.attributes;
            self.part.end = compressor.expand_batch(memory, &self.whole)?;
            (self.whole.end, self.whole.attributes) = (self.part.end, 0);
        }
        self.wire = None;
        let mut records = self.part.records;
        if std::mem::take(&mut self.want_rest) {
            self.whole.end = move_to_front(memory, self.part.end, self.whole.end)?;
            self.whole.entries -= self.entries_of(records);
            self.whole.records -= records;
            if !self.record_entries.is_empty() {
                self.record_entries.drain(..records as usize);
            }
            if let Some(identity) = &mut self.identity {
                identity.sequence = sequence_after(identity.sequence, records);
            }
        }
        records = self.want_records.take().unwrap_or(records).min(self.whole.records);
        self.part = self.whole;
        self.part.records = records;
        self.part.end = records_end(memory, RECORDS_START, self.whole.end, records)?;
        self.part.entries = self.entries_of(records);
        self.headed = false;
        if self.codec != 0 {
            // The records must stay for the next part: a compressed part gets memory of its own.
            let mut wire = Wire { memory: vec![0; self.part.end + TAILROOM_BYTES], sealed: self.part };
            wire.memory[RECORDS_START..self.part.end].copy_from_slice(&memory[RECORDS_START..self.part.end]);
            compressor.compress_attributes(self.codec, &mut wire.memory, &mut wire.sealed);
            self.wire = Some(wire);
        }
        Some(())
    }
}

/// The sequence behind `records` records that begin at `sequence`; after `i32::MAX` comes 0 (KIP-98).
pub(super) fn sequence_after(sequence: i32, records: u32) -> i32 {
    ((i64::from(sequence) + i64::from(records)) % (i64::from(i32::MAX) + 1)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_begin_again_after_the_largest() {
        assert_eq!(sequence_after(i32::MAX - 1, 1), i32::MAX);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 5), 3);
    }

    /// Two batches of one record each, sent.
    fn two_in_flight(ring: &mut Ring<Vec<u8>>) -> (Queue, [SlotId; 2]) {
        let mut queue = Queue { producer: Some((7, 0)), proven: true, ..Queue::default() };
        let mut compressor = Compressor::default();
        let ids = [ring.take(0), ring.take(0)].map(|id| id.expect("free"));
        for id in ids {
            let slot = ring.slot_mut(id);
            let mut open = super::super::batch::OpenBatch::new(slot.memory.len(), 2);
            open.push_record(&mut slot.memory, &[1], 0, &mut |out| out.push(b"x")).expect("fits");
            slot.batch.seal(open.sealed());
            slot.state = State::Queued;
            queue.batches.push_back(id);
        }
        send_all(&mut queue, ring, &mut compressor, Mono::default());
        assert_eq!(queue.in_flight, 2);
        (queue, ids)
    }

    fn send_all(queue: &mut Queue, ring: &mut Ring<Vec<u8>>, compressor: &mut Compressor, now: Mono) {
        while let Next::Send(id) = queue.next(ring, 5, true, now) {
            queue.prepare(ring, id, true, compressor).expect("whole");
            queue.sent(ring, id, ConnId(1));
            ring.slot_mut(id).pins = 0;
        }
    }

    const PATIENCE: Patience = Patience { backoff: Backoff { first_ms: 10, max_ms: 10 }, max_retry: None };

    #[test]
    fn what_may_have_been_appended_is_asked_for_and_then_in_doubt_never_renumbered() {
        let mut ring = Ring::new(vec![vec![0u8; 4_096]; 3]);
        let (mut rng, mut resolved) = (Rng::new(1), Vec::new());
        let (mut queue, ids) = two_in_flight(&mut ring);
        // REQUEST_TIMED_OUT: perhaps appended; then the connection breaks.
        queue.answered(&mut ring, ids[0], (7, -1), (Mono::default(), PATIENCE, &mut rng), &mut resolved);
        queue.connection_lost(&mut ring, (Mono::default(), PATIENCE, &mut rng), &mut resolved);
        let now = Mono::from_ms(100);
        send_all(&mut queue, &mut ring, &mut Compressor::default(), now);
        for id in ids {
            assert_eq!(resolved, []);
            queue.answered(&mut ring, id, (45, -1), (now, PATIENCE, &mut rng), &mut resolved);
        }
        assert_eq!(resolved.iter().map(|one| one.outcome).collect::<Vec<_>>(), [Outcome::InDoubt; 2]);
        assert_eq!(queue.producer, Some((7, 1)), "what comes next begins a new epoch");
    }

    #[test]
    fn a_batch_that_was_recognised_takes_those_before_it_along() {
        let mut ring = Ring::new(vec![vec![0u8; 4_096]; 3]);
        let (mut rng, mut resolved) = (Rng::new(1), Vec::new());
        let (mut queue, ids) = two_in_flight(&mut ring);
        queue.connection_lost(&mut ring, (Mono::default(), PATIENCE, &mut rng), &mut resolved);
        let now = Mono::from_ms(100);
        send_all(&mut queue, &mut ring, &mut Compressor::default(), now);
        queue.answered(&mut ring, ids[0], (45, -1), (now, PATIENCE, &mut rng), &mut resolved);
        assert_eq!(ring.slot(ids[0]).state, State::Held);
        queue.answered(&mut ring, ids[1], (46, -1), (now, PATIENCE, &mut rng), &mut resolved);
        assert_eq!(
            resolved.iter().map(|one| (one.slot, one.outcome)).collect::<Vec<_>>(),
            [(ids[0], Outcome::Delivered), (ids[1], Outcome::Delivered)]
        );
        assert_eq!(queue.producer, Some((7, 0)));
    }

    #[test]
    fn a_batch_that_was_never_appended_gets_a_new_number() {
        let mut ring = Ring::new(vec![vec![0u8; 4_096]; 3]);
        let (mut rng, mut resolved) = (Rng::new(1), Vec::new());
        let (mut queue, ids) = two_in_flight(&mut ring);
        let time = Mono::default();
        queue.answered(&mut ring, ids[0], (45, -1), (time, PATIENCE, &mut rng), &mut resolved);
        queue.connection_lost(&mut ring, (time, PATIENCE, &mut rng), &mut resolved);
        assert_eq!(resolved, [], "the second cannot be there without the first");
        send_all(&mut queue, &mut ring, &mut Compressor::default(), Mono::from_ms(100));
        let identity = |id| ring.slot(id).batch.identity.map(|it| (it.epoch, it.sequence));
        assert_eq!((identity(ids[0]), identity(ids[1])), (Some((1, 0)), None), "the first of an epoch goes alone");
    }
}
