//! The routes of one snapshot, compiled for look-up (APISIX-COMPAT §6.2–6.4).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

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
    /// How many routes there are.
    count: usize,
    /// Of the routes that have some.
    conditions: Vec<Conditions<V>>,
    /// Only in host mode: routes by exact host,
    hosts: HashMap<Box<[u8]>, Paths>,
    /// by wildcard host, reversed and without the star,
    wildcards: PrefixMap<Paths>,
    /// and without host; in the other modes every route.
    any: Paths,
}

/// What few routes ask for beside host, path and method.
#[derive(Debug)]
struct Conditions<V> {
    remote_addrs: Vec<Cidr>,
    /// Empty in host mode.
    hosts: Vec<HostRule>,
    vars: Option<Expr<V>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum HostRule {
    Exact(Box<[u8]>),
    Suffix(Box<[u8]>),
}

/// A path; a short one lies in the table itself.
type PathKey = SmallVec<[u8; 24]>;

/// The routes of one host by path; each list in the order to try.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<PathKey, Candidates>,
    prefixes: PrefixMap<Candidates>,
}

/// Most paths have one route: it lies where it was found.
#[derive(Debug)]
enum Candidates {
    One(Candidate),
    Several(Vec<Candidate>),
}

/// A route, where its host and path led to it: with all that most are asked for, since each look elsewhere costs what no cache holds.
#[derive(Debug)]
struct Candidate {
    index: RouteIndex,
    methods: MethodSet,
    /// Index into [`RouteTable::conditions`].
    conditions: Option<u32>,
    pattern: Option<Pattern>,
}

impl<V> Default for RouteTable<V> {
    fn default() -> Self {
        let (hosts, wildcards, any) = (HashMap::new(), PrefixMap::default(), Paths::default());
        Self { count: 0, conditions: Vec::new(), hosts, wildcards, any }
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
        let mut table = Self { count: entries.len(), ..Self::default() };
        for entry in entries {
            let mut hosts: Vec<HostRule> = entry.hosts.iter().map(|host| HostRule::of(host)).collect();
            let by_host = mode == RouterMode::HostUri && !hosts.is_empty();
            let keys = if by_host { hosts.drain(..).map(Some).collect() } else { vec![None] };
            let RouteEntry { uris, methods, remote_addrs, vars, index, .. } = entry;
            let conditions = table.add_conditions(Conditions { remote_addrs, hosts, vars });
            for key in keys {
                groups.entry(key).or_default().add(&uris, parameters, (index, methods, conditions));
            }
        }
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
        let mut fits = |candidate: &Candidate| {
            params.clear();
            let conditions = candidate.conditions.map(|at| &self.conditions[at as usize]);
            candidate.pattern.as_ref().is_none_or(|pattern| pattern.matches(query.path, params))
                && candidate.methods.allows(query.method)
                && conditions.is_none_or(|conditions| conditions.accept(query, vars))
        };
        let of_host = self.hosts.get(query.host).and_then(|paths| paths.find(query.path, &mut fits));
        let found = of_host
            .or_else(|| self.wildcards.matches_reversed(query.host).find_map(|paths| paths.find(query.path, &mut fits)))
            .or_else(|| self.any.find(query.path, &mut fits));
        if found.is_none() {
            params.clear();
        }
        found.map(|candidate| candidate.index)
    }

    /// How many routes there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add_conditions(&mut self, conditions: Conditions<V>) -> Option<u32> {
        let Conditions { remote_addrs, hosts, vars } = &conditions;
        if remote_addrs.is_empty() && hosts.is_empty() && vars.is_none() {
            return None;
        }
        self.conditions.push(conditions);
        Some(self.conditions.len() as u32 - 1)
    }
}

impl<V> Conditions<V> {
    fn accept<'e>(&'e self, query: &RouteQuery<'_>, vars: Lookup<'_, 'e, V>) -> bool {
        let comes_from = |range: &Cidr| query.remote_addr.is_some_and(|address| range.contains(address));
        (self.remote_addrs.is_empty() || self.remote_addrs.iter().any(comes_from))
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
    /// The first that fits: of the exact path, then of prefixes, the longest first. These are not looked for if the former is enough.
    fn find<'t>(&'t self, path: &'t [u8], fits: &mut dyn FnMut(&Candidate) -> bool) -> Option<&'t Candidate> {
        let exact = self.exact.get(path).and_then(|all| all.find(fits));
        exact.or_else(|| self.prefixes.matches(path).find_map(|all| all.find(fits)))
    }
}

impl Candidates {
    fn of(mut all: Vec<Candidate>) -> Self {
        match all.pop() {
            Some(one) if all.is_empty() => Self::One(one),
            last => {
                all.extend(last);
                Self::Several(all)
            }
        }
    }

    fn find(&self, fits: &mut dyn FnMut(&Candidate) -> bool) -> Option<&Candidate> {
        match self {
            Self::One(one) => Some(one).filter(|one| fits(one)),
            Self::Several(all) => all.iter().find(|one| fits(one)),
        }
    }
}

#[derive(Default)]
struct PathsBuilder {
    exact: HashMap<Box<[u8]>, Vec<Candidate>>,
    prefixes: HashMap<Box<[u8]>, Vec<Candidate>>,
}

impl PathsBuilder {
    fn add(&mut self, uris: &[String], parameters: Parameters, route: (RouteIndex, MethodSet, Option<u32>)) {
        let (index, methods, conditions) = route;
        for uri in uris {
            let (map, path, pattern) = match Uri::parse(uri, parameters) {
                Uri::Exact(path) => (&mut self.exact, path, None),
                Uri::Prefix(path, pattern) => (&mut self.prefixes, path, pattern),
            };
            map.entry(path).or_default().push(Candidate { index, methods, conditions, pattern });
        }
    }

    fn build(self) -> Paths {
        let exact = self.exact.into_iter().map(|(path, all)| (PathKey::from_slice(&path), Candidates::of(all)));
        let prefixes = self.prefixes.into_iter().map(|(path, all)| (path, Candidates::of(all)));
        Paths { exact: exact.collect(), prefixes: PrefixMap::build(prefixes) }
    }
}

#[cfg(test)]
mod tests;
