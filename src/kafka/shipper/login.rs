//! Who we are on a connection: SASL behind ApiVersions, and again before a session ends (KIP-368). The mechanisms' messages are
//! `kafka::sasl`'s.

use super::Shipper;
use super::network::End;
use crate::base::Mono;
use crate::kafka::codec::answers;
use crate::kafka::codec::requests::{self, Caller};
use crate::kafka::connection::{Connection, Login, Phase, Purpose};
use crate::kafka::event::Action;
use crate::kafka::retry::{ILLEGAL_SASL_STATE, UNSUPPORTED_SASL_MECHANISM, error_name};
use crate::kafka::ring::SlotMemory;
use crate::kafka::sasl::{self, Exchange, ITERATIONS_AT_ONCE, Salted, Step};
use crate::kafka::security::Credentials;
use crate::kafka::sink::Trouble;

/// The part of a session, in per mille, after which it is renewed at the earliest and at the latest (KIP-368, as Java does it).
const RENEW_PER_MILLE: std::ops::RangeInclusive<u64> = 850..=950;
/// Salted passwords that a sink keeps, so that the next connection need not salt again.
const SALTED_KEPT: usize = 8;

impl<M: SlotMemory> Shipper<M> {
    /// The credentials for a broker of a sink: those written beside its address, or those of the broker that named it.
    pub(super) fn credentials_for(&mut self, sink: usize, key: u32) -> Option<Credentials> {
        let sink = &mut self.sinks[sink];
        let is_node = sink.brokers.by_key(key).is_none_or(|broker| broker.node.is_some());
        if is_node {
            return sink.learnt_sasl.clone();
        }
        // The addresses of the bootstrap list have the first keys, in its order.
        sink.spec.security.sasl.get(key as usize).cloned().flatten()
    }

    /// Begins to authenticate; nothing else is sent on this connection until it is done.
    pub(super) fn begin_login(&mut self, at: usize, now: Mono) {
        let connection = &mut self.connections[at];
        connection.login_again_at = None;
        let versions = connection.versions;
        let Some(mechanism) = connection.sasl.as_ref().map(|credentials| credentials.mechanism) else { return };
        let (Some(version), Some(_)) = (versions.sasl_handshake, versions.sasl_authenticate) else {
            return self.not_kafka(at, "it does not know SaslAuthenticate: Kafka 1.0 or later is needed for SASL", now);
        };
        connection.login = Some(Login { exchange: None, since: now });
        let deadline = now.plus_ms(self.options.request_timeout_ms);
        let correlation = connection.expect(Purpose::SaslHandshake, deadline);
        let caller = Caller { client_id: &self.options.client_id, correlation };
        let bytes = requests::sasl_handshake(caller, version, mechanism.name());
        self.actions.push_back(Action::Send { conn: connection.id, bytes });
    }

    /// Takes the answer to SaslHandshake. None: it is not one.
    pub(super) fn on_sasl_handshake(&mut self, at: usize, body: &[u8], now: Mono) -> Option<()> {
        let answer = answers::sasl_handshake(body)?;
        match answer.error {
            0 => {}
            UNSUPPORTED_SASL_MECHANISM => {
                let why = format!(
                    "the broker takes {} here; correct sasl_config.mechanism",
                    sasl::printable(&answer.mechanisms.join(", "))
                );
                self.denied(at, &why, now);
                return Some(());
            }
            ILLEGAL_SASL_STATE => {
                self.denied(at, "this listener has no SASL; name a SASL listener, or leave sasl_config out", now);
                return Some(());
            }
            error => {
                self.denied(at, &format!("{} ({error})", error_name(error)), now);
                return Some(());
            }
        }
        let serial = self.rng.next();
        let connection = &mut self.connections[at];
        let (Some(login), Some(credentials)) = (&mut connection.login, &connection.sasl) else { return None };
        let nonce = sasl::nonce(self.options.nonce_key, [self.options.seed, connection.id.0, serial]);
        match Exchange::begin(credentials, &nonce) {
            Ok((exchange, message)) => {
                login.exchange = Some(exchange);
                self.send_token(at, message, now);
            }
            Err(refusal) => self.denied(at, &refusal.to_string(), now),
        }
        Some(())
    }

    fn send_token(&mut self, at: usize, message: Vec<u8>, now: Mono) {
        let connection = &mut self.connections[at];
        let Some(version) = connection.versions.sasl_authenticate else { return };
        let deadline = now.plus_ms(self.options.request_timeout_ms);
        let correlation = connection.expect(Purpose::SaslAuthenticate(version), deadline);
        let caller = Caller { client_id: &self.options.client_id, correlation };
        let bytes = requests::sasl_authenticate(caller, version, message);
        self.actions.push_back(Action::Send { conn: connection.id, bytes });
    }

    /// Takes the answer to SaslAuthenticate. None: it is not one.
    pub(super) fn on_sasl_authenticated(&mut self, at: usize, body: &[u8], version: i16, now: Mono) -> Option<()> {
        let answer = answers::sasl_authenticated(body, version)?;
        if answer.error != 0 {
            let words = answer.message.unwrap_or_default();
            let words = if words.is_empty() { error_name(answer.error).to_owned() } else { sasl::printable(&words) };
            self.denied(at, &words, now);
            return Some(());
        }
        let connection = &mut self.connections[at];
        let salted = &self.sinks[connection.sink].salted;
        let exchange = connection.login.as_mut().and_then(|login| login.exchange.as_mut())?;
        match exchange.answer(&answer.token, salted) {
            Ok(Step::Send(message)) => self.send_token(at, message, now),
            // In pieces, between which the core has its other work: see `hash_logins`.
            Ok(Step::Hash) => self.note_wake(now),
            Ok(Step::Done) => self.logged_in(at, answer.session_lifetime_ms, now),
            Err(refusal) => self.denied(at, &refusal.to_string(), now),
        }
        Some(())
    }

    /// Does a piece of the hashing that logins wait for.
    pub(super) fn hash_logins(&mut self, now: Mono) {
        for at in 0..self.connections.len() {
            let connection = &mut self.connections[at];
            let Some(exchange) = connection.login.as_mut().and_then(|login| login.exchange.as_mut()) else { continue };
            if !exchange.is_hashing() {
                continue;
            }
            match exchange.hash(ITERATIONS_AT_ONCE) {
                None => self.note_wake(now),
                Some((message, salted)) => {
                    keep(&mut self.sinks[connection.sink].salted, salted);
                    self.send_token(at, message, now);
                }
            }
        }
    }

    fn logged_in(&mut self, at: usize, session_lifetime_ms: i64, now: Mono) {
        let per_mille = RENEW_PER_MILLE.start() + self.rng.below(RENEW_PER_MILLE.end() - RENEW_PER_MILLE.start() + 1);
        let connection = &mut self.connections[at];
        connection.login = None;
        connection.login_again_at = match u64::try_from(session_lifetime_ms) {
            Ok(ms @ 1..) => Some(now.plus_ms(ms.saturating_mul(per_mille) / 1_000)),
            _ => None,
        };
        if connection.phase != Phase::Ready {
            connection.phase = Phase::Ready;
            self.on_ready(at, now);
        }
    }

    /// Renews the sessions whose time has come.
    pub(super) fn renew_logins(&mut self, now: Mono) {
        let due = |one: &Connection| one.is_open(now) && one.login_again_at.is_some_and(|at| at <= now);
        while let Some(at) = self.connections.iter().position(due) {
            self.begin_login(at, now);
        }
    }

    /// A sink that is refused, and that no configuration names any more, goes on with what was corrected: the credentials and the TLS
    /// of a sink to the same place that is taken. Otherwise its records would wait for a password that nobody will make right.
    pub(super) fn take_what_was_corrected(&mut self, index: usize) {
        let sink = &self.sinks[index];
        let refused = matches!(sink.trouble, Some(Trouble::Denied | Trouble::Tls)) || !sink.refused_by.is_empty();
        if !refused || self.lanes.iter().any(|lane| lane.sink == index && lane.live && !lane.retired) {
            return;
        }
        let is_ready = |other: usize| {
            self.connections.iter().any(|one| one.sink == other && one.phase == Phase::Ready && one.proven)
        };
        let place = sink.spec.without_security();
        let corrected = self.sinks.iter().enumerate().find(|(other, it)| {
            *other != index
                && it.spec.security != sink.spec.security
                && is_ready(*other)
                && it.spec.without_security() == place
        });
        let Some((_, corrected)) = corrected else { return };
        let (security, learnt_sasl) = (corrected.spec.security.clone(), corrected.learnt_sasl.clone());
        let sink = &mut self.sinks[index];
        // Who comes back with the old ones gets a sink of its own.
        self.sinks_by_content.remove(&sink.spec);
        (sink.spec.security, sink.learnt_sasl) = (security, learnt_sasl);
        sink.brokers.try_all_now();
        sink.metadata.wanted = true;
    }

    /// The broker does not take us, or we do not take it.
    fn denied(&mut self, at: usize, why: &str, now: Mono) {
        let (id, sink, key) = (self.connections[at].id, self.connections[at].sink, self.connections[at].broker);
        let mechanism = self.connections[at].sasl.as_ref().map_or("SASL", |credentials| credentials.mechanism.name());
        let broker = self.sinks[sink].brokers.by_key(key).map(|broker| format!("{}:{}", broker.host, broker.port));
        let text = format!("failed to do {mechanism} auth with {}: {why}", broker.unwrap_or_default());
        self.actions.push_back(Action::Close { conn: id });
        self.end(at, End::Denied, now, Some((Trouble::Denied, &text)));
    }
}

fn keep(kept: &mut Vec<Salted>, salted: Salted) {
    if kept.len() >= SALTED_KEPT {
        kept.remove(0);
    }
    kept.push(salted);
}
