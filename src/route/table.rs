//! The routes of one snapshot, compiled for look-up (APISIX-COMPAT §6.2–6.4).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::cidr::Cidr;
use super::expr::{Expr, Operand};
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

/// The methods that a route may name, by their bit.
const METHODS: [&str; 10] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PURGE"];

impl MethodSet {
    /// Adds a method; false if routes cannot name it.
    pub fn insert(&mut self, method: &str) -> bool {
        let found = METHODS.iter().position(|known| *known == method);
        self.0 |= found.map_or(0, |bit| 1 << bit);
        found.is_some()
    }

    /// True if a request with `method` (upper case, any bytes) passes.
    pub fn allows(self, method: &[u8]) -> bool {
        let bit = || METHODS.iter().position(|known| known.as_bytes() == method);
        self.0 == 0 || bit().is_some_and(|bit| self.0 & 1 << bit != 0)
    }
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

/// The compiled routes.
#[derive(Debug)]
pub struct RouteTable<V> {
    mode: RouterMode,
    rules: Vec<Rule<V>>,
    /// Routes without hosts (`HostUri`), or all of them (the other modes).
    any_host: Paths,
    exact_hosts: HashMap<Box<[u8]>, Paths>,
    /// `*.foo.com` by `.foo.com`.
    wildcard_hosts: HashMap<Box<[u8]>, Paths>,
    /// Lengths of the wildcard suffixes, the longest first.
    wildcard_lengths: Vec<usize>,
}

/// Everything but the path.
#[derive(Debug)]
struct Rule<V> {
    hosts: Vec<String>,
    methods: MethodSet,
    remote_addrs: Vec<Cidr>,
    vars: Option<Expr<V>>,
    priority: i64,
    index: RouteIndex,
}

/// Rules by path; those of one path the highest priority first.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<[u8]>, Vec<u32>>,
    prefix: HashMap<Box<[u8]>, Vec<u32>>,
    /// Lengths of the prefixes, the longest first.
    prefix_lengths: Vec<usize>,
    parameters: Vec<(Pattern, u32)>,
}

impl<V> Default for RouteTable<V> {
    fn default() -> Self {
        Self::build(Vec::new(), RouterMode::default())
    }
}

impl<V> RouteTable<V> {
    /// Compiles. 100,000 routes take well under a second.
    pub fn build(entries: Vec<RouteEntry<V>>, mode: RouterMode) -> Self {
        let mut table = Self {
            mode,
            rules: Vec::with_capacity(entries.len()),
            any_host: Paths::default(),
            exact_hosts: HashMap::new(),
            wildcard_hosts: HashMap::new(),
            wildcard_lengths: Vec::new(),
        };
        for entry in entries {
            table.add(entry);
        }
        let priorities: Vec<i64> = table.rules.iter().map(|rule| rule.priority).collect();
        let hosts = table.exact_hosts.values_mut().chain(table.wildcard_hosts.values_mut());
        hosts.chain(std::iter::once(&mut table.any_host)).for_each(|paths| paths.settle(&priorities));
        table.wildcard_lengths = lengths(table.wildcard_hosts.keys());
        table
    }

    fn add(&mut self, entry: RouteEntry<V>) {
        let place = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        let hosts: Vec<String> = entry.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let with_parameters = self.mode == RouterMode::UriWithParameter;
        if self.mode == RouterMode::HostUri && !hosts.is_empty() {
            for host in &hosts {
                let paths = match host.strip_prefix('*') {
                    Some(suffix) => self.wildcard_hosts.entry(suffix.as_bytes().into()).or_default(),
                    None => self.exact_hosts.entry(host.as_bytes().into()).or_default(),
                };
                entry.uris.iter().for_each(|uri| paths.add(uri, place, with_parameters));
            }
        } else {
            entry.uris.iter().for_each(|uri| self.any_host.add(uri, place, with_parameters));
        }
        let RouteEntry { methods, remote_addrs, vars, priority, index, .. } = entry;
        self.rules.push(Rule { hosts, methods, remote_addrs, vars, priority, index });
    }

    /// The route for a request. Allocates nothing.
    pub fn find<'a>(&'a self, query: &RouteQuery<'_>, vars: &dyn Fn(&'a V) -> Operand<'a>) -> Option<RouteIndex> {
        let passes = |place: u32| self.rules[place as usize].passes(query, vars);
        let place = self.by_host(query, &passes).or_else(|| self.any_host.find(query.path, &passes))?;
        Some(self.rules[place as usize].index)
    }

    /// The same, and fills `params` (cleared first) with the values of a parameter route.
    pub fn find_with_params<'a>(
        &'a self,
        query: &RouteQuery<'_>,
        vars: &dyn Fn(&'a V) -> Operand<'a>,
        params: &mut UriParams,
    ) -> Option<RouteIndex> {
        params.clear();
        let found = self.find(query, vars)?;
        let pattern = self.any_host.parameters.iter().find(|(pattern, place)| {
            self.rules[*place as usize].index == found && pattern.matches(query.path, &mut |_, _| {})
        });
        if let Some((pattern, _)) = pattern {
            pattern.matches(query.path, &mut |name, span| params.push((Arc::clone(name), span)));
        }
        Some(found)
    }

    /// The host's own routes: the exact host first, then the longest wildcard (APISIX-COMPAT §6.4).
    fn by_host(&self, query: &RouteQuery<'_>, passes: &dyn Fn(u32) -> bool) -> Option<u32> {
        if let Some(found) = self.exact_hosts.get(query.host).and_then(|paths| paths.find(query.path, passes)) {
            return Some(found);
        }
        self.wildcard_lengths.iter().filter(|length| **length <= query.host.len()).find_map(|length| {
            let suffix = &query.host[query.host.len() - length..];
            self.wildcard_hosts.get(suffix)?.find(query.path, passes)
        })
    }
}

fn lengths<'a>(texts: impl Iterator<Item = &'a Box<[u8]>>) -> Vec<usize> {
    let mut lengths: Vec<usize> = texts.map(|text| text.len()).collect();
    lengths.sort_unstable_by_key(|length| std::cmp::Reverse(*length));
    lengths.dedup();
    lengths
}

impl<V> Rule<V> {
    fn passes<'a>(&'a self, query: &RouteQuery<'_>, vars: &dyn Fn(&'a V) -> Operand<'a>) -> bool {
        self.methods.allows(query.method)
            && (self.hosts.is_empty() || self.hosts.iter().any(|host| host_matches(host.as_bytes(), query.host)))
            && (self.remote_addrs.is_empty()
                || query
                    .remote_addr
                    .is_some_and(|address| self.remote_addrs.iter().any(|range| range.contains(address))))
            && self.vars.as_ref().is_none_or(|expr| expr.eval(vars))
    }
}

fn host_matches(host: &[u8], wanted: &[u8]) -> bool {
    match host.strip_prefix(b"*") {
        Some(suffix) => wanted.ends_with(suffix),
        None => host == wanted,
    }
}

impl Paths {
    fn add(&mut self, uri: &str, place: u32, with_parameters: bool) {
        if with_parameters && let Some(pattern) = Pattern::compile(uri) {
            self.parameters.push((pattern, place));
            return;
        }
        let (map, key) = match uri.strip_suffix('*') {
            Some(prefix) => (&mut self.prefix, prefix),
            None => (&mut self.exact, uri),
        };
        let places = map.entry(key.as_bytes().into()).or_default();
        if places.last() != Some(&place) {
            places.push(place);
        }
    }

    fn settle(&mut self, priorities: &[i64]) {
        let order = |place: &u32| (std::cmp::Reverse(priorities[*place as usize]), *place);
        self.exact.values_mut().chain(self.prefix.values_mut()).for_each(|places| places.sort_by_key(order));
        self.parameters.sort_by_key(|(pattern, place)| (std::cmp::Reverse(pattern.literal_bytes()), order(place)));
        self.prefix_lengths = lengths(self.prefix.keys());
    }

    /// Exact before parameters before the longest prefix; a path whose rules do not pass gives way to the next.
    fn find(&self, path: &[u8], passes: &dyn Fn(u32) -> bool) -> Option<u32> {
        let first = |places: &Vec<u32>| places.iter().copied().find(|place| passes(*place));
        if let Some(found) = self.exact.get(path).and_then(first) {
            return Some(found);
        }
        let mut parameters = self.parameters.iter();
        if let Some((_, found)) =
            parameters.find(|(pattern, place)| pattern.matches(path, &mut |_, _| {}) && passes(*place))
        {
            return Some(*found);
        }
        let fitting = self.prefix_lengths.iter().filter(|length| **length <= path.len());
        fitting.into_iter().find_map(|length| self.prefix.get(&path[..*length]).and_then(first))
    }
}

/// A path with `:name` segments and a `*name` tail (`radixtree_uri_with_parameter`).
#[derive(Debug)]
struct Pattern {
    segments: Vec<Segment>,
}

#[derive(Debug)]
enum Segment {
    Literal(Box<[u8]>),
    Parameter(Arc<str>),
    Tail(Arc<str>),
}

impl Pattern {
    /// `None` if the path has no parameter: it is exact or a prefix then.
    fn compile(uri: &str) -> Option<Self> {
        let parts: Vec<&str> = uri.strip_prefix('/')?.split('/').collect();
        let named = |part: &&str| part.len() > 1 && (part.starts_with(':') || part.starts_with('*'));
        if !parts.iter().any(named) {
            return None;
        }
        let segments = parts.iter().map(|part| match part.split_at_checked(1) {
            Some((":", name)) if !name.is_empty() => Segment::Parameter(name.into()),
            Some(("*", name)) => Segment::Tail(name.into()),
            _ => Segment::Literal(part.as_bytes().into()),
        });
        Some(Self { segments: segments.collect() })
    }

    fn literal_bytes(&self) -> usize {
        let length = |segment: &Segment| if let Segment::Literal(text) = segment { text.len() + 1 } else { 0 };
        self.segments.iter().map(length).sum()
    }

    /// True if `path` fits; `see` gets each name with where its value lies.
    fn matches(&self, path: &[u8], see: &mut dyn FnMut(&Arc<str>, Span)) -> bool {
        let mut start = 1;
        for (index, segment) in self.segments.iter().enumerate() {
            if start > path.len() {
                return false;
            }
            let end = path[start..].iter().position(|byte| *byte == b'/').map_or(path.len(), |at| start + at);
            match segment {
                Segment::Literal(text) if path[start..end] == **text => {}
                Segment::Parameter(name) if end > start => see(name, Span::new(start, end)),
                Segment::Tail(name) => {
                    see(name, Span::new(start, path.len()));
                    return true;
                }
                _ => return false,
            }
            if index + 1 == self.segments.len() {
                return end == path.len();
            }
            start = end + 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u32, uri: &str, hosts: &[&str]) -> RouteEntry<()> {
        RouteEntry {
            uris: vec![uri.to_owned()],
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            methods: MethodSet::default(),
            remote_addrs: Vec::new(),
            vars: None,
            priority: 0,
            index: RouteIndex(index),
        }
    }

    fn find(table: &RouteTable<()>, host: &str, path: &str) -> Option<u32> {
        let query = RouteQuery { host: host.as_bytes(), path: path.as_bytes(), method: b"GET", remote_addr: None };
        table.find(&query, &|()| Operand::Nil).map(|index| index.0)
    }

    #[test]
    fn exact_beats_prefix_and_the_longer_prefix_the_shorter() {
        let entries =
            vec![entry(0, "/*", &[]), entry(1, "/foo/*", &[]), entry(2, "/foo/bar", &[]), entry(3, "/foo*", &[])];
        let table = RouteTable::build(entries, RouterMode::HostUri);
        let found = |path| find(&table, "a", path);
        assert_eq!(
            (found("/foo/bar"), found("/foo/baz"), found("/foobar"), found("/x")),
            (Some(2), Some(1), Some(3), Some(0))
        );
        assert_eq!(found("/foo"), Some(3), "/foo/* does not match /foo");
    }

    #[test]
    fn a_host_route_beats_a_better_path_without_a_host() {
        let entries = vec![entry(0, "/a/b", &[]), entry(1, "/*", &["Foo.com"]), entry(2, "/*", &["*.foo.com"])];
        let table = RouteTable::build(entries, RouterMode::HostUri);
        assert_eq!(find(&table, "foo.com", "/a/b"), Some(1));
        assert_eq!(find(&table, "x.y.foo.com", "/a/b"), Some(2));
        assert_eq!(find(&table, ".foo.com", "/"), Some(2));
        assert_eq!(find(&table, "bar.com", "/a/b"), Some(0));
        assert_eq!(find(&table, "bar.com", "/"), None);
    }

    #[test]
    fn in_uri_mode_the_host_is_only_a_filter() {
        let entries = vec![entry(0, "/a/b", &[]), entry(1, "/*", &["foo.com"])];
        let table = RouteTable::build(entries, RouterMode::Uri);
        assert_eq!(find(&table, "foo.com", "/a/b"), Some(0));
        assert_eq!(find(&table, "foo.com", "/x"), Some(1));
        assert_eq!(find(&table, "bar.com", "/x"), None);
    }

    #[test]
    fn priority_decides_within_a_path_and_conditions_give_way_to_the_next() {
        let mut posts = entry(1, "/a", &[]);
        posts.priority = 5;
        assert!(posts.methods.insert("POST"));
        let mut near = entry(2, "/a", &[]);
        near.priority = 3;
        near.remote_addrs = vec![Cidr::parse("10.0.0.0/8").unwrap()];
        let table = RouteTable::build(vec![entry(0, "/a", &[]), posts, near, entry(3, "/*", &[])], RouterMode::HostUri);
        let query = RouteQuery { host: b"x", path: b"/a", method: b"POST", remote_addr: "10.1.1.1".parse().ok() };
        let of = |query: &RouteQuery<'_>| table.find(query, &|()| Operand::Nil).map(|index| index.0);
        assert_eq!(of(&query), Some(1));
        assert_eq!(of(&RouteQuery { method: b"GET", ..query }), Some(2));
        assert_eq!(of(&RouteQuery { method: b"GET", remote_addr: None, ..query }), Some(0));
    }

    #[test]
    fn a_parameter_takes_one_segment_and_a_tail_the_rest() {
        let entries = vec![entry(0, "/blog/:name", &[]), entry(1, "/blog/new", &[]), entry(2, "/files/*path", &[])];
        let table = RouteTable::build(entries, RouterMode::UriWithParameter);
        let found = |path| find(&table, "a", path);
        assert_eq!((found("/blog/dog"), found("/blog/new")), (Some(0), Some(1)));
        assert_eq!((found("/blog/"), found("/blog/a/b"), found("/files/a/b")), (None, None, Some(2)));
        let mut params = UriParams::new();
        let query = RouteQuery { host: b"a", path: b"/blog/dog", method: b"GET", remote_addr: None };
        table.find_with_params(&query, &|()| Operand::Nil, &mut params);
        assert_eq!(
            params.iter().map(|(name, span)| (&**name, span.of(b"/blog/dog"))).collect::<Vec<_>>(),
            [("name", &b"dog"[..])]
        );
        assert_eq!(
            find(&RouteTable::build(vec![entry(0, "/do:list", &[])], RouterMode::HostUri), "a", "/do:list"),
            Some(0)
        );
    }

    #[test]
    fn a_hundred_thousand_routes_are_built_and_found() {
        let entries = (0..100_000).map(|index| entry(index, &format!("/svc{index}/*"), &[])).collect();
        let table = RouteTable::build(entries, RouterMode::HostUri);
        assert_eq!(find(&table, "a", "/svc77777/x/y"), Some(77_777));
        assert_eq!(find(&table, "a", "/nothing"), None);
    }
}
