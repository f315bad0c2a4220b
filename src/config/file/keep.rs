//! `tollgate.ring.path` and `tollgate.spool`: where records are kept that Kafka cannot take now, or that a killed process leaves.

use super::tollgate::MS_MOST;
use super::tree::Section;
use crate::base::limits;
use crate::spool::Fsync;

/// The word for "not kept", and for "not at all" elsewhere.
pub const NONE: &str = "none";
/// Bytes of the smallest spool.
const SPOOL_BYTES_LEAST: u64 = 1024 * 1024;
/// Bytes of the largest spool.
const SPOOL_BYTES_MOST: u64 = 1 << 50;

/// Where and how records are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepConfig {
    /// `ring.path`.
    pub ring: RingPlace,
    /// `spool.path`: default `spool` in the data directory; `None` if the file says `none`.
    pub spool: Option<String>,
    /// `spool.bytes`: of all cores. Default [`limits::SPOOL_BYTES`].
    pub spool_bytes: u64,
    /// `spool.fsync`.
    pub fsync: Fsync,
    /// `spool.fsync_interval_ms`. Default [`limits::FSYNC_INTERVAL_MS`].
    pub fsync_interval_ms: u64,
}

/// `tollgate.ring.path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RingPlace {
    /// Not written: a directory on tmpfs that belongs to the data directory.
    Tmpfs,
    /// This directory.
    Directory(String),
    /// `none`, or there is no spool: in memory that goes with the process.
    Anonymous,
}

/// Reads both sections.
pub fn keep(ring: &Section<'_>, spool: &Section<'_>, data_dir: &str) -> KeepConfig {
    let written = spool.text("path");
    let path = match written.as_deref() {
        Some(NONE) => None,
        Some(path) => Some(path.to_owned()),
        None => Some(format!("{}/spool", data_dir.trim_end_matches('/'))),
    };
    let place = match ring.text("path") {
        Some(word) if word == NONE => RingPlace::Anonymous,
        Some(_) if path.is_none() => {
            ring.warn("path", "without effect while tollgate.spool.path is none: what a ring leaves goes to the spool");
            RingPlace::Anonymous
        }
        Some(path) => RingPlace::Directory(path),
        None if path.is_none() => RingPlace::Anonymous,
        None => RingPlace::Tmpfs,
    };
    let policies = [("never", Fsync::Never), ("interval", Fsync::Interval), ("batch", Fsync::Batch)];
    KeepConfig {
        ring: place,
        spool: path,
        spool_bytes: spool.bytes("bytes", SPOOL_BYTES_LEAST..=SPOOL_BYTES_MOST, limits::SPOOL_BYTES),
        fsync: spool.word("fsync", &policies, Fsync::Interval),
        fsync_interval_ms: spool.number("fsync_interval_ms", 1..=MS_MOST, limits::FSYNC_INTERVAL_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Findings;
    use super::*;
    use serde_json::{Value, json};

    fn read(ring: Value, spool: Value) -> (KeepConfig, Vec<String>) {
        let findings = Findings::default();
        let file = json!({ "ring": ring, "spool": spool });
        let root = Section::new(&findings, "tollgate", Some(&file));
        let config = keep(&root.section("ring"), &root.section("spool"), "data/");
        drop(root);
        let mut said = findings.warnings.take();
        said.extend(findings.problems.take().iter().map(ToString::to_string));
        (config, said)
    }

    #[test]
    fn unwritten_both_are_on() {
        let (config, said) = read(Value::Null, Value::Null);
        let expected = KeepConfig {
            ring: RingPlace::Tmpfs,
            spool: Some("data/spool".to_owned()),
            spool_bytes: 1 << 30,
            fsync: Fsync::Interval,
            fsync_interval_ms: 1_000,
        };
        assert_eq!((config, said), (expected, Vec::new()));
    }

    #[test]
    fn what_is_written_is_taken_and_what_is_wrong_is_said() {
        let (config, said) = read(
            json!({"path": "/ring"}),
            json!({"path": "/s", "bytes": "2g", "fsync": "batch", "fsync_interval_ms": 50}),
        );
        let expected = KeepConfig {
            ring: RingPlace::Directory("/ring".to_owned()),
            spool: Some("/s".to_owned()),
            spool_bytes: 2 << 30,
            fsync: Fsync::Batch,
            fsync_interval_ms: 50,
        };
        assert_eq!((config, said), (expected, Vec::new()));
        let (_, said) = read(Value::Null, json!({"bytes": 7, "fsync": "often", "fsync_interval_ms": 0, "size": 1}));
        for (line, begins) in said.iter().zip(["size", "bytes", "fsync", "fsync_interval_ms"]) {
            assert!(line.starts_with(&format!("tollgate.spool.{begins}: ")), "{line}");
        }
        assert_eq!(said.len(), 4);
    }

    #[test]
    fn a_ring_outlives_the_process_only_beside_a_spool() {
        assert_eq!(read(json!({"path": "none"}), Value::Null).0.ring, RingPlace::Anonymous);
        let (config, said) = read(Value::Null, json!({"path": "none"}));
        assert_eq!((config.ring, config.spool, said.len()), (RingPlace::Anonymous, None, 0));
        let (config, said) = read(json!({"path": "/ring"}), json!({"path": "none"}));
        assert_eq!(config.ring, RingPlace::Anonymous);
        assert!(said[0].starts_with("tollgate.ring.path: without effect"), "{said:?}");
    }
}
