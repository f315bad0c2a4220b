//! A snapshot with what this core keeps for it: balancers, pools, lanes. What outlives the snapshot is found by content.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::core::Core;
use super::pool::NodePool;
use super::ship::Ship;
use crate::config::publish::Board;
use crate::config::snapshot::{Snapshot, UpstreamSpec, authority};
use crate::io::socket::Target;
use crate::kafka::LaneId;
use crate::upstream::{Address, Balancer, NodeSet, Watch};

/// What a core keeps for one upstream.
#[derive(Debug)]
pub struct UpstreamState {
    content: u64,
    /// The nodes with their addresses.
    pub nodes: Arc<NodeSet>,
    /// Who is up, if the upstream has `checks`.
    pub watch: Option<Arc<Watch>>,
    /// When each node's success was last reported; the core's clock, in ms. Empty without passive checks.
    pub success_said_ms: Vec<Cell<u64>>,
    /// Whose turn it is.
    pub balancer: RefCell<Balancer>,
    /// When it was last said that a request had no key for `chash`; the core's clock, in ms.
    pub key_missing_said_ms: Cell<Option<u64>>,
    /// When it was last said why a handshake with a node failed; the core's clock, in ms.
    pub tls_failure_said_ms: Cell<Option<u64>>,
    /// Bytes of the last answer whose length was known, the head with it.
    pub answer_bytes: Cell<usize>,
    /// Idle connections, in the order of `nodes`.
    pub pools: Vec<Rc<NodePool>>,
    /// `$upstream_addr` of each node.
    pub address_texts: Vec<String>,
    /// The Host that `pass_host: node` sends to each.
    pub authorities: Vec<String>,
}

/// What requests are served from until the next swap.
pub struct Live {
    /// The compiled configuration.
    pub snapshot: Arc<Snapshot>,
    /// By `UpstreamIndex`.
    pub upstreams: Vec<Rc<UpstreamState>>,
    /// By `LoggerIndex`.
    pub lanes: Vec<LaneId>,
    lane_uses: Rc<LaneUses>,
    ship: Rc<Ship>,
    board: Arc<Board>,
}

/// How many [`Live`]s name each lane: a lane is retired when the last exchange that may still write to it has ended.
#[derive(Debug, Default)]
struct LaneUses {
    counts: RefCell<HashMap<LaneId, usize>>,
}

impl LaneUses {
    fn add(&self, lanes: &[LaneId]) {
        let mut counts = self.counts.borrow_mut();
        lanes.iter().for_each(|lane| *counts.entry(*lane).or_default() += 1);
    }

    /// Gives the lanes that nobody names any more.
    fn remove(&self, lanes: &[LaneId]) -> Vec<LaneId> {
        let mut counts = self.counts.borrow_mut();
        let mut unused = Vec::new();
        for lane in lanes {
            if let Some(count) = counts.get_mut(lane) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(lane);
                    unused.push(*lane);
                }
            }
        }
        unused
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let unused = self.lane_uses.remove(&self.lanes);
        if !unused.is_empty() {
            self.ship.with(|shipper| unused.into_iter().for_each(|lane| shipper.retire(lane)));
        }
        // A large snapshot takes long to drop: not here.
        self.board.retire(Arc::clone(&self.snapshot));
    }
}

/// The core's current [`Live`].
#[derive(Default)]
pub struct Lives {
    version: Cell<u64>,
    current: RefCell<Option<Rc<Live>>>,
    lane_uses: Rc<LaneUses>,
}

impl Lives {
    /// The board's version that `current` was made of; 0 before the first.
    pub fn version(&self) -> u64 {
        self.version.get()
    }

    /// The configuration's revision that is being served.
    pub fn revision(&self) -> u64 {
        self.current.borrow().as_ref().map_or(0, |live| live.snapshot.revision)
    }

    /// What a request that begins now is served from. `swap` has run at least once: a core's first turn does it.
    pub fn current(&self) -> Rc<Live> {
        let current = self.current.borrow();
        Rc::clone(current.as_ref().expect("a core swaps in a snapshot before it serves"))
    }

    /// Takes the newest snapshot from the board and says so.
    pub fn swap(&self, core: &Rc<Core>) {
        let (version, snapshot) = core.board.current();
        let old = self.current.borrow_mut().take();
        let upstreams = upstream_states(core, &snapshot, old.as_deref());
        let lanes = snapshot.loggers.iter().map(|logger| core.ship.lane(logger)).collect::<Vec<_>>();
        self.lane_uses.add(&lanes);
        core.ship.adopt_for(&snapshot.loggers);
        let live = Live {
            snapshot,
            upstreams,
            lanes,
            lane_uses: Rc::clone(&self.lane_uses),
            ship: Rc::clone(&core.ship),
            board: Arc::clone(&core.board),
        };
        *self.current.borrow_mut() = Some(Rc::new(live));
        self.version.set(version);
        core.board.taken(core.index, version);
    }
}

/// Keeps the state of every upstream whose content and addresses are as they were.
fn upstream_states(core: &Core, snapshot: &Snapshot, old: Option<&Live>) -> Vec<Rc<UpstreamState>> {
    let kept: HashMap<u64, &Rc<UpstreamState>> =
        old.iter().flat_map(|old| &old.upstreams).map(|state| (state.content, state)).collect();
    let pairs = snapshot.upstreams.iter().zip(&snapshot.node_sets).enumerate();
    pairs
        .map(|(place, (spec, nodes))| {
            let watch = snapshot.watches.get(place).and_then(Option::as_ref);
            match kept.get(&spec.content) {
                Some(state) if state.nodes.content() == nodes.content() && is_same(state.watch.as_ref(), watch) => {
                    Rc::clone(state)
                }
                _ => Rc::new(upstream_state(core, spec, nodes, watch)),
            }
        })
        .collect()
}

fn is_same(one: Option<&Arc<Watch>>, other: Option<&Arc<Watch>>) -> bool {
    one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}

fn upstream_state(core: &Core, spec: &UpstreamSpec, nodes: &Arc<NodeSet>, watch: Option<&Arc<Watch>>) -> UpstreamState {
    let reported = watch.is_some_and(|watch| watch.passive().is_some());
    UpstreamState {
        content: spec.content,
        nodes: Arc::clone(nodes),
        watch: watch.cloned(),
        success_said_ms: vec![Cell::new(0); if reported { nodes.nodes().len() } else { 0 }],
        balancer: RefCell::new(Balancer::new(spec.balancing, core.index as u64)),
        key_missing_said_ms: Cell::new(None),
        tls_failure_said_ms: Cell::new(None),
        answer_bytes: Cell::new(0),
        pools: nodes.nodes().iter().map(|node| core.pools.of(&target(&node.address), spec.tls.as_ref())).collect(),
        address_texts: nodes.nodes().iter().map(|node| node.address.to_string()).collect(),
        authorities: nodes.nodes().iter().map(|node| authority(&node.host, node.port, spec.scheme)).collect(),
    }
}

fn target(address: &Address) -> Target {
    match address {
        Address::Tcp(address) => Target::Tcp(*address),
        Address::Unix(path) => Target::Unix(Rc::from(&**path)),
    }
}
