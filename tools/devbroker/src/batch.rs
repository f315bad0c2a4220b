//! Checks record batches as a broker does before it appends them (format v2, Kafka protocol guide "Record Batch"). Packed records are not unpacked:
//! their inside is the reader's business.

use crate::code;

/// Bytes of a batch before its records.
pub const HEAD_BYTES: usize = 61;
/// Offset of the CRC-32C; it covers everything behind itself.
const CRC_AT: usize = 17;

/// What a batch's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the protocol guide's names")]
pub struct Head {
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

impl Head {
    /// Sequence number of the last record, wrapped as Kafka wraps it.
    pub const fn last_sequence(&self) -> i32 {
        let sum = self.base_sequence as i64 + self.last_offset_delta as i64;
        if sum > i32::MAX as i64 { (sum - i32::MAX as i64 - 1) as i32 } else { sum as i32 }
    }
}

fn int<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn head(bytes: &[u8]) -> Option<Head> {
    Some(Head {
        attributes: i16::from_be_bytes(int(bytes, 21)?),
        last_offset_delta: i32::from_be_bytes(int(bytes, 23)?),
        base_timestamp_ms: i64::from_be_bytes(int(bytes, 27)?),
        max_timestamp_ms: i64::from_be_bytes(int(bytes, 35)?),
        producer_id: i64::from_be_bytes(int(bytes, 43)?),
        producer_epoch: i16::from_be_bytes(int(bytes, 51)?),
        base_sequence: i32::from_be_bytes(int(bytes, 53)?),
        count: i32::from_be_bytes(int(bytes, 57)?),
    })
}

/// The head of exactly one good batch.
///
/// # Errors
/// Kafka's code: 2 for damage, 87 for what is well-formed but wrong (magic, counts, more than one batch), 76 for an unknown compression.
pub fn check(bytes: &[u8]) -> Result<Head, i16> {
    let head = head(bytes).ok_or(code::CORRUPT_MESSAGE)?;
    let length = i32::from_be_bytes(int(bytes, 8).ok_or(code::CORRUPT_MESSAGE)?);
    if bytes[16] != 2 {
        return Err(code::INVALID_RECORD);
    }
    match usize::try_from(length).ok().map(|n| n + 12) {
        Some(whole) if whole == bytes.len() => {}
        Some(whole) if whole >= HEAD_BYTES && whole < bytes.len() => return Err(code::INVALID_RECORD),
        _ => return Err(code::CORRUPT_MESSAGE),
    }
    let crc = u32::from_be_bytes(int(bytes, CRC_AT).ok_or(code::CORRUPT_MESSAGE)?);
    if crc != crc32c::crc32c(&bytes[CRC_AT + 4..]) {
        return Err(code::CORRUPT_MESSAGE);
    }
    if head.count < 1 || head.last_offset_delta != head.count - 1 {
        return Err(code::INVALID_RECORD);
    }
    if head.producer_id >= 0 && (head.base_sequence < 0 || head.producer_epoch < 0) {
        return Err(code::INVALID_RECORD);
    }
    match head.attributes & 7 {
        0 if timestamps(bytes, &head).is_none() => Err(code::INVALID_RECORD),
        0..=4 => Ok(head),
        _ => Err(code::UNSUPPORTED_COMPRESSION_TYPE),
    }
}

/// Timestamps of an unpacked batch's records, by offset delta; none if packed or if a record is wrong.
pub fn timestamps(bytes: &[u8], head: &Head) -> Option<Vec<i64>> {
    if head.attributes & 7 != 0 {
        return None;
    }
    let mut rest = bytes.get(HEAD_BYTES..)?;
    let mut found = Vec::new();
    for index in 0..head.count {
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let mut record = rest.get(..length)?;
        rest = &rest[length..];
        record = record.get(1..)?;
        found.push(head.base_timestamp_ms.wrapping_add(varint(&mut record)?));
        if varint(&mut record)? != i64::from(index) {
            return None;
        }
        field(&mut record)?;
        field(&mut record)?;
        let headers = varint(&mut record)?;
        for _ in 0..headers {
            let length = usize::try_from(varint(&mut record)?).ok()?;
            record = record.get(length..)?;
            field(&mut record)?;
        }
        if headers < 0 || !record.is_empty() {
            return None;
        }
    }
    rest.is_empty().then_some(found)
}

fn field(bytes: &mut &[u8]) -> Option<()> {
    let length = varint(bytes)?;
    if length >= 0 {
        *bytes = bytes.get(usize::try_from(length).ok()?..)?;
    }
    (length >= -1).then_some(())
}

fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift.min(63);
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Batches made by hand, for tests here and in the crates that use this broker.
pub mod make {
    use super::{CRC_AT, HEAD_BYTES};

    /// Who a batch says it is from.
    #[derive(Clone, Copy, Debug)]
    pub struct From {
        /// Producer id; -1 for none.
        pub producer_id: i64,
        /// Its epoch.
        pub epoch: i16,
        /// Sequence of the first record.
        pub sequence: i32,
    }

    /// Nobody: no duplicate detection.
    pub const NOBODY: From = From { producer_id: -1, epoch: -1, sequence: -1 };

    /// A batch of unpacked records without keys, all at `timestamp_ms`.
    pub fn batch(from: From, timestamp_ms: i64, values: &[&[u8]]) -> Vec<u8> {
        let mut records = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let mut record = vec![0, 0];
            zigzag(&mut record, index as i64);
            zigzag(&mut record, -1);
            zigzag(&mut record, value.len() as i64);
            record.extend_from_slice(value);
            record.push(0);
            zigzag(&mut records, record.len() as i64);
            records.extend(record);
        }
        packed(from, timestamp_ms, values.len() as i32, 0, &records)
    }

    /// A batch around `records` as they are, with these attributes.
    pub fn packed(from: From, timestamp_ms: i64, count: i32, attributes: i16, records: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes[8..12].copy_from_slice(&((HEAD_BYTES - 12 + records.len()) as i32).to_be_bytes());
        bytes[12..16].copy_from_slice(&(-1i32).to_be_bytes());
        bytes[16] = 2;
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[27..35].copy_from_slice(&timestamp_ms.to_be_bytes());
        bytes[35..43].copy_from_slice(&timestamp_ms.to_be_bytes());
        bytes[43..51].copy_from_slice(&from.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&from.epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&from.sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(records);
        seal(&mut bytes);
        bytes
    }

    /// Puts the right CRC-32C into a batch that was changed.
    pub fn seal(bytes: &mut [u8]) {
        let crc = crc32c::crc32c(&bytes[CRC_AT + 4..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    }

    /// Appends `value` as Kafka's zigzag varint.
    pub fn zigzag(into: &mut Vec<u8>, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest > 0x7f {
            into.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        into.push(rest as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::make::{NOBODY, batch, seal};
    use super::*;

    #[test]
    fn good_batch_passes_and_tells_its_head() {
        let head = check(&batch(NOBODY, 77, &[b"a", b"bb"])).unwrap();
        assert_eq!((head.count, head.last_offset_delta, head.max_timestamp_ms, head.producer_id), (2, 1, 77, -1));
    }

    #[test]
    fn every_flipped_byte_behind_the_crc_is_corrupt() {
        let good = batch(NOBODY, 77, &[b"hello"]);
        for at in CRC_AT..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(check(&bad), Err(code::CORRUPT_MESSAGE), "byte {at}");
        }
    }

    #[test]
    fn counts_magic_and_a_second_batch_are_invalid_and_cuts_are_corrupt() {
        let good = batch(NOBODY, 77, &[b"hello", b"x"]);
        let mut count = good.clone();
        count[60] = 3;
        seal(&mut count);
        assert_eq!(check(&count), Err(code::INVALID_RECORD));
        let mut delta = good.clone();
        (delta[60], delta[26]) = (3, 2);
        seal(&mut delta);
        assert_eq!(check(&delta), Err(code::INVALID_RECORD));
        let mut magic = good.clone();
        magic[16] = 1;
        assert_eq!(check(&magic), Err(code::INVALID_RECORD));
        assert_eq!(check(&[good.clone(), good.clone()].concat()), Err(code::INVALID_RECORD));
        for end in 0..good.len() {
            assert!(check(&good[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn sequence_wraps_behind_the_largest() {
        let from = make::From { producer_id: 1, epoch: 0, sequence: i32::MAX };
        let head = check(&batch(from, 0, &[b"a", b"b", b"c"])).unwrap();
        assert_eq!(head.last_sequence(), 1);
    }
}
