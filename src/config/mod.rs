//! Configuration: APISIX's names verbatim, checked with all errors and their paths, compiled into snapshots. No file, no socket.
//!
//! A change goes: body → [`resource::check_id`] → [`validate::forbid_times`] (PUT, POST) or [`patch`] → [`validate::check`] →
//! [`validate::check_references`] → [`documents::Documents`] → [`compile::compile`] → [`snapshot::Snapshot`] → [`publish::Board`].

pub mod address;
pub mod compile;
pub mod documents;
pub mod file;
pub mod lane_registry;
pub mod patch;
pub mod publish;
pub mod resource;
pub mod schema;
pub mod snapshot;
pub mod standalone;
pub mod validate;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `apisix.node_listen`, `routes/r1`.
    pub path: String,
    /// What, in words for the operator.
    pub text: String,
}

impl Problem {
    /// A problem at a path.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}
