//! The memory of the ring's slots: stable addresses, taken once per core, touched only when used, so that the kernel can send
//! a batch from where it was written.

use std::io;
use std::ptr::NonNull;
use std::rc::Rc;

use monoio::buf::IoBuf;

use crate::kafka::SlotMemory;

#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with exactly this start and length, and nothing outlives its `Rc`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// One slot's memory.
#[derive(Debug)]
pub struct MappedSlot {
    mapping: Rc<Mapping>,
    offset: usize,
    bytes: usize,
}

/// Maps `count` slots of `slot_bytes` each; pages become resident when they are first written.
///
/// # Errors
/// When the kernel has no address space left.
pub fn map(count: usize, slot_bytes: usize) -> io::Result<Vec<MappedSlot>> {
    let bytes = count * slot_bytes;
    // SAFETY: a fresh anonymous mapping has no aliases; the arguments are constants of mmap(2).
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    let start = match NonNull::new(start.cast::<u8>()) {
        Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => start,
        _ => return Err(io::Error::last_os_error()),
    };
    let mapping = Rc::new(Mapping { start, bytes });
    Ok((0..count)
        .map(|index| MappedSlot { mapping: Rc::clone(&mapping), offset: index * slot_bytes, bytes: slot_bytes })
        .collect())
}

impl MappedSlot {
    fn start(&self) -> *mut u8 {
        // SAFETY: `offset` lies within the mapping by construction in `map`.
        unsafe { self.mapping.start.as_ptr().add(self.offset) }
    }

    /// A part of the slot for the kernel to send. The ring pins the slot until the send has ended and writes nothing into it
    /// meanwhile (the shipper's contract: one `Sent` per `SendBatch`).
    pub fn pinned(&self, range: std::ops::Range<usize>) -> PinnedBytes {
        assert!(range.start <= range.end && range.end <= self.bytes, "a batch lies inside its slot");
        PinnedBytes { mapping: Rc::clone(&self.mapping), start: self.offset + range.start, bytes: range.len() }
    }
}

impl SlotMemory for MappedSlot {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the range belongs to this slot alone and lives as long as `mapping`; `&self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.start(), self.bytes) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` makes this the only view, and a pinned slot is not written (see `pinned`).
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.bytes) }
    }
}

/// Bytes of a slot that the kernel may read until the send ends; keeps the mapping alive.
#[derive(Debug)]
pub struct PinnedBytes {
    mapping: Rc<Mapping>,
    start: usize,
    bytes: usize,
}

// SAFETY: the pointer stays valid and unmoved while `mapping` is held, and `bytes` were written before the batch was sealed.
unsafe impl IoBuf for PinnedBytes {
    fn read_ptr(&self) -> *const u8 {
        // SAFETY: `start` lies within the mapping (checked in `pinned`).
        unsafe { self.mapping.start.as_ptr().add(self.start) }
    }

    fn bytes_init(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_do_not_overlap_and_a_pinned_part_outlives_its_slot() {
        let mut slots = map(2, 4096).unwrap();
        slots[0].bytes_mut().fill(1);
        slots[1].bytes_mut().fill(2);
        assert!(slots[0].bytes().iter().all(|byte| *byte == 1));
        let pinned = slots[1].pinned(10..20);
        drop(slots);
        // SAFETY: the test reads what the kernel would.
        let seen = unsafe { std::slice::from_raw_parts(pinned.read_ptr(), pinned.bytes_init()) };
        assert_eq!(seen, [2; 10]);
    }
}
