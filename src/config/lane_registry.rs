//! What a lane is, as text that stays: beside the batches on disk, so that they can be delivered when no configuration names the
//! lane any more; and the number that the lane goes by there. No secret is in it: a lane that needs one is delivered once a
//! configuration names it, with what that says then; so a password that was changed meanwhile does no harm.
//!
//! The number is a hash of the text, so the text is canonical: fields in one order, nothing left out, and what it says for a spec
//! never changes. A new field is only written where it is not at its default, or lanes get other numbers with the next release.

use serde_json::{Map, Value, json};

use crate::base::hash::fnv1a;
use crate::kafka::{
    Acks, Batching, Compression, Credentials, LaneSpec, Mode, Overflow, Partitioner, Security, SinkId, SinkSpec,
};

/// Of the text's form.
const VERSION: u64 = 1;

/// A [`LaneSpec`] without the sink's number, which means something within one shipper only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLane {
    /// Kafka's topic name.
    pub topic: String,
    /// Every message's key.
    pub key: Option<Vec<u8>>,
    /// How the key becomes a partition.
    pub partitioner: Partitioner,
    /// How entries become messages.
    pub batching: Batching,
    /// Entries that may be held.
    pub max_pending_entries: Option<u64>,
    /// True if it is reached by TLS or with credentials, which are not stored.
    pub is_secured: bool,
}

impl StoredLane {
    /// The lane, in a shipper where its sink is `sink`; `stored_as` is its number.
    pub fn lane(&self, sink: SinkId, stored_as: u64) -> LaneSpec {
        LaneSpec {
            sink,
            stored_as,
            topic: self.topic.clone(),
            key: self.key.clone(),
            partitioner: self.partitioner,
            batching: self.batching,
            max_pending_entries: self.max_pending_entries,
        }
    }
}

/// The number of a lane: the same in every build and process; never 0.
pub fn key(sink: &SinkSpec, lane: &StoredLane) -> u64 {
    fnv1a(encode(sink, lane).as_bytes()).max(1)
}

/// A lane as text.
pub fn encode(sink: &SinkSpec, lane: &StoredLane) -> String {
    json!({ "version": VERSION, "sink": sink_value(sink), "lane": lane_value(lane) }).to_string()
}

fn sink_value(sink: &SinkSpec) -> Value {
    let bootstrap: Vec<Value> = sink.bootstrap.iter().map(|(host, port)| json!([host, port])).collect();
    let mut value = json!({
        "bootstrap": bootstrap,
        "acks": word(&ACKS, sink.acks),
        "mode": word(&MODES, sink.mode),
        "compression": word(&COMPRESSIONS, sink.compression),
        "timeout_ms": sink.timeout_ms,
        "max_retry": sink.max_retry,
        "retry_delay_ms": sink.retry_delay_ms,
    });
    if sink.overflow != Overflow::default() {
        value["overflow"] = json!(word(&OVERFLOWS, sink.overflow));
    }
    if sink.security != Security::default() {
        let user = |it: &Credentials| json!({ "mechanism": it.mechanism.name(), "user": it.user });
        let sasl: Vec<Value> = sink.security.sasl.iter().map(|it| it.as_ref().map_or(Value::Null, user)).collect();
        value["security"] = json!({ "tls": sink.security.tls.is_some(), "sasl": sasl });
    }
    value
}

fn lane_value(lane: &StoredLane) -> Value {
    let batching = match lane.batching {
        Batching::Each => Value::Null,
        Batching::Array { max_entries, inactive_ms, duration_ms } => {
            json!({ "max_entries": max_entries, "inactive_ms": inactive_ms, "duration_ms": duration_ms })
        }
    };
    json!({
        "topic": lane.topic,
        "key": lane.key.as_deref().map(hex),
        "partitioner": word(&PARTITIONERS, lane.partitioner),
        "array": batching,
        "max_pending_entries": lane.max_pending_entries,
    })
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// What is wrong with it, for people.
pub fn decode(text: &str) -> Result<(SinkSpec, StoredLane), String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let whole = Fields(value.as_object().ok_or("it is no JSON object")?);
    let version = whole.number("version")?;
    if version != Some(VERSION) {
        return Err(format!("its version is {version:?}, this gateway reads {VERSION}"));
    }
    let sink = whole.object("sink")?;
    let is_secured = sink.has("security");
    Ok((read_sink(&sink)?, StoredLane { is_secured, ..read_lane(&whole.object("lane")?)? }))
}

fn read_sink(sink: &Fields<'_>) -> Result<SinkSpec, String> {
    let list = sink.value("bootstrap")?.as_array().ok_or("`bootstrap` is no list")?;
    let bootstrap = list.iter().map(|broker| {
        let port = broker.get(1).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        broker.get(0).and_then(Value::as_str).map(str::to_owned).zip(port)
    });
    let bootstrap = bootstrap.collect::<Option<Vec<_>>>().ok_or("`bootstrap` is no list of host and port")?;
    Ok(SinkSpec {
        bootstrap,
        acks: sink.word("acks", &ACKS)?,
        mode: sink.word("mode", &MODES)?,
        compression: sink.word("compression", &COMPRESSIONS)?,
        timeout_ms: sink.small("timeout_ms")?.ok_or("`timeout_ms` is missing")?,
        max_retry: sink.small("max_retry")?,
        retry_delay_ms: sink.small("retry_delay_ms")?,
        security: Security::default(),
        overflow: if sink.has("overflow") { sink.word("overflow", &OVERFLOWS)? } else { Overflow::default() },
    })
}

fn read_lane(lane: &Fields<'_>) -> Result<StoredLane, String> {
    let key = match lane.value("key")? {
        Value::Null => None,
        key => Some(key.as_str().and_then(unhex).ok_or("`key` is no hexadecimal text")?),
    };
    let batching = if lane.value("array")?.is_null() {
        Batching::Each
    } else {
        let array = lane.object("array")?;
        Batching::Array {
            max_entries: array.small("max_entries")?.ok_or("`max_entries` is missing")?,
            inactive_ms: array.number("inactive_ms")?.ok_or("`inactive_ms` is missing")?,
            duration_ms: array.number("duration_ms")?.ok_or("`duration_ms` is missing")?,
        }
    };
    Ok(StoredLane {
        topic: lane.value("topic")?.as_str().ok_or("`topic` is no text")?.to_owned(),
        key,
        partitioner: lane.word("partitioner", &PARTITIONERS)?,
        batching,
        max_pending_entries: lane.number("max_pending_entries")?,
        is_secured: false,
    })
}

/// Names of an enum's values, each once.
type Words<T, const N: usize> = [(&'static str, T); N];

const ACKS: Words<Acks, 2> = [("leader", Acks::Leader), ("all", Acks::All)];
const MODES: Words<Mode, 3> = [("async", Mode::Async), ("sync", Mode::Sync), ("held", Mode::Held)];
const COMPRESSIONS: Words<Compression, 5> = [
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];
const OVERFLOWS: Words<Overflow, 3> =
    [("spool", Overflow::Spool), ("drop_newest", Overflow::DropNewest), ("backpressure", Overflow::Backpressure)];
const PARTITIONERS: Words<Partitioner, 2> = [("murmur2", Partitioner::Murmur2), ("crc32", Partitioner::Crc32)];

fn word<T: PartialEq, const N: usize>(words: &Words<T, N>, value: T) -> Option<&'static str> {
    words.iter().find(|(_, meant)| *meant == value).map(|(word, _)| *word)
}

/// A JSON object with what is wrong in words.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn value(&self, name: &str) -> Result<&'a Value, String> {
        self.0.get(name).ok_or_else(|| format!("`{name}` is missing"))
    }

    fn object(&self, name: &str) -> Result<Self, String> {
        self.value(name)?.as_object().map(Fields).ok_or_else(|| format!("`{name}` is no object"))
    }

    /// None for null.
    fn number(&self, name: &str) -> Result<Option<u64>, String> {
        match self.value(name)? {
            Value::Null => Ok(None),
            value => value.as_u64().map(Some).ok_or_else(|| format!("`{name}` is no number")),
        }
    }

    fn small(&self, name: &str) -> Result<Option<u32>, String> {
        let number = self.number(name)?;
        number.map(|number| u32::try_from(number).map_err(|_| format!("`{name}` is too large"))).transpose()
    }

    fn word<T: Copy, const N: usize>(&self, name: &str, words: &Words<T, N>) -> Result<T, String> {
        let text = self.value(name)?.as_str().unwrap_or_default();
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meant)| *meant);
        found.ok_or_else(|| format!("`{name}` says {text:?}, which means nothing here"))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sinks() -> Vec<SinkSpec> {
        let plain = SinkSpec::new(vec![("kafka-1".to_owned(), 9092), ("::1".to_owned(), 1)]);
        let mut sinks = vec![plain.clone(), SinkSpec::new(Vec::new())];
        sinks.push(SinkSpec { acks: Acks::Leader, mode: Mode::Sync, ..plain.clone() });
        sinks.push(SinkSpec { mode: Mode::Held, ..plain.clone() });
        sinks.push(SinkSpec { overflow: Overflow::Backpressure, ..plain.clone() });
        sinks.push(SinkSpec { timeout_ms: u32::MAX, max_retry: Some(0), retry_delay_ms: Some(7), ..plain.clone() });
        let all = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        sinks.extend(all.map(|compression| SinkSpec { compression, ..plain.clone() }));
        sinks
    }

    fn lanes() -> Vec<StoredLane> {
        let plain = StoredLane {
            topic: "a \"topic\"".to_owned(),
            key: None,
            partitioner: Partitioner::Murmur2,
            batching: Batching::Each,
            max_pending_entries: None,
            is_secured: false,
        };
        let array = Batching::Array { max_entries: 1_000, inactive_ms: u64::MAX, duration_ms: 0 };
        vec![
            plain.clone(),
            StoredLane { key: Some(Vec::new()), ..plain.clone() },
            StoredLane { key: Some(vec![0, 0xff, b'k']), partitioner: Partitioner::Crc32, ..plain.clone() },
            StoredLane { batching: array, max_pending_entries: Some(u64::MAX), ..plain },
        ]
    }

    #[test]
    fn every_lane_is_read_as_it_was_written_and_has_a_number_of_its_own() {
        let mut keys = std::collections::HashSet::new();
        for sink in sinks() {
            for lane in lanes() {
                let text = encode(&sink, &lane);
                assert_eq!(decode(&text), Ok((sink.clone(), lane.clone())), "{text}");
                assert!(keys.insert(key(&sink, &lane)), "{text}");
            }
        }
        assert_eq!(keys.len(), sinks().len() * lanes().len());
    }

    #[test]
    fn a_lanes_text_and_number_stay_from_release_to_release() {
        let (sink, lane) = (&sinks()[0], &lanes()[2]);
        let text = concat!(
            r#"{"version":1,"sink":{"bootstrap":[["kafka-1",9092],["::1",1]],"acks":"all","mode":"async","#,
            r#""compression":"none","timeout_ms":3000,"max_retry":null,"retry_delay_ms":null},"#,
            r#""lane":{"topic":"a \"topic\"","key":"00ff6b","partitioner":"crc32","array":null,"#,
            r#""max_pending_entries":null}}"#,
        );
        assert_eq!(encode(sink, lane), text);
        // FNV-1a of the text, by another program.
        assert_eq!(key(sink, lane), 0xf381_8b5f_4be0_0d92);
    }

    #[test]
    fn no_secret_is_written_and_a_changed_one_is_the_same_lane() {
        let secured = |password: &str| {
            let mechanism = crate::kafka::Mechanism::Plain;
            let password = crate::kafka::Secret::new(password);
            let sasl = vec![Some(Credentials { mechanism, user: "bob".to_owned(), password })];
            SinkSpec { security: Security { sasl, tls: None }, ..sinks()[0].clone() }
        };
        let (one, other, lane) = (secured("old-word"), secured("new-word"), &lanes()[0]);
        let text = encode(&one, lane);
        assert!(text.contains("bob") && !text.contains("word"), "{text}");
        assert_eq!(key(&one, lane), key(&other, lane));
        assert_ne!(key(&one, lane), key(&sinks()[0], lane));
        assert!(decode(&text).unwrap().1.is_secured);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = encode(&sinks()[0], &lanes()[3]);
        for (from, to, said) in [
            ("{", "[", "JSON"),
            (r#""version":1"#, r#""version":2"#, "version"),
            (r#""acks":"all""#, r#""acks":"some""#, "`acks` says \"some\""),
            (r#""topic""#, r#""tropic""#, "`topic` is missing"),
            (r#"["kafka-1",9092]"#, r#"["kafka-1",99999]"#, "`bootstrap`"),
            (r#""max_entries":1000"#, r#""max_entries":5000000000"#, "`max_entries` is too large"),
            (r#""key":null"#, r#""key":"abc""#, "`key`"),
            (r#""key":null"#, r#""key":"zz""#, "`key`"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            let error = decode(&bad).unwrap_err();
            assert!(error.contains(said), "{from}: {error}");
        }
    }
}
