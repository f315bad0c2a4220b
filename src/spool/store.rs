//! One core's part of the spool: which segments there are, what in them is still to be delivered, where the next frame goes.

use std::collections::BTreeMap;

use super::segment::{HEADER_BYTES, SegmentId, aligned};
use crate::kafka::stored::{FrameRef, Origin, Stored};

/// What is to be done with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAction {
    /// Write `stored::DONE` into the byte at `offset` + `stored::DONE_AT`.
    MarkDone {
        /// Of which file.
        file: SegmentId,
        /// Where the frame begins.
        offset: u64,
    },
    /// Write `stored::VOID` there.
    MarkVoid {
        /// Of which file.
        file: SegmentId,
        /// Where the frame begins, or would have.
        offset: u64,
    },
    /// Delete the file: nothing in it is needed. Marks for it that were not made need not be made.
    Delete {
        /// Which.
        file: SegmentId,
    },
}

/// Room for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// In which segment.
    pub file: SegmentId,
    /// Where in it.
    pub offset: u64,
    /// True if the segment is not there yet: it is to be made, with [`SegmentId::header`] at its front.
    pub new_file: bool,
}

/// There is no room: what is in the spool must be delivered first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A frame that is to be delivered.
#[derive(Clone, Copy, Debug, Default)]
struct Live {
    entries: u64,
    /// None until it was written.
    made_ms: Option<i64>,
}

#[derive(Debug)]
struct Segment {
    /// Where the next frame would begin.
    end: u64,
    /// By offset.
    live: BTreeMap<u64, Live>,
}

/// One lane's segments of one origin, by number.
#[derive(Debug, Default)]
struct Directory {
    segments: BTreeMap<u32, Segment>,
    /// The one that frames are appended to.
    tail: Option<u32>,
}

/// The bookkeeping of one core.
#[derive(Debug)]
pub struct Store {
    limit_bytes: u64,
    segment_bytes: u64,
    directories: BTreeMap<(u64, Origin), Directory>,
    /// For all directories, so that a number that was used for a file is never used for another.
    next_number: u32,
    bytes: u64,
    frames: u64,
    entries: u64,
    refused: bool,
}

impl Store {
    /// An empty spool of at most `limit_bytes`, in files of `segment_bytes`.
    pub const fn new(limit_bytes: u64, segment_bytes: u64) -> Self {
        Self {
            limit_bytes,
            segment_bytes,
            directories: BTreeMap::new(),
            next_number: 0,
            bytes: 0,
            frames: 0,
            entries: 0,
            refused: false,
        }
    }

    /// Takes over a segment that was found at the start, with its frames; those that are done do not count, and nothing is appended
    /// to it. One in which nothing is left to deliver is for the caller to delete. The limit does not matter here.
    pub fn adopt(&mut self, lane: u64, origin: Origin, number: u32, file_bytes: u64, frames: Vec<(u64, Stored)>) {
        let live: BTreeMap<u64, Live> =
            frames.into_iter().filter(|(_, stored)| !stored.done).map(|(at, stored)| (at, Live::of(&stored))).collect();
        self.next_number = self.next_number.max(number.saturating_add(1));
        if live.is_empty() {
            return;
        }
        self.bytes += file_bytes;
        self.frames += live.len() as u64;
        self.entries += live.values().map(|live| live.entries).sum::<u64>();
        let directory = self.directories.entry((lane, origin)).or_default();
        directory.segments.insert(number, Segment { end: file_bytes, live });
    }

    /// Takes room for a frame at the tail of its lane and origin. It counts from now on; what became of its write must be said with
    /// [`Store::written`] or [`Store::failed`].
    ///
    /// # Errors
    /// When it would take more than the limit.
    pub fn place(&mut self, lane: u64, origin: Origin, frame_bytes: usize) -> Result<Placed, Full> {
        let room = aligned(frame_bytes as u64);
        let tail = self.directories.get(&(lane, origin)).and_then(Directory::tail);
        let tail = tail.filter(|(_, end)| end + room <= self.segment_bytes);
        let needed = room + if tail.is_some() { 0 } else { HEADER_BYTES as u64 };
        if self.bytes + needed > self.limit_bytes {
            self.refused = true;
            return Err(Full);
        }
        let (number, offset) = tail.unwrap_or((self.next_number, HEADER_BYTES as u64));
        if tail.is_none() {
            self.next_number += 1;
        }
        let directory = self.directories.entry((lane, origin)).or_default();
        directory.tail = Some(number);
        let segment =
            directory.segments.entry(number).or_insert_with(|| Segment { end: offset, live: BTreeMap::new() });
        segment.end = offset + room;
        segment.live.insert(offset, Live::default());
        self.bytes += needed;
        self.frames += 1;
        self.refused = false;
        Ok(Placed { file: SegmentId { lane, origin, number }, offset, new_file: tail.is_none() })
    }

    /// The frame stands in its file.
    pub fn written(&mut self, frame: FrameRef, stored: &Stored) {
        let now = Live::of(stored);
        if let Some(live) = self.segment(&frame).and_then(|segment| segment.live.get_mut(&frame.offset)) {
            let before = std::mem::replace(live, now);
            self.entries = self.entries + now.entries - before.entries;
        }
    }

    /// The frame could not be written. What stands there of it is not to be taken for a batch, nor for a resolved one: the batch
    /// itself is where it was. Nothing more is appended to that file.
    pub fn failed(&mut self, frame: FrameRef) -> Option<FileAction> {
        if let Some(directory) = self.directories.get_mut(&(frame.lane, frame.origin)) {
            directory.tail = directory.tail.filter(|tail| *tail != frame.segment);
        }
        self.drop_live(frame, FileAction::MarkVoid { file: SegmentId::of(&frame), offset: frame.offset })
    }

    /// The frame is resolved. Nothing is to be done for one that is not known.
    pub fn done(&mut self, frame: FrameRef) -> Option<FileAction> {
        self.drop_live(frame, FileAction::MarkDone { file: SegmentId::of(&frame), offset: frame.offset })
    }

    /// Forgets a frame; its file goes with the last, any other is marked.
    fn drop_live(&mut self, frame: FrameRef, mark: FileAction) -> Option<FileAction> {
        let segment = self.segment(&frame)?;
        let live = segment.live.remove(&frame.offset)?;
        let (is_over, file_bytes) = (segment.live.is_empty(), segment.end);
        self.frames -= 1;
        self.entries -= live.entries;
        if !is_over {
            return Some(mark);
        }
        self.bytes -= file_bytes;
        self.refused = false;
        let key = (frame.lane, frame.origin);
        if let Some(directory) = self.directories.get_mut(&key) {
            directory.segments.remove(&frame.segment);
            directory.tail = directory.tail.filter(|tail| *tail != frame.segment);
            if directory.segments.is_empty() {
                self.directories.remove(&key);
            }
        }
        Some(FileAction::Delete { file: SegmentId::of(&frame) })
    }

    fn segment(&mut self, frame: &FrameRef) -> Option<&mut Segment> {
        self.directories.get_mut(&(frame.lane, frame.origin))?.segments.get_mut(&frame.segment)
    }

    /// Bytes of all files.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Frames that are to be delivered, those among them that are being written.
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Entries in them, as far as they are not resolved.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// When the oldest entry in it was made, in milliseconds since 1970. Looks at one frame of each file: batches of a file are in
    /// order.
    pub fn oldest_ms(&self) -> Option<i64> {
        self.directories.values().filter_map(Directory::oldest_ms).min()
    }

    /// True if the frame that came last had no room and nothing was deleted since.
    pub const fn is_full(&self) -> bool {
        self.refused
    }
}

impl Live {
    const fn of(stored: &Stored) -> Self {
        Self { entries: stored.entries_left(), made_ms: Some(stored.sealed.base_timestamp_ms) }
    }
}

impl Directory {
    /// Number of the tail, and where the next frame would begin.
    fn tail(&self) -> Option<(u32, u64)> {
        let number = self.tail?;
        Some((number, self.segments.get(&number)?.end))
    }

    fn oldest_ms(&self) -> Option<i64> {
        self.segments.values().filter_map(|segment| segment.live.values().find_map(|live| live.made_ms)).min()
    }
}
