//! Drives the core's shipper: its actions become connects, sends and timers, what happens to them becomes its events.
//! Decides nothing about records; that is `kafka`'s.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::waiters::Waiters;
use crate::base::Mono;
use crate::base::time::Now;
use crate::config::publish::{Answer, Board, Question, Stage};
use crate::config::snapshot::LoggerSpec;
use crate::io::buffer::BUFFER_BYTES;
use crate::io::clock::Clock;
use crate::io::deadline::Deadlines;
use crate::io::duplex::either;
use crate::io::notify::Notify;
use crate::io::ring_memory::{MappedSlot, PinnedBytes};
use crate::io::socket::{Reader, Socket, Target, Writer, connect, shut_down};
use crate::io::{stall, tls};
use crate::kafka::stored::STORED_AT;
use crate::kafka::tls::explain;
use crate::kafka::{
    Action, Appended, ConnId, Event, FrameRef, LaneId, Level, Origin, Out, Shipper, SinkSpec, SlotId, SlotMemory,
    Stored, Ticket, Tls,
};

use super::core::Left;
use super::spool::{RecoveredLane, Spool};

/// Milliseconds to wait for a broker's name to be resolved.
const RESOLVE_TIMEOUT_MS: u64 = 5_000;
/// Milliseconds to wait for a broker to accept a connection.
const CONNECT_TIMEOUT_MS: u64 = 10_000;

/// The core's other tasks run at least this often, even if the shipper wanted to be told of every instant.
const SHORTEST_SLEEP: Duration = Duration::from_micros(200);

/// What waits to be sent to a broker.
enum Outgoing {
    Request(Vec<u8>),
    Batch(SlotId, PinnedBytes),
}

/// One connection to a broker, from the order to connect until both directions have ended.
#[derive(Default)]
struct Link {
    outgoing: RefCell<VecDeque<Outgoing>>,
    more: Notify,
    /// Set when nothing more may be sent: the machine closed it, or the peer did.
    closed: Cell<bool>,
    fd: Cell<Option<std::os::fd::RawFd>>,
}

/// An answer that a task waits for.
#[derive(Default)]
struct Pending {
    answer: RefCell<Option<Result<Vec<SocketAddr>, String>>>,
    arrived: Notify,
}

/// The core's shipper with its connections and its timer.
pub struct Ship {
    pub(super) shipper: RefCell<Shipper<MappedSlot>>,
    pub(super) spool: Option<Rc<Spool>>,
    /// What earlier runs left and no logger that is configured has the credentials for.
    unnamed: RefCell<Vec<RecoveredLane>>,
    unnamed_said: Cell<bool>,
    links: RefCell<HashMap<ConnId, Rc<Link>>>,
    pending: RefCell<HashMap<u64, Rc<Pending>>>,
    next_token: Cell<u64>,
    armed: Cell<Mono>,
    rearm: Notify,
    ended: Cell<bool>,
    /// Who waits for entries' outcomes.
    pub waiters: Rc<Waiters>,
    pub(super) core: usize,
    pub(super) board: Arc<Board>,
    pub(super) clock: Rc<Clock>,
    deadlines: Rc<Deadlines>,
}

/// No wake-up is set.
const FOREVER: Mono = Mono::from_ns(u64::MAX);

impl Ship {
    /// A ship for `core`; [`Ship::timer`] must run beside it.
    pub fn new(
        shipper: Shipper<MappedSlot>,
        spool: Option<Rc<Spool>>,
        core: usize,
        board: Arc<Board>,
        clock: Rc<Clock>,
        deadlines: Rc<Deadlines>,
    ) -> Rc<Self> {
        Rc::new(Self {
            shipper: RefCell::new(shipper),
            spool,
            unnamed: RefCell::default(),
            unnamed_said: Cell::new(false),
            links: RefCell::default(),
            pending: RefCell::default(),
            next_token: Cell::new(0),
            armed: Cell::new(FOREVER),
            rearm: Notify::default(),
            ended: Cell::new(false),
            waiters: Rc::default(),
            core,
            board,
            clock,
            deadlines,
        })
    }

    /// Puts an entry into its lane's open batch.
    pub fn append(self: &Rc<Self>, lane: LaneId, now: Now, render: &mut dyn FnMut(&mut Out<'_>)) -> Appended {
        let appended = self.shipper.borrow_mut().append(lane, now, render);
        self.drive();
        appended
    }

    /// See [`Shipper::has_room`].
    pub fn has_room(&self, lane: LaneId) -> bool {
        self.shipper.borrow().has_room(lane)
    }

    /// As [`Ship::append`], for an entry that somebody waits for.
    pub fn append_with(
        self: &Rc<Self>,
        ticket: Ticket,
        lane: LaneId,
        now: Now,
        render: &mut dyn FnMut(&mut Out<'_>),
    ) -> Appended {
        let appended = self.shipper.borrow_mut().append_with(ticket, lane, now, render);
        self.drive();
        appended
    }

    /// Looks at or changes the shipper, then does what it wants done.
    pub fn with<T>(self: &Rc<Self>, ask: impl FnOnce(&mut Shipper<MappedSlot>) -> T) -> T {
        let answer = ask(&mut self.shipper.borrow_mut());
        self.drive();
        answer
    }

    /// Hands a resolved name to the task that waits for it.
    pub fn deliver(&self, answer: Answer) {
        if let Some(pending) = self.pending.borrow_mut().remove(&answer.token) {
            *pending.answer.borrow_mut() = Some(answer.addresses);
            pending.arrived.notify();
        }
    }

    /// Finds or makes the lane of a logger; what it is stands in the registry before it takes its first entry.
    pub fn lane(self: &Rc<Self>, logger: &LoggerSpec) -> LaneId {
        if let Some(spool) = &self.spool
            && let Err(error) = spool.register(logger.stored_as, &logger.sink, &logger.stored_lane())
        {
            log::warn!(
                "core {}: topic {}: the spool's registry could not be written: {error}: records of this logger do not \
                 survive the process",
                self.core,
                logger.topic
            );
        }
        self.with(|shipper| {
            let sink = shipper.sink(&logger.sink);
            shipper.lane(&logger.lane(sink))
        })
    }

    /// Takes over what an earlier run left. What needs credentials waits for a logger that has them.
    pub fn adopt(self: &Rc<Self>, recovered: Vec<RecoveredLane>) {
        for left in recovered {
            if let Some(spool) = &self.spool {
                spool.adopt(left.lane, left.origin, &left.frames);
            }
            if left.spec.is_secured {
                self.unnamed.borrow_mut().push(left);
            } else {
                let sink = left.sink.clone();
                self.adopt_with(left, &sink);
            }
        }
    }

    /// What earlier runs left for the loggers of a new configuration goes out with their credentials; says once what still waits.
    pub fn adopt_for(self: &Rc<Self>, loggers: &[Arc<LoggerSpec>]) {
        let waiting = self.unnamed.take();
        for left in waiting {
            match loggers.iter().find(|logger| logger.stored_as == left.lane) {
                Some(logger) => self.adopt_with(left, &logger.sink),
                None => self.unnamed.borrow_mut().push(left),
            }
        }
        let unnamed = self.unnamed.borrow();
        let said = self.unnamed_said.replace(!unnamed.is_empty());
        for left in unnamed.iter().filter(|_| !said) {
            log::warn!(
                "core {}: topic {} at {}: {} batches of an earlier run wait in the spool for credentials, which are not kept \
                 on disk: no kafka-logger names these brokers, user and topic any more",
                self.core,
                left.spec.topic,
                left.sink.broker_list(),
                left.frames.len()
            );
        }
    }

    fn adopt_with(self: &Rc<Self>, left: RecoveredLane, sink: &SinkSpec) {
        self.with(|shipper| {
            let sink = shipper.sink(sink);
            shipper.adopt(&left.spec.lane(sink, left.lane), left.origin, left.frames);
        });
    }

    /// Puts everything that is not delivered into the spool, and waits for that until `deadline`.
    pub async fn stow(self: &Rc<Self>, deadline: Mono) {
        let Some(spool) = self.spool.clone() else { return };
        let now = self.clock.now();
        self.with(|shipper| shipper.stow(now));
        let go_on = || self.clock.mono() < deadline && self.board.stage() != Stage::Exit;
        while self.with(|shipper| shipper.is_stowing()) && go_on() {
            monoio::time::sleep(Duration::from_millis(2)).await;
        }
        let patience = async {
            while go_on() {
                monoio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // A disk that does not answer keeps nobody from leaving.
        either(spool.flush(), patience).await;
    }

    /// What became of the entries, at the end.
    pub fn left(&self) -> Left {
        let shipper = self.shipper.borrow();
        let stats = shipper.stats();
        Left {
            lost: stats.lost.total() + stats.in_doubt + stats.dropped + stats.too_large,
            kept: shipper.kept_entries(),
        }
    }

    /// Tells the shipper that time has passed, whenever it asked to be told. Runs as long as the core.
    pub async fn timer(self: Rc<Self>) {
        loop {
            let wake = self.shipper.borrow().next_wake();
            self.armed.set(wake.unwrap_or(FOREVER));
            match wake {
                None => self.rearm.notified().await,
                Some(at) => {
                    let left = Duration::from_nanos(at.ns_since(self.clock.mono())).max(SHORTEST_SLEEP);
                    either(self.rearm.notified(), monoio::time::sleep(left)).await;
                }
            }
            self.shipper.borrow_mut().on_time(self.clock.now());
            self.drive();
        }
    }

    /// The core is about to end: nothing is driven any more, whatever is still dropped.
    pub fn end(&self) {
        self.ended.set(true);
    }

    /// Does what the shipper wants done.
    fn drive(self: &Rc<Self>) {
        if self.ended.get() {
            return;
        }
        loop {
            let Some(action) = self.shipper.borrow_mut().poll_action() else { break };
            self.act(action);
        }
        let wake = self.shipper.borrow().next_wake().unwrap_or(FOREVER);
        if wake < self.armed.get() {
            self.armed.set(wake);
            self.rearm.notify();
        }
    }

    fn act(self: &Rc<Self>, action: Action) {
        match action {
            Action::Connect { conn, host, port, tls } => {
                let link = Rc::new(Link::default());
                self.links.borrow_mut().insert(conn, Rc::clone(&link));
                self.spawn(Rc::clone(self).link(conn, link, (host, port), tls));
            }
            Action::Send { conn, bytes } => self.queue(conn, Outgoing::Request(bytes)),
            Action::SendBatch { conn, slot, range } => {
                let pinned = self.shipper.borrow().slot_bytes(slot).pinned(range);
                self.queue(conn, Outgoing::Batch(slot, pinned));
            }
            Action::Spill { lane, slot, range } => self.spill(lane, slot, range),
            Action::Load { frame, slot } => self.load(frame, slot),
            Action::Restate { frame, bytes } => {
                if let Some(spool) = self.spool.clone() {
                    spool.expect_restate();
                    self.spawn(async move { spool.restate(frame, bytes).await });
                }
            }
            Action::FrameDone { frame, slot } => self.frame_done(frame, slot),
            Action::Close { conn } => {
                if let Some(link) = self.links.borrow_mut().remove(&conn) {
                    link.close();
                }
            }
            Action::Report { level, text } => match level {
                Level::Error => log::error!("{text}"),
                Level::Warn => log::warn!("{text}"),
                Level::Info => log::info!("{text}"),
            },
            Action::Settled { ticket, outcome } => self.waiters.settle(ticket, outcome),
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        stall::spawn(self.board.counters(self.core), task);
    }

    /// Writes a frame to the spool. Frames of one lane come one after the other: the shipper waits for each.
    fn spill(self: &Rc<Self>, lane: u64, slot: SlotId, range: Range<usize>) {
        let Some(spool) = self.spool.clone() else { return self.tell(Event::Spilled { slot, frame: None }) };
        let bytes = self.shipper.borrow().slot_bytes(slot).pinned(range);
        let ship = Rc::clone(self);
        self.spawn(async move {
            let origin = Stored::read(bytes.bytes()).map_or_else(|_| Origin::default(), |stored| stored.origin);
            let frame = spool.spill(lane, origin, bytes).await.ok();
            ship.tell(Event::Spilled { slot, frame });
            ship.drive();
        });
    }

    /// Reads a frame of the spool into a slot.
    fn load(self: &Rc<Self>, frame: FrameRef, slot: SlotId) {
        let Some(spool) = self.spool.clone() else { return self.tell(Event::Loaded { slot, read: false }) };
        let end = STORED_AT + frame.bytes as usize;
        let shipper = self.shipper.borrow();
        let memory = shipper.slot_bytes(slot);
        if end > memory.bytes().len() {
            // Written by a gateway with larger slots.
            drop(shipper);
            return self.tell(Event::Loaded { slot, read: false });
        }
        let into = memory.pinned_mut(STORED_AT..end);
        drop(shipper);
        let ship = Rc::clone(self);
        self.spawn(async move {
            let loaded = spool.load(frame, into).await;
            if let Err(error) = &loaded {
                log::error!("core {}: a batch of the spool could not be read: {error}", ship.core);
            }
            ship.tell(Event::Loaded { slot, read: loaded.is_ok() });
            ship.drive();
        });
    }

    /// Lets a frame say that its batch is resolved; its slot says it until then.
    fn frame_done(self: &Rc<Self>, frame: FrameRef, slot: SlotId) {
        let Some(spool) = self.spool.clone() else { return self.tell(Event::FrameDone { slot }) };
        let ship = Rc::clone(self);
        self.spawn(async move {
            spool.done(frame).await;
            ship.tell(Event::FrameDone { slot });
            ship.drive();
        });
    }

    /// Queues for a connection; one that is gone answers for its batches at once.
    fn queue(self: &Rc<Self>, conn: ConnId, outgoing: Outgoing) {
        let link = self.links.borrow().get(&conn).cloned();
        match (link, outgoing) {
            (Some(link), outgoing) if !link.closed.get() => {
                link.outgoing.borrow_mut().push_back(outgoing);
                link.more.notify();
            }
            (_, Outgoing::Batch(slot, _)) => self.tell(Event::Sent { conn, slot: Some(slot) }),
            (_, Outgoing::Request(_)) => {}
        }
    }

    fn tell(&self, event: Event<'_>) {
        self.shipper.borrow_mut().on_event(event, self.clock.now());
    }

    /// A connection's life: resolve, connect, send and receive until it ends.
    async fn link(self: Rc<Self>, conn: ConnId, link: Rc<Link>, (host, port): (String, u16), tls: Option<Tls>) {
        let socket = match self.reach(&host, port).await {
            Ok(socket) => socket,
            Err(reason) => return self.fail(&link, Event::ConnectFailed { conn, reason: &reason }, conn),
        };
        if link.closed.get() {
            return;
        }
        let fd = socket.fd();
        // From here on whoever closes the link shuts the socket down, which also ends a handshake that hangs.
        link.fd.set(Some(fd));
        let secured = match &tls {
            None => Ok(socket),
            Some(tls) => tls::handshake(socket, tls, &host, explain).await,
        };
        let Socket { mut reader, writer, .. } = match secured {
            Ok(socket) if !link.closed.get() => socket,
            failed => {
                // The descriptor goes with `failed`, which is dropped behind this.
                link.fd.set(None);
                let reason = failed.err().unwrap_or_default();
                return self.fail(&link, Event::TlsFailed { conn, reason: &reason }, conn);
            }
        };
        self.spawn(Rc::clone(&self).send_all(conn, Rc::clone(&link), writer));
        self.tell(Event::Connected { conn });
        self.drive();
        let reason = self.receive_all(conn, &link, &mut reader).await;
        if !link.closed.replace(true) {
            self.links.borrow_mut().remove(&conn);
            self.tell(Event::Closed { conn, reason: &reason });
        }
        // The reader still holds the descriptor: until here it cannot have become somebody else's.
        shut_down(fd);
        link.fd.set(None);
        drop(reader);
        link.more.notify();
        self.drive();
    }

    /// A connection that did not come about.
    fn fail(self: &Rc<Self>, link: &Link, event: Event<'_>, conn: ConnId) {
        if !link.closed.replace(true) {
            self.links.borrow_mut().remove(&conn);
            self.tell(event);
            self.drive();
        }
    }

    async fn receive_all(self: &Rc<Self>, conn: ConnId, link: &Link, reader: &mut Reader) -> String {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        loop {
            buffer.clear();
            let (result, filled) = reader.read(buffer).await;
            buffer = filled;
            match result {
                Ok(0) => return "it closed the connection".to_owned(),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return "it closed the connection".to_owned(),
                Err(error) => return error.to_string(),
                Ok(_) if link.closed.get() => return String::new(),
                Ok(_) => {
                    self.tell(Event::Received { conn, bytes: &buffer });
                    self.drive();
                }
            }
        }
    }

    /// Sends in order what is queued; every batch is answered by one `Sent`, whether it went out or not.
    async fn send_all(self: Rc<Self>, conn: ConnId, link: Rc<Link>, mut writer: Writer) {
        loop {
            let next = link.outgoing.borrow_mut().pop_front();
            let slot = match next {
                None if link.closed.get() => return,
                None => {
                    link.more.notified().await;
                    continue;
                }
                Some(Outgoing::Request(bytes)) => {
                    if !link.closed.get() && writer.write_all(bytes).await.0.is_err() {
                        link.shut_down();
                    }
                    continue;
                }
                Some(Outgoing::Batch(slot, bytes)) => {
                    if !link.closed.get() && writer.write_all(bytes).await.0.is_err() {
                        link.shut_down();
                    }
                    slot
                }
            };
            self.tell(Event::Sent { conn, slot: Some(slot) });
            self.drive();
        }
    }

    async fn reach(&self, host: &str, port: u16) -> Result<Socket, String> {
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => self.resolve(host, port).await?,
        };
        let mut reason = format!("{host} has no address");
        for address in addresses {
            match connect(&Target::Tcp(address), CONNECT_TIMEOUT_MS, &self.deadlines).await {
                Ok(socket) => return Ok(socket),
                Err(error) => reason = format!("{address}: {error}"),
            }
        }
        Err(reason)
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let token = self.next_token.get();
        self.next_token.set(token + 1);
        let pending = Rc::new(Pending::default());
        self.pending.borrow_mut().insert(token, Rc::clone(&pending));
        let question = Question { core: self.core, token, host: host.to_owned(), port };
        if self.board.ask(question) {
            let timeout = monoio::time::sleep(Duration::from_millis(RESOLVE_TIMEOUT_MS));
            either(pending.arrived.notified(), timeout).await;
        }
        self.pending.borrow_mut().remove(&token);
        let answer = pending.answer.borrow_mut().take();
        answer.unwrap_or_else(|| Err(format!("the name {host} was not resolved in {RESOLVE_TIMEOUT_MS} ms")))
    }
}

impl Link {
    /// The machine wants no more of it.
    fn close(&self) {
        self.closed.set(true);
        self.shut_down();
        self.more.notify();
    }

    fn shut_down(&self) {
        if let Some(fd) = self.fd.get() {
            shut_down(fd);
        }
    }
}
