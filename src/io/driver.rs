//! Which kernel interface a core runs on, and running it. io_uring with `COOP_TASKRUN` if the kernel gives it; otherwise epoll
//! with the reason: without that flag io_uring costs more than epoll (PERFORMANCE §2.1).

use std::cell::Cell;
use std::future::Future;
use std::io;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

/// Submission entries of a core's ring.
const RING_ENTRIES: u32 = 1024;
/// Completion entries: the kernel's maximum, because monoio swallows an overflow (PERFORMANCE §3).
const COMPLETION_ENTRIES: u32 = 65_536;
/// Submission entries of a ring that is only tried.
const PROBE_ENTRIES: u32 = 8;

thread_local! {
    static NONBLOCKING: Cell<bool> = const { Cell::new(false) };
}

/// What a core runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring with cooperative task running (kernel 5.19 and later).
    Uring,
    /// io_uring without that flag, on an older kernel; only if the configuration insists on io_uring.
    PlainUring,
    /// epoll.
    Epoll,
}

impl std::fmt::Display for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Uring => "io_uring",
            Self::PlainUring => "io_uring without COOP_TASKRUN",
            Self::Epoll => "epoll",
        })
    }
}

/// Tries a ring with the flag, then one without: [`Driver::Uring`] or [`Driver::PlainUring`].
///
/// # Errors
/// One sentence for people: why there is no io_uring here.
pub fn probe() -> Result<Driver, String> {
    let coop = coop_builder().build(PROBE_ENTRIES).map(|_| Driver::Uring);
    // EINVAL is how a kernel says that it does not know a flag.
    let flag_unknown = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
    let plain = || plain_builder().build(PROBE_ENTRIES).map(|_| Driver::PlainUring);
    coop.or_else(|error| if flag_unknown(&error) { plain() } else { Err(error) }).map_err(|error| obstacle(&error))
}

fn obstacle(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "io_uring is forbidden here (seccomp, or kernel.io_uring_disabled is not 0)".to_owned(),
        Some(libc::ENOSYS) => "this kernel has no io_uring (5.19 or later is needed)".to_owned(),
        Some(libc::ENOMEM) => "io_uring got no memory: raise the memlock limit (ulimit -l)".to_owned(),
        _ => format!("io_uring cannot be used: {error}"),
    }
}

fn plain_builder() -> io_uring::Builder {
    io_uring::IoUring::builder()
}

fn coop_builder() -> io_uring::Builder {
    let mut builder = plain_builder();
    builder.setup_coop_taskrun();
    builder
}

/// True if sockets must be non-blocking for this thread's driver (epoll), false if they must block (io_uring).
pub fn wants_nonblocking() -> bool {
    NONBLOCKING.get()
}

/// Runs `main` on this thread until it ends.
///
/// # Errors
/// When the driver cannot be built.
pub fn run<F: Future>(driver: Driver, main: F) -> io::Result<F::Output> {
    NONBLOCKING.set(driver == Driver::Epoll);
    if driver == Driver::Epoll {
        return Ok(RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?.block_on(main));
    }
    let mut builder = if driver == Driver::Uring { coop_builder() } else { plain_builder() };
    builder.setup_cqsize(COMPLETION_ENTRIES);
    let runtime = RuntimeBuilder::<IoUringDriver>::new().uring_builder(builder).with_entries(RING_ENTRIES);
    Ok(runtime.enable_timer().build()?.block_on(main))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_probe_finds_runs_and_so_does_the_ring_without_the_flag() {
        let mut drivers = vec![Driver::Epoll];
        // A kernel that gives the flag gives a ring without it.
        drivers.extend(probe().into_iter().flat_map(|found| [found, Driver::PlainUring]));
        for driver in drivers {
            assert_eq!(run(driver, async { 7 }).unwrap(), 7, "{driver}");
        }
    }

    #[test]
    fn what_stands_in_the_way_is_said_with_what_to_do() {
        for (code, words) in [(libc::EPERM, "seccomp"), (libc::ENOSYS, "5.19"), (libc::ENOMEM, "ulimit -l")] {
            assert!(obstacle(&io::Error::from_raw_os_error(code)).contains(words));
        }
    }
}
