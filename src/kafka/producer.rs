//! The producer: which batch goes where, when it is sent again, what an answer means for it (KAFKA.md §2). A lane's batches are in
//! flight as a prefix of its queue; after a failure nothing is sent before everything in flight is answered, so order is kept.

use super::batch::{self, Identity};
use super::codec::answers::{self, Produced};
use super::codec::requests::{self, Caller};
use super::connection::{Connection, Garbage, Phase, Purpose, Welcome};
use super::event::{Action, ConnId, Level, SlotId};
use super::head::{self, Head};
use super::lane::{Lane, ProducerId};
use super::metadata::Leader;
use super::options::{Acks, PRODUCE_GRACE_MS};
use super::partition;
use super::retry::{self, Appended, Backoff, Metadata, Verdict};
use super::ring::{SlotMemory, State};
use super::shipper::Shipper;
use super::stats::LostReason;
use crate::base::Mono;

/// Metadata failures in a row before a topic that is not there is spoken of: creation by asking takes a moment.
const TOPIC_PATIENCE: u32 = 5;
/// Milliseconds after which work that waits is looked at again, whatever was overlooked.
const LOOK_AGAIN_MS: u64 = 250;

impl<M: SlotMemory> Shipper<M> {
    /// Sends what a lane may send now.
    pub(super) fn send(&mut self, index: usize, now: Mono) {
        if self.lanes[index].renew {
            self.renew(index);
        }
        while let Some(slot) = self.next_to_send(index, now) {
            let Some(partition) = self.partition(index, now) else { return };
            let Some(conn) = self.leader(index, partition, now) else { return };
            if !self.has_producer_id(index, now) || !self.send_batch(index, slot, partition, conn, now) {
                return;
            }
        }
    }

    /// The first batch that is not in flight, if nothing behind it is and the window has room.
    fn next_to_send(&self, index: usize, now: Mono) -> Option<SlotId> {
        let lane = &self.lanes[index];
        let in_flight = self.in_flight(index);
        let next = *lane.queue.get(in_flight)?;
        let slot = self.ring.slot(next);
        let prefix = slot.state == State::Queued
            && lane.queue.iter().take(in_flight).all(|id| self.ring.slot(*id).state == State::InFlight);
        let window = Lane::window(self.sinks[lane.sink].spec.mode);
        (prefix && in_flight < window && slot.pins == 0 && lane.retry_at <= now && !lane.renew).then_some(next)
    }

    /// The partition that the lane writes to; asks for metadata if the topic is not known.
    fn partition(&mut self, index: usize, now: Mono) -> Option<i32> {
        let settled = self.lanes[index].queue.iter().all(|id| !self.ring.slot(*id).batch.sent);
        let lane = &mut self.lanes[index];
        let sink = &mut self.sinks[lane.sink];
        let topic = &sink.topics[lane.topic];
        if topic.leaders.is_empty() {
            sink.schedule.wanted = true;
            self.wake_at(now);
            return None;
        }
        let worn = lane.partition_bytes >= self.options.sticky_bytes
            || lane.partition.is_some_and(|partition| topic.leader(partition).is_none());
        if lane.partition.is_none() || worn && settled && lane.spec.key.is_none() {
            lane.partition = match &lane.spec.key {
                Some(key) => Some(partition::of_key(lane.spec.partitioner, key, topic.leaders.len() as u32) as i32),
                None => topic.any_partition(lane.partition, &mut self.rng),
            };
            lane.partition_bytes = 0;
        }
        lane.partition
    }

    /// A connection to the partition's leader that takes requests now; sees to it that there will be one.
    fn leader(&mut self, index: usize, partition: i32, now: Mono) -> Option<ConnId> {
        let lane = &self.lanes[index];
        let sink = &mut self.sinks[lane.sink];
        let leader = sink.topics[lane.topic].leader(partition).and_then(|node| sink.brokers.by_node(node));
        let Some(broker) = leader else {
            sink.schedule.wanted = true;
            return None;
        };
        let (key, conn, retry_at) = (broker.key, broker.conn, broker.retry_at);
        let at = lane.sink;
        match conn {
            Some(conn) => self.connections.get(&conn).filter(|own| own.is_open(now)).map(|own| own.id),
            None if retry_at <= now => {
                self.connect(at, key, now);
                None
            }
            None => {
                // The leader cannot be reached: perhaps there is another by now.
                self.sinks[at].schedule.wanted = true;
                None
            }
        }
    }

    fn connect(&mut self, sink: usize, key: u32, now: Mono) {
        let conn = ConnId(self.next_conn);
        let Some(broker) = self.sinks[sink].brokers.by_key(key) else { return };
        self.next_conn += 1;
        broker.conn = Some(conn);
        let (host, port) = (broker.host.clone(), broker.port);
        self.connections.insert(conn, Connection::new(conn, sink, key, now));
        self.actions.push_back(Action::Connect { conn, host, port });
    }

    /// True if the lane may number its batches; asks for a producer id otherwise.
    fn has_producer_id(&mut self, index: usize, now: Mono) -> bool {
        let lane = &self.lanes[index];
        match lane.producer {
            ProducerId::Unneeded | ProducerId::Has(..) => true,
            ProducerId::Asked(conn) => {
                if !self.connections.contains_key(&conn) {
                    self.lanes[index].producer = ProducerId::Wanted(now);
                }
                false
            }
            ProducerId::Wanted(at) if at > now => false,
            ProducerId::Wanted(_) => {
                self.ask_producer_id(index, now);
                self.lanes[index].producer == ProducerId::Unneeded
            }
        }
    }

    fn ask_producer_id(&mut self, index: usize, now: Mono) {
        let sink = self.lanes[index].sink;
        if self.sinks[sink].is_plain {
            self.lanes[index].producer = ProducerId::Unneeded;
            return;
        }
        let deadline = now.plus_ms(self.options.request_timeout_ms);
        let open = self.connections.values_mut().find(|conn| conn.sink == sink && conn.is_open(now));
        let Some(conn) = open else { return };
        let Some(version) = conn.versions.init_producer_id else {
            self.without_producer_ids(sink, "it is too old for them");
            self.lanes[index].producer = ProducerId::Unneeded;
            return;
        };
        let correlation = conn.expect(Purpose::ProducerId(version, index as u32), deadline);
        let caller = Caller { client_id: &self.options.client_id, correlation };
        let bytes = requests::init_producer_id(caller, version);
        let id = conn.id;
        self.lanes[index].producer = ProducerId::Asked(id);
        self.actions.push_back(Action::Send { conn: id, bytes });
    }

    fn without_producer_ids(&mut self, sink: usize, why: &str) {
        if !std::mem::replace(&mut self.sinks[sink].is_plain, true) {
            let name = self.sinks[sink].name();
            let text = format!(
                "Kafka {name} gives no producer ids ({why}): going on without; a batch whose answer is lost may be stored twice"
            );
            self.report(Level::Warn, text);
        }
    }

    /// Puts one batch on the wire. False if it cannot be.
    fn send_batch(&mut self, index: usize, id: SlotId, partition: i32, conn: ConnId, now: Mono) -> bool {
        let lane = &mut self.lanes[index];
        let sink = &self.sinks[lane.sink];
        let topic = &sink.topics[lane.topic];
        let Some(connection) = self.connections.get_mut(&conn) else { return false };
        let Some(version) = connection.versions.produce else { return false };
        let slot = self.ring.slot_mut(id);
        let records = slot.batch.part.records as i32;
        if slot.batch.identity.is_none() {
            let identity = match lane.producer {
                ProducerId::Has(producer_id, epoch) => {
                    let next = lane.sequences.entry(partition).or_default();
                    let sequence = *next;
                    *next = next.wrapping_add(records) & i32::MAX;
                    Identity { producer_id, epoch, sequence }
                }
                _ => Identity::NONE,
            };
            slot.batch.identity = Some(identity);
            slot.batch.keep_under_tail(slot.memory.bytes());
            batch::write_header(slot.memory.bytes_mut(), &slot.batch.part, identity);
            lane.partition_bytes += slot.batch.part_bytes() as u64;
        }
        let deadline =
            now.plus_ms(u64::from(sink.spec.timeout_ms) + PRODUCE_GRACE_MS.max(self.options.request_timeout_ms));
        let purpose = Purpose::Produce { version, lane: index as u32, partition, slot: id };
        // Without an id the topic goes by its name.
        let version = if topic.id == [0; 16] { version.min(head::PRODUCE_VERSION_TOPIC_ID - 1) } else { version };
        let purpose = match purpose {
            Purpose::Produce { lane, partition, slot, .. } => Purpose::Produce { version, lane, partition, slot },
            other => other,
        };
        let correlation = connection.expect(purpose, deadline);
        let head = Head {
            version,
            correlation,
            client_id: &self.options.client_id,
            acks: if sink.spec.acks == Acks::All { -1 } else { 1 },
            timeout_ms: i32::try_from(sink.spec.timeout_ms).unwrap_or(i32::MAX),
            topic: &topic.name,
            topic_id: topic.id,
            partition,
        };
        let end = slot.batch.part.end;
        let Some(range) = head::write_head(slot.memory.bytes_mut(), &head, end) else { return false };
        slot.state = State::InFlight;
        slot.pins += 1;
        self.stats.batches_sent += 1;
        if std::mem::replace(&mut slot.batch.sent, true) {
            self.stats.batches_retried += 1;
        }
        self.actions.push_back(Action::SendBatch { conn, slot: id, range });
        true
    }

    /// A new identity, once nothing is in flight: what may have been appended under the old one is in doubt, the rest is numbered
    /// anew.
    fn renew(&mut self, index: usize) {
        if self.in_flight(index) > 0 {
            return;
        }
        let queue = std::mem::take(&mut self.lanes[index].queue);
        for id in queue {
            let batch = &mut self.ring.slot_mut(id).batch;
            if batch.doubt {
                let entries = batch.entries_of(batch.whole.records);
                self.doubt(index, entries);
                self.give_back(id);
            } else {
                batch.identity = None;
                self.lanes[index].queue.push_back(id);
            }
        }
        let lane = &mut self.lanes[index];
        lane.sequences.clear();
        lane.renew = false;
        if lane.producer != ProducerId::Unneeded {
            lane.producer = ProducerId::Wanted(Mono::default());
        }
    }

    /// A connection stands: ask what the broker speaks.
    pub(super) fn connected(&mut self, id: ConnId, now: Mono) {
        let deadline = now.plus_ms(self.options.request_timeout_ms);
        let Some(conn) = self.connections.get_mut(&id).filter(|conn| conn.phase == Phase::Connecting) else { return };
        let bytes = conn.hello(&self.options.client_id, requests::API_VERSIONS_MAX, deadline);
        self.actions.push_back(Action::Send { conn: id, bytes });
    }

    /// A connection is gone: everything that it owed an answer for is queued again.
    pub(super) fn disconnected(&mut self, id: ConnId, reason: &str, now: Mono) {
        let Some(conn) = self.connections.remove(&id) else { return };
        let idle = conn.phase == Phase::Ready && conn.is_idle();
        let backoff = Backoff::of_connections(&self.options);
        let mut place = None;
        if let Some(broker) = self.sinks[conn.sink].brokers.by_key(conn.broker) {
            broker.conn = None;
            if !idle {
                broker.failures += 1;
                broker.retry_at = backoff.until(now, broker.failures, &mut self.rng);
            }
            place = Some((broker.host.clone(), broker.port, broker.failures));
        }
        let schedule = &mut self.sinks[conn.sink].schedule;
        schedule.wanted |= !idle;
        if schedule.asked == Some(id) {
            schedule.failed(now, Backoff::of_requests(&self.options), &mut self.rng);
        }
        for purpose in conn.unanswered() {
            match purpose {
                Purpose::Produce { lane, slot, .. } => self.unanswered(lane as usize, slot, now),
                Purpose::ProducerId(_, lane) => self.lanes[lane as usize].producer = ProducerId::Wanted(now),
                Purpose::ApiVersions(_) | Purpose::Metadata(_) => {}
            }
        }
        if let Some((host, port, failures)) = place.filter(|_| !idle) {
            self.say_bad(conn.sink, &format!("{host}:{port}: {reason}"), failures);
        }
    }

    /// One line when a sink turns bad: from the second failure on, because brokers restart.
    fn say_bad(&mut self, sink: usize, what: &str, failures: u32) {
        if failures >= 2 && !std::mem::replace(&mut self.sinks[sink].is_bad, true) {
            let (name, held) = (self.sinks[sink].name(), self.held);
            let text = format!(
                "Kafka {name} does not take log entries ({what}): {held} are held and sent as soon as it does; check the broker and \
                 the plugin's brokers"
            );
            self.report(Level::Error, text);
        }
    }

    fn say_good(&mut self, sink: usize) {
        if std::mem::replace(&mut self.sinks[sink].is_bad, false) {
            let name = self.sinks[sink].name();
            self.report(Level::Info, format!("Kafka {name} takes log entries again"));
        }
    }

    /// A batch was sent and its answer will not come.
    fn unanswered(&mut self, index: usize, id: SlotId, now: Mono) {
        let slot = self.ring.slot_mut(id);
        if slot.state != State::InFlight {
            return;
        }
        slot.state = State::Queued;
        slot.batch.doubt = true;
        slot.batch.failures += 1;
        self.pause(index, now);
    }

    fn pause(&mut self, index: usize, now: Mono) {
        let lane = &mut self.lanes[index];
        let spec = &self.sinks[lane.sink].spec;
        lane.failures += 1;
        lane.retry_at = match spec.retry_delay_ms {
            Some(ms) => now.plus_ms(u64::from(ms)),
            None => Backoff::of_requests(&self.options).until(now, lane.failures, &mut self.rng),
        };
    }

    fn drop_connection(&mut self, id: ConnId, reason: &str, now: Mono) {
        self.actions.push_back(Action::Close { conn: id });
        self.disconnected(id, reason, now);
    }

    /// Requests that were not answered in time take their connection along.
    pub(super) fn overdue(&mut self, now: Mono) {
        let late: Vec<ConnId> = self
            .connections
            .values()
            .filter(|conn| {
                let connecting =
                    conn.phase == Phase::Connecting && conn.since.plus_ms(2 * self.options.connect_timeout_ms) <= now;
                connecting || conn.deadline().is_some_and(|deadline| deadline <= now)
            })
            .map(|conn| conn.id)
            .collect();
        for id in late {
            self.drop_connection(id, "no answer in time", now);
        }
    }

    /// Bytes came from a broker.
    pub(super) fn received(&mut self, id: ConnId, bytes: &[u8], now: Mono) {
        let Some(conn) = self.connections.get_mut(&id) else { return };
        conn.receive(bytes);
        let mut at = 0;
        loop {
            let Some(conn) = self.connections.get_mut(&id) else { return };
            match conn.next_answer(&mut at) {
                Ok(None) => {
                    conn.forget(at);
                    return;
                }
                Ok(Some((purpose, range))) => {
                    let body = conn.body(range).to_vec();
                    if !self.answer(id, purpose, &body, now) {
                        self.drop_connection(
                            id,
                            "its answer is not Kafka's: is this port a Kafka listener without TLS?",
                            now,
                        );
                        return;
                    }
                }
                Err(Garbage::FrameSize | Garbage::Correlation | Garbage::Body) => {
                    self.drop_connection(
                        id,
                        "it does not speak Kafka: is this port a Kafka listener without TLS?",
                        now,
                    );
                    return;
                }
            }
        }
    }

    /// False if the answer is not what was asked for.
    fn answer(&mut self, id: ConnId, purpose: Purpose, body: &[u8], now: Mono) -> bool {
        match purpose {
            Purpose::ApiVersions(version) => self.welcomed(id, version, body, now),
            Purpose::Metadata(version) => self.learnt(id, version, body, now),
            Purpose::ProducerId(version, lane) => self.named(id, version, lane as usize, body, now),
            Purpose::Produce { version, lane, slot, .. } => {
                let Some(produced) = answers::produced(body, version) else {
                    self.unanswered(lane as usize, slot, now);
                    return false;
                };
                if let Some(conn) = self.connections.get_mut(&id) {
                    conn.throttle(now, produced.throttle_ms);
                }
                self.judged(lane as usize, slot, &produced, now);
                true
            }
        }
    }

    fn welcomed(&mut self, id: ConnId, version: i16, body: &[u8], now: Mono) -> bool {
        let deadline = now.plus_ms(self.options.request_timeout_ms);
        let Some(conn) = self.connections.get_mut(&id) else { return true };
        let (sink, broker) = (conn.sink, conn.broker);
        match conn.welcome(body, version) {
            Ok(Some(lower)) => {
                let bytes = conn.hello(&self.options.client_id, lower, deadline);
                self.actions.push_back(Action::Send { conn: id, bytes });
            }
            Ok(None) => {
                if let Some(broker) = self.sinks[sink].brokers.by_key(broker) {
                    broker.failures = 0;
                }
            }
            Err(Welcome::Garbage) => return false,
            Err(Welcome::Refused(error)) => {
                let reason = format!("it refused ApiVersions: {}", retry::error_name(error));
                self.drop_connection(id, &reason, now);
            }
            Err(Welcome::TooOld) => self.drop_connection(id, "it speaks no version of Produce that we do", now),
        }
        true
    }

    /// Asks for metadata when it is wanted, over any connection; makes one if there is none.
    pub(super) fn learn(&mut self, at: usize, now: Mono) {
        let sink = &mut self.sinks[at];
        let busy = self.lanes.iter().any(|lane| lane.sink == at && !lane.forgotten && !lane.is_empty());
        if !sink.schedule.wanted && busy && sink.schedule.refresh_at <= now {
            sink.schedule.wanted = true;
        }
        if !sink.schedule.wanted || !busy || sink.schedule.asked.is_some() || sink.schedule.retry_at > now {
            return;
        }
        let deadline = now.plus_ms(self.options.request_timeout_ms);
        let open = self.connections.values_mut().find(|conn| conn.sink == at && conn.is_open(now));
        let Some((conn, version)) = open.and_then(|conn| conn.versions.metadata.map(|version| (conn, version))) else {
            let connecting = self.connections.values().any(|conn| conn.sink == at && conn.phase != Phase::Ready);
            if !connecting && let Some(key) = self.sinks[at].brokers.next_to_try(now).map(|broker| broker.key) {
                self.connect(at, key, now);
            }
            return;
        };
        let correlation = conn.expect(Purpose::Metadata(version), deadline);
        let used =
            |topic: usize| self.lanes.iter().any(|lane| lane.sink == at && lane.topic == topic && !lane.forgotten);
        let topics: Vec<&str> = sink
            .topics
            .iter()
            .enumerate()
            .filter(|(topic, _)| used(*topic))
            .map(|(_, topic)| topic.name.as_str())
            .collect();
        let bytes = requests::metadata(Caller { client_id: &self.options.client_id, correlation }, version, &topics);
        let id = conn.id;
        sink.schedule.asked = Some(id);
        self.actions.push_back(Action::Send { conn: id, bytes });
    }

    fn learnt(&mut self, id: ConnId, version: i16, body: &[u8], now: Mono) -> bool {
        let Some(news) = answers::metadata(body, version) else { return false };
        let Some(conn) = self.connections.get_mut(&id) else { return true };
        conn.throttle(now, news.throttle_ms);
        let at = conn.sink;
        let (stale, moved) = self.sinks[at].brokers.adopt(&news.nodes);
        for (conn, key) in moved {
            if let Some(conn) = self.connections.get_mut(&conn) {
                conn.broker = key;
            }
        }
        let mut missing = None;
        for topic in &news.topics {
            if let Some(own) = self.sinks[at].topics.iter_mut().find(|own| own.name == topic.name) {
                own.learn(topic);
                if !own.is_whole() {
                    missing = Some((own.name.clone(), topic.error));
                }
            }
        }
        let sink = &mut self.sinks[at];
        match missing {
            None => {
                sink.schedule.asked = None;
                sink.schedule.wanted = false;
                sink.schedule.failures = 0;
                sink.schedule.refresh_at = now.plus_ms(self.options.metadata_max_age_ms);
            }
            Some((topic, error)) => {
                sink.schedule.failed(now, Backoff::of_requests(&self.options), &mut self.rng);
                let failures = self.sinks[at].schedule.failures;
                self.say_missing(at, &topic, error, failures);
            }
        }
        for id in stale {
            self.drop_connection(id, "the cluster knows it no more", now);
        }
        true
    }

    fn say_missing(&mut self, at: usize, topic: &str, error: i16, failures: u32) {
        let Some(own) = self.sinks[at].topics.iter_mut().find(|own| own.name == topic) else { return };
        if failures >= TOPIC_PATIENCE && !std::mem::replace(&mut own.reported, true) {
            let held = self.held;
            let why = if error == 0 { "a partition has no leader" } else { retry::error_name(error) };
            let text = format!(
                "topic {topic} cannot be written to ({why}): {held} log entries wait for it; create it, or allow the broker to \
                 (auto.create.topics.enable)"
            );
            self.report(Level::Error, text);
        }
    }

    /// The answer to InitProducerId.
    fn named(&mut self, id: ConnId, version: i16, index: usize, body: &[u8], now: Mono) -> bool {
        let Some(answer) = answers::producer_id(body, version) else {
            self.lanes[index].producer = ProducerId::Wanted(now);
            return false;
        };
        if let Some(conn) = self.connections.get_mut(&id) {
            conn.throttle(now, answer.throttle_ms);
        }
        if self.lanes[index].producer != ProducerId::Asked(id) {
            return true;
        }
        self.lanes[index].producer = match answer.error {
            0 => {
                self.lanes[index].producer_failures = 0;
                self.lanes[index].sequences.clear();
                ProducerId::Has(answer.id, answer.epoch)
            }
            retry::CLUSTER_AUTHORIZATION_FAILED | retry::UNSUPPORTED_VERSION => {
                let sink = self.lanes[index].sink;
                self.without_producer_ids(sink, retry::error_name(answer.error));
                ProducerId::Unneeded
            }
            _ => {
                self.lanes[index].producer_failures += 1;
                let failures = self.lanes[index].producer_failures;
                ProducerId::Wanted(Backoff::of_requests(&self.options).until(now, failures, &mut self.rng))
            }
        };
        true
    }

    /// What an answer means for its batch.
    fn judged(&mut self, index: usize, id: SlotId, produced: &Produced, now: Mono) {
        if self.ring.slot(id).state != State::InFlight {
            return;
        }
        let is_first = self.lanes[index].queue.front() == Some(&id);
        let slot = self.ring.slot_mut(id);
        slot.state = State::Queued;
        match retry::verdict(produced.error) {
            Verdict::Delivered => self.delivered(index, id, now),
            Verdict::Retry { appended, metadata } => {
                slot.batch.doubt |= appended == Appended::Perhaps;
                slot.batch.failures += 1;
                self.pause(index, now);
                if metadata == Metadata::Stale {
                    self.moved(index, produced, now);
                }
                self.tired(index, id, produced);
            }
            Verdict::Sequence if !is_first => self.pause(index, now),
            Verdict::Sequence | Verdict::Epoch => {
                self.lanes[index].renew = true;
                self.renew(index);
            }
            Verdict::TooLarge => self.cut(index, id, produced),
            Verdict::Refused => self.refused(index, id, produced, LostReason::Refused),
        }
    }

    fn delivered(&mut self, index: usize, id: SlotId, now: Mono) {
        let batch = &self.ring.slot(id).batch;
        let (records, bytes) = (batch.part.records, batch.part_bytes() as u64);
        let entries = batch.entries_of(records);
        let cut = batch.is_cut();
        self.stats.delivered += entries;
        self.stats.bytes_delivered += bytes;
        self.unhold(index, entries);
        let lane = &mut self.lanes[index];
        lane.failures = 0;
        lane.retry_at = now;
        let (sink, topic) = (lane.sink, lane.topic);
        self.sinks[sink].topics[topic].reported = false;
        self.say_good(sink);
        if cut && self.take_next_part(id) {
            return;
        }
        self.lanes[index].queue.retain(|slot| *slot != id);
        self.give_back(id);
    }

    /// After the first part of a batch that was too large: the rest moves to the front of the slot. False if it cannot.
    fn take_next_part(&mut self, id: SlotId) -> bool {
        let slot = self.ring.slot_mut(id);
        let memory = slot.memory.bytes_mut();
        slot.batch.put_back_tail(memory);
        let (done, whole) = (slot.batch.part, slot.batch.whole);
        let Some(end) = batch::move_to_front(memory, done.end, whole.end) else { return false };
        let done_entries = slot.batch.entries_of(done.records);
        if !slot.batch.record_entries.is_empty() {
            slot.batch.record_entries.drain(..done.records as usize);
        }
        let rest = batch::Sealed {
            end,
            records: whole.records - done.records,
            entries: whole.entries - done_entries,
            ..whole
        };
        slot.batch.seal(rest);
        true
    }

    /// MESSAGE_TOO_LARGE: half of the records at a time; a single one is lost.
    fn cut(&mut self, index: usize, id: SlotId, produced: &Produced) {
        let slot = self.ring.slot_mut(id);
        let part = slot.batch.part;
        let half = part.records / 2;
        let end = (part.attributes == 0 && half > 0)
            .then(|| batch::records_end(slot.memory.bytes(), batch::RECORDS_START, part.end, half))
            .flatten();
        let Some(end) = end else { return self.refused(index, id, produced, LostReason::TooLarge) };
        slot.batch.put_back_tail(slot.memory.bytes_mut());
        slot.batch.part = batch::Sealed { end, records: half, ..part };
        let lane = &mut self.lanes[index];
        let topic = &mut self.sinks[lane.sink].topics[lane.topic];
        topic.batch_bytes = topic.batch_bytes.min(part.end - batch::HEADROOM_BYTES);
        lane.renew = true;
        self.renew(index);
    }

    /// Kafka will never take it.
    fn refused(&mut self, index: usize, id: SlotId, produced: &Produced, reason: LostReason) {
        let batch = &self.ring.slot(id).batch;
        let (entries, bytes) = (batch.entries_of(batch.whole.records), batch.part_bytes());
        let topic = self.lanes[index].spec.topic.clone();
        let words = produced.message.as_deref().unwrap_or("");
        let error = retry::error_name(produced.error);
        let text = format!(
            "buffered messages send to kafka err: {error}, retryable: false, topic: {topic}, partition_id: {}, length: {entries} \
             ({bytes} bytes) {words}",
            produced.partition
        );
        self.report(Level::Error, text);
        self.lose(index, entries, reason);
        self.lanes[index].queue.retain(|slot| *slot != id);
        self.give_back(id);
        self.lanes[index].renew = true;
        self.renew(index);
    }

    /// The operator's `max_retry_count` binds only where it was written.
    fn tired(&mut self, index: usize, id: SlotId, produced: &Produced) {
        let most = self.sinks[self.lanes[index].sink].spec.max_retry;
        let batch = &self.ring.slot(id).batch;
        if most.is_none_or(|most| batch.failures <= most) {
            return;
        }
        if !batch.doubt {
            return self.refused(index, id, produced, LostReason::Retries);
        }
        let entries = batch.entries_of(batch.whole.records);
        self.doubt(index, entries);
        self.lanes[index].queue.retain(|slot| *slot != id);
        self.give_back(id);
        self.lanes[index].renew = true;
        self.renew(index);
    }

    /// Somebody else leads: the answer may say who (KIP-951), metadata will.
    fn moved(&mut self, index: usize, produced: &Produced, now: Mono) {
        let lane = &mut self.lanes[index];
        let sink = &mut self.sinks[lane.sink];
        sink.schedule.wanted = true;
        let Some((node, epoch)) = produced.leader.filter(|(node, epoch)| *node >= 0 && *epoch >= 0) else { return };
        let mut handed = Vec::new();
        let mut stale = Vec::new();
        for told in &produced.nodes {
            stale.extend(sink.brokers.adopt_node(told, &mut handed));
        }
        if sink.topics[lane.topic].learn_leader(produced.partition, Leader { node, epoch }) {
            lane.retry_at = now;
        }
        for (conn, key) in handed {
            if let Some(conn) = self.connections.get_mut(&conn) {
                conn.broker = key;
            }
        }
        for id in stale {
            self.drop_connection(id, "its broker moved", now);
        }
    }

    /// When there is something to do next.
    pub(super) fn next_due(&self, now: Mono) -> Option<Mono> {
        let connections = self.connections.values().filter_map(|conn| match conn.phase {
            Phase::Connecting => Some(conn.since.plus_ms(2 * self.options.connect_timeout_ms)),
            _ => conn.deadline(),
        });
        let lanes = self.lanes.iter().filter(|lane| !lane.is_empty()).flat_map(|lane| {
            let due = lane.due(&self.options, self.sinks[lane.sink].spec.mode).filter(|due| *due > now);
            let waits = (!lane.queue.is_empty())
                .then(|| if lane.retry_at > now { lane.retry_at } else { now.plus_ms(LOOK_AGAIN_MS) });
            [due, waits.map(|at| at.min(now.plus_ms(LOOK_AGAIN_MS)).max(now))]
        });
        connections.chain(lanes.flatten()).min()
    }
}
