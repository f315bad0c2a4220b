//! Batches and the requests around them, read back with the crate's decoder.

use super::batch::*;
use super::codec::broker_side::{self, Body, records};
use super::compress::Compressor;
use super::head::{HEAD_BYTES_MAX, Head, write_head};
use super::options::{CLIENT_ID_BYTES, Compression};

const SLOT: usize = 64 * 1024;

fn batch_of(memory: &[u8], end: usize) -> &[u8] {
    &memory[HEADROOM_BYTES..end]
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| b'a' + (at % 23) as u8).collect()
}

#[test]
fn records_of_every_width_come_back_with_key_timestamps_and_sequences() {
    // Around the borders of the length's varints, so that the guess is wrong both ways.
    let lens =
        [0usize, 1, 40, 55, 56, 57, 58, 63, 64, 65, 8_000, 8_180, 8_185, 8_190, 8_191, 8_192, 8_200, 100, 9_000, 3];
    for guess in 1..=3 {
        for key in [None, Some(&b""[..]), Some(&b"route-1"[..])] {
            let mut memory = vec![0xeeu8; 2 * SLOT];
            let mut open = OpenBatch::new(memory.len(), guess);
            let key_part = key_bytes(key);
            for (at, len) in lens.iter().enumerate() {
                let timestamp = 1_700_000_000_000 + [0, 5, -7, 100][at % 4];
                open.push_record(&mut memory, &key_part, timestamp, &mut |out| out.push(&text(*len))).expect("fits");
            }
            let sealed = open.sealed();
            assert_eq!((sealed.records as usize, sealed.entries), (lens.len(), lens.len() as u64));
            assert_eq!(sealed.max_timestamp_ms, 1_700_000_000_100);
            write_header(&mut memory, &sealed, Identity { producer_id: 44, epoch: 2, sequence: 10 });
            let records = records(batch_of(&memory, sealed.end));
            assert_eq!(records.len(), lens.len());
            for (at, record) in records.iter().enumerate() {
                assert_eq!(record.value.as_deref(), Some(&text(lens[at])[..]));
                assert_eq!(record.key.as_deref(), key);
                assert_eq!(record.offset, at as i64);
                assert_eq!(record.timestamp, 1_700_000_000_000 + [0, 5, -7, 100][at % 4]);
                assert_eq!((record.producer_id, record.producer_epoch, record.sequence), (44, 2, 10 + at as i32));
            }
        }
    }
}

#[test]
fn an_entry_that_does_not_fit_leaves_the_batch_as_it_was() {
    let mut memory = vec![0u8; RECORDS_START + 1_000];
    let mut open = OpenBatch::new(memory.len(), 2);
    open.push_record(&mut memory, &key_bytes(None), 1, &mut |out| out.push(b"first")).expect("fits");
    for len in [985, 990, 1_000, 5_000] {
        let refused = open.push_record(&mut memory, &key_bytes(None), 1, &mut |out| out.push(&text(len)));
        assert_eq!(refused, Err(Overflow { entry_bytes: len }));
    }
    open.push_record(&mut memory, &key_bytes(None), 1, &mut |out| out.push(b"last")).expect("fits");
    let sealed = open.sealed();
    write_header(&mut memory, &sealed, Identity::NONE);
    let values: Vec<_> = records(batch_of(&memory, sealed.end)).into_iter().filter_map(|record| record.value).collect();
    assert_eq!(values, [&b"first"[..], &b"last"[..]]);
}

#[test]
fn a_batch_never_reaches_into_the_tailroom() {
    for len in 860..1_000 {
        let mut memory = vec![0x55u8; RECORDS_START + 900 + TAILROOM_BYTES];
        let mut open = OpenBatch::new(memory.len(), 3);
        if open.push_record(&mut memory, &key_bytes(None), 1, &mut |out| out.push(&text(len))).is_ok() {
            assert!(open.sealed().end + TAILROOM_BYTES <= memory.len());
        }
    }
}

#[test]
fn arrays_close_at_the_limit_and_carry_over_to_another_slot() {
    let (mut memory, mut other) = (vec![0u8; SLOT], vec![0u8; SLOT]);
    let key = key_bytes(Some(b"k"));
    let mut open = OpenBatch::new(SLOT, 3);
    let push = |open: &mut OpenBatch, memory: &mut Vec<u8>, number: u32, most| {
        open.push_element(memory, &key, i64::from(number), most, &mut |out| out.push(number.to_string().as_bytes()))
    };
    for number in 0..3 {
        push(&mut open, &mut memory, number, SLOT).expect("fits");
    }
    assert_eq!(open.close_array(&mut memory), Some(3));
    for number in 3..5 {
        push(&mut open, &mut memory, number, SLOT).expect("fits");
    }
    assert_eq!(push(&mut open, &mut memory, 5, 75), Err(Overflow { entry_bytes: 1 }), "longer than a message may be");
    let mut next = OpenBatch::new(SLOT, 3);
    assert!(open.carry_array(&memory, &mut next, &mut other, &key));
    push(&mut next, &mut other, 6, SLOT).expect("fits");
    assert_eq!(next.close_array(&mut other), Some(3));
    let values = |memory: &mut Vec<u8>, sealed: Sealed| {
        write_header(memory, &sealed, Identity::NONE);
        let records = records(batch_of(memory, sealed.end));
        records.into_iter().filter_map(|record| record.value).collect::<Vec<_>>()
    };
    assert_eq!(values(&mut memory, open.sealed()), [&b"[0,1,2]"[..]]);
    assert_eq!(values(&mut other, next.sealed()), [&b"[3,4,6]"[..]]);
}

#[test]
fn every_codec_and_version_is_one_request_of_one_batch() {
    let mut compressor = Compressor::default();
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for version in 3..=13 {
        for codec in codecs {
            let mut memory = vec![0u8; SLOT];
            let mut open = OpenBatch::new(SLOT, 2);
            for number in 0..100 {
                let value = format!("{{\"n\":{number},\"text\":\"the same again and again\"}}");
                open.push_record(&mut memory, &key_bytes(None), 5, &mut |out| out.push(value.as_bytes()))
                    .expect("fits");
            }
            let mut sealed = open.sealed();
            let plain = sealed.end;
            compressor.compress_batch(codec, &mut memory, &mut sealed);
            assert_eq!(sealed.end < plain, codec != Compression::None);
            write_header(&mut memory, &sealed, Identity::NONE);
            let topic = "t".repeat(249);
            let client_id = "c".repeat(CLIENT_ID_BYTES);
            let head = Head {
                version,
                correlation: 5,
                client_id: &client_id,
                acks: -1,
                timeout_ms: 3_000,
                topic: &topic,
                topic_id: [7; 16],
                partition: 11,
            };
            let range = write_head(&mut memory, &head, sealed.end).expect("fits");
            assert!(range.start >= HEADROOM_BYTES - HEAD_BYTES_MAX);
            let asked = broker_side::read(&memory[range.start + 4..range.end]);
            let Body::Produce(produce) = asked.body else { panic!("not Produce") };
            assert_eq!((asked.version, asked.correlation, asked.client_id), (version, 5, client_id));
            assert_eq!((produce.acks, produce.timeout_ms, produce.partition), (-1, 3_000, 11));
            if version >= 13 {
                assert_eq!(produce.topic_id, [7; 16]);
            } else {
                assert_eq!(produce.topic, topic);
            }
            assert_eq!(records(&produce.records).len(), 100);
        }
    }
}

#[test]
fn out_counts_on_after_it_is_full_and_writes_no_more() {
    let mut room = [0u8; 4];
    let mut out = Out::new(&mut room);
    out.push(b"abc");
    out.push(b"de");
    out.push_byte(b'f');
    out.push(b"");
    assert_eq!((out.len(), out.overflowed(), out.written()), (6, true, &b""[..]));
    assert_eq!(&room, b"abc\0");
}

#[test]
fn out_takes_back_what_was_too_much() {
    let mut room = [0u8; 4];
    let mut out = Out::new(&mut room);
    out.push(b"abcd");
    out.truncate(1);
    out.push(b"x");
    assert_eq!((out.written(), out.overflowed()), (&b"ax"[..], false));
}

#[test]
fn a_writer_counts_what_does_not_fit_and_writes_nothing_behind_its_end() {
    let blocks = [*b"0123456789abcdef", *b"ghijklmnopqrstuv"];
    for room in 0..64 {
        let mut memory = [0xee_u8; 64];
        let mut out = Out::new(&mut memory[..room]);
        out.push_some(b"12345678........", 3);
        out.push_blocks(&blocks, 20);
        out.push(b"!");
        out.push(b"a piece of twenty-four ..");
        let all = b"1230123456789abcdefghij!a piece of twenty-four ..";
        assert_eq!((out.len(), out.overflowed()), (all.len(), room < all.len()));
        assert_eq!(out.written(), if room < all.len() { &b""[..] } else { all });
        let claimed = out.claim(3).map(|room| room.fill(b'?')).is_some();
        assert_eq!(claimed, room >= all.len() + 3);
        assert_eq!(out.len(), all.len() + if claimed { 3 } else { 0 });
        assert!(memory[room..].iter().all(|byte| *byte == 0xee));
    }
}
