//! From a log format to the operations of a plan.

use serde_json::{Map, Value as Json};

use super::entry::Source;
use super::plan::PlanSpec;
use super::variable::{Named, Variable};
use crate::base::block::{self, Block};
use crate::base::limits::FORMAT_DEPTH;
use crate::kafka::batch::Out;

/// Keys that the default entry always has: `log_format_extra` never replaces them.
const ALWAYS_THERE: [&str; 8] =
    ["request", "response", "server", "service_id", "client_ip", "start_time", "latency", "apisix_latency"];

/// Bytes that are always the same, in blocks: writing them is a few stores.
#[derive(Debug)]
pub struct Constant {
    blocks: Box<[Block]>,
    len: usize,
}

impl Constant {
    fn new(bytes: &[u8]) -> Self {
        Self { blocks: bytes.chunks(block::BYTES).map(block::first_of).collect(), len: bytes.len() }
    }

    /// Writes them.
    #[inline(always)]
    pub fn write(&self, out: &mut Out<'_>) {
        out.push_blocks(&self.blocks, self.len);
    }
}

/// One step of a rendering.
#[derive(Debug)]
pub enum Op {
    /// Bytes as they are.
    Constant(Constant),
    /// A value that is always there; its key is in the constant before.
    Put(Source),
    /// A value that may be absent, with its key.
    Slot {
        /// Whether a comma stands before it.
        before: Before,
        /// `"key":`, or nothing in an array.
        lead: Constant,
        /// The value.
        source: Source,
    },
    /// A comma, if one of the slots before it in the same object wrote.
    CommaIfWrote,
    /// Leaves out the next `skip` operations if `source` has a value.
    UnlessPresent {
        /// What decides.
        source: Source,
        /// How many operations.
        skip: usize,
    },
}

/// What stands before the place that is being compiled, in the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// At least one member.
    Members,
    /// Only slots that may have been absent.
    Perhaps,
}

impl Before {
    /// What a slot leaves behind for `wrote`, which tells whether a slot of the current object was present.
    pub const fn then(self, wrote: bool, present: bool) -> bool {
        match self {
            Self::Nothing => present,
            Self::Members | Self::Perhaps => wrote || present,
        }
    }

    /// True if a comma is needed, when `wrote` says whether a slot was present.
    pub const fn needs_comma(self, wrote: bool) -> bool {
        match self {
            Self::Nothing => false,
            Self::Members => true,
            Self::Perhaps => wrote,
        }
    }
}

impl Op {
    /// Where its value comes from, if it has one.
    pub const fn source(&self) -> Option<&Source> {
        match self {
            Self::Put(source) | Self::Slot { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Collects operations and merges constants.
#[derive(Debug)]
pub struct Builder {
    ops: Vec<Op>,
    constant: Vec<u8>,
    before: Before,
    /// For the operator.
    pub warnings: Vec<String>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { ops: Vec::new(), constant: Vec::new(), before: Before::Nothing, warnings: Vec::new() }
    }
}

impl Builder {
    /// The finished operations; the builder starts anew.
    pub fn take(&mut self) -> Vec<Op> {
        self.flush();
        self.before = Before::Nothing;
        std::mem::take(&mut self.ops)
    }

    fn flush(&mut self) {
        if !self.constant.is_empty() {
            self.ops.push(Op::Constant(Constant::new(&std::mem::take(&mut self.constant))));
        }
    }

    /// A comma where one is needed, and the key: a member follows in any case.
    fn begin_member(&mut self, key: Option<&str>) {
        match self.before {
            Before::Nothing => {}
            Before::Members => self.constant.push(b','),
            Before::Perhaps => {
                self.flush();
                self.ops.push(Op::CommaIfWrote);
            }
        }
        self.constant.extend_from_slice(&lead(key));
        self.before = Before::Members;
    }

    fn constant(&mut self, key: Option<&str>, json: &[u8]) {
        self.begin_member(key);
        self.constant.extend_from_slice(json);
    }

    fn put(&mut self, key: &str, source: Source) {
        self.begin_member(Some(key));
        self.flush();
        self.ops.push(Op::Put(source));
    }

    fn slot(&mut self, key: Option<&str>, source: Source) {
        self.flush();
        self.ops.push(Op::Slot { before: self.before, lead: Constant::new(&lead(key)), source });
        if self.before == Before::Nothing {
            self.before = Before::Perhaps;
        }
    }

    fn open(&mut self, bracket: u8) {
        self.constant.push(bracket);
        self.before = Before::Nothing;
    }

    fn close(&mut self, bracket: u8) {
        self.constant.push(bracket);
        self.before = Before::Members;
    }

    fn open_member(&mut self, key: &str) {
        self.begin_member(Some(key));
        self.open(b'{');
    }
}

/// `"key":`, or nothing.
fn lead(key: Option<&str>) -> Vec<u8> {
    key.map_or_else(Vec::new, |key| {
        let mut bytes = literal(&Json::from(key));
        bytes.push(b':');
        bytes
    })
}

/// A value as JSON text.
fn literal(value: &Json) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// The full entry (APISIX-COMPAT §2.5) with `log_format_extra` (§2.4).
pub fn default_entry(builder: &mut Builder, spec: &PlanSpec<'_>, extra: Option<&Map<String, Json>>) {
    builder.open(b'{');
    builder.open_member("request");
    builder.put("url", Source::Url);
    builder.put("uri", Source::Variable(Variable::Named(Named::RequestUri)));
    builder.put("method", Source::Variable(Variable::Named(Named::Method)));
    builder.put("headers", Source::RequestHeaders);
    builder.put("querystring", Source::Query);
    builder.put("size", Source::Variable(Variable::Named(Named::RequestLength)));
    if spec.include_request_body {
        builder.slot(Some("body"), Source::RequestBodyIfIncluded);
    }
    builder.close(b'}');
    builder.open_member("response");
    builder.put("status", Source::Status);
    builder.put("headers", Source::ResponseHeaders);
    builder.put("size", Source::Variable(Variable::Named(Named::BytesSent)));
    if spec.include_response_body {
        builder.slot(Some("body"), Source::ResponseBodyIfIncluded);
    }
    builder.close(b'}');
    builder.open_member("server");
    builder.put("hostname", Source::Variable(Variable::Named(Named::Hostname)));
    builder.put("version", Source::Variable(Variable::Named(Named::Version)));
    builder.close(b'}');
    builder.slot(Some("upstream"), Source::Variable(Variable::Named(Named::UpstreamAddr)));
    builder.put("service_id", Source::ServiceIdOrHost);
    builder.slot(Some("route_id"), Source::Variable(Variable::Named(Named::RouteId)));
    builder.put("client_ip", Source::Variable(Variable::Named(Named::RemoteAddr)));
    builder.put("start_time", Source::StartTime);
    builder.put("latency", Source::Latency);
    builder.slot(Some("upstream_latency"), Source::UpstreamLatency);
    builder.put("apisix_latency", Source::ApisixLatency);
    for (key, value) in extra.into_iter().flatten() {
        extra_member(builder, spec, key, value);
    }
    builder.close(b'}');
}

/// A key of `log_format_extra`: only if the entry does not have it.
fn extra_member(builder: &mut Builder, spec: &PlanSpec<'_>, key: &str, value: &Json) {
    let decides = match key {
        "upstream" => Some(Named::UpstreamAddr),
        "upstream_latency" => Some(Named::UpstreamResponseTime),
        "route_id" => Some(Named::RouteId),
        _ => None,
    };
    if ALWAYS_THERE.contains(&key) {
        return;
    }
    let Some(named) = decides else {
        return member(builder, spec, (Some(key), value), 1);
    };
    builder.flush();
    let at = builder.ops.len();
    builder.ops.push(Op::UnlessPresent { source: Source::Variable(Variable::Named(named)), skip: 0 });
    member(builder, spec, (Some(key), value), 1);
    builder.flush();
    let skip = builder.ops.len() - at - 1;
    if let Some(Op::UnlessPresent { skip: place, .. }) = builder.ops.get_mut(at) {
        *place = skip;
    }
}

/// A `log_format` (APISIX-COMPAT §2.3); with a matched route, its ids at the end, instead of the user's keys of those names.
pub fn custom(builder: &mut Builder, spec: &PlanSpec<'_>, format: &Map<String, Json>, matched: bool) {
    builder.open(b'{');
    for (key, value) in format {
        if !(matched && matches!(key.as_str(), "route_id" | "service_id")) {
            member(builder, spec, (Some(key), value), 1);
        }
    }
    if matched {
        builder.slot(Some("route_id"), Source::Variable(Variable::Named(Named::RouteId)));
        builder.slot(Some("service_id"), Source::Variable(Variable::Named(Named::ServiceId)));
    }
    builder.close(b'}');
}

/// One member of an object (with key) or element of an array (without) at `level`; the top is level 1.
fn member(builder: &mut Builder, spec: &PlanSpec<'_>, (key, value): (Option<&str>, &Json), level: usize) {
    match value {
        Json::String(text) => match text.strip_prefix('$') {
            None => builder.constant(key, &literal(value)),
            Some(name) => variable(builder, spec, key, name),
        },
        Json::Object(_) | Json::Array(_) if level >= FORMAT_DEPTH => {
            builder.constant(key, b"{}");
            builder.warnings.push(format!("log_format nesting exceeds max depth {FORMAT_DEPTH}, truncating"));
        }
        Json::Object(members) => {
            builder.begin_member(key);
            builder.open(b'{');
            members.iter().for_each(|(key, value)| member(builder, spec, (Some(key), value), level + 1));
            builder.close(b'}');
        }
        Json::Array(elements) => {
            builder.begin_member(key);
            builder.open(b'[');
            elements.iter().for_each(|value| member(builder, spec, (None, value), level + 1));
            builder.close(b']');
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => builder.constant(key, &literal(value)),
    }
}

fn variable(builder: &mut Builder, spec: &PlanSpec<'_>, key: Option<&str>, name: &str) {
    match Variable::compile(name) {
        Variable::Absent => {}
        Variable::Named(Named::RequestBody) => builder.slot(key, Source::RequestBody),
        Variable::Named(Named::RespBody) if !spec.include_response_body => builder.constant(key, b"\"\""),
        Variable::Named(Named::RespBody) => builder.slot(key, Source::ResponseBody),
        variable => builder.slot(key, Source::Variable(variable)),
    }
}
