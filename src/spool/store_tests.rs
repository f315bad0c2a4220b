//! The bookkeeping against a plain model: order, the bound, marks and deletes, taking over what was found.

use std::collections::BTreeMap;

use super::segment_tests::{LANE, ORIGIN, frame};
use super::*;
use crate::kafka::stored::{FrameRef, Origin, Stored};

const SEGMENT: u64 = 8 * 1024;

fn reference(placed: Placed, bytes: usize) -> FrameRef {
    let SegmentId { lane, origin, number } = placed.file;
    FrameRef { lane, origin, segment: number, offset: placed.offset, bytes: bytes as u32 }
}

/// Places and writes one.
fn put(store: &mut Store, lane: u64, bytes: usize, stored: &Stored) -> FrameRef {
    let frame = reference(store.place(lane, ORIGIN, bytes).expect("room"), bytes);
    store.written(frame, stored);
    frame
}

#[test]
fn frames_of_a_lane_lie_one_behind_the_other_and_a_segment_holds_no_half() {
    let mut store = Store::new(1 << 20, SEGMENT);
    let (stored, _) = frame(1, 10);
    let frames: Vec<FrameRef> = (0..20).map(|_| put(&mut store, LANE, 1_000, &stored)).collect();
    assert!(frames.windows(2).all(|pair| (pair[0].segment, pair[0].offset) < (pair[1].segment, pair[1].offset)));
    // A header block and seven frames of two blocks each.
    assert_eq!(frames.iter().filter(|frame| frame.segment == 0).count(), 7);
    assert!(
        frames.iter().all(|frame| frame.offset + 1_000 <= SEGMENT && frame.offset % 512 == 0 && frame.offset >= 512)
    );
    assert_eq!((store.frames(), store.entries(), store.bytes()), (20, 20, 3 * 512 + 20 * 1_024));
    let large = store.place(LANE, ORIGIN, 3 * SEGMENT as usize).expect("room");
    assert_eq!((large.new_file, large.offset), (true, 512), "a frame larger than a segment has one of its own");
}

#[test]
fn what_is_done_is_marked_and_the_file_goes_with_its_last_frame() {
    let mut store = Store::new(1 << 20, SEGMENT);
    let (stored, _) = frame(1, 10);
    let frames: Vec<FrameRef> = (0..9).map(|_| put(&mut store, LANE, 1_000, &stored)).collect();
    let file = SegmentId::of(&frames[0]);
    for frame in &frames[1..7] {
        assert_eq!(store.done(*frame), Some(FileAction::MarkDone { file, offset: frame.offset }));
    }
    assert_eq!(store.done(frames[1]), None, "once");
    assert_eq!(store.done(frames[0]), Some(FileAction::Delete { file }));
    assert_eq!((store.frames(), store.bytes()), (2, 512 + 2 * 1_024));
    store.done(frames[7]);
    assert_eq!(store.done(frames[8]), Some(FileAction::Delete { file: SegmentId::of(&frames[8]) }), "the tail too");
    assert_eq!((store.frames(), store.entries(), store.bytes(), store.oldest_ms()), (0, 0, 0, None));
    let next = store.place(LANE, ORIGIN, 1_000).expect("room");
    assert!(next.new_file && next.file.number > frames[8].segment, "a deleted file's number is not used again");
}

#[test]
fn a_frame_that_is_being_written_keeps_its_file() {
    let mut store = Store::new(1 << 20, SEGMENT);
    let (stored, _) = frame(1, 10);
    let first = put(&mut store, LANE, 1_000, &stored);
    let second = reference(store.place(LANE, ORIGIN, 1_000).expect("room"), 1_000);
    assert!(matches!(store.done(first), Some(FileAction::MarkDone { .. })));
    assert_eq!(store.oldest_ms(), None, "not written yet");
    store.written(second, &stored);
    assert_eq!(store.oldest_ms(), Some(1_001));
}

#[test]
fn a_file_that_could_not_be_written_to_gets_no_more() {
    let mut store = Store::new(1 << 20, SEGMENT);
    let (stored, _) = frame(1, 10);
    let first = put(&mut store, LANE, 1_000, &stored);
    let second = reference(store.place(LANE, ORIGIN, 1_000).expect("room"), 1_000);
    let file = SegmentId::of(&first);
    assert_eq!(store.failed(second), Some(FileAction::MarkVoid { file, offset: second.offset }));
    let third = store.place(LANE, ORIGIN, 1_000).expect("room");
    assert!(third.new_file);
    assert_eq!(store.failed(reference(third, 1_000)), Some(FileAction::Delete { file: third.file }));
    assert_eq!((store.frames(), store.entries()), (1, 1));
}

#[test]
fn over_the_limit_nothing_is_placed_until_a_file_is_deleted() {
    let mut store = Store::new(16 * 1024, SEGMENT);
    let (stored, _) = frame(1, 10);
    let frames: Vec<FrameRef> = (0..14).map(|_| put(&mut store, LANE, 1_000, &stored)).collect();
    assert!(!store.is_full());
    assert_eq!(store.place(LANE, ORIGIN, 1_000), Err(Full));
    assert!(store.is_full() && store.bytes() <= 16 * 1024);
    frames[..6].iter().for_each(|frame| assert!(store.done(*frame).is_some()));
    assert!(store.place(LANE, ORIGIN, 1_000).is_err(), "a marked frame's room is not free");
    store.done(frames[6]);
    assert!(!store.is_full());
    assert!(store.place(LANE, ORIGIN, 1_000).is_ok());
}

#[test]
fn what_was_found_is_taken_over_whatever_the_limit_and_never_appended_to() {
    let mut store = Store::new(4 * 1024, SEGMENT);
    let found = |number, done| (512 * number, Stored { done, skip: 0, ..frame(number, 10).0 });
    store.adopt(LANE, ORIGIN, 4, 10_000, vec![found(1, true), found(2, false), found(3, false)]);
    store.adopt(LANE, ORIGIN, 9, 700, vec![found(1, true)]);
    assert_eq!((store.frames(), store.entries(), store.bytes(), store.oldest_ms()), (2, 2, 10_000, Some(1_002)));
    assert_eq!(store.place(LANE, ORIGIN, 100), Err(Full));
    let frame = |number: u64| FrameRef { lane: LANE, origin: ORIGIN, segment: 4, offset: 512 * number, bytes: 200 };
    let file = SegmentId { lane: LANE, origin: ORIGIN, number: 4 };
    assert_eq!(store.done(frame(1)), None, "it was done before");
    assert_eq!(store.done(frame(3)), Some(FileAction::MarkDone { file, offset: 1_536 }));
    assert_eq!(store.done(frame(2)), Some(FileAction::Delete { file }));
    let next = store.place(LANE, ORIGIN, 100).expect("room");
    assert_eq!((next.file.number, next.new_file), (10, true));
}

/// splitmix64.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *seed;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Every file, with what of each frame in it is written and done, kept as a disk would.
#[derive(Default)]
struct Model {
    files: BTreeMap<SegmentId, BTreeMap<u64, (u64, bool)>>,
    live: Vec<FrameRef>,
}

impl Model {
    fn act(&mut self, action: Option<FileAction>) {
        if let Some(action) = action {
            match action {
                FileAction::MarkDone { file, offset } | FileAction::MarkVoid { file, offset } => {
                    self.files
                        .get_mut(&file)
                        .expect("the file is there")
                        .get_mut(&offset)
                        .expect("the frame is there")
                        .1 = true;
                }
                FileAction::Delete { file } => drop(self.files.remove(&file).expect("the file is there")),
            }
        }
    }

    /// Bytes on disk, and the frames that a start would find.
    fn look(&self) -> (u64, usize) {
        let end = |file: &BTreeMap<u64, (u64, bool)>| {
            file.iter().map(|(at, (bytes, _))| at + bytes.next_multiple_of(512)).max()
        };
        let bytes = self.files.values().filter_map(end).sum();
        (bytes, self.files.values().flat_map(BTreeMap::values).filter(|(_, done)| !done).count())
    }
}

#[test]
fn whatever_happens_no_live_frame_loses_its_file_and_the_bound_holds() {
    for seed in 1..=200 {
        let (mut random, mut store, mut model) = (seed, Store::new(100_000, SEGMENT), Model::default());
        let (stored, _) = frame(1, 10);
        for _ in 0..400 {
            let pick = next(&mut random);
            let origin = Origin { start: pick >> 8 & 1, core: 0 };
            match pick % 8 {
                0..=4 => {
                    let bytes = 200 + (next(&mut random) % 3_000) as usize;
                    let Ok(placed) = store.place(pick >> 9 & 3, origin, bytes) else { continue };
                    assert_eq!(placed.new_file, !model.files.contains_key(&placed.file), "seed {seed}");
                    let frames = model.files.entry(placed.file).or_default();
                    assert!(
                        frames.iter().all(|(at, (bytes, _))| at + bytes <= placed.offset),
                        "seed {seed}: over another"
                    );
                    frames.insert(placed.offset, (bytes as u64, false));
                    let frame = reference(placed, bytes);
                    if pick >> 20 & 15 == 0 {
                        model.act(store.failed(frame));
                    } else {
                        store.written(frame, &stored);
                        model.live.push(frame);
                    }
                }
                _ if model.live.is_empty() => {}
                _ => {
                    let at = (pick >> 16) as usize % model.live.len();
                    let frame = model.live.swap_remove(at);
                    model.act(store.done(frame));
                }
            }
            assert_eq!((store.bytes(), store.frames() as usize), model.look(), "seed {seed}");
            assert_eq!(store.frames() as usize, model.live.len(), "seed {seed}");
            assert!(store.bytes() <= 100_000, "seed {seed}");
        }
    }
}
