//! The producer of one lane and partition: its queue of batches, their sequences, and what answers and lost connections do to
//! them. It sends nothing itself and counts nothing: `shipper` does both with what it says.
//!
//! What holds, with idempotence:
//! - Batches are sent in queue order, and none is sent behind one that waits. The first of an epoch goes alone, so that the
//!   broker knows this producer before it must tell a gap from a beginning. So does each that has its numbers from another producer
//!   or epoch (an earlier process gave them): a broker sees a gap within one of them only, and would take what follows it in the next.
//! - Identity (producer id, epoch, sequence) is frozen at the first attempt. It is given anew only after a definite refusal.
//! - A batch is *in doubt* once an attempt's outcome was not learnt. It is sent again as it is, and a broker that has it recognises
//!   it. If it is refused all the same (45, 47, 59, or for good), or if the process was started anew in between, the broker is asked
//!   ([`Inquiry`]), and nothing is sent before the answer: what is there is delivered, what is not is sent again under the same
//!   numbers, or under new ones if the broker expects others. Only where nobody can be asked it is given up as in doubt.
//! - A batch that is acknowledged takes those before it out of doubt: the broker takes one only if all before it are there.
//! - What the leader has may not be replicated yet. So of those that it names as there the last of each producer is sent once more:
//!   it is recognised, and acknowledged once the replicas have it.
//!
//! Without idempotence (acks = 1, or denied) up to five batches are in flight all the same; after an error they are sent again in
//! order, so that records may be doubled, or stand in another order, around an error, and a leader that dies takes what only it had
//! along though it was acknowledged. That is what acks = 1 promises.

use std::collections::VecDeque;

use super::batch::{Identity, write_header};
use super::codec::producers::ProducerState;
use super::compress::Compressor;
use super::event::{ConnId, SlotId};
use super::inquiry::{self, Fate, Inquiry, Wanted};
use super::retry::{self, Backoff, Rng, Verdict};
use super::ring::{Batch, Ring, SlotMemory, State, sequence_after};
use super::stats::LostReason;
use crate::base::Mono;

/// Inquiries in a row that brought nothing, after which what the leader names as there counts as delivered without being recognised
/// once more.
const ASKED_IN_VAIN: u32 = 3;
/// Milliseconds after which a broker may have forgotten a producer, without acknowledgements or counted from a batch's timestamps as
/// `producer.id.expiration.ms` is (a day, unless the operator set it): a batch in doubt is asked about before it is sent again. A
/// broker that forgot would take it twice.
pub const ASK_AFTER_MS: u64 = 3_600_000;

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
    /// When it was sent for the first time, as far as this process knows.
    pub first_sent: Option<Mono>,
}

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This batch.
    Send(SlotId),
    /// The next question of [`Queue::inquiry`].
    Ask,
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
    pub(super) proven: bool,
    /// A batch was definitely refused, and no earlier attempt may be there: what is in flight behind it cannot be appended.
    gap: bool,
    reset: Reset,
    /// The offset behind the last batch that was acknowledged.
    known_end: Option<i64>,
    /// Nothing is sent before the broker was asked about the batches in doubt.
    must_ask: bool,
    /// It is asked because it refused one of them: they are not sent again without an answer.
    refused: bool,
    /// It was asked since the last attempt failed.
    asked: bool,
    /// Nobody could be asked, the last time.
    pub denied: bool,
    /// Inquiries since a batch was last acknowledged.
    asked_in_vain: u32,
    /// What the broker is asked now. Nothing is in flight meanwhile.
    pub inquiry: Option<Box<Inquiry>>,
}

impl Queue {
    /// Goes on where an earlier process ended. Its batches come into `batches` now or later (`ring::Batch::recover`): those that were
    /// sent then are asked about before anything is sent. What is new goes on under `producer` from `next_sequence` on, if the broker still knows it.
    /// `scan_from`: an offset before which none of them can lie; -1: not known.
    pub fn resume(&mut self, producer: (i64, i16), next_sequence: i32, scan_from: i64) {
        self.producer = Some(producer);
        self.next_sequence = next_sequence;
        self.known_end = Some(scan_from).filter(|offset| *offset >= 0);
        self.must_ask = true;
    }

    /// Takes one more batch from before a restart over, behind the others. If it was sent then, it is asked about before it is sent
    /// again, also if those before it were asked about already.
    pub fn take_over<M: SlotMemory>(&mut self, ring: &Ring<M>, id: SlotId) {
        self.batches.push_back(id);
        if ring.slot(id).batch.doubt {
            (self.must_ask, self.draining) = (true, true);
        }
    }

    /// After long, what is in doubt is asked about before it is sent again. `wall_ms`: milliseconds since 1970.
    pub fn mind_age<M: SlotMemory>(&mut self, ring: &Ring<M>, now: Mono, wall_ms: i64) {
        let Some(since) = self.stalled_since.filter(|_| !self.asked && self.in_flight == 0) else { return };
        let silent = now.ms_since(since) >= ASK_AFTER_MS;
        self.must_ask |= self.batches.iter().any(|id| {
            let batch = &ring.slot(*id).batch;
            let old = wall_ms.saturating_sub(batch.whole.max_timestamp_ms) >= ASK_AFTER_MS as i64;
            batch.doubt && batch.identity.is_some() && (silent || old)
        });
    }

    /// True if the broker must be asked about batches in doubt and is not asked yet.
    pub fn must_settle<M: SlotMemory>(&self, ring: &Ring<M>) -> bool {
        let unasked = || self.inquiry.is_none() && self.batches.iter().any(|id| ring.slot(*id).batch.unasked);
        self.in_flight == 0 && (self.must_ask || unasked())
    }

    /// An offset of the partition before which nothing that is unresolved can lie; -1: not known.
    pub fn scan_from(&self) -> i64 {
        self.known_end.unwrap_or(-1)
    }

    /// What may be sent now, with at most `window` in flight.
    pub fn next<M: SlotMemory>(&self, ring: &Ring<M>, window: u32, idempotent: bool, now: Mono) -> Next {
        if let Some(inquiry) = &self.inquiry {
            return match inquiry.asked {
                Some(_) => Next::Nothing,
                None if now < inquiry.retry_at => Next::Wait(inquiry.retry_at),
                None => Next::Ask,
            };
        }
        let window = if idempotent && !self.proven { 1 } else { window };
        if self.batches.is_empty() || self.draining || self.in_flight >= window {
            return Next::Nothing;
        }
        for id in &self.batches {
            let slot = ring.slot(*id);
            let alone = slot.batch.cut.is_some() || self.is_foreign(&slot.batch);
            match slot.state {
                State::InFlight if alone => return Next::Nothing,
                State::InFlight => {}
                _ if slot.batch.unasked => return Next::Nothing,
                _ if slot.batch.passed => {}
                _ if alone && self.in_flight > 0 => return Next::Nothing,
                _ if slot.pins > 0 => return Next::Nothing,
                _ if now < self.retry_at => return Next::Wait(self.retry_at),
                _ => return Next::Send(*id),
            }
        }
        Next::Nothing
    }

    /// True if its numbers are not this producer's and epoch's.
    fn is_foreign(&self, batch: &Batch) -> bool {
        batch.identity.is_some_and(|it| self.producer != Some((it.producer_id, it.epoch)))
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
        let (memory, batch) = (slot.memory.bytes_mut(), &mut slot.batch);
        batch.reshape(memory, compressor)?;
        // A part with more records than its batch has numbers left, after an array in front of it was cut, needs others: the broker
        // must never see one number for two records.
        if batch.identity.is_some() && batch.part_records > batch.covered {
            batch.forget_identity();
        }
        if idempotent && batch.identity.is_none() {
            let (producer_id, epoch) = self.producer?;
            batch.identity = Some(Identity { producer_id, epoch, sequence: self.next_sequence });
            batch.covered = batch.part_records;
            self.next_sequence = sequence_after(self.next_sequence, batch.covered);
            // What an earlier attempt without a number did stays `resent_blind`; under this one it was not sent.
            (batch.headed, batch.doubt) = (false, false);
        }
        if !batch.headed {
            let identity = batch.identity.unwrap_or(Identity::NONE);
            match &mut batch.wire {
                Some(wire) => write_header(&mut wire.memory, &wire.sealed, identity),
                None => write_header(memory, &batch.whole, identity),
            }
            batch.headed = true;
        }
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
                    let end = base_offset.saturating_add(i64::from(slot.batch.part_records));
                    self.known_end = self.known_end.max(Some(end));
                }
                self.delivered(ring, id, resolved);
            }
            Verdict::Retry { appended, .. } => {
                let batch = &mut slot.batch;
                batch.failures += 1;
                batch.doubt |= appended == retry::Appended::Perhaps;
                self.gap |= appended == retry::Appended::Never && !batch.may_have_come();
                self.fail(now, patience, rng);
            }
            Verdict::TooLarge if slot.batch.part_entries > 1 => {
                if slot.batch.cut_in_half() {
                    // There will be more records than numbers.
                    self.reset = self.reset.max_of(Reset::Epoch);
                }
                slot.batch.doubt = slot.batch.may_have_come();
                self.must_ask |= slot.batch.doubt;
                (self.gap, self.draining) = (self.gap || !slot.batch.doubt, true);
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
        self.must_ask |= self.inquiry.take().is_some();
    }

    /// The partition is gone, and with it whatever reached it: its batches, newest last, to be sent elsewhere.
    pub fn dissolve<M: SlotMemory>(&mut self, ring: &mut Ring<M>) -> VecDeque<SlotId> {
        let batches = std::mem::take(&mut self.batches);
        for id in &batches {
            ring.slot_mut(*id).batch.forget_identity();
        }
        // The numbers that it gave are not given again: the partition may come back, and the broker remember them.
        *self = Self { spent: self.producer.map(|(id, _)| id).or(self.spent), ..Self::default() };
        batches
    }

    /// Carries out what waited for the last answer: asks about what is in doubt, or gives new numbers. Harmless at any time.
    pub fn settle<M: SlotMemory>(&mut self, ring: &mut Ring<M>, resolved: &mut Vec<Resolved>) {
        self.must_ask |= self.must_settle(ring);
        if self.in_flight > 0 || self.inquiry.is_some() || !(self.draining || self.must_ask) {
            return;
        }
        (self.draining, self.gap) = (false, false);
        for id in &self.batches {
            ring.slot_mut(*id).state = State::Queued;
        }
        if std::mem::take(&mut self.must_ask) || self.reset != Reset::No {
            let wanted = self.in_doubt(ring);
            if !wanted.is_empty() {
                self.asked_in_vain += 1;
                self.inquiry = Some(Box::new(Inquiry::new(wanted)));
                return;
            }
        }
        self.refused = false;
        self.renumber(ring, resolved);
    }

    /// What the broker can be asked about. What was asked about is asked about once more only before it loses its numbers.
    fn in_doubt<M: SlotMemory>(&self, ring: &mut Ring<M>) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for id in &self.batches {
            let batch = &mut ring.slot_mut(*id).batch;
            (batch.unasked, batch.passed) = (false, false);
            if let Some(identity) = batch.identity.filter(|_| batch.doubt || batch.late && self.reset != Reset::No) {
                let timestamp_ms = batch.whole.base_timestamp_ms;
                wanted.push(Wanted::new(*id, identity, batch.part_records, timestamp_ms, batch.attempt));
            }
        }
        wanted
    }

    /// A question was not answered, or with an error that passes: it is asked again after a pause.
    pub fn ask_again<M: SlotMemory>(
        &mut self,
        ring: &mut Ring<M>,
        (now, patience, rng): (Mono, Patience, &mut Rng),
        resolved: &mut Vec<Resolved>,
    ) {
        let Some(inquiry) = &mut self.inquiry else { return };
        inquiry.failures += 1;
        inquiry.retry_at = patience.backoff.until(now, inquiry.failures, rng);
        self.stalled_since = self.stalled_since.or(Some(now));
        for wanted in inquiry.wanted() {
            ring.slot_mut(wanted.slot).batch.failures += 1;
        }
        let before = self.batches.len();
        self.expire(ring, patience, resolved);
        if self.batches.len() < before {
            (self.inquiry, self.must_ask) = (None, true);
            self.settle(ring, resolved);
        }
    }

    /// The inquiry has ended: does what follows from it.
    pub fn learn<M: SlotMemory>(&mut self, ring: &mut Ring<M>, resolved: &mut Vec<Resolved>) {
        let Some(inquiry) = self.inquiry.take() else { return };
        self.asked = true;
        self.denied = inquiry.wanted().iter().any(|one| matches!(one.fate(), Fate::Unknown | Fate::NotSeen));
        if inquiry.foreign {
            self.reset = Reset::Producer;
        } else if !inquiry.numbers_fit(&self.preceded(ring, &inquiry)) {
            self.reset = self.reset.max_of(Reset::Epoch);
        }
        self.refused |= self.reset != Reset::No;
        let lost = |one: &Wanted| {
            let refused = ring.slot(one.slot).batch.refused.is_some();
            match one.fate() {
                Fate::There { .. } => false,
                Fate::Absent => refused,
                Fate::Partly(_) | Fate::NotSeen | Fate::Unknown => refused || self.refused,
            }
        };
        if inquiry.wanted().iter().any(lost) {
            // Its numbers may never be used.
            self.reset = self.reset.max_of(Reset::Epoch);
        }
        let own = self.producer.and_then(|(id, epoch)| inquiry.state_of(id).filter(|state| state.epoch == epoch));
        if self.producer.is_some_and(|(id, _)| inquiry.was_told_of(id)) {
            // A leader that forgot it takes any number, and sees no gap.
            self.proven = own.is_some();
        }
        let used = |state: &ProducerState| {
            state.last_sequence >= 0 && inquiry::distance(self.next_sequence, state.last_sequence) >= 0
        };
        if let Some(state) = own.filter(used) {
            // An earlier process gave these numbers to what is done and forgotten. Under one of them the broker would take another
            // batch for that one.
            self.next_sequence = sequence_after(state.last_sequence, 1);
        }
        let refused = std::mem::take(&mut self.refused);
        let again = self.recognisable(ring, &inquiry);
        for wanted in inquiry.wanted() {
            let again = again.iter().find(|(identity, _)| identity.same_producer(&wanted.identity)).map(|(_, id)| *id);
            self.carry_out(ring, wanted, (again, refused), resolved);
        }
        if self.reset != Reset::No {
            // A batch of an earlier process that came meanwhile is asked about first.
            self.draining = true;
            self.settle(ring, resolved);
        }
    }

    /// Producers with batches that are known not to be there, and go before those that were asked about.
    fn preceded<M: SlotMemory>(&self, ring: &Ring<M>, inquiry: &Inquiry) -> Vec<i64> {
        let asked = |id: &SlotId| inquiry.wanted().iter().any(|one| one.slot == *id);
        let first = |id: i64| inquiry.wanted().iter().find(|one| one.identity.producer_id == id).map(|one| one.slot);
        let before = |producer_id: i64| {
            let mut earlier = self.batches.iter().take_while(|id| Some(**id) != first(producer_id));
            earlier
                .any(|id| !asked(id) && ring.slot(*id).batch.identity.is_some_and(|it| it.producer_id == producer_id))
        };
        inquiry.producer_ids().into_iter().filter(|id| before(*id)).collect()
    }

    /// The batches that the leader will recognise if they are sent once more, at most one of each producer: the acknowledgement of
    /// another's would not tell that this one's were replicated. Empty if this is not the time for it.
    fn recognisable<M: SlotMemory>(&self, ring: &Ring<M>, inquiry: &Inquiry) -> Vec<(Identity, SlotId)> {
        if self.reset != Reset::No || self.asked_in_vain > ASKED_IN_VAIN {
            return Vec::new();
        }
        let last = |one: &&Wanted| one.fate() == Fate::There { committed: false, last: true };
        let same = |one: &&Wanted| {
            let batch = &ring.slot(one.slot).batch;
            batch.refused.is_none() && !batch.is_to_be_cut()
        };
        inquiry.wanted().iter().filter(last).filter(same).map(|one| (one.identity, one.slot)).collect()
    }

    fn carry_out<M: SlotMemory>(
        &mut self,
        ring: &mut Ring<M>,
        wanted: &Wanted,
        (again, refused): (Option<SlotId>, bool),
        resolved: &mut Vec<Resolved>,
    ) {
        let id = wanted.slot;
        let batch = &mut ring.slot_mut(id).batch;
        match wanted.fate() {
            Fate::There { committed: false, .. } if again == Some(id) => {}
            Fate::There { committed: false, .. } if again.is_some() => batch.passed = true,
            Fate::There { .. } => self.resolve_part(ring, id, Outcome::Delivered, resolved),
            Fate::Partly(records) if batch.narrow(records) => {
                self.resolve_part(ring, id, Outcome::Delivered, resolved);
            }
            Fate::Absent => match batch.refused {
                Some(reason) => self.resolve_part(ring, id, Outcome::Lost(reason), resolved),
                // Sent again under its numbers it cannot be there twice. Refused for them it is asked about once more, not for ever.
                None => (batch.doubt, batch.late) = (false, self.reset == Reset::No && !refused),
            },
            // It is sent again as it is, which a broker that has it recognises.
            Fate::NotSeen if !refused && batch.refused.is_none() => {}
            Fate::Unknown | Fate::Partly(_) if !refused && batch.refused.is_none() => batch.resent_blind = true,
            Fate::NotSeen | Fate::Unknown | Fate::Partly(_) => {
                self.resolve_part(ring, id, Outcome::InDoubt, resolved);
            }
        }
    }

    /// Everything that is left is given up: in doubt if it was sent without an answer, lost if not.
    pub fn abandon<M: SlotMemory>(&mut self, ring: &mut Ring<M>, reason: LostReason, resolved: &mut Vec<Resolved>) {
        self.resolve_where(ring, resolved, Outcome::InDoubt, |slot| {
            slot.batch.may_be_there() || slot.state == State::InFlight
        });
        self.resolve_where(ring, resolved, Outcome::Lost(reason), |_| true);
        (self.in_flight, self.inquiry, self.must_ask) = (0, None, false);
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
            ring.slot_mut(*id).batch.forget_identity();
        }
        (self.next_sequence, self.proven) = (0, false);
    }

    fn delivered<M: SlotMemory>(&mut self, ring: &mut Ring<M>, id: SlotId, resolved: &mut Vec<Resolved>) {
        (self.failures, self.stalled_since, self.retry_at) = (0, None, Mono::default());
        self.asked_in_vain = 0;
        if let Some(identity) = ring.slot(id).batch.identity {
            self.proven |= self.producer == Some((identity.producer_id, identity.epoch));
            // The broker took this one, so that it has all before it: what was in doubt there is not any more, and what was not there
            // when it was asked about has come.
            let there = |other: &SlotId| {
                let batch = &ring.slot(*other).batch;
                batch.may_have_come() && batch.identity.is_some_and(|it| it.same_producer(&identity))
            };
            let before = self.batches.iter().copied().take_while(|other| *other != id);
            for other in before.filter(there).collect::<Vec<_>>() {
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
        let mut before = self.batches.iter().take_while(|other| **other != id);
        let first = before.all(|other| ring.slot(*other).batch.passed);
        let batch = &ring.slot(id).batch;
        if batch.identity.is_none() {
            self.fail(now, patience, rng);
        } else if !first {
            // One before it waits to be sent again, or is asked about; this one simply follows it.
            self.draining = true;
        } else if batch.may_have_come() {
            ring.slot_mut(id).batch.doubt = true;
            (self.must_ask, self.refused) = (true, true);
            self.fail(now, patience, rng);
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
        let batch = &mut ring.slot_mut(id).batch;
        (self.gap, self.draining) = (self.gap || !batch.may_have_come(), true);
        if batch.identity.is_some() && batch.doubt {
            // This attempt was refused; whether an earlier one was taken is asked.
            (batch.refused, self.must_ask) = (Some(reason), true);
            return;
        }
        if batch.identity.is_some() {
            // Its numbers will never be used: those behind it need others.
            self.reset = self.reset.max_of(Reset::Epoch);
        }
        let outcome = if batch.may_be_there() { Outcome::InDoubt } else { Outcome::Lost(reason) };
        self.resolve_part(ring, id, outcome, resolved);
    }

    /// A batch whose bytes cannot be brought into the shape that Kafka asked for.
    pub fn drop_unsendable<M: SlotMemory>(&mut self, ring: &mut Ring<M>, id: SlotId, resolved: &mut Vec<Resolved>) {
        let batch = &ring.slot(id).batch;
        let outcome = if batch.may_be_there() { Outcome::InDoubt } else { Outcome::Lost(LostReason::TooLarge) };
        let entries = batch.entries_left();
        let bytes = ring.slot(id).batch.part_bytes();
        self.batches.retain(|other| *other != id);
        resolved.push(Resolved { slot: id, entries, bytes, outcome, whole: true, first_sent: None });
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
            worn(slot) && !slot.batch.may_be_there() && slot.batch.identity.is_some()
        });
        self.resolve_where(ring, resolved, Outcome::InDoubt, |slot| worn(slot) && slot.batch.may_be_there());
        self.resolve_where(ring, resolved, Outcome::Lost(LostReason::Retries), worn);
        if gap {
            self.reset = self.reset.max_of(Reset::Epoch);
            (self.gap, self.draining) = (true, true);
        }
    }

    fn fail(&mut self, now: Mono, patience: Patience, rng: &mut Rng) {
        self.asked = false;
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
        let whole = batch.is_last_part();
        let outcome = match outcome {
            Outcome::Delivered if batch.resent_blind => Outcome::InDoubt,
            other => other,
        };
        let (entries, bytes) = (batch.part_entries.min(batch.entries_left()), batch.part_bytes());
        resolved.push(Resolved { slot: id, entries, bytes, outcome, whole, first_sent: batch.first_sent });
        if whole {
            self.batches.retain(|other| *other != id);
        } else {
            // After a single entry that was too large the others may go in larger parts again.
            batch.go_on(outcome == Outcome::Lost(LostReason::TooLarge));
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
                resolved.push(Resolved {
                    slot: *id,
                    entries,
                    bytes,
                    outcome,
                    whole: true,
                    first_sent: slot.batch.first_sent,
                });
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
