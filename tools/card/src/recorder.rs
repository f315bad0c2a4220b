//! Tollgate's ring and producer, on their own: one sink, one lane, each entry a message.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tollgate::base::limits::{RING_BYTES, SLOT_BYTES};
use tollgate::base::time::Now;
use tollgate::config::publish::Board;
use tollgate::io::clock::Clock;
use tollgate::io::deadline::{Deadlines, TICK_MS};
use tollgate::io::ring_memory;
use tollgate::kafka::{Appended, Batching, LaneId, LaneSpec, Overflow, Partitioner, Shipper, ShipperOptions, SinkSpec};
use tollgate::worker::Ship;

use crate::entry::Entry;

/// Milliseconds that records get to reach Kafka at the end.
const DRAIN_MS: u64 = 10_000;

/// Where entries go.
pub struct Recorder {
    ship: Rc<Ship>,
    lane: LaneId,
    clock: Rc<Clock>,
    text: RefCell<Vec<u8>>,
}

impl Recorder {
    /// One for `topic` at `broker`.
    ///
    /// # Errors
    /// No memory for the ring.
    pub fn start(broker: SocketAddr, topic: &str) -> std::io::Result<Self> {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let options = ShipperOptions { client_id: "card".to_owned(), seed, ..ShipperOptions::default() };
        let shipper = Shipper::new(ring_memory::map(RING_BYTES / SLOT_BYTES, SLOT_BYTES)?, options);
        // Brokers are named by address, so that nobody has to answer questions about names.
        let (board, _, _) = Board::new(Arc::default(), vec![Box::new(|| {})], 1);
        let (clock, deadlines) = (Rc::new(Clock::default()), Rc::new(Deadlines::default()));
        let ship = Ship::new(shipper, None, 0, Arc::new(board), Rc::clone(&clock), Rc::clone(&deadlines));
        monoio::spawn(Rc::clone(&ship).timer());
        let ticking = Rc::clone(&clock);
        monoio::spawn(async move {
            loop {
                monoio::time::sleep(Duration::from_millis(TICK_MS)).await;
                deadlines.sweep(ticking.mono().ms());
            }
        });
        let sink = SinkSpec {
            overflow: Overflow::DropNewest,
            ..SinkSpec::new(vec![(broker.ip().to_string(), broker.port())])
        };
        let lane = ship.with(|shipper| {
            let sink = shipper.sink(&sink);
            shipper.lane(&LaneSpec {
                sink,
                topic: topic.to_owned(),
                key: None,
                partitioner: Partitioner::Murmur2,
                batching: Batching::Each,
                max_pending_entries: None,
                stored_as: 0,
            })
        });
        Ok(Self { ship, lane, clock, text: RefCell::default() })
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Takes one entry; says so where the ring has no room for it.
    pub fn record(&self, entry: &Entry<'_>, now: Now) {
        let mut text = self.text.borrow_mut();
        entry.write(&mut text);
        if !matches!(self.ship.append(self.lane, now, &mut |out| out.push(&text)), Appended::Accepted) {
            eprintln!("an entry was not taken");
        }
    }

    /// Sends what is left; how many entries did not reach Kafka, in the whole run.
    pub async fn finish(&self) -> u64 {
        let now = self.now();
        self.ship.with(|shipper| shipper.drain(now));
        self.ship.with(|shipper| shipper.flush(now));
        let until = now.mono.plus_ms(DRAIN_MS);
        while self.ship.with(|shipper| shipper.held_entries()) > 0 && self.clock.mono() < until {
            monoio::time::sleep(Duration::from_millis(TICK_MS)).await;
        }
        self.ship.with(|shipper| shipper.held_entries()) + self.ship.left().lost
    }
}
