//! What clients sent, and when: for tests that must see that nothing was sent for a while, or that the same bytes were sent again. Off
//! unless `Options::journal` makes room.

use crate::Api;
use crate::batch::Head;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Instant;

/// One batch of a Produce request, as it came.
#[derive(Clone, Debug)]
pub struct SentBatch {
    /// Its topic; empty if the request names an id that is not known.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// What its head says; none if the batch is not a good one.
    pub head: Option<Head>,
    /// Its bytes.
    pub bytes: Bytes,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Counts up over all nodes.
    pub number: u64,
    /// The node that was asked.
    pub node: i32,
    /// The connection, a number of this broker's own.
    pub connection: u64,
    /// What was asked.
    pub api: Api,
    /// In which version.
    pub version: i16,
    /// When it was read whole.
    pub at: Instant,
    /// When the first byte of its answer was written; none if it was not (yet).
    pub answered: Option<Instant>,
    /// Produce requests that lay whole behind it on its connection when its answer was written.
    pub behind: usize,
    /// A Produce request's batches.
    pub batches: Vec<SentBatch>,
}

/// The newest requests.
#[derive(Debug, Default)]
pub struct Journal {
    seen: VecDeque<Seen>,
    next: u64,
}

impl Journal {
    /// Notes a request, and forgets the oldest if there are more than `room`. Its number.
    pub fn note(&mut self, room: usize, seen: Seen) -> u64 {
        let number = self.next;
        self.next += 1;
        self.seen.push_back(Seen { number, ..seen });
        while self.seen.len() > room {
            self.seen.pop_front();
        }
        number
    }

    /// Notes that a request is being answered, with so many Produce requests behind it.
    pub fn answered(&mut self, number: u64, behind: usize) {
        let found = self.seen.binary_search_by_key(&number, |seen| seen.number);
        if let Some(seen) = found.ok().and_then(|at| self.seen.get_mut(at)) {
            (seen.answered, seen.behind) = (Some(Instant::now()), behind);
        }
    }

    /// All that is remembered, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.iter().cloned().collect()
    }
}
