//! What a row measured, and whether that is good enough. Pure.

use std::collections::BTreeMap;

use super::Mode;
use super::case::Case;
use super::figures::percentile;
use super::ledger::{Exchange, Fate, Findings, Pace};
use super::watch::Watched;

/// Memory may rise by less than this.
const MB_PER_MIN: f64 = 1.0;
/// A disturbed run's p99 may be this many times the undisturbed one's, in async.
const P99_RATIO: f64 = 1.5;

/// Less than a held response waits for Kafka before the gateway gives up waiting (`ack_timeout` is 10 s unless set).
const PATIENCE_US: u64 = 9_000_000;
/// The status of a response whose record could not be written, where that matters to the route.
const REFUSED: u16 = 503;

/// Latencies of whole responses in microseconds, from when their requests were due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// Median.
    pub p50: u64,
    /// 99 of 100 are not above it.
    pub p99: u64,
    /// 999 of 1000 are not above it.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// When the request with the longest was due, since the load began.
    pub max_due: u64,
}

impl Latency {
    /// Of all whole responses, the slow ones aside.
    pub fn of(exchanges: &[Exchange]) -> Self {
        let whole = exchanges.iter().filter(|one| one.fate != Fate::Cut && one.pace == Pace::Usual);
        let max_due = whole.clone().max_by_key(|exchange| exchange.latency_us).map_or(0, |exchange| exchange.due_us);
        let mut all: Vec<u64> = whole.map(|exchange| exchange.latency_us).collect();
        all.sort_unstable();
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|share| percentile(&all, share));
        Self { p50, p99, p999, max, max_due }
    }
}

/// Whole responses that began and ended while no broker ran, and did not wait until the gateway may give up waiting (`ack_timeout`): in held
/// mode there must be none. `outage_us` is since the load began.
pub fn answered_in(exchanges: &[Exchange], (from_us, to_us): (u64, u64)) -> u64 {
    let is_one = |one: &&Exchange| {
        let is_whole = matches!(one.fate, Fate::Complete(status) if status != REFUSED);
        is_whole && one.due_us > from_us && one.due_us + one.latency_us < to_us && one.latency_us < PATIENCE_US
    };
    exchanges.iter().filter(is_one).count() as u64
}

/// Everything that is known of a run.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// The ledger.
    pub findings: Findings,
    /// Requests that nobody took.
    pub unsent: u64,
    /// The gateway's own numbers; nothing for a peer that has none.
    pub watched: Option<Watched>,
    /// Latencies.
    pub latency: Latency,
    /// How late a sleeper woke beside the gateway, in microseconds: the 99th percentile and the most.
    pub late_us: [u64; 2],
    /// The undisturbed run's p99 in the same mode, in microseconds.
    pub calm_p99: Option<u64>,
    /// Seconds from the last request until nothing was held any more; nothing if that did not happen.
    pub settled_s: Option<f64>,
    /// See [`answered_in`].
    pub answered_in_outage: u64,
    /// What happened, in words.
    pub notes: Vec<String>,
}

impl Measured {
    /// p99 as a multiple of the undisturbed run's.
    pub fn p99_ratio(&self) -> Option<f64> {
        self.calm_p99.filter(|calm| *calm > 0).map(|calm| self.latency.p99 as f64 / calm as f64)
    }

    /// Everything that is not as it must be; nothing is a pass.
    pub fn faults(&self, case: Case, mode: Option<Mode>) -> Vec<String> {
        let mut faults = Vec::new();
        let found = &self.findings;
        let named = [("missing", &found.missing), ("twice", &found.twice), ("out of order", &found.disordered)];
        for (what, named) in named.into_iter().chain([("records of nobody", &found.strange)]) {
            if named.count > 0 {
                faults.push(format!("{what}: {named}"));
            }
        }
        if found.complete == 0 {
            faults.push("not one whole response".to_owned());
        }
        if case.keeps_serving() && found.cut + self.unsent > 0 {
            faults.push(format!("{} cut and {} not taken, while it served", found.cut, self.unsent));
        }
        if let Some(watched) = &self.watched {
            faults.extend(self.counter_faults(watched));
        } else if self.settled_s.is_none() {
            faults.push("records still came when the waiting ended".to_owned());
        }
        if mode == Some(Mode::Held) {
            faults.extend(self.not_held(case));
        }
        if let Some(ratio) = self.p99_ratio().filter(|ratio| *ratio > P99_RATIO)
            && mode == Some(Mode::Async)
            && case.keeps_serving()
        {
            faults.push(format!("p99 is {ratio:.1} times the undisturbed run's"));
        }
        faults
    }

    /// Whether responses were held at all: by the client's watch, and by the gateway's own counters.
    fn not_held(&self, case: Case) -> Vec<String> {
        let mut faults = Vec::new();
        if self.answered_in_outage > 0 {
            faults.push(format!("{} responses were not held while no broker ran", self.answered_in_outage));
        }
        let counted: u64 = self.watched.iter().flat_map(Watched::held_responses).map(|(_, count)| count).sum();
        // A killed gateway takes the count of its last second with it.
        if counted == 0 || case.keeps_serving() && counted < self.findings.complete {
            faults.push(format!("{counted} of {} responses were held", self.findings.complete));
        }
        faults
    }

    fn counter_faults(&self, watched: &Watched) -> Vec<String> {
        let mut faults = Vec::new();
        let entries = watched.outcome();
        let (wrong, first) = &watched.unbalanced;
        if *wrong > 0 {
            faults.push(format!("{wrong} of {} samples do not add up: {first}", watched.samples));
        }
        if watched.samples == 0 {
            faults.push("the metrics were never read".to_owned());
        }
        if self.settled_s.is_none() {
            faults.push(format!("{} still held when the waiting ended", entries.held));
        }
        if entries.lost + entries.dropped > 0 {
            faults.push(format!("{} lost, {} dropped{}", entries.lost, entries.dropped, list(&watched.reasons())));
        }
        if let Some([all, end]) = watched.memory_slopes().filter(|slopes| slopes.iter().all(|one| *one >= MB_PER_MIN)) {
            faults.push(format!("memory rises by {all:.1} MB/min, by {end:.1} at the end"));
        }
        faults
    }
}

fn list(reasons: &BTreeMap<String, u64>) -> String {
    let each: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
    if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::ledger::Named;
    use crate::faults::metrics::{Entries, Sample};

    fn sample(entries: Entries) -> Sample {
        let held_responses = BTreeMap::from([("acknowledged".to_owned(), entries.delivered)]);
        Sample { cores: BTreeMap::from([("0".to_owned(), entries)]), held_responses, ..Sample::default() }
    }

    fn good() -> Measured {
        let mut watched = Watched::default();
        watched.note(1, sample(Entries { accepted: 5, delivered: 5, ..Entries::default() }));
        Measured {
            findings: Findings { requests: 5, complete: 5, records: 5, ..Findings::default() },
            watched: Some(watched),
            latency: Latency { p99: 1400, ..Latency::default() },
            calm_p99: Some(1000),
            settled_s: Some(0.3),
            ..Measured::default()
        }
    }

    fn faults(change: impl FnOnce(&mut Measured), case: Case, mode: Mode) -> Vec<String> {
        let mut measured = good();
        change(&mut measured);
        measured.faults(case, Some(mode))
    }

    #[test]
    fn nothing_wrong_is_a_pass_and_doubt_alone_is_only_named() {
        assert_eq!(faults(|_| {}, Case::AllKilled, Mode::Async), Vec::<String>::new());
        let doubtful = Entries { accepted: 5, delivered: 4, in_doubt: 1, ..Entries::default() };
        let doubt = |measured: &mut Measured| measured.watched.as_mut().expect("there").note(1, sample(doubtful));
        assert_eq!(faults(doubt, Case::FrontKilled, Mode::Async), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_is_wrong_is_named() {
        let one = || Named { count: 1, first: vec!["3-4".to_owned()] };
        let all = |measured: &mut Measured| {
            measured.findings.missing = one();
            measured.findings.twice = one();
            measured.findings.disordered = one();
            measured.findings.strange = one();
            measured.settled_s = None;
            let wrong = Entries { accepted: 9, held: 2, lost: 1, dropped: 3, ..Entries::default() };
            measured.watched.as_mut().expect("there").note(1, sample(wrong));
        };
        let found = faults(all, Case::FrontKilled, Mode::Async);
        let parts =
            ["missing: 1 (3-4)", "twice: 1", "out of order: 1", "nobody: 1", "add up", "2 still held", "3 dropped"];
        assert_eq!(found.len(), parts.len(), "{found:?}");
        for (text, part) in found.iter().zip(parts) {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn latency_is_judged_in_async_where_the_gateway_serves_on() {
        let slow = |measured: &mut Measured| measured.latency.p99 = 1600;
        assert_eq!(faults(slow, Case::AllKilled, Mode::Async), ["p99 is 1.6 times the undisturbed run's"]);
        assert_eq!(faults(slow, Case::AllKilled, Mode::Held), Vec::<String>::new());
        assert_eq!(faults(slow, Case::FrontKilled, Mode::Async), Vec::<String>::new());
    }

    #[test]
    fn held_is_only_passed_if_responses_were_held() {
        let without = |measured: &mut Measured| {
            let entries = Entries { accepted: 5, delivered: 5, ..Entries::default() };
            let sample = Sample { held_responses: BTreeMap::new(), ..sample(entries) };
            measured.watched.as_mut().expect("there").note(1, sample);
        };
        assert_eq!(faults(without, Case::Undisturbed, Mode::Held), ["0 of 5 responses were held"]);
        assert_eq!(faults(without, Case::Undisturbed, Mode::Async), Vec::<String>::new());
        let early = |measured: &mut Measured| measured.answered_in_outage = 2;
        assert_eq!(faults(early, Case::AllKilled, Mode::Held).len(), 1);
        assert_eq!(faults(early, Case::AllKilled, Mode::Async), Vec::<String>::new());
    }

    #[test]
    fn an_answer_within_the_outage_was_not_held_and_one_that_gave_up_waiting_was() {
        let one = |due_s: u64, latency_s: u64, fate| Exchange {
            id: crate::faults::ledger::Id { connection: 0, sequence: 0 },
            pace: Pace::Usual,
            fate,
            due_us: due_s * 1_000_000,
            latency_us: latency_s * 1_000_000,
        };
        let outage = (15_000_000, 45_000_000);
        let whole = Fate::Complete(200);
        let held = [
            one(14, 2, whole),
            one(16, 10, whole),
            one(40, 6, whole),
            one(20, 1, Fate::Cut),
            one(20, 1, Fate::Complete(503)),
        ];
        assert_eq!(answered_in(&held, outage), 0);
        assert_eq!(answered_in(&[one(16, 8, whole), one(44, 0, whole)], outage), 2);
    }

    #[test]
    fn cut_responses_are_right_only_where_the_gateway_was_ended() {
        let cut = |measured: &mut Measured| measured.findings.cut = 1;
        assert_eq!(faults(cut, Case::FrontKilled, Mode::Held), Vec::<String>::new());
        assert_eq!(faults(cut, Case::LeaderKilled, Mode::Held).len(), 1);
    }
}
