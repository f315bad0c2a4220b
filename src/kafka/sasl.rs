//! The client's half of SASL PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677): messages in, messages out. Kafka's frames around
//! them are `codec`'s, their order on a connection is `shipper`'s.
//!
//! Names and passwords go out as the UTF-8 they are, without SASLprep: Kafka's broker and Java client do not prepare them either,
//! so that preparing them would make those passwords wrong that it changes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::Digest;
use ring::{digest, hmac};

use super::security::{Credentials, Mechanism, NonceKey};

/// The fewest iterations that a server may ask for (RFC 7677 §4; Kafka's own minimum).
pub const ITERATIONS_LEAST: u32 = 4_096;
/// The most iterations that a server may ask for: four times what Kafka 4 lets be set. A server that asks for more wants to keep
/// us busy.
pub const ITERATIONS_MOST: u32 = 65_536;
/// Iterations done in one go: some 0.3 ms, in which a core does nothing else.
pub const ITERATIONS_AT_ONCE: u32 = 512;
/// Bytes of a nonce before it is encoded.
const NONCE_BYTES: usize = 24;
/// The GS2 header, `n,,`, as the final message repeats it: neither channel binding nor another identity (RFC 5802 §6).
const GS2_BASE64: &str = "biws";

/// What to do next.
#[derive(PartialEq, Eq)]
pub enum Step {
    /// Send this.
    Send(Vec<u8>),
    /// Call [`Exchange::hash`] until it gives a message.
    Hash,
    /// The server has taken us and, in SCRAM, has proved that it knows us.
    Done,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send(_) => "Send(hidden)",
            Self::Hash => "Hash",
            Self::Done => "Done",
        })
    }
}

/// Why it went wrong, in words without a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user's name or password cannot be sent.
    Unsendable(&'static str),
    /// What the server says is not SCRAM, or is less than we ask for.
    Server(String),
    /// The server does not know the user's password: it is not the one that it claims to be.
    Impostor,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsendable(why) => f.write_str(why),
            Self::Server(why) => f.write_str(why),
            Self::Impostor => f.write_str(
                "the broker's signature is wrong: it does not know this user's password, so it may not be the broker it claims to be",
            ),
        }
    }
}

/// A salted password: what costs the time in SCRAM. Good for as long as the server keeps salt and count.
#[derive(Clone, PartialEq, Eq)]
pub struct Salted {
    credentials: Credentials,
    salt: Vec<u8>,
    iterations: u32,
    password: Vec<u8>,
}

impl fmt::Debug for Salted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Salted({}, {} iterations)", self.credentials.user, self.iterations)
    }
}

/// One authentication.
pub struct Exchange {
    credentials: Credentials,
    state: State,
}

enum State {
    /// PLAIN was sent: the server says yes with an empty message.
    Plain,
    /// The first message was sent.
    First {
        bare: String,
        nonce: String,
    },
    /// The password is being salted.
    Salting(Box<Salting>),
    /// The proof was sent.
    Final {
        server_key: hmac::Key,
        auth_message: String,
    },
    Done,
}

struct Salting {
    work: Work,
    salt: Vec<u8>,
    iterations: u32,
    /// The authentication message up to the client's final message without its proof (RFC 5802 §3), and where that begins.
    auth_message: String,
    final_at: usize,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Plain => "plain",
            State::First { .. } => "first",
            State::Salting(_) => "salting",
            State::Final { .. } => "final",
            State::Done => "done",
        };
        write!(f, "Exchange({} as {}, {state})", self.credentials.mechanism.name(), self.credentials.user)
    }
}

impl Exchange {
    /// Begins; the message is the first to send. `nonce` must never have been used before and be hard to guess: [`nonce`]. PLAIN
    /// does not look at it.
    ///
    /// # Errors
    /// Credentials that cannot be sent.
    pub fn begin(credentials: &Credentials, nonce: &str) -> Result<(Self, Vec<u8>), Refusal> {
        let (user, password) = (&credentials.user, credentials.password.reveal());
        sendable(user, password)?;
        let (state, message) = match credentials.mechanism {
            Mechanism::Plain => (State::Plain, format!("\0{user}\0{password}")),
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                let bare = format!("n={},r={nonce}", user.replace('=', "=3D").replace(',', "=2C"));
                let message = format!("n,,{bare}");
                (State::First { bare, nonce: nonce.to_owned() }, message)
            }
        };
        Ok((Self { credentials: credentials.clone(), state }, message.into_bytes()))
    }

    /// Takes a message of the server's. A salted password among `known` that fits saves the hashing.
    ///
    /// # Errors
    /// The server is not one to go on with.
    pub fn answer(&mut self, message: &[u8], known: &[Salted]) -> Result<Step, Refusal> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Plain => Ok(Step::Done),
            State::First { bare, nonce } => self.first_answer(message, (&bare, &nonce), known),
            State::Final { server_key, auth_message } => final_answer(message, &server_key, &auth_message),
            State::Salting(_) | State::Done => Err(wrong("it speaks out of turn")),
        }
    }

    fn first_answer(&mut self, message: &[u8], sent: (&str, &str), known: &[Salted]) -> Result<Step, Refusal> {
        let (bare, nonce) = sent;
        let text = text_of(message)?;
        let challenge = Challenge::read(text, nonce)?;
        let final_bare = format!("c={GS2_BASE64},r={}", challenge.nonce);
        let mut auth_message = format!("{bare},{text},");
        let final_at = auth_message.len();
        auth_message.push_str(&final_bare);
        let (salt, iterations) = (challenge.salt, challenge.iterations);
        let fits =
            |one: &&Salted| one.iterations == iterations && one.salt == salt && one.credentials == self.credentials;
        if let Some(salted) = known.iter().find(fits) {
            let password = salted.password.clone();
            return Ok(Step::Send(self.prove(&password, auth_message, final_at)));
        }
        let work = Work::new(self.algorithm(), self.credentials.password.reveal(), &salt, iterations);
        self.state = State::Salting(Box::new(Salting { work, salt, iterations, auth_message, final_at }));
        Ok(Step::Hash)
    }

    /// Does up to `iterations` of the work; the next message once it is done, with what is worth keeping for the next time.
    pub fn hash(&mut self, iterations: u32) -> Option<(Vec<u8>, Salted)> {
        let State::Salting(salting) = &mut self.state else { return None };
        if !salting.work.go_on(iterations) {
            return None;
        }
        let State::Salting(salting) = std::mem::replace(&mut self.state, State::Done) else { return None };
        let Salting { work, salt, iterations, auth_message, final_at } = *salting;
        let message = self.prove(&work.sum, auth_message, final_at);
        Some((message, Salted { credentials: self.credentials.clone(), salt, iterations, password: work.sum }))
    }

    /// True while [`Exchange::hash`] has something to do.
    pub const fn is_hashing(&self) -> bool {
        matches!(self.state, State::Salting(_))
    }

    /// The client's final message (RFC 5802 §3).
    fn prove(&mut self, salted: &[u8], auth_message: String, final_at: usize) -> Vec<u8> {
        let algorithm = self.algorithm();
        let salted = hmac::Key::new(algorithm, salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key: Digest = digest::digest(algorithm.digest_algorithm(), client_key.as_ref());
        let signature = hmac::sign(&hmac::Key::new(algorithm, stored_key.as_ref()), auth_message.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = hmac::Key::new(algorithm, hmac::sign(&salted, b"Server Key").as_ref());
        let message = format!("{},p={}", &auth_message[final_at..], BASE64.encode(proof));
        self.state = State::Final { server_key, auth_message };
        message.into_bytes()
    }

    const fn algorithm(&self) -> hmac::Algorithm {
        match self.credentials.mechanism {
            Mechanism::Plain | Mechanism::ScramSha256 => hmac::HMAC_SHA256,
            Mechanism::ScramSha512 => hmac::HMAC_SHA512,
        }
    }
}

fn final_answer(message: &[u8], server_key: &hmac::Key, auth_message: &str) -> Result<Step, Refusal> {
    let first = text_of(message)?.split(',').next().unwrap_or_default();
    if let Some(error) = first.strip_prefix("e=") {
        return Err(wrong(&format!("the broker says {}", printable(error))));
    }
    let signature = first.strip_prefix("v=").and_then(|text| BASE64.decode(text).ok());
    let signature = signature.ok_or_else(|| wrong("its last message has no signature"))?;
    // Compared in constant time.
    hmac::verify(server_key, auth_message.as_bytes(), &signature).map_err(|_| Refusal::Impostor)?;
    Ok(Step::Done)
}

/// The server's first message.
struct Challenge {
    /// Ours with the server's behind it.
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl Challenge {
    fn read(text: &str, ours: &str) -> Result<Self, Refusal> {
        let mut parts = text.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
        // `m=` in front would be an extension that must be understood (RFC 5802 §5.1): it is no nonce.
        let nonce = part("r=").ok_or_else(|| wrong("its first message has no nonce"))?;
        let salt = part("s=").and_then(|text| BASE64.decode(text).ok()).filter(|salt| !salt.is_empty());
        let salt = salt.ok_or_else(|| wrong("its first message has no salt"))?;
        let iterations = part("i=").and_then(|text| text.parse().ok());
        let iterations: u32 = iterations.ok_or_else(|| wrong("its first message has no iteration count"))?;
        if !nonce.starts_with(ours) || nonce.len() == ours.len() {
            return Err(wrong("its nonce does not go on from ours"));
        }
        if iterations < ITERATIONS_LEAST {
            return Err(wrong(&format!(
                "it asks for {iterations} iterations, fewer than the {ITERATIONS_LEAST} that keep a password safe"
            )));
        }
        if iterations > ITERATIONS_MOST {
            return Err(wrong(&format!("it asks for {iterations} iterations, more than {ITERATIONS_MOST}")));
        }
        Ok(Self { nonce: nonce.to_owned(), salt, iterations })
    }
}

fn wrong(why: &str) -> Refusal {
    Refusal::Server(why.to_owned())
}

fn text_of(message: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(message).map_err(|_| wrong("its message is not UTF-8"))
}

/// A broker's words, fit for a line of the log: no control characters, and not endless.
pub fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}

/// PBKDF2 (RFC 8018) with one block of output, in pieces: `ring`'s own cannot be interrupted, and a core has other things to do.
struct Work {
    key: hmac::Key,
    last: hmac::Tag,
    sum: Vec<u8>,
    left: u32,
}

impl Work {
    fn new(algorithm: hmac::Algorithm, password: &str, salt: &[u8], iterations: u32) -> Self {
        let key = hmac::Key::new(algorithm, password.as_bytes());
        let last = hmac::sign(&key, &[salt, &1_u32.to_be_bytes()].concat());
        let sum = last.as_ref().to_vec();
        Self { key, last, sum, left: iterations - 1 }
    }

    /// True once it is done.
    fn go_on(&mut self, iterations: u32) -> bool {
        for _ in 0..iterations.min(self.left) {
            self.last = hmac::sign(&self.key, self.last.as_ref());
            self.sum.iter_mut().zip(self.last.as_ref()).for_each(|(sum, byte)| *sum ^= byte);
        }
        self.left -= iterations.min(self.left);
        self.left == 0
    }
}

/// Whether these can be sent at all.
///
/// # Errors
/// Why not.
pub fn sendable(user: &str, password: &str) -> Result<(), Refusal> {
    if user.contains('\0') || password.contains('\0') {
        return Err(Refusal::Unsendable("user and password must not hold a NUL character"));
    }
    if user.is_empty() || password.is_empty() {
        return Err(Refusal::Unsendable("user and password must not be empty"));
    }
    Ok(())
}

/// A nonce for SCRAM from a random key and numbers that were not used with it before.
pub fn nonce(key: NonceKey, numbers: [u64; 3]) -> String {
    let mut bytes = [0; 24];
    for (at, number) in numbers.into_iter().enumerate() {
        bytes[at * 8..][..8].copy_from_slice(&number.to_be_bytes());
    }
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.0), &bytes);
    BASE64.encode(&tag.as_ref()[..NONCE_BYTES])
}

#[cfg(test)]
#[path = "sasl_tests.rs"]
mod tests;
