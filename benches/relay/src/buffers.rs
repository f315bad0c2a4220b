//! The buffers that the kernel receives into: one ring of provided buffers (io_uring_register_buf_ring(3)), one mapping behind it.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The only group of buffers.
pub const GROUP: u16 = 0;
/// Most entries that the kernel takes.
const MOST: u32 = 32_768;

/// Memory of whole pages that lives as long as its owner.
struct Pages {
    start: *mut u8,
    bytes: usize,
}

impl Pages {
    fn new(bytes: usize) -> io::Result<Self> {
        let (read_write, anonymous) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: an anonymous mapping of no given place touches nothing that is there already.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, read_write, anonymous, -1, 0) };
        if start == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self { start: start.cast(), bytes })
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped in `new`; the owner outlives the ring that uses it (see `Relay`'s order of fields).
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}

/// A piece of a buffer that holds received bytes.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Which buffer.
    pub id: u16,
    /// How many bytes of it, from its start.
    pub len: u32,
}

/// All buffers. A buffer belongs to the kernel until a receive names it, then to us until `give_back`.
pub struct Buffers {
    entries: Pages,
    memory: Pages,
    count: u16,
    bytes_each: u32,
    tail: u16,
}

impl Buffers {
    /// `count` buffers (a power of two) of `bytes_each`, all of them the kernel's.
    pub fn new(submitter: &Submitter<'_>, count: u32, bytes_each: u32) -> io::Result<Self> {
        if !count.is_power_of_two() || count > MOST {
            return Err(io::Error::other(format!("{count} buffers: a power of two up to {MOST} is needed")));
        }
        let entries = Pages::new(count as usize * size_of::<BufRingEntry>())?;
        let memory = Pages::new(count as usize * bytes_each as usize)?;
        // SAFETY: the address is that of a mapping of this very size, kept in `Buffers`, which outlives the ring (see `Relay`).
        unsafe { submitter.register_buf_ring(entries.start as u64, count as u16, GROUP)? };
        let mut buffers = Self { entries, memory, count: count as u16, bytes_each, tail: 0 };
        for id in 0..count as u16 {
            buffers.give_back(id);
        }
        Ok(buffers)
    }

    fn place(&self, id: u16) -> *mut u8 {
        assert!(id < self.count, "the kernel names buffers that it was given");
        // SAFETY: id < count, so this stays inside the mapping of count * bytes_each bytes.
        unsafe { self.memory.start.add(usize::from(id) * self.bytes_each as usize) }
    }

    /// Where a piece lies, for the kernel to send from. Valid until it is given back.
    pub fn start(&self, piece: Piece) -> *const u8 {
        self.place(piece.id)
    }

    /// The bytes of a piece.
    pub fn bytes_mut(&mut self, piece: Piece) -> &mut [u8] {
        let len = piece.len.min(self.bytes_each) as usize;
        // SAFETY: inside one buffer, initialised (mmap zeroes), and ours: a receive has named it and it was not given back.
        unsafe { std::slice::from_raw_parts_mut(self.place(piece.id), len) }
    }

    /// Hands a buffer to the kernel.
    pub fn give_back(&mut self, id: u16) {
        let index = usize::from(self.tail & (self.count - 1));
        let address = self.place(id) as u64;
        let first: *mut BufRingEntry = self.entries.start.cast();
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: index < count, inside the mapping of count entries, which is page-aligned. The kernel reads an entry only after
        // the tail has passed it, and the tail, which lies in the first entry's unused field, is stored after it with release order.
        unsafe {
            let entry = &mut *first.add(index);
            entry.set_addr(address);
            entry.set_len(self.bytes_each);
            entry.set_bid(id);
            let tail = BufRingEntry::tail(first).cast_mut().cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}
