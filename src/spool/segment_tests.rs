//! Segments cut and damaged everywhere: what is whole is found, what is not is named.

use super::segment::*;
use crate::kafka::batch::{HEADROOM_BYTES, Identity, OpenBatch, key_bytes, write_header};
use crate::kafka::stored::{DONE_AT, Origin, STORED_AT, STORED_BYTES, Stored, VOID};

pub const ORIGIN: Origin = Origin { start: 0x1234_5678_9abc_def0, core: 3 };
pub const LANE: u64 = 0xfeed_0000_0000_0001;
const ID: SegmentId = SegmentId { lane: LANE, origin: ORIGIN, number: 7 };

/// What stands in front, and all of its bytes.
type Example = (Stored, Vec<u8>);

/// A frame as it lies in a slot: number, and a record of so many bytes.
pub fn frame(number: u64, value_bytes: usize) -> Example {
    let mut memory = vec![0; HEADROOM_BYTES + value_bytes + 256];
    let mut open = OpenBatch::new(memory.len(), 2);
    open.push_record(&mut memory, &key_bytes(None), 1_000 + number as i64, &mut |out| {
        out.push(&vec![b'x'; value_bytes])
    })
    .expect("fits");
    let sealed = open.sealed();
    write_header(&mut memory, &sealed, Identity::NONE);
    let stored = Stored { sealed, ..Stored::begun(LANE, ORIGIN, number) };
    stored.write(&mut memory[STORED_AT..]);
    (stored, memory[STORED_AT..sealed.end].to_vec())
}

/// A segment of these frames, and where each begins.
fn segment(frames: &[Example]) -> (Vec<u8>, Vec<u64>) {
    let mut bytes = ID.header().to_vec();
    let mut offsets = Vec::new();
    for (_, frame) in frames {
        bytes.resize(aligned(bytes.len() as u64) as usize, 0);
        offsets.push(bytes.len() as u64);
        bytes.extend_from_slice(frame);
    }
    (bytes, offsets)
}

fn example() -> (Vec<Example>, Vec<u8>, Vec<u64>) {
    let frames = vec![frame(1, 10), frame(2, 1_000), frame(3, 400)];
    let (bytes, offsets) = segment(&frames);
    (frames, bytes, offsets)
}

fn numbers(found: &Scan) -> Vec<u64> {
    found.frames.iter().map(|frame| frame.stored.number).collect()
}

#[test]
fn a_segment_is_read_as_it_was_written() {
    let (frames, bytes, offsets) = example();
    assert_eq!(SegmentId::read(&bytes), Some(ID));
    let found = scan(ID, &bytes);
    assert_eq!(found.damage, []);
    assert_eq!(found.end, bytes.len() as u64);
    let expected: Vec<Frame> = frames
        .iter()
        .zip(&offsets)
        .map(|((stored, _), offset)| Frame { offset: *offset, stored: *stored, void: false })
        .collect();
    assert_eq!(found.frames, expected);
    assert!(offsets.iter().all(|offset| offset % ALIGN_BYTES == 0));
    let reference = found.frames[1].reference(7);
    assert_eq!((reference.offset, reference.bytes as usize), (offsets[1], frames[1].1.len()));
    assert_eq!(SegmentId::of(&reference), ID);
}

#[test]
fn cut_at_every_byte_the_whole_frames_before_the_cut_are_found_and_the_tail_is_named() {
    let (frames, bytes, offsets) = example();
    for cut in HEADER_BYTES..=bytes.len() {
        let found = scan(ID, &bytes[..cut]);
        let end = |at: usize| offsets[at] as usize + frames[at].1.len();
        let whole = (0..frames.len()).filter(|at| end(*at) <= cut).count();
        assert_eq!(numbers(&found).len(), whole, "cut at {cut}");
        let begun = offsets.iter().filter(|offset| (**offset as usize) < cut).count();
        assert_eq!(found.damage.len(), begun - whole, "cut at {cut}");
        if let Some(damage) = found.damage.first() {
            assert_eq!((damage.from, damage.to, damage.why), (offsets[whole], cut as u64, Why::Torn));
        }
        assert!(found.end <= cut as u64);
    }
}

#[test]
fn a_changed_byte_costs_its_own_frame_and_no_other() {
    let (frames, bytes, offsets) = example();
    for at in HEADER_BYTES..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let hit = (0..3)
            .find(|frame| (offsets[*frame] as usize..offsets[*frame] as usize + frames[*frame].1.len()).contains(&at));
        let found = scan(ID, &changed);
        let Some(hit) = hit else {
            assert_eq!((numbers(&found), found.damage.len()), (vec![1, 2, 3], 0), "padding, byte {at}");
            continue;
        };
        let within = at - offsets[hit] as usize;
        if (DONE_AT..DONE_AT + 4).contains(&within) {
            assert_eq!(numbers(&found), [1, 2, 3]);
            assert_eq!(found.frames[hit].stored.done, within == DONE_AT);
            continue;
        }
        // The batch's base offset and leader epoch are the broker's to write, and not covered by its CRC.
        let batch = within.wrapping_sub(STORED_BYTES);
        if batch < 8 || (12..16).contains(&batch) {
            continue;
        }
        let others: Vec<u64> = (1..=3).filter(|number| *number != hit as u64 + 1).collect();
        assert_eq!(numbers(&found), others, "byte {at}");
        assert_eq!(found.damage.len(), 1, "byte {at}");
        assert_eq!(found.damage[0].from, offsets[hit]);
    }
}

#[test]
fn a_batch_that_is_done_is_not_looked_at_and_never_written_room_is_named() {
    let (_, mut bytes, offsets) = example();
    bytes[offsets[1] as usize + DONE_AT] = 1;
    bytes[offsets[1] as usize + STORED_BYTES + 100] ^= 1;
    let found = scan(ID, &bytes);
    assert_eq!((numbers(&found), found.damage.len()), (vec![1, 2, 3], 0));
    assert_eq!(found.frames.iter().map(|frame| frame.void).collect::<Vec<_>>(), [false; 3]);
    bytes[offsets[1] as usize + DONE_AT] = VOID;
    let frame = scan(ID, &bytes).frames[1];
    assert!(frame.stored.done && frame.void);
    let end = aligned(bytes.len() as u64);
    bytes.resize(end as usize + 3 * 512, 0);
    let found = scan(ID, &bytes);
    assert_eq!(found.damage, [Damage { from: end, to: bytes.len() as u64, why: Why::Empty }]);
}

#[test]
fn a_frame_of_another_lane_is_none_of_this_one() {
    let (_, bytes, _) = example();
    let other = SegmentId { lane: LANE + 1, ..ID };
    let found = scan(other, &bytes);
    assert_eq!((found.frames.len(), found.damage[0].why), (0, Why::Foreign));
    let other = SegmentId { origin: Origin { core: 4, ..ORIGIN }, ..ID };
    assert_eq!(scan(other, &bytes).frames.len(), 0);
}

#[test]
fn a_header_with_a_changed_byte_is_none() {
    let header = ID.header();
    for at in 0..HEADER_BYTES {
        let mut changed = header;
        changed[at] ^= 1;
        assert_eq!(SegmentId::read(&changed), None, "{at}");
        assert_eq!(SegmentId::read(&header[..at]), None, "{at}");
        assert_eq!(is_of_another_version(&changed), (7..12).contains(&at), "{at}");
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    let path = ID.path();
    let names: Vec<&str> = path.split('/').collect();
    assert_eq!(names, ["feed000000000001", "123456789abcdef0-3", "00000007.seg"]);
    assert_eq!((lane_of(names[0]), origin_of(names[1]), number_of(names[2])), (Some(LANE), Some(ORIGIN), Some(7)));
    for bad in ["lanes", "", "feed", "xeed000000000001", "123456789abcdef0-", "00000007.bad", ".seg"] {
        assert_eq!((lane_of(bad), origin_of(bad), number_of(bad)), (None, None, None), "{bad}");
    }
    assert_eq!(registry_path(LANE), "lanes/feed000000000001.json");
}

#[test]
fn a_small_share_is_cut_into_small_segments() {
    assert_eq!((segment_bytes(1 << 30), segment_bytes(64 << 20), segment_bytes(1 << 20)), (16 << 20, 8 << 20, 1 << 17));
}
