//! Asks an upstream's balancer for a node, and tells it how the try went. Which one it is is decided in `upstream`.

use super::connection::Client;
use super::core::Core;
use super::live::{Live, UpstreamState};
use super::record::View;
use super::scratch::Scratch;
use crate::base::Mono;
use crate::base::counters::Counter;
use crate::base::limits::HEALTH_POLL_MS;
use crate::config::snapshot::{HashKey, KeyPart, RouteSpec, RouteUpstream, UpstreamSpec};
use crate::upstream::health::{Ended, Outcome};
use crate::upstream::watch::Report;
use crate::upstream::{Balancing, Pick};

/// Milliseconds between two lines about requests without the key that `chash` asks for, per upstream and core.
const SAY_AGAIN_MS: u64 = 10_000;

/// A request for an upstream is there: its checks may begin, and its key is found.
pub fn prepare(core: &Core, client: &Client, scratch: &mut Scratch, live: &Live, route: &RouteSpec) {
    let RouteUpstream::Index(index) = route.rule.upstream else { return };
    let place = index.0 as usize;
    if let Some(watch) = &live.upstreams[place].watch {
        watch.touch();
    }
    if live.snapshot.upstreams[place].balancing == Balancing::ConsistentHash {
        find_key(core, client, scratch, live, route, place);
    }
}

/// Puts what `chash` hashes for this request into `scratch.hash_key`.
fn find_key(core: &Core, client: &Client, scratch: &mut Scratch, live: &Live, route: &RouteSpec, place: usize) {
    let mut key = std::mem::take(&mut scratch.hash_key);
    key.clear();
    let exchange = View { core, client, scratch, live, route: Some(route) }.exchange(scratch.facts.started);
    let found = match &live.snapshot.upstreams[place].hash_key {
        HashKey::None => false,
        HashKey::Variable(variable) => variable.lookup(&exchange).push_text(&mut key),
        HashKey::Combination(parts) => parts.iter().fold(false, |found, part| match part {
            KeyPart::Text(text) => {
                key.extend_from_slice(text);
                found
            }
            KeyPart::Variable(variable) => variable.lookup(&exchange).push_text(&mut key) || found,
        }),
    };
    if !found {
        key.clear();
        key.extend_from_slice(client.remote_text.as_bytes());
        tell_of_missing(core, route, &live.upstreams[place]);
    }
    scratch.hash_key = key;
}

/// Counted each time; said now and then.
/// Says why the handshake with a node failed: whoever calls only sees a 502.
pub fn tell_of_tls(core: &Core, state: &UpstreamState, node: usize, why: &std::io::Error) {
    let now_ms = core.deadlines.now_ms();
    if state.tls_failure_said_ms.get().is_none_or(|said_ms| now_ms.saturating_sub(said_ms) >= SAY_AGAIN_MS) {
        state.tls_failure_said_ms.set(Some(now_ms));
        log::warn!("upstream node {} ({}): {why}", state.authorities[node], state.address_texts[node]);
    }
}

fn tell_of_missing(core: &Core, route: &RouteSpec, state: &UpstreamState) {
    core.counters.add(Counter::HashKeysMissing, 1);
    let now_ms = core.deadlines.now_ms();
    let due = state.key_missing_said_ms.get().is_none_or(|said_ms| now_ms.saturating_sub(said_ms) >= SAY_AGAIN_MS);
    if due {
        state.key_missing_said_ms.set(Some(now_ms));
        log::warn!("route {}: a request has nothing of chash's key: $remote_addr takes its place", route.names.id);
    }
}

/// The node to try next.
pub fn pick(core: &Core, state: &UpstreamState, scratch: &Scratch, now: Mono) -> Option<usize> {
    let pick = Pick { tried: &scratch.tried, key: &scratch.hash_key, seed: core.next_serial(), now };
    let mut balancer = state.balancer.borrow_mut();
    match &state.watch {
        None => balancer.pick(&state.nodes, &pick, &|_| true),
        Some(watch) => balancer.pick(&state.nodes, &pick, &|node| watch.is_up(node)),
    }
}

/// Tells the control thread, if it wants to know.
pub fn report(core: &Core, state: &UpstreamState, node: usize, ended: Ended) {
    let Some(watch) = &state.watch else { return };
    let Some(rules) = watch.passive() else { return };
    let Some(outcome) = rules.of_try(ended) else { return };
    if outcome == Outcome::Success && watch.is_up(node) {
        // All that it says is that failures before it count no more: once for each look of the control thread is enough.
        let (said, now_ms) = (&state.success_said_ms[node], core.deadlines.now_ms());
        if now_ms.saturating_sub(said.get()) < HEALTH_POLL_MS {
            return;
        }
        said.set(now_ms);
    }
    watch.report(Report { node, outcome });
}

/// A try that is under way, for the ways to balance that look at those: the balancer hears of its end whatever becomes of it.
pub struct Under<'a> {
    core: &'a Core,
    state: &'a UpstreamState,
    node: usize,
    answered_ns: Option<u64>,
}

impl<'a> Under<'a> {
    /// A try at `node` begins.
    pub fn begin(core: &'a Core, spec: &UpstreamSpec, state: &'a UpstreamState, node: usize) -> Option<Self> {
        if !matches!(spec.balancing, Balancing::LeastConnections | Balancing::Ewma) {
            return None;
        }
        state.balancer.borrow_mut().began(node);
        Some(Self { core, state, node, answered_ns: None })
    }

    /// An answer's head came after so many nanoseconds: how fast the client reads the rest is not the node's doing.
    pub fn answered(&mut self, after_ns: Option<u64>) {
        self.answered_ns = after_ns;
    }
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.state.balancer.borrow_mut().ended(self.node, self.answered_ns, self.core.clock.mono());
    }
}
