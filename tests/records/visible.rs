//! Every outcome can be seen: the sums hold at every scrape, per core and per sink, while a broker misbehaves under load; and the
//! readiness endpoint turns when the spool is full, and back.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use devbroker::{Api, Broker, Fault, Options};
use serde_json::json;

use crate::Logged;
use crate::support::client::{fetch, get};
use crate::support::kafka::new_topic;
use crate::support::{Gateway, Kafka, PATIENCE, Setup, Upstream, wait_for};

/// What a scrape says of one core, or of one sink on one core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sum {
    accepted: u64,
    delivered: u64,
    held: u64,
    in_doubt: u64,
    lost: BTreeMap<String, u64>,
    acknowledged: u64,
}

impl Sum {
    fn lost(&self) -> u64 {
        self.lost.values().sum()
    }

    fn holds(&self) -> bool {
        self.accepted == self.delivered + self.held + self.in_doubt + self.lost()
    }
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// The numbers under this prefix, by core and sink (empty: the core's own).
fn sums(text: &str, prefix: &str) -> BTreeMap<(String, String), Sum> {
    let mut sums: BTreeMap<_, Sum> = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix(prefix)) {
        let Some((name, (labels, value))) =
            line.split_once('{').and_then(|(name, rest)| Some((name, rest.rsplit_once("} ")?)))
        else {
            continue;
        };
        let key = (label(labels, "core").expect("a core").to_owned(), label(labels, "sink").unwrap_or("").to_owned());
        let sum = sums.entry(key).or_default();
        let count = || value.parse().expect("a count");
        match name {
            "entries_accepted_total" => sum.accepted = count(),
            "entries_delivered_total" => sum.delivered = count(),
            "entries_held" => sum.held = count(),
            "entries_in_doubt_total" => sum.in_doubt = count(),
            "entries_lost_total" => {
                sum.lost.insert(label(labels, "reason").expect("a reason").to_owned(), count());
            }
            "acknowledgement_seconds_count" => sum.acknowledged = count(),
            _ => {}
        }
    }
    sums
}

/// Looks once: every sum holds, and a core's sinks are the core. Gives the sinks, all cores together.
fn look(gateway: &Gateway) -> BTreeMap<String, Sum> {
    let text = gateway.scrape();
    let (cores, sinks) = (sums(&text, "tollgate_log_"), sums(&text, "tollgate_sink_"));
    assert_eq!(cores.len(), 2);
    for (of, sum) in cores.iter().chain(&sinks) {
        assert!(sum.holds(), "{of:?}: {sum:?}");
        assert!(sum.lost.len() == 5, "every reason has its line: {sum:?}");
    }
    for ((core, _), sum) in &cores {
        let of_core = || sinks.iter().filter(|((other, _), _)| other == core).map(|(_, sum)| sum);
        let added = |number: fn(&Sum) -> u64| of_core().map(number).sum::<u64>();
        assert_eq!(sum.accepted, added(|sum| sum.accepted), "core {core}");
        assert_eq!(sum.held, added(|sum| sum.held), "core {core}");
        assert_eq!(sum.delivered, added(|sum| sum.delivered), "core {core}");
        assert_eq!(sum.lost(), added(Sum::lost), "core {core}");
    }
    let mut both: BTreeMap<String, Sum> = BTreeMap::new();
    for ((_, sink), sum) in sinks {
        let all = both.entry(sink).or_default();
        all.accepted += sum.accepted;
        all.delivered += sum.delivered;
        all.held += sum.held;
        all.in_doubt += sum.in_doubt;
        all.acknowledged += sum.acknowledged;
        sum.lost.into_iter().for_each(|(reason, count)| *all.lost.entry(reason).or_default() += count);
    }
    both
}

/// What a broker does to Produce requests: tried again, answered late, refused for good.
fn faults() -> Vec<Fault> {
    const NOT_ENOUGH_REPLICAS: i16 = 19;
    const INVALID_RECORD: i16 = 87;
    let round = [
        Fault::Pass,
        Fault::Cut,
        Fault::Pass,
        Fault::CutAnswer(10),
        Fault::Error(NOT_ENOUGH_REPLICAS),
        Fault::Error(INVALID_RECORD),
        Fault::Delay(Duration::from_millis(60)),
        Fault::ErrorAfter(7),
    ];
    (0..6).flat_map(|_| round.clone()).collect()
}

#[test]
fn the_sums_hold_at_every_scrape_per_core_and_per_sink_while_the_broker_misbehaves() {
    let kafka = json!({"linger_ms": 0, "retry_backoff_ms": 10, "retry_backoff_max_ms": 50, "batch_bytes": 4096});
    let setup = Setup { workers: 2, metrics: true, ..Setup::with(json!({"tollgate": {"kafka": kafka}})) };
    let mut logged = Logged::without_route(&setup, Upstream::saying("hello"));
    // A real one does not do this when asked.
    logged.kafka = Kafka::dev(Options::default());
    let broker = logged.kafka.dev_broker();
    let format = json!({"n": "$arg_n"});
    for (name, plugin) in [
        ("async", json!({"producer_type": "async", "log_format": format})),
        ("sync", json!({"producer_type": "sync", "log_format": format, "max_retry_count": 1})),
    ] {
        let mut route = logged.route(&json!({"plugins": logged.plugins(&plugin)}));
        route["uri"] = json!(format!("/{name}"));
        logged.put(&format!("routes/{name}"), &route);
    }
    faults().into_iter().for_each(|fault| broker.script().push(Api::Produce, fault));
    let (gateway, stop) = (&logged.gateway, AtomicBool::new(false));
    let (script, begin) = (broker.script(), Instant::now());
    // How many batches there are is the machine's pace: there is load for as long as faults are left.
    let load = |name: &str| {
        let mut client = gateway.connect();
        let mut sent = 0;
        while sent < 300 || script.left(Api::Produce) > 0 && begin.elapsed() < PATIENCE {
            assert_eq!(client.exchange(get(&format!("/{name}?n={sent}"))).status, 200);
            sent += 1;
        }
        sent
    };
    let (seen, sent) = std::thread::scope(|scope| {
        let clients = ["async", "sync"].map(|name| [scope.spawn(move || load(name)), scope.spawn(move || load(name))]);
        let looks = scope.spawn(|| {
            let mut held_once = 0;
            while !stop.load(Ordering::Relaxed) && begin.elapsed() < 3 * PATIENCE {
                held_once += usize::from(look(gateway).values().any(|sum| sum.held > 0));
            }
            held_once
        });
        let sent = clients.map(|pair| pair.into_iter().map(|client| client.join().expect("answers")).sum::<u64>());
        wait_for("everything is resolved", || {
            let sinks = look(gateway);
            let all = |number: fn(&Sum) -> u64| sinks.values().map(number).sum::<u64>();
            (all(|sum| sum.accepted) == sent.iter().sum::<u64>() && all(|sum| sum.held) == 0).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
        (looks.join().expect("every sum held"), sent)
    });
    assert!(seen > 0, "it was looked at while entries were held");
    assert_eq!(script.left(Api::Produce), 0, "every fault had its turn");
    let sinks = look(gateway);
    let [plain, limited] = ["async", "sync"].map(|mode| {
        let begins = format!("127.0.0.1:{};{mode};all", logged.kafka.address().port());
        let (name, sum) = sinks.iter().find(|(name, _)| name.starts_with(&begins)).expect("a sink by its name");
        assert_eq!(*name == begins, mode == "async", "{name}: what is not the default shows");
        sum
    });
    assert_eq!([plain.accepted, limited.accepted], sent);
    assert!(plain.acknowledged > 0 && limited.acknowledged > 0, "latencies are there");
    let refused = plain.lost["refused"] + limited.lost["refused"];
    assert!(refused > 0 && plain.lost["retries"] == 0, "{plain:?} {limited:?}");
}

/// An address where nobody listens now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

#[test]
fn ready_turns_when_the_spool_is_full_and_again_when_kafka_is_back() {
    let status = free_address();
    let config = json!({
        "apisix": {"status": {"ip": "127.0.0.1", "port": status.port()}},
        "tollgate": {
            "spool": {"bytes": "1m"},
            "ring": {"bytes": 524_288, "slot_bytes": 65_536},
            "kafka": {"batch_bytes": 65_536},
        },
    });
    let setup = Setup { metrics: true, ..Setup::with(config) };
    let gateway = Gateway::start_with(&setup);
    let upstream = Upstream::saying("hello");
    let broker = Broker::start(Options::default()).expect("a free port");
    let address = broker.addr();
    let brokers = json!([{"host": "127.0.0.1", "port": address.port()}]);
    let plugin = json!({"brokers": brokers, "kafka_topic": new_topic(), "batch_max_size": 1, "key": "k",
                        "log_format": {"n": "$arg_n", "filling": "$http_x_filling"}});
    let upstreams = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}});
    let route = json!({"uri": "/*", "upstream": upstreams, "plugins": {"kafka-logger": plugin}});
    gateway.admin().put("routes/r1", &route);
    let mut client = gateway.connect();
    let filling = "x".repeat(7_000);
    let mut send = || client.exchange(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Filling: {filling}\r\n\r\n")).status;
    let ready = || fetch(status, "/status/ready");
    assert_eq!(send(), 200);
    wait_for("the first record is there", || {
        (gateway.metric("tollgate_log_entries_delivered_total") == 1).then_some(())
    });
    assert_eq!(ready().status, 200);
    broker.stop();
    wait_for("the spool is full", || {
        (0..20).for_each(|_| assert_eq!(send(), 200, "requests go on"));
        (ready().status == 503).then_some(())
    });
    let body: serde_json::Value = serde_json::from_str(&ready().text()).expect("JSON");
    assert_eq!(body["status"], "error");
    assert!(
        body["error"].as_str().is_some_and(|error| error.contains("the spool of core 0 takes nothing more")),
        "{body}"
    );
    assert_eq!(fetch(status, "/status").status, 200, "the process lives");
    assert_eq!(gateway.metric("tollgate_spool_full"), 1);
    let (bytes, limit) = (gateway.metric("tollgate_spool_bytes"), gateway.metric("tollgate_spool_limit_bytes"));
    assert!(limit == 1_048_576 && bytes <= limit && bytes > limit / 2, "{bytes} of {limit}");
    wait_for("the sink is seen to be down", || (gateway.metric("tollgate_sink_down") == 1).then_some(()));
    assert!(gateway.metric("tollgate_sink_spool_entries") > 0);
    let again = Broker::start(Options { listen: address, ..Options::default() }).expect("the same port");
    wait_for("ready again", || (ready().status == 200).then_some(()));
    wait_for("everything is delivered", || (gateway.metric("tollgate_log_entries_held") == 0).then_some(()));
    let names = ["tollgate_spool_full", "tollgate_spool_entries", "tollgate_sink_down", "tollgate_sink_spool_bytes"];
    wait_for("all is well", || (gateway.metrics(names) == [0; 4]).then_some(()));
    assert!(gateway.metric("tollgate_spool_batches_read_total") > 0);
    for text in ["all brokers failed", "answer again", "the spool takes nothing more", "nothing is left in the spool"] {
        let log = gateway.log();
        let lines = log.lines().filter(|line| line.contains(text)).count();
        assert!((1..=4).contains(&lines), "`{text}`: {lines} lines:\n{log}");
    }
    again.stop();
}

#[test]
fn a_spool_that_cannot_be_had_is_said_by_ready() {
    let status = free_address();
    let config = json!({
        "apisix": {"status": {"ip": "127.0.0.1", "port": status.port()}},
        "tollgate": {"spool": {"path": "/dev/null/spool"}},
    });
    let gateway = Gateway::start_with(&Setup { metrics: true, ..Setup::with(config) });
    let says = || {
        let ready = fetch(status, "/status/ready");
        assert_eq!(ready.status, 503);
        ready.text().contains("tollgate.spool.path cannot be used").then_some(())
    };
    wait_for("ready says so, once every core has a configuration", says);
    assert_eq!((gateway.metric("tollgate_spool_full"), gateway.metric("tollgate_spool_limit_bytes")), (1, 0));
    assert!(gateway.log().contains("no spool: /dev/null/spool"), "the log says why:\n{}", gateway.log());
}
