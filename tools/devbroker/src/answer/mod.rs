//! Turns one request into one answer: checks the layout, decodes, asks the state, encodes. No socket; Fetch alone may wait, which `serve` does.
//! No tagged field is ever set but a leader hint, on an error that has one: librdkafka before 2.2 reads them wrongly.

mod fetch;
mod groups;
mod meta;
mod produce;

use crate::nodes::Node;
use crate::state::State;
use crate::versions::Versions;
use crate::{Api, code, shape};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

pub use fetch::{find, wanted};
pub use produce::batches;

/// What an answer needs beside the request.
pub struct Context<'a> {
    /// Everything there is.
    pub state: &'a mut State,
    /// The node that is asked.
    pub node: i32,
    /// Topics come into being when named.
    pub auto_create: bool,
    /// An error that the script wants in this answer, and whether the work is done all the same.
    pub error: Option<(i16, Work)>,
    /// What the answer says about being silent.
    pub throttle_ms: i32,
    /// The connection asked on.
    pub connection: u64,
    /// Milliseconds since the broker's start.
    pub now_ms: u64,
    /// Milliseconds since 1970.
    pub wall_ms: i64,
}

/// Whether a request that is answered with a scripted error is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It is.
    Done,
    /// It is not.
    Skipped,
    /// It is not, and a node is named as the leader, with its epoch.
    Hinted(i32, i32),
}

/// One request, its head taken off and its body's layout checked.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked.
    pub api: Api,
    /// In which version; one that is answered.
    pub version: i16,
    /// What the answer must carry.
    pub correlation: i32,
    body: Bytes,
}

/// Why a frame is not a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// ApiVersions in a version not known: this answer (KIP-511), and the connection lives on.
    Answer(Bytes),
    /// The connection is to be closed.
    Close,
}

/// Reads one frame (without its length).
///
/// # Errors
/// A request not served, in a version not served, or not of its own layout.
pub fn parse(frame: &Bytes, versions: &Versions) -> Result<Request, Refused> {
    let (head, _) = frame.split_first_chunk::<8>().ok_or(Refused::Close)?;
    let api = Api::from_key(i16::from_be_bytes([head[0], head[1]])).ok_or(Refused::Close)?;
    let version = i16::from_be_bytes([head[2], head[3]]);
    let correlation = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    if !versions.answers(api, version) {
        return Err(if api == Api::ApiVersions {
            Refused::Answer(meta::unsupported_version(correlation, versions))
        } else {
            Refused::Close
        });
    }
    let flexible = version >= api.layout().flexible_from;
    let at = head_bytes(frame, flexible).ok_or(Refused::Close)?;
    let body = frame.slice(at..);
    if !shape::holds(api.layout(), version, &body) {
        return Err(Refused::Close);
    }
    Ok(Request { api, version, correlation, body })
}

/// Bytes of the request's head: key, version, correlation, client id, and tags if flexible.
fn head_bytes(frame: &[u8], flexible: bool) -> Option<usize> {
    let length = i16::from_be_bytes(*frame.get(8..)?.first_chunk::<2>()?);
    let mut at = 10 + if length == -1 { 0 } else { usize::try_from(length).ok()? };
    if flexible {
        at += shape::tag_bytes(frame.get(at..)?)?;
    }
    (at <= frame.len()).then_some(at)
}

/// The answer's frame; `Ok(None)` where the protocol has none (acks 0).
///
/// # Errors
/// The connection is to be closed.
pub fn answer(request: &Request, context: &mut Context<'_>) -> Result<Option<Bytes>, ()> {
    match request.api {
        Api::Produce => produce::produce(request, context),
        Api::Fetch => Err(()),
        Api::ListOffsets => fetch::list_offsets(request, context).map(Some),
        Api::Metadata => meta::metadata(request, context).map(Some),
        Api::ApiVersions => meta::api_versions(request, context).map(Some),
        Api::CreateTopics => meta::create_topics(request, context).map(Some),
        Api::InitProducerId => produce::init_producer_id(request, context).map(Some),
        Api::DescribeLogDirs => meta::describe_log_dirs(request, context).map(Some),
        Api::DescribeProducers => produce::describe_producers(request, context).map(Some),
        Api::FindCoordinator => groups::find_coordinator(request, context).map(Some),
        Api::JoinGroup => groups::join(request, context).map(Some),
        Api::SyncGroup => groups::sync(request, context).map(Some),
        Api::Heartbeat => groups::heartbeat(request, context).map(Some),
        Api::LeaveGroup => groups::leave(request, context).map(Some),
        Api::OffsetCommit => groups::commit(request, context).map(Some),
        Api::OffsetFetch => groups::committed(request, context).map(Some),
    }
}

impl Request {
    fn decode<T: Decodable>(&self) -> Result<T, ()> {
        T::decode(&mut self.body.clone(), self.version).map_err(|_| ())
    }

    fn encode<T: Encodable>(&self, body: &T) -> Result<Bytes, ()> {
        let flexible = self.version >= self.api.layout().flexible_from && self.api != Api::ApiVersions;
        frame(self.correlation, flexible, body, self.version)
    }
}

fn frame<T: Encodable>(correlation: i32, flexible: bool, body: &T, version: i16) -> Result<Bytes, ()> {
    let mut out = BytesMut::new();
    out.put_i32(0);
    out.put_i32(correlation);
    if flexible {
        out.put_u8(0);
    }
    body.encode(&mut out, version).map_err(|_| ())?;
    let length = i32::try_from(out.len() - 4).map_err(|_| ())?;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(out.freeze())
}

impl Context<'_> {
    /// The scripted error for a request whose work is skipped.
    fn refusal(&self) -> Option<i16> {
        self.error.and_then(|(code, work)| (work != Work::Done).then_some(code))
    }

    /// `code`, or the scripted one over it.
    fn code(&self, code: i16) -> i16 {
        self.error.map_or(code, |(scripted, _)| scripted)
    }

    /// Does the work unless the script forbids it, and answers what the script wants.
    fn run<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, i16>) -> Result<T, i16> {
        if let Some(code) = self.refusal() {
            return Err(code);
        }
        let done = work(self);
        match self.error {
            Some((code, Work::Done)) => Err(code),
            _ => done,
        }
    }

    /// 6 if another node leads the partition.
    fn led_here(&self, log: &crate::state::Log) -> Result<(), i16> {
        if log.leader == self.node { Ok(()) } else { Err(code::NOT_LEADER_OR_FOLLOWER) }
    }
}

/// Where clients find a node: id, host, port.
fn place(node: &Node) -> (BrokerId, StrBytes, i32) {
    (BrokerId(node.id), text(&node.host), i32::from(node.port))
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn topic_name(value: &str) -> TopicName {
    TopicName(text(value))
}

fn code_of<T>(result: &Result<T, i16>) -> i16 {
    result.as_ref().map_or_else(|code| *code, |_| code::NONE)
}
