//! Handshakes in memory, with servers that are what they should be and with others.

use std::io::{Read, Write};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection};

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// A certificate and its key, for `name`, good until `year`.
fn issued(by: &Authority, name: &str, year: i32) -> (CertificateDer<'static>, String, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, by).expect("signed");
    (certificate.der().clone(), certificate.pem(), key)
}

/// A server with this certificate; with `clients` it asks for one of theirs.
fn server(own: (CertificateDer<'static>, String, KeyPair), clients: Option<&Authority>) -> ServerConnection {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut store = RootCertStore::empty();
            store.add(authority.der().clone()).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let key = PrivatePkcs8KeyDer::from(own.2.serialize_der()).into();
    let config = builder.with_single_cert(vec![own.0], key).expect("a certificate");
    ServerConnection::new(Arc::new(config)).expect("a session")
}

/// Lets both talk until neither has anything to say. What the client is told, or why it does not go on.
fn talk(tls: &Tls, host: &str, mut server: ServerConnection) -> Result<String, String> {
    let mut client = tls.session(host)?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory");
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("memory");
            if server.process_new_packets().is_err() {
                break;
            }
        }
        if !server.is_handshaking() && client.is_handshaking() {
            let _ = server.writer().write(b"hello");
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory");
            client.process_new_packets().map_err(|error| explain(&error, host))?;
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            let _ = server.writer().write(b"hello");
        }
    }
    let mut said = [0; 5];
    client.reader().read_exact(&mut said).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn trusting(authority: &Authority) -> Tls {
    let roots = Roots::from_pem(&authority.pem()).expect("an authority");
    Tls::new(TlsSettings { verify: Some(&roots), identity: None }).expect("good")
}

#[test]
fn a_broker_is_taken_for_its_authority_its_name_and_its_time() {
    let (good, other, same_name) = (authority("one"), authority("two"), authority("one"));
    let fresh = |name| server(issued(&good, name, 2_999), None);
    assert_eq!(talk(&trusting(&good), "kafka.test", fresh("kafka.test")), Ok("hello".to_owned()));
    assert_eq!(talk(&trusting(&good), "127.0.0.1", fresh("127.0.0.1")), Ok("hello".to_owned()));
    let old = server(issued(&good, "kafka.test", 2_001), None);
    for (tls, host, server, expected) in [
        (
            trusting(&other),
            "kafka.test",
            fresh("kafka.test"),
            "an authority that is not trusted here; name it in tls.ca",
        ),
        (trusting(&same_name), "kafka.test", fresh("kafka.test"), "with another key"),
        (trusting(&good), "kafka.test", old, "has expired; renew it"),
        (trusting(&good), "other.test", fresh("kafka.test"), "is not for other.test; name the broker as"),
        (trusting(&good), "127.0.0.1", fresh("kafka.test"), "is not for 127.0.0.1"),
    ] {
        let said = talk(&tls, host, server).expect_err("refused");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn without_verification_any_certificate_is_taken() {
    let tls = Tls::new(TlsSettings { verify: None, identity: None }).expect("good");
    for (name, year) in [("kafka.test", 2_999), ("other.test", 2_001)] {
        let server = server(issued(&authority("any"), name, year), None);
        assert_eq!(talk(&tls, "kafka.test", server), Ok("hello".to_owned()));
    }
}

#[test]
fn our_certificate_is_shown_to_who_asks_for_it() {
    let (brokers, clients) = (authority("brokers'"), authority("clients'"));
    let roots = Roots::from_pem(&brokers.pem()).expect("an authority");
    let asking = || server(issued(&brokers, "kafka.test", 2_999), Some(&clients));
    let as_one = |by: Option<&Authority>| {
        let identity = by.map(|by| {
            let (_, certificates, key) = issued(by, "gateway", 2_999);
            Identity { certificates, key: Secret::new(&key.serialize_pem()) }
        });
        Tls::new(TlsSettings { verify: Some(&roots), identity: identity.as_ref() }).expect("good")
    };
    assert_eq!(talk(&as_one(Some(&clients)), "kafka.test", asking()), Ok("hello".to_owned()));
    for by in [None, Some(&brokers)] {
        let said = talk(&as_one(by), "kafka.test", asking()).expect_err("refused");
        assert!(said.contains("asks for a client certificate that it trusts"), "{said}");
    }
}

#[test]
fn what_is_no_tls_is_said_to_be_none() {
    let mut client = trusting(&authority("any")).session("kafka.test").expect("a session");
    client.read_tls(&mut &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]).expect("memory");
    let error = client.process_new_packets().expect_err("not TLS");
    assert!(explain(&error, "kafka.test").contains("that is not TLS"), "{error}");
    assert!(trusting(&authority("any")).session("no name").is_err());
}

#[test]
fn the_same_settings_are_equal_and_nothing_secret_is_shown() {
    let (one, other) = (authority("one"), authority("one"));
    assert_eq!(trusting(&one), trusting(&one));
    assert_ne!(trusting(&one), trusting(&other));
    let (_, certificates, key) = issued(&one, "gateway", 2_999);
    let key = key.serialize_pem();
    let identity = Identity { certificates, key: Secret::new(&key) };
    let tls = Tls::new(TlsSettings { verify: None, identity: Some(&identity) }).expect("good");
    assert_ne!(tls, Tls::new(TlsSettings { verify: None, identity: None }).expect("good"));
    let shown = format!("{tls:?} {identity:?}");
    assert!(!shown.contains(key.lines().nth(1).expect("a line of the key")), "{shown}");
    let locked = Identity { key: Secret::new("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"), ..identity };
    let said = Tls::new(TlsSettings { verify: None, identity: Some(&locked) }).expect_err("locked");
    assert!(said.contains("without a passphrase"), "{said}");
}
