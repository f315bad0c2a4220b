//! What the gateway says of its records: its Prometheus text as numbers, and the equation that must hold in each of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::CALLER;
use crate::Outcome;

const PATH: &str = "/apisix/prometheus/metrics";
/// Every counter of entries begins so.
const ENTRIES: &str = "tollgate_log_entries_";
/// Every counter of responses that waited for Kafka begins so.
const HELD_RESPONSES: &str = "tollgate_held_responses_";

/// Entries, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Taken into the ring.
    pub accepted: u64,
    /// Acknowledged.
    pub delivered: u64,
    /// Not decided yet.
    pub held: u64,
    /// Sent, and nobody knows.
    pub in_doubt: u64,
    /// Accepted and given up.
    pub lost: u64,
    /// Never accepted: no room, or too large.
    pub dropped: u64,
}

impl Entries {
    /// accepted = delivered + held + in doubt + lost.
    pub fn is_balanced(&self) -> bool {
        self.accepted == self.delivered + self.held + self.in_doubt + self.lost
    }

    fn add(&mut self, name: &str, value: u64) {
        match name {
            "accepted_total" => self.accepted += value,
            "delivered_total" => self.delivered += value,
            "held" => self.held += value,
            "in_doubt_total" => self.in_doubt += value,
            "lost_total" => self.lost += value,
            "dropped_total" | "too_large_total" => self.dropped += value,
            _ => {}
        }
    }
}

/// One reading of the endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// By core.
    pub cores: BTreeMap<String, Entries>,
    /// Lost and dropped entries by the reason that the metric's label gives.
    pub reasons: BTreeMap<String, u64>,
    /// What became of responses that waited for Kafka, all cores.
    pub held_responses: BTreeMap<String, u64>,
}

impl Sample {
    /// Reads the endpoint.
    pub fn read(address: SocketAddr) -> Outcome<Self> {
        let (status, text) = CALLER.http(address, "GET", PATH, "")?;
        let sample = parse(&text);
        if status != 200 || sample.cores.is_empty() {
            return Err(format!("{address}{PATH} counts no entries (status {status})"));
        }
        Ok(sample)
    }

    /// All cores.
    pub fn sum(&self) -> Entries {
        self.cores.values().fold(Entries::default(), |sum, core| Entries {
            accepted: sum.accepted + core.accepted,
            delivered: sum.delivered + core.delivered,
            held: sum.held + core.held,
            in_doubt: sum.in_doubt + core.in_doubt,
            lost: sum.lost + core.lost,
            dropped: sum.dropped + core.dropped,
        })
    }

    /// The cores whose numbers do not add up.
    pub fn unbalanced(&self) -> Vec<String> {
        let wrong = self.cores.iter().filter(|(_, entries)| !entries.is_balanced());
        wrong.map(|(core, entries)| format!("core {core}: {entries:?}")).collect()
    }
}

fn parse(text: &str) -> Sample {
    let mut sample = Sample::default();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let value = value.parse::<f64>().unwrap_or(0.0) as u64;
        let held_response = series.strip_prefix(HELD_RESPONSES).and_then(|rest| rest.split_once("_total"));
        if let Some((name, _)) = held_response.filter(|_| value > 0) {
            *sample.held_responses.entry(name.to_owned()).or_default() += value;
        }
        let Some(series) = series.strip_prefix(ENTRIES) else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let core = label(labels, "core").unwrap_or("all");
        sample.cores.entry(core.to_owned()).or_default().add(name, value);
        if let Some(reason) = label(labels, "reason").filter(|_| value > 0) {
            *sample.reasons.entry(reason.to_owned()).or_default() += value;
        }
    }
    sample
}

/// The value of a label. Ours hold no quotes.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(['{', ',']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\"")?.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE tollgate_log_entries_accepted_total counter
tollgate_log_entries_accepted_total{core=\"0\"} 10
tollgate_log_entries_accepted_total{core=\"1\"} 5
tollgate_log_entries_delivered_total{core=\"0\",sink=\"a\"} 4
tollgate_log_entries_delivered_total{core=\"0\",sink=\"b\"} 3
tollgate_log_entries_delivered_total{core=\"1\"} 5
tollgate_log_entries_held{core=\"0\"} 1
tollgate_log_entries_lost_total{core=\"0\",reason=\"refused\"} 1
tollgate_log_entries_in_doubt_total{core=\"0\"} 1
tollgate_log_entries_dropped_total{core=\"1\",reason=\"ring full\"} 2
tollgate_ring_slots{core=\"0\"} 64
tollgate_held_responses{core=\"0\"} 3
tollgate_held_responses_passed_total{core=\"0\"} 4
tollgate_held_responses_passed_total{core=\"1\"} 1
tollgate_held_responses_rejected_total{core=\"1\"} 0
";

    #[test]
    fn cores_are_kept_apart_and_other_labels_added_up() {
        let sample = parse(TEXT);
        let core = Entries { accepted: 10, delivered: 7, held: 1, in_doubt: 1, lost: 1, dropped: 0 };
        assert_eq!(sample.cores["0"], core);
        assert_eq!(sample.sum(), Entries { accepted: 15, delivered: 12, dropped: 2, ..core });
        assert_eq!(sample.reasons, BTreeMap::from([("refused".to_owned(), 1), ("ring full".to_owned(), 2)]));
        assert_eq!(sample.unbalanced(), Vec::<String>::new());
        assert_eq!(sample.held_responses, BTreeMap::from([("passed".to_owned(), 5)]));
    }

    #[test]
    fn a_core_that_does_not_add_up_is_found_even_if_the_sum_does() {
        let text = TEXT.replace("accepted_total{core=\"0\"} 10", "accepted_total{core=\"0\"} 11");
        let text = text.replace("accepted_total{core=\"1\"} 5", "accepted_total{core=\"1\"} 4");
        let sample = parse(&text);
        assert!(sample.sum().is_balanced());
        assert_eq!(sample.unbalanced().len(), 2);
    }
}
