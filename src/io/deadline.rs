//! Deadlines of sockets: a table swept by the core's tick. When one passes, the socket is shut down and whoever waits on it
//! sees its operation end; nothing is cancelled in the kernel (PERFORMANCE §2.3, §3).

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;

use super::socket::{is_closed, shut_down, shut_down_reading};

/// Milliseconds between two sweeps: how late a deadline may be noticed.
pub const TICK_MS: u64 = 100;
/// Milliseconds between two looks at clients that wait for an upstream.
const LOOK_MS: u64 = 1_000;
/// A deadline that never passes.
const NEVER: u64 = u64::MAX;

/// What a deadline ends when it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Both directions.
    Socket,
    /// Receiving: something may still be said to the peer.
    Reading,
}

/// Whether a client's socket waits for a request, nothing of which has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It does not.
    No,
    /// For the first one: whoever connected means to send it.
    BeforeTheFirst,
    /// For another one: it may be closed at any time without loss (RFC 9112 §9.5).
    Between,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    fd: RawFd,
    due_ms: u64,
    send_due_ms: u64,
    /// What passing `due_ms` ends.
    ends: Ends,
    fired: bool,
    /// Both directions were ended.
    over: bool,
    rest: Rest,
    /// The socket on whose behalf this one's peer waits, while it does.
    partner: Option<RawFd>,
    gone: bool,
}

impl Entry {
    const fn new(fd: RawFd) -> Self {
        Self {
            fd,
            due_ms: NEVER,
            send_due_ms: NEVER,
            ends: Ends::Socket,
            fired: false,
            over: false,
            rest: Rest::No,
            partner: None,
            gone: false,
        }
    }
}

/// All deadlines of one core.
#[derive(Debug, Default)]
pub struct Deadlines {
    looked_ms: Cell<u64>,
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<usize>>,
    now_ms: Cell<u64>,
}

impl Deadlines {
    /// Registers a socket, without a deadline yet. The guard must go before the descriptor is closed.
    pub fn watch(self: &Rc<Self>, fd: RawFd) -> Deadline {
        let entry = Entry::new(fd);
        let mut entries = self.entries.borrow_mut();
        let index = match self.free.borrow_mut().pop() {
            Some(index) => {
                entries[index] = entry;
                index
            }
            None => {
                entries.push(entry);
                entries.len() - 1
            }
        };
        Deadline { table: Rc::clone(self), index }
    }

    /// Moves time on and shuts down every socket whose deadline has passed.
    pub fn sweep(&self, now_ms: u64) {
        self.now_ms.set(now_ms);
        for entry in self.entries.borrow_mut().iter_mut() {
            if entry.due_ms.min(entry.send_due_ms) <= now_ms {
                entry.fired = true;
                entry.due_ms = NEVER;
                if entry.ends == Ends::Reading && entry.send_due_ms > now_ms {
                    // From now on it looks as if its peer had left.
                    entry.partner = None;
                    shut_down_reading(entry.fd);
                    continue;
                }
                (entry.send_due_ms, entry.over) = (NEVER, true);
                shut_down(entry.fd);
            }
        }
        if now_ms >= self.looked_ms.get() + LOOK_MS {
            self.looked_ms.set(now_ms);
            self.look_for_gone();
        }
    }

    /// A client that left while its upstream thinks: the upstream is let go, so that nobody works for nobody.
    fn look_for_gone(&self) {
        for entry in self.entries.borrow_mut().iter_mut() {
            if let Some(partner) = entry.partner
                && is_closed(entry.fd)
            {
                entry.partner = None;
                entry.gone = true;
                shut_down(partner);
            }
        }
    }

    /// Ends the reading of every socket that rests (a core that drains); of one that waits for its first request only after `first_ms`. A
    /// request that has come already is still served.
    pub fn end_resting(&self, first_ms: u64) {
        for entry in self.entries.borrow_mut().iter_mut() {
            match entry.rest {
                Rest::No => {}
                Rest::BeforeTheFirst => entry.due_ms = entry.due_ms.min(self.now_ms.get() + first_ms),
                Rest::Between => shut_down_reading(entry.fd),
            }
        }
    }

    /// Shuts down every socket: what is under way ends now.
    pub fn shut_down_all(&self) {
        self.entries.borrow().iter().filter(|entry| entry.fd >= 0).for_each(|entry| shut_down(entry.fd));
    }

    /// The time of the last sweep, in milliseconds of the core's clock.
    pub fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }
}

/// One socket's deadline.
#[derive(Debug)]
pub struct Deadline {
    table: Rc<Deadlines>,
    index: usize,
}

impl Deadline {
    /// The socket is shut down `ms` milliseconds from now, up to [`TICK_MS`] later, unless it is set anew.
    pub fn set_ms(&self, ms: u64) {
        let due_ms = self.table.now_ms.get().saturating_add(ms).saturating_add(TICK_MS);
        let entry = &mut self.table.entries.borrow_mut()[self.index];
        (entry.due_ms, entry.ends) = (due_ms, Ends::Socket);
    }

    /// As [`Deadline::set_ms`], but only receiving ends then: the peer can be told why.
    pub fn set_reading_ms(&self, ms: u64) {
        self.set_ms(ms);
        self.table.entries.borrow_mut()[self.index].ends = Ends::Reading;
    }

    /// No deadline for what is awaited from the peer.
    pub fn clear(&self) {
        self.table.entries.borrow_mut()[self.index].due_ms = NEVER;
    }

    /// As [`Deadline::set_ms`], for what the peer must take: the two directions do not move each other's deadlines.
    pub fn set_send_ms(&self, ms: u64) {
        let due_ms = self.table.now_ms.get().saturating_add(ms).saturating_add(TICK_MS);
        self.table.entries.borrow_mut()[self.index].send_due_ms = due_ms;
    }

    /// No deadline for what the peer must take.
    pub fn clear_send(&self) {
        self.table.entries.borrow_mut()[self.index].send_due_ms = NEVER;
    }

    /// True if a deadline is set and has not passed.
    pub fn is_set(&self) -> bool {
        self.table.entries.borrow()[self.index].due_ms != NEVER
    }

    /// While `partner` is awaited: looks now and then whether this socket's peer is still there, and shuts `partner` down if not.
    /// Must be taken back (`None`) before `partner` is closed.
    pub fn watch_for(&self, partner: Option<RawFd>) {
        self.table.entries.borrow_mut()[self.index].partner = partner;
    }

    /// True if the peer left while a partner was awaited.
    pub fn gone(&self) -> bool {
        self.table.entries.borrow()[self.index].gone
    }

    /// Marks what the socket waits for, while nothing is under way on it.
    pub fn rest(&self, rest: Rest) {
        self.table.entries.borrow_mut()[self.index].rest = rest;
    }

    /// True once a deadline has passed: what it was set for has ended.
    pub fn fired(&self) -> bool {
        self.table.entries.borrow()[self.index].fired
    }

    /// True once a deadline has passed that ended both directions.
    pub fn over(&self) -> bool {
        self.table.entries.borrow()[self.index].over
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.table.entries.borrow_mut()[self.index] = Entry::new(-1);
        self.table.free.borrow_mut().push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_passed_deadline_shuts_the_socket_down_and_says_so() {
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        let table = Rc::new(Deadlines::default());
        table.sweep(1_000);
        let deadline = table.watch(ours.as_raw_fd());
        deadline.set_ms(50);
        table.sweep(1_100);
        assert!(!deadline.fired(), "not before its time");
        table.sweep(1_150);
        assert!(deadline.fired());
        assert_eq!(ours.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_send_deadline_is_not_moved_by_the_other_direction() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let table = Rc::new(Deadlines::default());
        let deadline = table.watch(ours.as_raw_fd());
        deadline.set_send_ms(50);
        deadline.set_ms(5_000);
        deadline.clear();
        table.sweep(1_000);
        assert!(deadline.fired());
    }

    #[test]
    fn a_reading_deadline_leaves_the_other_direction_and_its_deadline() {
        use std::io::Write;
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let (partner, mut behind) = UnixStream::pair().unwrap();
        let table = Rc::new(Deadlines::default());
        let deadline = table.watch(ours.as_raw_fd());
        deadline.watch_for(Some(partner.as_raw_fd()));
        deadline.set_send_ms(5_000);
        deadline.set_reading_ms(50);
        // This sweep also looks for peers that have left.
        table.sweep(LOOK_MS);
        assert!(deadline.fired() && !deadline.over() && !deadline.gone());
        assert_eq!(ours.read(&mut [0; 1]).unwrap(), 0);
        ours.write_all(b"!").unwrap();
        theirs.read_exact(&mut [0; 1]).unwrap();
        behind.set_nonblocking(true).unwrap();
        assert!(behind.read(&mut [0; 1]).is_err(), "the partner is not let go for it");
        table.sweep(6_000);
        assert!(deadline.over() && ours.write_all(b"!").is_err());
    }

    #[test]
    fn a_freed_place_is_used_again_and_starts_clean() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let table = Rc::new(Deadlines::default());
        let first = table.watch(ours.as_raw_fd());
        first.set_ms(0);
        table.sweep(TICK_MS);
        assert!(first.fired());
        drop(first);
        let second = table.watch(ours.as_raw_fd());
        assert!(!second.fired());
        assert_eq!(table.entries.borrow().len(), 1);
    }
}
