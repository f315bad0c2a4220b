//! Cuts a sealed batch that was refused as too large. The batch's own memory is never changed: each part is built in memory of its
//! own, from the records behind those entries that are resolved already. A record that is an array of several entries is cut between
//! two of them, if it is too large alone; each piece is an array, and a message, of its own.
//!
//! What a part holds follows from two numbers of entries alone, how many are resolved and how many are wanted, so that a part that
//! was sent can be built again after a restart, the same to the byte.

use std::ops::Range;

use super::array;
use super::batch::{RECORDS_START, Sealed, TAILROOM_BYTES};
use super::compress::Compressor;
use super::decompress::{Packing, UNPACKED_BYTES, unpack};
use super::options::Compression;
use super::ring::Wire;
use super::trace;
use super::varint::{put_signed, read_signed};

/// Which records a part is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first record.
    pub first: u32,
    /// Entries of it that are resolved already.
    pub before: u32,
    /// Records.
    pub records: u32,
    /// Entries.
    pub entries: u64,
}

/// A sealed batch, uncut.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    /// The slot's memory.
    pub memory: &'a [u8],
    /// What lies in it.
    pub sealed: &'a Sealed,
    /// Entries of each record; empty: one each.
    pub record_entries: &'a [u32],
}

/// The part that begins behind `skip` entries and has `most` entries at most, but at least one. It ends where a record does, unless
/// its first record alone has more; what is left of a record that was cut stands alone. None if nothing is left.
pub fn shape(record_entries: &[u32], records: u32, skip: u64, most: u64) -> Option<Part> {
    let most = most.max(1);
    let entries_of = |record: u32| record_entries.get(record as usize).copied().unwrap_or(1);
    let (mut first, mut before) = (0, skip);
    while first < records && before >= u64::from(entries_of(first)) {
        before -= u64::from(entries_of(first));
        first += 1;
    }
    if first >= records {
        return None;
    }
    let left = u64::from(entries_of(first)) - before;
    let mut part = Part { first, before: before as u32, records: 1, entries: left.min(most) };
    if before > 0 || left > most {
        return Some(part);
    }
    for record in first + 1..records {
        let entries = part.entries + u64::from(entries_of(record));
        if entries > most {
            break;
        }
        (part.records, part.entries) = (part.records + 1, entries);
    }
    Some(part)
}

/// True if the uncompressed batch in the slot is as many records as it says, to its last byte.
pub fn is_sound(memory: &[u8], sealed: &Sealed) -> bool {
    let Some(records) = memory.get(RECORDS_START..sealed.end) else { return false };
    let end = (0..sealed.records).try_fold(0, |at, _| Record::read(records, at).map(|record| record.end));
    end == Some(records.len())
}

/// The entries of each record of an uncompressed batch of arrays, as far as its bytes are records.
pub fn record_entries(memory: &[u8], sealed: &Sealed, to: &mut Vec<u32>) {
    to.clear();
    let records = memory.get(RECORDS_START..sealed.end).unwrap_or_default();
    let mut at = 0;
    for _ in 0..sealed.records {
        let Some(record) = Record::read(records, at) else { return };
        to.push(record.value().map_or(1, |value| array::count_elements(&record.behind_offset[value])));
        at = record.end;
    }
}

/// Builds the part in memory of its own, compressed as the batch is. None if the batch's bytes are not what they should be.
pub fn build(whole: Whole<'_>, part: Part, compressor: &mut Compressor) -> Option<Wire> {
    let packed = whole.memory.get(RECORDS_START..whole.sealed.end)?;
    let mut unpacked = Vec::new();
    let records = match Packing::of(whole.sealed.attributes as i16)? {
        Packing::None => packed,
        packing => {
            unpack(packing, packed, UNPACKED_BYTES, &mut unpacked).ok()?;
            &unpacked
        }
    };
    let mut memory = vec![0; RECORDS_START];
    let mut at = 0;
    for _ in 0..part.first {
        at = Record::read(records, at)?.end;
    }
    for offset in 0..part.records {
        let record = Record::read(records, at)?;
        at = record.end;
        let all = whole.record_entries.get((part.first + offset) as usize).copied().unwrap_or(1);
        let entries = if part.records == 1 { part.entries as u32 } else { all };
        if entries < all {
            record.push_piece(&mut memory, offset, part.before, entries)?;
        } else {
            record.push(&mut memory, offset, &[record.behind_offset]);
        }
    }
    let end = memory.len();
    memory.resize(end + TAILROOM_BYTES, 0);
    let sealed = Sealed { end, attributes: 0, records: part.records, entries: part.entries, ..*whole.sealed };
    let mut wire = Wire { memory, sealed };
    compressor.compress_attributes(whole.sealed.attributes, &mut wire.memory, &mut wire.sealed);
    Some(wire)
}

/// The whole batch, compressed, in memory of its own. None if that would not make it smaller.
pub fn pack(memory: &[u8], sealed: &Sealed, codec: Compression, compressor: &mut Compressor) -> Option<Wire> {
    let records = memory.get(RECORDS_START..sealed.end)?;
    let mut packed = vec![0; RECORDS_START];
    compressor.compress(codec, records, &mut packed).ok()?;
    let end = packed.len();
    packed.resize(end + TAILROOM_BYTES, 0);
    packed.shrink_to_fit();
    let sealed = Sealed { end, attributes: codec as u16, ..*sealed };
    (end < RECORDS_START + records.len()).then_some(Wire { memory: packed, sealed })
}

/// One record of a batch (KIP-98), as far as it is taken apart here.
#[derive(Clone, Copy, Debug)]
struct Record<'a> {
    /// Attributes and timestamp delta.
    before_offset: &'a [u8],
    /// Key, value, headers, each with its length.
    behind_offset: &'a [u8],
    /// Where the next one begins.
    end: usize,
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8], at: usize) -> Option<Self> {
        let (len, body) = read_signed(bytes, at)?;
        let end = body.checked_add(usize::try_from(len).ok()?)?;
        let bytes = bytes.get(..end)?;
        let (_, offset_at) = read_signed(bytes, body + 1)?;
        let (_, behind) = read_signed(bytes, offset_at)?;
        Some(Self { before_offset: bytes.get(body..offset_at)?, behind_offset: bytes.get(behind..)?, end })
    }

    /// Adds it with another offset and these pieces behind that.
    fn push(&self, out: &mut Vec<u8>, offset: u32, behind: &[&[u8]]) {
        let mut room = [0; 10];
        let offset_bytes = put_signed(&mut room, 0, i64::from(offset));
        let rest: usize = behind.iter().map(|piece| piece.len()).sum();
        push_varint(out, (self.before_offset.len() + offset_bytes + rest) as i64);
        out.extend_from_slice(self.before_offset);
        out.extend_from_slice(&room[..offset_bytes]);
        behind.iter().for_each(|piece| out.extend_from_slice(piece));
    }

    /// Where the value's length stands in `behind_offset`.
    fn value_len_at(&self) -> Option<usize> {
        let (key_len, key_at) = read_signed(self.behind_offset, 0)?;
        key_at.checked_add(usize::try_from(key_len.max(0)).ok()?)
    }

    /// The value's place in `behind_offset`.
    fn value(&self) -> Option<Range<usize>> {
        let (len, at) = read_signed(self.behind_offset, self.value_len_at()?)?;
        let value = at..at.checked_add(usize::try_from(len).ok()?)?;
        (value.end <= self.behind_offset.len()).then_some(value)
    }

    /// Adds it with some of its value's elements alone, and a header that counts these.
    fn push_piece(&self, out: &mut Vec<u8>, offset: u32, first: u32, entries: u32) -> Option<()> {
        let bytes = self.behind_offset;
        let (value_len_at, value) = (self.value_len_at()?, self.value()?);
        let headers = trace::piece(&bytes[value.end..], first, entries);
        let value = &bytes[value];
        let piece = value.get(array::elements(value, first, entries)?)?;
        let mut length = Vec::new();
        push_varint(&mut length, piece.len() as i64 + 2);
        self.push(out, offset, &[&bytes[..value_len_at], &length, b"[", piece, b"]", &headers]);
        Some(())
    }
}

fn push_varint(out: &mut Vec<u8>, value: i64) {
    let mut room = [0; 10];
    let end = put_signed(&mut room, 0, value);
    out.extend_from_slice(&room[..end]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::batch::{HEADROOM_BYTES, Identity, OpenBatch, key_bytes, write_header};
    use crate::kafka::codec::broker_side;
    use crate::kafka::retry::Rng;

    const SLOT: usize = 64 * 1024;

    /// Values of a part, with offsets and timestamps checked on the way.
    fn values(wire: &mut Wire) -> Vec<String> {
        write_header(&mut wire.memory, &wire.sealed, Identity { producer_id: 1, epoch: 0, sequence: 130 });
        let records = broker_side::records(&wire.memory[HEADROOM_BYTES..wire.sealed.end]);
        assert_eq!(records.len(), wire.sealed.records as usize);
        for (at, record) in records.iter().enumerate() {
            assert_eq!((record.offset, record.key.as_deref()), (at as i64, Some(&b"key"[..])));
        }
        records.into_iter().map(|it| String::from_utf8(it.value.expect("a value").to_vec()).expect("text")).collect()
    }

    /// Arrays with so many entries; every entry is its own number.
    fn arrays(lens: &[u32], codec: Compression, compressor: &mut Compressor) -> (Vec<u8>, Sealed) {
        let (mut memory, key) = (vec![0; SLOT], key_bytes(Some(b"key")));
        let mut open = OpenBatch::new(SLOT, 3);
        let mut number = 0;
        for len in lens {
            for _ in 0..*len {
                let value = format!("{{\"n\":{number},\"pad\":\"a,b]aaaaaaaaaaaaaaaaaaaaaaaaaa\"}}");
                open.push_element(&mut memory, &key, 1_000 + number, SLOT, &mut |out| out.push(value.as_bytes()))
                    .expect("fits");
                number += 1;
            }
            assert_eq!(open.close_array(&mut memory), Some(*len));
        }
        let mut sealed = open.sealed();
        compressor.compress_batch(codec, &mut memory, &mut sealed);
        (memory, sealed)
    }

    fn numbers(values: &[String]) -> Vec<Vec<u64>> {
        let numbers = |value: &String| {
            let list: Vec<serde_json::Value> = serde_json::from_str(value).expect("an array");
            list.iter().map(|entry| entry["n"].as_u64().expect("a number")).collect()
        };
        values.iter().map(numbers).collect()
    }

    #[test]
    fn parts_end_at_records_and_only_an_array_too_long_alone_is_cut_inside() {
        let lens = [3, 2, 10, 1];
        let shapes = |most: u64| {
            let (mut skip, mut all) = (0, Vec::new());
            while let Some(part) = shape(&lens, 4, skip, most) {
                skip += part.entries;
                all.push((part.first, part.before, part.records, part.entries));
            }
            all
        };
        assert_eq!(shapes(u64::MAX), [(0, 0, 4, 16)]);
        assert_eq!(shapes(6), [(0, 0, 2, 5), (2, 0, 1, 6), (2, 6, 1, 4), (3, 0, 1, 1)]);
        assert_eq!(
            shapes(2),
            [(0, 0, 1, 2), (0, 2, 1, 1), (1, 0, 1, 2)]
                .into_iter()
                .chain((0..5).map(|at| (2, at * 2, 1, 2)))
                .chain([(3, 0, 1, 1)])
                .collect::<Vec<_>>()
        );
        assert_eq!(shapes(0).len(), 16, "one at a time at least");
        assert_eq!(shape(&[], 5, 2, 2), Some(Part { first: 2, before: 0, records: 2, entries: 2 }));
        assert_eq!(shape(&[], 5, 5, 2), None);
    }

    #[test]
    fn a_part_that_was_sent_follows_from_where_it_began_and_how_much_it_held() {
        let mut rng = Rng::new(8);
        for _ in 0..2_000 {
            let lens: Vec<u32> = (0..1 + rng.below(6)).map(|_| 1 + rng.below(12) as u32).collect();
            let all: u64 = lens.iter().map(|len| u64::from(*len)).sum();
            let (skip, most) = (rng.below(all), 1 + rng.below(20));
            let part = shape(&lens, lens.len() as u32, skip, most).expect("something is left");
            assert_eq!(shape(&lens, lens.len() as u32, skip, part.entries), Some(part));
        }
    }

    #[test]
    fn the_parts_hold_every_entry_once_and_in_order_and_the_batch_stays_as_it_is() {
        let mut compressor = Compressor::default();
        for codec in [Compression::None, Compression::Lz4, Compression::Snappy, Compression::Gzip, Compression::Zstd] {
            let lens = [1, 7, 40, 2];
            let (memory, sealed) = arrays(&lens, codec, &mut compressor);
            let before = memory.clone();
            for most in [1, 3, 8, 20, 49, 50] {
                let whole = Whole { memory: &memory, sealed: &sealed, record_entries: &lens };
                let (mut skip, mut seen) = (0, Vec::new());
                while let Some(part) = shape(&lens, 4, skip, most) {
                    let mut wire = build(whole, part, &mut compressor).expect("whole");
                    let of_part = numbers(&values(&mut wire));
                    assert_eq!(of_part.iter().map(Vec::len).sum::<usize>() as u64, part.entries);
                    skip += part.entries;
                    seen.extend(of_part.into_iter().flatten());
                }
                assert_eq!(seen, (0..50).collect::<Vec<_>>(), "{codec:?} {most}");
            }
            assert_eq!(memory, before);
        }
    }

    #[test]
    fn records_keep_their_timestamps_and_whatever_follows_the_value() {
        // One record by hand: an array, and a header that this module knows nothing of.
        let value = b"[1,[2,3],4]";
        let header = [2, 2, b'h', 2, b'v']; // one header, "h" = "v"
        let mut body = vec![0, 20, 0, 6]; // attributes, 10 ms later, offset 0, a key of 3 bytes
        body.extend(b"key");
        body.push(value.len() as u8 * 2);
        body.extend(value);
        body.extend(header);
        let mut memory = vec![0; RECORDS_START];
        push_varint(&mut memory, body.len() as i64);
        memory.extend(body);
        let sealed =
            Sealed { end: memory.len(), records: 1, entries: 3, base_timestamp_ms: 5_000, ..Sealed::default() };
        let whole = Whole { memory: &memory, sealed: &sealed, record_entries: &[3] };
        let part = shape(&[3], 1, 1, 1).expect("two are left");
        let mut wire = build(whole, part, &mut Compressor::default()).expect("whole");
        write_header(&mut wire.memory, &wire.sealed, Identity::NONE);
        let record = &broker_side::records(&wire.memory[HEADROOM_BYTES..wire.sealed.end])[0];
        assert_eq!((record.value.as_deref(), record.timestamp), (Some(&b"[[2,3]]"[..]), 5_010));
        assert_eq!(
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect::<Vec<_>>(),
            [("h", Some(&b"v"[..]))]
        );
    }

    #[test]
    fn bytes_that_are_no_records_are_none_not_a_panic() {
        let (memory, sealed) = arrays(&[4, 4], Compression::None, &mut Compressor::default());
        let part = shape(&[4, 4], 2, 5, 2).expect("left");
        for at in RECORDS_START..sealed.end {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut bad = memory.clone();
                bad[at] = value;
                let whole = Whole { memory: &bad, sealed: &sealed, record_entries: &[4, 4] };
                let _ = build(whole, part, &mut Compressor::default());
            }
        }
    }
}
