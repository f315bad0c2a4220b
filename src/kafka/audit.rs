//! What a topic's record headers (`trace`) prove: which entries are missing, which are there twice, and where a partition has them in another order
//! than that in which they were accepted. Pure: reading the topic and printing are `control::audit`'s.
//!
//! Messages may come in any order over the partitions, but in the order of their offsets within one. A number that is missing is looked for in all
//! partitions together, order in each for itself.
//!
//! **What retention took is not a gap.** Of a partition whose first offsets are gone, nobody can say what they held. So a missing number counts as
//! cut off, not as a gap, if it is smaller than the first number that its stream has left in such a partition, or older than the first message left in
//! one.

mod spans;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use self::spans::{Gap, Spans};
use super::trace::{Stamp, Stream};

/// Spans of numbers held, over all streams: about 64 bytes each.
pub const SPANS_MAX: usize = 4_000_000;
/// Places named, of duplicates and of order breaks each, over all streams; the rest is counted.
pub const PLACES_MAX: usize = 10_000;

/// Where a message lies and when it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Partition.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
    /// Milliseconds since 1970; -1 if there is none.
    pub timestamp_ms: i64,
}

/// Numbers in a row of messages that brought them again, or too late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Which.
    pub range: Range<u64>,
    /// The messages' partition.
    pub partition: i32,
    /// The first one's offset.
    pub first_offset: i64,
    /// The last one's.
    pub last_offset: i64,
    /// The largest number of the stream in front of them in this partition.
    pub behind: u64,
}

impl Spot {
    /// Adds it to `list`, as one with the last if it goes on there.
    fn join(self, list: &mut Vec<Self>, room: &mut usize) {
        let last = list.last_mut().filter(|last| {
            last.partition == self.partition
                && last.range.end == self.range.start
                && last.last_offset + 1 == self.first_offset
        });
        match last {
            Some(last) => (last.range.end, last.last_offset) = (self.range.end, self.last_offset),
            None if *room == 0 => {}
            None => {
                *room -= 1;
                list.push(self);
            }
        }
    }
}

/// What was found of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The smallest and the largest number.
    pub first: u64,
    /// See `first`.
    pub last: u64,
    /// Messages, copies included.
    pub messages: u64,
    /// Entries, each counted once.
    pub entries: u64,
    /// Partitions that hold some.
    pub partitions: Vec<i32>,
    /// Where it begins, if what was before may have been cut off.
    pub begins_at: Option<u64>,
    /// Missing, in rising order.
    pub gaps: Vec<Range<u64>>,
    /// Missing, but may have been cut off, in rising order; without the beginning.
    pub cut: Vec<Range<u64>>,
    /// Entries that came again, each time counted.
    pub twice_entries: u64,
    /// Messages that brought some again.
    pub twice_messages: u64,
    /// Where, up to [`PLACES_MAX`].
    pub twice: Vec<Spot>,
    /// Messages out of order.
    pub late_messages: u64,
    /// Where, up to [`PLACES_MAX`].
    pub late: Vec<Spot>,
}

impl Found {
    /// True if each of its entries is there once and in order, as far as there are any.
    pub const fn is_well(&self) -> bool {
        self.gaps.is_empty() && self.twice_messages == 0 && self.late_messages == 0
    }
}

/// Of one stream, in one partition.
#[derive(Clone, Copy, Debug)]
struct There {
    first: u64,
    end: u64,
}

/// One stream, as far as it was read.
#[derive(Debug, Default)]
struct Seen {
    spans: Spans,
    there: BTreeMap<i32, There>,
    messages: u64,
    twice_entries: u64,
    twice_messages: u64,
    twice: Vec<Spot>,
    late_messages: u64,
    late: Vec<Spot>,
    /// Only what is missing below it counts.
    frontier: Option<u64>,
}

/// Messages that say nothing of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bare {
    /// How many.
    pub messages: u64,
    /// The first that was met.
    pub first: Option<Place>,
}

/// Offsets that a partition does not have between two that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The partition.
    pub partition: i32,
    /// Which.
    pub offsets: Range<i64>,
}

/// One partition, as far as it was read.
#[derive(Clone, Copy, Debug)]
struct Log {
    /// True if offsets before the first one read existed once, or were left out.
    cut: bool,
    next: i64,
    /// Time of the first message.
    first_ms: Option<i64>,
}

/// An audit under way.
#[derive(Debug)]
pub struct Audit {
    streams: BTreeMap<Stream, Seen>,
    logs: BTreeMap<i32, Log>,
    bare: Bare,
    holes: Vec<Hole>,
    hole_count: u64,
    spans: usize,
    /// Places that may still be named.
    twice_room: usize,
    late_room: usize,
    settled: bool,
    /// Scratch.
    both: Vec<Range<u64>>,
}

impl Audit {
    /// An audit of these partitions, each read from that offset on.
    pub fn new(begins: impl IntoIterator<Item = (i32, i64)>) -> Self {
        let log = |(partition, begin)| (partition, Log { cut: begin > 0, next: begin, first_ms: None });
        Self {
            streams: BTreeMap::new(),
            logs: begins.into_iter().map(log).collect(),
            bare: Bare::default(),
            holes: Vec::new(),
            hole_count: 0,
            spans: 0,
            twice_room: PLACES_MAX,
            late_room: PLACES_MAX,
            settled: false,
            both: Vec::new(),
        }
    }

    /// Takes a message; `stamp` is what its header says, if it has one that can be read.
    ///
    /// # Errors
    /// There are more than [`SPANS_MAX`] spans: the topic is no log of ours, or too long to be audited at once.
    pub fn take(&mut self, place: Place, stamp: Option<Stamp>) -> Result<(), String> {
        self.follow_log(place);
        let Some(Stamp { stream, first, count }) = stamp else {
            self.bare.messages += 1;
            self.bare.first = self.bare.first.or(Some(place));
            return Ok(());
        };
        let range = first..first + u64::from(count);
        let settled = self.settled;
        let seen =
            self.streams.entry(stream).or_insert_with(|| Seen { frontier: settled.then_some(0), ..Seen::default() });
        self.both.clear();
        self.spans -= seen.spans.len();
        seen.spans.add(range.clone(), place.timestamp_ms, &mut self.both);
        self.spans += seen.spans.len();
        seen.messages += 1;
        let again: u64 = self.both.iter().map(|both| both.end - both.start).sum();
        seen.twice_messages += u64::from(again > 0);
        seen.twice_entries += again;
        let there = seen.there.entry(place.partition).or_insert(There { first, end: first });
        let Place { partition, offset, .. } = place;
        let behind = there.end.saturating_sub(1);
        let spot = |range| Spot { range, partition, first_offset: offset, last_offset: offset, behind };
        for both in self.both.drain(..) {
            spot(both).join(&mut seen.twice, &mut self.twice_room);
        }
        // A mere copy is out of order only because it is a copy.
        if first < there.end && again < u64::from(count) {
            seen.late_messages += 1;
            spot(range.clone()).join(&mut seen.late, &mut self.late_room);
        }
        there.end = there.end.max(range.end);
        if self.spans > SPANS_MAX {
            return Err(format!("the numbers lie in more than {SPANS_MAX} pieces; audit a shorter part of the topic"));
        }
        Ok(())
    }

    fn follow_log(&mut self, place: Place) {
        let log = self.logs.entry(place.partition).or_insert(Log { cut: false, next: place.offset, first_ms: None });
        log.first_ms = log.first_ms.or(Some(place.timestamp_ms));
        if place.offset > log.next {
            self.hole_count += 1;
            if self.holes.len() < PLACES_MAX {
                self.holes.push(Hole { partition: place.partition, offsets: log.next..place.offset });
            }
        }
        log.next = place.offset + 1;
    }

    /// What is taken from now on may fill gaps, but opens none: it was written while the topic was read.
    pub fn settle(&mut self) {
        self.settled = true;
        for seen in self.streams.values_mut() {
            seen.frontier = seen.frontier.or(Some(seen.spans.end()));
        }
    }

    /// True if entries are missing.
    pub fn has_gaps(&self) -> bool {
        let cut_ms = self.cut_ms();
        self.streams.values().any(|seen| self.missing(seen, cut_ms).any(|(_, cut)| !cut))
    }

    /// Messages without a header that can be read.
    pub const fn bare(&self) -> Bare {
        self.bare
    }

    /// Offsets that are not there, up to [`PLACES_MAX`], and how many such ranges there are: unreadable batches, what was deleted while it
    /// was read, transaction marks, compaction.
    pub fn holes(&self) -> (&[Hole], u64) {
        (&self.holes, self.hole_count)
    }

    /// What was found of each stream, in the order of gateway, start, core, lane.
    pub fn found(&self) -> Vec<(Stream, Found)> {
        let cut_ms = self.cut_ms();
        self.streams.iter().map(|(stream, seen)| (*stream, self.found_of(seen, cut_ms))).collect()
    }

    fn found_of(&self, seen: &Seen, cut_ms: Option<i64>) -> Found {
        let mut found = Found {
            first: seen.spans.first().unwrap_or_default(),
            last: seen.spans.end().saturating_sub(1),
            messages: seen.messages,
            entries: seen.spans.count(),
            partitions: seen.there.keys().copied().collect(),
            twice_entries: seen.twice_entries,
            twice_messages: seen.twice_messages,
            twice: seen.twice.clone(),
            late_messages: seen.late_messages,
            late: seen.late.clone(),
            ..Found::default()
        };
        for (gap, cut) in self.missing(seen, cut_ms) {
            match (cut, gap.start) {
                (false, _) => found.gaps.push(gap),
                (true, 0) => found.begins_at = Some(gap.end),
                (true, _) => found.cut.push(gap),
            }
        }
        found
    }

    /// The time of the youngest first message of those partitions whose beginning is gone.
    fn cut_ms(&self) -> Option<i64> {
        self.logs.values().filter(|log| log.cut).filter_map(|log| log.first_ms).max()
    }

    /// What is missing of a stream, and whether it may have been cut off. A gap that retention explains in part is two.
    fn missing(&self, seen: &Seen, cut_ms: Option<i64>) -> impl Iterator<Item = (Range<u64>, bool)> {
        let is_cut = |partition: &i32| self.logs.get(partition).is_some_and(|log| log.cut);
        let left = seen.there.iter().filter(|(partition, _)| is_cut(partition)).map(|(_, there)| there.first);
        let below = left.max().unwrap_or(0);
        let frontier = seen.frontier.unwrap_or(u64::MAX);
        let any_cut = self.logs.values().any(|log| log.cut);
        seen.spans.gaps().filter(move |gap| gap.range.start < frontier).flat_map(move |Gap { range, after_ms }| {
            // What is missing at the beginning is older than all that there is of the stream.
            let old = after_ms.map_or(any_cut, |after| cut_ms.is_some_and(|cut_ms| after <= cut_ms));
            let border = if old { range.end } else { below.clamp(range.start, range.end) };
            [(range.start..border, true), (border..range.end, false)].into_iter().filter(|(part, _)| !part.is_empty())
        })
    }
}
