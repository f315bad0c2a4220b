//! One exchange: route, proxy or answer, record. Decisions are the pure rooms'; this is the order of things.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::admin;
use super::connection::{After, Client};
use super::core::Core;
use super::hold;
use super::live::Live;
use super::planted::{self, Place};
use super::proxy;
use super::record::{self, View};
use super::scratch::Scratch;
use crate::base::counters::Counter;
use crate::config::snapshot::{Captures, RouteSpec, RouteUpstream};
use crate::http::message::{Method, Reject};
use crate::http::reply::{self, Content, ROUTE_NOT_FOUND, Reply};
use crate::http::request::BodyLength;
use crate::http::uri;
use crate::route::{RouteIndex, RouteQuery, UriParams};

/// Between two looks whether the ring has room again.
const ROOM_PAUSE: Duration = Duration::from_millis(50);

/// Serves the request whose head stands in `client.input`.
pub async fn run(core: &Rc<Core>, client: &mut Client, scratch: &mut Scratch) -> After {
    client.requests += 1;
    core.counters.add(Counter::Requests, 1);
    if let Err(reject) = locate(core, client, scratch) {
        return client.refuse(core, scratch, reject).await;
    }
    if let Some(socket) = &core.settings.admin_socket
        && admin::is_admin_path(&scratch.path)
    {
        return admin::relay(core, client, scratch, socket).await;
    }
    planted::panic_here(Place::Request, &scratch.path);
    let live = core.live();
    let route = find(client, scratch, &live, core);
    record::filter(core, client, scratch, &live, route);
    if live.snapshot.holds_back && record::held_back(core, scratch, &live, route) {
        // In memory of its own: a timer is large, and few requests ever wait.
        Box::pin(hold_back(core, scratch, &live, route)).await;
    }
    if let Some(hold) = record::hold(&live, route, &scratch.silent) {
        hold::begin(core, scratch, hold);
    } else if record::is_wanted(&live, route) {
        scratch.tail.park_last();
    }
    start_captures(core, scratch, route.map_or(live.snapshot.global_captures, |route| route.rule.captures));
    let after = match route.map(|route| (route, route.rule.upstream)) {
        None => answer_with(core, client, scratch, 404, ROUTE_NOT_FOUND).await,
        Some((_, RouteUpstream::Missing(status))) => answer(core, client, scratch, status).await,
        Some(_) if scratch.request.max_forwards == Some(0) => answer_as_last(core, client, scratch).await,
        Some((route, RouteUpstream::Index(index))) => proxy::run(core, client, scratch, &live, route, index).await,
    };
    if !scratch.tail.is_held() {
        record::record(core, client, scratch, &live, route);
        return hold::send_parked(core, client, scratch, after).await;
    }
    hold::enter(core, client, scratch);
    record::record(core, client, scratch, &live, route);
    hold::release(core, client, scratch, after).await
}

/// Waits while a logger whose overflow is `backpressure` has no room for the record of this request. Ends with the drain.
async fn hold_back(core: &Core, scratch: &Scratch, live: &Live, route: Option<&RouteSpec>) {
    core.counters.add(Counter::RequestsHeldBack, 1);
    while record::held_back(core, scratch, live, route) && !core.draining.get() {
        monoio::time::sleep(ROOM_PAUSE).await;
    }
}

/// Normalised path, host, and who the client is.
fn locate(core: &Core, client: &mut Client, scratch: &mut Scratch) -> Result<(), Reject> {
    scratch.path.clear();
    uri::normalize(scratch.request.path.of(&client.input), &mut scratch.path)?;
    if core.settings.delete_uri_tail_slash && scratch.path.len() > 1 && scratch.path.ends_with(b"/") {
        scratch.path.pop();
    }
    scratch.host.clear();
    scratch.host.extend(scratch.request.host.of(&client.input).iter().map(u8::to_ascii_lowercase));
    let remote = real_ip(core, client, scratch).unwrap_or_else(|| client.peer.ip());
    if remote != client.remote {
        client.remote = remote;
        client.remote_text = remote.to_string();
    }
    Ok(())
}

/// What a trusted peer says about the client's address (APISIX-COMPAT §9.1: `X-Real-IP` from 127.0.0.1 by default).
fn real_ip(core: &Core, client: &Client, scratch: &Scratch) -> Option<IpAddr> {
    let name = core.settings.real_ip_header.as_deref()?;
    let peer = client.peer.ip();
    if !core.settings.real_ip_from.iter().any(|net| net.contains(peer)) {
        return None;
    }
    let value = scratch.request.fields.first(&client.input, name.as_bytes())?;
    let text = std::str::from_utf8(value).ok()?;
    // X-Forwarded-For lists the nearest last; a single address is its own last.
    text.rsplit(',').next()?.trim().parse().ok()
}

fn find<'a>(client: &Client, scratch: &mut Scratch, live: &'a Live, core: &Core) -> Option<&'a RouteSpec> {
    let mut params = std::mem::take(&mut scratch.uri_params);
    let index = look_up(client, scratch, live, core, &mut params);
    scratch.uri_params = params;
    live.snapshot.route_specs.get(index?.0 as usize)
}

fn look_up(client: &Client, scratch: &Scratch, live: &Live, core: &Core, params: &mut UriParams) -> Option<RouteIndex> {
    let query = RouteQuery {
        host: &scratch.host,
        path: &scratch.path,
        method: scratch.request.method.of(&client.input),
        remote_addr: Some(client.remote),
    };
    let view = View { core, client, scratch, live, route: None };
    // Few routes look at variables.
    let exchange = OnceCell::new();
    let seen = || exchange.get_or_init(|| view.exchange(scratch.facts.started));
    live.snapshot.routes.find_with_params(&query, &|variable| record::operand(variable, seen()), params)
}

fn start_captures(core: &Core, scratch: &mut Scratch, captures: Captures) {
    let mut budget = core.capture_budget.borrow_mut();
    scratch.request_body.begin(captures.request_bytes.unwrap_or(0), &mut budget);
    scratch.response_body.begin(captures.response_bytes.unwrap_or(0), &mut budget);
}

/// Answers for the gateway itself, with the page of the status.
pub async fn answer(core: &Rc<Core>, client: &mut Client, scratch: &mut Scratch, status: u16) -> After {
    answer_with(core, client, scratch, status, Content::Page).await
}

/// The request was to go no further than here (RFC 9110 §7.6.2). We trace nothing: what a request carries is not to be shown to scripts.
async fn answer_as_last(core: &Rc<Core>, client: &mut Client, scratch: &mut Scratch) -> After {
    let (status, content) = match scratch.request.method_kind {
        Method::Options => (200, Content::Allowed),
        _ => (405, Content::Page),
    };
    answer_with(core, client, scratch, status, content).await
}

async fn answer_with(
    core: &Rc<Core>,
    client: &mut Client,
    scratch: &mut Scratch,
    status: u16,
    content: Content<'_>,
) -> After {
    let after = skip_body(client, scratch);
    let keep_alive = after == After::Keep && scratch.request.keep_alive && core.may_keep();
    let upstream_status = (!scratch.facts.upstream_status.is_empty()).then_some(&*scratch.facts.upstream_status);
    let reply = Reply {
        status,
        content,
        keep_alive,
        head_only: scratch.request.method_kind == Method::Head,
        server: core.settings.server.as_bytes(),
        date: &core.date(),
        upstream_status: upstream_status.map(str::as_bytes),
    };
    scratch.head_down.clear();
    // That of a try before it may have been known.
    scratch.recalled_response.clear();
    let head_bytes = reply::write_reply(&mut scratch.head_down, &reply, &mut scratch.sent);
    let is_sent = send_reply(core, client, scratch).await;
    let facts = &mut scratch.facts;
    facts.status = status;
    if !is_sent {
        return After::Close;
    }
    facts.sent_bytes = scratch.head_down.len() as u64;
    facts.sent_body_bytes = (scratch.head_down.len() - head_bytes) as u64;
    facts.complete = true;
    match after {
        After::Keep if !keep_alive => After::Close,
        other => other,
    }
}

/// Sends what stands in `scratch.head_down`, or keeps it until it is recorded: the only part of a reply is its last.
async fn send_reply(core: &Core, client: &mut Client, scratch: &mut Scratch) -> bool {
    if scratch.tail.is_held() {
        scratch.tail.keep(&scratch.head_down);
        return true;
    }
    if scratch.tail.parks() {
        scratch.tail.park_head();
        return true;
    }
    client.deadline.set_send_ms(core.settings.send_timeout_ms);
    let (result, head_down) = client.socket.write_all(std::mem::take(&mut scratch.head_down)).await;
    client.deadline.clear_send();
    scratch.head_down = head_down;
    result.is_ok()
}

/// A body that nobody reads: skipped if it is here already, otherwise the connection cannot go on.
fn skip_body(client: &mut Client, scratch: &Scratch) -> After {
    let here = (client.input.len() - scratch.request.len) as u64;
    match scratch.request.body {
        BodyLength::None => After::Keep,
        BodyLength::Length(length) if length <= here => {
            client.consumed = scratch.request.len + usize::try_from(length).unwrap_or(0);
            After::Keep
        }
        BodyLength::Length(_) | BodyLength::Chunked => After::Linger,
    }
}
