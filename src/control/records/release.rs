//! Which release of Kafka a broker is. No request asks for it: it is read off the versions of requests that the broker answers, of
//! which nearly every release raised one. Only requests of clients count, which brokers with and without ZooKeeper answer alike.

use crate::kafka::codec::answers::ApiRange;

/// A release, and a request that its brokers answer in a version that no earlier release knew.
struct Mark {
    release: &'static str,
    key: i16,
    version: i16,
}

const fn mark(release: &'static str, key: i16, version: i16) -> Mark {
    Mark { release, key, version }
}

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const INIT_PRODUCER_ID: i16 = 22;
const ADD_PARTITIONS_TO_TXN: i16 = 24;
const DESCRIBE_LOG_DIRS: i16 = 35;

/// Newest first. 3.4 changed nothing that clients see.
const MARKS: &[Mark] = &[
    mark("4.3 or later", DESCRIBE_LOG_DIRS, 5),
    mark("4.2", LIST_OFFSETS, 11),
    mark("4.1", FETCH, 18),
    mark("4.0", METADATA, 13),
    mark("3.9", FETCH, 17),
    mark("3.8", PRODUCE, 11),
    mark("3.7", FETCH, 16),
    mark("3.6", ADD_PARTITIONS_TO_TXN, 4),
    mark("3.5", FETCH, 15),
    mark("3.3 or 3.4", DESCRIBE_LOG_DIRS, 4),
    mark("3.2", DESCRIBE_LOG_DIRS, 3),
    mark("3.1", FETCH, 13),
    mark("3.0", LIST_OFFSETS, 7),
    mark("2.8", PRODUCE, 9),
    mark("2.7", FETCH, 12),
    mark("2.6", DESCRIBE_LOG_DIRS, 2),
    mark("2.5", INIT_PRODUCER_ID, 3),
    mark("2.4", PRODUCE, 8),
    mark("2.3", FETCH, 11),
    mark("2.2", LIST_OFFSETS, 5),
    mark("2.1", FETCH, 10),
    mark("2.0", FETCH, 8),
    mark("1.1", FETCH, 7),
    mark("1.0", FETCH, 6),
    mark("0.11", FETCH, 5),
];

/// A broker's release in words: `Kafka 3.9`. What answers newer requests and not all of the older ones is not Apache's broker, and is
/// called what it is.
pub fn of(ranges: &[ApiRange]) -> String {
    let bears = |mark: &Mark| ranges.iter().any(|range| range.key == mark.key && range.max >= mark.version);
    let Some(newest) = MARKS.iter().position(bears) else { return "a Kafka older than 0.11".to_owned() };
    let release = MARKS[newest].release;
    match MARKS[newest..].iter().find(|mark| !bears(mark)) {
        None => format!("Kafka {release}"),
        Some(lacking) => {
            format!(
                "not Apache Kafka's own broker: answers what {release} brought, lacks what {} brought",
                lacking.release
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The highest versions of Produce, Fetch, ListOffsets, Metadata, InitProducerId, AddPartitionsToTxn, DescribeLogDirs.
    fn broker(highest: [i16; 7]) -> Vec<ApiRange> {
        let keys = [PRODUCE, FETCH, LIST_OFFSETS, METADATA, INIT_PRODUCER_ID, ADD_PARTITIONS_TO_TXN, DESCRIBE_LOG_DIRS];
        keys.into_iter().zip(highest).map(|(key, max)| ApiRange { key, min: 0, max }).collect()
    }

    #[test]
    fn what_brokers_of_known_releases_answered_names_them() {
        for (highest, name) in [
            ([9, 12, 6, 11, 4, 3, 2], "Kafka 2.8"),
            ([11, 17, 9, 12, 5, 5, 4], "Kafka 3.9"),
            ([13, 18, 10, 13, 5, 5, 4], "Kafka 4.1"),
            ([14, 19, 12, 14, 6, 6, 6], "Kafka 4.3 or later"),
            ([2, 3, 1, 2, -1, -1, -1], "a Kafka older than 0.11"),
        ] {
            assert_eq!(of(&broker(highest)), name);
        }
    }

    #[test]
    fn a_broker_of_somebody_else_is_not_given_a_release() {
        let text = of(&broker([9, 17, 4, 9, 3, 3, 2]));
        assert_eq!(text, "not Apache Kafka's own broker: answers what 3.9 brought, lacks what 3.8 brought");
        assert_eq!(of(&[]), "a Kafka older than 0.11");
    }

    #[test]
    fn within_one_request_newer_releases_have_newer_versions() {
        for (at, newer) in MARKS.iter().enumerate() {
            for older in MARKS[at + 1..].iter().filter(|older| older.key == newer.key) {
                assert!(newer.version > older.version, "{} and {}", newer.release, older.release);
            }
        }
    }
}
