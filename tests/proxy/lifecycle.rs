//! A gateway's life: changes of configuration under load, SIGTERM, a crash.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::{Client, fetch, get};
use crate::support::upstream::ok;
use crate::support::{Gateway, Setup, Step, Upstream, wait_for};

#[test]
fn a_change_is_in_force_when_its_put_is_answered() {
    let (one, two) = (Upstream::saying("one"), Upstream::saying("two"));
    let gateway = Gateway::start_with(&Setup { workers: 2, ..Setup::default() });
    let mut clients: Vec<Client> = (0..8).map(|_| gateway.connect()).collect();
    for _ in 0..20 {
        for (upstream, body) in [(&one, "one"), (&two, "two")] {
            gateway.admin().route("all", "/*", &[(&upstream.node(), 1)]);
            for client in &mut clients {
                assert_eq!(client.exchange(get("/")).text(), body);
            }
        }
    }
}

#[test]
fn no_request_fails_while_routes_are_flipped_at_50_hz() {
    let (one, two) = (Upstream::saying("one"), Upstream::saying("two"));
    let gateway = Gateway::start_with(&Setup { workers: 2, ..Setup::default() });
    gateway.admin().route("all", "/*", &[(&one.node(), 1)]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.connect();
                while !stop.load(Ordering::Relaxed) {
                    let response = client.exchange(get("/"));
                    assert_eq!(response.status, 200);
                    assert!(matches!(response.text().as_str(), "one" | "two"), "{}", response.text());
                }
            });
        }
        let begin = Instant::now();
        for flip in 0..100_u32 {
            let upstream = if flip % 2 == 0 { &two } else { &one };
            gateway.admin().route("all", "/*", &[(&upstream.node(), 1)]);
            std::thread::sleep(
                (begin + Duration::from_millis(20) * (flip + 1)).saturating_duration_since(Instant::now()),
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(one.seen().len() > 10 && two.seen().len() > 10, "both had their turns");
}

#[test]
fn a_deleted_route_is_gone_and_the_others_stay() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::start();
    gateway.admin().route("a", "/a", &[(&upstream.node(), 1)]);
    gateway.admin().route("b", "/b", &[(&upstream.node(), 1)]);
    gateway.admin().delete("routes/a");
    assert_eq!((gateway.get("/a").status, gateway.get("/b").status), (404, 200));
}

#[test]
fn sigterm_finishes_what_runs_takes_nothing_new_and_ends_with_0() {
    let upstream = Upstream::start(|_| {
        let mut steps = vec![Step::Pause(Duration::from_millis(500))];
        steps.extend(ok("late"));
        steps
    });
    let mut gateway = Gateway::before(&upstream);
    let mut idle = gateway.connect();
    assert_eq!(idle.exchange(get("/")).status, 200);
    let mut client = gateway.connect();
    client.send(get("/"));
    wait_for("the second request is upstream", || (upstream.seen().len() == 2).then_some(()));
    gateway.terminate();
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "late"));
    client.expect_close();
    idle.expect_close();
    assert_eq!(gateway.wait_end().code(), Some(0));
    assert!(TcpStream::connect_timeout(&gateway.address(), Duration::from_secs(1)).is_err());
}

#[test]
fn a_gateway_that_idles_ends_at_once() {
    let mut gateway = Gateway::start();
    let begin = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.wait_end().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(5), "after {:?}", begin.elapsed());
}

#[test]
fn the_configuration_is_there_after_a_crash() {
    let upstream = Upstream::saying("hello");
    let mut gateway = Gateway::before(&upstream);
    let (_, before) = gateway.admin().call("GET", "routes/all", None);
    gateway.crash_and_restart();
    assert_eq!(fetch(gateway.address(), "/").text(), "hello");
    assert_eq!(gateway.admin().call("GET", "routes/all", None).1, before);
}
