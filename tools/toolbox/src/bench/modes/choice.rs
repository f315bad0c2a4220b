//! Which mode to choose: a rule over what was measured. Pure.

use super::Mode;

/// What is known of a mode at the rate of the open loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Which.
    pub mode: Mode,
    /// 99.9th percentile of the latency in microseconds, waiting included.
    pub p999_us: f64,
    /// Failed or unanswered requests, in all runs.
    pub failed: u64,
    /// Requests without a record, and records without a request, in all runs.
    pub wrong_records: u64,
}

impl Candidate {
    fn keeps(&self, bound_us: f64) -> bool {
        self.p999_us <= bound_us && self.failed == 0 && self.wrong_records == 0
    }
}

/// Modes by what they promise, the most first. Async stands before sync: the promise is the same, and sync has one batch under way
/// where async has up to five.
const BY_PROMISE: [Mode; 3] = [Mode::Held, Mode::Async, Mode::Sync];

/// The mode that promises most and keeps the bound.
pub fn choose(candidates: &[Candidate], bound_us: f64) -> Option<Mode> {
    let of = |mode: &Mode| candidates.iter().find(|candidate| candidate.mode == *mode);
    BY_PROMISE.into_iter().find(|mode| of(mode).is_some_and(|candidate| candidate.keeps(bound_us)))
}

/// The choice as a sentence.
pub fn sentence(candidates: &[Candidate], bound_us: f64, rate: f64) -> String {
    let of = |mode: Mode| candidates.iter().find(|candidate| candidate.mode == mode);
    let bound = format!("at most {} at the 99.9th percentile and {rate:.0} requests/s", milliseconds(bound_us));
    let measured = |mode: Mode| of(mode).map_or_else(|| "?".to_owned(), |candidate| milliseconds(candidate.p999_us));
    match choose(candidates, bound_us) {
        Some(mode @ Mode::Held) => format!(
            "For your cluster and {bound}, choose held (`ack_before_response: true`): it took {}, and whoever has a whole response has \
             its record in Kafka.",
            measured(mode)
        ),
        Some(mode) => format!(
            "For your cluster and {bound}, choose {} (`producer_type: {}`): it took {}; held took {}, which is {}. Requests do not wait \
             for Kafka; a record is in the ring before its response is sent.",
            mode.name(),
            mode.name(),
            measured(mode),
            measured(Mode::Held),
            why_not(of(Mode::Held), bound_us)
        ),
        None if of(Mode::Off).is_some_and(|off| !off.keeps(bound_us)) => format!(
            "For your cluster, {bound} is not kept even without records ({}): choose a lower rate or a wider bound, or more cores.",
            measured(Mode::Off)
        ),
        None => format!(
            "For your cluster, no mode that records keeps {bound} (held {}, async {}, sync {}): choose async and a lower rate or a wider \
             bound.",
            measured(Mode::Held),
            measured(Mode::Async),
            measured(Mode::Sync)
        ),
    }
}

fn why_not(candidate: Option<&Candidate>, bound_us: f64) -> &'static str {
    match candidate {
        Some(candidate) if candidate.wrong_records > 0 => "ruled out by records that do not match its requests",
        Some(candidate) if candidate.failed > 0 => "ruled out by requests that failed",
        Some(candidate) if candidate.p999_us > bound_us => "too long",
        _ => "not known",
    }
}

fn milliseconds(us: f64) -> String {
    format!("{:.1} ms", us / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(held: f64, asynchronous: f64, sync: f64, off: f64) -> Vec<Candidate> {
        let candidate = |mode, p999_us| Candidate { mode, p999_us, failed: 0, wrong_records: 0 };
        vec![
            candidate(Mode::Off, off),
            candidate(Mode::Async, asynchronous),
            candidate(Mode::Sync, sync),
            candidate(Mode::Held, held),
        ]
    }

    #[test]
    fn the_strongest_promise_that_keeps_the_bound_is_chosen() {
        assert_eq!(choose(&all(9.0, 5.0, 6.0, 4.0), 10.0), Some(Mode::Held));
        assert_eq!(choose(&all(10.0, 5.0, 6.0, 4.0), 10.0), Some(Mode::Held));
        assert_eq!(choose(&all(11.0, 5.0, 4.0, 4.0), 10.0), Some(Mode::Async));
        assert_eq!(choose(&all(11.0, 11.0, 4.0, 4.0), 10.0), Some(Mode::Sync));
        assert_eq!(choose(&all(11.0, 11.0, 11.0, 4.0), 10.0), None);
        assert_eq!(choose(&[], 10.0), None);
    }

    #[test]
    fn a_mode_that_failed_or_lost_is_not_chosen_however_fast() {
        let mut candidates = all(9.0, 5.0, 6.0, 4.0);
        candidates[3].failed = 1;
        assert_eq!(choose(&candidates, 10.0), Some(Mode::Async));
        candidates[1].wrong_records = 1;
        assert_eq!(choose(&candidates, 10.0), Some(Mode::Sync));
    }

    #[test]
    fn the_sentence_names_the_mode_the_bound_and_why_not_the_stronger_one() {
        let text = sentence(&all(9_000.0, 5_000.0, 6_000.0, 4_000.0), 10_000.0, 8000.0);
        assert!(
            text.contains("choose held") && text.contains("at most 10.0 ms") && text.contains("8000 requests/s"),
            "{text}"
        );
        let text = sentence(&all(11_000.0, 5_000.0, 6_000.0, 4_000.0), 10_000.0, 8000.0);
        assert!(text.contains("choose async") && text.contains("held took 11.0 ms, which is too long"), "{text}");
        let text = sentence(&all(11_000.0, 12_000.0, 13_000.0, 4_000.0), 10_000.0, 8000.0);
        assert!(text.contains("no mode that records keeps"), "{text}");
        let text = sentence(&all(11_000.0, 12_000.0, 13_000.0, 14_000.0), 10_000.0, 8000.0);
        assert!(text.contains("not kept even without records"), "{text}");
    }
}
