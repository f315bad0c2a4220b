//! Names of nodes: asked of a DNS server of ours, for as long as its answers say, and with all of their addresses.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Gateway, Setup, wait_until};

/// A server that knows one zone: every name has the same addresses.
struct Server {
    address: SocketAddr,
    says: Arc<Mutex<(Vec<Ipv4Addr>, u32)>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(addresses: &[Ipv4Addr], ttl_s: u32) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = socket.local_addr().expect("bound");
        let says = Arc::new(Mutex::new((addresses.to_vec(), ttl_s)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (for_says, count) = (Arc::clone(&says), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((len, peer)) = socket.recv_from(&mut query) {
                let (addresses, ttl_s) = for_says.lock().expect("no panic while it is held").clone();
                let (answer, is_a) = answer(&query[..len], &addresses, ttl_s);
                count.fetch_add(usize::from(is_a), Ordering::Relaxed);
                let _ = socket.send_to(&answer, peer);
            }
        });
        Self { address, says, asked }
    }

    fn say(&self, addresses: &[Ipv4Addr], ttl_s: u32) {
        *self.says.lock().expect("no panic while it is held") = (addresses.to_vec(), ttl_s);
    }

    /// How often it was asked for addresses of version 4.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// RFC 1035 §4.1: the header, the question as it came, an A record for each address; none for other types. Whether A was asked for.
fn answer(query: &[u8], addresses: &[Ipv4Addr], ttl_s: u32) -> (Vec<u8>, bool) {
    let name_len = query[12..].iter().position(|byte| *byte == 0).expect("a name ends") + 1;
    let question = &query[12..12 + name_len + 4];
    let is_a = question[name_len..name_len + 2] == [0, 1];
    let addresses = if is_a { addresses } else { &[] };
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    out.extend(question);
    for address in addresses {
        out.extend([0xc0, 12, 0, 1, 0, 1]);
        out.extend(ttl_s.to_be_bytes());
        out.extend([0, 4]);
        out.extend(address.octets());
    }
    (out, is_a)
}

/// Two upstreams on one port: each says its address.
fn two_upstreams() -> (u16, [Ipv4Addr; 2]) {
    let [one, two] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
    for _ in 0..50 {
        let first = TcpListener::bind((one, 0)).expect("a port");
        let port = first.local_addr().expect("bound").port();
        if let Ok(second) = TcpListener::bind((two, port)) {
            for (listener, ip) in [(first, one), (second, two)] {
                std::thread::spawn(move || serve(&listener, ip.into()));
            }
            return (port, [one, two]);
        }
    }
    panic!("no port that is free on both addresses");
}

fn serve(listener: &TcpListener, ip: IpAddr) {
    for stream in listener.incoming().flatten() {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while !matches!(line.as_str(), "\r\n") {
            line.clear();
            if !matches!(stream.read_line(&mut line), Ok(1..)) {
                break;
            }
        }
        let body = ip.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.get_mut().write_all([head, body].concat().as_bytes());
    }
}

fn gateway(server: &Server, valid_s: Option<u64>, port: u16) -> Gateway {
    let mut apisix = json!({"dns_resolver": [server.address.to_string()]});
    if let Some(seconds) = valid_s {
        apisix["dns_resolver_valid"] = json!(seconds);
    }
    let gateway = Gateway::start_with(&Setup::with(json!({"apisix": apisix})));
    let nodes = json!({format!("moving.test:{port}"): 1});
    gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": {"type": "roundrobin", "nodes": nodes}}));
    gateway
}

#[test]
fn a_name_that_moves_is_followed_when_its_time_is_over() {
    let (port, [one, two]) = two_upstreams();
    let server = Server::start(&[one], 1);
    let gateway = gateway(&server, None, port);
    assert_eq!(gateway.get("/").text(), one.to_string());
    server.say(&[two], 600);
    let moved = wait_until(Duration::from_secs(10), || (gateway.get("/").text() == two.to_string()).then_some(()));
    assert!(moved.is_some(), "still the old address; asked {} times", server.asked());
    // Ten minutes are not over: nothing is asked, and nothing moves.
    let asked = server.asked();
    server.say(&[one], 1);
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        assert_eq!(gateway.get("/").text(), two.to_string());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.asked(), asked);
}

#[test]
fn dns_resolver_valid_holds_in_place_of_what_an_answer_says() {
    let (port, [one, two]) = two_upstreams();
    let server = Server::start(&[one], 600);
    let gateway = gateway(&server, Some(1), port);
    assert_eq!(gateway.get("/").text(), one.to_string());
    server.say(&[two], 600);
    let moved = wait_until(Duration::from_secs(10), || (gateway.get("/").text() == two.to_string()).then_some(()));
    assert!(moved.is_some(), "still the old address");
}

#[test]
fn requests_are_shared_by_all_addresses_of_a_name() {
    let (port, [one, two]) = two_upstreams();
    let server = Server::start(&[one, two], 60);
    let gateway = gateway(&server, None, port);
    let answers: Vec<String> = (0..20).map(|_| gateway.get("/").text().to_owned()).collect();
    let of = |ip: Ipv4Addr| answers.iter().filter(|text| **text == ip.to_string()).count();
    assert_eq!((of(one), of(two)), (10, 10), "{answers:?}");
}

#[test]
fn a_server_that_knows_the_name_no_more_leaves_its_last_addresses() {
    let (port, [one, _]) = two_upstreams();
    let server = Server::start(&[one], 1);
    let gateway = gateway(&server, None, port);
    assert_eq!(gateway.get("/").text(), one.to_string());
    server.say(&[], 1);
    let asked = server.asked();
    let again = wait_until(Duration::from_secs(10), || (server.asked() >= asked + 2).then_some(()));
    assert!(again.is_some(), "it is asked again");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(gateway.get("/").text(), one.to_string());
}
