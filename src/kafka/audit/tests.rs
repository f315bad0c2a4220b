//! The audit against a model that remembers every number, and the cases that people will ask about.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::kafka::retry::Rng;

const STREAM: Stream = Stream { gateway: 1, start: 2, core: 0, lane: 0 };

fn one(range: Range<u64>) -> Vec<Range<u64>> {
    std::iter::once(range).collect()
}

/// A message: where, and which numbers of which stream.
#[derive(Clone, Debug)]
struct Message {
    place: Place,
    stamp: Stamp,
}

fn message(partition: i32, offset: i64, first: u64, count: u32) -> Message {
    let place = Place { partition, offset, timestamp_ms: 1_000 + first as i64 };
    Message { place, stamp: Stamp { stream: STREAM, first, count } }
}

/// Partitions' messages, given offsets and read in a random order over the partitions.
fn shuffled(rng: &mut Rng, parts: &BTreeMap<i32, Vec<Message>>) -> Vec<Message> {
    let mut queues: Vec<_> = parts.values().cloned().collect();
    queues.iter_mut().for_each(|queue| queue.reverse());
    let mut all = Vec::new();
    while !queues.is_empty() {
        let at = rng.below(queues.len() as u64) as usize;
        match queues[at].pop() {
            Some(message) => all.push(message),
            None => drop(queues.swap_remove(at)),
        }
    }
    all
}

fn audited(begins: &[(i32, i64)], messages: &[Message]) -> Audit {
    let mut audit = Audit::new(begins.iter().copied());
    for Message { place, stamp } in messages {
        audit.take(*place, Some(*stamp)).expect("few spans");
    }
    audit
}

fn only(audit: &Audit) -> Found {
    let mut found = audit.found();
    assert_eq!(found.len(), 1);
    found.remove(0).1
}

/// A stream as a gateway writes it: messages in order, each to some partition, times rising.
fn written(rng: &mut Rng, partitions: i32) -> BTreeMap<i32, Vec<Message>> {
    let mut parts: BTreeMap<i32, Vec<Message>> = (0..partitions).map(|at| (at, Vec::new())).collect();
    let mut first = 0;
    for _ in 0..rng.below(60) {
        let (partition, count) = (rng.below(partitions as u64) as i32, 1 + rng.below(5) as u32);
        let part = parts.get_mut(&partition).expect("made");
        part.push(message(partition, part.len() as i64, first, count));
        first += u64::from(count);
    }
    parts
}

fn number_offsets(parts: &mut BTreeMap<i32, Vec<Message>>) {
    for (partition, part) in parts {
        for (offset, message) in part.iter_mut().enumerate() {
            (message.place.partition, message.place.offset) = (*partition, offset as i64);
        }
    }
}

/// Loses, copies, cuts and swaps messages.
fn spoil(rng: &mut Rng, parts: &mut BTreeMap<i32, Vec<Message>>) {
    for _ in 0..rng.below(6) {
        let to = rng.below(parts.len() as u64) as i32;
        let from = rng.below(parts.len() as u64) as i32;
        let len = parts[&from].len() as u64;
        if len == 0 {
            continue;
        }
        let at = rng.below(len) as usize;
        let mut copy = parts[&from][at].clone();
        let part = parts.get_mut(&to).expect("made");
        match rng.below(4) {
            0 => drop(parts.get_mut(&from).expect("made").remove(at)),
            1 => part.insert(rng.below(part.len() as u64 + 1) as usize, copy),
            2 => {
                copy.stamp.first += rng.below(3);
                copy.stamp.count = 1 + rng.below(7) as u32;
                part.push(copy);
            }
            _ => parts.get_mut(&from).expect("made").swap(at, rng.below(len) as usize),
        }
    }
    number_offsets(parts);
}

/// What is missing, what came again and where, what was late, what is there.
type Truth = (Vec<u64>, Vec<(u64, Place)>, Vec<Place>, BTreeSet<u64>);

/// What is true, remembered number by number.
fn model(messages: &[Message]) -> Truth {
    let (mut there, mut twice, mut late) = (BTreeSet::new(), Vec::new(), Vec::new());
    let mut highest: BTreeMap<i32, u64> = BTreeMap::new();
    for Message { place, stamp } in messages {
        let numbers = stamp.first..stamp.first + u64::from(stamp.count);
        let news = numbers.clone().filter(|number| !there.contains(number)).count();
        let high = highest.get(&place.partition).copied();
        if news > 0 && high.is_some_and(|high| stamp.first <= high) {
            late.push(*place);
        }
        highest.insert(place.partition, high.map_or(numbers.end - 1, |high| high.max(numbers.end - 1)));
        for number in numbers {
            if !there.insert(number) {
                twice.push((number, *place));
            }
        }
    }
    let missing = (0..there.last().copied().unwrap_or(0)).filter(|number| !there.contains(number)).collect();
    (missing, twice, late, there)
}

/// The spots hold these numbers, and their borders lie where these do.
fn assert_spots(spots: &[Spot], expected: &[(u64, Place)], seed: u64) {
    let mut rest = expected.iter();
    for spot in spots {
        let numbers: Vec<_> = rest.by_ref().take((spot.range.end - spot.range.start) as usize).collect();
        assert!(numbers.iter().map(|(number, _)| *number).eq(spot.range.clone()), "seed {seed}: {spot:?}");
        let (first, last) = (numbers[0].1, numbers[numbers.len() - 1].1);
        assert_eq!((first.partition, first.offset), (spot.partition, spot.first_offset), "seed {seed}");
        assert_eq!((last.partition, last.offset), (spot.partition, spot.last_offset), "seed {seed}");
    }
    assert_eq!(rest.next(), None, "seed {seed}");
}

#[test]
fn whatever_is_lost_copied_or_moved_the_audit_says_what_the_model_says() {
    let mut spoilt = 0;
    for seed in 0..2_000 {
        let mut rng = Rng::new(seed);
        let partitions = 1 + rng.below(4) as i32;
        let mut parts = written(&mut rng, partitions);
        spoil(&mut rng, &mut parts);
        let messages = shuffled(&mut rng, &parts);
        if messages.is_empty() {
            continue;
        }
        let found = only(&audited(&[(0, 0), (1, 0), (2, 0), (3, 0)], &messages));
        let (missing, twice, late, there) = model(&messages);
        assert_eq!(found.gaps.iter().cloned().flatten().collect::<Vec<_>>(), missing, "seed {seed}");
        assert!(found.gaps.windows(2).all(|two| two[0].end < two[1].start), "seed {seed}: {:?}", found.gaps);
        assert_spots(&found.twice, &twice, seed);
        let offsets = |spot: Spot| (spot.first_offset..=spot.last_offset).map(move |offset| (spot.partition, offset));
        let said: Vec<_> = found.late.iter().cloned().flat_map(offsets).collect();
        assert_eq!(said, late.iter().map(|at| (at.partition, at.offset)).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!((found.twice_entries, found.late_messages), (twice.len() as u64, late.len() as u64));
        assert_eq!((found.entries, found.messages), (there.len() as u64, messages.len() as u64));
        assert_eq!((Some(&found.first), Some(&found.last)), (there.first(), there.last()), "seed {seed}");
        let well = missing.is_empty() && twice.is_empty() && late.is_empty();
        assert_eq!(found.is_well(), well);
        spoilt += u32::from(!well);
    }
    assert!(spoilt > 500, "{spoilt}");
}

#[test]
fn what_retention_took_is_never_a_gap() {
    for seed in 0..2_000 {
        let mut rng = Rng::new(seed);
        let mut parts = written(&mut rng, 3);
        let mut begins = Vec::new();
        for (partition, part) in &mut parts {
            let gone = if rng.below(2) == 0 { 0 } else { rng.below(part.len() as u64) as usize };
            part.drain(..gone.min(part.len().saturating_sub(1)));
            begins.push((*partition, part.first().map_or(0, |first| first.place.offset)));
        }
        let messages = shuffled(&mut rng, &parts);
        let audit = audited(&begins, &messages);
        assert!(!audit.has_gaps() && audit.holes().1 == 0, "seed {seed}");
        for (_, found) in audit.found() {
            assert!(found.is_well(), "seed {seed}: {found:?}");
            let (missing, ..) = model(&messages);
            let begin = found.begins_at.map_or(0..0, |begin| 0..begin);
            assert_eq!(begin.chain(found.cut.into_iter().flatten()).collect::<Vec<_>>(), missing, "seed {seed}");
        }
    }
}

#[test]
fn a_gap_behind_what_retention_took_is_one() {
    // Partition 0 lost offsets 0 to 3; what is left there begins with number 20. Number 30 is missing, and nothing explains it.
    let messages = [message(0, 4, 20, 5), message(1, 0, 12, 8), message(0, 5, 25, 5), message(0, 6, 31, 1)];
    let found = only(&audited(&[(0, 4), (1, 0)], &messages));
    assert_eq!((found.begins_at, found.cut, found.gaps), (Some(12), vec![], one(30..31)));
    let found = only(&audited(&[(0, 0), (1, 0)], &[message(0, 0, 3, 1)]));
    assert_eq!((found.begins_at, found.gaps), (None, one(0..3)), "nothing was cut off here");
    // A gap that the cut explains up to where that partition goes on, and no further.
    let late = |first, offset| {
        let mut message = message(0, offset, first, 5);
        message.place.timestamp_ms = 0;
        message
    };
    let found = only(&audited(&[(0, 4), (1, 0)], &[message(1, 0, 0, 5), late(20, 4)]));
    assert_eq!((found.cut, found.gaps), (one(5..20), vec![]));
}

#[test]
fn a_partition_that_lost_all_of_a_stream_explains_what_is_older_than_the_rest_of_it() {
    let mut other = message(0, 4, 0, 1);
    (other.stamp.stream.lane, other.place.timestamp_ms) = (1, 1_010);
    let messages = [other, message(1, 0, 0, 5), message(1, 1, 20, 5), message(1, 2, 26, 1)];
    let found = audited(&[(0, 4), (1, 0)], &messages).found().remove(0).1;
    assert_eq!((found.cut, found.gaps), (one(5..20), one(25..26)), "the second is younger than 1010");
}

#[test]
fn what_comes_while_the_topic_is_read_fills_gaps_and_opens_none() {
    let mut audit = audited(&[(0, 0), (1, 0)], &[message(0, 0, 0, 5), message(0, 1, 7, 1)]);
    audit.settle();
    assert!(audit.has_gaps());
    let mut take = |message: Message| audit.take(message.place, Some(message.stamp)).expect("few spans");
    take(message(1, 0, 5, 2));
    take(message(1, 1, 20, 2));
    let mut other = message(1, 2, 90, 1);
    other.stamp.stream.lane = 1;
    take(other);
    assert!(!audit.has_gaps());
    assert!(audit.found().iter().all(|(_, found)| found.is_well()), "{:?}", audit.found());
}

#[test]
fn streams_are_told_apart_and_what_has_no_header_is_counted() {
    let mut audit = Audit::new([(0, 0)]);
    for (offset, lane) in [(0, 1), (1, 0), (2, 1)] {
        let stamp = Stamp { stream: Stream { lane, ..STREAM }, first: u64::from(offset > 1), count: 1 };
        audit.take(Place { offset, ..Place::default() }, Some(stamp)).expect("few spans");
    }
    let bare = Place { partition: 0, offset: 5, timestamp_ms: 9 };
    audit.take(bare, None).expect("few spans");
    audit.take(Place { offset: 6, ..bare }, None).expect("few spans");
    assert_eq!(audit.bare(), Bare { messages: 2, first: Some(bare) });
    assert_eq!(audit.holes(), (&[Hole { partition: 0, offsets: 3..5 }][..], 1));
    let found = audit.found();
    assert_eq!(found.iter().map(|(stream, found)| (stream.lane, found.entries)).collect::<Vec<_>>(), [(0, 1), (1, 2)]);
}

#[test]
fn a_batch_that_came_again_is_one_spot_however_many_messages_it_has() {
    let once = (0..50_000).map(|first| message(0, first, first as u64, 1));
    let again = (0..50_000).map(|first| message(0, first + 50_000, first as u64, 1));
    let found = only(&audited(&[(0, 0)], &once.chain(again).collect::<Vec<_>>()));
    let spot = Spot { range: 0..50_000, partition: 0, first_offset: 50_000, last_offset: 99_999, behind: 49_999 };
    assert_eq!((found.twice, found.twice_messages, found.late_messages), (vec![spot], 50_000, 0));
}

#[test]
fn a_stream_in_order_takes_one_span_however_long_it_is() {
    let mut audit = Audit::new([(0, 0)]);
    for first in 0..100_000 {
        let Message { place, stamp } = message(0, first as i64, first, 1);
        audit.take(place, Some(stamp)).expect("few spans");
        assert_eq!(audit.spans, 1);
    }
}
