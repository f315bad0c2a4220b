//! The routes of one snapshot, compiled for look-up (APISIX-COMPAT §6.2–6.4).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::cidr::Cidr;
use super::expr::{Expr, Operand};
use super::pattern::{Parameters, Pattern, Uri};
use super::prefix::PrefixMap;
use crate::http::fields::Span;

/// `apisix.router.http`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RouterMode {
    /// `radixtree_host_uri`.
    #[default]
    HostUri,
    /// `radixtree_uri`.
    Uri,
    /// `radixtree_uri_with_parameter`.
    UriWithParameter,
}

/// A set of the methods that routes may name; empty means every method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodSet(u16);

impl MethodSet {
    /// Adds a method; false if routes cannot name it.
    pub fn insert(&mut self, method: &str) -> bool {
        let bit = bit(method.as_bytes());
        self.0 |= bit;
        bit != 0
    }

    /// True if a request with `method` (upper case, any bytes) passes.
    pub fn allows(self, method: &[u8]) -> bool {
        self.0 == 0 || self.0 & bit(method) != 0
    }
}

/// The method's bit; 0 for what routes cannot name.
fn bit(method: &[u8]) -> u16 {
    let index = match method {
        b"GET" => 0,
        b"POST" => 1,
        b"PUT" => 2,
        b"DELETE" => 3,
        b"PATCH" => 4,
        b"HEAD" => 5,
        b"OPTIONS" => 6,
        b"CONNECT" => 7,
        b"TRACE" => 8,
        b"PURGE" => 9,
        _ => return 0,
    };
    1 << index
}

/// The position of a route in the snapshot's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteIndex(pub u32);

/// One route, as the table wants it. Routes with `status: 0` are not handed in.
#[derive(Clone, Debug)]
pub struct RouteEntry<V> {
    /// `uri` or `uris`.
    pub uris: Vec<String>,
    /// `host` or `hosts` (own or the service's), any case; empty: every host.
    pub hosts: Vec<String>,
    /// `methods`.
    pub methods: MethodSet,
    /// `remote_addr` or `remote_addrs`; empty: every address.
    pub remote_addrs: Vec<Cidr>,
    /// `vars`.
    pub vars: Option<Expr<V>>,
    /// `priority`.
    pub priority: i64,
    /// Given back by [`RouteTable::find`].
    pub index: RouteIndex,
}

/// A request, as far as routing looks at it.
#[derive(Clone, Copy, Debug)]
pub struct RouteQuery<'a> {
    /// `$host`: lower case, no port.
    pub host: &'a [u8],
    /// `$uri`: decoded and normalised.
    pub path: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// `$remote_addr`; `None` (a Unix socket) passes no `remote_addrs`.
    pub remote_addr: Option<IpAddr>,
}

/// Values that a parameter route took from the path; memory to be reused.
pub type UriParams = Vec<(Arc<str>, Span)>;

/// What a look-up asks when a candidate has `vars`.
type Lookup<'q, 'e, V> = &'q dyn Fn(&'e V) -> Operand<'e>;

/// The compiled routes.
#[derive(Debug)]
pub struct RouteTable<V> {
    routes: Vec<Route<V>>,
    /// Only in host mode: routes by exact host,
    hosts: HashMap<Box<[u8]>, Paths>,
    /// by wildcard host, reversed and without the star,
    wildcards: PrefixMap<Paths>,
    /// and without host; in the other modes every route.
    any: Paths,
}

/// What is left of a route once its host and path led to it.
#[derive(Debug)]
struct Route<V> {
    methods: MethodSet,
    remote_addrs: Vec<Cidr>,
    /// Empty in host mode.
    hosts: Vec<HostRule>,
    vars: Option<Expr<V>>,
    index: RouteIndex,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum HostRule {
    Exact(Box<[u8]>),
    Suffix(Box<[u8]>),
}

/// The routes of one host by path; each list in the order to try.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<[u8]>, Vec<Candidate>>,
    prefixes: PrefixMap<Vec<Candidate>>,
}

#[derive(Debug)]
struct Candidate {
    route: u32,
    pattern: Option<Pattern>,
}

impl<V> Default for RouteTable<V> {
    fn default() -> Self {
        Self { routes: Vec::new(), hosts: HashMap::new(), wildcards: PrefixMap::default(), any: Paths::default() }
    }
}

impl<V> RouteTable<V> {
    /// Compiles. Of routes that share a path the higher priority goes first, else the order given. 100,000 routes take well under
    /// a second.
    pub fn build(mut entries: Vec<RouteEntry<V>>, mode: RouterMode) -> Self {
        // A stable sort now leaves every list below in the order to try.
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.priority));
        let parameters = if mode == RouterMode::UriWithParameter { Parameters::Named } else { Parameters::Literal };
        let mut groups: HashMap<Option<HostRule>, PathsBuilder> = HashMap::new();
        let mut routes = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut hosts: Vec<HostRule> = entry.hosts.iter().map(|host| HostRule::of(host)).collect();
            let by_host = mode == RouterMode::HostUri && !hosts.is_empty();
            let keys = if by_host { hosts.drain(..).map(Some).collect() } else { vec![None] };
            for key in keys {
                groups.entry(key).or_default().add(&entry.uris, routes.len() as u32, parameters);
            }
            let RouteEntry { methods, remote_addrs, vars, index, .. } = entry;
            routes.push(Route { methods, remote_addrs, hosts, vars, index });
        }
        let mut table = Self { routes, ..Self::default() };
        let mut wildcards = Vec::new();
        for (host, paths) in groups {
            match host {
                None => table.any = paths.build(),
                Some(HostRule::Exact(host)) => drop(table.hosts.insert(host, paths.build())),
                Some(HostRule::Suffix(suffix)) => {
                    wildcards.push((suffix.iter().rev().copied().collect(), paths.build()));
                }
            }
        }
        table.wildcards = PrefixMap::build(wildcards);
        table
    }

    /// The route for a request. Allocates nothing, except where a route with parameters is tried.
    pub fn find<'e>(&'e self, query: &RouteQuery<'_>, vars: &dyn Fn(&'e V) -> Operand<'e>) -> Option<RouteIndex> {
        self.find_with_params(query, vars, &mut UriParams::new())
    }

    /// The same, and fills `params` (cleared first) with the values of a parameter route. Allocates nothing once `params` is warm.
    pub fn find_with_params<'e>(
        &'e self,
        query: &RouteQuery<'_>,
        vars: &dyn Fn(&'e V) -> Operand<'e>,
        params: &mut UriParams,
    ) -> Option<RouteIndex> {
        let exact = self.hosts.get(query.host).into_iter();
        let hosts = exact.chain(self.wildcards.matches_reversed(query.host)).chain(std::iter::once(&self.any));
        let mut candidates = hosts.flat_map(|paths| paths.candidates(query.path));
        let found = candidates.find(|candidate| {
            params.clear();
            let fits = |pattern: &Pattern| pattern.matches(query.path, params);
            candidate.pattern.as_ref().is_none_or(fits) && self.routes[candidate.route as usize].accepts(query, vars)
        });
        if found.is_none() {
            params.clear();
        }
        found.map(|candidate| self.routes[candidate.route as usize].index)
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

impl<V> Route<V> {
    fn accepts<'e>(&'e self, query: &RouteQuery<'_>, vars: Lookup<'_, 'e, V>) -> bool {
        self.methods.allows(query.method)
            && (self.remote_addrs.is_empty()
                || query
                    .remote_addr
                    .is_some_and(|address| self.remote_addrs.iter().any(|range| range.contains(address))))
            && (self.hosts.is_empty() || self.hosts.iter().any(|host| host.matches(query.host)))
            && self.vars.as_ref().is_none_or(|expr| expr.eval(vars))
    }
}

impl HostRule {
    fn of(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        match host.strip_prefix('*') {
            Some(suffix) => Self::Suffix(suffix.as_bytes().into()),
            None => Self::Exact(host.into_bytes().into()),
        }
    }

    fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(name) => **name == *host,
            Self::Suffix(suffix) => host.ends_with(suffix),
        }
    }
}

impl Paths {
    /// In the order to try: the exact path, then prefixes, the longest first.
    fn candidates<'t>(&'t self, path: &'t [u8]) -> impl Iterator<Item = &'t Candidate> {
        self.exact.get(path).into_iter().chain(self.prefixes.matches(path)).flatten()
    }
}

#[derive(Default)]
struct PathsBuilder {
    exact: HashMap<Box<[u8]>, Vec<Candidate>>,
    prefixes: HashMap<Box<[u8]>, Vec<Candidate>>,
}

impl PathsBuilder {
    fn add(&mut self, uris: &[String], route: u32, parameters: Parameters) {
        for uri in uris {
            let (map, path, pattern) = match Uri::parse(uri, parameters) {
                Uri::Exact(path) => (&mut self.exact, path, None),
                Uri::Prefix(path, pattern) => (&mut self.prefixes, path, pattern),
            };
            map.entry(path).or_default().push(Candidate { route, pattern });
        }
    }

    fn build(self) -> Paths {
        Paths { exact: self.exact, prefixes: PrefixMap::build(self.prefixes) }
    }
}

#[cfg(test)]
mod tests;
