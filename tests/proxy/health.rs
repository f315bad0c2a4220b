//! Health checks: nodes that are found down get no requests until they are found up again (APISIX-COMPAT §7.4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::upstream::{Refusing, ok, raw};
use crate::support::{Gateway, Setup, Step, Upstream, wait_for};

/// More than one interval of the checks: what is going to be asked has been by then.
const LONGER_THAN_AN_INTERVAL: Duration = Duration::from_millis(1_600);
/// What probes ask for.
const LIVE: &str = "/live";

/// An upstream whose answers to probes, and to requests, can be made to fail.
struct Patient {
    upstream: Upstream,
    well: Arc<AtomicBool>,
    serves: Arc<AtomicBool>,
}

impl Patient {
    fn saying(body: &'static str) -> Self {
        let (well, serves) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let (is_well, does_serve) = (Arc::clone(&well), Arc::clone(&serves));
        let upstream = Upstream::start(move |request| {
            let good = if request.target == LIVE { &is_well } else { &does_serve };
            if good.load(Ordering::Relaxed) {
                ok(body)
            } else {
                raw("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
            }
        });
        Self { upstream, well, serves }
    }

    fn set_well(&self, well: bool) {
        self.well.store(well, Ordering::Relaxed);
    }

    fn set_serves(&self, serves: bool) {
        self.serves.store(serves, Ordering::Relaxed);
    }

    fn probes(&self) -> usize {
        self.upstream.seen().iter().filter(|request| request.target == LIVE).count()
    }

    fn requests(&self) -> usize {
        self.upstream.seen().iter().filter(|request| request.target != LIVE).count()
    }
}

fn gateway() -> Gateway {
    Gateway::start_with(&Setup { metrics: true, ..Setup::default() })
}

/// Checks that need one answer to change their mind.
fn quick() -> Value {
    json!({"active": {
        "http_path": LIVE,
        "healthy": {"interval": 1, "successes": 1},
        "unhealthy": {"interval": 1, "http_failures": 1, "tcp_failures": 1, "timeouts": 1},
    }})
}

/// Checks whose probes do not come in time to say anything.
fn passive(passive: &Value) -> Value {
    json!({
        "active": {"http_path": LIVE, "healthy": {"interval": 600}, "unhealthy": {"interval": 600}},
        "passive": passive,
    })
}

/// A route for everything to nodes with checks; `more` is merged into the upstream.
fn put(gateway: &Gateway, nodes: &[&str], checks: Option<&Value>, more: &Value) {
    let weights: serde_json::Map<_, _> = nodes.iter().map(|node| ((*node).to_owned(), json!(1))).collect();
    let mut upstream = json!({"type": "roundrobin", "nodes": weights});
    if let Some(checks) = checks {
        upstream["checks"] = checks.clone();
    }
    more.as_object().into_iter().flatten().for_each(|(name, value)| upstream[name] = value.clone());
    gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": upstream}));
}

/// What the metric says of a node.
fn status(gateway: &Gateway, node: &str) -> Option<bool> {
    let (ip, port) = node.rsplit_once(':').expect("a port");
    let name = format!("apisix_upstream_status{{name=\"/apisix/routes/all\",ip=\"{ip}\",port=\"{port}\"}} ");
    gateway.scrape().lines().find_map(|line| line.strip_prefix(name.as_str())).map(|value| value == "1")
}

fn wait_status(gateway: &Gateway, node: &str, up: bool) {
    wait_for("the node's state", || (status(gateway, node) == Some(up)).then_some(()));
}

/// The bodies of so many answers.
fn answers(gateway: &Gateway, count: usize) -> String {
    let mut client = gateway.connect();
    (0..count).map(|_| client.exchange(get("/")).text()).collect()
}

#[test]
fn a_node_that_fails_its_probes_gets_nothing_until_it_passes_them_again_whatever_else_changes() {
    let (a, b) = (Patient::saying("a"), Patient::saying("b"));
    let (node_a, node_b) = (a.upstream.node(), b.upstream.node());
    let gateway = gateway();
    put(&gateway, &[&node_a, &node_b], Some(&quick()), &json!({}));
    let both = answers(&gateway, 10);
    assert!(both.contains('a') && both.contains('b'), "{both}");
    a.set_well(false);
    wait_status(&gateway, &node_a, false);
    assert_eq!(answers(&gateway, 10), "bbbbbbbbbb");
    put(&gateway, &[&node_a, &node_b], Some(&quick()), &json!({"retries": 3}));
    gateway.admin().route("other", "/other", &[(&node_b, 1)]);
    assert_eq!(answers(&gateway, 10), "bbbbbbbbbb", "a change elsewhere does not make it well");
    assert_eq!(status(&gateway, &node_a), Some(false));
    a.set_well(true);
    wait_status(&gateway, &node_a, true);
    assert!(answers(&gateway, 10).contains('a'));
    let log = gateway.log();
    for line in [format!("{node_a} is down (probes: HttpFailure)"), format!("{node_a} is up again (probes)")] {
        assert_eq!(log.matches(&line).count(), 1, "{line}: {log}");
    }
    assert_eq!(log.matches("no node is up").count(), 0, "{log}");
}

#[test]
fn probes_begin_with_the_first_request_and_end_with_the_checks() {
    let a = Patient::saying("a");
    let gateway = gateway();
    put(&gateway, &[&a.upstream.node()], Some(&quick()), &json!({}));
    std::thread::sleep(LONGER_THAN_AN_INTERVAL);
    assert_eq!(a.probes(), 0, "nobody has asked for it yet");
    assert_eq!(gateway.get("/").status, 200);
    wait_for("probes", || (a.probes() >= 2).then_some(()));
    put(&gateway, &[&a.upstream.node()], None, &json!({}));
    let probes = a.probes();
    std::thread::sleep(LONGER_THAN_AN_INTERVAL);
    assert!(a.probes() <= probes + 1, "one may have been under way: {probes}, then {}", a.probes());
    let probes = a.probes();
    std::thread::sleep(LONGER_THAN_AN_INTERVAL);
    assert_eq!(a.probes(), probes);
    assert_eq!(status(&gateway, &a.upstream.node()), None);
}

#[test]
fn a_probe_says_what_the_checks_say() {
    let node = Upstream::start(|_| ok("x"));
    let gateway = gateway();
    let checks = json!({"active": {
        "http_method": "POST", "http_path": "/live?deep=1", "http_req_body": "ping", "host": "probe.test",
        "req_headers": ["User-Agent: checker", "X-Key: 1"],
    }});
    put(&gateway, &[&node.node()], Some(&checks), &json!({}));
    gateway.get("/");
    let probe = wait_for("a probe", || node.seen().into_iter().find(|request| request.method == "POST"));
    assert_eq!((probe.target.as_str(), probe.body.as_slice()), ("/live?deep=1", &b"ping"[..]));
    let headers = ["host", "user-agent", "x-key", "content-length"].map(|name| probe.headers.one(name));
    assert_eq!(headers, [Some("probe.test"), Some("checker"), Some("1"), Some("4")]);
}

#[test]
fn a_tcp_check_asks_for_a_connection_and_nothing_more() {
    let (refusing, upstream) = (Refusing::new(), Upstream::saying("b"));
    let gateway = gateway();
    let mut checks = quick();
    checks["active"]["type"] = json!("tcp");
    put(&gateway, &[&refusing.node(), &upstream.node()], Some(&checks), &json!({}));
    assert_eq!(gateway.get("/").text(), "b");
    wait_status(&gateway, &refusing.node(), false);
    wait_for("a connection without a request", || (upstream.connections() > upstream.seen().len()).then_some(()));
    assert_eq!(status(&gateway, &upstream.node()), Some(true));
}

#[test]
fn all_nodes_down_is_said_once_and_all_of_them_are_used() {
    let (a, b) = (Patient::saying("a"), Patient::saying("b"));
    a.set_well(false);
    b.set_well(false);
    let gateway = gateway();
    put(&gateway, &[&a.upstream.node(), &b.upstream.node()], Some(&quick()), &json!({}));
    assert_eq!(gateway.get("/").status, 200);
    wait_status(&gateway, &a.upstream.node(), false);
    wait_status(&gateway, &b.upstream.node(), false);
    let (before_a, before_b) = (a.requests(), b.requests());
    answers(&gateway, 10);
    assert_eq!((a.requests() - before_a, b.requests() - before_b), (5, 5));
    std::thread::sleep(LONGER_THAN_AN_INTERVAL);
    assert_eq!(gateway.log().matches("no node is up").count(), 1, "{}", gateway.log());
}

#[test]
fn answers_that_clients_got_take_a_node_out_and_bring_it_back() {
    let (a, b) = (Patient::saying("a"), Patient::saying("b"));
    let gateway = gateway();
    let rules = json!({"healthy": {"successes": 1}, "unhealthy": {"http_failures": 3}});
    put(&gateway, &[&a.upstream.node(), &b.upstream.node()], Some(&passive(&rules)), &json!({}));
    a.set_serves(false);
    answers(&gateway, 6);
    wait_status(&gateway, &a.upstream.node(), false);
    assert!(gateway.log().contains("is down (requests: HttpFailure)"), "{}", gateway.log());
    assert_eq!(answers(&gateway, 6), "bbbbbb");
    // Alone it is asked all the same, because no other is up.
    put(&gateway, &[&a.upstream.node()], Some(&passive(&rules)), &json!({}));
    assert_eq!(status(&gateway, &a.upstream.node()), Some(false), "it keeps its state in another set of nodes");
    a.set_serves(true);
    assert_eq!(answers(&gateway, 1), "a");
    wait_status(&gateway, &a.upstream.node(), true);
}

#[test]
fn tries_that_failed_take_a_node_out_though_every_client_got_its_answer() {
    let (refusing, upstream) = (Refusing::new(), Upstream::saying("b"));
    let gateway = gateway();
    put(&gateway, &[&refusing.node(), &upstream.node()], Some(&passive(&json!({}))), &json!({}));
    assert_eq!(answers(&gateway, 6), "bbbbbb");
    wait_status(&gateway, &refusing.node(), false);
    let before = gateway.metric("tollgate_upstream_connects_total");
    assert_eq!(answers(&gateway, 6), "bbbbbb");
    assert!(gateway.metric("tollgate_upstream_connects_total") <= before + 1, "it is not tried any more");
}

#[test]
fn tries_without_an_answer_in_time_count_as_timeouts() {
    let (hanging, upstream) = (Upstream::start(|_| vec![Step::Hang]), Upstream::saying("b"));
    let gateway = gateway();
    let rules = json!({"unhealthy": {"timeouts": 2, "tcp_failures": 0, "http_failures": 0}});
    let quick = json!({"timeout": {"connect": 5, "send": 5, "read": 0.1}});
    put(&gateway, &[&hanging.node(), &upstream.node()], Some(&passive(&rules)), &quick);
    assert_eq!(answers(&gateway, 4), "bbbb");
    wait_status(&gateway, &hanging.node(), false);
    assert!(gateway.log().contains("is down (requests: Timeout)"), "{}", gateway.log());
}

#[test]
fn the_last_try_counts_too_though_nobody_is_left_to_ask() {
    let refusing = Refusing::new();
    let gateway = gateway();
    put(&gateway, &[&refusing.node()], Some(&passive(&json!({}))), &json!({}));
    let mut client = gateway.connect();
    (0..2).for_each(|_| assert_eq!(client.exchange(get("/")).status, 502));
    wait_status(&gateway, &refusing.node(), false);
}

#[test]
fn passive_checks_that_are_off_take_nobody_out() {
    let a = Patient::saying("a");
    a.set_serves(false);
    let gateway = gateway();
    let off = json!({"unhealthy": {"http_failures": 0, "tcp_failures": 0, "timeouts": 0}});
    put(&gateway, &[&a.upstream.node()], Some(&passive(&off)), &json!({}));
    answers(&gateway, 20);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(status(&gateway, &a.upstream.node()), Some(true));
}

#[test]
fn passive_checks_alone_are_refused() {
    let gateway = Gateway::start();
    let upstream = json!({"nodes": {"127.0.0.1:1": 1}, "checks": {"passive": {}}});
    assert_eq!(gateway.admin().call("PUT", "upstreams/1", Some(&upstream)).0, 400);
}
