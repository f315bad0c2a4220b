//! What must be known of a batch that may outlive the process, in a layout that stays: beside its bytes in the ring's file, and in
//! front of them in the spool's. With it the same bytes can be sent again under the same identity (KAFKA.md §9), or the broker be
//! asked what became of them.
//!
//! ```text
//! 0 magic │ 4 CRC-32C of 12… │ 8 done │ 12 batch bytes │ 16 lane │ 24 origin: start, core │ 36 partition │ 40 number │ 48 attributes,
//! flags │ 52 records │ 56 entries │ 64 timestamps │ 80 producer id, epoch, sequence │ 96 topic id │ 112 scan from │ 120 cluster
//! │ 128 entries of the part that was sent
//! ```
//! Numbers are big-endian, as Kafka's.

use super::batch::{HEADER_BYTES, HEADROOM_BYTES, Identity, RECORDS_START, Sealed};

/// Bytes that it takes.
pub const STORED_BYTES: usize = 136;
/// Where it stands in a slot when the batch goes to the spool: in front of the batch, so that both are one range of memory.
pub const STORED_AT: usize = HEADROOM_BYTES - STORED_BYTES;
/// Offset of the one byte that is written in place once the batch is resolved, and is not covered by the CRC.
pub const DONE_AT: usize = 8;

/// What that byte becomes: the batch is resolved.
pub const DONE: u8 = 1;
/// What that byte becomes: what stands there does not count, whatever became of the batch (its write failed, or it is there twice).
pub const VOID: u8 = 2;

/// `TGB` and the version of the layout.
const MAGIC: [u8; 4] = *b"TGB1";
const CRC_AT: usize = 4;
const CRC_FROM: usize = 12;
const SENT: u16 = 1;

/// Bits of a batch's number that count within one lane; those above tell a core's lanes apart.
pub const LANE_NUMBER_BITS: u32 = 40;

/// Which start of which core numbered a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Of the process: different at every start, and growing (nanoseconds since 1970).
    pub start: u64,
    /// The core.
    pub core: u32,
}

impl std::fmt::Display for Origin {
    /// As directories, files and tables name it: the start as 16 hexadecimal digits, a dash, the core.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{}", self.start, self.core)
    }
}

/// Where a batch lies in the spool: [`Stored`] and its bytes behind it. The spool gives these out; who holds one only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameRef {
    /// Content key of the lane.
    pub lane: u64,
    /// Who numbered the batch.
    pub origin: Origin,
    /// Number of the segment, within lane and origin.
    pub segment: u32,
    /// Where it begins in the segment.
    pub offset: u64,
    /// Bytes of both.
    pub bytes: u32,
}

/// A batch that may outlive the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Content key of the lane: cluster, topic, key and the rest of it stand in the lane registry under this number.
    pub lane: u64,
    /// Who gave it its number.
    pub origin: Origin,
    /// Hand-over order within lane and origin.
    pub number: u64,
    /// Its size and what is in it. `sealed.end` counts from the slot's front.
    pub sealed: Sealed,
    /// Partition, once it has one.
    pub partition: Option<i32>,
    /// Identity, once it was prepared to be sent with one. Frozen.
    pub identity: Option<Identity>,
    /// Topic id of that attempt; zero: not told.
    pub topic_id: [u8; 16],
    /// An offset of the partition before which it cannot lie; -1: not known.
    pub scan_from: i64,
    /// Hash of the cluster's id of that attempt; 0: not told.
    pub cluster: u64,
    /// Entries at the front that are resolved already, after it was cut.
    pub skip: u64,
    /// Entries of what was sent last, behind those; 0: all.
    pub part: u64,
    /// True if it was sent, or was about to be: it may be in Kafka.
    pub sent: bool,
    /// True if nothing is to be done with it any more: [`DONE`], or [`VOID`].
    pub done: bool,
}

/// Why bytes are not a [`Stored`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Fewer than [`STORED_BYTES`].
    Short,
    /// Of another kind or version.
    Magic,
    /// The CRC does not fit.
    Crc,
    /// The CRC fits, but a size cannot be.
    Size,
}

impl Stored {
    /// Of a batch that is begun: nothing is in it, and it was sent nowhere.
    pub const fn begun(lane: u64, origin: Origin, number: u64) -> Self {
        let (attributes, records, entries, base_timestamp_ms, max_timestamp_ms) = (0, 0, 0, 0, 0);
        Self {
            lane,
            origin,
            number,
            sealed: Sealed { end: RECORDS_START, attributes, records, entries, base_timestamp_ms, max_timestamp_ms },
            partition: None,
            identity: None,
            topic_id: [0; 16],
            scan_from: -1,
            cluster: 0,
            skip: 0,
            part: 0,
            sent: false,
            done: false,
        }
    }

    /// Entries that are not resolved.
    pub const fn entries_left(&self) -> u64 {
        self.sealed.entries.saturating_sub(self.skip)
    }

    /// Bytes of the batch behind it.
    pub const fn batch_bytes(&self) -> usize {
        self.sealed.end - HEADROOM_BYTES
    }

    /// Bytes of itself and the batch behind it.
    pub const fn frame_bytes(&self) -> usize {
        STORED_BYTES + self.batch_bytes()
    }

    /// Writes it to the front of `to`, which has at least [`STORED_BYTES`].
    pub fn write(&self, to: &mut [u8]) {
        let identity = self.identity.unwrap_or(Identity::NONE);
        let mut bytes = [0u8; STORED_BYTES];
        let mut put = |at: usize, piece: &[u8]| bytes[at..at + piece.len()].copy_from_slice(piece);
        put(0, &MAGIC);
        put(DONE_AT, &[if self.done { DONE } else { 0 }]);
        put(12, &(self.batch_bytes() as u32).to_be_bytes());
        put(16, &self.lane.to_be_bytes());
        put(24, &self.origin.start.to_be_bytes());
        put(32, &self.origin.core.to_be_bytes());
        put(36, &self.partition.unwrap_or(-1).to_be_bytes());
        put(40, &self.number.to_be_bytes());
        put(48, &self.sealed.attributes.to_be_bytes());
        put(50, &(if self.sent { SENT } else { 0 }).to_be_bytes());
        put(52, &self.sealed.records.to_be_bytes());
        // Entries and those that are resolved: a batch has fewer than 2^32 bytes, and an entry at least one.
        put(56, &(self.sealed.entries as u32).to_be_bytes());
        put(60, &(self.skip as u32).to_be_bytes());
        put(64, &self.sealed.base_timestamp_ms.to_be_bytes());
        put(72, &self.sealed.max_timestamp_ms.to_be_bytes());
        put(80, &identity.producer_id.to_be_bytes());
        put(88, &identity.epoch.to_be_bytes());
        put(92, &identity.sequence.to_be_bytes());
        put(96, &self.topic_id);
        put(112, &self.scan_from.to_be_bytes());
        put(120, &self.cluster.to_be_bytes());
        put(128, &(self.part as u32).to_be_bytes());
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        to[..STORED_BYTES].copy_from_slice(&bytes);
    }

    /// Reads one from the front of `bytes`.
    ///
    /// # Errors
    /// Why it is none. What stands behind it was not looked at.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let bytes = bytes.first_chunk::<STORED_BYTES>().ok_or(Unreadable::Short)?;
        if bytes[..4] != MAGIC {
            return Err(Unreadable::Magic);
        }
        if u32_at(bytes, CRC_AT) != crc32c::crc32c(&bytes[CRC_FROM..]) {
            return Err(Unreadable::Crc);
        }
        let batch_bytes = u32_at(bytes, 12) as usize;
        if batch_bytes < HEADER_BYTES {
            return Err(Unreadable::Size);
        }
        let identity = Identity {
            producer_id: u64_at(bytes, 80) as i64,
            epoch: u16_at(bytes, 88) as i16,
            sequence: u32_at(bytes, 92) as i32,
        };
        let partition = u32_at(bytes, 36) as i32;
        let mut topic_id = [0; 16];
        topic_id.copy_from_slice(&bytes[96..112]);
        Ok(Self {
            lane: u64_at(bytes, 16),
            origin: Origin { start: u64_at(bytes, 24), core: u32_at(bytes, 32) },
            number: u64_at(bytes, 40),
            sealed: Sealed {
                end: HEADROOM_BYTES + batch_bytes,
                attributes: u16_at(bytes, 48),
                records: u32_at(bytes, 52),
                entries: u64::from(u32_at(bytes, 56)),
                base_timestamp_ms: u64_at(bytes, 64) as i64,
                max_timestamp_ms: u64_at(bytes, 72) as i64,
            },
            partition: (partition >= 0).then_some(partition),
            identity: (identity != Identity::NONE).then_some(identity),
            topic_id,
            scan_from: u64_at(bytes, 112) as i64,
            cluster: u64_at(bytes, 120),
            skip: u64::from(u32_at(bytes, 60)),
            part: u64::from(u32_at(bytes, 128)),
            sent: u16_at(bytes, 50) & SENT != 0,
            done: bytes[DONE_AT] != 0,
        })
    }
}

const fn u16_at(bytes: &[u8; STORED_BYTES], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

const fn u32_at(bytes: &[u8; STORED_BYTES], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; STORED_BYTES], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Stored {
        Stored {
            lane: 0x0102_0304_0506_0708,
            origin: Origin { start: 99, core: 3 },
            number: 1 << 40,
            sealed: Sealed {
                end: HEADROOM_BYTES + 1_000,
                attributes: 3,
                records: 7,
                entries: 70,
                base_timestamp_ms: -5,
                max_timestamp_ms: 1 << 41,
            },
            partition: Some(12),
            identity: Some(Identity { producer_id: 1 << 50, epoch: 4, sequence: i32::MAX }),
            topic_id: [9; 16],
            scan_from: 1 << 33,
            cluster: 77,
            skip: 2,
            part: 9,
            sent: true,
            done: false,
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let bare = Stored { partition: None, identity: None, sent: false, scan_from: -1, ..example() };
        for stored in [example(), bare, Stored { done: true, ..bare }] {
            let mut bytes = [0xff; STORED_BYTES + 1];
            stored.write(&mut bytes);
            assert_eq!(Stored::read(&bytes), Ok(stored));
        }
    }

    #[test]
    fn a_changed_byte_shows_and_only_done_may_change() {
        let mut bytes = [0; STORED_BYTES];
        example().write(&mut bytes);
        for at in (0..STORED_BYTES).filter(|at| !(DONE_AT..CRC_FROM).contains(at)) {
            let mut changed = bytes;
            changed[at] ^= 1;
            assert!(Stored::read(&changed).is_err(), "{at}");
        }
        bytes[DONE_AT] = 1;
        assert_eq!(Stored::read(&bytes), Ok(Stored { done: true, ..example() }));
        assert_eq!(Stored::read(&bytes[1..]), Err(Unreadable::Short));
    }
}
