//! Health of nodes: what counts for and against one, and when that is enough (APISIX-COMPAT §7.4). No probe, no clock: `control`
//! asks the nodes, cores tell what became of requests, and both come here as outcomes.

use crate::base::Fault;
use crate::base::fault::Kind;

/// What one look at a node, or one request to it, showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A status of the healthy list; for a TCP check a connection.
    Success,
    /// A status of the unhealthy list, or no HTTP.
    HttpFailure,
    /// No connection, a broken one, no TLS.
    TcpFailure,
    /// Nothing in time.
    Timeout,
}

/// What became of a try, for passive checks.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    /// The client got this status from the node.
    Answered(u16),
    /// It failed, and another node is asked.
    Passed(Fault),
    /// It failed, and the client was told so with this status.
    Failed(Fault, u16),
}

/// How many outcomes of a kind change a node's state; 0: outcomes of that kind are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// `healthy.successes`.
    pub successes: u8,
    /// `unhealthy.http_failures`.
    pub http_failures: u8,
    /// `unhealthy.tcp_failures`.
    pub tcp_failures: u8,
    /// `unhealthy.timeouts`.
    pub timeouts: u8,
}

/// `checks.active` or `checks.passive`, as far as outcomes go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// `healthy.http_statuses`.
    pub healthy_statuses: Vec<u16>,
    /// `unhealthy.http_statuses`.
    pub unhealthy_statuses: Vec<u16>,
    /// How many are enough.
    pub thresholds: Thresholds,
}

impl Rules {
    /// What a status says; nothing if it is in neither list. A status in both is a good one.
    pub fn of_status(&self, status: u16) -> Option<Outcome> {
        if self.healthy_statuses.contains(&status) {
            Some(Outcome::Success)
        } else {
            self.unhealthy_statuses.contains(&status).then_some(Outcome::HttpFailure)
        }
    }

    /// What a try says. A last one that failed counts once: as its status if that is in a list.
    pub fn of_try(&self, ended: Ended) -> Option<Outcome> {
        let of_fault = |fault: Fault| match fault.kind {
            Kind::Timeout => Outcome::Timeout,
            _ => Outcome::TcpFailure,
        };
        match ended {
            Ended::Answered(status) => self.of_status(status),
            Ended::Passed(fault) => Some(of_fault(fault)),
            Ended::Failed(fault, status) => self.of_status(status).or_else(|| Some(of_fault(fault))),
        }
    }
}

/// A node that was up is down now, or the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It may get requests again.
    Up,
    /// It gets none, as long as others are up.
    Down,
}

/// What is known of one node. It begins up. Active and passive checks count together, each by its own thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeHealth {
    up: bool,
    successes: u8,
    http_failures: u8,
    tcp_failures: u8,
    timeouts: u8,
}

impl Default for NodeHealth {
    fn default() -> Self {
        Self { up: true, successes: 0, http_failures: 0, tcp_failures: 0, timeouts: 0 }
    }
}

impl NodeHealth {
    /// True if it may get requests.
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// Successes, HTTP failures, TCP failures and timeouts that count now.
    pub const fn counts(&self) -> [u8; 4] {
        [self.successes, self.http_failures, self.tcp_failures, self.timeouts]
    }

    /// Counts an outcome. A success ends the count of failures of every kind, a failure that of successes; failures of different
    /// kinds are counted side by side.
    pub fn take(&mut self, outcome: Outcome, thresholds: &Thresholds) -> Option<Change> {
        let (count, threshold) = match outcome {
            Outcome::Success => (&mut self.successes, thresholds.successes),
            Outcome::HttpFailure => (&mut self.http_failures, thresholds.http_failures),
            Outcome::TcpFailure => (&mut self.tcp_failures, thresholds.tcp_failures),
            Outcome::Timeout => (&mut self.timeouts, thresholds.timeouts),
        };
        if threshold == 0 {
            return None;
        }
        *count = count.saturating_add(1);
        let enough = *count >= threshold;
        let up = outcome == Outcome::Success;
        let successes = self.successes;
        if up {
            *self = Self { up: self.up, successes, ..Self::default() };
        } else {
            self.successes = 0;
        }
        if !enough || self.up == up {
            return None;
        }
        *self = Self { up, ..Self::default() };
        Some(if up { Change::Up } else { Change::Down })
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{HttpFailure, Success, TcpFailure, Timeout};
    use super::*;
    use crate::base::hash::mix;

    const ACTIVE: Thresholds = Thresholds { successes: 2, http_failures: 5, tcp_failures: 2, timeouts: 3 };
    const ALL: [Outcome; 4] = [Success, HttpFailure, TcpFailure, Timeout];

    fn taken(outcomes: &[Outcome], thresholds: &Thresholds) -> (NodeHealth, Vec<Change>) {
        let mut node = NodeHealth::default();
        let changes = outcomes.iter().filter_map(|outcome| node.take(*outcome, thresholds)).collect();
        (node, changes)
    }

    #[test]
    fn each_kind_of_failure_has_its_own_threshold() {
        for (outcome, threshold) in [(HttpFailure, 5), (TcpFailure, 2), (Timeout, 3)] {
            assert_eq!(taken(&vec![outcome; threshold - 1], &ACTIVE).1, [], "{outcome:?}");
            assert_eq!(taken(&vec![outcome; threshold], &ACTIVE).1, [Change::Down], "{outcome:?}");
        }
        let (node, changes) = taken(&[HttpFailure, HttpFailure, TcpFailure, Timeout, Timeout], &ACTIVE);
        assert!(node.is_up() && changes.is_empty(), "kinds are not added up: {node:?}");
    }

    #[test]
    fn a_success_begins_the_count_of_failures_anew_and_a_failure_that_of_successes() {
        assert!(taken(&[TcpFailure, Success, TcpFailure, Success, TcpFailure], &ACTIVE).0.is_up());
        let (node, changes) = taken(&[TcpFailure, TcpFailure, Success, Timeout, Success], &ACTIVE);
        assert!(!node.is_up() && changes == [Change::Down]);
        assert_eq!(taken(&[TcpFailure, TcpFailure, Success, Success], &ACTIVE).1, [Change::Down, Change::Up]);
    }

    #[test]
    fn what_is_off_neither_counts_nor_clears() {
        let off =
            Thresholds { successes: 0, tcp_failures: 2, ..Thresholds { http_failures: 0, timeouts: 0, ..ACTIVE } };
        assert!(taken(&[HttpFailure; 300], &off).0.is_up() && taken(&[Timeout; 300], &off).0.is_up());
        assert_eq!(taken(&[TcpFailure, Success, TcpFailure], &off).1, [Change::Down]);
        assert!(!taken(&[TcpFailure, TcpFailure, Success, Success, Success], &off).0.is_up());
    }

    #[test]
    fn passive_and_active_checks_count_together_each_by_its_thresholds() {
        let passive = Thresholds { successes: 5, http_failures: 5, tcp_failures: 3, timeouts: 7 };
        let mut node = NodeHealth::default();
        assert_eq!(node.take(TcpFailure, &passive), None);
        assert_eq!(node.take(TcpFailure, &ACTIVE), Some(Change::Down));
        assert_eq!(node.take(Success, &passive), None);
        assert_eq!(node.take(Success, &ACTIVE), Some(Change::Up));
    }

    #[test]
    fn a_status_is_good_bad_or_nothing() {
        let rules = Rules { healthy_statuses: vec![200, 302], unhealthy_statuses: vec![500, 302], thresholds: ACTIVE };
        assert_eq!(
            [200, 302, 500, 404].map(|status| rules.of_status(status)),
            [Some(Success), Some(Success), Some(HttpFailure), None]
        );
    }

    #[test]
    fn a_try_that_failed_is_a_timeout_or_a_tcp_failure_unless_its_status_is_listed() {
        let rules = Rules { healthy_statuses: vec![200], unhealthy_statuses: vec![504], thresholds: ACTIVE };
        let fault = |kind| Fault::new(crate::base::fault::Side::Upstream, kind);
        for (ended, outcome) in [
            (Ended::Answered(200), Some(Success)),
            (Ended::Answered(404), None),
            (Ended::Passed(fault(Kind::Timeout)), Some(Timeout)),
            (Ended::Passed(fault(Kind::Malformed)), Some(TcpFailure)),
            (Ended::Failed(fault(Kind::Connect), 502), Some(TcpFailure)),
            (Ended::Failed(fault(Kind::Timeout), 504), Some(HttpFailure)),
        ] {
            assert_eq!(rules.of_try(ended), outcome, "{ended:?}");
        }
    }

    /// The rules said another way: a node's state follows from the outcomes since its last change alone.
    fn told(outcomes: &[Outcome], thresholds: &Thresholds) -> (bool, usize) {
        let (mut up, mut since, mut changes) = (true, 0, 0);
        for end in 1..=outcomes.len() {
            let seen = outcomes[since..end].iter().filter(|outcome| !is_off(**outcome, thresholds));
            let seen: Vec<Outcome> = seen.copied().collect();
            let run = |good: bool| seen.iter().rev().take_while(move |outcome| (**outcome == Success) == good);
            let turned = if up {
                [
                    (HttpFailure, thresholds.http_failures),
                    (TcpFailure, thresholds.tcp_failures),
                    (Timeout, thresholds.timeouts),
                ]
                .iter()
                .any(|(kind, limit)| *limit > 0 && run(false).filter(|seen| *seen == kind).count() >= *limit as usize)
            } else {
                thresholds.successes > 0 && run(true).count() >= thresholds.successes as usize
            };
            if turned {
                (up, since, changes) = (!up, end, changes + 1);
            }
        }
        (up, changes)
    }

    fn is_off(outcome: Outcome, thresholds: &Thresholds) -> bool {
        let limit = match outcome {
            Success => thresholds.successes,
            HttpFailure => thresholds.http_failures,
            TcpFailure => thresholds.tcp_failures,
            Timeout => thresholds.timeouts,
        };
        limit == 0
    }

    #[test]
    fn any_row_of_outcomes_ends_as_the_rules_tell_it() {
        for seed in 0..2_000_u64 {
            let draw = |place: u64, below: u64| mix(seed ^ mix(place)) % below;
            let limit = |place| draw(place, 5) as u8;
            let thresholds =
                Thresholds { successes: limit(1), http_failures: limit(2), tcp_failures: limit(3), timeouts: limit(4) };
            // Every other row has more successes, so that nodes come up again.
            let kinds = if seed % 2 == 0 { 4 } else { 7 };
            let outcome = |place| ALL.get(draw(place, kinds) as usize).copied().unwrap_or(Success);
            let outcomes: Vec<Outcome> = (10..70).map(outcome).collect();
            let (node, changes) = taken(&outcomes, &thresholds);
            assert_eq!((node.is_up(), changes.len()), told(&outcomes, &thresholds), "seed {seed} {thresholds:?}");
            let alternate = changes.iter().enumerate();
            assert!(alternate.into_iter().all(|(at, change)| (*change == Change::Down) == (at % 2 == 0)));
        }
    }
}
