//! What happens to a cluster at run time, for tests: nodes that go down, stand still and come back, leaders that move, topics that are made
//! again, producers that are forgotten, limits and versions that change; and what was appended and asked so far.

use crate::nodes::Node;
use crate::producers::{Active, ProducerState};
use crate::{Api, Broker, Options, Seen};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long taking a node's port again is tried.
const BIND_PATIENCE: Duration = Duration::from_secs(5);
/// How long a knock on an own listener may take.
const KNOCK_WAIT: Duration = Duration::from_secs(2);

/// A batch in a partition's log: who wrote it and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Its records.
    pub records: i32,
    /// Its producer; -1 without idempotence.
    pub producer_id: i64,
    /// The producer's epoch.
    pub epoch: i16,
    /// Sequence of its first record.
    pub base_sequence: i32,
    /// When it was appended.
    pub at: Instant,
}

/// The nodes' addresses and accepting threads, in the order of their numbers.
#[derive(Debug)]
pub struct Sockets {
    pub addrs: Vec<SocketAddr>,
    accepting: Mutex<Vec<Option<JoinHandle<()>>>>,
}

impl Sockets {
    pub fn new(addrs: Vec<SocketAddr>) -> Self {
        let accepting = Mutex::new(addrs.iter().map(|_| None).collect());
        Self { addrs, accepting }
    }

    /// Addresses that reach our own listeners, also where they listen on all.
    pub fn knocks(&self) -> Vec<SocketAddr> {
        self.addrs.iter().map(knock).collect()
    }

    pub fn join_all(&mut self) {
        let accepting = self.accepting.get_mut().unwrap_or_else(PoisonError::into_inner);
        for thread in accepting.iter_mut().filter_map(Option::take) {
            let _ = thread.join();
        }
    }

    fn swap(&self, at: usize, thread: Option<JoinHandle<()>>) -> Option<JoinHandle<()>> {
        let mut accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        accepting.get_mut(at).and_then(|place| std::mem::replace(place, thread))
    }
}

fn knock(addr: &SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// A listener per node.
pub fn bind(options: &Options) -> io::Result<(Vec<TcpListener>, Vec<SocketAddr>)> {
    let mut listeners = Vec::new();
    let mut addrs = Vec::new();
    for behind in 0..options.nodes.max(1) {
        let port = options.listen.port();
        let port = if port == 0 { 0 } else { port.saturating_add(behind) };
        let listener = TcpListener::bind(SocketAddr::new(options.listen.ip(), port))?;
        addrs.push(listener.local_addr()?);
        listeners.push(listener);
    }
    Ok((listeners, addrs))
}

/// The nodes as clients are told of them.
pub fn nodes(options: &Options, addrs: &[SocketAddr]) -> Vec<Node> {
    let node = |(addr, behind): (&SocketAddr, u16)| {
        let (host, port) = match &options.advertised {
            Some((host, port)) => (host.clone(), port.saturating_add(behind)),
            None => (addr.ip().to_string(), addr.port()),
        };
        Node { id: i32::from(behind) + 1, host, port, up: true, frozen: false }
    };
    addrs.iter().zip(0..).map(node).collect()
}

impl Broker {
    pub(crate) fn listen(&self, node: i32, listener: TcpListener) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(format!("devbroker-accept-{node}"))
            .spawn(move || shared.accept(node, &listener))?;
        self.sockets.swap(index(node), Some(thread));
        Ok(())
    }

    /// The address of every node, by number from 1 on.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.sockets.addrs
    }

    /// Takes a node down: nobody listens on its port, its connections are cut, Metadata does not name it. Its partitions keep their leader;
    /// [`Broker::move_leader`] is the controller. What is in its logs stays, as if it was on a disk.
    pub fn set_down(&self, node: i32) {
        let was_up = self.shared.state().node_mut(node).is_some_and(|node| std::mem::replace(&mut node.up, false));
        let Some(addr) = self.sockets.addrs.get(index(node)).filter(|_| was_up) else { return };
        let _ = TcpStream::connect_timeout(&knock(addr), KNOCK_WAIT);
        if let Some(thread) = self.sockets.swap(index(node), None) {
            let _ = thread.join();
        }
        self.shared.cut_connections(Some(node));
    }

    /// Brings a node up again, at the same address.
    ///
    /// # Errors
    /// Its port was taken by somebody else.
    pub fn set_up(&self, node: i32) -> io::Result<()> {
        let Some(addr) = self.sockets.addrs.get(index(node)) else { return Ok(()) };
        let until = Instant::now() + BIND_PATIENCE;
        let listener = loop {
            match TcpListener::bind(addr) {
                Ok(listener) => break listener,
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        if let Some(node) = self.shared.state().node_mut(node) {
            node.up = true;
        }
        self.listen(node, listener)
    }

    /// Lets a node stand still, as SIGSTOP does, or go on. What was asked meanwhile is answered then.
    pub fn set_frozen(&self, node: i32, frozen: bool) {
        if let Some(node) = self.shared.state().node_mut(node) {
            node.frozen = frozen;
        }
        self.shared.wake();
    }

    /// Takes every node down and brings it up again, with this left of the producers.
    ///
    /// # Errors
    /// A port was taken by somebody else.
    pub fn restart(&self, keep: ProducerState) -> io::Result<()> {
        let nodes = 1..=self.sockets.addrs.len() as i32;
        nodes.clone().for_each(|node| self.set_down(node));
        self.shared.state().logs_mut().for_each(|log| log.producers.keep(keep));
        nodes.into_iter().try_for_each(|node| self.set_up(node))
    }

    /// Forgets every producer, as `producer.id.expiration.ms` does; connections stay.
    pub fn expire_producers(&self) {
        self.shared.state().logs_mut().for_each(|log| log.producers.keep(ProducerState::Nothing));
    }

    /// An election: `node` leads from now on; -1 is nobody. False if there is no such partition.
    pub fn move_leader(&self, topic: &str, partition: i32, node: i32) -> bool {
        let mut state = self.shared.state();
        let Some(log) = state.log_mut(topic, partition) else { return false };
        log.leader = node;
        log.leader_epoch += 1;
        true
    }

    /// Whether NOT_LEADER_OR_FOLLOWER says who leads, where the request's version has a place for it (KIP-951). It does at first.
    pub fn set_leader_hints(&self, on: bool) {
        self.shared.state().leader_hints = on;
    }

    /// Advertises and answers `api` up to this version only; -1: not at all.
    pub fn cap_version(&self, api: Api, most: i16) {
        self.shared.state().versions.cap(api, most);
    }

    /// Bytes of one batch from now on (`max.message.bytes`).
    pub fn set_batch_bytes(&self, bytes: usize) {
        self.shared.state().limits.batch_bytes = bytes;
    }

    /// What a partition's leader remembers of producers.
    pub fn producers(&self, topic: &str, partition: i32) -> Vec<Active> {
        let state = self.shared.state();
        state.log(topic, partition).map(|log| log.producers.active().collect()).unwrap_or_default()
    }

    /// The batches of one partition, oldest first.
    pub fn appended(&self, topic: &str, partition: i32) -> Vec<Appended> {
        let state = self.shared.state();
        let of = |stored: &crate::state::Stored| Appended {
            base_offset: stored.base_offset,
            records: stored.head.count,
            producer_id: stored.head.producer_id,
            epoch: stored.head.producer_epoch,
            base_sequence: stored.head.base_sequence,
            at: stored.at,
        };
        state.log(topic, partition).map(|log| log.batches().map(of).collect()).unwrap_or_default()
    }

    /// The newest requests, oldest first; [`Options::journal`] says how many are remembered.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.journal()
    }
}

/// Where a node stands in lists.
fn index(node: i32) -> usize {
    usize::try_from(node - 1).unwrap_or(usize::MAX)
}
