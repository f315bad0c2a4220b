//! A log format compiled once: constant bytes between slots, already escaped (ARCHITECTURE §4.1). The default entry, a custom
//! `log_format` and `log_format_extra` are the same machinery; origin text is the one exception.
//!
//! A key whose value is absent vanishes together with its comma. Where it is known at compile time whether a comma is needed, it is part of
//! the constants; where not, one flag of the running rendering decides. One flag is enough: a nested object is always written, so
//! what follows it always needs a comma.

use serde_json::{Map, Value as Json};

use super::builder::{Builder, Op, custom, default_entry};
use super::entry;
use super::exchange::Exchange;
use super::json;
use super::value::Scratch;
use crate::kafka::batch::Out;

/// Which entry a logger writes (APISIX-COMPAT §2.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FormatChoice<'a> {
    /// The full entry, with the keys of `log_format_extra`.
    Default {
        /// `log_format_extra`, if any.
        extra: Option<&'a Map<String, Json>>,
    },
    /// A `log_format`.
    Custom(&'a Map<String, Json>),
    /// `meta_format: "origin"`: the request as text.
    Origin,
}

/// Where an entry stands in its Kafka message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryPlace {
    /// It is the message (`batch_max_size` 1): origin text is written as it is.
    Alone,
    /// It is an element of a JSON array: origin text becomes a JSON string.
    InArray,
}

/// What a plan is compiled from.
#[derive(Clone, Copy, Debug)]
pub struct PlanSpec<'a> {
    /// From [`choose_format`].
    pub format: FormatChoice<'a>,
    /// `batch_max_size` is 1, or more.
    pub place: EntryPlace,
    /// `include_req_body`.
    pub include_request_body: bool,
    /// `include_resp_body`.
    pub include_response_body: bool,
    /// `max_req_body_bytes`.
    pub request_body_bytes: usize,
    /// `max_resp_body_bytes`.
    pub response_body_bytes: usize,
}

/// What `include_req_body_expr` and `include_resp_body_expr` said for one exchange; true without an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Include {
    /// The request's body may be logged.
    pub request_body: bool,
    /// The response's body may be logged.
    pub response_body: bool,
}

impl Include {
    /// No expression stands in the way.
    pub const ALL: Self = Self { request_body: true, response_body: true };
}

/// A core's reused memory for rendering: times of the current second, decoded arguments and bodies.
#[derive(Debug, Default)]
pub struct RenderState {
    pub(super) scratch: Scratch,
    pub(super) args: Vec<entry::Argument>,
}

impl RenderState {
    /// How many bodies' content coding could not be undone so far; their raw bytes were logged.
    pub const fn undecoded_bodies(&self) -> u64 {
        self.scratch.undecoded_bodies
    }
}

/// What one rendering looks at.
#[derive(Clone, Copy)]
pub(super) struct Subject<'r, 'a> {
    pub(super) exchange: &'r Exchange<'a>,
    pub(super) include: Include,
    pub(super) limits: BodyLimits,
}

/// `max_req_body_bytes` and `max_resp_body_bytes`.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    pub(super) request: usize,
    pub(super) response: usize,
}

/// A compiled log format. Knows no route: routes with the same format share it.
#[derive(Debug)]
pub struct Plan {
    program: Program,
    limits: BodyLimits,
    captures: (bool, bool),
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Program {
    /// A JSON object. Without a route the forced keys of a custom entry are missing, so it has a program of its own.
    Object { matched: Vec<Op>, unmatched: Option<Vec<Op>> },
    /// The request as text.
    Origin { place: EntryPlace, with_body: bool },
}

/// Decides between the formats of the instance and of the metadata; each is (`log_format`, `log_format_extra`) (APISIX-COMPAT §2.2, §2.4).
/// An instance's object counts even if it is empty, metadata's `log_format` only with a key. What is not an object counts as not given.
pub fn choose_format<'a>(
    meta_format: Option<&str>,
    instance: (Option<&'a Json>, Option<&'a Json>),
    metadata: (Option<&'a Json>, Option<&'a Json>),
) -> FormatChoice<'a> {
    if meta_format == Some("origin") {
        return FormatChoice::Origin;
    }
    let own = instance.0.and_then(Json::as_object);
    let shared = || metadata.0.and_then(Json::as_object).filter(|format| !format.is_empty());
    if let Some(format) = own.or_else(shared) {
        return FormatChoice::Custom(format);
    }
    let extra = instance.1.and_then(Json::as_object).or_else(|| metadata.1.and_then(Json::as_object));
    FormatChoice::Default { extra: extra.filter(|extra| !extra.is_empty()) }
}

impl Plan {
    /// Compiles; never fails (a `log_format` may hold anything), but may warn.
    pub fn compile(spec: &PlanSpec<'_>) -> Self {
        let mut builder = Builder::default();
        let program = match spec.format {
            FormatChoice::Origin => Program::Origin { place: spec.place, with_body: spec.include_request_body },
            FormatChoice::Default { extra } => {
                default_entry(&mut builder, spec, extra);
                Program::Object { matched: builder.take(), unmatched: None }
            }
            FormatChoice::Custom(format) => {
                custom(&mut builder, spec, format, true);
                let matched = builder.take();
                let warnings = builder.warnings.len();
                custom(&mut builder, spec, format, false);
                builder.warnings.truncate(warnings);
                Program::Object { matched, unmatched: Some(builder.take()) }
            }
        };
        Self {
            captures: match &program {
                Program::Origin { with_body, .. } => (*with_body, false),
                Program::Object { matched, unmatched } => {
                    let mut ops = matched.iter().chain(unmatched.iter().flatten());
                    let request = ops.clone().any(|op| op.source().is_some_and(|source| source.needs_request_body()));
                    (request, ops.any(|op| op.source().is_some_and(|source| source.needs_response_body())))
                }
            },
            program,
            limits: BodyLimits { request: spec.request_body_bytes, response: spec.response_body_bytes },
            warnings: builder.warnings,
        }
    }

    /// What to tell the operator.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Bytes of the request's body that must be captured; `None`: it is not needed.
    pub fn request_capture_bytes(&self) -> Option<usize> {
        self.captures.0.then_some(self.limits.request)
    }

    /// Bytes of the response's body that must be captured; `None`: it is not needed.
    pub fn response_capture_bytes(&self) -> Option<usize> {
        self.captures.1.then_some(self.limits.response)
    }

    /// Writes one entry. Allocates nothing once `state` is warm, except to undo a body's content coding. The caller looks at
    /// `out.overflowed()`.
    pub fn render(&self, state: &mut RenderState, exchange: &Exchange<'_>, include: Include, out: &mut Out<'_>) {
        let subject = Subject { exchange, include, limits: self.limits };
        match &self.program {
            Program::Origin { place, with_body } => entry::origin(*place, *with_body, subject, out),
            Program::Object { matched, unmatched: None } => run(matched, state, subject, out),
            Program::Object { matched, unmatched: Some(unmatched) } => {
                run(if exchange.route.is_some() { matched } else { unmatched }, state, subject, out);
            }
        }
    }
}

/// Goes through a program once.
fn run(ops: &[Op], state: &mut RenderState, subject: Subject<'_, '_>, out: &mut Out<'_>) {
    let mut wrote = false;
    let mut ops = ops.iter();
    while let Some(op) = ops.next() {
        match op {
            Op::Constant(constant) => constant.write(out),
            Op::Put(source) => source.write(state, subject, out),
            Op::Slot { before, lead, source } => {
                if let Some(text) = source.text(subject.exchange) {
                    if before.needs_comma(wrote) {
                        out.push_byte(b',');
                    }
                    lead.write(out);
                    json::string(text, out);
                    wrote = before.then(wrote, true);
                    continue;
                }
                let item = source.item(subject);
                if !item.is_absent() {
                    if before.needs_comma(wrote) {
                        out.push_byte(b',');
                    }
                    lead.write(out);
                    item.write(state, subject, out);
                }
                wrote = before.then(wrote, !item.is_absent());
            }
            Op::CommaIfWrote if wrote => out.push_byte(b','),
            Op::CommaIfWrote => {}
            Op::UnlessPresent { source, skip } => {
                if !source.item(subject).is_absent() {
                    ops = ops.as_slice().get(*skip..).unwrap_or_default().iter();
                }
            }
        }
    }
}
