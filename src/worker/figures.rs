//! Puts a core's numbers about records, sinks and the spool where the metrics endpoint reads them: on the core's tick, so that no
//! request pays for it. Counts nothing itself.

use super::ship::Ship;
use crate::base::counters::{CoreCounters, Counter};

impl Ship {
    /// Publishes the numbers of this moment, all of them at once. `last`: no tick comes after this.
    pub fn publish(&self, last: bool) {
        self.board.post_figures(self.core, last, |counters, sinks| {
            self.put_records(counters);
            if let Some(spool) = &self.spool {
                spool.publish(counters);
            }
            self.shipper.borrow().figures(sinks);
            let in_flight = sinks.iter().map(|sink| sink.in_flight).sum();
            counters.set(Counter::BatchesInFlight, in_flight);
        });
    }

    fn put_records(&self, counters: &CoreCounters) {
        let shipper = self.shipper.borrow();
        let stats = shipper.stats();
        let numbers = [
            (Counter::EntriesAccepted, stats.accepted),
            (Counter::EntriesRecovered, stats.recovered),
            (Counter::EntriesDelivered, stats.delivered),
            (Counter::EntriesHeld, shipper.held_entries()),
            (Counter::EntriesSpooled, stats.spooled),
            (Counter::EntriesInDoubt, stats.in_doubt),
            (Counter::LostRefused, stats.lost.refused),
            (Counter::LostTooLarge, stats.lost.too_large),
            (Counter::LostRetries, stats.lost.retries),
            (Counter::LostShutdown, stats.lost.shutdown),
            (Counter::LostSpool, stats.lost.spool),
            (Counter::EntriesDropped, stats.dropped),
            (Counter::EntriesTooLarge, stats.too_large),
            (Counter::BatchesSent, stats.batches_sent),
            (Counter::BatchesRetried, stats.batches_retried),
            (Counter::BatchesSpilled, stats.batches_spilled),
            (Counter::BatchesLoaded, stats.batches_loaded),
            (Counter::BytesDelivered, stats.bytes_delivered),
            (Counter::RingSlotsUsed, stats.slots_used),
            (Counter::RingSlots, stats.slots),
            (Counter::BrokerConnections, stats.connections),
            (Counter::HeldResponses, self.waiters.count() as u64),
        ];
        for (counter, value) in numbers {
            counters.set(counter, value);
        }
    }
}
