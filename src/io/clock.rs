//! The clocks: monotonic time for deadlines, wall time for records, the zone's offset. Nothing else reads them.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::time::Now;
use crate::base::{Mono, Wall};

/// Seconds for which a zone offset is trusted: summer time changes on a full minute.
const OFFSET_FRESH_S: u64 = 60;

/// A core's clock.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    offset_min: Cell<i32>,
    offset_read_at_s: Cell<u64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { start: Instant::now(), offset_min: Cell::new(0), offset_read_at_s: Cell::new(0) }
    }
}

impl Clock {
    /// Monotonic time since the clock was made.
    pub fn mono(&self) -> Mono {
        Mono::from_ns(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let minute = unix_us / 1_000_000 / OFFSET_FRESH_S;
        if minute != self.offset_read_at_s.get() {
            self.offset_read_at_s.set(minute);
            self.offset_min.set(local_offset_min(unix_us / 1_000_000));
        }
        Now { mono: self.mono(), wall: Wall { unix_us, utc_offset_min: self.offset_min.get() } }
    }
}

/// Minutes that local time is ahead of UTC at `unix_s`, by the C library's idea of the zone; 0 if it has none.
fn local_offset_min(unix_s: u64) -> i32 {
    let Ok(time) = libc::time_t::try_from(unix_s) else { return 0 };
    // SAFETY: an all-zero `tm` is a valid value of that plain C struct (integers and a nullable pointer).
    let mut broken_down: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals; localtime_r writes only into the second.
    let answer = unsafe { libc::localtime_r(&raw const time, &raw mut broken_down) };
    if answer.is_null() { 0 } else { i32::try_from(broken_down.tm_gmtoff / 60).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_move_forward_and_the_offset_is_a_zone() {
        let clock = Clock::default();
        let (first, second) = (clock.now(), clock.now());
        assert!(second.mono >= first.mono && second.wall.unix_us >= first.wall.unix_us);
        assert!(first.wall.unix_s() > 1_700_000_000);
        assert!(first.wall.utc_offset_min.abs() <= 14 * 60);
    }
}
