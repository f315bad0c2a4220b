//! A queue, on values: what answers, lost connections and inquiries do to its batches.

use super::batch::{Identity, OpenBatch, RECORDS_START};
use super::codec::producers::ProducerState;
use super::codec::read::FetchedPart;
use super::compress::Compressor;
use super::event::{ConnId, SlotId};
use super::inquiry::Question;
use super::producer::*;
use super::retry::{Backoff, Rng};
use super::ring::{Attempt, Recovered, Ring, State, sequence_after};
use super::stats::LostReason;
use crate::base::Mono;

const PATIENCE: Patience = Patience { backoff: Backoff { first_ms: 10, max_ms: 10 }, max_retry: None };
const ATTEMPT: Attempt = Attempt { partition: 0, topic_id: [1; 16], scan_from: 40, cluster: 9 };

#[test]
fn sequences_begin_again_after_the_largest() {
    assert_eq!(sequence_after(i32::MAX - 1, 1), i32::MAX);
    assert_eq!(sequence_after(i32::MAX, 1), 0);
    assert_eq!(sequence_after(i32::MAX - 1, 5), 3);
}

/// A queue, its ring, and what it said.
struct Bench {
    ring: Ring<Vec<u8>>,
    queue: Queue,
    ids: Vec<SlotId>,
    resolved: Vec<Resolved>,
    patience: Patience,
    now: Mono,
}

impl Bench {
    /// Batches of one record each, in the queue.
    fn new(count: usize) -> Self {
        let ring = Ring::new(vec![vec![0u8; 4_096]; count + 1]);
        let mut queue = Queue::default();
        (queue.producer, queue.proven) = (Some((7, 0)), true);
        let (ids, resolved, now) = (Vec::new(), Vec::new(), Mono::default());
        let mut bench = Self { ring, queue, ids, resolved, patience: PATIENCE, now };
        for _ in 0..count {
            bench.add();
        }
        bench
    }

    /// One more.
    fn add(&mut self) -> SlotId {
        let id = self.ring.take(0).expect("free");
        let slot = self.ring.slot_mut(id);
        let mut open = OpenBatch::new(slot.memory.len(), 2);
        open.push_record(&mut slot.memory, &[1], 0, &mut |out| out.push(b"x")).expect("fits");
        slot.batch.seal(open.sealed());
        slot.state = State::Queued;
        self.queue.batches.push_back(id);
        self.ids.push(id);
        id
    }

    /// The same, all sent.
    fn sent(count: usize) -> Self {
        let mut bench = Self::new(count);
        assert_eq!(bench.send(), bench.ids);
        bench
    }

    /// The same, from before a restart: sent with these sequences.
    fn resumed(sequences: &[i32]) -> Self {
        let mut bench = Self::new(sequences.len());
        for (id, sequence) in bench.ids.iter().zip(sequences) {
            let batch = &mut bench.ring.slot_mut(*id).batch;
            let identity = Some(Identity { producer_id: 7, epoch: 0, sequence: *sequence });
            let sealed = batch.whole;
            batch.recover(&Recovered { sealed, skip_entries: 0, part_entries: 0, identity, attempt: Some(ATTEMPT) });
        }
        let batches = std::mem::take(&mut bench.queue.batches);
        bench.queue = Queue::default();
        bench.queue.batches = batches;
        let next = sequences.last().map_or(0, |last| sequence_after(*last, 1));
        bench.queue.resume((7, 0), next, 40);
        bench
    }

    /// Sends what may be sent, a second later.
    fn send(&mut self) -> Vec<SlotId> {
        self.now = self.now.plus_ms(1_000);
        let mut sent = Vec::new();
        while let Next::Send(id) = self.queue.next(&self.ring, 5, true, self.now) {
            if self.queue.producer.is_none() {
                self.queue.producer = Some((8, 0));
            }
            self.queue.prepare(&mut self.ring, id, true, &mut Compressor::default()).expect("whole");
            self.queue.sent(&mut self.ring, id, ConnId(1));
            let slot = self.ring.slot_mut(id);
            (slot.pins, slot.batch.attempt) = (0, Some(ATTEMPT));
            sent.push(id);
        }
        sent
    }

    fn answer(&mut self, at: usize, error: i16) {
        let mut rng = Rng::new(1);
        let offset = if error == 0 { 50 + at as i64 } else { -1 };
        let time = (self.now, self.patience, &mut rng);
        self.queue.answered(&mut self.ring, self.ids[at], (error, offset), time, &mut self.resolved);
    }

    fn lose_connection(&mut self) {
        let mut rng = Rng::new(1);
        self.queue.connection_lost(&mut self.ring, (self.now, self.patience, &mut rng), &mut self.resolved);
    }

    /// All sent, all answers lost, sent again, and the first `refused` of them refused with `error`.
    fn lost_and_refused(count: usize, error: i16) -> Self {
        let mut bench = Self::sent(count);
        bench.lose_connection();
        assert_eq!(bench.send(), bench.ids);
        for at in 0..count {
            bench.answer(at, error);
        }
        bench
    }

    /// Answers DescribeProducers: epoch and last sequence of producer 7, if it is known.
    fn tell(&mut self, state: Option<(i16, i32)>) {
        let Some(inquiry) = &mut self.queue.inquiry else { panic!("nothing is asked") };
        assert_eq!(inquiry.question(), Some(Question::Producers));
        let state = state.map(|(epoch, last_sequence)| ProducerState { producer_id: 7, epoch, last_sequence });
        inquiry.on_producers(0, state.into_iter().collect());
        if inquiry.question().is_none() {
            self.queue.learn(&mut self.ring, &mut self.resolved);
        }
    }

    /// Nobody may be asked.
    fn deny(&mut self) {
        let Some(inquiry) = &mut self.queue.inquiry else { panic!("nothing is asked") };
        inquiry.on_producers(29, Vec::new());
        inquiry.not_served();
        assert_eq!(inquiry.question(), None);
        self.queue.learn(&mut self.ring, &mut self.resolved);
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.resolved.iter().map(|one| one.outcome).collect()
    }

    fn numbers(&self) -> Vec<Option<(i16, i32)>> {
        let number = |id: &SlotId| self.ring.slot(*id).batch.identity.map(|it| (it.epoch, it.sequence));
        self.ids.iter().map(number).collect()
    }
}

#[test]
fn a_batch_that_was_recognised_takes_those_before_it_along() {
    let mut bench = Bench::sent(2);
    bench.lose_connection();
    assert_eq!(bench.send().len(), 2);
    bench.answer(0, 45);
    assert!(bench.queue.inquiry.is_none(), "the second is not answered yet");
    bench.answer(1, 46);
    assert_eq!(bench.outcomes(), [Outcome::Delivered; 2]);
    assert!(bench.queue.inquiry.is_none() && bench.queue.producer == Some((7, 0)));
}

#[test]
fn a_batch_that_was_never_appended_gets_a_new_number() {
    let mut bench = Bench::sent(2);
    bench.answer(0, 45);
    bench.lose_connection();
    assert_eq!(bench.outcomes(), [], "the second cannot be there without the first");
    bench.send();
    assert_eq!(bench.numbers(), [Some((1, 0)), None], "the first of an epoch goes alone");
}

#[test]
fn what_the_leader_names_as_there_is_delivered_once_the_last_of_it_is_acknowledged() {
    let mut bench = Bench::lost_and_refused(3, 45);
    bench.tell(Some((0, 1)));
    assert_eq!(bench.outcomes(), [], "the replicas may not have it yet");
    assert_eq!(bench.send(), bench.ids[1..], "the first two are there, the second is to be recognised");
    assert_eq!(bench.numbers(), [Some((0, 0)), Some((0, 1)), Some((0, 2))]);
    bench.answer(1, 0);
    assert_eq!(bench.outcomes(), [Outcome::Delivered; 2]);
    bench.answer(2, 0);
    assert_eq!(bench.outcomes(), [Outcome::Delivered; 3]);
    assert_eq!(bench.queue.scan_from(), 53);
}

#[test]
fn a_leader_that_lost_what_was_not_replicated_is_asked_again() {
    let mut bench = Bench::lost_and_refused(2, 45);
    bench.tell(Some((0, 1)));
    assert_eq!(bench.send(), bench.ids[1..]);
    // A new leader that has none of them.
    bench.answer(1, 45);
    assert_eq!(bench.outcomes(), []);
    bench.tell(Some((0, -1)));
    let Some(inquiry) = &mut bench.queue.inquiry else { panic!("a leader without a sequence says nothing") };
    assert_eq!(inquiry.question(), Some(Question::Fetch(40)));
}

#[test]
fn what_is_not_there_is_sent_again_as_it_was_if_the_leader_expects_it() {
    let mut bench = Bench::lost_and_refused(2, 45);
    bench.tell(Some((-1, 5)));
    assert_eq!(bench.numbers(), [Some((0, 0)), Some((0, 1))], "an older epoch: this one begins with 0");
    assert_eq!(bench.send(), [bench.ids[0]], "it has not begun");
    // Refused again, without doubt now: other numbers.
    bench.answer(0, 45);
    assert_eq!((bench.outcomes(), bench.queue.producer), (vec![], Some((7, 1))));
    bench.send();
    assert_eq!(bench.numbers(), [Some((1, 0)), None]);
}

#[test]
fn if_the_leader_expects_another_number_a_new_epoch_begins_now_that_it_is_known() {
    let mut bench = Bench::resumed(&[5, 6]);
    bench.queue.settle(&mut bench.ring, &mut bench.resolved);
    bench.tell(Some((0, 2)));
    assert_eq!((bench.outcomes(), bench.queue.producer), (vec![], Some((7, 1))));
    assert_eq!(bench.send().len(), 1);
    assert_eq!(bench.numbers(), [Some((1, 0)), None]);
}

#[test]
fn nothing_is_sent_before_the_inquiry_about_a_restart_has_ended() {
    let mut bench = Bench::resumed(&[5, 6]);
    bench.queue.settle(&mut bench.ring, &mut bench.resolved);
    assert_eq!(bench.queue.next(&bench.ring, 5, true, bench.now), Next::Ask);
    bench.tell(Some((0, 5)));
    assert_eq!(bench.send(), bench.ids, "the first is to be recognised, the second follows");
    assert_eq!(bench.numbers(), [Some((0, 5)), Some((0, 6))]);
    bench.answer(0, 0);
    bench.answer(1, 0);
    assert_eq!(bench.outcomes(), [Outcome::Delivered; 2]);
}

#[test]
fn where_nobody_may_be_asked_what_was_refused_is_in_doubt_and_the_rest_begins_a_new_epoch() {
    let mut bench = Bench::lost_and_refused(2, 45);
    bench.deny();
    assert_eq!(bench.outcomes(), [Outcome::InDoubt; 2], "never a second number for what may be there");
    assert_eq!(bench.queue.producer, Some((7, 1)));
}

#[test]
fn where_nobody_may_be_asked_after_a_restart_it_is_sent_once_more_and_counts_as_in_doubt() {
    let mut bench = Bench::resumed(&[5, 6]);
    bench.queue.settle(&mut bench.ring, &mut bench.resolved);
    bench.deny();
    assert_eq!(bench.send(), bench.ids[..1]);
    bench.answer(0, 0);
    bench.send();
    bench.answer(1, 45);
    assert_eq!(bench.outcomes(), [Outcome::InDoubt]);
    bench.deny();
    assert_eq!(bench.outcomes(), [Outcome::InDoubt; 2]);
    assert_eq!(bench.numbers()[1], Some((0, 6)), "not renumbered");
}

#[test]
fn what_was_sent_without_an_identity_goes_again_and_counts_as_in_doubt() {
    let mut bench = Bench::new(1);
    let batch = &mut bench.ring.slot_mut(bench.ids[0]).batch;
    let sealed = batch.whole;
    let attempt = Some(ATTEMPT);
    batch.recover(&Recovered { sealed, skip_entries: 0, part_entries: 0, identity: None, attempt });
    assert!(batch.resent_blind);
    bench.queue.resume((7, 0), 0, -1);
    bench.queue.settle(&mut bench.ring, &mut bench.resolved);
    assert!(bench.queue.inquiry.is_none(), "nobody can be asked");
    assert_eq!(bench.send(), bench.ids);
    bench.answer(0, 0);
    assert_eq!(bench.outcomes(), [Outcome::InDoubt]);
}

#[test]
fn a_stale_epoch_asks_about_what_is_in_doubt_before_a_new_producer_id_is_taken() {
    let mut bench = Bench::lost_and_refused(2, 47);
    assert_eq!(bench.queue.producer, Some((7, 0)));
    bench.tell(Some((0, 0)));
    assert_eq!(bench.outcomes(), [Outcome::Delivered]);
    assert_eq!((bench.queue.producer, bench.queue.spent), (None, Some(7)));
    assert_eq!(bench.send(), bench.ids[1..]);
    assert_eq!(bench.numbers()[1], Some((0, 0)));
}

#[test]
fn a_refusal_for_good_is_asked_about_if_an_earlier_attempt_may_be_there() {
    for (last, outcome) in [(0, Outcome::Delivered), (-7, Outcome::Lost(LostReason::Refused))] {
        let mut bench = Bench::sent(2);
        bench.answer(0, 7);
        bench.answer(1, 19);
        bench.send();
        bench.answer(0, 87);
        bench.answer(1, 45);
        assert_eq!(bench.outcomes(), []);
        bench.tell(Some(if last < 0 { (-1, 0) } else { (0, last) }));
        assert_eq!(bench.outcomes(), [outcome]);
        bench.send();
        let number = if last < 0 { (1, 0) } else { (0, 1) };
        assert_eq!(bench.numbers()[1], Some(number), "numbers that are never used are not waited for");
    }
}

#[test]
fn an_operators_limit_of_retries_holds_while_asking() {
    let mut bench = Bench::lost_and_refused(1, 45);
    bench.patience.max_retry = Some(3);
    for _ in 0..3 {
        let mut rng = Rng::new(1);
        bench.queue.ask_again(&mut bench.ring, (bench.now, bench.patience, &mut rng), &mut bench.resolved);
    }
    assert_eq!(bench.outcomes(), [Outcome::InDoubt]);
    assert!(bench.queue.inquiry.is_none() && bench.queue.batches.is_empty());
}

#[test]
fn a_leader_that_contradicts_itself_is_not_asked_for_ever() {
    let mut bench = Bench::lost_and_refused(1, 45);
    for _ in 0..10 {
        if bench.queue.inquiry.is_none() {
            break;
        }
        bench.tell(Some((0, 0)));
        if !bench.send().is_empty() {
            bench.answer(0, 45);
        }
    }
    assert_eq!(bench.outcomes(), [Outcome::Delivered]);
}

#[test]
fn the_queue_knows_the_offset_behind_its_last_acknowledged_batch() {
    let mut bench = Bench::sent(2);
    assert_eq!(bench.queue.scan_from(), -1);
    bench.answer(0, 0);
    assert_eq!(bench.queue.scan_from(), 51);
    bench.answer(1, 46);
    assert_eq!(bench.queue.scan_from(), 51, "a duplicate's offset is not told");
    bench.queue.topic_created_again();
    assert_eq!(bench.queue.scan_from(), -1);
}

#[test]
fn an_array_that_is_cut_gets_numbers_of_its_own_and_so_does_what_stands_behind_it() {
    let mut bench = Bench::new(2);
    let slot = bench.ring.slot_mut(bench.ids[0]);
    let mut open = OpenBatch::new(slot.memory.len(), 3);
    for number in 0..4u8 {
        open.push_element(&mut slot.memory, &[1], 0, 4_000, &mut |out| out.push_byte(b'0' + number)).expect("fits");
    }
    let entries = open.close_array(&mut slot.memory).expect("open");
    slot.batch.record_entries = vec![entries];
    slot.batch.seal(open.sealed());
    let before = slot.memory.clone();
    assert_eq!(bench.send(), bench.ids);
    bench.answer(0, 10);
    bench.answer(1, 45);
    assert_eq!(bench.queue.producer, Some((7, 1)), "there are more records than numbers now");
    for (part, skip) in [0, 2].into_iter().enumerate() {
        assert_eq!(bench.send(), bench.ids[..1], "nothing is sent beside it");
        let batch = &bench.ring.slot(bench.ids[0]).batch;
        assert_eq!((batch.skip_entries, batch.part_entries, batch.part_records), (skip, 2, 1));
        assert_eq!(bench.numbers(), [Some((1, part as i32)), None]);
        bench.answer(0, 0);
    }
    let records = RECORDS_START..bench.ring.slot(bench.ids[0]).batch.whole.end;
    assert_eq!(bench.ring.slot(bench.ids[0]).memory[records.clone()], before[records]);
    assert_eq!(bench.resolved.iter().map(|one| (one.entries, one.whole)).collect::<Vec<_>>(), [(2, false), (2, true)]);
    bench.send();
    assert_eq!(bench.numbers()[1], Some((1, 2)));
}

#[test]
fn another_clusters_batches_are_sent_under_a_producer_id_of_this_one() {
    let mut bench = Bench::resumed(&[5, 6]);
    bench.queue.settle(&mut bench.ring, &mut bench.resolved);
    let Some(inquiry) = &mut bench.queue.inquiry else { panic!("asked") };
    inquiry.begin([1; 16], 8);
    assert_eq!(inquiry.question(), None);
    bench.queue.learn(&mut bench.ring, &mut bench.resolved);
    assert_eq!((bench.queue.producer, bench.queue.spent), (None, Some(7)));
    bench.send();
    assert_eq!((bench.queue.producer, bench.numbers()), (Some((8, 0)), vec![Some((0, 0)), None]));
}

#[test]
fn after_long_a_batch_in_doubt_is_asked_about_before_it_is_sent_again() {
    for (silent_ms, age_ms, asks) in [(0, 0, false), (ASK_AFTER_MS, 0, true), (0, ASK_AFTER_MS, true)] {
        let mut bench = Bench::sent(1);
        bench.lose_connection();
        bench.now = bench.now.plus_ms(silent_ms);
        bench.queue.mind_age(&bench.ring, bench.now, age_ms as i64);
        assert_eq!(bench.queue.must_settle(&bench.ring), asks, "{silent_ms} {age_ms}");
        if asks {
            bench.queue.settle(&mut bench.ring, &mut bench.resolved);
            bench.tell(Some((0, 0)));
            bench.queue.mind_age(&bench.ring, bench.now, age_ms as i64);
            assert!(!bench.queue.must_settle(&bench.ring), "once for each attempt that failed");
            assert_eq!(bench.send(), bench.ids);
            bench.lose_connection();
            bench.queue.mind_age(&bench.ring, bench.now, age_ms as i64);
            assert!(bench.queue.must_settle(&bench.ring));
        }
    }
}

#[test]
fn a_batch_of_an_earlier_process_that_comes_later_is_asked_about_too() {
    let mut bench = Bench::resumed(&[5, 6]);
    let later = bench.queue.batches.pop_back().expect("two");
    bench.queue.settle(&mut bench.ring, &mut bench.resolved);
    bench.tell(Some((0, 6)));
    assert_eq!(bench.outcomes(), [Outcome::Delivered], "the leader has later ones");
    bench.queue.batches.push_back(later);
    assert_eq!(bench.send(), [], "not before it was asked about");
    assert!(bench.queue.must_settle(&bench.ring));
    bench.queue.settle(&mut bench.ring, &mut bench.resolved);
    bench.tell(Some((0, 6)));
    assert_eq!(bench.send(), [later]);
    bench.answer(1, 0);
    assert_eq!(bench.outcomes(), [Outcome::Delivered; 2]);
}

#[test]
fn a_batch_with_another_producers_numbers_goes_alone() {
    let mut bench = Bench::resumed(&[5, 6]);
    (bench.queue.producer, bench.queue.proven) = (Some((8, 0)), true);
    let fresh = bench.add();
    bench.queue.settle(&mut bench.ring, &mut bench.resolved);
    bench.tell(Some((0, 4)));
    assert_eq!(bench.send(), [bench.ids[0]]);
    bench.answer(0, 6);
    assert_eq!(bench.send(), [bench.ids[0]], "nothing overtook it");
    bench.answer(0, 0);
    assert_eq!(bench.send(), [bench.ids[1]]);
    bench.answer(1, 0);
    assert_eq!(bench.send(), [fresh]);
}

#[test]
fn of_two_producers_batches_that_are_there_each_is_recognised_by_itself() {
    let mut bench = Bench::resumed(&[4, 5, 0]);
    let other = Identity { producer_id: 8, epoch: 0, sequence: 0 };
    bench.ring.slot_mut(bench.ids[2]).batch.identity = Some(other);
    bench.queue.settle(&mut bench.ring, &mut bench.resolved);
    let state = |(producer_id, last_sequence)| ProducerState { producer_id, epoch: 0, last_sequence };
    bench.queue.inquiry.as_mut().expect("asked").on_producers(0, [(7, 5), (8, 0)].map(state).to_vec());
    bench.queue.learn(&mut bench.ring, &mut bench.resolved);
    assert_eq!(bench.send(), [bench.ids[1]]);
    bench.answer(1, 0);
    assert_eq!(bench.outcomes(), [Outcome::Delivered; 2]);
    assert_eq!(bench.send(), [bench.ids[2]]);
    bench.answer(2, 0);
    assert_eq!(bench.outcomes(), [Outcome::Delivered; 3]);
}

#[test]
fn a_producer_that_the_leader_forgot_begins_alone_again() {
    for (known, most) in [(None, 1), (Some((0, 4)), 2)] {
        let mut bench = Bench::resumed(&[5, 6]);
        bench.queue.proven = true;
        bench.queue.settle(&mut bench.ring, &mut bench.resolved);
        bench.tell(known);
        if let Some(inquiry) = &mut bench.queue.inquiry {
            let nothing = FetchedPart { partition: 0, error: 0, high_watermark: 40, log_start: 0, records: &[] };
            inquiry.on_fetched(&nothing);
            bench.queue.learn(&mut bench.ring, &mut bench.resolved);
        }
        assert_eq!(bench.send().len(), most, "{known:?}");
    }
}

#[test]
fn numbers_that_the_leader_knows_are_not_given_again_though_what_had_them_is_forgotten() {
    let mut bench = Bench::resumed(&[5]);
    bench.queue.settle(&mut bench.ring, &mut bench.resolved);
    bench.tell(Some((0, 8)));
    assert_eq!(bench.outcomes(), [Outcome::Delivered]);
    bench.add();
    bench.send();
    assert_eq!(bench.numbers()[1], Some((0, 9)));
}

#[test]
fn what_the_leader_did_not_have_may_still_come() {
    for acknowledged in [true, false] {
        let mut bench = Bench::resumed(&[5, 6]);
        bench.queue.settle(&mut bench.ring, &mut bench.resolved);
        bench.tell(Some((0, 4)));
        assert_eq!(bench.send(), bench.ids);
        // Both arrived meanwhile, from a connection that is gone.
        if acknowledged {
            bench.answer(0, 19);
            bench.answer(1, 46);
        } else {
            bench.answer(0, 45);
            bench.answer(1, 45);
            bench.tell(Some((0, 6)));
            assert_eq!(bench.send(), [bench.ids[1]], "known without a new number");
            bench.answer(1, 46);
        }
        assert_eq!(bench.outcomes(), [Outcome::Delivered; 2]);
    }
}

#[test]
fn a_refusal_of_what_may_be_there_says_nothing_of_what_is_behind_it() {
    for (error, unknown_before) in [(19, true), (10, true), (44, true), (19, false)] {
        let mut bench = Bench::sent(1);
        if unknown_before {
            bench.lose_connection();
        } else {
            bench.answer(0, 19);
        }
        let behind = bench.add();
        assert_eq!(bench.send(), bench.ids);
        bench.answer(0, error);
        bench.lose_connection();
        assert_eq!(bench.ring.slot(behind).batch.doubt, unknown_before, "{error}");
    }
}

#[test]
fn a_batch_that_comes_while_others_are_asked_about_keeps_its_numbers_or_is_asked_about_first() {
    for last in [4, 2] {
        let mut bench = Bench::resumed(&[5, 6]);
        let later = bench.queue.batches.pop_back().expect("two");
        bench.queue.settle(&mut bench.ring, &mut bench.resolved);
        bench.queue.batches.push_back(later);
        bench.tell(Some((0, last)));
        assert_eq!(bench.outcomes(), [], "nothing is given up unasked");
        bench.queue.settle(&mut bench.ring, &mut bench.resolved);
        bench.tell(Some((0, last)));
        let fits = last == 4;
        assert_eq!(bench.queue.producer, Some((7, i16::from(!fits))));
        bench.send();
        assert_eq!(bench.numbers()[0], Some(if fits { (0, 5) } else { (1, 0) }));
    }
}
