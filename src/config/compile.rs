//! Documents → snapshot: routes merged with their services and plugin configs, references resolved, defaults filled in, equal
//! upstreams and loggers shared (APISIX-COMPAT §6.6, §2.2). An object that cannot be compiled is left out and reported; it never
//! stops the others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Problem;
use super::documents::Documents;
use super::file::FileConfig;
use super::snapshot::{Keepalive, RouterMode, Snapshot};

/// What the file says about compiling; the same for the life of the process.
#[derive(Clone, Debug, PartialEq)]
pub struct CompileOptions {
    /// `apisix.router.http`.
    pub router: RouterMode,
    /// `tollgate.hosts`.
    pub hosts: BTreeMap<String, String>,
    /// For upstreams without `keepalive_pool`.
    pub keepalive: Keepalive,
}

/// What came out.
#[derive(Debug)]
pub struct Compiled {
    /// To publish.
    pub snapshot: Snapshot,
    /// What was left out and why, `path` is `routes/r1`.
    pub problems: Vec<Problem>,
    /// Names (lower case, no port) for which `resolve` had nothing: to resolve, then compile or [`Snapshot::with_addresses`] again.
    pub unresolved: Vec<String>,
}

impl From<&FileConfig> for CompileOptions {
    fn from(_file: &FileConfig) -> Self {
        todo!()
    }
}

/// Compiles everything. `resolve` gives the addresses of a name as far as they are known (none: not known yet, or no such name);
/// it is not asked for addresses in digits. 1,000 routes take a few milliseconds.
pub fn compile(_documents: &Documents, _options: &CompileOptions, _resolve: &dyn Fn(&str) -> Vec<IpAddr>) -> Compiled {
    todo!()
}
