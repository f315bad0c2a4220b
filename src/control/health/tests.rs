use std::net::IpAddr;

use serde_json::{Value, json};

use super::*;
use crate::config::compile::{CompileOptions, compile};
use crate::config::documents::Documents;
use crate::config::resource::Kind;

/// A snapshot of one route with checks; `more` is merged into its upstream.
fn snapshot(nodes: Value, more: Value) -> Snapshot {
    let mut upstream = json!({"nodes": nodes, "checks": {"active": {}, "passive": {}}});
    more.as_object().unwrap().iter().for_each(|(name, value)| upstream[name] = value.clone());
    let mut documents = Documents::default();
    documents.put(Kind::Route, "1", json!({"id": "1", "uri": "/", "upstream": upstream}));
    let resolve = |_: &str| -> Vec<IpAddr> { Vec::new() };
    compile(&documents, &CompileOptions::default(), &resolve).snapshot
}

fn watch(checkers: &Checkers, mut snapshot: Snapshot) -> Arc<Watch> {
    checkers.attach(&mut snapshot);
    snapshot.watches[0].clone().unwrap()
}

fn two() -> Value {
    json!({"127.0.0.1:1": 1, "127.0.0.2:1": 1})
}

/// Takes a node down by what a core reports.
fn take_down(checkers: &Checkers, watch: &Watch, node: usize) {
    (0..2).for_each(|_| watch.report(Report { node, outcome: Outcome::TcpFailure }));
    checkers.lock().values_mut().for_each(Checker::take_reports);
    assert!(!watch.is_up(node));
}

#[test]
fn a_change_elsewhere_leaves_the_state_where_it_is() {
    let checkers = Checkers::new(Trust::default());
    let before = watch(&checkers, snapshot(two(), json!({})));
    take_down(&checkers, &before, 1);
    let after =
        watch(&checkers, snapshot(two(), json!({"retries": 7, "timeout": {"connect": 1, "send": 1, "read": 1}})));
    assert!(Arc::ptr_eq(&before, &after) && !after.is_up(1));
}

#[test]
fn a_node_that_stays_in_a_changed_set_keeps_its_state() {
    let checkers = Checkers::new(Trust::default());
    let before = watch(&checkers, snapshot(two(), json!({})));
    before.touch();
    take_down(&checkers, &before, 1);
    let after = watch(&checkers, snapshot(json!({"127.0.0.2:1": 5, "127.0.0.3:1": 1}), json!({})));
    assert_eq!((after.is_up(0), after.is_up(1), after.is_used()), (false, true, true));
}

#[test]
fn other_checks_begin_anew_and_what_is_not_served_is_forgotten() {
    let checkers = Checkers::new(Trust::default());
    let before = watch(&checkers, snapshot(two(), json!({})));
    take_down(&checkers, &before, 1);
    let after = watch(&checkers, snapshot(two(), json!({"checks": {"active": {"http_path": "/live"}}})));
    assert!(after.is_up(1) && !after.is_used());
    assert_eq!(checkers.standings().len(), 2);
    checkers.attach(&mut Snapshot::default());
    assert_eq!(checkers.standings(), []);
}

#[test]
fn standings_name_the_object_the_address_and_the_counts() {
    let checkers = Checkers::new(Trust::default());
    let watch = watch(&checkers, snapshot(two(), json!({})));
    take_down(&checkers, &watch, 1);
    watch.report(Report { node: 0, outcome: Outcome::Timeout });
    checkers.lock().values_mut().for_each(Checker::take_reports);
    let standings = checkers.standings();
    let shown = |standing: &Standing| (standing.name.clone(), standing.ip.clone(), standing.is_up, standing.counts);
    let name = || "/apisix/routes/1".to_owned();
    assert_eq!(
        standings.iter().map(shown).collect::<Vec<_>>(),
        [(name(), "127.0.0.1".to_owned(), true, [0, 0, 0, 1]), (name(), "127.0.0.2".to_owned(), false, [0, 0, 0, 0]),]
    );
}

/// A TLS server whose certificate is for `localhost`: its address, and whom to trust. Answers every connection with `answer`.
async fn tls_server(answer: &'static [u8]) -> (std::net::SocketAddr, Roots) {
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us breaks off.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, Roots::new(vec![certificate]))
}

/// What a probe of `address` with these checks says.
async fn ask(address: std::net::SocketAddr, active: Value, roots: Roots) -> Option<Outcome> {
    let upstream = json!({"checks": {"active": active}});
    let snapshot = snapshot(json!({"127.0.0.1:1": 1}), upstream);
    let active = &snapshot.upstreams[0].checks.as_ref().unwrap().active;
    let checkers = Checkers::new(Trust::new(move || roots.clone()));
    let host = active.host.of("127.0.0.1", 1, snapshot.upstreams[0].scheme);
    Probe::new(active, address, &host, checkers.tls(active.kind)).ask(active).await
}

#[tokio::test]
async fn a_probe_over_tls_looks_at_the_certificate_unless_told_not_to() {
    let (address, roots) = tls_server(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let active = |host: &str, verify: bool| json!({"type": "https", "host": host, "https_verify_certificate": verify});
    let nobody = Roots::default;
    assert_eq!(ask(address, active("localhost", true), roots.clone()).await, Some(Outcome::Success));
    assert_eq!(ask(address, active("localhost", true), nobody()).await, Some(Outcome::TcpFailure));
    assert_eq!(ask(address, active("other.test", true), roots).await, Some(Outcome::TcpFailure));
    assert_eq!(ask(address, active("other.test", false), nobody()).await, Some(Outcome::Success));
}

#[tokio::test]
async fn each_kind_of_answer_is_its_outcome() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for (answer, outcome) in [
        (&b"HTTP/1.1 302 Found\r\n\r\n"[..], Some(Outcome::Success)),
        (b"HTTP/1.1 503 Busy\r\n\r\n", Some(Outcome::HttpFailure)),
        (b"HTTP/1.1 418 Teapot\r\n\r\n", None),
        (b"SSH-2.0-x\r\n", Some(Outcome::HttpFailure)),
        (b"", Some(Outcome::TcpFailure)),
        (b"...", Some(Outcome::Timeout)),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer).await;
            if answer == b"..." {
                std::future::pending::<()>().await;
            }
        });
        let patience = if answer == b"..." { 0.1 } else { 10.0 };
        assert_eq!(ask(address, json!({"timeout": patience}), Roots::default()).await, outcome, "{answer:?}");
        server.abort();
    }
}

#[tokio::test]
async fn another_port_is_asked_where_the_checks_name_one() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let active = json!({"type": "tcp", "port": port});
    assert_eq!(ask(([127, 0, 0, 1], 1).into(), active, Roots::default()).await, Some(Outcome::Success));
}
