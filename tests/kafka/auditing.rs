//! `tollgate audit`: what a real gateway wrote is complete; what was lost, copied or moved on purpose is named, number by number.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::Command;
use std::sync::Arc;

use devbroker::batch::make::{NOBODY, packed, zigzag};
use devbroker::{Api, Broker, Options};
use serde_json::{Value, json};
use tollgate::control::audit::{AuditArgs, Verdict, audit};
use tollgate::control::records::{Access, From, KafkaReader, Record};
use tollgate::kafka::trace::{HEADER_NAME, Stamp};

use crate::support::client::get;
use crate::support::kafka::new_topic;
use crate::support::{Gateway, Kafka, Setup, Upstream, wait_for};

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

fn audited(broker: &Broker, topic: &str, json: bool) -> (Verdict, String) {
    let brokers = vec![broker.addr().to_string()];
    let args = AuditArgs { brokers, access: Access::default(), topic: topic.into(), from: From::Beginning, json };
    let mut out = Vec::new();
    let verdict = run(audit(args, &mut out, &mut |_| {})).expect("it can be read");
    (verdict, String::from_utf8(out).expect("text"))
}

fn report(broker: &Broker, topic: &str) -> (Verdict, Value) {
    let (verdict, text) = audited(broker, topic, true);
    (verdict, serde_json::from_str(&text).expect("JSON"))
}

/// All messages of a topic, by partition.
fn messages(broker: &Broker, topic: &str) -> BTreeMap<i32, Vec<Record>> {
    let mut found: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    run(async {
        let mut reader = KafkaReader::connect(&[("127.0.0.1", broker.addr().port())]).await.expect("a broker");
        let each = &mut |record: Record| {
            found.entry(record.partition).or_default().push(record);
            ControlFlow::Continue(())
        };
        reader.tail(topic, From::Beginning, false, each).await.expect("a topic");
    });
    found
}

fn stamp(record: &Record) -> Stamp {
    let (_, value) = record.headers.iter().find(|(name, _)| name == HEADER_NAME).expect("every message has one");
    Stamp::parse(value.as_deref().expect("not null")).expect("ours")
}

fn field(into: &mut Vec<u8>, bytes: &[u8]) {
    zigzag(into, bytes.len() as i64);
    into.extend_from_slice(bytes);
}

/// One message in a batch of its own, with the headers it is given.
fn append(broker: &Broker, topic: &str, partition: i32, timestamp_ms: i64, headers: &[(&str, &[u8])]) {
    let mut record = vec![0, 0, 0, 1];
    field(&mut record, b"{}");
    zigzag(&mut record, headers.len() as i64);
    for (name, value) in headers {
        field(&mut record, name.as_bytes());
        field(&mut record, value);
    }
    let mut framed = Vec::new();
    field(&mut framed, &record);
    broker.append(topic, partition, &packed(NOBODY, timestamp_ms, 1, 0, &framed), i64::MAX).expect("room");
}

fn copy(broker: &Broker, topic: &str, partition: i32, record: &Record) {
    let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default()));
    append(broker, topic, partition, record.timestamp_ms, &headers.collect::<Vec<_>>());
}

/// Numbers `first` to `last` of one stream in one message.
fn write(broker: &Broker, topic: &str, partition: i32, first: u64, last: u64) {
    let value = format!("00000000000000aa/bb/0/0/{first}+{}", last + 1 - first);
    append(broker, topic, partition, 1_700_000_000_000 + first as i64, &[(HEADER_NAME, value.as_bytes())]);
}

fn broker(partitions: i32) -> Broker {
    let broker = Broker::start(Options::default()).expect("a free port");
    broker.create_topic("t", partitions).expect("new");
    broker
}

/// A gateway of two cores that has logged `requests` over as many connections, to three partitions.
struct Logged {
    gateway: Gateway,
    broker: Arc<Broker>,
    topic: String,
    _upstream: Upstream,
}

impl Logged {
    fn with(config: &Value, plugin: &Value) -> Self {
        let kafka = Kafka::dev(Options { partitions: 3, ..Options::default() });
        let (topic, upstream) = (new_topic(), Upstream::saying("hello"));
        let gateway = Gateway::start_with(&Setup { workers: 2, ..Setup::with(config.clone()) });
        let mut attributes = json!({"brokers": kafka.brokers(), "kafka_topic": topic, "batch_max_size": 1});
        attributes.as_object_mut().expect("attributes").extend(plugin.as_object().expect("attributes").clone());
        let nodes = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}});
        let route = json!({"uri": "/*", "upstream": nodes, "plugins": {"kafka-logger": attributes}});
        gateway.admin().put("routes/r1", &route);
        Self { gateway, broker: kafka.dev_broker(), topic, _upstream: upstream }
    }

    fn send(&self, requests: usize) {
        for connection in 0..8 {
            let mut client = self.gateway.connect();
            for number in (connection..requests).step_by(8) {
                assert_eq!(client.exchange(get(&format!("/?n={number}"))).status, 200);
            }
        }
    }

    fn stop(&mut self) {
        self.gateway.terminate();
        assert_eq!(self.gateway.wait_end().code(), Some(0), "{}", self.gateway.log());
    }
}

#[test]
fn what_a_gateway_wrote_is_complete_message_by_message_and_in_arrays() {
    let arrays = json!({"batch_max_size": 7, "inactive_timeout": 60, "compression": "lz4"});
    for (plugin, at_most) in
        [(json!({}), 203), (json!({"compression": "zstd", "key": "k"}), 203), (arrays, 203 / 7 + 4)]
    {
        let mut logged = Logged::with(&json!({"tollgate": {"kafka": {"sticky_bytes": 2_000}}}), &plugin);
        logged.send(203);
        logged.stop();
        let (verdict, found) = report(&logged.broker, &logged.topic);
        assert_eq!((verdict, &found["entries"]), (Verdict::Complete, &json!(203)), "{plugin}: {found}");
        assert!(found["messages"].as_u64().is_some_and(|count| count <= at_most), "{found}");
        let streams = found["streams"].as_array().expect("streams");
        assert!((1..=2).contains(&streams.len()), "one lane on each core: {found}");
        assert!(streams.iter().all(|stream| stream["first"] == 0 && stream["begins_at"].is_null()), "{found}");
        let (_, text) = audited(&logged.broker, &logged.topic, false);
        assert!(text.contains(": complete: ") && text.contains("203 entries"), "{text}");
    }
}

#[test]
fn a_gateway_that_was_killed_goes_on_under_its_id_as_another_start() {
    let mut logged = Logged::with(&json!({}), &json!({}));
    logged.send(16);
    let delivered = || messages(&logged.broker, &logged.topic).values().map(Vec::len).sum::<usize>();
    wait_for("all are in Kafka", || (delivered() == 16).then_some(()));
    logged.gateway.crash_and_restart();
    logged.send(8);
    logged.stop();
    let all = messages(&logged.broker, &logged.topic).into_values().flatten().collect::<Vec<_>>();
    let streams = all.iter().map(|record| stamp(record).stream).collect::<std::collections::BTreeSet<_>>();
    let gateways = streams.iter().map(|stream| stream.gateway).collect::<std::collections::BTreeSet<_>>();
    let starts = streams.iter().map(|stream| stream.start).collect::<std::collections::BTreeSet<_>>();
    assert_eq!((all.len(), gateways.len(), starts.len()), (24, 1, 2));
    assert_eq!(report(&logged.broker, &logged.topic).0, Verdict::Complete);
}

#[test]
fn headers_are_off_by_choice_and_then_nothing_can_be_said() {
    let mut logged = Logged::with(&json!({"tollgate": {"kafka": {"record_headers": false}}}), &json!({}));
    logged.send(5);
    logged.stop();
    let (verdict, found) = report(&logged.broker, &logged.topic);
    assert_eq!((verdict, &found["without_header"]["messages"]), (Verdict::Unknown, &json!(5)), "{found}");
    assert!(messages(&logged.broker, &logged.topic).values().flatten().all(|record| record.headers.is_empty()));
}

#[test]
fn a_lost_and_a_copied_message_of_a_gateway_are_named() {
    let mut logged = Logged::with(&json!({}), &json!({"batch_max_size": 4, "inactive_timeout": 60}));
    logged.send(120);
    logged.stop();
    let broker = &logged.broker;
    broker.create_topic("spoilt", 3).expect("new");
    let parts = messages(broker, &logged.topic);
    // The longest stream: lose its third message, copy its second to the end of another partition.
    let all: Vec<(i32, &Record)> =
        parts.iter().flat_map(|(at, part)| part.iter().map(|record| (*at, record))).collect();
    let count = |of: Stamp| all.iter().filter(|(_, record)| stamp(record).stream == of.stream).count();
    let stream = all.iter().map(|(_, record)| stamp(record)).max_by_key(|of| count(*of)).expect("some").stream;
    let mut of_stream: Vec<Stamp> =
        all.iter().map(|(_, record)| stamp(record)).filter(|of| of.stream == stream).collect();
    of_stream.sort_by_key(|of| of.first);
    let (copied, lost) = (of_stream[1], of_stream[2]);
    for (partition, record) in all.iter().filter(|(_, record)| stamp(record) != lost) {
        copy(broker, "spoilt", *partition, record);
    }
    let record = all.iter().find(|(_, record)| stamp(record) == copied).expect("there").1;
    copy(broker, "spoilt", 2, record);
    let (_, end) = broker.offsets("spoilt", 2).expect("a topic");
    let (verdict, found) = report(broker, "spoilt");
    assert_eq!(verdict, Verdict::Broken);
    let streams = found["streams"].as_array().expect("streams");
    let named =
        streams.iter().find(|one| one["lane"] == stream.lane && one["core"] == stream.core).expect("it is there");
    let last = |of: Stamp| of.first + u64::from(of.count) - 1;
    assert_eq!(named["gaps"], json!([{"first": lost.first, "last": last(lost)}]));
    assert_eq!(named["again_entries"], copied.count);
    let again = &named["again"][0];
    assert_eq!((&again["first"], &again["last"]), (&json!(copied.first), &json!(last(copied))));
    // Which of two in different partitions counts as the copy depends on which came first from Kafka.
    let places = [(2, end - 1), (record.partition, again["first_offset"].as_i64().expect("an offset"))];
    let place =
        (again["partition"].as_i64().expect("a partition") as i32, again["first_offset"].as_i64().expect("an offset"));
    assert!(places.contains(&place), "{named}");
    let (_, text) = audited(broker, "spoilt", false);
    assert!(text.contains(&format!("missing  {} to {} (4 entries)", lost.first, last(lost))), "{text}");
    assert!(
        text.contains("NOT complete") && text.contains("4 entries missing in 1 gap, 4 entries there again"),
        "{text}"
    );
}

#[test]
fn gaps_copies_and_disorder_are_named_with_their_places() {
    let broker = broker(2);
    for (partition, first, last) in [(0, 0, 9), (1, 10, 14), (0, 20, 29), (0, 15, 17), (0, 5, 6), (1, 30, 30)] {
        write(&broker, "t", partition, first, last);
    }
    append(&broker, "t", 1, 5, &[("other", b"x"), (HEADER_NAME, b"nonsense")]);
    let (verdict, found) = report(&broker, "t");
    let stream = &found["streams"][0];
    assert_eq!((verdict, &stream["gaps"]), (Verdict::Broken, &json!([{"first": 18, "last": 19}])));
    let spot = |first, last, offset, behind| json!([{"first": first, "last": last, "partition": 0, "first_offset": offset, "last_offset": offset, "behind": behind}]);
    assert_eq!((&stream["out_of_order"], &stream["again"]), (&spot(15, 17, 2, 29), &spot(5, 6, 3, 29)));
    assert_eq!(found["without_header"], json!({"messages": 1, "first": {"partition": 1, "offset": 2}}));
    let (_, text) = audited(&broker, "t", false);
    for line in [
        "00000000000000aa/bb/0/0  started 1970-01-01T00:00:00.000Z, core 0, lane 0",
        "  0 to 30: 29 entries in 6 messages, partitions 0 1",
        "  missing  18 to 19 (2 entries)",
        "  again    5 to 6 (2 entries) at [0]@3",
        "  order    15 to 17 at [0]@2, behind 29",
        "1 message without a `tollgate` header that can be read, the first at [1]@2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn what_retention_took_from_the_front_is_where_the_stream_begins() {
    let size = packed(NOBODY, 0, 1, 0, &[0; 60]).len();
    let broker = Broker::start(Options { retention_bytes: 5 * size, ..Options::default() }).expect("a free port");
    broker.create_topic("t", 1).expect("new");
    for number in 0..20 {
        write(&broker, "t", 0, number, number);
    }
    let (begin, _) = broker.offsets("t", 0).expect("a topic");
    assert!(begin > 0);
    let (verdict, found) = report(&broker, "t");
    assert_eq!((verdict, &found["streams"][0]["begins_at"]), (Verdict::Complete, &json!(begin)), "{found}");
    write(&broker, "t", 0, 21, 21);
    assert_eq!(report(&broker, "t").1["streams"][0]["gaps"], json!([{"first": 20, "last": 20}]));
}

#[test]
fn what_was_on_its_way_to_another_partition_is_waited_for() {
    let broker = broker(2);
    write(&broker, "t", 0, 0, 4);
    write(&broker, "t", 0, 6, 9);
    let script = broker.script();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Both ends are asked for before the first record is read.
            wait_for("the ends are asked for", || (script.seen(Api::ListOffsets) >= 2).then_some(()));
            wait_for("it reads", || (script.seen(Api::Fetch) >= 1).then_some(()));
            write(&broker, "t", 1, 5, 5);
            write(&broker, "t", 1, 12, 12);
        });
        assert_eq!(report(&broker, "t").0, Verdict::Complete);
    });
}

#[test]
fn the_command_tells_complete_broken_and_unknown_by_its_exit_code() {
    let broker = broker(1);
    write(&broker, "t", 0, 0, 4);
    let command = |topic: &str, more: &[&str]| {
        let address = broker.addr().to_string();
        let words = [&["audit", topic, "--kafka", &address][..], more].concat();
        let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(words).output().expect("cargo built it");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = command("t", &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.ends_with("t: complete: 1 stream, 1 message, 5 entries, each there once and in order\n"), "{out}");
    write(&broker, "t", 0, 3, 4);
    let (code, out, _) = command("t", &["--json"]);
    assert_eq!((code, &serde_json::from_str::<Value>(&out).expect("JSON")["again"]), (Some(1), &json!(2)));
    let (code, out, _) = command("t", &["--since", "1h"]);
    assert_eq!((code, out.as_str()), (Some(0), "t: no messages\n"));
    let (code, _, err) = command("nope", &[]);
    assert!(code == Some(2) && err.contains("no topic nope"), "{err}");
    broker.create_topic("bare", 1).expect("new");
    append(&broker, "bare", 0, 5, &[]);
    let (code, out, _) = command("bare", &[]);
    assert!(code == Some(2) && out.contains("nothing can be said"), "{out}");
}
