//! A ring that is full and what happens then: the spool, a full spool, dropping, holding requests back. And what lies on disk when
//! a gateway starts: damaged, of another version, in use, not writable.

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::{LateKafka, entries};
use crate::support::{Gateway, Setup, Upstream, wait_for};

const ACCEPTED: &str = "tollgate_log_entries_accepted_total";
const DROPPED: &str = "tollgate_log_entries_dropped_total";
const SPOOLED: &str = "tollgate_spool_entries";
const SPOOL_BYTES: &str = "tollgate_spool_bytes";

/// A ring of eight slots. A busy machine's disk takes longer than one client needs to fill fewer.
fn small_ring() -> Value {
    json!({"ring": {"bytes": "512k", "slot_bytes": "64k"}, "shutdown_timeout_ms": 1_000})
}

/// One core.
fn setup(mut tollgate: Value, more: &Value) -> Setup {
    for (key, value) in more.as_object().expect("keys") {
        match (tollgate.get_mut(key).and_then(Value::as_object_mut), value) {
            (Some(into), Value::Object(from)) => into.extend(from.clone()),
            _ => tollgate[key] = value.clone(),
        }
    }
    Setup { metrics: true, ..Setup::with(json!({"tollgate": tollgate})) }
}

/// A gateway whose Kafka cannot be reached yet.
fn alone(setup: &Setup, plugin: &Value) -> (Logged, LateKafka) {
    let (logged, kafka) = (Logged::without_route(setup, Upstream::saying("hello")), LateKafka::new());
    let mut more = json!({"brokers": kafka.brokers(), "log_format": {"n": "$arg_n", "pad": "$arg_pad"}});
    more.as_object_mut().expect("an object").extend(plugin.as_object().expect("attributes").clone());
    logged.put_route(&more);
    (logged, kafka)
}

/// Sends requests with a kilobyte of record each, one after the other.
fn send(gateway: &Gateway, numbers: std::ops::Range<u64>) {
    let (mut client, pad, count) = (gateway.connect(), "x".repeat(1_000), numbers.end);
    for number in numbers {
        assert_eq!(client.exchange(get(&format!("/?n={number}&pad={pad}"))).status, 200);
    }
    let counted = || gateway.metrics([ACCEPTED, DROPPED]).iter().sum::<u64>() >= count;
    wait_for("every entry is counted", || counted().then_some(()));
}

/// The numbers in Kafka once there are so many; sees that each partition is in order.
fn numbers(logged: &Logged, count: u64) -> Vec<u64> {
    let records = logged.kafka.wait_records(&logged.topic, count as usize);
    let mut last = std::collections::BTreeMap::<i32, u64>::new();
    let mut found = Vec::new();
    for (record, entry) in records.iter().zip(entries(&records)) {
        let number: u64 = entry["n"].as_str().and_then(|text| text.parse().ok()).expect("a number");
        let before = last.insert(record.partition, number);
        assert!(before.is_none_or(|before| before < number), "{before:?} before {number}\n{}", logged.gateway.log());
        found.push(number);
    }
    found.sort_unstable();
    found
}

fn lines(gateway: &Gateway, text: &str) -> usize {
    gateway.log().lines().filter(|line| line.contains(text)).count()
}

fn spool(gateway: &Gateway, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("spool").args(words).arg("--config").arg(gateway.config()).output().expect("cargo built it")
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].iter().map(|bytes| String::from_utf8_lossy(bytes)).collect()
}

/// Files below a directory whose name ends so.
fn files(path: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn segments(gateway: &Gateway) -> Vec<PathBuf> {
    files(&gateway.place().join("data/spool"), "seg")
}

#[test]
fn what_does_not_fit_into_a_small_ring_goes_to_the_spool_and_comes_back_in_order() {
    let (mut logged, kafka) = alone(&setup(small_ring(), &json!({})), &json!({}));
    send(&logged.gateway, 0..1_500);
    // How many is the disk's matter; the shipper's own tests say that none is dropped behind one that is fast enough.
    let dropped = logged.gateway.metric(DROPPED);
    assert!(dropped < 300, "{dropped} are dropped:\n{}", logged.gateway.log());
    assert!(logged.gateway.metric(SPOOLED) > 600, "{}", logged.gateway.metric(SPOOLED));
    let listed = text(&spool(&logged.gateway, &["ls"]));
    assert!(listed.contains(&logged.topic), "{listed}");
    assert_eq!(lines(&logged.gateway, "they go to the spool on disk"), 1, "{}", logged.gateway.log());
    kafka.open(&logged.kafka);
    send(&logged.gateway, 1_500..1_600);
    let accepted = logged.gateway.metric(ACCEPTED);
    assert_eq!(numbers(&logged, accepted).len() as u64, accepted);
    wait_for("the spool is empty", || (logged.gateway.metric(SPOOL_BYTES) == 0).then_some(()));
    assert_eq!(segments(&logged.gateway), Vec::<PathBuf>::new());
    logged.gateway.terminate();
    assert_eq!(logged.gateway.wait_end().code(), Some(i32::from(accepted < 1_600)));
    assert_eq!(numbers(&logged, accepted).len() as u64, accepted);
}

#[test]
fn a_full_spool_drops_the_newest_says_it_once_and_delivers_the_rest() {
    let (mut logged, kafka) = alone(&setup(small_ring(), &json!({"spool": {"bytes": "1m"}})), &json!({}));
    send(&logged.gateway, 0..3_000);
    let [accepted, dropped] = logged.gateway.metrics([ACCEPTED, DROPPED]);
    assert!(accepted > 800 && dropped > 1_000, "{accepted} and {dropped}");
    assert_eq!(logged.gateway.metric("tollgate_spool_full"), 1);
    assert_eq!(lines(&logged.gateway, "the spool takes nothing more"), 1, "{}", logged.gateway.log());
    assert!((1..=20).contains(&lines(&logged.gateway, "buffer overflow")), "once a second at most");
    kafka.open(&logged.kafka);
    let found = numbers(&logged, accepted);
    assert_eq!(found.len() as u64, accepted);
    assert!(found.iter().take(300).copied().eq(0..300), "the oldest are there");
    wait_for("the spool is empty", || (logged.gateway.metric(SPOOL_BYTES) == 0).then_some(()));
    logged.gateway.terminate();
    assert_eq!(logged.gateway.wait_end().code(), Some(1), "some were dropped");
    assert_eq!(numbers(&logged, accepted), found);
}

#[test]
fn a_ring_without_a_spool_behind_it_by_the_loggers_choice_drops_the_newest() {
    let (mut logged, kafka) = alone(&setup(small_ring(), &json!({})), &json!({"overflow": "drop_newest"}));
    send(&logged.gateway, 0..1_500);
    let [accepted, dropped] = logged.gateway.metrics([ACCEPTED, DROPPED]);
    assert!(accepted > 50 && dropped > 500, "{accepted} and {dropped}");
    assert_eq!(logged.gateway.metric(SPOOLED), 0);
    kafka.open(&logged.kafka);
    assert_eq!(numbers(&logged, accepted).len() as u64, accepted);
    logged.gateway.terminate();
    assert_eq!(logged.gateway.wait_end().code(), Some(1), "some were dropped");
}

#[test]
fn backpressure_holds_requests_back_and_drops_nothing() {
    let (mut logged, kafka) = alone(&setup(small_ring(), &json!({})), &json!({"overflow": "backpressure"}));
    let (address, done) = (logged.gateway.address(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, pad) = (crate::support::Client::connect(address), "x".repeat(1_000));
            for number in 0..1_000 {
                assert_eq!(client.exchange(get(&format!("/?n={number}&pad={pad}"))).status, 200);
                done.store(number + 1, Ordering::Relaxed);
            }
        });
        let held_back = || logged.gateway.metric("tollgate_requests_held_back_total") > 0;
        wait_for("a request is held back", || held_back().then_some(()));
        assert!(done.load(Ordering::Relaxed) < 1_000, "it waits");
        kafka.open(&logged.kafka);
    });
    logged.stop();
    assert_eq!(numbers(&logged, 1_000), (0..1_000).collect::<Vec<u64>>());
}

#[test]
fn a_second_sigterm_ends_it_at_once_and_the_next_start_delivers() {
    let slow = json!({"shutdown_timeout_ms": 60_000});
    let (mut logged, kafka) = alone(&setup(small_ring(), &slow), &json!({}));
    send(&logged.gateway, 0..400);
    logged.gateway.terminate();
    wait_for("it stops", || (lines(&logged.gateway, "stopping: ") == 1).then_some(()));
    logged.gateway.terminate();
    let status = logged.gateway.wait_end();
    assert_eq!(status.code(), Some(0), "nothing is lost:\n{}", logged.gateway.log());
    kafka.open(&logged.kafka);
    logged.gateway.restart_with(&setup(small_ring(), &json!({})));
    assert_eq!(numbers(&logged, 400), (0..400).collect::<Vec<u64>>());
    logged.stop();
    assert_eq!(numbers(&logged, 400).len(), 400);
}

#[test]
fn what_a_stopped_gateway_left_needs_no_ring() {
    let (mut logged, kafka) = alone(&setup(small_ring(), &json!({})), &json!({}));
    send(&logged.gateway, 0..300);
    logged.stop();
    let _ = fs::remove_dir_all(logged.gateway.place().join("ring"));
    kafka.open(&logged.kafka);
    logged.gateway.restart_with(&setup(small_ring(), &json!({})));
    assert_eq!(numbers(&logged, 300), (0..300).collect::<Vec<u64>>());
}

#[test]
fn a_spool_behind_a_ring_in_memory_keeps_what_sigterm_leaves() {
    let memory = setup(small_ring(), &json!({"ring": {"path": "none"}}));
    let (mut logged, kafka) = alone(&memory, &json!({}));
    send(&logged.gateway, 0..40);
    assert_eq!(logged.gateway.metric(SPOOLED), 0, "it fits into the ring");
    logged.stop();
    let said = "what Kafka did not take in time is kept in the spool";
    assert_eq!(
        (lines(&logged.gateway, said), lines(&logged.gateway, "too slowly")),
        (1, 0),
        "{}",
        logged.gateway.log()
    );
    kafka.open(&logged.kafka);
    logged.gateway.restart_with(&memory);
    assert_eq!(numbers(&logged, 40), (0..40).collect::<Vec<u64>>());
}

#[test]
fn without_a_spool_nothing_outlives_the_process_and_sigterm_says_how_much_is_lost() {
    let (mut logged, _kafka) = alone(&setup(small_ring(), &json!({"spool": {"path": "none"}})), &json!({}));
    send(&logged.gateway, 0..30);
    logged.gateway.terminate();
    assert_eq!(logged.gateway.wait_end().code(), Some(1));
    assert_eq!(lines(&logged.gateway, "30 log entries did not reach Kafka"), 1, "{}", logged.gateway.log());
    let output = spool(&logged.gateway, &["ls"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("there is no spool"), "{}", text(&output));
}

#[test]
fn a_ring_file_of_another_version_is_left_alone_and_the_start_says_what_to_do() {
    let (mut logged, kafka) = alone(&setup(small_ring(), &json!({})), &json!({}));
    send(&logged.gateway, 0..20);
    // Nobody writes its lane down again.
    logged.gateway.admin().delete("routes/r1");
    logged.gateway.crash();
    let rings = files(&logged.gateway.place().join("ring"), "ring");
    assert_eq!(rings.len(), 1, "{rings:?}");
    let ring = OpenOptions::new().read(true).write(true).open(&rings[0]).expect("ours");
    let mut version = [0; 4];
    ring.read_exact_at(&mut version, 8).expect("a header");
    ring.write_all_at(&(u32::from_be_bytes(version) + 1).to_be_bytes(), 8).expect("ours");
    logged.gateway.restart_with(&setup(small_ring(), &json!({})));
    let said = "a ring of another version";
    let line =
        wait_for("it is said", || logged.gateway.log().lines().find(|line| line.contains(said)).map(str::to_owned));
    assert!(line.contains("start that version once"), "{line}");
    assert!(rings[0].exists(), "it is left alone");
    // Its own version delivers it.
    logged.gateway.crash();
    ring.write_all_at(&version, 8).expect("ours");
    kafka.open(&logged.kafka);
    logged.gateway.restart_with(&setup(small_ring(), &json!({})));
    assert_eq!(numbers(&logged, 20), (0..20).collect::<Vec<u64>>());
    assert!(!rings[0].exists());
}

#[test]
fn a_spool_that_cannot_be_written_is_a_warning_and_requests_go_on() {
    // Below a file: no permission of any user makes a directory there.
    let file = std::env::temp_dir().join(format!("tollgate-test-no-directory-{}", std::process::id()));
    fs::write(&file, "").expect("a file");
    let spool = json!({"spool": {"path": file.join("spool").to_string_lossy()}});
    let (mut logged, kafka) = alone(&setup(small_ring(), &spool), &json!({}));
    assert_eq!(lines(&logged.gateway, "no spool: "), 1, "{}", logged.gateway.log());
    assert_eq!(lines(&logged.gateway, "tollgate.spool.path must be a directory"), 1, "{}", logged.gateway.log());
    send(&logged.gateway, 0..30);
    kafka.open(&logged.kafka);
    assert_eq!(numbers(&logged, 30), (0..30).collect::<Vec<u64>>());
    logged.stop();
    fs::remove_file(file).expect("ours");
}

/// Another gateway with the configuration of one that runs, on ports of its own.
fn beside(gateway: &Gateway, tollgate: &Value) -> Output {
    let mut config: Value = serde_json::from_slice(&fs::read(gateway.config()).expect("ours")).expect("JSON is YAML");
    let listeners = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    let ports = listeners.each_ref().map(|listener| json!(listener.local_addr().expect("bound").port()));
    drop(listeners);
    let places = [
        "/apisix/node_listen/0/port",
        "/deployment/admin/admin_listen/port",
        "/plugin_attr/prometheus/export_addr/port",
    ];
    for (place, port) in places.into_iter().zip(ports) {
        *config.pointer_mut(place).expect("the usual setup") = port;
    }
    for (key, value) in tollgate.as_object().expect("keys") {
        config["tollgate"][key] = value.clone();
    }
    let file = gateway.place().join("beside.yaml");
    fs::write(&file, config.to_string()).expect("ours");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["run", "--config"]).arg(file).current_dir(gateway.place()).output().expect("cargo built it")
}

#[test]
fn a_second_gateway_on_the_same_directories_is_refused_with_one_line() {
    let logged = Logged::on(&setup(small_ring(), &json!({})), Upstream::saying("hello"), &json!({}));
    let other_data = logged.gateway.place().join("other");
    let spool = logged.gateway.place().join("data/spool");
    for (tollgate, key) in [
        (json!({}), "data_dir"),
        (
            json!({"data_dir": other_data.to_string_lossy(), "spool": {"path": spool.to_string_lossy()}}),
            "tollgate.spool.path",
        ),
        (json!({"data_dir": other_data.to_string_lossy()}), "tollgate.ring.path"),
    ] {
        let output = beside(&logged.gateway, &tollgate);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        let said: Vec<String> =
            text(&output).lines().filter(|line| line.starts_with("tollgate: ")).map(str::to_owned).collect();
        assert_eq!(said.len(), 1, "{}", text(&output));
        assert!(said[0].contains(key), "{said:?}");
    }
    assert_eq!(logged.gateway.get("/").status, 200, "the first serves on");
}

/// A killed gateway with more in its spool than in its ring.
fn killed_with_a_spool() -> (Logged, LateKafka, u64) {
    let (mut logged, kafka) = alone(&setup(small_ring(), &json!({})), &json!({}));
    send(&logged.gateway, 0..800);
    wait_for("some of it is in the spool", || (logged.gateway.metric(SPOOLED) > 200).then_some(()));
    let accepted = logged.gateway.metric(ACCEPTED);
    logged.gateway.crash();
    (logged, kafka, accepted)
}

/// The numbers in Kafka, at least so many, once nothing waits any more.
fn all_delivered(logged: &Logged, least: u64) -> Vec<u64> {
    numbers(logged, least);
    let held = || logged.gateway.metric("tollgate_log_entries_held");
    wait_for("nothing waits any more", || (held() == 0).then_some(()));
    numbers(logged, least)
}

#[test]
fn a_frame_that_is_torn_is_cut_off_and_the_rest_is_delivered() {
    let (mut logged, kafka, accepted) = killed_with_a_spool();
    let last = segments(&logged.gateway).pop().expect("a segment");
    let length = fs::metadata(&last).expect("ours").len();
    OpenOptions::new().write(true).open(&last).expect("ours").set_len(length - 20_000).expect("ours");
    let verified = spool(&logged.gateway, &["verify"]);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    kafka.open(&logged.kafka);
    logged.gateway.restart_with(&setup(small_ring(), &json!({})));
    assert_eq!(lines(&logged.gateway, "cut off behind the last whole batch"), 1, "{}", logged.gateway.log());
    let found = all_delivered(&logged, accepted - 70);
    assert!(
        (accepted - 70..accepted).contains(&(found.len() as u64)),
        "one batch is missing: {} of {accepted}",
        found.len()
    );
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "none twice");
}

#[test]
fn a_damaged_frame_is_named_by_verify_and_the_rest_is_delivered() {
    let (mut logged, kafka, accepted) = killed_with_a_spool();
    assert_eq!(spool(&logged.gateway, &["verify"]).status.code(), Some(0));
    let first = segments(&logged.gateway).remove(0);
    let file = OpenOptions::new().read(true).write(true).open(&first).expect("ours");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 20_000).expect("inside the first batch");
    file.write_all_at(&[!byte[0]], 20_000).expect("ours");
    let verified = spool(&logged.gateway, &["verify"]);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    assert!(text(&verified).contains(&*first.to_string_lossy()), "{}", text(&verified));
    kafka.open(&logged.kafka);
    logged.gateway.restart_with(&setup(small_ring(), &json!({})));
    assert_eq!(lines(&logged.gateway, "passed over, what it held is lost"), 1, "{}", logged.gateway.log());
    let found = all_delivered(&logged, accepted - 70);
    assert!(
        (accepted - 70..accepted).contains(&(found.len() as u64)),
        "one batch is missing: {} of {accepted}",
        found.len()
    );
}
