//! Documents → snapshot: routes merged with their services and plugin configs, references resolved, defaults filled in, equal
//! upstreams and loggers shared (APISIX-COMPAT §6.6, §2.2). An object that cannot be compiled is left out and reported; it never
//! stops the others. Takes objects that passed [`super::validate`]: what that refuses is not looked for again.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Problem;
use super::documents::Documents;
use super::file::FileConfig;
use super::snapshot::{Keepalive, Snapshot};
use crate::kafka::Overflow;
use crate::route::RouterMode;

mod checks;
mod content;
mod field;
mod hash_key;
mod logger;
mod route;
mod security;
mod upstream;

pub use security::{TlsDefaults, Trust};

/// What the file says about compiling; the same for the life of the process.
#[derive(Clone, Debug, PartialEq)]
pub struct CompileOptions {
    /// `apisix.router.http`.
    pub router: RouterMode,
    /// `tollgate.hosts`, names in lower case.
    pub hosts: BTreeMap<String, String>,
    /// For upstreams without `keepalive_pool`.
    pub keepalive: Keepalive,
    /// For kafka-logger's `tls`: what `control` read.
    pub tls: TlsDefaults,
}

impl Default for CompileOptions {
    /// As an empty file says it, and nobody trusted.
    fn default() -> Self {
        let keepalive = super::file::KEEPALIVE;
        Self { router: RouterMode::default(), hosts: BTreeMap::new(), keepalive, tls: TlsDefaults::default() }
    }
}

impl From<&FileConfig> for CompileOptions {
    fn from(file: &FileConfig) -> Self {
        let (hosts, keepalive) = (file.tollgate.hosts.clone(), file.http.upstream_keepalive);
        Self { router: file.router, hosts, keepalive, tls: TlsDefaults::default() }
    }
}

/// What came out.
#[derive(Debug)]
pub struct Compiled {
    /// To publish.
    pub snapshot: Snapshot,
    /// What was left out and why; `path` is `routes/r1`.
    pub problems: Vec<Problem>,
    /// What is in and does less than its owner may think: names that lead nowhere, settings without effect.
    pub warnings: Vec<Problem>,
    /// Names (lower case, no port), each once, for which `resolve` had nothing: to resolve, then compile again.
    pub unresolved: Vec<String>,
}

/// Compiles everything. `resolve` gives the addresses of a name (lower case) as far as they are known (none: not known yet, or no
/// such name); it is not asked for addresses in digits. 1,000 routes take a few milliseconds.
pub fn compile(documents: &Documents, options: &CompileOptions, resolve: &dyn Fn(&str) -> Vec<IpAddr>) -> Compiled {
    let mut upstreams = upstream::Upstreams::new(options, resolve);
    let mut loggers = logger::Loggers::new(documents, &options.tls);
    let mut findings = Findings::default();
    let global_loggers = logger::global(documents, &mut loggers, &mut findings);
    let (global_captures, global_hold) = (loggers.captures(&global_loggers), loggers.hold(&global_loggers));
    let mut routes = route::Routes::new(documents, &mut upstreams, &mut loggers, &global_loggers);
    routes.add_all(&mut findings);
    let (routes, route_specs) = routes.finish(options.router);
    let (upstreams, node_sets, unresolved) = upstreams.finish();
    let loggers = loggers.finish();
    let snapshot = Snapshot {
        holds_back: loggers.iter().any(|logger| logger.sink.overflow == Overflow::Backpressure),
        revision: documents.revision,
        routes,
        route_specs,
        upstreams,
        node_sets,
        watches: Vec::new(),
        loggers,
        global_loggers,
        global_captures,
        global_hold,
    };
    Compiled { snapshot, problems: findings.problems, warnings: findings.warnings, unresolved }
}

/// What is said about the objects on the way.
#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Findings {
    fn left_out(&mut self, path: String, text: impl Into<String>) {
        self.problems.push(Problem::new(path, text));
    }

    fn warn(&mut self, path: String, text: impl Into<String>) {
        self.warnings.push(Problem::new(path, text));
    }
}

#[cfg(test)]
mod tests;
