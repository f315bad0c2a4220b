//! What the commands say of a spool, whole and damaged.

use super::*;
use crate::config::lane_registry::{StoredLane, encode};
use crate::kafka::batch::{HEADROOM_BYTES, Identity, OpenBatch, key_bytes, write_header};
use crate::kafka::stored::{DONE_AT, STORED_AT, STORED_BYTES};
use crate::kafka::{Batching, Partitioner, SinkSpec, Stored};
use crate::spool::segment::{aligned, registry_path};

const LANE: u64 = 0xab;
const ID: SegmentId = SegmentId { lane: LANE, origin: Origin { start: 7, core: 2 }, number: 0 };
const MADE_MS: i64 = 1_000_000;

fn frame(number: u64) -> Vec<u8> {
    let mut memory = vec![0; 4096];
    let mut open = OpenBatch::new(memory.len(), 2);
    for _ in 0..=number {
        open.push_record(&mut memory, &key_bytes(None), MADE_MS, &mut |out| out.push(b"entry")).unwrap();
    }
    let sealed = open.sealed();
    write_header(&mut memory, &sealed, Identity::NONE);
    let stored = Stored { sealed, ..Stored::begun(LANE, ID.origin, number) };
    stored.write(&mut memory[STORED_AT..]);
    assert_eq!(STORED_AT + STORED_BYTES, HEADROOM_BYTES);
    memory[STORED_AT..sealed.end].to_vec()
}

/// A spool of one segment with three frames, the second delivered.
fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tollgate-spool-command-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(path.join("lanes")).unwrap();
    fs::create_dir_all(path.join(ID.directory())).unwrap();
    let sink = SinkSpec::new(vec![("kafka".to_owned(), 9092), ("other".to_owned(), 1)]);
    let (partitioner, batching) = (Partitioner::Murmur2, Batching::Each);
    let topic = "orders".to_owned();
    let spec = StoredLane { topic, key: None, partitioner, batching, max_pending_entries: None, is_secured: false };
    fs::write(path.join(registry_path(LANE)), encode(&sink, &spec)).unwrap();
    let mut bytes = ID.header().to_vec();
    for number in 0..3 {
        bytes.resize(aligned(bytes.len() as u64) as usize, 0);
        let at = bytes.len();
        bytes.extend(frame(number));
        bytes[at + DONE_AT] = u8::from(number == 1);
    }
    fs::write(path.join(ID.path()), bytes).unwrap();
    path
}

fn listed(path: &Path) -> String {
    let mut out = Vec::new();
    list(path, MADE_MS + 3_725_000, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn verified(path: &Path) -> (bool, String) {
    let mut out = Vec::new();
    let sound = verify(path, &mut out).unwrap();
    (sound, String::from_utf8(out).unwrap())
}

#[test]
fn what_waits_is_listed_by_lane_and_start() {
    let path = scratch("ls");
    let bytes = fs::metadata(path.join(ID.path())).unwrap().len();
    let expected = format!(
        "LANE              TOPIC   KAFKA               START-CORE          BATCHES  ENTRIES  BYTES  OLDEST\n\
         00000000000000ab  orders  kafka:9092,other:1  0000000000000007-2  2        4        {bytes}   1h02m\n\
         2 batches with 4 entries wait, {bytes} bytes on disk\n"
    );
    assert_eq!(listed(&path), expected);
    fs::remove_file(path.join(registry_path(LANE))).unwrap();
    assert!(listed(&path).contains("?      not in the registry"));
    fs::remove_dir_all(path.join(ID.directory())).unwrap();
    assert_eq!(listed(&path), "0 batches with 0 entries wait, 0 bytes on disk\n");
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_whole_spool_is_sound_and_everything_that_is_wrong_is_said() {
    let path = scratch("verify");
    let file = path.join(ID.path());
    let whole = fs::read(&file).unwrap();
    let expected = "1 segments, 2 whole batches wait, 1 are delivered; 0 things are wrong\n";
    assert_eq!(verified(&path), (true, expected.to_owned()));

    let wrong = |bytes: &[u8], words: &str| {
        fs::write(&file, bytes).unwrap();
        let (sound, said) = verified(&path);
        assert!(!sound && said.contains(words) && said.contains("1 things are wrong"), "{said}");
    };
    wrong(&whole[..whole.len() - 1], "the file ends within the frame");
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    wrong(&changed(whole.len() - 1), "does not fit its checksum");
    wrong(&changed(3), "its header is damaged");
    fs::write(&file, &whole).unwrap();

    fs::write(path.join("x.seg.bad"), b"").unwrap();
    assert!(verified(&path).1.contains("x.seg.bad: set aside"));
    fs::remove_file(path.join("x.seg.bad")).unwrap();
    fs::write(path.join(registry_path(LANE)), b"{").unwrap();
    assert!(verified(&path).1.contains("lane 00000000000000ab: not in the registry"));
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_torn_tail_beside_a_gateway_that_runs_is_perhaps_none() {
    let path = scratch("running");
    let file = path.join(ID.path());
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let lock = File::open(&path).unwrap();
    lock.lock().unwrap();
    let (sound, said) = verified(&path);
    assert!(sound && said.contains("a gateway runs"), "{said}");
    drop(lock);
    assert!(!verified(&path).0);
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn ages_are_said_in_two_units() {
    let ages = [-5, 59_999, 60_000, 3_600_000, 90_000_000].map(age);
    assert_eq!(ages, ["0s", "59s", "1m00s", "1h00m", "1d01h"]);
}
