//! A cluster in a box, from one seed: brokers with Kafka's duplicate detection, connections that are slow, cut and hang, leaders
//! that move, brokers that restart. It drives one shipper and looks after every step.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use super::batch::Out;
use super::codec::answers::{
    ApiRange, Metadata, Node, PartitionMetadata, Produced, ProducerId, SaslHandshake, TopicMetadata,
};
use super::codec::broker_side::{self, Asked, Body};
use super::codec::requests;
use super::event::{Action, Appended, ConnId, Event, Level, SlotId, Ticket};
use super::options::{LaneId, SinkSpec};
use super::producer::Outcome;
use super::retry::Rng;
use super::shipper::Shipper;
use super::sim_disk::Disk;
use super::sim_sasl::{Guard, Verdict};
use super::stored::FrameRef;
use crate::base::time::Now;
use crate::base::{Mono, Wall};

pub const MS: u64 = 1_000_000;

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

/// What a broker remembers of a producer in a partition.
#[derive(Debug, Default)]
pub struct Remembered {
    epoch: i16,
    /// First sequence, last sequence.
    last: VecDeque<(i32, i32)>,
}

#[derive(Debug, Default)]
pub struct Partition {
    pub leader: i32,
    epoch: i32,
    /// Values in order.
    pub log: Vec<Vec<u8>>,
    /// Keys in order.
    pub keys: Vec<Option<Vec<u8>>>,
    pub producers: HashMap<i64, Remembered>,
    pub batches: u64,
}

#[derive(Debug)]
pub struct Topic {
    pub id: [u8; 16],
    known_at: u64,
    pub partitions: Vec<Partition>,
    pub batch_bytes_max: usize,
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
    Spilled(SlotId, Option<Vec<u8>>),
    Loaded(SlotId, Option<FrameRef>),
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
    pub down: Vec<i32>,
    pub ranges: Vec<ApiRange>,
    /// Produce answers this, always; nothing is appended.
    pub forced_error: Option<i16>,
    pub deny_producer_id: bool,
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
}

pub fn all_versions() -> Vec<ApiRange> {
    [(0, 0, 13), (3, 0, 13), (18, 0, 4), (22, 0, 5), (17, 0, 1), (36, 0, 2)]
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
            down: Vec::new(),
            ranges: all_versions(),
            forced_error: None,
            deny_producer_id: false,
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
        };
        sim.later(50 * MS, Happening::Tick);
        sim
    }

    pub fn now(&self) -> Now {
        let wall = Wall { unix_us: 1_700_000_000_000_000 + self.now_ns / 1_000, utc_offset_min: 0 };
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

    fn step(&mut self, until: u64) -> bool {
        let next = self.queue.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
        let wake = self.shipper.next_wake().map_or(u64::MAX, Mono::ns);
        if next.min(wake) > until {
            return false;
        }
        self.now_ns = self.now_ns.max(next.min(wake));
        if wake <= next {
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
                self.shipper.on_event(Event::Sent { conn, slot }, self.now());
            }
            Happening::Arrived(conn, bytes) => self.arrived(conn, &bytes),
            Happening::Answered(conn, bytes) => self.answered(conn, &bytes),
            Happening::Closed(conn) => {
                self.tell(conn, Event::Closed { conn, reason: "connection reset" });
                self.break_off(conn);
            }
            Happening::Spilled(slot, bytes) => self.spilled(slot, bytes),
            Happening::Loaded(slot, frame) => self.loaded(slot, frame),
            Happening::Tick => self.tick(),
        }
    }

    fn tell(&mut self, conn: ConnId, event: Event<'_>) {
        if self.conns.get(&conn).is_some_and(|it| it.open) {
            self.shipper.on_event(event, self.now());
            self.after();
        }
    }

    /// Carries out what the shipper asks, and looks after it.
    pub fn after(&mut self) {
        while let Some(action) = self.shipper.poll_action() {
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
                Action::FrameDone { frame } => self.frame_done(frame),
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

    fn break_off(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.open = false;
        }
    }

    fn tick(&mut self) {
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
        if (cut || hang) && before {
            if cut {
                self.later(0, Happening::Closed(id));
            }
            return;
        }
        assert_eq!(u32::from_be_bytes(bytes[..4].try_into().expect("size")) as usize, bytes.len() - 4);
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
        let delay = self.rng.below(10 * MS);
        let conn = self.conns.get_mut(&id).expect("known");
        let at = (self.now_ns + delay).max(conn.next_answer);
        conn.next_answer = at + 2;
        if cut {
            let half = self.rng.below(answer.len() as u64) as usize;
            self.at(at, Happening::Answered(id, answer[..half].to_vec()));
            self.at(at + 1, Happening::Closed(id));
        } else {
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
        }
    }

    fn metadata(&mut self, topics: &[String]) -> Metadata {
        let node = |id| Node { id, host: format!("broker-{id}"), port: 9092 };
        let mut answer = Metadata { nodes: (1..=self.brokers).map(node).collect(), ..Metadata::default() };
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

    fn produce(&mut self, broker: i32, asked: &Asked) -> Vec<u8> {
        let Body::Produce(request) = &asked.body else { panic!("Produce") };
        self.produce_versions.push(asked.version);
        let mut answer = Produced { partition: request.partition, base_offset: -1, ..Produced::default() };
        let (error, append_anyway) = self.some_error();
        if self.chance(self.weather.throttle) {
            answer.throttle_ms = 100;
        }
        let hints = self.rng.below(2) == 0;
        let by_id = asked.version >= 13;
        let topic = self
            .topics
            .iter_mut()
            .find(|(name, topic)| if by_id { topic.id == request.topic_id } else { **name == request.topic });
        let reply = |answer: &Produced| {
            broker_side::produced(asked.correlation, asked.version, (&request.topic, request.topic_id), answer)
        };
        let Some((_, topic)) = topic else {
            answer.error = if by_id { 100 } else { 3 };
            return reply(&answer);
        };
        let batch_bytes_max = topic.batch_bytes_max;
        let Some(partition) = topic.partitions.get_mut(request.partition as usize) else {
            answer.error = 3;
            return reply(&answer);
        };
        answer.error = if partition.leader != broker {
            if hints && asked.version >= 10 {
                let id = partition.leader;
                answer.leader = Some((id, partition.epoch));
                answer.nodes = vec![Node { id, host: format!("broker-{id}"), port: 9092 }];
            }
            6
        } else if request.records.len() > batch_bytes_max {
            10
        } else if error != 0 && !append_anyway {
            error
        } else {
            match partition.append(&request.records) {
                0 => error,
                refused => refused,
            }
        };
        reply(&answer)
    }

    fn some_error(&mut self) -> (i16, bool) {
        if let Some(error) = self.forced_error {
            return (error, false);
        }
        if !self.chance(self.weather.error) {
            return (0, false);
        }
        [(2, false), (3, false), (5, false), (6, false), (19, false), (7, true), (20, true), (-1, true)]
            [self.rng.below(8) as usize]
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

impl Partition {
    /// Appends a batch as Kafka does; returns the error code.
    fn append(&mut self, batch: &[u8]) -> i16 {
        let records = broker_side::records(batch);
        let first = records.first().expect("never empty");
        if first.producer_id >= 0 {
            let (epoch, first_sequence) = (first.producer_epoch, first.sequence);
            let last_sequence = first_sequence + records.len() as i32 - 1;
            let known = self.producers.contains_key(&first.producer_id);
            let state = self.producers.entry(first.producer_id).or_default();
            if !known {
                // Kafka 4.1 takes any sequence of a producer that it does not know.
                state.epoch = epoch;
            } else if epoch < state.epoch {
                return 47;
            } else if epoch > state.epoch {
                if first_sequence != 0 {
                    return 45;
                }
                (state.epoch, state.last) = (epoch, VecDeque::new());
            } else if state.last.contains(&(first_sequence, last_sequence)) {
                return 0;
            } else if state.last.back().map_or(0, |(_, last)| last + 1) != first_sequence {
                return 45;
            }
            state.last.push_back((first_sequence, last_sequence));
            if state.last.len() > 5 {
                state.last.pop_front();
            }
        }
        for record in records {
            super::trace_tests::assert_numbered(&record);
            self.log.push(record.value.expect("a value").to_vec());
            self.keys.push(record.key.map(|key| key.to_vec()));
        }
        self.batches += 1;
        0
    }
}
