//! An upstream that answers as the path says: well, late, half, never, or with something that is no answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Paths and what is sent; what then happens is in [`serve`].
const PIECE: [u8; 16 * 1024] = [b'a'; 16 * 1024];
/// Bytes of the largest response.
const BIG_BYTES: usize = 16 * 1024 * 1024;
/// No connection outlives this without a byte.
const LIMIT: Duration = Duration::from_secs(20);

/// Listens on a free port for as long as the tool runs.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A gateway that goes away ends the connection: that is what this is about.
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            lines.push(line);
        }
        let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        let path = path.strip_prefix("/two").unwrap_or(path).to_owned();
        if path == "/early" {
            // Before the body, which is not read.
            return reader
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly");
        }
        if path == "/deaf" {
            std::thread::sleep(Duration::from_millis(1_500));
            return Ok(());
        }
        read_body(&mut reader, &lines)?;
        if !answer(&path, &mut reader)? {
            return Ok(());
        }
    }
}

fn read_body(reader: &mut BufReader<TcpStream>, lines: &[String]) -> io::Result<()> {
    let value =
        |name: &str| lines.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(str::to_owned));
    if let Some(length) = value("content-length:").and_then(|text| text.trim().parse::<u64>().ok()) {
        io::copy(&mut reader.take(length), &mut io::sink())?;
    } else if value("transfer-encoding:").is_some() {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            io::copy(&mut reader.take(size + 2), &mut io::sink())?;
            if size == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// True if the connection goes on.
fn answer(path: &str, reader: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let stream = reader.get_mut();
    let text: &[u8] = match path {
        "/big" => {
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG_BYTES}\r\n\r\n").as_bytes())?;
            for _ in 0..BIG_BYTES / PIECE.len() {
                stream.write_all(&PIECE)?;
            }
            return Ok(true);
        }
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        "/until-close" => b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "/cut" => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of",
        "/cut-chunks" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "/reset" => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome",
        "/garbage" => b"\x00\x01 this is no HTTP\r\n\r\n",
        "/two-lengths" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "/more" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
        "/interim" => b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "/nothing" => b"",
        "/stall" => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nand then",
        "/silent" => b"",
        "/ws" => {
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")?;
            let mut back = stream.try_clone()?;
            io::copy(reader, &mut back)?;
            return Ok(false);
        }
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    };
    stream.write_all(text)?;
    match path {
        "/stall" | "/silent" => {
            // Until the gateway has had enough.
            io::copy(reader, &mut io::sink())?;
            Ok(false)
        }
        "/reset" => {
            reset(stream);
            Ok(false)
        }
        "/until-close" => stream.shutdown(Shutdown::Both).map(|()| false),
        "/cut" | "/cut-chunks" | "/garbage" | "/nothing" => Ok(false),
        _ => Ok(true),
    }
}

/// Lets the connection end with a reset when it is closed.
pub fn reset(stream: &TcpStream) {
    use std::os::fd::AsRawFd;
    let now = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the descriptor is open, the pointer is to a live local of the size that is given.
    unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const now).cast(), size) };
}
