//! A new process on the same ports (sd_listen_fds(3)): a supervisor holds the socket, and while one gateway ends and the next begins no connection is
//! refused and none is lost.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{End, get};
use crate::support::gateway::Setup;
use crate::support::upstream::ok;
use crate::support::{Client, Gateway, Step, Upstream};

/// Restarts in a row.
const RESTARTS: usize = 4;

fn supervised(driver: &str) -> Setup {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    Setup { workers: 2, supervised: Some(Arc::new(socket)), ..Setup::with(json!({"tollgate": {"driver": driver}})) }
}

fn no_connection_is_refused(driver: &str) {
    let upstream = Upstream::saying("here");
    let setup = supervised(driver);
    let mut gateway = Gateway::start_with(&setup);
    gateway.admin().route("all", "/*", &[(&upstream.node(), 1)]);
    let (address, over, answered) = (gateway.address(), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let mut client = Client::try_connect(address).expect("nobody is refused");
                        client.try_send(get("/x")).expect("nobody is reset");
                        let response = client.try_response().expect("everybody is answered");
                        assert_eq!((response.status, response.text().as_str()), (200, "here"));
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for _ in 0..RESTARTS {
            let before = answered.load(Ordering::Relaxed);
            let began = Instant::now();
            while answered.load(Ordering::Relaxed) < before + 200 && began.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(5));
            }
            gateway.terminate();
            assert!(gateway.wait_end().success(), "{}", gateway.log());
            gateway.restart_with(&setup);
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().expect("a client had nothing to complain about"));
    });
    assert!(answered.load(Ordering::Relaxed) >= RESTARTS * 200, "{answered:?}");
    assert_eq!(upstream.seen().len(), answered.load(Ordering::Relaxed), "each was asked once");
}

#[test]
fn restarts_under_load_refuse_and_lose_nobody() {
    no_connection_is_refused("auto");
}

#[test]
fn restarts_under_load_refuse_and_lose_nobody_with_epoll() {
    no_connection_is_refused("epoll");
}

#[test]
fn what_is_being_answered_is_answered_whole_and_the_connection_then_ends() {
    let half = |_: &_| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf".to_vec();
        vec![Step::Send(head), Step::Pause(Duration::from_millis(1500)), Step::Send(b"half".to_vec())]
    };
    let (slow, quick) = (Upstream::start(half), Upstream::start(|_| ok("quick")));
    let setup = supervised("auto");
    let mut gateway = Gateway::start_with(&setup);
    gateway.admin().route("slow", "/slow", &[(&slow.node(), 1)]);
    gateway.admin().route("quick", "/quick", &[(&quick.node(), 1)]);
    let (mut busy, mut resting) = (gateway.connect(), gateway.connect());
    assert_eq!(resting.exchange(get("/quick")).text(), "quick");
    busy.send(get("/slow"));
    assert_eq!(busy.response_head().status, 200);
    gateway.terminate();
    resting.expect_close();
    // What comes while the old one still has its exchange is not for it: its accepts were taken back, or one of them would be lost with it.
    std::thread::sleep(Duration::from_millis(300));
    let mut late = Client::connect(gateway.address());
    late.send(get("/quick"));
    assert_eq!(late.end_within(Duration::from_millis(300)), End::Open);
    assert_eq!(busy.rest(), b"halfhalf");
    assert!(gateway.wait_end().success());
    gateway.restart_with(&setup);
    assert_eq!(late.response().text(), "quick", "it waited for the next one");
}
