//! Upstreams behind TLS (`scheme: https`, APISIX-COMPAT §7): who they must be, what is sent under which name, and what an end without
//! a word is worth.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::CertifiedKey;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::gateway::Setup;
use crate::support::scratch::Scratch;
use crate::support::{Gateway, Upstream, pattern, wait_for};

type Own = CertifiedKey<rcgen::KeyPair>;

fn certificate(name: &str) -> Own {
    rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate")
}

/// How a server ends a connection after its answer.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// It takes the next request.
    Keeps,
    /// Says so in TLS.
    Announced,
    /// The TCP connection ends without a word.
    Cut,
}

/// One request as the server behind TLS saw it.
#[derive(Clone, Debug)]
struct Seen {
    /// The name in the handshake.
    sni: Option<String>,
    /// Serial number of the connection.
    connection: usize,
    resumed: bool,
    head: String,
    body: Vec<u8>,
}

/// A server under TLS: rustls and threads, nothing of the gateway's.
struct Secure {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Secure {
    /// Answers every request with `answer(its body)`.
    fn start(own: &Own, client: Option<&Own>, end: End, answer: fn(&[u8]) -> Vec<u8>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()).into();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.cert.der().clone()).expect("a certificate");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let config = Arc::new(builder.with_single_cert(vec![own.cert.der().clone()], key).expect("a key"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let for_thread = Arc::clone(&seen);
        std::thread::spawn(move || {
            for (connection, socket) in listener.incoming().flatten().enumerate() {
                let (config, seen) = (Arc::clone(&config), Arc::clone(&for_thread));
                std::thread::spawn(move || serve(socket, config, &seen, (connection, end, answer)));
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic while it is held").clone()
    }
}

type How = (usize, End, fn(&[u8]) -> Vec<u8>);

fn serve(socket: TcpStream, config: Arc<ServerConfig>, seen: &Mutex<Vec<Seen>>, (connection, end, answer): How) {
    let session = ServerConnection::new(config).expect("a session");
    let mut stream = BufReader::new(StreamOwned::new(session, socket));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(stream.read_line(&mut head), Ok(1..)) {
                return;
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let response = answer(&body);
        let tls = &stream.get_ref().conn;
        let (sni, resumed) =
            (tls.server_name().map(str::to_owned), tls.handshake_kind() == Some(HandshakeKind::Resumed));
        seen.lock().expect("no panic while it is held").push(Seen { sni, connection, resumed, head, body });
        let out = stream.get_mut();
        if out.write_all(&response).and_then(|()| out.flush()).is_err() {
            return;
        }
        match end {
            End::Keeps => {}
            End::Announced => {
                out.conn.send_close_notify();
                let _ = out.flush();
                return;
            }
            End::Cut => return,
        }
    }
}

fn echo(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// A body that ends with the connection.
fn until_close(_: &[u8]) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhalf or whole?".to_vec()
}

/// A gateway that trusts `trusted`, all of its requests to `nodes` by https.
fn before(trusted: Option<&Own>, nodes: &[SocketAddr], more: &Value) -> (Gateway, Scratch) {
    let place = Scratch::new();
    let file = place.path().join("authorities.pem");
    std::fs::write(&file, trusted.map_or(certificate("nobody.test").cert.pem(), |own| own.cert.pem())).expect("a file");
    let gateway = Gateway::start_with(&Setup::with(json!({"apisix": {"ssl": {"ssl_trusted_certificate": file}}})));
    let node = |(at, node): (usize, &SocketAddr)| json!({"host": "127.0.0.1", "port": node.port(), "weight": 1, "priority": 100 - at});
    let nodes: Vec<Value> = nodes.iter().enumerate().map(node).collect();
    let mut upstream = json!({"type": "roundrobin", "scheme": "https", "nodes": nodes});
    for (key, value) in more.as_object().into_iter().flatten() {
        upstream[key] = value.clone();
    }
    gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": upstream}));
    (gateway, place)
}

fn asking(host: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn requests_go_under_the_name_that_they_ask_for_and_connections_are_kept_for_that_name() {
    let server = Secure::start(&certificate("any.test"), None, End::Keeps, echo);
    let (gateway, _place) = before(None, &[server.address], &json!({}));
    let mut client = gateway.connect();
    for host in ["one.test", "one.test:9080", "two.test", "one.test", "[::1]:9080", "ONE.test"] {
        assert_eq!(client.exchange(asking(host)).status, 200, "{host}");
    }
    let seen = server.seen();
    let names: Vec<_> = seen.iter().map(|seen| seen.sni.as_deref()).collect();
    // RFC 6066 §3: no address, and no port.
    let one = Some("one.test");
    assert_eq!(names[..5], [one, one, Some("two.test"), one, None]);
    let connections: Vec<_> = seen.iter().map(|seen| seen.connection).collect();
    assert_eq!(connections[..5], [0, 0, 1, 0, 2], "{seen:?}");
    assert!(seen[1].head.contains("\r\nHost: one.test:9080\r\n"), "{}", seen[1].head);
}

#[test]
fn large_bodies_go_both_ways() {
    let server = Secure::start(&certificate("any.test"), None, End::Keeps, echo);
    let (gateway, _place) = before(None, &[server.address], &json!({}));
    let body = pattern(3_000_000);
    let mut client = gateway.connect();
    for _ in 0..2 {
        let head = format!("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len());
        let response = client.exchange([head.as_bytes(), &body].concat());
        assert_eq!(response.status, 200);
        assert!(response.body == body, "{} bytes came back", response.body.len());
    }
    let seen = server.seen();
    assert!(seen.iter().all(|seen| seen.body == body && seen.connection == 0));
}

#[test]
fn who_it_is_counts_if_it_is_to_be_verified() {
    let own = certificate("good.test");
    let server = Secure::start(&own, None, End::Keeps, echo);
    for (verify, trusted, host, why) in [
        (json!({}), None, "other.test", ""),
        (json!({"tls": {"verify": false}}), None, "other.test", ""),
        (json!({"tls": {"verify": true}}), Some(&own), "good.test", ""),
        (json!({"tls": {"verify": true}}), Some(&own), "other.test", "its certificate is not for other.test"),
        (json!({"tls": {"verify": true}}), None, "good.test", "signed by an authority that is not trusted here"),
        (
            json!({"tls": {"verify": true}, "pass_host": "rewrite", "upstream_host": "good.test"}),
            Some(&own),
            "x.test",
            "",
        ),
    ] {
        let (gateway, _place) = before(trusted, &[server.address], &verify);
        let expected = if why.is_empty() { 200 } else { 502 };
        assert_eq!(gateway.connect().exchange(asking(host)).status, expected, "{verify} {host}");
        wait_for("the log says why", || gateway.log().contains(why).then_some(()));
    }
}

#[test]
fn a_server_that_asks_who_we_are_gets_our_certificate() {
    let ours = certificate("gateway.test");
    let server = Secure::start(&certificate("any.test"), Some(&ours), End::Keeps, echo);
    let (cert, key) = (ours.cert.pem(), ours.signing_key.serialize_pem());
    let (gateway, _place) = before(None, &[server.address], &json!({"tls": {"client_cert": cert, "client_key": key}}));
    assert_eq!(gateway.get("/").status, 200);
    let (gateway, _place) = before(None, &[server.address], &json!({}));
    assert_eq!(gateway.get("/").status, 502, "it does not talk to strangers");
}

#[test]
fn an_end_that_was_announced_is_one_and_another_is_a_cut() {
    for (end, whole) in [(End::Announced, true), (End::Cut, false)] {
        let server = Secure::start(&certificate("any.test"), None, end, until_close);
        let (gateway, _place) = before(None, &[server.address], &json!({}));
        let mut client = gateway.connect();
        client.send(get("/"));
        let received = String::from_utf8(client.send("").finish().rest()).expect("ASCII");
        assert!(received.contains("half or whole?"), "{received}");
        assert_eq!(received.ends_with("\r\n0\r\n\r\n"), whole, "{received}");
    }
}

#[test]
fn a_handshake_that_fails_or_hangs_is_followed_by_another_node_or_an_error_in_time() {
    let good = Secure::start(&certificate("any.test"), None, End::Keeps, echo);
    let bare = Upstream::saying("no TLS here");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent_address = silent.local_addr().expect("bound");
    let timeout = json!({"timeout": {"connect": 0.5, "send": 5, "read": 5}});
    for bad in [bare.address(), silent_address] {
        let (gateway, _place) = before(None, &[bad, good.address], &timeout);
        let began = Instant::now();
        assert_eq!(gateway.get("/").status, 200, "{bad}");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    for (bad, status) in [(bare.address(), 502), (silent_address, 504)] {
        let (gateway, _place) = before(None, &[bad], &timeout);
        assert_eq!(gateway.get("/").status, status);
    }
}

#[test]
fn another_connection_to_the_same_server_resumes_its_session() {
    let server = Secure::start(&certificate("any.test"), None, End::Announced, |_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
    });
    let (gateway, _place) = before(None, &[server.address], &json!({}));
    for _ in 0..3 {
        assert_eq!(gateway.connect().exchange(asking("one.test")).status, 200);
    }
    let resumed: Vec<_> = server.seen().iter().map(|seen| seen.resumed).collect();
    assert_eq!(resumed, [false, true, true]);
}

#[test]
fn certificates_that_cannot_be_used_are_refused_at_the_admin_api() {
    let (gateway, _place) = before(None, &[([127, 0, 0, 1], 1).into()], &json!({}));
    let nonsense = "x".repeat(200);
    for (tls, named) in [
        (json!({"client_cert": nonsense, "client_key": nonsense}), "client certificate"),
        (json!({"client_cert_id": "1"}), "client_cert_id"),
    ] {
        let upstream = json!({"type": "roundrobin", "scheme": "https", "nodes": {"127.0.0.1:1": 1}, "tls": tls});
        let (status, said) = gateway.admin().call("PUT", "upstreams/bad", Some(&upstream));
        assert_eq!(status, 400);
        assert!(
            said["error_msg"].as_str().is_some_and(|text| text.contains(named) && !text.contains(&nonsense)),
            "{said}"
        );
    }
}
