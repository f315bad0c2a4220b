//! How many connections each client address has, on all cores together: `max_connections_per_address`. Asked at an accept and at a
//! connection's end, and only if that limit is set; no request comes here. A limit per core would be no limit that a person can state:
//! which core gets a connection is not the client's choice.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

/// Parts that the table is locked in.
const PARTS: usize = 16;
/// The bits of an IPv6 address that count: whoever has one has the whole /64.
const V6_NETWORK: u128 = u128::MAX << 64;

/// Connections by address. As large as the number of addresses that are connected.
#[derive(Debug)]
pub struct Addresses {
    most: NonZeroU32,
    hashing: RandomState,
    parts: [Mutex<HashMap<u128, u32>>; PARTS],
}

/// A connection's place among those of its address, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    among: Arc<Addresses>,
    key: u128,
}

impl Addresses {
    /// At most `most` connections for each address.
    pub fn new(most: NonZeroU32) -> Arc<Self> {
        Arc::new(Self { most, hashing: RandomState::new(), parts: std::array::from_fn(|_| Mutex::default()) })
    }

    /// A place for a connection from `address`, if it has not too many.
    pub fn seat(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let key = key(address);
        self.with_part(key, |counts| {
            let count = counts.entry(key).or_insert(0);
            (*count < self.most.get()).then(|| *count += 1)
        })?;
        Some(Seat { among: Arc::clone(self), key })
    }

    fn with_part<T>(&self, key: u128, change: impl FnOnce(&mut HashMap<u128, u32>) -> T) -> T {
        let part = self.hashing.hash_one(key) as usize % PARTS;
        change(&mut self.parts[part].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.among.with_part(self.key, |counts| {
            let left = counts.get(&self.key).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                counts.remove(&self.key);
            } else {
                counts.insert(self.key, left);
            }
        });
    }
}

/// What is counted together: an IPv4 address, in whatever form it comes, or an IPv6 /64.
fn key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() & V6_NETWORK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(most: u32) -> Arc<Addresses> {
        Addresses::new(NonZeroU32::new(most).unwrap())
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_number_and_gets_a_place_again_when_one_is_left() {
        let table = table(2);
        let mut seats: Vec<Seat> = (0..2).filter_map(|_| table.seat(at("10.0.0.1"))).collect();
        assert_eq!(seats.len(), 2);
        assert!(table.seat(at("10.0.0.1")).is_none() && table.seat(at("::ffff:10.0.0.1")).is_none());
        assert!(table.seat(at("10.0.0.2")).is_some());
        seats.pop();
        assert!(table.seat(at("10.0.0.1")).is_some());
        drop(seats);
        assert!(table.parts.iter().all(|part| part.lock().unwrap().is_empty()), "nothing stays of those who left");
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_address() {
        let table = table(1);
        let _seat = table.seat(at("2001:db8:0:1::1")).unwrap();
        assert!(table.seat(at("2001:db8:0:1:ffff:ffff:ffff:ffff")).is_none());
        assert!(table.seat(at("2001:db8:0:2::1")).is_some());
        // What looks like the network of all mapped IPv4 addresses is none of them.
        let _zero = table.seat(at("::1")).unwrap();
        assert!(table.seat(at("10.0.0.1")).is_some());
    }

    #[test]
    fn cores_that_ask_at_once_never_give_more_than_there_are() {
        let table = table(50);
        let taken: usize = std::thread::scope(|scope| {
            let cores: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..100).filter_map(|_| table.seat(at("10.0.0.1"))).collect::<Vec<_>>()))
                .collect();
            let seats: Vec<_> = cores.into_iter().map(|core| core.join().unwrap()).collect();
            seats.iter().map(Vec::len).sum()
        });
        assert_eq!(taken, 50);
    }
}
