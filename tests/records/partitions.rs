//! Where records go: keys and partitioners, order within a partition, and what codecs do to the bytes kept.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tollgate::control::records::Record;

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::entries;
use crate::support::{Setup, Upstream};

const PARTITIONS: i32 = 7;
/// Keys and their murmur2 as Kafka's own UtilsTest has them.
const MURMUR2: [(&str, i32); 5] = [
    ("21", -973_932_308),
    ("foobar", -790_332_482),
    ("a-little-bit-long-string", -985_981_536),
    ("a-little-bit-longer-string", -1_486_304_829),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
];

/// One request for every key, each by a route of its own; partition by key.
fn partitions_of_keys(partitioner: &Value) -> BTreeMap<String, i32> {
    let logged = Logged::without_route(&Setup::default(), Upstream::saying("hello"));
    logged.kafka.create_topic(&logged.topic, PARTITIONS);
    for (number, (key, _)) in MURMUR2.iter().enumerate() {
        let mut plugin = json!({"key": key});
        if !partitioner.is_null() {
            plugin["partitioner"] = partitioner.clone();
        }
        let route = logged.route(&json!({"uri": format!("/{number}"), "plugins": logged.plugins(&plugin)}));
        logged.put(&format!("routes/k{number}"), &route);
    }
    for number in 0..MURMUR2.len() {
        assert_eq!(logged.gateway.get(&format!("/{number}")).status, 200);
    }
    let records = logged.finish();
    assert_eq!(records.len(), MURMUR2.len());
    let key = |record: &Record| String::from_utf8(record.key.clone().expect("a key")).expect("text");
    records.iter().map(|record| (key(record), record.partition)).collect()
}

#[test]
fn a_keys_partition_is_javas() {
    let expected = MURMUR2.map(|(key, hash)| (key.to_owned(), (hash & 0x7fff_ffff) % PARTITIONS));
    for partitioner in [json!(null), json!("murmur2")] {
        assert_eq!(partitions_of_keys(&partitioner), BTreeMap::from(expected.clone()), "{partitioner}");
    }
}

#[test]
fn a_keys_partition_is_lua_resty_kafkas_where_asked() {
    let crc = |key: &str| {
        let mut crc = flate2::Crc::new();
        crc.update(key.as_bytes());
        crc.sum()
    };
    assert_eq!(crc("123456789"), 0xcbf4_3926, "the check value of CRC-32/ISO-HDLC");
    let expected = MURMUR2.map(|(key, _)| (key.to_owned(), (crc(key) % PARTITIONS as u32) as i32));
    assert_eq!(partitions_of_keys(&json!("crc32")), BTreeMap::from(expected));
}

/// The `n` of each partition's records, in their order there.
fn numbers_by_partition(records: &[Record]) -> BTreeMap<i32, Vec<u64>> {
    let mut found: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
    for (record, entry) in records.iter().zip(entries(records)) {
        let number = entry["n"].as_str().and_then(|n| n.parse().ok()).expect("a number");
        found.entry(record.partition).or_default().push(number);
    }
    found
}

#[test]
fn without_a_key_every_record_arrives_and_partitions_take_turns() {
    let config = json!({"tollgate": {"kafka": {"sticky_bytes": 1_000, "linger_ms": 0}}});
    let logged = Logged::without_route(&Setup::with(config), Upstream::saying("hello"));
    logged.kafka.create_topic(&logged.topic, PARTITIONS);
    logged.put_route(&json!({"log_format": {"n": "$arg_n"}}));
    let mut client = logged.gateway.connect();
    let mut request = |number: u64| assert_eq!(client.exchange(get(&format!("/?n={number}"))).status, 200);
    // What comes before Kafka is found lies in one batch.
    request(0);
    logged.kafka.wait_records(&logged.topic, 1);
    (1..600).for_each(&mut request);
    let records = logged.finish();
    assert!(records.iter().all(|record| record.key.is_none()), "no key is null, not empty");
    let by_partition = numbers_by_partition(&records);
    assert!(by_partition.len() > 2, "sticky for 1,000 bytes each: {:?}", by_partition.keys());
    assert!(by_partition.values().all(|numbers| numbers.is_sorted()), "in the order of the requests");
    let all: BTreeSet<u64> = by_partition.values().flatten().copied().collect();
    assert_eq!((all.len(), records.len()), (600, 600));
}

#[test]
fn records_of_a_connection_keep_their_order_while_others_write_too() {
    for producer_type in ["async", "sync"] {
        let config = json!({"tollgate": {"kafka": {"linger_ms": 0}}});
        let plugin = json!({"key": "k", "producer_type": producer_type,
                            "log_format": {"client": "$arg_client", "n": "$arg_n"}});
        let logged = Logged::on(&Setup::with(config), Upstream::saying("hello"), &plugin);
        std::thread::scope(|scope| {
            for client in 0..4 {
                let mut connection = logged.gateway.connect();
                scope.spawn(move || {
                    for number in 0..200 {
                        assert_eq!(connection.exchange(get(&format!("/?client={client}&n={number}"))).status, 200);
                    }
                });
            }
        });
        let mut by_client: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for entry in logged.finish_entries() {
            let number = entry["n"].as_str().and_then(|n| n.parse().ok()).expect("a number");
            by_client.entry(entry["client"].to_string()).or_default().push(number);
        }
        assert_eq!(by_client.len(), 4);
        for (client, numbers) in by_client {
            assert_eq!(numbers, (0..200).collect::<Vec<_>>(), "{producer_type}, client {client}");
        }
    }
}

#[test]
fn every_codec_makes_batches_smaller() {
    let stored = |codec: &str| {
        // Long enough for one batch, so that there is something to compress.
        let config = json!({"tollgate": {"kafka": {"linger_ms": 1_000}}});
        let plugin = json!({"compression": codec, "key": "k", "required_acks": 1});
        let logged = Logged::on(&Setup::with(config), Upstream::saying("hello"), &plugin);
        let mut client = logged.gateway.connect();
        for number in 0..50 {
            assert_eq!(client.exchange(get(&format!("/?n={number}"))).status, 200);
        }
        let (kafka, topic) = logged.finish_at();
        // The leader alone has acknowledged: the replicas may still be copying.
        assert_eq!(kafka.wait_records(&topic, 50).len(), 50, "{codec}");
        kafka.stored_bytes(&topic)
    };
    let plain = stored("none");
    assert!(plain > 50 * 300, "{plain}");
    for codec in ["lz4", "zstd", "gzip", "snappy"] {
        let coded = stored(codec);
        assert!((1..plain / 3).contains(&coded), "{codec}: {coded} bytes, {plain} uncompressed");
    }
}
