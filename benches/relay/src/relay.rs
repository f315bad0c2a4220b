//! The loop: one ring, one thread, whatever the kernel answers.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use io_uring::squeue::{self, Flags};
use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::Options;
use crate::buffers::{Buffers, GROUP, Piece};
use crate::connection::{Connection, Connections, Side, exchange};

/// Entries of the submission ring; a full one is submitted.
const ENTRIES: u32 = 4096;
/// Entries of the completion ring: every connection may have several answers waiting.
const ANSWERS: u32 = 65_536;
/// Connections that may wait in the kernel.
const BACKLOG: i32 = 4096;

/// What was asked; travels with the request in its upper half, the connection's number in the lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Asked {
    Accept = 1,
    Receive = 2,
    Send = 3,
    Connect = 4,
    Close = 5,
}

impl Asked {
    const fn with(self, number: u32) -> u64 {
        (self as u64) << 32 | number as u64
    }

    fn read(user_data: u64) -> (Self, u32) {
        let asked = match user_data >> 32 {
            1 => Self::Accept,
            2 => Self::Receive,
            3 => Self::Send,
            4 => Self::Connect,
            _ => Self::Close,
        };
        (asked, user_data as u32)
    }
}

/// Everything. The ring comes first: it is closed before the memory behind it goes.
pub struct Relay {
    ring: IoUring,
    buffers: Buffers,
    connections: Connections,
    listener: Socket,
    upstream: Box<SockAddr>,
    is_one_shot: bool,
    /// Upstream connections without a client.
    idle: Vec<u32>,
    /// Connections whose receive ended because no buffer was left.
    starved: VecDeque<u32>,
    /// Buffers that came back since they were last asked again.
    returned: usize,
    answers: VecDeque<(u64, i32, u32)>,
}

impl Relay {
    /// Listens.
    pub fn new(options: &Options) -> io::Result<Self> {
        let mut builder = IoUring::<squeue::Entry, cqueue::Entry>::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_cqsize(ANSWERS);
        let ring = builder.build(ENTRIES)?;
        let buffers = Buffers::new(&ring.submitter(), options.buffers, options.buffer_bytes)?;
        let listener = Socket::new(Domain::for_address(options.listen), Type::STREAM, Some(Protocol::TCP))?;
        listener.set_reuse_address(true)?;
        // Accepted sockets inherit it.
        listener.set_tcp_nodelay(true)?;
        listener.bind(&options.listen.into())?;
        listener.listen(BACKLOG)?;
        Ok(Self {
            ring,
            buffers,
            connections: Connections::default(),
            listener,
            upstream: Box::new(options.upstream.into()),
            is_one_shot: options.is_one_shot,
            idle: Vec::new(),
            starved: VecDeque::new(),
            returned: 0,
            answers: VecDeque::new(),
        })
    }

    /// Serves for ever.
    pub fn run(&mut self) -> io::Result<()> {
        self.accept()?;
        loop {
            match self.ring.submit_and_wait(1) {
                Err(error) if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => return Err(error),
                _ => {}
            }
            self.answers
                .extend(self.ring.completion().map(|answer| (answer.user_data(), answer.result(), answer.flags())));
            while let Some((user_data, result, flags)) = self.answers.pop_front() {
                let (asked, number) = Asked::read(user_data);
                self.answer(asked, number, result, flags)?;
            }
            // As many as there are buffers for: asking all of them would only starve the rest again.
            for _ in 0..std::mem::take(&mut self.returned) {
                let Some(number) = self.starved.pop_front() else { break };
                self.connections.at(number).owed -= 1;
                self.receive(number)?;
            }
        }
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: what the entries point to outlives them: buffers until they are given back (after the answer to the send), the
            // upstream's address as long as the relay, whose ring is dropped first.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).build();
        self.push(&entry.user_data(Asked::Accept.with(0)))
    }

    /// Asks for what comes in on a connection, again and again; once only from a client that is closed after its response.
    fn receive(&mut self, number: u32) -> io::Result<()> {
        let connection = self.connections.at(number);
        connection.owed += 1;
        let (fd, side) = (Fd(connection.fd), connection.side);
        let entry = if self.is_one_shot && side == Side::Client {
            let once = opcode::Recv::new(fd, std::ptr::null_mut(), 0).buf_group(GROUP).build();
            once.flags(Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(fd, GROUP).build()
        };
        self.push(&entry.user_data(Asked::Receive.with(number)))
    }

    /// Sends the first piece that waits, if nothing is under way.
    fn send(&mut self, number: u32) -> io::Result<()> {
        let connection = self.connections.at(number);
        if connection.is_sending || !connection.is_connected || connection.is_closing {
            return Ok(());
        }
        let Some(piece) = connection.queue.front().copied() else { return Ok(()) };
        connection.is_sending = true;
        connection.owed += 1;
        let fd = Fd(connection.fd);
        // With MSG_WAITALL the kernel goes on until all is sent or the connection is gone.
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = opcode::Send::new(fd, self.buffers.start(piece), piece.len).flags(flags).build();
        self.push(&entry.user_data(Asked::Send.with(number)))
    }

    fn answer(&mut self, asked: Asked, number: u32, result: i32, flags: u32) -> io::Result<()> {
        if asked == Asked::Accept {
            if result >= 0 {
                self.accepted(result)?;
            }
            return if cqueue::more(flags) { Ok(()) } else { self.accept() };
        }
        if asked == Asked::Close {
            return Ok(());
        }
        match asked {
            Asked::Receive => self.received(number, result, flags)?,
            Asked::Send => self.sent(number, result)?,
            _ if result < 0 => self.give_up(number)?,
            _ => {
                self.connections.at(number).is_connected = true;
                self.receive(number)?;
                self.send(number)?;
            }
        }
        // A multishot receive owes until it says that it does not.
        if asked != Asked::Receive || !cqueue::more(flags) {
            self.paid(number)?;
        }
        Ok(())
    }

    fn accepted(&mut self, fd: RawFd) -> io::Result<()> {
        let client = self.connections.add(Connection::new(fd, Side::Client, None));
        let kept = self.idle.pop();
        let upstream = match kept {
            Some(upstream) => upstream,
            None => self.connect()?,
        };
        self.connections.at(client).peer = Some(upstream);
        self.connections.at(upstream).peer = Some(client);
        self.receive(client)
    }

    fn connect(&mut self) -> io::Result<u32> {
        let socket = Socket::new(self.upstream.domain(), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        let fd = socket.into_raw_fd();
        let number = self.connections.add(Connection::new(fd, Side::Upstream, None));
        self.connections.at(number).owed += 1;
        let entry = opcode::Connect::new(Fd(fd), self.upstream.as_ptr().cast(), self.upstream.len()).build();
        self.push(&entry.user_data(Asked::Connect.with(number)))?;
        Ok(number)
    }

    fn received(&mut self, number: u32, result: i32, flags: u32) -> io::Result<()> {
        if let Some(id) = cqueue::buffer_select(flags) {
            self.pass_on(number, Piece { id, len: result.max(0) as u32 })?;
        }
        let connection = self.connections.at(number);
        let may_go_on = !connection.is_closing && !cqueue::more(flags);
        match result {
            _ if result == -libc::ENOBUFS && may_go_on => {
                // Counted until it is asked again, so that its number stays taken.
                connection.owed += 1;
                self.starved.push_back(number);
            }
            ..=0 => self.ended(number)?,
            _ if may_go_on && !(self.is_one_shot && connection.side == Side::Client) => self.receive(number)?,
            _ => {}
        }
        Ok(())
    }

    /// Nothing more comes from this one: what did come is sent to its peer first.
    fn ended(&mut self, number: u32) -> io::Result<()> {
        if let Some(peer) = self.connections.at(number).peer {
            let other = self.connections.at(peer);
            if !other.queue.is_empty() && !other.is_closing {
                other.is_draining = true;
                return Ok(());
            }
        }
        self.give_up(number)
    }

    fn pass_on(&mut self, number: u32, piece: Piece) -> io::Result<()> {
        let connection = self.connections.at(number);
        let (side, peer, is_closing) = (connection.side, connection.peer, connection.is_closing);
        let Some(to) = peer.filter(|_| piece.len > 0 && !is_closing) else {
            self.give_back(piece);
            return Ok(());
        };
        if self.is_one_shot {
            let bytes = self.buffers.bytes_mut(piece);
            match side {
                Side::Client => exchange(bytes, b"Connection: close", b"Connection: keep-"),
                Side::Upstream => exchange(bytes, b"Connection: keep-alive", b"Connection: close     "),
            }
        }
        self.connections.at(to).queue.push_back(piece);
        self.send(to)
    }

    fn give_back(&mut self, piece: Piece) {
        self.buffers.give_back(piece.id);
        self.returned += 1;
    }

    fn sent(&mut self, number: u32, result: i32) -> io::Result<()> {
        let connection = self.connections.at(number);
        connection.is_sending = false;
        let piece = connection.queue.pop_front().expect("the piece under way");
        let (is_all, side, is_last) = (result == piece.len as i32, connection.side, connection.queue.is_empty());
        let is_drained = is_last && connection.is_draining;
        self.give_back(piece);
        if !is_all || is_drained {
            self.give_up(number)?;
        } else if self.is_one_shot && side == Side::Client && is_last {
            self.finish(number);
        } else {
            self.send(number)?;
        }
        Ok(())
    }

    /// A client has its response: its connection is closed, the upstream's waits for the next one.
    fn finish(&mut self, client: u32) {
        let connection = self.connections.at(client);
        connection.is_closing = true;
        if let Some(upstream) = connection.peer.take() {
            self.connections.at(upstream).peer = None;
            self.idle.push(upstream);
        }
    }

    /// Ends both connections of a pair. Called while the kernel's answer for `number` is being looked at, so that one is freed in `paid`.
    fn give_up(&mut self, number: u32) -> io::Result<()> {
        self.idle.retain(|idle| *idle != number);
        let connection = self.connections.at(number);
        if connection.is_closing {
            return Ok(());
        }
        connection.is_closing = true;
        shut_down(connection.fd);
        let Some(peer) = connection.peer.take() else { return Ok(()) };
        let other = self.connections.at(peer);
        other.peer = None;
        other.is_closing = true;
        shut_down(other.fd);
        let connections = &mut self.connections;
        self.starved.retain(|starved| {
            let is_of_the_pair = *starved == number || *starved == peer;
            if is_of_the_pair {
                connections.at(*starved).owed -= 1;
            }
            !is_of_the_pair
        });
        if self.connections.at(peer).owed == 0 { self.free(peer) } else { Ok(()) }
    }

    /// One answer less is owed; the last one of a closing connection frees it.
    fn paid(&mut self, number: u32) -> io::Result<()> {
        let connection = self.connections.at(number);
        connection.owed -= 1;
        if connection.is_closing && connection.owed == 0 { self.free(number) } else { Ok(()) }
    }

    fn free(&mut self, number: u32) -> io::Result<()> {
        let Some(connection) = self.connections.remove(number) else { return Ok(()) };
        for piece in connection.queue {
            self.give_back(piece);
        }
        self.push(&opcode::Close::new(Fd(connection.fd)).build().user_data(Asked::Close.with(0)))
    }
}

/// What the kernel still owes for this socket is answered then.
fn shut_down(fd: RawFd) {
    // SAFETY: shutdown(2) takes two numbers and touches no memory of ours.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}
