//! A log format compiled once: constant bytes between slots, already escaped (ARCHITECTURE §4.1).

use serde_json::{Map, Value};

use super::exchange::Exchange;
use crate::kafka::batch::Out;

/// Which entry a logger writes (APISIX-COMPAT §2.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FormatChoice<'a> {
    /// The full entry, with the keys of `log_format_extra`.
    Default {
        /// `log_format_extra`, if any.
        extra: Option<&'a Map<String, Value>>,
    },
    /// A `log_format`.
    Custom(&'a Map<String, Value>),
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
    /// Bodies whose content coding could not be undone; their raw bytes were logged.
    pub undecoded_bodies: u64,
}

/// A compiled log format. Knows no route: routes with the same format share it.
#[derive(Debug)]
pub struct Plan {
    warnings: Vec<String>,
}

/// Decides between the formats of the instance and of the metadata (APISIX-COMPAT §2.2, §2.4). Anything but an object counts as not given.
pub fn choose_format<'a>(
    _meta_format: Option<&str>,
    _instance: (Option<&'a Value>, Option<&'a Value>),
    _metadata: (Option<&'a Value>, Option<&'a Value>),
) -> FormatChoice<'a> {
    todo!()
}

impl Plan {
    /// Compiles; never fails (a `log_format` may hold anything), but may warn.
    pub fn compile(_spec: &PlanSpec<'_>) -> Self {
        todo!()
    }

    /// What to tell the operator.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Bytes of the request's body that must be captured; `None`: it is not needed.
    pub fn request_capture_bytes(&self) -> Option<usize> {
        todo!()
    }

    /// Bytes of the response's body that must be captured; `None`: it is not needed.
    pub fn response_capture_bytes(&self) -> Option<usize> {
        todo!()
    }

    /// Writes one entry. Allocates nothing once `state` is warm, except to undo a body's content coding. The caller looks at
    /// `out.overflowed()`.
    pub fn render(&self, _state: &mut RenderState, _exchange: &Exchange<'_>, _include: Include, _out: &mut Out<'_>) {
        todo!()
    }
}
