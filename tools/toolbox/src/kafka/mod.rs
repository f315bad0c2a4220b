//! `tools/kafka`: real Apache Kafka on this machine, from its published jars, without Docker.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Subcommand;

use self::cluster::{Cluster, ZOOKEEPER};
use self::layout::{DEFAULT_BASE, Place};
use self::properties::{Security, Shape};
use self::version::Version;
use crate::process::{Signal, State, take_only_idle_time};
use crate::{Outcome, wire};

mod certificates;
mod cluster;
mod jars;
mod layout;
mod own;
mod properties;
mod version;

/// Where clusters, jars and logs are kept unless said otherwise.
const ROOT: &str = "target/kafka";

/// Options of every command.
#[derive(clap::Args)]
pub struct Args {
    /// Where clusters, jars and logs are kept.
    #[arg(long, global = true, default_value = ROOT, hide_default_value = true)]
    dir: PathBuf,
    /// Which cluster, if there is more than one.
    #[arg(long, global = true, default_value = "default")]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster with nothing in it and wait until it is ready.
    Up {
        /// 2.8 comes with ZooKeeper, the others without.
        #[arg(long, value_enum, default_value = "4.1")]
        version: Version,
        /// How many brokers.
        #[arg(long, default_value_t = 1, value_parser = node_count)]
        nodes: u16,
        /// Listeners with PLAIN (bob) and SCRAM (alice).
        #[arg(long)]
        sasl: bool,
        /// Listeners with TLS: one asks for a client certificate, one has a certificate that has expired.
        #[arg(long)]
        tls: bool,
        /// SASL sessions end after so many milliseconds unless they are renewed (KIP-368).
        #[arg(long, default_value_t = 0, requires = "sasl")]
        reauth_ms: u32,
        /// The first broker's port; everything else lies up to 52 above it.
        #[arg(long, default_value_t = DEFAULT_BASE, value_parser = clap::value_parser!(u16).range(1024..65_000))]
        port_base: u16,
    },
    /// End the cluster that `up` started.
    Down,
    /// What runs, and what Kafka says of itself.
    Status,
    /// Create a topic, or show one that is there.
    Topic {
        /// The topic.
        topic: String,
        /// Partitions of a new topic.
        #[arg(long, default_value_t = 1)]
        partitions: i32,
        /// Copies of a new topic; one on each running node unless said otherwise.
        #[arg(long)]
        replication: Option<i16>,
    },
    /// How many records a topic holds, by its offsets.
    Count {
        /// The topic; one that does not exist holds 0.
        topic: String,
    },
    /// End a node as a crash would (kill -9).
    Kill(Target),
    /// Start nodes that were killed, on their old data.
    Start {
        /// Which: 1, 2, 3 or zookeeper.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        node: Option<String>,
        /// All that are not running.
        #[arg(long)]
        all: bool,
    },
    /// Hold a node without closing its connections (SIGSTOP).
    Pause(Target),
    /// Let a held node go on (SIGCONT).
    Resume {
        /// Which: 1, 2, 3 or zookeeper.
        node: String,
    },
}

/// A node, by name or by what it leads.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// Which: 1, 2, 3 or zookeeper.
    node: Option<String>,
    /// The node that leads this topic's partition 0.
    #[arg(long, value_name = "TOPIC")]
    leader_of: Option<String>,
}

impl Target {
    fn name(self, cluster: &Cluster) -> Outcome<String> {
        match (self.node, self.leader_of) {
            (Some(node), _) => Ok(node),
            (None, Some(topic)) => cluster.leader_of(&topic).map(|node| node.to_string()),
            (None, None) => Err("which node?".to_owned()),
        }
    }
}

fn node_count(text: &str) -> Outcome<u16> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("1 or 3".to_owned()),
    }
}

/// Runs one command.
pub fn run(args: Args) -> Outcome {
    let place = Place::new(&args.dir, &args.name);
    match args.command {
        Command::Up { version, nodes, sasl, tls, reauth_ms, port_base } => {
            up(&place, Shape { version, nodes, base: port_base, security: Security { sasl, tls, reauth_ms } })
        }
        Command::Down => down(&place),
        Command::Status => status(&place),
        Command::Topic { topic, partitions, replication } => {
            make_topic(&existing(&place)?, &topic, partitions, replication)
        }
        Command::Count { topic } => count(&existing(&place)?, &topic),
        Command::Kill(target) => send(&existing(&place)?, target, Signal::Kill, "killed"),
        Command::Pause(target) => send(&existing(&place)?, target, Signal::Stop, "paused"),
        Command::Resume { node } => {
            let target = Target { node: Some(node), leader_of: None };
            send(&existing(&place)?, target, Signal::Continue, "goes on")
        }
        Command::Start { node, .. } => start(&place, node),
    }
}

/// One node of the newest version for as long as this lives: for another tool.
pub struct OwnCluster {
    place: Place,
    cluster: Cluster,
}

impl OwnCluster {
    /// Starts it, and gives its address too. A cluster of this name that was left behind is ended first.
    pub fn up(name: &str, base: u16) -> Outcome<(Self, String)> {
        let place = Place::new(ROOT.as_ref(), name);
        if let Some(mut old) = Cluster::load(&place)? {
            old.down(&place)?;
        }
        let shape = Shape { version: Version::V4_1, nodes: 1, base, security: Security::default() };
        let cluster = Cluster::up(&place, shape)?;
        let address = cluster.address(1);
        Ok((Self { place, cluster }, address))
    }

    /// Leaves it only what nobody else wants of the cores, as if it had a machine of its own. Not before a load that leaves nothing: a Kafka
    /// that gets no time is one that is gone.
    pub fn give_way(&self) {
        self.pids().into_iter().for_each(take_only_idle_time);
    }

    /// Every process of it.
    pub fn pids(&self) -> Vec<i32> {
        self.cluster.states().iter().map(|(_, identity, _)| identity.pid).collect()
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        if let Err(text) = self.cluster.down(&self.place) {
            eprintln!("{text}");
        }
    }
}

fn existing(place: &Place) -> Outcome<Cluster> {
    Cluster::load(place)?.ok_or_else(|| "No Kafka was started here. tools/kafka up".to_owned())
}

fn up(place: &Place, shape: Shape) -> Outcome {
    if let Some(mut old) = Cluster::load(place)? {
        if old.is_alive() {
            return already_up(&old, &shape);
        }
        old.down(place)?;
    }
    let begin = Instant::now();
    let cluster = Cluster::up(place, shape)?;
    println!("Kafka {} is up after {:.1} s", shape.version.text(), begin.elapsed().as_secs_f64());
    show(place, &cluster);
    Ok(())
}

fn already_up(cluster: &Cluster, wanted: &Shape) -> Outcome {
    let found = cluster.shape();
    let same = (found.version, found.nodes, found.base, found.security)
        == (wanted.version, wanted.nodes, wanted.base, wanted.security);
    let text =
        format!("Kafka {} with {} node(s) on port {} is already up", found.version.text(), found.nodes, found.base);
    if same && cluster.running().len() == usize::from(found.nodes) {
        println!("{text}");
        return Ok(());
    }
    Err(format!("{text}, and not as asked for. tools/kafka down, or take another --name and --port-base."))
}

fn show(place: &Place, cluster: &Cluster) {
    for (name, identity, state) in cluster.states() {
        let at = match name.parse() {
            Ok(node) => cluster.address(node),
            Err(_) => format!("127.0.0.1:{}", layout::zookeeper_port(cluster.shape().base)),
        };
        let name = if name == ZOOKEEPER { name } else { format!("node {name}") };
        println!("  {name:<9}  {at:<15}  {:<7}  pid {}", format!("{state:?}").to_lowercase(), identity.pid);
    }
    for line in jars::ways_in(&cluster.shape()) {
        println!("  {line}");
    }
    if cluster.shape().security.tls {
        println!("  certificates in {}", place.certificates().display());
    }
    println!("  logs in {}", place.dir().display());
}

fn down(place: &Place) -> Outcome {
    match Cluster::load(place)? {
        None => println!("No Kafka was started here."),
        Some(mut cluster) => {
            cluster.down(place)?;
            println!("Kafka is down.");
        }
    }
    Ok(())
}

fn status(place: &Place) -> Outcome {
    let cluster = existing(place)?;
    println!("Kafka {} with {} node(s)", cluster.shape().version.text(), cluster.shape().nodes);
    show(place, &cluster);
    let mut seen_by_all = true;
    for (node, address) in cluster.running() {
        match wire::view(&address, None, Duration::from_secs(2)) {
            Ok(view) => {
                let ids: Vec<String> = view.brokers.iter().map(|(id, _)| id.to_string()).collect();
                println!("  node {node} sees brokers {}, controller {}", ids.join(", "), view.controller);
                seen_by_all &= ids.len() == usize::from(cluster.shape().nodes);
            }
            Err(text) => {
                println!("  node {node}: {text}");
                seen_by_all = false;
            }
        }
    }
    let is_running = |(_, _, state): &(String, _, State)| *state == State::Running;
    match seen_by_all && cluster.states().iter().all(is_running) {
        true => Ok(()),
        false => Err("The cluster is not whole.".to_owned()),
    }
}

fn make_topic(cluster: &Cluster, topic: &str, partitions: i32, replication: Option<i16>) -> Outcome {
    let running = cluster.running();
    let (_, address) = running.first().ok_or("no node is running")?;
    let copies = replication.unwrap_or(running.len() as i16);
    let made = wire::create_topic(address, topic, partitions, copies)?;
    println!("{topic} {}", if made { "is made" } else { "was there already" });
    let mut views = Vec::new();
    let end = Instant::now() + Duration::from_secs(10);
    // Brokers learn of a topic one after the other, and a client may ask any of them.
    for (_, address) in &running {
        let mut view = wire::view(address, Some(topic), Duration::from_secs(2))?;
        while !is_led(&view) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(30));
            view = wire::view(address, Some(topic), Duration::from_secs(2))?;
        }
        views.push(view);
    }
    for found in views.first().map_or(&[][..], |view| &view.partitions) {
        let (index, leader, replicas, in_sync) = (found.index, found.leader, &found.replicas, &found.in_sync);
        println!("  partition {index}: leader {leader}, replicas {replicas:?}, in sync {in_sync:?}");
    }
    if views.iter().all(is_led) { Ok(()) } else { Err(format!("{topic} has partitions without a leader")) }
}

/// True if the broker that gave this view knows a leader for every partition of the topic.
fn is_led(view: &wire::View) -> bool {
    !view.partitions.is_empty() && view.partitions.iter().all(|partition| partition.leader >= 0)
}

fn count(cluster: &Cluster, topic: &str) -> Outcome {
    let running = cluster.running();
    let (_, address) = running.first().ok_or("no node is running")?;
    println!("{}", wire::record_count(address, topic)?);
    Ok(())
}

fn send(cluster: &Cluster, target: Target, signal: Signal, done: &str) -> Outcome {
    let name = target.name(cluster)?;
    cluster.signal(&name, signal)?;
    println!("node {name} {done}");
    Ok(())
}

fn start(place: &Place, node: Option<String>) -> Outcome {
    let mut cluster = existing(place)?;
    let gone = cluster.states().into_iter().filter(|(_, _, state)| *state == State::Gone).map(|(name, ..)| name);
    let mut names = node.map_or_else(|| gone.collect(), |node| vec![node]);
    // ZooKeeper first: a broker without it does not start.
    names.sort_by_key(|name| name != ZOOKEEPER);
    let begin = Instant::now();
    cluster.start(place, &names)?;
    println!("{} up after {:.1} s", names.join(", "), begin.elapsed().as_secs_f64());
    Ok(())
}
