//! One connection to one broker: connects, learns the broker's versions, says who we are, asks one thing at a time.

use super::access::{self, Access, Stream};
use crate::kafka::codec::answers::{self, ApiRange};
use crate::kafka::codec::read::{Kind, describe};
use crate::kafka::codec::requests::{self, Caller};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Milliseconds for a connection and for the first answer on it, each.
pub const CONNECT_MS: u64 = 5_000;
/// Milliseconds that an answer may take beyond what the request itself may wait.
const ANSWER_MS: u64 = 10_000;
/// Bytes of one answer; a larger one closes the connection. A whole batch must fit, and brokers may allow large ones.
const FRAME_BYTES: usize = 64 * 1024 * 1024;
const CLIENT_ID: &str = "tollgate-reader";

/// A connection that has answered as a Kafka.
#[derive(Debug)]
pub struct Link {
    stream: Box<dyn Stream>,
    host: String,
    address: String,
    access: Access,
    ranges: Vec<ApiRange>,
    correlation: i32,
    /// When we must say again who we are.
    renew_at: Option<Instant>,
}

/// An answer, from behind its correlation id, and the version it is in.
#[derive(Debug)]
pub struct Answer {
    pub version: i16,
    pub body: Vec<u8>,
}

impl Link {
    /// Connects to the first address of `host` that answers as a Kafka.
    pub async fn open(host: &str, port: u16, access: &Access) -> Result<Self, String> {
        let address = format!("{host}:{port}");
        let within = Duration::from_millis(CONNECT_MS);
        let late = || format!("{address} did not answer within {CONNECT_MS} ms");
        let found = timeout(within, tokio::net::lookup_host((host, port))).await.map_err(|_| late())?;
        let found = found.map_err(|error| format!("the name {host} cannot be resolved ({error})"))?;
        let mut last = format!("the name {host} has no address");
        for one in found {
            match timeout(within, TcpStream::connect(one)).await {
                Ok(Ok(stream)) => {
                    // Only costs latency if it fails.
                    let _ = stream.set_nodelay(true);
                    let secured = timeout(within, access.secure(stream, host, port)).await.map_err(|_| late())?;
                    return Self::greet(secured?, host, address, access).await;
                }
                Ok(Err(error)) => last = refused(&address, &error),
                Err(_) => last = late(),
            }
        }
        Err(last)
    }

    async fn greet(stream: Box<dyn Stream>, host: &str, address: String, access: &Access) -> Result<Self, String> {
        let (host, access) = (host.to_owned(), access.clone());
        let mut link = Self { stream, host, address, access, ranges: Vec::new(), correlation: 0, renew_at: None };
        // Version 0 is answered by every Kafka since 0.10.
        let body = link.exchange(Duration::from_millis(CONNECT_MS), |caller| requests::api_versions(caller, 0)).await?;
        let answer = answers::api_versions(&body, 0).filter(|answer| !answer.ranges.is_empty());
        match answer {
            Some(answer) if answer.error == 0 => {
                link.ranges = answer.ranges;
                link.authenticate().await?;
                Ok(link)
            }
            Some(answer) => Err(format!("{} refused to talk: {}", link.address, describe(answer.error))),
            None => Err(format!("{} answered something that is not Kafka's", link.address)),
        }
    }

    /// Says who we are, if that is asked for, and for how long that is good.
    async fn authenticate(&mut self) -> Result<(), String> {
        if let Some(credentials) = self.access.sasl.clone() {
            self.renew_at = access::authenticate(self, &credentials).await?;
        }
        Ok(())
    }

    /// HOST:PORT.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The newest SaslAuthenticate that both sides know.
    pub fn sasl_authenticate_version(&self) -> i16 {
        let theirs = self.ranges.iter().find(|range| range.key == requests::SASL_AUTHENTICATE);
        theirs.map_or(0, |range| range.max.clamp(0, requests::SASL_AUTHENTICATE_RANGE.1))
    }

    /// Asks in the newest version that both sides know. `wait_ms` is what the request itself lets the broker wait.
    pub async fn ask(
        &mut self,
        kind: Kind,
        wait_ms: u64,
        request: impl FnOnce(Caller<'_>, i16) -> Vec<u8>,
    ) -> Result<Answer, String> {
        let version = kind.negotiate(&self.ranges).ok_or_else(|| self.unknown(kind))?;
        let within = Duration::from_millis(wait_ms + ANSWER_MS);
        if self.renew_at.is_some_and(|at| at <= Instant::now()) {
            self.authenticate().await?;
        }
        let body = self.exchange(within, |caller| request(caller, version)).await?;
        Ok(Answer { version, body })
    }

    /// Which requests the broker answers, in which versions.
    pub fn ranges(&self) -> &[ApiRange] {
        &self.ranges
    }

    fn unknown(&self, kind: Kind) -> String {
        let (address, name) = (&self.address, kind.name);
        if kind.is_served(&self.ranges) {
            format!("{address} knows no version of {name} that Tollgate knows: Kafka 0.11 and later are read")
        } else {
            format!("{address} does not answer {name}: it may be a KRaft controller's port; name a broker's listener")
        }
    }

    /// An answer that `read` could not make sense of.
    pub fn nonsense(&self, kind: Kind) -> String {
        format!("{} answered {} with something that is not it", self.address, kind.name)
    }

    /// Asks, and waits for the answer from behind its correlation id.
    pub async fn exchange(
        &mut self,
        within: Duration,
        request: impl FnOnce(Caller<'_>) -> Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        self.correlation = self.correlation.wrapping_add(1);
        let bytes = request(Caller { client_id: CLIENT_ID, correlation: self.correlation });
        let answered = timeout(within, async {
            self.stream.write_all(&bytes).await.map_err(|error| self.broken(&error))?;
            // TLS may hold the end of it back.
            self.stream.flush().await.map_err(|error| self.broken(&error))?;
            self.read_frame().await
        });
        let mut frame = answered
            .await
            .map_err(|_| format!("{} did not answer within {} ms", self.address, within.as_millis()))??;
        if frame.first_chunk::<4>() != Some(&self.correlation.to_be_bytes()) {
            return Err(format!("{} answered something that was not asked: not a Kafka?", self.address));
        }
        frame.drain(..4);
        Ok(frame)
    }

    async fn read_frame(&mut self) -> Result<Vec<u8>, String> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await.map_err(|error| self.broken(&error))?;
        let length = usize::try_from(i32::from_be_bytes(head)).unwrap_or(usize::MAX);
        if !(4..=FRAME_BYTES).contains(&length) {
            return Err(self.not_kafka(head));
        }
        // Memory is taken as bytes come, not as they are promised.
        let mut frame = Vec::new();
        let whole = (&mut self.stream).take(length as u64).read_to_end(&mut frame).await;
        match whole {
            Ok(count) if count == length => Ok(frame),
            Ok(_) => Err(self.broken(&io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn not_kafka(&self, head: [u8; 4]) -> String {
        let address = &self.address;
        match head {
            [b'H', b'T', b'T', b'P'] => format!("{address} speaks HTTP, not Kafka: is it the right port?"),
            [0x15, 3, ..] => format!("{address} speaks TLS: ask with --tls or --tls-ca, or name a PLAINTEXT listener"),
            _ => format!("{address} answered something that is not Kafka's, or an answer over {FRAME_BYTES} bytes"),
        }
    }

    fn broken(&self, error: &io::Error) -> String {
        let address = &self.address;
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return format!("the connection to {address} broke ({})", access::words(error, &self.host));
        }
        if self.ranges.is_empty() {
            return format!(
                "{address} closed the connection at the first question: not a Kafka, or it wants TLS or SASL"
            );
        }
        if self.correlation == 2 && self.access.sasl.is_none() {
            return format!("{address} closed the connection at the first question: does it want SASL (--user)?");
        }
        format!("{address} closed the connection")
    }
}

fn refused(address: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return format!("{address} refuses connections: nothing listens there. Is Kafka started, and is it this port?");
    }
    format!("{address} cannot be reached ({error})")
}
