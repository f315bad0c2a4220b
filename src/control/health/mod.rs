//! Health checks: keeps, for every upstream with `checks` that is being served, who is up; probes its nodes once there was a request
//! to it, takes what cores report of theirs, and writes the flags that cores read. What counts is decided in `upstream::health`.
//!
//! State is found by content (the checks, and the nodes): a change elsewhere leaves it alone, and a node that stays in a changed set
//! keeps its own.

mod probe;

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::probe::Probe;
use crate::base::limits::HEALTH_POLL_MS;
use crate::config::compile::Trust;
use crate::config::snapshot::{CheckKind, Checks, Snapshot, UpstreamSpec};
use crate::kafka::tls::{Roots, Tls, TlsSettings};
use crate::upstream::health::{Change, NodeHealth, Outcome, Thresholds};
use crate::upstream::watch::Report;
use crate::upstream::{NodeSet, Watch};

/// The longest sleep of a node's probes, in ms: requests may have changed its state, and with it the interval.
const LONGEST_SLEEP_MS: u64 = 1_000;

/// What the state of an upstream is found by: its checks and its nodes.
type Key = (u64, u64);

/// All checks of this gateway.
#[derive(Clone)]
pub struct Checkers {
    by_key: Arc<Mutex<HashMap<Key, Checker>>>,
    trust: Trust,
    verifying: Arc<OnceLock<Option<Tls>>>,
    any: Arc<OnceLock<Option<Tls>>>,
}

impl std::fmt::Debug for Checkers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkers({})", self.lock().len())
    }
}

/// The checks of one upstream.
struct Checker {
    spec: Arc<UpstreamSpec>,
    nodes: Arc<NodeSet>,
    watch: Arc<Watch>,
    health: Vec<NodeHealth>,
    reports: Option<Receiver<Report>>,
    /// One task for each node, once there was a request. They end with this.
    probes: Option<JoinSet<()>>,
}

/// One node that is probed.
struct Asked {
    key: Key,
    index: usize,
    probe: Probe,
    spec: Arc<UpstreamSpec>,
    watch: Arc<Watch>,
    /// As many as may be probed at once.
    slots: Arc<Semaphore>,
}

/// How a node stands, for metrics and the Control API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The object that configures the upstream: `/apisix/routes/1`.
    pub name: String,
    /// `http`, `https`, `tcp`.
    pub kind: &'static str,
    /// As configured.
    pub host: String,
    /// Its address.
    pub ip: String,
    /// Its port.
    pub port: u16,
    /// It may get requests.
    pub is_up: bool,
    /// Successes, HTTP failures, TCP failures and timeouts that count now.
    pub counts: [u8; 4],
}

impl Checkers {
    /// None yet. `trust`: whom probes over TLS trust.
    pub fn new(trust: Trust) -> Self {
        Self { by_key: Arc::default(), trust, verifying: Arc::default(), any: Arc::default() }
    }

    /// Gives a snapshot that is about to be served its watches; begins the checks of what is new in it and ends those of what is gone.
    pub fn attach(&self, snapshot: &mut Snapshot) {
        let mut by_key = self.lock();
        let mut served = HashSet::new();
        let pairs = snapshot.upstreams.iter().zip(&snapshot.node_sets);
        let watches = pairs.map(|(spec, nodes)| {
            let checks = spec.checks.as_ref().filter(|_| !nodes.nodes().is_empty())?;
            let key = (checks.content, nodes.content());
            if served.insert(key) {
                match by_key.get_mut(&key) {
                    Some(checker) => checker.spec = Arc::clone(spec),
                    None => {
                        let made = Checker::new(spec, nodes, checks, &by_key);
                        by_key.insert(key, made);
                    }
                }
            }
            by_key.get(&key).map(|checker| Arc::clone(&checker.watch))
        });
        snapshot.watches = watches.collect();
        by_key.retain(|key, _| served.contains(key));
    }

    /// Begins probes where requests have come, takes what cores report. Never ends.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(Duration::from_millis(HEALTH_POLL_MS)).await;
            let mut by_key = self.lock();
            for (key, checker) in by_key.iter_mut() {
                if checker.probes.is_none() && checker.watch.is_used() {
                    checker.probes = Some(self.begin(*key, checker));
                }
                checker.take_reports();
            }
        }
    }

    /// How every node of every checked upstream stands, in the order of their names.
    pub fn standings(&self) -> Vec<Standing> {
        let mut all: Vec<Standing> = self.lock().values().flat_map(Checker::standings).collect();
        all.sort_by(|a, b| (&a.name, &a.ip, a.port).cmp(&(&b.name, &b.ip, b.port)));
        // The same address twice in an upstream is one line.
        all.dedup_by(|a, b| (&a.name, &a.ip, a.port) == (&b.name, &b.ip, b.port));
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Checker>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, key: Key, checker: &Checker) -> JoinSet<()> {
        let Some(checks) = &checker.spec.checks else { return JoinSet::new() };
        let slots = Arc::new(Semaphore::new(checks.active.concurrency as usize));
        let mut probes = JoinSet::new();
        for (index, node) in checker.nodes.nodes().iter().enumerate() {
            // An upstream with checks has none on a Unix socket (see config::validate).
            let Some(address) = node.address.tcp() else { continue };
            let host = checks.active.host.of(&node.host, node.port, checker.spec.scheme);
            let probe = Probe::new(&checks.active, address, &host, self.tls(checks.active.kind));
            let (spec, watch) = (Arc::clone(&checker.spec), Arc::clone(&checker.watch));
            let asked = Asked { key, index, probe, spec, watch, slots: Arc::clone(&slots) };
            probes.spawn(self.clone().keep_asking(asked));
        }
        probes
    }

    /// Probes one node for as long as its upstream is served.
    async fn keep_asking(self, asked: Asked) {
        let Asked { key, index, probe, spec, watch, slots } = asked;
        let Some(Checks { active, .. }) = &spec.checks else { return };
        let mut begun = Instant::now();
        loop {
            let is_up = watch.is_up(index);
            let interval_ms = if is_up { active.healthy_interval_ms } else { active.unhealthy_interval_ms };
            let left = (begun + Duration::from_millis(interval_ms)).saturating_duration_since(Instant::now());
            if !left.is_zero() {
                tokio::time::sleep(left.min(Duration::from_millis(LONGEST_SLEEP_MS))).await;
                continue;
            }
            let Ok(_slot) = slots.acquire().await else { return };
            begun = Instant::now();
            if let Some(outcome) = probe.ask(active).await
                && let Some(checker) = self.lock().get_mut(&key)
            {
                checker.take(index, outcome, &active.rules.thresholds, "probes");
            }
        }
    }

    /// What `https` probes are made with, made once.
    fn tls(&self, kind: CheckKind) -> Option<Tls> {
        let CheckKind::Https { verify } = kind else { return None };
        let make = |roots: Option<&Roots>| {
            let made = Tls::new(TlsSettings { verify: roots, identity: None });
            made.map_err(|why| log::error!("health checks over TLS cannot be made: {why}")).ok()
        };
        if verify {
            self.verifying.get_or_init(|| make(Some(&self.trust.roots()))).clone()
        } else {
            self.any.get_or_init(|| make(None)).clone()
        }
    }
}

impl Checker {
    /// All up, but for nodes that the same checks know from before.
    fn new(spec: &Arc<UpstreamSpec>, nodes: &Arc<NodeSet>, checks: &Checks, known: &HashMap<Key, Self>) -> Self {
        let (watch, reports) = Watch::new(nodes.nodes().len(), checks.passive.as_ref());
        let before: Vec<&Self> =
            known.iter().filter(|((content, _), _)| *content == checks.content).map(|(_, one)| one).collect();
        let health = nodes.nodes().iter().enumerate().map(|(index, node)| {
            let found = before.iter().find_map(|checker| {
                let place = checker.nodes.nodes().iter().position(|other| other.address == node.address)?;
                checker.health.get(place).copied()
            });
            let health = found.unwrap_or_default();
            watch.set_up(index, health.is_up());
            health
        });
        let health = health.collect();
        if before.iter().any(|checker| checker.watch.is_used()) {
            watch.touch();
        }
        Self { spec: Arc::clone(spec), nodes: Arc::clone(nodes), watch: Arc::new(watch), health, reports, probes: None }
    }

    fn take_reports(&mut self) {
        let Some(reports) = &self.reports else { return };
        let Some(thresholds) = self.watch.passive().map(|rules| rules.thresholds) else { return };
        let reports: Vec<Report> = reports.try_iter().collect();
        for Report { node, outcome } in reports {
            self.take(node, outcome, &thresholds, "requests");
        }
        let dropped = self.watch.take_dropped();
        if dropped > 0 {
            log::warn!(
                "upstream {}: {dropped} outcomes of requests were not looked at: too many at once",
                self.spec.name
            );
        }
    }

    fn take(&mut self, index: usize, outcome: Outcome, thresholds: &Thresholds, seen_by: &str) {
        let Some(health) = self.health.get_mut(index) else { return };
        let Some(change) = health.take(outcome, thresholds) else { return };
        let (name, address) = (&self.spec.name, &self.nodes.nodes()[index].address);
        self.watch.set_up(index, change == Change::Up);
        let serving = |health: &[NodeHealth]| {
            let pairs = health.iter().zip(self.nodes.nodes());
            pairs.filter(|(health, node)| health.is_up() && node.weight > 0).count()
        };
        let up = serving(&self.health);
        match change {
            Change::Up => log::info!("upstream {name}: {address} is up again ({seen_by})"),
            Change::Down => {
                log::warn!("upstream {name}: {address} is down ({seen_by}: {outcome:?})");
                if up == 0 && self.nodes.nodes()[index].weight > 0 {
                    log::warn!("upstream {name}: no node is up, so all get requests");
                }
            }
        }
    }

    fn standings(&self) -> impl Iterator<Item = Standing> {
        let kind = match self.spec.checks.as_ref().map(|checks| checks.active.kind) {
            Some(CheckKind::Tcp) => "tcp",
            Some(CheckKind::Https { .. }) => "https",
            Some(CheckKind::Http) | None => "http",
        };
        self.nodes.nodes().iter().zip(&self.health).map(move |(node, health)| Standing {
            name: self.spec.name.clone(),
            kind,
            host: node.host.to_string(),
            ip: node.address.tcp().map_or_else(|| node.address.to_string(), |address| address.ip().to_string()),
            port: node.address.tcp().map_or(0, |address| address.port()),
            is_up: health.is_up(),
            counts: health.counts(),
        })
    }
}

#[cfg(test)]
mod tests;
