//! A core's idle upstream connections, newest first, by address. Which node is asked is decided in `upstream`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use crate::io::deadline::{Deadline, Deadlines};
use crate::io::socket::{Socket, Target, connect};

/// An idle connection that has rested longer than this is asked whether it still lives before it is used, in milliseconds.
const FRESH_MS: u64 = 50;

/// A connection to an upstream.
#[derive(Debug)]
pub struct UpstreamConnection {
    /// Its deadline; goes before the socket closes.
    pub deadline: Deadline,
    /// The socket.
    pub socket: Socket,
    /// Requests sent on it so far.
    pub requests: u32,
}

impl UpstreamConnection {
    /// Connects within `timeout_ms`.
    ///
    /// # Errors
    /// What the kernel said; `TimedOut` after the deadline.
    pub async fn open(target: &Target, timeout_ms: u64, deadlines: &Rc<Deadlines>) -> io::Result<Self> {
        let socket = connect(target, timeout_ms, deadlines).await?;
        let deadline = deadlines.watch(socket.fd());
        Ok(Self { deadline, socket, requests: 0 })
    }

    /// True if it was used before: an end without an answer may then be the server's idle timeout.
    pub const fn is_reused(&self) -> bool {
        self.requests > 1
    }
}

#[derive(Debug)]
struct Idle {
    connection: UpstreamConnection,
    since_ms: u64,
    timeout_ms: u64,
}

/// The idle connections to one address.
#[derive(Debug)]
pub struct NodePool {
    /// Where they lead.
    pub target: Target,
    idle: RefCell<Vec<Idle>>,
}

impl NodePool {
    /// A connection that can be used now, newest first. With `certain` each is looked at first (a system call), because a
    /// request that must not be sent twice needs a peer that is still there.
    pub fn take(&self, now_ms: u64, certain: bool) -> Option<UpstreamConnection> {
        while let Some(idle) = self.idle.borrow_mut().pop() {
            let rested_ms = now_ms.saturating_sub(idle.since_ms);
            if (!certain && rested_ms < FRESH_MS) || idle.connection.socket.is_quiet() {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps a connection for reuse, at most `size` of them, each for `timeout_ms`.
    pub fn put(&self, connection: UpstreamConnection, size: usize, timeout_ms: u64, now_ms: u64) {
        connection.deadline.clear();
        connection.deadline.clear_send();
        let mut idle = self.idle.borrow_mut();
        if idle.len() < size {
            idle.push(Idle { connection, since_ms: now_ms, timeout_ms });
        }
    }
}

/// All pools of a core. A pool outlives the snapshot that made it for as long as it holds connections.
#[derive(Debug, Default)]
pub struct Pools {
    by_target: RefCell<HashMap<Target, Rc<NodePool>>>,
}

impl Pools {
    /// The pool of `target`.
    pub fn of(&self, target: &Target) -> Rc<NodePool> {
        let mut pools = self.by_target.borrow_mut();
        Rc::clone(
            pools
                .entry(target.clone())
                .or_insert_with(|| Rc::new(NodePool { target: target.clone(), idle: RefCell::default() })),
        )
    }

    /// Closes what rested too long or was closed by its peer, forgets pools that nothing names. Gives the number left.
    pub fn sweep(&self, now_ms: u64) -> usize {
        let mut left = 0;
        self.by_target.borrow_mut().retain(|_, pool| {
            let mut idle = pool.idle.borrow_mut();
            idle.retain(|one| now_ms.saturating_sub(one.since_ms) < one.timeout_ms && one.connection.socket.is_quiet());
            left += idle.len();
            !idle.is_empty() || Rc::strong_count(pool) > 1
        });
        left
    }

    /// Closes every idle connection.
    pub fn close(&self) {
        for pool in self.by_target.borrow().values() {
            pool.idle.borrow_mut().clear();
        }
    }
}
