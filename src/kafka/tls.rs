//! What TLS towards a broker is to be: whom to trust, who we are, made once into rustls's configuration. No socket here: `io` and
//! `control` drive the sessions, and what went wrong in one is put into words here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore};
use rustls::{ClientConnection, InvalidMessage, SignatureScheme};

use super::security::Secret;

/// Certificates of authorities.
#[derive(Clone, Debug, Default)]
pub struct Roots(Arc<Vec<CertificateDer<'static>>>);

impl Roots {
    /// Those in a PEM text.
    ///
    /// # Errors
    /// None in it, or one that is not a certificate.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        Ok(Self(Arc::new(certificates(pem)?)))
    }

    /// These.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self(Arc::new(certificates))
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and those.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        Self::new(self.0.iter().chain(more.0.iter()).cloned().collect())
    }
}

/// Our own certificate, for brokers that ask for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM: our certificate first, then those that lead to the authority.
    pub certificates: String,
    /// PEM: its key, not encrypted.
    pub key: Secret,
}

/// What a connection's TLS is made of.
#[derive(Clone, Copy, Debug)]
pub struct TlsSettings<'a> {
    /// The authorities to trust; None: any certificate is taken (APISIX's `tls.verify: false`).
    pub verify: Option<&'a Roots>,
    /// Who we are.
    pub identity: Option<&'a Identity>,
}

/// TLS, ready to be used. Equal if it was made of the same things.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    digest: [u8; 32],
    verifies: bool,
}

impl Tls {
    /// Makes it.
    ///
    /// # Errors
    /// A text in words for the operator, without a secret.
    pub fn new(settings: TlsSettings<'_>) -> Result<Self, String> {
        let mut context = Context::new(&SHA256);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let schemes = provider.signature_verification_algorithms.supported_schemes();
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = match settings.verify {
            Some(roots) => {
                let mut store = RootCertStore::empty();
                for root in roots.0.iter() {
                    digest_part(&mut context, root);
                    // A system's bundle may hold what webpki does not read: the others count.
                    let _ = store.add(root.clone());
                }
                builder.with_root_certificates(store)
            }
            None => {
                digest_part(&mut context, b"any");
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { schemes }))
            }
        };
        let config = match settings.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity_of(identity)?;
                chain.iter().for_each(|one| digest_part(&mut context, one));
                digest_part(&mut context, key.secret_der());
                let fits = builder.with_client_auth_cert(chain, key);
                fits.map_err(|error| format!("the client certificate and its key cannot be used: {error}"))?
            }
        };
        let digest = context.finish().as_ref().try_into().map_err(|_| "SHA-256 has 32 bytes".to_owned())?;
        Ok(Self { config: Arc::new(config), digest, verifies: settings.verify.is_some() })
    }

    /// For `tokio-rustls`, which makes its own sessions.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// A new session with the broker of this name, which is also what its certificate must say.
    ///
    /// # Errors
    /// In words.
    pub fn session(&self, host: &str) -> Result<ClientConnection, String> {
        ClientConnection::new(self.config(), server_name(host)?).map_err(|error| explain(&error, host))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls(verify: {})", self.verifies)
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Tls {}

impl Hash for Tls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

/// A name as TLS takes it.
///
/// # Errors
/// It is neither a host name nor an address.
pub fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned()).map_err(|_| format!("'{host}' is no name that a certificate can be for"))
}

fn digest_part(context: &mut Context, bytes: &[u8]) {
    context.update(&(bytes.len() as u64).to_be_bytes());
    context.update(bytes);
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|error| format!("not PEM ({error:?})"))?;
    if all.is_empty() {
        return Err("no certificate in it: PEM is needed, -----BEGIN CERTIFICATE-----".to_owned());
    }
    let mut store = RootCertStore::empty();
    for one in &all {
        store.add(one.clone()).map_err(|error| format!("a certificate in it cannot be read: {error}"))?;
    }
    Ok(all)
}

fn identity_of(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = certificates(&identity.certificates).map_err(|why| format!("the client certificate: {why}"))?;
    let pem = identity.key.reveal();
    // The parser's own words could repeat a line of the key.
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
        let how = if pem.contains("ENCRYPTED") {
            "it is encrypted: give it without a passphrase"
        } else {
            "no PEM key in it"
        };
        format!("the client certificate's key: {how}")
    })?;
    Ok((chain, key))
}

/// What went wrong with a broker called `host`, and what to do.
pub fn explain(error: &Error, host: &str) -> String {
    let help = match error {
        Error::InvalidCertificate(certificate) => return explain_certificate(certificate, host),
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure,
        ) => {
            "the broker asks for a client certificate that it trusts: see tls.client_cert and tls.client_key (on the command line: --tls-cert, --tls-key)"
        }
        // Kafka 2.8 sends that alert so that it cannot be read.
        Error::DecryptError => {
            "perhaps the broker asks for a client certificate that it trusts: see tls.client_cert and tls.client_key (on the \
             command line: --tls-cert, --tls-key)"
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "that is not TLS: is it a TLS listener, and the right port?"
        }
        Error::InvalidMessage(_) => "that is not TLS as we know it: is it a TLS listener?",
        _ => return error.to_string(),
    };
    format!("{error}; {help}")
}

/// The same for an upstream behind a route that is asked for as `host`.
pub fn explain_upstream(error: &Error, host: &str) -> String {
    match error {
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            format!("its certificate is not for {host}: pass_host and upstream_host decide which name is asked for")
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => format!(
            "the certificate of {host} is signed by an authority that is not trusted here; name it in \
             apisix.ssl.ssl_trusted_certificate"
        ),
        // webpki says it in no variant of its own.
        Error::InvalidCertificate(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
            "the certificate of {host} is an authority's own: give the server one with basicConstraints=CA:FALSE, which that \
             authority, or itself, has signed"
        ),
        Error::InvalidCertificate(other) => explain_certificate(other, host),
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::HandshakeFailure,
        ) => format!(
            "{error}; perhaps it asks for a client certificate that it trusts: upstream.tls.client_cert and client_key"
        ),
        Error::InvalidMessage(_) => format!("{error}; that is not TLS: is it the right port, or is the scheme http?"),
        _ => error.to_string(),
    }
}

fn explain_certificate(error: &CertificateError, host: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => format!(
            "{host}'s certificate is signed by an authority that is not trusted here; name it in tls.ca, or in \
             apisix.ssl.ssl_trusted_certificate (on the command line: --tls-ca)"
        ),
        CertificateError::BadSignature => format!(
            "{host}'s certificate is signed by an authority of a name that is trusted here, with another key: name the one \
             that signed it in tls.ca, or in apisix.ssl.ssl_trusted_certificate"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("{host}'s certificate has expired; renew it on the broker, and look at this host's clock")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("{host}'s certificate is not valid yet; look at the clocks of both hosts")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "the broker's certificate is not for {host}; name the broker as its certificate does, here and in its \
             advertised.listeners"
        ),
        other => format!("{host}'s certificate cannot be trusted: {other:?}"),
    }
}

/// The text for a handshake that failed, as APISIX begins it (APISIX-COMPAT §3.5).
pub fn handshake_failed(host: &str, port: u16, why: &str) -> String {
    format!("failed to do SSL handshake with {host}:{port}: {why}")
}

/// Takes whatever the peer shows. The connection is encrypted, and nobody knows with whom.
#[derive(Debug)]
struct AnyCertificate {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature by a key that anybody may have made proves nothing; certificates that webpki cannot read are taken as well.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
