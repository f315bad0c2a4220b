//! Wrong configurations and brokers that are none: requests go on being served, the log says it once, the running configuration
//! stays, and records arrive once it is put right.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Logged;
use crate::support::admin::KEY;
use crate::support::client::{Client, get};
use crate::support::kafka::new_topic;
use crate::support::upstream::Refusing;
use crate::support::{Setup, Upstream, wait_for};

/// How long the log is watched for repetitions of what it said.
const WATCH: Duration = Duration::from_millis(1_500);
/// Bytes that are over the Admin API's limit for a body (1.5 MiB).
const TOO_LARGE: usize = 1_572_865;

/// Requests are served while `brokers` are wrong, one line of the log says what is wrong with them (all of `said` stands in it),
/// and the corrected route's records arrive.
fn wrong_brokers(brokers: &Value, said: &[&str]) {
    let setup = Setup::with(json!({"tollgate": {"shutdown_timeout_ms": 500}}));
    let logged = Logged::without_route(&setup, Upstream::saying("hello"));
    let wrong = json!({"brokers": brokers, "kafka_topic": new_topic(), "log_format": {"uri": "$uri"}});
    logged.put_route(&wrong);
    let mut client = logged.gateway.connect();
    let mut request = |path: &str| {
        let begin = Instant::now();
        assert_eq!(client.exchange(get(path)).status, 200);
        assert!(begin.elapsed() < Duration::from_secs(3), "{path} took {:?}", begin.elapsed());
    };
    request("/wrong");
    let of_trouble = |level: &str| {
        let log = logged.gateway.log();
        log.lines().filter(|line| line.contains(level)).map(str::to_owned).collect::<Vec<_>>()
    };
    let line = wait_for("the log says it", || of_trouble(" ERROR ").first().cloned());
    assert!(said.iter().all(|text| line.contains(text)), "{line}");
    let watched = Instant::now();
    while watched.elapsed() < WATCH {
        request("/wrong");
        std::thread::sleep(Duration::from_millis(50));
    }
    let lines = [of_trouble(" ERROR "), of_trouble(" WARN ")].concat();
    assert_eq!(lines.len(), 1, "one line, not a flood: {lines:#?}");
    logged.put_route(&json!({"log_format": {"uri": "$uri"}}));
    request("/right");
    let records = logged.kafka.wait_records(&logged.topic, 1);
    assert_eq!(crate::support::kafka::entries(&records), [json!({"uri": "/right", "route_id": "r1"})]);
    request("/still-served");
}

/// `brokers` of the plugin.
fn at(address: SocketAddr) -> Value {
    json!([{"host": address.ip().to_string(), "port": address.port()}])
}

#[test]
fn a_broker_name_that_does_not_resolve_is_said_once() {
    let brokers = json!([{"host": "no-such-broker.invalid", "port": 9092}]);
    wrong_brokers(&brokers, &["no-such-broker.invalid:9092", "all brokers failed"]);
}

#[test]
fn brokers_that_refuse_connections_are_said_once() {
    let (one, two) = (Refusing::new(), Refusing::new());
    let port = |refusing: &Refusing| refusing.node().parse::<SocketAddr>().expect("an address").port();
    let brokers = json!([{"host": "127.0.0.1", "port": port(&one)}, {"host": "127.0.0.1", "port": port(&two)}]);
    wrong_brokers(&brokers, &[&one.node(), &two.node(), "refused"]);
}

#[test]
fn a_web_server_is_no_broker_and_that_is_said_once() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = server.local_addr().expect("bound");
    answer_each(server, |_| b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec());
    wrong_brokers(&at(address), &[&address.to_string(), "not Kafka's"]);
}

#[test]
fn what_repeats_everything_is_no_broker_and_that_is_said_once() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = server.local_addr().expect("bound");
    answer_each(server, <[u8]>::to_vec);
    wrong_brokers(&at(address), &[&address.to_string(), "not Kafka's"]);
}

/// Answers everything that is read on any connection, until the process ends.
fn answer_each(server: TcpListener, answer: fn(&[u8]) -> Vec<u8>) {
    std::thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count) = stream.read(&mut buffer)
                    && count > 0
                    && stream.write_all(&answer(&buffer[..count])).is_ok()
                {}
            });
        }
    });
}

#[test]
fn a_good_broker_behind_a_dead_one_and_a_wrong_one_is_found() {
    let (dead, wrong) = (Refusing::new(), Upstream::saying("this is HTTP"));
    let logged = Logged::without_route(&Setup::default(), Upstream::saying("hello"));
    let port = |node: String| node.parse::<SocketAddr>().expect("an address").port();
    let good = logged.kafka.address();
    let brokers = json!([
        {"host": "127.0.0.1", "port": port(dead.node())},
        {"host": "127.0.0.1", "port": port(wrong.node())},
        {"host": good.ip().to_string(), "port": good.port()},
    ]);
    logged.put_route(&json!({"brokers": brokers}));
    assert_eq!(logged.gateway.get("/").status, 200);
    logged.kafka.wait_records(&logged.topic, 1);
    assert_eq!(logged.finish().len(), 1);
}

/// PUTs exact bytes as the route; status and body of the answer.
fn put_raw(logged: &Logged, body: &[u8]) -> (u16, String) {
    let head = format!(
        "PUT /apisix/admin/routes/r1 HTTP/1.1\r\nHost: admin\r\nX-API-KEY: {KEY}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let response = Client::connect(logged.gateway.admin().address()).send(head).exchange(body);
    (response.status, response.text())
}

#[test]
fn a_refused_change_leaves_what_runs_as_it_was() {
    let logged = Logged::with(&json!({"log_format": {"uri": "$uri"}, "key": "k"}));
    let both = logged.attributes(&json!({"broker_list": logged.kafka.broker_list()}));
    let route = |plugins: Value| logged.route(&json!({"plugins": plugins})).to_string();
    let plugin = |more: Value| route(logged.plugins(&more));
    let with_filling = logged.route(&json!({"desc": "x".repeat(TOO_LARGE)})).to_string();
    let cases: [(String, &str); 9] = [
        ("{\"uri\":".to_owned(), "invalid request body"),
        ("[]".to_owned(), ""),
        (route(json!({"kafka-loger": {}})), "unknown plugin [kafka-loger]"),
        (route(json!({"kafka-logger": both})), "value should match only one schema, but matches both schemas 1 and 2"),
        (plugin(json!({"brokers": []})), "expect array to have at least 1 items"),
        (plugin(json!({"kafka_topic": 5})), "wrong type: expected string, got number"),
        (plugin(json!({"required_acks": 0})), "matches none of the enum values"),
        (
            plugin(json!({"include_req_body": true, "include_req_body_expr": [["status", "<>", 1]]})),
            "include_req_body_expr",
        ),
        (with_filling, "maximum"),
    ];
    let mut client = logged.gateway.connect();
    for (number, (body, text)) in cases.iter().enumerate() {
        let (status, answer) = put_raw(&logged, body.as_bytes());
        assert!((status == 400 || status == 413) && answer.contains(text), "{status} {answer} to {:.200}", body);
        assert_eq!(client.exchange(get(&format!("/{number}"))).status, 200);
    }
    let unknown = logged.gateway.admin().call("GET", "routes/unknown", None);
    assert_eq!(unknown.0, 404, "{}", unknown.1);
    let found: Vec<String> = logged.finish_entries().iter().map(|entry| entry["uri"].to_string()).collect();
    assert_eq!(found, (0..cases.len()).map(|number| format!("\"/{number}\"")).collect::<Vec<_>>());
}
