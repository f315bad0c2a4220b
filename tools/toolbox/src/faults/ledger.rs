//! The ledger: what clients saw against what Kafka holds. Pure, so that its own tests can plant every kind of mistake.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde_json::Value;

/// How many ids of one kind are kept by name, and how many of them a line of text names.
const KEPT: usize = 500;
const NAMED: usize = 8;

/// A request's name: the TCP connection it went over, counted over the whole run, and its number there. In the path as `C-N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Which connection.
    pub connection: u32,
    /// Rises along the connection.
    pub sequence: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connection, self.sequence)
    }
}

/// What the client saw of a request that it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A whole response, with this status.
    Complete(u16),
    /// The connection ended, or the client's patience did, before the response was whole.
    Cut,
}

/// How fast the upstream answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At once. Named `/id/C-N`.
    Usual,
    /// In a second or two, byte by byte, so that some exchange is always under way when something is killed. Named `/slow/C-N`.
    Slow,
}

impl Pace {
    /// What a request's path begins with.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Usual => "/id/",
            Self::Slow => "/slow/",
        }
    }
}

/// One request that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// Its name.
    pub id: Id,
    /// How fast it was to be answered.
    pub pace: Pace,
    /// What the client saw.
    pub fate: Fate,
    /// When it was due, in microseconds since the load began.
    pub due_us: u64,
    /// From the time it was due to the response's last byte, in microseconds.
    pub latency_us: u64,
}

/// What a complete response promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Its record, whatever the status.
    Always,
    /// Its record, unless the gateway said 503 because the record could not be written (`on_log_failure: reject`): then 0 or 1.
    UnlessRefused,
}

/// A count with the first few names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

impl Named {
    fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(name());
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.count)?;
        if !self.first.is_empty() {
            let more = if self.count > NAMED as u64 { ", …" } else { "" };
            write!(f, " ({}{more})", self.first[..self.first.len().min(NAMED)].join(", "))?;
        }
        Ok(())
    }
}

/// What came of the comparison.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Requests sent.
    pub requests: u64,
    /// Whole responses.
    pub complete: u64,
    /// Of them with another status than 200.
    pub not_200: u64,
    /// Requests whose response was not seen whole.
    pub cut: u64,
    /// Of them those that Kafka holds.
    pub cut_recorded: u64,
    /// Records in Kafka.
    pub records: u64,
    /// Whole responses without a record.
    pub missing: Named,
    /// Records beyond the first of the same request.
    pub twice: Named,
    /// Records of a connection that stand before an earlier one of it in the same partition.
    pub disordered: Named,
    /// Records that name no request of this run.
    pub strange: Named,
}

/// Compares. `partitions` holds each partition's record values in the order of their offsets.
pub fn check(exchanges: &[Exchange], promise: Promise, partitions: &BTreeMap<i32, Vec<Vec<u8>>>) -> Findings {
    let mut findings = Findings::default();
    let mut seen: HashMap<Id, u64> = exchanges.iter().map(|exchange| (exchange.id, 0)).collect();
    for (partition, values) in partitions {
        let mut last: HashMap<u32, u32> = HashMap::new();
        for (offset, value) in values.iter().enumerate() {
            findings.records += 1;
            let place = || format!("{partition}/{offset}");
            let Some(id) = id_of(value) else {
                findings.strange.add(place);
                continue;
            };
            match seen.get_mut(&id) {
                None => findings.strange.add(|| format!("{id} at {}", place())),
                Some(1..) => findings.twice.add(|| format!("{id} at {}", place())),
                Some(count) => {
                    *count += 1;
                    let before = last.insert(id.connection, id.sequence);
                    if before.is_some_and(|before| before > id.sequence) {
                        findings.disordered.add(|| format!("{id} at {}", place()));
                    }
                }
            }
        }
    }
    count_fates(exchanges, promise, &seen, &mut findings);
    findings
}

fn count_fates(exchanges: &[Exchange], promise: Promise, seen: &HashMap<Id, u64>, findings: &mut Findings) {
    for exchange in exchanges {
        findings.requests += 1;
        let is_recorded = seen.get(&exchange.id).is_some_and(|count| *count > 0);
        match exchange.fate {
            Fate::Cut => {
                findings.cut += 1;
                findings.cut_recorded += u64::from(is_recorded);
            }
            Fate::Complete(status) => {
                findings.complete += 1;
                findings.not_200 += u64::from(status != 200);
                let is_refused = promise == Promise::UnlessRefused && status == 503;
                if !is_recorded && !is_refused {
                    // When its last byte came says whether it went with a kill.
                    let whole_s = (exchange.due_us + exchange.latency_us) as f64 / 1e6;
                    findings.missing.add(|| format!("{} at {whole_s:.3} s", exchange.id));
                }
            }
        }
    }
}

/// The request that a log entry is about: the gateway's default entry has `request.uri`, the peer's log line `uri`.
fn id_of(value: &[u8]) -> Option<Id> {
    let entry: Value = serde_json::from_slice(value).ok()?;
    let uri = entry.pointer("/request/uri").or_else(|| entry.get("uri"))?.as_str()?;
    let name = [Pace::Usual, Pace::Slow].iter().find_map(|pace| uri.strip_prefix(pace.path()))?;
    let (connection, sequence) = name.split_once('-')?;
    Some(Id { connection: connection.parse().ok()?, sequence: sequence.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(connection: u32, sequence: u32, fate: Fate) -> Exchange {
        Exchange { id: Id { connection, sequence }, pace: Pace::Usual, fate, due_us: 0, latency_us: 0 }
    }

    fn entry(connection: u32, sequence: u32) -> Vec<u8> {
        format!("{{\"request\":{{\"uri\":\"/id/{connection}-{sequence}\"}}}}").into_bytes()
    }

    fn one(values: Vec<Vec<u8>>) -> BTreeMap<i32, Vec<Vec<u8>>> {
        BTreeMap::from([(0, values)])
    }

    #[test]
    fn every_response_with_one_record_in_order_is_clean() {
        let sent = [asked(1, 0, Fate::Complete(200)), asked(1, 1, Fate::Complete(200)), asked(2, 0, Fate::Cut)];
        let found = check(&sent, Promise::Always, &one(vec![entry(1, 0), entry(1, 1), entry(2, 0)]));
        assert_eq!((found.requests, found.complete, found.cut, found.cut_recorded, found.records), (3, 2, 1, 1, 3));
        for named in [found.missing, found.twice, found.disordered, found.strange] {
            assert_eq!(named, Named::default());
        }
    }

    #[test]
    fn a_response_without_a_record_is_missing_and_a_cut_one_is_not() {
        let sent = [asked(1, 0, Fate::Complete(200)), asked(1, 1, Fate::Cut)];
        let found = check(&sent, Promise::Always, &one(vec![]));
        assert_eq!(found.missing.to_string(), "1 (1-0 at 0.000 s)");
        assert_eq!(found.cut_recorded, 0);
    }

    #[test]
    fn a_second_record_is_twice_also_in_another_partition_and_for_a_cut_request() {
        let sent = [asked(1, 0, Fate::Complete(200)), asked(1, 1, Fate::Cut)];
        let partitions = BTreeMap::from([(0, vec![entry(1, 0), entry(1, 1)]), (2, vec![entry(1, 1), entry(1, 0)])]);
        let found = check(&sent, Promise::Always, &partitions);
        assert_eq!(found.twice.to_string(), "2 (1-1 at 2/0, 1-0 at 2/1)");
        assert_eq!(found.disordered.count, 0, "a repeat says nothing about order");
    }

    #[test]
    fn order_is_held_per_connection_and_partition() {
        let sent: Vec<Exchange> = (0..4).map(|sequence| asked(1, sequence, Fate::Complete(200))).collect();
        let spread = BTreeMap::from([(0, vec![entry(1, 1), entry(1, 3)]), (1, vec![entry(1, 0), entry(1, 2)])]);
        assert_eq!(check(&sent, Promise::Always, &spread).disordered.count, 0);
        let swapped = one(vec![entry(1, 0), entry(1, 2), entry(1, 1), entry(1, 3)]);
        assert_eq!(check(&sent, Promise::Always, &swapped).disordered.to_string(), "1 (1-1 at 0/2)");
    }

    #[test]
    fn a_record_of_nobody_is_strange() {
        let found = check(&[], Promise::Always, &one(vec![entry(9, 9), b"[]".to_vec(), b"{\"uri\":\"/x\"}".to_vec()]));
        assert_eq!(found.strange.to_string(), "3 (9-9 at 0/0, 0/1, 0/2)");
    }

    #[test]
    fn a_refusal_needs_no_record_where_it_is_one() {
        let sent = [asked(1, 0, Fate::Complete(503))];
        assert_eq!(check(&sent, Promise::UnlessRefused, &one(vec![])).missing.count, 0);
        assert_eq!(check(&sent, Promise::Always, &one(vec![])).missing.count, 1);
    }

    #[test]
    fn the_peers_log_line_is_read_too() {
        assert_eq!(id_of(b"{\"uri\":\"/id/3-17\"}"), Some(Id { connection: 3, sequence: 17 }));
        assert_eq!(id_of(b"{\"uri\":\"/slow/3-17\"}"), Some(Id { connection: 3, sequence: 17 }));
    }
}
