//! Asking a broker what became of batches whose outcome was not learnt (KAFKA.md §9), for one queue. Pure: it says what to ask next,
//! takes the answers, and ends with a fate for each batch. It sends nothing; `shipper::inquire` does, to whoever leads by then.
//!
//! 1. DescribeProducers: the leader's last sequence of each producer id. A batch up to it is there, one behind it is not.
//! 2. If the leader does not know the producer id (its state expired or was lost), or does not tell (before Kafka 2.8, or not
//!    permitted): the heads of the partition's batches are read, from the offset behind the last acknowledged batch or from the
//!    batch's time on, up to the high watermark. What is found is there. What is not found is not: a leader that does not know the
//!    producer cannot have its batch in the part that is not replicated yet.
//! 3. If neither is possible, nobody knows.
//!
//! Lost answers, moved leaders and errors that pass are asked again, after a pause, for as long as batches are held.

use super::batch::Identity;
use super::batch_heads::{self, BatchHead};
use super::codec::producers::ProducerState;
use super::codec::read::{EARLIEST, FetchedPart, LATEST};
use super::event::SlotId;
use super::ring::{Attempt, sequence_after};
use crate::base::Mono;

/// Milliseconds before a batch's first timestamp at which the search for it begins, when no offset is known: clocks differ where the
/// topic's timestamps are the broker's.
pub const SCAN_MARGIN_MS: i64 = 60_000;
/// Bytes of one Fetch. A batch that is larger comes whole even so.
pub const SCAN_FETCH_BYTES: i32 = 1024 * 1024;
/// Bytes that are read of a partition before the search is given up: then nobody knows.
pub const SCAN_BYTES: u64 = 1024 * 1024 * 1024;
/// Answers in a row that bring the search no further before it is given up: then nobody knows.
pub const SCAN_IN_VAIN: u32 = 10;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The leader has it.
    There {
        /// True if its replicas have it too.
        committed: bool,
        /// True if it is the last that the leader has of this producer: sent again, it is recognised.
        last: bool,
    },
    /// So many of its records are there.
    Partly(u32),
    /// It is not there.
    Absent,
    /// It is not in the replicated part; whether the leader has it, it does not tell.
    NotSeen,
    /// Nobody knows.
    Unknown,
}

/// A batch that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub slot: SlotId,
    /// What it was sent with.
    pub identity: Identity,
    /// Its records.
    pub records: u32,
    /// Its first timestamp, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Where it was sent to.
    pub attempt: Option<Attempt>,
    /// Records of it that were found.
    seen: u32,
    /// None: not known yet.
    fate: Option<Fate>,
}

impl Wanted {
    /// A batch that nothing is known of.
    pub const fn new(
        slot: SlotId,
        identity: Identity,
        records: u32,
        timestamp_ms: i64,
        attempt: Option<Attempt>,
    ) -> Self {
        Self { slot, identity, records, timestamp_ms, attempt, seen: 0, fate: None }
    }

    /// What became of it.
    pub fn fate(&self) -> Fate {
        self.fate.unwrap_or(Fate::Unknown)
    }
}

/// What to ask next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// DescribeProducers.
    Producers,
    /// ListOffsets for this time, or for `read::EARLIEST` or `read::LATEST`.
    Offset(i64),
    /// Fetch from this offset on.
    Fetch(i64),
}

/// What an answer leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// On with the next question.
    GoOn,
    /// The same again after a pause; the leader must be looked up.
    Again,
}

/// One inquiry.
#[derive(Debug)]
pub struct Inquiry {
    wanted: Vec<Wanted>,
    /// None: every fate is known.
    question: Option<Question>,
    begun: bool,
    /// The question that is not answered yet.
    pub asked: Option<u64>,
    /// Not before this.
    pub retry_at: Mono,
    /// Questions in a row that were not answered well.
    pub failures: u32,
    /// True if these batches are not this cluster's: their producer id means nothing here.
    pub foreign: bool,
    states: Vec<ProducerState>,
    /// True once the leader told its producers.
    told: bool,
    /// True if the search begins before everything that is wanted.
    covers: bool,
    /// The search began at a time, not at an offset.
    by_time: bool,
    end: Option<i64>,
    bytes_left: u64,
    in_vain: u32,
}

impl Inquiry {
    /// Asks about these batches, oldest first.
    pub fn new(wanted: Vec<Wanted>) -> Self {
        Self {
            wanted,
            question: Some(Question::Producers),
            begun: false,
            asked: None,
            retry_at: Mono::default(),
            failures: 0,
            foreign: false,
            states: Vec::new(),
            told: false,
            covers: true,
            by_time: false,
            end: None,
            bytes_left: SCAN_BYTES,
            in_vain: 0,
        }
    }

    /// Says which topic and cluster is asked (zero: not told). What was sent to another cannot be in this one.
    pub fn begin(&mut self, topic_id: [u8; 16], cluster: u64) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let elsewhere = |attempt: &Attempt| cluster != 0 && attempt.cluster != 0 && attempt.cluster != cluster;
        self.foreign = self.wanted.iter().any(|one| one.attempt.as_ref().is_some_and(elsewhere));
        for one in &mut self.wanted {
            if one.attempt.as_ref().is_some_and(elsewhere) {
                one.fate = Some(Fate::Absent);
            }
            // An offset of a topic that was created again means nothing. (A request that named the topic may have reached it.)
            if let Some(attempt) = &mut one.attempt
                && topic_id != [0; 16]
                && attempt.topic_id != topic_id
                && attempt.topic_id != [0; 16]
            {
                attempt.scan_from = -1;
            }
        }
        self.end_if_known();
    }

    /// What to ask next; None: every fate is known.
    pub const fn question(&self) -> Option<Question> {
        self.question
    }

    /// The batches and their fates.
    pub fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// The producers that are asked about.
    pub fn producer_ids(&self) -> Vec<i64> {
        self.wanted.iter().map(|one| one.identity.producer_id).collect()
    }

    /// True if the leader told what it knows of this producer, be it nothing.
    pub fn was_told_of(&self, producer_id: i64) -> bool {
        self.told && self.producer_ids().contains(&producer_id)
    }

    /// What the leader knows of this producer.
    pub fn state_of(&self, producer_id: i64) -> Option<ProducerState> {
        self.states.iter().copied().find(|state| state.producer_id == producer_id)
    }

    /// True if the first batch of each producer that is not there may be sent again as it is: its number is the one that the leader
    /// expects, or the leader knows nothing of the producer and takes any. `preceded`: producers with earlier batches still to come.
    pub fn numbers_fit(&self, preceded: &[i64]) -> bool {
        let mut judged = preceded.to_vec();
        self.wanted.iter().filter(|one| !matches!(one.fate(), Fate::There { .. })).all(|one| {
            let id = one.identity.producer_id;
            if judged.contains(&id) {
                return true;
            }
            judged.push(id);
            let Some(state) = self.state_of(id).filter(|_| one.fate() != Fate::Unknown) else { return true };
            let expected = if state.epoch == one.identity.epoch { sequence_after(state.last_sequence, 1) } else { 0 };
            let next = match one.fate() {
                Fate::Partly(records) => sequence_after(one.identity.sequence, records),
                _ => one.identity.sequence,
            };
            state.epoch <= one.identity.epoch && next == expected
        })
    }

    /// The broker does not know the API of the question at hand.
    pub fn not_served(&mut self) {
        match self.question {
            Some(Question::Producers) => self.search(),
            Some(Question::Offset(_) | Question::Fetch(_)) => self.give_up(),
            None => {}
        }
    }

    /// The question was not answered: it is asked again.
    pub fn lost(&mut self) {
        let unanswered = self.asked.take().is_some();
        if unanswered && matches!(self.question, Some(Question::Fetch(_))) {
            // Perhaps the answer itself is what ends the connection: a batch larger than we read.
            self.step_in_vain();
        }
    }

    /// DescribeProducers was answered: the error, and those producers that were asked about.
    pub fn on_producers(&mut self, error: i16, states: Vec<ProducerState>) -> Heard {
        self.asked = None;
        match error {
            0 => {}
            29 | 30 | 31 | 35 => {
                self.search();
                return Heard::GoOn;
            }
            _ => return Heard::Again,
        }
        (self.told, self.states) = (true, states);
        for one in self.wanted.iter_mut().filter(|one| one.fate.is_none()) {
            let state = self.states.iter().find(|state| state.producer_id == one.identity.producer_id);
            one.fate = state.and_then(|state| fate_by_state(state, one));
        }
        self.search();
        Heard::GoOn
    }

    /// ListOffsets was answered.
    pub fn on_offset(&mut self, error: i16, offset: i64) -> Heard {
        self.asked = None;
        let Some(Question::Offset(at)) = self.question else { return Heard::GoOn };
        match (error, at) {
            (0, LATEST) if offset < 0 => return Heard::Again,
            // No record is that new: what follows from it is told by the log's start.
            (0, _) if offset < 0 => self.question = Some(Question::Offset(LATEST)),
            (0, _) => self.question = Some(Question::Fetch(offset)),
            (29 | 30 | 31 | 35, _) => self.give_up(),
            (43, _) if at >= 0 => self.question = Some(Question::Offset(EARLIEST)), // no timestamps in so old a format
            _ => return Heard::Again,
        }
        Heard::GoOn
    }

    /// Fetch was answered.
    pub fn on_fetched(&mut self, part: &FetchedPart<'_>) -> Heard {
        self.asked = None;
        let Some(Question::Fetch(from)) = self.question else { return Heard::GoOn };
        match part.error {
            0 => {}
            1 => {
                // Out of range: the log's start moved on, or its end came back. Where the search begins then may lie behind what
                // is wanted; `log_start` tells.
                self.step_in_vain();
                if self.question.is_some() {
                    self.search_by_time();
                }
                return Heard::GoOn;
            }
            29 | 30 | 31 | 35 => {
                self.give_up();
                return Heard::GoOn;
            }
            _ => return Heard::Again,
        }
        if self.by_time && part.log_start > 0 && from <= part.log_start {
            // What lay before was deleted; it may have been what is wanted.
            self.covers = false;
        }
        let end = *self.end.get_or_insert(part.high_watermark);
        let mut next = from;
        batch_heads::read(part.records, |head| {
            next = next.max(head.last_offset.saturating_add(1));
            self.wanted.iter_mut().for_each(|one| one.meet(&head));
        });
        let all = self.wanted.iter().all(|one| one.fate.is_some() || one.seen >= one.records);
        if all || next >= end {
            self.judge();
            return Heard::GoOn;
        }
        self.bytes_left = self.bytes_left.saturating_sub(part.records.len() as u64);
        if next > from {
            (self.question, self.in_vain) = (Some(Question::Fetch(next)), 0);
        } else {
            self.step_in_vain();
        }
        if self.bytes_left == 0 {
            self.give_up();
        }
        if self.question.is_some() && next == from { Heard::Again } else { Heard::GoOn }
    }

    fn step_in_vain(&mut self) {
        self.in_vain += 1;
        if self.in_vain > SCAN_IN_VAIN {
            self.give_up();
        }
    }

    /// Looks for those that the leader's state says nothing of.
    fn search(&mut self) {
        self.end_if_known();
        if self.question.is_none() {
            return;
        }
        let open = self.wanted.iter().filter(|one| one.fate.is_none());
        match open.map(|one| one.attempt.map_or(-1, |attempt| attempt.scan_from)).min() {
            Some(from @ 0..) => self.question = Some(Question::Fetch(from)),
            _ => self.search_by_time(),
        }
    }

    fn search_by_time(&mut self) {
        let open = self.wanted.iter().filter(|one| one.fate.is_none());
        let first = open.map(|one| one.timestamp_ms).min().unwrap_or(0);
        self.by_time = true;
        self.question = Some(Question::Offset(first.saturating_sub(SCAN_MARGIN_MS).max(0)));
    }

    fn end_if_known(&mut self) {
        if self.wanted.iter().all(|one| one.fate.is_some()) {
            self.question = None;
        }
    }

    fn give_up(&mut self) {
        for one in &mut self.wanted {
            let found =
                if one.seen >= one.records { Fate::There { committed: true, last: false } } else { Fate::Unknown };
            one.fate = one.fate.or(Some(found));
        }
        self.question = None;
    }

    /// The search is at its end.
    fn judge(&mut self) {
        let missing = match (self.covers, self.told) {
            (true, true) => Fate::Absent,
            (true, false) => Fate::NotSeen,
            (false, _) => Fate::Unknown,
        };
        let there = Fate::There { committed: true, last: false };
        for at in (0..self.wanted.len()).rev() {
            let one = self.wanted[at];
            // The broker takes a batch only if it has those before it.
            let of_it = |other: &Wanted| other.identity.same_producer(&one.identity);
            let before_one_found = self.wanted[at + 1..].iter().any(|other| of_it(other) && other.seen > 0);
            let fate = match one.seen {
                seen if seen >= one.records || before_one_found => there,
                0 => missing,
                seen => Fate::Partly(seen),
            };
            self.wanted[at].fate = one.fate.or(Some(fate));
        }
        self.question = None;
    }
}

impl Wanted {
    fn meet(&mut self, head: &BatchHead) {
        let of_it = (head.producer_id, head.epoch) == (self.identity.producer_id, self.identity.epoch);
        if self.fate.is_none() && of_it && head.base_sequence == sequence_after(self.identity.sequence, self.seen) {
            self.seen = self.seen.saturating_add(head.records);
        }
    }
}

/// What the leader's state of its producer says about a batch; None: nothing.
fn fate_by_state(state: &ProducerState, wanted: &Wanted) -> Option<Fate> {
    if state.epoch < wanted.identity.epoch {
        // An epoch begins with its first batch.
        return Some(Fate::Absent);
    }
    if state.epoch > wanted.identity.epoch || state.last_sequence < 0 {
        return None;
    }
    let last = sequence_after(wanted.identity.sequence, wanted.records.saturating_sub(1));
    if distance(last, state.last_sequence) >= 0 {
        return Some(Fate::There { committed: false, last: last == state.last_sequence });
    }
    let reached = distance(wanted.identity.sequence, state.last_sequence);
    Some(if reached >= 0 { Fate::Partly(reached as u32 + 1) } else { Fate::Absent })
}

/// How far `to` lies behind `from`, in sequences that begin again after `i32::MAX`; negative: before it.
pub(super) fn distance(from: i32, to: i32) -> i64 {
    const ROUND: i64 = i32::MAX as i64 + 1;
    let ahead = (i64::from(to) - i64::from(from)).rem_euclid(ROUND);
    if ahead < ROUND / 2 { ahead } else { ahead - ROUND }
}
