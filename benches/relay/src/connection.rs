//! One socket as the relay sees it: what waits to be sent on it, and who is at the other end.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use crate::buffers::Piece;

/// Which side a socket is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Accepted.
    Client,
    /// Connected by us.
    Upstream,
}

/// A socket. Its place is free again when it is closed and the kernel has answered everything that was asked for it.
#[derive(Debug)]
pub struct Connection {
    /// The descriptor.
    pub fd: RawFd,
    /// Which side.
    pub side: Side,
    /// The socket that its bytes go to; none while an upstream connection waits for a client.
    pub peer: Option<u32>,
    /// To be sent on this socket, the first one may be under way.
    pub queue: VecDeque<Piece>,
    /// True while the first piece is with the kernel.
    pub is_sending: bool,
    /// True when it may be sent on.
    pub is_connected: bool,
    /// True when it is to be given up as soon as nothing waits to be sent: the other end is gone.
    pub is_draining: bool,
    /// True when it is being given up.
    pub is_closing: bool,
    /// Answers that the kernel still owes.
    pub owed: u32,
}

impl Connection {
    /// Nothing asked yet.
    pub const fn new(fd: RawFd, side: Side, peer: Option<u32>) -> Self {
        let is_connected = matches!(side, Side::Client);
        let queue = VecDeque::new();
        Self { fd, side, peer, queue, is_sending: false, is_connected, is_draining: false, is_closing: false, owed: 0 }
    }
}

/// All sockets, by number.
#[derive(Debug, Default)]
pub struct Connections {
    all: Vec<Option<Connection>>,
    free: Vec<u32>,
}

impl Connections {
    /// Takes one in.
    pub fn add(&mut self, connection: Connection) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.all[number as usize] = Some(connection);
                number
            }
            None => {
                self.all.push(Some(connection));
                (self.all.len() - 1) as u32
            }
        }
    }

    /// One that is there.
    pub fn at(&mut self, number: u32) -> &mut Connection {
        self.all[number as usize]
            .as_mut()
            .expect("numbers are used only while the kernel owes an answer or the peer lives")
    }

    /// Lets one go.
    pub fn remove(&mut self, number: u32) -> Option<Connection> {
        self.free.push(number);
        self.all[number as usize].take()
    }
}

/// Writes `new` over every `old` of the same length.
pub fn exchange(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len(), "nothing moves");
    if let Some(at) = memchr::memmem::find(bytes, old) {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_again_when_it_is_free() {
        let mut all = Connections::default();
        let (first, second) =
            (all.add(Connection::new(3, Side::Client, None)), all.add(Connection::new(4, Side::Upstream, None)));
        assert_eq!((first, second), (0, 1));
        assert_eq!(all.remove(first).map(|connection| connection.fd), Some(3));
        assert_eq!(all.add(Connection::new(5, Side::Client, Some(second))), first);
        assert_eq!((all.at(first).fd, all.at(second).fd), (5, 4));
    }

    #[test]
    fn a_word_is_exchanged_and_nothing_moves() {
        let mut bytes = *b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
        exchange(&mut bytes, b"Connection: close", b"Connection: keep-");
        assert_eq!(&bytes, b"GET / HTTP/1.1\r\nConnection: keep-\r\n\r\n");
        exchange(&mut bytes, b"Connection: close", b"Connection: keep-");
        assert_eq!(&bytes[..5], b"GET /");
    }
}
