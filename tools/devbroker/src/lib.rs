//! A small Kafka broker in memory: for `tollgate demo`, for tests, and for faults that a real broker cannot be asked for.
//!
//! `state`, `producers` and `groups` are pure (topics, logs, producers, groups; time is a value), `shape` looks at requests before they are
//! decoded, `answer` turns a request into an answer, `serve` owns sockets and threads, `script` says which request is to go wrong, `cluster`
//! what goes wrong with nodes and topics, `journal` keeps what came. One node unless more are asked for, all in one process over one state;
//! nothing on disk, no topic ids in Fetch; a group has one member.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod answer;
mod api;
pub mod batch;
mod cluster;
mod code;
mod groups;
mod journal;
mod nodes;
mod producers;
mod script;
mod serve;
mod shape;
mod state;
mod versions;

pub use api::Api;
pub use cluster::Appended;
pub use journal::{Seen, SentBatch};
pub use producers::{Active, ProducerState};
pub use script::{Fault, Script};
pub use versions::Versions;

use bytes::Bytes;
use cluster::Sockets;
use serve::Shared;
use state::{Limits, State};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Last version of Produce that names topics.
const LAST_WITH_NAMES: i16 = 12;

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one. Further nodes listen on the ports behind it.
    pub listen: SocketAddr,
    /// Host and port that clients are told to connect to; none is the address listened on. Further nodes are at the ports behind it.
    pub advertised: Option<(String, u16)>,
    /// Nodes of the cluster, numbered from 1 on. Partitions are led in turn.
    pub nodes: u16,
    /// Produce up to version 13, which names topics by their ids.
    pub topic_ids: bool,
    /// Highest versions of requests that are advertised and answered, where they differ from the usual ones.
    pub versions: Versions,
    /// Requests that [`Broker::requests`] remembers.
    pub journal: usize,
    /// Topics come into being when a client asks for them by name.
    pub auto_create: bool,
    /// Partitions of a topic that says no number.
    pub partitions: i32,
    /// Bytes kept per partition; the oldest batches go first.
    pub retention_bytes: usize,
    /// Bytes of one batch; a larger one is answered with MESSAGE_TOO_LARGE. Kafka's default is 1,048,588.
    pub batch_bytes: usize,
    /// Bytes of one request; a larger one closes its connection.
    pub frame_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertised: None,
            nodes: 1,
            topic_ids: false,
            versions: Versions::default(),
            journal: 0,
            auto_create: true,
            partitions: 1,
            retention_bytes: 64 * 1024 * 1024,
            batch_bytes: 1_048_588,
            frame_bytes: 16 * 1024 * 1024,
        }
    }
}

/// A running broker, or a cluster of them; stops when dropped.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    sockets: Sockets,
}

impl Broker {
    /// Binds and serves on threads of its own.
    ///
    /// # Errors
    /// An address cannot be listened on, or a thread not be started.
    pub fn start(options: Options) -> io::Result<Self> {
        let limits = Limits {
            partitions: options.partitions,
            retention_bytes: options.retention_bytes,
            batch_bytes: options.batch_bytes,
        };
        let mut state = State::new(limits);
        if !options.topic_ids {
            state.versions.cap(Api::Produce, LAST_WITH_NAMES);
        }
        state.versions.cap_as(&options.versions);
        let (listeners, addrs) = cluster::bind(&options)?;
        state.nodes = cluster::nodes(&options, &addrs);
        let shared = Shared::new(options, state);
        let sockets = Sockets::new(addrs);
        let broker = Self { shared, sockets };
        for (listener, node) in listeners.into_iter().zip(1..) {
            broker.listen(node, listener)?;
        }
        Ok(broker)
    }

    /// The address the first node listens on.
    pub fn addr(&self) -> SocketAddr {
        self.sockets.addrs[0]
    }

    /// What is to go wrong.
    pub fn script(&self) -> &Script {
        &self.shared.script
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// Kafka's error code: 17 name, 36 there already, 37 number of partitions, 44 too many topics.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), i16> {
        self.shared.state().create_topic(name, partitions).map(|_| ())
    }

    /// Forgets a topic and what it holds; false if there is none. Created again, it has another id.
    pub fn delete_topic(&self, name: &str) -> bool {
        self.shared.state().topics.remove(name).is_some()
    }

    /// Appends a batch as a Produce would; the offset of its first record.
    ///
    /// # Errors
    /// Kafka's error code.
    pub fn append(&self, topic: &str, partition: i32, batch: &[u8], wall_ms: i64) -> Result<i64, i16> {
        let appended = self.shared.state().append(topic, partition, batch, wall_ms);
        self.shared.wake();
        appended
    }

    /// First offset kept and one past the last, of one partition.
    pub fn offsets(&self, topic: &str, partition: i32) -> Option<(i64, i64)> {
        self.shared.state().log(topic, partition).map(|log| (log.start(), log.end()))
    }

    /// The batches of one partition as they lie in its log, oldest first.
    pub fn batches(&self, topic: &str, partition: i32) -> Vec<Bytes> {
        let state = self.shared.state();
        state.log(topic, partition).map(|log| log.batches().map(|b| b.bytes.clone()).collect()).unwrap_or_default()
    }

    /// Closes every connection that is open now; new ones are taken.
    pub fn cut_connections(&self) {
        self.shared.cut_connections(None);
    }

    /// Stops: closes the listeners and every connection. What was stored is gone.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shared.stop(&self.sockets.knocks());
        self.sockets.join_all();
    }
}
