//! Upstreams: from a route, a service or on their own, each distinct content once (APISIX-COMPAT §7.1).

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::content::{Json, hash_of};
use super::{CompileOptions, checks, field, hash_key, security};
use crate::config::address;
use crate::config::snapshot::{HashKey, Keepalive, NodeSpec, PassHost, Scheme, UpstreamIndex, UpstreamSpec};
use crate::kafka::tls::{Tls, TlsSettings};
use crate::upstream::{Address, Balancing, Node, NodeSet};

/// Nodes that the addresses of one upstream's names may become; beyond it each name keeps its first address.
const ADDRESSES_MOST: u32 = 1024;

/// The upstreams of one snapshot while it is made.
pub struct Upstreams<'a> {
    options: &'a CompileOptions,
    resolve: &'a dyn Fn(&str) -> Vec<IpAddr>,
    unresolved: BTreeSet<String>,
    by_content: HashMap<u64, UpstreamIndex>,
    /// Objects seen, by where they lie: one that many routes name is read once.
    by_object: HashMap<*const Value, Result<UpstreamIndex, String>>,
    /// By the hash of what was written: the trusted authorities are read once for all that are alike.
    tls: HashMap<u64, Tls>,
    specs: Vec<Arc<UpstreamSpec>>,
    node_sets: Vec<Arc<NodeSet>>,
}

impl<'a> Upstreams<'a> {
    /// None yet.
    pub fn new(options: &'a CompileOptions, resolve: &'a dyn Fn(&str) -> Vec<IpAddr>) -> Self {
        Self {
            options,
            resolve,
            unresolved: BTreeSet::new(),
            by_content: HashMap::new(),
            by_object: HashMap::new(),
            tls: HashMap::new(),
            specs: Vec::new(),
            node_sets: Vec::new(),
        }
    }

    /// The upstream that an object of the documents configures; `owner` names the object.
    ///
    /// # Errors
    /// Why it cannot be compiled.
    pub fn add(&mut self, upstream: &'a Value, owner: impl FnOnce() -> String) -> Result<UpstreamIndex, String> {
        let place = std::ptr::from_ref(upstream);
        if let Some(known) = self.by_object.get(&place) {
            return known.clone();
        }
        let added =
            self.tls(upstream).and_then(|tls| read(upstream, owner, self.options, tls)).map(|spec| self.share(spec));
        self.by_object.insert(place, added.clone());
        added
    }

    /// What secures the connections of a `scheme: https`. As in APISIX nothing is verified unless `tls.verify` says so.
    fn tls(&mut self, upstream: &Value) -> Result<Option<Tls>, String> {
        if field::text(upstream, "scheme") != Some("https") {
            return Ok(None);
        }
        let tls = upstream.get("tls");
        let written = hash_of(&Json(tls));
        if let Some(made) = self.tls.get(&written) {
            return Ok(Some(made.clone()));
        }
        let verifies = tls.and_then(|tls| field::flag(tls, "verify")).unwrap_or(false);
        let roots = verifies.then(|| self.options.tls.trust.roots());
        let identity = tls.and_then(security::identity);
        let settings = TlsSettings { verify: roots.as_ref(), identity: identity.as_ref() };
        let made = Tls::new(settings).map_err(|why| format!("upstream.tls: {why}"))?;
        self.tls.insert(written, made.clone());
        Ok(Some(made))
    }

    /// An upstream that was added.
    pub fn spec(&self, index: UpstreamIndex) -> &UpstreamSpec {
        &self.specs[index.0 as usize]
    }

    /// The lists of the snapshot, and the names that have no address yet.
    pub fn finish(self) -> (Vec<Arc<UpstreamSpec>>, Vec<Arc<NodeSet>>, Vec<String>) {
        (self.specs, self.node_sets, self.unresolved.into_iter().collect())
    }

    fn share(&mut self, spec: UpstreamSpec) -> UpstreamIndex {
        if let Some(index) = self.by_content.get(&spec.content) {
            return *index;
        }
        let index = UpstreamIndex(u32::try_from(self.specs.len()).unwrap_or(u32::MAX));
        self.by_content.insert(spec.content, index);
        let nodes = self.resolved(&spec.nodes);
        self.node_sets.push(Arc::new(NodeSet::new(nodes)));
        self.specs.push(Arc::new(spec));
        index
    }

    /// A node for each address. A name with several addresses shares its weight among them, so that it does not outweigh the others.
    fn resolved(&mut self, specs: &[NodeSpec]) -> Vec<Node> {
        let mut found: Vec<(&NodeSpec, Vec<IpAddr>)> =
            specs.iter().map(|spec| (spec, self.addresses(&spec.target.0))).collect();
        let mut shares = found.iter().map(|(_, addresses)| addresses.len().max(1)).try_fold(1_u32, common_multiple);
        if shares.is_none() {
            found.iter_mut().for_each(|(_, addresses)| addresses.truncate(1));
            shares = Some(1);
        }
        let shares = shares.unwrap_or(1);
        let nodes = found.iter().flat_map(|(spec, addresses)| {
            let factor = shares / u32::try_from(addresses.len().max(1)).unwrap_or(1);
            // A single node is used even with weight 0 (APISIX-COMPAT §7.2); so are its addresses.
            let weight = if specs.len() == 1 { 1 } else { spec.weight.saturating_mul(factor) };
            let host: Arc<str> = spec.host.as_str().into();
            let here = address::unix_path(&spec.host).map(|path| Address::Unix(Arc::from(Path::new(path))));
            let there = addresses.iter().map(|ip| Address::Tcp(SocketAddr::new(*ip, spec.target.1)));
            let node = move |address| Node {
                host: Arc::clone(&host),
                port: spec.port,
                address,
                weight,
                priority: spec.priority,
            };
            here.into_iter().chain(there).map(node)
        });
        nodes.collect()
    }

    /// IPv4 where a name has any: an upstream that is reached by IPv6 alone says so in digits or has no other address.
    fn addresses(&mut self, host: &str) -> Vec<IpAddr> {
        if address::unix_path(host).is_some() {
            return Vec::new();
        }
        if let Ok(ip) = host.parse() {
            return vec![ip];
        }
        let name = host.to_ascii_lowercase();
        let all = (self.resolve)(&name);
        if all.is_empty() {
            self.unresolved.insert(name);
        }
        let v4: Vec<IpAddr> = all.iter().copied().filter(IpAddr::is_ipv4).collect();
        if v4.is_empty() { all } else { v4 }
    }
}

fn common_multiple(a: u32, b: usize) -> Option<u32> {
    let b = u32::try_from(b).ok()?;
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x).checked_mul(b).filter(|shares| *shares <= ADDRESSES_MOST)
}

fn read(
    upstream: &Value,
    owner: impl FnOnce() -> String,
    options: &CompileOptions,
    tls: Option<Tls>,
) -> Result<UpstreamSpec, String> {
    let scheme = match field::text(upstream, "scheme") {
        None | Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        Some(other) => return Err(format!("upstream.scheme {other} is not supported by this version of Tollgate yet")),
    };
    let balancing = match field::text(upstream, "type") {
        None | Some("roundrobin") => Balancing::RoundRobin,
        Some("chash") => Balancing::ConsistentHash,
        Some("least_conn") => Balancing::LeastConnections,
        Some("ewma") => Balancing::Ewma,
        Some(other) => return Err(format!("upstream.type {other} is unknown")),
    };
    let pass_host = match field::text(upstream, "pass_host") {
        Some("node") => PassHost::Node,
        Some("rewrite") => PassHost::Rewrite(field::text(upstream, "upstream_host").unwrap_or_default().into()),
        _ => PassHost::Pass,
    };
    let nodes = nodes(upstream.get("nodes"), scheme, options)?;
    let checks = checks::read(upstream, &pass_host, scheme)?;
    let default_retries = u32::try_from(nodes.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let mut spec = UpstreamSpec {
        content: 0,
        balancing,
        hash_key: if balancing == Balancing::ConsistentHash { hash_key::read(upstream) } else { HashKey::None },
        scheme,
        tls,
        pass_host,
        retries: field::integer(upstream, "retries").unwrap_or(default_retries),
        retry_timeout_ms: field::seconds_as_ms(upstream, "retry_timeout").unwrap_or(0),
        timeouts: field::timeouts(upstream).unwrap_or_default(),
        keepalive: keepalive(upstream.get("keepalive_pool"), options.keepalive),
        nodes,
        name: if checks.is_some() { owner() } else { String::new() },
        checks,
    };
    let checked = spec.checks.as_ref().map(|checks| checks.content);
    // `chash` differs by these two alone.
    let hashing = (Json(upstream.get("hash_on")), Json(upstream.get("key")));
    let how = (spec.balancing, spec.scheme, &spec.tls, &spec.pass_host, spec.retries, spec.retry_timeout_ms);
    spec.content = hash_of(&(how, spec.timeouts, spec.keepalive, &spec.nodes, hashing, checked));
    Ok(spec)
}

fn keepalive(pool: Option<&Value>, default: Keepalive) -> Keepalive {
    // A pool that is written has APISIX's own defaults, not the file's.
    let Some(pool) = pool else { return default };
    let own = crate::config::file::KEEPALIVE;
    Keepalive {
        size: field::integer(pool, "size").unwrap_or(own.size),
        idle_timeout_ms: field::seconds_as_ms(pool, "idle_timeout").unwrap_or(own.idle_timeout_ms),
        requests: field::integer(pool, "requests").unwrap_or(own.requests),
    }
}

fn nodes(nodes: Option<&Value>, scheme: Scheme, options: &CompileOptions) -> Result<Vec<NodeSpec>, String> {
    match nodes {
        Some(Value::Object(map)) => map
            .iter()
            .map(|(node, weight)| {
                let (host, port) = match address::unix_path(node) {
                    Some(_) => (node.as_str(), None),
                    None => address::split(node),
                };
                let port = match port {
                    Some(port) => port.parse().map_err(|_| format!("invalid node address {node}"))?,
                    None => scheme.default_port(),
                };
                let weight = weight.as_f64().map_or(0, whole);
                Ok(node_spec(host, port, weight, 0, options))
            })
            .collect(),
        Some(Value::Array(list)) => Ok(list
            .iter()
            .map(|node| {
                let port = field::integer(node, "port").unwrap_or(scheme.default_port());
                let weight = field::integer(node, "weight").unwrap_or(0);
                let priority = field::integer(node, "priority").unwrap_or(0);
                node_spec(field::text(node, "host").unwrap_or_default(), port, weight, priority, options)
            })
            .collect()),
        _ => Ok(Vec::new()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest number that the type holds"
)]
fn whole(weight: f64) -> u32 {
    weight as u32
}

fn node_spec(host: &str, port: u16, weight: u32, priority: i32, options: &CompileOptions) -> NodeSpec {
    let host = address::without_brackets(host).to_owned();
    let target = mapped(&host, port, options).unwrap_or_else(|| (host.clone(), port));
    NodeSpec { host, port, weight, priority, target }
}

/// What `tollgate.hosts` says about a node: the entry with its port goes before the one without.
fn mapped(host: &str, port: u16, options: &CompileOptions) -> Option<(String, u16)> {
    if options.hosts.is_empty() {
        return None;
    }
    let name = host.to_ascii_lowercase();
    let target = options.hosts.get(&format!("{name}:{port}")).or_else(|| options.hosts.get(&name))?;
    let (host, port) = address::split(target);
    Some((address::without_brackets(host).to_owned(), port?.parse().ok()?))
}
