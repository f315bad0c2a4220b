//! Tollgate's ring and producer, on their own: one sink, one lane, each entry a message.

use std::cell::RefCell;
use std::net::SocketAddr;

use tollgate::base::time::Now;
use tollgate::kafka::{Appended, Compression};
use tollgate::worker::Alone;

use crate::entry::Entry;

/// Milliseconds that records get to reach Kafka at the end.
const DRAIN_MS: u64 = 10_000;

/// Where entries go.
pub struct Recorder {
    alone: Alone,
    text: RefCell<Vec<u8>>,
}

impl Recorder {
    /// One for `topic` at `broker`.
    ///
    /// # Errors
    /// No memory for the ring.
    pub fn start(broker: SocketAddr, topic: &str) -> std::io::Result<Self> {
        let alone = Alone::start("card", broker, topic, Compression::None)?;
        Ok(Self { alone, text: RefCell::default() })
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        self.alone.clock.now()
    }

    /// Takes one entry; says so where the ring has no room for it.
    pub fn record(&self, entry: &Entry<'_>, now: Now) {
        let mut text = self.text.borrow_mut();
        entry.write(&mut text);
        if !matches!(self.alone.ship.append(self.alone.lane, now, &mut |out| out.push(&text)), Appended::Accepted) {
            eprintln!("an entry was not taken");
        }
    }

    /// Sends what is left; how many entries did not reach Kafka, in the whole run.
    pub async fn finish(&self) -> u64 {
        self.alone.finish(DRAIN_MS).await
    }
}
