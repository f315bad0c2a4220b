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

thread_local! {
    static NONBLOCKING: Cell<bool> = const { Cell::new(false) };
}

/// What a core runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring with cooperative task running (kernel 5.19 and later).
    Uring,
    /// io_uring without flags; only if the configuration forces it.
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

/// Tries a ring with the flag, then one without, and says what stands in the way.
///
/// # Errors
/// One sentence for people: why there is no io_uring here.
pub fn probe() -> Result<Driver, String> {
    match coop_builder().build(8) {
        Ok(_) => Ok(Driver::Uring),
        Err(error) => Err(match error.raw_os_error() {
            Some(libc::EPERM) => {
                "io_uring is forbidden here (seccomp, or kernel.io_uring_disabled is not 0)".to_owned()
            }
            Some(libc::ENOSYS) => "this kernel has no io_uring (5.19 or later is needed)".to_owned(),
            Some(libc::EINVAL) => "this kernel's io_uring lacks COOP_TASKRUN (5.19 or later is needed)".to_owned(),
            Some(libc::ENOMEM) => "io_uring got no memory: raise the memlock limit (ulimit -l)".to_owned(),
            _ => format!("io_uring cannot be used: {error}"),
        }),
    }
}

fn coop_builder() -> io_uring::Builder {
    let mut builder = io_uring::IoUring::builder();
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
    let mut builder = if driver == Driver::Uring { coop_builder() } else { io_uring::IoUring::builder() };
    builder.setup_cqsize(COMPLETION_ENTRIES);
    let runtime = RuntimeBuilder::<IoUringDriver>::new().uring_builder(builder).with_entries(RING_ENTRIES);
    Ok(runtime.enable_timer().build()?.block_on(main))
}
