//! One segment: its name, its header block, and what is found in it, however it was cut or damaged.

use crate::kafka::batch::HEADER_BYTES as BATCH_HEADER_BYTES;
use crate::kafka::stored::{DONE_AT, FrameRef, Origin, STORED_BYTES, Stored, Unreadable, VOID};

/// Bytes of a segment, unless one frame alone is larger.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// A spool is divided into at least so many segments: a delivered one must be deleted before its room is free.
const SEGMENTS_LEAST: u64 = 8;
/// Frames begin at multiples of this: a [`Stored`] then lies within one sector of a disk, and is written whole or not at all.
pub const ALIGN_BYTES: u64 = 512;
/// Bytes of the block that a segment begins with.
pub const HEADER_BYTES: usize = 512;
/// Name of the directory of the lane registry, in the spool's.
pub const REGISTRY: &str = "lanes";

const MAGIC: [u8; 8] = *b"TGSPOOL1";
const VERSION: u32 = 1;
/// The CRC-32C covers all of the header before it.
const CRC_AT: usize = HEADER_BYTES - 4;
/// Where a record batch says its length, magic and CRC, and where the bytes begin that the length counts and the CRC covers
/// (KIP-98).
const LENGTH_AT: usize = 8;
const LENGTH_FROM: usize = 12;
const MAGIC_AT: usize = 16;
const BATCH_CRC_AT: usize = 17;
const BATCH_CRC_FROM: usize = 21;
const BATCH_MAGIC: u8 = 2;

/// Which segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId {
    /// Content key of the lane.
    pub lane: u64,
    /// Who numbered the batches in it.
    pub origin: Origin,
    /// Counts up; never used twice for one lane and origin while a file of that number may be there.
    pub number: u32,
}

impl SegmentId {
    /// The segment that a frame lies in.
    pub const fn of(frame: &FrameRef) -> Self {
        Self { lane: frame.lane, origin: frame.origin, number: frame.segment }
    }

    /// Its directory, below the spool's.
    pub fn directory(self) -> String {
        format!("{:016x}/{}", self.lane, self.origin)
    }

    /// Its file, below the spool's directory.
    pub fn path(self) -> String {
        format!("{}/{:08}.seg", self.directory(), self.number)
    }

    /// The block that it begins with.
    pub fn header(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, piece: &[u8]| bytes[at..at + piece.len()].copy_from_slice(piece);
        put(0, &MAGIC);
        put(8, &VERSION.to_be_bytes());
        put(12, &self.number.to_be_bytes());
        put(16, &self.lane.to_be_bytes());
        put(24, &self.origin.start.to_be_bytes());
        put(32, &self.origin.core.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// What a file's first block says. None: it is no segment of this version, or is damaged.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        if bytes[..8] != MAGIC
            || u32_at(bytes, 8) != VERSION
            || u32_at(bytes, CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT])
        {
            return None;
        }
        let u64_at = |at| u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4));
        let origin = Origin { start: u64_at(24), core: u32_at(bytes, 32) };
        Some(Self { lane: u64_at(16), origin, number: u32_at(bytes, 12) })
    }
}

/// True if a file that [`SegmentId::read`] cannot read is a segment of another version.
pub fn is_of_another_version(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_BYTES && bytes[..7] == MAGIC[..7] && (bytes[7] != MAGIC[7] || u32_at(bytes, 8) != VERSION)
}

/// The lane that a directory's name means.
pub fn lane_of(name: &str) -> Option<u64> {
    (name.len() == 16).then(|| u64::from_str_radix(name, 16).ok())?
}

/// The origin that a directory's name means.
pub fn origin_of(name: &str) -> Option<Origin> {
    let (start, core) = name.split_once('-')?;
    Some(Origin { start: lane_of(start)?, core: core.parse().ok()? })
}

/// The number that a segment's file name means.
pub fn number_of(name: &str) -> Option<u32> {
    name.strip_suffix(".seg")?.parse().ok()
}

/// File of a lane in the registry, below the spool's directory.
pub fn registry_path(lane: u64) -> String {
    format!("{REGISTRY}/{lane:016x}.json")
}

/// Bytes that the segments of a core should have whose share of the spool is `share_bytes`.
pub const fn segment_bytes(share_bytes: u64) -> u64 {
    let eighth = share_bytes / SEGMENTS_LEAST;
    if eighth < SEGMENT_BYTES { eighth } else { SEGMENT_BYTES }
}

/// `offset`, or the first one behind it at which a frame may begin.
pub const fn aligned(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGN_BYTES)
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins.
    pub offset: u64,
    /// What stands in front of its batch. If it says "done", the batch was not looked at.
    pub stored: Stored,
    /// Done without being resolved: says nothing of the batch of that number.
    pub void: bool,
}

impl Frame {
    /// What to call it by.
    pub const fn reference(&self, segment: u32) -> FrameRef {
        let Stored { lane, origin, .. } = self.stored;
        FrameRef { lane, origin, segment, offset: self.offset, bytes: self.stored.frame_bytes() as u32 }
    }
}

/// What is wrong with bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Only zeros: room that was never written.
    Empty,
    /// No frame begins here.
    Magic,
    /// What is in front of a batch does not fit its CRC, or says what cannot be.
    Front,
    /// A frame of another lane or origin.
    Foreign,
    /// The file ends before the frame does.
    Torn,
    /// The record batch does not fit its own CRC, or is none.
    Batch,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "nothing was written there",
            Self::Magic => "no frame begins there",
            Self::Front => "the frame's front does not fit its checksum",
            Self::Foreign => "the frame belongs to another lane",
            Self::Torn => "the file ends within the frame",
            Self::Batch => "the record batch does not fit its checksum",
        })
    }
}

/// Bytes that hold no whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first.
    pub from: u64,
    /// Behind the last.
    pub to: u64,
    /// What is wrong at the first.
    pub why: Why,
}

/// What a segment holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Whole frames, in the order of the file.
    pub frames: Vec<Frame>,
    /// Behind the last whole frame.
    pub end: u64,
    /// What was passed over. The last one is a torn tail if it reaches to the file's end.
    pub damage: Vec<Damage>,
}

/// Reads a segment's bytes, from the file's beginning on. A damaged frame hides none behind it: frames begin at known multiples,
/// and a false one would have to fit two CRCs and to know lane and origin.
pub fn scan(id: SegmentId, bytes: &[u8]) -> Scan {
    let len = bytes.len() as u64;
    let mut found = Scan { end: HEADER_BYTES as u64, ..Scan::default() };
    let mut at = HEADER_BYTES as u64;
    while at < len {
        match frame_at(id, bytes, at) {
            Ok(frame) => {
                let end = at + frame.stored.frame_bytes() as u64;
                found.end = end.min(len);
                found.frames.push(frame);
                at = aligned(end);
            }
            Err((why, next)) => {
                let to = next.min(len);
                match found.damage.last_mut() {
                    Some(last) if last.to == at => last.to = to,
                    _ => found.damage.push(Damage { from: at, to, why }),
                }
                at = next;
            }
        }
    }
    found
}

/// The frame at `at`; or what is wrong, and where the next one may be.
fn frame_at(id: SegmentId, bytes: &[u8], at: u64) -> Result<Frame, (Why, u64)> {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let step = at + ALIGN_BYTES;
    let stored = Stored::read(rest).map_err(|unreadable| match unreadable {
        Unreadable::Short => (Why::Torn, step),
        Unreadable::Magic if rest.iter().take(STORED_BYTES).all(|byte| *byte == 0) => (Why::Empty, step),
        Unreadable::Magic => (Why::Magic, step),
        Unreadable::Crc | Unreadable::Size => (Why::Front, step),
    })?;
    if (stored.lane, stored.origin) != (id.lane, id.origin) {
        return Err((Why::Foreign, step));
    }
    let frame = Frame { offset: at, stored, void: rest[DONE_AT] == VOID };
    if stored.done {
        return Ok(frame);
    }
    let batch = rest.get(STORED_BYTES..stored.frame_bytes()).ok_or((Why::Torn, bytes.len() as u64))?;
    // Its front is sound, so that its length may be believed.
    if is_whole_batch(batch) { Ok(frame) } else { Err((Why::Batch, aligned(at + stored.frame_bytes() as u64))) }
}

/// True if these bytes are one record batch (magic 2), by its own length and CRC.
pub fn is_whole_batch(batch: &[u8]) -> bool {
    let Some(header) = batch.first_chunk::<BATCH_HEADER_BYTES>() else { return false };
    u32_at(header, LENGTH_AT) as usize == batch.len() - LENGTH_FROM
        && header[MAGIC_AT] == BATCH_MAGIC
        && u32_at(header, BATCH_CRC_AT) == crc32c::crc32c(&batch[BATCH_CRC_FROM..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(<[u8]>::first_chunk::<4>).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
