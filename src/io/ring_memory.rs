//! The memory of the ring's slots: stable addresses, taken once per core, touched only when used, so that the kernel can send
//! a batch from where it was written. Either anonymous, or the mapping of a file that outlives the process.
//!
//! ```text
//! ring file: page with the header │ slot │ slot │ …        sparse: a slot's room is taken at its first use
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::NonNull;
use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut};

use crate::kafka::{Origin, SlotMemory};

/// Bytes in front of the slots of a ring file.
pub const RING_HEADER_BYTES: usize = 4096;
/// What a ring file is called.
pub const RING_EXTENSION: &str = "ring";

const MAGIC: [u8; 8] = *b"TGRING1\0";
const VERSION: u32 = 1;
/// Bytes of the header that say something, the CRC-32C of those before it last.
const SAID_BYTES: usize = 44;
const CRC_AT: usize = SAID_BYTES - 4;
/// Bytes written at once where the file system cannot take room without writing.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What stands at the front of a ring file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingHeader {
    /// Whose it is.
    pub origin: Origin,
    /// Slots.
    pub count: usize,
    /// Bytes of each.
    pub slot_bytes: usize,
}

/// Why a file is no ring file that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotARing {
    /// Written by another version: the number.
    Version(u32),
    /// Anything else, or damaged.
    Header,
}

impl RingHeader {
    /// The name of its file.
    pub fn file_name(&self) -> String {
        format!("{}.{RING_EXTENSION}", self.origin)
    }

    /// Bytes of the whole file.
    pub const fn file_bytes(&self) -> u64 {
        (RING_HEADER_BYTES + self.count * self.slot_bytes) as u64
    }

    /// Where a slot lies in the file.
    pub const fn slot_at(&self, index: usize) -> u64 {
        (RING_HEADER_BYTES + index * self.slot_bytes) as u64
    }

    fn write(&self) -> [u8; SAID_BYTES] {
        let mut bytes = [0; SAID_BYTES];
        let mut put = |at: usize, piece: &[u8]| bytes[at..at + piece.len()].copy_from_slice(piece);
        put(0, &MAGIC);
        put(8, &VERSION.to_be_bytes());
        put(12, &self.origin.core.to_be_bytes());
        put(16, &self.origin.start.to_be_bytes());
        put(24, &(self.count as u64).to_be_bytes());
        put(32, &(self.slot_bytes as u64).to_be_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads what stands at the front of a file.
    ///
    /// # Errors
    /// Why it is no header.
    pub fn read(bytes: &[u8]) -> Result<Self, NotARing> {
        let bytes = bytes.first_chunk::<SAID_BYTES>().ok_or(NotARing::Header)?;
        let u32_at = |at: usize| bytes[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let u64_at = |at: usize| bytes[at..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        if bytes[..8] != MAGIC {
            return Err(NotARing::Header);
        }
        if u32_at(8) != VERSION {
            return Err(NotARing::Version(u32_at(8)));
        }
        if u32_at(CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT]) {
            return Err(NotARing::Header);
        }
        Ok(Self {
            origin: Origin { start: u64_at(16), core: u32_at(12) },
            count: usize::try_from(u64_at(24)).map_err(|_| NotARing::Header)?,
            slot_bytes: usize::try_from(u64_at(32)).map_err(|_| NotARing::Header)?,
        })
    }
}

#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    /// What it is a mapping of; None: of nothing.
    file: Option<File>,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `Mapping::new` with exactly this start and length, and nothing outlives its `Rc`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

impl Mapping {
    fn new(bytes: usize, file: Option<File>) -> io::Result<Rc<Self>> {
        let (kind, fd) = match &file {
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
            Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice aliases nothing of this process: the file was made by it and is
        // mapped once. The arguments are constants of mmap(2) and an open descriptor.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind | libc::MAP_NORESERVE, fd, 0) };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Rc::new(Self { start, bytes, file })),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn slots(self: &Rc<Self>, from: usize, count: usize, slot_bytes: usize) -> Vec<MappedSlot> {
        let slot = |index| MappedSlot {
            mapping: Rc::clone(self),
            offset: from + index * slot_bytes,
            bytes: slot_bytes,
            committed: self.file.is_none(),
        };
        (0..count).map(slot).collect()
    }
}

/// One slot's memory.
#[derive(Debug)]
pub struct MappedSlot {
    mapping: Rc<Mapping>,
    offset: usize,
    bytes: usize,
    committed: bool,
}

/// Maps `count` slots of `slot_bytes` each; pages become resident when they are first written.
///
/// # Errors
/// When the kernel has no address space left.
pub fn map(count: usize, slot_bytes: usize) -> io::Result<Vec<MappedSlot>> {
    Ok(Mapping::new(count * slot_bytes, None)?.slots(0, count, slot_bytes))
}

/// Makes the ring file of `origin` in `directory` (mode 0600) and maps its slots. Each must be [`SlotMemory::commit`]ted before it
/// is touched.
///
/// # Errors
/// When the file cannot be made; says what to do.
pub fn map_file(directory: &Path, header: RingHeader) -> io::Result<Vec<MappedSlot>> {
    let path = directory.join(header.file_name());
    let explained = |error: io::Error| {
        let help = "tollgate.ring.path must be a directory that the gateway's user may write to, or `none`: then what is in \
                    memory does not outlive the process";
        io::Error::new(error.kind(), format!("the ring file {}: {error} ({help})", path.display()))
    };
    // A file that is there belongs to another process, or to a start at the same nanosecond.
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(explained)?;
    let said = file.set_len(header.file_bytes()).and_then(|()| file.write_all_at(&header.write(), 0));
    let mapping = said.and_then(|()| Mapping::new(header.file_bytes() as usize, Some(file)));
    let mapping = mapping.map_err(|error| {
        let _ = std::fs::remove_file(&path);
        explained(error)
    })?;
    Ok(mapping.slots(RING_HEADER_BYTES, header.count, header.slot_bytes))
}

/// Takes room for a part of a file; it reads as zeros unless it was written before.
fn take_room(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    loop {
        // SAFETY: a call without pointers on an open descriptor.
        let answer = unsafe { libc::fallocate(file.as_raw_fd(), 0, offset as libc::off_t, bytes as libc::off_t) };
        if answer == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // tmpfs lets itself be interrupted.
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => return fill(file, offset, bytes),
            _ => return Err(error),
        }
    }
}

/// [`take_room`] where fallocate(2) is not known. Nothing was written there yet.
fn fill(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let mut at = 0;
    while at < bytes {
        let piece = &ZEROS[..ZEROS.len().min((bytes - at) as usize)];
        file.write_all_at(piece, offset + at)?;
        at += piece.len() as u64;
    }
    Ok(())
}

impl MappedSlot {
    fn start(&self) -> *mut u8 {
        // SAFETY: `offset` lies within the mapping by construction in `Mapping::slots`.
        unsafe { self.mapping.start.as_ptr().add(self.offset) }
    }

    /// A part of the slot for the kernel to send. The ring pins the slot until the send has ended and writes nothing into it
    /// meanwhile (the shipper's contract: one `Sent` per `SendBatch`).
    pub fn pinned(&self, range: std::ops::Range<usize>) -> PinnedBytes {
        assert!(range.start <= range.end && range.end <= self.bytes, "a batch lies inside its slot");
        PinnedBytes { mapping: Rc::clone(&self.mapping), start: self.offset + range.start, bytes: range.len() }
    }

    /// A part of the slot for the kernel to read a file into. The ring pins the slot until the read has ended and neither reads
    /// nor writes it meanwhile.
    pub fn pinned_mut(&self, range: std::ops::Range<usize>) -> PinnedBytesMut {
        PinnedBytesMut(self.pinned(range))
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

    /// Without it, a write to a sparse file on a full disk or tmpfs would end the process (SIGBUS).
    fn commit(&mut self) -> bool {
        if !self.committed {
            let file = self.mapping.file.as_ref();
            self.committed = file.is_none_or(|file| take_room(file, self.offset as u64, self.bytes as u64).is_ok());
        }
        self.committed
    }
}

/// Bytes of a slot that the kernel may read until the send ends; keeps the mapping alive.
#[derive(Debug)]
pub struct PinnedBytes {
    mapping: Rc<Mapping>,
    start: usize,
    bytes: usize,
}

impl PinnedBytes {
    fn pointer(&self) -> *mut u8 {
        // SAFETY: `start` lies within the mapping (checked in `pinned`).
        unsafe { self.mapping.start.as_ptr().add(self.start) }
    }

    /// The bytes, to look at while the slot is pinned.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: within the mapping, which `self` keeps; nobody writes a pinned slot.
        unsafe { std::slice::from_raw_parts(self.pointer(), self.bytes) }
    }
}

// SAFETY: the pointer stays valid and unmoved while `mapping` is held, and `bytes` were written before the batch was sealed.
unsafe impl IoBuf for PinnedBytes {
    fn read_ptr(&self) -> *const u8 {
        self.pointer()
    }

    fn bytes_init(&self) -> usize {
        self.bytes
    }
}

/// Bytes of a slot that the kernel may write until the read ends; keeps the mapping alive.
#[derive(Debug)]
pub struct PinnedBytesMut(PinnedBytes);

impl PinnedBytesMut {
    /// The bytes, to look at once the read has ended and before the slot is handed back.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

// SAFETY: as for `PinnedBytes`; all of the range is initialised memory of the mapping (zeros at first), and `pinned_mut`'s caller
// sees to it that nobody else looks at it until the read has ended.
unsafe impl IoBufMut for PinnedBytesMut {
    fn write_ptr(&mut self) -> *mut u8 {
        self.0.pointer()
    }

    fn bytes_total(&mut self) -> usize {
        self.0.bytes
    }

    unsafe fn set_init(&mut self, _pos: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: RingHeader = RingHeader { origin: Origin { start: 77, core: 1 }, count: 2, slot_bytes: 8192 };

    fn scratch(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("tollgate-ring-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn slots_do_not_overlap_and_a_pinned_part_outlives_its_slot() {
        let mut slots = map(2, 4096).unwrap();
        slots[0].bytes_mut().fill(1);
        slots[1].bytes_mut().fill(2);
        assert!(slots[0].bytes().iter().all(|byte| *byte == 1));
        let pinned = slots[1].pinned(10..20);
        drop(slots);
        assert_eq!(pinned.bytes(), [2; 10]);
    }

    #[test]
    fn what_is_written_into_a_slot_of_a_file_stands_in_the_file() {
        let directory = scratch("stands");
        let mut slots = map_file(&directory, HEADER).unwrap();
        let path = directory.join(HEADER.file_name());
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), HEADER.file_bytes());
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
        assert!(slots[1].commit() && slots[1].commit());
        slots[1].bytes_mut()[5..9].copy_from_slice(b"seen");
        // SAFETY: nobody else looks at the slot while the kernel's part is played here.
        unsafe { std::ptr::copy(b"read".as_ptr(), slots[1].pinned_mut(100..104).write_ptr(), 4) };
        // The file is read as another process would, while the mapping stands: it needs no end in good order.
        let bytes = std::fs::read(&path).unwrap();
        let at = HEADER.slot_at(1) as usize;
        assert_eq!((&bytes[at + 5..at + 9], &bytes[at + 100..at + 104]), (&b"seen"[..], &b"read"[..]));
        assert_eq!(RingHeader::read(&bytes), Ok(HEADER));
        let again = map_file(&directory, HEADER).map(|_| ()).unwrap_err().to_string();
        assert!(again.contains("tollgate.ring.path"), "{again}");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_slot_without_room_is_not_there_and_room_that_was_taken_keeps_what_it_holds() {
        let directory = scratch("room");
        let file = File::create(directory.join("full")).unwrap();
        let (tiny, huge) = (4096, 1 << 60);
        assert!(take_room(&file, 0, huge).is_err());
        take_room(&file, 0, tiny).unwrap();
        assert_eq!(file.metadata().unwrap().len(), tiny);
        file.write_all_at(b"kept", 10).unwrap();
        take_room(&file, 0, 2 * tiny).unwrap();
        assert_eq!(&std::fs::read(directory.join("full")).unwrap()[10..14], b"kept");
        fill(&file, 2 * tiny, 100_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 2 * tiny + 100_000);
        std::fs::remove_dir_all(directory).unwrap();
        // A file that takes no room at all: the slot says so instead of ending the process.
        let mut nowhere = Mapping::new(8192, None).unwrap();
        Rc::get_mut(&mut nowhere).unwrap().file = Some(File::open("/dev/null").unwrap());
        let mut slots = nowhere.slots(0, 1, 8192);
        assert!(!slots[0].commit() && !slots[0].commit());
    }

    #[test]
    fn a_directory_that_is_not_there_is_said_with_what_to_do() {
        let error = map_file(Path::new("/nonexistent-for-tollgate"), HEADER).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("/nonexistent-for-tollgate/") && error.contains("`none`"), "{error}");
    }

    #[test]
    fn a_header_of_another_version_is_told_from_a_damaged_one() {
        let bytes = HEADER.write();
        for at in 0..SAID_BYTES {
            let mut changed = bytes;
            changed[at] ^= 1;
            let expected = if (8..12).contains(&at) { None } else { Some(NotARing::Header) };
            let found = RingHeader::read(&changed).unwrap_err();
            assert!(expected.is_none_or(|expected| expected == found) && found != NotARing::Version(VERSION), "{at}");
        }
        assert_eq!(RingHeader::read(&[bytes.as_slice(), &[9; 9]].concat()), Ok(HEADER));
        assert_eq!(RingHeader::read(&bytes[..SAID_BYTES - 1]), Err(NotARing::Header));
    }
}
