//! SASL and TLS against a real Kafka: one that `tools/kafka up --sasl --tls --reauth-ms 4000` started, whose plain address
//! `TOLLGATE_TEST_KAFKA_SECURE=HOST:PORT` names, with its certificates in `TOLLGATE_TEST_KAFKA_CERTS`. Without them only
//! what needs no Kafka is tested: no other broker of ours speaks either.

use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::kafka::new_topic;
use crate::support::upstream::ok;
use crate::support::{Gateway, Kafka, PATIENCE, Setup, Upstream, wait_for, wait_until};

/// From the plain port to the others, as tools/kafka lays them out.
const SASL: u16 = 10;
const TLS: u16 = 20;
const MUTUAL_TLS: u16 = 25;
const SASL_TLS: u16 = 30;
const EXPIRED_TLS: u16 = 35;
/// How long a session is good on that Kafka.
const SESSION: Duration = Duration::from_millis(4_000);

/// The Kafka of these tests.
struct Secure {
    kafka: Kafka,
    certificates: PathBuf,
}

impl Secure {
    /// The named one. Otherwise says why nothing is tested.
    fn named() -> Option<Self> {
        let (address, certificates) =
            (std::env::var("TOLLGATE_TEST_KAFKA_SECURE"), std::env::var("TOLLGATE_TEST_KAFKA_CERTS"));
        let (Ok(address), Ok(certificates)) = (address, certificates) else {
            println!("skipped: TOLLGATE_TEST_KAFKA_SECURE and TOLLGATE_TEST_KAFKA_CERTS name no Kafka");
            return None;
        };
        Some(Self { kafka: Kafka::named(&address), certificates: certificates.into() })
    }

    fn pem(&self, name: &str) -> String {
        let path = self.certificates.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Attributes of the plugin for the listener at `step`.
    fn attributes(&self, step: u16, sasl: Option<(&str, &str, &str)>, tls: Option<Value>) -> Value {
        let mut broker = json!({"host": "localhost", "port": self.kafka.address().port() + step});
        if let Some((mechanism, user, password)) = sasl {
            broker["sasl_config"] = json!({"mechanism": mechanism, "user": user, "password": password});
        }
        let mut attributes = json!({"brokers": [broker], "kafka_topic": new_topic(), "batch_max_size": 1});
        if let Some(tls) = tls {
            attributes["tls"] = tls;
        }
        attributes
    }

    fn trusting(&self) -> Value {
        json!({"verify": true, "ca": self.pem("ca.pem")})
    }

    fn as_client(&self) -> Value {
        let mut tls = self.trusting();
        tls["client_cert"] = self.pem("client.crt").into();
        tls["client_key"] = self.pem("client.key").into();
        tls
    }
}

const BOB: (&str, &str, &str) = ("PLAIN", "bob", "bob-secret");
const ALICE_256: (&str, &str, &str) = ("SCRAM-SHA-256", "alice", "alice-secret");
const ALICE_512: (&str, &str, &str) = ("SCRAM-SHA-512", "alice", "alice-secret");

/// A gateway with a route for each of these, `/0` and on.
fn gateway_with(upstream: &Upstream, setup: &Setup, plugins: &[Value]) -> Gateway {
    let gateway = Gateway::start_with(setup);
    for (at, plugin) in plugins.iter().enumerate() {
        let object = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}});
        let route = json!({"uri": format!("/{at}"), "upstream": object, "plugins": {"kafka-logger": plugin}});
        gateway.admin().put(&format!("routes/{at}"), &route);
    }
    gateway
}

fn no_secret_in(log: &str) {
    for secret in ["bob-secret", "alice-secret", "wrong-secret", "PRIVATE KEY"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[test]
fn each_way_in_delivers_every_record() {
    let Some(secure) = Secure::named() else { return };
    let plugins = [
        secure.attributes(SASL, Some(BOB), None),
        secure.attributes(SASL, Some(ALICE_256), None),
        secure.attributes(SASL, Some(ALICE_512), None),
        secure.attributes(TLS, None, Some(json!({}))),
        secure.attributes(TLS, None, Some(secure.trusting())),
        secure.attributes(MUTUAL_TLS, None, Some(secure.as_client())),
        secure.attributes(EXPIRED_TLS, None, Some(json!({"verify": false}))),
        secure.attributes(SASL_TLS, Some(BOB), Some(secure.trusting())),
        secure.attributes(SASL_TLS, Some(ALICE_512), Some(secure.trusting())),
    ];
    let upstream = Upstream::saying("hello");
    let mut gateway = gateway_with(&upstream, &Setup::default(), &plugins);
    for round in 0..20 {
        for at in 0..plugins.len() {
            assert_eq!(gateway.get(&format!("/{at}")).status, 200, "round {round}");
        }
    }
    let topics: Vec<&str> = plugins.iter().map(|plugin| plugin["kafka_topic"].as_str().expect("a name")).collect();
    // Nine handshakes on one slow core can outlast the ring: what went to the spool then is for this process to send as
    // long as it runs, and for the next one afterwards.
    for topic in &topics {
        secure.kafka.wait_records(topic, 20);
    }
    gateway.terminate();
    assert_eq!(gateway.wait_end().code(), Some(0), "nothing is lost:\n{}", gateway.log());
    for (at, topic) in topics.iter().enumerate() {
        assert_eq!(secure.kafka.records(topic).len(), 20, "way {at}");
    }
    no_secret_in(&gateway.log());
}

#[test]
fn a_large_batch_goes_through_tls_whole() {
    let Some(secure) = Secure::named() else { return };
    let mut plugin = secure.attributes(TLS, None, Some(secure.trusting()));
    plugin["include_resp_body"] = true.into();
    // About 900 kB of array in one batch, many times what one TLS record holds.
    (plugin["batch_max_size"], plugin["inactive_timeout"]) = (100.into(), 1.into());
    let topic = plugin["kafka_topic"].as_str().expect("a name").to_owned();
    let upstream = Upstream::start(|_| ok("x".repeat(100_000)));
    let mut gateway = gateway_with(&upstream, &Setup::default(), &[plugin]);
    for _ in 0..40 {
        assert_eq!(gateway.get("/0").status, 200);
    }
    gateway.terminate();
    assert_eq!(gateway.wait_end().code(), Some(0), "nothing is lost:\n{}", gateway.log());
    let found = crate::support::kafka::entries(&secure.kafka.records(&topic));
    assert_eq!(found.iter().filter_map(Value::as_array).map(Vec::len).sum::<usize>(), 40);
    assert!(found.len() < 10, "{} messages are no large ones", found.len());
}

#[test]
fn what_is_refused_is_said_with_the_broker_and_what_to_do_and_requests_go_on() {
    let Some(secure) = Secure::named() else { return };
    let other = json!({"verify": true, "ca": secure.pem("client.crt")});
    let cases = [
        (
            secure.attributes(SASL, Some(("PLAIN", "bob", "wrong-secret")), None),
            "failed to do PLAIN auth with localhost:PORT: Authentication failed: Invalid username or password",
        ),
        (
            secure.attributes(SASL, Some(("SCRAM-SHA-512", "alice", "wrong-secret")), None),
            "failed to do SCRAM-SHA-512 auth with localhost:PORT: Authentication failed",
        ),
        (
            secure.attributes(SASL_TLS, Some(("SCRAM-SHA-256", "nobody", "wrong-secret")), Some(json!({}))),
            "failed to do SCRAM-SHA-256 auth with localhost:PORT: Authentication failed",
        ),
        (
            secure.attributes(TLS, None, Some(json!({"verify": true}))),
            "failed to do SSL handshake with localhost:PORT: localhost's certificate is signed by an authority that is not trusted here",
        ),
        (secure.attributes(TLS, None, Some(other)), "failed to do SSL handshake with localhost:PORT: "),
        (
            secure.attributes(EXPIRED_TLS, None, Some(secure.trusting())),
            "failed to do SSL handshake with localhost:PORT: localhost's certificate has expired",
        ),
        (
            secure.attributes(MUTUAL_TLS, None, Some(secure.trusting())),
            "the broker asks for a client certificate that it trusts",
        ),
        (secure.attributes(0, None, Some(json!({}))), "failed to do SSL handshake with localhost:PORT: "),
        (
            secure.attributes(0, Some(BOB), None),
            "failed to do PLAIN auth with localhost:PORT: this listener has no SASL",
        ),
        (secure.attributes(SASL, None, None), "does this listener want SASL?"),
        (secure.attributes(TLS, None, None), "this listener speaks TLS"),
    ];
    let plugins: Vec<Value> = cases.iter().map(|(plugin, _)| plugin.clone()).collect();
    let upstream = Upstream::saying("hello");
    let setup = Setup::with(json!({"tollgate": {"shutdown_timeout_ms": 1000}}));
    let mut gateway = gateway_with(&upstream, &setup, &plugins);
    for _ in 0..3 {
        for at in 0..cases.len() {
            assert_eq!(gateway.get(&format!("/{at}")).status, 200);
        }
    }
    for (plugin, expected) in &cases {
        let port = plugin["brokers"][0]["port"].to_string();
        let expected = expected.replace("PORT", &port);
        let is_said = |log: String| log.lines().any(|line| line.contains(&expected) && line.contains(&port));
        let said = wait_until(Duration::from_secs(15), || is_said(gateway.log()).then_some(()));
        assert!(said.is_some(), "not said: {expected}\n{}", gateway.log());
    }
    let errors = gateway.log().lines().filter(|line| line.contains("all brokers failed")).count();
    assert_eq!(errors, cases.len(), "each is said once:\n{}", gateway.log());
    gateway.terminate();
    assert_eq!(gateway.wait_end().code(), Some(0), "the records are kept");
    no_secret_in(&gateway.log());
}

#[test]
fn sessions_are_renewed_under_load_and_no_connection_is_lost() {
    let Some(secure) = Secure::named() else { return };
    let plugins = [
        secure.attributes(SASL, Some(BOB), None),
        secure.attributes(SASL, Some(ALICE_256), None),
        secure.attributes(SASL_TLS, Some(ALICE_512), Some(secure.trusting())),
    ];
    let upstream = Upstream::saying("hello");
    let mut gateway = gateway_with(&upstream, &Setup { metrics: true, ..Setup::default() }, &plugins);
    let mut rounds = 0;
    let begin = Instant::now();
    // Two sessions and a bit: without a renewal the broker closes the connection at the first request behind their end.
    while begin.elapsed() < SESSION * 5 / 2 {
        for at in 0..plugins.len() {
            assert_eq!(gateway.get(&format!("/{at}")).status, 200);
        }
        rounds += 1;
    }
    wait_for("everything is acknowledged", || (gateway.metric("tollgate_log_entries_held") == 0).then_some(()));
    assert_eq!(gateway.metric("tollgate_kafka_batches_retried_total"), 0, "a lost connection sends batches again");
    gateway.terminate();
    assert_eq!(gateway.wait_end().code(), Some(0), "nothing is lost:\n{}", gateway.log());
    for plugin in &plugins {
        let topic = plugin["kafka_topic"].as_str().expect("a name");
        assert_eq!(secure.kafka.records(topic).len(), rounds, "{topic}");
    }
    let log = gateway.log();
    assert!(!log.contains("ERROR") && !log.contains("failed"), "{log}");
}

#[test]
fn a_listener_that_never_answers_the_tls_handshake_is_left_in_time_and_requests_go_on() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let plugin = json!({"brokers": [{"host": "127.0.0.1", "port": port}], "tls": {}, "kafka_topic": new_topic(), "batch_max_size": 1});
    let upstream = Upstream::saying("hello");
    let setup = Setup::with(json!({"tollgate": {"shutdown_timeout_ms": 1000, "kafka": {"connect_timeout_ms": 300}}}));
    let mut gateway = gateway_with(&upstream, &setup, &[plugin]);
    for _ in 0..20 {
        assert_eq!(gateway.get("/0").status, 200);
    }
    wait_for("it is said", || gateway.log().contains("no answer in time").then_some(()));
    // It is tried again: each time the one before was let go.
    listener.set_nonblocking(true).expect("a socket");
    let mut taken = Vec::new();
    wait_for("more tries", || {
        taken.extend(listener.accept().ok());
        (taken.len() >= 4).then_some(())
    });
    for (mut one, _) in taken.into_iter().take(3) {
        one.set_nonblocking(false).and_then(|()| one.set_read_timeout(Some(PATIENCE))).expect("a socket");
        let mut said = Vec::new();
        one.read_to_end(&mut said).expect("let go within the connect timeout");
        assert_eq!(said.first(), Some(&0x16), "a TLS handshake was begun");
    }
    gateway.terminate();
    assert_eq!(gateway.wait_end().code(), Some(0), "the records are kept");
}

/// `tollgate topics` with these words and the password in the environment.
fn topics(secure: &Secure, step: u16, words: &[&str], password: &str) -> (bool, String) {
    let address = format!("localhost:{}", secure.kafka.address().port() + step);
    let out = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["topics", "--kafka", &address, "--internal"])
        .args(words)
        .env("SECRET", password)
        .output()
        .expect("cargo built it");
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

#[test]
fn the_commands_that_read_get_in_as_the_gateway_does_and_say_why_not() {
    let Some(secure) = Secure::named() else { return };
    let path = |name: &str| secure.certificates.join(name).to_string_lossy().into_owned();
    let (authority, certificate, key) = (path("ca.pem"), path("client.crt"), path("client.key"));
    let bob = ["--user", "bob", "--password-env", "SECRET"];
    let alice = ["--user", "alice", "--password-env", "SECRET", "--sasl-mechanism", "SCRAM-SHA-512"];
    let trust = ["--tls-ca", authority.as_str()];
    let own = ["--tls-cert", certificate.as_str(), "--tls-key", key.as_str()];
    for (step, words, password) in [
        (SASL, bob.to_vec(), "bob-secret"),
        (SASL, alice.to_vec(), "alice-secret"),
        (TLS, trust.to_vec(), ""),
        (EXPIRED_TLS, vec!["--tls-no-verify"], ""),
        (MUTUAL_TLS, [&trust[..], &own].concat(), ""),
        (SASL_TLS, [&trust[..], &alice].concat(), "alice-secret"),
    ] {
        let (good, said) = topics(&secure, step, &words, password);
        assert!(good, "{words:?}: {said}");
    }
    for (step, words, expected) in [
        (SASL, bob.to_vec(), "failed to do PLAIN auth with localhost:"),
        (SASL, alice.to_vec(), "failed to do SCRAM-SHA-512 auth with localhost:"),
        (SASL, vec![], "does it want SASL"),
        (TLS, vec![], "speaks TLS"),
        (TLS, vec!["--tls-ca", certificate.as_str()], "failed to do SSL handshake with localhost:"),
        (EXPIRED_TLS, trust.to_vec(), "has expired"),
        (MUTUAL_TLS, trust.to_vec(), "asks for a client certificate"),
        (0, trust.to_vec(), "is it a TLS listener?"),
    ] {
        let (good, said) = topics(&secure, step, &words, "wrong-secret");
        assert!(!good && said.contains(expected) && !said.contains("wrong-secret"), "{words:?}: {said}");
    }
}

#[test]
fn a_corrected_password_takes_along_what_was_held() {
    let Some(secure) = Secure::named() else { return };
    let plugin = secure.attributes(SASL, Some(("PLAIN", "bob", "wrong-secret")), None);
    let upstream = Upstream::saying("hello");
    let mut gateway = gateway_with(&upstream, &Setup::default(), std::slice::from_ref(&plugin));
    assert_eq!(gateway.get("/0").status, 200);
    wait_for("it is said", || gateway.log().contains("failed to do PLAIN auth").then_some(()));
    let mut right = plugin.clone();
    right["brokers"][0]["sasl_config"]["password"] = "bob-secret".into();
    let object = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}});
    gateway.admin().put("routes/0", &json!({"uri": "/0", "upstream": object, "plugins": {"kafka-logger": right}}));
    assert_eq!(gateway.get("/0").status, 200);
    wait_for("it is said again", || gateway.log().contains("answer again").then_some(()));
    gateway.terminate();
    assert_eq!(gateway.wait_end().code(), Some(0), "nothing is lost:\n{}", gateway.log());
    assert_eq!(secure.kafka.records(plugin["kafka_topic"].as_str().expect("a name")).len(), 2);
}

#[test]
fn files_of_the_configuration_are_the_certificates_where_a_route_names_none() {
    let Some(secure) = Secure::named() else { return };
    let path = |name: &str| secure.certificates.join(name).to_string_lossy().into_owned();
    let setup = Setup::with(json!({
        "apisix": {"ssl": {"ssl_trusted_certificate": format!("system,{}", path("ca.pem"))}},
        "tollgate": {"kafka": {"tls_client_cert_file": path("client.crt"), "tls_client_key_file": path("client.key")}},
    }));
    let plugin = secure.attributes(MUTUAL_TLS, None, Some(json!({"verify": true})));
    let topic = plugin["kafka_topic"].as_str().expect("a name").to_owned();
    let upstream = Upstream::saying("hello");
    let mut gateway = gateway_with(&upstream, &setup, &[plugin]);
    assert_eq!(gateway.get("/0").status, 200);
    gateway.terminate();
    assert_eq!(gateway.wait_end().code(), Some(0), "nothing is lost:\n{}", gateway.log());
    assert_eq!(secure.kafka.records(&topic).len(), 1);
}
