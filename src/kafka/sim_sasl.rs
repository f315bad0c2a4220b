//! The simulated brokers' side of SASL: who may ask what on a connection, and until when. With PLAIN and SCRAM-SHA-256.

use std::collections::HashMap;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};

use super::codec::answers::{SaslAuthenticated, SaslHandshake};
use super::codec::broker_side::{self, Asked, Body};
use super::event::ConnId;

/// What a broker that wants SASL knows and has seen.
#[derive(Debug, Default)]
pub struct Guard {
    pub user: String,
    pub password: String,
    pub mechanisms: Vec<&'static str>,
    /// How long a session is good; 0: for ever.
    pub lifetime_ms: u64,
    pub iterations: u32,
    /// Signs as somebody who does not know the password.
    pub impostor: bool,
    /// Authentications that came to a good end.
    pub logins: u64,
    pub refused: u64,
    pub sessions: HashMap<ConnId, Session>,
}

#[derive(Debug, Default)]
pub struct Session {
    mechanism: Option<String>,
    /// The authentication message so far, for SCRAM.
    so_far: Option<String>,
    good_until_ns: Option<u64>,
}

pub enum Verdict {
    Pass,
    Answer(Vec<u8>),
    Close,
}

const SALT: &[u8] = b"a salt of the broker's";

impl Guard {
    pub fn take(&mut self, conn: ConnId, asked: &Asked, now_ns: u64) -> Verdict {
        let session = self.sessions.entry(conn).or_default();
        match &asked.body {
            Body::ApiVersions => Verdict::Pass,
            Body::SaslHandshake { mechanism } => {
                let known = self.mechanisms.contains(&mechanism.as_str());
                session.mechanism = known.then(|| mechanism.clone());
                let mechanisms = self.mechanisms.iter().map(|name| (*name).to_owned()).collect();
                let answer = SaslHandshake { error: if known { 0 } else { 33 }, mechanisms };
                Verdict::Answer(broker_side::sasl_handshake(asked.correlation, asked.version, &answer))
            }
            Body::SaslAuthenticate { token } => {
                let answer = self.authenticate(conn, token, now_ns);
                Verdict::Answer(broker_side::sasl_authenticated(asked.correlation, asked.version, &answer))
            }
            other => {
                assert!(session.mechanism.is_none(), "nothing else is sent while we say who we are: {other:?}");
                let good = session.good_until_ns.is_some_and(|until| until > now_ns);
                if good { Verdict::Pass } else { Verdict::Close }
            }
        }
    }

    fn authenticate(&mut self, conn: ConnId, token: &[u8], now_ns: u64) -> SaslAuthenticated {
        let session = self.sessions.get_mut(&conn).expect("a handshake came before");
        let mechanism = session.mechanism.clone().expect("a handshake came before");
        let text = String::from_utf8(token.to_vec()).expect("text");
        let good = match (mechanism.as_str(), session.so_far.take()) {
            ("PLAIN", _) => (text == format!("\0{}\0{}", self.user, self.password)).then(Vec::new),
            (_, None) => {
                let bare = text.strip_prefix("n,,").expect("no channel binding");
                let (_, nonce) = bare.split_once(",r=").expect("a nonce");
                let challenge = format!("r={nonce}more,s={},i={}", BASE64.encode(SALT), self.iterations);
                session.so_far = Some(format!("{bare},{challenge}"));
                return SaslAuthenticated { token: challenge.into_bytes(), ..SaslAuthenticated::default() };
            }
            (_, Some(so_far)) => {
                let password = if self.impostor { "guessed" } else { &self.password };
                signed(&so_far, &text, &self.password, password, self.iterations)
            }
        };
        session.mechanism = None;
        let Some(token) = good else {
            self.refused += 1;
            let message = Some("Authentication failed: Invalid username or password".to_owned());
            return SaslAuthenticated { error: 58, message, ..SaslAuthenticated::default() };
        };
        self.logins += 1;
        let ends = now_ns.checked_add(self.lifetime_ms * 1_000_000).filter(|_| self.lifetime_ms > 0);
        session.good_until_ns = Some(ends.unwrap_or(u64::MAX));
        SaslAuthenticated { token, session_lifetime_ms: self.lifetime_ms as i64, ..SaslAuthenticated::default() }
    }
}

/// The last message, if the proof is good: signed with what `signer` would be.
fn signed(so_far: &str, text: &str, password: &str, signer: &str, iterations: u32) -> Option<Vec<u8>> {
    let (without_proof, proof) = text.split_once(",p=").expect("a proof");
    let auth = format!("{so_far},{without_proof}");
    let keys = |password: &str| {
        let mut salted = [0; 32];
        let count = NonZeroU32::new(iterations).expect("not 0");
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, SALT, password.as_bytes(), &mut salted);
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        ["Client Key", "Server Key"].map(|name| hmac::sign(&salted, name.as_bytes()))
    };
    let hash = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes);
    let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), auth.as_bytes());
    let stored = hash(keys(password)[0].as_ref());
    let proof = BASE64.decode(proof).expect("base64");
    let shown: Vec<u8> = proof.iter().zip(sign(stored.as_ref()).as_ref()).map(|(a, b)| a ^ b).collect();
    let good = hash(&shown).as_ref() == stored.as_ref();
    good.then(|| format!("v={}", BASE64.encode(sign(keys(signer)[1].as_ref()))).into_bytes())
}
