//! One connection to a broker: handshake, correlation ids, requests in flight in order, framing, throttle. It knows no batches.

use std::collections::VecDeque;

use super::codec::answers::{self, ApiVersions};
use super::codec::producers::{DESCRIBE_PRODUCERS, DESCRIBE_PRODUCERS_RANGE};
use super::codec::read::{FETCH_KIND, LIST_OFFSETS_KIND};
use super::codec::requests::{self, Caller};
use super::event::{ConnId, SlotId};
use super::head::{PRODUCE_VERSION_MAX, PRODUCE_VERSION_MIN};
use super::inquiry::Question;
use super::retry::UNSUPPORTED_VERSION;
use super::sasl::Exchange;
use super::security::Credentials;
use crate::base::{Mono, limits};

/// How a TLS record with an alert begins; as a frame's size it would be far over the limit.
const TLS_ALERT: [u8; 2] = [0x15, 3];

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// `Connect` is not answered yet.
    Connecting,
    /// ApiVersions, or what SASL needs behind it, is not answered yet. (TLS lies below: it belongs to `Connecting`.)
    Handshake,
    /// Requests may be sent.
    Ready,
}

/// The versions agreed on; None where broker and we have none in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Produce, 3 to 13.
    pub produce: Option<i16>,
    /// Metadata, 1 to 13.
    pub metadata: Option<i16>,
    /// InitProducerId, 0 to 5.
    pub init_producer_id: Option<i16>,
    /// SaslHandshake, 1.
    pub sasl_handshake: Option<i16>,
    /// SaslAuthenticate, 0 to 2.
    pub sasl_authenticate: Option<i16>,
    /// DescribeProducers, 0.
    pub describe_producers: Option<i16>,
    /// ListOffsets, 1 to 7.
    pub list_offsets: Option<i16>,
    /// Fetch, 4 to 12.
    pub fetch: Option<i16>,
}

/// An authentication under way.
#[derive(Debug)]
pub struct Login {
    /// None: SaslHandshake is not answered yet.
    pub exchange: Option<Exchange>,
    /// When it was begun.
    pub since: Mono,
}

/// What a request in flight was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// ApiVersions, in this version.
    ApiVersions(i16),
    /// SaslHandshake.
    SaslHandshake,
    /// SaslAuthenticate, in this version.
    SaslAuthenticate(i16),
    /// Metadata, in this version.
    Metadata(i16),
    /// InitProducerId, in this version, for a lane.
    ProducerId(i16, u32),
    /// A batch of a lane's partition, in this version.
    Produce {
        /// Version of the request.
        version: i16,
        /// Index of the lane.
        lane: u32,
        /// Partition number.
        partition: i32,
        /// The batch.
        slot: SlotId,
    },
    /// A question of an inquiry about a lane's partition, in this version.
    Inquiry {
        /// Version of the request.
        version: i16,
        /// Index of the lane.
        lane: u32,
        /// Partition number.
        partition: i32,
        /// Tells it from older questions.
        serial: u64,
        /// What was asked.
        question: Question,
    },
}

/// A request that is not answered.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    correlation: i32,
    /// What for.
    pub purpose: Purpose,
    deadline: Mono,
}

/// Why a connection's bytes cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// A frame's size is negative or over `limits::BROKER_FRAME_BYTES`.
    FrameSize,
    /// It is a TLS alert: the listener speaks TLS.
    Tls,
    /// The answer is not to the oldest request.
    Correlation,
    /// The answer is not the message that was asked for.
    Body,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Its number.
    pub id: ConnId,
    /// Index of its sink.
    pub sink: usize,
    /// Key of its broker in the sink.
    pub broker: u32,
    /// How far it is.
    pub phase: Phase,
    /// What was agreed.
    pub versions: Versions,
    /// True once nothing new is to be sent: what is in flight may still be answered.
    pub retired: bool,
    /// Nothing is sent before this (KIP-219).
    pub silent_until: Mono,
    /// When it was begun.
    pub since: Mono,
    /// Who we are on it.
    pub sasl: Option<Credentials>,
    /// Set while we say so.
    pub login: Option<Login>,
    /// When we must say so again (KIP-368).
    pub login_again_at: Option<Mono>,
    /// True once the broker has answered more than a handshake.
    pub proven: bool,
    next_correlation: i32,
    in_flight: VecDeque<Request>,
    inbox: Vec<u8>,
}

impl Connection {
    /// A connection that was just asked for.
    pub fn new(id: ConnId, sink: usize, broker: u32, now: Mono) -> Self {
        Self {
            id,
            sink,
            broker,
            phase: Phase::Connecting,
            versions: Versions::default(),
            retired: false,
            silent_until: Mono::default(),
            since: now,
            sasl: None,
            login: None,
            login_again_at: None,
            proven: false,
            next_correlation: 0,
            in_flight: VecDeque::new(),
            inbox: Vec::new(),
        }
    }

    /// True if a request may be sent now.
    pub fn is_open(&self, now: Mono) -> bool {
        self.phase == Phase::Ready && !self.retired && self.silent_until <= now && self.login.is_none()
    }

    /// Notes a request and returns its correlation id.
    pub fn expect(&mut self, purpose: Purpose, deadline: Mono) -> i32 {
        let correlation = self.next_correlation;
        self.next_correlation = correlation.wrapping_add(1) & i32::MAX;
        self.in_flight.push_back(Request { correlation, purpose, deadline });
        correlation
    }

    /// When the oldest request is overdue.
    pub fn deadline(&self) -> Option<Mono> {
        self.in_flight.front().map(|request| request.deadline)
    }

    /// The requests that are not answered, oldest first.
    pub fn unanswered(&self) -> impl Iterator<Item = Purpose> + '_ {
        self.in_flight.iter().map(|request| request.purpose)
    }

    /// Requests that are not answered.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// True if nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Keeps silent for as long as the broker said.
    pub fn throttle(&mut self, now: Mono, throttle_ms: i32) {
        if let Ok(ms @ 1..) = u64::try_from(throttle_ms) {
            self.silent_until = self.silent_until.max(now.plus_ms(ms));
        }
    }

    /// Adds bytes that arrived.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
    }

    /// Takes the next whole answer: what it is for, and its bytes behind the correlation id. `at` is where the caller is in the
    /// inbox and moves on; hand the answer's range to [`Connection::body`].
    pub fn next_answer(&mut self, at: &mut usize) -> Result<Option<(Purpose, std::ops::Range<usize>)>, Garbage> {
        let rest = self.inbox.get(*at..).unwrap_or_default();
        let Some((size, behind)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        if size[..2] == TLS_ALERT {
            return Err(Garbage::Tls);
        }
        let size = usize::try_from(i32::from_be_bytes(*size)).map_err(|_| Garbage::FrameSize)?;
        if !(4..=limits::BROKER_FRAME_BYTES).contains(&size) {
            return Err(Garbage::FrameSize);
        }
        if behind.len() < size {
            return Ok(None);
        }
        let correlation = behind.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        let request = self.in_flight.pop_front().ok_or(Garbage::Correlation)?;
        if correlation != Some(request.correlation) {
            // Put back: its owner must hear that it was never answered.
            self.in_flight.push_front(request);
            return Err(Garbage::Correlation);
        }
        let body = *at + 8..*at + 4 + size;
        *at = body.end;
        Ok(Some((request.purpose, body)))
    }

    /// The bytes of an answer.
    pub fn body(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.inbox.get(range).unwrap_or_default()
    }

    /// Forgets the answers before `at`.
    pub fn forget(&mut self, at: usize) {
        self.inbox.drain(..at.min(self.inbox.len()));
    }

    /// The ApiVersions request to begin with.
    pub fn hello(&mut self, client_id: &str, version: i16, deadline: Mono) -> Vec<u8> {
        self.phase = Phase::Handshake;
        let correlation = self.expect(Purpose::ApiVersions(version), deadline);
        requests::api_versions(Caller { client_id, correlation }, version)
    }

    /// Takes the answer to ApiVersions. `Ok(Some(version))`: ask again in that version. `Ok(None)`: ready, or ready for SASL.
    pub fn welcome(&mut self, body: &[u8], asked: i16, now: Mono) -> Result<Option<i16>, Welcome> {
        let answer = answers::api_versions(body, asked).ok_or(Welcome::Garbage)?;
        self.throttle(now, answer.throttle_ms);
        if answer.error == UNSUPPORTED_VERSION && asked > 0 {
            let listed = answer.ranges.iter().find(|range| range.key == requests::API_VERSIONS).map(|range| range.max);
            // Always lower than before, so that this ends; 3 is worth a try of its own only if the broker lists it.
            return Ok(Some(listed.filter(|max| (0..asked).contains(max)).unwrap_or(0)));
        }
        if answer.error != 0 {
            return Err(Welcome::Refused(answer.error));
        }
        self.versions = agree(&answer);
        if self.sasl.is_none() {
            self.phase = Phase::Ready;
        }
        match self.versions {
            Versions { produce: Some(_), metadata: Some(_), .. } => Ok(None),
            _ => Err(Welcome::TooOld),
        }
    }
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Welcome {
    /// Not the answer of a Kafka.
    Garbage,
    /// An error code.
    Refused(i16),
    /// No version of Produce or Metadata in common.
    TooOld,
}

fn agree(answer: &ApiVersions) -> Versions {
    let common = |key, (min, max): (i16, i16)| {
        let range = answer.ranges.iter().find(|range| range.key == key)?;
        let version = range.max.min(max);
        (version >= range.min.max(min)).then_some(version)
    };
    Versions {
        produce: common(requests::PRODUCE, (PRODUCE_VERSION_MIN, PRODUCE_VERSION_MAX)),
        metadata: common(requests::METADATA, requests::METADATA_RANGE),
        init_producer_id: common(requests::INIT_PRODUCER_ID, requests::INIT_PRODUCER_ID_RANGE),
        sasl_handshake: common(requests::SASL_HANDSHAKE, requests::SASL_HANDSHAKE_RANGE),
        sasl_authenticate: common(requests::SASL_AUTHENTICATE, requests::SASL_AUTHENTICATE_RANGE),
        describe_producers: common(DESCRIBE_PRODUCERS, DESCRIBE_PRODUCERS_RANGE),
        list_offsets: LIST_OFFSETS_KIND.negotiate(&answer.ranges),
        fetch: FETCH_KIND.negotiate(&answer.ranges),
    }
}
