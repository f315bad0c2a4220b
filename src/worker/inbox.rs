//! What an upstream sent so far: its head, and what of the body came along. There is room in front of it, so that our head can take the place
//! of the upstream's and go out with the body from where that lies: a copy of 8 KiB costs as much as a tenth of a request.

use std::ops::{Deref, Range};

/// Bytes in front of what is received: our head may be so much longer than the upstream's. One that is longer still is sent with a copy of
/// the body.
const ROOM_BYTES: usize = 1024;
/// Bytes that are allocated for one answer's head and the body's beginning: head and small body in one read.
pub const INBOX_BYTES: usize = 16 * 1024;
/// The most that are allocated where the upstream's last answer was larger: 128 KiB with its head in one read, as long as they are there.
pub const INBOX_BYTES_MOST: usize = 136 * 1024;

/// See the module. Derefs to the bytes received.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Where what was received begins.
    at: usize,
    /// The upstream's head, once ours has taken its place.
    head: Vec<u8>,
    is_replaced: bool,
}

impl Deref for Inbox {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

impl Inbox {
    /// Forgets what was received and keeps the memory, if that is not more than `most`.
    pub fn clear(&mut self, most: usize) {
        if self.bytes.capacity() > most {
            self.bytes = Vec::new();
        }
        self.bytes.truncate(ROOM_BYTES);
        (self.at, self.is_replaced) = (self.bytes.len(), false);
    }

    /// The memory, to read into behind what is there, with room for an answer of `expected` bytes.
    pub fn take_to_read(&mut self, expected: usize) -> Vec<u8> {
        let wanted = (ROOM_BYTES + expected).clamp(INBOX_BYTES, INBOX_BYTES_MOST);
        if self.is_empty() && self.bytes.capacity() < wanted {
            self.bytes = Vec::with_capacity(wanted);
        }
        if self.bytes.is_empty() {
            self.bytes.resize(ROOM_BYTES, 0);
            self.at = ROOM_BYTES;
        }
        if self.bytes.capacity() - self.bytes.len() < INBOX_BYTES / 4 {
            self.bytes.reserve(INBOX_BYTES);
        }
        self.take()
    }

    /// The memory, to send what is there.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Gives it back.
    pub fn put_back(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// Drops the first `count` bytes received: an interim head. What follows takes their place, so that no number of them takes more memory.
    pub fn skip(&mut self, count: usize) {
        let end = self.bytes.len().min(self.at + count);
        self.bytes.drain(self.at..end);
    }

    /// Puts `ours` in place of the first `len` bytes received, so that it ends where they ended, and keeps those apart. Gives the place of
    /// both, `body` bytes behind included, in [`Inbox::take`]'s memory; `None` if there is not enough room.
    pub fn replace_head(&mut self, len: usize, ours: &[u8], body: usize) -> Option<Range<usize>> {
        let end = self.at + len;
        let start = end.checked_sub(ours.len())?;
        if self.is_replaced || end + body > self.bytes.len() {
            return None;
        }
        self.head.clear();
        self.head.extend_from_slice(&self.bytes[self.at..end]);
        self.bytes[start..end].copy_from_slice(ours);
        self.is_replaced = true;
        Some(start..end + body)
    }

    /// The upstream's head and, unless ours is in its place, what came behind it.
    pub fn head(&self) -> &[u8] {
        if self.is_replaced { &self.head } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &[u8]) -> Inbox {
        let mut inbox = Inbox::default();
        let mut bytes = inbox.take_to_read(0);
        bytes.extend_from_slice(text);
        inbox.put_back(bytes);
        inbox
    }

    #[test]
    fn our_head_takes_the_place_of_theirs_and_theirs_can_still_be_read() {
        for ours in [&b"X"[..], b"head", b"a head that is longer than theirs"] {
            let mut inbox = filled(b"interim;theirs;body and more");
            inbox.skip(8);
            assert_eq!((&inbox[..], inbox.head()), (&b"theirs;body and more"[..], &b"theirs;body and more"[..]));
            let range = inbox.replace_head(7, ours, 4).expect("there is room");
            assert_eq!(inbox.head(), b"theirs;");
            let bytes = inbox.take();
            assert_eq!(&bytes[range], [ours, b"body"].concat());
            inbox.put_back(bytes);
            inbox.clear(usize::MAX);
            assert!(inbox.is_empty() && inbox.head().is_empty());
        }
    }

    #[test]
    fn without_room_or_body_nothing_moves() {
        let mut inbox = filled(b"theirs;body");
        assert_eq!(inbox.replace_head(7, &[b'x'; ROOM_BYTES + 8], 4), None);
        assert_eq!(inbox.replace_head(7, b"x", 5), None);
        assert_eq!((&inbox[..], inbox.head()), (&b"theirs;body"[..], &b"theirs;body"[..]));
        assert!(inbox.replace_head(7, &[b'x'; ROOM_BYTES + 7], 4).is_some());
    }

    #[test]
    fn there_is_room_for_what_is_expected_within_bounds() {
        for (expected, room) in [(0, INBOX_BYTES), (20_000, ROOM_BYTES + 20_000), (1 << 30, INBOX_BYTES_MOST)] {
            let mut inbox = filled(b"");
            let bytes = inbox.take_to_read(expected);
            assert_eq!((bytes.capacity(), bytes.len()), (room, ROOM_BYTES), "{expected}");
        }
    }

    #[test]
    fn any_number_of_interim_heads_takes_the_memory_of_one() {
        let mut inbox = filled(b"");
        for _ in 0..1_000 {
            let mut bytes = inbox.take_to_read(0);
            bytes.extend_from_slice(&[b'i'; 100]);
            bytes.extend_from_slice(b"half");
            inbox.put_back(bytes);
            inbox.skip(100);
            assert_eq!(&inbox[..], b"half");
            inbox.skip(4);
        }
        assert_eq!(inbox.bytes.capacity(), INBOX_BYTES);
    }

    #[test]
    fn memory_over_the_bound_is_given_up() {
        let mut inbox = filled(&[7; 3 * INBOX_BYTES]);
        inbox.clear(INBOX_BYTES);
        assert_eq!(inbox.bytes.capacity(), 0);
        let mut bytes = inbox.take_to_read(0);
        bytes.push(b'!');
        inbox.put_back(bytes);
        assert_eq!(&inbox[..], b"!");
    }
}
