//! What the cores and the control thread share about the nodes of one upstream with `checks`. `control` writes the flags, cores only
//! read them; cores report, `control` only takes. Nobody waits for anybody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::health::{Outcome, Rules};
use crate::base::limits::HEALTH_REPORTS_WAITING;

/// What became of a request to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Position in the node set.
    pub node: usize,
    /// For or against it.
    pub outcome: Outcome,
}

/// One upstream's.
#[derive(Debug)]
pub struct Watch {
    up: Box<[AtomicBool]>,
    used: AtomicBool,
    passive: Option<(Rules, SyncSender<Report>)>,
    dropped: AtomicU64,
}

impl Watch {
    /// For `count` nodes, all up. With `passive` rules requests are reported to the receiver.
    pub fn new(count: usize, passive: Option<&Rules>) -> (Self, Option<Receiver<Report>>) {
        let (passive, reports) = passive
            .map(|rules| {
                let (sender, receiver) = sync_channel(HEALTH_REPORTS_WAITING);
                ((rules.clone(), sender), receiver)
            })
            .unzip();
        let up = (0..count).map(|_| AtomicBool::new(true)).collect();
        (Self { up, used: AtomicBool::new(false), passive, dropped: AtomicU64::new(0) }, reports)
    }

    /// True if the node may get requests.
    pub fn is_up(&self, node: usize) -> bool {
        self.up.get(node).is_none_or(|up| up.load(Ordering::Relaxed))
    }

    /// Control: the node may get requests, or not.
    pub fn set_up(&self, node: usize, up: bool) {
        self.up[node].store(up, Ordering::Relaxed);
    }

    /// A core: a request is there.
    pub fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// True once there was a request: checks begin then.
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// `checks.passive`.
    pub fn passive(&self) -> Option<&Rules> {
        self.passive.as_ref().map(|(rules, _)| rules)
    }

    /// A core: something became of a request. If too many reports wait this one is counted and lost: the others say the same.
    pub fn report(&self, report: Report) {
        if let Some((_, sender)) = &self.passive
            && sender.try_send(report).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Control: reports that were lost since the last time.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::health::Thresholds;
    use super::*;

    fn rules() -> Rules {
        let thresholds = Thresholds { successes: 1, http_failures: 1, tcp_failures: 1, timeouts: 1 };
        Rules { healthy_statuses: vec![200], unhealthy_statuses: vec![500], thresholds }
    }

    #[test]
    fn nodes_are_up_until_control_says_otherwise() {
        let (watch, reports) = Watch::new(2, None);
        watch.set_up(1, false);
        assert_eq!((watch.is_up(0), watch.is_up(1), reports.is_none()), (true, false, true));
        assert!(!watch.is_used());
        watch.touch();
        assert!(watch.is_used());
    }

    #[test]
    fn a_full_channel_loses_the_newest_report_and_counts_it() {
        let (watch, reports) = Watch::new(1, Some(&rules()));
        for _ in 0..HEALTH_REPORTS_WAITING + 3 {
            watch.report(Report { node: 0, outcome: Outcome::Timeout });
        }
        assert_eq!((watch.take_dropped(), watch.take_dropped()), (3, 0));
        assert_eq!(reports.unwrap().try_iter().count(), HEALTH_REPORTS_WAITING);
    }
}
