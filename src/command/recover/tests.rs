//! Starts over directories that earlier processes left in every state that they can.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::lane_registry::{self, StoredLane};
use crate::io::ring_memory::{MappedSlot, RingHeader, map_file};
use crate::kafka::batch::{Identity, OpenBatch, RECORDS_START, key_bytes};
use crate::kafka::stored::DONE_AT;
use crate::kafka::{Batching, FrameRef, Origin, Partitioner, SinkSpec, SlotMemory, Stored, slot};
use crate::spool::segment::{REGISTRY, registry_path};
use crate::spool::{Fsync, SegmentId, scan};

const SLOT_BYTES: usize = 8192;
const ORIGIN: Origin = Origin { start: 1_000, core: 1 };
const NOW: u64 = 1_700_000_000_000_000_000;

/// Directories of one gateway.
struct Place {
    base: PathBuf,
    keep: KeepConfig,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

impl Place {
    fn new(name: &str) -> Self {
        let base = std::env::temp_dir().join(format!("tollgate-recover-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        fs::create_dir_all(&base).unwrap();
        let text = |part: &str| base.join(part).to_string_lossy().into_owned();
        let keep = KeepConfig {
            ring: RingPlace::Directory(text("ring")),
            spool: Some(text("spool")),
            spool_bytes: 1 << 20,
            fsync: Fsync::Interval,
            fsync_interval_ms: 1_000,
        };
        let place = Self { base, keep };
        drop(place.start());
        place
    }

    fn start(&self) -> (Kept, Recovered) {
        recover(&self.keep, "unused", NOW).unwrap()
    }

    /// What a start finds, the locks let go.
    fn found(&self) -> Recovered {
        self.start().1
    }

    fn ring(&self) -> PathBuf {
        self.base.join("ring")
    }

    fn spool(&self) -> PathBuf {
        self.base.join("spool")
    }

    fn register(&self, lane: u64) -> (SinkSpec, StoredLane) {
        let sink = SinkSpec::new(vec![(format!("kafka-{lane}"), 9092)]);
        let spec = StoredLane {
            topic: "t".to_owned(),
            key: None,
            partitioner: Partitioner::Murmur2,
            batching: Batching::Each,
            max_pending_entries: None,
            is_secured: false,
        };
        let path = self.spool().join(registry_path(lane));
        fs::write(path, lane_registry::encode(&sink, &spec)).unwrap();
        (sink, spec)
    }

    /// A ring file of a process that was killed, with these batches: each (lane, number, entries), the last still open.
    fn ring_of(&self, origin: Origin, batches: &[(u64, u64, usize)]) -> PathBuf {
        let header = RingHeader { origin, count: batches.len() + 3, slot_bytes: SLOT_BYTES };
        let mut slots = map_file(&self.ring(), header).unwrap();
        for (at, (lane, number, entries)) in batches.iter().enumerate() {
            let is_open = at + 1 == batches.len();
            write(&mut slots[at + 1], stored(*lane, origin, *number), *entries, is_open);
        }
        // Used and let go.
        write(&mut slots[0], stored(9, origin, 99), 3, false);
        slot::free(slots[0].bytes_mut());
        self.ring().join(header.file_name())
    }

    /// Numbers and entries of what is found, by lane.
    fn summary(&self) -> BTreeMap<u64, Vec<(u64, u64)>> {
        let mut all = BTreeMap::<u64, Vec<(u64, u64)>>::new();
        for lane in self.found().lanes {
            let of = lane.frames.iter().map(|(_, stored)| (stored.number, stored.sealed.entries));
            all.entry(lane.lane).or_default().extend(of);
        }
        all
    }

    fn segment(&self, frame: &FrameRef) -> PathBuf {
        self.spool().join(SegmentId::of(frame).path())
    }

    fn change(&self, frame: &FrameRef, at: u64, byte: u8) {
        let path = self.segment(frame);
        let mut bytes = fs::read(&path).unwrap();
        bytes[(frame.offset + at) as usize] = byte;
        fs::write(path, bytes).unwrap();
    }
}

fn stored(lane: u64, origin: Origin, number: u64) -> Stored {
    Stored::begun(lane, origin, number)
}

fn write(slot: &mut MappedSlot, mut stored: Stored, entries: usize, is_open: bool) {
    assert!(slot.commit());
    let memory = slot.bytes_mut();
    let mut batch = OpenBatch::new(memory.len(), 2);
    slot::open(memory, &stored, &batch);
    for entry in 0..entries {
        batch
            .push_record(memory, &key_bytes(None), 7, &mut |out| out.push(format!("entry {entry}").as_bytes()))
            .unwrap();
        slot::progress(memory, &batch);
    }
    if !is_open {
        stored.sealed = batch.sealed();
        slot::seal(memory, &stored);
    }
}

#[test]
fn an_empty_place_is_made_and_nothing_is_found() {
    let place = Place::new("empty");
    let (kept, found) = place.start();
    assert_eq!(found, Recovered::default());
    assert_eq!((kept.start, kept.ring.clone(), kept.spool.clone()), (NOW, Some(place.ring()), Some(place.spool())));
    for path in [place.ring(), place.spool(), place.spool().join(REGISTRY)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
    }
    kept.end();
    assert!(!place.ring().exists());
}

#[test]
fn what_a_killed_process_left_in_its_ring_is_in_the_spool_afterwards_open_batches_too() {
    let place = Place::new("left");
    let (sink, spec) = place.register(5);
    place.register(6);
    let other = Origin { start: 2_000, core: 0 };
    let rings =
        [place.ring_of(ORIGIN, &[(5, 11, 3), (6, 4, 1), (5, 10, 2)]), place.ring_of(other, &[(5, 0, 1), (5, 1, 0)])];
    let found = place.found();
    let lane = |at: usize| (found.lanes[at].lane, found.lanes[at].origin, found.lanes[at].frames.len());
    assert_eq!([lane(0), lane(1), lane(2)], [(5, ORIGIN, 2), (5, other, 1), (6, ORIGIN, 1)]);
    assert_eq!((&found.lanes[0].sink, &found.lanes[0].spec), (&sink, &spec));
    assert_eq!((found.warnings.len(), found.notes.len()), (0, 2), "{found:?}");
    assert!(rings.iter().all(|ring| !ring.exists()));
    for (frame, stored) in &found.lanes[0].frames {
        let bytes = fs::read(place.segment(frame)).unwrap();
        let scan = scan(SegmentId::of(frame), &bytes);
        assert_eq!(scan.damage, []);
        assert!(scan.frames.iter().any(|found| found.reference(frame.segment) == *frame && found.stored == *stored));
        assert_eq!(fs::metadata(place.segment(frame)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // The next start finds the same, in the spool alone.
    let again = place.found();
    assert_eq!((again.lanes, again.notes), (found.lanes, Vec::new()));
    assert_eq!(place.summary(), BTreeMap::from([(5, vec![(10, 2), (11, 3), (0, 1)]), (6, vec![(4, 1)])]));
}

#[test]
fn a_start_that_was_killed_in_the_middle_is_repeated_without_doubles() {
    let place = Place::new("middle");
    place.register(5);
    let ring = place.ring_of(ORIGIN, &[(5, 1, 2), (5, 2, 2), (5, 3, 2)]);
    let before = fs::read(&ring).unwrap();
    let first = place.summary();
    // As if the kill had come before the ring was let go.
    fs::write(&ring, before).unwrap();
    assert_eq!(place.summary(), first);
    assert_eq!(first[&5], [(1, 2), (2, 2), (3, 2)]);
    assert!(!ring.exists());
}

#[test]
fn the_ring_knows_better_how_far_a_spooled_batch_came() {
    let place = Place::new("better");
    place.register(5);
    place.ring_of(ORIGIN, &[(5, 1, 2), (5, 2, 4), (5, 3, 2)]);
    let found = place.found();
    let path = place.ring().join("again.ring");
    // The second was read back into the ring, and sent.
    let header = RingHeader { origin: ORIGIN, count: 1, slot_bytes: SLOT_BYTES };
    let mut slots = map_file(&place.ring(), header).unwrap();
    fs::rename(place.ring().join(header.file_name()), &path).unwrap();
    let identity = Some(Identity { producer_id: 70, epoch: 1, sequence: 9 });
    let sent = Stored { identity, partition: Some(3), sent: true, skip: 1, ..stored(5, ORIGIN, 2) };
    write(&mut slots[0], sent, 1, false);
    let again = place.found();
    let frames = &again.lanes[0].frames;
    assert_eq!(frames.len(), 3);
    let (frame, known) = frames[1];
    assert_eq!((known.identity, known.partition, known.sent, known.skip), (identity, Some(3), true, 1));
    assert_eq!((frame, known.sealed), (found.lanes[0].frames[1].0, found.lanes[0].frames[1].1.sealed));
    assert_eq!(frames[0], found.lanes[0].frames[0]);
    assert!(!path.exists());
    assert_eq!(place.found().lanes, again.lanes);
}

#[test]
fn what_is_delivered_is_not_delivered_again_and_a_failed_write_says_nothing_of_its_batch() {
    let place = Place::new("done");
    place.register(5);
    let batches = [(5, 1, 2), (5, 2, 2), (5, 3, 2), (5, 4, 2)];
    let ring = place.ring_of(ORIGIN, &batches);
    let before = fs::read(&ring).unwrap();
    let frames: Vec<FrameRef> = place.found().lanes[0].frames.iter().map(|(frame, _)| *frame).collect();
    place.change(&frames[0], DONE_AT as u64, crate::kafka::stored::DONE);
    place.change(&frames[2], DONE_AT as u64, crate::kafka::stored::VOID);
    assert_eq!(place.summary()[&5], [(2, 2), (4, 2)]);
    // Both are in the ring still: its slots had not been let go.
    fs::write(&ring, before).unwrap();
    assert_eq!(place.summary()[&5], [(2, 2), (3, 2), (4, 2)]);
    let found = place.found();
    found.lanes[0].frames.iter().for_each(|(frame, _)| place.change(frame, DONE_AT as u64, 1));
    assert_eq!(place.found(), Recovered::default());
    assert!(!place.spool().join(format!("{:016x}", 5)).exists() && !place.spool().join(registry_path(5)).exists());
}

#[test]
fn a_batch_that_stands_twice_counts_once() {
    let place = Place::new("twice");
    place.register(5);
    place.ring_of(ORIGIN, &[(5, 1, 2), (5, 2, 2)]);
    let first = place.found().lanes[0].frames[0].0;
    let copy = FrameRef { segment: 7, ..first };
    let mut bytes = fs::read(place.segment(&first)).unwrap();
    bytes[..512].copy_from_slice(&SegmentId::of(&copy).header());
    fs::write(place.segment(&copy), &bytes).unwrap();
    assert_eq!(place.summary()[&5], [(1, 2), (2, 2)]);
    assert!(!place.segment(&copy).exists());
    // The later one was delivered: so is the earlier.
    bytes[(first.offset as usize) + DONE_AT] = 1;
    fs::write(place.segment(&copy), &bytes).unwrap();
    assert_eq!(place.summary()[&5], [(2, 2)]);
    fs::remove_file(place.segment(&copy)).unwrap_or_default();
    assert_eq!(place.summary()[&5], [(2, 2)]);
}

#[test]
fn a_torn_tail_is_cut_and_said_and_what_is_no_segment_is_set_aside() {
    let place = Place::new("torn");
    place.register(5);
    place.ring_of(ORIGIN, &[(5, 1, 2), (5, 2, 2), (5, 3, 2)]);
    let frames: Vec<FrameRef> = place.found().lanes[0].frames.iter().map(|(frame, _)| *frame).collect();
    let path = place.segment(&frames[2]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let found = place.found();
    assert_eq!((found.lanes[0].frames.len(), found.warnings.len()), (2, 0));
    assert!(found.notes[0].contains("cut off behind the last whole batch"), "{found:?}");
    assert_eq!(fs::metadata(&path).unwrap().len(), frames[1].offset + u64::from(frames[1].bytes));
    assert_eq!(place.found().notes, Vec::<String>::new());
    // In the middle.
    place.change(&frames[0], 200, 0xff);
    let found = place.found();
    assert_eq!((found.lanes[0].frames.len(), found.warnings.len(), found.notes.len()), (1, 1, 0), "{found:?}");
    // Others.
    let [bad, foreign, other, short] =
        [90, 91, 92, 93].map(|segment| place.segment(&FrameRef { segment, ..frames[0] }));
    fs::write(&bad, [7; 600]).unwrap();
    fs::write(&foreign, &whole).unwrap();
    fs::write(&short, &whole[..100]).unwrap();
    let mut version = whole.clone();
    version[11] = 2;
    fs::write(&other, &version).unwrap();
    let found = place.found();
    assert_eq!((found.lanes[0].frames.len(), found.warnings.len()), (1, 4), "{found:?}");
    assert!(found.warnings.iter().any(|line| line.contains("another version")), "{found:?}");
    let exist = [&bad, &foreign, &other, &short].map(|path| path.exists());
    assert_eq!(exist, [false, false, true, false]);
    assert!(bad.with_extension("seg.bad").exists() && foreign.with_extension("seg.bad").exists());
}

#[test]
fn ring_files_that_cannot_be_read_are_said_and_none_of_them_is_lost() {
    let place = Place::new("rings");
    place.register(5);
    let good = place.ring_of(ORIGIN, &[(5, 1, 2), (5, 2, 2), (5, 3, 2)]);
    let whole = fs::read(&good).unwrap();
    let at = |name: &str| place.ring().join(format!("{name}.ring"));
    fs::write(at("garbage"), b"nothing").unwrap();
    let mut version = whole.clone();
    version[11] = 9;
    fs::write(at("version"), &version).unwrap();
    // Cut within the second batch's slot; numbers and origin are those of the good one, which comes first.
    fs::write(at("short"), &whole[..whole.len() - 3 * SLOT_BYTES]).unwrap();
    let found = place.found();
    assert_eq!(found.lanes[0].frames.len(), 3);
    let said = |words: &str| found.warnings.iter().filter(|line| line.contains(words)).count();
    assert_eq!((said("garbage.ring"), said("another version (9)"), said("short.ring")), (1, 1, 1), "{found:?}");
    assert_eq!(
        (good.exists(), at("version").exists(), at("garbage").exists(), at("short").exists()),
        (false, true, false, false)
    );
    assert!(place.ring().join("garbage.ring.bad").exists() && place.ring().join("short.ring.bad").exists());
    // A slot that is damaged costs itself.
    let mut damaged = whole.clone();
    damaged[4096 + SLOT_BYTES + RECORDS_START] ^= 0x7f;
    fs::remove_dir_all(place.spool().join(format!("{:016x}", 5))).unwrap();
    place.register(5);
    fs::write(at("damaged"), damaged).unwrap();
    let found = place.found();
    assert_eq!(found.lanes[0].frames.len(), 2);
    assert!(found.warnings.iter().any(|line| line.contains("slot 1 is damaged")), "{found:?}");
}

#[test]
fn a_lane_that_nobody_knows_stays_until_it_is_known() {
    let place = Place::new("orphan");
    place.ring_of(ORIGIN, &[(5, 1, 2), (5, 2, 2)]);
    for _ in 0..2 {
        let found = place.found();
        assert_eq!(found.lanes, []);
        assert!(found.warnings[0].contains("2 batches of that lane stay"), "{found:?}");
    }
    fs::write(place.spool().join(registry_path(5)), "{}").unwrap();
    assert!(place.found().warnings[0].contains("version"));
    place.register(5);
    assert_eq!(place.summary()[&5], [(1, 2), (2, 2)]);
}

#[test]
fn without_room_the_ring_keeps_what_is_left() {
    let place = Place::new("room");
    place.register(5);
    place.register(6);
    let ring = place.ring_of(ORIGIN, &[(5, 1, 2), (6, 1, 2), (6, 2, 1)]);
    // A file where the second lane's directory should be.
    let in_the_way = place.spool().join(format!("{:016x}", 6));
    fs::write(&in_the_way, b"").unwrap();
    let found = place.found();
    assert_eq!((found.lanes.len(), found.warnings.len()), (1, 1), "{found:?}");
    assert!(found.warnings[0].contains("the next start tries again") && ring.exists());
    fs::remove_file(in_the_way).unwrap();
    place.register(6);
    // The first lane's batch was delivered meanwhile: its segment is gone, and it is not in the ring any more.
    fs::remove_dir_all(place.spool().join(format!("{:016x}", 5))).unwrap();
    assert_eq!(place.summary(), BTreeMap::from([(6, vec![(1, 2), (2, 1)])]));
    assert!(!ring.exists());
}

#[test]
fn a_second_gateway_is_told_who_is_in_its_way() {
    let place = Place::new("second");
    let (kept, _) = place.start();
    let error = recover(&place.keep, "unused", NOW).map(|_| ()).unwrap_err();
    assert!(error.contains("another gateway uses") && error.contains("tollgate.spool.path"), "{error}");
    let mut other = place.keep.clone();
    other.spool = Some(place.base.join("other").to_string_lossy().into_owned());
    let error = recover(&other, "unused", NOW).map(|_| ()).unwrap_err();
    assert!(error.contains("tollgate.ring.path"), "{error}");
    drop(kept);
    recover(&place.keep, "unused", NOW).unwrap();
}

#[test]
fn a_spool_that_cannot_be_used_is_a_warning_and_ring_files_stay() {
    let place = Place::new("unusable");
    let ring = place.ring_of(ORIGIN, &[(5, 1, 2)]);
    let mut keep = place.keep.clone();
    fs::write(place.base.join("file"), b"").unwrap();
    keep.spool = Some(place.base.join("file/spool").to_string_lossy().into_owned());
    let (kept, found) = recover(&keep, "unused", NOW).unwrap();
    assert_eq!((kept.spool, kept.ring), (None, None));
    assert!(found.warnings[0].contains("file/spool") && found.warnings[0].contains("tollgate.spool.path"), "{found:?}");
    assert!(found.warnings[1].contains("1 ring files of an earlier run stay there") && ring.exists(), "{found:?}");
    let mut keep = place.keep.clone();
    keep.ring = RingPlace::Directory(place.base.join("file/ring").to_string_lossy().into_owned());
    let (kept, found) = recover(&keep, "unused", NOW).unwrap();
    assert!(kept.spool.is_some() && kept.ring.is_none());
    assert!(found.warnings[0].contains("tollgate.ring.path"), "{found:?}");
}

#[test]
fn starts_are_counted_upwards_whatever_the_clock_says_and_an_empty_ring_goes_at_the_end() {
    let place = Place::new("upwards");
    place.register(5);
    place.ring_of(Origin { start: NOW + 50, core: 0 }, &[(5, 1, 2)]);
    let (kept, _) = place.start();
    assert_eq!(kept.start, NOW + 51);
    drop(kept);
    let (kept, _) = place.start();
    assert_eq!(kept.start, NOW + 51, "known from the spool");
    let own = |core| Origin { start: kept.start, core };
    let full = place.ring_of(own(0), &[(5, 1, 2)]);
    let empty = place.ring_of(own(1), &[(5, 1, 0)]);
    let mut memory = fs::read(&empty).unwrap();
    slot::free(&mut memory[4096 + SLOT_BYTES..]);
    fs::write(&empty, memory).unwrap();
    kept.end();
    assert!(full.exists() && !empty.exists());
}

#[test]
fn the_default_ring_has_one_place_whether_the_data_directory_is_there_or_not() {
    let place = Place::new("default");
    let data = place.base.join("data");
    let before = default_ring(&data.to_string_lossy());
    fs::create_dir(&data).unwrap();
    assert_eq!(default_ring(&format!("{}/", data.display())), before);
    assert_ne!(default_ring(&place.base.to_string_lossy()), before);
    assert_eq!(default_ring("./x"), default_ring("x"));
    let name = before.to_string_lossy().into_owned();
    assert!(name.starts_with("/dev/shm/tollgate-") && name.len() == "/dev/shm/tollgate-".len() + 16, "{name}");
}

#[test]
fn lanes_are_divided_with_all_of_one_on_one_core_and_shares_are_checked() {
    let place = Place::new("divided");
    for lane in 1..=5 {
        place.register(lane);
    }
    for start in [10, 20] {
        let batches: Vec<(u64, u64, usize)> = (1..=5).map(|lane| (lane, 0, 1)).collect();
        place.ring_of(Origin { start, core: 0 }, &batches);
    }
    let (kept, found) = place.start();
    let shares = found.distribute(2);
    let seen = |share: &[RecoveredLane]| share.iter().map(|lane| (lane.lane, lane.origin.start)).collect::<Vec<_>>();
    assert_eq!(seen(&shares[0]), [(1, 10), (1, 20), (3, 10), (3, 20), (5, 10), (5, 20)]);
    assert_eq!(seen(&shares[1]), [(2, 10), (2, 20), (4, 10), (4, 20)]);
    let (options, warnings) = kept.share(&place.keep, 4, 64 * 1024);
    let options = options.unwrap();
    assert_eq!((options.limit_bytes, options.segment_bytes, warnings.len()), (1 << 18, 1 << 15, 0));
    assert_eq!(kept.share(&place.keep, 16, 64 * 1024).1.len(), 1);
    let huge = KeepConfig { spool_bytes: 1 << 60, ..place.keep.clone() };
    assert!(kept.share(&huge, 1, 64 * 1024).1[0].contains("bytes are free"));
    assert!(kept.ring_room(1).is_none() && kept.ring_room(1 << 60).unwrap().contains("tollgate.ring.path"));
}

#[test]
fn an_array_on_its_way_between_two_slots_counts_once() {
    let place = Place::new("carried");
    place.register(5);
    let header = RingHeader { origin: ORIGIN, count: 2, slot_bytes: SLOT_BYTES };
    let mut slots = map_file(&place.ring(), header).unwrap();
    assert!(slots.iter_mut().all(SlotMemory::commit));
    let [first, second] = &mut slots[..] else { panic!("two") };
    let mut earlier = OpenBatch::new(SLOT_BYTES, 3);
    slot::open(first.bytes_mut(), &stored(5, ORIGIN, 1), &earlier);
    earlier.push_record(first.bytes_mut(), &key_bytes(None), 7, &mut |out| out.push(b"alone")).unwrap();
    earlier.push_element(first.bytes_mut(), &key_bytes(None), 7, 1 << 20, &mut |out| out.push(b"1")).unwrap();
    slot::progress(first.bytes_mut(), &earlier);
    let mut later = OpenBatch::new(SLOT_BYTES, 3);
    slot::open(second.bytes_mut(), &stored(5, ORIGIN, 2), &later);
    assert!(earlier.carry_array(first.bytes(), &mut later, second.bytes_mut(), &key_bytes(None)));
    slot::progress(second.bytes_mut(), &later);
    drop(slots);
    assert_eq!(place.summary()[&5], [(1, 1), (2, 1)]);
}
