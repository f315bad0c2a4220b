//! Upstreams behind a Unix socket, `unix:/path` (ours: APISIX has none).

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::{Gateway, Upstream, pattern};

/// A server on a Unix socket that sends bodies back.
struct Here {
    path: PathBuf,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Here {
    fn start(place: &Path) -> Self {
        let path = place.join("up.sock");
        let listener = UnixListener::bind(&path).expect("a directory of ours");
        let (heads, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (for_heads, count) = (Arc::clone(&heads), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let heads = Arc::clone(&for_heads);
                std::thread::spawn(move || serve(stream, &heads));
            }
        });
        Self { path, heads, connections }
    }

    fn node(&self) -> String {
        format!("unix:{}", self.path.display())
    }
}

fn serve(stream: UnixStream, heads: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(stream.read_line(&mut head), Ok(1..)) {
                return;
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
        // Before the answer: who has that may look.
        let read = stream.read_exact(&mut body);
        heads.lock().expect("no panic while it is held").push(head);
        let answered = read.and_then(|()| {
            let out = stream.get_mut();
            out.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())?;
            out.write_all(&body)
        });
        if answered.is_err() {
            return;
        }
    }
}

/// A directory with a short path, so that a socket's fits into 107 bytes; cargo's own may be long.
struct Place(PathBuf);

impl Place {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn place() -> Place {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("tollgate-{}-{number}", std::process::id()));
    std::fs::create_dir(&path).expect("a directory for what is temporary");
    Place(path)
}

fn before(upstream: &Value) -> Gateway {
    let gateway = Gateway::start();
    gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": upstream}));
    gateway
}

#[test]
fn requests_go_over_the_socket_and_its_connection_is_kept() {
    let place = place();
    let here = Here::start(place.path());
    for nodes in [json!({here.node(): 1}), json!([{"host": here.node(), "weight": 1}])] {
        let gateway = before(&json!({"type": "roundrobin", "nodes": nodes}));
        let (mut client, already) = (gateway.connect(), here.connections.load(Ordering::Relaxed));
        let body = pattern(300_000);
        for _ in 0..3 {
            let head = format!("POST /x HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {}\r\n\r\n", body.len());
            let response = client.exchange([head.as_bytes(), &body].concat());
            assert_eq!(response.status, 200);
            assert!(response.body == body, "{} bytes came back", response.body.len());
        }
        assert_eq!(here.connections.load(Ordering::Relaxed) - already, 1);
    }
    assert!(here.heads.lock().expect("no panic").iter().all(|head| head.contains("\r\nHost: shop.test\r\n")));
}

#[test]
fn the_nodes_own_host_is_localhost() {
    let place = place();
    let here = Here::start(place.path());
    let gateway = before(&json!({"type": "roundrobin", "pass_host": "node", "nodes": {here.node(): 1}}));
    assert_eq!(gateway.get("/").status, 200);
    let heads = here.heads.lock().expect("no panic").clone();
    assert!(heads[0].contains("\r\nHost: localhost\r\n"), "{}", heads[0]);
}

#[test]
fn a_socket_that_nobody_listens_on_is_502_or_another_node() {
    let place = place();
    let gone = format!("unix:{}", place.path().join("gone.sock").display());
    let gateway = before(&json!({"type": "roundrobin", "nodes": {gone.clone(): 1}}));
    assert_eq!(gateway.get("/").status, 502);
    let there = Upstream::saying("there");
    let nodes = json!([
        {"host": gone, "weight": 1, "priority": 1},
        {"host": "127.0.0.1", "port": there.address().port(), "weight": 1, "priority": 0},
    ]);
    let gateway = before(&json!({"type": "roundrobin", "nodes": nodes}));
    assert_eq!(gateway.connect().exchange(get("/")).text(), "there");
}

#[test]
fn what_cannot_be_a_socket_is_refused() {
    let gateway = Gateway::start();
    let long = format!("unix:/{}", "x".repeat(107));
    let checks = json!({"active": {"http_path": "/"}});
    for (upstream, why) in [
        (json!({"type": "roundrobin", "nodes": {long: 1}}), "at most 107 bytes"),
        (json!({"type": "roundrobin", "nodes": {"unix:/a": 1}, "checks": checks}), "checks of a Unix socket"),
        (json!({"type": "roundrobin", "nodes": {"unix:relative": 1}}), "unix:relative"),
    ] {
        let (status, said) = gateway.admin().call("PUT", "upstreams/bad", Some(&upstream));
        assert_eq!(status, 400, "{said}");
        assert!(said["error_msg"].as_str().is_some_and(|text| text.contains(why)), "{said}");
    }
}
