//! What is to go wrong, and when: tests push faults per kind of request, each one is used up by one request. No sleeps in tests, no chance.

use crate::Api;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What happens to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this Kafka error code (per partition or topic where the answer has those), nothing done.
    Error(i16),
    /// Done as asked, then answered with this error code: what a broker does that timed out after it appended.
    ErrorAfter(i16),
    /// Produce is answered with NOT_LEADER_OR_FOLLOWER and this leader and epoch (KIP-951), whoever leads; nothing done.
    NotLeader {
        /// A node.
        leader: i32,
        /// The epoch of its election.
        epoch: i32,
    },
    /// Answered after this time; requests behind it on the same connection wait too, as with Kafka.
    Delay(Duration),
    /// The connection is closed, nothing done.
    Cut,
    /// Done as asked; so many bytes of the answer are sent (its length first), then the connection is closed.
    CutAnswer(usize),
    /// Done as asked, never answered; the connection stays open, and what comes behind it is answered.
    NoAnswer,
    /// Nothing done, and nothing of this connection is answered any more; it stays open.
    Hang,
    /// So many bytes of the request are read (its length first), then the connection is closed, nothing done.
    CutRequest(usize),
    /// Done as asked; so many bytes of the answer at a time, with a pause behind each piece.
    Trickle(usize, Duration),
    /// Done as asked, and the answer is sent twice.
    Twice,
    /// Done as asked; the answer carries another request's correlation id.
    WrongCorrelation,
    /// Done as asked, and the client is told to be silent for so long (KIP-219). Whether it is can be seen in the journal.
    Throttle(Duration),
    /// This request goes well: a gap in a queue of faults.
    Pass,
}

#[derive(Debug, Default)]
struct Plan {
    faults: BTreeMap<Api, VecDeque<Fault>>,
    seen: BTreeMap<Api, u64>,
}

/// Faults to come, and what was asked so far.
#[derive(Debug, Default)]
pub struct Script {
    plan: Mutex<Plan>,
}

impl Script {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `fault` behind those that requests of kind `api` still have to come.
    pub fn push(&self, api: Api, fault: Fault) {
        self.plan().faults.entry(api).or_default().push_back(fault);
    }

    /// The next `count` requests of kind `api` all meet `fault`.
    pub fn push_times(&self, api: Api, count: usize, fault: &Fault) {
        self.plan().faults.entry(api).or_default().extend(std::iter::repeat_n(fault.clone(), count));
    }

    /// Faults that requests of kind `api` still have to come.
    pub fn left(&self, api: Api) -> usize {
        self.plan().faults.get(&api).map_or(0, VecDeque::len)
    }

    /// Forgets all faults to come.
    pub fn clear(&self) {
        self.plan().faults.clear();
    }

    /// Requests of kind `api` that came so far.
    pub fn seen(&self, api: Api) -> u64 {
        self.plan().seen.get(&api).copied().unwrap_or(0)
    }

    /// Bytes after which a request of kind `api` that is just beginning is to be cut off.
    pub(crate) fn cut_request(&self, api: Api) -> Option<usize> {
        let mut plan = self.plan();
        let queue = plan.faults.get_mut(&api)?;
        let Some(Fault::CutRequest(bytes)) = queue.front().cloned() else { return None };
        queue.pop_front();
        *plan.seen.entry(api).or_default() += 1;
        Some(bytes)
    }

    pub(crate) fn next(&self, api: Api) -> Fault {
        let mut plan = self.plan();
        *plan.seen.entry(api).or_default() += 1;
        plan.faults.get_mut(&api).and_then(VecDeque::pop_front).unwrap_or(Fault::Pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_used_up_in_order_by_their_own_kind() {
        let script = Script::default();
        script.push(Api::Produce, Fault::Pass);
        script.push_times(Api::Produce, 2, &Fault::Error(6));
        assert_eq!(script.next(Api::Fetch), Fault::Pass);
        let got: Vec<_> = (0..4).map(|_| script.next(Api::Produce)).collect();
        assert_eq!(got, [Fault::Pass, Fault::Error(6), Fault::Error(6), Fault::Pass]);
        assert_eq!((script.seen(Api::Produce), script.seen(Api::Fetch), script.left(Api::Produce)), (4, 1, 0));
    }
}
