//! How many connections each core has, and sockets that change the core: the kernel spreads connections by a hash, so that a core
//! may get twice what another gets. A core that has just accepted one and is well ahead of the least loaded hands it over, before
//! its first byte is read. What is even costs one relaxed load per core and accept.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::addresses::{Addresses, Seat};
use crate::base::limits;

/// Connections that a core may be ahead of the least loaded before it hands over, whatever the load.
const MARGIN: usize = 2;
/// And one more for so many that the least loaded has: at a thousand connections nobody hands over for the sake of three.
const MARGIN_SHARE: usize = 8;

/// An accepted socket on its way to another core.
#[derive(Debug)]
pub struct Handed {
    /// The socket.
    pub fd: OwnedFd,
    /// The TCP peer.
    pub peer: SocketAddr,
    /// Which listener accepted it; every core has the same ones in the same order.
    pub listener: usize,
    /// Its place among those of its address, if they are counted.
    pub seat: Option<Seat>,
}

/// One core's place, on a cache line of its own: its owner writes it at every connection.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place {
    open: AtomicUsize,
    has_handed: AtomicBool,
    handed: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    closed: bool,
    waiting: Vec<Handed>,
}

/// An address has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// All cores' places.
#[derive(Debug)]
pub struct Spread {
    places: Box<[Place]>,
    addresses: Option<Arc<Addresses>>,
}

impl Spread {
    /// For so many cores. `per_address_max`: the most connections of one address, on all of them.
    pub fn new(cores: usize, per_address_max: Option<NonZeroU32>) -> Self {
        let addresses = per_address_max.map(Addresses::new);
        Self { places: (0..cores).map(|_| Place::default()).collect(), addresses }
    }

    /// A place for a connection from `address`; with nothing in it if addresses are not counted.
    ///
    /// # Errors
    /// The address has too many.
    pub fn seat(&self, address: IpAddr) -> Result<Option<Seat>, TooMany> {
        let Some(addresses) = &self.addresses else { return Ok(None) };
        addresses.seat(address).map(Some).ok_or(TooMany)
    }

    /// A connection more on `core`.
    pub fn opened(&self, core: usize) {
        self.places[core].open.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection less on `core`.
    pub fn closed(&self, core: usize) {
        self.places[core].open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections of `core`, those on their way to it included.
    pub fn open(&self, core: usize) -> usize {
        self.places[core].open.load(Ordering::Relaxed)
    }

    /// The core that should have a connection that `core` has just accepted, if it is another.
    pub fn better_than(&self, core: usize) -> Option<usize> {
        let own = self.open(core);
        if own <= MARGIN {
            return None;
        }
        let (place, least) = self
            .places
            .iter()
            .map(|place| place.open.load(Ordering::Relaxed))
            .enumerate()
            .min_by_key(|(_, open)| *open)?;
        (own > least + MARGIN + least / MARGIN_SHARE).then_some(place)
    }

    /// Leaves a socket for `core` and counts it there; the caller rings. Given back if the core has too many waiting, or takes no
    /// more.
    ///
    /// # Errors
    /// The socket itself.
    pub fn hand(&self, core: usize, handed: Handed) -> Result<(), Handed> {
        let place = &self.places[core];
        let mut queue = place.handed.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.closed || queue.waiting.len() >= limits::HANDED_WAITING {
            return Err(handed);
        }
        queue.waiting.push(handed);
        place.open.fetch_add(1, Ordering::Relaxed);
        place.has_handed.store(true, Ordering::Release);
        Ok(())
    }

    /// What was left for `core`; already counted there.
    pub fn take(&self, core: usize) -> Vec<Handed> {
        let place = &self.places[core];
        if !place.has_handed.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut queue = place.handed.lock().unwrap_or_else(PoisonError::into_inner);
        place.has_handed.store(false, Ordering::Relaxed);
        std::mem::take(&mut queue.waiting)
    }

    /// As [`Spread::take`], and nothing more can be left for `core` from here on.
    pub fn take_last(&self, core: usize) -> Vec<Handed> {
        let mut queue = self.places[core].handed.lock().unwrap_or_else(PoisonError::into_inner);
        queue.closed = true;
        std::mem::take(&mut queue.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed() -> Handed {
        let (fd, _) = std::os::unix::net::UnixStream::pair().unwrap();
        Handed { fd: fd.into(), peer: SocketAddr::from(([127, 0, 0, 1], 1)), listener: 0, seat: None }
    }

    #[test]
    fn whichever_core_accepts_nobody_gets_far_ahead() {
        // The worst hash: one core accepts them all.
        let spread = Spread::new(4, None);
        for _ in 0..64 {
            match spread.better_than(0) {
                Some(core) => spread.hand(core, handed()).unwrap(),
                None => spread.opened(0),
            }
        }
        for core in 0..4 {
            assert!((12..=20).contains(&spread.open(core)), "core {core}: {}", spread.open(core));
        }
    }

    #[test]
    fn a_load_that_is_nearly_even_moves_nothing() {
        let spread = Spread::new(2, None);
        for _ in 0..1000 {
            spread.opened(0);
            spread.opened(1);
        }
        for _ in 0..100 {
            assert_eq!(spread.better_than(0), None);
            spread.opened(0);
        }
        spread.closed(1);
        assert_eq!(Spread::new(1, None).better_than(0), None);
    }

    #[test]
    fn a_core_that_takes_no_more_and_one_with_too_many_waiting_give_back() {
        let spread = Spread::new(2, None);
        for _ in 0..limits::HANDED_WAITING {
            spread.hand(1, handed()).unwrap();
        }
        spread.hand(1, handed()).unwrap_err();
        assert_eq!(spread.open(1), limits::HANDED_WAITING);
        assert_eq!(spread.take(1).len(), limits::HANDED_WAITING);
        assert!(spread.take(1).is_empty());
        spread.hand(1, handed()).unwrap();
        assert_eq!(spread.take_last(1).len(), 1);
        spread.hand(1, handed()).unwrap_err();
    }
}
