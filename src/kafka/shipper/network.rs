//! Connections and metadata: whom to connect to, what to ask there, and what is known afterwards.

use super::Shipper;
use crate::base::Mono;
use crate::kafka::codec::answers;
use crate::kafka::codec::requests::{self, Caller};
use crate::kafka::connection::{Connection, Garbage, Phase, Purpose, Welcome};
use crate::kafka::event::{Action, ConnId};
use crate::kafka::retry::Backoff;
use crate::kafka::ring::SlotMemory;
use crate::kafka::sink::{Trouble, cluster_hash};
use crate::kafka::tls;

/// Milliseconds that a connection being made is waited for before the next broker of the list is tried beside it.
const HEDGE_MS: u64 = 1_000;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing was in flight: the broker closes idle connections.
    Idle,
    /// It failed; the broker is left alone for a while.
    Failed,
    /// The broker and we do not take each other; it is left alone for the longest pause.
    Denied,
}

impl<M: SlotMemory> Shipper<M> {
    /// Looks after a sink: metadata, connections that nobody needs.
    pub(super) fn drive_sink(&mut self, index: usize, now: Mono) {
        let sink = &mut self.sinks[index];
        if sink.lanes == 0 {
            if self.connections.iter().any(|connection| connection.sink == index) {
                self.close_all(index, now);
            }
            return;
        }
        self.take_what_was_corrected(index);
        let schedule = self.sinks[index].metadata;
        if schedule.asked.is_some() {
            return;
        }
        let at = if schedule.wanted { schedule.retry_at } else { schedule.refresh_at.max(schedule.retry_at) };
        if at > now {
            return self.note_wake(at);
        }
        // A sink that has nothing to send and knows its topics does not wake a broker for a look.
        let open = self.connections.iter().enumerate().filter(|(_, it)| it.sink == index && it.is_open(now));
        // The least busy one: a broker that hangs has questions open.
        match open.min_by_key(|(_, connection)| connection.in_flight()) {
            Some((conn, _)) => self.ask_metadata(index, conn, now),
            None => self.find_broker(index, now),
        }
    }

    pub(super) fn close_all(&mut self, sink: usize, now: Mono) {
        while let Some(at) = self.connections.iter().position(|connection| connection.sink == sink) {
            self.close(at, End::Idle, now);
        }
    }

    fn ask_metadata(&mut self, index: usize, conn: usize, now: Mono) {
        let connection = &mut self.connections[conn];
        let Some(version) = connection.versions.metadata else { return };
        let deadline = now.plus_ms(self.options.request_timeout_ms);
        let correlation = connection.expect(Purpose::Metadata(version), deadline);
        let sink = &mut self.sinks[index];
        sink.metadata.asked = Some(connection.id);
        let topics: Vec<&str> =
            sink.topics.iter().filter(|topic| topic.lanes > 0).map(|topic| topic.name.as_str()).collect();
        let caller = Caller { client_id: &self.options.client_id, correlation };
        let bytes = requests::metadata(caller, version, &topics);
        self.actions.push_back(Action::Send { conn: connection.id, bytes });
    }

    /// No connection is open: waits for one that is being made, or tries the next broker.
    fn find_broker(&mut self, index: usize, now: Mono) {
        let mut wake = None;
        for connection in self.connections.iter().filter(|connection| connection.sink == index && !connection.retired) {
            let patient_until = match connection.phase {
                Phase::Ready => connection
                    .silent_until
                    .max(connection.login.as_ref().map_or(Mono::default(), |login| login.since.plus_ms(HEDGE_MS))),
                _ => connection.since.plus_ms(HEDGE_MS),
            };
            wake = wake.max(Some(patient_until));
        }
        if let Some(wake) = wake.filter(|wake| *wake > now) {
            return self.note_wake(wake);
        }
        let brokers = &mut self.sinks[index].brokers;
        if let Some(key) = brokers.next_to_try(now).map(|broker| broker.key) {
            self.connect(index, key, now);
        } else if let Some(at) = brokers.next_try_at() {
            self.note_wake(at);
        }
    }

    fn connect(&mut self, sink: usize, key: u32, now: Mono) {
        let Some(broker) = self.sinks[sink].brokers.by_key(key) else { return };
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        broker.conn = Some(conn);
        let (host, port) = (broker.host.clone(), broker.port);
        let tls = self.sinks[sink].spec.security.tls.clone();
        self.actions.push_back(Action::Connect { conn, host, port, tls });
        let sasl = self.credentials_for(sink, key);
        let mut connection = Connection::new(conn, sink, key, now);
        connection.sasl = sasl;
        self.connections.push(connection);
        self.stats.connections += 1;
        self.note_wake(now.plus_ms(self.options.connect_timeout_ms.min(HEDGE_MS)));
    }

    /// The open connection to a node, as an index. None: it is being made, or silent, or the node is not known; what is missing
    /// was asked for.
    pub(super) fn connection_to(&mut self, sink: usize, node: i32, now: Mono) -> Option<usize> {
        let Some(broker) = self.sinks[sink].brokers.by_node(node) else {
            self.sinks[sink].metadata.wanted = true;
            return None;
        };
        let (key, retry_at) = (broker.key, broker.retry_at);
        let Some(id) = broker.conn else {
            if retry_at > now {
                self.note_wake(retry_at);
            } else {
                self.connect(sink, key, now);
            }
            return None;
        };
        let at = self.position(id)?;
        let connection = &self.connections[at];
        if connection.phase == Phase::Ready && connection.silent_until > now {
            let until = connection.silent_until;
            self.note_wake(until);
            return None;
        }
        connection.is_open(now).then_some(at)
    }

    fn position(&self, id: ConnId) -> Option<usize> {
        self.connections.iter().position(|connection| connection.id == id)
    }

    pub(super) fn on_connected(&mut self, id: ConnId, now: Mono) {
        let Some(at) = self.position(id).filter(|at| self.connections[*at].phase == Phase::Connecting) else { return };
        self.say_hello(at, requests::API_VERSIONS_MAX, now);
    }

    fn say_hello(&mut self, at: usize, version: i16, now: Mono) {
        let deadline = now.plus_ms(self.options.request_timeout_ms);
        let connection = &mut self.connections[at];
        let bytes = connection.hello(&self.options.client_id, version, deadline);
        self.actions.push_back(Action::Send { conn: connection.id, bytes });
    }

    pub(super) fn on_connect_failed(&mut self, id: ConnId, reason: &str, now: Mono) {
        let Some(at) = self.position(id) else { return };
        self.end(at, End::Failed, now, Some((Trouble::Unreachable, reason)));
    }

    pub(super) fn on_tls_failed(&mut self, id: ConnId, reason: &str, now: Mono) {
        let Some(at) = self.position(id) else { return };
        let text = self.handshake_failed(at, reason);
        self.end(at, End::Denied, now, Some((Trouble::Tls, &text)));
    }

    fn handshake_failed(&mut self, at: usize, reason: &str) -> String {
        let (sink, key) = (self.connections[at].sink, self.connections[at].broker);
        let broker = self.sinks[sink].brokers.by_key(key);
        broker.map_or_else(String::new, |broker| tls::handshake_failed(&broker.host, broker.port, reason))
    }

    pub(super) fn on_closed(&mut self, id: ConnId, reason: &str, now: Mono) {
        let Some(at) = self.position(id) else { return };
        let connection = &self.connections[at];
        if connection.phase == Phase::Ready {
            let end = if connection.is_idle() { End::Idle } else { End::Failed };
            let unproven = end == End::Failed && !connection.proven && connection.sasl.is_none();
            let reason = format!(
                "closed at the first request ({reason}): does this listener want SASL? Then brokers[].sasl_config is needed"
            );
            return self.end(at, end, now, unproven.then_some((Trouble::Unreachable, &reason)));
        }
        if self.sinks[connection.sink].spec.security.tls.is_some() && connection.login.is_none() {
            // A broker looks at our certificate, and at what it thinks of us, after we have taken its own.
            let text = self.handshake_failed(at, reason);
            return self.end(at, End::Denied, now, Some((Trouble::Tls, &text)));
        }
        let reason =
            format!("closed during the handshake ({reason}): is it a Kafka, and is this a plaintext listener?");
        self.end(at, End::Failed, now, Some((Trouble::Unreachable, &reason)));
    }

    pub(super) fn on_received(&mut self, id: ConnId, bytes: &[u8], now: Mono) {
        let Some(at) = self.position(id) else { return };
        self.connections[at].receive(bytes);
        let mut read = 0;
        loop {
            // An answer may have closed this connection or, in a list that closes up, another.
            let Some(at) = self.position(id) else { return };
            let (purpose, body) = match self.connections[at].next_answer(&mut read) {
                Ok(Some(answer)) => answer,
                Ok(None) => return self.connections[at].forget(read),
                Err(Garbage::Tls) => return self.not_kafka(at, "this listener speaks TLS: the route needs tls", now),
                Err(garbage) => return self.not_kafka(at, &format!("its bytes are not Kafka's ({garbage:?})"), now),
            };
            let body = self.connections[at].body(body).to_vec();
            if self.on_answer(at, purpose, &body, now).is_none() {
                return self.not_kafka(at, &format!("its answer cannot be read ({purpose:?})"), now);
            }
        }
    }

    /// Takes one answer. None: it is not what was asked for.
    fn on_answer(&mut self, at: usize, purpose: Purpose, body: &[u8], now: Mono) -> Option<()> {
        match purpose {
            Purpose::ApiVersions(version) => self.on_welcome(at, body, version, now),
            Purpose::SaslHandshake => self.on_sasl_handshake(at, body, now),
            Purpose::SaslAuthenticate(version) => self.on_sasl_authenticated(at, body, version, now),
            Purpose::Metadata(version) => self.on_metadata(at, body, version, now),
            Purpose::ProducerId(..) => self.on_producer_id(at, body, purpose, now),
            Purpose::Produce { .. } => self.on_produced(at, body, purpose, now),
            Purpose::Inquiry { .. } => self.on_inquired(at, body, purpose, now),
        }
    }

    fn on_welcome(&mut self, at: usize, body: &[u8], asked: i16, now: Mono) -> Option<()> {
        match self.connections[at].welcome(body, asked, now) {
            Ok(Some(version)) => self.say_hello(at, version, now),
            Ok(None) if self.connections[at].sasl.is_some() => self.begin_login(at, now),
            Ok(None) => self.on_ready(at, now),
            Err(Welcome::Garbage) => return None,
            Err(Welcome::Refused(error)) => {
                let name = crate::kafka::retry::error_name(error);
                self.not_kafka(at, &format!("it refuses ApiVersions with {name} ({error})"), now);
            }
            Err(Welcome::TooOld) => {
                self.not_kafka(at, "no version of Produce and Metadata in common: Kafka 0.11 or later is needed", now);
            }
        }
        Some(())
    }

    /// Requests may be sent.
    pub(super) fn on_ready(&mut self, at: usize, now: Mono) {
        let (sink, key) = (self.connections[at].sink, self.connections[at].broker);
        if let Some(broker) = self.sinks[sink].brokers.by_key(key) {
            (broker.failures, broker.retry_at) = (0, Mono::default());
        }
        self.report_taken(sink, key);
        self.close_spare(sink, now);
    }

    pub(super) fn not_kafka(&mut self, at: usize, reason: &str, now: Mono) {
        self.actions.push_back(Action::Close { conn: self.connections[at].id });
        self.end(at, End::Failed, now, Some((Trouble::NotKafka, reason)));
    }

    fn on_metadata(&mut self, at: usize, body: &[u8], version: i16, now: Mono) -> Option<()> {
        let index = self.connections[at].sink;
        self.sinks[index].metadata.asked = None;
        let answer = answers::metadata(body, version)?;
        self.connections[at].proven = true;
        self.sinks[index].learnt_sasl = self.connections[at].sasl.clone();
        self.connections[at].throttle(now, answer.throttle_ms);
        let sink = &mut self.sinks[index];
        sink.cluster = answer.cluster_id.as_deref().map_or(sink.cluster, cluster_hash);
        let (stale, moved) = sink.brokers.adopt(&answer.nodes);
        for news in &answer.topics {
            if let Some(topic) = sink.topics.iter_mut().find(|topic| topic.name == news.name) {
                topic.learn(news);
            }
        }
        let whole = sink.topics.iter().all(|topic| topic.lanes == 0 || topic.is_whole());
        if whole && !answer.nodes.is_empty() {
            (sink.metadata.wanted, sink.metadata.failures) = (false, 0);
            sink.metadata.refresh_at = now.plus_ms(self.options.metadata_max_age_ms);
            // Not sooner than a pause, whatever goes wrong next: no flood of questions.
            sink.metadata.retry_at = now.plus_ms(self.options.retry_backoff_ms);
        } else {
            sink.metadata.failed(now, Backoff::of_requests(&self.options), &mut self.rng);
        }
        self.hand_over(&moved);
        for conn in stale {
            self.retire_connection(conn);
        }
        self.close_spare(index, now);
        self.report_reachable(index);
        self.report_topics(index, &answer);
        Some(())
    }

    /// Connections of the bootstrap list that turned out to lead to a node are that node's.
    pub(super) fn hand_over(&mut self, moved: &[(ConnId, u32)]) {
        for (id, key) in moved {
            if let Some(at) = self.position(*id) {
                self.connections[at].broker = *key;
            }
        }
    }

    /// Nothing new goes over this connection; it is closed by its deadline or by the peer, or at once if nothing is in flight.
    pub(super) fn retire_connection(&mut self, id: ConnId) {
        let Some(at) = self.position(id) else { return };
        if self.connections[at].is_idle() {
            self.actions.push_back(Action::Close { conn: id });
            self.connections.swap_remove(at);
            self.stats.connections -= 1;
        } else {
            self.connections[at].retired = true;
        }
    }

    /// A bootstrap connection that is no node's is not needed once a node's is ready.
    fn close_spare(&mut self, sink: usize, now: Mono) {
        let brokers = &mut self.sinks[sink].brokers;
        let is_node = |connection: &Connection, brokers: &mut crate::kafka::metadata::Brokers| {
            brokers.by_key(connection.broker).is_some_and(|broker| broker.node.is_some())
        };
        let mine = |connection: &&Connection| connection.sink == sink && connection.phase == Phase::Ready;
        let has_node = self.connections.iter().filter(mine).any(|connection| is_node(connection, brokers));
        let spare = self
            .connections
            .iter()
            .position(|connection| mine(&connection) && connection.is_idle() && !is_node(connection, brokers));
        if let (true, Some(at)) = (has_node, spare) {
            self.close(at, End::Idle, now);
        }
    }

    fn close(&mut self, at: usize, end: End, now: Mono) {
        self.actions.push_back(Action::Close { conn: self.connections[at].id });
        self.end(at, end, now, None);
    }

    /// Forgets a connection; what was in flight on it goes back into its places.
    pub(super) fn end(&mut self, at: usize, end: End, now: Mono, trouble: Option<(Trouble, &str)>) {
        let connection = self.connections.swap_remove(at);
        self.stats.connections -= 1;
        let sink = &mut self.sinks[connection.sink];
        let (mut name, mut node) = (String::new(), None);
        if let Some(broker) = sink.brokers.by_key(connection.broker) {
            if broker.conn == Some(connection.id) {
                broker.conn = None;
            }
            if end != End::Idle {
                broker.failures += 1;
                node = broker.node.map(|_| broker.key);
                let mut backoff = Backoff::of_connections(&self.options);
                if end == End::Denied {
                    backoff.first_ms = backoff.max_ms;
                }
                broker.retry_at = backoff.until(now, broker.failures, &mut self.rng);
                name = format!("{}:{}", broker.host, broker.port);
            }
        }
        let unanswered: Vec<Purpose> = connection.unanswered().collect();
        if sink.metadata.asked == Some(connection.id) {
            sink.metadata.failed(now, Backoff::of_requests(&self.options), &mut self.rng);
        }
        sink.metadata.wanted |= end != End::Idle;
        self.requests_lost(&unanswered, now);
        if let Some((trouble, reason)) = trouble {
            self.report_trouble(connection.sink, trouble, (&name, node), reason, now);
        }
    }

    /// Ends connections whose time is over.
    pub(super) fn check_deadlines(&mut self, now: Mono) {
        let connect_ms = self.options.connect_timeout_ms;
        let overdue = |connection: &Connection| match connection.phase {
            // All of the making (KIP-601), also while a request of it is in time.
            Phase::Connecting | Phase::Handshake if connection.since.plus_ms(connect_ms) <= now => true,
            Phase::Connecting => false,
            _ => connection.deadline().is_some_and(|deadline| deadline <= now),
        };
        while let Some(at) = self.connections.iter().position(overdue) {
            let reason = match self.connections[at].phase {
                Phase::Ready => None,
                _ => Some((Trouble::Unreachable, "no answer in time")),
            };
            self.actions.push_back(Action::Close { conn: self.connections[at].id });
            self.end(at, End::Failed, now, reason);
        }
    }

    /// Wakes for the next deadline.
    pub(super) fn note_deadlines(&mut self) {
        let connect_ms = self.options.connect_timeout_ms;
        let next = self.connections.iter().filter_map(|connection| match connection.phase {
            Phase::Connecting => Some(connection.since.plus_ms(connect_ms)),
            Phase::Handshake => {
                let made = connection.since.plus_ms(connect_ms);
                Some(connection.deadline().map_or(made, |deadline| deadline.min(made)))
            }
            Phase::Ready if connection.login.is_some() || connection.retired => connection.deadline(),
            Phase::Ready => {
                let again = connection.login_again_at.map(|at| at.max(connection.silent_until));
                [connection.deadline(), again].into_iter().flatten().min()
            }
        });
        if let Some(at) = next.min() {
            self.note_wake(at);
        }
    }
}
