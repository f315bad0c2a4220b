//! A set of numbers as the spans that it is made of: what has come of a stream. Its memory is one span for every gap, however many numbers there
//! are. `std` has no interval set, and the crates that offer one do not say what a new span had in common with those that were there.

use std::collections::BTreeMap;
use std::ops::Range;

/// A span's end, and what is kept of the message that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail {
    end: u64,
    timestamp_ms: i64,
}

/// Numbers, as spans that neither overlap nor touch.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    by_first: BTreeMap<u64, Tail>,
}

/// Numbers that are not there, though one behind them is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which.
    pub range: Range<u64>,
    /// Time of the message in front of it; none if it is the beginning that is missing.
    pub after_ms: Option<i64>,
}

impl Spans {
    /// Adds `range`, which is not empty; pushes to `twice` what of it was there, in rising order.
    pub fn add(&mut self, range: Range<u64>, timestamp_ms: i64, twice: &mut Vec<Range<u64>>) {
        let known = twice.len();
        let (mut first, mut tail) = (range.start, Tail { end: range.end, timestamp_ms });
        // From the back: every span that begins at or before the new one's end, as long as they touch it.
        while let Some((at, found)) = self.by_first.range(..=range.end).next_back().map(|(at, tail)| (*at, *tail)) {
            if found.end < range.start {
                break;
            }
            let both = at.max(range.start)..found.end.min(range.end);
            if !both.is_empty() {
                twice.push(both);
            }
            self.by_first.remove(&at);
            first = first.min(at);
            if found.end >= tail.end {
                tail = found;
            }
        }
        twice[known..].reverse();
        self.by_first.insert(first, tail);
    }

    /// How many spans.
    pub fn len(&self) -> usize {
        self.by_first.len()
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u64> {
        self.by_first.keys().next().copied()
    }

    /// One past the largest number; 0 without one.
    pub fn end(&self) -> u64 {
        self.by_first.values().next_back().map_or(0, |tail| tail.end)
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.by_first.iter().map(|(first, tail)| tail.end - first).sum()
    }

    /// What is missing between 0 and the largest number, in rising order.
    pub fn gaps(&self) -> impl Iterator<Item = Gap> {
        let mut before = (0, None);
        self.by_first.iter().filter_map(move |(first, tail)| {
            let gap = Gap { range: before.0..*first, after_ms: before.1 };
            before = (tail.end, Some(tail.timestamp_ms));
            (!gap.range.is_empty()).then_some(gap)
        })
    }
}
