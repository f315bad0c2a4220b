//! The simulated machine's disk and its crashes: frames of the spool, writes that are slow, fail or find no room, and a gateway
//! that is killed and started again over what it left.

use std::collections::{HashMap, HashSet};

use super::event::{Event, SlotId};
use super::options::{LaneSpec, ShipperOptions};
use super::ring::SlotMemory;
use super::shipper::Shipper;
use super::sim::{Happening, MS, Sim};
use super::slot;
use super::stored::{DONE_AT, FrameRef, Origin, STORED_AT, STORED_BYTES, Stored};

/// Reads that fail in a row, at most: with one more the shipper gives a frame up.
const READS_FAIL_MAX: u32 = 4;

/// The disk.
#[derive(Debug, Default)]
pub struct Disk {
    /// Every frame that was ever written, with its bytes.
    pub frames: Vec<(FrameRef, Vec<u8>)>,
    /// Bytes of frames that are not done, at most; 0: no limit.
    pub limit: usize,
    /// One in so many operations fails; 0: none.
    pub fails: u64,
    /// Operations take up to so long, in milliseconds.
    pub slow_ms: u64,
    /// Frames written.
    pub written: u64,
    /// Reads that failed since one did not.
    unread: u32,
    /// Lanes of earlier runs and this one, by their content key.
    pub lanes: HashMap<u64, LaneSpec>,
}

impl Disk {
    fn used(&self) -> usize {
        self.frames.iter().filter(|(_, bytes)| bytes[DONE_AT] == 0).map(|(_, bytes)| bytes.len()).sum()
    }

    fn append(&mut self, bytes: &[u8]) -> FrameRef {
        let stored = Stored::read(bytes).expect("a frame begins with what it is");
        assert_eq!(bytes.len(), STORED_BYTES + stored.batch_bytes(), "a frame is as long as it says");
        assert!(super::batch::crc_is_right(&[vec![0; STORED_AT], bytes.to_vec()].concat(), stored.sealed.end));
        let offset = self.frames.len() as u64;
        let frame =
            FrameRef { lane: stored.lane, origin: stored.origin, segment: 0, offset, bytes: bytes.len() as u32 };
        self.frames.push((frame, bytes.to_vec()));
        self.written += 1;
        frame
    }

    fn bytes_of(&mut self, frame: FrameRef) -> &mut Vec<u8> {
        &mut self.frames[frame.offset as usize].1
    }

    /// Every entry that was ever written: its lane's place and its number.
    pub fn entries(&self) -> HashSet<(usize, u64)> {
        let mut entries = HashSet::new();
        for (_, bytes) in &self.frames {
            let text = String::from_utf8_lossy(bytes);
            for piece in text.split("\"lane\":").skip(1) {
                let numbers = piece.split_once(",\"n\":").expect("a lane and a number");
                let number = numbers.1.split(',').next().and_then(|n| n.parse().ok()).expect("a number");
                entries.insert((numbers.0.parse().expect("a lane"), number));
            }
        }
        entries
    }

    /// True if no frame is left to be delivered.
    pub fn is_done(&self) -> bool {
        self.left().next().is_none()
    }

    fn left(&self) -> impl Iterator<Item = (FrameRef, Stored)> + '_ {
        let read = |(frame, bytes): &(FrameRef, Vec<u8>)| (*frame, Stored::read(bytes).expect("sound"));
        self.frames.iter().map(read).filter(|(_, stored)| !stored.done)
    }
}

impl Sim {
    pub(super) fn spill(&mut self, slot: SlotId, bytes: Vec<u8>) {
        let delay = self.rng.below((self.disk.slow_ms + 1) * MS);
        let fails = self.chance(self.disk.fails);
        let full = self.disk.limit > 0 && self.disk.used() + bytes.len() > self.disk.limit;
        // The bytes reach the disk when the write ends, and the process may be gone before.
        self.later(delay, Happening::Spilled(slot, if fails || full { None } else { Some(bytes) }));
    }

    pub(super) fn spilled(&mut self, slot: SlotId, bytes: Option<Vec<u8>>) {
        let frame = bytes.map(|bytes| {
            let stored = Stored::read(&bytes).expect("a frame");
            let memory = &self.shipper.slot_bytes(slot).bytes()[STORED_AT..stored.sealed.end];
            assert!(memory == &bytes[..], "a slot changed while it was written to disk");
            self.disk.append(&bytes)
        });
        self.steps += 1;
        self.shipper.on_event(Event::Spilled { slot, frame }, self.now());
    }

    pub(super) fn load(&mut self, frame: FrameRef, slot: SlotId) {
        let delay = self.rng.below((self.disk.slow_ms + 1) * MS);
        // Not so often in a row that the entries would be given up.
        let fails = self.chance(self.disk.fails) && self.disk.unread < READS_FAIL_MAX;
        self.disk.unread = if fails { self.disk.unread + 1 } else { 0 };
        self.later(delay, Happening::Loaded(slot, (!fails).then_some(frame)));
    }

    pub(super) fn loaded(&mut self, slot: SlotId, frame: Option<FrameRef>) {
        if let Some(frame) = frame {
            let bytes = self.disk.bytes_of(frame).clone();
            let memory = self.shipper.slot_memory_mut(slot).bytes_mut();
            memory[STORED_AT..STORED_AT + bytes.len()].copy_from_slice(&bytes);
        }
        self.steps += 1;
        self.shipper.on_event(Event::Loaded { slot, read: frame.is_some() }, self.now());
    }

    pub(super) fn restate_frame(&mut self, frame: FrameRef, stored: &[u8]) {
        self.disk.bytes_of(frame)[..STORED_BYTES].copy_from_slice(stored);
    }

    pub(super) fn frame_done(&mut self, slot: SlotId, frame: FrameRef) {
        let done = &mut self.disk.bytes_of(frame)[DONE_AT];
        assert_eq!(*done, 0, "a frame is done once");
        *done = 1;
        self.steps += 1;
        self.shipper.on_event(Event::FrameDone { slot }, self.now());
    }

    /// The gateway is gone, killed or at its end. What it left in its slots goes to the spool as a start does it, and a new one
    /// takes over. `ring_lost`: the slots' memory is gone too. The lanes must be asked for anew.
    pub fn restart_gateway(&mut self, mut slots: Vec<Vec<u8>>, options: ShipperOptions, ring_lost: bool) {
        self.finish_writes();
        let next_conn = self.break_all();
        let mut memories = self.shipper.take_memories();
        for earlier in 0..memories.len() {
            for later in 0..memories.len() {
                if earlier != later {
                    let [one, other] = memories.get_disjoint_mut([earlier, later]).expect("two");
                    slot::drop_carried(one, other);
                }
            }
        }
        for memory in memories.iter_mut().filter(|_| !ring_lost) {
            let Some(stored) = slot::recover(memory).expect("a killed process leaves no damage") else { continue };
            let same = |(frame, old): &(FrameRef, Stored)| {
                frame.lane == stored.lane && frame.origin == stored.origin && old.number == stored.number
            };
            let known = self.disk.left().find(same);
            let mut bytes = memory[STORED_AT..stored.sealed.end].to_vec();
            stored.write(&mut bytes);
            match known {
                Some((frame, _)) => self.restate_frame(frame, &bytes[..STORED_BYTES]),
                None => drop(self.disk.append(&bytes)),
            }
        }
        for (slot, memory) in slots.iter_mut().zip(memories) {
            slot.copy_from_slice(&memory);
            slot::free(slot);
        }
        self.shipper = Shipper::new(slots, options);
        self.shipper.number_connections_from(next_conn);
        self.adopt_all();
    }

    /// What was being written when the process was killed is on disk, or is not.
    fn finish_writes(&mut self) {
        for bytes in self.spills_under_way() {
            if self.chance(2) {
                self.disk.append(&bytes);
            }
        }
        (self.dies_in, self.disk.unread) = (None, 0);
    }

    fn adopt_all(&mut self) {
        type Group = ((Origin, u64), Vec<(FrameRef, Stored)>);
        let mut groups: Vec<Group> = Vec::new();
        for (frame, stored) in self.disk.left() {
            let whose = (frame.origin, frame.lane);
            match groups.iter_mut().find(|(known, _)| *known == whose) {
                Some((_, frames)) => frames.push((frame, stored)),
                None => groups.push((whose, vec![(frame, stored)])),
            }
        }
        groups.sort_by_key(|(whose, _)| *whose);
        for ((origin, lane), mut frames) in groups {
            frames.sort_by_key(|(_, stored)| stored.number);
            let (spec, sink) = (self.disk.lanes[&lane].clone(), self.sinks[&lane].clone());
            let sink = self.shipper.sink(&sink);
            self.shipper.adopt(&LaneSpec { sink, ..spec }, origin, frames);
        }
        self.after();
    }
}
