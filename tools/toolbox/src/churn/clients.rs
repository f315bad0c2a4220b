//! Clients that do, one after the other and by chance, what clients should not.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::upstream::reset;

/// What is asked for; the upstream answers by the path.
const PATHS: [&str; 20] = [
    "/ok",
    "/ok",
    "/ok",
    "/chunked",
    "/until-close",
    "/cut",
    "/cut-chunks",
    "/reset",
    "/garbage",
    "/two-lengths",
    "/more",
    "/interim",
    "/nothing",
    "/stall",
    "/silent",
    "/two/ok",
    "/two/ok",
    "/two/nothing",
    "/deaf",
    "/early",
];
/// Bytes of a body that is announced.
const BODY_BYTES: usize = 300_000;

/// A generator of numbers (xorshift): which way it goes need not be hard to guess.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn path(&mut self) -> &'static str {
        PATHS[self.roll(PATHS.len() as u64) as usize]
    }

    fn pause(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.roll(most_ms)));
    }
}

/// Does so until it is told to end.
pub fn misbehave(address: SocketAddr, seed: u32, ends: &AtomicBool, whole: &AtomicU64) {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (u64::from(seed) + 1) << 20);
    while !ends.load(Ordering::Relaxed) {
        // A gateway that ends a connection is right to do so: nothing here is a failure by itself.
        let _ = once(address, &mut dice, whole);
    }
}

fn once(address: SocketAddr, dice: &mut Dice, whole: &AtomicU64) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    match dice.roll(14) {
        0 | 1 => well_behaved(&mut stream, dice, whole)?,
        2 => stream.write_all(&get(dice.path())[..15])?,
        3 => half_a_body(&mut stream, dice)?,
        4 => stream.write_all(&get(dice.path()))?,
        5 => slow_reader(&mut stream, dice)?,
        6 => slow_writer(&mut stream, dice)?,
        7 => pipeline(&mut stream, dice)?,
        8 => noise(&mut stream, dice)?,
        9 => web_socket(&mut stream, dice)?,
        10 => broken_chunks(&mut stream)?,
        11 => too_large(&mut stream, dice)?,
        12 => {
            // Idle, perhaps until it is closed.
            stream.write_all(&get("/ok"))?;
            dice.pause(2_500);
        }
        _ => {}
    }
    match dice.roll(3) {
        0 => reset(&stream),
        1 => {
            stream.shutdown(Shutdown::Write)?;
            let mut rest = [0; 4096];
            while stream.read(&mut rest)? > 0 {}
        }
        _ => {}
    }
    Ok(())
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: churn\r\n\r\n").into_bytes()
}

fn post(path: &str, framing: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: churn\r\n{framing}\r\n\r\n").into_bytes()
}

fn well_behaved(stream: &mut TcpStream, dice: &mut Dice, whole: &AtomicU64) -> io::Result<()> {
    for _ in 0..dice.roll(20) {
        if dice.roll(4) == 0 {
            stream.write_all(&[post("/ok", "Content-Length: 1000"), vec![b'b'; 1000]].concat())?;
        } else {
            stream.write_all(&get("/ok"))?;
        }
        let mut got = Vec::new();
        let mut piece = [0; 4096];
        while !got.ends_with(b"\r\n\r\nhello") {
            match stream.read(&mut piece)? {
                0 => return Ok(()),
                count => got.extend_from_slice(&piece[..count]),
            }
        }
        whole.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn half_a_body(stream: &mut TcpStream, dice: &mut Dice) -> io::Result<()> {
    let expects = if dice.roll(4) == 0 { "\r\nExpect: 100-continue" } else { "" };
    stream.write_all(&post(dice.path(), &format!("Content-Length: {BODY_BYTES}{expects}")))?;
    stream.write_all(&vec![b'b'; dice.roll(BODY_BYTES as u64) as usize])?;
    // Longer than a body may pause, now and then.
    let most_ms = if dice.roll(5) == 0 { 1_500 } else { 50 };
    dice.pause(most_ms);
    Ok(())
}

fn slow_reader(stream: &mut TcpStream, dice: &mut Dice) -> io::Result<()> {
    stream.write_all(&get("/big"))?;
    let mut piece = [0; 64 * 1024];
    for _ in 0..dice.roll(12) {
        if stream.read(&mut piece)? == 0 {
            break;
        }
        let most_ms = if dice.roll(6) == 0 { 2_000 } else { 30 };
        dice.pause(most_ms);
    }
    Ok(())
}

fn slow_writer(stream: &mut TcpStream, dice: &mut Dice) -> io::Result<()> {
    let request = [post(dice.path(), "Content-Length: 20"), vec![b'b'; 20]].concat();
    let step = 1 + dice.roll(30) as usize;
    for piece in request.chunks(step) {
        stream.write_all(piece)?;
        dice.pause(60);
    }
    Ok(())
}

fn pipeline(stream: &mut TcpStream, dice: &mut Dice) -> io::Result<()> {
    let mut bytes: Vec<u8> = (0..1 + dice.roll(20)).flat_map(|_| get(dice.path())).collect();
    // Cut somewhere.
    bytes.truncate(1 + dice.roll(bytes.len() as u64) as usize);
    stream.write_all(&bytes)?;
    let mut piece = [0; 256];
    for _ in 0..dice.roll(4) {
        if stream.read(&mut piece)? == 0 {
            break;
        }
    }
    Ok(())
}

fn noise(stream: &mut TcpStream, dice: &mut Dice) -> io::Result<()> {
    let bytes: Vec<u8> = (0..1 + dice.roll(2_000)).map(|_| dice.roll(256) as u8).collect();
    stream.write_all(if dice.roll(3) == 0 { b"\x16\x03\x01\x02\x00\x01\x00" } else { &bytes })
}

fn web_socket(stream: &mut TcpStream, dice: &mut Dice) -> io::Result<()> {
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    stream.write_all(format!("GET /ws HTTP/1.1\r\nHost: churn\r\n{fields}\r\n\r\n").as_bytes())?;
    let mut piece = [0; 8192];
    for _ in 0..dice.roll(6) {
        stream.write_all(&vec![b'w'; 1 + dice.roll(50_000) as usize])?;
        if stream.read(&mut piece)? == 0 {
            break;
        }
        let most_ms = if dice.roll(8) == 0 { 1_500 } else { 20 };
        dice.pause(most_ms);
    }
    Ok(())
}

fn broken_chunks(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&post("/ok", "Transfer-Encoding: chunked"))?;
    stream.write_all(b"5\r\nhello\r\nzz\r\n")?;
    stream.read(&mut [0; 256]).map(|_| ())
}

fn too_large(stream: &mut TcpStream, dice: &mut Dice) -> io::Result<()> {
    match dice.roll(3) {
        0 => stream.write_all(&get(&"/a".repeat(10_000)))?,
        1 => stream.write_all(&post("/ok", &format!("X-A: {}", "a".repeat(40_000))))?,
        _ => stream.write_all(&post("/ok", "Content-Length: 99999999"))?,
    }
    stream.read(&mut [0; 256]).map(|_| ())
}
