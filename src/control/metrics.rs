//! Prometheus text (exposition format 0.0.4) from the cores' counters and their sinks' figures. Reads; counts nothing itself.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use super::health::Standing;
use crate::base::counters::{COUNTERS, CounterKind, POLL_BOUNDS_NS};
use crate::config::publish::Board;
use crate::kafka::SinkFigures;

mod sinks;

/// `Content-Type` of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics as text: every counter of every core with the label `core`, and what is served. `prefix` begins the names that are
/// APISIX's (`plugin_attr.prometheus.metric_prefix`).
pub fn render(board: &Board, hostname: &str, prefix: &str, standings: &[Standing]) -> String {
    let mut text = String::with_capacity(COUNTERS.len() * (160 + 48 * board.core_count()));
    let cores: Vec<CoreFigures> = (0..board.core_count()).map(|core| CoreFigures::of(board, core)).collect();
    counters(&mut text, &cores);
    polls(&mut text, board);
    let unix_ms = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as i64);
    sinks::render(&mut text, cores.iter().map(|core| &core.sinks[..]).enumerate(), unix_ms);
    family(&mut text, "tollgate_config_version", "gauge", "The snapshot that was published last; cores follow.");
    let _ = writeln!(text, "tollgate_config_version {}", board.version());
    family(&mut text, "tollgate_build_info", "gauge", "What is running.");
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("TOLLGATE_COMMIT"));
    let _ = writeln!(text, "tollgate_build_info{{version=\"{version}\",commit=\"{commit}\"}} 1");
    let node_info = format!("{prefix}node_info");
    family(&mut text, &node_info, "gauge", "Info of the node, by APISIX's name.");
    let _ = writeln!(text, "{node_info}{{hostname=\"{}\",version=\"{version}\"}} 1", escaped(hostname));
    let upstream_status = format!("{prefix}upstream_status");
    family(&mut text, &upstream_status, "gauge", "1: the node may get requests; 0: health checks found it down.");
    for Standing { name, ip, port, is_up, .. } in standings {
        let (name, up) = (escaped(name), u8::from(*is_up));
        let _ = writeln!(text, "{upstream_status}{{name=\"{name}\",ip=\"{ip}\",port=\"{port}\"}} {up}");
    }
    text
}

/// A core's numbers of one moment: what is accepted, held and resolved adds up in them.
struct CoreFigures {
    counters: [u64; COUNTERS.len()],
    sinks: Vec<SinkFigures>,
}

impl CoreFigures {
    fn of(board: &Board, core: usize) -> Self {
        board.read_figures(core, |counters, sinks| Self {
            counters: std::array::from_fn(|index| counters.value(COUNTERS[index].0)),
            sinks: sinks.to_vec(),
        })
    }
}

fn counters(text: &mut String, cores: &[CoreFigures]) {
    let mut before = "";
    for (index, (_, name, kind, help, label)) in COUNTERS.iter().enumerate() {
        if std::mem::replace(&mut before, name) != *name {
            family(text, name, kind_name(*kind), help.trim());
        }
        let comma = if label.is_empty() { "" } else { "," };
        for (core, figures) in cores.iter().enumerate() {
            let value = figures.counters[index];
            // A gauge that two places move may be read between them: below zero is zero.
            let value = if *kind == CounterKind::Gauge && value > i64::MAX as u64 { 0 } else { value };
            let _ = writeln!(text, "{name}{{core=\"{core}\"{comma}{label}}} {value}");
        }
    }
}

/// The name of the histogram of how long tasks hold their core.
const POLLS: &str = "tollgate_task_poll_seconds";

fn polls(text: &mut String, board: &Board) {
    let help =
        "How long tasks held their core at a time; meanwhile everybody else on it waits. Should stay below 500 µs.";
    family(text, POLLS, "histogram", help);
    for core in 0..board.core_count() {
        let (counts, sum_ns) = board.counters(core).polls.read();
        let bounds_s = POLL_BOUNDS_NS.iter().map(|ns| *ns as f64 / 1e9);
        histogram(text, (POLLS, &format!("core=\"{core}\"")), bounds_s, &counts, sum_ns);
    }
}

/// The lines of one histogram. `counts` are those of each bound, not added up, and one more for what lies behind them.
fn histogram(
    text: &mut String,
    (name, labels): (&str, &str),
    bounds_s: impl Iterator<Item = f64>,
    counts: &[u64],
    sum_ns: u64,
) {
    let mut count = 0;
    for (bound_s, in_class) in bounds_s.zip(counts) {
        count += in_class;
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound_s}\"}} {count}");
    }
    count += counts.last().copied().unwrap_or(0);
    let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
    let _ = writeln!(text, "{name}_sum{{{labels}}} {}", sum_ns as f64 / 1e9);
    let _ = writeln!(text, "{name}_count{{{labels}}} {count}");
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn kind_name(kind: CounterKind) -> &'static str {
    match kind {
        CounterKind::Counter => "counter",
        CounterKind::Gauge => "gauge",
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The machine's name, for `apisix_node_info`; empty if the kernel does not tell.
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod docs_tests;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::base::counters::Counter;
    use crate::config::publish::Bell;

    #[test]
    fn every_counter_has_help_type_and_one_line_per_core() {
        let bells: Vec<Bell> = vec![Box::new(|| {}), Box::new(|| {})];
        let (board, _asked, _put_down) = Board::new(Arc::default(), bells, 1);
        board.counters(1).add(Counter::Requests, 41);
        board.counters(0).sub(Counter::Open, 1);
        let standing = Standing {
            name: "/apisix/routes/1".into(),
            kind: "http",
            host: "a".into(),
            ip: "10.0.0.1".into(),
            port: 80,
            is_up: false,
            counts: [0; 4],
        };
        let text = render(&board, "a\"b", "edge_", &[standing]);
        assert!(text.contains("\ntollgate_requests_total{core=\"0\"} 0\ntollgate_requests_total{core=\"1\"} 41\n"));
        assert!(text.contains("# TYPE tollgate_requests_total counter\n"));
        assert!(text.contains("\ntollgate_log_entries_lost_total{core=\"1\",reason=\"spool\"} 0\n"));
        assert!(text.contains("tollgate_connections_open{core=\"0\"} 0\n"));
        assert!(text.contains("\nedge_node_info{hostname=\"a\\\"b\",version="));
        let status = "edge_upstream_status{name=\"/apisix/routes/1\",ip=\"10.0.0.1\",port=\"80\"} 0\n";
        assert!(text.contains(status));
        for (_, name, ..) in COUNTERS {
            assert_eq!(text.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
            let variants = COUNTERS.iter().filter(|(_, other, ..)| other == name).count();
            assert_eq!(text.matches(&format!("\n{name}{{core=")).count(), 2 * variants, "{name}");
        }
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn poll_times_are_a_histogram_whose_buckets_add_up() {
        let bells: Vec<Bell> = vec![Box::new(|| {})];
        let (board, _asked, _put_down) = Board::new(Arc::default(), bells, 1);
        [10_000, 60_000, 70_000, 700_000, 60_000_000].iter().for_each(|ns| board.counters(0).polls.note(*ns));
        let text = render(&board, "a", "", &[]);
        for (bound, count) in [("0.00005", 1), ("0.0001", 3), ("0.0005", 3), ("0.001", 4), ("0.05", 4), ("+Inf", 5)] {
            let line = format!("\ntollgate_task_poll_seconds_bucket{{core=\"0\",le=\"{bound}\"}} {count}\n");
            assert!(text.contains(&line), "{line} is not in {text}");
        }
        assert!(text.contains("\ntollgate_task_poll_seconds_count{core=\"0\"} 5\n"));
        assert!(text.contains("\ntollgate_task_poll_seconds_sum{core=\"0\"} 0.06084\n"), "{text}");
    }

    #[test]
    fn what_is_said_of_a_core_and_its_sinks_is_of_one_moment_and_the_core_does_not_wait_for_it() {
        let bells: Vec<Bell> = vec![Box::new(|| {})];
        let (board, _asked, _put_down) = Board::new(Arc::default(), bells, 1);
        board.read_figures(0, |_, _| board.post_figures(0, false, |_, _| panic!("somebody reads")));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for accepted in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    board.post_figures(0, false, |counters, sinks| {
                        counters.set(Counter::EntriesAccepted, accepted);
                        sinks.clear();
                        sinks.push(SinkFigures { accepted, ..SinkFigures::default() });
                    });
                }
            });
            let (begin, mut last, mut torn) = (Instant::now(), 0, None);
            let is_time = |last| begin.elapsed() < Duration::from_millis(if last == 0 { 15_000 } else { 200 });
            while is_time(last) && torn.is_none() {
                let text = render(&board, "", "", &[]);
                let value = |begin: &str| {
                    let line = text.lines().find_map(|line| line.strip_prefix(begin));
                    line.and_then(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
                };
                let core = value("tollgate_log_entries_accepted_total{").unwrap_or_default();
                let sink = value("tollgate_sink_entries_accepted_total{").unwrap_or_default();
                (last, torn) = (core, Some((core, sink)).filter(|_| core != sink));
            }
            stop.store(true, Ordering::Relaxed);
            assert_eq!(torn, None);
            assert!(last > 0, "the core posted");
        });
    }
}
