//! One case in one mode, from an empty topic to the ledger.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::case::{Case, Stage, Times};
use super::gateway::{self, Gateway};
use super::ledger::{self, Promise};
use super::load::Load;
use super::metrics::Sample;
use super::parts::{Contestant, Part, Process, fresh};
use super::peer::Peer;
use super::verdict::{Latency, Measured};
use super::watch::{Watch, read_steady};
use super::{Mode, Plan, stop, topic};
use crate::Outcome;
use crate::kafka::OwnCluster;

/// The load goes on for so long after the last fault is over.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// How often a gateway is asked whether it still holds something.
const EVERY: Duration = Duration::from_millis(200);
/// A peer has no counters: it is done when no record has come for so long; for less when there is one for each response.
const QUIET: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(8)];
/// How often a progress line is printed, in seconds.
const PROGRESS_S: u64 = 10;

/// What all rows share.
pub struct Bench {
    /// What was asked for.
    pub plan: Plan,
    /// Kafka.
    pub cluster: OwnCluster,
    /// The upstream.
    pub upstream: Process,
    /// Where rows keep their files.
    pub dir: PathBuf,
}

/// A row's name and place among the others.
#[derive(Clone, Debug)]
pub struct Label {
    /// What goes wrong.
    pub case: Case,
    /// How records are made; nothing for the peer.
    pub mode: Option<Mode>,
    /// From 1.
    pub round: u32,
    /// `[3/27]` and how long the rest takes, about.
    pub place: String,
}

impl Bench {
    /// Runs it.
    pub fn row(&mut self, label: &Label, calm_p99: Option<u64>) -> Outcome<Measured> {
        let mode = label.mode.map_or("peer", Mode::text);
        let name = format!("{}-{mode}-{}", label.case.number(), label.round);
        let dir = fresh(&self.dir.join(&name))?;
        self.upstream.still_runs().map_err(|text| format!("the upstream: {text}"))?;
        self.cluster.make_whole()?;
        let topic = format!("faults-{name}-{}", std::process::id());
        topic::make(&self.cluster, &topic, self.plan.partitions)?;
        let mut contestant = self.contestant(label.mode, &dir, &topic)?;
        let measured = self.measure(label, contestant.as_mut(), &topic, calm_p99)?;
        if measured.faults(label.case, label.mode).is_empty() {
            // What a failed row wrote is kept for whoever looks for the reason.
            let _ = fs::remove_dir_all(&dir);
        }
        Ok(measured)
    }

    fn contestant(&self, mode: Option<Mode>, dir: &Path, topic: &str) -> Outcome<Box<dyn Contestant>> {
        let (ports, brokers) = (self.plan.ports(), self.cluster.addresses());
        let Some(mode) = mode else { return Ok(Box::new(Peer::up(dir, ports, topic, &brokers)?)) };
        let route = gateway::route(mode, topic, &brokers, ports.upstream)?;
        Ok(Box::new(Gateway::up(&self.plan.tollgate, dir, ports, self.plan.workers, &route)?))
    }

    fn measure(
        &mut self,
        label: &Label,
        contestant: &mut dyn Contestant,
        topic: &str,
        calm_p99: Option<u64>,
    ) -> Outcome<Measured> {
        let load = Load::start(contestant.proxy(), self.plan.connections, self.plan.rate)?;
        let watch = Watch::start(contestant.metrics(), progress(&load, label))?;
        watch.follow(contestant.pid());
        let times = Times::of(self.plan.seconds);
        stop::until(load.begin() + times.until_fault)?;
        let (cluster, partitions) = (&mut self.cluster, self.plan.partitions as usize);
        let mut notes = Stage { cluster, topic, partitions, contestant, watch: &watch }.disturb(label.case, times)?;
        let planned = load.begin() + Duration::from_secs(self.plan.seconds.into());
        let end = planned.max(Instant::now() + AFTERWARDS * u32::from(label.case != Case::Undisturbed));
        load.end_at(end);
        while !load.is_done() {
            stop::pause(EVERY)?;
        }
        let seen = load.finish()?;
        self.cluster.make_whole()?;
        let whole = seen.exchanges.iter().filter(|one| one.fate != ledger::Fate::Cut).count();
        let (settled_s, last) = self.settle(contestant, topic, whole as u64)?;
        let pid = contestant.pid();
        let watched = watch.finish(last.map(|sample| (pid, sample)));
        let records = topic::read_all(&self.cluster, topic)?;
        let how = contestant.end(Part::Front)?;
        if label.mode.is_some() && !how.starts_with("exit code 0") {
            notes.push(format!("the gateway's last end: {how}"));
        }
        let held: Vec<String> =
            watched.held_responses().iter().map(|(what, count)| format!("{what} {count}")).collect();
        if !held.is_empty() {
            notes.push(format!("responses that waited for Kafka: {}", held.join(", ")));
        }
        let promise = if label.mode == Some(Mode::Held) { Promise::UnlessRefused } else { Promise::Always };
        Ok(Measured {
            findings: ledger::check(&seen.exchanges, promise, &records),
            unsent: seen.unsent,
            watched: label.mode.map(|_| watched),
            latency: Latency::of(&seen.exchanges),
            calm_p99: calm_p99.filter(|_| label.case != Case::Undisturbed),
            settled_s,
            notes,
        })
    }

    /// Waits until nothing is on its way any more. Gives the seconds that took, and the gateway's last numbers.
    fn settle(&self, contestant: &dyn Contestant, topic: &str, whole: u64) -> Outcome<(Option<f64>, Option<Sample>)> {
        let begin = Instant::now();
        let limit = Duration::from_secs(self.plan.settle.into());
        let Some(metrics) = contestant.metrics() else {
            let quiet = self.wait_quiet(topic, limit, whole)?;
            return Ok((quiet.then(|| begin.elapsed().as_secs_f64()), None));
        };
        // The cores publish their numbers every 100 ms: what they say at once may be from before the last request.
        stop::pause(EVERY)?;
        let mut last = None;
        let settled = stop::poll(limit, EVERY, || {
            last = read_steady(metrics).or_else(|| last.take());
            Ok(last.as_ref().is_some_and(|sample| sample.sum().held == 0))
        })?;
        Ok((settled.then(|| begin.elapsed().as_secs_f64()), last))
    }

    fn wait_quiet(&self, topic: &str, limit: Duration, whole: u64) -> Outcome<bool> {
        let (mut before, mut since) = (0, Instant::now());
        stop::poll(limit, EVERY, || {
            let now: i64 = topic::ends(&self.cluster.any_address()?, topic).map_or(before, |ends| ends.values().sum());
            if now != before {
                (before, since) = (now, Instant::now());
            }
            Ok(since.elapsed() > QUIET[usize::from(now as u64 >= whole)])
        })
    }
}

/// Prints how far a row is, now and then.
fn progress(load: &Load, label: &Label) -> impl FnMut() + Send + 'static {
    let (counts, begin, label) = (load.progress(), load.begin(), label.clone());
    let mut said = 0;
    move || {
        let seconds = begin.elapsed().as_secs();
        if seconds >= said + PROGRESS_S {
            said = seconds;
            let (whole, cut) = counts();
            let mode = label.mode.map_or("peer", Mode::text);
            eprintln!("{} {mode}, {}: {seconds} s, {whole} answered, {cut} cut", label.place, label.case.text());
        }
    }
}
