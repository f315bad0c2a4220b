//! Proxies one request: picks a node, gets a connection, sends, relays the answer; asks another node while that is safe.

use std::rc::Rc;

use super::balance::{self, Under};
use super::connection::{After, Client};
use super::core::Core;
use super::exchange::answer;
use super::inbox::INBOX_BYTES_MOST;
use super::live::{Live, UpstreamState};
use super::pool::UpstreamConnection;
use super::scratch::{Facts, Scratch};
use super::transfer::{Course, Failed, transfer};
use crate::base::Mono;
use crate::base::counters::Counter;
use crate::base::fault::{Fault, Kind, Side};
use crate::base::limits::REPLAY_BYTES;
use crate::config::snapshot::{PassHost, RouteSpec, UpstreamIndex, UpstreamSpec};
use crate::http::host;
use crate::http::policy::{self, Forward, HostHeader, Upgrade};
use crate::http::reply::{CLIENT_GONE, status_of, status_without_node};
use crate::http::request::BodyLength;
use crate::http::response::ResponseBody;
use crate::kafka::tls::server_name;
use crate::upstream::health::Ended;
use crate::upstream::{Attempt, SentBody, Verdict, after_fault, may_be_followed, tries_allowed};

/// What every try of one request shares.
struct Plan<'a> {
    route: &'a RouteSpec,
    spec: &'a UpstreamSpec,
    state: &'a UpstreamState,
    began: Mono,
}

/// Proxies, or answers why not.
pub async fn run(
    core: &Rc<Core>,
    client: &mut Client,
    scratch: &mut Scratch,
    live: &Live,
    route: &RouteSpec,
    index: UpstreamIndex,
) -> After {
    let place = index.0 as usize;
    let (spec, state) = (&live.snapshot.upstreams[place], &live.upstreams[place]);
    if state.nodes.nodes().is_empty() {
        return answer(core, client, scratch, status_without_node(0)).await;
    }
    if let (BodyLength::Length(length), Some(max)) = (scratch.request.body, core.settings.body_bytes_max)
        && length > max
    {
        return answer(core, client, scratch, 413).await;
    }
    balance::prepare(core, client, scratch, live, route);
    let plan = Plan { route, spec, state, began: core.clock.mono() };
    let mut again = None;
    let mut tries = 0;
    // The clock is read once for the request and its first try: that costs more than it looks.
    let mut first = Some(plan.began);
    scratch.replay.begin(core);
    loop {
        let Some(node) = again.take().or_else(|| balance::pick(core, state, scratch, plan.began)) else {
            return answer(core, client, scratch, status_without_node(state.nodes.nodes().len())).await;
        };
        tries += 1;
        let began = first.take().unwrap_or_else(|| core.clock.mono());
        let failed = match attempt(core, client, scratch, &plan, node, (tries, began)).await {
            Ok(after) => {
                balance::report(core, state, node, Ended::Answered(scratch.facts.status));
                return after;
            }
            Err(failed) => failed,
        };
        if failed.head_sent {
            balance::report(core, state, node, Ended::Answered(scratch.facts.status));
            // Only a cut connection says truly that the rest will not come.
            return After::Close;
        }
        if client.deadline.gone() {
            scratch.facts.status = CLIENT_GONE;
            return After::Close;
        }
        if failed.fault.side == Side::Downstream {
            return client_fault(core, client, scratch, failed.fault).await;
        }
        let status = status_of(failed.fault);
        match verdict(core, client, scratch, &plan, &failed, tries) {
            Verdict::SameNode => {
                tries -= 1;
                again = Some(node);
            }
            Verdict::NextNode => {
                note_status(&mut scratch.facts, status);
                balance::report(core, state, node, Ended::Passed(failed.fault));
                scratch.tried.push(node);
            }
            Verdict::GiveUp => {
                note_status(&mut scratch.facts, status);
                balance::report(core, state, node, Ended::Failed(failed.fault, status));
                core.counters.add(Counter::UpstreamFaults, 1);
                return answer(core, client, scratch, status).await;
            }
        }
    }
}

/// The client broke off or broke the rules while its body was read.
async fn client_fault(core: &Rc<Core>, client: &mut Client, scratch: &mut Scratch, fault: Fault) -> After {
    if fault.kind == Kind::Closed {
        scratch.facts.status = CLIENT_GONE;
        return After::Close;
    }
    match answer(core, client, scratch, status_of(fault)).await {
        After::Close => After::Close,
        After::Keep | After::Linger => After::Linger,
    }
}

fn verdict(core: &Core, client: &Client, scratch: &Scratch, plan: &Plan<'_>, failed: &Failed, tries: u32) -> Verdict {
    let body = if scratch.replay.is_gone() { SentBody::Gone } else { SentBody::Replayable };
    let attempt = Attempt {
        method: scratch.request.method.of(&client.input),
        body,
        response_started: failed.head_sent || failed.interim_sent,
        reused_connection: failed.reused && scratch.upstream_in.is_empty(),
        tries,
        nodes: plan.state.nodes.nodes().len(),
        retries: plan.spec.retries,
        elapsed_ms: core.clock.mono().ms_since(plan.began),
        retry_timeout_ms: plan.spec.retry_timeout_ms,
    };
    if core.cutting.get() { Verdict::GiveUp } else { after_fault(failed.fault, &attempt) }
}

/// True if the body is certain to be here still when a try fails.
const fn stays_here(body: BodyLength) -> bool {
    match body {
        BodyLength::None => true,
        BodyLength::Length(length) => length <= REPLAY_BYTES as u64,
        BodyLength::Chunked => false,
    }
}

/// Appends to a list like nginx's `$upstream_status`.
pub fn note_status(facts: &mut Facts, status: u16) {
    let text = &mut facts.upstream_status;
    text.push_str(if text.is_empty() { "" } else { ", " });
    text.push_str(itoa::Buffer::new().format(status));
}

/// One try at one node, the request's `tries`th.
async fn attempt(
    core: &Rc<Core>,
    client: &mut Client,
    scratch: &mut Scratch,
    plan: &Plan<'_>,
    node: usize,
    (tries, began): (u32, Mono),
) -> Result<After, Failed> {
    begin(core, scratch, plan, node);
    let mut under = Under::begin(core, plan.spec, plan.state, node);
    // A request that must not be sent twice needs a connection that is known to live.
    let certain = !scratch.request.method_kind.is_idempotent() || !stays_here(scratch.request.body);
    let name = peer_name(client, scratch, plan, node);
    let (mut upstream, connect_ns) = match plan.state.pools[node].take(name, core.deadlines.now_ms(), certain) {
        Some(connection) => (connection, 0),
        None => {
            let connection = open(core, plan, node, name).await?;
            (connection, core.clock.mono().ns_since(began))
        }
    };
    scratch.facts.connect_ns = Some(connect_ns);
    upstream.requests += 1;
    let allowed = tries_allowed(plan.spec.retries, plan.state.nodes.nodes().len());
    let method = scratch.request.method.of(&client.input);
    scratch.replay.keep(may_be_followed(method, upstream.is_reused(), tries, allowed));
    write_head(core, client, scratch, plan, node);
    let mut course = Course::new(plan.route.rule.timeouts, began);
    course.may_switch = plan.route.rule.enable_websocket && scratch.request.asks_websocket(&client.input);
    course.expected = plan.state.answer_bytes.get();
    let done = transfer(core, client, scratch, &mut upstream, &course).await;
    scratch.facts.response_ns = Some(core.clock.mono().ns_since(began));
    let (after, reusable) = done?;
    if let ResponseBody::Length(length) = scratch.response.body {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        plan.state.answer_bytes.set(length.saturating_add(scratch.response.len));
    }
    if let Some(under) = &mut under {
        under.answered(scratch.facts.header_ns);
    }
    if reusable {
        keep(core, plan, node, upstream);
    }
    Ok(after)
}

fn begin(core: &Core, scratch: &mut Scratch, plan: &Plan<'_>, node: usize) {
    scratch.request_body.restart(&mut core.capture_budget.borrow_mut());
    let facts = &mut scratch.facts;
    // The same node once more, after a connection that had died at rest, is not a second entry.
    if facts.node != Some(node) || scratch.tried.last() == Some(&node) {
        let separator = if facts.upstream_addr.is_empty() { "" } else { ", " };
        facts.upstream_addr.push_str(separator);
        facts.upstream_addr.push_str(&plan.state.address_texts[node]);
    }
    facts.node = Some(node);
    facts.has_upstream_head = false;
    scratch.upstream_in.clear(INBOX_BYTES_MOST);
}

/// Who a node is to be under TLS: the host that is sent to it, without port and brackets (as nginx's `proxy_ssl_name $host`); the node's own
/// where that is none. Empty without TLS.
fn peer_name<'a>(client: &'a Client, scratch: &'a Scratch, plan: &'a Plan<'_>, node: usize) -> &'a str {
    if plan.spec.tls.is_none() {
        return "";
    }
    let own = plan.state.authorities[node].as_bytes();
    let sent = plan.spec.pass_host.sent(scratch.request.authority.of(&client.input), own);
    let host = |authority: &'a [u8]| {
        let (len, _) = host::split(authority)?;
        let host = &authority[..len];
        let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
        std::str::from_utf8(host).ok().filter(|host| server_name(host).is_ok())
    };
    host(sent).or_else(|| host(own)).unwrap_or("")
}

async fn open(core: &Rc<Core>, plan: &Plan<'_>, node: usize, name: &str) -> Result<UpstreamConnection, Failed> {
    core.counters.add(Counter::UpstreamConnects, 1);
    let pool = &plan.state.pools[node];
    UpstreamConnection::open(pool, name, plan.route.rule.timeouts.connect_ms, &core.deadlines).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::Other {
            balance::tell_of_tls(core, plan.state, node, &error);
        }
        let kind = if error.kind() == std::io::ErrorKind::TimedOut { Kind::Timeout } else { Kind::Connect };
        Failed {
            fault: Fault::new(Side::Upstream, kind).unseen(),
            head_sent: false,
            interim_sent: false,
            reused: false,
        }
    })
}

fn keep(core: &Core, plan: &Plan<'_>, node: usize, connection: UpstreamConnection) {
    let keepalive = plan.spec.keepalive;
    if connection.requests < keepalive.requests && keepalive.idle_timeout_ms > 0 && !core.draining.get() {
        let size = keepalive.size as usize;
        plan.state.pools[node].put(connection, size, keepalive.idle_timeout_ms, core.deadlines.now_ms());
    }
}

fn write_head(core: &Core, client: &Client, scratch: &mut Scratch, plan: &Plan<'_>, node: usize) {
    let own = plan.state.authorities[node].as_bytes();
    let Scratch { head_up, request, recalled_request, .. } = scratch;
    let forward = Forward {
        host: match &plan.spec.pass_host {
            PassHost::Pass => HostHeader::Pass { fallback: own },
            PassHost::Node => HostHeader::Set(own),
            PassHost::Rewrite(host) => HostHeader::Set(host),
        },
        peer: client.as_peer(core),
        forwarded: client.forwarded(core, request),
        upgrade: if plan.route.rule.enable_websocket { Upgrade::WebSocket } else { Upgrade::Drop },
        target: None,
        via: core.settings.via.as_deref().map(str::as_bytes),
    };
    head_up.clear();
    policy::write_recalled_request(head_up, &client.input, request, &forward, recalled_request);
}
