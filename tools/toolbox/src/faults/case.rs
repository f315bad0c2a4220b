//! The faults, and when they happen in a run of so many seconds.

use std::time::{Duration, Instant};

use super::parts::{Contestant, Part};
use super::watch::Watch;
use super::{Outcome, topic};
use crate::kafka::OwnCluster;

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Case {
    /// kill -9 of the leader, and its restart.
    LeaderKilled = 1,
    /// SIGSTOP of the leader, SIGCONT.
    LeaderHeld = 2,
    /// All three killed, restarted.
    AllKilled = 3,
    /// All three stopped with SIGTERM, restarted.
    AllStopped = 4,
    /// One after the other stopped and started.
    Rolling = 5,
    /// kill -9 of what clients talk to, restarted at once.
    FrontKilled = 6,
    /// SIGTERM of it, restarted when it has ended.
    FrontEnded = 7,
    /// All three killed, then the front, which is restarted before them.
    FrontKilledWhileDown = 8,
    /// Nothing.
    Undisturbed = 9,
    /// The peer's shipper killed and restarted while all three are down.
    ShipperKilledWhileDown = 10,
    /// The peer's shipper killed and restarted while Kafka is there.
    ShipperKilled = 11,
}

impl Case {
    /// The gateway's cases: the undisturbed run first, since others are compared with it.
    pub const OURS: [Self; 9] = [
        Self::Undisturbed,
        Self::LeaderKilled,
        Self::LeaderHeld,
        Self::AllKilled,
        Self::AllStopped,
        Self::Rolling,
        Self::FrontKilled,
        Self::FrontEnded,
        Self::FrontKilledWhileDown,
    ];
    /// Those of a peer with a shipper.
    pub const PEERS: [Self; 5] =
        [Self::Undisturbed, Self::AllKilled, Self::FrontKilled, Self::ShipperKilledWhileDown, Self::ShipperKilled];
    /// Those of the short form.
    pub const SHORT: [Self; 3] = [Self::LeaderKilled, Self::FrontKilled, Self::AllKilled];

    /// As on the command line.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::LeaderKilled => "leader kill -9, restarted",
            Self::LeaderHeld => "leader SIGSTOP, SIGCONT",
            Self::AllKilled => "all brokers kill -9",
            Self::AllStopped => "all brokers stopped cleanly",
            Self::Rolling => "rolling restart of the brokers",
            Self::FrontKilled => "gateway kill -9, restarted, several times",
            Self::FrontEnded => "gateway SIGTERM, restarted, several times",
            Self::FrontKilledWhileDown => "gateway kill -9 while all brokers are down",
            Self::Undisturbed => "undisturbed",
            Self::ShipperKilledWhileDown => "shipper kill -9 while all brokers are down",
            Self::ShipperKilled => "shipper kill -9, restarted, several times",
        }
    }

    /// True if the front serves without a break, so that its latency can be compared with the undisturbed run's.
    pub const fn keeps_serving(self) -> bool {
        !matches!(self, Self::FrontKilled | Self::FrontEnded | Self::FrontKilledWhileDown)
    }
}

/// When things happen in a run of so many seconds: as the long form says for 60, less for shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From the first request to the fault.
    pub until_fault: Duration,
    /// All three down.
    pub outage: Duration,
    /// One broker held.
    pub hold: Duration,
    /// The leader dead.
    pub dead: Duration,
    /// From all three down to the killing of the front or the shipper.
    pub into_outage: Duration,
    /// How often the front or the shipper is ended where that is all that happens.
    pub kills: u32,
    /// From one of these to the next.
    pub between_kills: Duration,
}

impl Times {
    /// For a run of `seconds`, half of which the `kills` are spread over.
    pub fn of(seconds: u32, kills: u32) -> Self {
        let run = Duration::from_secs(seconds.into());
        let at_most = |seconds: u64, share: Duration| Duration::from_secs(seconds).min(share);
        Self {
            until_fault: run / 4,
            outage: at_most(30, run / 2),
            hold: at_most(20, run / 3),
            dead: at_most(10, run / 6),
            into_outage: at_most(10, run / 6),
            kills,
            between_kills: run / 2 / kills,
        }
    }
}

/// What happened.
#[derive(Debug, Default)]
pub struct Story {
    /// In words.
    pub notes: Vec<String>,
    /// From when to when no broker ran at all.
    pub outage: Option<(Instant, Instant)>,
}

impl From<Vec<String>> for Story {
    fn from(notes: Vec<String>) -> Self {
        Self { notes, outage: None }
    }
}

/// A run's parts that faults are done to.
pub struct Stage<'a> {
    /// Kafka.
    pub cluster: &'a mut OwnCluster,
    /// The topic.
    pub topic: &'a str,
    /// How many partitions it has.
    pub partitions: usize,
    /// The gateway or the peer.
    pub contestant: &'a mut dyn Contestant,
    /// Told of every new process.
    pub watch: &'a Watch,
    /// When the load began.
    pub begin: Instant,
}

impl Stage<'_> {
    /// Does what the case says and gives what happened. It is over when everything runs again.
    pub fn disturb(&mut self, case: Case, times: Times) -> Outcome<Story> {
        match case {
            Case::Undisturbed => Ok(Story::default()),
            Case::LeaderKilled => self.leader_killed(times).map(Story::from),
            Case::LeaderHeld => self.leader_held(times).map(Story::from),
            Case::AllKilled => self.outage(times, |stage| stage.kill_all(), None),
            Case::AllStopped => self.outage(times, Self::stop_all, None),
            Case::Rolling => self.rolling().map(Story::from),
            Case::FrontKilled => self.repeat(times, |stage| stage.restart_killed(Part::Front)),
            Case::FrontEnded => self.repeat(times, Self::restart_ended),
            Case::FrontKilledWhileDown => self.outage(times, |stage| stage.kill_all(), Some(Part::Front)),
            Case::ShipperKilledWhileDown => self.outage(times, |stage| stage.kill_all(), Some(Part::Shipper)),
            Case::ShipperKilled => self.repeat(times, |stage| stage.restart_killed(Part::Shipper)),
        }
    }

    fn leader_killed(&mut self, times: Times) -> Outcome<Vec<String>> {
        let (partition, node) = topic::busiest_leader(self.cluster, self.topic)?;
        self.cluster.kill(node)?;
        crate::stop::pause(times.dead)?;
        let ready = self.make_whole()?;
        Ok(vec![format!("node {node}, leader of partition {partition}; {ready}")])
    }

    fn leader_held(&mut self, times: Times) -> Outcome<Vec<String>> {
        let (partition, node) = topic::busiest_leader(self.cluster, self.topic)?;
        self.cluster.hold(node)?;
        let held = crate::stop::pause(times.hold);
        self.cluster.release(node)?;
        held?;
        Ok(vec![format!("node {node}, leader of partition {partition}, held {} s", times.hold.as_secs())])
    }

    /// All three down by `down`, and up again; a part of the contestant is killed and restarted in between.
    fn outage(
        &mut self,
        times: Times,
        down: impl FnOnce(&mut Self) -> Outcome<Vec<String>>,
        victim: Option<Part>,
    ) -> Outcome<Story> {
        let begin = Instant::now();
        let mut notes = down(self)?;
        let all_down = Instant::now();
        let until = all_down + times.outage;
        if let Some(part) = victim {
            crate::stop::pause(times.into_outage)?;
            notes.extend(self.restart_killed(part)?);
        }
        crate::stop::until(until)?;
        let outage = Some((all_down, Instant::now()));
        let down_s = begin.elapsed().as_secs();
        notes.push(format!("down {down_s} s; {}", self.make_whole()?));
        Ok(Story { notes, outage })
    }

    fn kill_all(&mut self) -> Outcome<Vec<String>> {
        self.cluster.nodes().into_iter().try_for_each(|node| self.cluster.kill(node))?;
        Ok(Vec::new())
    }

    fn stop_all(&mut self) -> Outcome<Vec<String>> {
        let begin = Instant::now();
        let killed = self.cluster.stop(&self.cluster.nodes())?;
        Ok(vec![stopped(&killed, begin)])
    }

    fn rolling(&mut self) -> Outcome<Vec<String>> {
        let begin = Instant::now();
        let mut notes = Vec::new();
        for node in self.cluster.nodes() {
            let killed = self.cluster.stop(&[node])?;
            if !killed.is_empty() {
                notes.push(stopped(&killed, begin));
            }
            self.cluster.make_whole()?;
            // As an operator does it: the next one only when this one's copies have caught up.
            topic::wait_in_sync(self.cluster, self.topic, self.partitions)?;
        }
        notes.push(format!("took {:.0} s", begin.elapsed().as_secs_f64()));
        Ok(notes)
    }

    /// Does it as often as `--kills` says.
    fn repeat(&mut self, times: Times, mut end: impl FnMut(&mut Self) -> Outcome<Vec<String>>) -> Outcome<Story> {
        let (mut notes, mut at) = (Vec::new(), Vec::new());
        let first = Instant::now();
        for index in 0..times.kills {
            crate::stop::until(first + times.between_kills * index)?;
            at.push(format!("{:.3}", self.begin.elapsed().as_secs_f64()));
            notes.extend(end(self)?);
        }
        // Most restarts take equally long.
        notes.dedup();
        notes.push(format!("{} times, at {} s", times.kills, at.join(", ")));
        Ok(notes.into())
    }

    fn restart_killed(&mut self, part: Part) -> Outcome<Vec<String>> {
        if part == Part::Front {
            self.watch.follow(0);
        }
        self.contestant.kill(part)?;
        self.restart(part).map(|text| vec![text])
    }

    fn restart_ended(&mut self) -> Outcome<Vec<String>> {
        let how = self.contestant.end(Part::Front)?;
        self.watch.follow(0);
        Ok(vec![format!("{how}, {}", self.restart(Part::Front)?)])
    }

    fn restart(&mut self, part: Part) -> Outcome<String> {
        let begin = Instant::now();
        self.contestant.start(part)?;
        self.watch.follow(self.contestant.pid());
        Ok(format!("{} back after {:.1} s", format!("{part:?}").to_lowercase(), begin.elapsed().as_secs_f64()))
    }

    fn make_whole(&mut self) -> Outcome<String> {
        let begin = Instant::now();
        self.cluster.make_whole()?;
        Ok(format!("brokers back {:.0} s after their start", begin.elapsed().as_secs_f64()))
    }
}

fn stopped(killed: &[u16], begin: Instant) -> String {
    match killed {
        [] => format!("stopped within {:.1} s", begin.elapsed().as_secs_f64()),
        _ => format!("nodes {killed:?} did not stop and were killed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_the_times_that_the_long_form_names_and_no_fault_outlasts_its_run() {
        let minute = Times::of(60, 5);
        let seconds = [minute.until_fault, minute.outage, minute.hold, minute.dead].map(|time| time.as_secs());
        assert_eq!(seconds, [15, 30, 20, 10]);
        for run in [10, 20, 60, 300] {
            let Times { until_fault, outage, hold, into_outage, .. } = Times::of(run, 5);
            assert!(until_fault + outage.max(hold) <= Duration::from_secs(run.into()), "{run}");
            assert!(into_outage < outage, "{run}");
        }
    }

    #[test]
    fn numbers_name_cases() {
        let mut numbers: Vec<u8> = Case::OURS.iter().map(|case| case.number()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=9).collect::<Vec<u8>>());
    }
}
