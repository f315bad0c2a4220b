//! The sinks' metrics: one family per number, one line per core and sink that the core has.

use std::fmt::Write;

use super::{escaped, family, histogram};
use crate::kafka::SinkFigures;
use crate::kafka::figures::LATENCY_BOUNDS_MS;

/// Name, type, help line, value.
type Family = (&'static str, &'static str, &'static str, fn(&SinkFigures) -> u64);

/// What has one number per core and sink.
const FAMILIES: [Family; 11] = [
    ("tollgate_sink_entries_accepted_total", "counter", "Log entries accepted for this sink.", |sink| sink.accepted),
    ("tollgate_sink_entries_delivered_total", "counter", "Log entries that this sink acknowledged.", |sink| {
        sink.stats.delivered
    }),
    (
        "tollgate_sink_entries_held",
        "gauge",
        "Log entries held for this sink now, in the ring or in the spool.",
        |sink| sink.held,
    ),
    ("tollgate_sink_entries_in_doubt_total", "counter", "Log entries whose outcome could not be learnt.", |sink| {
        sink.stats.in_doubt
    }),
    ("tollgate_sink_entries_dropped_total", "counter", "Log entries refused because there was no room.", |sink| {
        sink.stats.dropped
    }),
    ("tollgate_sink_entries_too_large_total", "counter", "Log entries larger than a Kafka message may be.", |sink| {
        sink.stats.too_large
    }),
    ("tollgate_sink_slots_used", "gauge", "Ring slots that this sink's batches use now.", |sink| sink.slots),
    ("tollgate_sink_batches_in_flight", "gauge", "Batches sent to this sink and not answered yet.", |sink| {
        sink.in_flight
    }),
    ("tollgate_sink_spool_entries", "gauge", "Of the log entries held, those that lie in the spool alone.", |sink| {
        sink.stats.spooled
    }),
    ("tollgate_sink_spool_bytes", "gauge", "Bytes of the batches that lie in the spool alone.", |sink| {
        sink.stats.spooled_bytes
    }),
    ("tollgate_sink_down", "gauge", "1 while no broker of this sink can be used.", |sink| u64::from(sink.in_trouble)),
];
const LOST: &str = "tollgate_sink_entries_lost_total";
const AGE: &str = "tollgate_sink_spool_oldest_seconds";
const LATENCY: &str = "tollgate_sink_acknowledgement_seconds";

/// All families: each core's number with its sinks.
pub fn render<'a>(text: &mut String, cores: impl Iterator<Item = (usize, &'a [SinkFigures])> + Clone, unix_ms: i64) {
    let each = || {
        cores.clone().flat_map(|(core, sinks)| {
            sinks.iter().map(move |sink| (format!("core=\"{core}\",sink=\"{}\"", escaped(&sink.label)), sink))
        })
    };
    for (name, kind, help, value) in FAMILIES {
        family(text, name, kind, help);
        for (labels, sink) in each() {
            let _ = writeln!(text, "{name}{{{labels}}} {}", value(sink));
        }
    }
    family(text, LOST, "counter", "Log entries lost after they were accepted.");
    for (labels, sink) in each() {
        for (reason, lost) in sink.stats.lost.by_reason() {
            let _ = writeln!(text, "{LOST}{{{labels},reason=\"{reason}\"}} {lost}");
        }
    }
    family(text, AGE, "gauge", "Age of the oldest log entry that lies in the spool alone; 0: there is none.");
    for (labels, sink) in each() {
        let age_ms = sink.spooled_since_ms.map_or(0, |since| unix_ms.saturating_sub(since).max(0));
        let _ = writeln!(text, "{AGE}{{{labels}}} {}", age_ms / 1_000);
    }
    family(text, LATENCY, "histogram", "From a batch's first send to its acknowledgement.");
    for (labels, sink) in each() {
        let latencies = &sink.stats.latencies;
        let bounds_s = LATENCY_BOUNDS_MS.iter().map(|ms| *ms as f64 / 1e3);
        histogram(text, (LATENCY, &labels), bounds_s, &latencies.counts, latencies.sum_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_has_its_numbers_under_its_core_and_its_buckets_add_up() {
        let mut sink = SinkFigures { label: "a:1,b:2;sync;1".into(), accepted: 7, ..SinkFigures::default() };
        sink.stats.lost.retries = 3;
        for ms in [1, 2, 40, 70_000] {
            sink.stats.latencies.add(ms * 1_000_000);
        }
        sink.spooled_since_ms = Some(10_000);
        let sinks = [sink];
        let mut text = String::new();
        render(&mut text, [(0, &sinks[..0]), (1, &sinks[..])].into_iter(), 73_500);
        let of = "core=\"1\",sink=\"a:1,b:2;sync;1\"";
        for line in [
            format!("tollgate_sink_entries_accepted_total{{{of}}} 7"),
            format!("tollgate_sink_entries_lost_total{{{of},reason=\"retries\"}} 3"),
            format!("tollgate_sink_spool_oldest_seconds{{{of}}} 63"),
            format!("{LATENCY}_bucket{{{of},le=\"0.001\"}} 1"),
            format!("{LATENCY}_bucket{{{of},le=\"0.002\"}} 2"),
            format!("{LATENCY}_bucket{{{of},le=\"0.025\"}} 2"),
            format!("{LATENCY}_bucket{{{of},le=\"60\"}} 3"),
            format!("{LATENCY}_bucket{{{of},le=\"+Inf\"}} 4"),
            format!("{LATENCY}_sum{{{of}}} 70.043"),
            format!("{LATENCY}_count{{{of}}} 4"),
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} is not in:\n{text}");
        }
        assert!(!text.contains("core=\"0\""), "a core without sinks has no lines");
    }
}
