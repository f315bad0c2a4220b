//! What each sink did, added up when somebody asks. An entry pays nothing for it: its lane counts it anyway, and a lane that is
//! forgotten leaves its count with its sink.

use super::Shipper;
use crate::kafka::figures::{OTHER_SINKS, SINKS_SHOWN, SinkFigures, SinkStats};
use crate::kafka::lane::Spooled;
use crate::kafka::ring::SlotMemory;
use crate::kafka::sink::Sink;

impl<M: SlotMemory> Shipper<M> {
    /// Every sink's numbers, in the order in which they came; a sink stays when no configuration names it any more, so that its
    /// counters never go back. From the [`SINKS_SHOWN`]th on they are one. Walks every lane.
    pub fn figures(&self, into: &mut Vec<SinkFigures>) {
        into.clear();
        into.extend(self.sinks.iter().map(of_sink));
        for lane in self.lanes.iter().filter(|lane| lane.live) {
            let figures = &mut into[lane.sink];
            figures.accepted += lane.pushed;
            figures.held += lane.held;
            let oldest = lane.tail.loading.iter().map(|(_, spooled)| spooled).chain(lane.tail.frames.front());
            let oldest = oldest.map(|spooled| spooled.stored.sealed.base_timestamp_ms).min();
            figures.spooled_since_ms = figures.spooled_since_ms.into_iter().chain(oldest).min();
        }
        for index in &self.busy {
            let lane = &self.lanes[*index as usize];
            into[lane.sink].in_flight += lane.queues.iter().map(|queue| u64::from(queue.in_flight)).sum::<u64>();
        }
        fold(into);
    }

    /// A lane's sink's numbers.
    pub(super) fn sink_stats(&mut self, index: usize) -> &mut SinkStats {
        &mut self.sinks[self.lanes[index].sink].stats
    }

    /// This lies in the spool and not in the ring.
    pub(super) fn spooled(&mut self, index: usize, Spooled { frame, stored }: Spooled) {
        self.stats.spooled += stored.entries_left();
        let of_sink = self.sink_stats(index);
        of_sink.spooled += stored.entries_left();
        of_sink.spooled_bytes += u64::from(frame.bytes);
    }

    /// This does no more.
    pub(super) fn unspooled(&mut self, index: usize, Spooled { frame, stored }: Spooled) {
        self.stats.spooled -= stored.entries_left();
        let of_sink = self.sink_stats(index);
        of_sink.spooled -= stored.entries_left();
        of_sink.spooled_bytes -= u64::from(frame.bytes);
    }

    /// Per sink: `accepted = delivered + held + in doubt + lost`, what is in the spool, slots; and all sinks make the core.
    pub(super) fn check_sinks(&self) -> Result<(), String> {
        let mut figures = Vec::new();
        self.figures(&mut figures);
        let mut all = SinkFigures::default();
        for one in &figures {
            let stats = &one.stats;
            if one.accepted != stats.delivered + one.held + stats.in_doubt + stats.lost.total() {
                return Err(format!("sink {}: the sum does not hold: {one:?}", one.label));
            }
            all.merge(one);
        }
        for (index, sink) in self.sinks.iter().enumerate() {
            let lanes = || self.lanes.iter().filter(|lane| lane.live && lane.sink == index);
            let in_spool: u64 = lanes().map(|lane| lane.tail.entries()).sum();
            let slots: u32 = lanes().map(|lane| lane.slots).sum();
            if (in_spool, slots) != (sink.stats.spooled, sink.slots) {
                return Err(format!("sink {}: {in_spool} in the spool, {slots} slots: {:?}", sink.label, sink.stats));
            }
        }
        let (core, sinks) = (&self.stats, &all.stats);
        let is_same = (all.accepted, all.held, all.slots) == (core.accepted, self.held, core.slots_used)
            && (sinks.delivered, sinks.in_doubt, sinks.lost) == (core.delivered, core.in_doubt, core.lost)
            && sinks.spooled == core.spooled
            && sinks.too_large == core.too_large
            // A lane that is gone refuses too, and belongs to no sink.
            && sinks.dropped <= core.dropped;
        if is_same { Ok(()) } else { Err(format!("the sinks {all:?} are not the core {core:?}")) }
    }
}

fn of_sink(sink: &Sink) -> SinkFigures {
    SinkFigures {
        label: sink.label.clone(),
        stats: sink.stats,
        accepted: sink.stats.accepted_before,
        held: 0,
        slots: u64::from(sink.slots),
        in_flight: 0,
        spooled_since_ms: None,
        in_trouble: sink.trouble.is_some(),
    }
}

/// Makes one of all that are too many.
fn fold(figures: &mut Vec<SinkFigures>) {
    if figures.len() <= SINKS_SHOWN {
        return;
    }
    let mut other = SinkFigures { label: OTHER_SINKS.into(), ..SinkFigures::default() };
    for one in figures.drain(SINKS_SHOWN..) {
        other.merge(&one);
    }
    figures.push(other);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn sinks_beyond_those_that_are_shown_are_one_and_nothing_of_them_is_missing() {
        let one = |index: usize| SinkFigures {
            label: Arc::from(format!("sink {index}")),
            accepted: 10,
            held: 1,
            in_trouble: index == SINKS_SHOWN,
            spooled_since_ms: Some(1_000 + index as i64),
            ..SinkFigures::default()
        };
        let mut figures: Vec<_> = (0..SINKS_SHOWN).map(one).collect();
        fold(&mut figures);
        assert!(figures.len() == SINKS_SHOWN && figures.iter().all(|one| &*one.label != OTHER_SINKS));
        figures.extend((SINKS_SHOWN..SINKS_SHOWN + 3).map(one));
        fold(&mut figures);
        let other = &figures[SINKS_SHOWN];
        assert_eq!((figures.len(), &*other.label), (SINKS_SHOWN + 1, OTHER_SINKS));
        assert_eq!((other.accepted, other.held, other.in_trouble), (30, 3, true));
        assert_eq!(other.spooled_since_ms, Some(1_000 + SINKS_SHOWN as i64));
    }
}
