//! Wakes a core from another thread: one byte through a socket pair. The core reads, the others write and never wait.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use super::socket::Socket;

/// The end that rings. Ringing twice before the core wakes is ringing once.
#[derive(Debug)]
pub struct BellRope {
    stream: UnixStream,
}

impl BellRope {
    /// Wakes the core. If the pipe is full the core is about to wake anyway.
    pub fn ring(&self) {
        let _ = (&self.stream).write(&[1]);
    }
}

/// The core's end, before its runtime exists.
#[derive(Debug)]
pub struct BellEar {
    stream: UnixStream,
}

/// A rope and its ear.
///
/// # Errors
/// When no descriptor is left.
pub fn bell() -> io::Result<(BellRope, BellEar)> {
    let (rope, ear) = UnixStream::pair()?;
    rope.set_nonblocking(true)?;
    Ok((BellRope { stream: rope }, BellEar { stream: ear }))
}

impl BellEar {
    /// The ear on the core's own runtime.
    ///
    /// # Errors
    /// When the runtime's driver refuses the descriptor.
    pub fn listen(self) -> io::Result<Ear> {
        Ok(Ear { socket: Socket::from_unix(self.stream)?, buffer: Vec::with_capacity(64) })
    }
}

/// Waits for the bell.
#[derive(Debug)]
pub struct Ear {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Ear {
    /// Waits until it rings. False once the other side is gone.
    pub async fn heard(&mut self) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let (result, buffer) = self.socket.read(buffer).await;
        self.buffer = buffer;
        matches!(result, Ok(count) if count > 0)
    }
}
