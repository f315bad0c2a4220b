//! Reads record batches as Fetch answers carry them: format v2 in full, v0/v1 message sets skipped and counted. Pure and strict: lengths are
//! checked before they are believed, nothing panics. Writing batches is `kafka::batch`'s.

use super::decompress::{Packing, UNPACKED_BYTES, unpack};
use super::varint::read_signed;

/// Bytes of a v2 batch before its records.
pub const HEAD_BYTES: usize = 61;
/// Where the CRC-32C lies; it covers everything behind itself.
const CRC_AT: usize = 17;
/// Bytes before a batch's or old message's own length is counted: base offset and the length itself.
const LENGTH_END: usize = 12;
/// Attributes: timestamps are the broker's.
const LOG_APPEND_TIME: i16 = 1 << 3;
/// Attributes: transaction marks, not records.
const CONTROL: i16 = 1 << 5;

/// One record, borrowed from the batch it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the partition.
    pub offset: i64,
    /// Milliseconds since 1970, the producer's clock or the broker's (topic's `message.timestamp.type`); -1 if there is none.
    pub timestamp_ms: i64,
    /// The key, if the producer set one.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: Headers<'a>,
}

/// A record's headers, read as they are asked for. Already checked: every pair is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: usize,
}

/// What a run over Fetch bytes saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Where to read on: one past the last whole batch; the offset asked for if there was none.
    pub next_offset: i64,
    /// Records handed out.
    pub records: usize,
    /// Old message sets (magic 0 and 1) passed over.
    pub old_sets: usize,
    /// Bytes of a batch cut off at the end, as brokers may send it.
    pub partial_bytes: usize,
}

/// Why a batch cannot be read; every one names the batch's base offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Base offset the batch claims.
    pub base_offset: i64,
    /// What is wrong with it.
    pub reason: &'static str,
    /// One past its last offset, if its head could be trusted: a reader may go on there.
    pub skip_to: Option<i64>,
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// True if there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Name and value of each, in order. A name may come twice.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = Bytes(self.bytes);
        (0..self.count).map_while(move |_| {
            let name = rest.field()??;
            Some((name, rest.field()?))
        })
    }
}

/// A v2 batch, its frame and CRC checked.
struct Batch<'a> {
    base_offset: i64,
    last_offset: i64,
    attributes: i16,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    count: i32,
    records: &'a [u8],
}

/// Hands every record with an offset of at least `from_offset` to `each`, in order. Control batches (transaction marks) are passed over.
/// Nothing of a batch is handed out before all of it is known to be good.
///
/// # Errors
/// The first batch that breaks the format, fails its CRC-32C, or unpacks to more than [`UNPACKED_BYTES`]; what lay before it was handed out.
pub fn read(bytes: &[u8], from_offset: i64, each: &mut dyn FnMut(Record<'_>)) -> Result<Seen, Unreadable> {
    let mut seen = Seen { next_offset: from_offset, ..Seen::default() };
    let mut rest = bytes;
    while let Some((frame, behind)) = split(rest)? {
        rest = behind;
        let next = match frame[16] {
            0 | 1 => {
                seen.old_sets += 1;
                offset(frame).checked_add(1).ok_or_else(|| unreadable(frame, "its offset is not possible"))?
            }
            2 => {
                let batch = Batch::check(frame)?;
                seen.records += batch.hand_out(from_offset, each)?;
                batch.last_offset + 1
            }
            _ => return Err(unreadable(frame, "its format is newer than version 2")),
        };
        seen.next_offset = seen.next_offset.max(next);
    }
    seen.partial_bytes = rest.len();
    Ok(seen)
}

/// The newest timestamp that the batches' heads name, in milliseconds since 1970; records are not unpacked. Broken batches end the search.
pub fn newest_timestamp_ms(bytes: &[u8]) -> Option<i64> {
    let mut newest = None;
    let mut rest = bytes;
    while let Ok(Some((frame, behind))) = split(rest) {
        rest = behind;
        if let Some(Ok(batch)) = (frame[16] == 2).then(|| Batch::check(frame)) {
            newest = newest.max(Some(batch.max_timestamp_ms));
        }
    }
    newest.filter(|ms| *ms >= 0)
}

fn offset(frame: &[u8]) -> i64 {
    frame.first_chunk::<8>().map_or(-1, |b| i64::from_be_bytes(*b))
}

fn unreadable(frame: &[u8], reason: &'static str) -> Unreadable {
    Unreadable { base_offset: offset(frame), reason, skip_to: None }
}

/// A frame, and what is behind it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The first whole batch or old message, and what is behind it; none if the rest is no whole one.
fn split(bytes: &[u8]) -> Result<Option<Split<'_>>, Unreadable> {
    let Some(length) = bytes.get(8..LENGTH_END).and_then(|b| b.first_chunk::<4>()) else {
        return Ok(None);
    };
    // The smallest frame is an old message: CRC, magic, attributes, two lengths.
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) if length >= 14 => Ok(bytes.split_at_checked(LENGTH_END + length)),
        _ => Err(unreadable(bytes, "its length is not possible")),
    }
}

impl<'a> Batch<'a> {
    fn check(frame: &'a [u8]) -> Result<Self, Unreadable> {
        let (head, records) =
            frame.split_first_chunk::<HEAD_BYTES>().ok_or_else(|| unreadable(frame, "its length is not possible"))?;
        let mut crc = [0; 4];
        crc.copy_from_slice(&head[CRC_AT..CRC_AT + 4]);
        if u32::from_be_bytes(crc) != crc32c::crc32c(&frame[CRC_AT + 4..]) {
            return Err(unreadable(frame, "its CRC-32C does not match"));
        }
        let mut fields = Bytes(&head[CRC_AT + 4..]);
        let base_offset = offset(frame);
        let parsed = (|| {
            let attributes = i16::from_be_bytes(fields.take()?);
            let last_offset_delta = u32::from_be_bytes(fields.take()?);
            let base_timestamp_ms = i64::from_be_bytes(fields.take()?);
            let max_timestamp_ms = i64::from_be_bytes(fields.take()?);
            fields.skip(14)?;
            let count = i32::from_be_bytes(fields.take()?);
            let last_offset = base_offset.checked_add(i64::from(i32::try_from(last_offset_delta).ok()?))?;
            let possible = base_offset >= 0 && last_offset < i64::MAX && count >= 0;
            let batch =
                Self { base_offset, last_offset, attributes, base_timestamp_ms, max_timestamp_ms, count, records };
            possible.then_some(batch)
        })();
        parsed.ok_or_else(|| unreadable(frame, "its offsets are not possible"))
    }

    fn unreadable(&self, reason: &'static str) -> Unreadable {
        Unreadable { base_offset: self.base_offset, reason, skip_to: Some(self.last_offset + 1) }
    }

    fn hand_out(&self, from_offset: i64, each: &mut dyn FnMut(Record<'_>)) -> Result<usize, Unreadable> {
        if self.attributes & CONTROL != 0 || self.last_offset < from_offset {
            return Ok(0);
        }
        let packing = Packing::of(self.attributes).ok_or_else(|| self.unreadable("its compression is not known"))?;
        let mut unpacked = Vec::new();
        let records = if packing == Packing::None {
            self.records
        } else {
            unpack(packing, self.records, UNPACKED_BYTES, &mut unpacked).map_err(|why| self.unreadable(why))?;
            &unpacked
        };
        self.walk(records, &mut |_| {}).ok_or_else(|| self.unreadable("a record in it is broken"))?;
        let mut handed = 0;
        self.walk(records, &mut |record| {
            if record.offset >= from_offset {
                handed += 1;
                each(record);
            }
        });
        Ok(handed)
    }

    fn walk<'r>(&self, records: &'r [u8], each: &mut dyn FnMut(Record<'r>)) -> Option<()> {
        let mut rest = Bytes(records);
        for _ in 0..self.count {
            let length = usize::try_from(rest.varint()?).ok()?;
            let mut one = Bytes(rest.skip(length)?);
            each(self.record(&mut one)?);
        }
        rest.0.is_empty().then_some(())
    }

    fn record<'r>(&self, bytes: &mut Bytes<'r>) -> Option<Record<'r>> {
        bytes.skip(1)?;
        let timestamp_ms = self.base_timestamp_ms.checked_add(bytes.varint()?)?;
        let offset = self.base_offset.checked_add(bytes.varint()?)?;
        let key = bytes.field()?;
        let value = bytes.field()?;
        let count = usize::try_from(bytes.varint()?).ok()?;
        let headers = Headers { bytes: bytes.0, count };
        for _ in 0..count {
            bytes.field()??;
            bytes.field()?;
        }
        let in_batch = (self.base_offset..=self.last_offset).contains(&offset);
        let appended_at = self.attributes & LOG_APPEND_TIME != 0;
        let timestamp_ms = if appended_at { self.max_timestamp_ms } else { timestamp_ms };
        (bytes.0.is_empty() && in_batch).then_some(Record { offset, timestamp_ms, key, value, headers })
    }
}

/// Bytes yet to be read; every step says none when there are too few.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn skip(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn varint(&mut self) -> Option<i64> {
        let (value, at) = read_signed(self.0, 0)?;
        self.0 = &self.0[at..];
        Some(value)
    }

    /// A length and so many bytes; length -1 is a field that is not there.
    fn field(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            length => self.skip(usize::try_from(length).ok()?).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::decompress::tests::{ALL, pack};

    fn zigzag(into: &mut Vec<u8>, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest > 0x7f {
            into.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        into.push(rest as u8);
    }

    fn field(into: &mut Vec<u8>, value: Option<&[u8]>) {
        zigzag(into, value.map_or(-1, |v| v.len() as i64));
        into.extend_from_slice(value.unwrap_or_default());
    }

    /// Records with values, at offset deltas 0, 1, …; timestamps 10 apart; the first has a key and two headers.
    fn records(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut all = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let mut one = vec![0];
            zigzag(&mut one, index as i64 * 10);
            zigzag(&mut one, index as i64);
            field(&mut one, (index == 0).then_some(b"key"));
            field(&mut one, *value);
            if index == 0 {
                zigzag(&mut one, 2);
                field(&mut one, Some(b"name"));
                field(&mut one, Some(b"x"));
                field(&mut one, Some(b"name"));
                field(&mut one, None);
            } else {
                zigzag(&mut one, 0);
            }
            zigzag(&mut all, one.len() as i64);
            all.extend(one);
        }
        all
    }

    fn batch(base_offset: i64, count: i32, attributes: i16, records: &[u8]) -> Vec<u8> {
        let mut bytes = base_offset.to_be_bytes().to_vec();
        bytes.extend(((HEAD_BYTES - LENGTH_END + records.len()) as i32).to_be_bytes());
        bytes.extend([0, 0, 0, 0, 2, 0, 0, 0, 0]);
        bytes.extend(attributes.to_be_bytes());
        bytes.extend((count - 1).to_be_bytes());
        bytes.extend(1_000i64.to_be_bytes());
        bytes.extend(5_000i64.to_be_bytes());
        bytes.extend([0xff; 14]);
        bytes.extend(count.to_be_bytes());
        bytes.extend_from_slice(records);
        seal(&mut bytes);
        bytes
    }

    fn seal(bytes: &mut [u8]) {
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }

    type Plain = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, usize);

    fn all(bytes: &[u8], from: i64) -> (Result<Seen, Unreadable>, Vec<Plain>) {
        let mut found = Vec::new();
        let seen = read(bytes, from, &mut |r| {
            let headers = r.headers.iter().count();
            assert_eq!(headers, r.headers.len());
            found.push((r.offset, r.timestamp_ms, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec), headers));
        });
        (seen, found)
    }

    #[test]
    fn every_packing_yields_keys_values_headers_times_and_offsets() {
        let plain = records(&[Some(b"a"), None, Some(b"")]);
        for (number, packing) in ALL.into_iter().enumerate() {
            let bytes = batch(40, 3, number as i16, &pack(packing, &plain));
            let (seen, found) = all(&bytes, 0);
            assert_eq!(seen, Ok(Seen { next_offset: 43, records: 3, ..Seen::default() }), "{packing:?}");
            let expected = [
                (40, 1_000, Some(b"key".to_vec()), Some(b"a".to_vec()), 2),
                (41, 1_010, None, None, 0),
                (42, 1_020, None, Some(vec![]), 0),
            ];
            assert_eq!(found, expected, "{packing:?}");
        }
    }

    #[test]
    fn headers_keep_order_and_repeats() {
        read(&batch(0, 1, 0, &records(&[None])), 0, &mut |r| {
            let got: Vec<_> = r.headers.iter().collect();
            assert_eq!(got, [(&b"name"[..], Some(&b"x"[..])), (b"name", None)]);
        })
        .unwrap();
    }

    #[test]
    fn records_before_the_wanted_offset_stay_out_and_a_cut_batch_ends_the_run() {
        let mut bytes = batch(0, 2, 0, &records(&[Some(b"a"), Some(b"b")]));
        bytes.extend(batch(2, 2, 0, &records(&[Some(b"c"), Some(b"d")])));
        let (seen, found) = all(&bytes, 3);
        assert_eq!((seen.unwrap().next_offset, found.len(), found[0].0), (4, 1, 3));
        let whole = batch(0, 2, 0, &records(&[Some(b"a"), Some(b"b")])).len();
        for end in whole..bytes.len() {
            let (seen, found) = all(&bytes[..end], 0);
            let seen = seen.unwrap();
            assert_eq!((seen.next_offset, seen.partial_bytes, found.len()), (2, end - whole, 2), "cut at {end}");
        }
    }

    #[test]
    fn broker_time_and_control_batches_follow_their_attributes() {
        let plain = records(&[Some(b"a")]);
        assert_eq!(all(&batch(0, 1, LOG_APPEND_TIME, &plain), 0).1[0].1, 5_000);
        let (seen, found) = all(&batch(7, 1, CONTROL, &plain), 0);
        assert_eq!((seen.unwrap().next_offset, found.len()), (8, 0));
        assert_eq!(newest_timestamp_ms(&batch(0, 1, 0, &plain)), Some(5_000));
        assert_eq!(newest_timestamp_ms(&[]), None);
    }

    #[test]
    fn damage_is_named_and_nothing_of_the_batch_is_handed_out() {
        let plain = records(&[Some(b"a"), Some(b"b")]);
        let good = batch(5, 2, 0, &plain);
        for at in 16..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 4;
            let (seen, found) = all(&bad, 0);
            assert!(seen.is_err() && found.is_empty(), "byte {at}");
        }
        let mut cut_inside = plain.clone();
        cut_inside.pop();
        let (seen, found) = all(&batch(5, 2, 0, &cut_inside), 0);
        let reason = Unreadable { base_offset: 5, reason: "a record in it is broken", skip_to: Some(7) };
        assert_eq!((seen, found.len()), (Err(reason), 0));
        assert_eq!(all(&batch(5, 2, 7, &plain), 0).0.unwrap_err().reason, "its compression is not known");
        assert_eq!(all(&batch(5, 2, 4, &plain), 0).0.unwrap_err().reason, "its zstd data is broken");
        assert_eq!(all(&batch(i64::MAX, 2, 0, &plain), 0).0.unwrap_err().skip_to, None);
    }

    #[test]
    fn flipped_record_bytes_under_a_right_crc_never_panic_nor_leave_the_batch() {
        let good = batch(5, 3, 0, &records(&[Some(b"aaaa"), Some(b"b"), None]));
        for at in HEAD_BYTES - 4..good.len() {
            for flip in 1..=255u8 {
                let mut bad = good.clone();
                bad[at] ^= flip;
                seal(&mut bad);
                let (_, found) = all(&bad, 0);
                assert!(found.iter().all(|r| (5..=7).contains(&r.0)));
            }
        }
    }

    #[test]
    fn old_message_sets_are_counted_and_passed_over() {
        let mut bytes = 9i64.to_be_bytes().to_vec();
        bytes.extend(14i32.to_be_bytes());
        bytes.extend([0; 14]);
        bytes[16] = 1;
        bytes.extend(batch(10, 1, 0, &records(&[Some(b"a")])));
        let (seen, found) = all(&bytes, 9);
        assert_eq!(seen, Ok(Seen { next_offset: 11, records: 1, old_sets: 1, partial_bytes: 0 }));
        assert_eq!(found.len(), 1);
        let mut endless = bytes.clone();
        endless[8..12].copy_from_slice(&(-1i32).to_be_bytes());
        assert_eq!(all(&endless, 0).0.unwrap_err().reason, "its length is not possible");
    }
}
