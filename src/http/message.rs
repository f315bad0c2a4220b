//! What request and response share: method, version, and how a parser answers.

/// A request method (RFC 9110 §9). Case matters: `get` is [`Method::Other`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`: the response has no body whatever its head says.
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `PATCH`
    Patch,
    /// `OPTIONS`: the only one that may ask for `*`.
    Options,
    /// `CONNECT`: refused, Tollgate is no forward proxy.
    Connect,
    /// `TRACE`
    Trace,
    /// `PURGE`: APISIX lets routes name it.
    Purge,
    /// Any other token.
    Other,
}

impl Method {
    /// The method that `name` spells.
    pub fn from_name(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"PATCH" => Self::Patch,
            b"OPTIONS" => Self::Options,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            b"PURGE" => Self::Purge,
            _ => Self::Other,
        }
    }

    /// True if sending it twice does what sending it once does (RFC 9110 §9.2.2). Unknown methods are not.
    pub const fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace)
    }
}

/// The HTTP version of a message. Others are refused (505).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

impl Version {
    /// As in the first line: nginx's `$server_protocol`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// How far a parser came without finding anything wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The head goes on: call again with the same bytes and more behind them.
    Partial,
    /// The head is whole; its `len` says how many bytes it takes.
    Complete,
}

/// A request that must be refused: answer with `status` and close the connection, its bytes can no longer be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The status to answer with: 400, 405, 413, 414, 417, 431, 501 or 505.
    pub status: u16,
    /// What is wrong, for the error log; constant, holds nothing of the request.
    pub reason: &'static str,
}

impl Reject {
    /// A 400.
    pub const fn bad(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }

    /// Another status.
    pub const fn with(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// A response that breaks the protocol: a 502 if nothing was sent yet, otherwise the client's connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong, for the error log; constant, holds nothing of the response.
    pub reason: &'static str,
}

impl From<Reject> for Malformed {
    fn from(reject: Reject) -> Self {
        Self { reason: reject.reason }
    }
}
