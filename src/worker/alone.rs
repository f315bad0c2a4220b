//! The ring and the producer without a gateway around them: one broker, one topic, each entry a message. For `tools/card` and
//! `benches/producer`; a gateway's core makes its own (`core`), with spool, names and many lanes.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Ship;
use crate::base::limits::{RING_BYTES, SLOT_BYTES};
use crate::config::publish::Board;
use crate::io::clock::Clock;
use crate::io::deadline::{Deadlines, TICK_MS};
use crate::io::ring_memory;
use crate::kafka::{Compression, LaneId, LaneSpec, Overflow, Shipper, ShipperOptions, SinkSpec};

/// Between two looks whether everything is in Kafka.
const LOOK: Duration = Duration::from_millis(1);

/// See the module.
pub struct Alone {
    /// Takes entries, and sends them.
    pub ship: Rc<Ship>,
    /// Where they go.
    pub lane: LaneId,
    /// The core's clock.
    pub clock: Rc<Clock>,
}

impl Alone {
    /// One for `topic` at `broker`; its timers run as tasks of this thread's runtime.
    ///
    /// # Errors
    /// No memory for the ring.
    pub fn start(client_id: &str, broker: SocketAddr, topic: &str, compression: Compression) -> io::Result<Self> {
        let (clock, deadlines) = (Rc::new(Clock::default()), Rc::new(Deadlines::default()));
        let seed = clock.now().wall.unix_us;
        let options = ShipperOptions { client_id: client_id.to_owned(), seed, ..ShipperOptions::default() };
        let shipper = Shipper::new(ring_memory::map(RING_BYTES / SLOT_BYTES, SLOT_BYTES)?, options);
        // Brokers are named by address, so that nobody has to answer questions about names.
        let (board, _, _) = Board::new(Arc::default(), vec![Box::new(|| {})], 1);
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
            compression,
            ..SinkSpec::new(vec![(broker.ip().to_string(), broker.port())])
        };
        let lane = ship.with(|shipper| {
            let sink = shipper.sink(&sink);
            shipper.lane(&LaneSpec::new(sink, topic))
        });
        Ok(Self { ship, lane, clock })
    }

    /// Sends what is left, for `limit_ms` at most; how many entries did not reach Kafka, in the whole run.
    pub async fn finish(&self, limit_ms: u64) -> u64 {
        let now = self.clock.now();
        self.ship.with(|shipper| shipper.drain(now));
        self.ship.with(|shipper| shipper.flush(now));
        let until = now.mono.plus_ms(limit_ms);
        let held = || self.ship.with(|shipper| shipper.held_entries());
        while held() > 0 && self.clock.mono() < until {
            monoio::time::sleep(LOOK).await;
        }
        held() + self.ship.left().lost
    }
}
