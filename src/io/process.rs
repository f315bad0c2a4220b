//! What the process asks of the system: descriptors, its name, the host's name, a core to stay on.

use std::io;

/// Soft and hard limit of open files.
///
/// # Errors
/// What getrlimit(2) said.
pub fn open_files() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live local of the right type.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 {
        Ok((limit.rlim_cur, limit.rlim_max))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Memory from here on comes in pages of 4 KiB, not in huge ones where the allocator asks for those: 10,000 idle connections then take 42 MB
/// in place of 62, at the same CPU (docs/performance.md). False where the kernel knows no such wish; then nothing changes.
pub fn prefer_small_pages() -> bool {
    // SAFETY: PR_SET_THP_DISABLE with these arguments changes a flag of this process and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0 }
}

/// Raises the soft limit of open files to the hard one and gives it.
///
/// # Errors
/// What the kernel said.
pub fn raise_open_files() -> io::Result<u64> {
    let (_, hard) = open_files()?;
    let limit = libc::rlimit { rlim_cur: hard, rlim_max: hard };
    // SAFETY: the pointer is to a live local of the right type.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
        Ok(hard)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Keeps the calling thread on one of the cores that the process may use; errors are ignored (a hint, not a need).
pub fn stay_on_core(index: usize) {
    // SAFETY: cpu_set_t is plain bits, all-zero is the empty set; both calls get its true size and a live pointer.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed) != 0 {
            return;
        }
        let cores: Vec<usize> =
            (0..libc::CPU_SETSIZE as usize).filter(|core| libc::CPU_ISSET(*core, &allowed)).collect();
        if let Some(core) = cores.get(index % cores.len().max(1)) {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(*core, &mut one);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one);
        }
    }
}

/// How many cores the process may use.
pub fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The host's name as the kernel knows it.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// Random bytes that nobody can guess, for SCRAM's nonces.
pub fn random_key() -> [u8; 32] {
    let mut bytes = [0; 32];
    // Without randomness the nonces still differ, by the seed and by the connection; SCRAM needs no more to be correct.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// A number that differs from start to start, for jitter and the choice of partitions.
pub fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        return u64::from(std::process::id());
    }
    u64::from_ne_bytes(bytes)
}
