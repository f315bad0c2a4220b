//! Who we are towards a Kafka, as values: names, secrets and the way to prove them. Nothing here prints a secret, whatever is
//! asked to print it.

use std::fmt;
use std::sync::Arc;

use super::tls::Tls;

/// A password or a key. Its `Debug` shows none of it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes a text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the wire.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Where SCRAM's nonces come from: random bytes, the same for all cores of a process, never shown.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct NonceKey(pub [u8; 32]);

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616: name and password as they are. Only TLS keeps them from who listens.
    #[default]
    Plain,
    /// RFC 7677.
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// The name that is registered for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

/// A user, and how it proves to be that user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// How.
    pub mechanism: Mechanism,
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

/// What a way into a cluster asks for besides addresses. Part of a sink's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Security {
    /// For each address of the bootstrap list, in its order; one that is missing is without SASL. Brokers that the cluster names
    /// get what the broker that named them had (APISIX-COMPAT §3.5).
    pub sasl: Vec<Option<Credentials>>,
    /// TLS to every broker.
    pub tls: Option<Tls>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_debug_output_shows_a_secret() {
        let credentials =
            Credentials { mechanism: Mechanism::Plain, user: "bob".to_owned(), password: Secret::new("bob-secret") };
        let security = Security { sasl: vec![Some(credentials)], tls: None };
        let shown = format!("{security:?} {security:#?} {:?}", NonceKey([0xab; 32]));
        assert!(shown.contains("bob") && !shown.contains("secret") && !shown.contains("171"), "{shown}");
    }

    #[test]
    fn mechanisms_are_found_by_their_exact_name() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::named(mechanism.name()), Some(mechanism));
        }
        assert_eq!(Mechanism::named("plain"), None);
    }
}
