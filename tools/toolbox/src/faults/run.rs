//! One case in one mode, from an empty topic to the ledger.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::case::{Case, Stage, Times};
use super::gateway::{self, Gateway};
use super::ledger::{self, Fate, Promise};
use super::load::{Load, Seen};
use super::metrics::Sample;
use super::parts::{Contestant, Part};
use super::peer::Peer;
use super::pulse::Pulse;
use super::verdict::{Latency, Measured, answered_in};
use super::watch::{Watch, Watched, read_steady};
use super::{Mode, Plan, topic};
use crate::kafka::OwnCluster;
use crate::started::{Process, fresh};
use crate::{Outcome, stop};

/// The load goes on for so long after the last fault is over.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// How often a gateway is asked whether it still holds something.
const EVERY: Duration = Duration::from_millis(200);
/// A peer has no counters: it is done when no record has come for so long; for less when there is one for each response.
const QUIET: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(8)];
/// Connections whose requests are answered slowly, beside the others.
pub const SLOW: u32 = 4;
/// An answer that took longer, in microseconds, is named.
const SLOW_US: u64 = 100_000;
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
        let load = Load::start(contestant.proxy(), self.plan.connections, self.plan.rate, SLOW)?;
        let pulse = Pulse::start()?;
        let watch = Watch::start(contestant.metrics(), progress(&load, label))?;
        watch.follow(contestant.pid());
        let times = Times::of(self.plan.seconds, self.plan.kills);
        stop::until(load.begin() + times.until_fault)?;
        let (cluster, partitions) = (&mut self.cluster, self.plan.partitions as usize);
        let begin = load.begin();
        let mut stage = Stage { cluster, topic, partitions, contestant, watch: &watch, begin };
        let mut story = stage.disturb(label.case, times)?;
        let since_begin = |time: Instant| time.saturating_duration_since(begin).as_micros() as u64;
        let outage_us = story.outage.map(|(from, to)| (since_begin(from), since_begin(to)));
        let seen = self.finish_load(load, label.case)?;
        let late_us = pulse.finish();
        self.cluster.make_whole()?;
        let whole = seen.exchanges.iter().filter(|one| one.fate != Fate::Cut).count();
        let (settled_s, last) = self.settle(contestant, topic, whole as u64)?;
        let pid = contestant.pid();
        let watched = watch.finish(last.map(|sample| (pid, sample)));
        let records = topic::read_all(&self.cluster, topic)?;
        let how = contestant.end(Part::Front)?;
        if label.mode.is_some() && !how.starts_with("exit code 0") {
            story.notes.push(format!("the gateway's last end: {how}"));
        }
        let promise = if label.mode == Some(Mode::Held) { Promise::UnlessRefused } else { Promise::Always };
        let latency = Latency::of(&seen.exchanges);
        story.notes.extend(asides(&watched, latency, late_us));
        Ok(Measured {
            findings: ledger::check(&seen.exchanges, promise, &records),
            unsent: seen.unsent,
            watched: label.mode.map(|_| watched),
            latency,
            late_us,
            calm_p99: calm_p99.filter(|_| label.case != Case::Undisturbed),
            settled_s,
            answered_in_outage: outage_us.map_or(0, |outage| answered_in(&seen.exchanges, outage)),
            notes: story.notes,
        })
    }

    /// Lets the load go on to its time, and a little longer than the fault in any case; then waits for what is late.
    fn finish_load(&self, load: Load, case: Case) -> Outcome<Seen> {
        let planned = load.begin() + Duration::from_secs(self.plan.seconds.into());
        let afterwards = AFTERWARDS * u32::from(case != Case::Undisturbed);
        load.end_at(planned.max(Instant::now() + afterwards));
        while !load.is_done() {
            stop::pause(EVERY)?;
        }
        load.finish()
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

/// What helps to read a row and judges nothing.
fn asides(watched: &Watched, latency: Latency, [late_p99, late_most]: [u64; 2]) -> Vec<String> {
    let ms = |us: u64| us as f64 / 1e3;
    let mut asides = Vec::new();
    let held: Vec<String> = watched.held_responses().iter().map(|(what, count)| format!("{what} {count}")).collect();
    if !held.is_empty() {
        asides.push(format!("responses that waited for Kafka: {}", held.join(", ")));
    }
    if latency.max > SLOW_US {
        let due_s = latency.max_due as f64 / 1e6;
        asides.push(format!("the slowest answer, {:.0} ms, was due {due_s:.1} s after the begin", ms(latency.max)));
    }
    let (p99, most) = (ms(late_p99), ms(late_most));
    asides.push(format!("a sleeper on the same core woke late by p99 {p99:.1} ms, at most {most:.0} ms"));
    asides
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
