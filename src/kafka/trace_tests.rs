//! The headers in batches: written by `batch`, read back with the crate's decoder.

use super::batch::*;
use super::codec::broker_side::{Record, records};
use super::compress::Compressor;
use super::cut::{self, Whole};
use super::options::Compression;
use super::trace::{HEADER_NAME, STREAM_BYTES_MAX, Stamp, Stream, headers_len};

const SLOT: usize = 64 * 1024;
const STREAM: Stream = Stream { gateway: 0x6f1d_0c2b_9a8e_7f35, start: 0x187b_44d0_c9a1_e2f0, core: 1, lane: 12 };
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn traced(memory: &mut [u8], guess: usize, first: u64) -> OpenBatch {
    let mut open = OpenBatch::new(memory.len(), guess);
    open.trace(memory, &STREAM.prefix(), first);
    open
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| b'a' + (at % 23) as u8).collect()
}

fn push(open: &mut OpenBatch, memory: &mut [u8], value: &[u8]) -> Result<(), Overflow> {
    open.push_record(memory, &key_bytes(None), 1, &mut |out| out.push(value))
}

fn push_element(open: &mut OpenBatch, memory: &mut [u8], value: &[u8], most: usize) -> Result<(), Overflow> {
    open.push_element(memory, &key_bytes(Some(b"k")), 1, most, &mut |out| out.push(value))
}

/// What the one header says.
fn stamp(record: &Record) -> Stamp {
    assert_eq!(record.headers.len(), 1);
    let (name, value) = record.headers.first().expect("one");
    assert_eq!(name.as_str(), HEADER_NAME);
    Stamp::parse(value.as_deref().expect("not null")).expect("ours")
}

/// A start after which a lane's entries and its numbers begin together at 0.
pub const FIRST_START: u64 = 2;

/// For the simulation, whose entries carry their own number: panics unless the header counts the same ones. After a restart a lane
/// counts from 0 again, its entries do not: then only the steps must be the same.
pub fn assert_numbered(record: &Record) {
    if record.headers.is_empty() {
        return; // Headers are off in this simulation.
    }
    let stamp = stamp(record);
    let value = String::from_utf8_lossy(record.value.as_deref().expect("a value"));
    let own: Vec<u64> =
        value.split("\"n\":").skip(1).filter_map(|rest| rest.split(',').next().and_then(|n| n.parse().ok())).collect();
    let begun_before = if stamp.stream.start == FIRST_START { 0 } else { own[0] - stamp.first };
    let said = stamp.first..stamp.first + u64::from(stamp.count);
    assert!(own.iter().map(|own| own - begun_before).eq(said), "{stamp:?} on {value}");
}

/// Values, and what their headers say: exactly one each, of this stream. Fills the batch's header.
fn read(memory: &mut [u8], sealed: &Sealed) -> Vec<(Vec<u8>, u64, u32)> {
    write_header(memory, sealed, Identity { producer_id: 1, epoch: 0, sequence: 0 });
    let one = |record: Record| {
        let stamp = stamp(&record);
        assert_eq!(stamp.stream, STREAM);
        (record.value.expect("not null").to_vec(), stamp.first, stamp.count)
    };
    records(&memory[HEADROOM_BYTES..sealed.end]).into_iter().map(one).collect()
}

#[test]
fn every_codec_and_width_keeps_values_and_numbers() {
    let lens = [0usize, 1, 5, 6, 7, 8, 9, 63, 64, 8_120, 8_125, 8_130, 8_190, 8_191, 8_192, 8_200, 100];
    for codec in CODECS {
        for guess in 1..=3 {
            for first in [0, 8, 98, 9_999_999_995] {
                let mut memory = vec![0xeeu8; 2 * SLOT];
                let mut open = traced(&mut memory, guess, first);
                for len in lens {
                    push(&mut open, &mut memory, &text(len)).expect("fits");
                }
                let mut sealed = open.sealed();
                Compressor::default().compress_batch(codec, &mut memory, &mut sealed);
                assert_eq!(sealed.attributes, codec as u16);
                let expected: Vec<_> = lens.iter().zip(first..).map(|(len, number)| (text(*len), number, 1)).collect();
                assert!(read(&mut memory, &sealed) == expected, "{codec:?} {guess} {first}");
            }
        }
    }
}

#[test]
fn arrays_count_their_entries_and_take_their_number_along_to_another_slot() {
    let (mut memory, mut other) = (vec![0u8; SLOT], vec![0u8; SLOT]);
    let mut open = traced(&mut memory, 3, 997);
    for number in 0..12 {
        push_element(&mut open, &mut memory, number.to_string().as_bytes(), SLOT).expect("fits");
    }
    assert_eq!(open.close_array(&mut memory), Some(12));
    for number in 12..14 {
        push_element(&mut open, &mut memory, number.to_string().as_bytes(), SLOT).expect("fits");
    }
    // Whatever number the next one was opened with: what it takes over has its own.
    let mut next = traced(&mut other, 3, 997 + 14);
    assert!(open.carry_array(&memory, &mut next, &mut other, &key_bytes(Some(b"k"))));
    push_element(&mut next, &mut other, b"14", SLOT).expect("fits");
    assert_eq!(next.close_array(&mut other), Some(3));
    push_element(&mut next, &mut other, b"15", SLOT).expect("fits");
    assert_eq!(next.close_array(&mut other), Some(1));
    assert_eq!(read(&mut memory, &open.sealed()), [(b"[0,1,2,3,4,5,6,7,8,9,10,11]".to_vec(), 997, 12)]);
    let carried = [(b"[12,13,14]".to_vec(), 1_009, 3), (b"[15]".to_vec(), 1_012, 1)];
    assert_eq!(read(&mut other, &next.sealed()), carried);
}

#[test]
fn the_largest_record_ends_at_the_limit_and_a_byte_more_does_not_fit() {
    for room in 400..420 {
        let slot = RECORDS_START + room + TAILROOM_BYTES;
        // Length, attributes, timestamp, offset, null key, value's length; then what stands behind the value.
        let around = 2 + 4 + 2 + headers_len(STREAM.prefix().len(), 99_999, 1);
        for (len, fits) in [(room - around, true), (room - around + 1, false)] {
            for guess in 1..=3 {
                let mut memory = vec![0u8; slot];
                let mut open = traced(&mut memory, guess, 99_999);
                let pushed = push(&mut open, &mut memory, &text(len));
                if guess == 2 || !fits {
                    assert_eq!(pushed.is_ok(), fits, "{room} {guess}");
                }
                if pushed.is_ok() {
                    assert_eq!(open.sealed().end + TAILROOM_BYTES, slot);
                    assert_eq!(read(&mut memory, &open.sealed()), [(text(len), 99_999, 1)]);
                } else {
                    assert_eq!(pushed, Err(Overflow { entry_bytes: len }));
                    push(&mut open, &mut memory, b"small").expect("the batch is as it was");
                    assert_eq!(read(&mut memory, &open.sealed()), [(b"small".to_vec(), 99_999, 1)]);
                }
            }
        }
    }
}

#[test]
fn the_longest_array_is_as_long_as_it_may_be_header_and_all() {
    // The tenth entry costs a digit of the count as well.
    for count in [2u32, 9, 10, 11] {
        let mut memory = vec![0u8; SLOT];
        let fill = |memory: &mut [u8], most| {
            let mut open = traced(memory, 2, 99);
            let kept = (0..count).take_while(|_| push_element(&mut open, memory, b"{\"a\":1}", most).is_ok()).count();
            open.close_array(memory);
            (kept as u32, open.sealed())
        };
        let (_, whole) = fill(&mut memory, SLOT);
        let exact = whole.end - HEADROOM_BYTES;
        assert_eq!(fill(&mut memory, exact - 1).0, count - 1, "{count}");
        let (kept, sealed) = fill(&mut memory, exact);
        assert_eq!((kept, sealed.end), (count, whole.end));
        let value = format!("[{}]", vec!["{\"a\":1}"; count as usize].join(","));
        assert_eq!(read(&mut memory, &sealed), [(value.into_bytes(), 99, count)]);
    }
}

#[test]
fn an_array_that_just_fits_is_closed_with_its_header() {
    for slot in RECORDS_START + 300..RECORDS_START + 340 {
        let mut memory = vec![0u8; slot];
        let mut open = traced(&mut memory, 3, 7);
        let mut count = 0;
        while push_element(&mut open, &mut memory, b"1", SLOT).is_ok() {
            count += 1;
        }
        assert_eq!(open.close_array(&mut memory), Some(count), "{slot}");
        assert!(open.sealed().end + TAILROOM_BYTES <= slot);
        assert_eq!(read(&mut memory, &open.sealed())[0].1..=7, 7..=7);
    }
}

#[test]
fn a_cut_batch_keeps_its_numbers() {
    let mut memory = vec![0u8; SLOT];
    let mut open = traced(&mut memory, 2, 5);
    for number in 0..200u32 {
        push(&mut open, &mut memory, &number.to_be_bytes()).expect("fits");
    }
    let sealed = open.sealed();
    let whole = Whole { memory: &memory, sealed: &sealed, record_entries: &[] };
    let part = cut::shape(&[], 200, 130, 1_000).expect("something is left");
    let mut rest = cut::build(whole, part, &mut Compressor::default()).expect("records");
    let expected: Vec<_> = (130..200u32).map(|n| (n.to_be_bytes().to_vec(), u64::from(n) + 5, 1)).collect();
    assert_eq!(read(&mut rest.memory, &rest.sealed), expected);
}

#[test]
fn only_an_empty_batch_begins_to_trace_and_only_with_a_streams_prefix() {
    let mut memory = vec![0u8; SLOT];
    let mut open = OpenBatch::new(SLOT, 2);
    open.trace(&mut memory, &[b'x'; STREAM_BYTES_MAX + 1], 0);
    push(&mut open, &mut memory, b"bare").expect("fits");
    open.trace(&mut memory, &STREAM.prefix(), 0);
    push(&mut open, &mut memory, b"bare too").expect("fits");
    write_header(&mut memory, &open.sealed(), Identity::NONE);
    let found = records(&memory[HEADROOM_BYTES..open.sealed().end]);
    assert_eq!(found.iter().map(|record| record.headers.len()).collect::<Vec<_>>(), [0, 0]);
}
