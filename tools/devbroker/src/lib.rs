//! A small Kafka broker in memory: for `tollgate demo`, for tests, and for faults that a real broker cannot be asked for.
//!
//! `state` is pure (topics, logs, producers, groups; time is a value), `api` turns requests into answers, `serve` owns sockets and threads,
//! `script` says which request is to go wrong. One node, one listener, nothing on disk; groups have one member.
#![deny(unsafe_code)]
#![warn(missing_docs)]

use std::io;
use std::net::SocketAddr;

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host and port that clients are told to connect to; none is the address listened on.
    pub advertised: Option<(String, u16)>,
    /// Topics come into being when a client names them.
    pub auto_create: bool,
    /// Partitions of a topic that says no number.
    pub partitions: i32,
    /// Bytes kept per partition; the oldest batches go first.
    pub retention_bytes: usize,
    /// Bytes of one request; a larger one closes its connection.
    pub frame_bytes: usize,
}

/// A running broker; stops when dropped.
#[derive(Debug)]
pub struct Broker {}

impl Broker {
    /// Binds and serves on threads of its own.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn start(options: Options) -> io::Result<Self> {
        let _ = options;
        todo!()
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        todo!()
    }
}
