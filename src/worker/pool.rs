//! A core's idle upstream connections, newest first, by address and by how they are secured. Which node is asked is decided in `upstream`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use crate::io::deadline::{Deadline, Deadlines};
use crate::io::socket::{Socket, Target, connect};
use crate::io::tls;
use crate::kafka::Tls;
use crate::kafka::tls::explain_upstream;

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
    /// Under TLS, who the peer was asked to be; else empty.
    name: Box<str>,
}

impl UpstreamConnection {
    /// Connects within `timeout_ms`, the handshake with `name` included where the pool's connections are under TLS.
    ///
    /// # Errors
    /// What the kernel said; `TimedOut` after the deadline; of kind `Other`, in words, why the handshake failed.
    pub async fn open(pool: &NodePool, name: &str, timeout_ms: u64, deadlines: &Rc<Deadlines>) -> io::Result<Self> {
        let began_ms = deadlines.now_ms();
        let mut socket = connect(&pool.target, timeout_ms, deadlines).await?;
        let deadline = deadlines.watch(socket.fd());
        if let Some(tls) = &pool.tls {
            let spent_ms = deadlines.now_ms().saturating_sub(began_ms);
            deadline.set_ms(timeout_ms.saturating_sub(spent_ms).max(1));
            // Apart: few upstreams need it, and every exchange would have the room. A failure closes the socket in there; nothing is waited for
            // before the deadline goes too.
            let secured = Box::pin(tls::handshake(socket, tls, name, explain_upstream)).await;
            if deadline.fired() {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            deadline.clear();
            socket = secured.map_err(io::Error::other)?;
        }
        Ok(Self { deadline, socket, requests: 0, name: if pool.tls.is_some() { name.into() } else { "".into() } })
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
    /// How they are secured: `scheme: https`.
    pub tls: Option<Tls>,
    idle: RefCell<Vec<Idle>>,
}

impl NodePool {
    /// An empty one.
    pub fn new(target: Target, tls: Option<Tls>) -> Self {
        Self { target, tls, idle: RefCell::default() }
    }

    /// A connection with `name` that can be used now, newest first. With `certain` each is looked at first (a system call), because a
    /// request that must not be sent twice needs a peer that is still there.
    pub fn take(&self, name: &str, now_ms: u64, certain: bool) -> Option<UpstreamConnection> {
        loop {
            let mut all = self.idle.borrow_mut();
            let place = all.iter().rposition(|idle| *idle.connection.name == *name)?;
            let idle = all.remove(place);
            drop(all);
            let rested_ms = now_ms.saturating_sub(idle.since_ms);
            if (!certain && rested_ms < FRESH_MS) || idle.connection.socket.is_quiet() {
                return Some(idle.connection);
            }
        }
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

/// Where to, and how it is secured.
type Way = (Target, Option<Tls>);

/// All pools of a core. A pool outlives the snapshot that made it for as long as it holds connections.
#[derive(Debug, Default)]
pub struct Pools {
    by_way: RefCell<HashMap<Way, Rc<NodePool>>>,
}

impl Pools {
    /// The pool of `target`, for connections that are secured so.
    pub fn of(&self, target: &Target, tls: Option<&Tls>) -> Rc<NodePool> {
        let make = || Rc::new(NodePool::new(target.clone(), tls.cloned()));
        let key = (target.clone(), tls.cloned());
        Rc::clone(self.by_way.borrow_mut().entry(key).or_insert_with(make))
    }

    /// Closes what rested too long or was closed by its peer, forgets pools that nothing names. Gives the number left.
    pub fn sweep(&self, now_ms: u64) -> usize {
        let mut left = 0;
        self.by_way.borrow_mut().retain(|_, pool| {
            let mut idle = pool.idle.borrow_mut();
            idle.retain(|one| now_ms.saturating_sub(one.since_ms) < one.timeout_ms && one.connection.socket.is_quiet());
            left += idle.len();
            !idle.is_empty() || Rc::strong_count(pool) > 1
        });
        left
    }

    /// Closes every idle connection.
    pub fn close(&self) {
        for pool in self.by_way.borrow().values() {
            pool.idle.borrow_mut().clear();
        }
    }
}
