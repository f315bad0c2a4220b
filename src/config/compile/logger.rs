//! kafka-logger instances: attributes, metadata and defaults become one spec, each distinct content once (APISIX-COMPAT §1.1, §2.2).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::content::{Json, hash_of};
use super::security::{Securities, TlsDefaults};
use super::{Findings, field};
use crate::config::address;
use crate::config::documents::Documents;
use crate::config::lane_registry;
use crate::config::resource::Kind;
use crate::config::schema::KAFKA_LOGGER;
use crate::config::snapshot::{BodyRule, Captures, Hold, LoggerIndex, LoggerSpec, OnLogFailure};
use crate::kafka::{Acks, Batching, Compression, Mode, Overflow, Partitioner, Security, SinkSpec};
use crate::log::plan::EntryPlace;
use crate::log::{Plan, PlanSpec, Variable, choose_format};
use crate::route::Expr;

/// Keys whose work our producer does in another way: said, so that nobody waits for their effect. Not in the list: `cluster_name`,
/// `api_version` and others without which nothing is missing.
const WITHOUT_EFFECT: [&str; 5] = [
    "producer_batch_num",
    "producer_batch_size",
    "producer_max_buffering",
    "producer_time_linger",
    "meta_refresh_interval",
];
/// Default of `max_req_body_bytes` and `max_resp_body_bytes`.
const BODY_BYTES: usize = 524_288;
/// Keys that say how a response is held, if it is.
const OF_HOLD: [&str; 3] = ["hold_bytes", "ack_timeout", "on_log_failure"];
/// Default of `hold_bytes`.
const HOLD_BYTES: usize = 65_536;
/// Default of `ack_timeout`, in milliseconds: as long as a request to a broker may take.
const ACK_TIMEOUT_MS: u64 = 10_000;

/// The loggers of one snapshot while it is made.
pub struct Loggers<'a> {
    metadata: Option<&'a Value>,
    by_attributes: HashMap<u64, LoggerIndex>,
    by_content: HashMap<u64, LoggerIndex>,
    /// By the hash of what they are compiled from.
    plans: HashMap<u64, Arc<Plan>>,
    securities: Securities<'a>,
    specs: Vec<Arc<LoggerSpec>>,
}

impl<'a> Loggers<'a> {
    /// None yet.
    pub fn new(documents: &'a Documents, tls: &'a TlsDefaults) -> Self {
        Self {
            metadata: documents.find(Kind::PluginMetadata, KAFKA_LOGGER).map(|document| &document.value),
            by_attributes: HashMap::new(),
            by_content: HashMap::new(),
            plans: HashMap::new(),
            securities: Securities::new(tls),
            specs: Vec::new(),
        }
    }

    /// The logger that an instance configures; `None` if it is switched off.
    ///
    /// # Errors
    /// Why it cannot be compiled.
    pub fn add(
        &mut self,
        attributes: &Value,
        path: &str,
        findings: &mut Findings,
    ) -> Result<Option<LoggerIndex>, String> {
        if attributes.pointer("/_meta/disable") == Some(&Value::Bool(true)) {
            return Ok(None);
        }
        let written = hash_of(&Json(Some(attributes)));
        if let Some(index) = self.by_attributes.get(&written) {
            return Ok(Some(*index));
        }
        let security = self.securities.of(attributes)?;
        let spec = read(attributes, self.metadata, &mut self.plans, security)?;
        warn(attributes, &spec.plan, path, findings);
        for text in self.securities.warnings(attributes) {
            findings.warn(path.to_owned(), format!("kafka-logger: {text}"));
        }
        let next = LoggerIndex(u32::try_from(self.specs.len()).unwrap_or(u32::MAX));
        let index = *self.by_content.entry(spec.content).or_insert(next);
        if index == next {
            self.specs.push(Arc::new(spec));
        }
        self.by_attributes.insert(written, index);
        Ok(Some(index))
    }

    /// What must be captured for some of them.
    pub fn captures(&self, loggers: &[LoggerIndex]) -> Captures {
        let captures = loggers.iter().map(|index| self.specs[index.0 as usize].captures);
        captures.fold(Captures::default(), Captures::max)
    }

    /// How responses are held for some of them.
    pub fn hold(&self, loggers: &[LoggerIndex]) -> Option<Hold> {
        loggers.iter().filter_map(|index| self.specs[index.0 as usize].hold).reduce(Hold::max)
    }

    /// The list of the snapshot.
    pub fn finish(self) -> Vec<Arc<LoggerSpec>> {
        self.specs
    }
}

/// The loggers of the global rules. One that stands in two rules runs in none (APISIX-COMPAT §6.6).
pub fn global(documents: &Documents, loggers: &mut Loggers<'_>, findings: &mut Findings) -> Vec<LoggerIndex> {
    let mut rules = BTreeMap::new();
    for (id, rule) in documents.all(Kind::GlobalRule) {
        if let Some(attributes) = plugin(&rule.value) {
            rules.insert(id, attributes);
        }
    }
    let mut indexes = Vec::new();
    for (id, attributes) in &rules {
        let path = format!("{}/{id}", Kind::GlobalRule.segment());
        if rules.len() > 1 {
            findings.left_out(path, "kafka-logger is in more than one global rule: it runs for none of them");
            continue;
        }
        match loggers.add(attributes, &path, findings) {
            Ok(index) => indexes.extend(index),
            Err(text) => findings.left_out(path, text),
        }
    }
    indexes
}

/// The kafka-logger instance of a route, service, plugin config or global rule.
pub fn plugin(value: &Value) -> Option<&Value> {
    value.get("plugins")?.get(KAFKA_LOGGER)
}

fn warn(attributes: &Value, plan: &Plan, path: &str, findings: &mut Findings) {
    let idle: Vec<&str> = WITHOUT_EFFECT.into_iter().filter(|key| attributes.get(key).is_some()).collect();
    if !idle.is_empty() {
        findings
            .warn(path.to_owned(), format!("kafka-logger: no effect in this version of Tollgate: {}", idle.join(", ")));
    }
    let unheld: Vec<&str> = OF_HOLD.into_iter().filter(|key| attributes.get(key).is_some()).collect();
    if !unheld.is_empty() && hold(attributes).is_none() {
        let text = format!("kafka-logger: no effect without ack_before_response: true: {}", unheld.join(", "));
        findings.warn(path.to_owned(), text);
    }
    for text in plan.warnings() {
        findings.warn(path.to_owned(), format!("kafka-logger: {text}"));
    }
}

fn read(
    attributes: &Value,
    metadata: Option<&Value>,
    plans: &mut HashMap<u64, Arc<Plan>>,
    security: Security,
) -> Result<LoggerSpec, String> {
    let metadata = metadata.unwrap_or(&Value::Null);
    let batching = batching(attributes);
    let request_body = body_rule(attributes, "include_req_body", "include_req_body_expr", "max_req_body_bytes")?;
    let response_body = body_rule(attributes, "include_resp_body", "include_resp_body_expr", "max_resp_body_bytes")?;
    let format = format_hash(attributes, metadata, batching == Batching::Each);
    let plan = plans.entry(format).or_insert_with(|| Arc::new(plan(attributes, metadata, batching)));
    let mut spec = LoggerSpec {
        content: 0,
        sink: sink(attributes, security),
        topic: field::text(attributes, "kafka_topic").unwrap_or_default().to_owned(),
        key: field::text(attributes, "key").map(Into::into),
        batching,
        partitioner: match field::text(attributes, "partitioner") {
            Some("crc32") => Partitioner::Crc32,
            Some("murmur2") => Partitioner::Murmur2,
            _ => Partitioner::default(),
        },
        stored_as: 0,
        max_pending_entries: field::integer(metadata, "max_pending_entries"),
        captures: captures(plan, request_body.as_ref(), response_body.as_ref()),
        hold: hold(attributes),
        plan: Arc::clone(plan),
        filter: expr(attributes.pointer("/_meta/filter"))?,
        request_body,
        response_body,
        name: field::text(attributes, "name").unwrap_or("kafka logger").to_owned(),
    };
    spec.stored_as = lane_registry::key(&spec.sink, &spec.stored_lane());
    let place = (&spec.sink, &spec.topic, &spec.key, batching, spec.partitioner, spec.max_pending_entries, &spec.name);
    let exprs = ["include_req_body_expr", "include_resp_body_expr"].map(|key| Json(attributes.get(key)));
    spec.content = hash_of(&(place, format, exprs, Json(attributes.pointer("/_meta/filter")), spec.hold));
    Ok(spec)
}

fn plan(attributes: &Value, metadata: &Value, batching: Batching) -> Plan {
    let format = choose_format(
        field::text(attributes, "meta_format"),
        (attributes.get("log_format"), attributes.get("log_format_extra")),
        (metadata.get("log_format"), metadata.get("log_format_extra")),
    );
    let include = |key| field::flag(attributes, key) == Some(true);
    Plan::compile(&PlanSpec {
        format,
        place: if batching == Batching::Each { EntryPlace::Alone } else { EntryPlace::InArray },
        include_request_body: include("include_req_body"),
        include_response_body: include("include_resp_body"),
        request_body_bytes: field::integer(attributes, "max_req_body_bytes").unwrap_or(BODY_BYTES),
        response_body_bytes: field::integer(attributes, "max_resp_body_bytes").unwrap_or(BODY_BYTES),
    })
}

/// Everything that a plan is compiled from.
fn format_hash(attributes: &Value, metadata: &Value, alone: bool) -> u64 {
    let of_instance = [
        "meta_format",
        "log_format",
        "log_format_extra",
        "include_req_body",
        "max_req_body_bytes",
        "include_resp_body",
        "max_resp_body_bytes",
    ];
    let instance = of_instance.map(|key| Json(attributes.get(key)));
    let formats = ["log_format", "log_format_extra"].map(|key| Json(metadata.get(key)));
    hash_of(&(instance, formats, alone))
}

fn captures(plan: &Plan, request: Option<&BodyRule>, response: Option<&BodyRule>) -> Captures {
    let asked = |rule: Option<&BodyRule>| rule.map(|rule| rule.limit_bytes);
    let needs = |rule: Option<&BodyRule>, wants: fn(&Variable) -> bool| {
        let expr = rule.and_then(|rule| rule.expr.as_ref());
        expr.is_some_and(|expr| expr.variables().into_iter().any(wants)).then_some(BODY_BYTES)
    };
    // An expression may look at a body that is not logged itself.
    let request_for_exprs =
        needs(request, Variable::needs_request_body).max(needs(response, Variable::needs_request_body));
    let response_for_exprs =
        needs(request, Variable::needs_response_body).max(needs(response, Variable::needs_response_body));
    Captures {
        request_bytes: plan.request_capture_bytes().max(asked(request)).max(request_for_exprs),
        response_bytes: plan.response_capture_bytes().max(asked(response)).max(response_for_exprs),
    }
}

fn body_rule(attributes: &Value, include: &str, expr_key: &str, limit: &str) -> Result<Option<BodyRule>, String> {
    if field::flag(attributes, include) != Some(true) {
        return Ok(None);
    }
    let limit_bytes = field::integer(attributes, limit).unwrap_or(BODY_BYTES);
    Ok(Some(BodyRule { limit_bytes, expr: expr(attributes.get(expr_key))? }))
}

fn expr(rule: Option<&Value>) -> Result<Option<Expr<Variable>>, String> {
    rule.map(|rule| Expr::compile(rule, &mut Variable::compile)).transpose()
}

fn hold(attributes: &Value) -> Option<Hold> {
    field::flag(attributes, "ack_before_response").filter(|held| *held)?;
    Some(Hold {
        part_bytes: field::integer(attributes, "hold_bytes").unwrap_or(HOLD_BYTES).max(1),
        timeout_ms: field::seconds_as_ms(attributes, "ack_timeout").unwrap_or(ACK_TIMEOUT_MS).max(1),
        on_failure: match field::text(attributes, "on_log_failure") {
            Some("reject") => OnLogFailure::Reject,
            _ => OnLogFailure::Pass,
        },
    })
}

fn batching(attributes: &Value) -> Batching {
    let number = |key, default: u64| field::integer(attributes, key).unwrap_or(default);
    match number("batch_max_size", 1000) {
        1 => Batching::Each,
        most => Batching::Array {
            max_entries: u32::try_from(most).unwrap_or(u32::MAX),
            inactive_ms: number("inactive_timeout", 5).saturating_mul(1000),
            duration_ms: number("buffer_duration", 60).saturating_mul(1000),
        },
    }
}

fn sink(attributes: &Value, security: Security) -> SinkSpec {
    let ms = |key| field::integer::<u32>(attributes, key).map(|seconds| seconds.saturating_mul(1000));
    let default = SinkSpec::new(bootstrap(attributes));
    SinkSpec {
        acks: if field::integer(attributes, "required_acks") == Some(1) { Acks::Leader } else { Acks::All },
        mode: match (hold(attributes), field::text(attributes, "producer_type")) {
            (Some(_), _) => Mode::Held,
            (None, Some("sync")) => Mode::Sync,
            (None, _) => Mode::Async,
        },
        compression: match field::text(attributes, "compression") {
            Some("lz4") => Compression::Lz4,
            Some("zstd") => Compression::Zstd,
            Some("gzip") => Compression::Gzip,
            Some("snappy") => Compression::Snappy,
            _ => Compression::None,
        },
        timeout_ms: ms("timeout").unwrap_or(default.timeout_ms),
        // They bind only where the operator wrote them (ARCHITECTURE §4).
        max_retry: field::integer(attributes, "max_retry_count"),
        retry_delay_ms: ms("retry_delay"),
        overflow: match field::text(attributes, "overflow") {
            Some("drop_newest") => Overflow::DropNewest,
            Some("backpressure") => Overflow::Backpressure,
            _ => Overflow::Spool,
        },
        security,
        ..default
    }
}

fn bootstrap(attributes: &Value) -> Vec<(String, u16)> {
    let host = |host: &str| address::without_brackets(host).to_owned();
    if let Some(Value::Object(list)) = attributes.get("broker_list") {
        return list
            .keys()
            .filter_map(|name| Some((host(name), field::integer(&attributes["broker_list"], name)?)))
            .collect();
    }
    let brokers = attributes.get("brokers").and_then(Value::as_array);
    let pairs = brokers.into_iter().flatten();
    pairs.filter_map(|broker| Some((host(field::text(broker, "host")?), field::integer(broker, "port")?))).collect()
}
