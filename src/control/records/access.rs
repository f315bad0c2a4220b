//! How a reader gets in: TLS around the socket, and who we are behind ApiVersions. The messages are `kafka::sasl`'s, shared with the
//! producer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::link::Link;
use crate::kafka::codec::answers;
use crate::kafka::codec::read::describe;
use crate::kafka::codec::requests;
use crate::kafka::sasl::{Exchange, Step, nonce, printable};
use crate::kafka::security::NonceKey;
use crate::kafka::tls::{explain, handshake_failed, server_name};
use crate::kafka::{Credentials, Tls};

/// The part of a session, in per cent, after which it is renewed before the next question (KIP-368).
const RENEW_PER_CENT: u64 = 85;
/// Kafka's SASL errors.
const UNSUPPORTED_MECHANISM: i16 = 33;
const ILLEGAL_STATE: i16 = 34;

/// What a cluster asks for besides its address.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Who we are.
    pub sasl: Option<Credentials>,
    /// TLS.
    pub tls: Option<Tls>,
}

/// A socket, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Stream for S {}

impl Access {
    /// The socket with TLS around it, if it is asked for.
    pub async fn secure(&self, socket: TcpStream, host: &str, port: u16) -> Result<Box<dyn Stream>, String> {
        let Some(tls) = &self.tls else { return Ok(Box::new(socket)) };
        let failed = |why: &str| handshake_failed(host, port, why);
        let name = server_name(host).map_err(|why| failed(&why))?;
        match TlsConnector::from(Arc::clone(&tls.config())).connect(name, socket).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(failed(&words(&error, host))),
        }
    }
}

/// A TLS error in words, if it is one.
pub fn words(error: &std::io::Error, host: &str) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(error) => explain(error, host),
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the broker closed the connection in the handshake: is it a TLS listener?".to_owned()
        }
        None => error.to_string(),
    }
}

/// Says who we are. When to say it again, if ever.
pub async fn authenticate(link: &mut Link, credentials: &Credentials) -> Result<Option<Instant>, String> {
    let name = credentials.mechanism.name();
    let failed = |link: &Link, why: &str| format!("failed to do {name} auth with {}: {why}", link.address());
    let body = link.exchange(within(), |caller| requests::sasl_handshake(caller, 1, name)).await?;
    let answer = answers::sasl_handshake(&body).ok_or_else(|| failed(link, "its answer is not Kafka's"))?;
    match answer.error {
        0 => {}
        UNSUPPORTED_MECHANISM => {
            let others = printable(&answer.mechanisms.join(", "));
            return Err(failed(link, &format!("the broker takes {others} here: name one with --sasl-mechanism")));
        }
        ILLEGAL_STATE => return Err(failed(link, "this listener has no SASL: name a SASL listener, or no user")),
        error => return Err(failed(link, &describe(error))),
    }
    let mut key = NonceKey::default();
    getrandom::fill(&mut key.0).map_err(|error| format!("no random bytes for a nonce: {error}"))?;
    let begun = Exchange::begin(credentials, &nonce(key, [0; 3]));
    let (mut exchange, mut message) = begun.map_err(|refusal| failed(link, &refusal.to_string()))?;
    let version = link.sasl_authenticate_version();
    loop {
        let body = link.exchange(within(), |caller| requests::sasl_authenticate(caller, version, message)).await?;
        let answer = answers::sasl_authenticated(&body, version);
        let answer = answer.ok_or_else(|| failed(link, "its answer is not Kafka's"))?;
        if answer.error != 0 {
            let said = answer.message.filter(|text| !text.is_empty());
            return Err(failed(link, &said.map_or_else(|| describe(answer.error), |text| printable(&text))));
        }
        message = match exchange.answer(&answer.token, &[]).map_err(|refusal| failed(link, &refusal.to_string()))? {
            Step::Send(message) => message,
            Step::Hash => match exchange.hash(u32::MAX) {
                Some((message, _)) => message,
                None => return Err(failed(link, "the password could not be hashed")),
            },
            Step::Done => {
                let lifetime_ms = u64::try_from(answer.session_lifetime_ms).unwrap_or(0);
                let renew = Duration::from_millis(lifetime_ms / 100 * RENEW_PER_CENT);
                return Ok((lifetime_ms > 0).then(|| Instant::now() + renew));
            }
        };
    }
}

fn within() -> Duration {
    Duration::from_millis(super::link::CONNECT_MS)
}
