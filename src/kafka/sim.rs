//! A cluster in a box, from one seed: brokers with Kafka's duplicate detection, connections that are slow, cut and hang, leaders
//! that move, brokers that restart. It drives one shipper and looks after every step.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use super::batch::Out;
use super::codec::answers::{ApiRange, Metadata, Node, PartitionMetadata, ProducerId, SaslHandshake, TopicMetadata};
use super::codec::broker_side::{self, Asked, Body};
use super::codec::requests;
use super::event::{Action, Appended, ConnId, Event, Level, SlotId, Ticket};
use super::options::{LaneId, SinkSpec};
use super::producer::Outcome;
use super::retry::Rng;
use super::shipper::Shipper;
use super::sim_disk::Disk;
use super::sim_log::Partition;
use super::sim_sasl::{Guard, Verdict};
use super::stored::FrameRef;
use crate::base::time::Now;
use crate::base::{Mono, Wall};

pub const MS: u64 = 1_000_000;
const HOUR_US: u64 = 3_600_000_000;

/// How bad the weather is: each number is one in so many; 0: never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub cut: u64,
    pub hang: u64,
    pub error: u64,
    pub refuse_connect: u64,
    pub throttle: u64,
    /// Per simulated 50 ms.
    pub move_leader: u64,
    /// Per simulated 50 ms: the broker's connections break, and of each producer only the last batch is remembered.
    pub restart: u64,
}

#[derive(Debug)]
pub struct Topic {
    pub id: [u8; 16],
    known_at: u64,
    pub partitions: Vec<Partition>,
    pub batch_bytes_max: usize,
}

/// What is stranger than weather. One in so many; 0: never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strange {
    /// An answer comes twice.
    pub twice: u64,
    /// The shell tells something of a connection that was closed.
    pub late: u64,
    /// A duplicate is named as one (46), instead of acknowledged as it was the first time.
    pub named_duplicate: u64,
    /// Per simulated 50 ms: the wall clock jumps by hours, forward or back.
    pub clock_jump: u64,
    /// One in so many connections that are cut is cut by a broker that crashes.
    pub crash: u64,
    /// The order of each lane in each partition is looked after with every batch that is appended.
    pub ordered: bool,
    /// What is appended is taken note of, but entries may be there twice.
    pub doubles: bool,
}

/// The slot, the bytes, and where they lie in the slot.
type Write = (Option<SlotId>, Vec<u8>, std::ops::Range<usize>);

#[derive(Debug)]
struct Conn {
    broker: i32,
    open: bool,
    hung: bool,
    writes: VecDeque<Write>,
    writing: bool,
    next_arrival: u64,
    next_answer: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happening {
    Connected(ConnId),
    Refused(ConnId),
    Written(ConnId),
    Sent(ConnId, Option<SlotId>, Vec<u8>, usize),
    Arrived(ConnId, Vec<u8>),
    Answered(ConnId, Vec<u8>),
    Closed(ConnId),
    Crashed(i32),
    Spilled(SlotId, Option<Vec<u8>>),
    Loaded(SlotId, Option<FrameRef>),
    FrameDone(SlotId, FrameRef),
    Tick,
}

pub struct Sim {
    pub shipper: Shipper<Vec<u8>>,
    pub now_ns: u64,
    pub rng: Rng,
    pub weather: Weather,
    pub topics: BTreeMap<String, Topic>,
    /// New topics get so many partitions; 0: they are not created.
    pub auto_create: i32,
    pub brokers: i32,
    /// Number of the first of them.
    pub first_broker: i32,
    /// What the answers to an inquiry ask for.
    pub throttle_inquiries_ms: i32,
    /// Fetch answers that somebody else leads.
    pub leaderless_for_fetch: bool,
    pub down: Vec<i32>,
    pub ranges: Vec<ApiRange>,
    /// Produce answers this, always; nothing is appended.
    pub forced_error: Option<i16>,
    pub deny_producer_id: bool,
    /// DescribeProducers and Fetch are not permitted.
    pub deny_read: bool,
    /// Inquiries that were answered.
    pub inquiries: u64,
    /// Answers to this API (key) are swallowed, and the connection breaks.
    pub cut_answers_to: Option<i16>,
    /// Requests to this API are not read, and the connection breaks.
    pub lose_requests_to: Option<i16>,
    pub garbage: bool,
    /// The brokers want SASL.
    pub sasl: Option<Guard>,
    /// SASL is never answered.
    pub silent_sasl: bool,
    pub reports: Vec<(Level, String)>,
    pub connects: u64,
    pub metadata_asked: u64,
    pub produce_versions: Vec<i16>,
    next_pid: i64,
    conns: HashMap<ConnId, Conn>,
    queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    serial: u64,
    /// Per lane, in order: the numbers that were accepted.
    pub accepted: Vec<(LaneId, Vec<u64>)>,
    /// The spool.
    pub disk: Disk,
    /// The sinks of lanes that may be stored, by the lanes' content key.
    pub sinks: HashMap<u64, SinkSpec>,
    /// What was told to those who wait, in order.
    pub settled: Vec<(Ticket, Outcome)>,
    pub strange: Strange,
    /// Calls of the shipper.
    pub steps: u64,
    /// How far the wall clock jumped.
    wall_shift_us: i64,
    /// By topic, partition and lane: the number that was appended last. With `strange.ordered`.
    pub last_seen: HashMap<(String, i32, u64), u64>,
    /// The process is killed when it has carried out so many more actions.
    pub dies_in: Option<u64>,
}

pub fn all_versions() -> Vec<ApiRange> {
    [(0, 0, 13), (3, 0, 13), (18, 0, 4), (22, 0, 5), (17, 0, 1), (36, 0, 2), (61, 0, 0), (1, 4, 18), (2, 1, 10)]
        .map(|(key, min, max)| ApiRange { key, min, max })
        .to_vec()
}

impl Sim {
    pub fn new(seed: u64, shipper: Shipper<Vec<u8>>, weather: Weather) -> Self {
        let mut sim = Self {
            shipper,
            now_ns: 1_000 * MS,
            rng: Rng::new(seed ^ 0x5eed),
            weather,
            topics: BTreeMap::new(),
            auto_create: 3,
            brokers: 3,
            first_broker: 1,
            throttle_inquiries_ms: 0,
            leaderless_for_fetch: false,
            down: Vec::new(),
            ranges: all_versions(),
            forced_error: None,
            deny_producer_id: false,
            deny_read: false,
            inquiries: 0,
            cut_answers_to: None,
            lose_requests_to: None,
            garbage: false,
            sasl: None,
            silent_sasl: false,
            reports: Vec::new(),
            connects: 0,
            metadata_asked: 0,
            produce_versions: Vec::new(),
            next_pid: 1_000,
            conns: HashMap::new(),
            queue: BinaryHeap::new(),
            serial: 0,
            accepted: Vec::new(),
            disk: Disk::default(),
            sinks: HashMap::new(),
            settled: Vec::new(),
            strange: Strange::default(),
            steps: 0,
            wall_shift_us: 0,
            last_seen: HashMap::new(),
            dies_in: None,
        };
        sim.later(50 * MS, Happening::Tick);
        sim
    }

    pub fn now(&self) -> Now {
        let unix_us = (1_700_000_000_000_000 + self.now_ns / 1_000).saturating_add_signed(self.wall_shift_us);
        let wall = Wall { unix_us, utc_offset_min: 0 };
        Now { mono: Mono::from_ns(self.now_ns), wall }
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        one_in > 0 && self.rng.below(one_in) == 0
    }

    fn at(&mut self, ns: u64, what: Happening) {
        self.serial += 1;
        self.queue.push(Reverse((ns, self.serial, what)));
    }

    pub fn later(&mut self, ns: u64, what: Happening) {
        self.at(self.now_ns + ns, what);
    }

    /// Makes a topic that is known from now on.
    pub fn create(&mut self, name: &str, partitions: i32, known_in_ms: u64) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.rng.next().to_be_bytes());
        id[15] = 1;
        let part = |at: i32, brokers: i32| Partition { leader: at % brokers + 1, ..Partition::default() };
        let partitions = (0..partitions).map(|at| part(at, self.brokers)).collect();
        let known_at = self.now_ns + known_in_ms * MS;
        self.topics.insert(name.to_owned(), Topic { id, known_at, partitions, batch_bytes_max: usize::MAX });
    }

    /// Hands over the lane's next entry, of about `len` bytes.
    pub fn append(&mut self, lane: LaneId, len: usize) -> Appended {
        self.append_with(None, lane, len)
    }

    /// The same, with somebody who waits for it.
    pub fn append_with(&mut self, ticket: Option<Ticket>, lane: LaneId, len: usize) -> Appended {
        let at = self.accepted.iter().position(|(other, _)| *other == lane).unwrap_or_else(|| {
            self.accepted.push((lane, Vec::new()));
            self.accepted.len() - 1
        });
        let number = self.accepted[at].1.last().map_or(0, |last| last + 1);
        let text = format!("{{\"lane\":{at},\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(len));
        let now = self.now();
        self.steps += 1;
        let render = &mut |out: &mut Out<'_>| out.push(text.as_bytes());
        let appended = match ticket {
            Some(ticket) => self.shipper.append_with(ticket, lane, now, render),
            None => self.shipper.append(lane, now, render),
        };
        if appended == Appended::Accepted {
            self.accepted[at].1.push(number);
        }
        self.after();
        appended
    }

    /// Ends the shipper as `kill -9` does, and lets another go on. What was accepted stays so.
    pub fn replace_shipper(&mut self, shipper: Shipper<Vec<u8>>) {
        self.shipper = shipper;
        // What is on its way to a broker still gets there; what is on its way back does not.
        self.queue.retain(|Reverse((_, _, what))| matches!(what, Happening::Arrived(..) | Happening::Tick));
        self.conns.values_mut().for_each(|conn| conn.open = false);
        self.shift_conns();
        self.after();
    }

    /// Connection numbers begin again with another shipper: those of the old one get others.
    fn shift_conns(&mut self) {
        const SHIFT: u64 = 1_000_000;
        let shifted = |id: ConnId| ConnId(id.0 + SHIFT);
        self.conns = std::mem::take(&mut self.conns).into_iter().map(|(id, conn)| (shifted(id), conn)).collect();
        let happenings = std::mem::take(&mut self.queue).into_iter().map(|Reverse((at, serial, what))| match what {
            Happening::Arrived(id, bytes) => Reverse((at, serial, Happening::Arrived(shifted(id), bytes))),
            other => Reverse((at, serial, other)),
        });
        self.queue = happenings.collect();
    }

    /// Closes what is open.
    pub fn seal_all(&mut self) {
        let now = self.now();
        self.shipper.flush(now);
        self.after();
    }

    /// Lets `ms` go by.
    pub fn run(&mut self, ms: u64) {
        let until = self.now_ns + ms * MS;
        while self.step(until) {}
        self.now_ns = until;
    }

    /// Runs until nothing is held, at most `ms`.
    pub fn drain(&mut self, ms: u64) {
        let until = self.now_ns + ms * MS;
        while self.shipper.held_entries() > 0 && self.step(until) {}
    }

    /// True once the process was killed in the middle of what it was asked to do.
    pub fn is_dead(&self) -> bool {
        self.dies_in == Some(0)
    }

    fn step(&mut self, until: u64) -> bool {
        if self.is_dead() {
            return false;
        }
        let next = self.queue.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
        let wake = self.shipper.next_wake().map_or(u64::MAX, Mono::ns);
        if next.min(wake) > until {
            return false;
        }
        self.now_ns = self.now_ns.max(next.min(wake));
        if wake <= next {
            self.steps += 1;
            self.shipper.on_time(self.now());
        } else if let Some(Reverse((_, _, what))) = self.queue.pop() {
            self.happen(what);
        }
        self.after();
        true
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Connected(conn) => self.tell(conn, Event::Connected { conn }),
            Happening::Refused(conn) => self.tell(conn, Event::ConnectFailed { conn, reason: "connection refused" }),
            Happening::Written(conn) => self.written(conn),
            Happening::Sent(conn, slot, bytes, start) => {
                if let Some(slot) = slot {
                    let memory = &self.shipper.slot_bytes(slot)[start..start + bytes.len()];
                    assert!(memory == &bytes[..], "a slot changed before its write had ended");
                }
                self.steps += 1;
                self.shipper.on_event(Event::Sent { conn, slot }, self.now());
            }
            Happening::Arrived(conn, bytes) => self.arrived(conn, &bytes),
            Happening::Answered(conn, bytes) => self.answered(conn, &bytes),
            Happening::Closed(conn) => {
                self.tell(conn, Event::Closed { conn, reason: "connection reset" });
                self.break_off(conn);
            }
            Happening::Crashed(broker) => self.restart(broker),
            Happening::Spilled(slot, bytes) => self.spilled(slot, bytes),
            Happening::Loaded(slot, frame) => self.loaded(slot, frame),
            Happening::FrameDone(slot, frame) => self.frame_done(slot, frame),
            Happening::Tick => self.tick(),
        }
    }

    fn tell(&mut self, conn: ConnId, event: Event<'_>) {
        let open = self.conns.get(&conn).is_some_and(|it| it.open);
        if !self.is_dead() && (open || self.chance(self.strange.late)) {
            self.steps += 1;
            self.shipper.on_event(event, self.now());
            self.after();
        }
    }

    /// Carries out what the shipper asks, and looks after it.
    pub fn after(&mut self) {
        while let Some(action) = self.shipper.poll_action() {
            if let Some(left) = &mut self.dies_in {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    continue;
                }
            }
            match action {
                Action::Connect { conn, host, .. } => self.connect(conn, &host),
                Action::Send { conn, bytes } => self.write(conn, None, bytes, 0..0),
                Action::SendBatch { conn, slot, range } => {
                    let bytes = self.shipper.slot_bytes(slot)[range.clone()].to_vec();
                    self.write(conn, Some(slot), bytes, range);
                }
                Action::Close { conn } => self.break_off(conn),
                Action::Spill { slot, range, .. } => {
                    let bytes = self.shipper.slot_bytes(slot)[range].to_vec();
                    self.spill(slot, bytes);
                }
                Action::Load { frame, slot } => self.load(frame, slot),
                Action::Restate { frame, bytes } => self.restate_frame(frame, &bytes),
                Action::FrameDone { frame, slot } => {
                    let delay = self.rng.below((self.disk.slow_ms + 1) * MS);
                    self.later(delay, Happening::FrameDone(slot, frame));
                }
                Action::Report { level, text } => self.reports.push((level, text)),
                Action::Settled { ticket, outcome } => self.settled.push((ticket, outcome)),
            }
        }
        self.shipper.check_accounting().expect("the accounting holds");
    }

    fn connect(&mut self, id: ConnId, host: &str) {
        self.connects += 1;
        let broker: i32 = host.trim_start_matches("broker-").parse().expect("a broker's name");
        let conn = Conn {
            broker,
            open: true,
            hung: false,
            writes: VecDeque::new(),
            writing: false,
            next_arrival: 0,
            next_answer: 0,
        };
        assert!(self.conns.insert(id, conn).is_none(), "connection numbers are never used twice");
        let delay = self.rng.below(5 * MS);
        if self.down.contains(&broker) || self.chance(self.weather.refuse_connect) {
            self.later(delay, Happening::Refused(id));
        } else {
            self.later(delay, Happening::Connected(id));
        }
    }

    fn write(&mut self, id: ConnId, slot: Option<SlotId>, bytes: Vec<u8>, range: std::ops::Range<usize>) {
        let conn = self.conns.get_mut(&id).expect("a connection that was asked for");
        conn.writes.push_back((slot, bytes, range));
        if !conn.writing {
            conn.writing = true;
            let delay = self.write_time();
            self.later(delay, Happening::Written(id));
        }
    }

    /// Now and then a write takes longer than any pause.
    fn write_time(&mut self) -> u64 {
        let most = if self.weather.cut > 0 && self.rng.below(12) == 0 { 600 } else { 2 };
        self.rng.below(most * MS)
    }

    fn written(&mut self, id: ConnId) {
        let delay = self.rng.below(2 * MS);
        let conn = self.conns.get_mut(&id).expect("known");
        let Some((slot, bytes, range)) = conn.writes.pop_front() else { return };
        let arrival = (self.now_ns + delay).max(conn.next_arrival);
        conn.next_arrival = arrival + 1;
        conn.writing = !conn.writes.is_empty();
        let (more, open) = (conn.writing, conn.open);
        // What was written before the connection broke may still arrive, as late as it likes.
        if open || self.rng.below(2) == 0 {
            self.at(arrival, Happening::Arrived(id, bytes.clone()));
        }
        if more {
            let delay = self.write_time();
            self.later(delay, Happening::Written(id));
        }
        // Also for a connection that is gone, and sometimes after the answer.
        let delay = self.write_time();
        self.later(delay, Happening::Sent(id, slot, bytes, range.start));
    }

    /// Every connection of a gateway that is gone; what it had written may still arrive, but nobody hears of anything. Returns a
    /// number that no connection had.
    pub fn break_all(&mut self) -> u64 {
        self.conns.values_mut().for_each(|conn| conn.open = false);
        let old = std::mem::take(&mut self.queue);
        let left =
            old.into_iter().filter(|Reverse((_, _, what))| matches!(what, Happening::Arrived(..) | Happening::Tick));
        self.queue = left.collect();
        self.conns.keys().map(|conn| conn.0 + 1).max().unwrap_or(0)
    }

    /// Nothing that was sent arrives any more.
    pub fn lose_what_is_under_way(&mut self) {
        let gone = |what: &Happening| matches!(what, Happening::Arrived(..));
        self.queue.retain(|Reverse((_, _, what))| !gone(what));
    }

    /// Bytes that are being written to the spool.
    pub(super) fn spills_under_way(&self) -> Vec<Vec<u8>> {
        let mut spills: Vec<_> = self.queue.iter().collect();
        spills.sort();
        let bytes = |Reverse((_, _, what)): &Reverse<(u64, u64, Happening)>| match what {
            Happening::Spilled(_, bytes) => bytes.clone(),
            _ => None,
        };
        spills.into_iter().filter_map(bytes).collect()
    }

    fn break_off(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.open = false;
        }
    }

    fn tick(&mut self) {
        if self.chance(self.strange.clock_jump) {
            self.wall_shift_us = self.rng.below(10 * HOUR_US) as i64 - 5 * HOUR_US as i64;
        }
        if self.chance(self.weather.move_leader) {
            let brokers = self.brokers as u64;
            let to = 1 + self.rng.below(brokers) as i32;
            let which = self.rng.next();
            for topic in self.topics.values_mut() {
                let at = (which % topic.partitions.len().max(1) as u64) as usize;
                if let Some(partition) = topic.partitions.get_mut(at) {
                    partition.leader = to;
                    partition.epoch += 1;
                }
            }
        }
        if self.chance(self.weather.restart) {
            let broker = 1 + self.rng.below(self.brokers as u64) as i32;
            self.restart(broker);
        }
        self.later(50 * MS, Happening::Tick);
    }

    /// Breaks a broker's connections; of each producer it leads, only the last batch is remembered.
    pub fn restart(&mut self, broker: i32) {
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            if partition.leader == broker {
                for remembered in partition.producers.values_mut() {
                    remembered.last = remembered.last.pop_back().into_iter().collect();
                }
            }
        }
        let mut ids: Vec<ConnId> =
            self.conns.iter().filter(|(_, conn)| conn.broker == broker && conn.open).map(|(id, _)| *id).collect();
        ids.sort();
        for id in ids {
            self.later(0, Happening::Closed(id));
        }
    }

    fn arrived(&mut self, id: ConnId, bytes: &[u8]) {
        let (cut, hang) = (self.chance(self.weather.cut), self.chance(self.weather.hang));
        let before = self.rng.below(2) == 0;
        let conn = self.conns.get_mut(&id).expect("known");
        if conn.hung || self.down.contains(&conn.broker) {
            return;
        }
        conn.hung |= hang;
        let broker = conn.broker;
        if cut && self.chance(self.strange.crash) {
            // What arrives meanwhile is appended, and forgotten but for the last of it.
            self.later(20 * MS, Happening::Crashed(broker));
        }
        if (cut || hang) && before {
            if cut {
                self.later(0, Happening::Closed(id));
            }
            return;
        }
        assert_eq!(u32::from_be_bytes(bytes[..4].try_into().expect("size")) as usize, bytes.len() - 4);
        if self.lose_requests_to == Some(i16::from_be_bytes([bytes[4], bytes[5]])) {
            return self.later(0, Happening::Closed(id));
        }
        let swallowed = self.cut_answers_to == Some(i16::from_be_bytes([bytes[4], bytes[5]]));
        let asked = broker_side::read(&bytes[4..]);
        let is_sasl = matches!(asked.body, Body::SaslHandshake { .. } | Body::SaslAuthenticate { .. });
        let verdict = self.sasl.as_mut().map_or(Verdict::Pass, |guard| guard.take(id, &asked, self.now_ns));
        if matches!(verdict, Verdict::Close) {
            self.later(0, Happening::Closed(id));
        }
        if matches!(verdict, Verdict::Close) || (is_sasl && self.silent_sasl) {
            return;
        }
        let answer = if let Verdict::Answer(answer) = verdict {
            answer
        } else if self.garbage {
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()
        } else {
            self.serve(broker, &asked)
        };
        if hang {
            return;
        }
        if swallowed {
            return self.later(0, Happening::Closed(id));
        }
        let delay = self.rng.below(10 * MS);
        let conn = self.conns.get_mut(&id).expect("known");
        let at = (self.now_ns + delay).max(conn.next_answer);
        conn.next_answer = at + 2;
        if cut {
            let half = self.rng.below(answer.len() as u64) as usize;
            self.at(at, Happening::Answered(id, answer[..half].to_vec()));
            self.at(at + 1, Happening::Closed(id));
        } else {
            if self.chance(self.strange.twice) {
                self.at(at + 1, Happening::Answered(id, answer.clone()));
            }
            self.at(at, Happening::Answered(id, answer));
        }
    }

    fn answered(&mut self, id: ConnId, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = 1 + self.rng.below(rest.len() as u64) as usize;
            let (piece, behind) = rest.split_at(len);
            rest = behind;
            self.tell(id, Event::Received { conn: id, bytes: piece });
        }
    }

    fn serve(&mut self, broker: i32, asked: &Asked) -> Vec<u8> {
        let correlation = asked.correlation;
        match &asked.body {
            Body::ApiVersions => {
                let mine = self.ranges.iter().find(|range| range.key == requests::API_VERSIONS).expect("listed");
                if asked.version > mine.max {
                    return broker_side::api_versions(correlation, 0, 35, &[*mine]);
                }
                broker_side::api_versions(correlation, asked.version, 0, &self.ranges)
            }
            Body::Metadata { topics } => {
                self.metadata_asked += 1;
                let answer = self.metadata(topics);
                broker_side::metadata(correlation, asked.version, &answer)
            }
            Body::InitProducerId => {
                self.next_pid += 1;
                let error = if self.deny_producer_id { 31 } else { 0 };
                let error = if error == 0 && self.chance(self.weather.error) { 14 } else { error };
                let answer = ProducerId { throttle_ms: 0, error, id: self.next_pid, epoch: 0 };
                broker_side::producer_id(correlation, asked.version, &answer)
            }
            Body::Produce(_) => self.produce(broker, asked),
            Body::SaslHandshake { .. } | Body::SaslAuthenticate { .. } => {
                let answer = SaslHandshake { error: 34, ..SaslHandshake::default() };
                broker_side::sasl_handshake(correlation, asked.version, &answer)
            }
            Body::DescribeProducers(about) | Body::ListOffsets(about) | Body::Fetch(about) => {
                self.inquiries += 1;
                self.tell_of_log(broker, asked, about)
            }
        }
    }

    fn metadata(&mut self, topics: &[String]) -> Metadata {
        let node = |id| Node { id, host: format!("broker-{id}"), port: 9092 };
        let mut answer = Metadata {
            nodes: (self.first_broker..self.first_broker + self.brokers).map(node).collect(),
            ..Metadata::default()
        };
        for name in topics {
            if !self.topics.contains_key(name) && self.auto_create > 0 {
                self.create(name, self.auto_create, 200);
            }
            let mut news = TopicMetadata { error: 3, name: name.clone(), ..TopicMetadata::default() };
            if let Some(topic) = self.topics.get(name) {
                news.error = 5;
                if topic.known_at <= self.now_ns {
                    (news.error, news.id) = (0, topic.id);
                    let part = |(at, it): (usize, &Partition)| PartitionMetadata {
                        error: 0,
                        index: at as i32,
                        leader: it.leader,
                        leader_epoch: it.epoch,
                    };
                    news.partitions = topic.partitions.iter().enumerate().map(part).collect();
                }
            }
            answer.topics.push(news);
        }
        answer
    }

    /// Every broker forgets every producer (expired, or lost with a log directory).
    pub fn forget_producers(&mut self) {
        self.topics.values_mut().flat_map(|topic| &mut topic.partitions).for_each(|it| it.producers.clear());
    }

    pub(super) fn some_error(&mut self) -> (i16, bool) {
        if let Some(error) = self.forced_error {
            return (error, false);
        }
        if !self.chance(self.weather.error) {
            return (0, false);
        }
        [(2, false), (3, false), (5, false), (6, false), (19, false), (7, true), (20, true), (-1, true)]
            [self.rng.below(8) as usize]
    }

    /// Takes note of what was just appended, and panics if a lane's entries are not in order.
    pub(super) fn watch(&mut self, topic: &str, partition: i32, offset: i64) {
        let log = &self.topics[topic].partitions[partition as usize].log;
        for value in &log[offset as usize..] {
            let text = std::str::from_utf8(value).expect("text");
            for piece in text.split("\"lane\":").skip(1) {
                let (lane, rest) = piece.split_once(",\"n\":").expect("a lane and a number");
                let n: u64 = rest.split(',').next().and_then(|n| n.parse().ok()).expect("a number");
                let key = (topic.to_owned(), partition, lane.parse().expect("a lane"));
                if self.strange.doubles {
                    let last = self.last_seen.entry(key).or_default();
                    *last = n.max(*last);
                    continue;
                }
                let before = self.last_seen.insert(key, n);
                assert!(
                    before.is_none_or(|before| before < n),
                    "{n} behind {before:?} of lane {lane} in {topic}-{partition}"
                );
            }
        }
    }

    /// Every number of a lane that lies in the topic, in the order of each partition.
    pub fn delivered(&self, topic: &str, lane: LaneId) -> Vec<Vec<u64>> {
        let at = self.accepted.iter().position(|(other, _)| *other == lane).expect("a lane with entries");
        let mark = format!("\"lane\":{at},\"n\":");
        let numbers = |partition: &Partition| {
            let mut numbers = Vec::new();
            for value in &partition.log {
                let text = std::str::from_utf8(value).expect("text");
                for piece in text.split(&mark).skip(1) {
                    let digits = piece.split(',').next().expect("digits");
                    numbers.push(digits.parse().expect("a number"));
                }
            }
            numbers
        };
        self.topics[topic].partitions.iter().map(numbers).collect()
    }

    /// Panics unless every accepted entry is in the topic exactly once, and in order per partition.
    pub fn assert_exactly_once(&self, topic: &str, lane: LaneId) {
        let parts = self.delivered(topic, lane);
        for (at, part) in parts.iter().enumerate() {
            assert!(part.is_sorted_by(|a, b| a < b), "partition {at} of {topic} is in disorder: {part:?}");
        }
        let mut all: Vec<u64> = parts.into_iter().flatten().collect();
        all.sort_unstable();
        let accepted = &self.accepted.iter().find(|(other, _)| *other == lane).expect("a lane with entries").1;
        assert_eq!(&all, accepted, "missing or double in {topic}");
    }
}
