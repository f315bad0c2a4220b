//! Ctrl-C and SIGTERM: noted, and looked at wherever the tool waits, so that everything it started is ended the usual way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Outcome;

/// How long a signal may go unnoticed.
const SLICE: Duration = Duration::from_millis(50);

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    ASKED.store(true, Ordering::Relaxed);
}

/// Notes SIGINT and SIGTERM from now on instead of dying of them.
pub fn install() {
    let handler = note as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler is a static function that stores into an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether somebody wants the tool to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// An error if somebody wants the tool to end.
pub fn check() -> Outcome {
    if asked() { Err("Ended by a signal; everything that was started is being ended.".to_owned()) } else { Ok(()) }
}

/// Waits until `time`, or until somebody wants the tool to end.
pub fn until(time: Instant) -> Outcome {
    loop {
        check()?;
        let left = time.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(SLICE));
    }
}

/// Waits.
pub fn pause(time: Duration) -> Outcome {
    until(Instant::now() + time)
}

/// Asks `done` until it holds. False if it does not within `limit`.
pub fn poll(limit: Duration, every: Duration, mut done: impl FnMut() -> Outcome<bool>) -> Outcome<bool> {
    let end = Instant::now() + limit;
    loop {
        if done()? {
            return Ok(true);
        }
        if Instant::now() > end {
            return Ok(false);
        }
        pause(every)?;
    }
}
