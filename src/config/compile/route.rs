//! Routes: service and plugin config merged in, everything that they name found (APISIX-COMPAT §6.6).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::logger::{Loggers, plugin};
use super::upstream::Upstreams;
use super::{Findings, field};
use crate::config::documents::Documents;
use crate::config::resource::Kind;
use crate::config::snapshot::{LoggerIndex, RouteRule, RouteSpec, RouteUpstream, Timeouts};
use crate::log::{RouteNames, ServiceNames, Variable};
use crate::route::{Cidr, Expr, MethodSet, RouteEntry, RouteIndex, RouteTable, RouterMode};

/// The routes of one snapshot while it is made.
pub struct Routes<'a, 'b> {
    documents: &'a Documents,
    upstreams: &'b mut Upstreams<'a>,
    loggers: &'b mut Loggers<'a>,
    global_loggers: &'b [LoggerIndex],
    entries: Vec<RouteEntry<Variable>>,
    specs: Vec<RouteSpec>,
    /// Each once.
    rules: HashSet<Arc<RouteRule>>,
    /// By id.
    services: HashMap<String, Arc<ServiceNames>>,
}

/// What a route's `service_id` and `plugin_config_id` lead to.
struct Bound<'a> {
    service: Option<&'a Value>,
    plugin_config: Option<&'a Value>,
    /// A name that leads nowhere ends the request before any plugin runs.
    missing: Option<(u16, String)>,
}

impl<'a, 'b> Routes<'a, 'b> {
    /// None yet.
    pub fn new(
        documents: &'a Documents,
        upstreams: &'b mut Upstreams<'a>,
        loggers: &'b mut Loggers<'a>,
        global_loggers: &'b [LoggerIndex],
    ) -> Self {
        Self {
            documents,
            upstreams,
            loggers,
            global_loggers,
            entries: Vec::new(),
            specs: Vec::new(),
            rules: HashSet::new(),
            services: HashMap::new(),
        }
    }

    /// Adds every route that is not switched off.
    pub fn add_all(&mut self, findings: &mut Findings) {
        for (id, route) in self.documents.all(Kind::Route) {
            if field::integer(&route.value, "status") == Some(0) {
                continue;
            }
            let path = format!("{}/{id}", Kind::Route.segment());
            if let Err(text) = self.add(id, &route.value, &path, findings) {
                findings.left_out(path, text);
            }
        }
    }

    /// The table and the specs behind it.
    pub fn finish(self, mode: RouterMode) -> (RouteTable<Variable>, Vec<RouteSpec>) {
        (RouteTable::build(self.entries, mode), self.specs)
    }

    fn add(&mut self, id: &str, route: &'a Value, path: &str, findings: &mut Findings) -> Result<(), String> {
        let bound = self.bound(route);
        let index = RouteIndex(u32::try_from(self.specs.len()).map_err(|_| "too many routes")?);
        let entry = entry(route, bound.service, index)?;
        let mut said = Vec::new();
        let (upstream, loggers) = match &bound.missing {
            Some((status, text)) => {
                said.push(format!("{text}: requests are answered with {status}"));
                (RouteUpstream::Missing(*status), Vec::new())
            }
            None => (self.upstream(route, bound.service, &mut said)?, self.loggers(route, &bound, path, findings)?),
        };
        let own = match upstream {
            RouteUpstream::Index(index) => self.upstreams.spec(index).timeouts,
            RouteUpstream::Missing(_) => Timeouts::default(),
        };
        let websocket = |value: &Value| field::flag(value, "enable_websocket");
        let enable_websocket = websocket(route).or_else(|| bound.service.and_then(websocket)).unwrap_or(false);
        let all: Vec<LoggerIndex> = self.global_loggers.iter().chain(&loggers).copied().collect();
        let rule = self.shared(RouteRule {
            upstream,
            captures: self.loggers.captures(&all),
            hold: self.loggers.hold(&all),
            loggers,
            timeouts: field::timeouts(route).unwrap_or(own),
            enable_websocket,
        });
        let names = self.names(id, route, bound.service);
        self.specs.push(RouteSpec { names, rule });
        self.entries.push(entry);
        said.into_iter().for_each(|text| findings.warn(path.to_owned(), text));
        Ok(())
    }

    fn names(&mut self, id: &str, route: &Value, service: Option<&Value>) -> RouteNames {
        let name = |value: &Value| field::text(value, "name").map(Arc::from);
        let service = field::id(route, "service_id").map(|id| {
            let new = || Arc::new(ServiceNames { id: id.as_str().into(), name: service.and_then(name) });
            Arc::clone(self.services.entry(id.clone()).or_insert_with(new))
        });
        RouteNames { id: id.into(), name: name(route), service }
    }

    fn shared(&mut self, rule: RouteRule) -> Arc<RouteRule> {
        if let Some(same) = self.rules.get(&rule) {
            return Arc::clone(same);
        }
        let rule = Arc::new(rule);
        self.rules.insert(Arc::clone(&rule));
        rule
    }

    fn bound(&self, route: &Value) -> Bound<'a> {
        let documents = self.documents;
        let mut missing = None;
        let mut find = |name: &str, kind: Kind, status: u16| {
            let id = field::id(route, name)?;
            let found = documents.find(kind, &id).map(|document| &document.value);
            if found.is_none() && missing.is_none() {
                missing = Some((status, format!("{name} {id} does not exist")));
            }
            found
        };
        // In this order APISIX looks for them, and the first that is missing answers.
        let plugin_config = find("plugin_config_id", Kind::PluginConfig, 503);
        let service = find("service_id", Kind::Service, 404);
        Bound { service, plugin_config, missing }
    }

    /// `upstream_id` goes before `upstream`, and both of a route before both of its service.
    fn upstream(
        &mut self,
        route: &'a Value,
        service: Option<&'a Value>,
        said: &mut Vec<String>,
    ) -> Result<RouteUpstream, String> {
        for (kind, holder) in [("routes", Some(route)), ("services", service)] {
            let Some(holder) = holder else { continue };
            if let Some(id) = field::id(holder, "upstream_id") {
                let Some(document) = self.documents.find(Kind::Upstream, &id) else {
                    said.push(format!("upstream_id {id} does not exist: requests are answered with 502"));
                    return Ok(RouteUpstream::Missing(502));
                };
                return self
                    .upstreams
                    .add(&document.value, || format!("/apisix/upstreams/{id}"))
                    .map(RouteUpstream::Index);
            }
            if let Some(upstream) = holder.get("upstream") {
                let owner = || format!("/apisix/{kind}/{}", field::id(holder, "id").unwrap_or_default());
                return self.upstreams.add(upstream, owner).map(RouteUpstream::Index);
            }
        }
        Ok(RouteUpstream::Missing(503))
    }

    /// Route before plugin config before service, the whole plugin at once.
    fn loggers(
        &mut self,
        route: &Value,
        bound: &Bound<'_>,
        path: &str,
        findings: &mut Findings,
    ) -> Result<Vec<LoggerIndex>, String> {
        let holders = [Some(route), bound.plugin_config, bound.service];
        match holders.into_iter().flatten().find_map(plugin) {
            Some(attributes) => Ok(self.loggers.add(attributes, path, findings)?.into_iter().collect()),
            None => Ok(Vec::new()),
        }
    }
}

fn entry(route: &Value, service: Option<&Value>, index: RouteIndex) -> Result<RouteEntry<Variable>, String> {
    let mut hosts = field::texts(route, "host", "hosts");
    if hosts.is_empty() {
        hosts = service.map_or(Vec::new(), |service| field::texts(service, "host", "hosts"));
    }
    let mut methods = MethodSet::default();
    for method in field::texts(route, "", "methods") {
        if !methods.insert(&method) {
            return Err(format!("method {method} is unknown"));
        }
    }
    let addresses = field::texts(route, "remote_addr", "remote_addrs");
    let vars = route.get("vars").filter(|vars| vars.as_array().is_none_or(|vars| !vars.is_empty()));
    let vars = vars.map(|vars| Expr::compile(vars, &mut Variable::compile)).transpose();
    Ok(RouteEntry {
        uris: field::texts(route, "uri", "uris"),
        hosts,
        methods,
        remote_addrs: addresses.iter().map(|range| Cidr::parse(range)).collect::<Result<_, _>>()?,
        vars: vars.map_err(|text| format!("failed to validate the 'vars' expression: {text}"))?,
        priority: field::integer(route, "priority").unwrap_or(0),
        index,
    })
}
