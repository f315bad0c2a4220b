//! A gateway that logs to a dev broker whose faults a test scripts, and what must hold whatever happened: every accepted entry once in
//! the broker's log, in order, and numbers that add up.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use devbroker::{Api, Broker, Fault, Options, Seen, SentBatch};
use serde_json::{Value, json};

use crate::support::kafka::{entries, new_topic};
use crate::support::{Gateway, Kafka, Setup, Upstream, wait_for, wait_until};

/// Requests that the broker's journal remembers: more than any test sends.
const JOURNAL: usize = 100_000;

/// Held while a gateway starts.
static STARTING: Mutex<()> = Mutex::new(());

/// What a test wants to be different.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of the dev broker.
    pub options: Options,
    /// Partitions of the topic; 0: it is not made.
    pub partitions: i32,
    /// Attributes of the plugin.
    pub plugin: Value,
    /// `tollgate.kafka`.
    pub kafka: Value,
    /// `tollgate`.
    pub tollgate: Value,
    /// Faults that are scripted before the gateway asks for anything.
    pub faults: Vec<(Api, Fault)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            options: Options { journal: JOURNAL, ..Options::default() },
            partitions: 1,
            plugin: json!({}),
            kafka: json!({}),
            tollgate: json!({}),
            faults: Vec::new(),
        }
    }
}

impl Plan {
    /// So many nodes.
    pub fn nodes(nodes: u16) -> Self {
        let plan = Self::default();
        Self { options: Options { nodes, ..plan.options.clone() }, ..plan }
    }

    /// The usual plan with these keys of `tollgate.kafka`.
    pub fn kafka(kafka: Value) -> Self {
        Self { kafka, ..Self::default() }
    }

    /// The usual plan with so many of these faults from the beginning.
    pub fn faults(api: Api, count: usize, fault: &Fault) -> Self {
        Self { faults: vec![(api, fault.clone()); count], ..Self::default() }
    }

    /// The usual plan with these attributes of the plugin.
    pub fn plugin(plugin: Value) -> Self {
        Self { plugin, ..Self::default() }
    }
}

/// The gateway's numbers of entries, one scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub accepted: u64,
    pub delivered: u64,
    pub held: u64,
    pub in_doubt: u64,
    pub lost: u64,
}

/// The gateway, the broker, and how many requests were made.
pub struct Rig {
    pub gateway: Gateway,
    pub kafka: Kafka,
    pub broker: Arc<Broker>,
    pub topic: String,
    upstream: Upstream,
    sent: Cell<u64>,
}

fn over(base: &mut Value, more: &Value) {
    for (key, value) in more.as_object().expect("an object") {
        base[key] = value.clone();
    }
}

impl Rig {
    /// Starts everything; nothing was sent to the topic yet.
    pub fn new(plan: &Plan) -> Self {
        let kafka = Kafka::dev(plan.options.clone());
        let (broker, topic) = (kafka.dev_broker(), new_topic());
        if plan.partitions > 0 {
            broker.create_topic(&topic, plan.partitions).expect("a new topic");
        }
        for (api, fault) in &plan.faults {
            broker.script().push(*api, fault.clone());
        }
        // Short pauses, no linger: a batch per request while fewer than five are in flight.
        let mut keys = json!({"linger_ms": 0, "retry_backoff_ms": 20, "retry_backoff_max_ms": 40,
                              "reconnect_backoff_ms": 5, "reconnect_backoff_max_ms": 20});
        over(&mut keys, &plan.kafka);
        let mut tollgate = json!({"kafka": keys});
        over(&mut tollgate, &plan.tollgate);
        // One at a time: each picks ports that are free and must get them.
        let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let setup = Setup { metrics: true, ..Setup::with(json!({"tollgate": tollgate})) };
        let (gateway, upstream) = (Gateway::start_with(&setup), Upstream::saying("hello"));
        let rig = Self { gateway, kafka, broker, topic, upstream, sent: Cell::new(0) };
        rig.put_route("r1", "/*", &plan.plugin);
        rig
    }

    /// The same with one entry delivered: topic, leader and producer id are known, and the broker knows the producer.
    pub fn warm(plan: &Plan) -> Self {
        let rig = Self::new(plan);
        rig.send(1);
        rig.wait_delivered(1);
        rig
    }

    /// A route that logs to the topic.
    pub fn put_route(&self, id: &str, uri: &str, plugin: &Value) {
        let broker = |addr: &std::net::SocketAddr| json!({"host": addr.ip().to_string(), "port": addr.port()});
        let brokers: Vec<Value> = self.broker.addrs().iter().map(broker).collect();
        let mut attributes = json!({"brokers": brokers, "kafka_topic": self.topic, "batch_max_size": 1, "timeout": 1,
                                    "key": "k", "log_format": {"n": "$arg_n", "filling": "$http_x_filling"}});
        over(&mut attributes, plugin);
        let upstream = json!({"type": "roundrobin", "nodes": {self.upstream.node(): 1}});
        let route = json!({"uri": uri, "upstream": upstream, "plugins": {"kafka-logger": attributes}});
        self.gateway.admin().put(&format!("routes/{id}"), &route);
    }

    /// Makes so many requests, one behind another, numbered on from the last. None may wait for Kafka.
    pub fn send(&self, count: u64) {
        self.send_filled(count, 1);
    }

    /// The same with so many bytes more in each entry.
    pub fn send_filled(&self, count: u64, bytes: usize) {
        let mut client = self.gateway.connect();
        let filling = "x".repeat(bytes);
        let begin = Instant::now();
        for number in self.sent.get()..self.sent.get() + count {
            let request = format!("GET /?n={number} HTTP/1.1\r\nHost: a\r\nX-Filling: {filling}\r\n\r\n");
            assert_eq!(client.exchange(request).status, 200);
        }
        self.sent.set(self.sent.get() + count);
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(2 + count / 100), "{count} requests took {took:?}: they waited for Kafka");
    }

    /// Requests made so far.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// The gateway's numbers.
    pub fn counts(&self) -> Counts {
        let [accepted, delivered, held, in_doubt, lost] = self.gateway.metrics([
            "tollgate_log_entries_accepted_total",
            "tollgate_log_entries_delivered_total",
            "tollgate_log_entries_held",
            "tollgate_log_entries_in_doubt_total",
            "tollgate_log_entries_lost_total",
        ]);
        Counts { accepted, delivered, held, in_doubt, lost }
    }

    /// Waits until so many entries are delivered.
    pub fn wait_delivered(&self, count: u64) {
        let mut last = Counts::default();
        let reached = wait_until(crate::support::PATIENCE, || {
            last = self.counts();
            (last.delivered == count).then_some(())
        });
        assert!(reached.is_some(), "{count} delivered: {last:?}\n{:?}", self.broker.script());
    }

    /// Waits until all that was sent has an outcome, and gives the numbers, which add up.
    pub fn wait_settled(&self) -> Counts {
        let settled = || {
            let counts = self.counts();
            let whole = counts.delivered + counts.in_doubt + counts.lost == self.sent();
            (whole && counts.held == 0).then_some(counts)
        };
        let counts = wait_for("every entry has an outcome", settled);
        assert_eq!(counts.accepted, self.sent());
        counts
    }

    /// Waits until this many are held and the numbers add up.
    pub fn wait_held(&self, count: u64) {
        let adds_up = || {
            let now = self.counts();
            let sum = now.delivered + now.held + now.in_doubt + now.lost;
            (now.held == count && now.accepted == sum).then_some(())
        };
        wait_for("so many are held", adds_up);
    }

    /// The numbers of the entries in the broker's log, each partition's in order, those of arrays one by one.
    pub fn logged(&self) -> Vec<u64> {
        let number = |entry: &Value| entry["n"].as_str().and_then(|n| n.parse().ok()).expect("a number");
        let of_record = |record: &Value| match record {
            Value::Array(all) => all.iter().map(number).collect(),
            one => vec![number(one)],
        };
        entries(&self.kafka.records(&self.topic)).iter().flat_map(of_record).collect()
    }

    /// Every entry is in the log once, in order, and is counted as delivered; every fault had its turn.
    pub fn assert_whole(&self) {
        let sent = self.sent();
        self.wait_delivered(sent);
        assert_eq!(self.wait_settled(), Counts { accepted: sent, delivered: sent, ..Counts::default() });
        assert_eq!(self.logged(), (0..sent).collect::<Vec<_>>());
        for api in [Api::Produce, Api::InitProducerId, Api::ApiVersions, Api::Metadata] {
            assert_eq!(self.broker.script().left(api), 0, "faults of {api:?} that did not happen");
        }
    }

    /// Scripts faults of the next Produce requests.
    pub fn produce_faults(&self, faults: &[Fault]) {
        for fault in faults {
            self.broker.script().push(Api::Produce, fault.clone());
        }
    }

    /// Makes twelve requests while the broker stands still, so that five batches are in flight when it goes on and meets the faults.
    pub fn send_with_five_in_flight(&self, faults: &[Fault]) {
        let sent = || self.gateway.metric("tollgate_kafka_batches_sent_total");
        let before = sent();
        self.broker.set_frozen(1, true);
        self.produce_faults(faults);
        self.send(12);
        wait_for("five batches are sent", || (sent() == before + 5).then_some(()));
        self.broker.set_frozen(1, false);
    }

    /// Requests of one kind, oldest first.
    pub fn requests(&self, api: Api) -> Vec<Seen> {
        self.broker.requests().into_iter().filter(|seen| seen.api == api).collect()
    }

    /// Every Produce request that carried the entry of this number.
    pub fn carriers(&self, number: u64) -> Vec<Seen> {
        let text = format!("\"n\":\"{number}\"");
        let holds = |batch: &SentBatch| batch.bytes.windows(text.len()).any(|window| window == text.as_bytes());
        self.requests(Api::Produce).into_iter().filter(|seen| seen.batches.iter().any(holds)).collect()
    }

    /// The entry was sent so often, each time in the same bytes.
    pub fn assert_repeated(&self, number: u64, times: usize) {
        assert_eq!(self.carriers(number).len(), times, "how often entry {number} was sent");
        self.assert_same_bytes(number);
    }

    /// However often the entry was sent, it was in the same bytes.
    pub fn assert_same_bytes(&self, number: u64) {
        let mut bytes: Vec<_> = self.carriers(number).iter().map(|seen| seen.batches[0].bytes.clone()).collect();
        bytes.dedup();
        assert_eq!(bytes.len(), 1, "entry {number} was sent again in other bytes");
    }

    /// Requests of one kind that came within this time.
    pub fn count_within(&self, api: Api, begin: Instant, time: Duration) -> usize {
        self.requests(api).iter().filter(|seen| seen.at >= begin && seen.at < begin + time).count()
    }

    /// Lines of the gateway's log that hold `text`.
    pub fn lines(&self, text: &str) -> usize {
        self.gateway.log().lines().filter(|line| line.contains(text)).count()
    }
}

/// Waits until the clock says so: for faults that consist of time.
pub fn let_pass(begin: Instant, time: Duration) {
    std::thread::sleep(time.saturating_sub(begin.elapsed()));
}

/// Runs the cases beside each other: most of their time is waiting.
pub fn in_parallel<T: Sync>(cases: &[T], run: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| run(case));
        }
    });
}
