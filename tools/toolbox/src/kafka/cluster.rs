//! A cluster that was started: what is written down about it, and its processes.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::layout::{Place, node_ports, partial, zookeeper_port};
use super::properties::{self, Security, Shape};
use super::version::Version;
use super::{certificates, jars};
use crate::process::{Identity, Signal, State, spawn_detached, tail_of};
use crate::{Outcome, wire};

/// How long brokers may take until all list each other.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How often readiness is asked.
const POLL: Duration = Duration::from_millis(30);
/// How long a node may take to end by itself before it is killed: its data is thrown away anyway.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// ZooKeeper's name among the nodes.
pub const ZOOKEEPER: &str = "zookeeper";

/// What `cluster.json` holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cluster {
    version: Version,
    nodes: u16,
    base: u16,
    sasl: bool,
    tls: bool,
    #[serde(default)]
    reauth_ms: u32,
    /// By node: `1`, `2`, `3`, `zookeeper`. Also those that were killed since.
    processes: BTreeMap<String, Identity>,
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}

impl Cluster {
    /// Reads what was written down; nothing if no cluster of this name was started.
    pub fn load(place: &Place) -> Outcome<Option<Self>> {
        let path = place.state();
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{}: {error}", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_error(&path)(error)),
        }
    }

    fn save(&self, place: &Place) -> Outcome {
        let text = serde_json::to_vec_pretty(self).map_err(|error| error.to_string())?;
        fs::write(place.state(), text).map_err(file_error(&place.state()))
    }

    /// The cluster's shape.
    pub const fn shape(&self) -> Shape {
        let security = Security { sasl: self.sasl, tls: self.tls, reauth_ms: self.reauth_ms };
        Shape { version: self.version, nodes: self.nodes, base: self.base, security }
    }

    /// Every process with its name and what it does.
    pub fn states(&self) -> Vec<(String, Identity, State)> {
        self.processes.iter().map(|(name, identity)| (name.clone(), *identity, identity.state())).collect()
    }

    /// True if any process of it is still there.
    pub fn is_alive(&self) -> bool {
        self.processes.values().any(|identity| identity.state() != State::Gone)
    }

    /// The plain address of a node.
    pub fn address(&self, node: u16) -> String {
        format!("127.0.0.1:{}", node_ports(self.base, node).plain)
    }

    /// Plain addresses of the brokers that run now.
    pub fn running(&self) -> Vec<(u16, String)> {
        let is_up = |node: &u16| self.processes.get(&node.to_string()).is_some_and(|id| id.state() == State::Running);
        (1..=self.nodes).filter(is_up).map(|node| (node, self.address(node))).collect()
    }

    /// Starts a cluster of this shape with nothing in it.
    pub fn up(place: &Place, shape: Shape) -> Outcome<Self> {
        let jars = jars::ensure(place, shape.version)?;
        check_ports(&shape)?;
        let dir = place.dir();
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(file_error(&dir))?;
        }
        fs::create_dir_all(&dir).map_err(file_error(&dir))?;
        if shape.security.tls {
            certificates::make(&place.certificates())?;
        }
        write_files(place, &shape, &jars)?;
        let Security { sasl, tls, reauth_ms } = shape.security;
        let (processes, Shape { version, nodes, base, .. }) = (BTreeMap::new(), shape);
        let mut cluster = Self { version, nodes, base, sasl, tls, reauth_ms, processes };
        let started = cluster.start_everything(place, &jars);
        if let Err(text) = started {
            cluster.down(place)?;
            return Err(text);
        }
        Ok(cluster)
    }

    fn start_everything(&mut self, place: &Place, jars: &Path) -> Outcome {
        if self.version.with_zookeeper() {
            self.spawn(place, jars, ZOOKEEPER)?;
            self.wait_zookeeper(place)?;
            if self.sasl {
                jars::add_scram_user(jars, zookeeper_port(self.base))?;
            }
        }
        for node in 1..=self.nodes {
            self.spawn(place, jars, &node.to_string())?;
        }
        self.wait_ready(place, &(1..=self.nodes).collect::<Vec<_>>(), usize::from(self.nodes))
    }

    /// Starts one process that is not running and writes it down at once, so that `down` finds it whatever happens next.
    fn spawn(&mut self, place: &Place, jars: &Path, name: &str) -> Outcome {
        let properties = place.properties(name);
        let mut command = match name {
            ZOOKEEPER => jars::zookeeper(jars, &properties),
            _ => jars::broker(jars, &properties),
        };
        let child = spawn_detached(&mut command, &place.log(name))?;
        let pid = child.id() as i32;
        let identity = Identity::of(pid).ok_or_else(|| format!("node {name} ended at once"))?;
        self.processes.insert(name.to_owned(), identity);
        self.save(place)
    }

    fn wait_zookeeper(&self, place: &Place) -> Outcome {
        let address = ([127, 0, 0, 1], zookeeper_port(self.base)).into();
        let end = Instant::now() + READY_LIMIT;
        while std::net::TcpStream::connect_timeout(&address, POLL * 10).is_err() {
            self.still_alive(place, ZOOKEEPER)?;
            if Instant::now() > end {
                return Err(format!("ZooKeeper did not listen within {} s", READY_LIMIT.as_secs()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn still_alive(&self, place: &Place, name: &str) -> Outcome {
        match self.processes.get(name).map(|identity| identity.state()) {
            Some(State::Gone) | None => {
                let log = place.log(name);
                Err(format!("node {name} ended; the end of {}:\n{}", log.display(), tail_of(&log, 20)))
            }
            Some(_) => Ok(()),
        }
    }

    /// Waits until each of `nodes` lists at least `count` brokers.
    fn wait_ready(&self, place: &Place, nodes: &[u16], count: usize) -> Outcome {
        let end = Instant::now() + READY_LIMIT;
        for node in nodes {
            loop {
                let seen = wire::view(&self.address(*node), None, Duration::from_secs(1));
                if seen.as_ref().is_ok_and(|view| view.brokers.len() >= count) {
                    break;
                }
                self.still_alive(place, &node.to_string())?;
                if Instant::now() > end {
                    let seen = seen.map_or_else(|text| text, |view| format!("it lists {} brokers", view.brokers.len()));
                    let log = place.log(&node.to_string());
                    let (limit, tail) = (READY_LIMIT.as_secs(), tail_of(&log, 20));
                    return Err(format!(
                        "node {node} was not ready within {limit} s ({seen}); {}:\n{tail}",
                        log.display()
                    ));
                }
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// Ends every process of the cluster. What was written by it stays until the next `up`.
    pub fn down(&mut self, place: &Place) -> Outcome {
        let (zookeeper, brokers): (Vec<_>, Vec<_>) =
            self.states().into_iter().partition(|(name, ..)| name == ZOOKEEPER);
        for group in [brokers, zookeeper] {
            for (_, identity, _) in &group {
                identity.signal(Signal::Term);
                identity.signal(Signal::Continue);
            }
            let end = Instant::now() + STOP_LIMIT;
            for (_, identity, _) in &group {
                if !identity.wait_gone(end.saturating_duration_since(Instant::now())) {
                    identity.signal(Signal::Kill);
                    identity.wait_gone(STOP_LIMIT);
                }
            }
        }
        match fs::remove_file(place.state()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file_error(&place.state())(error)),
            _ => Ok(()),
        }
    }

    /// Starts nodes that were killed, on their old data, and waits until they know as many brokers as run.
    pub fn start(&mut self, place: &Place, names: &[String]) -> Outcome {
        let jars = jars::ensure(place, self.version)?;
        let end = Instant::now() + READY_LIMIT;
        loop {
            for name in names {
                if self.identity(name)?.state() == State::Gone {
                    self.spawn(place, &jars, name)?;
                }
                if name == ZOOKEEPER {
                    self.wait_zookeeper(place)?;
                }
            }
            let up = self.running();
            let nodes: Vec<u16> = names.iter().filter_map(|name| name.parse().ok()).collect();
            match self.wait_ready(place, &nodes, up.len()) {
                // ZooKeeper still holds the killed broker's session: until that has run out the new one is turned away.
                Err(text) if text.contains("NodeExists") && Instant::now() < end => continue,
                outcome => return outcome,
            }
        }
    }

    /// Sends a signal to one node; SIGKILL is waited for.
    pub fn signal(&self, name: &str, signal: Signal) -> Outcome {
        let identity = self.identity(name)?;
        if !identity.signal(signal) {
            return Err(format!("node {name} is not running"));
        }
        if matches!(signal, Signal::Kill) && !identity.wait_gone(STOP_LIMIT) {
            return Err(format!("node {name} (pid {}) is still there", identity.pid));
        }
        Ok(())
    }

    fn identity(&self, name: &str) -> Outcome<Identity> {
        let known = || self.processes.keys().cloned().collect::<Vec<_>>().join(", ");
        self.processes.get(name).copied().ok_or_else(|| format!("no node {name}; there are: {}", known()))
    }

    /// The node that leads a topic's partition 0.
    pub fn leader_of(&self, topic: &str) -> Outcome<u16> {
        let (_, address) = self.running().into_iter().next().ok_or("no node is running")?;
        let view = wire::view(&address, Some(topic), Duration::from_secs(5))?;
        let first = view.partitions.first().ok_or_else(|| format!("there is no topic {topic}"))?;
        u16::try_from(first.leader).map_err(|_| format!("{topic}-0 has no leader"))
    }
}

/// Fails with the name of the first port that somebody else holds.
fn check_ports(shape: &Shape) -> Outcome {
    let mut wanted: Vec<(u16, String)> = Vec::new();
    for node in 1..=shape.nodes {
        wanted
            .extend(shape.ports(node).into_iter().map(|(port, what)| (port, format!("node {node}'s {what} listener"))));
    }
    if shape.version.with_zookeeper() {
        wanted.push((zookeeper_port(shape.base), "ZooKeeper".to_owned()));
    }
    for (port, what) in wanted {
        if let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
            return Err(format!(
                "127.0.0.1:{port}, for {what}, cannot be had ({error}). End what holds it, or move Kafka with --port-base."
            ));
        }
    }
    Ok(())
}

fn write_files(place: &Place, shape: &Shape, jars: &Path) -> Outcome {
    let zookeeper = zookeeper_port(shape.base);
    let certificates = place.certificates();
    let cluster_id = random_cluster_id()?;
    for node in 1..=shape.nodes {
        let name = node.to_string();
        let data = place.data(&name);
        let text = properties::broker(shape, node, &data, &certificates, zookeeper);
        fs::write(place.properties(&name), text).map_err(file_error(&place.properties(&name)))?;
        if !shape.version.with_zookeeper() {
            let template = template(place, shape, node, jars)?;
            copy_storage(&template, &data, &cluster_id)?;
        }
    }
    if shape.version.with_zookeeper() {
        let text = properties::zookeeper(zookeeper, &place.data(ZOOKEEPER));
        fs::write(place.properties(ZOOKEEPER), text).map_err(file_error(&place.properties(ZOOKEEPER)))?;
    }
    Ok(())
}

/// A KRaft node's formatted empty storage, made once: formatting costs a JVM.
fn template(place: &Place, shape: &Shape, node: u16, jars: &Path) -> Outcome<std::path::PathBuf> {
    let dir = place.template(shape.version.text(), node, shape.security.sasl);
    if dir.is_dir() {
        return Ok(dir);
    }
    let partial = partial(&dir);
    fs::create_dir_all(&partial).map_err(file_error(&partial))?;
    let settings = partial.join("format.properties");
    let plain = Shape { security: Security::default(), ..*shape };
    let text = properties::broker(&plain, node, &partial, Path::new(""), 0);
    fs::write(&settings, text).map_err(file_error(&settings))?;
    jars::format(jars, &settings, &random_cluster_id()?, shape.security.sasl)?;
    fs::remove_file(&settings).map_err(file_error(&settings))?;
    match fs::rename(&partial, &dir) {
        Err(error) if !dir.is_dir() => Err(file_error(&dir)(error)),
        _ => Ok(dir),
    }
}

/// Copies formatted storage and makes it another cluster's: only `meta.properties` names the cluster.
fn copy_storage(template: &Path, data: &Path, cluster_id: &str) -> Outcome {
    fs::create_dir_all(data).map_err(file_error(data))?;
    for entry in fs::read_dir(template).map_err(file_error(template))? {
        let entry = entry.map_err(file_error(template))?;
        let to = data.join(entry.file_name());
        if entry.file_name() == "meta.properties" {
            let text = fs::read_to_string(entry.path()).map_err(file_error(&to))?;
            let renamed = text.lines().map(|line| match line.starts_with("cluster.id=") {
                true => format!("cluster.id={cluster_id}\n"),
                false => format!("{line}\n"),
            });
            fs::write(&to, renamed.collect::<String>()).map_err(file_error(&to))?;
        } else {
            fs::copy(entry.path(), &to).map_err(file_error(&to))?;
        }
    }
    Ok(())
}

/// 16 random bytes as Kafka writes them: base64url without padding, 22 characters.
fn random_cluster_id() -> Outcome<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0_u8; 22];
    let path = Path::new("/dev/urandom");
    let mut random = fs::File::open(path).map_err(file_error(path))?;
    std::io::Read::read_exact(&mut random, &mut bytes).map_err(file_error(path))?;
    // The last digit holds two bits of the sixteenth byte, so its lower four are zero. A leading '-' would look like an option.
    bytes[21] &= 0b11_0000;
    bytes[0] %= 52;
    Ok(bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte & 63)])).collect())
}
