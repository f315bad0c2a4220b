//! What the tests talk to the gateway with: a client that sends exact bytes, upstreams that answer exact bytes, the gateway
//! itself as a process. One peer per file. No fixed sleeps: everything is waited for with a deadline.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(unused_imports, reason = "each test binary uses its own part")]

use std::time::{Duration, Instant};

pub mod admin;
pub mod client;
pub mod gateway;
pub mod kafka;
pub mod message;
pub mod scratch;
pub mod upstream;

pub use admin::Admin;
pub use client::Client;
pub use gateway::{Gateway, Setup};
pub use kafka::Kafka;
pub use message::{Request, Response};
pub use upstream::{Step, Upstream};

/// How long anything may take before a test calls it stuck. The machine may be busy with a build.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(10);

/// Waits until `probe` gives something; panics with `what` when patience ends.
pub fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_until(PATIENCE, probe).unwrap_or_else(|| panic!("{what}: not within {} s", PATIENCE.as_secs()))
}

/// Waits until `probe` gives something, or nothing when the time is up.
pub fn wait_until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// `count` bytes that differ from place to place, so that a lost, doubled or moved piece shows.
pub fn pattern(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(step).collect()
}
