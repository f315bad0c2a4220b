//! Files of a core: written and read at offsets from and into pinned memory, and made durable. Decides nothing about what is in
//! them.
//!
//! On io_uring a core goes on serving meanwhile. On epoll, the driver for kernels without it, there is no such thing for files:
//! monoio does the system call at once (0.2.4: `Op` without a registered descriptor), which is a copy to or from the page cache for
//! reads and writes, and for [`DataFile::sync`] as long as the disk takes.
//!
//! Opening, making and deleting block in both: they are rare (once per segment), and local.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use monoio::buf::{IoBuf, IoBufMut};

/// Others may write to a directory.
const WRITABLE_BY_OTHERS: u32 = 0o002;

/// An open file.
#[derive(Debug)]
pub struct DataFile(monoio::fs::File);

impl DataFile {
    /// Makes a file that must not be there (mode 0600) and begins it with `front`. Blocks: see the module's head.
    ///
    /// # Errors
    /// What the system said.
    pub fn create(path: &Path, front: &[u8]) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(front)?;
        Ok(Self(monoio::fs::File::from_std(file)?))
    }

    /// Opens a file to read and write. Blocks: see the module's head.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self(monoio::fs::File::from_std(file)?))
    }

    /// Opens a directory, to be [`DataFile::sync`]ed: then the files in it are there after a loss of power.
    ///
    /// # Errors
    /// What the system said.
    pub fn open_directory(path: &Path) -> io::Result<Self> {
        Ok(Self(monoio::fs::File::from_std(File::open(path)?)?))
    }

    /// Writes all of `bytes` at `offset`, however many calls that takes.
    pub async fn write_at<B: IoBuf>(&self, bytes: B, offset: u64) -> (io::Result<()>, B) {
        self.0.write_all_at(bytes, offset).await
    }

    /// Fills `into` from `offset`; a file that ends before is an error.
    pub async fn read_at<B: IoBufMut>(&self, into: B, offset: u64) -> (io::Result<()>, B) {
        self.0.read_exact_at(into, offset).await
    }

    /// Waits until what was written is on the disk (fdatasync).
    ///
    /// # Errors
    /// What the system said. What was written before may be lost, also if a later call succeeds.
    pub async fn sync(&self) -> io::Result<()> {
        self.0.sync_data().await
    }
}

/// Makes a directory and those above it, mode 0700, unless it is there. Where anybody may make a directory of that name first (as
/// in /dev/shm), it must be a real one and our own: records will lie in it.
///
/// # Errors
/// What the system said, or whose it is.
pub fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let found = std::fs::symlink_metadata(path)?;
    // The parent of `a` is ``, of which the system knows nothing.
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let above = std::fs::metadata(above)?;
    let anybodys = above.permissions().mode() & WRITABLE_BY_OTHERS != 0;
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    let own = unsafe { libc::geteuid() };
    if anybodys && (found.is_symlink() || found.uid() != own || found.permissions().mode() & 0o077 != 0) {
        let text = format!("{} is not the gateway's own (it must belong to user {own}, mode 0700)", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

/// Puts a small file in place as a whole (mode 0600): whoever reads it sees all of it or none, also after a crash. Blocks.
/// `scratch` is a name beside it that nobody else uses now.
///
/// # Errors
/// What the system said.
pub fn put_in_place(path: &Path, scratch: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(scratch)?;
    file.write_all(bytes)?;
    if durable {
        file.sync_all()?;
    }
    std::fs::rename(scratch, path)?;
    match path.parent().filter(|_| durable) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Bytes that an unprivileged user may still write where `path` is.
///
/// # Errors
/// What the system said.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: an all-zero `statvfs` is a valid value of that plain C struct.
    let mut said: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals, the first ends with a zero byte.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut said) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(said.f_bavail.saturating_mul(said.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::driver::{self, Driver};
    use crate::io::ring_memory;
    use crate::kafka::SlotMemory;
    use std::path::PathBuf;

    /// A directory where files are kept, and one on a tmpfs where there is one.
    fn scratches(name: &str) -> Vec<PathBuf> {
        let name = format!("tollgate-files-{name}-{}", std::process::id());
        let places = [std::env::temp_dir(), PathBuf::from("/dev/shm")];
        let made = places.into_iter().filter(|place| place.is_dir()).map(|place| {
            let path = place.join(&name);
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir(&path).unwrap();
            path
        });
        made.collect()
    }

    fn drivers() -> Vec<Driver> {
        [driver::probe().ok(), Some(Driver::Epoll)].into_iter().flatten().collect()
    }

    #[test]
    fn a_slots_bytes_come_back_into_another_slot() {
        for directory in scratches("slots") {
            for driver in drivers() {
                let path = directory.join(driver.to_string());
                let mut slots = ring_memory::map(2, 3 << 20).unwrap();
                let pattern = |at: usize| (at % 251) as u8;
                slots[0].bytes_mut().iter_mut().enumerate().for_each(|(at, byte)| *byte = pattern(at));
                let (front, back) = (slots[0].pinned(100..2_000_100), slots[1].pinned_mut(5..2_000_005));
                let seen = driver::run(driver, async {
                    let file = DataFile::create(&path, b"front").unwrap();
                    assert!(DataFile::create(&path, b"").is_err(), "it is there");
                    file.write_at(front, 512).await.0.unwrap();
                    file.sync().await.unwrap();
                    DataFile::open_directory(&directory).unwrap().sync().await.unwrap();
                    drop(file);
                    let file = DataFile::open(&path).unwrap();
                    let (read, back) = file.read_at(back, 512).await;
                    read.unwrap();
                    let (short, _) = file.read_at(vec![0; 1_000], 2_000_000).await;
                    assert_eq!(short.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
                    back.bytes().iter().enumerate().all(|(at, byte)| *byte == pattern(at + 100))
                })
                .unwrap();
                assert!(seen && slots[1].bytes()[5] == pattern(100) && slots[1].bytes()[2_000_005] == 0, "{driver}");
                let bytes = std::fs::read(&path).unwrap();
                assert_eq!((&bytes[..5], bytes.len()), (&b"front"[..], 2_000_512));
                assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            }
            std::fs::remove_dir_all(directory).unwrap();
        }
    }

    #[test]
    fn a_write_that_the_system_refuses_is_an_error() {
        for driver in drivers() {
            let errors = driver::run(driver, async {
                let file = DataFile::open(Path::new("/dev/full")).unwrap();
                let full = file.write_at(&b"x"[..], 0).await.0.unwrap_err();
                (full.kind(), file.sync().await.is_err())
            });
            assert_eq!(errors.unwrap(), (io::ErrorKind::StorageFull, true), "{driver}");
        }
    }

    #[test]
    fn a_directory_that_another_could_have_made_must_be_our_own() {
        let [directory, ..] = &scratches("own")[..] else { panic!("no temporary directory") };
        let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let inner = directory.join("a/b");
        private_directory(&inner).unwrap();
        private_directory(&inner).unwrap();
        assert_eq!(std::fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        mode(&inner, 0o755);
        private_directory(&inner).unwrap();
        // As /dev/shm is.
        mode(inner.parent().unwrap(), 0o1777);
        let error = private_directory(&inner).unwrap_err().to_string();
        assert!(error.contains("0700"), "{error}");
        mode(&inner, 0o700);
        private_directory(&inner).unwrap();
        std::os::unix::fs::symlink(&inner, directory.join("a/link")).unwrap();
        assert!(private_directory(&directory.join("a/link")).is_err());
        scratches("own").into_iter().for_each(|scratch| std::fs::remove_dir_all(scratch).unwrap());
    }

    #[test]
    fn a_small_file_is_replaced_as_a_whole_and_free_room_is_seen() {
        let directories = scratches("place");
        for directory in &directories {
            let (path, scratch) = (directory.join("file"), directory.join("file.new"));
            put_in_place(&path, &scratch, b"one", true).unwrap();
            put_in_place(&path, &scratch, b"other", false).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"other");
            assert!(!scratch.exists());
            assert!(put_in_place(&directory.join("no/file"), &scratch, b"", false).is_err());
            assert!(free_bytes(directory).unwrap() > 0);
            std::fs::remove_dir_all(directory).unwrap();
            assert!(free_bytes(directory).is_err());
        }
    }
}
