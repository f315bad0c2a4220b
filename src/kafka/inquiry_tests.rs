//! An inquiry, on values: what each answer leads to.

use super::batch::{HEADROOM_BYTES, Identity, OpenBatch, key_bytes, write_header};
use super::codec::producers::ProducerState;
use super::codec::read::{EARLIEST, FetchedPart, LATEST};
use super::event::SlotId;
use super::inquiry::*;
use super::ring::{Attempt, sequence_after};

const TIME: i64 = 1_700_000_000_000;

fn identity(sequence: i32) -> Identity {
    Identity { producer_id: 7, epoch: 3, sequence }
}

/// Batches of `records` each, from `sequence` on, last known to be behind `scan_from`.
fn inquiry(sequence: i32, records: u32, count: u32, scan_from: i64) -> Inquiry {
    let attempt = Some(Attempt { partition: 0, topic_id: [1; 16], scan_from, cluster: 5 });
    let wanted = (0..count).map(|at| {
        let identity = identity(sequence_after(sequence, at * records));
        Wanted::new(SlotId(at), identity, records, TIME + i64::from(at), attempt)
    });
    let mut inquiry = Inquiry::new(wanted.collect());
    inquiry.begin([1; 16], 5);
    inquiry
}

fn fates(inquiry: &Inquiry) -> Vec<Fate> {
    assert_eq!(inquiry.question(), None);
    inquiry.wanted().iter().map(Wanted::fate).collect()
}

fn state(epoch: i16, last_sequence: i32) -> Vec<ProducerState> {
    vec![ProducerState { producer_id: 7, epoch, last_sequence }]
}

/// A batch as it lies in a log.
fn batch(identity: Identity, records: u32, base_offset: i64) -> Vec<u8> {
    let mut memory = vec![0; 8 * 1024];
    let mut open = OpenBatch::new(memory.len(), 2);
    for _ in 0..records {
        open.push_record(&mut memory, &key_bytes(None), TIME, &mut |out| out.push(b"value")).expect("fits");
    }
    let sealed = open.sealed();
    write_header(&mut memory, &sealed, identity);
    memory[HEADROOM_BYTES..HEADROOM_BYTES + 8].copy_from_slice(&base_offset.to_be_bytes());
    memory[HEADROOM_BYTES..sealed.end].to_vec()
}

fn part(error: i16, marks: (i64, i64), records: &[u8]) -> FetchedPart<'_> {
    FetchedPart { partition: 0, error, high_watermark: marks.0, log_start: marks.1, records }
}

const UNCOMMITTED: Fate = Fate::There { committed: false, last: false };
const FOUND: Fate = Fate::There { committed: true, last: false };

#[test]
fn the_leaders_last_sequence_tells_what_is_there_also_where_sequences_begin_again() {
    for first in [0, 100, i32::MAX - 7, i32::MAX - 3, i32::MAX] {
        for (last, expected) in [
            (-1, [Fate::Absent; 3]),
            (1, [Fate::Partly(2), Fate::Absent, Fate::Absent]),
            (3, [Fate::There { committed: false, last: true }, Fate::Absent, Fate::Absent]),
            (7, [UNCOMMITTED, Fate::There { committed: false, last: true }, Fate::Absent]),
            (11, [UNCOMMITTED, UNCOMMITTED, Fate::There { committed: false, last: true }]),
            (12, [UNCOMMITTED; 3]),
        ] {
            let last = (i64::from(first) + last).rem_euclid(1 << 31) as i32;
            let mut inquiry = inquiry(first, 4, 3, 0);
            assert_eq!(inquiry.on_producers(0, state(3, last)), Heard::GoOn);
            assert_eq!(fates(&inquiry), expected, "first {first}, last {last}");
            assert!(inquiry.numbers_fit(&[]));
        }
    }
}

#[test]
fn another_epoch_and_another_number_do_not_fit() {
    for (epoch, last, sequence, fits) in
        [(3, 9, 10, true), (3, 9, 12, false), (3, 20, 30, false), (2, 99, 0, true), (2, 99, 10, false)]
    {
        let mut inquiry = inquiry(sequence, 4, 2, 0);
        inquiry.on_producers(0, state(epoch, last));
        assert_eq!(fates(&inquiry), [Fate::Absent; 2]);
        assert_eq!(inquiry.numbers_fit(&[]), fits, "{epoch} {last} {sequence}");
    }
    // A newer epoch of the same producer: the older one's batches may lie before it.
    let mut newer = inquiry(10, 4, 1, 50);
    newer.on_producers(0, state(4, 0));
    assert_eq!(newer.question(), Some(Question::Fetch(50)));
    newer.on_fetched(&part(0, (50, 0), &[]));
    assert_eq!((fates(&newer), newer.numbers_fit(&[])), (vec![Fate::Absent], false));
}

#[test]
fn what_the_leader_does_not_know_is_looked_for_behind_the_last_acknowledged_batch() {
    let mut inquiry = inquiry(10, 4, 3, 50);
    inquiry.on_producers(0, Vec::new());
    assert_eq!(inquiry.question(), Some(Question::Fetch(50)));
    let strangers = [batch(identity(2), 4, 50), batch(Identity { epoch: 2, ..identity(10) }, 4, 54)].concat();
    assert_eq!(inquiry.on_fetched(&part(0, (70, 0), &strangers)), Heard::GoOn);
    assert_eq!(inquiry.question(), Some(Question::Fetch(58)));
    // The answer ends in the middle of a batch: it is read on from there.
    let (first, second) = (batch(identity(10), 4, 58), batch(identity(14), 4, 62));
    let cut = [&first[..], &second[..30]].concat();
    inquiry.on_fetched(&part(0, (90, 0), &cut));
    assert_eq!(inquiry.question(), Some(Question::Fetch(62)));
    inquiry.on_fetched(&part(0, (90, 0), &[second, batch(identity(99), 4, 66)].concat()));
    assert_eq!(fates(&inquiry), [FOUND, FOUND, Fate::Absent], "the end as it was first seen is reached");
    assert!(inquiry.numbers_fit(&[]), "it takes any number of a producer that it does not know");
}

#[test]
fn a_later_batch_that_is_there_stands_for_those_before_it() {
    let mut inquiry = inquiry(10, 4, 3, 50);
    inquiry.on_producers(0, Vec::new());
    inquiry.on_fetched(&part(0, (54, 0), &batch(identity(14), 4, 50)));
    assert_eq!(fates(&inquiry), [FOUND, FOUND, Fate::Absent]);
}

#[test]
fn parts_of_one_batch_are_put_together() {
    let mut inquiry = inquiry(10, 6, 1, 50);
    inquiry.on_producers(0, Vec::new());
    let parts = [batch(identity(10), 2, 50), batch(identity(12), 3, 52)].concat();
    inquiry.on_fetched(&part(0, (55, 0), &parts));
    assert_eq!(fates(&inquiry), [Fate::Partly(5)]);
}

#[test]
fn without_an_offset_the_search_begins_at_the_batches_time() {
    let mut inquiry = inquiry(10, 4, 2, -1);
    inquiry.on_producers(0, Vec::new());
    assert_eq!(inquiry.question(), Some(Question::Offset(TIME - SCAN_MARGIN_MS)));
    assert_eq!(inquiry.on_offset(0, 30), Heard::GoOn);
    assert_eq!(inquiry.question(), Some(Question::Fetch(30)));
    inquiry.on_fetched(&part(0, (30, 4), &[]));
    assert_eq!(fates(&inquiry), [Fate::Absent; 2], "older records are still there: nothing was deleted behind them");
}

#[test]
fn where_the_log_was_deleted_up_to_the_batches_time_nobody_knows() {
    for offset in [30, -1] {
        let mut inquiry = inquiry(10, 4, 1, -1);
        inquiry.on_producers(0, Vec::new());
        inquiry.on_offset(0, offset);
        if offset < 0 {
            assert_eq!(inquiry.question(), Some(Question::Offset(LATEST)), "no record is that new");
            inquiry.on_offset(0, 30);
        }
        inquiry.on_fetched(&part(0, (30, 30), &[]));
        assert_eq!(fates(&inquiry), [Fate::Unknown]);
    }
}

#[test]
fn an_offset_that_is_out_of_range_makes_the_search_begin_at_the_batches_time() {
    let mut inquiry = inquiry(10, 4, 1, 50);
    inquiry.on_producers(0, Vec::new());
    assert_eq!(inquiry.on_fetched(&part(1, (-1, -1), &[])), Heard::GoOn);
    assert_eq!(inquiry.question(), Some(Question::Offset(TIME - SCAN_MARGIN_MS)));
    inquiry.on_offset(0, 20);
    inquiry.on_fetched(&part(0, (24, 0), &batch(identity(10), 4, 20)));
    assert_eq!(fates(&inquiry), [FOUND]);
}

#[test]
fn an_old_format_without_times_is_searched_from_its_beginning() {
    let mut inquiry = inquiry(10, 4, 1, -1);
    inquiry.on_producers(0, Vec::new());
    inquiry.on_offset(43, -1);
    assert_eq!(inquiry.question(), Some(Question::Offset(EARLIEST)));
}

#[test]
fn a_broker_that_does_not_tell_its_producers_leaves_what_is_not_found_unseen() {
    for error in [None, Some(29), Some(31), Some(35)] {
        let mut inquiry = inquiry(10, 4, 2, 50);
        match error {
            None => inquiry.not_served(),
            Some(error) => assert_eq!(inquiry.on_producers(error, Vec::new()), Heard::GoOn),
        }
        inquiry.on_fetched(&part(0, (54, 0), &batch(identity(10), 4, 50)));
        assert_eq!(fates(&inquiry), [FOUND, Fate::NotSeen], "it may be in the part that is not replicated");
    }
}

#[test]
fn where_neither_is_permitted_nobody_knows() {
    let mut inquiry = inquiry(10, 4, 1, 50);
    inquiry.on_producers(29, Vec::new());
    inquiry.on_fetched(&part(29, (-1, -1), &[]));
    assert_eq!(fates(&inquiry), [Fate::Unknown]);
}

#[test]
fn errors_that_pass_are_asked_again_of_whoever_leads_then() {
    for error in [3, 5, 6, 74, 75, 7, -1, 78, 100] {
        let mut inquiry = inquiry(10, 4, 1, 50);
        assert_eq!(inquiry.on_producers(error, Vec::new()), Heard::Again);
        assert_eq!(inquiry.question(), Some(Question::Producers));
        inquiry.on_producers(0, Vec::new());
        for _ in 0..100 {
            assert_eq!(inquiry.on_fetched(&part(error, (-1, -1), &[])), Heard::Again);
        }
        assert_eq!(inquiry.question(), Some(Question::Fetch(50)), "for as long as it takes");
    }
}

#[test]
fn a_search_that_gets_no_further_or_too_far_is_given_up() {
    let mut stuck = inquiry(10, 4, 1, 50);
    stuck.on_producers(0, Vec::new());
    for _ in 0..=SCAN_IN_VAIN {
        assert_eq!(stuck.question(), Some(Question::Fetch(50)));
        stuck.on_fetched(&part(0, (90, 0), &[]));
    }
    assert_eq!(fates(&stuck), [Fate::Unknown]);
    let mut cut = inquiry(10, 4, 1, 50);
    cut.on_producers(0, Vec::new());
    for _ in 0..=SCAN_IN_VAIN {
        // A partition without a leader says nothing about what can be read there.
        cut.asked = Some(1);
        cut.on_fetched(&part(6, (-1, -1), &[]));
        cut.lost();
    }
    assert_eq!(cut.question(), Some(Question::Fetch(50)));
    for _ in 0..=SCAN_IN_VAIN {
        cut.asked = Some(1);
        cut.lost();
    }
    assert_eq!(fates(&cut), [Fate::Unknown], "its answer may be what we cannot read");
    let mut long = inquiry(10, 4, 1, 0);
    long.on_producers(0, Vec::new());
    // One batch of a stranger, as large as the whole answer.
    let mut answer = vec![0; 64 << 20];
    let stranger = batch(Identity::NONE, 100, 0);
    answer[..stranger.len()].copy_from_slice(&stranger);
    answer[8..12].copy_from_slice(&((64 << 20) - 12i32).to_be_bytes());
    let mut asked = 0u64;
    while let Some(Question::Fetch(from)) = long.question() {
        answer[..8].copy_from_slice(&from.to_be_bytes());
        long.on_fetched(&part(0, (i64::MAX, 0), &answer));
        asked += 64 << 20;
    }
    assert_eq!((fates(&long), asked), (vec![Fate::Unknown], SCAN_BYTES));
}

#[test]
fn another_clusters_batches_are_not_here_and_a_topic_created_again_has_other_offsets() {
    let mut elsewhere = inquiry(10, 4, 2, 50);
    elsewhere = Inquiry::new(elsewhere.wanted().to_vec());
    elsewhere.begin([1; 16], 6);
    assert_eq!((fates(&elsewhere), elsewhere.foreign), (vec![Fate::Absent; 2], true));
    let mut again = Inquiry::new(inquiry(10, 4, 1, 50).wanted().to_vec());
    again.begin([2; 16], 5);
    again.on_producers(0, Vec::new());
    assert_eq!(again.question(), Some(Question::Offset(TIME - SCAN_MARGIN_MS)));
    let mut untold = Inquiry::new(inquiry(10, 4, 1, 50).wanted().to_vec());
    untold.begin([0; 16], 0);
    untold.on_producers(0, Vec::new());
    assert_eq!(untold.question(), Some(Question::Fetch(50)));
}
