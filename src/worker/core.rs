//! What one core owns, and its life: start, tick, bell, drain.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::Seat;
use super::connection;
use super::live::{Live, Lives};
use super::pool::Pools;
use super::scratch::Scratches;
use super::settings::Settings;
use super::ship::Ship;
use super::spool::{RecoveredLane, Spool};
use super::spread::{Handed, Spread};
use crate::base::counters::{CoreCounters, Counter};
use crate::base::hash::mix;
use crate::base::limits;
use crate::config::publish::{Board, Stage};
use crate::http::date::imf_fixdate;
use crate::http::recall::Recall;
use crate::http::request::RequestHead;
use crate::http::response::ResponseHead;
use crate::io::bell::BellEar;
use crate::io::buffer::Buffers;
use crate::io::clock::Clock;
use crate::io::deadline::{Deadlines, TICK_MS};
use crate::io::duplex::caught;
use crate::io::listener::{Accepted, Listener, Owner};
use crate::io::lodging::Lodging;
use crate::io::ring_memory::{MappedSlot, RingHeader};
use crate::io::{driver, process, ring_memory, stall};
use crate::kafka::Shipper;
use crate::kafka::trace::Stream;
use crate::log::{CaptureBudget, RenderState};

/// Milliseconds between two looks at the idle upstream connections.
const POOL_SWEEP_MS: u64 = 1_000;
/// Milliseconds of the shutdown timeout, at most, that are kept for flushing records once exchanges had theirs (a quarter of it, if
/// that is less).
const FLUSH_MS: u64 = 5_000;
/// Times that a core looks, 5 ms apart, whether exchanges that it ended have ended.
const CUT_LOOKS: usize = 20;
/// Milliseconds to wait after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE_MS: u64 = 50;
/// Milliseconds between two lines about accepts that fail, per core.
const SAY_AGAIN_MS: u64 = 10_000;

/// What a core is given when it starts.
pub struct Start {
    /// Its place in the board.
    pub index: usize,
    /// Shared with every core and the control thread.
    pub board: Arc<Board>,
    /// Shared with every core.
    pub spread: Arc<Spread>,
    /// Its end of the bell.
    pub ear: BellEar,
    /// Bound and listening, one per configured address.
    pub listeners: Vec<TcpListener>,
    /// Whose they are.
    pub owner: Owner,
    /// Options that do not change while the process runs.
    pub settings: Settings,
    /// What earlier runs left for this core to deliver.
    pub recovered: Vec<RecoveredLane>,
}

/// What was left when the core ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Entries that were accepted and did not reach Kafka, in this run.
    pub lost: u64,
    /// Entries that the next run will find and deliver.
    pub kept: u64,
}

/// The Date field's value of one second: formatted once, whoever asks for it.
#[derive(Clone, Copy)]
struct DateText {
    unix_s: u64,
    text: [u8; 29],
}

impl DateText {
    fn of(unix_s: u64) -> Self {
        Self { unix_s, text: imf_fixdate(unix_s) }
    }
}

/// One core.
pub struct Core {
    pub(super) index: usize,
    pub(super) board: Arc<Board>,
    pub(super) settings: Settings,
    pub(super) clock: Rc<Clock>,
    pub(super) deadlines: Rc<Deadlines>,
    pub(super) counters: Arc<CoreCounters>,
    pub(super) buffers: Buffers,
    pub(super) scratches: Scratches,
    /// Field lines of requests that came before.
    pub(super) requests: RefCell<Recall<RequestHead>>,
    /// Heads of responses that came before.
    pub(super) responses: RefCell<Recall<ResponseHead>>,
    /// Where exchanges run, one after the other.
    pub(super) lodging: Lodging,
    pub(super) pools: Pools,
    pub(super) ship: Rc<Ship>,
    pub(super) lives: Lives,
    pub(super) capture_budget: RefCell<CaptureBudget>,
    pub(super) render_state: RefCell<RenderState>,
    pub(super) draining: Cell<bool>,
    /// The shutdown cuts what is under way: nothing is tried again.
    pub(super) cutting: Cell<bool>,
    spread: Arc<Spread>,
    date: Cell<DateText>,
    next_serial: Cell<u64>,
    /// When it was last said that an accept had failed.
    accept_said_ms: Cell<Option<u64>>,
    listeners: Vec<Listener>,
}

/// Runs a core on the calling thread until the board says Drain and everything is finished, or Exit.
///
/// # Errors
/// When the driver, the listeners or the ring's memory cannot be had.
pub fn run(start: Start) -> io::Result<Left> {
    process::stay_on_core(start.index);
    driver::run(start.settings.driver, async move {
        let (core, mut ear) = Core::new(start)?;
        for listener in 0..core.listeners.len() {
            for _ in 0..limits::ACCEPTS_PER_LISTENER {
                stall::spawn(&core.counters, Rc::clone(&core).accept(listener));
            }
        }
        stall::spawn(&core.counters, Rc::clone(&core.ship).timer());
        stall::spawn(&core.counters, Rc::clone(&core).tick());
        core.turn();
        while core.board.stage() == Stage::Run && ear.heard().await {
            core.turn();
        }
        Ok(core.drain(ear).await)
    })?
}

impl Core {
    fn new(start: Start) -> io::Result<(Rc<Self>, crate::io::bell::Ear)> {
        let Start { index, board, spread, ear, listeners, owner, settings, recovered } = start;
        let (clock, deadlines) = (Rc::new(Clock::default()), Rc::new(Deadlines::default()));
        let shipper = shipper(&settings, index)?;
        let spool = settings.spool.clone().map(|options| Spool::new(options, index, Rc::clone(&clock)));
        if let Some(spool) = &spool {
            stall::spawn(board.counters(index), Rc::clone(spool).run());
            stall::spawn(board.counters(index), Rc::clone(spool).sync_timer());
        }
        let ship = Ship::new(shipper, spool, index, Arc::clone(&board), Rc::clone(&clock), Rc::clone(&deadlines));
        let listeners = listeners.into_iter().map(|one| Listener::new(one, owner)).collect::<io::Result<Vec<_>>>()?;
        let counters = Arc::clone(board.counters(index));
        deadlines.sweep(clock.mono().ms());
        ship.waiters.sweep(clock.mono().ms());
        let capture_budget = RefCell::new(CaptureBudget::new(settings.body_capture_bytes));
        let date = DateText::of(clock.now().wall.unix_s());
        let core = Rc::new(Self {
            index,
            board,
            settings,
            clock,
            deadlines,
            counters,
            buffers: Buffers::default(),
            scratches: Scratches::default(),
            requests: RefCell::default(),
            responses: RefCell::default(),
            lodging: Lodging::default(),
            pools: Pools::default(),
            ship,
            lives: Lives::default(),
            capture_budget,
            render_state: RefCell::default(),
            draining: Cell::new(false),
            cutting: Cell::new(false),
            spread,
            date: Cell::new(date),
            next_serial: Cell::new(1),
            accept_said_ms: Cell::new(None),
            listeners,
        });
        core.ship.adopt(recovered);
        Ok((core, ear.listen()?))
    }

    /// The configuration that a request beginning now is served from.
    pub(super) fn live(self: &Rc<Self>) -> Rc<Live> {
        if self.board.version() != self.lives.version() {
            self.lives.swap(self);
        }
        self.lives.current()
    }

    /// True if a client's connection may carry another request.
    pub(super) fn may_keep(&self) -> bool {
        !self.draining.get() && self.settings.keepalive_timeout_ms > 0
    }

    /// Now as the Date field says it; behind by a tick at most.
    pub(super) fn date(&self) -> [u8; 29] {
        self.date.get().text
    }

    /// A number for a connection, counted from 1.
    pub(super) fn next_serial(&self) -> u64 {
        let serial = self.next_serial.get();
        self.next_serial.set(serial + 1);
        serial
    }

    /// `$request_id`: 128 bits that do not repeat while the process runs, and hardly ever over all of them.
    pub(super) fn request_id(&self, connection: u64, request: u64) -> [u8; 16] {
        let front = mix(self.settings.shipping.seed ^ (self.index as u64) << 56 ^ connection);
        let back = mix(front ^ request);
        (u128::from(front) << 64 | u128::from(back)).to_be_bytes()
    }

    /// What is done whenever the core wakes for its own sake: newest snapshot, resolved names.
    fn turn(self: &Rc<Self>) {
        drop(self.live());
        for answer in self.board.take_answers(self.index) {
            self.ship.deliver(answer);
        }
        self.adopt(self.spread.take(self.index));
    }

    /// Moves the coarse clock, sweeps deadlines and pools, publishes the counters.
    async fn tick(self: Rc<Self>) {
        let mut pools_due_ms = 0;
        loop {
            monoio::time::sleep(Duration::from_millis(TICK_MS)).await;
            let now_ms = self.clock.mono().ms();
            self.deadlines.sweep(now_ms);
            self.ship.waiters.sweep(now_ms);
            self.turn_date();
            if now_ms >= pools_due_ms {
                pools_due_ms = now_ms + POOL_SWEEP_MS;
                let idle = self.pools.sweep(now_ms);
                self.counters.set(Counter::UpstreamIdle, idle as u64);
            }
            self.turn();
            self.publish_counters(false);
        }
    }

    fn turn_date(&self) {
        let unix_s = self.clock.now().wall.unix_s();
        if unix_s != self.date.get().unix_s {
            self.date.set(DateText::of(unix_s));
        }
    }

    fn publish_counters(&self, last: bool) {
        self.counters.set(Counter::Open, self.open() as u64);
        self.counters.set(Counter::Revision, self.lives.revision());
        self.ship.publish(last);
    }

    async fn accept(self: Rc<Self>, listener: usize) {
        while !self.draining.get() {
            match self.listeners[listener].accept().await {
                Ok((accepted, peer)) => self.place(accepted, peer, listener),
                Err(_) if self.draining.get() => return,
                Err(error) => {
                    self.accept_failed(&error);
                    monoio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }

    /// EMFILE, ENFILE, ENOMEM: the connection stays in the backlog until something closes. Counted each time; said now and then.
    fn accept_failed(&self, error: &io::Error) {
        self.counters.add(Counter::AcceptFailures, 1);
        let now_ms = self.deadlines.now_ms();
        let due = self.accept_said_ms.get().is_none_or(|said_ms| now_ms.saturating_sub(said_ms) >= SAY_AGAIN_MS);
        if due {
            self.accept_said_ms.set(Some(now_ms));
            log::warn!(
                "core {}: a connection could not be accepted: {error}; clients wait until another one ends (open files: \
                 ulimit -Hn, LimitNOFILE=; or limit tollgate.max_connections)",
                self.index
            );
        }
    }

    /// Client connections of this core, those on their way to it included.
    fn open(&self) -> usize {
        self.spread.open(self.index)
    }

    /// Serves a new connection, or hands it to a core that has clearly fewer.
    fn place(self: &Rc<Self>, accepted: Accepted, peer: SocketAddr, listener: usize) {
        self.counters.add(Counter::Accepted, 1);
        let Ok(seat) = self.spread.seat(peer.ip()) else {
            self.counters.add(Counter::RefusedAddress, 1);
            return;
        };
        let Some(other) = self.spread.better_than(self.index) else {
            self.spread.opened(self.index);
            return self.admit(accepted, peer, listener, seat);
        };
        match self.spread.hand(other, Handed { fd: accepted.into_fd(), peer, listener, seat }) {
            Ok(()) => {
                self.counters.add(Counter::HandedOver, 1);
                self.board.ring(other);
            }
            Err(handed) => {
                self.spread.opened(self.index);
                self.adopt(vec![handed]);
            }
        }
    }

    /// Serves what other cores accepted; it is counted already.
    fn adopt(self: &Rc<Self>, handed: Vec<Handed>) {
        for Handed { fd, peer, listener, seat } in handed {
            match Accepted::from_fd(fd) {
                Ok(accepted) => self.admit(accepted, peer, listener, seat),
                Err(error) => {
                    log::warn!("core {}: a connection could not be taken over: {error}", self.index);
                    self.spread.closed(self.index);
                }
            }
        }
    }

    /// Serves a connection that is counted already.
    fn admit(self: &Rc<Self>, accepted: Accepted, peer: SocketAddr, listener: usize, seat: Option<Seat>) {
        if self.open() > self.settings.max_connections {
            self.counters.add(Counter::RefusedCore, 1);
            self.spread.closed(self.index);
            return;
        }
        let socket = accepted.into_socket();
        let core = Rc::clone(self);
        let listen_port = self.settings.listen_ports[listener];
        stall::spawn(&self.counters, async move {
            if caught(pin!(connection::serve(Rc::clone(&core), socket, peer, listen_port))).await.is_none() {
                core.counters.add(Counter::Panics, 1);
                log::error!(
                    "core {}: a panic while serving {peer}: the connection was closed, the core goes on",
                    core.index
                );
            }
            core.spread.closed(core.index);
            drop(seat);
        });
    }

    /// No new connections, resting ones closed, exchanges finished, records flushed; bounded by the shutdown timeout.
    async fn drain(self: Rc<Self>, mut ear: crate::io::bell::Ear) -> Left {
        self.draining.set(true);
        for listener in &self.listeners {
            listener.stop();
        }
        self.take_back_accepts().await;
        self.adopt(self.spread.take_last(self.index));
        self.deadlines.end_resting(connection::FIRST_REQUEST_MS);
        let timeout_ms = self.settings.shutdown_timeout_ms;
        let began = self.clock.mono();
        let (exchanges_until, deadline) =
            (began.plus_ms(timeout_ms - (timeout_ms / 4).min(FLUSH_MS)), began.plus_ms(timeout_ms));
        let core = Rc::clone(&self);
        monoio::spawn(async move {
            while ear.heard().await {
                core.turn();
            }
        });
        let leave = |core: &Self| core.board.stage() == Stage::Exit || core.clock.mono() >= deadline;
        let now = self.clock.now();
        self.ship.with(|shipper| shipper.drain(now));
        while self.open() > 0 && !leave(&self) && self.clock.mono() < exchanges_until {
            monoio::time::sleep(Duration::from_millis(5)).await;
        }
        if self.ship.waiters.count() > 0 {
            self.ship.waiters.end_all();
            self.wait_for_ends().await;
        }
        if self.open() > 0 {
            self.cut_exchanges().await;
        }
        self.pools.close();
        let now = self.clock.now();
        self.ship.with(|shipper| shipper.flush(now));
        while self.ship.with(|shipper| shipper.held_in_ring()) > 0 && !leave(&self) {
            monoio::time::sleep(Duration::from_millis(5)).await;
        }
        if self.board.stage() != Stage::Exit {
            self.ship.stow(self.clock.mono().plus_ms(limits::STOW_MS)).await;
        }
        let now = self.clock.now();
        self.ship.with(|shipper| shipper.give_up(now));
        self.ship.end();
        self.publish_counters(true);
        self.ship.left()
    }
}

impl Core {
    /// Ends what would not end by itself, so that it is recorded before the flush.
    async fn cut_exchanges(&self) {
        log::warn!("core {}: {} connections are cut: they did not end in time", self.index, self.open());
        self.cutting.set(true);
        self.deadlines.shut_down_all();
        self.ship.waiters.end_all();
        self.wait_for_ends().await;
    }

    /// Waits for the ends of accepts that were under way: each may bring a last connection, which would be lost with this process.
    async fn take_back_accepts(&self) {
        for _ in 0..CUT_LOOKS {
            if !self.listeners.iter().any(Listener::is_accepting) {
                return;
            }
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Gives exchanges that have every reason to end a moment to do so.
    async fn wait_for_ends(&self) {
        for _ in 0..CUT_LOOKS {
            if self.open() == 0 {
                break;
            }
            monoio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The core's shipper, over a ring that outlives the process if there is a place for it.
fn shipper(settings: &Settings, index: usize) -> io::Result<Shipper<MappedSlot>> {
    let mut options = settings.shipping.clone();
    options.seed = options.seed.wrapping_add(index as u64);
    options.origin.core = index as u32;
    options.trace = options.trace.map(|gateway| Stream { core: index as u32, ..gateway });
    let (count, slot_bytes) = (settings.slot_count, settings.slot_bytes);
    let slots = match &settings.ring {
        Some(directory) => ring_memory::map_file(directory, RingHeader { origin: options.origin, count, slot_bytes })?,
        None => ring_memory::map(count, slot_bytes)?,
    };
    Ok(Shipper::new(slots, options))
}
