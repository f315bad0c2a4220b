//! The executor on real files, on both drivers: what is written is found, what is done is marked and deleted, what fails is said
//! and leaves nothing that a start would take for a batch.

use std::path::Path;

use super::*;
use crate::io::driver::{self, Driver};
use crate::io::ring_memory::{self, MappedSlot};
use crate::kafka::SlotMemory;
use crate::kafka::batch::{HEADROOM_BYTES, Identity, OpenBatch, key_bytes, write_header};
use crate::kafka::stored::STORED_AT;
use crate::spool::{Scan, scan};

const ORIGIN: Origin = Origin { start: 5, core: 2 };
const SLOT_BYTES: usize = 64 * 1024;
const SEGMENT_BYTES: u64 = 8 * 1024;

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tollgate-spool-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(path.join(REGISTRY)).unwrap();
    path
}

fn options(directory: &Path, fsync: Fsync) -> SpoolOptions {
    let directory = directory.to_owned();
    SpoolOptions { directory, limit_bytes: 64 * 1024, segment_bytes: SEGMENT_BYTES, fsync, fsync_interval_ms: 1 }
}

fn specs(topic: &str) -> (SinkSpec, StoredLane, u64) {
    let sink = SinkSpec::new(vec![("127.0.0.1".to_owned(), 9)]);
    let lane = StoredLane {
        topic: topic.to_owned(),
        key: None,
        partitioner: crate::kafka::Partitioner::Murmur2,
        batching: crate::kafka::Batching::Each,
        max_pending_entries: None,
        is_secured: false,
    };
    let key = lane_registry::key(&sink, &lane);
    (sink, lane, key)
}

/// A batch with one record, as it lies in a slot that is to be spilled. Gives the frame's range.
fn fill(slot: &mut MappedSlot, lane: u64, number: u64, value_bytes: usize) -> std::ops::Range<usize> {
    let memory = slot.bytes_mut();
    let mut open = OpenBatch::new(SLOT_BYTES, 2);
    let text = vec![b'a' + (number % 20) as u8; value_bytes];
    open.push_record(memory, &key_bytes(None), number as i64, &mut |out| out.push(&text)).unwrap();
    let sealed = open.sealed();
    write_header(memory, &sealed, Identity::NONE);
    let stored = Stored { sealed, ..Stored::begun(lane, ORIGIN, number) };
    stored.write(&mut memory[STORED_AT..]);
    STORED_AT..sealed.end
}

async fn put(spool: &Spool, slot: &mut MappedSlot, lane: u64, number: u64) -> Result<FrameRef, SpoolError> {
    let range = fill(slot, lane, number, 1_000);
    spool.spill(lane, ORIGIN, slot.pinned(range)).await
}

fn look(directory: &Path, number: u32, lane: u64) -> Scan {
    let id = SegmentId { lane, origin: ORIGIN, number };
    let bytes = std::fs::read(directory.join(id.path())).unwrap();
    assert_eq!(SegmentId::read(&bytes), Some(id));
    scan(id, &bytes)
}

fn on_both(test: impl AsyncFn(&'static str)) {
    for (driver, name) in [(driver::probe().ok(), "uring"), (Some(Driver::Epoll), "epoll")] {
        driver.into_iter().for_each(|driver| driver::run(driver, test(name)).unwrap());
    }
}

#[test]
fn frames_are_written_in_order_read_back_marked_and_deleted() {
    on_both(async |name| {
        for fsync in [Fsync::Never, Fsync::Interval, Fsync::Batch] {
            let directory = scratch(&format!("order-{name}"));
            let spool = Spool::new(options(&directory, fsync), 2, Rc::default());
            let (sink, spec, lane) = specs("one");
            spool.register(lane, &sink, &spec).unwrap();
            let text = std::fs::read_to_string(directory.join(registry_path(lane))).unwrap();
            assert_eq!(lane_registry::decode(&text).unwrap().0, sink);
            let mut slots = ring_memory::map(2, SLOT_BYTES).unwrap();
            let mut frames = Vec::new();
            for number in 0..6 {
                frames.push(put(&spool, &mut slots[0], lane, number).await.unwrap());
            }
            let scans: Vec<u64> = [look(&directory, 0, lane), look(&directory, 1, lane)]
                .iter()
                .flat_map(|scan| {
                    assert_eq!(scan.damage, []);
                    scan.frames.iter().map(|frame| frame.stored.number)
                })
                .collect();
            assert_eq!(scans, [0, 1, 2, 3, 4, 5]);
            assert_eq!((spool.gauges().frames, spool.gauges().entries, spool.gauges().oldest_ms), (6, 6, Some(0)));

            let frame = frames[3];
            let end = STORED_AT + frame.bytes as usize;
            spool.load(frame, slots[1].pinned_mut(STORED_AT..end)).await.unwrap();
            assert_eq!(Stored::read(&slots[1].bytes()[STORED_AT..]).unwrap().number, 3);
            assert!(slots[1].bytes()[HEADROOM_BYTES..end].windows(1_000).any(|window| window == [b'd'; 1_000]));
            assert_eq!(spool.load(frame, slots[1].pinned_mut(STORED_AT..end - 1)).await, Err(SpoolError::NoFrame));

            let first = frames.iter().filter(|frame| frame.segment == 0).count();
            for frame in frames[1..first].iter().chain(&frames[5..]) {
                spool.done(*frame).await;
            }
            spool.flush().await;
            let done: Vec<bool> = look(&directory, 0, lane).frames.iter().map(|frame| frame.stored.done).collect();
            assert_eq!(done, (0..first).map(|at| at > 0).collect::<Vec<_>>());
            for frame in frames[..1].iter().chain(&frames[first..5]) {
                spool.done(*frame).await;
            }
            spool.flush().await;
            assert!(!directory.join(SegmentId::of(&frames[0]).directory()).exists());
            let limit_bytes = spool.gauges().limit_bytes;
            assert_eq!(spool.gauges(), SpoolGauges { limit_bytes, ..SpoolGauges::default() });
            std::fs::remove_dir_all(directory).unwrap();
        }
    });
}

#[test]
fn a_new_segments_name_is_durable_with_its_first_batch_or_after_the_interval() {
    on_both(async |name| {
        for fsync in [Fsync::Never, Fsync::Interval, Fsync::Batch] {
            let directory = scratch(&format!("names-{name}"));
            let spool = Spool::new(options(&directory, fsync), 0, Rc::default());
            let (sink, spec, lane) = specs("six");
            spool.register(lane, &sink, &spec).unwrap();
            let mut slots = ring_memory::map(1, SLOT_BYTES).unwrap();
            let segments = put(&spool, &mut slots[0], lane, 0).await.map(|frame| [SegmentId::of(&frame)]).unwrap();
            let seen = || (spool.unnamed.borrow().len(), spool.durable_lanes.borrow().contains(&lane));
            assert_eq!(seen(), (usize::from(fsync == Fsync::Interval), fsync == Fsync::Batch), "{fsync:?}");
            assert!(spool.unnamed.borrow().is_subset(&segments.into()));
            spool.sync_dirty().await;
            assert_eq!(seen(), (0, fsync != Fsync::Never), "{fsync:?}");
            std::fs::remove_dir_all(directory).unwrap();
        }
    });
}

#[test]
fn the_background_task_marks_and_the_bound_is_said() {
    on_both(async |name| {
        let directory = scratch(&format!("bound-{name}"));
        let spool = Spool::new(options(&directory, Fsync::Interval), 0, Rc::default());
        monoio::spawn(Rc::clone(&spool).run());
        monoio::spawn(Rc::clone(&spool).sync_timer());
        let (sink, spec, lane) = specs("two");
        spool.register(lane, &sink, &spec).unwrap();
        let mut slots = ring_memory::map(1, SLOT_BYTES).unwrap();
        let mut frames = Vec::new();
        let error = loop {
            match put(&spool, &mut slots[0], lane, frames.len() as u64).await {
                Ok(frame) => frames.push(frame),
                Err(error) => break error,
            }
        };
        assert_eq!((error, spool.gauges().full), (SpoolError::Full, true));
        let counters = CoreCounters::default();
        spool.publish(&counters);
        let value = |counter| counters.value(counter);
        assert_eq!((value(Counter::SpoolBatches), value(Counter::SpoolFull)), (frames.len() as u64, 1));
        assert_eq!(
            (value(Counter::SpoolBytes), value(Counter::SpoolEntries)),
            (spool.gauges().bytes, frames.len() as u64)
        );
        // Made in January 1970.
        assert!(value(Counter::SpoolOldestSeconds) > 1_700_000_000);
        assert!(frames.len() > 30 && spool.gauges().bytes <= 64 * 1024);
        for frame in frames.iter().filter(|frame| frame.segment == 0) {
            spool.done(*frame).await;
        }
        let began = std::time::Instant::now();
        while directory.join(SegmentId::of(&frames[0]).path()).exists() && began.elapsed() < Duration::from_secs(10) {
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!directory.join(SegmentId::of(&frames[0]).path()).exists());
        put(&spool, &mut slots[0], lane, 99).await.unwrap();
        assert!(!spool.gauges().full);
        spool.flush().await;
        std::fs::remove_dir_all(directory).unwrap();
    });
}

#[test]
fn a_disk_that_refuses_is_left_alone_for_a_while_and_nothing_of_the_frame_is_left() {
    on_both(async |name| {
        let directory = scratch(&format!("refuses-{name}"));
        let spool = Spool::new(options(&directory, Fsync::Interval), 0, Rc::default());
        let (sink, spec, lane) = specs("three");
        spool.register(lane, &sink, &spec).unwrap();
        let mut slots = ring_memory::map(1, SLOT_BYTES).unwrap();
        let first = put(&spool, &mut slots[0], lane, 0).await.unwrap();
        let full = Rc::new(DataFile::open(Path::new("/dev/full")).unwrap());
        let good = spool.open.borrow_mut().insert(SegmentId::of(&first), full);
        assert_eq!(put(&spool, &mut slots[0], lane, 1).await, Err(SpoolError::NoSpace));
        good.map(|good| spool.open.borrow_mut().insert(SegmentId::of(&first), good));
        assert_eq!(put(&spool, &mut slots[0], lane, 1).await, Err(SpoolError::NoSpace), "not tried");
        assert!(spool.gauges().full);
        spool.flush().await;
        assert_eq!(look(&directory, 0, lane).frames.len(), 1);
        spool.paused_until.set(Mono::default());
        let again = put(&spool, &mut slots[0], lane, 1).await.unwrap();
        assert_eq!((again.segment, spool.gauges().frames, spool.gauges().full), (1, 2, false));
        std::fs::remove_dir_all(directory).unwrap();
    });
}

#[test]
fn what_stands_in_the_way_is_named() {
    on_both(async |name| {
        let directory = scratch(&format!("way-{name}"));
        let spool = Spool::new(options(&directory, Fsync::Never), 0, Rc::default());
        let (sink, spec, lane) = specs("four");
        let mut slots = ring_memory::map(1, SLOT_BYTES).unwrap();
        assert_eq!(put(&spool, &mut slots[0], lane, 0).await, Err(SpoolError::Unregistered));
        spool.register(lane, &sink, &spec).unwrap();
        let range = fill(&mut slots[0], lane, 0, 1_000);
        let pinned = |range| slots[0].pinned(range);
        let other = Origin { core: 9, ..ORIGIN };
        assert_eq!(spool.spill(lane, other, pinned(range.clone())).await, Err(SpoolError::NoFrame));
        assert_eq!(spool.spill(lane, ORIGIN, pinned(range.start..range.end - 1)).await, Err(SpoolError::NoFrame));
        // A file where the lane's directory should be.
        std::fs::write(directory.join(format!("{lane:016x}")), b"").unwrap();
        let error = spool.spill(lane, ORIGIN, pinned(range)).await.unwrap_err();
        assert!(matches!(error, SpoolError::System(_)), "{error:?}");
        assert_eq!(spool.gauges().frames, 0);
        std::fs::remove_dir_all(directory).unwrap();
    });
}

#[test]
fn a_frame_that_changed_on_the_disk_is_not_taken_and_what_was_found_is_taken_over() {
    on_both(async |name| {
        let directory = scratch(&format!("changed-{name}"));
        let (sink, spec, lane) = specs("five");
        let mut slots = ring_memory::map(1, SLOT_BYTES).unwrap();
        let earlier = Spool::new(options(&directory, Fsync::Batch), 0, Rc::default());
        earlier.register(lane, &sink, &spec).unwrap();
        for number in 0..3 {
            put(&earlier, &mut slots[0], lane, number).await.unwrap();
        }
        let spool = Spool::new(options(&directory, Fsync::Never), 1, Rc::default());
        let found: Vec<(FrameRef, Stored)> =
            look(&directory, 0, lane).frames.iter().map(|frame| (frame.reference(0), frame.stored)).collect();
        spool.adopt(lane, ORIGIN, &found);
        let path = directory.join(SegmentId::of(&found[1].0).path());
        assert_eq!((spool.gauges().frames, spool.gauges().bytes), (3, std::fs::metadata(&path).unwrap().len()));
        let range = |frame: &FrameRef| STORED_AT..STORED_AT + frame.bytes as usize;
        let file = DataFile::open(&path).unwrap();
        file.write_at(&b"!"[..], found[1].0.offset + 500).await.0.unwrap();
        for (at, expected) in [Ok(()), Err(SpoolError::Damaged), Ok(())].into_iter().enumerate() {
            let frame = found[at].0;
            assert_eq!(spool.load(frame, slots[0].pinned_mut(range(&frame))).await, expected, "{at}");
        }
        for (frame, _) in &found {
            spool.done(*frame).await;
        }
        spool.flush().await;
        assert!(!path.exists());
        std::fs::remove_dir_all(directory).unwrap();
    });
}
