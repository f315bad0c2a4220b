//! Panics that tests plant, to see that one ends its connection and nothing else. Not in a release build: there this file is one empty
//! function, whatever the environment says.

/// A place where a panic can be planted: an exchange has something lent to it there that others need again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A request was read.
    Request,
    /// An upstream's head was read: its connection is in use, and a part of the core's budget for bodies.
    Response,
    /// The record is being written into the ring.
    Record,
}

/// Panics if `said` (the path of the request, the reason phrase of the response) is `/panic-in-request` (`-response`, `-record`) and the
/// process was started with `TOLLGATE_TEST_PANICS` in its environment.
#[cfg(debug_assertions)]
pub fn panic_here(place: Place, said: &[u8]) {
    static PLANTED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let here: &[u8] = match place {
        Place::Request => b"/panic-in-request",
        Place::Response => b"/panic-in-response",
        Place::Record => b"/panic-in-record",
    };
    let is_planted = || *PLANTED.get_or_init(|| std::env::var_os("TOLLGATE_TEST_PANICS").is_some());
    assert!(!(said == here && is_planted()), "planted in {place:?}");
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub const fn panic_here(_: Place, _: &[u8]) {}
