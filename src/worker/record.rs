//! Records a finished exchange: the view that log formats and expressions look at, and one entry for each logger.

use std::rc::Rc;

use super::connection::Client;
use super::core::Core;
use super::hold;
use super::live::Live;
use super::planted::{self, Place};
use super::scratch::Scratch;
use super::waiters::Waiter;
use crate::base::counters::Counter;
use crate::base::time::Now;
use crate::config::snapshot::{BodyRule, Hold, LoggerIndex, LoggerSpec, RouteSpec, RouteUpstream};
use crate::kafka::{Appended, Out, Overflow};
use crate::log::body::Cut;
use crate::log::exchange::{Captured, ClientView, Exchange, Forwarded, Head, RequestView, ResponseView, UpstreamView};
use crate::log::{Include, Variable};
use crate::route::{Expr, Operand};

/// Asks every logger's `_meta.filter` before the request goes on, and remembers who said no (APISIX-COMPAT §1.3).
pub fn filter(core: &Core, client: &Client, scratch: &mut Scratch, live: &Live, route: Option<&RouteSpec>) {
    let mut filters = filters(live, route).peekable();
    if filters.peek().is_none() {
        return;
    }
    let mut silent = std::mem::take(&mut scratch.silent);
    let view = View { core, client, scratch, live, route };
    let exchange = view.exchange(scratch.facts.started);
    silent.extend(filters.filter(|(_, expr)| !holds(Some(expr), &exchange)).map(|(logger, _)| logger));
    scratch.silent = silent;
}

/// The filters of all loggers that have one.
fn filters<'a>(
    live: &'a Live,
    route: Option<&'a RouteSpec>,
) -> impl Iterator<Item = (LoggerIndex, &'a Expr<Variable>)> {
    loggers(live, route).filter_map(|logger| Some((logger, live.snapshot.logger(logger).filter.as_ref()?)))
}

/// Global rules' loggers first, then the route's (APISIX-COMPAT §2.8).
fn loggers<'a>(live: &'a Live, route: Option<&'a RouteSpec>) -> impl Iterator<Item = LoggerIndex> {
    let own = route.map_or(&[][..], |route| &route.rule.loggers);
    live.snapshot.global_loggers.iter().chain(own).copied()
}

/// How the response waits for its records, if a logger that will write one wants it to.
pub fn hold(live: &Live, route: Option<&RouteSpec>, silent: &[LoggerIndex]) -> Option<Hold> {
    let hold = route.map_or(live.snapshot.global_hold, |route| route.rule.hold)?;
    if silent.is_empty() {
        return Some(hold);
    }
    let wanted = loggers(live, route).filter(|logger| !silent.contains(logger));
    wanted.filter_map(|logger| live.snapshot.logger(logger).hold).reduce(Hold::max)
}

/// True if a logger may want an entry.
pub fn is_wanted(live: &Live, route: Option<&RouteSpec>) -> bool {
    loggers(live, route).next().is_some()
}

/// Appends an entry to the lane of every logger that wants one.
pub fn record(core: &Rc<Core>, client: &Client, scratch: &mut Scratch, live: &Live, route: Option<&RouteSpec>) {
    let mut wanted = loggers(live, route).filter(|logger| !scratch.silent.contains(logger)).peekable();
    if wanted.peek().is_some() {
        let view = View { core, client, scratch, live, route };
        let end = scratch.facts.started.moved_to(core.clock.mono());
        let exchange = view.exchange(end);
        let waiter = hold::waiter(scratch);
        wanted.for_each(|logger| append(core, live, logger, &exchange, waiter));
    }
    for body in [&mut scratch.request_body, &mut scratch.response_body] {
        if body.cut() == Cut::Budget {
            core.counters.add(Counter::BodiesCut, 1);
        }
        body.release(&mut core.capture_budget.borrow_mut());
    }
}

/// True if a logger of this request has no room for its record and makes requests wait.
pub fn held_back(core: &Core, scratch: &Scratch, live: &Live, route: Option<&RouteSpec>) -> bool {
    let waits = |logger: &LoggerIndex| live.snapshot.logger(*logger).sink.overflow == Overflow::Backpressure;
    loggers(live, route)
        .filter(|logger| waits(logger) && !scratch.silent.contains(logger))
        .any(|logger| !core.ship.has_room(live.lanes[logger.0 as usize]))
}

fn append(core: &Rc<Core>, live: &Live, logger: LoggerIndex, exchange: &Exchange<'_>, waiter: Option<&Waiter>) {
    let place = logger.0 as usize;
    let spec: &LoggerSpec = &live.snapshot.loggers[place];
    let include = Include {
        request_body: rule_holds(spec.request_body.as_ref(), exchange),
        response_body: rule_holds(spec.response_body.as_ref(), exchange),
    };
    let mut state = core.render_state.borrow_mut();
    let (lane, end) = (live.lanes[place], exchange.end);
    let render = &mut |out: &mut Out<'_>| {
        spec.plan.render(&mut state, exchange, include, out);
        planted::panic_here(Place::Record, exchange.request.path);
    };
    match (waiter, spec.hold) {
        (Some(waiter), Some(hold)) => {
            let ticket = waiter.ticket(hold.on_failure);
            if core.ship.append_with(ticket, lane, end, render) != Appended::Accepted {
                waiter.refused(hold.on_failure);
            }
        }
        _ => {
            core.ship.append(lane, end, render);
        }
    }
}

fn rule_holds(rule: Option<&BodyRule>, exchange: &Exchange<'_>) -> bool {
    rule.is_none_or(|rule| holds(rule.expr.as_ref(), exchange))
}

fn holds(expr: Option<&Expr<Variable>>, exchange: &Exchange<'_>) -> bool {
    expr.is_none_or(|expr| expr.eval(&|variable| operand(variable, exchange)))
}

/// A variable as expressions compare it.
pub fn operand<'a>(variable: &'a Variable, exchange: &Exchange<'a>) -> Operand<'a> {
    use crate::log::Flat;
    match variable.lookup(exchange).flat() {
        Flat::Absent => Operand::Nil,
        Flat::Text(text) => Operand::Text(text),
        Flat::Number(number) => Operand::Number(number),
        Flat::True => Operand::True,
    }
}

/// Where the parts of an exchange are.
pub struct View<'a> {
    /// The core.
    pub core: &'a Core,
    /// The client.
    pub client: &'a Client,
    /// Heads, bodies, facts.
    pub scratch: &'a Scratch,
    /// The configuration.
    pub live: &'a Live,
    /// The route, once it is found.
    pub route: Option<&'a RouteSpec>,
}

impl<'a> View<'a> {
    /// The whole view.
    pub fn exchange(&self, end: Now) -> Exchange<'a> {
        Exchange {
            request: self.request(),
            response: self.response(),
            upstream: self.upstream(),
            client: self.client_view(),
            route: self.route.map(|route| &route.names),
            gateway: &self.core.settings.gateway,
            start: self.scratch.facts.started,
            end,
            request_id: self.core.request_id(self.client.serial, self.client.requests),
        }
    }

    fn request(&self) -> RequestView<'a> {
        let (client, scratch) = (self.client, self.scratch);
        let (head, bytes) = (&scratch.request, client.input.as_slice());
        let forwarded = client.forwarded(self.core, head);
        RequestView {
            line: head.line.of(bytes),
            method: head.method.of(bytes),
            target: head.target.of(bytes),
            path: &scratch.path,
            args: head.query.map_or(b"", |query| query.of(bytes)),
            protocol: head.version.name().as_bytes(),
            host: &scratch.host,
            head: Head { fields: &head.fields, bytes, rendered: scratch.recalled_request.rendered() },
            forwarded: Forwarded {
                proto: Some(forwarded.proto),
                host: Some(forwarded.host),
                port: Some(forwarded.port),
            },
            size_bytes: head.len as u64 + scratch.facts.request_body_bytes,
            body: captured(scratch.request_body.captured()),
            uri_params: &scratch.uri_params,
        }
    }

    fn response(&self) -> ResponseView<'a> {
        let (scratch, facts) = (self.scratch, &self.scratch.facts);
        ResponseView {
            status: facts.status,
            head: (!scratch.sent.is_empty()).then(|| Head {
                fields: &scratch.sent,
                bytes: &scratch.head_down,
                rendered: scratch.recalled_response.rendered(),
            }),
            bytes_sent: facts.sent_bytes,
            body_bytes_sent: facts.sent_body_bytes,
            body: Some(scratch.response_body.captured()),
            complete: facts.complete,
        }
    }

    fn upstream(&self) -> Option<UpstreamView<'a>> {
        let (scratch, facts) = (self.scratch, &self.scratch.facts);
        let RouteUpstream::Index(index) = self.route?.rule.upstream else { return None };
        let (state, place) = (&self.live.upstreams[index.0 as usize], facts.node?);
        let spec = &self.live.snapshot.upstreams[index.0 as usize];
        let node = &state.nodes.nodes()[place];
        let address = state.address_texts[place].as_bytes();
        Some(UpstreamView {
            address: facts.upstream_addr.as_bytes(),
            status: facts.upstream_status.as_bytes(),
            head: facts.has_upstream_head.then(|| Head::new(&scratch.response.fields, scratch.upstream_in.head())),
            response_ns: facts.response_ns.unwrap_or(0),
            connect_ns: facts.connect_ns,
            header_ns: facts.header_ns,
            host: spec
                .pass_host
                .sent(scratch.request.authority.of(&self.client.input), state.authorities[place].as_bytes()),
            scheme: spec.scheme.name().as_bytes(),
            uri: b"",
            ip: match node.address.tcp() {
                Some(_) => address.rsplitn(2, |byte| *byte == b':').nth(1).unwrap_or(address),
                None => address,
            },
            port: node.address.tcp().map_or(0, |address| address.port()),
            unresolved_host: node.host.as_bytes(),
            response_length: facts.sent_body_bytes,
            bytes_sent: facts.upstream_sent_bytes,
            bytes_received: facts.upstream_received_bytes,
        })
    }

    fn client_view(&self) -> ClientView<'a> {
        let client = self.client;
        ClientView {
            remote_addr: client.remote_text.as_bytes(),
            remote_port: client.peer.port(),
            realip_remote_addr: client.peer_text.as_bytes(),
            realip_remote_port: client.peer.port(),
            server_addr: client.local_text.as_bytes(),
            server_port: client.listen_port,
            scheme: b"http",
            connection: client.serial,
            connection_requests: client.requests,
            pipelined: client.pipelined,
        }
    }
}

fn captured(body: Captured<'_>) -> Option<Captured<'_>> {
    (!body.bytes.is_empty()).then_some(body)
}
