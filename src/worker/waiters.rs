//! Exchanges that wait for their records (`ack_before_response`): who waits for what, until when, and how it ended. A table swept by
//! the core's tick; it allocates only while more wait than ever before.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::config::snapshot::OnLogFailure;
use crate::io::deadline::TICK_MS;
use crate::io::socket::is_closed;
use crate::kafka::{Outcome, Ticket};

/// Milliseconds between two looks at whether the clients that wait are still there.
const LOOK_MS: u64 = 1_000;
/// The bit of a ticket that says which policy its logger has.
const REJECT_BIT: u64 = 1 << 63;
/// The bits of a ticket above the index that tell an entry from earlier ones at its index.
const GENERATION_BITS: u32 = 31;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Kafka has every record.
    Acknowledged,
    /// It may not have one, or did not say so in time: this is what the operator wants then.
    Failed(OnLogFailure),
    /// The client has left.
    Gone,
}

#[derive(Debug)]
struct Entry {
    generation: u64,
    waiting: bool,
    /// Records without an outcome whose loggers say `pass`, `reject`.
    left: [u32; 2],
    /// The strictest policy of the records that did not arrive.
    failed: Option<OnLogFailure>,
    due_ms: u64,
    /// The client, while it may be looked at.
    client: Option<RawFd>,
    ended: Option<Ended>,
    waker: Option<Waker>,
}

impl Entry {
    fn end(&mut self, ended: Ended) {
        self.ended = Some(ended);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn settle(&mut self, policy: OnLogFailure, arrived: bool) {
        let left = &mut self.left[policy as usize];
        *left = left.saturating_sub(1);
        if !arrived {
            self.failed = self.failed.max(Some(policy));
        }
        let decided = self.left == [0, 0] || self.failed == Some(OnLogFailure::Reject);
        if decided && self.ended.is_none() {
            self.end(self.failed.map_or(Ended::Acknowledged, Ended::Failed));
        }
    }

    /// What has no outcome yet has failed.
    fn give_up(&mut self) {
        let missing =
            if self.left[OnLogFailure::Reject as usize] > 0 { OnLogFailure::Reject } else { OnLogFailure::Pass };
        self.end(Ended::Failed(missing.max(self.failed.unwrap_or(OnLogFailure::Pass))));
    }
}

/// All that wait on one core.
#[derive(Debug, Default)]
pub struct Waiters {
    now_ms: Cell<u64>,
    looked_ms: Cell<u64>,
    /// The core ends: nobody waits any more.
    ending: Cell<bool>,
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<usize>>,
}

impl Waiters {
    /// Somebody is going to wait, for `timeout_ms` at most and up to [`TICK_MS`] longer.
    pub fn enter(self: &Rc<Self>, timeout_ms: u64) -> Waiter {
        let due_ms = self.now_ms.get().saturating_add(timeout_ms).saturating_add(TICK_MS);
        let mut entries = self.entries.borrow_mut();
        let entry = |generation| Entry {
            generation,
            waiting: true,
            left: [0, 0],
            failed: None,
            due_ms,
            client: None,
            ended: None,
            waker: None,
        };
        let index = match self.free.borrow_mut().pop() {
            Some(index) => {
                entries[index] = entry((entries[index].generation + 1) % (1 << GENERATION_BITS));
                index
            }
            None => {
                entries.push(entry(0));
                entries.len() - 1
            }
        };
        Waiter { table: Rc::clone(self), index }
    }

    /// What became of the record with this ticket. Nobody may wait for it any more.
    pub fn settle(&self, ticket: Ticket, outcome: Outcome) {
        let (index, generation) = (ticket.0 as u32 as usize, (ticket.0 & !REJECT_BIT) >> 32);
        let policy = if ticket.0 & REJECT_BIT == 0 { OnLogFailure::Pass } else { OnLogFailure::Reject };
        if let Some(entry) = self.entries.borrow_mut().get_mut(index)
            && entry.waiting
            && entry.generation == generation
        {
            entry.settle(policy, outcome == Outcome::Delivered);
        }
    }

    /// Moves time on: ends the waits whose time is over, and now and then those whose client has left.
    pub fn sweep(&self, now_ms: u64) {
        self.now_ms.set(now_ms);
        let look = now_ms >= self.looked_ms.get() + LOOK_MS;
        if look {
            self.looked_ms.set(now_ms);
        }
        for entry in self.entries.borrow_mut().iter_mut().filter(|entry| entry.waiting && entry.ended.is_none()) {
            if entry.due_ms <= now_ms {
                entry.give_up();
            } else if look && entry.client.is_some_and(is_closed) {
                entry.end(Ended::Gone);
            }
        }
    }

    /// Ends every wait, and those to come, as if its time were over.
    pub fn end_all(&self) {
        self.ending.set(true);
        let mut entries = self.entries.borrow_mut();
        entries.iter_mut().filter(|entry| entry.waiting && entry.ended.is_none()).for_each(Entry::give_up);
    }

    /// How many wait now.
    pub fn count(&self) -> usize {
        self.entries.borrow().len() - self.free.borrow().len()
    }
}

/// One exchange that waits. Its place is free again when it is dropped.
#[derive(Debug)]
pub struct Waiter {
    table: Rc<Waiters>,
    index: usize,
}

impl Waiter {
    /// A ticket for one more record to wait for; the policy is its logger's.
    pub fn ticket(&self, on_failure: OnLogFailure) -> Ticket {
        let entry = &mut self.table.entries.borrow_mut()[self.index];
        entry.left[on_failure as usize] += 1;
        let policy = if on_failure == OnLogFailure::Reject { REJECT_BIT } else { 0 };
        Ticket(policy | entry.generation << 32 | self.index as u64)
    }

    /// A record was not even taken: it will have no outcome.
    pub fn refused(&self, on_failure: OnLogFailure) {
        self.table.entries.borrow_mut()[self.index].settle(on_failure, false);
    }

    /// Waits. `client`: whose leaving ends the wait; it must stay open as long as the waiter lives.
    pub async fn ended(&self, client: Option<RawFd>) -> Ended {
        poll_fn(|cx| {
            let entry = &mut self.table.entries.borrow_mut()[self.index];
            if entry.ended.is_none() && entry.left == [0, 0] {
                entry.end(Ended::Acknowledged);
            }
            if entry.ended.is_none() && self.table.ending.get() {
                entry.give_up();
            }
            if let Some(ended) = entry.ended {
                return Poll::Ready(ended);
            }
            entry.client = client;
            entry.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let entry = &mut self.table.entries.borrow_mut()[self.index];
        (entry.waiting, entry.waker, entry.client) = (false, None, None);
        self.table.free.borrow_mut().push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::pin::pin;
    use std::task::Context;

    use super::OnLogFailure::{Pass, Reject};
    use super::*;

    /// How the wait ended, if it has.
    fn now(waiter: &Waiter, client: Option<RawFd>) -> Option<Ended> {
        match pin!(waiter.ended(client)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        }
    }

    fn table() -> Rc<Waiters> {
        let table = Rc::new(Waiters::default());
        table.sweep(10_000);
        table
    }

    #[test]
    fn a_wait_ends_when_the_last_record_is_there() {
        let table = table();
        let waiter = table.enter(1_000);
        let tickets = [waiter.ticket(Pass), waiter.ticket(Reject)];
        table.settle(tickets[1], Outcome::Delivered);
        assert_eq!(now(&waiter, None), None);
        table.settle(tickets[0], Outcome::Delivered);
        assert_eq!(now(&waiter, None), Some(Ended::Acknowledged));
    }

    #[test]
    fn a_wait_for_nothing_is_none() {
        assert_eq!(now(&table().enter(1_000), None), Some(Ended::Acknowledged));
    }

    #[test]
    fn the_policy_of_the_record_that_failed_counts() {
        let table = table();
        let waiter = table.enter(1_000);
        let tickets = [waiter.ticket(Pass), waiter.ticket(Reject)];
        table.settle(tickets[0], Outcome::InDoubt);
        assert_eq!(now(&waiter, None), None, "the other one may still be wanted");
        table.settle(tickets[1], Outcome::Delivered);
        assert_eq!(now(&waiter, None), Some(Ended::Failed(Pass)));

        let waiter = table.enter(1_000);
        waiter.ticket(Pass);
        waiter.ticket(Reject);
        waiter.refused(Reject);
        assert_eq!(now(&waiter, None), Some(Ended::Failed(Reject)), "nothing can make it good again");
    }

    #[test]
    fn what_is_missing_when_time_is_over_decides() {
        let table = table();
        let (lenient, strict) = (table.enter(1_000), table.enter(2_000));
        let acknowledged = lenient.ticket(Reject);
        for waiter in [&lenient, &strict] {
            waiter.ticket(Pass);
        }
        strict.ticket(Reject);
        table.settle(acknowledged, Outcome::Delivered);
        table.sweep(10_999);
        assert_eq!(now(&lenient, None), None);
        table.sweep(11_000 + TICK_MS);
        assert_eq!((now(&lenient, None), now(&strict, None)), (Some(Ended::Failed(Pass)), None));
        table.sweep(12_000 + TICK_MS);
        assert_eq!(now(&strict, None), Some(Ended::Failed(Reject)));
    }

    #[test]
    fn a_late_outcome_does_not_reach_the_next_who_waits_at_the_same_place() {
        let table = table();
        let first = table.enter(1_000);
        let late = first.ticket(Pass);
        drop(first);
        let second = table.enter(1_000);
        second.ticket(Pass);
        table.settle(late, Outcome::Delivered);
        assert_eq!((now(&second, None), table.count()), (None, 1));
        drop(second);
        assert_eq!(table.count(), 0);
    }

    #[test]
    fn a_client_that_leaves_ends_its_wait() {
        let table = table();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let waiter = table.enter(60_000);
        waiter.ticket(Reject);
        assert_eq!(now(&waiter, Some(ours.as_raw_fd())), None);
        table.sweep(12_000);
        assert_eq!(now(&waiter, Some(ours.as_raw_fd())), None);
        drop(theirs);
        table.sweep(12_500);
        assert_eq!(now(&waiter, Some(ours.as_raw_fd())), None, "looked at once a second");
        table.sweep(13_000);
        assert_eq!(now(&waiter, Some(ours.as_raw_fd())), Some(Ended::Gone));
    }

    #[test]
    fn at_the_end_nobody_waits_any_more() {
        let table = table();
        let before = table.enter(60_000);
        before.ticket(Pass);
        assert_eq!(now(&before, None), None);
        table.end_all();
        let after = table.enter(60_000);
        after.ticket(Reject);
        assert_eq!(now(&before, None), Some(Ended::Failed(Pass)));
        assert_eq!(now(&after, None), Some(Ended::Failed(Reject)));
    }
}
